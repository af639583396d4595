/* test_postgres.c - the store in PostgreSQL: what it asks of the server, a lost connection, texts it can't keep, SQL.
 */
#include "rig.h"

#include "store/postgres_impl.h"

static void run_sql(struct db *db, const char *sql)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	must(db_exec(db, &err, sql, ""), &err);
}

static int64_t backend_pid(struct db *db)
{
	return count(db, "SELECT pg_backend_pid()");
}

/* Ends the server's side of a connection, as a restart of the server does, and waits until it is gone. */
static void cut(struct db *by, int64_t pid)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	assert_int_equal(db_row(by, &rows, &err, "SELECT pg_terminate_backend(CAST(? AS int4), 60000)", "i", pid), 1);
	assert_int_equal(rows_int(&rows, 0), 1);
}

static void test_lost_in_a_transaction(void **state)
{
	(void)state;
	char *path = place(NULL);
	struct store *s = open_ok(path, schema);
	struct db *db = store_writer(s);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	add_fruit(s, "apple");
	struct db *reader = store_read_begin(s, &err);
	must(db_begin(db, &err), &err);
	must(db_exec(db, &err, "INSERT INTO fruit(name) VALUES('pear')", ""), &err);
	cut(reader, backend_pid(db));
	store_read_end(s, reader);
	assert_int_equal(db_commit(db, &err), -1);
	assert_non_null(strstr(store_fault(s), "lost"));
	error_release(&err);
	assert_int_equal(db_begin(db, &err), -1);
	assert_non_null(strstr(error_text(&err), "no more writes"));
	error_release(&err);
	assert_int_equal(db_exec(db, &err, "DELETE FROM fruit", ""), -1);
	error_release(&err);
	/* it is still read */
	reader = store_read_begin(s, &err);
	assert_int_equal(count(reader, "SELECT COUNT(*) FROM fruit"), 1);
	store_read_end(s, reader);
	store_close(s);
	s = open_ok(path, schema);
	assert_int_equal(count(store_writer(s), "SELECT COUNT(*) FROM fruit"), 1);
	add_fruit(s, "plum");
	store_close(s);
}

/* An idle reader whose connection went is made new, unless its snapshot has been looked at. */
static void test_lost_reader(void **state)
{
	(void)state;
	struct store *s = open_ok(place(NULL), schema);
	struct db *writer = store_writer(s);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	struct db *reader = store_read_begin(s, &err);
	int64_t pid = backend_pid(reader);
	store_read_end(s, reader);
	cut(writer, pid);
	reader = store_read_begin(s, &err);
	assert_int_not_equal(backend_pid(reader), pid);
	cut(writer, backend_pid(reader));
	assert_int_equal(db_row(reader, &rows, &err, "SELECT 1", ""), -1);
	assert_non_null(strstr(error_text(&err), "lost"));
	store_read_end(s, reader);
	assert_null(store_fault(s));
	add_fruit(s, "apple");
	store_close(s);
}

static void test_unsafe_server(void **state)
{
	(void)state;
	char *path = place(NULL);
	struct store *s = open_ok(path, schema);
	struct db *db = store_writer(s);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	assert_int_equal(count(db, "SELECT current_setting('synchronous_commit')='on'"), 1);
	run_sql(db, "ALTER SYSTEM SET fsync=off");
	run_sql(db, "ALTER SYSTEM SET synchronous_commit=off");
	run_sql(db, "SELECT pg_reload_conf()");
	struct store *second = NULL;
	store_close(s);
	for (int i = 0; i < 600 && store_open(path, schema, &second, &err) == 0;
	     i++) { /* until the server has read it */
		db = store_writer(second);
		assert_int_equal(count(db, "SELECT current_setting('synchronous_commit')='on'"), 1);
		store_close(second);
		second = NULL;
		usleep(10000);
	}
	assert_null(second);
	assert_non_null(strstr(error_text(&err), "fsync=off"));
}

static void test_settings_back(void **state)
{
	(void)state;
	char command[400];
	snprintf(command, sizeof(command), "rm -f %s/pg/data/postgresql.auto.conf", in_dir("."));
	assert_int_equal(system(command), 0);
	snprintf(command, sizeof(command), "kill -HUP $(head -n 1 %s/pg/data/postmaster.pid)", in_dir("."));
	assert_int_equal(system(command), 0);
	char *path = place(NULL);
	struct store *s = NULL;
	for (int i = 0; i < 600 && !s; i++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		if (store_open(path, schema, &s, &err) < 0)
			usleep(10000);
	}
	assert_non_null(s);
	store_close(s);
}

static void test_refused_texts(void **state)
{
	(void)state;
	struct store *s = open_ok(place(NULL), schema);
	struct db *db = store_writer(s);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	must(db_begin(db, &err), &err);
	assert_int_equal(db_exec(db, &err, "INSERT INTO fruit(name) VALUES(?)", "S", str_of("a\0b", 3)), -1);
	assert_non_null(strstr(error_text(&err), "NUL"));
	error_release(&err);
	assert_int_equal(db_exec(db, &err, "INSERT INTO fruit(name) VALUES(?)", "s", "\xed\xa0\x80"), -1);
	assert_non_null(strstr(error_text(&err), "UTF-8"));
	must(db_exec(db, &err, "INSERT INTO fruit(name) VALUES(?)", "s", "pear"), &err); /* the transaction goes on */
	must(db_commit(db, &err), &err);
	store_close(s);
}

/* A failed statement outside of a savepoint: nothing of the transaction is kept, and the next one is good. */
static void test_failed_transaction(void **state)
{
	(void)state;
	struct store *s = open_ok(place(NULL), schema);
	struct db *db = store_writer(s);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	must(db_begin(db, &err), &err);
	must(db_exec(db, &err, "INSERT INTO fruit(name) VALUES('pear')", ""), &err);
	assert_int_equal(db_exec(db, &err, "SELECT 1/0", ""), -1);
	error_release(&err);
	assert_int_equal(db_exec(db, &err, "INSERT INTO fruit(name) VALUES('plum')", ""), -1);
	assert_non_null(strstr(error_text(&err), "division by zero"));
	error_release(&err);
	assert_int_equal(db_savepoint(db, &err), -1);
	assert_int_equal(db_commit(db, &err), -1);
	assert_null(store_fault(s));
	add_fruit(s, "apple");
	assert_int_equal(count(db, "SELECT COUNT(*) FROM fruit"), 1);
	store_close(s);
}

static void test_backup_is_pg_dump(void **state)
{
	(void)state;
	struct store *s = open_ok(place(NULL), schema);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	assert_int_equal(store_backup(s, in_dir("copy"), &err), -1);
	assert_non_null(strstr(error_text(&err), "pg_dump"));
	store_trim(s);
	store_close(s);
}

static void test_addresses(void **state)
{
	(void)state;
	struct store *s = NULL;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	assert_int_equal(store_open("postgresql://u:secret@/none?host=/nowhere", schema, &s, &err), -1);
	assert_non_null(strstr(error_text(&err), "postgresql://u@/nowhere/none"));
	assert_null(strstr(error_text(&err), "secret"));
	error_release(&err);
	assert_int_equal(store_open("postgresql://u:secret@host:port:port/none", schema, &s, &err), -1);
	assert_null(strstr(error_text(&err), "secret"));
	assert_true(store_is_address("postgres://x/y"));
	assert_false(store_is_address("/var/lib/postgres://x"));
}

/* Stores in different schemas of one database do not know of each other. */
static void test_schemas(void **state)
{
	(void)state;
	char *path = place(NULL), second[400];
	struct store *s = open_ok(path, schema);
	run_sql(store_writer(s), "CREATE SCHEMA other");
	snprintf(second, sizeof(second), "%s&options=-csearch_path%%3Dother", path);
	struct store *o = open_ok(second, schema);
	add_fruit(s, "apple");
	add_fruit(o, "apple");
	assert_int_equal(count(store_writer(o), "SELECT COUNT(*) FROM fruit"), 1);
	store_close(o);
	store_close(s);
}

static void test_dialect(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "SELECT a FROM t WHERE b=? AND c=?", "SELECT a FROM t WHERE b=$1 AND c=$2" },
		{ "SELECT ?2, ?, '?''x' , \"TEXT\"", "SELECT $2, $3, '?''x' , \"TEXT\"" },
		{ "CREATE TABLE t(id INTEGER  PRIMARY KEY, text TEXT, n INTEGER, r REAL, b BLOB) WITHOUT ROWID",
		  "CREATE TABLE t(id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, text text COLLATE \"C\", n "
		  "bigint, r double precision, b bytea) " },
		{ "ALTER TABLE t ADD COLUMN c TEXT", "ALTER TABLE t ADD COLUMN c text COLLATE \"C\"" },
		{ "SELECT CAST(a AS TEXT), t.user FROM t WHERE a LIKE ?",
		  "SELECT CAST(a AS TEXT), t.\"user\" FROM t WHERE a ILIKE $1" },
		{ "INSERT INTO t(a) VALUES(?) RETURNING a",
		  "INSERT INTO t(a) VALUES($1)  ON CONFLICT DO NOTHING RETURNING a" },
		{ "SELECT 1 FROM t WHERE a IN (SELECT value FROM json_each(?2)) LIMIT 3",
		  "SELECT 1 FROM t WHERE a IN (SELECT value FROM json_array_elements_text(CAST($2 AS json))) LIMIT 3" },
		{ "INSERT INTO t SELECT a FROM u", "INSERT INTO t SELECT a FROM u" },
		{ "INSERT INTO t(a) VALUES(1) ON CONFLICT DO NOTHING",
		  "INSERT INTO t(a) VALUES(1) ON CONFLICT DO NOTHING" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *rest = cases[i][0];
		struct pg_sql sql = { 0 }, none = { 0 };
		assert_true(pg_sql_next(&rest, &sql));
		assert_string_equal(sql.text.ptr, cases[i][1]);
		assert_int_equal(sql.plain_insert, strstr(cases[i][0], ") VALUES(?) RETURNING") != NULL);
		assert_false(pg_sql_next(&rest, &none));
		buf_release(&sql.text);
	}
	const char *script = " ; SELECT (SELECT 1 LIMIT 1); SELECT ';' LIMIT 2;";
	struct pg_sql one = { 0 }, two = { 0 }, none = { 0 };
	assert_true(pg_sql_next(&script, &one) && one.select && !one.limited);
	assert_true(pg_sql_next(&script, &two) && two.select && two.limited);
	assert_false(pg_sql_next(&script, &none));
	buf_release(&one.text);
	buf_release(&two.text);
}

int main(void)
{
	if (!rig_start())
		return 1;
	if (!rig_places_postgres()) {
		rig_end(0);
		return 77; /* skipped */
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lost_in_a_transaction),
		cmocka_unit_test(test_lost_reader),
		cmocka_unit_test(test_refused_texts),
		cmocka_unit_test(test_failed_transaction),
		cmocka_unit_test(test_backup_is_pg_dump),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_schemas),
		cmocka_unit_test(test_dialect),
		cmocka_unit_test(test_unsafe_server),
		cmocka_unit_test(test_settings_back),
	};
	return rig_end(cmocka_run_group_tests(tests, NULL, NULL));
}
