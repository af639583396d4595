/* exec_context.c - what expressions see: the context object, variables; texts and sizes of values. See exec.h.
 *
 * DESIGN: the part of the context that never changes is made once a turn. Texts of the last few values are kept,
 * because a state's output is the next state's input and both are written to the history. */
#include "states/exec.h"

#include <math.h>
#include <stdlib.h>

static json_t *context_base(struct exec *x)
{
	char when[32];
	if (x->context_base)
		return x->context_base;
	json_t *ex = json_object(), *sm = json_object();
	json_set_text(ex, "Id", x->arn);
	json_object_set(ex, "Input", x->input);
	json_set_text(ex, "StartTime", clock_iso_ms(x->start_ms, when));
	json_set_text(ex, "Name", x->name);
	json_set_text(ex, "RoleArn", x->role);
	json_set_int(ex, "RedriveCount", x->redrive_count);
	if (x->redrive_ms)
		json_set_text(ex, "RedriveTime", clock_iso_ms(x->redrive_ms, when));
	json_set_text(sm, "Id", x->machine_arn);
	json_set_text(sm, "Name", x->machine_name);
	x->context_base = json_pack("{s:o,s:o}", "Execution", ex, "StateMachine", sm);
	return x->context_base;
}

static json_t *map_context(struct frame *f)
{
	for (; f; f = f->parent)
		if (f->item)
			return f->item;
	return NULL;
}

static json_t *context_new(struct exec *x, struct frame *f)
{
	char when[32];
	json_t *given = test_context(x, f);
	if (given)
		return given;
	const json_t *base = context_base(x);
	json_t *c = json_object(), *st = json_object(), *map = map_context(f);
	json_object_set(c, "Execution", json_object_get(base, "Execution"));
	json_object_set(c, "StateMachine", json_object_get(base, "StateMachine"));
	json_set_text(st, "Name", f->state->name);
	json_set_text(st, "EnteredTime", clock_iso_ms(f->entered_ms, when));
	if (f->state->type == ASL_TASK || f->state->type == ASL_PARALLEL || f->state->type == ASL_MAP)
		json_set_int(st, "RetryCount", f->retry_count);
	json_object_set_new(c, "State", st);
	if (map)
		json_object_set(c, "Map", map);
	const char *token = json_get_text(f->task, "token");
	if (token && json_get_bool(f->task, "shows_token", false))
		json_object_set_new(c, "Task", json_pack("{s:s}", "Token", token));
	return c;
}

struct asl_env exec_env(struct exec *x, struct frame *f, json_t *input)
{
	return (struct asl_env){ .arena = x->a,
				 .input = input,
				 .context = context_new(x, f),
				 .variables = f->vars,
				 .random = x->random,
				 .random_ctx = x->random_ctx,
				 .jsonata = x->s->jsonata,
				 .memo = f->memo,
				 .machine = x->m };
}

void exec_env_done(struct asl_env *env)
{
	json_decref(env->context);
	json_decref(env->pending);
	env->context = env->pending = NULL;
}

struct str exec_text(struct exec *x, json_t *value)
{
	if (value == x->input && x->input_text.ptr)
		return x->input_text;
	if (x->test && value && value == x->test->mock)
		return str_from(x->test->mock_text);
	int n = sizeof(x->texts) / sizeof(*x->texts);
	for (int i = 0; i < n; i++)
		if (x->texts[i].value == value && value)
			return x->texts[i].text;
	struct str text = asl_text(x->a, value);
	int i = x->ntexts++ % n;
	json_decref(x->texts[i].value);
	x->texts[i].value = json_incref(value);
	x->texts[i].text = text;
	return text;
}

bool exec_size_check(struct exec *x, struct frame *f, const char *what, json_t *value)
{
	if (asl_fits(value, (size_t)states_quota.payload_bytes))
		return true;
	exec_fault(x, f, "States.DataLimitExceeded",
		   arena_printf(x->a,
				"The state/task '%s' returned a result with a size exceeding the maximum number of "
				"bytes service limit.",
				what));
	return false;
}

int exec_input_check(struct frame *f, const json_t *value, struct asl_fault *fault)
{
	if (asl_fits(value, (size_t)states_quota.payload_bytes))
		return ASL_OK;
	asl_fault_set(fault, "States.DataLimitExceeded",
		      "The state/task '%s' was given an input with a size exceeding the maximum number of bytes "
		      "service limit.",
		      f->state->name);
	fault->whole = true;
	return ASL_FAULT;
}

json_t *exec_error_output(struct exec *x, const char *error, const char *cause)
{
	json_t *o = json_object();
	if (error)
		json_set_text(o, "Error", error);
	if (cause)
		json_set_text(o, "Cause", cause);
	return o;
}

uint64_t exec_random_kernel(void *ctx)
{
	uint64_t v;
	(void)ctx;
	random_bytes(&v, sizeof(v));
	return v;
}

int64_t exec_later(struct exec *x, double seconds)
{
	double scale = x->s->o.wait_scale > 0 ? x->s->o.wait_scale : 1;
	double ms = seconds * 1000 * scale;
	if (!(ms < 9e15))
		ms = 9e15;
	int64_t whole = ms < 0 ? 0 : (int64_t)ceil(ms);
	return x->now_ms + whole;
}

void exec_timer(struct exec *x, struct frame *f, const char *kind, int64_t at_ms)
{
	if (!x->t)
		return;
	const char *key = arena_printf(x->a, "%s%lld", kind, (long long)f->id);
	json_t *event = at_ms ? json_pack("{s:s,s:s,s:I,s:I}", "type", "timer", "kind", kind, "frame",
					  (json_int_t)f->id, "attempt", (json_int_t)f->attempt)
			      : NULL;
	turn_timer(x->t, key, at_ms, event);
}
