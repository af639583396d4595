/* api_registry_group.c - model package groups. */
#include "sagemaker/job_impl.h"
#include "sagemaker/registry.h"

static const char KIND[] = "model-package-group";

bool registry_has_group(struct db *db, const char *name)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	return db_row(db, &rows, NULL, "SELECT 1 FROM sagemaker_package_group WHERE name=?", "s", name) > 0;
}

int registry_create_group(struct sagemaker *s, struct turn *t, const json_t *given, const json_t *by, const char **arn,
			  struct error *err)
{
	CLEANUP_JSON json_t *request = job_without_nulls(given), *doc = json_object();
	struct arena *a = turn_arena(t);
	const char *name = json_get_text(request, "ModelPackageGroupName");
	if (!name || !*name)
		return job_refuse(err, "ModelPackageGroupName is missing.");
	if (json_get(request, "ManagedConfiguration"))
		return job_refuse(err, "ManagedConfiguration is not supported by Quern.");
	*arn = sagemaker_arn(s, a, KIND, name);
	json_set_text(doc, "ModelPackageGroupName", name);
	json_set_text(doc, "ModelPackageGroupArn", *arn);
	json_copy_key(doc, request, "ModelPackageGroupDescription");
	job_set_time(doc, "CreationTime", turn_now_ms(t));
	json_object_set_new(doc, "CreatedBy", by ? json_incref((json_t *)by) : json_object());
	json_set_text(doc, "ModelPackageGroupStatus", "Completed");
	if (db_exec(turn_db(t), err,
		    "INSERT INTO sagemaker_package_group (name, arn, created_ms, doc) VALUES (?, ?, ?, ?)", "ssiS",
		    name, *arn, turn_now_ms(t), json_text(a, doc)) >= 0)
		return job_tags_put(t, *arn, json_get(request, "Tags"), err);
	if (!error_is(err, "conflict"))
		return -1;
	error_release(err);
	return job_refuse(err, "Model Package Group already exists: %s", *arn);
}

json_t *registry_describe_group(struct sagemaker *s, struct db *db, const char *name, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct arena a = ARENA_INIT;
	json_t *doc = NULL;
	name = registry_name(&a, KIND, name);
	int rc = db_row(db, &rows, err, "SELECT doc FROM sagemaker_package_group WHERE name=?", "s", name);
	if (rc > 0)
		doc = json_parse(rows_str(&rows, 0), err);
	else if (rc == 0)
		job_refuse(err, "ModelPackageGroup %s does not exist.", sagemaker_arn(s, &a, KIND, name));
	arena_release(&a);
	return doc;
}

int registry_op_create_group(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_JSON json_t *by = registry_user(c);
	const char *arn = NULL;
	if (registry_create_group(c->service_ctx, t, in, by, &arn, err) < 0)
		return -1;
	*out = json_object();
	json_set_text(*out, "ModelPackageGroupArn", arn);
	return 0;
}

int registry_op_describe_group(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	*out = registry_describe_group(c->service_ctx, db, json_get_text(in, "ModelPackageGroupName"), err);
	return *out ? 0 : -1;
}

static json_t *summary(const json_t *doc)
{
	static const char *const keys[] = { "ModelPackageGroupName", "ModelPackageGroupArn",
					    "ModelPackageGroupDescription", "CreationTime", "ModelPackageGroupStatus" };
	json_t *o = json_object();
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		json_copy_key(o, doc, keys[i]);
	return o;
}

int registry_op_list_groups(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	const struct registry_list l = { .table = "sagemaker_package_group",
					 .where = "",
					 .member = "ModelPackageGroupSummaryList",
					 .summary = summary };
	return registry_list(c, db, &l, in, out, err);
}

int registry_op_delete_group(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_JSON json_t *doc =
		registry_describe_group(c->service_ctx, turn_db(t), json_get_text(in, "ModelPackageGroupName"), err);
	if (!doc)
		return -1;
	const char *name = json_get_text(doc, "ModelPackageGroupName"),
		   *arn = json_get_text(doc, "ModelPackageGroupArn");
	int rc =
		db_row(turn_db(t), &rows, err, "SELECT 1 FROM sagemaker_package WHERE group_name=? LIMIT 1", "s", name);
	if (rc < 0)
		return -1;
	if (rc > 0)
		return error_aws(err, "ConflictException",
				 "Model Package Group %s cannot be deleted: it still contains model packages.", arn);
	if (job_tags_drop(t, arn, err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "DELETE FROM sagemaker_package_group WHERE name=?", "s", name) < 0 ? -1 : 0;
}
