/* run_test.c - the interpreter on a simulated world: each story is told once without trouble, and then again and again
 * with the daemon dying after its first, second, third … step. It must end the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "run_rig.h"

enum { STEPS = 500 };

/* What a task does is in its parameters: "fail": attempts up to this number fail (answers and pauses count too);
 * "error": with this; "never": no answer; "ms": how long it takes. Else it answers with its parameters. */
static json_t *answer(struct rig *g, const struct effect *fx, int64_t *delay_ms)
{
	json_t *p = json_object_get(fx->payload, "params");
	(void)g;
	*delay_ms = json_get_int(p, "ms", 100);
	if (json_get_bool(p, "never", false))
		return NULL;
	if (json_get_int(fx->payload, "attempt", 0) <= json_get_int(p, "fail", 0))
		return json_pack("{s:s,s:s}", "error", json_get_text(p, "error") ? json_get_text(p, "error") : "E",
				 "cause", "so it was asked");
	return json_pack("{s:O}", "output", p);
}

struct story {
	const char *name, *definition, *input, *status, *error;
	bool side_by_side; /* branches race: only what happened is compared, not in which order */
};

#define TASK(parameters, rest)                                                                                         \
	"{'Type':'Task','Resource':'arn:aws:lambda:us-east-1:000000000000:function:f','Parameters':" parameters rest "}"

static const struct story stories[] = {
	{ "chain",
	  "{'StartAt':'A','States':{'A':{'Type':'Pass','Assign':{'v':5},'Next':'W'},'W':{'Type':'Wait','Seconds':60,"
	  "'Next':'B'},'B':{'Type':'Pass','Parameters':{'v.$':'$v'},'End':true}}}",
	  "{}", "SUCCEEDED", NULL, false },
	{ "retried",
	  "{'StartAt':'T','States':{'T':" TASK(
		  "{'fail':6}", ",'Retry':[{'ErrorEquals':['E'],'MaxAttempts':2,'IntervalSeconds':3}],'End':true") "}}",
	  "{}", "SUCCEEDED", NULL, false },
	{ "given up",
	  "{'StartAt':'T','States':{'T':" TASK(
		  "{'fail':9}", ",'Retry':[{'ErrorEquals':['States.ALL'],'MaxAttempts':2}],'End':true") "}}",
	  "{}", "FAILED", "E", false },
	{ "caught",
	  "{'StartAt':'T','States':{'T':" TASK("{'fail':1}",
					       ",'Catch':[{'ErrorEquals':['E'],'Next':'C','ResultPath':'$.why'}],'End':"
					       "true") ",'C':{'Type':'Pass','OutputPath':'$.why.Error','End':true}}}",
	  "{}", "SUCCEEDED", NULL, false },
	{ "the catcher itself fails",
	  "{'StartAt':'T','States':{'T':" TASK("{'fail':99}",
					       ",'Retry':[{'ErrorEquals':['States.ALL']}],'Catch':[{'ErrorEquals':['"
					       "States.ALL'],'Next':'T','ResultPath':'$.why'}],'End':true") "}}",
	  "1", "FAILED", "States.ResultPathMatchFailure", false },
	{ "the time of all is over",
	  "{'StartAt':'M','States':{'M':{'Type':'Map','ItemProcessor':{'StartAt':'T','States':{'T':" TASK(
		  "{'never':true}", ",'TimeoutSeconds':7,'End':true") "}},'End':true}}}",
	  "[1,2,3]", "FAILED", "States.Timeout", false },
	{ "the time of all is over, and each goes on",
	  "{'StartAt':'M','States':{'M':{'Type':'Map','ItemProcessor':{'StartAt':'T','States':{'C':{'Type':'Pass','End'"
	  ":"
	  "true},'T':" TASK("{'never':true}",
			    ",'TimeoutSeconds':7,'Catch':[{'ErrorEquals':['States.Timeout'],'Next':'C'}],'End':"
			    "true") "}},'End':true}}}",
	  "[1,2,3]", "SUCCEEDED", NULL, false },
	{ "task's time is over",
	  "{'StartAt':'T','States':{'T':" TASK("{'never':true}", ",'TimeoutSeconds':7,'End':true") "}}", "{}", "FAILED",
	  "States.Timeout", false },
	{ "machine's time is over",
	  "{'TimeoutSeconds':9,'StartAt':'T','States':{'T':" TASK("{'never':true}", ",'End':true") "}}", "{}",
	  "TIMED_OUT", NULL, false },
	{ "no heartbeat",
	  "{'StartAt':'T','States':{'T':{'Type':'Task','Resource':'arn:aws:states:::lambda:invoke.waitForTaskToken',"
	  "'Parameters':{'FunctionName':'f','Payload':{'t.$':'$$.Task.Token'}},'HeartbeatSeconds':5,'End':true}}}",
	  "{}", "FAILED", "States.Timeout", false },
	{ "parallel",
	  "{'StartAt':'P','States':{'P':{'Type':'Parallel','End':true,'Branches':["
	  "{'StartAt':'A','States':{'A':" TASK(
		  "{'ms':500}",
		  ",'End':true") "}},"
				 "{'StartAt':'B','States':{'B':{'Type':'Wait','Seconds':1,'End':true}}}]}}}",
	  "{}", "SUCCEEDED", NULL, true },
	{ "a branch fails",
	  "{'StartAt':'P','States':{'P':{'Type':'Parallel','End':true,'Branches':["
	  "{'StartAt':'A','States':{'A':" TASK(
		  "{'fail':1}",
		  ",'End':true") "}},"
				 "{'StartAt':'B','States':{'B':{'Type':'Wait','Seconds':1000,'End':true}}}]}}}",
	  "{}", "FAILED", "E", true },
	{ "map",
	  "{'StartAt':'M','States':{'M':{'Type':'Map','ItemsPath':'$.l','MaxConcurrency':2,'End':true,"
	  "'ItemProcessor':{'StartAt':'A','States':{'A':" TASK("{'i.$':'$'}", ",'End':true") "}}}}}",
	  "{'l':[1,2,3,4,5]}", "SUCCEEDED", NULL, true },
	{ "distributed map",
	  "{'StartAt':'M','States':{'M':{'Type':'Map','ToleratedFailureCount':1,'End':true,"
	  "'ItemProcessor':{'ProcessorConfig':{'Mode':'DISTRIBUTED','ExecutionType':'STANDARD'},"
	  "'StartAt':'A','States':{'A':" TASK("{'fail.$':'$.fail'}", ",'End':true") "}}}}}",
	  "[{'fail':0},{'fail':9},{'fail':0}]", "SUCCEEDED", NULL, true },
	{ "too many failures",
	  "{'StartAt':'M','States':{'M':{'Type':'Map','End':true,"
	  "'ItemProcessor':{'ProcessorConfig':{'Mode':'DISTRIBUTED','ExecutionType':'STANDARD'},"
	  "'StartAt':'A','States':{'A':" TASK("{'fail.$':'$.fail'}", ",'End':true") "}}}}}",
	  "[{'fail':0},{'fail':9},{'fail':0}]", "FAILED", "States.ExceedToleratedFailureThreshold", true },
};

static struct str quoted(struct arena *a, const char *text)
{
	char *copy = arena_strdup(a, str_from(text));
	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	return str_from(copy);
}

/* "Type name error" a line. */
static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static const char *told(struct rig *g, const char *arn, bool sorted)
{
	CLEANUP_JSON json_t *events = rig_history(g, arn);
	size_t n = json_array_size(events), i;
	const char **lines = ARENA_ARRAY(&g->arena, const char *, n);
	json_t *e, *d;
	const char *key;
	json_array_foreach (events, i, e) {
		const char *name = "", *error = "";
		json_object_foreach (e, key, d) {
			name = json_get_text(d, "name") ? json_get_text(d, "name") : name;
			error = json_get_text(d, "error") ? json_get_text(d, "error") : error;
		}
		lines[i] = arena_printf(&g->arena, "%s %s %s\n", json_get_text(e, "type"), name, error);
	}
	if (sorted)
		qsort(lines, n, sizeof(*lines), by_text);
	CLEANUP_BUF struct buf b = BUF_INIT;
	for (i = 0; i < n; i++)
		buf_addz(&b, lines[i]);
	return arena_strdup(&g->arena, buf_str(&b));
}

/* Tells the story with a death after `death` steps (0: none). False when it was over before. */
static bool tell(const struct story *s, int death, char **history, char **output)
{
	struct rig g = { .answer = answer, .random = 7 };
	rig_open(&g);
	const char *arn = rig_start(&g, "STANDARD", quoted(&g.arena, s->definition), quoted(&g.arena, s->input));
	assert_non_null(arn);
	bool more = true;
	for (int i = 0; death && more && i < death; i++)
		more = rig_step(&g);
	if (death && more)
		rig_crash(&g);
	rig_run(&g, STEPS);
	CLEANUP_JSON json_t *d = rig_describe(&g, arn);
	const char *error = json_get_text(d, "error"), *why = rig_wrong(&g, arn);
	if (why || strcmp(json_get_text(d, "status"), s->status) != 0 ||
	    (s->error && (!error || strcmp(error, s->error))))
		fail_msg("%s, death after %d: %s, %s %s", s->name, death, why ? why : "", json_get_text(d, "status"),
			 error ? error : "");
	*history = mem_strdup(told(&g, arn, s->side_by_side));
	*output = mem_strdup(json_get_text(d, "output") ? json_get_text(d, "output") : "");
	rig_close(&g);
	return more;
}

static void test_deaths(void **state)
{
	int deaths = 0;
	(void)state;
	for (size_t i = 0; i < sizeof(stories) / sizeof(*stories); i++) {
		CLEANUP_FREE char *history = NULL, *output = NULL;
		bool more = true;
		tell(&stories[i], 0, &history, &output);
		for (int death = 1; more && death < 60; death++) {
			CLEANUP_FREE char *h = NULL, *o = NULL;
			more = tell(&stories[i], death, &h, &o);
			deaths += more;
			if (strcmp(h, history) != 0 || strcmp(o, output) != 0)
				fail_msg("%s, death after %d:\n%s%s\ninstead of\n%s%s", stories[i].name, death, h, o,
					 history, output);
		}
	}
	assert_in_range(deaths, 90, 1000);
}

static void test_texts(void **state)
{
	CLEANUP_FREE char *history = NULL, *output = NULL;
	(void)state;
	tell(&stories[1], 0, &history, &output);
	assert_string_equal(
		history, "ExecutionStarted  \nTaskStateEntered T \nLambdaFunctionScheduled  \nLambdaFunctionStarted  \n"
			 "LambdaFunctionFailed  E\nLambdaFunctionScheduled  \nLambdaFunctionStarted  \n"
			 "LambdaFunctionFailed  E\nLambdaFunctionScheduled  \nLambdaFunctionStarted  \n"
			 "LambdaFunctionSucceeded  \nTaskStateExited T \nExecutionSucceeded  \n");
	assert_string_equal(output, "{\"fail\":6}");
}

static void test_times_over_together(void **state)
{
	CLEANUP_FREE char *history = NULL, *output = NULL;
	const struct story *s = stories;
	(void)state;
	while (strcmp(s->name, "the time of all is over") != 0)
		s++;
	tell(s, 0, &history, &output);
	assert_non_null(strstr(history,
			       "LambdaFunctionTimedOut  States.Timeout\nLambdaFunctionTimedOut  States.Timeout\n"
			       "LambdaFunctionTimedOut  States.Timeout\nMapIterationFailed "));
}

/* A store of before migration 4 has its histories in a table of another kind: they come along. */
static void test_old_histories(void **state)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	char folder[] = "/tmp/quern-run-test-XXXXXX", path[64];
	struct store_migration old[8] = { 0 };
	struct store *store;
	(void)state;
	for (size_t i = 0; states_migrations[i].room && states_migrations[i].version < 4; i++)
		old[i] = states_migrations[i];
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/db", folder);
	assert_int_equal(store_open(path, old, &store, &err), 0);
	struct db *db = store_writer(store);
	assert_int_equal(db_begin(db, &err), 0);
	for (int i = 0; i < 2; i++) {
		const char arn[2] = { (char)('a' + i), 0 };
		assert_int_equal(db_exec(db, &err, "INSERT INTO states_history VALUES(?, 1, 2, 'a'), (?, 3, 4, 'b')",
					 "ss", arn, arn),
				 2);
	}
	assert_int_equal(db_commit(db, &err), 0);
	store_close(store);
	assert_int_equal(store_open(path, states_migrations, &store, &err), 0);
	db = store_writer(store);
	assert_int_equal(db_query(db, &rows, &err, "SELECT * FROM states_history ORDER BY execution, first", ""), 0);
	for (int i = 0; i < 2; i++)
		for (int64_t first = 1; first < 4; first += 2) {
			assert_int_equal(rows_next(&rows, &err), 1);
			assert_true(str_eqz(rows_str(&rows, 0), i ? "b" : "a"));
			assert_int_equal(rows_int(&rows, 1), first);
			assert_int_equal(rows_int(&rows, 2), first + 1);
			assert_true(str_eqz(rows_str(&rows, 3), first == 1 ? "a" : "b"));
		}
	assert_int_equal(rows_next(&rows, &err), 0);
	rows_done(&rows);
	store_close(store);
	static const char *const files[] = { "db", "db-wal", "db-shm", "db.lock" };
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_texts), cmocka_unit_test(test_times_over_together),
					    cmocka_unit_test(test_deaths), cmocka_unit_test(test_old_histories) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
