/* postgres_pipe.c - commands to the server, results from it.
 *
 * DESIGN: a connection is always in libpq's pipeline mode. What needs no answer at once (BEGIN, savepoints, a reader's
 * COMMIT) is queued and travels with the next statement, so that a statement costs one round trip whatever surrounds
 * it. pg_settle is the only place where results are read. An error within a transaction makes the server refuse all
 * further statements of it; `failed` says so until it is rolled back, wholly or to a savepoint. When the writer's
 * connection is lost, so is the store's lock: writing ends for good, as after an I/O error.
 * Source: PostgreSQL documentation, "Pipeline Mode", "PostgreSQL Error Codes". */
#include "store/postgres_impl.h"

#include <stdlib.h>

bool pg_lost(const struct pg_db *db)
{
	return pq.PQstatus(db->conn) != CONNECTION_OK;
}

static int fail_lost(struct pg_db *db, const char *action, struct error *err)
{
	struct str text = str_trim(str_from(pq.PQerrorMessage(db->conn)));
	if (!text.len)
		text = STR("the connection is closed");
	if (db->base.writer) {
		CLEANUP_BUF struct buf why = BUF_INIT;
		buf_printf(&why, "the connection to the database is lost: %.*s", STR_ARG(text));
		store_set_fault(db->base.store, why.ptr);
	}
	return error_set(err, "%s: the connection to the database is lost: %.*s", action, STR_ARG(text));
}

int pg_queued(struct pg_db *db, int sent, const char *action, struct error *err)
{
	if (!sent)
		return pg_lost(db) ? fail_lost(db, action, err)
				   : error_set(err, "%s: %s", action, pq.PQerrorMessage(db->conn));
	db->queued++;
	return 0;
}

int pg_make_room(struct pg_db *db, struct error *err)
{
	enum { QUEUE_MAX = 500 }; /* their answers fit into a socket's buffer: the server never waits for us to read */
	return db->queued < QUEUE_MAX ? 0 : pg_settle(db, "earlier statements", NULL, err);
}

int pg_later(struct pg_db *db, const char *sql, struct error *err)
{
	return pg_make_room(db, err) < 0
		       ? -1
		       : pg_queued(db, pq.PQsendQueryParams(db->conn, sql, 0, NULL, NULL, NULL, NULL, 1), sql, err);
}

/* The server itself is in doubt: disk full, I/O error, corruption, shutdown. */
static bool server_in_doubt(const char *state)
{
	return strncmp(state, "53", 2) == 0 || strncmp(state, "58", 2) == 0 || strncmp(state, "57P", 3) == 0 ||
	       strncmp(state, "XX", 2) == 0;
}

static int fail_result(struct pg_db *db, const PGresult *res, const char *action, struct error *err)
{
	const char *state = pq.PQresultErrorField(res, PG_DIAG_SQLSTATE),
		   *text = pq.PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	state = state ? state : "";
	text = text ? text : pq.PQresultErrorMessage(res);
	CLEANUP_BUF struct buf why = BUF_INIT;
	buf_printf(&why, "%s: %s (PostgreSQL code %s)", action, text, state);
	if (db->base.writer && server_in_doubt(state))
		store_set_fault(db->base.store, why.ptr);
	if (pq.PQtransactionStatus(db->conn) == PQTRANS_INERROR && !db->failed)
		db->failed = mem_strdup(why.ptr);
	return strcmp(state, "23505") == 0 ? error_aws(err, "conflict", "%s", why.ptr) : error_set(err, "%s", why.ptr);
}

int pg_push(struct pg_db *db, struct error *err)
{
	if (!pq.PQpipelineSync(db->conn))
		return fail_lost(db, "send", err);
	db->syncs++;
	return 0;
}

/* Reads results until each sync has come back. *last: of the last command; *bad: of the first that failed. */
static void read_results(struct pg_db *db, PGresult **last, PGresult **bad)
{
	while (db->syncs && !pg_lost(db)) {
		PGresult *res = pq.PQgetResult(db->conn);
		if (!res)
			continue; /* the end of one command */
		switch (pq.PQresultStatus(res)) {
		case PGRES_PIPELINE_SYNC:
			db->syncs--;
			break;
		case PGRES_PIPELINE_ABORTED:
			break;
		case PGRES_COMMAND_OK:
		case PGRES_TUPLES_OK:
			pq.PQclear(*last);
			*last = res;
			continue;
		default:
			if (*bad)
				break;
			*bad = res;
			continue;
		}
		pq.PQclear(res);
	}
}

int pg_settle(struct pg_db *db, const char *action, PGresult **out, struct error *err)
{
	PGresult *last = NULL, *bad = NULL;
	if (pg_push(db, err) < 0)
		return -1;
	read_results(db, &last, &bad);
	db->queued = 0;
	int rc = pg_lost(db) ? fail_lost(db, action, err) : bad ? fail_result(db, bad, action, err) : 0;
	pq.PQclear(bad);
	if (rc == 0 && out)
		*out = last;
	else
		pq.PQclear(last);
	return rc;
}
