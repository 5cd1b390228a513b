// hook is a library that answers astrid-hook-trigger with the action it was
// given and its payload as data; no payload, no data.
//
// Build: build.sh in this directory.

#include "astridfs.h"
#include "astridfs_freestanding.h"

// capsule-result: a string, and an option of a string.
static struct {
	fs_string action;
	uint8_t some;
	fs_string data;
} result;

__attribute__((export_name("astrid-hook-trigger")))
void *trigger(char *action, size_t len, char *payload, size_t payloadlen) {
	result.action = (fs_string){action, len};
	result.some = payloadlen > 0;
	result.data = (fs_string){payload, payloadlen};
	return &result;
}
