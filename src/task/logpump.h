/* logpump.h - from a container's output pipe to its log file.
 *
 * DESIGN: stdout and stderr share one pipe, so their order is that of the writes. Each line becomes "<epoch ms>
 * <text>\n", appended as soon as the line is whole; a line over 256 KiB is cut into several records. Memory is flat
 * whatever the volume. The file format is part of task.h. With a sink, records go to that instead, and the two streams
 * have a pump each (forward.h). */
#ifndef QUERN_TASK_LOGPUMP_H
#define QUERN_TASK_LOGPUMP_H

#include "base/buf.h"

#define LOGPUMP_RECORD_MAX (256u << 10)

struct logpump;
/* A record's text; p->piece: 0 = a whole line, else which piece of one (from 1), `last` its end. */
typedef void (*logpump_sink)(void *ctx, const struct logpump *p, struct str text, bool last);

struct logpump {
	int in, out; /* owned; -1 = closed */
	struct buf line, records;
	int64_t last_ms;    /* times never go back within a file */
	int64_t lost_bytes; /* could not be written (disk full) */
	logpump_sink sink;  /* NULL: to `out` */
	void *sink_ctx;
	size_t record_max;
	unsigned piece;
};
#define LOGPUMP_INIT ((struct logpump){ .in = -1, .out = -1 })

/* Takes both fds. `in` is made non-blocking. */
void logpump_open(struct logpump *p, int in, int out);
/* Moves what is there, at most about 1 MiB. 1: there may be more, 0: nothing more now, -1: end of the stream (a last
 * line without newline is written; `in` is closed). */
int logpump_run(struct logpump *p);
/* Writes the rest and closes. */
void logpump_close(struct logpump *p);

#endif
