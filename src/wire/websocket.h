/* websocket.h - WebSocket connections (RFC 6455) of raw services.
 *
 * DESIGN: an answer of its own kind. When its head is out the connection is no longer libmicrohttpd's: a thread of its
 * own talks on it, so that a long conversation holds none of the server's threads, and ends it by returning. Frames are
 * libwslay's. Everything is non-blocking; what is queued to a peer that does not read is counted, and it is the talker
 * who stops reading then. */
#ifndef QUERN_WIRE_WEBSOCKET_H
#define QUERN_WIRE_WEBSOCKET_H

#include "wire/wire.h"

struct websocket;

/* Answers a request that wants to become a WebSocket: `talk` is called on a thread of its own, then `done` on any; or
 * only `done`, when it comes to nothing (a request that is no such one is answered 400 or 426). Counts as the send
 * function of wire.h. */
void wire_send_websocket(struct wire_request *r, void (*talk)(void *ctx, struct websocket *ws), void (*done)(void *ctx),
			 void *ctx);

/* ---- on the talker's thread ---- */

/* To be waited for: reading when the talker wants more, writing as long as websocket_queued is not 0. */
int websocket_fd(const struct websocket *ws);
/* Readable when the server stops: the talker is to say goodbye and return. */
int websocket_stop_fd(const struct websocket *ws);
/* Takes what came, at most about 64 KiB, and calls on_message for each whole message (at most 64 KiB; valid during the
 * call). Pings are answered. < 0: nothing more will come (the peer has closed, or broke the rules). */
int websocket_receive(struct websocket *ws, void (*on_message)(void *ctx, struct str message, bool text), void *ctx);
/* Has bytes that came together with the request, which websocket_fd does not tell of. */
bool websocket_has_early(const struct websocket *ws);
/* Queues a binary message (copied). */
void websocket_send(struct websocket *ws, struct str message);
/* Queues the closing frame: nothing can be sent after it. Codes: RFC 6455, 7.4.1. */
void websocket_close(struct websocket *ws, unsigned code);
/* Bytes that wait to be written. */
size_t websocket_queued(const struct websocket *ws);
/* Writes what goes. < 0: the connection is broken. */
int websocket_flush(struct websocket *ws);

#endif
