/* http.c - from a raw HTTP request to an operation and its body.
 *
 * DESIGN: the wire layer has checked the signature before anything here runs. Path style and virtual-host style are
 * told apart by the host: an address or a name without a bucket in front means path style. The operation is found by
 * method, level and sub-resource in the table of ops.c; operations that are not there are refused by name, never taken
 * for another one. */
#include "s3/room.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- bucket and key ---- */

static bool is_address(struct str host)
{
	if (host.len && host.ptr[0] == '[')
		return true;
	for (size_t i = 0; i < host.len; i++)
		if (host.ptr[i] != '.' && (host.ptr[i] < '0' || host.ptr[i] > '9'))
			return false;
	return true;
}

static char machine[256];
static pthread_once_t machine_once = PTHREAD_ONCE_INIT;

static void find_machine(void)
{
	if (gethostname(machine, sizeof(machine) - 1) < 0)
		machine[0] = 0;
}

/* The part of `host` before ".s3." or ".s3-", ".localhost", or ".<this machine>"; STR_NULL when the host names no
 * bucket. */
struct str s3_host_bucket(struct str host)
{
	const ptrdiff_t colon = host.len && host.ptr[0] != '[' ? str_find_char(host, ':') : -1;
	if (colon >= 0)
		host = str_head(host, (size_t)colon);
	if (is_address(host) || str_starts(host, STR("s3.")) || str_starts(host, STR("s3-")))
		return STR_NULL;
	for (size_t i = host.len; i-- > 1;)
		if (str_starts(str_skip(host, i), STR(".s3.")) || str_starts(str_skip(host, i), STR(".s3-")))
			return str_head(host, i);
	if (str_ends(host, STR(".localhost")) && host.len > 10)
		return str_head(host, host.len - 10);
	pthread_once(&machine_once, find_machine);
	const struct str own = str_from(machine);
	if (own.len && host.len > own.len + 1 && str_ends(host, own) && host.ptr[host.len - own.len - 1] == '.')
		return str_head(host, host.len - own.len - 1);
	return STR_NULL;
}

static enum s3_level split_target(struct s3_call *c)
{
	struct str path = wire_path(c->r);
	if (path.len && path.ptr[0] == '/')
		path = str_skip(path, 1);
	const struct str host_bucket = s3_host_bucket(wire_header(c->r, "host"));
	if (host_bucket.ptr) {
		c->virtual_host = true;
		c->bucket_name = host_bucket;
		c->key = path;
	} else {
		const ptrdiff_t slash = str_find_char(path, '/');
		c->bucket_name = slash < 0 ? path : str_head(path, (size_t)slash);
		c->key = slash < 0 ? STR("") : str_skip(path, (size_t)slash + 1);
	}
	return !c->bucket_name.len ? S3_SERVICE : !c->key.len ? S3_BUCKET : S3_OBJECT;
}

int s3_key_check(struct s3_call *c, struct str key, struct error *err)
{
	if (key.len > S3_KEY_MAX) {
		s3_call_detail(c, "Size", str_from(arena_printf(c->a, "%zu", key.len)));
		s3_call_detail(c, "MaxSizeAllowed", STR("1024"));
		return s3_error(err, "KeyTooLongError");
	}
	if (!str_is_utf8(key) || str_find_char(key, 0) >= 0) {
		s3_call_detail(c, "URI", wire_raw_path(c->r));
		return s3_error(err, "InvalidURI");
	}
	return 0;
}

/* ---- the handler ---- */

static void count_arg(void *ctx, struct str name, struct str value)
{
	struct s3_call *c = ctx;
	if (str_starts(name, STR("X-Amz-")))
		c->presigned = c->presigned || str_eqz(name, "X-Amz-Signature");
	else
		c->nargs++;
}

static struct s3_call *call_new(struct wire_request *r, struct s3 *s)
{
	struct s3_call *c = ARENA_NEW(wire_arena(r), struct s3_call);
	c->s = s;
	c->r = r;
	c->a = wire_arena(r);
	c->method = wire_method(r);
	c->who = wire_who(r);
	c->body.draft_fd = -1;
	bool v2 = false;
	wire_each_query(r, count_arg, c);
	s3_call_arg(c, "AWSAccessKeyId", &v2);
	c->presigned = c->presigned || v2;
	wire_set_state(r, c);
	return c;
}

static int prepare(struct s3_call *c, enum s3_level level, struct error *err)
{
	c->op = s3_op_find(c, level);
	const char *wanted = wire_operation(c->r);
	if (wanted && (!c->op || strcmp(c->op->name, wanted) != 0))
		return s3_error_text(err, "NotImplemented", "Quern does not implement %s.", wanted);
	if (!c->op)
		return s3_error(err, "MethodNotAllowed");
	if (s3_key_check(c, c->key, err) < 0)
		return -1;
	const bool open_to_all = c->op->body == S3_BODY_FORM || str_eqz(c->method, "OPTIONS");
	if (c->who->anonymous && !open_to_all &&
	    (!c->presigned ? s3_error(err, "AccessDenied") : s3_v2_check(c, err)) < 0)
		return -1;
	const bool later = c->op->body == S3_BODY_FORM || strcmp(c->op->name, "DeleteObjects") == 0;
	if (!later && s3_access_check(c, err) < 0)
		return -1;
	if (c->op->begin)
		return c->op->begin(c, err);
	return c->op->body == S3_BODY_XML ? s3_body_open(c, S3_BODY_XML, wire_body_length(c->r), err) : 0;
}

static void on_begin(struct wire_request *r, void *ctx)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct s3_call *c = call_new(r, ctx);
	if (prepare(c, split_target(c), &err) < 0)
		s3_call_fail(c, &err);
}

static int on_body(struct wire_request *r, void *ctx, const void *p, size_t n)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct s3_call *c = wire_state(r);
	int rc = 0;
	if (c->op->body == S3_BODY_FORM)
		rc = s3_form_feed(c, p, n, &err);
	else if (c->body.open)
		rc = s3_body_add(c, p, n, &err);
	if (rc < 0)
		s3_call_fail(c, &err);
	return rc;
}

static void on_end(struct wire_request *r, void *ctx)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct s3_call *c = wire_state(r);
	if (c->op->run) {
		c->op->run(c);
		return;
	}
	if (strcmp(c->op->fixed, "NotImplemented") == 0) {
		s3_call_detail(c, "Operation", str_from(c->op->name));
		s3_error_text(&err, "NotImplemented", "Quern does not implement %s.", c->op->name);
	} else {
		struct db *db = s3_call_read(c);
		if (!db)
			return;
		s3_call_read_end(c, db);
		if (c->op->level == S3_BUCKET)
			s3_call_detail(c, "BucketName", c->bucket_name);
		s3_error(&err, c->op->fixed);
	}
	s3_call_fail(c, &err);
}

static void on_abort(struct wire_request *r, void *ctx)
{
	struct s3_call *c = wire_state(r);
	if (c)
		s3_call_release(c);
}

static void on_fail(struct wire_request *r, void *ctx, struct error *err)
{
	struct s3_call *c = wire_state(r);
	if (!c) {
		c = call_new(r, ctx);
		split_target(c);
	}
	s3_call_fail(c, err);
}

const struct raw_handler s3_raw = {
	.begin = on_begin, .body = on_body, .end = on_end, .abort = on_abort, .fail = on_fail
};

/* ---- unsigned requests ---- */

/* POST forms, CORS preflights, presigned URLs of signature version 2; and requests to a bucket's host or below an
 * existing bucket, to be refused in S3's words. */
bool s3_claims(struct wire_request *r, void *ctx)
{
	struct s3 *s = ctx;
	struct s3_call c = { .r = r, .a = wire_arena(r) };
	bool v2 = false;
	if (wire_header(r, "x-amz-target").ptr)
		return false;
	const enum s3_level level = split_target(&c);
	wire_query_arg(r, "AWSAccessKeyId", &v2);
	if (level == S3_SERVICE)
		return false;
	if (v2 || s3_host_bucket(wire_header(r, "host")).ptr)
		return true;
	const struct str method = wire_method(r);
	if (str_eqz(method, "POST") && str_starts(wire_header(r, "content-type"), STR("multipart/form-data")))
		return true;
	if (str_eqz(method, "OPTIONS") && wire_header(r, "access-control-request-method").ptr)
		return true;
	struct db *db = store_read_begin(s->store, NULL);
	if (!db)
		return false;
	const bool exists = s3_bucket_exists(db, c.bucket_name);
	store_read_end(s->store, db);
	return exists;
}
