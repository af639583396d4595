/* operation.c - calls of the model-driven services: buffer, authenticate, decode, validate, handle, encode.
 *
 * DESIGN: a small body is buffered first and then everything happens in one go: signature, decoding, validation and,
 * for a query, the handler on a snapshot. A command goes to the core thread and an async handler wherever it likes; the
 * connection is suspended meanwhile and the answer encoded on its own thread. Bodies above HTTP_EARLY_AUTH are
 * buffered only for keys that exist. */
#include "wire/http.h"

#include <stdlib.h>
#include <zlib.h>

#include "base/id.h"
#include "base/log.h"

/* ---- body ---- */

int64_t operation_max_bytes(const struct wire_request *r)
{
	const int64_t own = r->service->s->max_body_bytes;
	return own ? own : r->server->o.max_json_bytes;
}

static int too_large(struct error *err)
{
	return error_http(err, 413, "RequestEntityTooLargeException", "The request body is too large.");
}

void operation_start(struct wire_request *r)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int rc = 0;
	if (r->length > operation_max_bytes(r))
		rc = too_large(&err);
	else if (r->length < 0 || r->length > HTTP_EARLY_AUTH)
		rc = auth_precheck(r, &err);
	if (rc < 0)
		answer_error(r, &err);
	else if (r->length > 0)
		buf_reserve(&r->body, (size_t)(r->length < HTTP_EARLY_AUTH ? r->length : HTTP_EARLY_AUTH));
}

ptrdiff_t operation_body(struct wire_request *r, const char *p, size_t n)
{
	if (r->body.len + n <= (size_t)operation_max_bytes(r)) {
		buf_add(&r->body, p, n);
		return (ptrdiff_t)n;
	}
	CLEANUP_ERROR struct error err = ERROR_INIT;
	too_large(&err);
	answer_error(r, &err);
	return -1;
}

/* Content-Encoding: gzip (botocore compresses large PutMetricData). */
static int inflate_body(struct wire_request *r, struct error *err)
{
	struct str coding = wire_header(r, "content-encoding");
	if (!coding.len || str_eq_nocase(coding, STR("identity")) || str_eq_nocase(coding, STR("amz-1.0")))
		return 0;
	if (!str_eq_nocase(coding, STR("gzip")))
		return error_http(err, 415, "UnsupportedMediaTypeException",
				  "Content-Encoding `%.*s` is not supported.", STR_ARG(coding));
	CLEANUP_BUF struct buf plain = BUF_INIT;
	z_stream z = { .next_in = (Bytef *)r->body.ptr, .avail_in = (uInt)r->body.len };
	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return error_set(err, "zlib: %s", z.msg ? z.msg : "no memory");
	int rc = Z_OK;
	bool fits = true;
	while (rc == Z_OK && fits) {
		buf_reserve(&plain, 65536);
		z.next_out = (Bytef *)plain.ptr + plain.len;
		z.avail_out = 65536;
		rc = inflate(&z, Z_NO_FLUSH);
		plain.len += 65536 - z.avail_out;
		fits = plain.len <= (size_t)operation_max_bytes(r);
		if (rc == Z_OK && z.avail_in == 0 && z.avail_out)
			rc = Z_BUF_ERROR;
	}
	inflateEnd(&z);
	if (!fits)
		return too_large(err);
	if (rc != Z_STREAM_END)
		return error_http(err, 400, "SerializationException", "The request body is not valid gzip.");
	buf_release(&r->body);
	r->body = plain;
	plain = BUF_INIT;
	return 0;
}

/* ---- answer ---- */

static void encode(struct wire_request *r)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct codec_response rs = { 0 };
	if (r->call.out_text.ptr) {
		codec_ready(&r->arena, r->model, r->call.out_text, &rs);
		answer_codec(r, &rs);
		return;
	}
	if (codec_encode(&r->arena, r->model, r->op, r->out, r->id, &rs, &err) < 0) {
		error_wrap(&err, "encode the answer of %s", r->call.operation);
		answer_error(r, &err);
		return;
	}
	answer_codec(r, &rs);
}

static void operation_answer(struct wire_request *r)
{
	if (r->op_rc < 0)
		answer_error(r, &r->op_error);
	else
		encode(r);
}

static void keep_result(struct wire_request *r, int rc, const struct error *err)
{
	r->op_rc = rc;
	if (rc >= 0)
		return;
	json_decref(r->out);
	r->out = NULL;
	error_release(&r->op_error);
	if (err && err->code[0])
		error_http(&r->op_error, err->status, err->code, "%s", error_text(err));
	else
		error_set(&r->op_error, "%s: %s", r->call.operation,
			  err ? error_text(err) : "failed without saying why");
}

/* ---- the three kinds of handlers ---- */

static int command_on_core(struct turn *t, void *arg, struct error *err)
{
	struct wire_request *r = arg;
	json_decref(r->out); /* of a try that was rolled back */
	r->out = NULL;
	return r->handler->command(&r->call, t, r->in, &r->out, err);
}

static void command_is_done(void *arg, int rc, struct error *err)
{
	struct wire_request *r = arg;
	keep_result(r, rc, err);
	request_release(r);
}

void wire_answer(struct call *c, int rc, json_t *out, struct error *err)
{
	struct wire_request *r = c->request;
	if (!r) {
		internal_answer(c, rc, out, err);
		return;
	}
	pthread_mutex_lock(&r->lock);
	bool first = !r->op_ended;
	r->op_ended = true;
	pthread_mutex_unlock(&r->lock);
	if (!first) {
		log_error("wire", "request %s (%s) was answered twice", r->id, c->operation);
		json_decref(out);
		return;
	}
	r->out = out;
	keep_result(r, rc, err);
	request_release(r);
}

static void handle_later(struct wire_request *r)
{
	r->resumed = operation_answer;
	request_hold(r);
	if (r->handler->command)
		engine_submit(r->server->o.engine, command_on_core, command_is_done, r);
	else
		r->handler->async(&r->call, r->in);
}

/* ---- one call ---- */

static int check_signature(struct wire_request *r, struct error *err)
{
	unsigned char sum[32];
	char hex[65];
	sigv4_sha256(buf_str(&r->body), sum);
	hex_encode(hex, sum, 32);
	struct str claimed = r->auth.payload;
	if (auth_check(r, claimed.ptr ? claimed : str_from(hex), err) < 0)
		return -1;
	return !claimed.ptr || sigv4_same(claimed, sum) ? 0 : auth_body_mismatch(r->style, err);
}

static int decode(struct wire_request *r, struct error *err)
{
	if (inflate_body(r, err) < 0)
		return -1;
	request_query(r);
	struct codec_request rq = { .method = r->http.method,
				    .path = r->http.path,
				    .query = r->query,
				    .nquery = r->nquery,
				    .headers = r->http.headers,
				    .nheaders = r->http.nheaders,
				    .body = buf_str(&r->body) };
	r->model = model_variant(r->service->model, &rq);
	if (codec_decode(&r->arena, r->model, &rq, &r->op, &r->in, err) < 0)
		return -1;
	const char *name = model_op_name(r->op);
	r->handler = map_get(&r->service->ops, str_from(name));
	if (!r->handler)
		return error_http(err, 501, "NotImplementedException", "Quern does not implement %s:%s yet.",
				  model_name(r->service->model), name);
	r->call = (struct call){ .arena = &r->arena,
				 .who = &r->who,
				 .region = r->region,
				 .account = r->who.account,
				 .operation = name,
				 .request_id = r->id,
				 .engine = r->server->o.engine,
				 .service_ctx = r->service->s->ctx,
				 .request = r };
	return model_validate(&r->arena, r->model, r->op, r->in, err);
}

static int run_query(struct wire_request *r, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct db *db = auth_snapshot(r, &why);
	if (why.message)
		return error_move(err, &why);
	int rc = r->handler->query(&r->call, db, r->in, &r->out, err);
	auth_snapshot_end(r, db);
	if (rc < 0 && !err->code[0])
		error_wrap(err, "%s", r->call.operation);
	return rc < 0 ? -1 : 0;
}

void operation_end(struct wire_request *r)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int rc = check_signature(r, &err);
	if (rc == 0)
		rc = decode(r, &err);
	if (rc == 0)
		rc = access_check(r->server, r->service->s, &r->call, r->in, r, &err);
	if (rc == 0 && r->handler->query)
		rc = run_query(r, &err);
	if (rc < 0)
		answer_error(r, &err);
	else if (r->handler->query)
		encode(r);
	else
		handle_later(r);
}
