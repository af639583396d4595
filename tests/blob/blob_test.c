/* blob_test.c - blobs on disk: nothing before publish, everything after; drafts, links, removal, litter, a full disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "blob/blob.h"

static char root[4096];
static int files_seen;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int count_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	files_seen += type == FTW_F;
	return 0;
}

static int count_files(void)
{
	files_seen = 0;
	nftw(root, count_entry, 16, FTW_PHYS);
	return files_seen;
}

static int setup(void **state)
{
	struct error err = ERROR_INIT;
	struct blob_store *bs;
	char dir[] = "/tmp/blob-test-XXXXXX";
	if (!mkdtemp(dir))
		return -1;
	snprintf(root, sizeof(root), "%s/blobs", dir);
	if (blob_store_open(root, &bs, &err) < 0)
		return -1;
	*state = bs;
	return 0;
}

static int teardown(void **state)
{
	blob_store_close(*state);
	*strrchr(root, '/') = 0;
	return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void put_blob(struct blob_store *bs, const char *text, char id[BLOB_ID_LEN + 1])
{
	struct error err = ERROR_INIT;
	struct blob_writer w;
	assert_int_equal(blob_create(bs, &w, &err), 0);
	assert_int_equal(blob_write(&w, text, strlen(text), &err), 0);
	memcpy(id, w.id, BLOB_ID_LEN + 1);
	assert_int_equal(blob_publish(&w, &err), 0);
}

static char *slurp(const char *path, char *buffer, size_t size)
{
	CLEANUP_FD int fd = open(path, O_RDONLY);
	if (fd < 0)
		return NULL;
	const ssize_t n = read(fd, buffer, size - 1);
	buffer[n < 0 ? 0 : n] = 0;
	return buffer;
}

static void test_publish(void **state)
{
	struct blob_store *bs = *state;
	struct error err = ERROR_INIT;
	struct blob_writer w;
	char path[4096], text[64];
	assert_int_equal(blob_create(bs, &w, &err), 0);
	assert_int_equal(blob_write(&w, "hello ", 6, &err), 0);
	assert_int_equal(blob_write(&w, "world", 5, &err), 0);
	assert_int_equal(w.size_bytes, 11);
	assert_int_equal(count_files(), 0); /* invisible until it is published */
	char id[BLOB_ID_LEN + 1];
	memcpy(id, w.id, sizeof(id));
	assert_int_equal(blob_publish(&w, &err), 0);
	blob_abort(&w); /* no-op */
	assert_int_equal(count_files(), 1);
	assert_string_equal(slurp(blob_path(bs, id, path), text, sizeof(text)), "hello world");
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0222, 0);
	CLEANUP_FD int fd = blob_open(bs, id, &err);
	assert_true(fd >= 0);
	assert_int_equal(blob_remove_now(bs, id, &err), 0);
	assert_int_equal(blob_remove_now(bs, id, &err), 0);
	assert_true(blob_open(bs, id, &err) < 0);
	assert_non_null(strstr(error_text(&err), id));
	error_release(&err);
}

static void test_abort(void **state)
{
	struct error err = ERROR_INIT;
	struct blob_writer w, zero = { 0 };
	assert_int_equal(blob_create(*state, &w, &err), 0);
	assert_int_equal(blob_write(&w, "x", 1, &err), 0);
	blob_abort(&w);
	blob_abort(&w);
	blob_abort(&zero);
	assert_int_equal(count_files(), 0);
}

static void test_adopt_and_link(void **state)
{
	struct blob_store *bs = *state;
	struct error err = ERROR_INIT;
	char file[4200], path[4096], text[64], id[BLOB_ID_LEN + 1];
	int64_t size = 0;
	struct stat a, b;
	snprintf(file, sizeof(file), "%s/../out.csv", root);
	FILE *f = fopen(file, "w");
	fputs("1,2,3\n", f);
	fclose(f);
	assert_int_equal(blob_adopt(bs, file, id, &size, &err), 0);
	assert_int_equal(size, 6);
	assert_int_equal(stat(file, &a), 0);
	assert_int_equal(stat(blob_path(bs, id, path), &b), 0);
	assert_int_equal(a.st_ino, b.st_ino); /* not copied */
	assert_int_equal(b.st_mode & 0222, 0);
	assert_int_equal(unlink(file), 0);
	snprintf(file, sizeof(file), "%s/../staged", root);
	assert_int_equal(blob_link(bs, id, file, &err), 0);
	assert_int_equal(stat(file, &a), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(blob_remove_now(bs, id, &err), 0);
	assert_string_equal(slurp(file, text, sizeof(text)), "1,2,3\n"); /* the link keeps the bytes */
	assert_true(blob_adopt(bs, "/nonexistent/file", id, &size, &err) < 0);
	error_release(&err);
	assert_true(blob_adopt(bs, root, id, &size, &err) < 0); /* a directory */
	error_release(&err);
	snprintf(file, sizeof(file), "%s/../link", root);
	assert_int_equal(symlink("/etc/passwd", file), 0);
	assert_true(blob_adopt(bs, file, id, &size, &err) < 0); /* never through a symbolic link */
	error_release(&err);
}

static void test_draft(void **state)
{
	struct blob_store *bs = *state;
	struct error err = ERROR_INIT;
	char id[BLOB_ID_LEN + 1], path[4096], text[64];
	assert_int_equal(blob_draft_new(bs, id, &err), 0);
	assert_int_equal(count_files(), 1);
	int fd = blob_draft_open(bs, id, &err);
	assert_int_equal(blob_pwrite(fd, "world and more", 14, 6, &err), 0);
	assert_int_equal(blob_pwrite(fd, "hello ", 6, 0, &err), 0);
	assert_int_equal(blob_sync(bs, fd, &err), 0);
	close(fd);
	assert_int_equal(blob_draft_seal(bs, id, 11, &err), 0);
	assert_string_equal(slurp(blob_path(bs, id, path), text, sizeof(text)), "hello world");
	fd = blob_draft_open(bs, id, &err); /* a sealed draft that was not used after all */
	assert_true(fd >= 0);
	close(fd);
}

static void test_copy_range(void **state)
{
	struct blob_store *bs = *state;
	struct error err = ERROR_INIT;
	char a[BLOB_ID_LEN + 1], b[BLOB_ID_LEN + 1], path[4096], text[64];
	put_blob(bs, "0123456789", a);
	assert_int_equal(blob_draft_new(bs, b, &err), 0);
	int in = blob_open(bs, a, &err), out = blob_draft_open(bs, b, &err);
	assert_int_equal(blob_copy_range(in, 5, out, 0, 5, &err), 0);
	assert_int_equal(blob_copy_range(in, 0, out, 5, 5, &err), 0);
	assert_true(blob_copy_range(in, 5, out, 10, 6, &err) < 0); /* there are only five */
	error_release(&err);
	close(in);
	close(out);
	assert_non_null(slurp(blob_path(bs, b, path), text, sizeof(text)));
	assert_memory_equal(text, "5678901234", 10);
}

/* ---- many at a time ---- */

enum { THREADS = 8, EACH = 300 };

static void *publish_many(void *arg)
{
	struct error err = ERROR_INIT;
	for (int i = 0; i < EACH; i++) {
		struct blob_writer w;
		char text[32], read_back[32], path[4096], id[BLOB_ID_LEN + 1];
		const int n = snprintf(text, sizeof(text), "%p %d", (void *)&w, i);
		if (blob_create(arg, &w, &err) < 0 || blob_write(&w, text, (size_t)n, &err) < 0)
			return "write";
		memcpy(id, w.id, sizeof(id));
		if (blob_publish(&w, &err) < 0)
			return "publish";
		if (!slurp(blob_path(arg, id, path), read_back, sizeof(read_back)) || strcmp(text, read_back) != 0)
			return "read back";
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, publish_many, *state), 0);
	for (int i = 0; i < THREADS; i++) {
		void *failed;
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(count_files(), THREADS * EACH); /* over more than one directory */
}

/* ---- removal ---- */

static char kept_id[BLOB_ID_LEN + 1];

static int named(void *ctx, struct db *db, const char *id)
{
	return strcmp(id, kept_id) == 0;
}

static void forget(void *ctx, const char *id)
{
	struct error err = ERROR_INIT;
	struct store *store = ctx;
	struct db *db = store_writer(store);
	assert_int_equal(db_begin(db, &err), 0);
	assert_int_equal(blob_forget(db, id, &err), 0);
	assert_int_equal(db_commit(db, &err), 0);
}

static void later(struct store *store, const char *id, int64_t now_ms)
{
	struct error err = ERROR_INIT;
	struct db *db = store_writer(store);
	assert_int_equal(db_begin(db, &err), 0);
	assert_int_equal(blob_remove_later(db, id, now_ms, &err), 0);
	assert_int_equal(blob_remove_later(db, id, now_ms, &err), 0);
	assert_int_equal(db_commit(db, &err), 0);
}

static int sweep(struct blob_store *bs, struct store *store, int64_t now_ms)
{
	struct error err = ERROR_INIT;
	struct db *db = store_read_begin(store, &err);
	const int n = blob_sweep(bs, db, now_ms, 100, forget, store, &err);
	store_read_end(store, db);
	return n;
}

static void test_sweep(void **state)
{
	struct blob_store *bs = *state;
	struct error err = ERROR_INIT;
	struct store *store;
	char gone[BLOB_ID_LEN + 1];
	assert_int_equal(store_open("", blob_migrations, &store, &err), 0);
	blob_add_owner(bs, named, NULL);
	put_blob(bs, "gone", gone);
	put_blob(bs, "kept", kept_id);
	later(store, gone, 1000000);
	later(store, kept_id, 1000000);                 /* a mistake: a row names it */
	assert_int_equal(sweep(bs, store, 1000000), 0); /* a reader may hold it for a minute */
	assert_int_equal(count_files(), 2);
	assert_int_equal(sweep(bs, store, 1060000), 1);
	assert_int_equal(count_files(), 1);
	CLEANUP_FD int fd = blob_open(bs, kept_id, &err);
	assert_true(fd >= 0);
	store_close(store);
}

static void test_litter(void **state)
{
	struct blob_store *bs = *state;
	struct error err = ERROR_INIT;
	struct store *store;
	char old[BLOB_ID_LEN + 1], due[BLOB_ID_LEN + 1], young[BLOB_ID_LEN + 1];
	assert_int_equal(store_open("", blob_migrations, &store, &err), 0);
	put_blob(bs, "litter", old);
	put_blob(bs, "named", kept_id);
	put_blob(bs, "due", due);
	later(store, due, clock_now_ms());
	blob_store_close(bs);
	usleep(2200000); /* what was there before the opening is told by the file's change time */
	assert_int_equal(blob_store_open(root, &bs, &err), 0);
	*state = bs;
	blob_add_owner(bs, named, NULL);
	put_blob(bs, "young", young);
	assert_int_equal(blob_collect_litter(bs, store, &err), 1);
	assert_int_equal(count_files(), 3);
	char path[4096];
	assert_int_equal(access(blob_path(bs, old, path), F_OK), -1);
	store_close(store);
}

/* ---- a full disk ---- */

static void test_full_disk(void **state)
{
	char dir[] = "/tmp/blob-full-XXXXXX";
	struct error err = ERROR_INIT;
	struct blob_store *bs;
	assert_non_null(mkdtemp(dir));
	if (mount("tmpfs", dir, "tmpfs", 0, "size=1m") < 0) {
		rmdir(dir);
		print_message("skipped: mounting a small file system needs root\n");
		skip();
	}
	assert_int_equal(blob_store_open(dir, &bs, &err), 0);
	assert_int_equal(blob_room_bytes(bs), 0); /* less than the reserve */
	struct blob_writer w;
	char block[65536] = { 1 };
	int rc = blob_create(bs, &w, &err);
	for (int i = 0; rc == 0 && i < 32; i++)
		rc = blob_write(&w, block, sizeof(block), &err);
	assert_int_equal(rc, -1);
	assert_string_equal(err.code, "InsufficientStorage");
	assert_int_equal(err.status, 507);
	error_release(&err);
	blob_abort(&w);
	char id[BLOB_ID_LEN + 1];
	put_blob(bs, "room again", id); /* it goes on */
	blob_store_close(bs);
	umount(dir);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_publish, setup, teardown),
		cmocka_unit_test_setup_teardown(test_abort, setup, teardown),
		cmocka_unit_test_setup_teardown(test_adopt_and_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_draft, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copy_range, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_litter, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
