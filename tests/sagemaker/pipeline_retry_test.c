/* pipeline_retry_test.c - attempts, caching and selective execution. */
#include "pipeline_rig.h"
#include "pipeline_steps.h"

#define POLICIES(list) ",'RetryPolicies':[" list "]"

static void test_job_internal_error_is_tried_again(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", POLICIES("{'ExceptionType':['SageMaker.JOB_INTERNAL_ERROR','SageMaker.CAPACITY_"
					    "ERROR'],'IntervalSeconds':10,"
					    "'BackoffRate':3,'MaxAttempts':2}")));
	const char *arn = rig_start("");
	rig_job_end("a", "Failed", "InternalServerError: We encountered an internal error. Please try again.");
	assert_string_equal(rig_steps(arn), "a:Starting");
	assert_int_equal(json_get_int(rig_step(arn, "a"), "AttemptCount", -1), 1);
	rig_wait_ms(9999);
	assert_int_equal(rig_jobs_running(), 0);
	rig_wait_ms(1);
	assert_string_equal(rig_steps(arn), "a:Executing");
	rig_job_end("a", "Failed", "CapacityError: Unable to provision requested ML compute capacity.");
	rig_wait_ms(29999);
	assert_int_equal(rig_jobs_running(), 0);
	rig_wait_ms(1);
	assert_int_equal(rig_jobs_running(), 1);
	rig_job_end("a", "Failed", "CapacityError: still none");
	assert_string_equal(rig_steps(arn), "a:Failed");
	assert_string_equal(json_get_text(rig_step(arn, "a"), "FailureReason"),
			    "ClientError: CapacityError: still none");
	assert_int_equal(json_get_int(rig_step(arn, "a"), "AttemptCount", -1), 2);
	assert_int_equal(rig_jobs_created(), 3);
}

static void test_user_errors_are_not_tried_again(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", POLICIES("{'ExceptionType':['SageMaker.JOB_INTERNAL_ERROR']}")));
	const char *arn = rig_start("");
	rig_job_end("a", "Failed", "AlgorithmError: no");
	assert_string_equal(rig_steps(arn), "a:Failed");
}

static void test_each_policy_counts_for_itself(void **state)
{
	(void)state;
	rig_pipeline(
		"",
		PROC("a", POLICIES("{'ExceptionType':'SageMaker.CAPACITY_ERROR','IntervalSeconds':1,'MaxAttempts':1},"
				   "{'ExceptionType':['SageMaker.JOB_INTERNAL_ERROR'],'IntervalSeconds':1,'MaxAttempts'"
				   ":1}")));
	const char *arn = rig_start("");
	rig_job_end("a", "Failed", "CapacityError: x");
	rig_wait_ms(1000);
	rig_job_end("a", "Failed", "InternalServerError: y");
	rig_wait_ms(1000);
	rig_job_end("a", "Failed", "InternalServerError: y");
	assert_string_equal(rig_steps(arn), "a:Failed");
	assert_int_equal(rig_jobs_created(), 3);
}

static void test_expire_after(void **state)
{
	(void)state;
	rig_pipeline(
		"",
		PROC("a",
		     POLICIES("{'ExceptionType':['SageMaker.JOB_INTERNAL_ERROR'],'IntervalSeconds':40,'BackoffRate':1,"
			      "'ExpireAfterMin':2}")));
	const char *arn = rig_start("");
	for (int i = 0; i < 3; i++) {
		rig_job_end("a", "Failed", "InternalServerError: y");
		assert_string_equal(rig_steps(arn), "a:Starting");
		rig_wait_ms(40000);
	}
	rig_job_end("a", "Failed", "InternalServerError: y"); /* the next would start after 2 minutes */
	assert_string_equal(rig_steps(arn), "a:Failed");
}

static void test_service_faults_are_tried_again_by_default(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", ""));
	rig_refuse_jobs(2, "", "the store hiccups");
	const char *arn = rig_start("");
	assert_string_equal(rig_steps(arn), "a:Starting");
	rig_wait_ms(1000);
	assert_int_equal(rig_jobs_running(), 0);
	rig_wait_ms(2000);
	assert_int_equal(rig_jobs_running(), 1);
	rig_finish();
	assert_string_equal(rig_steps(arn), "a:Succeeded");
	assert_int_equal(json_get_int(rig_step(arn, "a"), "AttemptCount", -1), 2);
}

static void test_refusals(void **state)
{
	(void)state;
	rig_pipeline(
		"",
		PROC("a",
		     POLICIES("{'ExceptionType':['SageMaker.RESOURCE_LIMIT'],'IntervalSeconds':5,'MaxAttempts':1}")));
	rig_refuse_jobs(1, "ResourceLimitExceeded", "The account-level service limit is 0 Instances.");
	const char *arn = rig_start("");
	assert_string_equal(rig_steps(arn), "a:Starting");
	rig_wait_ms(5000);
	assert_string_equal(rig_steps(arn), "a:Executing");
	rig_finish();
	rig_refuse_jobs(1, "ValidationException", "Bucket does not exist.");
	arn = rig_start("");
	assert_string_equal(rig_steps(arn), "a:Failed");
	assert_string_equal(
		json_get_text(rig_step(arn, "a"), "FailureReason"),
		"ClientError: Failed to invoke sagemaker:CreateProcessingJob. Error Details: Bucket does not exist.");
}

static void test_stop_during_backoff(void **state)
{
	(void)state;
	rig_pipeline("",
		     PROC("a", POLICIES("{'ExceptionType':['SageMaker.JOB_INTERNAL_ERROR'],'IntervalSeconds':100}")));
	const char *arn = rig_start("");
	rig_job_end("a", "Failed", "InternalServerError: y");
	rig_call("StopPipelineExecution", "{'PipelineExecutionArn':'%s'," TOK("stop") "}", arn);
	assert_string_equal(rig_status(arn), "Stopped");
	assert_string_equal(rig_steps(arn), "a:Stopped");
	rig_wait_ms(200000);
	assert_int_equal(rig_jobs_created(), 1);
}

/* ---- caching ---- */

#define CACHED(name, env, expire)                                                                                      \
	"{'Name':'" name "','Type':'Processing','Arguments':" PROC_ARGS(                                               \
		name, ",'Environment':{'E':" env "}") ",'CacheConfig':{'Enabled':true" expire "}}"

static void test_cache_hit(void **state)
{
	(void)state;
	rig_pipeline("{'Name':'E','Type':'String','DefaultValue':'1'}",
		     CACHED("a", GET("Parameters.E"), ",'ExpireAfter':'PT1H'") "," PROC("b", AFTER("'a'")));
	const char *first = rig_start("");
	rig_finish();
	int jobs = rig_jobs_created();
	const char *source = json_get_text(json_get_path(rig_step(first, "a"), "Metadata.ProcessingJob"), "Arn");
	char want[256];
	snprintf(want, sizeof want, "%s", source);
	const char *second = rig_start("");
	const json_t *step = rig_step(second, "a");
	assert_string_equal(json_get_text(step, "StepStatus"), "Succeeded");
	assert_string_equal(json_get_text(json_get(step, "CacheHitResult"), "SourcePipelineExecutionArn"), first);
	assert_string_equal(json_get_text(json_get_path(step, "Metadata.ProcessingJob"), "Arn"), want);
	assert_int_equal(rig_jobs_created(), jobs + 1); /* only b */
	rig_finish();
	/* a hit of a hit names the run that really ran */
	const char *third = rig_start("");
	assert_string_equal(
		json_get_text(json_get(rig_step(third, "a"), "CacheHitResult"), "SourcePipelineExecutionArn"), first);
	rig_finish();
	/* another value of a key attribute: no hit */
	const char *other = rig_start("'PipelineParameters':[{'Name':'E','Value':'2'}]");
	assert_null(json_get(rig_step(other, "a"), "CacheHitResult"));
	rig_finish();
	/* too old: no hit */
	rig_wait_ms(3600001);
	assert_null(json_get(rig_step(rig_start(""), "a"), "CacheHitResult"));
	rig_finish();
}

static void test_cache_takes_only_successes(void **state)
{
	(void)state;
	rig_pipeline("", CACHED("a", "'1'", ""));
	rig_start("");
	rig_job_end("a", "Failed", "AlgorithmError: x");
	const char *arn = rig_start("");
	assert_null(json_get(rig_step(arn, "a"), "CacheHitResult"));
	/* two at a time both run */
	const char *same = rig_start("");
	assert_null(json_get(rig_step(same, "a"), "CacheHitResult"));
	rig_finish();
	/* the newest wins */
	assert_string_equal(
		json_get_text(json_get(rig_step(rig_start(""), "a"), "CacheHitResult"), "SourcePipelineExecutionArn"),
		same);
}

static void test_cache_needs_opt_in(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", ""));
	rig_start("");
	rig_finish();
	assert_null(json_get(rig_step(rig_start(""), "a"), "CacheHitResult"));
}

static void test_cached_step_feeds_the_next(void **state)
{
	(void)state;
	rig_pipeline("",
		     CACHED("a", "'1'", "") "," TRAIN(
			     "t", GET("Steps.a.ProcessingOutputConfig.Outputs[\\u0027out\\u0027].S3Output.S3Uri"), ""));
	const char *first = rig_start("");
	rig_finish();
	rig_start("");
	char want[64];
	snprintf(want, sizeof want, "s3://b/%s/a", strrchr(first, '/') + 1); /* where the cached run put it */
	const json_t *channel = json_array_get(json_get(rig_job_request("t"), "InputDataConfig"), 0);
	assert_string_equal(json_get_text(json_get_path(channel, "DataSource.S3DataSource"), "S3Uri"), want);
}

/* ---- selective execution ---- */

#define CHAIN                                                                                                          \
	PROC("a", "")                                                                                                  \
	"," PROC("b", AFTER("'a'")) "," PROC("c", AFTER("'b'")) "," PROC("d", AFTER("'c'")) "," PROC("x", "")
#define SELECT(source, steps) "'SelectiveExecutionConfig':{" source "'SelectedSteps':[" steps "]}"
#define S(name) "{'StepName':'" name "'}"

static void assert_start_refused(const char *rest, const char *want)
{
	assert_contains(rig_refused("StartPipelineExecution", "{'PipelineName':'P'," TOK("sele") ",%s}", rest), want);
}

static void test_selective_execution(void **state)
{
	(void)state;
	char rest[600];
	rig_pipeline("", CHAIN);
	const char *source = rig_start("");
	assert_start_refused(
		SELECT("", S("b")),
		"Invalid SourcePipelineExecutionArn: null. The selected steps [b] have dependencies on [a]");
	snprintf(rest, sizeof rest, SELECT("'SourcePipelineExecutionArn':'%s',", S("b")), source);
	assert_start_refused(rest, "Its status is Executing");
	rig_finish();
	assert_start_refused(SELECT("", S("nope")), "step 'nope' does not exist");
	assert_start_refused(SELECT("", S("b") "," S("d")), "step 'c' lies between");
	snprintf(rest, sizeof rest, SELECT("'SourcePipelineExecutionArn':'%s',", S("b") "," S("c")), source);
	const char *arn = rig_start(rest);
	assert_string_equal(rig_steps(arn), "a:Succeeded b:Executing");
	rig_finish();
	assert_string_equal(rig_steps(arn), "a:Succeeded b:Succeeded c:Succeeded");
	assert_string_equal(rig_status(arn), "Succeeded");
	assert_string_equal(
		json_get_text(json_get(rig_step(arn, "a"), "SelectiveExecutionResult"), "SourcePipelineExecutionArn"),
		source);
	assert_null(json_get(rig_step(arn, "b"), "SelectiveExecutionResult"));
	json_t *x = rig_call("DescribePipelineExecution", "{'PipelineExecutionArn':'%s'}", arn);
	assert_string_equal(json_get_text(json_array_get(json_get_path(x, "SelectiveExecutionConfig.SelectedSteps"), 0),
					  "StepName"),
			    "b");
	/* without dependencies no source is needed */
	arn = rig_start(SELECT("", S("x")));
	rig_finish();
	assert_string_equal(rig_steps(arn), "x:Succeeded");
}

static void test_selective_needs_success_above(void **state)
{
	(void)state;
	char rest[600];
	rig_pipeline("", CHAIN);
	const char *source = rig_start("");
	rig_job_end("a", "Failed", "no");
	rig_finish();
	snprintf(rest, sizeof rest, SELECT("'SourcePipelineExecutionArn':'%s',", S("b")), source);
	assert_start_refused(rest, "depends on 'a', which did not succeed there");
	snprintf(rest, sizeof rest, SELECT("'SourcePipelineExecutionArn':'%s',", S("a")), source);
	const char *arn = rig_start(rest);
	rig_job_end("a", "Failed", "again");
	assert_string_equal(rig_status(arn), "Failed");
	/* a retry of a selective execution stays selective */
	rig_call("RetryPipelineExecution", "{'PipelineExecutionArn':'%s'," TOK("rtry") "}", arn);
	rig_finish();
	assert_string_equal(rig_steps(arn), "a:Succeeded");
	assert_string_equal(rig_status(arn), "Succeeded");
}

static void test_selective_in_a_branch(void **state)
{
	(void)state;
	char rest[600];
	rig_pipeline("", COND("Cond", CMP("Equals", "1", "1"), PROC("yes", ""), PROC("no", "")));
	const char *source = rig_start("");
	rig_finish();
	snprintf(rest, sizeof rest, SELECT("'SourcePipelineExecutionArn':'%s',", S("no")), source);
	assert_start_refused(rest, "is in the branch of 'Cond'");
	snprintf(rest, sizeof rest, SELECT("'SourcePipelineExecutionArn':'%s',", S("yes")), source);
	const char *arn = rig_start(rest);
	rig_finish();
	assert_string_equal(rig_steps(arn), "Cond:Succeeded yes:Succeeded");
	arn = rig_start(SELECT("", S("Cond")));
	assert_string_equal(rig_steps(arn), "Cond:Succeeded");
	assert_string_equal(rig_status(arn), "Succeeded");
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_job_internal_error_is_tried_again),
		T(test_user_errors_are_not_tried_again),
		T(test_each_policy_counts_for_itself),
		T(test_expire_after),
		T(test_service_faults_are_tried_again_by_default),
		T(test_refusals),
		T(test_stop_during_backoff),
		T(test_cache_hit),
		T(test_cache_takes_only_successes),
		T(test_cache_needs_opt_in),
		T(test_cached_step_feeds_the_next),
		T(test_selective_execution),
		T(test_selective_needs_success_above),
		T(test_selective_in_a_branch),
	};
	return cmocka_run_group_tests_name("pipeline_retry", tests, NULL, NULL);
}
