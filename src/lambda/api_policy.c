/* api_policy.c - what is kept beside a function: resource policy, tags, reserved concurrency.
 *
 * DESIGN: a version or an alias has a policy of its own, beside the function's; iam asks the one of the ARN that is
 * called. */
#include <stdlib.h>

#include "lambda/room.h"

#define POLICY_SQL "SELECT policy FROM lambda_function WHERE name=?"
enum { MAX_TAGS = 50 };

#define TAGS_SQL "SELECT tags FROM lambda_function WHERE name=?"

static int find_name(struct call *c, struct db *db, json_t *in, const char *member, struct lambda_name *n,
		     struct error *err)
{
	struct lambda_version v;
	if (lambda_name_read(lambda_of(c), c->arena, in, member, n, err) < 0)
		return -1;
	return lambda_version_find(lambda_of(c), db, c->arena, n, &v, err);
}

static int set_column(struct turn *t, const char *name, const char *sql, json_t *value, struct error *err)
{
	return db_exec(turn_db(t), err, sql, "Ss", json_text(turn_arena(t), value), name) < 0 ? -1 : 0;
}

/* ---- permissions ---- */

/* The statements of one qualifier ("" = the function). */
static json_t *statements(json_t *policy, const char *qualifier)
{
	json_t *list = json_object_get(policy, qualifier);
	if (!list) {
		list = json_array();
		json_object_set_new(policy, qualifier, list);
	}
	return list;
}

static json_t *make_statement(struct call *c, json_t *in, const struct lambda_name *n)
{
	struct str principal = json_get_str(in, "Principal");
	json_t *s = json_object(), *condition = json_object();
	bool service = str_find_char(principal, '.') >= 0 && !str_starts(principal, STR("arn:"));
	const char *name = json_get_text(in, "Principal");
	int64_t account;
	if (!service && principal.len == 12 && str_to_i64(principal, &account))
		name = arena_printf(c->arena, "arn:aws:iam::%s:root", name);
	json_set_text(s, "Sid", json_get_text(in, "StatementId"));
	json_set_text(s, "Effect", "Allow");
	json_object_set_new(s, "Principal",
			    str_eqz(principal, "*") ? json_string("*")
						    : json_pack("{s:s}", service ? "Service" : "AWS", name));
	json_set_text(s, "Action", json_get_text(in, "Action"));
	json_set_text(s, "Resource", lambda_arn(lambda_of(c), c->arena, n->name, n->qualifier));
	static const char *const equals[][2] = { { "SourceAccount", "AWS:SourceAccount" },
						 { "PrincipalOrgID", "aws:PrincipalOrgID" },
						 { "EventSourceToken", "lambda:EventSourceToken" },
						 { "FunctionUrlAuthType", "lambda:FunctionUrlAuthType" } };
	json_t *strings = json_object();
	for (size_t i = 0; i < sizeof(equals) / sizeof(*equals); i++)
		json_set_text(strings, equals[i][1], json_get_text(in, equals[i][0]));
	if (json_object_size(strings))
		json_object_set(condition, "StringEquals", strings);
	json_decref(strings);
	if (json_get(in, "SourceArn"))
		json_object_set_new(condition, "ArnLike",
				    json_pack("{s:s}", "AWS:SourceArn", json_get_text(in, "SourceArn")));
	if (json_object_size(condition))
		json_object_set(s, "Condition", condition);
	json_decref(condition);
	return s;
}

static ptrdiff_t index_of(json_t *list, struct str sid)
{
	size_t i;
	json_t *s;
	json_array_foreach (list, i, s)
		if (str_eq(json_get_str(s, "Sid"), sid))
			return (ptrdiff_t)i;
	return -1;
}

/* The policy document of some statements and its revision (arena). */
static const char *policy_text(struct arena *a, json_t *list, const char **revision)
{
	CLEANUP_JSON json_t *shown =
		json_pack("{s:s, s:s, s:O}", "Version", "2012-10-17", "Id", "default", "Statement", list);
	struct str text = json_text(a, shown);
	char hex[17];
	uint64_t sum = str_digest(text);
	hex_encode(hex, &sum, sizeof(sum));
	*revision = arena_printf(a, "%s", hex);
	return text.ptr;
}

/* A change may be wanted of one revision only. */
static int check_policy_revision(struct call *c, const json_t *in, json_t *list, struct error *err)
{
	const char *wanted = json_get_text(in, "RevisionId"), *revision;
	policy_text(c->arena, list, &revision);
	return !wanted || strcmp(wanted, revision) == 0
		       ? 0
		       : error_http(
				 err, 412, "PreconditionFailedException",
				 "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy "
				 "API to retrieve the latest Revision Id");
}

/* All policies of the function that the request names, owned; *list: the statements of the one that it means. */
static json_t *find_policy(struct call *c, struct db *db, json_t *in, struct lambda_name *n, json_t **list,
			   struct error *err)
{
	if (find_name(c, db, in, "FunctionName", n, err) < 0)
		return NULL;
	json_t *policy = lambda_column(db, n->name, POLICY_SQL, err);
	*list = policy ? statements(policy, n->qualifier ? n->qualifier : "") : NULL;
	return policy;
}

static int add_permission(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	json_t *list;
	CLEANUP_ERROR struct error why = ERROR_INIT;
	CLEANUP_JSON json_t *policy = find_policy(c, turn_db(t), in, &n, &list, err);
	if (!policy)
		return -1;
	if (index_of(list, json_get_str(in, "StatementId")) >= 0)
		return lambda_conflict(err,
				       "The statement id (%s) provided already exists. Please provide a new statement "
				       "id, or remove the existing statement.",
				       json_get_text(in, "StatementId"));
	if (check_policy_revision(c, in, list, err) < 0)
		return -1;
	json_t *s = make_statement(c, in, &n);
	json_array_append_new(list, s);
	const char *revision;
	if (iam_check_resource_policy(str_from(policy_text(c->arena, list, &revision)), &why) < 0)
		return lambda_invalid(err, "The provided principal was invalid. Please check the principal and try "
					   "again.");
	*out = json_pack("{s:s}", "Statement", json_text(c->arena, s).ptr);
	return set_column(t, n.name, "UPDATE lambda_function SET policy=? WHERE name=?", policy, err);
}

static int no_policy(struct error *err)
{
	return error_http(err, 404, "ResourceNotFoundException", "The resource you requested does not exist.");
}

static int get_policy(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	json_t *list;
	CLEANUP_JSON json_t *policy = find_policy(c, db, in, &n, &list, err);
	if (!policy)
		return -1;
	if (!json_array_size(list))
		return no_policy(err);
	const char *revision, *text = policy_text(c->arena, list, &revision);
	*out = json_pack("{s:s, s:s}", "Policy", text, "RevisionId", revision);
	return 0;
}

int lambda_find_policy(void *ctx, struct db *db, struct arena *a, struct str resource, struct str *text,
		       struct error *err)
{
	struct lambda *l = ctx;
	const struct str prefix = str_from(lambda_arn(l, a, "", NULL));
	struct str rest = str_skip(resource, prefix.len), name;
	const char *revision;
	if (!str_starts(resource, prefix) || !str_split(&rest, ':', &name))
		return 0;
	CLEANUP_JSON json_t *policy = lambda_column(db, arena_strdup(a, name), POLICY_SQL, err);
	json_t *list = policy ? statements(policy, rest.ptr ? arena_strdup(a, rest) : "") : NULL;
	if (json_array_size(list))
		*text = str_from(policy_text(a, list, &revision));
	return policy ? 0 : -1;
}

static int remove_permission(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	json_t *list;
	CLEANUP_JSON json_t *policy = find_policy(c, turn_db(t), in, &n, &list, err);
	if (!policy)
		return -1;
	ptrdiff_t at = index_of(list, json_get_str(in, "StatementId"));
	if (!json_array_size(list))
		return error_http(err, 404, "ResourceNotFoundException",
				  "No policy is associated with the given resource.");
	if (at < 0)
		return error_http(err, 404, "ResourceNotFoundException",
				  "Statement %s is not found in resource policy.", json_get_text(in, "StatementId"));
	if (check_policy_revision(c, in, list, err) < 0)
		return -1;
	json_array_remove(list, (size_t)at);
	return set_column(t, n.name, "UPDATE lambda_function SET policy=? WHERE name=?", policy, err);
}

/* ---- tags ---- */

/* Tags are of functions. */
static int find_tagged(struct call *c, struct db *db, json_t *in, struct lambda_name *n, struct error *err)
{
	if (lambda_name_read(lambda_of(c), c->arena, in, "Resource", n, err) < 0)
		return -1;
	if (n->qualifier)
		return lambda_invalid(
			err, "Tags on function aliases and versions are not supported. Please specify a function ARN.");
	return find_name(c, db, in, "Resource", n, err);
}

static int tag_resource(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	if (find_tagged(c, turn_db(t), in, &n, err) < 0)
		return -1;
	CLEANUP_JSON json_t *tags = lambda_column(turn_db(t), n.name, TAGS_SQL, err);
	if (!tags)
		return -1;
	json_object_update(tags, json_get(in, "Tags"));
	if (!json_object_size(json_get(in, "Tags")))
		return lambda_invalid(err, "An error occurred and the request cannot be processed.");
	if (json_object_size(tags) > MAX_TAGS)
		return lambda_invalid(err, "Number of tags exceeds resource tag limit.");
	return set_column(t, n.name, "UPDATE lambda_function SET tags=? WHERE name=?", tags, err);
}

static int untag_resource(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	size_t i;
	json_t *key;
	if (find_tagged(c, turn_db(t), in, &n, err) < 0)
		return -1;
	CLEANUP_JSON json_t *tags = lambda_column(turn_db(t), n.name, TAGS_SQL, err);
	if (!tags)
		return -1;
	json_array_foreach (json_get(in, "TagKeys"), i, key)
		json_object_del(tags, json_string_value(key));
	return set_column(t, n.name, "UPDATE lambda_function SET tags=? WHERE name=?", tags, err);
}

static int list_tags(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	if (find_tagged(c, db, in, &n, err) < 0)
		return -1;
	json_t *tags = lambda_column(db, n.name, TAGS_SQL, err);
	*out = tags ? json_pack("{s:o}", "Tags", tags) : NULL;
	return tags ? 0 : -1;
}

/* ---- concurrency ---- */

static int set_reserved(struct call *c, struct turn *t, json_t *in, int64_t n, struct lambda_name *name,
			struct error *err)
{
	struct lambda_version v;
	if (lambda_name_read(lambda_of(c), c->arena, in, "FunctionName", name, err) < 0)
		return -1;
	if (name->qualifier)
		return lambda_invalid(err,
				      "This operation is permitted on Lambda functions only. Aliases and versions do "
				      "not support this operation. Please specify either a function name or an "
				      "unqualified function ARN.");
	name->qualifier = "$LATEST"; /* AWS names it when there is no such function */
	if (lambda_version_find(lambda_of(c), turn_db(t), c->arena, name, &v, err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "UPDATE lambda_function SET reserved=? WHERE name=?", "is", n, name->name) < 0
		       ? -1
		       : 0;
}

static int put_concurrency(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	int64_t wanted = json_get_int(in, "ReservedConcurrentExecutions", 0);
	*out = json_pack("{s:I}", "ReservedConcurrentExecutions", (json_int_t)wanted);
	return set_reserved(c, t, in, wanted, &n, err);
}

static int delete_concurrency(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	return set_reserved(c, t, in, -1, &n, err);
}

static int get_concurrency(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	struct lambda_version v;
	if (lambda_name_read(lambda_of(c), c->arena, in, "FunctionName", &n, err) < 0 ||
	    lambda_version_find(lambda_of(c), db, c->arena, &n, &v, err) < 0)
		return -1;
	*out = json_object();
	if (v.reserved >= 0)
		json_set_int(*out, "ReservedConcurrentExecutions", v.reserved);
	return 0;
}

/* No function has a code signing configuration: CreateFunction refuses one. */
static int get_code_signing(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	struct lambda_version v;
	if (lambda_name_read(lambda_of(c), c->arena, in, "FunctionName", &n, err) < 0 ||
	    lambda_version_find(lambda_of(c), db, c->arena, &n, &v, err) < 0)
		return -1;
	*out = json_object();
	return 0;
}

const struct wire_op lambda_policy_ops[] = {
	{ .name = "AddPermission", .command = add_permission },
	{ .name = "GetPolicy", .query = get_policy },
	{ .name = "RemovePermission", .command = remove_permission },
	{ .name = "TagResource", .command = tag_resource },
	{ .name = "UntagResource", .command = untag_resource },
	{ .name = "ListTags", .query = list_tags },
	{ .name = "PutFunctionConcurrency", .command = put_concurrency },
	{ .name = "GetFunctionConcurrency", .query = get_concurrency },
	{ .name = "DeleteFunctionConcurrency", .command = delete_concurrency },
	{ .name = "GetFunctionCodeSigningConfig", .query = get_code_signing },
	{ 0 },
};
