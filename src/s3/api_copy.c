/* api_copy.c - CopyObject, and what a copy source is.
 *
 * DESIGN: blobs are immutable, so a copy is a new row that names the same blob: no bytes move, whatever the size, and
 * it happens in one transaction on the source as it is then. Only when another checksum is asked for are the bytes
 * read, before the transaction, which then insists that the source is still the one that was read. */
#include "s3/room.h"

#include <errno.h>
#include <unistd.h>

#include "wire/uri.h"

/* ---- the source ---- */

int s3_source_parse(struct s3_call *c, struct s3_source *src, struct error *err)
{
	struct str text = s3_call_header(c, "x-amz-copy-source");
	*src = (struct s3_source){ .version = STR_NULL };
	const ptrdiff_t query = str_find(text, STR("?versionId="));
	if (query >= 0) {
		src->version = str_skip(text, (size_t)query + 11);
		text = str_head(text, (size_t)query);
	}
	text = uri_decoded(c->a, text, false);
	if (text.len && text.ptr[0] == '/')
		text = str_skip(text, 1);
	const ptrdiff_t slash = str_find_char(text, '/');
	if (slash <= 0 || (size_t)slash + 1 == text.len)
		return s3_error_argument(c, err, "x-amz-copy-source", STR("x-amz-copy-source"),
					 "Invalid copy source object key");
	src->bucket_name = str_head(text, (size_t)slash);
	src->key = str_skip(text, (size_t)slash + 1);
	return 0;
}

int s3_source_find(struct s3_call *c, struct db *db, struct s3_source *src, struct error *err)
{
	int rc = s3_bucket_find(db, c->a, src->bucket_name, &src->bucket, err);
	if (rc < 0)
		return -1;
	if (rc == 0) {
		s3_call_detail(c, "BucketName", src->bucket_name);
		return s3_error(err, "NoSuchBucket");
	}
	const struct str expected = s3_call_header(c, "x-amz-source-expected-bucket-owner");
	if ((expected.ptr && !str_eq(expected, src->bucket.owner)) || !str_eqz(src->bucket.owner, c->who->account))
		return s3_error(err, "AccessDenied");
	rc = s3_object_find(db, c->a, src->bucket.id, src->key, src->version, true, &src->object, err);
	if (rc < 0)
		return -1;
	if (rc == 0) {
		s3_call_detail(c, "Key", src->key);
		return s3_error(err, src->version.ptr ? "NoSuchVersion" : "NoSuchKey");
	}
	if (src->object.marker)
		return s3_error_text(
			err, "InvalidRequest",
			"The source of a copy request may not specifically refer to a delete marker by version id.");
	return s3_meta_read_conditions(c, true, &src->object, err);
}

int s3_source_open(struct s3_call *c, struct s3_source *src, int *fd, struct error *err)
{
	struct db *db = store_read_begin(c->s->store, err);
	if (!db)
		return -1;
	int rc = s3_call_bucket_now(c, db, err);
	if (rc == 0)
		rc = s3_source_find(c, db, src, err);
	if (rc == 0 && src->object.blob.len)
		rc = *fd = blob_open(c->s->blobs, src->object.blob.ptr, err);
	store_read_end(c->s->store, db);
	return rc < 0 ? -1 : 0;
}

/* ---- CopyObject ---- */

struct copy {
	struct s3_source source;
	bool replace_meta, replace_tags;
	struct s3_object given;  /* what the request's headers say */
	enum checksum_algo algo; /* asked for, or NONE */
	struct str checksum;     /* of the source that was read, `read_id` */
	int64_t read_id;
	struct str read_etag;
};

static int read_directive(struct s3_call *c, const char *name, bool *replace, struct error *err)
{
	const struct str value = s3_call_header(c, name);
	*replace = str_eqz(value, "REPLACE");
	if (!value.ptr || *replace || str_eqz(value, "COPY"))
		return 0;
	return s3_error_argument(c, err, name, value, "Unknown directive.");
}

static int read_request(struct s3_call *c, struct copy *k, struct error *err)
{
	if (s3_source_parse(c, &k->source, err) < 0 ||
	    read_directive(c, "x-amz-metadata-directive", &k->replace_meta, err) < 0 ||
	    read_directive(c, "x-amz-tagging-directive", &k->replace_tags, err) < 0 ||
	    s3_meta_read(c, &k->given, err) < 0)
		return -1;
	const struct str algo = s3_call_header(c, "x-amz-checksum-algorithm");
	k->algo = checksum_from_name(algo);
	if (algo.ptr && k->algo == CHECKSUM_NONE)
		return s3_error_text(err, "InvalidRequest",
				     "Checksum algorithm provided is unsupported. Please try again with any of the "
				     "valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]");
	const bool same = str_eq(k->source.bucket_name, c->bucket_name) && str_eq(k->source.key, c->key) &&
			  !k->source.version.ptr;
	if (same && !k->replace_meta && !s3_call_header(c, "x-amz-storage-class").ptr &&
	    !s3_meta_get(k->given.headers, "x-amz-server-side-encryption").ptr &&
	    !s3_meta_get(k->given.headers, "x-amz-website-redirect-location").ptr && !k->replace_tags &&
	    k->algo == CHECKSUM_NONE)
		return s3_error_text(err, "InvalidRequest",
				     "This copy request is illegal because it is trying to copy an object to itself "
				     "without changing the object's metadata, storage class, website redirect location "
				     "or encryption attributes.");
	return 0;
}

struct carry {
	struct s3_call *c;
	struct buf *lines;
};

/* Metadata of the source goes along, but for its encryption and redirect. */
static void carry_line(void *ctx, struct str name, struct str value)
{
	struct carry *k = ctx;
	if (str_starts(name, STR("x-amz-server-side-encryption")) || str_eqz(name, "x-amz-website-redirect-location"))
		return;
	buf_printf(k->lines, "%.*s: %.*s\n", STR_ARG(name), STR_ARG(value));
}

static void keep_given(void *ctx, struct str name, struct str value)
{
	struct carry *k = ctx;
	if (str_starts(name, STR("x-amz-server-side-encryption")) || str_eqz(name, "x-amz-website-redirect-location"))
		buf_printf(k->lines, "%.*s: %.*s\n", STR_ARG(name), STR_ARG(value));
}

static struct str copied_headers(struct s3_call *c, const struct copy *k)
{
	if (k->replace_meta)
		return k->given.headers;
	struct buf lines = BUF_INIT;
	struct carry carry = { c, &lines };
	s3_meta_each(k->source.object.headers, carry_line, &carry);
	s3_meta_each(k->given.headers, keep_given, &carry);
	const struct str all = arena_str(c->a, buf_str(&lines));
	buf_release(&lines);
	return all;
}

static int write_copy(struct s3_call *c, struct turn *t, struct error *err)
{
	struct copy *k = c->work;
	const struct s3_object *src = &k->source.object;
	if (s3_call_bucket_now(c, turn_db(t), err) < 0 || s3_source_find(c, turn_db(t), &k->source, err) < 0 ||
	    s3_meta_write_conditions(c, turn_db(t), err) < 0)
		return -1;
	if (k->checksum.len && (src->id != k->read_id || !str_eq(src->etag, k->read_etag)))
		return error_http(err, 409, "OperationAborted",
				  "The source changed while it was being copied. Please try again.");
	c->object = (struct s3_object){
		.key = c->key,
		.size_bytes = src->size_bytes,
		.etag = src->etag,
		.checksum = k->checksum.len ? k->checksum : src->checksum,
		.storage = k->given.storage,
		.headers = copied_headers(c, k),
		.tags = k->replace_tags ? k->given.tags : src->tags,
		.blob = src->blob,
		.parts = src->parts,
		.body = src->body,
	};
	s3_meta_default(c->a, &c->bucket, &c->object);
	if (s3_object_put(t, &c->bucket, &c->object, err) < 0)
		return -1;
	c->object.version = arena_str(c->a, c->object.version);
	return 0;
}

static void answer_copy(struct s3_call *c)
{
	const struct copy *k = c->work;
	struct buf b = BUF_INIT;
	s3_xml_start(&b, "CopyObjectResult");
	s3_xml_time(&b, "LastModified", c->object.modified_ms);
	s3_xml_etag(&b, c->object.etag);
	s3_checksum_xml(&b, c->object.checksum, true);
	xml_close(&b, "CopyObjectResult");
	if (k->source.bucket.versioning != S3_UNVERSIONED)
		s3_call_sethdr(c, "x-amz-copy-source-version-id", k->source.object.version);
	s3_put_headers(c);
	s3_call_send_xml(c, 200, &b);
}

/* Reads a source's bytes [from, from+n) and calls fn with the pieces. fd: the open blob, when it has one. */
int s3_source_read(const struct s3_object *o, int fd, int64_t from, int64_t n,
		   int (*fn)(void *ctx, const void *p, size_t n, struct error *err), void *ctx, struct error *err)
{
	enum { STEP = 1 << 18 };
	if (!o->blob.len)
		return fn(ctx, o->body.ptr + from, (size_t)n, err);
	CLEANUP_FREE char *buffer = mem_alloc(STEP);
	while (n > 0) {
		const ssize_t k = pread(fd, buffer, n < STEP ? (size_t)n : STEP, from);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return error_set(err, "read blob `%s`: %s", o->blob.ptr,
					 k < 0 ? strerror(errno) : "it is shorter than its row says");
		if (fn(ctx, buffer, (size_t)k, err) < 0)
			return -1;
		from += k;
		n -= k;
	}
	return 0;
}

static int add_to_checksum(void *ctx, const void *p, size_t n, struct error *err)
{
	checksum_update(ctx, p, n);
	return 0;
}

/* The copy is to have a checksum that the source may not have. */
static int compute_checksum(struct s3_call *c, struct copy *k, struct error *err)
{
	const struct s3_object *src = &k->source.object;
	CLEANUP_FD int fd = -1;
	if (s3_source_open(c, &k->source, &fd, err) < 0)
		return -1;
	const struct s3_checksum have = s3_checksum_parse(src->checksum);
	k->read_id = src->id;
	k->read_etag = src->etag;
	if (have.algo == k->algo && !have.composite) {
		k->checksum = src->checksum;
		return 0;
	}
	struct checksum sum;
	char text[CHECKSUM_TEXT_MAX];
	checksum_init(&sum, k->algo);
	const int rc = s3_source_read(src, fd, 0, src->size_bytes, add_to_checksum, &sum, err);
	checksum_final(&sum, text);
	k->checksum = str_from(arena_printf(c->a, "%s %s FULL_OBJECT", checksum_name(k->algo), text));
	return rc;
}

static void read_then_copy(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (compute_checksum(c, c->work, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_write(c, write_copy, answer_copy);
}

void s3_copy_object(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct copy *k = ARENA_NEW(c->a, struct copy);
	c->work = k;
	if (read_request(c, k, &err) < 0)
		s3_call_fail(c, &err);
	else if (k->algo == CHECKSUM_NONE)
		s3_call_write(c, write_copy, answer_copy);
	else
		s3_call_block(c, read_then_copy);
}
