/* api_group.c - groups, and who is in them.
 *
 * DESIGN: a user has the policies of his groups as if they were his own (grants.c). */
#include "iam/room.h"

enum { GROUPS_MAX = 10 };

json_t *iam_group_json(struct iam *i, struct arena *a, struct rows *rows)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:f}", "Path", rows_str(rows, 1).ptr, "GroupName", rows_str(rows, 0).ptr,
			 "GroupId", rows_str(rows, 2).ptr, "Arn",
			 iam_arn(i, a, "group", rows_str(rows, 1), rows_str(rows, 0)), "CreateDate",
			 iam_seconds(rows_int(rows, 3)));
}

/* Owned; NULL with err, NoSuchEntity when there is none. */
static json_t *load_group(struct call *c, struct db *db, struct arena *a, struct str name, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT " IAM_GROUP_COLUMNS " FROM iam_group WHERE name=?", "S", name);
	if (rc > 0)
		return iam_group_json(iam_of(c), a, &rows);
	if (rc == 0)
		error_aws(err, "NoSuchEntity", "The group with name %.*s cannot be found.", STR_ARG(name));
	return NULL;
}

int iam_need_group(struct db *db, struct str name, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT 1 FROM iam_group WHERE name=?", "S", name);
	if (rc == 0)
		return error_aws(err, "NoSuchEntity", "The group with name %.*s cannot be found.", STR_ARG(name));
	return rc < 0 ? -1 : 0;
}

int iam_op_create_group(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct arena *a = turn_arena(t);
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct str name = json_get_str(in, "GroupName"),
		   path = json_get(in, "Path") ? json_get_str(in, "Path") : STR("/");
	if (db_exec(turn_db(t), &why, "INSERT INTO iam_group(name, folded, path, id, created_ms) VALUES(?,?,?,?,?)",
		    "SsSsi", name, iam_fold(a, name), path, iam_new_id(t, "AGPA", 17), turn_now_ms(t)) < 0)
		return iam_taken(&why, err, "Group with name ", name, " already exists.");
	json_t *group = load_group(c, turn_db(t), a, name, err);
	if (!group)
		return -1;
	*out = json_pack("{s:o}", "Group", group);
	return 0; /* nobody is in it yet */
}

int iam_op_update_group(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct arena *a = turn_arena(t);
	struct str name = json_get_str(in, "GroupName"),
		   to = json_get(in, "NewGroupName") ? json_get_str(in, "NewGroupName") : name;
	CLEANUP_JSON json_t *old = load_group(c, turn_db(t), a, name, err);
	if (!old)
		return -1;
	const char *path = json_get(in, "NewPath") ? json_get_text(in, "NewPath") : json_get_text(old, "Path");
	CLEANUP_ROWS struct rows rows = { 0 };
	int taken = db_row(turn_db(t), &rows, err, "SELECT 1 FROM iam_group WHERE folded=? AND name<>?", "sS",
			   iam_fold(a, to), name);
	if (taken)
		return taken < 0 ? -1
				 : error_aws(err, "EntityAlreadyExists", "Group with name %.*s already exists.",
					     STR_ARG(to));
	if (db_exec(turn_db(t), err, "UPDATE iam_group SET name=?, folded=?, path=? WHERE name=?", "SssS", to,
		    iam_fold(a, to), path, name) < 0 ||
	    db_exec(turn_db(t), err, "UPDATE iam_member SET group_name=? WHERE group_name=?", "SS", to, name) < 0 ||
	    iam_rename_owner(t, "group", name, to, err) < 0)
		return -1;
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_delete_group(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	static const struct iam_tie ties[] = {
		{ "SELECT 1 FROM iam_member WHERE group_name=? LIMIT 1", "must remove users from group first." },
		{ "SELECT 1 FROM iam_attached WHERE owner='group/' || ? LIMIT 1", "must detach all policies first." },
		{ "SELECT 1 FROM iam_inline WHERE owner='group/' || ? LIMIT 1", "must delete policies first." },
		{ NULL, NULL },
	};
	struct str name = json_get_str(in, "GroupName");
	if (iam_need_group(turn_db(t), name, err) < 0 || iam_check_ties(turn_db(t), name, ties, err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "DELETE FROM iam_group WHERE name=?", "S", name) < 0 ? -1 : 0;
}

/* The group, and a page of who is in it. */
int iam_op_get_group(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str name = json_get_str(in, "GroupName");
	struct iam_page page = iam_page_of(in);
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_JSON json_t *group = load_group(c, db, c->arena, name, err);
	if (!group ||
	    db_query(db, &rows, err,
		     "SELECT " IAM_USER_COLUMNS " FROM iam_user WHERE name IN (SELECT user_name FROM iam_member WHERE "
		     "group_name=?) AND name>? ORDER BY name LIMIT ?",
		     "SSi", name, page.after, page.limit + 1) < 0)
		return -1;
	json_t *list = json_array();
	int rc;
	while ((rc = rows_next(&rows, err)) > 0)
		json_array_append_new(list, iam_user_json(iam_of(c), c->arena, &rows, false));
	*out = iam_page_out(&page, "Users", list, "UserName");
	json_object_set(*out, "Group", group);
	return rc;
}

static int list_groups(struct call *c, struct rows *rows, const struct iam_page *page, json_t **out, struct error *err)
{
	json_t *list = json_array();
	int rc;
	while ((rc = rows_next(rows, err)) > 0)
		json_array_append_new(list, iam_group_json(iam_of(c), c->arena, rows));
	*out = iam_page_out(page, "Groups", list, "GroupName");
	return rc;
}

int iam_op_list_groups(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct iam_page page = iam_page_of(in);
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_query(db, &rows, err,
		     "SELECT " IAM_GROUP_COLUMNS
		     " FROM iam_group WHERE name>? AND substr(path, 1, length(?))=? ORDER BY name LIMIT ?",
		     "SSSi", page.after, page.prefix, page.prefix, page.limit + 1) < 0)
		return -1;
	return list_groups(c, &rows, &page, out, err);
}

int iam_op_list_groups_of_user(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str user = json_get_str(in, "UserName");
	struct iam_page page = iam_page_of(in);
	CLEANUP_ROWS struct rows rows = { 0 };
	if (iam_need_user(db, user, err) < 0 ||
	    db_query(db, &rows, err,
		     "SELECT " IAM_GROUP_COLUMNS " FROM iam_group WHERE name IN (SELECT group_name FROM iam_member "
		     "WHERE user_name=?) AND name>? ORDER BY name LIMIT ?",
		     "SSi", user, page.after, page.limit + 1) < 0)
		return -1;
	return list_groups(c, &rows, &page, out, err);
}

/* ---- members ---- */

int iam_op_add_member(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str group = json_get_str(in, "GroupName"), user = json_get_str(in, "UserName");
	CLEANUP_ROWS struct rows rows = { 0 };
	if (iam_need_group(turn_db(t), group, err) < 0 || iam_need_user(turn_db(t), user, err) < 0)
		return -1;
	int known = db_row(turn_db(t), &rows, err, "SELECT 1 FROM iam_member WHERE group_name=? AND user_name=?", "SS",
			   group, user);
	if (known)
		return known < 0 ? -1 : 0;
	if (iam_check_quota(turn_db(t), "SELECT count(*) FROM iam_member WHERE user_name=?", user.ptr, "GroupsPerUser",
			    GROUPS_MAX, err) < 0 ||
	    db_exec(turn_db(t), err, "INSERT INTO iam_member(group_name, user_name) VALUES(?,?)", "SS", group, user) <
		    0)
		return -1;
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_remove_member(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str group = json_get_str(in, "GroupName"), user = json_get_str(in, "UserName");
	if (iam_need_group(turn_db(t), group, err) < 0 || iam_need_user(turn_db(t), user, err) < 0)
		return -1;
	int rc = db_exec(turn_db(t), err, "DELETE FROM iam_member WHERE group_name=? AND user_name=?", "SS", group,
			 user);
	if (rc == 0)
		return error_aws(err, "NoSuchEntity", "User %.*s not in group %.*s", STR_ARG(user), STR_ARG(group));
	return rc < 0 ? -1 : iam_policies_changed(iam_of(c), t, err);
}
