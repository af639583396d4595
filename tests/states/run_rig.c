/* run_rig.c - see run_rig.h. */
#include "run_rig.h"

#include <stdlib.h>

#include "s3/s3.h"
#include "states/integ.h"

struct rig_report {
	int64_t seq, at_ms;
	json_t *event;
};

static void must(int rc, struct error *err)
{
	if (rc < 0)
		BUG("rig: %s", error_text(err));
}

uint64_t rig_random(struct rig *g)
{
	g->random += 0x9E3779B97F4A7C15u; /* splitmix64, public domain constants (Steele, Lea, Flood 2014) */
	uint64_t z = g->random;
	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
	return z ^ (z >> 31);
}

static uint64_t draw(void *ctx)
{
	return rig_random(ctx);
}

static int64_t now(void *ctx)
{
	return ((struct rig *)ctx)->now_ms;
}

/* ---- effects ---- */

static void report(struct rig *g, const struct effect *fx, json_t *event, int64_t delay_ms)
{
	g->reports = mem_realloc(g->reports, (g->nreports + 1) * sizeof(*g->reports));
	g->reports[g->nreports++] = (struct rig_report){ fx->seq, g->now_ms + delay_ms, event };
}

static void perform_task(void *ctx, struct engine *e, const struct effect *fx)
{
	struct rig *g = ctx;
	int64_t delay_ms = 0;
	json_t *event = g->answer(g, fx, &delay_ms);
	(void)e;
	if (!event)
		return;
	json_set_text(event, "type", "task");
	json_set_int(event, "frame", json_get_int(fx->payload, "frame", 0));
	json_set_int(event, "attempt", json_get_int(fx->payload, "attempt", 0));
	report(g, fx, event, delay_ms);
}

static void perform_log(void *ctx, struct engine *e, const struct effect *fx)
{
	(void)e;
	report(ctx, fx, NULL, 0);
}

static void reports_drop(struct rig *g)
{
	for (size_t i = 0; i < g->nreports; i++)
		json_decref(g->reports[i].event);
	g->nreports = 0;
}

/* ---- life ---- */

static void engine_begin(struct rig *g)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const struct engine_options o = { .store = g->store, .now_ms = now, .random = draw, .ctx = g, .manual = true };
	must(engine_new(&o, &g->engine, &err), &err);
	if (g->blobs_dir)
		must(blob_store_open(g->blobs_dir, &g->blobs, &err), &err);
	if (g->blobs_dir)
		must(s3_new(g->engine, g->blobs, &g->s3, &err), &err);
	struct states *s = g->states = mem_calloc(1, sizeof(*s));
	s->o = (struct states_options){
		.engine = g->engine, .s3 = g->s3, .account = "000000000000", .region = "us-east-1"
	};
	pthread_mutex_init(&s->lock, NULL);
	exec_actor_bind(s);
	engine_add_actor(g->engine, &states_execution_actor);
	engine_add_actor(g->engine, &states_pollers_actor);
	const struct effect_type types[] = { { .name = "states.task", .perform = perform_task, .ctx = g },
					     { .name = "states.log", .perform = perform_log, .ctx = g },
					     { .name = "states.children", .perform = exec_feed_perform, .ctx = s },
					     { .name = "states.write", .perform = exec_results_perform, .ctx = s } };
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		engine_add_effect(g->engine, &types[i]);
	must(engine_start(g->engine, &err), &err);
}

static void engine_finish(struct rig *g)
{
	reports_drop(g);
	engine_stop(g->engine); /* does what is due, with S3 */
	s3_free(g->s3);
	engine_free(g->engine);
	states_free(g->states);
	if (g->blobs_dir)
		blob_store_close(g->blobs);
}

void rig_open(struct rig *g)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const struct store_migration *const rooms[] = { engine_migrations, states_migrations, blob_migrations,
							s3_migrations };
	struct store_migration all[32] = { 0 };
	size_t n = 0;
	for (size_t i = 0; i < 4; i++)
		for (const struct store_migration *m = rooms[i]; m->room; m++)
			all[n++] = *m;
	g->now_ms = 1700000000000;
	g->arena = ARENA_INIT;
	must(store_open("", all, &g->store, &err), &err);
	engine_begin(g);
}

void rig_close(struct rig *g)
{
	engine_finish(g);
	store_close(g->store);
	arena_release(&g->arena);
	free(g->reports);
}

void rig_crash(struct rig *g)
{
	engine_finish(g);
	engine_begin(g);
}

/* ---- calls ---- */

struct asked {
	wire_command command;
	wire_query query;
	struct call call;
	json_t *in, *out;
};

static int ask_run(struct turn *t, void *arg, struct error *err)
{
	struct asked *k = arg;
	return k->command ? k->command(&k->call, t, k->in, &k->out, err)
			  : k->query(&k->call, turn_db(t), k->in, &k->out, err);
}

static json_t *ask(struct rig *g, wire_command command, wire_query query, json_t *in, const char **code)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct asked k = {
		command, query, { .arena = &g->arena, .engine = g->engine, .service_ctx = g->states }, in, NULL
	};
	int rc = engine_call(g->engine, ask_run, &k, &err);
	json_decref(in);
	if (rc >= 0)
		return k.out ? k.out : json_object();
	json_decref(k.out);
	if (!err.code[0])
		BUG("rig: %s", error_text(&err));
	if (code)
		*code = arena_strdup(&g->arena, str_from(err.code));
	return NULL;
}

json_t *rig_command(struct rig *g, wire_command run, json_t *in, const char **code)
{
	return ask(g, run, NULL, in, code);
}

json_t *rig_query(struct rig *g, wire_query run, json_t *in, const char **code)
{
	return ask(g, NULL, run, in, code);
}

static COMMAND(add_bucket)
{
	return db_exec(turn_db(t), err,
		       "INSERT INTO s3_bucket (name, owner, region, created_ms) VALUES "
		       "(?,'000000000000','us-east-1',0)",
		       "S", json_get_str(in, "bucket")) < 0
		       ? -1
		       : 0;
}

static COMMAND(add_object)
{
	return s3_put_small(t, json_get_str(in, "bucket"), json_get_str(in, "key"), json_get_str(in, "text"),
			    "application/json", err);
}

void rig_bucket(struct rig *g, const char *name)
{
	json_decref(rig_command(g, add_bucket, json_pack("{s:s}", "bucket", name), NULL));
}

void rig_object(struct rig *g, const char *bucket, const char *key, const char *text)
{
	json_decref(rig_command(g, add_object, json_pack("{s:s,s:s,s:s}", "bucket", bucket, "key", key, "text", text),
				NULL));
}

static COMMAND(create)
{
	return machine_create(c, t, in, &(struct machine_verdict){ 0 }, out, err);
}

const char *rig_start(struct rig *g, const char *type, struct str definition, struct str input)
{
	json_t *text = json_stringn(definition.ptr, definition.len), *given = json_stringn(input.ptr, input.len);
	json_t *in = json_pack("{s:s,s:s,s:s,s:o*}", "name", arena_printf(&g->arena, "m%d", ++g->machines), "type",
			       type, "roleArn", "arn:aws:iam::000000000000:role/r", "definition", text);
	CLEANUP_JSON json_t *made = text ? rig_command(g, create, in, NULL) : NULL;
	if (!text)
		json_decref(in);
	in = json_pack("{s:s?,s:o*}", "stateMachineArn", json_get_text(made, "stateMachineArn"), "input", given);
	if (!made || !given) {
		json_decref(in);
		return NULL;
	}
	CLEANUP_JSON json_t *started = rig_command(g, api_execution_start, in, NULL);
	return started ? arena_strdup(&g->arena, json_get_str(started, "executionArn")) : NULL;
}

json_t *rig_describe(struct rig *g, const char *arn)
{
	return rig_query(g, api_execution_describe, json_pack("{s:s}", "executionArn", arn), NULL);
}

json_t *rig_history(struct rig *g, const char *arn)
{
	json_t *all = json_array();
	const char *token = NULL;
	do {
		CLEANUP_JSON json_t *page = rig_query(
			g, api_execution_history,
			json_pack("{s:s,s:i,s:s*}", "executionArn", arn, "maxResults", 1000, "nextToken", token), NULL);
		json_array_extend(all, json_object_get(page, "events"));
		struct str next = json_get_str(page, "nextToken");
		token = next.ptr ? arena_strdup(&g->arena, next) : NULL;
	} while (token);
	return all;
}

/* ---- running ---- */

static bool report_one(struct rig *g)
{
	for (size_t i = 0; i < g->nreports; i++) {
		struct rig_report r = g->reports[i];
		if (r.at_ms > g->now_ms)
			continue;
		g->reports[i] = g->reports[--g->nreports];
		engine_effect_done(g->engine, r.seq, r.event);
		return true;
	}
	return false;
}

bool rig_step(struct rig *g)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int did = engine_step(g->engine, &err);
	must(did, &err);
	if (did || report_one(g))
		return true;
	int64_t next = engine_next_timer_ms(g->engine);
	for (size_t i = 0; i < g->nreports; i++)
		if (g->reports[i].at_ms < next)
			next = g->reports[i].at_ms;
	if (next == INT64_MAX)
		return false;
	g->now_ms = next > g->now_ms ? next : g->now_ms;
	return true;
}

void rig_run(struct rig *g, int steps)
{
	while (steps-- > 0 && rig_step(g))
		;
}

/* ---- what must hold ---- */

static const char *end_of(const char *type)
{
	static const char *const ends[][2] = { { "ExecutionSucceeded", "SUCCEEDED" },
					       { "ExecutionFailed", "FAILED" },
					       { "ExecutionTimedOut", "TIMED_OUT" },
					       { "ExecutionAborted", "ABORTED" } };
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (strcmp(type, ends[i][0]) == 0)
			return ends[i][1];
	return NULL;
}

/* Was this state entered before the event at `at`? */
static bool entered(const json_t *events, size_t at, const char *name)
{
	while (at-- > 0) {
		const json_t *d = json_object_get(json_array_get(events, at), "stateEnteredEventDetails");
		if (d && strcmp(json_get_text(d, "name"), name) == 0)
			return true;
	}
	return false;
}

static const char *wrong_event(struct rig *g, const json_t *events, size_t i, const char *status)
{
	const json_t *e = json_array_get(events, i), *left = json_object_get(e, "stateExitedEventDetails");
	int64_t id = json_get_int(e, "id", -1), before = json_get_int(e, "previousEventId", -1);
	const char *type = json_get_text(e, "type"), *end = type ? end_of(type) : NULL;
	bool last = i + 1 == json_array_size(events);
	if (!type || id != (int64_t)i + 1 || before < 0 || before >= id || (before == 0) != (i < 2))
		return arena_printf(&g->arena, "event %zu (%s): id %lld, previous %lld", i + 1, type ? type : "no type",
				    (long long)id, (long long)before);
	if ((i == 0) != (strcmp(type, "ExecutionStarted") == 0))
		return arena_printf(&g->arena, "event %zu: %s", i + 1, type);
	const json_t *next = json_array_get(events, i + 1);
	bool redriven = next && strcmp(json_get_text(next, "type"), "ExecutionRedriven") == 0;
	if (end && !last && !redriven)
		return arena_printf(&g->arena, "event %zu: %s is not the last", i + 1, type);
	if (last && strcmp(end ? end : "RUNNING", status) != 0)
		return arena_printf(&g->arena, "the last event is %s, the status %s", type, status);
	if (left && !entered(events, i, json_get_text(left, "name")))
		return arena_printf(&g->arena, "event %zu: %s is left and was never entered", i + 1,
				    json_get_text(left, "name"));
	return NULL;
}

const char *rig_wrong(struct rig *g, const char *arn)
{
	CLEANUP_JSON json_t *events = rig_history(g, arn), *d = rig_describe(g, arn);
	const char *status = json_get_text(d, "status");
	const char *why = json_array_size(events) ? NULL : "no events";
	for (size_t i = 0; !why && i < json_array_size(events); i++)
		why = wrong_event(g, events, i, status);
	struct str output = json_get_str(d, "output");
	bool succeeded = strcmp(status, "SUCCEEDED") == 0;
	if (!why && succeeded != (output.ptr != NULL))
		why = "an output without success, or the other way round";
	CLEANUP_JSON json_t *value = output.ptr ? asl_read_json(&g->arena, output, false, NULL) : NULL;
	if (!why && succeeded && !value)
		why = "the output is no JSON";
	struct engine_stats stats;
	engine_get_stats(g->engine, &stats);
	if (!why && stats.failures)
		why = "a turn failed";
	return why;
}
