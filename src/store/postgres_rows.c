/* postgres_rows.c - rows of PostgreSQL: values out of its binary format.
 *
 * DESIGN: columns are converted as SQLite does it: a number is read as text, a text as a number, a truth value as 0 or
 * 1. Sources: PostgreSQL's binary formats as its send functions write them (int8send, float8send, boolsend,
 * numeric_send); the OIDs are those of pg_type.dat. */
#include "store/postgres_impl.h"

#include <endian.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"

enum {
	OID_BOOL = 16,
	OID_INT8 = 20,
	OID_INT2 = 21,
	OID_INT4 = 23,
	OID_FLOAT4 = 700,
	OID_FLOAT8 = 701,
	OID_NUMERIC = 1700
};

struct pg_rows {
	PGresult *res;
	int row, nrows;
	uint64_t cursor;      /* that has more, 0 = none */
	struct arena scratch; /* of the row */
};

struct pg_rows *pg_rows_new(PGresult *res)
{
	struct pg_rows *r = mem_calloc(1, sizeof(*r));
	r->res = res;
	r->row = -1;
	r->nrows = pq.PQntuples(res);
	return r;
}

void pg_rows_cursor(struct pg_rows *rows, uint64_t number)
{
	rows->cursor = number;
}

static int fetch(struct rows *rows, struct error *err)
{
	struct pg_rows *r = rows->stmt;
	struct pg_db *db = pg_db(rows->db);
	char sql[64];
	PGresult *res = NULL;
	snprintf(sql, sizeof(sql), "FETCH %d FROM c%" PRIu64, PG_FETCH_ROWS, r->cursor);
	if (pg_later(db, sql, err) < 0 || pg_settle(db, sql, &res, err) < 0)
		return -1;
	pq.PQclear(r->res);
	r->res = res;
	r->row = 0;
	r->nrows = pq.PQntuples(res);
	return r->nrows > 0;
}

int pg_rows_next(struct rows *rows, struct error *err)
{
	struct pg_rows *r = rows->stmt;
	arena_release(&r->scratch);
	if (++r->row < r->nrows)
		return 1;
	return r->cursor && r->nrows == PG_FETCH_ROWS ? fetch(rows, err) : 0;
}

void pg_rows_done(struct rows *rows)
{
	struct pg_rows *r = rows->stmt;
	arena_release(&r->scratch);
	pq.PQclear(r->res);
	free(r);
}

/* ---- values ---- */

static uint16_t be16(const char *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static uint32_t be32(const char *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static uint64_t be64(const char *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

/* Digits to base 10000, most significant first; `weight` is the power of the first. Sums of integers have this type. */
static double numeric_value(const char *p, int length)
{
	enum { HEAD = 8, NEGATIVE = 0x4000 };
	int ndigits = be16(p), weight = (int16_t)be16(p + 2);
	double value = 0;
	for (int i = 0; i < ndigits && HEAD + 2 * i + 2 <= length; i++)
		value += be16(p + HEAD + 2 * i) * pow(10000, weight - i);
	return be16(p + 4) == NEGATIVE ? -value : value;
}

enum value_kind { KIND_NULL, KIND_INT, KIND_REAL, KIND_BYTES };
struct value {
	enum value_kind kind;
	int64_t i;
	double d;
	struct str s;
};

static struct value value_of(struct rows *rows, int col)
{
	struct pg_rows *r = rows->stmt;
	if (pq.PQgetisnull(r->res, r->row, col))
		return (struct value){ KIND_NULL };
	const char *p = pq.PQgetvalue(r->res, r->row, col);
	int length = pq.PQgetlength(r->res, r->row, col);
	uint64_t bits;
	double d;
	float f;
	switch (pq.PQftype(r->res, col)) {
	case OID_BOOL:
		return (struct value){ KIND_INT, .i = *p };
	case OID_INT2:
		return (struct value){ KIND_INT, .i = (int16_t)be16(p) };
	case OID_INT4:
		return (struct value){ KIND_INT, .i = (int32_t)be32(p) };
	case OID_INT8:
		return (struct value){ KIND_INT, .i = (int64_t)be64(p) };
	case OID_FLOAT4:
		bits = be32(p);
		memcpy(&f, &(uint32_t){ (uint32_t)bits }, sizeof(f));
		return (struct value){ KIND_REAL, .d = f };
	case OID_FLOAT8:
		bits = be64(p);
		memcpy(&d, &bits, sizeof(d));
		return (struct value){ KIND_REAL, .d = d };
	case OID_NUMERIC:
		d = numeric_value(p, length);
		if (d == floor(d) && fabs(d) < 9007199254740992.0)
			return (struct value){ KIND_INT, .i = (int64_t)d };
		return (struct value){ KIND_REAL, .d = d };
	}
	return (struct value){ KIND_BYTES, .s = str_of(p, (size_t)length) };
}

int64_t pg_rows_int(struct rows *rows, int col)
{
	struct value v = value_of(rows, col);
	switch (v.kind) {
	case KIND_NULL:
		return 0;
	case KIND_INT:
		return v.i;
	case KIND_REAL:
		return v.d >= 9223372036854775807.0    ? INT64_MAX
		       : v.d <= -9223372036854775808.0 ? INT64_MIN
						       : (int64_t)v.d;
	case KIND_BYTES:
		return strtoll(v.s.ptr, NULL, 10);
	}
	return 0;
}

double pg_rows_real(struct rows *rows, int col)
{
	struct value v = value_of(rows, col);
	switch (v.kind) {
	case KIND_NULL:
		return 0;
	case KIND_INT:
		return (double)v.i;
	case KIND_REAL:
		return v.d;
	case KIND_BYTES:
		return strtod(v.s.ptr, NULL);
	}
	return 0;
}

struct str pg_rows_str(struct rows *rows, int col)
{
	struct pg_rows *r = rows->stmt;
	struct value v = value_of(rows, col);
	switch (v.kind) {
	case KIND_NULL:
		return STR_NULL;
	case KIND_INT:
		return str_from(arena_printf(&r->scratch, "%" PRId64, v.i));
	case KIND_REAL:
		return str_from(arena_printf(&r->scratch, "%.15g", v.d));
	case KIND_BYTES:
		return v.s;
	}
	return STR_NULL;
}

bool pg_rows_null(struct rows *rows, int col)
{
	struct pg_rows *r = rows->stmt;
	return pq.PQgetisnull(r->res, r->row, col);
}
