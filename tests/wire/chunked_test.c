/* chunked_test.c - the aws-chunked decoder: the example AWS publishes, every split of the input, and every kind of
 * damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/id.h"
#include "wire/chunked.h"
#include "wire/sigv4.h"

struct taken {
	struct buf data;
	int pause_every, calls, stop_at;
};

static int take(void *ctx, const void *p, size_t n)
{
	struct taken *t = ctx;
	buf_add(&t->data, p, n);
	t->calls++;
	if (t->stop_at && t->calls >= t->stop_at)
		return -1;
	return t->pause_every && t->calls % t->pause_every == 0;
}

/* Feeds `wire` in pieces of `step` bytes; 0 or -1 with the error's code in `code` (64 bytes). */
static int decode(const struct chunked_options *o, struct str wire, size_t step, struct taken *t, char *code)
{
	struct arena a = ARENA_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct chunked *c = chunked_new(&a, o);
	ptrdiff_t rc = 0;
	while (wire.len && rc >= 0) {
		rc = chunked_feed(c, wire.ptr, wire.len < step ? wire.len : step, take, t, &err);
		if (rc > 0)
			wire = str_skip(wire, (size_t)rc);
	}
	if (rc >= 0)
		rc = chunked_finish(c, &err);
	snprintf(code, 64, "%s", rc < 0 ? err.code : "");
	arena_release(&a);
	return rc < 0 ? (int)rc : 0;
}

/* ---- AWS's example: 66560 bytes of 'a' in chunks of 64 KiB and 1 KiB ---- */

static struct chunked_options example_options(void)
{
	struct chunked_options o = { .is_signed = true,
				     .timestamp = STR("20130524T000000Z"),
				     .scope = STR("20130524/us-east-1/s3/aws4_request"),
				     .signature =
					     STR("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"),
				     .decoded_length = 66560 };
	struct sigv4 s = { .access_key = STR("AKIAIOSFODNN7EXAMPLE"),
			   .date = STR("20130524"),
			   .region = STR("us-east-1"),
			   .service = STR("s3") };
	sigv4_key(&s, STR("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), o.key);
	return o;
}

static struct buf example_wire(void)
{
	struct buf b = BUF_INIT;
	CLEANUP_FREE char *as = mem_alloc(65536);
	memset(as, 'a', 65536);
	buf_addz(&b, "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n");
	buf_add(&b, as, 65536);
	buf_addz(&b, "\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n");
	buf_add(&b, as, 1024);
	buf_addz(&b, "\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n");
	return b;
}

static void aws_example(void **state)
{
	struct chunked_options o = example_options();
	CLEANUP_BUF struct buf b = example_wire();
	static const size_t steps[] = { 1, 7, 83, 4096, 65536, 1 << 20 };
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct taken t = { 0 };
		char code[64];
		assert_int_equal(decode(&o, buf_str(&b), steps[i], &t, code), 0);
		assert_int_equal(t.data.len, 66560);
		assert_int_equal(strspn(t.data.ptr, "a"), 66560);
		buf_release(&t.data);
	}
}

/* Any byte that is changed, added or lost is noticed. */
static void tampering(void **state)
{
	struct chunked_options o = example_options();
	CLEANUP_BUF struct buf b = example_wire();
	char code[64];
	for (size_t i = 0; i < b.len; i += i < 100 || (i > 65500 && i < 65800) || i > 66500 ? 1 : 997) {
		struct taken t = { 0 };
		char was = b.ptr[i];
		b.ptr[i] = (char)(was ^ 1);
		int rc = decode(&o, buf_str(&b), 8192, &t, code);
		if (rc == 0)
			fail_msg("a change of byte %zu (`%c`) went unnoticed", i, was);
		b.ptr[i] = was;
		buf_release(&t.data);
	}
	for (size_t cut = 1; cut < 200; cut++) {
		struct taken t = { 0 };
		int rc = decode(&o, str_head(buf_str(&b), b.len - cut), 8192, &t, code);
		if (cut > 2) /* the last empty line may be missing */
			assert_true(rc < 0);
		buf_release(&t.data);
	}
	struct taken t = { 0 };
	buf_addz(&b, "x");
	assert_true(decode(&o, buf_str(&b), 8192, &t, code) < 0);
	buf_release(&t.data);
	/* The altered chunk's last bytes are not given out. */
	o.key[0] ^= 1;
	assert_int_equal(decode(&o, buf_str(&b), 1 << 20, &t, code), -1);
	assert_string_equal(code, "SignatureDoesNotMatch");
	assert_int_equal(t.data.len, 0);
	buf_release(&t.data);
}

/* ---- with trailers ---- */

struct maker {
	struct buf wire;
	struct chunked_options o;
	char previous[65];
};

static void sign(struct maker *m, const char *kind, struct str data, char out[65])
{
	unsigned char sum[32];
	char hex[65];
	sigv4_sha256(data, sum);
	hex_encode(hex, sum, 32);
	CLEANUP_BUF struct buf b = BUF_INIT;
	buf_printf(&b, "AWS4-HMAC-SHA256-%s\n%.*s\n%.*s\n%s\n%s%s", kind, STR_ARG(m->o.timestamp), STR_ARG(m->o.scope),
		   m->previous, strcmp(kind, "PAYLOAD") == 0 ? SIGV4_EMPTY_SHA256 "\n" : "", hex);
	sigv4_hmac(m->o.key, 32, buf_str(&b), sum);
	hex_encode(out, sum, 32);
	memcpy(m->previous, out, 65);
}

static void add_chunk(struct maker *m, struct str data)
{
	buf_printf(&m->wire, "%zx", data.len);
	if (m->o.is_signed) {
		char sig[65];
		sign(m, "PAYLOAD", data, sig);
		buf_printf(&m->wire, ";chunk-signature=%s", sig);
	}
	buf_addz(&m->wire, "\r\n");
	buf_add_str(&m->wire, data);
	if (data.len)
		buf_addz(&m->wire, "\r\n");
}

static struct maker maker_new(bool is_signed, bool trailer, int64_t length)
{
	struct maker m = { .o = example_options() };
	m.o.is_signed = is_signed;
	m.o.trailer = trailer;
	m.o.decoded_length = length;
	memcpy(m.previous, m.o.signature.ptr, 64);
	return m;
}

static void expect(struct maker *m, const char *want_code, const char *want_data)
{
	char code[64];
	for (size_t step = 1; step < 100000; step = step * 3 + 1) {
		struct taken t = { .pause_every = step % 2 ? 0 : 2 };
		int rc = decode(&m->o, buf_str(&m->wire), step, &t, code);
		assert_string_equal(code, want_code);
		assert_int_equal(rc, *want_code ? -1 : 0);
		if (want_data)
			assert_string_equal(t.data.ptr ? t.data.ptr : "", want_data);
		buf_release(&t.data);
	}
	buf_release(&m->wire);
}

static void unsigned_trailer(void **state)
{
	struct maker m = maker_new(false, true, 5);
	add_chunk(&m, STR("hello"));
	buf_addz(&m.wire, "0\r\nX-Amz-Checksum-CRC32: NhCmhg== \r\nother:\r\n\r\n");
	struct arena a = ARENA_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct chunked *c = chunked_new(&a, &m.o);
	struct taken t = { 0 };
	assert_int_equal(chunked_feed(c, m.wire.ptr, m.wire.len, take, &t, &err), m.wire.len);
	assert_int_equal(chunked_finish(c, &err), 0);
	assert_true(str_eqz(chunked_trailer(c, STR("x-amz-checksum-CRC32")), "NhCmhg=="));
	assert_true(str_eqz(chunked_trailer(c, STR("other")), "") && chunked_trailer(c, STR("other")).ptr);
	assert_null(chunked_trailer(c, STR("none")).ptr);
	arena_release(&a);
	buf_release(&t.data);
	expect(&m, "", "hello");
}

static void signed_trailer(void **state)
{
	for (int damage = 0; damage < 5; damage++) {
		struct maker m = maker_new(true, true, 5);
		add_chunk(&m, STR("hello"));
		add_chunk(&m, STR(""));
		char sig[65];
		sign(&m, "TRAILER", STR("x-amz-checksum-crc32:NhCmhg==\n"), sig);
		sig[0] ^= damage == 2 ? 1 : 0;
		buf_printf(&m.wire, "x-amz-checksum-crc32:%s\r\n", damage == 1 ? "NhCmhg=1" : "NhCmhg==");
		if (damage != 3)
			buf_printf(&m.wire, "x-amz-trailer-signature:%s\r\n", sig);
		if (damage == 4)
			buf_addz(&m.wire, "x-amz-late:1\r\n");
		buf_addz(&m.wire, "\r\n");
		expect(&m, damage == 0 ? "" : damage == 4 ? "MalformedTrailerError" : "SignatureDoesNotMatch", "hello");
	}
}

static void framing(void **state)
{
	static const struct {
		const char *wire, *code;
		int64_t length;
	} cases[] = {
		{ "0\r\n\r\n", "", 0 },
		{ "0\r\n", "", 0 },
		{ "0", "IncompleteBody", 0 },
		{ "", "IncompleteBody", 0 },
		{ "5\r\nhello\r\n0\r\n\r\n", "", 5 },
		{ "5\r\nhello\r\n0\r\n\r\n", "", -1 },
		{ "5;ext=1\r\nhello\r\n0\r\n\r\n", "", 5 },
		{ "5\nhello\n0\n\n", "", 5 },
		{ "5\r\nhello\r\n0\r\n\r\n", "IncompleteBody", 6 },
		{ "5\r\nhello\r\n0\r\n\r\n", "IncompleteBody", 4 },
		{ "5\r\nhello\r\n0\r\n\r\nmore", "IncompleteBody", 5 },
		{ "5\r\nhell", "IncompleteBody", 5 },
		{ "5\r\nhelloX\r\n0\r\n\r\n", "IncompleteBody", 5 },
		{ "5\r\nhello", "IncompleteBody", 5 },
		{ "g\r\n", "IncompleteBody", 5 },
		{ "-5\r\nhello\r\n0\r\n\r\n", "IncompleteBody", 5 },
		{ "\r\n", "IncompleteBody", 5 },
		{ "ffffffffffffffff\r\n", "IncompleteBody", -1 },
		{ "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", "InvalidChunkSizeError", 10 },
		{ "5\r\nhello\r\n0\r\nno colon\r\n\r\n", "MalformedTrailerError", 5 },
		{ "5\r\nhello\r\n0\r\n:v\r\n\r\n", "MalformedTrailerError", 5 },
		{ "5\r\nhello\r\n0\r\nx-amz-trailer-signature:00\r\n\r\n", "MalformedTrailerError", 5 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct maker m = maker_new(false, true, cases[i].length);
		buf_addz(&m.wire, cases[i].wire);
		print_message("case %zu\n", i);
		expect(&m, cases[i].code, NULL);
	}
}

static void limits(void **state)
{
	char code[64];
	struct taken t = { 0 };
	struct maker m = maker_new(false, true, 0);
	buf_addz(&m.wire, "0;");
	for (int i = 0; i < 10000; i++)
		buf_add_char(&m.wire, 'x');
	assert_int_equal(decode(&m.o, buf_str(&m.wire), 100, &t, code), -1);
	buf_clear(&m.wire);
	buf_addz(&m.wire, "0\r\n");
	for (int i = 0; i < 40; i++)
		buf_printf(&m.wire, "h%d:v\r\n", i);
	buf_addz(&m.wire, "\r\n");
	assert_int_equal(decode(&m.o, buf_str(&m.wire), 100, &t, code), -1);
	assert_string_equal(code, "MalformedTrailerError");
	/* Trailers nobody announced. */
	buf_clear(&m.wire);
	m.o.trailer = false;
	buf_addz(&m.wire, "0\r\na:b\r\n\r\n");
	assert_int_equal(decode(&m.o, buf_str(&m.wire), 100, &t, code), -1);
	buf_release(&m.wire);
	/* The sink's stop is passed on and final. */
	struct maker s = maker_new(false, true, 5);
	add_chunk(&s, STR("hello"));
	t.stop_at = 1;
	assert_int_equal(decode(&s.o, buf_str(&s.wire), 100, &t, code), -2);
	buf_release(&s.wire);
	buf_release(&t.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aws_example),    cmocka_unit_test(tampering), cmocka_unit_test(unsigned_trailer),
		cmocka_unit_test(signed_trailer), cmocka_unit_test(framing),   cmocka_unit_test(limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
