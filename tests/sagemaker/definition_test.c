/* definition_test.c - parsing and checking of pipeline definitions: the real SDK's, and each kind of bad one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "sagemaker/definition.h"
#include "sagemaker/pipeline_type.h"

/* A whole definition around the given steps (and parameters). */
static char *wrap(const char *parameters, const char *steps)
{
	struct buf b = BUF_INIT;
	buf_printf(&b,
		   "{\"Version\":\"2020-12-01\",\"Metadata\":{},\"Parameters\":[%s],\"PipelineExperimentConfig\":null,"
		   "\"Steps\":[%s]}",
		   parameters, steps);
	return buf_detach(&b);
}

#define FAIL(name, rest) "{\"Name\":\"" name "\",\"Type\":\"Fail\",\"Arguments\":{\"ErrorMessage\":\"x\"}" rest "}"
#define PROC(name, rest) "{\"Name\":\"" name "\",\"Type\":\"Processing\",\"Arguments\":{" rest "}}"
#define PROC_AFTER(name, deps)                                                                                         \
	"{\"Name\":\"" name "\",\"Type\":\"Processing\",\"Arguments\":{},\"DependsOn\":[" deps "]}"
#define COND(name, conditions, yes, no)                                                                                \
	"{\"Name\":\"" name "\",\"Type\":\"Condition\",\"Arguments\":{\"Conditions\":[" conditions                     \
	"],\"IfSteps\":[" yes "],\"ElseSteps\":[" no "]}}"
#define EQUAL(l, r) "{\"Type\":\"Equals\",\"LeftValue\":" l ",\"RightValue\":" r "}"
#define GET(x) "{\"Get\":\"" x "\"}"

static void assert_refused(const char *text, const char *want)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct definition *d = NULL;
	if (definition_parse(str_from(text), &d, &err) == 0) {
		definition_free(d);
		fail_msg("accepted: %.300s", text);
	}
	assert_string_equal(err.code, "ValidationException");
	if (!strstr(error_text(&err), want))
		fail_msg("`%s` is not in `%s`", want, error_text(&err));
}

static void assert_steps_refused(const char *parameters, const char *steps, const char *want)
{
	CLEANUP_FREE char *text = wrap(parameters, steps);
	assert_refused(text, want);
}

static struct definition *accept(const char *parameters, const char *steps)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_FREE char *text = wrap(parameters, steps);
	struct definition *d = NULL;
	if (definition_parse(str_from(text), &d, &err) < 0)
		fail_msg("%s", error_text(&err));
	return d;
}

static void test_envelope(void **state)
{
	(void)state;
	assert_refused("", "It is not JSON");
	assert_refused("{", "It is not JSON");
	assert_refused("[]", "Expecting start of Json Object");
	assert_refused("{}", "Version");
	assert_refused("{\"Version\":\"2019-01-01\",\"Steps\":[]}", "'2019-01-01' is not supported");
	assert_refused("{\"Version\":\"2020-12-01\"}", "'Steps' must be a list");
	assert_refused("{\"Version\":\"2020-12-01\",\"Steps\":{}}", "'Steps' must be a list");
	assert_refused("{\"Version\":\"2020-12-01\",\"Steps\":[7]}", "must be an object");
	assert_refused("{\"Version\":\"2020-12-01\",\"Parameters\":{},\"Steps\":[]}", "'Parameters' must be a list");
	CLEANUP_FREE char *huge = mem_alloc(DEFINITION_MAX_BYTES + 2);
	memset(huge, ' ', DEFINITION_MAX_BYTES + 1);
	huge[DEFINITION_MAX_BYTES + 1] = 0;
	assert_refused(huge, "at most 1048576");
	definition_free(accept("", ""));
}

static void test_parameters(void **state)
{
	(void)state;
	assert_steps_refused("{\"Name\":\"a b\",\"Type\":\"String\"}", "", "is not valid");
	assert_steps_refused("{\"Name\":\"a\",\"Type\":\"Text\"}", "", "unknown type 'Text'");
	assert_steps_refused("{\"Name\":\"a\",\"Type\":\"Integer\",\"DefaultValue\":\"1\"}", "", "not of type Integer");
	assert_steps_refused("{\"Name\":\"a\",\"Type\":\"Integer\",\"DefaultValue\":1.5}", "", "not of type Integer");
	assert_steps_refused("{\"Name\":\"a\",\"Type\":\"Boolean\",\"DefaultValue\":1}", "", "not of type Boolean");
	assert_steps_refused("{\"Name\":\"a\",\"Type\":\"String\"},{\"Name\":\"a\",\"Type\":\"String\"}", "",
			     "Duplicate parameter name 'a'");
	assert_steps_refused("{\"Name\":\"a\",\"Type\":\"String\",\"DefaultValue\":\"z\",\"EnumValues\":[\"x\"]}", "",
			     "EnumValues");
	assert_steps_refused("{\"Name\":\"a\",\"Type\":\"Integer\",\"EnumValues\":[1]}", "", "EnumValues");
}

static void test_names(void **state)
{
	(void)state;
	char name[200], step[300];
	memset(name, 'a', sizeof name);
	snprintf(step, sizeof step, "{\"Name\":\"%.65s\",\"Type\":\"Fail\"}", name);
	assert_steps_refused("", step, "1 to 64 characters");
	snprintf(step, sizeof step, "{\"Name\":\"%.64s\",\"Type\":\"Fail\"}", name);
	definition_free(accept("", step));
	assert_steps_refused("", FAIL("a.b", ""), "is not valid");
	assert_steps_refused("", "{\"Type\":\"Fail\"}", "is not valid");
	assert_steps_refused("", FAIL("a", "") "," FAIL("a", ""), "Duplicate step name 'a'");
	assert_steps_refused("", COND("c", "", FAIL("x", ""), FAIL("x", "")), "Duplicate step name 'x'");
	assert_steps_refused("", COND("c", "", FAIL("c", ""), ""), "Duplicate step name 'c'");
}

static void test_types(void **state)
{
	(void)state;
	assert_steps_refused("", "{\"Name\":\"s\",\"Type\":\"Tuning\",\"Arguments\":{}}",
			     "Step 's' has type 'Tuning', which is not supported yet");
	assert_steps_refused("", "{\"Name\":\"s\",\"Type\":\"Cooking\",\"Arguments\":{}}", "unknown type 'Cooking'");
	assert_steps_refused("", "{\"Name\":\"s\",\"Arguments\":{}}", "unknown type");
	assert_steps_refused("", "{\"Name\":\"s\",\"Type\":\"Processing\"}", "needs 'Arguments'");
	assert_steps_refused("", "{\"Name\":\"s\",\"Type\":\"Processing\",\"Arguments\":[]}", "must be an object");
	assert_steps_refused("", "{\"Name\":\"s\",\"Type\":\"Condition\",\"Arguments\":{}}",
			     "needs a list 'Conditions'");
	assert_steps_refused("", COND("c", "", "{\"Name\":\"m\",\"Type\":\"Model\",\"Arguments\":{}}", ""),
			     "'Model', which is not supported yet");
}

static void test_references(void **state)
{
	(void)state;
	assert_steps_refused("", PROC("p", "\"a\":" GET("Parameters.N")), "parameter 'N', which does not exist");
	assert_steps_refused("", PROC("p", "\"a\":" GET("Steps.q.x")), "step 'q', which does not exist");
	assert_steps_refused("", PROC("p", "\"a\":" GET("Steps.p.x")), "refers to itself");
	assert_steps_refused("", PROC("p", "\"a\":" GET("Execution.Nothing")), "no execution variable");
	assert_steps_refused("", PROC("p", "\"a\":" GET("PipelineExperimentConfig.Nothing")), "Invalid reference");
	assert_steps_refused("", PROC("p", "\"a\":[{\"Std:Join\":{\"On\":\"\",\"Values\":[" GET("Steps.q.x") "]}}]"),
			     "step 'q'");
	assert_steps_refused("", COND("c", EQUAL(GET("Steps.q.x"), "1"), "", ""), "step 'q'");
	assert_steps_refused("", PROC_AFTER("p", "\"q\""), "depends on step 'q', which does not exist");
	assert_steps_refused("", PROC_AFTER("p", "\"p\""), "depends on itself");
	assert_steps_refused("", PROC_AFTER("p", "7"), "does not exist");
	assert_steps_refused("", COND("c", "", "", "") "," PROC("p", "\"a\":" GET("Steps.c.Result")), "only 'Outcome'");
	assert_steps_refused("",
			     PROC("p", "") "," COND("c",
						    EQUAL("{\"Std:JsonGet\":{\"PropertyFile\":" GET(
								  "Steps.p.PropertyFiles.F") ",\"Path\":\"a\"}}",
							  "1"),
						    "", ""),
			     "no PropertyFile");
	definition_free(accept(
		"{\"Name\":\"N\",\"Type\":\"Integer\"}",
		PROC("p", "\"a\":" GET("Parameters.N") ",\"b\":" GET("Execution.ProcessingJobName") ",\"c\":" GET(
				  "PipelineExperimentConfig.TrialName"))));
}

static void test_fail_is_a_leaf(void **state)
{
	(void)state;
	assert_steps_refused("",
			     "{\"Name\":\"CondStep\",\"Type\":\"Condition\",\"Arguments\":{\"Conditions\":[],"
			     "\"IfSteps\":[],\"ElseSteps\":[]},\"DependsOn\":[\"FailStep\"]}," FAIL("FailStep", ""),
			     "CondStep can not depends on FailStep");
	assert_steps_refused("", FAIL("f", "") "," PROC("p", "\"a\":" GET("Steps.f.x")), "p can not depends on f");
}

static void test_cycles(void **state)
{
	(void)state;
	assert_steps_refused("",
			     PROC_AFTER("a", "\"b\"") "," PROC_AFTER("b", "\"c\"") "," PROC_AFTER(
				     "c", "\"a\"") "," PROC_AFTER("d", "\"a\""),
			     "a -> b -> c -> a");
	/* through data only */
	assert_steps_refused("", PROC("a", "\"x\":" GET("Steps.b.y")) "," PROC("b", "\"x\":" GET("Steps.a.y")),
			     "a -> b -> a");
	/* a condition that needs a step of its own branch */
	assert_steps_refused("", COND("c", EQUAL(GET("Steps.p.x"), "1"), PROC("p", ""), ""), "c -> p -> c");
}

static bool depends(const struct definition *d, const char *from, const char *to)
{
	const struct definition_step *f = definition_step_find(d, str_from(from)),
				     *t = definition_step_find(d, str_from(to));
	for (int k = 0; k < f->ndeps; k++)
		if (f->deps[k] == t->index)
			return true;
	return false;
}

static void test_graph(void **state)
{
	(void)state;
	struct definition *d =
		accept("", PROC("p", "") "," PROC("q", "\"a\":" GET("Steps.p.x") ",\"b\":" GET("Steps.p.y")) "," COND(
				   "c", EQUAL(GET("Steps.q.x"), "1"),
				   COND("inner", "", PROC("deep", "\"a\":" GET("Steps.p.x")), ""),
				   FAIL("no", "")) "," PROC_AFTER("after", "\"c\""));
	assert_int_equal(d->nsteps, 7);
	assert_true(depends(d, "q", "p"));
	assert_int_equal(definition_step_find(d, STR("q"))->ndeps, 1);
	assert_true(depends(d, "c", "q"));
	assert_true(depends(d, "inner", "c"));
	assert_true(depends(d, "deep", "inner"));
	assert_true(depends(d, "deep", "p"));
	assert_false(depends(d, "c", "p")); /* what is inside a branch is not the condition's */
	assert_true(depends(d, "after", "c"));
	assert_false(depends(d, "after", "no"));
	assert_true(definition_step_find(d, STR("no"))->else_branch);
	assert_int_equal(definition_step_find(d, STR("deep"))->parent, definition_step_find(d, STR("inner"))->index);
	assert_int_equal(definition_step_find(d, STR("p"))->ndependents, 2);
	definition_free(d);
}

static void test_policies(void **state)
{
	(void)state;
#define POLICY(x) "{\"Name\":\"p\",\"Type\":\"Processing\",\"Arguments\":{},\"RetryPolicies\":[{" x "}]}"
#define TYPED "\"ExceptionType\":[\"Step.SERVICE_FAULT\"]"
	assert_steps_refused("", POLICY("\"MaxAttempts\":1"), "needs ExceptionType");
	assert_steps_refused("", POLICY(TYPED ",\"MaxAttempts\":1,\"ExpireAfterMin\":1"), "not both");
	assert_steps_refused("", POLICY(TYPED ",\"MaxAttempts\":21"), "MaxAttempts");
	assert_steps_refused("", POLICY(TYPED ",\"IntervalSeconds\":43201"), "IntervalSeconds");
	assert_steps_refused("", POLICY(TYPED ",\"ExpireAfterMin\":14401"), "ExpireAfterMin");
	definition_free(accept("", POLICY(TYPED ",\"MaxAttempts\":20,\"ExpireAfterMin\":null,\"BackoffRate\":1.5")));
	definition_free(accept("", POLICY("\"ExceptionType\":\"Step.THROTTLING\"")));
	assert_steps_refused("", FAIL("f", ",\"RetryPolicies\":[{" TYPED "}]"), "cannot have these RetryPolicies");
	assert_steps_refused("", FAIL("f", ",\"CacheConfig\":{\"Enabled\":true}"), "cannot have this CacheConfig");
	assert_steps_refused("",
			     "{\"Name\":\"p\",\"Type\":\"Processing\",\"Arguments\":{},\"CacheConfig\":{\"Enabled\":"
			     "true,\"ExpireAfter\":\"soon\"}}",
			     "ExpireAfter");
	assert_steps_refused("",
			     "{\"Name\":\"p\",\"Type\":\"Processing\",\"Arguments\":{},\"PropertyFiles\":[{"
			     "\"PropertyFileName\":\"x\"}]}",
			     "OutputName");
}

static void test_durations(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t seconds; /* -1: malformed */
	} cases[] = { { "30d", 30 * 86400 },
		      { "p30d", 30 * 86400 },
		      { "T12H", 43200 },
		      { "30dT5h", 30 * 86400 + 18000 },
		      { "PT1H", 3600 },
		      { "P1D", 86400 },
		      { "P1W", 604800 },
		      { "PT90S", 90 },
		      { "P1Y", 365 * 86400 },
		      { "P1M", 30 * 86400 },
		      { "PT5M", 300 },
		      { "", -1 },
		      { "P", -1 },
		      { "PT", -1 },
		      { "5", -1 },
		      { "1H", -1 },
		      { "P1DT", -1 },
		      { "PT1HT1H", -1 },
		      { "P-1D", -1 },
		      { "P1.5D", -1 },
		      { "P400Y", 400LL * 365 * 86400 },
		      { "P400YT1S", -1 },
		      { "P999999999Y", -1 },
		      { "P200Y200Y1D", -1 },
		      { "99999999999D", -1 } };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int64_t ms = -1000;
		bool ok = definition_duration(str_from(cases[i].text), &ms);
		if (ok != (cases[i].seconds >= 0) || (ok && ms != cases[i].seconds * 1000))
			fail_msg("'%s': %d %lld", cases[i].text, ok, (long long)ms);
	}
}

/* ---- start parameters ---- */

static const char bind_params[] =
	"{\"Name\":\"S\",\"Type\":\"String\",\"DefaultValue\":\"d\",\"EnumValues\":[\"d\",\"e\"]},"
	"{\"Name\":\"N\",\"Type\":\"Integer\",\"DefaultValue\":1},{\"Name\":\"F\",\"Type\":\"Float\",\"DefaultValue\":"
	"3},"
	"{\"Name\":\"B\",\"Type\":\"Boolean\",\"DefaultValue\":false},{\"Name\":\"R\",\"Type\":\"String\"}";

static void assert_bind(const char *given, const char *want)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct definition *d = accept(bind_params, "");
	CLEANUP_JSON json_t *list = json_loads(given, JSON_DECODE_ANY, NULL);
	assert_non_null(list);
	CLEANUP_JSON json_t *got = definition_bind(d, list, &err);
	definition_free(d);
	const char *text = error_text(&err);
	CLEANUP_FREE char *values = got ? json_dumps(got, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	if (!strstr(got ? values : text, want))
		fail_msg("%s: `%s` is not in `%s`", given, want, got ? values : text);
	if (!got)
		assert_string_equal(err.code, "ValidationException");
}

static void test_bind(void **state)
{
	(void)state;
	assert_bind("[{\"Name\":\"R\",\"Value\":\"x\"}]", "{\"B\":false,\"F\":3.0,\"N\":1,\"R\":\"x\",\"S\":\"d\"}");
	assert_bind("[{\"Name\":\"R\",\"Value\":\"x\"},{\"Name\":\"B\",\"Value\":\"True\"},{\"Name\":\"N\",\"Value\":"
		    "\"-7\"},{\"Name\":\"F\",\"Value\":\"2\"},"
		    "{\"Name\":\"S\",\"Value\":\"e\"}]",
		    "{\"B\":true,\"F\":2.0,\"N\":-7,\"R\":\"x\",\"S\":\"e\"}");
	assert_bind("[]", "Parameter 'R' is undefined.");
	assert_bind("[{\"Name\":\"X\",\"Value\":\"x\"}]", "Unknown parameter 'X'");
	assert_bind("[{\"Name\":\"R\",\"Value\":\"\"}]", "value \"\" is too short (length: 0, required minimum: 1)");
	assert_bind("[{\"Name\":\"N\",\"Value\":\"1.5\"}]", "Unexpected type for parameter 'N'. Expected Integer");
	assert_bind("[{\"Name\":\"F\",\"Value\":\"nan\"}]", "Unexpected type for parameter 'F'");
	assert_bind("[{\"Name\":\"B\",\"Value\":\"yes\"}]", "Unexpected type for parameter 'B'");
	assert_bind("[{\"Name\":\"S\",\"Value\":\"z\"}]", "is not one of [\"d\",\"e\"]");
	assert_bind("[{\"Name\":\"R\",\"Value\":\"1\"},{\"Name\":\"R\",\"Value\":\"2\"}]", "more than once");
}

/* ---- the real SDK's definitions ---- */

static char *read_file(const char *path)
{
	FILE *f = fopen(path, "r");
	if (!f)
		return NULL;
	struct buf b = BUF_INIT;
	char piece[4096];
	size_t n;
	while ((n = fread(piece, 1, sizeof piece, f)) > 0)
		buf_add(&b, piece, n);
	fclose(f);
	return buf_detach(&b);
}

/* Every unsupported step type in the definition, or none: what the refusal must name. */
static bool names_unsupported(const json_t *v, const char *message)
{
	const char *type = json_get_text(v, "Type"), *key;
	json_t *member;
	size_t i;
	const struct step_type *known = type && json_get(v, "Arguments") ? step_type_find(str_from(type)) : NULL;
	if (known && !known->begin && strstr(message, type))
		return true;
	json_object_foreach ((json_t *)v, key, member)
		if (names_unsupported(member, message))
			return true;
	json_array_foreach (v, i, member)
		if (names_unsupported(member, message))
			return true;
	return false;
}

static void test_golden(void **state)
{
	(void)state;
	const char *reference = getenv("QUERN_REFERENCE");
	char path[1024];
	snprintf(path, sizeof path, "%s/golden", reference ? reference : "");
	DIR *dir = opendir(path);
	if (!dir) {
		print_message("skipped: the SDK's definitions (QUERN_REFERENCE) are not here\n");
		skip();
	}
	int accepted = 0, refused = 0;
	for (struct dirent *e; (e = readdir(dir));) {
		if (!str_ends(str_from(e->d_name), STR(".json")))
			continue;
		snprintf(path, sizeof path, "%s/golden/%s", reference, e->d_name);
		CLEANUP_FREE char *text = read_file(path);
		CLEANUP_ERROR struct error err = ERROR_INIT;
		struct definition *d = NULL;
		assert_non_null(text);
		if (definition_parse(str_from(text), &d, &err) == 0) {
			accepted++;
			definition_free(d);
			continue;
		}
		CLEANUP_JSON json_t *root = json_loads(text, 0, NULL);
		assert_string_equal(err.code, "ValidationException");
		if (!strstr(error_text(&err), "not supported yet") ||
		    !names_unsupported(json_object_get(root, "Steps"), error_text(&err)))
			fail_msg("%s: %s", e->d_name, error_text(&err));
		refused++;
	}
	closedir(dir);
	print_message("%d accepted, %d refused by step type\n", accepted, refused);
	assert_int_equal(accepted + refused, 22);
	assert_true(accepted >= 7);
}

/* 2000 steps must parse in a blink: no step may cost in proportion to all others. */
static void test_large(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	for (int i = 0; i < 2000; i++)
		buf_printf(&b,
			   "%s{\"Name\":\"s%d\",\"Type\":\"Processing\",\"Arguments\":{\"Environment\":{\"i\":\"%d\"}},"
			   "\"DependsOn\":[%s%.*d%s]}",
			   i ? "," : "", i, i, i ? "\"s" : "", i ? 1 : 0, i ? i - 1 : 0, i ? "\"" : "");
	struct definition *d = accept("", b.ptr);
	buf_release(&b);
	assert_int_equal(d->nsteps, 2000);
	assert_int_equal(d->steps[1999].ndeps, 1);
	definition_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_envelope),   cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_names),      cmocka_unit_test(test_types),
		cmocka_unit_test(test_references), cmocka_unit_test(test_fail_is_a_leaf),
		cmocka_unit_test(test_cycles),     cmocka_unit_test(test_graph),
		cmocka_unit_test(test_policies),   cmocka_unit_test(test_durations),
		cmocka_unit_test(test_bind),       cmocka_unit_test(test_golden),
		cmocka_unit_test(test_large),
	};
	return cmocka_run_group_tests_name("definition", tests, NULL, NULL);
}
