/* raw.c - services that handle HTTP themselves: authentication before the body, then the body as it streams.
 *
 * DESIGN: x-amz-content-sha256 says how the body is protected: a hash (checked while it streams), UNSIGNED-PAYLOAD, or
 * one of the aws-chunked forms (taken apart, chunk signatures checked). A signed request without that header (only S3
 * clients send it) signs the hash of its body: it is buffered up to the service's bound, checked, and then played to
 * the handler. begin is never called before the signature is known to be good, end never before the body is. */
#include "wire/http.h"

#include <openssl/crypto.h>

#include "base/id.h"

static const struct raw_handler *handler_of(const struct wire_request *r)
{
	return r->service->s->raw;
}

static void *ctx_of(const struct wire_request *r)
{
	return r->service->s->ctx;
}

static bool busy(struct wire_request *r)
{
	pthread_mutex_lock(&r->lock);
	bool yes = r->pending > 0;
	pthread_mutex_unlock(&r->lock);
	return yes;
}

static void refuse(struct wire_request *r, struct error *err)
{
	answer_error(r, err);
	request_abort(r);
}

/* ---- how the body is protected ---- */

static bool is_hex_hash(struct str s)
{
	unsigned char sum[32];
	return hex_decode(sum, 32, s);
}

static int decoded_length(struct wire_request *r, struct error *err)
{
	struct str text = wire_header(r, "x-amz-decoded-content-length");
	if (!text.ptr)
		return error_http(err, 411, "MissingContentLength", "You must provide the Content-Length HTTP header.");
	if (!str_to_i64(text, &r->body_length) || r->body_length < 0)
		return error_http(err, 400, "InvalidArgument", "x-amz-decoded-content-length is not a number.");
	return 0;
}

/* Reads auth.payload. 0, or -1 with err. */
static int read_payload_kind(struct wire_request *r, struct error *err)
{
	struct str p = r->auth.payload;
	if (str_eqz(p, SIGV4_UNSIGNED_PAYLOAD) || is_hex_hash(p))
		return 0;
	bool plain = str_eqz(p, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
	bool trailer = str_eqz(p, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER");
	bool unsigned_trailer = str_eqz(p, "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
	if (str_starts(p, STR("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD")))
		return error_http(err, 501, "NotImplemented", "Quern does not implement SigV4A (%.*s).", STR_ARG(p));
	if (!plain && !trailer && !unsigned_trailer)
		return error_http(err, 400, "InvalidArgument",
				  "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
				  "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a "
				  "valid sha256 value.");
	if (decoded_length(r, err) < 0)
		return -1;
	r->chunked_wanted = true;
	return 0;
}

static void prepare_body(struct wire_request *r)
{
	struct str p = r->auth.payload;
	if (r->chunked_wanted) {
		struct chunked_options o = { .is_signed = !str_eqz(p, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
					     .trailer = str_ends(p, STR("-TRAILER")),
					     .timestamp = r->auth.timestamp,
					     .scope = r->auth.scope,
					     .signature = r->auth.signature,
					     .decoded_length = r->body_length };
		memcpy(o.key, r->chunk_key, sizeof(o.key));
		r->chunked = chunked_new(&r->arena, &o);
		OPENSSL_cleanse(&o.key, sizeof(o.key));
		OPENSSL_cleanse(r->chunk_key, sizeof(r->chunk_key));
	} else if (p.ptr && !str_eqz(p, SIGV4_UNSIGNED_PAYLOAD)) {
		r->sha = sigv4_sha256_new();
	}
}

/* ---- begin ---- */

static void begin(struct wire_request *r)
{
	int offloads = r->offloads;
	if (handler_of(r)->begin)
		handler_of(r)->begin(r, ctx_of(r));
	pthread_mutex_lock(&r->lock);
	r->raw_open = !r->answered || r->offloads > offloads;
	pthread_mutex_unlock(&r->lock);
}

/* The hash that the signature covers; STR_NULL when it is that of the body, not known yet. */
static struct str signed_payload(struct wire_request *r)
{
	if (r->auth.payload.ptr)
		return r->auth.payload;
	if (r->style == AUTH_S3 && r->auth.place == SIGV4_QUERY)
		return r->auth.payload = STR(SIGV4_UNSIGNED_PAYLOAD);
	return STR_NULL;
}

static int start_signed(struct wire_request *r, struct error *err)
{
	struct str payload = signed_payload(r);
	if (r->auth_fault == SIGV4_OK && !payload.ptr) {
		if (r->style == AUTH_S3)
			return error_http(err, 400, "InvalidRequest",
					  "Missing required header for this request: x-amz-content-sha256");
		r->spool = true;
		if (r->length > operation_max_bytes(r))
			return error_http(err, 413, "RequestEntityTooLargeException", "The request body is too large.");
		return auth_precheck(r, err);
	}
	if (r->auth_fault == SIGV4_OK && read_payload_kind(r, err) < 0)
		return -1;
	return auth_check(r, payload, err);
}

static int start_unsigned(struct wire_request *r, struct error *err)
{
	auth_anonymous(r);
	if (r->service->s->own_auth)
		return 0;
	if (r->auth_fault != SIGV4_MISSING)
		return auth_fault_error(r->style, r->auth_fault, &r->auth, 0, err);
	struct str payload = wire_header(r, "x-amz-content-sha256");
	if (!str_eqz(payload, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"))
		return 0;
	r->auth.payload = payload;
	return read_payload_kind(r, err);
}

void raw_start(struct wire_request *r)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	bool is_signed = !r->service->s->own_auth && (r->auth.place == SIGV4_HEADER || r->auth.place == SIGV4_QUERY);
	if ((is_signed ? start_signed(r, &err) : start_unsigned(r, &err)) < 0) {
		answer_error(r, &err);
		return;
	}
	if (r->spool)
		return;
	prepare_body(r);
	begin(r);
}

/* ---- body ---- */

static int sink(void *cls, const void *p, size_t n)
{
	struct wire_request *r = cls;
	if (handler_of(r)->body && handler_of(r)->body(r, ctx_of(r), p, n) < 0)
		return -1;
	return busy(r) ? 1 : 0;
}

/* The handler or the decoder ended the body. */
static ptrdiff_t stopped(struct wire_request *r, struct error *err)
{
	if (err->message) {
		refuse(r, err);
		return -1;
	}
	if (!request_answered(r)) {
		error_set(err, "a handler of %s stopped the body without an answer", r->service->s->scope);
		answer_error(r, err);
	}
	request_abort(r);
	return -1;
}

static ptrdiff_t spool(struct wire_request *r, const char *p, size_t n)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (r->body.len + n <= (size_t)operation_max_bytes(r)) {
		buf_add(&r->body, p, n);
		return (ptrdiff_t)n;
	}
	error_http(&err, 413, "RequestEntityTooLargeException", "The request body is too large.");
	answer_error(r, &err);
	return -1;
}

ptrdiff_t raw_body(struct wire_request *r, const char *p, size_t n)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (r->spool)
		return spool(r, p, n);
	if (request_answered(r)) /* by a worker: the rest is not wanted */
		return -1;
	if (r->chunked) {
		ptrdiff_t used = chunked_feed(r->chunked, p, n, sink, r, &err);
		return used < 0 ? stopped(r, &err) : used;
	}
	if (r->sha)
		sigv4_sha256_add(r->sha, p, n);
	return sink(r, p, n) < 0 ? stopped(r, &err) : (ptrdiff_t)n;
}

/* ---- end ---- */

static int body_is_good(struct wire_request *r, struct error *err)
{
	if (r->chunked)
		return chunked_finish(r->chunked, err);
	if (!r->sha)
		return 0;
	unsigned char sum[32];
	sigv4_sha256_end(r->sha, sum);
	return sigv4_same(r->auth.payload, sum) ? 0 : auth_body_mismatch(r->style, err);
}

static void finish(struct wire_request *r)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (request_answered(r))
		return;
	if (body_is_good(r, &err) < 0) {
		refuse(r, &err);
		return;
	}
	pthread_mutex_lock(&r->lock);
	r->owed = r->ended = true;
	pthread_mutex_unlock(&r->lock);
	if (handler_of(r)->end) {
		handler_of(r)->end(r, ctx_of(r));
		return;
	}
	error_set(&err, "the raw service %s has no end", r->service->s->scope);
	answer_error(r, &err);
}

/* Plays the buffered request to the handler; waits where the handler waits. */
static void play(struct wire_request *r)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	while (!busy(r) && !request_answered(r)) {
		switch (r->spool_step++) {
		case 0: {
			unsigned char sum[32];
			char hex[65];
			sigv4_sha256(buf_str(&r->body), sum);
			hex_encode(hex, sum, 32);
			if (auth_check(r, str_from(hex), &err) < 0) {
				answer_error(r, &err);
				return;
			}
			r->body_length = (int64_t)r->body.len;
			begin(r);
			break;
		}
		case 1:
			if (r->body.len && sink(r, r->body.ptr, r->body.len) < 0)
				stopped(r, &err);
			break;
		default:
			finish(r);
			return;
		}
	}
	if (!request_answered(r))
		r->resumed = play;
}

void raw_end(struct wire_request *r)
{
	if (r->spool)
		play(r);
	else
		finish(r);
}
