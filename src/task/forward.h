/* forward.h - a container's output to the task's log router, by Fluentd's forward protocol.
 *
 * DESIGN: each record is one message [tag, time, record] in MessagePack ("Message Mode" of the Forward Protocol
 * Specification v1; time is its EventTime), with the members that Docker's fluentd log driver gives: log, container_id,
 * container_name, source and, for pieces of a line over 16 KiB, partial_message, partial_id, partial_ordinal and
 * partial_last. They go to the unix socket fluent.sock in a scratch directory that the router has mounted. The
 * supervisor sends, which outlives the daemon: a restart of that changes nothing. Records wait in memory, as in
 * Docker's driver with its asynchronous mode: a router that is not there yet, or away, holds up nobody; what is over
 * the limits is dropped and counted. A record counts as sent when the kernel has taken it; the one that was under way
 * when a router went is sent again as a whole. A router is asked to end when those that send to it have ended and it
 * has read the rest, or after FORWARD_GRACE_MS. */
#ifndef QUERN_TASK_FORWARD_H
#define QUERN_TASK_FORWARD_H

#include "task/sup.h"

#define FORWARD_PIECE (16u << 10)
#define FORWARD_BYTES ((size_t)8 << 20) /* that wait, a container */
#define FORWARD_GRACE_MS 5000

/* Lets p (c->log or c->errors, just opened) send to the router instead of writing to its file. */
void forward_take(struct sup_container *c, struct logpump *p);
/* Connects and sends what is due. */
void forward_run(struct sup *s);
/* Something happened on c's connection. */
void forward_ready(struct sup_container *c);
/* c's output has ended: the rest gets its grace. */
void forward_end(struct sup_container *c);
/* Has router c yet to get something, within the grace? */
bool forward_holds(const struct sup_container *c);
/* Monotonic ms of what is due next, INT64_MAX: nothing. */
int64_t forward_next_ms(const struct sup *s);
/* Drops what waits and closes; notes how many were lost. */
void forward_close(struct sup_container *c);

#endif
