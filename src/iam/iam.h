/* iam.h - identities: keys, roles, temporary credentials (services iam and sts). */
#ifndef QUERN_IAM_IAM_H
#define QUERN_IAM_IAM_H

#include "wire/wire.h"

struct iam;
extern const struct store_migration iam_migrations[];

struct iam_options {
	struct engine *engine;
	const char *account;
	const char *region;
	const char *keys_path; /* the root credentials file (AWS credentials format, mode 0600), made at first start */
	bool ignore_policies;  /* every known key may do everything */
};
int iam_new(const struct iam_options *options, struct iam **out, struct error *err);
void iam_free(struct iam *i);
const struct wire_service *iam_service(struct iam *i); /* scope iam, protocol query */
const struct wire_service *sts_service(struct iam *i); /* scope sts, protocol query */
/* For wire_options.find_key; ctx = the iam. */
bool iam_find_key(void *ctx, struct arena *a, struct db *db, struct str access_key, struct str token, int64_t now_ms,
		  struct principal *who, struct str *secret, struct error *err);
/* For wire_options.authorize; ctx = the iam. */
int iam_authorize(void *ctx, struct arena *a, const struct principal *who, const struct wire_ask *ask,
		  struct error *err);
/* The policies of a service's resources, which iam_authorize asks too. find: the policy of an ARN, *text in the arena
 * and STR_NULL when there is none (or no such resource); from any thread. `service` is what stands before the colon of
 * its actions ("s3"). Call it before requests are served. */
typedef int (*iam_find_policy)(void *ctx, struct db *db, struct arena *a, struct str resource, struct str *text,
			       struct error *err);
void iam_set_resource_policies(struct iam *i, const char *service, iam_find_policy find, void *ctx);
/* Can it be the policy of a resource? -1 with err code MalformedPolicyDocument and IAM's text. */
int iam_check_resource_policy(struct str document, struct error *err);
/* Is there the user or role of this account that `arn` names, or, for a session, its role? 1, also for what is not of
 * this account; 0; < 0 a fault. */
int iam_principal_known(struct iam *i, struct db *db, struct arena *a, struct str arn, struct error *err);
/* What a service does for a role: the principal of a session `session_name` of it (ARN or name; one that is not kept
 * here is unrestricted). Texts in the arena. */
int iam_role_principal(struct iam *i, struct db *db, struct arena *a, const char *role, const char *session_name,
		       struct principal *who, struct error *err);
/* May `who` assume the role (ARN or name)? 0, or -1 with err code AccessDenied. */
int iam_may_assume(struct iam *i, struct db *db, struct arena *a, const struct principal *who, const char *role,
		   struct error *err);
/* May it? 0, or -1 with err code AccessDenied and AWS's text. From any thread. */
int iam_may(struct iam *i, struct arena *a, const struct principal *who, const char *action, const char *resource,
	    struct error *err);
/* The same about a key of a bucket; for s3:ListBucket `key` is the prefix. */
int iam_may_s3(struct iam *i, struct arena *a, const struct principal *who, const char *action, struct str bucket,
	       struct str key, struct error *err);
/* In a turn: temporary credentials for a role (a task's). Values in the turn's arena. role may be an ARN or a name; it
 * need not exist yet. */
struct iam_session {
	const char *access_key, *secret_key, *token, *role_arn, *session_arn;
	int64_t expires_ms;
};
int iam_new_session(struct iam *i, struct turn *t, const char *role, const char *session_name, int64_t duration_ms,
		    struct iam_session *out, struct error *err);
/* Does the trust policy of the role (an ARN or a name) let `service` ("lambda.amazonaws.com") assume it? 1, also when
 * no such role exists here; 0: it does not; < 0 a fault. */
int iam_trusts(struct iam *i, struct db *db, struct arena *a, struct str role, const char *service, struct error *err);
/* The role that exists from the start: "arn:aws:iam::<account>:role/service-role/QuernExecutionRole". */
const char *iam_default_role(struct iam *i);

#endif
