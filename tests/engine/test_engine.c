/* test_engine.c - what engine.h promises, one promise a test.
 *
 * DESIGN: a toy actor does what its events tell it to ("do": list of operations), so each test writes its story as
 * JSON. Most run on a manual engine with a clock of their own; "life" is a store and an engine that can be killed and
 * opened again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/engine.h"

struct life {
	struct store *store;
	struct engine *engine;
	int64_t now_ms;
	uint64_t random;
	int performed[64]; /* by the number in the payload */
	int64_t seq[64];
	bool report;  /* performers answer at once */
	int crash_at; /* enum engine_crash, or -1 */
	int after_commit;
	int max_turns;
};

/* ---- the toy actor ---- */

static int do_op(struct turn *t, json_t *state, json_t *op, struct error *err)
{
	const char *what = json_get_text(op, "op"), *name = json_get_text(op, "name");
	if (!strcmp(what, "send"))
		turn_send(t, name, json_incref(json_object_get(op, "event")));
	else if (!strcmp(what, "spawn"))
		return turn_spawn(t, "toy", name, json_deep_copy(json_object_get(op, "state")), err);
	else if (!strcmp(what, "timer"))
		turn_timer(t, name, json_get_int(op, "at", 0), json_incref(json_object_get(op, "event")));
	else if (!strcmp(what, "effect"))
		turn_effect(t, "toy.effect", name, json_incref(json_object_get(op, "payload")));
	else if (!strcmp(what, "row"))
		return db_exec(turn_db(t), err, "INSERT INTO toy(name) VALUES(?)", "s", name) < 0 ? -1 : 0;
	else if (!strcmp(what, "end"))
		turn_end(t);
	else if (!strcmp(what, "fail"))
		return error_set(err, "told to fail");
	else if (!strcmp(what, "fail-until"))
		return turn_now_ms(t) < json_get_int(op, "at", 0) ? error_set(err, "too early") : 0;
	else if (!strcmp(what, "unknown-effect"))
		turn_effect(t, "nobody.knows", "x", NULL);
	else if (!strcmp(what, "set"))
		json_object_set(state, name, json_object_get(op, "value"));
	else
		return error_set(err, "unknown op %s", what);
	return 0;
}

/* Notes each event's type in state.log, then does what it says. */
static int toy_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	json_t *log = json_object_get(state, "log");
	if (!log) {
		log = json_array();
		json_object_set_new(state, "log", log);
	}
	const char *note = json_get_text(event, "note");
	json_array_append_new(log, json_string(note ? note : json_get_text(event, "type")));
	size_t i;
	json_t *op, *hop = json_object_get(event, "hops");
	json_array_foreach(json_object_get(event, "do"), i, op) if (do_op(t, state, op, err) < 0) return -1;
	if (json_integer_value(hop) > 0)
		turn_send(t, json_get_text(event, "next"),
			  json_pack("{ss, sI, ss}", "type", "hop", "hops", json_integer_value(hop) - 1, "next",
				    turn_self(t)));
	return 0;
}

static const struct actor_type toy = { "toy", toy_turn };

static void toy_perform(void *ctx, struct engine *e, const struct effect *fx)
{
	struct life *l = ctx;
	int n = (int)json_get_int(fx->payload, "n", 0);
	l->performed[n]++;
	l->seq[n] = fx->seq;
	if (l->report)
		engine_effect_done(e, fx->seq, json_pack("{ss}", "type", "done"));
}

/* ---- life ---- */

static const struct store_migration toy_migrations[] = { { "toy", 1, "CREATE TABLE toy(name TEXT PRIMARY KEY)" },
							 { 0 } };

static int64_t life_now(void *ctx)
{
	return ((struct life *)ctx)->now_ms;
}
static uint64_t life_random(void *ctx)
{
	return ((struct life *)ctx)->random += 0x9e3779b97f4a7c15u;
}
static bool life_crash(void *ctx, enum engine_crash at)
{
	return (int)at == ((struct life *)ctx)->crash_at;
}

static void must(int rc, struct error *err)
{
	if (rc < 0)
		fail_msg("%s", error_text(err));
}

static void life_start(struct life *l)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct engine_options opt = { .store = l->store,
				      .now_ms = life_now,
				      .random = life_random,
				      .ctx = l,
				      .manual = true,
				      .max_turns = l->max_turns,
				      .crash = life_crash };
	must(engine_new(&opt, &l->engine, &err), &err);
	engine_add_actor(l->engine, &toy);
	engine_add_effect(l->engine, &(struct effect_type){ "toy.effect", toy_perform, l, false });
	must(engine_start(l->engine, &err), &err);
}

static void open_store(struct store **out, const char *path)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct store_migration all[4] = { engine_migrations[0], toy_migrations[0] };
	must(store_open(path, all, out, &err), &err);
}

static void life_open(struct life *l)
{
	*l = (struct life){ .now_ms = 1000, .report = true, .crash_at = -1 };
	open_store(&l->store, "");
	life_start(l);
}

static void life_restart(struct life *l)
{
	engine_free(l->engine);
	life_start(l);
}

static void life_close(struct life *l)
{
	engine_free(l->engine);
	store_close(l->store);
}

static int settle(struct life *l)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int n, total = 0;
	while ((n = engine_step(l->engine, &err)) > 0)
		total += n;
	must(n, &err);
	return total;
}

static json_t *js(const char *fmt, ...)
{
	char text[4096], *p;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	json_error_t why;
	json_t *v = json_loads(text, 0, &why);
	if (!v)
		fail_msg("%s: %s", text, why.text);
	return v;
}

struct spawn {
	const char *type, *id;
	json_t *state;
};
static int run_spawn(struct turn *t, void *arg, struct error *err)
{
	struct spawn *s = arg;
	assert_string_equal(turn_self(t), "");
	return turn_spawn(t, s->type, s->id, json_incref(s->state), err);
}

static int spawn(struct life *l, const char *id, struct error *err)
{
	CLEANUP_JSON json_t *state = json_object();
	struct spawn s = { "toy", id, state };
	return engine_call(l->engine, run_spawn, &s, err);
}

static void spawn_ok(struct life *l, const char *id)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	must(spawn(l, id, &err), &err);
	settle(l);
}

static void post(struct life *l, const char *id, json_t *event)
{
	engine_post(l->engine, id, event, NULL, NULL);
}

/* The actor's log as "a b c", from the store; "-" when it does not exist. */
static const char *log_of(struct life *l, const char *id)
{
	static char out[4096];
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = store_read_begin(l->store, &err);
	int rc = db_row(db, &rows, &err, "SELECT state FROM engine_actor WHERE id=?", "s", id);
	strcpy(out, rc ? "" : "-");
	if (rc > 0) {
		CLEANUP_JSON json_t *state = json_loads(rows_str(&rows, 0).ptr, 0, NULL);
		size_t i;
		json_t *v;
		json_array_foreach(json_object_get(state, "log"), i, v)
		{
			if (strlen(out) + 40 > sizeof(out))
				break;
			snprintf(out + strlen(out), 40, "%s%s", *out ? " " : "", json_string_value(v));
		}
	}
	rows_done(&rows);
	store_read_end(l->store, db);
	return out;
}

static int64_t count(struct store *s, const char *sql)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = store_read_begin(s, &err);
	must(db_row(db, &rows, &err, sql, ""), &err);
	int64_t n = rows_int(&rows, 0);
	rows_done(&rows);
	store_read_end(s, db);
	return n;
}

static int64_t commits(struct life *l)
{
	struct engine_stats st;
	engine_get_stats(l->engine, &st);
	return st.commits;
}

/* ---- actors and messages ---- */

static void test_spawn_and_send(void **state)
{
	(void)state;
	struct life l;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	life_open(&l);
	spawn_ok(&l, "a");
	assert_int_equal(spawn(&l, "a", &err), -1);
	assert_true(error_is(&err, "conflict"));
	post(&l, "a",
	     js("{'type':'go','do':[{'op':'spawn','name':'b','state':{}},"
		"{'op':'send','name':'b','event':{'type':'hello'}},{'op':'send','name':'nobody','event':{'type':'lost'}"
		"}]}"));
	int64_t before = commits(&l);
	settle(&l);
	assert_int_equal(commits(&l), before + 1); /* both actors, one commit */
	assert_string_equal(log_of(&l, "a"), "start go");
	assert_string_equal(log_of(&l, "b"), "start hello");
	life_restart(&l);
	post(&l, "b", js("{'type':'again'}"));
	settle(&l);
	assert_string_equal(log_of(&l, "b"), "start hello again");
	life_close(&l);
}

static void test_chain_is_one_commit(void **state)
{
	(void)state;
	struct life l;
	life_open(&l);
	spawn_ok(&l, "a");
	spawn_ok(&l, "b");
	int64_t before = commits(&l);
	post(&l, "a", js("{'type':'hop','hops':200,'next':'b'}"));
	assert_int_equal(settle(&l), 201);
	assert_int_equal(commits(&l), before + 1);
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM engine_inbox"), 0);
	life_close(&l);
}

/* More messages than a transaction takes: the rest waits on disk and survives a crash, in order. */
static void test_inbox(void **state)
{
	(void)state;
	struct life l;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	life_open(&l);
	l.max_turns = 256;
	life_restart(&l);
	spawn_ok(&l, "a");
	spawn_ok(&l, "b");
	json_t *event = js("{'type':'go','do':[]}"), *ops = json_object_get(event, "do");
	for (int i = 0; i < 700; i++)
		json_array_append_new(ops, js("{'op':'send','name':'%s','event':{'type':'%d'}}", i % 2 ? "a" : "b", i));
	post(&l, "a", event);
	assert_int_equal(engine_step(l.engine, &err), 256);
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM engine_inbox"), 700 - 255);
	life_restart(&l);
	assert_int_equal(settle(&l), 700 - 255);
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM engine_inbox"), 0);
	assert_int_equal(strncmp(log_of(&l, "b"), "start 0 2 4 6 8 10 ", 19), 0);
	assert_int_equal(count(l.store, "SELECT json_array_length(state,'$.log') FROM engine_actor WHERE id='b'"), 351);
	assert_int_equal(count(l.store, "SELECT json_extract(state,'$.log[350]') FROM engine_actor WHERE id='b'"), 698);
	life_close(&l);
}

static void test_end(void **state)
{
	(void)state;
	struct life l;
	life_open(&l);
	spawn_ok(&l, "a");
	spawn_ok(&l, "boss");
	post(&l, "a",
	     js("{'type':'x','do':[{'op':'timer','name':'t','at':5000,'event':{'type':'tick'}},"
		"{'op':'effect','name':'fx','payload':{'n':1}}]}"));
	l.report = false;
	settle(&l);
	/* ends and is born again in the same transaction: what was sent to the old one does not reach the new one */
	post(&l, "boss",
	     js("{'type':'go','do':[{'op':'send','name':'a','event':{'type':'y','do':[{'op':'end'}]}},"
		"{'op':'send','name':'boss','event':{'type':'z','do':[{'op':'spawn','name':'a','state':{}}]}},"
		"{'op':'send','name':'a','event':{'type':'stale'}}]}"));
	settle(&l);
	assert_string_equal(log_of(&l, "a"), "start");
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM engine_timer"), 0);
	engine_effect_done(l.engine, l.seq[1], js("{'type':'late'}"));
	l.now_ms = 6000;
	settle(&l);
	assert_string_equal(log_of(&l, "a"), "start");
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM engine_effect"), 0);
	post(&l, "a", js("{'type':'bye','do':[{'op':'end'}]}"));
	settle(&l);
	assert_string_equal(log_of(&l, "a"), "-");
	life_close(&l);
}

/* ---- timers ---- */

static void test_timers(void **state)
{
	(void)state;
	struct life l;
	life_open(&l);
	spawn_ok(&l, "a");
	assert_true(engine_next_timer_ms(l.engine) == INT64_MAX);
	post(&l, "a",
	     js("{'type':'go','do':[{'op':'timer','name':'late','at':9000,'event':{'type':'late'}},"
		"{'op':'timer','name':'early','at':2000,'event':{'type':'early'}},"
		"{'op':'timer','name':'never','at':3000,'event':{'type':'never'}}]}"));
	settle(&l);
	assert_true(engine_next_timer_ms(l.engine) == 2000);
	post(&l, "a",
	     js("{'type':'change','do':[{'op':'timer','name':'never','at':0},{'op':'timer','name':'late','at':4000,"
		"'event':{'type':'moved'}}]}"));
	settle(&l);
	l.now_ms = 1999;
	assert_int_equal(settle(&l), 0);
	l.now_ms = 2000;
	settle(&l);
	assert_string_equal(log_of(&l, "a"), "start go change early");
	life_restart(&l);
	l.now_ms = 10000;
	settle(&l);
	assert_string_equal(log_of(&l, "a"), "start go change early moved");
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM engine_timer"), 0);
	life_close(&l);
}

/* A timer that is due together with an event that cancels it does not fire. */
static void test_cancelled_at_the_last_moment(void **state)
{
	(void)state;
	struct life l;
	life_open(&l);
	spawn_ok(&l, "a");
	post(&l, "a",
	     js("{'type':'go','do':[{'op':'timer','name':'t','at':2000,'event':{'type':'tick'}},"
		"{'op':'timer','name':'u','at':2000,'event':{'type':'old'}}]}"));
	settle(&l);
	l.now_ms = 2000;
	post(&l, "a",
	     js("{'type':'stop','do':[{'op':'timer','name':'t','at':0},{'op':'timer','name':'u','at':2000,"
		"'event':{'type':'new'}}]}"));
	settle(&l);
	assert_string_equal(log_of(&l, "a"), "start go stop new");
	life_close(&l);
}

static void test_many_timer_changes(void **state)
{
	(void)state;
	struct life l;
	life_open(&l);
	spawn_ok(&l, "a");
	for (int i = 0; i < 5000; i++) {
		post(&l, "a",
		     js("{'type':'x','do':[{'op':'set','name':'log','value':[]},"
			"{'op':'timer','name':'t','at':%d,'event':{'type':'tick'}}]}",
			100000 + i));
		settle(&l);
	}
	l.now_ms = 104998;
	settle(&l);
	assert_string_equal(log_of(&l, "a"), "");
	l.now_ms++;
	settle(&l);
	assert_string_equal(log_of(&l, "a"), "tick");
	life_close(&l);
}

/* ---- effects ---- */

static void test_effect_once_more_after_crash(void **state)
{
	(void)state;
	struct life l;
	life_open(&l);
	spawn_ok(&l, "a");
	l.report = false;
	post(&l, "a",
	     js("{'type':'go','do':[{'op':'effect','name':'fx','payload':{'n':1}},{'op':'effect','name':'fy','payload':"
		"{'n':2}}]}"));
	settle(&l);
	assert_int_equal(l.performed[1], 1);
	engine_effect_done(l.engine, l.seq[1], js("{'type':'one'}"));
	settle(&l);
	life_restart(&l);
	settle(&l);
	assert_int_equal(l.performed[1], 1); /* done */
	assert_int_equal(l.performed[2], 2); /* not known to be done */
	engine_effect_done(l.engine, l.seq[1], js("{'type':'again'}"));
	engine_effect_done(l.engine, l.seq[2], js("{'type':'two'}"));
	engine_effect_done(l.engine, l.seq[2], js("{'type':'again'}"));
	settle(&l);
	assert_string_equal(log_of(&l, "a"), "start go one two");
	life_close(&l);
}

static void test_crash_points(void **state)
{
	(void)state;
	static const struct {
		int at, performed;
		const char *log;
	} cases[] = { { ENGINE_BEFORE_COMMIT, 0, "start" },
		      { ENGINE_AFTER_COMMIT, 1, "start go done" },
		      { ENGINE_BEFORE_EFFECT, 1, "start go done" } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct life l;
		CLEANUP_ERROR struct error err = ERROR_INIT;
		life_open(&l);
		spawn_ok(&l, "a");
		l.crash_at = cases[i].at;
		post(&l, "a", js("{'type':'go','do':[{'op':'effect','name':'fx','payload':{'n':1}}]}"));
		assert_int_equal(engine_step(l.engine, &err), -1);
		assert_true(error_is(&err, "crash"));
		assert_int_equal(l.performed[1], 0);
		l.crash_at = -1;
		life_restart(&l);
		settle(&l);
		assert_int_equal(l.performed[1], cases[i].performed);
		assert_string_equal(log_of(&l, "a"), cases[i].log);
		life_close(&l);
	}
}

/* Numbers are never used again, so an effect reported after a restart is not taken for a new one. */
static void test_effect_numbers_are_fresh(void **state)
{
	(void)state;
	struct life l;
	life_open(&l);
	spawn_ok(&l, "a");
	int64_t last = 0;
	for (int i = 0; i < 5; i++) {
		post(&l, "a", js("{'type':'go','do':[{'op':'effect','name':'fx','payload':{'n':1}}]}"));
		settle(&l);
		assert_true(l.seq[1] > last);
		last = l.seq[1];
		life_restart(&l);
	}
	assert_string_equal(log_of(&l, "a"), "start go done go done go done go done go done");
	life_close(&l);
}

/* ---- failures ---- */

static void test_failed_turn_leaves_no_trace(void **state)
{
	(void)state;
	struct life l;
	life_open(&l);
	spawn_ok(&l, "a");
	spawn_ok(&l, "b");
	post(&l, "a", js("{'type':'good','do':[{'op':'row','name':'r1'}]}"));
	post(&l, "a",
	     js("{'type':'bad','do':[{'op':'row','name':'r2'},{'op':'set','name':'x','value':1},"
		"{'op':'spawn','name':'c','state':{}},{'op':'send','name':'b','event':{'type':'never'}},"
		"{'op':'timer','name':'t','at':1500,'event':{'type':'never'}},{'op':'effect','name':'e','payload':{'n':"
		"3}},"
		"{'op':'fail'}]}"));
	post(&l, "a", js("{'type':'after'}"));
	post(&l, "b", js("{'type':'other'}"));
	settle(&l);
	l.now_ms = 2000;
	settle(&l);
	assert_string_equal(log_of(&l, "a"), "start good engine.poison after");
	assert_string_equal(log_of(&l, "b"), "start other");
	assert_string_equal(log_of(&l, "c"), "-");
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM toy"), 1);
	assert_int_equal(l.performed[3], 0);
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM engine_actor WHERE state LIKE '%\"x\"%'"), 0);
	struct engine_stats st;
	engine_get_stats(l.engine, &st);
	assert_int_equal(st.failures, 3);
	/* an effect nobody performs is a fault of ours as well */
	post(&l, "b", js("{'type':'bad','do':[{'op':'unknown-effect'}]}"));
	settle(&l);
	assert_string_equal(log_of(&l, "b"), "start other engine.poison");
	life_close(&l);
}

/* A large state is not copied before each turn; a failure takes the whole transaction back and finds the culprit. */
static void test_failure_on_a_large_state(void **state)
{
	(void)state;
	struct life l;
	life_open(&l);
	spawn_ok(&l, "big");
	spawn_ok(&l, "b");
	char *text = malloc(40000);
	memset(text, 'x', 39999);
	text[39999] = 0;
	json_t *event = js("{'type':'grow','do':[{'op':'set','name':'body'}]}");
	json_object_set_new(json_array_get(json_object_get(event, "do"), 0), "value", json_string(text));
	free(text);
	post(&l, "big", event);
	settle(&l);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *empty = json_object();
	post(&l, "b", js("{'type':'zero','do':[{'op':'timer','name':'due','at':1001,'event':{'type':'due'}}]}"));
	settle(&l);
	l.now_ms = 1001; /* a timer is part of the transaction as well */
	post(&l, "big", js("{'type':'one','do':[{'op':'timer','name':'t','at':1000,'event':{'type':'tick'}}]}"));
	post(&l, "b", js("{'type':'two','do':[{'op':'send','name':'big','event':{'type':'three'}}]}"));
	post(&l, "big", js("{'type':'four','do':[{'op':'send','name':'b','event':{'type':'never'}},{'op':'fail'}]}"));
	post(&l, "big", js("{'type':'five','do':[{'op':'send','name':'b','event':{'type':'six'}}]}"));
	struct spawn s = { "toy", "c", empty };
	assert_int_equal(engine_call(l.engine, run_spawn, &s, &err), -1); /* came in with them */
	assert_non_null(strstr(error_text(&err), "try again"));
	settle(&l);
	const char *log = log_of(&l, "big");
	assert_non_null(strstr(log, "one"));
	assert_non_null(strstr(log, "three"));
	assert_non_null(strstr(log, "engine.poison"));
	assert_non_null(strstr(log, "tick"));
	assert_null(strstr(log, "four"));
	assert_true(strstr(log, "one") < strstr(log, "engine.poison") &&
		    strstr(log, "engine.poison") < strstr(log, "five"));
	assert_string_equal(log_of(&l, "b"), "start zero two six due");
	spawn_ok(&l, "c");
	life_close(&l);
}

static void test_failure_that_passes(void **state)
{
	(void)state;
	struct life l;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	life_open(&l);
	spawn_ok(&l, "a");
	post(&l, "a", js("{'type':'x','do':[{'op':'fail-until','at':2000}]}"));
	post(&l, "a", js("{'type':'y'}"));
	must(engine_step(l.engine, &err), &err);
	assert_string_equal(log_of(&l, "a"), "start");
	life_restart(&l); /* the message waits in the inbox */
	l.now_ms = 2000;
	settle(&l);
	assert_string_equal(log_of(&l, "a"), "start x y");
	life_close(&l);
}

static int run_fail(struct turn *t, void *arg, struct error *err)
{
	if (db_exec(turn_db(t), err, "INSERT INTO toy(name) VALUES('gone')", "") < 0)
		return -1;
	turn_send(t, "a", js("{'type':'never'}"));
	return error_aws(err, "ValidationException", "no");
}

static void test_failed_command(void **state)
{
	(void)state;
	struct life l;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	life_open(&l);
	spawn_ok(&l, "a");
	assert_int_equal(engine_call(l.engine, run_fail, NULL, &err), -1);
	assert_true(error_is(&err, "ValidationException"));
	settle(&l);
	assert_string_equal(log_of(&l, "a"), "start");
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM toy"), 0);
	life_close(&l);
}

struct told {
	int calls, rc;
	char text[200];
};
static void tell(void *arg, int rc, struct error *err)
{
	struct told *told = arg;
	told->calls++;
	told->rc = rc;
	snprintf(told->text, sizeof(told->text), "%s", rc < 0 ? error_text(err) : "");
}

static int run_bulk(struct turn *t, void *arg, struct error *err)
{
	(void)arg; /* for `tell` */
	CLEANUP_FREE char *bulk = calloc(1, 1 << 20);
	memset(bulk, 'b', (1 << 20) - 1);
	return db_exec(turn_db(t), err, "INSERT INTO toy(name) VALUES(?)", "s", bulk) < 0 ? -1 : 0;
}

/* The disk is full: everyone who waits hears of it, nothing is performed, and after a restart the old state is there.
 */
static void test_commit_fails(void **state)
{
	(void)state;
	struct life l;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct rlimit old, small;
	struct told told[4] = { 0 };
	life_open(&l);
	spawn_ok(&l, "a");
	int64_t before = commits(&l);
	engine_post(l.engine, "a", js("{'type':'go','do':[{'op':'effect','name':'fx','payload':{'n':1}}]}"), tell,
		    &told[1]);
	engine_submit(l.engine, run_bulk, tell, &told[2]);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small = old;
	small.rlim_cur = 400000;
	setrlimit(RLIMIT_FSIZE, &small);
	assert_int_equal(engine_step(l.engine, &err), -1);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(commits(&l), before);
	assert_int_equal(l.performed[1], 0);
	assert_non_null(engine_fault(l.engine));
	assert_non_null(store_fault(l.store));
	for (int i = 1; i <= 2; i++) {
		assert_int_equal(told[i].calls, 1);
		assert_int_equal(told[i].rc, -1);
		assert_true(strlen(told[i].text) > 10);
	}
	/* and from now on at once */
	error_release(&err);
	assert_int_equal(spawn(&l, "c", &err), -1);
	assert_string_equal(error_text(&err), engine_fault(l.engine));
	engine_post(l.engine, "a", js("{'type':'x'}"), tell, &told[3]);
	engine_step(l.engine, NULL);
	assert_int_equal(told[3].rc, -1);
	assert_string_equal(log_of(&l, "a"), "start"); /* readers go on */
	life_close(&l);
}

/* ---- isolation of JSON ---- */

static int share_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	(void)err;
	json_t *list = json_object_get(state, "list");
	if (!strcmp(json_get_text(event, "type"), "start")) {
		json_object_set_new(state, "list", json_pack("[i]", 1));
	} else if (!strcmp(json_get_text(event, "type"), "share")) {
		turn_send(t, "other", json_pack("{ss, sO}", "type", "take", "list", list));
		turn_effect(t, "toy.effect", "e", json_pack("{sO}", "list", list));
		json_array_append_new(list, json_integer(2));
	} else if (!strcmp(json_get_text(event, "type"), "take")) {
		json_object_set(state, "list", json_object_get(event, "list"));
		json_array_append_new(json_object_get(state, "list"), json_integer(3));
	}
	return 0;
}

static void test_actors_share_no_json(void **state)
{
	(void)state;
	struct life l;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	static const struct actor_type share = { "share", share_turn };
	life_open(&l);
	engine_add_actor(l.engine, &share);
	CLEANUP_JSON json_t *empty = json_object();
	struct spawn one = { "share", "one", empty }, other = { "share", "other", empty };
	must(engine_call(l.engine, run_spawn, &one, &err), &err);
	must(engine_call(l.engine, run_spawn, &other, &err), &err);
	settle(&l);
	post(&l, "one", js("{'type':'share'}"));
	settle(&l);
	assert_int_equal(count(l.store, "SELECT state='{\"list\":[1,2]}' FROM engine_actor WHERE id='one'"), 1);
	/* sent before the 2 was added, and the 3 is only the other's */
	assert_int_equal(count(l.store, "SELECT state='{\"list\":[1,3]}' FROM engine_actor WHERE id='other'"), 1);
	life_close(&l);
}

/* ---- threads ---- */

struct crowd {
	struct engine *e;
	int id;
	atomic_int *acked;
};

static atomic_int after_commits;
static void count_commit(void *arg)
{
	(void)arg;
	after_commits++;
}

static int run_row(struct turn *t, void *arg, struct error *err)
{
	turn_after_commit(t, count_commit, NULL);
	return db_exec(turn_db(t), err, "INSERT INTO toy(name) VALUES(?)", "s", (char *)arg) < 0 ? -1 : 0;
}

static void *crowd_main(void *arg)
{
	struct crowd *c = arg;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	for (int i = 0; i < 100; i++) {
		char name[32];
		snprintf(name, sizeof(name), "%d-%d", c->id, i);
		if (engine_call(c->e, run_row, name, &err) == 0)
			(*c->acked)++;
		engine_post(c->e, "a",
			    json_pack("{ss, s[{ss, ss, s{si}}]}", "type", "p", "do", "op", "effect", "name", name,
				      "payload", "n", 1),
			    NULL, NULL);
	}
	return NULL;
}

static atomic_int blocking_performed;
static void perform_blocking(void *ctx, struct engine *e, const struct effect *fx)
{
	(void)ctx;
	usleep(100);
	blocking_performed++;
	engine_effect_done(e, fx->seq, json_pack("{ss}", "type", "d"));
}

static void test_threads(void **state)
{
	(void)state;
	struct store *store;
	struct engine *e;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	open_store(&store, "");
	must(engine_new(&(struct engine_options){ .store = store }, &e, &err), &err);
	engine_add_actor(e, &toy);
	engine_add_effect(e, &(struct effect_type){ "toy.effect", perform_blocking, NULL, true });
	must(engine_start(e, &err), &err);
	CLEANUP_JSON json_t *empty = json_object();
	struct spawn a = { "toy", "a", empty };
	must(engine_call(e, run_spawn, &a, &err), &err);
	atomic_int acked = 0;
	pthread_t threads[8];
	struct crowd crowd[8];
	for (int i = 0; i < 8; i++) {
		crowd[i] = (struct crowd){ e, i, &acked };
		pthread_create(&threads[i], NULL, crowd_main, &crowd[i]);
	}
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(acked, 800);
	assert_int_equal(count(store, "SELECT COUNT(*) FROM toy"), 800);
	struct engine_stats st;
	for (int i = 0; i < 1000; i++) {
		engine_get_stats(e, &st);
		if (blocking_performed == 800 && !st.effects_open && !st.messages_waiting)
			break;
		usleep(10000);
	}
	assert_int_equal(blocking_performed, 800);
	engine_stop(e);
	assert_int_equal(after_commits, 800);
	assert_int_equal(engine_call(e, run_row, "late", &err), -1);
	assert_non_null(strstr(error_text(&err), "stopped"));
	engine_free(e);
	assert_int_equal(count(store, "SELECT json_array_length(state,'$.log') FROM engine_actor"), 1601);
	assert_int_equal(count(store, "SELECT COUNT(*) FROM engine_effect"), 0);
	store_close(store);
}

/* A timer wakes the sleeping core thread by itself. */
static void test_timer_wakes_core(void **state)
{
	(void)state;
	struct store *store;
	struct engine *e;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	open_store(&store, "");
	must(engine_new(&(struct engine_options){ .store = store }, &e, &err), &err);
	engine_add_actor(e, &toy);
	must(engine_start(e, &err), &err);
	CLEANUP_JSON json_t *empty = json_object();
	struct spawn a = { "toy", "a", empty };
	must(engine_call(e, run_spawn, &a, &err), &err);
	int64_t due = clock_now_ms() + 50;
	engine_post(
		e, "a",
		js("{'type':'go','do':[{'op':'timer','name':'t','at':%lld,'event':{'type':'tick'}}]}", (long long)due),
		NULL, NULL);
	bool fired = false;
	while (!fired && clock_now_ms() < due + 5000) {
		fired = count(store, "SELECT COUNT(*) FROM engine_actor WHERE state LIKE '%tick%'");
		assert_false(fired && clock_now_ms() < due);
		usleep(2000);
	}
	assert_true(fired);
	engine_free(e);
	store_close(store);
}

int main(void)
{
	log_set_level(LOG_ERROR);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spawn_and_send),
		cmocka_unit_test(test_chain_is_one_commit),
		cmocka_unit_test(test_inbox),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_cancelled_at_the_last_moment),
		cmocka_unit_test(test_many_timer_changes),
		cmocka_unit_test(test_effect_once_more_after_crash),
		cmocka_unit_test(test_crash_points),
		cmocka_unit_test(test_effect_numbers_are_fresh),
		cmocka_unit_test(test_failed_turn_leaves_no_trace),
		cmocka_unit_test(test_failure_on_a_large_state),
		cmocka_unit_test(test_failure_that_passes),
		cmocka_unit_test(test_failed_command),
		cmocka_unit_test(test_commit_fails),
		cmocka_unit_test(test_actors_share_no_json),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_timer_wakes_core),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
