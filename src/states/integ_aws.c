/* integ_aws.c - calling services: aws-sdk:<service>:<action> and the optimized integrations that are one call.
 *
 * DESIGN: the call runs as the machine's owner. Names of services as the SDK for Java has them ("sfn") are mapped to
 * models. An error becomes "<Service>.<Code>Exception" with the SDK's text. */
#include "states/integ.h"

#include <ctype.h>
#include <stdlib.h>

enum { S3_BODY_MAX = 16 << 20 };

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

static int of_role(struct integ_request *q, struct db *db, struct error *err)
{
	struct iam *i = q->s->o.iam;
	if (q->through && (iam_role_principal(i, db, &q->arena, q->through, q->session, &q->who, err) < 0 ||
			   iam_may_assume(i, db, &q->arena, &q->who, q->role, err) < 0))
		return -1;
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

int integ_service_call(struct integ_request *q, const char *model, const char *operation, json_t *params, json_t **out,
		       struct error *err)
{
	const struct wire_internal rq = {
		.model = model, .operation = operation, .in = params, .who = &q->who, .region = q->s->o.region
	};
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

void integ_wire_call(struct integ_request *q, const char *model, const char *operation, json_t *params,
		     wire_internal_done done)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const struct wire_internal rq = {
		.model = model, .operation = operation, .in = params, .who = &q->who, .region = q->s->o.region
	};
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
	out->refused = true;
	const char *code = err->code[0] ? err->code : "InternalFailure";
	bool denied = strncmp(code, "AccessDenied", 12) == 0 && strcmp(name, "Ecs") != 0 &&
		      strcmp(name, "CloudWatchLogs") != 0; /* these two SDKs know it */
	bool plain = denied || strcmp(code, "ValidationException") == 0;
	out->error = plain ? arena_printf(a, "%s.%sException", name, name)
			   : arena_printf(a, "%s.%s", name, with_exception(a, code));
	out->cause = arena_printf(a, "%s (Service: %s, Status Code: %d, Request ID: %s) (SDK Attempt Count: 1)",
				  error_text(err), name, err->status ? err->status : 400, integ_request_id(a));
}

/* An exception that the SDK of these services does not know is of the service's base class
 * ("Lambda.AWSLambdaException", awslabs/aws-deployment-framework issue 460). */
static const char *exception_of(struct arena *a, const char *service, const char *code)
{
	if (strcmp(code, "AccessDeniedException") == 0 && strcmp(service, "AmazonECS") != 0)
		return arena_printf(a, "%sException", service);
	return with_exception(a, code);
}

/* Optimized integrations' errors: SDK version 1's text. */
void integ_optimized_error(struct arena *a, const char *name, const char *service, const struct error *err,
			   struct answer *out)
{
	const char *code = err->code[0] ? err->code : "InternalFailure";
	out->refused = true;
	out->error = arena_printf(a, "%s.%s", name, exception_of(a, service, code));
	out->cause = arena_printf(a, "%s (Service: %s; Status Code: %d; Error Code: %s; Request ID: %s; Proxy: null)",
				  error_text(err), service, err->status ? err->status : 400, code, integ_request_id(a));
}

/* ---- S3, which is no model-driven service inside ---- */

struct s3_put {
	const json_t *params;
	struct str body;
	json_t *out;
};

static int put_run(struct turn *t, void *arg, struct error *err)
{
	struct s3_put *p = arg;
	return s3_put_members(t, p->params, p->body, &p->out, err);
}

static int s3_read_call(struct states *s, struct db *db, struct arena *a, const char *action, json_t *params,
			json_t **out, struct error *err)
{
	if (strcmp(action, "getObject") == 0)
		return s3_get_members(s->o.s3, db, params, S3_BODY_MAX, a, out, err);
	if (strcmp(action, "listObjectsV2") == 0)
		return s3_list_members(db, params, a, out, err);
	return error_http(err, 501, "NotImplementedException",
			  "Quern does not implement s3:%s from a state machine yet.", action);
}

/* The body is the JSON of the value, a text with its quotes too (as recorded on AWS). */
static int s3_put(struct integ_request *q, json_t **out, struct error *err)
{
	json_t *body = json_object_get(q->params, "Body");
	struct s3_put p = { .params = q->params, .body = body ? asl_text(&q->arena, body) : STR("") };
	int rc = q->t ? turn_try(q->t, put_run, &p, err) : engine_call(q->s->o.engine, put_run, &p, err);
	*out = p.out;
	return rc;
}

static int s3_may(struct integ_request *q, struct error *err)
{
	static const char *const actions[][2] = { { "getObject", "s3:GetObject" },
						  { "listObjectsV2", "s3:ListBucket" },
						  { "putObject", "s3:PutObject" } };
	struct arena *a = &q->arena;
	struct str bucket = json_get_str(q->params, "Bucket"), key = json_get_str(q->params, "Key");
	if (integ_caller(q, err) < 0)
		return -1;
	for (size_t i = 0; q->s->o.iam && i < 3; i++)
		if (strcmp(q->r.action, actions[i][0]) == 0)
			return iam_may_s3(q->s->o.iam, a, &q->who, actions[i][1], bucket,
					  i == 1 ? json_get_str(q->params, "Prefix") : key, err);
	return 0;
}

static void s3_call(struct integ_request *q, struct answer *out)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct arena *a = &q->arena;
	struct store *store = engine_store(q->s->o.engine);
	int rc;
	if (!q->s->o.s3) {
		rc = error_http(&err, 501, "NotImplementedException", "This Quern has no S3.");
	} else if (s3_may(q, &err) < 0) {
		rc = -1;
	} else if (strcmp(q->r.action, "putObject") == 0) {
		rc = s3_put(q, &out->output, &err);
	} else {
		struct db *db = store_read_begin(store, &err);
		rc = db ? s3_read_call(q->s, db, a, q->r.action, q->params, &out->output, &err) : -1;
		if (db)
			store_read_end(store, db);
	}
	if (rc >= 0)
		return;
	bool plain = !err.code[0] || error_is(&err, "AccessDenied");
	out->error = arena_printf(a, "S3.%s", with_exception(a, plain ? "S3" : err.code));
	out->cause =
		arena_printf(a, "%s (Service: S3, Status Code: %d, Request ID: %s, Extended Request ID: %s)",
			     error_text(&err), err.status ? err.status : 404, integ_request_id(a), integ_request_id(a));
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
	if (rc < 0)
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
	bool sdk = strncmp(r->service, "aws-sdk:", 8) == 0;
	const char *service = sdk ? r->service + 8 : r->service, *model, *operation;
	if (sdk && strcmp(service, "s3") == 0)
		return strcmp(r->action, "putObject") == 0 ? WIRE_WRITES : WIRE_READS;
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
	bool sdk = strncmp(r->service, "aws-sdk:", 8) == 0;
	const char *service = sdk ? r->service + 8 : r->service, *model, *operation;
	if (sdk && strcmp(service, "s3") == 0) {
		s3_call(q, &w);
	} else if (sdk && q->t) {
		integ_sdk_call(q, service, r->action, q->params, &w);
	} else if (sdk) {
		integ_sdk_find(&q->arena, service, r->action, &model, &operation);
		integ_wire_call(q, model, operation, q->params, sdk_answered);
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
