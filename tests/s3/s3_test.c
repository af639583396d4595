/* s3_test.c - pieces of S3 without a network: checksums, hashing beside the writer, forms, policies, ranges, XML,
 * names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "s3/digest.h"
#include "s3/form.h"
#include "s3/policy.h"
#include "s3/room.h"

/* ---- checksums: the catalogue's check values for "123456789" ---- */

static void test_crc_values(void **state)
{
	assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
	assert_int_equal(crc32c_portable(0, "123456789", 9), 0xE3069283);
	assert_true(crc64nvme(0, "123456789", 9) == 0xAE8B14860A799888);
	unsigned char data[1000];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * i * 31 + i);
	for (size_t n = 0; n <= sizeof(data); n++) { /* with the CPU's help and without */
		assert_true(crc64nvme(n, data, n) == crc64nvme_portable(n, data, n));
		assert_true(crc32c((uint32_t)n, data, n) == crc32c_portable((uint32_t)n, data, n));
	}
}

static void sum_of(enum checksum_algo algo, const void *p, size_t n, char text[CHECKSUM_TEXT_MAX])
{
	struct checksum c;
	checksum_init(&c, algo);
	for (size_t at = 0, step = 1; at < n; at += step, step = step * 3 % 977 + 1)
		checksum_update(&c, (const char *)p + at, step < n - at ? step : n - at);
	checksum_final(&c, text);
}

static void test_checksum_texts(void **state)
{
	static const struct {
		enum checksum_algo algo;
		const char *text;
	} want[] = {
		{ CHECKSUM_CRC32, "y/Q5Jg==" },
		{ CHECKSUM_CRC32C, "4waSgw==" },
		{ CHECKSUM_CRC64NVME, "rosUhgp5mIg=" },
		{ CHECKSUM_SHA1, "98O8HYCOBHMq32eZZczDTKeuNEE=" },
		{ CHECKSUM_SHA256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=" },
	};
	char text[CHECKSUM_TEXT_MAX];
	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++) {
		sum_of(want[i].algo, "123456789", 9, text);
		assert_string_equal(text, want[i].text);
		assert_true(checksum_text_valid(want[i].algo, str_from(text)));
		assert_false(checksum_text_valid(want[i].algo, STR("AAAA")));
		assert_int_equal(checksum_from_name(str_from(checksum_name(want[i].algo))), want[i].algo);
	}
	assert_int_equal(checksum_from_name(STR("crc32c")), CHECKSUM_CRC32C);
	assert_int_equal(checksum_from_name(STR("MD5")), CHECKSUM_NONE);
}

static void test_checksum_combine(void **state)
{
	char whole[CHECKSUM_TEXT_MAX], a[CHECKSUM_TEXT_MAX], b[CHECKSUM_TEXT_MAX], both[CHECKSUM_TEXT_MAX];
	CLEANUP_FREE unsigned char *data = mem_alloc(100000);
	for (int i = 0; i < 100000; i++)
		data[i] = (unsigned char)(i * 31 + i / 256);
	static const size_t cuts[] = { 0, 1, 8, 4095, 65536, 100000 };
	for (int algo = CHECKSUM_CRC32; algo <= CHECKSUM_CRC64NVME; algo++)
		for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++) {
			sum_of(algo, data, 100000, whole);
			sum_of(algo, data, cuts[i], a);
			sum_of(algo, data + cuts[i], 100000 - cuts[i], b);
			assert_true(checksum_combine(algo, str_from(a), str_from(b), 100000 - cuts[i], both));
			assert_string_equal(both, whole);
		}
	assert_false(checksum_combine(CHECKSUM_SHA256, STR(""), STR(""), 1, both));
	assert_false(checksum_combine(CHECKSUM_CRC32, STR("!"), STR("AAAAAA=="), 1, both));
}

/* ---- hashing behind a writer ---- */

static void test_digest_follow(void **state)
{
	struct error err = ERROR_INIT;
	struct hasher *h = hasher_new(2);
	char path[] = "/tmp/s3-digest-XXXXXX";
	CLEANUP_FD int fd = mkstemp(path);
	unlink(path);
	CLEANUP_FREE char *data = mem_alloc(3 << 20);
	for (int i = 0; i < 3 << 20; i++)
		data[i] = (char)(i * 7 + i / 4096);
	struct digest plain, follow[4];
	struct digest_result want, got;
	digest_init(&plain, h, CHECKSUM_SHA256);
	digest_bytes(&plain, data, 3 << 20);
	assert_int_equal(digest_final(&plain, &want, &err), 0);
	for (int i = 0; i < 4; i++) {
		digest_init(&follow[i], h, CHECKSUM_SHA256);
		digest_follow(&follow[i], fd, (int64_t)i * (3 << 20));
	}
	for (int64_t at = 0; at < 3 << 20; at += 65536)
		for (int i = 0; i < 4; i++) {
			assert_int_equal(pwrite(fd, data + at, 65536, (int64_t)i * (3 << 20) + at), 65536);
			digest_written(&follow[i], at + 65536);
		}
	digest_release(&follow[3]); /* given up in the middle */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(digest_final(&follow[i], &got, &err), 0);
		assert_string_equal(got.md5_hex, want.md5_hex);
		assert_string_equal(got.sum, want.sum);
	}
	digest_init(&plain, h, CHECKSUM_NONE); /* the file is shorter than what was said */
	digest_follow(&plain, fd, 1 << 30);
	digest_written(&plain, 1000);
	assert_int_equal(digest_final(&plain, &got, &err), -1);
	digest_release(&plain);
	error_release(&err);
	hasher_free(h);
}

/* ---- forms ---- */

struct seen {
	struct buf log;
};

static int on_field(void *ctx, struct str name, struct str value, struct error *err)
{
	buf_printf(&((struct seen *)ctx)->log, "[%.*s=%.*s]", STR_ARG(name), STR_ARG(value));
	return 0;
}

static int on_file(void *ctx, struct str filename, struct str type, struct error *err)
{
	buf_printf(&((struct seen *)ctx)->log, "{%.*s;%.*s:", STR_ARG(filename), STR_ARG(type));
	return 0;
}

static int on_data(void *ctx, const void *p, size_t n, struct error *err)
{
	buf_add(&((struct seen *)ctx)->log, p, n);
	return 0;
}

/* Feeds in steps; the log is owned by the caller. NULL on an error, whose code is in err. */
static char *parse_form(struct str body, size_t step, struct error *err)
{
	struct seen seen = { 0 };
	const struct form_events events = { on_field, on_file, on_data, &seen };
	struct form_parser p;
	int rc = form_init(&p, STR("multipart/form-data; charset=utf-8; boundary=\"x Y\""), &events, err);
	for (size_t at = 0; rc == 0 && at < body.len; at += step)
		rc = form_feed(&p, body.ptr + at, step < body.len - at ? step : body.len - at, err);
	if (rc == 0)
		rc = form_end(&p, err);
	form_release(&p);
	if (rc == 0)
		return buf_detach(&seen.log);
	buf_release(&seen.log);
	return NULL;
}

static void test_form(void **state)
{
	static const struct str body =
		STR("preamble\r\n--x Y\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nuser/${filename}\r\n"
		    "--x Y  \r\ncontent-disposition: form-data; name=empty\r\n\r\n\r\n"
		    "--x Y\r\nContent-Type: text/csv\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a "
		    "\\\"b\\\".csv\"\r\n\r\n"
		    "1,2\r\n--x Z\r\n--x \r\n\r\n--x Y--\r\nepilogue");
	static const char want[] = "[key=user/${filename}][empty=]{a \"b\".csv;text/csv:1,2\r\n--x Z\r\n--x \r\n";
	struct error err = ERROR_INIT;
	for (size_t step = 1; step <= body.len; step++) {
		char *log = parse_form(body, step, &err);
		assert_non_null(log);
		assert_string_equal(log, want);
		free(log);
	}
}

static void test_form_bad(void **state)
{
	static const char *const bodies[] = {
		"",
		"--x Y\r\n",
		"--x Y\r\nContent-Disposition: form-data\r\n\r\nnameless\r\n--x Y--",
		"--x Y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nno end\r\n--x Z--",
		"--x Yjunk\r\n\r\n",
	};
	for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
		struct error err = ERROR_INIT;
		assert_null(parse_form(str_from(bodies[i]), 7, &err));
		assert_int_equal(err.status, 400);
		error_release(&err);
	}
	struct error err = ERROR_INIT;
	struct buf b = BUF_INIT;
	for (int i = 0; i < 2; i++) /* two files */
		buf_addz(&b, "--x Y\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n1\r\n");
	buf_addz(&b, "--x Y--");
	assert_null(parse_form(buf_str(&b), 9, &err));
	assert_string_equal(err.code, "InvalidArgument");
	error_release(&err);
	buf_clear(&b);
	buf_addz(&b, "--x Y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n");
	for (int i = 0; i < FORM_FIELD_BYTES + 10; i++)
		buf_add_char(&b, 'a');
	assert_null(parse_form(buf_str(&b), 1000, &err));
	assert_string_equal(err.code, "MaxPostPreDataLengthExceededError");
	error_release(&err);
	buf_release(&b);
}

/* ---- policies ---- */

static const char *check(struct arena *a, const char *document, int64_t *min, int64_t *max)
{
	static const struct policy_field fields[] = {
		{ { "key", 3 }, { "user/a.csv", 10 } }, { { "Content-Type", 12 }, { "text/csv", 8 } },
		{ { "policy", 6 }, { "...", 3 } },      { { "x-ignore-me", 11 }, { "1", 1 } },
		{ { "bucket", 6 }, { "b1", 2 } },
	};
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (policy_check(a, str_from(document), fields, sizeof(fields) / sizeof(*fields), 1000, min, max, &err) == 0)
		return "ok";
	return arena_printf(a, "%d %s %s", err.status, err.code, error_text(&err));
}

#define POLICY(conditions) "{\"expiration\":\"2030-01-01T00:00:00Z\",\"conditions\":[" conditions "]}"
#define BASE "{\"bucket\":\"b1\"},[\"starts-with\",\"$key\",\"user/\"]"

static void test_policy(void **state)
{
	struct arena a = ARENA_INIT;
	int64_t min, max;
	assert_string_equal(
		check(&a, POLICY(BASE ",[\"eq\",\"$content-type\",\"text/csv\"],[\"content-length-range\",\"1\",10]"),
		      &min, &max),
		"ok");
	assert_int_equal(min, 1);
	assert_int_equal(max, 10);
	assert_non_null(strstr(check(&a, POLICY(BASE), &min, &max),
			       "403 AccessDenied Invalid according to Policy: Extra input fields: Content-Type"));
	assert_non_null(strstr(check(&a, POLICY("{\"bucket\":\"b2\"}"), &min, &max),
			       "403 AccessDenied Invalid according to Policy: Policy Condition failed"));
	assert_non_null(
		strstr(check(&a, POLICY(BASE ",{\"Content-Type\":\"text/plain\"}"), &min, &max), "403 AccessDenied"));
	assert_non_null(
		strstr(check(&a, POLICY(BASE ",[\"starts-with\",\"$absent\",\"\"]"), &min, &max), "403 AccessDenied"));
	assert_non_null(strstr(check(&a, "{\"expiration\":\"1970-01-01T00:00:01Z\",\"conditions\":[]}", &min, &max),
			       "Policy expired"));
	assert_non_null(strstr(check(&a, "{\"conditions\":[]}", &min, &max), "400 InvalidPolicyDocument"));
	assert_non_null(strstr(check(&a, "{\"expiration\":\"2030-01-01T00:00:00Z\"}", &min, &max),
			       "400 InvalidPolicyDocument"));
	assert_non_null(strstr(check(&a, "{", &min, &max), "400 InvalidPolicyDocument"));
	assert_non_null(strstr(check(&a, "[]", &min, &max), "400 InvalidPolicyDocument"));
	assert_non_null(
		strstr(check(&a, POLICY("{\"a\":\"b\",\"c\":\"d\"}"), &min, &max), "400 InvalidPolicyDocument"));
	assert_non_null(
		strstr(check(&a, POLICY("[\"regex\",\"$key\",\".*\"]"), &min, &max), "400 InvalidPolicyDocument"));
	assert_non_null(
		strstr(check(&a, POLICY("[\"content-length-range\",-1,2]"), &min, &max), "400 InvalidPolicyDocument"));
	assert_non_null(strstr(check(&a, POLICY("7"), &min, &max), "400 InvalidPolicyDocument"));
	arena_release(&a);
}

/* ---- ranges, names, prefixes ---- */

static void test_range(void **state)
{
	static const struct {
		const char *text;
		int64_t size;
		int rc;
		int64_t from, length;
	} cases[] = {
		{ "bytes=0-4", 10, 1, 0, 5 },
		{ "bytes=5-", 10, 1, 5, 5 },
		{ "bytes=-3", 10, 1, 7, 3 },
		{ "bytes=-30", 10, 1, 0, 10 },
		{ "bytes=0-99", 10, 1, 0, 10 },
		{ "bytes=9-9", 10, 1, 9, 1 },
		{ "bytes=10-", 10, -1, 0, 0 },
		{ "bytes=-0", 10, -1, 0, 0 },
		{ "bytes=0-", 0, -1, 0, 0 },
		{ "bytes=5-4", 10, 0, 0, 0 },
		{ "bytes=a-b", 10, 0, 0, 0 },
		{ "bytes=-", 10, 0, 0, 0 },
		{ "bytes=0-1,3-4", 10, 0, 0, 0 },
		{ "items=0-1", 10, 0, 0, 0 },
		{ "", 10, 0, 0, 0 },
		{ "bytes=99999999999999999999-", 10, 0, 0, 0 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int64_t from = 0, length = 0;
		assert_int_equal(s3_range_parse(str_from(cases[i].text), cases[i].size, &from, &length), cases[i].rc);
		if (cases[i].rc > 0) {
			assert_int_equal(from, cases[i].from);
			assert_int_equal(length, cases[i].length);
		}
	}
}

static void test_names(void **state)
{
	static const char *const good[] = { "abc", "a-b", "my.bucket.1", "1-2", "sagemaker-us-east-1-000000000000" };
	static const char *const bad[] = { "",
					   "ab",
					   "Abc",
					   "a_b",
					   "-ab",
					   "ab-",
					   "a..b",
					   ".ab",
					   "192.168.1.1",
					   "xn--abc",
					   "abc-s3alias",
					   "a b",
					   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(s3_bucket_name_valid(str_from(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(s3_bucket_name_valid(str_from(bad[i])));
	struct str bucket, key;
	assert_true(s3_parse_uri(STR("s3://b/a/b"), &bucket, &key));
	assert_true(str_eqz(bucket, "b") && str_eqz(key, "a/b"));
	assert_true(s3_parse_uri(STR("s3://b"), &bucket, &key));
	assert_true(str_eqz(bucket, "b") && key.len == 0);
	assert_false(s3_parse_uri(STR("s3://"), &bucket, &key));
	assert_false(s3_parse_uri(STR("https://b/a"), &bucket, &key));
}

static void test_hosts(void **state)
{
	static const struct {
		const char *host, *bucket;
	} cases[] = {
		{ "127.0.0.1:4566", NULL },
		{ "[::1]:4566", NULL },
		{ "localhost:4566", NULL },
		{ "s3.amazonaws.com", NULL },
		{ "s3.us-west-2.amazonaws.com", NULL },
		{ "s3-us-west-2.amazonaws.com", NULL },
		{ "b.s3.amazonaws.com", "b" },
		{ "my.b.s3.eu-west-1.amazonaws.com", "my.b" },
		{ "b.localhost:4566", "b" },
		{ "b.s3.localhost:4566", "b" },
		{ "a.b.s3-eu-west-1.amazonaws.com", "a.b" },
		{ "s3.localhost:4566", NULL },
		{ "store.example.org", NULL },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct str got = s3_host_bucket(str_from(cases[i].host));
		if (cases[i].bucket)
			assert_true(str_eqz(got, cases[i].bucket));
		else
			assert_null(got.ptr);
	}
}

static void test_after_prefix(void **state)
{
	struct arena a = ARENA_INIT;
	struct str out;
	assert_true(s3_after_prefix(&a, STR("ab/"), &out) && str_eqz(out, "ab0"));
	assert_true(s3_after_prefix(&a, STR("a\xff\xff"), &out) && str_eqz(out, "b"));
	assert_false(s3_after_prefix(&a, STR("\xff"), &out));
	assert_false(s3_after_prefix(&a, STR(""), &out));
	arena_release(&a);
}

/* ---- XML in ---- */

static void test_xml(void **state)
{
	struct arena a = ARENA_INIT;
	struct error err = ERROR_INIT;
	struct xml_node *root;
	assert_int_equal(s3_xml_parse(&a,
				      STR("<?xml version=\"1.0\"?>\n<x:Delete xmlns:x=\"u\"><x:Object><Key>a&amp;b "
					  "&#x20AC;</Key></x:Object></x:Delete>"),
				      &root, &err),
			 0);
	assert_true(str_eqz(root->name, "Delete"));
	assert_true(str_eqz(s3_xml_child_text(s3_xml_child(root, "Object"), "Key"), "a&b €"));
	assert_null(s3_xml_child_text(root, "Key").ptr);
	static const char *const bad[] = {
		"",
		"x",
		"<a>",
		"<a></b>",
		"<a/><b/>",
		"<!DOCTYPE a [<!ENTITY e \"x\">]><a>&e;</a>",
		"<a>&undefined;</a>",
		"<a><a><a><a><a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a></a></a></a></a>"
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(s3_xml_parse(&a, str_from(bad[i]), &root, &err), -1);
		assert_string_equal(err.code, "MalformedXML");
		error_release(&err);
	}
	arena_release(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc_values),
		cmocka_unit_test(test_checksum_texts),
		cmocka_unit_test(test_checksum_combine),
		cmocka_unit_test(test_digest_follow),
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_form_bad),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_range),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_after_prefix),
		cmocka_unit_test(test_xml),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
