/* validate.c - requests against the model, with the texts of the AWS front ends.
 *
 * DESIGN: one walk along the shape collects every violation in the order of the model: absent required members,
 * lengths, ranges, patterns, enums. Texts and paths follow the Coral services ("trainingJobName", "tags.1.member.key",
 * "environment.KEY.member.x"); a scalar list, or a map's keys and scalar values, are reported once with all their
 * constraints, as Coral does. Lengths count code points; patterns are in validate_pattern.c. A value that the walk
 * cannot judge (a document) passes. Input was brought to the normal form by a codec; a wrong type found here
 * (model_validate_shape on free JSON) is a violation too. */
#include <ctype.h>
#include <stdio.h>

#include "base/json.h"
#include "wire/codec.h"

enum { MAX_VIOLATIONS = 50, MAX_VALUE_TEXT = 4096 };

struct validator {
	const struct model_service *s;
	struct buf path, text; /* text: the violations so far, joined by "; " */
	int count;
	bool brief; /* ECR's own style: the first violation only, without the value */
};

/* ---- texts ---- */

static void add_value(struct validator *v, const struct model_shape *sh, const json_t *value, struct buf *b, int depth)
{
	const struct model_member *m = model_shape_members(v->s, sh);
	const char *sep = "", *key;
	json_t *item;
	size_t i;
	if (b->len > MAX_VALUE_TEXT || depth > CODEC_MAX_DEPTH)
		return;
	if (sh->flags & MS_SENSITIVE) {
		buf_addz(b, "***Sensitive Data Redacted***");
	} else if (json_is_string(value)) {
		buf_add_str(b, str_head(json_str(value), MAX_VALUE_TEXT));
	} else if (json_is_object(value) && sh->type == MT_STRUCTURE) {
		buf_printf(b, "%s(", model_text(v->s, sh->name));
		for (i = 0; i < sh->count; i++) {
			item = json_get(value, model_text(v->s, m[i].name));
			const char *name = model_text(v->s, m[i].name);
			buf_printf(b, "%s%c%s=", sep, tolower((unsigned char)name[0]), name + 1);
			if (item)
				add_value(v, model_member_shape(v->s, &m[i]), item, b, depth + 1);
			else
				buf_addz(b, "null");
			sep = ", ";
		}
		buf_add_char(b, ')');
	} else if (json_is_object(value) && sh->type == MT_MAP) {
		buf_add_char(b, '{');
		json_object_foreach ((json_t *)value, key, item) {
			buf_printf(b, "%s%s=", sep, key);
			add_value(v, model_member_shape(v->s, m + 1), item, b, depth + 1);
			sep = ", ";
		}
		buf_add_char(b, '}');
	} else if (json_is_array(value) && sh->type == MT_LIST) {
		buf_add_char(b, '[');
		json_array_foreach (value, i, item) {
			buf_addz(b, sep);
			add_value(v, model_member_shape(v->s, m), item, b, depth + 1);
			sep = ", ";
		}
		buf_add_char(b, ']');
	} else {
		CLEANUP_FREE char *z = json_text_dup(value);
		buf_addz(b, z);
	}
}

/* Opens a violation at the present path; false when there are enough. The constraint's text follows. */
static bool begin_violation(struct validator *v, const struct model_shape *sh, const json_t *value)
{
	if (v->count >= (v->brief ? 1 : MAX_VIOLATIONS))
		return false;
	if (v->count++ > 0)
		buf_addz(&v->text, "; ");
	const char *path = v->path.len ? v->path.ptr : "";
	if (v->brief) {
		buf_printf(&v->text, "Invalid parameter at '%s' failed to satisfy constraint: ", path);
		return true;
	}
	if (!value || json_is_null(value)) {
		buf_printf(&v->text, "Value null at '%s'", path);
	} else if (sh && (sh->flags & MS_SENSITIVE)) {
		buf_printf(&v->text, "Value at '%s'", path);
	} else {
		CLEANUP_BUF struct buf shown = BUF_INIT;
		add_value(v, sh, value, &shown, 0);
		struct str text = str_head(buf_str(&shown), MAX_VALUE_TEXT);
		while (text.len < shown.len && text.len > 0 && (text.ptr[text.len] & 0xC0) == 0x80)
			text.len--; /* never half a character */
		buf_addz(&v->text, "Value '");
		buf_add_str(&v->text, text);
		buf_printf(&v->text, "' at '%s'", path);
	}
	buf_addz(&v->text, " failed to satisfy constraint: ");
	return true;
}

static void violation(struct validator *v, const struct model_shape *sh, const json_t *value, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static void violation(struct validator *v, const struct model_shape *sh, const json_t *value, const char *fmt, ...)
{
	if (!begin_violation(v, sh, value))
		return;
	char text[8192];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_printf(&v->text, v->brief ? "'%s'" : "%s", text);
}

static void add_limit_number(struct buf *b, const struct model_shape *sh, int64_t n)
{
	if (sh->type == MT_FLOAT || sh->type == MT_DOUBLE)
		codec_add_double(b, (double)n / 1000000);
	else
		buf_printf(b, "%lld", (long long)n);
}

static void add_limit(struct buf *b, const struct model_shape *sh, bool upper, int64_t n)
{
	bool number = sh->type == MT_INTEGER || sh->type == MT_LONG || sh->type == MT_FLOAT || sh->type == MT_DOUBLE;
	buf_printf(b, "Member must have %s %s than or equal to ", number ? "value" : "length",
		   upper ? "less" : "greater");
	add_limit_number(b, sh, n);
}

static void add_enum(struct validator *v, struct buf *b, const struct model_shape *sh)
{
	buf_addz(b, "Member must satisfy enum value set: [");
	for (size_t i = 0; i < sh->count; i++)
		buf_printf(b, "%s%s", i ? ", " : "", model_text(v->s, v->s->enums[sh->first + i]));
	buf_add_char(b, ']');
}

/* "[Member must have length less than or equal to 63, ...]": everything the shape asks for. */
static void add_constraints(struct validator *v, struct buf *b, const struct model_shape *sh)
{
	const struct model_limit *l = sh->limit ? &v->s->limits[sh->limit - 1] : NULL;
	const char *sep = "";
	buf_add_char(b, '[');
	if (l && !(sh->flags & MS_NO_MAX)) {
		add_limit(b, sh, true, l->max);
		sep = ", ";
	}
	if (l && !(sh->flags & MS_NO_MIN)) {
		buf_addz(b, sep);
		add_limit(b, sh, false, l->min);
		sep = ", ";
	}
	if (sh->pattern) {
		buf_printf(b, "%sMember must satisfy regular expression pattern: %s", sep,
			   model_text(v->s, sh->pattern));
		sep = ", ";
	}
	if (sh->type == MT_STRING && sh->count) {
		buf_addz(b, sep);
		add_enum(v, b, sh);
	}
	buf_add_char(b, ']');
}

/* ---- checks ---- */

static int64_t code_points(struct str s)
{
	int64_t n = 0;
	for (size_t i = 0; i < s.len; i++)
		n += (s.ptr[i] & 0xC0) != 0x80;
	return n;
}

/* What the limits of the shape measure; false when they measure nothing of this value. */
static bool measure(const struct model_shape *sh, const json_t *value, double *out)
{
	switch (sh->type) {
	case MT_STRING:
		*out = (double)code_points(json_str(value));
		return true;
	case MT_BLOB: {
		struct str t = json_str(value);
		size_t pad = t.len >= 2 && t.ptr[t.len - 1] == '=' ? (t.ptr[t.len - 2] == '=' ? 2 : 1) : 0;
		size_t bytes = t.len / 4 * 3 - pad;
		*out = t.len >= 4 ? (double)bytes : 0;
		return true;
	}
	case MT_LIST:
		*out = (double)json_array_size(value);
		return true;
	case MT_MAP:
		*out = (double)json_object_size(value);
		return true;
	case MT_INTEGER:
	case MT_LONG:
		*out = json_number_value(value);
		return true;
	case MT_FLOAT:
	case MT_DOUBLE:
		*out = json_number_value(value) * 1000000;
		return json_is_number(value);
	}
	return false;
}

enum breach { BREACH_MAX = 1, BREACH_MIN = 2, BREACH_PATTERN = 4, BREACH_ENUM = 8 };

static bool in_enum(struct validator *v, const struct model_shape *sh, struct str text)
{
	for (size_t i = 0; i < sh->count; i++)
		if (str_eqz(text, model_text(v->s, v->s->enums[sh->first + i])))
			return true;
	return false;
}

/* The constraints that the value breaks. */
static unsigned breaches(struct validator *v, const struct model_shape *sh, const json_t *value)
{
	unsigned found = 0;
	double n;
	if (sh->limit && measure(sh, value, &n)) {
		const struct model_limit *l = &v->s->limits[sh->limit - 1];
		if (!(sh->flags & MS_NO_MAX) && n > (double)l->max)
			found |= BREACH_MAX;
		if (!(sh->flags & MS_NO_MIN) && n < (double)l->min)
			found |= BREACH_MIN;
	}
	if (sh->type != MT_STRING)
		return found;
	if (sh->count && !in_enum(v, sh, json_str(value)))
		found |= BREACH_ENUM;
	/* A text that is too long is not worth a match. */
	if (sh->pattern && !(found & BREACH_MAX) &&
	    !model_pattern_matches(model_text(v->s, sh->pattern), json_str(value)))
		found |= BREACH_PATTERN;
	return found;
}

static void report(struct validator *v, const struct model_shape *sh, const json_t *value, unsigned found)
{
	const struct model_limit *l = sh->limit ? &v->s->limits[sh->limit - 1] : NULL;
	for (unsigned bit = 1; bit <= BREACH_ENUM; bit <<= 1) {
		CLEANUP_BUF struct buf b = BUF_INIT;
		if (!(found & bit))
			continue;
		if (bit == BREACH_PATTERN && v->brief)
			buf_printf(&b, "must satisfy regular expression '%s'", model_text(v->s, sh->pattern));
		else if (bit == BREACH_PATTERN)
			buf_printf(&b, "Member must satisfy regular expression pattern: %s",
				   model_text(v->s, sh->pattern));
		else if (bit == BREACH_ENUM)
			add_enum(v, &b, sh);
		else
			add_limit(&b, sh, bit == BREACH_MAX, bit == BREACH_MAX ? l->max : l->min);
		if (begin_violation(v, sh, value))
			buf_printf(&v->text, v->brief ? "'%s'" : "%s", b.ptr);
	}
}

static bool type_fits(const struct model_shape *sh, const json_t *value)
{
	switch (sh->type) {
	case MT_STRUCTURE:
	case MT_MAP:
		return json_is_object(value);
	case MT_LIST:
		return json_is_array(value);
	case MT_STRING:
	case MT_BLOB:
		return json_is_string(value);
	case MT_INTEGER:
	case MT_LONG:
	case MT_TIMESTAMP:
		return json_is_number(value);
	case MT_FLOAT:
	case MT_DOUBLE:
		return json_is_number(value) || json_is_string(value);
	case MT_BOOLEAN:
		return json_is_boolean(value);
	}
	return false;
}

static const char *type_word(const struct model_shape *sh)
{
	static const char *const words[] = { "a structure", "a list",      "a map",      "a string",
					     "an integer",  "an integer",  "a number",   "a number",
					     "a boolean",   "a timestamp", "base64 text" };
	return words[sh->type];
}

static bool scalar(const struct model_shape *sh)
{
	return sh->type > MT_MAP;
}

static void check(struct validator *v, const struct model_shape *sh, const json_t *value, const char *const *skip,
		  int depth);

/* Adds to the path; returns the length to cut back to. */
static size_t push(struct validator *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static size_t push(struct validator *v, const char *fmt, ...)
{
	size_t old = v->path.len;
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (old)
		buf_add_char(&v->path, '.');
	buf_addz(&v->path, text);
	return old;
}

static void pop(struct validator *v, size_t old)
{
	v->path.len = old;
	v->path.ptr[old] = 0;
}

static bool skipped(const char *const *skip, const char *name)
{
	for (; skip && *skip; skip++)
		if (strcmp(*skip, name) == 0)
			return true;
	return false;
}

static void check_structure(struct validator *v, const struct model_shape *sh, const json_t *obj,
			    const char *const *skip, int depth)
{
	const struct model_member *m = model_shape_members(v->s, sh);
	for (size_t i = 0; i < sh->count; i++) {
		const char *name = model_text(v->s, m[i].name);
		const json_t *value = json_get(obj, name);
		bool needed = (m[i].flags & MM_REQUIRED) && !skipped(skip, name);
		if (!value && !needed)
			continue;
		size_t old = push(v, "%c%s", tolower((unsigned char)name[0]), name + 1);
		if (!value)
			violation(v, NULL, NULL, "Member must not be null");
		else
			check(v, model_member_shape(v->s, &m[i]), value, NULL, depth + 1);
		pop(v, old);
	}
}

static void check_list(struct validator *v, const struct model_shape *sh, const json_t *list, int depth)
{
	const struct model_shape *element = model_member_shape(v->s, model_shape_members(v->s, sh));
	bool broken = false;
	json_t *value;
	size_t i;
	json_array_foreach (list, i, value) {
		size_t old = push(v, "%zu.member", i + 1);
		if (json_is_null(value))
			violation(v, NULL, NULL, "Member must not be null");
		else if (!scalar(element) || !type_fits(element, value))
			check(v, element, value, NULL, depth + 1);
		else
			broken = broken || breaches(v, element, value);
		pop(v, old);
	}
	if (broken && begin_violation(v, sh, list)) {
		buf_printf(&v->text, "%sMember must satisfy constraint: ", v->brief ? "'" : "");
		add_constraints(v, &v->text, element);
		buf_addz(&v->text, v->brief ? "'" : "");
	}
}

static void report_map(struct validator *v, const struct model_shape *sh, const json_t *map, const char *what,
		       const struct model_shape *part)
{
	if (!begin_violation(v, sh, map))
		return;
	buf_printf(&v->text, "%s must satisfy constraint: ", what);
	add_constraints(v, &v->text, part);
}

static void check_map(struct validator *v, const struct model_shape *sh, const json_t *map, int depth)
{
	const struct model_member *m = model_shape_members(v->s, sh);
	const struct model_shape *keys = model_member_shape(v->s, m), *values = model_member_shape(v->s, m + 1);
	bool bad_key = false, bad_value = false;
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)map, key, value) {
		CLEANUP_JSON json_t *k = json_string(key);
		bad_key = bad_key || breaches(v, keys, k);
		size_t old = push(v, "%.200s.member", key);
		if (json_is_null(value))
			violation(v, NULL, NULL, "Member must not be null");
		else if (!scalar(values) || !type_fits(values, value))
			check(v, values, value, NULL, depth + 1);
		else
			bad_value = bad_value || breaches(v, values, value);
		pop(v, old);
	}
	if (bad_key)
		report_map(v, sh, map, "Map keys", keys);
	if (bad_value)
		report_map(v, sh, map, "Map value", values);
}

static void check(struct validator *v, const struct model_shape *sh, const json_t *value, const char *const *skip,
		  int depth)
{
	if (sh->flags & (MS_DOCUMENT | MS_EVENTSTREAM))
		return;
	if (depth > CODEC_MAX_DEPTH) {
		violation(v, NULL, NULL, "Member must not be nested more than %d levels deep", CODEC_MAX_DEPTH);
		return;
	}
	if (!type_fits(sh, value)) {
		violation(v, sh, value, "Member must be %s", type_word(sh));
		return;
	}
	unsigned found = breaches(v, sh, value);
	if (found)
		report(v, sh, value, found);
	if (sh->type == MT_STRUCTURE)
		check_structure(v, sh, value, skip, depth);
	else if (sh->type == MT_LIST)
		check_list(v, sh, value, depth);
	else if (sh->type == MT_MAP)
		check_map(v, sh, value, depth);
}

/* ---- answers ---- */

/* Most services say ValidationException; these do not. */
static const char *validation_code(const struct model_service *s)
{
	static const struct {
		const char *service, *code;
	} others[] = {
		{ "ecr", "InvalidParameterException" },
		{ "logs", "InvalidParameterException" },
		{ "sagemaker-runtime", "ValidationError" },
		{ "cloudwatch", "ValidationError" },
	};
	if (model_protocol_of(s) == MODEL_QUERY)
		return "ValidationError";
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strcmp(model_name(s), others[i].service) == 0)
			return others[i].code;
	return "ValidationException";
}

static int validate(const struct model_service *s, const struct model_shape *sh, const json_t *in,
		    const char *const *skip, struct error *err)
{
	struct validator v = { .s = s, .brief = strcmp(model_name(s), "ecr") == 0 };
	check(&v, sh, in, skip, 0);
	int rc = 0;
	if (v.count > 0 && v.brief)
		rc = error_aws(err, validation_code(s), "%s", v.text.ptr);
	else if (v.count > 0)
		rc = error_aws(err, validation_code(s), "%d validation error%s detected: %s", v.count,
			       v.count == 1 ? "" : "s", v.text.ptr);
	buf_release(&v.path);
	buf_release(&v.text);
	return rc;
}

int model_validate(struct arena *a, const struct model_service *s, const struct model_op *op, json_t *in,
		   struct error *err)
{
	const struct model_shape *sh = model_op_input(s, op);
	return sh ? validate(s, sh, in, NULL, err) : 0;
}

int model_validate_shape(struct arena *a, const struct model_service *s, const char *shape, json_t *value,
			 const char *const *skip, struct error *err)
{
	const struct model_shape *sh = model_shape_find(s, str_from(shape));
	if (!sh)
		return error_set(err, "%s has no shape %s", model_name(s), shape);
	return validate(s, sh, value, skip, err);
}
