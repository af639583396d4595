/* api_policy.c - policies of roles, users and groups: inline and attached ones, and permissions boundaries.
 *
 * DESIGN: the operations of all three are the same ones; a request with RoleName is about a role, one with GroupName
 * about a group. Whose a policy is says "role/<name>", "user/<name>" or "group/<name>". Documents are checked when they
 * come, and kept as sent. */
#include "iam/room.h"

enum { ATTACHED_MAX = 10 };

/* Whose policies a request is about. */
struct owner {
	const char *kind, *key; /* "role", "role/<name>" */
	struct str name;
};

static struct owner owner_of(struct arena *a, const json_t *in)
{
	const char *kind = json_get(in, "RoleName") ? "role" : json_get(in, "GroupName") ? "group" : "user";
	struct str name = json_get_str(in, *kind == 'r' ? "RoleName" : *kind == 'g' ? "GroupName" : "UserName");
	return (struct owner){ kind, arena_printf(a, "%s/%.*s", kind, STR_ARG(name)), name };
}

/* One that exists; with `change` it is to be changed. */
static int need_owner(struct call *c, struct db *db, struct arena *a, const json_t *in, bool change, struct owner *o,
		      struct error *err)
{
	struct iam_role r;
	*o = owner_of(a, in);
	if (*o->kind == 'g')
		return iam_need_group(db, o->name, err);
	if (*o->kind == 'u')
		return iam_need_user(db, o->name, err);
	return (change ? iam_change_role : iam_need_role)(iam_of(c), db, a, o->name, &r, err);
}

/* ---- attached ---- */

int iam_op_attach(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct owner o;
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str arn = json_get_str(in, "PolicyArn");
	if (need_owner(c, turn_db(t), turn_arena(t), in, true, &o, err) < 0 ||
	    iam_policy_exists(turn_db(t), arn, err) <= 0)
		return -1;
	int known =
		db_row(turn_db(t), &rows, err, "SELECT 1 FROM iam_attached WHERE owner=? AND arn=?", "sS", o.key, arn);
	if (known)
		return known < 0 ? -1 : 0;
	const char *quota = *o.kind == 'r'   ? "PoliciesPerRole"
			    : *o.kind == 'g' ? "PoliciesPerGroup"
					     : "PoliciesPerUser";
	if (iam_check_quota(turn_db(t), "SELECT count(*) FROM iam_attached WHERE owner=?", o.key, quota, ATTACHED_MAX,
			    err) < 0 ||
	    db_exec(turn_db(t), err, "INSERT INTO iam_attached(owner, arn) VALUES(?,?)", "sS", o.key, arn) < 0)
		return -1;
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_detach(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct owner o;
	struct str arn = json_get_str(in, "PolicyArn");
	if (need_owner(c, turn_db(t), turn_arena(t), in, true, &o, err) < 0)
		return -1;
	int rc = db_exec(turn_db(t), err, "DELETE FROM iam_attached WHERE owner=? AND arn=?", "sS", o.key, arn);
	if (rc == 0)
		return error_aws(err, "NoSuchEntity", "Policy %.*s was not found.", STR_ARG(arn));
	return rc < 0 ? -1 : iam_policies_changed(iam_of(c), t, err);
}

json_t *iam_attached_of(struct db *db, const char *owner, const char *after, int64_t limit, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *list = json_array();
	int rc = db_query(db, &rows, err, "SELECT arn FROM iam_attached WHERE owner=? AND arn>? ORDER BY arn LIMIT ?",
			  "ssi", owner, after, limit);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		struct str arn = rows_str(&rows, 0), name = iam_last_part(arn);
		json_array_append_new(list, json_pack("{s:s%, s:s%}", "PolicyName", name.ptr, name.len, "PolicyArn",
						      arn.ptr, arn.len));
	}
	return iam_list_end(list, rc);
}

int iam_op_list_attached(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct owner o;
	struct iam_page page = iam_page_of(in);
	if (need_owner(c, db, c->arena, in, false, &o, err) < 0)
		return -1;
	json_t *list = iam_attached_of(db, o.key, page.after.ptr, page.limit + 1, err);
	if (!list)
		return -1;
	*out = iam_page_out(&page, "AttachedPolicies", list, "PolicyArn");
	return 0;
}

/* ---- inline ---- */

/* All inline policies of an owner together have a size; `name` is about to be replaced. */
static int check_size(struct db *db, const struct owner *o, struct str name, struct str document, struct error *err)
{
	int64_t max = *o->kind == 'r' ? 10240 : *o->kind == 'g' ? 5120 : 2048, size = iam_document_size(document);
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_query(db, &rows, err, "SELECT document FROM iam_inline WHERE owner=? AND name<>?", "sS", o->key,
			  name);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		size += iam_document_size(rows_str(&rows, 0));
	if (rc < 0 || size <= max)
		return rc;
	return error_aws(err, "LimitExceeded", "Maximum policy size of %lld bytes exceeded for %s %.*s", (long long)max,
			 o->kind, STR_ARG(o->name));
}

int iam_op_put_inline(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct owner o;
	struct str name = json_get_str(in, "PolicyName"), document = json_get_str(in, "PolicyDocument");
	if (need_owner(c, turn_db(t), turn_arena(t), in, true, &o, err) < 0 ||
	    iam_check_document(document, POLICY_IDENTITY, err) < 0 ||
	    check_size(turn_db(t), &o, name, document, err) < 0 ||
	    db_exec(turn_db(t), err,
		    "INSERT INTO iam_inline(owner, name, document) VALUES(?,?,?) ON CONFLICT(owner, name) DO UPDATE "
		    "SET document=excluded.document",
		    "sSS", o.key, name, document) < 0)
		return -1;
	return iam_policies_changed(iam_of(c), t, err);
}

static int no_inline(const struct owner *o, struct str name, struct error *err)
{
	return error_aws(err, "NoSuchEntity", "The %s policy with name %.*s cannot be found.", o->kind, STR_ARG(name));
}

int iam_op_delete_inline(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct owner o;
	struct str name = json_get_str(in, "PolicyName");
	if (need_owner(c, turn_db(t), turn_arena(t), in, true, &o, err) < 0)
		return -1;
	int rc = db_exec(turn_db(t), err, "DELETE FROM iam_inline WHERE owner=? AND name=?", "sS", o.key, name);
	if (rc <= 0)
		return rc < 0 ? -1 : no_inline(&o, name, err);
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_get_inline(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct owner o;
	struct str name = json_get_str(in, "PolicyName");
	CLEANUP_ROWS struct rows rows = { 0 };
	if (need_owner(c, db, c->arena, in, false, &o, err) < 0)
		return -1;
	int rc = db_row(db, &rows, err, "SELECT document FROM iam_inline WHERE owner=? AND name=?", "sS", o.key, name);
	if (rc <= 0)
		return rc < 0 ? -1 : no_inline(&o, name, err);
	*out = json_pack("{s:s, s:s}", "PolicyName", name.ptr, "PolicyDocument",
			 iam_encode_document(c->arena, rows_str(&rows, 0)));
	json_copy_key(*out, in, "RoleName");
	json_copy_key(*out, in, "UserName");
	json_copy_key(*out, in, "GroupName");
	return 0;
}

int iam_op_list_inline(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct owner o;
	struct iam_page page = iam_page_of(in);
	CLEANUP_ROWS struct rows rows = { 0 };
	if (need_owner(c, db, c->arena, in, false, &o, err) < 0 ||
	    db_query(db, &rows, err, "SELECT name FROM iam_inline WHERE owner=? AND name>? ORDER BY name LIMIT ?",
		     "sSi", o.key, page.after, page.limit + 1) < 0)
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
	struct owner o;
	if (need_owner(c, turn_db(t), turn_arena(t), in, true, &o, err) < 0)
		return -1;
	if (db_exec(turn_db(t), err,
		    *o.kind == 'r' ? "UPDATE iam_role SET boundary=? WHERE name=?"
				   : "UPDATE iam_user SET boundary=? WHERE name=?",
		    "Ss", arn, o.name.ptr) < 0)
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
