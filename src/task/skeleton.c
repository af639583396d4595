/* skeleton.c - the root of built-in images: empty directories and the few files of /etc that programs in /usr need.
 *
 * DESIGN: made once for each state of the host (its name is a hash of the times and sizes of what is copied), under a
 * temporary name and then renamed, so that a half-made one is never used. Nothing personal of the host gets in: no
 * passwd, no keys, no home. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "task/image.h"
#include "task/path.h"

static const char *const dirs[] = { "proc",    "sys",       "dev",  "run", "var",    "var/lib",
				    "var/log", "var/cache", "home", "opt", "opt/ml", "opt/quern",
				    "mnt",     "srv",       "usr",  "etc", "etc/ssl" };
/* Copied when the host has them; directories whole. */
static const char *const copied[] = {
	"ld.so.cache", "ld.so.conf", "ld.so.conf.d",  "alternatives", "ssl/certs",      "ssl/openssl.cnf", "mime.types",
	"localtime",   "timezone",   "nsswitch.conf", "os-release",   "debian_version", "services",        "protocols",
	"host.conf",   "gai.conf",   "profile",       "bash.bashrc",  "python3",        "python3.11",      "python3.12",
	"python3.13",  "fonts",      "magic",         "login.defs"
};
static const char *const links[] = { "bin", "sbin", "lib", "lib32", "lib64", "libx32" };
static const char passwd[] = "root:x:0:0:root:/root:/bin/bash\n"
			     "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
			     "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n"
			     "user:x:1000:1000:user:/home:/bin/bash\n"
			     "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
static const char group[] =
	"root:x:0:\ndaemon:x:1:\ntty:x:5:\nwww-data:x:33:\nusers:x:100:\nuser:x:1000:\nnogroup:x:65534:\n";
#define FORMAT_VERSION 1

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static int copy_entry(int from, int to, const char *name, int depth);

static int copy_dir(int from, int to, const char *name, int depth)
{
	CLEANUP_FD int out = -1;
	int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (in < 0)
		return -errno;
	DIR *d = fdopendir(in);
	if (!d) {
		int e = errno;
		close(in);
		return -e;
	}
	int rc = mkdirat(to, name, 0755) < 0 ? -errno : 0;
	if (rc == 0 && (out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		rc = -errno;
	for (struct dirent *entry; rc == 0 && (entry = readdir(d));)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			rc = copy_entry(dirfd(d), out, entry->d_name, depth + 1);
	closedir(d);
	return rc;
}

static int copy_file(int from, int to, const char *name, const struct stat *st)
{
	CLEANUP_FD int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (in < 0)
		return errno == EACCES ? 0 : -errno; /* rootless: what we may not read, the container does not need */
	CLEANUP_FD int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (out < 0)
		return -errno;
	for (off_t left = st->st_size; left > 0;) {
		ssize_t n = sendfile(out, in, NULL, (size_t)left);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		left -= n;
	}
	return fchmod(out, 0644 | (st->st_mode & 0111)) < 0 ? -errno : 0;
}

/* Regular files, links and directories; a file only its owner may read is left out. */
static int copy_entry(int from, int to, const char *name, int depth)
{
	struct stat st;
	char target[PATH_MAX];
	if (depth > 16 || fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return depth > 16 ? -ELOOP : errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode))
		return copy_dir(from, to, name, depth);
	if (S_ISREG(st.st_mode))
		return st.st_mode & 0004 ? copy_file(from, to, name, &st) : 0;
	if (!S_ISLNK(st.st_mode))
		return 0;
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = 0;
	return symlinkat(target, to, name) < 0 ? -errno : 0;
}

static int put_file(int dirfd, const char *name, const char *text)
{
	CLEANUP_FD int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	return fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
}

static int fill(int root)
{
	for (size_t i = 0; i < COUNT(dirs); i++)
		if (mkdirat(root, dirs[i], 0755) < 0)
			return -errno;
	if (mkdirat(root, "tmp", 0777) < 0 || mkdirat(root, "var/tmp", 0777) < 0 || mkdirat(root, "root", 0700) < 0 ||
	    fchmodat(root, "tmp", 01777, 0) < 0 || fchmodat(root, "var/tmp", 01777, 0) < 0 ||
	    symlinkat("../run", root, "var/run") < 0)
		return -errno;
	CLEANUP_FD int host = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_FD int host_etc = open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_FD int etc = openat(root, "etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (host < 0 || host_etc < 0 || etc < 0)
		return -errno;
	for (size_t i = 0; i < COUNT(links); i++) {
		struct stat st;
		if (fstatat(host, links[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		int rc = S_ISLNK(st.st_mode)                 ? copy_entry(host, root, links[i], 0)
			 : mkdirat(root, links[i], 0755) < 0 ? -errno
							     : 0;
		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < COUNT(copied); i++) {
		int rc = copy_entry(host_etc, etc, copied[i], 0);
		if (rc < 0)
			return rc;
	}
	int rc = put_file(etc, "passwd", passwd);
	return rc < 0 ? rc : put_file(etc, "group", group);
}

/* What the copied files look like now. */
static uint64_t fingerprint(void)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	buf_printf(&text, "%d %d\n", FORMAT_VERSION, (int)geteuid());
	for (size_t i = 0; i < COUNT(copied); i++) {
		struct stat st;
		char path[PATH_MAX];
		snprintf(path, sizeof(path), "/etc/%s", copied[i]);
		if (lstat(path, &st) == 0)
			buf_printf(&text, "%s %lld %lld %lld\n", copied[i], (long long)st.st_mtim.tv_sec,
				   (long long)st.st_mtim.tv_nsec, (long long)st.st_size);
	}
	uint64_t hash = 0xcbf29ce484222325; /* FNV-1a: hash_bytes differs from process to process */
	for (size_t i = 0; i < text.len; i++)
		hash = (hash ^ (unsigned char)text.ptr[i]) * 0x100000001b3;
	return hash;
}

int skeleton_make(int cache_dir, char *name, struct error *err)
{
	char temp[80];
	snprintf(name, 64, "skeleton-%016llx", (unsigned long long)fingerprint());
	if (faccessat(cache_dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	snprintf(temp, sizeof(temp), "%s.%d", name, (int)getpid());
	if (path_remove_tree(cache_dir, temp, err) < 0)
		return -1;
	if (mkdirat(cache_dir, temp, 0755) < 0)
		return error_errno(err, errno, "make `%s`", temp);
	fchmodat(cache_dir, temp, 0755, 0);
	CLEANUP_FD int root = openat(cache_dir, temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	mode_t old = umask(022);
	int rc = root < 0 ? -errno : fill(root);
	umask(old);
	if (rc < 0)
		return error_errno(err, -rc, "make the skeleton of built-in images");
	if (renameat(cache_dir, temp, cache_dir, name) < 0 && errno != EEXIST && errno != ENOTEMPTY)
		return error_errno(err, errno, "rename `%s`", temp);
	path_remove_tree(cache_dir, temp, NULL); /* left when another process was faster */
	return 0;
}
