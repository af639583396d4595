/* sqlite.c - the SQLite back end: opening, readers, backup.
 *
 * DESIGN: one writer connection and a pool of readers on the same WAL file. Only one process may have the store open
 * (flock on `path`.lock), because the core thread keeps state in memory. A scratch store is an ordinary file in a
 * directory of its own on /dev/shm, so that tests run the same code as production, threads and snapshots included.
 *
 * A reader that is given back keeps its snapshot while nothing has been committed since, so that the next read pays for
 * no lock of the file. `commits` tells: it is odd from before a commit until the checkpoint after it, and what was
 * begun at another count, or at an odd one, is not used again. Idle snapshots end before a checkpoint, which they would
 * hold up.
 *
 * The writer checkpoints by itself after a commit that leaves a long WAL: SQLite's own automatic checkpoint hides I/O
 * errors, and a failed fsync must end writing. */
#include "store/sqlite_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCRATCH_PREFIX "quern-scratch-"

static void sqlite_setup(void)
{
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* fails harmlessly when somebody has initialized SQLite before */
	sqlite3_initialize();
}

static int wal_hook(void *arg, sqlite3 *conn, const char *name, int pages)
{
	(void)conn, (void)name;
	((struct sqlite_store *)arg)->wal_pages = pages;
	return SQLITE_OK;
}

/* The store holds secret keys: nobody else reads it. SQLite gives its other files the same mode. */
static int make_private(const char *path, int flags, struct error *err)
{
	CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
	return fd < 0 ? error_errno(err, errno, "create `%s`", path) : 0;
}

static struct db *connect(struct store *s, bool writer, struct error *err)
{
	struct sqlite_db *db = mem_calloc(1, sizeof(*db));
	db->base = (struct db){ .ops = s->ops, .store = s, .writer = writer };
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (writer ? SQLITE_OPEN_CREATE : 0);
	int rc = sqlite3_open_v2(s->name, &db->conn, flags, NULL);
	if (rc != SQLITE_OK) {
		error_set(err, "open store `%s`: %s", s->name,
			  db->conn ? sqlite3_errmsg(db->conn) : sqlite3_errstr(rc));
		sqlite_db_close(&db->base);
		return NULL;
	}
	sqlite3_extended_result_codes(db->conn, 1);
	sqlite3_busy_timeout(db->conn, BUSY_TIMEOUT_MS);
	/* cache_size is a limit in KiB (negative); pages are allocated as they are used */
	const char *settings =
		writer ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
			 "PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-8192; PRAGMA temp_store=MEMORY;"
		       : "PRAGMA query_only=1; PRAGMA cache_size=-1024; PRAGMA temp_store=MEMORY;";
	if (sqlite_script(&db->base, settings, err) < 0) {
		error_wrap(err, "open store `%s`", s->name);
		sqlite_db_close(&db->base);
		return NULL;
	}
	if (writer)
		sqlite3_wal_hook(db->conn, wal_hook, s);
	return &db->base;
}

static void remove_files(const char *dir)
{
	static const char *const names[] = { "db", "db-wal", "db-shm", "db.lock" };
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char file[600];
		snprintf(file, sizeof(file), "%s/%s", dir, names[i]);
		unlink(file);
	}
	rmdir(dir);
}

/* Scratch stores of processes that died: their lock is free. */
static void sweep_scratch(const char *base)
{
	DIR *d = opendir(base);
	struct dirent *entry;
	while (d && (entry = readdir(d))) {
		char dir[512], file[600];
		if (strncmp(entry->d_name, SCRATCH_PREFIX, sizeof(SCRATCH_PREFIX) - 1))
			continue;
		snprintf(dir, sizeof(dir), "%.200s/%.200s", base, entry->d_name);
		snprintf(file, sizeof(file), "%s/db.lock", dir);
		CLEANUP_FD int fd = open(file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			remove_files(dir);
	}
	if (d)
		closedir(d);
}

static int make_scratch(struct sqlite_store *s, struct error *err)
{
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
	char dir[512];
	base = base ? base : "/tmp";
	sweep_scratch(base);
	snprintf(dir, sizeof(dir), "%s/" SCRATCH_PREFIX "XXXXXX", base);
	if (!mkdtemp(dir))
		return error_errno(err, errno, "create scratch store `%s`", dir);
	s->scratch_dir = mem_strdup(dir);
	size_t n = strlen(dir) + sizeof("/db");
	s->base.name = mem_alloc(n);
	snprintf(s->base.name, n, "%s/db", dir);
	return 0;
}

enum { LOCK_WAIT_MS = 2000, LOCK_POLL_MS = 10 };

static int take_lock(struct sqlite_store *s, struct error *err)
{
	CLEANUP_FREE char *file = NULL;
	if (asprintf(&file, "%s.lock", s->base.name) < 0)
		return error_set(err, "open store `%s`: out of memory", s->base.name);
	s->lock_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return error_errno(err, errno, "open `%s`", file);
	/* A process that was just killed holds its lock until the kernel has closed its files. */
	for (int waited_ms = 0; flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0; waited_ms += LOCK_POLL_MS) {
		if (errno != EWOULDBLOCK || waited_ms >= LOCK_WAIT_MS)
			break;
		usleep(LOCK_POLL_MS * 1000);
		errno = EWOULDBLOCK;
	}
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return error_set(err, "open store `%s`: another process has it open", s->base.name);
	return error_errno(err, errno, "lock `%s`", file);
}

static void sqlite_close(struct store *base)
{
	struct sqlite_store *s = sqlite_store(base);
	if (base->writer) {
		/* after a failed fsync nothing more may be written; the WAL is read again at the next start */
		if (store_fault(base))
			sqlite3_db_config(sqlite_db(base->writer)->conn, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		sqlite_rollback(base->writer);
		sqlite_db_close(base->writer);
	}
	if (s->scratch_dir)
		remove_files(s->scratch_dir);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(atomic_load(&base->fault));
	free(s->scratch_dir);
	free(base->name);
	free(s);
}

static void sqlite_trim(struct store *s)
{
	sqlite3_db_release_memory(sqlite_db(s->writer)->conn);
}

static struct store *sqlite_open(const char *path, struct error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, sqlite_setup);
	struct sqlite_store *s = mem_calloc(1, sizeof(*s));
	s->base.ops = &store_sqlite;
	s->lock_fd = -1;
	int rc = 0;
	if (*path)
		s->base.name = mem_strdup(path);
	else
		rc = make_scratch(s, err);
	if (rc == 0)
		rc = take_lock(s, err);
	if (rc == 0)
		rc = make_private(s->base.name, 0, err);
	if (rc == 0)
		rc = (s->base.writer = connect(&s->base, true, err)) ? 0 : -1;
	if (rc == 0)
		return &s->base;
	sqlite_close(&s->base);
	return NULL;
}

/* ---- readers ---- */

void sqlite_commit_begins(struct store *s)
{
	atomic_fetch_add(&sqlite_store(s)->commits, 1);
}

void sqlite_commit_ended(struct store *s)
{
	atomic_fetch_add(&sqlite_store(s)->commits, 1);
}

/* No commit has begun since the snapshot was asked for. */
static bool snapshot_is_current(const struct sqlite_db *db)
{
	return db->snapshot && db->seen % 2 == 0 && db->seen == atomic_load(&sqlite_store(db->base.store)->commits);
}

static bool snapshot_end(struct db *db)
{
	bool ended = db_exec(db, NULL, "COMMIT", "") >= 0 && sqlite3_get_autocommit(sqlite_db(db)->conn);
	sqlite_db(db)->snapshot = false;
	return ended;
}

void sqlite_drop_snapshots(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	for (struct db **at = &s->idle; *at;) {
		struct db *db = *at;
		if (!sqlite_db(db)->snapshot || snapshot_end(db)) {
			at = &db->next;
			continue;
		}
		*at = db->next;
		s->nidle--;
		sqlite_db_close(db);
	}
	pthread_mutex_unlock(&s->lock);
}

static struct db *reader_open(struct store *s, struct error *err)
{
	return connect(s, false, err);
}

static int reader_begin(struct db *base, struct error *err)
{
	struct sqlite_db *db = sqlite_db(base);
	if (snapshot_is_current(db))
		return 0;
	bool ended = !db->snapshot || snapshot_end(base);
	db->seen = atomic_load(&sqlite_store(base->store)->commits);
	if (!ended || db_exec(base, err, "BEGIN", "") < 0)
		return -1;
	db->snapshot = true;
	return 0;
}

static bool reader_keeps(struct db *db)
{
	return snapshot_is_current(sqlite_db(db)) && !sqlite3_get_autocommit(sqlite_db(db)->conn);
}

/* ---- backup ---- */

static int sync_path(const char *path, int flags, struct error *err)
{
	CLEANUP_FD int fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "open `%s`", path);
	if (fsync(fd) < 0)
		return error_errno(err, errno, "sync `%s`", path);
	return 0;
}

static int sync_parent(const char *path, struct error *err)
{
	CLEANUP_FREE char *dir = mem_strdup(path);
	char *slash = strrchr(dir, '/');
	if (!slash)
		return sync_path(".", O_RDONLY | O_DIRECTORY, err);
	slash[slash == dir] = 0;
	return sync_path(dir, O_RDONLY | O_DIRECTORY, err);
}

static int sqlite_backup(struct store *s, const char *path, struct error *err)
{
	if (make_private(path, O_EXCL, err) < 0)
		return -1;
	struct db *db = connect(s, false, err);
	if (!db)
		return -1;
	int rc = sqlite_script(db, "PRAGMA query_only=0", err);
	if (rc == 0)
		rc = db_exec(db, err, "VACUUM INTO ?", "s", path) < 0 ? -1 : 0;
	sqlite_db_close(db);
	if (rc == 0)
		rc = sync_path(path, O_RDWR, err);
	if (rc == 0)
		rc = sync_parent(path, err);
	if (rc == 0)
		return 0;
	unlink(path);
	return error_wrap(err, "back up the store to `%s`", path);
}

const struct store_ops store_sqlite = {
	.open = sqlite_open,
	.close = sqlite_close,
	.trim = sqlite_trim,
	.backup = sqlite_backup,
	.reader_open = reader_open,
	.reader_begin = reader_begin,
	.reader_keeps = reader_keeps,
	.reader_end = snapshot_end,
	.db_close = sqlite_db_close,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.savepoint = sqlite_savepoint,
	.savepoint_release = sqlite_savepoint_release,
	.savepoint_rollback = sqlite_savepoint_rollback,
	.script = sqlite_script,
	.exec = sqlite_exec,
	.write = sqlite_exec,
	.query = sqlite_query,
	.rows_next = sqlite_rows_next,
	.rows_int = sqlite_rows_int,
	.rows_real = sqlite_rows_real,
	.rows_str = sqlite_rows_str,
	.rows_null = sqlite_rows_null,
	.rows_done = sqlite_rows_done,
};
