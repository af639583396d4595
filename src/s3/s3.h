/* s3.h - what other rooms may ask of the object store. */
#ifndef QUERN_S3_S3_H
#define QUERN_S3_S3_H

#include "blob/blob.h"
#include "wire/wire.h"

struct s3;
extern const struct store_migration s3_migrations[];

int s3_new(struct engine *e, struct blob_store *blobs, struct s3 **out, struct error *err);
void s3_free(struct s3 *s);
/* The wire service (raw, scope "s3"). Borrowed for s's life. */
const struct wire_service *s3_service(struct s3 *s);

/* Splits "s3://bucket/key" (key may be empty). False when it is no such URI. Pieces borrow `uri`. */
bool s3_parse_uri(struct str uri, struct str *bucket, struct str *key);
bool s3_bucket_exists(struct db *db, struct str bucket);

/* One object as a listing shows it. Borrowed during the call. */
struct s3_entry {
	struct str key;
	int64_t size_bytes;
	int64_t modified_ms;
	struct str etag;
};
/* Current objects whose key starts with prefix, in key order. fn returns nonzero to stop. < 0 on a fault; err code
 * "NoSuchBucket". */
int s3_each(struct db *db, struct str bucket, struct str prefix, int (*fn)(void *ctx, const struct s3_entry *e),
	    void *ctx, struct error *err);
/* Reads a whole small object (<= max bytes) into the arena. err code NoSuchBucket, NoSuchKey, or "EntityTooLarge". From
 * any thread with a snapshot. */
int s3_read(struct s3 *s, struct db *db, struct str bucket, struct str key, int64_t max, struct arena *a,
	    struct str *out, struct error *err);
/* Puts a hard link of the object's bytes at host path `path` (writes a file when the object is kept inline). No copy of
 * large data. */
int s3_link(struct s3 *s, struct db *db, struct str bucket, struct str key, const char *path, struct error *err);
/* Makes a host file (same file system as the blobs; moved, not copied) an object's future body: durable on return, but
 * no object yet. The prepared body is a JSON {"blob","size","etag","crc64nvme"...} to keep in an event, and to give to
 * s3_commit. Blocking. Returns owned, or NULL. */
json_t *s3_prepare(struct s3 *s, const char *path, struct error *err);
/* In a turn: the prepared body becomes the object's current version, atomically with the turn. err code NoSuchBucket.
 */
int s3_commit(struct turn *t, struct str bucket, struct str key, const json_t *prepared, const char *content_type,
	      struct error *err);
/* In a turn: a small object from bytes (kept inline or written by the room). */
int s3_put_small(struct turn *t, struct str bucket, struct str key, struct str body, const char *content_type,
		 struct error *err);
int s3_create_bucket(struct turn *t, struct str bucket, const char *region, struct error *err);

#endif
