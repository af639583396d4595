/* api_test_map.c - TestState of a Map: its items, what each iteration would be given and its settings are evaluated and
 * shown; the iterations themselves are mocked.
 *
 * DESIGN: a test runs on a thread of its own, so what is pending is waited for here. */
#include "states/integ.h"
#include "states/items.h"

/* What the ItemReader would make of the data that came with the test. */
static int reader_items(struct exec *x, struct frame *f, struct asl_env *env, json_t **out, struct asl_fault *fault)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct str text = x->test->reader_data;
	json_t *config = json_object_get(json_object_get(f->state->doc, "ItemReader"), "ReaderConfig"), *one;
	struct items *r = NULL;
	int64_t most;
	int rc = exec_reader_most(f, env, &most, fault);
	if (rc != ASL_OK)
		return rc;
	CLEANUP_JSON json_t *source =
		json_pack("{s:s%,s:O*,s:I}", "text", text.ptr, text.len, "config", config, "most", (json_int_t)most);
	*out = json_array();
	int got = most > 0 ? items_open(x->s, source, &r, &err) : error_set(&err, "field MaxItems must be positive");
	while (got >= 0 && (got = items_next(r, &one, &err)) > 0)
		json_array_append_new(*out, one);
	items_close(r);
	if (got == 0)
		return ASL_OK;
	json_decref(*out);
	*out = NULL;
	asl_fault_set(fault, "States.ItemReaderFailed", "%s", error_text(&err));
	fault->whole = true;
	return ASL_FAULT;
}

/* *items NULL: they are read from elsewhere, and the test does not say what is there. */
static int items_eval(struct exec *x, struct frame *f, struct asl_env *env, json_t **items, struct asl_fault *fault)
{
	const json_t *reader = json_object_get(f->state->doc, "ItemReader");
	*items = NULL;
	if (!reader)
		return exec_map_eval(x, f, env, items, fault);
	int rc = x->test->reader_data.ptr ? reader_items(x, f, env, items, fault) : ASL_OK;
	if (*items && json_get(json_get(reader, "ReaderConfig"), "ItemsPointer"))
		test_note(x, "afterItemsPointer", *items);
	return rc;
}

/* The inputs of all iterations, where an ItemSelector makes them. */
static bool show_inputs(struct exec *x, struct frame *f, json_t *items)
{
	CLEANUP_JSON json_t *inputs = json_array();
	for (size_t i = 0; i < json_array_size(items);) {
		struct asl_fault fault = ASL_FAULT_INIT;
		struct asl_env env;
		json_t *context = NULL, *one = NULL;
		int rc = exec_map_item(x, f, (int64_t)i, json_array_get(items, i), &context, &one, &env, &fault);
		json_decref(context);
		if (rc == ASL_PENDING) {
			exec_answer(x, f, &env);
			exec_env_done(&env);
			continue;
		}
		if (!exec_handle(x, f, &env, rc, &fault))
			return false;
		exec_env_done(&env);
		json_decref(f->memo);
		f->memo = NULL;
		json_array_append_new(inputs, one);
		i++;
	}
	test_note(x, "afterItemSelector", inputs);
	return true;
}

/* More iterations failed than may. */
static bool is_over(const struct map_settings *w, int64_t failures, size_t items)
{
	double failed = (double)failures, n = (double)items;
	return (w->has_count && failed > w->count) || (w->has_percentage && n > 0 && failed * 100 / n > w->percentage);
}

void test_map(struct exec *x, struct frame *f)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	struct asl_env env = exec_env(x, f, f->input);
	struct map_settings w = { 0 };
	CLEANUP_JSON json_t *filtered = NULL, *items = NULL;
	int rc = items_eval(x, f, &env, &items, &fault);
	if (rc == ASL_OK && !f->state->jsonata)
		rc = asl_in_out_path(&env, f->state->doc, "InputPath", f->input, &filtered, &fault);
	env.input = filtered ? filtered : f->input;
	if (rc == ASL_OK)
		rc = exec_map_settings(f, &env, &w, &fault);
	if (!exec_handle(x, f, &env, rc, &fault))
		return;
	exec_env_done(&env);
	test_note_number(x, "maxConcurrency", json_integer((json_int_t)w.concurrency));
	if (w.has_count)
		test_note_number(x, "toleratedFailureCount", json_integer((json_int_t)w.count));
	if (w.has_percentage)
		test_note_number(x, "toleratedFailurePercentage", json_real(w.percentage));
	if (items && json_object_get(f->state->doc, "ItemSelector") && !show_inputs(x, f, items))
		return;
	if (!x->test->fails && is_over(&w, x->test->failures, json_array_size(items)))
		exec_fault(x, f, "States.ExceedToleratedFailureThreshold",
			   "The specified tolerated failure threshold was exceeded");
	else
		test_work(x, f);
}
