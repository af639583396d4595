/* s3.h - what other rooms may ask of the object store.
 *
 * DESIGN: S3 on one machine. Buckets, objects, listings, multipart uploads, versions, tags, checksums, conditions,
 * presigned URLs, POST forms and CORS are there; each write is on disk when it is answered. Every object belongs to its
 * bucket's owner ("bucket owner enforced"): ACLs that say something else are refused. Encryption of the disk is the
 * host's business: x-amz-server-side-encryption is noted and echoed, also a bucket's default; the client's own keys are
 * refused. Replication, object lock, website and notifications answer 501 NotImplemented by name.
 * Bodies are blobs (blob.h), so a copy moves no bytes and a channel is staged by hard link. */
#ifndef QUERN_S3_S3_H
#define QUERN_S3_S3_H

#include "blob/blob.h"
#include "wire/wire.h"

struct s3;
extern const struct store_migration s3_migrations[];

int s3_new(struct engine *e, struct blob_store *blobs, struct s3 **out, struct error *err);
void s3_free(struct s3 *s);
/* Bucket policies: iam asks them from now on. Without it none can be put. Call it before requests are served. */
struct iam;
int s3_use_iam(struct s3 *s, struct iam *iam, struct error *err);
/* The wire service (raw, scope "s3"). Borrowed for s's life. */
const struct wire_service *s3_service(struct s3 *s);

/* A day of lifecycle rules is so many times a real one, but at least a second long. Before engine_start. */
void s3_set_day(struct s3 *s, double scale);
/* Lifecycle rules are applied from now on. After engine_start. */
int s3_begin(struct s3 *s, struct error *err);

/* Splits "s3://bucket/key" (key may be empty). False when it is no such URI. Pieces borrow `uri`. */
bool s3_parse_uri(struct str uri, struct str *bucket, struct str *key);
bool s3_bucket_exists(struct db *db, struct str bucket);

/* One object as a listing shows it. Borrowed during the call. */
struct s3_entry {
	struct str key;
	int64_t size_bytes;
	int64_t modified_ms;
	struct str etag;    /* without quotes */
	struct str storage; /* "STANDARD" */
};
/* Current objects whose key starts with prefix, in key order. fn returns nonzero to stop. < 0 on a fault; err code
 * "NoSuchBucket". */
int s3_each(struct db *db, struct str bucket, struct str prefix, int (*fn)(void *ctx, const struct s3_entry *e),
	    void *ctx, struct error *err);
/* Reads a whole small object (<= max bytes) into the arena. err code NoSuchBucket, NoSuchKey, or "EntityTooLarge". From
 * any thread with a snapshot. */
int s3_read(struct s3 *s, struct db *db, struct str bucket, struct str key, int64_t max, struct arena *a,
	    struct str *out, struct error *err);
/* The same, from behind the key `after` on ("" = from the start), so that a long listing can be taken up again. */
int s3_each_after(struct db *db, struct str bucket, struct str prefix, struct str after,
		  int (*fn)(void *ctx, const struct s3_entry *e), void *ctx, struct error *err);
/* An object's body to read in pieces; what was opened stays readable whatever happens to the object. */
struct s3_reader {
	int fd;      /* -1: the body is `bytes` */
	char *bytes; /* malloc'ed */
	char etag[80];
	int64_t size_bytes;
};
/* version STR_NULL: the current one. err code NoSuchBucket, NoSuchKey. *out is to be closed (also when it was only
 * zeroed). */
int s3_reader_open(struct s3 *s, struct db *db, struct str bucket, struct str key, struct str version,
		   struct s3_reader *out, struct error *err);
/* Up to n bytes from offset `at`: how many, 0 at the end, < 0. */
ptrdiff_t s3_reader_read(const struct s3_reader *b, int64_t at, void *p, size_t n, struct error *err);
void s3_reader_close(struct s3_reader *b);
/* Puts a hard link of the object's bytes at host path `path`, which must not exist (writes a file when the object is
 * kept inline). No copy of large data. */
int s3_link(struct s3 *s, struct db *db, struct str bucket, struct str key, const char *path, struct error *err);
/* Makes a host file (same file system as the blobs; linked, not copied) an object's future body: durable on return, but
 * no object yet. The file's name stays, so that a repeated call works; unlink it when the commit is on disk. Nobody may
 * write to it any more. The prepared body is a JSON {"blob","size","etag","crc64nvme"} to keep in an event, and to give
 * to s3_commit; one that is never committed is removed some time after the next start. Blocking. Returns owned, or
 * NULL. */
json_t *s3_prepare(struct s3 *s, const char *path, struct error *err);
/* A future body written piece by piece. Blocking. *out is the caller's, for s3_writer_free. */
struct s3_writer;
int s3_writer_new(struct s3 *s, struct s3_writer **out, struct error *err);
int s3_writer_add(struct s3_writer *w, struct str bytes, struct error *err);
int64_t s3_writer_size(const struct s3_writer *w); /* bytes so far */
/* The body is on disk: what s3_prepare gives, owned; NULL with err. Nothing may be added after it. */
json_t *s3_writer_finish(struct s3_writer *w, struct error *err);
void s3_writer_free(struct s3_writer *w); /* NULL is accepted; an unfinished body goes */
/* In a turn: the prepared body becomes the object's current version, atomically with the turn. err code NoSuchBucket.
 */
int s3_commit(struct turn *t, struct str bucket, struct str key, const json_t *prepared, const char *content_type,
	      struct error *err);
/* In a turn: a small object from bytes (at most 4 MiB, kept in its row). */
int s3_put_small(struct turn *t, struct str bucket, struct str key, struct str body, const char *content_type,
		 struct error *err);

#endif
