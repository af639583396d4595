/* api_profile.c - instance profiles: the role of a machine, under a name of its own.
 *
 * DESIGN: there are no machines here that would take one; profiles are kept for the tools that make them beside a role.
 * One holds at most one role. Source: IAM user guide, "Use instance profiles". */
#include "iam/room.h"

#define PROFILE_COLUMNS "name, path, id, created_ms, tags, role"

static json_t *profile_json(struct iam *i, struct arena *a, struct rows *rows, json_t *roles, bool whole)
{
	json_t *p = json_pack("{s:s, s:s, s:s, s:s, s:f, s:o}", "Path", rows_str(rows, 1).ptr, "InstanceProfileName",
			      rows_str(rows, 0).ptr, "InstanceProfileId", rows_str(rows, 2).ptr, "Arn",
			      iam_arn(i, a, "instance-profile", rows_str(rows, 1), rows_str(rows, 0)), "CreateDate",
			      iam_seconds(rows_int(rows, 3)), "Roles", roles);
	if (whole && !rows_null(rows, 4))
		json_object_set_new(p, "Tags", iam_tag_list(rows_str(rows, 4)));
	return p;
}

/* The role of the profile in `rows`, as a list. */
static json_t *roles_of(struct iam *i, struct db *db, struct arena *a, struct rows *rows, struct error *err)
{
	struct iam_role r;
	struct str name = rows_str(rows, 5);
	json_t *list = json_array();
	int rc = name.len ? iam_get_role(i, db, a, name, &r, err) : 0;
	if (rc > 0)
		json_array_append_new(list, iam_role_json(a, &r, false));
	if (rc >= 0)
		return list;
	json_decref(list);
	return NULL;
}

/* *role: its role's name, in the arena, "" without; *out (may be NULL) is owned. Absence is the error NoSuchEntity. */
static int load_profile(struct iam *i, struct db *db, struct arena *a, struct str name, const char **role, json_t **out,
			struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT " PROFILE_COLUMNS " FROM iam_profile WHERE name=?", "S", name);
	if (rc == 0)
		return error_aws(err, "NoSuchEntity", "Instance Profile %.*s cannot be found.", STR_ARG(name));
	if (rc < 0)
		return -1;
	*role = rows_null(&rows, 5) ? "" : arena_strdup(a, rows_str(&rows, 5));
	json_t *roles = out ? roles_of(i, db, a, &rows, err) : NULL;
	if (out && !roles)
		return -1;
	if (out)
		*out = profile_json(i, a, &rows, roles, true);
	return 0;
}

int iam_op_create_profile(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct arena *a = turn_arena(t);
	CLEANUP_ERROR struct error why = ERROR_INIT;
	const char *tags = NULL, *role;
	struct str name = json_get_str(in, "InstanceProfileName"),
		   path = json_get(in, "Path") ? json_get_str(in, "Path") : STR("/");
	json_t *profile = NULL;
	if (iam_add_tags(a, STR_NULL, json_get(in, "Tags"), &tags, err) < 0)
		return -1;
	if (db_exec(turn_db(t), &why,
		    "INSERT INTO iam_profile(name, folded, path, id, created_ms, tags) VALUES(?,?,?,?,?,?)", "SsSsis",
		    name, iam_fold(a, name), path, iam_new_id(t, "AIPA", 17), turn_now_ms(t), tags) < 0)
		return iam_taken(&why, err, "Instance Profile ", name, " already exists.");
	if (load_profile(iam_of(c), turn_db(t), a, name, &role, &profile, err) < 0)
		return -1;
	*out = json_pack("{s:o}", "InstanceProfile", profile);
	return 0;
}

int iam_op_delete_profile(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	static const struct iam_tie ties[] = {
		{ "SELECT 1 FROM iam_profile WHERE name=? AND role IS NOT NULL",
		  "must remove roles from instance profile first." },
		{ NULL, NULL },
	};
	const char *role;
	struct str name = json_get_str(in, "InstanceProfileName");
	if (load_profile(iam_of(c), turn_db(t), turn_arena(t), name, &role, NULL, err) < 0 ||
	    iam_check_ties(turn_db(t), name, ties, err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "DELETE FROM iam_profile WHERE name=?", "S", name) < 0 ? -1 : 0;
}

static int set_role(struct turn *t, struct str profile, const char *role, struct error *err)
{
	return db_exec(turn_db(t), err, "UPDATE iam_profile SET role=? WHERE name=?", "sS", role, profile) < 0 ? -1 : 0;
}

int iam_op_add_role(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct iam_role r;
	const char *role;
	struct str name = json_get_str(in, "InstanceProfileName");
	if (load_profile(iam_of(c), turn_db(t), turn_arena(t), name, &role, NULL, err) < 0 ||
	    iam_change_role(iam_of(c), turn_db(t), turn_arena(t), json_get_str(in, "RoleName"), &r, err) < 0)
		return -1;
	if (*role)
		return error_aws(err, "LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1");
	return set_role(t, name, json_get_text(in, "RoleName"), err);
}

int iam_op_remove_role(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const char *role, *wanted = json_get_text(in, "RoleName");
	struct str name = json_get_str(in, "InstanceProfileName");
	if (load_profile(iam_of(c), turn_db(t), turn_arena(t), name, &role, NULL, err) < 0)
		return -1;
	if (strcmp(role, wanted) != 0)
		return error_aws(err, "NoSuchEntity", "Role %s in Instance Profile %.*s cannot be found.", wanted,
				 STR_ARG(name));
	return set_role(t, name, NULL, err);
}

int iam_op_get_profile(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	const char *role;
	json_t *profile = NULL;
	if (load_profile(iam_of(c), db, c->arena, json_get_str(in, "InstanceProfileName"), &role, &profile, err) < 0)
		return -1;
	*out = json_pack("{s:o}", "InstanceProfile", profile);
	return 0;
}

int iam_op_list_profiles(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct iam_page page = iam_page_of(in);
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_query(db, &rows, err,
		     "SELECT " PROFILE_COLUMNS
		     " FROM iam_profile WHERE name>? AND substr(path, 1, length(?))=? ORDER BY name LIMIT ?",
		     "SSSi", page.after, page.prefix, page.prefix, page.limit + 1) < 0)
		return -1;
	json_t *list = json_array(), *roles;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0 && (roles = roles_of(iam_of(c), db, c->arena, &rows, err)))
		json_array_append_new(list, profile_json(iam_of(c), c->arena, &rows, roles, false));
	*out = iam_page_out(&page, "InstanceProfiles", list, "InstanceProfileName");
	return rc ? -1 : 0;
}

json_t *iam_profiles_of(struct iam *i, struct db *db, struct arena *a, const struct iam_role *r, const char *after,
			int64_t limit, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *list = json_array();
	int rc = db_query(db, &rows, err,
			  "SELECT " PROFILE_COLUMNS " FROM iam_profile WHERE role=? AND name>? ORDER BY name LIMIT ?",
			  "Ssi", r->name, after, limit);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(list,
				      profile_json(i, a, &rows, json_pack("[o]", iam_role_json(a, r, false)), false));
	if (rc == 0)
		return list;
	json_decref(list);
	return NULL;
}

int iam_op_list_profiles_of_role(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct iam_role r;
	struct iam_page page = iam_page_of(in);
	if (iam_need_role(iam_of(c), db, c->arena, json_get_str(in, "RoleName"), &r, err) < 0)
		return -1;
	json_t *list = iam_profiles_of(iam_of(c), db, c->arena, &r, page.after.ptr, page.limit + 1, err);
	if (!list)
		return -1;
	*out = iam_page_out(&page, "InstanceProfiles", list, "InstanceProfileName");
	return 0;
}
