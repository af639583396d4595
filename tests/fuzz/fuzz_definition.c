/* fuzz_definition.c - any text as a pipeline definition; what is accepted is evaluated with every reference answered.
 *
 * DESIGN: the first byte chooses what references mean (a string, a number, a boolean, a list, nothing), the rest is the
 * definition. Checked beside memory safety: an error always carries ValidationException, and the graph of an accepted
 * definition is whole. */
#include <stdlib.h>

#include "fuzz_json.h"
#include "sagemaker/definition.h"
#include "sagemaker/pipeline_type.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *some_value(int kind)
{
	switch (kind % 5) {
	case 0:
		return json_string("text");
	case 1:
		return json_real(0.1);
	case 2:
		return json_true();
	case 3:
		return json_pack("[i, {s:s}]", 1, "OutputName", "o");
	default:
		return NULL;
	}
}

static json_t *get(void *ctx, const struct ref *ref, struct error *err)
{
	json_t *v = some_value(*(int *)ctx);
	if (!v)
		error_aws(err, "ValidationException", "%.*s", STR_ARG(ref->text));
	else
		expr_path_get(v, &ref->path, 0, true);
	return v;
}

static struct str property_file(void *ctx, const struct ref *ref, struct error *err)
{
	(void)ctx, (void)err;
	return ref->text;
}

static json_t *json_get_value(void *ctx, struct str uri, struct str path, struct error *err)
{
	(void)uri;
	return get(ctx, &(struct ref){ .text = path }, err);
}

/* What a start gives for the parameters: nothing, or texts that fit some types. */
static json_t *given_values(const struct definition *d, unsigned kind)
{
	static const char *const texts[] = { "a", "1", "-1.5e3", "True", "", "9223372036854775808", "x y" };
	json_t *out = kind & 8 ? json_array() : NULL;
	for (int i = 0; out && i < d->nparams; i++)
		json_array_append_new(out, json_pack("{s:s,s:s}", "Name", d->params[i].name, "Value",
						     texts[(kind / 16 + (unsigned)i) % 7]));
	if (kind & 4 && out)
		json_array_append_new(out, json_pack("{s:s,s:s}", "Name", "Other", "Value", "a"));
	return out;
}

static void must_be_users_fault(const struct error *err)
{
	if (strcmp(err->code, "ValidationException") != 0)
		abort();
}

static void evaluate(const struct definition *d, int kind)
{
	struct arena a = ARENA_INIT;
	struct expr_env env = { &a, get, property_file, json_get_value, &kind };
	for (int i = 0; i < d->nsteps; i++) {
		const struct definition_step *s = &d->steps[i];
		CLEANUP_ERROR struct error err = ERROR_INIT, why = ERROR_INIT;
		bool holds;
		CLEANUP_JSON json_t *v = s->arguments ? expr_eval(&env, s->arguments, &err) : json_null();
		if (!v)
			must_be_users_fault(&err);
		if (s->type->branches &&
		    expr_conditions_eval(&env, json_get(s->arguments, "Conditions"), &holds, &why) < 0)
			must_be_users_fault(&why);
		for (int k = 0; k < s->ndeps; k++)
			if (s->deps[k] < 0 || s->deps[k] >= d->nsteps || s->deps[k] == i)
				abort();
	}
	arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_ERROR struct error err = ERROR_INIT, bind_err = ERROR_INIT;
	struct definition *d = NULL;
	int64_t ms;
	if (size == 0)
		return 0;
	struct str text = str_of(data + 1, size - 1);
	definition_duration(text, &ms);
	if (definition_parse(text, &d, &err) < 0) {
		must_be_users_fault(&err);
		return 0;
	}
	CLEANUP_JSON json_t *given = given_values(d, data[0]), *bound = definition_bind(d, given, &bind_err);
	if (!bound)
		must_be_users_fault(&bind_err);
	evaluate(d, data[0]);
	definition_free(d);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	static const char *const words[] = { "Arguments",
					     "Athena",
					     "AutoML",
					     "BackoffRate",
					     "BedrockCustomModel",
					     "BedrockCustomModelDeployment",
					     "BedrockModelImport",
					     "BedrockProvisionedModelThroughput",
					     "Boolean",
					     "CacheConfig",
					     "Callback",
					     "CapacityError",
					     "ChannelName",
					     "ClarifyCheck",
					     "Cleanup",
					     "Condition",
					     "Conditions",
					     "CurrentDateTime",
					     "DefaultValue",
					     "DependsOn",
					     "EMR",
					     "EMRServerless",
					     "ElseSteps",
					     "Enabled",
					     "Endpoint",
					     "EndpointConfig",
					     "EnumValues",
					     "Equals",
					     "ExceptionType",
					     "ExperimentName",
					     "ExpireAfter",
					     "ExpireAfterMin",
					     "Float",
					     "ForEach",
					     "Get",
					     "GreaterThan",
					     "GreaterThanOrEqualTo",
					     "GroupName",
					     "HMS",
					     "HubContent",
					     "IfSteps",
					     "In",
					     "InferenceComponent",
					     "InputName",
					     "Integer",
					     "InternalError",
					     "InternalFailure",
					     "InternalServerError",
					     "IntervalSeconds",
					     "Job",
					     "Key",
					     "Lambda",
					     "LeftValue",
					     "LessThan",
					     "LessThanOrEqualTo",
					     "Lineage",
					     "MaxAttempts",
					     "MetricName",
					     "Model",
					     "Name",
					     "Not",
					     "NotEquals",
					     "NotIn",
					     "On",
					     "Or",
					     "Outcome",
					     "OutputName",
					     "Parameters",
					     "Path",
					     "PipelineArn",
					     "PipelineExecutionArn",
					     "PipelineExecutionId",
					     "PipelineExperimentConfig",
					     "PipelineName",
					     "ProcessingJobName",
					     "PropertyFile",
					     "PropertyFileName",
					     "PropertyFiles",
					     "QualityCheck",
					     "QueryValue",
					     "RegisterModel",
					     "ResourceLimitExceeded",
					     "RetryPolicies",
					     "RightValue",
					     "ServiceUnavailable",
					     "StartDateTime",
					     "Std:",
					     "Std:Join",
					     "Std:JsonGet",
					     "Steps",
					     "String",
					     "ThrottlingException",
					     "TrainingJobName",
					     "Transform",
					     "TrialName",
					     "True",
					     "Tuning",
					     "Type",
					     "Value",
					     "Values",
					     "Version",
					     "YMWD",
					     "Processing",
					     "Training",
					     "Fail",
					     "P",
					     "C",
					     "PT1H",
					     "P30d",
					     "Parameters.N",
					     "Steps.P.Outcome",
					     "Steps.P.ProcessingOutputConfig.Outputs['o'].S3Output.S3Uri",
					     "Steps.P.PropertyFiles.f",
					     "Execution.PipelineName",
					     "a.b[0]",
					     "Step.JOB_FAILED",
					     "SageMaker.JOB_INTERNAL_ERROR" };
	return fuzz_json_mutate(data, size, max, seed, 1, words, sizeof(words) / sizeof(*words));
}
