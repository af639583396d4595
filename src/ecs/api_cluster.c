/* api_cluster.c - clusters, and the one container instance that each has: this machine. */
#include <stdio.h>

#include "ecs/room.h"

static bool includes(const json_t *in, const char *what)
{
	size_t i;
	json_t *one;
	json_array_foreach (json_get(in, "include"), i, one)
		if (str_eqz(json_str(one), what))
			return true;
	return false;
}

static int count(struct db *db, const char *cluster, const char *where, int64_t *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	char sql[200];
	snprintf(sql, sizeof(sql), "SELECT count(*) FROM ecs_task WHERE cluster=? AND status %s", where);
	if (db_row(db, &rows, err, sql, "s", cluster) < 0)
		return -1;
	*out = rows_int(&rows, 0);
	return 0;
}

/* As the API shows it; owned. */
static json_t *show(struct ecs *e, struct db *db, struct arena *a, const char *name, const char *status,
		    const json_t *doc, const json_t *in, struct error *err)
{
	int64_t running, pending;
	if (count(db, name, "IN ('RUNNING','DEACTIVATING','STOPPING','DEPROVISIONING')", &running, err) < 0 ||
	    count(db, name, "IN ('PROVISIONING','PENDING','ACTIVATING')", &pending, err) < 0)
		return NULL;
	json_t *out = json_object();
	json_set_text(out, "clusterArn", ecs_arn(e, a, "cluster", name));
	json_set_text(out, "clusterName", name);
	json_set_text(out, "status", status);
	json_set_int(out, "registeredContainerInstancesCount", !strcmp(status, "ACTIVE"));
	json_set_int(out, "runningTasksCount", running);
	json_set_int(out, "pendingTasksCount", pending);
	json_set_int(out, "activeServicesCount", 0);
	json_object_set_new(out, "statistics", json_array());
	json_object_set_new(out, "tags", json_array());
	json_object_set_new(out, "settings", json_array());
	if (!in || includes(in, "TAGS"))
		json_copy_key(out, doc, "tags");
	if (!in || includes(in, "SETTINGS"))
		json_copy_key(out, doc, "settings");
	if (!in || includes(in, "CONFIGURATIONS"))
		json_copy_key(out, doc, "configuration");
	json_object_set_new(out, "capacityProviders", json_array());
	json_object_set_new(out, "defaultCapacityProviderStrategy", json_array());
	json_copy_key(out, doc, "capacityProviders");
	json_copy_key(out, doc, "defaultCapacityProviderStrategy");
	json_copy_key(out, doc, "serviceConnectDefaults");
	return out;
}

static bool name_ok(const char *name)
{
	size_t n = strlen(name);
	return n >= 1 && n <= 255 &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == n;
}

static const char *const kept[] = { "tags",
				    "settings",
				    "configuration",
				    "capacityProviders",
				    "defaultCapacityProviderStrategy",
				    "serviceConnectDefaults" };

static int create_cluster(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecs *e = c->service_ctx;
	const char *name = json_get_text(in, "clusterName"), *status = NULL;
	json_t *doc = NULL;
	name = name ? name : "default";
	if (!name_ok(name))
		return ecs_bad_parameter(err,
					 "Invalid cluster name: %s. Cluster names must be 1 to 255 characters long and "
					 "use only letters, numbers, hyphens and underscores.",
					 name);
	int rc = ecs_cluster_get(turn_db(t), c->arena, name, &doc, &status, err);
	if (rc < 0)
		return -1;
	if (rc == 0 || strcmp(status, "ACTIVE")) {
		doc = ecs_keep(c->arena, json_object());
		for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
			json_copy_key(doc, in, kept[i]);
		if (!json_get(doc, "settings"))
			json_object_set_new(doc, "settings",
					    json_pack("[{s:s,s:s}]", "name", "containerInsights", "value", "disabled"));
		if (ecs_cluster_put(turn_db(t), name, "ACTIVE", doc, err) < 0)
			return -1;
	}
	json_t *cluster = show(e, turn_db(t), c->arena, name, "ACTIVE", doc, NULL, err);
	if (!cluster)
		return -1;
	*out = json_pack("{s:o}", "cluster", cluster);
	return 0;
}

static json_t *missing(struct ecs *e, struct arena *a, const char *kind, const char *ref)
{
	const char *arn = !strncmp(ref, "arn:", 4) ? ref : ecs_arn(e, a, kind, ref);
	return json_pack("{s:s,s:s}", "arn", arn, "reason", "MISSING");
}

static int describe_clusters(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct ecs *e = c->service_ctx;
	json_t *refs = json_get(in, "clusters"), *only = ecs_keep(c->arena, json_pack("[s]", "default")), *ref;
	json_t *clusters = json_array(), *failures = json_array();
	size_t i;
	*out = json_pack("{s:o,s:o}", "clusters", clusters, "failures", failures);
	json_array_foreach (json_array_size(refs) ? refs : only, i, ref) {
		const char *text = json_string_value(ref), *name = ecs_cluster_name(c->arena, text), *status = NULL;
		json_t *doc = NULL;
		int rc = ecs_cluster_get(db, c->arena, name, &doc, &status, err);
		json_t *one = rc > 0 ? show(e, db, c->arena, name, status, doc, in, err) : NULL;
		if (rc < 0 || (rc > 0 && !one)) {
			json_decref(*out);
			*out = NULL;
			return -1;
		}
		if (one)
			json_array_append_new(clusters, one);
		else
			json_array_append_new(failures, missing(e, c->arena, "cluster", text));
	}
	return 0;
}

static int list_clusters(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *after;
	int64_t max;
	int rc;
	if (ecs_page(in, 100, &max, &after, err) < 0)
		return -1;
	if (db_query(db, &rows, err,
		     "SELECT name FROM ecs_cluster WHERE status='ACTIVE' AND name>? ORDER BY name LIMIT ?", "si",
		     after ? after : "", max + 1) < 0)
		return -1;
	CLEANUP_JSON json_t *answer = json_object(), *arns = json_array();
	const char *last = NULL;
	while ((rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(arns) == max) {
			json_set_text(answer, "nextToken", last);
			break;
		}
		last = arena_strdup(c->arena, rows_str(&rows, 0));
		json_array_append_new(arns, json_string(ecs_arn(c->service_ctx, c->arena, "cluster", last)));
	}
	json_object_set(answer, "clusterArns", arns);
	*out = json_incref(answer);
	return rc < 0 ? -1 : 0;
}

static int change(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const char *name, *status = NULL;
	json_t *doc = NULL;
	if (ecs_cluster_need(turn_db(t), c->arena, json_get_text(in, "cluster"), &name, err) < 0 ||
	    ecs_cluster_get(turn_db(t), c->arena, name, &doc, &status, err) < 0)
		return -1;
	for (size_t i = 1; i < sizeof(kept) / sizeof(*kept); i++)
		json_copy_key(doc, in, kept[i]);
	if (ecs_cluster_put(turn_db(t), name, status, doc, err) < 0)
		return -1;
	json_t *cluster = show(c->service_ctx, turn_db(t), c->arena, name, status, doc, NULL, err);
	if (!cluster)
		return -1;
	*out = json_pack("{s:o}", "cluster", cluster);
	return 0;
}

static int put_providers(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	size_t i;
	json_t *one;
	json_array_foreach (json_get(in, "capacityProviders"), i, one)
		if (!str_eqz(json_str(one), "FARGATE") && !str_eqz(json_str(one), "FARGATE_SPOT"))
			return ecs_bad_parameter(err,
						 "The specified capacity provider '%s' was not found. Specify a valid "
						 "name or ARN and try again.",
						 json_string_value(one));
	return change(c, t, in, out, err);
}

static int delete_cluster(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecs *e = c->service_ctx;
	const char *name, *status = NULL;
	json_t *doc = NULL;
	int64_t active;
	if (ecs_cluster_need(turn_db(t), c->arena, json_get_text(in, "cluster"), &name, err) < 0 ||
	    count(turn_db(t), name, "<> 'STOPPED'", &active, err) < 0)
		return -1;
	if (active)
		return error_aws(err, "ClusterContainsTasksException",
				 "The Cluster cannot be deleted while Tasks are active.");
	if (ecs_cluster_get(turn_db(t), c->arena, name, &doc, &status, err) < 0 ||
	    ecs_cluster_put(turn_db(t), name, "INACTIVE", doc, err) < 0)
		return -1;
	json_t *cluster = show(e, turn_db(t), c->arena, name, "INACTIVE", doc, NULL, err);
	if (!cluster)
		return -1;
	*out = json_pack("{s:o}", "cluster", cluster);
	return 0;
}

/* ---- container instances ---- */

static json_t *resources(double cpus, int64_t memory_bytes)
{
	return json_pack("[{s:s,s:s,s:f,s:I,s:i},{s:s,s:s,s:f,s:I,s:i}]", "name", "CPU", "type", "INTEGER",
			 "doubleValue", 0.0, "longValue", (json_int_t)0, "integerValue", (int)(cpus * 1024), "name",
			 "MEMORY", "type", "INTEGER", "doubleValue", 0.0, "longValue", (json_int_t)0, "integerValue",
			 (int)(memory_bytes >> 20));
}

static json_t *show_instance(struct ecs *e, struct db *db, struct arena *a, const char *cluster, struct error *err)
{
	int64_t running, pending;
	if (count(db, cluster, "IN ('RUNNING','DEACTIVATING','STOPPING','DEPROVISIONING')", &running, err) < 0 ||
	    count(db, cluster, "IN ('PROVISIONING','PENDING','ACTIVATING')", &pending, err) < 0)
		return NULL;
	CLEANUP_JSON json_t *machine = task_machine(e->o.tasks, NULL);
	double cpus = json_get_real(machine, "cpus", 0), cpus_free = json_get_real(machine, "cpus_free", cpus);
	int64_t memory = json_get_int(machine, "memory", 0), memory_free = json_get_int(machine, "memory_free", memory);
	json_t *out = json_object();
	json_set_text(
		out, "containerInstanceArn",
		ecs_arn(e, a, "container-instance", arena_printf(a, "%s/%s", cluster, ecs_instance_id(a, cluster))));
	json_set_int(out, "version", 1);
	json_set_text(out, "status", machine ? "ACTIVE" : "INACTIVE");
	json_set_bool(out, "agentConnected", machine != NULL);
	json_set_int(out, "runningTasksCount", running);
	json_set_int(out, "pendingTasksCount", pending);
	json_object_set_new(out, "registeredResources", resources(cpus, memory));
	json_object_set_new(out, "remainingResources", resources(cpus_free, memory_free));
	json_object_set_new(out, "attributes",
			    json_pack("[{s:s,s:s},{s:s,s:s}]", "name", "ecs.os-type", "value", "linux", "name",
				      "ecs.cpu-architecture", "value",
#if defined(__aarch64__)
				      "arm64"
#else
				      "x86_64"
#endif
				      ));
	json_object_set_new(out, "attachments", json_array());
	json_object_set_new(out, "tags", json_array());
	return out;
}

static int list_instances(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	const char *name, *status = json_get_text(in, "status");
	if (ecs_cluster_need(db, c->arena, json_get_text(in, "cluster"), &name, err) < 0)
		return -1;
	json_t *arns = json_array();
	if (!status || !strcmp(status, "ACTIVE"))
		json_array_append_new(arns, json_string(ecs_arn(c->service_ctx, c->arena, "container-instance",
								arena_printf(c->arena, "%s/%s", name,
									     ecs_instance_id(c->arena, name)))));
	*out = json_pack("{s:o}", "containerInstanceArns", arns);
	return 0;
}

static int describe_instances(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct ecs *e = c->service_ctx;
	const char *name;
	json_t *ref;
	size_t i;
	if (ecs_cluster_need(db, c->arena, json_get_text(in, "cluster"), &name, err) < 0)
		return -1;
	CLEANUP_JSON json_t *found = json_array(), *failures = json_array();
	json_array_foreach (json_get(in, "containerInstances"), i, ref) {
		if (strcmp(ecs_task_id(c->arena, json_string_value(ref)), ecs_instance_id(c->arena, name))) {
			json_array_append_new(failures, missing(e, c->arena,
								arena_printf(c->arena, "container-instance/%s", name),
								json_string_value(ref)));
			continue;
		}
		json_t *one = show_instance(e, db, c->arena, name, err);
		if (!one)
			return -1;
		json_array_append_new(found, one);
	}
	*out = json_pack("{s:O,s:O}", "containerInstances", found, "failures", failures);
	return 0;
}

const struct wire_op ecs_cluster_ops[] = {
	{ "CreateCluster", .command = create_cluster },
	{ "DescribeClusters", .query = describe_clusters },
	{ "ListClusters", .query = list_clusters },
	{ "UpdateCluster", .command = change },
	{ "UpdateClusterSettings", .command = change },
	{ "PutClusterCapacityProviders", .command = put_providers },
	{ "DeleteCluster", .command = delete_cluster },
	{ "ListContainerInstances", .query = list_instances },
	{ "DescribeContainerInstances", .query = describe_instances },
	{ 0 },
};
