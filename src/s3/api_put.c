/* api_put.c - PutObject. */
#include "s3/room.h"

int s3_put_begin(struct s3_call *c, struct error *err)
{
	struct db *db = store_read_begin(c->s->store, err);
	if (!db)
		return -1;
	/* told now, before the client sends gigabytes; decided in the transaction */
	int rc = s3_call_bucket_now(c, db, err);
	if (rc == 0)
		rc = s3_meta_write_conditions(c, db, err);
	store_read_end(c->s->store, db);
	if (rc < 0)
		return -1;
	c->object = (struct s3_object){ .key = c->key };
	if (s3_meta_read(c, &c->object, err) < 0)
		return -1;
	if (!s3_call_header(c, "content-length").ptr && !s3_call_header(c, "transfer-encoding").ptr)
		return s3_error(err, "MissingContentLength");
	c->body.algo_default = s3_body_algo(c);
	return s3_body_open(c, S3_BODY_DATA, wire_body_length(c->r), err);
}

int s3_put_write(struct s3_call *c, struct turn *t, struct error *err)
{
	if (s3_call_bucket_now(c, turn_db(t), err) < 0 || s3_meta_write_conditions(c, turn_db(t), err) < 0)
		return -1;
	s3_meta_default(c->a, &c->bucket, &c->object);
	if (s3_object_put(t, &c->bucket, &c->object, err) < 0)
		return -1;
	c->object.version = arena_str(c->a, c->object.version);
	return 0;
}

void s3_put_headers(struct s3_call *c)
{
	static const char *const echoed[] = { "x-amz-server-side-encryption",
					      "x-amz-server-side-encryption-aws-kms-key-id",
					      "x-amz-server-side-encryption-bucket-key-enabled" };
	for (size_t i = 0; i < sizeof(echoed) / sizeof(*echoed); i++) {
		const struct str value = s3_meta_get(c->object.headers, echoed[i]);
		if (value.ptr)
			s3_call_sethdr(c, echoed[i], value);
	}
	s3_lifecycle_header(c, &c->object);
	if (c->bucket.versioning == S3_VERSIONED)
		s3_call_version_header(c, &c->object);
}

static void answer_put(struct s3_call *c)
{
	wire_set_header(c->r, "ETag", arena_printf(c->a, "\"%.*s\"", STR_ARG(c->object.etag)));
	s3_checksum_headers(c, c->object.checksum);
	s3_put_headers(c);
	s3_call_send(c, 200, STR(""));
}

/* The stored body becomes the call's object. */
int s3_put_take_body(struct s3_call *c, struct error *err)
{
	struct s3_body *b = &c->body;
	if (s3_body_store(c, err) < 0)
		return -1;
	c->object.size_bytes = b->size_bytes;
	c->object.etag = arena_str(c->a, str_from(b->sums.md5_hex));
	c->object.checksum = s3_body_checksum(c);
	c->object.blob = b->in_file ? arena_str(c->a, str_from(b->blob)) : STR("");
	c->object.body = buf_str(&b->memory);
	return 0;
}

static void store_and_write(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (s3_put_take_body(c, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_write(c, s3_put_write, c->answer);
}

void s3_put_store(struct s3_call *c, void (*answer)(struct s3_call *c))
{
	c->answer = answer;
	if (c->body.in_file)
		s3_call_block(c, store_and_write);
	else
		store_and_write(c);
}

void s3_put_object(struct s3_call *c)
{
	s3_put_store(c, answer_put);
}
