/* image_tree.h - the files of a new container image, in layers, and how a layer is written.
 *
 * DESIGN: a tree is one table of paths; each belongs to the layer that first named it. A layer's bytes depend only on
 * names, modes and contents: entries are sorted, owned by root and dated SOURCE_DATE_EPOCH (or 1970), but for .py files
 * with a compiled one beside them, because Python compares that date. */
#ifndef QUERN_CLI_IMAGE_TREE_H
#define QUERN_CLI_IMAGE_TREE_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/map.h"

struct image_tree {
	struct arena arena;
	struct map entries;          /* path without a leading slash -> struct tree_entry */
	struct map real_dirs;        /* a directory of the host -> its path without symbolic links */
	const char *const *excludes; /* shell patterns of absolute paths, NULL-ended */
	int layer;                   /* to which new entries belong */
};
struct tree_entry {
	const char *path, *source, *link; /* source: a file of the host, or NULL */
	struct str content;               /* when there is no source */
	mode_t mode;                      /* with the type */
	int layer;
	bool dated; /* keeps its date */
};
struct layer_file {
	int fd; /* the compressed layer, nameless */
	int64_t size;
	char digest[72], diff_id[72];
};

void tree_init(struct image_tree *t, const char *const *excludes);
void tree_release(struct image_tree *t);
bool tree_has(const struct image_tree *t, const char *path);
/* A path of the host at the same place in the image; what is not there, or is no file, link or directory, is left out.
 */
void tree_add_host(struct image_tree *t, const char *path);
/* A file or directory of the host, with all below it, at `to`. */
int tree_add_copy(struct image_tree *t, const char *from, const char *to, struct error *err);
void tree_add_dir(struct image_tree *t, const char *path, mode_t mode);
void tree_add_link(struct image_tree *t, const char *path, const char *to);
void tree_add_text(struct image_tree *t, const char *path, struct str content);
/* Adds Python's compiled files of those .py files of the current layer that have one on the host. */
void tree_add_compiled(struct image_tree *t);
/* How many entries the layer has. */
size_t tree_count(const struct image_tree *t, int layer);
/* Writes one layer, compressed with zstd. out->fd is the caller's. */
int tree_write(const struct image_tree *t, int layer, struct layer_file *out, struct error *err);

/* The files of installed Debian packages and of all that they depend on, into the current layer. `done` (package ->
 * non-NULL) holds what earlier layers have and grows. *key: text that names packages and versions of this layer, in the
 * arena. */
struct dpkg;
int dpkg_open(struct dpkg **out, struct error *err);
void dpkg_close(struct dpkg *d);
int dpkg_select(struct dpkg *d, const char *const *names, struct map *done, struct arena *a, const char ***packages,
		const char **key, struct error *err);
int dpkg_add_files(struct dpkg *d, const char *const *packages, struct image_tree *t, struct error *err);

#endif
