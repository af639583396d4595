/* Fuzz target: an intrinsic call, checked and evaluated. */
#include <stddef.h>

#include "base/json.h"
#include "states/asl.h"
#include "states/intrinsic.h"

static uint64_t next_random(void *ctx)
{
	return ++*(uint64_t *)ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct asl_fault fault = ASL_FAULT_INIT;
	struct str text = str_of(data, size);
	uint64_t random = 0;
	json_t *input = json_pack("{s:[i,i,s], s:s, s:f, s:{s:n}}", "a", 1, 2, "x", "s", "a-b", "n", 1.5, "o", "k"),
	       *out = NULL;
	struct asl_env env = { .arena = &a,
			       .input = input,
			       .context = input,
			       .variables = input,
			       .random = next_random,
			       .random_ctx = &random };
	(void)intrinsic_check(&a, text);
	if (intrinsic_eval(&env, text, "x.$", &out, &fault) == ASL_OK && !out)
		__builtin_trap();
	json_decref(out);
	json_decref(input);
	asl_fault_release(&fault);
	arena_release(&a);
	return 0;
}
