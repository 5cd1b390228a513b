/* The interface astrid:fs@1.0.0 for capsules in C, as core modules import it.
 *
 * Strings are a pointer and a length, UTF-8 in NFC, without a NUL at the end.
 * Each function stores its result at its last argument: tag 0 is success with
 * the value in .ok, tag 1 an error. What the host returns by string or list it
 * allocates with cabi_realloc, which the capsule defines and exports; it is the
 * capsule's to free. */
#ifndef ASTRIDFS_H
#define ASTRIDFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FS_IMPORT(name) __attribute__((import_module("astrid:fs/host@1.0.0"), import_name(name)))

enum fs_code {
	FS_NOT_FOUND, FS_ACCESS, FS_CAPABILITY_DENIED, FS_BOUNDARY_ESCAPE, FS_INVALID_PATH,
	FS_WOULD_BLOCK, FS_IS_DIRECTORY, FS_NOT_DIRECTORY, FS_NOT_EMPTY, FS_TOO_LARGE,
	FS_QUOTA, FS_CROSS_VFS, FS_ALREADY_EXISTS, FS_CLOSED, FS_UNKNOWN
};

enum fs_type {
	FS_TYPE_UNKNOWN, FS_REGULAR, FS_DIRECTORY, FS_SYMLINK,
	FS_BLOCK_DEVICE, FS_CHARACTER_DEVICE, FS_FIFO, FS_SOCKET
};

enum fs_mode { FS_READ, FS_WRITE, FS_APPEND, FS_READ_WRITE };

typedef struct { char *ptr; size_t len; } fs_string;
typedef struct { uint8_t *ptr; size_t len; } fs_bytes;
typedef struct { fs_string *ptr; size_t len; } fs_names;
typedef struct { uint8_t code; fs_string text; } fs_error; /* text of FS_UNKNOWN alone */
typedef struct { int64_t seconds; uint32_t nanoseconds; } fs_datetime;
typedef struct { uint8_t some; fs_datetime value; } fs_option_datetime;
typedef struct {
	uint64_t size;
	uint8_t kind;
	uint32_t mode;
	fs_option_datetime modified, created, accessed;
} fs_stat;

/* result<_, error-code>, and with a bool, number, handle, string or list. */
typedef struct {
	uint8_t tag;
	union { uint8_t b; uint32_t n; fs_string s; fs_bytes bytes; fs_names names; fs_error err; } ok;
} fs_result;
typedef struct { uint8_t tag; union { uint64_t n; fs_error err; } ok; } fs_result_u64;
typedef struct { uint8_t tag; union { fs_stat stat; fs_error err; } ok; } fs_result_stat;

_Static_assert(sizeof(fs_error) == 12 && sizeof(fs_result) == 16 && sizeof(fs_result_u64) == 24, "layout");
_Static_assert(sizeof(fs_stat) == 88 && sizeof(fs_result_stat) == 96, "layout");

FS_IMPORT("fs-open") void fs_open(const char *path, size_t n, int mode, fs_result *ret);
FS_IMPORT("fs-exists") void fs_exists(const char *path, size_t n, fs_result *ret);
FS_IMPORT("fs-mkdir") void fs_mkdir(const char *path, size_t n, fs_result *ret);
FS_IMPORT("fs-mkdir-all") void fs_mkdir_all(const char *path, size_t n, fs_result *ret);
FS_IMPORT("fs-readdir") void fs_readdir(const char *path, size_t n, fs_result *ret);
FS_IMPORT("fs-stat") void fs_stat_path(const char *path, size_t n, fs_result_stat *ret);
FS_IMPORT("fs-stat-symlink") void fs_stat_symlink(const char *path, size_t n, fs_result_stat *ret);
FS_IMPORT("fs-unlink") void fs_unlink(const char *path, size_t n, fs_result *ret);
FS_IMPORT("read-file") void fs_read_file(const char *path, size_t n, fs_result *ret);
FS_IMPORT("write-file") void fs_write_file(const char *path, size_t n, const void *data, size_t len, fs_result *ret);
FS_IMPORT("fs-append") void fs_append(const char *path, size_t n, const void *data, size_t len, fs_result *ret);
FS_IMPORT("fs-copy") void fs_copy(const char *src, size_t n, const char *dst, size_t m, fs_result *ret);
FS_IMPORT("fs-rename") void fs_rename(const char *src, size_t n, const char *dst, size_t m, fs_result *ret);
FS_IMPORT("fs-remove-dir-all") void fs_remove_dir_all(const char *path, size_t n, fs_result_u64 *ret);
FS_IMPORT("fs-canonicalize") void fs_canonicalize(const char *path, size_t n, fs_result *ret);
FS_IMPORT("fs-read-link") void fs_read_link(const char *path, size_t n, fs_result *ret);
FS_IMPORT("fs-hard-link") void fs_hard_link(const char *src, size_t n, const char *link, size_t m, fs_result *ret);
FS_IMPORT("[method]file-handle.read-at") void fs_read_at(uint32_t self, uint64_t off, uint32_t max, fs_result *ret);
FS_IMPORT("[method]file-handle.write-at") void fs_write_at(uint32_t self, uint64_t off, const void *data, size_t len, fs_result *ret);
FS_IMPORT("[method]file-handle.sync-data") void fs_sync_data(uint32_t self, fs_result *ret);
FS_IMPORT("[method]file-handle.sync-all") void fs_sync_all(uint32_t self, fs_result *ret);
FS_IMPORT("[method]file-handle.stat") void fs_handle_stat(uint32_t self, fs_result_stat *ret);
FS_IMPORT("[method]file-handle.set-len") void fs_set_len(uint32_t self, uint64_t size, fs_result *ret);
FS_IMPORT("[resource-drop]file-handle") void fs_drop(uint32_t self);

#endif
