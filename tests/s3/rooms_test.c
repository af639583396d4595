/* rooms_test.c - the object store as other rooms use it, on a real engine and real files: what becomes of rows and
 * blobs. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "s3/room.h"

static struct {
	char dir[64];
	struct store *store;
	struct blob_store *blobs;
	struct engine *engine;
	struct s3 *s3;
} w;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	struct error err = ERROR_INIT;
	struct store_migration all[32] = { 0 };
	const struct store_migration *rooms[] = { engine_migrations, blob_migrations, s3_migrations };
	size_t n = 0;
	for (size_t i = 0; i < 3; i++)
		for (const struct store_migration *m = rooms[i]; m->room; m++)
			all[n++] = *m;
	char path[128];
	strcpy(w.dir, "/tmp/s3-rooms-XXXXXX");
	if (!mkdtemp(w.dir))
		return -1;
	snprintf(path, sizeof(path), "%s/blobs", w.dir);
	if (store_open("", all, &w.store, &err) < 0 || blob_store_open(path, &w.blobs, &err) < 0 ||
	    engine_new(&(struct engine_options){ .store = w.store }, &w.engine, &err) < 0 ||
	    s3_new(w.engine, w.blobs, &w.s3, &err) < 0 || engine_start(w.engine, &err) < 0) {
		print_error("%s\n", error_text(&err));
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	engine_stop(w.engine);
	s3_free(w.s3);
	engine_free(w.engine);
	blob_store_close(w.blobs);
	store_close(w.store);
	return nftw(w.dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- doing things in a turn ---- */

struct action {
	enum { MAKE, PUT_SMALL, COMMIT, PUT_VERSION, DROP, VERSIONING } what;
	const char *bucket, *key, *text;
	const json_t *prepared;
	int64_t number;
};

static int run(struct turn *t, void *arg, struct error *err)
{
	const struct action *x = arg;
	const struct str bucket = str_from(x->bucket), key = str_from(x->key);
	struct s3_bucket b;
	struct s3_object o = { 0 };
	switch (x->what) {
	case MAKE:
		return s3_bucket_make(t, bucket, STR("000000000000"), STR("us-east-1"), err);
	case PUT_SMALL:
		return s3_put_small(t, bucket, key, str_from(x->text), "text/plain", err);
	case COMMIT:
		return s3_commit(t, bucket, key, x->prepared, NULL, err);
	case VERSIONING:
		return db_exec(turn_db(t), err, "UPDATE s3_bucket SET versioning=? WHERE name=?", "iS", x->number,
			       bucket) < 0
			       ? -1
			       : 0;
	case PUT_VERSION: /* text NULL: a marker */
		if (s3_bucket_find(turn_db(t), turn_arena(t), bucket, &b, err) <= 0)
			return -1;
		o.key = key;
		o.marker = !x->text;
		o.body = str_from(x->text);
		o.size_bytes = (int64_t)o.body.len;
		return s3_object_put(t, &b, &o, err);
	case DROP: /* the newest */
		if (s3_bucket_find(turn_db(t), turn_arena(t), bucket, &b, err) <= 0 ||
		    s3_object_newest(turn_db(t), turn_arena(t), b.id, key, &o, err) <= 0)
			return -1;
		return s3_object_drop(t, b.id, &o, err);
	}
	return -1;
}

static int act(struct action x, struct error *err)
{
	return engine_call(w.engine, run, &x, err);
}

static void must(struct action x)
{
	struct error err = ERROR_INIT;
	if (act(x, &err) < 0)
		fail_msg("%s", error_text(&err));
}

/* The current object's text, or the error code; in the arena. */
static const char *read_text(struct arena *a, const char *bucket, const char *key)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct str out;
	struct db *db = store_read_begin(w.store, &err);
	const int rc = s3_read(w.s3, db, str_from(bucket), str_from(key), 1 << 20, a, &out, &err);
	store_read_end(w.store, db);
	return rc < 0 ? arena_strdup(a, str_from(err.code)) : arena_strdup(a, out);
}

static int64_t number(const char *sql)
{
	struct error err = ERROR_INIT;
	struct rows rows = { 0 };
	struct db *db = store_read_begin(w.store, &err);
	assert_int_equal(db_row(db, &rows, &err, sql, ""), 1);
	const int64_t n = rows_int(&rows, 0);
	rows_done(&rows);
	store_read_end(w.store, db);
	return n;
}

static int note_key(void *ctx, const struct s3_entry *e)
{
	buf_printf(ctx, "%.*s:%lld ", STR_ARG(e->key), (long long)e->size_bytes);
	return 0;
}

static const char *list(struct arena *a, const char *bucket, const char *prefix)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_BUF struct buf b = BUF_INIT;
	struct db *db = store_read_begin(w.store, &err);
	const int rc = s3_each(db, str_from(bucket), str_from(prefix), note_key, &b, &err);
	store_read_end(w.store, db);
	return arena_strdup(a, rc < 0 ? str_from(err.code) : buf_str(&b));
}

static char *host_file(const char *name, size_t size)
{
	static char path[128];
	snprintf(path, sizeof(path), "%s/%s", w.dir, name);
	FILE *f = fopen(path, "w");
	for (size_t i = 0; i < size; i++)
		fputc((int)('a' + i % 23), f);
	fclose(f);
	return path;
}

/* ---- tests ---- */

static void test_small(void **state)
{
	struct arena a = ARENA_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	must((struct action){ MAKE, "b1"
				    "-x" });
	assert_int_equal(act((struct action){ PUT_SMALL, "nope", "k", "v" }, &err), -1);
	assert_string_equal(err.code, "NoSuchBucket");
	must((struct action){ PUT_SMALL, "b1-x", "data/b", "two" });
	must((struct action){ PUT_SMALL, "b1-x", "data/a", "one" });
	must((struct action){ PUT_SMALL, "b1-x", "data/a", "eleven" });
	must((struct action){ PUT_SMALL, "b1-x", "datb", "" });
	assert_string_equal(read_text(&a, "b1-x", "data/a"), "eleven");
	assert_string_equal(read_text(&a, "b1-x", "datb"), "");
	assert_string_equal(read_text(&a, "b1-x", "data"), "NoSuchKey");
	assert_string_equal(read_text(&a, "none", "data"), "NoSuchBucket");
	assert_string_equal(list(&a, "b1-x", "data/"), "data/a:6 data/b:3 ");
	assert_string_equal(list(&a, "b1-x", ""), "data/a:6 data/b:3 datb:0 ");
	assert_string_equal(list(&a, "none", ""), "NoSuchBucket");
	assert_int_equal(number("SELECT COUNT(*) FROM s3_object"), 3);
	assert_int_equal(number("SELECT COUNT(*) FROM blob_due"), 0);
	arena_release(&a);
}

static void test_prepared(void **state)
{
	struct arena a = ARENA_INIT;
	struct error err = ERROR_INIT;
	struct stat st, linked;
	char target[128];
	must((struct action){ MAKE, "out" });
	const char *path = host_file("model.tar.gz", 100000);
	stat(path, &st);
	CLEANUP_JSON json_t *prepared = s3_prepare(w.s3, path, &err);
	assert_non_null(prepared);
	assert_int_equal(json_get_int(prepared, "size", 0), 100000);
	unlink(path);
	assert_string_equal(read_text(&a, "out", "m"), "NoSuchKey"); /* no object yet */
	must((struct action){ COMMIT, "out", "m", .prepared = prepared });
	assert_string_equal(list(&a, "out", ""), "m:100000 ");
	assert_int_equal(strlen(read_text(&a, "out", "m")), 100000);
	snprintf(target, sizeof(target), "%s/staged", w.dir);
	struct db *db = store_read_begin(w.store, &err);
	assert_int_equal(s3_link(w.s3, db, STR("out"), STR("m"), target, &err), 0);
	store_read_end(w.store, db);
	stat(target, &linked);
	assert_int_equal(linked.st_ino, st.st_ino); /* the producer's own bytes, never copied */
	must((struct action){ PUT_SMALL, "out", "m", "small now" });
	assert_int_equal(number("SELECT COUNT(*) FROM blob_due"), 1); /* the old body goes later */
	assert_int_equal(number("SELECT COUNT(*) FROM s3_object WHERE blob IS NOT NULL"), 0);
	db = store_read_begin(w.store, &err);
	unlink(target);
	assert_int_equal(s3_link(w.s3, db, STR("out"), STR("m"), target, &err), 0);
	store_read_end(w.store, db);
	stat(target, &linked);
	assert_int_equal(linked.st_size, 9);
	assert_null(s3_prepare(w.s3, "/nonexistent", &err));
	error_release(&err);
	arena_release(&a);
}

/* Two rows, one blob: it goes with the last of them, also when a row replaces itself. */
static void test_shared_blob(void **state)
{
	struct error err = ERROR_INIT;
	must((struct action){ MAKE, "share" });
	CLEANUP_JSON json_t *prepared = s3_prepare(w.s3, host_file("shared", 20000), &err);
	const int64_t due = number("SELECT COUNT(*) FROM blob_due");
	must((struct action){ COMMIT, "share", "one", .prepared = prepared });
	must((struct action){ COMMIT, "share", "two", .prepared = prepared });
	must((struct action){ COMMIT, "share", "two", .prepared = prepared });
	assert_int_equal(number("SELECT COUNT(*) FROM blob_due"), due);
	must((struct action){ DROP, "share", "one" });
	assert_int_equal(number("SELECT COUNT(*) FROM blob_due"), due);
	must((struct action){ DROP, "share", "two" });
	assert_int_equal(number("SELECT COUNT(*) FROM blob_due"), due + 1);
}

static void test_versions(void **state)
{
	struct arena a = ARENA_INIT;
	must((struct action){ MAKE, "ver" });
	must((struct action){ PUT_VERSION, "ver", "k", "null 1" });
	must((struct action){ VERSIONING, "ver", .number = S3_VERSIONED });
	must((struct action){ PUT_VERSION, "ver", "k", "v1" });
	must((struct action){ PUT_VERSION, "ver", "k", "v2" });
	must((struct action){ PUT_VERSION, "ver", "k", NULL });
	assert_string_equal(read_text(&a, "ver", "k"), "NoSuchKey");
	assert_int_equal(number("SELECT COUNT(*) FROM s3_object WHERE key=CAST('k' AS BLOB) AND listed=1"), 0);
	must((struct action){ DROP, "ver", "k" }); /* the marker: what was before shows again */
	assert_string_equal(read_text(&a, "ver", "k"), "v2");
	must((struct action){ DROP, "ver", "k" });
	assert_string_equal(read_text(&a, "ver", "k"), "v1");
	must((struct action){ VERSIONING, "ver", .number = S3_SUSPENDED });
	must((struct action){ PUT_VERSION, "ver", "k", "null 2" }); /* replaces the null version, keeps v1 */
	assert_string_equal(read_text(&a, "ver", "k"), "null 2");
	assert_int_equal(number("SELECT COUNT(*) FROM s3_object WHERE version='null' AND key=CAST('k' AS BLOB)"), 1);
	must((struct action){ PUT_VERSION, "ver", "k", NULL }); /* a null marker takes its place */
	assert_string_equal(read_text(&a, "ver", "k"), "NoSuchKey");
	must((struct action){ DROP, "ver", "k" });
	assert_string_equal(read_text(&a, "ver", "k"), "v1");
	must((struct action){ DROP, "ver", "k" });
	assert_string_equal(read_text(&a, "ver", "k"), "NoSuchKey");
	arena_release(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small),
		cmocka_unit_test(test_prepared),
		cmocka_unit_test(test_shared_blob),
		cmocka_unit_test(test_versions),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
