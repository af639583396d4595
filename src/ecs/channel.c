/* channel.c - see channel.h. */
#include "ecs/channel.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"

enum { RESEND_MS = 200, FLAG_TERMINATE = 2 };

/* What we speak is the protocol of this agent (a handshake, the flag that ends a session). */
#define AGENT_VERSION "3.1.1511.0"

#define INPUT "input_stream_data"

/* ---- out ---- */

static void send_message(struct channel *c, struct agent_message *m, int64_t now_ms)
{
	CLEANUP_BUF struct buf bytes = BUF_INIT;
	m->created_ms = now_ms;
	random_bytes(m->id, sizeof(m->id));
	m->id[6] = (m->id[6] & 0x0f) | 0x40;
	m->id[8] = (m->id[8] & 0x3f) | 0x80;
	agent_message_write(&bytes, m);
	c->send(c->ctx, buf_str(&bytes));
}

/* A numbered message: kept until it is acknowledged. There is room. */
static void send_stream(struct channel *c, enum agent_payload type, struct str payload, int64_t now_ms)
{
	struct channel_sent *s = &c->sent[(c->first + c->nsent++) % CHANNEL_WINDOW];
	struct agent_message m = { .type = STR("output_stream_data"),
				   .created_ms = now_ms,
				   .sequence = c->next_out,
				   .flags = c->next_out ? 0 : AGENT_SYN,
				   .payload_type = type,
				   .payload = payload };
	random_bytes(m.id, sizeof(m.id));
	*s = (struct channel_sent){ .sequence = c->next_out++, .first_ms = now_ms, .at_ms = now_ms };
	agent_message_write(&s->bytes, &m);
	c->send(c->ctx, buf_str(&s->bytes));
}

static void send_json(struct channel *c, enum agent_payload type, json_t *payload, int64_t now_ms)
{
	CLEANUP_FREE char *text = json_text_dup(payload);
	json_decref(payload);
	send_stream(c, type, str_from(text), now_ms);
}

static void acknowledge(struct channel *c, const struct agent_message *m, int64_t now_ms)
{
	char id[37];
	agent_message_id_text(m->id, id);
	CLEANUP_JSON json_t *content =
		json_pack("{s:s, s:s, s:I, s:b}", "AcknowledgedMessageType", INPUT, "AcknowledgedMessageId", id,
			  "AcknowledgedMessageSequenceNumber", (json_int_t)m->sequence, "IsSequentialMessage", 1);
	CLEANUP_FREE char *text = json_text_dup(content);
	struct agent_message ack = { .type = STR("acknowledge"),
				     .flags = AGENT_SYN | AGENT_FIN,
				     .payload = str_from(text) };
	send_message(c, &ack, now_ms);
}

void channel_start(struct channel *c, const char *session, void (*send)(void *ctx, struct str message), void *ctx,
		   int64_t now_ms)
{
	*c = (struct channel){ .session = session, .send = send, .ctx = ctx, .started_ms = now_ms };
	send_json(c, AGENT_HANDSHAKE_REQUEST,
		  json_pack("{s:s, s:[{s:s, s:{s:s, s:{}}}]}", "AgentVersion", AGENT_VERSION, "RequestedClientActions",
			    "ActionType", "SessionType", "ActionParameters", "SessionType", "InteractiveCommands",
			    "Properties"),
		  now_ms);
}

void channel_release(struct channel *c)
{
	for (size_t i = 0; i < CHANNEL_WINDOW; i++)
		buf_release(&c->sent[i].bytes);
	buf_release(&c->input);
}

size_t channel_room(const struct channel *c)
{
	/* One place is left for what the protocol itself has to say. */
	return c->ready && !c->paused && c->nsent < CHANNEL_WINDOW - 1 ? CHANNEL_CHUNK : 0;
}

void channel_output(struct channel *c, struct str bytes, int64_t now_ms)
{
	if (!channel_room(c) || bytes.len > CHANNEL_CHUNK)
		BUG("%zu bytes of output have no room", bytes.len);
	send_stream(c, AGENT_OUTPUT, bytes, now_ms);
}

bool channel_settled(const struct channel *c)
{
	return c->nsent == 0;
}

int64_t channel_oldest_ms(const struct channel *c)
{
	return c->nsent ? c->sent[c->first].first_ms : INT64_MAX;
}

int64_t channel_due_ms(const struct channel *c)
{
	return c->nsent && !c->paused ? c->sent[c->first].at_ms + RESEND_MS : INT64_MAX;
}

void channel_resend(struct channel *c, int64_t now_ms)
{
	struct channel_sent *oldest = &c->sent[c->first];
	if (now_ms < channel_due_ms(c))
		return;
	oldest->at_ms = now_ms;
	c->send(c->ctx, buf_str(&oldest->bytes));
}

void channel_close(struct channel *c, const char *why, int64_t now_ms)
{
	char id[37], date[32];
	id_uuid(id, NULL, NULL);
	CLEANUP_JSON json_t *content = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i}", "MessageId", id, "CreatedDate",
						 clock_iso_ms(now_ms, date), "DestinationId", c->session, "SessionId",
						 c->session, "MessageType", "channel_closed", "SchemaVersion", 1);
	json_set_text(content, "Output", why);
	CLEANUP_FREE char *text = json_text_dup(content);
	struct agent_message m = { .type = STR("channel_closed"),
				   .flags = AGENT_SYN | AGENT_FIN,
				   .payload = str_from(text) };
	send_message(c, &m, now_ms);
}

/* ---- in ---- */

static void on_acknowledge(struct channel *c, const struct agent_message *m)
{
	CLEANUP_JSON json_t *content = json_parse(m->payload, NULL);
	int64_t sequence = json_get_int(content, "AcknowledgedMessageSequenceNumber", -1);
	for (size_t i = 0; i < c->nsent; i++) {
		struct channel_sent *s = &c->sent[(c->first + i) % CHANNEL_WINDOW];
		if (s->sequence == sequence)
			buf_release(&s->bytes);
	}
	for (; c->nsent && !c->sent[c->first].bytes.len; c->nsent--)
		c->first = (c->first + 1) % CHANNEL_WINDOW;
}

/* The client has done what the first message asked for, or not. */
static int on_response(struct channel *c, const struct agent_message *m, int64_t now_ms, struct error *err)
{
	CLEANUP_JSON json_t *content = json_parse(m->payload, NULL);
	const json_t *errors = json_get(content, "Errors");
	if (c->ready)
		return 0;
	if (json_array_size(errors))
		return error_set(err, "the client refuses the session: %.*s",
				 STR_ARG(str_head(json_str(json_array_get(errors, 0)), 200)));
	c->ready = true;
	send_json(c, AGENT_HANDSHAKE_COMPLETE,
		  json_pack("{s:I, s:s}", "HandshakeTimeToComplete", (json_int_t)(now_ms - c->started_ms) * 1000000,
			    "CustomerMessage", ""),
		  now_ms);
	return 0;
}

static void on_size(struct channel *c, const struct agent_message *m)
{
	CLEANUP_JSON json_t *content = json_parse(m->payload, NULL);
	int64_t rows = json_get_int(content, "rows", 0), cols = json_get_int(content, "cols", 0);
	if (rows < 1 || cols < 1 || rows > UINT16_MAX || cols > UINT16_MAX)
		return;
	c->rows = (int)rows;
	c->cols = (int)cols;
}

static void on_flag(struct channel *c, const struct agent_message *m)
{
	const unsigned char *p = (const unsigned char *)m->payload.ptr;
	if (m->payload.len == 4 && !p[0] && !p[1] && !p[2] && p[3] == FLAG_TERMINATE)
		c->terminate = true;
}

/* 1: taken; 0: it does not fit now, and comes again; < 0. */
static int take(struct channel *c, const struct agent_message *m, int64_t now_ms, struct error *err)
{
	switch (m->payload_type) {
	case AGENT_OUTPUT:
		if (!c->ready || c->input.len + m->payload.len > CHANNEL_INPUT_MAX)
			return 0;
		buf_add_str(&c->input, m->payload);
		return 1;
	case AGENT_SIZE:
		on_size(c, m);
		return 1;
	case AGENT_HANDSHAKE_RESPONSE:
		return c->nsent == CHANNEL_WINDOW ? 0 : on_response(c, m, now_ms, err) < 0 ? -1 : 1;
	case AGENT_FLAG:
		on_flag(c, m);
		return 1;
	default:
		return 1;
	}
}

static int on_input(struct channel *c, const struct agent_message *m, int64_t now_ms, struct error *err)
{
	if (m->sequence > c->next_in) /* one before it did not fit: both come again */
		return 0;
	if (m->sequence == c->next_in) {
		int rc = take(c, m, now_ms, err);
		if (rc <= 0)
			return rc;
		c->next_in++;
	}
	acknowledge(c, m, now_ms);
	return 0;
}

int channel_receive(struct channel *c, struct str message, int64_t now_ms, struct error *err)
{
	struct agent_message m;
	if (agent_message_read(message, &m, NULL) < 0)
		return 0;
	if (str_eqz(m.type, INPUT))
		return on_input(c, &m, now_ms, err);
	if (str_eqz(m.type, "acknowledge"))
		on_acknowledge(c, &m);
	else if (str_eqz(m.type, "pause_publication"))
		c->paused = true;
	else if (str_eqz(m.type, "start_publication"))
		c->paused = false;
	return 0;
}
