/* code.c - a function's code: a zip in the blob store, unpacked when a worker first needs it.
 *
 * DESIGN: the zip is checked and stored before the row names it. <data>/lambda/code/<blob> is made under another name
 * and then renamed, and is a cache only: a new process starts with an empty one, so nothing in it has to survive a
 * crash; what is of no use any more goes when something new is unpacked. Entries are written with no symbolic link
 * followed and no name that leads out of the directory. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lambda/room.h"

static int bad_zip(struct error *err)
{
	return lambda_invalid(err, "Could not unzip uploaded file. Please check your file, then try to upload again.");
}

static void archive_cleanup(struct archive **a)
{
	if (*a)
		archive_read_free(*a);
}
#define CLEANUP_ARCHIVE __attribute__((cleanup(archive_cleanup)))

static struct archive *zip_open(const char *path)
{
	struct archive *z = archive_read_new();
	archive_read_support_format_zip(z);
	if (archive_read_open_filename(z, path, 65536) == ARCHIVE_OK)
		return z;
	archive_read_free(z);
	return NULL;
}

/* "a/b" without leading slash, "." or "..". */
static bool name_ok(const char *name)
{
	struct str rest = str_from(name), piece;
	if (!name || !*name || *name == '/' || strlen(name) > 4096)
		return false;
	while (str_split(&rest, '/', &piece))
		if (str_eqz(piece, "..") || (!piece.len && rest.ptr))
			return false;
	return true;
}

/* Adds the bytes that an entry really has, whatever its header says, as long as the sum is in bounds. */
static int read_through(struct archive *z, int64_t *total)
{
	const void *piece;
	size_t n;
	la_int64_t at;
	int rc;
	while ((rc = archive_read_data_block(z, &piece, &n, &at)) == ARCHIVE_OK && *total <= LAMBDA_CODE_MAX)
		*total += (int64_t)n;
	return rc;
}

/* Reads all of it: what passes here can be unpacked, and does not grow beyond the bound. */
static int check_zip(const char *path, struct error *err)
{
	CLEANUP_ARCHIVE struct archive *z = zip_open(path);
	struct archive_entry *e;
	int64_t total = 0, files = 0;
	int rc = ARCHIVE_EOF;
	if (!z)
		return bad_zip(err);
	while ((rc = archive_read_next_header(z, &e)) == ARCHIVE_OK) {
		if (!name_ok(archive_entry_pathname(e)))
			return bad_zip(err);
		rc = read_through(z, &total);
		files++;
		if (total > LAMBDA_CODE_MAX)
			return lambda_invalid(err, "Unzipped size must be smaller than %d bytes", LAMBDA_CODE_MAX);
		if (rc != ARCHIVE_EOF)
			return bad_zip(err);
	}
	if (rc != ARCHIVE_EOF)
		return bad_zip(err);
	return files ? 0 : lambda_invalid(err, "Uploaded file must be a non-empty zip");
}

/* ---- storing ---- */

static int hash_file(const char *path, struct lambda_code *out, struct error *err)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	CLEANUP_FREE char *piece = mem_alloc(1 << 17);
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "open `%s`", path);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
	ssize_t got;
	out->size_bytes = 0;
	while ((got = read(fd, piece, 1 << 17)) > 0) {
		EVP_DigestUpdate(ctx, piece, (size_t)got);
		out->size_bytes += got;
	}
	EVP_DigestFinal_ex(ctx, sum, &n);
	EVP_MD_CTX_free(ctx);
	base64_encode(out->sha256, sum, n);
	return got < 0 ? error_errno(err, errno, "read `%s`", path) : 0;
}

static int store_bytes(struct lambda *l, struct str text, const char *operation, struct lambda_code *out,
		       struct error *err)
{
	CLEANUP_FREE char *raw = mem_alloc(3 * (text.len / 4) + 3);
	ptrdiff_t n = base64_decode(raw, text);
	struct blob_writer w = { 0 };
	if (n < 0)
		return lambda_invalid(err, "The zip file is not valid base64");
	if (n > LAMBDA_ZIP_MAX)
		return error_http(err, 413, "RequestEntityTooLargeException",
				  "Request must be smaller than %d bytes for the %s operation", LAMBDA_REQUEST_MAX,
				  operation);
	if (blob_create(l->o.blobs, &w, err) < 0)
		return -1;
	if (blob_write(&w, raw, (size_t)n, err) < 0 || blob_publish(&w, err) < 0) {
		blob_abort(&w);
		return -1;
	}
	memcpy(out->blob, w.id, sizeof(out->blob));
	return 0;
}

static int s3_error(struct error *err, struct error *why)
{
	if (!why->code[0])
		return error_move(err, why);
	const char *text = error_is(why, "NoSuchKey")      ? "The specified key does not exist."
			   : error_is(why, "NoSuchBucket") ? "The specified bucket does not exist"
							   : error_text(why);
	return lambda_invalid(err, "Error occurred while GetObject. S3 Error Code: %s. S3 Error Message: %s", why->code,
			      text);
}

static int store_object(struct lambda *l, json_t *code, struct lambda_code *out, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	char name[25], path[4096];
	int64_t size;
	struct db *db = store_read_begin(l->store, err);
	if (!db)
		return -1;
	id_random(name, 24);
	snprintf(path, sizeof(path), "%s/.s3-%s", l->code_dir, name);
	int rc = s3_link(l->o.s3, db, json_get_str(code, "S3Bucket"), json_get_str(code, "S3Key"), path, &why);
	store_read_end(l->store, db);
	if (rc < 0)
		return s3_error(err, &why);
	rc = blob_adopt(l->o.blobs, path, out->blob, &size, err);
	unlink(path);
	if (rc >= 0 && size > LAMBDA_CODE_MAX)
		return lambda_invalid(err, "Unzipped size must be smaller than %d bytes", LAMBDA_CODE_MAX);
	return rc;
}

void lambda_code_drop(struct lambda *l, struct lambda_code *code)
{
	if (code->blob[0])
		blob_remove_now(l->o.blobs, code->blob, NULL);
	code->blob[0] = 0;
}

int lambda_code_store(struct lambda *l, json_t *code, const char *operation, struct lambda_code *out, struct error *err)
{
	struct str zip = json_get_str(code, "ZipFile");
	char path[4096];
	int rc;
	*out = (struct lambda_code){ 0 };
	if (json_get(code, "ImageUri"))
		return lambda_invalid(err, "Quern runs functions from a zip; container images are not supported yet");
	if (json_get(code, "S3ObjectVersion"))
		return lambda_invalid(err, "Quern does not support S3ObjectVersion of a function's code yet");
	if (zip.ptr && json_get(code, "S3Bucket"))
		return lambda_invalid(err,
				      "Please do not provide other FunctionCode parameters when providing a ZipFile.");
	if (zip.ptr)
		rc = store_bytes(l, zip, operation, out, err);
	else if (json_get(code, "S3Bucket") && json_get(code, "S3Key"))
		rc = store_object(l, code, out, err);
	else
		return lambda_invalid(err, "Please provide a source for function code.");
	if (rc >= 0)
		rc = hash_file(blob_path(l->o.blobs, out->blob, path), out, err);
	if (rc >= 0)
		rc = check_zip(path, err);
	if (rc < 0)
		lambda_code_drop(l, out);
	return rc < 0 ? -1 : 0;
}

/* ---- unpacking ---- */

/* The directory of `path` below `root`, made where it is missing; *last is the final component. -errno. */
static int open_parent(int root, char *path, char **last)
{
	int at = fcntl(root, F_DUPFD_CLOEXEC, 0);
	for (char *slash; at >= 0 && (slash = strchr(path, '/')) && slash[1]; path = slash + 1) {
		*slash = 0;
		if (!strcmp(path, ".") || !*path)
			continue;
		mkdirat(at, path, 0755);
		int next = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int e = errno;
		close(at);
		at = next < 0 ? -e : next;
	}
	*last = path;
	return at;
}

static int unpack_file(struct archive *z, struct archive_entry *e, int dir, const char *name)
{
	mode_t mode = (archive_entry_perm(e) & 0755) | 0444;
	CLEANUP_FD int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	if (archive_read_data_into_fd(z, fd) != ARCHIVE_OK)
		return -EINVAL;
	return fchmod(fd, mode) < 0 ? -errno : 0;
}

static int unpack_entry(struct archive *z, struct archive_entry *e, int root)
{
	char path[4097], *name;
	snprintf(path, sizeof(path), "%s", archive_entry_pathname(e));
	size_t n = strlen(path);
	while (n && path[n - 1] == '/')
		path[--n] = 0;
	if (!n || !strcmp(path, "."))
		return 0;
	CLEANUP_FD int dir = open_parent(root, path, &name);
	if (dir < 0)
		return dir;
	if (archive_entry_filetype(e) == AE_IFDIR)
		return mkdirat(dir, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
	if (archive_entry_filetype(e) == AE_IFLNK && archive_entry_symlink(e))
		return symlinkat(archive_entry_symlink(e), dir, name) < 0 ? -errno : 0;
	return unpack_file(z, e, dir, name);
}

static int unpack(const char *zip, const char *to, struct error *err)
{
	CLEANUP_ARCHIVE struct archive *z = zip_open(zip);
	struct archive_entry *e;
	int rc;
	if (!z)
		return bad_zip(err);
	if (mkdir(to, 0755) < 0)
		return error_errno(err, errno, "make `%s`", to);
	CLEANUP_FD int root = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return error_errno(err, errno, "open `%s`", to);
	while ((rc = archive_read_next_header(z, &e)) == ARCHIVE_OK) {
		if (!name_ok(archive_entry_pathname(e)))
			return bad_zip(err);
		int no = unpack_entry(z, e, root);
		if (no < 0)
			return error_errno(err, -no, "unpack `%s`", archive_entry_pathname(e));
	}
	return rc == ARCHIVE_EOF ? 0 : bad_zip(err);
}

static void remove_tree(int at, const char *name)
{
	if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
		return;
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (struct dirent *entry; (entry = readdir(d));)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			remove_tree(dirfd(d), entry->d_name);
	closedir(d);
	unlinkat(at, name, AT_REMOVEDIR);
}

/* What no version has any more and no worker runs goes, before something new comes. */
static void drop_unused(struct lambda *l)
{
	struct db *db = store_read_begin(l->store, NULL);
	DIR *d = opendir(l->code_dir);
	for (struct dirent *entry; db && d && (entry = readdir(d));)
		if (entry->d_name[0] != '.' && !pool_uses(l, entry->d_name) &&
		    lambda_blob_named(NULL, db, entry->d_name) == 0)
			remove_tree(dirfd(d), entry->d_name);
	if (d)
		closedir(d);
	if (db)
		store_read_end(l->store, db);
}

const char *lambda_code_dir(struct lambda *l, struct arena *a, const char *blob, struct error *err)
{
	char zip[4096];
	const char *dir = arena_printf(a, "%s/%s", l->code_dir, blob),
		   *made = arena_printf(a, "%s/.new-%s", l->code_dir, blob);
	int rc = 0;
	pthread_mutex_lock(&l->code_lock);
	if (access(dir, F_OK) < 0) {
		drop_unused(l);
		remove_tree(AT_FDCWD, made);
		rc = unpack(blob_path(l->o.blobs, blob, zip), made, err);
		if (rc >= 0 && rename(made, dir) < 0)
			rc = error_errno(err, errno, "rename `%s`", made);
		if (rc < 0)
			remove_tree(AT_FDCWD, made);
	}
	pthread_mutex_unlock(&l->code_lock);
	return rc < 0 ? NULL : dir;
}

static void remove_old(void *arg)
{
	remove_tree(AT_FDCWD, arg);
	free(arg);
}

int lambda_code_init(struct lambda *l, struct error *err)
{
	char id[13], old[4096], parent[4096];
	struct stat st;
	id_random(id, 12);
	snprintf(parent, sizeof(parent), "%s/lambda", l->o.data_dir);
	snprintf(old, sizeof(old), "%s/lambda/old-%s", l->o.data_dir, id);
	if (mkdir(parent, 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make `%s`", parent);
	if (rename(l->code_dir, old) == 0 && stat(old, &st) == 0)
		work_add(l->work, remove_old, mem_strdup(old));
	if (mkdir(l->code_dir, 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make `%s`", l->code_dir);
	return 0;
}
