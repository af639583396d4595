/* spec_read.h - inside spec.c: members of a JSON object, checked; errors say where in the spec they are. An absent or
 * null member leaves *out as it was (numbers) or makes it NULL (texts, arrays). All answer < 0 with err. */
#ifndef QUERN_TASK_SPEC_READ_H
#define QUERN_TASK_SPEC_READ_H

#include <jansson.h>
#include "base/arena.h"
#include "base/error.h"

#define SPEC_ITEMS_MAX 4096

/* Where we are in the spec, for error texts. */
struct spec_at {
	struct arena *arena;
	const char *data_dir;
	const char *where; /* "containers[0]." or "" */
	struct error *err;
};

/* What is wrong with member `key`. Always returns -1. */
int spec_bad(const struct spec_at *at, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#ifdef __clang_analyzer__ /* as in base/error.h */
#define spec_bad(...) (spec_bad(__VA_ARGS__), -1)
#endif
/* 1 to `max` letters, digits or characters of `extra`. */
bool spec_chars_ok(const char *text, size_t max, const char *extra);
/* [A-Za-z0-9][A-Za-z0-9._-]*, at most `max`. */
bool spec_name_ok(const char *name, size_t max);
int spec_get_text(const struct spec_at *at, const json_t *obj, const char *key, bool required, const char **out);
int spec_get_int(const struct spec_at *at, const json_t *obj, const char *key, int64_t low, int64_t high, int64_t *out);
int spec_get_cpus(const struct spec_at *at, const json_t *obj, const char *key, double *out);
/* An array of texts as a NULL-ended array. */
int spec_get_texts(const struct spec_at *at, const json_t *obj, const char *key, const char ***out);
/* An array member and its length (0 when absent). */
int spec_get_array(const struct spec_at *at, const json_t *obj, const char *key, size_t max, json_t **array, size_t *n);
/* A host path below the data directory, returned relative to it; the executor's own directories are refused. */
int spec_get_host_path(const struct spec_at *at, const json_t *obj, const char *key, bool required, const char **out);
/* A path inside a container that may be mounted over or written. */
int spec_get_target(const struct spec_at *at, const json_t *obj, const char *key, const char **out);

#endif
