/* job_test.c - the life of processing and training jobs, on the rig of job_rig.h. */
#include "job_rig.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *status(const char *name)
{
	return json_get_text(rig_training(name), "TrainingJobStatus");
}

/* "Starting Downloading ..." of the transitions, and whether their times are in order and closed. */
static void check_transitions(const char *name, const char *expected)
{
	json_t *list = json_get(rig_training(name), "SecondaryStatusTransitions"), *one;
	char text[512] = "";
	size_t i;
	double last = 0;
	json_array_foreach (list, i, one) {
		strcat(text, i ? " " : "");
		strcat(text, json_get_text(one, "Status"));
		assert_non_null(json_get_text(one, "StatusMessage"));
		assert_true(json_get_real(one, "StartTime", 0) >= last);
		last = json_get_real(one, "StartTime", 0);
		assert_true(json_get_real(one, "EndTime", 0) >= last);
	}
	assert_string_equal(text, expected);
}

/* ---- training ---- */

static void test_training_life(void **state)
{
	rig_start_training(
		"t1",
		"'HyperParameters':{'eta':'0.1'},'Environment':{'MINE':'1','AWS_REGION':'own'},"
		"'AlgorithmSpecification':{'TrainingImage':'x/img:1','TrainingInputMode':'File','MetricDefinitions':"
		"[{'Name':'acc','Regex':'acc=([0-9.]+)'}]}");
	assert_string_equal(status("t1"), "InProgress");
	assert_int_equal(rig_starts(), 1);
	/* the contract inside the container */
	json_t *spec = rig_spec(), *c = json_array_get(json_get(spec, "containers"), 0);
	assert_string_equal(json_get_text(spec, "network"), "host");
	assert_int_equal(json_get_int(spec, "max_runtime_ms", 0), 86400000);
	assert_string_equal(json_get_text(c, "name"), "algo-1");
	assert_string_equal(json_get_text(c, "image"), "x/img:1");
	assert_true(json_is_null(json_object_get(c, "entrypoint")));
	assert_string_equal(json_string_value(json_array_get(json_get(c, "command"), 0)), "train");
	assert_true(json_get_real(c, "cpu_quota", 0) == 2);
	assert_int_equal(json_get_int(c, "memory", 0), 8ll << 30);
	assert_string_equal(rig_staged(0, "/opt/ml/input/data/train", "a.csv"), "1,2");
	assert_true(json_get_bool(rig_mount(0, "/opt/ml/input/data/train"), "writable", false));
	assert_string_equal(rig_file(0, "/opt/ml/input/config/hyperparameters.json"), "{\"eta\":\"0.1\"}");
	assert_string_equal(rig_file(0, "/opt/ml/input/config/inputdataconfig.json"),
			    "{\"train\":{\"TrainingInputMode\":\"File\",\"S3DistributionType\":\"FullyReplicated\","
			    "\"RecordWrapperType\":\"None\"}}");
	CLEANUP_JSON json_t *resources =
		json_parse(str_from(rig_file(0, "/opt/ml/input/config/resourceconfig.json")), NULL);
	assert_string_equal(json_get_text(resources, "current_host"), "algo-1");
	assert_string_equal(json_get_text(resources, "current_instance_type"), "ml.m5.large");
	assert_int_equal(json_array_size(json_get(resources, "hosts")), 1);
	assert_string_equal(rig_env(0, "TRAINING_JOB_NAME"), "t1");
	assert_string_equal(rig_env(0, "TRAINING_JOB_ARN"), "arn:aws:sagemaker:us-east-1:123456789012:training-job/t1");
	assert_string_equal(rig_env(0, "AWS_ENDPOINT_URL"), "http://127.0.0.1:4566");
	assert_string_equal(rig_env(0, "S3_ENDPOINT_URL"), "http://127.0.0.1:4566");
	assert_string_equal(rig_env(0, "AWS_ACCESS_KEY_ID"), "ASIARIG");
	assert_non_null(strstr(rig_env(0, "AWS_SESSION_TOKEN"), "token of arn:aws:iam::123456789012:role/R for"));
	assert_string_equal(rig_env(0, "OMP_WAIT_POLICY"), "passive");
	assert_string_equal(rig_env(0, "OMP_NUM_THREADS"), "2");
	assert_string_equal(rig_env(0, "MINE"), "1");
	assert_string_equal(rig_env(0, "AWS_REGION"), "own");
	assert_string_equal(json_get_text(rig_mount(0, "/opt/ml/model"), "name"), "model");
	/* it runs and prints */
	rig_task("{'type':'started','at':%lld}", (long long)rig_now_ms());
	assert_string_equal(json_get_text(rig_training("t1"), "SecondaryStatus"), "Training");
	FILE *log = fopen(json_get_text(c, "log"), "a");
	assert_non_null(log);
	fprintf(log, "%lld epoch acc=0.5\n%lld epoch acc=0.75\n", (long long)rig_now_ms(),
		(long long)rig_now_ms() + 10);
	fclose(log);
	rig_wait_ms(2400);
	const char *path = rig_output("model", "model.tar.gz", "the model");
	rig_task_stopped("exited", 0,
			 rig_text("'outputs':[{'name':'model','files':[{'key':'model.tar.gz','path':'%s','size':9}]}],"
				  "'notes':['scaled down']",
				  path));
	json_t *d = rig_training("t1");
	assert_string_equal(json_get_text(d, "TrainingJobStatus"), "Completed");
	assert_string_equal(json_get_text(json_get(d, "ModelArtifacts"), "S3ModelArtifacts"),
			    "s3://b/models/t1/output/model.tar.gz");
	assert_string_equal(rig_object("s3://b/models/t1/output/model.tar.gz"), "the model");
	json_t *metric = json_array_get(json_get(d, "FinalMetricDataList"), 0);
	assert_string_equal(json_get_text(metric, "MetricName"), "acc");
	assert_true(json_get_real(metric, "Value", 0) == 0.75);
	assert_int_equal(json_get_int(d, "TrainingTimeInSeconds", -1), 2);
	assert_int_equal(json_get_int(d, "BillableTimeInSeconds", -1), 2);
	assert_true(json_get_real(d, "TrainingEndTime", 0) > json_get_real(d, "TrainingStartTime", 0));
	assert_null(json_get(d, "FailureReason"));
	check_transitions("t1", "Starting Downloading Training Uploading Completed");
	assert_string_equal(json_get_text(rig_ended(), "status"), "Completed");
	assert_string_equal(json_get_text(rig_ended(), "kind"), "training-job");
	/* nothing is left behind */
	assert_int_not_equal(access(path, F_OK), 0);
	assert_null(rig_staged(0, "/opt/ml/input/data/train", "a.csv"));
}

static void end_with(const char *name, const char *reason, int code, const char *more)
{
	rig_task("{'type':'started','at':%lld}", (long long)rig_now_ms());
	rig_task_stopped(reason, code, more);
}

static void test_training_failures(void **state)
{
	rig_start_training("f1", "");
	end_with("f1", "exited", 3, "'texts':{'algo-1':{'failure':'ValueError: no rows\\n'}}");
	assert_string_equal(json_get_text(rig_training("f1"), "FailureReason"),
			    "AlgorithmError: ValueError: no rows, exit code: 3");
	assert_null(json_get(rig_training("f1"), "ModelArtifacts"));
	check_transitions("f1", "Starting Downloading Training Uploading Failed");
	assert_string_equal(json_get_text(rig_ended(), "reason"), "AlgorithmError: ValueError: no rows, exit code: 3");
	rig_start_training("f2", "");
	end_with("f2", "exited", 1, "");
	assert_string_equal(json_get_text(rig_training("f2"), "FailureReason"), "AlgorithmError: , exit code: 1");
	rig_start_training("f3", "");
	rig_task("{'type':'stopped','at':1,'reason':'exited','containers':[{'name':'algo-1','exit_code':null,'signal':"
		 "9,'oom':true}]}");
	assert_string_equal(json_get_text(rig_training("f3"), "FailureReason"),
			    "ClientError: Please use an instance type with more memory, or reduce the size of job data "
			    "processed on an instance.");
	rig_start_training("f4", "");
	rig_task("{'type':'stopped','at':1,'reason':'start-failed','error':'CannotPullContainerError: no image "
		 "img:1','containers':[{'name':'algo-1'}]}");
	assert_non_null(strstr(json_get_text(rig_training("f4"), "FailureReason"),
			       "ClientError: Cannot pull algorithm container. Either the image does not exist or its "
			       "permissions are incorrect. ("));
	assert_null(json_get(rig_training("f4"), "TrainingStartTime"));
	rig_start_training("f5", "");
	rig_task("{'type':'stopped','at':1,'reason':'start-failed','error':'CannotStartContainerError: exec: "
		 "\\\"train\\\": not found','containers':[]}");
	assert_non_null(
		strstr(json_get_text(rig_training("f5"), "FailureReason"), "ClientError: CannotStartContainerError."));
	rig_start_training("f6", "");
	end_with("f6", "lost", 0, "");
	assert_string_equal(json_get_text(rig_training("f6"), "FailureReason"),
			    "InternalServerError: We encountered an internal error. Please try again.");
	char text[3000] = "'texts':{'algo-1':{'failure':'";
	for (int i = 0; i < 700; i++)
		strcat(text, "\xc3\xa9");
	strcat(text, "'}}");
	rig_start_training("f7", "");
	end_with("f7", "exited", 12, text);
	const char *reason = json_get_text(rig_training("f7"), "FailureReason");
	assert_true(strlen(reason) <= 1024 && strlen(reason) > 1015);
	assert_string_equal(reason + strlen(reason) - 15, ", exit code: 12");
}

static void test_stop(void **state)
{
	rig_start_training("s1", "");
	rig_task("{'type':'started','at':%lld}", (long long)rig_now_ms());
	rig_call("StopTrainingJob", "{'TrainingJobName':'s1'}");
	assert_string_equal(status("s1"), "Stopping");
	assert_string_equal(rig_stopped_task(), json_get_text(rig_spec(), "id"));
	assert_string_equal(
		rig_refused("StopTrainingJob", "{'TrainingJobName':'s1'}"),
		"ValidationException: The request was rejected because the training job is in status Stopping.");
	const char *path = rig_output("model", "model.tar.gz", "half a model");
	rig_task_stopped("stop", 143,
			 rig_text("'outputs':[{'name':'model','files':[{'key':'model.tar.gz','path':'%s'}]}]", path));
	assert_string_equal(status("s1"), "Stopped");
	assert_string_equal(rig_object("s3://b/models/s1/output/model.tar.gz"), "half a model");
	check_transitions("s1", "Starting Downloading Training Stopping Uploading Stopped");
	assert_string_equal(
		rig_refused("StopTrainingJob", "{'TrainingJobName':'s1'}"),
		"ValidationException: The request was rejected because the training job is in status Stopped.");
	assert_string_equal(json_get_text(rig_ended(), "status"), "Stopped");
	/* max runtime */
	rig_start_training("s2", "'StoppingCondition':{'MaxRuntimeInSeconds':5}");
	assert_int_equal(json_get_int(rig_spec(), "max_runtime_ms", 0), 5000);
	end_with("s2", "timeout", 137, "");
	json_t *d = rig_training("s2");
	assert_string_equal(json_get_text(d, "TrainingJobStatus"), "Stopped");
	assert_string_equal(json_get_text(d, "SecondaryStatus"), "MaxRuntimeExceeded");
	assert_non_null(json_get(d, "ModelArtifacts"));
	check_transitions("s2", "Starting Downloading Training Uploading MaxRuntimeExceeded");
}

static void test_executor_away(void **state)
{
	rig_break_start(3, "", "no executor");
	rig_start_training("a1", "");
	assert_int_equal(rig_starts(), 1);
	rig_wait_ms(60000);
	assert_int_equal(rig_starts(), 4);
	end_with("a1", "exited", 0, "");
	assert_string_equal(status("a1"), "Completed");
	/* stopped while waiting */
	rig_break_start(100, "", "no executor");
	rig_start_training("a2", "");
	rig_call("StopTrainingJob", "{'TrainingJobName':'a2'}");
	assert_string_equal(status("a2"), "Stopped");
	/* for ever */
	rig_start_training("a3", "");
	rig_wait_ms(3600 * 1000);
	assert_string_equal(json_get_text(rig_training("a3"), "FailureReason"),
			    "InternalServerError: We encountered an internal error. Please try again.");
	/* a spec that the executor refuses is the user's */
	rig_break_start(1, "ValidationException", "bad target");
	rig_start_training("a4", "");
	assert_string_equal(json_get_text(rig_training("a4"), "FailureReason"), "ClientError: bad target");
}

/* The executor took the task, but its answer was lost. */
static void test_answer_lost(void **state)
{
	rig_break_start(1, "taken", "connection reset");
	rig_start_training("l1", "");
	end_with("l1", "exited", 0, "");
	assert_string_equal(status("l1"), "Completed");
	rig_wait_ms(60000);
	assert_int_equal(rig_starts(), 1);
	rig_break_start(1, "taken", "connection reset");
	rig_start_training("l2", "");
	rig_task("{'type':'started','at':%lld}", (long long)rig_now_ms());
	rig_wait_ms(60000);
	assert_int_equal(rig_starts(), 2);
	assert_string_equal(json_get_text(rig_training("l2"), "SecondaryStatus"), "Training");
	rig_task_stopped("exited", 0, "");
	assert_string_equal(status("l2"), "Completed");
	/* a stop reaches a task that may be there */
	rig_break_start(1, "taken", "connection reset");
	rig_start_training("l3", "");
	rig_call("StopTrainingJob", "{'TrainingJobName':'l3'}");
	assert_string_equal(status("l3"), "Stopped");
	assert_string_equal(rig_stopped_task(), json_get_text(rig_spec(), "id"));
}

static void test_crashes(void **state)
{
	rig_start_training("c1", "");
	rig_crash();
	rig_task("{'type':'started','at':%lld}", (long long)rig_now_ms());
	rig_crash();
	assert_string_equal(json_get_text(rig_training("c1"), "SecondaryStatus"), "Training");
	const char *path = rig_output("model", "model.tar.gz", "m");
	rig_task_stopped("exited", 0,
			 rig_text("'outputs':[{'name':'model','files':[{'key':'model.tar.gz','path':'%s'}]}]", path));
	rig_crash();
	assert_string_equal(status("c1"), "Completed");
	rig_task_stopped("exited", 1, ""); /* told again: too late to matter */
	assert_string_equal(status("c1"), "Completed");
}

static void test_retry_strategy(void **state)
{
	rig_start_training("r1", "'RetryStrategy':{'MaximumRetryAttempts':1}");
	const char *first = json_get_text(rig_spec(), "id");
	char id[200];
	snprintf(id, sizeof(id), "%s", first);
	end_with("r1", "lost", 0, "");
	assert_string_equal(status("r1"), "InProgress");
	assert_string_not_equal(json_get_text(rig_spec(), "id"), id);
	end_with("r1", "lost", 0, "");
	assert_string_equal(status("r1"), "Failed");
}

static void test_uploads_that_fail(void **state)
{
	rig_start_training("u1", "");
	const char *path = rig_output("model", "model.tar.gz", "m");
	rig_break_prepare(1);
	rig_task_stopped("exited", 0,
			 rig_text("'outputs':[{'name':'model','files':[{'key':'model.tar.gz','path':'%s'}]}]", path));
	assert_string_equal(json_get_text(rig_training("u1"), "FailureReason"),
			    "ClientError: Artifact upload failed: the disk is full");
	rig_bucket("gone");
	rig_start_training("u2", "'OutputDataConfig':{'S3OutputPath':'s3://gone'}");
	path = rig_output("model", "model.tar.gz", "m");
	rig_call("AddTags", "{'ResourceArn':'arn:aws:sagemaker:us-east-1:123456789012:training-job/u2','Tags':[]}");
	rig_forget_bucket("gone");
	rig_task_stopped("exited", 0,
			 rig_text("'outputs':[{'name':'model','files':[{'key':'model.tar.gz','path':'%s'}]}]", path));
	assert_non_null(strstr(json_get_text(rig_training("u2"), "FailureReason"),
			       "ClientError: Artifact upload failed: The specified bucket does not exist"));
}

static void test_uncompressed_model_and_checkpoints(void **state)
{
	rig_put("s3://b/ckpt/epoch-1", "one");
	rig_put("s3://b/ckpt-other/x", "not mine");
	rig_start_training("k1", "'OutputDataConfig':{'S3OutputPath':'s3://"
				 "b','CompressionType':'NONE'},'CheckpointConfig':{'S3Uri':'s3://b/ckpt'}");
	json_t *m = rig_mount(0, "/opt/ml/checkpoints");
	assert_string_equal(json_get_text(m, "type"), "scratch");
	char file[4200];
	struct stat st;
	snprintf(file, sizeof(file), "%s/epoch-1", json_get_text(m, "seed"));
	assert_int_equal(stat(file, &st), 0);
	snprintf(file, sizeof(file), "%s/x", json_get_text(m, "seed"));
	assert_int_not_equal(stat(file, &st), 0);
	assert_string_equal(rig_file(0, "/opt/ml/input/config/checkpointconfig.json"),
			    "{\"S3Uri\":\"s3://b/ckpt\",\"LocalPath\":\"/opt/ml/checkpoints\"}");
	const char *model = rig_output("model", "sub/w.bin", "weights"),
		   *data = rig_output("output", "log.txt", "text");
	const char *epoch = rig_output("checkpoints", "epoch-2", "two");
	rig_task_stopped("exited", 1,
			 rig_text("'outputs':[{'name':'model','files':[{'key':'sub/"
				  "w.bin','path':'%s'}]},{'name':'output','files':[{'key':'log.txt','path':'%s'}]},"
				  "{'name':'checkpoints','files':[{'key':'epoch-2','path':'%s'}]}]",
				  model, data, epoch));
	assert_string_equal(status("k1"), "Failed");
	assert_null(rig_object("s3://b/k1/output/model/sub/w.bin"));
	assert_string_equal(rig_object("s3://b/k1/output/data/log.txt"), "text");
	assert_string_equal(rig_object("s3://b/ckpt/epoch-2"), "two");
	rig_start_training("k2", "'OutputDataConfig':{'S3OutputPath':'s3://b','CompressionType':'NONE'}");
	model = rig_output("model", "sub/w.bin", "weights");
	rig_task_stopped("exited", 0,
			 rig_text("'outputs':[{'name':'model','files':[{'key':'sub/w.bin','path':'%s'}]}]", model));
	assert_string_equal(rig_object("s3://b/k2/output/model/sub/w.bin"), "weights");
	assert_string_equal(json_get_text(json_get(rig_training("k2"), "ModelArtifacts"), "S3ModelArtifacts"),
			    "s3://b/k2/output/model/");
}

static void test_several_hosts(void **state)
{
	for (int i = 0; i < 5; i++)
		rig_put(rig_text("s3://b/many/%d.csv", i), "x");
	rig_start_training("h1",
			   "'ResourceConfig':{'InstanceType':'ml.m5.large','InstanceCount':12,'VolumeSizeInGB':1},"
			   "'InputDataConfig':[{'ChannelName':'train','DataSource':{'S3DataSource':{'S3DataType':'"
			   "S3Prefix','S3Uri':'s3://b/many/',"
			   "'S3DataDistributionType':'ShardedByS3Key'}}},{'ChannelName':'all','InputMode':'FastFile','"
			   "DataSource':{'S3DataSource':"
			   "{'S3DataType':'S3Prefix','S3Uri':'s3://b/many/'}}}]");
	json_t *spec = rig_spec();
	assert_string_equal(json_get_text(spec, "network"), "private");
	assert_int_equal(json_array_size(json_get(spec, "containers")), 12);
	assert_string_equal(rig_env(3, "AWS_ENDPOINT_URL"), "http://169.254.170.2:4566");
	CLEANUP_JSON json_t *resources =
		json_parse(str_from(rig_file(11, "/opt/ml/input/config/resourceconfig.json")), NULL);
	assert_string_equal(json_get_text(resources, "current_host"), "algo-12");
	assert_string_equal(json_string_value(json_array_get(json_get(resources, "hosts"), 1)),
			    "algo-10"); /* sorted as text */
	/* every object is on exactly one host, and all of them in the replicated channel */
	for (int i = 0; i < 5; i++) {
		int n = 0;
		char name[16];
		snprintf(name, sizeof(name), "%d.csv", i);
		for (size_t h = 0; h < 12; h++) {
			n += rig_staged(h, "/opt/ml/input/data/train", name) != NULL;
			assert_non_null(rig_staged(h, "/opt/ml/input/data/all", name));
		}
		assert_int_equal(n, 1);
	}
	assert_false(json_get_bool(rig_mount(0, "/opt/ml/input/data/all"), "writable", true));
	rig_task("{'type':'stopped','at':1,'reason':'exited','containers':[{'name':'algo-1','exit_code':null,'signal':"
		 "15,'finished_at':20},"
		 "{'name':'algo-2','exit_code':7,'finished_at':10}],'texts':{'algo-1':{'failure':''},'algo-2':{'"
		 "failure':'mine'}}}");
	assert_string_equal(json_get_text(rig_training("h1"), "FailureReason"), "AlgorithmError: mine, exit code: 7");
	/* groups */
	rig_start_training(
		"h2", "'ResourceConfig':{'InstanceGroups':[{'InstanceType':'ml.m5.large','InstanceCount':1,'"
		      "InstanceGroupName':'a'},"
		      "{'InstanceType':'ml.c5.xlarge','InstanceCount':2,'InstanceGroupName':'b'}],'VolumeSizeInGB':1},"
		      "'InputDataConfig':[{'ChannelName':'train','DataSource':{'S3DataSource':{'S3DataType':'S3Prefix',"
		      "'S3Uri':'s3://b/many/',"
		      "'InstanceGroupNames':['b']}}}]");
	assert_null(rig_mount(0, "/opt/ml/input/data/train"));
	assert_non_null(rig_mount(2, "/opt/ml/input/data/train"));
	assert_true(json_get_real(json_array_get(json_get(rig_spec(), "containers"), 2), "cpu_quota", 0) == 4);
}

static void test_isolation_and_entrypoint(void **state)
{
	rig_start_training("i1", "'EnableNetworkIsolation':true,'AlgorithmSpecification':{'TrainingImage':'img:1','"
				 "TrainingInputMode':'File',"
				 "'ContainerEntrypoint':['/bin/bash','run.sh'],'ContainerArguments':['a','b']}");
	json_t *c = json_array_get(json_get(rig_spec(), "containers"), 0);
	assert_string_equal(json_get_text(rig_spec(), "network"), "none");
	assert_null(rig_env(0, "AWS_ACCESS_KEY_ID"));
	assert_null(rig_env(0, "AWS_ENDPOINT_URL"));
	assert_int_equal(json_array_size(json_get(c, "entrypoint")), 2);
	assert_string_equal(json_string_value(json_array_get(json_get(c, "command"), 1)), "b");
	rig_start_training("i2", "'AlgorithmSpecification':{'TrainingImage':'img:1','TrainingInputMode':'File','"
				 "ContainerEntrypoint':['/x']}");
	c = json_array_get(json_get(rig_spec(), "containers"), 0);
	assert_int_equal(json_array_size(json_get(c, "command")), 0);
	assert_true(json_is_array(json_get(c, "command")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_training_life, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_training_failures, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_stop, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_executor_away, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_answer_lost, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_crashes, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_retry_strategy, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_uploads_that_fail, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_uncompressed_model_and_checkpoints, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_several_hosts, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_isolation_and_entrypoint, rig_setup, rig_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
