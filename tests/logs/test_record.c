/* test_record.c - records, the file reader, filter patterns and text: the parts of the logs room without a store. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "logs/file.h"
#include "logs/filter.h"
#include "logs/text.h"

static void test_record_parse(void **state)
{
	struct log_record r;
	assert_true(log_record_parse(STR("1700000000123 hello world"), &r));
	assert_int_equal(r.at_ms, 1700000000123);
	assert_int_equal(r.ingested_ms, 1700000000123);
	assert_true(str_eqz(r.text, "hello world"));
	assert_true(log_record_parse(STR("5 "), &r));
	assert_int_equal(r.text.len, 0);
	assert_true(log_record_parse(STR("5  two spaces"), &r));
	assert_true(str_eqz(r.text, " two spaces"));
	/* backslashes of a task's own text stay as they are */
	assert_true(log_record_parse(STR("5 a\\nb"), &r));
	struct arena a = ARENA_INIT;
	assert_true(str_eqz(log_record_text(&a, &r), "a\\nb"));
	arena_release(&a);
	static const char *const torn[] = {
		"", "12", "12x", " 12 a", "-1 a", "12\\", "12\\7", "12\\x a", "1234567890123456 a", "no record"
	};
	for (size_t i = 0; i < sizeof(torn) / sizeof(torn[0]); i++)
		assert_false(log_record_parse(str_from(torn[i]), &r));
}

static void test_record_round_trip(void **state)
{
	static const struct str texts[] = { STR(""), STR("plain"), STR("two\nlines\n"), STR("back\\slash \\n \\\\"),
					    STR("nul\0in") };
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		CLEANUP_BUF struct buf b = BUF_INIT;
		struct arena a = ARENA_INIT;
		struct log_record r;
		log_record_add(&b, 42, 43, texts[i]);
		struct str line = buf_str(&b);
		assert_int_equal(str_find_char(line, '\n'), line.len - 1);
		line.len--;
		assert_true(log_record_parse(line, &r));
		assert_int_equal(r.at_ms, 42);
		assert_int_equal(r.ingested_ms, 43);
		assert_true(str_eq(log_record_text(&a, &r), texts[i]));
		arena_release(&a);
	}
}

/* ---- files ---- */

static char path[64];

static int setup(void **state)
{
	snprintf(path, sizeof(path), "/tmp/quern-logs-test-XXXXXX");
	int fd = mkstemp(path);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	return unlink(path);
}

static void write_file(const void *p, size_t n)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, n, f), n);
	fclose(f);
}

static void test_file_lines_and_torn_end(void **state)
{
	struct log_file f;
	struct str line;
	int64_t off = 0, start;
	write_file("1 a\n2 bb\n3 tor", 14);
	assert_int_equal(log_file_open(&f, path, 0, NULL), 0);
	assert_int_equal(f.end, 9);
	assert_int_equal(log_file_line(&f, off, &line, &off, NULL), 1);
	assert_true(str_eqz(line, "1 a"));
	assert_int_equal(log_file_line(&f, off, &line, &off, NULL), 1);
	assert_true(str_eqz(line, "2 bb"));
	assert_int_equal(log_file_line(&f, off, &line, &off, NULL), 0);
	assert_int_equal(log_file_prev(&f, f.end, &start, NULL), 1);
	assert_int_equal(start, 4);
	assert_int_equal(log_file_prev(&f, 4, &start, NULL), 1);
	assert_int_equal(start, 0);
	assert_int_equal(log_file_prev(&f, 0, &start, NULL), 0);
	assert_int_equal(log_file_is_start(&f, 4, NULL), 1);
	assert_int_equal(log_file_is_start(&f, 5, NULL), 0);
	assert_int_equal(log_file_is_start(&f, 9, NULL), 1);
	assert_int_equal(log_file_is_start(&f, 10, NULL), 0);
	log_file_close(&f);
}

static void test_file_absent_empty_and_only_torn(void **state)
{
	struct log_file f;
	struct str line;
	int64_t off, first, last;
	static const char *const texts[] = { "", "77 no newline" };
	for (size_t i = 0; i < 3; i++) {
		if (i < 2)
			write_file(texts[i], strlen(texts[i]));
		assert_int_equal(log_file_open(&f, i < 2 ? path : "/tmp/quern-no-such-file", 0, NULL), 0);
		assert_int_equal(log_file_line(&f, 0, &line, &off, NULL), 0);
		assert_int_equal(log_file_prev(&f, 0, &off, NULL), 0);
		assert_int_equal(log_file_seek(&f, 5, &off, NULL), 0);
		assert_int_equal(off, 0);
		assert_int_equal(log_file_range(&f, &first, &last, NULL), 0);
		log_file_close(&f);
	}
}

/* Records of many lengths at times 1000, 1003, 1006 ...; every time is sought. */
static void test_file_seek_finds_every_time(void **state)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	enum { N = 3000 };
	static int64_t starts[N];
	for (int i = 0; i < N; i++) {
		starts[i] = (int64_t)b.len;
		buf_printf(&b, "%d ", 100000 + 3000 * i);
		for (int k = 0; k < i * 7 % 131; k++)
			buf_add_char(&b, 'x');
		if (i == 1500) /* one line larger than the window */
			for (int k = 0; k < 200000; k++)
				buf_add_char(&b, 'y');
		buf_add_char(&b, '\n');
		if (i % 11 == 0)
			buf_addz(&b, "torn\n");
	}
	write_file(b.ptr, b.len);
	struct log_file f;
	int64_t off, first, last;
	assert_int_equal(log_file_open(&f, path, 0, NULL), 0);
	for (int i = 0; i < N; i += 7) {
		assert_int_equal(log_file_seek(&f, 100000 + 3000 * i + LOG_SLOP_MS, &off, NULL), 0);
		assert_int_equal(off, starts[i]);
	}
	assert_int_equal(log_file_seek(&f, 0, &off, NULL), 0);
	assert_int_equal(off, 0);
	assert_int_equal(log_file_seek(&f, 1000000000, &off, NULL), 0);
	assert_int_equal(off, f.end);
	assert_int_equal(log_file_range(&f, &first, &last, NULL), 1);
	assert_int_equal(first, 100000);
	assert_int_equal(last, 100000 + 3000 * (N - 1));
	log_file_close(&f);
}

static void test_file_backwards_equals_forwards(void **state)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	for (int i = 0; i < 5000; i++)
		buf_printf(&b, "%d line %0*d\n", i, i % 200 + 1, i);
	write_file(b.ptr, b.len);
	struct log_file f;
	assert_int_equal(log_file_open(&f, path, 0, NULL), 0);
	static int64_t forward[5000];
	struct str line;
	int64_t off = 0;
	int n = 0;
	while (off < f.end) {
		forward[n++] = off;
		assert_int_equal(log_file_line(&f, off, &line, &off, NULL), 1);
	}
	assert_int_equal(n, 5000);
	while (log_file_prev(&f, off, &off, NULL) > 0)
		assert_int_equal(off, forward[--n]);
	assert_int_equal(n, 0);
	log_file_close(&f);
}

static void test_file_overlong_line_is_cut(void **state)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	buf_addz(&b, "1 ");
	for (int i = 0; i < LOG_LINE_MAX_BYTES + 100000; i++)
		buf_add_char(&b, 'z');
	buf_addz(&b, "\n2 after\n");
	write_file(b.ptr, b.len);
	struct log_file f;
	struct str line;
	int64_t off = 0;
	assert_int_equal(log_file_open(&f, path, 0, NULL), 0);
	assert_int_equal(log_file_line(&f, off, &line, &off, NULL), 1);
	assert_int_equal(line.len, LOG_LINE_MAX_BYTES);
	assert_int_equal(log_file_line(&f, off, &line, &off, NULL), 1);
	assert_true(str_eqz(line, "2 after"));
	log_file_close(&f);
}

static void test_file_head_hides_what_expired(void **state)
{
	struct log_file f;
	struct str line;
	int64_t off = 8, start;
	write_file("1 a\n2 b\n3 c\n", 12);
	assert_int_equal(log_file_open(&f, path, 8, NULL), 0);
	assert_int_equal(log_file_line(&f, off, &line, &off, NULL), 1);
	assert_true(str_eqz(line, "3 c"));
	assert_int_equal(log_file_prev(&f, 12, &start, NULL), 1);
	assert_int_equal(start, 8);
	assert_int_equal(log_file_prev(&f, 8, &start, NULL), 0);
	log_file_close(&f);
	assert_int_equal(log_file_open(&f, path, 12, NULL), 0);
	assert_int_equal(log_file_line(&f, 12, &line, &off, NULL), 0);
	log_file_close(&f);
}

/* ---- filters ---- */

static bool matches(const char *pattern, const char *text)
{
	struct arena a = ARENA_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct log_filter *f = log_filter_new(&a, str_from(pattern), &err);
	if (!f)
		fail_msg("pattern `%s`: %s", pattern, error_text(&err));
	bool yes = log_filter_matches(f, str_from(text));
	arena_release(&a);
	return yes;
}

static void refuses(const char *pattern)
{
	struct arena a = ARENA_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (log_filter_new(&a, str_from(pattern), &err))
		fail_msg("pattern `%s` was taken", pattern);
	assert_true(error_is(&err, "InvalidParameterException"));
	arena_release(&a);
}

static void test_filter_terms(void **state)
{
	assert_true(matches("", "anything"));
	assert_true(matches("ERROR", "[ERROR] x"));
	assert_false(matches("ERROR", "[error] x"));
	assert_true(matches("ERROR ARGUMENTS", "ARGUMENTS then ERROR"));
	assert_false(matches("ERROR ARGUMENTS", "ERROR only"));
	assert_true(matches("?ERROR ?WARN", "a WARN"));
	assert_false(matches("?ERROR ?WARN", "fine"));
	assert_true(matches("ERROR -EXITING", "ERROR here"));
	assert_false(matches("ERROR -EXITING", "ERROR EXITING"));
	assert_true(matches("\"not found\"", "it was not found"));
	assert_false(matches("\"not found\"", "found not"));
	assert_true(matches("\"say \\\"hi\\\"\"", "say \"hi\""));
	assert_true(matches("-\"a b\"", "a  b"));
	refuses("foo-bar");
	refuses("\"open");
	refuses("-");
	refuses("[a, b]");
	refuses("%re%");
}

static void test_filter_json(void **state)
{
	const char *event =
		"{\"a\":{\"b\":[1,2.5,{\"c\":\"xyz\"}]},\"n\":7,\"s\":\"hello\",\"t\":true,\"z\":null,\"k.d\":1}";
	assert_true(matches("{ $.n = 7 }", event));
	assert_true(matches("{ $.n != 8 }", event));
	assert_true(matches("{ $.n >= 7 && $.n < 7.5 }", event));
	assert_false(matches("{ $.n > 7 }", event));
	assert_true(matches("{ $.s = \"hel*\" }", event));
	assert_true(matches("{ $.s = hello }", event));
	assert_false(matches("{ $.s = \"hel\" }", event));
	assert_true(matches("{ $.a.b[2].c = \"*y*\" }", event));
	assert_true(matches("{ $.a.b[1] = 2.5 }", event));
	assert_true(matches("{ $['k.d'] = 1 }", event));
	assert_true(matches("{ $.t IS TRUE }", event));
	assert_true(matches("{ $.z IS NULL }", event));
	assert_true(matches("{ $.q NOT EXISTS }", event));
	assert_true(matches("{ $.n EXISTS }", event));
	assert_true(matches("{ ($.n = 1 || $.s = \"hello\") && $.t IS TRUE }", event));
	assert_false(matches("{ $.n = 1 || $.s = \"no\" }", event));
	assert_false(matches("{ $.n = 7 }", "n = 7"));
	assert_false(matches("{ $.n = 7 }", "{broken"));
	assert_false(matches("{ $.n = \"7\" }", "{\"n\":7}"));
	refuses("{ $.n }");
	refuses("{ n = 1 }");
	refuses("{ $.n = 1");
	refuses("{ $.n > \"a\" }");
	refuses("{ $.a. = 1 }");
	refuses("{ $.n = 1 } x");
	char deep[200] = "{ ";
	for (int i = 0; i < 60; i++)
		strcat(deep, "(");
	refuses(deep);
}

static void test_text_json(void **state)
{
	size_t size;
	static const struct {
		struct str in;
		const char *out;
	} cases[] = {
		{ STR("plain \xc3\xa9 \xf0\x9f\x98\x80"), "plain \xc3\xa9 \xf0\x9f\x98\x80" },
		{ STR("bad \xff\xfe end"), "bad \xef\xbf\xbd\xef\xbf\xbd end" },
		{ STR("cut \xc3"), "cut \xef\xbf\xbd" },
		{ STR("overlong \xc0\xaf"), "overlong \xef\xbf\xbd\xef\xbf\xbd" },
		{ STR("surrogate \xed\xa0\x80"), "surrogate \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ STR("above \xf4\x90\x80\x80"), "above \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *j = log_text_json(cases[i].in, &size);
		assert_non_null(j);
		assert_string_equal(json_string_value(j), cases[i].out);
		assert_int_equal(size, strlen(cases[i].out));
		json_decref(j);
	}
	json_t *nul = log_text_json(STR("a\0b"), &size);
	assert_int_equal(json_string_length(nul), 3);
	json_decref(nul);
}

/* Every byte, and pairs and triples around the borders, quoted: a JSON library reads the same text back. */
static void test_text_quoted(void **state)
{
	static const unsigned char some[] = { 0,    1,    '\n', '\r', '\t', 0x1f, ' ',  '"',  '\\', 'n',  0x7e, 0x7f,
					      0x80, 0xbf, 0xc1, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff };
	const size_t n = sizeof(some);
	for (size_t i = 0; i < n * n * n; i++) {
		char bytes[5] = { (char)some[i % n], (char)some[i / n % n], (char)some[i / n / n], 'z',
				  (char)(i % 256) };
		CLEANUP_BUF struct buf b = BUF_INIT;
		size_t quoted, plain;
		log_text_add(&b, str_of(bytes, 5), &quoted);
		CLEANUP_JSON json_t *back = json_loadb(b.ptr, b.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL),
				    *wanted = log_text_json(str_of(bytes, 5), &plain);
		assert_true(back && json_equal(back, wanted));
		assert_int_equal(quoted, plain);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_quoted),
		cmocka_unit_test(test_record_parse),
		cmocka_unit_test(test_record_round_trip),
		cmocka_unit_test_setup_teardown(test_file_lines_and_torn_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_absent_empty_and_only_torn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_seek_finds_every_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_backwards_equals_forwards, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_overlong_line_is_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_head_hides_what_expired, setup, teardown),
		cmocka_unit_test(test_filter_terms),
		cmocka_unit_test(test_filter_json),
		cmocka_unit_test(test_text_json),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
