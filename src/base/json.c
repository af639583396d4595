/* json.c - see json.h. */
#include "base/json.h"

#include <math.h>
#include <stdlib.h>

const char *json_get_text(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

struct str json_str(const json_t *value)
{
	const char *z = json_string_value(value);
	return z ? str_of(z, json_string_length(value)) : STR_NULL;
}

struct str json_get_str(const json_t *obj, const char *key)
{
	return json_str(json_object_get(obj, key));
}

int64_t json_get_int(const json_t *obj, const char *key, int64_t fallback)
{
	const json_t *v = json_object_get(obj, key);
	if (json_is_integer(v))
		return json_integer_value(v);
	double d = json_is_real(v) ? json_real_value(v) : NAN;
	return d == floor(d) && fabs(d) < 9.0e18 ? (int64_t)d : fallback;
}

double json_get_real(const json_t *obj, const char *key, double fallback)
{
	const json_t *v = json_object_get(obj, key);
	return json_is_number(v) ? json_number_value(v) : fallback;
}

bool json_get_bool(const json_t *obj, const char *key, bool fallback)
{
	const json_t *v = json_object_get(obj, key);
	return json_is_boolean(v) ? json_is_true(v) : fallback;
}

json_t *json_get(const json_t *obj, const char *key)
{
	json_t *v = json_object_get(obj, key);
	return json_is_null(v) ? NULL : v;
}

json_t *json_get_path(const json_t *obj, const char *path)
{
	struct str rest = str_from(path), piece;
	json_t *at = (json_t *)obj;
	while (at && str_split(&rest, '.', &piece)) {
		char key[256];
		if (piece.len >= sizeof(key))
			return NULL;
		memcpy(key, piece.ptr, piece.len);
		key[piece.len] = 0;
		at = json_get(at, key);
	}
	return at;
}

json_t *json_parse(struct str text, struct error *err)
{
	json_error_t e;
	json_t *v = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
	if (!v)
		error_set(err, "line %d column %d: %s", e.line, e.column, e.text);
	return v;
}

void json_set_text(json_t *obj, const char *key, const char *text)
{
	if (text)
		json_object_set_new(obj, key, json_string(text));
}

void json_set_int(json_t *obj, const char *key, int64_t value)
{
	json_object_set_new(obj, key, json_integer(value));
}

void json_set_bool(json_t *obj, const char *key, bool value)
{
	json_object_set_new(obj, key, json_boolean(value));
}

void json_set_real(json_t *obj, const char *key, double value)
{
	json_object_set_new(obj, key, json_real(value));
}

void json_copy_key(json_t *dst, const json_t *src, const char *key)
{
	json_t *v = json_get(src, key);
	if (v)
		json_object_set(dst, key, v);
}

static size_t tag_at(const json_t *list, const char *name, struct str key)
{
	size_t i;
	json_t *tag;
	json_array_foreach (list, i, tag)
		if (str_eq(json_get_str(tag, name), key))
			return i;
	return json_array_size(list);
}

void json_tags_put(json_t *list, const char *name, const json_t *tags)
{
	size_t i;
	json_t *tag;
	json_array_foreach (tags, i, tag) {
		const size_t at = tag_at(list, name, json_get_str(tag, name));
		if (at < json_array_size(list))
			json_array_set_new(list, at, json_copy(tag));
		else
			json_array_append_new(list, json_copy(tag));
	}
}

void json_tags_remove(json_t *list, const char *name, const json_t *keys)
{
	size_t i;
	json_t *key;
	json_array_foreach (keys, i, key)
		json_array_remove(list, tag_at(list, name, json_str(key)));
}

void json_cleanup(json_t **value)
{
	json_decref(*value);
}
