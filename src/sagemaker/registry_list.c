/* registry_list.c - what the registry's files share: names, the caller, lists.
 *
 * DESIGN: lists page by key (sort value and name of the last row given), so that entries made meanwhile shift nothing.
 */
#include "sagemaker/job_impl.h"
#include "sagemaker/registry.h"

#define PAGE 10

const char *registry_name(struct arena *a, const char *kind, const char *name_or_arn)
{
	const char *mark = arena_printf(a, ":%s/", kind), *at = strstr(name_or_arn, mark);
	return strncmp(name_or_arn, "arn:", 4) == 0 && at ? at + strlen(mark) : name_or_arn;
}

json_t *registry_user(const struct call *c)
{
	json_t *user = json_object();
	if (!c->who)
		return user;
	json_t *identity = json_object();
	json_set_text(identity, "Arn", c->who->arn);
	json_set_text(identity, "PrincipalId", c->who->user_id);
	json_object_set_new(user, "IamIdentity", identity);
	return user;
}

static int64_t bound(json_t *in, const char *key, int64_t fallback)
{
	double seconds = json_get_real(in, key, -1);
	return seconds < 0 ? fallback : (int64_t)(seconds * 1000.0);
}

struct order {
	bool by_name, descending;
	int64_t limit, from, until, at;
	struct str token, contains;
};

static int read_order(json_t *in, struct order *o, struct error *err)
{
	struct str by = json_get_str(in, "SortBy"), order = json_get_str(in, "SortOrder"), at;
	*o = (struct order){ .by_name = str_eqz(by, "Name"), .limit = json_get_int(in, "MaxResults", PAGE) };
	o->descending = order.ptr ? str_eqz(order, "Descending") : !by.ptr;
	o->from = bound(in, "CreationTimeAfter", 0);
	o->until = bound(in, "CreationTimeBefore", INT64_MAX);
	o->contains = json_get_str(in, "NameContains");
	o->token = json_get_str(in, "NextToken");
	if (o->token.ptr && !o->by_name &&
	    (!str_split(&o->token, '|', &at) || !o->token.ptr || !str_to_i64(at, &o->at)))
		return job_refuse(err, "The NextToken is not valid.");
	return 0;
}

static int query(struct db *db, struct arena *a, const struct registry_list *l, const struct order *o,
		 struct rows *rows, struct error *err)
{
	const char *cmp = o->descending ? "<" : ">", *dir = o->descending ? "DESC" : "ASC";
	const char *like = arena_printf(a, "%%%.*s%%", STR_ARG(o->contains));
	const char *page = !o->token.ptr ? ""
			   : o->by_name
				   ? arena_printf(a, " AND name%s?", cmp)
				   : arena_printf(a, " AND (created_ms%s? OR (created_ms=? AND name%s?))", cmp, cmp);
	/* The two free conditions stay in the text whatever is asked, so that few statements are prepared. */
	const char *sql = arena_printf(a,
				       "SELECT name, created_ms, doc FROM %s WHERE created_ms>=? AND created_ms<=? AND "
				       "name LIKE ?%s%s ORDER BY %s%s LIMIT ?",
				       l->table, l->where, page,
				       o->by_name ? "name " : arena_printf(a, "created_ms %s, name ", dir), dir);
	struct str x = l->args[0], y = l->args[1];
	int64_t from = o->from, until = o->until, at = o->at, n = o->limit + 1;
	const char *types = arena_printf(a, "iis%s%si",
					 l->nargs == 2   ? "SS"
					 : l->nargs == 1 ? "S"
							 : "",
					 !o->token.ptr ? ""
					 : o->by_name  ? "S"
						       : "iiS");
	if (l->nargs == 0 && !o->token.ptr)
		return db_query(db, rows, err, sql, types, from, until, like, n);
	if (l->nargs == 1 && !o->token.ptr)
		return db_query(db, rows, err, sql, types, from, until, like, x, n);
	if (l->nargs == 2 && !o->token.ptr)
		return db_query(db, rows, err, sql, types, from, until, like, x, y, n);
	if (o->by_name && l->nargs == 0)
		return db_query(db, rows, err, sql, types, from, until, like, o->token, n);
	if (o->by_name && l->nargs == 1)
		return db_query(db, rows, err, sql, types, from, until, like, x, o->token, n);
	if (o->by_name)
		return db_query(db, rows, err, sql, types, from, until, like, x, y, o->token, n);
	if (l->nargs == 0)
		return db_query(db, rows, err, sql, types, from, until, like, at, at, o->token, n);
	if (l->nargs == 1)
		return db_query(db, rows, err, sql, types, from, until, like, x, at, at, o->token, n);
	return db_query(db, rows, err, sql, types, from, until, like, x, y, at, at, o->token, n);
}

int registry_list(struct call *c, struct db *db, const struct registry_list *l, json_t *in, json_t **out,
		  struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct order o;
	if (read_order(in, &o, err) < 0 || query(db, c->arena, l, &o, &rows, err) < 0)
		return -1;
	json_t *list = json_array();
	*out = json_object();
	json_object_set_new(*out, l->member, list);
	const char *token = NULL;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(list) == o.limit) {
			json_set_text(*out, "NextToken", token);
			return 0;
		}
		CLEANUP_JSON json_t *doc = json_parse(rows_str(&rows, 2), err);
		if (!doc)
			return -1;
		json_array_append_new(list, l->summary(doc));
		struct str name = rows_str(&rows, 0);
		token = o.by_name ? arena_strdup(c->arena, name)
				  : arena_printf(c->arena, "%lld|%.*s", (long long)rows_int(&rows, 1), STR_ARG(name));
	}
	return rc;
}
