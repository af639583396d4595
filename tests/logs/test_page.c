/* test_page.c - `quern logs` reads an answer of GetLogEvents as a JSON library does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/json.h"
#include "cli/log_page.h"

static void collect(void *ctx, struct str message)
{
	json_array_append_new(ctx, json_stringn(message.ptr, message.len));
}

/* What a JSON library finds, against what the reader finds. */
static void same(const char *text)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *tree = json_loads(text, JSON_ALLOW_NUL, NULL), *found = json_array(),
			    *wanted = json_array();
	json_t *e;
	struct str token;
	size_t i;
	assert_non_null(tree);
	json_array_foreach (json_get(tree, "events"), i, e)
		json_array_append(wanted, json_get(e, "message"));
	assert_int_equal(log_page_read(str_from(text), collect, found, &token, &err), json_array_size(wanted));
	assert_true(json_equal(found, wanted));
	assert_true(str_eq(token, json_get_str(tree, "nextForwardToken")));
}

static const char *const pages[] = {
	"{}",
	"{\"events\":[]}",
	" { \"events\" : [ ] , \"nextForwardToken\" : \"f/1\" } ",
	"{\"nextForwardToken\":\"f/2\",\"events\":[{\"message\":\"a\"},{\"timestamp\":1,\"message\":\"\",\"x\":null}]}",
	"{\"x\":[1,{\"message\":\"no\"},[\"]}\"],-1.5e3,true],\"events\":[{\"y\":{\"message\":\"no\"},\"message\":"
	"\"yes\"}]}",
	"{\"events\":[{\"message\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83d\\ude00 "
	"end\"}],\"nextBackwardToken\":\"b/0\"}",
	"{\"events\":[{\"message\":\"nul \\u0000 inside\"},{\"message\":\"\xc3\xa9 as it is\"},{\"message\":\"ends "
	"with \\\\\"}]}",
};

static void test_pages(void **state)
{
	for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++)
		same(pages[i]);
}

static void test_half_a_pair(void **state)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *found = json_array();
	struct str token;
	const char *text = "{\"events\":[{\"message\":\"\\ud83d\\u0041\"},{\"message\":\"\\udc00\"}]}";
	assert_int_equal(log_page_read(str_from(text), collect, found, &token, &err), 2);
	assert_string_equal(json_string_value(json_array_get(found, 0)), "\xef\xbf\xbd"
									 "A");
	assert_string_equal(json_string_value(json_array_get(found, 1)), "\xef\xbf\xbd");
}

/* A copy of the exact size each, so that a sanitizer sees a step too far. */
static int64_t read_exactly(const char *p, size_t n, struct error *err)
{
	CLEANUP_JSON json_t *found = json_array();
	char *copy = malloc(n + 1);
	struct str token;
	memcpy(copy, p, n);
	char *exact = realloc(copy, n ? n : 1);
	int64_t rc = log_page_read(str_of(exact, n), collect, found, &token, err);
	free(exact);
	return rc;
}

static void test_broken_pages(void **state)
{
	static const char *const broken[] = { "",
					      "[]",
					      "{\"events\":{}}",
					      "{\"events\":[{\"message\":1}]}",
					      "{\"events\":[]}}",
					      "{\"events\":[{\"message\":\"\\x\"}]}",
					      "{\"events\":[{\"message\":\"\\u12g4\"}]}",
					      "{\"events\" []}",
					      "{\"a\":}",
					      "{\"a\":1,}" };
	for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		assert_int_equal(read_exactly(broken[i], strlen(broken[i]), &err), -1);
		assert_non_null(err.message);
	}
	for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++)
		for (size_t n = 0; n + 1 < strlen(pages[i]); n++) { /* the last may end with a blank */
			CLEANUP_ERROR struct error err = ERROR_INIT;
			assert_int_equal(read_exactly(pages[i], n, &err), -1);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_half_a_pair),
		cmocka_unit_test(test_broken_pages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
