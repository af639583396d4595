/* work.c - see work.h.
 *
 * DESIGN: one list, one lock. A thread is started when there is more waiting than idle threads, and ends when it has
 * had nothing to do for a while: who is idle has no threads. */
#include "base/work.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"

enum { IDLE_S = 10 };

struct item {
	struct item *next;
	void (*fn)(void *arg);
	void *arg;
};
struct work {
	pthread_mutex_t lock;
	pthread_cond_t wake, ended;
	struct item *first, **last;
	int most, count, idle, waiting; /* threads, those with nothing to do; items */
	bool ending;
};

struct work *work_new(int threads)
{
	struct work *w = mem_calloc(1, sizeof(*w));
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&w->ended, NULL);
	pthread_mutex_init(&w->lock, NULL);
	w->last = &w->first;
	w->most = threads;
	return w;
}

static struct item *take(struct work *w)
{
	struct item *i = w->first;
	if (i && !(w->first = i->next))
		w->last = &w->first;
	w->waiting -= i != NULL;
	return i;
}

/* Waits for work; false: it was in vain. */
static bool wait_for_item(struct work *w)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_S;
	int rc = 0;
	w->idle++;
	while (!w->first && !w->ending && rc == 0)
		rc = pthread_cond_timedwait(&w->wake, &w->lock, &until);
	w->idle--;
	return w->first != NULL;
}

static void *run(void *arg)
{
	struct work *w = arg;
	pthread_mutex_lock(&w->lock);
	while (w->first || wait_for_item(w)) {
		struct item *i = take(w);
		pthread_mutex_unlock(&w->lock);
		i->fn(i->arg);
		free(i);
		pthread_mutex_lock(&w->lock);
	}
	if (--w->count == 0)
		pthread_cond_broadcast(&w->ended);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static bool start_thread(struct work *w)
{
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	bool started = w->count < w->most && pthread_create(&thread, &attr, run, w) == 0;
	pthread_attr_destroy(&attr);
	w->count += started;
	return started;
}

/* Takes it unless there is no thread for it; `may_wait`: for one that is at work now. */
static bool put(struct work *w, void (*fn)(void *arg), void *arg, bool may_wait)
{
	pthread_mutex_lock(&w->lock);
	bool free_thread = !w->ending && (w->waiting < w->idle || start_thread(w));
	bool taken = free_thread || (may_wait && !w->ending && w->count > 0);
	if (taken) {
		struct item *i = mem_alloc(sizeof(*i));
		*i = (struct item){ .fn = fn, .arg = arg };
		*w->last = i;
		w->last = &i->next;
		w->waiting++;
		pthread_cond_signal(&w->wake);
	}
	pthread_mutex_unlock(&w->lock);
	return taken;
}

void work_add(struct work *w, void (*fn)(void *arg), void *arg)
{
	if (!put(w, fn, arg, true))
		fn(arg);
}

bool work_try(struct work *w, void (*fn)(void *arg), void *arg)
{
	return put(w, fn, arg, false);
}

void work_end(struct work *w)
{
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	pthread_cond_broadcast(&w->wake);
	while (w->count)
		pthread_cond_wait(&w->ended, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

void work_free(struct work *w)
{
	if (!w)
		return;
	work_end(w);
	pthread_cond_destroy(&w->wake);
	pthread_cond_destroy(&w->ended);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
