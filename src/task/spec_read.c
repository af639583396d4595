/* spec_read.c - see spec_read.h. */
#include "task/spec_read.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "task/path.h"

int(spec_bad)(const struct spec_at *at, const char *key, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	CLEANUP_FREE char *why = NULL;
	if (vasprintf(&why, fmt, ap) < 0)
		BUG("out of memory");
	va_end(ap);
	return error_aws(at->err, "ValidationException", "task spec: %s%s %s", at->where, key, why);
}

bool spec_chars_ok(const char *text, size_t max, const char *extra)
{
	size_t n = strlen(text);
	if (!n || n > max)
		return false;
	for (const char *p = text; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr(extra, *p))
			return false;
	return true;
}

bool spec_name_ok(const char *name, size_t max)
{
	return name && isalnum((unsigned char)*name) && spec_chars_ok(name, max, "._-");
}

/* A text member; *out is NULL when it is absent or null. */
int spec_get_text(const struct spec_at *at, const json_t *obj, const char *key, bool required, const char **out)
{
	json_t *value = json_get(obj, key);
	*out = NULL;
	if (!value)
		return required ? spec_bad(at, key, "is missing") : 0;
	if (!json_is_string(value))
		return spec_bad(at, key, "must be a text");
	if (strlen(json_string_value(value)) != json_string_length(value))
		return spec_bad(at, key, "must not hold a NUL character");
	*out = json_string_value(value);
	return 0;
}

int spec_get_int(const struct spec_at *at, const json_t *obj, const char *key, int64_t low, int64_t high, int64_t *out)
{
	json_t *value = json_get(obj, key);
	if (!value)
		return 0;
	if (!json_is_number(value))
		return spec_bad(at, key, "must be a number");
	int64_t n = json_get_int(obj, key, INT64_MIN);
	if (n < low || n > high)
		return spec_bad(at, key, "must be a whole number from %lld to %lld", (long long)low, (long long)high);
	*out = n;
	return 0;
}

int spec_get_cpus(const struct spec_at *at, const json_t *obj, const char *key, double *out)
{
	json_t *value = json_get(obj, key);
	if (!value)
		return 0;
	double cpus = json_is_number(value) ? json_number_value(value) : -1;
	if (!(cpus >= 0.01 && cpus <= 65536))
		return spec_bad(at, key, "must be a number of CPUs from 0.01 to 65536");
	*out = cpus;
	return 0;
}

/* An array of texts as a NULL-ended array. *out is NULL when the member is absent or null. */
int spec_get_texts(const struct spec_at *at, const json_t *obj, const char *key, const char ***out)
{
	json_t *array = json_get(obj, key);
	*out = NULL;
	if (!array)
		return 0;
	if (!json_is_array(array) || json_array_size(array) > SPEC_ITEMS_MAX)
		return spec_bad(at, key, "must be an array of at most %d texts", SPEC_ITEMS_MAX);
	*out = ARENA_ARRAY(at->arena, const char *, json_array_size(array) + 1);
	size_t i;
	json_t *value;
	json_array_foreach (array, i, value) {
		if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
			return spec_bad(at, key, "must hold only texts without NUL characters");
		(*out)[i] = json_string_value(value);
	}
	return 0;
}

/* An array member and its length (0 when absent). */
int spec_get_array(const struct spec_at *at, const json_t *obj, const char *key, size_t max, json_t **array, size_t *n)
{
	*array = json_get(obj, key);
	*n = 0;
	if (!*array)
		return 0;
	if (!json_is_array(*array) || json_array_size(*array) > max)
		return spec_bad(at, key, "must be an array of at most %zu items", max);
	*n = json_array_size(*array);
	return 0;
}

/* Below tasks/ the daemon's part is tasks/<id>/<name>/ with any name but "exec" (the executor's state of that task). */
static bool executor_owned(const char *rel)
{
	struct str rest = str_from(rel), first, id, name;
	str_split(&rest, '/', &first);
	if (!str_eqz(first, "tasks"))
		return false;
	return !str_split(&rest, '/', &id) || id.ptr[0] == '.' || !str_split(&rest, '/', &name) ||
	       str_eqz(name, "exec");
}

/* A host path below the data directory, returned relative to it. */
int spec_get_host_path(const struct spec_at *at, const json_t *obj, const char *key, bool required, const char **out)
{
	const char *abs;
	*out = NULL;
	if (spec_get_text(at, obj, key, required, &abs) < 0)
		return -1;
	if (!abs)
		return 0;
	const char *rel = path_below(at->data_dir, abs);
	if (!rel || !*rel)
		return spec_bad(at, key, "must be a path below `%s`: `%.200s`", at->data_dir, abs);
	if (executor_owned(rel))
		return spec_bad(at, key, "must not be in the executor's own directory: `%.200s`", abs);
	*out = rel;
	return 0;
}

/* A path inside a container that may be mounted over or written. */
int spec_get_target(const struct spec_at *at, const json_t *obj, const char *key, const char **out)
{
	static const char *const own[] = { "/proc", "/sys", "/dev" };
	if (spec_get_text(at, obj, key, true, out) < 0)
		return -1;
	if (!path_is_clean(*out) || !(*out)[1])
		return spec_bad(at, key, "must be an absolute path without `.`, `..` or `//`: `%.200s`", *out);
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		if (path_below(own[i], *out))
			return spec_bad(at, key, "must not be in %s", own[i]);
	return 0;
}
