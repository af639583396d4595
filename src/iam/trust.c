/* trust.c - whom a role's trust policy lets in. Source: IAM user guide, "AWS JSON policy elements: Principal"; "The
 * confused deputy problem" (aws:SourceAccount, aws:SourceArn). */
#include "iam/room.h"

struct policy_answer iam_ask_trust(const struct iam_role *r, const struct policy_caller *caller, struct iam_question *x,
				   struct arena *a)
{
	struct policy_question q = { .action = str_from(x->ask->action),
				     .resource = str_from(r->arn),
				     .find = iam_find_value,
				     .ctx = x,
				     .arena = a,
				     .caller = caller };
	struct policy *trust = policy_parse(r->document, POLICY_TRUST, NULL);
	struct policy_answer answer = { .verdict = POLICY_SILENT, .sid = "" };
	if (trust) /* a text from before texts were checked may be unreadable: it lets nobody in */
		answer = policy_ask(trust, &q);
	policy_free(trust);
	answer.sid = "";
	return answer;
}

int iam_trusts(struct iam *i, struct db *db, struct arena *a, struct str role, const char *service, struct error *err)
{
	struct iam_role r;
	struct str name = iam_role_name(i, role), kind = str_head(str_from(service), strcspn(service, "."));
	int rc = name.len ? iam_get_role(i, db, a, name, &r, err) : 0;
	if (rc <= 0 || (str_starts(role, STR("arn:")) && !str_eqz(role, r.arn)))
		return rc < 0 ? rc : 1;
	const struct wire_fact facts[] = {
		{ "aws:SourceAccount", str_from(i->account) },
		{ "aws:SourceArn",
		  str_from(arena_printf(a, "arn:aws:%.*s:%s:%s:*", STR_ARG(kind), i->region, i->account)) },
	};
	const struct wire_ask ask = { .action = "sts:AssumeRole",
				      .resource = str_from(r.arn),
				      .region = i->region,
				      .facts = facts,
				      .nfacts = 2 };
	const struct policy_caller caller = { .arn = STR(""),
					      .account = str_from(i->account),
					      .service = str_from(service) };
	struct iam_question x = { .ask = &ask, .now_ms = engine_now_ms(i->engine) };
	return iam_ask_trust(&r, &caller, &x, a).verdict == POLICY_ALLOWS;
}
