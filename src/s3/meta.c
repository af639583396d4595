/* meta.c - what an object carries beside its bytes, and the conditions of requests.
 *
 * DESIGN: the headers to give back with an object are kept as "Name: value\n" lines, ready to send. Headers that ask
 * for something Quern doesn't do (ACLs other than the owner's, object lock, the client's own encryption keys) are
 * refused, never swallowed. x-amz-server-side-encryption is kept and echoed: encryption of the disk is the host's
 * business (docs). */
#include "s3/room.h"

#include "base/clock.h"

int s3_meta_line(struct s3_call *c, struct buf *lines, const char *name, struct str value, struct error *err)
{
	if (str_find_char(value, '\n') >= 0 || str_find_char(value, '\r') >= 0 || str_find_char(value, 0) >= 0)
		return s3_error_argument(c, err, name, STR(""), "A header value must not contain line breaks.");
	buf_addz(lines, name);
	buf_add(lines, ": ", 2);
	buf_add_str(lines, value);
	buf_add_char(lines, '\n');
	return 0;
}

void s3_meta_each(struct str headers, void (*fn)(void *ctx, struct str name, struct str value), void *ctx)
{
	struct str line;
	while (headers.len && str_split(&headers, '\n', &line)) {
		const ptrdiff_t colon = str_find_char(line, ':');
		if (colon > 0)
			fn(ctx, str_head(line, (size_t)colon), str_skip(line, (size_t)colon + 2));
	}
}

struct lookup {
	struct str name, value;
};

static void match_line(void *ctx, struct str name, struct str value)
{
	struct lookup *l = ctx;
	if (str_eq_nocase(name, l->name))
		l->value = value;
}

struct str s3_meta_get(struct str headers, const char *name)
{
	struct lookup l = { str_from(name), STR_NULL };
	s3_meta_each(headers, match_line, &l);
	return l.value;
}

/* ---- reading a write's headers ---- */

static bool known_acl(struct str acl)
{
	return !acl.ptr || str_eqz(acl, "private") || str_eqz(acl, "bucket-owner-full-control");
}

int s3_meta_refuse(struct s3_call *c, struct error *err)
{
	static const char *const grants[] = { "x-amz-grant-read", "x-amz-grant-write", "x-amz-grant-read-acp",
					      "x-amz-grant-write-acp", "x-amz-grant-full-control" };
	static const char *const absent[] = {
		"x-amz-object-lock-mode",
		"x-amz-object-lock-retain-until-date",
		"x-amz-object-lock-legal-hold",
		"x-amz-server-side-encryption-customer-algorithm",
		"x-amz-copy-source-server-side-encryption-customer-algorithm",
		"x-amz-write-offset-bytes",
	};
	if (!known_acl(s3_call_header(c, "x-amz-acl")))
		return s3_error(err, "AccessControlListNotSupported");
	for (size_t i = 0; i < sizeof(grants) / sizeof(*grants); i++)
		if (s3_call_header(c, grants[i]).ptr)
			return s3_error(err, "AccessControlListNotSupported");
	for (size_t i = 0; i < sizeof(absent) / sizeof(*absent); i++) {
		if (!s3_call_header(c, absent[i]).ptr)
			continue;
		s3_call_detail(c, "Header", str_from(absent[i]));
		return s3_error(err, "NotImplemented");
	}
	return 0;
}

/* "gzip,aws-chunked" -> "gzip" */
static struct str without_chunked(struct arena *a, struct str value)
{
	struct buf out = BUF_INIT;
	struct str piece;
	while (value.ptr && str_split(&value, ',', &piece)) {
		if (!str_trim(piece).len || str_eq_nocase(str_trim(piece), STR("aws-chunked")))
			continue;
		if (out.len)
			buf_addz(&out, ",");
		buf_add_str(&out, piece);
	}
	const struct str kept = arena_str(a, str_trim(buf_str(&out)));
	buf_release(&out);
	return kept;
}

struct collect {
	struct s3_call *c;
	struct buf *lines;
	struct error *err;
	size_t meta_bytes;
	int rc;
};

static void add_user_header(void *ctx, struct str name, struct str value)
{
	struct collect *k = ctx;
	if (k->rc < 0 || name.len <= 11 || !str_eq_nocase(str_head(name, 11), STR("x-amz-meta-")))
		return;
	char *lower = arena_strdup(k->c->a, name);
	for (char *p = lower; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 32);
	k->meta_bytes += name.len - 11 + value.len;
	k->rc = s3_meta_line(k->c, k->lines, lower, value, k->err);
}

bool s3_meta_encryption_known(struct str algo)
{
	return str_eqz(algo, "AES256") || str_eqz(algo, "aws:kms") || str_eqz(algo, "aws:kms:dsse");
}

void s3_meta_default(struct arena *a, const struct s3_bucket *b, struct s3_object *o)
{
	if (b->encryption.len && !s3_meta_get(o->headers, "x-amz-server-side-encryption").ptr)
		o->headers = str_from(arena_printf(a, "%.*s%.*s", STR_ARG(o->headers), STR_ARG(b->encryption)));
}

static int read_encryption(struct s3_call *c, struct buf *lines, struct error *err)
{
	static const char *const names[] = { "x-amz-server-side-encryption-aws-kms-key-id",
					     "x-amz-server-side-encryption-bucket-key-enabled" };
	const struct str algo = s3_call_header(c, "x-amz-server-side-encryption");
	if (!algo.ptr)
		return 0;
	if (!s3_meta_encryption_known(algo))
		return s3_error_argument(c, err, "x-amz-server-side-encryption", algo,
					 "The encryption method specified is not supported");
	if (s3_meta_line(c, lines, "x-amz-server-side-encryption", algo, err) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const struct str value = s3_call_header(c, names[i]);
		if (value.len && s3_meta_line(c, lines, names[i], value, err) < 0)
			return -1;
	}
	return 0;
}

int s3_meta_storage(struct s3_call *c, struct str value, struct str *out, struct error *err)
{
	static const char *const known[] = { "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "REDUCED_REDUNDANCY",
					     "GLACIER_IR" };
	*out = STR("");
	if (!value.len || str_eqz(value, "STANDARD"))
		return 0;
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (str_eqz(value, known[i])) {
			*out = str_from(known[i]);
			return 0;
		}
	s3_call_detail(c, "StorageClassRequested", value);
	return s3_error(err, "InvalidStorageClass");
}

static int read_lines(struct s3_call *c, struct buf *lines, struct error *err)
{
	static const char *const names[] = { "Content-Type",     "Content-Disposition",
					     "Content-Language", "Cache-Control",
					     "Expires",          "x-amz-website-redirect-location" };
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const struct str value = s3_call_header(c, names[i]);
		if (value.len && s3_meta_line(c, lines, names[i], value, err) < 0)
			return -1;
	}
	const struct str encoding = without_chunked(c->a, s3_call_header(c, "Content-Encoding"));
	if (encoding.len && s3_meta_line(c, lines, "Content-Encoding", encoding, err) < 0)
		return -1;
	struct collect k = { c, lines, err, 0, 0 };
	s3_call_each_header(c, add_user_header, &k);
	if (k.rc < 0)
		return -1;
	if (k.meta_bytes > S3_META_MAX)
		return s3_error(err, "MetadataTooLarge");
	return read_encryption(c, lines, err);
}

int s3_meta_read(struct s3_call *c, struct s3_object *o, struct error *err)
{
	CLEANUP_BUF struct buf lines = BUF_INIT;
	if (s3_meta_refuse(c, err) < 0 || read_lines(c, &lines, err) < 0)
		return -1;
	o->headers = arena_str(c->a, buf_str(&lines));
	if (s3_meta_storage(c, s3_call_header(c, "x-amz-storage-class"), &o->storage, err) < 0)
		return -1;
	const struct str tags = s3_call_header(c, "x-amz-tagging");
	o->tags = STR("");
	return tags.len ? s3_tags_parse_header(c, tags, &o->tags, err) : 0;
}

/* ---- conditions ---- */

static struct str bare_etag(struct str s)
{
	s = str_trim(s);
	if (str_starts(s, STR("W/")))
		s = str_skip(s, 2);
	if (s.len >= 2 && s.ptr[0] == '"' && s.ptr[s.len - 1] == '"')
		s = (struct str){ s.ptr + 1, s.len - 2 };
	return s;
}

/* A list of entity tags has this one. */
static bool etag_listed(struct str list, struct str etag)
{
	struct str one;
	while (list.ptr && str_split(&list, ',', &one)) {
		one = bare_etag(one);
		if (str_eqz(one, "*") || str_eq(one, etag))
			return true;
	}
	return false;
}

bool s3_meta_etag_is(struct str given, struct str etag)
{
	return str_eq(bare_etag(given), etag);
}

static int precondition(struct s3_call *c, const char *name, struct error *err)
{
	s3_call_detail(c, "Condition", str_from(name));
	return s3_error(err, "PreconditionFailed");
}

/* A condition that S3 has for reads and not for writes. */
static int not_taken(struct s3_call *c, const char *header, const char *why, struct error *err)
{
	s3_call_detail(c, "Header", str_from(header));
	s3_call_detail(c, "additionalMessage", str_from(why));
	return s3_error(err, "NotImplemented");
}

int s3_meta_write_conditions(struct s3_call *c, struct db *db, struct error *err)
{
	const struct str match = s3_call_header(c, "if-match"), none = s3_call_header(c, "if-none-match");
	if (!match.ptr && !none.ptr)
		return 0;
	if (match.ptr && none.ptr)
		return not_taken(c, "If-Match,If-None-Match",
				 "Multiple conditional request headers present in the request", err);
	if (none.ptr && !str_eqz(str_trim(none), "*"))
		return not_taken(c, "If-None-Match",
				 "We don't accept the provided value of If-None-Match header for this API", err);
	if (match.ptr && str_eqz(str_trim(match), "*"))
		return not_taken(c, "If-Match", "We don't accept the provided value of If-Match header for this API",
				 err);
	struct s3_object now;
	const int found = s3_object_find(db, c->a, c->bucket.id, c->key, STR_NULL, false, &now, err);
	if (found < 0)
		return -1;
	if (none.ptr && found)
		return precondition(c, "If-None-Match", err);
	if (match.ptr && !found)
		return s3_error(err, "NoSuchKey");
	if (match.ptr && !etag_listed(match, now.etag))
		return precondition(c, "If-Match", err);
	return 0;
}

static bool read_time(struct str value, int64_t *ms)
{
	return value.ptr && (clock_parse_http(str_trim(value), ms) || clock_parse_iso(str_trim(value), ms));
}

int s3_meta_read_conditions(struct s3_call *c, bool of_source, const struct s3_object *o, struct error *err)
{
	static const char *const own[] = { "if-match", "if-none-match", "if-unmodified-since", "if-modified-since" };
	static const char *const source[] = { "x-amz-copy-source-if-match", "x-amz-copy-source-if-none-match",
					      "x-amz-copy-source-if-unmodified-since",
					      "x-amz-copy-source-if-modified-since" };
	static const char *const told[2][4] = { { "If-Match", "If-Unmodified-Since", NULL, NULL },
						{ "x-amz-copy-source-If-Match", "x-amz-copy-source-If-Unmodified-Since",
						  "x-amz-copy-source-If-None-Match",
						  "x-amz-copy-source-If-Modified-Since" } };
	const char *const *name = of_source ? source : own, *const *tell = told[of_source];
	const struct str match = s3_call_header(c, name[0]), none = s3_call_header(c, name[1]);
	const int64_t modified_ms = o->modified_ms / 1000 * 1000;
	int64_t ms;
	if (match.ptr && !etag_listed(match, o->etag))
		return precondition(c, tell[0], err);
	if (!match.ptr && read_time(s3_call_header(c, name[2]), &ms) && modified_ms > ms)
		return precondition(c, tell[1], err);
	if (none.ptr && etag_listed(none, o->etag))
		return of_source ? precondition(c, tell[2], err) : 304;
	if (!none.ptr && read_time(s3_call_header(c, name[3]), &ms) && modified_ms <= ms && ms <= clock_now_ms())
		return of_source ? precondition(c, tell[3], err) : 304;
	return 0;
}
