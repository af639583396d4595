/* api_tags.c - tags of sagemaker resources, kept by ARN.
 *
 * DESIGN: one table for all kinds of resources. An ARN of a kind whose rows are here must exist; of other kinds only
 * the form is checked. */
#include "sagemaker/job_impl.h"

#define TAGS_MAX 50
#define PAGE 100

static int tag_count(struct db *db, const char *arn, int64_t *n, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT count(*) FROM sagemaker_tag WHERE arn=?", "s", arn);
	*n = rc > 0 ? rows_int(&rows, 0) : 0;
	return rc < 0 ? -1 : 0;
}

int job_tags_put(struct turn *t, const char *arn, const json_t *tags, struct error *err)
{
	size_t i;
	json_t *tag;
	int64_t n;
	json_array_foreach ((json_t *)tags, i, tag)
		if (db_exec(turn_db(t), err,
			    "INSERT INTO sagemaker_tag (arn, key, value) VALUES (?, ?, ?)"
			    " ON CONFLICT (arn, key) DO UPDATE SET value=excluded.value",
			    "sSS", arn, json_get_str(tag, "Key"), json_get_str(tag, "Value")) < 0)
			return -1;
	if (!json_array_size(tags))
		return 0;
	if (tag_count(turn_db(t), arn, &n, err) < 0)
		return -1;
	return n > TAGS_MAX ? job_refuse(err, "A resource can have at most %d tags; %s would have %lld.", TAGS_MAX, arn,
					 (long long)n)
			    : 0;
}

int job_tags_drop(struct turn *t, const char *arn, struct error *err)
{
	return db_exec(turn_db(t), err, "DELETE FROM sagemaker_tag WHERE arn=?", "s", arn) < 0 ? -1 : 0;
}

static json_t *tags_page(struct db *db, const char *arn, struct str after, int64_t limit, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_query(db, &rows, err,
			  "SELECT key, value FROM sagemaker_tag WHERE arn=? AND key>? ORDER BY key LIMIT ?", "sSi", arn,
			  after, limit);
	json_t *list = json_array();
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		json_t *tag = json_object();
		json_set_text(tag, "Key", rows_str(&rows, 0).ptr);
		json_set_text(tag, "Value", rows_str(&rows, 1).ptr);
		json_array_append_new(list, tag);
	}
	if (rc >= 0)
		return list;
	json_decref(list);
	return NULL;
}

json_t *job_tags_get(struct db *db, const char *arn, struct error *err)
{
	return tags_page(db, arn, STR(""), INT64_MAX, err);
}

/* Kinds with a table of their own here: the ARN must be there. Others are checked by their form only. */
static const struct {
	const char *kind, *sql;
} known_kinds[] = {
	{ "training-job/", "SELECT 1 FROM sagemaker_job WHERE kind='training-job' AND arn=?" },
	{ "processing-job/", "SELECT 1 FROM sagemaker_job WHERE kind='processing-job' AND arn=?" },
	{ "model/", "SELECT 1 FROM sagemaker_model WHERE arn=?" },
	{ "model-package-group/", "SELECT 1 FROM sagemaker_package_group WHERE arn=?" },
	{ "model-package/", "SELECT 1 FROM sagemaker_package WHERE arn=?" },
};

/* "arn:aws:sagemaker:<region>:<account>:<kind>/<name>" of this account. */
static int check_arn(struct sagemaker *s, struct db *db, const char *arn, struct error *err)
{
	struct str rest = str_from(arn), piece[6];
	for (int i = 0; i < 5; i++)
		if (!str_split(&rest, ':', &piece[i]) || !rest.ptr)
			return job_refuse(err, "Invalid ARN: %s", arn);
	if (!str_eqz(piece[0], "arn") || !str_eqz(piece[2], "sagemaker") || str_find_char(rest, '/') < 1)
		return job_refuse(err, "Invalid ARN: %s", arn);
	if (!str_eqz(piece[4], s->o.account))
		return error_aws(err, "AccessDeniedException", "The resource %s belongs to another account.", arn);
	for (size_t i = 0; i < sizeof(known_kinds) / sizeof(known_kinds[0]); i++) {
		if (!str_starts(rest, str_from(known_kinds[i].kind)))
			continue;
		CLEANUP_ROWS struct rows rows = { 0 };
		int rc = db_row(db, &rows, err, known_kinds[i].sql, "s", arn);
		return rc == 0  ? error_aws(err, "ValidationException", "Requested resource not found.")
		       : rc < 0 ? -1
				: 0;
	}
	return 0;
}

int job_op_add_tags(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const char *arn = json_get_text(in, "ResourceArn");
	if (check_arn(c->service_ctx, turn_db(t), arn, err) < 0 || job_tags_put(t, arn, json_get(in, "Tags"), err) < 0)
		return -1;
	json_t *list = job_tags_get(turn_db(t), arn, err);
	if (!list)
		return -1;
	*out = json_object();
	json_object_set_new(*out, "Tags", list);
	return 0;
}

int job_op_delete_tags(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const char *arn = json_get_text(in, "ResourceArn");
	json_t *keys = json_get(in, "TagKeys"), *key;
	size_t i;
	if (check_arn(c->service_ctx, turn_db(t), arn, err) < 0)
		return -1;
	json_array_foreach (keys, i, key)
		if (db_exec(turn_db(t), err, "DELETE FROM sagemaker_tag WHERE arn=? AND key=?", "sS", arn,
			    json_str(key)) < 0)
			return -1;
	return 0;
}

int job_op_list_tags(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	const char *arn = json_get_text(in, "ResourceArn");
	int64_t limit = json_get_int(in, "MaxResults", PAGE);
	struct str after = json_get_str(in, "NextToken");
	if (check_arn(c->service_ctx, db, arn, err) < 0)
		return -1;
	json_t *list = tags_page(db, arn, after.ptr ? after : STR(""), limit + 1, err);
	if (!list)
		return -1;
	*out = json_object();
	json_object_set_new(*out, "Tags", list);
	if ((int64_t)json_array_size(list) > limit) {
		json_array_remove(list, (size_t)limit);
		json_set_text(*out, "NextToken", json_get_text(json_array_get(list, (size_t)limit - 1), "Key"));
	}
	return 0;
}
