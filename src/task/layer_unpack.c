/* layer_unpack.c - one layer archive into one directory; see layers.h.
 *
 * DESIGN: libarchive reads the tar out of what layer_read.c uncompresses, we write: it never sees a path of ours. The
 * parent of an entry is opened inside the layer's root by openat2(RESOLVE_IN_ROOT), so that symlinks of earlier entries
 * cannot lead out; the last component is always made or replaced by name, never followed. Whiteouts become what
 * overlayfs reads: a character device 0:0, or the attribute "opaque". */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "task/layer_read.h"
#include "task/layers.h"
#include "task/path.h"

#define MAX_ENTRIES 4000000
#define MAX_DEPTH 256

struct unpack {
	const struct layers_source *src;
	struct layer_read *in;
	struct error broken; /* what layer_read_next said */
	int root;
	const int *lowers;
	size_t nlowers;
	int64_t bytes, entries, max_bytes;
	/* the directory of the last entry: most archives go directory by directory */
	char parent_path[PATH_MAX];
	int parent;
};

static void forget_parent(struct unpack *u)
{
	if (u->parent >= 0)
		close(u->parent);
	u->parent = -1;
}

/* "./a//b/" -> "a/b" in out; "" is the root. False: not allowed. */
static bool clean_name(const char *name, char out[PATH_MAX])
{
	struct str rest = str_from(name), piece;
	size_t len = 0;
	int depth = 0;
	while (str_split(&rest, '/', &piece)) {
		if (!piece.len || str_eqz(piece, "."))
			continue;
		if (str_eqz(piece, "..") || piece.len > NAME_MAX || ++depth > MAX_DEPTH ||
		    len + piece.len + 2 > PATH_MAX)
			return false;
		if (len)
			out[len++] = '/';
		memcpy(out + len, piece.ptr, piece.len);
		len += piece.len;
	}
	out[len] = 0;
	return true;
}

static int give(struct unpack *u, int fd, uid_t uid, gid_t gid)
{
	return u->src->rootless ? 0 : fchownat(fd, "", uid, gid, AT_EMPTY_PATH);
}

/* Mode, through /proc since the descriptor may be O_PATH. */
static int set_mode(int fd, mode_t mode)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return chmod(path, mode);
}

/* Mode and owner of the directory `path` as the layers below have it. */
static void inherit(struct unpack *u, const char *path, int fd)
{
	struct stat st;
	for (size_t i = 0; i < u->nlowers; i++) {
		CLEANUP_FD int lower = path_open_in_root(u->lowers[i], path, O_PATH | O_NOFOLLOW, 0);
		if (lower < 0 || fstat(lower, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && give(u, fd, st.st_uid, st.st_gid) == 0)
			set_mode(fd, st.st_mode & 07777);
		return;
	}
}

/* Opens the directory `path` ("" = root), making what is missing. */
static int open_parent(struct unpack *u, const char *path, struct error *err)
{
	if (u->parent >= 0 && !strcmp(path, u->parent_path))
		return u->parent;
	forget_parent(u);
	int fd = path_open_in_root(u->root, *path ? path : ".", O_PATH | O_DIRECTORY, 0);
	if (fd == -ENOENT) {
		char part[PATH_MAX];
		snprintf(part, sizeof(part), "%s", path);
		char *slash = strrchr(part, '/');
		if (slash)
			*slash = 0;
		int above = slash ? open_parent(u, part, err) : dup(u->root);
		if (above < 0)
			return -1;
		const char *name = slash ? slash + 1 : path;
		if (mkdirat(above, name, 0755) < 0 && errno != EEXIST)
			fd = -errno;
		else
			fd = openat(above, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
			fd = fd < 0 ? -errno : fd;
		if (!slash)
			close(above);
		forget_parent(u);
		if (fd >= 0)
			inherit(u, path, fd);
	}
	if (fd < 0)
		return error_errno(err, -fd, "open directory `%s` of the layer", path);
	snprintf(u->parent_path, sizeof(u->parent_path), "%s", path);
	return u->parent = fd;
}

/* The way for a new entry that is no directory. */
static int make_room(struct unpack *u, int dir, const char *name, struct error *err)
{
	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return error_errno(err, errno, "replace `%s`", name);
	return path_remove_tree(dir, name, err);
}

static int set_opaque(struct unpack *u, int dir, struct error *err)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", dir);
	if (setxattr(path, u->src->rootless ? "user.overlay.opaque" : "trusted.overlay.opaque", "y", 1, 0) < 0)
		return error_errno(err, errno, "mark a directory opaque");
	return 0;
}

/* 1: it was a whiteout. */
static int whiteout(struct unpack *u, int dir, const char *name, struct error *err)
{
	if (strncmp(name, ".wh.", 4))
		return 0;
	if (!strcmp(name, ".wh..wh..opq"))
		return set_opaque(u, dir, err) < 0 ? -1 : 1;
	if (!strncmp(name, ".wh..wh.", 8))
		return 1; /* aufs's own */
	if (!name[4] || !strcmp(name + 4, ".") || !strcmp(name + 4, ".."))
		return error_set(err, "bad whiteout `%s`", name);
	if (make_room(u, dir, name + 4, err) < 0)
		return -1;
	if (mknodat(dir, name + 4, S_IFCHR, makedev(0, 0)) < 0)
		return error_errno(err, errno, "make the whiteout of `%s`", name + 4);
	return 1;
}

/* Capabilities of files and the users' own attributes; all others are the host's business. */
static void set_xattrs(int fd, struct archive_entry *e)
{
	const char *name;
	const void *value;
	size_t size;
	archive_entry_xattr_reset(e);
	while (archive_entry_xattr_next(e, &name, &value, &size) == ARCHIVE_OK)
		if (!strcmp(name, "security.capability") ||
		    (!strncmp(name, "user.", 5) && strncmp(name, "user.overlay.", 13)))
			(void)fsetxattr(fd, name, value, size, 0);
}

static bool is_over(const struct unpack *u)
{
	return u->src->is_over && u->src->is_over(u->src->ctx, 0);
}

static int copy_data(struct unpack *u, struct archive *ar, int fd, const char *name, struct error *err)
{
	const void *p;
	size_t n;
	la_int64_t offset;
	for (;;) {
		int rc = archive_read_data_block(ar, &p, &n, &offset);
		if (rc == ARCHIVE_EOF)
			return 0;
		if (rc < ARCHIVE_WARN)
			return error_set(err, "read `%s`: %s", name, archive_error_string(ar));
		u->bytes += (int64_t)n;
		if (is_over(u))
			return error_set(err, LAYERS_BROKEN_OFF);
		if (u->bytes > u->max_bytes || offset > u->max_bytes)
			return error_set(err, "layer is larger than %lld bytes", (long long)u->max_bytes);
		for (size_t done = 0; done < n;) {
			ssize_t k = pwrite(fd, (const char *)p + done, n - done, (off_t)offset + (off_t)done);
			if (k < 0 && errno != EINTR)
				return error_errno(err, errno, "write `%s`", name);
			done += k > 0 ? (size_t)k : 0;
		}
	}
}

static int put_file(struct unpack *u, struct archive *ar, struct archive_entry *e, int dir, const char *name,
		    struct error *err)
{
	if (archive_entry_size(e) > u->max_bytes - u->bytes)
		return error_set(err, "layer is larger than %lld bytes", (long long)u->max_bytes);
	CLEANUP_FD int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(err, errno, "create `%s`", name);
	if (copy_data(u, ar, fd, name, err) < 0)
		return -1;
	/* a sparse end */
	if (archive_entry_size_is_set(e) && ftruncate(fd, archive_entry_size(e)) < 0)
		return error_errno(err, errno, "size of `%s`", name);
	if (give(u, fd, (uid_t)archive_entry_uid(e), (gid_t)archive_entry_gid(e)) < 0 ||
	    fchmod(fd, archive_entry_perm(e) & 07777) < 0)
		return error_errno(err, errno, "owner and mode of `%s`", name);
	set_xattrs(fd, e);
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
				     { archive_entry_mtime(e), archive_entry_mtime_nsec(e) } };
	futimens(fd, times);
	return 0;
}

static int put_dir(struct unpack *u, struct archive_entry *e, int dir, const char *name, struct error *err)
{
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode) && unlinkat(dir, name, 0) < 0)
		return error_errno(err, errno, "replace `%s`", name);
	if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make directory `%s`", name);
	CLEANUP_FD int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "open directory `%s`", name);
	mode_t mode = archive_entry_perm(e) & 07777;
	if (give(u, fd, (uid_t)archive_entry_uid(e), (gid_t)archive_entry_gid(e)) < 0 ||
	    set_mode(fd, u->src->rootless ? mode | 0700 : mode) < 0)
		return error_errno(err, errno, "owner and mode of `%s`", name);
	return 0;
}

static int put_hard_link(struct unpack *u, const char *to, int dir, const char *name, struct error *err)
{
	char path[PATH_MAX];
	if (!clean_name(to, path) || !*path)
		return error_set(err, "hard link to `%.200s`", to);
	char *slash = strrchr(path, '/');
	if (slash)
		*slash = 0;
	CLEANUP_FD int from = path_open_in_root(u->root, slash ? path : ".", O_PATH | O_DIRECTORY, 0);
	if (from < 0)
		return error_errno(err, -from, "hard link `%s` to `%.200s`", name, to);
	if (linkat(from, slash ? slash + 1 : path, dir, name, 0) < 0)
		return error_errno(err, errno, "hard link `%s` to `%.200s`", name, to);
	return 0;
}

static int put_special(struct unpack *u, struct archive_entry *e, int dir, const char *name, const char *path,
		       struct error *err)
{
	mode_t type = archive_entry_filetype(e);
	if (type == AE_IFLNK) {
		const char *to = archive_entry_symlink(e);
		if (!to || symlinkat(to, dir, name) < 0)
			return error_errno(err, to ? errno : EINVAL, "make link `%s`", path);
		if (!u->src->rootless && fchownat(dir, name, (uid_t)archive_entry_uid(e), (gid_t)archive_entry_gid(e),
						  AT_SYMLINK_NOFOLLOW) < 0)
			return error_errno(err, errno, "owner of `%s`", path);
		return 0;
	}
	if (type == AE_IFIFO)
		return mknodat(dir, name, S_IFIFO | (archive_entry_perm(e) & 0777), 0) < 0
			       ? error_errno(err, errno, "make `%s`", path)
			       : 0;
	if ((type == AE_IFCHR || type == AE_IFBLK) && !strncmp(path, "dev/", 4))
		return 0;
	return error_set(err, "`%.200s` is a device node or of an unknown type", path);
}

static int put_root(struct unpack *u, struct archive_entry *e, struct error *err)
{
	if (archive_entry_filetype(e) != AE_IFDIR)
		return error_set(err, "an entry without a name");
	if (give(u, u->root, (uid_t)archive_entry_uid(e), (gid_t)archive_entry_gid(e)) < 0 ||
	    set_mode(u->root, (archive_entry_perm(e) & 07777) | (u->src->rootless ? 0700 : 0)) < 0)
		return error_errno(err, errno, "owner and mode of the root");
	return 0;
}

static int put_entry(struct unpack *u, struct archive *ar, struct archive_entry *e, struct error *err)
{
	char path[PATH_MAX];
	const char *name = archive_entry_pathname(e), *hard = archive_entry_hardlink(e);
	if (!name || !clean_name(name, path))
		return error_set(err, "the name `%.200s` is not allowed", name ? name : "");
	if (!*path)
		return put_root(u, e, err);
	char *slash = strrchr(path, '/');
	char parent[PATH_MAX];
	snprintf(parent, sizeof(parent), "%.*s", slash ? (int)(slash - path) : 0, path);
	const char *base = slash ? slash + 1 : path;
	int dir = open_parent(u, parent, err);
	int rc = dir < 0 ? -1 : whiteout(u, dir, base, err);
	if (rc)
		return rc < 0 ? -1 : 0;
	if (!hard && archive_entry_filetype(e) == AE_IFDIR) {
		rc = put_dir(u, e, dir, base, err);
	} else if (make_room(u, dir, base, err) < 0) {
		rc = -1;
	} else if (hard) {
		rc = put_hard_link(u, hard, dir, base, err);
	} else if (archive_entry_filetype(e) == AE_IFREG) {
		return put_file(u, ar, e, dir, base, err);
	} else {
		rc = put_special(u, e, dir, base, path, err);
	}
	forget_parent(u); /* what it stood for may have been replaced */
	return rc;
}

static int read_all(struct unpack *u, struct archive *ar, struct error *err)
{
	struct archive_entry *e;
	int64_t most = u->src->max_entries ? u->src->max_entries : MAX_ENTRIES;
	for (;;) {
		int rc = archive_read_next_header(ar, &e);
		if (rc == ARCHIVE_EOF)
			return 0;
		if (rc < ARCHIVE_WARN)
			return error_set(err, "unpack a layer: %s", archive_error_string(ar));
		if (is_over(u))
			return error_set(err, LAYERS_BROKEN_OFF);
		if (++u->entries > most)
			return error_set(err, "layer has more than %lld files", (long long)most);
		if (put_entry(u, ar, e, err) < 0)
			return error_wrap(err, "unpack a layer");
	}
}

static la_ssize_t on_read(struct archive *ar, void *ctx, const void **p)
{
	struct unpack *u = ctx;
	ssize_t n = layer_read_next(u->in, p, &u->broken);
	if (n < 0)
		archive_set_error(ar, EIO, "%s", error_text(&u->broken));
	return n;
}

static int read_archive(struct unpack *u, struct error *err)
{
	struct archive *ar = archive_read_new();
	if (!ar)
		BUG("out of memory");
	archive_read_support_format_tar(ar);
	archive_read_support_format_empty(ar);
	int rc = archive_read_open(ar, u, NULL, on_read, NULL) == ARCHIVE_OK
			 ? read_all(u, ar, err)
			 : error_set(err, "unpack a layer: %s", archive_error_string(ar));
	archive_read_free(ar);
	return rc;
}

/* What comes behind the archive's end belongs to the diff id as well. */
static int read_rest(struct unpack *u, const char *diff_id, struct error *err)
{
	const void *p;
	char found[LAYER_DIGEST_MAX];
	ssize_t n;
	do {
		n = layer_read_next(u->in, &p, err);
	} while (n > 0);
	if (n < 0)
		return -1;
	layer_read_digest(u->in, found);
	return layer_check_diff_id(diff_id, found, err);
}

int layer_unpack(int blob, const char *diff_id, int root, const int *lowers, size_t n, const struct layers_source *src,
		 int64_t *size_bytes, struct error *err)
{
	struct unpack u = { .src = src, .root = root, .lowers = lowers, .nlowers = n, .parent = -1 };
	u.max_bytes = src->max_bytes ? src->max_bytes : LAYER_MAX_BYTES;
	u.in = layer_read_new(blob, diff_id, u.max_bytes);
	int rc = read_archive(&u, err);
	if (rc == 0)
		rc = read_rest(&u, diff_id, err);
	if (u.broken.message) { /* says it better than libarchive */
		error_release(err);
		error_move(err, &u.broken);
	}
	forget_parent(&u);
	layer_read_free(u.in);
	*size_bytes = u.bytes;
	return rc;
}
