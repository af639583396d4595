/* job_plan.c - from a job's request to a task spec (task.h) and a stage plan (stage.h): what both kinds have in common.
 *
 * DESIGN: one container a host, named algo-1 ... algo-n. Quotas are the real shape of the instance type; the executor
 * scales them to the machine and says so. One host shares the machine's network (as a script expects that installs
 * packages); several get a private one in which their names resolve; isolation is no network at all. Scratch
 * directories have one name for all hosts, so what hosts write to a model or output directory is merged. Credentials
 * are a session of the job's role, which outlives the job. */
#include "sagemaker/job_impl.h"

#define SESSION_SPARE_MS (2 * 86400000LL) /* waiting for a free machine, and the way down */

static int add_host(struct job_plan *p, const char *instance, const char *group)
{
	struct job_host *h = &p->hosts[p->nhosts++];
	*h = (struct job_host){ .instance = instance, .group = group, .shape = instance_find(str_from(instance)) };
	h->name = arena_printf(p->a, "algo-%zu", p->nhosts);
	return h->shape ? 0 : -1;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

json_t *job_plan_host_names(const struct job_plan *p, const char *group)
{
	const char *names[JOB_HOSTS_MAX];
	size_t n = 0;
	for (size_t i = 0; i < p->nhosts; i++)
		if (!group || (p->hosts[i].group && strcmp(p->hosts[i].group, group) == 0))
			names[n++] = p->hosts[i].name;
	qsort(names, n, sizeof(names[0]), by_name);
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(names[i]));
	return list;
}

int job_plan_hosts(struct job_plan *p, const json_t *config, struct error *err)
{
	json_t *groups = json_get(config, "InstanceGroups"), *group;
	size_t i;
	json_array_foreach (groups, i, group)
		for (int64_t n = json_get_int(group, "InstanceCount", 0); n > 0; n--)
			if (p->nhosts == JOB_HOSTS_MAX || add_host(p, json_get_text(group, "InstanceType"),
								   json_get_text(group, "InstanceGroupName")) < 0)
				return error_set(err, "job with unusable instance groups");
	if (p->nhosts)
		return 0;
	for (int64_t n = json_get_int(config, "InstanceCount", 1); n > 0; n--)
		if (p->nhosts == JOB_HOSTS_MAX || add_host(p, json_get_text(config, "InstanceType"), NULL) < 0)
			return error_set(err, "job with an unusable instance type");
	return 0;
}

/* ---- containers ---- */

static const char *network_of(const struct job_plan *p)
{
	if (p->nhosts > 1)
		return "private";
	return p->isolated ? "none" : "host";
}

void job_plan_env(struct job_plan *p, const char *key, const char *value)
{
	for (size_t i = 0; i < p->nhosts; i++)
		json_set_text(json_get(p->hosts[i].container, "env"), key, value);
}

static int add_credentials(struct job_plan *p, struct error *err)
{
	struct iam_session session;
	int64_t run_ms =
		json_get_int(json_get(p->doc, "StoppingCondition"), "MaxRuntimeInSeconds", JOB_MAX_RUNTIME_S) * 1000;
	const char *role = json_get_text(p->doc, "RoleArn");
	if (iam_new_session(p->s->o.iam, p->t, role, "SageMaker", run_ms + SESSION_SPARE_MS, &session, err) < 0)
		return error_wrap(err, "credentials of role `%s`", role);
	const char *url = arena_printf(p->a, "http://%s:%u", p->nhosts > 1 ? "169.254.170.2" : "127.0.0.1",
				       (unsigned)p->s->o.api_port);
	job_plan_env(p, "AWS_ACCESS_KEY_ID", session.access_key);
	job_plan_env(p, "AWS_SECRET_ACCESS_KEY", session.secret_key);
	job_plan_env(p, "AWS_SESSION_TOKEN", session.token);
	job_plan_env(p, "AWS_ENDPOINT_URL", url);
	job_plan_env(p, "S3_ENDPOINT_URL", url);
	job_plan_env(p, "AWS_DISABLE_HOST_PREFIX_INJECTION", "true"); /* nobody resolves sync-127.0.0.1 */
	return 0;
}

/* The user's own variables win. */
static void add_environment(struct job_plan *p)
{
	const char *key;
	json_t *value;
	json_object_foreach (json_get(p->doc, "Environment"), key, value)
		job_plan_env(p, key, json_string_value(value));
}

static json_t *new_container(struct job_plan *p, struct job_host *h, const char *image, const json_t *entrypoint,
			     const json_t *command)
{
	json_t *c = json_object();
	int64_t memory = h->shape->memory_mib * 1024 * 1024;
	json_set_text(c, "name", h->name);
	json_set_text(c, "image", image);
	json_object_set_new(c, "entrypoint", entrypoint ? json_incref((json_t *)entrypoint) : json_null());
	json_object_set_new(c, "command", command ? json_incref((json_t *)command) : json_null());
	json_object_set_new(c, "env", json_object());
	json_object_set_new(c, "mounts", json_array());
	json_object_set_new(c, "files", json_array());
	/* PID 1 ignores signals it has no handler for: with an init of ours in front a stop is prompt. */
	json_set_bool(c, "init", true);
	if (p->nhosts > 1)
		json_set_text(c, "essential", "on-failure");
	else
		json_set_bool(c, "essential", true);
	json_set_real(c, "cpu_quota", h->shape->vcpus);
	json_set_int(c, "memory", memory);
	json_set_int(c, "shm", memory / 2);
	json_set_int(c, "stop_timeout_ms", JOB_STOP_TIMEOUT_MS);
	return c;
}

static int add_log(struct job_plan *p, struct job_host *h, struct error *err)
{
	const char *stream =
		arena_printf(p->a, "%s/%s-%lld", p->job->name, h->name, (long long)(turn_now_ms(p->t) / 1000));
	const char *path = logs_stream(p->s->o.logs, p->t, p->job->type->log_group, stream);
	if (!path)
		return error_set(err, "make log stream `%s`", stream);
	json_set_text(h->container, "log", path);
	return 0;
}

int job_plan_containers(struct job_plan *p, const char *image, const json_t *entrypoint, const json_t *command,
			struct error *err)
{
	json_t *list = json_array(), *resources = json_object();
	double cpus = 0;
	int64_t memory = 0;
	int gpus = 0;
	json_object_set_new(p->spec, "containers", list);
	for (size_t i = 0; i < p->nhosts; i++) {
		struct job_host *h = &p->hosts[i];
		h->container = new_container(p, h, image, entrypoint, command);
		json_array_append_new(list, h->container);
		if (add_log(p, h, err) < 0)
			return -1;
		cpus += h->shape->vcpus;
		memory += h->shape->memory_mib * 1024 * 1024;
		gpus += h->shape->gpus;
	}
	json_set_real(resources, "cpus", cpus);
	json_set_int(resources, "memory", memory);
	json_object_set_new(p->spec, "resources", resources);
	if (gpus)
		job_note(p->job, arena_printf(p->a, "the instance type has %d GPU%s; jobs get none on this machine",
					      gpus, gpus > 1 ? "s" : ""));
	job_plan_env(p, "AWS_REGION", p->s->o.region);
	job_plan_env(p, "AWS_DEFAULT_REGION", p->s->o.region);
	/* Spinning OpenMP threads cost more than they give where CPUs are shared. */
	job_plan_env(p, "OMP_WAIT_POLICY", "passive");
	if (!p->isolated && add_credentials(p, err) < 0)
		return -1;
	add_environment(p);
	return 0;
}

void job_plan_file(struct job_host *h, const char *path, const json_t *content)
{
	json_t *file = json_object();
	json_set_text(file, "path", path);
	CLEANUP_FREE char *text = json_text_dup(content);
	json_set_text(file, "text", text);
	json_set_int(file, "mode", 0644);
	json_array_append_new(json_get(h->container, "files"), file);
}

/* ---- mounts and outputs ---- */

static void add_mount(struct job_host *h, json_t *mount)
{
	json_array_append_new(json_get(h->container, "mounts"), mount);
}

void job_plan_scratch(struct job_plan *p, const char *name, const char *target)
{
	for (size_t i = 0; i < p->nhosts; i++) {
		json_t *m = json_object();
		json_set_text(m, "type", "scratch");
		json_set_text(m, "name", name);
		json_set_text(m, "target", target);
		add_mount(&p->hosts[i], m);
	}
}

void job_plan_output(struct job_plan *p, const char *name, const char *form, const char *when)
{
	json_t *o = json_object();
	json_set_text(o, "name", name);
	json_set_text(o, "from", name);
	json_set_text(o, "path", "");
	json_set_text(o, "form", form);
	json_set_text(o, "when", when);
	json_array_append_new(json_get(p->spec, "outputs"), o);
}

static bool in_groups(const struct job_host *h, const json_t *groups)
{
	size_t i;
	json_t *group;
	if (!json_array_size(groups) || !h->group)
		return true;
	json_array_foreach ((json_t *)groups, i, group)
		if (str_eqz(json_str(group), h->group))
			return true;
	return false;
}

static const char *add_source(struct job_plan *p, const json_t *input, bool gzip, size_t shard, size_t shards)
{
	const char *dir = arena_printf(p->a, "%zu", json_array_size(p->sources));
	json_t *source = json_object();
	json_set_text(source, "dir", dir);
	json_set_text(source, "uri", json_get_text(input, "S3Uri"));
	json_set_text(source, "type", json_get_text(input, "S3DataType"));
	json_set_int(source, "shard", (int64_t)shard);
	json_set_int(source, "shards", (int64_t)shards);
	json_set_bool(source, "gzip", gzip);
	json_array_append_new(p->sources, source);
	return arena_printf(p->a, "%s/%s", stage_dir(p->a, p->s->o.data_dir, p->task), dir);
}

void job_plan_stage(struct job_plan *p, const json_t *input, const json_t *groups, const char *target, bool gzip,
		    bool writable)
{
	bool sharded = str_eqz(json_get_str(input, "S3DataDistributionType"), "ShardedByS3Key");
	size_t members = 0, n = 0;
	const char *dir = NULL;
	for (size_t i = 0; i < p->nhosts; i++)
		members += in_groups(&p->hosts[i], groups);
	for (size_t i = 0; i < p->nhosts; i++) {
		if (!in_groups(&p->hosts[i], groups))
			continue;
		if (!dir || sharded)
			dir = add_source(p, input, gzip, sharded ? n : 0, sharded ? members : 1);
		n++;
		json_t *m = json_object();
		json_set_text(m, "type", "stage");
		json_set_text(m, "source", dir);
		json_set_text(m, "target", target);
		json_set_bool(m, "writable", writable);
		add_mount(&p->hosts[i], m);
	}
}

void job_plan_seed(struct job_plan *p, const char *name, const char *uri)
{
	CLEANUP_JSON json_t *input = json_object();
	struct str given = str_from(uri);
	/* the directory, not every key that begins like it */
	json_set_text(input, "S3Uri", str_ends(given, STR("/")) ? uri : arena_printf(p->a, "%s/", uri));
	json_set_text(input, "S3DataType", "S3Prefix");
	const char *dir = add_source(p, input, false, 0, 1);
	json_set_bool(json_array_get(p->sources, json_array_size(p->sources) - 1), "optional", true);
	for (size_t i = 0; i < p->nhosts; i++) {
		size_t k;
		json_t *m;
		json_array_foreach (json_get(p->hosts[i].container, "mounts"), k, m)
			if (str_eqz(json_get_str(m, "name"), name))
				json_set_text(m, "seed", dir);
	}
}

/* ---- the whole ---- */

static json_t *payload_of(struct job_plan *p)
{
	json_t *payload = json_object(), *stage = json_object();
	json_set_text(payload, "kind", p->job->type->kind_name);
	json_set_text(payload, "name", p->job->name);
	json_set_text(payload, "owner", turn_self(p->t));
	json_object_set(payload, "spec", p->spec);
	json_set_text(stage, "role", json_get_text(p->doc, "RoleArn"));
	json_set_text(stage, "region", p->s->o.region);
	json_object_set(stage, "sources", p->sources);
	json_object_set_new(payload, "stage", stage);
	return payload;
}

json_t *job_plan_make(struct sagemaker *s, struct turn *t, struct job *j, const char *task, struct error *err)
{
	struct job_plan p = { .s = s,
			      .t = t,
			      .a = turn_arena(t),
			      .job = j,
			      .doc = j->doc,
			      .task = task,
			      .spec = json_object(),
			      .sources = json_array() };
	json_t *payload = NULL;
	p.isolated = json_get_bool(j->type->kind == JOB_TRAINING ? j->doc : json_get(j->doc, "NetworkConfig"),
				   "EnableNetworkIsolation", false);
	json_set_text(p.spec, "id", task);
	json_object_set_new(p.spec, "outputs", json_array());
	json_set_int(p.spec, "max_runtime_ms",
		     json_get_int(json_get(j->doc, "StoppingCondition"), "MaxRuntimeInSeconds", JOB_MAX_RUNTIME_S) *
			     1000);
	if (j->type->plan(&p, err) >= 0) {
		json_set_text(p.spec, "network", network_of(&p));
		json_set_bool(p.spec, "egress", !p.isolated);
		json_set_bool(p.spec, "keep_failed", true);
		payload = payload_of(&p);
	}
	json_decref(p.spec);
	json_decref(p.sources);
	return payload;
}
