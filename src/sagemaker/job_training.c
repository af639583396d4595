/* job_training.c - what is particular to training jobs: checks, and the container contract under /opt/ml.
 *
 * Sources: SageMaker developer guide, "How Amazon SageMaker Provides Training Information" and "... Processes Training
 * Output"; sagemaker-training-toolkit (environment.py, files.py). */
#include "sagemaker/job_impl.h"
#include "sagemaker/metrics.h"

static const char *const echoed[] = {
	"HyperParameters",
	"AlgorithmSpecification",
	"RoleArn",
	"InputDataConfig",
	"OutputDataConfig",
	"ResourceConfig",
	"VpcConfig",
	"StoppingCondition",
	"EnableNetworkIsolation",
	"EnableInterContainerTrafficEncryption",
	"EnableManagedSpotTraining",
	"CheckpointConfig",
	"DebugHookConfig",
	"DebugRuleConfigurations",
	"TensorBoardOutputConfig",
	"ExperimentConfig",
	"ProfilerConfig",
	"ProfilerRuleConfigurations",
	"Environment",
	"RetryStrategy",
	"RemoteDebugConfig",
	"InfraCheckConfig",
	NULL,
};
/* Members that would have to do something here and can't. */
static const char *const refused[] = { "SessionChainingConfig", "ServerlessJobConfig", "MlflowConfig",
				       "ModelPackageConfig", NULL };

/* ---- checks ---- */

static int check_channel(struct sagemaker *s, struct turn *t, const json_t *ch, const json_t *request,
			 struct error *err)
{
	const char *name = json_get_text(ch, "ChannelName");
	const json_t *data = json_get_path(ch, "DataSource.S3DataSource");
	struct str mode = json_get_str(ch, "InputMode");
	if (!mode.ptr)
		mode = json_get_str(json_get(request, "AlgorithmSpecification"), "TrainingInputMode");
	if (str_eqz(mode, "Pipe"))
		return job_refuse(err, "Channel %s: Pipe input mode is not supported by Quern. Use File or FastFile.",
				  name);
	if (!data)
		return job_refuse(err, "Channel %s: only S3DataSource is supported by Quern.", name);
	struct str type = json_get_str(data, "S3DataType"), uri = json_get_str(data, "S3Uri"), bucket, key;
	if (str_eqz(type, "AugmentedManifestFile"))
		return job_refuse(err,
				  "Channel %s: AugmentedManifestFile can only be used with Pipe input mode, which is "
				  "not supported by Quern.",
				  name);
	if (!str_eqz(type, "S3Prefix") && !str_eqz(type, "ManifestFile"))
		return job_refuse(err, "Channel %s: S3DataType %.*s is not supported by Quern.", name, STR_ARG(type));
	if (!s3_parse_uri(uri, &bucket, &key))
		return job_refuse(err, "Channel %s: S3Uri must be an S3 URI (s3://bucket/prefix): \"%.*s\"", name,
				  STR_ARG(uri));
	CLEANUP_ERROR struct error why = ERROR_INIT;
	const char *role = json_get_text(request, "RoleArn");
	if (stage_may_list(s->o.iam, turn_db(t), turn_arena(t), role, uri, &why) < 0)
		return error_is(&why, "AccessDenied")
			       ? job_refuse(err, "%s Error message from S3: %s",
					    stage_missing_text(turn_arena(t), uri, s->o.region, role), error_text(&why))
			       : error_move(err, &why);
	int rc = stage_has_objects(turn_db(t), uri, str_eqz(type, "ManifestFile"), err);
	if (rc == 0)
		return job_refuse(err, "%s", stage_missing_text(turn_arena(t), uri, s->o.region, role));
	return rc < 0 ? -1 : 0;
}

static int check_channels(struct sagemaker *s, struct turn *t, const json_t *request, struct error *err)
{
	size_t i, k;
	json_t *list = json_get(request, "InputDataConfig"), *ch;
	json_array_foreach (list, i, ch) {
		for (k = 0; k < i; k++)
			if (str_eq(json_get_str(json_array_get(list, k), "ChannelName"),
				   json_get_str(ch, "ChannelName")))
				return job_refuse(err, "Duplicate channel name: %s", json_get_text(ch, "ChannelName"));
		if (check_channel(s, t, ch, request, err) < 0)
			return -1;
	}
	return 0;
}

static int check_resources(const json_t *config, struct error *err)
{
	size_t i;
	json_t *groups = json_get(config, "InstanceGroups"), *group;
	int64_t total = 0;
	if (!config)
		return job_refuse(err, "ResourceConfig is missing.");
	if (groups && json_get(config, "InstanceType"))
		return job_refuse(
			err, "ResourceConfig can have InstanceGroups or InstanceType and InstanceCount, not both.");
	if (!groups)
		return job_check_instance(&job_training, json_get_text(config, "InstanceType"),
					  json_get_int(config, "InstanceCount", 1), err);
	json_array_foreach (groups, i, group) {
		int64_t count = json_get_int(group, "InstanceCount", 0);
		if (job_check_instance(&job_training, json_get_text(group, "InstanceType"), count, err) < 0)
			return -1;
		total += count;
	}
	return total > JOB_HOSTS_MAX ? job_refuse(err, "Quern runs at most %d instances a job.", JOB_HOSTS_MAX) : 0;
}

static int check_algorithm(const json_t *request, struct error *err)
{
	const json_t *algorithm = json_get(request, "AlgorithmSpecification");
	if (json_get(algorithm, "AlgorithmName"))
		return job_refuse(err, "AlgorithmSpecification.AlgorithmName (algorithm resources) is not supported by "
				       "Quern. Use TrainingImage.");
	if (!json_get_text(algorithm, "TrainingImage"))
		return job_refuse(err, "AlgorithmSpecification must have a TrainingImage.");
	for (const char *const *key = refused; *key; key++)
		if (json_get(request, *key))
			return job_refuse(err, "%s is not supported by Quern.", *key);
	struct metrics *m = metrics_new(json_get(algorithm, "MetricDefinitions"), false, err);
	if (!m)
		return -1;
	metrics_free(m);
	return 0;
}

/* There is no spot capacity here; a request that AWS refuses is refused all the same. */
static int check_spot(const json_t *request, struct error *err)
{
	const json_t *stopping = json_get(request, "StoppingCondition");
	int64_t run_s = json_get_int(stopping, "MaxRuntimeInSeconds", JOB_MAX_RUNTIME_S);
	int64_t wait_s = json_get_int(stopping, "MaxWaitTimeInSeconds", -1);
	bool spot = json_get_bool(request, "EnableManagedSpotTraining", false);
	if (spot && wait_s < run_s)
		return job_refuse(err, "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal "
				       "to MaxRuntimeInSeconds");
	if (!spot && wait_s >= 0)
		return job_refuse(err, "Invalid MaxWaitTimeInSeconds. It is only supported when "
				       "EnableManagedSpotTraining is set to true");
	return 0;
}

static int check(struct sagemaker *s, struct turn *t, const json_t *request, struct error *err)
{
	const json_t *output = json_get(request, "OutputDataConfig"),
		     *checkpoint = json_get(request, "CheckpointConfig");
	if (check_algorithm(request, err) < 0 || check_resources(json_get(request, "ResourceConfig"), err) < 0 ||
	    job_check_runtime(json_get(request, "StoppingCondition"), err) < 0 || check_spot(request, err) < 0 ||
	    check_channels(s, t, request, err) < 0)
		return -1;
	if (job_check_output(t, "OutputDataConfig.S3OutputPath", json_get_str(output, "S3OutputPath"), err) < 0)
		return -1;
	return checkpoint ? job_check_output(t, "CheckpointConfig.S3Uri", json_get_str(checkpoint, "S3Uri"), err) : 0;
}

/* ---- defaults ---- */

static void set_default(json_t *object, const char *key, json_t *value)
{
	if (object && !json_get(object, key))
		json_object_set_new(object, key, value);
	else
		json_decref(value);
}

/* As DescribeTrainingJob answers at AWS; the SDK's Estimator.attach needs OutputDataConfig.KmsKeyId to be there. */
static void complete(json_t *doc)
{
	static const char *const off[] = { "EnableNetworkIsolation", "EnableInterContainerTrafficEncryption",
					   "EnableManagedSpotTraining" };
	json_t *output = json_get(doc, "OutputDataConfig"), *ch;
	size_t i;
	json_array_foreach (json_get(doc, "InputDataConfig"), i, ch) {
		set_default(json_get_path(ch, "DataSource.S3DataSource"), "S3DataDistributionType",
			    json_string("FullyReplicated"));
		set_default(ch, "CompressionType", json_string("None"));
		set_default(ch, "RecordWrapperType", json_string("None"));
	}
	set_default(output, "KmsKeyId", json_string(""));
	set_default(output, "CompressionType", json_string("GZIP"));
	for (i = 0; i < sizeof(off) / sizeof(off[0]); i++)
		set_default(doc, off[i], json_false());
}

/* ---- the plan ---- */

static json_t *input_config(const struct job_plan *p)
{
	json_t *config = json_object(), *ch;
	size_t i;
	const char *mode = json_get_text(json_get(p->doc, "AlgorithmSpecification"), "TrainingInputMode");
	json_array_foreach (json_get(p->doc, "InputDataConfig"), i, ch) {
		json_t *o = json_object();
		const json_t *data = json_get_path(ch, "DataSource.S3DataSource");
		const char *own = json_get_text(ch, "InputMode"), *wrapper = json_get_text(ch, "RecordWrapperType");
		const char *spread = json_get_text(data, "S3DataDistributionType");
		json_set_text(o, "TrainingInputMode", own ? own : mode ? mode : "File");
		json_set_text(o, "S3DistributionType", spread ? spread : "FullyReplicated");
		json_set_text(o, "RecordWrapperType", wrapper ? wrapper : "None");
		json_set_text(o, "ContentType", json_get_text(ch, "ContentType"));
		json_object_set_new(config, json_get_text(ch, "ChannelName"), o);
	}
	return config;
}

static json_t *group_json(const struct job_plan *p, const char *name, const char *instance, const char *only)
{
	json_t *g = json_object();
	json_set_text(g, "instance_group_name", name);
	json_set_text(g, "instance_type", instance);
	json_object_set_new(g, "hosts", job_plan_host_names(p, only));
	return g;
}

static json_t *resource_config(const struct job_plan *p, const struct job_host *h)
{
	json_t *o = json_object(), *groups = json_array(), *group;
	size_t i;
	json_set_text(o, "current_host", h->name);
	json_set_text(o, "current_instance_type", h->instance);
	json_set_text(o, "current_group_name", h->group ? h->group : "homogeneousCluster");
	json_object_set_new(o, "hosts", job_plan_host_names(p, NULL));
	json_array_foreach (json_get_path(p->doc, "ResourceConfig.InstanceGroups"), i, group) {
		const char *name = json_get_text(group, "InstanceGroupName");
		json_array_append_new(groups, group_json(p, name, json_get_text(group, "InstanceType"), name));
	}
	if (!json_array_size(groups))
		json_array_append_new(groups, group_json(p, "homogeneousCluster", h->instance, NULL));
	json_object_set_new(o, "instance_groups", groups);
	json_set_text(o, "network_interface_name", p->nhosts > 1 ? "eth0" : "lo");
	return o;
}

static void add_config_files(struct job_plan *p)
{
	CLEANUP_JSON json_t *inputs = input_config(p), *none = json_object();
	json_t *hyper = json_get(p->doc, "HyperParameters"), *checkpoint = json_get(p->doc, "CheckpointConfig");
	for (size_t i = 0; i < p->nhosts; i++) {
		struct job_host *h = &p->hosts[i];
		CLEANUP_JSON json_t *resources = resource_config(p, h);
		job_plan_file(h, "/opt/ml/input/config/hyperparameters.json", hyper ? hyper : none);
		job_plan_file(h, "/opt/ml/input/config/inputdataconfig.json", inputs);
		job_plan_file(h, "/opt/ml/input/config/resourceconfig.json", resources);
		if (!checkpoint)
			continue;
		CLEANUP_JSON json_t *config = json_copy(checkpoint);
		if (!json_get(config, "LocalPath"))
			json_set_text(config, "LocalPath", "/opt/ml/checkpoints");
		job_plan_file(h, "/opt/ml/input/config/checkpointconfig.json", config);
	}
}

static void add_channels(struct job_plan *p)
{
	size_t i;
	json_t *ch;
	const char *mode = json_get_text(json_get(p->doc, "AlgorithmSpecification"), "TrainingInputMode");
	json_array_foreach (json_get(p->doc, "InputDataConfig"), i, ch) {
		const json_t *data = json_get_path(ch, "DataSource.S3DataSource");
		const char *own = json_get_text(ch, "InputMode");
		struct str used = str_from(own ? own : mode);
		bool gzip = str_eqz(json_get_str(ch, "CompressionType"), "Gzip");
		job_plan_stage(p, data, json_get(data, "InstanceGroupNames"),
			       arena_printf(p->a, "/opt/ml/input/data/%s", json_get_text(ch, "ChannelName")), gzip,
			       !str_eqz(used, "FastFile"));
	}
}

/* What an earlier run left at the checkpoint URI is put into the scratch directory before the start. */
static void add_checkpoints(struct job_plan *p)
{
	const json_t *config = json_get(p->doc, "CheckpointConfig");
	if (!config)
		return;
	struct str path = json_get_str(config, "LocalPath");
	if (!path.ptr || !path.len)
		path = STR("/opt/ml/checkpoints");
	while (path.len > 1 && path.ptr[path.len - 1] == '/')
		path.len--;
	job_plan_scratch(p, "checkpoints", arena_strdup(p->a, path));
	job_plan_output(p, "checkpoints", "files", "always");
	job_plan_seed(p, "checkpoints", json_get_text(config, "S3Uri"));
}

static json_t *one_word(const char *word)
{
	json_t *list = json_array();
	json_array_append_new(list, json_string(word));
	return list;
}

static int plan(struct job_plan *p, struct error *err)
{
	const json_t *algorithm = json_get(p->doc, "AlgorithmSpecification");
	const json_t *entrypoint = json_get(algorithm, "ContainerEntrypoint"),
		     *arguments = json_get(algorithm, "ContainerArguments");
	CLEANUP_JSON json_t *train = one_word("train"), *none = json_array();
	const json_t *command = arguments ? arguments : entrypoint ? none : train;
	const char *form = str_eqz(json_get_str(json_get(p->doc, "OutputDataConfig"), "CompressionType"), "NONE")
				   ? "files"
				   : "tar.gz";
	if (job_plan_hosts(p, json_get(p->doc, "ResourceConfig"), err) < 0 ||
	    job_plan_containers(p, json_get_text(algorithm, "TrainingImage"), entrypoint, command, err) < 0)
		return -1;
	job_plan_env(p, "TRAINING_JOB_NAME", p->job->name);
	job_plan_env(p, "TRAINING_JOB_ARN", p->job->arn);
	add_config_files(p);
	add_channels(p);
	job_plan_scratch(p, "model", "/opt/ml/model");
	job_plan_output(p, "model", form, "always");
	job_plan_scratch(p, "output", "/opt/ml/output/data");
	job_plan_output(p, "output", form, "always");
	add_checkpoints(p);
	if (json_get_bool(p->doc, "EnableManagedSpotTraining", false))
		job_note(p->job,
			 "EnableManagedSpotTraining has no effect: there is no spot capacity on hardware of one's own");
	return 0;
}

const struct job_type job_training = {
	.kind = JOB_TRAINING,
	.kind_name = "training-job",
	.words = "training job",
	.actor = "sagemaker.training-job",
	.name_key = "TrainingJobName",
	.arn_key = "TrainingJobArn",
	.status_key = "TrainingJobStatus",
	.start_key = "TrainingStartTime",
	.end_key = "TrainingEndTime",
	.log_group = "/aws/sagemaker/TrainingJobs",
	.task_prefix = "tj-",
	.check = check,
	.echoed = echoed,
	.complete = complete,
	.plan = plan,
};
