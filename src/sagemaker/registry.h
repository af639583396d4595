/* registry.h - models, model package groups and their versions, inside the sagemaker room. Endpoints, transform jobs
 * and pipelines use them through this header.
 *
 * DESIGN: all three are documents in rows, made and changed in one transaction; there is no actor, since nothing
 * happens by itself. The functions take requests already validated against the model; `by` is who asks (a UserContext
 * object, may be NULL). */
#ifndef QUERN_SAGEMAKER_REGISTRY_H
#define QUERN_SAGEMAKER_REGISTRY_H

#include "sagemaker/room.h"

/* Tables are part of job_migrations; operations are part of job_ops. */

/* Creates; *arn is in the turn's arena. Errors carry AWS codes. */
int registry_create_model(struct sagemaker *s, struct turn *t, const json_t *request, const char **arn,
			  struct error *err);
int registry_create_group(struct sagemaker *s, struct turn *t, const json_t *request, const json_t *by,
			  const char **arn, struct error *err);
/* A version of a group (ModelPackageGroupName), or a package of its own (ModelPackageName). The same ClientToken again
 * gives the same ARN. */
int registry_create_package(struct sagemaker *s, struct turn *t, const json_t *request, const json_t *by,
			    const char **arn, struct error *err);
int registry_update_package(struct sagemaker *s, struct turn *t, const json_t *request, const json_t *by,
			    struct error *err);

/* Describe answers; owned, NULL with err (ValidationException "... does not exist."). Names may be ARNs. */
json_t *registry_describe_model(struct sagemaker *s, struct db *db, const char *name, struct error *err);
json_t *registry_describe_group(struct sagemaker *s, struct db *db, const char *name, struct error *err);
json_t *registry_describe_package(struct sagemaker *s, struct db *db, const char *name, struct error *err);
bool registry_has_group(struct db *db, const char *name);

/* ---- operations, for job_ops ---- */
int registry_op_create_model(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int registry_op_describe_model(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int registry_op_list_models(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int registry_op_delete_model(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int registry_op_create_group(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int registry_op_describe_group(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int registry_op_list_groups(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int registry_op_delete_group(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int registry_op_create_package(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int registry_op_describe_package(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int registry_op_batch_describe(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int registry_op_list_packages(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int registry_op_update_package(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int registry_op_delete_package(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int registry_op_search(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);

/* clang-format off */
#define REGISTRY_OPS                                                                             \
	{ .name = "CreateModel", .command = registry_op_create_model },                          \
	{ .name = "DescribeModel", .query = registry_op_describe_model },                        \
	{ .name = "ListModels", .query = registry_op_list_models },                              \
	{ .name = "DeleteModel", .command = registry_op_delete_model },                          \
	{ .name = "CreateModelPackageGroup", .command = registry_op_create_group },              \
	{ .name = "DescribeModelPackageGroup", .query = registry_op_describe_group },            \
	{ .name = "ListModelPackageGroups", .query = registry_op_list_groups },                  \
	{ .name = "DeleteModelPackageGroup", .command = registry_op_delete_group },              \
	{ .name = "CreateModelPackage", .command = registry_op_create_package },                 \
	{ .name = "DescribeModelPackage", .query = registry_op_describe_package },               \
	{ .name = "BatchDescribeModelPackage", .query = registry_op_batch_describe },            \
	{ .name = "ListModelPackages", .query = registry_op_list_packages },                     \
	{ .name = "UpdateModelPackage", .command = registry_op_update_package },                 \
	{ .name = "DeleteModelPackage", .command = registry_op_delete_package },                 \
	{ .name = "Search", .query = registry_op_search }
/* clang-format on */

/* ---- shared by the registry_*.c files ---- */
#define REGISTRY_TABLES                                                                                                \
	"CREATE TABLE sagemaker_model (name TEXT PRIMARY KEY, arn TEXT NOT NULL, created_ms INTEGER NOT NULL, doc "    \
	"TEXT NOT NULL);"                                                                                              \
	"CREATE INDEX sagemaker_model_created ON sagemaker_model (created_ms, name);"                                  \
	"CREATE TABLE sagemaker_package_group (name TEXT PRIMARY KEY, arn TEXT NOT NULL, created_ms INTEGER NOT NULL," \
	" last_version INTEGER NOT NULL DEFAULT 0, doc TEXT NOT NULL);"                                                \
	"CREATE TABLE sagemaker_package (name TEXT PRIMARY KEY, arn TEXT NOT NULL, group_name TEXT NOT NULL, version " \
	"INTEGER NOT NULL,"                                                                                            \
	" created_ms INTEGER NOT NULL, approval TEXT NOT NULL, token TEXT, doc TEXT NOT NULL);"                        \
	"CREATE INDEX sagemaker_package_group_version ON sagemaker_package (group_name, version);"                     \
	"CREATE UNIQUE INDEX sagemaker_package_token ON sagemaker_package (token) WHERE token IS NOT NULL;"

/* The part behind ":<kind>/" of an ARN, or the name itself; in the arena. */
const char *registry_name(struct arena *a, const char *kind, const char *name_or_arn);
/* The caller as a UserContext; owned. */
json_t *registry_user(const struct call *c);

/* A list by key pages: rows of `sql` parts sorted by created_ms or name. */
struct registry_list {
	const char *table, *where; /* further condition with one "?" text each, or "" */
	struct str args[2];
	size_t nargs;
	const char *member; /* of the answer */
	json_t *(*summary)(const json_t *doc);
};
int registry_list(struct call *c, struct db *db, const struct registry_list *l, json_t *in, json_t **out,
		  struct error *err);

#endif
