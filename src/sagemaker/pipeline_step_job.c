/* pipeline_step_job.c - the step types that run one job: Processing and Training.
 *
 * DESIGN: the resolved Arguments are a Create request without its name. The name is "pipelines-<execution>-<step>-<10
 * alnum>", or
 * "<prefix>-<execution>-<10 alnum>" when the Arguments carry a name (custom job prefixes), the middle cut so that the
 * whole has at most 63 characters. The request is validated against the service model before the job is made; a refusal
 * is the step's FailureReason. The job tells the execution of its end ("job-ended"); see pipeline_actor.c. */
#include "sagemaker/pipeline_run.h"

#include "wire/model.h"

enum { JOB_NAME_MAX = 63 };

struct job_traits {
	enum job_kind kind;
	const char *name_member, *operation, *request_shape, *metadata, *status_member;
};
static const struct job_traits processing = { JOB_PROCESSING,        "ProcessingJobName",
					      "CreateProcessingJob", "CreateProcessingJobRequest",
					      "ProcessingJob",       "ProcessingJobStatus" };
static const struct job_traits training = { JOB_TRAINING,        "TrainingJobName",
					    "CreateTrainingJob", "CreateTrainingJobRequest",
					    "TrainingJob",       "TrainingJobStatus" };

static const struct job_traits *traits_of(const struct definition_step *def)
{
	return def->type == &step_training ? &training : &processing;
}

/* Only letters, digits and hyphens, at most `max`. */
static const char *name_part(struct arena *a, struct str text, size_t max)
{
	char *out = arena_strdup(a, str_head(text, max));
	for (char *p = out; *p; p++)
		if (*p == '_')
			*p = '-';
	return out;
}

static const char *job_name(struct run *r, const struct definition_step *def, struct str prefix)
{
	const char *suffix = turn_id(r->t, 10);
	size_t fixed = strlen(r->x.id) + strlen(suffix) + 2; /* two hyphens */
	if (prefix.len)
		return arena_printf(r->a, "%s-%s-%s", name_part(r->a, prefix, JOB_NAME_MAX - fixed), r->x.id, suffix);
	fixed += strlen("pipelines-");
	return arena_printf(r->a, "pipelines-%s-%s-%s", r->x.id,
			    name_part(r->a, str_from(def->name), JOB_NAME_MAX - fixed), suffix);
}

/* Numbers and booleans become text where only text may stand: a hyperparameter, a variable, an argument. */
static void texts_coerce(struct run *r, json_t *container)
{
	const char *key;
	json_t *v;
	void *next;
	size_t i;
	json_object_foreach_safe (container, next, key, v) {
		if (json_is_number(v) || json_is_boolean(v)) {
			struct str text = expr_text(r->a, v);
			json_object_set_new(container, key, json_stringn(text.ptr, text.len));
		}
	}
	json_array_foreach (container, i, v) {
		if (json_is_number(v) || json_is_boolean(v)) {
			struct str text = expr_text(r->a, v);
			json_array_set_new(container, i, json_stringn(text.ptr, text.len));
		}
	}
}

static void request_coerce(struct run *r, json_t *request)
{
	static const char *const paths[] = { "HyperParameters",
					     "Environment",
					     "AppSpecification.ContainerArguments",
					     "AppSpecification.ContainerEntrypoint",
					     "AlgorithmSpecification.ContainerArguments",
					     "AlgorithmSpecification.ContainerEntrypoint" };
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		texts_coerce(r, json_get_path(request, paths[i]));
}

/* So that a job tells which step it is of, as on SageMaker. */
static void tags_add(struct run *r, const struct definition_step *def, json_t *request)
{
	json_t *tags = json_get(request, "Tags");
	if (!tags) {
		tags = json_array();
		json_object_set_new(request, "Tags", tags);
	}
	json_array_append_new(tags,
			      json_pack("{s:s,s:s}", "Key", "sagemaker:pipeline-execution-arn", "Value", r->x.arn));
	json_array_append_new(tags, json_pack("{s:s,s:s}", "Key", "sagemaker:pipeline-step-name", "Value", def->name));
}

/* The request of this attempt; owned, NULL with why. */
static json_t *request_make(struct run *r, struct step_row *s, const struct job_traits *jt, struct error *why)
{
	const json_t *given = json_get(s->def->arguments, jt->name_member);
	CLEANUP_JSON json_t *prefix = given ? run_eval(r, given, why) : NULL;
	if (given && !prefix)
		return NULL;
	r->job_name = job_name(r, s->def, prefix ? expr_text(r->a, prefix) : STR_NULL);
	json_t *request = run_eval(r, s->def->arguments, why);
	if (!request)
		return NULL;
	json_set_text(request, jt->name_member, r->job_name);
	request_coerce(r, request);
	return request;
}

static int job_refused(struct run *r, struct step_row *s, const struct job_traits *jt, struct error *why,
		       struct error *err)
{
	const char *type = pipeline_retry_type_of_error(why);
	const char *reason = arena_printf(r->a, "ClientError: Failed to invoke sagemaker:%s. Error Details: %s",
					  jt->operation, error_text(why));
	return run_attempt_failed(r, s, type, reason, err);
}

static int job_begin(struct run *r, struct step_row *s, struct error *err)
{
	const struct job_traits *jt = traits_of(s->def);
	CLEANUP_ERROR struct error why = ERROR_INIT;
	CLEANUP_JSON json_t *request = request_make(r, s, jt, &why);
	if (!request)
		return run_step_bad(r, s, &why, err);
	const struct model_service *model = model_find("sagemaker");
	if (model && model_validate_shape(r->a, model, jt->request_shape, request, NULL, &why) < 0)
		return job_refused(r, s, jt, &why, err);
	int rc = run_step_cached(r, s, request, err);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	const char *arn = NULL;
	tags_add(r, s->def, request);
	if (db_savepoint(r->db, err) < 0)
		return -1;
	if (job_create(r->s, r->t, jt->kind, request, turn_self(r->t), &arn, &why) < 0) {
		db_savepoint_rollback(r->db);
		return job_refused(r, s, jt, &why, err);
	}
	if (db_savepoint_release(r->db, err) < 0)
		return -1;
	CLEANUP_JSON json_t *metadata = json_pack("{s:{s:s}}", jt->metadata, "Arn", arn);
	return run_step_running(r, s, r->job_name, metadata, err);
}

static int job_end(struct run *r, struct step_row *s, struct error *err)
{
	return job_stop(r->s, r->t, traits_of(s->def)->kind, s->job, err);
}

static json_t *job_properties(struct run *r, const struct step_row *s, struct error *err)
{
	return job_describe(r->s, r->db, traits_of(s->def)->kind, s->job, err);
}

static int processing_check(struct arena *a, const struct definition_step *step, struct error *err)
{
	const json_t *files = json_get(step->json, "PropertyFiles");
	size_t i;
	json_t *file;
	(void)a;
	if (files && !json_is_array(files))
		return error_aws(err, "ValidationException",
				 "Unable to parse pipeline definition. 'PropertyFiles' of step '%s' must be a list.",
				 step->name);
	json_array_foreach (files, i, file)
		if (!json_get_text(file, "PropertyFileName") || !json_get_text(file, "OutputName") ||
		    !json_get_text(file, "FilePath"))
			return error_aws(err, "ValidationException",
					 "Unable to parse pipeline definition. A "
					 "PropertyFile of step '%s' needs "
					 "PropertyFileName, OutputName and FilePath.",
					 step->name);
	return 0;
}

static const char *const processing_keys[] = { "AppSpecification", "Environment", "ProcessingInputs", NULL };
static const char *const training_keys[] = { "AlgorithmSpecification",
					     "CheckpointConfig",
					     "DebugHookConfig",
					     "DebugRuleConfigurations",
					     "Environment",
					     "HyperParameters",
					     "InputDataConfig",
					     NULL };

const struct step_type step_processing = {
	.name = "Processing",
	.begin = job_begin,
	.check = processing_check,
	.stop = job_end,
	.properties = job_properties,
	.cache_keys = processing_keys,
	.retries = true,
};

const struct step_type step_training = {
	.name = "Training",
	.begin = job_begin,
	.stop = job_end,
	.properties = job_properties,
	.cache_keys = training_keys,
	.retries = true,
};
