/* worker.c - threads for blocking work, see http.h.
 *
 * DESIGN: a queue and up to eight threads, made when first needed and kept. Jobs of one request never overlap (its
 * handler is suspended meanwhile); jobs of different requests run in any order. */
#include "wire/http.h"

#include <stdlib.h>

void worker_init(struct worker_pool *p)
{
	*p = (struct worker_pool){ 0 };
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	p->tail = &p->head;
}

static void *worker_main(void *arg)
{
	struct worker_pool *p = arg;
	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (!p->head && !p->stopping) {
			p->idle++;
			pthread_cond_wait(&p->wake, &p->lock);
			p->idle--;
		}
		struct worker_job *job = p->head;
		if (!job)
			break;
		p->head = job->next;
		p->nqueued--;
		if (!p->head)
			p->tail = &p->head;
		pthread_mutex_unlock(&p->lock);
		job->run(job->arg);
		free(job);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

void worker_submit(struct worker_pool *p, struct worker_job *job)
{
	pthread_mutex_lock(&p->lock);
	int max = (int)(sizeof(p->threads) / sizeof(p->threads[0]));
	if (!p->stopping && p->nqueued >= p->idle && p->nthreads < max &&
	    pthread_create(&p->threads[p->nthreads], NULL, worker_main, p) == 0)
		p->nthreads++;
	bool queued = !p->stopping && p->nthreads > 0;
	if (queued) {
		job->next = NULL;
		*p->tail = job;
		p->tail = &job->next;
		p->nqueued++;
		pthread_cond_signal(&p->wake);
	}
	pthread_mutex_unlock(&p->lock);
	if (queued)
		return;
	job->run(job->arg);
	free(job);
}

void worker_stop(struct worker_pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (int i = 0; i < p->nthreads; i++)
		pthread_join(p->threads[i], NULL);
	p->nthreads = 0;
}

void worker_release(struct worker_pool *p)
{
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
}
