/* inside.c - operations of a service that handles HTTP itself (S3), called from inside.
 *
 * DESIGN: the members become the request that a client would send. It is given to the service's own handler, on a
 * wire_request without a connection whose caller needs no signature, and the answer is read back into members: what is
 * allowed, checked, written and told is the same as over HTTP. The service writes in a command of its own; `commit` of
 * the caller then runs in that command, with the answer. */
#include <errno.h>
#include <unistd.h>

#include "base/json.h"
#include "wire/codec.h"
#include "wire/http.h"
#include "wire/uri.h"

enum { BODY_MAX = 16 << 20 };

struct inside {
	struct wire_internal rq;
	const struct model_service *model;
	const struct model_op *op;
	wire_internal_done done;
	void *arg;
	bool held; /* the answer waits for its commit */
	json_t *out;
	struct error err;
	int rc;
};

const char *wire_operation(const struct wire_request *r)
{
	return r->inside ? r->inside->rq.operation : NULL;
}

/* ---- the answer ---- */

static int read_all(struct wire_request *r, struct str *out, struct error *err)
{
	const struct answer *a = &r->answer;
	if (a->length > BODY_MAX)
		return error_http(err, 400, "EntityTooLarge",
				  "The answer has %lld bytes; at most %d are read for a call from inside.",
				  (long long)a->length, BODY_MAX);
	char *p = arena_alloc_raw(&r->arena, (size_t)a->length + 1);
	for (int64_t n = 0; n < a->length;) {
		const ssize_t k = pread(a->fd, p + n, (size_t)(a->length - n), a->offset + n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return error_errno(err, k < 0 ? errno : EIO, "read the answer's body");
		n += k;
	}
	*out = str_of(p, (size_t)a->length);
	return 0;
}

/* An answer without a document (to HEAD, 304) has no code and, as the SDK for Java says it, the text "null". */
static int refused(struct wire_request *r, struct str body, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct codec c = { &r->arena, r->inside->model, &why };
	struct str code = STR_NULL, message = STR_NULL;
	if (body.len && codec_xml_error_in(&c, body, &code, &message) < 0)
		return error_move(err, &why);
	return error_http(err, r->answer.status,
			  code.len                  ? code.ptr
			  : r->answer.status == 404 ? "NotFound"
						    : "HttpError",
			  "%.*s", STR_ARG(message.ptr ? message : STR("null")));
}

static int read_answer(struct wire_request *r, struct error *err)
{
	struct inside *i = r->inside;
	struct codec c = { &r->arena, i->model, err };
	struct codec_response rs = { .status = r->answer.status, .body = r->answer.body };
	CLEANUP_JSON json_t *out = NULL;
	if (r->answer.kind == ANSWER_STREAM)
		return error_set(err, "%s streams its answer", i->rq.operation);
	if (r->answer.kind == ANSWER_FD && read_all(r, &rs.body, err) < 0)
		return -1;
	if (rs.status >= 300)
		return refused(r, rs.body, err);
	for (const struct answer_header *h = r->answer.headers; h; h = h->next)
		codec_add_header(&r->arena, &rs, h->name, str_from(h->value));
	if (!str_eqz(r->http.method, "HEAD"))
		codec_add_header(&r->arena, &rs, "Content-Length",
				 str_from(arena_printf(&r->arena, "%zu", rs.body.len)));
	if (codec_rest_answer(&c, i->op, &rs, &out) < 0)
		return -1;
	const struct model_shape *sh = model_op_output(i->model, i->op);
	i->out = spelling_to_sdk(i->model, sh, i->rq.spelling, out);
	return 0;
}

static void tell(struct wire_request *r)
{
	struct inside *i = r->inside;
	i->done(i->arg, i->rc, i->out, &i->err);
	error_release(&i->err);
	request_gone(r, true);
}

void inside_answered(struct wire_request *r)
{
	struct inside *i = r->inside;
	if (i->held)
		return;
	i->rc = read_answer(r, &i->err);
	tell(r);
}

/* ---- the command of a write ---- */

static void drop_answer(struct wire_request *r)
{
	struct inside *i = r->inside;
	json_decref(i->out);
	i->out = NULL;
	i->held = r->answered = false;
	answer_discard(&r->answer);
	r->answer = (struct answer){ .fd = -1 };
}

int wire_answer_in_turn(struct wire_request *r, struct turn *t, void (*answer)(void *arg), void *arg, struct error *err)
{
	struct inside *i = r->inside;
	if (!i)
		return 0;
	i->held = true;
	answer(arg);
	int rc = read_answer(r, err);
	if (rc == 0 && i->rq.commit)
		rc = i->rq.commit(i->arg, t, i->out, err);
	return rc;
}

bool wire_answer_held(const struct wire_request *r)
{
	return r->inside && r->inside->held;
}

void wire_answer_end(struct wire_request *r, bool committed)
{
	struct inside *i = r->inside;
	if (!i || !i->held)
		return;
	if (committed)
		tell(r);
	else
		drop_answer(r);
}

/* ---- the request ---- */

static struct wire_request *make(struct wire_server *w, struct service *sv, const struct codec_request *rq,
				 const struct wire_internal *call)
{
	struct wire_request *r = request_new(w, NULL, "/");
	struct arena *a = &r->arena;
	struct codec_pair *headers = ARENA_ARRAY(a, struct codec_pair, rq->nheaders + 1), *query = NULL;
	for (size_t i = 0; i < rq->nheaders; i++)
		headers[i] =
			(struct codec_pair){ arena_str(a, rq->headers[i].name), arena_str(a, rq->headers[i].value) };
	headers[rq->nheaders] =
		(struct codec_pair){ STR("host"), str_from(arena_printf(a, "127.0.0.1:%u", wire_port(w))) };
	if (rq->nquery)
		query = ARENA_ARRAY(a, struct codec_pair, rq->nquery);
	for (size_t i = 0; i < rq->nquery; i++)
		query[i] = (struct codec_pair){ arena_str(a, rq->query[i].name), arena_str(a, rq->query[i].value) };
	r->http.method = arena_str(a, rq->method);
	r->http.path = arena_str(a, rq->path);
	r->http.headers = headers;
	r->http.nheaders = rq->nheaders + 1;
	r->path = uri_decoded(a, r->http.path, false);
	r->query = query;
	r->nquery = rq->nquery;
	r->query_read = true;
	r->length = r->body_length = (int64_t)rq->body.len;
	r->service = sv;
	r->route = ROUTE_RAW;
	r->style = AUTH_S3;
	r->who = *call->who;
	r->region = call->region ? call->region : w->region;
	return r;
}

/* As raw.c plays a request that it has buffered; the handler of a service that is called from inside does not block
 * before the end. */
static void play(struct wire_request *r, struct str body)
{
	const struct raw_handler *h = r->service->s->raw;
	void *ctx = r->service->s->ctx;
	request_hold(r);
	h->begin(r, ctx);
	if (!request_answered(r) && (!body.len || h->body(r, ctx, body.ptr, body.len) == 0))
		h->end(r, ctx);
	request_release(r);
}

static int encode(struct inside *i, struct arena *a, struct codec_request *rq, struct error *err)
{
	const struct model_shape *sh = model_op_input(i->model, i->op);
	struct codec c = { a, i->model, err };
	CLEANUP_JSON json_t *in = sh ? spelling_from_sdk(i->model, sh, i->rq.in) : json_object();
	return codec_rest_request(&c, i->op, in, rq);
}

void inside_call(struct wire_server *w, struct service *sv, const struct wire_internal *call, struct arena *a,
		 wire_internal_done done, void *arg)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const struct model_service *model = model_find(sv->s->scope);
	struct inside i = { .rq = *call, .model = model, .done = done, .arg = arg };
	struct codec_request rq;
	i.op = model_op_find(model, str_from(call->operation));
	if (!i.op)
		error_http(&err, 400, "UnknownOperationException", "The service `%s` has no operation `%s`.",
			   sv->s->scope, call->operation);
	if (!i.op || encode(&i, a, &rq, &err) < 0) {
		done(arg, -1, NULL, &err);
		return;
	}
	struct wire_request *r = make(w, sv, &rq, call);
	r->inside = ARENA_NEW(&r->arena, struct inside);
	*r->inside = i;
	play(r, rq.body);
}

struct service *inside_find(struct wire_server *w, const char *model)
{
	for (size_t i = 0; i < w->nservices; i++)
		if (w->services[i].s->operation_at && strcmp(w->services[i].s->scope, model) == 0)
			return &w->services[i];
	return NULL;
}
