/* json_write.c - compact JSON text as Step Functions writes it; see asl.h.
 *
 * DESIGN: jansson writes doubles with 17 digits ("0.10000000000000001"). The service writes the shortest digits that
 * read back the same, in Java's form: "0.1", "1.0", "1.0E10". Everything else is as jansson's compact form: key order
 * kept, UTF-8 as it is. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/json.h"
#include "states/asl.h"

/* The shortest digits of a finite, positive number: d.ddd times ten to *exponent. */
static size_t shortest(double value, char digits[18], int *exponent)
{
	char text[40];
	for (int precision = 14; precision < 17;
	     precision++) { /* 15 digits always stand for themselves; zeros are cut below */
		snprintf(text, sizeof(text), "%.*e", precision, value);
		if (strtod(text, NULL) == value)
			break;
	}
	size_t n = 0;
	const char *p = text;
	for (; *p && *p != 'e'; p++)
		if (*p != '.')
			digits[n++] = *p;
	*exponent = *p ? atoi(p + 1) : 0;
	while (n > 1 && digits[n - 1] == '0')
		n--;
	digits[n] = 0;
	return n;
}

void asl_number_text(double value, char out[40])
{
	char digits[18];
	int exponent;
	char *p = out;
	if (signbit(value))
		*p++ = '-';
	value = fabs(value);
	if (value == 0 || !isfinite(value)) {
		strcpy(p, "0.0");
		return;
	}
	int n = (int)shortest(value, digits, &exponent);
	if (value < 1e-3 || value >= 1e7) {
		sprintf(p, "%c.%sE%d", digits[0], n > 1 ? digits + 1 : "0", exponent);
		return;
	}
	if (exponent < 0) {
		sprintf(p, "0.%.*s%s", -exponent - 1, "00", digits);
		return;
	}
	for (int i = 0; i <= exponent; i++)
		*p++ = i < n ? digits[i] : '0';
	sprintf(p, ".%s", n > exponent + 1 ? digits + exponent + 1 : "0");
}

/* Must the byte be escaped in a text? */
static inline bool is_special(unsigned char c)
{
	return c < 32 || c == '"' || c == '\\';
}

static void add_escaped(struct buf *b, unsigned char c)
{
	static const char named[] = "btn\0fr"; /* codes 8 to 13 */
	char simple = c == '"' || c == '\\' ? (char)c : c >= 8 && c <= 13 && c != 11 ? named[c - 8] : 0;
	if (simple)
		buf_add(b, (char[]){ '\\', simple }, 2);
	else
		buf_printf(b, "\\u%04X", c);
}

static void add_text(struct buf *b, struct str s)
{
	buf_reserve(b, s.len + 2);
	b->ptr[b->len++] = '"';
	for (size_t i = 0; i < s.len;) {
		size_t start = i;
		while (i < s.len && !is_special((unsigned char)s.ptr[i]))
			i++;
		buf_add(b, s.ptr + start, i - start);
		if (i < s.len)
			add_escaped(b, (unsigned char)s.ptr[i++]);
	}
	buf_add_char(b, '"');
}

static void add_integer(struct buf *b, json_int_t v)
{
	char text[24], *p = text + sizeof(text);
	uint64_t left = v < 0 ? -(uint64_t)v : (uint64_t)v;
	do {
		*--p = (char)('0' + left % 10);
		left /= 10;
	} while (left > 0);
	if (v < 0)
		*--p = '-';
	buf_add(b, p, (size_t)(text + sizeof(text) - p));
}

static void add_value(struct buf *b, const json_t *v)
{
	const char *key;
	json_t *member;
	size_t i;
	char number[40];
	switch (json_typeof(v)) {
	case JSON_OBJECT: {
		char before = '{';
		json_object_foreach ((json_t *)v, key, member) {
			buf_add_char(b, before);
			add_text(b, str_from(key));
			buf_add_char(b, ':');
			add_value(b, member);
			before = ',';
		}
		buf_addz(b, before == '{' ? "{}" : "}");
		return;
	}
	case JSON_ARRAY:
		buf_add_char(b, '[');
		json_array_foreach (v, i, member) {
			if (i > 0)
				buf_add_char(b, ',');
			add_value(b, member);
		}
		buf_add_char(b, ']');
		return;
	case JSON_STRING:
		add_text(b, json_str(v));
		return;
	case JSON_INTEGER:
		add_integer(b, json_integer_value(v));
		return;
	case JSON_REAL:
		asl_number_text(json_real_value(v), number);
		buf_addz(b, number);
		return;
	default:
		buf_addz(b, json_is_true(v) ? "true" : json_is_false(v) ? "false" : "null");
		return;
	}
}

char *asl_text_dup(const json_t *value)
{
	struct buf b = BUF_INIT;
	if (value)
		add_value(&b, value);
	buf_add_char(&b, 0);
	return buf_detach(&b);
}

struct str asl_text(struct arena *a, const json_t *value)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	if (value)
		add_value(&b, value);
	return arena_str(a, buf_str(&b));
}

/* What add_text adds, counted. */
static size_t text_size(struct str s)
{
	size_t n = s.len + 2;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		if (c == '"' || c == '\\' || (c >= 8 && c <= 13 && c != 11))
			n++;
		else if (c < 32)
			n += 5;
	}
	return n;
}

size_t asl_size_bytes(const json_t *v)
{
	const char *key;
	json_t *member;
	size_t i, n = 0;
	char number[40];
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		json_object_foreach ((json_t *)v, key, member)
			n += text_size(str_from(key)) + 2 + asl_size_bytes(member);
		return n == 0 ? 2 : n + 1;
	case JSON_ARRAY:
		json_array_foreach (v, i, member)
			n += asl_size_bytes(member) + 1;
		return n == 0 ? 2 : n + 1;
	case JSON_STRING:
		return text_size(json_str(v));
	case JSON_INTEGER:
		return (size_t)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
	case JSON_REAL:
		asl_number_text(json_real_value(v), number);
		return strlen(number);
	default:
		return json_is_false(v) ? 5 : 4;
	}
}

/* Takes the value's size off *left; false when it does not fit. */
static bool take_size(const json_t *v, int64_t *left)
{
	const char *key;
	json_t *member;
	size_t i;
	if (!json_is_object(v) && !json_is_array(v)) {
		*left -= (int64_t)asl_size_bytes(v);
		return *left >= 0;
	}
	*left -= json_object_size(v) + json_array_size(v) ? 1 : 2;
	json_object_foreach ((json_t *)v, key, member) {
		*left -= (int64_t)text_size(str_from(key)) + 2;
		if (*left < 0 || !take_size(member, left))
			return false;
	}
	json_array_foreach (v, i, member) {
		*left -= 1;
		if (!take_size(member, left))
			return false;
	}
	return *left >= 0;
}

bool asl_fits(const json_t *value, size_t limit)
{
	int64_t left = (int64_t)limit;
	return !value || take_size(value, &left);
}
