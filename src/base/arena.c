/* arena.c - see arena.h. DESIGN: a list of blocks that double in size; the newest block is the head. */
#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"

struct arena_block {
	struct arena_block *next;
	size_t used, cap;
	struct deferred *deferred; /* only in the oldest position it was registered at; run newest first */
	_Alignas(max_align_t) char data[];
};

struct deferred {
	struct deferred *next;
	void (*fn)(void *);
	void *arg;
};

enum { BLOCK_MIN = 2048, BLOCK_MAX = 1 << 20 };

static struct arena_block *block_new(struct arena *a, size_t size)
{
	size_t cap = a->head ? a->head->cap * 2 : BLOCK_MIN;
	if (cap > BLOCK_MAX)
		cap = BLOCK_MAX;
	if (cap < size)
		cap = size;
	struct arena_block *b = mem_alloc(sizeof(*b) + cap);
	*b = (struct arena_block){ .next = a->head, .cap = cap };
	a->head = b;
	return b;
}

void *arena_alloc_raw(struct arena *a, size_t size)
{
	if (size > SIZE_MAX / 2)
		BUG("arena allocation of %zu bytes", size);
	size = (size + 15) & ~(size_t)15;
	struct arena_block *b = a->head;
	if (!b || b->cap - b->used < size)
		b = block_new(a, size);
	void *p = b->data + b->used;
	b->used += size;
	a->used_bytes += size;
	return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
	return memset(arena_alloc_raw(a, size), 0, size);
}

void arena_release(struct arena *a)
{
	/* Deferred calls may still use arena memory: run them all before anything is freed. */
	for (struct arena_block *b = a->head; b; b = b->next)
		for (struct deferred *d = b->deferred; d; d = d->next)
			d->fn(d->arg);
	for (struct arena_block *b = a->head, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	*a = ARENA_INIT;
}

void arena_defer(struct arena *a, void (*fn)(void *), void *arg)
{
	struct deferred *d = ARENA_NEW(a, struct deferred);
	*d = (struct deferred){ .next = a->head->deferred, .fn = fn, .arg = arg };
	a->head->deferred = d;
}

char *arena_strdup(struct arena *a, struct str s)
{
	return (char *)arena_str(a, s).ptr;
}

struct str arena_str(struct arena *a, struct str s)
{
	char *p = arena_alloc_raw(a, s.len + 1);
	if (s.len)
		memcpy(p, s.ptr, s.len);
	p[s.len] = 0;
	return (struct str){ p, s.len };
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
	va_list again;
	va_copy(again, ap);
	char text[128]; /* most fit: then it is formatted once */
	int n = vsnprintf(text, sizeof(text), fmt, again);
	va_end(again);
	if (n < 0)
		BUG("format `%s`", fmt);
	char *p = arena_alloc_raw(a, (size_t)n + 1);
	if ((size_t)n < sizeof(text))
		memcpy(p, text, (size_t)n + 1);
	else
		vsnprintf(p, (size_t)n + 1, fmt, ap);
	return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *p = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return p;
}

static void *checked(void *p, size_t size)
{
	if (!p && size)
		BUG("out of memory (%zu bytes)", size);
	return p;
}

void *mem_alloc(size_t size)
{
	return checked(malloc(size), size);
}

void *mem_calloc(size_t n, size_t size)
{
	return checked(calloc(n, size), n && size);
}

void *mem_realloc(void *p, size_t size)
{
	return checked(realloc(p, size), size);
}

char *mem_strdup(const char *z)
{
	return mem_strndup(z, strlen(z));
}

char *mem_strndup(const char *p, size_t n)
{
	char *copy = mem_alloc(n + 1);
	memcpy(copy, p, n);
	copy[n] = 0;
	return copy;
}

void mem_cleanup_free(void *pptr)
{
	free(*(void **)pptr);
}

void fd_cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
