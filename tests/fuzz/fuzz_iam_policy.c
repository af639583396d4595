/* fuzz_iam_policy.c - policy documents, as identity and as trust policies, and questions to those that are good. */
#include "iam/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every key has values; they are made of its own name, so that some comparisons hold. */
static bool find(void *ctx, struct arena *a, struct str key, struct policy_values *out)
{
	struct str *v = ARENA_ARRAY(a, struct str, 2);
	v[0] = str_skip(key, key.len / 2);
	v[1] = STR("10.0.0.1");
	*out = (struct policy_values){ v, key.len % 3 };
	return key.len % 3 > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const actions[] = { "s3:GetObject", "sts:AssumeRole", "" };
	static const char *const resources[] = { "arn:aws:s3:::b/k", "*", "a:b" };
	const struct policy_caller caller = { .arn = STR("arn:aws:iam::111122223333:user/u"),
					      .account = STR("111122223333") };
	struct arena a = ARENA_INIT;
	for (int kind = POLICY_IDENTITY; kind <= POLICY_RESOURCE; kind++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		struct policy *p = policy_parse(str_of(data, size), (enum policy_kind)kind, &err);
		for (size_t i = 0; p && i < 9; i++) {
			struct policy_question q = { .action = str_from(actions[i % 3]),
						     .resource = str_from(resources[i / 3]),
						     .find = find,
						     .arena = &a,
						     .caller = kind == POLICY_IDENTITY ? NULL : &caller };
			policy_ask(p, &q);
		}
		policy_free(p);
	}
	arena_release(&a);
	return 0;
}
