/* registry_blob.c - blobs: look, read, upload (whole, in chunks, resumed), mount, delete. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/id.h"
#include "base/log.h"
#include "ecr/registry.h"

static const char *blob_location(struct rcall *c)
{
	return arena_printf(c->a, "/v2/%.*s/blobs/%.*s", STR_ARG(c->repo), STR_ARG(c->digest));
}

static void upload_headers(struct rcall *c)
{
	wire_set_header(c->r, "Location",
			arena_printf(c->a, "/v2/%.*s/blobs/uploads/%s", STR_ARG(c->repo), c->upload.id));
	wire_set_header(c->r, "Docker-Upload-Uuid", c->upload.id);
	wire_set_header(
		c->r, "Range",
		arena_printf(c->a, "0-%lld", (long long)(c->upload.size_bytes > 0 ? c->upload.size_bytes - 1 : 0)));
}

static int unknown_blob(struct rcall *c, struct error *err)
{
	return registry_error(err, "BLOB_UNKNOWN", "the blob %.*s is not in this repository", STR_ARG(c->rest));
}

/* ---- GET and HEAD ---- */

/* "bytes=a-b", "bytes=a-", "bytes=-n": 1 a range, 0 no (or another) range, -1 outside. */
static int parse_range(struct str header, int64_t size, int64_t *from, int64_t *length)
{
	int64_t a = -1, b = -1;
	if (!str_starts(header, STR("bytes=")) || str_find_char(header, ',') >= 0)
		return 0;
	header = str_skip(header, 6);
	ptrdiff_t dash = str_find_char(header, '-');
	if (dash < 0 || (dash > 0 && !str_to_i64(str_head(header, (size_t)dash), &a)))
		return -1;
	struct str last = str_skip(header, (size_t)dash + 1);
	if ((last.len && !str_to_i64(last, &b)) || (a < 0 && b < 0))
		return -1;
	if (a < 0) {
		a = b < size ? size - b : 0;
		b = size - 1;
	}
	if (!last.len || b >= size)
		b = size - 1;
	if (a >= size || a > b)
		return -1;
	*from = a;
	*length = b - a + 1;
	return 1;
}

static int write_touch(struct rcall *c, struct turn *t, struct error *err)
{
	int rc = ecr_blob_touch(t, c->repo, c->rest, turn_now_ms(t), err);
	return rc == 0 ? unknown_blob(c, err) : rc < 0 ? -1 : 0;
}

static void answer_head(struct rcall *c)
{
	rcall_send(c, c->partial ? 206 : 200, STR(""));
}

static void send_blob(struct rcall *c, const char *blob, int64_t size)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int64_t from = 0, length = size;
	int range = parse_range(wire_header(c->r, "Range"), size, &from, &length);
	wire_set_header(c->r, "Docker-Content-Digest", arena_strdup(c->a, c->rest));
	wire_set_header(c->r, "Content-Type", "application/octet-stream");
	wire_set_header(c->r, "Accept-Ranges", "bytes");
	wire_set_header(c->r, "ETag", arena_printf(c->a, "\"%.*s\"", STR_ARG(c->rest)));
	if (range < 0) {
		wire_set_header(c->r, "Content-Range", arena_printf(c->a, "bytes */%lld", (long long)size));
		registry_error(&err, "RANGE_INVALID", "the range is outside of the blob");
		rcall_fail(c, &err);
		return;
	}
	if (range)
		wire_set_header(c->r, "Content-Range",
				arena_printf(c->a, "bytes %lld-%lld/%lld", (long long)from,
					     (long long)(from + length - 1), (long long)size));
	if (str_eqz(c->method, "HEAD")) {
		wire_set_header(c->r, "Content-Length", arena_printf(c->a, "%lld", (long long)length));
		c->partial = range != 0;
		if (c->touch)
			rcall_write(c, write_touch, answer_head);
		else
			answer_head(c);
		return;
	}
	int fd = blob_open(c->e->o.blobs, blob, &err);
	if (fd < 0)
		rcall_fail(c, &err);
	else
		wire_send_fd(c->r, range ? 206 : 200, fd, from, length);
}

static void get_blob(struct rcall *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *blob = NULL;
	int64_t size = 0;
	struct db *db = rcall_read(c);
	if (!db)
		return;
	int rc = ecr_digest_valid(c->rest) ? ecr_blob_find(db, c->a, c->repo, c->rest, &blob, &size, &err)
					   : registry_error(&err, "DIGEST_INVALID", "malformed digest");
	/* Who is told that it is here may count on it for its push. */
	c->touch = rc == 1 && str_eqz(c->method, "HEAD");
	store_read_end(c->e->store, db);
	if (rc == 0)
		rc = unknown_blob(c, &err);
	if (rc < 0)
		rcall_fail(c, &err);
	else
		send_blob(c, blob, size);
}

/* ---- starting ---- */

/* The repository may have gone since the request began. */
static int need_repository(struct rcall *c, struct turn *t, struct error *err)
{
	return ecr_repo_need(c->e, turn_db(t), c->a, c->repo, &c->repository, err);
}

static int write_mount(struct rcall *c, struct turn *t, struct error *err)
{
	const char *blob;
	int64_t size;
	struct str from = wire_query_arg(c->r, "from", NULL);
	CLEANUP_ROWS struct rows rows = { 0 };
	/* Without `from` any repository that has it will do. */
	int rc = from.len ? ecr_blob_find(turn_db(t), c->a, from, c->digest, &blob, &size, err)
			  : db_row(turn_db(t), &rows, err, "SELECT 1 FROM ecr_blob WHERE digest=?", "S", c->digest);
	rows_done(&rows);
	c->existed = rc == 1;
	if (rc < 0 || need_repository(c, t, err) < 0)
		return -1;
	return rc == 1 ? ecr_blob_add(t, c->repo, c->digest, NULL, 0, err) : ecr_upload_insert(t, &c->upload, err);
}

static void answer_created(struct rcall *c)
{
	wire_set_header(c->r, "Location", blob_location(c));
	wire_set_header(c->r, "Docker-Content-Digest", arena_strdup(c->a, c->digest));
	c->finish = true;
	rcall_send(c, 201, STR(""));
}

static void answer_started(struct rcall *c)
{
	c->made = false; /* its row keeps it */
	upload_headers(c);
	wire_set_header(c->r, "OCI-Chunk-Min-Length", "1");
	rcall_send(c, 202, STR(""));
}

static void answer_mount(struct rcall *c)
{
	if (c->existed)
		answer_created(c);
	else
		answer_started(c);
}

static int write_insert(struct rcall *c, struct turn *t, struct error *err)
{
	return need_repository(c, t, err) < 0 ? -1 : ecr_upload_insert(t, &c->upload, err);
}

/* A draft file and an id; the row comes later. */
static int make_upload(struct rcall *c, struct error *err)
{
	char id[37], blob[BLOB_ID_LEN + 1];
	id_uuid(id, NULL, NULL);
	if (blob_draft_new(c->e->o.blobs, blob, err) < 0)
		return -1;
	c->upload = (struct ecr_upload){ arena_strdup(c->a, str_from(id)), arena_strdup(c->a, c->repo),
					 arena_strdup(c->a, str_from(blob)), 0 };
	c->made = true;
	return 0;
}

/* The other one may be a connection that broke a moment ago: worth another try. */
static int upload_busy(struct rcall *c, struct error *err)
{
	wire_set_header(c->r, "Retry-After", "1");
	return registry_error(err, "TOOMANYREQUESTS", "another request writes this upload");
}

static int open_draft(struct rcall *c, const char *algorithm, struct error *err)
{
	if (!ecr_upload_lock(c->e, c->upload.id, algorithm, &c->hash))
		return upload_busy(c, err);
	c->locked = true;
	c->fd = blob_draft_open(c->e->o.blobs, c->upload.blob, err);
	return c->fd < 0 ? -1 : 0;
}

static int begin_start(struct rcall *c, struct error *err)
{
	bool whole, mount;
	struct str digest = wire_query_arg(c->r, "digest", &whole), mounted = wire_query_arg(c->r, "mount", &mount),
		   algorithm = wire_query_arg(c->r, "digest-algorithm", NULL);
	if (algorithm.len && !str_eqz(algorithm, "sha256") && !str_eqz(algorithm, "sha512"))
		return registry_error(err, "UNSUPPORTED", "unknown digest algorithm");
	c->digest = arena_str(c->a, whole ? digest : mounted);
	if ((whole || mount) && !ecr_digest_valid(c->digest))
		return registry_error(err, "DIGEST_INVALID", "malformed digest");
	if (make_upload(c, err) < 0)
		return -1;
	c->finish = whole;
	bool long_form = str_eqz(algorithm, "sha512") || str_starts(c->digest, STR("sha512"));
	return whole || !mount ? open_draft(c, long_form ? "sha512" : "sha256", err) : 0;
}

/* ---- finishing ---- */

static int unknown_upload(struct rcall *c, struct error *err)
{
	c->finish = true; /* nothing is left to go on with */
	return registry_error(err, "BLOB_UPLOAD_UNKNOWN", "there is no upload %.*s", STR_ARG(c->rest));
}

/* The upload's row may have gone with its repository, and its file is to go then. */
static int write_blob(struct rcall *c, struct turn *t, struct error *err)
{
	int rc = need_repository(c, t, err);
	if (rc == 0 && !c->made)
		rc = ecr_upload_delete(t, c->upload.id, err);
	if (rc < 0 || (rc == 0 && !c->made))
		return rc < 0 ? rc : unknown_upload(c, err);
	return ecr_blob_add(t, c->repo, c->digest, c->upload.blob, c->upload.size_bytes, err);
}

static void answer_stored(struct rcall *c)
{
	c->made = false; /* the blob's row keeps the file */
	answer_created(c);
}

static void seal(struct rcall *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	close(c->fd);
	c->fd = -1;
	if (ecr_upload_seal(c->e, &c->upload, c->hash, c->digest, &err) < 0) {
		c->finish = false;
		rcall_fail(c, &err);
		return;
	}
	rcall_write(c, write_blob, answer_stored);
}

static void start_upload(struct rcall *c)
{
	if (c->finish)
		rcall_block(c, seal);
	else if (c->digest.len)
		rcall_write(c, write_mount, answer_mount);
	else
		rcall_write(c, write_insert, answer_started);
}

/* ---- chunks ---- */

static int find_upload(struct rcall *c, struct error *err)
{
	struct db *db = store_read_begin(c->e->store, err);
	if (!db)
		return -1;
	int rc = ecr_upload_find(db, c->a, c->repo, c->rest, &c->upload, err);
	store_read_end(c->e->store, db);
	return rc == 1 ? 0 : rc < 0 ? rc : unknown_upload(c, err);
}

/* "start-end" of a chunk must go on where the upload stands. */
static int check_order(struct rcall *c, struct error *err)
{
	struct str range = wire_header(c->r, "Content-Range");
	int64_t from, to, length = wire_body_length(c->r);
	if (!range.ptr)
		return 0;
	if (str_starts(range, STR("bytes ")))
		range = str_skip(range, 6);
	ptrdiff_t dash = str_find_char(range, '-');
	if (dash < 0 || !str_to_i64(str_head(range, (size_t)dash), &from) ||
	    !str_to_i64(str_skip(range, (size_t)dash + 1), &to) || (length >= 0 && to - from + 1 != length) ||
	    from != c->upload.size_bytes) {
		upload_headers(c);
		return registry_error(err, "RANGE_INVALID", "the upload goes on at %lld",
				      (long long)c->upload.size_bytes);
	}
	return 0;
}

static int begin_chunk(struct rcall *c, struct error *err)
{
	if (find_upload(c, err) < 0 || open_draft(c, "sha256", err) < 0)
		return -1;
	/* Read again now that nobody else writes. */
	if (find_upload(c, err) < 0)
		return -1;
	ecr_upload_resume(&c->upload, c->hash);
	return check_order(c, err);
}

static int begin_finish(struct rcall *c, struct error *err)
{
	c->digest = arena_str(c->a, wire_query_arg(c->r, "digest", NULL));
	if (!ecr_digest_valid(c->digest))
		return registry_error(err, "DIGEST_INVALID", "malformed or missing digest");
	if (begin_chunk(c, err) < 0)
		return -1;
	c->finish = true;
	return 0;
}

static int write_size(struct rcall *c, struct turn *t, struct error *err)
{
	int rc = ecr_upload_resize(t, c->upload.id, c->upload.size_bytes, err);
	return rc == 0 ? unknown_upload(c, err) : rc < 0 ? rc : 0;
}

static void add_chunk(struct rcall *c)
{
	rcall_write(c, write_size, answer_started);
}

static void finish_upload(struct rcall *c)
{
	rcall_block(c, seal);
}

static void answer_status(struct rcall *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (find_upload(c, &err) < 0) {
		rcall_fail(c, &err);
		return;
	}
	upload_headers(c);
	rcall_send(c, 204, STR(""));
}

/* ---- broken off ---- */

struct received {
	struct ecr *e;
	char *id;
	int64_t size_bytes;
};

static int write_received(struct turn *t, void *arg, struct error *err)
{
	const struct received *k = arg;
	return ecr_upload_resize(t, k->id, k->size_bytes, err) < 0 ? -1 : 0;
}

static void received_written(void *arg, int rc, struct error *err)
{
	struct received *k = arg;
	if (rc < 0)
		log_warn("ecr", "note what came of upload %s: %s", k->id, error_text(err));
	ecr_upload_unlock(k->e, k->id, false);
	free(k->id);
	free(k);
}

void registry_keep_received(struct rcall *c)
{
	if (!c->locked || c->fd < 0 || c->made || ecr_upload_flush(&c->upload, c->hash, c->fd, NULL) < 0)
		return;
	struct received *k = mem_alloc(sizeof(*k));
	*k = (struct received){ c->e, mem_strdup(c->upload.id), c->upload.size_bytes };
	c->locked = false; /* until the row says so */
	engine_submit(c->e->o.engine, write_received, received_written, k);
}

/* ---- deleting ---- */

static int write_cancel(struct rcall *c, struct turn *t, struct error *err)
{
	int rc = ecr_upload_delete(t, c->upload.id, err);
	if (rc <= 0)
		return rc < 0 ? rc : unknown_upload(c, err);
	return blob_remove_later(turn_db(t), c->upload.blob, turn_now_ms(t), err);
}

static void answer_gone(struct rcall *c)
{
	rcall_send(c, str_eqz(c->method, "DELETE") && c->op->target == ROP_UPLOAD ? 204 : 202, STR(""));
}

static void cancel_upload(struct rcall *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (find_upload(c, &err) == 0 && !ecr_upload_lock(c->e, c->upload.id, "sha256", &c->hash))
		upload_busy(c, &err);
	if (err.message) {
		rcall_fail(c, &err);
		return;
	}
	c->locked = c->finish = true;
	rcall_write(c, write_cancel, answer_gone);
}

static int write_unlink(struct rcall *c, struct turn *t, struct error *err)
{
	if (!ecr_digest_valid(c->rest))
		return registry_error(err, "DIGEST_INVALID", "malformed digest");
	int rc = ecr_blob_unlink(t, c->repo, c->rest, err);
	return rc == 0 ? unknown_blob(c, err) : rc < 0 ? rc : 0;
}

static void delete_blob(struct rcall *c)
{
	rcall_write(c, write_unlink, answer_gone);
}

const struct rop rops_blob[] = {
	{ "GET", ROP_BLOB, false, "ecr:GetDownloadUrlForLayer", NULL, get_blob },
	{ "HEAD", ROP_BLOB, false, "ecr:BatchCheckLayerAvailability", NULL, get_blob },
	{ "DELETE", ROP_BLOB, false, "ecr:BatchDeleteImage", NULL, delete_blob },
	{ "POST", ROP_UPLOADS, true, "ecr:InitiateLayerUpload", begin_start, start_upload },
	{ "PATCH", ROP_UPLOAD, true, "ecr:UploadLayerPart", begin_chunk, add_chunk },
	{ "PUT", ROP_UPLOAD, true, "ecr:CompleteLayerUpload", begin_finish, finish_upload },
	{ "GET", ROP_UPLOAD, false, "ecr:UploadLayerPart", NULL, answer_status },
	{ "DELETE", ROP_UPLOAD, false, "ecr:UploadLayerPart", NULL, cancel_upload },
	{ 0 },
};
