/* test_text.c - the engine's JSON writer: what it writes reads back equal, and what could not be read is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/engine_impl.h"

static uint64_t seed = 88172645463325252u;
static uint64_t draw(void)
{
	seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
	return seed;
}

static json_t *draw_string(void)
{
	static const char *const pieces[] = { "plain",
					      "\"",
					      "\\",
					      "\n\t\r\b\f",
					      "\x01\x1f",
					      "\x7f",
					      "\xc3\xa4",
					      "\xe2\x82\xac",
					      "\xf0\x9f\x8d\x9e",
					      "/",
					      "\xed\x9f\xbf",
					      "\xee\x80\x80",
					      "\xf4\x8f\xbf\xbf",
					      "" };
	char text[200] = "";
	for (uint64_t n = draw() % 8; n > 0; n--)
		strcat(text, pieces[draw() % (sizeof(pieces) / sizeof(*pieces))]);
	size_t len = strlen(text);
	if (draw() % 8 == 0)
		text[len++] = 0; /* NUL is a character like others */
	return json_stringn(text, len);
}

static json_t *draw_value(int depth)
{
	static const double reals[] = {
		0.0, -0.0, 1.0, 0.1, 1e300, -1e-300, 5e-324, 1.7976931348623157e308, 3.141592653589793, 1e17
	};
	json_t *v;
	switch (draw() % (depth > 5 ? 6 : 8)) {
	case 0:
		return json_null();
	case 1:
		return json_boolean(draw() % 2);
	case 2:
		return json_integer((json_int_t)(draw() % 3 ? draw() >> draw() % 64 : (uint64_t)INT64_MIN));
	case 3:
		return json_real(reals[draw() % (sizeof(reals) / sizeof(*reals))]);
	case 4:
	case 5:
		return draw_string();
	case 6:
		v = json_array();
		for (uint64_t n = draw() % 6; n > 0; n--)
			json_array_append_new(v, draw_value(depth + 1));
		return v;
	}
	v = json_object();
	for (uint64_t n = draw() % 6; n > 0; n--) {
		json_t *key = draw_string();
		json_object_setn_new(v, json_string_value(key), strlen(json_string_value(key)), draw_value(depth + 1));
		json_decref(key);
	}
	return v;
}

static void test_reads_back(void **state)
{
	(void)state;
	for (int i = 0; i < 20000; i++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		CLEANUP_JSON json_t *v = draw_value(0);
		CLEANUP_FREE char *text = engine_json_line(v, &err),
				  *reference = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
		assert_non_null(text);
		CLEANUP_JSON json_t *back = engine_json_unline(text, strlen(text), &err);
		if (!back)
			fail_msg("%s: %s", text, error_text(&err));
		assert_true(json_equal(v, back));
		/* and in the same order */
		CLEANUP_FREE char *again = json_dumps(back, JSON_COMPACT | JSON_ENCODE_ANY);
		assert_string_equal(reference, again);
	}
}

static void refuse(json_t *v, const char *why)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_FREE char *text = engine_json_line(v, &err);
	assert_null(text);
	assert_non_null(strstr(error_text(&err), why));
	json_decref(v);
}

static void test_refuses(void **state)
{
	(void)state;
	static const char *const bad[] = { "\x80",
					   "\xc3",
					   "\xc0\x80",
					   "\xed\xa0\x80",
					   "\xf4\x90\x80\x80",
					   "\xff",
					   "a\xe2\x82",
					   "\xf8\x88\x80\x80\x80" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refuse(json_pack("{so}", "k", json_string_nocheck(bad[i])), "UTF-8");
	json_t *deep = json_array();
	for (int i = 0; i < 2100; i++) {
		json_t *outer = json_array();
		json_array_append_new(outer, deep);
		deep = outer;
	}
	refuse(deep, "deep");
	refuse(NULL, "missing");
}

/* What the writer takes, the reader takes. */
static void test_deepest(void **state)
{
	(void)state;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	json_t *deep = json_array();
	for (int i = 0; i < 2000; i++) {
		json_t *outer = json_array();
		json_array_append_new(outer, deep);
		deep = outer;
	}
	CLEANUP_FREE char *text = engine_json_line(deep, &err);
	assert_non_null(text);
	CLEANUP_JSON json_t *back = engine_json_unline(text, strlen(text), &err);
	assert_non_null(back);
	json_decref(deep);
}

static void test_unshare(void **state)
{
	(void)state;
	CLEANUP_JSON json_t *part = json_pack("[i]", 1);
	json_t *alone = json_pack("{s[{si}]}", "a", "b", 2), *mixed = json_pack("{s{sO}}", "x", "part", part);
	assert_ptr_equal(engine_json_unshare(alone), alone);
	json_t *copy = engine_json_unshare(mixed);
	assert_int_equal(part->refcount, 1);
	json_array_append_new(part, json_integer(2));
	assert_int_equal(json_array_size(json_object_get(json_object_get(copy, "x"), "part")), 1);
	json_decref(copy);
	json_decref(alone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_back),
		cmocka_unit_test(test_refuses),
		cmocka_unit_test(test_deepest),
		cmocka_unit_test(test_unshare),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
