/* api_simulate.c - SimulatePrincipalPolicy and SimulateCustomPolicy.
 *
 * DESIGN: the question goes to the same code that decides about requests (authorize.c), with the condition keys of the
 * request's ContextEntries before those that Quern knows by itself. A resource policy is looked at when the request
 * brings one. Source: IAM API reference, "SimulatePrincipalPolicy". */
#include <stdlib.h>

#include "iam/room.h"

struct simulation {
	struct iam_question x; /* of iam_find_value */
	struct wire_ask ask;
	struct principal who;
	json_t *missing;             /* condition keys that policies asked for in vain */
	struct policy *resource;     /* the request's ResourcePolicy; NULL: none */
	struct policy_caller caller; /* for it */
};

static bool find_value(void *ctx, struct arena *a, struct str key, struct policy_values *out)
{
	struct simulation *s = ctx;
	if (iam_find_value(&s->x, a, key, out))
		return true;
	size_t n;
	json_t *known;
	json_array_foreach (s->missing, n, known)
		if (str_eq(json_str(known), key))
			return false;
	json_array_append_new(s->missing, json_stringn(key.ptr, key.len));
	return false;
}

/* ---- whose policies ---- */

static int read_principal(struct call *c, struct db *db, struct str arn, struct simulation *s, struct iam_grants **out,
			  struct error *err)
{
	struct iam *i = iam_of(c);
	const struct str users = str_from(arena_printf(c->arena, "arn:aws:iam::%s:user/", i->account));
	const struct str groups = str_from(arena_printf(c->arena, "arn:aws:iam::%s:group/", i->account));
	struct str role = iam_role_name(i, arn), name = role.len ? role : iam_last_part(arn);
	const char *kind = role.len ? "role" : str_starts(arn, groups) ? "group" : "user";
	struct iam_role r;
	if ((*kind == 'u' && !str_starts(arn, users)) || !name.len)
		return error_aws(err, "InvalidInput",
				 "Invalid Entity Arn: %.*s does not clearly define entity type and name.",
				 STR_ARG(arn));
	if ((*kind == 'r'   ? iam_need_role(i, db, c->arena, name, &r, err)
	     : *kind == 'g' ? iam_need_group(db, name, err)
			    : iam_need_user(db, name, err)) < 0)
		return -1;
	const char *key = arena_printf(c->arena, "%s/%.*s", kind, STR_ARG(name));
	if (iam_grants_read(i, db, key, out, err) <= 0)
		return -1;
	s->who.user_id = (*out)->id;
	s->who.arn = role.len ? arena_printf(c->arena, "arn:aws:sts::%s:assumed-role/%.*s/simulated", i->account,
					     STR_ARG(role))
			      : (*out)->arn;
	return 0;
}

/* The policies that the request brings with it. */
static int add_given(struct iam_grants *g, const json_t *in, struct error *err)
{
	json_t *texts = json_get(in, "PolicyInputList"), *text;
	const json_t *boundary = json_array_get(json_get(in, "PermissionsBoundaryPolicyInputList"), 0);
	size_t n;
	g->identity = mem_realloc(g->identity, (g->count + json_array_size(texts) + 1) * sizeof(*g->identity));
	json_array_foreach (texts, n, text) {
		struct policy *p = policy_parse(json_str(text), POLICY_IDENTITY, err);
		char id[40];
		if (!p)
			return -1;
		snprintf(id, sizeof(id), "PolicyInputList.%zu", n + 1);
		g->identity[g->count++] = (struct iam_granted){ p, mem_strdup(id), IAM_SOURCE_GIVEN };
	}
	if (!boundary)
		return 0;
	policy_free(g->boundary);
	g->bounded = true;
	g->boundary = policy_parse(json_str(boundary), POLICY_IDENTITY, err);
	return g->boundary ? 0 : -1;
}

static size_t read_context(struct call *c, const json_t *in, const struct wire_fact **out)
{
	json_t *entries = json_get(in, "ContextEntries"), *entry, *value;
	size_t n, k, count = 0, max = 0;
	json_array_foreach (entries, n, entry)
		max += json_array_size(json_get(entry, "ContextKeyValues"));
	struct wire_fact *facts = ARENA_ARRAY(c->arena, struct wire_fact, max + 1);
	json_array_foreach (entries, n, entry)
		json_array_foreach (json_get(entry, "ContextKeyValues"), k, value)
			if (json_get_text(entry, "ContextKeyName"))
				facts[count++] =
					(struct wire_fact){ json_get_text(entry, "ContextKeyName"), json_str(value) };
	*out = facts;
	return count;
}

/* ---- the answer ---- */

static json_t *result(const struct iam_grants *g, const struct iam_decision *d, const struct simulation *s)
{
	static const char *const verdicts[] = { "implicitDeny", "allowed", "explicitDeny" };
	json_t *o = json_pack("{s:s, s:s%, s:s, s:[], s:O}", "EvalActionName", s->ask.action, "EvalResourceName",
			      s->ask.resource.ptr, s->ask.resource.len, "EvalDecision", verdicts[d->verdict],
			      "MatchedStatements", "MissingContextValues", s->missing);
	if (d->policy)
		json_array_append_new(json_get(o, "MatchedStatements"),
				      json_pack("{s:s, s:s}", "SourcePolicyId", d->policy->id, "SourcePolicyType",
						d->policy->source == IAM_SOURCE_GIVEN ? "none" : "IAM Policy"));
	if (g->bounded)
		json_object_set_new(o, "PermissionsBoundaryDecisionDetail",
				    json_pack("{s:b}", "AllowedByPermissionsBoundary", (int)d->limits_allow));
	return o;
}

static void ask_resource(const struct simulation *s, const struct policy_question *asked, struct iam_decision *d)
{
	struct policy_question q = *asked;
	if (!s->resource)
		return;
	q.caller = &s->caller;
	struct policy_answer answer = policy_ask(s->resource, &q);
	iam_join_resource(d, &answer);
}

/* A page of the results; Marker is the number of the next one. */
static json_t *page_of(const json_t *in, json_t *results)
{
	struct iam_page page = iam_page_of(in);
	int64_t from = 0, all = (int64_t)json_array_size(results), to;
	str_to_i64(page.after, &from);
	to = from >= 0 && page.limit < all - from ? from + page.limit : all;
	json_t *list = json_array(), *out = json_pack("{s:o, s:b}", "EvaluationResults", list, "IsTruncated", to < all);
	for (int64_t n = from < 0 ? 0 : from; n < to; n++)
		json_array_append(list, json_array_get(results, (size_t)n));
	if (to < all)
		json_object_set_new(out, "Marker", json_sprintf("%lld", (long long)to));
	return out;
}

static json_t *simulate(struct call *c, const json_t *in, const struct iam_grants *g, struct simulation *s)
{
	CLEANUP_JSON json_t *any = json_pack("[s]", "*");
	CLEANUP_JSON json_t *results = json_array();
	json_t *resources = json_get(in, "ResourceArns"), *action, *resource;
	size_t i, j;
	if (json_array_size(resources) == 0)
		resources = any;
	s->ask.nfacts = read_context(c, in, &s->ask.facts);
	json_array_foreach (json_get(in, "ActionNames"), i, action)
		json_array_foreach (resources, j, resource) {
			struct policy_question q = { .action = json_str(action),
						     .resource = json_str(resource),
						     .find = find_value,
						     .ctx = s,
						     .arena = c->arena };
			s->ask.action = q.action.ptr;
			s->ask.resource = q.resource;
			s->missing = json_array();
			struct iam_decision d = iam_decide(g, &q);
			ask_resource(s, &q, &d);
			json_array_append_new(results, result(g, &d, s));
			json_decref(s->missing);
		}
	return page_of(in, results);
}

/* Its caller is CallerArn, else the user whose policies are simulated. */
static int read_resource_policy(struct call *c, const json_t *in, const struct iam_grants *g, struct simulation *s,
				struct error *err)
{
	struct str text = json_get_str(in, "ResourcePolicy"), arn = json_get_str(in, "CallerArn");
	if (!text.ptr)
		return 0;
	if (!arn.ptr && g->arn && strstr(g->arn, ":user/"))
		arn = str_from(g->arn);
	if (!arn.ptr)
		return error_aws(err, "InvalidInput",
				 "CallerArn is required with a ResourcePolicy unless the policy source is a user.");
	s->resource = policy_parse(text, POLICY_RESOURCE, err);
	s->caller = (struct policy_caller){ .arn = arn, .account = str_from(iam_of(c)->account) };
	return s->resource ? 0 : -1;
}

static int answer(struct call *c, struct db *db, json_t *in, bool custom, json_t **out, struct error *err)
{
	struct simulation s = { .who = { .access_key = "", .account = iam_of(c)->account, .arn = "", .user_id = "" },
				.ask = { .region = c->region } };
	struct iam_grants *g = NULL;
	struct str caller = json_get_str(in, "CallerArn");
	if (custom) {
		g = mem_calloc(1, sizeof(*g));
		g->refs = 1;
		s.who.arn = caller.len ? caller.ptr : "";
	} else if (read_principal(c, db, json_get_str(in, "PolicySourceArn"), &s, &g, err) < 0) {
		return -1;
	}
	s.x = (struct iam_question){ .who = *s.who.arn ? &s.who : NULL,
				     .ask = &s.ask,
				     .grants = g,
				     .now_ms = engine_now_ms(iam_of(c)->engine) };
	int rc = add_given(g, in, err) < 0 ? -1 : read_resource_policy(c, in, g, &s, err);
	if (rc == 0)
		*out = simulate(c, in, g, &s);
	policy_free(s.resource);
	iam_grants_put(g);
	return rc;
}

int iam_op_simulate_principal(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	return answer(c, db, in, false, out, err);
}

int iam_op_simulate_custom(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	return answer(c, db, in, true, out, err);
}
