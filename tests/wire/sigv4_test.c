/* sigv4_test.c - canonical requests and signatures against the examples AWS publishes (Signature Version 4 test suite;
 * Amazon S3 API reference, "Examples: Signature calculations"), and what the parser says to broken claims. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/id.h"
#include "wire/sigv4.h"

#define SUITE_SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define S3_SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define EMPTY SIGV4_EMPTY_SHA256

struct header {
	const char *name, *value;
};

/* The request with its headers; `authorization` may be NULL. */
static struct sigv4_request make(struct arena *a, const char *method, const char *path, const char *query,
				 const struct header *h, const char *authorization)
{
	struct codec_pair *p = ARENA_ARRAY(a, struct codec_pair, 20);
	size_t n = 0;
	for (; h && h->name; h++)
		p[n++] = (struct codec_pair){ str_from(h->name), str_from(h->value) };
	if (authorization)
		p[n++] = (struct codec_pair){ STR("Authorization"), str_from(authorization) };
	return (struct sigv4_request){ str_from(method), str_from(path), str_from(query), p, n };
}

static void assert_str(struct str got, const char *want)
{
	char text[4096];
	snprintf(text, sizeof(text), "%.*s", STR_ARG(got));
	assert_string_equal(text, want);
}

static bool verifies(const char *method, const char *path, const char *query, const struct header *h,
		     const char *authorization, const char *payload, const char *secret, bool s3)
{
	struct arena a = ARENA_INIT;
	struct sigv4_request rq = make(&a, method, path, query, h, authorization);
	struct sigv4 s;
	assert_int_equal(sigv4_parse(&a, &rq, &s), SIGV4_OK);
	bool good = sigv4_verify(&a, &rq, &s, str_from(secret), str_from(payload), s3);
	/* The cached key gives the same answer. */
	assert_int_equal(good, sigv4_verify(&a, &rq, &s, str_from(secret), str_from(payload), s3));
	arena_release(&a);
	return good;
}

#define SUITE_AUTH(signed, signature)                                                                                  \
	"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "                            \
	"SignedHeaders=" signed ", Signature=" signature

static void suite_vectors(void **state)
{
	struct header h[] = { { "Host", "example.amazonaws.com" }, { "X-Amz-Date", "20150830T123600Z" }, { 0 } };
	const char *vanilla =
		SUITE_AUTH("host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
	assert_true(verifies("GET", "/", "", h, vanilla, EMPTY, SUITE_SECRET, false));
	/* Dots and slashes are normalised away for any service but S3. */
	assert_true(verifies("GET", "//./x/../", "", h, vanilla, EMPTY, SUITE_SECRET, false));
	assert_false(verifies("GET", "//./x/../", "", h, vanilla, EMPTY, SUITE_SECRET, true));
	assert_false(verifies("GET", "/", "", h, vanilla, EMPTY, S3_SECRET, false));
	assert_false(verifies("POST", "/", "", h, vanilla, EMPTY, SUITE_SECRET, false));
	assert_false(verifies("GET", "/", "a", h, vanilla, EMPTY, SUITE_SECRET, false));
	const char *ordered =
		SUITE_AUTH("host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
	assert_true(verifies("GET", "/", "Param2=value2&Param1=value1", h, ordered, EMPTY, SUITE_SECRET, false));
	assert_true(verifies("GET", "/", "Param1=value1&Param2=value2", h, ordered, EMPTY, SUITE_SECRET, false));
	const char *post =
		SUITE_AUTH("host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
	assert_true(verifies("POST", "/", "", h, post, EMPTY, SUITE_SECRET, false));
}

#define S3_AUTH(signed, signature)                                                                                     \
	"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"                         \
	"SignedHeaders=" signed ",Signature=" signature

static void s3_vectors(void **state)
{
	struct header get[] = { { "Host", "examplebucket.s3.amazonaws.com" },
				{ "Range", "bytes=0-9" },
				{ "x-amz-content-sha256", EMPTY },
				{ "x-amz-date", "20130524T000000Z" },
				{ 0 } };
	assert_true(verifies("GET", "/test.txt", "", get,
			     S3_AUTH("host;range;x-amz-content-sha256;x-amz-date",
				     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
			     EMPTY, S3_SECRET, true));
	static const char hash[] = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
	struct header put[] = { { "Host", "examplebucket.s3.amazonaws.com" },
				{ "Date", "Fri, 24 May 2013 00:00:00 GMT" },
				{ "x-amz-date", "20130524T000000Z" },
				{ "x-amz-storage-class", "REDUCED_REDUNDANCY" },
				{ "x-amz-content-sha256", hash },
				{ 0 } };
	const char *auth = S3_AUTH("date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
				   "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
	assert_true(verifies("PUT", "/test%24file.text", "", put, auth, hash, S3_SECRET, true));
	assert_true(verifies("PUT", "/test$file.text", "", put, auth, hash, S3_SECRET, true));
	assert_false(verifies("PUT", "/test%2524file.text", "", put, auth, hash, S3_SECRET, true));
	struct header life[] = { { "Host", "examplebucket.s3.amazonaws.com" },
				 { "x-amz-date", "20130524T000000Z" },
				 { "x-amz-content-sha256", EMPTY },
				 { 0 } };
	const char *lifecycle = S3_AUTH("host;x-amz-content-sha256;x-amz-date",
					"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	assert_true(verifies("GET", "/", "lifecycle", life, lifecycle, EMPTY, S3_SECRET, true));
	assert_true(verifies("GET", "/", "lifecycle=", life, lifecycle, EMPTY, S3_SECRET, true));
	const char *list = S3_AUTH("host;x-amz-content-sha256;x-amz-date",
				   "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
	assert_true(verifies("GET", "/", "max-keys=2&prefix=J", life, list, EMPTY, S3_SECRET, true));
	assert_true(verifies("GET", "/", "prefix=%4a&max-keys=2", life, list, EMPTY, S3_SECRET, true));
}

#define PRESIGNED                                                                                                      \
	"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F"        \
	"aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"

static void presigned_vector(void **state)
{
	struct arena a = ARENA_INIT;
	struct header h[] = { { "Host", "examplebucket.s3.amazonaws.com" }, { 0 } };
	struct sigv4_request rq = make(
		&a, "GET", "/test.txt",
		PRESIGNED "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", h, NULL);
	struct sigv4 s;
	assert_int_equal(sigv4_parse(&a, &rq, &s), SIGV4_OK);
	assert_int_equal(s.place, SIGV4_QUERY);
	assert_str(s.access_key, "AKIAIOSFODNN7EXAMPLE");
	assert_str(s.service, "s3");
	assert_str(s.scope, "20130524/us-east-1/s3/aws4_request");
	assert_true(sigv4_verify(&a, &rq, &s, STR(S3_SECRET), STR("UNSIGNED-PAYLOAD"), true));
	int64_t at = s.time_ms;
	assert_int_equal(sigv4_check_time(&s, at), SIGV4_OK);
	assert_int_equal(sigv4_check_time(&s, at + 86400000), SIGV4_OK);
	assert_int_equal(sigv4_check_time(&s, at + 86400001), SIGV4_EXPIRED);
	assert_int_equal(sigv4_check_time(&s, at - SIGV4_SKEW_MS), SIGV4_OK);
	assert_int_equal(sigv4_check_time(&s, at - SIGV4_SKEW_MS - 1), SIGV4_TOO_NEW);
	arena_release(&a);
}

static void canonical_headers(void **state)
{
	struct arena a = ARENA_INIT;
	struct header h[] = { { "Host", "h:4566" }, { "My-Header", "  a   b  c " },       { "my-header", "value2" },
			      { "My-Header", "" },  { "X-Amz-Date", "20150830T123600Z" }, { 0 } };
	struct sigv4_request rq = make(&a, "GET", "/a b/%c3%a4+*", "b=2&a=x+y&a&c=%7e%2f&&a=%41", h,
				       SUITE_AUTH("host;missing;my-header;x-amz-date", "00"));
	struct sigv4 s;
	assert_int_equal(sigv4_parse(&a, &rq, &s), SIGV4_OK);
	static const char tail[] = "a=&a=A&a=x%20y&b=2&c=~%2F\n"
				   "host:h:4566\nmissing:\nmy-header:a b c,value2,\nx-amz-date:20150830T123600Z\n\n"
				   "host;missing;my-header;x-amz-date\nP";
	char want[1024];
	snprintf(want, sizeof(want), "GET\n/a%%20b/%%C3%%A4%%2B%%2A\n%s", tail);
	assert_str(sigv4_canonical(&a, &rq, &s, STR("P"), true, false), want);
	snprintf(want, sizeof(want), "GET\n/a%%20b/%%25c3%%25a4%%2B%%2A\n%s", tail);
	assert_str(sigv4_canonical(&a, &rq, &s, STR("P"), false, false), want);
	assert_str(str_head(sigv4_canonical(&a, &rq, &s, STR("P"), true, true), 45),
		   "GET\n/a b/%c3%a4+*\na=&a=%41&a=x+y&b=2&c=%7e%2f");
	arena_release(&a);
}

static enum sigv4_fault parse_header(const char *authorization, const char *date)
{
	struct arena a = ARENA_INIT;
	struct header h[] = { { "Host", "h" }, { date ? "X-Amz-Date" : "X-Other", date ? date : "x" }, { 0 } };
	struct sigv4_request rq = make(&a, "GET", "/", "", h, authorization);
	struct sigv4 s;
	enum sigv4_fault f = sigv4_parse(&a, &rq, &s);
	arena_release(&a);
	return f;
}

static void broken_headers(void **state)
{
#define CRED "Credential=AK/20150830/r/s/aws4_request"
	static const struct {
		const char *authorization, *date;
		enum sigv4_fault fault;
	} cases[] = {
		{ "AWS4-HMAC-SHA256 " CRED ", SignedHeaders=host, Signature=00", "20150830T123600Z", SIGV4_OK },
		{ "AWS4-HMAC-SHA256 " CRED ",SignedHeaders=host,Signature=00,", "20150830T123600Z", SIGV4_OK },
		{ "AWS4-HMAC-SHA256 Credential=A/K/20150830/r/s/aws4_request,SignedHeaders=host,Signature=00",
		  "20150830T123600Z", SIGV4_OK },
		{ "AWS4-HMAC-SHA256 " CRED ", SignedHeaders=host", "20150830T123600Z", SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 " CRED ", Signature=00", "20150830T123600Z", SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=00", "20150830T123600Z", SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256", "20150830T123600Z", SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 " CRED ", " CRED ", SignedHeaders=host, Signature=00", "20150830T123600Z",
		  SIGV4_MALFORMED },
		{ "AWS4-HMAC-SHA256 " CRED ", SignedHeaders=host;host, Signature=00", "20150830T123600Z",
		  SIGV4_MALFORMED },
		{ "AWS4-HMAC-SHA256 " CRED ", SignedHeaders=x;host, Signature=00", "20150830T123600Z",
		  SIGV4_MALFORMED },
		{ "AWS4-HMAC-SHA256 " CRED ", Other=1, SignedHeaders=host, Signature=00", "20150830T123600Z",
		  SIGV4_MALFORMED },
		{ "AWS4-HMAC-SHA256 nonsense", "20150830T123600Z", SIGV4_MALFORMED },
		{ "AWS4-HMAC-SHA256 Credential=AK/20150830/r/s/aws4, SignedHeaders=host, Signature=00",
		  "20150830T123600Z", SIGV4_BAD_CREDENTIAL },
		{ "AWS4-HMAC-SHA256 Credential=AK, SignedHeaders=host, Signature=00", "20150830T123600Z",
		  SIGV4_BAD_CREDENTIAL },
		{ "AWS4-HMAC-SHA256 Credential=/20150830/r/s/aws4_request, SignedHeaders=host, Signature=00",
		  "20150830T123600Z", SIGV4_BAD_CREDENTIAL },
		{ "AWS4-HMAC-SHA256 " CRED ", SignedHeaders=host, Signature=00", NULL, SIGV4_NO_DATE },
		{ "AWS4-HMAC-SHA256 " CRED ", SignedHeaders=host, Signature=00", "yesterday", SIGV4_NO_DATE },
		{ "AWS4-HMAC-SHA256 " CRED ", SignedHeaders=host, Signature=00", "20150831T123600Z",
		  SIGV4_DATE_MISMATCH },
		{ "AWS4-HMAC-SHA256x " CRED, "20150830T123600Z", SIGV4_UNSUPPORTED },
		{ "AWS AKIA:sig", "20150830T123600Z", SIGV4_UNSUPPORTED },
		{ "Basic QQ==", "20150830T123600Z", SIGV4_UNSUPPORTED },
		{ NULL, NULL, SIGV4_MISSING },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum sigv4_fault f = parse_header(cases[i].authorization, cases[i].date);
		if (f != cases[i].fault)
			fail_msg("case %zu: fault %d, not %d", i, f, cases[i].fault);
	}
}

static enum sigv4_fault parse_query(const char *query)
{
	struct arena a = ARENA_INIT;
	struct sigv4_request rq = make(&a, "GET", "/", query, NULL, NULL);
	struct sigv4 s;
	enum sigv4_fault f = sigv4_parse(&a, &rq, &s);
	arena_release(&a);
	return f;
}

static void broken_queries(void **state)
{
	assert_int_equal(parse_query(PRESIGNED "&X-Amz-Signature=00"), SIGV4_OK);
	assert_int_equal(parse_query(PRESIGNED), SIGV4_INCOMPLETE);
	assert_int_equal(parse_query("a=b&prefix=X-Amz-Algorithm"), SIGV4_MISSING);
	assert_int_equal(parse_query("X-Amz-Algorithm=AWS4-HMAC-SHA256"), SIGV4_INCOMPLETE);
	assert_int_equal(
		parse_query(
			"X-Amz-Signature=00&X-Amz-Algorithm=AWS3&X-Amz-Credential=AK%2F20130524%2Fr%2Fs%2Faws4_request&"
			"X-Amz-Date=20130524T000000Z&X-Amz-SignedHeaders=host"),
		SIGV4_UNSUPPORTED);
#define REST                                                                                                           \
	"&X-Amz-Signature=00&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK/20130524/r/s/"                       \
	"aws4_request&X-Amz-SignedHeaders=host"
	assert_int_equal(parse_query("X-Amz-Date=20130524T000000Z" REST), SIGV4_OK);
	assert_int_equal(parse_query("X-Amz-Date=20130524T000000Z&X-Amz-Expires=604800" REST), SIGV4_OK);
	assert_int_equal(parse_query("X-Amz-Date=20130524T000000Z&X-Amz-Expires=604801" REST), SIGV4_BAD_EXPIRES);
	assert_int_equal(parse_query("X-Amz-Date=20130524T000000Z&X-Amz-Expires=-1" REST), SIGV4_BAD_EXPIRES);
	assert_int_equal(parse_query("X-Amz-Date=20130524T000000Z&X-Amz-Expires=soon" REST), SIGV4_BAD_EXPIRES);
	assert_int_equal(parse_query("X-Amz-Date=20130525T000000Z" REST), SIGV4_DATE_MISMATCH);
	assert_int_equal(parse_query("X-Amz-Date=x" REST), SIGV4_NO_DATE);
}

static void skew(void **state)
{
	struct sigv4 s = { .place = SIGV4_HEADER, .time_ms = 1440938160000 };
	assert_int_equal(sigv4_check_time(&s, s.time_ms), SIGV4_OK);
	assert_int_equal(sigv4_check_time(&s, s.time_ms + 900000), SIGV4_OK);
	assert_int_equal(sigv4_check_time(&s, s.time_ms + 900001), SIGV4_TOO_OLD);
	assert_int_equal(sigv4_check_time(&s, s.time_ms - 900000), SIGV4_OK);
	assert_int_equal(sigv4_check_time(&s, s.time_ms - 900001), SIGV4_TOO_NEW);
}

static void signed_headers(void **state)
{
	struct arena a = ARENA_INIT;
	struct header h[] = { { "Host", "h" }, { "X-Amz-Target", "A.B" }, { "x-amzn-trace-id", "1" }, { 0 } };
	struct sigv4_request rq = make(&a, "GET", "/", "", h, NULL);
	struct sigv4 s = { .signed_headers = STR("host;x-amz-target") };
	assert_int_equal(sigv4_check_headers(&a, &rq, &s), SIGV4_OK);
	s.signed_headers = STR("x-amz-target");
	assert_int_equal(sigv4_check_headers(&a, &rq, &s), SIGV4_HOST_UNSIGNED);
	s.signed_headers = STR("host;x-amz-targe");
	assert_int_equal(sigv4_check_headers(&a, &rq, &s), SIGV4_HEADER_UNSIGNED);
	assert_string_equal(s.detail, "X-Amz-Target");
	arena_release(&a);
}

/* More keys than the cache has places, again and again: each still gives its own signature. */
static void key_cache(void **state)
{
	unsigned char want[200][32], got[32];
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 200; i++) {
			char key[32];
			snprintf(key, sizeof(key), "AKID%d", i % 100);
			struct sigv4 s = { .access_key = str_from(key),
					   .date = STR("20150830"),
					   .region = STR("us-east-1"),
					   .service = STR("iam") };
			sigv4_key(&s, i < 100 ? STR(SUITE_SECRET) : str_from(key), round ? got : want[i]);
			if (round)
				assert_memory_equal(got, want[i], 32);
		}
	char hex[65];
	hex_encode(hex, want[0], 32);
	assert_string_equal(hex, "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
	assert_memory_equal(want[0], want[1], 32); /* the access key is no part of the signing key */
	assert_memory_not_equal(want[0], want[100], 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(suite_vectors),
		cmocka_unit_test(s3_vectors),
		cmocka_unit_test(presigned_vector),
		cmocka_unit_test(canonical_headers),
		cmocka_unit_test(broken_headers),
		cmocka_unit_test(broken_queries),
		cmocka_unit_test(skew),
		cmocka_unit_test(signed_headers),
		cmocka_unit_test(key_cache),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
