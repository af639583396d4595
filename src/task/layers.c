/* layers.c - see layers.h. */
#include "task/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/id.h"
#include "base/json.h"
#include "task/path.h"

#define LAYERS_MAX 127
#define CHAIN_LEN 64

/* chain' = SHA-256("chain digest"). */
static void next_chain(char chain[CHAIN_LEN + 1], const char *digest)
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	CLEANUP_BUF struct buf text = BUF_INIT;
	buf_printf(&text, "%s %s", chain, digest);
	if (EVP_Digest(text.ptr, text.len, hash, NULL, EVP_sha256(), NULL) != 1)
		BUG("SHA-256 failed");
	hex_encode(chain, hash, CHAIN_LEN / 2);
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

static int unpack_into(const struct layers_source *src, const struct spec_layer *layer, int root, const int *lowers,
		       size_t n, struct error *err)
{
	struct stat st;
	CLEANUP_FD int blob = path_open_beneath(src->data_fd, layer->path, O_RDONLY | O_NONBLOCK, 0, err);
	if (blob < 0)
		return -1;
	if (fstat(blob, &st) < 0 || !S_ISREG(st.st_mode))
		return error_set(err, "layer %s is no file", layer->digest);
	posix_fadvise(blob, 0, 0, POSIX_FADV_SEQUENTIAL);
	if (layer_unpack(blob, root, lowers, n, src, err) < 0)
		return -1;
	return syncfs(root) < 0 ? error_errno(err, errno, "sync layer %s", layer->digest) : 0;
}

/* The layer's directory, unpacked when it is not there. `lowers`: those below, the top one first. */
static int need_layer(const struct layers_source *src, int layers, const char *chain, const struct spec_layer *layer,
		      const int *lowers, size_t n, struct error *err)
{
	char lock_name[CHAIN_LEN + 8], new_name[CHAIN_LEN + 8];
	int fd = open_dir(layers, chain);
	if (fd >= 0)
		return fd;
	snprintf(lock_name, sizeof(lock_name), ".%s.l", chain);
	snprintf(new_name, sizeof(new_name), ".%s.n", chain);
	CLEANUP_FD int lock = openat(layers, lock_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return error_errno(err, errno, "lock layer %s", layer->digest);
	if ((fd = open_dir(layers, chain)) >= 0) /* somebody else has done it */
		return fd;
	if (path_remove_tree(layers, new_name, err) < 0)
		return -1;
	if (mkdirat(layers, new_name, 0755) < 0 || (fd = open_dir(layers, new_name)) < 0)
		return error_errno(err, errno, "make layer %s", layer->digest);
	if (unpack_into(src, layer, fd, lowers, n, err) < 0) {
		close(fd);
		path_remove_tree(layers, new_name, NULL);
		return -1;
	}
	if (renameat(layers, new_name, layers, chain) < 0 || fsync(layers) < 0) {
		error_errno(err, errno, "publish layer %s", layer->digest);
		close(fd);
		return -1;
	}
	return fd;
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

int layers_resolve(struct arena *a, const struct layers_source *src, const struct spec_container *c, struct image *out,
		   struct error *err)
{
	char chain[CHAIN_LEN + 1] = "";
	int fds[LAYERS_MAX]; /* the last one is the lowest */
	*out = (struct image){ 0 };
	if (image_split(a, c->image, &out->repository, &out->tag, err) < 0)
		return -1;
	if (c->nlayers > LAYERS_MAX || !c->nlayers)
		return error_set(err, "image has %zu layers; 1 to %d are possible", c->nlayers, LAYERS_MAX);
	CLEANUP_FD int layers = open_layers(src, err);
	if (layers < 0)
		return -1;
	out->lowers = ARENA_ARRAY(a, const char *, c->nlayers + 1);
	for (size_t i = 0; i < c->nlayers; i++) {
		size_t at = c->nlayers - 1 - i;
		next_chain(chain, c->layers[i].digest);
		fds[at] = need_layer(src, layers, chain, &c->layers[i], fds + at + 1, i, err);
		if (fds[at] < 0)
			return error_wrap(err, "failed to extract layer %s of %s", c->layers[i].digest, c->image);
		out->lowers[at] = arena_printf(a, "/proc/self/fd/%d", fds[at]);
	}
	read_config(a, c->rootfs_config, out);
	return 0;
}
