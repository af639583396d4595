/* codec_rest_client.c - the client's side of rest-xml: a request from the members of an operation's input, the members
 * of its output from an answer.
 *
 * DESIGN: the mirror of codec_rest.c, for calls from inside to a service that handles HTTP itself (inside.c). A body
 * of bytes is text in the member, since a caller from inside has and wants JSON; bytes that are no text are an error.
 * Requests have no body members beside a payload (S3 has none). */
#include "base/json.h"
#include "wire/codec.h"
#include "wire/uri.h"
#include "wire/wire.h"

struct pairs {
	struct codec_pair *list;
	size_t n, cap;
};

static void add(struct arena *a, struct pairs *p, struct str name, struct str value)
{
	if (p->n == p->cap) {
		struct codec_pair *more = ARENA_ARRAY(a, struct codec_pair, p->cap ? 2 * p->cap : 16);
		if (p->n)
			memcpy(more, p->list, p->n * sizeof(*more));
		p->list = more;
		p->cap = p->cap ? 2 * p->cap : 16;
	}
	p->list[p->n++] = (struct codec_pair){ name, value };
}

static int to_text(struct codec *c, const struct model_member *m, unsigned time_default, const json_t *value,
		   struct str *out)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	if (codec_to_text(c, model_member_shape(c->s, m), m->flags, time_default, value, &b) < 0)
		return error_aws(c->err, "InvalidArgument", "The value of %s has an invalid format.",
				 model_text(c->s, m->name));
	*out = arena_str(c->arena, buf_str(&b));
	return 0;
}

/* ---- path and query ---- */

static const struct model_member *label_member(struct codec *c, const struct model_shape *sh, struct str label)
{
	const struct model_member *m = model_shape_members(c->s, sh);
	for (size_t i = 0; i < sh->count; i++)
		if (m[i].location == ML_URI && str_eqz(label, model_member_wire(c->s, &m[i])))
			return &m[i];
	BUG("no member for a label of %s", model_text(c->s, sh->name));
}

/* "{Key+}" becomes the member's text, percent-encoded. The SDK for Java refuses what is absent in these words. */
static int add_label(struct codec *c, const struct model_shape *sh, struct str segment, bool greedy, const json_t *in,
		     struct buf *path)
{
	const struct model_member *m = label_member(c, sh, str_of(segment.ptr + 1, segment.len - 2 - greedy));
	const char *name = model_text(c->s, m->name);
	const json_t *value = json_get(in, name);
	struct str text;
	if (!value)
		return error_aws(c->err, "SdkClientException", "Parameter '%s' must not be null", name);
	if (to_text(c, m, MM_TIME_ISO, value, &text) < 0)
		return -1;
	if (!text.len)
		return error_aws(c->err, "SdkClientException", "%s cannot be empty.", name);
	buf_add_str(path, uri_encoded(c->arena, text, greedy));
	return 0;
}

static int make_path(struct codec *c, const struct model_shape *sh, struct str template, const json_t *in,
		     struct str *out)
{
	CLEANUP_BUF struct buf path = BUF_INIT;
	struct str rest = str_skip(template, 1), segment;
	bool greedy;
	buf_add_char(&path, '/');
	while (rest.len && str_split(&rest, '/', &segment)) {
		if (path.len > 1)
			buf_add_char(&path, '/');
		if (!codec_rest_is_label(segment, &greedy))
			buf_add_str(&path, segment);
		else if (add_label(c, sh, segment, greedy, in, &path) < 0)
			return -1;
	}
	*out = arena_str(c->arena, buf_str(&path));
	return 0;
}

static void add_fixed(struct codec *c, struct str query, struct pairs *p)
{
	struct str piece;
	while (query.ptr && query.len && str_split(&query, '&', &piece)) {
		const ptrdiff_t eq = str_find_char(piece, '=');
		add(c->arena, p, eq < 0 ? piece : str_head(piece, (size_t)eq),
		    eq < 0 ? STR("") : str_skip(piece, (size_t)eq + 1));
	}
}

/* ---- headers ---- */

static int check_header(struct codec *c, struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if (((unsigned char)text.ptr[i] < 0x20 && text.ptr[i] != '\t') || text.ptr[i] == 0x7f)
			return error_aws(c->err, "InvalidArgument", "A header must be text without line breaks.");
	return 0;
}

static int list_text(struct codec *c, const struct model_member *m, const json_t *list, struct str *out)
{
	const struct model_member *element = model_shape_members(c->s, model_member_shape(c->s, m));
	CLEANUP_BUF struct buf b = BUF_INIT;
	struct str one;
	json_t *item;
	size_t i;
	json_array_foreach (list, i, item) {
		if (to_text(c, element, MM_TIME_HTTP, item, &one) < 0)
			return -1;
		buf_addz(&b, i ? "," : "");
		buf_add_str(&b, one);
	}
	*out = arena_str(c->arena, buf_str(&b));
	return 0;
}

static int add_header(struct codec *c, const struct model_member *m, const json_t *value, struct pairs *p)
{
	struct str text;
	const bool list = model_member_shape(c->s, m)->type == MT_LIST;
	if ((list ? list_text(c, m, value, &text) : to_text(c, m, MM_TIME_HTTP, value, &text)) < 0 ||
	    check_header(c, text) < 0)
		return -1;
	add(c->arena, p, str_from(model_member_wire(c->s, m)), text);
	return 0;
}

static int add_headers(struct codec *c, const struct model_member *m, const json_t *map, struct pairs *p)
{
	const char *prefix = m->wire ? model_text(c->s, m->wire) : "", *key;
	json_t *value;
	json_object_foreach ((json_t *)map, key, value) {
		if (!json_is_string(value) || !*key || strpbrk(key, ": \t"))
			return error_aws(c->err, "InvalidArgument", "The value of %s has an invalid format.",
					 model_text(c->s, m->name));
		if (check_header(c, str_from(key)) < 0 || check_header(c, json_str(value)) < 0)
			return -1;
		add(c->arena, p, str_from(arena_printf(c->arena, "%s%s", prefix, key)),
		    arena_str(c->arena, json_str(value)));
	}
	return 0;
}

/* ---- the body ---- */

static int make_payload(struct codec *c, const struct model_member *m, const json_t *value, struct str *out)
{
	const struct model_shape *sh = model_member_shape(c->s, m);
	CLEANUP_BUF struct buf b = BUF_INIT;
	if (sh->type == MT_BLOB || sh->type == MT_STRING)
		buf_add_str(&b, json_str(value));
	else if (codec_xml_value(c, m, model_member_wire(c->s, m), value, &b, 0) < 0)
		return error_aws(c->err, "InvalidArgument", "The value of %s has an invalid format.",
				 model_text(c->s, m->name));
	*out = arena_str(c->arena, buf_str(&b));
	return 0;
}

static int add_member(struct codec *c, const struct model_member *m, const json_t *value, struct pairs *query,
		      struct pairs *headers, struct str *body)
{
	struct str text;
	switch (m->location) {
	case ML_QUERY:
		if (to_text(c, m, MM_TIME_ISO, value, &text) < 0)
			return -1;
		add(c->arena, query, str_from(model_member_wire(c->s, m)), text);
		return 0;
	case ML_HEADER:
		return add_header(c, m, value, headers);
	case ML_HEADERS:
		return add_headers(c, m, value, headers);
	case ML_PAYLOAD:
		return make_payload(c, m, value, body);
	default:
		return 0;
	}
}

int codec_rest_request(struct codec *c, const struct model_op *op, const json_t *in, struct codec_request *rq)
{
	const struct model_shape *sh = model_op_input(c->s, op);
	struct pairs query = { 0 }, headers = { 0 };
	struct str template, fixed;
	*rq = (struct codec_request){ .method = str_from(model_text(c->s, op->method)), .body = STR("") };
	codec_rest_uri(c->s, op, &template, &fixed);
	if (make_path(c, sh, template, in, &rq->path) < 0)
		return -1;
	add_fixed(c, fixed, &query);
	for (size_t i = 0; sh && i < sh->count; i++) {
		const struct model_member *m = &model_shape_members(c->s, sh)[i];
		const json_t *value = json_get(in, model_text(c->s, m->name));
		if (value && add_member(c, m, value, &query, &headers, &rq->body) < 0)
			return -1;
	}
	add(c->arena, &headers, STR("content-length"), str_from(arena_printf(c->arena, "%zu", rq->body.len)));
	rq->query = query.list;
	rq->nquery = query.n;
	rq->headers = headers.list;
	rq->nheaders = headers.n;
	return 0;
}

/* ---- answers ---- */

static int stream_in(struct codec *c, const struct model_member *m, struct str body, json_t *out)
{
	json_t *text = json_stringn(body.ptr ? body.ptr : "", body.len);
	if (!text)
		return error_aws(c->err, "InvalidRequest", "The object's body is not UTF-8 text.");
	return json_object_set_new(out, model_text(c->s, m->name), text);
}

/* A header that does not read as its member (an Expires that is no date) is left out, as the SDK does. */
static void header_in(struct codec *c, const struct codec_request *rq, const struct model_shape *sh,
		      const struct model_member *m, json_t *out)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct codec lenient = { c->arena, c->s, &ignored };
	codec_rest_member_in(&lenient, rq, sh, m, out);
	if (m->location == ML_HEADERS && !json_object_get(out, model_text(c->s, m->name)))
		json_object_set_new(out, model_text(c->s, m->name), json_object());
}

int codec_rest_answer(struct codec *c, const struct model_op *op, const struct codec_response *rs, json_t **out)
{
	const struct model_shape *sh = model_op_output(c->s, op);
	const struct codec_request rq = { .headers = rs->headers, .nheaders = rs->nheaders, .body = rs->body };
	CLEANUP_JSON json_t *told = json_object();
	int rc = 0;
	for (size_t i = 0; sh && rc == 0 && i < sh->count; i++) {
		const struct model_member *m = &model_shape_members(c->s, sh)[i];
		if (m->location == ML_PAYLOAD && model_member_shape(c->s, m)->type == MT_BLOB)
			rc = stream_in(c, m, rs->body, told);
		else if (m->location == ML_PAYLOAD)
			rc = codec_rest_member_in(c, &rq, sh, m, told);
		else
			header_in(c, &rq, sh, m, told);
	}
	if (rc == 0 && sh && !(sh->flags & MS_PAYLOAD))
		rc = codec_rest_body_in(c, sh, rs->body, told);
	if (rc < 0)
		return -1;
	*out = json_incref(told);
	return 0;
}
