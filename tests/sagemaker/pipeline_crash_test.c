/* pipeline_crash_test.c - one story, told once for each moment at which the process may die.
 *
 * DESIGN: the story has a branch, a file read, a backoff, a cache hit and a stop. The rig kills the engine at the n-th
 * moment (before a commit, after it, before an effect), opens the store again and goes on; clients ask again with their
 * tokens. The end must be the same for every n, and no step may have had two jobs. The loop ends with the first n that
 * is never reached. */
#include "pipeline_rig.h"
#include "pipeline_steps.h"

#define REPORT "{'Std:JsonGet':{'PropertyFile':" GET("Steps.prep.PropertyFiles.R") ",'Path':'v'}}"

/* A process that dies frees nothing, and neither does the engine that plays it. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static void tell(void)
{
	char uri[128];
	rig_pipeline("", PROC("prep", ",'PropertyFiles':[{'PropertyFileName':'R','OutputName':'out','FilePath':'r.json'"
				      "}],'CacheConfig':{'Enabled':true},"
				      "'RetryPolicies':[{'ExceptionType':['SageMaker.JOB_INTERNAL_ERROR'],'"
				      "IntervalSeconds':10}]") "," COND("Cond", CMP("LessThan", REPORT, "6"),
									TRAIN("train", "'s3://b/x'", "'v':" REPORT),
									FAIL("bad", "'no'")) "," PROC("side", ""));
	const char *arn = rig_start("");
	snprintf(uri, sizeof uri, "s3://b/%s/prep/r.json", strrchr(arn, '/') + 1);
	rig_put(uri, "{\"v\":5.5}");
	rig_job_end("prep", "Failed", "InternalServerError: lost");
	rig_wait_ms(10000);
	rig_job_end("prep", "Completed", NULL);
	assert_string_equal(json_get_text(json_get(rig_job_request("train"), "HyperParameters"), "v"), "5.5");
	rig_job_end("train", "Completed", NULL);
	rig_job_end("side", "Completed", NULL);
	assert_string_equal(rig_steps(arn), "prep:Succeeded side:Succeeded Cond:Succeeded train:Succeeded");
	assert_string_equal(rig_status(arn), "Succeeded");
	assert_int_equal(rig_jobs_created(), 4);

	const char *second = rig_start(""); /* prep is cached; side runs until it is stopped */
	assert_string_equal(
		json_get_text(json_get(rig_step(second, "prep"), "CacheHitResult"), "SourcePipelineExecutionArn"), arn);
	rig_call("StopPipelineExecution", "{'PipelineExecutionArn':'%s'," TOK("stop") "}", second);
	while (rig_job("train"))
		rig_job_end("train", "Stopped", NULL);
	rig_job_end("side", "Stopped", NULL);
	assert_string_equal(rig_status(second), "Stopped");
	rig_call("RetryPipelineExecution", "{'PipelineExecutionArn':'%s'," TOK("rtry") "}", second);
	rig_finish();
	assert_string_equal(rig_status(second), "Succeeded");
	assert_int_equal(json_array_size(json_get(rig_call("ListPipelineExecutions", "{'PipelineName':'P'}"),
						  "PipelineExecutionSummaries")),
			 2);
}

static void test_death_at_any_moment(void **state)
{
	(void)state;
	int n = 0;
	for (bool died = true; died;) {
		rig_open();
		rig_die_at(++n);
		tell();
		died = rig_died();
		rig_close();
		if (n > 1000)
			fail_msg("the story does not end");
	}
	print_message("died at %d moments\n", n - 1);
	assert_true(n > 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_death_at_any_moment) };
	return cmocka_run_group_tests_name("pipeline_crash", tests, NULL, NULL);
}
