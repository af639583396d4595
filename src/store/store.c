/* store.c - opening, readers, migrations, backup.
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
#include "store/store_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define SCRATCH_PREFIX "quern-scratch-"

enum { READERS_IDLE_MAX = 16 };

static void sqlite_setup(void)
{
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* fails harmlessly when somebody has initialized SQLite before */
	sqlite3_initialize();
}

static int wal_hook(void *arg, sqlite3 *conn, const char *name, int pages)
{
	(void)conn, (void)name;
	((struct store *)arg)->wal_pages = pages;
	return SQLITE_OK;
}

/* The store holds secret keys: nobody else reads it. SQLite gives its other files the same mode. */
static int make_private(const char *path, int flags, struct error *err)
{
	CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
	return fd < 0 ? error_errno(err, errno, "create `%s`", path) : 0;
}

struct db *db_open(struct store *s, bool writer, struct error *err)
{
	struct db *db = mem_calloc(1, sizeof(*db));
	db->store = s;
	db->writer = writer;
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (writer ? SQLITE_OPEN_CREATE : 0);
	int rc = sqlite3_open_v2(s->path, &db->conn, flags, NULL);
	if (rc != SQLITE_OK) {
		error_set(err, "open store `%s`: %s", s->path,
			  db->conn ? sqlite3_errmsg(db->conn) : sqlite3_errstr(rc));
		db_close(db);
		return NULL;
	}
	sqlite3_extended_result_codes(db->conn, 1);
	sqlite3_busy_timeout(db->conn, BUSY_TIMEOUT_MS);
	/* cache_size is a limit in KiB (negative); pages are allocated as they are used */
	const char *settings =
		writer ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
			 "PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-8192; PRAGMA temp_store=MEMORY;"
		       : "PRAGMA query_only=1; PRAGMA cache_size=-1024; PRAGMA temp_store=MEMORY;";
	if (db_script(db, settings, err) < 0) {
		error_wrap(err, "open store `%s`", s->path);
		db_close(db);
		return NULL;
	}
	if (writer)
		sqlite3_wal_hook(db->conn, wal_hook, s);
	return db;
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

static int make_scratch(struct store *s, struct error *err)
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
	s->path = mem_alloc(n);
	snprintf(s->path, n, "%s/db", dir);
	return 0;
}

enum { LOCK_WAIT_MS = 2000, LOCK_POLL_MS = 10 };

static int take_lock(struct store *s, struct error *err)
{
	CLEANUP_FREE char *file = NULL;
	if (asprintf(&file, "%s.lock", s->path) < 0)
		return error_set(err, "open store `%s`: out of memory", s->path);
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
		return error_set(err, "open store `%s`: another process has it open", s->path);
	return error_errno(err, errno, "lock `%s`", file);
}

int store_open(const char *path, const struct store_migration *migrations, struct store **out, struct error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, sqlite_setup);
	struct store *s = mem_calloc(1, sizeof(*s));
	s->lock_fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	int rc = 0;
	if (*path)
		s->path = mem_strdup(path);
	else
		rc = make_scratch(s, err);
	if (rc == 0)
		rc = take_lock(s, err);
	if (rc == 0)
		rc = make_private(s->path, 0, err);
	if (rc == 0)
		rc = (s->writer = db_open(s, true, err)) ? 0 : -1;
	if (rc == 0 && migrations)
		rc = store_migrate(s, migrations, err);
	if (rc < 0) {
		store_close(s);
		return -1;
	}
	*out = s;
	return 0;
}

static void close_idle_readers(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	struct db *db = s->idle;
	s->idle = NULL;
	s->nidle = 0;
	pthread_mutex_unlock(&s->lock);
	while (db) {
		struct db *next = db->next;
		db_close(db);
		db = next;
	}
}

void store_trim(struct store *s)
{
	close_idle_readers(s);
	sqlite3_db_release_memory(s->writer->conn);
}

void store_close(struct store *s)
{
	if (!s)
		return;
	close_idle_readers(s);
	if (s->writer) {
		/* after a failed fsync nothing more may be written; the WAL is read again at the next start */
		if (store_fault(s))
			sqlite3_db_config(s->writer->conn, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		db_rollback(s->writer);
		db_close(s->writer);
	}
	if (s->scratch_dir)
		remove_files(s->scratch_dir);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	pthread_mutex_destroy(&s->lock);
	free(atomic_load(&s->fault));
	free(s->scratch_dir);
	free(s->path);
	free(s);
}

const char *store_fault(struct store *s)
{
	return atomic_load_explicit(&s->fault, memory_order_acquire);
}

void store_set_fault(struct store *s, const char *text)
{
	char *mine = mem_strdup(text), *none = NULL;
	if (!atomic_compare_exchange_strong(&s->fault, &none, mine)) {
		free(mine);
		return;
	}
	log_error("store", "`%s` takes no more writes: %s", s->path, text);
}

struct db *store_writer(struct store *s)
{
	return s->writer;
}

/* ---- readers ---- */

void store_commit_begins(struct store *s)
{
	atomic_fetch_add(&s->commits, 1);
}

void store_commit_ended(struct store *s)
{
	atomic_fetch_add(&s->commits, 1);
}

/* No commit has begun since the snapshot was asked for. */
static bool snapshot_is_current(struct store *s, const struct db *db)
{
	return db->snapshot && db->seen % 2 == 0 && db->seen == atomic_load(&s->commits);
}

static bool snapshot_end(struct db *db)
{
	bool ended = db_exec(db, NULL, "COMMIT", "") >= 0 && sqlite3_get_autocommit(db->conn);
	db->snapshot = false;
	return ended;
}

void store_drop_snapshots(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	for (struct db **at = &s->idle; *at;) {
		struct db *db = *at;
		if (!db->snapshot || snapshot_end(db)) {
			at = &db->next;
			continue;
		}
		*at = db->next;
		s->nidle--;
		db_close(db);
	}
	pthread_mutex_unlock(&s->lock);
}

struct db *store_read_begin(struct store *s, struct error *err)
{
	pthread_mutex_lock(&s->lock);
	struct db *db = s->idle;
	if (db) {
		s->idle = db->next;
		s->nidle--;
	}
	pthread_mutex_unlock(&s->lock);
	if (!db)
		db = db_open(s, false, err);
	if (!db)
		return NULL;
	db->next = NULL;
	if (snapshot_is_current(s, db))
		return db;
	bool ended = !db->snapshot || snapshot_end(db);
	db->seen = atomic_load(&s->commits);
	if (!ended || db_exec(db, err, "BEGIN", "") < 0) {
		db_close(db);
		return NULL;
	}
	db->snapshot = true;
	return db;
}

void store_read_end(struct store *s, struct db *db)
{
	if (!db)
		return;
	pthread_mutex_lock(&s->lock);
	bool keep = snapshot_is_current(s, db) && !sqlite3_get_autocommit(db->conn);
	if (!keep) {
		pthread_mutex_unlock(&s->lock);
		keep = snapshot_end(db);
		pthread_mutex_lock(&s->lock);
	}
	keep = keep && s->nidle < READERS_IDLE_MAX;
	if (keep) {
		db->next = s->idle;
		s->idle = db;
		s->nidle++;
	}
	pthread_mutex_unlock(&s->lock);
	if (!keep)
		db_close(db);
}

/* ---- migrations ---- */

static int migration_version(struct db *db, const char *room, int64_t *version, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_row(db, &rows, err, "SELECT COALESCE(MAX(version), 0) FROM store_migration WHERE room=?", "s", room) < 0)
		return -1;
	*version = rows_int(&rows, 0);
	return 0;
}

static int migrate_one(struct db *db, const struct store_migration *m, struct error *err)
{
	int64_t have;
	if (migration_version(db, m->room, &have, err) < 0)
		return -1;
	if (m->version <= have)
		return 0;
	if (m->version != have + 1)
		return error_set(err, "migration %s %d does not follow version %lld", m->room, m->version,
				 (long long)have);
	if (db_begin(db, err) < 0)
		return -1;
	if (db_script(db, m->sql, err) < 0 ||
	    db_exec(db, err, "INSERT INTO store_migration(room, version, applied_ms) VALUES(?, ?, ?)", "sii", m->room,
		    (int64_t)m->version, clock_now_ms()) < 0) {
		db_rollback(db);
		return error_wrap(err, "migration %s %d", m->room, m->version);
	}
	return db_commit(db, err);
}

/* A store that a newer build has written is refused rather than half understood. */
static int check_newest(struct db *db, const struct store_migration *migrations, struct error *err)
{
	for (const struct store_migration *m = migrations; m->room; m++) {
		int64_t have;
		int newest = 0;
		for (const struct store_migration *o = migrations; o->room; o++)
			if (strcmp(o->room, m->room) == 0 && o->version > newest)
				newest = o->version;
		if (migration_version(db, m->room, &have, err) < 0)
			return -1;
		if (have > newest)
			return error_set(err, "the store was written by a newer version (%s %lld, this one knows %d)",
					 m->room, (long long)have, newest);
	}
	return 0;
}

int store_migrate(struct store *s, const struct store_migration *migrations, struct error *err)
{
	struct db *db = s->writer;
	if (db_script(db,
		      "CREATE TABLE IF NOT EXISTS store_migration(room TEXT NOT NULL, version INTEGER NOT NULL,"
		      " applied_ms INTEGER NOT NULL, PRIMARY KEY(room, version))",
		      err) < 0)
		return -1;
	for (const struct store_migration *m = migrations; m->room; m++)
		if (migrate_one(db, m, err) < 0)
			return -1;
	return check_newest(db, migrations, err);
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

int store_backup(struct store *s, const char *path, struct error *err)
{
	if (make_private(path, O_EXCL, err) < 0)
		return -1;
	struct db *db = db_open(s, false, err);
	if (!db)
		return -1;
	int rc = db_script(db, "PRAGMA query_only=0", err);
	if (rc == 0)
		rc = db_exec(db, err, "VACUUM INTO ?", "s", path) < 0 ? -1 : 0;
	db_close(db);
	if (rc == 0)
		rc = sync_path(path, O_RDWR, err);
	if (rc == 0)
		rc = sync_parent(path, err);
	if (rc == 0)
		return 0;
	unlink(path);
	return error_wrap(err, "back up the store to `%s`", path);
}
