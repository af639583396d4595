/* api_absent.c - what nobody can have here: passwords, devices, certificates and keys of other protocols, federation.
 *
 * DESIGN: nothing makes them, so their lists are empty and each one is missing. Tools that tidy up behind a user
 * (Terraform's force_destroy) and those that audit an account ask. */
#include "iam/room.h"

int iam_op_list_absent(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	static const char *const members[][2] = {
		{ "ListSSHPublicKeys", "SSHPublicKeys" },
		{ "ListMFADevices", "MFADevices" },
		{ "ListVirtualMFADevices", "VirtualMFADevices" },
		{ "ListSigningCertificates", "Certificates" },
		{ "ListServiceSpecificCredentials", "ServiceSpecificCredentials" },
		{ "ListServerCertificates", "ServerCertificateMetadataList" },
		{ "ListSAMLProviders", "SAMLProviderList" },
		{ "ListOpenIDConnectProviders", "OpenIDConnectProviderList" },
	};
	struct str user = json_get_str(in, "UserName");
	size_t n = 0;
	if (user.ptr && iam_need_user(db, user, err) < 0)
		return -1;
	while (strcmp(members[n][0], c->operation) != 0)
		n++;
	*out = json_pack("{s:[], s:b}", members[n][1], "IsTruncated", 0);
	return 0;
}

static int no_login(struct call *c, struct db *db, const json_t *in, struct error *err)
{
	struct str user = json_get_str(in, "UserName");
	if (!user.ptr && strstr(c->who->arn, ":user/"))
		user = iam_last_part(str_from(c->who->arn));
	if (user.ptr && iam_need_user(db, user, err) < 0)
		return -1;
	return error_aws(err, "NoSuchEntity", "Login Profile for User %.*s cannot be found.", STR_ARG(user));
}

int iam_op_get_login(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	return no_login(c, db, in, err);
}

int iam_op_delete_login(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	return no_login(c, turn_db(t), in, err);
}

int iam_op_get_password_policy(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	return error_aws(err, "NoSuchEntity", "The Password Policy with domain name %s cannot be found.", c->account);
}
