/* image_tree.c - see image_tree.h. */
#include "cli/image_tree.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/id.h"

enum { ZSTD_LEVEL = 3, BLOCK = 1 << 18 };

void tree_init(struct image_tree *t, const char *const *excludes)
{
	*t = (struct image_tree){
		.arena = ARENA_INIT, .entries = MAP_INIT, .real_dirs = MAP_INIT, .excludes = excludes
	};
}

void tree_release(struct image_tree *t)
{
	map_release(&t->entries);
	map_release(&t->real_dirs);
	arena_release(&t->arena);
}

static const char *bare(const char *path)
{
	while (*path == '/')
		path++;
	return path;
}

static struct tree_entry *find(const struct image_tree *t, const char *path)
{
	return map_get(&t->entries, str_from(bare(path)));
}

bool tree_has(const struct image_tree *t, const char *path)
{
	return find(t, path) != NULL;
}

static struct tree_entry *add(struct image_tree *t, const char *path, mode_t mode)
{
	path = bare(path);
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		struct str parent = str_of(path, (size_t)(slash - path));
		if (!map_get(&t->entries, parent))
			tree_add_dir(t, arena_strdup(&t->arena, parent), 0755);
	}
	struct tree_entry *e = ARENA_NEW(&t->arena, struct tree_entry);
	e->path = arena_strdup(&t->arena, str_from(path));
	e->mode = mode;
	e->layer = t->layer;
	map_set(&t->entries, str_from(path), e);
	return e;
}

void tree_add_dir(struct image_tree *t, const char *path, mode_t mode)
{
	if (*bare(path) && !find(t, path))
		add(t, path, S_IFDIR | mode);
}

void tree_add_text(struct image_tree *t, const char *path, struct str content)
{
	if (!find(t, path))
		add(t, path, S_IFREG | 0644)->content = arena_str(&t->arena, content);
}

static bool excluded(const struct image_tree *t, const char *path)
{
	for (size_t i = 0; t->excludes[i]; i++)
		if (fnmatch(t->excludes[i], path, 0) == 0)
			return true;
	return false;
}

/* One file, link or directory. Not what the layers below have. */
static void add_one(struct image_tree *t, const char *from, const char *to)
{
	struct stat st;
	char link[PATH_MAX];
	if (!*bare(to) || find(t, to) || excluded(t, to) || lstat(from, &st) < 0)
		return;
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode) && !S_ISDIR(st.st_mode))
		return;
	ssize_t n = S_ISLNK(st.st_mode) ? readlink(from, link, sizeof(link)) : 0;
	if (n < 0)
		return;
	struct tree_entry *e = add(t, to, st.st_mode);
	if (S_ISLNK(st.st_mode))
		e->link = arena_strdup(&t->arena, str_of(link, (size_t)n));
	else
		e->source = arena_strdup(&t->arena, str_from(from));
}

/* The directory's real path: packages name /lib/x where the machine has /usr/lib/x. */
static const char *real_dir(struct image_tree *t, const char *dir)
{
	const char *known = map_get(&t->real_dirs, str_from(dir));
	char path[PATH_MAX];
	if (known)
		return known;
	if (!realpath(dir, path))
		snprintf(path, sizeof(path), "%s", dir);
	char *real = arena_strdup(&t->arena, str_from(path));
	map_set(&t->real_dirs, str_from(dir), real);
	return real;
}

/* The path with its directory's real path, or NULL when it names no file. */
static const char *real_path(struct image_tree *t, const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!slash || !slash[1] || strcmp(slash, "/.") == 0)
		return NULL;
	const char *dir = slash == path ? "/" : arena_strdup(&t->arena, str_of(path, (size_t)(slash - path)));
	const char *real = real_dir(t, dir);
	return arena_printf(&t->arena, "%s%s", strcmp(real, "/") == 0 ? "" : real, slash);
}

void tree_add_host(struct image_tree *t, const char *path)
{
	const char *whole = real_path(t, path);
	if (whole)
		add_one(t, whole, whole);
}

void tree_add_link(struct image_tree *t, const char *path, const char *to)
{
	const char *whole = real_path(t, path);
	if (whole && !find(t, whole) && !excluded(t, whole))
		add(t, whole, S_IFLNK | 0777)->link = arena_strdup(&t->arena, str_from(to));
}

int tree_add_copy(struct image_tree *t, const char *from, const char *to, struct error *err)
{
	struct stat st;
	if (lstat(from, &st) < 0)
		return error_errno(err, errno, "add `%s`", from);
	add_one(t, from, to);
	if (!S_ISDIR(st.st_mode))
		return 0;
	DIR *d = opendir(from);
	if (!d)
		return error_errno(err, errno, "read directory `%s`", from);
	int rc = 0;
	for (struct dirent *e; rc == 0 && (e = readdir(d));)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rc = tree_add_copy(t, arena_printf(&t->arena, "%s/%s", from, e->d_name),
					   arena_printf(&t->arena, "%s/%s", to, e->d_name), err);
	closedir(d);
	return rc;
}

/* ---- compiled Python ---- */

/* "a/__pycache__/b.cpython-311.pyc" -> the entry of "a/b.py" when there is one. */
static struct tree_entry *source_of(struct image_tree *t, const char *pyc)
{
	const char *cache = strstr(pyc, "/__pycache__/");
	const char *name = cache ? cache + strlen("/__pycache__/") : NULL, *dot = name ? strchr(name, '.') : NULL;
	if (!dot || strchr(name, '/'))
		return NULL;
	return find(t, arena_printf(&t->arena, "%.*s/%.*s.py", (int)(cache - pyc), pyc, (int)(dot - name), name));
}

static void add_compiled_of(struct image_tree *t, const char *dir)
{
	DIR *d = opendir(dir);
	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		const char *path = arena_printf(&t->arena, "%s/%s", dir, e->d_name), *end = strrchr(path, '.');
		const struct tree_entry *source = source_of(t, bare(path));
		if (source && source->layer == t->layer && end && strcmp(end, ".pyc") == 0)
			add_one(t, path, path);
	}
	closedir(d);
}

void tree_add_compiled(struct image_tree *t)
{
	struct map dirs = MAP_INIT;
	size_t count = t->entries.count;
	for (size_t i = 0; i < count; i++) {
		const struct tree_entry *e = t->entries.entries[i].value;
		if (e->layer != t->layer || !e->source || !str_ends(str_from(e->path), STR(".py")))
			continue;
		const char *slash = strrchr(e->path, '/');
		const char *cache =
			arena_printf(&t->arena, "/%.*s/__pycache__", slash ? (int)(slash - e->path) : 0, e->path);
		if (!map_get(&dirs, str_from(cache))) {
			map_set(&dirs, str_from(cache), t);
			add_compiled_of(t, cache);
		}
	}
	map_release(&dirs);
	for (size_t i = 0; i < t->entries.count; i++) {
		struct tree_entry *source = source_of(t, ((struct tree_entry *)t->entries.entries[i].value)->path);
		if (source)
			source->dated = true;
	}
}

/* ---- writing ---- */

struct sink {
	int fd;
	int64_t size;
	EVP_MD_CTX *plain, *packed;
	ZSTD_CCtx *zstd;
	char *out;
	int errnum;
};

static int put(struct sink *s, const char *p, size_t n)
{
	EVP_DigestUpdate(s->packed, p, n);
	s->size += (int64_t)n;
	while (n) {
		ssize_t k = write(s->fd, p, n);
		if (k < 0 && errno != EINTR) {
			s->errnum = errno;
			return -1;
		}
		p += k > 0 ? k : 0;
		n -= k > 0 ? (size_t)k : 0;
	}
	return 0;
}

static int compress(struct sink *s, const void *p, size_t n, ZSTD_EndDirective end)
{
	ZSTD_inBuffer in = { p, n, 0 };
	size_t left;
	do {
		ZSTD_outBuffer out = { s->out, BLOCK, 0 };
		left = ZSTD_compressStream2(s->zstd, &out, &in, end);
		if (ZSTD_isError(left) || put(s, s->out, out.pos) < 0)
			return -1;
	} while (end == ZSTD_e_end ? left > 0 : in.pos < in.size);
	return 0;
}

static la_ssize_t on_write(struct archive *ar, void *data, const void *p, size_t n)
{
	struct sink *s = data;
	EVP_DigestUpdate(s->plain, p, n);
	if (compress(s, p, n, ZSTD_e_continue) == 0)
		return (la_ssize_t)n;
	archive_set_error(ar, s->errnum ? s->errnum : EIO, "write the layer: %s",
			  strerror(s->errnum ? s->errnum : EIO));
	return -1;
}

static int copy_file(struct archive *ar, const char *path, int64_t size, struct error *err)
{
	CLEANUP_FREE char *block = mem_alloc(BLOCK);
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "read `%s`", path);
	while (size > 0) {
		ssize_t n = read(fd, block, size < BLOCK ? (size_t)size : BLOCK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_errno(err, n ? errno : EIO, "read `%s`", path);
		if (archive_write_data(ar, block, (size_t)n) < 0)
			return error_set(err, "%s", archive_error_string(ar));
		size -= n;
	}
	return 0;
}

static time_t epoch(void)
{
	int64_t s;
	const char *text = getenv("SOURCE_DATE_EPOCH");
	return text && str_to_i64(str_from(text), &s) ? (time_t)s : 0;
}

static int write_entry(struct archive *ar, struct archive_entry *ae, const struct tree_entry *e, struct error *err)
{
	struct stat st = { 0 };
	if (e->source && stat(e->source, &st) < 0)
		return error_errno(err, errno, "read `%s`", e->source);
	archive_entry_clear(ae);
	archive_entry_set_pathname(ae, e->path);
	archive_entry_set_mode(ae, S_ISLNK(e->mode) ? S_IFLNK | 0777 : e->mode);
	archive_entry_set_uid(ae, 0);
	archive_entry_set_gid(ae, 0);
	archive_entry_set_mtime(ae, e->dated ? st.st_mtime : epoch(), 0);
	int64_t size = !S_ISREG(e->mode) ? 0 : e->source ? st.st_size : (int64_t)e->content.len;
	archive_entry_set_size(ae, size);
	if (e->link)
		archive_entry_set_symlink(ae, e->link);
	if (archive_write_header(ar, ae) != ARCHIVE_OK)
		return error_set(err, "write `%s`: %s", e->path, archive_error_string(ar));
	if (size == 0)
		return 0;
	if (e->source)
		return copy_file(ar, e->source, size, err);
	return archive_write_data(ar, e->content.ptr, e->content.len) < 0
		       ? error_set(err, "%s", archive_error_string(ar))
		       : 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp((*(const struct tree_entry *const *)a)->path, (*(const struct tree_entry *const *)b)->path);
}

size_t tree_count(const struct image_tree *t, int layer)
{
	size_t n = 0;
	for (size_t i = 0; i < t->entries.count; i++)
		n += ((const struct tree_entry *)t->entries.entries[i].value)->layer == layer;
	return n;
}

static int write_entries(const struct image_tree *t, int layer, struct archive *ar, struct error *err)
{
	size_t n = 0;
	CLEANUP_FREE const struct tree_entry **list = mem_calloc(tree_count(t, layer) + 1, sizeof(*list));
	for (size_t i = 0; i < t->entries.count; i++) {
		const struct tree_entry *e = t->entries.entries[i].value;
		if (e->layer == layer)
			list[n++] = e;
	}
	qsort(list, n, sizeof(*list), by_path);
	struct archive_entry *ae = archive_entry_new();
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = write_entry(ar, ae, list[i], err);
	archive_entry_free(ae);
	return rc;
}

static void name_digest(EVP_MD_CTX *md, char out[72])
{
	unsigned char raw[32];
	EVP_DigestFinal_ex(md, raw, NULL);
	memcpy(out, "sha256:", 7);
	hex_encode(out + 7, raw, sizeof(raw));
}

static int nameless_file(struct error *err)
{
	const char *dir = getenv("TMPDIR");
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/quern-layer-XXXXXX", dir && *dir ? dir : "/var/tmp");
	int fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "make the file `%s`", path);
	unlink(path);
	return fd;
}

int tree_write(const struct image_tree *t, int layer, struct layer_file *out, struct error *err)
{
	struct sink s = { .fd = nameless_file(err),
			  .plain = EVP_MD_CTX_new(),
			  .packed = EVP_MD_CTX_new(),
			  .zstd = ZSTD_createCCtx(),
			  .out = mem_alloc(BLOCK) };
	struct archive *ar = archive_write_new();
	int rc = s.fd < 0 ? -1 : 0;
	if (!s.plain || !s.packed || !s.zstd || !ar)
		BUG("out of memory");
	EVP_DigestInit_ex(s.plain, EVP_sha256(), NULL);
	EVP_DigestInit_ex(s.packed, EVP_sha256(), NULL);
	ZSTD_CCtx_setParameter(s.zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
	archive_write_set_format_pax_restricted(ar);
	archive_write_set_options(ar, "hdrcharset=BINARY"); /* names are bytes, whatever the locale */
	archive_write_set_bytes_in_last_block(ar, 1);
	if (rc == 0 && archive_write_open(ar, &s, NULL, on_write, NULL) != ARCHIVE_OK)
		rc = error_set(err, "%s", archive_error_string(ar));
	if (rc == 0)
		rc = write_entries(t, layer, ar, err);
	if (rc == 0 && archive_write_close(ar) != ARCHIVE_OK)
		rc = error_set(err, "%s", archive_error_string(ar));
	if (rc == 0 && compress(&s, "", 0, ZSTD_e_end) < 0)
		rc = error_errno(err, s.errnum ? s.errnum : EIO, "write the layer");
	archive_write_free(ar);
	name_digest(s.plain, out->diff_id);
	name_digest(s.packed, out->digest);
	out->size = s.size;
	out->fd = s.fd;
	EVP_MD_CTX_free(s.plain);
	EVP_MD_CTX_free(s.packed);
	ZSTD_freeCCtx(s.zstd);
	free(s.out);
	if (rc < 0 && s.fd >= 0)
		close(s.fd);
	return rc;
}
