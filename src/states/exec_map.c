/* exec_map.c - Parallel and inline Map. See exec.h.
 *
 * DESIGN: in phase CHILDREN `result` is the list of results by index; a Map has its items in `work`, how many of them
 * were begun in `next` and its settings in `task`. The numbers of previous events are AWS's: an iteration follows the
 * last event of the iteration whose place it takes; the state's exit follows the last branch's last event. */
#include "states/exec.h"

#include <stdlib.h>

static json_t *nulls(size_t n)
{
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_null());
	return list;
}

static void take(json_t **slot, json_t *value)
{
	json_decref(*slot);
	*slot = value;
}

/* ---- Parallel ---- */

void exec_parallel_begin(struct exec *x, struct frame *f)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	struct asl_env env = exec_env(x, f, f->input);
	CLEANUP_JSON json_t *filtered = NULL, *input = NULL;
	int rc = exec_input(x, f, &env, &filtered, &input, &fault);
	if (!exec_handle(x, f, &env, rc, &fault))
		return;
	exec_env_done(&env);
	if (test_work(x, f))
		return;
	f->prev = history_add(x, "ParallelStateStarted", f->prev, NULL, NULL);
	f->phase = PHASE_CHILDREN;
	f->running = (int64_t)f->state->nbranches;
	f->done = 0;
	take(&f->result, nulls(f->state->nbranches));
	take(&f->memo, NULL);
	for (size_t i = 0; i < f->state->nbranches; i++)
		exec_frame_new(x, f, (int64_t)i, f->state->branches[i], input);
}

/* ---- Map: items ---- */

/* A whole fault text without the usual opening. */
static int whole_fault(struct asl_fault *fault, const char *error, const char *text)
{
	asl_fault_set(fault, error, "%s", text);
	fault->whole = true;
	return ASL_FAULT;
}

static int items_jsonata(struct exec *x, struct frame *f, struct asl_env *env, json_t **out, struct asl_fault *fault)
{
	json_t *template = json_object_get(f->state->doc, "Items");
	int rc = ASL_OK;
	if (template)
		rc = asl_jsonata_typed(env, template, "Items", "array", out, fault);
	else
		*out = json_incref(f->input);
	if (rc != ASL_OK || json_is_array(*out))
		return rc;
	asl_fault_set(fault, "States.QueryEvaluationError", "Map state input must be an array but was: %s",
		      asl_text(x->a, *out).ptr);
	json_decref(*out);
	*out = NULL;
	return ASL_FAULT;
}

static int items_path(struct exec *x, struct frame *f, struct asl_env *env, json_t *filtered, json_t **out,
		      struct asl_fault *fault)
{
	const char *path = json_get_text(f->state->doc, "ItemsPath");
	int rc = ASL_OK;
	env->input = filtered;
	if (path)
		rc = asl_path(env, str_from(path), "ItemsPath", out, fault);
	else
		*out = json_incref(filtered);
	if (rc != ASL_OK || json_is_array(*out))
		return rc;
	json_decref(*out);
	*out = NULL;
	if (!path)
		path = "$";
	return whole_fault(fault, "States.Runtime",
			   arena_printf(x->a, "Reference path \"%s\" must point to array.",
					path[0] == '$' && path[1] == '$' ? path + 1 : path));
}

int exec_map_eval(struct exec *x, struct frame *f, struct asl_env *env, json_t **items, struct asl_fault *fault)
{
	CLEANUP_JSON json_t *filtered = NULL;
	int rc;
	if (f->state->jsonata)
		return items_jsonata(x, f, env, items, fault);
	rc = asl_in_out_path(env, f->state->doc, "InputPath", f->input, &filtered, fault);
	if (rc == ASL_OK)
		test_note(x, "afterInputPath", filtered);
	if (rc == ASL_OK)
		rc = items_path(x, f, env, filtered, items, fault);
	if (rc == ASL_OK && json_object_get(f->state->doc, "ItemsPath"))
		test_note(x, "afterItemsPath", *items);
	return rc;
}

int exec_map_concurrency(struct asl_env *env, const struct asl_state *st, bool *present, double *out,
			 struct asl_fault *fault)
{
	int rc = asl_number(env, st->doc, "MaxConcurrency", st->jsonata, true, present, out, fault);
	if (rc == ASL_OK && *present && *out < 0)
		return asl_fault_set(fault, "States.Runtime", "MaxConcurrency cannot be negative.");
	return rc;
}

void exec_map_begin(struct exec *x, struct frame *f)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	json_t *items = NULL;
	if (x->test) {
		test_map(x, f);
		return;
	}
	if (f->state->distributed && json_object_get(f->state->doc, "ItemReader")) {
		exec_distributed_begin(x, f);
		return;
	}
	struct asl_env env = exec_env(x, f, f->input);
	int rc = exec_map_eval(x, f, &env, &items, &fault);
	if (!exec_handle(x, f, &env, rc, &fault))
		return;
	exec_env_done(&env);
	if (f->state->distributed)
		exec_distributed_items(x, f, items);
	else
		exec_map_items(x, f, items);
}

static int64_t inline_limit(double asked)
{
	int64_t most = states_quota.map_inline;
	return asked >= 1 && asked < (double)most ? (int64_t)asked : most;
}

void exec_map_items(struct exec *x, struct frame *f, json_t *items)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	struct asl_env env = exec_env(x, f, f->input);
	bool present = false;
	double concurrency = 0;
	CLEANUP_JSON json_t *filtered = NULL;
	int rc = ASL_OK;
	if (!f->state->jsonata)
		rc = asl_in_out_path(&env, f->state->doc, "InputPath", f->input, &filtered, &fault);
	if (filtered)
		env.input = filtered;
	if (rc == ASL_OK)
		rc = exec_map_concurrency(&env, f->state, &present, &concurrency, &fault);
	if (!exec_handle(x, f, &env, rc, &fault)) {
		json_decref(items);
		return;
	}
	exec_env_done(&env);
	f->prev = history_add(x, "MapStateStarted", f->prev, "mapStateStartedEventDetails",
			      json_pack("{s:I}", "length", (json_int_t)json_array_size(items)));
	take(&f->work, items);
	take(&f->result, nulls(json_array_size(items)));
	take(&f->task, json_pack("{s:I}", "concurrency", (json_int_t)inline_limit(present ? concurrency : 0)));
	take(&f->memo, NULL);
	f->next = f->running = f->done = 0;
	f->phase = PHASE_CHILDREN;
	exec_map_fill(x, f);
}

/* ---- Map: iterations ---- */

int exec_map_item(struct exec *x, struct frame *f, int64_t i, json_t *value, json_t **context, json_t **input,
		  struct asl_env *env, struct asl_fault *fault)
{
	const json_t *doc = f->state->doc;
	json_t *selector = json_object_get(doc, "ItemSelector");
	CLEANUP_JSON json_t *filtered = NULL;
	int rc = ASL_OK;
	if (!selector && !f->state->jsonata)
		selector = json_object_get(doc, "Parameters");
	*context = json_pack("{s:{s:I,s:O}}", "Item", "Index", (json_int_t)i, "Value", value);
	*input = NULL;
	*env = (struct asl_env){ 0 };
	if (!selector) {
		*input = json_incref(value);
		return ASL_OK;
	}
	*env = exec_env(x, f, f->input);
	json_object_set(env->context, "Map", *context);
	if (f->state->jsonata) {
		rc = asl_jsonata(env, selector, "ItemSelector", input, fault);
		return rc == ASL_OK ? exec_input_check(f, *input, fault) : rc;
	}
	rc = asl_in_out_path(env, doc, "InputPath", f->input, &filtered, fault);
	if (rc == ASL_OK) {
		env->input = filtered;
		rc = asl_payload(env, selector, "ItemSelector", input, fault);
	}
	return rc == ASL_OK ? exec_input_check(f, *input, fault) : rc;
}

static json_t *iteration(const struct frame *f, int64_t index)
{
	return json_pack("{s:s,s:I}", "name", f->state->name, "index", (json_int_t)index);
}

static void map_done(struct exec *x, struct frame *f)
{
	history_add(x, "MapStateSucceeded", f->prev, NULL, NULL);
	take(&f->work, NULL);
	take(&f->task, NULL);
	exec_result(x, f, json_incref(f->result));
}

void exec_map_fill(struct exec *x, struct frame *f)
{
	if (f->state->distributed) {
		exec_distributed_fill(x, f);
		return;
	}
	int64_t n = (int64_t)json_array_size(f->work), most = json_get_int(f->task, "concurrency", 40);
	if (f->state->type != ASL_MAP)
		return;
	while (f->running < most && f->next < n) {
		if (exec_tired(x)) { /* later, in another turn */
			exec_ready(x, f);
			return;
		}
		struct asl_fault fault = ASL_FAULT_INIT;
		struct asl_env env;
		json_t *context = NULL, *input = NULL;
		int rc = exec_map_item(x, f, f->next, json_array_get(f->work, (size_t)f->next), &context, &input, &env,
				       &fault);
		if (!exec_handle(x, f, &env, rc, &fault)) {
			json_decref(context);
			return;
		}
		exec_env_done(&env);
		take(&f->memo, NULL);
		struct frame *child = exec_frame_new(x, f, f->next, f->state->branches[0], input);
		child->item = context;
		child->prev = history_add(x, "MapIterationStarted", f->prev, "mapIterationStartedEventDetails",
					  iteration(f, f->next));
		json_decref(input);
		f->next++;
		f->running++;
	}
	if (f->running == 0 && f->next == n)
		map_done(x, f);
}

/* ---- children ---- */

void exec_child_done(struct exec *x, struct frame *f, struct frame *child, json_t *output)
{
	int64_t index = child->index, last = child->prev;
	json_array_set_new(f->result, (size_t)index, output);
	exec_frame_drop(x, child);
	f->running--;
	f->done++;
	f->prev = last;
	if (f->state->type == ASL_PARALLEL) {
		if (f->running)
			return;
		history_add(x, "ParallelStateSucceeded", f->prev, NULL, NULL);
		exec_result(x, f, json_incref(f->result));
		return;
	}
	int64_t id =
		history_add(x, "MapIterationSucceeded", last, "mapIterationSucceededEventDetails", iteration(f, index));
	if (f->done == (int64_t)json_array_size(f->work)) {
		f->prev = id;
		map_done(x, f);
	} else {
		exec_map_fill(x, f);
	}
}

/* The child with the lowest number above `after`. */
static struct frame *next_child(struct exec *x, const struct frame *f, int64_t after)
{
	struct frame *found = NULL;
	for (size_t i = 0; i < x->nframes; i++) {
		struct frame *w = x->frames[i];
		if (w->parent == f && w->id > after && (!found || w->id < found->id))
			found = w;
	}
	return found;
}

/* Events of a line of states that ends because another one failed. All follow `last`, the failed line's last event (as
 * recorded on AWS). */
static void abort_line(struct exec *x, struct frame *w, int64_t last)
{
	enum asl_type type = w->state->type;
	if (w->phase == PHASE_WAIT) {
		history_add(x, "WaitStateAborted", last, NULL, NULL);
	} else if (type == ASL_TASK && (w->phase == PHASE_TASK || w->phase == PHASE_RETRY)) {
		history_add(x, "TaskStateAborted", last, NULL, NULL);
	} else if ((type == ASL_MAP || type == ASL_PARALLEL) && w->phase != PHASE_ENTER && w->phase != PHASE_BEGIN) {
		for (struct frame *c = next_child(x, w, 0); c; c = next_child(x, w, c->id))
			abort_line(x, c, last);
		if (exec_distributed_runs(w))
			history_add(x, "MapRunAborted", last, NULL, NULL);
		history_add(x, type == ASL_MAP ? "MapStateAborted" : "ParallelStateAborted", last, NULL, NULL);
	}
	if (w->parent->state->type == ASL_MAP)
		history_add(x, "MapIterationAborted", last, "mapIterationAbortedEventDetails",
			    iteration(w->parent, w->index));
}

void exec_child_failed(struct exec *x, struct frame *f, struct frame *child, const char *error, const char *cause)
{
	int64_t last = child->prev;
	if (f->state->type == ASL_MAP)
		history_add(x, "MapIterationFailed", last, "mapIterationFailedEventDetails",
			    iteration(f, child->index));
	exec_frame_drop(x, child);
	for (struct frame *w = next_child(x, f, 0); w; w = next_child(x, f, w->id))
		abort_line(x, w, last);
	for (struct frame *w; (w = next_child(x, f, 0));)
		exec_frame_drop(x, w);
	f->prev = last;
	f->running = 0;
	exec_fault(x, f, error, cause);
}
