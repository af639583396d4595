/* agent_message.c - see agent_message.h. */
#include "ecs/agent_message.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>

enum {
	AT_TYPE = 4,
	TYPE_BYTES = 32,
	AT_SCHEMA = 36,
	AT_CREATED = 40,
	AT_SEQUENCE = 48,
	AT_FLAGS = 56,
	AT_ID = 64,
	AT_DIGEST = 80,
	AT_PAYLOAD_TYPE = 112,
	HEADER_BYTES = 116, /* and there is the payload's length */
};

static uint64_t number(const char *p, int bytes)
{
	uint64_t n = 0;
	for (int i = 0; i < bytes; i++)
		n = n << 8 | (unsigned char)p[i];
	return n;
}

static void add_number(struct buf *out, uint64_t n, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--)
		buf_add_char(out, (char)(n >> (8 * i)));
}

static struct str padded(const char *p, size_t n)
{
	while (n && (p[n - 1] == ' ' || !p[n - 1]))
		n--;
	return str_of(p, n);
}

int agent_message_read(struct str bytes, struct agent_message *out, struct error *err)
{
	unsigned char sum[SHA256_DIGEST_LENGTH];
	const char *p = bytes.ptr;
	if (bytes.len < HEADER_BYTES + 4)
		return error_set(err, "a message of %zu bytes has no header", bytes.len);
	size_t header = (size_t)number(p, 4);
	if (header < HEADER_BYTES || header > bytes.len - 4)
		return error_set(err, "a message of %zu bytes says that its header has %zu", bytes.len, header);
	struct str payload = str_skip(bytes, header + 4);
	if (number(p + header, 4) != payload.len)
		return error_set(err, "a message's payload has not the length it says");
	SHA256((const unsigned char *)payload.ptr, payload.len, sum);
	if (payload.len && CRYPTO_memcmp(sum, p + AT_DIGEST, sizeof(sum)) != 0)
		return error_set(err, "a message's digest is not that of its payload");
	*out = (struct agent_message){ .type = padded(p + AT_TYPE, TYPE_BYTES),
				       .created_ms = (int64_t)number(p + AT_CREATED, 8),
				       .sequence = (int64_t)number(p + AT_SEQUENCE, 8),
				       .flags = number(p + AT_FLAGS, 8),
				       .payload_type = (uint32_t)number(p + AT_PAYLOAD_TYPE, 4),
				       .payload = payload };
	memcpy(out->id, p + AT_ID + 8, 8);
	memcpy(out->id + 8, p + AT_ID, 8);
	return 0;
}

void agent_message_write(struct buf *out, const struct agent_message *m)
{
	unsigned char sum[SHA256_DIGEST_LENGTH];
	char type[TYPE_BYTES];
	if (m->type.len > TYPE_BYTES)
		BUG("message type `%.*s`", STR_ARG(m->type));
	memset(type, ' ', sizeof(type));
	memcpy(type, m->type.ptr, m->type.len);
	SHA256((const unsigned char *)m->payload.ptr, m->payload.len, sum);
	add_number(out, HEADER_BYTES, 4);
	buf_add(out, type, sizeof(type));
	add_number(out, 1, 4);
	add_number(out, (uint64_t)m->created_ms, 8);
	add_number(out, (uint64_t)m->sequence, 8);
	add_number(out, m->flags, 8);
	buf_add(out, m->id + 8, 8);
	buf_add(out, m->id, 8);
	buf_add(out, sum, sizeof(sum));
	add_number(out, m->payload_type, 4);
	add_number(out, m->payload.len, 4);
	buf_add_str(out, m->payload);
}

void agent_message_id_text(const unsigned char id[16], char text[37])
{
	snprintf(text, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", id[0], id[1], id[2],
		 id[3], id[4], id[5], id[6], id[7], id[8], id[9], id[10], id[11], id[12], id[13], id[14], id[15]);
}
