/* serve.c - libmicrohttpd's callbacks: the steps of a request, see http.h.
 *
 * DESIGN: libmicrohttpd calls serve_request at the headers, for each piece of body and at the end. An answer can be
 * queued only at the first and the last of these, and one queued at the first closes the connection, so: a request
 * without body is handled wholly at the last call; an answer that is there before the body is read either waits until a
 * short body has been dropped, or (Expect: 100-continue, or a long body) is queued at once and the connection closed,
 * lingering; an answer that comes up in the middle of a long body is written to the socket by us. */
#include "wire/http.h"

#include <stdlib.h>

#include "base/log.h"

/* A connection's flags (libmicrohttpd's socket context). */
struct connection {
	bool linger;
};

/* ---- connections ---- */

static struct connection *connection_of(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info ? info->socket_context : NULL;
}

void serve_linger(struct MHD_Connection *conn)
{
	struct connection *c = connection_of(conn);
	if (c)
		c->linger = true;
}

void serve_connection(void *cls, struct MHD_Connection *conn, void **socket_ctx,
		      enum MHD_ConnectionNotificationCode code)
{
	struct wire_server *w = cls;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*socket_ctx = mem_calloc(1, sizeof(struct connection));
		return;
	}
	struct connection *c = *socket_ctx;
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (c && c->linger && info)
		linger_add(&w->linger, info->connect_fd);
	free(c);
	*socket_ctx = NULL;
}

void *serve_uri(void *cls, const char *uri, struct MHD_Connection *conn)
{
	return request_new(cls, conn, uri);
}

void serve_completed(void *cls, struct MHD_Connection *conn, void **ctx, enum MHD_RequestTerminationCode why)
{
	struct wire_request *r = *ctx;
	*ctx = NULL;
	if (r)
		request_gone(r, request_answered(r) && why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
}

/* ---- steps ---- */

/* The daemon's own pages. */
static void answer_page(struct wire_request *r)
{
	wire_set_header(r, "Content-Type", "application/json");
	if (str_eqz(r->http.method, "GET") || str_eqz(r->http.method, "HEAD"))
		wire_send(r, 200,
			  r->route == ROUTE_COVERAGE ? coverage_text(r->server, &r->arena)
						     : STR("{\"status\":\"running\"}"));
	else
		wire_send(r, 405, STR("{\"message\":\"Method Not Allowed\"}"));
}

static void start(struct wire_request *r)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (r->server->stopping) {
		error_http(&err, 503, "ServiceUnavailable", "Quern is shutting down.");
		answer_error(r, &err);
		return;
	}
	auth_anonymous(r);
	if (route_request(r, &err) < 0)
		answer_error(r, &err);
	else if (r->route == ROUTE_RAW)
		raw_start(r);
	else if (r->route == ROUTE_OP)
		operation_start(r);
	else
		answer_page(r);
}

/* The service has what it asked for, or the whole request. */
static enum MHD_Result step_end(struct wire_request *r)
{
	if (request_wait(r, false))
		return MHD_YES;
	while (!request_answered(r)) {
		void (*resumed)(struct wire_request *) = r->resumed;
		r->resumed = NULL;
		if (resumed) {
			resumed(r);
		} else if (r->phase != PHASE_ENDED) {
			r->phase = PHASE_ENDED;
			if (r->route == ROUTE_RAW)
				raw_end(r);
			else
				operation_end(r);
		} else {
			/* Waits for nothing else than the answer. */
			return request_wait(r, true) ? MHD_YES : request_answered(r) ? answer_queue(r) : MHD_NO;
		}
		if (request_wait(r, false))
			return MHD_YES;
	}
	return answer_queue(r);
}

/* The headers were handled and a body is to come. */
static enum MHD_Result step_headers(struct wire_request *r)
{
	if (request_wait(r, false))
		return MHD_YES;
	if (!request_answered(r)) {
		r->phase = PHASE_BODY;
		r->receiving = true;
		linger_watch(&r->server->linger);
		return MHD_YES;
	}
	if (!r->expects_continue && r->length >= 0 && r->length <= HTTP_DRAIN_MAX) {
		r->phase = PHASE_DRAIN;
		return MHD_YES;
	}
	serve_linger(r->conn);
	return answer_queue(r);
}

static enum MHD_Result first_call(struct wire_request *r, const char *method)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	pthread_mutex_lock(&r->server->lock);
	r->counted = true;
	r->server->nactive++;
	pthread_mutex_unlock(&r->server->lock);
	int rc = request_headers(r, method, &err);
	if (rc == 0 && !r->has_body) {
		r->phase = PHASE_HEADERS;
		return MHD_YES;
	}
	r->phase = PHASE_STARTED;
	if (rc < 0)
		answer_error(r, &err);
	else
		start(r);
	return step_headers(r);
}

/* A piece of a body nobody wants. */
static enum MHD_Result drain(struct wire_request *r, size_t *size)
{
	int64_t left = r->length >= 0 ? r->length - r->received : r->received;
	if (left > HTTP_DRAIN_MAX) {
		answer_write_now(r);
		serve_linger(r->conn);
		return MHD_NO;
	}
	*size = 0;
	return MHD_YES;
}

static enum MHD_Result body_call(struct wire_request *r, const char *data, size_t *size)
{
	/* libmicrohttpd may offer the next chunk of a chunked body though the connection is suspended. */
	if (request_wait(r, false))
		return MHD_YES;
	if (r->phase != PHASE_DRAIN) {
		ptrdiff_t used = r->route == ROUTE_RAW ? raw_body(r, data, *size) : operation_body(r, data, *size);
		if (used >= 0) {
			r->received += used;
			*size -= (size_t)used;
			request_wait(r, false);
			return MHD_YES;
		}
		r->phase = PHASE_DRAIN;
	}
	r->received += (int64_t)*size;
	return drain(r, size);
}

enum MHD_Result serve_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
			      const char *version, const char *data, size_t *size, void **ctx)
{
	struct wire_request *r = *ctx;
	if (!r)
		return MHD_NO;
	pthread_mutex_lock(&r->lock);
	bool cut = r->detached;
	pthread_mutex_unlock(&r->lock);
	if (cut)
		return MHD_NO;
	if (*size)
		return body_call(r, data, size);
	r->receiving = false;
	switch (r->phase) {
	case PHASE_LINE:
		return first_call(r, method);
	case PHASE_HEADERS:
		r->phase = PHASE_BODY;
		start(r);
		return step_end(r);
	case PHASE_STARTED:
		return step_headers(r);
	case PHASE_BODY:
	case PHASE_DRAIN:
	case PHASE_ENDED:
		return step_end(r);
	}
	BUG("request phase %d", r->phase);
}
