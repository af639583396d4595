/* error.c - see error.h. */
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#undef error_set
#undef error_errno
#undef error_aws
#undef error_http
#undef error_wrap
#undef error_move

static void put(struct error *err, int status, const char *code, char *message)
{
	if (!err) {
		free(message);
		return;
	}
	free(err->message);
	err->status = status;
	snprintf(err->code, sizeof(err->code), "%s", code);
	err->message = message;
}

static char *format(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
static char *format(const char *fmt, va_list ap)
{
	char *text;
	if (vasprintf(&text, fmt, ap) < 0)
		BUG("out of memory");
	return text;
}

#define FORMAT(text)                                                                                                   \
	char *text;                                                                                                    \
	do {                                                                                                           \
		va_list ap;                                                                                            \
		va_start(ap, fmt);                                                                                     \
		text = format(fmt, ap);                                                                                \
		va_end(ap);                                                                                            \
	} while (0)

int error_set(struct error *err, const char *fmt, ...)
{
	FORMAT(text);
	put(err, 0, "", text);
	return -1;
}

int error_errno(struct error *err, int errnum, const char *fmt, ...)
{
	FORMAT(text);
	char *whole;
	if (asprintf(&whole, "%s: %s", text, strerror(errnum)) < 0)
		BUG("out of memory");
	free(text);
	put(err, 0, "", whole);
	return -1;
}

int error_aws(struct error *err, const char *code, const char *fmt, ...)
{
	FORMAT(text);
	put(err, 0, code, text);
	return -1;
}

int error_http(struct error *err, int status, const char *code, const char *fmt, ...)
{
	FORMAT(text);
	put(err, status, code, text);
	return -1;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
	if (!err)
		return -1;
	FORMAT(text);
	char *whole;
	if (asprintf(&whole, "%s: %s", text, error_text(err)) < 0)
		BUG("out of memory");
	free(text);
	free(err->message);
	err->message = whole;
	return -1;
}

int error_move(struct error *dst, struct error *src)
{
	if (dst && dst != src) {
		error_release(dst);
		*dst = *src;
		*src = ERROR_INIT;
	}
	return -1;
}

bool error_is(const struct error *err, const char *code)
{
	return err->message && strcmp(err->code, code) == 0;
}

const char *error_text(const struct error *err)
{
	return err && err->message ? err->message : "unknown error";
}

void error_release(struct error *err)
{
	free(err->message);
	*err = ERROR_INIT;
}

void bug_abort(const char *file, int line, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_write(LOG_ERROR, "bug", "%s:%d: %s", file, line, text);
	abort();
}
