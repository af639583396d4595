/* talk.h - the conversation of a session: between talk.c and session.c. */
#ifndef QUERN_ECS_TALK_H
#define QUERN_ECS_TALK_H

#include "ecs/session.h"
#include "wire/websocket.h"

/* Waits for the client's token, asks `open` for what it opens (filled, owned by the caller; false: nothing), runs it
 * and carries bytes until it, the client or the server ends. */
void session_talk(struct task_client *tasks, struct websocket *ws,
		  bool (*open)(void *ctx, struct str token, struct session_offer *offer), void *ctx,
		  struct session_offer *offer);

#endif
