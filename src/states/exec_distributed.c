/* exec_distributed.c - distributed Map: a map run whose children are executions of their own. See exec.h.
 *
 * DESIGN: children come in pieces of a few hundred from the effect "states.children" (exec_feed.c), which is asked for
 * the next piece when the last one is used up. Those that never wait have run there already and are written here, many
 * in one turn. The others are inputs in `work`, and each becomes an actor "states.execution" that tells this frame of
 * its end. What children gave stays in their rows until the end (exec_results.c). So neither the state nor memory grows
 * with the number of items. In `task`: the settings, "position" (items that have children), f->next (children made),
 * "end" (no more items), "asked" (a piece is on its way). */
#include "states/integ.h"

#include <stdlib.h>

enum { STARTS_AT_ONCE = 500, AHEAD = 32, ASK_MAX = 500 };

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

int exec_map_settings(struct frame *f, struct asl_env *env, struct map_settings *w, struct asl_fault *fault)
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

static int map_run_insert(struct exec *x, struct frame *f, const struct map_settings *w, const char *arn,
			  struct error *err)
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
	struct map_settings w = { 0 };
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
		rc = exec_map_settings(f, &env, &w, &fault);
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
	take(&f->task, json_pack("{s:s,s:s,s:s,s:I,s:f,s:b,s:f,s:b,s:I}", "map_run", arn, "label", label, "seed",
				 turn_uuid(x->t), "concurrency", (json_int_t)w.concurrency, "count", w.count,
				 "has_count", w.has_count, "percentage", w.percentage, "has_percentage",
				 w.has_percentage, "attempt", (json_int_t)f->attempt));
	take(&f->memo, NULL);
	f->next = f->running = f->done = 0;
	return true;
}

static void close_run(struct exec *x, struct frame *f, const char *status)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *arn = json_get_text(f->task, "map_run");
	if (!arn || !x->t)
		return;
	db_exec(turn_db(x->t), &err, "UPDATE states_map_run SET status=?, stop_ms=? WHERE arn=? AND status='RUNNING'",
		"sis", status, x->now_ms, arn);
	exec_feed_forget(x->s, arn);
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

static int64_t task_int(const struct frame *f, const char *key)
{
	return json_get_int(f->task, key, 0);
}

/* ---- the source of the items ---- */

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

/* Asks for the next piece. */
static void ask(struct exec *x, struct frame *f)
{
	static const char *const same[] = { "map_run",    "has_count", "count", "has_percentage",
					    "percentage", "failed",    "items", "attempt" };
	int64_t most = task_int(f, "concurrency");
	if (most <= 0 || most > states_quota.map_children)
		most = states_quota.map_children;
	int64_t room = most - f->running, pieces = task_int(f, "pieces") + 1;
	json_t *p = json_object();
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		json_copy_key(p, f->task, same[i]);
	json_set_int(p, "frame", f->id);
	json_set_int(p, "attempt", f->attempt);
	json_set_int(p, "position", task_int(f, "position"));
	json_set_int(p, "index", f->next);
	json_set_int(p, "want", room < AHEAD ? AHEAD : room > ASK_MAX ? ASK_MAX : room);
	if (f->phase == PHASE_READ)
		json_set_bool(p, "count_only", true);
	json_set_int(f->task, "pieces", pieces);
	json_set_bool(f->task, "asked", true);
	turn_effect(x->t, "states.children",
		    arena_printf(x->a, "%s/%lld/%lld/%lld", x->arn, (long long)f->id, (long long)f->attempt,
				 (long long)pieces),
		    p);
}

/* The run is open: its source (taken) and what else makes its children become the run's feed. items < 0: not known. */
static void begin_feed(struct exec *x, struct frame *f, json_t *source, int64_t items)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	json_t *run = json_object(), *scope = scope_path(x, f);
	json_set_text(source, "role", x->role);
	static const char *const same[] = { "map_run", "label", "seed", "attempt" };
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		json_copy_key(run, f->task, same[i]);
	CLEANUP_JSON json_t *feed = json_pack("{s:o,s:I,s:o,s:o,s:o}", "state", exec_save_line(x, f), "frame",
					      (json_int_t)f->id, "source", source, "run", run, "scope", scope);
	CLEANUP_FREE char *text = json_text_dup(feed);
	if (db_exec(turn_db(x->t), &err, "UPDATE states_map_run SET feed=?, items=?, batched=? WHERE arn=?", "siis",
		    text, items < 0 ? (int64_t)0 : items,
		    (int64_t)(json_object_get(f->state->doc, "ItemBatcher") != NULL),
		    json_get_text(f->task, "map_run")) < 0) {
		run_failed(x, f, "States.Runtime", error_text(&err));
		return;
	}
	take(&f->work, json_array());
	if (items >= 0) {
		json_set_int(f->task, "items", items);
		json_set_bool(f->task, "counted", true);
	}
	/* a percentage is of all items: they are counted before the first child starts */
	bool counts = items < 0 && json_get_bool(f->task, "has_percentage", false);
	f->phase = counts ? PHASE_READ : PHASE_CHILDREN;
	ask(x, f);
}

int exec_reader_most(struct frame *f, struct asl_env *env, int64_t *most, struct asl_fault *fault)
{
	const json_t *config = json_object_get(json_object_get(f->state->doc, "ItemReader"), "ReaderConfig");
	bool given = false;
	double n = 0;
	int rc = config ? asl_number(env, config, "MaxItems", f->state->jsonata, true, &given, &n, fault) : ASL_OK;
	if (n == 0 && json_object_get(config, "MaxItems"))
		given = false; /* written so, it is no limit (recorded on AWS) */
	*most = given ? (int64_t)n : INT64_MAX;
	return rc;
}

void exec_distributed_begin(struct exec *x, struct frame *f)
{
	struct asl_fault fault = ASL_FAULT_INIT;
	const json_t *reader = json_object_get(f->state->doc, "ItemReader");
	bool j = f->state->jsonata;
	json_t *template = json_object_get(reader, j ? "Arguments" : "Parameters");
	const json_t *config = json_object_get(reader, "ReaderConfig");
	CLEANUP_JSON json_t *filtered = NULL, *params = NULL;
	int64_t most;
	struct asl_env env = exec_env(x, f, f->input);
	int rc = j ? ASL_OK : asl_in_out_path(&env, f->state->doc, "InputPath", f->input, &filtered, &fault);
	if (filtered)
		env.input = filtered;
	if (rc == ASL_OK && template)
		rc = j ? asl_jsonata(&env, template, "ItemReader/Arguments", &params, &fault)
		       : asl_payload(&env, template, "Parameters", &params, &fault);
	if (rc == ASL_OK)
		rc = exec_reader_most(f, &env, &most, &fault);
	if (!exec_handle(x, f, &env, rc, &fault))
		return;
	exec_env_done(&env);
	if (!open_run(x, f, 0))
		return;
	if (most <= 0) {
		run_failed(x, f, "States.ItemReaderFailed", "field MaxItems must be positive");
		return;
	}
	json_t *source = json_pack("{s:s?,s:O*,s:O*}", "resource", json_get_text(reader, "Resource"), "params", params,
				   "config", config);
	json_set_int(source, "most", most);
	begin_feed(x, f, source, -1);
}

void exec_distributed_items(struct exec *x, struct frame *f, json_t *items)
{
	if (open_run(x, f, json_array_size(items)))
		begin_feed(x, f, json_pack("{s:O}", "items", items), (int64_t)json_array_size(items));
	json_decref(items);
}

/* ---- children ---- */

/* A UUID of version 7 whose order is that of the children: the run's time and random bits, then the index. */
static const char *child_name(struct arena *a, const char *seed, int64_t start_ms, int64_t index)
{
	char hex[33];
	size_t n = 0;
	for (const char *p = seed; *p && n < 32; p++)
		if (*p != '-')
			hex[n++] = *p;
	hex[n] = 0;
	return arena_printf(a, "%08llx-%04llx-7%.3s-8%.3s-%.4s%08llx",
			    (unsigned long long)(start_ms >> 16) & 0xffffffff, (unsigned long long)start_ms & 0xffff,
			    hex, hex + 3, hex + 6, (unsigned long long)index & 0xffffffff);
}

json_t *exec_child_facts(struct exec *x, const json_t *run, int64_t frame, int64_t index, int64_t items, json_t *scope,
			 struct str input)
{
	static const char *const same[] = { "role", "hash", "logging", "revision" };
	const json_t *config =
		json_object_get(json_object_get(exec_frame(x, frame)->state->doc, "ItemProcessor"), "ProcessorConfig");
	const char *type = json_get_text(config, "ExecutionType"), *label = json_get_text(run, "label"),
		   *name = child_name(x->a, json_get_text(run, "seed"), x->start_ms, index);
	bool express = type && strcmp(type, "EXPRESS") == 0;
	const char *machine = arena_printf(x->a, "%s/%s", x->machine_name, label);
	const char *rest = express ? arena_printf(x->a, "%s:%s:%s", machine, name, name)
				   : arena_printf(x->a, "%s:%s", machine, name);
	json_t *facts = json_object();
	for (size_t k = 0; k < sizeof(same) / sizeof(*same); k++)
		json_copy_key(facts, x->facts, same[k]);
	json_set_text(facts, "arn", states_arn(x->s, x->a, express ? "express" : "execution", rest));
	json_set_text(facts, "name", name);
	json_set_text(facts, "machine", states_arn(x->s, x->a, "stateMachine", machine));
	json_set_text(facts, "machine_name", machine);
	json_set_text(facts, "type", express ? "EXPRESS" : "STANDARD");
	json_object_set_new(facts, "input", json_stringn(input.ptr, input.len));
	json_set_int(facts, "start_ms", x->now_ms);
	json_set_text(facts, "map_run", json_get_text(run, "map_run"));
	json_set_text(facts, "label", label);
	json_set_int(facts, "index", index);
	json_set_int(facts, "item_count", items);
	json_object_set(facts, "scope", scope);
	json_set_text(facts, "parent", x->arn);
	json_set_int(facts, "parent_frame", frame);
	json_set_int(facts, "parent_attempt", json_get_int(run, "attempt", 0));
	return facts;
}

/* Starts one of `work` as an actor. */
static int child_start(struct exec *x, struct frame *f, const json_t *one, struct error *err)
{
	CLEANUP_JSON json_t *scope = scope_path(x, f);
	json_t *facts = exec_child_facts(x, f->task, f->id, json_get_int(one, "i", 0), json_get_int(one, "n", 0), scope,
					 json_get_str(one, "in"));
	if (execution_insert(x->t, facts, err) < 0) {
		json_decref(facts);
		return -1;
	}
	const char *arn = arena_strdup(x->a, json_get_str(facts, "arn"));
	return turn_spawn(x->t, "states.execution", arn, json_pack("{s:o}", "facts", facts), err);
}

bool exec_over_threshold(const json_t *run, int64_t failed)
{
	int64_t items = json_get_int(run, "items", 0);
	bool has_count = json_get_bool(run, "has_count", false),
	     has_percentage = json_get_bool(run, "has_percentage", false);
	if (has_count && (double)failed > json_get_real(run, "count", 0))
		return true;
	if (has_percentage && items && (double)failed * 100.0 / (double)items > json_get_real(run, "percentage", 0))
		return true;
	return !has_count && !has_percentage && failed > 0;
}

/* ---- the end ---- */

/* `fails`: the run has failed; what was not begun is written too, as far as it can be read. */
static void results_write(struct exec *x, struct frame *f, bool fails)
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
	json_t *p = json_pack("{s:I,s:I,s:s,s:O,s:O*,s:I,s:I,s:b}", "frame", (json_int_t)f->id, "attempt",
			      (json_int_t)f->attempt, "map_run", json_get_text(f->task, "map_run"), "params", params,
			      "config", json_object_get(writer, "WriterConfig"), "position",
			      (json_int_t)task_int(f, "position"), "index", (json_int_t)f->next, "rest",
			      fails && !json_get_bool(f->task, "end", false) &&
				      !json_get_bool(f->task, "unreadable", false));
	json_set_text(p, "machine",
		      states_arn(x->s, x->a, "stateMachine",
				 arena_printf(x->a, "%s/%s", x->machine_name, json_get_text(f->task, "label"))));
	if (fails)
		json_object_set(p, "queued", f->work);
	turn_effect(x->t, "states.write",
		    arena_printf(x->a, "%s/%lld/%lld/w", x->arn, (long long)f->id, (long long)f->attempt), p);
}

static bool has_writer(const struct frame *f)
{
	const json_t *writer = json_object_get(f->state->doc, "ResultWriter");
	return json_object_get(writer, f->state->jsonata ? "Arguments" : "Parameters") != NULL;
}

/* As exec_fault for a fault of the language, with the run closed before. */
static void run_asl_fault(struct exec *x, struct frame *f, struct asl_fault *fault)
{
	close_run(x, f, "FAILED");
	exec_distributed_cancel(x, f);
	f->phase = PHASE_BEGIN;
	exec_asl_fault(x, f, fault);
}

static void run_done(struct exec *x, struct frame *f)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (has_writer(f)) {
		results_write(x, f, false);
		return;
	}
	json_t *result = exec_results_read(
		x, json_get_text(f->task, "map_run"),
		json_object_get(json_object_get(f->state->doc, "ResultWriter"), "WriterConfig"), &err);
	if (result)
		run_succeeded(x, f, result);
	else if (error_is(&err, "limit"))
		run_failed(
			x, f, "States.DataLimitExceeded",
			arena_printf(x->a,
				     "The state/task '%s' returned a result with a size exceeding the maximum number "
				     "of bytes service limit.",
				     f->state->name));
	else
		run_failed(x, f, "States.Runtime", error_text(&err));
}

static void children_stop(struct exec *x, struct frame *f);

/* The run fails: children that run are stopped, and a ResultWriter still writes what there is. (AWS: "PENDING_n.json:
 * child workflow executions that weren't started because the Map Run failed".) */
static void run_fails(struct exec *x, struct frame *f, const char *error, const char *cause, bool readable)
{
	if (!has_writer(f) || f->next == 0) {
		run_failed(x, f, error, cause);
		return;
	}
	children_stop(x, f);
	json_set_bool(f->task, "unreadable", !readable);
	json_set_text(f->task, "error", error);
	json_set_text(f->task, "cause", cause);
	results_write(x, f, true);
}

static void run_exceeded(struct exec *x, struct frame *f)
{
	run_fails(x, f, "States.ExceedToleratedFailureThreshold",
		  "The specified tolerated failure threshold was exceeded", true);
}

void exec_distributed_fill(struct exec *x, struct frame *f)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int64_t most = task_int(f, "concurrency"), started = 0;
	if (f->phase != PHASE_CHILDREN)
		return;
	if (json_get_text(f->task, "error")) { /* it has failed, and its writer's arguments took a while */
		results_write(x, f, true);
		return;
	}
	if (most <= 0 || most > states_quota.map_children)
		most = states_quota.map_children;
	int more = exec_distributed_redrive(x, f, most, &err);
	if (more < 0)
		run_failed(x, f, "States.Runtime", error_text(&err));
	if (more)
		return;
	while (f->running < most && json_array_size(f->work)) {
		if (started++ == STARTS_AT_ONCE || exec_tired(x)) {
			exec_ready(x, f);
			return;
		}
		if (child_start(x, f, json_array_get(f->work, 0), &err) < 0) {
			run_failed(x, f, "States.Runtime", error_text(&err));
			return;
		}
		json_array_remove(f->work, 0);
		f->running++;
	}
	bool end = json_get_bool(f->task, "end", false), asked = json_get_bool(f->task, "asked", false);
	if (!end && !asked && json_array_size(f->work) == 0)
		ask(x, f);
	else if (end && !asked && f->running == 0 && json_array_size(f->work) == 0)
		run_done(x, f);
}

static void count_failed(struct frame *f, int64_t items)
{
	json_set_int(f->task, "failed", task_int(f, "failed") + items);
}

static void child_ended(struct exec *x, struct frame *f, const json_t *event)
{
	if (f->phase != PHASE_CHILDREN)
		return;
	f->running--;
	f->done++;
	if (json_get_text(f->task, "error"))
		return;
	if (strcmp(json_get_text(event, "status"), "SUCCEEDED") != 0) {
		count_failed(f, json_get_int(event, "items", 1));
		if (exec_over_threshold(f->task, task_int(f, "failed"))) {
			run_exceeded(x, f);
			return;
		}
	}
	exec_distributed_fill(x, f);
}

/* ---- pieces ---- */

static int write_done(struct exec *x, struct frame *f, json_t *done, struct error *err)
{
	json_t *one;
	size_t i;
	int64_t good = 0, good_items = 0;
	json_array_foreach (done, i, one) {
		int64_t items = json_get_int(json_object_get(one, "facts"), "item_count", 0);
		bool succeeded = strcmp(json_get_text(one, "st"), "SUCCEEDED") == 0;
		items = items ? items : 1;
		if (execution_insert_ended(x->t, one, err) < 0)
			return -1;
		f->done++;
		good += succeeded;
		good_items += succeeded ? items : 0;
		if (!succeeded)
			count_failed(f, items);
	}
	return good ? map_run_count(turn_db(x->t), json_get_text(f->task, "map_run"), good, good_items, err) : 0;
}

/* True: the event tells of a fault, which was dealt with. */
static bool piece_fault(struct exec *x, struct frame *f, const json_t *event)
{
	const json_t *why = json_object_get(event, "fault");
	const char *error = json_get_text(why, "error"), *cause = json_get_text(why, "cause"),
		   *location = json_get_text(why, "location");
	if (!why)
		return false;
	if (json_get_bool(why, "whole", false)) {
		run_fails(x, f, error, cause, false);
		return true;
	}
	struct asl_fault fault = ASL_FAULT_INIT;
	asl_fault_set(&fault, error, "%s", cause ? cause : "");
	fault.location = location ? mem_strdup(location) : NULL;
	run_asl_fault(x, f, &fault);
	return true;
}

/* The items were counted, or a part of them. */
static void piece_counted(struct exec *x, struct frame *f, bool end)
{
	if (end) {
		json_set_int(f->task, "items", task_int(f, "position"));
		json_set_bool(f->task, "counted", true);
		json_set_int(f->task, "position", 0);
		f->phase = PHASE_CHILDREN;
	}
	ask(x, f);
}

static void piece_came(struct exec *x, struct frame *f, const json_t *event)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	bool end = json_get_bool(event, "end", false);
	json_set_bool(f->task, "asked", false);
	json_object_set(f->task, "position", json_object_get(event, "position"));
	if (f->phase == PHASE_READ) {
		if (!piece_fault(x, f, event))
			piece_counted(x, f, end);
		return;
	}
	if (f->phase != PHASE_CHILDREN)
		return;
	f->next = json_get_int(event, "index", f->next);
	json_set_bool(f->task, "end", end);
	if (!json_get_bool(f->task, "counted", false))
		json_set_int(f->task, "items", task_int(f, "position"));
	json_array_extend(f->work, json_object_get(event, "inputs"));
	if (write_done(x, f, json_object_get(event, "done"), &err) < 0 ||
	    db_exec(turn_db(x->t), &err, "UPDATE states_map_run SET items=? WHERE arn=?", "is", task_int(f, "items"),
		    json_get_text(f->task, "map_run")) < 0) {
		run_failed(x, f, "States.Runtime", error_text(&err));
		return;
	}
	if (piece_fault(x, f, event))
		return;
	if (task_int(f, "failed") && exec_over_threshold(f->task, task_int(f, "failed")))
		run_exceeded(x, f);
	else
		exec_distributed_fill(x, f);
}

static void results_written(struct exec *x, struct frame *f, const json_t *event)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *error = json_get_text(f->task, "error"), *cause = json_get_text(f->task, "cause"),
		   *unread = json_get_text(event, "unread");
	json_t *result = exec_results_commit(x, json_get_text(f->task, "map_run"), event, &err);
	if (error) {
		error = arena_strdup(x->a, str_from(error));
		cause = unread ? arena_printf(
					 x->a,
					 "%s. Items that had not begun could not be read, so the PENDING files lack "
					 "them: %s",
					 cause, unread)
			       : arena_strdup(x->a, str_from(cause));
		json_object_del(f->task, "error"); /* a redrive begins without it */
		json_object_del(f->task, "cause");
		json_object_del(f->task, "unreadable");
	}
	if (!result)
		run_failed(x, f, "States.ResultWriterFailed", error_text(&err));
	else if (error)
		run_failed(x, f, error, cause);
	else
		run_succeeded(x, f, json_incref(result));
	json_decref(result);
}

void exec_distributed_event(struct exec *x, struct frame *f, const json_t *event)
{
	const char *type = json_get_text(event, "type");
	if (strcmp(type, "child-ended") == 0) {
		child_ended(x, f, event);
	} else if (strcmp(type, "children") == 0) {
		piece_came(x, f, event);
	} else if (strcmp(type, "written") == 0 && f->phase == PHASE_WRITE) {
		results_written(x, f, event);
	} else if (strcmp(type, "map-update") == 0 && f->phase == PHASE_CHILDREN) {
		json_object_set(f->task, "concurrency", json_object_get(event, "concurrency"));
		json_set_real(f->task, "count", (double)json_get_int(event, "tolerated_count", 0));
		json_object_set(f->task, "percentage", json_object_get(event, "tolerated_percentage"));
		if (json_get_int(event, "tolerated_count", 0) > 0)
			json_set_bool(f->task, "has_count", true);
		if (json_get_real(event, "tolerated_percentage", 0) > 0)
			json_set_bool(f->task, "has_percentage", true);
		exec_ready(x, f);
	}
}

bool exec_distributed_runs(const struct frame *f)
{
	return f->state->distributed &&
	       (f->phase == PHASE_CHILDREN || f->phase == PHASE_READ || f->phase == PHASE_WRITE);
}

/* Stops the children that run. */
static void children_stop(struct exec *x, struct frame *f)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *arn = json_get_text(f->task, "map_run"), *running[1024],
		   *machine = states_arn(x->s, x->a, "stateMachine",
					 arena_printf(x->a, "%s/%s", x->machine_name, json_get_text(f->task, "label")));
	int64_t stop_ms;
	size_t n;
	do {
		n = 0;
		/* by the index on what runs: the run itself may have a million children */
		if (db_query(turn_db(x->t), &rows, &err,
			     "SELECT arn FROM states_execution WHERE machine=? AND status='RUNNING' AND "
			     "COALESCE(map_run, '')=? "
			     "LIMIT "
			     "1024",
			     "ss", machine, arn) < 0)
			return;
		while (n < 1024 && rows_next(&rows, &err) > 0)
			running[n++] = arena_strdup(x->a, rows_str(&rows, 0));
		rows_done(&rows);
		for (size_t i = 0; i < n; i++)
			if (execution_stop(x->s, x->t, running[i], NULL, NULL, &stop_ms, &err) < 0)
				return;
	} while (n == 1024);
}

void exec_distributed_cancel(struct exec *x, struct frame *f)
{
	if (!json_get_text(f->task, "map_run") || !x->t)
		return;
	children_stop(x, f);
	close_run(x, f, "ABORTED");
}
