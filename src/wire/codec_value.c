/* codec_value.c - scalars between their text on the wire and the normal form.
 *
 * DESIGN: used by query, rest and xml in both directions and by json for output. Reading is strict about the whole
 * text; writing accepts what can be said without loss (a number for a string) and refuses the rest, because a wrong
 * type in an answer is a fault of a handler. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "wire/codec.h"

bool codec_time_ms(const json_t *value, int64_t *ms)
{
	if (json_is_integer(value)) {
		json_int_t n = json_integer_value(value);
		if (n > INT64_MAX / 1000 || n < INT64_MIN / 1000)
			return false;
		*ms = n * 1000;
		return true;
	}
	if (json_is_real(value)) {
		double d = json_real_value(value) * 1000;
		if (!(fabs(d) < 9.0e18))
			return false;
		*ms = (int64_t)llround(d);
		return true;
	}
	return json_is_string(value) && clock_parse_iso(json_str(value), ms);
}

json_t *codec_time_new(int64_t ms)
{
	return ms % 1000 ? json_real((double)ms / 1000) : json_integer(ms / 1000);
}

void codec_add_double(struct buf *b, double d)
{
	char text[JSON_REAL_TEXT_MAX];
	json_real_text(d, text);
	buf_addz(b, text);
}

/* ---- reading ---- */

static int bad_text(struct codec *c, const char *name, struct str text, const char *what)
{
	enum model_protocol p = model_protocol_of(c->s);
	const char *code = p == MODEL_QUERY || p == MODEL_REST_XML ? "MalformedInput" : "SerializationException";
	return error_aws(c->err, code, "`%.*s` at `%s` is not %s", STR_ARG(str_head(text, 100)), name, what);
}

static json_t *read_integer(struct codec *c, const struct model_shape *sh, const char *name, struct str text)
{
	int64_t n;
	if (!str_to_i64(text, &n) || (sh->type == MT_INTEGER && (n < INT32_MIN || n > INT32_MAX))) {
		bad_text(c, name, text, "an integer");
		return NULL;
	}
	return json_integer(n);
}

static json_t *read_real(struct codec *c, const char *name, struct str text)
{
	double d;
	if (str_to_double(text, &d) && isfinite(d))
		return json_real(d);
	if (str_eqz(text, "NaN") || str_eqz(text, "Infinity") || str_eqz(text, "-Infinity"))
		return json_stringn(text.ptr, text.len);
	bad_text(c, name, text, "a number");
	return NULL;
}

static json_t *read_time(struct codec *c, const char *name, struct str text)
{
	int64_t ms, seconds;
	double d;
	if (str_to_i64(text, &seconds) && llabs(seconds) < INT64_MAX / 1000)
		return json_integer(seconds);
	if (str_to_double(text, &d) && fabs(d) < 9.0e15)
		return codec_time_new((int64_t)llround(d * 1000));
	if (clock_parse_iso(text, &ms) || clock_parse_http(text, &ms))
		return codec_time_new(ms);
	bad_text(c, name, text, "a timestamp");
	return NULL;
}

json_t *codec_from_text(struct codec *c, const struct model_shape *sh, const char *name, struct str text)
{
	json_t *v = NULL;
	switch (sh->type) {
	case MT_STRING:
		v = json_stringn(text.ptr ? text.ptr : "", text.len);
		if (!v)
			bad_text(c, name, STR("…"), "valid UTF-8");
		return v;
	case MT_INTEGER:
	case MT_LONG:
		return read_integer(c, sh, name, text);
	case MT_FLOAT:
	case MT_DOUBLE:
		return read_real(c, name, text);
	case MT_BOOLEAN:
		if (str_eq_nocase(text, STR("true")))
			return json_true();
		if (str_eq_nocase(text, STR("false")))
			return json_false();
		bad_text(c, name, text, "a boolean");
		return NULL;
	case MT_TIMESTAMP:
		return read_time(c, name, text);
	case MT_BLOB: {
		CLEANUP_FREE char *raw = mem_alloc(3 * (text.len / 4) + 3);
		if (base64_decode(raw, text) >= 0)
			return json_stringn(text.ptr, text.len);
		bad_text(c, name, text, "base64");
		return NULL;
	}
	}
	bad_text(c, name, text, "a structure, list or map");
	return NULL;
}

/* ---- writing ---- */

static int bad_value(struct codec *c, const struct model_shape *sh, const json_t *value)
{
	static const char *const kinds[] = { "an object", "a list", "a string", "an integer",
					     "a real",    "true",   "false",    "null" };
	return error_set(c->err, "the value for %s is %s", model_text(c->s, sh->name), kinds[json_typeof(value)]);
}

static int write_time(struct codec *c, const struct model_shape *sh, unsigned format, const json_t *value,
		      struct buf *out)
{
	int64_t ms;
	char text[40];
	if (!codec_time_ms(value, &ms))
		return bad_value(c, sh, value);
	if (format == MM_TIME_ISO) {
		buf_addz(out, ms % 1000 ? clock_iso_ms(ms, text) : clock_iso(ms, text));
	} else if (format == MM_TIME_HTTP) {
		buf_addz(out, clock_http(ms, text));
	} else if (ms % 1000 == 0) {
		buf_printf(out, "%lld", (long long)(ms / 1000));
	} else {
		long long whole = ms / 1000, part = llabs((long long)(ms % 1000));
		buf_printf(out, "%s%lld.%03lld", ms < 0 && whole == 0 ? "-" : "", whole, part);
	}
	return 0;
}

int codec_to_text(struct codec *c, const struct model_shape *sh, unsigned member_flags, unsigned time_default,
		  const json_t *value, struct buf *out)
{
	unsigned format = member_flags & MM_TIME_MASK;
	double d;
	switch (sh->type) {
	case MT_TIMESTAMP:
		return write_time(c, sh, format ? format : time_default, value, out);
	case MT_BOOLEAN:
		if (!json_is_boolean(value))
			return bad_value(c, sh, value);
		buf_addz(out, json_is_true(value) ? "true" : "false");
		return 0;
	case MT_INTEGER:
	case MT_LONG:
		d = json_is_real(value) ? json_real_value(value) : NAN;
		if (json_is_integer(value))
			buf_printf(out, "%lld", (long long)json_integer_value(value));
		else if (d == floor(d) && fabs(d) < 9.0e18)
			buf_printf(out, "%lld", (long long)d);
		else
			return bad_value(c, sh, value);
		return 0;
	case MT_FLOAT:
	case MT_DOUBLE:
		if (json_is_number(value))
			codec_add_double(out, json_number_value(value));
		else if (json_is_string(value))
			buf_add_str(out, json_str(value));
		else
			return bad_value(c, sh, value);
		return 0;
	case MT_STRING:
	case MT_BLOB:
		if (json_is_string(value))
			buf_add_str(out, json_str(value));
		else if (sh->type == MT_STRING && json_is_integer(value))
			buf_printf(out, "%lld", (long long)json_integer_value(value));
		else
			return bad_value(c, sh, value);
		return 0;
	}
	return bad_value(c, sh, value);
}
