/* room.h - what the files of the iam room share. Not for other rooms. */
#ifndef QUERN_IAM_ROOM_H
#define QUERN_IAM_ROOM_H

#include <pthread.h>

#include "base/json.h"
#include "base/map.h"
#include "iam/iam.h"

#define IAM_DEFAULT_ROLE "QuernExecutionRole"
#define IAM_DEFAULT_PATH "/service-role/"
#define IAM_DEFAULT_ROLE_ID "AROAQUERNEXECROLE0001"
#define IAM_ROOT_SESSION "quern"

/* What the cache knows of an access key. Immutable once it is in the cache. */
struct iam_key {
	char *secret, *token, *arn, *user_id; /* token "" = a long-lived key */
	int64_t expires_ms;                   /* INT64_MAX: never */
};

struct iam {
	struct engine *engine;
	char *account, *region, *default_role;
	char *root_key; /* access key of the keys file */
	struct iam_key root;
	int64_t born_ms; /* when the keys file was made */
	struct wire_service iam_service, sts_service;
	pthread_rwlock_t lock; /* cache and uncached */
	struct map cache;      /* access key -> struct iam_key */
	struct map uncached;   /* access keys that were changed: read from the store each time */
};

static inline struct iam *iam_of(struct call *c)
{
	return c->service_ctx;
}

/* ---- keys.c: the root key pair and the cache ---- */
/* Reads the keys file, or makes it (atomically, mode 0600). */
int iam_load_root(struct iam *i, const char *path, struct error *err);
/* Call it in the transaction that changes or deletes a key: from now on the store decides about it. */
void iam_forget_key(struct iam *i, const char *access_key);
void iam_cache_release(struct iam *i);

/* ---- names (names.c) ---- */
/* n characters of A-Z2-7 after the prefix, from the turn's randomness. */
const char *iam_new_id(struct turn *t, const char *prefix, size_t n);
const char *iam_new_secret(struct turn *t); /* 40 characters */
const char *iam_new_token(struct turn *t);
/* "arn:aws:iam::<account>:<kind><path><name>" */
const char *iam_arn(struct iam *i, struct arena *a, const char *kind, struct str path, struct str name);
/* The role's name in an ARN of this account ("role/a/b/Name", "assumed-role/Name/session") or the text itself; STR_NULL
 * for another ARN. */
struct str iam_role_name(struct iam *i, struct str role);
/* Percent-encoded, as IAM sends policy documents. */
const char *iam_encode_document(struct arena *a, struct str document);
/* MalformedPolicyDocument unless it is a JSON object with Statement. */
int iam_check_document(struct str document, struct error *err);
/* The last path element of a policy's ARN. */
struct str iam_last_part(struct str arn);

/* ---- roles (api_role.c) ---- */
struct iam_role {
	struct str name, path, id, document, description, tags; /* in the arena */
	const char *arn;
	int64_t max_session_s, created_ms;
};
/* 1 found, 0 not, < 0 a fault. */
int iam_get_role(struct iam *i, struct db *db, struct arena *a, struct str name, struct iam_role *out,
		 struct error *err);
/* As above; absence is the error NoSuchEntity. */
int iam_need_role(struct iam *i, struct db *db, struct arena *a, struct str name, struct iam_role *out,
		  struct error *err);

/* A page of a list: `limit` rows behind `after`. */
struct iam_page {
	struct str after, prefix;
	int64_t limit;
};
struct iam_page iam_page_of(const json_t *in);
/* A time as IAM gives it: whole seconds. */
static inline double iam_seconds(int64_t ms)
{
	int64_t whole = ms / 1000;
	return (double)whole;
}
/* Ends a page: IsTruncated and Marker; `list` has at most limit + 1 elements, `key` names the member that Marker
 * repeats. */
json_t *iam_page_out(const struct iam_page *page, const char *member, json_t *list, const char *key);
/* Tags as the request has them, merged over `old` (JSON object text) into an object's text. */
const char *iam_merge_tags(struct arena *a, struct str old, const json_t *tags);
const char *iam_drop_tags(struct arena *a, struct str old, const json_t *keys);
json_t *iam_tag_list(struct str tags);

/* ---- operations ---- */
extern const struct wire_op iam_ops[];
extern const struct wire_op sts_ops[];
#define IAM_QUERY(fn) int fn(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
#define IAM_COMMAND(fn) int fn(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
IAM_COMMAND(iam_op_create_role);
IAM_COMMAND(iam_op_delete_role);
IAM_COMMAND(iam_op_update_role);
IAM_COMMAND(iam_op_update_trust);
IAM_COMMAND(iam_op_tag_role);
IAM_COMMAND(iam_op_untag_role);
IAM_QUERY(iam_op_get_role);
IAM_QUERY(iam_op_list_roles);
IAM_QUERY(iam_op_list_role_tags);
IAM_COMMAND(iam_op_attach);
IAM_COMMAND(iam_op_detach);
IAM_QUERY(iam_op_list_attached);
IAM_COMMAND(iam_op_put_inline);
IAM_COMMAND(iam_op_delete_inline);
IAM_QUERY(iam_op_get_inline);
IAM_QUERY(iam_op_list_inline);
IAM_COMMAND(iam_op_create_policy);
IAM_COMMAND(iam_op_delete_policy);
IAM_QUERY(iam_op_get_policy);
IAM_QUERY(iam_op_get_policy_version);
IAM_QUERY(iam_op_list_policies);
IAM_QUERY(iam_op_simulate_principal);
IAM_QUERY(iam_op_list_policy_versions);
IAM_COMMAND(iam_op_tag);
IAM_COMMAND(iam_op_untag);
IAM_QUERY(iam_op_list_tags);
IAM_QUERY(iam_op_list_groups);
IAM_QUERY(iam_op_list_profiles);
IAM_COMMAND(iam_op_update_role_description);
IAM_COMMAND(iam_op_create_user);
IAM_COMMAND(iam_op_delete_user);
IAM_QUERY(iam_op_get_user);
IAM_QUERY(iam_op_list_users);
IAM_COMMAND(iam_op_create_key);
IAM_COMMAND(iam_op_update_key);
IAM_COMMAND(iam_op_delete_key);
IAM_QUERY(iam_op_list_keys);

#endif
