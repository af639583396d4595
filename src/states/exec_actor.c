/* exec_actor.c - the durable execution: actor "states.execution", id = its ARN; and executions that live only in
 * memory.
 *
 * DESIGN: the actor's state is exec_save's JSON. `facts` in it never change: {arn, name, role, machine, machine_name,
 * hash, type, input, start_ms, redrive_count, redrive_ms, version, alias, logging, parent, parent_frame,
 * parent_attempt, map_run, index, scope}. Events: start | go                        begin (or go on from a redrive) |
 * more to run timer {kind, frame, attempt}      w wait and retry, t timeout, h heartbeat, x the machine's own
 * timeout jsonata {frame, attempt, key, answer} ecs.stopped | job-ended a job that a `.sync` state waits for; task,
 * ended, token, worker, heartbeat, child-ended, children, written … {frame, attempt} abort {error, cause} */
#include "states/exec.h"

#include <stdlib.h>

#include "base/log.h"

/* Actor functions get no context: one states room a process. */
static struct states *room;

void exec_actor_bind(struct states *s)
{
	room = s;
}

struct states *exec_actor_room(void)
{
	return room;
}

static uint64_t random_of_turn(void *ctx)
{
	return turn_random(ctx);
}

/* Long inputs, parsed: an execution with many events would read its own again each time. Core thread only. */
enum { INPUTS_KEPT = 16, INPUT_LONG = 2048 };
static struct {
	char *arn;
	json_t *value;
} inputs[INPUTS_KEPT];

static json_t *input_read(struct exec *x)
{
	bool keep = x->t && x->input_text.len >= INPUT_LONG;
	size_t slot = hash_bytes(x->arn, strlen(x->arn)) % INPUTS_KEPT;
	if (keep && inputs[slot].arn && strcmp(inputs[slot].arn, x->arn) == 0)
		return json_incref(inputs[slot].value);
	json_t *value = asl_read_json(x->a, x->input_text, false, NULL);
	if (!value)
		value = json_object();
	if (keep) {
		free(inputs[slot].arn);
		json_decref(inputs[slot].value);
		inputs[slot].arn = mem_strdup(x->arn);
		inputs[slot].value = json_incref(value);
	}
	return value;
}

void exec_inputs_release(void)
{
	for (int i = 0; i < INPUTS_KEPT; i++) {
		free(inputs[i].arn);
		json_decref(inputs[i].value);
		inputs[i].arn = NULL;
		inputs[i].value = NULL;
	}
}

void exec_facts(struct exec *x, json_t *facts)
{
	x->facts = facts;
	x->arn = json_get_text(facts, "arn");
	x->name = json_get_text(facts, "name");
	x->role = json_get_text(facts, "role");
	x->machine_arn = json_get_text(facts, "machine");
	x->machine_name = json_get_text(facts, "machine_name");
	x->input_text = json_get_str(facts, "input");
	x->input = input_read(x);
	x->start_ms = json_get_int(facts, "start_ms", 0);
	x->redrive_count = json_get_int(facts, "redrive_count", 0);
	x->redrive_ms = json_get_int(facts, "redrive_ms", 0);
	x->express = json_get_text(facts, "type") && strcmp(json_get_text(facts, "type"), "EXPRESS") == 0;
	x->logging = json_get(facts, "logging");
	x->record = !x->express || x->logging;
}

/* facts.scope: [state, branch, state, branch …] */
int exec_scope(struct exec *x, struct asl_machine *view, struct error *err)
{
	const json_t *path = json_object_get(x->facts, "scope");
	struct asl_states *scope = view->top;
	for (size_t i = 0; i + 1 < json_array_size(path); i += 2) {
		struct asl_state *st = asl_find(scope, json_string_value(json_array_get(path, i)));
		size_t branch = (size_t)json_integer_value(json_array_get(path, i + 1));
		if (!st || branch >= st->nbranches)
			return error_set(err, "execution %s: its Map state is not in the definition", x->arn);
		scope = st->branches[branch];
	}
	view->top = scope;
	return 0;
}

/* ---- the end ---- */

const char *const exec_status_names[] = { "RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED" };

static void tell_parent(struct exec *x)
{
	const char *parent = json_get_text(x->facts, "parent");
	if (!parent)
		return;
	json_t *e = json_pack("{s:s,s:I,s:I,s:s,s:s,s:I,s:I}", "type", "child-ended", "frame",
			      (json_int_t)json_get_int(x->facts, "parent_frame", 0), "attempt",
			      (json_int_t)json_get_int(x->facts, "parent_attempt", 0), "arn", x->arn, "status",
			      exec_status_names[x->status], "index", (json_int_t)json_get_int(x->facts, "index", -1),
			      "stop_ms", (json_int_t)x->now_ms);
	int64_t items = json_get_int(x->facts, "item_count", 0);
	json_set_int(e, "items", items ? items : 1);
	if (!json_get_text(x->facts, "map_run")) {
		if (x->output)
			json_object_set(e, "output", x->output);
		json_set_text(e, "error", x->error);
		json_set_text(e, "cause", x->cause);
	}
	turn_send(x->t, parent, e);
}

static int machine_gone(struct exec *x, struct error *err)
{
	struct db *db = turn_db(x->t);
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT 1 FROM states_machine WHERE arn=? AND status='DELETING'", "s",
			x->machine_arn);
	rows_done(&rows);
	if (rc <= 0)
		return rc;
	rc = db_row(db, &rows, err, "SELECT 1 FROM states_execution WHERE machine=? AND status='RUNNING' AND arn<>?",
		    "ss", x->machine_arn, x->arn);
	rows_done(&rows);
	if (rc == 0)
		rc = machine_erase(db, x->machine_arn, err);
	return rc < 0 ? -1 : 0;
}

json_t *exec_sync_answer(struct exec *x)
{
	json_t *o = json_object();
	int64_t ms = x->now_ms - x->start_ms;
	json_set_text(o, "executionArn", x->arn);
	json_set_text(o, "stateMachineArn", x->machine_arn);
	json_set_text(o, "name", x->name);
	json_set_real(o, "startDate", (double)x->start_ms / 1000.0);
	json_set_real(o, "stopDate", (double)x->now_ms / 1000.0);
	json_set_text(o, "status", exec_status_names[x->status]);
	json_set_text(o, "error", x->error);
	json_set_text(o, "cause", x->cause);
	json_object_set_new(o, "input", json_stringn(x->input_text.ptr, x->input_text.len));
	json_object_set_new(o, "inputDetails", json_pack("{s:b}", "included", 1));
	if (x->output) {
		struct str t = exec_text(x, x->output);
		json_object_set_new(o, "output", json_stringn(t.ptr, t.len));
	}
	json_object_set_new(o, "outputDetails", json_pack("{s:b}", "included", 1));
	json_set_text(o, "traceHeader", json_get_text(x->facts, "trace"));
	json_object_set_new(o, "billingDetails",
			    json_pack("{s:I,s:I}", "billedMemoryUsedInMB", (json_int_t)64,
				      "billedDurationInMilliseconds", ((json_int_t)ms / 100 + 1) * 100));
	return o;
}

static int ended(struct exec *x, struct error *err)
{
	struct turn *t = x->t;
	if (x->redrive)
		json_set_int(x->redrive, "next_event", x->next_event);
	CLEANUP_FREE char *redrive = x->redrive ? json_text_dup(x->redrive) : NULL;
	struct str out = x->output ? x->output_text : STR_NULL;
	int rc = 0;
	if (!x->express || json_get_text(x->facts, "map_run"))
		rc = db_exec(turn_db(t), err,
			     "UPDATE states_execution SET status=?, output=?, error=?, cause=?, stop_ms=?, "
			     "redrive_state=? WHERE arn=?",
			     "sSssiss", exec_status_names[x->status], out, x->error, x->cause, x->now_ms, redrive,
			     x->arn);
	const char *map_run = json_get_text(x->facts, "map_run");
	int64_t items = json_get_int(x->facts, "item_count", 0);
	if (rc >= 0 && map_run && x->status == EXEC_SUCCEEDED)
		rc = map_run_count(turn_db(t), map_run, 1, items ? items : 1, err);
	if (rc < 0 || machine_gone(x, err) < 0)
		return -1;
	tell_parent(x);
	if (json_get_bool(x->facts, "sync", false))
		waiters_execution_ended(x->s, t, x->arn, exec_sync_answer(x));
	turn_end(t);
	return 0;
}

/* ---- events ---- */

static void on_start(struct exec *x)
{
	if (x->redrive_count > 0 && x->nframes) {
		exec_redriven(x);
	} else {
		exec_begin(x);
	}
	double limit = (double)x->m->timeout_seconds;
	if (x->express && (limit <= 0 || limit * 1000 > (double)states_quota.express_ms))
		limit = (double)states_quota.express_ms / 1000;
	if (limit > 0)
		turn_timer(x->t, "x", exec_later(x, limit), json_pack("{s:s,s:s}", "type", "timer", "kind", "x"));
}

static void on_jsonata(struct exec *x, struct frame *f, const json_t *event)
{
	if (!f->pending)
		return;
	f->pending = false;
	if (!f->memo)
		f->memo = json_object();
	json_object_set(f->memo, json_get_text(event, "key"), json_object_get(event, "answer"));
	exec_ready(x, f);
}

static void on_timer(struct exec *x, struct frame *f, const json_t *event)
{
	if (f->phase == PHASE_WAIT) {
		f->phase = PHASE_RESULT;
		exec_ready(x, f);
	} else if (f->phase == PHASE_RETRY || f->phase == PHASE_CHILDREN) {
		exec_ready(x, f);
	} else {
		exec_task_timer(x, f, event);
	}
}

static void on_event(struct exec *x, const json_t *event)
{
	const char *type = json_get_text(event, "type"), *kind = json_get_text(event, "kind");
	if (strcmp(type, "start") == 0) {
		on_start(x);
		return;
	}
	if (strcmp(type, "abort") == 0) {
		exec_end(x, EXEC_ABORTED, NULL, json_get_text(event, "error"), json_get_text(event, "cause"),
			 x->next_event - 1);
		return;
	}
	if (kind && strcmp(kind, "x") == 0) {
		exec_end(x, EXEC_TIMED_OUT, NULL, NULL, NULL, x->next_event - 1);
		return;
	}
	if (strcmp(type, "ecs.stopped") == 0 || strcmp(type, "job-ended") == 0) {
		exec_job_ended(x, json_get_text(event, type[0] == 'e' ? "taskArn" : "arn"));
		return;
	}
	struct frame *f = exec_frame(x, json_get_int(event, "frame", -1));
	if (!f)
		return;
	bool of_map = f->state->type == ASL_MAP && strcmp(type, "child-ended") == 0;
	int64_t current = of_map ? json_get_int(f->task, "attempt", -2) : f->attempt;
	if (json_get_int(event, "attempt", -1) != current && !json_get_bool(event, "any_attempt", false))
		return;
	if (strcmp(type, "timer") == 0)
		on_timer(x, f, event);
	else if (strcmp(type, "jsonata") == 0)
		on_jsonata(x, f, event);
	else if (f->state->type == ASL_MAP)
		exec_distributed_event(x, f, event);
	else
		exec_task_event(x, f, event);
}

static int turn_body(struct exec *x, json_t *state, const json_t *event, struct error *err)
{
	if (strcmp(json_get_text(event, "type"), "engine.poison") == 0) {
		const char *why = json_get_text(event, "message");
		log_error("states", "%s: %s", x->arn, why ? why : "an event could not be handled");
		exec_end(x, EXEC_FAILED, NULL, "States.Runtime", why ? why : "Internal error", x->next_event - 1);
	} else {
		on_event(x, event);
	}
	bool more = exec_run(x);
	if (history_store(x, err) < 0)
		return -1;
	history_log(x);
	if (x->status != EXEC_RUNNING)
		return ended(x, err);
	CLEANUP_JSON json_t *saved = exec_save(x);
	json_object_clear(state);
	json_object_update(state, saved);
	if (more)
		turn_send(x->t, turn_self(x->t), json_pack("{s:s}", "type", "go"));
	return 0;
}

static int execution_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	struct exec x;
	exec_init(&x, room, turn_arena(t));
	x.t = t;
	x.now_ms = turn_now_ms(t);
	x.random = random_of_turn;
	x.random_ctx = t;
	exec_facts(&x, json_incref(json_object_get(state, "facts")));
	const char *hash = json_get_text(x.facts, "hash");
	struct asl_machine *m = machine_take(room, turn_db(t), hash, err), view;
	if (!m) {
		exec_release(&x);
		return -1;
	}
	view = *m;
	x.m = &view;
	int rc = exec_scope(&x, &view, err);
	if (json_object_get(x.facts, "scope"))
		view.timeout_seconds = 0;
	if (rc == 0)
		rc = exec_load(&x, state, err);
	if (rc == 0)
		rc = turn_body(&x, state, event, err);
	exec_release(&x);
	m->paths = view.paths;
	machine_give(room, hash, m);
	return rc;
}

const struct actor_type states_execution_actor = { .name = "states.execution", .turn = execution_turn };

/* ---- in memory ---- */

bool exec_never_waits(const struct asl_states *scope)
{
	for (size_t i = 0; i < scope->count; i++) {
		const struct asl_state *st = &scope->states[i];
		if (st->type == ASL_TASK || st->type == ASL_WAIT || st->distributed ||
		    json_object_get(st->doc, "Retry"))
			return false;
		for (size_t b = 0; b < st->nbranches; b++)
			if (!exec_never_waits(st->branches[b]))
				return false;
	}
	return true;
}

bool exec_run_whole(struct exec *x)
{
	exec_begin(x);
	exec_run(x);
	return x->status != EXEC_RUNNING;
}

/* ---- effects ---- */

static void jsonata_answer(struct states *s, struct engine *e, const struct effect *fx, enum jsonata_mode mode)
{
	json_t *out = NULL;
	enum jsonata_status st = jsonata_eval(s->jsonata, json_get_str(fx->payload, "expression"),
					      json_object_get(fx->payload, "bindings"),
					      (uint64_t)json_get_int(fx->payload, "seed", 0), mode, &out);
	json_t *answer = json_pack("{s:i,s:o*}", "status", (int)st, "value", out);
	engine_effect_done(e, fx->seq,
			   json_pack("{s:s,s:I,s:I,s:s,s:o}", "type", "jsonata", "frame",
				     (json_int_t)json_get_int(fx->payload, "frame", 0), "attempt",
				     (json_int_t)json_get_int(fx->payload, "attempt", 0), "key",
				     json_get_text(fx->payload, "key"), "answer", answer));
}

/* Not tried yet: what takes too long is asked for again as slow. */
static void perform_jsonata(void *ctx, struct engine *e, const struct effect *fx)
{
	jsonata_answer(ctx, e, fx, JSONATA_QUICK);
}

static void perform_slow(void *ctx, struct engine *e, const struct effect *fx)
{
	jsonata_answer(ctx, e, fx, JSONATA_FULL);
}

int exec_effects_init(struct states *s)
{
	const struct effect_type types[] = {
		{ .name = "states.jsonata", .perform = perform_jsonata, .ctx = s, .blocking = true, .threads = 2 },
		{ .name = "states.jsonata-slow", .perform = perform_slow, .ctx = s, .blocking = true, .threads = 2 },
	};
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		engine_add_effect(s->o.engine, &types[i]);
	return 0;
}
