/* definition.c - what a task definition must be.
 *
 * DESIGN: what the model cannot say: sizes, modes that exclude each other, names that must exist. The texts are AWS's
 * where they are known. The result is the document that DescribeTaskDefinition shows, without family revision and
 * times. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "ecs/room.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* "1 vCPU", ".5 vcpu", "1024" */
static int64_t quantity(const char *text, const char *unit, double per)
{
	char *end;
	if (!text || !isdigit((unsigned char)text[*text == '.']))
		return -1;
	double n = strtod(text, &end);
	if (end != text + strspn(text, "0123456789.") || n <= 0 || n > 1e9)
		return -1;
	while (*end == ' ')
		end++;
	if (!*end)
		return n == (double)(int64_t)n ? (int64_t)n : -1;
	if (strcasecmp(end, unit))
		return -1;
	return (int64_t)(n * per + 0.5);
}

int64_t ecs_cpu_units(const char *text)
{
	return quantity(text, "vcpu", 1024);
}

int64_t ecs_memory_mib(const char *text)
{
	return quantity(text, "gb", 1024);
}

bool ecs_fargate_size(int64_t cpu, int64_t memory)
{
	static const struct {
		int64_t cpu, low, high, step;
	} sizes[] = { { 512, 1024, 4096, 1024 },   { 1024, 2048, 8192, 1024 },   { 2048, 4096, 16384, 1024 },
		      { 4096, 8192, 30720, 1024 }, { 8192, 16384, 61440, 4096 }, { 16384, 32768, 122880, 8192 } };
	if (cpu == 256)
		return memory == 512 || memory == 1024 || memory == 2048;
	for (size_t i = 0; i < COUNT(sizes); i++)
		if (sizes[i].cpu == cpu)
			return memory >= sizes[i].low && memory <= sizes[i].high &&
			       (memory - sizes[i].low) % sizes[i].step == 0;
	return false;
}

struct check {
	struct ecs *e;
	struct arena *a;
	const json_t *in;
	json_t *containers;
	bool fargate;
	const char *network;
	int64_t cpu, memory; /* of the task; 0 = not set */
	struct error *err;
};

static bool chars_ok(const char *text, size_t max)
{
	size_t n = strlen(text);
	return n >= 1 && n <= max &&
	       strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == n;
}

const json_t *ecs_definition_container(const json_t *definition, const char *name)
{
	return ecs_by_name(json_get(definition, "containerDefinitions"), name);
}

/* ---- parts of a container ---- */

static int check_memory(struct check *k, const json_t *c, const char *name)
{
	int64_t hard = json_get_int(c, "memory", 0), soft = json_get_int(c, "memoryReservation", 0);
	if (!hard && !soft && !k->memory)
		return ecs_client_error(k->err,
					"Invalid setting for container '%s'. At least one of 'memory' or "
					"'memoryReservation' must be specified.",
					name);
	if ((json_get(c, "memory") && hard < 6) || (json_get(c, "memoryReservation") && soft < 6))
		return ecs_client_error(
			k->err,
			"Invalid setting for container '%s'. 'memory' and 'memoryReservation' must be at least 6 MiB.",
			name);
	if (hard && soft && soft > hard)
		return ecs_client_error(k->err,
					"Invalid setting for container '%s'. 'memory' should be greater than or equal "
					"to 'memoryReservation'.",
					name);
	if (k->memory && hard > k->memory)
		return ecs_client_error(k->err,
					"Invalid setting for container '%s'. The container memory (%lld MiB) is larger "
					"than the task memory (%lld MiB).",
					name, (long long)hard, (long long)k->memory);
	if (json_get_int(c, "cpu", 0) < 0)
		return ecs_client_error(k->err, "Invalid setting for container '%s'. 'cpu' must not be negative.",
					name);
	return 0;
}

int ecs_port_range(const char *text, int64_t *first, int64_t *last)
{
	struct str rest = str_from(text), low;
	str_split(&rest, '-', &low);
	if (!str_to_i64(low, first) || !str_to_i64(rest, last))
		return -1;
	return *first < 1 || *last < *first || *last > 65535 ? -1 : 0;
}

/* The published port of each is chosen when the task starts. */
static int check_port_range(struct check *k, json_t *p)
{
	const char *range = json_get_text(p, "containerPortRange");
	int64_t first, last;
	if (json_get(p, "containerPort") || json_get(p, "hostPort"))
		return ecs_client_error(k->err, "Invalid port mapping: containerPortRange can't be used with "
						"containerPort or hostPort.");
	if (!strcmp(k->network, "host"))
		return ecs_client_error(k->err, "containerPortRange is not supported when networkMode=host.");
	if (ecs_port_range(range, &first, &last) < 0)
		return ecs_client_error(k->err,
					"Invalid containerPortRange: %s. It must be two ports between 1 and "
					"65535, the lower one first.",
					range);
	if (last - first + 1 > 100)
		return ecs_client_error(k->err,
					"Invalid containerPortRange: %s. A container can have at most 100 ports "
					"in ranges.",
					range);
	if (!json_get(p, "protocol"))
		json_set_text(p, "protocol", "tcp");
	return 0;
}

static int check_ports(struct check *k, json_t *c)
{
	size_t i;
	json_t *p;
	json_array_foreach (json_get(c, "portMappings"), i, p) {
		int64_t port = json_get_int(p, "containerPort", 0), host = json_get_int(p, "hostPort", 0);
		if (json_get(p, "containerPortRange")) {
			if (check_port_range(k, p) < 0)
				return -1;
			continue;
		}
		if (port < 1 || port > 65535 || host < 0 || host > 65535)
			return ecs_client_error(k->err, "Invalid port mapping: containerPort must be between 1 and "
							"65535 and hostPort between 0 and 65535.");
		bool same = !strcmp(k->network, "awsvpc") || !strcmp(k->network, "host");
		if (same && host && host != port)
			return ecs_client_error(
				k->err,
				"When networkMode=%s, the host ports and container ports in port mappings must match.",
				k->network);
		json_set_int(p, "hostPort", same ? port : host);
		if (!json_get(p, "protocol"))
			json_set_text(p, "protocol", "tcp");
	}
	return 0;
}

static int check_health(struct check *k, json_t *c, const char *name)
{
	static const struct {
		const char *key;
		int64_t low, high, standard;
	} ranges[] = { { "interval", 5, 300, 30 },
		       { "timeout", 2, 60, 5 },
		       { "retries", 1, 10, 3 },
		       { "startPeriod", 0, 300, 0 } };
	json_t *h = json_get(c, "healthCheck");
	if (!h)
		return 0;
	if (!json_array_size(json_get(h, "command")))
		return ecs_client_error(k->err, "Container '%s': the health check has no command.", name);
	for (size_t i = 0; i < COUNT(ranges); i++) {
		int64_t n = json_get_int(h, ranges[i].key, ranges[i].standard);
		if (n < ranges[i].low || n > ranges[i].high)
			return ecs_client_error(k->err,
						"Container '%s': health check %s must be between %lld and %lld.", name,
						ranges[i].key, (long long)ranges[i].low, (long long)ranges[i].high);
		if (i < 3)
			json_set_int(h, ranges[i].key, n);
	}
	return 0;
}

static int check_logs(struct check *k, const json_t *c, const char *name)
{
	const json_t *log = json_get(c, "logConfiguration"), *options = json_get(log, "options");
	const char *driver = json_get_text(log, "logDriver");
	if (!driver || strcmp(driver, "awslogs"))
		return 0;
	if (!json_get_text(options, "awslogs-group"))
		return ecs_client_error(k->err, "Log driver awslogs requires options: awslogs-group (container '%s')",
					name);
	if (!json_get_text(options, "awslogs-region"))
		return ecs_client_error(k->err, "Log driver awslogs requires options: awslogs-region (container '%s')",
					name);
	if (k->fargate && !json_get_text(options, "awslogs-stream-prefix"))
		return ecs_client_error(k->err,
					"When logDriver is set to awslogs, awslogs-stream-prefix is required for "
					"Fargate (container '%s')",
					name);
	if (k->fargate && !json_get(k->in, "executionRoleArn"))
		return ecs_client_error(
			k->err,
			"Fargate requires task definition to have execution role ARN to support log driver awslogs.");
	return 0;
}

static int check_mounts(struct check *k, const json_t *c)
{
	size_t i;
	json_t *m;
	json_array_foreach (json_get(c, "mountPoints"), i, m)
		if (!ecs_by_name(json_get(k->in, "volumes"), json_get_text(m, "sourceVolume")))
			return ecs_client_error(k->err, "Unknown volume '%s'.",
						json_get_text(m, "sourceVolume") ? json_get_text(m, "sourceVolume")
										 : "");
		else if (!json_get_text(m, "containerPath"))
			return ecs_client_error(k->err,
						"Container.mountPoints.containerPath should not be null or empty.");
	json_array_foreach (json_get(c, "volumesFrom"), i, m)
		if (!ecs_by_name(k->containers, json_get_text(m, "sourceContainer")))
			return ecs_client_error(
				k->err, "Unknown container '%s' in volumesFrom.",
				json_get_text(m, "sourceContainer") ? json_get_text(m, "sourceContainer") : "");
	return 0;
}

static int check_secrets(struct check *k, const json_t *c)
{
	size_t i;
	json_t *s;
	json_array_foreach (json_get(c, "secrets"), i, s) {
		size_t n;
		json_t *v;
		json_array_foreach (json_get(c, "environment"), n, v)
			if (str_eq(json_get_str(s, "name"), json_get_str(v, "name")))
				return ecs_client_error(
					k->err,
					"The secret name must be unique and not shared with any new or existing "
					"environment variables set on the container, such as '%s'.",
					json_get_text(s, "name"));
	}
	if (json_array_size(json_get(c, "secrets")) && !json_get(k->in, "executionRoleArn"))
		return ecs_client_error(k->err, "When you are specifying container secrets, you must also specify a "
						"value for 'executionRoleArn'.");
	return 0;
}

static int check_depends(struct check *k, const json_t *c, const char *name)
{
	size_t i;
	json_t *d;
	json_array_foreach (json_get(c, "dependsOn"), i, d) {
		const char *other = json_get_text(d, "containerName"), *condition = json_get_text(d, "condition");
		const json_t *o = ecs_by_name(k->containers, other);
		if (!o || !strcmp(other, name))
			return ecs_client_error(k->err,
						"Container '%s' depends on '%s', which is not another container of the "
						"task definition.",
						name, other ? other : "");
		if (!strcmp(condition, "HEALTHY") && !json_get(o, "healthCheck"))
			return ecs_client_error(
				k->err,
				"A container dependency with condition HEALTHY needs a health check on container '%s'.",
				other);
		if ((!strcmp(condition, "COMPLETE") || !strcmp(condition, "SUCCESS")) &&
		    json_get_bool(o, "essential", true))
			return ecs_client_error(
				k->err,
				"A container dependency with condition %s is not allowed on essential container '%s'.",
				condition, other);
	}
	return 0;
}

static int check_restart(struct check *k, const json_t *c, const char *name)
{
	int64_t period = json_get_int(json_get(c, "restartPolicy"), "restartAttemptPeriod", 300);
	if (period < 60 || period > 1800)
		return ecs_client_error(k->err,
					"Invalid setting for container '%s'. restartAttemptPeriod must be between 60 "
					"and 1800 seconds.",
					name);
	return 0;
}

static int check_links(struct check *k, const json_t *c)
{
	size_t i;
	json_t *one;
	json_array_foreach (json_get(c, "links"), i, one) {
		struct str name, rest = json_str(one);
		str_split(&rest, ':', &name);
		if (strcmp(k->network, "bridge"))
			return ecs_client_error(k->err, "Links are not supported when networkMode=%s.", k->network);
		if (!ecs_by_name(k->containers, arena_strdup(k->a, name)))
			return ecs_client_error(k->err,
						"Container '%s' links to '%.*s', which is not a container of "
						"the task definition.",
						json_get_text(c, "name"), STR_ARG(name));
	}
	return 0;
}

static int check_names(struct check *k, const json_t *c)
{
	static const char *const bridge_only[] = { "hostname", "extraHosts" };
	for (size_t i = 0; i < COUNT(bridge_only) && !strcmp(k->network, "awsvpc"); i++) {
		const json_t *value = json_get(c, bridge_only[i]);
		if (json_is_string(value) || json_array_size(value))
			return ecs_client_error(k->err, "%s is not supported on container when networkMode=awsvpc.",
						bridge_only[i]);
	}
	return 0;
}

static int check_requirements(struct check *k, const json_t *c, const char *name)
{
	size_t i;
	json_t *q;
	int64_t n;
	json_array_foreach (json_get(c, "resourceRequirements"), i, q) {
		const char *type = json_get_text(q, "type");
		if (strcmp(type, "GPU"))
			return ecs_client_error(k->err, "Container '%s' asks for %s, which is not offered here.", name,
						type);
		if (k->fargate)
			return ecs_client_error(k->err,
						"Fargate does not support GPU resource requirements (container "
						"'%s').",
						name);
		if (!str_eqz(json_get_str(q, "value"), "ALL") &&
		    (!str_to_i64(json_get_str(q, "value"), &n) || n < 1 || n > 64))
			return ecs_client_error(
				k->err,
				"Invalid setting for container '%s'. The number of GPUs must be a whole "
				"number.",
				name);
	}
	return 0;
}

static int check_fargate_container(struct check *k, const json_t *c, const char *name)
{
	const json_t *lp = json_get(c, "linuxParameters");
	if (json_get_bool(c, "privileged", false))
		return ecs_client_error(k->err, "Fargate does not support privileged mode (container '%s').", name);
	if (json_get(lp, "devices") || json_get(lp, "tmpfs") || json_get(lp, "sharedMemorySize"))
		return ecs_client_error(
			k->err,
			"Fargate does not support linuxParameters devices, tmpfs or sharedMemorySize (container '%s').",
			name);
	int64_t stop = json_get_int(c, "stopTimeout", 0), start = json_get_int(c, "startTimeout", 2);
	if (stop < 0 || stop > 120)
		return ecs_client_error(
			k->err,
			"Invalid setting for container '%s'. stopTimeout must be between 0 and 120 seconds on Fargate.",
			name);
	if (start < 2 || start > 120)
		return ecs_client_error(k->err,
					"Invalid setting for container '%s'. startTimeout must be between 2 and 120 "
					"seconds on Fargate.",
					name);
	return 0;
}

/* Members that the API shows even when they were not given. */
static void complete_container(json_t *c)
{
	static const char *const lists[] = { "portMappings", "environment", "mountPoints", "volumesFrom",
					     "systemControls" };
	if (!json_get(c, "cpu"))
		json_set_int(c, "cpu", 0);
	if (!json_get(c, "essential"))
		json_set_bool(c, "essential", true);
	for (size_t i = 0; i < COUNT(lists); i++)
		if (!json_get(c, lists[i]))
			json_object_set_new(c, lists[i], json_array());
}

static int check_container(struct check *k, json_t *c)
{
	const char *name = json_get_text(c, "name"), *image = json_get_text(c, "image");
	if (!name || !*name)
		return ecs_client_error(k->err, "Container.name should not be null or empty.");
	if (!chars_ok(name, 255))
		return ecs_client_error(k->err,
					"Invalid container name: %s. Container names can contain up to 255 letters, "
					"numbers, hyphens and underscores.",
					name);
	if (ecs_by_name(k->containers, name) != c)
		return ecs_client_error(k->err, "Container.name must be unique: '%s' is used more than once.", name);
	if (!image || !*image)
		return ecs_client_error(k->err, "Container.image should not be null or empty.");
	if (strpbrk(image, " \t\n"))
		return ecs_client_error(k->err, "Container.image contains invalid characters.");
	if (check_memory(k, c, name) < 0 || check_ports(k, c) < 0 || check_health(k, c, name) < 0 ||
	    check_logs(k, c, name) < 0 || check_mounts(k, c) < 0 || check_secrets(k, c) < 0 ||
	    check_depends(k, c, name) < 0 || check_restart(k, c, name) < 0 || check_names(k, c) < 0 ||
	    check_links(k, c) < 0 || check_requirements(k, c, name) < 0 ||
	    (k->fargate && check_fargate_container(k, c, name) < 0))
		return -1;
	complete_container(c);
	return 0;
}

/* ---- the whole ---- */

/* Removes containers whose dependencies are all gone until none is left; else there is a cycle. */
static int check_cycles(struct check *k)
{
	size_t n = json_array_size(k->containers), left = n;
	bool *gone = ARENA_ARRAY(k->a, bool, n + 1);
	for (bool moved = true; moved && left;) {
		moved = false;
		for (size_t i = 0; i < n; i++) {
			bool free_now = !gone[i];
			const json_t *deps = json_get(json_array_get(k->containers, i), "dependsOn");
			for (size_t d = 0; d < json_array_size(deps) && free_now; d++)
				for (size_t o = 0; o < n; o++)
					if (!gone[o] && str_eq(json_get_str(json_array_get(k->containers, o), "name"),
							       json_get_str(json_array_get(deps, d), "containerName")))
						free_now = false;
			if (free_now)
				gone[i] = moved = true, left--;
		}
	}
	return left ? ecs_client_error(k->err, "Container dependencies must not form a cycle.") : 0;
}

static int check_size(struct check *k)
{
	const char *cpu = json_get_text(k->in, "cpu"), *memory = json_get_text(k->in, "memory");
	k->cpu = cpu ? ecs_cpu_units(cpu) : 0;
	k->memory = memory ? ecs_memory_mib(memory) : 0;
	if (k->cpu < 0)
		return ecs_client_error(k->err, "Invalid 'cpu' setting for task.");
	if (k->memory < 0)
		return ecs_client_error(k->err, "Invalid 'memory' setting for task.");
	if (!k->fargate) {
		if (k->cpu && (k->cpu < 128 || k->cpu > 196608))
			return ecs_client_error(k->err,
						"Invalid 'cpu' setting for task. The supported values are between 128 "
						"CPU units (0.125 vCPUs) and 196608 CPU units (192 vCPUs).");
		return 0;
	}
	if (!cpu)
		return ecs_client_error(k->err, "Fargate requires that 'cpu' be defined at the task level.");
	if (!memory)
		return ecs_client_error(k->err, "Fargate requires that 'memory' be defined at the task level.");
	if (!ecs_fargate_size(k->cpu, k->memory))
		return ecs_client_error(k->err,
					"No Fargate configuration exists for given values: %lld CPU, %lld memory. See "
					"the Amazon ECS documentation for the valid values.",
					(long long)k->cpu, (long long)k->memory);
	return 0;
}

static int check_fargate_modes(struct check *k)
{
	const char *pid = json_get_text(k->in, "pidMode");
	if (json_get(k->in, "ipcMode"))
		return ecs_client_error(k->err, "Tasks using the Fargate launch type do not support ipcMode.");
	if (pid && strcmp(pid, "task"))
		return ecs_client_error(k->err,
					"Tasks using the Fargate launch type do not support pidMode '%s'. The "
					"supported value for pidMode is 'task'.",
					pid);
	return 0;
}

/* Could it run on Fargate, whatever it says? */
static bool fits_fargate(const struct check *k)
{
	return !strcmp(k->network, "awsvpc") && k->cpu && k->memory && ecs_fargate_size(k->cpu, k->memory) &&
	       !json_get(k->in, "ipcMode") && !str_eqz(json_get_str(k->in, "pidMode"), "host");
}

static int check_task(struct check *k)
{
	const char *network = json_get_text(k->in, "networkMode");
	const json_t *storage = json_get(k->in, "ephemeralStorage");
	if (!chars_ok(json_get_text(k->in, "family"), 255))
		return ecs_client_error(k->err,
					"Invalid family name: %s. Family names can contain up to 255 letters, numbers, "
					"hyphens and underscores.",
					json_get_text(k->in, "family"));
	k->fargate = ecs_has_text(json_get(k->in, "requiresCompatibilities"), "FARGATE");
	if (k->fargate && (!network || strcmp(network, "awsvpc")))
		return ecs_client_error(k->err, "Fargate only supports network mode 'awsvpc'.");
	if (k->fargate && check_fargate_modes(k) < 0)
		return -1;
	k->network = network ? network : "bridge";
	if (!json_array_size(k->containers))
		return ecs_client_error(k->err, "TaskDefinition.containerDefinitions should not be null or empty.");
	if (json_array_size(k->containers) > 10)
		return ecs_client_error(k->err, "Too many containers in the task definition: at most 10 are allowed.");
	if (storage && (json_get_int(storage, "sizeInGiB", 0) < 20 || json_get_int(storage, "sizeInGiB", 0) > 200))
		return ecs_client_error(k->err, "EphemeralStorage size should be between 21 and 200 GiB.");
	size_t i;
	json_t *v;
	json_array_foreach (json_get(k->in, "volumes"), i, v) {
		const char *name = json_get_text(v, "name");
		if (!name || !chars_ok(name, 255))
			return ecs_client_error(
				k->err, "Volume.name should be 1 to 255 letters, numbers, hyphens and underscores.");
		if (ecs_by_name(json_get(k->in, "volumes"), name) != v)
			return ecs_client_error(k->err, "Volume.name must be unique: '%s' is used more than once.",
						name);
		if (k->fargate && json_get_path(v, "host.sourcePath"))
			return ecs_client_error(k->err, "Fargate does not support host sourcePath volumes ('%s').",
						name);
	}
	return check_size(k);
}

static int check_containers(struct check *k)
{
	bool essential = false;
	int64_t memory = 0;
	for (size_t i = 0; i < json_array_size(k->containers); i++) {
		json_t *c = json_array_get(k->containers, i);
		if (check_container(k, c) < 0)
			return -1;
		essential |= json_get_bool(c, "essential", true);
		memory += json_get_int(c, "memoryReservation", json_get_int(c, "memory", 0));
	}
	if (!essential)
		return ecs_client_error(k->err, "At least one container in the task definition must be essential.");
	if (k->memory && memory > k->memory)
		return ecs_client_error(k->err,
					"The sum of the containers' memory reservations (%lld MiB) is larger than the "
					"task memory (%lld MiB).",
					(long long)memory, (long long)k->memory);
	if (ecs_firelens_check(k->containers, k->fargate, k->err) < 0)
		return -1;
	return check_cycles(k);
}

json_t *ecs_definition_check(struct ecs *e, struct arena *a, const json_t *in, struct error *err)
{
	static const char *const kept[] = { "taskRoleArn",
					    "executionRoleArn",
					    "networkMode",
					    "requiresCompatibilities",
					    "runtimePlatform",
					    "pidMode",
					    "ipcMode",
					    "proxyConfiguration",
					    "inferenceAccelerators",
					    "ephemeralStorage",
					    "enableFaultInjection" };
	json_t *containers = json_deep_copy(json_get(in, "containerDefinitions")), *doc = json_object();
	struct check k = { .e = e, .a = a, .in = in, .containers = containers, .err = err };
	json_object_set_new(doc, "containerDefinitions", containers ? containers : json_array());
	json_copy_key(doc, in, "family");
	for (size_t i = 0; i < COUNT(kept); i++)
		json_copy_key(doc, in, kept[i]);
	json_object_set(doc, "volumes", json_get(in, "volumes") ? json_get(in, "volumes") : ecs_keep(a, json_array()));
	json_object_set(doc, "placementConstraints",
			json_get(in, "placementConstraints") ? json_get(in, "placementConstraints")
							     : ecs_keep(a, json_array()));
	if (check_task(&k) < 0 || check_containers(&k) < 0) {
		json_decref(doc);
		return NULL;
	}
	if (k.cpu)
		json_set_text(doc, "cpu", arena_printf(a, "%lld", (long long)k.cpu));
	if (k.memory)
		json_set_text(doc, "memory", arena_printf(a, "%lld", (long long)k.memory));
	json_object_set_new(doc, "compatibilities",
			    fits_fargate(&k) ? json_pack("[s,s]", "EC2", "FARGATE") : json_pack("[s]", "EC2"));
	return doc;
}
