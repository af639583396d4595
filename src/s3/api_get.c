/* api_get.c - GetObject, HeadObject, GetObjectAttributes.
 *
 * DESIGN: one snapshot finds bucket and row; small bodies come with the row, large ones are sent from their file with
 * sendfile. The file is opened while the row is certain, and removal waits a minute after the row went, so a reader
 * sees one version whole. */
#include "s3/room.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

/* ---- which version ---- */

static bool version_valid(struct str v)
{
	if (str_eqz(v, "null"))
		return true;
	for (size_t i = 0; i < v.len; i++)
		if (!((v.ptr[i] >= 'a' && v.ptr[i] <= 'z') || (v.ptr[i] >= '0' && v.ptr[i] <= '9')))
			return false;
	return v.len == 32;
}

int s3_call_version(struct s3_call *c, struct str *version, struct error *err)
{
	bool present;
	*version = s3_call_arg(c, "versionId", &present);
	if (!present)
		return 0;
	if (!version->len)
		return s3_error_argument(c, err, "versionId", *version, "Version id cannot be the empty string");
	return version_valid(*version)
		       ? 0
		       : s3_error_argument(c, err, "versionId", *version, "Invalid version id specified");
}

void s3_call_version_header(struct s3_call *c, const struct s3_object *o)
{
	if (c->bucket.versioning != S3_UNVERSIONED && o->version.len)
		s3_call_sethdr(c, "x-amz-version-id", o->version);
}

static int no_current(struct s3_call *c, struct db *db, struct error *err)
{
	if (c->bucket.versioning == S3_UNVERSIONED)
		return s3_access_missing(c, "NoSuchKey", err);
	struct s3_object marker;
	const int rc = s3_object_newest(db, c->a, c->bucket.id, c->key, &marker, err);
	if (rc < 0)
		return -1;
	if (rc > 0 && marker.marker) {
		wire_set_header(c->r, "x-amz-delete-marker", "true");
		s3_call_version_header(c, &marker);
	}
	return s3_access_missing(c, "NoSuchKey", err);
}

int s3_call_object(struct s3_call *c, struct db *db, bool with_body, struct s3_object *out, struct error *err)
{
	struct str version;
	if (s3_call_version(c, &version, err) < 0)
		return -1;
	const int rc = s3_object_find(db, c->a, c->bucket.id, c->key, version, with_body, out, err);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return version.ptr ? s3_access_missing(c, "NoSuchVersion", err) : no_current(c, db, err);
	if (!out->marker)
		return 0;
	char text[40];
	wire_set_header(c->r, "x-amz-delete-marker", "true");
	wire_set_header(c->r, "Allow", "DELETE");
	wire_set_header(c->r, "Last-Modified", clock_http(out->modified_ms, text));
	s3_call_version_header(c, out);
	s3_call_detail(c, "ResourceType", STR("DeleteMarker"));
	return s3_error(err, "MethodNotAllowed");
}

/* ---- parts of a multipart object ---- */

/* Walks "<upload id> <size>:<checksum> ...". False at the end. */
bool s3_parts_next(struct str *rest, int64_t *size_bytes, struct str *checksum)
{
	struct str piece;
	if (!rest->ptr || !str_split(rest, ' ', &piece))
		return false;
	const ptrdiff_t colon = str_find_char(piece, ':');
	*checksum = colon < 0 ? STR("") : str_skip(piece, (size_t)colon + 1);
	return str_to_i64(colon < 0 ? piece : str_head(piece, (size_t)colon), size_bytes);
}

struct str s3_parts_list(struct str parts)
{
	struct str first;
	if (!parts.len || !str_split(&parts, ' ', &first))
		return STR_NULL;
	return parts;
}

static int parts_count(struct str parts)
{
	struct str rest = s3_parts_list(parts), sum;
	int64_t size;
	int n = 0;
	while (s3_parts_next(&rest, &size, &sum))
		n++;
	return n;
}

/* ---- ranges ---- */

struct span {
	int64_t from, length;
	bool partial;
	int part; /* asked by number */
	struct str part_sum;
};

/* "bytes=a-b", "bytes=a-", "bytes=-n": 1 understood, 0 to be ignored (syntax, several ranges), -1 not satisfiable. */
int s3_range_parse(struct str text, int64_t size, int64_t *from, int64_t *length)
{
	text = str_trim(text);
	if (!str_starts(text, STR("bytes=")) || str_find_char(text, ',') >= 0)
		return 0;
	text = str_trim(str_skip(text, 6));
	const ptrdiff_t dash = str_find_char(text, '-');
	if (dash < 0)
		return 0;
	const struct str first = str_trim(str_head(text, (size_t)dash)),
			 last = str_trim(str_skip(text, (size_t)dash + 1));
	int64_t a = 0, b = 0;
	if ((first.len && (!str_to_i64(first, &a) || a < 0)) || (last.len && (!str_to_i64(last, &b) || b < 0)) ||
	    (!first.len && !last.len))
		return 0;
	if (!first.len) {
		if (b == 0 || size == 0)
			return -1;
		*from = b > size ? 0 : size - b;
		*length = size - *from;
		return 1;
	}
	if (last.len && b < a)
		return 0;
	if (a >= size)
		return -1;
	*from = a;
	*length = (last.len && b < size ? b + 1 : size) - a;
	return 1;
}

static int find_part(struct s3_call *c, const struct s3_object *o, struct span *s, struct error *err)
{
	struct str rest = s3_parts_list(o->parts), sum = STR("");
	int64_t size = o->size_bytes, from = 0;
	int n = 1;
	if (o->parts.len) {
		for (n = 0; s3_parts_next(&rest, &size, &sum) && ++n < s->part;)
			from += size;
	}
	if (n != s->part) {
		s3_call_detail(c, "PartNumberRequested", str_from(arena_printf(c->a, "%d", s->part)));
		s3_call_detail(c, "ActualPartCount",
			       str_from(arena_printf(c->a, "%d", o->parts.len ? parts_count(o->parts) : 1)));
		return s3_error(err, "InvalidPartNumber");
	}
	/* an empty part has no bytes that a range could name */
	*s = (struct span){ .from = from, .length = size, .partial = size > 0, .part = s->part, .part_sum = sum };
	return 0;
}

static int choose_span(struct s3_call *c, const struct s3_object *o, struct span *s, struct error *err)
{
	const struct str range = s3_call_header(c, "range");
	int64_t number;
	*s = (struct span){ .length = o->size_bytes };
	if (s3_call_int(c, "partNumber", 1, S3_PARTS_MAX, 0, &number, err) < 0)
		return -1;
	if (number > 0) {
		if (range.ptr)
			return s3_error_text(err, "InvalidRequest",
					     "Cannot specify both Range header and partNumber query parameter");
		s->part = (int)number;
		return find_part(c, o, s, err);
	}
	if (!range.ptr)
		return 0;
	const int rc = s3_range_parse(range, o->size_bytes, &s->from, &s->length);
	if (rc < 0) {
		s3_call_detail(c, "RangeRequested", range);
		s3_call_detail(c, "ActualObjectSize", str_from(arena_printf(c->a, "%" PRId64, o->size_bytes)));
		wire_set_header(c->r, "Content-Range", arena_printf(c->a, "bytes */%" PRId64, o->size_bytes));
		return s3_error(err, "InvalidRange");
	}
	s->partial = rc > 0;
	return 0;
}

/* ---- headers ---- */

static const struct {
	const char *arg, *header;
} overrides[] = {
	{ "response-content-type", "Content-Type" },
	{ "response-content-language", "Content-Language" },
	{ "response-expires", "Expires" },
	{ "response-cache-control", "Cache-Control" },
	{ "response-content-disposition", "Content-Disposition" },
	{ "response-content-encoding", "Content-Encoding" },
};

struct header_set {
	struct s3_call *c;
	bool overridden[sizeof(overrides) / sizeof(*overrides)], typed;
};

static void set_stored(void *ctx, struct str name, struct str value)
{
	struct header_set *h = ctx;
	for (size_t i = 0; i < sizeof(overrides) / sizeof(*overrides); i++)
		if (h->overridden[i] && str_eq_nocase(name, str_from(overrides[i].header)))
			return;
	if (str_eq_nocase(name, STR("Content-Type")))
		h->typed = true;
	/* a header without a value doesn't leave the server; a space is no value either */
	wire_set_header(h->c->r, arena_strdup(h->c->a, name), value.len ? arena_strdup(h->c->a, value) : " ");
}

static int set_headers(struct s3_call *c, const struct s3_object *o, const struct span *s, struct error *err)
{
	struct header_set h = { .c = c };
	char text[40];
	for (size_t i = 0; i < sizeof(overrides) / sizeof(*overrides); i++) {
		bool present;
		const struct str value = s3_call_arg(c, overrides[i].arg, &present);
		if (!present)
			continue;
		if (str_find_char(value, '\n') >= 0 || str_find_char(value, '\r') >= 0)
			return s3_error_argument(c, err, overrides[i].arg, STR(""),
						 "A header value must not contain line breaks.");
		h.overridden[i] = true;
		h.typed = h.typed || i == 0;
		s3_call_sethdr(c, overrides[i].header, value);
	}
	s3_meta_each(o->headers, set_stored, &h);
	if (!h.typed)
		wire_set_header(c->r, "Content-Type", "binary/octet-stream");
	wire_set_header(c->r, "Accept-Ranges", "bytes");
	wire_set_header(c->r, "ETag", arena_printf(c->a, "\"%.*s\"", STR_ARG(o->etag)));
	wire_set_header(c->r, "Last-Modified", clock_http(o->modified_ms, text));
	s3_call_version_header(c, o);
	s3_lifecycle_header(c, o);
	if (o->tags.len)
		wire_set_header(c->r, "x-amz-tagging-count", arena_printf(c->a, "%d", s3_tags_count(o->tags)));
	if (o->storage.len)
		s3_call_sethdr(c, "x-amz-storage-class", o->storage);
	if (s->part && o->parts.len)
		wire_set_header(c->r, "x-amz-mp-parts-count", arena_printf(c->a, "%d", parts_count(o->parts)));
	if (s->partial)
		wire_set_header(c->r, "Content-Range",
				arena_printf(c->a, "bytes %" PRId64 "-%" PRId64 "/%" PRId64, s->from,
					     s->from + s->length - 1, o->size_bytes));
	return 0;
}

static void set_checksum(struct s3_call *c, const struct s3_object *o, const struct span *s)
{
	if (!str_eq_nocase(s3_call_header(c, "x-amz-checksum-mode"), STR("ENABLED")))
		return;
	const struct s3_checksum whole = s3_checksum_parse(o->checksum);
	if (!s->partial)
		s3_checksum_headers(c, o->checksum);
	else if (s->part && s->part_sum.len && whole.algo != CHECKSUM_NONE) {
		s3_call_sethdr(c, checksum_header(whole.algo), s->part_sum);
		wire_set_header(c->r, "x-amz-checksum-type", whole.composite ? "COMPOSITE" : "FULL_OBJECT");
	}
}

static void not_modified(struct s3_call *c, const struct s3_object *o)
{
	char text[40];
	wire_set_header(c->r, "ETag", arena_printf(c->a, "\"%.*s\"", STR_ARG(o->etag)));
	wire_set_header(c->r, "Last-Modified", clock_http(o->modified_ms, text));
	s3_call_version_header(c, o);
	s3_call_send(c, 304, STR(""));
}

/* ---- GetObject, HeadObject ---- */

static void send_object(struct s3_call *c, const struct s3_object *o, int *fd)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct span s;
	const int condition = s3_meta_read_conditions(c, false, o, &err);
	if (condition == 304) {
		not_modified(c, o);
		return;
	}
	if (condition < 0 || choose_span(c, o, &s, &err) < 0 || set_headers(c, o, &s, &err) < 0) {
		s3_call_fail(c, &err);
		return;
	}
	set_checksum(c, o, &s);
	const int status = s.partial ? 206 : 200;
	if (str_eqz(c->method, "HEAD")) {
		wire_set_header(c->r, "Content-Length", arena_printf(c->a, "%" PRId64, s.length));
		s3_call_send(c, status, STR(""));
		return;
	}
	if (*fd < 0) {
		s3_call_send(c, status, str_head(str_skip(o->body, (size_t)s.from), (size_t)s.length));
		return;
	}
	const int file = *fd;
	*fd = -1;
	s3_call_send_file(c, status, file, s.from, s.length);
}

/* The usual GET in one query; what it doesn't find gets its error the long way. */
static int find_object(struct s3_call *c, struct db *db, struct s3_object *o, struct error *err)
{
	bool versioned;
	s3_call_arg(c, "versionId", &versioned);
	if (!versioned) {
		const int rc = s3_object_find_in(db, c->a, c->bucket_name, c->key, &c->bucket, o, err);
		if (rc != 0)
			return rc < 0 ? rc : s3_call_owner(c, err);
	}
	return s3_call_bucket_now(c, db, err) < 0 ? -1 : s3_call_object(c, db, true, o, err);
}

void s3_get_object(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_FD int fd = -1;
	struct s3_object o = { 0 };
	struct db *db = store_read_begin(c->s->store, &err);
	int rc = db ? find_object(c, db, &o, &err) : -1;
	if (rc == 0 && o.blob.len && !str_eqz(c->method, "HEAD"))
		rc = fd = blob_open(c->s->blobs, o.blob.ptr, &err);
	if (db)
		store_read_end(c->s->store, db);
	if (rc < 0)
		s3_call_fail(c, &err);
	else
		send_object(c, &o, &fd);
}

/* ---- GetObjectAttributes ---- */

struct wanted {
	const char *name;
	bool found;
};

/* The attributes come in one header or, as Go's SDK sends them, each in one of its own. */
static void look_in_header(void *ctx, struct str header, struct str list)
{
	struct wanted *w = ctx;
	struct str one;
	if (!str_eq_nocase(header, STR("x-amz-object-attributes")))
		return;
	while (str_split(&list, ',', &one))
		w->found |= str_eqz(str_trim(one), w->name);
}

static bool wants(struct s3_call *c, const char *name)
{
	struct wanted w = { name, false };
	s3_call_each_header(c, look_in_header, &w);
	return w.found;
}

static int header_int(struct s3_call *c, const char *name, int64_t absent, int64_t *out, struct error *err)
{
	const struct str text = s3_call_header(c, name);
	*out = absent;
	if (!text.ptr)
		return 0;
	if (!str_to_i64(text, out) || *out < 0)
		return s3_error_argument(c, err, name, text, "Argument must be a whole number that is not negative");
	return 0;
}

static int parts_xml(struct s3_call *c, struct buf *b, const struct s3_object *o, struct error *err)
{
	int64_t max, marker, size, n = 0, last = 0;
	struct str rest = s3_parts_list(o->parts), sum;
	const struct s3_checksum whole = s3_checksum_parse(o->checksum);
	if (header_int(c, "x-amz-max-parts", 1000, &max, err) < 0 ||
	    header_int(c, "x-amz-part-number-marker", 0, &marker, err) < 0)
		return -1;
	if (max > 1000)
		max = 1000;
	const int count = parts_count(o->parts);
	xml_open(b, "ObjectParts");
	xml_int(b, "PartsCount", count);
	xml_int(b, "PartNumberMarker", marker);
	last = marker;
	struct buf list = BUF_INIT;
	while (s3_parts_next(&rest, &size, &sum) && last - marker < max) {
		if (++n <= marker)
			continue;
		last = n;
		/* S3 lists the parts only of objects whose parts have checksums */
		if (!sum.len || whole.algo == CHECKSUM_NONE)
			continue;
		xml_open(&list, "Part");
		xml_int(&list, "PartNumber", n);
		xml_int(&list, "Size", size);
		xml_text(&list, checksum_element(whole.algo), sum);
		xml_close(&list, "Part");
	}
	xml_int(b, "NextPartNumberMarker", last);
	xml_int(b, "MaxParts", max);
	xml_text(b, "IsTruncated", last < count ? STR("true") : STR("false"));
	buf_add_str(b, buf_str(&list));
	buf_release(&list);
	xml_close(b, "ObjectParts");
	return 0;
}

static int attributes_xml(struct s3_call *c, struct buf *b, const struct s3_object *o, struct error *err)
{
	if (!s3_call_header(c, "x-amz-object-attributes").len)
		return s3_error_argument(c, err, "x-amz-object-attributes", STR(""),
					 "The x-amz-object-attributes header specifying the attributes to be retrieved "
					 "is either missing or empty");
	s3_xml_start(b, "GetObjectAttributesResponse");
	if (wants(c, "ETag"))
		xml_text(b, "ETag", o->etag);
	if (wants(c, "Checksum") && o->checksum.len) {
		xml_open(b, "Checksum");
		s3_checksum_xml(b, o->checksum, true);
		xml_close(b, "Checksum");
	}
	if (wants(c, "ObjectParts") && o->parts.len && parts_xml(c, b, o, err) < 0)
		return -1;
	if (wants(c, "StorageClass"))
		xml_text(b, "StorageClass", o->storage.len ? o->storage : STR("STANDARD"));
	if (wants(c, "ObjectSize"))
		xml_int(b, "ObjectSize", o->size_bytes);
	xml_close(b, "GetObjectAttributesResponse");
	return 0;
}

void s3_get_object_attributes(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = s3_call_read(c);
	if (!db)
		return;
	struct s3_object o;
	struct buf b = BUF_INIT;
	char text[40];
	int rc = s3_call_object(c, db, false, &o, &err);
	s3_call_read_end(c, db);
	if (rc == 0)
		rc = attributes_xml(c, &b, &o, &err);
	if (rc < 0) {
		buf_release(&b);
		s3_call_fail(c, &err);
		return;
	}
	wire_set_header(c->r, "Last-Modified", clock_http(o.modified_ms, text));
	s3_call_version_header(c, &o);
	s3_call_send_xml(c, 200, &b);
}
