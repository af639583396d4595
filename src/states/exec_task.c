/* exec_task.c - Task states: scheduling, answers, tokens, timeouts. See exec.h and integ.h.
 *
 * DESIGN: f->task holds what is needed until the answer: resource, token, deadline. Every answer names the frame and
 * its attempt; one that is not about the current attempt is dropped, so each may come twice. */
#include "states/integ.h"

#include <stdlib.h>

enum { CALL_STEPS = 200 }; /* what a call within the turn takes of its budget */

struct wire_server *integ_wire;

bool resource_parse(struct arena *a, const char *arn, struct resource *r)
{
	*r = (struct resource){ .kind = TASK_UNKNOWN, .arn = arn };
	struct str rest = str_from(arn), piece[8];
	int n = 0;
	while (n < 8 && str_split(&rest, ':', &piece[n]))
		n++;
	if (n >= 7 && str_eqz(piece[2], "lambda") && str_eqz(piece[5], "function")) {
		r->kind = TASK_LAMBDA_ARN;
		return true;
	}
	if (n < 7 || !str_eqz(piece[2], "states"))
		return false;
	if (str_eqz(piece[5], "activity") && piece[3].len) {
		r->kind = TASK_ACTIVITY;
		return true;
	}
	struct str tail = str_from(strchr(arn, ':') ? arn : "");
	for (int i = 0; i < 5; i++)
		str_split(&tail, ':', &piece[i]);
	bool sdk = str_starts(tail, STR("aws-sdk:"));
	struct str service;
	if (sdk)
		tail = str_skip(tail, 8);
	if (!str_split(&tail, ':', &service) || !tail.ptr)
		return false;
	r->kind = TASK_SERVICE;
	r->service = arena_printf(a, "%s%.*s", sdk ? "aws-sdk:" : "", STR_ARG(service));
	r->name = arena_strdup(a, tail);
	ptrdiff_t dot = str_find_char(tail, '.');
	struct str pattern = dot >= 0 ? str_skip(tail, (size_t)dot + 1) : STR_NULL;
	r->action = arena_strdup(a, dot >= 0 ? str_head(tail, (size_t)dot) : tail);
	r->pattern = str_eqz(pattern, "sync")               ? TASK_SYNC
		     : str_eqz(pattern, "sync:2")           ? TASK_SYNC2
		     : str_eqz(pattern, "waitForTaskToken") ? TASK_TOKEN
							    : TASK_REQUEST;
	return true;
}

static bool resource_of(struct exec *x, struct frame *f, struct resource *r)
{
	return resource_parse(x->a, json_get_text(f->state->doc, "Resource"), r);
}

/* ---- events ---- */

static json_t *details_of(const struct resource *r)
{
	json_t *d = json_object();
	if (r->kind == TASK_SERVICE) {
		json_set_text(d, "resourceType", r->service);
		json_set_text(d, "resource", r->name);
	}
	return d;
}

static json_t *text_value(struct exec *x, json_t *value)
{
	struct str t = exec_text(x, value);
	return json_stringn(t.ptr, t.len);
}

/* "TaskSucceeded", "LambdaFunctionSucceeded", "ActivitySucceeded". */
static void task_event(struct exec *x, struct frame *f, const struct resource *r, const char *what, json_t *details)
{
	static const char *const families[] = {
		[TASK_LAMBDA_ARN] = "LambdaFunction", [TASK_ACTIVITY] = "Activity", [TASK_SERVICE] = "Task"
	};
	static const char *const keys[] = {
		[TASK_LAMBDA_ARN] = "lambdaFunction", [TASK_ACTIVITY] = "activity", [TASK_SERVICE] = "task"
	};
	const char *type = arena_printf(x->a, "%s%s", families[r->kind], what);
	const char *key = arena_printf(x->a, "%s%sEventDetails", keys[r->kind], what);
	f->prev = history_add(x, type, f->prev, json_object_size(details) ? key : NULL, details);
}

/* ---- begin ---- */

struct limits {
	bool has_timeout, has_heartbeat;
	double timeout, heartbeat;
};

static int limits_eval(struct asl_env *env, struct frame *f, struct limits *l, struct asl_fault *fault)
{
	int rc = asl_number(env, f->state->doc, "TimeoutSeconds", f->state->jsonata, true, &l->has_timeout, &l->timeout,
			    fault);
	if (rc == ASL_OK)
		rc = asl_number(env, f->state->doc, "HeartbeatSeconds", f->state->jsonata, true, &l->has_heartbeat,
				&l->heartbeat, fault);
	return rc;
}

static int role_eval(struct asl_env *env, struct frame *f, json_t **out, struct asl_fault *fault)
{
	json_t *credentials = json_object_get(f->state->doc, "Credentials");
	*out = NULL;
	if (!credentials)
		return ASL_OK;
	return f->state->jsonata ? asl_jsonata(env, credentials, "Credentials", out, fault)
				 : asl_payload(env, credentials, "Credentials", out, fault);
}

static void scheduled(struct exec *x, struct frame *f, const struct resource *r, const struct limits *l,
		      const json_t *credentials)
{
	json_t *d = details_of(r);
	if (r->kind == TASK_SERVICE) {
		json_set_text(d, "region", x->s->o.region);
		json_object_set_new(d, "parameters", text_value(x, f->work));
	} else {
		json_set_text(d, "resource", r->arn);
		json_object_set_new(d, "input", text_value(x, f->work));
	}
	if (l->has_timeout)
		json_set_int(d, "timeoutInSeconds", (int64_t)l->timeout);
	if (l->has_heartbeat)
		json_set_int(d, "heartbeatInSeconds", (int64_t)l->heartbeat);
	if (credentials)
		json_object_set_new(d, "taskCredentials",
				    json_pack("{s:s?}", "roleArn", json_get_text(credentials, "RoleArn")));
	task_event(x, f, r, "Scheduled", d);
}

static int token_save(struct exec *x, struct frame *f, const char *token, struct error *err)
{
	int rc = db_exec(turn_db(x->t), err,
			 "INSERT INTO states_token(token, execution, frame, attempt) VALUES(?, ?, ?, ?)", "ssii", token,
			 x->arn, f->id, f->attempt);
	return rc < 0 ? -1 : 0;
}

static void internal_fault(struct exec *x, struct frame *f, struct error *err)
{
	exec_fault(x, f, "States.Runtime", error_text(err));
}

static void activity_begin(struct exec *x, struct frame *f, const struct resource *r)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = turn_db(x->t);
	struct str input = exec_text(x, f->work);
	const char *token = json_get_text(f->task, "token");
	int rc = token_save(x, f, token, &err);
	if (rc == 0)
		rc = db_exec(db, &err, "INSERT INTO states_activity_task(activity, token, input) VALUES(?, ?, ?)",
			     "ssS", r->arn, token, input);
	if (rc < 0)
		internal_fault(x, f, &err);
	else
		waiters_activity_ready(x->s, x->t, r->arn);
}

/* What writes is done here and now, the rest is an effect. */
static void request_begin(struct exec *x, struct frame *f, const struct resource *r)
{
	enum wire_way way = integ_way(x->a, r);
	if (way == WIRE_READS || way == WIRE_WAITS) {
		json_t *p = json_pack("{s:I,s:I,s:s,s:O}", "frame", (json_int_t)f->id, "attempt",
				      (json_int_t)f->attempt, "resource", r->arn, "params", f->work);
		struct integ_request q = { .arena = ARENA_INIT };
		integ_set_role(&q, x, f);
		json_set_text(p, "role", q.role);
		json_set_text(p, "through", q.through);
		json_set_text(p, "session", q.session);
		arena_release(&q.arena);
		turn_effect(x->t, "states.task",
			    arena_printf(x->a, "%s/%lld/%lld", x->arn, (long long)f->id, (long long)f->attempt), p);
		return;
	}
	x->budget -= CALL_STEPS;
	integ_in_turn(x, f, r);
}

static bool activity_exists(struct exec *x, struct frame *f, const char *arn)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_row(turn_db(x->t), &rows, &err, "SELECT 1 FROM states_activity WHERE arn=?", "s", arn) == 1)
		return true;
	exec_runtime(x, f, "The activity %s does not exist.", arn);
	return false;
}

/* An activity or a function of another region or account: it can't be scheduled. */
static bool elsewhere(struct exec *x, const struct resource *r, const char **error, const char **cause)
{
	struct str rest = str_from(r->arn), part[5];
	if (r->kind != TASK_ACTIVITY && r->kind != TASK_LAMBDA_ARN)
		return false;
	for (int i = 0; i < 5; i++)
		str_split(&rest, ':', &part[i]);
	if (str_eqz(part[3], x->s->o.region) && str_eqz(part[4], x->s->o.account))
		return false;
	*error = r->kind == TASK_ACTIVITY ? "ActivityDoesNotExist" : "Lambda.ResourceNotFoundException";
	*cause = arena_printf(x->a, "Account %.*s in %.*s can't be reached from here: %s", STR_ARG(part[4]),
			      STR_ARG(part[3]), r->arn);
	return true;
}

/* The task ends before it began. */
static void not_started(struct exec *x, struct frame *f, const struct resource *r, const char *what, const char *error,
			const char *cause)
{
	json_t *d = details_of(r);
	json_set_text(d, "error", error);
	json_set_text(d, "cause", cause);
	task_event(x, f, r, what, d);
	f->phase = PHASE_BEGIN;
	exec_fault(x, f, error, cause);
}

/* ECS tells in StartedBy who started the task, unless the definition says it. */
static void add_started_by(const struct resource *r, json_t **params)
{
	if (r->kind != TASK_SERVICE || strcmp(r->service, "ecs") != 0 || json_object_get(*params, "StartedBy"))
		return;
	json_t *with = json_copy(*params);
	json_set_text(with, "StartedBy", "AWS Step Functions");
	json_decref(*params);
	*params = with;
}

/* Nobody here does what the resource names. */
static bool absent(struct exec *x, const struct resource *r)
{
	bool nested = r->kind == TASK_SERVICE && strcmp(r->service, "states") == 0;
	return r->kind == TASK_SERVICE && !nested && integ_way(x->a, r) == WIRE_ABSENT;
}

static void start(struct exec *x, struct frame *f, const struct resource *r, const struct limits *l,
		  const json_t *credentials)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	f->attempt++;
	f->phase = PHASE_TASK;
	json_set_text(f->task, "resource", r->arn);
	json_set_text(f->task, "role", json_get_text(credentials, "RoleArn"));
	if (l->has_heartbeat)
		json_set_real(f->task, "heartbeat", l->heartbeat);
	add_started_by(r, &f->work);
	scheduled(x, f, r, l, credentials);
	int64_t due_ms = exec_later(x, l->has_timeout ? l->timeout : 99999999);
	json_set_int(f->task, "due_ms", due_ms);
	exec_timer(x, f, "t", due_ms);
	if (l->has_heartbeat)
		exec_timer(x, f, "h", exec_later(x, l->heartbeat));
	if (r->kind == TASK_ACTIVITY) {
		activity_begin(x, f, r);
		return;
	}
	if (r->kind == TASK_LAMBDA_ARN || absent(x, r)) { /* Started: when the function was taken */
		request_begin(x, f, r);
		return;
	}
	task_event(x, f, r, "Started", details_of(r));
	if (r->pattern == TASK_TOKEN && token_save(x, f, json_get_text(f->task, "token"), &err) < 0) {
		internal_fault(x, f, &err);
		return;
	}
	if (r->kind == TASK_SERVICE && strcmp(r->service, "states") == 0 && strcmp(r->action, "startExecution") == 0)
		integ_states_start(x, f, r);
	else if (integ_job_known(r))
		integ_job_start(x, f, r);
	else
		request_begin(x, f, r);
}

/* Whether the pattern is one that Quern can follow to its end. */
static bool pattern_known(const struct resource *r)
{
	bool nested = r->kind == TASK_SERVICE && strcmp(r->service, "states") == 0 &&
		      strcmp(r->action, "startExecution") == 0;
	if (r->pattern == TASK_SYNC2)
		return nested;
	return r->pattern != TASK_SYNC || nested || integ_job_known(r);
}

/* The state's resource; false: the execution fails, for Quern can't run it. */
static bool need_resource(struct exec *x, struct frame *f, struct resource *r)
{
	bool known = resource_of(x, f, r);
	if (!x->t && !x->test)
		exec_runtime(x, f, "This execution can't run Task states.");
	else if (!known)
		exec_runtime(x, f, "The resource '%s' is not supported.", r->arn);
	else if (!x->test && !pattern_known(r))
		exec_runtime(x, f, "The resource '%s' is not supported: Quern can't wait for the end of '%s'.", r->arn,
			     r->action);
	else
		return true;
	return false;
}

void exec_task_begin(struct exec *x, struct frame *f)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	struct resource r;
	struct limits l = { 0 };
	if (!need_resource(x, f, &r))
		return;
	if (!f->task && x->t) {
		f->task = json_object();
		json_set_text(f->task, "token", arena_printf(x->a, "AQ%s", turn_id(x->t, 126)));
		json_set_bool(f->task, "shows_token", r.pattern == TASK_TOKEN);
	}
	struct asl_env env = exec_env(x, f, f->input);
	CLEANUP_JSON json_t *filtered = NULL, *params = NULL, *credentials = NULL;
	int rc = exec_input(x, f, &env, &filtered, &params, &fault);
	env.input = filtered ? filtered : f->input;
	if (rc == ASL_OK)
		rc = limits_eval(&env, f, &l, &fault);
	if (rc == ASL_OK)
		rc = role_eval(&env, f, &credentials, &fault);
	if (!exec_handle(x, f, &env, rc, &fault))
		return;
	exec_env_done(&env);
	json_decref(f->memo);
	f->memo = NULL;
	const char *field = json_object_get(f->state->doc, "Parameters")  ? "Parameters"
			    : json_object_get(f->state->doc, "Arguments") ? "Arguments"
									  : NULL;
	const char *stranger = field ? integ_sdk_stranger(x->a, &r, params) : NULL;
	if (stranger) {
		exec_runtime(x, f,
			     "The %s '%s' could not be used to start the Task: [The field \"%s\" is not supported by "
			     "Step Functions]",
			     field, asl_text(x->a, params).ptr, stranger);
		return;
	}
	if (x->test) {
		json_decref(f->work);
		f->work = json_incref(params);
		test_work(x, f);
		return;
	}
	const char *error, *cause;
	if (elsewhere(x, &r, &error, &cause)) {
		not_started(x, f, &r, "ScheduleFailed", error, cause);
		return;
	}
	if (r.kind == TASK_ACTIVITY && !activity_exists(x, f, r.arn))
		return;
	json_decref(f->work);
	f->work = json_incref(params);
	start(x, f, &r, &l, credentials);
}

/* ---- answers ---- */

/* The task is over: its timers and token go. */
static void settle(struct exec *x, struct frame *f)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *token = json_get_text(f->task, "token");
	exec_timer(x, f, "t", 0);
	exec_timer(x, f, "h", 0);
	if (!token || !x->t)
		return;
	db_exec(turn_db(x->t), &err, "DELETE FROM states_token WHERE token=?", "s", token);
	struct resource r;
	if (resource_of(x, f, &r) && r.kind == TASK_ACTIVITY)
		db_exec(turn_db(x->t), &err, "DELETE FROM states_activity_task WHERE token=?", "s", token);
	f->attempt++;
}

void exec_task_cancel(struct exec *x, struct frame *f)
{
	struct resource r;
	if (!x->t)
		return;
	if (resource_of(x, f, &r) && (r.pattern == TASK_SYNC || r.pattern == TASK_SYNC2)) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		const char *child = json_get_text(f->task, "child");
		int64_t stop_ms;
		if (child)
			execution_stop(x->s, x->t, child, NULL, NULL, &stop_ms, &err);
		else
			integ_job_stop(x, f, &r);
	}
	settle(x, f);
}

static void succeeded(struct exec *x, struct frame *f, const struct resource *r, json_t *output)
{
	json_t *d = details_of(r);
	const char *what = r->kind == TASK_SERVICE ? r->action : r->arn;
	if (r->kind == TASK_SERVICE && strcmp(r->service, "lambda") == 0)
		what = "lambda";
	if (!asl_fits(output, (size_t)states_quota.payload_bytes)) {
		const char *cause = arena_printf(x->a,
						 "The state/task '%s' returned a result with a size exceeding the "
						 "maximum number of bytes service limit.",
						 what);
		json_set_text(d, "error", "States.DataLimitExceeded");
		json_set_text(d, "cause", cause);
		settle(x, f);
		task_event(x, f, r, "Failed", d);
		f->phase = PHASE_BEGIN;
		exec_fault(x, f, "States.DataLimitExceeded", cause);
		return;
	}
	json_object_set_new(d, "output", text_value(x, output));
	settle(x, f);
	task_event(x, f, r, "Succeeded", d);
	json_decref(f->work);
	f->work = NULL;
	exec_result(x, f, json_incref(output));
}

static void failed(struct exec *x, struct frame *f, const struct resource *r, const char *what, const char *error,
		   const char *cause)
{
	json_t *d = details_of(r);
	json_set_text(d, "error", error);
	json_set_text(d, "cause", cause);
	settle(x, f);
	task_event(x, f, r, what, d);
	f->phase = PHASE_BEGIN;
	exec_fault(x, f, error, cause);
}

static void submitted(struct exec *x, struct frame *f, const struct resource *r, json_t *output)
{
	json_t *d = details_of(r);
	json_object_set_new(d, "output", text_value(x, output));
	task_event(x, f, r, "Submitted", d);
	json_object_set(f->task, "submitted", output);
	const json_t *early = json_object_get(f->task, "early");
	if (early) {
		CLEANUP_JSON json_t *event = json_incref((json_t *)early);
		json_object_del(f->task, "early");
		exec_task_event(x, f, event);
	}
}

static void function_started(struct exec *x, struct frame *f, const struct resource *r)
{
	if (r->kind != TASK_LAMBDA_ARN || json_get_bool(f->task, "started", false))
		return;
	json_set_bool(f->task, "started", true);
	task_event(x, f, r, "Started", details_of(r));
}

static void on_answer(struct exec *x, struct frame *f, const struct resource *r, const json_t *event)
{
	json_t *output = json_object_get(event, "output");
	bool refused = json_get_bool(event, "refused", false);
	if (!refused)
		function_started(x, f, r);
	if (refused && (r->kind == TASK_LAMBDA_ARN || absent(x, r)))
		failed(x, f, r, "StartFailed", json_get_text(event, "error"), json_get_text(event, "cause"));
	else if (!output)
		failed(x, f, r, r->pattern == TASK_REQUEST ? "Failed" : "SubmitFailed", json_get_text(event, "error"),
		       json_get_text(event, "cause"));
	else if (r->pattern == TASK_REQUEST)
		succeeded(x, f, r, output);
	else
		submitted(x, f, r, output);
}

/* What a `.sync` state waited for has ended, or a token's owner has spoken. */
static void on_end(struct exec *x, struct frame *f, const struct resource *r, const json_t *event)
{
	json_t *output = json_object_get(event, "output");
	if (output)
		succeeded(x, f, r, output);
	else
		failed(x, f, r, "Failed", json_get_text(event, "error"), json_get_text(event, "cause"));
}

static void on_token(struct exec *x, struct frame *f, const struct resource *r, const json_t *event)
{
	if (r->kind == TASK_SERVICE && !json_object_get(f->task, "submitted")) {
		json_object_set_new(f->task, "early", json_deep_copy(event));
		return;
	}
	on_end(x, f, r, event);
}

void exec_task_event(struct exec *x, struct frame *f, const json_t *event)
{
	struct resource r;
	const char *type = json_get_text(event, "type");
	if (f->phase != PHASE_TASK || !resource_of(x, f, &r))
		return;
	if (strcmp(type, "task") == 0)
		on_answer(x, f, &r, event);
	else if (strcmp(type, "started") == 0)
		function_started(x, f, &r);
	else if (strcmp(type, "token") == 0)
		on_token(x, f, &r, event);
	else if (strcmp(type, "ended") == 0)
		on_end(x, f, &r, event);
	else if (strcmp(type, "child-ended") == 0)
		integ_states_ended(x, f, event);
	else if (strcmp(type, "submitted") == 0)
		submitted(x, f, &r, json_object_get(event, "output"));
	else if (strcmp(type, "worker") == 0)
		f->prev = history_add(x, "ActivityStarted", f->prev, "activityStartedEventDetails",
				      json_pack("{s:s*}", "workerName", json_get_text(event, "worker")));
	else if (strcmp(type, "heartbeat") == 0 && json_get(f->task, "heartbeat"))
		exec_timer(x, f, "h", exec_later(x, json_get_real(f->task, "heartbeat", 0)));
}

void exec_job_ended(struct exec *x, const char *arn)
{
	struct resource r;
	struct frame *f = integ_job_frame(x, arn);
	if (f && resource_of(x, f, &r))
		integ_job_ended(x, f, &r);
}

static void timed_out(struct exec *x, struct frame *f)
{
	struct resource r;
	if (!resource_of(x, f, &r))
		return;
	json_t *d = details_of(&r);
	json_set_text(d, "error", "States.Timeout");
	exec_task_cancel(x, f);
	task_event(x, f, &r, "TimedOut", d);
}

static int by_id(const void *a, const void *b)
{
	const struct frame *p = *(struct frame *const *)a, *q = *(struct frame *const *)b;
	return p->id < q->id ? -1 : p->id > q->id;
}

/* Tasks whose time is over at the same instant are all told so before the first of them fails its branches (as recorded
 * on AWS). */
void exec_task_timer(struct exec *x, struct frame *f, const json_t *event)
{
	const char *kind = json_get_text(event, "kind");
	if (f->phase != PHASE_TASK || (strcmp(kind, "t") != 0 && strcmp(kind, "h") != 0))
		return;
	struct frame **over = arena_alloc(x->a, x->nframes * sizeof(*over));
	size_t n = 0;
	for (size_t i = 0; i < x->nframes; i++) {
		struct frame *w = x->frames[i];
		if (w == f || (w->phase == PHASE_TASK && json_get_int(w->task, "due_ms", INT64_MAX) <= x->now_ms))
			over[n++] = w;
	}
	qsort(over, n, sizeof(*over), by_id);
	for (size_t i = 0; i < n; i++)
		timed_out(x, over[i]);
	for (size_t i = 0; i < n; i++) {
		if (over[i]->gone)
			continue;
		over[i]->phase = PHASE_BEGIN;
		exec_fault(x, over[i], "States.Timeout", NULL);
	}
}
