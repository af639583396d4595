/* policy.c - what a policy says about a question. See policy.h. Source: IAM user guide, "Policy evaluation logic". */
#include "iam/policy.h"

static bool matches_action(const struct policy_list *l, struct str action)
{
	for (size_t i = 0; i < l->count; i++)
		if (policy_glob(l->items[i], action, true))
			return !l->negated;
	return l->negated;
}

/* A variable without a value: a statement that allows does not apply, whatever else it lists. */
static bool matches_resource(const struct policy_statement *s, const struct policy_question *q)
{
	const struct policy_list *l = &s->resources;
	if (!l->present)
		return true;
	for (size_t i = 0; i < l->count; i++) {
		struct str want;
		if (!s->variables) {
			want = policy_plain(q->arena, l->items[i]);
		} else if (!policy_expand(l->items[i], q, &want)) {
			if (l->negated && s->allows)
				return false;
			continue;
		}
		if (policy_arn_like(want, q->resource))
			return !l->negated;
	}
	return l->negated;
}

static bool conditions_hold(const struct policy_statement *s, const struct policy_question *q)
{
	for (size_t i = 0; i < s->nconditions; i++)
		if (!policy_condition_holds(&s->conditions[i], q, s->variables))
			return false;
	return true;
}

/* Is the caller meant by this principal? Adds to *reach how he is named, when it is not merely by his account. */
static bool is_meant(const struct policy_principal *p, const struct policy_caller *c, unsigned *reach)
{
	switch (p->kind) {
	case PRINCIPAL_ANY:
		*reach |= POLICY_TO_ALL;
		return true;
	case PRINCIPAL_SERVICE:
		return c->service.ptr && str_eq(p->name, c->service);
	case PRINCIPAL_OTHER:
		return false;
	case PRINCIPAL_AWS:
		break;
	}
	if (c->service.ptr)
		return false;
	if (str_eqz(p->name, "*")) {
		*reach |= POLICY_TO_ALL;
		return true;
	}
	if (str_eq(p->name, c->account))
		return true;
	if (str_ends(p->name, STR(":root"))) {
		struct str rest = p->name, part = STR_NULL;
		for (int n = 0; n < 5 && str_split(&rest, ':', &part); n++)
			;
		return str_eq(part, c->account);
	}
	if (str_eq(p->name, c->arn))
		*reach |= POLICY_TO_CALLER;
	else if (c->role_arn.ptr && str_eq(p->name, c->role_arn))
		*reach |= POLICY_TO_ROLE;
	else
		return false;
	return true;
}

/* NotPrincipal excepts whom it names himself: a session is not excepted by its role or its account alone. */
static bool matches_principal(const struct policy_statement *s, const struct policy_question *q, unsigned *reach)
{
	bool meant = false;
	if (!s->nprincipals)
		return true;
	for (size_t i = 0; q->caller && i < s->nprincipals; i++) {
		unsigned named = 0;
		if (!is_meant(&s->principals[i], q->caller, &named))
			continue;
		meant = true;
		*reach |= named;
		if (s->not_principals && (q->caller->service.ptr || named & (POLICY_TO_CALLER | POLICY_TO_ALL)))
			return false;
	}
	if (!s->not_principals)
		return meant;
	*reach = POLICY_TO_ALL;
	return q->caller;
}

struct policy_answer policy_ask(const struct policy *p, const struct policy_question *q)
{
	struct policy_answer out = { .verdict = POLICY_SILENT, .sid = "" };
	for (size_t i = 0; i < p->count; i++) {
		const struct policy_statement *s = &p->statements[i];
		unsigned reach = 0;
		if ((s->allows && out.verdict == POLICY_ALLOWS && out.reach & POLICY_TO_CALLER) ||
		    !matches_action(&s->actions, q->action) || !matches_resource(s, q) ||
		    !matches_principal(s, q, &reach) || !conditions_hold(s, q))
			continue;
		if (!s->allows)
			return (struct policy_answer){ .verdict = POLICY_DENIES, .sid = s->sid };
		if (out.verdict == POLICY_SILENT)
			out.sid = s->sid;
		out.verdict = POLICY_ALLOWS;
		out.reach |= reach;
	}
	return out;
}
