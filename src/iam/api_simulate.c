/* api_simulate.c - SimulatePrincipalPolicy.
 *
 * DESIGN: says what this Quern would decide, and it decides about nothing: policies are stored and not evaluated
 * (docs/limits.md), so every action of a role or user that exists is "allowed", and no statement matched. The sagemaker
 * SDK 3 asks this about the role of each job. When policies are evaluated one day, this must ask that code. */
#include "iam/room.h"

static int need_principal(struct iam *i, struct db *db, struct arena *a, struct str arn, struct error *err)
{
	const char *prefix = arena_printf(a, "arn:aws:iam::%s:user/", i->account);
	struct str role = iam_role_name(i, arn), user = iam_last_part(arn);
	struct iam_role r;
	if (role.len)
		return iam_need_role(i, db, a, role, &r, err);
	if (arn.len <= strlen(prefix) || strncmp(arn.ptr, prefix, strlen(prefix)))
		return error_aws(err, "InvalidInput",
				 "Invalid Entity Arn: %.*s does not clearly define entity type and name.",
				 STR_ARG(arn));
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT name FROM iam_user WHERE name=?", "S", user);
	if (rc == 0)
		return error_aws(err, "NoSuchEntity", "The user with name %.*s cannot be found.", STR_ARG(user));
	return rc < 0 ? rc : 0;
}

int iam_op_simulate_principal(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	if (need_principal(iam_of(c), db, c->arena, json_get_str(in, "PolicySourceArn"), err) < 0)
		return -1;
	CLEANUP_JSON json_t *any = json_pack("[s]", "*");
	json_t *resources = json_object_get(in, "ResourceArns"), *results = json_array(), *action, *resource;
	size_t i, j;
	if (json_array_size(resources) == 0)
		resources = any;
	json_array_foreach (json_object_get(in, "ActionNames"), i, action)
		json_array_foreach (resources, j, resource)
			json_array_append_new(results,
					      json_pack("{s:O, s:O, s:s, s:[], s:[]}", "EvalActionName", action,
							"EvalResourceName", resource, "EvalDecision", "allowed",
							"MatchedStatements", "MissingContextValues"));
	*out = json_pack("{s:o, s:b}", "EvaluationResults", results, "IsTruncated", 0);
	return 0;
}
