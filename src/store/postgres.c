/* postgres.c - the PostgreSQL back end: opening, the lock of the one writer, what the server must promise.
 *
 * DESIGN: the writer holds an advisory lock of the database (and schema) as long as its connection lives; a second
 * daemon is refused. A commit is durable on return: a server with fsync=off is refused, and synchronous_commit=off is
 * not used by our connections. What is not ours to decide (address, user, password, TLS) is libpq's: the address, its
 * environment variables, ~/.pgpass. Source: PostgreSQL documentation, "Database Connection Control Functions",
 * "Advisory Lock Functions", "Write Ahead Log". */
#include "store/postgres_impl.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"

enum { SERVER_MIN = 120000, LOCK_WAIT_MS = 5000, LOCK_POLL_MS = 50 };

struct pg_store {
	struct store base;
	char *address;
};

static void ignore_notice(void *arg, const char *text)
{
	(void)arg, (void)text;
}

/* ---- connections ---- */

static const char *option_of(const PQconninfoOption *options, const char *name)
{
	for (const PQconninfoOption *o = options; o->keyword; o++)
		if (strcmp(o->keyword, name) == 0 && o->val)
			return o->val;
	return "";
}

/* The address without what is secret in it. */
static char *public_name(const char *address, struct error *err)
{
	PQconninfoOption *options = pq.PQconninfoParse(address, NULL); /* its error would show the password */
	struct buf name = BUF_INIT;
	if (!options) {
		error_set(err, "the store's address is not of the form postgresql://user@host:port/database");
		return NULL;
	}
	const char *user = option_of(options, "user"), *host = option_of(options, "host"),
		   *port = option_of(options, "port");
	buf_printf(&name, "postgresql://%s%s%s%s%s/%s", user, *user ? "@" : "", host, *port ? ":" : "", port,
		   option_of(options, "dbname"));
	pq.PQconninfoFree(options);
	return buf_detach(&name);
}

static int check_server(PGconn *conn, struct error *err)
{
	const char *encoding = pq.PQparameterStatus(conn, "server_encoding");
	if (pq.PQserverVersion(conn) < SERVER_MIN)
		return error_set(err, "the server is PostgreSQL %s; version 12 or later is needed",
				 pq.PQparameterStatus(conn, "server_version"));
	if (!encoding || strcmp(encoding, "UTF8") != 0)
		return error_set(err,
				 "the database's encoding is %s; it must be UTF8 (createdb --encoding=UTF8 "
				 "--template=template0)",
				 encoding ? encoding : "unknown");
	return 0;
}

/* What an administrator may have set for other clients must not end our transactions. */
static int make_settings(PGconn *conn, struct error *err)
{
	const char *text = "SET statement_timeout=0; SET lock_timeout=0; SET idle_in_transaction_session_timeout=0;"
			   "SET standard_conforming_strings=on; SET jit=off;"
			   "SELECT set_config('synchronous_commit', 'on', false) WHERE "
			   "current_setting('synchronous_commit')='off';"
			   "SELECT set_config(name, '0', false) FROM pg_settings WHERE name='idle_session_timeout'";
	PGresult *res = pq.PQexec(conn, text);
	int rc = pq.PQresultStatus(res) == PGRES_TUPLES_OK ? 0 : error_set(err, "%s", pq.PQresultErrorMessage(res));
	pq.PQclear(res);
	return rc;
}

PGconn *pg_connect(struct store *s, struct error *err)
{
	/* what comes first may be set otherwise in the address */
	const char *const names[] = { "application_name",
				      "connect_timeout",
				      "keepalives_idle",
				      "keepalives_interval",
				      "keepalives_count",
				      "tcp_user_timeout",
				      "dbname",
				      "client_encoding",
				      NULL },
			  *const values[] = { "quern", "10", "10", "5", "3", "30000", ((struct pg_store *)s)->address,
					      "UTF8",  NULL };
	PGconn *conn = pq.PQconnectdbParams(names, values, 1);
	int rc = 0;
	if (pq.PQstatus(conn) != CONNECTION_OK)
		rc = error_set(err, "%.*s", STR_ARG(str_trim(str_from(pq.PQerrorMessage(conn)))));
	if (rc == 0) {
		pq.PQsetNoticeProcessor(conn, ignore_notice, NULL);
		rc = check_server(conn, err);
	}
	if (rc == 0)
		rc = make_settings(conn, err);
	if (rc == 0 && !pq.PQenterPipelineMode(conn))
		rc = error_set(err, "%s", pq.PQerrorMessage(conn));
	if (rc == 0)
		return conn;
	error_wrap(err, "connect to `%s`", s->name);
	pq.PQfinish(conn);
	return NULL;
}

/* ---- the one writer ---- */

static int check_durable(struct db *db, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_row(db, &rows, err, "SELECT current_setting('fsync'), current_schema()", "") <= 0)
		return -1;
	if (!str_eqz(rows_str(&rows, 0), "on"))
		return error_set(err, "the server runs with fsync=off: it would lose what it has acknowledged");
	if (rows_null(&rows, 1))
		return error_set(err, "no schema of the search path exists");
	return 0;
}

/* The server holds the lock of a process that was killed until it has noticed. */
static int take_lock(struct db *db, struct error *err)
{
	for (int waited_ms = 0;; waited_ms += LOCK_POLL_MS) {
		CLEANUP_ROWS struct rows rows = { 0 };
		if (db_row(db, &rows, err,
			   "SELECT pg_try_advisory_lock(hashtextextended('quern store in ' || current_schema(), 0))",
			   "") <= 0)
			return -1;
		if (rows_int(&rows, 0))
			return 0;
		if (waited_ms >= LOCK_WAIT_MS)
			return error_set(err, "another process has it open");
		usleep(LOCK_POLL_MS * 1000);
	}
}

static void postgres_close(struct store *base)
{
	struct pg_store *s = (struct pg_store *)base;
	if (base->writer) {
		pg_rollback(base->writer);
		pg_db_close(base->writer);
	}
	free(atomic_load(&base->fault));
	free(s->address);
	free(base->name);
	free(s);
}

static struct store *postgres_open(const char *address, struct error *err)
{
	if (pq_load(err) < 0)
		return NULL;
	char *name = public_name(address, err);
	if (!name)
		return NULL;
	struct pg_store *s = mem_calloc(1, sizeof(*s));
	s->base.ops = &store_postgres;
	s->base.name = name;
	s->address = mem_strdup(address);
	s->base.writer = pg_db_open(&s->base, true, err);
	if (s->base.writer && check_durable(s->base.writer, err) == 0 && take_lock(s->base.writer, err) == 0)
		return &s->base;
	error_wrap(err, "open store `%s`", name);
	postgres_close(&s->base);
	return NULL;
}

static void postgres_trim(struct store *s)
{
	(void)s; /* the server's memory is its own */
}

static int postgres_backup(struct store *s, const char *path, struct error *err)
{
	(void)path;
	return error_set(err, "the store is in the database `%s`: copy it with pg_dump", s->name);
}

static struct db *reader_open(struct store *s, struct error *err)
{
	return pg_db_open(s, false, err);
}

static bool reader_keeps(struct db *db)
{
	(void)db;
	return false; /* an idle snapshot would keep the server from vacuuming */
}

const struct store_ops store_postgres = {
	.open = postgres_open,
	.close = postgres_close,
	.trim = postgres_trim,
	.backup = postgres_backup,
	.reader_open = reader_open,
	.reader_begin = pg_reader_begin,
	.reader_keeps = reader_keeps,
	.reader_end = pg_reader_end,
	.db_close = pg_db_close,
	.begin = pg_begin,
	.commit = pg_commit,
	.rollback = pg_rollback,
	.savepoint = pg_savepoint,
	.savepoint_release = pg_savepoint_release,
	.savepoint_rollback = pg_savepoint_rollback,
	.script = pg_script,
	.exec = pg_exec,
	.write = pg_write,
	.query = pg_query,
	.rows_next = pg_rows_next,
	.rows_int = pg_rows_int,
	.rows_real = pg_rows_real,
	.rows_str = pg_rows_str,
	.rows_null = pg_rows_null,
	.rows_done = pg_rows_done,
};
