/* text.h - growing strings and values written the way Python writes them.
 *
 * DESIGN: the error texts of the AWS image come out of Python's str() and repr(), and clients match on them, so
 * numbers, strings, lists and JSON objects are written here in that form. Out of memory ends the program in one
 * place. It is no general string library: what the trainer does not need is not here. */
#ifndef QUERN_IMAGE_TEXT_H
#define QUERN_IMAGE_TEXT_H

#include <jansson.h>
#include <stddef.h>

/* A NUL-terminated string on the heap. Start with TEXT_INIT; `ptr` is NULL only while empty and untouched. */
struct text {
	char *ptr;
	size_t len, cap;
};
#define TEXT_INIT ((struct text){ 0 })

void text_release(struct text *t);
#define CLEANUP_TEXT __attribute__((cleanup(text_release)))
/* The string, "" when nothing was added. Borrowed until the next change. */
const char *text_cstr(const struct text *t);
/* Gives the heap string away; `t` is empty afterwards. Never NULL. */
char *text_take(struct text *t);

void text_add(struct text *t, const char *s);
void text_add_bytes(struct text *t, const char *s, size_t n);
void text_printf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* repr(float): shortest digits that read back the same, always with a point or an exponent. */
void text_add_pyfloat(struct text *t, double v);
/* repr(str). */
void text_add_pystr(struct text *t, const char *s);
/* repr() of a value read from JSON. */
void text_add_pyjson(struct text *t, const json_t *v);
/* repr() of a list of n strings. */
void text_add_pylist(struct text *t, const char *const *items, size_t n);

/* malloc that ends the program when memory is out. */
void *mem_need(void *p);
char *mem_dup(const char *s);
void mem_free_cleanup(void *pptr);
#define CLEANUP_FREE __attribute__((cleanup(mem_free_cleanup)))

#endif
