/* fuzz_shape.h - requests made from the model: the bytes choose the operation and, member by member, what is there.
 *
 * DESIGN: bytes alone seldom spell a member's name, so little behind the parsers would be reached. Here the walk
 * follows the operation's input shape; most of what it writes is right, and now and then a value is of another type,
 * too long, or unknown. The request is in the service's own protocol; the decoder under test does not know where it is
 * from. */
#ifndef QUERN_TESTS_FUZZ_SHAPE_H
#define QUERN_TESTS_FUZZ_SHAPE_H

#include "base/buf.h"
#include "fuzz_codec.h"
#include "wire/model_tables.h"
#include "wire/uri.h"

enum { SHAPE_DEEP = 7 };

struct shape_gen {
	const uint8_t *at, *end;
	const struct model_service *s;
	struct arena *a;
	struct buf b;
};

static inline unsigned shape_pick(struct shape_gen *g, unsigned n)
{
	return g->at < g->end ? *g->at++ % n : 0;
}

/* Is the member written? What is required mostly, what is not now and then. */
static inline bool shape_takes(struct shape_gen *g, const struct model_member *m)
{
	return m->flags & MM_REQUIRED ? shape_pick(g, 16) != 15 : shape_pick(g, 4) == 1;
}

/* A value without structure, as text. */
static inline struct str shape_scalar(struct shape_gen *g, const struct model_shape *sh)
{
	static const char *const any[] = { "",         "a",    "a-1",       "1",
					   "true",     "x y",  "<&>\"'",    "arn:aws:s3:::b/k",
					   "\xc3\xa9", "YQ==", "{\"a\":1}", "\xff" };
	static const char *const numbers[] = { "0",          "1",     "-1",  "1.5",
					       "5000000000", "1e400", "NaN", "99999999999999999999",
					       "x" };
	static const char *const times[] = { "1700000000", "2024-01-01T00:00:00Z", "Tue, 29 Apr 2014 18:30:38 GMT",
					     "1.7e9",      "2024-13-01T00:00:00Z", "later" };
	char *longest;
	switch (sh->type) {
	case MT_BOOLEAN:
		return str_from(((const char *const[]){ "true", "false", "1", "" })[shape_pick(g, 4)]);
	case MT_INTEGER:
	case MT_LONG:
	case MT_FLOAT:
	case MT_DOUBLE:
		return str_from(numbers[shape_pick(g, sizeof(numbers) / sizeof(*numbers))]);
	case MT_TIMESTAMP:
		return str_from(times[shape_pick(g, sizeof(times) / sizeof(*times))]);
	default:
		break;
	}
	if (sh->count && sh->type == MT_STRING && shape_pick(g, 8))
		return str_from(model_text(g->s, g->s->enums[sh->first + shape_pick(g, sh->count)]));
	unsigned i = shape_pick(g, sizeof(any) / sizeof(*any) + 2);
	if (i < sizeof(any) / sizeof(*any))
		return str_from(any[i]);
	longest = arena_alloc(g->a, 2100);
	memset(longest, 'x', 2100);
	return str_of(longest, i & 1 ? 300 : 2100);
}

static inline void shape_json_text(struct shape_gen *g, struct str text)
{
	buf_addz(&g->b, "\"");
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '"' || text.ptr[i] == '\\')
			buf_addz(&g->b, "\\");
		buf_add(&g->b, text.ptr + i, 1);
	}
	buf_addz(&g->b, "\"");
}

static inline bool shape_is_plain(const struct model_shape *sh)
{
	return sh->type != MT_STRUCTURE && sh->type != MT_LIST && sh->type != MT_MAP;
}

static inline void shape_json(struct shape_gen *g, const struct model_shape *sh, int depth)
{
	static const char *const wrong[] = { "null", "1", "\"x\"", "{}", "[]", "true" };
	const struct model_member *m = model_shape_members(g->s, sh);
	unsigned n = 0;
	if (shape_pick(g, 32) == 31) {
		buf_addz(&g->b, wrong[shape_pick(g, 6)]);
		return;
	}
	if (shape_is_plain(sh)) {
		struct str text = shape_scalar(g, sh);
		if (sh->type == MT_STRING || sh->type == MT_BLOB || shape_pick(g, 4) == 3)
			shape_json_text(g, text);
		else
			buf_add_str(&g->b, text);
		return;
	}
	buf_addz(&g->b, sh->type == MT_LIST ? "[" : "{");
	if (sh->type == MT_STRUCTURE) {
		for (int i = 0; i < sh->count && depth < SHAPE_DEEP; i++)
			if (m[i].location == ML_BODY && shape_takes(g, &m[i])) {
				buf_printf(&g->b, "%s\"%s\":", n++ ? "," : "", model_member_wire(g->s, &m[i]));
				shape_json(g, model_member_shape(g->s, &m[i]), depth + 1);
			}
		if (shape_pick(g, 16) == 15)
			buf_printf(&g->b, "%s\"Unknown\":[{}]", n ? "," : "");
	} else {
		for (unsigned i = shape_pick(g, 4); i > 0 && depth < SHAPE_DEEP; i--) {
			if (n++)
				buf_addz(&g->b, ",");
			if (sh->type == MT_MAP) {
				shape_json_text(g, shape_scalar(g, model_member_shape(g->s, m)));
				buf_addz(&g->b, ":");
			}
			shape_json(g, model_member_shape(g->s, &m[sh->type == MT_MAP]), depth + 1);
		}
	}
	buf_addz(&g->b, sh->type == MT_LIST ? "]" : "}");
}

static inline void shape_query(struct shape_gen *g, const struct model_shape *sh, const char *name, int depth)
{
	const struct model_member *m = model_shape_members(g->s, sh);
	if (shape_is_plain(sh)) {
		struct str text = shape_scalar(g, sh);
		char *encoded = arena_alloc_raw(g->a, 3 * text.len + 1);
		buf_printf(&g->b, "&%s=%.*s", name, (int)(uri_encode(encoded, text, true) - encoded), encoded);
		return;
	}
	for (int i = 0; sh->type == MT_STRUCTURE && i < sh->count && depth < SHAPE_DEEP; i++)
		if (shape_takes(g, &m[i]))
			shape_query(
				g, model_member_shape(g->s, &m[i]),
				arena_printf(g->a, "%s%s%s", name, *name ? "." : "", model_member_wire(g->s, &m[i])),
				depth + 1);
	for (unsigned i = sh->type == MT_STRUCTURE ? 0 : shape_pick(g, 4); i > 0 && depth < SHAPE_DEEP; i--) {
		const char *part = sh->type == MT_LIST ? "member" : "entry";
		if (sh->type == MT_MAP)
			shape_query(g, model_member_shape(g->s, m), arena_printf(g->a, "%s.%s.%u.key", name, part, i),
				    depth);
		shape_query(g, model_member_shape(g->s, &m[sh->type == MT_MAP]),
			    arena_printf(g->a, "%s.%s.%u%s", name, part, i, sh->type == MT_MAP ? ".value" : ""),
			    depth + 1);
	}
}

static inline void shape_xml(struct shape_gen *g, const struct model_shape *sh, const char *name, bool flat, int depth)
{
	const struct model_member *m = model_shape_members(g->s, sh);
	if (sh->type == MT_LIST && flat) {
		for (unsigned i = shape_pick(g, 4); i > 0 && depth < SHAPE_DEEP; i--)
			shape_xml(g, model_member_shape(g->s, m), name, false, depth + 1);
		return;
	}
	buf_printf(&g->b, "<%s>", name);
	if (shape_is_plain(sh)) {
		struct str text = shape_scalar(g, sh);
		for (size_t i = 0; i < text.len; i++)
			if (text.ptr[i] == '<' || text.ptr[i] == '&')
				buf_addz(&g->b, text.ptr[i] == '<' ? "&lt;" : "&amp;");
			else
				buf_add(&g->b, text.ptr + i, 1);
	}
	for (int i = 0; sh->type == MT_STRUCTURE && i < sh->count && depth < SHAPE_DEEP; i++)
		if (m[i].location == ML_BODY && !(m[i].flags & MM_ATTRIBUTE) && shape_takes(g, &m[i]))
			shape_xml(g, model_member_shape(g->s, &m[i]), model_member_wire(g->s, &m[i]),
				  m[i].flags & MM_FLATTENED, depth + 1);
	for (unsigned i = sh->type == MT_LIST ? shape_pick(g, 4) : 0; i > 0 && depth < SHAPE_DEEP; i--)
		shape_xml(g, model_member_shape(g->s, m), m->wire ? model_text(g->s, m->wire) : "member", false,
			  depth + 1);
	buf_printf(&g->b, "</%s>", name);
}

/* The path after its template, each {Member} and {Member+} filled. */
static inline struct str shape_path(struct shape_gen *g, const char *uri)
{
	CLEANUP_BUF struct buf path = BUF_INIT;
	static const char *const fills[] = { "a",   "b", "a%20b", "arn:aws:lambda:us-east-1:1:function:f",
					     "%ff", "",  "x/y" };
	for (const char *p = uri; *p && *p != '?'; p++)
		if (*p == '{') {
			buf_addz(&path, fills[shape_pick(g, 7)]);
			p += strcspn(p, "}");
		} else {
			buf_add(&path, p, 1);
		}
	return arena_str(g->a, buf_str(&path));
}

/* Arguments and headers of a REST operation; the body is what the walk wrote. */
static inline void shape_rest(struct shape_gen *g, const struct model_op *op, struct codec_request *rq,
			      struct codec_pair *query, struct codec_pair *headers)
{
	const struct model_shape *in = model_op_input(g->s, op), *body = in;
	const struct model_member *m = in ? model_shape_members(g->s, in) : NULL;
	const char *uri = model_text(g->s, op->uri), *fixed = strchr(uri, '?');
	rq->path = shape_path(g, uri);
	if (fixed) {
		struct str pair = str_from(fixed + 1), name;
		str_split(&pair, '=', &name);
		query[rq->nquery++] = (struct codec_pair){ name, pair.ptr ? pair : STR("") };
	}
	for (int i = 0; in && i < in->count; i++) {
		const struct model_shape *sh = model_member_shape(g->s, &m[i]);
		if (m[i].location == ML_PAYLOAD)
			body = sh;
		if ((m[i].location != ML_QUERY && m[i].location != ML_HEADER) || !shape_is_plain(sh) ||
		    !shape_takes(g, &m[i]))
			continue;
		struct codec_pair pair = { str_from(model_member_wire(g->s, &m[i])), shape_scalar(g, sh) };
		if (m[i].location == ML_QUERY && rq->nquery < 16)
			query[rq->nquery++] = pair;
		else if (m[i].location == ML_HEADER && rq->nheaders < 16)
			headers[rq->nheaders++] = pair;
	}
	if (!body)
		return;
	if (model_protocol_of(g->s) == MODEL_REST_XML)
		shape_xml(g, body, model_text(g->s, body->name), false, 0);
	else
		shape_json(g, body, 0);
}

/* One request of the service. */
static inline void fuzz_codec_made(const char *service, const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct shape_gen g = { data, data + size, model_find(service), &a, BUF_INIT };
	unsigned n = shape_pick(&g, 256) << 8;
	const struct model_op *op = model_op_at(g.s, (n | shape_pick(&g, 256)) % model_op_count(g.s));
	const struct model_shape *in = model_op_input(g.s, op);
	struct codec_pair query[16], headers[16];
	struct codec_request rq = {
		.method = str_from(model_text(g.s, op->method)), .path = STR("/"), .query = query, .headers = headers
	};
	if (model_protocol_of(g.s) == MODEL_JSON) {
		const char *target = arena_printf(&a, "%s.%s", model_target_prefix(g.s), model_op_name(op));
		headers[rq.nheaders++] = (struct codec_pair){ STR("X-Amz-Target"), str_from(target) };
		if (in)
			shape_json(&g, in, 0);
	} else if (model_protocol_of(g.s) == MODEL_QUERY) {
		buf_printf(&g.b, "Action=%s", model_op_name(op));
		if (in)
			shape_query(&g, in, "", 0);
	} else {
		shape_rest(&g, op, &rq, query, headers);
	}
	rq.body = buf_str(&g.b);
	fuzz_codec(service, &rq);
	buf_release(&g.b);
	arena_release(&a);
}

#endif
