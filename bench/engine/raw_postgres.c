/* raw_postgres.c - see raw_postgres.h.
 *
 * DESIGN: prepared statements in libpq's pipeline mode, BEGIN, rows and COMMIT sent at once: the shortest program. */
#include "raw_postgres.h"

#include <endian.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct raw_postgres {
	PGconn *conn;
};

static void die(struct raw_postgres *r, const char *text)
{
	fprintf(stderr, "bench: raw PostgreSQL: %s%s\n", text, PQerrorMessage(r->conn));
	exit(1);
}

static void settle(struct raw_postgres *r)
{
	if (!PQpipelineSync(r->conn))
		die(r, "send: ");
	for (;;) {
		PGresult *res = PQgetResult(r->conn);
		ExecStatusType status = res ? PQresultStatus(res) : PGRES_COMMAND_OK;
		if (status != PGRES_COMMAND_OK && status != PGRES_PIPELINE_SYNC)
			die(r, PQresultErrorMessage(res));
		PQclear(res);
		if (status == PGRES_PIPELINE_SYNC)
			return;
		if (PQstatus(r->conn) != CONNECTION_OK)
			die(r, "");
	}
}

struct raw_postgres *raw_postgres_open(const char *address)
{
	static const Oid update[] = { 25, 20 }, append[] = { 25, 25 }; /* text, int8 */
	struct raw_postgres *r = calloc(1, sizeof(*r));
	r->conn = PQconnectdb(address);
	if (PQstatus(r->conn) != CONNECTION_OK || !PQenterPipelineMode(r->conn) ||
	    !PQsendPrepare(r->conn, "begin", "BEGIN", 0, NULL) ||
	    !PQsendPrepare(r->conn, "commit", "COMMIT", 0, NULL) ||
	    !PQsendPrepare(r->conn, "update", "UPDATE bench_raw SET state=$1 WHERE num=$2", 2, update) ||
	    !PQsendPrepare(r->conn, "append", "INSERT INTO bench_history(actor, event) VALUES($1, $2)", 2, append))
		die(r, "");
	settle(r);
	return r;
}

void raw_postgres_close(struct raw_postgres *r)
{
	PQfinish(r->conn);
	free(r);
}

void raw_postgres_commit(struct raw_postgres *r, bool append, int64_t rows, const char *text, uint64_t *x,
			 int64_t below)
{
	static const int binary[] = { 1, 1 };
	int length = (int)strlen(text), sent = PQsendQueryPrepared(r->conn, "begin", 0, NULL, NULL, NULL, 1);
	for (int64_t i = 0; sent && i < rows; i++) {
		*x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
		uint64_t num = htobe64(*x % (uint64_t)below);
		const char *values[] = { append ? "chain-1" : text, append ? text : (const char *)&num };
		int lengths[] = { append ? 7 : length, append ? length : 8 };
		sent = PQsendQueryPrepared(r->conn, append ? "append" : "update", 2, values, lengths, binary, 1);
	}
	if (!sent || !PQsendQueryPrepared(r->conn, "commit", 0, NULL, NULL, NULL, 1))
		die(r, "send: ");
	settle(r);
}
