/* api_test_state.c - TestState: one state runs in memory, its work mocked or really called, and what its data went
 * through is shown.
 *
 * DESIGN: the interpreter's own phases run (exec.h); it calls the test_… functions below where a test notes a value or
 * goes another way. The first way out of the state (leave, fault, retry) ends the test. */
#include "states/integ.h"

#include <stdlib.h>

/* ---- hooks ---- */

void test_note(struct exec *x, const char *key, json_t *value)
{
	if (!x->test)
		return;
	struct str t = exec_text(x, value);
	if (strcmp(key, "afterItemsPath") == 0) { /* this one is shown with spaces */
		char *spaced = json_dumps(value, JSON_ENCODE_ANY);
		json_object_set_new(x->test->inspection, key, json_string(spaced));
		free(spaced);
		return;
	}
	json_object_set_new(x->test->inspection, key, json_stringn(t.ptr, t.len));
}

void test_note_number(struct exec *x, const char *key, json_t *value)
{
	json_object_set_new(x->test->inspection, key, value);
}

bool test_leave(struct exec *x, struct frame *f, json_t *output, const json_t *assigned, const char *next)
{
	struct exec_test *test = x->test;
	if (!test)
		return false;
	if (json_object_size(assigned)) {
		CLEANUP_JSON json_t *after = f->vars ? json_copy(f->vars) : json_object();
		json_object_update(after, (json_t *)assigned);
		test_note(x, "variables", after);
	}
	test->status = test->caught ? "CAUGHT_ERROR" : "SUCCEEDED";
	test->next = next;
	x->output = output;
	x->status = EXEC_SUCCEEDED;
	return true;
}

bool test_fault(struct exec *x, struct frame *f, const char *error, const char *cause)
{
	struct exec_test *test = x->test;
	if (!test)
		return false;
	const json_t *retriers = json_object_get(f->state->doc, "Retry");
	const char *name = error ? error : "";
	bool rules = strcmp(name, "States.Runtime") != 0 && f->state->type != ASL_FAIL && f->phase != PHASE_CAUGHT;
	int i = rules ? exec_match(retriers, name) : -1;
	test->out_error = error;
	test->out_cause = cause;
	if (i >= 0 && test->retried < json_get_int(json_array_get(retriers, (size_t)i), "MaxAttempts", 3)) {
		double pause = exec_backoff(json_array_get(retriers, (size_t)i), test->retried);
		test->status = "RETRIABLE";
		test->details =
			json_pack("{s:i,s:I}", "retryIndex", i, "retryBackoffIntervalSeconds", (json_int_t)pause);
		x->status = EXEC_FAILED;
		return true;
	}
	if (i >= 0)
		test->details = json_pack("{s:i}", "retryIndex", i);
	if (rules && exec_catch(x, f, error, cause)) {
		test->caught = true;
		json_decref(test->details);
		test->details = json_pack("{s:i}", "catchIndex", f->catcher);
		return true;
	}
	test->status = "FAILED";
	x->status = EXEC_FAILED;
	return true;
}

/* The call of a Task, waited for. */
struct work {
	struct integ_request q; /* first: found from it */
	pthread_mutex_t lock;
	pthread_cond_t ended;
	struct answer answer;
	bool done;
};

static void work_answered(struct integ_request *q, struct answer *answer)
{
	struct work *w = (struct work *)q;
	pthread_mutex_lock(&w->lock);
	w->answer = *answer;
	w->done = true;
	pthread_cond_signal(&w->ended);
	pthread_mutex_unlock(&w->lock);
}

static void work_wait(struct exec *x, const struct frame *f, const struct resource *r, json_t *params,
		      struct answer *out)
{
	struct work w = { .q = { .s = x->s, .arena = ARENA_INIT, .r = *r, .params = params, .done = work_answered },
			  .lock = PTHREAD_MUTEX_INITIALIZER,
			  .ended = PTHREAD_COND_INITIALIZER };
	integ_set_role(&w.q, x, f);
	integ_call(&w.q);
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.ended, &w.lock);
	pthread_mutex_unlock(&w.lock);
	*out = w.answer;
	out->error = out->error ? arena_strdup(x->a, str_from(out->error)) : NULL;
	out->cause = out->cause ? arena_strdup(x->a, str_from(out->cause)) : NULL;
	arena_release(&w.q.arena);
}

bool test_work(struct exec *x, struct frame *f)
{
	struct exec_test *test = x->test;
	struct resource r;
	struct answer w = { 0 };
	if (!test)
		return false;
	if (test->fails) {
		exec_fault(x, f, test->error, test->cause);
		return true;
	}
	if (test->mocked) {
		if (f->state->type == ASL_TASK)
			test_note(x, "result", test->mock);
		exec_result(x, f, json_incref(test->mock));
		return true;
	}
	resource_parse(x->a, json_get_text(f->state->doc, "Resource"), &r);
	if (r.kind == TASK_ACTIVITY || r.pattern != TASK_REQUEST) {
		exec_runtime(x, f,
			     "TestState does not support activities, '.sync' or '.waitForTaskToken' without a mock.");
		return true;
	}
	work_wait(x, f, &r, f->work, &w);
	if (w.output) {
		test_note(x, "result", w.output);
		exec_result(x, f, w.output);
	} else {
		exec_fault(x, f, w.error, w.cause);
	}
	return true;
}

json_t *test_context(struct exec *x, struct frame *f)
{
	char when[32];
	if (!x->test)
		return NULL;
	if (x->test->context)
		return json_incref(x->test->context);
	clock_iso_ms(x->now_ms, when);
	json_t *state = json_pack("{s:s,s:s}", "Name", "StateName", "EnteredTime", when);
	if (f->state->type == ASL_TASK || f->state->type == ASL_MAP || f->state->type == ASL_PARALLEL)
		json_set_int(state, "RetryCount", x->test->retried);
	return json_pack("{s:{s:s,s:O,s:s,s:s?,s:s},s:{s:s,s:s},s:o}", "Execution", "Id", x->arn, "Input", x->input,
			 "Name", x->name, "RoleArn", x->role, "StartTime", when, "StateMachine", "Id", x->machine_arn,
			 "Name", x->machine_name, "State", state);
}

/* ---- the request ---- */

static const char *type_name(enum asl_type type)
{
	return history_type_name(type);
}

/* A state anywhere in the machine. */
static struct asl_state *find_deep(struct asl_states *scope, const char *name, struct asl_states **where)
{
	struct asl_state *st = asl_find(scope, name);
	*where = scope;
	for (size_t i = 0; !st && i < scope->count; i++)
		for (size_t b = 0; !st && b < scope->states[i].nbranches; b++)
			st = find_deep(scope->states[i].branches[b], name, where);
	return st;
}

static int bad(struct error *err, const char *text)
{
	return error_aws(err, "ValidationException", "%s", text);
}

/* The mock before anything is known of the state. */
static int mock_check(const json_t *in, struct error *err)
{
	const json_t *mock = json_get(in, "mock");
	if (mock && !json_get(mock, "result") == !json_get(mock, "errorOutput"))
		return bad(err, "A test mock should have only one of the following fields: [result, errorOutput].");
	if (json_get(mock, "errorOutput") && !json_get(json_get(mock, "errorOutput"), "error"))
		return bad(err, "A test mock with an errorOutput must have the field 'error' in it.");
	if (mock && json_get_bool(in, "revealSecrets", false))
		return bad(err, "TestState does not support RevealSecrets when a mock is specified.");
	if (!mock && json_get(json_get(in, "stateConfiguration"), "mapIterationFailureCount"))
		return bad(err, "TestState does not support MapIterationFailureCount when a mock is not specified.");
	if (!mock && json_get(in, "context"))
		return bad(err, "TestState does not support Context when a mock is not specified.");
	return 0;
}

static int result_check(struct arena *a, const struct asl_state *st, const json_t *in, struct exec_test *test,
			struct error *err)
{
	struct resource r;
	const json_t *mock = json_get(in, "mock");
	const char *mode = json_get_text(mock, "fieldValidationMode");
	bool writes = json_object_get(st->doc, "ResultWriter") != NULL;
	if (st->type == ASL_MAP && writes && !json_is_object(test->mock))
		return bad(err, "Mocked result must be a JSON object.");
	if (st->type == ASL_MAP && !writes && !json_is_array(test->mock))
		return bad(err, "Mocked result must be an array.");
	if (st->type == ASL_PARALLEL && !json_is_array(test->mock))
		return bad(err, "Mocked result must be an array.");
	if (st->type == ASL_PARALLEL && json_array_size(test->mock) != st->nbranches)
		return bad(err, "Mocked result must contain the same number of items as number of Parallel branches.");
	if (st->type == ASL_MAP && test->failures > (int64_t)json_array_size(test->mock))
		return bad(err,
			   "Map iteration failure count must be less than or equal to the number of Map iterations");
	if (st->type != ASL_TASK || (mode && strcmp(mode, "NONE") == 0))
		return 0;
	if (!resource_parse(a, json_get_text(st->doc, "Resource"), &r) || r.kind != TASK_SERVICE ||
	    r.pattern != TASK_REQUEST)
		return 0;
	const char *service = strncmp(r.service, "aws-sdk:", 8) == 0 ? r.service + 8 : r.service, *model, *operation;
	if (strcmp(service, "states") == 0)
		service = "sfn";
	integ_sdk_find(a, service, r.action, &model, &operation);
	return wire_check_output(model, operation, test->mock, !mode || strcmp(mode, "STRICT") == 0, err);
}

static int state_check(struct arena *a, const struct asl_state *st, const json_t *in, struct exec_test *test,
		       struct error *err)
{
	const json_t *mock = json_get(in, "mock");
	struct str result = json_get_str(mock, "result");
	bool works = st->type == ASL_TASK || st->type == ASL_MAP || st->type == ASL_PARALLEL;
	if (mock && !works)
		return error_aws(err, "ValidationException",
				 "State type '%s' is not supported when a mock is specified", type_name(st->type));
	if (!mock && (st->type == ASL_MAP || st->type == ASL_PARALLEL))
		return error_aws(err, "InvalidDefinition",
				 "TestState API does not support Map or Parallel states. Supported state types "
				 "include: [Task, Wait, Pass, Succeed, Fail, Choice]");
	if (!mock && st->type == ASL_TASK && !json_get(in, "roleArn"))
		return bad(err, "RoleArn must be specified when testing a Task state");
	test->mocked = result.ptr != NULL;
	if (!test->mocked)
		return 0;
	test->mock = asl_read_json(a, result, false, NULL);
	test->mock_text = result.ptr;
	return test->mock ? result_check(a, st, in, test, err) : bad(err, "Mocked result must be valid JSON");
}

static int context_check(const json_t *context, const struct asl_state *st, struct error *err)
{
	static const char *const allowed[] = { "Execution", "State", "StateMachine", "Task", "Map", NULL };
	static const char *const of_execution[] = { "Id",        "Input",        "Name",        "RoleArn",
						    "StartTime", "RedriveCount", "RedriveTime", NULL };
	const char *key;
	json_t *value;
	for (int pass = 0; pass < 2; pass++) {
		const json_t *o = pass ? json_object_get(context, "Execution") : context;
		json_object_foreach ((json_t *)o, key, value) {
			const char *const *k = pass ? of_execution : allowed;
			while (*k && strcmp(*k, key) != 0)
				k++;
			if (!*k)
				return error_aws(err, "ValidationException",
						 "Invalid Context object provided: Field '%s' is not allowed", key);
			bool text = pass && strcmp(key, "Input") != 0 && strcmp(key, "RedriveCount") != 0;
			if (text && !json_is_string(value))
				return error_aws(err, "ValidationException",
						 "Invalid Context object provided: Execution.%s must be a string", key);
		}
	}
	const char *resource = json_get_text(st->doc, "Resource");
	bool waits = resource && (strstr(resource, ".sync") || strstr(resource, ".waitForTaskToken"));
	if (json_object_get(context, "Task") && !waits)
		return bad(err, "Invalid Context object provided: Context object contains 'Task' when state is not a "
				"Task state with a '.sync' or "
				"'.waitForTaskToken' service integration pattern");
	return 0;
}

/* ---- running ---- */

static uint64_t random_kernel(void *ctx)
{
	uint64_t v;
	(void)ctx;
	random_bytes(&v, sizeof(v));
	return v;
}

static json_t *facts_new(struct states *s, struct arena *a, const json_t *in, struct str input, int64_t now_ms)
{
	char name[37], machine[37];
	id_uuid(name, NULL, NULL);
	id_uuid(machine, NULL, NULL);
	json_t *f = json_pack("{s:s,s:s,s:s,s:s,s:s}", "name", name, "machine_name", machine, "machine",
			      states_arn(s, a, "stateMachine", machine), "arn",
			      states_arn(s, a, "express", arena_printf(a, "%s:%s", machine, name)), "type", "EXPRESS");
	json_set_text(f, "role", json_get_text(in, "roleArn"));
	json_object_set_new(f, "input", json_stringn(input.ptr, input.len));
	json_set_int(f, "start_ms", now_ms);
	return f;
}

static json_t *answer_new(struct exec *x, const json_t *in)
{
	struct exec_test *test = x->test;
	json_t *o = json_object();
	const char *level = json_get_text(in, "inspectionLevel");
	if (x->output) {
		struct str t = exec_text(x, x->output);
		json_object_set_new(o, "output", json_stringn(t.ptr, t.len));
	}
	json_set_text(o, "error", test->out_error);
	json_set_text(o, "cause", test->out_cause);
	json_set_text(o, "nextState", test->next);
	json_set_text(o, "status", test->status);
	if (level && strcmp(level, "INFO") != 0) {
		if (test->details)
			json_object_set(test->inspection, "errorDetails", test->details);
		json_object_set(o, "inspectionData", test->inspection);
	}
	return o;
}

static void run(struct exec *x, struct asl_states *scope, struct asl_state *st, const json_t *in)
{
	CLEANUP_JSON json_t *variables = NULL;
	struct str text = json_get_str(in, "variables");
	struct frame *f = exec_frame_new(x, NULL, 0, scope, x->input);
	f->state = st;
	f->retry_count = x->test->retried;
	test_note(x, "input", x->input);
	if (text.ptr)
		variables = asl_read_json(x->a, text, false, NULL);
	if (variables) {
		f->vars = json_incref(variables);
		test_note(x, "variables", variables);
	}
	exec_run(x);
}

static int test_machine(struct call *c, const json_t *in, struct asl_machine *m, const char *name, json_t **out,
			struct error *err)
{
	struct states *s = c->service_ctx;
	const json_t *config = json_get(in, "stateConfiguration"),
		     *error = json_get_path(json_get(in, "mock"), "errorOutput");
	struct exec_test test = { .retried = json_get_int(config, "retrierRetryCount", 0),
				  .failures = json_get_int(config, "mapIterationFailureCount", 0),
				  .fails = error != NULL,
				  .error = json_get_text(error, "error"),
				  .cause = json_get_text(error, "cause") };
	struct asl_states *scope;
	struct asl_state *st = find_deep(m->top, name, &scope);
	struct str input = json_get_str(in, "input"), context = json_get_str(in, "context");
	struct exec x;
	if (!st)
		return bad(err, "State not found in definition");
	input = input.ptr ? input : STR("{}");
	if (state_check(c->arena, st, in, &test, err) < 0 || input_check(c->arena, input, NULL, err) < 0) {
		json_decref(test.mock);
		return -1;
	}
	CLEANUP_JSON json_t *mock = test.mock,
			    *given = context.ptr ? asl_read_json(c->arena, context, false, NULL) : NULL;
	(void)mock;
	if (context.ptr && !json_is_object(given))
		return bad(err, "Invalid Context object provided: it must be a JSON object");
	if (given && context_check(given, st, err) < 0)
		return -1;
	test.context = given;
	test.reader_data = json_get_str(config, "mapItemReaderData");
	test.inspection = json_object();
	exec_init(&x, s, c->arena);
	x.test = &test;
	x.now_ms = clock_now_ms();
	x.random = random_kernel;
	x.m = m;
	exec_facts(&x, facts_new(s, c->arena, in, input, x.now_ms));
	x.record = false;
	run(&x, scope, st, in);
	*out = answer_new(&x, in);
	json_decref(test.inspection);
	json_decref(test.details);
	exec_release(&x);
	return 0;
}

static int test_state(struct call *c, const json_t *in, json_t **out, struct error *err)
{
	struct states *s = c->service_ctx;
	struct asl_diagnostics d = { .arena = c->arena, .jsonata = s->jsonata };
	struct asl_machine *m = NULL;
	const char *name = json_get_text(in, "stateName");
	struct str definition = json_get_str(in, "definition");
	if (mock_check(in, err) < 0)
		return -1;
	int rc = name ? asl_parse(definition, false, &d, &m) : asl_parse_state(definition, "StateName", &d, &m);
	if (rc < 0)
		return error_aws(err, "InvalidDefinition", "%s", asl_invalid_definition(c->arena, &d));
	rc = test_machine(c, in, m, name ? name : "StateName", out, err);
	asl_machine_free(m);
	return rc;
}

/* ---- the operation: an expression or a function may take long ---- */

static void test_call(struct call *c, json_t *in)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	json_t *out = NULL;
	int rc = test_state(c, in, &out, &err);
	wire_answer(c, rc, out, &err);
}

ASYNC(api_test_state)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct states *s = c->service_ctx;
	struct deferred *d = call_defer(c, in, test_call);
	if (work_try(s->tests, deferred_run, d))
		return;
	json_decref(in);
	error_aws(&err, "ThrottlingException", "Rate exceeded");
	wire_answer(c, -1, NULL, &err);
}
