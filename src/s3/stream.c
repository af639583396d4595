/* stream.c - bodies that other rooms read and write in pieces, so that nobody holds a large object in memory. See s3.h.
 */
#include "s3/room.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"

/* ---- reading ---- */

int s3_reader_open(struct s3 *s, struct db *db, struct str bucket, struct str key, struct str version,
		   struct s3_reader *out, struct error *err)
{
	struct arena a = ARENA_INIT;
	struct s3_object o;
	*out = (struct s3_reader){ .fd = -1 };
	int rc = s3_room_find(db, &a, bucket, key, version, &o, err);
	if (rc > 0 && o.marker)
		rc = error_http(err, 404, "NoSuchKey", "The version of `s3://%.*s/%.*s` is a delete marker.",
				STR_ARG(bucket), STR_ARG(key));
	if (rc > 0) {
		snprintf(out->etag, sizeof(out->etag), "%.*s", STR_ARG(o.etag));
		out->size_bytes = o.size_bytes;
		if (o.blob.len)
			rc = out->fd = blob_open(s->blobs, o.blob.ptr, err);
		else
			out->bytes = mem_strndup(o.body.ptr ? o.body.ptr : "", o.body.len);
	}
	arena_release(&a);
	return rc < 0 ? -1 : 0;
}

ptrdiff_t s3_reader_read(const struct s3_reader *b, int64_t at, void *p, size_t n, struct error *err)
{
	if (at >= b->size_bytes)
		return 0;
	if ((int64_t)n > b->size_bytes - at)
		n = (size_t)(b->size_bytes - at);
	if (b->fd < 0) {
		memcpy(p, b->bytes + at, n);
		return (ptrdiff_t)n;
	}
	ssize_t k;
	do
		k = pread(b->fd, p, n, at);
	while (k < 0 && errno == EINTR);
	if (k <= 0)
		return error_errno(err, k < 0 ? errno : EIO, "read an object's body");
	return k;
}

void s3_reader_close(struct s3_reader *b)
{
	if (b->fd > 0) /* zeroed: none */
		close(b->fd);
	free(b->bytes);
	*b = (struct s3_reader){ .fd = -1 };
}

/* ---- writing ---- */

struct s3_writer {
	struct blob_writer blob;
	struct digest digest;
};

int s3_writer_new(struct s3 *s, struct s3_writer **out, struct error *err)
{
	struct s3_writer *w = mem_calloc(1, sizeof(*w));
	if (blob_create(s->blobs, &w->blob, err) < 0) {
		free(w);
		return -1;
	}
	digest_init(&w->digest, NULL, CHECKSUM_CRC64NVME);
	*out = w;
	return 0;
}

int s3_writer_add(struct s3_writer *w, struct str bytes, struct error *err)
{
	if (blob_write(&w->blob, bytes.ptr, bytes.len, err) < 0)
		return -1;
	digest_bytes(&w->digest, bytes.ptr, bytes.len);
	return 0;
}

int64_t s3_writer_size(const struct s3_writer *w)
{
	return w->blob.size_bytes;
}

json_t *s3_writer_finish(struct s3_writer *w, struct error *err)
{
	struct digest_result sums;
	const int64_t size = w->blob.size_bytes;
	if (digest_final(&w->digest, &sums, err) < 0 || blob_publish(&w->blob, err) < 0)
		return NULL;
	return s3_prepared(w->blob.id, size, &sums);
}

void s3_writer_free(struct s3_writer *w)
{
	if (!w)
		return;
	blob_abort(&w->blob);
	digest_release(&w->digest);
	free(w);
}
