/* api_policy.c - policies of roles: inline, attached, and managed ones of the account.
 *
 * DESIGN: documents are kept as sent and given back; nothing is evaluated yet. A policy of AWS's own
 * ("arn:aws:iam::aws:policy/...") may be attached by its ARN without a row here; a policy of the account must have been
 * created. A managed policy has one version, v1. */
#include <ctype.h>

#include "iam/room.h"

static int need_role(struct call *c, struct db *db, struct arena *a, const json_t *in, struct str *name,
		     struct error *err)
{
	struct iam_role r;
	*name = json_get_str(in, "RoleName");
	return iam_need_role(iam_of(c), db, a, *name, &r, err);
}

/* ---- attached ---- */

static bool is_aws_policy(struct str arn)
{
	return str_starts(arn, STR("arn:aws:iam::aws:policy/")) && iam_last_part(arn).len > 0;
}

static int policy_exists(struct db *db, struct str arn, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	return is_aws_policy(arn) ? 1 : db_row(db, &rows, err, "SELECT 1 FROM iam_policy WHERE arn=?", "S", arn);
}

int iam_op_attach(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str role, arn = json_get_str(in, "PolicyArn");
	if (need_role(c, turn_db(t), turn_arena(t), in, &role, err) < 0)
		return -1;
	int rc = policy_exists(turn_db(t), arn, err);
	if (rc == 0)
		return error_aws(err, "NoSuchEntity", "Policy %.*s does not exist or is not attachable.", STR_ARG(arn));
	if (rc < 0)
		return -1;
	return db_exec(turn_db(t), err, "INSERT INTO iam_attached(role, arn) VALUES(?,?) ON CONFLICT DO NOTHING", "SS",
		       role, arn) < 0
		       ? -1
		       : 0;
}

int iam_op_detach(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str role, arn = json_get_str(in, "PolicyArn");
	if (need_role(c, turn_db(t), turn_arena(t), in, &role, err) < 0)
		return -1;
	int rc = db_exec(turn_db(t), err, "DELETE FROM iam_attached WHERE role=? AND arn=?", "SS", role, arn);
	if (rc == 0)
		return error_aws(err, "NoSuchEntity", "Policy %.*s was not found.", STR_ARG(arn));
	return rc < 0 ? -1 : 0;
}

int iam_op_list_attached(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str role;
	struct iam_page page = iam_page_of(in);
	CLEANUP_ROWS struct rows rows = { 0 };
	if (need_role(c, db, c->arena, in, &role, err) < 0 ||
	    db_query(db, &rows, err, "SELECT arn FROM iam_attached WHERE role=? AND arn>? ORDER BY arn LIMIT ?", "SSi",
		     role, page.after, page.limit + 1) < 0)
		return -1;
	json_t *list = json_array();
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		struct str arn = rows_str(&rows, 0), name = iam_last_part(arn);
		json_array_append_new(list, json_pack("{s:s%, s:s%}", "PolicyName", name.ptr, name.len, "PolicyArn",
						      arn.ptr, arn.len));
	}
	*out = iam_page_out(&page, "AttachedPolicies", list, "PolicyArn");
	return rc;
}

/* ---- inline ---- */

int iam_op_put_inline(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str role, name = json_get_str(in, "PolicyName"), document = json_get_str(in, "PolicyDocument");
	if (need_role(c, turn_db(t), turn_arena(t), in, &role, err) < 0 || iam_check_document(document, err) < 0)
		return -1;
	return db_exec(turn_db(t), err,
		       "INSERT INTO iam_inline(role, name, document) VALUES(?,?,?) ON CONFLICT(role, name) DO UPDATE "
		       "SET document=excluded.document",
		       "SSS", role, name, document) < 0
		       ? -1
		       : 0;
}

static int no_inline(struct str name, struct error *err)
{
	return error_aws(err, "NoSuchEntity", "The role policy with name %.*s cannot be found.", STR_ARG(name));
}

int iam_op_delete_inline(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str role, name = json_get_str(in, "PolicyName");
	if (need_role(c, turn_db(t), turn_arena(t), in, &role, err) < 0)
		return -1;
	int rc = db_exec(turn_db(t), err, "DELETE FROM iam_inline WHERE role=? AND name=?", "SS", role, name);
	return rc < 0 ? -1 : rc == 0 ? no_inline(name, err) : 0;
}

int iam_op_get_inline(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str role, name = json_get_str(in, "PolicyName");
	CLEANUP_ROWS struct rows rows = { 0 };
	if (need_role(c, db, c->arena, in, &role, err) < 0)
		return -1;
	int rc = db_row(db, &rows, err, "SELECT document FROM iam_inline WHERE role=? AND name=?", "SS", role, name);
	if (rc <= 0)
		return rc < 0 ? -1 : no_inline(name, err);
	*out = json_pack("{s:s, s:s, s:s}", "RoleName", role.ptr, "PolicyName", name.ptr, "PolicyDocument",
			 iam_encode_document(c->arena, rows_str(&rows, 0)));
	return 0;
}

int iam_op_list_inline(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str role;
	struct iam_page page = iam_page_of(in);
	CLEANUP_ROWS struct rows rows = { 0 };
	if (need_role(c, db, c->arena, in, &role, err) < 0 ||
	    db_query(db, &rows, err, "SELECT name FROM iam_inline WHERE role=? AND name>? ORDER BY name LIMIT ?", "SSi",
		     role, page.after, page.limit + 1) < 0)
		return -1;
	json_t *list = json_array();
	int rc;
	while ((rc = rows_next(&rows, err)) > 0)
		json_array_append_new(list, json_string(rows_str(&rows, 0).ptr));
	*out = iam_page_out(&page, "PolicyNames", list, NULL);
	return rc;
}

/* ---- managed ---- */

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

/* 1 with *out owned, 0 unknown. */
static int load_policy(struct db *db, struct str arn, bool whole, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
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
	if (iam_check_document(document, err) < 0)
		return -1;
	if (json_get(in, "Tags"))
		tags = iam_merge_tags(a, STR_NULL, json_get(in, "Tags"));
	char *folded = arena_strdup(a, name);
	for (char *p = folded; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	int rc = db_exec(turn_db(t), &why,
			 "INSERT INTO iam_policy(arn, name, folded, path, id, document, description, created_ms, tags) "
			 "VALUES(?,?,?,?,?,?,?,?,?)",
			 "sSsSsSSis", arn, name, folded, path, iam_new_id(t, "ANPA", 17), document,
			 json_get_str(in, "Description"), turn_now_ms(t), tags);
	if (rc < 0 && error_is(&why, "conflict"))
		return error_aws(err, "EntityAlreadyExists",
				 "A policy called %.*s already exists. Duplicate names are not allowed.",
				 STR_ARG(name));
	if (rc < 0)
		return error_move(err, &why);
	json_t *policy = NULL;
	if (load_policy(turn_db(t), str_from(arn), false, &policy, err) <= 0)
		return -1;
	if (tags)
		json_object_set_new(policy, "Tags", iam_tag_list(str_from(tags)));
	*out = json_pack("{s:o}", "Policy", policy);
	return 0;
}

int iam_op_delete_policy(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str arn = json_get_str(in, "PolicyArn");
	CLEANUP_ROWS struct rows rows = { 0 };
	int used = db_row(turn_db(t), &rows, err, "SELECT 1 FROM iam_attached WHERE arn=? LIMIT 1", "S", arn);
	if (used < 0)
		return -1;
	if (used)
		return error_aws(err, "DeleteConflict", "Cannot delete a policy attached to entities.");
	int rc = db_exec(turn_db(t), err, "DELETE FROM iam_policy WHERE arn=?", "S", arn);
	return rc < 0 ? -1 : rc == 0 ? no_policy(arn, err) : 0;
}

int iam_op_get_policy(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str arn = json_get_str(in, "PolicyArn");
	json_t *policy = NULL;
	int rc = load_policy(db, arn, true, &policy, err);
	if (rc <= 0)
		return rc < 0 ? -1 : no_policy(arn, err);
	*out = json_pack("{s:o}", "Policy", policy);
	return 0;
}

int iam_op_get_policy_version(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str arn = json_get_str(in, "PolicyArn"), version = json_get_str(in, "VersionId");
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT document, created_ms FROM iam_policy WHERE arn=?", "S", arn);
	if (rc <= 0)
		return rc < 0 ? -1 : no_policy(arn, err);
	if (!str_eqz(version, "v1"))
		return error_aws(err, "NoSuchEntity", "Policy %.*s version %.*s does not exist or is not attachable.",
				 STR_ARG(arn), STR_ARG(version));
	*out = json_pack("{s:{s:s, s:s, s:b, s:f}}", "PolicyVersion", "Document",
			 iam_encode_document(c->arena, rows_str(&rows, 0)), "VersionId", "v1", "IsDefaultVersion", 1,
			 "CreateDate", iam_seconds(rows_int(&rows, 1)));
	return 0;
}

int iam_op_list_policy_versions(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str arn = json_get_str(in, "PolicyArn");
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT created_ms FROM iam_policy WHERE arn=?", "S", arn);
	if (rc <= 0)
		return rc < 0 ? -1 : no_policy(arn, err);
	*out = json_pack("{s:[{s:s, s:b, s:f}], s:b}", "Versions", "VersionId", "v1", "IsDefaultVersion", 1,
			 "CreateDate", iam_seconds(rows_int(&rows, 0)), "IsTruncated", 0);
	return 0;
}

int iam_op_list_policies(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct iam_page page = iam_page_of(in);
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *scope = json_get_text(in, "Scope");
	bool aws_only = scope && strcmp(scope, "AWS") == 0, attached = json_get_bool(in, "OnlyAttached", false);
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
	*out = iam_page_out(&page, "Policies", list, "Arn");
	return rc;
}
