/* exec_state.c - what each type of state does, and how its output is made. See exec.h.
 *
 * DESIGN: JSONPath: InputPath, Parameters, work, ResultSelector, Assign, ResultPath (into the raw input), OutputPath.
 * JSONata: Arguments, work, Output and Assign, which both see the old variables. A phase evaluates all it needs before
 * it writes an event. */
#include "states/exec.h"

#include <stdlib.h>

enum { ALL_VARIABLES = 10 << 20 };

bool exec_handle(struct exec *x, struct frame *f, struct asl_env *env, int rc, struct asl_fault *fault)
{
	if (rc == ASL_OK)
		return true;
	if (rc == ASL_PENDING)
		exec_pending(x, f, env);
	else
		exec_asl_fault(x, f, fault);
	exec_env_done(env);
	return false;
}

static void drop(json_t **slot)
{
	json_decref(*slot);
	*slot = NULL;
}

/* ---- input ---- */

int exec_input(struct exec *x, struct frame *f, struct asl_env *env, json_t **filtered, json_t **out,
	       struct asl_fault *fault)
{
	const json_t *doc = f->state->doc;
	if (f->state->jsonata) {
		*filtered = json_incref(f->input);
		json_t *arguments = json_object_get(doc, "Arguments");
		if (!arguments) {
			*out = json_incref(f->input);
			return ASL_OK;
		}
		int got = asl_jsonata(env, arguments, "Arguments", out, fault);
		if (got == ASL_OK)
			got = exec_input_check(f, *out, fault);
		if (got == ASL_OK && f->state->type == ASL_TASK)
			test_note(x, "afterArguments", *out);
		return got;
	}
	int rc = asl_in_out_path(env, doc, "InputPath", f->input, filtered, fault);
	if (rc != ASL_OK)
		return rc;
	env->input = *filtered;
	bool replaced =
		f->state->type == ASL_PARALLEL || (f->state->type == ASL_PASS && json_object_get(doc, "Result"));
	json_t *parameters = f->state->type == ASL_MAP ? NULL : json_object_get(doc, "Parameters");
	if (!replaced)
		test_note(x, "afterInputPath", *filtered);
	if (!parameters)
		*out = json_incref(*filtered);
	else
		rc = asl_payload(env, parameters, "Parameters", out, fault);
	if (rc == ASL_OK && parameters)
		rc = exec_input_check(f, *out, fault);
	if (rc == ASL_OK && !replaced)
		test_note(x, "afterParameters", *out);
	return rc;
}

/* ---- output ---- */

static void assign(struct frame *f, json_t *assigned)
{
	if (!json_object_size(assigned))
		return;
	json_t *vars = f->vars ? json_copy(f->vars) : json_object();
	json_object_update(vars, assigned);
	json_decref(f->vars);
	f->vars = vars;
}

/* The state is left with this output (taken) and these assignments (borrowed). */
static void leave(struct exec *x, struct frame *f, json_t *output, json_t *assigned, const char *next)
{
	if (test_leave(x, f, output, assigned, next))
		return;
	if (!exec_size_check(x, f, f->state->name, output)) {
		json_decref(output);
		return;
	}
	f->prev = history_state_exited(x, f, output, assigned);
	assign(f, assigned);
	drop(&f->work);
	drop(&f->result);
	drop(&f->retries);
	drop(&f->task);
	drop(&f->memo);
	f->retry_count = f->next = f->running = f->done = 0;
	f->attempt++;
	if (!next) {
		exec_frame_done(x, f, output);
		return;
	}
	json_decref(f->input);
	f->input = output;
	f->state = asl_find(f->scope, next);
	f->phase = PHASE_ENTER;
	exec_ready(x, f);
}

/* What one Assign sets, and all variables together, are limited as a payload is. */
static int assign_check(struct frame *f, const json_t *assigned, struct asl_fault *fault)
{
	CLEANUP_JSON json_t *all = f->vars ? json_copy(f->vars) : json_object();
	json_object_update(all, (json_t *)assigned);
	if (asl_fits(assigned, (size_t)states_quota.payload_bytes) && asl_fits(all, ALL_VARIABLES))
		return ASL_OK;
	asl_fault_set(fault, "States.DataLimitExceeded",
		      "The variables assigned in the state '%s' exceed the maximum number of bytes service limit.",
		      f->state->name);
	fault->whole = true;
	return ASL_FAULT;
}

static int assign_eval(struct exec *x, struct frame *f, struct asl_env *env, const json_t *doc, json_t **out,
		       struct asl_fault *fault)
{
	json_t *template = json_object_get(doc, "Assign");
	*out = NULL;
	if (!template)
		return ASL_OK;
	int rc = f->state->jsonata ? asl_jsonata(env, template, "Assign", out, fault)
				   : asl_payload(env, template, "Assign", out, fault);
	return rc == ASL_OK ? assign_check(f, *out, fault) : rc;
}

static void output_jsonata(struct exec *x, struct frame *f, const json_t *doc, json_t *result, json_t *fallback,
			   json_t *error, const char *next)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	struct asl_env env = exec_env(x, f, f->input);
	CLEANUP_JSON json_t *assigned = NULL;
	json_t *output = NULL, *template = json_object_get(doc, "Output");
	env.result = result;
	env.error_output = error;
	int rc = assign_eval(x, f, &env, doc, &assigned, &fault);
	if (rc == ASL_OK && template)
		rc = asl_jsonata(&env, template, "Output", &output, &fault);
	else if (rc == ASL_OK)
		output = json_incref(fallback);
	if (!exec_handle(x, f, &env, rc, &fault)) {
		json_decref(output);
		return;
	}
	exec_env_done(&env);
	leave(x, f, output, assigned, next);
}

static bool has_results(const struct frame *f)
{
	return f->state->type == ASL_TASK || f->state->type == ASL_PARALLEL || f->state->type == ASL_MAP;
}

static int output_path_eval(struct exec *x, struct frame *f, struct asl_env *env, json_t *result, json_t **assigned,
			    json_t **out, struct asl_fault *fault)
{
	const json_t *doc = f->state->doc;
	CLEANUP_JSON json_t *selected = NULL, *placed = NULL;
	json_t *selector = has_results(f) ? json_object_get(doc, "ResultSelector") : NULL;
	int rc = ASL_OK;
	env->input = result;
	if (selector)
		rc = asl_payload(env, selector, "ResultSelector", &selected, fault);
	else
		selected = json_incref(result);
	if (rc != ASL_OK)
		return rc;
	bool shown = has_results(f) || f->state->type == ASL_PASS;
	if (shown)
		test_note(x, "afterResultSelector", selected);
	env->input = selected;
	rc = assign_eval(x, f, env, doc, assigned, fault);
	if (rc != ASL_OK)
		return rc;
	json_t *path = json_object_get(doc, "ResultPath");
	if (!path || f->state->type == ASL_CHOICE || f->state->type == ASL_WAIT || f->state->type == ASL_SUCCEED)
		placed = json_incref(selected);
	else if (json_is_null(path))
		placed = json_incref(f->input);
	else
		rc = asl_put(f->input, json_str(path), selected, &placed, fault);
	if (rc != ASL_OK)
		return rc;
	if (shown)
		test_note(x, "afterResultPath", placed);
	env->input = placed;
	return asl_in_out_path(env, doc, "OutputPath", placed, out, fault);
}

/* Leaves the state with `result` (borrowed). */
static void finish(struct exec *x, struct frame *f, json_t *result, const char *next)
{
	if (f->state->jsonata) {
		output_jsonata(x, f, f->state->doc, has_results(f) ? result : NULL, has_results(f) ? result : f->input,
			       NULL, next);
		return;
	}
	const json_t *doc = f->state->doc;
	bool plain = !x->test && !json_object_get(doc, "ResultSelector") && !json_object_get(doc, "Assign") &&
		     !json_object_get(doc, "ResultPath") && !json_object_get(doc, "OutputPath");
	if (plain) {
		leave(x, f, json_incref(result), NULL, next);
		return;
	}
	struct asl_fault fault = ASL_FAULT_INIT;
	struct asl_env env = exec_env(x, f, result);
	CLEANUP_JSON json_t *assigned = NULL;
	json_t *output = NULL;
	int rc = output_path_eval(x, f, &env, result, &assigned, &output, &fault);
	if (!exec_handle(x, f, &env, rc, &fault))
		return;
	exec_env_done(&env);
	leave(x, f, output, assigned, next);
}

static const char *next_of(const struct frame *f)
{
	return f->state->end ? NULL : f->state->next;
}

void exec_output(struct exec *x, struct frame *f)
{
	json_t *result = json_incref(f->result);
	finish(x, f, result, next_of(f));
	json_decref(result);
}

void exec_caught(struct exec *x, struct frame *f)
{
	const json_t *rule = json_array_get(json_object_get(f->state->doc, "Catch"), (size_t)f->catcher);
	/* A timeout has no cause in its event, but an empty one here (as recorded on AWS). */
	bool timeout = !f->fault.cause && f->fault.error && strcmp(f->fault.error, "States.Timeout") == 0;
	CLEANUP_JSON json_t *error = exec_error_output(x, f->fault.error, timeout ? "" : f->fault.cause);
	const char *next = json_get_text(rule, "Next");
	if (f->state->jsonata) {
		output_jsonata(x, f, rule, NULL, error, error, next);
		return;
	}
	struct asl_fault fault = ASL_FAULT_INIT;
	struct asl_env env = exec_env(x, f, error);
	CLEANUP_JSON json_t *assigned = NULL;
	json_t *output = NULL, *path = json_object_get(rule, "ResultPath");
	int rc = assign_eval(x, f, &env, rule, &assigned, &fault);
	if (rc == ASL_OK && json_is_null(path))
		output = json_incref(f->input);
	else if (rc == ASL_OK && path)
		rc = asl_put(f->input, json_str(path), error, &output, &fault);
	else if (rc == ASL_OK)
		output = json_incref(error);
	if (!exec_handle(x, f, &env, rc, &fault))
		return;
	exec_env_done(&env);
	leave(x, f, output, assigned, next);
}

/* ---- the types ---- */

static void pass_begin(struct exec *x, struct frame *f)
{
	const json_t *doc = f->state->doc;
	if (f->state->jsonata) {
		finish(x, f, f->input, next_of(f));
		return;
	}
	json_t *result = json_object_get(doc, "Result");
	if (result)
		test_note(x, "result", result);
	if (!x->test && !json_object_get(doc, "InputPath") && !json_object_get(doc, "Parameters")) {
		json_t *value = json_incref(result ? result : f->input);
		finish(x, f, value, next_of(f));
		json_decref(value);
		return;
	}
	struct asl_fault fault = ASL_FAULT_INIT;
	struct asl_env env = exec_env(x, f, f->input);
	CLEANUP_JSON json_t *filtered = NULL, *effective = NULL;
	int rc = exec_input(x, f, &env, &filtered, &effective, &fault);
	if (!exec_handle(x, f, &env, rc, &fault))
		return;
	exec_env_done(&env);
	finish(x, f, result ? result : effective, next_of(f));
}

static void choice_leave(struct exec *x, struct frame *f, const json_t *rule, json_t *filtered, const char *next)
{
	if (f->state->jsonata) {
		output_jsonata(x, f, rule, NULL, f->input, NULL, next);
		return;
	}
	struct asl_fault fault = ASL_FAULT_INIT;
	struct asl_env env = exec_env(x, f, filtered);
	CLEANUP_JSON json_t *assigned = NULL;
	json_t *output = NULL;
	int rc = assign_eval(x, f, &env, rule, &assigned, &fault);
	if (rc == ASL_OK)
		rc = asl_in_out_path(&env, f->state->doc, "OutputPath", filtered, &output, &fault);
	if (!exec_handle(x, f, &env, rc, &fault))
		return;
	exec_env_done(&env);
	leave(x, f, output, assigned, next);
}

static void choice_begin(struct exec *x, struct frame *f)
{
	const json_t *doc = f->state->doc;
	struct asl_fault fault = ASL_FAULT_INIT;
	struct asl_env env = exec_env(x, f, f->input);
	CLEANUP_JSON json_t *filtered = NULL;
	const json_t *chosen = NULL;
	json_t *rule;
	size_t i;
	int rc = ASL_OK;
	if (f->state->jsonata)
		filtered = json_incref(f->input);
	else
		rc = asl_in_out_path(&env, doc, "InputPath", f->input, &filtered, &fault);
	env.input = filtered;
	if (rc == ASL_OK && !f->state->jsonata)
		test_note(x, "afterInputPath", filtered);
	if (rc == ASL_OK)
		json_array_foreach (json_object_get(doc, "Choices"), i, rule) {
			bool matched = false;
			env.field = arena_printf(x->a, "Choices[%zu]", i);
			rc = asl_choice(&env, rule, f->state->jsonata, &matched, &fault);
			if (rc == ASL_OK && matched)
				chosen = rule;
			if (rc != ASL_OK || chosen)
				break;
		}
	if (!exec_handle(x, f, &env, rc, &fault))
		return;
	exec_env_done(&env);
	const char *fallback = json_get_text(doc, "Default");
	if (chosen) {
		choice_leave(x, f, chosen, filtered, json_get_text(chosen, "Next"));
	} else if (fallback) {
		choice_leave(x, f, doc, filtered, fallback);
	} else {
		asl_fault_set(&fault, "States.NoChoiceMatched",
			      "Failed to transition out of the state. The state does not point to a next state.");
		exec_asl_fault(x, f, &fault);
	}
}

static void wait_begin(struct exec *x, struct frame *f)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	struct asl_env env = exec_env(x, f, f->input);
	int64_t until = 0;
	int rc = ASL_OK;
	if (f->state->jsonata)
		f->work = json_incref(f->input);
	else if (!f->work)
		rc = asl_in_out_path(&env, f->state->doc, "InputPath", f->input, &f->work, &fault);
	env.input = f->work;
	if (rc == ASL_OK && !f->state->jsonata)
		test_note(x, "afterInputPath", f->work);
	if (rc == ASL_OK)
		rc = asl_wait_until(&env, f->state->doc, f->state->jsonata, x->now_ms, &until, &fault);
	if (!exec_handle(x, f, &env, rc, &fault)) {
		drop(&f->work);
		return;
	}
	exec_env_done(&env);
	if (until <= x->now_ms || !x->t) {
		exec_result(x, f, json_incref(f->work));
		return;
	}
	json_decref(f->result);
	f->result = json_incref(f->work);
	f->phase = PHASE_WAIT;
	exec_timer(x, f, "w", exec_later(x, (double)(until - x->now_ms) / 1000.0));
}

static void succeed_begin(struct exec *x, struct frame *f)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	struct asl_env env = exec_env(x, f, f->input);
	CLEANUP_JSON json_t *filtered = NULL;
	int rc = f->state->jsonata ? ASL_OK
				   : asl_in_out_path(&env, f->state->doc, "InputPath", f->input, &filtered, &fault);
	if (!exec_handle(x, f, &env, rc, &fault))
		return;
	exec_env_done(&env);
	if (filtered)
		test_note(x, "afterInputPath", filtered);
	finish(x, f, filtered ? filtered : f->input, NULL);
}

/* Error or Cause of a Fail state; *out is text in the arena, or NULL. */
static int fail_text(struct exec *x, struct frame *f, struct asl_env *env, const char *field, const char **out,
		     struct asl_fault *fault)
{
	const json_t *doc = f->state->doc;
	CLEANUP_JSON json_t *value = NULL;
	json_t *literal = json_object_get(doc, field);
	int rc = ASL_OK;
	*out = NULL;
	if (f->state->jsonata) {
		if (literal)
			rc = asl_jsonata_typed(env, literal, field, "string", &value, fault);
	} else if (json_object_get(doc, arena_printf(x->a, "%sPath", field))) {
		rc = asl_path_field(env, doc, arena_printf(x->a, "%sPath", field), false, &value, fault);
	} else {
		value = json_incref(literal);
	}
	if (rc == ASL_OK && json_is_string(value))
		*out = arena_strdup(x->a, json_str(value));
	else if (rc == ASL_OK && value && !json_is_null(value))
		*out = asl_text(x->a, value).ptr;
	return rc;
}

static void fail_begin(struct exec *x, struct frame *f)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	struct asl_env env = exec_env(x, f, f->input);
	const char *error, *cause = NULL;
	if (!f->state->jsonata)
		test_note(x, "afterInputPath", f->input);
	int rc = fail_text(x, f, &env, "Error", &error, &fault);
	if (rc == ASL_OK)
		rc = fail_text(x, f, &env, "Cause", &cause, &fault);
	if (!exec_handle(x, f, &env, rc, &fault))
		return;
	exec_env_done(&env);
	exec_fault(x, f, error, cause);
}

static void begin(struct exec *x, struct frame *f)
{
	static void (*const types[])(struct exec *, struct frame *) = {
		[ASL_TASK] = exec_task_begin,  [ASL_PASS] = pass_begin,
		[ASL_CHOICE] = choice_begin,   [ASL_WAIT] = wait_begin,
		[ASL_SUCCEED] = succeed_begin, [ASL_FAIL] = fail_begin,
		[ASL_MAP] = exec_map_begin,    [ASL_PARALLEL] = exec_parallel_begin,
	};
	types[f->state->type](x, f);
}

static void enter(struct exec *x, struct frame *f)
{
	f->before = x->next_event == 2 ? 0 : f->prev;
	f->entered = f->prev = history_state_entered(x, f);
	f->entered_ms = x->now_ms;
	f->retry_count = 0;
	f->phase = PHASE_BEGIN;
	begin(x, f);
}

void exec_step(struct exec *x, struct frame *f)
{
	if (f->pending)
		return;
	switch (f->phase) {
	case PHASE_ENTER:
		enter(x, f);
		break;
	case PHASE_RETRY:
		f->phase = PHASE_BEGIN;
		begin(x, f);
		break;
	case PHASE_BEGIN:
		begin(x, f);
		break;
	case PHASE_RESULT:
		exec_output(x, f);
		break;
	case PHASE_CAUGHT:
		exec_caught(x, f);
		break;
	case PHASE_CHILDREN:
		exec_map_fill(x, f);
		break;
	case PHASE_WAIT:
	case PHASE_TASK:
	case PHASE_READ:
	case PHASE_WRITE:
		break;
	}
}
