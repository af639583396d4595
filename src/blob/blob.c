/* blob.c - writing, publishing and opening blobs; see blob.h.
 *
 * DESIGN: order is everything: bytes on disk (fdatasync), then the name (linkat), then the name on disk (fsync of the
 * shard). Whoever calls may name the blob in a row only after that. A crash before it leaves nothing (O_TMPFILE) or
 * litter. */
#include "blob/room.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"

enum { RESERVE_BYTES = 32 << 20, COPY_BUFFER = 1 << 18 };

int blob_write_error(int errnum, const char *what, struct error *err)
{
	if (errnum == ENOSPC || errnum == EDQUOT)
		return error_http(err, 507, "InsufficientStorage", "The disk is full: %s failed. Nothing was changed.",
				  what);
	return error_errno(err, errnum, "%s", what);
}

int blob_break(struct blob_store *bs, int errnum, const char *what, struct error *err)
{
	if (errnum == ENOSPC || errnum == EDQUOT)
		return blob_write_error(errnum, what, err);
	pthread_mutex_lock(&bs->lock);
	bs->broken = true;
	pthread_mutex_unlock(&bs->lock);
	log_error("blob", "%s: %s; no more writes until a restart", what, strerror(errnum));
	return error_errno(err, errnum, "%s", what);
}

bool blob_id_valid(const char *id)
{
	for (int i = 0; i < BLOB_ID_LEN; i++)
		if (!((id[i] >= 'a' && id[i] <= 'z') || (id[i] >= '0' && id[i] <= '9')))
			return false;
	return id[BLOB_ID_LEN] == 0;
}

/* Empties tmp/, where half-written files are on a file system without O_TMPFILE. */
static int clear_tmp(struct blob_store *bs, struct error *err)
{
	if (mkdirat(bs->root_fd, "tmp", 0700) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make `%s/tmp`", bs->root);
	const int fd = openat(bs->root_fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return error_errno(err, errno, "open `%s/tmp`", bs->root);
	for (const struct dirent *d = readdir(dir); d; d = readdir(dir))
		if (d->d_name[0] != '.')
			unlinkat(fd, d->d_name, 0);
	closedir(dir);
	return 0;
}

static int probe_tmpfile(struct blob_store *bs, struct error *err)
{
	CLEANUP_FD int fd = openat(bs->root_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0444);
	if (fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
		return error_errno(err, errno, "make a file in `%s`", bs->root);
	bs->no_tmpfile = true;
	return clear_tmp(bs, err);
}

int blob_store_open(const char *root, struct blob_store **out, struct error *err)
{
	if (mkdir(root, 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make `%s`", root);
	struct blob_store *bs = mem_calloc(1, sizeof(*bs));
	pthread_mutex_init(&bs->lock, NULL);
	pthread_cond_init(&bs->synced, NULL);
	bs->root = mem_strdup(root);
	bs->opened_ms = clock_now_ms();
	bs->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = bs->root_fd < 0 ? error_errno(err, errno, "open `%s`", root) : probe_tmpfile(bs, err);
	if (rc < 0) {
		blob_store_close(bs);
		return rc;
	}
	*out = bs;
	return 0;
}

void blob_store_close(struct blob_store *bs)
{
	if (!bs)
		return;
	if (bs->current)
		shard_put(bs, bs->current);
	if (bs->shards)
		BUG("a blob writer outlives its store");
	if (bs->root_fd >= 0)
		close(bs->root_fd);
	pthread_mutex_destroy(&bs->lock);
	pthread_cond_destroy(&bs->synced);
	free(bs->root);
	free(bs);
}

const char *blob_root(struct blob_store *bs)
{
	return bs->root;
}

char *blob_path(struct blob_store *bs, const char *id, char *path)
{
	snprintf(path, 4096, "%s/%.2s/%.2s/%s", bs->root, id, id + 2, id);
	return path;
}

int64_t blob_room_bytes(struct blob_store *bs)
{
	struct statvfs v;
	if (fstatvfs(bs->root_fd, &v) < 0)
		return INT64_MAX;
	const int64_t bytes = (int64_t)v.f_bavail * (int64_t)v.f_frsize - RESERVE_BYTES;
	return bytes > 0 ? bytes : 0;
}

/* ---- writing ---- */

static void id_in_shard(const struct blob_shard *shard, char id[BLOB_ID_LEN + 1])
{
	memcpy(id, shard->prefix, 4);
	id_random(id + 4, BLOB_ID_LEN - 4);
}

int blob_create(struct blob_store *bs, struct blob_writer *w, struct error *err)
{
	struct blob_shard *shard;
	if (shard_get(bs, &shard, err) < 0)
		return -1;
	*w = (struct blob_writer){ .store = bs, .shard = shard, .fd = -1 };
	id_in_shard(shard, w->id);
	if (bs->no_tmpfile) {
		char tmp[8 + BLOB_ID_LEN];
		snprintf(tmp, sizeof(tmp), "tmp/%s", w->id);
		w->fd = openat(bs->root_fd, tmp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0444);
	} else {
		w->fd = openat(shard->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0444);
	}
	if (w->fd >= 0)
		return 0;
	const int e = errno;
	shard_put(bs, shard);
	*w = (struct blob_writer){ .fd = -1 };
	blob_write_error(e, "make a blob", err);
	return -1;
}

int blob_pwrite(int fd, const void *p, size_t n, int64_t offset, struct error *err)
{
	for (size_t done = 0; done < n;) {
		const ssize_t k = pwrite(fd, (const char *)p + done, n - done, offset + (int64_t)done);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return blob_write_error(errno, "write a blob", err);
		done += (size_t)k;
	}
	return 0;
}

int blob_write(struct blob_writer *w, const void *p, size_t n, struct error *err)
{
	if (blob_pwrite(w->fd, p, n, w->size_bytes, err) < 0)
		return -1;
	w->size_bytes += (int64_t)n;
	return 0;
}

int blob_sync(struct blob_store *bs, int fd, struct error *err)
{
	return fdatasync(fd) < 0 ? blob_break(bs, errno, "make a blob durable (fdatasync)", err) : 0;
}

static int writer_link(struct blob_writer *w, struct error *err)
{
	char from[40 + BLOB_ID_LEN];
	int rc;
	if (w->store->no_tmpfile) {
		snprintf(from, sizeof(from), "tmp/%s", w->id);
		rc = renameat(w->store->root_fd, from, w->shard->fd, w->id);
	} else {
		snprintf(from, sizeof(from), "/proc/self/fd/%d", w->fd);
		rc = linkat(AT_FDCWD, from, w->shard->fd, w->id, AT_SYMLINK_FOLLOW);
	}
	return rc < 0 ? blob_write_error(errno, "name a blob", err) : 0;
}

static void writer_close(struct blob_writer *w)
{
	close(w->fd);
	shard_put(w->store, w->shard);
	w->store = NULL;
	w->shard = NULL;
	w->fd = -1;
}

int blob_publish(struct blob_writer *w, struct error *err)
{
	if (blob_sync(w->store, w->fd, err) < 0 || writer_link(w, err) < 0)
		return -1;
	if (shard_sync(w->store, w->shard, err) < 0)
		return -1;
	writer_close(w);
	return 0;
}

void blob_abort(struct blob_writer *w)
{
	if (!w->store)
		return;
	if (w->store->no_tmpfile) {
		char tmp[8 + BLOB_ID_LEN];
		snprintf(tmp, sizeof(tmp), "tmp/%s", w->id);
		unlinkat(w->store->root_fd, tmp, 0);
	}
	writer_close(w);
}

/* ---- adopting, opening, linking ---- */

static int copy_whole(int from, int to, struct error *err)
{
	struct stat st;
	if (fstat(from, &st) < 0)
		return error_errno(err, errno, "stat a file to copy");
	return blob_copy_range(from, 0, to, 0, st.st_size, err);
}

/* From another file system: the bytes are copied. */
static int adopt_copy(struct blob_store *bs, int fd, char id[BLOB_ID_LEN + 1], struct error *err)
{
	struct blob_writer w;
	if (blob_create(bs, &w, err) < 0)
		return -1;
	memcpy(id, w.id, sizeof(w.id));
	if (copy_whole(fd, w.fd, err) < 0 || blob_publish(&w, err) < 0) {
		blob_abort(&w);
		return -1;
	}
	return 0;
}

int blob_adopt(struct blob_store *bs, const char *path, char id[BLOB_ID_LEN + 1], int64_t *size_bytes,
	       struct error *err)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, errno, "open `%s`", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, "`%s` is not a regular file", path);
	*size_bytes = st.st_size;
	struct blob_shard *shard;
	if (shard_get(bs, &shard, err) < 0)
		return -1;
	id_in_shard(shard, id);
	char from[40];
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	int rc = blob_sync(bs, fd, err);
	if (rc == 0 && linkat(AT_FDCWD, from, shard->fd, id, AT_SYMLINK_FOLLOW) < 0) {
		rc = errno == EXDEV || errno == EPERM || errno == EMLINK ? adopt_copy(bs, fd, id, err)
									 : blob_write_error(errno, "name a blob", err);
	} else if (rc == 0) {
		if (fchmod(fd, 0444) < 0)
			log_warn("blob", "make `%s` read-only: %s", path, strerror(errno));
		rc = shard_sync(bs, shard, err);
	}
	shard_put(bs, shard);
	return rc;
}

int blob_open(struct blob_store *bs, const char *id, struct error *err)
{
	char path[4096];
	const int fd = open(blob_path(bs, id, path), O_RDONLY | O_CLOEXEC);
	return fd < 0 ? error_errno(err, errno, "open blob `%s`", id) : fd;
}

int blob_link(struct blob_store *bs, const char *id, const char *path, struct error *err)
{
	char from[4096];
	if (link(blob_path(bs, id, from), path) == 0)
		return 0;
	if (errno != EXDEV && errno != EMLINK && errno != EPERM)
		return error_errno(err, errno, "link blob `%s` to `%s`", id, path);
	CLEANUP_FD int in = blob_open(bs, id, err);
	if (in < 0)
		return -1;
	CLEANUP_FD int out = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444);
	if (out < 0)
		return blob_write_error(errno, "copy a blob out", err);
	return copy_whole(in, out, err);
}

int blob_remove_now(struct blob_store *bs, const char *id, struct error *err)
{
	char path[4096];
	if (unlink(blob_path(bs, id, path)) < 0 && errno != ENOENT)
		return error_errno(err, errno, "remove blob `%s`", id);
	return 0;
}

/* ---- drafts ---- */

int blob_draft_new(struct blob_store *bs, char id[BLOB_ID_LEN + 1], struct error *err)
{
	struct blob_writer w;
	if (blob_create(bs, &w, err) < 0)
		return -1;
	memcpy(id, w.id, sizeof(w.id));
	if (fchmod(w.fd, 0644) < 0 || blob_publish(&w, err) < 0) {
		blob_abort(&w);
		return -1;
	}
	return 0;
}

int blob_draft_open(struct blob_store *bs, const char *id, struct error *err)
{
	char path[4096];
	int fd = open(blob_path(bs, id, path), O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == EACCES && chmod(path, 0644) == 0) /* sealed, and then not used */
		fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? error_errno(err, errno, "open draft blob `%s`", id) : fd;
}

int blob_draft_seal(struct blob_store *bs, const char *id, int64_t size_bytes, struct error *err)
{
	CLEANUP_FD int fd = blob_draft_open(bs, id, err);
	if (fd < 0)
		return -1;
	if (ftruncate(fd, size_bytes) < 0)
		return blob_write_error(errno, "cut a blob to size", err);
	if (fchmod(fd, 0444) < 0)
		return error_errno(err, errno, "make blob `%s` read-only", id);
	return blob_sync(bs, fd, err);
}

static int copy_by_hand(int from_fd, int64_t from, int to_fd, int64_t to, int64_t n, struct error *err)
{
	CLEANUP_FREE char *buffer = mem_alloc(COPY_BUFFER);
	while (n > 0) {
		const ssize_t k = pread(from_fd, buffer, n < COPY_BUFFER ? (size_t)n : COPY_BUFFER, from);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? error_errno(err, errno, "read a blob")
				     : error_set(err, "a blob is shorter than its row says");
		if (blob_pwrite(to_fd, buffer, (size_t)k, to, err) < 0)
			return -1;
		from += k;
		to += k;
		n -= k;
	}
	return 0;
}

int blob_copy_range(int from_fd, int64_t from, int to_fd, int64_t to, int64_t n, struct error *err)
{
	while (n > 0) {
		off_t in = from, out = to;
		const ssize_t k = copy_file_range(from_fd, &in, to_fd, &out, n < (1 << 30) ? (size_t)n : 1 << 30, 0);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && (errno == ENOSPC || errno == EDQUOT))
			return blob_write_error(errno, "copy a blob", err);
		if (k <= 0)
			return copy_by_hand(from_fd, from, to_fd, to, n, err);
		from += k;
		to += k;
		n -= k;
	}
	return 0;
}
