/* access.c - what policies are asked about the operations of S3.
 *
 * DESIGN: the actions are not called as the operations are, and some requests need several: a copy reads its source, a
 * versionId makes it the action of versions, tags in a header are another permission. Who may not list a bucket is not
 * told that a key is missing. DeleteObjects asks for each key. Source: Service Authorization Reference, "Amazon S3";
 * Amazon S3 user guide, "Required permissions for Amazon S3 API operations". */
#include "s3/room.h"

#include "wire/uri.h"

#define READS "s3:GetObject"
#define WRITES "s3:PutObject"

const struct wire_access s3_access[] = {
	{ .operation = "ListBuckets", .action = "s3:ListAllMyBuckets" },
	{ .operation = "GetBucketLocation", .action = "s3:GetBucketLocation" },
	{ .operation = "GetBucketVersioning", .action = "s3:GetBucketVersioning" },
	{ .operation = "ListObjectVersions", .action = "s3:ListBucketVersions" },
	{ .operation = "ListMultipartUploads", .action = "s3:ListBucketMultipartUploads" },
	{ .operation = "GetBucketTagging", .action = "s3:GetBucketTagging" },
	{ .operation = "GetBucketCors", .action = "s3:GetBucketCORS" },
	{ .operation = "GetBucketAcl", .action = "s3:GetBucketAcl" },
	{ .operation = "GetBucketOwnershipControls", .action = "s3:GetBucketOwnershipControls" },
	{ .operation = "GetBucketRequestPayment", .action = "s3:GetBucketRequestPayment" },
	{ .operation = "GetBucketLogging", .action = "s3:GetBucketLogging" },
	{ .operation = "GetBucketNotificationConfiguration", .action = "s3:GetBucketNotification" },
	{ .operation = "GetBucketAccelerateConfiguration", .action = "s3:GetAccelerateConfiguration" },
	{ .operation = "GetBucketPolicy", .action = "s3:GetBucketPolicy" },
	{ .operation = "GetBucketPolicyStatus", .action = "s3:GetBucketPolicyStatus" },
	{ .operation = "GetBucketLifecycleConfiguration", .action = "s3:GetLifecycleConfiguration" },
	{ .operation = "GetBucketReplication", .action = "s3:GetReplicationConfiguration" },
	{ .operation = "GetBucketEncryption", .action = "s3:GetEncryptionConfiguration" },
	{ .operation = "GetBucketWebsite", .action = "s3:GetBucketWebsite" },
	{ .operation = "GetObjectLockConfiguration", .action = "s3:GetBucketObjectLockConfiguration" },
	{ .operation = "GetPublicAccessBlock", .action = "s3:GetBucketPublicAccessBlock" },
	{ .operation = "ListObjectsV2", .action = "s3:ListBucket" },
	{ .operation = "ListObjects", .action = "s3:ListBucket" },
	{ .operation = "HeadBucket", .action = "s3:ListBucket" },
	{ .operation = "PutBucketPolicy", .action = "s3:PutBucketPolicy" },
	{ .operation = "PutBucketLifecycleConfiguration", .action = "s3:PutLifecycleConfiguration" },
	{ .operation = "PutBucketEncryption", .action = "s3:PutEncryptionConfiguration" },
	{ .operation = "DeleteBucketEncryption", .action = "s3:PutEncryptionConfiguration" },
	{ .operation = "PutBucketOwnershipControls", .action = "s3:PutBucketOwnershipControls" },
	{ .operation = "DeleteBucketOwnershipControls", .action = "s3:PutBucketOwnershipControls" },
	{ .operation = "PutPublicAccessBlock", .action = "s3:PutBucketPublicAccessBlock" },
	{ .operation = "DeletePublicAccessBlock", .action = "s3:PutBucketPublicAccessBlock" },
	{ .operation = "DeleteBucketLifecycle", .action = "s3:PutLifecycleConfiguration" },
	{ .operation = "DeleteBucketPolicy", .action = "s3:DeleteBucketPolicy" },
	{ .operation = "DeleteBucketReplication", .action = "s3:PutReplicationConfiguration" },
	{ .operation = "DeleteBucketWebsite", .action = "s3:DeleteBucketWebsite" },
	{ .operation = "PutBucketVersioning", .action = "s3:PutBucketVersioning" },
	{ .operation = "PutBucketTagging", .action = "s3:PutBucketTagging" },
	{ .operation = "PutBucketCors", .action = "s3:PutBucketCORS" },
	{ .operation = "PutBucketAcl", .action = "s3:PutBucketAcl" },
	{ .operation = "CreateBucket", .action = "s3:CreateBucket" },
	{ .operation = "DeleteObjects", .action = "s3:DeleteObject" },
	{ .operation = "PostObject", .action = WRITES },
	{ .operation = "DeleteBucketTagging", .action = "s3:PutBucketTagging" },
	{ .operation = "DeleteBucketCors", .action = "s3:PutBucketCORS" },
	{ .operation = "DeleteBucket", .action = "s3:DeleteBucket" },
	{ .operation = "OptionsBucket", .open = true },
	{ .operation = "ListParts", .action = "s3:ListMultipartUploadParts" },
	{ .operation = "GetObjectTagging", .action = "s3:GetObjectTagging" },
	{ .operation = "GetObjectAttributes", .action = READS },
	{ .operation = "GetObjectAcl", .action = "s3:GetObjectAcl" },
	{ .operation = "GetObjectLegalHold", .action = "s3:GetObjectLegalHold" },
	{ .operation = "GetObjectRetention", .action = "s3:GetObjectRetention" },
	{ .operation = "GetObject", .action = READS },
	{ .operation = "HeadObject", .action = READS },
	{ .operation = "PutObjectTagging", .action = "s3:PutObjectTagging" },
	{ .operation = "PutObjectAcl", .action = "s3:PutObjectAcl" },
	{ .operation = "UploadPartCopy", .action = WRITES },
	{ .operation = "UploadPart", .action = WRITES },
	{ .operation = "CopyObject", .action = WRITES },
	{ .operation = "PutObject", .action = WRITES },
	{ .operation = "CreateMultipartUpload", .action = WRITES },
	{ .operation = "CompleteMultipartUpload", .action = WRITES },
	{ .operation = "AbortMultipartUpload", .action = "s3:AbortMultipartUpload" },
	{ .operation = "DeleteObjectTagging", .action = "s3:DeleteObjectTagging" },
	{ .operation = "DeleteObject", .action = "s3:DeleteObject" },
	{ .operation = "OptionsObject", .open = true },
	{ .operation = NULL },
};

static const struct wire_access *row_of(const char *operation)
{
	for (const struct wire_access *x = s3_access; x->operation; x++)
		if (strcmp(x->operation, operation) == 0)
			return x;
	return NULL;
}

/* ---- condition keys ---- */

enum { FACTS_MAX = 64 };

struct asking {
	struct s3_call *c;
	struct wire_fact facts[FACTS_MAX];
	size_t nfacts;
};

static void add_fact(struct asking *x, const char *key, struct str value)
{
	if (value.ptr && x->nfacts < FACTS_MAX)
		x->facts[x->nfacts++] = (struct wire_fact){ key, value };
}

/* "k=v&k=v", percent-encoded: `kind`/<k> = v. */
static void add_tags(struct asking *x, const char *kind, struct str tags)
{
	struct arena *a = x->c->a;
	struct str rest = tags, piece;
	while (tags.len && str_split(&rest, '&', &piece)) {
		const ptrdiff_t eq = str_find_char(piece, '=');
		const struct str key = uri_decoded(a, eq < 0 ? piece : str_head(piece, (size_t)eq), true);
		const struct str value = eq < 0 ? STR("") : uri_decoded(a, str_skip(piece, (size_t)eq + 1), true);
		add_fact(x, arena_printf(a, "%s/%.*s", kind, STR_ARG(key)), value);
		if (strcmp(kind, "s3:RequestObjectTag") == 0)
			add_fact(x, "s3:RequestObjectTagKeys", key);
	}
}

/* The tags of the object as it is, for s3:ExistingObjectTag. */
static void add_existing(struct asking *x, struct str bucket, struct str key)
{
	struct s3_call *c = x->c;
	struct s3_bucket b;
	struct s3_object o;
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct db *db = store_read_begin(c->s->store, &ignored);
	if (!db)
		return;
	if (s3_object_find_in(db, c->a, bucket, key, &b, &o, &ignored) > 0)
		add_tags(x, "s3:ExistingObjectTag", o.tags);
	store_read_end(c->s->store, db);
}

static void read_facts(struct asking *x)
{
	static const struct {
		const char *key, *name;
	} args[] = { { "s3:prefix", "prefix" },
		     { "s3:delimiter", "delimiter" },
		     { "s3:max-keys", "max-keys" },
		     { "s3:VersionId", "versionId" } },
	  headers[] = { { "s3:x-amz-acl", "x-amz-acl" },
			{ "s3:x-amz-copy-source", "x-amz-copy-source" },
			{ "s3:x-amz-metadata-directive", "x-amz-metadata-directive" },
			{ "s3:x-amz-server-side-encryption", "x-amz-server-side-encryption" },
			{ "s3:x-amz-storage-class", "x-amz-storage-class" },
			{ "s3:if-none-match", "if-none-match" },
			{ "s3:if-match", "if-match" } };
	struct s3_call *c = x->c;
	for (size_t i = 0; i < sizeof(args) / sizeof(*args); i++)
		add_fact(x, args[i].key, s3_call_arg(c, args[i].name, NULL));
	for (size_t i = 0; i < sizeof(headers) / sizeof(*headers); i++)
		add_fact(x, headers[i].key, s3_call_header(c, headers[i].name));
	add_fact(x, "s3:ResourceAccount", str_from(c->who->account));
	add_fact(x, "s3:authType",
		 c->form        ? STR("POST")
		 : c->presigned ? STR("REST-QUERY-STRING")
				: STR("REST-HEADER"));
	add_tags(x, "s3:RequestObjectTag", s3_call_header(c, "x-amz-tagging"));
}

/* ---- questions ---- */

static struct str arn_of(struct arena *a, struct str bucket, struct str key)
{
	return str_from(key.len ? arena_printf(a, "arn:aws:s3:::%.*s/%.*s", STR_ARG(bucket), STR_ARG(key))
				: arena_printf(a, "arn:aws:s3:::%.*s", STR_ARG(bucket)));
}

static int ask(struct asking *x, const char *action, struct str resource, struct error *err)
{
	struct wire_ask question = { .action = action, .resource = resource, .facts = x->facts, .nfacts = x->nfacts };
	return wire_authorize(x->c->r, x->c->who, &question, err);
}

/* The action as it is called for a version: s3:GetObjectTagging is s3:GetObjectVersionTagging. */
static const char *versioned(struct arena *a, const char *action)
{
	static const char *const known[] = { "s3:GetObject", "s3:PutObject", "s3:DeleteObject" };
	for (size_t i = 0; i < 3; i++)
		if (str_starts(str_from(action), str_from(known[i])))
			return arena_printf(a, "%sVersion%s", known[i], action + strlen(known[i]));
	return action;
}

/* Who may do everything is refused only by bucket policies, and by none what they are mended with. */
static bool is_free(const struct s3_call *c)
{
	static const char *const mending[] = { "PutBucketPolicy", "GetBucketPolicy", "DeleteBucketPolicy" };
	if (!c->who->unrestricted)
		return false;
	for (size_t i = 0; i < sizeof(mending) / sizeof(*mending); i++)
		if (strcmp(c->op->name, mending[i]) == 0)
			return true;
	return !atomic_load(&c->s->policed);
}

int s3_access_key(struct s3_call *c, const char *action, struct str bucket, struct str key, bool version,
		  struct error *err)
{
	if (is_free(c))
		return 0;
	struct asking *x = ARENA_NEW(c->a, struct asking);
	x->c = c;
	read_facts(x);
	if (key.len)
		add_existing(x, bucket, key);
	return ask(x, version ? versioned(c->a, action) : action, bucket.len ? arn_of(c->a, bucket, key) : STR("*"),
		   err);
}

/* What a write's headers ask for beside the object itself. */
static int check_headers(struct s3_call *c, struct error *err)
{
	static const char *const grants[] = { "x-amz-acl",
					      "x-amz-grant-read",
					      "x-amz-grant-write",
					      "x-amz-grant-read-acp",
					      "x-amz-grant-write-acp",
					      "x-amz-grant-full-control" };
	struct s3_source src;
	bool acl = false;
	for (size_t i = 0; i < sizeof(grants) / sizeof(*grants); i++)
		acl = acl || s3_call_header(c, grants[i]).ptr;
	if (s3_call_header(c, "x-amz-copy-source").ptr &&
	    (s3_source_parse(c, &src, err) < 0 ||
	     s3_access_key(c, READS, src.bucket_name, src.key, src.version.ptr != NULL, err) < 0))
		return -1;
	if (s3_call_header(c, c->form ? "tagging" : "x-amz-tagging").len &&
	    s3_access_key(c, "s3:PutObjectTagging", c->bucket_name, c->key, false, err) < 0)
		return -1;
	return acl ? s3_access_key(c, "s3:PutObjectAcl", c->bucket_name, c->key, false, err) : 0;
}

int s3_access_check(struct s3_call *c, struct error *err)
{
	if (is_free(c) || c->who->anonymous)
		return 0;
	const struct wire_access *row = row_of(c->op->name);
	if (!row) /* what does nothing is refused by its name, to everybody */
		return c->op->run ? s3_error(err, "AccessDenied") : 0;
	if (row->open)
		return 0;
	const bool version = c->op->level == S3_OBJECT && s3_call_arg(c, "versionId", NULL).len;
	const struct str bucket = c->op->level == S3_SERVICE ? STR("") : c->bucket_name;
	if (s3_access_key(c, row->action, bucket, c->key, version, err) < 0)
		return -1;
	if (strcmp(c->op->name, "GetObjectAttributes") == 0 &&
	    s3_access_key(c, "s3:GetObjectAttributes", bucket, c->key, version, err) < 0)
		return -1;
	return strcmp(row->action, WRITES) == 0 ? check_headers(c, err) : 0;
}

int s3_access_missing(struct s3_call *c, const char *code, struct error *err)
{
	if (s3_access_key(c, "s3:ListBucket", c->bucket_name, STR(""), false, err) < 0)
		return -1;
	return s3_error(err, code);
}
