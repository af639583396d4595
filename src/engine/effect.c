/* effect.c - performing effects.
 *
 * DESIGN: an effect is a row from the commit of the turn that asked for it until engine_effect_done. After the commit
 * it is performed: on the core thread when it is quick, else on one of a few worker threads. At the start every row
 * left is performed again, in the old order. The payload is parsed from the text in the row, by whoever performs it: it
 * shares no memory with the state it was made from. */
#include "engine/engine_impl.h"

#include <stdlib.h>

#include "base/log.h"

void engine_jobs_init(struct jobs *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

void engine_jobs_add(struct jobs *q, struct job *j)
{
	j->next = NULL;
	*q->tail = j;
	q->tail = &j->next;
}

static struct job *jobs_pop(struct jobs *q)
{
	struct job *j = q->head;
	if (j && !(q->head = j->next))
		q->tail = &q->head;
	return j;
}

static void job_free(struct job *j)
{
	free(j->actor);
	free(j->id);
	free(j->text);
	free(j);
}

void engine_jobs_release(struct jobs *q)
{
	struct job *j;
	while ((j = jobs_pop(q)))
		job_free(j);
}

struct job *engine_job_new(int64_t seq, const struct effect_type *type, const char *actor, const char *id, char *text)
{
	struct job *j = mem_calloc(1, sizeof(*j));
	j->seq = seq;
	j->type = type;
	j->actor = mem_strdup(actor);
	j->id = mem_strdup(id);
	j->text = text;
	return j;
}

int engine_effects_load(struct engine *e, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_query(e->db, &rows, err, "SELECT seq, kind, actor, id, payload FROM engine_effect ORDER BY seq", "") < 0)
		return -1;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		struct effect_type *type = map_get(&e->effect_types, rows_str(&rows, 1));
		if (!type)
			return error_set(err,
					 "the store has an unfinished effect `%s`, which this version does not know",
					 rows_str(&rows, 1).ptr);
		char *text = mem_strdup(rows_str(&rows, 4).ptr);
		engine_jobs_add(&e->restart_jobs, engine_job_new(rows_int(&rows, 0), type, rows_str(&rows, 2).ptr,
								 rows_str(&rows, 3).ptr, text));
		e->stats.effects_open++;
	}
	return rc;
}

int engine_effects_write(struct engine *e, struct error *err)
{
	for (struct job *j = e->txn.jobs.head; j; j = j->next) {
		if (db_exec(e->db, err,
			    "INSERT INTO engine_effect(seq, kind, actor, id, payload) VALUES(?, ?, ?, ?, ?)", "issss",
			    j->seq, j->type->name, j->actor, j->id, j->text) < 0)
			return -1;
	}
	return 0;
}

static void perform(struct engine *e, struct job *j)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *payload = engine_json_unline(j->text, strlen(j->text), &err);
	if (!payload) {
		log_error("engine", "effect %lld `%s` of `%s` can't be read: %s", (long long)j->seq, j->type->name,
			  j->actor, error_text(&err));
	} else {
		struct effect fx = { .seq = j->seq, .actor = j->actor, .id = j->id, .payload = payload };
		j->type->perform(j->type->ctx, e, &fx);
	}
	job_free(j);
}

int engine_effects_perform(struct engine *e, struct jobs *jobs, struct error *err)
{
	struct job *j;
	while ((j = jobs_pop(jobs))) {
		if (e->opt.crash && e->opt.crash(e->opt.ctx, ENGINE_BEFORE_EFFECT)) {
			e->crashed = true;
			job_free(j);
			return error_aws(err, "crash", "the test crashed the engine before an effect");
		}
		if (!j->type->blocking || e->opt.manual) {
			perform(e, j);
			continue;
		}
		pthread_mutex_lock(&e->jobs_lock);
		engine_jobs_add(&e->worker_jobs, j);
		pthread_cond_signal(&e->jobs_wake);
		pthread_mutex_unlock(&e->jobs_lock);
	}
	return 0;
}

static void *worker_main(void *arg)
{
	struct engine *e = arg;
	pthread_mutex_lock(&e->jobs_lock);
	for (;;) {
		while (!e->worker_jobs.head && !e->stop_workers)
			pthread_cond_wait(&e->jobs_wake, &e->jobs_lock);
		if (e->stop_workers)
			break; /* what is left is on disk and is performed at the next start */
		struct job *j = jobs_pop(&e->worker_jobs);
		pthread_mutex_unlock(&e->jobs_lock);
		perform(e, j);
		pthread_mutex_lock(&e->jobs_lock);
	}
	pthread_mutex_unlock(&e->jobs_lock);
	return NULL;
}

void engine_effects_start_workers(struct engine *e)
{
	int n = e->opt.workers ? e->opt.workers : 4;
	e->workers = mem_calloc((size_t)n, sizeof(*e->workers));
	for (int i = 0; i < n; i++) {
		int rc = pthread_create(&e->workers[i], NULL, worker_main, e);
		if (rc != 0)
			BUG("start worker thread: %s", strerror(rc));
		e->nworkers++;
	}
}

void engine_effects_stop_workers(struct engine *e)
{
	pthread_mutex_lock(&e->jobs_lock);
	e->stop_workers = true;
	pthread_cond_broadcast(&e->jobs_wake);
	pthread_mutex_unlock(&e->jobs_lock);
	for (int i = 0; i < e->nworkers; i++)
		pthread_join(e->workers[i], NULL);
	free(e->workers);
	e->workers = NULL;
	e->nworkers = 0;
}
