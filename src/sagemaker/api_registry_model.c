/* api_registry_model.c - CreateModel, DescribeModel, ListModels, DeleteModel.
 *
 * DESIGN: a model is a name for containers and their data. What it points to is looked at when it is made, as AWS does,
 * so that an endpoint or a transform job does not fail late. */
#include "sagemaker/job_impl.h"
#include "sagemaker/registry.h"

static const char *const echoed[] = {
	"PrimaryContainer",       "Containers", "InferenceExecutionConfig", "ExecutionRoleArn", "VpcConfig",
	"EnableNetworkIsolation", NULL
};

/* ---- checks ---- */

static int check_data(struct turn *t, const json_t *container, struct error *err)
{
	struct str url = json_get_str(container, "ModelDataUrl"), uri = url, bucket, key;
	const json_t *source = json_get_path(container, "ModelDataSource.S3DataSource");
	bool exact = url.ptr != NULL;
	if (url.ptr && source)
		return job_refuse(err, "A container can have ModelDataUrl or ModelDataSource, not both.");
	if (str_eqz(json_get_str(container, "Mode"), "MultiModel"))
		return 0; /* a prefix that fills later */
	if (source) {
		uri = json_get_str(source, "S3Uri");
		exact = str_eqz(json_get_str(source, "S3DataType"), "S3Object");
	}
	if (!uri.ptr || !uri.len)
		return 0;
	if (!s3_parse_uri(uri, &bucket, &key))
		return job_refuse(err, "Model data must be an S3 URI (s3://bucket/key): \"%.*s\"", STR_ARG(uri));
	int rc = stage_has_objects(turn_db(t), uri, exact, err);
	return rc == 0 ? job_refuse(err, "Could not find model data at %.*s.", STR_ARG(uri)) : rc < 0 ? -1 : 0;
}

static int check_container(struct sagemaker *s, struct turn *t, const json_t *container, struct error *err)
{
	const char *package = json_get_text(container, "ModelPackageName");
	if (!package && !json_get_text(container, "Image"))
		return job_refuse(err, "A container must have an Image or a ModelPackageName.");
	if (!package)
		return check_data(t, container, err);
	CLEANUP_JSON json_t *doc = registry_describe_package(s, turn_db(t), package, err);
	return doc ? 0 : -1;
}

static int check(struct sagemaker *s, struct turn *t, const json_t *request, struct error *err)
{
	const json_t *primary = json_get(request, "PrimaryContainer"), *list = json_get(request, "Containers");
	if (primary && json_array_size(list))
		return job_refuse(err, "A model can have a PrimaryContainer or Containers, not both.");
	if (!primary && !json_array_size(list))
		return job_refuse(err, "A model must have a PrimaryContainer or Containers.");
	if (primary)
		return check_container(s, t, primary, err);
	for (size_t i = 0; i < json_array_size(list); i++)
		if (check_container(s, t, json_array_get(list, i), err) < 0)
			return -1;
	return 0;
}

/* ---- rows ---- */

int registry_create_model(struct sagemaker *s, struct turn *t, const json_t *given, const char **arn, struct error *err)
{
	CLEANUP_JSON json_t *request = job_without_nulls(given), *doc = json_object();
	struct arena *a = turn_arena(t);
	const char *name = json_get_text(request, "ModelName");
	if (!name || !*name)
		return job_refuse(err, "ModelName is missing.");
	if (check(s, t, request, err) < 0)
		return -1;
	*arn = sagemaker_arn(s, a, "model", name);
	json_set_text(doc, "ModelName", name);
	for (const char *const *key = echoed; *key; key++)
		json_copy_key(doc, request, *key);
	job_set_time(doc, "CreationTime", turn_now_ms(t));
	json_set_text(doc, "ModelArn", *arn);
	if (!json_get(doc, "EnableNetworkIsolation"))
		json_set_bool(doc, "EnableNetworkIsolation", false);
	if (db_exec(turn_db(t), err, "INSERT INTO sagemaker_model (name, arn, created_ms, doc) VALUES (?, ?, ?, ?)",
		    "ssiS", name, *arn, turn_now_ms(t), json_text(a, doc)) >= 0)
		return job_tags_put(t, *arn, json_get(request, "Tags"), err);
	if (!error_is(err, "conflict"))
		return -1;
	error_release(err);
	return job_refuse(err, "Cannot create already existing model \"%s\".", *arn);
}

json_t *registry_describe_model(struct sagemaker *s, struct db *db, const char *name, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct arena a = ARENA_INIT;
	json_t *doc = NULL;
	name = registry_name(&a, "model", name);
	int rc = db_row(db, &rows, err, "SELECT doc FROM sagemaker_model WHERE name=?", "s", name);
	if (rc > 0)
		doc = json_parse(rows_str(&rows, 0), err);
	else if (rc == 0)
		job_refuse(err, "Could not find model \"%s\".", sagemaker_arn(s, &a, "model", name));
	arena_release(&a);
	return doc;
}

/* ---- operations ---- */

int registry_op_create_model(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const char *arn = NULL;
	if (registry_create_model(c->service_ctx, t, in, &arn, err) < 0)
		return -1;
	*out = json_object();
	json_set_text(*out, "ModelArn", arn);
	return 0;
}

int registry_op_describe_model(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	*out = registry_describe_model(c->service_ctx, db, json_get_text(in, "ModelName"), err);
	return *out ? 0 : -1;
}

static json_t *summary(const json_t *doc)
{
	json_t *o = json_object();
	json_copy_key(o, doc, "ModelName");
	json_copy_key(o, doc, "ModelArn");
	json_copy_key(o, doc, "CreationTime");
	return o;
}

int registry_op_list_models(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	const struct registry_list l = {
		.table = "sagemaker_model", .where = "", .member = "Models", .summary = summary
	};
	return registry_list(c, db, &l, in, out, err);
}

int registry_op_delete_model(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const char *name = json_get_text(in, "ModelName");
	CLEANUP_JSON json_t *doc = registry_describe_model(c->service_ctx, turn_db(t), name, err);
	if (!doc || job_tags_drop(t, json_get_text(doc, "ModelArn"), err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "DELETE FROM sagemaker_model WHERE name=?", "s", name) < 0 ? -1 : 0;
}
