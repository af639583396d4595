/* fuzz_xgboost_config.c - fuzz target: what a request or a data file can make the trainer parse.
 *
 * DESIGN: the first byte picks the parser; the rest is its input. A parse either succeeds or fills the failure; nothing
 * may crash, leak or run away. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channels.h"
#include "data.h"
#include "failure.h"
#include "hyperparameters.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_hyperparameters(const char *s, size_t n)
{
	struct hyperparameters h = HYPERPARAMETERS_INIT;
	struct failure fail = FAILURE_INIT;
	json_t *v = json_loadb(s, n, 0, NULL);
	if (json_is_object(v) && hyperparameters_parse(v, &h, &fail) < 0 && !fail.message)
		abort();
	hyperparameters_release(&h);
	failure_release(&fail);
	json_decref(v);
}

/* One hyperparameter's text, so that the fuzzer need not learn JSON. */
static void fuzz_value(const char *s)
{
	static const char *const NAMES[] = { "eta",
					     "max_depth",
					     "eval_metric",
					     "monotone_constraints",
					     "interaction_constraints",
					     "updater",
					     "_tuning_objective_metric" };
	struct hyperparameters h = HYPERPARAMETERS_INIT;
	struct failure fail = FAILURE_INIT;
	const char *name = NAMES[(unsigned char)s[0] % (sizeof NAMES / sizeof *NAMES)];
	json_t *v = json_pack("{s:s, s:s, s:o}", "num_round", "1", "tree_method", "hist", name,
			      json_stringn_nocheck(s, strlen(s)));
	if (v)
		hyperparameters_parse(v, &h, &fail);
	hyperparameters_release(&h);
	failure_release(&fail);
	json_decref(v);
}

static void fuzz_channels(const char *s, size_t n)
{
	struct channels c;
	struct failure fail = FAILURE_INIT;
	json_t *v = json_loadb(s, n, 0, NULL);
	if (json_is_object(v) && channels_check(v, &c, &fail) < 0 && !fail.message)
		abort();
	failure_release(&fail);
	json_decref(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	CLEANUP_FREE char *s = mem_need(strndup((const char *)data + 1, size - 1));
	enum content_type type;
	struct failure fail = FAILURE_INIT;
	switch (data[0] % 5) {
	case 0:
		fuzz_hyperparameters((const char *)data + 1, size - 1);
		break;
	case 1:
		fuzz_value(s);
		break;
	case 2:
		fuzz_channels((const char *)data + 1, size - 1);
		break;
	case 3:
		csv_delimiter(s);
		libsvm_feature_count(s);
		break;
	default:
		content_type_parse(s, &type, &fail);
	}
	failure_release(&fail);
	return 0;
}
