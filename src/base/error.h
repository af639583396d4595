/* error.h - how a fallible function says what went wrong.
 *
 * DESIGN: a fallible function returns int < 0 and fills *err, which is untouched on success. `code` is the AWS error
 * code when the failure is an answer to a client ("ValidationException"); empty means an internal fault (the wire layer
 * answers 500 and logs it). `status` is the HTTP status, 0 for the protocol's default. The message names action and
 * object
 * ("open `x` for writing: No such file or directory"). Callers add context on the way up with error_wrap. */
#ifndef QUERN_BASE_ERROR_H
#define QUERN_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

struct error {
	int status;
	char code[64];
	char *message; /* malloc'ed, owned; NULL when no error. U+0000 within it is written C0 80 */
};
#define ERROR_INIT ((struct error){ 0 })
#define CLEANUP_ERROR __attribute__((cleanup(error_release)))

/* Internal fault. Always returns -1, so `return error_set(err, ...)` is the normal style. err may be NULL. */
int error_set(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* As error_set with ": strerror(errnum)" appended. */
int error_errno(struct error *err, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* An answer for the client: AWS code and text. Status is the default of the protocol. Returns -1. */
int error_aws(struct error *err, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same with an HTTP status of its own. Returns -1. */
int error_http(struct error *err, int status, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Puts "context: " before the message. Returns -1. */
int error_wrap(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Moves src into dst (dst's old content is released); src is empty after. Returns -1. */
int error_move(struct error *dst, struct error *src);
#ifdef __clang_analyzer__ /* clang-tidy sees one file at a time: this tells it that these always fail */
#define error_set(...) (error_set(__VA_ARGS__), -1)
#define error_errno(...) (error_errno(__VA_ARGS__), -1)
#define error_aws(...) (error_aws(__VA_ARGS__), -1)
#define error_http(...) (error_http(__VA_ARGS__), -1)
#define error_wrap(...) (error_wrap(__VA_ARGS__), -1)
#define error_move(...) (error_move(__VA_ARGS__), -1)
#endif
bool error_is(const struct error *err, const char *code);
/* The message, never NULL. */
const char *error_text(const struct error *err);
void error_release(struct error *err);

/* A broken invariant: logs file, line and text, and aborts. Never for bad input. */
#define BUG(...) bug_abort(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void bug_abort(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
