/* store_impl.h - what store.c and its back ends share; nobody else includes it.
 *
 * DESIGN: a back end is one table of functions. What it keeps of a store or a connection begins with `struct store` or
 * `struct db`; store.c does what is the same for all: migrations, the fault, the pool of idle readers. */
#ifndef QUERN_STORE_IMPL_H
#define QUERN_STORE_IMPL_H

#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>

/* Functions without a comment are those of store.h with the same name. */
struct store_ops {
	/* A store with its writer, alone: another process that has it open is an error. */
	struct store *(*open)(const char *path, struct error *err);
	void (*close)(struct store *s); /* the writer too; idle readers are gone */
	void (*trim)(struct store *s);  /* the writer's memory */
	int (*backup)(struct store *s, const char *path, struct error *err);

	struct db *(*reader_open)(struct store *s, struct error *err);
	int (*reader_begin)(struct db *db, struct error *err);
	/* Under the lock of the pool: true = it goes back as it is, with its snapshot. */
	bool (*reader_keeps)(struct db *db);
	/* Ends the snapshot. False: the connection is of no more use. */
	bool (*reader_end)(struct db *db);
	void (*db_close)(struct db *db);

	int (*begin)(struct db *db, struct error *err);
	int (*commit)(struct db *db, struct error *err);
	void (*rollback)(struct db *db);
	int (*savepoint)(struct db *db, struct error *err);
	int (*savepoint_release)(struct db *db, struct error *err);
	void (*savepoint_rollback)(struct db *db);

	/* One or more statements without parameters or rows, not kept. */
	int (*script)(struct db *db, const char *sql, struct error *err);
	int (*exec)(struct db *db, struct error *err, const char *sql, const char *types, va_list ap);
	int (*write)(struct db *db, struct error *err, const char *sql, const char *types,
		     va_list ap); /* >= 0 is success */
	/* Fills rows->stmt, which was NULL. `one`: only the first row is wanted. */
	int (*query)(struct db *db, struct rows *rows, bool one, struct error *err, const char *sql, const char *types,
		     va_list ap);
	int (*rows_next)(struct rows *rows, struct error *err);
	int64_t (*rows_int)(struct rows *rows, int col);
	double (*rows_real)(struct rows *rows, int col);
	struct str (*rows_str)(struct rows *rows, int col);
	bool (*rows_null)(struct rows *rows, int col);
	void (*rows_done)(struct rows *rows); /* rows->stmt is not NULL; store.c sets it to NULL */
};

extern const struct store_ops store_sqlite;
extern const struct store_ops store_postgres;

struct db {
	const struct store_ops *ops;
	struct store *store;
	bool writer;
	bool in_transaction; /* the writer, between begin and commit or rollback */
	struct db *next;     /* idle readers */
};

struct store {
	const struct store_ops *ops;
	char *name; /* for messages: the path, or the address without its password */
	struct db *writer;
	pthread_mutex_t lock; /* idle readers */
	struct db *idle;
	int nidle;
	_Atomic(char *) fault;
};

/* The first call wins. */
void store_set_fault(struct store *s, const char *text);
/* An error when the store takes no more writes. */
int store_refuse_fault(struct store *s, struct error *err);

#endif
