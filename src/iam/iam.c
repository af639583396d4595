/* iam.c - the room's life, its tables and its lists of operations. See iam.h.
 *
 * DESIGN: roles, policies, users and keys are rows; the root key pair is in a file of its own, so that the owner gets
 * in even with an empty store. Policies are parsed once and asked for every request of an identity that is not
 * unrestricted (policy.h, grants.c, authorize.c). Sessions (temporary credentials) are rows with an end; rows that
 * ended are deleted when the next one is made. */
#include <stdlib.h>

#include "iam/room.h"

const struct store_migration iam_migrations[] = {
	{ "iam", 1,
	  "CREATE TABLE iam_role("
	  " name TEXT PRIMARY KEY, folded TEXT NOT NULL UNIQUE, path TEXT NOT NULL, id TEXT NOT NULL,"
	  " document TEXT NOT NULL, description TEXT, max_session_s INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
	  " tags TEXT);"
	  "INSERT INTO iam_role"
	  "(name, folded, path, id, document, description, max_session_s, created_ms)"
	  " VALUES('" IAM_DEFAULT_ROLE "', 'quernexecutionrole', '" IAM_DEFAULT_PATH "', '" IAM_DEFAULT_ROLE_ID "',"
	  "'{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"Service\":["
	  "\"sagemaker.amazonaws.com\",\"states.amazonaws.com\",\"ecs-tasks.amazonaws.com\","
	  "\"lambda.amazonaws.com\",\"scheduler.amazonaws.com\",\"events.amazonaws.com\"]},"
	  "\"Action\":\"sts:AssumeRole\"}]}',"
	  " 'The role that exists from the start', 43200, 0);"
	  "CREATE TABLE iam_inline("
	  " role TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY(role, name));"
	  "CREATE TABLE iam_attached(role TEXT NOT NULL, arn TEXT NOT NULL, PRIMARY KEY(role, arn));"
	  "CREATE TABLE iam_policy("
	  " arn TEXT PRIMARY KEY, name TEXT NOT NULL, folded TEXT NOT NULL UNIQUE, path TEXT NOT NULL,"
	  " id TEXT NOT NULL, document TEXT NOT NULL, description TEXT, created_ms INTEGER NOT NULL, tags TEXT);"
	  "CREATE TABLE iam_user("
	  " name TEXT PRIMARY KEY, folded TEXT NOT NULL UNIQUE, path TEXT NOT NULL, id TEXT NOT NULL,"
	  " created_ms INTEGER NOT NULL, tags TEXT);"
	  "CREATE TABLE iam_key("
	  " access_key TEXT PRIMARY KEY, user_name TEXT NOT NULL, secret TEXT NOT NULL, active INTEGER NOT NULL,"
	  " created_ms INTEGER NOT NULL);"
	  "CREATE INDEX iam_key_user ON iam_key(user_name, created_ms);"
	  "CREATE TABLE iam_session("
	  " access_key TEXT PRIMARY KEY, secret TEXT NOT NULL, token TEXT NOT NULL, arn TEXT NOT NULL,"
	  " user_id TEXT NOT NULL, expires_ms INTEGER NOT NULL);"
	  "CREATE INDEX iam_session_end ON iam_session(expires_ms);" },
	/* Policies are evaluated from now on: users have them too, and the first role has one that allows all. Sessions
	 * that there are go on as they were. */
	{ "iam", 2,
	  "CREATE TABLE iam_generation(number INTEGER NOT NULL);"
	  "INSERT INTO iam_generation(number) VALUES(1);"
	  "ALTER TABLE iam_inline RENAME COLUMN role TO owner;"
	  "UPDATE iam_inline SET owner='role/' || owner;"
	  "ALTER TABLE iam_attached RENAME COLUMN role TO owner;"
	  "UPDATE iam_attached SET owner='role/' || owner;"
	  "INSERT INTO iam_attached(owner, arn) VALUES('role/" IAM_DEFAULT_ROLE "', '" IAM_MANAGED_PREFIX
	  "/AdministratorAccess') ON CONFLICT DO NOTHING;"
	  "ALTER TABLE iam_role ADD COLUMN boundary TEXT;"
	  "ALTER TABLE iam_user ADD COLUMN boundary TEXT;"
	  "ALTER TABLE iam_session ADD COLUMN unrestricted INTEGER NOT NULL DEFAULT 1;"
	  "ALTER TABLE iam_session ADD COLUMN owner TEXT;"
	  "ALTER TABLE iam_session ADD COLUMN policies TEXT;" },
	/* Versions of policies, groups, instance profiles, the account's alias, and when a key was last used. */
	{ "iam", 3,
	  "CREATE TABLE iam_policy_version("
	  " arn TEXT NOT NULL, number INTEGER NOT NULL, document TEXT NOT NULL, created_ms INTEGER NOT NULL,"
	  " PRIMARY KEY(arn, number));"
	  "INSERT INTO iam_policy_version(arn, number, document, created_ms)"
	  " SELECT arn, 1, document, created_ms FROM iam_policy;"
	  "ALTER TABLE iam_policy DROP COLUMN document;"
	  "ALTER TABLE iam_policy ADD COLUMN version INTEGER NOT NULL DEFAULT 1;" /* the one that counts */
	  "ALTER TABLE iam_policy ADD COLUMN newest INTEGER NOT NULL DEFAULT 1;"
	  "ALTER TABLE iam_policy ADD COLUMN updated_ms INTEGER NOT NULL DEFAULT 0;"
	  "UPDATE iam_policy SET updated_ms=created_ms;"
	  "CREATE TABLE iam_group("
	  " name TEXT PRIMARY KEY, folded TEXT NOT NULL UNIQUE, path TEXT NOT NULL, id TEXT NOT NULL,"
	  " created_ms INTEGER NOT NULL);"
	  "CREATE TABLE iam_member("
	  " group_name TEXT NOT NULL, user_name TEXT NOT NULL, PRIMARY KEY(group_name, user_name));"
	  "CREATE INDEX iam_member_user ON iam_member(user_name, group_name);"
	  "CREATE TABLE iam_profile("
	  " name TEXT PRIMARY KEY, folded TEXT NOT NULL UNIQUE, path TEXT NOT NULL, id TEXT NOT NULL,"
	  " created_ms INTEGER NOT NULL, tags TEXT, role TEXT);"
	  "CREATE INDEX iam_profile_role ON iam_profile(role, name);"
	  "CREATE TABLE iam_alias(alias TEXT PRIMARY KEY);"
	  "CREATE TABLE iam_deletion(task TEXT PRIMARY KEY);" /* of service-linked roles */
	  "ALTER TABLE iam_key ADD COLUMN used_ms INTEGER;"
	  "ALTER TABLE iam_key ADD COLUMN used_service TEXT;"
	  "ALTER TABLE iam_key ADD COLUMN used_region TEXT;" },
	{ NULL, 0, NULL },
};

const struct wire_op iam_ops[] = {
	{ .name = "CreateRole", .command = iam_op_create_role },
	{ .name = "DeleteRole", .command = iam_op_delete_role },
	{ .name = "UpdateRole", .command = iam_op_update_role },
	{ .name = "UpdateAssumeRolePolicy", .command = iam_op_update_trust },
	{ .name = "TagRole", .command = iam_op_tag },
	{ .name = "UntagRole", .command = iam_op_untag },
	{ .name = "GetRole", .query = iam_op_get_role },
	{ .name = "ListRoles", .query = iam_op_list_roles },
	{ .name = "ListRoleTags", .query = iam_op_list_tags },
	{ .name = "AttachRolePolicy", .command = iam_op_attach },
	{ .name = "DetachRolePolicy", .command = iam_op_detach },
	{ .name = "ListAttachedRolePolicies", .query = iam_op_list_attached },
	{ .name = "PutRolePolicy", .command = iam_op_put_inline },
	{ .name = "DeleteRolePolicy", .command = iam_op_delete_inline },
	{ .name = "GetRolePolicy", .query = iam_op_get_inline },
	{ .name = "ListRolePolicies", .query = iam_op_list_inline },
	{ .name = "PutRolePermissionsBoundary", .command = iam_op_put_boundary },
	{ .name = "DeleteRolePermissionsBoundary", .command = iam_op_delete_boundary },
	{ .name = "CreatePolicy", .command = iam_op_create_policy },
	{ .name = "DeletePolicy", .command = iam_op_delete_policy },
	{ .name = "GetPolicy", .query = iam_op_get_policy },
	{ .name = "GetPolicyVersion", .query = iam_op_get_version },
	{ .name = "ListPolicies", .query = iam_op_list_policies },
	{ .name = "SimulatePrincipalPolicy", .query = iam_op_simulate_principal },
	{ .name = "SimulateCustomPolicy", .query = iam_op_simulate_custom },
	{ .name = "CreatePolicyVersion", .command = iam_op_create_version },
	{ .name = "DeletePolicyVersion", .command = iam_op_delete_version },
	{ .name = "SetDefaultPolicyVersion", .command = iam_op_set_version },
	{ .name = "ListPolicyVersions", .query = iam_op_list_versions },
	{ .name = "TagPolicy", .command = iam_op_tag },
	{ .name = "UntagPolicy", .command = iam_op_untag },
	{ .name = "ListPolicyTags", .query = iam_op_list_tags },
	{ .name = "TagUser", .command = iam_op_tag },
	{ .name = "UntagUser", .command = iam_op_untag },
	{ .name = "ListUserTags", .query = iam_op_list_tags },
	{ .name = "CreateGroup", .command = iam_op_create_group },
	{ .name = "UpdateGroup", .command = iam_op_update_group },
	{ .name = "DeleteGroup", .command = iam_op_delete_group },
	{ .name = "GetGroup", .query = iam_op_get_group },
	{ .name = "ListGroups", .query = iam_op_list_groups },
	{ .name = "ListGroupsForUser", .query = iam_op_list_groups_of_user },
	{ .name = "AddUserToGroup", .command = iam_op_add_member },
	{ .name = "RemoveUserFromGroup", .command = iam_op_remove_member },
	{ .name = "AttachGroupPolicy", .command = iam_op_attach },
	{ .name = "DetachGroupPolicy", .command = iam_op_detach },
	{ .name = "ListAttachedGroupPolicies", .query = iam_op_list_attached },
	{ .name = "PutGroupPolicy", .command = iam_op_put_inline },
	{ .name = "DeleteGroupPolicy", .command = iam_op_delete_inline },
	{ .name = "GetGroupPolicy", .query = iam_op_get_inline },
	{ .name = "ListGroupPolicies", .query = iam_op_list_inline },
	{ .name = "CreateInstanceProfile", .command = iam_op_create_profile },
	{ .name = "DeleteInstanceProfile", .command = iam_op_delete_profile },
	{ .name = "GetInstanceProfile", .query = iam_op_get_profile },
	{ .name = "ListInstanceProfiles", .query = iam_op_list_profiles },
	{ .name = "ListInstanceProfilesForRole", .query = iam_op_list_profiles_of_role },
	{ .name = "AddRoleToInstanceProfile", .command = iam_op_add_role },
	{ .name = "RemoveRoleFromInstanceProfile", .command = iam_op_remove_role },
	{ .name = "TagInstanceProfile", .command = iam_op_tag },
	{ .name = "UntagInstanceProfile", .command = iam_op_untag },
	{ .name = "ListInstanceProfileTags", .query = iam_op_list_tags },
	{ .name = "CreateAccountAlias", .command = iam_op_create_alias },
	{ .name = "DeleteAccountAlias", .command = iam_op_delete_alias },
	{ .name = "ListAccountAliases", .query = iam_op_list_aliases },
	{ .name = "GetAccessKeyLastUsed", .query = iam_op_key_used },
	{ .name = "CreateServiceLinkedRole", .command = iam_op_create_linked },
	{ .name = "DeleteServiceLinkedRole", .command = iam_op_delete_linked },
	{ .name = "GetServiceLinkedRoleDeletionStatus", .query = iam_op_get_deletion },
	{ .name = "ListSSHPublicKeys", .query = iam_op_list_absent },
	{ .name = "ListMFADevices", .query = iam_op_list_absent },
	{ .name = "ListVirtualMFADevices", .query = iam_op_list_absent },
	{ .name = "ListSigningCertificates", .query = iam_op_list_absent },
	{ .name = "ListServiceSpecificCredentials", .query = iam_op_list_absent },
	{ .name = "ListServerCertificates", .query = iam_op_list_absent },
	{ .name = "ListSAMLProviders", .query = iam_op_list_absent },
	{ .name = "ListOpenIDConnectProviders", .query = iam_op_list_absent },
	{ .name = "GetLoginProfile", .query = iam_op_get_login },
	{ .name = "DeleteLoginProfile", .command = iam_op_delete_login },
	{ .name = "GetAccountPasswordPolicy", .query = iam_op_get_password_policy },
	{ .name = "GetAccountSummary", .query = iam_op_get_summary },
	{ .name = "GetAccountAuthorizationDetails", .query = iam_op_get_details },
	{ .name = "ListEntitiesForPolicy", .query = iam_op_list_entities },
	{ .name = "UpdateUser", .command = iam_op_update_user },
	{ .name = "UpdateRoleDescription", .command = iam_op_update_role_description },
	{ .name = "CreateUser", .command = iam_op_create_user },
	{ .name = "DeleteUser", .command = iam_op_delete_user },
	{ .name = "GetUser", .query = iam_op_get_user },
	{ .name = "ListUsers", .query = iam_op_list_users },
	{ .name = "AttachUserPolicy", .command = iam_op_attach },
	{ .name = "DetachUserPolicy", .command = iam_op_detach },
	{ .name = "ListAttachedUserPolicies", .query = iam_op_list_attached },
	{ .name = "PutUserPolicy", .command = iam_op_put_inline },
	{ .name = "DeleteUserPolicy", .command = iam_op_delete_inline },
	{ .name = "GetUserPolicy", .query = iam_op_get_inline },
	{ .name = "ListUserPolicies", .query = iam_op_list_inline },
	{ .name = "PutUserPermissionsBoundary", .command = iam_op_put_boundary },
	{ .name = "DeleteUserPermissionsBoundary", .command = iam_op_delete_boundary },
	{ .name = "CreateAccessKey", .command = iam_op_create_key },
	{ .name = "UpdateAccessKey", .command = iam_op_update_key },
	{ .name = "DeleteAccessKey", .command = iam_op_delete_key },
	{ .name = "ListAccessKeys", .query = iam_op_list_keys },
	{ .name = NULL },
};

int iam_new(const struct iam_options *options, struct iam **out, struct error *err)
{
	struct iam *i = mem_calloc(1, sizeof(*i));
	struct arena a = ARENA_INIT;
	i->engine = options->engine;
	i->ignore_policies = options->ignore_policies;
	i->account = mem_strdup(options->account);
	i->region = mem_strdup(options->region ? options->region : "us-east-1");
	i->default_role =
		mem_strdup(arena_printf(&a, "arn:aws:iam::%s:role" IAM_DEFAULT_PATH IAM_DEFAULT_ROLE, i->account));
	arena_release(&a);
	pthread_rwlock_init(&i->lock, NULL);
	i->iam_service =
		(struct wire_service){ .model = "iam", .scope = "iam", .ops = iam_ops, .access = iam_access, .ctx = i };
	i->sts_service =
		(struct wire_service){ .model = "sts", .scope = "sts", .ops = sts_ops, .access = sts_access, .ctx = i };
	if (iam_load_root(i, options->keys_path, err) < 0) {
		iam_free(i);
		return -1;
	}
	*out = i;
	return 0;
}

void iam_free(struct iam *i)
{
	if (!i)
		return;
	iam_cache_release(i);
	iam_grants_release(i);
	iam_used_release(i);
	pthread_rwlock_destroy(&i->lock);
	free(i->account);
	free(i->region);
	free(i->default_role);
	free(i->root_key);
	free(i);
}

const struct wire_service *iam_service(struct iam *i)
{
	return &i->iam_service;
}

const struct wire_service *sts_service(struct iam *i)
{
	return &i->sts_service;
}

const char *iam_default_role(struct iam *i)
{
	return i->default_role;
}
