/* job_processing.c - what is particular to processing jobs: checks, and the container contract under
 * /opt/ml/processing.
 *
 * Source: SageMaker developer guide, "Build Your Own Processing Container" (entrypoint table, inputs, outputs,
 * configuration files). */
#include "sagemaker/job_impl.h"

static const char *const echoed[] = {
	"ProcessingInputs",    "ProcessingOutputConfig",
	"ProcessingResources", "StoppingCondition",
	"AppSpecification",    "Environment",
	"NetworkConfig",       "RoleArn",
	"ExperimentConfig",    NULL,
};

static const char LOCAL_ROOT[] = "/opt/ml/processing";

/* Without trailing slashes, in the arena. */
static const char *local_path(struct arena *a, struct str path)
{
	while (path.len > 1 && path.ptr[path.len - 1] == '/')
		path.len--;
	return arena_strdup(a, path);
}

/* ---- checks ---- */

static int check_local_path(const char *what, const char *name, struct str path, struct error *err)
{
	if (!path.ptr || !path.len)
		return job_refuse(err, "%s %s: LocalPath is missing.", what, name);
	if (!str_starts(path, STR("/opt/ml/processing/")) && !str_eqz(path, LOCAL_ROOT))
		return job_refuse(err, "%s %s: LocalPath must begin with /opt/ml/processing/: \"%.*s\"", what, name,
				  STR_ARG(path));
	if (str_find(path, STR("//")) >= 0 || str_find(path, STR("/../")) >= 0 || str_find(path, STR("/./")) >= 0 ||
	    str_ends(path, STR("/..")) || str_ends(path, STR("/.")))
		return job_refuse(
			err, "%s %s: LocalPath must be an absolute path without empty parts, \".\" or \"..\": \"%.*s\"",
			what, name, STR_ARG(path));
	return 0;
}

static int check_input(const json_t *input, struct error *err)
{
	const char *name = json_get_text(input, "InputName");
	const json_t *s3 = json_get(input, "S3Input");
	struct str uri = json_get_str(s3, "S3Uri"), bucket, key;
	if (json_get(input, "DatasetDefinition"))
		return job_refuse(err,
				  "ProcessingInput %s: DatasetDefinition (Athena, Redshift) is not supported by Quern. "
				  "Use S3Input.",
				  name);
	if (!s3)
		return job_refuse(err, "ProcessingInput %s: S3Input is missing.", name);
	if (!s3_parse_uri(uri, &bucket, &key))
		return job_refuse(err, "ProcessingInput %s: S3Uri must be an S3 URI (s3://bucket/prefix): \"%.*s\"",
				  name, STR_ARG(uri));
	if (str_eqz(json_get_str(s3, "S3InputMode"), "Pipe"))
		return job_refuse(err, "ProcessingInput %s: Pipe input mode is not supported by Quern. Use File.",
				  name);
	if (json_get_bool(input, "AppManaged", false))
		return 0;
	return check_local_path("ProcessingInput", name, json_get_str(s3, "LocalPath"), err);
}

static int check_output(struct turn *t, const json_t *output, struct error *err)
{
	const char *name = json_get_text(output, "OutputName");
	const json_t *s3 = json_get(output, "S3Output");
	if (json_get_bool(output, "AppManaged", false))
		return 0;
	if (json_get(output, "FeatureStoreOutput"))
		return job_refuse(err, "ProcessingOutput %s: FeatureStoreOutput is not supported by Quern.", name);
	if (!s3)
		return job_refuse(err, "ProcessingOutput %s: S3Output is missing.", name);
	if (check_local_path("ProcessingOutput", name, json_get_str(s3, "LocalPath"), err) < 0)
		return -1;
	return job_check_output(t, arena_printf(turn_arena(t), "ProcessingOutput %s", name), json_get_str(s3, "S3Uri"),
				err);
}

/* Two inputs, or an input and an output, can't be mounted at one place. */
static int check_places(struct arena *a, const json_t *request, struct error *err)
{
	json_t *inputs = json_get(request, "ProcessingInputs"),
	       *outputs = json_get_path(request, "ProcessingOutputConfig.Outputs"), *one;
	size_t i, k;
	json_array_foreach (inputs, i, one) {
		struct str path = json_get_str(json_get(one, "S3Input"), "LocalPath");
		if (!path.ptr)
			continue;
		const char *mine = local_path(a, path);
		for (k = 0; k < i; k++) {
			const json_t *other = json_array_get(inputs, k);
			if (str_eqz(json_get_str(other, "InputName"), json_get_text(one, "InputName")))
				return job_refuse(err, "ProcessingInputs must have unique names: %s",
						  json_get_text(one, "InputName"));
			if (strcmp(local_path(a, json_get_str(json_get(other, "S3Input"), "LocalPath")), mine) == 0)
				return job_refuse(err, "ProcessingInputs must have unique LocalPath values: \"%s\"",
						  mine);
		}
		json_t *output;
		json_array_foreach (outputs, k, output)
			if (strcmp(local_path(a, json_get_str(json_get(output, "S3Output"), "LocalPath")), mine) == 0)
				return job_refuse(
					err, "A ProcessingInput and a ProcessingOutput have the same LocalPath: \"%s\"",
					mine);
	}
	return 0;
}

static int check(struct sagemaker *s, struct turn *t, const json_t *request, struct error *err)
{
	const json_t *cluster = json_get_path(request, "ProcessingResources.ClusterConfig");
	size_t i;
	json_t *one;
	if (!cluster)
		return job_refuse(err, "ProcessingResources.ClusterConfig is missing.");
	if (job_check_instance(&job_processing, json_get_text(cluster, "InstanceType"),
			       json_get_int(cluster, "InstanceCount", 1), err) < 0 ||
	    job_check_runtime(json_get(request, "StoppingCondition"), err) < 0)
		return -1;
	json_array_foreach (json_get(request, "ProcessingInputs"), i, one)
		if (check_input(one, err) < 0)
			return -1;
	json_array_foreach (json_get_path(request, "ProcessingOutputConfig.Outputs"), i, one)
		if (check_output(t, one, err) < 0)
			return -1;
	return check_places(turn_arena(t), request, err);
}

/* ---- the plan ---- */

/* processingjobconfig.json: the request with its ARN. */
static json_t *job_config(const struct job_plan *p)
{
	json_t *o = json_object();
	json_set_text(o, "ProcessingJobArn", p->job->arn);
	json_set_text(o, "ProcessingJobName", p->job->name);
	for (const char *const *key = echoed; *key; key++)
		json_copy_key(o, p->doc, *key);
	return o;
}

static void add_config_files(struct job_plan *p)
{
	CLEANUP_JSON json_t *config = job_config(p), *names = job_plan_host_names(p, NULL);
	for (size_t i = 0; i < p->nhosts; i++) {
		struct job_host *h = &p->hosts[i];
		CLEANUP_JSON json_t *resources = json_object();
		json_set_text(resources, "current_host", h->name);
		json_set_text(resources, "current_instance_type", h->instance);
		json_object_set(resources, "hosts", names);
		job_plan_file(h, "/opt/ml/config/processingjobconfig.json", config);
		job_plan_file(h, "/opt/ml/config/resourceconfig.json", resources);
	}
}

static void add_inputs(struct job_plan *p)
{
	size_t i;
	json_t *input;
	json_array_foreach (json_get(p->doc, "ProcessingInputs"), i, input) {
		const json_t *s3 = json_get(input, "S3Input");
		if (json_get_bool(input, "AppManaged", false))
			continue; /* the container reads it itself */
		bool gzip = str_eqz(json_get_str(s3, "S3CompressionType"), "Gzip");
		job_plan_stage(p, s3, NULL, local_path(p->a, json_get_str(s3, "LocalPath")), gzip, true);
	}
}

static void add_outputs(struct job_plan *p)
{
	struct job_dirs dirs;
	size_t i;
	json_t *output;
	bool always = false;
	json_array_foreach (json_get_path(p->doc, "ProcessingOutputConfig.Outputs"), i, output)
		always |= str_eqz(json_get_str(json_get(output, "S3Output"), "S3UploadMode"), "Continuous");
	job_output_dirs(p->a, p->doc, &dirs);
	for (i = 0; i < dirs.count; i++) {
		const char *name = arena_printf(p->a, "o%zu", i);
		job_plan_scratch(p, name, dirs.paths[i]);
		job_plan_output(p, name, "files", "always");
	}
	if (always)
		job_note(p->job,
			 "S3UploadMode Continuous: the files are uploaded when the job ends, whatever its status");
}

static int plan(struct job_plan *p, struct error *err)
{
	const json_t *app = json_get(p->doc, "AppSpecification");
	const json_t *entrypoint = json_get(app, "ContainerEntrypoint"),
		     *arguments = json_get(app, "ContainerArguments");
	CLEANUP_JSON json_t *none = json_array();
	/* An entrypoint of the request's own also sets aside the image's arguments. */
	const json_t *command = arguments ? arguments : entrypoint ? none : NULL;
	if (job_plan_hosts(p, json_get_path(p->doc, "ProcessingResources.ClusterConfig"), err) < 0 ||
	    job_plan_containers(p, json_get_text(app, "ImageUri"), entrypoint, command, err) < 0)
		return -1;
	add_config_files(p);
	add_inputs(p);
	add_outputs(p);
	job_plan_scratch(p, "messages", "/opt/ml/output"); /* for its file "message" */
	return 0;
}

const struct job_type job_processing = {
	.kind = JOB_PROCESSING,
	.kind_name = "processing-job",
	.words = "processing job",
	.actor = "sagemaker.processing-job",
	.name_key = "ProcessingJobName",
	.arn_key = "ProcessingJobArn",
	.status_key = "ProcessingJobStatus",
	.start_key = "ProcessingStartTime",
	.end_key = "ProcessingEndTime",
	.log_group = "/aws/sagemaker/ProcessingJobs",
	.task_prefix = "pj-",
	.check = check,
	.echoed = echoed,
	.plan = plan,
};
