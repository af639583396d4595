/* pipeline_actor.c - the execution: the actor "sagemaker.pipeline-execution", id "pipeline-execution/<id>".
 *
 * DESIGN: one turn takes one event, moves the steps it concerns, starts what has become ready within the parallelism
 * and a bound a turn (then sends itself "continue"), and ends the actor when nothing runs and nothing is ready. Events:
 *   start                                 plan the steps (state "retry": plan again what has not succeeded)
 *   job-ended {name, status, reason}      a job of a step ended
 *   files {step, seq, attempt, files}     the files of JsonGet were read
 *   attempt {step, seq, attempt}          a backoff is over
 *   stop | parallel {parallel} | continue
 * An event about an attempt that is not the step's current one is dropped, so each may come twice. A failed step does
 * not stop the independent ones; the execution is Failed when the last of them has ended. */
#include "sagemaker/pipeline_run.h"

#include "base/log.h"

enum { STARTS_PER_TURN = 64, STOPS_PER_TURN = 256 };

/* Actor functions get no context: one sagemaker room a process. */
static struct sagemaker *room;

void pipeline_actor_bind(struct sagemaker *s)
{
	room = s;
}

static int run_open(struct run *r, struct turn *t, json_t *state, struct error *err)
{
	*r = (struct run){ .s = room, .t = t, .db = turn_db(t), .a = turn_arena(t), .state = state };
	int rc = pipeline_execution_find(r->s, r->db, r->a, json_get_text(state, "execution"), &r->x, err);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return error_set(err, "pipeline execution %s has no row", json_get_text(state, "execution"));
	r->def = pipeline_definition_cached(r->s, r->db, r->x.digest, err);
	if (!r->def)
		return -1;
	r->parameters = json_parse(str_from(r->x.parameters), err);
	return r->parameters ? 0 : -1;
}

static int status_set(struct run *r, const char *status, const char *reason, struct error *err)
{
	r->x.status = status;
	int rc = db_exec(r->db, err, "UPDATE pipeline_execution SET status=?, reason=?, modified_ms=? WHERE id=?",
			 "ssis", status, reason, turn_now_ms(r->t), r->x.id);
	return rc < 0 ? -1 : 0;
}

/* ---- events ---- */

static int on_start(struct run *r, struct error *err)
{
	bool retry = json_get_bool(r->state, "retry", false);
	return steps_plan(r, !retry, err);
}

static int on_job_ended(struct run *r, const json_t *event, struct error *err)
{
	struct step_row s;
	const char *name = json_get_text(event, "name"), *status = json_get_text(event, "status");
	const char *reason = json_get_text(event, "reason");
	int rc = name ? step_row_by_job(r, name, &s, err) : 0;
	if (rc <= 0 || (s.state != STEP_RUNNING && s.state != STEP_STOPPING))
		return rc < 0 ? -1 : 0;
	if (status && strcmp(status, "Completed") == 0)
		return run_step_succeeded(r, &s, true, NULL, err);
	if (s.state == STEP_STOPPING && status && strcmp(status, "Stopped") == 0)
		return run_step_stopped(r, &s, err);
	if (!reason || !*reason)
		reason = status && strcmp(status, "Stopped") == 0 ? "The job was stopped." : "The job failed.";
	return run_attempt_failed(r, &s, pipeline_retry_type_of_reason(reason),
				  arena_printf(r->a, "ClientError: %s", reason), err);
}

/* The step an event is about, when the event is of its current attempt: 1, 0, < 0. */
static int current_step(struct run *r, const json_t *event, enum step_state state, struct step_row *s,
			struct error *err)
{
	int rc = step_row_load(r, (int)json_get_int(event, "step", -1), s, err);
	if (rc <= 0)
		return rc;
	return s->state == state && s->seq == json_get_int(event, "seq", -1) &&
	       s->attempts == json_get_int(event, "attempt", -1);
}

static int on_files(struct run *r, const json_t *event, struct error *err)
{
	struct step_row s;
	int rc = current_step(r, event, STEP_READING, &s, err);
	if (rc <= 0)
		return rc;
	const char *fault = json_get_text(event, "fault");
	if (fault)
		return run_attempt_failed(r, &s, "Step.SERVICE_FAULT",
					  arena_printf(r->a, "InternalServerError: %s", fault), err);
	return step_attempt(r, &s, json_object_get(event, "files"), err);
}

static int on_attempt(struct run *r, const json_t *event, struct error *err)
{
	struct step_row s;
	int rc = current_step(r, event, STEP_BACKOFF, &s, err);
	return rc <= 0 ? rc : step_attempt(r, &s, NULL, err);
}

static int on_stop(struct run *r, struct error *err)
{
	if (json_get_bool(r->state, "stopping", false))
		return 0;
	json_set_bool(r->state, "stopping", true);
	return 0;
}

/* ---- moving on ---- */

/* Stops what runs, some steps a turn. Returns 1 when more are left. */
static int stop_some(struct run *r, struct error *err)
{
	static const enum step_state running[] = { STEP_READING, STEP_BACKOFF, STEP_RUNNING };
	struct step_row s;
	int left = STOPS_PER_TURN;
	for (size_t i = 0; i < sizeof running / sizeof *running; i++) {
		for (;;) {
			int rc = step_row_first(r, running[i], &s, err);
			if (rc < 0)
				return -1;
			if (rc == 0)
				break;
			if (left-- == 0)
				return 1;
			if (step_stop(r, &s, err) < 0)
				return -1;
		}
	}
	return 0;
}

/* Starts what is ready, some steps a turn. Returns 1 when more could start. */
static int start_some(struct run *r, struct error *err)
{
	struct step_row s;
	int64_t parallel = json_get_int(r->state, "parallel", 0);
	for (int n = 0;; n++) {
		if (parallel > 0 && json_get_int(r->state, "active", 0) >= parallel)
			return 0;
		int rc = step_row_first(r, STEP_READY, &s, err);
		if (rc <= 0)
			return rc;
		if (n == STARTS_PER_TURN)
			return 1;
		if (step_begin(r, &s, err) < 0)
			return -1;
	}
}

static int finish(struct run *r, struct error *err)
{
	const char *poison = json_get_text(r->state, "poison");
	int rc;
	if (poison)
		rc = status_set(r, "Failed", poison, err);
	else if (json_get_bool(r->state, "stopping", false))
		rc = status_set(r, "Stopped", NULL, err);
	else if (json_get_bool(r->state, "failed", false))
		rc = status_set(r, "Failed", "Step failure: One or multiple steps failed.", err);
	else
		rc = status_set(r, "Succeeded", NULL, err);
	if (rc == 0)
		turn_end(r->t);
	return rc;
}

static int advance(struct run *r, struct error *err)
{
	bool stopping = json_get_bool(r->state, "stopping", false);
	int more = stopping ? stop_some(r, err) : start_some(r, err);
	if (more < 0)
		return -1;
	if (more)
		turn_send(r->t, turn_self(r->t), json_pack("{s:s}", "type", "continue"));
	else if (json_get_int(r->state, "active", 0) == 0)
		return finish(r, err);
	return 0;
}

static int on_event(struct run *r, json_t *event, struct error *err)
{
	const char *type = json_get_text(event, "type");
	if (!type)
		return 0;
	if (strcmp(type, "start") == 0)
		return on_start(r, err);
	if (strcmp(type, "job-ended") == 0)
		return on_job_ended(r, event, err);
	if (strcmp(type, "files") == 0)
		return on_files(r, event, err);
	if (strcmp(type, "attempt") == 0)
		return on_attempt(r, event, err);
	if (strcmp(type, "stop") == 0)
		return on_stop(r, err);
	if (strcmp(type, "parallel") == 0)
		json_set_int(r->state, "parallel", json_get_int(event, "parallel", 0));
	return 0;
}

/* Stops whatever runs and counts it as ended: no event is waited for any more. */
static int abandon(struct run *r, struct error *err)
{
	static const enum step_state running[] = { STEP_READING, STEP_BACKOFF, STEP_RUNNING, STEP_STOPPING };
	struct step_row s;
	for (size_t i = 0; i < sizeof running / sizeof *running; i++) {
		int rc;
		while ((rc = step_row_first(r, running[i], &s, err)) > 0) {
			CLEANUP_ERROR struct error ignored = ERROR_INIT;
			if (s.state == STEP_RUNNING && s.def->type->stop)
				s.def->type->stop(r, &s, &ignored);
			if (run_step_stopped(r, &s, err) < 0)
				return -1;
		}
		if (rc < 0)
			return -1;
	}
	return finish(r, err);
}

/* An event could not be handled for a fault of ours: nothing may hang, so what runs is stopped and the execution fails
 * saying why. */
static int on_poison(struct turn *t, json_t *state, const json_t *event, struct error *err)
{
	struct run r;
	const char *why = json_get_text(event, "message"), *id = json_get_text(state, "execution");
	const char *reason =
		arena_printf(turn_arena(t), "Internal error: %s", why ? why : "an event could not be handled");
	log_error("sagemaker", "%s: %s", turn_self(t), reason);
	json_set_text(state, "poison", reason);
	json_set_bool(state, "stopping", true);
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	int rc = run_open(&r, t, state, &ignored);
	if (rc == 0)
		rc = abandon(&r, err);
	else
		rc = db_exec(turn_db(t), err,
			     "UPDATE pipeline_execution SET status='Failed', reason=?, modified_ms=? WHERE id=?", "sis",
			     reason, turn_now_ms(t), id);
	run_release(&r);
	turn_end(t);
	return rc < 0 ? -1 : 0;
}

static int execution_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	struct run r;
	const char *type = json_get_text(event, "type");
	if (type && strcmp(type, "engine.poison") == 0)
		return on_poison(t, state, event, err);
	int rc = run_open(&r, t, state, err);
	if (rc == 0)
		rc = on_event(&r, event, err);
	if (rc == 0)
		rc = advance(&r, err);
	run_release(&r);
	return rc;
}

const struct actor_type pipeline_execution_actor = { .name = "sagemaker.pipeline-execution", .turn = execution_turn };
