/* expr_test.c - paths, references, evaluation and conditions, one promise a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "sagemaker/expr.h"

static struct arena arena;

static int setup(void **state)
{
	(void)state;
	arena = ARENA_INIT;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_release(&arena);
	return 0;
}

static json_t *parse(const char *text)
{
	json_t *v = json_loads(text, JSON_DECODE_ANY, NULL);
	if (!v)
		fail_msg("not JSON: %s", text);
	return v;
}

/* ---- an environment with fixed values ---- */

static json_t *get(void *ctx, const struct ref *ref, struct error *err)
{
	json_t *root = ctx, *v = NULL;
	if (ref->kind == REF_PARAMETER)
		v = json_object_getn(json_object_get(root, "Parameters"), ref->name.ptr, ref->name.len);
	if (ref->kind == REF_EXECUTION)
		v = json_object_getn(json_object_get(root, "Execution"), ref->name.ptr, ref->name.len);
	if (ref->kind == REF_STEP)
		v = expr_path_get(json_object_getn(json_object_get(root, "Steps"), ref->name.ptr, ref->name.len),
				  &ref->path, 0, true);
	if (!v)
		error_aws(err, "ValidationException", "no value for %.*s", STR_ARG(ref->text));
	return json_incref(v);
}

static struct str property_file(void *ctx, const struct ref *ref, struct error *err)
{
	(void)ctx, (void)err;
	return str_from(arena_printf(&arena, "s3://files/%.*s", STR_ARG(ref->path.parts[1].key)));
}

static json_t *json_get_value(void *ctx, struct str uri, struct str path, struct error *err)
{
	(void)ctx, (void)err;
	struct str text = str_from(arena_printf(&arena, "%.*s#%.*s", STR_ARG(uri), STR_ARG(path)));
	return json_stringn(text.ptr, text.len);
}

static const char values_text[] =
	"{\"Parameters\":{\"S\":\"text\",\"N\":3,\"F\":3.0,\"G\":0.1,\"B\":true},"
	"\"Execution\":{\"PipelineExecutionId\":\"abc123\"},"
	"\"Steps\":{\"P\":{\"ProcessingOutputConfig\":{\"Outputs\":[{\"OutputName\":\"train\",\"S3Output\":{\"S3Uri\":"
	"\"s3://b/t\"}},"
	"{\"OutputName\":\"test\",\"S3Output\":{\"S3Uri\":\"s3://b/x\"}}]},\"Environment\":{\"MODEL_NAME\":\"m\"},"
	"\"ProcessingInputs\":[{\"InputName\":\"code\",\"S3Input\":{\"S3Uri\":\"s3://b/c\"}}]},"
	"\"T\":{\"FinalMetricDataList\":[{\"MetricName\":\"val:acc\",\"Value\":0.75}],\"TrainingStartTime\":1.5e9},"
	"\"C\":{\"Outcome\":false}}}";

static void assert_eval(const char *expression, const char *want)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *values = parse(values_text), *e = parse(expression);
	struct expr_env env = { &arena, get, property_file, json_get_value, values };
	CLEANUP_JSON json_t *v = expr_eval(&env, e, &err);
	if (!v)
		fail_msg("%s: %s", expression, error_text(&err));
	CLEANUP_FREE char *text = json_text_dup(v);
	assert_string_equal(text, want);
}

static void assert_eval_fails(const char *expression, const char *want)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *values = parse(values_text), *e = parse(expression);
	struct expr_env env = { &arena, get, property_file, json_get_value, values };
	CLEANUP_JSON json_t *v = expr_eval(&env, e, &err);
	assert_null(v);
	assert_string_equal(err.code, "ValidationException");
	if (!strstr(error_text(&err), want))
		fail_msg("`%s` is not in `%s`", want, error_text(&err));
}

/* ---- tests ---- */

static void test_paths(void **state)
{
	(void)state;
	static const struct {
		const char *path;
		int parts; /* -1: malformed */
	} cases[] = { { "a.b[0]['c']", 4 }, { "$.a", 1 },     { "$", 0 },      { "", 0 },           { "a", 1 },
		      { "[0].x", 2 },       { "[\"k\"]", 1 }, { "a..b", -1 },  { "a.", -1 },        { "a[", -1 },
		      { "a[]", -1 },        { "a[-1]", -1 },  { "a['x]", -1 }, { "a[x]", -1 },      { "a]b", -1 },
		      { ".a", 1 },          { "a[0]b", -1 },  { "*", -1 },     { "a['b.c'].d", 3 }, { ".", -1 },
		      { "a[1]x", -1 } };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct path p;
		bool ok = expr_path_parse(&arena, str_from(cases[i].path), &p);
		if (ok != (cases[i].parts >= 0) || (ok && (int)p.count != cases[i].parts))
			fail_msg("path '%s': %s, %zu parts", cases[i].path, ok ? "accepted" : "refused",
				 ok ? p.count : 0);
	}
}

static void test_references_keep_types(void **state)
{
	(void)state;
	assert_eval("{\"Get\":\"Parameters.N\"}", "3");
	assert_eval("{\"InstanceCount\":{\"Get\":\"Parameters.N\"},\"x\":null}", "{\"InstanceCount\":3}");
	assert_eval("{\"Get\":\"Parameters.F\"}", "3.0");
	assert_eval("{\"Get\":\"Parameters.B\"}", "true");
	assert_eval("[{\"Get\":\"Parameters.S\"},1,null]", "[\"text\",1,null]");
	assert_eval("{\"Get\":\"Execution.PipelineExecutionId\"}", "\"abc123\"");
	assert_eval("{\"Get\":\"Steps.C.Outcome\"}", "false");
}

static void test_lists_select_by_name(void **state)
{
	(void)state;
	assert_eval("{\"Get\":\"Steps.P.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri\"}", "\"s3://b/t\"");
	assert_eval("{\"Get\":\"Steps.P.ProcessingOutputConfig.Outputs[1].S3Output.S3Uri\"}", "\"s3://b/x\"");
	assert_eval("{\"Get\":\"Steps.P.ProcessingInputs['code'].S3Input.S3Uri\"}", "\"s3://b/c\"");
	assert_eval("{\"Get\":\"Steps.P.Environment['MODEL_NAME']\"}", "\"m\"");
	assert_eval("{\"Get\":\"Steps.T.FinalMetricDataList['val:acc'].Value\"}", "0.75");
	assert_eval_fails("{\"Get\":\"Steps.P.ProcessingOutputConfig.Outputs['none'].S3Output.S3Uri\"}", "no value");
	assert_eval_fails("{\"Get\":\"Steps.P.NoSuch\"}", "no value");
}

static void test_join_makes_text(void **state)
{
	(void)state;
	assert_eval("{\"Std:Join\":{\"On\":\"/\",\"Values\":[\"s3:/"
		    "\",{\"Get\":\"Parameters.S\"},{\"Get\":\"Parameters.N\"}]}}",
		    "\"s3://text/3\"");
	assert_eval("{\"Std:Join\":{\"On\":\" "
		    "\",\"Values\":[{\"Get\":\"Parameters.F\"},{\"Get\":\"Parameters.G\"},{\"Get\":\"Parameters.B\"},"
		    "{\"Get\":\"Steps.C.Outcome\"},1e300]}}",
		    "\"3.0 0.1 true false 1e+300\"");
	assert_eval("{\"Std:Join\":{\"On\":\"\",\"Values\":[{\"Get\":\"Parameters.N\"}]}}", "\"3\"");
	assert_eval("{\"Std:Join\":{\"On\":\"-\",\"Values\":[{\"Std:Join\":{\"On\":\"+\",\"Values\":[1,2]}},3]}}",
		    "\"1+2-3\"");
	assert_eval("{\"Std:Join\":{\"On\":\"x\",\"Values\":[]}}", "\"\"");
	assert_eval("{\"Std:Join\":{\"Values\":[\"a\",\"b\"]}}", "\"ab\"");
	assert_eval("{\"Std:Join\":{\"On\":\",\",\"Values\":[[1,\"a\"],{\"k\":2}]}}",
		    "\"[1,\\\"a\\\"],{\\\"k\\\":2}\"");
}

static void test_json_get(void **state)
{
	(void)state;
	assert_eval("{\"Std:JsonGet\":{\"PropertyFile\":{\"Get\":\"Steps.P.PropertyFiles.Report\"},\"Path\":\"a.b\"}}",
		    "\"s3://files/Report#a.b\"");
	assert_eval("{\"Std:JsonGet\":{\"S3Uri\":{\"Std:Join\":{\"On\":\"/\",\"Values\":[\"s3://"
		    "b\",\"r.json\"]}},\"Path\":\"Result[0]\"}}",
		    "\"s3://b/r.json#Result[0]\"");
}

static void test_real_text(void **state)
{
	(void)state;
	assert_string_equal(expr_real_text(&arena, 3), "3.0");
	assert_string_equal(expr_real_text(&arena, 0.1), "0.1");
	assert_string_equal(expr_real_text(&arena, -2.5), "-2.5");
	assert_string_equal(expr_real_text(&arena, 1.0 / 3), "0.3333333333333333");
	assert_string_equal(expr_real_text(&arena, 0), "0.0");
}

static int count_visit(void *ctx, const struct ref *ref, bool file, struct error *err)
{
	(void)ref, (void)err;
	*(int *)ctx += file ? 100 : 1;
	return 0;
}

static void test_walk_finds_all(void **state)
{
	(void)state;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *v = parse(
		"{\"a\":[{\"Get\":\"Steps.x.y\"}],\"b\":{\"Std:Join\":{\"On\":\"\",\"Values\":[{\"Get\":\"Parameters."
		"p\"},"
		"{\"Std:JsonGet\":{\"S3Uri\":{\"Std:Join\":{\"On\":\"\",\"Values\":[{\"Get\":\"Steps.z.q\"}]}},"
		"\"Path\":\"a\"}}]}},"
		"\"c\":{\"Std:JsonGet\":{\"PropertyFile\":{\"Get\":\"Steps.f.PropertyFiles.n\"},\"Path\":\"a\"}}}");
	int n = 0;
	assert_int_equal(expr_walk(&arena, v, count_visit, &n, &err), 0);
	assert_int_equal(n, 103);
}

static void test_walk_refuses(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"{\"Get\":1}",
		"{\"Get\":\"Nothing.x\"}",
		"{\"Get\":\"Parameters.\"}",
		"{\"Get\":\"Steps.x\"}",
		"{\"Get\":\"Steps.x[\"}",
		"{\"Std:Join\":{\"On\":1,\"Values\":[]}}",
		"{\"Std:Join\":{\"On\":\"\"}}",
		"{\"Std:Join\":5}",
		"{\"Std:JsonGet\":{\"Path\":\"a\"}}",
		"{\"Std:JsonGet\":{\"S3Uri\":\"s3://b/k\"}}",
		"{\"Std:JsonGet\":{\"S3Uri\":\"s3://b/k\",\"Path\":\"a..b\"}}",
		"{\"Std:JsonGet\":{\"PropertyFile\":\"x\",\"Path\":\"a\"}}",
		"{\"Std:Upper\":{}}",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		CLEANUP_JSON json_t *v = parse(bad[i]);
		if (expr_walk(&arena, v, NULL, NULL, &err) == 0)
			fail_msg("accepted: %s", bad[i]);
		assert_string_equal(err.code, "ValidationException");
	}
}

/* ---- conditions ---- */

static void assert_condition(const char *text, bool want)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *values = parse(values_text), *list = parse(text);
	struct expr_env env = { &arena, get, property_file, json_get_value, values };
	size_t i;
	json_t *c;
	json_array_foreach (list, i, c)
		if (expr_condition_check(&arena, c, NULL, NULL, &err) < 0)
			fail_msg("%s: %s", text, error_text(&err));
	bool got;
	if (expr_conditions_eval(&env, list, &got, &err) < 0)
		fail_msg("%s: %s", text, error_text(&err));
	if (got != want)
		fail_msg("%s is %d", text, got);
}

#define CMP(type, l, r) "[{\"Type\":\"" type "\",\"LeftValue\":" l ",\"RightValue\":" r "}]"

static void test_comparisons(void **state)
{
	(void)state;
	assert_condition(CMP("Equals", "1", "1.0"), true);
	assert_condition(CMP("Equals", "\"a\"", "\"a\""), true);
	assert_condition(CMP("Equals", "true", "{\"Get\":\"Parameters.B\"}"), true);
	assert_condition(CMP("Equals", "{\"Get\":\"Steps.C.Outcome\"}", "true"), false);
	assert_condition(CMP("NotEquals", "1", "2"), true);
	assert_condition(CMP("GreaterThan", "\"1\"", "\"3\""), false);
	assert_condition(CMP("GreaterThan", "\"10\"", "\"9\""), false); /* lexical */
	assert_condition(CMP("GreaterThan", "10", "9"), true);
	assert_condition(CMP("GreaterThanOrEqualTo", "{\"Get\":\"Parameters.F\"}", "3"), true);
	assert_condition(CMP("LessThan", "9007199254740992", "9007199254740993"), true); /* exact integers */
	assert_condition(CMP("LessThanOrEqualTo", "0.1", "{\"Get\":\"Parameters.G\"}"), true);
}

static void test_combinations(void **state)
{
	(void)state;
	assert_condition("[]", true);
	assert_condition("[{\"Type\":\"Equals\",\"LeftValue\":1,\"RightValue\":1},{\"Type\":\"Equals\",\"LeftValue\":1,"
			 "\"RightValue\":2}]",
			 false);
	assert_condition("[{\"Type\":\"Not\",\"Condition\":{\"Type\":\"Equals\",\"LeftValue\":1,\"RightValue\":2}}]",
			 true);
	assert_condition("[{\"Type\":\"Or\",\"Conditions\":[{\"Type\":\"Equals\",\"LeftValue\":1,\"RightValue\":2},"
			 "{\"Type\":\"Equals\",\"LeftValue\":1,\"RightValue\":1}]}]",
			 true);
	assert_condition("[{\"Type\":\"In\",\"QueryValue\":{\"Get\":\"Parameters.N\"},\"Values\":[1,\"3\",3]}]", true);
	assert_condition("[{\"Type\":\"In\",\"Value\":\"a\",\"In\":[\"b\"]}]", false);
	assert_condition("[{\"Type\":\"NotIn\",\"QueryValue\":\"a\",\"Values\":[\"b\",1]}]", true);
	assert_condition(
		"[{\"Type\":\"Not\",\"Condition\":{\"Type\":\"Not\",\"Condition\":{\"Type\":\"Or\",\"Conditions\":"
		"[{\"Type\":\"In\",\"QueryValue\":1,\"Values\":[]}]}}}]",
		false);
}

static void test_mixed_types_fail(void **state)
{
	(void)state;
	static const char *const bad[] = { CMP("Equals", "1", "\"1\""), CMP("GreaterThan", "true", "false"),
					   CMP("LessThan", "\"a\"", "1"),
					   CMP("Equals", "{\"Get\":\"Parameters.B\"}", "1") };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		CLEANUP_JSON json_t *values = parse(values_text), *list = parse(bad[i]);
		struct expr_env env = { &arena, get, property_file, json_get_value, values };
		bool got;
		if (expr_conditions_eval(&env, list, &got, &err) == 0)
			fail_msg("compared: %s", bad[i]);
		assert_string_equal(err.code, "ValidationException");
	}
}

static void test_condition_form(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"{\"Type\":\"Equals\",\"LeftValue\":1}",
		"{\"Type\":\"Equals\",\"LeftValue\":null,\"RightValue\":1}",
		"{\"Type\":\"Nearly\",\"LeftValue\":1,\"RightValue\":1}",
		"{\"LeftValue\":1,\"RightValue\":1}",
		"{\"Type\":\"In\",\"QueryValue\":1,\"Values\":3}",
		"{\"Type\":\"Not\"}",
		"{\"Type\":\"Or\",\"Conditions\":[]}",
		"{\"Type\":\"Or\",\"Conditions\":[{\"Type\":\"X\"}]}",
		"{\"Type\":\"Equals\",\"LeftValue\":{\"Get\":\"x\"},\"RightValue\":1}",
		"[]",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		CLEANUP_JSON json_t *c = parse(bad[i]);
		if (expr_condition_check(&arena, c, NULL, NULL, &err) == 0)
			fail_msg("accepted: %s", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_references_keep_types, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lists_select_by_name, setup, teardown),
		cmocka_unit_test_setup_teardown(test_join_makes_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json_get, setup, teardown),
		cmocka_unit_test_setup_teardown(test_real_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_walk_finds_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_walk_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_comparisons, setup, teardown),
		cmocka_unit_test_setup_teardown(test_combinations, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mixed_types_fail, setup, teardown),
		cmocka_unit_test_setup_teardown(test_condition_form, setup, teardown),
	};
	return cmocka_run_group_tests_name("expr", tests, NULL, NULL);
}
