/* pipeline_api_test.c - pipelines, versions, lists, idempotency, refusals. */
#include "pipeline_rig.h"
#include "pipeline_steps.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

#define ROLE "'RoleArn':'arn:aws:iam::123456789012:role/R'"
#define EMPTY "'PipelineDefinition':'{\\u0022Version\\u0022:\\u00222020-12-01\\u0022,\\u0022Steps\\u0022:[]}'"
#define ARN "arn:aws:sagemaker:us-east-1:123456789012:pipeline/"

static void test_create_describe_delete(void **state)
{
	(void)state;
	json_t *out = rig_call("CreatePipeline",
			       "{'PipelineName':'My-Pipe'," ROLE "," EMPTY
			       "," TOK("aaaa") ",'PipelineDescription':'d','ParallelismConfiguration':{"
					       "'MaxParallelExecutionSteps':50},'Tags':[{'Key':'k','Value':'v'}]}");
	assert_string_equal(json_get_text(out, "PipelineArn"), ARN "My-Pipe");
	out = rig_call("DescribePipeline", "{'PipelineName':'my-pipe'}"); /* looked up whatever the case */
	assert_string_equal(json_get_text(out, "PipelineName"), "My-Pipe");
	assert_string_equal(json_get_text(out, "PipelineDisplayName"), "My-Pipe");
	assert_string_equal(json_get_text(out, "PipelineDefinition"), "{\"Version\":\"2020-12-01\",\"Steps\":[]}");
	assert_string_equal(json_get_text(out, "PipelineStatus"), "Active");
	assert_int_equal(json_get_int(json_get(out, "ParallelismConfiguration"), "MaxParallelExecutionSteps", 0), 50);
	assert_true(json_get_real(out, "CreationTime", 0) == rig_now_ms() / 1000.0);
	assert_null(json_get(out, "LastRunTime"));
	rig_call("DescribePipeline", "{'PipelineName':'" ARN "My-Pipe'}");
	assert_contains(rig_refused("DescribePipeline",
				    "{'PipelineName':'arn:aws:sagemaker:eu-west-1:123456789012:pipeline/My-Pipe'}"),
			"ResourceNotFound");
	assert_contains(rig_refused("CreatePipeline", "{'PipelineName':'MY-PIPE'," ROLE "," EMPTY "," TOK("bbbb") "}"),
			"ValidationException: Pipeline names must be unique within an AWS account and region. Pipeline "
			"with name (MY-PIPE) already exists.");
	rig_call("DeletePipeline", "{'PipelineName':'My-Pipe'," TOK("cccc") "}");
	rig_call("DeletePipeline", "{'PipelineName':'My-Pipe'," TOK("cccc") "}"); /* the same request again */
	assert_contains(rig_refused("DeletePipeline", "{'PipelineName':'My-Pipe'," TOK("dddd") "}"),
			"ResourceNotFound: Pipeline '" ARN "My-Pipe' does not exist.");
	assert_contains(rig_refused("DescribePipeline", "{'PipelineName':'My-Pipe'}"), "ResourceNotFound");
}

static void test_create_is_idempotent(void **state)
{
	(void)state;
	const char *request = "{'PipelineName':'Q'," ROLE "," EMPTY "," TOK("same") "%s}";
	rig_call("CreatePipeline", request, "");
	assert_string_equal(json_get_text(rig_call("CreatePipeline", request, ""), "PipelineArn"), ARN "Q");
	assert_contains(rig_refused("CreatePipeline", request, ",'PipelineDescription':'x'"),
			"ClientRequestToken was already used");
	assert_int_equal(json_array_size(json_get(rig_call("ListPipelineVersions", "{'PipelineName':'Q'}"),
						  "PipelineVersionSummaries")),
			 1);
	/* a day later the token is free again */
	rig_wait_ms(86400001);
	assert_contains(rig_refused("CreatePipeline", request, ""), "already exists");
}

static void test_start_is_idempotent(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", ""));
	const char *request = "{'PipelineName':'P'," TOK("same") "}";
	char arn[256];
	snprintf(arn, sizeof arn, "%s",
		 json_get_text(rig_call("StartPipelineExecution", request, 0), "PipelineExecutionArn"));
	assert_string_equal(json_get_text(rig_call("StartPipelineExecution", request, 0), "PipelineExecutionArn"), arn);
	assert_int_equal(rig_jobs_created(), 1);
	assert_contains(rig_refused("StartPipelineExecution",
				    "{'PipelineName':'P','PipelineExecutionDescription':'x'," TOK("same") "}"),
			"already used");
}

static void test_bad_definitions_change_nothing(void **state)
{
	(void)state;
	static const char *const bad[][2] = {
		{ "{'Version':'2020-12-01','Steps':[{'Name':'a','Type':'Processing','Arguments':{},'DependsOn':['b']},"
		  "{'Name':'b','Type':'Processing','Arguments':{},'DependsOn':['a']}]}",
		  "form a cycle: a -> b -> a" },
		{ "{'Version':'2020-12-01','Steps':[{'Name':'a','Type':'Processing','Arguments':{'x':{'Get':'Steps.zz."
		  "y'}}}]}",
		  "step 'zz'" },
		{ "{'Version':'2020-12-01','Steps':[{'Name':'a','Type':'Processing','Arguments':{'x':{'Get':'"
		  "Parameters.zz'}}}]}",
		  "parameter 'zz'" },
		{ "{'Version':'2020-12-01','Steps':[{'Name':'"
		  "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg','Type':'Fail'}]}",
		  "1 to 64 characters" },
		{ "{'Version':'2020-12-01','Steps':[{'Name':'t','Type':'Tuning','Arguments':{}}]}",
		  "'Tuning', which is not supported yet" },
		{ "not json", "Unable to parse pipeline definition. It is not JSON" },
	};
	rig_pipeline("", "");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct buf text = BUF_INIT;
		for (const char *p = bad[i][0]; *p; p++)
			buf_addz(&text, *p == '\'' ? "\\u0022" : (char[]){ *p, 0 });
		const char *why = rig_refused(
			"CreatePipeline", "{'PipelineName':'Bad'," ROLE ",'PipelineDefinition':'%s'," TOK("aaaa") "}",
			text.ptr);
		assert_contains(why, "ValidationException");
		assert_contains(why, bad[i][1]);
		assert_contains(
			rig_refused("UpdatePipeline", "{'PipelineName':'P','PipelineDefinition':'%s'}", text.ptr),
			bad[i][1]);
		buf_release(&text);
	}
	assert_contains(rig_refused("DescribePipeline", "{'PipelineName':'Bad'}"), "ResourceNotFound");
	assert_int_equal(json_array_size(json_get(rig_call("ListPipelineVersions", "{'PipelineName':'P'}"),
						  "PipelineVersionSummaries")),
			 1);
	assert_contains(rig_refused("CreatePipeline", "{'PipelineName':'Bad'," ROLE "," TOK("aaaa") "}"),
			"must be given");
	assert_contains(
		rig_refused("CreatePipeline",
			    "{'PipelineName':'Bad'," ROLE "," EMPTY
			    ",'PipelineDefinitionS3Location':{'Bucket':'bkt','ObjectKey':'k'}," TOK("aaaa") "}"),
		"not both");
}

static void test_definition_from_s3(void **state)
{
	(void)state;
	const char *request = "{'PipelineName':'Q'," ROLE
			      ",'PipelineDefinitionS3Location':{'Bucket':'bkt','ObjectKey':'a/b'}," TOK("aaaa") "}";
	assert_contains(rig_refused("CreatePipeline", request, 0),
			"Unable to read the pipeline definition from s3://bkt/a/b: NoSuchKey");
	rig_put("s3://bkt/a/b", "{\"Version\":\"2020-12-01\" , \"Steps\":[]}");
	rig_call("CreatePipeline", request, 0);
	assert_string_equal(json_get_text(rig_call("DescribePipeline", "{'PipelineName':'Q'}"), "PipelineDefinition"),
			    "{\"Version\":\"2020-12-01\" , \"Steps\":[]}");
	rig_break_s3(1);
	assert_contains(
		rig_refused("UpdatePipeline",
			    "{'PipelineName':'Q','PipelineDefinitionS3Location':{'Bucket':'bkt','ObjectKey':'a/b'}}"),
		"fire");
}

static void test_versions(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", ""));
	const char *v1 = rig_start("");
	rig_wait_ms(1000);
	json_t *out = rig_call("UpdatePipeline", "{'PipelineName':'P'," EMPTY ",'PipelineDescription':'new'}");
	assert_int_equal(json_get_int(out, "PipelineVersionId", 0), 2);
	out = rig_call("ListPipelineVersions", "{'PipelineName':'P'}");
	const json_t *list = json_get(out, "PipelineVersionSummaries");
	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(json_get_int(json_array_get(list, 0), "PipelineVersionId", 0), 2); /* newest first */
	assert_string_equal(json_get_text(json_array_get(list, 1), "LastExecutionPipelineExecutionArn"), v1);
	assert_contains(json_get_text(rig_call("DescribePipeline", "{'PipelineName':'P','PipelineVersionId':1}"),
				      "PipelineDefinition"),
			"Processing");
	assert_contains(json_get_text(rig_call("DescribePipeline", "{'PipelineName':'P'}"), "PipelineDefinition"),
			"\"Steps\":[]");
	assert_contains(rig_refused("DescribePipeline", "{'PipelineName':'P','PipelineVersionId':3}"),
			"ResourceNotFound");
	/* the running execution keeps its definition; a new one can take the old version */
	rig_finish();
	assert_string_equal(rig_steps(v1), "a:Succeeded");
	const char *again = rig_start("'PipelineVersionId':1");
	assert_string_equal(rig_steps(again), "a:Executing");
	assert_string_equal(rig_steps(rig_start("")), "");
	rig_call("UpdatePipelineVersion",
		 "{'PipelineArn':'" ARN "P','PipelineVersionId':1,'PipelineVersionDisplayName':'one',"
		 "'PipelineVersionAliasOperations':{'Add':['prod','old']}}");
	out = rig_call("DescribePipeline", "{'PipelineName':'P','PipelineVersionAlias':'prod'}");
	assert_string_equal(json_get_text(out, "PipelineVersionDisplayName"), "one");
	assert_int_equal(json_array_size(json_get(out, "PipelineVersionAliases")), 2);
	rig_call("UpdatePipeline",
		 "{'PipelineName':'P','PipelineVersionAliases':['prod']}"); /* moves the alias; keeps the definition */
	assert_contains(
		json_get_text(rig_call("DescribePipeline", "{'PipelineName':'P','PipelineVersionAlias':'prod'}"),
			      "PipelineDefinition"),
		"\"Steps\":[]");
	rig_call("UpdatePipelineVersion",
		 "{'PipelineArn':'" ARN
		 "P','PipelineVersionId':3,'PipelineVersionAliasOperations':{'Remove':['prod']}}");
	assert_contains(rig_refused("StartPipelineExecution",
				    "{'PipelineName':'P','PipelineVersionAlias':'prod'," TOK("zzzz") "}"),
			"ResourceNotFound");
}

static void test_delete_refuses_while_running(void **state)
{
	(void)state;
	rig_pipeline("", PROC("a", ""));
	const char *arn = rig_start("");
	assert_contains(rig_refused("DeletePipeline", "{'PipelineName':'P'," TOK("aaaa") "}"), "ConflictException");
	rig_finish();
	rig_call("DeletePipeline", "{'PipelineName':'P'," TOK("aaaa") "}");
	assert_contains(rig_refused("DescribePipelineExecution", "{'PipelineExecutionArn':'%s'}", arn),
			"ResourceNotFound");
	/* the name is free, and nothing of the old one shines through */
	rig_pipeline("", "");
	assert_int_equal(json_array_size(json_get(rig_call("ListPipelineExecutions", "{'PipelineName':'P'}"),
						  "PipelineExecutionSummaries")),
			 0);
}

static void test_start_parameters(void **state)
{
	(void)state;
	rig_pipeline("{'Name':'N','Type':'Integer','DefaultValue':1},{'Name':'F','Type':'Float','DefaultValue':3},{'"
		     "Name':'S','Type':'String'}",
		     "");
	const char *start = "{'PipelineName':'P'," TOK("aaaa") ",'PipelineParameters':[%s]}";
	assert_contains(rig_refused("StartPipelineExecution", start, ""),
			"ValidationException: Parameter 'S' is undefined.");
	assert_contains(rig_refused("StartPipelineExecution", start, "{'Name':'Q','Value':'1'}"),
			"Unknown parameter 'Q'");
	assert_contains(rig_refused("StartPipelineExecution", start, "{'Name':'N','Value':'x'}"),
			"Unexpected type for parameter 'N'");
	assert_contains(rig_refused("StartPipelineExecution", "{'PipelineName':'None'," TOK("aaaa") "}"),
			"ResourceNotFound");
	const char *arn = rig_start("'PipelineParameters':[{'Name':'S','Value':'t'}]");
	CLEANUP_JSON json_t *all =
		json_incref(rig_call("ListPipelineParametersForExecution", "{'PipelineExecutionArn':'%s'}", arn));
	CLEANUP_FREE char *text = json_text_dup(json_get(all, "PipelineParameters"));
	assert_string_equal(text, "[{\"Name\":\"S\",\"Value\":\"t\"},{\"Name\":\"N\",\"Value\":\"1\"},{\"Name\":\"F\","
				  "\"Value\":\"3.0\"}]");
	json_t *page =
		rig_call("ListPipelineParametersForExecution", "{'PipelineExecutionArn':'%s','MaxResults':2}", arn);
	assert_int_equal(json_array_size(json_get(page, "PipelineParameters")), 2);
	page = rig_call("ListPipelineParametersForExecution",
			"{'PipelineExecutionArn':'%s','MaxResults':2,'NextToken':'%s'}", arn,
			json_get_text(page, "NextToken"));
	assert_string_equal(json_get_text(json_array_get(json_get(page, "PipelineParameters"), 0), "Name"), "F");
	assert_null(json_get(page, "NextToken"));
}

/* Follows the pages of a list and joins the names. */
static void assert_pages(const char *operation, const char *list, const char *member, const char *request,
			 const char *want)
{
	struct buf got = BUF_INIT;
	char next[400] = "";
	for (int pages = 0; pages < 20; pages++) {
		json_t *out = rig_call(operation, "{'MaxResults':2%s%s}", request, next);
		size_t i;
		json_t *item;
		assert_true(json_array_size(json_get(out, list)) <= 2);
		json_array_foreach (json_get(out, list), i, item) {
			const char *name = json_get_text(item, member), *slash = strrchr(name, '/');
			buf_printf(&got, "%s ", slash ? slash + 1 : name);
		}
		if (!json_get(out, "NextToken"))
			break;
		snprintf(next, sizeof next, ",'NextToken':'%s'", json_get_text(out, "NextToken"));
	}
	assert_string_equal(got.ptr ? got.ptr : "", want);
	buf_release(&got);
}

static void test_list_pipelines(void **state)
{
	(void)state;
	static const char *const names[] = { "ab", "c", "ad", "aa", "b" };
	for (int i = 0; i < 5; i++) {
		rig_call("CreatePipeline", "{'PipelineName':'%s'," ROLE "," EMPTY "," TOK("%s") "}", names[i],
			 (const char *[]){ "aaaa", "bbbb", "cccc", "dddd", "eeee" }[i]);
		if (i != 2)
			rig_wait_ms(1000); /* two at the same time */
	}
#define PIPES(request, want) assert_pages("ListPipelines", "PipelineSummaries", "PipelineName", request, want)
	PIPES("", "b ad aa c ab ");
	PIPES(",'SortOrder':'Ascending'", "ab c aa ad b ");
	PIPES(",'SortBy':'Name','SortOrder':'Ascending'", "aa ab ad b c ");
	PIPES(",'SortBy':'Name'", "c b ad ab aa ");
	PIPES(",'PipelineNamePrefix':'A','SortBy':'Name'", "ad ab aa ");
	PIPES(",'CreatedAfter':1700000000.5,'SortOrder':'Ascending'", "c aa ad b ");
	PIPES(",'CreatedAfter':1700000000.5,'CreatedBefore':1700000001.5", "c ");
	PIPES(",'ManagedBy':'AWS'", "");
	assert_contains(rig_refused("ListPipelines", "{'NextToken':'nonsense'}"), "NextToken is not valid");
	json_t *out = rig_call("ListPipelines", "{'MaxResults':1}");
	char token[300];
	snprintf(token, sizeof token, "%s", json_get_text(out, "NextToken"));
	assert_contains(rig_refused("ListPipelines", "{'NextToken':'%s','SortBy':'Name'}", token),
			"NextToken is not valid");
	assert_contains(rig_refused("ListPipelines", "{'NextToken':'%s','SortOrder':'Ascending'}", token),
			"NextToken is not valid");
}

static void test_list_executions_and_steps(void **state)
{
	(void)state;
	char want[200], reverse[200], request[300];
	const char *arn[5];
	rig_pipeline("", PROC("a", "") "," PROC("b", "") "," PROC("c", "") "," PROC("d", "") "," PROC("e", ""));
	for (int i = 0; i < 5; i++) {
		arn[i] = rig_start("");
		rig_finish();
		rig_wait_ms(1000);
	}
#define ID(i) strrchr(arn[i], '/') + 1
	snprintf(want, sizeof want, "%s %s %s %s %s ", ID(4), ID(3), ID(2), ID(1), ID(0));
	snprintf(reverse, sizeof reverse, "%s %s %s %s %s ", ID(0), ID(1), ID(2), ID(3), ID(4));
#define EXECUTIONS(request, want)                                                                                      \
	assert_pages("ListPipelineExecutions", "PipelineExecutionSummaries", "PipelineExecutionArn",                   \
		     ",'PipelineName':'P'" request, want)
	EXECUTIONS("", want);
	EXECUTIONS(",'SortOrder':'Ascending','SortBy':'CreationTime'", reverse);
	snprintf(want, sizeof want, "%s %s ", ID(4), ID(3));
	EXECUTIONS(",'CreatedAfter':1700000002.5", want);
	json_t *out = rig_call("ListPipelineExecutions",
			       "{'PipelineName':'P','SortBy':'PipelineExecutionArn','SortOrder':'Ascending'}");
	size_t i;
	json_t *item;
	const char *last = "";
	json_array_foreach (json_get(out, "PipelineExecutionSummaries"), i, item) {
		assert_true(strcmp(last, json_get_text(item, "PipelineExecutionArn")) < 0);
		last = json_get_text(item, "PipelineExecutionArn");
	}
	assert_int_equal(i, 5);
	snprintf(request, sizeof request, ",'PipelineExecutionArn':'%s'", arn[0]);
	assert_pages("ListPipelineExecutionSteps", "PipelineExecutionSteps", "StepName", request, "e d c b a ");
	snprintf(request, sizeof request, ",'PipelineExecutionArn':'%s','SortOrder':'Ascending'", arn[0]);
	assert_pages("ListPipelineExecutionSteps", "PipelineExecutionSteps", "StepName", request, "a b c d e ");
	assert_contains(rig_refused("ListPipelineExecutionSteps", "{}"), "ResourceNotFound");
}

/* ---- the real SDK's definitions, stored as they came ---- */

static char *read_file(const char *path)
{
	FILE *f = fopen(path, "r");
	struct buf b = BUF_INIT;
	char piece[4096];
	size_t n;
	assert_non_null(f);
	while ((n = fread(piece, 1, sizeof piece, f)) > 0)
		buf_add(&b, piece, n);
	fclose(f);
	return buf_detach(&b);
}

static void test_golden_definitions_are_stored_unchanged(void **state)
{
	(void)state;
	static const char *const accepted[] = { "CustomPrefixExperiment", "FrameworkProcessor",
						"NoExperiment",           "NotebookJob",
						"ProcessingTraining",     "ScriptModeTraining",
						"StepDecorator" };
	const char *reference = getenv("QUERN_REFERENCE");
	char path[1024];
	for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
		snprintf(path, sizeof path, "%s/golden/%s.json", reference ? reference : "", accepted[i]);
		FILE *f = fopen(path, "r");
		if (!f) {
			print_message("skipped: the SDK's definitions (QUERN_REFERENCE) are not here\n");
			skip();
		}
		fclose(f);
		CLEANUP_FREE char *text = read_file(path);
		snprintf(path, sizeof path, "s3://bkt/%s", accepted[i]);
		rig_put(path, text);
		rig_call("CreatePipeline",
			 "{'PipelineName':'%s'," ROLE
			 ",'PipelineDefinitionS3Location':{'Bucket':'bkt','ObjectKey':'%s'}," TOK("%04d") "}",
			 accepted[i], accepted[i], (int)i);
		assert_string_equal(json_get_text(rig_call("DescribePipeline", "{'PipelineName':'%s'}", accepted[i]),
						  "PipelineDefinition"),
				    text);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_create_describe_delete),
		T(test_create_is_idempotent),
		T(test_start_is_idempotent),
		T(test_bad_definitions_change_nothing),
		T(test_definition_from_s3),
		T(test_versions),
		T(test_delete_refuses_while_running),
		T(test_start_parameters),
		T(test_list_pipelines),
		T(test_list_executions_and_steps),
		T(test_golden_definitions_are_stored_unchanged),
	};
	return cmocka_run_group_tests_name("pipeline_api", tests, NULL, NULL);
}
