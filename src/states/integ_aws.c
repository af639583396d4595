/* integ_aws.c - calling services: aws-sdk:<service>:<action> and the optimized integrations that are one call.
 *
 * DESIGN: the call runs as the machine's owner. Names of services as the SDK for Java has them ("sfn") are mapped to
 * models. An error becomes "<Service>.<Code>Exception" with the SDK's text. */
#include "states/integ.h"

#include <ctype.h>
#include <stdlib.h>

/* SDK name, model, how errors call it. */
static const struct sdk_service {
	const char *sdk, *model, *errors;
} services[] = {
	{ "sfn", "stepfunctions", "Sfn" },
	{ "sagemaker", "sagemaker", "SageMaker" },
	{ "sagemakerruntime", "sagemaker-runtime", "SageMakerRuntime" },
	{ "sagemakerfeaturestoreruntime", "sagemaker-featurestore-runtime", "SageMakerFeatureStoreRuntime" },
	{ "ecs", "ecs", "Ecs" },
	{ "ecr", "ecr", "Ecr" },
	{ "iam", "iam", "Iam" },
	{ "sts", "sts", "Sts" },
	{ "cloudwatchlogs", "logs", "CloudWatchLogs" },
	{ "cloudwatch", "cloudwatch", "CloudWatch" },
	{ "lambda", "lambda", "Lambda" },
	{ "sqs", "sqs", "Sqs" },
	{ "eventbridge", "events", "EventBridge" },
	{ "events", "events", "EventBridge" },
	{ "s3", "s3", "S3" },
	{ "scheduler", "scheduler", "Scheduler" },
	{ "ssm", "ssm", "Ssm" },
	{ "secretsmanager", "secretsmanager", "SecretsManager" },
	{ "applicationautoscaling", "application-autoscaling", "ApplicationAutoScaling" },
	{ "kms", "kms", "Kms" },
	{ "dynamodb", "dynamodb", "DynamoDb" },
	{ "sns", "sns", "Sns" },
};

static const struct sdk_service *service_of(const char *sdk)
{
	for (size_t i = 0; i < sizeof(services) / sizeof(*services); i++)
		if (strcmp(services[i].sdk, sdk) == 0)
			return &services[i];
	return NULL;
}

bool integ_sdk_find(struct arena *a, const char *service, const char *action, const char **model,
		    const char **operation)
{
	const struct sdk_service *s = service_of(service);
	char *op = arena_strdup(a, str_from(action));
	op[0] = (char)toupper((unsigned char)op[0]);
	*operation = op;
	*model = s ? s->model : service;
	return s != NULL;
}

static struct principal owner(struct states *s, struct arena *a)
{
	return (struct principal){ .access_key = "",
				   .account = s->o.account,
				   .user_id = "states",
				   .arn = arena_printf(a, "arn:aws:iam::%s:root", s->o.account) };
}

static int call(struct states *s, struct arena *a, const char *model, const char *operation, json_t *params,
		json_t **out, struct error *err)
{
	struct principal who = owner(s, a);
	const struct wire_internal rq = {
		.model = model, .operation = operation, .in = params, .who = &who, .region = s->o.region
	};
	if (!integ_wire)
		return error_set(err, "no server to call %s:%s", model, operation);
	return wire_call_internal(integ_wire, &rq, a, out, err);
}

void integ_json_release(void *value)
{
	json_decref(value);
}

void integ_wire_call(struct integ_request *q, const char *model, const char *operation, json_t *params,
		     wire_internal_done done)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	q->who = owner(q->s, &q->arena);
	const struct wire_internal rq = {
		.model = model, .operation = operation, .in = params, .who = &q->who, .region = q->s->o.region
	};
	if (integ_wire) {
		wire_call_internal_async(integ_wire, &rq, &q->arena, done, q);
		return;
	}
	error_set(&err, "no server to call %s:%s", model, operation);
	done(q, -1, NULL, &err);
}

static const char *with_exception(struct arena *a, const char *code)
{
	size_t n = strlen(code);
	bool has = n > 9 && strcmp(code + n - 9, "Exception") == 0;
	return arena_printf(a, "%s%s", code, has ? "" : "Exception");
}

const char *integ_request_id(struct arena *a)
{
	char id[37];
	id_uuid(id, NULL, NULL);
	return arena_strdup(a, str_from(id));
}

/* aws-sdk errors: "Sfn.InvalidTokenException", "… (Service: Sfn, Status Code: 400, Request ID: …)". */
static void sdk_error(struct arena *a, const char *service, const struct error *err, struct answer *out)
{
	const struct sdk_service *s = service_of(service);
	const char *name = s ? s->errors : service;
	const char *code = err->code[0] ? err->code : "InternalFailure";
	bool plain = strcmp(code, "ValidationException") == 0;
	out->error = plain ? arena_printf(a, "%s.%sException", name, name)
			   : arena_printf(a, "%s.%s", name, with_exception(a, code));
	out->cause = arena_printf(a, "%s (Service: %s, Status Code: %d, Request ID: %s) (SDK Attempt Count: 1)",
				  error_text(err), name, err->status ? err->status : 400, integ_request_id(a));
}

/* Optimized integrations' errors: SDK version 1's text. */
void integ_optimized_error(struct arena *a, const char *name, const char *service, const struct error *err,
			   struct answer *out)
{
	const char *code = err->code[0] ? err->code : "InternalFailure";
	out->error = arena_printf(a, "%s.%s", name, with_exception(a, code));
	out->cause = arena_printf(a, "%s (Service: %s; Status Code: %d; Error Code: %s; Request ID: %s; Proxy: null)",
				  error_text(err), service, err->status ? err->status : 400, code, integ_request_id(a));
}

/* ---- S3, which is no model-driven service inside ---- */

struct s3_put {
	struct str bucket, key, body;
};

static int put_run(struct turn *t, void *arg, struct error *err)
{
	const struct s3_put *p = arg;
	return s3_put_small(t, p->bucket, p->key, p->body, "application/octet-stream", err);
}

static int list_one(void *ctx, const struct s3_entry *e)
{
	char when[32];
	json_t *o = json_object();
	json_object_set_new(o, "Key", json_stringn(e->key.ptr, e->key.len));
	json_set_text(o, "LastModified", clock_iso(e->modified_ms, when));
	json_object_set_new(o, "ETag", json_stringn(e->etag.ptr, e->etag.len));
	json_set_int(o, "Size", e->size_bytes);
	json_set_text(o, "StorageClass", "STANDARD");
	json_array_append_new(ctx, o);
	return json_array_size(ctx) >= 1000;
}

static int s3_read_call(struct states *s, struct db *db, struct arena *a, const char *action, json_t *params,
			json_t **out, struct error *err)
{
	struct str bucket = json_get_str(params, "Bucket"), key = json_get_str(params, "Key"), text;
	if (strcmp(action, "getObject") == 0) {
		if (s3_read(s->o.s3, db, bucket, key, 16 << 20, a, &text, err) < 0)
			return -1;
		*out = json_object();
		json_object_set_new(*out, "Body", json_stringn(text.ptr, text.len));
		json_set_int(*out, "ContentLength", (int64_t)text.len);
		return 0;
	}
	if (strcmp(action, "listObjectsV2") == 0) {
		json_t *list = json_array();
		struct str prefix = json_get_str(params, "Prefix");
		if (s3_each(db, bucket, prefix.ptr ? prefix : STR(""), list_one, list, err) < 0) {
			json_decref(list);
			return -1;
		}
		*out = json_pack("{s:o,s:b,s:I}", "Contents", list, "IsTruncated", 0, "KeyCount",
				 (json_int_t)json_array_size(list));
		json_object_set(*out, "Name", json_object_get(params, "Bucket"));
		return 0;
	}
	return error_http(err, 501, "NotImplementedException",
			  "Quern does not implement s3:%s from a state machine yet.", action);
}

static void s3_call(struct states *s, struct arena *a, const char *action, json_t *params, struct answer *out)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int rc;
	if (!s->o.s3) {
		rc = error_http(&err, 501, "NotImplementedException", "This Quern has no S3.");
	} else if (strcmp(action, "putObject") == 0) {
		json_t *body = json_get(params, "Body");
		struct s3_put p = { json_get_str(params, "Bucket"), json_get_str(params, "Key"),
				    json_is_string(body) ? json_str(body) : asl_text(a, body) };
		rc = engine_call(s->o.engine, put_run, &p, &err);
		if (rc >= 0)
			out->output = json_object();
	} else {
		struct db *db = store_read_begin(engine_store(s->o.engine), &err);
		rc = db ? s3_read_call(s, db, a, action, params, &out->output, &err) : -1;
		if (db)
			store_read_end(engine_store(s->o.engine), db);
	}
	if (rc >= 0)
		return;
	out->error = arena_printf(a, "S3.%s", with_exception(a, err.code[0] ? err.code : "S3"));
	out->cause =
		arena_printf(a, "%s (Service: S3, Status Code: %d, Request ID: %s, Extended Request ID: %s)",
			     error_text(&err), err.status ? err.status : 404, integ_request_id(a), integ_request_id(a));
}

/* ---- calls ---- */

void integ_sdk_call(struct states *s, struct arena *a, const char *service, const char *action, json_t *params,
		    struct answer *out)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *model, *operation;
	if (strcmp(service, "s3") == 0) {
		s3_call(s, a, action, params, out);
		return;
	}
	integ_sdk_find(a, service, action, &model, &operation);
	if (call(s, a, model, operation, params, &out->output, &err) < 0)
		sdk_error(a, service, &err, out);
}

/* ---- jobs: SageMaker and ECS ---- */

/* How a job of a `.sync` action is named, asked for, stopped, and when it has ended. */
static const struct job {
	const char *action, *name, *describe, *stop, *status;
	const char *good, *bad; /* words between spaces */
} jobs[] = {
	{ "createTrainingJob", "TrainingJobName", "DescribeTrainingJob", "StopTrainingJob", "TrainingJobStatus",
	  "Completed", " Failed Stopped " },
	{ "createProcessingJob", "ProcessingJobName", "DescribeProcessingJob", "StopProcessingJob",
	  "ProcessingJobStatus", "Completed", " Failed Stopped " },
	{ "createTransformJob", "TransformJobName", "DescribeTransformJob", "StopTransformJob", "TransformJobStatus",
	  "Completed", " Failed Stopped " },
	{ "createHyperParameterTuningJob", "HyperParameterTuningJobName", "DescribeHyperParameterTuningJob",
	  "StopHyperParameterTuningJob", "HyperParameterTuningJobStatus", "Completed", " Failed Stopped " },
	{ "createLabelingJob", "LabelingJobName", "DescribeLabelingJob", "StopLabelingJob", "LabelingJobStatus",
	  "Completed", " Failed Stopped " },
};

static const struct job *job_of(const struct resource *r)
{
	for (size_t i = 0; strcmp(r->service, "sagemaker") == 0 && i < sizeof(jobs) / sizeof(*jobs); i++)
		if (strcmp(jobs[i].action, r->action) == 0)
			return &jobs[i];
	return NULL;
}

#define ONCE_TAG "quern:states-task"

/* After a crash a job may be created again: it is ours when it carries this attempt's tag. Then *out is what its
 * creation answered. */
static bool created_before(struct states *s, struct arena *a, const struct resource *r, const struct job *job,
			   json_t *params, json_t **out)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *in = json_object(), *ask = json_object(), *description = NULL, *tags = NULL;
	char *member = arena_strdup(a, str_from(job->name));
	size_t n = strlen(member), i;
	json_t *tag;
	memcpy(member + n - 4, "Arn", 4); /* "TrainingJobName" -> "TrainingJobArn" */
	json_object_set(in, job->name, json_object_get(params, job->name));
	if (!r->once || call(s, a, "sagemaker", job->describe, in, &description, &err) < 0)
		return false;
	const char *arn = json_get_text(description, member);
	json_set_text(ask, "ResourceArn", arn);
	if (!arn || call(s, a, "sagemaker", "ListTags", ask, &tags, &err) < 0)
		return false;
	json_array_foreach (json_object_get(tags, "Tags"), i, tag) {
		if (str_eqz(json_get_str(tag, "Key"), ONCE_TAG) && str_eqz(json_get_str(tag, "Value"), r->once)) {
			*out = json_pack("{s:s}", member, arn);
			return true;
		}
	}
	return false;
}

static void sagemaker_call(struct states *s, struct arena *a, const struct resource *r, json_t *params,
			   struct answer *out)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *in = json_copy(params);
	const struct job *job = job_of(r);
	const char *model, *operation;
	if (r->pattern == TASK_SYNC && job) {
		json_t *tags = json_object_get(in, "Tags");
		tags = json_is_array(tags) ? json_copy(tags) : json_array();
		json_array_append_new(
			tags, json_pack("{s:s,s:s}", "Key", "MANAGED_BY_AWS", "Value", "STARTED_BY_STEP_FUNCTIONS"));
		if (r->once)
			json_array_append_new(tags, json_pack("{s:s,s:s}", "Key", ONCE_TAG, "Value", r->once));
		json_object_set_new(in, "Tags", tags);
	}
	integ_sdk_find(a, "sagemaker", r->action, &model, &operation);
	int rc = call(s, a, model, operation, in, &out->output, &err);
	if (rc < 0 && r->pattern == TASK_SYNC && job && created_before(s, a, r, job, params, &out->output))
		rc = 0;
	if (rc < 0)
		integ_optimized_error(a, "SageMaker", "AmazonSageMaker", &err, out);
	else
		integ_add_metadata(a, out->output, integ_request_id(a), 200);
}

static void ecs_call(struct states *s, struct arena *a, const struct resource *r, json_t *params, struct answer *out)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *model, *operation;
	integ_sdk_find(a, "ecs", r->action, &model, &operation);
	if (call(s, a, model, operation, params, &out->output, &err) < 0) {
		integ_optimized_error(a, "ECS", "AmazonECS", &err, out);
		return;
	}
	const json_t *failures = json_get(out->output, "Failures");
	if (json_array_size(failures) && r->pattern != TASK_REQUEST) {
		out->error = "ECS.AmazonECSException";
		out->cause = asl_text(a, failures).ptr;
		json_decref(out->output);
		out->output = NULL;
		return;
	}
	integ_add_metadata(a, out->output, integ_request_id(a), 200);
}

static void one_call(struct states *s, struct arena *a, const struct resource *r, json_t *params, struct answer *out)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *model, *operation;
	integ_sdk_find(a, r->service, r->action, &model, &operation);
	if (call(s, a, model, operation, params, &out->output, &err) < 0)
		integ_optimized_error(a, r->service, r->service, &err, out);
	else
		integ_add_metadata(a, out->output, integ_request_id(a), 200);
}

/* aws-sdk: what can wait long (an activity's task, a function) does so without a thread. */
static void sdk_answered(void *arg, int rc, json_t *output, struct error *err)
{
	struct integ_request *q = arg;
	struct answer w = { .output = output };
	if (rc < 0)
		sdk_error(&q->arena, q->r.service + 8, err, &w);
	q->done(q, &w);
}

void integ_call(struct integ_request *q)
{
	const struct resource *r = &q->r;
	struct answer w = { 0 };
	if (r->kind == TASK_LAMBDA_ARN || (strcmp(r->service, "lambda") == 0 && strcmp(r->action, "invoke") == 0)) {
		integ_lambda_call(q);
		return;
	}
	if (strncmp(r->service, "aws-sdk:", 8) == 0 && strcmp(r->service + 8, "s3") != 0) {
		const char *model, *operation;
		integ_sdk_find(&q->arena, r->service + 8, r->action, &model, &operation);
		integ_wire_call(q, model, operation, q->params, sdk_answered);
		return;
	}
	if (strncmp(r->service, "aws-sdk:", 8) == 0) {
		s3_call(q->s, &q->arena, r->action, q->params, &w);
	} else if (strcmp(r->service, "sagemaker") == 0) {
		sagemaker_call(q->s, &q->arena, r, q->params, &w);
	} else if (strcmp(r->service, "ecs") == 0) {
		ecs_call(q->s, &q->arena, r, q->params, &w);
	} else if (service_of(r->service) || strcmp(r->service, "events") == 0) {
		one_call(q->s, &q->arena, r, q->params, &w);
	} else {
		w.error = "States.Runtime";
		w.cause = arena_printf(&q->arena, "Quern has no integration for '%s' yet.", r->arn);
	}
	q->done(q, &w);
}

/* ---- asking how a job is ---- */

static bool has_word(const char *words, const char *word)
{
	const char *at = strstr(words, word);
	return at && at[-1] == ' ' && at[strlen(word)] == ' ';
}

static void poll_job(struct states *s, struct arena *a, const struct job *job, json_t *params, struct answer *out)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *in = json_object();
	json_object_set(in, job->name, json_object_get(params, job->name));
	if (call(s, a, "sagemaker", job->describe, in, &out->output, &err) < 0) {
		out->done = true;
		integ_optimized_error(a, "SageMaker", "AmazonSageMaker", &err, out);
		return;
	}
	const char *status = json_get_text(out->output, job->status);
	out->done = status && (strcmp(status, job->good) == 0 || has_word(job->bad, status));
	if (out->done && strcmp(status, job->good) != 0) {
		out->error = "States.TaskFailed";
		out->cause = asl_text(a, out->output).ptr;
		json_decref(out->output);
		out->output = NULL;
	}
}

static json_t *ecs_task_in(json_t *submitted)
{
	json_t *task = json_array_get(json_object_get(submitted, "Tasks"), 0);
	json_t *in = json_object(), *arns = json_array();
	json_object_set(in, "Cluster", json_object_get(task, "ClusterArn"));
	json_array_append(arns, json_object_get(task, "TaskArn"));
	json_object_set_new(in, "Tasks", arns);
	return in;
}

static void poll_ecs(struct states *s, struct arena *a, json_t *submitted, struct answer *out)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *in = ecs_task_in(submitted), *answer = NULL;
	if (call(s, a, "ecs", "DescribeTasks", in, &answer, &err) < 0) {
		out->done = true;
		integ_optimized_error(a, "ECS", "AmazonECS", &err, out);
		return;
	}
	json_t *task = json_array_get(json_object_get(answer, "Tasks"), 0), *container;
	const char *status = json_get_text(task, "LastStatus");
	size_t i;
	bool good = true;
	out->done = !task || (status && strcmp(status, "STOPPED") == 0);
	json_array_foreach (json_object_get(task, "Containers"), i, container)
		if (json_get_int(container, "ExitCode", -1) != 0)
			good = false;
	if (out->done && (!good || !task)) {
		out->error = "States.TaskFailed";
		out->cause = task ? asl_text(a, task).ptr : "The ECS task is not known any more.";
		return;
	}
	out->output = json_incref(task);
}

void integ_poll(struct states *s, struct arena *a, const struct resource *r, json_t *params, json_t *submitted,
		struct answer *out)
{
	const struct job *job = job_of(r);
	*out = (struct answer){ 0 };
	if (job) {
		poll_job(s, a, job, params, out);
	} else if (strcmp(r->service, "ecs") == 0) {
		poll_ecs(s, a, submitted, out);
	} else {
		out->done = true;
		out->error = "States.Runtime";
		out->cause = arena_printf(a, "Quern can't wait for the end of '%s'.", r->arn);
	}
}

void integ_stop(struct states *s, struct arena *a, const struct resource *r, json_t *params, json_t *submitted)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *out = NULL, *in = json_object();
	const struct job *job = job_of(r);
	if (job) {
		json_object_set(in, job->name, json_object_get(params, job->name));
		call(s, a, "sagemaker", job->stop, in, &out, &err);
	} else if (strcmp(r->service, "ecs") == 0) {
		json_t *task = json_array_get(json_object_get(submitted, "Tasks"), 0);
		json_object_set(in, "Cluster", json_object_get(task, "ClusterArn"));
		json_object_set(in, "Task", json_object_get(task, "TaskArn"));
		json_set_text(in, "Reason", "The state machine's execution was stopped.");
		call(s, a, "ecs", "StopTask", in, &out, &err);
	}
}
