/* Included before each file of Lua: wasi-libc has neither setjmp nor what a
   single program alone in its world has no use for. */
#include <stdio.h>

#define LUA_TMPNAMBUFSIZE 32
#define lua_tmpnam(b, e) { (void)(b); (e) = 1; }

/* Errors: see wasi.c. */
#define luai_jmpbuf int
#define LUAI_THROW(L, c) guest_throw()
#define LUAI_TRY(L, c, a) { a guest_catch(); }
struct lua_State;
int luaD_rawrunprotected(struct lua_State *, void (*)(struct lua_State *, void *), void *)
    __attribute__((noinline, optnone)); /* one function, whose name asyncify is told */
void guest_throw(void);
void guest_catch(void);
