/* store.c - what all back ends share: which one a store has, the pool of readers, the fault, migrations; and the way
 * from store.h to the back end's functions.
 *
 * DESIGN: the address says which back end: postgresql:// or postgres:// is PostgreSQL's, all else a file of SQLite's. A
 * transaction is begun and ended here, so that no back end forgets to look at the fault. */
#include "store/store_impl.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

enum { READERS_IDLE_MAX = 16 };

static const struct store_ops *ops_of(const char *path)
{
	return store_is_address(path) ? &store_postgres : &store_sqlite;
}

bool store_is_address(const char *text)
{
	struct str s = str_from(text);
	return str_starts(s, STR("postgresql://")) || str_starts(s, STR("postgres://"));
}

static int store_migrate(struct store *s, const struct store_migration *migrations, struct error *err);

int store_open(const char *path, const struct store_migration *migrations, struct store **out, struct error *err)
{
	struct store *s = ops_of(path)->open(path, err);
	if (!s)
		return -1;
	pthread_mutex_init(&s->lock, NULL);
	if (migrations && store_migrate(s, migrations, err) < 0) {
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
		s->ops->db_close(db);
		db = next;
	}
}

void store_trim(struct store *s)
{
	close_idle_readers(s);
	s->ops->trim(s);
}

void store_close(struct store *s)
{
	if (!s)
		return;
	close_idle_readers(s);
	pthread_mutex_destroy(&s->lock);
	s->ops->close(s);
}

int store_backup(struct store *s, const char *path, struct error *err)
{
	return s->ops->backup(s, path, err);
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
	log_error("store", "`%s` takes no more writes: %s", s->name, text);
}

int store_refuse_fault(struct store *s, struct error *err)
{
	const char *fault = store_fault(s);
	return fault ? error_set(err, "the store takes no more writes: %s", fault) : 0;
}

struct db *store_writer(struct store *s)
{
	return s->writer;
}

/* ---- readers ---- */

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
		db = s->ops->reader_open(s, err);
	if (!db)
		return NULL;
	db->next = NULL;
	if (s->ops->reader_begin(db, err) < 0) {
		s->ops->db_close(db);
		return NULL;
	}
	return db;
}

void store_read_end(struct store *s, struct db *db)
{
	if (!db)
		return;
	pthread_mutex_lock(&s->lock);
	bool keep = s->ops->reader_keeps(db);
	if (!keep) {
		pthread_mutex_unlock(&s->lock);
		keep = s->ops->reader_end(db);
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
		s->ops->db_close(db);
}

/* ---- transactions ---- */

int db_begin(struct db *db, struct error *err)
{
	if (db->in_transaction)
		BUG("transaction inside a transaction");
	if (store_refuse_fault(db->store, err) < 0 || db->ops->begin(db, err) < 0)
		return -1;
	db->in_transaction = true;
	return 0;
}

int db_commit(struct db *db, struct error *err)
{
	if (!db->in_transaction)
		BUG("commit without a transaction");
	if (store_refuse_fault(db->store, err) < 0) {
		db_rollback(db);
		return -1;
	}
	int rc = db->ops->commit(db, err);
	db->in_transaction = false;
	return rc;
}

void db_rollback(struct db *db)
{
	db->in_transaction = false;
	db->ops->rollback(db);
}

int db_savepoint(struct db *db, struct error *err)
{
	return db->ops->savepoint(db, err);
}

int db_savepoint_release(struct db *db, struct error *err)
{
	return db->ops->savepoint_release(db, err);
}

void db_savepoint_rollback(struct db *db)
{
	db->ops->savepoint_rollback(db);
}

/* ---- statements ---- */

int db_exec(struct db *db, struct error *err, const char *sql, const char *types, ...)
{
	va_list ap;
	va_start(ap, types);
	int rc = db->ops->exec(db, err, sql, types, ap);
	va_end(ap);
	return rc;
}

int db_write(struct db *db, struct error *err, const char *sql, const char *types, ...)
{
	va_list ap;
	va_start(ap, types);
	int rc = db->ops->write(db, err, sql, types, ap);
	va_end(ap);
	return rc < 0 ? -1 : 0;
}

int db_query(struct db *db, struct rows *rows, struct error *err, const char *sql, const char *types, ...)
{
	va_list ap;
	struct rows found = { .db = db };
	va_start(ap, types);
	int rc = db->ops->query(db, &found, false, err, sql, types, ap);
	va_end(ap);
	if (rc < 0)
		return -1;
	rows_done(rows);
	*rows = found;
	return 0;
}

int db_row(struct db *db, struct rows *rows, struct error *err, const char *sql, const char *types, ...)
{
	va_list ap;
	struct rows found = { .db = db };
	va_start(ap, types);
	int rc = db->ops->query(db, &found, true, err, sql, types, ap);
	va_end(ap);
	if (rc < 0)
		return -1;
	rows_done(rows);
	*rows = found;
	rc = rows_next(rows, err);
	if (rc <= 0)
		rows_done(rows);
	return rc;
}

int rows_next(struct rows *rows, struct error *err)
{
	if (!rows->stmt)
		return 0;
	int rc = rows->db->ops->rows_next(rows, err);
	if (rc <= 0)
		rows_done(rows);
	return rc;
}

static const struct store_ops *rows_ops(struct rows *rows)
{
	if (!rows->stmt)
		BUG("column read without a row");
	return rows->db->ops;
}

int64_t rows_int(struct rows *rows, int col)
{
	return rows_ops(rows)->rows_int(rows, col);
}

double rows_real(struct rows *rows, int col)
{
	return rows_ops(rows)->rows_real(rows, col);
}

struct str rows_str(struct rows *rows, int col)
{
	return rows_ops(rows)->rows_str(rows, col);
}

bool rows_null(struct rows *rows, int col)
{
	return rows_ops(rows)->rows_null(rows, col);
}

void rows_done(struct rows *rows)
{
	if (rows->stmt)
		rows->db->ops->rows_done(rows);
	rows->stmt = NULL;
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
	const bool postgres = db->ops == &store_postgres;
	if (db->ops->script(db, postgres && m->sql_postgres ? m->sql_postgres : m->sql, err) < 0 ||
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

static int store_migrate(struct store *s, const struct store_migration *migrations, struct error *err)
{
	struct db *db = s->writer;
	if (db->ops->script(db,
			    "CREATE TABLE IF NOT EXISTS store_migration(room TEXT NOT NULL, version INTEGER NOT NULL,"
			    " applied_ms INTEGER NOT NULL, PRIMARY KEY(room, version))",
			    err) < 0)
		return -1;
	for (const struct store_migration *m = migrations; m->room; m++)
		if (migrate_one(db, m, err) < 0)
			return -1;
	return check_newest(db, migrations, err);
}
