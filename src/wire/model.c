/* model.c - look-ups in the service tables, and the one door to the protocols.
 *
 * DESIGN: see model_tables.h for the tables. codec_decode, codec_encode and codec_error choose the protocol's file and
 * do what is the same for all: status, request id, unknown errors. They hold no state and are safe from any thread. */
#include "wire/model.h"

#include <stdlib.h>
#include <strings.h>

#include "wire/codec.h"

const struct model_service *model_find(const char *name)
{
	for (size_t i = 0; model_services[i]; i++)
		if (strcmp(model_name(model_services[i]), name) == 0)
			return model_services[i];
	return NULL;
}

size_t model_count(void)
{
	size_t n = 0;
	while (model_services[n])
		n++;
	return n;
}

const struct model_service *model_at(size_t i)
{
	return i < model_count() ? model_services[i] : NULL;
}

const char *model_name(const struct model_service *s)
{
	return model_text(s, s->name);
}

enum model_protocol model_protocol_of(const struct model_service *s)
{
	return (enum model_protocol)s->protocol;
}

const char *model_target_prefix(const struct model_service *s)
{
	return model_text(s, s->target_prefix);
}

const char *model_signing_name(const struct model_service *s)
{
	return model_text(s, s->signing_name);
}

size_t model_op_count(const struct model_service *s)
{
	return s->op_count;
}

const struct model_op *model_op_at(const struct model_service *s, size_t i)
{
	return i < s->op_count ? &s->ops[i] : NULL;
}

const char *model_op_name(const struct model_op *op)
{
	return model_text(model_services[op->service], op->name);
}

const char *model_op_input_name(const struct model_op *op)
{
	const struct model_service *s = model_services[op->service];
	const struct model_shape *sh = model_op_input(s, op);
	return sh ? model_text(s, sh->name) : "";
}

const char *model_op_output_name(const struct model_op *op)
{
	const struct model_service *s = model_services[op->service];
	const struct model_shape *sh = model_op_output(s, op);
	return sh ? model_text(s, sh->name) : "";
}

const struct model_op *model_op_find(const struct model_service *s, struct str name)
{
	size_t lo = 0, hi = s->op_count;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int order = str_cmp(name, str_from(model_text(s, s->ops[mid].name)));
		if (order == 0)
			return &s->ops[mid];
		if (order < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct model_shape *model_shape_find(const struct model_service *s, struct str name)
{
	size_t lo = 0, hi = s->shape_count;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int order = str_cmp(name, str_from(model_text(s, s->shapes[mid].name)));
		if (order == 0)
			return &s->shapes[mid];
		if (order < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/* The error shape that is named `code`, or whose query code it is. */
static const struct model_shape *error_find(const struct model_service *s, const char *code)
{
	const struct model_shape *sh = model_shape_find(s, str_from(code));
	if (sh && sh->error)
		return sh;
	for (size_t i = 0; i < s->shape_count; i++) {
		sh = &s->shapes[i];
		if (sh->error && s->faults[sh->error - 1].code &&
		    strcmp(model_text(s, s->faults[sh->error - 1].code), code) == 0)
			return sh;
	}
	return NULL;
}

const char *model_error_shape(const struct model_service *s, const char *code, int *status)
{
	const struct model_shape *sh = error_find(s, code);
	if (sh && status && s->faults[sh->error - 1].status)
		*status = s->faults[sh->error - 1].status;
	return sh ? model_text(s, sh->name) : NULL;
}

/* ---- what the codecs share ---- */

int codec_depth_error(struct error *err)
{
	return error_aws(err, "SerializationException", "The input is nested more than %d levels deep",
			 CODEC_MAX_DEPTH);
}

struct str codec_header(const struct codec_request *rq, const char *name)
{
	struct str want = str_from(name);
	for (size_t i = 0; i < rq->nheaders; i++)
		if (str_eq_nocase(rq->headers[i].name, want))
			return rq->headers[i].value;
	return STR_NULL;
}

void codec_add_header(struct arena *a, struct codec_response *rs, const char *name, struct str value)
{
	size_t n = rs->nheaders;
	if (n == 0 || (n >= 8 && (n & (n - 1)) == 0)) { /* full at 0, 8, 16, 32 ... */
		struct codec_pair *more = ARENA_ARRAY(a, struct codec_pair, n ? 2 * n : 8);
		if (n)
			memcpy(more, rs->headers, n * sizeof(*more));
		rs->headers = more;
	}
	rs->headers[rs->nheaders].name = arena_str(a, str_from(name));
	rs->headers[rs->nheaders].value = arena_str(a, value);
	rs->nheaders++;
}

void codec_set_body(struct arena *a, struct codec_response *rs, struct buf *b)
{
	size_t len = b->len;
	char *p = buf_detach(b);
	rs->body = str_of(p ? p : "", len);
	if (p)
		arena_defer(a, free, p);
}

const struct model_member *codec_member(const struct model_service *s, const struct model_shape *sh, struct str name)
{
	const struct model_member *m = model_shape_members(s, sh);
	for (size_t i = 0; i < sh->count; i++)
		if (str_eqz(name, model_text(s, m[i].name)))
			return &m[i];
	return NULL;
}

const struct model_member *codec_member_wire(const struct model_service *s, const struct model_shape *sh,
					     struct str wire)
{
	const struct model_member *m = model_shape_members(s, sh);
	for (size_t i = 0; i < sh->count; i++)
		if (str_eqz(wire, model_member_wire(s, &m[i])))
			return &m[i];
	return NULL;
}

/* ---- the door ---- */

const struct model_service *model_variant(const struct model_service *s, const struct codec_request *rq)
{
	static const struct {
		const char *name, *query;
	} twins[] = { { "cloudwatch", "cloudwatch-query" } };
	struct str type = codec_header(rq, "content-type");
	bool form = str_starts(type, STR("application/x-www-form-urlencoded"));
	bool target = codec_header(rq, "x-amz-target").ptr != NULL;
	for (size_t i = 0; i < sizeof(twins) / sizeof(twins[0]); i++)
		if (strcmp(model_name(s), twins[i].name) == 0 && !target && (form || rq->body.len == 0))
			return model_find(twins[i].query);
	return s;
}

int codec_decode(struct arena *a, const struct model_service *s, const struct codec_request *rq,
		 const struct model_op **op, json_t **in, struct error *err)
{
	struct codec c = { a, s, err };
	switch (model_protocol_of(s)) {
	case MODEL_JSON:
		return codec_json_decode(&c, rq, op, in);
	case MODEL_QUERY:
		return codec_query_decode(&c, rq, op, in);
	case MODEL_REST_JSON:
	case MODEL_REST_XML:
		return codec_rest_decode(&c, rq, op, in);
	}
	BUG("protocol %d", (int)s->protocol);
}

static void add_request_id(struct arena *a, const char *request_id, struct codec_response *rs)
{
	if (request_id)
		codec_add_header(a, rs, "x-amzn-RequestId", str_from(request_id));
}

int codec_encode(struct arena *a, const struct model_service *s, const struct model_op *op, const json_t *out,
		 const char *request_id, struct codec_response *rs, struct error *err)
{
	struct codec c = { a, s, err };
	*rs = (struct codec_response){ .status = op->status ? op->status : 200 };
	add_request_id(a, request_id, rs);
	int rc = -1;
	switch (model_protocol_of(s)) {
	case MODEL_JSON:
		rc = codec_json_encode(&c, op, out, rs);
		break;
	case MODEL_QUERY:
		rc = codec_query_encode(&c, op, out, request_id, rs);
		break;
	case MODEL_REST_JSON:
	case MODEL_REST_XML:
		rc = codec_rest_encode(&c, op, out, rs);
		break;
	}
	if (rc < 0)
		return error_wrap(err, "encode the answer of %s", model_op_name(op));
	return 0;
}

/* The code as the protocol spells it: query and rest-xml use the query code of the shape, json its name. */
static const char *wire_code(const struct model_service *s, const struct model_shape *sh, const char *code, bool query)
{
	if (!sh || !sh->error || !s->faults)
		return code;
	uint32_t other = s->faults[sh->error - 1].code;
	return query && other ? model_text(s, other) : model_text(s, sh->name);
}

void codec_error(struct arena *a, const struct model_service *s, const struct error *e, const char *request_id,
		 struct codec_response *rs)
{
	bool internal = e->code[0] == 0;
	const char *code = internal ? "InternalFailure" : e->code;
	const char *message =
		internal ? "The request could not be served because of an internal fault; see the server's log."
			 : error_text(e);
	const struct model_shape *sh = internal ? NULL : error_find(s, code);
	const struct model_fault *fault = sh ? &s->faults[sh->error - 1] : NULL;
	*rs = (struct codec_response){ .status = e->status };
	if (rs->status == 0)
		rs->status = internal                 ? 500
			     : fault && fault->status ? fault->status
			     : fault && fault->server ? 500
						      : 400;
	add_request_id(a, request_id, rs);
	bool server = rs->status >= 500;
	switch (model_protocol_of(s)) {
	case MODEL_QUERY:
		codec_query_error(a, s, wire_code(s, sh, code, true), message, server, request_id, rs);
		break;
	case MODEL_REST_XML:
		codec_xml_error(a, wire_code(s, sh, code, true), message, request_id, rs);
		break;
	case MODEL_REST_JSON:
		codec_add_header(a, rs, "x-amzn-ErrorType", str_from(wire_code(s, sh, code, false)));
		/* fall through */
	case MODEL_JSON:
		if (s->query_compatible)
			codec_add_header(a, rs, "x-amzn-query-error",
					 str_from(arena_printf(a, "%s;%s", wire_code(s, sh, code, true),
							       server ? "Receiver" : "Sender")));
		codec_json_error(a, s, sh, wire_code(s, sh, code, false), message, rs);
		break;
	}
}
