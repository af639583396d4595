/* name.c - how clients name functions, and the errors that have the name in them. */
#include "lambda/room.h"

/* What stands before the name in an ARN, or in "account:function:name", is ours. */
static int check_home(const struct lambda *l, const struct str *parts, size_t at, struct error *err)
{
	if (at >= 3 && !str_eqz(parts[at - 3], l->o.region))
		return error_http(err, 404, "ResourceNotFoundException",
				  "Functions from '%.*s' are not reachable in this region ('%s')",
				  STR_ARG(parts[at - 3]), l->o.region);
	if (at >= 2 && !str_eqz(parts[at - 2], l->o.account))
		return error_http(err, 403, "AccessDeniedException", "The function is of another account: %.*s",
				  STR_ARG(parts[at - 2]));
	return 0;
}

int lambda_name_read(struct lambda *l, struct arena *a, json_t *in, const char *member, struct lambda_name *out,
		     struct error *err)
{
	struct str rest = json_get_str(in, member), qualifier = json_get_str(in, "Qualifier"), piece, parts[9];
	size_t n = 0, at = 0;
	while (n < 9 && str_split(&rest, ':', &piece))
		parts[n++] = piece;
	/* arn:aws:lambda:region:account:function:name[:q], account:function:name[:q], function:name[:q], name[:q] */
	for (size_t i = 0; i + 1 < n; i++)
		if (str_eqz(parts[i], "function"))
			at = i + 1;
	if (n == 0 || !parts[at].len || n > at + 2)
		return lambda_invalid(err, "The function name `%.200s` is not valid",
				      json_get_text(in, member) ? json_get_text(in, member) : "");
	if (check_home(l, parts, at, err) < 0)
		return -1;
	*out = (struct lambda_name){ .name = arena_strdup(a, parts[at]) };
	if (n == at + 2)
		out->qualifier = arena_strdup(a, parts[at + 1]);
	if (qualifier.len && out->qualifier && !str_eqz(qualifier, out->qualifier))
		return lambda_invalid(
			err, "The derived qualifier from the function name does not match the specified qualifier.");
	if (qualifier.len)
		out->qualifier = arena_strdup(a, qualifier);
	return 0;
}

const char *lambda_arn(struct lambda *l, struct arena *a, const char *name, const char *qualifier)
{
	return arena_printf(a, "arn:aws:lambda:%s:%s:function:%s%s%s", l->o.region, l->o.account, name,
			    qualifier ? ":" : "", qualifier ? qualifier : "");
}

int lambda_not_found(struct lambda *l, struct arena *a, const struct lambda_name *n, struct error *err)
{
	return error_http(err, 404, "ResourceNotFoundException", "Function not found: %s",
			  lambda_arn(l, a, n->name, n->qualifier));
}
