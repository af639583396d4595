/* job_create.c - making a job of a request: checks that the model doesn't make, the row, the actor.
 *
 * DESIGN: what is refused here costs the user nothing; what would fail at the end of a long run (no bucket for the
 * model) is looked at now. An option that this platform does not have is refused by name, never ignored. */
#include "sagemaker/job_impl.h"

#include <stdarg.h>

const char *job_kind_name(enum job_kind kind)
{
	return job_type_of(kind)->kind_name;
}

const struct job_type *job_type_of(enum job_kind kind)
{
	return kind == JOB_TRAINING ? &job_training : &job_processing;
}

json_t *job_without_nulls(const json_t *value)
{
	const char *key;
	json_t *item, *copy;
	size_t i;
	if (json_is_object(value)) {
		copy = json_object();
		json_object_foreach ((json_t *)value, key, item)
			if (!json_is_null(item))
				json_object_set_new_nocheck(copy, key, job_without_nulls(item));
		return copy;
	}
	if (!json_is_array(value))
		return json_incref((json_t *)value);
	copy = json_array();
	json_array_foreach ((json_t *)value, i, item)
		if (!json_is_null(item))
			json_array_append_new(copy, job_without_nulls(item));
	return copy;
}

int job_refuse(struct error *err, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct arena a = ARENA_INIT;
	error_aws(err, "ValidationException", "%s", arena_vprintf(&a, fmt, ap));
	arena_release(&a);
	va_end(ap);
	return -1;
}

int job_check_output(struct turn *t, const char *what, struct str uri, struct error *err)
{
	struct str bucket, key;
	if (!s3_parse_uri(uri, &bucket, &key))
		return job_refuse(err, "%s must be an S3 URI (s3://bucket/prefix): \"%.*s\"", what, STR_ARG(uri));
	if (!s3_bucket_exists(turn_db(t), bucket))
		return job_refuse(err, "The bucket \"%.*s\" of %s does not exist.", STR_ARG(bucket), what);
	return 0;
}

int job_check_instance(const struct job_type *type, const char *instance, int64_t count, struct error *err)
{
	if (!instance || !instance_find(str_from(instance)))
		return job_refuse(err, "The requested resource %s/%s is not available in this region", type->kind_name,
				  instance ? instance : "");
	if (count < 1)
		return job_refuse(err, "InstanceCount must be at least 1.");
	if (count > JOB_HOSTS_MAX)
		return job_refuse(
			err,
			"Quern runs the instances of a job on one machine, at most %d of them; %lld were asked for.",
			JOB_HOSTS_MAX, (long long)count);
	return 0;
}

int job_check_runtime(const json_t *stopping, struct error *err)
{
	int64_t seconds = json_get_int(stopping, "MaxRuntimeInSeconds", JOB_MAX_RUNTIME_S);
	if (seconds < 1 || seconds > JOB_RUNTIME_LIMIT_S)
		return job_refuse(err, "MaxRuntimeInSeconds must be from 1 to %lld.", JOB_RUNTIME_LIMIT_S);
	return 0;
}

static json_t *make_doc(const struct job_type *type, const json_t *request, const char *name, const char *arn)
{
	json_t *doc = json_object();
	json_set_text(doc, type->name_key, name);
	json_set_text(doc, type->arn_key, arn);
	for (const char *const *key = type->echoed; *key; key++)
		json_copy_key(doc, request, *key);
	json_set_text(doc, type->status_key, "InProgress");
	if (!json_get_path(doc, "StoppingCondition.MaxRuntimeInSeconds")) {
		json_t *stopping = json_get(doc, "StoppingCondition") ? json_copy(json_get(doc, "StoppingCondition"))
								      : json_object();
		json_set_int(stopping, "MaxRuntimeInSeconds", JOB_MAX_RUNTIME_S);
		json_object_set_new(doc, "StoppingCondition", stopping);
	}
	if (type->complete)
		type->complete(doc);
	return doc;
}

static json_t *first_state(const struct job_type *type, const char *name)
{
	json_t *state = json_object();
	json_set_text(state, "kind", type->kind_name);
	json_set_text(state, "name", name);
	json_set_text(state, "phase", "new");
	return state;
}

int job_create(struct sagemaker *s, struct turn *t, enum job_kind kind, const json_t *given, const char *parent,
	       const char **arn, struct error *err)
{
	const struct job_type *type = job_type_of(kind);
	struct arena *a = turn_arena(t);
	CLEANUP_JSON json_t *request = job_without_nulls(given);
	const char *name = json_get_text(request, type->name_key);
	if (!name || !*name)
		return job_refuse(err, "%s is missing.", type->name_key);
	if (type->check(s, t, request, err) < 0)
		return -1;
	CLEANUP_JOB struct job j = {
		.type = type, .name = arena_strdup(a, str_from(name)), .parent = parent, .notes = json_array()
	};
	j.arn = sagemaker_arn(s, a, type->kind_name, name);
	j.doc = make_doc(type, request, j.name, j.arn);
	job_transition(&j, "Starting", "Starting the training job", turn_now_ms(t));
	if (job_insert(t, &j, err) < 0 || job_tags_put(t, j.arn, json_get(request, "Tags"), err) < 0)
		return -1;
	if (turn_spawn(t, type->actor, arena_printf(a, "%s/%s", type->kind_name, j.name), first_state(type, j.name),
		       err) < 0)
		return -1;
	*arn = j.arn;
	return 0;
}

int job_stop(struct sagemaker *s, struct turn *t, enum job_kind kind, const char *name, struct error *err)
{
	CLEANUP_JOB struct job j = JOB_INIT;
	const struct job_type *type = job_type_of(kind);
	int rc = job_load(turn_db(t), turn_arena(t), type, name, &j, err);
	if (rc <= 0)
		return rc < 0 ? -1 : job_missing(type, name, err);
	if (!str_eqz(str_from(job_status(&j)), "InProgress"))
		return 0;
	json_set_text(j.doc, type->status_key, "Stopping");
	job_transition(&j, "Stopping", "Stopping the training job", turn_now_ms(t));
	json_t *event = json_object();
	json_set_text(event, "type", "stop");
	turn_send(t, arena_printf(turn_arena(t), "%s/%s", type->kind_name, j.name), event);
	return job_save(t, &j, err);
}
