/* api_registry_package.c - model packages: versions of a group, and packages of their own.
 *
 * DESIGN: a package is Completed when it is made (nothing here scans or validates it, and what would ask for that is
 * refused). Its key is
 * "<group>/<version>" or its own name, which is also the end of its ARN. Versions of a group only grow, also after
 * deletions. */
#include "sagemaker/job_impl.h"
#include "sagemaker/registry.h"

static const char KIND[] = "model-package";
static const char *const echoed[] = {
	"ModelPackageDescription",
	"ModelPackageRegistrationType",
	"InferenceSpecification",
	"SourceAlgorithmSpecification",
	"CertifyForMarketplace",
	"ModelApprovalStatus",
	"MetadataProperties",
	"ModelMetrics",
	"Domain",
	"Task",
	"SamplePayloadUrl",
	"CustomerMetadataProperties",
	"DriftCheckBaselines",
	"AdditionalInferenceSpecifications",
	"SkipModelValidation",
	"SourceUri",
	"SecurityConfig",
	"ModelCard",
	"ModelLifeCycle",
	"ManagedStorageType",
	NULL,
};

/* ---- making ---- */

/* The next version of the group. */
static int take_version(struct sagemaker *s, struct turn *t, const char *group, int64_t *version, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(turn_db(t), &rows, err, "SELECT last_version FROM sagemaker_package_group WHERE name=?", "s",
			group);
	if (rc == 0)
		return job_refuse(err, "ModelPackageGroup %s does not exist.",
				  sagemaker_arn(s, turn_arena(t), "model-package-group", group));
	if (rc < 0)
		return -1;
	*version = rows_int(&rows, 0) + 1;
	rows_done(&rows);
	return db_exec(turn_db(t), err, "UPDATE sagemaker_package_group SET last_version=? WHERE name=?", "is",
		       *version, group) < 0
		       ? -1
		       : 0;
}

static int known_token(struct turn *t, const char *token, const char **arn, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (!token)
		return 0;
	int rc = db_row(turn_db(t), &rows, err, "SELECT arn FROM sagemaker_package WHERE token=?", "s", token);
	if (rc > 0)
		*arn = arena_strdup(turn_arena(t), rows_str(&rows, 0));
	return rc;
}

static json_t *make_doc(struct turn *t, const json_t *request, const char *group, int64_t version, const char *arn,
			const json_t *by)
{
	json_t *doc = json_object(), *details = json_object();
	if (group) {
		json_set_text(doc, "ModelPackageGroupName", group);
		json_set_int(doc, "ModelPackageVersion", version);
	} else {
		json_copy_key(doc, request, "ModelPackageName");
	}
	json_set_text(doc, "ModelPackageArn", arn);
	for (const char *const *key = echoed; *key; key++)
		json_copy_key(doc, request, *key);
	job_set_time(doc, "CreationTime", turn_now_ms(t));
	json_set_text(doc, "ModelPackageStatus", "Completed");
	json_object_set_new(details, "ValidationStatuses", json_array());
	json_object_set_new(details, "ImageScanStatuses", json_array());
	json_object_set_new(doc, "ModelPackageStatusDetails", details);
	json_object_set_new(doc, "CreatedBy", by ? json_incref((json_t *)by) : json_object());
	if (!json_get(doc, "CertifyForMarketplace"))
		json_set_bool(doc, "CertifyForMarketplace", false);
	if (group && !json_get(doc, "ModelApprovalStatus"))
		json_set_text(doc, "ModelApprovalStatus", "PendingManualApproval");
	return doc;
}

static int check(const json_t *request, struct error *err)
{
	const char *group = json_get_text(request, "ModelPackageGroupName"),
		   *name = json_get_text(request, "ModelPackageName");
	if (!group == !name)
		return job_refuse(err, "A model package must have a ModelPackageGroupName (a version) or a "
				       "ModelPackageName, and not both.");
	if (json_get(request, "ValidationSpecification"))
		return job_refuse(err, "ValidationSpecification is not supported by Quern.");
	if (name && json_get(request, "ModelApprovalStatus"))
		return job_refuse(err, "ModelApprovalStatus is only for versions of a model package group.");
	return 0;
}

int registry_create_package(struct sagemaker *s, struct turn *t, const json_t *given, const json_t *by,
			    const char **arn, struct error *err)
{
	CLEANUP_JSON json_t *request = job_without_nulls(given);
	struct arena *a = turn_arena(t);
	const char *group = json_get_text(request, "ModelPackageGroupName"),
		   *token = json_get_text(request, "ClientToken");
	int64_t version = 0;
	if (check(request, err) < 0)
		return -1;
	int rc = known_token(t, token, arn, err);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	const char *key = json_get_text(request, "ModelPackageName");
	if (group) {
		group = registry_name(a, "model-package-group", group);
		if (take_version(s, t, group, &version, err) < 0)
			return -1;
		key = arena_printf(a, "%s/%lld", group, (long long)version);
	}
	*arn = sagemaker_arn(s, a, KIND, key);
	CLEANUP_JSON json_t *doc = make_doc(t, request, group, version, *arn, by);
	const char *approval = json_get_text(doc, "ModelApprovalStatus");
	if (db_exec(turn_db(t), err,
		    "INSERT INTO sagemaker_package (name, arn, group_name, version, created_ms, approval, token, doc)"
		    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		    "sssiissS", key, *arn, group ? group : "", version, turn_now_ms(t), approval ? approval : "", token,
		    json_text(a, doc)) >= 0)
		return job_tags_put(t, *arn, json_get(request, "Tags"), err);
	if (!error_is(err, "conflict"))
		return -1;
	error_release(err);
	return error_aws(err, "ConflictException", "Model Package already exists: %s", *arn);
}

/* ---- reading ---- */

json_t *registry_describe_package(struct sagemaker *s, struct db *db, const char *name, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct arena a = ARENA_INIT;
	json_t *doc = NULL;
	name = registry_name(&a, KIND, name);
	int rc = db_row(db, &rows, err, "SELECT doc FROM sagemaker_package WHERE name=?", "s", name);
	if (rc > 0)
		doc = json_parse(rows_str(&rows, 0), err);
	else if (rc == 0)
		job_refuse(err, "ModelPackage %s does not exist.", sagemaker_arn(s, &a, KIND, name));
	arena_release(&a);
	return doc;
}

int registry_op_describe_package(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	*out = registry_describe_package(c->service_ctx, db, json_get_text(in, "ModelPackageName"), err);
	return *out ? 0 : -1;
}

static json_t *pick(const json_t *doc, const char *const *keys)
{
	json_t *o = json_object();
	for (; *keys; keys++)
		json_copy_key(o, doc, *keys);
	return o;
}

int registry_op_batch_describe(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	static const char *const keys[] = { "ModelPackageGroupName",
					    "ModelPackageVersion",
					    "ModelPackageArn",
					    "ModelPackageDescription",
					    "CreationTime",
					    "InferenceSpecification",
					    "ModelPackageStatus",
					    "ModelApprovalStatus",
					    "ModelPackageRegistrationType",
					    NULL };
	json_t *found = json_object(), *errors = json_object(), *arn;
	size_t i;
	*out = json_object();
	json_object_set_new(*out, "ModelPackageSummaries", found);
	json_object_set_new(*out, "BatchDescribeModelPackageErrorMap", errors);
	json_array_foreach (json_get(in, "ModelPackageArnList"), i, arn) {
		CLEANUP_ERROR struct error why = ERROR_INIT;
		const char *text = json_string_value(arn);
		CLEANUP_JSON json_t *doc = registry_describe_package(c->service_ctx, db, text, &why);
		if (!doc && !*why.code)
			return error_move(err, &why);
		if (doc) {
			json_object_set_new(found, text, pick(doc, keys));
			continue;
		}
		json_t *e = json_object();
		json_set_text(e, "ErrorCode", why.code);
		json_set_text(e, "ErrorResponse", error_text(&why));
		json_object_set_new(errors, text, e);
	}
	return 0;
}

static json_t *summary(const json_t *doc)
{
	static const char *const keys[] = { "ModelPackageName",
					    "ModelPackageGroupName",
					    "ModelPackageVersion",
					    "ModelPackageArn",
					    "ModelPackageDescription",
					    "CreationTime",
					    "ModelPackageStatus",
					    "ModelApprovalStatus",
					    "ModelLifeCycle",
					    "ModelPackageRegistrationType",
					    NULL };
	return pick(doc, keys);
}

int registry_op_list_packages(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct registry_list l = { .table = "sagemaker_package",
				   .member = "ModelPackageSummaryList",
				   .summary = summary };
	struct str type = json_get_str(in, "ModelPackageType"), approval = json_get_str(in, "ModelApprovalStatus");
	const char *group = json_get_text(in, "ModelPackageGroupName"), *where = " AND group_name=''";
	if (group) {
		CLEANUP_JSON json_t *doc = registry_describe_group(c->service_ctx, db, group, err);
		if (!doc)
			return -1;
		where = " AND group_name=?";
		l.args[l.nargs++] = str_from(registry_name(c->arena, "model-package-group", group));
	} else if (str_eqz(type, "Versioned")) {
		where = " AND group_name<>''";
	} else if (str_eqz(type, "Both")) {
		where = "";
	}
	if (approval.ptr)
		l.args[l.nargs++] = approval;
	l.where = arena_printf(c->arena, "%s%s", where, approval.ptr ? " AND approval=?" : "");
	return registry_list(c, db, &l, in, out, err);
}

/* ---- changing ---- */

static void change_metadata(json_t *doc, const json_t *request)
{
	json_t *map = json_get(doc, "CustomerMetadataProperties"),
	       *more = json_get(request, "CustomerMetadataProperties"), *key;
	size_t i;
	if (more && !map) {
		map = json_object();
		json_object_set_new(doc, "CustomerMetadataProperties", map);
	}
	if (more)
		json_object_update(map, more);
	json_array_foreach (json_get(request, "CustomerMetadataPropertiesToRemove"), i, key)
		json_object_del(map, json_string_value(key));
}

static void add_specifications(json_t *doc, const json_t *request)
{
	json_t *more = json_get(request, "AdditionalInferenceSpecificationsToAdd"),
	       *list = json_get(doc, "AdditionalInferenceSpecifications");
	if (more && !list) {
		list = json_array();
		json_object_set_new(doc, "AdditionalInferenceSpecifications", list);
	}
	if (more)
		json_array_extend(list, more);
}

int registry_update_package(struct sagemaker *s, struct turn *t, const json_t *given, const json_t *by,
			    struct error *err)
{
	static const char *const replaced[] = { "ModelApprovalStatus",
						"ApprovalDescription",
						"ModelPackageRegistrationType",
						"InferenceSpecification",
						"SourceUri",
						"ModelCard",
						"ModelLifeCycle",
						NULL };
	CLEANUP_JSON json_t *request = job_without_nulls(given);
	struct arena *a = turn_arena(t);
	const char *arn = json_get_text(request, "ModelPackageArn");
	CLEANUP_JSON json_t *doc = registry_describe_package(s, turn_db(t), arn, err);
	if (!doc)
		return -1;
	if (!json_get(doc, "ModelPackageGroupName") && json_get(request, "ModelApprovalStatus"))
		return job_refuse(err, "ModelApprovalStatus is only for versions of a model package group.");
	for (const char *const *key = replaced; *key; key++)
		json_copy_key(doc, request, *key);
	change_metadata(doc, request);
	add_specifications(doc, request);
	job_set_time(doc, "LastModifiedTime", turn_now_ms(t));
	json_object_set_new(doc, "LastModifiedBy", by ? json_incref((json_t *)by) : json_object());
	const char *approval = json_get_text(doc, "ModelApprovalStatus");
	return db_exec(turn_db(t), err, "UPDATE sagemaker_package SET approval=?, doc=? WHERE name=?", "sSs",
		       approval ? approval : "", json_text(a, doc), registry_name(a, KIND, arn)) < 0
		       ? -1
		       : 0;
}

int registry_op_create_package(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_JSON json_t *by = registry_user(c);
	const char *arn;
	if (registry_create_package(c->service_ctx, t, in, by, &arn, err) < 0)
		return -1;
	*out = json_object();
	json_set_text(*out, "ModelPackageArn", arn);
	return 0;
}

int registry_op_update_package(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_JSON json_t *by = registry_user(c);
	if (registry_update_package(c->service_ctx, t, in, by, err) < 0)
		return -1;
	*out = json_object();
	json_copy_key(*out, in, "ModelPackageArn");
	return 0;
}

int registry_op_delete_package(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const char *name = json_get_text(in, "ModelPackageName");
	CLEANUP_JSON json_t *doc = registry_describe_package(c->service_ctx, turn_db(t), name, err);
	if (!doc || job_tags_drop(t, json_get_text(doc, "ModelPackageArn"), err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "DELETE FROM sagemaker_package WHERE name=?", "s",
		       registry_name(c->arena, KIND, name)) < 0
		       ? -1
		       : 0;
}
