/* base_test.c - unit tests of src/base. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/map.h"
#include "base/work.h"

static void test_str(void **state)
{
	struct str rest = STR("a,,b"), piece;
	assert_true(str_split(&rest, ',', &piece) && str_eqz(piece, "a"));
	assert_true(str_split(&rest, ',', &piece) && piece.len == 0);
	assert_true(str_split(&rest, ',', &piece) && str_eqz(piece, "b"));
	assert_false(str_split(&rest, ',', &piece));
	assert_int_equal(str_find(STR("hello"), STR("lo")), 3);
	assert_int_equal(str_find(STR("hello"), STR("x")), -1);
	assert_int_equal(str_find(STR_NULL, STR("")), 0);
	assert_true(str_eqz(str_trim(STR(" \t x y\r\n")), "x y"));
	assert_true(str_cmp(STR("a"), STR("ab")) < 0 && str_cmp(STR("b"), STR("ab")) > 0);
	assert_true(str_eq_nocase(STR("Content-Type"), STR("content-TYPE")));
	assert_true(str_starts(STR("abc"), STR("ab")) && !str_starts(STR("a"), STR("ab")));
	assert_true(str_ends(STR("abc"), STR("bc")) && !str_ends(STR("c"), STR("bc")));
}

static void test_utf8(void **state)
{
	static const struct {
		const char *text;
		size_t n;
	} starts[] = {
		{ "", 0 },
		{ "a\xff", 1 },
		{ "\xc3\xa9", 2 },
		{ "\xe2\x82\xac!", 3 },
		{ "\xed\x9f\xbf", 3 },
		{ "\xf0\x9f\x98\x80", 4 },
		{ "\xf4\x8f\xbf\xbf", 4 },
		{ "\xf4\x90\x80\x80", 0 }, /* above U+10FFFF */
		{ "\xf5\x80\x80\x80", 0 },
		{ "\xed\xa0\x80", 0 }, /* a surrogate */
		{ "\xc1\xbf", 0 },     /* overlong */
		{ "\xe0\x9f\xbf", 0 },
		{ "\xf0\x8f\xbf\xbf", 0 },
		{ "\xe2\x82", 0 }, /* cut */
		{ "\xe2\x82x", 0 },
		{ "\x80", 0 },
		{ "\xff", 0 },
	};
	for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++)
		assert_int_equal(str_utf8(str_from(starts[i].text)), starts[i].n);
	assert_true(str_is_utf8(STR("")) && str_is_utf8(STR("a\0b")) && str_is_utf8(STR("\xe2\x82\xac \xc3\xa9")));
	assert_false(str_is_utf8(STR("good \xe2\x82")) || str_is_utf8(STR("\xed\xa0\x80")));
}

/* What is stored by it must be found by the next process, and the next version. */
static void test_digest(void **state)
{
	assert_true(str_digest(STR("")) == 0xcbf29ce484222325u && str_digest(STR("foobar")) == 0x85944171f73967e8u);
}

static void test_glob(void **state)
{
	assert_true(str_glob(STR("a*c"), STR("abbc"), 0) && str_glob(STR("*"), STR(""), 0) &&
		    str_glob(STR("*a*a*"), STR("xaya"), 0));
	assert_false(str_glob(STR("a*c"), STR("abcd"), 0) || str_glob(STR(""), STR("a"), 0) ||
		     str_glob(STR("ab"), STR("a"), 0));
	assert_true(str_glob(STR("a\\*"), STR("a*"), '\\') && !str_glob(STR("a\\*"), STR("ab"), '\\'));
	assert_true(str_glob(STR("a\\*"), STR("a\\bc"), 0));
}

static void test_numbers(void **state)
{
	int64_t v = 7;
	assert_true(str_to_i64(STR("-9223372036854775808"), &v) && v == INT64_MIN);
	assert_true(str_to_i64(STR("9223372036854775807"), &v) && v == INT64_MAX);
	assert_false(str_to_i64(STR("9223372036854775808"), &v));
	assert_false(str_to_i64(STR(""), &v));
	assert_false(str_to_i64(STR("-"), &v));
	assert_false(str_to_i64(STR("+1"), &v));
	assert_false(str_to_i64(STR("1 "), &v));
	assert_int_equal(v, INT64_MAX);
	double d;
	assert_true(str_to_double(STR("-1.5e3"), &d) && d == -1500);
	static const char *const bad[] = { "", "-", "01", "1.", ".5", "1e", "nan", "inf", "0x10", "1 " };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(str_to_double(str_from(bad[i]), &d));
}

static int order[3], norder;
static void note(void *arg)
{
	order[norder++] = *(int *)arg;
}

static void test_arena(void **state)
{
	struct arena a = ARENA_INIT;
	int one = 1, two = 2;
	char *big = arena_alloc(&a, 3 << 20);
	for (size_t i = 0; i < 3 << 20; i++)
		assert_int_equal(big[i], 0);
	assert_int_equal((uintptr_t)arena_alloc(&a, 1) % 16, 0);
	arena_defer(&a, note, &one);
	arena_alloc(&a, 1 << 20);
	arena_defer(&a, note, &two);
	assert_string_equal(arena_printf(&a, "%s-%d", "x", 42), "x-42");
	assert_string_equal(arena_strdup(&a, STR("abc")), "abc");
	arena_release(&a);
	assert_int_equal(norder, 2);
	assert_int_equal(order[0], 2);
	assert_null(a.head);
}

static void test_buf(void **state)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%d,", i);
	assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
	assert_int_equal(strlen(b.ptr), b.len);
	CLEANUP_FREE char *text = buf_detach(&b);
	assert_memory_equal(text, "0,1,2,", 6);
	assert_null(b.ptr);
	static const unsigned points[] = { 'A', 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x10000, 0x10ffff };
	for (size_t i = 0; i < 8; i++)
		buf_add_utf8(&b, points[i]);
	assert_string_equal(b.ptr, "A\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf");
}

/* ---- work ---- */

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t opened;
	bool open;
	_Atomic int inside, most, done;
};

static void pass_gate(void *arg)
{
	struct gate *g = arg;
	int now = ++g->inside, most = g->most;
	while (now > most && !atomic_compare_exchange_weak(&g->most, &most, now))
		;
	pthread_mutex_lock(&g->lock);
	while (!g->open)
		pthread_cond_wait(&g->opened, &g->lock);
	pthread_mutex_unlock(&g->lock);
	g->inside--;
	g->done++;
}

static void test_work(void **state)
{
	struct gate g = { .lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER };
	struct work *w = work_new(3);
	for (int i = 0; i < 3; i++)
		assert_true(work_try(w, pass_gate, &g));
	assert_false(work_try(w, pass_gate, &g)); /* all three are at work, or about to be */
	for (int i = 0; i < 100; i++)
		work_add(w, pass_gate, &g);
	while (g.inside < 3)
		sched_yield();
	assert_int_equal(g.done, 0);
	pthread_mutex_lock(&g.lock);
	g.open = true;
	pthread_cond_broadcast(&g.opened);
	pthread_mutex_unlock(&g.lock);
	work_end(w);
	assert_int_equal(g.done, 103);
	assert_int_equal(g.most, 3);
	work_add(w, pass_gate, &g); /* on this thread now */
	assert_int_equal(g.done, 104);
	assert_false(work_try(w, pass_gate, &g));
	work_free(w);
	work_free(NULL);
}

/* Random operations against a plain array: every key's presence is checked after each one. */
static void test_map(void **state)
{
	struct map m = MAP_INIT;
	static int values[64];
	bool present[64] = { 0 };
	srandom(1);
	for (int step = 0; step < 20000; step++) {
		int k = (int)(random() % 64);
		char key[8];
		snprintf(key, sizeof(key), "k%d", k);
		if (random() % 2) {
			assert_ptr_equal(map_set(&m, str_from(key), &values[k]), present[k] ? &values[k] : NULL);
			present[k] = true;
		} else {
			assert_ptr_equal(map_remove(&m, str_from(key)), present[k] ? &values[k] : NULL);
			present[k] = false;
		}
		size_t count = 0;
		for (int i = 0; i < 64; i++) {
			snprintf(key, sizeof(key), "k%d", i);
			assert_ptr_equal(map_get(&m, str_from(key)), present[i] ? &values[i] : NULL);
			count += present[i];
		}
		assert_int_equal(m.count, count);
	}
	map_release(&m);
}

static void test_clock(void **state)
{
	char text[32];
	int64_t ms;
	assert_string_equal(clock_iso_ms(1795427040123, text), "2026-11-23T09:44:00.123Z");
	assert_string_equal(clock_iso(1795427040123, text), "2026-11-23T09:44:00Z");
	assert_string_equal(clock_basic(1795427040123, text), "20261123T094400Z");
	assert_string_equal(clock_http(1795427040000, text), "Mon, 23 Nov 2026 09:44:00 GMT");
	assert_true(clock_parse_http(str_from(text), &ms) && ms == 1795427040000);
	assert_true(clock_parse_iso(STR("2026-11-23T09:44:00.123Z"), &ms) && ms == 1795427040123);
	assert_true(clock_parse_iso(STR("20261123T094400Z"), &ms) && ms == 1795427040000);
	assert_true(clock_parse_iso(STR("2026-11-23T11:44:00+02:00"), &ms) && ms == 1795427040000);
	assert_true(clock_parse_iso(STR("2024-02-29T00:00:00Z"), &ms));
	static const char *const bad[] = { "",
					   "2026-02-29T00:00:00Z",
					   "2026-11-23",
					   "2026-11-23T24:00:00Z",
					   "2026-11-23T09:44:00",
					   "2026-11-23T09:44:00.Z",
					   "2026-13-01T00:00:00Z",
					   "2026-11-23T09:44:00Zx" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(clock_parse_iso(str_from(bad[i]), &ms));
}

static void test_id(void **state)
{
	static const struct {
		const char *plain, *coded;
	} cases[] = {
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foobar", "Zm9vYmFy" }
	}; /* RFC 4648, 10 */
	char text[64];
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		base64_encode(text, cases[i].plain, strlen(cases[i].plain));
		assert_string_equal(text, cases[i].coded);
		ptrdiff_t n = base64_decode(text, str_from(cases[i].coded));
		assert_int_equal(n, strlen(cases[i].plain));
		assert_memory_equal(text, cases[i].plain, (size_t)n);
	}
	assert_int_equal(base64_decode(text, STR("Zg=")), -1);
	assert_int_equal(base64_decode(text, STR("Z===")), -1);
	assert_int_equal(base64_decode(text, STR("Zg!=")), -1);
	hex_encode(text, "\x00\xff\x10", 3);
	assert_string_equal(text, "00ff10");
	unsigned char raw[3];
	assert_true(hex_decode(raw, 3, STR("00FF10")) && raw[1] == 255);
	assert_false(hex_decode(raw, 3, STR("00ff1")));
	assert_false(hex_decode(raw, 3, STR("00ff1g")));
	char a[37], b[37];
	id_uuid(a, NULL, NULL);
	id_uuid(b, NULL, NULL);
	assert_int_equal(strlen(a), 36);
	assert_int_equal(a[14], '4');
	assert_string_not_equal(a, b);
}

static void test_error(void **state)
{
	struct error err = ERROR_INIT;
	assert_int_equal(error_errno(&err, 2, "open `%s`", "x"), -1);
	assert_string_equal(error_text(&err), "open `x`: No such file or directory");
	error_wrap(&err, "load");
	assert_string_equal(error_text(&err), "load: open `x`: No such file or directory");
	error_http(&err, 404, "NoSuchKey", "gone");
	assert_true(error_is(&err, "NoSuchKey") && err.status == 404);
	struct error other = ERROR_INIT;
	error_move(&other, &err);
	assert_null(err.message);
	assert_string_equal(error_text(&other), "gone");
	error_release(&other);
	error_set(NULL, "ignored");
}

static void test_json(void **state)
{
	struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *v = json_parse(STR("{\"a\":{\"b\":[1,2.0,\"x\"]},\"n\":null,\"t\":true,\"f\":3.0}"), &err);
	assert_non_null(v);
	assert_non_null(json_get_path(v, "a.b"));
	assert_null(json_get(v, "n"));
	assert_int_equal(json_get_int(v, "f", 0), 3);
	assert_int_equal(json_get_int(v, "t", 9), 9);
	assert_true(json_get_bool(v, "t", false));
	struct arena a = ARENA_INIT;
	assert_string_equal(json_text(&a, v).ptr, "{\"a\":{\"b\":[1,2.0,\"x\"]},\"n\":null,\"t\":true,\"f\":3.0}");
	/* doubles: the fewest digits that read back the same */
	const char *reals = "[0.1,1.0,-0.0,0.30000000000000004,1e+300,5e-324,123456789012345.0,1e+16]";
	CLEANUP_JSON json_t *numbers = json_parse(str_from(reals), &err);
	assert_string_equal(json_text(&a, numbers).ptr, reals);
	const char *text = "[\"\\\"\\\\\\n\\t\\u0001\xc3\xa4/\",-9223372036854775808]";
	CLEANUP_JSON json_t *strings = json_parse(str_from(text), &err);
	assert_string_equal(json_text(&a, strings).ptr, text);
	arena_release(&a);
	assert_null(json_parse(STR("{"), &err));
	assert_non_null(strstr(error_text(&err), "line 1"));
	error_release(&err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_str),    cmocka_unit_test(test_glob),  cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_arena),  cmocka_unit_test(test_buf),   cmocka_unit_test(test_work),
		cmocka_unit_test(test_map),    cmocka_unit_test(test_clock), cmocka_unit_test(test_id),
		cmocka_unit_test(test_error),  cmocka_unit_test(test_json),  cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_digest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
