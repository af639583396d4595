/* layers.c - see layers.h. */
#include "task/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/id.h"
#include "base/json.h"
#include "task/layer_read.h"
#include "task/path.h"

#define LAYERS_MAX 127
#define LOCK_LOOK_MS 20
#define CHAIN_LEN LAYERS_CHAIN_LEN
#define RECORD_MAX (3 * LAYER_DIGEST_MAX) /* a lock file's text: the size, and a diff id of each algorithm */

void layers_next_chain(char chain[CHAIN_LEN + 1], const char *digest)
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	CLEANUP_BUF struct buf text = BUF_INIT;
	buf_printf(&text, "%s %s", chain, digest);
	if (EVP_Digest(text.ptr, text.len, hash, NULL, EVP_sha256(), NULL) != 1)
		BUG("SHA-256 failed");
	hex_encode(chain, hash, CHAIN_LEN / 2);
}

void layers_warm(void)
{
	char chain[CHAIN_LEN + 1] = "";
	layers_next_chain(chain, "");
}

/* <data>/layers, which must be ours alone: what is in it becomes files of root in containers. */
static int open_layers(const struct layers_source *src, struct error *err)
{
	struct stat st;
	int fd = path_mkdirs_beneath(src->data_fd, "layers", 0700, (uid_t)-1, (gid_t)-1, err);
	if (fd < 0)
		return -1;
	close(fd);
	fd = path_open_beneath(src->data_fd, "layers", O_RDONLY | O_DIRECTORY, 0, err);
	if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 077))) {
		close(fd);
		return error_set(err, "the directory `layers` is not ours alone");
	}
	return fd;
}

static int open_dir(int dir, const char *name)
{
	return openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* A container's layers on their way to directories. */
struct stack {
	const struct layers_source *src;
	const struct spec_container *c;
	int layers;            /* the directory of all of them */
	int fds[LAYERS_MAX];   /* directories, the last one is the lowest */
	int blobs[LAYERS_MAX]; /* archives by number of the layer; -1 */
};

/* The archive, from the task's own link when it has one (see exec_link_layers). */
static int open_blob(const struct stack *s, size_t i, struct error *err)
{
	struct stat st;
	const struct spec_layer *layer = &s->c->layers[i];
	const char *slash = strrchr(layer->path, '/');
	CLEANUP_FD int links = s->src->exec_fd < 0 ? -1
						   : openat(s->src->exec_fd, LAYERS_LINKS,
							    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int fd = links < 0 ? -1 : openat(links, slash ? slash + 1 : layer->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		fd = path_open_beneath(s->src->data_fd, layer->path, O_RDONLY | O_NONBLOCK, 0, err);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		return error_set(err, "layer %s is no file", layer->digest);
	}
	return fd;
}

/* From here on it does not matter whether the registry drops the archives. */
static int open_blobs(struct stack *s, size_t from, struct error *err)
{
	for (size_t i = from; i < s->c->nlayers; i++)
		if (s->blobs[i] < 0 && (s->blobs[i] = open_blob(s, i, err)) < 0)
			return -1;
	return 0;
}

static int unpack_into(struct stack *s, size_t i, int root, int lock, struct error *err)
{
	char text[RECORD_MAX];
	int64_t size = 0;
	size_t at = s->c->nlayers - 1 - i;
	const struct spec_layer *layer = &s->c->layers[i];
	posix_fadvise(s->blobs[i], 0, 0, POSIX_FADV_SEQUENTIAL);
	if (layer_unpack(s->blobs[i], layer->diff_id, root, s->fds + at + 1, i, s->src, &size, err) < 0)
		return -1;
	int n = snprintf(text, sizeof(text), "%lld\n%s\n", (long long)size, layer->diff_id);
	if (pwrite(lock, text, (size_t)n, 0) != n || ftruncate(lock, n) < 0 || syncfs(root) < 0)
		return error_errno(err, errno, "sync layer %s", layer->digest);
	return 0;
}

/* ---- what is known of an unpacked layer ---- */

/* Does the lock file say that the layer has this diff id? 1 yes, 0 it does not know, < 0 it has another one. */
static int check_record(int layers, const char *lock_name, const char *diff_id, struct error *err)
{
	char text[RECORD_MAX];
	CLEANUP_FD int fd = openat(layers, lock_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : pread(fd, text, sizeof(text) - 1, 0);
	struct str rest = str_of(text, n > 0 ? (size_t)n : 0);
	for (ptrdiff_t end; (end = str_find_char(rest, '\n')) >= 0; rest = str_skip(rest, (size_t)end + 1)) {
		struct str line = str_head(rest, (size_t)end);
		if (str_find_char(line, ':') != 6 || strncmp(line.ptr, diff_id, 6) != 0)
			continue;
		text[line.ptr - text + (ptrdiff_t)line.len] = 0;
		return layer_check_diff_id(diff_id, line.ptr, err) < 0 ? -1 : 1;
	}
	return 0;
}

/* Computes the diff id of an unpacked layer from its archive and notes it, under the lock: the image that unpacked it
 * named it by another algorithm. */
static int add_record(struct stack *s, size_t i, int lock, struct error *err)
{
	char found[LAYER_DIGEST_MAX], line[LAYER_DIGEST_MAX + 1];
	const char *diff_id = s->c->layers[i].diff_id;
	const void *p;
	struct stat st;
	ssize_t n;
	struct layer_read *in = layer_read_new(s->blobs[i], diff_id, LAYER_MAX_BYTES);
	do {
		n = layer_read_next(in, &p, err);
	} while (n > 0);
	if (n == 0)
		layer_read_digest(in, found);
	layer_read_free(in);
	if (n < 0)
		return -1;
	int len = snprintf(line, sizeof(line), "%s\n", found);
	if (fstat(lock, &st) < 0 || pwrite(lock, line, (size_t)len, st.st_size) != len)
		return error_errno(err, errno, "note the diff id of layer %s", s->c->layers[i].digest);
	return layer_check_diff_id(diff_id, found, err);
}

/* Opens the layer's directory and holds it against collection as long as the descriptor is open. -1: not there. */
static int hold_layer(int layers, const char *chain, const char *lock_name)
{
	struct stat mine, named;
	int fd = open_dir(layers, chain);
	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_SH) < 0 || fstat(fd, &mine) < 0 || fstatat(layers, chain, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
	    mine.st_ino != named.st_ino) {
		close(fd); /* collected in between */
		return -1;
	}
	if (fstatat(layers, lock_name, &named, AT_SYMLINK_NOFOLLOW) == 0 && time(NULL) - named.st_mtime > 60)
		utimensat(layers, lock_name, NULL, AT_SYMLINK_NOFOLLOW);
	return fd;
}

/* Somebody else may unpack the layer for minutes. */
static int wait_for_lock(const struct layers_source *src, int lock)
{
	if (!src->is_over)
		return flock(lock, LOCK_EX);
	while (flock(lock, LOCK_EX | LOCK_NB) < 0)
		if ((errno != EWOULDBLOCK && errno != EINTR) || src->is_over(src->ctx, LOCK_LOOK_MS))
			return -1;
	return 0;
}

/* Takes the layer's lock file; it may have been removed by whoever held it. */
static int lock_layer(const struct layers_source *src, int layers, const char *lock_name, struct error *err)
{
	for (;;) {
		struct stat st;
		int lock = openat(layers, lock_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (lock < 0 || wait_for_lock(src, lock) < 0 || fstat(lock, &st) < 0) {
			error_errno(err, errno, "lock `%s`", lock_name);
			if (lock >= 0)
				close(lock);
			return -1;
		}
		if (st.st_nlink)
			return lock;
		close(lock);
	}
}

/* Unpacks layer number i beside its name, under the lock. */
static int make_layer(struct stack *s, size_t i, const char *chain, int lock, struct error *err)
{
	char new_name[CHAIN_LEN + 8];
	const char *digest = s->c->layers[i].digest;
	snprintf(new_name, sizeof(new_name), ".%s.n", chain);
	if (path_remove_tree(s->layers, new_name, err) < 0)
		return -1;
	int fd = mkdirat(s->layers, new_name, 0755) < 0 ? -1 : open_dir(s->layers, new_name);
	if (fd < 0)
		return error_errno(err, errno, "make layer %s", digest);
	if (flock(fd, LOCK_SH) < 0 || unpack_into(s, i, fd, lock, err) < 0) {
		close(fd);
		path_remove_tree(s->layers, new_name, NULL);
		return -1;
	}
	if (renameat(s->layers, new_name, s->layers, chain) < 0 || fsync(s->layers) < 0) {
		error_errno(err, errno, "publish layer %s", digest);
		close(fd);
		path_remove_tree(s->layers, new_name, NULL);
		return -1;
	}
	return fd;
}

/* The layer's directory when it is unpacked and known to have the image's diff id: 1. 0: it is to be looked at under
 * the lock (*fd is -1 when it is not there at all). < 0: the diff id is another one. */
static int find_layer(struct stack *s, size_t i, const char *chain, const char *lock_name, int *fd, struct error *err)
{
	if (*fd < 0)
		*fd = hold_layer(s->layers, chain, lock_name);
	return *fd < 0 ? 0 : check_record(s->layers, lock_name, s->c->layers[i].diff_id, err);
}

/* The layer's directory, unpacked when it is not there. */
static int need_layer(struct stack *s, size_t i, const char *chain, struct error *err)
{
	char lock_name[CHAIN_LEN + 8];
	CLEANUP_FD int fd = -1;
	snprintf(lock_name, sizeof(lock_name), ".%s.l", chain);
	int rc = find_layer(s, i, chain, lock_name, &fd, err);
	if (rc != 0)
		return rc < 0 ? rc : fd_take(&fd);
	if (open_blobs(s, i, err) < 0)
		return -1;
	CLEANUP_FD int lock = lock_layer(s->src, s->layers, lock_name, err);
	if (lock < 0)
		return -1;
	rc = find_layer(s, i, chain, lock_name, &fd, err); /* somebody else may have done it */
	if (rc == 0 && fd < 0)
		return make_layer(s, i, chain, lock, err);
	if (rc == 0)
		rc = add_record(s, i, lock, err);
	return rc < 0 ? rc : fd_take(&fd);
}

static const char **texts(struct arena *a, const json_t *array)
{
	if (!json_array_size(array))
		return NULL;
	const char **out = ARENA_ARRAY(a, const char *, json_array_size(array) + 1);
	size_t n = 0;
	for (size_t i = 0; i < json_array_size(array); i++)
		if (json_is_string(json_array_get(array, i)))
			out[n++] = arena_strdup(a, json_str(json_array_get(array, i)));
	return out;
}

static const char *text_or_null(struct arena *a, const json_t *obj, const char *key)
{
	const char *text = json_get_text(obj, key);
	return text && *text ? arena_strdup(a, str_from(text)) : NULL;
}

static void read_config(struct arena *a, const json_t *document, struct image *out)
{
	static const char *none[] = { NULL };
	const json_t *config = json_get(document, "config");
	const char *stop = json_get_text(config, "StopSignal");
	out->entrypoint = texts(a, json_get(config, "Entrypoint"));
	out->command = texts(a, json_get(config, "Cmd"));
	out->env = texts(a, json_get(config, "Env"));
	out->env = out->env ? out->env : none;
	out->workdir = text_or_null(a, config, "WorkingDir");
	out->user = text_or_null(a, config, "User");
	out->stop_signal = stop ? spec_signal(stop) : 0;
}

static int resolve(struct arena *a, struct stack *s, struct image *out, struct error *err)
{
	char chain[CHAIN_LEN + 1] = "";
	const struct spec_container *c = s->c;
	out->lowers = ARENA_ARRAY(a, const char *, c->nlayers + 1);
	for (size_t i = 0; i < c->nlayers; i++) {
		size_t at = c->nlayers - 1 - i;
		layers_next_chain(chain, c->layers[i].digest);
		s->fds[at] = need_layer(s, i, chain, err);
		if (s->fds[at] < 0)
			return error_wrap(err, "failed to extract layer %s of %s", c->layers[i].digest, c->image);
		out->lowers[at] = arena_printf(a, "/proc/self/fd/%d", s->fds[at]);
	}
	read_config(a, c->rootfs_config, out);
	return 0;
}

int layers_resolve(struct arena *a, const struct layers_source *src, const struct spec_container *c, struct image *out,
		   struct error *err)
{
	struct stack s = { .src = src, .c = c };
	*out = (struct image){ 0 };
	if (image_split(a, c->image, &out->repository, &out->tag, err) < 0)
		return -1;
	if (c->nlayers > LAYERS_MAX || !c->nlayers)
		return error_set(err, "image has %zu layers; 1 to %d are possible", c->nlayers, LAYERS_MAX);
	CLEANUP_FD int layers = open_layers(src, err);
	if (layers < 0)
		return -1;
	s.layers = layers;
	for (size_t i = 0; i < c->nlayers; i++)
		s.blobs[i] = -1;
	int rc = resolve(a, &s, out, err);
	for (size_t i = 0; i < c->nlayers; i++)
		if (s.blobs[i] >= 0)
			close(s.blobs[i]);
	return rc;
}
