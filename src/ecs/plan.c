/* plan.c - from a task and its definition to a task spec (task.h) and the look-ups before its start.
 *
 * DESIGN: awsvpc and bridge are a private network (one for the task, or one a container), host is the machine's.
 * Volumes without a place are directories that the task's containers share and that go with it; docker volumes with
 * scope "shared" and EFS file systems are directories below <data>/volumes, which stay. Paths of the host are refused
 * by the executor unless they lie below the data directory. The environment that the platform sets can be overridden by
 * the definition, and that by the run's overrides. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "ecs/room.h"

#define MIB ((int64_t)1 << 20)

struct plan {
	struct ecs *e;
	struct arena *a;
	const json_t *task, *definition, *overrides;
	const char *id, *credentials_id;
	bool fargate, host, vpc;
	int64_t cpu, memory; /* of the task; 0 = none */
	json_t *spec, *containers, *lookups, *logs, *dirs;
	struct error *err;
};

const json_t *ecs_override(const json_t *overrides, const char *name)
{
	return ecs_by_name(json_get(overrides, "containerOverrides"), name);
}

static int64_t number(const json_t *override, const json_t *c, const char *key)
{
	return json_get_int(override, key, json_get_int(c, key, 0));
}

static const char *runtime_id(const struct plan *p, const char *name)
{
	const char *id = json_get_text(ecs_by_name(json_get(p->task, "containers"), name), "runtimeId");
	return id ? id : "";
}

/* ---- environment ---- */

static void add_pairs(json_t *env, const json_t *list)
{
	size_t i;
	json_t *v;
	json_array_foreach (list, i, v)
		if (json_get_text(v, "name"))
			json_set_text(env, json_get_text(v, "name"),
				      json_get_text(v, "value") ? json_get_text(v, "value") : "");
}

static json_t *platform_env(const struct plan *p, const char *name)
{
	json_t *env = json_object();
	const char *address = p->host ? arena_printf(p->a, "127.0.0.1:%u", p->e->o.port) : "169.254.170.2";
	json_set_text(env, "AWS_EXECUTION_ENV", p->fargate ? "AWS_ECS_FARGATE" : "AWS_ECS_EC2");
	json_set_text(env, "AWS_REGION", p->e->o.region);
	json_set_text(env, "AWS_DEFAULT_REGION", p->e->o.region);
	json_set_text(env, "AWS_ENDPOINT_URL",
		      arena_printf(p->a, "http://%s:%u", p->host ? "127.0.0.1" : "169.254.170.2", p->e->o.port));
	json_set_text(env, "AWS_DISABLE_HOST_PREFIX_INJECTION", "true"); /* nobody resolves sync-169.254.170.2 */
	json_set_text(env, "ECS_CONTAINER_METADATA_URI_V4",
		      arena_printf(p->a, "http://%s/v4/%s", address, runtime_id(p, name)));
	if (p->credentials_id && p->host)
		json_set_text(env, "AWS_CONTAINER_CREDENTIALS_FULL_URI",
			      arena_printf(p->a, "http://%s/v2/credentials/%s", address, p->credentials_id));
	else if (p->credentials_id)
		json_set_text(env, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
			      arena_printf(p->a, "/v2/credentials/%s", p->credentials_id));
	return env;
}

/* Files come first, then the definition, secrets and overrides. What must be looked up is left to the start. */
static void add_env(struct plan *p, const json_t *c, const json_t *override, json_t *out)
{
	const char *name = json_get_text(c, "name");
	json_t *env = platform_env(p, name), *own = json_object();
	add_pairs(own, json_get(c, "environment"));
	json_t *over = json_object(), *files = json_array();
	add_pairs(over, json_get(override, "environment"));
	json_array_extend(files, json_get(c, "environmentFiles"));
	json_array_extend(files, json_get(override, "environmentFiles"));
	if (json_array_size(files) || json_array_size(json_get(c, "secrets"))) {
		json_t *look = json_pack("{s:s,s:O,s:O,s:O}", "container", name, "files", files, "environment", own,
					 "override", over);
		json_copy_key(look, c, "secrets");
		json_array_append_new(p->lookups, look);
	}
	json_object_update(env, own);
	json_object_update(env, over);
	json_object_set_new(out, "env", env);
	json_decref(own);
	json_decref(over);
	json_decref(files);
}

/* ---- volumes ---- */

/* A part of a path from a user's text. */
static const char *safe(struct arena *a, const char *text)
{
	char *out = arena_strdup(a, str_from(text));
	for (char *c = out; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
			*c = '_';
	return *out && *out != '.' ? out : arena_printf(a, "v%s", out);
}

static json_t *kept_volume(struct plan *p, const char *source)
{
	json_t *m = json_pack("{s:s,s:s}", "type", "bind", "source", source);
	json_array_append_new(p->dirs, json_string(source));
	return m;
}

/* The name of a scratch directory is shorter than a volume's may be: it is the volume's number. */
static const char *scratch_name(const struct plan *p, const json_t *volume)
{
	const json_t *all = json_get(p->definition, "volumes");
	size_t n = 0;
	while (json_array_get(all, n) != volume)
		n++;
	return arena_printf(p->a, "volume-%zu", n);
}

/* `name` is one of the definition's (definition.c). */
static json_t *mount_of(struct plan *p, const char *name)
{
	const json_t *v = ecs_by_name(json_get(p->definition, "volumes"), name);
	const char *host = json_get_text(json_get(v, "host"), "sourcePath");
	const json_t *docker = json_get(v, "dockerVolumeConfiguration"), *efs = json_get(v, "efsVolumeConfiguration");
	if (host)
		return json_pack("{s:s,s:s}", "type", "bind", "source", host);
	if (docker && str_eqz(json_get_str(docker, "scope"), "shared"))
		return kept_volume(p, arena_printf(p->a, "%s/volumes/docker/%s", p->e->o.data_dir, safe(p->a, name)));
	if (efs)
		return kept_volume(p, arena_printf(p->a, "%s/volumes/efs/%s", p->e->o.data_dir,
						   safe(p->a, json_get_text(efs, "fileSystemId"))));
	return json_pack("{s:s,s:s}", "type", "scratch", "name", scratch_name(p, v));
}

static void add_mount_points(struct plan *p, const json_t *c, bool readonly, json_t *mounts)
{
	size_t i;
	json_t *point;
	json_array_foreach (json_get(c, "mountPoints"), i, point) {
		json_t *m = mount_of(p, json_get_text(point, "sourceVolume"));
		json_set_text(m, "target", json_get_text(point, "containerPath"));
		json_set_bool(m, "readonly", readonly || json_get_bool(point, "readOnly", false));
		json_array_append_new(mounts, m);
	}
}

static void add_mounts(struct plan *p, const json_t *c, json_t *out)
{
	json_t *mounts = json_array(), *one;
	size_t i;
	add_mount_points(p, c, false, mounts);
	json_array_foreach (json_get(c, "volumesFrom"), i, one) {
		const json_t *other = ecs_definition_container(p->definition, json_get_text(one, "sourceContainer"));
		add_mount_points(p, other, json_get_bool(one, "readOnly", false), mounts);
	}
	json_array_foreach (json_get_path(c, "linuxParameters.tmpfs"), i, one)
		json_array_append_new(mounts, json_pack("{s:s,s:s,s:I}", "type", "tmpfs", "target",
							json_get_text(one, "containerPath"), "size",
							(json_int_t)json_get_int(one, "size", 1) * MIB));
	json_object_set_new(out, "mounts", mounts);
}

/* ---- one container ---- */

/* CPU units as a weight, in the bounds of ECS's agent. */
static int64_t shares(int64_t units)
{
	return units < 2 ? 2 : units > 262144 ? 262144 : units;
}

int64_t ecs_gpus(struct ecs *e, const json_t *c, const json_t *override)
{
	const json_t *needs = json_get(override, "resourceRequirements") ? json_get(override, "resourceRequirements")
									 : json_get(c, "resourceRequirements");
	int64_t n = 0, one;
	size_t i;
	json_t *q;
	json_array_foreach (needs, i, q) {
		if (!str_eqz(json_get_str(q, "type"), "GPU"))
			continue;
		if (str_eqz(json_get_str(q, "value"), "ALL")) {
			pthread_mutex_lock(&e->lock);
			n += e->gpus ? e->gpus : 1;
			pthread_mutex_unlock(&e->lock);
		} else if (str_to_i64(json_get_str(q, "value"), &one) && one > 0) {
			n += one;
		}
	}
	return n;
}

/* Names, resolvers and kernel parameters of its own, and what happens when it ends. */
static void add_names(const json_t *c, json_t *out)
{
	json_t *hosts = json_array(), *dns = json_object(), *sysctls = json_object(), *one;
	size_t i;
	json_copy_key(out, c, "hostname");
	json_array_foreach (json_get(c, "extraHosts"), i, one)
		json_array_append_new(hosts, json_pack("{s:O?,s:O?}", "name", json_get(one, "hostname"), "ip",
						       json_get(one, "ipAddress")));
	json_array_foreach (json_get(c, "links"), i, one) {
		struct str alias, name, rest = json_str(one);
		str_split(&rest, ':', &name);
		alias = rest.len ? rest : name;
		json_array_append_new(
			hosts, json_pack("{s:s%,s:s%}", "name", alias.ptr, alias.len, "container", name.ptr, name.len));
	}
	json_object_set_new(out, "hosts", hosts);
	if (json_array_size(json_get(c, "dnsServers")))
		json_object_set(dns, "servers", json_get(c, "dnsServers"));
	if (json_array_size(json_get(c, "dnsSearchDomains")))
		json_object_set(dns, "search", json_get(c, "dnsSearchDomains"));
	json_object_set_new(out, "dns", dns);
	json_array_foreach (json_get(c, "systemControls"), i, one)
		if (json_get_text(one, "namespace"))
			json_object_set(sysctls, json_get_text(one, "namespace"), json_get(one, "value"));
	json_object_set_new(out, "sysctls", sysctls);
	const json_t *restart = json_get(c, "restartPolicy");
	if (json_get_bool(restart, "enabled", false))
		json_object_set_new(out, "restart",
				    json_pack("{s:I,s:O?}", "period_ms",
					      (json_int_t)json_get_int(restart, "restartAttemptPeriod", 300) * 1000,
					      "ignored", json_get(restart, "ignoredExitCodes")));
}

static void add_limits(struct plan *p, const json_t *c, const json_t *override, json_t *out)
{
	int64_t memory = number(override, c, "memory");
	const json_t *lp = json_get(c, "linuxParameters");
	size_t i;
	json_t *u, *ulimits = json_array();
	int64_t soft = number(override, c, "memoryReservation");
	if (p->cpu)
		json_set_real(out, "cpu_quota", (double)p->cpu / 1024);
	json_set_int(out, "cpu_shares", shares(number(override, c, "cpu")));
	if (memory || p->memory)
		json_set_int(out, "memory", (memory ? memory : p->memory) * MIB);
	if (soft)
		json_set_int(out, "memory_reservation", soft * MIB);
	if (json_get(lp, "maxSwap") && memory)
		json_set_int(out, "swap", json_get_int(lp, "maxSwap", 0) * MIB);
	json_copy_key(out, lp, "swappiness");
	int64_t gpus = ecs_gpus(p->e, c, override);
	if (gpus)
		json_set_int(out, "gpus", gpus);
	if (json_get(lp, "sharedMemorySize"))
		json_set_int(out, "shm", json_get_int(lp, "sharedMemorySize", 64) * MIB);
	json_array_foreach (json_get(c, "ulimits"), i, u)
		json_array_append_new(ulimits, json_pack("{s:s,s:I,s:I}", "name", json_get_text(u, "name"), "soft",
							 (json_int_t)json_get_int(u, "softLimit", 0), "hard",
							 (json_int_t)json_get_int(u, "hardLimit", 0)));
	json_object_set_new(out, "ulimits", ulimits);
	if (json_get(lp, "capabilities"))
		json_object_set_new(out, "capabilities",
				    json_pack("{s:O?,s:O?}", "add", json_get_path(lp, "capabilities.add"), "drop",
					      json_get_path(lp, "capabilities.drop")));
}

static int add_log(struct plan *p, const json_t *c)
{
	const json_t *log = json_get(c, "logConfiguration"), *o = json_get(log, "options");
	const char *driver = json_get_text(log, "logDriver"), *prefix = json_get_text(o, "awslogs-stream-prefix"),
		   *name = json_get_text(c, "name");
	if (!driver || !strcmp(driver, "json-file") || !strcmp(driver, "none") || !strcmp(driver, "awsfirelens"))
		return 0;
	if (strcmp(driver, "awslogs"))
		return ecs_client_error(
			p->err, "Log driver '%s' of container '%s' is not offered here: use awslogs or awsfirelens.",
			driver, name);
	const char *stream = prefix ? arena_printf(p->a, "%s/%s/%s", prefix, name, p->id) : runtime_id(p, name);
	json_array_append_new(p->logs, json_pack("{s:s,s:s,s:s,s:b}", "container", name, "group",
						 json_get_text(o, "awslogs-group"), "stream", stream, "create",
						 str_eq_nocase(json_get_str(o, "awslogs-create-group"), STR("true"))));
	return 0;
}

/* The documents want CMD or CMD-SHELL first, but AWS's own definitions have the bare command (["/healthcheck"]). */
static json_t *health_command(const json_t *h)
{
	json_t *command = json_copy(json_get(h, "command"));
	struct str first = json_str(json_array_get(command, 0));
	if (!str_eqz(first, "CMD") && !str_eqz(first, "CMD-SHELL"))
		json_array_insert_new(command, 0, json_string("CMD"));
	return command;
}

/* Health checks, order and ports: as the executor takes them (task.h). */
static void add_order(const json_t *c, json_t *out)
{
	const json_t *h = json_get(c, "healthCheck");
	size_t i;
	json_t *d, *after = json_array();
	json_array_foreach (json_get(c, "dependsOn"), i, d)
		json_array_append_new(after, json_pack("{s:s,s:s}", "container", json_get_text(d, "containerName"),
						       "condition", json_get_text(d, "condition")));
	if (json_array_size(after))
		json_object_set(out, "after", after);
	json_decref(after);
	if (json_get(c, "startTimeout"))
		json_set_int(out, "start_timeout_ms", json_get_int(c, "startTimeout", 0) * 1000);
	if (h && !str_eqz(json_str(json_array_get(json_get(h, "command"), 0)), "NONE"))
		json_object_set_new(out, "health",
				    json_pack("{s:o,s:I,s:I,s:I,s:I}", "command", health_command(h), "interval_ms",
					      (json_int_t)json_get_int(h, "interval", 30) * 1000, "timeout_ms",
					      (json_int_t)json_get_int(h, "timeout", 5) * 1000, "retries",
					      (json_int_t)json_get_int(h, "retries", 3), "start_period_ms",
					      (json_int_t)json_get_int(h, "startPeriod", 0) * 1000));
}

static void add_ports(struct plan *p, const json_t *c, json_t *out)
{
	size_t i;
	json_t *one, *ports = json_array();
	json_array_foreach (p->host ? NULL : json_get(c, "portMappings"), i, one) {
		int64_t first = json_get_int(one, "containerPort", 0), last = first;
		if (json_get(one, "containerPortRange"))
			ecs_port_range(json_get_text(one, "containerPortRange"), &first, &last);
		json_int_t count = last - first + 1;
		json_array_append_new(ports,
				      json_pack("{s:I,s:I,s:I,s:s?}", "container_port", (json_int_t)first, "host_port",
						(json_int_t)(p->vpc ? 0 : json_get_int(one, "hostPort", 0)), "count",
						count, "protocol", json_get_text(one, "protocol")));
	}
	if (json_array_size(ports))
		json_object_set(out, "ports", ports);
	json_decref(ports);
}

static int add_container(struct plan *p, const json_t *c)
{
	const char *name = json_get_text(c, "name");
	const json_t *override = ecs_override(p->overrides, name), *lp = json_get(c, "linuxParameters");
	const json_t *command = json_get(override, "command") ? json_get(override, "command") : json_get(c, "command");
	json_t *out = json_object();
	json_array_append_new(p->containers, out);
	if (json_get_bool(c, "privileged", false))
		return ecs_client_error(p->err, "Container '%s' asks for privileged mode, which is not offered here.",
					name);
	if (json_array_size(json_get(lp, "devices")))
		return ecs_client_error(
			p->err, "Container '%s' asks for devices of the host, which are not offered here.", name);
	json_set_text(out, "name", name);
	json_copy_key(out, c, "image");
	if (json_array_size(json_get(c, "entryPoint")))
		json_object_set(out, "entrypoint", json_get(c, "entryPoint"));
	if (json_array_size(command))
		json_object_set(out, "command", (json_t *)command);
	json_copy_key(out, c, "user");
	json_set_text(out, "workdir", json_get_text(c, "workingDirectory"));
	json_set_bool(out, "readonly_root", json_get_bool(c, "readonlyRootFilesystem", false));
	json_set_bool(out, "init", json_get_bool(lp, "initProcessEnabled", false));
	json_set_bool(out, "terminal", json_get_bool(c, "pseudoTerminal", false));
	json_set_bool(out, "stdin", json_get_bool(c, "interactive", false));
	json_set_bool(out, "essential", json_get_bool(c, "essential", true));
	json_set_int(out, "stop_timeout_ms", json_get_int(c, "stopTimeout", 30) * 1000);
	add_env(p, c, override, out);
	add_mounts(p, c, out);
	add_limits(p, c, override, out);
	add_order(c, out);
	add_names(c, out);
	add_ports(p, c, out);
	return add_log(p, c);
}

/* ---- the task ---- */

static void add_resources(struct plan *p)
{
	int64_t cpu = p->cpu, memory = p->memory, cpus = 0, sum = 0, weight = 0;
	size_t i;
	json_t *c;
	json_array_foreach (json_get(p->definition, "containerDefinitions"), i, c) {
		const json_t *o = ecs_override(p->overrides, json_get_text(c, "name"));
		int64_t soft = number(o, c, "memoryReservation");
		cpus += number(o, c, "cpu");
		weight += shares(number(o, c, "cpu"));
		sum += soft ? soft : number(o, c, "memory");
	}
	cpu = cpu ? cpu : cpus;
	memory = memory ? memory : sum;
	json_t *r = json_object();
	if (cpu >= 11)
		json_set_real(r, "cpus", (double)cpu / 1024);
	if (memory)
		json_set_int(r, "memory", memory * MIB);
	json_object_set_new(p->spec, "resources", r);
	/* What all containers may use together: the task's CPUs, or else the weight of its containers. */
	json_t *limits = json_object();
	if (p->cpu)
		json_set_real(limits, "cpus", (double)p->cpu / 1024);
	else
		json_set_int(limits, "cpu_shares", shares(weight));
	if (p->memory)
		json_set_int(limits, "memory", p->memory * MIB);
	json_object_set_new(p->spec, "limits", limits);
}

static void add_network(struct plan *p)
{
	const char *mode = json_get_text(p->definition, "networkMode");
	p->host = mode && !strcmp(mode, "host");
	json_set_text(p->spec, "network", p->host ? "host" : mode && !strcmp(mode, "none") ? "none" : "private");
	p->vpc = mode && !strcmp(mode, "awsvpc");
	json_set_bool(p->spec, "one_network", p->vpc);
	json_set_bool(p->spec, "endpoints", true);
	json_set_bool(p->spec, "egress", true);
	json_set_bool(p->spec, "report", true);
	json_set_bool(p->spec, "keep_failed", true);
}

/* Namespaces that containers share with each other. The machine's own are nobody's: whoever sees its processes can end
 * them. */
static int add_modes(struct plan *p)
{
	static const char *const keys[] = { "pidMode", "ipcMode" };
	for (size_t i = 0; i < 2; i++)
		if (str_eqz(json_get_str(p->definition, keys[i]), "host"))
			return ecs_client_error(p->err, "%s 'host' is not offered here.", keys[i]);
	json_set_bool(p->spec, "shared_pid", json_get(p->definition, "pidMode") != NULL);
	json_set_text(p->spec, "ipc", json_get_text(p->definition, "ipcMode"));
	return 0;
}

json_t *ecs_plan(struct ecs *e, struct arena *a, const json_t *task, const json_t *definition,
		 const char *credentials_id, struct error *err)
{
	struct plan p = { .e = e,
			  .a = a,
			  .task = task,
			  .definition = definition,
			  .overrides = json_get(task, "overrides"),
			  .credentials_id = credentials_id,
			  .err = err };
	json_t *plan = json_object(), *c;
	size_t i;
	p.id = strrchr(json_get_text(task, "taskArn"), '/') + 1;
	p.fargate = str_eqz(json_get_str(task, "launchType"), "FARGATE");
	p.cpu = json_get_text(task, "cpu") && json_get(definition, "cpu") ? ecs_cpu_units(json_get_text(task, "cpu"))
									  : 0;
	p.memory = json_get_text(task, "memory") && json_get(definition, "memory")
			   ? ecs_memory_mib(json_get_text(task, "memory"))
			   : 0;
	json_object_set_new(plan, "spec", p.spec = json_object());
	json_object_set_new(plan, "lookups", p.lookups = json_array());
	json_object_set_new(plan, "logs", p.logs = json_array());
	json_object_set_new(plan, "dirs", p.dirs = json_array());
	json_object_set_new(p.spec, "containers", p.containers = json_array());
	json_set_text(p.spec, "id", arena_printf(a, "ecs-%s", p.id));
	json_t *role = json_get(p.overrides, "executionRoleArn");
	json_set_text(plan, "execution_role",
		      role ? json_string_value(role) : json_get_text(definition, "executionRoleArn"));
	if (add_modes(&p) < 0) {
		json_decref(plan);
		return NULL;
	}
	add_network(&p);
	add_resources(&p);
	json_array_foreach (json_get(definition, "containerDefinitions"), i, c)
		if (add_container(&p, c) < 0) {
			json_decref(plan);
			return NULL;
		}
	ecs_firelens_plan(a, task, definition, plan);
	return plan;
}
