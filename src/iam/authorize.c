/* authorize.c - may this principal do that? Asks the policies of grants.c, and words the refusal.
 *
 * DESIGN: an explicit Deny anywhere wins; else an identity policy has to allow, and the permissions boundary and the
 * session's policies, where there are any. Sources: IAM user guide, "Policy evaluation logic" (single account); "AWS
 * global condition context keys", "Troubleshoot access denied error messages". */
#include "base/clock.h"
#include "iam/room.h"

/* ---- condition keys ---- */

static bool one(struct arena *a, struct policy_values *out, struct str value)
{
	struct str *v = ARENA_NEW(a, struct str);
	*v = value;
	*out = (struct policy_values){ v, 1 };
	return value.ptr != NULL;
}

static bool is_session(const struct principal *who)
{
	return strstr(who->arn, ":assumed-role/") != NULL;
}

static const char *const tag_members[] = { "Tags", "tags", "TagList" };

static const char *first_text(const json_t *o, const char *a, const char *b)
{
	const char *x = json_get_text(o, a);
	return x ? x : json_get_text(o, b);
}

/* Calls for each tag that the request gives, or takes away (value ""). */
static void each_tag(const struct wire_ask *ask, void (*fn)(void *ctx, struct str key, struct str value), void *ctx)
{
	const char *key;
	json_t *value;
	size_t n;
	for (const char *const *t = ask->tags; t && t[0]; t += 2)
		fn(ctx, str_from(t[0]), str_from(t[1]));
	for (size_t m = 0; m < 3; m++) {
		json_t *tags = json_get(ask->in, tag_members[m]);
		json_array_foreach (tags, n, value)
			if (json_is_object(value) && first_text(value, "Key", "key"))
				fn(ctx, str_from(first_text(value, "Key", "key")),
				   str_from(first_text(value, "Value", "value")));
		if (json_is_object(tags))
			json_object_foreach (tags, key, value)
				fn(ctx, str_from(key), json_str(value));
	}
	json_t *gone = json_get(ask->in, json_get(ask->in, "TagKeys") ? "TagKeys" : "tagKeys");
	json_array_foreach (gone, n, value)
		if (json_is_string(value))
			fn(ctx, json_str(value), STR_NULL);
}

struct tag_search {
	struct str name, value;
	struct str *keys;
	size_t count;
};

static void find_tag(void *ctx, struct str key, struct str value)
{
	struct tag_search *s = ctx;
	if (str_eq_nocase(key, s->name) && value.ptr)
		s->value = value;
}

static void list_key(void *ctx, struct str key, struct str value)
{
	struct tag_search *s = ctx;
	if (s->keys)
		s->keys[s->count] = key;
	s->count++;
}

static bool tag_keys(const struct wire_ask *ask, struct arena *a, struct policy_values *out)
{
	struct tag_search s = { 0 };
	each_tag(ask, list_key, &s);
	s.keys = ARENA_ARRAY(a, struct str, s.count + 1);
	out->count = s.count;
	s.count = 0;
	each_tag(ask, list_key, &s);
	out->values = s.keys;
	return out->count > 0;
}

/* A key that the service gave, perhaps several times. */
static bool fact(const struct wire_ask *ask, struct arena *a, struct str key, struct policy_values *out)
{
	struct str *values = ARENA_ARRAY(a, struct str, ask->nfacts + 1);
	size_t n = 0;
	for (size_t f = 0; f < ask->nfacts; f++)
		if (str_eq_nocase(key, str_from(ask->facts[f].key)))
			values[n++] = ask->facts[f].value;
	*out = (struct policy_values){ values, n };
	return n > 0;
}

struct str iam_principal_arn(const struct iam_question *x, struct arena *a)
{
	if (x->grants && x->grants->arn)
		return str_from(x->grants->arn);
	struct str arn = str_from(x->who->arn);
	const char *role = arn.ptr ? strstr(arn.ptr, ":assumed-role/") : NULL;
	if (!role)
		return arn;
	role += strlen(":assumed-role/");
	struct str name = str_of(role, strcspn(role, "/"));
	return str_from(arena_printf(a, "arn:aws:iam::%s:role%s%.*s", x->who->account,
				     str_eqz(name, IAM_DEFAULT_ROLE) ? IAM_DEFAULT_PATH : "/", STR_ARG(name)));
}

static bool of_principal(const struct iam_question *x, struct arena *a, struct str name, struct policy_values *out)
{
	const struct principal *who = x->who;
	bool session = is_session(who);
	if (str_eq_nocase(name, STR("PrincipalArn")))
		return one(a, out, iam_principal_arn(x, a));
	if (str_eq_nocase(name, STR("PrincipalAccount")) || str_eq_nocase(name, STR("ResourceAccount")))
		return one(a, out, str_from(who->account));
	if (str_eq_nocase(name, STR("PrincipalType")))
		return one(a, out, session ? STR("AssumedRole") : STR("User"));
	if (str_eq_nocase(name, STR("userid")))
		return one(a, out, str_from(who->user_id));
	if (str_eq_nocase(name, STR("username")))
		return one(a, out, session ? STR_NULL : iam_last_part(str_from(who->arn)));
	if (str_eq_nocase(name, STR("MultiFactorAuthPresent")))
		return one(a, out, str_starts(str_from(who->access_key), STR("ASIA")) ? STR("false") : STR_NULL);
	if (str_eq_nocase(str_head(name, 13), STR("PrincipalTag/")) && x->grants) {
		struct str tag = str_skip(name, 13);
		return one(a, out, json_str(json_object_getn(x->grants->tags, tag.ptr, tag.len)));
	}
	return false;
}

/* What does not leave the machine, or comes from a proxy here that ends TLS, can't be overheard. */
static bool is_loopback(const char *ip)
{
	return !*ip /* from inside */ || strncmp(ip, "127.", 4) == 0 || strcmp(ip, "::1") == 0 ||
	       strncmp(ip, "::ffff:127.", 11) == 0;
}

static bool of_request(const struct iam_question *x, struct arena *a, struct str name, struct policy_values *out)
{
	char text[40];
	struct wire_request *r = x->ask->request;
	if (str_eq_nocase(name, STR("CurrentTime")))
		return one(a, out, arena_str(a, str_from(clock_iso(x->now_ms, text))));
	if (str_eq_nocase(name, STR("EpochTime")))
		return one(a, out, str_from(arena_printf(a, "%lld", (long long)(x->now_ms / 1000))));
	if (str_eq_nocase(name, STR("RequestedRegion")))
		return one(a, out, x->ask->region ? str_from(x->ask->region) : STR_NULL);
	if (str_eq_nocase(name, STR("PrincipalIsAWSService")) || str_eq_nocase(name, STR("ViaAWSService")))
		return one(a, out, STR("false"));
	if (str_eq_nocase(name, STR("SecureTransport")))
		return one(a, out, !r || is_loopback(wire_source_ip(r)) ? STR("true") : STR("false"));
	if (r && str_eq_nocase(name, STR("SourceIp")) && *wire_source_ip(r))
		return one(a, out, str_from(wire_source_ip(r)));
	if (r && str_eq_nocase(name, STR("UserAgent")))
		return one(a, out, wire_header(r, "user-agent"));
	if (r && str_eq_nocase(name, STR("referer")))
		return one(a, out, wire_header(r, "referer"));
	if (str_eq_nocase(name, STR("TagKeys")))
		return tag_keys(x->ask, a, out);
	if (str_eq_nocase(str_head(name, 11), STR("RequestTag/"))) {
		struct tag_search s = { .name = str_skip(name, 11) };
		each_tag(x->ask, find_tag, &s);
		return one(a, out, s.value);
	}
	return false;
}

bool iam_find_value(void *ctx, struct arena *a, struct str key, struct policy_values *out)
{
	const struct iam_question *x = ctx;
	if (fact(x->ask, a, key, out))
		return true;
	if (!str_eq_nocase(str_head(key, 4), STR("aws:")))
		return false;
	struct str name = str_skip(key, 4);
	return (x->who && of_principal(x, a, name, out)) || of_request(x, a, name, out);
}

/* ---- the decision ---- */

static void note(struct iam_decision *d, const struct iam_granted *g, const char *sid)
{
	d->policy = g;
	d->sid = sid;
}

static struct iam_decision by_identity(const struct iam_grants *g, const struct policy_question *q)
{
	struct iam_decision d = { .verdict = IAM_SILENT, .reason = "identity-based policy" };
	for (size_t n = 0; n < g->count; n++) {
		struct policy_answer one = policy_ask(g->identity[n].policy, q);
		if (one.verdict == POLICY_DENIES) {
			d.verdict = IAM_DENIED;
			note(&d, &g->identity[n], one.sid);
			return d;
		}
		if (one.verdict == POLICY_ALLOWS && d.verdict == IAM_SILENT) {
			d.verdict = IAM_ALLOWED;
			note(&d, &g->identity[n], one.sid);
		}
	}
	return d;
}

/* What limits a grant: all of the kind together have to allow. */
static enum policy_verdict by_limit(struct policy *const *policies, size_t count, const struct policy_question *q)
{
	enum policy_verdict all = POLICY_SILENT;
	for (size_t n = 0; n < count; n++) {
		enum policy_verdict v = policy_ask(policies[n], q).verdict;
		if (v == POLICY_DENIES)
			return v;
		if (v == POLICY_ALLOWS)
			all = v;
	}
	return all;
}

struct iam_decision iam_decide(const struct iam_grants *g, const struct policy_question *q)
{
	struct iam_decision d = by_identity(g, q);
	enum policy_verdict boundary = POLICY_ALLOWS, session = POLICY_ALLOWS;
	if (g->bounded)
		boundary = by_limit(&g->boundary, g->boundary ? 1 : 0, q);
	if (g->limited)
		session = by_limit(g->sessions, g->nsessions, q);
	d.limits_allow = boundary == POLICY_ALLOWS && session == POLICY_ALLOWS;
	if (d.verdict == IAM_DENIED || (boundary == POLICY_ALLOWS && session == POLICY_ALLOWS))
		return d;
	if (boundary == POLICY_DENIES || session == POLICY_DENIES) {
		d.verdict = IAM_DENIED;
		d.reason = boundary == POLICY_DENIES ? "permissions boundary" : "session policy";
	} else if (d.verdict == IAM_ALLOWED) {
		d.verdict = IAM_SILENT;
		d.reason = boundary == POLICY_SILENT ? "permissions boundary" : "session policy";
	}
	return d;
}

/* ---- questions from the wire ---- */

int iam_refuse(const struct principal *who, const struct wire_ask *ask, const struct iam_decision *d, struct error *err)
{
	const char *quote = strncmp(ask->action, "s3:", 3) == 0 ? "\"" : "";
	const char *name = who->anonymous ? "anonymous" : who->arn;
	if (d->verdict == IAM_DENIED)
		return error_http(err, 403, "AccessDenied",
				  "User: %s is not authorized to perform: %s on resource: %s%.*s%s with an explicit "
				  "deny in %s %s",
				  name, ask->action, quote, STR_ARG(ask->resource), quote,
				  d->reason[0] == 'i' ? "an" : "a", d->reason);
	return error_http(err, 403, "AccessDenied",
			  "User: %s is not authorized to perform: %s on resource: %s%.*s%s because no %s allows the %s "
			  "action",
			  name, ask->action, quote, STR_ARG(ask->resource), quote, d->reason, ask->action);
}

bool iam_is_owner(const struct iam_grants *g, const struct principal *who)
{
	size_t n = strlen(g->id);
	return strncmp(who->user_id, g->id, n) == 0 && (who->user_id[n] == 0 || who->user_id[n] == ':');
}

int iam_ask(struct iam *i, struct arena *a, const struct principal *who, const struct wire_ask *ask,
	    struct iam_decision *d, struct iam_grants **grants, struct error *err)
{
	struct iam_question x = { .who = who, .ask = ask, .now_ms = engine_now_ms(i->engine) };
	struct policy_question q = { .action = str_from(ask->action),
				     .resource = ask->resource,
				     .find = iam_find_value,
				     .ctx = &x,
				     .arena = a };
	*d = (struct iam_decision){ .verdict = IAM_SILENT, .reason = "identity-based policy" };
	*grants = NULL;
	int rc = who->grants ? iam_grants_get(i, who->grants, grants, err) : 0;
	if (rc < 0 || (rc == 0 && !who->anonymous))
		return rc;
	x.grants = *grants;
	if (who->anonymous)
		*d = (struct iam_decision){ .verdict = IAM_SILENT,
					    .reason = "resource-based policy",
					    .limits_allow = true };
	else if (iam_is_owner(*grants, who))
		*d = iam_decide(*grants, &q);
	else /* gone, and another one of the same name is there */
		return 0;
	struct policy_answer own;
	if (iam_ask_resource(i, a, &x, &own, err) < 0)
		return -1;
	iam_join_resource(d, &own);
	return 0;
}

/* iam:PassRole is asked about the role that a service would take, however it is written. */
static int real_role(struct iam *i, struct arena *a, struct wire_ask *ask, struct error *err)
{
	struct iam_role r;
	struct str name = iam_role_name(i, ask->resource);
	struct db *db = name.len ? store_read_begin(engine_store(i->engine), err) : NULL;
	if (!db)
		return name.len ? -1 : 0;
	int rc = iam_get_role(i, db, a, name, &r, err);
	store_read_end(engine_store(i->engine), db);
	if (rc > 0)
		ask->resource = str_from(r.arn);
	return rc < 0 ? -1 : 0;
}

/* Who may do everything has no policies of his own; what a resource's policy denies is denied to him too. */
static int ask_unrestricted(struct iam *i, struct arena *a, const struct principal *who, const struct wire_ask *ask,
			    struct iam_decision *d, struct error *err)
{
	struct iam_question x = { .who = who, .ask = ask, .now_ms = engine_now_ms(i->engine) };
	struct policy_answer own;
	*d = (struct iam_decision){ .verdict = IAM_ALLOWED };
	if (iam_ask_resource(i, a, &x, &own, err) < 0)
		return -1;
	iam_join_resource(d, &own);
	return 0;
}

int iam_authorize(void *ctx, struct arena *a, const struct principal *who, const struct wire_ask *asked,
		  struct error *err)
{
	struct iam *i = ctx;
	struct wire_ask ask = *asked;
	struct iam_decision d;
	struct iam_grants *g = NULL;
	if (i->ignore_policies)
		return 0;
	iam_note_use(i, who, asked);
	if (!who->unrestricted && strcmp(ask.action, "iam:PassRole") == 0 && real_role(i, a, &ask, err) < 0)
		return -1;
	int rc = who->unrestricted ? ask_unrestricted(i, a, who, &ask, &d, err) : iam_ask(i, a, who, &ask, &d, &g, err);
	if (rc == 0 && d.verdict != IAM_ALLOWED)
		rc = iam_refuse(who, &ask, &d, err);
	iam_grants_put(g);
	return rc;
}

int iam_may(struct iam *i, struct arena *a, const struct principal *who, const char *action, const char *resource,
	    struct error *err)
{
	const struct wire_ask ask = { .action = action, .resource = str_from(resource), .region = i->region };
	return iam_authorize(i, a, who, &ask, err);
}

int iam_may_s3(struct iam *i, struct arena *a, const struct principal *who, const char *action, struct str bucket,
	       struct str key, struct error *err)
{
	bool list = strcmp(action, "s3:ListBucket") == 0;
	const struct wire_fact prefix = { "s3:prefix", key };
	const char *arn = list || !key.len ? arena_printf(a, "arn:aws:s3:::%.*s", STR_ARG(bucket))
					   : arena_printf(a, "arn:aws:s3:::%.*s/%.*s", STR_ARG(bucket), STR_ARG(key));
	const struct wire_ask ask = { .action = action,
				      .resource = str_from(arn),
				      .region = i->region,
				      .facts = &prefix,
				      .nfacts = list && key.ptr ? 1 : 0 };
	return iam_authorize(i, a, who, &ask, err);
}
