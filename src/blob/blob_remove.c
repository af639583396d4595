/* blob_remove.c - when blobs go: deferred removal and litter.
 *
 * DESIGN: the transaction that drops the last row of a blob notes it in blob_due; a sweep unlinks it a minute later,
 * when whoever read the old row has long opened the file. Litter (files that no row names) comes from crashes between
 * publish and commit. It is only taken when it is older than this opening of the store, so nothing on its way into a
 * row is ever touched. */
#include "blob/room.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"

enum { DUE_AFTER_MS = 60000 };

const struct store_migration blob_migrations[] = {
	{ "blob", 1,
	  "CREATE TABLE blob_due (id TEXT PRIMARY KEY, due_ms INTEGER NOT NULL);"
	  "CREATE INDEX blob_due_ms ON blob_due (due_ms);" },
	{ 0 },
};

int blob_remove_later(struct db *db, const char *id, int64_t now_ms, struct error *err)
{
	const int rc = db_exec(db, err, "INSERT INTO blob_due (id, due_ms) VALUES (?, ?) ON CONFLICT (id) DO NOTHING",
			       "si", id, now_ms + DUE_AFTER_MS);
	return rc < 0 ? rc : 0;
}

int blob_forget(struct db *db, const char *id, struct error *err)
{
	const int rc = db_exec(db, err, "DELETE FROM blob_due WHERE id=?", "s", id);
	return rc < 0 ? rc : 0;
}

void blob_add_owner(struct blob_store *bs, blob_named named, void *ctx)
{
	if (bs->nowners == (int)(sizeof(bs->owners) / sizeof(*bs->owners)))
		BUG("too many rooms own blobs");
	bs->owners[bs->nowners++] = (struct blob_owner){ named, ctx };
}

/* 1 a row names it, 0 none does, < 0 a fault. */
static int is_named(struct blob_store *bs, struct db *db, const char *id, struct error *err)
{
	for (int i = 0; i < bs->nowners; i++) {
		const int named = bs->owners[i].named(bs->owners[i].ctx, db, id);
		if (named < 0)
			return error_set(err, "ask who names blob `%s`", id);
		if (named > 0)
			return 1;
	}
	return 0;
}

int blob_sweep(struct blob_store *bs, struct db *db, int64_t now_ms, int max, void (*fn)(void *ctx, const char *id),
	       void *ctx, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_query(db, &rows, err, "SELECT id FROM blob_due WHERE due_ms<=? ORDER BY due_ms LIMIT ?", "ii", now_ms,
		     (int64_t)max) < 0)
		return -1;
	int gone = 0, rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		const char *id = rows_str(&rows, 0).ptr;
		CLEANUP_ERROR struct error why = ERROR_INIT;
		const int named = is_named(bs, db, id, &why);
		if (named > 0)
			log_error("blob", "blob `%s` was to go, but a row names it: it stays", id);
		if (named < 0 || (named == 0 && blob_id_valid(id) && blob_remove_now(bs, id, &why) < 0)) {
			log_warn("blob", "%s", error_text(&why));
			continue;
		}
		fn(ctx, id);
		gone += named == 0;
	}
	return rc < 0 ? rc : gone;
}

static bool is_due(struct db *db, const char *id)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	return db_row(db, &rows, NULL, "SELECT 1 FROM blob_due WHERE id=?", "s", id) != 0;
}

struct collect {
	struct blob_store *bs;
	struct store *store;
	struct error *err;
	int gone;
};

static int collect_leaf(struct collect *c, int fd, const char prefix[4])
{
	const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	if (!dir) {
		error_errno(c->err, errno, "read a blob directory");
		if (copy >= 0)
			close(copy);
		return -1;
	}
	struct db *db = store_read_begin(c->store, c->err);
	int rc = db ? 0 : -1, left = 0;
	for (const struct dirent *d; rc == 0 && (d = readdir(dir));) {
		struct stat st;
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		left++;
		if (!blob_id_valid(d->d_name) || memcmp(d->d_name, prefix, 4) != 0 ||
		    fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (st.st_ctim.tv_sec >= c->bs->opened_ms / 1000 - 1)
			continue;
		const int named = is_due(db, d->d_name) ? 1 : is_named(c->bs, db, d->d_name, c->err);
		if (named < 0)
			rc = -1;
		else if (!named && unlinkat(fd, d->d_name, 0) == 0)
			c->gone++, left--;
	}
	if (db)
		store_read_end(c->store, db);
	closedir(dir);
	return rc < 0 ? rc : left;
}

/* One leaf `upper/lower`: litter goes, and the directory with it when it is empty and unused. */
static int collect_shard(struct collect *c, int up, const char *upper, const char *lower)
{
	const char prefix[4] = { upper[0], upper[1], lower[0], lower[1] };
	CLEANUP_FD int fd = openat(up, lower, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return 0;
	const int left = collect_leaf(c, fd, prefix);
	if (left != 0)
		return left < 0 ? left : 0;
	pthread_mutex_lock(&c->bs->lock);
	if (!shard_in_use(c->bs, prefix))
		unlinkat(up, lower, AT_REMOVEDIR);
	pthread_mutex_unlock(&c->bs->lock);
	return 0;
}

static int collect_upper(struct collect *c, const char *upper)
{
	const int fd = openat(c->bs->root_fd, upper, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return 0;
	DIR *dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return error_errno(c->err, errno, "read a blob directory");
	}
	int rc = 0;
	for (const struct dirent *d; rc == 0 && (d = readdir(dir));)
		if (strlen(d->d_name) == 2 && d->d_name[0] != '.')
			rc = collect_shard(c, fd, upper, d->d_name);
	closedir(dir);
	return rc;
}

int blob_collect_litter(struct blob_store *bs, struct store *store, struct error *err)
{
	struct collect c = { bs, store, err, 0 };
	DIR *dir = opendir(bs->root);
	if (!dir)
		return error_errno(err, errno, "read `%s`", bs->root);
	int rc = 0;
	for (const struct dirent *d; rc == 0 && (d = readdir(dir));)
		if (strlen(d->d_name) == 2 && d->d_name[0] != '.')
			rc = collect_upper(&c, d->d_name);
	closedir(dir);
	if (rc == 0 && c.gone > 0)
		log_info("blob", "%d files that nothing names were removed", c.gone);
	return rc < 0 ? rc : c.gone;
}
