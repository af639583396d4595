/* rootfs.c - the supervisor's private mounts, and the root directory of each container.
 *
 * DESIGN: direct mount(2) calls in a mount namespace of our own; nothing to clean up, it goes with the process. Sources
 * are opened below the data directory without following symlinks and mounted by descriptor, so nobody can swap a path
 * in between. A writable stage is an overlay: the store's bytes are its lower layer and cannot be changed. The runtime
 * then binds what lies ready here to the places in the root, resolving them safely inside it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "task/egress.h"
#include "task/layers.h"
#include "task/machine.h"
#include "task/path.h"
#include "task/sup.h"

int sup_private_mounts(struct sup *s, struct error *err)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	if (unshare(CLONE_NEWNS | (s->rootless ? CLONE_NEWUSER : 0)) < 0)
		return error_errno(err, errno, "make a %snamespace", s->rootless ? "user " : "mount ");
	if (s->rootless && machine_map_user(uid, gid, err) < 0)
		return -1;
	if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_errno(err, errno, "make mounts private");
	if (mkdir(s->priv, 0700) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make `%s`", s->priv);
	if (mount("quern", s->priv, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700,size=64m") < 0)
		return error_errno(err, errno, "mount a tmpfs on `%s`", s->priv);
	/* See hide_second_tree in executor.c; in a user namespace it cannot be unmounted, only covered. */
	if (s->crun && s->cgroup == CGROUP_NONE && access("/sys/fs/cgroup/unified", F_OK) == 0)
		mount("quern", "/sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=64k");
	return 0;
}

static int bind_fd(int fd, const char *target, struct error *err)
{
	char source[64];
	snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
	if (mount(source, target, NULL, MS_BIND, NULL) < 0)
		return error_errno(err, errno, "bind to `%s`", target);
	return 0;
}

/* A path for mount(2) that nobody can swap. */
static const char *path_of_fd(struct arena *a, int fd)
{
	return arena_printf(a, "/proc/self/fd/%d", fd);
}

static int make_readonly(const char *target, struct error *err)
{
	/* Flags of the mount that was bound may be locked (user namespace): keep them. */
	struct statvfs fs;
	unsigned long keep = 0;
	if (statvfs(target, &fs) == 0)
		keep = (fs.f_flag & ST_NOEXEC ? MS_NOEXEC : 0) | (fs.f_flag & ST_NODEV ? MS_NODEV : 0) |
		       (fs.f_flag & ST_NOSUID ? MS_NOSUID : 0) | (fs.f_flag & ST_NOATIME ? MS_NOATIME : 0) |
		       (fs.f_flag & ST_RELATIME ? MS_RELATIME : 0);
	if (mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | keep, NULL) < 0)
		return error_errno(err, errno, "make `%s` read-only", target);
	return 0;
}

/* Upper and work directory number `n` of container c, below `base`. */
static int make_upper(struct sup_container *c, const char *base, int n, mode_t mode, const char **upper,
		      const char **work, struct error *err)
{
	struct arena *a = &c->sup->arena;
	const char *dir = arena_printf(a, "%s/%zu-%d", base, c->index, n);
	*upper = arena_printf(a, "%s/u", dir);
	*work = arena_printf(a, "%s/w", dir);
	if ((mkdir(base, 0700) < 0 && errno != EEXIST) || (mkdir(dir, 0700) < 0 && errno != EEXIST) ||
	    (mkdir(*upper, mode) < 0 && errno != EEXIST) || (mkdir(*work, 0700) < 0 && errno != EEXIST))
		return error_errno(err, errno, "make a scratch layer in `%s`", dir);
	chmod(*upper, mode); /* the merged directory shows the upper's mode and owner */
	if (c->uid && chown(*upper, c->uid, c->gid) < 0)
		return error_errno(err, errno, "give `%s` to user %u", *upper, (unsigned)c->uid);
	return 0;
}

/* debug.c: the layer that the container wrote goes on top of what is below it, to be read only. */
static const char *with_kept(const struct sup_container *c, const char *lowers, int n)
{
	struct arena *a = &c->sup->arena;
	const char *kept = arena_printf(a, "%s/x/u/%zu-%d/u", c->sup->priv, c->index, n);
	return c->sup->kept && access(kept, F_OK) == 0 ? arena_printf(a, "%s:%s", kept, lowers) : lowers;
}

/* An overlay of `lowers` ("/proc/self/fd/5:...") with a scratch layer on top. When the data directory's file system
 * cannot hold one (it is an overlay itself), the layer goes to memory. */
static int mount_overlay(struct sup_container *c, const char *lowers, int n, mode_t mode, const char *target,
			 struct error *err)
{
	struct sup *s = c->sup;
	const char *upper, *work;
	const char *const bases[] = { arena_printf(&s->arena, "%s/x/u", s->priv),
				      arena_printf(&s->arena, "%s/u", s->priv) };
	int rc = -1, e = 0;
	lowers = with_kept(c, lowers, n);
	for (int i = s->upper_in_memory ? 1 : 0; i < 2 && rc < 0; i++) {
		if (i == 1 && !s->upper_in_memory) {
			if ((mkdir(bases[1], 0700) < 0 && errno != EEXIST) ||
			    mount("quern", bases[1], "tmpfs", 0, "mode=0700") < 0)
				break;
			s->upper_in_memory = true;
			sup_note(s, "scratch layers are in memory: the file system of the data directory cannot hold "
				    "an overlay's upper layer");
		}
		if (make_upper(c, bases[i], n, mode, &upper, &work, err) < 0)
			return -1;
		const char *options = arena_printf(&s->arena, "lowerdir=%s,upperdir=%s,workdir=%s%s,volatile", lowers,
						   upper, work, s->rootless ? ",userxattr" : "");
		rc = mount("quern", target, "overlay", 0, options);
		e = errno;
		if (rc < 0 && e != EINVAL && e != ENOTSUP && e != EPERM)
			break;
	}
	return rc < 0 ? error_errno(err, e, "mount an overlay on `%s`", target) : 0;
}

/* "/proc/self/fd/N:/proc/self/fd/M" of the image's layers; the fds stay open until the process ends. */
static int open_lowers(struct sup_container *c, const char **out, struct error *err)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	for (size_t i = 0; c->image.lowers[i]; i++) {
		int fd = open(c->image.lowers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return error_errno(err, errno, "open layer `%s`", c->image.lowers[i]);
		buf_printf(&text, "%s/proc/self/fd/%d", i ? ":" : "", fd);
	}
	*out = arena_strdup(&c->sup->arena, buf_str(&text));
	return 0;
}

/* The directory or file `target` of the root, made when it is missing, as a descriptor: links (what a failed container
 * left may have some, see debug.c) are taken as the container would take them. */
static int make_mount_point(struct sup_container *c, const char *target, bool directory, struct error *err)
{
	struct stat st;
	const char *slash = strrchr(target, '/');
	const char *parent = arena_strdup(&c->sup->arena, str_of(target, (size_t)(slash - target)));
	if (directory)
		return path_mkdirs_in_root(c->root, target, 0755, err);
	CLEANUP_FD int dir = path_mkdirs_in_root(c->root, parent, 0755, err);
	if (dir < 0)
		return -1;
	if (mknodat(dir, slash + 1, S_IFREG | 0644, 0) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make `%s`", target);
	CLEANUP_FD int fd = openat(dir, slash + 1, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, errno, "open `%s`", target);
	return S_ISREG(st.st_mode) ? fd_take(&fd) : error_set(err, "`%s` is no file", target);
}

static int mount_image_dir(struct sup_container *c, const struct image_dir *d, int n, struct error *err)
{
	struct arena *a = &c->sup->arena;
	struct stat st;
	CLEANUP_FD int fd = open(d->source, O_PATH | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, errno, "open `%s`", d->source);
	CLEANUP_FD int at = make_mount_point(c, d->target, S_ISDIR(st.st_mode), err);
	if (at < 0)
		return -1;
	if (d->scratch && !c->spec->readonly_root)
		return mount_overlay(c, path_of_fd(a, fd), n, 0755, path_of_fd(a, at), err);
	if (bind_fd(fd, path_of_fd(a, at), err) < 0)
		return -1;
	/* again: what lies there now */
	CLEANUP_FD int top = path_open_in_root(c->root, d->target, O_PATH, 0);
	if (top < 0)
		return error_errno(err, -top, "open `%s`", d->target);
	return make_readonly(path_of_fd(a, top), err);
}

static int make_links(struct sup_container *c, struct error *err)
{
	for (size_t i = 0; i < c->image.nlinks; i++) {
		const struct image_link *link = &c->image.links[i];
		const char *slash = strrchr(link->path, '/');
		const char *parent = arena_strdup(&c->sup->arena, str_of(link->path, (size_t)(slash - link->path)));
		CLEANUP_FD int dir = path_mkdirs_in_root(c->root, parent, 0755, err);
		if (dir < 0)
			return -1;
		if (symlinkat(link->to, dir, slash + 1) < 0 && errno != EEXIST)
			return error_errno(err, errno, "make link `%s`", link->path);
	}
	return 0;
}

static int mount_root(struct sup_container *c, struct error *err)
{
	const char *lowers = NULL, *root = arena_printf(&c->sup->arena, "%s/root", c->dir);
	if (mkdir(root, 0755) < 0)
		return error_errno(err, errno, "make `%s`", root);
	if (open_lowers(c, &lowers, err) < 0 || mount_overlay(c, lowers, 0, 0755, root, err) < 0)
		return -1;
	c->root = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->root < 0)
		return error_errno(err, errno, "open `%s`", root);
	for (size_t i = 0; i < c->image.ndirs; i++)
		if (mount_image_dir(c, &c->image.dirs[i], (int)i + 1, err) < 0)
			return -1;
	return make_links(c, err);
}

int sup_open_scratch(struct sup *s, const char *name)
{
	CLEANUP_FD int all = openat(s->exec_fd, "s", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return all < 0 ? -errno : openat(all, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int make_scratch(struct sup_container *c, const struct spec_mount *m, struct error *err)
{
	CLEANUP_FD int all = openat(c->sup->exec_fd, "s", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (all < 0)
		return error_errno(err, errno, "open the scratch directories");
	bool made = mkdirat(all, m->name, 0755) == 0;
	if (!made && errno != EEXIST)
		return error_errno(err, errno, "make scratch directory `%s`", m->name);
	int fd = openat(all, m->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "open scratch directory `%s`", m->name);
	if (made && c->uid && fchown(fd, c->uid, c->gid) < 0) {
		close(fd);
		return error_errno(err, errno, "give scratch directory `%s` to user %u", m->name, (unsigned)c->uid);
	}
	if (made && m->seed && sup_seed_scratch(c, m->seed, fd, err) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* debug.c: writes go to memory. */
static int cover_scratch(struct sup_container *c, const struct spec_mount *m, int fd, int n, struct error *err)
{
	struct arena *a = &c->sup->arena;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "look at scratch directory `%s`", m->name);
	return mount_overlay(c, arena_printf(a, "/proc/self/fd/%d", fd), n, st.st_mode & 07777,
			     arena_printf(a, "%s/x/s/%s", c->sup->priv, m->name), err);
}

/* A stage or bind source, mounted at m<k> of the bundle. Returns the fd where its files can be written, -1 = nowhere.
 */
static int make_source(struct sup_container *c, size_t k, struct error *err)
{
	struct sup *s = c->sup;
	const struct spec_mount *m = &c->spec->mounts[k];
	const char *target = arena_printf(&s->arena, "%s/m%zu", c->dir, k);
	struct stat st;
	CLEANUP_FD int fd = path_open_beneath(s->data_fd, m->source, O_PATH, 0, err);
	if (fd < 0 && s->kept) { /* the input has gone meanwhile */
		error_release(err);
		*err = ERROR_INIT;
		fd = open(arena_printf(&s->arena, "%s/empty", s->priv), O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return error_wrap(err, "mount `%s`", m->target);
	if (fstat(fd, &st) < 0 || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
		return error_set(err, "mount `%s`: `%s` is neither a directory nor a file", m->target, m->source);
	if (S_ISDIR(st.st_mode) ? mkdir(target, 0755) < 0 : mknod(target, S_IFREG | 0644, 0) < 0)
		return error_errno(err, errno, "make `%s`", target);
	if (m->kind == SPEC_STAGE && m->writable) {
		if (!S_ISDIR(st.st_mode))
			return error_set(err, "mount `%s`: a writable stage must be a directory", m->target);
		const char *lower = arena_printf(&s->arena, "/proc/self/fd/%d", fd);
		return mount_overlay(c, lower, 100 + (int)k, 0755, target, err);
	}
	if (bind_fd(fd, target, err) < 0)
		return -1;
	return m->writable ? 0 : make_readonly(target, err);
}

static int make_mounts(struct sup_container *c, struct error *err)
{
	c->mount_fds = ARENA_ARRAY(&c->sup->arena, int, c->spec->nmounts + 1);
	for (size_t k = 0; k < c->spec->nmounts; k++)
		c->mount_fds[k] = -1;
	for (size_t k = 0; k < c->spec->nmounts; k++) {
		const struct spec_mount *m = &c->spec->mounts[k];
		if (m->kind == SPEC_TMPFS)
			continue;
		if (m->kind == SPEC_SCRATCH) {
			if ((c->mount_fds[k] = make_scratch(c, m, err)) < 0 ||
			    (c->sup->kept && cover_scratch(c, m, c->mount_fds[k], 200 + (int)k, err) < 0))
				return -1;
			continue;
		}
		if (make_source(c, k, err) < 0)
			return -1;
		if (m->kind == SPEC_STAGE && m->writable)
			c->mount_fds[k] = open(arena_printf(&c->sup->arena, "%s/m%zu", c->dir, k),
					       O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	return 0;
}

/* Which directory `path` of the container is in, and the rest of the path. -1 when it lies in a mount without a
 * directory here. */
static int locate(const struct sup_container *c, const char *path, const char **rel)
{
	int fd = c->root;
	*rel = path + 1;
	for (size_t k = 0; k < c->spec->nmounts; k++) { /* sorted: deeper ones come later */
		const char *below = path_below(c->spec->mounts[k].target, path);
		if (below) {
			fd = c->mount_fds[k];
			*rel = below;
		}
	}
	return fd;
}

static int put_file(struct sup_container *c, const char *path, struct str text, mode_t mode, struct error *err)
{
	const char *rel;
	int base = locate(c, path, &rel);
	if (base < 0)
		return error_set(err, "write `%s`: it lies in a mount that cannot be written before the start", path);
	const char *slash = strrchr(rel, '/');
	const char *name = slash ? slash + 1 : rel;
	if (!*name)
		return error_set(err, "write `%s`: it is a mount", path);
	const char *parent = slash ? arena_strdup(&c->sup->arena, str_of(rel, (size_t)(slash - rel))) : ".";
	CLEANUP_FD int dir = path_mkdirs_in_root(base, parent, 0755, err);
	if (dir < 0)
		return error_wrap(err, "write `%s`", path);
	unlinkat(dir, name, 0);
	CLEANUP_FD int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return error_errno(err, errno, "create `%s`", path);
	int rc = fd_write_all(fd, text.ptr, text.len);
	if (rc < 0)
		return error_errno(err, -rc, "write `%s`", path);
	fchmod(fd, mode);
	if (c->uid && fchown(fd, c->uid, c->gid) < 0)
		return error_errno(err, errno, "give `%s` to user %u", path, (unsigned)c->uid);
	return 0;
}

const char *sup_hostname(const struct sup_container *c)
{
	return c->spec->hostname ? c->spec->hostname : c->spec->name;
}

static void add_resolver(const struct sup_container *c, struct buf *resolv)
{
	const char **servers = c->spec->dns_servers, **search = c->spec->dns_search;
	for (size_t i = 0; servers && servers[i]; i++)
		buf_printf(resolv, "nameserver %s\n", servers[i]);
	for (size_t i = 0; search && search[i]; i++)
		buf_printf(resolv, "%s%s%s", i ? " " : "search ", search[i], search[i + 1] ? "" : "\n");
}

static int put_etc(struct sup_container *c, struct error *err)
{
	CLEANUP_BUF struct buf resolv = BUF_INIT;
	CLEANUP_FD int etc = open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	add_resolver(c, &resolv);
	if (c->sup->spec.egress && c->sup->slirp && !c->spec->dns_servers)
		buf_addz(&resolv, "nameserver " EGRESS_RESOLVER "\n");
	if (c->sup->spec.network == NETWORK_HOST && etc >= 0 && !c->spec->dns_servers) {
		CLEANUP_FD int fd = open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC); /* often a symlink */
		char text[8192];
		ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text));
		buf_add(&resolv, text, n > 0 ? (size_t)n : 0);
	}
	const char *hostname = arena_printf(&c->sup->arena, "%s\n", sup_hostname(c));
	if (put_file(c, "/etc/hostname", str_from(hostname), 0644, err) < 0 ||
	    put_file(c, "/etc/hosts", str_from(net_hosts(c)), 0644, err) < 0)
		return -1;
	return put_file(c, "/etc/resolv.conf", buf_str(&resolv), 0644, err);
}

/* One line "name:x:uid:gid:gecos:home:shell" of the root's passwd ("name:x:gid:members" of its group); by name, or by
 * id when name is NULL. */
static bool passwd_find(struct sup_container *c, const char *file, const char *name, uid_t uid, struct str fields[7])
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	CLEANUP_FD int fd = path_open_file_in_root(c->root, file);
	if (fd < 0)
		return false;
	buf_reserve(&text, 65536);
	ssize_t n = read(fd, text.ptr, 65536);
	struct str rest = { text.ptr, n > 0 ? (size_t)n : 0 }, line;
	while (rest.len && str_split(&rest, '\n', &line)) {
		struct str copy = arena_str(&c->sup->arena, line);
		int64_t id = -1;
		for (int i = 0; i < 7; i++)
			if (!str_split(&copy, ':', &fields[i]))
				fields[i] = STR("");
		str_to_i64(fields[2], &id);
		if (name ? str_eqz(fields[0], name) : id == (int64_t)uid)
			return true;
	}
	return false;
}

static bool parse_id(struct str text, unsigned *id)
{
	int64_t n;
	if (!str_to_i64(text, &n) || n < 0 || n > 4294967294LL)
		return false;
	*id = (unsigned)n;
	return true;
}

static bool find_group(struct sup_container *c, struct str group)
{
	struct str line[7];
	if (parse_id(group, &c->gid))
		return true;
	return passwd_find(c, "etc/group", arena_strdup(&c->sup->arena, group), 0, line) && parse_id(line[2], &c->gid);
}

/* "user[:group]", each a name or a number -> c->uid, c->gid, c->home. */
static int find_user(struct sup_container *c, struct error *err)
{
	const char *wanted = c->spec->user ? c->spec->user : c->image.user ? c->image.user : "0";
	struct str rest = str_from(wanted), user, line[7];
	bool has_gid = str_find_char(rest, ':') >= 0;
	str_split(&rest, ':', &user);
	bool by_number = parse_id(user, &c->uid);
	bool found = passwd_find(c, "etc/passwd", by_number ? NULL : arena_strdup(&c->sup->arena, user), c->uid, line);
	if (!by_number && (!found || !parse_id(line[2], &c->uid)))
		return error_set(err, "unable to find user %s: no matching entries in passwd file", wanted);
	if (has_gid ? !find_group(c, rest) : found && !parse_id(line[3], &c->gid))
		return error_set(err, "unable to find group of user %s", wanted);
	c->home = found && line[5].len ? arena_strdup(&c->sup->arena, line[5]) : "/";
	if (c->sup->rootless && (c->uid || c->gid))
		return error_set(err, "user %s: without root only user 0 can be used inside containers", wanted);
	return 0;
}

static int prepare(struct sup_container *c, struct error *err)
{
	if (mount_root(c, err) < 0 || find_user(c, err) < 0 || make_mounts(c, err) < 0)
		return -1;
	if (!c->sup->kept && put_etc(c, err) < 0)
		return -1;
	for (size_t i = 0; i < c->spec->nfiles && !c->sup->kept; i++) {
		const struct spec_file *f = &c->spec->files[i];
		if (put_file(c, f->path, f->text, f->mode, err) < 0)
			return -1;
	}
	return 0;
}

static bool is_over(void *ctx, int wait_ms)
{
	return sup_is_over(ctx, wait_ms);
}

int sup_prepare_container(struct sup_container *c, struct error *err)
{
	struct sup *s = c->sup;
	struct image_source src = { .images_dir = s->images_dir,
				    .cache_dir = s->cache_fd,
				    .cache_path = arena_printf(&s->arena, "%s/e", s->priv) };
	const struct layers_source stored = { .data_fd = s->data_fd,
					      .exec_fd = s->exec_fd,
					      .rootless = s->rootless,
					      .is_over = s->kept ? NULL : is_over,
					      .ctx = s };
	int rc = c->spec->nlayers ? layers_resolve(&s->arena, &stored, c->spec, &c->image, err)
				  : image_resolve(&s->arena, &src, c->spec->image, &c->image, err);
	if (rc < 0)
		return error_wrap(err, "CannotPullContainerError");
	s->pulled_at = clock_now_ms();
	return prepare(c, err) < 0 ? error_wrap(err, "CannotStartContainerError") : 0;
}

/* Invalid UTF-8 and NUL become '?'; a sequence cut by the limit is dropped. In place. */
static void make_utf8(char *text, size_t *len)
{
	size_t out = 0;
	for (size_t i = 0; i < *len;) {
		struct str rest = str_of(text + i, *len - i);
		size_t n = text[i] ? str_utf8(rest) : 0;
		if (n) {
			memmove(text + out, text + i, n);
			out += n;
			i += n;
			continue;
		}
		bool cut = rest.len < 4 && (unsigned char)text[i] >= 0xc2;
		for (size_t k = 1; k < rest.len; k++)
			cut = cut && ((unsigned char)rest.ptr[k] & 0xc0) == 0x80;
		if (cut)
			break;
		text[out++] = '?';
		i++;
	}
	*len = out;
}

const char *sup_read_text(struct sup_container *c, const char *path, size_t max)
{
	const char *rel;
	int base = c->root < 0 || !c->mount_fds ? -1 : locate(c, path, &rel);
	CLEANUP_FD int fd = base < 0 ? -1 : path_open_file_in_root(base, rel);
	if (fd < 0)
		return NULL;
	char *text = arena_alloc(&c->sup->arena, max + 1);
	ssize_t n = read(fd, text, max);
	size_t len = n > 0 ? (size_t)n : 0;
	make_utf8(text, &len);
	text[len] = 0;
	return text;
}
