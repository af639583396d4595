/* api_policy.c - policies of roles and users: inline and attached ones, and permissions boundaries.
 *
 * DESIGN: the operations of roles and of users are the same ones; a request with RoleName is about a role. Whose a
 * policy is says "role/<name>" or "user/<name>". Documents are checked when they come, and kept as sent. */
#include "iam/room.h"

/* *owner: "role/<name>" or "user/<name>", of one that exists. */
static int need_owner(struct call *c, struct db *db, struct arena *a, const json_t *in, const char **owner,
		      struct error *err)
{
	struct iam_role r;
	struct str role = json_get_str(in, "RoleName"), user = json_get_str(in, "UserName");
	int rc = role.ptr ? iam_need_role(iam_of(c), db, a, role, &r, err) : iam_need_user(db, user, err);
	*owner = role.ptr ? arena_printf(a, "role/%.*s", STR_ARG(role)) : arena_printf(a, "user/%.*s", STR_ARG(user));
	return rc;
}

/* ---- attached ---- */

int iam_op_attach(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const char *owner;
	struct str arn = json_get_str(in, "PolicyArn");
	if (need_owner(c, turn_db(t), turn_arena(t), in, &owner, err) < 0 ||
	    iam_policy_exists(turn_db(t), arn, err) <= 0 ||
	    db_exec(turn_db(t), err, "INSERT INTO iam_attached(owner, arn) VALUES(?,?) ON CONFLICT DO NOTHING", "sS",
		    owner, arn) < 0)
		return -1;
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_detach(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const char *owner;
	struct str arn = json_get_str(in, "PolicyArn");
	if (need_owner(c, turn_db(t), turn_arena(t), in, &owner, err) < 0)
		return -1;
	int rc = db_exec(turn_db(t), err, "DELETE FROM iam_attached WHERE owner=? AND arn=?", "sS", owner, arn);
	if (rc == 0)
		return error_aws(err, "NoSuchEntity", "Policy %.*s was not found.", STR_ARG(arn));
	return rc < 0 ? -1 : iam_policies_changed(iam_of(c), t, err);
}

int iam_op_list_attached(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	const char *owner;
	struct iam_page page = iam_page_of(in);
	CLEANUP_ROWS struct rows rows = { 0 };
	if (need_owner(c, db, c->arena, in, &owner, err) < 0 ||
	    db_query(db, &rows, err, "SELECT arn FROM iam_attached WHERE owner=? AND arn>? ORDER BY arn LIMIT ?", "sSi",
		     owner, page.after, page.limit + 1) < 0)
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
	const char *owner;
	struct str name = json_get_str(in, "PolicyName"), document = json_get_str(in, "PolicyDocument");
	if (need_owner(c, turn_db(t), turn_arena(t), in, &owner, err) < 0 ||
	    iam_check_document(document, POLICY_IDENTITY, err) < 0 ||
	    db_exec(turn_db(t), err,
		    "INSERT INTO iam_inline(owner, name, document) VALUES(?,?,?) ON CONFLICT(owner, name) DO UPDATE "
		    "SET document=excluded.document",
		    "sSS", owner, name, document) < 0)
		return -1;
	return iam_policies_changed(iam_of(c), t, err);
}

static int no_inline(const json_t *in, struct str name, struct error *err)
{
	return error_aws(err, "NoSuchEntity", "The %s policy with name %.*s cannot be found.",
			 json_get(in, "RoleName") ? "role" : "user", STR_ARG(name));
}

int iam_op_delete_inline(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const char *owner;
	struct str name = json_get_str(in, "PolicyName");
	if (need_owner(c, turn_db(t), turn_arena(t), in, &owner, err) < 0)
		return -1;
	int rc = db_exec(turn_db(t), err, "DELETE FROM iam_inline WHERE owner=? AND name=?", "sS", owner, name);
	if (rc <= 0)
		return rc < 0 ? -1 : no_inline(in, name, err);
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_get_inline(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	const char *owner;
	struct str name = json_get_str(in, "PolicyName");
	CLEANUP_ROWS struct rows rows = { 0 };
	if (need_owner(c, db, c->arena, in, &owner, err) < 0)
		return -1;
	int rc = db_row(db, &rows, err, "SELECT document FROM iam_inline WHERE owner=? AND name=?", "sS", owner, name);
	if (rc <= 0)
		return rc < 0 ? -1 : no_inline(in, name, err);
	*out = json_pack("{s:s, s:s}", "PolicyName", name.ptr, "PolicyDocument",
			 iam_encode_document(c->arena, rows_str(&rows, 0)));
	json_copy_key(*out, in, "RoleName");
	json_copy_key(*out, in, "UserName");
	return 0;
}

int iam_op_list_inline(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	const char *owner;
	struct iam_page page = iam_page_of(in);
	CLEANUP_ROWS struct rows rows = { 0 };
	if (need_owner(c, db, c->arena, in, &owner, err) < 0 ||
	    db_query(db, &rows, err, "SELECT name FROM iam_inline WHERE owner=? AND name>? ORDER BY name LIMIT ?",
		     "sSi", owner, page.after, page.limit + 1) < 0)
		return -1;
	json_t *list = json_array();
	int rc;
	while ((rc = rows_next(&rows, err)) > 0)
		json_array_append_new(list, json_string(rows_str(&rows, 0).ptr));
	*out = iam_page_out(&page, "PolicyNames", list, NULL);
	return rc;
}

/* ---- permissions boundaries ---- */

static int set_boundary(struct call *c, struct turn *t, const json_t *in, struct str arn, struct error *err)
{
	const char *owner;
	if (need_owner(c, turn_db(t), turn_arena(t), in, &owner, err) < 0)
		return -1;
	bool role = json_get(in, "RoleName") != NULL;
	if (db_exec(turn_db(t), err,
		    role ? "UPDATE iam_role SET boundary=? WHERE name=?"
			 : "UPDATE iam_user SET boundary=? WHERE name=?",
		    "Ss", arn, owner + 5) < 0)
		return -1;
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_put_boundary(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str arn = json_get_str(in, "PermissionsBoundary");
	return iam_policy_exists(turn_db(t), arn, err) <= 0 ? -1 : set_boundary(c, t, in, arn, err);
}

int iam_op_delete_boundary(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	return set_boundary(c, t, in, STR_NULL, err);
}
