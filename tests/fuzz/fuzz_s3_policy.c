/* fuzz_s3_policy.c - POST policy documents. */
#include "s3/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct policy_field fields[] = { { { "key", 3 }, { "user/a", 6 } },
						      { { "acl", 3 }, { "private", 7 } },
						      { { "bucket", 6 }, { "b", 1 } } };
	struct arena a = ARENA_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int64_t min, max;
	policy_check(&a, str_of(data, size), fields, 3, 1000, &min, &max, &err);
	arena_release(&a);
	return 0;
}
