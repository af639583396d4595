/* layer_read.h - the bytes of a layer's archive, uncompressed, checked and hashed on the way.
 *
 * DESIGN: as containerd reads layers: the first bytes say what compression it is (gzip, zstd, else none), whatever the
 * media type says. Gzip members and zstd frames may follow each other. All of it is read, also what comes behind the
 * tar archive's end, for the diff id is the digest of every byte. A stream that is cut short, whose check sum is wrong,
 * or that something else follows is refused. Nothing is read twice. Memory is bounded: two pieces of 256 KiB and the
 * decompressor's window (zstd: 128 MiB at most). */
#ifndef QUERN_TASK_LAYER_READ_H
#define QUERN_TASK_LAYER_READ_H

#include <sys/types.h>

#include "base/error.h"

#define LAYER_DIGEST_MAX 136 /* "sha512:" and 128 digits, with the NUL */

struct layer_read;
/* Reads `fd` (borrowed) from where it stands. `like`: a digest whose algorithm is wanted ("sha256:..." or
 * "sha512:..."). max_bytes: what the files of the layer may hold; uncompressed bytes far beyond are an error. Owned by
 * the caller. */
struct layer_read *layer_read_new(int fd, const char *like, int64_t max_bytes);
void layer_read_free(struct layer_read *r);
/* The next piece, valid until the next call: its length; 0 at the end of a whole stream; < 0 for a fault. */
ssize_t layer_read_next(struct layer_read *r, const void **p, struct error *err);
/* After the end: the diff id. */
void layer_read_digest(const struct layer_read *r, char out[LAYER_DIGEST_MAX]);
/* Is `found`, the digest of what was read, what the image's configuration says? Else the error of containerd. */
int layer_check_diff_id(const char *wanted, const char *found, struct error *err);

#endif
