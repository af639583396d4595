/* postgres_db.c - one connection to PostgreSQL: statements and transactions.
 *
 * DESIGN: statements are translated and prepared once per text (and types of the parameters) and kept. Rows are read
 * whole, so that a query may run inside another's rows. A query without a LIMIT may have any number of them: it is run
 * with LIMIT SOME_ROWS first, and when it has more, once more through a cursor, in the same snapshot. An INSERT that
 * could conflict is asked to do nothing instead, because an error undoes the whole transaction (postgres_sql.c). */
#include "store/postgres_impl.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { STATEMENTS_MAX = 512, SOME_ROWS = 256 };
enum { OID_BYTEA = 17, OID_INT8 = 20, OID_TEXT = 25, OID_FLOAT8 = 701 };

/* How many rows a statement is prepared for. */
enum want { WANT_ALL, WANT_ONE, WANT_SOME, WANT_NOTHING /* but an error when an INSERT conflicts */ };

struct pg_statement {
	char name[24];
	char *types;
	enum want want;
	struct pg_sql sql;
	struct pg_statement *next;
};

/* ---- life ---- */

static void chain_free(struct pg_statement *st)
{
	while (st) {
		struct pg_statement *next = st->next;
		buf_release(&st->sql.text);
		free(st->types);
		free(st);
		st = next;
	}
}

static void forget_statements(struct pg_db *db)
{
	for (size_t i = 0; i < db->statements.count; i++)
		chain_free(db->statements.entries[i].value);
	map_release(&db->statements);
	db->nstatements = 0;
}

static void forget_failure(struct pg_db *db)
{
	free(db->failed);
	db->failed = NULL;
}

struct db *pg_db_open(struct store *s, bool writer, struct error *err)
{
	PGconn *conn = pg_connect(s, err);
	if (!conn)
		return NULL;
	struct pg_db *db = mem_calloc(1, sizeof(*db));
	db->base = (struct db){ .ops = s->ops, .store = s, .writer = writer };
	db->conn = conn;
	return &db->base;
}

void pg_db_close(struct db *base)
{
	struct pg_db *db = pg_db(base);
	forget_statements(db);
	forget_failure(db);
	pq.PQfinish(db->conn);
	free(db);
}

/* ---- parameters ---- */

/* PostgreSQL's text holds no NUL, and UTF-8 only. Said here, because the server's error would undo the transaction. */
static int check_text(struct str s, const char *sql, struct error *err)
{
	if (memchr(s.ptr, 0, s.len))
		return error_set(err, "%s: PostgreSQL keeps no text with a NUL byte", sql);
	if (!str_is_utf8(s))
		return error_set(err, "%s: PostgreSQL keeps no text that is not UTF-8", sql);
	return 0;
}

static void set_bytes(struct pg_params *p, int i, Oid type, struct str s)
{
	p->types[i] = type;
	p->values[i] = s.ptr;
	p->lengths[i] = (int)s.len;
}

static void set_number(struct pg_params *p, int i, Oid type, uint64_t bits)
{
	p->numbers[i] = htobe64(bits);
	set_bytes(p, i, type, str_of(&p->numbers[i], sizeof(p->numbers[i])));
}

static int bind(struct pg_params *p, struct error *err, const char *sql, const char *types, va_list ap)
{
	enum { VALUE_MAX = 1 << 30 }; /* PostgreSQL's limit of a value */
	p->n = (int)strlen(types);
	if (p->n > PG_PARAMS_MAX)
		BUG("`%s` has %d parameters", sql, p->n);
	for (int i = 0; i < p->n; i++) {
		struct str s = STR_NULL;
		double d;
		uint64_t bits;
		p->formats[i] = 1;
		switch (types[i]) {
		case 'i':
			set_number(p, i, OID_INT8, (uint64_t)va_arg(ap, int64_t));
			continue;
		case 'd':
			d = va_arg(ap, double);
			memcpy(&bits, &d, sizeof(bits));
			set_number(p, i, OID_FLOAT8, bits);
			continue;
		case 's':
			s.ptr = va_arg(ap, const char *);
			s.len = s.ptr ? strlen(s.ptr) : 0;
			break;
		case 'S':
		case 'b':
			s = va_arg(ap, struct str);
			break;
		default:
			BUG("`%s`: unknown type letter in \"%s\"", sql, types);
		}
		if (s.len >= VALUE_MAX)
			return error_set(err, "%s: PostgreSQL keeps no value of %zu bytes", sql, s.len);
		if (types[i] != 'b' && s.ptr && check_text(s, sql, err) < 0)
			return -1;
		set_bytes(p, i, types[i] == 'b' ? OID_BYTEA : OID_TEXT, s);
	}
	return 0;
}

/* ---- statements ---- */

static struct pg_statement *find_statement(struct pg_db *db, struct str text, const char *types, enum want want)
{
	for (struct pg_statement *st = map_get(&db->statements, text); st; st = st->next)
		if (st->want == want && strcmp(st->types, types) == 0)
			return st;
	return NULL;
}

static struct pg_statement *translate(const char *sql, const char *types, enum want want, struct error *err)
{
	struct pg_statement *st = mem_calloc(1, sizeof(*st));
	const char *rest = sql;
	struct pg_sql more = { 0 };
	st->sql.conflict_fails = want == WANT_NOTHING;
	bool one = pg_sql_next(&rest, &st->sql) && !pg_sql_next(&rest, &more);
	buf_release(&more.text);
	if (!one) {
		chain_free(st);
		error_set(err, "`%s` is not one SQL statement", sql);
		return NULL;
	}
	st->types = mem_strdup(types);
	st->want = want;
	if (st->sql.select && !st->sql.limited && (want == WANT_ONE || want == WANT_SOME))
		buf_printf(&st->sql.text, " LIMIT %d", want == WANT_ONE ? 1 : SOME_ROWS + 1);
	return st;
}

/* The statement for `sql`; when it is new, the command to prepare it is queued and *fresh set. */
static struct pg_statement *take_statement(struct pg_db *db, const char *sql, const char *types, enum want want,
					   const struct pg_params *p, bool *fresh, struct error *err)
{
	struct str text = str_from(sql);
	struct pg_statement *st = find_statement(db, text, types, want);
	if (st)
		return st;
	if (db->nstatements >= STATEMENTS_MAX) {
		if (pg_later(db, "DEALLOCATE ALL", err) < 0)
			return NULL;
		forget_statements(db);
	}
	st = translate(sql, types, want, err);
	if (!st)
		return NULL;
	snprintf(st->name, sizeof(st->name), "q%" PRIu64, ++db->names);
	if (pg_queued(db, pq.PQsendPrepare(db->conn, st->name, st->sql.text.ptr, p->n, p->types), sql, err) < 0) {
		chain_free(st);
		return NULL;
	}
	st->next = map_get(&db->statements, text);
	map_set(&db->statements, text, st);
	db->nstatements++;
	*fresh = true;
	return st;
}

/* The server may not have it. */
static void drop_statement(struct pg_db *db, const char *sql, struct pg_statement *st)
{
	struct str text = str_from(sql);
	struct pg_statement *first = map_get(&db->statements, text);
	if (first == st && !st->next) {
		map_remove(&db->statements, text);
	} else if (first == st) {
		map_set(&db->statements, text, st->next);
	} else {
		while (first->next != st)
			first = first->next;
		first->next = st->next;
	}
	st->next = NULL;
	db->nstatements--;
	chain_free(st);
}

static int refuse_failed(const struct pg_db *db, struct error *err)
{
	return db->failed ? error_set(err, "the transaction was rolled back by an earlier error: %s", db->failed) : 0;
}

/* Queues what begins the transaction, if its first statement comes now. */
static int begin_now(struct pg_db *db, struct error *err)
{
	if (!db->must_begin)
		return 0;
	if (pg_later(db,
		     db->base.writer ? "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
				     : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		     err) < 0)
		return -1;
	db->must_begin = false;
	db->begun = true;
	return 0;
}

/* One prepared statement, one round trip. *kind borrows what is known of it. */
static int run_once(struct pg_db *db, enum want want, PGresult **res, const struct pg_sql **kind,
		    const struct pg_params *p, struct error *err, const char *sql, const char *types)
{
	bool fresh = false;
	if (begin_now(db, err) < 0)
		return -1;
	struct pg_statement *st = take_statement(db, sql, types, want, p, &fresh, err);
	if (!st)
		return -1;
	*kind = &st->sql;
	int rc = pg_queued(db, pq.PQsendQueryPrepared(db->conn, st->name, p->n, p->values, p->lengths, p->formats, 1),
			   sql, err);
	if (rc == 0)
		rc = pg_settle(db, sql, res, err);
	if (rc < 0 && fresh)
		drop_statement(db, sql, st);
	return rc;
}

static int reconnect(struct pg_db *db, struct error *err)
{
	PGconn *conn = pg_connect(db->base.store, err);
	if (!conn)
		return -1;
	pq.PQfinish(db->conn);
	db->conn = conn;
	db->queued = db->syncs = 0;
	db->begun = false;
	db->must_begin = true;
	forget_statements(db);
	forget_failure(db);
	return 0;
}

/* A reader that lay idle may have lost its connection (the server was restarted): its snapshot's first statement is
 * tried once more on a new one. */
static int run(struct pg_db *db, enum want want, PGresult **res, const struct pg_sql **kind, const struct pg_params *p,
	       struct error *err, const char *sql, const char *types)
{
	bool again = !db->base.writer && db->must_begin;
	CLEANUP_ERROR struct error why = ERROR_INIT;
	if (refuse_failed(db, err) < 0)
		return -1;
	int rc = run_once(db, want, res, kind, p, &why, sql, types);
	if (rc == 0)
		return 0;
	if (!again || !pg_lost(db))
		return error_move(err, &why);
	return reconnect(db, err) < 0 ? -1 : run_once(db, want, res, kind, p, err, sql, types);
}

int pg_exec(struct db *base, struct error *err, const char *sql, const char *types, va_list ap)
{
	struct pg_db *db = pg_db(base);
	struct pg_params p;
	const struct pg_sql *kind = NULL;
	PGresult *res = NULL;
	if (base->writer && !base->in_transaction && store_refuse_fault(base->store, err) < 0)
		return -1;
	if (bind(&p, err, sql, types, ap) < 0 || run(db, WANT_ALL, &res, &kind, &p, err, sql, types) < 0)
		return -1;
	int changed = kind->select ? 0 : atoi(pq.PQcmdTuples(res));
	pq.PQclear(res);
	if (kind->plain_insert && !changed)
		return error_aws(err, "conflict", "%s: a row with the same key is there", sql);
	return changed;
}

/* Without a round trip, but the first time: a text that the server does not take is not kept. */
int pg_write(struct db *base, struct error *err, const char *sql, const char *types, va_list ap)
{
	struct pg_db *db = pg_db(base);
	struct pg_params p;
	bool fresh = false;
	if (!base->in_transaction)
		return pg_exec(base, err, sql, types, ap);
	if (refuse_failed(db, err) < 0 || bind(&p, err, sql, types, ap) < 0 || begin_now(db, err) < 0 ||
	    pg_make_room(db, err) < 0)
		return -1;
	struct pg_statement *st = take_statement(db, sql, types, WANT_NOTHING, &p, &fresh, err);
	if (!st)
		return -1;
	int rc = pg_queued(db, pq.PQsendQueryPrepared(db->conn, st->name, p.n, p.values, p.lengths, p.formats, 1), sql,
			   err);
	if (rc == 0 && fresh)
		rc = pg_settle(db, sql, NULL, err);
	if (rc < 0 && fresh)
		drop_statement(db, sql, st);
	return rc;
}

/* The same query through a cursor, or whole when there is no transaction to hold one. */
static int query_all(struct pg_db *db, struct pg_rows **rows, const struct pg_params *p, struct error *err,
		     const char *sql, const char *types)
{
	PGresult *res = NULL;
	if (!db->begun) {
		const struct pg_sql *kind;
		if (run(db, WANT_ALL, &res, &kind, p, err, sql, types) < 0)
			return -1;
		*rows = pg_rows_new(res);
		return 0;
	}
	CLEANUP_BUF struct buf text = BUF_INIT;
	struct pg_sql plain = { 0 };
	const char *rest = sql;
	uint64_t number = ++db->names;
	char fetch[64];
	pg_sql_next(&rest, &plain);
	buf_printf(&text, "DECLARE c%" PRIu64 " NO SCROLL CURSOR FOR %s", number, plain.text.ptr);
	buf_release(&plain.text);
	snprintf(fetch, sizeof(fetch), "FETCH %d FROM c%" PRIu64, PG_FETCH_ROWS, number);
	int sent = pq.PQsendQueryParams(db->conn, text.ptr, p->n, p->types, p->values, p->lengths, p->formats, 1);
	if (pg_queued(db, sent, sql, err) < 0 || pg_later(db, fetch, err) < 0 || pg_settle(db, sql, &res, err) < 0)
		return -1;
	*rows = pg_rows_new(res);
	pg_rows_cursor(*rows, number);
	return 0;
}

int pg_query(struct db *base, struct rows *rows, bool one, struct error *err, const char *sql, const char *types,
	     va_list ap)
{
	struct pg_db *db = pg_db(base);
	struct pg_params p;
	const struct pg_sql *kind = NULL;
	PGresult *res = NULL;
	if (bind(&p, err, sql, types, ap) < 0 ||
	    run(db, one ? WANT_ONE : WANT_SOME, &res, &kind, &p, err, sql, types) < 0)
		return -1;
	int n = pq.PQntuples(res);
	if (kind->plain_insert && n == 0) {
		pq.PQclear(res);
		return error_aws(err, "conflict", "%s: a row with the same key is there", sql);
	}
	struct pg_rows *found = NULL;
	if (!one && kind->select && !kind->limited && n > SOME_ROWS) {
		pq.PQclear(res);
		if (query_all(db, &found, &p, err, sql, types) < 0)
			return -1;
	} else {
		found = pg_rows_new(res);
	}
	rows->stmt = found;
	return 0;
}

int pg_script(struct db *base, const char *sql, struct error *err)
{
	struct pg_db *db = pg_db(base);
	for (;;) {
		struct pg_sql one = { 0 };
		bool more = pg_sql_next(&sql, &one);
		int rc = 0;
		if (more && (begin_now(db, err) < 0 || pg_later(db, one.text.ptr, err) < 0 ||
			     pg_settle(db, one.text.ptr, NULL, err) < 0))
			rc = -1;
		buf_release(&one.text);
		if (rc < 0 || !more)
			return rc;
	}
}

/* ---- transactions ---- */

int pg_begin(struct db *base, struct error *err)
{
	struct pg_db *db = pg_db(base);
	(void)err;
	forget_failure(db);
	db->must_begin = true;
	return 0;
}

int pg_commit(struct db *base, struct error *err)
{
	struct pg_db *db = pg_db(base);
	if (!db->begun) {
		db->must_begin = false;
		return 0;
	}
	if (refuse_failed(db, err) < 0) {
		pg_rollback(base);
		return error_wrap(err, "commit");
	}
	PGresult *res = NULL;
	if (pg_later(db, "COMMIT", err) < 0 || pg_settle(db, "commit", &res, err) < 0) {
		/* it may have been done; no second try */
		store_set_fault(base->store, err ? error_text(err) : "a commit failed");
		pg_rollback(base);
		return -1;
	}
	db->begun = false;
	bool done = strcmp(pq.PQcmdStatus(res), "COMMIT") == 0;
	pq.PQclear(res);
	return done ? 0 : error_set(err, "commit: the server has rolled the transaction back");
}

void pg_rollback(struct db *base)
{
	struct pg_db *db = pg_db(base);
	if (db->begun && !pg_lost(db) && pg_later(db, "ROLLBACK", NULL) == 0)
		pg_settle(db, "roll back", NULL, NULL);
	db->must_begin = db->begun = false;
	forget_failure(db);
}

int pg_savepoint(struct db *base, struct error *err)
{
	struct pg_db *db = pg_db(base);
	if (refuse_failed(db, err) < 0 || begin_now(db, err) < 0)
		return -1;
	return pg_later(db, "SAVEPOINT quern", err);
}

int pg_savepoint_release(struct db *base, struct error *err)
{
	struct pg_db *db = pg_db(base);
	return refuse_failed(db, err) < 0 ? -1 : pg_later(db, "RELEASE quern", err);
}

void pg_savepoint_rollback(struct db *base)
{
	struct pg_db *db = pg_db(base);
	if (!db->begun || pg_lost(db))
		return; /* nothing is left to undo; the commit will say so */
	if (pg_later(db, "ROLLBACK TO quern", NULL) < 0 || pg_later(db, "RELEASE quern", NULL) < 0)
		return;
	if (db->failed && pg_settle(db, "go back to a savepoint", NULL, NULL) == 0)
		forget_failure(db);
}

int pg_reader_begin(struct db *base, struct error *err)
{
	(void)err;
	pg_db(base)->must_begin = true;
	return 0;
}

/* The COMMIT goes out at once, so that the server keeps no old snapshot; its answer is read with the next results. */
bool pg_reader_end(struct db *base)
{
	struct pg_db *db = pg_db(base);
	db->must_begin = false;
	if (!db->begun)
		return !pg_lost(db);
	db->begun = false;
	forget_failure(db);
	return pg_later(db, "COMMIT", NULL) == 0 && pg_push(db, NULL) == 0;
}
