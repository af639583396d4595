/* effect.c - performing effects.
 *
 * DESIGN: an effect is a row from the commit of the turn that asked for it until engine_effect_done. After the commit
 * it is performed: on the core thread when it is quick, else on a worker thread (worker.c). At the start every row
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

struct job *engine_jobs_pop(struct jobs *q)
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
	while ((j = engine_jobs_pop(q)))
		job_free(j);
}

struct job *engine_job_new(int64_t seq, struct effect_kind *kind, const char *actor, const char *id, char *text)
{
	struct job *j = mem_calloc(1, sizeof(*j));
	j->seq = seq;
	j->kind = kind;
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
		struct effect_kind *kind = map_get(&e->effect_types, rows_str(&rows, 1));
		if (!kind)
			return error_set(err,
					 "the store has an unfinished effect `%s`, which this version does not know",
					 rows_str(&rows, 1).ptr);
		char *text = mem_strdup(rows_str(&rows, 4).ptr);
		engine_jobs_add(&e->restart_jobs, engine_job_new(rows_int(&rows, 0), kind, rows_str(&rows, 2).ptr,
								 rows_str(&rows, 3).ptr, text));
		e->stats.effects_open++;
	}
	return rc;
}

int engine_effects_write(struct engine *e, struct error *err)
{
	for (struct job *j = e->txn.jobs.head; j; j = j->next) {
		if (db_write(e->db, err,
			     "INSERT INTO engine_effect(seq, kind, actor, id, payload) VALUES(?, ?, ?, ?, ?)", "issss",
			     j->seq, j->kind->type.name, j->actor, j->id, j->text) < 0)
			return -1;
	}
	return 0;
}

void engine_effect_perform(struct engine *e, struct job *j)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *payload = engine_json_unline(j->text, strlen(j->text), &err);
	if (!payload) {
		log_error("engine", "effect %lld `%s` of `%s` can't be read: %s", (long long)j->seq, j->kind->type.name,
			  j->actor, error_text(&err));
	} else {
		struct effect fx = { .seq = j->seq, .actor = j->actor, .id = j->id, .payload = payload };
		j->kind->type.perform(j->kind->type.ctx, e, &fx);
	}
	job_free(j);
}

int engine_effects_perform(struct engine *e, struct jobs *jobs, struct error *err)
{
	struct job *j;
	while ((j = engine_jobs_pop(jobs))) {
		if (e->opt.crash && e->opt.crash(e->opt.ctx, ENGINE_BEFORE_EFFECT)) {
			e->crashed = true;
			job_free(j);
			return error_aws(err, "crash", "the test crashed the engine before an effect");
		}
		if (!j->kind->type.blocking || e->opt.manual)
			engine_effect_perform(e, j);
		else
			engine_workers_add(e, j);
	}
	return 0;
}
