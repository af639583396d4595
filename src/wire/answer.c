/* answer.c - answers, see wire.h and http.h.
 *
 * DESIGN: a handler's answer is only noted down here, from any thread; the http thread turns it into a libmicrohttpd
 * response when the protocol allows one. Bodies stay in the request's arena (not copied again), files go out by
 * sendfile, streams are pulled piece by piece and suspend the connection while they have nothing. Header values lose CR
 * and LF, so that no client can write headers through an echo. */
#include "wire/http.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

/* ---- taking an answer down ---- */

bool answer_set(struct wire_request *r, const struct answer *a)
{
	pthread_mutex_lock(&r->lock);
	bool first = !r->answered;
	if (first) {
		struct answer_header *headers = r->answer.headers;
		r->answer = *a;
		r->answer.headers = headers;
		r->answered = true;
	}
	pthread_mutex_unlock(&r->lock);
	if (!first)
		log_error("wire", "request %s was answered twice (%d)", r->id, a->status);
	return first;
}

void answer_publish(struct wire_request *r)
{
	if (r->inside) {
		inside_answered(r);
		return;
	}
	request_pin(r);
	pthread_mutex_lock(&r->lock);
	r->owed = false;
	pthread_mutex_unlock(&r->lock);
	request_unpin(r);
}

void wire_set_header(struct wire_request *r, const char *name, const char *value)
{
	char *copy = arena_strdup(&r->arena, str_from(value));
	for (char *p = copy; *p; p++)
		if (*p == '\r' || *p == '\n' || *p == '\t')
			*p = ' ';
	struct answer_header **at = &r->answer.headers;
	for (; *at; at = &(*at)->next)
		if (str_eq_nocase(str_from((*at)->name), str_from(name))) {
			(*at)->value = copy;
			return;
		}
	*at = ARENA_NEW(&r->arena, struct answer_header);
	(*at)->name = arena_strdup(&r->arena, str_from(name));
	(*at)->value = copy;
}

static void send_body(struct wire_request *r, int status, struct str body)
{
	if (answer_set(r, &(struct answer){ .kind = ANSWER_BODY, .status = status, .body = body, .fd = -1 }))
		answer_publish(r);
}

void wire_send(struct wire_request *r, int status, struct str body)
{
	send_body(r, status, arena_str(&r->arena, body));
}

void wire_send_fd(struct wire_request *r, int status, int fd, int64_t offset, int64_t length)
{
	struct answer a = { .kind = ANSWER_FD, .status = status, .fd = fd, .offset = offset, .length = length };
	if (answer_set(r, &a))
		answer_publish(r);
	else
		answer_discard(&a);
}

void wire_send_stream(struct wire_request *r, int status, ptrdiff_t (*fn)(void *ctx, char *p, size_t n),
		      void (*done)(void *ctx), void *ctx)
{
	struct answer a = { .kind = ANSWER_STREAM, .status = status, .read = fn, .done = done, .ctx = ctx, .fd = -1 };
	if (answer_set(r, &a))
		answer_publish(r);
	else
		answer_discard(&a);
}

void answer_discard(struct answer *a)
{
	if (a->taken)
		return;
	a->taken = true;
	if (a->fd >= 0)
		close(a->fd);
	if ((a->kind == ANSWER_STREAM || a->kind == ANSWER_SOCKET) && a->done)
		a->done(a->ctx);
}

/* ---- errors and protocol answers ---- */

static bool has_header(const struct wire_request *r, const char *name)
{
	for (const struct answer_header *h = r->answer.headers; h; h = h->next)
		if (str_eq_nocase(str_from(h->name), str_from(name)))
			return true;
	return false;
}

void answer_codec(struct wire_request *r, const struct codec_response *rs)
{
	for (size_t i = 0; i < rs->nheaders; i++)
		wire_set_header(r, arena_strdup(&r->arena, rs->headers[i].name),
				arena_strdup(&r->arena, rs->headers[i].value));
	if (rs->content_type && !has_header(r, "Content-Type"))
		wire_set_header(r, "Content-Type", rs->content_type);
	if (!has_header(r, "x-amzn-RequestId"))
		wire_set_header(r, "x-amzn-RequestId", r->id);
	send_body(r, rs->status ? rs->status : 200, rs->body);
}

/* No service is known: JSON, or the query protocol's XML for a form. */
static void error_plain(struct wire_request *r, const struct error *err)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	wire_set_header(r, "x-amzn-RequestId", r->id);
	if (str_starts(wire_header(r, "content-type"), STR("application/x-www-form-urlencoded"))) {
		xml_open(&b, "ErrorResponse");
		xml_open(&b, "Error");
		xml_text(&b, "Type", err->status >= 500 ? STR("Receiver") : STR("Sender"));
		xml_text(&b, "Code", str_from(err->code));
		xml_text(&b, "Message", str_from(error_text(err)));
		xml_close(&b, "Error");
		xml_text(&b, "RequestId", str_from(r->id));
		xml_close(&b, "ErrorResponse");
		wire_set_header(r, "Content-Type", "text/xml");
	} else {
		json_t *body = json_object();
		json_set_text(body, "__type", err->code);
		json_set_text(body, "message", error_text(err));
		buf_add_str(&b, json_text(&r->arena, body));
		json_decref(body);
		wire_set_header(r, "Content-Type", "application/json");
		wire_set_header(r, "x-amzn-ErrorType", err->code);
	}
	wire_send(r, err->status ? err->status : 400, buf_str(&b));
}

void answer_error(struct wire_request *r, struct error *err)
{
	if (!err->code[0]) {
		log_error("wire", "request %s %.*s %.*s: %s", r->id, STR_ARG(r->http.method), STR_ARG(r->http.path),
			  error_text(err));
		error_release(err);
		error_http(err, 500, r->style == AUTH_S3 ? "InternalError" : "InternalFailure", "%s",
			   r->style == AUTH_S3 ? "We encountered an internal error. Please try again."
					       : "The request processing has failed because of an unknown error, "
						 "exception or failure.");
	}
	if (r->route == ROUTE_RAW && r->service->s->raw->fail) {
		r->service->s->raw->fail(r, r->service->s->ctx, err);
		if (request_answered(r))
			return;
	}
	if (r->route == ROUTE_OP) {
		struct codec_response rs = { 0 };
		codec_error(&r->arena, r->model ? r->model : r->service->model, err, r->id, &rs);
		answer_codec(r, &rs);
		return;
	}
	error_plain(r, err);
}

/* ---- handing it to libmicrohttpd ---- */

static ssize_t stream_read(void *cls, uint64_t pos, char *p, size_t max)
{
	struct wire_request *r = cls;
	for (;;) {
		pthread_mutex_lock(&r->lock);
		r->streaming = true;
		r->woken = false;
		bool cut = r->detached || r->hung_up;
		pthread_mutex_unlock(&r->lock);
		if (cut)
			return MHD_CONTENT_READER_END_WITH_ERROR;
		ptrdiff_t n = r->answer.read(r->answer.ctx, p, max);
		if (n > 0)
			return n;
		if (n < 0)
			return n == -1 ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
		pthread_mutex_lock(&r->lock);
		bool wait = !r->woken && !r->detached;
		if (wait) {
			r->suspended = true;
			r->want_answer = false;
			MHD_suspend_connection(r->conn);
		}
		pthread_mutex_unlock(&r->lock);
		if (!wait)
			continue;
		linger_watch(&r->server->linger);
		return 0;
	}
}

static void stream_free(void *cls)
{
	struct wire_request *r = cls;
	if (r->answer.kind == ANSWER_STREAM && r->answer.done)
		r->answer.done(r->answer.ctx);
	request_unpin(r);
}

/* Never called: a HEAD answer has no body. */
static ssize_t no_body(void *cls, uint64_t pos, char *p, size_t max)
{
	return MHD_CONTENT_READER_END_WITH_ERROR;
}

static bool is_head(const struct wire_request *r)
{
	return str_eqz(r->http.method, "HEAD");
}

/* The length a handler states for an answer without body (HEAD, 304), or -1. */
static int64_t stated_length(const struct wire_request *r)
{
	int64_t n = -1;
	for (const struct answer_header *h = r->answer.headers; h; h = h->next)
		if (str_eq_nocase(str_from(h->name), STR("content-length")))
			str_to_i64(str_from(h->value), &n);
	return n;
}

static struct MHD_Response *make_response(struct wire_request *r)
{
	struct answer *a = &r->answer;
	struct MHD_Response *m = NULL;
	if (a->kind == ANSWER_FD && a->length > 0) {
		m = MHD_create_response_from_fd_at_offset64((uint64_t)a->length, a->fd, (uint64_t)a->offset);
		a->taken = m != NULL;
		return m;
	}
	if (a->kind == ANSWER_SOCKET)
		return websocket_response(r);
	if (a->kind == ANSWER_STREAM) {
		int64_t length = is_head(r) ? stated_length(r) : -1;
		request_pin(r);
		a->taken = true;
		m = MHD_create_response_from_callback(length >= 0 ? (uint64_t)length : MHD_SIZE_UNKNOWN, 16 * 1024,
						      stream_read, r, stream_free);
		if (!m)
			stream_free(r);
		return m;
	}
	int64_t length = is_head(r) || a->status == 304 ? stated_length(r) : -1;
	if (length >= 0)
		return MHD_create_response_from_callback((uint64_t)length, 1, no_body, NULL, NULL);
	return MHD_create_response_from_buffer(a->body.len, (void *)a->body.ptr, MHD_RESPMEM_PERSISTENT);
}

/* The Date header, made once a second and thread. */
static const char *date_now(void)
{
	static __thread int64_t made_for;
	static __thread char text[40];
	int64_t second = clock_now_ms() / 1000;
	if (second != made_for)
		clock_http(second * 1000, text);
	made_for = second;
	return text;
}

enum MHD_Result answer_queue(struct wire_request *r)
{
	struct MHD_Response *m = make_response(r);
	if (!m) {
		log_error("wire", "request %s: no response could be made", r->id);
		return MHD_NO;
	}
	if (!has_header(r, "Date"))
		MHD_add_response_header(m, "Date", date_now());
	for (struct answer_header *h = r->answer.headers; h; h = h->next)
		if (!str_eq_nocase(str_from(h->name), STR("content-length")) && *h->value)
			MHD_add_response_header(m, h->name, h->value);
	if (r->server->stopping && r->answer.kind != ANSWER_SOCKET)
		MHD_add_response_header(m, "Connection", "close");
	enum MHD_Result rc = MHD_queue_response(r->conn, (unsigned)r->answer.status, m);
	MHD_destroy_response(m);
	return rc;
}

/* Writes all of it unless the peer does not read for a second. */
static void write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (done > 0) {
			p += done;
			n -= (size_t)done;
			continue;
		}
		struct pollfd pfd = { .fd = fd, .events = POLLOUT };
		if (errno != EINTR && (errno != EAGAIN || poll(&pfd, 1, 1000) <= 0))
			return;
	}
}

void answer_write_now(struct wire_request *r)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!info || r->answer.kind != ANSWER_BODY)
		return;
	CLEANUP_BUF struct buf b = BUF_INIT;
	buf_printf(&b, "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\nContent-Length: %zu\r\n", r->answer.status,
		   MHD_get_reason_phrase_for((unsigned)r->answer.status), date_now(), r->answer.body.len);
	for (struct answer_header *h = r->answer.headers; h; h = h->next)
		if (!str_eq_nocase(str_from(h->name), STR("content-length")))
			buf_printf(&b, "%s: %s\r\n", h->name, h->value);
	buf_addz(&b, "\r\n");
	buf_add_str(&b, r->answer.body);
	write_all(info->connect_fd, b.ptr, b.len);
}
