/* api_upload.c - CreateMultipartUpload, AbortMultipartUpload, ListParts, ListMultipartUploads. See upload.h. */
#include "s3/upload.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/id.h"
#include "s3/list.h"

/* ---- rows ---- */

static struct str keep(struct arena *a, struct str s)
{
	return s.ptr ? arena_str(a, s) : STR("");
}

int s3_upload_find(struct s3_call *c, struct db *db, struct s3_upload *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const int rc = db_row(db, &rows, err,
			      "SELECT id, key, bucket, created_ms, checksum, storage, headers, tags, blob, stride, "
			      "changes, conflict FROM s3_upload WHERE id=?",
			      "S", s3_call_arg(c, "uploadId", NULL));
	if (rc < 0)
		return -1;
	if (rc == 0 || rows_int(&rows, 2) != c->bucket.id || !str_eq(rows_str(&rows, 1), c->key))
		return s3_error(err, "NoSuchUpload");
	*out = (struct s3_upload){
		.id = keep(c->a, rows_str(&rows, 0)),
		.key = c->key,
		.bucket = c->bucket.id,
		.created_ms = rows_int(&rows, 3),
		.checksum = keep(c->a, rows_str(&rows, 4)),
		.storage = keep(c->a, rows_str(&rows, 5)),
		.headers = keep(c->a, rows_str(&rows, 6)),
		.tags = keep(c->a, rows_str(&rows, 7)),
		.blob = keep(c->a, rows_str(&rows, 8)),
		.stride = rows_int(&rows, 9),
		.changes = rows_int(&rows, 10),
		.conflict = rows_int(&rows, 11) != 0,
	};
	return 0;
}

int s3_upload_parts(struct s3_call *c, struct db *db, struct str id, struct s3_part_row **parts, size_t *n,
		    struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	*n = 0;
	if (db_row(db, &rows, err, "SELECT COUNT(*) FROM s3_part WHERE upload=?", "S", id) < 0)
		return -1;
	const size_t cap = (size_t)rows_int(&rows, 0);
	*parts = ARENA_ARRAY(c->a, struct s3_part_row, cap + 1);
	if (db_query(db, &rows, err,
		     "SELECT number, size, modified_ms, etag, checksum, blob, position FROM s3_part WHERE upload=? "
		     "ORDER BY number",
		     "S", id) < 0)
		return -1;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0 && *n < cap)
		(*parts)[(*n)++] = (struct s3_part_row){
			.number = (int)rows_int(&rows, 0),
			.size_bytes = rows_int(&rows, 1),
			.modified_ms = rows_int(&rows, 2),
			.etag = keep(c->a, rows_str(&rows, 3)),
			.checksum = keep(c->a, rows_str(&rows, 4)),
			.blob = keep(c->a, rows_str(&rows, 5)),
			.position = rows_int(&rows, 6),
		};
	return rc < 0 ? -1 : 0;
}

/* The first column of all rows, in the turn's arena. */
static int read_column(struct turn *t, const char *sql, struct str arg, struct str **out, size_t *n, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	size_t cap = 16;
	*out = ARENA_ARRAY(turn_arena(t), struct str, cap);
	*n = 0;
	if (db_query(turn_db(t), &rows, err, sql, "S", arg) < 0)
		return -1;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		if (*n == cap) {
			struct str *more = ARENA_ARRAY(turn_arena(t), struct str, cap * 2);
			memcpy(more, *out, cap * sizeof(*more));
			*out = more;
			cap *= 2;
		}
		(*out)[(*n)++] = keep(turn_arena(t), rows_str(&rows, 0));
	}
	return rc;
}

int s3_upload_drop(struct turn *t, struct str id, struct str draft, struct error *err)
{
	struct str *blobs;
	size_t n;
	if (read_column(t, "SELECT DISTINCT blob FROM s3_part WHERE upload=?", id, &blobs, &n, err) < 0 ||
	    db_exec(turn_db(t), err, "DELETE FROM s3_part WHERE upload=?", "S", id) < 0 ||
	    db_exec(turn_db(t), err, "DELETE FROM s3_upload WHERE id=?", "S", id) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (s3_blob_release(t, blobs[i], err) < 0)
			return -1;
	return s3_blob_release(t, draft, err);
}

int s3_uploads_drop(struct turn *t, int64_t bucket, struct error *err)
{
	for (;;) {
		struct str id, draft;
		{
			CLEANUP_ROWS struct rows rows = { 0 };
			const int rc = db_row(turn_db(t), &rows, err,
					      "SELECT id, blob FROM s3_upload WHERE bucket=? LIMIT 1", "i", bucket);
			if (rc <= 0)
				return rc;
			id = keep(turn_arena(t), rows_str(&rows, 0));
			draft = keep(turn_arena(t), rows_str(&rows, 1));
		}
		if (s3_upload_drop(t, id, draft, err) < 0)
			return -1;
	}
}

void s3_upload_checksum(struct str stored, enum checksum_algo *algo, bool *composite)
{
	struct str name;
	*algo = CHECKSUM_NONE;
	*composite = false;
	if (!stored.len || !str_split(&stored, ' ', &name))
		return;
	*algo = checksum_from_name(name);
	*composite = str_eqz(stored, "COMPOSITE");
}

void s3_upload_checksum_xml(struct buf *b, struct str stored)
{
	enum checksum_algo algo;
	bool composite;
	s3_upload_checksum(stored, &algo, &composite);
	if (algo == CHECKSUM_NONE)
		return;
	xml_text(b, "ChecksumAlgorithm", str_from(checksum_name(algo)));
	xml_text(b, "ChecksumType", composite ? STR("COMPOSITE") : STR("FULL_OBJECT"));
}

/* ---- CreateMultipartUpload ---- */

static int read_checksum(struct s3_call *c, struct str *out, struct error *err)
{
	const struct str name = s3_call_header(c, "x-amz-checksum-algorithm"),
			 type = s3_call_header(c, "x-amz-checksum-type");
	const enum checksum_algo algo = checksum_from_name(name);
	*out = STR("");
	if (name.ptr && algo == CHECKSUM_NONE)
		return s3_error_text(err, "InvalidRequest",
				     "Checksum algorithm provided is unsupported. Please try again with any of the "
				     "valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]");
	if (type.ptr && !name.ptr)
		return s3_error_text(
			err, "InvalidRequest",
			"The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.");
	if (type.ptr && !str_eqz(type, "COMPOSITE") && !str_eqz(type, "FULL_OBJECT"))
		return s3_error_text(err, "InvalidRequest", "Value for x-amz-checksum-type header is invalid.");
	if (!name.ptr)
		return 0;
	const bool composite = type.ptr ? str_eqz(type, "COMPOSITE") : algo != CHECKSUM_CRC64NVME;
	if (composite ? algo == CHECKSUM_CRC64NVME : !checksum_is_crc(algo))
		return s3_error_text(err, "InvalidRequest",
				     "The %s checksum type cannot be used with the %s checksum algorithm.",
				     composite ? "COMPOSITE" : "FULL_OBJECT", checksum_word(algo));
	*out = str_from(arena_printf(c->a, "%s %s", checksum_name(algo), composite ? "COMPOSITE" : "FULL_OBJECT"));
	return 0;
}

/* Ids sort by time, so that a listing by id is one by time. */
static struct str new_id(struct s3_call *c, struct turn *t)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	char time[10] = { 0 };
	int64_t ms = turn_now_ms(t);
	for (int i = 8; i >= 0; i--, ms /= 36)
		time[i] = digits[ms % 36];
	return str_from(arena_printf(c->a, "%s%s", time, turn_id(t, 23)));
}

static int write_upload(struct s3_call *c, struct turn *t, struct error *err)
{
	struct s3_upload *u = c->work;
	if (s3_call_bucket_now(c, turn_db(t), err) < 0)
		return -1;
	u->id = new_id(c, t);
	u->created_ms = turn_now_ms(t);
	s3_meta_default(c->a, &c->bucket, &c->object);
	return db_exec(turn_db(t), err,
		       "INSERT INTO s3_upload (id, bucket, key, created_ms, checksum, storage, headers, tags, blob) "
		       "VALUES (?,?,?,?,?,?,?,?,?)",
		       "SibiSSSSS", u->id, c->bucket.id, c->key, u->created_ms, u->checksum, c->object.storage,
		       c->object.headers, c->object.tags, u->blob) < 0
		       ? -1
		       : 0;
}

static void answer_upload(struct s3_call *c)
{
	const struct s3_upload *u = c->work;
	enum checksum_algo algo;
	bool composite;
	struct buf b = BUF_INIT;
	s3_xml_start(&b, "InitiateMultipartUploadResult");
	xml_text(&b, "Bucket", c->bucket_name);
	xml_text(&b, "Key", c->key);
	xml_text(&b, "UploadId", u->id);
	xml_close(&b, "InitiateMultipartUploadResult");
	s3_upload_checksum(u->checksum, &algo, &composite);
	if (algo != CHECKSUM_NONE) {
		wire_set_header(c->r, "x-amz-checksum-algorithm", checksum_name(algo));
		wire_set_header(c->r, "x-amz-checksum-type", composite ? "COMPOSITE" : "FULL_OBJECT");
	}
	c->object.version = STR("");
	s3_put_headers(c);
	s3_lifecycle_abort_headers(c, c->key, u->created_ms);
	s3_call_send_xml(c, 200, &b);
}

static void make_draft(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct s3_upload *u = c->work;
	char id[BLOB_ID_LEN + 1];
	if (blob_draft_new(c->s->blobs, id, &err) < 0) {
		s3_call_fail(c, &err);
		return;
	}
	s3_body_adopt(c, id);
	u->blob = arena_str(c->a, str_from(id));
	s3_call_write(c, write_upload, answer_upload);
}

void s3_create_upload(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct s3_upload *u = ARENA_NEW(c->a, struct s3_upload);
	c->work = u;
	struct db *db = s3_call_read(c);
	if (!db)
		return;
	s3_call_read_end(c, db);
	if (s3_meta_read(c, &c->object, &err) < 0 || read_checksum(c, &u->checksum, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_block(c, make_draft);
}

/* ---- AbortMultipartUpload ---- */

static int write_abort(struct s3_call *c, struct turn *t, struct error *err)
{
	struct s3_upload u;
	if (s3_call_bucket_now(c, turn_db(t), err) < 0 || s3_upload_find(c, turn_db(t), &u, err) < 0)
		return -1;
	return s3_upload_drop(t, u.id, u.blob, err);
}

void s3_abort_upload(struct s3_call *c)
{
	s3_call_write(c, write_abort, s3_answer_204);
}

/* ---- ListParts ---- */

static void part_xml(struct buf *b, const struct s3_part_row *p)
{
	xml_open(b, "Part");
	xml_int(b, "PartNumber", p->number);
	s3_xml_time(b, "LastModified", p->modified_ms);
	s3_xml_etag(b, p->etag);
	xml_int(b, "Size", p->size_bytes);
	s3_checksum_xml(b, p->checksum, false);
	xml_close(b, "Part");
}

static void send_parts(struct s3_call *c, const struct s3_upload *u, const struct s3_part_row *parts, size_t n,
		       int64_t marker, int64_t max)
{
	struct buf list = BUF_INIT, b = BUF_INIT;
	int64_t shown = 0, last = 0;
	bool truncated = false;
	for (size_t i = 0; i < n && !truncated; i++) {
		if (parts[i].number <= marker)
			continue;
		truncated = shown == max;
		if (truncated)
			break;
		part_xml(&list, &parts[i]);
		last = parts[i].number;
		shown++;
	}
	s3_xml_start(&b, "ListPartsResult");
	xml_text(&b, "Bucket", c->bucket_name);
	xml_text(&b, "Key", c->key);
	xml_text(&b, "UploadId", u->id);
	s3_xml_owner(c->a, &b, "Initiator", str_from(c->who->account));
	s3_xml_owner(c->a, &b, "Owner", str_from(c->who->account));
	xml_text(&b, "StorageClass", u->storage.len ? u->storage : STR("STANDARD"));
	xml_int(&b, "PartNumberMarker", marker);
	xml_int(&b, "NextPartNumberMarker", last);
	xml_int(&b, "MaxParts", max);
	xml_text(&b, "IsTruncated", truncated ? STR("true") : STR("false"));
	s3_upload_checksum_xml(&b, u->checksum);
	s3_lifecycle_abort_headers(c, c->key, u->created_ms);
	buf_add_str(&b, buf_str(&list));
	buf_release(&list);
	xml_close(&b, "ListPartsResult");
	s3_call_send_xml(c, 200, &b);
}

void s3_list_parts(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct s3_upload u = { 0 };
	struct s3_part_row *parts = NULL;
	size_t n = 0;
	int64_t max = 0, marker = 0;
	struct db *db = s3_call_read(c);
	if (!db)
		return;
	int rc = s3_call_int(c, "max-parts", 0, INT32_MAX, 1000, &max, &err);
	if (rc == 0)
		rc = s3_call_int(c, "part-number-marker", 0, INT32_MAX, 0, &marker, &err);
	if (rc == 0)
		rc = s3_upload_find(c, db, &u, &err);
	if (rc == 0)
		rc = s3_upload_parts(c, db, u.id, &parts, &n, &err);
	s3_call_read_end(c, db);
	if (rc < 0)
		s3_call_fail(c, &err);
	else
		send_parts(c, &u, parts, n, marker, max > 1000 ? 1000 : max);
}

/* ---- ListMultipartUploads ---- */

static bool want_upload(void *ctx, struct rows *rows)
{
	const struct s3_page *p = ctx;
	return !p->scan.resume_at_marker || !str_eq(rows_str(rows, 0), p->scan.marker) ||
	       str_cmp(rows_str(rows, 1), p->after_upload) > 0;
}

static void put_upload(void *ctx, struct rows *rows)
{
	struct s3_page *p = ctx;
	struct buf *b = &p->items;
	const struct str storage = rows_str(rows, 4), account = str_from(p->c->who->account);
	p->last_was_group = false;
	p->last_upload = arena_str(p->c->a, rows_str(rows, 1));
	xml_open(b, "Upload");
	s3_page_name(p, b, "Key", rows_str(rows, 0));
	xml_text(b, "UploadId", p->last_upload);
	s3_xml_owner(p->c->a, b, "Initiator", account);
	s3_xml_owner(p->c->a, b, "Owner", account);
	xml_text(b, "StorageClass", storage.len ? storage : STR("STANDARD"));
	s3_xml_time(b, "Initiated", rows_int(rows, 2));
	s3_upload_checksum_xml(b, rows_str(rows, 3));
	xml_close(b, "Upload");
}

static void send_uploads(struct s3_call *c, struct s3_page *p)
{
	struct buf b = BUF_INIT;
	s3_xml_start(&b, "ListMultipartUploadsResult");
	xml_text(&b, "Bucket", c->bucket_name);
	s3_page_name(p, &b, "KeyMarker", p->scan.marker);
	xml_text(&b, "UploadIdMarker", p->after_upload);
	s3_page_name(p, &b, "NextKeyMarker", p->scan.last);
	xml_text(&b, "NextUploadIdMarker", p->last_was_group ? STR("") : p->last_upload);
	s3_page_name(p, &b, "Prefix", p->scan.prefix);
	if (p->scan.delimiter.len)
		s3_page_name(p, &b, "Delimiter", p->scan.delimiter);
	if (p->url)
		xml_text(&b, "EncodingType", STR("url"));
	xml_int(&b, "MaxUploads", p->scan.max);
	xml_text(&b, "IsTruncated", p->scan.truncated ? STR("true") : STR("false"));
	buf_add_str(&b, buf_str(&p->items));
	buf_add_str(&b, buf_str(&p->groups));
	xml_close(&b, "ListMultipartUploadsResult");
	s3_call_send_xml(c, 200, &b);
}

void s3_list_uploads(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct s3_page p;
	if (s3_page_read(c, "max-uploads", &p, &err) < 0) {
		s3_call_fail(c, &err);
		return;
	}
	p.scan.kind = S3_SCAN_UPLOADS;
	p.scan.want = want_upload;
	p.scan.row = put_upload;
	p.scan.marker = s3_call_arg(c, "key-marker", NULL);
	p.after_upload = s3_call_arg(c, "upload-id-marker", NULL);
	p.scan.resume_at_marker = p.scan.marker.len && p.after_upload.len;
	if (s3_page_run(c, &p))
		send_uploads(c, &p);
	s3_page_release(&p);
}
