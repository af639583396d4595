/* arena.h - memory that is freed all at once.
 *
 * DESIGN: one arena per request and per actor turn. Allocation never fails at the call site: out of memory
 * aborts the process in one place. Nothing is freed singly. Not thread-safe; one owner at a time. */
#ifndef QUERN_BASE_ARENA_H
#define QUERN_BASE_ARENA_H

#include <stdarg.h>
#include "base/str.h"

struct arena_block;
struct arena {
	struct arena_block *head;
	size_t used_bytes; /* handed out so far, for limits and tests */
};
#define ARENA_INIT ((struct arena){ 0 })

/* Frees everything; the arena is empty and usable again. */
void arena_release(struct arena *a);
/* `size` bytes, zeroed, aligned for any type. Never NULL. Owned by the arena. */
void *arena_alloc(struct arena *a, size_t size);
/* As arena_alloc, not zeroed. */
void *arena_alloc_raw(struct arena *a, size_t size);
#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (n)))
/* NUL-terminated copy. */
char *arena_strdup(struct arena *a, struct str s);
/* Copy that is also NUL-terminated at ptr[len]. */
struct str arena_str(struct arena *a, struct str s);
/* printf into the arena; NUL-terminated. */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Calls fn(arg) when the arena is released (close files, json_decref). Last registered runs first. */
void arena_defer(struct arena *a, void (*fn)(void *), void *arg);

/* malloc family that aborts when memory is out (one handler). */
void *mem_alloc(size_t size);
void *mem_calloc(size_t n, size_t size);
void *mem_realloc(void *p, size_t size);
char *mem_strdup(const char *z);
char *mem_strndup(const char *p, size_t n);

/* Frees the malloc'ed pointer that a variable holds at the end of its scope. */
void mem_cleanup_free(void *pptr);
#define CLEANUP_FREE __attribute__((cleanup(mem_cleanup_free)))
void fd_cleanup_close(int *fd);
#define CLEANUP_FD __attribute__((cleanup(fd_cleanup_close)))
/* The descriptor, which the caller now owns: the variable no longer closes it. */
static inline int fd_take(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

#endif
