/* worker.c - threads for effects that block.
 *
 * DESIGN: each kind of effect has threads of its own number at most (effect_type.threads), so a kind that is slow or
 * asked for often holds up only itself; within a kind the actors that wait take turns. The kinds take turns too. A
 * thread is started when there is work and none is idle, and ends when it has had nothing to do for a while: an idle
 * daemon has none. */
#include "engine/engine_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

enum { KIND_THREADS = 4, IDLE_S = 10 };

void engine_workers_init(struct engine *e)
{
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&e->jobs_wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&e->workers_ended, NULL);
	pthread_mutex_init(&e->jobs_lock, NULL);
}

/* ---- lanes ---- */

static bool has_room(const struct effect_kind *k)
{
	return k->first && k->running < (k->type.threads ? k->type.threads : KIND_THREADS);
}

static void lane_append(struct effect_kind *k, struct lane *lane)
{
	lane->next = NULL;
	*k->last = lane;
	k->last = &lane->next;
}

static struct lane *lane_first(struct effect_kind *k)
{
	struct lane *lane = k->first;
	if (!(k->first = lane->next))
		k->last = &k->first;
	return lane;
}

static void lane_free(struct effect_kind *k, struct lane *lane)
{
	map_remove(&k->lanes, str_from(lane->actor));
	engine_jobs_release(&lane->jobs);
	free(lane->actor);
	free(lane);
}

/* The next job of a kind: the actors take turns. */
static struct job *take_of(struct effect_kind *k)
{
	struct lane *lane = lane_first(k);
	struct job *j = engine_jobs_pop(&lane->jobs);
	if (lane->jobs.head)
		lane_append(k, lane);
	else
		lane_free(k, lane);
	k->running++;
	return j;
}

/* The next job that may run now, or NULL: the kinds take turns. */
static struct job *take(struct engine *e)
{
	struct effect_kind *k = e->next_kind ? e->next_kind : e->kinds, *start = k;
	if (!k)
		return NULL;
	do {
		struct effect_kind *next = k->next ? k->next : e->kinds;
		if (has_room(k)) {
			e->next_kind = next;
			return take_of(k);
		}
		k = next;
	} while (k != start);
	return NULL;
}

/* ---- threads ---- */

static void *worker_main(void *arg);

static void start_worker(struct engine *e)
{
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int rc = pthread_create(&thread, &attr, worker_main, e);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		e->nworkers++;
	else if (!e->nworkers) /* else the others do it in time */
		BUG("start worker thread: %s", strerror(rc));
}

/* One more thread looks for work, when there is some that may run. */
static void wake_worker(struct engine *e)
{
	bool any = false;
	for (struct effect_kind *k = e->kinds; k && !any; k = k->next)
		any = has_room(k);
	if (!any || e->stop_workers)
		return;
	if (!e->idle_workers) {
		start_worker(e);
		return;
	}
	e->idle_workers--; /* not to be counted on again */
	e->woken_workers++;
	pthread_cond_signal(&e->jobs_wake);
}

/* Waits for work. False: enough. */
static bool idle(struct engine *e)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_S;
	e->idle_workers++;
	int rc = pthread_cond_timedwait(&e->jobs_wake, &e->jobs_lock, &until);
	if (e->woken_workers) {
		e->woken_workers--;
		return true;
	}
	e->idle_workers--;
	return rc != ETIMEDOUT;
}

static void *worker_main(void *arg)
{
	struct engine *e = arg;
	struct job *j;
	bool stay = true;
	pthread_mutex_lock(&e->jobs_lock);
	while (!e->stop_workers) {
		if (!(j = take(e))) {
			if (!stay)
				break;
			stay = idle(e);
			continue;
		}
		struct effect_kind *k = j->kind;
		wake_worker(e);
		pthread_mutex_unlock(&e->jobs_lock);
		engine_effect_perform(e, j);
		pthread_mutex_lock(&e->jobs_lock);
		k->running--;
		stay = true;
	}
	e->nworkers--;
	pthread_cond_signal(&e->workers_ended);
	pthread_mutex_unlock(&e->jobs_lock);
	return NULL;
}

void engine_workers_add(struct engine *e, struct job *j)
{
	struct effect_kind *k = j->kind;
	pthread_mutex_lock(&e->jobs_lock);
	struct lane *lane = map_get(&k->lanes, str_from(j->actor));
	if (!lane) {
		lane = mem_calloc(1, sizeof(*lane));
		lane->actor = mem_strdup(j->actor);
		engine_jobs_init(&lane->jobs);
		map_set(&k->lanes, str_from(lane->actor), lane);
		lane_append(k, lane);
	}
	engine_jobs_add(&lane->jobs, j);
	wake_worker(e);
	pthread_mutex_unlock(&e->jobs_lock);
}

void engine_workers_stop(struct engine *e)
{
	pthread_mutex_lock(&e->jobs_lock);
	e->stop_workers = true;
	pthread_cond_broadcast(&e->jobs_wake);
	while (e->nworkers)
		pthread_cond_wait(&e->workers_ended, &e->jobs_lock);
	pthread_mutex_unlock(&e->jobs_lock);
}

void engine_workers_release(struct engine *e)
{
	struct effect_kind *k;
	while ((k = e->kinds)) {
		e->kinds = k->next;
		while (k->first)
			lane_free(k, lane_first(k));
		map_release(&k->lanes);
		free((char *)k->type.name);
		free(k);
	}
	pthread_cond_destroy(&e->jobs_wake);
	pthread_cond_destroy(&e->workers_ended);
	pthread_mutex_destroy(&e->jobs_lock);
}
