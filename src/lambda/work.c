/* work.c - a few threads for what takes time; see room.h.
 *
 * DESIGN: a list and a condition. Threads are started when the first work comes, so that a daemon without functions has
 * none. */
#include <stdlib.h>

#include "lambda/room.h"

struct item {
	struct item *next;
	void (*fn)(void *arg);
	void *arg;
};
struct work {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct item *first, **last;
	pthread_t *threads;
	int max, count, idle;
	bool ending;
};

struct work *work_new(int threads)
{
	struct work *w = mem_calloc(1, sizeof(*w));
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->cond, NULL);
	w->last = &w->first;
	w->max = threads;
	w->threads = mem_calloc((size_t)threads, sizeof(*w->threads));
	return w;
}

static void *run(void *arg)
{
	struct work *w = arg;
	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct item *i = w->first;
		if (!i && w->ending)
			break;
		if (!i) {
			w->idle++;
			pthread_cond_wait(&w->cond, &w->lock);
			w->idle--;
			continue;
		}
		w->first = i->next;
		if (!w->first)
			w->last = &w->first;
		pthread_mutex_unlock(&w->lock);
		i->fn(i->arg);
		free(i);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

void work_add(struct work *w, void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&w->lock);
	bool ended = w->ending;
	pthread_mutex_unlock(&w->lock);
	if (ended) {
		fn(arg);
		return;
	}
	struct item *i = mem_calloc(1, sizeof(*i));
	i->fn = fn;
	i->arg = arg;
	pthread_mutex_lock(&w->lock);
	*w->last = i;
	w->last = &i->next;
	if (!w->idle && w->count < w->max) {
		if (pthread_create(&w->threads[w->count], NULL, run, w) == 0)
			w->count++;
		else if (!w->count)
			BUG("no thread can be started");
	}
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

void work_end(struct work *w)
{
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->lock);
	for (int i = 0; i < w->count; i++)
		pthread_join(w->threads[i], NULL);
	w->count = 0;
}

void work_free(struct work *w)
{
	if (!w)
		return;
	work_end(w);
	pthread_cond_destroy(&w->cond);
	pthread_mutex_destroy(&w->lock);
	free(w->threads);
	free(w);
}
