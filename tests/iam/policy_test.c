/* policy_test.c - the policy language alone: the examples of the IAM user guide ("IAM JSON policy elements reference",
 * "Policy evaluation logic", "Example IAM identity-based policies") and what they leave open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "iam/policy.h"

/* Condition keys of a question: name, value, ... A name that stands twice has two values. */
struct context {
	const char *const *pairs;
};

static bool find(void *ctx, struct arena *a, struct str key, struct policy_values *out)
{
	const struct context *c = ctx;
	struct str *values = ARENA_ARRAY(a, struct str, 16);
	size_t n = 0;
	for (const char *const *p = c->pairs; p && p[0]; p += 2)
		if (str_eq_nocase(key, str_from(p[0])))
			values[n++] = str_from(p[1]);
	*out = (struct policy_values){ values, n };
	return n > 0;
}

static enum policy_verdict ask(const char *text, const char *action, const char *resource, const char *const *pairs)
{
	struct arena a = ARENA_INIT;
	struct context c = { pairs };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct policy *p = policy_parse(str_from(text), POLICY_IDENTITY, &err);
	if (!p)
		fail_msg("%s: %s", text, error_text(&err));
	struct policy_question q = {
		.action = str_from(action), .resource = str_from(resource), .find = find, .ctx = &c, .arena = &a
	};
	enum policy_verdict v = policy_ask(p, &q).verdict;
	policy_free(p);
	arena_release(&a);
	return v;
}

#define PAIRS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define POLICY(statements) "{\"Version\":\"2012-10-17\",\"Statement\":[" statements "]}"
#define ALLOW(action, resource) "{\"Effect\":\"Allow\",\"Action\":" action ",\"Resource\":" resource "}"
#define WHEN(condition)                                                                                                \
	POLICY("{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\",\"Condition\":{" condition "}}")

static void allows(const char *text, const char *action, const char *resource, const char *const *pairs)
{
	if (ask(text, action, resource, pairs) != POLICY_ALLOWS)
		fail_msg("%s should allow %s on %s", text, action, resource);
}

static void silent(const char *text, const char *action, const char *resource, const char *const *pairs)
{
	if (ask(text, action, resource, pairs) != POLICY_SILENT)
		fail_msg("%s should say nothing about %s on %s", text, action, resource);
}

static void test_actions(void **state)
{
	const char *p = POLICY(ALLOW("[\"s3:Get*\",\"iam:*AccessKey*\",\"sqs:?end\"]", "\"*\""));
	allows(p, "s3:GetObject", "*", NULL);
	allows(p, "S3:getobject", "*", NULL);
	allows(p, "iam:CreateAccessKey", "*", NULL);
	allows(p, "iam:ListAccessKeys", "*", NULL);
	allows(p, "sqs:Send", "*", NULL);
	silent(p, "s3:PutObject", "*", NULL);
	silent(p, "sqs:end", "*", NULL);
	silent(p, "xs3:GetObject", "*", NULL);
	const char *n = POLICY("{\"Effect\":\"Allow\",\"NotAction\":\"iam:*\",\"Resource\":\"*\"}");
	allows(n, "s3:GetObject", "*", NULL);
	silent(n, "iam:GetRole", "*", NULL);
	const char *one = "{\"Statement\":" ALLOW("\"*\"", "\"*\"") "}"; /* one statement, no version */
	allows(one, "ecs:RunTask", "arn:aws:ecs:us-east-1:1:task/x", NULL);
}

static void test_resources(void **state)
{
	static const struct {
		const char *pattern, *arn;
		bool match;
	} all[] = {
		{ "arn:aws:s3:::b/*", "arn:aws:s3:::b/a/b/c", true },
		{ "arn:aws:s3:::b/*/c", "arn:aws:s3:::b/a/b/c", true },
		{ "arn:aws:s3:::b/*", "arn:aws:s3:::b", false },
		{ "arn:aws:s3:::b?", "arn:aws:s3:::b1", true },
		{ "arn:aws:s3:::b?", "arn:aws:s3:::b", false },
		{ "arn:aws:s3:::B/*", "arn:aws:s3:::b/x", false },
		{ "arn:aws:sqs:*:1:*", "arn:aws:sqs:us-east-1:1:queue", true },
		{ "arn:aws:sqs:*:1:*", "arn:aws:sqs:us-east-1:2:queue", false },
		/* A wildcard stays within its part ... */
		{ "arn:aws:sqs:*:queue", "arn:aws:sqs:us-east-1:1:queue", false },
		/* ... but the last one takes all that is left. */
		{ "arn:aws:logs:*:*:log-group:/aws/*", "arn:aws:logs:r:1:log-group:/aws/x:log-stream:y", true },
		{ "arn:aws:logs:*:*:*", "arn:aws:logs:r:1:log-group:/aws/x:log-stream:y", true },
		{ "arn:aws:s3*", "arn:aws:s3:::b/x", true },
		{ "*", "*", true },
		{ "arn:aws:s3:::b", "*", false },
		{ "arn:aws:ecs:*:*:task/default/*", "arn:aws:ecs:r:1:task/default/abc", true },
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (policy_arn_like(str_from(all[i].pattern), str_from(all[i].arn)) != all[i].match)
			fail_msg("%s and %s", all[i].pattern, all[i].arn);
	const char *n = POLICY("{\"Effect\":\"Deny\",\"Action\":\"s3:*\",\"NotResource\":[\"arn:aws:s3:::hr\","
			       "\"arn:aws:s3:::hr/*\"]}");
	assert_int_equal(ask(n, "s3:GetObject", "arn:aws:s3:::hr/x", NULL), POLICY_SILENT);
	assert_int_equal(ask(n, "s3:GetObject", "arn:aws:s3:::pay/x", NULL), POLICY_DENIES);
}

static void test_a_deny_wins(void **state)
{
	const char *p = POLICY(
		ALLOW("\"*\"", "\"*\"") ",{\"Effect\":\"Deny\",\"Action\":\"s3:Delete*\",\"Resource\":\"*\"}," ALLOW(
			"\"s3:DeleteObject\"", "\"*\""));
	assert_int_equal(ask(p, "s3:DeleteObject", "arn:aws:s3:::b/k", NULL), POLICY_DENIES);
	allows(p, "s3:PutObject", "arn:aws:s3:::b/k", NULL);
	silent(POLICY(""), "s3:GetObject", "*", NULL);
}

static void test_variables(void **state)
{
	const char *own = POLICY(ALLOW("\"*\"", "\"arn:aws:s3:::b/home/${aws:username}/*\""));
	allows(own, "s3:GetObject", "arn:aws:s3:::b/home/ann/x", PAIRS("aws:username", "ann"));
	silent(own, "s3:GetObject", "arn:aws:s3:::b/home/bob/x", PAIRS("aws:username", "ann"));
	silent(own, "s3:GetObject", "arn:aws:s3:::b/home//x", NULL);
	/* What a variable gives is no wildcard. */
	silent(own, "s3:GetObject", "arn:aws:s3:::b/home/bob/x", PAIRS("aws:username", "*"));
	silent(own, "s3:GetObject", "arn:aws:s3:::b/home/bob/x", PAIRS("aws:username", "b?b"));
	allows(own, "s3:GetObject", "arn:aws:s3:::b/home/*/x", PAIRS("aws:username", "*"));
	const char *fallback = POLICY(ALLOW("\"*\"", "\"arn:aws:s3:::b/${aws:PrincipalTag/team, 'company-wide'}/*\""));
	allows(fallback, "s3:GetObject", "arn:aws:s3:::b/company-wide/x", NULL);
	allows(fallback, "s3:GetObject", "arn:aws:s3:::b/red/x", PAIRS("aws:PrincipalTag/team", "red"));
	const char *special = POLICY(ALLOW("\"*\"", "\"arn:aws:s3:::b/${*}${?}${$}\""));
	allows(special, "s3:GetObject", "arn:aws:s3:::b/*?$", NULL);
	silent(special, "s3:GetObject", "arn:aws:s3:::b/xyz", NULL);
	/* Only in the newer version. */
	const char *old =
		"{\"Version\":\"2008-10-17\",\"Statement\":" ALLOW("\"*\"", "\"arn:aws:s3:::b/${aws:username}\"") "}";
	silent(old, "s3:GetObject", "arn:aws:s3:::b/ann", PAIRS("aws:username", "ann"));
	allows(old, "s3:GetObject", "arn:aws:s3:::b/${aws:username}", PAIRS("aws:username", "ann"));
	const char *value = WHEN("\"StringLike\":{\"s3:prefix\":[\"\",\"home/${aws:username}/*\"]}");
	allows(value, "s3:ListBucket", "*", PAIRS("aws:username", "ann", "s3:prefix", "home/ann/x"));
	allows(value, "s3:ListBucket", "*", PAIRS("aws:username", "ann", "s3:prefix", ""));
	silent(value, "s3:ListBucket", "*", PAIRS("aws:username", "ann", "s3:prefix", "home/bob/x"));
	/* Without a value: what is allowed is not, what is denied beyond it stays denied. */
	const char *beyond =
		POLICY("{\"Effect\":\"Deny\",\"Action\":\"*\",\"NotResource\":\"arn:aws:s3:::${aws:username}\"}");
	assert_int_equal(ask(beyond, "s3:GetObject", "arn:aws:s3:::x", NULL), POLICY_DENIES);
	const char *open =
		POLICY("{\"Effect\":\"Allow\",\"Action\":\"*\",\"NotResource\":\"arn:aws:s3:::${aws:username}\"}");
	silent(open, "s3:GetObject", "arn:aws:s3:::x", NULL);
}

static void test_operators(void **state)
{
	static const struct {
		const char *condition, *value;
		bool holds;
	} all[] = {
		{ "\"StringEquals\":{\"k:k\":\"a*\"}", "a*", true },
		{ "\"StringEquals\":{\"k:k\":\"a*\"}", "ab", false },
		{ "\"StringEquals\":{\"K:K\":[\"x\",\"a\"]}", "a", true },
		{ "\"StringNotEquals\":{\"k:k\":[\"x\",\"a\"]}", "a", false },
		{ "\"StringNotEquals\":{\"k:k\":[\"x\",\"a\"]}", "b", true },
		{ "\"StringEqualsIgnoreCase\":{\"k:k\":\"ABC\"}", "abc", true },
		{ "\"StringNotEqualsIgnoreCase\":{\"k:k\":\"ABC\"}", "abc", false },
		{ "\"StringLike\":{\"k:k\":\"a*c?\"}", "abbcd", true },
		{ "\"StringNotLike\":{\"k:k\":\"a*\"}", "b", true },
		{ "\"NumericEquals\":{\"k:k\":10}", "10.0", true },
		{ "\"NumericNotEquals\":{\"k:k\":\"10\"}", "11", true },
		{ "\"NumericLessThan\":{\"k:k\":\"10\"}", "10", false },
		{ "\"NumericLessThanEquals\":{\"k:k\":\"10\"}", "10", true },
		{ "\"NumericGreaterThan\":{\"k:k\":\"10\"}", "11", true },
		{ "\"NumericGreaterThanEquals\":{\"k:k\":\"10\"}", "9", false },
		{ "\"NumericEquals\":{\"k:k\":\"10\"}", "ten", false },
		{ "\"DateEquals\":{\"k:k\":\"2026-01-01T00:00:00Z\"}", "1767225600", true },
		{ "\"DateNotEquals\":{\"k:k\":\"2026-01-01\"}", "2026-01-01T00:00:00Z", false },
		{ "\"DateLessThan\":{\"k:k\":\"2026-01-01T00:00:00Z\"}", "2025-12-31T23:59:59Z", true },
		{ "\"DateLessThanEquals\":{\"k:k\":\"2026-01-01T00:00:00Z\"}", "2026-01-01T00:00:01Z", false },
		{ "\"DateGreaterThan\":{\"k:k\":\"2026-01-01T00:00:00Z\"}", "2027-01-01T00:00:00Z", true },
		{ "\"DateGreaterThanEquals\":{\"k:k\":\"1767225600\"}", "2026-01-01T00:00:00Z", true },
		{ "\"Bool\":{\"k:k\":true}", "true", true },
		{ "\"Bool\":{\"k:k\":\"false\"}", "true", false },
		{ "\"BinaryEquals\":{\"k:k\":\"QmluYXJ5VmFsdWU=\"}", "QmluYXJ5VmFsdWU=", true },
		{ "\"IpAddress\":{\"k:k\":\"203.0.113.0/24\"}", "203.0.113.15", true },
		{ "\"IpAddress\":{\"k:k\":\"203.0.113.0/24\"}", "203.0.114.15", false },
		{ "\"IpAddress\":{\"k:k\":\"203.0.113.5\"}", "203.0.113.5", true },
		{ "\"IpAddress\":{\"k:k\":\"2001:DB8:1234:5678::/64\"}", "2001:db8:1234:5678::1", true },
		{ "\"IpAddress\":{\"k:k\":\"10.0.0.0/33\"}", "10.0.0.0", false },
		{ "\"NotIpAddress\":{\"k:k\":[\"10.0.0.0/8\",\"::1\"]}", "192.168.0.1", true },
		{ "\"ArnEquals\":{\"k:k\":\"arn:aws:iam::1:role/*\"}", "arn:aws:iam::1:role/x", true },
		{ "\"ArnLike\":{\"k:k\":\"arn:aws:iam::*:role/x\"}", "arn:aws:iam::1:role/x", true },
		{ "\"ArnNotLike\":{\"k:k\":\"arn:aws:iam::*:role/x\"}", "arn:aws:iam::1:role/y", true },
		{ "\"ArnNotEquals\":{\"k:k\":\"arn:aws:iam::1:role/x\"}", "arn:aws:iam::1:role/x", false },
		{ "\"Null\":{\"k:k\":\"false\"}", "x", true },
		{ "\"Null\":{\"k:k\":true}", "x", false },
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct arena a = ARENA_INIT;
		const char *p = arena_printf(&a, WHEN("%s"), all[i].condition);
		enum policy_verdict v = ask(p, "s3:GetObject", "*", PAIRS("k:k", all[i].value));
		if ((v == POLICY_ALLOWS) != all[i].holds)
			fail_msg("%s for %s", all[i].condition, all[i].value);
		arena_release(&a);
	}
}

static void test_absent_keys(void **state)
{
	silent(WHEN("\"StringEquals\":{\"k:k\":\"a\"}"), "a:b", "*", NULL);
	allows(WHEN("\"StringEqualsIfExists\":{\"k:k\":\"a\"}"), "a:b", "*", NULL);
	silent(WHEN("\"StringEqualsIfExists\":{\"k:k\":\"a\"}"), "a:b", "*", PAIRS("k:k", "b"));
	allows(WHEN("\"StringNotEquals\":{\"k:k\":\"a\"}"), "a:b", "*", NULL);
	allows(WHEN("\"Null\":{\"k:k\":\"true\"}"), "a:b", "*", NULL);
	silent(WHEN("\"Bool\":{\"k:k\":\"false\"}"), "a:b", "*", NULL);
	allows(WHEN("\"BoolIfExists\":{\"k:k\":\"false\"}"), "a:b", "*", NULL);
	/* Every operator and every key has to hold. */
	const char *both = WHEN("\"StringEquals\":{\"k:a\":\"1\",\"k:b\":\"2\"},\"Bool\":{\"k:c\":\"true\"}");
	allows(both, "a:b", "*", PAIRS("k:a", "1", "k:b", "2", "k:c", "true"));
	silent(both, "a:b", "*", PAIRS("k:a", "1", "k:b", "2"));
	silent(both, "a:b", "*", PAIRS("k:a", "1", "k:b", "3", "k:c", "true"));
}

static void test_sets(void **state)
{
	const char *every = WHEN("\"ForAllValues:StringEquals\":{\"k:k\":[\"a\",\"b\"]}");
	allows(every, "x:y", "*", PAIRS("k:k", "a", "k:k", "b"));
	silent(every, "x:y", "*", PAIRS("k:k", "a", "k:k", "c"));
	allows(every, "x:y", "*", NULL);
	const char *some = WHEN("\"ForAnyValue:StringEquals\":{\"k:k\":[\"a\",\"b\"]}");
	allows(some, "x:y", "*", PAIRS("k:k", "c", "k:k", "b"));
	silent(some, "x:y", "*", PAIRS("k:k", "c"));
	silent(some, "x:y", "*", NULL);
	const char *none = WHEN("\"ForAllValues:StringNotEquals\":{\"k:k\":[\"a\",\"b\"]}");
	allows(none, "x:y", "*", PAIRS("k:k", "c", "k:k", "d"));
	silent(none, "x:y", "*", PAIRS("k:k", "c", "k:k", "a"));
	const char *other = WHEN("\"ForAnyValue:StringNotLike\":{\"k:k\":\"a*\"}");
	allows(other, "x:y", "*", PAIRS("k:k", "ab", "k:k", "c"));
	silent(other, "x:y", "*", PAIRS("k:k", "ab", "k:k", "a"));
}

static void test_principals(void **state)
{
	static const struct {
		const char *principal;
		bool user, session, service;
		unsigned reach;
	} all[] = {
		{ "\"*\"", true, true, true, POLICY_TO_ALL },
		{ "{\"AWS\":\"*\"}", true, true, false, POLICY_TO_ALL },
		{ "{\"AWS\":\"111122223333\"}", true, true, false, 0 },
		{ "{\"AWS\":[\"arn:aws:iam::111122223333:root\"]}", true, true, false, 0 },
		{ "{\"AWS\":\"arn:aws:iam::444455556666:root\"}", false, false, false, 0 },
		{ "{\"AWS\":\"arn:aws:iam::111122223333:user/ann\"}", true, false, false, POLICY_TO_CALLER },
		{ "{\"AWS\":\"arn:aws:iam::111122223333:role/R\"}", false, true, false, POLICY_TO_ROLE },
		{ "{\"AWS\":\"arn:aws:sts::111122223333:assumed-role/R/s\"}", false, true, false, POLICY_TO_CALLER },
		{ "{\"Service\":[\"a.amazonaws.com\",\"lambda.amazonaws.com\"]}", false, false, true, 0 },
		{ "{\"Federated\":\"cognito-identity.amazonaws.com\"}", false, false, false, 0 },
	};
	const struct policy_caller callers[] = {
		{ .arn = STR("arn:aws:iam::111122223333:user/ann"), .account = STR("111122223333") },
		{ .arn = STR("arn:aws:sts::111122223333:assumed-role/R/s"),
		  .role_arn = STR("arn:aws:iam::111122223333:role/R"),
		  .account = STR("111122223333") },
		{ .arn = STR(""), .account = STR("111122223333"), .service = STR("lambda.amazonaws.com") },
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct arena a = ARENA_INIT;
		const char *text = arena_printf(
			&a, POLICY("{\"Effect\":\"Allow\",\"Principal\":%s,\"Action\":\"sts:AssumeRole\"}"),
			all[i].principal);
		struct policy *p = policy_parse(str_from(text), POLICY_TRUST, NULL);
		const bool want[] = { all[i].user, all[i].session, all[i].service };
		assert_non_null(p);
		for (size_t k = 0; k < 3; k++) {
			struct policy_question q = { .action = STR("sts:AssumeRole"),
						     .resource = STR("*"),
						     .arena = &a,
						     .caller = &callers[k] };
			struct policy_answer answer = policy_ask(p, &q);
			if ((answer.verdict == POLICY_ALLOWS) != want[k] || (want[k] && answer.reach != all[i].reach))
				fail_msg("%s, caller %zu", all[i].principal, k);
		}
		policy_free(p);
		arena_release(&a);
	}
}

static struct policy_answer ask_of_resource(const char *statements, const struct policy_caller *caller)
{
	struct arena a = ARENA_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct policy *p =
		policy_parse(str_from(arena_printf(&a, "{\"Statement\":[%s]}", statements)), POLICY_RESOURCE, &err);
	if (!p)
		fail_msg("%s: %s", statements, error_text(&err));
	struct policy_question q = {
		.action = STR("s3:GetObject"), .resource = STR("arn:aws:s3:::b/k"), .arena = &a, .caller = caller
	};
	struct policy_answer answer = policy_ask(p, &q);
	answer.sid = "";
	policy_free(p);
	arena_release(&a);
	return answer;
}

/* The policy of a bucket or a repository: principals, with or without resources. */
static void test_policies_of_resources(void **state)
{
	const struct policy_caller ann = { .arn = STR("arn:aws:iam::111122223333:user/ann"),
					   .account = STR("111122223333") };
	const struct policy_caller session = { .arn = STR("arn:aws:sts::111122223333:assumed-role/R/s"),
					       .role_arn = STR("arn:aws:iam::111122223333:role/R"),
					       .account = STR("111122223333") };
	const struct policy_caller nobody = { .arn = STR(""), .account = STR("") };
#define OF(effect, principal, more) "{\"Effect\":\"" effect "\"," principal ",\"Action\":\"s3:*\"" more "}"
	const struct {
		const char *statements;
		const struct policy_caller *caller;
		enum policy_verdict verdict;
		unsigned reach;
	} all[] = {
		{ OF("Allow", "\"Principal\":\"*\"", ""), &nobody, POLICY_ALLOWS, POLICY_TO_ALL },
		{ OF("Allow", "\"Principal\":{\"AWS\":\"*\"}", ""), &nobody, POLICY_ALLOWS, POLICY_TO_ALL },
		{ OF("Allow", "\"Principal\":{\"AWS\":\"111122223333\"}", ""), &nobody, POLICY_SILENT, 0 },
		{ OF("Allow", "\"Principal\":{\"AWS\":\"111122223333\"}", ""), &ann, POLICY_ALLOWS, 0 },
		{ OF("Allow", "\"Principal\":\"*\"", ",\"Resource\":\"arn:aws:s3:::b/*\""), &ann, POLICY_ALLOWS,
		  POLICY_TO_ALL },
		{ OF("Allow", "\"Principal\":\"*\"", ",\"Resource\":\"arn:aws:s3:::b\""), &ann, POLICY_SILENT, 0 },
		{ OF("Allow",
		     "\"Principal\":{\"AWS\":[\"arn:aws:iam::111122223333:role/R\","
		     "\"arn:aws:sts::111122223333:assumed-role/R/s\"]}",
		     ""),
		  &session, POLICY_ALLOWS, POLICY_TO_ROLE | POLICY_TO_CALLER },
		{ OF("Allow", "\"Principal\":\"*\"",
		     "") "," OF("Deny", "\"NotPrincipal\":{\"AWS\":\"arn:aws:iam::111122223333:user/ann\"}", ""),
		  &ann, POLICY_ALLOWS, POLICY_TO_ALL },
		{ OF("Deny", "\"NotPrincipal\":{\"AWS\":\"arn:aws:iam::111122223333:user/ann\"}", ""), &nobody,
		  POLICY_DENIES, 0 },
		{ OF("Deny", "\"NotPrincipal\":{\"AWS\":\"arn:aws:iam::111122223333:role/R\"}", ""), &session,
		  POLICY_DENIES, 0 },
		{ OF("Allow", "\"NotPrincipal\":{\"AWS\":\"arn:aws:iam::111122223333:user/ann\"}", ""), &nobody,
		  POLICY_ALLOWS, POLICY_TO_ALL },
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct policy_answer answer = ask_of_resource(all[i].statements, all[i].caller);
		if (answer.verdict != all[i].verdict || answer.reach != all[i].reach)
			fail_msg("%s: %d, %u", all[i].statements, answer.verdict, answer.reach);
	}
	assert_null(policy_parse(STR("{\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}}"),
				 POLICY_RESOURCE, NULL)); /* for whom? */
}

static void test_refused_documents(void **state)
{
	static const char *const bad[] = {
		"",
		"null",
		"[]",
		"{}",
		"{\"Statement\":1}",
		"{\"Statement\":[1]}",
		"{\"Statement\":[{}]}",
		"{\"Statement\":[],\"Other\":1}",
		"{\"Version\":2012,\"Statement\":[]}",
		POLICY("{\"Effect\":\"allow\",\"Action\":\"*\",\"Resource\":\"*\"}"),
		POLICY("{\"Effect\":\"Allow\",\"Action\":\"a:b:c\",\"Resource\":\"*\"}"),
		POLICY("{\"Effect\":\"Allow\",\"Action\":[],\"Resource\":\"*\"}"),
		POLICY("{\"Effect\":\"Allow\",\"Action\":\"*\",\"NotAction\":\"*\",\"Resource\":\"*\"}"),
		POLICY("{\"Effect\":\"Allow\",\"Action\":{\"a\":1},\"Resource\":\"*\"}"),
		POLICY("{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"arn:xyz:s3:::b\"}"),
		WHEN("\"StringEquals\":1"),
		WHEN("\"StringEquals\":{\"k\":\"v\"}"),
		WHEN("\"StringEquals\":{\"k:k\":{}}"),
		WHEN("\"NullIfExists\":{\"k:k\":\"true\"}"),
		WHEN("\"ForSomeValues:StringEquals\":{\"k:k\":\"v\"}"),
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		struct policy *p = policy_parse(str_from(bad[i]), POLICY_IDENTITY, &err);
		if (p)
			fail_msg("%s was taken", bad[i]);
		assert_string_equal(err.code, "MalformedPolicyDocument");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_resources),
		cmocka_unit_test(test_a_deny_wins),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_operators),
		cmocka_unit_test(test_absent_keys),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_principals),
		cmocka_unit_test(test_policies_of_resources),
		cmocka_unit_test(test_refused_documents),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
