/* api_managed.c - managed policies: those of the account, and AWS's own.
 *
 * DESIGN: a policy of the account is a row, its texts are rows beside it (api_version.c). AWS's own are a table of the
 * program (managed.c): they are listed and read like others, have one version, and can't be changed. */
#include "iam/room.h"

static bool is_aws_policy(struct str arn)
{
	return str_starts(arn, STR(IAM_MANAGED_PREFIX "/")) && iam_last_part(arn).len > 0;
}

int iam_policy_exists(struct db *db, struct str arn, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (iam_managed_find(arn))
		return 1;
	int rc = db_row(db, &rows, err, "SELECT 1 FROM iam_policy WHERE arn=?", "S", arn);
	if (rc != 0)
		return rc;
	if (is_aws_policy(arn))
		error_aws(
			err, "NoSuchEntity",
			"Policy %.*s does not exist or is not attachable: it is AWS's own, and Quern does not have its "
			"text. Create a policy of the account with what it allows.",
			STR_ARG(arn));
	else
		error_aws(err, "NoSuchEntity", "Policy %.*s does not exist or is not attachable.", STR_ARG(arn));
	return 0;
}

#define BOUNDED(arn)                                                                                                   \
	"(SELECT count(*) FROM iam_role r WHERE r.boundary=" arn                                                       \
	")+(SELECT count(*) FROM iam_user u WHERE u.boundary=" arn ")"
#define ATTACHED(arn) "(SELECT count(*) FROM iam_attached a WHERE a.arn=" arn ")"
#define POLICY_COLUMNS                                                                                                 \
	"p.arn, p.name, p.path, p.id, p.description, p.created_ms, p.tags, p.version, p.updated_ms, " ATTACHED(        \
		"p.arn") ", " BOUNDED("p.arn")

static json_t *policy_json(struct rows *rows)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:b, s:f, s:f}", "PolicyName", rows_str(rows, 1).ptr,
			 "PolicyId", rows_str(rows, 3).ptr, "Arn", rows_str(rows, 0).ptr, "Path", rows_str(rows, 2).ptr,
			 "DefaultVersionId", json_sprintf("v%lld", (long long)rows_int(rows, 7)), "AttachmentCount",
			 (json_int_t)rows_int(rows, 9), "PermissionsBoundaryUsageCount", (json_int_t)rows_int(rows, 10),
			 "IsAttachable", 1, "CreateDate", iam_seconds(rows_int(rows, 5)), "UpdateDate",
			 iam_seconds(rows_int(rows, 8)));
}

static void count_uses(struct db *db, const char *arn, int64_t *attached, int64_t *bounded)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, NULL, "SELECT " ATTACHED("?") ", " BOUNDED("?"), "sss", arn, arn, arn);
	*attached = rc > 0 ? rows_int(&rows, 0) : 0;
	*bounded = rc > 0 ? rows_int(&rows, 1) : 0;
}

static json_t *aws_policy_json(struct db *db, struct arena *a, const struct iam_managed *m, bool whole)
{
	int64_t attached, bounded;
	const char *arn = arena_printf(a, IAM_MANAGED_PREFIX "%s%s", m->path, m->name);
	count_uses(db, arn, &attached, &bounded);
	json_t *p =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:i, s:i}", "PolicyName", m->name, "PolicyId",
			  iam_fixed_id(a, "ANPA", str_from(m->name)), "Arn", arn, "Path", m->path, "DefaultVersionId",
			  "v1", "AttachmentCount", (json_int_t)attached, "PermissionsBoundaryUsageCount",
			  (json_int_t)bounded, "IsAttachable", 1, "CreateDate", 0, "UpdateDate", 0);
	if (whole)
		json_set_text(p, "Description", m->description);
	return p;
}

/* 1 with *out owned, 0 unknown. */
static int load_policy(struct db *db, struct arena *a, struct str arn, bool whole, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const struct iam_managed *own = iam_managed_find(arn);
	if (own) {
		*out = aws_policy_json(db, a, own, whole);
		return 1;
	}
	int rc = db_row(db, &rows, err, "SELECT " POLICY_COLUMNS " FROM iam_policy p WHERE p.arn=?", "S", arn);
	if (rc <= 0)
		return rc;
	*out = policy_json(&rows);
	if (whole && !rows_null(&rows, 4))
		json_set_text(*out, "Description", rows_str(&rows, 4).ptr);
	if (whole && !rows_null(&rows, 6))
		json_object_set_new(*out, "Tags", iam_tag_list(rows_str(&rows, 6)));
	return 1;
}

int iam_no_policy(struct str arn, struct error *err)
{
	if (is_aws_policy(arn))
		return error_aws(err, "NoSuchEntity",
				 "Policy %.*s is AWS's own; Quern knows its name but not its text.", STR_ARG(arn));
	return error_aws(err, "NoSuchEntity", "Policy %.*s was not found.", STR_ARG(arn));
}

int iam_policy_changeable(struct str arn, struct error *err)
{
	return is_aws_policy(arn) ? error_http(err, 403, "AccessDenied",
					       "Policy %.*s is AWS's own: it can't be changed.", STR_ARG(arn))
				  : 0;
}

int iam_op_create_policy(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct arena *a = turn_arena(t);
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct str name = json_get_str(in, "PolicyName"), document = json_get_str(in, "PolicyDocument");
	struct str path = json_get(in, "Path") ? json_get_str(in, "Path") : STR("/");
	const char *arn = iam_arn(iam_of(c), a, "policy", path, name), *tags = NULL;
	if (iam_check_managed(document, err) < 0 || iam_add_tags(a, STR_NULL, json_get(in, "Tags"), &tags, err) < 0)
		return -1;
	int rc = db_exec(turn_db(t), &why,
			 "INSERT INTO iam_policy(arn, name, folded, path, id, description, created_ms, tags) "
			 "VALUES(?,?,?,?,?,?,?,?)",
			 "sSsSsSis", arn, name, iam_fold(a, name), path, iam_new_id(t, "ANPA", 17),
			 json_get_str(in, "Description"), turn_now_ms(t), tags);
	if (rc < 0)
		return iam_taken(&why, err, "A policy called ", name,
				 " already exists. Duplicate names are not allowed.");
	json_t *policy = NULL;
	if (iam_add_version(t, str_from(arn), 1, document, true, err) < 0 ||
	    load_policy(turn_db(t), a, str_from(arn), false, &policy, err) <= 0)
		return -1;
	if (tags)
		json_object_set_new(policy, "Tags", iam_tag_list(str_from(tags)));
	*out = json_pack("{s:o}", "Policy", policy);
	return 0; /* nobody has it yet */
}

int iam_op_delete_policy(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str arn = json_get_str(in, "PolicyArn");
	CLEANUP_ROWS struct rows rows = { 0 };
	if (iam_policy_changeable(arn, err) < 0)
		return -1;
	int rc = db_row(turn_db(t), &rows, err,
			"SELECT " ATTACHED("p.arn") "+" BOUNDED("p.arn") ", (SELECT count(*) FROM iam_policy_version v "
									 "WHERE v.arn=p.arn) FROM iam_policy p WHERE "
									 "p.arn=?",
			"S", arn);
	if (rc <= 0)
		return rc < 0 ? -1 : iam_no_policy(arn, err);
	if (rows_int(&rows, 0))
		return error_aws(err, "DeleteConflict", "Cannot delete a policy attached to entities.");
	if (rows_int(&rows, 1) > 1)
		return error_aws(err, "DeleteConflict",
				 "This policy has more than one version. Before you delete a policy, you must delete "
				 "the policy's versions. The default version is deleted with the policy.");
	if (db_exec(turn_db(t), err, "DELETE FROM iam_policy_version WHERE arn=?", "S", arn) < 0 ||
	    db_exec(turn_db(t), err, "DELETE FROM iam_policy WHERE arn=?", "S", arn) < 0)
		return -1;
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_get_policy(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str arn = json_get_str(in, "PolicyArn");
	json_t *policy = NULL;
	int rc = load_policy(db, c->arena, arn, true, &policy, err);
	if (rc <= 0)
		return rc < 0 ? -1 : iam_no_policy(arn, err);
	*out = json_pack("{s:o}", "Policy", policy);
	return 0;
}

/* AWS's own behind `after`, as far as the page goes. */
static void list_aws(struct call *c, struct db *db, const struct iam_policy_filter *f, json_t *list)
{
	for (const struct iam_managed *m = iam_managed; m->name; m++) {
		const char *arn = arena_printf(c->arena, IAM_MANAGED_PREFIX "%s%s", m->path, m->name);
		int64_t uses, bounds;
		if (str_cmp(str_from(arn), f->page.after) <= 0 || !str_starts(str_from(m->path), f->page.prefix))
			continue;
		count_uses(db, arn, &uses, &bounds);
		if ((f->attached && !uses) || (f->bounding && !bounds))
			continue;
		if ((int64_t)json_array_size(list) > f->page.limit)
			return;
		json_array_append_new(list, aws_policy_json(db, c->arena, m, false));
	}
}

/* In the order of ARNs: the account's begin with digits, AWS's with "aws". */
json_t *iam_policies(struct call *c, struct db *db, const struct iam_policy_filter *f, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *list = json_array();
	int rc = db_query(
		db, &rows, err,
		"SELECT " POLICY_COLUMNS " FROM iam_policy p WHERE p.arn>? AND substr(p.path, 1, length(?))=?"
		" AND (?=0 OR " ATTACHED("p.arn") ">0) AND (?=0 OR " BOUNDED("p.arn") ">0) ORDER BY p.arn LIMIT ?",
		"SSSiii", f->page.after, f->page.prefix, f->page.prefix, (int64_t)f->attached, (int64_t)f->bounding,
		f->scope & IAM_SCOPE_OWN ? f->page.limit + 1 : (int64_t)0);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(list, policy_json(&rows));
	if (rc >= 0 && f->scope & IAM_SCOPE_AWS)
		list_aws(c, db, f, list);
	return iam_list_end(list, rc);
}

int iam_op_list_policies(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	const char *scope = json_get_text(in, "Scope"), *usage = json_get_text(in, "PolicyUsageFilter");
	struct iam_policy_filter f = { .page = iam_page_of(in), .scope = IAM_SCOPE_ALL };
	if (scope && strcmp(scope, "AWS") == 0)
		f.scope = IAM_SCOPE_AWS;
	else if (scope && strcmp(scope, "Local") == 0)
		f.scope = IAM_SCOPE_OWN;
	f.bounding = usage && strcmp(usage, "PermissionsBoundary") == 0;
	f.attached = json_get_bool(in, "OnlyAttached", false) || (usage && !f.bounding);
	json_t *list = iam_policies(c, db, &f, err);
	if (!list)
		return -1;
	*out = iam_page_out(&f.page, "Policies", list, "Arn");
	return 0;
}
