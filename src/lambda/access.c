/* access.c - what policies are asked about the operations of Lambda (struct wire_access). Source: Service Authorization
 * Reference, "AWS Lambda". */
#include "lambda/room.h"

/* Every way of naming a function becomes its ARN; calls may also be about one version or alias. */
static void add(struct call *c, const json_t *in, bool qualified, json_t *resources)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct lambda *l = c->service_ctx;
	struct lambda_name n;
	if (lambda_name_read(l, c->arena, (json_t *)in, "FunctionName", &n, &ignored) == 0)
		json_array_append_new(resources,
				      json_string(lambda_arn(l, c->arena, n.name, qualified ? n.qualifier : NULL)));
}

static void find_function(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	add(c, in, false, resources);
}

static void find_qualified(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	add(c, in, true, resources);
}

#define FUNCTION .resource = "function:{FunctionName}", .find = find_function
#define QUALIFIED .resource = "function:{FunctionName}", .find = find_qualified

const struct wire_access lambda_access[] = {
	{ .operation = "CreateFunction", FUNCTION, .pass = "Role", .reads = "Code.S3Bucket Code.S3Key" },
	{ .operation = "UpdateFunctionCode", FUNCTION, .reads = "S3Bucket S3Key" },
	{ .operation = "UpdateFunctionConfiguration", FUNCTION, .pass = "Role" },
	{ .operation = "DeleteFunction", QUALIFIED },
	{ .operation = "GetFunction", FUNCTION },
	{ .operation = "GetFunctionConfiguration", FUNCTION },
	{ .operation = "ListFunctions" },
	{ .operation = "ListVersionsByFunction", FUNCTION },
	{ .operation = "PublishVersion", FUNCTION },
	{ .operation = "CreateAlias", FUNCTION },
	{ .operation = "GetAlias", FUNCTION },
	{ .operation = "UpdateAlias", FUNCTION },
	{ .operation = "DeleteAlias", FUNCTION },
	{ .operation = "ListAliases", FUNCTION },
	{ .operation = "AddPermission", QUALIFIED, .keys = "lambda:Principal={Principal}" },
	{ .operation = "GetPolicy", QUALIFIED },
	{ .operation = "RemovePermission", QUALIFIED },
	{ .operation = "TagResource", .resource = "{Resource}" },
	{ .operation = "UntagResource", .resource = "{Resource}" },
	{ .operation = "ListTags", .resource = "{Resource}" },
	{ .operation = "GetFunctionCodeSigningConfig", FUNCTION },
	{ .operation = "PutFunctionConcurrency", FUNCTION },
	{ .operation = "GetFunctionConcurrency", FUNCTION },
	{ .operation = "DeleteFunctionConcurrency", FUNCTION },
	{ .operation = "Invoke", .action = "lambda:InvokeFunction", QUALIFIED },
	{ .operation = NULL },
};
