/* checksum.h - the checksums S3 knows: CRC32, CRC32C, CRC64NVME, SHA1, SHA256.
 *
 * DESIGN: one running state for all; CRCs can be combined (CRC of a whole from the CRCs of its parts), hashes can't.
 * The CRCs are kept as numbers and leave as big-endian bytes, base64, as S3 writes them. */
#ifndef QUERN_S3_CHECKSUM_H
#define QUERN_S3_CHECKSUM_H

#include "base/str.h"

enum checksum_algo {
	CHECKSUM_NONE,
	CHECKSUM_CRC32,
	CHECKSUM_CRC32C,
	CHECKSUM_CRC64NVME,
	CHECKSUM_SHA1,
	CHECKSUM_SHA256,
	CHECKSUM_COUNT
};
enum { CHECKSUM_TEXT_MAX = 48 }; /* base64 of 32 bytes, and NUL */

struct checksum {
	enum checksum_algo algo;
	uint64_t crc;
	void *evp; /* EVP_MD_CTX of the hashes */
};

void checksum_init(struct checksum *c, enum checksum_algo algo);
void checksum_update(struct checksum *c, const void *p, size_t n);
/* Base64 of the value; releases the state. Empty text for CHECKSUM_NONE. */
void checksum_final(struct checksum *c, char text[CHECKSUM_TEXT_MAX]);
/* Frees without a result; safe on a zeroed or finished state. */
void checksum_release(struct checksum *c);

/* "CRC32", ... ; NULL for CHECKSUM_NONE. */
const char *checksum_name(enum checksum_algo algo);
/* Any case. CHECKSUM_NONE when unknown. */
enum checksum_algo checksum_from_name(struct str name);
/* "x-amz-checksum-crc32" */
const char *checksum_header(enum checksum_algo algo);
/* "crc32", as error texts have it */
const char *checksum_word(enum checksum_algo algo);
/* "ChecksumCRC32" */
const char *checksum_element(enum checksum_algo algo);
size_t checksum_bytes(enum checksum_algo algo);
/* True when text is base64 of as many bytes as the algorithm has. */
bool checksum_text_valid(enum checksum_algo algo, struct str text);
static inline bool checksum_is_crc(enum checksum_algo algo)
{
	return algo == CHECKSUM_CRC32 || algo == CHECKSUM_CRC32C || algo == CHECKSUM_CRC64NVME;
}
/* The CRC of A followed by B (size_b bytes), all as base64 texts. False when a text is malformed. */
bool checksum_combine(enum checksum_algo algo, struct str a, struct str b, uint64_t size_b,
		      char out[CHECKSUM_TEXT_MAX]);

uint32_t crc32c(uint32_t crc, const void *p, size_t n);
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);
uint64_t crc64nvme(uint64_t crc, const void *p, size_t n);
uint64_t crc64nvme_portable(uint64_t crc, const void *p, size_t n);

#endif
