/* sqlite_db.c - one connection to SQLite: transactions, statements, rows.
 *
 * DESIGN: statements are prepared once per text and kept; a text in use twice at a time has two. SQLite rolls a
 * transaction back by itself on some faults (disk full, I/O); the writer notices that before each statement, so that
 * nothing is ever written outside the transaction it was meant for. */
#include "store/sqlite_impl.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/buf.h"

enum { STATEMENTS_MAX = 512, CHECKPOINT_PAGES = 4000, RESTART_WAIT_MS = 50 };

static void chain_free(struct statement *st)
{
	while (st) {
		struct statement *next = st->next;
		sqlite3_finalize(st->stmt);
		free(st);
		st = next;
	}
}

void sqlite_db_close(struct db *base)
{
	struct sqlite_db *db = sqlite_db(base);
	for (size_t i = 0; i < db->statements.count; i++)
		chain_free(db->statements.entries[i].value);
	map_release(&db->statements);
	sqlite3_close(db->conn);
	free(db);
}

static bool file_in_doubt(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_IOERR:
	case SQLITE_FULL:
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return true;
	}
	return false;
}

int sqlite_fail(struct db *db, int rc, const char *action, struct error *err)
{
	const char *text = sqlite3_errmsg(sqlite_db(db)->conn);
	if (db->writer && file_in_doubt(rc)) {
		CLEANUP_BUF struct buf why = BUF_INIT;
		buf_printf(&why, "%s: %s (SQLite code %d)", action, text, rc);
		store_set_fault(db->store, why.ptr);
	}
	if (rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_ROWID)
		return error_aws(err, "conflict", "%s: %s", action, text);
	return error_set(err, "%s: %s (SQLite code %d)", action, text, rc);
}

int sqlite_script(struct db *db, const char *sql, struct error *err)
{
	int rc = sqlite3_exec(sqlite_db(db)->conn, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : sqlite_fail(db, rc, "run SQL", err);
}

/* ---- statements ---- */

/* Forgets the texts nobody is using, when somebody builds SQL without end. */
static void evict_statements(struct sqlite_db *db)
{
	for (size_t i = 0; i < db->statements.count;) {
		struct map_entry *entry = &db->statements.entries[i];
		struct statement *st = entry->value;
		bool busy = false;
		size_t n = 0;
		for (struct statement *o = st; o; o = o->next, n++)
			busy = busy || o->busy;
		if (busy) {
			i++;
			continue;
		}
		map_remove(&db->statements, entry->key); /* the last entry moves here */
		db->nstatements -= n;
		chain_free(st);
	}
}

/* An idle statement for `sql`, marked busy. */
static struct statement *take_statement(struct db *base, const char *sql, struct error *err)
{
	struct sqlite_db *db = sqlite_db(base);
	struct str text = str_from(sql);
	struct statement *first = map_get(&db->statements, text);
	for (struct statement *st = first; st; st = st->next) {
		if (!st->busy) {
			st->busy = true;
			return st;
		}
	}
	sqlite3_stmt *stmt = NULL;
	const char *tail = NULL;
	int rc = sqlite3_prepare_v3(db->conn, sql, (int)text.len + 1, SQLITE_PREPARE_PERSISTENT, &stmt, &tail);
	if (rc != SQLITE_OK) {
		sqlite_fail(base, rc, sql, err);
		return NULL;
	}
	if (!stmt || str_trim(str_from(tail)).len) {
		sqlite3_finalize(stmt);
		error_set(err, "`%s` is not one SQL statement", sql);
		return NULL;
	}
	struct statement *st = mem_calloc(1, sizeof(*st));
	st->stmt = stmt;
	st->busy = true;
	if (first) {
		st->next = first->next;
		first->next = st;
	} else {
		if (db->nstatements >= STATEMENTS_MAX)
			evict_statements(db);
		map_set(&db->statements, text, st);
	}
	db->nstatements++;
	return st;
}

static void give_statement(struct statement *st)
{
	sqlite3_reset(st->stmt);
	sqlite3_clear_bindings(st->stmt);
	st->busy = false;
}

/* `keep`: SQLite copies the values, because they are read after the call. */
static int bind_values(struct db *db, sqlite3_stmt *stmt, const char *sql, const char *types, va_list ap, bool keep,
		       struct error *err)
{
	int want = sqlite3_bind_parameter_count(stmt);
	if ((size_t)want != strlen(types))
		BUG("`%s` has %d parameters, \"%s\" given", sql, want, types);
	sqlite3_destructor_type copy = keep ? SQLITE_TRANSIENT : SQLITE_STATIC;
	int rc = SQLITE_OK;
	for (int i = 1; types[i - 1] && rc == SQLITE_OK; i++) {
		const char *z;
		struct str s;
		switch (types[i - 1]) {
		case 'i':
			rc = sqlite3_bind_int64(stmt, i, va_arg(ap, int64_t));
			break;
		case 'd':
			rc = sqlite3_bind_double(stmt, i, va_arg(ap, double));
			break;
		case 's':
			z = va_arg(ap, const char *);
			rc = z ? sqlite3_bind_text(stmt, i, z, -1, copy) : sqlite3_bind_null(stmt, i);
			break;
		case 'S':
			s = va_arg(ap, struct str);
			rc = s.ptr ? sqlite3_bind_text64(stmt, i, s.ptr, s.len, copy, SQLITE_UTF8)
				   : sqlite3_bind_null(stmt, i);
			break;
		case 'b':
			s = va_arg(ap, struct str);
			rc = s.ptr ? sqlite3_bind_blob64(stmt, i, s.ptr, s.len, copy) : sqlite3_bind_null(stmt, i);
			break;
		default:
			BUG("`%s`: unknown type letter in \"%s\"", sql, types);
		}
	}
	return rc == SQLITE_OK ? 0 : sqlite_fail(db, rc, sql, err);
}

static int start_statement(struct db *db, struct statement **out, bool keep, struct error *err, const char *sql,
			   const char *types, va_list ap)
{
	if (db->in_transaction && sqlite3_get_autocommit(sqlite_db(db)->conn)) {
		const char *fault = store_fault(db->store);
		return error_set(err, "the transaction was rolled back by an earlier error%s%s", fault ? ": " : "",
				 fault ? fault : "");
	}
	struct statement *st = take_statement(db, sql, err);
	if (!st)
		return -1;
	if (bind_values(db, st->stmt, sql, types, ap, keep, err) < 0) {
		give_statement(st);
		return -1;
	}
	*out = st;
	return 0;
}

int sqlite_exec(struct db *db, struct error *err, const char *sql, const char *types, va_list ap)
{
	struct statement *st;
	if (start_statement(db, &st, false, err, sql, types, ap) < 0)
		return -1;
	bool commits = db->writer && !db->in_transaction && !sqlite3_stmt_readonly(st->stmt);
	if (commits && store_refuse_fault(db->store, err) < 0) {
		give_statement(st);
		return -1;
	}
	if (commits)
		sqlite_commit_begins(db->store);
	int rc;
	do
		rc = sqlite3_step(st->stmt);
	while (rc == SQLITE_ROW);
	if (commits)
		sqlite_commit_ended(db->store);
	int changed = sqlite3_stmt_readonly(st->stmt) ? 0 : sqlite3_changes(sqlite_db(db)->conn);
	int result = rc == SQLITE_DONE ? changed : sqlite_fail(db, rc, sql, err);
	give_statement(st);
	return result;
}

int sqlite_query(struct db *db, struct rows *rows, bool one, struct error *err, const char *sql, const char *types,
		 va_list ap)
{
	struct statement *st;
	(void)one;
	if (start_statement(db, &st, true, err, sql, types, ap) < 0)
		return -1;
	rows->stmt = st;
	return 0;
}

int sqlite_rows_next(struct rows *rows, struct error *err)
{
	struct statement *st = rows->stmt;
	int rc = sqlite3_step(st->stmt);
	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : sqlite_fail(rows->db, rc, sqlite3_sql(st->stmt), err);
}

static sqlite3_stmt *rows_stmt(struct rows *rows)
{
	return ((struct statement *)rows->stmt)->stmt;
}

int64_t sqlite_rows_int(struct rows *rows, int col)
{
	return sqlite3_column_int64(rows_stmt(rows), col);
}

double sqlite_rows_real(struct rows *rows, int col)
{
	return sqlite3_column_double(rows_stmt(rows), col);
}

struct str sqlite_rows_str(struct rows *rows, int col)
{
	sqlite3_stmt *stmt = rows_stmt(rows);
	int type = sqlite3_column_type(stmt, col);
	if (type == SQLITE_NULL)
		return STR_NULL;
	const char *p =
		type == SQLITE_BLOB ? sqlite3_column_blob(stmt, col) : (const char *)sqlite3_column_text(stmt, col);
	return str_of(p ? p : "", (size_t)sqlite3_column_bytes(stmt, col));
}

bool sqlite_rows_null(struct rows *rows, int col)
{
	return sqlite3_column_type(rows_stmt(rows), col) == SQLITE_NULL;
}

void sqlite_rows_done(struct rows *rows)
{
	give_statement(rows->stmt);
}

/* ---- transactions ---- */

int sqlite_begin(struct db *db, struct error *err)
{
	return db_exec(db, err, "BEGIN IMMEDIATE", "") < 0 ? -1 : 0;
}

/* Moves the WAL into the file, every CHECKPOINT_PAGES; when readers have kept it from starting over for long, it waits
 * a moment for them. The commit before it stands whatever happens here, but a failed sync ends further writing. */
static void checkpoint(struct db *db)
{
	struct sqlite_store *s = sqlite_store(db->store);
	bool wait = s->wal_pages >= 4 * CHECKPOINT_PAGES;
	sqlite_drop_snapshots(db->store);
	if (wait)
		sqlite3_busy_timeout(sqlite_db(db)->conn, RESTART_WAIT_MS);
	int rc = sqlite3_wal_checkpoint_v2(sqlite_db(db)->conn, NULL,
					   wait ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	if (wait)
		sqlite3_busy_timeout(sqlite_db(db)->conn, BUSY_TIMEOUT_MS);
	if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY && (rc & 0xff) != SQLITE_LOCKED)
		sqlite_fail(db, rc, "checkpoint", NULL);
	s->checkpoint_at = s->wal_pages + CHECKPOINT_PAGES;
}

static int commit_now(struct db *db, struct error *err)
{
	struct sqlite_store *s = sqlite_store(db->store);
	int before = s->wal_pages;
	if (db_exec(db, err, "COMMIT", "") < 0) {
		/* whether the bytes reached the disk is not known; no second try */
		store_set_fault(db->store, sqlite3_errmsg(sqlite_db(db)->conn));
		sqlite_rollback(db);
		return error_wrap(err, "commit");
	}
	if (s->wal_pages < before || !s->checkpoint_at)
		s->checkpoint_at = CHECKPOINT_PAGES; /* it has started over */
	if (s->wal_pages >= s->checkpoint_at)
		checkpoint(db);
	return 0;
}

int sqlite_commit(struct db *db, struct error *err)
{
	sqlite_commit_begins(db->store);
	int rc = commit_now(db, err);
	sqlite_commit_ended(db->store);
	return rc;
}

void sqlite_rollback(struct db *db)
{
	if (!sqlite3_get_autocommit(sqlite_db(db)->conn))
		db_exec(db, NULL, "ROLLBACK", "");
}

int sqlite_savepoint(struct db *db, struct error *err)
{
	return db_exec(db, err, "SAVEPOINT quern", "") < 0 ? -1 : 0;
}

int sqlite_savepoint_release(struct db *db, struct error *err)
{
	return db_exec(db, err, "RELEASE quern", "") < 0 ? -1 : 0;
}

void sqlite_savepoint_rollback(struct db *db)
{
	if (sqlite3_get_autocommit(sqlite_db(db)->conn))
		return; /* SQLite has undone the whole transaction already; the commit will say so */
	db_exec(db, NULL, "ROLLBACK TO quern", "");
	db_exec(db, NULL, "RELEASE quern", "");
}
