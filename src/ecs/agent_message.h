/* agent_message.h - the binary messages of the Session Manager's data channel.
 *
 * DESIGN: a pure codec. Format (source: session-manager-plugin, src/message, and amazon-ssm-agent): big-endian numbers
 * HeaderLength 4 (of what comes before PayloadLength: 116), MessageType 32 (padded with blanks or NUL), SchemaVersion
 * 4, CreatedDate 8 (epoch ms), SequenceNumber 8, Flags 8 (bit 0 SYN, bit 1 FIN), MessageId 16 (a UUID, its last eight
 * bytes first), PayloadDigest 32 (SHA-256 of the payload), PayloadType 4, PayloadLength 4, payload. */
#ifndef QUERN_ECS_AGENT_MESSAGE_H
#define QUERN_ECS_AGENT_MESSAGE_H

#include "base/buf.h"
#include "base/error.h"

enum { AGENT_SYN = 1, AGENT_FIN = 2 };
enum agent_payload {
	AGENT_OUTPUT = 1,
	AGENT_SIZE = 3,
	AGENT_HANDSHAKE_REQUEST = 5,
	AGENT_HANDSHAKE_RESPONSE = 6,
	AGENT_HANDSHAKE_COMPLETE = 7,
	AGENT_FLAG = 10,
};

struct agent_message {
	struct str type; /* "input_stream_data"; when read: within the bytes */
	int64_t created_ms, sequence;
	uint64_t flags;
	unsigned char id[16]; /* the UUID's bytes in the order of its text */
	uint32_t payload_type;
	struct str payload; /* when read: within the bytes */
};

/* Reads one whole message. < 0 with err when it is malformed or its digest is wrong. */
int agent_message_read(struct str bytes, struct agent_message *out, struct error *err);
/* Appends it; type has at most 32 bytes. */
void agent_message_write(struct buf *out, const struct agent_message *m);
/* The text of an id (37 bytes with NUL). */
void agent_message_id_text(const unsigned char id[16], char text[37]);

#endif
