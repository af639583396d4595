/* test_engine.c - what engine.h promises when all goes well, or the process dies; one promise a test. */
#include "life.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

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

static int write_and_report(struct turn *t, void *arg, struct error *err)
{
	const struct life *l = arg;
	if (db_exec(turn_db(t), err, "INSERT INTO toy(name) VALUES(?)", "i", engine_now_ms(l->engine)) < 0)
		return -1;
	return turn_effect_done(t, l->seq[1], js("{'type':'wrote'}"), err);
}

/* What a command writes and the end of the effect are one: both or neither, and once. */
static void test_effect_done_by_a_command(void **state)
{
	(void)state;
	struct life l;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	life_open(&l);
	spawn_ok(&l, "a");
	l.report = false;
	post(&l, "a", js("{'type':'go','do':[{'op':'effect','name':'fx','payload':{'n':1}}]}"));
	settle(&l);
	l.crash_at = ENGINE_BEFORE_COMMIT;
	assert_int_equal(engine_call(l.engine, write_and_report, &l, &err), -1);
	l.crash_at = -1;
	life_restart(&l);
	settle(&l);
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM toy"), 0);
	assert_int_equal(l.performed[1], 2);
	must(engine_call(l.engine, write_and_report, &l, &err), &err);
	l.now_ms++;
	assert_int_equal(engine_call(l.engine, write_and_report, &l, &err), -1);
	assert_true(error_is(&err, "conflict"));
	life_restart(&l);
	settle(&l);
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM toy"), 1);
	assert_int_equal(l.performed[1], 2);
	assert_string_equal(log_of(&l, "a"), "start go wrote");
	life_close(&l);
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

/* ---- commands within a turn ---- */

static void test_try(void **state)
{
	(void)state;
	struct life l = { .report = true };
	life_open(&l);
	spawn_ok(&l, "a");
	spawn_ok(&l, "b");
	settle(&l);
	post(&l, "a",
	     js("{'type':'x','do':[{'op':'row','name':'before'},"
		"{'op':'try','name':'good','do':[{'op':'row','name':'kept'},{'op':'send','name':'b','event':{'type':'"
		"good'}},"
		"{'op':'spawn','name':'c','state':{}},{'op':'effect','name':'e1','payload':{'n':1}}]},"
		"{'op':'try','name':'bad','do':[{'op':'row','name':'undone'},{'op':'send','name':'b','event':{'type':'"
		"bad'}},"
		"{'op':'spawn','name':'d','state':{}},{'op':'effect','name':'e2','payload':{'n':2}},{'op':'fail'}]},"
		"{'op':'try','name':'timer','do':[{'op':'timer','name':'t','at':1,'event':{'type':'t'}}]},"
		"{'op':'try','name':'end','do':[{'op':'end'}]},"
		"{'op':'try','name':'outer','do':[{'op':'row','name':'outer'},{'op':'try','name':'inner','do':["
		"{'op':'row','name':'inner'},{'op':'fail'}]}]},{'op':'row','name':'after'}]}"));
	settle(&l);
	assert_string_equal(log_of(&l, "a"), "start x"); /* the effect's end is told to nobody */
	assert_string_equal(log_of(&l, "b"), "start good");
	assert_string_equal(log_of(&l, "c"), "start");
	assert_string_equal(log_of(&l, "d"), "-");
	assert_int_equal(l.performed[1], 1);
	assert_int_equal(l.performed[2], 0);
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM engine_effect"), 0);
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM toy WHERE name IN('before','kept','outer','after')"), 4);
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM toy"), 4);
	assert_int_equal(count(l.store, "SELECT COUNT(*) FROM engine_actor WHERE id='a' AND state LIKE "
					"'%\"good\":\"well\"%' AND state LIKE '%\"bad\":\"told to fail\"%' AND state "
					"LIKE '%\"timer\":\"a command has no timers%' AND state LIKE '%\"end\":\"only "
					"an actor can end%' AND state LIKE "
					"'%\"inner\":\"told to fail\"%' AND state LIKE '%\"outer\":\"well\"%'"),
			 1);
	life_close(&l);
}

/* ---- threads for effects ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int leave; /* how many of those that wait may go */
	int entered, inside, most, quick;
	char order[64]; /* first letters of the actors, as they were performed */
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void perform_gated(void *ctx, struct engine *e, const struct effect *fx)
{
	(void)ctx;
	pthread_mutex_lock(&gate.lock);
	gate.order[gate.entered++] = fx->actor[0];
	if (++gate.inside > gate.most)
		gate.most = gate.inside;
	pthread_cond_broadcast(&gate.changed);
	while (!gate.leave)
		pthread_cond_wait(&gate.changed, &gate.lock);
	gate.leave--;
	gate.inside--;
	pthread_mutex_unlock(&gate.lock);
	engine_effect_done(e, fx->seq, NULL);
}

static void perform_quick(void *ctx, struct engine *e, const struct effect *fx)
{
	(void)ctx;
	engine_effect_done(e, fx->seq, NULL);
	pthread_mutex_lock(&gate.lock);
	gate.quick++;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

/* An actor's turn that asks for what its event says. */
static int asker_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	(void)state;
	(void)err;
	for (int64_t i = 0; i < json_get_int(event, "count", 0); i++)
		turn_effect(t, json_get_text(event, "kind"), "id", json_object());
	return 0;
}
static const struct actor_type asker = { "asker", asker_turn };

static void wait_gate(const int *number, int value)
{
	pthread_mutex_lock(&gate.lock);
	while (*number != value)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static void leave_gate(int number)
{
	pthread_mutex_lock(&gate.lock);
	gate.leave = number;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

/* A kind that is stuck holds up no other kind, and takes no more threads than it may; its actors take turns. */
static void test_kinds_are_apart(void **state)
{
	(void)state;
	struct store *store;
	struct engine *e;
	struct engine_stats st;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *empty = json_object();
	struct spawn greedy = { "asker", "greedy", empty }, modest = { "asker", "modest", empty };
	open_store(&store, "");
	must(engine_new(&(struct engine_options){ .store = store }, &e, &err), &err);
	engine_add_actor(e, &asker);
	engine_add_effect(
		e, &(struct effect_type){ .name = "slow", .perform = perform_gated, .blocking = true, .threads = 2 });
	engine_add_effect(e, &(struct effect_type){ .name = "quick", .perform = perform_quick, .blocking = true });
	must(engine_start(e, &err), &err);
	must(engine_call(e, run_spawn, &greedy, &err), &err);
	must(engine_call(e, run_spawn, &modest, &err), &err);
	engine_post(e, "greedy", json_pack("{ss,ss,si}", "type", "x", "kind", "slow", "count", 20), NULL, NULL);
	wait_gate(&gate.inside, 2);
	engine_post(e, "modest", json_pack("{ss,ss,si}", "type", "x", "kind", "slow", "count", 1), NULL, NULL);
	engine_post(e, "modest", json_pack("{ss,ss,si}", "type", "x", "kind", "quick", "count", 50), NULL, NULL);
	wait_gate(&gate.quick, 50);                      /* while all that may run of the other kind are stuck */
	for (int entered = 3; entered <= 4; entered++) { /* one out, one in */
		leave_gate(1);
		wait_gate(&gate.entered, entered);
	}
	assert_non_null(strchr(gate.order, 'm')); /* not behind the twenty */
	leave_gate(21 - 2);
	do {
		usleep(1000);
		engine_get_stats(e, &st);
	} while (st.effects_open);
	assert_int_equal(gate.most, 2);
	assert_int_equal(gate.entered, 21);
	engine_stop(e);
	engine_free(e);
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
		cmocka_unit_test(test_effect_done_by_a_command),
		cmocka_unit_test(test_effect_numbers_are_fresh),
		cmocka_unit_test(test_actors_share_no_json),
		cmocka_unit_test(test_try),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_kinds_are_apart),
		cmocka_unit_test(test_timer_wakes_core),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
