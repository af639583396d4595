/* codec_json.c - the AWS JSON protocols 1.0 and 1.1, and the JSON bodies of rest-json.
 *
 * DESIGN: the body is parsed whole (jansson checks UTF-8 and depth), then walked along the input shape: types are
 * checked with the texts of AWS's front ends, nulls and unknown members go. The output is written in one pass along the
 * output shape, so a handler can hand over more than the model shows. See codec.h for the normal form. */
#include "wire/codec.h"

#include <math.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"

/* ---- in ---- */

static const char *token_name(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_STRING:
		return "STRING_VALUE";
	case JSON_TRUE:
		return "TRUE_VALUE";
	case JSON_FALSE:
		return "FALSE_VALUE";
	default:
		return "NUMBER_VALUE";
	}
}

static const char *type_phrase(const struct model_shape *sh)
{
	static const char *const phrases[] = {
		[MT_STRING] = "a String",
		[MT_INTEGER] = "an Integer",
		[MT_LONG] = "a Long",
		[MT_FLOAT] = "a Float",
		[MT_DOUBLE] = "a Double",
		[MT_BOOLEAN] = "a Boolean",
		[MT_TIMESTAMP] = "milliseconds since epoch",
		[MT_BLOB] = "a Blob",
	};
	return phrases[sh->type];
}

static int wrong_type(struct codec *c, const struct model_shape *sh, const json_t *v)
{
	if (json_is_array(v))
		return error_aws(c->err, "SerializationException", "Start of list found where not expected");
	if (json_is_object(v))
		return error_aws(c->err, "SerializationException",
				 "Start of structure or map found where not expected.");
	if (sh->type == MT_STRUCTURE)
		return error_aws(c->err, "SerializationException", "Expected null");
	if (sh->type == MT_LIST)
		return error_aws(c->err, "SerializationException", "Expected list or null");
	if (sh->type == MT_MAP)
		return error_aws(c->err, "SerializationException", "Expected map or null");
	return error_aws(c->err, "SerializationException", "%s can not be converted to %s", token_name(v),
			 type_phrase(sh));
}

static int integer_in(struct codec *c, const struct model_shape *sh, json_t **slot)
{
	json_t *v = *slot;
	if (json_is_real(v)) {
		double d = json_real_value(v);
		if (d != floor(d) || fabs(d) >= 9.2e18)
			return wrong_type(c, sh, v);
		*slot = json_integer((json_int_t)d);
		json_decref(v);
		v = *slot;
	}
	if (!json_is_integer(v))
		return wrong_type(c, sh, v);
	json_int_t n = json_integer_value(v);
	if (sh->type == MT_INTEGER && (n < INT32_MIN || n > INT32_MAX))
		return wrong_type(c, sh, v);
	return 0;
}

static int float_in(struct codec *c, const struct model_shape *sh, json_t *v)
{
	if (json_is_number(v))
		return 0;
	struct str text = json_str(v);
	if (str_eqz(text, "NaN") || str_eqz(text, "Infinity") || str_eqz(text, "-Infinity"))
		return 0;
	return wrong_type(c, sh, v);
}

static int time_in(struct codec *c, const struct model_shape *sh, json_t **slot)
{
	int64_t ms;
	if (json_is_number(*slot))
		return codec_time_ms(*slot, &ms) ? 0 : wrong_type(c, sh, *slot);
	/* rest-json bodies may carry the date-time format of the model; a JSON service never accepts text. */
	if (!json_is_string(*slot) || model_protocol_of(c->s) == MODEL_JSON || !clock_parse_iso(json_str(*slot), &ms))
		return wrong_type(c, sh, *slot);
	json_decref(*slot);
	*slot = codec_time_new(ms);
	return 0;
}

static int blob_in(struct codec *c, const struct model_shape *sh, const json_t *v)
{
	if (!json_is_string(v))
		return wrong_type(c, sh, v);
	struct str text = json_str(v);
	CLEANUP_FREE char *raw = mem_alloc(3 * (text.len / 4) + 3);
	if (base64_decode(raw, text) < 0)
		return error_aws(c->err, "SerializationException", "The value is not valid base64");
	return 0;
}

static int structure_in(struct codec *c, const struct model_shape *sh, json_t *obj, int depth)
{
	const char *key;
	json_t *value;
	void *next;
	CLEANUP_JSON json_t *renamed = NULL; /* not set at once: the loop would meet it again */
	json_object_foreach_safe (obj, next, key, value) {
		const struct model_member *m = codec_member_wire(c->s, sh, str_from(key));
		if (!m || json_is_null(value) || m->location != ML_BODY) {
			json_object_del(obj, key);
			continue;
		}
		json_t *now = json_incref(value);
		int rc = codec_json_in(c, model_member_shape(c->s, m), &now, depth + 1);
		if (rc == 0 && m->wire) {
			renamed = renamed ? renamed : json_object();
			json_object_set(renamed, model_text(c->s, m->name), now);
			json_object_del(obj, key);
		} else if (rc == 0 && now != value) {
			json_object_set(obj, key, now);
		}
		json_decref(now);
		if (rc < 0)
			return rc;
	}
	if (renamed)
		json_object_update(obj, renamed);
	return 0;
}

static int list_in(struct codec *c, const struct model_shape *sh, json_t *list, int depth)
{
	const struct model_member *m = model_shape_members(c->s, sh);
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *value = json_array_get(list, i), *now = json_incref(value);
		int rc = json_is_null(value) ? 0 : codec_json_in(c, model_member_shape(c->s, m), &now, depth + 1);
		if (rc == 0 && now != value)
			json_array_set(list, i, now);
		json_decref(now);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int map_in(struct codec *c, const struct model_shape *sh, json_t *map, int depth)
{
	const struct model_member *m = model_shape_members(c->s, sh) + 1;
	const char *key;
	json_t *value;
	void *next;
	json_object_foreach_safe (map, next, key, value) {
		json_t *now = json_incref(value);
		int rc = json_is_null(value) ? 0 : codec_json_in(c, model_member_shape(c->s, m), &now, depth + 1);
		if (rc == 0 && now != value)
			json_object_set(map, key, now);
		json_decref(now);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int codec_json_in(struct codec *c, const struct model_shape *sh, json_t **slot, int depth)
{
	json_t *v = *slot;
	if (depth > CODEC_MAX_DEPTH)
		return codec_depth_error(c->err);
	if (sh->flags & MS_DOCUMENT)
		return 0;
	switch (sh->type) {
	case MT_STRUCTURE:
		return json_is_object(v) ? structure_in(c, sh, v, depth) : wrong_type(c, sh, v);
	case MT_LIST:
		return json_is_array(v) ? list_in(c, sh, v, depth) : wrong_type(c, sh, v);
	case MT_MAP:
		return json_is_object(v) ? map_in(c, sh, v, depth) : wrong_type(c, sh, v);
	case MT_STRING:
		return json_is_string(v) ? 0 : wrong_type(c, sh, v);
	case MT_INTEGER:
	case MT_LONG:
		return integer_in(c, sh, slot);
	case MT_FLOAT:
	case MT_DOUBLE:
		return float_in(c, sh, v);
	case MT_BOOLEAN:
		return json_is_boolean(v) ? 0 : wrong_type(c, sh, v);
	case MT_TIMESTAMP:
		return time_in(c, sh, slot);
	case MT_BLOB:
		return blob_in(c, sh, v);
	}
	BUG("shape type %d", sh->type);
}

int codec_json_body(struct codec *c, struct str text, json_t **out)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	if (str_trim(text).len == 0) {
		*out = json_object();
		return 0;
	}
	json_t *v = json_parse(text, &why);
	if (!v)
		return error_aws(c->err, "SerializationException", "The body is not valid JSON: %s", error_text(&why));
	if (json_is_array(v)) {
		json_decref(v);
		return error_aws(c->err, "SerializationException", "Start of list found where not expected");
	}
	*out = v;
	return 0;
}

/* The operation that X-Amz-Target names: "Prefix.Operation". */
static int find_target(struct codec *c, const struct codec_request *rq, const struct model_op **op)
{
	struct str target = codec_header(rq, "x-amz-target"), prefix = str_from(model_target_prefix(c->s));
	if (!target.ptr)
		return error_aws(c->err, "UnknownOperationException",
				 "%s has no operation `%.*s %.*s`: the request has no X-Amz-Target header",
				 model_name(c->s), STR_ARG(str_head(rq->method, 20)), STR_ARG(str_head(rq->path, 200)));
	bool ours = str_starts(target, prefix) && target.len > prefix.len && target.ptr[prefix.len] == '.';
	*op = ours ? model_op_find(c->s, str_skip(target, prefix.len + 1)) : NULL;
	if (!*op)
		return error_aws(c->err, "UnknownOperationException", "%s has no operation `%.*s`", model_name(c->s),
				 STR_ARG(str_head(target, 200)));
	return 0;
}

int codec_json_decode(struct codec *c, const struct codec_request *rq, const struct model_op **op, json_t **in)
{
	CLEANUP_JSON json_t *v = NULL;
	if (find_target(c, rq, op) < 0 || codec_json_body(c, rq->body, &v) < 0)
		return -1;
	const struct model_shape *sh = model_op_input(c->s, *op);
	if (!sh) {
		*in = json_object();
		return 0;
	}
	if (codec_json_in(c, sh, &v, 0) < 0)
		return -1;
	*in = v;
	v = NULL;
	return 0;
}

/* ---- out ---- */

/* The bytes C0 80, which are no UTF-8, stand for U+0000: an error's message, a C string, holds it so (error.h). */
static void add_string(struct buf *b, struct str s)
{
	static const char hex[] = "0123456789abcdef";
	buf_add_char(b, '"');
	size_t done = 0;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char ch = (unsigned char)s.ptr[i];
		bool nul = ch == 0xC0 && i + 1 < s.len && (unsigned char)s.ptr[i + 1] == 0x80;
		if (!nul && ch >= 32 && ch != '"' && ch != '\\' && ch != 127)
			continue;
		buf_add(b, s.ptr + done, i - done);
		i += nul;
		ch = nul ? 0 : ch;
		done = i + 1;
		if (ch == '"' || ch == '\\') {
			char two[2] = { '\\', (char)ch };
			buf_add(b, two, 2);
		} else if (ch == '\n') {
			buf_add(b, "\\n", 2);
		} else {
			char six[6] = { '\\', 'u', '0', '0', hex[ch >> 4], hex[ch & 15] };
			buf_add(b, six, 6);
		}
	}
	buf_add(b, s.ptr + done, s.len - done);
	buf_add_char(b, '"');
}

/* Any JSON, without a model. */
static int add_document(struct codec *c, const json_t *v, struct buf *b, int depth)
{
	const char *key;
	json_t *item;
	size_t i;
	bool first = true;
	if (depth > 2 * CODEC_MAX_DEPTH)
		return codec_depth_error(c->err);
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		buf_add_char(b, '{');
		json_object_foreach ((json_t *)v, key, item) {
			if (!first)
				buf_add_char(b, ',');
			first = false;
			add_string(b, str_from(key));
			buf_add_char(b, ':');
			if (add_document(c, item, b, depth + 1) < 0)
				return -1;
		}
		buf_add_char(b, '}');
		return 0;
	case JSON_ARRAY:
		buf_add_char(b, '[');
		json_array_foreach (v, i, item) {
			if (i > 0)
				buf_add_char(b, ',');
			if (add_document(c, item, b, depth + 1) < 0)
				return -1;
		}
		buf_add_char(b, ']');
		return 0;
	case JSON_STRING:
		add_string(b, json_str(v));
		return 0;
	case JSON_INTEGER:
		buf_printf(b, "%lld", (long long)json_integer_value(v));
		return 0;
	case JSON_REAL:
		codec_add_double(b, json_real_value(v));
		return 0;
	case JSON_TRUE:
		buf_addz(b, "true");
		return 0;
	case JSON_FALSE:
		buf_addz(b, "false");
		return 0;
	case JSON_NULL:
		buf_addz(b, "null");
		return 0;
	}
	return 0;
}

static int structure_out(struct codec *c, const struct model_shape *sh, const json_t *obj, struct buf *b, int depth)
{
	const char *key;
	json_t *value;
	bool first = true;
	buf_add_char(b, '{');
	json_object_foreach ((json_t *)obj, key, value) {
		const struct model_member *m = codec_member(c->s, sh, str_from(key));
		if (!m || json_is_null(value) || m->location != ML_BODY)
			continue;
		if (!first)
			buf_add_char(b, ',');
		first = false;
		add_string(b, str_from(model_member_wire(c->s, m)));
		buf_add_char(b, ':');
		if (codec_json_out(c, model_member_shape(c->s, m), m->flags, value, b, depth + 1) < 0)
			return error_wrap(c->err, "%s", key);
	}
	buf_add_char(b, '}');
	return 0;
}

static int list_out(struct codec *c, const struct model_shape *sh, const json_t *list, struct buf *b, int depth)
{
	const struct model_member *m = model_shape_members(c->s, sh);
	size_t i;
	json_t *value;
	buf_add_char(b, '[');
	json_array_foreach (list, i, value) {
		if (i > 0)
			buf_add_char(b, ',');
		if (codec_json_out(c, model_member_shape(c->s, m), m->flags, value, b, depth + 1) < 0)
			return error_wrap(c->err, "element %zu", i);
	}
	buf_add_char(b, ']');
	return 0;
}

static int map_out(struct codec *c, const struct model_shape *sh, const json_t *map, struct buf *b, int depth)
{
	const struct model_member *m = model_shape_members(c->s, sh) + 1;
	const char *key;
	json_t *value;
	bool first = true;
	buf_add_char(b, '{');
	json_object_foreach ((json_t *)map, key, value) {
		if (!first)
			buf_add_char(b, ',');
		first = false;
		add_string(b, str_from(key));
		buf_add_char(b, ':');
		if (codec_json_out(c, model_member_shape(c->s, m), m->flags, value, b, depth + 1) < 0)
			return error_wrap(c->err, "key %s", key);
	}
	buf_add_char(b, '}');
	return 0;
}

static int scalar_out(struct codec *c, const struct model_shape *sh, unsigned member_flags, const json_t *v,
		      struct buf *b)
{
	bool text = sh->type == MT_STRING || sh->type == MT_BLOB ||
		    (sh->type == MT_TIMESTAMP && (member_flags & MM_TIME_MASK) &&
		     (member_flags & MM_TIME_MASK) != MM_TIME_UNIX) ||
		    (json_is_string(v) && (sh->type == MT_FLOAT || sh->type == MT_DOUBLE));
	if (!text)
		return codec_to_text(c, sh, member_flags, MM_TIME_UNIX, v, b);
	CLEANUP_BUF struct buf t = BUF_INIT;
	if (codec_to_text(c, sh, member_flags, MM_TIME_UNIX, v, &t) < 0)
		return -1;
	add_string(b, buf_str(&t));
	return 0;
}

int codec_json_out(struct codec *c, const struct model_shape *sh, unsigned member_flags, const json_t *v, struct buf *b,
		   int depth)
{
	if (depth > CODEC_MAX_DEPTH)
		return error_set(c->err, "nested too deep");
	if (sh->flags & MS_DOCUMENT)
		return add_document(c, v, b, depth);
	if (json_is_null(v)) {
		buf_addz(b, "null");
		return 0;
	}
	if (sh->type == MT_STRUCTURE && json_is_object(v))
		return structure_out(c, sh, v, b, depth);
	if (sh->type == MT_LIST && json_is_array(v))
		return list_out(c, sh, v, b, depth);
	if (sh->type == MT_MAP && json_is_object(v))
		return map_out(c, sh, v, b, depth);
	if (sh->type <= MT_MAP)
		return error_set(c->err, "the value is no %s", model_text(c->s, sh->name));
	if (sh->type == MT_STRING && json_is_string(v)) {
		add_string(b, json_str(v));
		return 0;
	}
	return scalar_out(c, sh, member_flags, v, b);
}

int codec_json_encode(struct codec *c, const struct model_op *op, const json_t *out, struct codec_response *rs)
{
	const struct model_shape *sh = model_op_output(c->s, op);
	CLEANUP_BUF struct buf b = BUF_INIT;
	rs->content_type = arena_printf(c->arena, "application/x-amz-json-%s", model_text(c->s, c->s->json_version));
	/* An operation without output answers an empty body, as the AWS front ends do. */
	if (sh && out && codec_json_out(c, sh, 0, out, &b, 0) < 0)
		return -1;
	if (sh && !out)
		buf_addz(&b, "{}");
	codec_set_body(c->arena, rs, &b);
	return 0;
}

void codec_ready(struct arena *a, const struct model_service *s, struct str text, struct codec_response *rs)
{
	const char *type = arena_printf(a, "application/x-amz-json-%s", model_text(s, s->json_version));
	*rs = (struct codec_response){ .status = 200, .content_type = type, .body = text };
}

/* The member of a modelled error, in its own spelling; NULL when it has none. */
static const char *error_member(const struct model_service *s, const struct model_shape *sh, const char *name)
{
	const struct model_member *m = sh ? model_shape_members(s, sh) : NULL;
	for (size_t i = 0; m && i < sh->count; i++)
		if (str_eq_nocase(str_from(model_text(s, m[i].name)), str_from(name)))
			return model_text(s, m[i].name);
	return NULL;
}

/* An error that the model knows has its members: "Message" or "message", and Lambda's "Type". */
void codec_json_error(struct arena *a, const struct model_service *s, const struct model_shape *sh, const char *code,
		      const char *message, struct codec_response *rs)
{
	const char *text = error_member(s, sh, "message");
	CLEANUP_BUF struct buf b = BUF_INIT;
	bool rest = model_protocol_of(s) == MODEL_REST_JSON;
	rs->content_type = rest ? "application/json"
				: arena_printf(a, "application/x-amz-json-%s", model_text(s, s->json_version));
	buf_addz(&b, "{\"__type\":");
	add_string(&b, str_from(code));
	if (rest && error_member(s, sh, "Type"))
		buf_printf(&b, ",\"Type\":\"%s\"", rs->status >= 500 ? "Service" : "User");
	buf_printf(&b, ",\"%s\":", text ? text : "message");
	add_string(&b, str_from(message));
	buf_add_char(&b, '}');
	codec_set_body(a, rs, &b);
}
