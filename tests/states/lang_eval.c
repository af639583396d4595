/* lang_eval.c - the language without the engine, for tests: one JSON request a line on standard input, one answer a
 * line on standard output.
 *
 * DESIGN: {"parse": text, "express", "state"?} -> {"ok", "references"} | {"diagnostics", "text"};
 * {"run": text, "input": text, "context": {}, "now": ms} -> {"events", "status", "output" | "error", "cause"} for
 * machines of Pass, Choice, Wait (which ends at once), Succeed and Fail states: their data flow, as the engine has to
 * do it; {"read": text} -> {"text"} | {"message", "location"};
 * {"path", "value"} and {"intrinsic", "value"} -> {"value"} | {"fault"}. argv[1], if given, is quern-jsonata. */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "states/asl.h"
#include "states/jsonata.h"

static struct jsonata *jsonata;

static uint64_t next_random(void *ctx)
{
	uint64_t *x = ctx;
	*x = *x * 6364136223846793005u + 1442695040888963407u;
	return *x >> 11;
}

struct run {
	struct arena *arena;
	struct asl_machine *machine;
	struct asl_state *state;
	json_t *events, *context, *value, *variables, *assigned; /* value: the state's input, then its output */
	int64_t now_ms;
	uint64_t seed;
	int entered_id;
};

static json_t *texts(json_t *object, const char *key, json_t *value)
{
	CLEANUP_FREE char *text = asl_text_dup(value);
	json_set_text(object, key, text);
	return object;
}

static json_t *event(struct run *r, const char *type)
{
	json_t *e = json_object();
	int id = (int)json_array_size(r->events) + 1;
	json_set_text(e, "timestamp", "now");
	json_set_text(e, "type", type);
	json_set_int(e, "id", id);
	json_set_int(e, "previousEventId", id <= 2 ? 0 : id - 1);
	json_array_append_new(r->events, e);
	return e;
}

static const char *type_name(const struct asl_state *s)
{
	static const char *const names[] = { "Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map" };
	return names[s->type];
}

static json_t *not_truncated(void)
{
	return json_pack("{s:b}", "truncated", 0);
}

static void enter(struct run *r)
{
	json_t *e = event(r, arena_printf(r->arena, "%sStateEntered", type_name(r->state)));
	json_t *details = json_pack("{s:s, s:o}", "name", r->state->name, "inputDetails", not_truncated());
	json_object_set_new(e, "stateEnteredEventDetails", texts(details, "input", r->value));
	r->entered_id = (int)json_get_int(e, "id", 0);
}

static void leave(struct run *r)
{
	json_t *e = event(r, arena_printf(r->arena, "%sStateExited", type_name(r->state))), *value;
	json_t *details = json_pack("{s:s, s:o}", "name", r->state->name, "outputDetails", not_truncated());
	const char *name;
	if (json_object_size(r->assigned) > 0) {
		json_t *assigned = json_object();
		json_object_foreach (r->assigned, name, value)
			texts(assigned, name, value);
		json_object_set_new(details, "assignedVariables", assigned);
		json_object_set_new(details, "assignedVariablesDetails", not_truncated());
		json_object_update(r->variables, r->assigned);
	}
	json_object_set_new(e, "stateExitedEventDetails", texts(details, "output", r->value));
}

static struct asl_env env_of(struct run *r)
{
	json_t *context = json_copy(r->context);
	json_object_set_new(context, "State",
			    json_pack("{s:s, s:s}", "Name", r->state->name, "EnteredTime", "2026-01-01T00:00:00.000Z"));
	arena_defer(r->arena, (void (*)(void *))json_decref, context);
	return (struct asl_env){ .arena = r->arena,
				 .input = r->value,
				 .context = context,
				 .variables = r->variables,
				 .random = next_random,
				 .random_ctx = &r->seed,
				 .jsonata = jsonata,
				 .machine = r->machine };
}

/* Repeats what a short time was not enough for, with patience. */
static int jsonata_field(struct asl_env *env, const json_t *v, const char *field, json_t **out, struct asl_fault *f)
{
	int rc;
	while ((rc = asl_jsonata(env, v, field, out, f)) == ASL_PENDING) {
		json_t *value = NULL;
		enum jsonata_status status =
			jsonata_eval(env->jsonata, json_get_str(env->pending, "expression"),
				     json_object_get(env->pending, "bindings"),
				     (uint64_t)json_get_int(env->pending, "seed", 0), JSONATA_FULL, &value);
		if (!env->memo)
			env->memo = json_object();
		json_object_set_new(env->memo, json_get_text(env->pending, "key"),
				    json_pack("{s:i, s:o}", "status", status, "value", value ? value : json_null()));
		json_decref(env->pending);
		env->pending = NULL;
	}
	return rc;
}

static int assign(struct run *r, struct asl_env *env, const json_t *owner, const char *field, struct asl_fault *f)
{
	json_t *v = json_object_get(owner, "Assign");
	if (!v)
		return ASL_OK;
	return r->state->jsonata ? jsonata_field(env, v, field, &r->assigned, f)
				 : asl_payload(env, v, field, &r->assigned, f);
}

static int pass_jsonpath(struct run *r, struct asl_fault *f)
{
	const json_t *doc = r->state->doc;
	json_t *effective = NULL, *result = NULL, *merged = NULL, *out = NULL;
	struct asl_env env = env_of(r);
	int rc = asl_in_out_path(&env, doc, "InputPath", r->value, &effective, f);
	env.input = effective;
	if (rc == ASL_OK && json_object_get(doc, "Parameters"))
		rc = asl_payload(&env, json_object_get(doc, "Parameters"), "Parameters", &result, f);
	else if (rc == ASL_OK)
		result = json_incref(effective);
	if (rc == ASL_OK && json_object_get(doc, "Result")) {
		json_decref(result);
		result = json_incref(json_object_get(doc, "Result"));
	}
	env.input = result;
	if (rc == ASL_OK)
		rc = assign(r, &env, doc, "Assign", f);
	json_t *path = json_object_get(doc, "ResultPath");
	if (rc == ASL_OK && json_is_null(path))
		merged = json_incref(r->value);
	else if (rc == ASL_OK && path)
		rc = asl_put(r->value, json_str(path), result, &merged, f);
	else if (rc == ASL_OK)
		merged = json_incref(result);
	if (rc == ASL_OK)
		rc = asl_in_out_path(&env, doc, "OutputPath", merged, &out, f);
	json_decref(effective);
	json_decref(result);
	json_decref(merged);
	if (rc == ASL_OK) {
		json_decref(r->value);
		r->value = out;
	}
	return rc;
}

/* Output of a JSONata state, or the paths of a JSONPath one that only hands its input on. */
static int pass_on(struct run *r, const json_t *owner, const char *prefix, struct asl_fault *f)
{
	struct asl_env env = env_of(r);
	const json_t *output = json_object_get(owner, "Output");
	json_t *through = NULL, *out = NULL;
	int rc = assign(r, &env, owner, arena_printf(r->arena, "%sAssign", prefix), f);
	if (rc == ASL_OK && r->state->jsonata)
		rc = output ? jsonata_field(&env, output, arena_printf(r->arena, "%sOutput", prefix), &out, f)
			    : (out = json_incref(r->value), ASL_OK);
	else if (rc == ASL_OK) {
		rc = asl_in_out_path(&env, r->state->doc, "InputPath", r->value, &through, f);
		if (rc == ASL_OK)
			rc = asl_in_out_path(&env, r->state->doc, "OutputPath", through, &out, f);
		json_decref(through);
	}
	if (rc == ASL_OK) {
		json_decref(r->value);
		r->value = out;
	}
	json_decref(env.memo);
	return rc;
}

static int choose(struct run *r, const char **next, struct asl_fault *f)
{
	struct asl_env env = env_of(r);
	json_t *rule, *input = NULL;
	size_t i;
	bool matched = false;
	int rc = asl_in_out_path(&env, r->state->doc, "InputPath", r->value, &input, f);
	if (rc != ASL_OK)
		return rc;
	env.input = input;
	json_array_foreach (json_object_get(r->state->doc, "Choices"), i, rule) {
		env.field = arena_printf(r->arena, "Choices[%zu]", i);
		while ((rc = asl_choice(&env, rule, r->state->jsonata, &matched, f)) == ASL_PENDING) {
			json_t *unused = NULL;
			jsonata_field(&env, json_object_get(rule, "Condition"),
				      arena_printf(r->arena, "%s/Condition", env.field), &unused, f);
			json_decref(unused);
		}
		if (rc != ASL_OK || matched)
			break;
	}
	json_decref(env.memo);
	json_decref(input);
	if (rc != ASL_OK)
		return rc;
	*next = json_get_text(matched ? rule : r->state->doc, matched ? "Next" : "Default");
	if (!*next)
		return asl_fault_set(f, "States.NoChoiceMatched", "No choice matched");
	return pass_on(r, matched ? rule : r->state->doc, matched ? arena_printf(r->arena, "%s/", env.field) : "", f);
}

static int wait_state(struct run *r, struct asl_fault *f)
{
	struct asl_env env = env_of(r);
	int64_t until;
	int rc;
	while ((rc = asl_wait_until(&env, r->state->doc, r->state->jsonata, r->now_ms, &until, f)) == ASL_PENDING) {
		const char *field = json_object_get(r->state->doc, "Seconds") ? "Seconds" : "Timestamp";
		json_t *unused = NULL;
		jsonata_field(&env, json_object_get(r->state->doc, field), field, &unused, f);
		json_decref(unused);
	}
	json_decref(env.memo);
	return rc == ASL_OK ? pass_on(r, r->state->doc, "", f) : rc;
}

static int text_of(struct run *r, const char *field, char **out, struct asl_fault *f)
{
	struct asl_env env = env_of(r);
	json_t *value = NULL, *literal = json_object_get(r->state->doc, field);
	const char *path = arena_printf(r->arena, "%sPath", field);
	int rc = ASL_OK;
	if (literal)
		rc = r->state->jsonata ? jsonata_field(&env, literal, field, &value, f)
				       : (value = json_incref(literal), ASL_OK);
	else if (json_object_get(r->state->doc, path))
		rc = asl_path_field(&env, r->state->doc, path, false, &value, f);
	*out = rc == ASL_OK && value
		       ? arena_strdup(r->arena, json_is_string(value) ? json_str(value) : asl_text(r->arena, value))
		       : NULL;
	json_decref(value);
	json_decref(env.memo);
	return rc;
}

static json_t *fail(struct run *r, const char *error, const char *cause)
{
	json_t *details = json_object();
	json_set_text(details, "error", error);
	json_set_text(details, "cause", cause);
	json_object_set(event(r, "ExecutionFailed"), "executionFailedEventDetails", details);
	return details;
}

static json_t *fault(struct run *r, struct asl_fault *f)
{
	const char *cause = arena_printf(
		r->arena, "An error occurred while executing the state '%s' (entered at the event id #%d). %s",
		r->state->name, r->entered_id, f->cause);
	if (f->location) {
		json_t *details = json_pack("{s:s, s:s, s:s, s:s}", "error", f->error, "cause", cause, "location",
					    f->location, "state", r->state->name);
		json_t *e = event(r, "EvaluationFailed");
		json_object_set_new(e, "evaluationFailedEventDetails", details);
		int before = (int)json_get_int(json_array_get(r->events, (size_t)r->entered_id - 1), "previousEventId",
					       0); /* so recorded */
		json_set_int(e, "previousEventId", r->state->type == ASL_WAIT ? r->entered_id : before);
	}
	json_t *details = fail(r, f->error, cause);
	asl_fault_release(f);
	return details;
}

static json_t *steps(struct run *r)
{
	struct asl_fault f = ASL_FAULT_INIT;
	for (int count = 0; count < 100000; count++) {
		const char *next = r->state->next;
		char *error, *cause;
		int rc = ASL_OK;
		enter(r);
		json_decref(r->assigned);
		r->assigned = NULL;
		switch (r->state->type) {
		case ASL_PASS:
			rc = r->state->jsonata ? pass_on(r, r->state->doc, "", &f) : pass_jsonpath(r, &f);
			break;
		case ASL_CHOICE:
			rc = choose(r, &next, &f);
			break;
		case ASL_WAIT:
			rc = wait_state(r, &f);
			break;
		case ASL_SUCCEED:
			rc = pass_on(r, r->state->doc, "", &f);
			break;
		case ASL_FAIL:
			rc = text_of(r, "Error", &error, &f);
			if (rc == ASL_OK)
				rc = text_of(r, "Cause", &cause, &f);
			return rc == ASL_OK ? fail(r, error, cause) : fault(r, &f);
		default:
			rc = asl_fault_set(&f, "Test", "this state type needs the engine");
		}
		if (rc != ASL_OK)
			return fault(r, &f);
		leave(r);
		if (!next)
			return NULL;
		r->state = asl_find(r->machine->top, next);
	}
	return NULL;
}

static json_t *diagnostics_of(struct arena *a, const struct asl_diagnostics *d)
{
	json_t *list = json_array();
	for (size_t i = 0; i < d->count; i++) {
		json_t *one = json_pack("{s:s, s:s, s:s}", "severity", d->items[i].severity, "code", d->items[i].code,
					"message", d->items[i].message);
		json_set_text(one, "location", d->items[i].location);
		json_array_append_new(list, one);
	}
	return json_pack("{s:o, s:s}", "diagnostics", list, "text", asl_invalid_definition(a, d));
}

static json_t *do_parse(struct arena *a, const json_t *q)
{
	struct asl_diagnostics d = { .arena = a, .jsonata = jsonata };
	struct asl_machine *m;
	struct str text = json_get_str(q, "parse");
	const char *name = json_get_text(q, "state");
	if (name ? asl_parse_state(text, name, &d, &m) : asl_parse(text, json_get_bool(q, "express", false), &d, &m))
		return diagnostics_of(a, &d);
	json_t *out = json_pack("{s:b}", "ok", 1), *references = asl_variable_references(m);
	if (references)
		json_object_set_new(out, "references", references);
	asl_machine_free(m);
	return out;
}

static json_t *do_run(struct arena *a, const json_t *q)
{
	struct asl_diagnostics d = { .arena = a, .jsonata = jsonata };
	struct run r = { .arena = a,
			 .events = json_array(),
			 .context = json_object_get(q, "context"),
			 .now_ms = json_get_int(q, "now", 0) };
	if (asl_parse(json_get_str(q, "run"), false, &d, &r.machine))
		return diagnostics_of(a, &d);
	r.value = asl_read_json(a, json_get_str(q, "input"), false, NULL);
	r.variables = json_object();
	r.state = asl_find(r.machine->top, r.machine->top->start_at);
	json_t *started = json_pack("{s:s, s:o}", "roleArn", "arn:aws:iam::000000000000:role/sfn_role", "inputDetails",
				    not_truncated());
	json_object_set_new(event(&r, "ExecutionStarted"), "executionStartedEventDetails",
			    texts(started, "input", r.value));
	int64_t begin = clock_monotonic_us();
	json_t *failure = steps(&r);
	json_t *out = json_pack("{s:O, s:s, s:I}", "events", r.events, "status", failure ? "FAILED" : "SUCCEEDED", "us",
				(json_int_t)(clock_monotonic_us() - begin));
	if (failure) {
		json_object_update(out, failure);
		json_decref(failure);
	} else {
		json_t *details = json_pack("{s:o}", "outputDetails", not_truncated());
		json_object_set_new(event(&r, "ExecutionSucceeded"), "executionSucceededEventDetails",
				    texts(details, "output", r.value));
		texts(out, "output", r.value);
	}
	json_decref(r.events);
	json_decref(r.value);
	json_decref(r.variables);
	json_decref(r.assigned);
	asl_machine_free(r.machine);
	return out;
}

static json_t *do_read(struct arena *a, const json_t *q)
{
	struct asl_json_error e;
	CLEANUP_JSON json_t *value = asl_read_json(a, json_get_str(q, "read"), json_get_bool(q, "strict", false), &e);
	if (value)
		return texts(json_object(), "text", value);
	return json_pack("{s:s, s:s}", "message", e.message, "location", e.location);
}

static json_t *do_path(struct arena *a, const json_t *q)
{
	struct asl_fault f = ASL_FAULT_INIT;
	uint64_t seed = 1;
	struct asl_env env = { .arena = a,
			       .input = json_object_get(q, "value"),
			       .context = json_object_get(q, "context"),
			       .variables = json_object_get(q, "variables"),
			       .random = next_random,
			       .random_ctx = &seed };
	json_t *value = NULL;
	if (asl_path(&env, json_get_str(q, "path"), "field.$", &value, &f) == ASL_OK)
		return json_pack("{s:o}", "value", value);
	json_t *out = json_pack("{s:s, s:s}", "fault", f.error, "cause", f.cause);
	asl_fault_release(&f);
	return out;
}

static json_t *answer(struct arena *a, const json_t *q)
{
	if (json_object_get(q, "parse"))
		return do_parse(a, q);
	if (json_object_get(q, "run"))
		return do_run(a, q);
	if (json_object_get(q, "read"))
		return do_read(a, q);
	if (json_object_get(q, "path"))
		return do_path(a, q);
	return json_pack("{s:s}", "error", "no such request");
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct jsonata_options options = { .program = argc > 1 ? argv[1] : NULL, .hard_ms = 5000 };
	if (argc > 1 && jsonata_new(&options, &jsonata, &err) < 0)
		fprintf(stderr, "%s\n", error_text(&err));
	while ((n = getline(&line, &cap, stdin)) > 0) {
		struct arena arena = ARENA_INIT;
		CLEANUP_JSON json_t *q = json_parse(str_of(line, (size_t)n), NULL);
		CLEANUP_JSON json_t *a = answer(&arena, q);
		CLEANUP_FREE char *text = asl_text_dup(a);
		puts(text);
		fflush(stdout);
		arena_release(&arena);
	}
	free(line);
	jsonata_free(jsonata);
	return 0;
}
