/* test_store.c - the store: schema, transactions, snapshots, statements. Argument: nothing for SQLite, "postgres" for
 * PostgreSQL; what is one back end's alone is in test_sqlite.c and test_postgres.c. */
#include "rig.h"

static const struct store_migration schema_2[] = {
	{ "fruit", 1, "not run again" },
	{ "fruit", 2,
	  "ALTER TABLE fruit ADD COLUMN colour TEXT; INSERT INTO basket(id) VALUES('b1'); INSERT INTO basket(id) "
	  "VALUES('b2')" },
	{ "tree", 1, "not run again" },
	{ 0 },
};

/* ---- tests ---- */

static void test_migrations(void **state)
{
	(void)state;
	char *path = place("migrate");
	struct store *s = open_ok(path, schema);
	add_fruit(s, "apple");
	store_close(s);
	s = open_ok(path, schema_2);
	assert_int_equal(count(store_writer(s), "SELECT COUNT(*) FROM basket"), 2);
	assert_int_equal(count(store_writer(s), "SELECT COUNT(*) FROM fruit WHERE colour IS NULL"), 1);
	store_close(s);
	s = open_ok(path, schema_2);
	assert_int_equal(count(store_writer(s), "SELECT COUNT(*) FROM basket"), 2);
	store_close(s);
	/* an older build refuses the newer file */
	CLEANUP_ERROR struct error err = ERROR_INIT;
	assert_int_equal(store_open(path, schema, &s, &err), -1);
	assert_non_null(strstr(error_text(&err), "newer version"));
}

static void test_migration_fails_whole(void **state)
{
	(void)state;
	static const struct store_migration broken[] = {
		{ "a", 1, "CREATE TABLE a1(x INTEGER); CREATE TABLE a1(x INTEGER)" }, { 0 }
	};
	static const struct store_migration mended[] = { { "a", 1, "CREATE TABLE a1(x INTEGER)" }, { 0 } };
	static const struct store_migration gap[] = { { "a", 1, "SELECT 1" }, { "a", 3, "SELECT 1" }, { 0 } };
	char *path = place("broken");
	struct store *s = NULL;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	assert_int_equal(store_open(path, broken, &s, &err), -1);
	assert_non_null(strstr(error_text(&err), "migration a 1"));
	s = open_ok(path, mended); /* nothing of the broken one was left */
	store_close(s);
	error_release(&err);
	assert_int_equal(store_open(path, gap, &s, &err), -1);
	assert_non_null(strstr(error_text(&err), "does not follow"));
}

static void test_values(void **state)
{
	(void)state;
	struct store *s = open_ok(place(NULL), schema);
	struct db *db = store_writer(s);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	must(db_begin(db, &err), &err);
	const char *sql = "INSERT INTO fruit(id, name, weight, body) VALUES(?, ?, ?, ?)";
	must(db_exec(db, &err, sql, "isdb", (int64_t)1 << 40, "na\xc3\xafve", 0.25, str_of("a\0b", 3)), &err);
	must(db_exec(db, &err, sql, "iSdb", (int64_t)2, STR_NULL, -1.5, STR_NULL), &err);
	must(db_exec(db, &err, sql, "iSdb", (int64_t)3, STR("empty"), 0.0, STR("")), &err);
	assert_int_equal(db_exec(db, &err, "UPDATE fruit SET weight=weight+1", ""), 3);
	must(db_commit(db, &err), &err);
	CLEANUP_ROWS struct rows rows = { 0 };
	must(db_query(db, &rows, &err, "SELECT id, name, weight, body FROM fruit WHERE id<>? ORDER BY id DESC", "i",
		      (int64_t)3),
	     &err);
	assert_int_equal(rows_next(&rows, &err), 1);
	assert_true(rows_int(&rows, 0) == (int64_t)1 << 40);
	assert_string_equal(rows_str(&rows, 1).ptr, "na\xc3\xafve");
	assert_true(rows_real(&rows, 2) == 1.25);
	assert_int_equal(rows_str(&rows, 3).len, 3);
	assert_memory_equal(rows_str(&rows, 3).ptr, "a\0b", 3);
	assert_int_equal(rows_next(&rows, &err), 1);
	assert_true(rows_null(&rows, 1));
	assert_null(rows_str(&rows, 3).ptr);
	assert_int_equal(rows_next(&rows, &err), 0);
	assert_int_equal(rows_next(&rows, &err), 0);
	assert_int_equal(db_row(db, &rows, &err, "SELECT 1 FROM fruit WHERE id=?", "i", (int64_t)99), 0);
	store_close(s);
}

static void test_errors(void **state)
{
	(void)state;
	struct store *s = open_ok(place(NULL), schema);
	struct db *db = store_writer(s);
	add_fruit(s, "apple");
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	must(db_begin(db, &err), &err);
	/* a conflict leaves the transaction good */
	assert_int_equal(db_exec(db, &err, "INSERT INTO fruit(name) VALUES(?)", "s", "apple"), -1);
	assert_true(error_is(&err, "conflict"));
	error_release(&err);
	assert_int_equal(db_row(db, &rows, &err, "INSERT INTO fruit(name) VALUES(?) RETURNING id", "s", "apple"), -1);
	assert_true(error_is(&err, "conflict"));
	error_release(&err);
	assert_int_equal(db_exec(db, &err, "INSERT INTO fruit(name) VALUES(?) ON CONFLICT DO NOTHING", "s", "apple"),
			 0);
	assert_int_equal(db_exec(db, &err,
				 "INSERT INTO fruit(name, weight) VALUES(?, 1) ON CONFLICT(name) DO UPDATE SET "
				 "weight=COALESCE(fruit.weight, 0)+excluded.weight",
				 "s", "apple"),
			 1);
	assert_int_equal(db_exec(db, &err, "DELETE FROM fruit; DELETE FROM basket", ""), -1);
	error_release(&err);
	must(db_exec(db, &err, "INSERT INTO fruit(name) VALUES(?)", "s", "pear"), &err);
	/* others may need a savepoint */
	must(db_savepoint(db, &err), &err);
	assert_int_equal(db_exec(db, &err, "INSERT INTO nowhere(name) VALUES(1)", ""), -1);
	assert_false(error_is(&err, "conflict"));
	assert_non_null(strstr(error_text(&err), "nowhere"));
	error_release(&err);
	db_savepoint_rollback(db);
	must(db_savepoint(db, &err), &err);
	assert_int_equal(db_exec(db, &err, "UPDATE fruit SET name='apple' WHERE name='pear'", ""), -1);
	assert_true(error_is(&err, "conflict"));
	error_release(&err);
	db_savepoint_rollback(db);
	must(db_exec(db, &err, "INSERT INTO fruit(name) VALUES(?)", "s", "plum"), &err);
	must(db_commit(db, &err), &err);
	assert_int_equal(count(db, "SELECT COUNT(*) FROM fruit"), 3);
	assert_int_equal(count(db, "SELECT weight FROM fruit WHERE name='apple'"), 1);
	assert_null(store_fault(s));
	store_close(s);
}

static void test_savepoints(void **state)
{
	(void)state;
	struct store *s = open_ok(place(NULL), schema);
	struct db *db = store_writer(s);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	must(db_begin(db, &err), &err);
	for (int64_t i = 1; i <= 4; i++) {
		must(db_savepoint(db, &err), &err);
		must(db_exec(db, &err, "INSERT INTO tree(id) VALUES(?)", "i", i), &err);
		must(db_savepoint(db, &err), &err);
		must(db_exec(db, &err, "INSERT INTO tree(id) VALUES(?)", "i", i * 10), &err);
		if (i % 2)
			must(db_savepoint_release(db, &err), &err);
		else
			db_savepoint_rollback(db);
		if (i <= 2)
			must(db_savepoint_release(db, &err), &err);
		else
			db_savepoint_rollback(db);
	}
	must(db_commit(db, &err), &err);
	assert_int_equal(count(db, "SELECT SUM(id) FROM tree"), 1 + 10 + 2);
	must(db_begin(db, &err), &err);
	must(db_exec(db, &err, "DELETE FROM tree", ""), &err);
	db_rollback(db);
	assert_int_equal(count(db, "SELECT COUNT(*) FROM tree"), 3);
	store_close(s);
}

static void test_snapshots(void **state)
{
	(void)state;
	struct store *s = open_ok(place(NULL), schema);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	add_fruit(s, "apple");
	struct db *old = store_read_begin(s, &err);
	assert_int_equal(count(old, "SELECT COUNT(*) FROM fruit"), 1);
	add_fruit(s, "pear");
	struct db *new = store_read_begin(s, &err);
	assert_ptr_not_equal(old, new);
	assert_int_equal(count(new, "SELECT COUNT(*) FROM fruit"), 2);
	assert_int_equal(count(old, "SELECT COUNT(*) FROM fruit"), 1);
	must(db_begin(store_writer(s), &err), &err);
	must(db_exec(store_writer(s), &err, "DELETE FROM fruit", ""), &err);
	assert_int_equal(count(new, "SELECT COUNT(*) FROM fruit"), 2);
	db_rollback(store_writer(s));
	assert_int_equal(db_exec(old, &err, "DELETE FROM fruit", ""), -1);
	store_read_end(s, old);
	store_read_end(s, new);
	struct db *again = store_read_begin(s, &err);
	assert_true(again == old || again == new);
	assert_int_equal(count(again, "SELECT COUNT(*) FROM fruit"), 2);
	store_read_end(s, again);
	store_close(s);
}

static void test_many_statements(void **state)
{
	(void)state;
	struct store *s = open_ok(place(NULL), schema);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = store_writer(s);
	for (int i = 0; i < 1500; i++) {
		char sql[64];
		snprintf(sql, sizeof(sql), "SELECT %d", i);
		assert_int_equal(count(db, sql), i);
	}
	/* the same text four times at once */
	struct rows nested[4] = { 0 };
	for (int i = 0; i < 4; i++) {
		must(db_query(db, &nested[i], &err, "SELECT ?+1", "i", (int64_t)i), &err);
		assert_int_equal(rows_next(&nested[i], &err), 1);
	}
	for (int i = 0; i < 4; i++) {
		assert_int_equal(rows_int(&nested[i], 0), i + 1);
		rows_done(&nested[i]);
	}
	store_close(s);
}

static void test_writes(void **state)
{
	enum { N = 3000 };
	(void)state;
	struct store *s = open_ok(place(NULL), schema);
	struct db *db = store_writer(s);
	static char body[20000] = { 1 };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	must(db_begin(db, &err), &err);
	for (int64_t i = 1; i <= N; i++) {
		must(db_write(db, &err, "INSERT INTO fruit(id, body) VALUES(?, ?)", "ib", i,
			      str_of(body, i % 10 ? 10 : sizeof(body))),
		     &err);
		must(db_savepoint(db, &err), &err);
		assert_int_equal(db_write(db, &err, "UPDATE fruit SET weight=? WHERE id=?", "di", 0.5, i), 0);
		if (i % 3)
			must(db_savepoint_release(db, &err), &err);
		else
			db_savepoint_rollback(db);
	}
	assert_int_equal(count(db, "SELECT COUNT(*) FROM fruit WHERE weight=0.5"), N - N / 3);
	must(db_write(db, &err, "DELETE FROM fruit WHERE id>?", "i", (int64_t)9), &err);
	must(db_commit(db, &err), &err);
	assert_int_equal(count(db, "SELECT COUNT(*) FROM fruit"), 9);
	must(db_begin(db, &err), &err);
	must(db_write(db, &err, "DELETE FROM fruit", ""), &err);
	db_rollback(db);
	must(db_write(db, &err, "DELETE FROM fruit WHERE id=1", ""), &err); /* a transaction of its own */
	struct db *reader = store_read_begin(s, &err);
	assert_int_equal(count(reader, "SELECT COUNT(*) FROM fruit"), 8);
	store_read_end(s, reader);
	/* what fails after all is not committed */
	must(db_begin(db, &err), &err);
	must(db_exec(db, &err, "DELETE FROM fruit WHERE id=2", ""), &err);
	int rc = db_write(db, &err, "INSERT INTO fruit(id, body) VALUES(?, ?)", "ib", (int64_t)3, STR_NULL);
	rc = rc < 0 ? rc : db_commit(db, &err);
	assert_int_equal(rc, -1);
	assert_true(error_is(&err, "conflict"));
	db_rollback(db);
	assert_int_equal(count(db, "SELECT COUNT(*) FROM fruit"), 8);
	store_close(s);
}

/* More rows than are read at once, with other statements of the same connection between them. */
static void test_many_rows(void **state)
{
	enum { N = 5000 };
	(void)state;
	struct store *s = open_ok(place(NULL), schema);
	struct db *db = store_writer(s);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	must(db_begin(db, &err), &err);
	for (int64_t i = 0; i < N; i++)
		must(db_exec(db, &err, "INSERT INTO fruit(id, body) VALUES(?, ?)", "ib", i, str_of(&i, sizeof(i))),
		     &err);
	must(db_commit(db, &err), &err);
	for (int writer = 0; writer < 2; writer++) {
		struct db *from = writer ? db : store_read_begin(s, &err);
		if (writer)
			must(db_begin(db, &err), &err);
		must(db_query(from, &rows, &err, "SELECT id, body FROM fruit ORDER BY id", ""), &err);
		int64_t i = 0, body;
		while (rows_next(&rows, &err) == 1) {
			assert_int_equal(rows_int(&rows, 0), i);
			assert_int_equal(rows_str(&rows, 1).len, sizeof(body));
			memcpy(&body, rows_str(&rows, 1).ptr, sizeof(body));
			assert_int_equal(body, i++);
			if (i % 500)
				continue;
			assert_int_equal(count(from, "SELECT COUNT(*) FROM fruit"), N);
			if (writer)
				must(db_exec(db, &err, "UPDATE fruit SET weight=1 WHERE id=?", "i", i), &err);
		}
		assert_int_equal(i, N);
		/* left in the middle */
		must(db_query(from, &rows, &err, "SELECT id FROM fruit WHERE id>=? ORDER BY id", "i", (int64_t)7),
		     &err);
		assert_int_equal(rows_next(&rows, &err), 1);
		assert_int_equal(rows_int(&rows, 0), 7);
		rows_done(&rows);
		assert_int_equal(count(from, "SELECT SUM(id) FROM fruit"), (int64_t)N * (N - 1) / 2);
		assert_int_equal(count(from, "SELECT id FROM fruit ORDER BY id DESC"), N - 1);
		if (writer)
			must(db_commit(db, &err), &err);
		else
			store_read_end(s, from);
	}
	assert_int_equal(count(db, "SELECT COUNT(*) FROM fruit WHERE weight=1"), N / 500 - 1);
	store_close(s);
}

/* Bytewise, whatever the server's locale is; LIKE does not mind ASCII's case; numbers and texts are read as either. */
static void test_text_order(void **state)
{
	static const char *const names[] = { "B", "_", "a", "b", "\xc3\xa4" };
	(void)state;
	struct store *s = open_ok(place(NULL), schema);
	struct db *db = store_writer(s);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	for (int i = 4; i >= 0; i--)
		add_fruit(s, names[i]);
	must(db_query(db, &rows, &err, "SELECT name FROM fruit ORDER BY name", ""), &err);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(rows_next(&rows, &err), 1);
		assert_string_equal(rows_str(&rows, 0).ptr, names[i]);
	}
	rows_done(&rows);
	assert_int_equal(count(db, "SELECT COUNT(*) FROM fruit WHERE name>'Z'"), 4);
	assert_int_equal(count(db, "SELECT COUNT(*) FROM fruit WHERE name LIKE 'B'"), 2);
	assert_int_equal(count(db, "SELECT COUNT(*)=5 FROM fruit"), 1);
	assert_int_equal(
		db_row(db, &rows, &err, "SELECT '12', COUNT(*), substr(?, 1, length(?)) FROM fruit", "ss", "abc", "xy"),
		1);
	assert_int_equal(rows_int(&rows, 0), 12);
	assert_string_equal(rows_str(&rows, 1).ptr, "5");
	assert_string_equal(rows_str(&rows, 2).ptr, "ab");
	rows_done(&rows);
	store_close(s);
}

static void test_one_process(void **state)
{
	(void)state;
	char *path = place("locked");
	struct store *s = open_ok(path, schema), *second = NULL;
	struct stat st;
	if (stat(path, &st) == 0)
		assert_int_equal(st.st_mode & 0777, 0600);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	assert_int_equal(store_open(path, schema, &second, &err), -1);
	assert_non_null(strstr(error_text(&err), "another process"));
	store_close(s);
	store_close(open_ok(path, schema));
}

static void test_readers_beside_writer(void **state)
{
	(void)state;
	struct store *s = open_ok(place(NULL), schema);
	add_fruit(s, "left");
	add_fruit(s, "right");
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = store_writer(s);
	must(db_exec(db, &err, "UPDATE fruit SET weight=0", ""), &err);
	struct reader_job job = { .s = s };
	pthread_t threads[3];
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, read_pairs, &job);
	for (int i = 1; i <= 2000 || (job.reads < 100 && i < 1000000); i++) {
		must(db_begin(db, &err), &err);
		must(db_exec(db, &err, "UPDATE fruit SET weight=? WHERE id=1", "d", (double)i), &err);
		must(db_exec(db, &err, "UPDATE fruit SET weight=? WHERE id=2", "d", (double)i), &err);
		must(db_commit(db, &err), &err);
	}
	job.stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(job.bad, 0);
	assert_true(job.reads >= 100);
	store_close(s);
}

int main(int argc, char **argv)
{
	(void)argv;
	if (!rig_start())
		return 1;
	if (argc > 1 && !rig_places_postgres()) {
		rig_end(0);
		return 77; /* skipped */
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_migrations),      cmocka_unit_test(test_migration_fails_whole),
		cmocka_unit_test(test_values),          cmocka_unit_test(test_errors),
		cmocka_unit_test(test_savepoints),      cmocka_unit_test(test_snapshots),
		cmocka_unit_test(test_many_statements), cmocka_unit_test(test_many_rows),
		cmocka_unit_test(test_writes),          cmocka_unit_test(test_text_order),
		cmocka_unit_test(test_one_process),     cmocka_unit_test(test_readers_beside_writer),
	};
	return rig_end(cmocka_run_group_tests(tests, NULL, NULL));
}
