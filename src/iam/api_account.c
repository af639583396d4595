/* api_account.c - the account: its alias, and what there is in it. */
#include "iam/room.h"

/* ---- the alias ---- */

/* An account has one: another one takes its place. */
int iam_op_create_alias(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str alias = json_get_str(in, "AccountAlias");
	int same = db_row(turn_db(t), &rows, err, "SELECT 1 FROM iam_alias WHERE alias=?", "S", alias);
	if (same)
		return same < 0 ? -1
				: error_aws(err, "EntityAlreadyExists", "The account alias %.*s already exists.",
					    STR_ARG(alias));
	if (db_exec(turn_db(t), err, "DELETE FROM iam_alias", "") < 0 ||
	    db_exec(turn_db(t), err, "INSERT INTO iam_alias(alias) VALUES(?)", "S", alias) < 0)
		return -1;
	return 0;
}

int iam_op_delete_alias(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str alias = json_get_str(in, "AccountAlias");
	int rc = db_exec(turn_db(t), err, "DELETE FROM iam_alias WHERE alias=?", "S", alias);
	if (rc == 0)
		return error_aws(err, "NoSuchEntity", "The account alias %.*s cannot be found.", STR_ARG(alias));
	return rc < 0 ? -1 : 0;
}

int iam_op_list_aliases(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *list = json_array();
	int rc = db_query(db, &rows, err, "SELECT alias FROM iam_alias", "");
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(list, json_string(rows_str(&rows, 0).ptr));
	*out = json_pack("{s:o, s:b}", "AccountAliases", list, "IsTruncated", 0);
	return rc;
}

/* ---- the summary ---- */

/* What is counted, and the quotas that are kept. What does not exist here (MFA devices, certificates) is none. */
int iam_op_get_summary(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	static const struct {
		const char *name, *sql;
	} counts[] = {
		{ "Users", "SELECT count(*) FROM iam_user" },
		{ "Groups", "SELECT count(*) FROM iam_group" },
		{ "Roles", "SELECT count(*) FROM iam_role" },
		{ "Policies", "SELECT count(*) FROM iam_policy" },
		{ "PolicyVersionsInUse", "SELECT count(*) FROM iam_policy_version" },
		{ "InstanceProfiles", "SELECT count(*) FROM iam_profile" },
	};
	static const struct {
		const char *name;
		int value;
	} fixed[] = {
		{ "AccessKeysPerUserQuota", 2 },
		{ "AttachedPoliciesPerGroupQuota", 10 },
		{ "AttachedPoliciesPerRoleQuota", 10 },
		{ "AttachedPoliciesPerUserQuota", 10 },
		{ "GroupsPerUserQuota", 10 },
		{ "VersionsPerPolicyQuota", 5 },
		{ "PolicySizeQuota", 6144 },
		{ "UserPolicySizeQuota", 2048 },
		{ "GroupPolicySizeQuota", 5120 },
		{ "RolePolicySizeQuota", 10240 },
		{ "AssumeRolePolicySizeQuota", 2048 },
		{ "AccountAccessKeysPresent", 1 }, /* of the keys file */
		{ "AccountMFAEnabled", 0 },
		{ "MFADevices", 0 },
		{ "MFADevicesInUse", 0 },
		{ "Providers", 0 },
		{ "ServerCertificates", 0 },
		{ "AccountSigningCertificatesPresent", 0 },
	};
	CLEANUP_JSON json_t *map = json_object();
	for (size_t n = 0; n < sizeof(counts) / sizeof(*counts); n++) {
		CLEANUP_ROWS struct rows rows = { 0 };
		if (db_row(db, &rows, err, counts[n].sql, "") < 0)
			return -1;
		json_set_int(map, counts[n].name, rows_int(&rows, 0));
	}
	for (size_t n = 0; n < sizeof(fixed) / sizeof(*fixed); n++)
		json_set_int(map, fixed[n].name, fixed[n].value);
	*out = json_pack("{s:O}", "SummaryMap", map);
	return 0;
}
