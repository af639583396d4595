/* job_actor.c - the life of a job, one event at a time.
 *
 * DESIGN: see job_impl.h. The row's document is what clients see; the actor's state holds only what the next turns
 * need: { "kind", "name", "phase": "new"|"starting"|"waiting"|"running"|"uploading", "task", "stop": bool, "tries",
 * "attempt", "start": payload until the executor has the task, "logs": [paths], "started_ms", "outcome": {...},
 * "uploads": [...], "at": n } Events may come in any order that a crash allows ("started" before "accepted", "stopped"
 * twice): each is taken by what it says. */
#include "sagemaker/job_impl.h"

#define UPLOAD_BATCH 1000
#define RETRY_FIRST_MS 1000
#define RETRY_LAST_MS 30000
#define TRIES_MAX 40 /* about a quarter of an hour without an executor */

static struct sagemaker *room;

void job_actor_bind(struct sagemaker *s)
{
	room = s;
}

struct job_turn {
	struct turn *t;
	struct arena *a;
	json_t *state;
	struct job *job;
	const struct job_type *type;
	int64_t now_ms;
	bool ended; /* saved and gone */
};

/* ---- secondary status (training jobs) ---- */

void job_transition(struct job *j, const char *status, const char *message, int64_t now_ms)
{
	if (j->type->kind != JOB_TRAINING)
		return;
	json_t *list = json_get(j->doc, "SecondaryStatusTransitions");
	if (!list) {
		list = json_array();
		json_object_set_new(j->doc, "SecondaryStatusTransitions", list);
	}
	json_t *last = json_array_get(list, json_array_size(list) - 1);
	json_set_text(j->doc, "SecondaryStatus", status);
	if (last && str_eqz(json_get_str(last, "Status"), status)) {
		json_set_text(last, "StatusMessage", message);
		return;
	}
	if (last && !json_get(last, "EndTime"))
		job_set_time(last, "EndTime", now_ms);
	json_t *next = json_object();
	json_set_text(next, "Status", status);
	job_set_time(next, "StartTime", now_ms);
	json_set_text(next, "StatusMessage", message);
	json_array_append_new(list, next);
}

/* Nothing moves a job that is on its way down. */
static void progress(struct job_turn *jt, const char *status, const char *message)
{
	if (str_eqz(str_from(job_status(jt->job)), "InProgress"))
		job_transition(jt->job, status, message, jt->now_ms);
}

/* ---- the end ---- */

static void set_times(struct job_turn *jt)
{
	json_t *doc = jt->job->doc;
	int64_t started = json_get_int(jt->state, "started_ms", 0);
	job_set_time(doc, jt->type->end_key, jt->now_ms);
	if (!started)
		return;
	job_set_time(doc, jt->type->start_key, started);
	if (jt->type->kind != JOB_TRAINING)
		return;
	int64_t seconds = (jt->now_ms - started + 999) / 1000;
	json_set_int(doc, "TrainingTimeInSeconds", seconds > 0 ? seconds : 0);
	json_set_int(doc, "BillableTimeInSeconds", seconds > 0 ? seconds : 0);
}

static void tell_parent(struct job_turn *jt, const char *status, const char *reason)
{
	if (!jt->job->parent)
		return;
	json_t *e = json_object();
	json_set_text(e, "type", "job-ended");
	json_set_text(e, "kind", jt->type->kind_name);
	json_set_text(e, "name", jt->job->name);
	json_set_text(e, "arn", jt->job->arn);
	json_set_text(e, "status", status);
	json_object_set_new(e, "reason", reason ? json_string(reason) : json_null());
	turn_send(jt->t, jt->job->parent, e);
}

static int end_job(struct job_turn *jt, const struct job_outcome *o, struct error *err)
{
	json_t *doc = jt->job->doc;
	const char *secondary = o->timeout ? "MaxRuntimeExceeded" : o->status;
	const char *message = o->timeout ? "Training job runtime exceeded MaxRuntimeInSeconds provided"
			      : str_eqz(str_from(o->status), "Completed") ? "Training job completed"
			      : str_eqz(str_from(o->status), "Failed")    ? "Training job failed"
									  : "Training job stopped";
	job_transition(jt->job, secondary, message, jt->now_ms);
	if (jt->type->kind == JOB_TRAINING) {
		json_t *list = json_get(doc, "SecondaryStatusTransitions");
		job_set_time(json_array_get(list, json_array_size(list) - 1), "EndTime", jt->now_ms);
	}
	json_set_text(doc, jt->type->status_key, o->status);
	json_set_text(doc, "FailureReason", o->reason);
	set_times(jt);
	if (job_save(jt->t, jt->job, err) < 0)
		return -1;
	tell_parent(jt, o->status, o->reason);
	turn_end(jt->t);
	jt->ended = true;
	return 0;
}

static int end_failed(struct job_turn *jt, const char *reason, struct error *err)
{
	return end_job(jt, &(struct job_outcome){ .status = "Failed", .reason = reason }, err);
}

static int end_stopped(struct job_turn *jt, struct error *err)
{
	return end_job(jt, &(struct job_outcome){ .status = "Stopped" }, err);
}

/* ---- starting ---- */

static json_t *event_of(const char *type)
{
	json_t *e = json_object();
	json_set_text(e, "type", type);
	return e;
}

static void ask_start(struct job_turn *jt)
{
	int64_t n = json_get_int(jt->state, "tries", 0);
	json_set_int(jt->state, "tries", n + 1);
	json_set_text(jt->state, "phase", "starting");
	const char *id = arena_printf(jt->a, "%s/start/%lld", json_get_text(jt->state, "task"), (long long)n);
	turn_effect(jt->t, "sagemaker.job-start", id, json_incref(json_get(jt->state, "start")));
}

/* `remove`: nothing more is expected of the task; its stage may go. */
static void ask_stop(struct job_turn *jt, bool remove)
{
	json_t *payload = json_object();
	if (!json_get(jt->state, "task"))
		return;
	json_set_text(payload, "task", json_get_text(jt->state, "task"));
	json_set_bool(payload, "remove", remove);
	turn_effect(jt->t, "sagemaker.job-stop",
		    arena_printf(jt->a, "%s/stop/%s", json_get_text(jt->state, "task"), turn_id(jt->t, 8)), payload);
}

static json_t *log_paths(const json_t *payload)
{
	json_t *list = json_array(), *c;
	size_t i;
	json_array_foreach (json_get_path(payload, "spec.containers"), i, c)
		json_array_append(list, json_get(c, "log"));
	return list;
}

/* Plans the task and hands it to a worker. */
static int begin(struct job_turn *jt, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	if (json_get_bool(jt->state, "stop", false))
		return end_stopped(jt, err);
	const char *task = arena_printf(jt->a, "%s%s", jt->type->task_prefix, turn_id(jt->t, 20));
	json_t *payload = job_plan_make(room, jt->t, jt->job, task, &why);
	if (!payload && !*why.code)
		return error_move(err, &why);
	if (!payload)
		return end_failed(jt, job_reason(jt->a, "ClientError: %s", error_text(&why)), err);
	json_set_text(jt->state, "task", task);
	json_set_int(jt->state, "tries", 0);
	json_object_set_new(jt->state, "start", payload);
	json_object_set_new(jt->state, "logs", log_paths(payload));
	progress(jt, "Starting", "Preparing the instances for training");
	ask_start(jt);
	return 0;
}

/* The end of a job whose task may or may not be with the executor. */
static int give_up(struct job_turn *jt, const char *reason, struct error *err)
{
	ask_stop(jt, true);
	return reason ? end_failed(jt, reason, err) : end_stopped(jt, err);
}

static int on_start_retry(struct job_turn *jt, const json_t *event, struct error *err)
{
	int64_t tries = json_get_int(jt->state, "tries", 0), wait = RETRY_FIRST_MS << (tries < 6 ? tries : 6);
	if (!str_eqz(json_get_str(jt->state, "phase"), "starting"))
		return 0; /* it had the task all the same */
	if (json_get_bool(jt->state, "stop", false))
		return give_up(jt, NULL, err);
	job_note(jt->job, arena_printf(jt->a, "the executor could not be reached: %s", json_get_text(event, "error")));
	if (tries >= TRIES_MAX)
		return give_up(jt, JOB_INTERNAL_ERROR, err);
	json_set_text(jt->state, "phase", "waiting");
	turn_timer(jt->t, "start", jt->now_ms + (wait > RETRY_LAST_MS ? RETRY_LAST_MS : wait), event_of("start-again"));
	return 0;
}

static int on_start_failed(struct job_turn *jt, const json_t *event, struct error *err)
{
	const char *reason = json_get_text(event, "reason");
	if (json_get_bool(jt->state, "stop", false) || json_get_bool(event, "stopped", false))
		return end_stopped(jt, err);
	if (json_get_text(event, "note"))
		job_note(jt->job, json_get_text(event, "note"));
	return end_failed(jt, reason ? job_reason(jt->a, "%s", reason) : JOB_INTERNAL_ERROR, err);
}

static void on_accepted(struct job_turn *jt)
{
	json_object_del(jt->state, "start");
	if (str_eqz(json_get_str(jt->state, "phase"), "starting"))
		json_set_text(jt->state, "phase", "running");
	if (json_get_bool(jt->state, "stop", false))
		ask_stop(jt, false);
}

static int on_stop(struct job_turn *jt, struct error *err)
{
	struct str phase = json_get_str(jt->state, "phase");
	json_set_bool(jt->state, "stop", true);
	if (str_eqz(phase, "waiting"))
		return give_up(jt, NULL, err);
	if (!str_eqz(phase, "uploading") && !str_eqz(phase, "new"))
		ask_stop(jt, false);
	return 0;
}

/* ---- the task's events ---- */

static void take_notes(struct job_turn *jt, const json_t *event)
{
	size_t i;
	json_t *note;
	json_array_foreach (json_get(event, "notes"), i, note)
		if (json_is_string(note))
			job_note(jt->job, json_string_value(note));
}

static void on_task_started(struct job_turn *jt, int64_t at_ms)
{
	json_set_int(jt->state, "started_ms", at_ms);
	json_set_text(jt->state, "phase", "running");
	job_set_time(jt->job->doc, jt->type->start_key, at_ms);
	progress(jt, "Training", "Training image download completed. Training in progress.");
}

/* One slice of the uploads, or (with none left) only metrics and tidying. */
static void ask_finish(struct job_turn *jt)
{
	json_t *uploads = json_get(jt->state, "uploads"), *slice = json_array(), *payload = json_object();
	size_t at = (size_t)json_get_int(jt->state, "at", 0), n = json_array_size(uploads);
	for (size_t i = at; i < n && i < at + UPLOAD_BATCH; i++)
		json_array_append(slice, json_array_get(uploads, i));
	json_set_text(payload, "kind", jt->type->kind_name);
	json_set_text(payload, "name", jt->job->name);
	json_set_text(payload, "task", json_get_text(jt->state, "task"));
	json_set_text(payload, "role", json_get_text(jt->job->doc, "RoleArn"));
	json_set_int(payload, "at", (int64_t)at);
	json_set_bool(payload, "last", at + UPLOAD_BATCH >= n);
	json_object_set_new(payload, "uploads", slice);
	json_object_set(payload, "logs", json_get(jt->state, "logs"));
	turn_effect(jt->t, "sagemaker.job-finish",
		    arena_printf(jt->a, "%s/finish/%zu", json_get_text(jt->state, "task"), at), payload);
}

/* The outputs are in the store: the task's files may go. */
static void ask_clean(struct job_turn *jt)
{
	const char *task = json_get_text(jt->state, "task");
	json_t *payload = json_object();
	json_set_text(payload, "task", task);
	turn_effect(jt->t, "sagemaker.job-clean", arena_printf(jt->a, "%s/clean", task), payload);
}

static bool may_retry(struct job_turn *jt, const struct job_outcome *o)
{
	int64_t max = json_get_int(json_get(jt->job->doc, "RetryStrategy"), "MaximumRetryAttempts", 0);
	return o->internal && json_get_int(jt->state, "attempt", 0) < max;
}

static int retry(struct job_turn *jt, struct error *err)
{
	json_set_int(jt->state, "attempt", json_get_int(jt->state, "attempt", 0) + 1);
	json_set_text(jt->state, "phase", "new");
	json_object_del(jt->state, "started_ms");
	progress(jt, "Restarting", "Restarting the training job");
	return begin(jt, err);
}

static int on_task_stopped(struct job_turn *jt, const json_t *event, struct error *err)
{
	const char *command = jt->type->kind == JOB_TRAINING ? "train" : "";
	struct job_outcome o = job_outcome_of(jt->a, event, json_get_bool(jt->state, "stop", false), command);
	take_notes(jt, event);
	if (json_get_int(event, "started_at", 0))
		json_set_int(jt->state, "started_ms", json_get_int(event, "started_at", 0));
	if (o.internal && json_get_text(event, "error"))
		job_note(jt->job, json_get_text(event, "error"));
	if (may_retry(jt, &o))
		return retry(jt, err);
	if (jt->type->kind == JOB_PROCESSING)
		json_set_text(jt->job->doc, "ExitMessage", job_text_of(event, "message"));
	json_t *outcome = json_object();
	json_set_text(outcome, "status", o.status);
	json_set_text(outcome, "reason", o.reason);
	json_set_bool(outcome, "timeout", o.timeout);
	json_object_del(jt->state, "start");
	json_object_set_new(jt->state, "outcome", outcome);
	json_t *uploads = job_uploads(jt->a, jt->job, event, &o);
	json_object_set_new(jt->state, "uploads", uploads);
	if (jt->type->kind == JOB_PROCESSING && json_array_size(uploads) == 0) { /* nothing to upload, no metrics */
		ask_clean(jt);
		return end_job(jt, &o, err);
	}
	json_set_int(jt->state, "at", 0);
	json_set_text(jt->state, "phase", "uploading");
	job_transition(jt->job, "Uploading", "Uploading generated training model", jt->now_ms);
	ask_finish(jt);
	return 0;
}

static int on_task(struct job_turn *jt, const json_t *event, struct error *err)
{
	struct str type = json_get_str(event, "type");
	if (!str_eqz(json_get_str(event, "task"), json_get_text(jt->state, "task")) ||
	    str_eqz(json_get_str(jt->state, "phase"), "uploading"))
		return 0; /* of an earlier attempt, or told again */
	if (str_eqz(type, "started"))
		on_task_started(jt, json_get_int(event, "at", jt->now_ms));
	else if (str_eqz(type, "queued"))
		progress(jt, "Pending", "Waiting for CPUs and memory on this machine");
	else if (str_eqz(type, "stopped"))
		return on_task_stopped(jt, event, err);
	return 0;
}

/* ---- finishing ---- */

/* The prepared bodies of a slice become objects. A failed upload turns the outcome. */
static int commit_uploads(struct job_turn *jt, const json_t *event, struct error *err)
{
	json_t *bodies = json_get(event, "bodies"), *body, *outcome = json_get(jt->state, "outcome");
	size_t i, at = (size_t)json_get_int(event, "at", 0);
	const char *failed = json_get_text(event, "error");
	json_array_foreach (bodies, i, body) {
		CLEANUP_ERROR struct error why = ERROR_INIT;
		const json_t *u = json_array_get(json_get(jt->state, "uploads"), at + i);
		if (!json_is_object(body))
			continue; /* an empty archive */
		if (s3_commit(jt->t, json_get_str(u, "bucket"), json_get_str(u, "key"), body, "binary/octet-stream",
			      &why) >= 0)
			continue;
		if (!*why.code)
			return error_move(err, &why);
		failed = arena_printf(jt->a, "%s (bucket %s)", error_text(&why), json_get_text(u, "bucket"));
		break;
	}
	if (failed) {
		json_set_text(outcome, "status", "Failed");
		json_set_text(outcome, "reason", job_reason(jt->a, "ClientError: Artifact upload failed: %s", failed));
		json_set_bool(outcome, "timeout", false);
	}
	return failed != NULL;
}

static void set_results(struct job_turn *jt, const json_t *event, const struct job_outcome *o)
{
	json_t *doc = jt->job->doc, *metrics = json_get(event, "metrics");
	if (json_array_size(metrics))
		json_object_set(doc, "FinalMetricDataList", metrics);
	if (str_eqz(str_from(o->status), "Failed"))
		return;
	json_t *artifacts = json_object();
	json_set_text(artifacts, "S3ModelArtifacts", job_model_uri(jt->a, doc, jt->job->name));
	json_object_set_new(doc, "ModelArtifacts", artifacts);
}

static int on_finished(struct job_turn *jt, const json_t *event, struct error *err)
{
	json_t *outcome = json_get(jt->state, "outcome");
	if (!outcome || json_get_int(event, "at", -1) != json_get_int(jt->state, "at", 0))
		return 0;
	int rc = commit_uploads(jt, event, err);
	if (rc < 0)
		return -1;
	if (rc == 0 && !json_get_bool(event, "last", true)) {
		json_set_int(jt->state, "at", json_get_int(jt->state, "at", 0) + UPLOAD_BATCH);
		ask_finish(jt);
		return 0;
	}
	struct job_outcome o = { .status = json_get_text(outcome, "status"),
				 .reason = json_get_text(outcome, "reason"),
				 .timeout = json_get_bool(outcome, "timeout", false) };
	if (jt->type->kind == JOB_TRAINING)
		set_results(jt, event, &o);
	ask_clean(jt);
	return end_job(jt, &o, err);
}

/* ---- the turn ---- */

static int dispatch(struct job_turn *jt, const json_t *event, struct error *err)
{
	struct str type = json_get_str(event, "type");
	bool started = json_get_int(jt->state, "started_ms", 0) != 0;
	if (str_eqz(type, "start"))
		return begin(jt, err);
	if (str_eqz(type, "staging") && !started)
		progress(jt, "Downloading", "Downloading input data");
	else if (str_eqz(type, "accepted"))
		on_accepted(jt);
	else if (str_eqz(type, "start-retry"))
		return on_start_retry(jt, event, err);
	else if (str_eqz(type, "start-again") && str_eqz(json_get_str(jt->state, "phase"), "waiting"))
		ask_start(jt);
	else if (str_eqz(type, "start-failed"))
		return on_start_failed(jt, event, err);
	else if (str_eqz(type, "stop"))
		return on_stop(jt, err);
	else if (str_eqz(type, "task"))
		return on_task(jt, json_get(event, "event"), err);
	else if (str_eqz(type, "finished"))
		return on_finished(jt, event, err);
	else if (str_eqz(type, "engine.poison"))
		return give_up(jt, JOB_INTERNAL_ERROR, err);
	return 0;
}

static int run_turn(const struct job_type *type, struct turn *t, json_t *state, json_t *event, struct error *err)
{
	CLEANUP_JOB struct job j = JOB_INIT;
	int rc = job_load(turn_db(t), turn_arena(t), type, json_get_text(state, "name"), &j, err);
	if (rc < 0)
		return -1;
	if (rc == 0) {
		turn_end(t);
		return 0;
	}
	struct job_turn jt = {
		.t = t, .a = turn_arena(t), .state = state, .job = &j, .type = type, .now_ms = turn_now_ms(t)
	};
	if (dispatch(&jt, event, err) < 0)
		return -1;
	return jt.ended ? 0 : job_save(t, &j, err);
}

int job_turn_processing(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	return run_turn(&job_processing, t, state, event, err);
}

int job_turn_training(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	return run_turn(&job_training, t, state, event, err);
}
