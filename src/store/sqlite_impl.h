/* sqlite_impl.h - what the files of the SQLite back end share. */
#ifndef QUERN_STORE_SQLITE_IMPL_H
#define QUERN_STORE_SQLITE_IMPL_H

#include "store/store_impl.h"
#include "base/map.h"

#include <sqlite3.h>

enum { BUSY_TIMEOUT_MS = 10000 };

/* A prepared statement. Those of the same text hang on one chain: a query may run inside another's rows. */
struct statement {
	sqlite3_stmt *stmt;
	struct statement *next;
	bool busy;
};

struct sqlite_db {
	struct db base;
	sqlite3 *conn;
	struct map statements; /* text -> first of a chain of struct statement */
	size_t nstatements;
	bool snapshot; /* a reader: its transaction is open */
	uint64_t seen; /* a reader: `commits` before its snapshot was taken */
};

struct sqlite_store {
	struct store base;
	char *scratch_dir; /* of a private store, else NULL */
	int lock_fd;
	_Atomic uint64_t commits; /* counted before and after each commit: odd while one is being made */
	int wal_pages;            /* after the last commit of the writer */
	int checkpoint_at;        /* that many */
};

static inline struct sqlite_store *sqlite_store(struct store *s)
{
	return (struct sqlite_store *)s;
}

static inline struct sqlite_db *sqlite_db(struct db *db)
{
	return (struct sqlite_db *)db;
}

/* Around everything that may change what readers see, or that their snapshots would be in the way of: between the two
 * no idle reader keeps a snapshot. */
void sqlite_commit_begins(struct store *s);
void sqlite_commit_ended(struct store *s);
/* Ends the snapshots of idle readers; between the two above. */
void sqlite_drop_snapshots(struct store *s);

/* The functions of store_ops that sqlite_db.c has. */
void sqlite_db_close(struct db *db);
/* Says what SQLite complains of; code "conflict" for a broken UNIQUE. A fault that leaves the file in doubt ends
 * writing. Returns -1. */
int sqlite_fail(struct db *db, int rc, const char *action, struct error *err);
int sqlite_script(struct db *db, const char *sql, struct error *err);
int sqlite_exec(struct db *db, struct error *err, const char *sql, const char *types, va_list ap);
int sqlite_query(struct db *db, struct rows *rows, bool one, struct error *err, const char *sql, const char *types,
		 va_list ap);
int sqlite_rows_next(struct rows *rows, struct error *err);
int64_t sqlite_rows_int(struct rows *rows, int col);
double sqlite_rows_real(struct rows *rows, int col);
struct str sqlite_rows_str(struct rows *rows, int col);
bool sqlite_rows_null(struct rows *rows, int col);
void sqlite_rows_done(struct rows *rows);
int sqlite_begin(struct db *db, struct error *err);
int sqlite_commit(struct db *db, struct error *err);
void sqlite_rollback(struct db *db);
int sqlite_savepoint(struct db *db, struct error *err);
int sqlite_savepoint_release(struct db *db, struct error *err);
void sqlite_savepoint_rollback(struct db *db);

#endif
