/* room.h - what the files of the iam room share. Not for other rooms. */
#ifndef QUERN_IAM_ROOM_H
#define QUERN_IAM_ROOM_H

#include <pthread.h>

#include "base/json.h"
#include "base/map.h"
#include "iam/iam.h"
#include "iam/policy.h"

#define IAM_DEFAULT_ROLE "QuernExecutionRole"
#define IAM_DEFAULT_PATH "/service-role/"
#define IAM_DEFAULT_ROLE_ID "AROAQUERNEXECROLE0001"
#define IAM_ROOT_SESSION "quern"

/* What the cache knows of an access key. Immutable once it is in the cache. */
struct iam_key {
	char *secret, *token, *arn, *user_id; /* token "" = a long-lived key */
	char *grants;                         /* key of struct iam_grants; "" when it is unrestricted */
	bool unrestricted;
	int64_t expires_ms; /* INT64_MAX: never */
};

struct iam {
	struct engine *engine;
	char *account, *region, *default_role;
	char *root_key; /* access key of the keys file */
	struct iam_key root;
	bool ignore_policies;
	int64_t born_ms; /* when the keys file was made */
	struct wire_service iam_service, sts_service;
	pthread_rwlock_t lock; /* for what follows */
	struct map grants;     /* key -> struct iam_grants */
	int64_t generation;    /* of the newest policies (grants.c) */
	struct map cache;      /* access key -> struct iam_key */
	struct map used;       /* access key -> its last use (used.c) */
	struct map uncached;   /* access keys that were changed: read from the store each time */
	struct iam_resources {
		const char *service;
		iam_find_policy find;
		void *ctx;
	} resources[8]; /* resource.c */
	size_t nresources;
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

/* ---- what is granted (grants.c) ---- */
enum iam_source { IAM_SOURCE_INLINE, IAM_SOURCE_MANAGED, IAM_SOURCE_GIVEN };
struct iam_granted {
	struct policy *policy;
	char *id; /* its name */
	enum iam_source source;
};
struct iam_grants {
	_Atomic int refs;
	int64_t generation;
	char *id, *arn; /* of the user or role */
	json_t *tags;   /* object, or NULL */
	struct iam_granted *identity;
	size_t count;
	bool bounded, limited;   /* has a permissions boundary; has session policies */
	struct policy *boundary; /* NULL: its text is missing, nothing is allowed */
	struct policy **sessions;
	size_t nsessions;
};
/* 1 with *out to be given back (iam_grants_put), 0 when there is no such user, role or session, < 0. */
int iam_grants_get(struct iam *i, const char *key, struct iam_grants **out, struct error *err);
/* The same from a snapshot or in a turn, past the cache. */
int iam_grants_read(struct iam *i, struct db *db, const char *key, struct iam_grants **out, struct error *err);
void iam_grants_put(struct iam_grants *g); /* NULL is accepted */
void iam_grants_release(struct iam *i);
/* In every transaction that changes users, roles, policies or what is attached, at its end. */
int iam_policies_changed(struct iam *i, struct turn *t, struct error *err);
/* The text of a managed policy, AWS's or the account's, in the arena: 1, 0 none, < 0. */
int iam_policy_text(struct db *db, struct arena *a, struct str arn, struct str *out, struct error *err);

/* ---- decisions (authorize.c) ---- */
struct iam_question {                /* for iam_find_value */
	const struct principal *who; /* NULL: nobody */
	const struct wire_ask *ask;
	const struct iam_grants *grants; /* NULL: none */
	int64_t now_ms;
};
/* aws:PrincipalArn: the user, or the role of the session. */
struct str iam_principal_arn(const struct iam_question *x, struct arena *a);
bool iam_find_value(void *ctx, struct arena *a, struct str key, struct policy_values *out);
enum iam_verdict { IAM_SILENT, IAM_ALLOWED, IAM_DENIED };
struct iam_decision {
	enum iam_verdict verdict;
	const char *reason;               /* the kind of policy that denies, or that would have to allow */
	const struct iam_granted *policy; /* the identity policy that decided; NULL */
	const char *sid;
	bool limits_allow; /* boundary and session policies do */
};
/* Adds what the resource's own policy says (resource.c). */
void iam_join_resource(struct iam_decision *d, const struct policy_answer *resource);
/* What the policy of x->ask->resource says; silent when it has none. */
int iam_ask_resource(struct iam *i, struct arena *a, struct iam_question *x, struct policy_answer *out,
		     struct error *err);
struct iam_decision iam_decide(const struct iam_grants *g, const struct policy_question *q);
/* Asks about a principal. *grants (NULL when nothing is granted to him any more) is to be given back. */
int iam_ask(struct iam *i, struct arena *a, const struct principal *who, const struct wire_ask *ask,
	    struct iam_decision *d, struct iam_grants **grants, struct error *err);
/* Is it the one that the grants are of, or another one of the same name? */
bool iam_is_owner(const struct iam_grants *g, const struct principal *who);
/* AccessDenied with AWS's text. Returns -1. */
int iam_refuse(const struct principal *who, const struct wire_ask *ask, const struct iam_decision *d,
	       struct error *err);

/* ---- AWS's managed policies (managed.c) ---- */
struct iam_managed {
	const char *path, *name, *description, *document;
};
#define IAM_MANAGED_PREFIX "arn:aws:iam::aws:policy"
extern const struct iam_managed iam_managed[]; /* in the order of their ARNs, ends with a NULL name */
const struct iam_managed *iam_managed_find(struct str arn);
/* The error NoSuchEntity: there is no such policy. Returns -1. */
int iam_no_policy(struct str arn, struct error *err);
/* The error AccessDenied when the policy is AWS's own: 0 or -1. */
int iam_policy_changeable(struct str arn, struct error *err);
/* Adds a version to a policy of the account; with `use` it is the one that counts. */
int iam_add_version(struct turn *t, struct str arn, int64_t number, struct str document, bool use, struct error *err);
/* 1 known, 0 with err NoSuchEntity (it says when a policy is AWS's and not known here), < 0. */
int iam_policy_exists(struct db *db, struct str arn, struct error *err);

/* ---- names (names.c) ---- */
/* n characters of A-Z2-7 after the prefix, from the turn's randomness. */
const char *iam_new_id(struct turn *t, const char *prefix, size_t n);
/* An id of what has no row: always the same one for a name, in every process. */
const char *iam_fixed_id(struct arena *a, const char *prefix, struct str name);
const char *iam_new_secret(struct turn *t); /* 40 characters */
const char *iam_new_token(struct turn *t);
/* "arn:aws:iam::<account>:<kind><path><name>" */
const char *iam_arn(struct iam *i, struct arena *a, const char *kind, struct str path, struct str name);
/* The role's name in an ARN of this account ("role/a/b/Name", "assumed-role/Name/session") or the text itself; STR_NULL
 * for another ARN. */
struct str iam_role_name(struct iam *i, struct str role);
/* Percent-encoded, as IAM sends policy documents. */
const char *iam_encode_document(struct arena *a, struct str document);
/* MalformedPolicyDocument unless it can be evaluated. */
int iam_check_document(struct str document, enum policy_kind kind, struct error *err);
/* In small letters, for what is unique without regard to case. */
const char *iam_fold(struct arena *a, struct str name);
/* The last path element of a policy's ARN. */
struct str iam_last_part(struct str arn);

/* ---- roles (api_role.c) ---- */
struct iam_role {
	struct str name, path, id, document, description, tags, boundary; /* in the arena */
	const char *arn;
	int64_t max_session_s, created_ms;
};
/* 1 found, 0 not, < 0 a fault. */
int iam_get_role(struct iam *i, struct db *db, struct arena *a, struct str name, struct iam_role *out,
		 struct error *err);
/* As above; absence is the error NoSuchEntity. */
int iam_need_role(struct iam *i, struct db *db, struct arena *a, struct str name, struct iam_role *out,
		  struct error *err);

/* What the role's trust policy says about the caller (trust.c); x->ask is about sts:AssumeRole. */
struct policy_answer iam_ask_trust(const struct iam_role *r, const struct policy_caller *caller, struct iam_question *x,
				   struct arena *a);

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
/* Tags as the request has them, merged over `old` (JSON object text) into an object's text: *out stays as it is when
 * `tags` is NULL. Errors InvalidInput (a key twice) and LimitExceeded. */
int iam_add_tags(struct arena *a, struct str old, const json_t *tags, const char **out, struct error *err);
json_t *iam_tag_list(struct str tags);

/* ---- what operations have in common (common.c) ---- */
/* EntityAlreadyExists when `why` is a conflict, else `why`: "<before><name><after>". Returns -1. */
int iam_taken(struct error *why, struct error *err, const char *before, struct str name, const char *after);
/* Something that has to go before an entity can be deleted: a query with the entity's name that gives a row. */
struct iam_tie {
	const char *sql, *text; /* "must detach all policies first." */
};
/* DeleteConflict with the first tie's text; the list ends with a NULL sql. 0 or -1. */
int iam_check_ties(struct db *db, struct str name, const struct iam_tie *ties, struct error *err);
/* LimitExceeded when the query (a count, with one text) gives `max` or more. 0 or -1. */
int iam_check_quota(struct db *db, const char *sql, const char *text, const char *quota, int64_t max,
		    struct error *err);
/* The bytes of a document as IAM counts them: without white space. */
int64_t iam_document_size(struct str document);
/* The checks of a managed policy's text and of a role's trust policy, of their size too: MalformedPolicyDocument,
 * LimitExceeded. */
int iam_check_managed(struct str document, struct error *err);
int iam_check_trust(struct str document, struct error *err);
/* A user or group ("user", "group") gets another name: what it owns goes along. 0 or -1. */
int iam_rename_owner(struct turn *t, const char *kind, struct str from, struct str to, struct error *err);

json_t *iam_role_json(struct arena *a, const struct iam_role *r, bool whole);
#define IAM_ROLE_COLUMNS "name, path, id, document, description, max_session_s, created_ms, tags, boundary"
void iam_role_from(struct iam *i, struct arena *a, struct rows *rows, struct iam_role *out);
/* A role that may be changed: NoSuchEntity, or UnmodifiableEntity for a service-linked one. */
int iam_change_role(struct iam *i, struct db *db, struct arena *a, struct str name, struct iam_role *out,
		    struct error *err);
#define IAM_LINKED_PATH "/aws-service-role/"

/* The managed policies of "role/<name>" and the like behind `after`: {"PolicyName", "PolicyArn"}. Owned; NULL with err.
 */
json_t *iam_attached_of(struct db *db, const char *owner, const char *after, int64_t limit, struct error *err);
/* The list, or NULL (and it is freed) after a query that ended with rc < 0. */
static inline json_t *iam_list_end(json_t *list, int rc)
{
	if (rc >= 0)
		return list;
	json_decref(list);
	return NULL;
}

/* ---- managed policies (api_managed.c, api_version.c) ---- */
enum iam_scope { IAM_SCOPE_OWN = 1, IAM_SCOPE_AWS = 2, IAM_SCOPE_ALL = 3 };
struct iam_policy_filter {
	struct iam_page page; /* after: an ARN */
	enum iam_scope scope;
	bool attached, bounding; /* only those that are in use, as what */
};
/* At most page.limit + 1 of them in the order of ARNs. Owned; NULL with err. */
json_t *iam_policies(struct call *c, struct db *db, const struct iam_policy_filter *f, struct error *err);
/* {"VersionId", "IsDefaultVersion", "CreateDate"} and with `whole` "Document", the newest first. Owned; NULL with err.
 */
json_t *iam_versions_of(struct db *db, struct arena *a, struct str arn, bool whole, struct error *err);

/* ---- users (api_user.c) ---- */
/* Absence is the error NoSuchEntity. */
int iam_need_user(struct db *db, struct str name, struct error *err);
#define IAM_USER_COLUMNS "name, path, id, created_ms, tags, boundary"
json_t *iam_user_json(struct iam *i, struct arena *a, struct rows *rows, bool whole);

/* The error NoSuchEntity. Returns -1. */
int iam_no_key(const char *key, struct error *err);
/* A user's key signed a request. From any thread (used.c). */
void iam_note_use(struct iam *i, const struct principal *who, const struct wire_ask *ask);
void iam_used_release(struct iam *i);

/* ---- groups (api_group.c) ---- */
int iam_need_group(struct db *db, struct str name, struct error *err);
#define IAM_GROUP_COLUMNS "name, path, id, created_ms"
json_t *iam_group_json(struct iam *i, struct arena *a, struct rows *rows);

/* ---- instance profiles (api_profile.c) ---- */
/* Those with the role, whole, in the order of their names; NULL with err. Owned. */
json_t *iam_profiles_of(struct iam *i, struct db *db, struct arena *a, const struct iam_role *r, const char *after,
			int64_t limit, struct error *err);
/* {"PermissionsBoundaryType", "PermissionsBoundaryArn"} in a role's or user's description. */
void iam_set_boundary(json_t *o, struct str arn);

/* ---- operations ---- */
extern const struct wire_op iam_ops[];
extern const struct wire_op sts_ops[];
extern const struct wire_access iam_access[];
extern const struct wire_access sts_access[];
#define IAM_QUERY(fn) int fn(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
#define IAM_COMMAND(fn) int fn(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
IAM_COMMAND(iam_op_create_role);
IAM_COMMAND(iam_op_delete_role);
IAM_COMMAND(iam_op_update_role);
IAM_COMMAND(iam_op_update_trust);
IAM_QUERY(iam_op_get_role);
IAM_QUERY(iam_op_list_roles);
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
IAM_QUERY(iam_op_list_policies);
IAM_COMMAND(iam_op_put_boundary);
IAM_COMMAND(iam_op_delete_boundary);
IAM_QUERY(iam_op_simulate_principal);
IAM_QUERY(iam_op_simulate_custom);
IAM_COMMAND(iam_op_create_version);
IAM_COMMAND(iam_op_delete_version);
IAM_COMMAND(iam_op_set_version);
IAM_QUERY(iam_op_get_version);
IAM_QUERY(iam_op_list_versions);
IAM_COMMAND(iam_op_tag);
IAM_COMMAND(iam_op_untag);
IAM_QUERY(iam_op_list_tags);
IAM_COMMAND(iam_op_create_group);
IAM_COMMAND(iam_op_update_group);
IAM_COMMAND(iam_op_delete_group);
IAM_QUERY(iam_op_get_group);
IAM_QUERY(iam_op_list_groups);
IAM_QUERY(iam_op_list_groups_of_user);
IAM_COMMAND(iam_op_add_member);
IAM_COMMAND(iam_op_remove_member);
IAM_COMMAND(iam_op_create_profile);
IAM_COMMAND(iam_op_delete_profile);
IAM_COMMAND(iam_op_add_role);
IAM_COMMAND(iam_op_remove_role);
IAM_QUERY(iam_op_get_profile);
IAM_QUERY(iam_op_list_profiles);
IAM_QUERY(iam_op_list_profiles_of_role);
IAM_COMMAND(iam_op_update_user);
IAM_COMMAND(iam_op_create_alias);
IAM_COMMAND(iam_op_delete_alias);
IAM_QUERY(iam_op_list_aliases);
IAM_QUERY(iam_op_get_summary);
IAM_QUERY(iam_op_list_absent);
IAM_QUERY(iam_op_get_login);
IAM_COMMAND(iam_op_delete_login);
IAM_QUERY(iam_op_get_password_policy);
IAM_QUERY(iam_op_get_details);
IAM_QUERY(iam_op_list_entities);
IAM_COMMAND(iam_op_update_role_description);
IAM_COMMAND(iam_op_create_user);
IAM_COMMAND(iam_op_delete_user);
IAM_QUERY(iam_op_get_user);
IAM_QUERY(iam_op_list_users);
IAM_COMMAND(iam_op_create_key);
IAM_COMMAND(iam_op_update_key);
IAM_COMMAND(iam_op_delete_key);
IAM_QUERY(iam_op_list_keys);
IAM_QUERY(iam_op_key_used);
IAM_COMMAND(iam_op_create_linked);
IAM_COMMAND(iam_op_delete_linked);
IAM_QUERY(iam_op_get_deletion);

#endif
