/* digest.h - MD5 and one checksum of a body, computed beside its reception.
 *
 * DESIGN: MD5 runs at 0.7 GB/s, slower than a socket. So a body that goes to a file is hashed by another thread, which
 * reads behind the writer from the page cache: no copy is handed over, nothing piles up in memory, and what is hashed
 * is what is stored. The same thread starts the write-back early, so that the final fdatasync finds little to do. Small
 * bodies are hashed in place. */
#ifndef QUERN_S3_DIGEST_H
#define QUERN_S3_DIGEST_H

#include "base/error.h"
#include "s3/checksum.h"

struct hasher; /* the threads */

struct hasher *hasher_new(int threads);
/* No digest may be left. */
void hasher_free(struct hasher *h);

struct digest {
	struct hasher *pool;
	void *md5; /* EVP_MD_CTX */
	struct checksum sum;
	struct digest *next; /* in the pool's queue */
	int fd;              /* followed file, borrowed; -1 none */
	int64_t base;        /* where the body starts in the file */
	int64_t written, hashed, flushed;
	int failed; /* errno of a read */
	bool queued, running, closing;
};

struct digest_result {
	uint8_t md5[16];
	char md5_hex[33];
	char sum[CHECKSUM_TEXT_MAX]; /* base64, empty for CHECKSUM_NONE */
};

void digest_init(struct digest *d, struct hasher *pool, enum checksum_algo algo);
/* Hashes bytes now. Not after digest_follow. */
void digest_bytes(struct digest *d, const void *p, size_t n);
/* From now on the body is what the caller writes to fd (borrowed until final or release) from `base` on. */
void digest_follow(struct digest *d, int fd, int64_t base);
/* The first `total` bytes of the body are in the file. */
void digest_written(struct digest *d, int64_t total);
/* Hashes what is left, gives the result and releases. Blocks; not on an http thread when following. */
int digest_final(struct digest *d, struct digest_result *out, struct error *err);
/* Drops it. Safe on a zeroed or finished digest. */
void digest_release(struct digest *d);

#endif
