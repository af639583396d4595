/* work.h - a few threads for what takes time: a queue, and threads that come with the work and go when there is none.
 */
#ifndef QUERN_BASE_WORK_H
#define QUERN_BASE_WORK_H

#include <stdbool.h>

struct work;
/* At most `threads` at once; none is started yet. Owned by the caller; work_free. */
struct work *work_new(int threads);
/* Runs fn(arg) on one of the threads; they take what waits in the order in which it came. When there is no thread and
 * none can be started, or after work_end, it runs on the caller's, before this returns. From any thread. */
void work_add(struct work *w, void (*fn)(void *arg), void *arg);
/* The same when a thread is free for it. False, and nothing is done, when all are at work. */
bool work_try(struct work *w, void (*fn)(void *arg), void *arg);
/* Waits until all that was added is done and the threads are gone. More than once is allowed. */
void work_end(struct work *w);
/* work_end, and the memory. NULL is accepted. */
void work_free(struct work *w);

#endif
