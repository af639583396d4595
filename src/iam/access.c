/* access.c - what policies are asked about the operations of IAM and STS (struct wire_access). AssumeRole is not here:
 * its caller's policies and the role's trust policy decide together (api_sts.c). Source: Service Authorization
 * Reference, "AWS Identity and Access Management", "AWS Security Token Service". */
#include "iam/room.h"

/* The role with its path. */
static void find_role(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct iam_role r;
	if (iam_get_role(iam_of(c), db, c->arena, json_get_str(in, "RoleName"), &r, &ignored) > 0)
		json_array_append_new(resources, json_string(r.arn));
}

static void find_named(struct call *c, struct db *db, const char *sql, const char *kind, struct str name,
		       json_t *resources)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_row(db, &rows, NULL, sql, "S", name) > 0)
		json_array_append_new(resources,
				      json_string(iam_arn(iam_of(c), c->arena, kind, rows_str(&rows, 0), name)));
}

/* The user with his path; the caller himself when none is named. */
static void find_user(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	struct str name = json_get_str(in, "UserName");
	if (!name.ptr && strstr(c->who->arn, ":user/")) {
		json_array_append_new(resources, json_string(c->who->arn));
		return;
	}
	find_named(c, db, "SELECT path FROM iam_user WHERE name=?", "user", name, resources);
}

static void find_group(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	find_named(c, db, "SELECT path FROM iam_group WHERE name=?", "group", json_get_str(in, "GroupName"), resources);
}

static void find_profile(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	find_named(c, db, "SELECT path FROM iam_profile WHERE name=?", "instance-profile",
		   json_get_str(in, "InstanceProfileName"), resources);
}

/* The user that has the key. */
static void find_user_of_key(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_row(db, &rows, NULL,
		   "SELECT u.path, u.name FROM iam_key k JOIN iam_user u ON u.name=k.user_name WHERE k.access_key=?",
		   "S", json_get_str(in, "AccessKeyId")) > 0)
		json_array_append_new(resources, json_string(iam_arn(iam_of(c), c->arena, "user", rows_str(&rows, 0),
								     rows_str(&rows, 1))));
}

static void find_new(struct call *c, const json_t *in, const char *kind, const char *member, json_t *resources)
{
	struct str path = json_get_str(in, "Path");
	json_array_append_new(resources, json_string(iam_arn(iam_of(c), c->arena, kind, path.len ? path : STR("/"),
							     json_get_str(in, member))));
}

static void find_new_role(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	find_new(c, in, "role", "RoleName", resources);
}

static void find_new_user(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	find_new(c, in, "user", "UserName", resources);
}

static void find_new_group(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	find_new(c, in, "group", "GroupName", resources);
}

static void find_new_profile(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	find_new(c, in, "instance-profile", "InstanceProfileName", resources);
}

static void find_new_policy(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	find_new(c, in, "policy", "PolicyName", resources);
}

#define ROLE .resource = "role/{RoleName}", .find = find_role
#define USER .resource = "user/{UserName}", .find = find_user
#define GROUP .resource = "group/{GroupName}", .find = find_group
#define PROFILE .resource = "instance-profile/{InstanceProfileName}", .find = find_profile
#define POLICY .resource = "{PolicyArn}"
#define POLICY_KEY .keys = "iam:PolicyARN={PolicyArn}"
#define BOUNDARY_KEY .keys = "iam:PermissionsBoundary={PermissionsBoundary}"

const struct wire_access iam_access[] = {
	{ .operation = "CreateRole", .resource = "role/{RoleName}", .find = find_new_role, BOUNDARY_KEY },
	{ .operation = "DeleteRole", ROLE },
	{ .operation = "UpdateRole", ROLE },
	{ .operation = "UpdateAssumeRolePolicy", ROLE },
	{ .operation = "TagRole", ROLE },
	{ .operation = "UntagRole", ROLE },
	{ .operation = "GetRole", ROLE },
	{ .operation = "ListRoles" },
	{ .operation = "ListRoleTags", ROLE },
	{ .operation = "AttachRolePolicy", ROLE, POLICY_KEY },
	{ .operation = "DetachRolePolicy", ROLE, POLICY_KEY },
	{ .operation = "ListAttachedRolePolicies", ROLE },
	{ .operation = "PutRolePolicy", ROLE },
	{ .operation = "DeleteRolePolicy", ROLE },
	{ .operation = "GetRolePolicy", ROLE },
	{ .operation = "ListRolePolicies", ROLE },
	{ .operation = "PutRolePermissionsBoundary", ROLE, BOUNDARY_KEY },
	{ .operation = "DeleteRolePermissionsBoundary", ROLE },
	{ .operation = "CreatePolicy", .resource = "policy/{PolicyName}", .find = find_new_policy },
	{ .operation = "DeletePolicy", POLICY },
	{ .operation = "GetPolicy", POLICY },
	{ .operation = "GetPolicyVersion", POLICY },
	{ .operation = "ListPolicies" },
	{ .operation = "CreatePolicyVersion", POLICY },
	{ .operation = "DeletePolicyVersion", POLICY },
	{ .operation = "SetDefaultPolicyVersion", POLICY },
	{ .operation = "ListPolicyVersions", POLICY },
	{ .operation = "TagPolicy", POLICY },
	{ .operation = "UntagPolicy", POLICY },
	{ .operation = "ListPolicyTags", POLICY },
	{ .operation = "TagUser", USER },
	{ .operation = "UntagUser", USER },
	{ .operation = "ListUserTags", USER },
	{ .operation = "ListGroupsForUser", USER },
	{ .operation = "UpdateUser", USER },
	{ .operation = "CreateGroup", .resource = "group/{GroupName}", .find = find_new_group },
	{ .operation = "UpdateGroup", GROUP },
	{ .operation = "DeleteGroup", GROUP },
	{ .operation = "GetGroup", GROUP },
	{ .operation = "ListGroups" },
	{ .operation = "AddUserToGroup", GROUP },
	{ .operation = "RemoveUserFromGroup", GROUP },
	{ .operation = "AttachGroupPolicy", GROUP, POLICY_KEY },
	{ .operation = "DetachGroupPolicy", GROUP, POLICY_KEY },
	{ .operation = "ListAttachedGroupPolicies", GROUP },
	{ .operation = "PutGroupPolicy", GROUP },
	{ .operation = "DeleteGroupPolicy", GROUP },
	{ .operation = "GetGroupPolicy", GROUP },
	{ .operation = "ListGroupPolicies", GROUP },
	{ .operation = "CreateInstanceProfile",
	  .resource = "instance-profile/{InstanceProfileName}",
	  .find = find_new_profile },
	{ .operation = "DeleteInstanceProfile", PROFILE },
	{ .operation = "GetInstanceProfile", PROFILE },
	{ .operation = "ListInstanceProfiles" },
	{ .operation = "AddRoleToInstanceProfile",
	  .resource = "instance-profile/{InstanceProfileName}",
	  .find = find_profile,
	  .pass = "RoleName" },
	{ .operation = "RemoveRoleFromInstanceProfile", PROFILE },
	{ .operation = "TagInstanceProfile", PROFILE },
	{ .operation = "UntagInstanceProfile", PROFILE },
	{ .operation = "ListInstanceProfileTags", PROFILE },
	{ .operation = "CreateAccountAlias" },
	{ .operation = "DeleteAccountAlias" },
	{ .operation = "ListAccountAliases" },
	{ .operation = "GetAccessKeyLastUsed", .resource = "user/*", .find = find_user_of_key },
	{ .operation = "CreateServiceLinkedRole",
	  .resource = "role" IAM_LINKED_PATH "{AWSServiceName}/*",
	  .keys = "iam:AWSServiceName={AWSServiceName}" },
	{ .operation = "DeleteServiceLinkedRole", ROLE },
	{ .operation = "GetServiceLinkedRoleDeletionStatus", .resource = "role" IAM_LINKED_PATH "*" },
	{ .operation = "GetAccountSummary" },
	{ .operation = "ListSSHPublicKeys", USER },
	{ .operation = "ListMFADevices", USER },
	{ .operation = "ListVirtualMFADevices" },
	{ .operation = "ListSigningCertificates", USER },
	{ .operation = "ListServiceSpecificCredentials", USER },
	{ .operation = "ListServerCertificates" },
	{ .operation = "ListSAMLProviders" },
	{ .operation = "ListOpenIDConnectProviders" },
	{ .operation = "GetLoginProfile", USER },
	{ .operation = "DeleteLoginProfile", USER },
	{ .operation = "GetAccountPasswordPolicy" },
	{ .operation = "GetAccountAuthorizationDetails" },
	{ .operation = "ListEntitiesForPolicy", POLICY },
	{ .operation = "ListInstanceProfilesForRole", ROLE },
	{ .operation = "UpdateRoleDescription", ROLE },
	{ .operation = "SimulatePrincipalPolicy", .resource = "{PolicySourceArn}" },
	{ .operation = "SimulateCustomPolicy" },
	{ .operation = "CreateUser", .resource = "user/{UserName}", .find = find_new_user, BOUNDARY_KEY },
	{ .operation = "DeleteUser", USER },
	{ .operation = "GetUser", USER },
	{ .operation = "ListUsers" },
	{ .operation = "AttachUserPolicy", USER, POLICY_KEY },
	{ .operation = "DetachUserPolicy", USER, POLICY_KEY },
	{ .operation = "ListAttachedUserPolicies", USER },
	{ .operation = "PutUserPolicy", USER },
	{ .operation = "DeleteUserPolicy", USER },
	{ .operation = "GetUserPolicy", USER },
	{ .operation = "ListUserPolicies", USER },
	{ .operation = "PutUserPermissionsBoundary", USER, BOUNDARY_KEY },
	{ .operation = "DeleteUserPermissionsBoundary", USER },
	{ .operation = "CreateAccessKey", USER },
	{ .operation = "UpdateAccessKey", USER },
	{ .operation = "DeleteAccessKey", USER },
	{ .operation = "ListAccessKeys", USER },
	{ .operation = NULL },
};

const struct wire_access sts_access[] = {
	{ .operation = "GetCallerIdentity", .open = true },
	{ .operation = "AssumeRole", .open = true },
	{ .operation = "GetSessionToken", .open = true },
	{ .operation = "GetAccessKeyInfo" },
	{ .operation = NULL },
};
