/* channel.h - the agent's end of a data channel of the Session Manager, without clock, socket or terminal.
 *
 * DESIGN: messages come in, bytes for the terminal and messages to send come out (source of the protocol: the plugin's
 * src/datachannel and the agent's). Both directions are numbered, and acknowledged one message at a time; what is not
 * acknowledged is sent again: the plugin throws away what comes before it is ready. A message that does not fit is not
 * acknowledged and comes again, so memory is bounded whoever is slow: CHANNEL_WINDOW messages out, CHANNEL_INPUT_MAX
 * bytes in. */
#ifndef QUERN_ECS_CHANNEL_H
#define QUERN_ECS_CHANNEL_H

#include "ecs/agent_message.h"

enum { CHANNEL_WINDOW = 64, CHANNEL_CHUNK = 4096, CHANNEL_INPUT_MAX = 64 * 1024 };

struct channel_sent {
	int64_t sequence, first_ms, at_ms; /* when it was sent first, and last */
	struct buf bytes;                  /* the whole message; empty: acknowledged */
};

struct channel {
	const char *session; /* id; borrowed */
	void (*send)(void *ctx, struct str message);
	void *ctx;
	int64_t next_in, next_out;
	struct channel_sent sent[CHANNEL_WINDOW]; /* ring, the oldest at first */
	size_t first, nsent;
	int64_t started_ms;
	bool ready;     /* the handshake is done: the command may run */
	bool paused;    /* the client wants nothing now */
	bool terminate; /* the client asked for the end */
	struct buf input;
	int rows, cols; /* of the client's terminal; 0: not said yet */
};

/* Sends the handshake's first message. Times are epoch ms. */
void channel_start(struct channel *c, const char *session, void (*send)(void *ctx, struct str message), void *ctx,
		   int64_t now_ms);
void channel_release(struct channel *c);
/* Takes a binary message: fills input, rows and cols, and the flags. One that makes no sense is dropped: 0; < 0 with
 * err when the channel cannot go on (the client refused the handshake). */
int channel_receive(struct channel *c, struct str message, int64_t now_ms, struct error *err);
/* How many bytes of output can be sent now; at most CHANNEL_CHUNK. */
size_t channel_room(const struct channel *c);
void channel_output(struct channel *c, struct str bytes, int64_t now_ms);
/* All that was sent is acknowledged. */
bool channel_settled(const struct channel *c);
/* When channel_resend has something to do; INT64_MAX: not before a message comes. */
int64_t channel_due_ms(const struct channel *c);
/* Sends the oldest message again when its time has come. */
void channel_resend(struct channel *c, int64_t now_ms);
/* Since when the oldest message waits for its acknowledgement; INT64_MAX: none does. */
int64_t channel_oldest_ms(const struct channel *c);
/* Tells the client that it is over; `why` is shown to the user ("" = nothing to say). */
void channel_close(struct channel *c, const char *why, int64_t now_ms);

#endif
