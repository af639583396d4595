/* job_processing_test.c - processing jobs: the container contract, outputs, what is refused. */
#include "job_rig.h"

#include <unistd.h>

#define INPUT(name, uri, path)                                                                                         \
	"{'InputName':'" name "','S3Input':{'S3Uri':'" uri "','LocalPath':'" path                                      \
	"','S3DataType':'S3Prefix','S3InputMode':'File'}}"
#define OUTPUT(name, uri, path, mode)                                                                                  \
	"{'OutputName':'" name "','S3Output':{'S3Uri':'" uri "','LocalPath':'" path "','S3UploadMode':'" mode "'}}"

static const char *status(const char *name)
{
	return json_get_text(rig_processing(name), "ProcessingJobStatus");
}

static void test_life(void **state)
{
	rig_put("s3://b/code/run.py", "print()");
	rig_put("s3://b/raw/x/1.csv", "1");
	rig_put("s3://b/raw/2.csv", "2");
	rig_start_processing(
		"p1",
		"'AppSpecification':{'ImageUri':'sk:1','ContainerEntrypoint':['python3','/opt/ml/processing/input/code/"
		"run.py'],"
		"'ContainerArguments':['--n','3']},'Environment':{'A':'b'},"
		"'ProcessingInputs':[" INPUT("code", "s3://b/code/run.py", "/opt/ml/processing/input/code") "," INPUT(
			"raw", "s3://b/raw",
			"/opt/ml/processing/input/raw/") "],"
							 "'ProcessingOutputConfig':{'Outputs':[" OUTPUT(
								 "train", "s3://b/out/train",
								 "/opt/ml/processing/train", "EndOfJob") "]}");
	json_t *c = json_array_get(json_get(rig_spec(), "containers"), 0);
	assert_int_equal(json_array_size(json_get(c, "entrypoint")), 2);
	assert_int_equal(json_array_size(json_get(c, "command")), 2);
	assert_string_equal(rig_staged(0, "/opt/ml/processing/input/code", "run.py"), "print()");
	assert_string_equal(rig_staged(0, "/opt/ml/processing/input/raw", "x/1.csv"), "1");
	assert_string_equal(rig_staged(0, "/opt/ml/processing/input/raw", "2.csv"), "2");
	assert_string_equal(json_get_text(rig_mount(0, "/opt/ml/processing/train"), "type"), "scratch");
	assert_string_equal(rig_env(0, "A"), "b");
	assert_true(json_get_real(c, "cpu_quota", 0) == 4);
	CLEANUP_JSON json_t *config =
		json_parse(str_from(rig_file(0, "/opt/ml/config/processingjobconfig.json")), NULL);
	assert_string_equal(json_get_text(config, "ProcessingJobArn"),
			    "arn:aws:sagemaker:us-east-1:123456789012:processing-job/p1");
	assert_string_equal(json_get_text(json_get(config, "AppSpecification"), "ImageUri"), "sk:1");
	assert_int_equal(json_get_int(json_get(config, "StoppingCondition"), "MaxRuntimeInSeconds", 0), 86400);
	assert_string_equal(
		rig_file(0, "/opt/ml/config/resourceconfig.json"),
		"{\"current_host\":\"algo-1\",\"current_instance_type\":\"ml.m5.xlarge\",\"hosts\":[\"algo-1\"]}");
	rig_task("{'type':'started','at':%lld}", (long long)rig_now_ms());
	const char *path = rig_output("o0", "part/a.csv", "data");
	rig_task_stopped("exited", 0,
			 rig_text("'outputs':[{'name':'o0','files':[{'key':'part/a.csv','path':'%s'}]}],"
				  "'texts':{'algo-1':{'message':'all fine'}}",
				  path));
	json_t *d = rig_processing("p1");
	assert_string_equal(json_get_text(d, "ProcessingJobStatus"), "Completed");
	assert_string_equal(json_get_text(d, "ExitMessage"), "all fine");
	assert_string_equal(rig_object("s3://b/out/train/part/a.csv"), "data");
	assert_true(json_get_real(d, "ProcessingEndTime", 0) >= json_get_real(d, "ProcessingStartTime", 1e18 * 0) &&
		    json_get(d, "ProcessingStartTime"));
	assert_null(json_get(d, "SecondaryStatus"));
	assert_string_equal(json_get_text(rig_ended(), "kind"), "processing-job");
}

static void test_failed_uploads_only_what_is_continuous(void **state)
{
	rig_start_processing("p2", "'ProcessingOutputConfig':{'Outputs':[" OUTPUT(
					   "end", "s3://b/end", "/opt/ml/processing/end",
					   "EndOfJob") "," OUTPUT("cont", "s3://b/cont/", "/opt/ml/processing/cont",
								  "Continuous") "]}");
	const char *one = rig_output("o0", "a", "1"), *two = rig_output("o1", "a", "2");
	rig_task_stopped("exited", 2,
			 rig_text("'outputs':[{'name':'o0','files':[{'key':'a','path':'%s'}]},{'name':'o1','files':[{'"
				  "key':'a','path':'%s'}]}],"
				  "'texts':{'algo-1':{'message':'bad','failure':'why'}}",
				  one, two));
	assert_string_equal(status("p2"), "Failed");
	assert_null(rig_object("s3://b/end/a"));
	assert_string_equal(rig_object("s3://b/cont/a"), "2");
	assert_string_equal(json_get_text(rig_processing("p2"), "FailureReason"), "AlgorithmError: why, exit code: 2");
	assert_string_equal(json_get_text(rig_processing("p2"), "ExitMessage"), "bad");
	assert_int_not_equal(access(one, F_OK), 0);
}

/* An output inside another one is part of both; two outputs of one directory get the same files. */
static void test_nested_outputs(void **state)
{
	rig_start_processing(
		"p3", "'ProcessingOutputConfig':{'Outputs':[" OUTPUT(
			      "all", "s3://b/all", "/opt/ml/processing/output",
			      "EndOfJob") "," OUTPUT("train", "s3://b/train-out", "/opt/ml/processing/output/train/",
						     "EndOfJob") "," OUTPUT("again", "s3://b/again",
									    "/opt/ml/processing/output/train",
									    "EndOfJob") "]}");
	assert_int_equal(json_array_size(json_get(rig_spec(), "outputs")), 2);
	const char *one = rig_output("o0", "top", "1"), *two = rig_output("o1", "deep", "2");
	rig_task_stopped("exited", 0,
			 rig_text("'outputs':[{'name':'o0','files':[{'key':'top','path':'%s'}]},{'name':'o1','files':[{"
				  "'key':'deep','path':'%s'}]}]",
				  one, two));
	assert_string_equal(status("p3"), "Completed");
	assert_string_equal(rig_object("s3://b/all/top"), "1");
	assert_string_equal(rig_object("s3://b/all/train/deep"), "2");
	assert_string_equal(rig_object("s3://b/train-out/deep"), "2");
	assert_string_equal(rig_object("s3://b/again/deep"), "2");
}

/* More files than one transaction takes. */
static void test_many_outputs(void **state)
{
	rig_start_processing("p4", "'ProcessingOutputConfig':{'Outputs':[" OUTPUT(
					   "o", "s3://b/lots", "/opt/ml/processing/o", "EndOfJob") "]}");
	CLEANUP_BUF struct buf files = BUF_INIT;
	for (int i = 0; i < 2500; i++) {
		const char *key = rig_text("f%04d", i);
		buf_printf(&files, "%s{'key':'%s','path':'%s'}", i ? "," : "", key, rig_output("o0", key, key));
	}
	rig_task_stopped("exited", 0, rig_text("'outputs':[{'name':'o0','files':[%s]}]", files.ptr));
	assert_string_equal(status("p4"), "Completed");
	assert_string_equal(rig_object("s3://b/lots/f0000"), "f0000");
	assert_string_equal(rig_object("s3://b/lots/f1999"), "f1999");
	assert_string_equal(rig_object("s3://b/lots/f2499"), "f2499");
}

static void test_missing_input_fails_the_job(void **state)
{
	rig_start_processing("p5", "'ProcessingInputs':[" INPUT("raw", "s3://b/nothing", "/opt/ml/processing/raw") "]");
	json_t *d = rig_processing("p5");
	assert_string_equal(json_get_text(d, "ProcessingJobStatus"), "Failed");
	assert_string_equal(json_get_text(d, "FailureReason"),
			    "ClientError: Failed to download data. No S3 objects found under S3 URL \"s3://b/nothing\" "
			    "given in input data source. "
			    "Please ensure that the bucket exists in the selected region (us-east-1), that objects "
			    "exist under that S3 prefix, and that the role "
			    "\"arn:aws:iam::123456789012:role/R\" has \"s3:ListBucket\" permissions on bucket \"b\".");
	assert_null(json_get(d, "ProcessingStartTime"));
	assert_string_equal(json_get_text(rig_ended(), "status"), "Failed");
	assert_int_equal(rig_starts(), 0);
}

static void test_default_entrypoints(void **state)
{
	rig_start_processing("e1", "");
	json_t *c = json_array_get(json_get(rig_spec(), "containers"), 0);
	assert_true(json_is_null(json_object_get(c, "entrypoint")) && json_is_null(json_object_get(c, "command")));
	rig_start_processing("e2", "'AppSpecification':{'ImageUri':'i','ContainerEntrypoint':['x']}");
	c = json_array_get(json_get(rig_spec(), "containers"), 0);
	assert_true(json_is_array(json_get(c, "command")) && json_array_size(json_get(c, "command")) == 0);
	rig_start_processing("e3", "'AppSpecification':{'ImageUri':'i','ContainerArguments':['x']},'NetworkConfig':{'"
				   "EnableNetworkIsolation':true}");
	c = json_array_get(json_get(rig_spec(), "containers"), 0);
	assert_true(json_is_null(json_object_get(c, "entrypoint")) && json_array_size(json_get(c, "command")) == 1);
	assert_string_equal(json_get_text(rig_spec(), "network"), "none");
}

#define BASE "'ProcessingJobName':'x','AppSpecification':{'ImageUri':'i'},'RoleArn':'arn:aws:iam::123456789012:role/R',"
#define CLUSTER                                                                                                        \
	"'ProcessingResources':{'ClusterConfig':{'InstanceType':'ml.m5.xlarge','InstanceCount':1,'VolumeSizeInGB':1}}"

static void test_refused(void **state)
{
	static const struct {
		const char *more, *text;
	} cases[] = {
		{ CLUSTER
		  ",'ProcessingInputs':[{'InputName':'d','DatasetDefinition':{'LocalPath':'/opt/ml/processing/d'}}]",
		  "DatasetDefinition" },
		{ CLUSTER ",'ProcessingInputs':[{'InputName':'d','S3Input':{'S3Uri':'s3://b/x','LocalPath':'/opt/ml/"
			  "processing/d','S3DataType':'S3Prefix',"
			  "'S3InputMode':'Pipe'}}]",
		  "Pipe input mode is not supported by Quern" },
		{ CLUSTER ",'ProcessingInputs':[" INPUT("d", "https://b/x", "/opt/ml/processing/d") "]",
		  "must be an S3 URI" },
		{ CLUSTER ",'ProcessingInputs':[" INPUT("d", "s3://b/x", "/etc") "]",
		  "LocalPath must begin with /opt/ml/processing/" },
		{ CLUSTER ",'ProcessingInputs':[" INPUT("d", "s3://b/x", "/opt/ml/processing/../../etc") "]",
		  "\"..\"" },
		{ CLUSTER ",'ProcessingInputs':[" INPUT("d", "s3://b/x", "/opt/ml/processing/d") "," INPUT(
			  "e", "s3://b/x", "/opt/ml/processing/d/") "]",
		  "unique LocalPath" },
		{ CLUSTER ",'ProcessingInputs':[" INPUT("d", "s3://b/x", "/opt/ml/processing/d") "," INPUT(
			  "d", "s3://b/x", "/opt/ml/processing/e") "]",
		  "unique names" },
		{ CLUSTER ",'ProcessingInputs':[" INPUT(
			  "d", "s3://b/x", "/opt/ml/processing/d") "],'ProcessingOutputConfig':{'Outputs':"
								   "[" OUTPUT("o", "s3://b/o", "/opt/ml/processing/d",
									      "EndOfJob") "]}",
		  "the same LocalPath" },
		{ CLUSTER ",'ProcessingOutputConfig':{'Outputs':[" OUTPUT("o", "s3://none/o", "/opt/ml/processing/o",
									  "EndOfJob") "]}",
		  "The bucket \"none\" of ProcessingOutput o does not exist." },
		{ CLUSTER ",'ProcessingOutputConfig':{'Outputs':[{'OutputName':'o','FeatureStoreOutput':{'"
			  "FeatureGroupName':'f'}}]}",
		  "FeatureStoreOutput" },
		{ CLUSTER ",'StoppingCondition':{'MaxRuntimeInSeconds':99999999}", "MaxRuntimeInSeconds" },
		{ "'ProcessingResources':{'ClusterConfig':{'InstanceType':'ml.nope','InstanceCount':1,'VolumeSizeInGB':"
		  "1}}",
		  "The requested resource processing-job/ml.nope is not available in this region" },
		{ "'ProcessingResources':{'ClusterConfig':{'InstanceType':'ml.m5.xlarge','InstanceCount':65,'"
		  "VolumeSizeInGB':1}}",
		  "at most 64" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *why = rig_refused("CreateProcessingJob", "{" BASE "%s}", cases[i].more);
		if (strncmp(why, "ValidationException: ", 21) != 0 || !strstr(why, cases[i].text))
			fail_msg("case %zu: %s", i, why);
	}
	assert_string_equal(rig_refused("DescribeProcessingJob", "{'ProcessingJobName':'x'}"),
			    "ValidationException: Could not find requested job with name: x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_failed_uploads_only_what_is_continuous, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_nested_outputs, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_many_outputs, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_missing_input_fails_the_job, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_default_entrypoints, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_refused, rig_setup, rig_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
