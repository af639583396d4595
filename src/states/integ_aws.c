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

/* ---- what is known of the calls ---- */

static bool is_sdk(const struct resource *r)
{
	return r->kind == TASK_SERVICE && strncmp(r->service, "aws-sdk:", 8) == 0;
}

/* The model's operation of an aws-sdk call; false for other calls, and for services that Quern does not know. */
static bool sdk_operation(struct arena *a, const struct resource *r, const char **model, const char **operation)
{
	return is_sdk(r) && integ_sdk_find(a, r->service + 8, r->action, model, operation);
}

static bool call_exists(struct arena *a, const char *arn)
{
	struct resource r;
	const char *model, *operation;
	return !resource_parse(a, arn, &r) || !sdk_operation(a, &r, &model, &operation) ||
	       wire_has_operation(model, operation);
}

/* `template`: the key "Name.$" is Name, and one with "${" may be any. */
static const char *stranger(struct arena *a, const struct resource *r, const json_t *params, bool template)
{
	const char *model, *operation, *key;
	json_t *value;
	if (!sdk_operation(a, r, &model, &operation) || !wire_has_operation(model, operation))
		return NULL;
	json_object_foreach ((json_t *)params, key, value) {
		const struct str k = str_from(key);
		const bool path = template && str_ends(k, STR(".$"));
		const char *name = arena_strdup(a, path ? str_head(k, k.len - 2) : k);
		if (!(template && strstr(key, "${")) && !wire_has_input(model, operation, name))
			return name;
	}
	return NULL;
}

const char *integ_sdk_stranger(struct arena *a, const struct resource *r, const json_t *params)
{
	return stranger(a, r, params, false);
}

static const char *call_stranger(struct arena *a, const char *arn, const json_t *params)
{
	struct resource r;
	return resource_parse(a, arn, &r) ? stranger(a, &r, params, true) : NULL;
}

const struct asl_calls integ_calls = { call_exists, call_stranger };

/* ---- the caller ---- */

static int of_role(struct integ_request *q, struct db *db, struct error *err)
{
	struct iam *i = q->s->o.iam;
	if (q->through && iam_role_principal(i, db, &q->arena, q->through, q->session, &q->who, err) < 0)
		return -1;
	if (q->through && iam_may_assume(i, db, &q->arena, &q->who, q->role, err) < 0) {
		if (!error_is(err, "AccessDenied"))
			return -1;
		error_release(err);
		return error_aws(err, INTEG_REFUSED_ROLE,
				 "The role %s is not authorized to assume the task state's role, %s.", q->through,
				 q->role);
	}
	return iam_role_principal(i, db, &q->arena, q->role, q->session, &q->who, err);
}

int integ_caller(struct integ_request *q, struct error *err)
{
	struct store *store = engine_store(q->s->o.engine);
	if (!q->role || !q->s->o.iam) {
		q->who = (struct principal){ .access_key = "",
					     .account = q->s->o.account,
					     .user_id = "states",
					     .arn = arena_printf(&q->arena, "arn:aws:iam::%s:root", q->s->o.account),
					     .unrestricted = true };
		return 0;
	}
	if (q->t)
		return of_role(q, turn_db(q->t), err);
	struct db *db = store_read_begin(store, err);
	if (!db)
		return -1;
	int rc = of_role(q, db, err);
	store_read_end(store, db);
	return rc;
}

enum { SESSION_NAME_MAX = 64 };

void integ_set_role(struct integ_request *q, const struct exec *x, const struct frame *f)
{
	const char *other = json_get_text(f->task, "role");
	q->role = other ? other : x->role;
	q->through = other ? x->role : NULL;
	q->session = arena_strdup(&q->arena, str_head(str_from(x->name ? x->name : "states"), SESSION_NAME_MAX));
}

static enum wire_spelling spelling_of(const struct resource *r)
{
	if (r->kind != TASK_SERVICE || is_sdk(r))
		return WIRE_SDK2;
	return strcmp(r->service, "ecs") == 0 ? WIRE_SDK1_LISTS : WIRE_SDK1;
}

int integ_service_call(struct integ_request *q, const char *model, const char *operation, json_t *params, json_t **out,
		       struct error *err)
{
	const struct wire_internal rq = { .model = model,
					  .operation = operation,
					  .in = params,
					  .who = &q->who,
					  .region = q->s->o.region,
					  .spelling = spelling_of(&q->r) };
	if (integ_caller(q, err) < 0)
		return -1;
	if (!integ_wire)
		return error_set(err, "no server to call %s:%s", model, operation);
	return q->t ? wire_call_in_turn(integ_wire, &rq, q->t, &q->arena, out, err)
		    : wire_call_internal(integ_wire, &rq, &q->arena, out, err);
}

void integ_json_release(void *value)
{
	json_decref(value);
}

static int commit(void *arg, struct turn *t, json_t *out, struct error *err)
{
	struct integ_request *q = arg;
	return q->commit(q, t, out, err);
}

void integ_wire_call(struct integ_request *q, const char *model, const char *operation, json_t *params,
		     wire_internal_done done)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const struct wire_internal rq = { .model = model,
					  .operation = operation,
					  .in = params,
					  .who = &q->who,
					  .region = q->s->o.region,
					  .commit = q->commit ? commit : NULL };
	if (integ_caller(q, &err) < 0) {
		done(q, -1, NULL, &err);
		return;
	}
	if (integ_wire) {
		wire_call_internal_async(integ_wire, &rq, &q->arena, done, q);
		return;
	}
	error_set(&err, "no server to call %s:%s", model, operation);
	done(q, -1, NULL, &err);
}

const char *integ_exception(struct arena *a, const char *code)
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

/* The class that the SDK for Java makes of an error shape: words in capitals become words, "KMSDisabledException" is
 * KmsDisabledException. */
static const char *java_class(struct arena *a, const char *shape)
{
	const char *name = integ_exception(a, shape);
	char *out = arena_strdup(a, str_from(name));
	for (size_t i = 1; name[i]; i++)
		if (isupper((unsigned char)name[i - 1]) && !islower((unsigned char)name[i + 1]))
			out[i] = (char)tolower((unsigned char)name[i]);
	return out;
}

/* The SDK has a class for what the service's model declares; all else is the service's own. What Quern has not is told
 * by name. */
static const char *sdk_exception(struct arena *a, const char *service, const char *name, const struct error *err)
{
	const struct sdk_service *s = service_of(service);
	const char *code = err->code[0] ? err->code : "InternalFailure";
	const char *shape = s ? wire_error_shape(s->model, code, NULL) : NULL;
	const bool denied = strncmp(code, "AccessDenied", 12) == 0 && strcmp(name, "Ecs") != 0 &&
			    strcmp(name, "CloudWatchLogs") != 0; /* of the others only a few newer operations know it */
	if (err->status == 501 || strcmp(code, "UnknownOperationException") == 0)
		return integ_exception(a, code);
	return denied || !shape ? arena_printf(a, "%sException", name) : java_class(a, shape);
}

bool integ_role_error(struct arena *a, const struct error *err, struct answer *out)
{
	if (!error_is(err, INTEG_REFUSED_ROLE))
		return false;
	out->error = INTEG_REFUSED_ROLE;
	out->cause = arena_strdup(a, str_from(error_text(err)));
	return true;
}

/* aws-sdk errors: "Sfn.InvalidTokenException", "… (Service: Sfn, Status Code: 400, Request ID: …)". */
static void sdk_error(struct arena *a, const char *service, const struct error *err, struct answer *out)
{
	const struct sdk_service *s = service_of(service);
	const char *name = s ? s->errors : service;
	int status = err->status ? err->status : err->code[0] ? 400 : 500;
	if (s && err->status == 0)
		wire_error_shape(s->model, err->code, &status);
	if (integ_role_error(a, err, out))
		return;
	out->refused = true;
	out->error = arena_printf(a, "%s.%s", name, sdk_exception(a, service, name, err));
	out->cause = arena_printf(a, "%s (Service: %s, Status Code: %d, Request ID: %s) (SDK Attempt Count: 1)",
				  error_text(err), name, status, integ_request_id(a));
}

/* An exception that the SDK of these services does not know is of the service's base class
 * ("Lambda.AWSLambdaException", awslabs/aws-deployment-framework issue 460; recorded on AWS for the ValidationException
 * of DynamoDB). */
static const char *exception_of(struct arena *a, const char *service, const char *code)
{
	bool denied = strcmp(code, "AccessDeniedException") == 0 && strcmp(service, "AmazonECS") != 0;
	if (denied || strcmp(code, "ValidationException") == 0)
		return arena_printf(a, "%sException", service);
	return integ_exception(a, code);
}

/* Optimized integrations' errors: SDK version 1's text. */
void integ_optimized_error(struct arena *a, const char *name, const char *service, const struct error *err,
			   struct answer *out)
{
	const char *code = err->code[0] ? err->code : "InternalFailure";
	if (integ_role_error(a, err, out))
		return;
	out->refused = true;
	out->error = arena_printf(a, "%s.%s", name, exception_of(a, service, code));
	out->cause = arena_printf(a, "%s (Service: %s; Status Code: %d; Error Code: %s; Request ID: %s; Proxy: null)",
				  error_text(err), service, err->status ? err->status : 400, code, integ_request_id(a));
}

/* ---- S3, functions ---- */

static bool is_s3(const struct resource *r)
{
	return strcmp(r->service, "aws-sdk:s3") == 0;
}

static bool is_sdk_invoke(const struct resource *r)
{
	return strcmp(r->service, "aws-sdk:lambda") == 0 && strcmp(r->action, "invoke") == 0;
}

/* The parameters as the model has them. A body for S3 is the JSON of the value, a text with its quotes too, and is sent
 * as text (as recorded on AWS). Owned. */
static json_t *sdk_params(struct arena *a, const struct resource *r, json_t *params)
{
	if (is_sdk_invoke(r))
		return integ_lambda_params(a, params);
	const json_t *body = is_s3(r) ? json_object_get(params, "Body") : NULL;
	if (!body)
		return json_incref(params);
	struct str text = asl_text(a, body);
	json_t *with = json_copy(params);
	json_object_set_new(with, "Body", json_stringn(text.ptr, text.len));
	if (!json_get(params, "ContentType"))
		json_set_text(with, "ContentType", "text/plain; charset=UTF-8");
	return with;
}

/* What the answer to a HEAD can't say is told by its status (SDK for Java, issue 544). */
static const char *s3_exception(struct arena *a, const char *action, const struct error *err)
{
	if (error_is(err, "NotFound") && strcmp(action, "headObject") == 0)
		return "NoSuchKeyException";
	if (error_is(err, "NotFound") && strcmp(action, "headBucket") == 0)
		return "NoSuchBucketException";
	return err->status == 501 ? "S3Exception" : sdk_exception(a, "s3", "S3", err);
}

static void s3_error_answer(struct arena *a, const char *action, const struct error *err, struct answer *out)
{
	if (integ_role_error(a, err, out))
		return;
	out->refused = true;
	if (error_is(err, "SdkClientException")) {
		out->error = "S3.SdkClientException";
		out->cause = arena_strdup(a, str_from(error_text(err)));
		return;
	}
	out->error = arena_printf(a, "S3.%s", s3_exception(a, action, err));
	out->cause = arena_printf(a, "%s (Service: S3, Status Code: %d, Request ID: %s, Extended Request ID: %s)",
				  error_text(err), err->status ? err->status : 400, integ_request_id(a),
				  integ_request_id(a));
}

/* ---- calls ---- */

void integ_sdk_call(struct integ_request *q, const char *service, const char *action, json_t *params,
		    struct answer *out)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *model, *operation;
	integ_sdk_find(&q->arena, service, action, &model, &operation);
	if (integ_service_call(q, model, operation, params, &out->output, &err) < 0)
		sdk_error(&q->arena, service, &err, out);
}

/* How errors of the optimized integrations call service and client. */
static const struct optimized {
	const char *service, *name, *client;
} optimized[] = {
	{ "sagemaker", "SageMaker", "AmazonSageMaker" },
	{ "ecs", "ECS", "AmazonECS" },
};

static void optimized_call(struct integ_request *q, struct answer *out)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct arena *a = &q->arena;
	const struct resource *r = &q->r;
	const char *model, *operation, *name = r->service, *client = r->service;
	for (size_t i = 0; i < sizeof(optimized) / sizeof(*optimized); i++)
		if (strcmp(optimized[i].service, r->service) == 0) {
			name = optimized[i].name;
			client = optimized[i].client;
		}
	integ_sdk_find(a, r->service, r->action, &model, &operation);
	if (integ_service_call(q, model, operation, q->params, &out->output, &err) < 0) {
		integ_optimized_error(a, name, client, &err, out);
		return;
	}
	const json_t *failures = json_get(out->output, "Failures");
	if (json_array_size(failures) && r->pattern != TASK_REQUEST && strcmp(r->service, "ecs") == 0) {
		out->error = "ECS.AmazonECSException";
		out->cause = asl_text(a, failures).ptr;
		json_decref(out->output);
		out->output = NULL;
		return;
	}
	integ_add_metadata(a, out->output, integ_request_id(a), 200);
}

/* aws-sdk: what can wait long (an activity's task, a function) does so without a thread. */
static void sdk_answered(void *arg, int rc, json_t *output, struct error *err)
{
	struct integ_request *q = arg;
	struct answer w = { .output = output };
	if (rc == 0 && is_sdk_invoke(&q->r))
		integ_lambda_output(&q->arena, output);
	if (rc < 0 && is_s3(&q->r))
		s3_error_answer(&q->arena, q->r.action, err, &w);
	else if (rc < 0)
		sdk_error(&q->arena, q->r.service + 8, err, &w);
	q->done(q, &w);
}

static bool is_invoke(const struct resource *r)
{
	return r->kind == TASK_LAMBDA_ARN || (strcmp(r->service, "lambda") == 0 && strcmp(r->action, "invoke") == 0);
}

enum wire_way integ_way(struct arena *a, const struct resource *r)
{
	if (is_invoke(r))
		return WIRE_WAITS;
	bool sdk = is_sdk(r);
	const char *service = sdk ? r->service + 8 : r->service, *model, *operation;
	integ_sdk_find(a, service, r->action, &model, &operation);
	return integ_wire ? wire_call_way(integ_wire, model, operation) : WIRE_ABSENT;
}

void integ_call(struct integ_request *q)
{
	const struct resource *r = &q->r;
	struct answer w = { 0 };
	if (is_invoke(r)) {
		integ_lambda_call(q);
		return;
	}
	bool sdk = is_sdk(r);
	const char *service = sdk ? r->service + 8 : r->service, *model, *operation;
	if (sdk && q->t) {
		integ_sdk_call(q, service, r->action, q->params, &w);
	} else if (sdk) {
		integ_sdk_find(&q->arena, service, r->action, &model, &operation);
		json_t *params = sdk_params(&q->arena, r, q->params);
		arena_defer(&q->arena, integ_json_release, params);
		integ_wire_call(q, model, operation, params, sdk_answered);
		return;
	} else if (service_of(service)) {
		optimized_call(q, &w);
	} else {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		error_http(&err, 501, "NotImplementedException", "Quern has no integration for '%s' yet.", r->arn);
		integ_optimized_error(&q->arena, service, service, &err, &w);
	}
	q->done(q, &w);
}
