/* runtime.c - the runtime interface (what a worker talks to) and the download of a function's code, on one raw service.
 *
 * DESIGN: below /_quern/lambda/<token>/ the token is the right to speak for that worker; /_quern/lambda/code/<blob>
 * wants a signature that GetFunction gave. A worker's question for work is answered when there is some, however long
 * that takes. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lambda/room.h"

#define PREFIX "/_quern/lambda/"
#define API "2018-06-01/runtime/"
#define LINK_MS 600000

enum what { RT_UNKNOWN, RT_NEXT, RT_RESPONSE, RT_ERROR, RT_INIT_ERROR };
struct rcall {
	enum what what;
	struct str token, id;
	struct buf body;
	bool too_large;
};

bool lambda_claims(struct wire_request *r, void *ctx)
{
	return str_starts(wire_path(r), STR(PREFIX));
}

static void answer(struct wire_request *r, int status, const char *type, const char *text)
{
	struct arena *a = wire_arena(r);
	wire_set_header(r, "Content-Type", "application/json");
	wire_send(r, status, str_from(arena_printf(a, "{\"errorMessage\":\"%s\",\"errorType\":\"%s\"}", text, type)));
}

/* ---- the code ---- */

static void sign(struct lambda *l, const char *blob, int64_t expires, char out[65])
{
	unsigned char sum[32];
	char text[96];
	int n = snprintf(text, sizeof(text), "%.48s %lld", blob, (long long)expires);
	HMAC(EVP_sha256(), l->link_key, sizeof(l->link_key), (unsigned char *)text, (size_t)n, sum, NULL);
	hex_encode(out, sum, sizeof(sum));
}

const char *lambda_code_link(struct lambda *l, struct arena *a, const char *blob)
{
	char signature[65];
	int64_t expires = clock_now_ms() + LINK_MS;
	sign(l, blob, expires, signature);
	return arena_printf(a, "http://127.0.0.1:%u" PREFIX "code/%s?expires=%lld&signature=%s",
			    (unsigned)l->o.api_port, blob, (long long)expires, signature);
}

static void send_code(struct lambda *l, struct wire_request *r, struct str blob)
{
	bool present;
	int64_t expires = 0;
	char signature[65];
	const char *id = arena_strdup(wire_arena(r), blob);
	struct str given = wire_query_arg(r, "signature", &present);
	struct stat st;
	str_to_i64(wire_query_arg(r, "expires", &present), &expires);
	sign(l, id, expires, signature);
	if (blob.len != BLOB_ID_LEN || given.len != 64 || CRYPTO_memcmp(given.ptr, signature, 64) != 0 ||
	    expires < clock_now_ms()) {
		answer(r, 403, "AccessDenied", "The address is not valid any more");
		return;
	}
	int fd = blob_open(l->o.blobs, id, NULL);
	if (fd < 0 || fstat(fd, &st) < 0) {
		if (fd >= 0)
			close(fd);
		answer(r, 404, "NotFound", "The code is gone");
		return;
	}
	wire_set_header(r, "Content-Type", "application/zip");
	wire_send_fd(r, 200, fd, 0, st.st_size);
}

/* ---- the runtime interface ---- */

static void read_path(struct rcall *c, struct str rest, bool post)
{
	struct str last;
	if (!str_starts(rest, STR(API)))
		return;
	rest = str_skip(rest, sizeof(API) - 1);
	if (!post && str_eqz(rest, "invocation/next"))
		c->what = RT_NEXT;
	else if (post && str_eqz(rest, "init/error"))
		c->what = RT_INIT_ERROR;
	else if (post && str_starts(rest, STR("invocation/"))) {
		rest = str_skip(rest, 11);
		if (str_split(&rest, '/', &c->id) && str_split(&rest, '/', &last))
			c->what = str_eqz(last, "response") ? RT_RESPONSE
				  : str_eqz(last, "error")  ? RT_ERROR
							    : RT_UNKNOWN;
	}
}

static void begin(struct wire_request *r, void *ctx)
{
	struct lambda *l = ctx;
	struct rcall *c = ARENA_NEW(wire_arena(r), struct rcall);
	struct str rest = str_skip(arena_str(wire_arena(r), wire_path(r)), sizeof(PREFIX) - 1);
	bool post = str_eqz(wire_method(r), "POST");
	wire_set_state(r, c);
	if (!str_split(&rest, '/', &c->token))
		c->token = STR("");
	if (str_eqz(c->token, "code") && !post)
		send_code(l, r, rest);
	else if (!pool_knows(l, c->token))
		answer(r, 403, "Forbidden", "No such worker");
	else {
		read_path(c, rest.ptr ? rest : STR(""), post);
		if (c->what == RT_UNKNOWN)
			answer(r, 404, "NotFound", "The runtime interface has no such operation");
	}
}

static int body(struct wire_request *r, void *ctx, const void *p, size_t n)
{
	struct rcall *c = wire_state(r);
	if (c->body.len + n > LAMBDA_RESPONSE_MAX)
		c->too_large = true;
	if (!c->too_large)
		buf_add(&c->body, p, n);
	return 0;
}

static void end(struct wire_request *r, void *ctx)
{
	struct lambda *l = ctx;
	struct rcall *c = wire_state(r);
	bool known;
	if (c->what == RT_NEXT) {
		if (!pool_poll(l, c->token, r))
			answer(r, 403, "Forbidden", "No such worker");
		return;
	}
	if (c->what == RT_INIT_ERROR)
		known = pool_init_failed(l, c->token, buf_str(&c->body));
	else
		known = pool_result(l, c->token, c->id, c->what == RT_ERROR, c->too_large, buf_str(&c->body));
	buf_release(&c->body);
	if (!known)
		answer(r, 400, "InvalidRequestID", "Invalid request ID");
	else if (c->too_large)
		answer(r, 413, "RequestEntityTooLarge", "Exceeded maximum allowed payload size (6291556 bytes).");
	else
		wire_send(r, 202, STR("{\"status\":\"OK\"}"));
}

static void abort_request(struct wire_request *r, void *ctx)
{
	struct rcall *c = wire_state(r);
	if (c)
		buf_release(&c->body);
}

static void fail(struct wire_request *r, void *ctx, struct error *err)
{
	answer(r, err->status ? err->status : 400, err->code[0] ? err->code : "InternalFailure",
	       "The request could not be read");
}

const struct raw_handler lambda_raw = { begin, body, end, abort_request, fail };
