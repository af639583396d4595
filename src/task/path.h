/* path.h - files and directories below a directory we hold open.
 *
 * DESIGN: the executor is privileged and shares directories with the less privileged daemon, and the supervisor walks
 * trees that containers wrote. So nothing here follows a path that somebody else can swap: every call takes a directory
 * fd and resolves below it with openat2(2). "beneath": no symlink at all. "in root": symlinks are taken as the
 * container sees them. */
#ifndef QUERN_TASK_PATH_H
#define QUERN_TASK_PATH_H

#include <dirent.h>
#include <sys/types.h>
#include "base/buf.h"
#include "base/error.h"

/* Opens `rel` below `dirfd` without following any symlink. Returns the fd (CLOEXEC) or < 0. */
int path_open_beneath(int dirfd, const char *rel, int flags, mode_t mode, struct error *err);
/* Opens `path` with `rootfd` as "/": symlinks stay inside. Returns the fd (CLOEXEC) or -errno (no error text: often a
 * miss is normal). */
int path_open_in_root(int rootfd, const char *path, int flags, mode_t mode);
/* Opens a regular file for reading in the same way; -EINVAL for anything else, which is not even opened: to open a
 * device node can have effects. */
int path_open_file_in_root(int rootfd, const char *path);
/* A stream of its own of dirfd/name ("." = dirfd), which is no link; NULL with errno. Caller: closedir. */
DIR *path_list(int dirfd, const char *name);
/* Makes the directory `path` and its parents inside root; returns an O_PATH fd of it, or < 0. Existing ones are kept as
 * they are. */
int path_mkdirs_in_root(int rootfd, const char *path, mode_t mode, struct error *err);
/* The same below dirfd without following symlinks. New directories belong to uid:gid (-1: unchanged). */
int path_mkdirs_beneath(int dirfd, const char *rel, mode_t mode, uid_t uid, gid_t gid, struct error *err);
/* The path of `abs` relative to `base` ("" when equal), or NULL when it is not inside or has ".", ".." or empty
 * components. */
const char *path_below(const char *base, const char *abs);
/* An absolute path without ".", "..", "//" or a trailing slash ("/" itself is clean), shorter than PATH_MAX. */
bool path_is_clean(const char *abs);
/* Replaces dirfd/name by the bytes in one step (temporary file + rename). `sync`: fsync of file and directory before
 * return. */
int path_write_atomic(int dirfd, const char *name, struct str data, mode_t mode, bool sync, struct error *err);
/* Reads a regular file of at most `max` bytes, appending to out. -ENOENT when absent (err set too). */
int path_read(int dirfd, const char *name, size_t max, struct buf *out, struct error *err);
/* Writes `text` to an existing file (cgroup and proc files). 0 or -errno. */
int path_put(const char *path, const char *text);
/* Reads up to 4 KiB of a cgroup or proc file into `out` (NUL-terminated). Length or -errno. */
ssize_t path_get(const char *path, char *out, size_t size);
/* Removes dirfd/name with everything in it; never leaves the file system or follows a symlink. Missing is fine. */
int path_remove_tree(int dirfd, const char *name, struct error *err);
/* write(2) until all is out. 0 or -errno. */
int fd_write_all(int fd, const void *p, size_t n);

#endif
