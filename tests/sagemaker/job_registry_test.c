/* job_registry_test.c - models, model package groups, model packages and Search, on the rig of jobs. */
#include "job_rig.h"

#define PREFIX "arn:aws:sagemaker:us-east-1:123456789012:"
#define CONTAINER "{'Image':'i:1','ModelDataUrl':'s3://b/train/a.csv'}"

static void test_models(void **state)
{
	json_t *out = rig_call("CreateModel", "{'ModelName':'m','ExecutionRoleArn':'r','PrimaryContainer':" CONTAINER
					      ",'Tags':[{'Key':'k','Value':'v'}]}");
	assert_string_equal(json_get_text(out, "ModelArn"), PREFIX "model/m");
	assert_string_equal(rig_refused("CreateModel", "{'ModelName':'m','PrimaryContainer':" CONTAINER "}"),
			    "ValidationException: Cannot create already existing model \"" PREFIX "model/m\".");
	json_t *d = rig_call("DescribeModel", "{'ModelName':'m'}");
	assert_string_equal(json_get_text(json_get(d, "PrimaryContainer"), "Image"), "i:1");
	assert_string_equal(json_get_text(d, "ExecutionRoleArn"), "r");
	assert_null(json_get(d, "Tags"));
	assert_int_equal(json_array_size(json_get(rig_call("ListTags", "{'ResourceArn':'" PREFIX "model/m'}"), "Tags")),
			 1);
	assert_int_equal(json_array_size(json_get(rig_call("ListModels", "{}"), "Models")), 1);
	rig_call("DeleteModel", "{'ModelName':'m'}");
	assert_string_equal(rig_refused("DeleteModel", "{'ModelName':'m'}"),
			    "ValidationException: Could not find model \"" PREFIX "model/m\".");
	assert_string_equal(rig_refused("DescribeModel", "{'ModelName':'m'}"),
			    "ValidationException: Could not find model \"" PREFIX "model/m\".");
}

static void test_models_refused(void **state)
{
	static const struct {
		const char *more, *text;
	} cases[] = {
		{ "'x':1", "must have a PrimaryContainer or Containers" },
		{ "'PrimaryContainer':" CONTAINER ",'Containers':[" CONTAINER "]", "not both" },
		{ "'PrimaryContainer':{}", "must have an Image or a ModelPackageName" },
		{ "'Containers':[" CONTAINER ",{'Image':'i','ModelDataUrl':'s3://b/none.tar.gz'}]",
		  "Could not find model data at s3://b/none.tar.gz." },
		{ "'PrimaryContainer':{'Image':'i','ModelDataUrl':'s3://b/train'}",
		  "Could not find model data at s3://b/train." },
		{ "'PrimaryContainer':{'Image':'i','ModelDataSource':{'S3DataSource':{'S3Uri':'s3://b/nothing/"
		  "','S3DataType':'S3Prefix'}}}",
		  "Could not find model data at s3://b/nothing/." },
		{ "'PrimaryContainer':{'ModelPackageName':'" PREFIX "model-package/g/9'}",
		  "ModelPackage " PREFIX "model-package/g/9 does not exist." },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *why = rig_refused("CreateModel", "{'ModelName':'x',%s}", cases[i].more);
		if (strncmp(why, "ValidationException: ", 21) != 0 || !strstr(why, cases[i].text))
			fail_msg("case %zu: %s", i, why);
	}
	rig_call("CreateModel", "{'ModelName':'prefix','PrimaryContainer':{'Image':'i','ModelDataSource':{'"
				"S3DataSource':{'S3Uri':'s3://b/train/',"
				"'S3DataType':'S3Prefix'}}}}");
	rig_call("CreateModel", "{'ModelName':'multi','PrimaryContainer':{'Image':'i','Mode':'MultiModel','"
				"ModelDataUrl':'s3://b/later/'}}");
}

static const char *list(const char *operation, const char *member, const char *key, const char *request)
{
	static char text[2000];
	json_t *one, *out = rig_call(operation, "%s", request);
	size_t i;
	text[0] = 0;
	json_array_foreach (json_get(out, member), i, one)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
			 json_get_text(one, key));
	return text;
}

static const char *models(const char *request)
{
	return list("ListModels", "Models", "ModelName", request);
}

static void test_model_lists(void **state)
{
	static const char *const names[] = { "delta", "alpha", "charlie", "bravo" };
	for (size_t i = 0; i < 4; i++) {
		rig_call("CreateModel", "{'ModelName':'%s','PrimaryContainer':" CONTAINER "}", names[i]);
		rig_wait_ms(1000);
	}
	assert_string_equal(models("{}"), "bravo charlie alpha delta");
	assert_string_equal(models("{'SortBy':'Name'}"), "alpha bravo charlie delta");
	assert_string_equal(models("{'SortBy':'Name','SortOrder':'Descending','NameContains':'a'}"),
			    "delta charlie bravo alpha");
	assert_string_equal(models("{'NameContains':'l'}"), "charlie alpha delta");
	assert_string_equal(models("{'CreationTimeAfter':1700000002}"), "bravo charlie");
	static const char *const sorts[] = { "'SortBy':'Name'", "'SortOrder':'Ascending'",
					     "'SortBy':'Name','SortOrder':'Descending'" };
	static const char *const whole[] = { "alpha bravo charlie delta", "delta alpha charlie bravo",
					     "delta charlie bravo alpha" };
	for (size_t k = 0; k < 3; k++) {
		char paged[500] = "";
		const char *token = NULL;
		do {
			const char *request = token ? rig_text("{%s,'MaxResults':1,'NextToken':'%s'}", sorts[k], token)
						    : rig_text("{%s,'MaxResults':1}", sorts[k]);
			strcat(paged, *paged ? " " : "");
			strcat(paged, models(request));
			const char *next = json_get_text(rig_call("ListModels", "%s", request), "NextToken");
			token = next ? rig_text("%s", next) : NULL;
		} while (token);
		assert_string_equal(paged, whole[k]);
	}
	rig_refused("ListModels", "{'NextToken':'x'}");
}

static const char *register_version(const char *group, const char *more)
{
	json_t *out =
		rig_call("CreateModelPackage",
			 "{'ModelPackageGroupName':'%s','InferenceSpecification':{'Containers':[" CONTAINER "]}%s}",
			 group, more);
	return rig_text("%s", json_get_text(out, "ModelPackageArn"));
}

static void test_packages(void **state)
{
	assert_string_equal(rig_refused("CreateModelPackage", "{'ModelPackageGroupName':'G'}"),
			    "ValidationException: ModelPackageGroup " PREFIX "model-package-group/G does not exist.");
	json_t *out =
		rig_call("CreateModelPackageGroup", "{'ModelPackageGroupName':'G','ModelPackageGroupDescription':'d'}");
	assert_string_equal(json_get_text(out, "ModelPackageGroupArn"), PREFIX "model-package-group/G");
	assert_string_equal(rig_refused("CreateModelPackageGroup", "{'ModelPackageGroupName':'G'}"),
			    "ValidationException: Model Package Group already exists: " PREFIX "model-package-group/G");
	assert_string_equal(register_version("G", ""), PREFIX "model-package/G/1");
	assert_string_equal(register_version(PREFIX "model-package-group/G",
					     ",'ModelApprovalStatus':'Approved','ClientToken':'t1',"
					     "'CustomerMetadataProperties':{'a':'1'}"),
			    PREFIX "model-package/G/2");
	assert_string_equal(register_version("G", ",'ClientToken':'t1'"),
			    PREFIX "model-package/G/2"); /* a repeated request */
	assert_string_equal(register_version("G", ""), PREFIX "model-package/G/3");
	json_t *d = rig_call("DescribeModelPackage", "{'ModelPackageName':'" PREFIX "model-package/G/1'}");
	assert_string_equal(json_get_text(d, "ModelPackageGroupName"), "G");
	assert_int_equal(json_get_int(d, "ModelPackageVersion", 0), 1);
	assert_string_equal(json_get_text(d, "ModelPackageStatus"), "Completed");
	assert_string_equal(json_get_text(d, "ModelApprovalStatus"), "PendingManualApproval");
	assert_int_equal(json_array_size(json_get_path(d, "InferenceSpecification.Containers")), 1);
	rig_call("UpdateModelPackage",
		 "{'ModelPackageArn':'" PREFIX
		 "model-package/G/1','ModelApprovalStatus':'Approved','ApprovalDescription':'fine'}");
	rig_call("UpdateModelPackage",
		 "{'ModelPackageArn':'" PREFIX "model-package/G/2','CustomerMetadataProperties':{'b':'2'},"
		 "'CustomerMetadataPropertiesToRemove':['a'],'AdditionalInferenceSpecificationsToAdd':[{'Name':'n','"
		 "Containers':[]}]}");
	d = rig_call("DescribeModelPackage", "{'ModelPackageName':'" PREFIX "model-package/G/2'}");
	assert_int_equal(json_object_size(json_get(d, "CustomerMetadataProperties")), 1);
	assert_int_equal(json_array_size(json_get(d, "AdditionalInferenceSpecifications")), 1);
	assert_non_null(json_get(d, "LastModifiedTime"));
	d = rig_call("DescribeModelPackage", "{'ModelPackageName':'" PREFIX "model-package/G/1'}");
	assert_string_equal(json_get_text(d, "ApprovalDescription"), "fine");
	const char *all = "ListModelPackages", *member = "ModelPackageSummaryList", *key = "ModelPackageArn";
	assert_string_equal(
		list(all, member, key, "{'ModelPackageGroupName':'G','SortBy':'CreationTime','SortOrder':'Ascending'}"),
		PREFIX "model-package/G/1 " PREFIX "model-package/G/2 " PREFIX "model-package/G/3");
	assert_string_equal(list(all, member, key, "{'ModelPackageGroupName':'G','ModelApprovalStatus':'Approved'}"),
			    PREFIX "model-package/G/2 " PREFIX "model-package/G/1");
	assert_string_equal(list(all, member, key, "{}"), "");
	rig_call("CreateModelPackage", "{'ModelPackageName':'alone'}");
	assert_string_equal(list(all, member, key, "{}"), PREFIX "model-package/alone");
	assert_string_equal(list(all, member, key, "{'ModelPackageType':'Both','MaxResults':2}"),
			    PREFIX "model-package/alone " PREFIX "model-package/G/3");
	rig_refused("ListModelPackages", "{'ModelPackageGroupName':'none'}");
	assert_non_null(strstr(rig_refused("CreateModelPackage", "{'ModelPackageName':'alone'}"), "ConflictException"));
	assert_non_null(
		strstr(rig_refused("DeleteModelPackageGroup", "{'ModelPackageGroupName':'G'}"), "ConflictException"));
	out = rig_call("BatchDescribeModelPackage",
		       "{'ModelPackageArnList':['" PREFIX "model-package/G/1','" PREFIX "model-package/G/9']}");
	assert_int_equal(json_object_size(json_get(out, "ModelPackageSummaries")), 1);
	assert_int_equal(json_object_size(json_get(out, "BatchDescribeModelPackageErrorMap")), 1);
	/* versions only grow */
	for (int v = 1; v <= 3; v++)
		rig_call("DeleteModelPackage", "{'ModelPackageName':'" PREFIX "model-package/G/%d'}", v);
	assert_string_equal(rig_refused("DescribeModelPackage", "{'ModelPackageName':'" PREFIX "model-package/G/1'}"),
			    "ValidationException: ModelPackage " PREFIX "model-package/G/1 does not exist.");
	assert_string_equal(register_version("G", ""), PREFIX "model-package/G/4");
	rig_call("DeleteModelPackage", "{'ModelPackageName':'" PREFIX "model-package/G/4'}");
	rig_call("DeleteModelPackageGroup", "{'ModelPackageGroupName':'G'}");
	assert_string_equal(rig_refused("DescribeModelPackageGroup", "{'ModelPackageGroupName':'G'}"),
			    "ValidationException: ModelPackageGroup " PREFIX "model-package-group/G does not exist.");
}

static size_t hits(const char *request)
{
	return json_array_size(json_get(rig_call("Search", "%s", request), "Results"));
}

static void test_search(void **state)
{
	rig_call("CreateModelPackageGroup", "{'ModelPackageGroupName':'one','Tags':[{'Key':'team','Value':'x'}]}");
	rig_wait_ms(1000);
	rig_call("CreateModelPackageGroup", "{'ModelPackageGroupName':'two'}");
	register_version("two", ",'ModelApprovalStatus':'Approved','CustomerMetadataProperties':{'k':'v'}");
	register_version("two", "");
	assert_int_equal(hits("{'Resource':'ModelPackageGroup'}"), 2);
	assert_int_equal(hits("{'Resource':'ModelPackageGroup','SearchExpression':{'Filters':[{'Name':'"
			      "ModelPackageGroupName','Operator':'Equals','Value':'one'}]}}"),
			 1);
	assert_int_equal(hits("{'Resource':'ModelPackageGroup','SearchExpression':{'Filters':[{'Name':'"
			      "ModelPackageGroupName','Value':'three'}]}}"),
			 0);
	assert_int_equal(hits("{'Resource':'ModelPackageGroup','SearchExpression':{'NestedFilters':[{'"
			      "NestedPropertyName':'Tags','Filters':["
			      "{'Name':'Tags.Key','Value':'team'},{'Name':'Tags.Value','Value':'x'}]}]}}"),
			 1);
	assert_int_equal(hits("{'Resource':'ModelPackage','SearchExpression':{'Filters':[{'Name':'ModelPackageVersion',"
			      "'Operator':'GreaterThan','Value':'1'}]}}"),
			 1);
	assert_int_equal(hits("{'Resource':'ModelPackage','SearchExpression':{'Operator':'Or','Filters':[{'Name':'"
			      "ModelPackageVersion','Operator':'LessThan','Value':'1'},"
			      "{'Name':'ModelApprovalStatus','Operator':'In','Value':'Rejected, Approved'}]}}"),
			 1);
	assert_int_equal(hits("{'Resource':'ModelPackage','SearchExpression':{'SubExpressions':[{'Filters':[{'Name':'"
			      "CustomerMetadataProperties.k','Operator':'Exists'}]},"
			      "{'Filters':[{'Name':'ModelPackageArn','Operator':'Contains','Value':'/two/'}]}]}}"),
			 1);
	assert_int_equal(hits("{'Resource':'ModelPackage','SearchExpression':{'Filters':[{'Name':'CreationTime','"
			      "Operator':'GreaterThan','Value':'2023-11-14T22:13:20Z'}]}}"),
			 2);
	json_t *out = rig_call("Search", "{'Resource':'ModelPackageGroup','MaxResults':1}");
	assert_string_equal(json_get_text(json_get(json_array_get(json_get(out, "Results"), 0), "ModelPackageGroup"),
					  "ModelPackageGroupName"),
			    "two");
	out = rig_call("Search", "{'Resource':'ModelPackageGroup','MaxResults':1,'NextToken':'%s'}",
		       rig_text("%s", json_get_text(out, "NextToken")));
	assert_string_equal(json_get_text(json_get(json_array_get(json_get(out, "Results"), 0), "ModelPackageGroup"),
					  "ModelPackageGroupName"),
			    "one");
	assert_null(json_get(out, "NextToken"));
	rig_start_training("t", "");
	assert_int_equal(hits("{'Resource':'TrainingJob','SearchExpression':{'Filters':[{'Name':'"
			      "AlgorithmSpecification.TrainingImage','Value':'img:1'}]}}"),
			 1);
	assert_string_equal(rig_refused("Search", "{'Resource':'Endpoint'}"),
			    "ValidationException: Search of resource Endpoint is not supported by Quern.");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_models, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_models_refused, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_model_lists, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_packages, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_search, rig_setup, rig_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
