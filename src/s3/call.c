/* call.c - what every operation does with its request: arguments, the bucket, commands, answers and errors. */
#include "s3/room.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"

/* ---- reading the request ---- */

struct str s3_call_arg(struct s3_call *c, const char *name, bool *present)
{
	bool there = false;
	const struct str value = c->nargs ? wire_query_arg(c->r, name, &there) : STR_NULL;
	if (present)
		*present = there;
	return there ? (value.ptr ? value : STR("")) : STR_NULL;
}

struct header_search {
	struct str name, value;
};

static void match_nocase(void *ctx, struct str name, struct str value)
{
	struct header_search *h = ctx;
	if (!h->value.ptr && str_eq_nocase(name, h->name))
		h->value = value;
}

struct str s3_call_header(struct s3_call *c, const char *name)
{
	if (c->form)
		return s3_form_field(c->form, name);
	const struct str value = wire_header(c->r, name);
	if (value.ptr || !c->presigned || !c->nargs || !str_starts(str_from(name), STR("x-amz-")))
		return value;
	struct header_search h = { str_from(name), STR_NULL };
	wire_each_query(c->r, match_nocase, &h);
	return h.value;
}

void s3_call_each_header(struct s3_call *c, void (*fn)(void *ctx, struct str name, struct str value), void *ctx)
{
	if (c->form) {
		s3_form_each(c->form, fn, ctx);
		return;
	}
	wire_each_header(c->r, fn, ctx);
	if (c->presigned)
		wire_each_query(c->r, fn, ctx);
}

int s3_call_int(struct s3_call *c, const char *name, int64_t min, int64_t max, int64_t absent, int64_t *out,
		struct error *err)
{
	bool present;
	const struct str text = s3_call_arg(c, name, &present);
	*out = absent;
	if (!present || !text.len)
		return 0;
	int64_t n;
	if (!str_to_i64(text, &n))
		return s3_error_argument(
			c, err, name, text,
			arena_printf(c->a, "Provided %s not an integer or within integer range", name));
	if (n < min || n > max)
		return s3_error_argument(c, err, name, text,
					 arena_printf(c->a, "Argument %s must be an integer between %lld and %lld",
						      name, (long long)min, (long long)max));
	*out = n;
	return 0;
}

/* ---- the bucket ---- */

int s3_call_owner(struct s3_call *c, struct error *err)
{
	const struct s3_bucket *b = &c->bucket;
	const struct str expected = s3_call_header(c, "x-amz-expected-bucket-owner");
	int64_t account;
	if (expected.ptr && (expected.len != 12 || !str_to_i64(expected, &account) || account < 0))
		return s3_error_text(
			err, "InvalidBucketOwnerAWSAccountID",
			"The value of the expected bucket owner parameter must be an AWS Account ID... [%.*s]",
			STR_ARG(expected));
	if (c->who->anonymous || !str_eqz(b->owner, c->who->account) || (expected.ptr && !str_eq(expected, b->owner)))
		return s3_error(err, "AccessDenied");
	return 0;
}

int s3_call_bucket_now(struct s3_call *c, struct db *db, struct error *err)
{
	const int rc = s3_bucket_find(db, c->a, c->bucket_name, &c->bucket, err);
	if (rc <= 0)
		return rc < 0 ? rc : s3_error(err, "NoSuchBucket");
	return s3_call_owner(c, err);
}

struct db *s3_call_read(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = store_read_begin(c->s->store, &err);
	if (db && c->op->level != S3_SERVICE && s3_call_bucket_now(c, db, &err) < 0) {
		store_read_end(c->s->store, db);
		db = NULL;
	}
	if (!db)
		s3_call_fail(c, &err);
	return db;
}

void s3_call_read_end(struct s3_call *c, struct db *db)
{
	store_read_end(c->s->store, db);
}

bool s3_call_read_object(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = s3_call_read(c);
	if (!db)
		return false;
	const int rc = s3_call_object(c, db, false, &c->object, &err);
	s3_call_read_end(c, db);
	if (rc < 0)
		s3_call_fail(c, &err);
	return rc >= 0;
}

/* ---- commands and blocking work ---- */

static void answer_now(void *arg)
{
	struct s3_call *c = arg;
	c->answer(c);
}

static int write_run(struct turn *t, void *arg, struct error *err)
{
	struct s3_call *c = arg;
	return c->write(c, t, err) < 0 ? -1 : wire_answer_in_turn(c->r, t, answer_now, c, err);
}

static void write_done(void *arg, int rc, struct error *err)
{
	struct s3_call *c = arg;
	/* without a code the commit itself may have failed, and the row may be there after a restart: then its file
	 * must be, too */
	if (rc == 0 || !err->code[0])
		s3_body_keep(c);
	const bool held = wire_answer_held(c->r);
	if (held && rc == 0)
		s3_call_release(c);
	wire_answer_end(c->r, rc == 0);
	if (rc < 0)
		s3_call_fail(c, err);
	else if (!held)
		c->answer(c);
}

void s3_call_write(struct s3_call *c, int (*write)(struct s3_call *c, struct turn *t, struct error *err),
		   void (*answer)(struct s3_call *c))
{
	c->write = write;
	c->answer = answer;
	engine_submit(c->s->engine, write_run, write_done, c);
}

static void block_run(struct wire_request *r, void *arg)
{
	struct s3_call *c = arg;
	c->blocking(c);
}

void s3_call_block(struct s3_call *c, void (*fn)(struct s3_call *c))
{
	c->blocking = fn;
	wire_offload(c->r, block_run, c);
}

/* ---- answers ---- */

void s3_call_detail(struct s3_call *c, const char *name, struct str value)
{
	for (int i = 0; i < c->ndetails; i++)
		if (strcmp(c->details[i].name, name) == 0)
			return;
	if (c->ndetails < (int)(sizeof(c->details) / sizeof(*c->details))) {
		c->details[c->ndetails].name = name;
		c->details[c->ndetails++].value = arena_str(c->a, value);
	}
}

void s3_call_sethdr(struct s3_call *c, const char *name, struct str value)
{
	wire_set_header(c->r, name, arena_strdup(c->a, value));
}

void s3_call_release(struct s3_call *c)
{
	if (c->cleanup)
		c->cleanup(c);
	s3_body_release(c);
	s3_part_release(c);
	s3_form_release(c);
}

/* After the send function the request may be gone: everything it holds goes before. */
static void before_answer(struct s3_call *c)
{
	if (!wire_answer_held(c->r))
		s3_call_release(c);
	wire_set_header(c->r, "x-amz-request-id", wire_request_id(c->r));
	wire_set_header(c->r, "x-amz-id-2", wire_request_id(c->r));
	s3_cors_answer(c);
}

void s3_call_send(struct s3_call *c, int status, struct str body)
{
	before_answer(c);
	wire_send(c->r, status, body);
}

void s3_answer_200(struct s3_call *c)
{
	s3_call_send(c, 200, STR(""));
}

void s3_answer_204(struct s3_call *c)
{
	s3_call_send(c, 204, STR(""));
}

void s3_call_send_file(struct s3_call *c, int status, int fd, int64_t offset, int64_t length)
{
	before_answer(c);
	wire_send_fd(c->r, status, fd, offset, length);
}

void s3_call_send_xml(struct s3_call *c, int status, struct buf *xml)
{
	wire_set_header(c->r, "Content-Type", "application/xml");
	s3_call_send(c, status, buf_str(xml));
	buf_release(xml);
}

/* Elements that S3 adds to an error of this code. */
static void standard_details(struct s3_call *c, const char *code)
{
	if (strcmp(code, "NoSuchBucket") == 0 || strcmp(code, "BucketNotEmpty") == 0 ||
	    strncmp(code, "BucketAlready", 13) == 0 || strcmp(code, "InvalidBucketName") == 0 ||
	    strcmp(code, "NoSuchTagSet") == 0 || strcmp(code, "NoSuchCORSConfiguration") == 0 ||
	    strcmp(code, "NoSuchBucketPolicy") == 0 || strcmp(code, "NoSuchLifecycleConfiguration") == 0)
		s3_call_detail(c, "BucketName", c->bucket_name);
	if (strcmp(code, "NoSuchKey") == 0 || strcmp(code, "NoSuchVersion") == 0)
		s3_call_detail(c, "Key", c->key);
	if (strcmp(code, "NoSuchVersion") == 0)
		s3_call_detail(c, "VersionId", s3_call_arg(c, "versionId", NULL));
	if (strcmp(code, "NoSuchUpload") == 0)
		s3_call_detail(c, "UploadId", s3_call_arg(c, "uploadId", NULL));
	if (strcmp(code, "MethodNotAllowed") == 0)
		s3_call_detail(c, "Method", c->method);
}

void s3_call_fail(struct s3_call *c, struct error *err)
{
	const char *code = err->code, *text = error_text(err);
	int status = err->status ? err->status : s3_error_status(code);
	if (!*code || (strcmp(code, "conflict") == 0)) {
		log_error("s3", "%s %.*s/%.*s: %s", c->op ? c->op->name : "request", STR_ARG(c->bucket_name),
			  STR_ARG(c->key), text);
		code = "InternalError";
		text = "We encountered an internal error. Please try again.";
		status = 500;
	}
	standard_details(c, code);
	struct buf b = BUF_INIT;
	buf_addz(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	xml_open(&b, "Error");
	xml_text(&b, "Code", str_from(code));
	xml_text(&b, "Message", str_from(text));
	for (int i = 0; i < c->ndetails; i++)
		xml_text(&b, c->details[i].name, c->details[i].value);
	xml_text(&b, "RequestId", str_from(wire_request_id(c->r)));
	xml_text(&b, "HostId", str_from(wire_request_id(c->r)));
	xml_close(&b, "Error");
	if (str_eqz(c->method, "HEAD"))
		buf_clear(&b);
	s3_call_send_xml(c, status ? status : 400, &b);
}

/* ---- pieces of documents ---- */

const char *s3_owner_id(struct arena *a, struct str account)
{
	unsigned char sum[SHA256_DIGEST_LENGTH];
	char *hex = arena_alloc(a, 2 * sizeof(sum) + 1);
	const char *text = arena_printf(a, "canonical user of account %.*s", STR_ARG(account));
	SHA256((const unsigned char *)text, strlen(text), sum);
	hex_encode(hex, sum, sizeof(sum));
	return hex;
}

void s3_xml_owner(struct arena *a, struct buf *b, const char *element, struct str account)
{
	xml_open(b, element);
	xml_text(b, "ID", str_from(s3_owner_id(a, account)));
	xml_text(b, "DisplayName", account);
	xml_close(b, element);
}

void s3_xml_start(struct buf *b, const char *root)
{
	buf_printf(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<%s xmlns=\"" S3_NAMESPACE "\">", root);
}

void s3_xml_time(struct buf *b, const char *element, int64_t ms)
{
	char text[40];
	xml_text(b, element, str_from(clock_iso_ms(ms / 1000 * 1000, text)));
}

void s3_xml_etag(struct buf *b, struct str etag)
{
	buf_addz(b, "<ETag>&quot;");
	buf_add_str(b, etag);
	buf_addz(b, "&quot;</ETag>");
}
