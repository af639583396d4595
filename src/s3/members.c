/* members.c - GetObject, ListObjectsV2 and PutObject for a call from inside (a state machine's aws-sdk:s3): parameters
 * and answers are the members of the API, named as the AWS SDKs name them. See s3.h.
 *
 * DESIGN: what an object carries is kept as header lines (meta.c), so one table says which member is which header. A
 * parameter that is not in a table is refused by its name, never swallowed. Errors are S3's own codes and texts. */
#include "base/clock.h"
#include "base/json.h"
#include "s3/list.h"

#define META "x-amz-meta-"

static const struct member {
	const char *name, *header;
	bool flag; /* true or false in the API */
} members[] = {
	{ "ContentType", "Content-Type", false },
	{ "CacheControl", "Cache-Control", false },
	{ "ContentDisposition", "Content-Disposition", false },
	{ "ContentEncoding", "Content-Encoding", false },
	{ "ContentLanguage", "Content-Language", false },
	{ "WebsiteRedirectLocation", "x-amz-website-redirect-location", false },
	{ "ServerSideEncryption", "x-amz-server-side-encryption", false },
	{ "SSEKMSKeyId", "x-amz-server-side-encryption-aws-kms-key-id", false },
	{ "BucketKeyEnabled", "x-amz-server-side-encryption-bucket-key-enabled", true },
};
enum { LIST_MAX = 1000 };
enum { MEMBERS = sizeof(members) / sizeof(*members), FIRST_ECHOED = 6 };

static bool listed(const char *const *list, const char *name)
{
	for (; *list; list++)
		if (strcmp(*list, name) == 0)
			return true;
	return false;
}

static int refuse_others(const json_t *in, const char *const *known, bool with_table, struct error *err)
{
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)in, key, value) {
		bool found = listed(known, key);
		for (size_t i = 0; with_table && i < MEMBERS; i++)
			found = found || strcmp(members[i].name, key) == 0;
		if (!found && !json_is_null(value))
			return s3_error_text(err, "NotImplemented", "Quern does not implement the parameter %s here.",
					     key);
	}
	return 0;
}

static int find_bucket(struct db *db, struct arena *a, const json_t *in, struct s3_bucket *out, struct error *err)
{
	const int rc = s3_bucket_find(db, a, json_get_str(in, "Bucket"), out, err);
	return rc == 0 ? s3_error(err, "NoSuchBucket") : rc;
}

/* ---- answers ---- */

static void set_text(json_t *out, const char *name, struct str value)
{
	json_object_set_new(out, name, json_stringn(value.ptr, value.len));
}

static void set_etag(json_t *out, struct arena *a, struct str etag)
{
	json_set_text(out, "ETag", arena_printf(a, "\"%.*s\"", STR_ARG(etag)));
}

static void set_version(json_t *out, const struct s3_bucket *b, const struct s3_object *o)
{
	if (b->versioning != S3_UNVERSIONED && o->version.len)
		set_text(out, "VersionId", o->version);
}

static void set_checksum(json_t *out, const struct s3_object *o)
{
	const struct s3_checksum sum = s3_checksum_parse(o->checksum);
	if (sum.algo == CHECKSUM_NONE)
		return;
	set_text(out, checksum_element(sum.algo), sum.value);
	json_set_text(out, "ChecksumType", sum.composite ? "COMPOSITE" : "FULL_OBJECT");
}

/* The members that are header lines, from number `first` of the table on. */
static void set_headers(json_t *out, const struct s3_object *o, size_t first)
{
	for (size_t i = first; i < MEMBERS; i++) {
		const struct str value = s3_meta_get(o->headers, members[i].header);
		if (value.ptr && members[i].flag)
			json_set_bool(out, members[i].name, str_eqz(value, "true"));
		else if (value.ptr)
			set_text(out, members[i].name, value);
	}
}

static void add_meta(void *ctx, struct str name, struct str value)
{
	if (!str_starts(name, STR(META)))
		return;
	const struct str rest = str_skip(name, sizeof(META) - 1);
	json_object_setn_new(ctx, rest.ptr, rest.len, json_stringn(value.ptr, value.len));
}

/* ---- GetObject ---- */

static int find_object(struct db *db, struct arena *a, const json_t *in, const struct s3_bucket *b, struct s3_object *o,
		       struct error *err)
{
	const struct str version = json_get_str(in, "VersionId");
	const int rc = s3_object_find(db, a, b->id, json_get_str(in, "Key"), version, true, o, err);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return s3_error(err, version.ptr ? "NoSuchVersion" : "NoSuchKey");
	return o->marker ? s3_error(err, "MethodNotAllowed") : 0;
}

int s3_get_members(struct s3 *s, struct db *db, const json_t *in, int64_t max, struct arena *a, json_t **out,
		   struct error *err)
{
	static const char *const known[] = { "Bucket", "Key", "VersionId", "ChecksumMode", NULL };
	struct s3_bucket b;
	struct s3_object o;
	struct str body;
	char when[32];
	if (refuse_others(in, known, false, err) < 0 || find_bucket(db, a, in, &b, err) < 0 ||
	    find_object(db, a, in, &b, &o, err) < 0 || s3_room_body(s, &o, max, a, &body, err) < 0)
		return -1;
	json_t *text = json_stringn(body.ptr, body.len);
	if (!text)
		return s3_error_text(err, "InvalidRequest", "The object's body is not UTF-8 text.");
	CLEANUP_JSON json_t *told = json_object();
	json_t *metadata = json_object();
	json_set_text(told, "AcceptRanges", "bytes");
	json_set_int(told, "ContentLength", o.size_bytes);
	json_set_text(told, "ContentType", "binary/octet-stream");
	set_etag(told, a, o.etag);
	json_set_text(told, "LastModified", clock_iso(o.modified_ms, when));
	s3_meta_each(o.headers, add_meta, metadata);
	json_object_set_new(told, "Metadata", metadata);
	set_headers(told, &o, 0);
	set_version(told, &b, &o);
	if (o.storage.len)
		set_text(told, "StorageClass", o.storage);
	if (o.tags.len)
		json_set_int(told, "TagCount", s3_tags_count(o.tags));
	if (str_eqz(json_get_str(in, "ChecksumMode"), "ENABLED"))
		set_checksum(told, &o);
	json_object_set_new(told, "Body", text);
	*out = json_incref(told);
	return 0;
}

/* ---- ListObjectsV2 ---- */

struct listing {
	struct arena *a;
	json_t *contents, *prefixes;
};

static void list_row(void *ctx, struct rows *rows)
{
	struct listing *l = ctx;
	char when[32];
	json_t *one = json_object();
	const struct s3_checksum sum = s3_checksum_parse(rows_str(rows, 4));
	const struct str storage = rows_str(rows, 5);
	if (sum.algo != CHECKSUM_NONE) {
		json_object_set_new(one, "ChecksumAlgorithm", json_pack("[s]", checksum_name(sum.algo)));
		json_set_text(one, "ChecksumType", sum.composite ? "COMPOSITE" : "FULL_OBJECT");
	}
	set_etag(one, l->a, rows_str(rows, 3));
	set_text(one, "Key", rows_str(rows, 0));
	json_set_text(one, "LastModified", clock_iso(rows_int(rows, 2), when));
	json_set_int(one, "Size", rows_int(rows, 1));
	set_text(one, "StorageClass", storage.len ? storage : STR("STANDARD"));
	json_array_append_new(l->contents, one);
}

static void list_group(void *ctx, struct str group)
{
	struct listing *l = ctx;
	json_array_append_new(l->prefixes, json_pack("{s:s%}", "Prefix", group.ptr, group.len));
}

int s3_list_members(struct db *db, const json_t *in, struct arena *a, json_t **out, struct error *err)
{
	static const char *const known[] = { "Bucket",  "Prefix",     "Delimiter",
					     "MaxKeys", "StartAfter", "ContinuationToken",
					     NULL },
				 *const told[] = { "Delimiter", "StartAfter", "ContinuationToken" };
	const struct str token = json_get_str(in, "ContinuationToken"), after = json_get_str(in, "StartAfter"),
			 prefix = json_get_str(in, "Prefix"), delimiter = json_get_str(in, "Delimiter");
	struct s3_bucket b;
	if (refuse_others(in, known, false, err) < 0 || find_bucket(db, a, in, &b, err) < 0)
		return -1;
	CLEANUP_JSON json_t *contents = json_array(), *prefixes = json_array();
	struct listing l = { a, contents, prefixes };
	int64_t max = json_get_int(in, "MaxKeys", LIST_MAX);
	struct s3_scan scan = { .kind = S3_SCAN_OBJECTS,
				.db = db,
				.a = a,
				.bucket = b.id,
				.prefix = prefix.ptr ? prefix : STR(""),
				.delimiter = delimiter.ptr ? delimiter : STR(""),
				.marker = after.ptr ? after : STR(""),
				.max = max < LIST_MAX ? max : LIST_MAX,
				.ctx = &l,
				.row = list_row,
				.group = list_group };
	if (max < 0)
		return s3_error_text(err, "InvalidArgument",
				     "Argument maxKeys must be an integer between 0 and 2147483647");
	if (token.ptr && !s3_list_from_token(a, token, &scan.marker))
		return s3_error_text(err, "InvalidArgument", "The continuation token provided is incorrect");
	if (s3_scan_run(&scan, err) < 0)
		return -1;
	*out = json_pack("{s:b,s:I,s:I,s:O}", "IsTruncated", scan.truncated, "KeyCount", (json_int_t)scan.count,
			 "MaxKeys", (json_int_t)scan.max, "Contents", contents);
	set_text(*out, "Name", b.name);
	set_text(*out, "Prefix", scan.prefix);
	for (size_t i = 0; i < sizeof(told) / sizeof(*told); i++)
		json_copy_key(*out, in, told[i]);
	if (json_array_size(prefixes))
		json_object_set(*out, "CommonPrefixes", prefixes);
	if (scan.truncated)
		set_text(*out, "NextContinuationToken", s3_list_token(a, scan.last));
	return 0;
}

/* ---- PutObject ---- */

static int add_line(struct buf *lines, const char *header, struct str name, struct str value, struct error *err)
{
	if (!value.ptr || str_find_char(value, '\n') >= 0 || str_find_char(value, '\r') >= 0 ||
	    str_find_char(value, 0) >= 0 || str_find_char(name, ':') >= 0 || str_find_char(name, '\n') >= 0)
		return s3_error_text(err, "InvalidArgument", "A header value must be text without line breaks.");
	buf_addz(lines, header);
	for (size_t i = 0; i < name.len; i++)
		buf_add_char(lines, (char)(name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? name.ptr[i] + 32 : name.ptr[i]));
	buf_add(lines, ": ", 2);
	buf_add_str(lines, value);
	buf_add_char(lines, '\n');
	return 0;
}

static int add_lines(const json_t *in, struct buf *lines, struct error *err)
{
	const char *key;
	json_t *value;
	size_t meta_bytes = 0;
	for (size_t i = 0; i < MEMBERS; i++) {
		const json_t *given = json_get(in, members[i].name);
		const struct str text =
			json_is_boolean(given) ? json_is_true(given) ? STR("true") : STR("false") : json_str(given);
		if (given && add_line(lines, members[i].header, STR(""), text, err) < 0)
			return -1;
	}
	if (!json_get(in, "ContentType")) /* as recorded on AWS: every body is sent as text */
		buf_addz(lines, "Content-Type: text/plain; charset=UTF-8\n");
	json_object_foreach (json_get(in, "Metadata"), key, value) {
		meta_bytes += strlen(key) + json_string_length(value);
		if (add_line(lines, META, str_from(key), json_str(value), err) < 0)
			return -1;
	}
	return meta_bytes > S3_META_MAX ? s3_error(err, "MetadataTooLarge") : 0;
}

int s3_put_members(struct turn *t, const json_t *in, struct str body, json_t **out, struct error *err)
{
	static const char *const known[] = { "Bucket", "Key", "Body", "Metadata", "ChecksumAlgorithm", NULL };
	CLEANUP_BUF struct buf lines = BUF_INIT;
	struct arena *a = turn_arena(t);
	struct s3_bucket b;
	struct s3_object o = { .key = json_get_str(in, "Key") };
	const struct str wanted = json_get_str(in, "ChecksumAlgorithm"),
			 encryption = json_get_str(in, "ServerSideEncryption");
	const enum checksum_algo algo = wanted.ptr ? checksum_from_name(wanted) : CHECKSUM_CRC32;
	if (refuse_others(in, known, true, err) < 0 || find_bucket(turn_db(t), a, in, &b, err) < 0)
		return -1;
	if (algo == CHECKSUM_NONE)
		return s3_error_text(err, "InvalidRequest", "Checksum algorithm provided is unsupported.");
	if (encryption.ptr && !s3_meta_encryption_known(encryption))
		return s3_error_text(err, "InvalidArgument", "The encryption method specified is not supported");
	if (add_lines(in, &lines, err) < 0 || s3_room_sum(a, body, algo, &o, err) < 0)
		return -1;
	if (!o.key.len || o.key.len > S3_KEY_MAX || str_find_char(o.key, 0) >= 0)
		return s3_error(err, o.key.len > S3_KEY_MAX ? "KeyTooLongError" : "InvalidArgument");
	o.headers = buf_str(&lines);
	s3_meta_default(a, &b, &o);
	if (s3_object_put(t, &b, &o, err) < 0)
		return -1;
	*out = json_object();
	set_etag(*out, a, o.etag);
	set_checksum(*out, &o);
	set_headers(*out, &o, FIRST_ECHOED);
	set_version(*out, &b, &o);
	return 0;
}
