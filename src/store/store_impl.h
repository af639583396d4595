/* store_impl.h - what the files of the store share; nobody else includes it. */
#ifndef QUERN_STORE_IMPL_H
#define QUERN_STORE_IMPL_H

#include "store/store.h"
#include "base/map.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

enum { BUSY_TIMEOUT_MS = 10000 };

/* A prepared statement. Those of the same text hang on one chain: a query may run inside another's rows. */
struct statement {
	sqlite3_stmt *stmt;
	struct statement *next;
	bool busy;
};

struct db {
	struct store *store;
	sqlite3 *conn;
	struct map statements; /* text -> first of a chain of struct statement */
	size_t nstatements;
	bool writer;
	bool in_transaction; /* the writer, between begin and commit or rollback */
	bool snapshot;       /* a reader: its transaction is open */
	uint64_t seen;       /* a reader: `commits` before its snapshot was taken */
	struct db *next;     /* idle readers */
};

struct store {
	char *path;
	char *scratch_dir; /* of a private store, else NULL */
	int lock_fd;
	struct db *writer;
	pthread_mutex_t lock; /* idle readers */
	struct db *idle;
	int nidle;
	_Atomic uint64_t commits; /* counted before and after each commit: odd while one is being made */
	_Atomic(char *) fault;
	int wal_pages;     /* after the last commit of the writer */
	int checkpoint_at; /* that many */
};

/* Opens one connection with its settings. */
struct db *db_open(struct store *s, bool writer, struct error *err);
void db_close(struct db *db);
/* Around everything that may change what readers see, or that their snapshots would be in the way of: between the two
 * no idle reader keeps a snapshot. */
void store_commit_begins(struct store *s);
void store_commit_ended(struct store *s);
/* Ends the snapshots of idle readers; between the two above. */
void store_drop_snapshots(struct store *s);
/* Runs statements without parameters or rows, not cached. */
int db_script(struct db *db, const char *sql, struct error *err);
/* Says what SQLite complains of; code "conflict" for a broken UNIQUE. A fault that leaves the file in doubt ends
 * writing. Returns -1. */
int db_fail(struct db *db, int rc, const char *action, struct error *err);
/* The first call wins. */
void store_set_fault(struct store *s, const char *text);
int store_migrate(struct store *s, const struct store_migration *migrations, struct error *err);

#endif
