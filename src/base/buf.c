/* buf.c - see buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/error.h"

void buf_release(struct buf *b)
{
	free(b->ptr);
	*b = BUF_INIT;
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->ptr)
		b->ptr[0] = 0;
}

void buf_reserve(struct buf *b, size_t more)
{
	if (more > SIZE_MAX / 2 - b->len)
		BUG("buffer of %zu + %zu bytes", b->len, more);
	size_t need = b->len + more + 1;
	if (need <= b->cap)
		return;
	size_t cap = b->cap ? b->cap : 64;
	while (cap < need)
		cap *= 2;
	b->ptr = mem_realloc(b->ptr, cap);
	b->cap = cap;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	buf_reserve(b, n);
	if (n)
		memcpy(b->ptr + b->len, p, n);
	b->len += n;
	b->ptr[b->len] = 0;
}

void buf_add_str(struct buf *b, struct str s)
{
	buf_add(b, s.ptr, s.len);
}

void buf_addz(struct buf *b, const char *z)
{
	buf_add(b, z, strlen(z));
}

void buf_add_char(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		BUG("format `%s`", fmt);
	buf_reserve(b, (size_t)n);
	va_start(ap, fmt);
	vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

void buf_add_utf8(struct buf *b, unsigned code_point)
{
	unsigned u = code_point;
	if (u < 0x80) {
		buf_add_char(b, (char)u);
	} else if (u < 0x800) {
		buf_add_char(b, (char)(0xc0 | u >> 6));
		buf_add_char(b, (char)(0x80 | (u & 63)));
	} else if (u < 0x10000) {
		buf_add_char(b, (char)(0xe0 | u >> 12));
		buf_add_char(b, (char)(0x80 | (u >> 6 & 63)));
		buf_add_char(b, (char)(0x80 | (u & 63)));
	} else {
		buf_add_char(b, (char)(0xf0 | u >> 18));
		buf_add_char(b, (char)(0x80 | (u >> 12 & 63)));
		buf_add_char(b, (char)(0x80 | (u >> 6 & 63)));
		buf_add_char(b, (char)(0x80 | (u & 63)));
	}
}

char *buf_detach(struct buf *b)
{
	buf_reserve(b, 0);
	b->ptr[b->len] = 0;
	char *p = b->ptr;
	*b = BUF_INIT;
	return p;
}
