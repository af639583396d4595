/* channel_test.c - the data channel of ExecuteCommand without socket and terminal: messages, order, bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"
#include "ecs/channel.h"

struct client {
	struct channel channel;
	struct agent_message last; /* sent by the channel; its texts are in `bytes` */
	struct buf bytes;
	int sent, acknowledged;
	int64_t next;
};

static void keep(void *ctx, struct str message)
{
	struct client *c = ctx;
	struct agent_message m;
	assert_int_equal(agent_message_read(message, &m, NULL), 0);
	if (str_eqz(m.type, "acknowledge")) {
		c->acknowledged++;
		return;
	}
	buf_clear(&c->bytes);
	buf_add_str(&c->bytes, message);
	assert_int_equal(agent_message_read(buf_str(&c->bytes), &c->last, NULL), 0);
	c->sent++;
}

static int put(struct client *c, const char *type, uint32_t payload_type, int64_t sequence, struct str payload)
{
	CLEANUP_BUF struct buf bytes = BUF_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const struct agent_message m = {
		.type = str_from(type), .sequence = sequence, .payload_type = payload_type, .payload = payload
	};
	agent_message_write(&bytes, &m);
	return channel_receive(&c->channel, buf_str(&bytes), 1000, &err);
}

static int input(struct client *c, uint32_t payload_type, const char *payload)
{
	return put(c, "input_stream_data", payload_type, c->next++, str_from(payload));
}

static void acknowledge(struct client *c, int64_t sequence)
{
	char text[80];
	snprintf(text, sizeof(text), "{\"AcknowledgedMessageSequenceNumber\": %lld}", (long long)sequence);
	put(c, "acknowledge", 0, 0, str_from(text));
}

static void open_channel(struct client *c)
{
	channel_start(&c->channel, "session", keep, c, 1000);
	assert_int_equal(channel_room(&c->channel), 0);
	assert_int_equal(input(c, AGENT_HANDSHAKE_RESPONSE, "{\"Errors\": null}"), 0);
	assert_true(c->channel.ready);
	acknowledge(c, 0);
	acknowledge(c, 1);
	assert_true(channel_settled(&c->channel));
}

static void close_client(struct client *c)
{
	channel_release(&c->channel);
	buf_release(&c->bytes);
}

static void messages_are_laid_out_as_the_plugin_reads_them(void **state)
{
	CLEANUP_BUF struct buf bytes = BUF_INIT;
	struct agent_message m = { .type = STR("output_stream_data"),
				   .created_ms = 0x0102030405060708,
				   .sequence = 9,
				   .flags = AGENT_FIN,
				   .payload_type = AGENT_OUTPUT,
				   .payload = STR("abc") },
			     read;
	char text[37];
	for (unsigned char i = 0; i < 16; i++)
		m.id[i] = i;
	agent_message_write(&bytes, &m);
	assert_int_equal(bytes.len, 123);
	assert_memory_equal(bytes.ptr, "\0\0\0\x74output_stream_data              \0\0\0\1\1\2\3\4\5\6\7\x08", 48);
	assert_memory_equal(bytes.ptr + 48,
			    "\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\2\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\0\1\2\3\4\5\6\7", 32);
	assert_memory_equal(bytes.ptr + 80, "\xba\x78\x16\xbf\x8f\x01\xcf\xea", 8); /* SHA-256 of "abc" */
	assert_memory_equal(bytes.ptr + 112, "\0\0\0\1\0\0\0\3abc", 11);
	assert_int_equal(agent_message_read(buf_str(&bytes), &read, NULL), 0);
	assert_true(str_eq(read.type, m.type) && str_eq(read.payload, m.payload));
	assert_memory_equal(read.id, m.id, 16);
	agent_message_id_text(read.id, text);
	assert_string_equal(text, "00010203-0405-0607-0809-0a0b0c0d0e0f");
	for (size_t n = 0; n < bytes.len; n++)
		assert_true(agent_message_read(str_of(bytes.ptr, n), &read, NULL) < 0);
	static const size_t spoiled[] = { 0, 2, 3, 85, 116, 119, 122 };
	for (size_t i = 0; i < sizeof(spoiled) / sizeof(*spoiled); i++) {
		bytes.ptr[spoiled[i]] ^= 1;
		assert_true(agent_message_read(buf_str(&bytes), &read, NULL) < 0);
		bytes.ptr[spoiled[i]] ^= 1;
	}
}

static void handshake_and_size(void **state)
{
	struct client c = { 0 };
	channel_start(&c.channel, "session", keep, &c, 1000);
	assert_int_equal(c.last.payload_type, AGENT_HANDSHAKE_REQUEST);
	assert_int_equal(c.last.flags, AGENT_SYN);
	assert_int_equal(put(&c, "input_stream_data", AGENT_OUTPUT, 0, STR("early")), 0);
	assert_int_equal(c.acknowledged, 0); /* it comes again */
	assert_int_equal(input(&c, AGENT_HANDSHAKE_RESPONSE, "{}"), 0);
	assert_int_equal(c.last.payload_type, AGENT_HANDSHAKE_COMPLETE);
	assert_int_equal(c.acknowledged, 1);
	assert_int_equal(input(&c, AGENT_SIZE, "{\"cols\": 91, \"rows\": 33}"), 0);
	assert_int_equal(input(&c, AGENT_SIZE, "{\"cols\": 0, \"rows\": 70000}"), 0);
	assert_int_equal(input(&c, AGENT_SIZE, "\xff"), 0);
	assert_int_equal(c.channel.cols, 91);
	assert_int_equal(c.channel.rows, 33);
	put(&c, "input_stream_data", AGENT_FLAG, c.next++, str_of("\0\0\0\2", 4));
	assert_true(c.channel.terminate);
	close_client(&c);
	struct client refusing = { 0 };
	channel_start(&refusing.channel, "session", keep, &refusing, 1000);
	assert_true(input(&refusing, AGENT_HANDSHAKE_RESPONSE, "{\"Errors\": [\"no\"]}") < 0);
	close_client(&refusing);
}

static void output_waits_for_acknowledgements(void **state)
{
	struct client c = { 0 };
	open_channel(&c);
	int64_t first = c.channel.next_out;
	while (channel_room(&c.channel))
		channel_output(&c.channel, STR("x"), 2000);
	assert_true(c.channel.nsent < CHANNEL_WINDOW);
	int sent = c.sent;
	channel_resend(&c.channel, channel_due_ms(&c.channel) - 1);
	assert_int_equal(c.sent, sent);
	channel_resend(&c.channel, channel_due_ms(&c.channel)); /* the oldest, as it was */
	assert_int_equal(c.sent, sent + 1);
	assert_int_equal(c.last.sequence, first);
	assert_int_equal(channel_oldest_ms(&c.channel), 2000);
	acknowledge(&c, first + 1); /* not the oldest: its place stays */
	assert_int_equal(channel_room(&c.channel), 0);
	acknowledge(&c, first);
	assert_true(channel_room(&c.channel) > 0);
	assert_int_equal(c.channel.sent[c.channel.first].sequence, first + 2);
	put(&c, "pause_publication", 0, 0, STR(""));
	assert_int_equal(channel_room(&c.channel), 0);
	assert_int_equal(channel_due_ms(&c.channel), INT64_MAX);
	put(&c, "start_publication", 0, 0, STR(""));
	for (int64_t i = first; i < c.channel.next_out; i++)
		acknowledge(&c, i);
	assert_true(channel_settled(&c.channel));
	channel_close(&c.channel, "why", 3000);
	assert_true(str_eqz(c.last.type, "channel_closed"));
	CLEANUP_JSON json_t *told = json_parse(c.last.payload, NULL);
	assert_string_equal(json_get_text(told, "Output"), "why");
	close_client(&c);
}

static void input_is_in_order_once_and_bounded(void **state)
{
	struct client c = { 0 };
	char chunk[CHANNEL_INPUT_MAX / 2 + 1];
	memset(chunk, 'a', sizeof(chunk));
	open_channel(&c);
	c.acknowledged = 0;
	put(&c, "input_stream_data", AGENT_OUTPUT, c.next + 1, STR("second"));
	assert_int_equal(c.acknowledged, 0);
	put(&c, "input_stream_data", AGENT_OUTPUT, c.next, STR("first"));
	put(&c, "input_stream_data", AGENT_OUTPUT, c.next, STR("first"));
	assert_int_equal(c.acknowledged, 2); /* the answer to the first was lost, perhaps */
	assert_true(str_eqz(buf_str(&c.channel.input), "first"));
	c.next++;
	buf_clear(&c.channel.input);
	put(&c, "input_stream_data", AGENT_OUTPUT, c.next++, str_of(chunk, sizeof(chunk)));
	put(&c, "input_stream_data", AGENT_OUTPUT, c.next, str_of(chunk, sizeof(chunk)));
	assert_int_equal(c.channel.input.len, sizeof(chunk));
	assert_int_equal(c.acknowledged, 3);
	buf_clear(&c.channel.input);
	put(&c, "input_stream_data", AGENT_OUTPUT, c.next, str_of(chunk, sizeof(chunk)));
	assert_int_equal(c.acknowledged, 4);
	close_client(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_are_laid_out_as_the_plugin_reads_them),
		cmocka_unit_test(handshake_and_size),
		cmocka_unit_test(output_waits_for_acknowledgements),
		cmocka_unit_test(input_is_in_order_once_and_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
