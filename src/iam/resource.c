/* resource.c - policies of resources: buckets, repositories, functions.
 *
 * DESIGN: a service that keeps such policies says once how the policy of an ARN is found; from then on every question
 * about its actions asks it, wherever the question comes from. Within one account it grants by itself: to a user or
 * session that it names whatever limits him, to a role and to everybody as far as his boundary and his session's
 * policies allow, and to an account nothing that its own policies don't. Its Deny refuses. Source: IAM user guide,
 * "Policy evaluation logic", "Evaluating resource-based policies". */
#include "iam/room.h"

void iam_set_resource_policies(struct iam *i, const char *service, iam_find_policy find, void *ctx)
{
	if (i->nresources == sizeof(i->resources) / sizeof(*i->resources))
		BUG("too many services with policies of resources");
	i->resources[i->nresources++] = (struct iam_resources){ service, find, ctx };
}

int iam_check_resource_policy(struct str document, struct error *err)
{
	return iam_check_document(document, POLICY_RESOURCE, err);
}

int iam_principal_known(struct iam *i, struct db *db, struct arena *a, struct str arn, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const struct str own = str_from(arena_printf(a, "arn:aws:iam::%s:user/", i->account));
	const struct str name = iam_role_name(i, arn);
	struct iam_role r;
	if (str_starts(arn, own)) {
		int rc = db_row(db, &rows, err, "SELECT path FROM iam_user WHERE name=?", "S", iam_last_part(arn));
		return rc > 0 ? str_eqz(arn, iam_arn(i, a, "user", rows_str(&rows, 0), iam_last_part(arn))) : rc;
	}
	if (!name.ptr)
		return 1;
	int rc = iam_get_role(i, db, a, name, &r, err);
	return rc > 0 && str_find(arn, STR(":role/")) > 0 ? str_eqz(arn, r.arn) : rc;
}

static const struct iam_resources *resources_of(struct iam *i, struct str action)
{
	ptrdiff_t colon = str_find_char(action, ':');
	for (size_t n = 0; colon > 0 && n < i->nresources; n++)
		if (str_eqz(str_head(action, (size_t)colon), i->resources[n].service))
			return &i->resources[n];
	return NULL;
}

static int find_policy(struct iam *i, struct arena *a, const struct wire_ask *ask, struct str *text, struct error *err)
{
	const struct iam_resources *r = resources_of(i, str_from(ask->action));
	*text = STR_NULL;
	if (!r || str_eqz(ask->resource, "*"))
		return 0;
	struct db *db = store_read_begin(engine_store(i->engine), err);
	if (!db)
		return -1;
	int rc = r->find(r->ctx, db, a, ask->resource, text, err);
	store_read_end(engine_store(i->engine), db);
	return rc < 0 ? -1 : 0;
}

int iam_ask_resource(struct iam *i, struct arena *a, struct iam_question *x, struct policy_answer *out,
		     struct error *err)
{
	struct str text;
	*out = (struct policy_answer){ .verdict = POLICY_SILENT, .sid = "" };
	if (find_policy(i, a, x->ask, &text, err) < 0)
		return -1;
	struct policy *p = text.len ? policy_parse(text, POLICY_RESOURCE, NULL) : NULL;
	if (!p) /* none; a text from before texts were checked may be unreadable: it grants nothing */
		return 0;
	struct policy_caller caller = { .arn = str_from(x->who->arn),
					.account = x->who->anonymous ? STR("") : str_from(x->who->account) };
	if (!x->who->anonymous && strstr(x->who->arn, ":assumed-role/"))
		caller.role_arn = iam_principal_arn(x, a);
	struct policy_question q = { .action = str_from(x->ask->action),
				     .resource = x->ask->resource,
				     .find = iam_find_value,
				     .ctx = x,
				     .arena = a,
				     .caller = &caller };
	*out = policy_ask(p, &q);
	out->sid = ""; /* it goes with the policy */
	policy_free(p);
	return 0;
}

void iam_join_resource(struct iam_decision *d, const struct policy_answer *resource)
{
	if (d->verdict == IAM_DENIED || resource->verdict == POLICY_SILENT)
		return;
	if (resource->verdict == POLICY_DENIES) {
		*d = (struct iam_decision){ .verdict = IAM_DENIED, .reason = "resource-based policy" };
		return;
	}
	if (resource->reach & POLICY_TO_CALLER || (resource->reach && d->limits_allow))
		d->verdict = IAM_ALLOWED;
}
