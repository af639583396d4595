/* policy_parse.c - reading and checking policy documents. See policy.h.
 *
 * DESIGN: the checks and their texts are those that IAM makes when a document is stored; what it does not look at
 * (whether an action or a key exists) is not looked at here. Texts live in the policy's own arena. Source: IAM user
 * guide, "IAM JSON policy elements reference" and "Grammar of the IAM JSON policy language". */
#include "iam/policy.h"

#include <stdlib.h>

#include "base/json.h"

enum { STATEMENTS_MAX = 4096, VALUES_MAX = 65536 };

static int malformed(struct error *err, const char *text)
{
	return error_aws(err, "MalformedPolicyDocument", "%s", text);
}

static int syntax(struct error *err)
{
	return malformed(err, "Syntax errors in policy.");
}

/* ---- lists of texts ---- */

/* A string, or a list of strings; numbers and booleans too where a condition's values are read. */
static int read_list(struct arena *a, const json_t *v, bool scalars, const struct str **items, size_t *count,
		     struct error *err)
{
	size_t n = json_is_array(v) ? json_array_size(v) : 1;
	if (n > VALUES_MAX)
		return syntax(err);
	struct str *out = ARENA_ARRAY(a, struct str, n ? n : 1);
	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_is_array(v) ? json_array_get(v, i) : v;
		if (json_is_string(item))
			out[i] = arena_str(a, json_str(item));
		else if (scalars && (json_is_boolean(item) || json_is_number(item)))
			out[i] = json_text(a, item);
		else
			return syntax(err);
	}
	*items = out;
	*count = n;
	return 0;
}

/* The element or its Not form; not both. */
static int read_either(struct arena *a, const json_t *s, const char *name, const char *not_name,
		       struct policy_list *out, struct error *err)
{
	const json_t *plain = json_object_get(s, name), *negated = json_object_get(s, not_name);
	if (plain && negated)
		return syntax(err);
	if (!plain && !negated)
		return 0;
	out->present = true;
	out->negated = negated != NULL;
	return read_list(a, plain ? plain : negated, false, &out->items, &out->count, err);
}

/* ---- actions and resources ---- */

static int check_action(struct str action, enum policy_kind kind, struct error *err)
{
	ptrdiff_t colon = str_find_char(action, ':');
	if (str_eqz(action, "*"))
		return kind != POLICY_TRUST
			       ? 0
			       : malformed(err, "AssumeRole policy may only specify STS AssumeRole actions.");
	if (colon <= 0)
		return malformed(err, "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.");
	if (str_find_char(str_skip(action, (size_t)colon + 1), ':') >= 0)
		return malformed(err, "Actions/Condition can contain only one colon.");
	for (ptrdiff_t i = 0; i < colon; i++) {
		char c = action.ptr[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
		      c == '.'))
			return error_aws(err, "MalformedPolicyDocument", "Vendor %.*s is not valid", (int)colon,
					 action.ptr);
	}
	if (kind == POLICY_TRUST && !str_eq_nocase(str_head(action, 4), STR("sts:")))
		return malformed(err, "AssumeRole policy may only specify STS AssumeRole actions.");
	return 0;
}

static int check_resource(struct str resource, struct error *err)
{
	if (str_eqz(resource, "*"))
		return 0;
	struct str rest = resource, part;
	bool arn = str_split(&rest, ':', &part) && str_eqz(part, "arn") && rest.ptr;
	if (!arn)
		return error_aws(err, "MalformedPolicyDocument", "Resource %.*s must be in ARN format or \"*\".",
				 STR_ARG(resource));
	if (str_split(&rest, ':', &part) && !str_starts(part, STR("aws")) && !str_eqz(part, "*") &&
	    !str_starts(part, STR("${")))
		return error_aws(err, "MalformedPolicyDocument",
				 "Partition \"%.*s\" is not valid for resource \"%.*s\".", STR_ARG(part),
				 STR_ARG(resource));
	return 0;
}

static int check_iam_resource(struct str resource, struct str region, struct str path, struct error *err)
{
	static const char *const kinds[] = { "user/",
					     "federated-user/",
					     "role/",
					     "group/",
					     "instance-profile/",
					     "mfa/",
					     "server-certificate/",
					     "policy/",
					     "sms-mfa/",
					     "saml-provider/",
					     "oidc-provider/",
					     "report/",
					     "access-report/",
					     "*" };
	if (region.len && !str_eqz(region, "*"))
		return error_aws(err, "MalformedPolicyDocument", "IAM resource %.*s cannot contain region information.",
				 STR_ARG(resource));
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (str_starts(path, str_from(kinds[i])))
			return 0;
	return malformed(err,
			 "IAM resource path must either be \"*\" or start with user/, federated-user/, role/, group/, "
			 "instance-profile/, mfa/, server-certificate/, policy/, sms-mfa/, saml-provider/, "
			 "oidc-provider/, report/, access-report/.");
}

/* The parts of an ARN; one with a variable among them is only known when it is asked. */
static int check_arn(struct str resource, struct error *err)
{
	struct str rest = resource, part[5];
	size_t n = 0;
	while (n < 5 && str_split(&rest, ':', &part[n])) {
		if (str_find(part[n], STR("${")) >= 0)
			return 0;
		n++;
	}
	if (str_ends(part[n - 1], STR("*")) && !rest.ptr)
		return 0;
	if (n < 3)
		return malformed(err, "Resource vendor must be fully qualified and cannot contain regexes.");
	if (n < 5 || !rest.ptr || !part[2].len)
		return malformed(err, "The policy failed legacy parsing");
	if (str_eqz(part[2], "iam"))
		return check_iam_resource(resource, part[3], rest, err);
	if (str_eqz(part[2], "s3") && part[3].len && !str_eqz(part[3], "*") && !part[4].len)
		return error_aws(err, "MalformedPolicyDocument", "Resource %.*s can not contain region information.",
				 STR_ARG(resource));
	return 0;
}

int policy_check_new(const struct policy *p, struct error *err)
{
	if (!p->count)
		return syntax(err);
	for (size_t s = 0; s < p->count; s++) {
		const struct policy_list *l = &p->statements[s].resources;
		for (size_t i = 0; i < l->count; i++)
			if (!str_eqz(l->items[i], "*") && check_arn(l->items[i], err) < 0)
				return -1;
	}
	return 0;
}

static int read_actions(struct arena *a, const json_t *s, enum policy_kind kind, struct policy_list *out,
			struct error *err)
{
	if (read_either(a, s, "Action", "NotAction", out, err) < 0)
		return -1;
	if (!out->present || !out->count)
		return malformed(err, "Policy statement must contain actions.");
	for (size_t i = 0; i < out->count; i++)
		if (check_action(out->items[i], kind, err) < 0)
			return -1;
	return 0;
}

static int read_resources(struct arena *a, const json_t *s, enum policy_kind kind, struct policy_list *out,
			  struct error *err)
{
	if (read_either(a, s, "Resource", "NotResource", out, err) < 0)
		return -1;
	if (kind == POLICY_TRUST)
		return out->present ? malformed(err, "Has prohibited field Resource") : 0;
	if (kind == POLICY_IDENTITY && (!out->present || !out->count))
		return malformed(err, "Policy statement must contain resources.");
	for (size_t i = 0; i < out->count; i++)
		if (check_resource(out->items[i], err) < 0)
			return -1;
	return 0;
}

/* ---- principals ---- */

static int add_principals(struct arena *a, const char *kind, const json_t *v, struct policy_principal *out, size_t *n,
			  struct error *err)
{
	const struct str *names;
	size_t count;
	enum principal_kind k = strcmp(kind, "AWS") == 0       ? PRINCIPAL_AWS
				: strcmp(kind, "Service") == 0 ? PRINCIPAL_SERVICE
							       : PRINCIPAL_OTHER;
	if (k == PRINCIPAL_OTHER && strcmp(kind, "Federated") != 0 && strcmp(kind, "CanonicalUser") != 0)
		return syntax(err);
	if (read_list(a, v, false, &names, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		int64_t account;
		bool known = str_eqz(names[i], "*") || str_starts(names[i], STR("arn:aws")) ||
			     (names[i].len == 12 && str_to_i64(names[i], &account));
		if (k == PRINCIPAL_AWS && !known)
			return error_aws(err, "MalformedPolicyDocument",
					 "Invalid principal in policy: \"AWS\":\"%.*s\"", STR_ARG(names[i]));
		out[(*n)++] = (struct policy_principal){ k, names[i] };
	}
	return 0;
}

static int read_principals(struct arena *a, const json_t *s, enum policy_kind kind, struct policy_statement *out,
			   struct error *err)
{
	const json_t *v = json_object_get(s, "Principal"), *negated = json_object_get(s, "NotPrincipal");
	if (kind == POLICY_IDENTITY)
		return v || negated ? malformed(err, "Policy document should not specify a principal.") : 0;
	if (negated && kind == POLICY_TRUST)
		return malformed(err, "Has prohibited field NotPrincipal");
	if (v && negated)
		return syntax(err);
	if (!v && !negated)
		return malformed(err, "Missing required field Principal");
	out->not_principals = negated != NULL;
	v = v ? v : negated;
	size_t n = 0, max = 1;
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)v, key, value)
		max += json_is_array(value) ? json_array_size(value) : 1;
	struct policy_principal *all = ARENA_ARRAY(a, struct policy_principal, max);
	out->principals = all;
	out->nprincipals = 1;
	if (json_is_string(v) && strcmp(json_string_value(v), "*") == 0) {
		all[0].kind = PRINCIPAL_ANY;
		return 0;
	}
	if (!json_is_object(v) || json_object_size(v) == 0)
		return malformed(err, "Invalid principal in policy.");
	json_object_foreach ((json_t *)v, key, value)
		if (add_principals(a, key, value, all, &n, err) < 0)
			return -1;
	out->nprincipals = n;
	return n ? 0 : malformed(err, "Invalid principal in policy.");
}

/* ---- conditions ---- */

static int read_conditions(struct arena *a, const json_t *s, struct policy_statement *out, struct error *err)
{
	json_t *all = json_object_get(s, "Condition"), *keys, *values;
	const char *name, *key;
	size_t n = 0;
	if (!all)
		return 0;
	if (!json_is_object(all))
		return syntax(err);
	json_object_foreach (all, name, keys)
		n += json_object_size(keys);
	struct policy_condition *list = ARENA_ARRAY(a, struct policy_condition, n ? n : 1);
	out->conditions = list;
	json_object_foreach (all, name, keys) {
		struct policy_condition c = { 0 };
		if (!json_is_object(keys))
			return syntax(err);
		if (!policy_operator_find(str_from(name), &c))
			return error_aws(err, "MalformedPolicyDocument", "Invalid Condition type : %s.", name);
		json_object_foreach (keys, key, values) {
			if (!strchr(key, ':'))
				return malformed(
					err,
					"Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.");
			c.key = arena_str(a, str_from(key));
			if (read_list(a, values, true, &c.values, &c.count, err) < 0)
				return -1;
			list[out->nconditions++] = c;
		}
	}
	return 0;
}

/* ---- statements and the document ---- */

static bool known_member(const char *name, const char *const *known)
{
	for (; *known; known++)
		if (strcmp(name, *known) == 0)
			return true;
	return false;
}

static int check_members(json_t *v, const char *const *known, struct error *err)
{
	const char *key;
	json_t *value;
	json_object_foreach (v, key, value)
		if (!known_member(key, known))
			return syntax(err);
	return 0;
}

static int read_sid(struct arena *a, const json_t *s, enum policy_kind kind, struct policy_statement *out,
		    struct error *err)
{
	const json_t *v = json_object_get(s, "Sid");
	out->sid = "";
	if (!v)
		return 0;
	if (!json_is_string(v))
		return syntax(err);
	struct str sid = json_str(v);
	for (size_t i = 0; kind == POLICY_IDENTITY && i < sid.len; i++) {
		char c = sid.ptr[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')))
			return malformed(err, "Statement IDs (SID) must be alpha-numeric. Check that your input "
					      "satisfies the regular expression [0-9A-Za-z]*");
	}
	out->sid = arena_strdup(a, sid);
	return 0;
}

static int read_statement(struct arena *a, json_t *s, enum policy_kind kind, bool variables,
			  struct policy_statement *out, struct error *err)
{
	static const char *const known[] = { "Sid",       "Effect",   "Principal",   "NotPrincipal", "Action",
					     "NotAction", "Resource", "NotResource", "Condition",    NULL };
	const char *effect = json_get_text(s, "Effect");
	if (!json_is_object(s) || check_members(s, known, err) < 0)
		return err->message ? -1 : syntax(err);
	bool allows = effect && strcmp(effect, "Allow") == 0;
	if (!allows && !(effect && strcmp(effect, "Deny") == 0))
		return syntax(err);
	out->allows = allows;
	out->variables = variables;
	if (read_sid(a, s, kind, out, err) < 0 || read_actions(a, s, kind, &out->actions, err) < 0 ||
	    read_resources(a, s, kind, &out->resources, err) < 0 || read_principals(a, s, kind, out, err) < 0)
		return -1;
	return read_conditions(a, s, out, err);
}

static int read_statements(struct policy *p, json_t *v, enum policy_kind kind, bool variables, struct error *err)
{
	json_t *list = json_object_get(v, "Statement");
	size_t n = json_is_array(list) ? json_array_size(list) : 1;
	if (!(json_is_array(list) || json_is_object(list)) || n > STATEMENTS_MAX || (n == 0 && kind == POLICY_RESOURCE))
		return syntax(err);
	struct policy_statement *all = ARENA_ARRAY(&p->arena, struct policy_statement, n ? n : 1);
	for (size_t i = 0; i < n; i++) {
		json_t *s = json_is_array(list) ? json_array_get(list, i) : list;
		if (read_statement(&p->arena, s, kind, variables, &all[i], err) < 0)
			return -1;
		for (size_t k = 0; k < i; k++)
			if (all[i].sid[0] && strcmp(all[i].sid, all[k].sid) == 0)
				return malformed(err, "Statement IDs (SID) in a single policy must be unique.");
	}
	p->statements = all;
	p->count = n;
	return 0;
}

static int read_document(struct policy *p, json_t *v, enum policy_kind kind, struct error *err)
{
	static const char *const known[] = { "Version", "Id", "Statement", NULL };
	if (!json_is_object(v) || !json_object_get(v, "Statement"))
		return syntax(err);
	if (check_members(v, known, err) < 0)
		return -1;
	const json_t *version = json_object_get(v, "Version");
	const char *text = json_is_string(version) ? json_string_value(version) : "";
	bool newer = strcmp(text, "2012-10-17") == 0;
	if (version && !newer && strcmp(text, "2008-10-17") != 0)
		return malformed(err, "The policy must contain a valid version string");
	return read_statements(p, v, kind, newer, err);
}

struct policy *policy_parse(struct str text, enum policy_kind kind, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	CLEANUP_JSON json_t *v = json_parse(text, &why);
	if (!v) {
		malformed(err, "This policy contains invalid Json");
		return NULL;
	}
	struct policy *p = mem_calloc(1, sizeof(*p));
	if (read_document(p, v, kind, err) == 0)
		return p;
	policy_free(p);
	return NULL;
}

void policy_free(struct policy *p)
{
	if (!p)
		return;
	arena_release(&p->arena);
	free(p);
}
