/* seed.c - the first content of a scratch directory (checkpoints of an earlier run).
 *
 * DESIGN: the container will write to these files, so they are copied (shared extents where the file system can): a
 * hard link would let it change the store's bytes. Only regular files and directories; nothing is followed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "task/path.h"
#include "task/sup.h"

#define MAX_DEPTH 200

static int give(const struct sup_container *c, int fd, const char *name, struct error *err)
{
	if (c->uid && fchown(fd, c->uid, c->gid) < 0)
		return error_errno(err, errno, "give `%s` to user %u", name, (unsigned)c->uid);
	return 0;
}

static int copy_file(struct sup_container *c, int from, int to, const char *name, int64_t size, struct error *err)
{
	CLEANUP_FD int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP_FD int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (in < 0 || out < 0)
		return error_errno(err, errno, "copy `%s`", name);
	while (size > 0) {
		ssize_t n = copy_file_range(in, NULL, out, NULL, (size_t)size, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_errno(err, n < 0 ? errno : EIO, "copy `%s`", name);
		size -= n;
	}
	return give(c, out, name, err);
}

static int copy_dir(struct sup_container *c, int from, int to, int depth, struct error *err);

static int copy_entry(struct sup_container *c, int from, int to, const char *name, int depth, struct error *err)
{
	struct stat st;
	if (depth > MAX_DEPTH)
		return error_set(err, "copy `%s`: nested too deeply", name);
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, errno, "stat `%s`", name);
	if (S_ISREG(st.st_mode))
		return copy_file(c, from, to, name, st.st_size, err);
	if (!S_ISDIR(st.st_mode))
		return 0;
	if (mkdirat(to, name, 0755) < 0)
		return error_errno(err, errno, "make `%s`", name);
	CLEANUP_FD int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP_FD int out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (in < 0 || out < 0)
		return error_errno(err, errno, "open `%s`", name);
	return give(c, out, name, err) < 0 ? -1 : copy_dir(c, in, out, depth + 1, err);
}

static int copy_dir(struct sup_container *c, int from, int to, int depth, struct error *err)
{
	int rc = 0;
	DIR *d = path_list(from, ".");
	if (!d)
		return error_errno(err, errno, "list a directory");
	for (struct dirent *entry; rc == 0 && (entry = readdir(d));)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			rc = copy_entry(c, from, to, entry->d_name, depth, err);
	closedir(d);
	return rc;
}

int sup_seed_scratch(struct sup_container *c, const char *seed, int scratch, struct error *err)
{
	CLEANUP_FD int from = path_open_beneath(c->sup->data_fd, seed, O_RDONLY | O_DIRECTORY, 0, err);
	if (from < 0 || copy_dir(c, from, scratch, 0, err) < 0)
		return error_wrap(err, "fill a scratch directory from `%s`", seed);
	return 0;
}
