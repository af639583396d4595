/* bucket_policy.c - see bucket_policy.h.
 *
 * DESIGN: each statement is looked at in the order of its elements, and the first fault is told. An action fits when it
 * names something that S3 knows and that one of the statement's resources, the bucket or objects in it, can have. */
#include "s3/bucket_policy.h"

#include <ctype.h>

#include "base/json.h"

#define BUCKET_ARN "arn:aws:s3:::"

static const char *const object_actions[] = {
	"AbortMultipartUpload",
	"BypassGovernanceRetention",
	"DeleteObject",
	"DeleteObjectTagging",
	"DeleteObjectVersion",
	"DeleteObjectVersionTagging",
	"GetObject",
	"GetObjectAcl",
	"GetObjectAttributes",
	"GetObjectLegalHold",
	"GetObjectRetention",
	"GetObjectTagging",
	"GetObjectTorrent",
	"GetObjectVersion",
	"GetObjectVersionAcl",
	"GetObjectVersionAttributes",
	"GetObjectVersionForReplication",
	"GetObjectVersionTagging",
	"GetObjectVersionTorrent",
	"InitiateReplication",
	"ListMultipartUploadParts",
	"ObjectOwnerOverrideToBucketOwner",
	"PutObject",
	"PutObjectAcl",
	"PutObjectLegalHold",
	"PutObjectRetention",
	"PutObjectTagging",
	"PutObjectVersionAcl",
	"PutObjectVersionTagging",
	"ReplicateDelete",
	"ReplicateObject",
	"ReplicateTags",
	"RestoreObject",
	"UpdateObjectEncryption",
	NULL,
};
static const char *const bucket_actions[] = {
	"CreateBucket",
	"CreateBucketMetadataTableConfiguration",
	"DeleteBucket",
	"DeleteBucketMetadataTableConfiguration",
	"DeleteBucketPolicy",
	"DeleteBucketWebsite",
	"GetAccelerateConfiguration",
	"GetAnalyticsConfiguration",
	"GetBucketAbac",
	"GetBucketAcl",
	"GetBucketCORS",
	"GetBucketLocation",
	"GetBucketLogging",
	"GetBucketMetadataTableConfiguration",
	"GetBucketNotification",
	"GetBucketObjectLockConfiguration",
	"GetBucketOwnershipControls",
	"GetBucketPolicy",
	"GetBucketPolicyStatus",
	"GetBucketPublicAccessBlock",
	"GetBucketRequestPayment",
	"GetBucketTagging",
	"GetBucketVersioning",
	"GetBucketWebsite",
	"GetEncryptionConfiguration",
	"GetIntelligentTieringConfiguration",
	"GetInventoryConfiguration",
	"GetLifecycleConfiguration",
	"GetMetricsConfiguration",
	"GetReplicationConfiguration",
	"ListBucket",
	"ListBucketMultipartUploads",
	"ListBucketVersions",
	"ListTagsForResource",
	"PutAccelerateConfiguration",
	"PutAnalyticsConfiguration",
	"PutBucketAbac",
	"PutBucketAcl",
	"PutBucketCORS",
	"PutBucketLogging",
	"PutBucketNotification",
	"PutBucketObjectLockConfiguration",
	"PutBucketOwnershipControls",
	"PutBucketPolicy",
	"PutBucketPublicAccessBlock",
	"PutBucketRequestPayment",
	"PutBucketTagging",
	"PutBucketVersioning",
	"PutBucketWebsite",
	"PutEncryptionConfiguration",
	"PutIntelligentTieringConfiguration",
	"PutInventoryConfiguration",
	"PutLifecycleConfiguration",
	"PutMetricsConfiguration",
	"PutReplicationConfiguration",
	"TagResource",
	"UntagResource",
	NULL,
};

struct check {
	struct arena *a;
	struct str bucket, *detail;
	struct error *err;
};

static int malformed(struct check *k, const char *text)
{
	return error_http(k->err, 400, "MalformedPolicy", "%s", text);
}

/* ---- elements that are a text or a list of texts ---- */

static size_t count_of(const json_t *v)
{
	return json_is_array(v) ? json_array_size(v) : 1;
}

static struct str item_of(const json_t *v, size_t i)
{
	return json_str(json_is_array(v) ? json_array_get(v, i) : v);
}

/* Only texts, and at least one. */
static bool is_list(const json_t *v)
{
	for (size_t i = 0; i < count_of(v); i++)
		if (!item_of(v, i).ptr)
			return false;
	return count_of(v) > 0;
}

/* ---- actions and resources ---- */

static bool names_one(struct arena *a, struct str pattern, const char *const *names)
{
	for (; *names; names++) {
		char *lower = arena_printf(a, "s3:%s", *names);
		for (char *p = lower; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		if (str_glob(pattern, str_from(lower), 0))
			return true;
	}
	return false;
}

enum { OF_BUCKET = 1, OF_OBJECTS = 2 };

/* What the action can be done to. 0: there is no such action. */
static unsigned reach_of_action(struct arena *a, struct str action)
{
	char *lower = arena_strdup(a, action);
	for (char *p = lower; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	const struct str pattern = str_from(lower);
	return (names_one(a, pattern, bucket_actions) ? OF_BUCKET : 0) |
	       (names_one(a, pattern, object_actions) ? OF_OBJECTS : 0);
}

/* What of the bucket the resource means. 0: nothing. */
static unsigned reach_of_resource(struct check *k, struct str resource)
{
	if (!str_starts(resource, STR(BUCKET_ARN)))
		return 0;
	const struct str pattern = str_skip(resource, strlen(BUCKET_ARN));
	const struct str inside = str_from(arena_printf(k->a, "%.*s/", STR_ARG(k->bucket)));
	unsigned reach = str_glob(pattern, k->bucket, 0) ? OF_BUCKET : 0;
	for (size_t n = 1; n <= pattern.len; n++) /* what is left of the pattern is about the key */
		if (str_glob(str_head(pattern, n), inside, 0))
			return reach | OF_OBJECTS;
	return reach;
}

static int check_resources(struct check *k, const json_t *s, unsigned *reach)
{
	const json_t *v = json_get(s, "Resource"), *not = json_get(s, "NotResource");
	*reach = 0;
	if (!v && !not )
		return malformed(k, "Missing required field Resource");
	v = v ? v : not ;
	if (!is_list(v))
		return malformed(k, "Policy has invalid resource");
	for (size_t i = 0; i < count_of(v); i++) {
		const unsigned one = reach_of_resource(k, item_of(v, i));
		if (!one)
			return malformed(k, "Policy has invalid resource");
		*reach |= one;
	}
	if (not )
		*reach = OF_BUCKET | OF_OBJECTS;
	return 0;
}

static int check_actions(struct check *k, const json_t *s, unsigned resources)
{
	const json_t *v = json_get(s, "Action"), *not = json_get(s, "NotAction");
	if (!v && !not )
		return malformed(k, "Missing required field Action");
	v = v ? v : not ;
	if (!is_list(v))
		return malformed(k, "Policy has invalid action");
	for (size_t i = 0; i < count_of(v); i++) {
		const unsigned reach = reach_of_action(k->a, item_of(v, i));
		if (!reach)
			return malformed(k, "Policy has invalid action");
		if (!not &&!(reach & resources))
			return malformed(k, "Action does not apply to any resource(s) in statement");
	}
	return 0;
}

/* ---- principals ---- */

static bool is_account(struct str s)
{
	int64_t n;
	return s.len == 12 && str_to_i64(s, &n) && n >= 0;
}

/* arn:aws:iam::<account>:root, user/..., role/...; arn:aws:sts::<account>:assumed-role/..., federated-user/... */
static bool is_principal_arn(struct str arn)
{
	static const char *const kinds[] = { "root", "user/", "role/", "assumed-role/", "federated-user/" };
	struct str rest = arn, part[5];
	for (int i = 0; i < 5; i++)
		if (!str_split(&rest, ':', &part[i]))
			return false;
	if (!str_eqz(part[0], "arn") || !str_starts(part[1], STR("aws")) || !rest.ptr || str_find_char(arn, '*') >= 0 ||
	    (!is_account(part[4]) && !str_eqz(part[4], "cloudfront")))
		return false;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (i == 0 ? str_eqz(rest, kinds[i])
			   : rest.len > strlen(kinds[i]) && str_starts(rest, str_from(kinds[i])))
			return true;
	return false;
}

static bool is_principal(const char *kind, struct str name)
{
	if (strcmp(kind, "AWS") == 0)
		return str_eqz(name, "*") || is_account(name) || is_principal_arn(name);
	if (strcmp(kind, "Service") == 0)
		return str_eqz(name, "*") || str_ends(name, STR(".amazonaws.com")) ||
		       str_ends(name, STR(".amazonaws.com.cn"));
	return (strcmp(kind, "Federated") == 0 || strcmp(kind, "CanonicalUser") == 0) && name.len > 0;
}

static int bad_principal(struct check *k, const char *kind, struct str name)
{
	*k->detail = str_from(arena_printf(k->a, "\"%s\" : \"%.*s\"", kind, STR_ARG(name)));
	return malformed(k, "Invalid principal in policy");
}

static int check_principals(struct check *k, const json_t *s)
{
	json_t *v = json_object_get(s, "Principal"), *not = json_object_get(s, "NotPrincipal"), *names;
	const char *kind;
	if (!v && !not )
		return malformed(k, "Missing required field Principal");
	v = v ? v : not ;
	if (json_is_string(v))
		return str_eqz(json_str(v), "*") ? 0 : bad_principal(k, "AWS", json_str(v));
	if (!json_is_object(v) || json_object_size(v) == 0)
		return malformed(k, "Invalid policy syntax.");
	json_object_foreach (v, kind, names) {
		if (!is_list(names))
			return bad_principal(k, kind, STR(""));
		for (size_t i = 0; i < count_of(names); i++)
			if (!is_principal(kind, item_of(names, i)))
				return bad_principal(k, kind, item_of(names, i));
	}
	return 0;
}

/* ---- the document ---- */

static int check_members(struct check *k, const json_t *v, const char *const *known)
{
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)v, key, value) {
		const char *const *p = known;
		while (*p && strcmp(*p, key) != 0)
			p++;
		if (!*p)
			return error_http(k->err, 400, "MalformedPolicy", "Unknown field %s", key);
	}
	return 0;
}

static int check_statement(struct check *k, const json_t *s)
{
	static const char *const known[] = { "Sid",       "Effect",   "Principal",   "NotPrincipal", "Action",
					     "NotAction", "Resource", "NotResource", "Condition",    NULL };
	const struct str effect = json_get_str(s, "Effect");
	unsigned resources;
	if (!json_is_object(s))
		return malformed(k, "Invalid policy syntax.");
	if (check_members(k, s, known) < 0)
		return -1;
	if (!effect.ptr)
		return malformed(k, "Missing required field Effect");
	if (!str_eqz(effect, "Allow") && !str_eqz(effect, "Deny"))
		return error_http(k->err, 400, "MalformedPolicy", "Invalid effect: %.*s", STR_ARG(effect));
	return check_principals(k, s) < 0 || check_resources(k, s, &resources) < 0 ? -1
										   : check_actions(k, s, resources);
}

static int check_document(struct check *k, const json_t *doc)
{
	static const char *const known[] = { "Version", "Id", "Statement", NULL };
	const json_t *statements = json_get(doc, "Statement");
	if (check_members(k, doc, known) < 0)
		return -1;
	if (!statements)
		return malformed(k, "Missing required field Statement");
	if (json_is_array(statements) && json_array_size(statements) == 0)
		return malformed(k, "Could not parse the policy: Statement is empty!");
	for (size_t i = 0; i < count_of(statements); i++)
		if (check_statement(k, json_is_array(statements) ? json_array_get(statements, i) : statements) < 0)
			return -1;
	return 0;
}

json_t *s3_bucket_policy_parse(struct arena *a, struct str text, struct str bucket, struct str *detail,
			       struct error *err)
{
	struct check k = { a, bucket, detail, err };
	json_t *doc = json_parse(text, NULL);
	*detail = STR_NULL;
	if (!json_is_object(doc)) {
		malformed(&k, "Policies must be valid JSON and the first byte must be '{'");
	} else if (json_text(a, doc).len > S3_BUCKET_POLICY_MAX) {
		error_http(err, 400, "MalformedPolicy",
			   "Normalized policy document exceeds the maximum allowed size of %d bytes",
			   S3_BUCKET_POLICY_MAX);
	} else if (check_document(&k, doc) == 0) {
		return doc;
	}
	json_decref(doc);
	return NULL;
}

int s3_bucket_policy_each_arn(const json_t *policy, int (*fn)(void *ctx, struct str arn), void *ctx)
{
	const json_t *statements = json_get(policy, "Statement");
	for (size_t i = 0; i < count_of(statements); i++) {
		const json_t *s = json_is_array(statements) ? json_array_get(statements, i) : statements;
		const json_t *who = json_get(s, "Principal") ? json_get(s, "Principal") : json_get(s, "NotPrincipal");
		const json_t *names = json_get(who, "AWS");
		for (size_t n = 0; names && n < count_of(names); n++)
			if (str_starts(item_of(names, n), STR("arn:")) && fn(ctx, item_of(names, n)) < 0)
				return -1;
	}
	return 0;
}

/* ---- public or not ---- */

/* "10.0.0.0/8": not all the world. */
static bool is_narrow(struct str range)
{
	const bool six = str_find_char(range, ':') >= 0;
	const ptrdiff_t slash = str_find_char(range, '/');
	int64_t bits;
	return slash < 0 || (str_to_i64(str_skip(range, (size_t)slash + 1), &bits) && bits >= (six ? 32 : 8));
}

/* A value that means certain callers. */
static bool is_fixed(struct str key, struct str value)
{
	if (str_eq_nocase(key, STR("aws:SourceIp")))
		return is_narrow(value);
	if (str_eq_nocase(key, STR("s3:DataAccessPointArn"))) /* the access point's name may be open */
		return str_find_char(value, '*') < 0 || str_find(value, STR(":accesspoint/")) > 0;
	return str_find_char(value, '*') < 0 && str_find_char(value, '?') < 0 && str_find(value, STR("${")) < 0;
}

static bool narrows(struct str op, struct str key, const json_t *values)
{
	static const char *const keys[] = { "aws:PrincipalOrgID",
					    "aws:PrincipalOrgPaths",
					    "aws:PrincipalAccount",
					    "aws:PrincipalArn",
					    "aws:SourceIp",
					    "aws:SourceArn",
					    "aws:SourceVpc",
					    "aws:SourceVpce",
					    "aws:SourceOwner",
					    "aws:SourceAccount",
					    "aws:userid",
					    "s3:DataAccessPointArn",
					    "s3:DataAccessPointAccount" };
	static const char *const ops[] = { "StringEquals", "StringEqualsIgnoreCase",
					   "StringLike",   "ArnEquals",
					   "ArnLike",      "IpAddress" };
	bool known = false, fits = false;
	if (str_starts(op, STR("ForAnyValue:")))
		op = str_skip(op, strlen("ForAnyValue:"));
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		fits = fits || str_eq_nocase(op, str_from(ops[i]));
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		known = known || str_eq_nocase(key, str_from(keys[i]));
	for (size_t i = 0; i < count_of(values); i++)
		if (!is_fixed(key, item_of(values, i)))
			return false;
	return fits && known;
}

static bool is_narrowed(const json_t *s)
{
	json_t *all = json_object_get(s, "Condition"), *keys, *values;
	const char *op, *key;
	json_object_foreach (all, op, keys)
		json_object_foreach (keys, key, values)
			if (narrows(str_from(op), str_from(key), values))
				return true;
	return false;
}

static bool is_for_all(const json_t *s)
{
	const json_t *v = json_get(s, "Principal"), *names = json_get(v, "AWS");
	if (!v || json_is_string(v))
		return true; /* NotPrincipal, or "*" */
	for (size_t i = 0; names && i < count_of(names); i++)
		if (str_eqz(item_of(names, i), "*"))
			return true;
	return false;
}

bool s3_bucket_policy_public(const json_t *policy)
{
	const json_t *statements = json_get(policy, "Statement");
	for (size_t i = 0; i < count_of(statements); i++) {
		const json_t *s = json_is_array(statements) ? json_array_get(statements, i) : statements;
		if (str_eqz(json_get_str(s, "Effect"), "Allow") && is_for_all(s) && !is_narrowed(s))
			return true;
	}
	return false;
}
