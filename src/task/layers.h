/* layers.h - stored images: layers unpacked once into directories that overlays share.
 *
 * DESIGN: <data>/layers/<chain>/ holds the difference that one layer makes on top of those below it. The chain is the
 * SHA-256 over the digests of the layers up to it, which the registry has checked; the diff ids of the image's own
 * configuration are not trusted for it, since a wrong one would put foreign files into another image; they are checked
 * while a layer is unpacked, and a layer whose diff id is another one is refused, whichever image unpacked it. Archives
 * are hostile: every name is resolved inside the directory (openat2), ".." is refused, device nodes too (below dev/
 * they are left out: the container's /dev is its own), and size and number of files are bounded. A directory appears
 * under its name by rename, after it is on disk; a lock file (.<chain>.l; it holds the size in bytes and the diff ids
 * that were computed, a line each, and its time is that of the last use) lets several supervisors wait for one that
 * unpacks. A supervisor holds a shared flock(2) on each directory it uses for as long as it lives, so the collector
 * (exec_layers.c), which asks for an exclusive one and then renames the directory away, never takes what is in use, and
 * a crash leaves no lock behind. Rootless: the owner of all files is the one user, and overlay attributes are
 * user.overlay.*. */
#ifndef QUERN_TASK_LAYERS_H
#define QUERN_TASK_LAYERS_H

#include "task/image.h"
#include "task/spec.h"

#define LAYERS_CHAIN_LEN 64
#define LAYER_MAX_BYTES ((int64_t)128 << 30)
#define LAYERS_LINKS "l" /* in a task's exec directory: links to the archives of its images */

struct layers_source {
	int data_fd; /* the data directory */
	int exec_fd; /* the task's exec directory, or -1 */
	bool rootless;
	/* limits of one layer; 0 = default */
	int64_t max_bytes, max_entries;
	/* Asked now and then (it may wait that long): shall we break off? NULL = never */
	bool (*is_over)(void *ctx, int wait_ms);
	void *ctx;
};
#define LAYERS_BROKEN_OFF "broken off: the task was stopped"

/* Fills `out` from the container's rootfs (spec.rootfs, see task.h); unpacks what is missing. Everything in the arena;
 * layer directories are given as /proc/self/fd paths of descriptors that stay open as long as the process. The error
 * text is that of a pull that failed, without the class name. */
int layers_resolve(struct arena *a, const struct layers_source *src, const struct spec_container *c, struct image *out,
		   struct error *err);

/* Unpacks the archive `blob`, whose uncompressed bytes must have the digest `diff_id`, into the empty directory `root`,
 * which holds anything after a fault. `lowers`: fds of the directories below, the top one first
 * (n of them): parent directories that the archive does not name take mode and owner from there. *size_bytes: what
 * its files hold. */
int layer_unpack(int blob, const char *diff_id, int root, const int *lowers, size_t n, const struct layers_source *src,
		 int64_t *size_bytes, struct error *err);

/* Loads what the first digest needs (OpenSSL's tables, milliseconds): a process that forks supervisors does it for all.
 */
void layers_warm(void);

/* chain (64 hex digits; "" before the lowest layer) becomes that of the next layer up: SHA-256("chain digest"). */
void layers_next_chain(char chain[LAYERS_CHAIN_LEN + 1], const char *digest);

#endif
