/* api_execution.c - starting, stopping, redriving and describing executions. */
#include "states/exec.h"

#include <stdlib.h>

/* ---- start ---- */

int input_check(struct arena *a, struct str input, json_t **out, struct error *err)
{
	struct asl_json_error why = { 0 };
	if ((int64_t)input.len > states_quota.payload_bytes)
		return error_aws(err, "InvalidExecutionInput",
				 "Invalid State Machine Execution Input: 'The input is longer than %lld bytes.'",
				 (long long)states_quota.payload_bytes);
	json_t *value = asl_read_json(a, input, false, &why);
	if (!value)
		return error_aws(err, "InvalidExecutionInput", "Invalid State Machine Execution Input: '%s'",
				 why.message);
	if (out)
		*out = value;
	else
		json_decref(value);
	return 0;
}

/* The version an alias leads to, by weight. */
static const char *alias_route(struct arena *a, const char *routing, uint64_t random)
{
	CLEANUP_JSON json_t *routes = json_column(routing);
	const json_t *first = json_array_get(routes, 0);
	int64_t weight = json_get_int(first, "weight", 100);
	if (json_array_size(routes) > 1 && (int64_t)(random % 100) >= weight)
		first = json_array_get(routes, 1);
	return arena_strdup(a, json_get_str(first, "stateMachineVersionArn"));
}

int start_target_find(struct states *s, struct db *db, struct arena *a, const char *arn, uint64_t random,
		      struct start_target *out, struct error *err)
{
	struct alias_row alias;
	struct version_row v;
	(void)s;
	*out = (struct start_target){ 0 };
	if (arn_check(str_from(arn), "stateMachine", err) < 0)
		return -1;
	const char *version = arn;
	int rc = alias_find(db, a, arn, &alias, err);
	if (rc < 0)
		return -1;
	if (rc) {
		out->alias = alias.arn;
		version = alias_route(a, alias.routing, random);
	}
	rc = version_find(db, a, version, &v, err);
	if (rc < 0)
		return -1;
	if (machine_get(db, a, rc ? v.machine : arn, &out->machine, err) < 0)
		return -1;
	if (strcmp(out->machine.status, "DELETING") == 0)
		return error_aws(err, "StateMachineDeleting", "State Machine Deleting: '%s'", arn);
	out->version = rc ? v.arn : NULL;
	out->hash = rc ? v.hash : out->machine.hash;
	out->role = rc ? v.role : out->machine.role;
	out->logging = rc ? v.logging : out->machine.logging;
	out->revision = rc ? v.revision : out->machine.revision;
	return 0;
}

json_t *execution_facts(const struct start_target *g, const char *arn, const char *name, struct str input,
			int64_t now_ms)
{
	json_t *f = json_object();
	json_set_text(f, "arn", arn);
	json_set_text(f, "name", name);
	json_set_text(f, "role", g->role);
	json_set_text(f, "machine", g->machine.arn);
	json_set_text(f, "machine_name", g->machine.name);
	json_set_text(f, "hash", g->hash);
	json_set_text(f, "type", g->machine.type);
	json_object_set_new(f, "input", json_stringn(input.ptr, input.len));
	json_set_int(f, "start_ms", now_ms);
	json_set_text(f, "version", g->version);
	json_set_text(f, "alias", g->alias);
	CLEANUP_JSON json_t *logging = json_column(g->logging);
	const char *level = json_get_text(logging, "level");
	if (level && strcmp(level, "OFF") != 0)
		json_object_set(f, "logging", logging);
	return f;
}

int execution_insert(struct turn *t, const json_t *facts, struct error *err)
{
	CLEANUP_FREE char *logging = json_get(facts, "logging") ? json_text_dup(json_get(facts, "logging")) : NULL;
	int rc = db_exec(turn_db(t), err,
			 "INSERT INTO states_execution(arn, machine, name, version, alias, hash, role, type, status, "
			 "input, start_ms, stop_ms, "
			 "redrive_count, redrive_ms, map_run, item_count, trace, revision, logging, label) VALUES(?, "
			 "?, ?, ?, ?, ?, ?, ?, 'RUNNING', ?, "
			 "?, 0, 0, 0, ?, ?, ?, ?, ?, ?)",
			 "ssssssssSisissss", json_get_text(facts, "arn"), json_get_text(facts, "machine"),
			 json_get_text(facts, "name"), json_get_text(facts, "version"), json_get_text(facts, "alias"),
			 json_get_text(facts, "hash"), json_get_text(facts, "role"), json_get_text(facts, "type"),
			 json_get_str(facts, "input"), json_get_int(facts, "start_ms", 0),
			 json_get_text(facts, "map_run"), json_get_int(facts, "item_count", 0),
			 json_get_text(facts, "trace"), json_get_text(facts, "revision"), logging,
			 json_get_text(facts, "label"));
	return rc < 0 ? -1 : 0;
}

int execution_insert_ended(struct turn *t, const json_t *done, struct error *err)
{
	const json_t *facts = json_object_get(done, "facts"), *state = json_get(done, "rs");
	CLEANUP_FREE char *redrive = state ? json_text_dup(state) : NULL;
	struct str out = json_get_str(done, "out"), lines = json_get_str(done, "h");
	int rc = db_exec(
		turn_db(t), err,
		"INSERT INTO states_execution(arn, machine, name, hash, role, type, status, input, output, "
		"error, cause, start_ms, stop_ms, redrive_count, redrive_ms, redrive_state, map_run, item_count, "
		"revision, label) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?, ?)",
		"sssssssSSssiississ", json_get_text(facts, "arn"), json_get_text(facts, "machine"),
		json_get_text(facts, "name"), json_get_text(facts, "hash"), json_get_text(facts, "role"),
		json_get_text(facts, "type"), json_get_text(done, "st"), json_get_str(facts, "input"), out,
		json_get_text(done, "er"), json_get_text(done, "ca"), json_get_int(facts, "start_ms", 0),
		json_get_int(done, "ms", 0), redrive, json_get_text(facts, "map_run"),
		json_get_int(facts, "item_count", 0), json_get_text(facts, "revision"), json_get_text(facts, "label"));
	if (rc < 0 || !lines.ptr)
		return rc < 0 ? -1 : 0;
	rc = db_exec(turn_db(t), err, "INSERT INTO states_history(execution, first, count, lines) VALUES(?, 1, ?, ?)",
		     "sib", json_get_text(facts, "arn"), json_get_int(done, "ev", 1) - 1, lines);
	return rc < 0 ? -1 : 0;
}

/* The same name and input while it runs is the same execution. */
static int started_already(const struct execution_row *x, struct str input, struct start_result *out, struct error *err)
{
	if (strcmp(x->status, "RUNNING") != 0 || !str_eq(x->input, input))
		return error_aws(err, "ExecutionAlreadyExists", "Execution Already Exists: '%s'", x->arn);
	*out = (struct start_result){ x->arn, x->start_ms };
	return 0;
}

int execution_start(struct states *s, struct turn *t, const struct start_request *rq, struct start_result *out,
		    struct error *err)
{
	struct arena *a = turn_arena(t);
	struct start_target g;
	struct execution_row x;
	struct str input = rq->input.ptr ? rq->input : STR("{}");
	if (rq->name && name_check(str_from(rq->name), err) < 0)
		return -1;
	if (start_target_find(s, turn_db(t), a, rq->machine, turn_random(t), &g, err) < 0 ||
	    input_check(a, input, NULL, err) < 0)
		return -1;
	const char *name = rq->name ? rq->name : turn_uuid(t);
	bool express = g.machine.express;
	const char *rest = express ? arena_printf(a, "%s:%s:%s", g.machine.name, name, turn_uuid(t))
				   : arena_printf(a, "%s:%s", g.machine.name, name);
	const char *arn = states_arn(s, a, express ? "express" : "execution", rest);
	if (!express && rq->name) {
		int rc = execution_find(turn_db(t), a, arn, &x, err);
		if (rc != 0)
			return rc < 0 ? -1 : started_already(&x, input, out, err);
	}
	json_t *facts = execution_facts(&g, arn, name, input, turn_now_ms(t));
	json_set_text(facts, "trace", rq->trace);
	json_set_text(facts, "revision", g.revision);
	if (rq->parent) {
		json_set_text(facts, "parent", rq->parent);
		json_set_int(facts, "parent_frame", rq->parent_frame);
		json_set_int(facts, "parent_attempt", rq->parent_attempt);
	}
	if (rq->sync)
		json_set_bool(facts, "sync", true);
	if (!express && execution_insert(t, facts, err) < 0) {
		json_decref(facts);
		return -1;
	}
	*out = (struct start_result){ arn, turn_now_ms(t) };
	return turn_spawn(t, "states.execution", arn, json_pack("{s:o}", "facts", facts), err);
}

COMMAND(api_execution_start)
{
	struct start_result r;
	const struct start_request rq = { .machine = json_get_text(in, "stateMachineArn"),
					  .name = json_get_text(in, "name"),
					  .input = json_get_str(in, "input"),
					  .trace = json_get_text(in, "traceHeader") };
	if (execution_start(c->service_ctx, t, &rq, &r, err) < 0)
		return -1;
	*out = json_pack("{s:s}", "executionArn", r.arn);
	json_set_real(*out, "startDate", (double)r.start_ms / 1000.0);
	return 0;
}

/* ---- stop ---- */

int execution_stop(struct states *s, struct turn *t, const char *arn, const char *error, const char *cause,
		   int64_t *stop_ms, struct error *err)
{
	struct execution_row x;
	(void)s;
	if (execution_get(turn_db(t), turn_arena(t), arn, &x, err) < 0)
		return -1;
	*stop_ms = x.stop_ms;
	if (strcmp(x.status, "RUNNING") != 0)
		return 0;
	*stop_ms = turn_now_ms(t);
	if (db_exec(turn_db(t), err,
		    "UPDATE states_execution SET status='ABORTED', stop_ms=?, error=?, cause=? WHERE arn=?", "isss",
		    *stop_ms, error, cause, arn) < 0)
		return -1;
	json_t *e = json_pack("{s:s}", "type", "abort");
	json_set_text(e, "error", error);
	json_set_text(e, "cause", cause);
	turn_send(t, arn, e);
	return 0;
}

COMMAND(api_execution_stop)
{
	int64_t stop_ms = 0;
	const char *arn = json_get_text(in, "executionArn");
	if (arn_check(str_from(arn), "execution", err) < 0)
		return -1;
	if (execution_stop(c->service_ctx, t, arn, json_get_text(in, "error"), json_get_text(in, "cause"), &stop_ms,
			   err) < 0)
		return -1;
	*out = json_object();
	json_set_real(*out, "stopDate", (double)stop_ms / 1000.0);
	return 0;
}

/* ---- redrive ---- */

static const char *not_redrivable(struct arena *a, const struct execution_row *x, int64_t now_ms)
{
	if (strcmp(x->status, "RUNNING") == 0)
		return "Execution is RUNNING and cannot be redriven";
	if (strcmp(x->status, "SUCCEEDED") == 0)
		return "Execution is SUCCEEDED and cannot be redriven";
	if (!x->redrivable)
		return arena_printf(a, "Execution is %s and cannot be redriven", x->status);
	if (now_ms - x->stop_ms > STATES_REDRIVE_MS)
		return "Execution redrivable period has expired";
	return NULL;
}

COMMAND(api_execution_redrive)
{
	struct arena *a = turn_arena(t);
	struct execution_row x;
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *arn = json_get_text(in, "executionArn"), *token = json_get_text(in, "clientToken");
	if (arn_check(str_from(arn), "execution", err) < 0 || execution_get(turn_db(t), a, arn, &x, err) < 0)
		return -1;
	if (db_row(turn_db(t), &rows, err, "SELECT redrive_state, redrive_token FROM states_execution WHERE arn=?", "s",
		   arn) < 0)
		return -1;
	struct str state_text = arena_str(a, rows_str(&rows, 0)), last = rows_str(&rows, 1);
	*out = json_object();
	if (token && last.ptr && str_eqz(last, token)) {
		json_set_real(*out, "redriveDate", (double)x.redrive_ms / 1000.0);
		return 0;
	}
	rows_done(&rows);
	const char *why = x.map_run ? "Execution is REDRIVABLE_BY_MAP_RUN: redrive the parent execution"
				    : not_redrivable(a, &x, turn_now_ms(t));
	if (why)
		return error_aws(err, "ExecutionNotRedrivable", "%s", why);
	json_t *state = json_parse(state_text, err);
	if (!state)
		return -1;
	if (json_get_int(state, "next_event", 0) >= states_quota.history_events) {
		json_decref(state);
		return error_aws(err, "ExecutionNotRedrivable", "Execution history event limit exceeded");
	}
	if (execution_respawn(t, arn, state, token, 0, err) < 0)
		return -1;
	json_set_real(*out, "redriveDate", (double)turn_now_ms(t) / 1000.0);
	return 0;
}

/* ---- describe ---- */

void execution_show_redrive(struct arena *a, json_t *o, const struct execution_row *x, int64_t now_ms)
{
	const char *why = not_redrivable(a, x, now_ms);
	json_set_int(o, "redriveCount", x->redrive_count);
	if (x->redrive_ms)
		json_set_real(o, "redriveDate", (double)x->redrive_ms / 1000.0);
	if (x->map_run && !why) {
		json_set_text(o, "redriveStatus", "REDRIVABLE_BY_MAP_RUN");
		return;
	}
	json_set_text(o, "redriveStatus", why ? "NOT_REDRIVABLE" : "REDRIVABLE");
	json_set_text(o, "redriveStatusReason", why);
}

QUERY(api_execution_describe)
{
	struct execution_row x;
	const char *arn = json_get_text(in, "executionArn"), *included = json_get_text(in, "includedData");
	bool data = !included || strcmp(included, "METADATA_ONLY") != 0;
	if (arn_check(str_from(arn), "execution", err) < 0 || execution_get(db, c->arena, arn, &x, err) < 0)
		return -1;
	json_t *o = *out = json_object();
	json_set_text(o, "executionArn", x.arn);
	json_set_text(o, "stateMachineArn", x.machine);
	json_set_text(o, "name", x.name);
	json_set_text(o, "status", x.status);
	json_set_real(o, "startDate", (double)x.start_ms / 1000.0);
	if (x.stop_ms)
		json_set_real(o, "stopDate", (double)x.stop_ms / 1000.0);
	json_object_set_new(o, "inputDetails", json_pack("{s:b}", "included", data));
	if (data)
		json_object_set_new(o, "input", json_stringn(x.input.ptr, x.input.len));
	if (x.output.ptr) {
		json_object_set_new(o, "outputDetails", json_pack("{s:b}", "included", data));
		if (data)
			json_object_set_new(o, "output", json_stringn(x.output.ptr, x.output.len));
	}
	json_set_text(o, "traceHeader", x.trace);
	json_set_text(o, "mapRunArn", x.map_run);
	json_set_text(o, "error", x.error);
	json_set_text(o, "cause", x.cause);
	json_set_text(o, "stateMachineVersionArn", x.version);
	json_set_text(o, "stateMachineAliasArn", x.alias);
	execution_show_redrive(c->arena, o, &x, clock_now_ms());
	return 0;
}
