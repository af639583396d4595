/* api_details.c - GetAccountAuthorizationDetails and ListEntitiesForPolicy: lists over several kinds of entities.
 *
 * DESIGN: one kind comes behind the other; a Marker is "<kind>/<the last one's key>". Source: IAM API reference. */
#include "iam/room.h"

struct listing {
	struct call *c;
	struct db *db;
	const json_t *in;
	struct iam_page page;       /* of the kind that is read: limit is one more than wanted */
	bool permissions, bounding; /* ListEntitiesForPolicy: as what the policy is used */
};
struct kind {
	const char *name;                                      /* of the filter: "User" */
	const char *member;                                    /* of the answer */
	const char *key;                                       /* of an element */
	json_t *(*read)(struct listing *l, struct error *err); /* owned; NULL with err */
};

static bool is_wanted(const json_t *filter, const char *kind)
{
	size_t n;
	json_t *item;
	if (json_is_string(filter))
		return strcmp(json_string_value(filter), kind) == 0;
	json_array_foreach ((json_t *)filter, n, item)
		if (strcmp(json_string_value(item), kind) == 0)
			return true;
	return json_array_size(filter) == 0;
}

/* Moves what fits into the answer; false: the page is full. */
static bool add_page(const struct kind *k, json_t *list, int64_t *left, const char **last, struct arena *a, json_t *out)
{
	bool fits = (int64_t)json_array_size(list) <= *left;
	if (!fits)
		json_array_remove(list, (size_t)*left);
	*left -= (int64_t)json_array_size(list);
	if (json_array_size(list))
		*last = arena_printf(a, "%s/%s", k->name,
				     json_get_text(json_array_get(list, json_array_size(list) - 1), k->key));
	json_array_extend(json_get(out, k->member), list);
	return fits;
}

static int list_kinds(struct listing *l, const struct kind *kinds, const json_t *filter, json_t **out,
		      struct error *err)
{
	struct iam_page page = iam_page_of(l->in);
	struct str rest = page.after, first = STR_NULL;
	const char *last = "";
	int64_t left = page.limit;
	bool started = !page.after.len, fits = true;
	if (!started)
		str_split(&rest, '/', &first);
	*out = json_object();
	for (const struct kind *k = kinds; k->name; k++)
		if (!json_get(*out, k->member))
			json_object_set_new(*out, k->member, json_array());
	for (const struct kind *k = kinds; k->name && fits; k++) {
		bool here = !started && str_eqz(first, k->name);
		started = started || here;
		if (!started || !is_wanted(filter, k->name))
			continue;
		l->page = (struct iam_page){ here ? rest : STR(""), page.prefix, left + 1 };
		CLEANUP_JSON json_t *list = k->read(l, err);
		if (!list)
			return -1;
		fits = add_page(k, list, &left, &last, l->c->arena, *out);
	}
	json_set_bool(*out, "IsTruncated", !fits);
	if (!fits)
		json_set_text(*out, "Marker", last);
	return 0;
}

/* ---- the details of an account ---- */

/* Adds the inline and the managed policies of "user/<name>" and the like. */
static int add_policies(struct listing *l, json_t *o, const char *owner, const char *inline_member, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *list = json_array();
	json_object_set_new(o, inline_member, list);
	int rc = db_query(l->db, &rows, err, "SELECT name, document FROM iam_inline WHERE owner=? ORDER BY name", "s",
			  owner);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(list,
				      json_pack("{s:s, s:s}", "PolicyName", rows_str(&rows, 0).ptr, "PolicyDocument",
						iam_encode_document(l->c->arena, rows_str(&rows, 1))));
	json_t *attached = rc < 0 ? NULL : iam_attached_of(l->db, owner, "", INT32_MAX, err);
	if (attached)
		json_object_set_new(o, "AttachedManagedPolicies", attached);
	return attached ? 0 : -1;
}

static int add_groups(struct listing *l, json_t *user, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *list = json_array();
	json_object_set_new(user, "GroupList", list);
	int rc = db_query(l->db, &rows, err, "SELECT group_name FROM iam_member WHERE user_name=? ORDER BY group_name",
			  "s", json_get_text(user, "UserName"));
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(list, json_string(rows_str(&rows, 0).ptr));
	return rc;
}

static const char *owner_of(struct listing *l, const char *kind, const json_t *o, const char *member)
{
	return arena_printf(l->c->arena, "%s/%s", kind, json_get_text(o, member));
}

static json_t *read_users(struct listing *l, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *list = json_array();
	int rc = db_query(l->db, &rows, err,
			  "SELECT " IAM_USER_COLUMNS " FROM iam_user WHERE name>? ORDER BY name LIMIT ?", "Si",
			  l->page.after, l->page.limit);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		json_t *user = iam_user_json(iam_of(l->c), l->c->arena, &rows, true);
		json_array_append_new(list, user);
		rc = add_policies(l, user, owner_of(l, "user", user, "UserName"), "UserPolicyList", err);
		if (rc >= 0)
			rc = add_groups(l, user, err);
	}
	return iam_list_end(list, rc);
}

static json_t *read_groups(struct listing *l, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *list = json_array();
	int rc = db_query(l->db, &rows, err,
			  "SELECT " IAM_GROUP_COLUMNS " FROM iam_group WHERE name>? ORDER BY name LIMIT ?", "Si",
			  l->page.after, l->page.limit);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		json_t *group = iam_group_json(iam_of(l->c), l->c->arena, &rows);
		json_array_append_new(list, group);
		rc = add_policies(l, group, owner_of(l, "group", group, "GroupName"), "GroupPolicyList", err);
	}
	return iam_list_end(list, rc);
}

static json_t *read_roles(struct listing *l, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *list = json_array();
	int rc = db_query(l->db, &rows, err,
			  "SELECT " IAM_ROLE_COLUMNS " FROM iam_role WHERE name>? ORDER BY name LIMIT ?", "Si",
			  l->page.after, l->page.limit);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		struct iam_role r;
		iam_role_from(iam_of(l->c), l->c->arena, &rows, &r);
		json_t *role = iam_role_json(l->c->arena, &r, true);
		json_array_append_new(list, role);
		json_t *profiles = iam_profiles_of(iam_of(l->c), l->db, l->c->arena, &r, "", INT32_MAX, err);
		rc = profiles ? add_policies(l, role, owner_of(l, "role", role, "RoleName"), "RolePolicyList", err)
			      : -1;
		if (profiles)
			json_object_set_new(role, "InstanceProfileList", profiles);
	}
	return iam_list_end(list, rc);
}

static json_t *read_policies(struct listing *l, enum iam_scope scope, struct error *err)
{
	struct iam_policy_filter f = { .page = l->page, .scope = scope, .attached = scope == IAM_SCOPE_AWS };
	f.page.prefix = STR("");
	f.page.limit--;
	json_t *list = iam_policies(l->c, l->db, &f, err), *p;
	size_t n;
	json_array_foreach (list, n, p) {
		json_t *versions = iam_versions_of(l->db, l->c->arena, json_get_str(p, "Arn"), true, err);
		if (!versions)
			return iam_list_end(list, -1);
		json_object_set_new(p, "PolicyVersionList", versions);
	}
	return list;
}

static json_t *read_own(struct listing *l, struct error *err)
{
	return read_policies(l, IAM_SCOPE_OWN, err);
}

/* Those that somebody has. */
static json_t *read_aws(struct listing *l, struct error *err)
{
	return read_policies(l, IAM_SCOPE_AWS, err);
}

int iam_op_get_details(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	static const struct kind kinds[] = {
		{ "User", "UserDetailList", "UserName", read_users },
		{ "Group", "GroupDetailList", "GroupName", read_groups },
		{ "Role", "RoleDetailList", "RoleName", read_roles },
		{ "LocalManagedPolicy", "Policies", "Arn", read_own },
		{ "AWSManagedPolicy", "Policies", "Arn", read_aws },
		{ NULL, NULL, NULL, NULL },
	};
	struct listing l = { .c = c, .db = db, .in = in };
	return list_kinds(&l, kinds, json_get(in, "Filter"), out, err);
}

/* ---- who has a policy ---- */

static json_t *read_holders(struct listing *l, const char *kind, const char *sql, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str arn = json_get_str(l->in, "PolicyArn");
	const char *name = arena_printf(l->c->arena, "%sName", kind), *id = arena_printf(l->c->arena, "%sId", kind);
	json_t *list = json_array();
	int rc = db_query(l->db, &rows, err, sql, "SSSSiSii", l->page.after, l->page.prefix, l->page.prefix, arn,
			  (int64_t)l->permissions, arn, (int64_t)l->bounding, l->page.limit);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(
			list, json_pack("{s:s, s:s}", name, rows_str(&rows, 0).ptr, id, rows_str(&rows, 1).ptr));
	return iam_list_end(list, rc);
}

#define HOLDERS(table, kind, boundary)                                                                                 \
	"SELECT name, id FROM " table " WHERE name>? AND substr(path, 1, length(?))=? AND ((EXISTS (SELECT 1 FROM "    \
	"iam_attached WHERE owner='" kind "/' || name AND arn=?) AND ?=1) OR (" boundary "=? AND ?=1)) ORDER BY name " \
	"LIMIT ?"

static json_t *holding_groups(struct listing *l, struct error *err)
{
	return read_holders(l, "Group", HOLDERS("iam_group", "group", "''"), err);
}

static json_t *holding_users(struct listing *l, struct error *err)
{
	return read_holders(l, "User", HOLDERS("iam_user", "user", "boundary"), err);
}

static json_t *holding_roles(struct listing *l, struct error *err)
{
	return read_holders(l, "Role", HOLDERS("iam_role", "role", "boundary"), err);
}

int iam_op_list_entities(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	static const struct kind kinds[] = {
		{ "Group", "PolicyGroups", "GroupName", holding_groups },
		{ "User", "PolicyUsers", "UserName", holding_users },
		{ "Role", "PolicyRoles", "RoleName", holding_roles },
		{ NULL, NULL, NULL, NULL },
	};
	struct listing l = { .c = c, .db = db, .in = in, .permissions = true, .bounding = true };
	const char *usage = json_get_text(in, "PolicyUsageFilter");
	if (usage)
		*(strcmp(usage, "PermissionsBoundary") == 0 ? &l.permissions : &l.bounding) = false;
	if (iam_policy_exists(db, json_get_str(in, "PolicyArn"), err) <= 0)
		return -1;
	return list_kinds(&l, kinds, json_get(in, "EntityFilter"), out, err);
}
