/* upload.c - blobs on their way in.
 *
 * DESIGN: an upload is a row and a draft file that survive a restart; the running digest lives in this process only.
 * Normally the digest is ready when the last byte is; after a restart, when another algorithm is asked for at the end,
 * or when bytes were hashed that the row does not count (the request failed), the file is read again. Bytes go to the
 * file in large aligned pieces, which cost the kernel half of what the socket's pieces do. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/id.h"
#include "ecr/room.h"

enum { PIECE_BYTES = 256 << 10, BEGIN_BYTES = 4 << 20, HASHES_MAX = 4096 };

int ecr_upload_insert(struct turn *t, const struct ecr_upload *u, struct error *err)
{
	return db_exec(turn_db(t), err,
		       "INSERT INTO ecr_upload(id, repo, blob, size, touched_ms) VALUES(?, ?, ?, 0, ?)", "sssi", u->id,
		       u->repo, u->blob, turn_now_ms(t)) < 0
		       ? -1
		       : 0;
}

int ecr_upload_find(struct db *db, struct arena *a, struct str repo, struct str id, struct ecr_upload *out,
		    struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT blob, size FROM ecr_upload WHERE id=? AND repo=?", "SS", id, repo);
	if (rc == 1)
		*out = (struct ecr_upload){ arena_strdup(a, id), arena_strdup(a, repo),
					    arena_strdup(a, rows_str(&rows, 0)), rows_int(&rows, 1) };
	return rc;
}

int ecr_upload_resize(struct turn *t, const char *id, int64_t size, struct error *err)
{
	return db_exec(turn_db(t), err, "UPDATE ecr_upload SET size=?, touched_ms=? WHERE id=?", "iis", size,
		       turn_now_ms(t), id);
}

int ecr_upload_delete(struct turn *t, const char *id, struct error *err)
{
	return db_exec(turn_db(t), err, "DELETE FROM ecr_upload WHERE id=?", "s", id);
}

/* Lock held. */
static void drop_hash(struct ecr *e, const char *id, struct upload_hash *h)
{
	map_remove(&e->uploads, str_from(id));
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

/* Lock held. Makes room: some upload that nobody writes now will be read again at its end. */
static void drop_idle_hash(struct ecr *e)
{
	for (size_t i = 0; i < e->uploads.count; i++) {
		struct upload_hash *h = e->uploads.entries[i].value;
		if (!h->busy) {
			drop_hash(e, e->uploads.entries[i].key.ptr, h);
			return;
		}
	}
}

bool ecr_upload_lock(struct ecr *e, const char *id, const char *algorithm, struct upload_hash **out)
{
	pthread_mutex_lock(&e->lock);
	struct upload_hash *h = map_get(&e->uploads, str_from(id));
	if (!h && e->uploads.count >= HASHES_MAX)
		drop_idle_hash(e);
	if (!h) {
		h = mem_calloc(1, sizeof(*h));
		h->ctx = EVP_MD_CTX_new();
		memcpy(h->algorithm, strcmp(algorithm, "sha512") == 0 ? "sha512" : "sha256", 7);
		EVP_DigestInit_ex(h->ctx, strcmp(algorithm, "sha512") == 0 ? EVP_sha512() : EVP_sha256(), NULL);
		map_set(&e->uploads, str_from(id), h);
	}
	bool free_now = !h->busy;
	if (free_now)
		h->busy = true;
	pthread_mutex_unlock(&e->lock);
	*out = free_now ? h : NULL;
	return free_now;
}

void ecr_upload_unlock(struct ecr *e, const char *id, bool forget)
{
	pthread_mutex_lock(&e->lock);
	struct upload_hash *h = map_get(&e->uploads, str_from(id));
	if (h)
		h->busy = false;
	if (h && forget)
		drop_hash(e, id, h);
	pthread_mutex_unlock(&e->lock);
}

void ecr_upload_forget(struct ecr *e, const char *id)
{
	pthread_mutex_lock(&e->lock);
	struct upload_hash *h = map_get(&e->uploads, str_from(id));
	if (h && !h->busy)
		drop_hash(e, id, h);
	pthread_mutex_unlock(&e->lock);
}

bool ecr_upload_busy(struct ecr *e, const char *id)
{
	pthread_mutex_lock(&e->lock);
	const struct upload_hash *h = map_get(&e->uploads, str_from(id));
	bool busy = h && h->busy;
	pthread_mutex_unlock(&e->lock);
	return busy;
}

void ecr_upload_resume(const struct ecr_upload *u, struct upload_hash *h)
{
	if (h->hashed > u->size_bytes)
		h->hashed = -1;
}

/* What is in memory goes to the file. */
int ecr_upload_flush(struct ecr_upload *u, struct upload_hash *h, int fd, struct error *err)
{
	struct buf *piece = &u->piece;
	int64_t at = u->size_bytes - (int64_t)piece->len;
	if (!piece->len)
		return 0;
	if (blob_pwrite(fd, piece->ptr, piece->len, at, err) < 0)
		return -1;
	if (h->hashed == at) {
		EVP_DigestUpdate(h->ctx, piece->ptr, piece->len);
		h->hashed += (int64_t)piece->len;
	}
	buf_clear(piece);
	/* The disk may begin; less is left to wait for at the end. */
	if (u->size_bytes - u->begun_bytes >= BEGIN_BYTES) {
		sync_file_range(fd, u->begun_bytes, u->size_bytes - u->begun_bytes, SYNC_FILE_RANGE_WRITE);
		u->begun_bytes = u->size_bytes;
	}
	return 0;
}

int ecr_upload_write(struct ecr_upload *u, struct upload_hash *h, int fd, const void *p, size_t n, struct error *err)
{
	while (n > 0) {
		size_t room = PIECE_BYTES - (size_t)(u->size_bytes % PIECE_BYTES), k = n < room ? n : room;
		if (!u->piece.ptr)
			buf_reserve(&u->piece, PIECE_BYTES);
		buf_add(&u->piece, p, k);
		u->size_bytes += (int64_t)k;
		p = (const char *)p + k;
		n -= k;
		if (k == room && ecr_upload_flush(u, h, fd, err) < 0)
			return -1;
	}
	return 0;
}

/* Digest of the first size bytes of the draft. */
static int rehash(struct ecr *e, const struct ecr_upload *u, EVP_MD_CTX *ctx, struct error *err)
{
	enum { PIECE = 1 << 18 };
	CLEANUP_FREE char *piece = mem_alloc(PIECE);
	CLEANUP_FD int fd = blob_draft_open(e->o.blobs, u->blob, err);
	if (fd < 0)
		return -1;
	for (int64_t at = 0; at < u->size_bytes;) {
		int64_t left = u->size_bytes - at;
		ssize_t n = pread(fd, piece, left < PIECE ? (size_t)left : PIECE, at);
		if (n <= 0)
			return error_set(err, "read the upload %s: it is shorter than it was", u->id);
		EVP_DigestUpdate(ctx, piece, (size_t)n);
		at += n;
	}
	return 0;
}

int ecr_upload_seal(struct ecr *e, struct ecr_upload *u, struct upload_hash *h, struct str digest, struct error *err)
{
	unsigned char value[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	unsigned size = 0;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ready = h->hashed == u->size_bytes && str_starts(digest, str_from(h->algorithm));
	int rc = 0;
	if (ready) {
		EVP_MD_CTX_copy_ex(ctx, h->ctx);
	} else {
		EVP_DigestInit_ex(ctx, str_starts(digest, STR("sha512")) ? EVP_sha512() : EVP_sha256(), NULL);
		rc = rehash(e, u, ctx, err);
	}
	EVP_DigestFinal_ex(ctx, value, &size);
	EVP_MD_CTX_free(ctx);
	if (rc < 0)
		return rc;
	hex_encode(hex, value, size);
	if (!str_eqz(str_skip(digest, 7), hex))
		return error_aws(err, "DigestInvalid", "the bytes have another digest than %.*s", STR_ARG(digest));
	return blob_draft_seal(e->o.blobs, u->blob, u->size_bytes, err);
}
