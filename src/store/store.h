/* store.h - transactions and tables.
 *
 * DESIGN: one SQLite file (WAL, synchronous=FULL), or one PostgreSQL database (libpq, loaded when it is asked for). One
 * writer connection, used by the core thread only; any number of reader connections, each a snapshot. All SQL of the
 * project goes through `struct db`; statements are cached by their text. The statements are written for both: SQLite's
 * types and `?` in what else both know (postgres_sql.c says what is translated; an upsert names its target and its
 * table, "ON CONFLICT(a) DO UPDATE SET n=t.n+1"; texts are compared with texts, numbers with numbers, a truth value is
 * no number). An I/O error on commit, or a lost connection to the database, is final: the store stops taking writes
 * (fsync and a commit are never retried) and says so. Sources: SQLite documentation, "WAL", "Atomic commit"; PostgreSQL
 * documentation, "Transaction Isolation". */
#ifndef QUERN_STORE_STORE_H
#define QUERN_STORE_STORE_H

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

struct store;
struct db; /* one connection: the writer inside a transaction, or a reader inside a snapshot */

/* One step of a room's schema. Steps run once, in order of `version` (from 1), when the store opens. */
struct store_migration {
	const char *room;
	int version;
	const char *sql;          /* one or more statements */
	const char *sql_postgres; /* in its place where it can't be said for both; NULL = the same */
};

/* Opens (creates) the store `path`: a file of SQLite, or the database of a PostgreSQL address (postgresql://...), which
 * no other process may have open, and runs the migrations that are missing; `migrations` ends with a NULL room, NULL =
 * none. "" = a private scratch store for tests, in memory (/dev/shm), gone at store_close; it behaves as a file does,
 * readers and snapshots included. *out is owned by the caller; store_close frees it. */
bool store_is_address(const char *path); /* PostgreSQL's, by its first letters */
int store_open(const char *path, const struct store_migration *migrations, struct store **out, struct error *err);
/* Every reader must have been given back. NULL is accepted. */
void store_close(struct store *s);
/* Why the store takes no more writes, or NULL while it is well. Borrowed, valid as long as the store. From any thread.
 */
const char *store_fault(struct store *s);

/* The writer connection; core thread only. */
struct db *store_writer(struct store *s);
int db_begin(struct db *db, struct error *err);
/* Durable on return. */
int db_commit(struct db *db, struct error *err);
void db_rollback(struct db *db);
/* Nested: undo back to a savepoint without losing the rest of the transaction. */
int db_savepoint(struct db *db, struct error *err);
int db_savepoint_release(struct db *db, struct error *err);
void db_savepoint_rollback(struct db *db);

/* A reader with a snapshot of the last commit (of now, or of its first query), from any thread, used by one thread at a
 * time; give it back soon, with all its rows done. Never NULL except on a fault (err). It can't write. */
struct db *store_read_begin(struct store *s, struct error *err);
void store_read_end(struct store *s, struct db *db);
/* Gives memory back: idle readers, and the writer's page cache. Core thread, outside of a transaction. */
void store_trim(struct store *s);
/* Writes a consistent copy of the whole store to the new file `path`, on disk on return. From any thread; writers go on
 * meanwhile. A store in PostgreSQL answers with an error that names pg_dump. */
int store_backup(struct store *s, const char *path, struct error *err);

/* Runs one statement without rows. `types` has one letter per `?`:
 *   i int64_t · d double · s const char* (NULL = SQL NULL) · S struct str as text (ptr NULL = NULL) · b struct str as
 * blob Values are borrowed for the call. Mind that "i" takes an int64_t: cast other integers. Returns the number of
 * changed rows, or < 0. Code "conflict" in err->code when a UNIQUE or PRIMARY KEY constraint failed. After an INSERT
 * ... VALUES that conflicts the transaction goes on; after another error it may have to be rolled back, wholly or to a
 * savepoint, before it takes further statements (PostgreSQL). */
int db_exec(struct db *db, struct error *err, const char *sql, const char *types, ...);
/* As db_exec, for a statement of which only success is asked, 0 or < 0. In a transaction of PostgreSQL it may travel
 * with a later one, and its error (a conflict too) then comes with that: it is for what can't fail but by a fault. */
int db_write(struct db *db, struct error *err, const char *sql, const char *types, ...);

/* Rows of a query. Use:
 *   CLEANUP_ROWS struct rows rows = {0};
 *   if (db_query(db, &rows, err, "SELECT a, b FROM t WHERE c=?", "s", c) < 0) return -1;
 *   while ((rc = rows_next(&rows, err)) > 0) ... rows_str(&rows, 0) ...
 * Column values are borrowed until the next rows_next. */
struct rows {
	void *stmt;
	struct db *db;
};
int db_query(struct db *db, struct rows *rows, struct error *err, const char *sql, const char *types, ...);
/* 1 a row, 0 the end, < 0 an error. */
int rows_next(struct rows *rows, struct error *err);
int64_t rows_int(struct rows *rows, int col);
double rows_real(struct rows *rows, int col);
struct str rows_str(struct rows *rows, int col); /* text or blob; STR_NULL for SQL NULL; NUL-terminated when text */
bool rows_null(struct rows *rows, int col);
void rows_done(struct rows *rows);
#define CLEANUP_ROWS __attribute__((cleanup(rows_done)))

/* One row of one query: returns 1 and leaves `rows` on the row (caller: rows_done), 0 when there is none, < 0 an error.
 */
int db_row(struct db *db, struct rows *rows, struct error *err, const char *sql, const char *types, ...);

#endif
