/* api_task.c - operations on tasks. RunTask itself is api_run.c. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "ecs/room.h"

#define MACHINE_FRESH_MS 10000

/* ---- RunTask ---- */

struct waiting {
	struct call *c;
	json_t *in, *out;
};

void ecs_machine(struct ecs *e, double *cpus, int64_t *memory_bytes, int64_t *gpus)
{
	pthread_mutex_lock(&e->lock);
	*cpus = e->cpus;
	*memory_bytes = e->memory_bytes;
	*gpus = e->gpus;
	pthread_mutex_unlock(&e->lock);
}

void ecs_machine_learn(struct ecs *e)
{
	int64_t now = clock_monotonic_us() / 1000;
	pthread_mutex_lock(&e->lock);
	bool fresh = e->cpus > 0 && now - e->asked_ms < MACHINE_FRESH_MS;
	pthread_mutex_unlock(&e->lock);
	CLEANUP_JSON json_t *machine = fresh || !e->o.tasks ? NULL : task_machine(e->o.tasks, NULL);
	if (!machine)
		return;
	pthread_mutex_lock(&e->lock);
	e->cpus = json_get_real(machine, "cpus", 0);
	e->memory_bytes = json_get_int(machine, "memory", 0);
	e->gpus = (int64_t)json_array_size(json_get(machine, "gpus"));
	e->asked_ms = now;
	pthread_mutex_unlock(&e->lock);
}

static int run_in_turn(struct turn *t, void *arg, struct error *err)
{
	struct waiting *w = arg;
	return ecs_run_task(w->c->service_ctx, t, w->in, NULL, &w->out, err);
}

static void run_done(void *arg, int rc, struct error *err)
{
	struct waiting *w = arg;
	json_t *out = w->out;
	if (rc < 0) {
		json_decref(out);
		out = NULL;
	}
	json_decref(w->in); /* before the answer: then who called releases it, too */
	wire_answer(w->c, rc, out, err);
}

static void run_task(struct call *c, json_t *in)
{
	struct waiting *w = ARENA_NEW(c->arena, struct waiting);
	w->c = c;
	w->in = json_incref(in);
	ecs_machine_learn(c->service_ctx);
	engine_submit(c->engine, run_in_turn, run_done, w);
}

/* For a state machine's turn; the machine is known from the start of the daemon, or by other tasks. */
static int run_task_inside(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	return ecs_run_task(c->service_ctx, t, in, NULL, out, err);
}

/* ---- the others ---- */

json_t *ecs_stop_task(struct ecs *e, struct turn *t, const char *cluster, const char *task, const char *reason,
		      struct error *err)
{
	struct arena *a = turn_arena(t);
	const char *name, *id = ecs_task_id(a, task);
	json_t *doc = NULL;
	if (ecs_cluster_need(turn_db(t), a, cluster, &name, err) < 0)
		return NULL;
	int rc = ecs_task_get(turn_db(t), a, name, id, &doc, err);
	if (rc == 0)
		ecs_bad_parameter(err, "The referenced task was not found.");
	if (rc <= 0)
		return NULL;
	if (str_eqz(json_get_str(doc, "desiredStatus"), "STOPPED"))
		return json_incref(doc);
	json_set_text(doc, "desiredStatus", "STOPPED");
	json_set_text(doc, "stopCode", "UserInitiated");
	json_set_text(doc, "stoppedReason", reason ? reason : "Task stopped by user");
	json_set_real(doc, "stoppingAt", ecs_seconds(turn_now_ms(t)));
	json_set_int(doc, "version", json_get_int(doc, "version", 0) + 1);
	if (ecs_task_put(turn_db(t), doc, err) < 0)
		return NULL;
	turn_send(t, ecs_task_actor(a, id), json_pack("{s:s}", "type", "stop"));
	return json_incref(doc);
}

static int stop_task(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	json_t *doc = ecs_stop_task(c->service_ctx, t, json_get_text(in, "cluster"), json_get_text(in, "task"),
				    json_get_text(in, "reason"), err);
	if (!doc)
		return -1;
	*out = json_pack("{s:o}", "task", doc);
	return 0;
}

json_t *ecs_describe_task(struct ecs *e, struct db *db, const char *cluster, const char *task, struct error *err)
{
	struct arena a = ARENA_INIT;
	json_t *doc = NULL;
	int rc = ecs_task_get(db, &a, cluster ? ecs_cluster_name(&a, cluster) : NULL, ecs_task_id(&a, task), &doc, err);
	json_t *out = rc > 0 ? json_incref(doc) : NULL;
	arena_release(&a);
	return out;
}

static int describe_tasks(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	const char *name;
	json_t *ref;
	size_t i;
	bool tags = json_array_size(json_get(in, "include")) > 0;
	if (ecs_cluster_need(db, c->arena, json_get_text(in, "cluster"), &name, err) < 0)
		return -1;
	if (!json_array_size(json_get(in, "tasks")))
		return ecs_bad_parameter(err, "Tasks cannot be empty.");
	if (json_array_size(json_get(in, "tasks")) > 100)
		return ecs_bad_parameter(err, "You cannot describe more than 100 tasks in a single operation.");
	CLEANUP_JSON json_t *tasks = json_array(), *failures = json_array();
	json_array_foreach (json_get(in, "tasks"), i, ref) {
		const char *text = json_string_value(ref), *id = ecs_task_id(c->arena, text);
		json_t *doc = NULL;
		int rc = ecs_task_get(db, c->arena, name, id, &doc, err);
		if (rc < 0)
			return -1;
		if (!rc) {
			const char *arn =
				ecs_arn(c->service_ctx, c->arena, "task", arena_printf(c->arena, "%s/%s", name, id));
			json_array_append_new(failures, json_pack("{s:s,s:s}", "arn", arn, "reason", "MISSING"));
			continue;
		}
		if (!tags)
			json_object_set_new(doc, "tags", json_array());
		json_array_append(tasks, doc);
	}
	*out = json_pack("{s:O,s:O}", "tasks", tasks, "failures", failures);
	return 0;
}

static int list_tasks(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *cluster, *after, *desired = json_get_text(in, "desiredStatus"),
				     *family = json_get_text(in, "family"), *by = json_get_text(in, "startedBy");
	const char *launch = json_get_text(in, "launchType"), *service = json_get_text(in, "serviceName"),
		   *instance = json_get_text(in, "containerInstance");
	int64_t max;
	if (ecs_cluster_need(db, c->arena, json_get_text(in, "cluster"), &cluster, err) < 0 ||
	    ecs_page(in, 100, &max, &after, err) < 0)
		return -1;
	if (service)
		return error_aws(err, "ServiceNotFoundException", "Service not found.");
	if (instance && strcmp(ecs_task_id(c->arena, instance), ecs_instance_id(c->arena, cluster)))
		return ecs_bad_parameter(err, "The referenced container instance was not found.");
	launch = instance ? "EC2" : launch;
	if (db_query(db, &rows, err,
		     "SELECT id FROM ecs_task WHERE cluster=? AND desired=? AND (? IS NULL OR family=?) AND (? IS NULL "
		     "OR started_by=?) AND (? IS NULL OR launch_type=?)"
		     " AND id>? ORDER BY id LIMIT ?",
		     "sssssssssi", cluster, desired ? desired : "RUNNING", family, family, by, by, launch, launch,
		     after ? after : "", max + 1) < 0)
		return -1;
	CLEANUP_JSON json_t *answer = json_object(), *arns = json_array();
	const char *last = NULL;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(arns) == max) {
			json_set_text(answer, "nextToken", last);
			break;
		}
		last = arena_strdup(c->arena, rows_str(&rows, 0));
		json_array_append_new(arns, json_string(ecs_arn(c->service_ctx, c->arena, "task",
								arena_printf(c->arena, "%s/%s", cluster, last))));
	}
	json_object_set(answer, "taskArns", arns);
	*out = json_incref(answer);
	return rc < 0 ? -1 : 0;
}

const struct wire_op ecs_task_ops[] = {
	{ "RunTask", .async = run_task, .inside = run_task_inside },
	{ "StopTask", .command = stop_task },
	{ "DescribeTasks", .query = describe_tasks },
	{ "ListTasks", .query = list_tasks },
	{ 0 },
};
