/* Errors of Lua without setjmp, by Binaryen's asyncify: guest_throw begins to
   unwind the stack, every function on the way saves its frame and returns, and
   luaD_rawrunprotected, which asyncify was told to leave alone, ends that. The
   frames are never wound up again. */
#include "wasi.h"

__attribute__((import_module("asyncify"), import_name("start_unwind"))) void start_unwind(void *);
__attribute__((import_module("asyncify"), import_name("stop_unwind"))) void stop_unwind(void);

static char frames[1 << 20];
static struct { char *at, *end; } unwinding;
static int thrown;

void guest_throw(void) {
  thrown = 1;
  unwinding.at = frames;
  unwinding.end = frames + sizeof frames;
  start_unwind(&unwinding);
}

void guest_catch(void) {
  if (!thrown) return;
  thrown = 0;
  stop_unwind();
}

/* What there is nothing for. */
FILE *tmpfile(void) { return 0; }
int system(const char *command) { (void)command; return -1; }
