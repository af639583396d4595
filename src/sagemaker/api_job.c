/* api_job.c - the operations on jobs: decode, command or query, encode. Lists are in api_job_list.c, tags in
 * api_tags.c. */
#include "sagemaker/job_impl.h"
#include "sagemaker/registry.h"

static int create(struct call *c, struct turn *t, enum job_kind kind, json_t *in, json_t **out, struct error *err)
{
	const char *arn;
	if (job_create(c->service_ctx, t, kind, in, NULL, &arn, err) < 0)
		return -1;
	*out = json_object();
	json_set_text(*out, job_type_of(kind)->arn_key, arn);
	return 0;
}

static int create_processing(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	return create(c, t, JOB_PROCESSING, in, out, err);
}

static int create_training(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	return create(c, t, JOB_TRAINING, in, out, err);
}

static int describe(struct call *c, struct db *db, enum job_kind kind, json_t *in, json_t **out, struct error *err)
{
	*out = job_describe(c->service_ctx, db, kind, json_get_text(in, job_type_of(kind)->name_key), err);
	return *out ? 0 : -1;
}

static int describe_processing(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	return describe(c, db, JOB_PROCESSING, in, out, err);
}

static int describe_training(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	return describe(c, db, JOB_TRAINING, in, out, err);
}

static int find(struct turn *t, enum job_kind kind, json_t *in, struct job *j, struct error *err)
{
	const struct job_type *type = job_type_of(kind);
	const char *name = json_get_text(in, type->name_key);
	int rc = job_load(turn_db(t), turn_arena(t), type, name, j, err);
	return rc == 0 ? job_missing(type, name, err) : rc;
}

static int stop(struct call *c, struct turn *t, enum job_kind kind, json_t *in, struct error *err)
{
	CLEANUP_JOB struct job j = JOB_INIT;
	if (find(t, kind, in, &j, err) < 0)
		return -1;
	if (!str_eqz(str_from(job_status(&j)), "InProgress"))
		return error_aws(err, "ValidationException", "The request was rejected because the %s is in status %s.",
				 j.type->words, job_status(&j));
	return job_stop(c->service_ctx, t, kind, j.name, err);
}

static int stop_processing(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	return stop(c, t, JOB_PROCESSING, in, err);
}

static int stop_training(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	return stop(c, t, JOB_TRAINING, in, err);
}

static int delete (struct call *c, struct turn *t, enum job_kind kind, json_t *in, struct error *err)
{
	CLEANUP_JOB struct job j = JOB_INIT;
	if (find(t, kind, in, &j, err) < 0)
		return -1;
	if (!job_ended(&j))
		return error_aws(err, "ResourceInUse", "The request was rejected because the %s is in status %s.",
				 j.type->words, job_status(&j));
	return job_delete(t, &j, err);
}

static int delete_processing(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	return delete (c, t, JOB_PROCESSING, in, err);
}

static int delete_training(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	return delete (c, t, JOB_TRAINING, in, err);
}

const struct wire_op job_ops[] = {
	{ .name = "CreateProcessingJob", .command = create_processing },
	{ .name = "DescribeProcessingJob", .query = describe_processing },
	{ .name = "ListProcessingJobs", .query = job_op_list_processing },
	{ .name = "StopProcessingJob", .command = stop_processing },
	{ .name = "DeleteProcessingJob", .command = delete_processing },
	{ .name = "CreateTrainingJob", .command = create_training },
	{ .name = "DescribeTrainingJob", .query = describe_training },
	{ .name = "ListTrainingJobs", .query = job_op_list_training },
	{ .name = "StopTrainingJob", .command = stop_training },
	{ .name = "DeleteTrainingJob", .command = delete_training },
	{ .name = "AddTags", .command = job_op_add_tags },
	{ .name = "ListTags", .query = job_op_list_tags },
	{ .name = "DeleteTags", .command = job_op_delete_tags },
	REGISTRY_OPS,
	{ 0 },
};
