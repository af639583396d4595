/* blob.h - content on disk: object bodies, image layers, staged files.
 *
 * DESIGN: a blob is an immutable file with an opaque id in a sharded directory (`<root>/ab/cd/<id>`), never named by a
 * client's key. It is written through an O_TMPFILE, fdatasynced, linked to its id, and the directory is fsynced, before
 * the metadata transaction that names it: that transaction is the commit point. A file without a row is litter and
 * removed some time after the start; a row without a file is reported. Bodies never pass the core thread. A checksum
 * per blob is kept by the caller in its row. Removal is deferred: see blob_remove_later. An fsync that fails is never
 * retried: the store takes no more writes until a restart. Source: reference/stack.md section 4. */
#ifndef QUERN_BLOB_BLOB_H
#define QUERN_BLOB_BLOB_H

#include <stdint.h>
#include "base/error.h"
#include "base/str.h"
#include "store/store.h"

struct blob_store;
struct blob_shard;
#define BLOB_ID_LEN 24 /* [a-z0-9], NUL not counted */

extern const struct store_migration blob_migrations[];

/* `root` is created. *out owned by the caller. */
int blob_store_open(const char *root, struct blob_store **out, struct error *err);
/* All writers must be gone. */
void blob_store_close(struct blob_store *bs);
const char *blob_root(struct blob_store *bs);
/* The path of a blob (whether or not it exists) into path (>= 4096 bytes). Returns path. */
char *blob_path(struct blob_store *bs, const char *id, char *path);
/* Bytes a writer may still add: free space of the file system less a reserve that is kept for the metadata. */
int64_t blob_room_bytes(struct blob_store *bs);

/* A blob being written. Appends in order, or pwrite at offsets by the caller on `fd` (which may also be read). */
struct blob_writer {
	struct blob_store *store; /* NULL: nothing open */
	struct blob_shard *shard;
	int fd;
	int64_t size_bytes;
	char id[BLOB_ID_LEN + 1];
};
int blob_create(struct blob_store *bs, struct blob_writer *w, struct error *err);
/* ENOSPC gives err code "InsufficientStorage" (status 507). */
int blob_write(struct blob_writer *w, const void *p, size_t n, struct error *err);
/* fdatasync + link + fsync of the directory (batched over threads). After it the blob is on disk under w->id and w is
 * closed. */
int blob_publish(struct blob_writer *w, struct error *err);
/* Drops it: closes, nothing stays. Safe after publish (no-op) and on a zeroed writer. */
void blob_abort(struct blob_writer *w);
/* Adopts an existing regular file as a blob without copying: a hard link (copied when the file system is another one).
 * The old name stays and is the caller's to unlink; nobody may write the file any more (it becomes read-only). Durable
 * on return; the id is written to id. */
int blob_adopt(struct blob_store *bs, const char *path, char id[BLOB_ID_LEN + 1], int64_t *size_bytes,
	       struct error *err);
/* O_RDONLY; caller closes. */
int blob_open(struct blob_store *bs, const char *id, struct error *err);
/* A hard link of the blob at `path` (no copy; copied when another file system or too many links force it). The link
 * keeps the bytes whatever happens to the blob. */
int blob_link(struct blob_store *bs, const char *id, const char *path, struct error *err);
/* Unlinks at once: for a blob that no row ever named. Absent is no error. */
int blob_remove_now(struct blob_store *bs, const char *id, struct error *err);

/* A draft is a blob that is visible (survives a restart) while several writers still fill it with pwrite; a row names
 * it from the start. New: empty and durable. Open: read-write, caller closes. Seal: cut to size, on disk, read-only; no
 * writer may be left. */
int blob_draft_new(struct blob_store *bs, char id[BLOB_ID_LEN + 1], struct error *err);
int blob_draft_open(struct blob_store *bs, const char *id, struct error *err);
int blob_draft_seal(struct blob_store *bs, const char *id, int64_t size_bytes, struct error *err);
/* Bytes [from, from+n) of one file to another file at `to`, inside the kernel where it can. */
int blob_copy_range(int from_fd, int64_t from, int to_fd, int64_t to, int64_t n, struct error *err);
/* All of p at offset; ENOSPC as blob_write. */
int blob_pwrite(int fd, const void *p, size_t n, int64_t offset, struct error *err);
/* fdatasync; a failure stops the store's writes. */
int blob_sync(struct blob_store *bs, int fd, struct error *err);

/* In a transaction that drops the last row naming the blob: notes that the file may go one minute from now (readers may
 * still hold it). */
int blob_remove_later(struct db *db, const char *id, int64_t now_ms, struct error *err);
/* Unlinks what is due at now_ms according to snapshot `db`, at most `max` files; call from a worker. fn is told each id
 * that is settled (gone, or named by a row after all), so that the caller can run blob_forget for it in a later
 * transaction. Returns how many went, or < 0. */
int blob_sweep(struct blob_store *bs, struct db *db, int64_t now_ms, int max, void (*fn)(void *ctx, const char *id),
	       void *ctx, struct error *err);
int blob_forget(struct db *db, const char *id, struct error *err);
/* Every room that names blobs in rows says so: named(ctx, db, id) is 1 when a row names it, 0 when not, < 0 when it
 * cannot tell. At most 8; before the litter is collected. */
typedef int (*blob_named)(void *ctx, struct db *db, const char *id);
void blob_add_owner(struct blob_store *bs, blob_named named, void *ctx);
/* Removes files that no owner names and that were there before the store was opened; what is younger may be on its way
 * into a row. Call once, in the background, when unfinished work of before the start has been taken up again. Returns
 * how many went, or < 0. */
int blob_collect_litter(struct blob_store *bs, struct store *store, struct error *err);

#endif
