/* order.h - which container may start when, and how well they are.
 *
 * DESIGN: a container with `after` waits until each named one has started, ended, succeeded or is healthy; when that
 * can no more happen, or takes longer than the other's start_timeout, the task ends. A health check is a process that
 * the OCI runtime starts inside the container (its user, limits and filters apply); like Docker's: the first after one
 * interval, `retries` failures in a row make it unhealthy, failures in the start period do not count until a success.
 * All in the supervisor's one loop. */
#ifndef QUERN_TASK_ORDER_H
#define QUERN_TASK_ORDER_H

#include "task/sup.h"

/* May c start now? */
bool order_may_start(const struct sup_container *c);
/* Why c can never start, in the supervisor's arena; NULL: it still may. */
const char *order_hopeless(const struct sup_container *c);
/* May c be asked to end now? Not while one that waited for it goes on: the order of the start, backwards;
 * nor while it has output of others to get. */
bool order_may_stop(const struct sup_container *c);
/* The container runs: its checks begin. */
void health_begin(struct sup_container *c);
void health_end(struct sup_container *c);
/* Starts checks that are due, ends those that take too long. */
void health_run(struct sup *s);
/* A child ended: true when it was a check. */
bool health_child_ended(struct sup *s, pid_t pid, int status);
/* Monotonic ms of what is due next, INT64_MAX: nothing. */
int64_t order_next_ms(const struct sup *s);
const char *health_name(const struct sup_container *c); /* "UNKNOWN", "HEALTHY", "UNHEALTHY" */

#endif
