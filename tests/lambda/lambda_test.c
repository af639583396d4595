/* lambda_test.c - what needs no running function: names, payloads, configurations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lambda/room.h"

static void names_are_taken_apart(void **state)
{
	static const struct {
		const char *given, *qualifier, *name, *wanted; /* no name: wanted is the error, the usual one if NULL */
	} cases[] = {
		{ "f", NULL, "f", NULL },
		{ "f:1", NULL, "f", "1" },
		{ "f", "live", "f", "live" },
		{ "f:live", "live", "f", "live" },
		{ "function:f", NULL, "f", NULL },
		{ "000000000000:function:f:$LATEST", NULL, "f", "$LATEST" },
		{ "arn:aws:lambda:us-east-1:000000000000:function:f", NULL, "f", NULL },
		{ "arn:aws:lambda:us-east-1:000000000000:function:f:2", NULL, "f", "2" },
		{ "f:1", "2", NULL, NULL },
		{ "f:1:2", NULL, NULL, NULL },
		{ ":", NULL, NULL, NULL },
		{ "arn:aws:lambda:us-east-1:000000000000:function:f:1:2", NULL, NULL, NULL },
		{ "arn:aws:lambda:eu-west-3:000000000000:function:f", NULL, NULL, "ResourceNotFoundException" },
		{ "arn:aws:lambda:us-east-1:111111111111:function:f", NULL, NULL, "AccessDeniedException" },
		{ "111111111111:function:f", NULL, NULL, "AccessDeniedException" },
	};
	struct lambda l = { .o = { .account = "000000000000", .region = "us-east-1" } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		struct arena a = ARENA_INIT;
		struct lambda_name n = { 0 };
		json_t *in = json_object();
		json_set_text(in, "FunctionName", cases[i].given);
		json_set_text(in, "Qualifier", cases[i].qualifier);
		int rc = lambda_name_read(&l, &a, in, "FunctionName", &n, &err);
		assert_int_equal(rc, cases[i].name ? 0 : -1);
		if (cases[i].name) {
			assert_string_equal(n.name, cases[i].name);
			assert_string_equal(n.qualifier ? n.qualifier : "-", cases[i].wanted ? cases[i].wanted : "-");
		} else {
			assert_string_equal(err.code,
					    cases[i].wanted ? cases[i].wanted : "InvalidParameterValueException");
		}
		json_decref(in);
		arena_release(&a);
	}
}

static void payloads_are_json(void **state)
{
	static const char *const good[] = { "{}",
					    " [1, -2.5e+10, \"a\\u00e9\\n\", true, false, null] ",
					    "0",
					    "\"x\"",
					    "99999999999999999999999",
					    "{\"a\":{\"b\":[]}}" };
	static const char *const bad[] = { "",           " ",     "{",         "{a:1}",       "[1,]",
					   "{\"a\":1,}", "01",    "1.",        "-",           "\"\n\"",
					   "\"\\x\"",    "tru",   "1 2",       "[1 2]",       "{\"a\" 1}",
					   "'a'",        "\"abc", "\"\\u12\"", "\"\\u12g4\"", "\"\xff\"" };
	const char *why;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(lambda_json_valid(str_from(good[i]), &why));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_false(lambda_json_valid(str_from(bad[i]), &why));
		assert_non_null(why);
	}
	CLEANUP_BUF struct buf deep = BUF_INIT;
	for (int i = 0; i < 100000; i++)
		buf_add_char(&deep, '[');
	assert_false(lambda_json_valid(buf_str(&deep), &why));
	assert_string_equal(why, "The document is nested too deeply");
}

static void runtimes_are_known(void **state)
{
	assert_string_equal(lambda_runtime_kind(STR("python3.12")), "python");
	assert_string_equal(lambda_runtime_kind(STR("nodejs22.x")), "nodejs");
	assert_string_equal(lambda_runtime_kind(STR("provided.al2")), "provided");
	assert_null(lambda_runtime_kind(STR("python2.7")));
	assert_null(lambda_runtime_kind(STR("nodejs")));
	assert_null(lambda_runtime_kind(STR("provided")));
}

static void cpus_follow_memory(void **state)
{
	assert_float_equal(lambda_cpus(1769), 1, 1e-9);
	assert_float_equal(lambda_cpus(3538), 2, 1e-9);
	assert_float_equal(lambda_cpus(10240), 10240.0 / 1769, 1e-9);
	assert_float_equal(lambda_cpus(128), 0.5, 1e-9);
}

static void count_one(void *arg)
{
	__atomic_add_fetch((int *)arg, 1, __ATOMIC_SEQ_CST);
}

static void work_is_done_before_the_end(void **state)
{
	int done = 0;
	struct work *w = work_new(3);
	for (int i = 0; i < 1000; i++)
		work_add(w, count_one, &done);
	work_end(w);
	assert_int_equal(done, 1000);
	work_add(w, count_one, &done);
	assert_int_equal(done, 1001);
	work_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_taken_apart),       cmocka_unit_test(payloads_are_json),
		cmocka_unit_test(runtimes_are_known),          cmocka_unit_test(cpus_follow_memory),
		cmocka_unit_test(work_is_done_before_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
