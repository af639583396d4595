/* firelens.c - FireLens: a container of the task is the log router of the others.
 *
 * DESIGN: the router gets a configuration made from the definition: an input at /var/run/fluent.sock (where the
 * supervisor sends what the others print, task/forward.h), one at port 24224 for programs that speak the forward
 * protocol themselves, the task's names added to each record, the user's own file, and one output for each container
 * from the options of its log driver. What is in it and where it lies is as AWS's "Under the hood: FireLens for Amazon
 * ECS Tasks" and the developer guide ("Send Amazon ECS logs to an AWS service or AWS Partner") tell. Secrets come as
 * environment variables of the router, <option>_<index of the container>, and the file names only those. */
#include <stdio.h>

#include "base/buf.h"
#include "ecs/room.h"

#define SCRATCH "firelens"
#define RECORDS 1048576 /* that wait, as in Docker's driver */

static bool uses_router(const json_t *c)
{
	return str_eqz(json_get_str(json_get(c, "logConfiguration"), "logDriver"), "awsfirelens");
}

static const json_t *find_router(const json_t *containers)
{
	size_t i;
	json_t *c;
	json_array_foreach (containers, i, c)
		if (json_get(c, "firelensConfiguration"))
			return c;
	return NULL;
}

/* ---- the check of a definition ---- */

static int check_router(const json_t *c, bool fargate, struct error *err)
{
	const json_t *options = json_get_path(c, "firelensConfiguration.options");
	const char *name = json_get_text(c, "name"), *metadata = json_get_text(options, "enable-ecs-log-metadata"),
		   *type = json_get_text(options, "config-file-type"),
		   *value = json_get_text(options, "config-file-value"), *key;
	json_t *one;
	if (uses_router(c))
		return ecs_client_error(err, "Container '%s' is the log router and cannot use log driver awsfirelens.",
					name);
	json_object_foreach ((json_t *)options, key, one)
		if (strcmp(key, "enable-ecs-log-metadata") && strcmp(key, "config-file-type") &&
		    strcmp(key, "config-file-value"))
			return ecs_client_error(err, "Container '%s': '%s' is not an option of firelensConfiguration.",
						name, key);
	if (metadata && strcmp(metadata, "true") && strcmp(metadata, "false"))
		return ecs_client_error(err, "Container '%s': enable-ecs-log-metadata must be true or false.", name);
	if (!type != !value)
		return ecs_client_error(
			err, "Container '%s': config-file-type and config-file-value must be given together.", name);
	if (type && strcmp(type, "file") && strcmp(type, "s3"))
		return ecs_client_error(err, "Container '%s': config-file-type must be file or s3.", name);
	if (type && fargate && !strcmp(type, "s3"))
		return ecs_client_error(err, "Container '%s': Fargate supports only the config-file-type file.", name);
	if (type && strpbrk(value, "\n\r"))
		return ecs_client_error(err, "Container '%s': config-file-value must be one line.", name);
	return 0;
}

static int check_sender(const json_t *c, struct error *err)
{
	const json_t *log = json_get(c, "logConfiguration");
	const char *name = json_get_text(c, "name"), *key;
	json_t *one;
	size_t i;
	int64_t n = 0;
	json_object_foreach (json_get(log, "options"), key, one)
		if (strpbrk(key, " \t\n\r") || strpbrk(json_string_value(one), "\n\r"))
			return ecs_client_error(err, "Container '%s': log option '%s' must be one line.", name, key);
	json_array_foreach (json_get(log, "secretOptions"), i, one)
		if (strpbrk(json_get_text(one, "name"), " \t\n\r"))
			return ecs_client_error(err, "Container '%s': log option '%s' must be one line.", name,
						json_get_text(one, "name"));
	one = json_get_path(log, "options.log-driver-buffer-limit");
	if (one && (!str_to_i64(json_str(one), &n) || n < 0 || n > 536870912))
		return ecs_client_error(
			err, "Container '%s': log-driver-buffer-limit must be a number from 0 to 536870912.", name);
	return 0;
}

int ecs_firelens_check(const json_t *containers, bool fargate, struct error *err)
{
	size_t i, routers = 0, senders = 0;
	json_t *c;
	json_array_foreach (containers, i, c) {
		routers += json_get(c, "firelensConfiguration") != NULL;
		senders += uses_router(c);
	}
	if (routers > 1)
		return ecs_client_error(err, "At most one container can have a firelensConfiguration object.");
	if (senders && !routers)
		return ecs_client_error(err,
					"When awsfirelens log driver is specified in log configuration, a firelens "
					"configuration object must be configured in one of the containers.");
	if (routers && !senders)
		return ecs_client_error(err, "When a firelensConfiguration object is specified, at least one container "
					     "has to be configured with the awsfirelens log driver.");
	json_array_foreach (containers, i, c)
		if ((json_get(c, "firelensConfiguration") && check_router(c, fargate, err) < 0) ||
		    (uses_router(c) && check_sender(c, err) < 0))
			return -1;
	return 0;
}

/* ---- the router's configuration ---- */

struct config {
	struct arena *a;
	const json_t *task, *definition;
	bool bit;
	const char *include, *listen;
	struct buf out;
};

/* "[HEAD]" and its lines, or "<head pattern>" and its: `pairs` are key and value in turn, NULL-ended. */
static void add_section(struct config *k, const char *head, const char *pattern, const char *const *pairs)
{
	struct buf *o = &k->out;
	if (k->bit)
		buf_printf(o, "[%s]\n", head);
	else
		buf_printf(o, "<%s%s%s>\n", head, pattern ? " " : "", pattern ? pattern : "");
	for (; *pairs; pairs += 2)
		buf_printf(o, k->bit ? "    %s %s\n" : "  %s %s\n", pairs[0], pairs[1]);
}

static void end_section(struct config *k, const char *head)
{
	if (k->bit)
		buf_addz(&k->out, "\n");
	else
		buf_printf(&k->out, "</%s>\n\n", head);
}

static void add_inputs(struct config *k)
{
	const char *bit_socket[] = { "Name", "forward", "unix_path", "/var/run/fluent.sock", NULL };
	const char *bit_port[] = { "Name", "forward", "Listen", k->listen, "Port", "24224", NULL };
	const char *bit_health[] = { "Name", "tcp",  "Tag", "firelens-healthcheck", "Listen", "127.0.0.1",
				     "Port", "8877", NULL };
	const char *d_socket[] = { "@type", "unix", "path", "/var/run/fluent.sock", NULL };
	const char *d_port[] = { "@type", "forward", "bind", k->listen, "port", "24224", NULL };
	const char *head = k->bit ? "INPUT" : "source";
	add_section(k, head, NULL, k->bit ? bit_socket : d_socket);
	end_section(k, head);
	add_section(k, head, NULL, k->bit ? bit_port : d_port);
	end_section(k, head);
	if (k->bit) {
		add_section(k, head, NULL, bit_health);
		end_section(k, head);
	}
}

static void add_metadata(struct config *k)
{
	const char *cluster = strrchr(json_get_text(k->task, "clusterArn"), '/') + 1;
	const char *definition = strrchr(json_get_text(k->task, "taskDefinitionArn"), '/') + 1;
	const char *members[] = { "ecs_cluster",         cluster,   "ecs_task_arn", json_get_text(k->task, "taskArn"),
				  "ecs_task_definition", definition };
	const char *bit[] = { "Name", "record_modifier", "Match", "*", NULL };
	const char *d[] = { "@type", "record_transformer", NULL };
	const char *head = k->bit ? "FILTER" : "filter";
	add_section(k, head, "**", k->bit ? bit : d);
	if (!k->bit)
		buf_addz(&k->out, "  <record>\n");
	for (size_t i = 0; i < 6; i += 2)
		buf_printf(&k->out, k->bit ? "    Record %s %s\n" : "    %s %s\n", members[i], members[i + 1]);
	if (!k->bit)
		buf_addz(&k->out, "  </record>\n");
	end_section(k, head);
}

/* include-pattern, exclude-pattern: what a line must or must not match. */
static void add_grep(struct config *k, const char *match, const char *pattern, bool include)
{
	const char *bit[] = {
		"Name", "grep", "Match", match, include ? "Regex" : "Exclude", arena_printf(k->a, "log %s", pattern),
		NULL
	};
	const char *d[] = { "@type", "grep", NULL };
	const char *head = k->bit ? "FILTER" : "filter", *inner = include ? "regexp" : "exclude";
	if (!pattern)
		return;
	add_section(k, head, match, k->bit ? bit : d);
	if (!k->bit)
		buf_printf(&k->out, "  <%s>\n    key log\n    pattern /%s/\n  </%s>\n", inner, pattern, inner);
	end_section(k, head);
}

/* Members of logConfiguration.options that are not the output's. */
static bool is_ours(const char *key)
{
	return !strcmp(key, "include-pattern") || !strcmp(key, "exclude-pattern") ||
	       !strcmp(key, "log-driver-buffer-limit");
}

static const char *secret_name(struct arena *a, const json_t *secret, size_t index)
{
	return arena_printf(a, "%s_%zu", json_get_text(secret, "name"), index);
}

static void add_output(struct config *k, const json_t *c, size_t index)
{
	const json_t *log = json_get(c, "logConfiguration");
	json_t *options = json_get(log, "options"), *one;
	const char *match = arena_printf(k->a, k->bit ? "%s-firelens*" : "%s-firelens**", json_get_text(c, "name"));
	const char *bit[] = { "Match", match, NULL }, *none[] = { NULL }, *key;
	const char *head = k->bit ? "OUTPUT" : "match";
	size_t i;
	add_grep(k, match, json_get_text(options, "include-pattern"), true);
	add_grep(k, match, json_get_text(options, "exclude-pattern"), false);
	if (!json_get(options, k->bit ? "Name" : "@type"))
		return; /* the user's own file has the outputs */
	add_section(k, head, match, k->bit ? bit : none);
	json_object_foreach (options, key, one)
		if (!is_ours(key))
			buf_printf(&k->out, "    %s %s\n", key, json_string_value(one));
	json_array_foreach (json_get(log, "secretOptions"), i, one)
		buf_printf(&k->out, k->bit ? "    %s ${%s}\n" : "    %s \"#{ENV['%s']}\"\n", json_get_text(one, "name"),
			   secret_name(k->a, one, index));
	end_section(k, head);
}

static const char *make_config(struct config *k, const json_t *router)
{
	const char *null_output[] = { "Name", "null", "Match", "firelens-healthcheck", NULL };
	size_t i;
	json_t *c;
	add_inputs(k);
	if (!str_eqz(json_get_str(json_get_path(router, "firelensConfiguration.options"), "enable-ecs-log-metadata"),
		     "false"))
		add_metadata(k);
	if (k->include)
		buf_printf(&k->out, "%s %s\n\n", k->bit ? "@INCLUDE" : "@include", k->include);
	if (k->bit) {
		add_section(k, "OUTPUT", NULL, null_output);
		end_section(k, "OUTPUT");
	}
	json_array_foreach (json_get(k->definition, "containerDefinitions"), i, c)
		if (uses_router(c))
			add_output(k, c, i);
	const char *text = arena_strdup(k->a, buf_str(&k->out));
	buf_release(&k->out);
	return text;
}

/* ---- the plan ---- */

static json_t *list_of(json_t *container, const char *key)
{
	json_t *list = json_get(container, key);
	if (!list)
		json_object_set_new(container, key, list = json_array());
	return list;
}

static void plan_router(struct arena *a, const json_t *task, const json_t *definition, const json_t *router,
			json_t *plan, json_t *out)
{
	const json_t *firelens = json_get(router, "firelensConfiguration"), *options = json_get(firelens, "options");
	const char *mode = json_get_text(definition, "networkMode"), *name = json_get_text(router, "name");
	bool s3 = str_eqz(json_get_str(options, "config-file-type"), "s3");
	struct config k = { .a = a, .task = task, .definition = definition };
	k.bit = str_eqz(json_get_str(firelens, "type"), "fluentbit");
	const char *external = k.bit ? "/fluent-bit/etc/external.conf" : "/fluentd/etc/external.conf";
	k.include = s3 ? external : json_get_text(options, "config-file-value");
	k.listen = !mode || !strcmp(mode, "bridge") ? "0.0.0.0" : "127.0.0.1";
	json_array_append_new(list_of(out, "files"),
			      json_pack("{s:s,s:s}", "path",
					k.bit ? "/fluent-bit/etc/fluent-bit.conf" : "/fluentd/etc/fluent.conf", "text",
					make_config(&k, router)));
	json_array_append_new(list_of(out, "mounts"),
			      json_pack("{s:s,s:s,s:s}", "type", "scratch", "name", SCRATCH, "target", "/var/run"));
	json_t *look = json_pack("{s:s,s:[]}", "container", name, "secrets"), *c, *one;
	size_t i, n;
	json_array_foreach (json_get(definition, "containerDefinitions"), i, c)
		json_array_foreach (uses_router(c) ? json_get_path(c, "logConfiguration.secretOptions") : NULL, n, one)
			json_array_append_new(json_get(look, "secrets"),
					      json_pack("{s:s,s:O}", "name", secret_name(a, one, i), "valueFrom",
							json_get(one, "valueFrom")));
	if (s3)
		json_object_set_new(
			look, "config",
			json_pack("{s:s,s:s}", "path", external, "value", json_get_text(options, "config-file-value")));
	json_array_append_new(json_get(plan, "lookups"), look);
}

static bool waits_for(const json_t *out, const char *name)
{
	size_t i;
	json_t *one;
	json_array_foreach (json_get(out, "after"), i, one)
		if (str_eqz(json_get_str(one, "container"), name))
			return true;
	return false;
}

static void plan_sender(struct arena *a, const json_t *definition, const json_t *task, const json_t *c,
			const char *router, json_t *out)
{
	const char *name = json_get_text(c, "name"), *mode = json_get_text(definition, "networkMode");
	const char *id = strrchr(json_get_text(task, "taskArn"), '/') + 1;
	const json_t *limit = json_get_path(c, "logConfiguration.options.log-driver-buffer-limit");
	int64_t records = RECORDS;
	if (limit)
		str_to_i64(json_str(limit), &records);
	json_object_set_new(out, "forward",
			    json_pack("{s:s,s:s,s:s,s:s?,s:s,s:I}", "container", router, "scratch", SCRATCH, "tag",
				      arena_printf(a, "%s-firelens-%s", name, id), "id",
				      json_get_text(ecs_by_name(json_get(task, "containers"), name), "runtimeId"),
				      "name", name, "records", (json_int_t)records));
	if (!waits_for(out, router))
		json_array_append_new(list_of(out, "after"),
				      json_pack("{s:s,s:s}", "container", router, "condition", "START"));
	if (mode && !strcmp(mode, "none"))
		return;
	json_t *env = json_get(out, "env");
	if (!json_get(env, "FLUENT_HOST"))
		json_set_text(env, "FLUENT_HOST", !mode || !strcmp(mode, "bridge") ? router : "127.0.0.1");
	if (!json_get(env, "FLUENT_PORT"))
		json_set_text(env, "FLUENT_PORT", "24224");
}

void ecs_firelens_plan(struct arena *a, const json_t *task, const json_t *definition, json_t *plan)
{
	const json_t *all = json_get(definition, "containerDefinitions"), *router = find_router(all);
	size_t i;
	json_t *c;
	if (!router)
		return;
	json_array_foreach (all, i, c) {
		json_t *out = ecs_by_name(json_get_path(plan, "spec.containers"), json_get_text(c, "name"));
		if (c == router)
			plan_router(a, task, definition, router, plan, out);
		else if (uses_router(c))
			plan_sender(a, definition, task, c, json_get_text(router, "name"), out);
	}
}
