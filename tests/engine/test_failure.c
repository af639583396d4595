/* test_failure.c - what engine.h promises when turns, commands or the disk fail; one promise a test. */
#include "life.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

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

int main(void)
{
	log_set_level(LOG_ERROR);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failed_turn_leaves_no_trace),
		cmocka_unit_test(test_failure_on_a_large_state),
		cmocka_unit_test(test_failure_that_passes),
		cmocka_unit_test(test_failed_command),
		cmocka_unit_test(test_commit_fails),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
