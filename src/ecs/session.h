/* session.h - sessions of ExecuteCommand: who may open one, and the conversation itself.
 *
 * DESIGN: ExecuteCommand makes an offer: a random id in the URL of a WebSocket and a random token, kept in memory for a
 * minute. Whoever comes with both takes the offer, which is gone then, and gets the terminal of a command in the
 * container (task_open_terminal). Policies were asked when the offer was made. The conversation runs on the thread of
 * its WebSocket and holds one channel (channel.h); the command ends when the socket does, and the other way round. A
 * restart of the daemon ends all of them. */
#ifndef QUERN_ECS_SESSION_H
#define QUERN_ECS_SESSION_H

#include "ecs/room.h"

enum { SESSION_ID_BYTES = 40, SESSION_TOKEN_BYTES = 89 };

struct session_offer {
	char id[SESSION_ID_BYTES], token[SESSION_TOKEN_BYTES];
	char *task;            /* of the executor: "ecs-..." */
	char *container, *who; /* who: ARN, for the log */
	json_t *command;       /* array of texts */
	int64_t until_ms;      /* monotonic */
};

struct sessions;
struct sessions *sessions_new(void);
/* When no conversation is left (the wire has stopped). */
void sessions_free(struct sessions *s);
/* Makes id and token of `o`, whose other members are borrowed, and keeps a copy. < 0: too many wait or are open. */
int sessions_offer(struct sessions *s, struct session_offer *o, struct error *err);

/* The words of a command line as google/shlex makes them of it (the agent runs them without a shell): quotes, escapes.
 * Array of texts, owned; NULL when a quote is not closed. */
json_t *session_words(const char *text);

/* Raw, unsigned: GET /v1/data-channel/<session id>. */
extern const struct raw_handler ecs_sessions_handler;
bool ecs_sessions_claims(struct wire_request *r, void *ctx);

#endif
