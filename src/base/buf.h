/* buf.h - a growable byte buffer on the heap. Grows by doubling; out of memory aborts. Kept NUL-terminated. */
#ifndef QUERN_BASE_BUF_H
#define QUERN_BASE_BUF_H

#include "base/str.h"

struct buf {
	char *ptr;
	size_t len, cap;
};
#define BUF_INIT ((struct buf){ 0 })

void buf_release(struct buf *b);
/* Empties it and keeps the memory. */
void buf_clear(struct buf *b);
/* Room for `more` further bytes. */
void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_str(struct buf *b, struct str s);
void buf_addz(struct buf *b, const char *z);
void buf_add_char(struct buf *b, char c);
/* A Unicode code point (at most 0x10ffff) as UTF-8 (RFC 3629). A surrogate is written as it is: the caller replaces it.
 */
void buf_add_utf8(struct buf *b, unsigned code_point);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline struct str buf_str(const struct buf *b)
{
	return (struct str){ b->ptr ? b->ptr : "", b->len };
}
/* Hands the malloc'ed, NUL-terminated bytes to the caller (who frees them); the buffer is empty after. */
char *buf_detach(struct buf *b);
#define CLEANUP_BUF __attribute__((cleanup(buf_release)))

#endif
