/* api_bucket.c - operations on buckets, but listings of objects. */
#include "s3/room.h"

#include <stdio.h>

#include "base/clock.h"

/* ---- names ---- */

static bool looks_like_ip(struct str name)
{
	int dots = 0;
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == '.')
			dots++;
		else if (name.ptr[i] < '0' || name.ptr[i] > '9')
			return false;
	}
	return dots == 3;
}

/* "Bucket naming rules", Amazon S3 user guide. */
bool s3_bucket_name_valid(struct str name)
{
	static const char *const prefixes[] = { "xn--", "sthree-", "amzn-s3-demo-" }, *const suffixes[] = {
		"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"
	};
	if (name.len < 3 || name.len > 63 || looks_like_ip(name))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		const char ch = name.ptr[i];
		const bool alnum = (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9');
		if (!alnum &&
		    (i == 0 || i + 1 == name.len || (ch != '-' && ch != '.') || (ch == '.' && name.ptr[i - 1] == '.')))
			return false;
	}
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
		if (str_starts(name, str_from(prefixes[i])))
			return false;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
		if (str_ends(name, str_from(suffixes[i])))
			return false;
	return true;
}

/* ---- CreateBucket, DeleteBucket ---- */

int s3_bucket_make(struct turn *t, struct str name, struct str owner, struct str region, struct error *err)
{
	return db_exec(turn_db(t), err, "INSERT INTO s3_bucket (name, owner, region, created_ms) VALUES (?,?,?,?)",
		       "SSSi", name, owner, region, turn_now_ms(t)) < 0
		       ? -1
		       : 0;
}

static int write_create(struct s3_call *c, struct turn *t, struct error *err)
{
	struct s3_bucket have;
	const int rc = s3_bucket_find(turn_db(t), turn_arena(t), c->bucket_name, &have, err);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return s3_bucket_make(t, c->bucket_name, str_from(c->who->account), c->bucket.region, err);
	if (!str_eqz(have.owner, c->who->account))
		return s3_error(err, "BucketAlreadyExists");
	/* in us-east-1 S3 answers 200 to the owner, elsewhere an error */
	return str_eqz(have.region, "us-east-1") && str_eqz(c->bucket.region, "us-east-1")
		       ? 0
		       : s3_error(err, "BucketAlreadyOwnedByYou");
}

static void answer_create(struct s3_call *c)
{
	wire_set_header(c->r, "Location", arena_printf(c->a, "/%.*s", STR_ARG(c->bucket_name)));
	s3_call_send(c, 200, STR(""));
}

static bool region_valid(struct str region)
{
	for (size_t i = 0; i < region.len; i++) {
		const char ch = region.ptr[i];
		if (!((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-'))
			return false;
	}
	return region.len > 0 && region.len <= 32;
}

static int read_create(struct s3_call *c, struct error *err)
{
	struct xml_node *root;
	if (!s3_bucket_name_valid(c->bucket_name))
		return s3_error(err, "InvalidBucketName");
	if (str_eq_nocase(s3_call_header(c, "x-amz-bucket-object-lock-enabled"), STR("true"))) {
		s3_call_detail(c, "Header", STR("x-amz-bucket-object-lock-enabled"));
		return s3_error(err, "NotImplemented");
	}
	if (s3_meta_refuse(c, err) < 0 || s3_body_store(c, err) < 0)
		return -1;
	c->bucket.region = str_from(wire_region(c->r));
	if (!str_trim(buf_str(&c->body.memory)).len)
		return 0;
	if (s3_xml_parse(c->a, buf_str(&c->body.memory), &root, err) < 0)
		return -1;
	if (!str_eqz(root->name, "CreateBucketConfiguration"))
		return s3_error(err, "MalformedXML");
	const struct str region = s3_xml_child_text(root, "LocationConstraint");
	if (region.len)
		c->bucket.region = str_eqz(region, "EU") ? STR("eu-west-1") : region;
	if (!region_valid(c->bucket.region) || str_eqz(region, "us-east-1")) {
		s3_call_detail(c, "LocationConstraint", region);
		return s3_error(err, "InvalidLocationConstraint");
	}
	return 0;
}

void s3_create_bucket_call(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (read_create(c, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_write(c, write_create, answer_create);
}

static int is_empty(struct db *db, int64_t bucket, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const int rc = db_row(db, &rows, err,
			      "SELECT 1 FROM s3_object WHERE bucket=? AND listed=1 UNION ALL SELECT 1 FROM s3_object "
			      "WHERE bucket=? AND listed=0 LIMIT 1",
			      "ii", bucket, bucket);
	return rc < 0 ? rc : !rc;
}

static int not_empty(const struct s3_call *c, struct error *err)
{
	if (c->bucket.versioning == S3_UNVERSIONED)
		return s3_error(err, "BucketNotEmpty");
	return s3_error_text(
		err, "BucketNotEmpty",
		"The bucket you tried to delete is not empty. You must delete all versions in the bucket.");
}

static int write_delete(struct s3_call *c, struct turn *t, struct error *err)
{
	if (s3_call_bucket_now(c, turn_db(t), err) < 0)
		return -1;
	const int empty = is_empty(turn_db(t), c->bucket.id, err);
	if (empty <= 0)
		return empty < 0 ? -1 : not_empty(c, err);
	if (s3_uploads_drop(t, c->bucket.id, err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "DELETE FROM s3_bucket WHERE id=?", "i", c->bucket.id) < 0 ? -1 : 0;
}

void s3_delete_bucket(struct s3_call *c)
{
	s3_call_write(c, write_delete, s3_answer_204);
}

/* ---- reading ---- */

void s3_head_bucket(struct s3_call *c)
{
	struct db *db = s3_call_read(c);
	if (!db)
		return;
	s3_call_read_end(c, db);
	s3_call_sethdr(c, "x-amz-bucket-region", c->bucket.region);
	wire_set_header(c->r, "x-amz-access-point-alias", "false");
	s3_call_send(c, 200, STR(""));
}

/* Reads the bucket and answers with what `fill` writes. */
static void answer_document(struct s3_call *c, void (*fill)(struct s3_call *c, struct buf *b))
{
	struct db *db = s3_call_read(c);
	if (!db)
		return;
	s3_call_read_end(c, db);
	struct buf b = BUF_INIT;
	fill(c, &b);
	s3_call_send_xml(c, 200, &b);
}

static void fill_location(struct s3_call *c, struct buf *b)
{
	s3_xml_start(b, "LocationConstraint");
	if (!str_eqz(c->bucket.region, "us-east-1"))
		buf_add_str(b, c->bucket.region);
	xml_close(b, "LocationConstraint");
}

void s3_get_bucket_location(struct s3_call *c)
{
	answer_document(c, fill_location);
}

static void fill_versioning(struct s3_call *c, struct buf *b)
{
	s3_xml_start(b, "VersioningConfiguration");
	if (c->bucket.versioning != S3_UNVERSIONED)
		xml_text(b, "Status", c->bucket.versioning == S3_VERSIONED ? STR("Enabled") : STR("Suspended"));
	xml_close(b, "VersioningConfiguration");
}

void s3_get_bucket_versioning(struct s3_call *c)
{
	answer_document(c, fill_versioning);
}

static void fill_acl(struct s3_call *c, struct buf *b)
{
	const struct str owner = c->bucket.owner;
	s3_xml_start(b, "AccessControlPolicy");
	s3_xml_owner(c->a, b, "Owner", owner);
	buf_addz(b, "<AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
		    "xsi:type=\"CanonicalUser\">");
	xml_text(b, "ID", str_from(s3_owner_id(c->a, owner)));
	xml_text(b, "DisplayName", owner);
	buf_addz(b, "</Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList>");
	xml_close(b, "AccessControlPolicy");
}

void s3_get_bucket_acl(struct s3_call *c)
{
	answer_document(c, fill_acl);
}

void s3_get_object_acl(struct s3_call *c)
{
	if (!s3_call_read_object(c))
		return;
	struct buf b = BUF_INIT;
	fill_acl(c, &b);
	s3_call_version_header(c, &c->object);
	s3_call_send_xml(c, 200, &b);
}

/* Everything belongs to the bucket's owner (object ownership "BucketOwnerEnforced"): an ACL that says so changes
 * nothing, others are refused. */
void s3_put_acl(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = s3_call_read(c);
	if (!db)
		return;
	int rc = 0;
	if (c->op->level == S3_OBJECT)
		rc = s3_call_object(c, db, false, &c->object, &err);
	s3_call_read_end(c, db);
	if (rc == 0)
		rc = s3_meta_refuse(c, &err);
	if (rc == 0 && !s3_call_header(c, "x-amz-acl").ptr)
		rc = s3_error(&err, "AccessControlListNotSupported");
	if (rc < 0)
		s3_call_fail(c, &err);
	else
		s3_call_send(c, 200, STR(""));
}

static void fill_payer(struct s3_call *c, struct buf *b)
{
	s3_xml_start(b, "RequestPaymentConfiguration");
	xml_text(b, "Payer", STR("BucketOwner"));
	xml_close(b, "RequestPaymentConfiguration");
}

void s3_get_bucket_payer(struct s3_call *c)
{
	answer_document(c, fill_payer);
}

static void fill_nothing(struct s3_call *c, struct buf *b)
{
	const char *root = str_eqz(str_from(c->op->arg), "logging")        ? "BucketLoggingStatus"
			   : str_eqz(str_from(c->op->arg), "notification") ? "NotificationConfiguration"
									   : "AccelerateConfiguration";
	s3_xml_start(b, root);
	xml_close(b, root);
}

/* Configurations that S3 shows as an empty document when there are none; the matching Put says 501. */
void s3_get_bucket_nothing(struct s3_call *c)
{
	answer_document(c, fill_nothing);
}

/* ---- ListBuckets ---- */

static int list_buckets(struct s3_call *c, struct db *db, struct buf *b, struct error *err)
{
	const struct str prefix = s3_call_arg(c, "prefix", NULL), region = s3_call_arg(c, "bucket-region", NULL);
	const struct str token = s3_call_arg(c, "continuation-token", NULL);
	int64_t max, n = 0;
	struct str last = STR("");
	if (s3_call_int(c, "max-buckets", 1, 10000, 10000, &max, err) < 0)
		return -1;
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_query(db, &rows, err, "SELECT name, created_ms, region, owner FROM s3_bucket WHERE name>? ORDER BY name",
		     "S", token.ptr ? token : STR("")) < 0)
		return -1;
	s3_xml_start(b, "ListAllMyBucketsResult");
	s3_xml_owner(c->a, b, "Owner", str_from(c->who->account));
	xml_open(b, "Buckets");
	int rc;
	bool more = false;
	while ((rc = rows_next(&rows, err)) > 0) {
		const struct str name = rows_str(&rows, 0), owner = rows_str(&rows, 3);
		char text[40];
		if (!str_eqz(owner, c->who->account) || !str_starts(name, prefix) ||
		    (region.len && !str_eq(region, rows_str(&rows, 2))))
			continue;
		more = n++ == max;
		if (more)
			break;
		last = arena_str(c->a, name);
		xml_open(b, "Bucket");
		xml_text(b, "Name", name);
		xml_text(b, "CreationDate", str_from(clock_iso_ms(rows_int(&rows, 1), text)));
		xml_text(b, "BucketRegion", rows_str(&rows, 2));
		xml_close(b, "Bucket");
	}
	xml_close(b, "Buckets");
	if (more)
		xml_text(b, "ContinuationToken", last);
	if (prefix.len)
		xml_text(b, "Prefix", prefix);
	xml_close(b, "ListAllMyBucketsResult");
	return rc < 0 ? rc : 0;
}

void s3_list_buckets(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = s3_call_read(c);
	if (!db)
		return;
	struct buf b = BUF_INIT;
	const int rc = list_buckets(c, db, &b, &err);
	s3_call_read_end(c, db);
	if (rc == 0) {
		s3_call_send_xml(c, 200, &b);
		return;
	}
	buf_release(&b);
	s3_call_fail(c, &err);
}

/* ---- PutBucketVersioning ---- */

static int write_versioning(struct s3_call *c, struct turn *t, struct error *err)
{
	const enum s3_versioning *want = c->work;
	if (s3_call_bucket_now(c, turn_db(t), err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "UPDATE s3_bucket SET versioning=? WHERE id=?", "ii", (int64_t)*want,
		       c->bucket.id) < 0
		       ? -1
		       : 0;
}

static int read_versioning(struct s3_call *c, struct error *err)
{
	struct xml_node *root;
	enum s3_versioning *want = ARENA_NEW(c->a, enum s3_versioning);
	if (s3_body_store(c, err) < 0 || s3_xml_parse(c->a, buf_str(&c->body.memory), &root, err) < 0)
		return -1;
	const struct str status = s3_xml_child_text(root, "Status");
	if (!str_eqz(root->name, "VersioningConfiguration"))
		return s3_error(err, "MalformedXML");
	if (str_eqz(s3_xml_child_text(root, "MfaDelete"), "Enabled"))
		return s3_error_text(err, "NotImplemented", "MFA delete is not implemented");
	if (!status.ptr)
		return s3_error(err, "IllegalVersioningConfigurationException");
	if (!str_eqz(status, "Enabled") && !str_eqz(status, "Suspended"))
		return s3_error(err, "MalformedXML");
	*want = str_eqz(status, "Enabled") ? S3_VERSIONED : S3_SUSPENDED;
	c->work = want;
	return 0;
}

void s3_put_bucket_versioning(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (read_versioning(c, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_write(c, write_versioning, s3_answer_200);
}
