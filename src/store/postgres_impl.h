/* postgres_impl.h - what the files of the PostgreSQL back end share. */
#ifndef QUERN_STORE_POSTGRES_IMPL_H
#define QUERN_STORE_POSTGRES_IMPL_H

#include "store/store_impl.h"
#include "base/buf.h"
#include "base/map.h"

#include <libpq-fe.h>

/* ---- postgres_lib.c: libpq, loaded when the first address of a database is given ---- */

#define PQ_FUNCTIONS(X)                                                                                                \
	X(PQclear)                                                                                                     \
	X(PQcmdStatus)                                                                                                 \
	X(PQcmdTuples)                                                                                                 \
	X(PQconnectdbParams)                                                                                           \
	X(PQconninfoFree)                                                                                              \
	X(PQconninfoParse)                                                                                             \
	X(PQenterPipelineMode)                                                                                         \
	X(PQerrorMessage)                                                                                              \
	X(PQexec)                                                                                                      \
	X(PQfinish)                                                                                                    \
	X(PQfreemem)                                                                                                   \
	X(PQftype)                                                                                                     \
	X(PQgetResult)                                                                                                 \
	X(PQgetisnull)                                                                                                 \
	X(PQgetlength)                                                                                                 \
	X(PQgetvalue)                                                                                                  \
	X(PQisthreadsafe)                                                                                              \
	X(PQlibVersion)                                                                                                \
	X(PQntuples)                                                                                                   \
	X(PQparameterStatus)                                                                                           \
	X(PQpipelineSync)                                                                                              \
	X(PQresultErrorField)                                                                                          \
	X(PQresultErrorMessage)                                                                                        \
	X(PQresultStatus)                                                                                              \
	X(PQsendPrepare)                                                                                               \
	X(PQsendQueryParams)                                                                                           \
	X(PQsendQueryPrepared)                                                                                         \
	X(PQserverVersion)                                                                                             \
	X(PQsetNoticeProcessor)                                                                                        \
	X(PQstatus)                                                                                                    \
	X(PQtransactionStatus)

struct pq {
#define X(name) __typeof__(name) *name;
	PQ_FUNCTIONS(X)
#undef X
};
extern struct pq pq;

/* Loads libpq once. From any thread. */
int pq_load(struct error *err);

/* ---- postgres_sql.c: the dialect ---- */

struct pg_sql {
	struct buf text;
	bool select;  /* it only reads rows: SELECT or WITH */
	bool limited; /* a SELECT with a LIMIT of its own */
	/* INSERT ... VALUES without ON CONFLICT: made into ON CONFLICT DO NOTHING, so that a conflict is no error,
	 * which would undo the transaction; no row then means a conflict */
	bool plain_insert;
	bool conflict_fails; /* set by the caller: a plain INSERT stays as it is */
};

/* Translates the first statement of *sql, of the SQL that SQLite and the rooms write, into PostgreSQL's, and moves *sql
 * behind it. False when there is none. `out` was zero (conflict_fails aside); the caller frees out->text. */
bool pg_sql_next(const char **sql, struct pg_sql *out);

/* ---- postgres_db.c: one connection ---- */

struct pg_statement;

struct pg_db {
	struct db base;
	PGconn *conn;
	struct map statements; /* SQLite's text -> first of a chain of struct pg_statement */
	size_t nstatements;
	uint64_t names;  /* given to statements and cursors so far */
	int queued;      /* commands sent of which the results were not read */
	int syncs;       /* pipeline syncs likewise */
	bool must_begin; /* the transaction begins with its first statement */
	bool begun;
	char *failed; /* why the server has given up the transaction, or NULL */
};

static inline struct pg_db *pg_db(struct db *db)
{
	return (struct pg_db *)db;
}

/* Connects; the writer takes the store's lock and looks at the server's settings (postgres.c has both). */
struct db *pg_db_open(struct store *s, bool writer, struct error *err);
void pg_db_close(struct db *db);

int pg_script(struct db *db, const char *sql, struct error *err);
int pg_exec(struct db *db, struct error *err, const char *sql, const char *types, va_list ap);
int pg_write(struct db *db, struct error *err, const char *sql, const char *types, va_list ap);
int pg_query(struct db *db, struct rows *rows, bool one, struct error *err, const char *sql, const char *types,
	     va_list ap);
int pg_begin(struct db *db, struct error *err);
int pg_commit(struct db *db, struct error *err);
void pg_rollback(struct db *db);
int pg_savepoint(struct db *db, struct error *err);
int pg_savepoint_release(struct db *db, struct error *err);
void pg_savepoint_rollback(struct db *db);
int pg_reader_begin(struct db *db, struct error *err);
bool pg_reader_end(struct db *db);

/* ---- postgres_pipe.c: commands out, results in ---- */

/* Parameters of a statement, in binary. */
enum { PG_PARAMS_MAX = 64 };
struct pg_params {
	int n;
	Oid types[PG_PARAMS_MAX];
	const char *values[PG_PARAMS_MAX];
	int lengths[PG_PARAMS_MAX], formats[PG_PARAMS_MAX];
	uint64_t numbers[PG_PARAMS_MAX];
};

/* Settles when much is queued. */
int pg_make_room(struct pg_db *db, struct error *err);
/* Queues a command without rows; it goes out with the next pg_settle. */
int pg_later(struct pg_db *db, const char *sql, struct error *err);
/* After something was queued by other means. `sent` is what libpq answered: 0 = the connection is lost. */
int pg_queued(struct pg_db *db, int sent, const char *action, struct error *err);
/* Sends what is queued and reads all results. *out (NULL: not wanted) is the last command's, which the caller clears.
 * An error of any command: < 0, code "conflict" for a broken UNIQUE. */
int pg_settle(struct pg_db *db, const char *action, PGresult **out, struct error *err);
/* Sends what is queued; the results are read by the next pg_settle. */
int pg_push(struct pg_db *db, struct error *err);
bool pg_lost(const struct pg_db *db);

/* ---- postgres_rows.c: rows ---- */

struct pg_rows *pg_rows_new(PGresult *res);
/* The rows go on in cursor `number`; it is asked for more when these are used up. */
void pg_rows_cursor(struct pg_rows *rows, uint64_t number);
int pg_rows_next(struct rows *rows, struct error *err);
int64_t pg_rows_int(struct rows *rows, int col);
double pg_rows_real(struct rows *rows, int col);
struct str pg_rows_str(struct rows *rows, int col);
bool pg_rows_null(struct rows *rows, int col);
void pg_rows_done(struct rows *rows);

/* Rows that a cursor is asked for at a time. */
enum { PG_FETCH_ROWS = 1000 };

/* ---- postgres.c ---- */

/* A new connection of `s`, its settings made, in pipeline mode. */
PGconn *pg_connect(struct store *s, struct error *err);

#endif
