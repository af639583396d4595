/* api_managed.c - managed policies: those of the account, and AWS's own.
 *
 * DESIGN: a policy of the account is a row and has one version, v1. AWS's own are a table of the program (managed.c):
 * they are listed and read like others, and can't be changed. */
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

#define POLICY_COLUMNS                                                                                                 \
	"p.arn, p.name, p.path, p.id, p.description, p.created_ms, p.tags, (SELECT count(*) FROM iam_attached a "      \
	"WHERE a.arn=p.arn)"

static json_t *policy_json(struct rows *rows)
{
	double created = iam_seconds(rows_int(rows, 5));
	json_t *p = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:i, s:b, s:f, s:f}", "PolicyName", rows_str(rows, 1).ptr,
			      "PolicyId", rows_str(rows, 3).ptr, "Arn", rows_str(rows, 0).ptr, "Path",
			      rows_str(rows, 2).ptr, "DefaultVersionId", "v1", "AttachmentCount",
			      (json_int_t)rows_int(rows, 7), "PermissionsBoundaryUsageCount", 0, "IsAttachable", 1,
			      "CreateDate", created, "UpdateDate", created);
	return p;
}

static int count_attached(struct db *db, const char *arn)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, NULL, "SELECT count(*) FROM iam_attached WHERE arn=?", "s", arn);
	return rc > 0 ? (int)rows_int(&rows, 0) : 0;
}

/* Their ids are made of their names. */
static json_t *aws_policy_json(struct db *db, struct arena *a, const struct iam_managed *m, bool whole)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	const char *arn = arena_printf(a, IAM_MANAGED_PREFIX "%s%s", m->path, m->name);
	char id[22] = "ANPA";
	uint64_t hash = hash_bytes(m->name, strlen(m->name));
	for (int n = 4; n < 21; n++, hash = hash * 6364136223846793005u + 1442695040888963407u)
		id[n] = alphabet[hash >> 59];
	json_t *p = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:b, s:i, s:i}", "PolicyName", m->name, "PolicyId",
			      id, "Arn", arn, "Path", m->path, "DefaultVersionId", "v1", "AttachmentCount",
			      count_attached(db, arn), "PermissionsBoundaryUsageCount", 0, "IsAttachable", 1,
			      "CreateDate", 0, "UpdateDate", 0);
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

static int no_policy(struct str arn, struct error *err)
{
	if (is_aws_policy(arn))
		return error_aws(err, "NoSuchEntity",
				 "Policy %.*s is AWS's own; Quern knows its name but not its text.", STR_ARG(arn));
	return error_aws(err, "NoSuchEntity", "Policy %.*s was not found.", STR_ARG(arn));
}

int iam_op_create_policy(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct arena *a = turn_arena(t);
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct str name = json_get_str(in, "PolicyName"), document = json_get_str(in, "PolicyDocument");
	struct str path = json_get(in, "Path") ? json_get_str(in, "Path") : STR("/");
	const char *arn = iam_arn(iam_of(c), a, "policy", path, name), *tags = NULL;
	if (iam_check_document(document, POLICY_IDENTITY, err) < 0)
		return -1;
	if (json_get(in, "Tags"))
		tags = iam_merge_tags(a, STR_NULL, json_get(in, "Tags"));
	int rc = db_exec(turn_db(t), &why,
			 "INSERT INTO iam_policy(arn, name, folded, path, id, document, description, created_ms, tags) "
			 "VALUES(?,?,?,?,?,?,?,?,?)",
			 "sSsSsSSis", arn, name, iam_fold(a, name), path, iam_new_id(t, "ANPA", 17), document,
			 json_get_str(in, "Description"), turn_now_ms(t), tags);
	if (rc < 0 && error_is(&why, "conflict"))
		return error_aws(err, "EntityAlreadyExists",
				 "A policy called %.*s already exists. Duplicate names are not allowed.",
				 STR_ARG(name));
	if (rc < 0)
		return error_move(err, &why);
	json_t *policy = NULL;
	if (load_policy(turn_db(t), a, str_from(arn), false, &policy, err) <= 0)
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
	if (iam_managed_find(arn))
		return error_http(err, 403, "AccessDenied", "Policy %.*s is AWS's own: it can't be deleted.",
				  STR_ARG(arn));
	int used = db_row(
		turn_db(t), &rows, err,
		"SELECT 1 FROM iam_attached WHERE arn=?1 UNION ALL SELECT 1 FROM iam_role WHERE boundary=?1 UNION ALL "
		"SELECT 1 FROM iam_user WHERE boundary=?1 LIMIT 1",
		"S", arn);
	if (used < 0)
		return -1;
	if (used)
		return error_aws(err, "DeleteConflict", "Cannot delete a policy attached to entities.");
	int rc = db_exec(turn_db(t), err, "DELETE FROM iam_policy WHERE arn=?", "S", arn);
	if (rc <= 0)
		return rc < 0 ? -1 : no_policy(arn, err);
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_get_policy(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str arn = json_get_str(in, "PolicyArn");
	json_t *policy = NULL;
	int rc = load_policy(db, c->arena, arn, true, &policy, err);
	if (rc <= 0)
		return rc < 0 ? -1 : no_policy(arn, err);
	*out = json_pack("{s:o}", "Policy", policy);
	return 0;
}

int iam_op_get_policy_version(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str arn = json_get_str(in, "PolicyArn"), version = json_get_str(in, "VersionId");
	CLEANUP_ROWS struct rows rows = { 0 };
	const struct iam_managed *own = iam_managed_find(arn);
	int rc = own ? 1 : db_row(db, &rows, err, "SELECT document, created_ms FROM iam_policy WHERE arn=?", "S", arn);
	if (rc <= 0)
		return rc < 0 ? -1 : no_policy(arn, err);
	if (!str_eqz(version, "v1"))
		return error_aws(err, "NoSuchEntity", "Policy %.*s version %.*s does not exist or is not attachable.",
				 STR_ARG(arn), STR_ARG(version));
	*out = json_pack("{s:{s:s, s:s, s:b, s:f}}", "PolicyVersion", "Document",
			 iam_encode_document(c->arena, own ? str_from(own->document) : rows_str(&rows, 0)), "VersionId",
			 "v1", "IsDefaultVersion", 1, "CreateDate", own ? 0.0 : iam_seconds(rows_int(&rows, 1)));
	return 0;
}

int iam_op_list_policy_versions(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str arn = json_get_str(in, "PolicyArn");
	CLEANUP_ROWS struct rows rows = { 0 };
	const struct iam_managed *own = iam_managed_find(arn);
	int rc = own ? 1 : db_row(db, &rows, err, "SELECT created_ms FROM iam_policy WHERE arn=?", "S", arn);
	if (rc <= 0)
		return rc < 0 ? -1 : no_policy(arn, err);
	*out = json_pack("{s:[{s:s, s:b, s:f}], s:b}", "Versions", "VersionId", "v1", "IsDefaultVersion", 1,
			 "CreateDate", own ? 0.0 : iam_seconds(rows_int(&rows, 0)), "IsTruncated", 0);
	return 0;
}

/* AWS's own behind `after`, as far as the page goes. */
static void list_aws(struct call *c, struct db *db, const struct iam_page *page, bool attached, json_t *list)
{
	for (const struct iam_managed *m = iam_managed; m->name; m++) {
		const char *arn = arena_printf(c->arena, IAM_MANAGED_PREFIX "%s%s", m->path, m->name);
		if (str_cmp(str_from(arn), page->after) <= 0 || !str_starts(str_from(m->path), page->prefix) ||
		    (attached && !count_attached(db, arn)))
			continue;
		if ((int64_t)json_array_size(list) > page->limit)
			return;
		json_array_append_new(list, aws_policy_json(db, c->arena, m, false));
	}
}

/* In the order of ARNs: the account's begin with digits, AWS's with "aws". */
int iam_op_list_policies(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct iam_page page = iam_page_of(in);
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *scope = json_get_text(in, "Scope");
	bool aws_only = scope && strcmp(scope, "AWS") == 0, own_only = scope && strcmp(scope, "Local") == 0;
	bool attached = json_get_bool(in, "OnlyAttached", false);
	if (db_query(db, &rows, err,
		     "SELECT " POLICY_COLUMNS " FROM iam_policy p WHERE p.arn>? AND substr(p.path, 1, length(?))=?"
		     " AND (?=0 OR EXISTS (SELECT 1 FROM iam_attached a WHERE a.arn=p.arn)) ORDER BY p.arn LIMIT ?",
		     "SSSii", page.after, page.prefix, page.prefix, (int64_t)attached,
		     aws_only ? (int64_t)0 : page.limit + 1) < 0)
		return -1;
	json_t *list = json_array();
	int rc;
	while ((rc = rows_next(&rows, err)) > 0)
		json_array_append_new(list, policy_json(&rows));
	if (!own_only)
		list_aws(c, db, &page, attached, list);
	*out = iam_page_out(&page, "Policies", list, "Arn");
	return rc;
}
