/* model_test.c - look-ups, validation texts and wrong input of the JSON, query and REST codecs. Good input is checked
 * against botocore by codec_botocore_test.py. The texts are those of AWS's front ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/json.h"
#include "wire/codec.h"

struct fixture {
	struct arena arena;
	struct error err;
};

static int setup(void **state)
{
	*state = mem_calloc(1, sizeof(struct fixture));
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	arena_release(&f->arena);
	error_release(&f->err);
	free(f);
	return 0;
}

/* Decodes a JSON call; the validation's or decoder's answer is left in f->err. NULL when refused. */
static json_t *call_json(struct fixture *f, const char *service, const char *operation, const char *body)
{
	const struct model_service *s = model_find(service);
	assert_non_null(s);
	struct codec_pair headers[] = {
		{ STR("X-Amz-Target"), str_from(arena_printf(&f->arena, "%s.%s", model_target_prefix(s), operation)) },
	};
	struct codec_request rq = {
		.method = STR("POST"), .path = STR("/"), .headers = headers, .nheaders = 1, .body = str_from(body)
	};
	const struct model_op *op = NULL;
	json_t *in = NULL;
	error_release(&f->err);
	f->err = ERROR_INIT;
	if (codec_decode(&f->arena, s, &rq, &op, &in, &f->err) < 0)
		return NULL;
	assert_string_equal(model_op_name(op), operation);
	if (model_validate(&f->arena, s, op, in, &f->err) < 0) {
		json_decref(in);
		return NULL;
	}
	return in;
}

static void refuse(struct fixture *f, const char *service, const char *operation, const char *body, const char *code,
		   const char *text)
{
	json_t *in = call_json(f, service, operation, body);
	assert_null(in);
	assert_string_equal(f->err.code, code);
	assert_string_equal(error_text(&f->err), text);
}

static void accept(struct fixture *f, const char *service, const char *operation, const char *body, const char *normal)
{
	json_t *in = call_json(f, service, operation, body);
	if (!in)
		fail_msg("%s: %s", f->err.code, error_text(&f->err));
	char *z = json_text_dup(in);
	assert_string_equal(z, normal);
	free(z);
	json_decref(in);
}

static void test_lookups(void **state)
{
	assert_null(model_find("nothing"));
	assert_null(model_at(model_count()));
	for (size_t i = 0; i < model_count(); i++) {
		const struct model_service *s = model_at(i);
		assert_ptr_equal(model_find(model_name(s)), s);
		assert_true(model_op_count(s) > 0);
		for (size_t k = 0; k < model_op_count(s); k++) {
			const char *name = model_op_name(model_op_at(s, k));
			assert_ptr_equal(model_op_find(s, str_from(name)), model_op_at(s, k));
		}
		for (uint32_t k = 0; k < s->shape_count; k++)
			assert_ptr_equal(model_shape_find(s, str_from(model_text(s, s->shapes[k].name))),
					 &s->shapes[k]);
		assert_null(model_op_find(s, STR("NoSuchOperation")));
		assert_null(model_op_find(s, STR("")));
	}
	const struct model_service *sm = model_find("sagemaker");
	assert_int_equal(model_protocol_of(sm), MODEL_JSON);
	assert_string_equal(model_target_prefix(sm), "SageMaker");
	assert_string_equal(model_signing_name(model_find("stepfunctions")), "states");
	assert_string_equal(model_op_input_name(model_op_find(sm, STR("CreatePipeline"))), "CreatePipelineRequest");
	assert_string_equal(model_error_shape(sm, "ResourceNotFound", NULL), "ResourceNotFound");
	assert_null(model_error_shape(sm, "ValidationException", NULL));
	assert_string_equal(model_error_shape(model_find("iam"), "NoSuchEntity", NULL), "NoSuchEntityException");
	int status = 0;
	assert_string_equal(model_error_shape(model_find("iam"), "NoSuchEntityException", &status),
			    "NoSuchEntityException");
	assert_int_equal(status, 404);
}

static void test_missing(void **state)
{
	refuse(*state, "sagemaker", "DescribePipeline", "{}", "ValidationException",
	       "1 validation error detected: Value null at 'pipelineName' failed to satisfy constraint: Member must "
	       "not be null");
	refuse(*state, "sagemaker", "DescribePipeline", "{\"PipelineName\":null}", "ValidationException",
	       "1 validation error detected: Value null at 'pipelineName' failed to satisfy constraint: Member must "
	       "not be null");
	refuse(*state, "secretsmanager", "TagResource", "{\"SecretId\":\"x\"}", "ValidationException",
	       "1 validation error detected: Value null at 'tags' failed to satisfy constraint: Member must not be "
	       "null");
	refuse(*state, "sagemaker", "AddTags",
	       "{\"ResourceArn\":\"arn:aws:sagemaker:r:123456789012:x/y\",\"Tags\":[{\"Key\":\"k\"}]}",
	       "ValidationException",
	       "1 validation error detected: Value null at 'tags.1.member.value' failed to satisfy constraint: Member "
	       "must not be null");
	refuse(*state, "sagemaker", "AddTags",
	       "{\"ResourceArn\":\"arn:aws:sagemaker:r:123456789012:x/"
	       "y\",\"Tags\":[{\"Key\":\"k\",\"Value\":\"\"},null]}",
	       "ValidationException",
	       "1 validation error detected: Value null at 'tags.2.member' failed to satisfy constraint: Member must "
	       "not be null");
}

static void test_limits(void **state)
{
	struct fixture *f = *state;
	refuse(f, "stepfunctions", "ListStateMachines", "{\"maxResults\":1001}", "ValidationException",
	       "1 validation error detected: Value '1001' at 'maxResults' failed to satisfy constraint: Member must "
	       "have value less than "
	       "or equal to 1000");
	refuse(f, "stepfunctions", "ListExecutions", "{\"statusFilter\":\"succeeded\"}", "ValidationException",
	       "1 validation error detected: Value 'succeeded' at 'statusFilter' failed to satisfy constraint: Member "
	       "must satisfy enum value "
	       "set: [SUCCEEDED, TIMED_OUT, PENDING_REDRIVE, ABORTED, FAILED, RUNNING]");
	char name[82];
	memset(name, 'x', 81);
	name[81] = 0;
	refuse(f, "stepfunctions", "CreateActivity", arena_printf(&f->arena, "{\"name\":\"%s\"}", name),
	       "ValidationException",
	       arena_printf(&f->arena,
			    "1 validation error detected: Value '%s' at 'name' failed to satisfy constraint: Member "
			    "must have length less than "
			    "or equal to 80",
			    name));
	refuse(f, "stepfunctions", "CreateActivity", "{\"name\":\"\"}", "ValidationException",
	       "1 validation error detected: Value '' at 'name' failed to satisfy constraint: Member must have length "
	       "greater than or equal "
	       "to 1");
	/* 80 characters of two bytes each fit in 80. */
	struct buf b = BUF_INIT;
	buf_addz(&b, "{\"name\":\"");
	for (int i = 0; i < 80; i++)
		buf_addz(&b, "é");
	buf_addz(&b, "\"}");
	json_t *in = call_json(f, "stepfunctions", "CreateActivity", b.ptr);
	assert_non_null(in);
	json_decref(in);
	buf_release(&b);
	refuse(f, "logs", "PutLogEvents", "{\"logGroupName\":\"g\",\"logStreamName\":\"s\",\"logEvents\":[]}",
	       "InvalidParameterException",
	       "1 validation error detected: Value '[]' at 'logEvents' failed to satisfy constraint: Member must have "
	       "length greater than or "
	       "equal to 1");
}

static void test_patterns(void **state)
{
	struct fixture *f = *state;
	refuse(f, "sagemaker", "DescribeTrainingJob", "{\"TrainingJobName\":\"a b\"}", "ValidationException",
	       "1 validation error detected: Value 'a b' at 'trainingJobName' failed to satisfy constraint: Member "
	       "must satisfy regular "
	       "expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}");
	/* The whole text must match: no line end is forgiven. */
	refuse(f, "sagemaker", "DescribeTrainingJob", "{\"TrainingJobName\":\"ab\\n\"}", "ValidationException",
	       "1 validation error detected: Value 'ab\n' at 'trainingJobName' failed to satisfy constraint: Member "
	       "must satisfy regular "
	       "expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}");
	/* A pattern that a backtracking matcher can spend years on ends. */
	struct buf b = BUF_INIT;
	buf_addz(&b, "{\"TrainingJobName\":\"");
	for (int i = 0; i < 62; i++)
		buf_addz(&b, "a");
	buf_addz(&b, "!\"}");
	assert_null(call_json(f, "sagemaker", "DescribeTrainingJob", b.ptr));
	buf_release(&b);
	refuse(f, "ecr", "CreateRepository", "{\"repositoryName\":\"Bad_Name!\"}", "InvalidParameterException",
	       "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression "
	       "'[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(\\/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*''");
}

static void test_several(void **state)
{
	refuse(*state, "sagemaker", "DescribeProcessingJob", "{\"ProcessingJobName\":\"\"}", "ValidationException",
	       "2 validation errors detected: Value '' at 'processingJobName' failed to satisfy constraint: Member "
	       "must have length greater "
	       "than or equal to 1; Value '' at 'processingJobName' failed to satisfy constraint: Member must satisfy "
	       "regular expression "
	       "pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}");
}

static void test_collections(void **state)
{
	/* Scalars in a list and keys of a map are reported once, with all that is asked of them. */
	refuse(*state, "events", "PutTargets",
	       "{\"Rule\":\"r\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"a\",\"InputTransformer\":{\"InputTemplate\":\"t\","
	       "\"InputPathsMap\":"
	       "{\"o que?\":\"$.x\"}}}]}",
	       "ValidationException",
	       "1 validation error detected: Value '{o que?=$.x}' at 'targets.1.member.inputTransformer.inputPathsMap' "
	       "failed to satisfy "
	       "constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 256, "
	       "Member must have length greater "
	       "than or equal to 1, Member must satisfy regular expression pattern: [A-Za-z0-9\\_\\-]+]");
	/* A structure is shown with what is not there (recorded from CloudWatch Logs and EventBridge). */
	refuse(*state, "logs", "PutMetricFilter",
	       "{\"logGroupName\":\"g\",\"filterName\":\"f\",\"filterPattern\":\"\",\"metricTransformations\":["
	       "{\"metricName\":\"a\",\"metricNamespace\":\"n\",\"metricValue\":\"1\"},"
	       "{\"metricName\":\"b\",\"metricNamespace\":\"n\",\"metricValue\":\"1\",\"unit\":\"Count\"}]}",
	       "InvalidParameterException",
	       "1 validation error detected: Value '[MetricTransformation(metricName=a, metricNamespace=n, "
	       "metricValue=1, defaultValue=null, dimensions=null, unit=null), MetricTransformation(metricName=b, "
	       "metricNamespace=n, metricValue=1, defaultValue=null, dimensions=null, unit=Count)]' at "
	       "'metricTransformations' failed to satisfy constraint: Member must have length less than or equal to "
	       "1");
	refuse(*state, "ecr", "DescribeImages", "{\"repositoryName\":\"r\",\"registryId\":\"12\"}",
	       "InvalidParameterException",
	       "Invalid parameter at 'registryId' failed to satisfy constraint: 'must satisfy regular expression "
	       "'[0-9]{12}''");
	refuse(*state, "sagemaker", "CreateTrainingJob",
	       "{\"TrainingJobName\":\"a\",\"RoleArn\":\"arn:aws:iam::123456789012:role/"
	       "r\",\"OutputDataConfig\":{\"S3OutputPath\":\"s3://b/k\"},"
	       "\"ResourceConfig\":{\"VolumeSizeInGB\":1},\"StoppingCondition\":{},\"VpcConfig\":{\"SecurityGroupIds\":"
	       "[\"a!\"],\"Subnets\":[\"s\"]}}",
	       "ValidationException",
	       "1 validation error detected: Value '[a!]' at 'vpcConfig.securityGroupIds' failed to satisfy "
	       "constraint: Member must satisfy "
	       "constraint: [Member must have length less than or equal to 32, Member must have length greater than or "
	       "equal to 0, Member must "
	       "satisfy regular expression pattern: [-0-9a-zA-Z]+]");
}

static void test_serialization(void **state)
{
	struct fixture *f = *state;
	const char *code = "SerializationException";
	refuse(f, "sagemaker", "DescribePipeline", "{\"PipelineName\":1}", code,
	       "NUMBER_VALUE can not be converted to a String");
	refuse(f, "sagemaker", "DescribePipeline", "{\"PipelineName\":true}", code,
	       "TRUE_VALUE can not be converted to a String");
	refuse(f, "sagemaker", "DescribePipeline", "{\"PipelineName\":[]}", code,
	       "Start of list found where not expected");
	refuse(f, "sagemaker", "DescribePipeline", "{\"PipelineName\":{}}", code,
	       "Start of structure or map found where not expected.");
	refuse(f, "sagemaker", "ListPipelines", "{\"MaxResults\":\"1\"}", code,
	       "STRING_VALUE can not be converted to an Integer");
	refuse(f, "sagemaker", "ListPipelines", "{\"MaxResults\":1.5}", code,
	       "NUMBER_VALUE can not be converted to an Integer");
	refuse(f, "sagemaker", "ListPipelines", "{\"MaxResults\":4294967297}", code,
	       "NUMBER_VALUE can not be converted to an Integer");
	refuse(f, "sagemaker", "ListPipelines", "{\"CreatedAfter\":\"2026-01-01T00:00:00Z\"}", code,
	       "STRING_VALUE can not be converted to milliseconds since epoch");
	refuse(f, "sagemaker", "AddTags", "{\"Tags\":\"x\"}", code, "Expected list or null");
	refuse(f, "sagemaker", "AddTags", "{\"Tags\":[\"x\"]}", code, "Expected null");
	refuse(f, "sagemaker", "AddTags", "[]", code, "Start of list found where not expected");
	refuse(f, "secretsmanager", "CreateSecret", "{\"Name\":\"x\",\"SecretBinary\":\"%%%\"}", code,
	       "The value is not valid base64");
	assert_null(call_json(f, "sagemaker", "AddTags", "{"));
	assert_string_equal(f->err.code, code);
	assert_null(call_json(f, "sagemaker", "AddTags", "{\"a\":\"\xff\"}"));
	assert_string_equal(f->err.code, code);
	assert_null(call_json(f, "sagemaker", "AddTags", "\"text\""));
	assert_string_equal(f->err.code, code);
}

static void test_normal_form(void **state)
{
	/* Nulls and unknown members go, whole reals become integers, fractions of a second stay. */
	accept(*state, "sagemaker", "ListPipelines",
	       "{\"MaxResults\":10.0,\"NextToken\":null,\"Unknown\":{\"a\":[1]},\"CreatedAfter\":1.5}",
	       "{\"MaxResults\":10,\"CreatedAfter\":1.5}");
	accept(*state, "sagemaker", "ListPipelines", "", "{}");
	accept(*state, "sagemaker", "ListPipelines", "{\"NextToken\":\"a\",\"NextToken\":\"b\"}",
	       "{\"NextToken\":\"b\"}");
}

static void test_depth(void **state)
{
	struct fixture *f = *state;
	struct buf b = BUF_INIT;
	/* SageMaker's search expressions nest. */
	buf_addz(&b, "{\"Resource\":\"TrainingJob\"");
	for (int i = 0; i < 300; i++)
		buf_addz(&b, i ? ",\"SubExpressions\":[{\"Operator\":\"And\""
			       : ",\"SearchExpression\":{\"Operator\":\"And\"");
	for (int i = 0; i < 300; i++)
		buf_addz(&b, i < 299 ? "}]" : "}");
	buf_addz(&b, "}");
	assert_null(call_json(f, "sagemaker", "Search", b.ptr));
	assert_string_equal(f->err.code, "SerializationException");
	buf_clear(&b);
	for (int i = 0; i < 100000; i++)
		buf_addz(&b, "[");
	assert_null(call_json(f, "sagemaker", "Search", b.ptr));
	assert_string_equal(f->err.code, "SerializationException");
	buf_release(&b);
}

static void test_unknown_operation(void **state)
{
	struct fixture *f = *state;
	const struct model_op *op;
	json_t *in;
	struct codec_request rq = { .method = STR("POST"), .path = STR("/") };
	assert_true(codec_decode(&f->arena, model_find("sagemaker"), &rq, &op, &in, &f->err) < 0);
	assert_string_equal(f->err.code, "UnknownOperationException");
	assert_true(codec_decode(&f->arena, model_find("sts"), &rq, &op, &in, &f->err) < 0);
	assert_string_equal(f->err.code, "MissingAction");
	rq.body = STR("Action=Nope&Version=2011-06-15");
	assert_true(codec_decode(&f->arena, model_find("sts"), &rq, &op, &in, &f->err) < 0);
	assert_string_equal(f->err.code, "InvalidAction");
	assert_string_equal(error_text(&f->err), "Could not find operation Nope for version 2011-06-15");
	rq.path = STR("/nowhere");
	assert_true(codec_decode(&f->arena, model_find("lambda"), &rq, &op, &in, &f->err) < 0);
	assert_string_equal(f->err.code, "UnknownOperationException");
	assert_int_equal(f->err.status, 404);
}

static void bad_query(struct fixture *f, const char *service, const char *form)
{
	const struct model_op *op;
	json_t *in = NULL;
	struct codec_request rq = { .method = STR("POST"), .path = STR("/"), .body = str_from(form) };
	assert_true(codec_decode(&f->arena, model_find(service), &rq, &op, &in, &f->err) < 0);
	assert_string_equal(f->err.code, "MalformedInput");
}

static void test_query_input(void **state)
{
	struct fixture *f = *state;
	bad_query(f, "sts", "Action=AssumeRole&DurationSeconds=x");
	bad_query(f, "sts", "Action=AssumeRole&DurationSeconds=99999999999");
	bad_query(f, "sts", "Action=AssumeRole&RoleArn.x=1");
	bad_query(f, "sts", "Action=AssumeRole&RoleArn=%ff");
	bad_query(f, "sts", "Action=AssumeRole&..=1");
	/* Numbers give the order; holes do not matter; a GET's arguments count too. */
	struct codec_pair query[] = { { STR("Action"), STR("AssumeRole") }, { STR("RoleArn"), STR("a+b") } };
	struct codec_request rq = { .method = STR("GET"),
				    .path = STR("/"),
				    .query = query,
				    .nquery = 2,
				    .body = STR("Tags.member.9.Key=z&Tags.member.2.Key=a%20b&Tags.member.2.Value=&"
						"Unknown=1&DurationSeconds=900") };
	const struct model_op *op;
	json_t *in = NULL;
	assert_int_equal(codec_decode(&f->arena, model_find("sts"), &rq, &op, &in, &f->err), 0);
	char *z = json_text_dup(in);
	assert_string_equal(z, "{\"RoleArn\":\"a+b\",\"DurationSeconds\":900,\"Tags\":[{\"Key\":\"a "
			       "b\",\"Value\":\"\"},{\"Key\":\"z\"}]}");
	free(z);
	assert_true(model_validate(&f->arena, model_find("sts"), op, in, &f->err) < 0);
	assert_string_equal(f->err.code, "ValidationError");
	json_decref(in);
}

static void test_xml_input(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {
		"<CreateBucketConfiguration>",
		"<a></b>",
		"text",
		"<!DOCTYPE a [<!ENTITY x \"y\">]><CreateBucketConfiguration/>",
		"<CreateBucketConfiguration>&x;</CreateBucketConfiguration>",
	};
	const struct model_op *op;
	json_t *in = NULL;
	struct codec_request rq = { .method = STR("PUT"), .path = STR("/bucket") };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rq.body = str_from(bad[i]);
		assert_true(codec_decode(&f->arena, model_find("s3"), &rq, &op, &in, &f->err) < 0);
		assert_string_equal(f->err.code, "MalformedXML");
	}
	rq.body = STR(
		"<s:CreateBucketConfiguration xmlns:s='x'><s:LocationConstraint>eu&amp;w</s:LocationConstraint><More/>"
		"</s:CreateBucketConfiguration>");
	assert_int_equal(codec_decode(&f->arena, model_find("s3"), &rq, &op, &in, &f->err), 0);
	assert_string_equal(model_op_name(op), "CreateBucket");
	assert_string_equal(json_string_value(json_get_path(in, "CreateBucketConfiguration.LocationConstraint")),
			    "eu&w");
	json_decref(in);
}

static void test_shapes(void **state)
{
	struct fixture *f = *state;
	const struct model_service *s = model_find("sagemaker");
	const char *skip[] = { "TrainingJobName", NULL };
	json_t *v = json_pack("{s:{s:i}, s:n}", "StoppingCondition", "MaxRuntimeInSeconds", 5, "HyperParameters");
	assert_true(model_validate_shape(&f->arena, s, "CreateTrainingJobRequest", v, skip, &f->err) < 0);
	assert_non_null(strstr(error_text(&f->err), "Value null at 'roleArn'"));
	assert_null(strstr(error_text(&f->err), "trainingJobName"));
	assert_null(strstr(error_text(&f->err), "hyperParameters"));
	/* Free JSON may have wrong types as well. */
	json_object_set_new(v, "RoleArn", json_integer(3));
	assert_true(model_validate_shape(&f->arena, s, "CreateTrainingJobRequest", v, skip, &f->err) < 0);
	assert_non_null(strstr(error_text(&f->err),
			       "Value '3' at 'roleArn' failed to satisfy constraint: Member must be a string"));
	assert_true(model_validate_shape(&f->arena, s, "NoSuchShape", v, NULL, &f->err) < 0);
	assert_string_equal(f->err.code, "");
	json_decref(v);
}

static void test_pipeline_definition_pattern(void **state)
{
	/* A megabyte of pretty-printed JSON passes the pattern of PipelineDefinition in reasonable time. */
	struct fixture *f = *state;
	json_t *v = json_object();
	struct buf b = BUF_INIT;
	while (b.len < 1000000)
		buf_addz(&b, "  \"key\": \"value with spaces\",\n");
	json_object_set_new(v, "PipelineName", json_string("p"));
	json_object_set_new(v, "ClientRequestToken", json_string("0123456789012345678901234567890123"));
	json_object_set_new(v, "RoleArn", json_string("arn:aws:iam::123456789012:role/r"));
	json_object_set_new(v, "PipelineDefinition", json_stringn(b.ptr, b.len));
	buf_release(&b);
	if (model_validate_shape(&f->arena, model_find("sagemaker"), "CreatePipelineRequest", v, NULL, &f->err) < 0)
		fail_msg("%.300s", error_text(&f->err));
	json_decref(v);
}

static void test_errors(void **state)
{
	struct fixture *f = *state;
	struct codec_response rs;
	error_aws(&f->err, "ResourceNotFound", "Pipeline 'x' does not exist.");
	codec_error(&f->arena, model_find("sagemaker"), &f->err, "r-1", &rs);
	assert_int_equal(rs.status, 400);
	assert_string_equal(rs.content_type, "application/x-amz-json-1.1");
	assert_true(str_eqz(rs.body, "{\"__type\":\"ResourceNotFound\",\"Message\":\"Pipeline 'x' does not exist.\"}"));
	error_release(&f->err);
	/* An internal fault says nothing of the inside. */
	error_set(&f->err, "open /secret: no");
	codec_error(&f->arena, model_find("sagemaker"), &f->err, "r-1", &rs);
	assert_int_equal(rs.status, 500);
	assert_true(str_find(rs.body, STR("secret")) < 0);
	error_release(&f->err);
	error_http(&f->err, 403, "SignatureDoesNotMatch", "no");
	codec_error(&f->arena, model_find("sts"), &f->err, "r-1", &rs);
	assert_int_equal(rs.status, 403);
	assert_true(str_find(rs.body,
			     STR("<Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>no</Message>")) > 0);
}

static void test_bad_output(void **state)
{
	/* A wrong type in an answer is a fault that names the place, never a broken body. */
	struct fixture *f = *state;
	const struct model_service *s = model_find("sagemaker");
	struct codec_response rs;
	json_t *out = json_pack("{s:[{s:[]}]}", "PipelineSummaries", "PipelineName");
	assert_true(codec_encode(&f->arena, s, model_op_find(s, STR("ListPipelines")), out, "r", &rs, &f->err) < 0);
	assert_non_null(strstr(error_text(&f->err), "PipelineSummaries: element 0: PipelineName"));
	json_decref(out);
	out = json_pack("{s:[{s:s, s:f, s:s}]}", "PipelineSummaries", "PipelineName", "a\n\"\\\x7f\x01", "CreationTime",
			1700000000.123, "No", "x");
	assert_int_equal(codec_encode(&f->arena, s, model_op_find(s, STR("ListPipelines")), out, "r", &rs, &f->err), 0);
	assert_true(str_eqz(rs.body, "{\"PipelineSummaries\":[{\"PipelineName\":\"a\\n\\\"\\\\\\u007f\\u0001\","
				     "\"CreationTime\":1700000000.123}]}"));
	json_decref(out);
}

static void test_cloudwatch_twin(void **state)
{
	struct codec_pair form[] = { { STR("Content-Type"), STR("application/x-www-form-urlencoded; charset=utf-8") } };
	struct codec_pair json[] = { { STR("Content-Type"), STR("application/x-amz-json-1.0") },
				     { STR("X-Amz-Target"), STR("G.X") } };
	struct codec_request rq = { .headers = form, .nheaders = 1, .body = STR("Action=ListMetrics") };
	const struct model_service *s = model_find("cloudwatch");
	assert_string_equal(model_name(model_variant(s, &rq)), "cloudwatch-query");
	rq.headers = json;
	rq.nheaders = 2;
	assert_ptr_equal(model_variant(s, &rq), s);
	assert_ptr_equal(model_variant(model_find("sts"), &rq), model_find("sts"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lookups, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_patterns, setup, teardown),
		cmocka_unit_test_setup_teardown(test_several, setup, teardown),
		cmocka_unit_test_setup_teardown(test_collections, setup, teardown),
		cmocka_unit_test_setup_teardown(test_serialization, setup, teardown),
		cmocka_unit_test_setup_teardown(test_normal_form, setup, teardown),
		cmocka_unit_test_setup_teardown(test_depth, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_operation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_query_input, setup, teardown),
		cmocka_unit_test_setup_teardown(test_xml_input, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shapes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipeline_definition_pattern, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_output, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cloudwatch_twin, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
