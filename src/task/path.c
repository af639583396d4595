/* path.c - see path.h. */
#include "task/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"

#define MAX_DEPTH 256

static int open_how(int dirfd, const char *rel, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC),
				.mode = flags & (O_CREAT | __O_TMPFILE) ? mode : 0,
				.resolve = resolve | RESOLVE_NO_MAGICLINKS };
	for (int tries = 0; tries < 16; tries++) {
		long fd = syscall(SYS_openat2, dirfd, rel, &how, sizeof(how));
		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR) /* EAGAIN: a rename raced with ".." */
			return -errno;
	}
	return -EAGAIN;
}

int path_open_beneath(int dirfd, const char *rel, int flags, mode_t mode, struct error *err)
{
	int fd = open_how(dirfd, *rel ? rel : ".", flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
	if (fd < 0)
		error_errno(err, -fd, "open `%s`", rel);
	return fd;
}

int path_open_in_root(int rootfd, const char *path, int flags, mode_t mode)
{
	return open_how(rootfd, path, flags, mode, RESOLVE_IN_ROOT);
}

int path_open_file_in_root(int rootfd, const char *path)
{
	struct stat st;
	char self[64];
	CLEANUP_FD int fd = path_open_in_root(rootfd, path, O_PATH, 0);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fd < 0 ? fd : -errno;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	int file = S_ISREG(st.st_mode) ? open(self, O_RDONLY | O_CLOEXEC) : -1;
	return file >= 0 ? file : S_ISREG(st.st_mode) ? -errno : -EINVAL;
}

DIR *path_list(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (fd >= 0 && !d) {
		int e = errno;
		close(fd);
		errno = e;
	}
	return d;
}

/* One directory deeper: makes `name` below dirfd when missing. `own` is called with the new fd. */
static int make_one(int dirfd, const char *name, mode_t mode, uint64_t resolve, uid_t uid, gid_t gid)
{
	int fd = open_how(dirfd, name, O_PATH | O_DIRECTORY, 0, resolve);
	if (fd != -ENOENT)
		return fd;
	bool made = mkdirat(dirfd, name, mode) == 0;
	if (!made && errno != EEXIST)
		return -errno;
	fd = open_how(dirfd, name, O_PATH | O_DIRECTORY, 0, resolve);
	if (fd >= 0 && made && uid != (uid_t)-1 && fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0) {
		int e = errno;
		close(fd);
		return -e;
	}
	return fd;
}

static int mkdirs(int rootfd, const char *path, mode_t mode, bool in_root, uid_t uid, gid_t gid, struct error *err)
{
	char done[PATH_MAX] = "";
	size_t len = 0;
	int fd = open_how(rootfd, ".", O_PATH | O_DIRECTORY, 0, 0);
	struct str rest = str_from(path), piece;
	while (fd >= 0 && str_split(&rest, '/', &piece)) {
		if (!piece.len)
			continue;
		int n = snprintf(done + len, sizeof(done) - len, "%s%.*s", len ? "/" : "", STR_ARG(piece));
		if (n < 0 || (size_t)n >= sizeof(done) - len) {
			close(fd);
			return error_errno(err, ENAMETOOLONG, "make directory `%s`", path);
		}
		len += (size_t)n;
		/* In a root each prefix is resolved from the root again, so that a symlink in the middle is taken as
		 * the container would take it. mkdirat itself never follows the last component. */
		char name[NAME_MAX + 1];
		snprintf(name, sizeof(name), "%.*s", STR_ARG(piece));
		int next = in_root ? open_how(rootfd, done, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT) : -ENOENT;
		if (next == -ENOENT)
			next = make_one(fd, name, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, uid, gid);
		close(fd);
		fd = next;
	}
	if (fd < 0)
		error_errno(err, -fd, "make directory `%s`", path);
	return fd;
}

int path_mkdirs_in_root(int rootfd, const char *path, mode_t mode, struct error *err)
{
	return mkdirs(rootfd, path, mode, true, (uid_t)-1, (gid_t)-1, err);
}

int path_mkdirs_beneath(int dirfd, const char *rel, mode_t mode, uid_t uid, gid_t gid, struct error *err)
{
	return mkdirs(dirfd, rel, mode, false, uid, gid, err);
}

bool path_is_clean(const char *abs)
{
	size_t len = strlen(abs);
	if (abs[0] != '/' || len >= PATH_MAX)
		return false;
	if (len == 1)
		return true;
	struct str rest = str_skip(str_from(abs), 1), piece;
	while (str_split(&rest, '/', &piece))
		if (!piece.len || piece.len > NAME_MAX || str_eqz(piece, ".") || str_eqz(piece, ".."))
			return false;
	return true;
}

const char *path_below(const char *base, const char *abs)
{
	size_t n = strlen(base);
	while (n > 1 && base[n - 1] == '/')
		n--;
	if (!path_is_clean(abs) || strncmp(base, abs, n))
		return NULL;
	if (n == 1)
		return abs + 1;
	return abs[n] == '/' ? abs + n + 1 : abs[n] ? NULL : abs + n;
}

int fd_write_all(int fd, const void *p, size_t n)
{
	const char *at = p;
	while (n) {
		ssize_t k = write(fd, at, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		at += k;
		n -= (size_t)k;
	}
	return 0;
}

int path_write_atomic(int dirfd, const char *name, struct str data, mode_t mode, bool sync, struct error *err)
{
	char temp[NAME_MAX + 1];
	if (snprintf(temp, sizeof(temp), "%s.new", name) >= (int)sizeof(temp))
		return error_errno(err, ENAMETOOLONG, "write `%s`", name);
	unlinkat(dirfd, temp, 0);
	CLEANUP_FD int fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return error_errno(err, errno, "create `%s`", temp);
	int rc = fd_write_all(fd, data.ptr, data.len);
	if (rc < 0)
		return error_errno(err, -rc, "write `%s`", temp);
	if (sync && fsync(fd) < 0)
		return error_errno(err, errno, "fsync `%s`", temp);
	if (renameat(dirfd, temp, dirfd, name) < 0)
		return error_errno(err, errno, "rename `%s` to `%s`", temp, name);
	if (sync && fsync(dirfd) < 0)
		return error_errno(err, errno, "fsync the directory of `%s`", name);
	return 0;
}

int path_read(int dirfd, const char *name, size_t max, struct buf *out, struct error *err)
{
	CLEANUP_FD int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		int e = errno;
		error_errno(err, e, "open `%s`", name);
		return -e;
	}
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return error_set(err, "`%s` is not a regular file", name);
	size_t start = out->len;
	for (;;) {
		buf_reserve(out, 65536);
		ssize_t n = read(fd, out->ptr + out->len, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, errno, "read `%s`", name);
		if (n == 0)
			break;
		out->len += (size_t)n;
		out->ptr[out->len] = 0;
		if (out->len - start > max)
			return error_set(err, "`%s` is larger than %zu bytes", name, max);
	}
	return 0;
}

int path_put(const char *path, const char *text)
{
	CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fd_write_all(fd, text, strlen(text));
}

ssize_t path_get(const char *path, char *out, size_t size)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, out, size - 1);
	if (n < 0)
		return -errno;
	out[n] = 0;
	return n;
}

static int remove_below(int dirfd, const char *name, dev_t dev, int depth);

static int remove_entries(int fd, dev_t dev, int depth)
{
	DIR *d = fdopendir(fd);
	if (!d) {
		int e = errno;
		close(fd);
		return -e;
	}
	int rc = 0;
	for (struct dirent *entry; rc == 0 && (entry = readdir(d));)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			rc = remove_below(dirfd(d), entry->d_name, dev, depth + 1);
	closedir(d);
	return rc;
}

static int remove_below(int dirfd, const char *name, dev_t dev, int depth)
{
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth > MAX_DEPTH)
		return -ELOOP;
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == EACCES && fchmodat(dirfd, name, 0700, 0) == 0) /* overlay's work directory is mode 000 */
		fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	struct stat st;
	if (fstat(fd, &st) < 0 || st.st_dev != dev) {
		close(fd);
		return -EXDEV;
	}
	fchmod(fd, 0700); /* a container may have taken the write bit away; matters only when rootless */
	int rc = remove_entries(fd, dev, depth);
	if (rc == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		rc = -errno;
	return rc;
}

int path_remove_tree(int dirfd, const char *name, struct error *err)
{
	struct stat st;
	if (fstat(dirfd, &st) < 0)
		return error_errno(err, errno, "stat the directory of `%s`", name);
	int rc = remove_below(dirfd, name, st.st_dev, 0);
	return rc < 0 ? error_errno(err, -rc, "remove `%s`", name) : 0;
}
