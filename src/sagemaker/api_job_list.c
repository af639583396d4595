/* api_job_list.c - ListTrainingJobs, ListProcessingJobs.
 *
 * DESIGN: pages by key: the token is the sort value and name of the last row given, so a page costs the same wherever
 * it is, and jobs made meanwhile shift nothing. Newest first unless asked otherwise, as AWS answers (its documentation
 * says Ascending when SortBy is given). */
#include "sagemaker/job_impl.h"

#define PAGE 10

struct listing {
	const struct job_type *type;
	const char *column; /* what is sorted by */
	bool descending, by_text;
	int64_t limit;
};

static struct listing listing_of(const struct job_type *type, json_t *in)
{
	struct str by = json_get_str(in, "SortBy"), order = json_get_str(in, "SortOrder");
	struct listing l = { .type = type, .column = "created_ms", .limit = json_get_int(in, "MaxResults", PAGE) };
	if (str_eqz(by, "Name"))
		l.column = "name";
	else if (str_eqz(by, "Status"))
		l.column = "status";
	l.by_text = l.column[0] != 'c';
	l.descending = order.ptr ? str_eqz(order, "Descending") : !by.ptr;
	return l;
}

static int64_t bound(json_t *in, const char *key, int64_t fallback)
{
	double seconds = json_get_real(in, key, -1);
	return seconds < 0 ? fallback : (int64_t)(seconds * 1000.0);
}

static const char *make_sql(struct arena *a, const struct listing *l, bool token)
{
	const char *cmp = l->descending ? "<" : ">", *dir = l->descending ? "DESC" : "ASC";
	const char *from =
		token ? arena_printf(a, " AND (%s%s? OR (%s=? AND name%s?))", l->column, cmp, l->column, cmp) : "";
	return arena_printf(a,
			    "SELECT name, doc, created_ms, status FROM sagemaker_job WHERE kind=? AND created_ms>=? "
			    "AND created_ms<=?"
			    " AND modified_ms>=? AND modified_ms<=? AND name LIKE ? AND (status=? OR ?='')%s ORDER BY "
			    "%s %s, name %s LIMIT ?",
			    from, l->column, dir, dir);
}

static int query(struct db *db, struct arena *a, const struct listing *l, json_t *in, struct rows *rows,
		 struct error *err)
{
	struct str status = json_get_str(in, "StatusEquals"), token = json_get_str(in, "NextToken"), value = STR_NULL;
	struct str contains = json_get_str(in, "NameContains");
	const char *like = arena_printf(a, "%%%.*s%%", STR_ARG(contains));
	int64_t c0 = bound(in, "CreationTimeAfter", 0), c1 = bound(in, "CreationTimeBefore", INT64_MAX);
	int64_t m0 = bound(in, "LastModifiedTimeAfter", 0), m1 = bound(in, "LastModifiedTimeBefore", INT64_MAX), at = 0;
	if (!status.ptr)
		status = STR("");
	if (token.ptr && (!str_split(&token, '/', &value) || !token.ptr || (!l->by_text && !str_to_i64(value, &at))))
		return job_refuse(err, "The NextToken is not valid.");
	const char *sql = make_sql(a, l, token.ptr != NULL);
	if (!token.ptr)
		return db_query(db, rows, err, sql, "siiiisSSi", l->type->kind_name, c0, c1, m0, m1, like, status,
				status, l->limit + 1);
	if (l->by_text)
		return db_query(db, rows, err, sql, "siiiisSSSSSi", l->type->kind_name, c0, c1, m0, m1, like, status,
				status, value, value, token, l->limit + 1);
	return db_query(db, rows, err, sql, "siiiisSSiiSi", l->type->kind_name, c0, c1, m0, m1, like, status, status,
			at, at, token, l->limit + 1);
}

static json_t *summary(const struct job_type *type, const json_t *doc)
{
	json_t *o = json_object();
	json_copy_key(o, doc, type->name_key);
	json_copy_key(o, doc, type->arn_key);
	json_copy_key(o, doc, "CreationTime");
	json_copy_key(o, doc, type->end_key);
	json_copy_key(o, doc, "LastModifiedTime");
	json_copy_key(o, doc, type->status_key);
	if (type->kind == JOB_TRAINING) {
		json_copy_key(o, doc, "SecondaryStatus");
	} else {
		json_copy_key(o, doc, "FailureReason");
		json_copy_key(o, doc, "ExitMessage");
	}
	return o;
}

static int list_jobs(struct call *c, struct db *db, const struct job_type *type, const char *member, json_t *in,
		     json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct listing l = listing_of(type, in);
	if (query(db, c->arena, &l, in, &rows, err) < 0)
		return -1;
	json_t *list = json_array();
	*out = json_object();
	json_object_set_new(*out, member, list);
	const char *token = NULL;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(list) == l.limit) {
			json_set_text(*out, "NextToken", token);
			return 0;
		}
		CLEANUP_JSON json_t *doc = json_parse(rows_str(&rows, 1), err);
		if (!doc)
			return -1;
		json_array_append_new(list, summary(type, doc));
		struct str name = rows_str(&rows, 0), status = rows_str(&rows, 3);
		if (!l.by_text)
			token = arena_printf(c->arena, "%lld/%.*s", (long long)rows_int(&rows, 2), STR_ARG(name));
		else
			token = arena_printf(c->arena, "%.*s/%.*s", STR_ARG(l.column[0] == 'n' ? name : status),
					     STR_ARG(name));
	}
	return rc;
}

int job_op_list_processing(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	return list_jobs(c, db, &job_processing, "ProcessingJobSummaries", in, out, err);
}

int job_op_list_training(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	return list_jobs(c, db, &job_training, "TrainingJobSummaries", in, out, err);
}
