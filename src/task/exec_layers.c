/* exec_layers.c - what the executor does with layers: links for tasks that wait, and collection.
 *
 * DESIGN: a task that must wait for room gets hard links to the archives of its images (exec/l/), which keep the bytes
 * whatever the registry drops meanwhile; they go with the task. Collection: the daemon says which chains its images
 * refer to, the disk says which are in use (flock, see layers.h) and when each was used last. A victim is renamed to
 * .g-<chain>.<n> under its locks, which takes no time; a child process then removes the trees. Whatever a crash leaves
 * (.g-*, half-unpacked .*.n) goes the next time. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "task/exec.h"
#include "task/layers.h"
#include "task/path.h"

#define TRASH ".g-"

/* ---- links ---- */

static int link_layer(struct executor *x, int links, const struct spec_layer *layer, struct error *err)
{
	const char *slash = strrchr(layer->path, '/'), *name = slash ? slash + 1 : layer->path;
	char source[64];
	CLEANUP_FD int fd = path_open_beneath(x->data_fd, layer->path, O_PATH, 0, err);
	if (fd < 0)
		return -1;
	snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, source, links, name, AT_SYMLINK_FOLLOW) < 0 && errno != EEXIST)
		return error_errno(err, errno, "link layer %s", layer->digest);
	return 0;
}

void exec_link_layers(struct executor *x, int exec_fd, const struct task_spec *spec)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_FD int links = -1;
	int rc = 0;
	for (size_t i = 0; i < spec->ncontainers && rc == 0; i++)
		for (size_t k = 0; k < spec->containers[i].nlayers && rc == 0; k++) {
			if (links < 0) {
				mkdirat(exec_fd, LAYERS_LINKS, 0700);
				links = openat(exec_fd, LAYERS_LINKS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			}
			rc = links < 0 ? error_errno(&err, errno, "make `%s`", LAYERS_LINKS)
				       : link_layer(x, links, &spec->containers[i].layers[k], &err);
		}
	if (rc < 0) /* another file system, perhaps; the registry keeps what it has as long as the image is there */
		log_warn("executor", "%s: %s", spec->id, error_text(&err));
}

/* ---- collection ---- */

struct layer {
	char chain[LAYERS_CHAIN_LEN + 1];
	int64_t bytes, used_ms;
	bool there, wanted, victim; /* there: unpacked whole */
};

struct collection {
	int dir;
	struct layer *layers;
	size_t count, room;
	struct map numbers; /* chain -> its number in `layers`, from 1 */
	bool dry;
};

/* "<chain>" (true), ".<chain>.l" or ".<chain>.n" -> its chain. */
static bool chain_of(const char *name, char chain[LAYERS_CHAIN_LEN + 1], bool *whole)
{
	*whole = *name != '.';
	if (!*whole)
		name++;
	if (strspn(name, "0123456789abcdef") != LAYERS_CHAIN_LEN)
		return false;
	const char *rest = name + LAYERS_CHAIN_LEN;
	if (*whole ? *rest != 0 : strcmp(rest, ".l") != 0 && strcmp(rest, ".n") != 0)
		return false;
	memcpy(chain, name, LAYERS_CHAIN_LEN);
	chain[LAYERS_CHAIN_LEN] = 0;
	return true;
}

static struct layer *find_layer(struct collection *c, const char *chain)
{
	uintptr_t number = (uintptr_t)map_get(&c->numbers, str_from(chain));
	if (number)
		return &c->layers[number - 1];
	if (c->count == c->room) {
		c->room = c->room ? 2 * c->room : 64;
		c->layers = mem_realloc(c->layers, c->room * sizeof(*c->layers));
	}
	struct layer *l = &c->layers[c->count++];
	*l = (struct layer){ 0 };
	memcpy(l->chain, chain, sizeof(l->chain));
	map_set(&c->numbers, str_from(chain), (void *)(uintptr_t)c->count);
	return l;
}

static void lock_name_of(const struct layer *l, char name[LAYERS_CHAIN_LEN + 8])
{
	snprintf(name, LAYERS_CHAIN_LEN + 8, ".%s.l", l->chain);
}

static void read_use(struct collection *c, struct layer *l)
{
	char name[LAYERS_CHAIN_LEN + 8], text[32];
	struct stat st;
	lock_name_of(l, name);
	CLEANUP_FD int fd = openat(c->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0 || fstat(fd, &st) < 0)
		return;
	text[n] = 0;
	l->bytes = strtoll(text, NULL, 10);
	l->used_ms = (int64_t)st.st_mtime * 1000;
}

/* The chains of images, each given as the digests of its layers, as the keys of an object. */
static json_t *wanted_chains(const json_t *images)
{
	json_t *out = json_object(), *image, *digest;
	size_t i, k;
	json_array_foreach ((json_t *)images, i, image) {
		char chain[LAYERS_CHAIN_LEN + 1] = "";
		json_array_foreach (image, k, digest) {
			if (!json_is_string(digest))
				break;
			layers_next_chain(chain, json_string_value(digest));
			json_object_set_new(out, chain, json_true());
		}
	}
	return out;
}

static int read_layers(struct collection *c, const json_t *keep, struct error *err)
{
	DIR *d = path_list(c->dir, ".");
	if (!d)
		return error_errno(err, errno, "list the layers");
	CLEANUP_JSON json_t *wanted = wanted_chains(keep);
	for (struct dirent *entry; (entry = readdir(d));) {
		char chain[LAYERS_CHAIN_LEN + 1];
		bool whole;
		if (!chain_of(entry->d_name, chain, &whole))
			continue;
		struct layer *l = find_layer(c, chain);
		l->there = l->there || whole;
	}
	closedir(d);
	for (size_t i = 0; i < c->count; i++) {
		read_use(c, &c->layers[i]);
		c->layers[i].wanted = json_object_get(wanted, c->layers[i].chain) != NULL;
	}
	return 0;
}

static int by_use(const void *a, const void *b)
{
	const struct layer *x = a, *y = b;
	return x->used_ms < y->used_ms ? -1 : x->used_ms > y->used_ms;
}

/* The members of the request: see executor.c. */
static void choose(struct collection *c, const json_t *request)
{
	struct timespec now;
	struct statvfs fs;
	clock_gettime(CLOCK_REALTIME, &now);
	int64_t now_ms = (int64_t)now.tv_sec * 1000, total = 0, most = json_get_int(request, "max_bytes", -1);
	int64_t idle_ms = json_get_int(request, "idle_ms", 0), age_ms = json_get_int(request, "max_age_ms", INT64_MAX);
	if (most < 0)
		most = fstatvfs(c->dir, &fs) == 0 ? (int64_t)(fs.f_blocks / 4 * fs.f_frsize) : INT64_MAX;
	if (c->count)
		qsort(c->layers, c->count, sizeof(*c->layers), by_use);
	for (size_t i = 0; i < c->count; i++) {
		struct layer *l = &c->layers[i];
		int64_t unused_ms = now_ms - l->used_ms;
		l->victim = !l->there || (!l->wanted && unused_ms >= idle_ms) || unused_ms >= age_ms;
		total += l->victim ? 0 : l->bytes;
	}
	for (size_t i = 0; i < c->count && total > most; i++)
		if (!c->layers[i].victim) {
			c->layers[i].victim = true;
			total -= c->layers[i].bytes;
		}
}

/* Out of the way of everybody, if nobody uses it. */
static bool take_away(struct collection *c, const struct layer *l)
{
	char lock_name[LAYERS_CHAIN_LEN + 8], name[LAYERS_CHAIN_LEN + 8], trash[LAYERS_CHAIN_LEN + 32];
	lock_name_of(l, lock_name);
	CLEANUP_FD int lock = openat(c->dir, lock_name, O_RDWR | (c->dry ? 0 : O_CREAT) | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (lock < 0 ? !c->dry || errno != ENOENT : flock(lock, LOCK_EX | LOCK_NB) < 0)
		return false;
	CLEANUP_FD int fd = openat(c->dir, l->chain, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
		return false;
	if (c->dry)
		return true;
	/* Names of their own: an earlier tree of the chain may still be on its way out. */
	snprintf(trash, sizeof(trash), TRASH "%s.%llx", l->chain, (unsigned long long)clock_monotonic_us());
	if (fd >= 0 && renameat(c->dir, l->chain, c->dir, trash) < 0)
		return false;
	snprintf(name, sizeof(name), ".%s.n", l->chain);
	snprintf(trash, sizeof(trash), TRASH "%s.%llx.n", l->chain, (unsigned long long)clock_monotonic_us());
	renameat(c->dir, name, c->dir, trash);
	unlinkat(c->dir, lock_name, 0);
	return true;
}

static void remove_trash(int dir)
{
	DIR *d = path_list(dir, ".");
	if (!d)
		return;
	for (struct dirent *entry; (entry = readdir(d));)
		if (!strncmp(entry->d_name, TRASH, strlen(TRASH)))
			path_remove_tree(dir, entry->d_name, NULL);
	closedir(d);
}

json_t *exec_collect_layers(struct executor *x, const json_t *request, struct error *err)
{
	int64_t sums[4] = { 0 }; /* removed, its bytes; kept, its bytes */
	int64_t busy = 0;
	struct collection c = { .dry = json_get_bool(request, "dry", false) };
	CLEANUP_FD int dir = openat(x->data_fd, "layers", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	c.dir = dir;
	int rc = dir < 0 ? 0 : read_layers(&c, json_get(request, "keep"), err);
	map_release(&c.numbers);
	if (rc < 0) {
		free(c.layers);
		return NULL;
	}
	choose(&c, request);
	for (size_t i = 0; i < c.count; i++) {
		const struct layer *l = &c.layers[i];
		bool gone = l->victim && take_away(&c, l);
		busy += l->victim && !gone;
		if (!l->there)
			continue;
		sums[gone ? 0 : 2]++;
		sums[gone ? 1 : 3] += l->bytes;
	}
	free(c.layers);
	pid_t pid = dir >= 0 && !c.dry ? fork() : 1;
	if (pid == 0) {
		close(x->lock_fd); /* else the lock would outlive the executor */
		remove_trash(dir);
		_exit(0);
	}
	if (pid < 0)
		log_warn("executor", "remove layers: fork: %s; the next time", strerror(errno));
	return json_pack("{s:I,s:I,s:I,s:I,s:I}", "removed", (json_int_t)sums[0], "removed_bytes", (json_int_t)sums[1],
			 "kept", (json_int_t)sums[2], "kept_bytes", (json_int_t)sums[3], "in_use", (json_int_t)busy);
}
