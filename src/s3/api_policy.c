/* api_policy.c - the policy of a bucket: PutBucketPolicy, GetBucketPolicy, DeleteBucketPolicy, GetBucketPolicyStatus.
 *
 * DESIGN: the document is kept as it came. iam asks for it with every question about the bucket (s3_find_policy),
 * wherever the question comes from. Who may do everything is asked only once some bucket has a policy (s->policed,
 * access.c); it is never taken back before the next start. */
#include "base/json.h"
#include "iam/iam.h"
#include "s3/bucket_policy.h"
#include "s3/room.h"

enum { BLOCK_PUBLIC_POLICY = 2 }; /* in the column public_access (api_settings.c) */

struct policy_put {
	struct str text;
	bool is_public;
};

/* ---- for iam ---- */

int s3_find_policy(void *ctx, struct db *db, struct arena *a, struct str resource, struct str *text, struct error *err)
{
	const struct s3 *s = ctx;
	struct str bucket;
	*text = STR_NULL;
	if (!atomic_load(&s->policed) || !str_starts(resource, STR("arn:aws:s3:::")))
		return 0;
	resource = str_skip(resource, strlen("arn:aws:s3:::"));
	CLEANUP_ROWS struct rows rows = { 0 };
	if (!str_split(&resource, '/', &bucket))
		return 0;
	const int rc = db_row(db, &rows, err, "SELECT policy FROM s3_bucket WHERE name=?", "S", bucket);
	if (rc > 0 && rows_str(&rows, 0).ptr)
		*text = arena_str(a, rows_str(&rows, 0));
	return rc < 0 ? -1 : 0;
}

int s3_use_iam(struct s3 *s, struct iam *iam, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct db *db = store_read_begin(s->store, err);
	if (!db)
		return -1;
	const int rc = db_row(db, &rows, err, "SELECT 1 FROM s3_bucket WHERE policy IS NOT NULL LIMIT 1", "");
	rows_done(&rows);
	store_read_end(s->store, db);
	if (rc < 0)
		return -1;
	s->iam = iam;
	atomic_store(&s->policed, rc > 0);
	iam_set_resource_policies(iam, "s3", s3_find_policy, s);
	return 0;
}

/* ---- PutBucketPolicy ---- */

struct known_check {
	struct s3_call *c;
	struct db *db;
	struct error *err;
};

static int check_known(void *ctx, struct str arn)
{
	struct known_check *k = ctx;
	const int rc = iam_principal_known(k->c->s->iam, k->db, k->c->a, arn, k->err);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	s3_call_detail(k->c, "Detail", str_from(arena_printf(k->c->a, "\"AWS\" : \"%.*s\"", STR_ARG(arn))));
	return s3_error_text(k->err, "MalformedPolicy", "Invalid principal in policy");
}

/* The users and roles of this account that are named must be there. */
static int check_principals(struct s3_call *c, const json_t *doc, struct error *err)
{
	struct known_check k = { c, store_read_begin(c->s->store, err), err };
	if (!k.db)
		return -1;
	const int rc = s3_bucket_policy_each_arn(doc, check_known, &k);
	store_read_end(c->s->store, k.db);
	return rc;
}

static int read_policy(struct s3_call *c, struct policy_put *put, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct str detail;
	if (!c->s->iam)
		return s3_error_text(err, "NotImplemented", "This Quern has no IAM that could ask bucket policies.");
	if (s3_body_store(c, err) < 0)
		return -1;
	put->text = buf_str(&c->body.memory);
	CLEANUP_JSON json_t *doc = s3_bucket_policy_parse(c->a, put->text, c->bucket_name, &detail, err);
	if (!doc) {
		if (detail.ptr)
			s3_call_detail(c, "Detail", detail);
		return -1;
	}
	if (iam_check_resource_policy(put->text, &why) < 0) /* what S3 has no text of its own for */
		return s3_error_text(err, "MalformedPolicy", "%s", error_text(&why));
	put->is_public = s3_bucket_policy_public(doc);
	return check_principals(c, doc, err);
}

/* What the public access block says at this moment. */
static int check_public(struct s3_call *c, struct db *db, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_row(db, &rows, err, "SELECT public_access FROM s3_bucket WHERE id=?", "i", c->bucket.id) < 0)
		return -1;
	const struct str flags = rows_str(&rows, 0);
	if (flags.len <= BLOCK_PUBLIC_POLICY || flags.ptr[BLOCK_PUBLIC_POLICY] != '1')
		return 0;
	return s3_error_text(err, "AccessDenied",
			     "User: %s is not authorized to perform: s3:PutBucketPolicy on resource: "
			     "\"arn:aws:s3:::%.*s\" because public policies are blocked by the BlockPublicPolicy block "
			     "public access setting.",
			     c->who->arn, STR_ARG(c->bucket_name));
}

static int write_policy(struct s3_call *c, struct turn *t, struct error *err)
{
	const struct policy_put *put = c->work;
	if (s3_call_bucket_now(c, turn_db(t), err) < 0)
		return -1;
	if (put && put->is_public && check_public(c, turn_db(t), err) < 0)
		return -1;
	if (put)
		atomic_store(&c->s->policed, true); /* before anybody can see the row */
	return db_exec(turn_db(t), err, "UPDATE s3_bucket SET policy=? WHERE id=?", "Si", put ? put->text : STR_NULL,
		       c->bucket.id) < 0
		       ? -1
		       : 0;
}

void s3_put_bucket_policy(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct policy_put *put = ARENA_NEW(c->a, struct policy_put);
	struct db *db = s3_call_read(c);
	if (!db)
		return;
	s3_call_read_end(c, db);
	c->work = put;
	if (read_policy(c, put, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_write(c, write_policy, s3_answer_204);
}

void s3_delete_bucket_policy(struct s3_call *c)
{
	c->work = NULL;
	s3_call_write(c, write_policy, s3_answer_204);
}

/* ---- reading ---- */

/* The text in the call's arena; false after answering. */
static bool read_text(struct s3_call *c, struct str *text)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = s3_call_read(c);
	if (!db)
		return false;
	const char *arn = arena_printf(c->a, "arn:aws:s3:::%.*s", STR_ARG(c->bucket_name));
	int rc = s3_find_policy(c->s, db, c->a, str_from(arn), text, &err);
	s3_call_read_end(c, db);
	if (rc == 0 && !text->ptr)
		rc = s3_error(&err, "NoSuchBucketPolicy");
	if (rc < 0)
		s3_call_fail(c, &err);
	return rc == 0;
}

void s3_get_bucket_policy(struct s3_call *c)
{
	struct str text;
	if (!read_text(c, &text))
		return;
	wire_set_header(c->r, "Content-Type", "application/json");
	s3_call_send(c, 200, text);
}

void s3_get_bucket_policy_status(struct s3_call *c)
{
	struct str text;
	if (!read_text(c, &text))
		return;
	CLEANUP_JSON json_t *doc = json_parse(text, NULL);
	struct buf b = BUF_INIT;
	s3_xml_start(&b, "PolicyStatus");
	xml_text(&b, "IsPublic", s3_bucket_policy_public(doc) ? STR("true") : STR("false"));
	xml_close(&b, "PolicyStatus");
	s3_call_send_xml(c, 200, &b);
}
