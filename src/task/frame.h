/* frame.h - JSON messages on a stream socket: 4 bytes length (big-endian), then that many bytes of JSON. */
#ifndef QUERN_TASK_FRAME_H
#define QUERN_TASK_FRAME_H

#include <jansson.h>
#include "base/buf.h"
#include "base/error.h"

/* The result of a task with a million output files fits. */
#define FRAME_MAX_BYTES (256u << 20)

/* Appends one framed message. < 0 when it is larger than FRAME_MAX_BYTES. */
int frame_add(struct buf *out, const json_t *message, struct error *err);
/* Takes the first whole message of at most `max` bytes off `in`. 1 and *message (owned), 0 when more bytes are needed,
 * < 0 when the stream is broken. */
int frame_take(struct buf *in, size_t max, json_t **message, struct error *err);
/* Reads what is there (at most 256 KiB). > 0 read, 0 the end of the stream, -EAGAIN nothing now, other < 0 broken. */
int frame_fill(int fd, struct buf *in);
/* Writes what goes, removes it from `out`. 0 all gone, 1 some is left, < 0 broken (-errno). */
int frame_flush(int fd, struct buf *out);
/* A connected unix stream socket (CLOEXEC), or < 0. dirfd/name may be longer than sun_path: it goes through
 * /proc/self/fd. */
int frame_connect(const char *path, struct error *err);
int frame_connect_at(int dirfd, const char *name);
/* A listening socket at dirfd/name (an old one is replaced), or < 0. */
int frame_listen_at(int dirfd, const char *name, mode_t mode, struct error *err);

#endif
