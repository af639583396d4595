/* pipeline_step.c - the rows of an execution's steps and how they move.
 *
 * DESIGN: see pipeline_run.h. A step goes WAITING -> READY -> (READING) -> RUNNING -> SUCCEEDED | FAILED | STOPPED,
 * with BACKOFF between attempts, or to SKIPPED. Every move is one or two indexed statements. An ended step never moves
 * again in the same run; RetryPipelineExecution plans the others anew (pipeline_plan.c). */
#include "sagemaker/pipeline_run.h"

#define STEP_COLUMNS "step, state, seq, attempts, start_ms, end_ms, job, metadata, retries"

static void row_read(struct run *r, struct rows *rows, struct step_row *out)
{
	int index = (int)rows_int(rows, 0);
	*out = (struct step_row){
		.index = index,
		.def = &r->def->steps[index],
		.state = (enum step_state)rows_int(rows, 1),
		.seq = rows_int(rows, 2),
		.attempts = rows_int(rows, 3),
		.start_ms = rows_int(rows, 4),
		.end_ms = rows_int(rows, 5),
		.job = pipeline_row_text(rows, 6, r->a),
		.metadata = pipeline_row_text(rows, 7, r->a),
		.retries = pipeline_row_text(rows, 8, r->a),
	};
}

int step_row_load(struct run *r, int index, struct step_row *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (index < 0 || index >= r->def->nsteps)
		return 0;
	int rc = db_row(r->db, &rows, err, "SELECT " STEP_COLUMNS " FROM pipeline_step WHERE execution=? AND step=?",
			"si", r->x.id, (int64_t)index);
	if (rc == 1)
		row_read(r, &rows, out);
	return rc;
}

int step_row_by_job(struct run *r, const char *job, struct step_row *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(r->db, &rows, err, "SELECT " STEP_COLUMNS " FROM pipeline_step WHERE execution=? AND job=?",
			"ss", r->x.id, job);
	if (rc == 1)
		row_read(r, &rows, out);
	return rc;
}

int step_row_first(struct run *r, enum step_state state, struct step_row *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc =
		db_row(r->db, &rows, err,
		       "SELECT " STEP_COLUMNS " FROM pipeline_step WHERE execution=? AND state=? ORDER BY step LIMIT 1",
		       "si", r->x.id, (int64_t)state);
	if (rc == 1)
		row_read(r, &rows, out);
	return rc;
}

static int state_set(struct run *r, struct step_row *s, enum step_state state, struct error *err)
{
	s->state = state;
	int rc = db_exec(r->db, err, "UPDATE pipeline_step SET state=? WHERE execution=? AND step=?", "isi",
			 (int64_t)state, r->x.id, (int64_t)s->index);
	return rc < 0 ? -1 : 0;
}

static void active_add(struct run *r, int n)
{
	json_set_int(r->state, "active", json_get_int(r->state, "active", 0) + n);
}

/* ---- beginning ---- */

int step_begin(struct run *r, struct step_row *s, struct error *err)
{
	s->seq = json_get_int(r->state, "seq", 0) + 1;
	json_set_int(r->state, "seq", s->seq);
	active_add(r, 1);
	s->state = STEP_READING;
	s->start_ms = turn_now_ms(r->t);
	int rc = db_exec(r->db, err,
			 "UPDATE pipeline_step SET state=?, seq=?, start_ms=?, display_name=?, description=? WHERE "
			 "execution=? AND step=?",
			 "iiisssi", (int64_t)s->state, s->seq, s->start_ms, json_get_text(s->def->json, "DisplayName"),
			 json_get_text(s->def->json, "Description"), r->x.id, (int64_t)s->index);
	return rc < 0 ? -1 : step_attempt(r, s, NULL, err);
}

int step_attempt(struct run *r, struct step_row *s, json_t *files, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	r->step = s;
	r->files = files;
	r->job_name = NULL;
	if (run_collect_files(r, s->def, &why) < 0)
		return run_step_bad(r, s, &why, err);
	if (!r->missing)
		return s->def->type->begin(r, s, err);
	const char *id = arena_printf(r->a, "%s/%lld/%lld/%zu", r->x.id, (long long)s->seq, (long long)s->attempts,
				      json_object_size(files));
	json_t *payload = json_pack("{s:i,s:I,s:I,s:O}", "step", s->index, "seq", (json_int_t)s->seq, "attempt",
				    (json_int_t)s->attempts, "read", r->missing);
	if (files)
		json_object_set(payload, "files", files);
	turn_effect(r->t, "sagemaker.read-json", id, payload);
	json_decref(r->missing);
	r->missing = NULL;
	return s->state == STEP_READING ? 0 : state_set(r, s, STEP_READING, err);
}

int run_step_running(struct run *r, struct step_row *s, const char *job, const json_t *metadata, struct error *err)
{
	s->state = STEP_RUNNING;
	s->job = job;
	int rc = db_exec(r->db, err, "UPDATE pipeline_step SET state=?, job=?, metadata=? WHERE execution=? AND step=?",
			 "isSsi", (int64_t)s->state, job, json_text(r->a, metadata), r->x.id, (int64_t)s->index);
	return rc < 0 ? -1 : 0;
}

/* ---- ends ---- */

static int step_end(struct run *r, struct step_row *s, enum step_state state, const char *reason,
		    const json_t *metadata, struct error *err)
{
	int64_t now = turn_now_ms(r->t);
	if (s->state == STEP_BACKOFF)
		turn_timer(r->t, arena_printf(r->a, "step-%d", s->index), 0, NULL);
	s->state = state;
	s->end_ms = now;
	active_add(r, -1);
	struct str meta = metadata ? json_text(r->a, metadata) : STR_NULL;
	int rc = db_exec(r->db, err,
			 "UPDATE pipeline_step SET state=?, end_ms=?, reason=?, metadata=COALESCE(?, metadata) WHERE "
			 "execution=? AND step=?",
			 "iisSsi", (int64_t)state, now, reason, meta, r->x.id, (int64_t)s->index);
	return rc < 0 ? -1 : 0;
}

/* The steps that can't run any more because `from` did not end well, or whose branch was not taken. */
static int steps_skip(struct run *r, const int *from, int n, struct error *err)
{
	int cap = n + 64, count = 0;
	CLEANUP_FREE int *stack = mem_calloc((size_t)cap, sizeof *stack);
	for (int i = 0; i < n; i++)
		stack[count++] = from[i];
	while (count > 0) {
		int index = stack[--count];
		const struct definition_step *step = &r->def->steps[index];
		int rc = db_exec(r->db, err,
				 "UPDATE pipeline_step SET state=? WHERE execution=? AND step=? AND state IN (?, ?)",
				 "isiii", (int64_t)STEP_SKIPPED, r->x.id, (int64_t)index, (int64_t)STEP_WAITING,
				 (int64_t)STEP_READY);
		if (rc < 0)
			return -1;
		if (rc == 0)
			continue; /* already */
		if (count + step->ndependents > cap) {
			cap = 2 * (count + step->ndependents);
			stack = mem_realloc(stack, (size_t)cap * sizeof *stack);
		}
		for (int k = 0; k < step->ndependents; k++)
			stack[count++] = step->dependents[k];
	}
	return 0;
}

int run_step_succeeded(struct run *r, struct step_row *s, bool outcome, const json_t *metadata, struct error *err)
{
	const struct definition_step *def = s->def;
	if (step_end(r, s, STEP_SUCCEEDED, NULL, metadata, err) < 0)
		return -1;
	for (int k = 0; k < def->ndependents; k++) {
		int index = def->dependents[k];
		const struct definition_step *next = &r->def->steps[index];
		if (next->parent == s->index && next->else_branch == outcome) {
			if (steps_skip(r, &index, 1, err) < 0)
				return -1;
			continue;
		}
		int rc = db_exec(r->db, err,
				 "UPDATE pipeline_step SET waiting=waiting-1, state=CASE WHEN state=? AND waiting=1 "
				 "THEN ? ELSE state END"
				 " WHERE execution=? AND step=?",
				 "iisi", (int64_t)STEP_WAITING, (int64_t)STEP_READY, r->x.id, (int64_t)index);
		if (rc < 0)
			return -1;
	}
	return 0;
}

int run_step_failed(struct run *r, struct step_row *s, const char *reason, const json_t *metadata, struct error *err)
{
	const char *cut = reason ? arena_strdup(r->a, pipeline_text_cut(str_from(reason), 1024)) : NULL;
	json_set_bool(r->state, "failed", true);
	if (step_end(r, s, STEP_FAILED, cut, metadata, err) < 0)
		return -1;
	return steps_skip(r, s->def->dependents, s->def->ndependents, err);
}

int run_step_stopped(struct run *r, struct step_row *s, struct error *err)
{
	return step_end(r, s, STEP_STOPPED, NULL, NULL, err);
}

int run_step_bad(struct run *r, struct step_row *s, struct error *why, struct error *err)
{
	if (!why->code[0])
		return error_move(err, why);
	return run_step_failed(r, s, arena_printf(r->a, "ClientError: %s", error_text(why)), NULL, err);
}

/* ---- further attempts ---- */

int run_attempt_failed(struct run *r, struct step_row *s, const char *type, const char *reason, struct error *err)
{
	const char *retries = NULL;
	int64_t now = turn_now_ms(r->t), delay = -1;
	if (type && !json_get_bool(r->state, "stopping", false))
		delay = pipeline_retry_delay(r->a, s->def, type, s->retries, s->start_ms, now, &retries);
	if (delay < 0)
		return run_step_failed(r, s, reason, NULL, err);
	s->state = STEP_BACKOFF;
	s->attempts++;
	int rc = db_exec(
		r->db, err,
		"UPDATE pipeline_step SET state=?, attempts=?, retries=?, job=NULL WHERE execution=? AND step=?",
		"iissi", (int64_t)s->state, s->attempts, retries, r->x.id, (int64_t)s->index);
	if (rc < 0)
		return -1;
	json_t *event = json_pack("{s:s,s:i,s:I,s:I}", "type", "attempt", "step", s->index, "seq", (json_int_t)s->seq,
				  "attempt", (json_int_t)s->attempts);
	turn_timer(r->t, arena_printf(r->a, "step-%d", s->index), now + delay, event);
	return 0;
}

int step_stop(struct run *r, struct step_row *s, struct error *err)
{
	if (s->state != STEP_RUNNING || !s->def->type->stop)
		return run_step_stopped(r, s, err);
	if (s->def->type->stop(r, s, err) < 0)
		return -1;
	return state_set(r, s, STEP_STOPPING, err);
}
