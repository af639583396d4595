/* outputs.c - what a finished task leaves: files of its scratch directories, and the texts it wrote about itself.
 *
 * DESIGN: containers have ended, but what they wrote is not trusted: trees are walked by descriptor, symlinks are never
 * followed, only regular files are taken as files; in a tar a symlink that stays inside is kept, one that points out is
 * left out with a note. "files" are moved (same file system), not copied. All is made ready in exec/out, given to the
 * daemon's user and only then renamed to <task dir>/out. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "task/path.h"
#include "task/sup.h"

#define MAX_DEPTH 200
#define TEXT_MAX 1024
#define FILES_MAX 1000000 /* of one task: its result must fit into a message */
#define COPY_SIZE (256u << 10)

struct walk {
	struct sup *sup;
	const struct spec_output *output;
	struct archive *archive; /* NULL: files are moved to out */
	int out;                 /* fd of out/<name> */
	json_t *files;
	const char *host; /* "<data>/tasks/<id>/out/<name>" */
	char *copy;       /* COPY_SIZE bytes, when there is an archive */
	struct error *err;
};

static int walk_dir(struct walk *w, int dirfd, const char *prefix, int depth);

static int add_file(struct walk *w, const char *key, int64_t size)
{
	if (w->sup->output_files++ >= FILES_MAX)
		return error_set(w->err, "more than %d output files", FILES_MAX);
	json_t *file = json_object();
	json_set_text(file, "key", key);
	json_set_text(file, "path", arena_printf(&w->sup->arena, "%s/%s", w->host, key));
	json_set_int(file, "size", size);
	json_array_append_new(w->files, file);
	return 0;
}

/* Gives a file that will be the daemon's to it: owner, plain mode, on disk. */
static int hand_over(struct walk *w, int fd, const char *key)
{
	struct sup *s = w->sup;
	if (!s->rootless && fchown(fd, s->daemon_uid, s->daemon_gid) < 0)
		return error_errno(w->err, errno, "give output `%s` to the daemon", key);
	if (fchmod(fd, 0644) < 0 || fsync(fd) < 0)
		return error_errno(w->err, errno, "fsync output `%s`", key);
	return 0;
}

/* ---- files ---- */

static int make_parents(struct walk *w, const char *key, const char **name)
{
	struct sup *s = w->sup;
	const char *slash = strrchr(key, '/');
	*name = slash ? slash + 1 : key;
	const char *parent = slash ? arena_strdup(&s->arena, str_of(key, (size_t)(slash - key))) : "";
	return path_mkdirs_beneath(w->out, parent, 0755, s->rootless ? (uid_t)-1 : s->daemon_uid, s->daemon_gid,
				   w->err);
}

static int move_file(struct walk *w, int dirfd, const char *name, const char *key)
{
	const char *leaf;
	struct stat st;
	CLEANUP_FD int to = make_parents(w, key, &leaf);
	if (to < 0)
		return -1;
	if (renameat(dirfd, name, to, leaf) < 0)
		return error_errno(w->err, errno, "move output `%s`", key);
	CLEANUP_FD int fd = openat(to, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return error_errno(w->err, errno, "open output `%s`", key);
	if (hand_over(w, fd, key) < 0)
		return -1;
	return add_file(w, key, st.st_size);
}

/* ---- tar ---- */

/* Does a link at `key` with this target stay inside the tree? */
static bool link_inside(const char *key, const char *target)
{
	int depth = 0;
	struct str rest = str_from(target), one;
	if (*target == '/')
		return false;
	for (const char *p = key; *p; p++)
		depth += *p == '/';
	while (str_split(&rest, '/', &one)) {
		if (str_eqz(one, ".."))
			depth--;
		else if (one.len && !str_eqz(one, "."))
			depth++;
		if (depth < 0)
			return false;
	}
	return true;
}

static int archive_failed(struct walk *w, const char *key)
{
	return error_set(w->err, "write `%s` to the archive: %s", key, archive_error_string(w->archive));
}

static struct archive_entry *new_entry(const char *key, const struct stat *st, unsigned type)
{
	struct archive_entry *e = archive_entry_new();
	archive_entry_set_pathname(e, key);
	archive_entry_set_filetype(e, type);
	archive_entry_set_perm(e, st->st_mode & 0777);
	archive_entry_set_mtime(e, st->st_mtim.tv_sec, 0);
	archive_entry_set_size(e, type == AE_IFREG ? st->st_size : 0);
	archive_entry_set_uid(e, 0);
	archive_entry_set_gid(e, 0);
	return e;
}

static int put_entry(struct walk *w, struct archive_entry *e, const char *key)
{
	int rc = archive_write_header(w->archive, e);
	archive_entry_free(e);
	return rc < ARCHIVE_WARN ? archive_failed(w, key) : 0;
}

static int pack_file(struct walk *w, int fd, const char *key, const struct stat *st)
{
	if (put_entry(w, new_entry(key, st, AE_IFREG), key) < 0)
		return -1;
	for (int64_t left = st->st_size; left > 0;) {
		ssize_t n = read(fd, w->copy, left < COPY_SIZE ? (size_t)left : COPY_SIZE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(w->err, errno, "read `%s`", key);
		if (n == 0)
			return error_set(w->err, "read `%s`: it became shorter", key);
		if (archive_write_data(w->archive, w->copy, (size_t)n) < 0)
			return archive_failed(w, key);
		left -= n;
	}
	return 0;
}

static int pack_link(struct walk *w, int dirfd, const char *name, const char *key, const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);
	if (n < 0)
		return error_errno(w->err, errno, "read link `%s`", key);
	target[n] = 0;
	if (!link_inside(key, target)) {
		sup_note(w->sup, "output %s: link `%.200s` points out of the directory and was left out",
			 w->output->name, str_is_utf8(str_from(key)) ? key : "?");
		return 0;
	}
	struct archive_entry *e = new_entry(key, st, AE_IFLNK);
	archive_entry_set_symlink(e, target);
	return put_entry(w, e, key);
}

/* ---- both ---- */

static int take_dir(struct walk *w, int dirfd, const char *name, const char *key, int depth)
{
	struct stat st;
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(w->err, errno, "open `%s`", key);
	if (w->archive && put_entry(w, new_entry(arena_printf(&w->sup->arena, "%s/", key), &st, AE_IFDIR), key) < 0) {
		close(fd);
		return -1;
	}
	int rc = walk_dir(w, fd, arena_printf(&w->sup->arena, "%s/", key), depth + 1);
	close(fd);
	return rc;
}

static int take_file(struct walk *w, int dirfd, const char *name, const char *key)
{
	struct stat st;
	if (!w->archive)
		return move_file(w, dirfd, name, key);
	CLEANUP_FD int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return error_errno(w->err, errno, "open `%s`", key);
	return pack_file(w, fd, key, &st);
}

static int take(struct walk *w, int dirfd, const char *name, const char *prefix, int depth)
{
	struct stat st;
	const char *key = arena_printf(&w->sup->arena, "%s%s", prefix, name);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(w->err, errno, "stat `%s`", key);
	if (!str_is_utf8(str_from(name)) || strlen(key) >= 1024) {
		sup_note(w->sup, "output %s: a file was left out, its name is no UTF-8 or longer than 1024 bytes",
			 w->output->name);
		return 0;
	}
	if (S_ISDIR(st.st_mode))
		return take_dir(w, dirfd, name, key, depth);
	if (S_ISREG(st.st_mode))
		return take_file(w, dirfd, name, key);
	if (S_ISLNK(st.st_mode) && w->archive)
		return pack_link(w, dirfd, name, key, &st);
	sup_note(w->sup, "output %s: `%s` is not a regular file and was left out", w->output->name, key);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int walk_dir(struct walk *w, int dirfd, const char *prefix, int depth)
{
	if (depth > MAX_DEPTH)
		return error_set(w->err, "`%s` is nested deeper than %d directories", prefix, MAX_DEPTH);
	size_t n = 0, cap = 0;
	char **names = NULL;
	DIR *d = path_list(dirfd, ".");
	if (!d)
		return error_errno(w->err, errno, "list `%s`", prefix);
	for (struct dirent *entry; (entry = readdir(d));) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (n == cap)
			names = mem_realloc(names, (cap = cap ? cap * 2 : 16) * sizeof(*names));
		names[n++] = mem_strdup(entry->d_name);
	}
	closedir(d);
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	int rc = 0;
	for (size_t i = 0; i < n; i++) {
		if (rc == 0)
			rc = take(w, dirfd, names[i], prefix, depth);
		free(names[i]);
	}
	free(names);
	return rc;
}

static int pack(struct walk *w, int source)
{
	const char *key = arena_printf(&w->sup->arena, "%s.tar.gz", w->output->name);
	struct stat st;
	CLEANUP_FD int fd = openat(w->out, key, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return error_errno(w->err, errno, "create `%s`", key);
	w->archive = archive_write_new();
	w->copy = mem_alloc(COPY_SIZE);
	archive_write_set_format_pax_restricted(w->archive);
	archive_write_add_filter_gzip(w->archive);
	/* Models compress badly: the fastest level loses little and is several times faster. No time stamp: same input,
	 * same bytes. */
	archive_write_set_options(w->archive, "gzip:compression-level=1,gzip:!timestamp,hdrcharset=UTF-8");
	int rc = archive_write_open_fd(w->archive, fd) != ARCHIVE_OK ? archive_failed(w, key) : 0;
	if (rc == 0)
		rc = walk_dir(w, source, "", 0);
	if (rc == 0 && archive_write_close(w->archive) != ARCHIVE_OK)
		rc = archive_failed(w, key);
	archive_write_free(w->archive);
	free(w->copy);
	if (rc < 0 || (rc = hand_over(w, fd, key)) < 0)
		return rc;
	if (fstat(fd, &st) < 0)
		return error_errno(w->err, errno, "stat `%s`", key);
	return add_file(w, key, st.st_size);
}

static int make_output(struct sup *s, int out, const struct spec_output *o, json_t *files, struct error *err)
{
	struct walk w = { .sup = s,
			  .output = o,
			  .files = files,
			  .err = err,
			  .host = arena_printf(&s->arena, "%s/tasks/%s/out/%s", s->data_dir, s->spec.id, o->name) };
	CLEANUP_FD int scratch = sup_open_scratch(s, o->from);
	if (scratch < 0)
		return 0; /* never mounted: the start failed before */
	CLEANUP_FD int source = path_open_beneath(scratch, o->path, O_RDONLY | O_DIRECTORY, 0, NULL);
	if (source < 0)
		return 0; /* the container made no such directory */
	if (mkdirat(out, o->name, 0755) < 0)
		return error_errno(err, errno, "make `out/%s`", o->name);
	CLEANUP_FD int dir = openat(out, o->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || (!s->rootless && fchown(dir, s->daemon_uid, s->daemon_gid) < 0))
		return error_errno(err, errno, "give `out/%s` to the daemon", o->name);
	w.out = dir;
	return o->tar ? pack(&w, source) : walk_dir(&w, source, "", 0);
}

/* ---- success, texts, all ---- */

static bool container_good(const struct sup_container *c)
{
	return c->exit_code == 0 || (c->asked && c->sup->reason && !strcmp(c->sup->reason, "exited"));
}

static bool succeeded(const struct sup *s, const char *container)
{
	if (s->error || (s->reason && strcmp(s->reason, "exited")))
		return false;
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		const struct sup_container *c = &s->containers[i];
		bool counts = container ? !strcmp(c->spec->name, container) : c->spec->essential != ESSENTIAL_NO;
		if (counts && !container_good(c))
			return false;
	}
	return true;
}

static void collect_texts(struct sup *s, json_t *texts)
{
	static const char *const names[] = { "failure", "message" };
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		json_t *own = json_object();
		for (size_t k = 0; k < 2; k++)
			json_set_text(own, names[k],
				      sup_read_text(&s->containers[i],
						    arena_printf(&s->arena, "/opt/ml/output/%s", names[k]), TEXT_MAX));
		json_object_set_new(texts, s->containers[i].spec->name, own);
	}
}

/* Moves exec/out to the daemon's side in one step. */
static int publish(struct sup *s, int out, struct error *err)
{
	if (!s->rootless && fchown(out, s->daemon_uid, s->daemon_gid) < 0)
		return error_errno(err, errno, "give `out` to the daemon");
	if (fsync(out) < 0)
		return error_errno(err, errno, "fsync `out`");
	if (path_remove_tree(s->task_fd, "out", err) < 0)
		return -1;
	if (renameat(s->exec_fd, "out", s->task_fd, "out") < 0 || fsync(s->task_fd) < 0)
		return error_errno(err, errno, "rename `out`");
	return 0;
}

int sup_collect(struct sup *s, json_t *event, struct error *err)
{
	json_t *outputs = json_get(event, "outputs");
	collect_texts(s, json_get(event, "texts"));
	if (!s->spec.noutputs || s->data_fd < 0)
		return 0;
	if (path_remove_tree(s->exec_fd, "out", err) < 0)
		return -1;
	if (mkdirat(s->exec_fd, "out", 0755) < 0)
		return error_errno(err, errno, "make `out`");
	CLEANUP_FD int out = openat(s->exec_fd, "out", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (out < 0)
		return error_errno(err, errno, "open `out`");
	CLEANUP_JSON json_t *made = json_array();
	for (size_t i = 0; i < s->spec.noutputs; i++) {
		const struct spec_output *o = &s->spec.outputs[i];
		if (!o->always && !succeeded(s, o->container))
			continue;
		json_t *one = json_object(), *files = json_array();
		json_set_text(one, "name", o->name);
		json_object_set_new(one, "files", files);
		json_array_append_new(made, one);
		if (make_output(s, out, o, files, err) < 0)
			return error_wrap(err, "output %s", o->name);
	}
	if (publish(s, out, err) < 0)
		return -1;
	return json_array_extend(outputs, made);
}
