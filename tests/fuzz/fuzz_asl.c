/* Fuzz target: a definition, parsed and checked; of a good one the references, the first state's fields and a rule are
 * evaluated. The first byte says whether the machine is express or a single state,
 * and whether warnings are wanted. */
#include <stddef.h>
#include <stdlib.h>

#include "base/json.h"
#include "fuzz_json.h"
#include "states/asl.h"

static void evaluate(struct arena *a, struct asl_machine *m)
{
	struct asl_fault f = ASL_FAULT_INIT;
	json_t *input = json_pack("{s:[i,i], s:s, s:o}", "a", 1, 2, "b", "text", "c", json_object()), *rule;
	struct asl_env env = { .arena = a, .input = input, .context = input, .variables = input, .machine = m };
	for (size_t i = 0; i < m->top->count; i++) {
		const json_t *doc = m->top->states[i].doc;
		json_t *out = NULL;
		size_t k;
		bool matched;
		if (asl_payload(&env, doc, "Parameters", &out, &f) == ASL_OK)
			json_decref(out);
		if (asl_in_out_path(&env, doc, "InputPath", input, &out, &f) == ASL_OK)
			json_decref(out);
		if (asl_put(input, json_get_str(doc, "ResultPath"), input, &out, &f) == ASL_OK)
			json_decref(out);
		json_array_foreach (json_object_get(doc, "Choices"), k, rule)
			asl_choice(&env, rule, m->top->states[i].jsonata, &matched, &f);
	}
	asl_fault_release(&f);
	json_decref(input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct asl_machine *m;
	if (size == 0)
		return 0;
	struct asl_diagnostics d = { .arena = &a, .warnings = data[0] & 4 };
	struct str text = str_of(data + 1, size - 1);
	int rc = data[0] & 2 ? asl_parse_state(text, "StateName", &d, &m) : asl_parse(text, data[0] & 1, &d, &m);
	if ((rc == 0) != (m != NULL) || (rc < 0 && d.count == 0) || (rc == 0 && d.count > 0 && !d.warnings))
		__builtin_trap();
	(void)asl_invalid_definition(&a, &d);
	if (m) {
		json_decref(asl_variable_references(m));
		evaluate(&a, m);
	}
	asl_machine_free(m);
	arena_release(&a);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	static const char *const words[] = { "And",
					     "Arguments",
					     "Assign",
					     "BackoffRate",
					     "BatchInput",
					     "Boolean",
					     "BooleanEquals",
					     "BooleanEqualsPath",
					     "Branches",
					     "COMMA",
					     "COMPACT",
					     "CSV",
					     "CSVDelimiter",
					     "CSVHeaderLocation",
					     "CSVHeaders",
					     "Catch",
					     "Cause",
					     "CausePath",
					     "Choice",
					     "Choices",
					     "Comment",
					     "Condition",
					     "Credentials",
					     "DISTRIBUTED",
					     "Default",
					     "EXPRESS",
					     "End",
					     "Equals",
					     "Error",
					     "ErrorEquals",
					     "ErrorPath",
					     "ExecutionType",
					     "FLATTEN",
					     "FULL",
					     "Fail",
					     "Float",
					     "GIVEN",
					     "GreaterThan",
					     "GreaterThanEquals",
					     "HeartbeatSeconds",
					     "HeartbeatSecondsPath",
					     "INLINE",
					     "InputPath",
					     "InputType",
					     "Integer",
					     "IntervalSeconds",
					     "IsBoolean",
					     "IsNull",
					     "IsNumeric",
					     "IsPresent",
					     "IsString",
					     "IsTimestamp",
					     "ItemBatcher",
					     "ItemProcessor",
					     "ItemReader",
					     "ItemSelector",
					     "Items",
					     "ItemsPath",
					     "ItemsPointer",
					     "Iterator",
					     "JSON",
					     "JSONL",
					     "JSONPath",
					     "JSONata",
					     "JitterStrategy",
					     "Label",
					     "LessThan",
					     "LessThanEquals",
					     "MANIFEST",
					     "ManifestType",
					     "Map",
					     "MaxAttempts",
					     "MaxConcurrency",
					     "MaxConcurrencyPath",
					     "MaxDelaySeconds",
					     "MaxInputBytesPerBatch",
					     "MaxInputBytesPerBatchPath",
					     "MaxItems",
					     "MaxItemsPath",
					     "MaxItemsPerBatch",
					     "MaxItemsPerBatchPath",
					     "Maximum",
					     "Minimum",
					     "Mode",
					     "NONE",
					     "Next",
					     "Not",
					     "Numeric",
					     "NumericEquals",
					     "NumericEqualsPath",
					     "NumericGreaterThan",
					     "NumericGreaterThanEquals",
					     "NumericGreaterThanEqualsPath",
					     "NumericGreaterThanPath",
					     "NumericLessThan",
					     "NumericLessThanEquals",
					     "NumericLessThanEqualsPath",
					     "NumericLessThanPath",
					     "Or",
					     "Output",
					     "OutputPath",
					     "OutputType",
					     "PARQUET",
					     "PIPE",
					     "Parallel",
					     "Parameters",
					     "Pass",
					     "Path",
					     "ProcessorConfig",
					     "QueryLanguage",
					     "ReaderConfig",
					     "Ref",
					     "Resource",
					     "Result",
					     "ResultPath",
					     "ResultSelector",
					     "ResultWriter",
					     "Retry",
					     "RoleArn",
					     "SEMICOLON",
					     "SPACE",
					     "STANDARD",
					     "Seconds",
					     "SecondsPath",
					     "StartAt",
					     "States",
					     "String",
					     "StringEquals",
					     "StringEqualsPath",
					     "StringGreaterThan",
					     "StringGreaterThanEquals",
					     "StringGreaterThanEqualsPath",
					     "StringGreaterThanPath",
					     "StringLessThan",
					     "StringLessThanEquals",
					     "StringLessThanEqualsPath",
					     "StringLessThanPath",
					     "StringMatches",
					     "Succeed",
					     "TAB",
					     "Task",
					     "TimeoutSeconds",
					     "TimeoutSecondsPath",
					     "Timestamp",
					     "TimestampEquals",
					     "TimestampEqualsPath",
					     "TimestampGreaterThan",
					     "TimestampGreaterThanEquals",
					     "TimestampGreaterThanEqualsPath",
					     "TimestampGreaterThanPath",
					     "TimestampLessThan",
					     "TimestampLessThanEquals",
					     "TimestampLessThanEqualsPath",
					     "TimestampLessThanPath",
					     "TimestampPath",
					     "ToleratedFailureCount",
					     "ToleratedFailureCountPath",
					     "ToleratedFailurePercentage",
					     "ToleratedFailurePercentagePath",
					     "Transformation",
					     "Type",
					     "Variable",
					     "Version",
					     "Wait",
					     "WriterConfig",
					     "S",
					     "A",
					     "$",
					     "$.a",
					     "$$.Map.Item.Value",
					     "$v",
					     "x.$",
					     "States.ALL",
					     "States.Timeout",
					     "States.Array($.a, 1)",
					     "{% $states.input.a %}",
					     "arn:aws:states:::aws-sdk:s3:getObject",
					     "arn:aws:states:::lambda:invoke.waitForTaskToken",
					     "arn:aws:states:::states:startExecution.sync:2",
					     "arn:aws:states:::s3:listObjectsV2",
					     "2024-01-01T00:00:00Z",
					     "t*",
					     "1.0" };
	return fuzz_json_mutate(data, size, max, seed, 1, words, sizeof(words) / sizeof(*words));
}
