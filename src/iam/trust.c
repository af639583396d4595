/* trust.c - whom a role's trust policy names.
 *
 * DESIGN: a statement that allows is enough; conditions are not evaluated, nor is what denies. Source: IAM user guide,
 * "AWS JSON policy elements: Principal" (a text or a list of them; "*" is everybody). */
#include "iam/room.h"

#include "base/json.h"

/* Is one of the patterns (a text or an array of texts) one for `text`? */
static bool names(const json_t *patterns, const char *text)
{
	size_t i;
	json_t *one;
	if (json_is_string(patterns))
		return str_glob(json_str((json_t *)patterns), str_from(text), 0);
	json_array_foreach ((json_t *)patterns, i, one)
		if (json_is_string(one) && str_glob(json_str(one), str_from(text), 0))
			return true;
	return false;
}

static bool allows(const json_t *statement, const char *service)
{
	const json_t *principal = json_get(statement, "Principal");
	return str_eqz(json_get_str(statement, "Effect"), "Allow") &&
	       names(json_get(statement, "Action"), "sts:AssumeRole") &&
	       names(json_is_object(principal) ? json_get(principal, "Service") : principal, service);
}

int iam_trusts(struct iam *i, struct db *db, struct arena *a, struct str role, const char *service, struct error *err)
{
	struct iam_role r;
	struct str name = iam_role_name(i, role);
	int rc = name.len ? iam_get_role(i, db, a, name, &r, err) : 0;
	if (rc <= 0 || (str_starts(role, STR("arn:")) && !str_eqz(role, r.arn)))
		return rc < 0 ? rc : 1;
	CLEANUP_JSON json_t *document = json_parse(r.document, NULL);
	const json_t *statements = json_get(document, "Statement");
	bool found = json_is_object(statements) && allows(statements, service);
	for (size_t k = 0; k < json_array_size(statements) && !found; k++)
		found = allows(json_array_get(statements, k), service);
	return found;
}
