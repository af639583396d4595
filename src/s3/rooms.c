/* rooms.c - the object store as other rooms use it: reading, staging, and outputs that become objects within an actor's
 * turn. See s3.h. */
#include "s3/room.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"

bool s3_parse_uri(struct str uri, struct str *bucket, struct str *key)
{
	if (!str_starts(uri, STR("s3://")))
		return false;
	const struct str rest = str_skip(uri, 5);
	const ptrdiff_t slash = str_find_char(rest, '/');
	*bucket = slash < 0 ? rest : str_head(rest, (size_t)slash);
	*key = slash < 0 ? str_skip(rest, rest.len) : str_skip(rest, (size_t)slash + 1);
	return bucket->len > 0;
}

bool s3_bucket_exists(struct db *db, struct str bucket)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	return db_row(db, &rows, NULL, "SELECT 1 FROM s3_bucket WHERE name=?", "S", bucket) > 0;
}

static int find_bucket(struct db *db, struct arena *a, struct str name, struct s3_bucket *out, struct error *err)
{
	const int rc = s3_bucket_find(db, a, name, out, err);
	return rc == 0 ? error_http(err, 404, "NoSuchBucket", "The bucket `%.*s` does not exist.", STR_ARG(name)) : rc;
}

int s3_each(struct db *db, struct str bucket, struct str prefix, int (*fn)(void *ctx, const struct s3_entry *e),
	    void *ctx, struct error *err)
{
	return s3_each_after(db, bucket, prefix, STR(""), fn, ctx, err);
}

int s3_each_after(struct db *db, struct str bucket, struct str prefix, struct str after,
		  int (*fn)(void *ctx, const struct s3_entry *e), void *ctx, struct error *err)
{
	struct arena a = ARENA_INIT;
	struct s3_bucket b;
	int rc = find_bucket(db, &a, bucket, &b, err);
	arena_release(&a);
	if (rc < 0)
		return -1;
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_query(db, &rows, err,
		     "SELECT key, size, modified_ms, etag, storage FROM s3_object WHERE bucket=? AND listed=1 AND "
		     "key>=? AND "
		     "key>? ORDER BY key",
		     "ibb", b.id, prefix.ptr && str_cmp(prefix, after) > 0 ? prefix : after, after) < 0)
		return -1;
	while ((rc = rows_next(&rows, err)) > 0) {
		const struct str storage = rows_str(&rows, 4);
		const struct s3_entry e = { rows_str(&rows, 0), rows_int(&rows, 1), rows_int(&rows, 2),
					    rows_str(&rows, 3), storage.len ? storage : STR("STANDARD") };
		if (!str_starts(e.key, prefix) || fn(ctx, &e) != 0)
			return 0;
	}
	return rc;
}

int s3_room_find(struct db *db, struct arena *a, struct str bucket, struct str key, struct str version,
		 struct s3_object *out, struct error *err)
{
	struct s3_bucket b;
	if (find_bucket(db, a, bucket, &b, err) < 0)
		return -1;
	const int rc = s3_object_find(db, a, b.id, key, version, true, out, err);
	return rc == 0 ? error_http(err, 404, "NoSuchKey", "The object `s3://%.*s/%.*s` does not exist.",
				    STR_ARG(bucket), STR_ARG(key))
		       : rc;
}

/* An object's whole body in the arena; err code "EntityTooLarge" beyond `max`. */
static int read_body(struct s3 *s, const struct s3_object *o, int64_t max, struct arena *a, struct str *out,
		     struct error *err)
{
	if (o->size_bytes > max)
		return error_http(err, 400, "EntityTooLarge",
				  "The object `%.*s` has %lld bytes; at most %lld are read.", STR_ARG(o->key),
				  (long long)o->size_bytes, (long long)max);
	if (!o->blob.len) {
		*out = arena_str(a, o->body);
		return 0;
	}
	CLEANUP_FD int fd = blob_open(s->blobs, o->blob.ptr, err);
	if (fd < 0)
		return -1;
	char *p = arena_alloc_raw(a, (size_t)o->size_bytes + 1);
	for (int64_t n = 0; n < o->size_bytes;) {
		const ssize_t k = pread(fd, p + n, (size_t)(o->size_bytes - n), n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return error_errno(err, k < 0 ? errno : EIO, "read blob `%s`", o->blob.ptr);
		n += k;
	}
	p[o->size_bytes] = 0;
	*out = str_of(p, (size_t)o->size_bytes);
	return 0;
}

int s3_read(struct s3 *s, struct db *db, struct str bucket, struct str key, int64_t max, struct arena *a,
	    struct str *out, struct error *err)
{
	struct s3_object o;
	if (s3_room_find(db, a, bucket, key, STR_NULL, &o, err) < 0)
		return -1;
	return read_body(s, &o, max, a, out, err);
}

static int write_file(const char *path, struct str body, struct error *err)
{
	CLEANUP_FD int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444);
	if (fd < 0)
		return error_errno(err, errno, "create `%s`", path);
	return blob_pwrite(fd, body.ptr, body.len, 0, err);
}

int s3_link(struct s3 *s, struct db *db, struct str bucket, struct str key, const char *path, struct error *err)
{
	struct arena a = ARENA_INIT;
	struct s3_object o;
	int rc = s3_room_find(db, &a, bucket, key, STR_NULL, &o, err);
	if (rc >= 0)
		rc = o.blob.len ? blob_link(s->blobs, o.blob.ptr, path, err) : write_file(path, o.body, err);
	arena_release(&a);
	return rc < 0 ? -1 : 0;
}

/* ---- making objects ---- */

static int hash_blob(struct s3 *s, const char *id, int64_t size, struct digest_result *out, struct error *err)
{
	CLEANUP_FD int fd = blob_open(s->blobs, id, err);
	if (fd < 0)
		return -1;
	struct digest d;
	digest_init(&d, s->hasher, CHECKSUM_CRC64NVME);
	digest_follow(&d, fd, 0);
	digest_written(&d, size);
	const int rc = digest_final(&d, out, err);
	digest_release(&d);
	return rc;
}

json_t *s3_prepared(const char *blob, int64_t size_bytes, const struct digest_result *sums)
{
	json_t *prepared = json_object();
	json_set_text(prepared, "blob", blob);
	json_set_int(prepared, "size", size_bytes);
	json_set_text(prepared, "etag", sums->md5_hex);
	json_set_text(prepared, "crc64nvme", sums->sum);
	return prepared;
}

json_t *s3_prepare(struct s3 *s, const char *path, struct error *err)
{
	char id[BLOB_ID_LEN + 1];
	int64_t size;
	struct digest_result sums;
	if (blob_adopt(s->blobs, path, id, &size, err) < 0)
		return NULL;
	if (hash_blob(s, id, size, &sums, err) < 0) {
		blob_remove_now(s->blobs, id, NULL);
		return NULL;
	}
	return s3_prepared(id, size, &sums);
}

static struct str type_line(struct turn *t, const char *content_type)
{
	return content_type ? str_from(arena_printf(turn_arena(t), "Content-Type: %s\n", content_type)) : STR("");
}

static int put(struct turn *t, struct str bucket, struct s3_object *o, const char *content_type, struct error *err)
{
	struct s3_bucket b;
	if (find_bucket(turn_db(t), turn_arena(t), bucket, &b, err) < 0)
		return -1;
	o->headers = type_line(t, content_type);
	s3_meta_default(turn_arena(t), &b, o);
	return s3_object_put(t, &b, o, err);
}

int s3_commit(struct turn *t, struct str bucket, struct str key, const json_t *prepared, const char *content_type,
	      struct error *err)
{
	const char *sum = json_get_text(prepared, "crc64nvme");
	struct s3_object o = {
		.key = key,
		.size_bytes = json_get_int(prepared, "size", -1),
		.etag = json_get_str(prepared, "etag"),
		.blob = json_get_str(prepared, "blob"),
		.checksum = sum ? str_from(arena_printf(turn_arena(t), "CRC64NVME %s FULL_OBJECT", sum)) : STR(""),
	};
	if (o.size_bytes < 0 || o.blob.len != BLOB_ID_LEN)
		return error_set(err, "the prepared body of `s3://%.*s/%.*s` is malformed", STR_ARG(bucket),
				 STR_ARG(key));
	return put(t, bucket, &o, content_type, err);
}

/* Body (borrowed), size, entity tag and checksum of a small object into o; texts in the arena. */
static int sum_small(struct arena *a, struct str body, struct s3_object *o, struct error *err)
{
	struct digest d;
	struct digest_result sums;
	if (body.len > S3_SMALL_MAX)
		return error_http(err, 400, "EntityTooLarge", "A small object has at most %d bytes.", S3_SMALL_MAX);
	digest_init(&d, NULL, CHECKSUM_CRC64NVME);
	digest_bytes(&d, body.ptr, body.len);
	if (digest_final(&d, &sums, err) < 0)
		return -1;
	o->size_bytes = (int64_t)body.len;
	o->etag = arena_str(a, str_from(sums.md5_hex));
	o->checksum = str_from(arena_printf(a, "CRC64NVME %s FULL_OBJECT", sums.sum));
	o->body = body.ptr ? body : STR("");
	return 0;
}

int s3_put_small(struct turn *t, struct str bucket, struct str key, struct str body, const char *content_type,
		 struct error *err)
{
	struct s3_object o = { .key = key };
	if (sum_small(turn_arena(t), body, &o, err) < 0)
		return -1;
	return put(t, bucket, &o, content_type, err);
}
