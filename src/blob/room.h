/* room.h - what the files of the blob room share. Not for other rooms. */
#ifndef QUERN_BLOB_ROOM_H
#define QUERN_BLOB_ROOM_H

#include <pthread.h>

#include "blob/blob.h"

/* A leaf directory that new blobs go to. Many blobs share one, so that one fsync makes many names durable. */
struct blob_shard {
	struct blob_shard *next; /* in blob_store.shards */
	int fd;
	char prefix[5];          /* "abcd": the directory ab/cd and the start of its ids */
	int created;             /* blobs given out; a full shard is followed by a new one */
	int refs;                /* writers, and one for being the current shard */
	uint64_t linked, synced; /* names made, names known durable */
	bool syncing;
};

struct blob_owner {
	blob_named named;
	void *ctx;
};

struct blob_store {
	char *root;
	int root_fd;
	bool no_tmpfile; /* the file system lacks O_TMPFILE: named files in tmp/ */
	pthread_mutex_t lock;
	pthread_cond_t synced;
	struct blob_shard *shards; /* in use; the first is where new blobs go */
	struct blob_shard *current;
	bool broken; /* an fsync failed: no more writes */
	int64_t opened_ms;
	struct blob_owner owners[8];
	int nowners;
};

/* A reference on the current shard (made when there is none or it is full). */
int shard_get(struct blob_store *bs, struct blob_shard **out, struct error *err);
void shard_put(struct blob_store *bs, struct blob_shard *shard);
/* A name was just made in the shard: returns when it is durable. One thread's fsync serves all that wait. */
int shard_sync(struct blob_store *bs, struct blob_shard *shard, struct error *err);
/* True when directory "abcd" is in use; caller holds the lock. */
bool shard_in_use(struct blob_store *bs, const char prefix[4]);
/* The error of a failed write: 507 when the disk is full. */
int blob_write_error(int errnum, const char *what, struct error *err);
/* Takes no more writes. */
int blob_break(struct blob_store *bs, int errnum, const char *what, struct error *err);
bool blob_id_valid(const char *id);

#endif
