/* api_user.c - users and their long-lived access keys.
 *
 * DESIGN: a user is a row and may have two keys, as in IAM. The secret is shown once, by CreateAccessKey; it is kept
 * because signatures are HMACs. A change of a key takes effect for every request that starts after it was acknowledged
 * (iam_forget_key). */
#include "iam/room.h"

json_t *iam_user_json(struct iam *i, struct arena *a, struct rows *rows, bool whole)
{
	json_t *u = json_pack("{s:s, s:s, s:s, s:s, s:f}", "Path", rows_str(rows, 1).ptr, "UserName",
			      rows_str(rows, 0).ptr, "UserId", rows_str(rows, 2).ptr, "Arn",
			      iam_arn(i, a, "user", rows_str(rows, 1), rows_str(rows, 0)), "CreateDate",
			      iam_seconds(rows_int(rows, 3)));
	if (whole && !rows_null(rows, 4))
		json_object_set_new(u, "Tags", iam_tag_list(rows_str(rows, 4)));
	if (whole)
		iam_set_boundary(u, rows_str(rows, 5));
	return u;
}

static int no_user(struct str name, struct error *err)
{
	return error_aws(err, "NoSuchEntity", "The user with name %.*s cannot be found.", STR_ARG(name));
}

/* 0 found, < 0 with err. */
static int load_user(struct call *c, struct db *db, struct arena *a, struct str name, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT " IAM_USER_COLUMNS " FROM iam_user WHERE name=?", "S", name);
	if (rc <= 0)
		return rc < 0 ? -1 : no_user(name, err);
	*out = iam_user_json(iam_of(c), a, &rows, true);
	return 0;
}

int iam_need_user(struct db *db, struct str name, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT 1 FROM iam_user WHERE name=?", "S", name);
	return rc == 0 ? no_user(name, err) : rc < 0 ? -1 : 0;
}

void iam_set_boundary(json_t *o, struct str arn)
{
	if (arn.len)
		json_object_set_new(o, "PermissionsBoundary",
				    json_pack("{s:s, s:s%}", "PermissionsBoundaryType", "PermissionsBoundaryPolicy",
					      "PermissionsBoundaryArn", arn.ptr, arn.len));
}

/* The user a request means: UserName, or the caller when it is a user. */
static int user_of(struct call *c, const json_t *in, struct str *name, struct error *err)
{
	*name = json_get_str(in, "UserName");
	if (name->ptr)
		return 0;
	const char *user = strstr(c->who->arn, ":user/");
	if (!user)
		return error_aws(err, "ValidationError",
				 "Must specify userName when calling with non-User credentials");
	*name = iam_last_part(str_from(user));
	return 0;
}

int iam_op_create_user(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct arena *a = turn_arena(t);
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct str name = json_get_str(in, "UserName"),
		   path = json_get(in, "Path") ? json_get_str(in, "Path") : STR("/");
	struct str boundary = json_get_str(in, "PermissionsBoundary");
	const char *tags = NULL;
	if (iam_add_tags(a, STR_NULL, json_get(in, "Tags"), &tags, err) < 0 ||
	    (boundary.len && iam_policy_exists(turn_db(t), boundary, err) <= 0))
		return -1;
	int rc = db_exec(
		turn_db(t), &why,
		"INSERT INTO iam_user(name, folded, path, id, created_ms, tags, boundary) VALUES(?,?,?,?,?,?,?)",
		"SsSsisS", name, iam_fold(a, name), path, iam_new_id(t, "AIDA", 17), turn_now_ms(t), tags, boundary);
	if (rc < 0)
		return iam_taken(&why, err, "User with name ", name, " already exists.");
	json_t *user = NULL;
	if (load_user(c, turn_db(t), a, name, &user, err) < 0)
		return -1;
	*out = json_pack("{s:o}", "User", user);
	return iam_policies_changed(iam_of(c), t, err);
}

/* The secrets that the cache knows for the user are of his old name. */
static int forget_keys(struct iam *i, struct turn *t, struct str name, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_query(
		turn_db(t), &rows, err,
		"SELECT access_key FROM iam_key WHERE user_name=? UNION ALL SELECT access_key FROM iam_session "
		"WHERE owner='user/' || ?",
		"SS", name, name);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		iam_forget_key(i, rows_str(&rows, 0).ptr);
	return rc;
}

static int rename_user(struct call *c, struct turn *t, struct str from, struct str to, const char *arn,
		       struct error *err)
{
	if (forget_keys(iam_of(c), t, from, err) < 0 || iam_rename_owner(t, "user", from, to, err) < 0 ||
	    db_exec(turn_db(t), err, "UPDATE iam_session SET arn=? WHERE owner='user/' || ?", "sS", arn, to) < 0 ||
	    db_exec(turn_db(t), err, "UPDATE iam_key SET user_name=? WHERE user_name=?", "SS", to, from) < 0 ||
	    db_exec(turn_db(t), err, "UPDATE iam_member SET user_name=? WHERE user_name=?", "SS", to, from) < 0)
		return -1;
	return 0;
}

int iam_op_update_user(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct arena *a = turn_arena(t);
	struct str name = json_get_str(in, "UserName");
	json_t *old = NULL;
	if (load_user(c, turn_db(t), a, name, &old, err) < 0)
		return -1;
	struct str to = json_get(in, "NewUserName") ? json_get_str(in, "NewUserName") : name;
	struct str path = arena_str(
		a, json_get_str(json_get(in, "NewPath") ? in : old, json_get(in, "NewPath") ? "NewPath" : "Path"));
	json_decref(old);
	CLEANUP_ROWS struct rows rows = { 0 };
	int taken = db_row(turn_db(t), &rows, err, "SELECT 1 FROM iam_user WHERE folded=? AND name<>?", "sS",
			   iam_fold(a, to), name);
	if (taken)
		return taken < 0 ? -1
				 : error_aws(err, "EntityAlreadyExists", "User with name %.*s already exists.",
					     STR_ARG(to));
	if (db_exec(turn_db(t), err, "UPDATE iam_user SET name=?, folded=?, path=? WHERE name=?", "SsSS", to,
		    iam_fold(a, to), path, name) < 0 ||
	    rename_user(c, t, name, to, iam_arn(iam_of(c), a, "user", path, to), err) < 0)
		return -1;
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_delete_user(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	static const struct iam_tie ties[] = {
		{ "SELECT 1 FROM iam_member WHERE user_name=? LIMIT 1", "must remove users from group first." },
		{ "SELECT 1 FROM iam_key WHERE user_name=? LIMIT 1", "must delete access keys first." },
		{ "SELECT 1 FROM iam_attached WHERE owner='user/' || ? LIMIT 1", "must detach all policies first." },
		{ "SELECT 1 FROM iam_inline WHERE owner='user/' || ? LIMIT 1", "must delete policies first." },
		{ NULL, NULL },
	};
	struct str name = json_get_str(in, "UserName");
	if (iam_need_user(turn_db(t), name, err) < 0 || iam_check_ties(turn_db(t), name, ties, err) < 0 ||
	    db_exec(turn_db(t), err, "DELETE FROM iam_user WHERE name=?", "S", name) < 0)
		return -1;
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_get_user(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str name;
	json_t *user = NULL;
	if (user_of(c, in, &name, err) < 0 || load_user(c, db, c->arena, name, &user, err) < 0)
		return -1;
	*out = json_pack("{s:o}", "User", user);
	return 0;
}

int iam_op_list_users(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct iam_page page = iam_page_of(in);
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_query(db, &rows, err,
		     "SELECT " IAM_USER_COLUMNS
		     " FROM iam_user WHERE name>? AND substr(path, 1, length(?))=? ORDER BY name LIMIT ?",
		     "SSSi", page.after, page.prefix, page.prefix, page.limit + 1) < 0)
		return -1;
	json_t *list = json_array();
	int rc;
	while ((rc = rows_next(&rows, err)) > 0)
		json_array_append_new(list, iam_user_json(iam_of(c), c->arena, &rows, false));
	*out = iam_page_out(&page, "Users", list, "UserName");
	return rc;
}

/* ---- keys ---- */

int iam_op_create_key(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str user;
	if (user_of(c, in, &user, err) < 0 || iam_need_user(turn_db(t), user, err) < 0 ||
	    iam_check_quota(turn_db(t), "SELECT count(*) FROM iam_key WHERE user_name=?", user.ptr, "AccessKeysPerUser",
			    2, err) < 0)
		return -1;
	const char *key = iam_new_id(t, "AKIA", 16), *secret = iam_new_secret(t);
	if (db_exec(turn_db(t), err,
		    "INSERT INTO iam_key(access_key, user_name, secret, active, created_ms) VALUES(?,?,?,1,?)", "sSsi",
		    key, user, secret, turn_now_ms(t)) < 0)
		return -1;
	*out = json_pack("{s:{s:s%, s:s, s:s, s:s, s:f}}", "AccessKey", "UserName", user.ptr, user.len, "AccessKeyId",
			 key, "Status", "Active", "SecretAccessKey", secret, "CreateDate", iam_seconds(turn_now_ms(t)));
	return 0;
}

int iam_no_key(const char *key, struct error *err)
{
	return error_aws(err, "NoSuchEntity", "The Access Key with id %s cannot be found.", key);
}

int iam_op_update_key(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str user;
	const char *key = json_get_text(in, "AccessKeyId"), *status = json_get_text(in, "Status");
	if (user_of(c, in, &user, err) < 0)
		return -1;
	iam_forget_key(iam_of(c), key);
	int rc = db_exec(turn_db(t), err, "UPDATE iam_key SET active=? WHERE access_key=? AND user_name=?", "isS",
			 (int64_t)(strcmp(status, "Active") == 0), key, user);
	return rc < 0 ? -1 : rc == 0 ? iam_no_key(key, err) : 0;
}

int iam_op_delete_key(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str user;
	const char *key = json_get_text(in, "AccessKeyId");
	if (user_of(c, in, &user, err) < 0)
		return -1;
	iam_forget_key(iam_of(c), key);
	int rc = db_exec(turn_db(t), err, "DELETE FROM iam_key WHERE access_key=? AND user_name=?", "sS", key, user);
	return rc < 0 ? -1 : rc == 0 ? iam_no_key(key, err) : 0;
}

int iam_op_list_keys(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str user;
	CLEANUP_ROWS struct rows rows = { 0 };
	if (user_of(c, in, &user, err) < 0 || iam_need_user(db, user, err) < 0 ||
	    db_query(db, &rows, err,
		     "SELECT access_key, active, created_ms FROM iam_key WHERE user_name=? ORDER BY created_ms, "
		     "access_key",
		     "S", user) < 0)
		return -1;
	json_t *list = json_array();
	int rc;
	while ((rc = rows_next(&rows, err)) > 0)
		json_array_append_new(list, json_pack("{s:s%, s:s, s:s, s:f}", "UserName", user.ptr, user.len,
						      "AccessKeyId", rows_str(&rows, 0).ptr, "Status",
						      rows_int(&rows, 1) ? "Active" : "Inactive", "CreateDate",
						      iam_seconds(rows_int(&rows, 2))));
	*out = json_pack("{s:o, s:b}", "AccessKeyMetadata", list, "IsTruncated", 0);
	return rc;
}
