/* blob.h - content on disk: object bodies, image layers, staged files.
 *
 * DESIGN: a blob is an immutable file with an opaque id in a sharded directory (`<root>/ab/cd/<id>`), never named by a client's
 * key. It is written through an O_TMPFILE, fdatasynced, linked to its id, and the directory is fsynced, before the
 * metadata transaction that names it: that transaction is the commit point. A file without a row is litter and removed at
 * start; a row without a file is reported. Bodies never pass the core thread. One checksum per blob (CRC64NVME) is kept by the
 * caller in its row and can be verified. Removal is deferred: see blob_remove_later. Source: reference/stack.md section 4. */
#ifndef QUERN_BLOB_BLOB_H
#define QUERN_BLOB_BLOB_H

#include <stdint.h>
#include "base/error.h"
#include "base/str.h"
#include "store/store.h"

struct blob_store;
#define BLOB_ID_LEN 24 /* [a-z0-9], NUL not counted */

extern const struct store_migration blob_migrations[];

/* `root` is created. *out owned by the caller. */
int blob_store_open(const char *root, struct blob_store **out, struct error *err);
void blob_store_close(struct blob_store *bs);
const char *blob_root(struct blob_store *bs);
/* The path of a blob (whether or not it exists) into path (>= 4096 bytes). Returns path. */
char *blob_path(struct blob_store *bs, const char *id, char *path);

/* A blob being written. Appends in order, or pwrite at offsets by the caller on `fd`. */
struct blob_writer {
	struct blob_store *store;
	int fd;
	int64_t size_bytes;
	char id[BLOB_ID_LEN + 1];
};
int blob_create(struct blob_store *bs, struct blob_writer *w, struct error *err);
/* ENOSPC gives err code "InsufficientStorage" (status 507). */
int blob_write(struct blob_writer *w, const void *p, size_t n, struct error *err);
/* fdatasync + link + fsync of the directory (batched over threads). After it the blob is on disk under w->id. */
int blob_publish(struct blob_writer *w, struct error *err);
/* Drops it: closes, nothing stays. Safe after publish (no-op) and on a zeroed writer. */
void blob_abort(struct blob_writer *w);
/* Adopts an existing file of the same file system as a blob without copying (rename; it must be closed by its writer and
 * owned by, or readable for, the daemon). Durable on return; the id is written to id. */
int blob_adopt(struct blob_store *bs, const char *path, char id[BLOB_ID_LEN + 1], int64_t *size_bytes, struct error *err);
/* O_RDONLY; caller closes. */
int blob_open(struct blob_store *bs, const char *id, struct error *err);
/* A hard link of the blob at `path` (no copy). The link keeps the bytes whatever happens to the blob. */
int blob_link(struct blob_store *bs, const char *id, const char *path, struct error *err);
/* In a transaction that drops the last row naming the blob: notes that the file may go one minute from now (readers may still hold it). */
int blob_remove_later(struct db *db, const char *id, int64_t now_ms, struct error *err);
/* Unlinks what is due at now_ms according to snapshot `db`; call from a worker. fn is told each id that went, so that the caller can
 * run blob_forget for it in a later transaction. Returns how many went, or < 0. */
int blob_sweep(struct blob_store *bs, struct db *db, int64_t now_ms, void (*fn)(void *ctx, const char *id), void *ctx, struct error *err);
int blob_forget(struct db *db, const char *id, struct error *err);
/* At start: removes files that no row names; `named(ctx,id)` says whether one does. */
int blob_collect_litter(struct blob_store *bs, bool (*named)(void *ctx, const char *id), void *ctx, struct error *err);

#endif
