/* lang_test.c - the language as the engine uses it: machines, data flow on shared trees, faults, texts, numbers,
 * hostile input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/json.h"
#include "states/asl.h"
#include "states/intrinsic.h"
#include "states/path.h"

static struct asl_machine *parse(struct arena *a, const char *text)
{
	struct asl_diagnostics d = { .arena = a };
	struct asl_machine *m = NULL;
	if (asl_parse(str_from(text), false, &d, &m) < 0)
		fail_msg("%s", asl_invalid_definition(a, &d));
	return m;
}

static json_t *json(const char *text)
{
	struct arena a = ARENA_INIT;
	struct asl_json_error e;
	json_t *v = asl_read_json(&a, str_from(text), false, &e);
	if (!v)
		fail_msg("%s: %s", text, e.message);
	arena_release(&a);
	return v;
}

static void machine_is_built(void **state)
{
	struct arena a = ARENA_INIT;
	struct asl_machine *m = parse(&a, "{\"Comment\":\"c\",\"TimeoutSeconds\":9,\"StartAt\":\"P\",\"States\":{"
					  "\"P\":{\"Type\":\"Parallel\",\"Next\":\"M\",\"Branches\":[{\"StartAt\":"
					  "\"B\",\"States\":{\"B\":{\"Type\":\"Succeed\"}}}]},"
					  "\"M\":{\"Type\":\"Map\",\"End\":true,\"QueryLanguage\":\"JSONata\","
					  "\"ItemProcessor\":{\"ProcessorConfig\":{\"Mode\":\"DISTRIBUTED\","
					  "\"ExecutionType\":\"STANDARD\"},\"StartAt\":\"I\",\"States\":{\"I\":{"
					  "\"Type\":\"Pass\",\"End\":true}}}}}}");
	struct asl_state *p = asl_find(m->top, "P"), *map = asl_find(m->top, "M");
	assert_non_null(p);
	assert_ptr_equal(p->next_state, map);
	assert_int_equal(p->type, ASL_PARALLEL);
	assert_false(p->jsonata || p->end || p->distributed);
	assert_int_equal(p->nbranches, 1);
	assert_string_equal(p->branches[0]->start_at, "B");
	assert_ptr_equal(p->branches[0]->parent, m->top);
	assert_ptr_equal(p->branches[0]->owner, p);
	assert_true(map->jsonata && map->end && map->distributed);
	assert_null(map->next);
	assert_false(asl_find(map->branches[0], "I")->jsonata); /* the machine's language, not the Map's */
	assert_null(asl_find(m->top, "B"));
	assert_null(asl_find(m->top, ""));
	assert_null(asl_find(m->top, NULL));
	assert_int_equal(m->timeout_seconds, 9);
	assert_string_equal(m->comment, "c");
	asl_machine_free(m);
	arena_release(&a);
}

static void many_states_are_found(void **state)
{
	struct arena a = ARENA_INIT;
	CLEANUP_BUF struct buf b = BUF_INIT;
	buf_addz(&b, "{\"StartAt\":\"s0\",\"States\":{");
	for (int i = 0; i < 3000; i++)
		buf_printf(&b, "%s\"s%d\":{\"Type\":\"Pass\",%s%d%s}", i ? "," : "", i,
			   i < 2999 ? "\"Next\":\"s" : "\"Comment\":\"", i + 1, i < 2999 ? "\"" : "\",\"End\":true");
	buf_addz(&b, "}}");
	struct asl_machine *m = parse(&a, b.ptr);
	struct asl_state *s = asl_find(m->top, m->top->start_at);
	int count = 1;
	for (; s->next_state; s = s->next_state)
		count++;
	assert_int_equal(count, 3000);
	asl_machine_free(m);
	arena_release(&a);
}

static void data_is_shared_and_unchanged(void **state)
{
	struct arena a = ARENA_INIT;
	struct asl_fault f = ASL_FAULT_INIT;
	json_t *base = json("{\"big\":{\"x\":[1,2,3]},\"list\":[10,20],\"n\":null}"), *out, *value = json_integer(7);
	CLEANUP_FREE char *before = asl_text_dup(base);
	assert_int_equal(asl_put(base, STR("$.a.b"), value, &out, &f), ASL_OK);
	assert_string_equal(asl_text(&a, out).ptr,
			    "{\"big\":{\"x\":[1,2,3]},\"list\":[10,20],\"n\":null,\"a\":{\"b\":7}}");
	assert_ptr_equal(json_object_get(out, "big"), json_object_get(base, "big"));
	json_decref(out);
	assert_int_equal(asl_put(base, STR("$.list[1]"), value, &out, &f), ASL_OK);
	assert_string_equal(asl_text(&a, json_object_get(out, "list")).ptr, "[10,7]");
	json_decref(out);
	assert_int_equal(asl_put(base, STR("$"), value, &out, &f), ASL_OK);
	assert_ptr_equal(out, value);
	json_decref(out);
	assert_int_equal(asl_put(base, STR("$.list.x"), value, &out, &f), ASL_FAULT);
	assert_string_equal(f.error, "States.ResultPathMatchFailure");
	assert_int_equal(asl_put(base, STR("$.list[2]"), value, &out, &f), ASL_FAULT);
	CLEANUP_FREE char *after = asl_text_dup(base);
	assert_string_equal(before, after);
	json_decref(base);
	json_decref(value);
	asl_fault_release(&f);
	arena_release(&a);
}

static void paths_are_kept_by_the_machine(void **state)
{
	struct arena a = ARENA_INIT;
	struct asl_fault f = ASL_FAULT_INIT;
	struct asl_machine *m = parse(&a, "{\"StartAt\":\"A\",\"States\":{\"A\":{\"Type\":\"Succeed\"}}}");
	json_t *input = json("{\"a\":{\"b\":1}}"), *context = json("{\"x\":2}"), *variables = json("{\"v\":{\"w\":3}}"),
	       *out;
	struct asl_env env = { .arena = &a, .input = input, .context = context, .variables = variables, .machine = m };
	for (int i = 0; i < 3; i++) {
		static const char *const texts[] = { "$.a.b", "$$.x", "$v.w", "$v['w']" };
		static const int wanted[] = { 1, 2, 3, 3 };
		for (int k = 0; k < 4; k++) {
			assert_int_equal(asl_path(&env, str_from(texts[k]), "x.$", &out, &f), ASL_OK);
			assert_int_equal(json_integer_value(out), wanted[k]);
			json_decref(out);
		}
	}
	assert_int_equal(asl_path(&env, STR("$.a.c"), "x.$", &out, &f), ASL_FAULT);
	assert_string_equal(f.error, "States.Runtime");
	assert_string_equal(f.cause, "The JSONPath '$.a.c' specified for the field 'x.$' could not be found in the "
				     "input '{\"a\":{\"b\":1}}'");
	assert_int_equal(asl_path(&env, STR("$none"), "x.$", &out, &f), ASL_FAULT);
	json_t *doc = json("{\"InputPath\":\"$.no.such\",\"OutputPath\":null}");
	assert_int_equal(asl_in_out_path(&env, doc, "InputPath", input, &out, &f), ASL_FAULT);
	assert_string_equal(f.cause, "Invalid path '$.no.such' : Missing property in path $['no']");
	assert_int_equal(asl_in_out_path(&env, doc, "OutputPath", input, &out, &f), ASL_OK);
	assert_string_equal(asl_text(&a, out).ptr, "{}");
	json_decref(out);
	json_decref(doc);
	json_decref(input);
	json_decref(context);
	json_decref(variables);
	asl_fault_release(&f);
	asl_machine_free(m);
	arena_release(&a);
}

static void number_texts(void **state)
{
	static const struct {
		double value;
		const char *text;
	} rows[] = { { 0.1, "0.1" },
		     { 1, "1.0" },
		     { -0.0, "-0.0" },
		     { 2.22, "2.22" },
		     { 1e7, "1.0E7" },
		     { 9999999, "9999999.0" },
		     { 0.001, "0.001" },
		     { 0.00099, "9.9E-4" },
		     { 1.789180622e9, "1.789180622E9" },
		     { 0.1 + 0.2, "0.30000000000000004" },
		     { 1e21, "1.0E21" },
		     { 5e-324, "4.9E-324" },
		     { 123.456, "123.456" },
		     { 1.7976931348623157e308, "1.7976931348623157E308" },
		     { 100, "100.0" },
		     { 0.05, "0.05" } };
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char text[40];
		asl_number_text(rows[i].value, text);
		if (rows[i].value == 5e-324)
			assert_true(strtod(text, NULL) == 5e-324);
		else
			assert_string_equal(text, rows[i].text);
	}
}

static void texts_and_sizes_agree(void **state)
{
	struct arena a = ARENA_INIT;
	static const char *const texts[] = { "{}",
					     "[]",
					     "null",
					     "true",
					     "false",
					     "\"\"",
					     "-9223372036854775808",
					     "{\"a\":[1,2.5,\"x\\\"\\\\\\n\\u0001\"],\"\xc3\xa4\":{}}",
					     "[[[]],{\"k\":null}]",
					     "\"\\u0000\"",
					     "1.0E20" };
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		json_t *v = json(texts[i]);
		struct str s = asl_text(&a, v);
		assert_int_equal(s.len, strlen(texts[i]));
		assert_memory_equal(s.ptr, texts[i], s.len);
		assert_int_equal(asl_size_bytes(v), s.len);
		json_decref(v);
	}
	json_t *big = json("12345678901234567890");
	assert_string_equal(asl_text(&a, big).ptr, "1.2345678901234567E19");
	json_decref(big);
	arena_release(&a);
}

static void errors_match(void **state)
{
	json_t *all = json("[\"States.ALL\"]"), *failed = json("[\"States.TaskFailed\"]"),
	       *named = json("[\"A\",\"States.DataLimitExceeded\",\"States.Runtime\"]"),
	       *timeout = json("[\"States.Timeout\"]");
	assert_true(asl_error_matches(all, "Any") && asl_error_matches(all, "States.Timeout"));
	assert_false(asl_error_matches(all, "States.Runtime") || asl_error_matches(all, "States.DataLimitExceeded"));
	assert_true(asl_error_matches(failed, "Any") && asl_error_matches(failed, "States.Permissions"));
	assert_false(asl_error_matches(failed, "States.Timeout") || asl_error_matches(failed, "States.Runtime"));
	assert_true(asl_error_matches(named, "A") && asl_error_matches(named, "States.DataLimitExceeded"));
	assert_false(asl_error_matches(named, "States.Runtime") || asl_error_matches(named, "B"));
	assert_true(asl_error_matches(timeout, "States.HeartbeatTimeout") &&
		    asl_error_matches(timeout, "States.Timeout"));
	json_decref(all);
	json_decref(failed);
	json_decref(named);
	json_decref(timeout);
}

static void numbers_of_fields(void **state)
{
	struct arena a = ARENA_INIT;
	struct asl_fault f = ASL_FAULT_INIT;
	json_t *input = json("{\"n\":3,\"text\":\"4\",\"word\":\"NoNumber\",\"half\":1.5,\"o\":{}}");
	struct asl_env env = { .arena = &a, .input = input };
	bool present;
	double n;
	json_t *doc = json("{\"A\":2,\"BPath\":\"$.n\",\"CPath\":\"$.text\",\"DPath\":\"$.word\",\"EPath\":\"$.half\","
			   "\"FPath\":\"$.o\",\"GPath\":\"$.none\"}");
	assert_int_equal(asl_number(&env, doc, "A", false, true, &present, &n, &f), ASL_OK);
	assert_true(present && n == 2);
	assert_int_equal(asl_number(&env, doc, "B", false, true, &present, &n, &f), ASL_OK);
	assert_true(present && n == 3);
	assert_int_equal(asl_number(&env, doc, "C", false, true, &present, &n, &f), ASL_OK);
	assert_true(present && n == 4);
	assert_int_equal(asl_number(&env, doc, "D", false, true, &present, &n, &f), ASL_FAULT);
	assert_string_equal(f.cause,
			    "The DPath field refers to value \"NoNumber\" which is not a valid integer: $.word");
	assert_int_equal(asl_number(&env, doc, "E", false, true, &present, &n, &f), ASL_FAULT);
	assert_string_equal(f.cause, "The EPath field refers to value \"1.5\" which is not a valid integer: $.half");
	assert_int_equal(asl_number(&env, doc, "E", false, false, &present, &n, &f), ASL_OK);
	assert_true(n == 1.5);
	assert_int_equal(asl_number(&env, doc, "F", false, false, &present, &n, &f), ASL_FAULT);
	assert_string_equal(f.cause, "The FPath field refers to value \"{}\" which is not a valid float: $.o");
	assert_int_equal(asl_number(&env, doc, "G", false, true, &present, &n, &f), ASL_FAULT);
	assert_string_equal(f.cause, "Invalid path '$.none' : No results for path: $['none']");
	assert_int_equal(asl_number(&env, doc, "H", false, true, &present, &n, &f), ASL_OK);
	assert_false(present);
	json_decref(doc);
	json_decref(input);
	asl_fault_release(&f);
	arena_release(&a);
}

static void timestamps(void **state)
{
	static const char *const good[] = { "2016-03-14T01:59:00Z", "2016-03-05T21:29:29.243167252Z",
					    "2012-10-09T19:00:55+01:00", "2024-02-29T00:00:00-18:00" };
	static const char *const bad[] = { "2016-12-05 21:29:29Z",
					   "2016-12-05T21:29:29",
					   "2016-13-05T21:29:29Z",
					   "2016-12-05T25:29:29Z",
					   "05-12-2016T21:29:29Z",
					   "2023-02-24",
					   "2023-02-29T00:00:00Z",
					   "2016-03-14t01:59:00Z",
					   "2016-03-14T01:59:00z",
					   "2016-03-14T01:59:00.Z",
					   "2016-03-14T01:59:00.1234567890Z",
					   "2016-03-14T01:59:60Z",
					   "2016-03-14T01:59:00+0100",
					   "2016-03-14T01:59Z",
					   "",
					   "2016-03-14T01:59:00ZZ" };
	int64_t ms;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(asl_timestamp(str_from(good[i]), &ms));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(asl_timestamp(str_from(bad[i]), &ms));
	assert_true(asl_timestamp(STR("1970-01-01T00:00:01.5+00:00"), &ms));
	assert_int_equal(ms, 1500);
	assert_true(asl_timestamp(STR("2000-03-01T00:00:00+01:00"), &ms));
	assert_int_equal(ms, 951865200000);
}

static void waits(void **state)
{
	struct arena a = ARENA_INIT;
	struct asl_fault f = ASL_FAULT_INIT;
	json_t *input = json("{\"s\":2,\"neg\":-1,\"half\":1.5,\"t\":\"1970-01-01T00:00:10Z\",\"far\":\"2094-12-12T09:"
			     "26:40.000Z\",\"bad\":\"x\"}");
	struct asl_env env = { .arena = &a, .input = input };
	static const struct {
		const char *doc, *cause;
		int64_t until;
	} rows[] = {
		{ "{\"Seconds\":3}", NULL, 4000 },
		{ "{\"SecondsPath\":\"$.s\"}", NULL, 3000 },
		{ "{\"TimestampPath\":\"$.t\"}", NULL, 10000 },
		{ "{\"Timestamp\":\"1970-01-01T00:00:00Z\"}", NULL, 0 },
		{ "{\"SecondsPath\":\"$.none\"}", "The SecondsPath parameter does not reference an input value: $.none",
		  0 },
		{ "{\"SecondsPath\":\"$.bad\"}", "The SecondsPath parameter does not reference an input value: $.bad",
		  0 },
		{ "{\"SecondsPath\":\"$.neg\"}", "The SecondsPath parameter references a negative value: $.neg == -1",
		  0 },
		{ "{\"SecondsPath\":\"$.half\"}",
		  "The SecondsPath parameter cannot be parsed as a long value: $.half == 1.5", 0 },
		{ "{\"TimestampPath\":\"$.far\"}", "Wait state delay is too long.", 0 },
		{ "{\"TimestampPath\":\"$.bad\"}",
		  "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format "
		  "string: $.bad == x",
		  0 },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		json_t *doc = json(rows[i].doc);
		int64_t until = -1;
		int rc = asl_wait_until(&env, doc, false, 1000, &until, &f);
		assert_int_equal(rc, rows[i].cause ? ASL_FAULT : ASL_OK);
		if (rows[i].cause)
			assert_string_equal(f.cause, rows[i].cause);
		else
			assert_int_equal(until, rows[i].until);
		asl_fault_release(&f);
		json_decref(doc);
	}
	json_decref(input);
	arena_release(&a);
}

/* What would hold or break a careless program: depth, many scans, patterns that backtrack, long texts. */
static void hostile_input(void **state)
{
	struct arena a = ARENA_INIT;
	struct asl_json_error e;
	CLEANUP_BUF struct buf deep = BUF_INIT;
	CLEANUP_BUF struct buf path = BUF_INIT;
	for (int i = 0; i < 200000; i++)
		buf_addz(&deep, i % 2 ? "[" : "{\"a\":");
	assert_null(asl_read_json(&a, buf_str(&deep), true, &e));
	assert_non_null(strstr(e.message, "nesting depth"));
	buf_addz(&path, "$");
	for (int i = 0; i < 100000; i++)
		buf_addz(&path, ".a");
	assert_null(path_parse(&a, buf_str(&path), NULL));
	buf_clear(&path);
	buf_addz(&path, "$");
	for (int i = 0; i < 10000; i++)
		buf_addz(&path, "[?(@");
	assert_null(path_parse(&a, buf_str(&path), NULL));
	CLEANUP_BUF struct buf nested = BUF_INIT;
	for (int i = 0; i < 300; i++)
		buf_addz(&nested, "[");
	for (int i = 0; i < 300; i++)
		buf_addz(&nested, "]");
	json_t *document = json(nested.ptr), *out = NULL;
	const char *why = NULL;
	struct path *scans = path_parse(&a, STR("$..*..*..*..*..*..*"), NULL);
	assert_int_equal(path_eval(&a, scans, document, &out, &why), PATH_NONE);
	assert_string_equal(why, "The path visits too many nodes");
	json_decref(document);
	document = json("[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"]");
	assert_int_equal(path_eval(&a, path_parse(&a, STR("$[?(@ =~ /(a|a|aa)+/)]"), NULL), document, &out, &why),
			 PATH_NONE);
	json_decref(document);
	CLEANUP_BUF struct buf calls = BUF_INIT;
	for (int i = 0; i < 50000; i++)
		buf_addz(&calls, "States.Array(");
	assert_non_null(intrinsic_check(&a, buf_str(&calls)));
	arena_release(&a);
}

static void parse_never_gives_half_a_machine(void **state)
{
	static const char *const texts[] = {
		"",
		"[]",
		"null",
		"{",
		"{}",
		"{\"StartAt\":1,\"States\":[]}",
		"{\"StartAt\":\"A\",\"States\":{}}",
		"{\"StartAt\":\"A\",\"States\":{\"A\":null}}",
		"{\"StartAt\":\"A\",\"States\":{\"A\":{\"Type\":\"Choice\",\"Choices\":[{\"Not\":{\"Not\":1}}]}}}",
		"{\"StartAt\":\"A\",\"States\":{\"A\":{\"Type\":\"Map\",\"End\":true,\"ItemProcessor\":[]}}}"
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct arena a = ARENA_INIT;
		struct asl_diagnostics d = { .arena = &a };
		struct asl_machine *m = (void *)1;
		assert_int_equal(asl_parse(str_from(texts[i]), false, &d, &m), -1);
		assert_null(m);
		assert_true(d.count > 0);
		arena_release(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(machine_is_built),
		cmocka_unit_test(many_states_are_found),
		cmocka_unit_test(data_is_shared_and_unchanged),
		cmocka_unit_test(paths_are_kept_by_the_machine),
		cmocka_unit_test(number_texts),
		cmocka_unit_test(texts_and_sizes_agree),
		cmocka_unit_test(errors_match),
		cmocka_unit_test(numbers_of_fields),
		cmocka_unit_test(timestamps),
		cmocka_unit_test(waits),
		cmocka_unit_test(hostile_input),
		cmocka_unit_test(parse_never_gives_half_a_machine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
