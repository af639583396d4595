/* codec_rest.c - the REST protocols (rest-json, rest-xml): the operation from method and path, members in path, query
 * and headers.
 *
 * DESIGN: the URI templates of the model are compared segment by segment with the request's path; among those that fit
 * the one with the most literal text wins, so no order of the table matters. Timestamps are HTTP dates in headers and
 * ISO in path and query unless the model says otherwise. A payload member is the whole body: a structure, text, or
 * bytes (base64 in the normal form). Event streams are not handled here. */
#include <stdlib.h>

#include "base/id.h"
#include "base/json.h"
#include "wire/codec.h"
#include "wire/uri.h"
#include "wire/wire.h"

/* ---- finding the operation ---- */

/* Takes the next segment of a path without leading '/'. False at the end (an empty last segment is no segment). */
static bool next_segment(struct str *rest, struct str *segment)
{
	if (!rest->ptr || rest->len == 0)
		return false;
	return str_split(rest, '/', segment);
}

static struct str without_slash(struct str path)
{
	return path.len && path.ptr[0] == '/' ? str_skip(path, 1) : path;
}

static bool is_label(struct str segment)
{
	return segment.len > 2 && segment.ptr[0] == '{' && segment.ptr[segment.len - 1] == '}';
}

static bool is_greedy(struct str segment)
{
	return is_label(segment) && segment.ptr[segment.len - 2] == '+';
}

bool codec_rest_is_label(struct str segment, bool *greedy)
{
	*greedy = is_greedy(segment);
	return is_label(segment);
}

/* What is left of `path` for a greedy label that `after` further template segments follow; *path moves behind it. */
static struct str take_greedy(struct str *path, struct str segment, struct str template_rest)
{
	size_t after = 0;
	struct str t = template_rest, piece;
	while (next_segment(&t, &piece))
		after++;
	size_t end = segment.len + (path->ptr ? 1 + path->len : 0);
	for (size_t i = end; after > 0 && i > 0; i--) {
		if (segment.ptr[i - 1] == '/' && --after == 0)
			end = i - 1;
	}
	struct str taken = str_of(segment.ptr, end);
	size_t all = segment.len + (path->ptr ? 1 + path->len : 0);
	*path = end < all ? str_of(segment.ptr + end + 1, all - end - 1) : STR_NULL;
	return taken;
}

/* Walks template and path together; fn is told of each label. The score (literal bytes), -1 when they do not fit. */
static int walk(struct str template, struct str path, int (*fn)(void *, struct str label, struct str text), void *ctx)
{
	struct str t = without_slash(template), p = without_slash(path), want, have;
	int score = 0;
	while (next_segment(&t, &want)) {
		if (!next_segment(&p, &have))
			return -1;
		if (!is_label(want)) {
			if (!str_eq(want, have))
				return -1;
			score += 1 + (int)want.len;
			continue;
		}
		bool greedy = is_greedy(want);
		if (greedy)
			have = take_greedy(&p, have, t);
		if (have.len == 0)
			return -1;
		score += greedy ? 0 : 1;
		if (fn && fn(ctx, str_of(want.ptr + 1, want.len - 2 - greedy), have) < 0)
			return -2;
	}
	return p.ptr && p.len ? -1 : score;
}

static bool has_query(const struct codec_request *rq, struct str name, struct str value, bool any)
{
	for (size_t i = 0; i < rq->nquery; i++)
		if (str_eq(rq->query[i].name, name) && (any || str_eq(rq->query[i].value, value)))
			return true;
	return false;
}

/* "?list-type=2&acl": every piece must be there. The number of pieces, -1 when one is absent. */
static int fixed_query(const struct codec_request *rq, struct str query)
{
	struct str rest = query, piece;
	int n = 0;
	while (rest.ptr && rest.len && str_split(&rest, '&', &piece)) {
		ptrdiff_t eq = str_find_char(piece, '=');
		struct str name = eq < 0 ? piece : str_head(piece, (size_t)eq);
		if (!has_query(rq, name, eq < 0 ? STR("") : str_skip(piece, (size_t)eq + 1), eq < 0))
			return -1;
		n++;
	}
	return n;
}

void codec_rest_uri(const struct model_service *s, const struct model_op *op, struct str *path, struct str *query)
{
	struct str uri = str_from(model_text(s, op->uri));
	ptrdiff_t mark = str_find_char(uri, '?');
	*path = mark < 0 ? uri : str_head(uri, (size_t)mark);
	*query = mark < 0 ? STR("") : str_skip(uri, (size_t)mark + 1);
}

/* Required arguments and headers tell operations of one path apart (uploadId, x-amz-copy-source). Their number, -1 when
 * one is absent. */
static int required_parts(const struct model_service *s, const struct model_op *op, const struct codec_request *rq)
{
	const struct model_shape *sh = model_op_input(s, op);
	int n = 0;
	for (size_t i = 0; sh && i < sh->count; i++) {
		const struct model_member *m = &model_shape_members(s, sh)[i];
		const char *name = model_member_wire(s, m);
		if (!(m->flags & MM_REQUIRED) || (m->location != ML_QUERY && m->location != ML_HEADER))
			continue;
		if (m->location == ML_QUERY ? !has_query(rq, str_from(name), STR(""), true)
					    : !codec_header(rq, name).ptr)
			return -1;
		n++;
	}
	return n;
}

/* rest-json services leave an absent argument to validation; in S3 it means another operation. */
static const struct model_op *find_op(const struct model_service *s, const struct codec_request *rq)
{
	const struct model_op *best = NULL;
	int best_score = -1;
	for (size_t i = 0; i < s->op_count; i++) {
		const struct model_op *op = &s->ops[i];
		struct str path, query;
		if (!str_eqz(rq->method, model_text(s, op->method)))
			continue;
		codec_rest_uri(s, op, &path, &query);
		int fixed = fixed_query(rq, query), score = walk(path, rq->path, NULL, NULL);
		int required = model_protocol_of(s) == MODEL_REST_XML ? required_parts(s, op, rq) : 0;
		if (fixed < 0 || score < 0 || required < 0 || score + 1000 * (fixed + required) <= best_score)
			continue;
		best = op;
		best_score = score + 1000 * (fixed + required);
	}
	return best;
}

/* ---- members outside the body ---- */

struct label_ctx {
	struct codec *c;
	const struct model_shape *sh;
	json_t *in;
};

static int set_text(struct codec *c, const struct model_member *m, json_t *in, struct str text)
{
	json_t *v = codec_from_text(c, model_member_shape(c->s, m), model_text(c->s, m->name), text);
	return v ? json_object_set_new(in, model_text(c->s, m->name), v) : -1;
}

static int on_label(void *ctx, struct str label, struct str text)
{
	struct label_ctx *l = ctx;
	const struct model_member *m = model_shape_members(l->c->s, l->sh);
	for (size_t i = 0; i < l->sh->count; i++)
		if (m[i].location == ML_URI && str_eqz(label, model_member_wire(l->c->s, &m[i])))
			return set_text(l->c, &m[i], l->in, uri_decoded(l->c->arena, text, false));
	return 0;
}

static int query_list(struct codec *c, const struct codec_request *rq, const struct model_member *m, json_t *in)
{
	const struct model_shape *sh = model_member_shape(c->s, m);
	const struct model_shape *element = model_member_shape(c->s, model_shape_members(c->s, sh));
	CLEANUP_JSON json_t *list = json_array();
	for (size_t i = 0; i < rq->nquery; i++) {
		if (!str_eqz(rq->query[i].name, model_member_wire(c->s, m)))
			continue;
		json_t *v = codec_from_text(c, element, model_text(c->s, m->name), rq->query[i].value);
		if (!v)
			return -1;
		json_array_append_new(list, v);
	}
	if (json_array_size(list))
		json_object_set(in, model_text(c->s, m->name), list);
	return 0;
}

static int query_member(struct codec *c, const struct codec_request *rq, const struct model_member *m, json_t *in)
{
	if (model_member_shape(c->s, m)->type == MT_LIST)
		return query_list(c, rq, m, in);
	for (size_t i = 0; i < rq->nquery; i++)
		if (str_eqz(rq->query[i].name, model_member_wire(c->s, m)))
			return set_text(c, m, in, rq->query[i].value);
	return 0;
}

/* A map member takes every argument that no other member has. */
static int query_map(struct codec *c, const struct codec_request *rq, const struct model_shape *sh,
		     const struct model_member *m, json_t *in)
{
	const struct model_shape *map = model_member_shape(c->s, m);
	const struct model_member *value = model_shape_members(c->s, map) + 1;
	bool lists = model_member_shape(c->s, value)->type == MT_LIST;
	CLEANUP_JSON json_t *out = json_object();
	for (size_t i = 0; i < rq->nquery; i++) {
		const struct model_member *other = codec_member_wire(c->s, sh, rq->query[i].name);
		if (other && other->location == ML_QUERY && other != m)
			continue;
		struct str name = rq->query[i].name;
		json_t *text = json_stringn(rq->query[i].value.ptr, rq->query[i].value.len), *old;
		if (!text)
			return error_aws(c->err, "SerializationException", "A query argument is not valid UTF-8");
		if (lists) {
			old = json_object_getn(out, name.ptr, name.len);
			if (!old) {
				old = json_array();
				if (json_object_setn_new(out, name.ptr, name.len, old) < 0)
					old = NULL;
			}
			if (!old || json_array_append_new(old, text) < 0)
				return error_aws(c->err, "SerializationException", "A query argument is malformed");
		} else if (json_object_setn_new(out, name.ptr, name.len, text) < 0) {
			return error_aws(c->err, "SerializationException", "A query argument is malformed");
		}
	}
	if (json_object_size(out))
		json_object_set(in, model_text(c->s, m->name), out);
	return 0;
}

/* "a, b": the elements of a list in one header. */
static int header_list(struct codec *c, const struct model_member *m, struct str text, json_t *in)
{
	const struct model_shape *element =
		model_member_shape(c->s, model_shape_members(c->s, model_member_shape(c->s, m)));
	CLEANUP_JSON json_t *list = json_array();
	struct str rest = text, piece;
	while (str_split(&rest, ',', &piece)) {
		json_t *v = codec_from_text(c, element, model_text(c->s, m->name), str_trim(piece));
		if (!v)
			return -1;
		json_array_append_new(list, v);
	}
	json_object_set(in, model_text(c->s, m->name), list);
	return 0;
}

static int header_member(struct codec *c, const struct codec_request *rq, const struct model_member *m, json_t *in)
{
	struct str text = codec_header(rq, model_member_wire(c->s, m));
	if (!text.ptr)
		return 0;
	if (model_member_shape(c->s, m)->type == MT_LIST)
		return header_list(c, m, text, in);
	if (!(m->flags & MM_JSONVALUE))
		return set_text(c, m, in, text);
	char *raw = arena_alloc(c->arena, text.len + 4);
	ptrdiff_t n = base64_decode(raw, text);
	return n < 0 ? error_aws(c->err, "SerializationException", "The header %s is not base64",
				 model_member_wire(c->s, m))
		     : set_text(c, m, in, str_of(raw, (size_t)n));
}

static int header_map(struct codec *c, const struct codec_request *rq, const struct model_member *m, json_t *in)
{
	struct str prefix = str_from(m->wire ? model_text(c->s, m->wire) : "");
	CLEANUP_JSON json_t *map = json_object();
	for (size_t i = 0; i < rq->nheaders; i++) {
		struct str name = rq->headers[i].name, value = rq->headers[i].value;
		if (name.len <= prefix.len || !str_eq_nocase(str_head(name, prefix.len), prefix))
			continue;
		json_t *text = json_stringn(value.ptr, value.len);
		name = str_skip(name, prefix.len);
		if (!text || json_object_setn_new(map, name.ptr, name.len, text) < 0)
			return error_aws(c->err, "SerializationException", "A header is not valid UTF-8");
	}
	if (json_object_size(map))
		json_object_set(in, model_text(c->s, m->name), map);
	return 0;
}

static bool is_xml(struct codec *c)
{
	return model_protocol_of(c->s) == MODEL_REST_XML;
}

/* ---- the body ---- */

static int payload_in(struct codec *c, const struct model_member *m, struct str body, json_t *in)
{
	const struct model_shape *sh = model_member_shape(c->s, m);
	json_t *v = NULL;
	if (sh->flags & MS_EVENTSTREAM)
		return error_aws(c->err, "SerializationException", "Event streams are not supported in requests");
	if (body.len == 0)
		return 0;
	if (sh->type == MT_BLOB) {
		char *text = arena_alloc_raw(c->arena, 4 * ((body.len + 2) / 3) + 1);
		size_t n = base64_encode(text, body.ptr, body.len);
		v = json_stringn(text, n);
	} else if (sh->type == MT_STRING) {
		v = codec_from_text(c, sh, model_text(c->s, m->name), body);
	} else if (str_trim(body).len == 0) {
		return 0;
	} else if (is_xml(c)) {
		if (codec_xml_in(c, sh, body, &v) < 0)
			return -1;
	} else if (codec_json_body(c, body, &v) < 0 || codec_json_in(c, sh, &v, 0) < 0) {
		json_decref(v);
		return -1;
	}
	return v ? json_object_set_new(in, model_text(c->s, m->name), v) : -1;
}

int codec_rest_body_in(struct codec *c, const struct model_shape *sh, struct str body, json_t *in)
{
	CLEANUP_JSON json_t *v = NULL;
	if (str_trim(body).len == 0)
		return 0;
	if (is_xml(c) ? codec_xml_in(c, sh, body, &v) < 0 : codec_json_body(c, body, &v) < 0)
		return -1;
	if (!is_xml(c) && codec_json_in(c, sh, &v, 0) < 0)
		return -1;
	json_object_update_missing(in, v);
	return 0;
}

int codec_rest_member_in(struct codec *c, const struct codec_request *rq, const struct model_shape *sh,
			 const struct model_member *m, json_t *in)
{
	switch (m->location) {
	case ML_QUERY:
		return model_member_shape(c->s, m)->type == MT_MAP ? query_map(c, rq, sh, m, in)
								   : query_member(c, rq, m, in);
	case ML_HEADER:
		return header_member(c, rq, m, in);
	case ML_HEADERS:
		return header_map(c, rq, m, in);
	case ML_PAYLOAD:
		return payload_in(c, m, rq->body, in);
	default:
		return 0;
	}
}

int codec_rest_decode(struct codec *c, const struct codec_request *rq, const struct model_op **op, json_t **out)
{
	*op = find_op(c->s, rq);
	if (!*op)
		return error_http(c->err, 404, "UnknownOperationException", "%s has no operation for %.*s %.*s",
				  model_name(c->s), STR_ARG(str_head(rq->method, 20)),
				  STR_ARG(str_head(rq->path, 200)));
	const struct model_shape *sh = model_op_input(c->s, *op);
	CLEANUP_JSON json_t *in = json_object();
	if (sh) {
		const struct model_member *m = model_shape_members(c->s, sh);
		struct label_ctx labels = { c, sh, in };
		struct str path, query;
		codec_rest_uri(c->s, *op, &path, &query);
		if (walk(path, rq->path, on_label, &labels) < 0)
			return -1;
		for (size_t i = 0; i < sh->count; i++)
			if (codec_rest_member_in(c, rq, sh, &m[i], in) < 0)
				return -1;
		if (!(sh->flags & MS_PAYLOAD) && codec_rest_body_in(c, sh, rq->body, in) < 0)
			return -1;
	}
	*out = json_incref(in);
	return 0;
}

/* ---- out ---- */

/* A header's value has no line ends. */
static int check_header(struct codec *c, const char *name, struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == '\r' || text.ptr[i] == '\n' || text.ptr[i] == 0)
			return error_set(c->err, "the header %s has a line end", name);
	return 0;
}

static int header_out(struct codec *c, const struct model_member *m, const char *name, const json_t *value,
		      struct codec_response *rs)
{
	const struct model_shape *sh = model_member_shape(c->s, m);
	CLEANUP_BUF struct buf b = BUF_INIT;
	json_t *item;
	size_t i;
	if (sh->type == MT_LIST) {
		const struct model_member *element = model_shape_members(c->s, sh);
		json_array_foreach (value, i, item) {
			if (i > 0)
				buf_addz(&b, ", ");
			if (codec_to_text(c, model_member_shape(c->s, element), element->flags, MM_TIME_HTTP, item,
					  &b) < 0)
				return -1;
		}
	} else if (codec_to_text(c, sh, m->flags, MM_TIME_HTTP, value, &b) < 0) {
		return -1;
	}
	if (check_header(c, name, buf_str(&b)) < 0)
		return -1;
	if (str_eq_nocase(str_from(name), STR("content-type"))) {
		rs->content_type = arena_strdup(c->arena, buf_str(&b));
		return 0;
	}
	if (!(m->flags & MM_JSONVALUE)) {
		codec_add_header(c->arena, rs, name, buf_str(&b));
		return 0;
	}
	char *text = arena_alloc_raw(c->arena, 4 * ((b.len + 2) / 3) + 1);
	base64_encode(text, b.ptr, b.len);
	codec_add_header(c->arena, rs, name, str_from(text));
	return 0;
}

static int headers_out(struct codec *c, const struct model_member *m, const json_t *map, struct codec_response *rs)
{
	const char *prefix = m->wire ? model_text(c->s, m->wire) : "", *key;
	json_t *value;
	json_object_foreach ((json_t *)map, key, value) {
		if (check_header(c, key, str_from(key)) < 0 || check_header(c, key, json_str(value)) < 0)
			return -1;
		codec_add_header(c->arena, rs, arena_printf(c->arena, "%s%s", prefix, key), json_str(value));
	}
	return 0;
}

static int blob_out(struct codec *c, const json_t *value, struct codec_response *rs)
{
	struct str text = json_str(value);
	char *raw = arena_alloc_raw(c->arena, 3 * (text.len / 4) + 3);
	ptrdiff_t n = base64_decode(raw, text);
	if (!text.ptr || n < 0)
		return error_set(c->err, "the payload is not base64");
	rs->body = str_of(raw, (size_t)n);
	return 0;
}

static int payload_out(struct codec *c, const struct model_member *m, const json_t *value, struct codec_response *rs)
{
	const struct model_shape *sh = model_member_shape(c->s, m);
	CLEANUP_BUF struct buf b = BUF_INIT;
	if (sh->flags & MS_EVENTSTREAM)
		return error_set(c->err, "an event stream is not encoded here");
	if (!rs->content_type)
		rs->content_type = sh->type == MT_BLOB     ? "application/octet-stream"
				   : sh->type == MT_STRING ? "text/plain"
				   : is_xml(c)             ? "application/xml"
							   : "application/json";
	if (!value)
		return 0;
	if (sh->type == MT_BLOB)
		return blob_out(c, value, rs);
	if (sh->type == MT_STRING)
		buf_add_str(&b, json_str(value));
	else if (is_xml(c) ? codec_xml_value(c, m, model_member_wire(c->s, m), value, &b, 0) < 0
			   : codec_json_out(c, sh, m->flags, value, &b, 0) < 0)
		return -1;
	codec_set_body(c->arena, rs, &b);
	return 0;
}

static int body_out(struct codec *c, const struct model_op *op, const struct model_shape *sh, const json_t *out,
		    struct codec_response *rs)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	const char *name = model_text(c->s, sh->name);
	if (!is_xml(c)) {
		rs->content_type = rs->content_type ? rs->content_type : "application/json";
		if (!out)
			buf_addz(&b, "{}");
		else if (codec_json_out(c, sh, 0, out, &b, 0) < 0)
			return -1;
	} else {
		rs->content_type = rs->content_type ? rs->content_type : "application/xml";
		buf_addz(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
		xml_open(&b, name);
		if (out && codec_xml_members(c, sh, out, &b, 0) < 0)
			return -1;
		xml_close(&b, name);
	}
	codec_set_body(c->arena, rs, &b);
	return 0;
}

int codec_rest_encode(struct codec *c, const struct model_op *op, const json_t *out, struct codec_response *rs)
{
	const struct model_shape *sh = model_op_output(c->s, op);
	const struct model_member *payload = NULL;
	if (!sh)
		return 0;
	const struct model_member *m = model_shape_members(c->s, sh);
	bool has_body = false;
	for (size_t i = 0; i < sh->count; i++) {
		const json_t *value = json_get(out, model_text(c->s, m[i].name));
		if (m[i].location == ML_PAYLOAD)
			payload = &m[i];
		has_body = has_body || m[i].location == ML_BODY;
		if (!value)
			continue;
		if (m[i].location == ML_STATUS)
			rs->status = (int)json_integer_value(value);
		else if (m[i].location == ML_HEADER &&
			 header_out(c, &m[i], model_member_wire(c->s, &m[i]), value, rs) < 0)
			return error_wrap(c->err, "%s", model_text(c->s, m[i].name));
		else if (m[i].location == ML_HEADERS && headers_out(c, &m[i], value, rs) < 0)
			return error_wrap(c->err, "%s", model_text(c->s, m[i].name));
	}
	if (payload)
		return payload_out(c, payload, json_get(out, model_text(c->s, payload->name)), rs);
	/* rest-json always says something; rest-xml is silent when no member is in the body. */
	return rs->status != 204 && (has_body || !is_xml(c)) ? body_out(c, op, sh, out, rs) : 0;
}
