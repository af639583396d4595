/* text.c - JSON values as the text the store holds.
 *
 * DESIGN: each turn writes its state, so this is the engine's hottest loop; jansson's own writer costs five times as
 * much (it formats an address for each container to find loops). The text is compact, in the order of the members, and
 * reads back to an equal value: what could not be read again (invalid UTF-8, too deep) is an error here, where the turn
 * can still be undone. */
#include "engine/engine_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

enum { DEPTH_MAX = 2000 }; /* jansson reads 2048 */

static int write_value(struct buf *out, const json_t *v, int depth, struct error *err);

/* Length of the well-formed UTF-8 sequence at p, 0 when it is not one. */
static size_t utf8_length(const uint8_t *p, size_t left)
{
	static const struct {
		uint8_t mask, lead, n;
		uint32_t least;
	} forms[] = { { 0xe0, 0xc0, 2, 0x80 }, { 0xf0, 0xe0, 3, 0x800 }, { 0xf8, 0xf0, 4, 0x10000 } };
	for (size_t i = 0; i < 3; i++) {
		if ((p[0] & forms[i].mask) != forms[i].lead || left < forms[i].n)
			continue;
		uint32_t c = p[0] & (uint8_t)~forms[i].mask;
		for (size_t k = 1; k < forms[i].n; k++) {
			if ((p[k] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (p[k] & 0x3f);
		}
		bool good = c >= forms[i].least && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
		return good ? forms[i].n : 0;
	}
	return 0;
}

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
			size_t n = utf8_length(p + i, len - i);
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

static int write_object(struct buf *out, const json_t *v, int depth, struct error *err)
{
	json_t *object = (json_t *)v; /* iterating does not change it */
	char before = '{';
	for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
		buf_add_char(out, before);
		before = ',';
		if (write_string(out, json_object_iter_key(it), json_object_iter_key_len(it), err) < 0)
			return -1;
		buf_add_char(out, ':');
		if (write_value(out, json_object_iter_value(it), depth + 1, err) < 0)
			return -1;
	}
	if (before == '{')
		buf_add_char(out, '{');
	buf_add_char(out, '}');
	return 0;
}

static int write_array(struct buf *out, const json_t *v, int depth, struct error *err)
{
	buf_add_char(out, '[');
	for (size_t i = 0; i < json_array_size(v); i++) {
		if (i)
			buf_add_char(out, ',');
		if (write_value(out, json_array_get(v, i), depth + 1, err) < 0)
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

static int write_real(struct buf *out, const json_t *v, struct error *err)
{
	char text[64];
	size_t n = json_dumpb(v, text, sizeof(text), JSON_ENCODE_ANY);
	if (!n || n > sizeof(text))
		return error_set(err, "write JSON: a number can't be written");
	buf_add(out, text, n);
	return 0;
}

static int write_value(struct buf *out, const json_t *v, int depth, struct error *err)
{
	if (!v)
		return error_set(err, "write JSON: the value is missing");
	if (depth > DEPTH_MAX)
		return error_set(err, "write JSON: nested too deeply, or a value contains itself");
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return write_object(out, v, depth, err);
	case JSON_ARRAY:
		return write_array(out, v, depth, err);
	case JSON_STRING:
		return write_string(out, json_string_value(v), json_string_length(v), err);
	case JSON_INTEGER:
		write_integer(out, json_integer_value(v));
		return 0;
	case JSON_REAL:
		return write_real(out, v, err);
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

int engine_json_write(struct buf *out, const json_t *value, struct error *err)
{
	return write_value(out, value, 0, err);
}

char *engine_json_line(const json_t *value, struct error *err)
{
	struct buf out = BUF_INIT;
	if (write_value(&out, value, 0, err) == 0)
		return buf_detach(&out);
	buf_release(&out);
	return NULL;
}

json_t *engine_json_unline(const char *text, size_t len, struct error *err)
{
	json_error_t why;
	json_t *value = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
	if (!value)
		error_set(err, "read JSON: %s at byte %d", why.text, why.position);
	return value;
}

/* Some array or object below (or at) `value` has a second owner. */
static bool is_shared(json_t *value)
{
	const char *key;
	json_t *child;
	size_t i;
	if (!json_is_object(value) && !json_is_array(value))
		return false;
	if (value->refcount > 1)
		return true;
	if (json_is_object(value)) {
		json_object_foreach (value, key, child)
			if (is_shared(child))
				return true;
		return false;
	}
	json_array_foreach (value, i, child)
		if (is_shared(child))
			return true;
	return false;
}

json_t *engine_json_unshare(json_t *value)
{
	if (!value || !is_shared(value))
		return value;
	json_t *copy = json_deep_copy(value);
	json_decref(value);
	if (!copy)
		BUG("a JSON value contains itself");
	return copy;
}
