/* pipeline_test.c - executions: order, parallelism, branches, data between steps, failure, stop. */
#include "pipeline_rig.h"
#include "pipeline_steps.h"

static void test_runs_in_order(void **state)
{
	(void)state;
	rig_pipeline("{'Name':'N','Type':'Integer','DefaultValue':3}",
		     TRAIN("Train", GET("Steps.Prep.ProcessingOutputConfig.Outputs[\\u0027out\\u0027].S3Output.S3Uri"),
			   "'num_round':" GET("Parameters.N")) "," PROC("Prep", ""));
	const char *arn = rig_start("");
	assert_string_equal(rig_status(arn), "Executing");
	assert_string_equal(rig_steps(arn), "Prep:Executing");
	const char *job = rig_job("Prep"), *id = strrchr(arn, '/') + 1;
	char want[64];
	snprintf(want, sizeof want, "pipelines-%s-Prep-", id);
	assert_int_equal(strlen(id), 12);
	assert_int_equal(strncmp(job, want, strlen(want)), 0);
	assert_int_equal(strlen(job), strlen(want) + 10);
	assert_contains(json_get_text(json_get_path(rig_step(arn, "Prep"), "Metadata.ProcessingJob"), "Arn"),
			":processing-job/pipelines-");
	rig_wait_ms(1500);
	rig_job_end("Prep", "Completed", NULL);
	assert_string_equal(rig_steps(arn), "Prep:Succeeded Train:Executing");
	json_t *request = rig_job_request("Train");
	assert_string_equal(json_get_text(json_get(request, "HyperParameters"), "num_round"), "3");
	const json_t *channel = json_array_get(json_get(request, "InputDataConfig"), 0);
	snprintf(want, sizeof want, "s3://b/%s/Prep", id);
	assert_string_equal(json_get_text(json_get_path(channel, "DataSource.S3DataSource"), "S3Uri"), want);
	rig_job_end("Train", "Completed", NULL);
	assert_string_equal(rig_status(arn), "Succeeded");
	const json_t *step = rig_step(arn, "Prep");
	assert_true(json_get_real(step, "EndTime", 0) - json_get_real(step, "StartTime", 0) == 1.5);
	assert_int_equal(json_get_int(step, "AttemptCount", -1), 0);
}

static void test_describe_execution(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", ""));
	const char *arn = rig_start(
		"'PipelineExecutionDescription':'why','ParallelismConfiguration':{'MaxParallelExecutionSteps':7}");
	json_t *x = rig_call("DescribePipelineExecution", "{'PipelineExecutionArn':'%s'}", arn);
	assert_string_equal(json_get_text(x, "PipelineArn"), "arn:aws:sagemaker:us-east-1:123456789012:pipeline/P");
	assert_string_equal(json_get_text(x, "PipelineExecutionDescription"), "why");
	assert_contains(json_get_text(x, "PipelineExecutionDisplayName"), "execution-17000");
	assert_string_equal(json_get_text(json_get(x, "PipelineExperimentConfig"), "ExperimentName"), "P");
	assert_string_equal(json_get_text(json_get(x, "PipelineExperimentConfig"), "TrialName"), strrchr(arn, '/') + 1);
	assert_int_equal(json_get_int(json_get(x, "ParallelismConfiguration"), "MaxParallelExecutionSteps", 0), 7);
	assert_int_equal(json_get_int(x, "PipelineVersionId", 0), 1);
	assert_contains(json_get_text(json_get_path(x, "CreatedBy.IamIdentity"), "Arn"), ":user/me");
	rig_call("UpdatePipelineExecution", "{'PipelineExecutionArn':'%s','PipelineExecutionDisplayName':'n2'}", arn);
	x = rig_call("DescribePipelineExecution", "{'PipelineExecutionArn':'%s'}", arn);
	assert_string_equal(json_get_text(x, "PipelineExecutionDisplayName"), "n2");
	assert_string_equal(json_get_text(x, "PipelineExecutionDescription"), "why");
	x = rig_call("DescribePipelineDefinitionForExecution", "{'PipelineExecutionArn':'%s'}", arn);
	assert_contains(json_get_text(x, "PipelineDefinition"), "\"Name\":\"a\"");
	assert_contains(rig_refused("DescribePipelineExecution", "{'PipelineExecutionArn':'%.*sxxxxxxxxxxxx'}",
				    (int)strlen(arn) - 12, arn),
			"ResourceNotFound: Pipeline execution");
}

static void test_parallelism(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", "") "," PROC("b", "") "," PROC("c", "") "," PROC("d", "") "," PROC("e", ""));
	const char *arn = rig_start("'ParallelismConfiguration':{'MaxParallelExecutionSteps':1}");
	assert_string_equal(rig_steps(arn), "a:Executing");
	rig_call("UpdatePipelineExecution",
		 "{'PipelineExecutionArn':'%s','ParallelismConfiguration':{'MaxParallelExecutionSteps':3}}", arn);
	assert_string_equal(rig_steps(arn), "a:Executing b:Executing c:Executing");
	rig_job_end("b", "Completed", NULL);
	assert_string_equal(rig_steps(arn), "a:Executing b:Succeeded c:Executing d:Executing");
	rig_finish();
	assert_string_equal(rig_status(arn), "Succeeded");
	const char *all = rig_start("");
	assert_int_equal(rig_jobs_running(), 5);
	rig_finish();
	assert_string_equal(rig_status(all), "Succeeded");
}

static void test_condition_takes_a_branch(void **state)
{
	(void)state;
	rig_pipeline(
		"{'Name':'N','Type':'Integer','DefaultValue':2}",
		COND("Cond", CMP("GreaterThan", GET("Parameters.N"), "1"), PROC("yes", ""), PROC("no", "")) "," PROC(
			"afterNo", AFTER("'no'")) "," PROC("afterCond", AFTER("'Cond'")) "," PROC("afterYes",
												  AFTER("'yes'")));
	const char *arn = rig_start("");
	assert_string_equal(rig_steps(arn), "Cond:Succeeded yes:Executing afterCond:Executing");
	assert_string_equal(json_get_text(json_get_path(rig_step(arn, "Cond"), "Metadata.Condition"), "Outcome"),
			    "True");
	rig_finish();
	assert_string_equal(rig_steps(arn), "Cond:Succeeded yes:Succeeded afterCond:Succeeded afterYes:Succeeded");
	assert_string_equal(rig_status(arn), "Succeeded");
	arn = rig_start("'PipelineParameters':[{'Name':'N','Value':'0'}]");
	assert_string_equal(json_get_text(json_get_path(rig_step(arn, "Cond"), "Metadata.Condition"), "Outcome"),
			    "False");
	rig_finish();
	assert_string_equal(rig_steps(arn), "Cond:Succeeded no:Succeeded afterCond:Succeeded afterNo:Succeeded");
}

static void test_nested_conditions(void **state)
{
	(void)state;
	rig_pipeline(
		"{'Name':'B','Type':'Boolean'}",
		COND("Outer", CMP("Equals", GET("Parameters.B"), "true"),
		     COND("Inner", CMP("Equals", GET("Steps.Outer.Outcome"), "false"), PROC("x", ""), PROC("y", "")),
		     PROC("z", "")));
	const char *arn = rig_start("'PipelineParameters':[{'Name':'B','Value':'True'}]");
	rig_finish();
	assert_string_equal(rig_steps(arn), "Outer:Succeeded Inner:Succeeded y:Succeeded");
	arn = rig_start("'PipelineParameters':[{'Name':'B','Value':'false'}]");
	rig_finish();
	assert_string_equal(rig_steps(arn), "Outer:Succeeded z:Succeeded");
	assert_string_equal(rig_status(arn), "Succeeded");
}

static void test_fail_step(void **state)
{
	(void)state;
	rig_pipeline("{'Name':'N','Type':'Integer','DefaultValue':2}",
		     COND("CondStep", CMP("Equals", GET("Parameters.N"), "1"), "", "") "," FAIL(
			     "FailStep", "{'Std:Join':{'On':': ','Values':['Failed due to xxx == yyy returns'," GET(
						 "Steps.CondStep.Outcome") "]}}"));
	const char *arn = rig_start("");
	assert_string_equal(rig_status(arn), "Failed");
	assert_string_equal(rig_steps(arn), "CondStep:Succeeded FailStep:Failed");
	const json_t *list = json_object_get(
		rig_call("ListPipelineExecutionSteps", "{'PipelineExecutionArn':'%s'}", arn), "PipelineExecutionSteps");
	const json_t *first = json_array_get(list, 0); /* the newest, though both started in the same millisecond */
	assert_string_equal(json_get_text(first, "FailureReason"), "Failed due to xxx == yyy returns: false");
	assert_string_equal(json_get_text(json_get_path(first, "Metadata.Fail"), "ErrorMessage"),
			    "Failed due to xxx == yyy returns: false");
	list = json_object_get(rig_call("ListPipelineExecutions", "{'PipelineName':'P'}"),
			       "PipelineExecutionSummaries");
	assert_contains(json_get_text(json_array_get(list, 0), "PipelineExecutionFailureReason"),
			"Step failure: One or multiple steps failed");
	assert_contains(
		rig_refused("RetryPipelineExecution",
			    "{'PipelineExecutionArn':'%s','ClientRequestToken':'01234567890123456789012345678901'}",
			    arn),
		"cannot be retried");
}

static void test_fail_step_without_message(void **state)
{
	(void)state;
	rig_pipeline("", "{'Name':'F','Type':'Fail','Arguments':{}}");
	const char *arn = rig_start("");
	const json_t *step = rig_step(arn, "F");
	assert_null(json_get(step, "FailureReason"));
	assert_string_equal(json_get_text(json_get_path(step, "Metadata.Fail"), "ErrorMessage"), "");
}

static void test_failure_lets_independent_steps_run(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", "") "," PROC("b", AFTER("'a'")) "," PROC("c", AFTER("'b'")) "," PROC(
				 "x", "") "," PROC("y", AFTER("'x'")));
	const char *arn = rig_start("");
	rig_job_end("a", "Failed", "AlgorithmError: RuntimeError('no'), exit code: 1");
	assert_string_equal(rig_status(arn), "Executing");
	assert_string_equal(json_get_text(rig_step(arn, "a"), "FailureReason"),
			    "ClientError: AlgorithmError: RuntimeError('no'), exit code: 1");
	rig_finish();
	assert_string_equal(rig_steps(arn), "a:Failed x:Succeeded y:Succeeded");
	assert_string_equal(rig_status(arn), "Failed");
	json_t *x = rig_call("DescribePipelineExecution", "{'PipelineExecutionArn':'%s'}", arn);
	assert_string_equal(json_get_text(x, "FailureReason"), "Step failure: One or multiple steps failed.");
}

#define JSON_GET(path) "{'Std:JsonGet':{'PropertyFile':" GET("Steps.eval.PropertyFiles.Report") ",'Path':'" path "'}}"
#define EVAL PROC("eval", ",'PropertyFiles':[{'PropertyFileName':'Report','OutputName':'out','FilePath':'r.json'}]")

static void test_json_get_reads_the_property_file(void **state)
{
	(void)state;
	char uri[128];
	rig_pipeline("", EVAL "," COND("Cond", CMP("LessThanOrEqualTo", JSON_GET("metrics.mse[0].value"), "6.0"), "",
				       FAIL("No", "{'Std:Join':{'On':' ','Values':['mse is'," JSON_GET(
							  "metrics.mse[0].value") "]}}")));
	const char *arn = rig_start("");
	snprintf(uri, sizeof uri, "s3://b/%s/eval/r.json", strrchr(arn, '/') + 1);
	rig_put(uri, "{\"metrics\":{\"mse\":[{\"value\":7.5}]}}");
	rig_finish();
	assert_string_equal(rig_steps(arn), "eval:Succeeded Cond:Succeeded No:Failed");
	assert_string_equal(json_get_text(rig_step(arn, "No"), "FailureReason"), "mse is 7.5");
}

static void test_json_get_errors_fail_the_step(void **state)
{
	(void)state;
	char uri[128];
	rig_pipeline("", EVAL "," COND("Cond", CMP("Equals", JSON_GET("a"), "1"), "", ""));
	const char *arn = rig_start("");
	rig_finish();
	assert_string_equal(rig_steps(arn), "eval:Succeeded Cond:Failed");
	assert_contains(json_get_text(rig_step(arn, "Cond"), "FailureReason"), "NoSuchKey");
	arn = rig_start("");
	snprintf(uri, sizeof uri, "s3://b/%s/eval/r.json", strrchr(arn, '/') + 1);
	rig_put(uri, "not json");
	rig_finish();
	assert_contains(json_get_text(rig_step(arn, "Cond"), "FailureReason"), "not in valid JSON format");
	arn = rig_start("");
	snprintf(uri, sizeof uri, "s3://b/%s/eval/r.json", strrchr(arn, '/') + 1);
	rig_put(uri, "{\"b\":1}");
	rig_finish();
	assert_contains(json_get_text(rig_step(arn, "Cond"), "FailureReason"), "Invalid json path 'a'");
	arn = rig_start("");
	snprintf(uri, sizeof uri, "s3://b/%s/eval/r.json", strrchr(arn, '/') + 1);
	rig_put(uri, "{\"a\":\"1\"}");
	rig_finish();
	assert_contains(json_get_text(rig_step(arn, "Cond"), "FailureReason"), "the types differ");
	/* a fault of ours is tried again */
	arn = rig_start("");
	snprintf(uri, sizeof uri, "s3://b/%s/eval/r.json", strrchr(arn, '/') + 1);
	rig_put(uri, "{\"a\":1}");
	rig_break_s3(2);
	rig_finish();
	assert_string_equal(rig_steps(arn), "eval:Succeeded Cond:Starting");
	rig_wait_ms(10000);
	assert_string_equal(rig_status(arn), "Succeeded");
	assert_int_equal(json_get_int(rig_step(arn, "Cond"), "AttemptCount", -1), 2);
}

static void test_json_get_by_uri_from_a_file(void **state)
{
	(void)state;
	rig_put("s3://b/one.json", "{\"next\":\"two\"}");
	rig_put("s3://b/two.json", "{\"v\":[5]}");
	rig_pipeline("",
		     COND("Cond",
			  CMP("Equals",
			      "{'Std:JsonGet':{'S3Uri':{'Std:Join':{'On':'','Values':['s3://b/"
			      "',{'Std:JsonGet':{'S3Uri':'s3://b/one.json','Path':'next'}},'.json']}},'Path':'v[0]'}}",
			      "5"),
			  PROC("yes", ""), ""));
	const char *arn = rig_start("");
	assert_string_equal(rig_steps(arn), "Cond:Succeeded yes:Executing");
}

static void test_bad_arguments_fail_the_step(void **state)
{
	(void)state;
	rig_pipeline(
		"{'Name':'N','Type':'Integer','DefaultValue':0}",
		TRAIN("t", "'s3://b/x'", "") ",{'Name':'u','Type':'Training','Arguments':{'HyperParameters':{'n':" GET(
			"Parameters.N") "}}}");
	const char *arn = rig_start("");
	rig_finish();
	assert_string_equal(rig_steps(arn), "t:Succeeded u:Failed");
	const char *reason = arn ? json_get_text(rig_step(arn, "u"), "FailureReason") : "";
	assert_contains(reason, "ClientError: Failed to invoke sagemaker:CreateTrainingJob. Error Details: ");
	assert_contains(reason, "validation error");
	assert_int_equal(rig_jobs_created(), 1);
}

static void test_missing_property_fails_the_step(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", "") "," TRAIN("t", GET("Steps.a.ProcessingOutputConfig.NoSuch"), ""));
	const char *arn = rig_start("");
	rig_finish();
	assert_string_equal(rig_steps(arn), "a:Succeeded t:Failed");
	assert_contains(json_get_text(rig_step(arn, "t"), "FailureReason"),
			"ClientError: The reference 'Steps.a.ProcessingOutputConfig.NoSuch' has no value");
}

static void test_custom_prefix_and_long_names(void **state)
{
	(void)state;
	rig_pipeline("",
		     "{'Name':'s','Type':'Training','Arguments':{'TrainingJobName':{'Std:Join':{'On':'-','Values':['my'"
		     ",'prefix']}},"
		     "'AlgorithmSpecification':{'TrainingImage':'img','TrainingInputMode':'File','ContainerArguments':["
		     "{'Get':'Execution.TrainingJobName'},5]},'OutputDataConfig':{'S3OutputPath':'s3://b/o'},"
		     "'StoppingCondition':{'MaxRuntimeInSeconds':60},'ResourceConfig':{'InstanceType':'ml.m5.large','"
		     "InstanceCount':1,"
		     "'VolumeSizeInGB':1},'RoleArn':'arn:aws:iam::123456789012:role/R'}}," PROC(
			     "a_step_with_a_name_of_exactly_sixty_four_characters_0123456789ab", ""));
	const char *arn = rig_start("");
	char want[64];
	snprintf(want, sizeof want, "my-prefix-%s-", strrchr(arn, '/') + 1);
	const char *job = rig_job("s");
	assert_int_equal(strncmp(job, want, strlen(want)), 0);
	const json_t *args = json_get_path(rig_job_request("s"), "AlgorithmSpecification.ContainerArguments");
	assert_string_equal(json_string_value(json_array_get(args, 0)), job);
	assert_string_equal(json_string_value(json_array_get(args, 1)), "5");
	assert_int_equal(strlen(rig_job("a_step_with_a_name_of_exactly_sixty_four_characters_0123456789ab")), 63);
}

static void test_stop(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", "") "," PROC("b", "") "," PROC("c", AFTER("'a'")));
	const char *arn = rig_start("");
	rig_call("StopPipelineExecution",
		 "{'PipelineExecutionArn':'%s','ClientRequestToken':'stop5678901234567890123456789012'}", arn);
	assert_string_equal(rig_status(arn), "Stopping");
	assert_string_equal(rig_steps(arn), "a:Stopping b:Stopping");
	rig_job_end("a", "Stopped", NULL);
	rig_job_end("b", "Completed", NULL); /* it was faster */
	assert_string_equal(rig_steps(arn), "a:Stopped b:Succeeded");
	assert_string_equal(rig_status(arn), "Stopped");
	/* the same token: the same answer; another: refused */
	rig_call("StopPipelineExecution",
		 "{'PipelineExecutionArn':'%s','ClientRequestToken':'stop5678901234567890123456789012'}", arn);
	assert_contains(
		rig_refused("StopPipelineExecution",
			    "{'PipelineExecutionArn':'%s','ClientRequestToken':'stop567890123456789012345678901X'}",
			    arn),
		"ValidationException");
	/* a retry runs what has not succeeded, under the same ARN */
	rig_call("RetryPipelineExecution",
		 "{'PipelineExecutionArn':'%s','ClientRequestToken':'rtry5678901234567890123456789012'}", arn);
	assert_string_equal(rig_status(arn), "Executing");
	assert_string_equal(rig_steps(arn), "b:Succeeded a:Executing");
	rig_finish();
	assert_string_equal(rig_steps(arn), "b:Succeeded a:Succeeded c:Succeeded");
	assert_string_equal(rig_status(arn), "Succeeded");
	assert_contains(
		rig_refused("RetryPipelineExecution",
			    "{'PipelineExecutionArn':'%s','ClientRequestToken':'rtry567890123456789012345678901X'}",
			    arn),
		"Only failed or stopped");
}

static void test_job_stopped_from_outside(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", ""));
	const char *arn = rig_start("");
	rig_job_end("a", "Stopped", NULL);
	assert_string_equal(rig_steps(arn), "a:Failed");
	assert_string_equal(rig_status(arn), "Failed");
	assert_string_equal(json_get_text(rig_step(arn, "a"), "FailureReason"), "ClientError: The job was stopped.");
}

static void test_retry_after_failure_keeps_outcomes(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", "") "," COND("Cond", CMP("Equals", "1", "2"), PROC("yes", ""),
						PROC("no", "")) "," PROC("end", AFTER("'a','no'")));
	const char *arn = rig_start("");
	rig_job_end("a", "Failed", "x");
	rig_finish();
	assert_string_equal(rig_steps(arn), "a:Failed Cond:Succeeded no:Succeeded");
	rig_call("RetryPipelineExecution",
		 "{'PipelineExecutionArn':'%s','ClientRequestToken':'rtry5678901234567890123456789012'}", arn);
	rig_finish();
	assert_string_equal(rig_steps(arn), "Cond:Succeeded no:Succeeded a:Succeeded end:Succeeded");
	assert_string_equal(rig_status(arn), "Succeeded");
	assert_null(
		json_get(rig_call("DescribePipelineExecution", "{'PipelineExecutionArn':'%s'}", arn), "FailureReason"));
}

static void test_pipeline_without_steps(void **state)
{
	(void)state;
	rig_pipeline("", "");
	assert_string_equal(rig_status(rig_start("")), "Succeeded");
}

/* A fault of ours must not leave an execution hanging. */
static void test_internal_fault_fails_the_execution(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", "") "," PROC("side", "") "," TRAIN(
				 "t", GET("Steps.a.ProcessingOutputConfig.Outputs[0].S3Output.S3Uri"), ""));
	const char *arn = rig_start("");
	rig_break_describe(true);
	rig_job_end("a", "Completed", NULL);
	assert_string_equal(rig_status(arn), "Failed");
	json_t *x = rig_call("DescribePipelineExecution", "{'PipelineExecutionArn':'%s'}", arn);
	assert_contains(json_get_text(x, "FailureReason"), "Internal error");
	assert_contains(json_get_text(x, "FailureReason"), "the disk is on fire");
	assert_string_equal(rig_steps(arn), "a:Stopped side:Stopped");
	/* and it can be retried when the fault is gone */
	rig_break_describe(false);
	rig_finish();
	rig_call("RetryPipelineExecution", "{'PipelineExecutionArn':'%s'," TOK("rtry") "}", arn);
	rig_finish();
	assert_string_equal(rig_status(arn), "Succeeded");
}

static void test_lost_definition_fails_the_execution(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", ""));
	const char *arn = rig_start("");
	rig_sql("DELETE FROM pipeline_definition");
	rig_crash(); /* the parsed form is gone too */
	rig_job_end("a", "Completed", NULL);
	assert_string_equal(rig_status(arn), "Failed");
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_runs_in_order),
		T(test_describe_execution),
		T(test_parallelism),
		T(test_condition_takes_a_branch),
		T(test_nested_conditions),
		T(test_fail_step),
		T(test_fail_step_without_message),
		T(test_failure_lets_independent_steps_run),
		T(test_json_get_reads_the_property_file),
		T(test_json_get_errors_fail_the_step),
		T(test_json_get_by_uri_from_a_file),
		T(test_bad_arguments_fail_the_step),
		T(test_missing_property_fails_the_step),
		T(test_custom_prefix_and_long_names),
		T(test_stop),
		T(test_job_stopped_from_outside),
		T(test_retry_after_failure_keeps_outcomes),
		T(test_pipeline_without_steps),
		T(test_internal_fault_fails_the_execution),
		T(test_lost_definition_fails_the_execution),
	};
	return cmocka_run_group_tests_name("pipeline", tests, NULL, NULL);
}
