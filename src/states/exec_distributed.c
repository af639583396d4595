/* exec_distributed.c - distributed Map: a map run whose children are executions of their own. See exec.h.
 *
 * DESIGN: `work` is the list of the children's inputs (or of the items, when an ItemSelector is evaluated as they
 * start) until all have started; what they gave stays in their own rows and is read at the end, so the state stays
 * small. Each child is an actor "states.execution" that runs the item processor and tells this frame of its end. Items
 * are read (states.read) and results written (states.write) by effects. */
#include "states/integ.h"

#include <stdlib.h>

enum { STARTS_AT_ONCE = 500 };

static void take(json_t **slot, json_t *value)
{
	json_decref(*slot);
	*slot = value;
}

static const char *label_of(struct exec *x, struct frame *f)
{
	const char *label = json_get_text(f->state->doc, "Label");
	return label ? label : turn_uuid(x->t);
}

/* ---- settings ---- */

struct settings {
	double concurrency, count, percentage;
	bool has_concurrency, has_count, has_percentage;
};

static int settings_eval(struct exec *x, struct frame *f, struct asl_env *env, struct settings *w,
			 struct asl_fault *fault)
{
	const json_t *doc = f->state->doc;
	bool j = f->state->jsonata;
	int rc = exec_map_concurrency(env, f->state, &w->has_concurrency, &w->concurrency, fault);
	if (rc == ASL_OK)
		rc = asl_number(env, doc, "ToleratedFailureCount", j, true, &w->has_count, &w->count, fault);
	if (rc == ASL_OK)
		rc = asl_number(env, doc, "ToleratedFailurePercentage", j, false, &w->has_percentage, &w->percentage,
				fault);
	if (rc != ASL_OK)
		return rc;
	if (w->has_count && w->count < 0)
		return asl_fault_set(fault, "States.Runtime", "ToleratedFailureCount cannot be negative.");
	if (w->has_percentage && (w->percentage < 0 || w->percentage > 100))
		return asl_fault_set(fault, "States.Runtime", "ToleratedFailurePercentage must be between 0 and 100.");
	return ASL_OK;
}

static int map_run_insert(struct exec *x, struct frame *f, const struct settings *w, const char *arn, struct error *err)
{
	int rc = db_exec(turn_db(x->t), err,
			 "INSERT INTO states_map_run(arn, execution, frame, status, start_ms, stop_ms, concurrency, "
			 "tolerated_count, tolerated_percentage, "
			 "items, batched, redrive_count, redrive_ms, written) VALUES(?, ?, ?, 'RUNNING', ?, 0, ?, ?, "
			 "?, 0, 0, 0, 0, 0)",
			 "ssiiiid", arn, x->arn, f->id, x->now_ms, (int64_t)w->concurrency, (int64_t)w->count,
			 w->percentage);
	return rc < 0 ? -1 : 0;
}

/* MapStateStarted, the settings, MapRunStarted. False when it ended in a fault. */
static bool open_run(struct exec *x, struct frame *f, size_t length)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct settings w = { 0 };
	CLEANUP_JSON json_t *filtered = NULL;
	if (!x->t) {
		exec_runtime(x, f, "This execution can't run a distributed Map state.");
		return false;
	}
	struct asl_env env = exec_env(x, f, f->input);
	int rc = f->state->jsonata ? ASL_OK
				   : asl_in_out_path(&env, f->state->doc, "InputPath", f->input, &filtered, &fault);
	if (filtered)
		env.input = filtered;
	if (rc == ASL_OK)
		rc = settings_eval(x, f, &env, &w, &fault);
	if (rc != ASL_PENDING)
		f->prev = history_add(x, "MapStateStarted", f->prev, "mapStateStartedEventDetails",
				      json_pack("{s:I}", "length", (json_int_t)length));
	if (!exec_handle(x, f, &env, rc, &fault))
		return false;
	exec_env_done(&env);
	const char *label = label_of(x, f);
	const char *arn = states_arn(x->s, x->a, "mapRun",
				     arena_printf(x->a, "%s/%s:%s", x->machine_name, label, turn_uuid(x->t)));
	if (map_run_insert(x, f, &w, arn, &err) < 0) {
		exec_fault(x, f, "States.Runtime", error_text(&err));
		return false;
	}
	f->prev = history_add(x, "MapRunStarted", f->prev, "mapRunStartedEventDetails",
			      json_pack("{s:s}", "mapRunArn", arn));
	f->attempt++;
	take(&f->task, json_pack("{s:s,s:s,s:I,s:f,s:b,s:f,s:b,s:I}", "map_run", arn, "label", label, "concurrency",
				 (json_int_t)w.concurrency, "count", w.count, "has_count", w.has_count, "percentage",
				 w.percentage, "has_percentage", w.has_percentage, "attempt", (json_int_t)f->attempt));
	take(&f->memo, NULL);
	f->next = f->running = f->done = 0;
	return true;
}

static void close_run(struct exec *x, struct frame *f, const char *status)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *arn = json_get_text(f->task, "map_run");
	if (arn && x->t)
		db_exec(turn_db(x->t), &err,
			"UPDATE states_map_run SET status=?, stop_ms=? WHERE arn=? AND status='RUNNING'", "sis", status,
			x->now_ms, arn);
}

/* The state's exit follows MapRunStarted; MapRunSucceeded when the Map is the first state (as recorded on AWS). */
static void run_succeeded(struct exec *x, struct frame *f, json_t *result)
{
	close_run(x, f, "SUCCEEDED");
	int64_t id = history_add(x, "MapRunSucceeded", f->prev, NULL, NULL);
	history_add(x, "MapStateSucceeded", id, NULL, NULL);
	if (f->entered == 2)
		f->prev = id;
	take(&f->work, NULL);
	exec_result(x, f, result);
}

static void run_failed(struct exec *x, struct frame *f, const char *error, const char *cause)
{
	close_run(x, f, "FAILED");
	exec_distributed_cancel(x, f);
	f->prev = history_add(x, "MapRunFailed", f->prev, "mapRunFailedEventDetails", history_error(error, cause));
	f->phase = PHASE_BEGIN;
	exec_fault(x, f, error, cause);
}

/* ---- reading ---- */

void exec_distributed_begin(struct exec *x, struct frame *f)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	const json_t *reader = json_object_get(f->state->doc, "ItemReader");
	bool j = f->state->jsonata;
	json_t *template = json_object_get(reader, j ? "Arguments" : "Parameters");
	const json_t *config = json_object_get(reader, "ReaderConfig");
	CLEANUP_JSON json_t *filtered = NULL, *params = NULL;
	bool has_most = false;
	double most = 0;
	struct asl_env env = exec_env(x, f, f->input);
	int rc = j ? ASL_OK : asl_in_out_path(&env, f->state->doc, "InputPath", f->input, &filtered, &fault);
	if (filtered)
		env.input = filtered;
	if (rc == ASL_OK && template)
		rc = j ? asl_jsonata(&env, template, "ItemReader/Arguments", &params, &fault)
		       : asl_payload(&env, template, "Parameters", &params, &fault);
	if (rc == ASL_OK && config)
		rc = asl_number(&env, config, "MaxItems", j, true, &has_most, &most, &fault);
	if (!exec_handle(x, f, &env, rc, &fault))
		return;
	exec_env_done(&env);
	if (!open_run(x, f, 0))
		return;
	if (has_most && most <= 0) {
		run_failed(x, f, "States.ItemReaderFailed", "field MaxItems must be positive");
		return;
	}
	f->phase = PHASE_READ;
	json_t *p = json_pack("{s:I,s:I,s:s?,s:O*,s:O*}", "frame", (json_int_t)f->id, "attempt", (json_int_t)f->attempt,
			      "resource", json_get_text(reader, "Resource"), "params", params, "config", config);
	if (has_most)
		json_set_int(p, "most", (int64_t)most);
	turn_effect(x->t, "states.read",
		    arena_printf(x->a, "%s/%lld/%lld", x->arn, (long long)f->id, (long long)f->attempt), p);
}

/* ---- items, batches ---- */

/* What a child of one item gets. Memo is dropped after each. */
static bool item_input(struct exec *x, struct frame *f, int64_t i, json_t *value, json_t **out)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	struct asl_env env;
	json_t *context = NULL;
	int rc = exec_map_item(x, f, i, value, &context, out, &env, &fault);
	json_decref(context);
	if (!exec_handle(x, f, &env, rc, &fault))
		return false;
	exec_env_done(&env);
	take(&f->memo, NULL);
	return true;
}

static int batch_limits(struct exec *x, struct frame *f, struct asl_env *env, const json_t *batcher, double *items,
			double *bytes, json_t **input, struct asl_fault *fault)
{
	bool j = f->state->jsonata, has_items = false, has_bytes = false;
	json_t *template = json_object_get(batcher, "BatchInput");
	int rc = asl_number(env, batcher, "MaxItemsPerBatch", j, true, &has_items, items, fault);
	if (rc == ASL_OK)
		rc = asl_number(env, batcher, "MaxInputBytesPerBatch", j, true, &has_bytes, bytes, fault);
	if (rc == ASL_OK && template)
		rc = j ? asl_jsonata(env, template, "BatchInput", input, fault)
		       : asl_payload(env, template, "BatchInput", input, fault);
	if (!has_items || *items < 1)
		*items = 1e9;
	if (!has_bytes || *bytes < 1 || *bytes > (double)states_quota.payload_bytes)
		*bytes = (double)states_quota.payload_bytes;
	return rc;
}

/* Items become batches {"BatchInput","Items"}; `sizes` says how many each has. Taken: items. NULL after a fault. */
static json_t *make_batches(struct exec *x, struct frame *f, json_t *items, json_t **sizes)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	const json_t *batcher = json_object_get(f->state->doc, "ItemBatcher");
	CLEANUP_JSON json_t *input = NULL, *owned = items;
	double most = 0, bytes = 0;
	size_t i, used = 0;
	json_t *value, *batches = json_array(), *batch = NULL;
	struct asl_env env = exec_env(x, f, f->input);
	int rc = batch_limits(x, f, &env, batcher, &most, &bytes, &input, &fault);
	if (!exec_handle(x, f, &env, rc, &fault)) {
		json_decref(batches);
		return NULL;
	}
	exec_env_done(&env);
	*sizes = json_array();
	json_array_foreach (items, i, value) {
		json_t *made = NULL;
		if (!item_input(x, f, (int64_t)i, value, &made)) {
			json_decref(batches);
			return NULL;
		}
		size_t size = asl_size_bytes(made);
		if (!batch || (double)json_array_size(batch) >= most || (double)(used + size) > bytes) {
			json_t *o = json_object();
			if (input)
				json_object_set(o, "BatchInput", input);
			batch = json_array();
			json_object_set_new(o, "Items", batch);
			json_array_append_new(batches, o);
			json_array_append_new(*sizes, json_integer(0));
			used = asl_size_bytes(o);
		}
		json_array_append_new(batch, made);
		json_array_set_new(*sizes, json_array_size(*sizes) - 1,
				   json_integer((json_int_t)json_array_size(batch)));
		used += size + 1;
	}
	return batches;
}

/* All items are known (taken): batches, then children. */
static void run_items(struct exec *x, struct frame *f, json_t *items)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	size_t n = json_array_size(items);
	bool batched = json_object_get(f->state->doc, "ItemBatcher") != NULL;
	if (batched) {
		json_t *sizes = NULL;
		items = make_batches(x, f, items, &sizes);
		if (!items) {
			json_decref(sizes);
			return;
		}
		json_object_set_new(f->task, "sizes", sizes);
	}
	db_exec(turn_db(x->t), &err, "UPDATE states_map_run SET items=?, batched=? WHERE arn=?", "iis", (int64_t)n,
		(int64_t)batched, json_get_text(f->task, "map_run"));
	json_set_int(f->task, "items", (int64_t)n);
	take(&f->work, items);
	json_set_int(f->task, "children", (int64_t)json_array_size(items));
	f->phase = PHASE_CHILDREN;
	exec_distributed_fill(x, f);
}

void exec_distributed_items(struct exec *x, struct frame *f, json_t *items)
{
	if (open_run(x, f, json_array_size(items)))
		run_items(x, f, items);
	else
		json_decref(items);
}

/* ---- children ---- */

/* The way from the machine to this Map's item processor, as facts.scope tells it. */
static json_t *scope_path(struct exec *x, struct frame *f)
{
	json_t *path = json_array(), *outer = json_object_get(x->facts, "scope");
	for (struct frame *p = f; p; p = p->parent) {
		bool parallel = p != f && p->state->type == ASL_PARALLEL;
		int64_t branch = 0;
		if (parallel)
			for (struct frame *q = f; q; q = q->parent)
				if (q->parent == p)
					branch = q->index;
		json_array_insert_new(path, 0, json_integer(branch));
		json_array_insert_new(path, 0, json_string(p->state->name));
	}
	json_t *all = outer ? json_copy(outer) : json_array();
	json_array_extend(all, path);
	json_decref(path);
	return all;
}

static int64_t child_size(const struct frame *f, int64_t i)
{
	const json_t *sizes = json_object_get(f->task, "sizes");
	return sizes ? json_integer_value(json_array_get(sizes, (size_t)i)) : 1;
}

static int child_start(struct exec *x, struct frame *f, int64_t i, json_t *input, struct error *err)
{
	const json_t *config = json_object_get(json_object_get(f->state->doc, "ItemProcessor"), "ProcessorConfig");
	const char *type = json_get_text(config, "ExecutionType"), *label = json_get_text(f->task, "label"),
		   *name = turn_uuid(x->t);
	bool express = type && strcmp(type, "EXPRESS") == 0;
	const char *machine = arena_printf(x->a, "%s/%s", x->machine_name, label);
	const char *rest = express ? arena_printf(x->a, "%s:%s:%s", machine, name, turn_uuid(x->t))
				   : arena_printf(x->a, "%s:%s", machine, name);
	const char *arn = states_arn(x->s, x->a, express ? "express" : "execution", rest);
	struct str text = asl_text(x->a, input);
	json_t *facts = json_copy(x->facts);
	static const char *const drop[] = {
		"parent", "sync", "redrive_count", "redrive_ms", "version", "alias", "trace"
	};
	for (size_t k = 0; k < sizeof(drop) / sizeof(*drop); k++)
		json_object_del(facts, drop[k]);
	json_set_text(facts, "arn", arn);
	json_set_text(facts, "name", name);
	json_set_text(facts, "machine", states_arn(x->s, x->a, "stateMachine", machine));
	json_set_text(facts, "machine_name", machine);
	json_set_text(facts, "type", express ? "EXPRESS" : "STANDARD");
	json_object_set_new(facts, "input", json_stringn(text.ptr, text.len));
	json_set_int(facts, "start_ms", x->now_ms);
	json_set_text(facts, "map_run", json_get_text(f->task, "map_run"));
	json_set_text(facts, "label", label);
	json_set_int(facts, "index", i);
	json_set_int(facts, "item_count", json_object_get(f->task, "sizes") ? child_size(f, i) : 0);
	json_object_set_new(facts, "scope", scope_path(x, f));
	json_set_text(facts, "parent", x->arn);
	json_set_int(facts, "parent_frame", f->id);
	json_set_int(facts, "parent_attempt", json_get_int(f->task, "attempt", 0));
	if (execution_insert(x->t, facts, err) < 0) {
		json_decref(facts);
		return -1;
	}
	return turn_spawn(x->t, "states.execution", arn, json_pack("{s:o}", "facts", facts), err);
}

static bool over_threshold(const struct frame *f)
{
	int64_t failed = json_get_int(f->task, "failed", 0), items = json_get_int(f->task, "items", 0);
	bool has_count = json_get_bool(f->task, "has_count", false),
	     has_percentage = json_get_bool(f->task, "has_percentage", false);
	if (has_count && (double)failed > json_get_real(f->task, "count", 0))
		return true;
	if (has_percentage && items && (double)failed * 100.0 / (double)items > json_get_real(f->task, "percentage", 0))
		return true;
	return !has_count && !has_percentage && failed > 0;
}

/* What the children gave, in the order of their items: {"arn","status","output"|"error","cause","input"}; owned, NULL
 * on a fault. */
static json_t *results_read(struct exec *x, struct frame *f, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	bool inputs = json_object_get(f->state->doc, "ResultWriter") != NULL;
	json_t *list = json_array();
	int rc = db_query(
		turn_db(x->t), &rows, err,
		"SELECT arn, status, error, cause, output, input FROM states_execution WHERE map_run=? ORDER BY num",
		"s", json_get_text(f->task, "map_run"));
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		static const char *const keys[] = { "arn", "status", "error", "cause" };
		json_t *o = json_object();
		for (int i = 0; i < 4; i++)
			json_set_text(o, keys[i], rows_str(&rows, i).ptr);
		if (!rows_null(&rows, 4))
			json_object_set_new(o, "output", asl_read_json(x->a, rows_str(&rows, 4), false, NULL));
		if (inputs)
			json_object_set_new(o, "input", asl_read_json(x->a, rows_str(&rows, 5), false, NULL));
		json_array_append_new(list, o);
	}
	if (rc < 0) {
		json_decref(list);
		return NULL;
	}
	return list;
}

static void results_write(struct exec *x, struct frame *f, json_t *results)
{
	const json_t *writer = json_object_get(f->state->doc, "ResultWriter");
	bool j = f->state->jsonata;
	json_t *template = json_object_get(writer, j ? "Arguments" : "Parameters");
	struct asl_fault fault = ASL_FAULT_INIT;
	CLEANUP_JSON json_t *params = NULL;
	struct asl_env env = exec_env(x, f, f->input);
	int rc = j ? asl_jsonata(&env, template, "ResultWriter/Arguments", &params, &fault)
		   : asl_payload(&env, template, "Parameters", &params, &fault);
	if (!exec_handle(x, f, &env, rc, &fault))
		return;
	exec_env_done(&env);
	f->phase = PHASE_WRITE;
	json_t *p = json_pack("{s:I,s:I,s:s,s:O,s:O,s:O*}", "frame", (json_int_t)f->id, "attempt",
			      (json_int_t)f->attempt, "map_run", json_get_text(f->task, "map_run"), "params", params,
			      "results", results, "config", json_object_get(writer, "WriterConfig"));
	turn_effect(x->t, "states.write",
		    arena_printf(x->a, "%s/%lld/%lld/w", x->arn, (long long)f->id, (long long)f->attempt), p);
}

static void run_done(struct exec *x, struct frame *f)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *results = results_read(x, f, &err);
	const json_t *writer = json_object_get(f->state->doc, "ResultWriter");
	size_t i;
	json_t *one;
	if (!results) {
		run_failed(x, f, "States.Runtime", error_text(&err));
		return;
	}
	if (json_object_get(writer, f->state->jsonata ? "Arguments" : "Parameters")) {
		results_write(x, f, results);
		return;
	}
	json_t *out = json_array();
	json_array_foreach (results, i, one) {
		json_t *output = json_object_get(one, "output");
		if (output)
			json_array_append(out, output);
		else
			json_array_append_new(
				out, exec_error_output(x, json_get_text(one, "error"), json_get_text(one, "cause")));
	}
	run_succeeded(x, f, out);
}

void exec_distributed_fill(struct exec *x, struct frame *f)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int64_t n = json_get_int(f->task, "children", 0), most = json_get_int(f->task, "concurrency", 0), started = 0;
	bool batched = json_object_get(f->task, "sizes") != NULL;
	if (f->phase != PHASE_CHILDREN)
		return;
	if (most <= 0 || most > states_quota.map_children)
		most = states_quota.map_children;
	int more = exec_distributed_redrive(x, f, most, &err);
	if (more < 0) {
		run_failed(x, f, "States.Runtime", error_text(&err));
		return;
	}
	if (more)
		return;
	while (f->running < most && f->next < n) {
		json_t *value = json_array_get(f->work, (size_t)f->next), *input = NULL;
		if (started++ == STARTS_AT_ONCE) {
			exec_ready(x, f);
			return;
		}
		if (batched)
			input = json_incref(value);
		else if (!item_input(x, f, f->next, value, &input))
			return;
		int rc = child_start(x, f, f->next, input, &err);
		json_decref(input);
		if (rc < 0) {
			run_failed(x, f, "States.Runtime", error_text(&err));
			return;
		}
		f->next++;
		f->running++;
	}
	if (f->next == n)
		take(&f->work, NULL);
	if (f->running == 0 && f->next == n)
		run_done(x, f);
}

static void child_ended(struct exec *x, struct frame *f, const json_t *event)
{
	if (f->phase != PHASE_CHILDREN)
		return;
	f->running--;
	f->done++;
	if (strcmp(json_get_text(event, "status"), "SUCCEEDED") != 0) {
		json_set_int(f->task, "failed",
			     json_get_int(f->task, "failed", 0) + child_size(f, json_get_int(event, "index", 0)));
		if (over_threshold(f)) {
			run_failed(x, f, "States.ExceedToleratedFailureThreshold",
				   "The specified tolerated failure threshold was exceeded");
			return;
		}
	}
	exec_distributed_fill(x, f);
}

void exec_distributed_event(struct exec *x, struct frame *f, const json_t *event)
{
	const char *type = json_get_text(event, "type");
	json_t *items = json_object_get(event, "items"), *result = json_object_get(event, "result");
	if (strcmp(type, "child-ended") == 0) {
		child_ended(x, f, event);
	} else if (strcmp(type, "items") == 0 && f->phase == PHASE_READ) {
		if (items)
			run_items(x, f, json_incref(items));
		else
			run_failed(x, f, "States.ItemReaderFailed", json_get_text(event, "cause"));
	} else if (strcmp(type, "written") == 0 && f->phase == PHASE_WRITE) {
		if (!result) {
			run_failed(x, f, "States.ResultWriterFailed", json_get_text(event, "cause"));
			return;
		}
		run_succeeded(x, f, json_incref(result));
	} else if (strcmp(type, "map-update") == 0 && f->phase == PHASE_CHILDREN) {
		json_object_set(f->task, "concurrency", json_object_get(event, "concurrency"));
		json_set_real(f->task, "count", (double)json_get_int(event, "tolerated_count", 0));
		json_object_set(f->task, "percentage", json_object_get(event, "tolerated_percentage"));
		exec_ready(x, f);
	}
}

void exec_distributed_cancel(struct exec *x, struct frame *f)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *arn = json_get_text(f->task, "map_run");
	int64_t stop_ms;
	if (!arn || !x->t)
		return;
	const char *running[1024];
	size_t n;
	do {
		n = 0;
		if (db_query(turn_db(x->t), &rows, &err,
			     "SELECT arn FROM states_execution WHERE map_run=? AND status='RUNNING' LIMIT 1024", "s",
			     arn) < 0)
			return;
		while (n < 1024 && rows_next(&rows, &err) > 0)
			running[n++] = arena_strdup(x->a, rows_str(&rows, 0));
		rows_done(&rows);
		for (size_t i = 0; i < n; i++)
			if (execution_stop(x->s, x->t, running[i], NULL, NULL, &stop_ms, &err) < 0)
				return;
	} while (n == 1024);
	close_run(x, f, "ABORTED");
}
