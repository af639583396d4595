/* api_part.c - UploadPart and UploadPartCopy: where a part goes, and its row. See upload.h. */
#include "s3/upload.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define DRAFT_MAX (8ll << 40) /* file systems have an end */

/* ---- live uploads ---- */

struct s3_live_upload *s3_live_get(struct s3 *s, struct str id)
{
	struct s3_live_upload *live = map_get(&s->uploads, id);
	if (!live) {
		live = mem_calloc(1, sizeof(*live));
		live->id = str_of(mem_strndup(id.ptr, id.len), id.len);
		map_set(&s->uploads, live->id, live);
	}
	live->refs++;
	return live;
}

static void live_put_locked(struct s3 *s, struct s3_live_upload *live)
{
	if (--live->refs > 0)
		return;
	map_remove(&s->uploads, live->id);
	free(live->claimed);
	free((char *)live->id.ptr);
	free(live);
}

void s3_live_put(struct s3 *s, struct s3_live_upload *live)
{
	pthread_mutex_lock(&s->uploads_lock);
	live_put_locked(s, live);
	pthread_mutex_unlock(&s->uploads_lock);
}

static bool is_claimed(const struct s3_live_upload *live, int number)
{
	for (int i = 0; i < live->nclaimed; i++)
		if (live->claimed[i] == number)
			return true;
	return false;
}

static void claim(struct s3_live_upload *live, int number)
{
	if (live->nclaimed == live->cap) {
		live->cap = live->cap ? live->cap * 2 : 16;
		live->claimed = mem_realloc(live->claimed, (size_t)live->cap * sizeof(int));
	}
	live->claimed[live->nclaimed++] = number;
}

void s3_part_release(struct s3_call *c)
{
	struct s3_upload_part *p = c->part;
	if (!p || !p->live)
		return;
	struct s3_live_upload *live = p->live;
	p->live = NULL;
	pthread_mutex_lock(&c->s->uploads_lock);
	for (int i = 0; p->in_draft && i < live->nclaimed; i++)
		if (live->claimed[i] == p->number) {
			live->claimed[i] = live->claimed[--live->nclaimed];
			break;
		}
	live_put_locked(c->s, live);
	pthread_mutex_unlock(&c->s->uploads_lock);
}

/* ---- where it goes ---- */

/* A row says that this number is in the draft. */
static int row_in_draft(struct db *db, const struct s3_upload_part *p, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	return db_row(db, &rows, err, "SELECT 1 FROM s3_part WHERE upload=? AND number=? AND blob=?", "SiS",
		      p->upload.id, (int64_t)p->number, p->upload.blob);
}

/* Decides with uploads_lock held; the snapshot is younger than the lock, so it has every row whose claim is gone. */
static int choose_place(struct s3_call *c, struct db *db, int64_t length, struct error *err)
{
	struct s3_upload_part *p = c->part;
	if (s3_call_bucket_now(c, db, err) < 0 || s3_upload_find(c, db, &p->upload, err) < 0)
		return -1;
	struct s3_live_upload *live = p->live = s3_live_get(c->s, p->upload.id);
	if (live->stride == 0)
		live->stride = p->upload.stride;
	if (length <= 0 || live->sealed || is_claimed(live, p->number))
		return 0;
	const int64_t stride = live->stride ? live->stride : length;
	if (length > stride || (p->number - 1) * stride + length > DRAFT_MAX)
		return 0;
	const int taken = row_in_draft(db, p, err);
	if (taken != 0)
		return taken < 0 ? -1 : 0;
	live->stride = p->stride = stride;
	claim(live, p->number);
	p->in_draft = true;
	return 0;
}

static int place(struct s3_call *c, int64_t length, struct error *err)
{
	pthread_mutex_lock(&c->s->uploads_lock);
	struct db *db = store_read_begin(c->s->store, err);
	const int rc = db ? choose_place(c, db, length, err) : -1;
	if (db)
		store_read_end(c->s->store, db);
	pthread_mutex_unlock(&c->s->uploads_lock);
	return rc;
}

/* The body's checksum has to be of the upload's kind. */
static int check_algo(struct s3_call *c, struct error *err)
{
	enum checksum_algo want;
	bool composite;
	s3_upload_checksum(c->part->upload.checksum, &want, &composite);
	if (want == CHECKSUM_NONE || c->body.algo == want)
		return 0;
	return s3_error_text(err, "InvalidRequest",
			     "Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s",
			     checksum_word(want), c->body.algo == CHECKSUM_NONE ? "null" : checksum_word(c->body.algo));
}

static int open_part(struct s3_call *c, int64_t length, struct error *err)
{
	struct s3_upload_part *p = c->part;
	enum checksum_algo algo;
	bool composite;
	if (place(c, length, err) < 0)
		return -1;
	s3_upload_checksum(p->upload.checksum, &algo, &composite);
	c->body.algo_default = algo == CHECKSUM_NONE ? s3_body_algo(c) : algo;
	c->body.no_memory = true;
	if (s3_body_open(c, S3_BODY_DATA, length, err) < 0 || check_algo(c, err) < 0)
		return -1;
	if (!p->in_draft)
		return s3_body_to_file(c, err);
	const int fd = blob_draft_open(c->s->blobs, p->upload.blob.ptr, err);
	if (fd < 0)
		return -1;
	c->body.limit_bytes = p->stride;
	s3_body_to_draft(c, fd, (p->number - 1) * p->stride);
	return 0;
}

static int read_number(struct s3_call *c, struct error *err)
{
	int64_t number;
	bool present;
	const struct str text = s3_call_arg(c, "partNumber", &present);
	if (!str_to_i64(text, &number) || number < 1 || number > S3_PARTS_MAX)
		return s3_error_argument(c, err, "partNumber", text,
					 "Part number must be an integer between 1 and 10000, inclusive");
	c->part = ARENA_NEW(c->a, struct s3_upload_part);
	c->part->number = (int)number;
	return 0;
}

int s3_part_begin(struct s3_call *c, struct error *err)
{
	if (read_number(c, err) < 0)
		return -1;
	if (!s3_call_header(c, "content-length").ptr && !s3_call_header(c, "transfer-encoding").ptr)
		return s3_error(err, "MissingContentLength");
	return open_part(c, wire_body_length(c->r), err);
}

/* ---- its row ---- */

static int replace_row(struct s3_call *c, struct turn *t, struct str blob, int64_t position, struct error *err)
{
	const struct s3_upload_part *p = c->part;
	struct str old = STR("");
	{
		CLEANUP_ROWS struct rows rows = { 0 };
		const int rc = db_row(turn_db(t), &rows, err, "SELECT blob FROM s3_part WHERE upload=? AND number=?",
				      "Si", p->upload.id, (int64_t)p->number);
		if (rc < 0)
			return -1;
		if (rc > 0)
			old = arena_str(turn_arena(t), rows_str(&rows, 0));
	}
	if (old.len && db_exec(turn_db(t), err, "DELETE FROM s3_part WHERE upload=? AND number=?", "Si", p->upload.id,
			       (int64_t)p->number) < 0)
		return -1;
	if (db_exec(turn_db(t), err,
		    "INSERT INTO s3_part (upload, number, size, modified_ms, etag, checksum, blob, position) VALUES "
		    "(?,?,?,?,?,?,?,?)",
		    "SiiiSSSi", p->upload.id, (int64_t)p->number, c->object.size_bytes, turn_now_ms(t), c->object.etag,
		    c->object.checksum, blob, position) < 0)
		return -1;
	return s3_blob_release(t, old, err);
}

static int write_part(struct s3_call *c, struct turn *t, struct error *err)
{
	struct s3_upload_part *p = c->part;
	struct s3_upload now;
	if (s3_call_bucket_now(c, turn_db(t), err) < 0 || s3_upload_find(c, turn_db(t), &now, err) < 0)
		return -1;
	if (p->in_draft && now.stride != 0 && now.stride != p->stride)
		return error_set(err, "upload `%s` has two strides", now.id.ptr);
	const struct str blob = p->in_draft ? p->upload.blob : c->object.blob;
	if (replace_row(c, t, blob, p->in_draft ? (p->number - 1) * p->stride : 0, err) < 0)
		return -1;
	c->object.modified_ms = turn_now_ms(t);
	return db_exec(turn_db(t), err, "UPDATE s3_upload SET changes=changes+1, stride=? WHERE id=?", "iS",
		       p->in_draft ? p->stride : now.stride, p->upload.id) < 0
		       ? -1
		       : 0;
}

static void answer_part(struct s3_call *c)
{
	const struct s3_checksum sum = s3_checksum_parse(c->object.checksum);
	wire_set_header(c->r, "ETag", arena_printf(c->a, "\"%.*s\"", STR_ARG(c->object.etag)));
	if (sum.algo != CHECKSUM_NONE)
		s3_call_sethdr(c, checksum_header(sum.algo), sum.value);
	c->object.version = STR("");
	c->object.headers = c->part->upload.headers;
	s3_put_headers(c);
	s3_call_send(c, 200, STR(""));
}

static void store_part(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (s3_put_take_body(c, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_write(c, write_part, answer_part);
}

void s3_upload_part(struct s3_call *c)
{
	s3_call_block(c, store_part);
}

/* ---- UploadPartCopy ---- */

static int read_range(struct s3_call *c, struct error *err)
{
	struct s3_upload_part *p = c->part;
	const int64_t size = p->source.object.size_bytes;
	const struct str text = s3_call_header(c, "x-amz-copy-source-range");
	p->from = 0;
	p->length = size;
	if (!text.ptr)
		return 0;
	const ptrdiff_t dash = str_find_char(text, '-');
	int64_t first, last;
	if (!str_starts(text, STR("bytes=")) || dash < 0 ||
	    !str_to_i64(str_head(str_skip(text, 6), (size_t)dash - 6), &first) ||
	    !str_to_i64(str_skip(text, (size_t)dash + 1), &last) || first < 0 || last < first)
		return s3_error_argument(
			c, err, "x-amz-copy-source-range", text,
			"The x-amz-copy-source-range value must be of the form bytes=first-last where first and last "
			"are the zero-based offsets of the first and last bytes to copy");
	if (first >= size)
		return s3_error_text(err, "InvalidRequest",
				     "The specified copy range is invalid for the source object size");
	if (last >= size)
		return s3_error_argument(
			c, err, "x-amz-copy-source-range", text,
			arena_printf(c->a, "Range specified is not valid for source object of size: %" PRId64, size));
	p->from = first;
	p->length = last + 1 - first;
	return 0;
}

static void answer_copy(struct s3_call *c)
{
	struct buf b = BUF_INIT;
	s3_xml_start(&b, "CopyPartResult");
	s3_xml_time(&b, "LastModified", c->object.modified_ms);
	s3_xml_etag(&b, c->object.etag);
	s3_checksum_xml(&b, c->object.checksum, false);
	xml_close(&b, "CopyPartResult");
	if (c->part->source.bucket.versioning != S3_UNVERSIONED)
		s3_call_sethdr(c, "x-amz-copy-source-version-id", c->part->source.object.version);
	s3_call_send_xml(c, 200, &b);
}

static int add_piece(void *ctx, const void *p, size_t n, struct error *err)
{
	return s3_body_add(ctx, p, n, err);
}

static int copy_part(struct s3_call *c, struct error *err)
{
	struct s3_upload_part *p = c->part;
	CLEANUP_FD int fd = -1;
	if (s3_source_open(c, &p->source, &fd, err) < 0 || read_range(c, err) < 0 || open_part(c, p->length, err) < 0)
		return -1;
	if (s3_source_read(&p->source.object, fd, p->from, p->length, add_piece, c, err) < 0)
		return -1;
	return s3_put_take_body(c, err);
}

static void copy_part_now(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (copy_part(c, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_write(c, write_part, answer_copy);
}

void s3_upload_part_copy(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (read_number(c, &err) < 0 || s3_source_parse(c, &c->part->source, &err) < 0 || s3_meta_refuse(c, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_block(c, copy_part_now);
}
