/* json_write.c - JSON values as text; see json.h.
 *
 * DESIGN: the engine writes its state each turn, so this is a hot loop; jansson's own writer costs five times as much
 * (it formats an address for each container to find loops) and gives doubles 17 digits ("0.10000000000000001"). The
 * text is compact, in the order of the members, and reads back to an equal value; doubles have the fewest digits that
 * do. */
#include "base/json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

enum { TEXT_DEPTH_MAX = 4096 }; /* no request is read as deep */

void json_real_text(double value, char text[JSON_REAL_TEXT_MAX])
{
	/* 15 digits always stand for themselves; numbers next to zero have fewer */
	for (int digits = fabs(value) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
		snprintf(text, JSON_REAL_TEXT_MAX, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	if (!strpbrk(text, ".eEni"))
		strcat(text, ".0");
}

static int write_value(struct buf *out, const json_t *v, int depth_left, struct error *err);

static void write_escape(struct buf *out, uint8_t c)
{
	switch (c) {
	case '"':
		buf_add(out, "\\\"", 2);
		break;
	case '\\':
		buf_add(out, "\\\\", 2);
		break;
	case '\n':
		buf_add(out, "\\n", 2);
		break;
	case '\t':
		buf_add(out, "\\t", 2);
		break;
	default:
		buf_printf(out, "\\u%04x", c);
	}
}

static int write_string(struct buf *out, const char *text, size_t len, struct error *err)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t from = 0, i = 0;
	buf_add_char(out, '"');
	while (i < len) {
		if (p[i] >= 0x20 && p[i] < 0x80 && p[i] != '"' && p[i] != '\\') {
			i++;
			continue;
		}
		if (p[i] >= 0x80) {
			size_t n = str_utf8(str_of(p + i, len - i));
			if (!n)
				return error_set(err, "write JSON: a string is not UTF-8");
			i += n;
			continue;
		}
		buf_add(out, text + from, i - from);
		write_escape(out, p[i]);
		from = ++i;
	}
	buf_add(out, text + from, len - from);
	buf_add_char(out, '"');
	return 0;
}

static int write_object(struct buf *out, const json_t *v, int depth_left, struct error *err)
{
	json_t *object = (json_t *)v; /* iterating does not change it */
	char before = '{';
	for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
		buf_add_char(out, before);
		before = ',';
		if (write_string(out, json_object_iter_key(it), json_object_iter_key_len(it), err) < 0)
			return -1;
		buf_add_char(out, ':');
		if (write_value(out, json_object_iter_value(it), depth_left - 1, err) < 0)
			return -1;
	}
	if (before == '{')
		buf_add_char(out, '{');
	buf_add_char(out, '}');
	return 0;
}

static int write_array(struct buf *out, const json_t *v, int depth_left, struct error *err)
{
	buf_add_char(out, '[');
	for (size_t i = 0; i < json_array_size(v); i++) {
		if (i)
			buf_add_char(out, ',');
		if (write_value(out, json_array_get(v, i), depth_left - 1, err) < 0)
			return -1;
	}
	buf_add_char(out, ']');
	return 0;
}

static void write_integer(struct buf *out, int64_t value)
{
	char digits[24], *p = digits + sizeof(digits);
	uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;
	do
		*--p = (char)('0' + left % 10);
	while (left /= 10);
	if (value < 0)
		*--p = '-';
	buf_add(out, p, (size_t)(digits + sizeof(digits) - p));
}

static int write_real(struct buf *out, double value, struct error *err)
{
	char text[JSON_REAL_TEXT_MAX];
	if (!isfinite(value))
		return error_set(err, "write JSON: a number can't be written");
	json_real_text(value, text);
	buf_addz(out, text);
	return 0;
}

static int write_value(struct buf *out, const json_t *v, int depth_left, struct error *err)
{
	if (!v)
		return error_set(err, "write JSON: the value is missing");
	if (depth_left < 0)
		return error_set(err, "write JSON: nested too deeply, or a value contains itself");
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return write_object(out, v, depth_left, err);
	case JSON_ARRAY:
		return write_array(out, v, depth_left, err);
	case JSON_STRING:
		return write_string(out, json_string_value(v), json_string_length(v), err);
	case JSON_INTEGER:
		write_integer(out, json_integer_value(v));
		return 0;
	case JSON_REAL:
		return write_real(out, json_real_value(v), err);
	case JSON_TRUE:
		buf_add(out, "true", 4);
		return 0;
	case JSON_FALSE:
		buf_add(out, "false", 5);
		return 0;
	case JSON_NULL:
		buf_add(out, "null", 4);
		return 0;
	}
	return error_set(err, "write JSON: unknown type");
}

int json_write(struct buf *out, const json_t *value, int depth_max, struct error *err)
{
	return write_value(out, value, depth_max, err);
}

char *json_text_dup(const json_t *value)
{
	struct buf out = BUF_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (json_write(&out, value, TEXT_DEPTH_MAX, &err) < 0)
		BUG("%s", error_text(&err));
	return buf_detach(&out);
}

struct str json_text(struct arena *a, const json_t *value)
{
	CLEANUP_FREE char *z = json_text_dup(value);
	return arena_str(a, str_from(z));
}
