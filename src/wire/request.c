/* request.c - the life of a request and what handlers may read of it, see http.h and wire.h.
 *
 * DESIGN: everything a handler can see is copied into the request's arena when the headers are complete, so it stays
 * readable when the connection is gone. A request is freed when its connection is done with it and nobody works on it
 * any more; every change of those facts ends in `settle`, which also tells a raw service of an abort and resumes the
 * connection. */
#include "wire/http.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/id.h"
#include "wire/uri.h"

/* ---- life ---- */

/* The path and query of a request target; "http://host/path" loses scheme and host. */
static struct str target_path(struct str uri)
{
	ptrdiff_t colon = str_find(uri, STR("://"));
	ptrdiff_t slash = str_find_char(uri, '/');
	if (colon < 0 || slash != colon + 1)
		return uri;
	struct str rest = str_skip(uri, (size_t)colon + 3);
	slash = str_find_char(rest, '/');
	return slash < 0 ? STR("/") : str_skip(rest, (size_t)slash);
}

/* Request ids are many and no secret: kernel randomness is fetched for 32 of them at a time. */
static uint64_t next_word(void *ctx)
{
	static __thread uint64_t pool[64];
	static __thread size_t left;
	if (left == 0) {
		random_bytes(pool, sizeof(pool));
		left = sizeof(pool) / sizeof(pool[0]);
	}
	return pool[--left];
}

struct wire_request *request_new(struct wire_server *w, struct MHD_Connection *conn, const char *uri)
{
	struct arena a = ARENA_INIT;
	struct wire_request *r = ARENA_NEW(&a, struct wire_request);
	r->arena = a;
	r->server = w;
	r->conn = conn;
	r->answer.fd = -1;
	r->body_length = r->length = -1;
	pthread_mutex_init(&r->lock, NULL);
	id_uuid(r->id, next_word, NULL);
	struct str path = target_path(arena_str(&r->arena, str_head(str_from(uri), HTTP_URL_MAX + 1)));
	ptrdiff_t mark = str_find_char(path, '?');
	r->http.path = mark < 0 ? path : str_head(path, (size_t)mark);
	r->http.query = mark < 0 ? STR("") : str_skip(path, (size_t)mark + 1);
	pthread_mutex_lock(&w->lock);
	r->detached = w->detaching;
	r->next = w->live;
	if (r->next)
		r->next->prev = r;
	w->live = r;
	w->nlive++;
	pthread_mutex_unlock(&w->lock);
	return r;
}

static void server_forget(struct wire_server *w, struct wire_request *r)
{
	pthread_mutex_lock(&w->lock);
	if (r->prev)
		r->prev->next = r->next;
	else
		w->live = r->next;
	if (r->next)
		r->next->prev = r->prev;
	w->nlive--;
	if (r->counted)
		w->nactive--;
	if (w->nactive == 0 || w->nlive == 0)
		pthread_cond_broadcast(&w->quiet);
	bool last = w->freed && w->nlive == 0;
	pthread_mutex_unlock(&w->lock);
	if (last)
		server_destroy(w);
}

static void request_free(struct wire_request *r)
{
	answer_discard(&r->answer);
	sigv4_sha256_free(r->sha);
	buf_release(&r->body);
	error_release(&r->op_error);
	json_decref(r->in);
	json_decref(r->out);
	struct arena a = r->arena; /* r lies in it */
	server_forget(r->server, r);
	pthread_mutex_destroy(&r->lock); /* not before: the sweep of live requests takes it (linger.c) */
	arena_release(&a);
}

/* Called with the lock held after any change; lets go of it. May free r. */
static void settle(struct wire_request *r)
{
	bool quiet = r->pending == 0 && !r->owed;
	bool tell = quiet && r->raw_open && (r->abort_due || (r->gone && !(r->complete && r->ended)));
	bool resume = r->suspended && !r->gone && r->pending == 0 && (r->answered || !r->want_answer || r->detached);
	if (tell) {
		r->raw_open = false;
		r->pins++;
	}
	if (resume) {
		r->suspended = false;
		MHD_resume_connection(r->conn);
	}
	bool last = quiet && r->gone && r->pins == 0;
	pthread_mutex_unlock(&r->lock);
	if (tell) {
		const struct raw_handler *h = r->service->s->raw;
		if (h->abort)
			h->abort(r, r->service->s->ctx);
		request_unpin(r);
	} else if (last) {
		request_free(r);
	}
}

bool request_wait(struct wire_request *r, bool need_answer)
{
	pthread_mutex_lock(&r->lock);
	bool wait = !r->detached && (r->pending > 0 || (need_answer && !r->answered));
	if (wait && !r->suspended) {
		r->suspended = true;
		r->want_answer = need_answer;
		MHD_suspend_connection(r->conn);
	}
	pthread_mutex_unlock(&r->lock);
	return wait;
}

bool request_answered(struct wire_request *r)
{
	pthread_mutex_lock(&r->lock);
	bool yes = r->answered;
	pthread_mutex_unlock(&r->lock);
	return yes;
}

void request_hold(struct wire_request *r)
{
	pthread_mutex_lock(&r->lock);
	r->pending++;
	pthread_mutex_unlock(&r->lock);
}

void request_release(struct wire_request *r)
{
	pthread_mutex_lock(&r->lock);
	r->pending--;
	settle(r);
}

void request_pin(struct wire_request *r)
{
	pthread_mutex_lock(&r->lock);
	r->pins++;
	pthread_mutex_unlock(&r->lock);
}

void request_unpin(struct wire_request *r)
{
	pthread_mutex_lock(&r->lock);
	r->pins--;
	settle(r);
}

void request_abort(struct wire_request *r)
{
	pthread_mutex_lock(&r->lock);
	r->abort_due = true;
	settle(r);
}

void request_gone(struct wire_request *r, bool complete)
{
	pthread_mutex_lock(&r->lock);
	r->gone = true;
	r->complete = complete;
	r->suspended = false;
	r->conn = NULL;
	settle(r);
}

void request_detach(struct wire_request *r)
{
	pthread_mutex_lock(&r->lock);
	r->detached = true;
	if (r->suspended && !r->gone) {
		r->suspended = false;
		MHD_resume_connection(r->conn);
	}
	pthread_mutex_unlock(&r->lock);
}

/* ---- headers ---- */

static bool is_token(struct str s)
{
	static const char extra[] = "!#$%&'*+-.^_`|~";
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool alnum = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
		if (!alnum && (!c || !strchr(extra, c)))
			return false;
	}
	return s.len > 0;
}

static bool is_value(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (((unsigned char)s.ptr[i] < 0x20 && s.ptr[i] != '\t') || s.ptr[i] == 0x7f)
			return false;
	return true;
}

struct header_copy {
	struct wire_request *r;
	struct codec_pair *pairs;
	size_t n, bytes;
	int hosts, lengths, codings;
	bool bad, too_much;
};

static enum MHD_Result copy_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_size,
				   const char *value, size_t value_size)
{
	struct header_copy *c = cls;
	struct str n = str_of(name, name_size), v = str_trim(str_of(value ? value : "", value ? value_size : 0));
	c->bytes += n.len + v.len + 4;
	if (c->n == HTTP_HEADERS_MAX || c->bytes > HTTP_HEADERS_MAX_BYTES) {
		c->too_much = true;
		return MHD_NO;
	}
	if (!is_token(n) || !is_value(v)) {
		c->bad = true;
		return MHD_NO;
	}
	c->hosts += str_eq_nocase(n, STR("host"));
	c->lengths += str_eq_nocase(n, STR("content-length"));
	c->codings += str_eq_nocase(n, STR("transfer-encoding"));
	c->pairs[c->n++] = (struct codec_pair){ arena_str(&c->r->arena, n), arena_str(&c->r->arena, v) };
	return MHD_YES;
}

/* Two lengths, or a length and a coding, are how requests are smuggled. */
static int check_framing(struct wire_request *r, const struct header_copy *c, struct error *err)
{
	if (c->hosts > 1 || c->lengths > 1 || c->codings > 1 || (c->lengths && c->codings))
		return error_http(err, 400, "BadRequest", "The request's framing is ambiguous.");
	struct str coding = sigv4_header(&r->http, "transfer-encoding");
	if (coding.ptr && !str_eq_nocase(coding, STR("chunked")))
		return error_http(err, 501, "NotImplemented", "Transfer-Encoding `%.*s` is not supported.",
				  STR_ARG(coding));
	struct str length = sigv4_header(&r->http, "content-length");
	r->length = coding.ptr ? -1 : 0;
	if (length.ptr && (!str_to_i64(length, &r->length) || r->length < 0))
		return error_http(err, 400, "BadRequest", "Content-Length is not a number.");
	r->has_body = r->length != 0;
	r->body_length = r->length;
	r->expects_continue = str_eq_nocase(sigv4_header(&r->http, "expect"), STR("100-continue"));
	return 0;
}

/* Kept because handlers ask for it on other threads, when the connection may be gone. */
static void note_peer(struct wire_request *r)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *peer = info ? info->client_addr : NULL;
	if (peer && peer->sa_family == AF_INET) {
		memcpy(r->peer, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
		r->peer_size = 4;
	} else if (peer && peer->sa_family == AF_INET6) {
		memcpy(r->peer, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, 16);
		r->peer_size = 16;
	}
}

int request_headers(struct wire_request *r, const char *method, struct error *err)
{
	struct header_copy c = { .r = r, .pairs = ARENA_ARRAY(&r->arena, struct codec_pair, HTTP_HEADERS_MAX / 8) };
	int n = MHD_get_connection_values_n(r->conn, MHD_HEADER_KIND, NULL, NULL);
	if (n > HTTP_HEADERS_MAX / 8)
		c.pairs = ARENA_ARRAY(&r->arena, struct codec_pair, (size_t)n);
	MHD_get_connection_values_n(r->conn, MHD_HEADER_KIND, copy_header, &c);
	r->http.method = arena_str(&r->arena, str_from(method));
	r->http.headers = c.pairs;
	r->http.nheaders = c.n;
	r->has_body = true; /* until the framing is understood: whatever follows is not a request */
	r->length = -1;
	if (c.too_much)
		return error_http(err, 431, "RequestHeaderSectionTooLarge",
				  "Your request header section exceeds the maximum allowed size.");
	if (r->http.path.len + r->http.query.len > HTTP_URL_MAX)
		return error_http(err, 414, "RequestURITooLong", "The request's URI is longer than %d bytes.",
				  HTTP_URL_MAX);
	if (c.bad || !is_token(r->http.method))
		return error_http(err, 400, "BadRequest", "The request has a malformed header.");
	if (!r->http.path.len || (r->http.path.ptr[0] != '/' && !str_eqz(r->http.path, "*")))
		return error_http(err, 400, "BadRequest", "The request's target is not a path.");
	r->path = uri_decoded(&r->arena, r->http.path, false);
	note_peer(r);
	return check_framing(r, &c, err);
}

void request_query(struct wire_request *r)
{
	if (r->query_read)
		return;
	r->query_read = true;
	size_t max = 1;
	for (size_t i = 0; i < r->http.query.len; i++)
		max += r->http.query.ptr[i] == '&';
	if (!r->http.query.len)
		return;
	r->query = ARENA_ARRAY(&r->arena, struct codec_pair, max);
	struct str rest = r->http.query, piece;
	while (str_split(&rest, '&', &piece)) {
		if (!piece.len)
			continue;
		ptrdiff_t eq = str_find_char(piece, '=');
		struct str name = eq < 0 ? piece : str_head(piece, (size_t)eq);
		struct str value = eq < 0 ? STR("") : str_skip(piece, (size_t)eq + 1);
		r->query[r->nquery++] =
			(struct codec_pair){ uri_decoded(&r->arena, name, true), uri_decoded(&r->arena, value, true) };
	}
}

/* ---- what handlers read ---- */

struct arena *wire_arena(struct wire_request *r)
{
	return &r->arena;
}

struct str wire_method(struct wire_request *r)
{
	return r->http.method;
}

struct str wire_path(struct wire_request *r)
{
	return r->path;
}

struct str wire_raw_path(struct wire_request *r)
{
	return r->http.path;
}

struct str wire_query_arg(struct wire_request *r, const char *name, bool *present)
{
	request_query(r);
	struct str n = str_from(name);
	for (size_t i = 0; i < r->nquery; i++)
		if (str_eq(r->query[i].name, n)) {
			if (present)
				*present = true;
			return r->query[i].value;
		}
	if (present)
		*present = false;
	return STR_NULL;
}

void wire_each_query(struct wire_request *r, void (*fn)(void *ctx, struct str name, struct str value), void *ctx)
{
	request_query(r);
	for (size_t i = 0; i < r->nquery; i++)
		fn(ctx, r->query[i].name, r->query[i].value);
}

struct str wire_header(struct wire_request *r, const char *name)
{
	return sigv4_header(&r->http, name);
}

void wire_each_header(struct wire_request *r, void (*fn)(void *ctx, struct str name, struct str value), void *ctx)
{
	for (size_t i = 0; i < r->http.nheaders; i++)
		fn(ctx, r->http.headers[i].name, r->http.headers[i].value);
}

const struct principal *wire_who(struct wire_request *r)
{
	return &r->who;
}

const char *wire_source_ip(struct wire_request *r)
{
	char text[INET6_ADDRSTRLEN] = "";
	if (r->peer_size)
		inet_ntop(r->peer_size == 4 ? AF_INET : AF_INET6, r->peer, text, sizeof(text));
	return arena_strdup(&r->arena, str_from(text));
}

const char *wire_request_id(struct wire_request *r)
{
	return r->id;
}

const char *wire_region(struct wire_request *r)
{
	return r->region;
}

int64_t wire_body_length(struct wire_request *r)
{
	return r->body_length;
}

struct str wire_trailer(struct wire_request *r, const char *name)
{
	return r->chunked ? chunked_trailer(r->chunked, str_from(name)) : STR_NULL;
}

struct engine *wire_engine(struct wire_request *r)
{
	return r->server->o.engine;
}

void wire_set_state(struct wire_request *r, void *state)
{
	r->state = state;
}

void *wire_state(struct wire_request *r)
{
	return r->state;
}

/* ---- waiting ---- */

struct offload {
	struct wire_request *r;
	void (*fn)(struct wire_request *r, void *arg);
	void *arg;
};

static void offload_run(void *arg)
{
	struct offload *o = arg;
	o->fn(o->r, o->arg);
	struct wire_request *r = o->r;
	free(o);
	request_release(r);
}

void wire_offload(struct wire_request *r, void (*fn)(struct wire_request *r, void *arg), void *arg)
{
	struct offload *o = mem_alloc(sizeof(*o));
	*o = (struct offload){ r, fn, arg };
	pthread_mutex_lock(&r->lock);
	r->offloads++;
	r->pending++;
	pthread_mutex_unlock(&r->lock);
	work_add(r->server->work, offload_run, o);
}

void wire_wake(struct wire_request *r)
{
	pthread_mutex_lock(&r->lock);
	r->woken = true;
	if (r->streaming && r->suspended && !r->gone) {
		r->suspended = false;
		MHD_resume_connection(r->conn);
	}
	pthread_mutex_unlock(&r->lock);
}
