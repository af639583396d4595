/* stop.h - how running containers are asked to end.
 *
 * DESIGN: the stop signal, and after the grace period SIGKILL. The kernel drops a signal that the first process of a
 * PID namespace has no handler for, so one that comes while the program still starts would be lost and the grace period
 * waited out for nothing. So we look first: the signal is sent when the runtime has made way for the container's
 * program and that handles the signal or holds it back (an init that waits for it with sigwait(3)). A program that
 * never does gets SIGKILL in the end, as with any signal it does not heed. */
#ifndef QUERN_TASK_STOP_H
#define QUERN_TASK_STOP_H

#include "task/sup.h"

/* Sends `sig` to the container's first process at once, whatever it makes of it. */
void stop_signal(struct sup_container *c, int sig);
/* Asks all running containers to end that may end now (order_may_stop); those that were asked are left alone. One that
 * is still being started is asked when this is called again. */
void stop_ask_all(struct sup *s);
/* Sends what is due. */
void stop_run(struct sup *s);
/* Monotonic ms of what is due next, INT64_MAX: nothing. */
int64_t stop_next_ms(const struct sup *s);

#endif
