/* websocket.c - see websocket.h. */
#include "wire/websocket.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#include "base/id.h"
#include "base/log.h"
#include "wire/http.h"

enum { TURN_BYTES = 64 * 1024, MESSAGE_MAX = 64 * 1024 };

struct websocket {
	struct wire_server *server;
	struct MHD_UpgradeResponseHandle *handle;
	int fd;
	struct buf early; /* came together with the request */
	size_t early_used, taken;
	wslay_event_context_ptr frames;
	bool over;
	unsigned close_code; /* of the closing frame, once all else is out; 0: not yet, or it is queued */
	void (*on_message)(void *ctx, struct str message, bool text);
	void *on_message_ctx;
	void (*talk)(void *ctx, struct websocket *ws);
	void (*done)(void *ctx);
	void *ctx;
};

/* ---- the handshake ---- */

static bool has_word(struct str list, const char *word)
{
	struct str rest = list, piece;
	while (str_split(&rest, ',', &piece))
		if (str_eq_nocase(str_trim(piece), str_from(word)))
			return true;
	return false;
}

/* Sec-WebSocket-Accept (RFC 6455, 4.2.2). */
static const char *accept_of(struct wire_request *r, struct str key)
{
	unsigned char sum[SHA_DIGEST_LENGTH];
	char *text = arena_printf(&r->arena, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", STR_ARG(key));
	char *out = arena_alloc(&r->arena, 4 * (SHA_DIGEST_LENGTH / 3 + 1) + 1);
	SHA1((const unsigned char *)text, strlen(text), sum);
	base64_encode(out, sum, sizeof(sum));
	return out;
}

void wire_send_websocket(struct wire_request *r, void (*talk)(void *ctx, struct websocket *ws), void (*done)(void *ctx),
			 void *ctx)
{
	struct str key = wire_header(r, "sec-websocket-key");
	unsigned char nonce[64];
	struct answer a = { .kind = ANSWER_SOCKET, .status = 101, .fd = -1, .talk = talk, .done = done, .ctx = ctx };
	bool asked = str_eqz(r->http.method, "GET") && has_word(wire_header(r, "upgrade"), "websocket") &&
		     has_word(wire_header(r, "connection"), "upgrade");
	bool version = str_eqz(str_trim(wire_header(r, "sec-websocket-version")), "13");
	if (!asked || !version || key.len != 24 || base64_decode(nonce, key) != 16) {
		wire_set_header(r, "Upgrade", "websocket");
		wire_set_header(r, "Sec-WebSocket-Version", "13");
		wire_send(r, asked && version ? 400 : 426, STR("This is a WebSocket (version 13).\n"));
		answer_discard(&a);
		return;
	}
	wire_set_header(r, "Upgrade", "websocket");
	wire_set_header(r, "Sec-WebSocket-Accept", accept_of(r, key));
	if (answer_set(r, &a))
		answer_publish(r);
	else
		answer_discard(&a);
}

/* ---- frames ---- */

static ssize_t on_recv(wslay_event_context_ptr frames, uint8_t *p, size_t n, int flags, void *cls)
{
	struct websocket *ws = cls;
	size_t early = ws->early.len - ws->early_used;
	ssize_t got;
	if (early) {
		got = (ssize_t)(n < early ? n : early);
		memcpy(p, ws->early.ptr + ws->early_used, (size_t)got);
		ws->early_used += (size_t)got;
		return got;
	}
	if (ws->taken >= TURN_BYTES) {
		wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	do
		got = recv(ws->fd, p, n, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got > 0) {
		ws->taken += (size_t)got;
		return got;
	}
	bool later = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
	wslay_event_set_error(frames, later ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t on_send(wslay_event_context_ptr frames, const uint8_t *p, size_t n, int flags, void *cls)
{
	struct websocket *ws = cls;
	ssize_t sent;
	do
		sent = send(ws->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		wslay_event_set_error(frames, errno == EAGAIN || errno == EWOULDBLOCK ? WSLAY_ERR_WOULDBLOCK
										      : WSLAY_ERR_CALLBACK_FAILURE);
	return sent;
}

static void on_frame(wslay_event_context_ptr frames, const struct wslay_event_on_msg_recv_arg *arg, void *cls)
{
	struct websocket *ws = cls;
	if (!wslay_is_ctrl_frame(arg->opcode))
		ws->on_message(ws->on_message_ctx, str_of((const char *)arg->msg, arg->msg_length),
			       arg->opcode == WSLAY_TEXT_FRAME);
}

int websocket_fd(const struct websocket *ws)
{
	return ws->fd;
}

int websocket_stop_fd(const struct websocket *ws)
{
	return ws->server->stop_fd;
}

bool websocket_has_early(const struct websocket *ws)
{
	return ws->early_used < ws->early.len;
}

int websocket_receive(struct websocket *ws, void (*on_message)(void *ctx, struct str message, bool text), void *ctx)
{
	ws->on_message = on_message;
	ws->on_message_ctx = ctx;
	ws->taken = 0;
	ws->over |= wslay_event_recv(ws->frames) != 0;
	return ws->over || !wslay_event_want_read(ws->frames) ? -1 : 0;
}

static void queue(struct websocket *ws, uint8_t opcode, struct str message)
{
	const struct wslay_event_msg m = { opcode, (const uint8_t *)message.ptr, message.len };
	int rc = wslay_event_queue_msg(ws->frames, &m);
	if (rc == WSLAY_ERR_NOMEM)
		BUG("out of memory");
}

void websocket_send(struct websocket *ws, struct str message)
{
	queue(ws, WSLAY_BINARY_FRAME, message);
}

void websocket_close(struct websocket *ws, unsigned code)
{
	ws->close_code = code;
}

size_t websocket_queued(const struct websocket *ws)
{
	/* A frame that was begun is not counted by the library; one byte stands for it. */
	bool some = ws->close_code || wslay_event_want_write(ws->frames);
	return some ? wslay_event_get_queued_msg_length(ws->frames) + 1 : 0;
}

int websocket_flush(struct websocket *ws)
{
	ws->over |= wslay_event_send(ws->frames) != 0;
	if (!ws->over && ws->close_code && !wslay_event_want_write(ws->frames)) {
		/* Not before: the library lets control frames overtake. */
		wslay_event_queue_close(ws->frames, (uint16_t)ws->close_code, NULL, 0);
		ws->close_code = 0;
		ws->over |= wslay_event_send(ws->frames) != 0;
	}
	return ws->over ? -1 : 0;
}

/* ---- its life ---- */

/* The talker has returned: the connection goes back, which closes it, and with it the request goes. */
static void end(struct websocket *ws)
{
	struct wire_server *w = ws->server;
	if (ws->done)
		ws->done(ws->ctx);
	wslay_event_context_free(ws->frames);
	buf_release(&ws->early);
	MHD_upgrade_action(ws->handle, MHD_UPGRADE_ACTION_CLOSE);
	free(ws);
	pthread_mutex_lock(&w->lock);
	w->nwebsockets--;
	pthread_cond_broadcast(&w->quiet);
	pthread_mutex_unlock(&w->lock);
}

static void *run(void *arg)
{
	struct websocket *ws = arg;
	ws->talk(ws->ctx, ws);
	end(ws);
	return NULL;
}

static bool start(struct websocket *ws)
{
	static const struct wslay_event_callbacks callbacks = { .recv_callback = on_recv,
								.send_callback = on_send,
								.on_msg_recv_callback = on_frame };
	pthread_attr_t attr;
	pthread_t thread;
	if (wslay_event_context_server_init(&ws->frames, &callbacks, ws) != 0)
		BUG("out of memory");
	wslay_event_config_set_max_recv_msg_length(ws->frames, MESSAGE_MAX);
	int on = 1;
	setsockopt(ws->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int rc = pthread_create(&thread, &attr, run, ws);
	pthread_attr_destroy(&attr);
	if (rc)
		log_error("wire", "start a thread for a WebSocket: %s", strerror(rc));
	return rc == 0;
}

/* libmicrohttpd's callback: the head of the answer is out, and the socket is ours until the handle is closed. */
static void on_upgrade(void *cls, struct MHD_Connection *conn, void *req_cls, const char *extra, size_t nextra,
		       MHD_socket fd, struct MHD_UpgradeResponseHandle *handle)
{
	struct wire_request *r = cls;
	struct wire_server *w = r->server;
	struct websocket *ws = mem_calloc(1, sizeof(*ws));
	*ws = (struct websocket){ .server = w,
				  .handle = handle,
				  .fd = fd,
				  .talk = r->answer.talk,
				  .done = r->answer.done,
				  .ctx = r->answer.ctx };
	r->answer.taken = true;
	buf_add(&ws->early, extra, nextra);
	pthread_mutex_lock(&w->lock);
	w->nwebsockets++;
	bool late = w->detaching; /* nobody would wait for it any more */
	pthread_mutex_unlock(&w->lock);
	if (late || !start(ws))
		end(ws);
}

struct MHD_Response *websocket_response(struct wire_request *r)
{
	return MHD_create_response_for_upgrade(on_upgrade, r);
}

void websocket_join_all(struct wire_server *w)
{
	pthread_mutex_lock(&w->lock);
	while (w->nwebsockets > 0)
		pthread_cond_wait(&w->quiet, &w->lock);
	pthread_mutex_unlock(&w->lock);
}
