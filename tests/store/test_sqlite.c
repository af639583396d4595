/* test_sqlite.c - the store in SQLite: backup, its log, and what happens when the disk fails.
 *
 * DESIGN: disk faults come from a SQLite VFS of the test that passes everything on to the real one and fails syncs or
 * writes when told, so the product has no hook for it. */
#include "rig.h"

#include <sqlite3.h>

/* ---- a VFS that fails ---- */

enum { FAIL_NONE, FAIL_ALL, FAIL_MAIN };
static atomic_int fail_sync, fail_write, nsyncs;
struct faulty_file {
	sqlite3_file base;
	sqlite3_file *real;
	bool main; /* the database itself, not its WAL */
};
static sqlite3_vfs *real_vfs, faulty_vfs;
static sqlite3_io_methods faulty_methods;
#define REAL(f) (((struct faulty_file *)(f))->real)
#define PASS(name, params, args)                                                                                       \
	static int f_##name params                                                                                     \
	{                                                                                                              \
		return REAL(f)->pMethods->name args;                                                                   \
	}
PASS(xRead, (sqlite3_file * f, void *p, int n, sqlite3_int64 o), (REAL(f), p, n, o))
PASS(xTruncate, (sqlite3_file * f, sqlite3_int64 n), (REAL(f), n))
PASS(xFileSize, (sqlite3_file * f, sqlite3_int64 *n), (REAL(f), n))
PASS(xLock, (sqlite3_file * f, int l), (REAL(f), l))
PASS(xUnlock, (sqlite3_file * f, int l), (REAL(f), l))
PASS(xCheckReservedLock, (sqlite3_file * f, int *r), (REAL(f), r))
PASS(xFileControl, (sqlite3_file * f, int op, void *arg), (REAL(f), op, arg))
PASS(xSectorSize, (sqlite3_file * f), (REAL(f)))
PASS(xDeviceCharacteristics, (sqlite3_file * f), (REAL(f)))
PASS(xShmMap, (sqlite3_file * f, int pg, int sz, int ext, void volatile **p), (REAL(f), pg, sz, ext, p))
PASS(xShmLock, (sqlite3_file * f, int o, int n, int fl), (REAL(f), o, n, fl))
PASS(xShmUnmap, (sqlite3_file * f, int del), (REAL(f), del))
static void f_xShmBarrier(sqlite3_file *f)
{
	REAL(f)->pMethods->xShmBarrier(REAL(f));
}
static int f_xClose(sqlite3_file *f)
{
	int rc = REAL(f)->pMethods->xClose(REAL(f));
	free(REAL(f));
	return rc;
}
static int f_xWrite(sqlite3_file *f, const void *p, int n, sqlite3_int64 o)
{
	return fail_write ? SQLITE_FULL : REAL(f)->pMethods->xWrite(REAL(f), p, n, o);
}
static int f_xSync(sqlite3_file *f, int flags)
{
	nsyncs++;
	bool fails = fail_sync == FAIL_ALL || (fail_sync == FAIL_MAIN && ((struct faulty_file *)f)->main);
	return fails ? SQLITE_IOERR_FSYNC : REAL(f)->pMethods->xSync(REAL(f), flags);
}
static int f_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
	(void)v;
	sqlite3_file *real = calloc(1, (size_t)real_vfs->szOsFile);
	int rc = real_vfs->xOpen(real_vfs, name, real, flags, out);
	f->pMethods = NULL;
	if (rc != SQLITE_OK) {
		free(real);
		return rc;
	}
	REAL(f) = real;
	((struct faulty_file *)f)->main = flags & SQLITE_OPEN_MAIN_DB;
	f->pMethods = &faulty_methods;
	return rc;
}

static void install_vfs(void)
{
	real_vfs = sqlite3_vfs_find(NULL);
	faulty_vfs = *real_vfs;
	faulty_vfs.zName = "faulty";
	faulty_vfs.szOsFile = sizeof(struct faulty_file);
	faulty_vfs.xOpen = f_open;
	faulty_methods = (sqlite3_io_methods){ 2,
					       f_xClose,
					       f_xRead,
					       f_xWrite,
					       f_xTruncate,
					       f_xSync,
					       f_xFileSize,
					       f_xLock,
					       f_xUnlock,
					       f_xCheckReservedLock,
					       f_xFileControl,
					       f_xSectorSize,
					       f_xDeviceCharacteristics,
					       f_xShmMap,
					       f_xShmLock,
					       f_xShmBarrier,
					       f_xShmUnmap };
	sqlite3_vfs_register(&faulty_vfs, 1);
}

/* ---- tests ---- */

static void test_backup(void **state)
{
	(void)state;
	char *path = in_dir("copy");
	struct store *s = open_ok("", schema);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	for (int i = 0; i < 100; i++) {
		char name[16];
		snprintf(name, sizeof(name), "f%d", i);
		add_fruit(s, name);
	}
	must(db_begin(store_writer(s), &err), &err);
	must(db_exec(store_writer(s), &err, "DELETE FROM fruit", ""), &err);
	must(store_backup(s, path, &err), &err); /* sees the last commit, not the open transaction */
	db_rollback(store_writer(s));
	assert_int_equal(store_backup(s, path, &err), -1); /* never over a file that is there */
	store_close(s);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	s = open_ok(path, schema);
	assert_int_equal(count(store_writer(s), "SELECT COUNT(*) FROM fruit"), 100);
	store_close(s);
}

static void test_commit_syncs(void **state)
{
	(void)state;
	struct store *s = open_ok(in_dir("synced"), schema);
	for (int i = 0; i < 10; i++) {
		char name[16];
		snprintf(name, sizeof(name), "f%d", i);
		int before = nsyncs;
		add_fruit(s, name);
		assert_true(nsyncs > before);
	}
	store_close(s);
}

/* A failed sync: the commit fails, nothing is written after it, and a fresh start finds a whole store. */
static void test_sync_fails(void **state)
{
	(void)state;
	char *path = in_dir("sync");
	struct store *s = open_ok(path, schema);
	struct db *db = store_writer(s);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	add_fruit(s, "apple");
	must(db_begin(db, &err), &err);
	must(db_exec(db, &err, "INSERT INTO fruit(name) VALUES('pear')", ""), &err);
	fail_sync = FAIL_ALL;
	assert_int_equal(db_commit(db, &err), -1);
	fail_sync = FAIL_NONE;
	assert_non_null(store_fault(s));
	error_release(&err);
	assert_int_equal(db_begin(db, &err), -1);
	assert_non_null(strstr(error_text(&err), "no more writes"));
	error_release(&err);
	assert_int_equal(db_exec(db, &err, "DELETE FROM fruit", ""), -1);
	struct db *reader = store_read_begin(s, NULL);
	assert_non_null(reader);
	assert_int_equal(count(reader, "SELECT COUNT(*) FROM fruit WHERE name='apple'"), 1);
	store_read_end(s, reader);
	store_close(s);
	s = open_ok(path, schema);
	assert_int_equal(count(store_writer(s), "SELECT COUNT(*) FROM fruit WHERE name='apple'"), 1);
	add_fruit(s, "plum");
	store_close(s);
}

static void test_disk_full(void **state)
{
	(void)state;
	char *path = in_dir("full");
	struct store *s = open_ok(path, schema);
	struct db *db = store_writer(s);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	must(db_begin(db, &err), &err);
	must(db_exec(db, &err, "INSERT INTO fruit(name) VALUES('pear')", ""), &err);
	fail_write = 1;
	assert_int_equal(db_commit(db, &err), -1);
	fail_write = 0;
	assert_non_null(strstr(store_fault(s), "full"));
	error_release(&err);
	assert_int_equal(db_begin(db, &err), -1);
	store_close(s);
	s = open_ok(path, schema);
	assert_int_equal(count(store_writer(s), "SELECT COUNT(*) FROM fruit"), 0);
	store_close(s);
}

/* A sync that fails while the WAL is copied into the file: the commits before it stand, further ones are refused. */
static void test_checkpoint_fails(void **state)
{
	(void)state;
	char *path = in_dir("checkpoint"), blob[5000] = { 1 };
	struct store *s = open_ok(path, schema);
	struct db *db = store_writer(s);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	must(db_begin(db, &err), &err);
	for (int i = 0; i < 4000; i++)
		must(db_exec(db, &err, "INSERT INTO fruit(body) VALUES(?)", "b", str_of(blob, sizeof(blob))), &err);
	fail_sync = FAIL_MAIN;
	must(db_commit(db, &err), &err); /* the WAL is synced, so the commit stands */
	fail_sync = FAIL_NONE;
	assert_non_null(store_fault(s));
	assert_non_null(strstr(store_fault(s), "checkpoint"));
	assert_int_equal(db_begin(db, &err), -1);
	store_close(s);
	s = open_ok(path, schema);
	assert_int_equal(count(store_writer(s), "SELECT COUNT(*) FROM fruit"), 4000);
	store_close(s);
}

/* Readers that always overlap must not let the WAL grow without end. */
static void test_wal_is_bounded(void **state)
{
	(void)state;
	char *path = in_dir("bounded"), wal[200], bytes[2000];
	struct store *s = open_ok(path, schema);
	add_fruit(s, "left");
	add_fruit(s, "right");
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = store_writer(s);
	must(db_exec(db, &err, "UPDATE fruit SET weight=0", ""), &err);
	struct reader_job job = { .s = s, .hold_us = 500 };
	pthread_t threads[3];
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, read_pairs, &job);
	memset(bytes, 'f', sizeof(bytes));
	off_t largest = 0;
	for (int i = 0; i < 100; i++) {
		must(db_begin(db, &err), &err);
		for (int k = 0; k < 1500; k++)
			must(db_exec(db, &err, "INSERT INTO fruit(body) VALUES(?)", "b", str_of(bytes, sizeof(bytes))),
			     &err);
		must(db_commit(db, &err), &err);
		must(db_begin(db, &err), &err);
		must(db_exec(db, &err, "DELETE FROM fruit WHERE name IS NULL", ""), &err);
		must(db_commit(db, &err), &err);
		struct stat st;
		snprintf(wal, sizeof(wal), "%s-wal", path);
		if (stat(wal, &st) == 0 && st.st_size > largest)
			largest = st.st_size;
	}
	job.stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(job.bad, 0);
	assert_true(largest < 120 << 20); /* 300 MB were written */
	store_close(s);
}

/* A reader that was given back keeps its snapshot: it must not be shown to anybody after a commit, nor keep the WAL. */
static void test_idle_snapshots(void **state)
{
	(void)state;
	char *path = in_dir("idle"), wal[200], bytes[2000];
	struct store *s = open_ok(path, schema);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = store_writer(s);
	memset(bytes, 'f', sizeof(bytes));
	snprintf(wal, sizeof(wal), "%s-wal", path);
	off_t largest = 0;
	for (int i = 1; i <= 40; i++) {
		must(db_begin(db, &err), &err);
		for (int k = 0; k < 1500; k++)
			must(db_exec(db, &err, "INSERT INTO fruit(body) VALUES(?)", "b", str_of(bytes, sizeof(bytes))),
			     &err);
		must(db_commit(db, &err), &err);
		struct db *readers[3];
		for (int k = 0; k < 3; k++) {
			readers[k] = store_read_begin(s, &err);
			assert_int_equal(count(readers[k], "SELECT COUNT(*) FROM fruit"), i * 1500);
		}
		for (int k = 0; k < 3; k++)
			store_read_end(s, readers[k]);
		struct stat st;
		if (stat(wal, &st) == 0 && st.st_size > largest)
			largest = st.st_size;
	}
	assert_true(largest < 50 << 20);                        /* 120 MB were written */
	must(db_exec(db, &err, "DELETE FROM fruit", ""), &err); /* a transaction of its own */
	struct db *reader = store_read_begin(s, &err);
	assert_int_equal(count(reader, "SELECT COUNT(*) FROM fruit"), 0);
	store_read_end(s, reader);
	store_close(s);
}

int main(void)
{
	if (!rig_start())
		return 1;
	install_vfs();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backup),           cmocka_unit_test(test_commit_syncs),
		cmocka_unit_test(test_sync_fails),       cmocka_unit_test(test_disk_full),
		cmocka_unit_test(test_checkpoint_fails), cmocka_unit_test(test_wal_is_bounded),
		cmocka_unit_test(test_idle_snapshots),
	};
	return rig_end(cmocka_run_group_tests(tests, NULL, NULL));
}
