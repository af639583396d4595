/* api_role.c - roles.
 *
 * DESIGN: one row a role; names are unique without regard to case, as in IAM. The
 * role that exists from the start cannot be deleted: the root key identifies as one of its sessions. */
#include "iam/room.h"

void iam_role_from(struct iam *i, struct arena *a, struct rows *rows, struct iam_role *out)
{
	*out = (struct iam_role){
		.name = arena_str(a, rows_str(rows, 0)),
		.path = arena_str(a, rows_str(rows, 1)),
		.id = arena_str(a, rows_str(rows, 2)),
		.document = arena_str(a, rows_str(rows, 3)),
		.max_session_s = rows_int(rows, 5),
		.created_ms = rows_int(rows, 6) ? rows_int(rows, 6) : i->born_ms,
	};
	if (!rows_null(rows, 4))
		out->description = arena_str(a, rows_str(rows, 4));
	if (!rows_null(rows, 7))
		out->tags = arena_str(a, rows_str(rows, 7));
	if (!rows_null(rows, 8))
		out->boundary = arena_str(a, rows_str(rows, 8));
	out->arn = iam_arn(i, a, "role", out->path, out->name);
}

int iam_get_role(struct iam *i, struct db *db, struct arena *a, struct str name, struct iam_role *out,
		 struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT " IAM_ROLE_COLUMNS " FROM iam_role WHERE name=?", "S", name);
	if (rc > 0)
		iam_role_from(i, a, &rows, out);
	return rc;
}

int iam_need_role(struct iam *i, struct db *db, struct arena *a, struct str name, struct iam_role *out,
		  struct error *err)
{
	int rc = iam_get_role(i, db, a, name, out, err);
	if (rc == 0)
		return error_aws(err, "NoSuchEntity", "The role with name %.*s cannot be found.", STR_ARG(name));
	return rc < 0 ? rc : 0;
}

int iam_change_role(struct iam *i, struct db *db, struct arena *a, struct str name, struct iam_role *out,
		    struct error *err)
{
	if (iam_need_role(i, db, a, name, out, err) < 0)
		return -1;
	if (!str_starts(out->path, STR(IAM_LINKED_PATH)))
		return 0;
	return error_aws(err, "UnmodifiableEntity",
			 "Cannot perform the operation on the protected role '%.*s' - this role is only modifiable by "
			 "AWS",
			 STR_ARG(name));
}

json_t *iam_role_json(struct arena *a, const struct iam_role *r, bool whole)
{
	json_t *out = json_pack("{s:s, s:s, s:s, s:s, s:f, s:s}", "Path", r->path.ptr, "RoleName", r->name.ptr,
				"RoleId", r->id.ptr, "Arn", r->arn, "CreateDate", iam_seconds(r->created_ms),
				"AssumeRolePolicyDocument", iam_encode_document(a, r->document));
	json_set_text(out, "Description", r->description.ptr);
	json_set_int(out, "MaxSessionDuration", r->max_session_s);
	if (whole && r->tags.len)
		json_object_set_new(out, "Tags", iam_tag_list(r->tags));
	if (whole)
		iam_set_boundary(out, r->boundary);
	if (whole)
		json_object_set_new(out, "RoleLastUsed", json_object());
	return out;
}

int iam_op_create_role(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct arena *a = turn_arena(t);
	CLEANUP_ERROR struct error why = ERROR_INIT;
	const char *path = json_get_text(in, "Path"), *tags = NULL;
	struct iam_role r = {
		.name = json_get_str(in, "RoleName"),
		.path = str_from(path ? path : "/"),
		.id = str_from(iam_new_id(t, "AROA", 17)),
		.document = json_get_str(in, "AssumeRolePolicyDocument"),
		.description = json_get_str(in, "Description"),
		.boundary = json_get_str(in, "PermissionsBoundary"),
		.max_session_s = json_get_int(in, "MaxSessionDuration", 3600),
		.created_ms = turn_now_ms(t),
	};
	if (iam_check_trust(r.document, err) < 0 || iam_add_tags(a, STR_NULL, json_get(in, "Tags"), &tags, err) < 0 ||
	    (r.boundary.len && iam_policy_exists(turn_db(t), r.boundary, err) <= 0))
		return -1;
	if (str_starts(r.path, STR(IAM_LINKED_PATH)))
		return error_aws(err, "InvalidInput",
				 "A role with the path " IAM_LINKED_PATH " is made by CreateServiceLinkedRole.");
	int rc = db_exec(
		turn_db(t), &why,
		"INSERT INTO iam_role(name, folded, path, id, document, description, max_session_s, created_ms, tags, "
		"boundary) VALUES(?,?,?,?,?,?,?,?,?,?)",
		"SsSSSSiisS", r.name, iam_fold(a, r.name), r.path, r.id, r.document, r.description, r.max_session_s,
		r.created_ms, tags, r.boundary);
	if (rc < 0)
		return iam_taken(&why, err, "Role with name ", r.name, " already exists.");
	r.arn = iam_arn(iam_of(c), a, "role", r.path, r.name);
	if (tags)
		r.tags = str_from(tags);
	json_t *role = iam_role_json(a, &r, true);
	json_object_del(role, "RoleLastUsed");
	*out = json_pack("{s:o}", "Role", role);
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_delete_role(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	static const struct iam_tie ties[] = {
		{ "SELECT 1 FROM iam_profile WHERE role=? LIMIT 1", "must remove roles from instance profile first." },
		{ "SELECT 1 FROM iam_attached WHERE owner='role/' || ? LIMIT 1", "must detach all policies first." },
		{ "SELECT 1 FROM iam_inline WHERE owner='role/' || ? LIMIT 1", "must delete policies first." },
		{ NULL, NULL },
	};
	struct iam_role r;
	struct db *db = turn_db(t);
	struct str name = json_get_str(in, "RoleName");
	if (iam_change_role(iam_of(c), db, turn_arena(t), name, &r, err) < 0)
		return -1;
	if (str_eqz(name, IAM_DEFAULT_ROLE))
		return error_aws(
			err, "UnmodifiableEntity",
			"The role %.*s belongs to Quern: its own keys are a session of it. It cannot be deleted.",
			STR_ARG(name));
	if (iam_check_ties(db, name, ties, err) < 0 ||
	    db_exec(db, err, "DELETE FROM iam_role WHERE name=?", "S", name) < 0)
		return -1;
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_update_role(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct iam_role r;
	struct str name = json_get_str(in, "RoleName");
	if (iam_need_role(iam_of(c), turn_db(t), turn_arena(t), name, &r, err) < 0)
		return -1;
	struct str description = json_get(in, "Description") ? json_get_str(in, "Description") : r.description;
	int64_t longest = json_get_int(in, "MaxSessionDuration", r.max_session_s);
	*out = json_object();
	return db_exec(turn_db(t), err, "UPDATE iam_role SET description=?, max_session_s=? WHERE name=?", "SiS",
		       description, longest, name) < 0
		       ? -1
		       : 0;
}

int iam_op_update_role_description(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct iam_role r;
	CLEANUP_JSON json_t *nothing = NULL;
	if (iam_op_update_role(c, t, in, &nothing, err) < 0 ||
	    iam_need_role(iam_of(c), turn_db(t), turn_arena(t), json_get_str(in, "RoleName"), &r, err) < 0)
		return -1;
	*out = json_pack("{s:o}", "Role", iam_role_json(turn_arena(t), &r, true));
	return 0;
}

int iam_op_update_trust(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct iam_role r;
	struct str name = json_get_str(in, "RoleName"), document = json_get_str(in, "PolicyDocument");
	if (iam_change_role(iam_of(c), turn_db(t), turn_arena(t), name, &r, err) < 0 ||
	    iam_check_trust(document, err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "UPDATE iam_role SET document=? WHERE name=?", "SS", document, name) < 0 ? -1
														 : 0;
}

int iam_op_get_role(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct iam_role r;
	if (iam_need_role(iam_of(c), db, c->arena, json_get_str(in, "RoleName"), &r, err) < 0)
		return -1;
	*out = json_pack("{s:o}", "Role", iam_role_json(c->arena, &r, true));
	return 0;
}

int iam_op_list_roles(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct iam_page page = iam_page_of(in);
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_query(db, &rows, err,
		     "SELECT " IAM_ROLE_COLUMNS
		     " FROM iam_role WHERE name>? AND substr(path, 1, length(?))=? ORDER BY name LIMIT ?",
		     "SSSi", page.after, page.prefix, page.prefix, page.limit + 1) < 0)
		return -1;
	json_t *list = json_array();
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		struct iam_role r;
		iam_role_from(iam_of(c), c->arena, &rows, &r);
		json_array_append_new(list, iam_role_json(c->arena, &r, false));
	}
	*out = iam_page_out(&page, "Roles", list, "RoleName");
	return rc;
}
