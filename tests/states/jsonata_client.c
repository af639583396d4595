/* jsonata_client.c - the daemon's side of the JSONata worker: answers, limits, recovery, several callers.
 * QUERN_JSONATA_LIBEXEC is the directory with quern-jsonata and its package; without it the tests are skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "states/asl.h"
#include "states/jsonata.h"

static struct jsonata *start(int soft_ms, int hard_ms, int workers)
{
	static char program[4096];
	const char *folder = getenv("QUERN_JSONATA_LIBEXEC");
	struct jsonata *j = NULL;
	struct error err = ERROR_INIT;
	if (!folder)
		return NULL;
	snprintf(program, sizeof(program), "%s/quern-jsonata", folder);
	struct jsonata_options o = { .program = program,
				     .soft_ms = soft_ms,
				     .hard_ms = hard_ms,
				     .workers = workers,
				     .memory_bytes = 400 << 20 };
	assert_int_equal(jsonata_new(&o, &j, &err), 0);
	return j;
}
#define NEED(j)                                                                                                        \
	do {                                                                                                           \
		if (!(j))                                                                                              \
			skip();                                                                                        \
	} while (0)

static enum jsonata_status eval(struct jsonata *j, const char *expression, bool wait, json_t **out)
{
	CLEANUP_JSON json_t *bindings = json_pack("{s:{s:{s:i}}}", "states", "input", "n", 5);
	return jsonata_eval(j, str_from(expression), bindings, 1, wait ? JSONATA_FULL : JSONATA_TRY, out);
}

static void answers(void **state)
{
	struct jsonata *j = start(0, 0, 1);
	json_t *out;
	NEED(j);
	assert_int_equal(eval(j, "$states.input.n * 2", true, &out), JSONATA_VALUE);
	assert_int_equal(json_integer_value(out), 10);
	json_decref(out);
	assert_int_equal(eval(j, "$states.input.none", true, &out), JSONATA_UNDEFINED);
	assert_null(out);
	assert_int_equal(eval(j, "$sum('a')", true, &out), JSONATA_ERROR);
	assert_string_equal(json_get_text(out, "code"), "T0412");
	json_decref(out);
	assert_int_equal(eval(j, "function($x){$x}", true, &out), JSONATA_ERROR);
	assert_string_equal(json_get_text(out, "code"), JSONATA_UNSUPPORTED);
	json_decref(out);
	assert_null(jsonata_check(j, STR("1 + 1")));
	out = jsonata_check(j, STR("1 +"));
	assert_string_equal(json_get_text(out, "message"), "Unexpected end of expression");
	json_decref(out);
	jsonata_free(j);
}

/* A pattern that backtracks for ever cannot be stopped by the language itself. */
static const char runaway[] =
	"$match('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab', /^(a|a|aa)+$/)";

static void runaway_is_killed(void **state)
{
	struct jsonata *j = start(0, 500, 1);
	json_t *out;
	NEED(j);
	assert_int_equal(eval(j, "1", true, &out), JSONATA_VALUE);
	json_decref(out);
	enum jsonata_status status = eval(j, runaway, true, &out);
	assert_int_equal(status, JSONATA_ERROR);
	assert_string_equal(json_get_text(out, "code"), JSONATA_LIMIT);
	json_decref(out);
	assert_int_equal(eval(j, "2", true, &out), JSONATA_VALUE);
	json_decref(out);
	jsonata_free(j);
}

static void short_turns_do_not_wait(void **state)
{
	struct jsonata *j = start(5, 3000, 2);
	json_t *out;
	NEED(j);
	assert_int_equal(eval(j, runaway, false, &out), JSONATA_BUSY); /* the worker is just starting */
	assert_int_equal(jsonata_eval(j, STR("3"), NULL, 1, JSONATA_QUICK, &out), JSONATA_VALUE); /* by the other one */
	json_decref(out);
	assert_int_equal(eval(j, runaway, false, &out), JSONATA_PENDING);
	assert_int_equal(eval(j, "4", true, &out), JSONATA_VALUE); /* by the slow half */
	json_decref(out);
	jsonata_free(j);
}

static void killed_worker_is_replaced(void **state)
{
	struct jsonata *j = start(0, 2000, 1);
	json_t *out;
	NEED(j);
	assert_int_equal(eval(j, "1", true, &out), JSONATA_VALUE);
	json_decref(out);
	/* A worker that ran out of memory ends itself. */
	assert_int_equal(
		eval(j, "$count([1..9000000] ~> $map(function($x) { $string($x) & 'xxxxxxxxxxxxxxxx' }))", true, &out),
		JSONATA_ERROR);
	assert_string_equal(json_get_text(out, "code"), JSONATA_LIMIT);
	json_decref(out);
	assert_int_equal(eval(j, "4", true, &out), JSONATA_VALUE);
	json_decref(out);
	jsonata_free(j);
}

static void *many(void *j)
{
	intptr_t wrong = 0;
	for (int i = 0; i < 100; i++) {
		char expression[64];
		json_t *out = NULL;
		snprintf(expression, sizeof(expression), "$states.input.n + %d", i);
		enum jsonata_status status = eval(j, expression, true, &out);
		if (status != JSONATA_VALUE || json_integer_value(out) != i + 5) {
			print_error("%d: status %d %s\n", i, status, json_get_text(out, "message"));
			wrong++;
		}
		json_decref(out);
	}
	return (void *)wrong;
}

static void several_callers(void **state)
{
	struct jsonata *j = start(0, 10000, 2);
	pthread_t threads[4];
	NEED(j);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, many, j), 0);
	for (int i = 0; i < 4; i++) {
		void *wrong;
		pthread_join(threads[i], &wrong);
		assert_int_equal((intptr_t)wrong, 0);
	}
	jsonata_free(j);
}

/* An evaluation that was not done in time goes on with the answer in the memo. */
static void pending_and_memo(void **state)
{
	struct jsonata *j = start(1, 10000, 1);
	struct arena a = ARENA_INIT;
	struct asl_fault f = ASL_FAULT_INIT;
	NEED(j);
	CLEANUP_JSON json_t *template =
		json_pack("{s:s, s:[s]}", "slow", "{% $count([1..300000][$ > 5]) %}", "list", "{% 1 + 1 %}");
	CLEANUP_JSON json_t *memo = json_object();
	struct asl_env env = { .arena = &a, .jsonata = j, .memo = memo };
	json_t *out = NULL;
	int rounds = 0, rc;
	while ((rc = asl_jsonata(&env, template, "Output", &out, &f)) == ASL_PENDING && rounds++ < 10) {
		json_t *value;
		enum jsonata_status s = jsonata_eval(j, json_get_str(env.pending, "expression"),
						     json_object_get(env.pending, "bindings"), 0, JSONATA_FULL, &value);
		json_object_set_new(memo, json_get_text(env.pending, "key"),
				    json_pack("{s:i, s:o}", "status", s, "value", value));
		json_decref(env.pending);
		env.pending = NULL;
	}
	assert_int_equal(rc, ASL_OK);
	assert_true(rounds > 0);
	assert_string_equal(asl_text(&a, out).ptr, "{\"slow\":299995,\"list\":[2]}");
	json_decref(out);
	arena_release(&a);
	jsonata_free(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(runaway_is_killed),
		cmocka_unit_test(short_turns_do_not_wait),
		cmocka_unit_test(killed_worker_is_replaced),
		cmocka_unit_test(several_callers),
		cmocka_unit_test(pending_and_memo),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
