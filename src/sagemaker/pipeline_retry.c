/* pipeline_retry.c - RetryPolicies: whether and when a failed attempt is made again.
 *
 * DESIGN: a policy names exception types and a backoff. The first policy that names the type of the failure counts;
 * each counts its own attempts, kept in the step's row as a JSON list by index. Step.SERVICE_FAULT and Step.THROTTLING
 * are tried again without a policy too, as SageMaker does; they count at the index after the last policy. MaxAttempts
 * or ExpireAfterMin bounds the attempts, never both. */
#include "sagemaker/pipeline_run.h"

#include <math.h>

static bool names_type(const json_t *policy, const char *type)
{
	const json_t *types = json_get(policy, "ExceptionType");
	size_t i;
	json_t *item;
	if (json_is_string(types))
		return strcmp(json_string_value(types), type) == 0;
	json_array_foreach (types, i, item)
		if (json_is_string(item) && strcmp(json_string_value(item), type) == 0)
			return true;
	return false;
}

static bool retried_always(const char *type)
{
	return strcmp(type, "Step.SERVICE_FAULT") == 0 || strcmp(type, "Step.THROTTLING") == 0;
}

int64_t pipeline_retry_delay(struct arena *a, const struct definition_step *def, const char *type, const char *retries,
			     int64_t since_ms, int64_t now_ms, const char **retries_out)
{
	const json_t *policies = json_get(def->json, "RetryPolicies");
	size_t n = json_array_size(policies), index = 0;
	while (index < n && !names_type(json_array_get(policies, index), type))
		index++;
	if (index == n && !retried_always(type))
		return -1;
	const json_t *policy = json_array_get(policies, index); /* NULL: the defaults */
	CLEANUP_JSON json_t *counts = retries ? json_parse(str_from(retries), NULL) : NULL;
	if (!counts)
		counts = json_array();
	while (json_array_size(counts) <= index)
		json_array_append_new(counts, json_integer(0));
	int64_t made = json_integer_value(json_array_get(counts, index));
	double interval = json_get_real(policy, "IntervalSeconds", 1), rate = json_get_real(policy, "BackoffRate", 2.0);
	double delay = fmin(interval * pow(rate, (double)made), 43200.0 * 20) * 1000.0;
	if (json_get(policy, "ExpireAfterMin")) {
		int64_t end = since_ms + json_get_int(policy, "ExpireAfterMin", 0) * 60000;
		if (now_ms + (int64_t)delay > end)
			return -1;
	} else if (made >= json_get_int(policy, "MaxAttempts", 5)) {
		return -1;
	}
	json_array_set_new(counts, index, json_integer(made + 1));
	*retries_out = json_text(a, counts).ptr;
	return (int64_t)delay;
}

static bool starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

const char *pipeline_retry_type_of_reason(const char *reason)
{
	if (!reason)
		return NULL;
	if (starts(reason, "InternalServerError") || starts(reason, "InternalError"))
		return "SageMaker.JOB_INTERNAL_ERROR";
	if (starts(reason, "CapacityError"))
		return "SageMaker.CAPACITY_ERROR";
	if (starts(reason, "ResourceLimitExceeded"))
		return "SageMaker.RESOURCE_LIMIT";
	return NULL;
}

const char *pipeline_retry_type_of_error(const struct error *e)
{
	static const struct {
		const char *code, *type;
	} codes[] = { { "ThrottlingException", "Step.THROTTLING" },
		      { "ResourceLimitExceeded", "SageMaker.RESOURCE_LIMIT" },
		      { "CapacityError", "SageMaker.CAPACITY_ERROR" },
		      { "InternalFailure", "Step.SERVICE_FAULT" },
		      { "ServiceUnavailable", "Step.SERVICE_FAULT" } };
	if (!e->code[0])
		return "Step.SERVICE_FAULT";
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		if (strcmp(codes[i].code, e->code) == 0)
			return codes[i].type;
	return NULL;
}
