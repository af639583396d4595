/* str.h - strings as {ptr,len}.
 *
 * DESIGN: a `struct str` borrows bytes it does not own and is not NUL-terminated. It is passed by value.
 * Ownership is always elsewhere: an arena, a request, a literal. NUL-terminated strings appear only at
 * the edge to libc and other libraries. */
#ifndef QUERN_BASE_STR_H
#define QUERN_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *ptr;
	size_t len;
};

/* A str of a string literal, usable in initialisers. */
#define STR(lit) ((struct str){ "" lit, sizeof(lit) - 1 })
#define STR_NULL ((struct str){ NULL, 0 })
/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).len, (s).ptr

/* Borrows a NUL-terminated string; NULL gives the empty str. */
static inline struct str str_from(const char *z)
{
	return (struct str){ z ? z : "", z ? strlen(z) : 0 };
}
static inline struct str str_of(const void *ptr, size_t len)
{
	return (struct str){ ptr, len };
}
static inline bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool str_eqz(struct str a, const char *z)
{
	return str_eq(a, str_from(z));
}
/* Bytes from `from` (clamped) to the end. */
static inline struct str str_skip(struct str s, size_t from)
{
	if (from > s.len)
		from = s.len;
	return (struct str){ s.ptr + from, s.len - from };
}
/* At most the first `n` bytes. */
static inline struct str str_head(struct str s, size_t n)
{
	return (struct str){ s.ptr, n < s.len ? n : s.len };
}

/* ASCII-case-insensitive equality (header names). */
bool str_eq_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
/* Byte-wise order as memcmp, a shorter prefix first: <0, 0, >0. */
int str_cmp(struct str a, struct str b);
/* Index of the first byte `c`, or -1. */
ptrdiff_t str_find_char(struct str s, char c);
/* Index of the first `needle`, or -1; an empty needle is found at 0. */
ptrdiff_t str_find(struct str s, struct str needle);
/* Without leading and trailing space, tab, CR and LF. */
struct str str_trim(struct str s);
/* Takes the part of *rest before the first `sep` and moves *rest behind it. False when *rest.ptr is NULL (used up);
 * the last piece leaves *rest null. "a,,b" gives "a", "", "b". */
bool str_split(struct str *rest, char sep, struct str *piece);
/* Does the whole text match the pattern, in which `*` stands for any run of bytes? After `escape` (0: none) a byte
 * stands for itself. */
bool str_glob(struct str pattern, struct str text, char escape);
/* Bytes of the well-formed UTF-8 sequence that s starts with (RFC 3629: no overlong form, no surrogate, nothing above
 * U+10FFFF); 0 when it starts with none or is empty. */
size_t str_utf8(struct str s);
/* Is all of it well-formed UTF-8? */
bool str_is_utf8(struct str s);
/* FNV-1a, 64 bits: the same in every process and version, so it may be stored and shown; for maps see hash_bytes. */
uint64_t str_digest(struct str s);
/* A whole decimal number, optional leading '-', no spaces. False on anything else or overflow; *out untouched then. */
bool str_to_i64(struct str s, int64_t *out);
/* A whole JSON-style decimal number; false on anything else. */
bool str_to_double(struct str s, double *out);

#endif
