/* exec.c - frames, the loop over them, faults, the end, and an execution as JSON. See exec.h.
 *
 * DESIGN: frames live in the turn's arena; what they hold is released when they are dropped. Runnable frames wait in a
 * fifo, so branches advance side by side. */
#include "states/exec.h"

#include <stdarg.h>
#include <stdlib.h>

enum { STEPS_PER_TURN = 4000, WORK_A_STEP = 100 };

void exec_init(struct exec *x, struct states *s, struct arena *a)
{
	*x = (struct exec){ .s = s,
			    .a = a,
			    .next_frame = 1,
			    .next_event = 1,
			    .first_event = 1,
			    .budget = STEPS_PER_TURN,
			    .record = true };
}

static void frame_clear(struct frame *f)
{
	json_t **held[] = { &f->input, &f->vars, &f->work, &f->result, &f->retries, &f->task, &f->item, &f->memo };
	for (size_t i = 0; i < sizeof(held) / sizeof(*held); i++) {
		json_decref(*held[i]);
		*held[i] = NULL;
	}
	free(f->fault.error);
	free(f->fault.cause);
	f->fault.error = f->fault.cause = NULL;
}

void exec_release(struct exec *x)
{
	for (size_t i = 0; i < x->nframes; i++)
		frame_clear(x->frames[i]);
	for (size_t i = 0; i < sizeof(x->texts) / sizeof(*x->texts); i++)
		json_decref(x->texts[i].value);
	free(x->frames);
	free(x->buckets);
	free(x->queue);
	json_decref(x->facts);
	json_decref(x->input);
	json_decref(x->context_base);
	json_decref(x->output);
	json_decref(x->redrive);
	free(x->error);
	free(x->cause);
	buf_release(&x->lines);
}

/* ---- frames ---- */

/* cap is a power of two. */
static struct frame **bucket_of(struct exec *x, int64_t id)
{
	return &x->buckets[(size_t)id & (x->cap - 1)];
}

static void bucket_add(struct exec *x, struct frame *f)
{
	struct frame **bucket = bucket_of(x, f->id);
	f->same_bucket = *bucket;
	*bucket = f;
}

static void frames_grow(struct exec *x)
{
	x->cap = x->cap ? x->cap * 2 : 8;
	x->frames = mem_realloc(x->frames, x->cap * sizeof(*x->frames));
	free(x->buckets);
	x->buckets = mem_calloc(x->cap, sizeof(*x->buckets));
	for (size_t i = 0; i < x->nframes; i++)
		bucket_add(x, x->frames[i]);
}

static void frame_remove(struct exec *x, struct frame *f)
{
	struct frame **at = bucket_of(x, f->id);
	while (*at != f)
		at = &(*at)->same_bucket;
	*at = f->same_bucket;
	x->frames[f->slot] = x->frames[--x->nframes];
	x->frames[f->slot]->slot = f->slot;
	if (f->parent)
		f->parent->children--;
}

static struct frame *frame_add(struct exec *x, struct frame *parent, int64_t id, int64_t index,
			       const struct asl_states *scope)
{
	struct frame *f = ARENA_NEW(x->a, struct frame);
	f->id = id;
	f->parent = parent;
	f->index = index;
	f->scope = scope;
	f->slot = x->nframes;
	if (x->nframes == x->cap)
		frames_grow(x);
	x->frames[x->nframes++] = f;
	bucket_add(x, f);
	if (parent)
		parent->children++;
	return f;
}

struct frame *exec_frame_new(struct exec *x, struct frame *parent, int64_t index, const struct asl_states *scope,
			     json_t *input)
{
	struct frame *f = frame_add(x, parent, x->next_frame++, index, scope);
	f->state = asl_find(scope, scope->start_at);
	f->input = json_incref(input);
	if (parent) {
		f->vars = json_incref(parent->vars);
		f->prev = parent->prev;
	}
	exec_ready(x, f);
	return f;
}

struct frame *exec_frame(struct exec *x, int64_t id)
{
	struct frame *f = x->cap ? *bucket_of(x, id) : NULL;
	while (f && f->id != id)
		f = f->same_bucket;
	return f;
}

static void frame_cancel(struct exec *x, struct frame *f)
{
	if (f->phase == PHASE_TASK)
		exec_task_cancel(x, f);
	else if (f->phase == PHASE_WAIT || f->phase == PHASE_RETRY)
		exec_timer(x, f, "w", 0);
	else if (exec_distributed_runs(f))
		exec_distributed_cancel(x, f);
}

void exec_frame_drop(struct exec *x, struct frame *f)
{
	for (size_t i = x->nframes; f->children && i-- > 0;) {
		if (i < x->nframes && x->frames[i]->parent == f)
			exec_frame_drop(x, x->frames[i]);
	}
	if (f->gone)
		return;
	frame_cancel(x, f);
	f->gone = true;
	frame_remove(x, f);
	frame_clear(f);
}

void exec_ready(struct exec *x, struct frame *f)
{
	if (f->queued || f->gone)
		return;
	f->queued = true;
	if (x->tail == x->queue_cap && x->head) {
		memmove(x->queue, x->queue + x->head, (x->tail - x->head) * sizeof(*x->queue));
		x->tail -= x->head;
		x->head = 0;
	}
	if (x->tail == x->queue_cap) {
		x->queue_cap = x->queue_cap ? x->queue_cap * 2 : 16;
		x->queue = mem_realloc(x->queue, x->queue_cap * sizeof(*x->queue));
	}
	x->queue[x->tail++] = f;
}

bool exec_tired(struct exec *x)
{
	x->budget -= (int)((asl_work - x->work) / WORK_A_STEP);
	x->work = asl_work;
	return x->budget <= 0;
}

bool exec_run(struct exec *x)
{
	x->work = asl_work;
	while (x->head != x->tail && x->status == EXEC_RUNNING) {
		x->budget--;
		if (exec_tired(x))
			return true;
		struct frame *f = x->queue[x->head++];
		if (x->head == x->tail)
			x->head = x->tail = 0;
		f->queued = false;
		if (f->gone)
			continue;
		if (x->record && !x->express && x->next_event > states_quota.history_events) {
			exec_end(x, EXEC_FAILED, NULL, "States.Runtime",
				 "The execution reached the maximum number of history events (25000).", f->prev);
			break;
		}
		exec_step(x, f);
	}
	return x->too_long;
}

/* ---- begin and end ---- */

void exec_begin(struct exec *x)
{
	json_t *d = json_object();
	json_object_set_new(d, "input", json_stringn(x->input_text.ptr, x->input_text.len));
	json_set_text(d, "roleArn", x->role);
	json_set_text(d, "stateMachineAliasArn", json_get_text(x->facts, "alias"));
	json_set_text(d, "stateMachineVersionArn", json_get_text(x->facts, "version"));
	int64_t id = history_add(x, "ExecutionStarted", 0, "executionStartedEventDetails", d);
	struct frame *root = exec_frame_new(x, NULL, 0, x->m->top, x->input);
	root->prev = id;
}

void exec_end(struct exec *x, enum exec_status status, json_t *output, const char *error, const char *cause,
	      int64_t prev)
{
	static const char *const types[] = { "", "ExecutionSucceeded", "ExecutionFailed", "ExecutionTimedOut",
					     "ExecutionAborted" };
	static const char *const keys[] = { "", "executionSucceededEventDetails", "executionFailedEventDetails",
					    "executionTimedOutEventDetails", "executionAbortedEventDetails" };
	if (x->status != EXEC_RUNNING)
		return;
	x->status = status;
	for (size_t i = 0; i < x->nframes; i++)
		if (exec_distributed_runs(x->frames[i]))
			prev = history_add(x, "MapRunAborted", x->frames[i]->prev, NULL, NULL);
	json_t *d;
	if (status == EXEC_SUCCEEDED) {
		x->output = output;
		x->output_text = exec_text(x, output);
		d = json_pack("{s:o}", "output", json_stringn(x->output_text.ptr, x->output_text.len));
	} else {
		x->error = error ? mem_strdup(error) : NULL;
		x->cause = cause ? mem_strdup(cause) : NULL;
		d = history_error(x->error, x->cause);
	}
	history_add(x, types[status], prev, keys[status], d);
	if (status != EXEC_SUCCEEDED && !x->redrive)
		exec_snapshot(x, NULL);
	while (x->nframes)
		exec_frame_drop(x, x->frames[x->nframes - 1]);
}

void exec_frame_done(struct exec *x, struct frame *f, json_t *output)
{
	if (f->parent)
		exec_child_done(x, f->parent, f, output);
	else
		exec_end(x, EXEC_SUCCEEDED, output, NULL, NULL, f->prev);
}

void exec_result(struct exec *x, struct frame *f, json_t *result)
{
	json_decref(f->result);
	f->result = result;
	f->phase = PHASE_RESULT;
	exec_ready(x, f);
}

/* ---- faults ---- */

static void fail_up(struct exec *x, struct frame *f, const char *error, const char *cause)
{
	if (!x->redrive)
		exec_snapshot(x, f);
	if (f->parent)
		exec_child_failed(x, f->parent, f, error, cause);
	else
		exec_end(x, EXEC_FAILED, NULL, error, cause, f->prev);
}

static void handled(struct exec *x)
{
	json_decref(x->redrive);
	x->redrive = NULL;
}

void exec_fault(struct exec *x, struct frame *f, const char *error, const char *cause)
{
	if (x->status != EXEC_RUNNING || f->gone)
		return;
	error = error ? arena_strdup(x->a, str_from(error)) : NULL;
	cause = cause ? arena_strdup(x->a, str_from(cause)) : NULL;
	bool runtime = error && strcmp(error, "States.Runtime") == 0;
	bool again = f->phase == PHASE_CAUGHT; /* within the catcher: it does not catch its own faults */
	bool rules = !runtime && f->state->type != ASL_FAIL && !again;
	if (test_fault(x, f, error, cause))
		return;
	frame_cancel(x, f);
	if (rules && exec_retry(x, f, error ? error : "")) {
		handled(x);
		return;
	}
	if (!runtime && !again && (f->state->type == ASL_PARALLEL || f->state->type == ASL_MAP))
		f->prev = history_add(x, f->state->type == ASL_MAP ? "MapStateFailed" : "ParallelStateFailed", f->prev,
				      NULL, NULL);
	if (rules && exec_catch(x, f, error, cause)) {
		handled(x);
		return;
	}
	fail_up(x, f, error, cause);
}

void exec_asl_fault(struct exec *x, struct frame *f, struct asl_fault *fault)
{
	const char *cause = fault->cause, *error = arena_strdup(x->a, str_from(fault->error));
	if (cause && !fault->whole)
		cause = arena_printf(
			x->a, "An error occurred while executing the state '%s' (entered at the event id #%lld). %s",
			f->state->name, (long long)f->entered, cause);
	else if (cause)
		cause = arena_strdup(x->a, str_from(cause));
	if (strcmp(error, "States.QueryEvaluationError") == 0) {
		json_t *d = json_object();
		json_set_text(d, "error", error);
		json_set_text(d, "cause", cause);
		json_set_text(d, "location", fault->location);
		json_set_text(d, "state", f->state->name);
		f->prev = history_add(x, "EvaluationFailed",
				      f->prev == f->entered && f->state->type != ASL_WAIT ? f->before : f->prev,
				      "evaluationFailedEventDetails", d);
	}
	asl_fault_release(fault);
	exec_fault(x, f, error, cause);
}

void exec_runtime(struct exec *x, struct frame *f, const char *fmt, ...)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	va_list ap;
	va_start(ap, fmt);
	const char *text = arena_vprintf(x->a, fmt, ap);
	va_end(ap);
	asl_fault_set(&fault, "States.Runtime", "%s", text);
	exec_asl_fault(x, f, &fault);
}

void exec_answer(struct exec *x, struct frame *f, struct asl_env *env)
{
	CLEANUP_JSON json_t *ask = env->pending, *answer = NULL;
	json_t *out = NULL;
	env->pending = NULL;
	enum jsonata_status st =
		jsonata_eval(x->s->jsonata, json_get_str(ask, "expression"), json_object_get(ask, "bindings"),
			     x->random(x->random_ctx), JSONATA_FULL, &out);
	answer = json_pack("{s:i,s:o*}", "status", (int)st, "value", out);
	if (!f->memo)
		f->memo = json_object();
	json_object_set(f->memo, json_get_text(ask, "key"), answer);
}

void exec_pending(struct exec *x, struct frame *f, struct asl_env *env)
{
	if (!x->t && !x->test) {
		x->too_long = true;
		json_decref(env->pending);
		env->pending = NULL;
		return;
	}
	if (!x->t) { /* TestState: wait for it here */
		exec_answer(x, f, env);
		exec_ready(x, f);
		return;
	}
	json_t *ask = env->pending;
	env->pending = NULL;
	f->pending = true;
	json_set_int(ask, "frame", f->id);
	json_set_int(ask, "attempt", ++f->attempt);
	turn_effect(x->t, json_get_bool(ask, "slow", false) ? "states.jsonata-slow" : "states.jsonata",
		    arena_printf(x->a, "%s/%lld/%lld", x->arn, (long long)f->id, (long long)f->attempt), ask);
}

/* ---- as JSON ---- */

static void put(json_t *o, const char *key, json_t *value)
{
	if (value)
		json_object_set(o, key, value);
}

static void put_int(json_t *o, const char *key, int64_t value)
{
	if (value)
		json_set_int(o, key, value);
}

static json_t *frame_save(struct exec *x, const struct frame *f)
{
	json_t *o = json_object();
	json_set_int(o, "id", f->id);
	if (f->parent)
		json_set_int(o, "up", f->parent->id);
	put_int(o, "ix", f->index);
	json_set_text(o, "st", f->state->name);
	put_int(o, "ph", f->phase);
	if (f->pending)
		json_set_bool(o, "pe", true);
	if (f->queued)
		json_set_bool(o, "q", true);
	if (f->input == x->input)
		json_set_bool(o, "raw", true);
	else
		put(o, "in", f->input);
	put(o, "va", f->vars);
	put(o, "wo", f->work);
	put(o, "re", f->result);
	put(o, "rt", f->retries);
	put(o, "ta", f->task);
	put(o, "it", f->item);
	put(o, "me", f->memo);
	put_int(o, "en", f->entered);
	put_int(o, "em", f->entered_ms);
	put_int(o, "be", f->before);
	put_int(o, "pr", f->prev);
	put_int(o, "rc", f->retry_count);
	put_int(o, "at", f->attempt);
	put_int(o, "ca", f->catcher);
	json_set_text(o, "fe", f->fault.error);
	json_set_text(o, "fc", f->fault.cause);
	put_int(o, "nx", f->next);
	put_int(o, "ru", f->running);
	put_int(o, "do", f->done);
	return o;
}

json_t *exec_save(struct exec *x)
{
	json_t *frames = json_array();
	for (size_t i = 0; i < x->nframes; i++)
		json_array_append_new(frames, frame_save(x, x->frames[i]));
	return json_pack("{s:O,s:I,s:I,s:o}", "facts", x->facts, "next_frame", (json_int_t)x->next_frame, "next_event",
			 (json_int_t)x->next_event, "frames", frames);
}

json_t *exec_save_line(struct exec *x, const struct frame *f)
{
	json_t *frames = json_array();
	for (const struct frame *p = f; p; p = p->parent) {
		json_t *o = frame_save(x, p);
		static const char *const drop[] = { "wo", "re", "rt", "me", "q" };
		for (size_t k = 0; k < sizeof(drop) / sizeof(*drop); k++)
			json_object_del(o, drop[k]);
		json_array_append_new(frames, o);
	}
	return json_pack("{s:O,s:o}", "facts", x->facts, "frames", frames);
}

static struct frame *frame_load(struct exec *x, const json_t *o, struct error *err)
{
	int64_t id = json_get_int(o, "id", 0), up = json_get_int(o, "up", 0), index = json_get_int(o, "ix", 0);
	struct frame *parent = up ? exec_frame(x, up) : NULL;
	const struct asl_states *scope = x->m->top;
	if (up && !parent) {
		error_set(err, "execution %s: frame %lld has no parent", x->arn, (long long)id);
		return NULL;
	}
	if (parent)
		scope = parent->state->branches[parent->state->type == ASL_PARALLEL ? index : 0];
	struct frame *f = frame_add(x, parent, id, index, scope);
	f->state = asl_find(scope, json_get_text(o, "st"));
	if (!f->state) {
		error_set(err, "execution %s: no state `%s`", x->arn, json_get_text(o, "st"));
		return NULL;
	}
	f->phase = (enum phase)json_get_int(o, "ph", 0);
	f->pending = json_get_bool(o, "pe", false);
	f->input = json_incref(json_get_bool(o, "raw", false) ? x->input : json_object_get(o, "in"));
	f->vars = json_incref(json_object_get(o, "va"));
	f->work = json_incref(json_object_get(o, "wo"));
	f->result = json_incref(json_object_get(o, "re"));
	f->retries = json_deep_copy(json_object_get(o, "rt"));
	f->task = json_deep_copy(json_object_get(o, "ta"));
	f->item = json_incref(json_object_get(o, "it"));
	f->memo = json_copy(json_object_get(o, "me"));
	f->entered = json_get_int(o, "en", 0);
	f->entered_ms = json_get_int(o, "em", 0);
	f->before = json_get_int(o, "be", 0);
	f->prev = json_get_int(o, "pr", 0);
	f->retry_count = json_get_int(o, "rc", 0);
	f->attempt = json_get_int(o, "at", 0);
	f->catcher = (int)json_get_int(o, "ca", 0);
	const char *error = json_get_text(o, "fe"), *cause = json_get_text(o, "fc");
	f->fault.error = error ? mem_strdup(error) : NULL;
	f->fault.cause = cause ? mem_strdup(cause) : NULL;
	f->next = json_get_int(o, "nx", 0);
	f->running = json_get_int(o, "ru", 0);
	f->done = json_get_int(o, "do", 0);
	if (json_get_bool(o, "q", false))
		exec_ready(x, f);
	return f;
}

int exec_load(struct exec *x, const json_t *state, struct error *err)
{
	x->next_frame = json_get_int(state, "next_frame", 1);
	x->next_event = x->first_event = json_get_int(state, "next_event", 1);
	const json_t *frames = json_object_get(state, "frames");
	size_t n = json_array_size(frames), left = n;
	bool *seen = ARENA_ARRAY(x->a, bool, n + 1);
	while (left) { /* parents first, whatever the order */
		size_t before = left;
		for (size_t i = 0; i < n; i++) {
			const json_t *o = json_array_get(frames, i);
			int64_t up = json_get_int(o, "up", 0);
			if (seen[i] || (up && !exec_frame(x, up)))
				continue;
			if (!frame_load(x, o, err))
				return -1;
			seen[i] = true;
			left--;
		}
		if (left == before)
			return error_set(err, "execution %s: frames without parents", x->arn);
	}
	return 0;
}
