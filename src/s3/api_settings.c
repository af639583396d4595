/* api_settings.c - settings of a bucket that say who owns its objects, that nothing is public, and how objects are
 * encrypted.
 *
 * DESIGN: checked and kept. That nothing is public holds whatever the flags say: every request is signed, and ACLs that
 * would open a bucket are refused. The default encryption becomes the header lines of objects that
 * come without such headers (s3_meta_default); what these headers mean is said in s3.h. */
#include "s3/room.h"

#define ALGORITHM "x-amz-server-side-encryption"
#define KEY_ID "x-amz-server-side-encryption-aws-kms-key-id"
#define BUCKET_KEY "x-amz-server-side-encryption-bucket-key-enabled"

/* ---- reading and writing one column of the bucket's row ---- */

static const char *update_of(const struct s3_call *c)
{
	const struct str arg = str_from(c->op->arg);
	return str_eqz(arg, "publicAccessBlock")   ? "UPDATE s3_bucket SET public_access=? WHERE id=?"
	       : str_eqz(arg, "ownershipControls") ? "UPDATE s3_bucket SET ownership=? WHERE id=?"
						   : "UPDATE s3_bucket SET encryption=? WHERE id=?";
}

static int write_setting(struct s3_call *c, struct turn *t, struct error *err)
{
	if (s3_call_bucket_now(c, turn_db(t), err) < 0)
		return -1;
	return db_exec(turn_db(t), err, update_of(c), "si", (const char *)c->work, c->bucket.id) < 0 ? -1 : 0;
}

/* Parses the body with `read`, which puts the column's text into c->work, and writes it. */
static void put_setting(struct s3_call *c, const char *root_name,
			int (*read)(struct s3_call *c, const struct xml_node *root, struct error *err))
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct xml_node *root;
	int rc = s3_body_store(c, &err);
	if (rc == 0)
		rc = s3_xml_parse(c->a, buf_str(&c->body.memory), &root, &err);
	if (rc == 0)
		rc = str_eqz(root->name, root_name) ? read(c, root, &err) : s3_error(&err, "MalformedXML");
	if (rc < 0)
		s3_call_fail(c, &err);
	else
		s3_call_write(c, write_setting, s3_answer_200);
}

/* The column's text in the call's arena: STR_NULL when it was never set. False after answering a fault. */
static bool read_setting(struct s3_call *c, const char *sql, struct str *out)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = s3_call_read(c);
	if (!db)
		return false;
	*out = STR_NULL;
	int rc;
	{
		CLEANUP_ROWS struct rows rows = { 0 };
		rc = db_row(db, &rows, &err, sql, "i", c->bucket.id);
		if (rc > 0 && rows_str(&rows, 0).ptr)
			*out = arena_str(c->a, rows_str(&rows, 0));
	}
	s3_call_read_end(c, db);
	if (rc < 0)
		s3_call_fail(c, &err);
	return rc >= 0;
}

static void answer_unset(struct s3_call *c, const char *code)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	s3_error(&err, code);
	s3_call_fail(c, &err);
}

/* For what cannot have been set: there is nothing to delete, which S3 takes for done. */
void s3_delete_bucket_nothing(struct s3_call *c)
{
	struct db *db = s3_call_read(c);
	if (!db)
		return;
	s3_call_read_end(c, db);
	s3_answer_204(c);
}

/* ---- public access block ---- */

static const char *const flags[] = { "BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy",
				     "RestrictPublicBuckets" };
enum { NFLAGS = sizeof(flags) / sizeof(*flags) };

/* The column: a '1' or '0' for each flag. */
static int read_public_access(struct s3_call *c, const struct xml_node *root, struct error *err)
{
	char text[NFLAGS + 1] = { 0 };
	for (size_t i = 0; i < NFLAGS; i++) {
		const struct str value = s3_xml_child_text(root, flags[i]);
		const bool on = str_eq_nocase(value, STR("true"));
		if (value.ptr && !on && !str_eq_nocase(value, STR("false")))
			return s3_error(err, "MalformedXML");
		text[i] = on ? '1' : '0';
	}
	c->work = arena_strdup(c->a, str_from(text));
	return 0;
}

void s3_put_public_access(struct s3_call *c)
{
	put_setting(c, "PublicAccessBlockConfiguration", read_public_access);
}

void s3_get_public_access(struct s3_call *c)
{
	struct str set;
	if (!read_setting(c, "SELECT public_access FROM s3_bucket WHERE id=?", &set))
		return;
	if (set.len != NFLAGS) {
		answer_unset(c, "NoSuchPublicAccessBlockConfiguration");
		return;
	}
	struct buf b = BUF_INIT;
	s3_xml_start(&b, "PublicAccessBlockConfiguration");
	for (size_t i = 0; i < NFLAGS; i++)
		xml_text(&b, flags[i], set.ptr[i] == '1' ? STR("true") : STR("false"));
	xml_close(&b, "PublicAccessBlockConfiguration");
	s3_call_send_xml(c, 200, &b);
}

void s3_delete_public_access(struct s3_call *c)
{
	c->work = NULL;
	s3_call_write(c, write_setting, s3_answer_204);
}

/* ---- object ownership ---- */

static int read_ownership(struct s3_call *c, const struct xml_node *root, struct error *err)
{
	static const char *const known[] = { "BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter" };
	const struct xml_node *rule = s3_xml_child(root, "Rule");
	if (!rule || rule->next)
		return s3_error(err, "MalformedXML");
	const struct str value = s3_xml_child_text(rule, "ObjectOwnership");
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (str_eqz(value, known[i])) {
			c->work = arena_strdup(c->a, value);
			return 0;
		}
	return s3_error(err, "MalformedXML");
}

void s3_put_bucket_ownership(struct s3_call *c)
{
	put_setting(c, "OwnershipControls", read_ownership);
}

/* New buckets have BucketOwnerEnforced; the empty text is that it was taken away. */
void s3_get_bucket_ownership(struct s3_call *c)
{
	struct str set;
	if (!read_setting(c, "SELECT ownership FROM s3_bucket WHERE id=?", &set))
		return;
	if (set.ptr && !set.len) {
		answer_unset(c, "OwnershipControlsNotFoundError");
		return;
	}
	struct buf b = BUF_INIT;
	s3_xml_start(&b, "OwnershipControls");
	xml_open(&b, "Rule");
	xml_text(&b, "ObjectOwnership", set.ptr ? set : STR("BucketOwnerEnforced"));
	xml_close(&b, "Rule");
	xml_close(&b, "OwnershipControls");
	s3_call_send_xml(c, 200, &b);
}

void s3_delete_bucket_ownership(struct s3_call *c)
{
	c->work = "";
	s3_call_write(c, write_setting, s3_answer_204);
}

/* ---- default encryption ---- */

/* The column: header lines, as an object has them. */
static int read_encryption(struct s3_call *c, const struct xml_node *root, struct error *err)
{
	const struct xml_node *rule = s3_xml_child(root, "Rule");
	const struct xml_node *by =
		rule && !rule->next ? s3_xml_child(rule, "ApplyServerSideEncryptionByDefault") : NULL;
	if (!by)
		return s3_error(err, "MalformedXML");
	const struct str algo = s3_xml_child_text(by, "SSEAlgorithm"), key = s3_xml_child_text(by, "KMSMasterKeyID");
	if (!s3_meta_encryption_known(algo))
		return s3_error(err, "MalformedXML");
	if (key.len && str_eqz(algo, "AES256"))
		return s3_error_text(
			err, "InvalidArgument",
			"a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or "
			"aws:kms:dsse");
	struct buf lines = BUF_INIT;
	int rc = s3_meta_line(c, &lines, ALGORITHM, algo, err);
	if (rc == 0 && key.len)
		rc = s3_meta_line(c, &lines, KEY_ID, key, err);
	if (rc == 0 && str_eq_nocase(s3_xml_child_text(rule, "BucketKeyEnabled"), STR("true")))
		rc = s3_meta_line(c, &lines, BUCKET_KEY, STR("true"), err);
	c->work = arena_strdup(c->a, buf_str(&lines));
	buf_release(&lines);
	return rc;
}

void s3_put_bucket_encryption(struct s3_call *c)
{
	put_setting(c, "ServerSideEncryptionConfiguration", read_encryption);
}

void s3_get_bucket_encryption(struct s3_call *c)
{
	struct db *db = s3_call_read(c);
	if (!db)
		return;
	s3_call_read_end(c, db);
	const struct str set = c->bucket.encryption;
	if (!set.len) {
		answer_unset(c, "ServerSideEncryptionConfigurationNotFoundError");
		return;
	}
	const struct str key = s3_meta_get(set, KEY_ID);
	struct buf b = BUF_INIT;
	s3_xml_start(&b, "ServerSideEncryptionConfiguration");
	xml_open(&b, "Rule");
	xml_open(&b, "ApplyServerSideEncryptionByDefault");
	xml_text(&b, "SSEAlgorithm", s3_meta_get(set, ALGORITHM));
	if (key.len)
		xml_text(&b, "KMSMasterKeyID", key);
	xml_close(&b, "ApplyServerSideEncryptionByDefault");
	xml_text(&b, "BucketKeyEnabled", s3_meta_get(set, BUCKET_KEY).len ? STR("true") : STR("false"));
	xml_close(&b, "Rule");
	xml_close(&b, "ServerSideEncryptionConfiguration");
	s3_call_send_xml(c, 200, &b);
}

void s3_delete_bucket_encryption(struct s3_call *c)
{
	c->work = NULL;
	s3_call_write(c, write_setting, s3_answer_204);
}
