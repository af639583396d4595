/* api_list.c - ListObjects (1 and 2), ListObjectVersions, and the scan that ListMultipartUploads shares.
 *
 * DESIGN: a scan walks an index in key order from a start key. A key that has the delimiter behind the prefix belongs
 * to a group (common prefix); after a few keys of the same group the scan jumps behind it with a new query, so a
 * listing of the top level costs what it shows, not what the bucket holds. A page ends when one item more than asked
 * for is seen. */
#include "s3/list.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/id.h"

enum { WALK_BEFORE_JUMP = 8 };

bool s3_after_prefix(struct arena *a, struct str s, struct str *out)
{
	size_t n = s.len;
	while (n > 0 && (unsigned char)s.ptr[n - 1] == 0xFF)
		n--;
	if (n == 0)
		return false;
	char *p = arena_alloc(a, n + 1);
	memcpy(p, s.ptr, n);
	p[n - 1] = (char)((unsigned char)p[n - 1] + 1);
	*out = str_of(p, n);
	return true;
}

static struct str just_after(struct arena *a, struct str key)
{
	char *p = arena_alloc(a, key.len + 1);
	memcpy(p, key.ptr, key.len);
	return str_of(p, key.len + 1);
}

static int open_scan(struct s3_scan *s, struct rows *rows, struct str from, struct error *err)
{
	switch (s->kind) {
	case S3_SCAN_OBJECTS:
		return db_query(s->db, rows, err,
				"SELECT key, size, modified_ms, etag, checksum, storage FROM s3_object WHERE bucket=? "
				"AND listed=1 AND key>=? ORDER BY key",
				"ib", s->bucket, from);
	case S3_SCAN_VERSIONS:
		return db_query(s->db, rows, err,
				"SELECT key, size, modified_ms, etag, checksum, storage, version, marker, id FROM "
				"s3_object WHERE bucket=? AND"
				" listed=1 AND key>=? UNION ALL SELECT key, size, modified_ms, etag, checksum, "
				"storage, version, marker, id FROM"
				" s3_object WHERE bucket=? AND listed=0 AND key>=? ORDER BY key, id DESC",
				"ibib", s->bucket, from, s->bucket, from);
	case S3_SCAN_UPLOADS:
		return db_query(s->db, rows, err,
				"SELECT key, id, created_ms, checksum, storage FROM s3_upload WHERE bucket=? AND "
				"key>=? ORDER BY key, id",
				"ib", s->bucket, from);
	}
	BUG("unknown scan");
}

/* The group of a key, STR_NULL when it stands for itself. */
static struct str group_of(const struct s3_scan *s, struct str key)
{
	if (!s->delimiter.len)
		return STR_NULL;
	const ptrdiff_t at = str_find(str_skip(key, s->prefix.len), s->delimiter);
	return at < 0 ? STR_NULL : str_head(key, s->prefix.len + (size_t)at + s->delimiter.len);
}

/* One item more; false when the page is full. */
static bool count_item(struct s3_scan *s, struct str name)
{
	if (s->count == s->max) {
		s->truncated = true;
		return false;
	}
	s->count++;
	s->last = arena_str(s->a, name);
	return true;
}

/* Walks rows from `from`. 1: go on at *from, 0 the end, < 0 a fault. */
static int walk(struct s3_scan *s, struct str *from, struct str *group, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (open_scan(s, &rows, *from, err) < 0)
		return -1;
	int rc, walked = 0;
	while ((rc = rows_next(&rows, err)) > 0) {
		const struct str key = rows_str(&rows, 0);
		if (!str_starts(key, s->prefix))
			return 0;
		const struct str g = group_of(s, key);
		if (g.ptr && (str_eq(g, *group) || str_eq(g, s->marker))) {
			if (++walked < WALK_BEFORE_JUMP)
				continue;
			return s3_after_prefix(s->a, g, from);
		}
		if (g.ptr) {
			if (!count_item(s, g))
				return 0;
			*group = s->last;
			walked = 0;
			s->group(s->ctx, *group);
			continue;
		}
		if (s->want && !s->want(s->ctx, &rows))
			continue;
		if (!count_item(s, key))
			return 0;
		s->row(s->ctx, &rows);
	}
	return rc;
}

int s3_scan_run(struct s3_scan *s, struct error *err)
{
	struct str from = s->prefix, group = STR("");
	if (s->max == 0)
		return 0;
	if (s->marker.len) {
		const struct str start = s->resume_at_marker ? s->marker : just_after(s->a, s->marker);
		if (str_cmp(start, from) > 0)
			from = start;
	}
	int rc;
	while ((rc = walk(s, &from, &group, err)) > 0)
		continue;
	return rc;
}

/* ---- the request and the document ---- */

static void percent_encode(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		const unsigned char ch = (unsigned char)s.ptr[i];
		if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
		    (ch && strchr("-_.*/", ch)))
			buf_add_char(out, (char)ch);
		else
			buf_printf(out, "%%%02X", ch);
	}
}

void s3_page_name(const struct s3_page *p, struct buf *b, const char *element, struct str value)
{
	if (!p->url) {
		xml_text(b, element, value);
		return;
	}
	CLEANUP_BUF struct buf encoded = BUF_INIT;
	percent_encode(&encoded, value);
	xml_text(b, element, buf_str(&encoded));
}

int s3_page_read(struct s3_call *c, const char *max_name, struct s3_page *p, struct error *err)
{
	bool present;
	*p = (struct s3_page){ .c = c };
	p->scan = (struct s3_scan){ .a = c->a, .ctx = p, .group = s3_page_group };
	p->scan.prefix = s3_call_arg(c, "prefix", &present);
	if (!present)
		p->scan.prefix = STR("");
	p->scan.delimiter = s3_call_arg(c, "delimiter", NULL);
	p->scan.marker = STR("");
	const struct str encoding = s3_call_arg(c, "encoding-type", &present);
	if (present && !str_eqz(encoding, "url"))
		return s3_error_argument(c, err, "encoding-type", encoding,
					 "Invalid Encoding Method specified in Request");
	p->url = present;
	const struct str max = s3_call_arg(c, max_name, NULL);
	p->scan.max = 1000;
	if (max.len && (!str_to_i64(max, &p->scan.max) || p->scan.max < 0 || p->scan.max > INT32_MAX))
		return s3_error_argument(
			c, err, max_name, max,
			arena_printf(c->a, "Argument %s must be an integer between 0 and 2147483647", max_name));
	if (p->scan.max > 1000)
		p->scan.max = 1000;
	return 0;
}

void s3_page_group(void *ctx, struct str group)
{
	struct s3_page *p = ctx;
	p->last_was_group = true;
	xml_open(&p->groups, "CommonPrefixes");
	s3_page_name(p, &p->groups, "Prefix", group);
	xml_close(&p->groups, "CommonPrefixes");
}

void s3_page_release(struct s3_page *p)
{
	buf_release(&p->items);
	buf_release(&p->groups);
	buf_release(&p->key);
}

/* Size, checksum, storage class: the same for objects and versions. Columns 1 to 5. */
static void put_properties(struct s3_page *p, struct rows *rows, bool marker)
{
	struct buf *b = &p->items;
	s3_xml_time(b, "LastModified", rows_int(rows, 2));
	if (!marker) {
		s3_xml_etag(b, rows_str(rows, 3));
		const struct s3_checksum sum = s3_checksum_parse(rows_str(rows, 4));
		if (sum.algo != CHECKSUM_NONE) {
			xml_text(b, "ChecksumAlgorithm", str_from(checksum_name(sum.algo)));
			xml_text(b, "ChecksumType", sum.composite ? STR("COMPOSITE") : STR("FULL_OBJECT"));
		}
		xml_int(b, "Size", rows_int(rows, 1));
		const struct str storage = rows_str(rows, 5);
		xml_text(b, "StorageClass", storage.len ? storage : STR("STANDARD"));
	}
	if (p->owner)
		s3_xml_owner(p->c->a, b, "Owner", p->c->bucket.owner);
}

static void put_object(void *ctx, struct rows *rows)
{
	struct s3_page *p = ctx;
	xml_open(&p->items, "Contents");
	s3_page_name(p, &p->items, "Key", rows_str(rows, 0));
	put_properties(p, rows, false);
	xml_close(&p->items, "Contents");
}

bool s3_page_run(struct s3_call *c, struct s3_page *p)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = s3_call_read(c);
	if (!db)
		return false;
	p->scan.db = db;
	p->scan.bucket = c->bucket.id;
	const int rc = s3_scan_run(&p->scan, &err);
	s3_call_read_end(c, db);
	if (rc < 0)
		s3_call_fail(c, &err);
	return rc >= 0;
}

static void finish(struct s3_call *c, struct s3_page *p, struct buf *b, const char *root)
{
	if (p->url)
		xml_text(b, "EncodingType", STR("url"));
	xml_text(b, "IsTruncated", p->scan.truncated ? STR("true") : STR("false"));
	buf_add_str(b, buf_str(&p->items));
	buf_add_str(b, buf_str(&p->groups));
	xml_close(b, root);
	s3_call_send_xml(c, 200, b);
}

static void start(struct s3_call *c, struct s3_page *p, struct buf *b, const char *root, bool v1)
{
	s3_xml_start(b, root);
	xml_text(b, "Name", c->bucket.name);
	/* botocore doesn't decode the prefix of version 1 */
	if (v1)
		xml_text(b, "Prefix", p->scan.prefix);
	else
		s3_page_name(p, b, "Prefix", p->scan.prefix);
	if (p->scan.delimiter.len)
		s3_page_name(p, b, "Delimiter", p->scan.delimiter);
	xml_int(b, "MaxKeys", p->scan.max);
}

/* Reads the request's page, scans as `how` says, and lets `answer` send it. */
static void answer_page(struct s3_call *c, const struct s3_scan *how,
			void (*answer)(struct s3_call *c, struct s3_page *p))
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct s3_page p;
	if (s3_page_read(c, "max-keys", &p, &err) < 0) {
		s3_call_fail(c, &err);
		return;
	}
	p.scan.kind = how->kind;
	p.scan.want = how->want;
	p.scan.row = how->row;
	answer(c, &p);
	s3_page_release(&p);
}

/* ---- ListObjects ---- */

static void list_v1(struct s3_call *c, struct s3_page *p)
{
	p->owner = true;
	p->scan.marker = s3_call_arg(c, "marker", NULL);
	if (!s3_page_run(c, p))
		return;
	struct buf b = BUF_INIT;
	start(c, p, &b, "ListBucketResult", true);
	s3_page_name(p, &b, "Marker", p->scan.marker);
	if (p->scan.truncated && p->scan.delimiter.len)
		s3_page_name(p, &b, "NextMarker", p->scan.last);
	finish(c, p, &b, "ListBucketResult");
}

void s3_list_objects(struct s3_call *c)
{
	const struct s3_scan scan = { .kind = S3_SCAN_OBJECTS, .row = put_object };
	answer_page(c, &scan, list_v1);
}

static struct str list_token(struct arena *a, struct str key)
{
	char *text = arena_alloc(a, 4 * ((key.len + 2) / 3) + 1);
	return str_of(text, base64_encode(text, key.ptr, key.len));
}

static bool list_from_token(struct arena *a, struct str token, struct str *key)
{
	char *p = arena_alloc(a, 3 * (token.len / 4) + 3);
	const ptrdiff_t n = base64_decode(p, token);
	*key = str_of(p, n < 0 ? 0 : (size_t)n);
	return n > 0;
}

static void list_v2(struct s3_call *c, struct s3_page *p)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	bool resumed, after;
	const struct str token = s3_call_arg(c, "continuation-token", &resumed),
			 start_after = s3_call_arg(c, "start-after", &after);
	p->owner = str_eqz(s3_call_arg(c, "fetch-owner", NULL), "true");
	p->scan.marker = start_after;
	if (resumed && token.len && !list_from_token(c->a, token, &p->scan.marker)) {
		s3_error_argument(c, &err, "continuation-token", token, "The continuation token provided is incorrect");
		s3_call_fail(c, &err);
		return;
	}
	if (!s3_page_run(c, p))
		return;
	struct buf b = BUF_INIT;
	start(c, p, &b, "ListBucketResult", false);
	if (after)
		s3_page_name(p, &b, "StartAfter", start_after);
	if (resumed)
		xml_text(&b, "ContinuationToken", token);
	if (p->scan.truncated)
		xml_text(&b, "NextContinuationToken", list_token(c->a, p->scan.last));
	xml_int(&b, "KeyCount", p->scan.count);
	finish(c, p, &b, "ListBucketResult");
}

void s3_list_objects_v2(struct s3_call *c)
{
	const struct s3_scan scan = { .kind = S3_SCAN_OBJECTS, .row = put_object };
	answer_page(c, &scan, list_v2);
}

/* ---- ListObjectVersions ---- */

/* Is this row after the marker? Also finds out which row is its key's newest: the first one seen. */
static bool want_version(void *ctx, struct rows *rows)
{
	struct s3_page *p = ctx;
	const struct str key = rows_str(rows, 0);
	p->latest = !str_eq(key, buf_str(&p->key));
	if (p->latest) {
		buf_clear(&p->key);
		buf_add_str(&p->key, key);
	}
	return !p->scan.resume_at_marker || !str_eq(key, p->scan.marker) || rows_int(rows, 8) < p->before_id;
}

static void put_version(void *ctx, struct rows *rows)
{
	struct s3_page *p = ctx;
	const bool marker = rows_int(rows, 7);
	const char *element = marker ? "DeleteMarker" : "Version";
	xml_open(&p->items, element);
	s3_page_name(p, &p->items, "Key", rows_str(rows, 0));
	xml_text(&p->items, "VersionId", rows_str(rows, 6));
	xml_text(&p->items, "IsLatest", p->latest ? STR("true") : STR("false"));
	put_properties(p, rows, marker);
	xml_close(&p->items, element);
	p->last_was_group = false;
	p->last_version = arena_str(p->c->a, rows_str(rows, 6));
	p->last_id = rows_int(rows, 8);
}

/* A version marker as given out here is "<version>.<row>", so that it works when the version is gone by the next page;
 * a bare version id is looked up. */
static int read_version_marker(struct s3_call *c, struct s3_page *p, struct str text, struct error *err)
{
	const ptrdiff_t dot = str_find_char(text, '.');
	if (dot >= 0 && str_to_i64(str_skip(text, (size_t)dot + 1), &p->before_id)) {
		p->scan.resume_at_marker = true;
		return 0;
	}
	struct db *db = store_read_begin(c->s->store, err);
	if (!db)
		return -1;
	struct s3_object o = { 0 };
	int rc = s3_call_bucket_now(c, db, err);
	if (rc == 0)
		rc = s3_object_find(db, c->a, c->bucket.id, p->scan.marker, text, false, &o, err);
	store_read_end(c->s->store, db);
	if (rc < 0)
		return -1;
	p->scan.resume_at_marker = true;
	p->before_id = rc > 0 ? o.id : INT64_MAX;
	return 0;
}

static void list_versions(struct s3_call *c, struct s3_page *p)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const struct str version_marker = s3_call_arg(c, "version-id-marker", NULL);
	p->owner = true;
	p->scan.marker = s3_call_arg(c, "key-marker", NULL);
	int rc = 0;
	if (version_marker.len && !p->scan.marker.len)
		rc = s3_error_argument(c, &err, "version-id-marker", version_marker,
				       "A version-id marker cannot be specified without a key marker.");
	else if (version_marker.len)
		rc = read_version_marker(c, p, version_marker, &err);
	if (rc < 0) {
		s3_call_fail(c, &err);
		return;
	}
	if (!s3_page_run(c, p))
		return;
	struct buf b = BUF_INIT;
	start(c, p, &b, "ListVersionsResult", false);
	s3_page_name(p, &b, "KeyMarker", p->scan.marker);
	xml_text(&b, "VersionIdMarker", version_marker);
	if (p->scan.truncated) {
		s3_page_name(p, &b, "NextKeyMarker", p->scan.last);
		if (!p->last_was_group)
			xml_text(&b, "NextVersionIdMarker",
				 str_from(arena_printf(c->a, "%.*s.%" PRId64, STR_ARG(p->last_version), p->last_id)));
	}
	finish(c, p, &b, "ListVersionsResult");
}

void s3_list_versions(struct s3_call *c)
{
	const struct s3_scan scan = { .kind = S3_SCAN_VERSIONS, .want = want_version, .row = put_version };
	answer_page(c, &scan, list_versions);
}
