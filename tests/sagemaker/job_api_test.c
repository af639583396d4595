/* job_api_test.c - the operations on jobs: errors of training requests, lists and pages, tags, delete. */
#include "job_rig.h"

static void test_names(void **state)
{
	rig_start_training("one", "");
	assert_string_equal(rig_refused("CreateTrainingJob",
					"{'TrainingJobName':'one','AlgorithmSpecification':{'TrainingImage':'i','"
					"TrainingInputMode':'File'},"
					"'RoleArn':'r','OutputDataConfig':{'S3OutputPath':'s3://"
					"b'},'ResourceConfig':{'InstanceType':'ml.m5.large','InstanceCount':1}}"),
			    "ResourceInUse: Training job names must be unique within an AWS account and region, and a "
			    "training job with this name already exists "
			    "(arn:aws:sagemaker:us-east-1:123456789012:training-job/one)");
	assert_string_equal(rig_refused("DescribeTrainingJob", "{'TrainingJobName':'two'}"),
			    "ValidationException: Requested resource not found.");
	assert_string_equal(rig_refused("StopTrainingJob", "{'TrainingJobName':'two'}"),
			    "ValidationException: Requested resource not found.");
	assert_string_equal(
		rig_refused("DeleteTrainingJob", "{'TrainingJobName':'one'}"),
		"ResourceInUse: The request was rejected because the training job is in status InProgress.");
	rig_task_stopped("exited", 0, "");
	rig_call("DeleteTrainingJob", "{'TrainingJobName':'one'}");
	rig_refused("DescribeTrainingJob", "{'TrainingJobName':'one'}");
	rig_start_training("one", "");
	/* a processing job of the same name is another thing */
	rig_start_processing("one", "");
}

#define CHANNEL(more)                                                                                                  \
	"[{'ChannelName':'c','DataSource':{'S3DataSource':{'S3DataType':'S3Prefix','S3Uri':'s3://b/train'" more "}}}]"

static void test_refused_training(void **state)
{
	static const struct {
		const char *more, *text;
	} cases[] = {
		{ "'InputDataConfig':[{'ChannelName':'c','DataSource':{'S3DataSource':{'S3DataType':'S3Prefix','S3Uri':"
		  "'s3://b/nothing/'}}}]",
		  "No S3 objects found under S3 URL \"s3://b/nothing/\" given in input data source. Please ensure that "
		  "the bucket exists in the selected region "
		  "(us-east-1), that objects exist under that S3 prefix, and that the role \"arn:R\" has "
		  "\"s3:ListBucket\" permissions on bucket \"b\"." },
		{ "'InputDataConfig':[{'ChannelName':'c','DataSource':{'S3DataSource':{'S3DataType':'S3Prefix','S3Uri':"
		  "'s3://nobucket/x'}}}]",
		  "No S3 objects found" },
		{ "'InputDataConfig':[{'ChannelName':'c','DataSource':{'S3DataSource':{'S3DataType':'ManifestFile','"
		  "S3Uri':'s3://b/tr'}}}]",
		  "No S3 objects found" },
		{ "'InputDataConfig':[{'ChannelName':'c','InputMode':'Pipe','DataSource':{'S3DataSource':{'S3DataType':"
		  "'S3Prefix','S3Uri':'s3://b/train'}}}]",
		  "Pipe input mode is not supported by Quern" },
		{ "'AlgorithmSpecification':{'TrainingImage':'i','TrainingInputMode':'Pipe'},'InputDataConfig'"
		  ":" CHANNEL(""),
		  "Pipe input mode" },
		{ "'InputDataConfig':[{'ChannelName':'c','DataSource':{'FileSystemDataSource':{'FileSystemId':'fs-1'}}}"
		  "]",
		  "only S3DataSource" },
		{ "'InputDataConfig':[{'ChannelName':'c','DataSource':{'S3DataSource':{'S3DataType':'"
		  "AugmentedManifestFile','S3Uri':'s3://b/train'}}}]",
		  "AugmentedManifestFile can only be used with Pipe" },
		{ "'InputDataConfig':[{'ChannelName':'c','DataSource':{'S3DataSource':{'S3DataType':'S3Prefix','S3Uri':"
		  "'s3://b/train'}}},"
		  "{'ChannelName':'c','DataSource':{'S3DataSource':{'S3DataType':'S3Prefix','S3Uri':'s3://b/train'}}}]",
		  "Duplicate channel name: c" },
		{ "'OutputDataConfig':{'S3OutputPath':'s3://nobucket/x'}",
		  "The bucket \"nobucket\" of OutputDataConfig.S3OutputPath does not exist." },
		{ "'OutputDataConfig':{'S3OutputPath':'file:///x'}", "must be an S3 URI" },
		{ "'CheckpointConfig':{'S3Uri':'s3://nobucket/x'}", "CheckpointConfig.S3Uri" },
		{ "'ResourceConfig':{'InstanceType':'ml.nope','InstanceCount':1}",
		  "training-job/ml.nope is not available" },
		{ "'ResourceConfig':{'InstanceType':'ml.m5.large','InstanceCount':0}", "InstanceCount" },
		{ "'ResourceConfig':null", "ResourceConfig is missing" },
		{ "'AlgorithmSpecification':{'AlgorithmName':'x','TrainingInputMode':'File'}", "AlgorithmName" },
		{ "'AlgorithmSpecification':{'TrainingInputMode':'File'}", "TrainingImage" },
		{ "'AlgorithmSpecification':{'TrainingImage':'i','MetricDefinitions':[{'Name':'m','Regex':'('}]}",
		  "metric definition `m`" },
		{ "'ServerlessJobConfig':{}", "ServerlessJobConfig is not supported by Quern" },
		{ "'StoppingCondition':{'MaxRuntimeInSeconds':999999999}", "MaxRuntimeInSeconds" },
		{ "'StoppingCondition':{'MaxRuntimeInSeconds':60,'MaxWaitTimeInSeconds':90}",
		  "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true" },
		{ "'EnableManagedSpotTraining':true,'StoppingCondition':{'MaxRuntimeInSeconds':60,"
		  "'MaxWaitTimeInSeconds':59}",
		  "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
		  "MaxRuntimeInSeconds" },
		{ "'EnableManagedSpotTraining':true", "It must be present" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *base = "'TrainingJobName':'x','AlgorithmSpecification':{'TrainingImage':'i','"
				   "TrainingInputMode':'File'},'RoleArn':'arn:R',"
				   "'OutputDataConfig':{'S3OutputPath':'s3://"
				   "b'},'ResourceConfig':{'InstanceType':'ml.m5.large','InstanceCount':1},";
		const char *why = rig_refused("CreateTrainingJob", "{%s%s}", base, cases[i].more);
		if (strncmp(why, "ValidationException: ", 21) != 0 || !strstr(why, cases[i].text))
			fail_msg("case %zu: %s", i, why);
	}
	json_t *list = json_get(rig_call("ListTrainingJobs", "{}"), "TrainingJobSummaries");
	assert_int_equal(json_array_size(list), 0);
}

/* The names of a list, joined. */
static const char *names(const char *request)
{
	static char text[2000];
	json_t *out = rig_call("ListTrainingJobs", "%s", request), *one;
	size_t i;
	text[0] = 0;
	json_array_foreach (json_get(out, "TrainingJobSummaries"), i, one) {
		strcat(text, i ? " " : "");
		strcat(text, json_get_text(one, "TrainingJobName"));
	}
	return text;
}

static void test_lists(void **state)
{
	static const char *const order[] = { "delta", "alpha", "charlie", "bravo", "echo" };
	for (size_t i = 0; i < 5; i++) {
		rig_start_training(order[i], "");
		if (i % 2 == 0)
			rig_task_stopped("exited", (int)i / 2, "");
		rig_wait_ms(60000);
	}
	assert_string_equal(names("{}"), "echo bravo charlie alpha delta");
	assert_string_equal(names("{'SortBy':'Name'}"), "alpha bravo charlie delta echo");
	assert_string_equal(names("{'SortBy':'Name','SortOrder':'Descending'}"), "echo delta charlie bravo alpha");
	assert_string_equal(names("{'SortBy':'CreationTime','SortOrder':'Ascending'}"),
			    "delta alpha charlie bravo echo");
	assert_string_equal(names("{'SortBy':'Status'}"), "delta charlie echo alpha bravo");
	assert_string_equal(names("{'StatusEquals':'InProgress'}"), "bravo alpha");
	assert_string_equal(names("{'NameContains':'l'}"), "charlie alpha delta");
	assert_string_equal(names("{'CreationTimeAfter':1700000060}"), "echo bravo charlie alpha");
	assert_string_equal(names("{'CreationTimeBefore':1700000060}"), "alpha delta");
	static const char *const sorts[] = { "'SortBy':'Name'", "'SortBy':'Status','SortOrder':'Descending'",
					     "'SortOrder':'Ascending'", "'MaxResults':2" };
	for (size_t k = 0; k < 4; k++) {
		char whole[2000], paged[2000] = "";
		snprintf(whole, sizeof(whole), "%s",
			 names(rig_text("{%s%s}", sorts[k], k == 3 ? ",'MaxResults':100" : "")));
		const char *token = NULL;
		do {
			const char *request = token ? rig_text("{%s,'MaxResults':2,'NextToken':'%s'}", sorts[k], token)
						    : rig_text("{%s,'MaxResults':2}", sorts[k]);
			strcat(paged, *paged ? " " : "");
			strcat(paged, names(request));
			const char *next = json_get_text(rig_call("ListTrainingJobs", "%s", request), "NextToken");
			token = next ? rig_text("%s", next) : NULL;
		} while (token);
		if (k < 3)
			assert_string_equal(paged, whole);
	}
	assert_string_equal(rig_refused("ListTrainingJobs", "{'NextToken':'x'}"),
			    "ValidationException: The NextToken is not valid.");
	json_t *one = json_array_get(
		json_get(rig_call("ListTrainingJobs", "{'NameContains':'charlie'}"), "TrainingJobSummaries"), 0);
	assert_string_equal(json_get_text(one, "TrainingJobStatus"), "Failed");
	assert_non_null(json_get(one, "TrainingEndTime"));
	rig_start_processing("p", "");
	assert_int_equal(json_array_size(json_get(rig_call("ListProcessingJobs", "{}"), "ProcessingJobSummaries")), 1);
}

#define ARN "arn:aws:sagemaker:us-east-1:123456789012:training-job/t"

static void test_tags(void **state)
{
	rig_start_training("t", "'Tags':[{'Key':'a','Value':'1'},{'Key':'b','Value':'2'}]");
	json_t *list = json_get(rig_call("AddTags", "{'ResourceArn':'" ARN
						    "','Tags':[{'Key':'b','Value':'3'},{'Key':'c','Value':''}]}"),
				"Tags");
	assert_int_equal(json_array_size(list), 3);
	rig_call("DeleteTags", "{'ResourceArn':'" ARN "','TagKeys':['a','zz']}");
	list = json_get(rig_call("ListTags", "{'ResourceArn':'" ARN "'}"), "Tags");
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(json_get_text(json_array_get(list, 0), "Value"), "3");
	json_t *page = rig_call("ListTags", "{'ResourceArn':'" ARN "','MaxResults':1}");
	assert_string_equal(json_get_text(page, "NextToken"), "b");
	page = rig_call("ListTags", "{'ResourceArn':'" ARN "','MaxResults':1,'NextToken':'b'}");
	assert_string_equal(json_get_text(json_array_get(json_get(page, "Tags"), 0), "Key"), "c");
	assert_null(json_get(page, "NextToken"));
	char many[4000] = "";
	for (int i = 0; i < 50; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), "%s{'Key':'k%d','Value':''}", i ? "," : "",
			 i);
	assert_non_null(
		strstr(rig_refused("AddTags", "{'ResourceArn':'" ARN "','Tags':[%s]}", many), "at most 50 tags"));
	assert_int_equal(json_array_size(json_get(rig_call("ListTags", "{'ResourceArn':'" ARN "'}"), "Tags")), 2);
	rig_refused("ListTags", "{'ResourceArn':'arn:aws:sagemaker:us-east-1:123456789012:training-job/none'}");
	rig_refused("ListTags", "{'ResourceArn':'nonsense'}");
	rig_call("AddTags", "{'ResourceArn':'arn:aws:sagemaker:us-east-1:123456789012:pipeline/"
			    "p','Tags':[{'Key':'x','Value':'y'}]}");
	rig_task_stopped("exited", 0, "");
	rig_call("DeleteTrainingJob", "{'TrainingJobName':'t'}");
	rig_start_training("t", "");
	assert_int_equal(json_array_size(json_get(rig_call("ListTags", "{'ResourceArn':'" ARN "'}"), "Tags")), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_refused_training, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_lists, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_tags, rig_setup, rig_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
