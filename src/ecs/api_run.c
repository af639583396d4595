/* api_run.c - RunTask: from a request to task documents and their actors. */
#include <stdio.h>
#include <stdlib.h>

#include "base/id.h"
#include "ecs/room.h"

#define TOKEN_LIFE_MS ((int64_t)24 * 3600 * 1000)

struct run {
	struct ecs *e;
	struct turn *t;
	struct arena *a;
	const json_t *in, *definition, *overrides, *strategy;
	const char *cluster, *launch, *notify;
	int64_t count, cpu, memory; /* of the task, overridden; 0 = none */
	json_t *tasks, *failures;
	struct error *err;
};

/* ---- checks ---- */

static int check_overrides(struct run *r)
{
	size_t i;
	json_t *o;
	CLEANUP_FREE char *text = r->overrides ? json_text_dup(r->overrides) : NULL;
	if (text && strlen(text) > 8192)
		return ecs_bad_parameter(r->err, "Container Overrides length must be at most 8192");
	json_array_foreach (json_get(r->overrides, "containerOverrides"), i, o) {
		const char *name = json_get_text(o, "name");
		if (!name || !ecs_definition_container(r->definition, name))
			return ecs_bad_parameter(
				r->err, "Override for container named %s is not a container in the TaskDefinition.",
				name ? name : "null");
	}
	return 0;
}

static int check_size(struct run *r)
{
	const char *cpu = json_get_text(r->overrides, "cpu"), *memory = json_get_text(r->overrides, "memory");
	cpu = cpu ? cpu : json_get_text(r->definition, "cpu");
	memory = memory ? memory : json_get_text(r->definition, "memory");
	r->cpu = cpu ? ecs_cpu_units(cpu) : 0;
	r->memory = memory ? ecs_memory_mib(memory) : 0;
	if (r->cpu < 0)
		return ecs_bad_parameter(r->err, "Invalid 'cpu' setting for task.");
	if (r->memory < 0)
		return ecs_bad_parameter(r->err, "Invalid 'memory' setting for task.");
	if (!strcmp(r->launch, "FARGATE") && !ecs_fargate_size(r->cpu, r->memory))
		return ecs_bad_parameter(r->err,
					 "No Fargate configuration exists for given values: %lld CPU, %lld memory. See "
					 "the Amazon ECS documentation for the valid values.",
					 (long long)r->cpu, (long long)r->memory);
	return 0;
}

/* The capacity provider strategy: the request's, or the cluster's default when no launch type is given either. */
static int find_strategy(struct run *r)
{
	json_t *doc = NULL;
	r->strategy = json_get(r->in, "capacityProviderStrategy");
	if (json_array_size(r->strategy) || json_get(r->in, "launchType"))
		return 0;
	if (ecs_cluster_get(turn_db(r->t), r->a, r->cluster, &doc, NULL, r->err) < 0)
		return -1;
	r->strategy = json_get(doc, "defaultCapacityProviderStrategy");
	return 0;
}

static int check_launch(struct run *r)
{
	const char *launch = json_get_text(r->in, "launchType"), *network = json_get_text(r->definition, "networkMode");
	const json_t *strategy = r->strategy, *s, *requires = json_get(r->definition, "requiresCompatibilities");
	size_t i;
	if (launch && json_array_size(strategy))
		return ecs_bad_parameter(r->err,
					 "The launch type and the capacity provider strategy can't both be specified.");
	json_array_foreach (strategy, i, s)
		if (!str_eqz(json_get_str(s, "capacityProvider"), "FARGATE") &&
		    !str_eqz(json_get_str(s, "capacityProvider"), "FARGATE_SPOT"))
			return ecs_bad_parameter(r->err,
						 "The specified capacity provider '%s' was not found. Specify a valid "
						 "name or ARN and try again.",
						 json_get_text(s, "capacityProvider"));
	r->launch = launch ? launch : json_array_size(strategy) ? "FARGATE" : "EC2";
	if (strcmp(r->launch, "EC2") && strcmp(r->launch, "FARGATE"))
		return ecs_bad_parameter(r->err, "No Container Instances were found in your cluster.");
	if (!strcmp(r->launch, "FARGATE") && !ecs_has_text(json_get(r->definition, "compatibilities"), "FARGATE"))
		return ecs_bad_parameter(r->err, "Task definition does not support launch_type FARGATE.");
	if (json_array_size(requires) && !ecs_has_text(requires, r->launch))
		return ecs_bad_parameter(r->err, "Task definition does not support launch_type %s.", r->launch);
	bool vpc = network && !strcmp(network, "awsvpc"),
	     given = json_get_path(r->in, "networkConfiguration.awsvpcConfiguration") != NULL;
	if (vpc && !given)
		return ecs_bad_parameter(
			r->err, "Network Configuration must be provided when networkMode 'awsvpc' is specified.");
	if (!vpc && given)
		return ecs_bad_parameter(
			r->err,
			"Network Configuration is not valid for the given networkMode of this task definition.");
	return 0;
}

static int find_definition(struct run *r)
{
	json_t *doc = NULL;
	int rc = ecs_definition_get(turn_db(r->t), r->a, json_get_text(r->in, "taskDefinition"), &doc, r->err);
	if (rc <= 0)
		return rc < 0 ? -1 : ecs_client_error(r->err, "TaskDefinition not found.");
	if (!str_eqz(json_get_str(doc, "status"), "ACTIVE"))
		return ecs_client_error(r->err, "TaskDefinition is inactive");
	r->definition = doc;
	return 0;
}

static int check(struct run *r)
{
	const char *started_by = json_get_text(r->in, "startedBy");
	r->count = json_get_int(r->in, "count", 1);
	r->overrides = json_get(r->in, "overrides");
	if (r->count < 1 || r->count > 10)
		return ecs_bad_parameter(r->err, "Count must be between 1 and 10.");
	if (started_by && strlen(started_by) > 128)
		return ecs_bad_parameter(r->err, "startedBy must be at most 128 characters long.");
	if (ecs_cluster_need(turn_db(r->t), r->a, json_get_text(r->in, "cluster"), &r->cluster, r->err) < 0 ||
	    find_definition(r) < 0)
		return -1;
	if (find_strategy(r) < 0 || check_launch(r) < 0 || check_overrides(r) < 0)
		return -1;
	return check_size(r);
}

/* What can never run here: a reason for `failures`, or NULL. */
static const char *never_fits(struct run *r)
{
	int64_t cpu = r->cpu, memory = r->memory, cpus = 0, sum = 0, gpus = 0, have_bytes, have_gpus;
	double have;
	size_t i;
	json_t *c;
	json_array_foreach (json_get(r->definition, "containerDefinitions"), i, c) {
		const json_t *o = ecs_override(r->overrides, json_get_text(c, "name"));
		gpus += ecs_gpus(r->e, c, o);
		cpus += json_get_int(o, "cpu", json_get_int(c, "cpu", 0));
		int64_t soft = json_get_int(o, "memoryReservation", json_get_int(c, "memoryReservation", 0));
		sum += soft ? soft : json_get_int(o, "memory", json_get_int(c, "memory", 0));
	}
	cpu = cpu ? cpu : cpus;
	memory = memory ? memory : sum;
	ecs_machine(r->e, &have, &have_bytes, &have_gpus);
	if (gpus > have_gpus)
		return "RESOURCE:GPU";
	if (have > 0 && (double)cpu > have * 1024 + 0.5)
		return "RESOURCE:CPU";
	if (have_bytes > 0 && memory > have_bytes >> 20)
		return "RESOURCE:MEMORY";
	return NULL;
}

/* ---- one task ---- */

/* Task n of the call by base and weights, in the order of the strategy. */
static const char *provider_of(const json_t *strategy, int64_t n)
{
	int64_t total = 0;
	size_t i;
	json_t *s;
	json_array_foreach (strategy, i, s) {
		int64_t base = json_get_int(s, "base", 0);
		if (n < base)
			return json_get_text(s, "capacityProvider");
		n -= base;
		total += json_get_int(s, "weight", 0);
	}
	n = total ? n % total : 0;
	json_array_foreach (strategy, i, s) {
		int64_t weight = total ? json_get_int(s, "weight", 0) : 1;
		if (n < weight)
			return json_get_text(s, "capacityProvider");
		n -= weight;
	}
	return NULL;
}

static json_t *container_doc(struct run *r, const json_t *c, const char *task_id, const char *task_arn, size_t n)
{
	const char *name = json_get_text(c, "name");
	const json_t *o = ecs_override(r->overrides, name);
	static const char *const sizes[] = { "cpu", "memory", "memoryReservation" };
	json_t *out = json_object();
	json_set_text(
		out, "containerArn",
		ecs_arn(r->e, r->a, "container", arena_printf(r->a, "%s/%s/%s", r->cluster, task_id, turn_uuid(r->t))));
	json_set_text(out, "taskArn", task_arn);
	json_set_text(out, "name", name);
	json_copy_key(out, c, "image");
	json_set_text(out, "runtimeId", arena_printf(r->a, "%s-%zu", task_id, n));
	json_set_text(out, "lastStatus", "PENDING");
	json_object_set_new(out, "networkInterfaces", json_array());
	json_set_text(out, "healthStatus", "UNKNOWN");
	if (json_get_bool(r->in, "enableExecuteCommand", false))
		json_object_set_new(out, "managedAgents",
				    json_pack("[{s:s, s:s}]", "name", "ExecuteCommandAgent", "lastStatus", "PENDING"));
	for (size_t i = 0; i < 3; i++) {
		int64_t value = json_get_int(o, sizes[i], json_get_int(c, sizes[i], 0));
		if (value || i == 0)
			json_set_text(out, sizes[i], arena_printf(r->a, "%lld", (long long)value));
	}
	return out;
}

static void add_tags(struct run *r, json_t *doc)
{
	json_t *tags = json_array();
	if (str_eqz(json_get_str(r->in, "propagateTags"), "TASK_DEFINITION"))
		json_array_extend(tags, json_get(r->definition, "tags"));
	json_array_extend(tags, json_get(r->in, "tags"));
	if (json_get_bool(r->in, "enableECSManagedTags", false))
		json_array_append_new(tags, json_pack("{s:s,s:s}", "key", "aws:ecs:clusterName", "value", r->cluster));
	json_object_set_new(doc, "tags", tags);
}

static void add_launch(struct run *r, json_t *doc, int64_t n)
{
	const char *provider = provider_of(r->strategy, n);
	json_set_text(doc, "launchType", r->launch);
	if (strcmp(r->launch, "FARGATE")) {
		json_set_text(doc, "containerInstanceArn",
			      ecs_arn(r->e, r->a, "container-instance",
				      arena_printf(r->a, "%s/%s", r->cluster, ecs_instance_id(r->a, r->cluster))));
		return;
	}
	json_set_text(doc, "capacityProviderName", provider);
	json_set_text(doc, "platformVersion", "1.4.0");
	json_set_text(doc, "platformFamily", "Linux");
	int64_t disk = json_get_int(json_get_path(r->overrides, "ephemeralStorage"), "sizeInGiB",
				    json_get_int(json_get(r->definition, "ephemeralStorage"), "sizeInGiB", 20));
	json_object_set_new(doc, "ephemeralStorage", json_pack("{s:I}", "sizeInGiB", (json_int_t)disk));
}

static json_t *task_doc(struct run *r, const char *id, int64_t n)
{
	json_t *doc = json_object(), *containers = json_array(), *c, *overrides = json_object();
	const char *arn = ecs_arn(r->e, r->a, "task", arena_printf(r->a, "%s/%s", r->cluster, id)),
		   *group = json_get_text(r->in, "group");
	size_t i;
	json_set_text(doc, "taskArn", arn);
	json_set_text(doc, "clusterArn", ecs_arn(r->e, r->a, "cluster", r->cluster));
	json_copy_key(doc, r->definition, "taskDefinitionArn");
	json_set_text(doc, "availabilityZone", arena_printf(r->a, "%sa", r->e->o.region));
	json_object_set_new(doc, "attachments", json_array());
	json_object_set_new(doc, "attributes", json_array());
	json_array_foreach (json_get(r->definition, "containerDefinitions"), i, c)
		json_array_append_new(containers, container_doc(r, c, id, arn, i));
	json_object_set_new(doc, "containers", containers);
	json_set_text(doc, "cpu", arena_printf(r->a, "%lld", (long long)r->cpu));
	json_set_text(doc, "memory", arena_printf(r->a, "%lld", (long long)r->memory));
	json_set_real(doc, "createdAt", ecs_seconds(turn_now_ms(r->t)));
	json_set_text(doc, "desiredStatus", "RUNNING");
	json_set_text(doc, "lastStatus", "PROVISIONING");
	json_set_text(doc, "healthStatus", "UNKNOWN");
	json_set_bool(doc, "enableExecuteCommand", json_get_bool(r->in, "enableExecuteCommand", false));
	json_set_text(doc, "group",
		      group ? group : arena_printf(r->a, "family:%s", json_get_text(r->definition, "family")));
	json_object_update(overrides, r->overrides ? (json_t *)r->overrides : overrides);
	if (!json_get(overrides, "containerOverrides"))
		json_object_set_new(overrides, "containerOverrides", json_array());
	if (!json_get(overrides, "inferenceAcceleratorOverrides"))
		json_object_set_new(overrides, "inferenceAcceleratorOverrides", json_array());
	json_object_set_new(doc, "overrides", overrides);
	json_copy_key(doc, r->in, "startedBy");
	json_set_int(doc, "version", 1);
	add_launch(r, doc, n);
	add_tags(r, doc);
	return doc;
}

static int start_one(struct run *r, int64_t n)
{
	char id[33];
	uint64_t words[2] = { turn_random(r->t), turn_random(r->t) };
	hex_encode(id, words, 16);
	json_t *doc = ecs_keep(r->a, task_doc(r, id, n));
	const char *role = json_get_text(r->overrides, "taskRoleArn"), *credentials = NULL;
	role = role ? role : json_get_text(r->definition, "taskRoleArn");
	if (role && !(credentials = ecs_credentials_new(r->t, id, role, r->err)))
		return -1;
	json_t *plan = ecs_plan(r->e, r->a, doc, r->definition, credentials, r->err);
	if (!plan)
		return -1;
	json_t *state = json_pack("{s:s,s:o}", "id", id, "plan", plan);
	json_set_text(state, "notify", r->notify);
	if (ecs_task_put(turn_db(r->t), doc, r->err) < 0 ||
	    turn_spawn(r->t, "ecs.task", ecs_task_actor(r->a, id), state, r->err) < 0)
		return -1;
	json_array_append(r->tasks, doc);
	return 0;
}

/* ---- clientToken ---- */

/* 1: answered with the tasks of the first call. */
static int repeated(struct run *r, const char *token, const char *request)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_exec(turn_db(r->t), r->err, "DELETE FROM ecs_run WHERE at_ms<?", "i",
		    turn_now_ms(r->t) - TOKEN_LIFE_MS) < 0)
		return -1;
	int rc = db_row(turn_db(r->t), &rows, r->err, "SELECT request, tasks FROM ecs_run WHERE cluster=? AND token=?",
			"ss", r->cluster, token);
	if (rc <= 0)
		return rc;
	json_t *ids = ecs_keep(r->a, json_parse(rows_str(&rows, 1), r->err)), *id, *doc = NULL;
	size_t i;
	if (!str_eqz(rows_str(&rows, 0), request))
		return error_aws(r->err, "ConflictException",
				 "The client token '%s' was used with different request parameters.", token);
	rows_done(&rows);
	json_array_foreach (ids, i, id) {
		rc = ecs_task_get(turn_db(r->t), r->a, NULL, json_string_value(id), &doc, r->err);
		if (rc < 0)
			return -1;
		if (rc)
			json_array_append(r->tasks, doc);
	}
	return 1;
}

static int remember(struct run *r, const char *token, const char *request)
{
	json_t *ids = ecs_keep(r->a, json_array()), *task;
	size_t i;
	json_array_foreach (r->tasks, i, task)
		json_array_append_new(ids, json_string(strrchr(json_get_text(task, "taskArn"), '/') + 1));
	CLEANUP_FREE char *text = json_text_dup(ids);
	return db_exec(turn_db(r->t), r->err,
		       "INSERT INTO ecs_run(cluster, token, request, tasks, at_ms) VALUES(?,?,?,?,?)", "ssssi",
		       r->cluster, token, request, text, turn_now_ms(r->t)) < 0
		       ? -1
		       : 0;
}

static int start_all(struct run *r)
{
	const char *token = json_get_text(r->in, "clientToken");
	CLEANUP_FREE char *request = json_text_dup(r->in);
	int rc = token ? repeated(r, token, request) : 0;
	if (rc)
		return rc < 0 ? -1 : 0;
	const char *why = never_fits(r);
	for (int64_t n = 0; n < r->count; n++) {
		if (why) {
			const char *arn =
				ecs_arn(r->e, r->a, "container-instance",
					arena_printf(r->a, "%s/%s", r->cluster, ecs_instance_id(r->a, r->cluster)));
			json_array_append_new(r->failures, json_pack("{s:s,s:s}", "arn", arn, "reason", why));
			if (str_eqz(str_from(r->launch), "EC2")) /* one instance, one failure */
				break;
		} else if (start_one(r, n) < 0) {
			return -1;
		}
	}
	return token ? remember(r, token, request) : 0;
}

int ecs_run_task(struct ecs *e, struct turn *t, const json_t *in, const char *notify, json_t **out, struct error *err)
{
	struct run r = { .e = e, .t = t, .a = turn_arena(t), .in = in, .notify = notify, .err = err };
	r.tasks = json_array();
	r.failures = json_array();
	*out = json_pack("{s:o,s:o}", "tasks", r.tasks, "failures", r.failures);
	if (check(&r) == 0 && start_all(&r) == 0)
		return 0;
	json_decref(*out);
	*out = NULL;
	return -1;
}
