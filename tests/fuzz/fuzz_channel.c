/* fuzz_channel.c - what a client of ExecuteCommand sends. Byte 0 picks: one message as it came, or a conversation.
 *
 * DESIGN: no mutation finds a digest, so the messages of a conversation are made here: a byte each for type, payload
 * type, distance of the number from the expected one and length, then the payload. */
#include <stdlib.h>

#include "ecs/channel.h"

static void drop(void *ctx, struct str message)
{
	struct agent_message m;
	if (agent_message_read(message, &m, NULL) < 0)
		abort(); /* we read what we write */
}

static void one_message(struct str bytes)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct agent_message m;
	char id[37];
	if (agent_message_read(bytes, &m, &err) < 0)
		return;
	agent_message_id_text(m.id, id);
	if (m.type.len > 32 || m.payload.ptr + m.payload.len != bytes.ptr + bytes.len)
		abort();
}

static struct str take(struct str *rest, size_t n)
{
	struct str head = str_head(*rest, n);
	*rest = str_skip(*rest, head.len);
	return head;
}

static void conversation(struct str rest)
{
	static const char *const types[] = { "input_stream_data", "acknowledge", "pause_publication",
					     "start_publication", "else" };
	struct channel c;
	int64_t now_ms = 1000;
	channel_start(&c, "session", drop, NULL, now_ms);
	while (rest.len >= 4) {
		CLEANUP_BUF struct buf bytes = BUF_INIT;
		CLEANUP_ERROR struct error err = ERROR_INIT;
		struct str head = take(&rest, 4), payload = take(&rest, (unsigned char)head.ptr[3]);
		const struct agent_message m = { .type = str_from(types[(unsigned char)head.ptr[0] % 5]),
						 .payload_type = (unsigned char)head.ptr[1],
						 .sequence = c.next_in + (signed char)head.ptr[2],
						 .payload = payload };
		agent_message_write(&bytes, &m);
		if (channel_receive(&c, buf_str(&bytes), ++now_ms, &err) < 0)
			break;
		if (channel_room(&c))
			channel_output(&c, payload, now_ms);
		channel_resend(&c, now_ms += 100);
		if (c.nsent > CHANNEL_WINDOW || c.input.len > CHANNEL_INPUT_MAX || c.rows < 0 || c.cols < 0)
			abort();
	}
	channel_close(&c, "", now_ms);
	channel_release(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	struct str text = str_of((const char *)data + 1, size - 1);
	if (data[0] & 1)
		one_message(text);
	else
		conversation(text);
	return 0;
}
