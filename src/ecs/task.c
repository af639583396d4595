/* task.c - the actor of one task.
 *
 * DESIGN: the document in ecs_task is the task as the world sees it; the actor's state holds what is left to do. Its
 * life: start (logs are prepared, effect ecs.start) - accepted by the executor - started - stopped. A stop that comes
 * before the executor has the task waits for its answer. Each change raises the document's version. A stopped task is
 * shown for an hour, then it goes. */
#include <stdio.h>

#include "base/log.h"
#include "ecs/room.h"

#define SHOWN_MS ((int64_t)3600 * 1000)
#define RETRY_MS 2000

static struct ecs *room; /* one daemon, one room */

void ecs_task_bind(struct ecs *e)
{
	room = e;
}

const char *ecs_task_actor(struct arena *a, const char *id)
{
	return arena_printf(a, "ecs-task/%s", id);
}

struct life {
	struct turn *t;
	struct arena *a;
	json_t *state, *doc;
	struct error *err;
};

static int save(struct life *l)
{
	json_set_int(l->doc, "version", json_get_int(l->doc, "version", 0) + 1);
	return ecs_task_put(turn_db(l->t), l->doc, l->err);
}

static void set_time(json_t *doc, const char *key, int64_t ms)
{
	if (ms && !json_get(doc, key))
		json_set_real(doc, key, ecs_seconds(ms));
}

static bool wants_stop(const struct life *l)
{
	return str_eqz(json_get_str(l->doc, "desiredStatus"), "STOPPED");
}

/* ---- the end ---- */

/* What ExecuteCommand needs of a container; there is none where it is not enabled. */
static void set_agent(json_t *c, const char *status, int64_t started_ms)
{
	json_t *agent = json_array_get(json_get(c, "managedAgents"), 0);
	if (!agent)
		return;
	json_set_text(agent, "lastStatus", status);
	if (started_ms)
		json_set_real(agent, "lastStartedAt", ecs_seconds(started_ms));
}

static void finish_container(json_t *c, const json_t *result)
{
	const char *error = json_get_text(result, "error");
	set_agent(c, "STOPPED", 0);
	json_set_text(c, "lastStatus", "STOPPED");
	json_set_text(c, "healthStatus", "UNKNOWN");
	if (json_get(result, "exit_code"))
		json_copy_key(c, result, "exit_code"), json_object_set(c, "exitCode", json_get(result, "exit_code")),
			json_object_del(c, "exit_code");
	if (json_get_bool(result, "oom", false))
		json_set_text(c, "reason", "OutOfMemoryError: Container killed due to memory usage");
	else if (error)
		json_set_text(c, "reason", error);
}

/* Why it stopped, unless somebody asked for it before. `reason`: task.h. */
static void set_reason(struct life *l, const char *reason, const char *error)
{
	const char *code = "EssentialContainerExited", *text = "Essential container in task exited";
	if (json_get(l->doc, "stopCode") && strcmp(reason, "start-failed"))
		return;
	if (!strcmp(reason, "start-failed")) {
		code = "TaskFailedToStart";
		text = error ? error : "Task failed to start";
	} else if (!strcmp(reason, "lost")) {
		code = "InfrastructureHealth";
		text = error ? error
			     : "The task was lost: its supervisor ended without a result (was the machine restarted?)";
	} else if (!strcmp(reason, "stop")) {
		code = "TerminationNotice";
		text = "The machine was shutting down";
	} else if (error) {
		text = error;
	}
	json_set_text(l->doc, "stopCode", code);
	json_set_text(l->doc, "stoppedReason", text);
}

/* What the machine could not give as asked for: visible as attributes of the task. */
static void add_notes(json_t *doc, const json_t *notes)
{
	char name[32];
	size_t i;
	json_t *n;
	json_array_foreach (notes, i, n) {
		snprintf(name, sizeof(name), "quern.note.%zu", i + 1);
		json_array_append_new(json_get(doc, "attributes"), json_pack("{s:s,s:O}", "name", name, "value", n));
	}
}

static void tell_stopped(struct life *l, const char *actor)
{
	turn_send(l->t, actor,
		  json_pack("{s:s,s:s,s:O}", "type", "ecs.stopped", "taskArn", json_get_text(l->doc, "taskArn"), "task",
			    l->doc));
}

static void on_watch(struct life *l, const char *actor)
{
	if (str_eqz(json_get_str(l->doc, "lastStatus"), "STOPPED"))
		tell_stopped(l, actor);
	else
		json_set_text(l->state, "notify", actor);
}

bool ecs_watch_task(struct turn *t, const char *arn, const char *actor)
{
	struct arena *a = turn_arena(t);
	const char *self = ecs_task_actor(a, ecs_task_id(a, arn));
	if (!turn_exists(t, self))
		return false;
	turn_send(t, self, json_pack("{s:s,s:s}", "type", "watch", "actor", actor));
	return true;
}

static int finish(struct life *l, const char *reason, const char *error, const json_t *event)
{
	const char *notify = json_get_text(l->state, "notify");
	int64_t now = turn_now_ms(l->t);
	size_t i;
	json_t *c;
	if (str_eqz(json_get_str(l->doc, "lastStatus"), "STOPPED"))
		return 0;
	json_array_foreach (json_get(l->doc, "containers"), i, c) {
		const json_t *result = ecs_by_name(json_get(event, "containers"), json_get_text(c, "name"));
		finish_container(c, result);
	}
	set_time(l->doc, "pullStoppedAt", json_get_int(event, "pulled_at", 0));
	set_time(l->doc, "startedAt", json_get_int(event, "started_at", 0));
	set_reason(l, reason, error);
	set_time(l->doc, "stoppingAt", now);
	set_time(l->doc, "executionStoppedAt", json_get_int(event, "at", now));
	set_time(l->doc, "stoppedAt", now);
	json_set_text(l->doc, "desiredStatus", "STOPPED");
	json_set_text(l->doc, "lastStatus", "STOPPED");
	json_set_text(l->doc, "healthStatus", "UNKNOWN");
	add_notes(l->doc, json_get(event, "notes"));
	if (save(l) < 0 || ecs_credentials_drop(turn_db(l->t), json_get_text(l->state, "id"), l->err) < 0)
		return -1;
	if (notify)
		tell_stopped(l, notify);
	json_object_del(l->state, "plan");
	turn_timer(l->t, "forget", now + SHOWN_MS, json_pack("{s:s}", "type", "forget"));
	return 0;
}

/* ---- the start ---- */

/* 1: a group is missing, and the task has ended for it. */
static int prepare_logs(struct life *l, json_t *plan)
{
	size_t i;
	json_t *log;
	json_array_foreach (json_get(plan, "logs"), i, log) {
		const char *group = json_get_text(log, "group"), *stream = json_get_text(log, "stream");
		int have = logs_has_group(turn_db(l->t), group, l->err);
		if (have < 0)
			return -1;
		if (!have && !json_get_bool(log, "create", false))
			return finish(l, "start-failed",
				      "ResourceInitializationError: failed to validate logger args: create stream has "
				      "been retried 1 times: failed to create Cloudwatch log stream: "
				      "ResourceNotFoundException: The specified log group does not exist. : exit "
				      "status 1",
				      NULL) < 0
				       ? -1
				       : 1;
		const char *path = logs_stream(room->o.logs, l->t, group, stream);
		if (!path)
			return finish(l, "start-failed",
				      arena_printf(l->a,
						   "ResourceInitializationError: failed to validate logger args: log "
						   "group %s, stream %s",
						   group, stream),
				      NULL) < 0
				       ? -1
				       : 1;
		json_set_text(ecs_by_name(json_get_path(plan, "spec.containers"), json_get_text(log, "container")),
			      "log", path);
	}
	return 0;
}

static void ask_start(struct life *l)
{
	const char *id = json_get_text(l->state, "id");
	json_t *payload =
		json_pack("{s:s,s:s,s:O}", "id", id, "owner", turn_self(l->t), "plan", json_get(l->state, "plan"));
	int64_t tries = json_get_int(l->state, "tries", 0) + 1;
	json_set_int(l->state, "tries", tries);
	turn_effect(l->t, "ecs.start", arena_printf(l->a, "%s/%lld", id, (long long)tries), payload);
}

static int on_start(struct life *l)
{
	if (wants_stop(l))
		return finish(l, "stop", NULL, NULL);
	const char *refusal = NULL;
	int rc = ecs_execution_check(room, l->t, json_get_text(l->state, "id"), json_get(l->state, "plan"), &refusal,
				     l->err);
	if (rc > 0)
		return finish(l, "start-failed", refusal, NULL);
	if (rc == 0)
		rc = prepare_logs(l, json_get(l->state, "plan"));
	if (rc)
		return rc < 0 ? -1 : 0;
	json_set_text(l->doc, "lastStatus", "PENDING");
	set_time(l->doc, "pullStartedAt", turn_now_ms(l->t));
	json_set_text(l->doc, "connectivity", "CONNECTED");
	set_time(l->doc, "connectivityAt", turn_now_ms(l->t));
	ask_start(l);
	return save(l);
}

static void send_stop(struct life *l)
{
	const char *id = json_get_text(l->state, "id");
	json_set_bool(l->state, "stop_sent", true);
	turn_effect(l->t, "ecs.stop", arena_printf(l->a, "%s/stop", id), json_pack("{s:s}", "id", id));
}

static int finish_ended(struct life *l, const json_t *event)
{
	const char *reason = json_get_text(event, "reason");
	json_object_del(l->state, "ended");
	return finish(l, reason ? reason : "exited", json_get_text(event, "error"), event);
}

/* After a crash a task may have ended before the answer to its start is known, which has the images' digests. */
static int on_ended(struct life *l, json_t *event)
{
	if (json_get_bool(l->state, "accepted", false))
		return finish_ended(l, event);
	json_object_set(l->state, "ended", event);
	return 0;
}

/* The executor has it. */
static int on_accepted(struct life *l, const json_t *event)
{
	size_t i;
	json_t *c;
	json_set_bool(l->state, "accepted", true);
	json_object_del(l->state, "plan");
	json_array_foreach (json_get(l->doc, "containers"), i, c)
		json_set_text(c, "imageDigest", json_get_text(json_get(event, "digests"), json_get_text(c, "name")));
	CLEANUP_JSON json_t *ended = json_incref(json_get(l->state, "ended"));
	if (ended)
		return finish_ended(l, ended);
	if (wants_stop(l))
		send_stop(l);
	return save(l);
}

static int on_stop(struct life *l)
{
	if (str_eqz(json_get_str(l->doc, "lastStatus"), "STOPPED") || json_get_bool(l->state, "stop_sent", false))
		return 0;
	if (!json_get_bool(l->state, "accepted", false))
		return 0; /* the start looks before it goes on, and its answer brings the stop */
	json_set_text(l->doc, "lastStatus", "STOPPING");
	send_stop(l);
	return save(l);
}

/* ---- from the executor ---- */

static void set_running(json_t *c, int64_t at_ms)
{
	if (!str_eqz(json_get_str(c, "lastStatus"), "RUNNING"))
		set_agent(c, "RUNNING", at_ms);
	json_set_text(c, "lastStatus", "RUNNING");
}

static int on_started(struct life *l, const json_t *event)
{
	size_t i;
	json_t *c;
	if (str_eqz(json_get_str(l->doc, "lastStatus"), "STOPPED") || json_get(l->doc, "startedAt"))
		return 0;
	int64_t at = json_get_int(event, "at", turn_now_ms(l->t));
	set_time(l->doc, "pullStoppedAt", json_get_int(event, "pulled_at", at));
	set_time(l->doc, "startedAt", at);
	if (!wants_stop(l))
		json_set_text(l->doc, "lastStatus", "RUNNING");
	json_array_foreach (json_get(l->doc, "containers"), i, c)
		if (!str_eqz(json_get_str(c, "lastStatus"), "STOPPED"))
			set_running(c, at);
	return save(l);
}

/* Health of the task: the worst of its essential containers that are checked. */
static const char *health_of(const json_t *containers)
{
	const char *worst = NULL;
	size_t i;
	json_t *c;
	json_array_foreach (containers, i, c) {
		const char *h = json_get_text(c, "health");
		if (!h || !json_get_bool(c, "essential", true))
			continue;
		if (!worst || !strcmp(h, "UNHEALTHY") || (!strcmp(h, "UNKNOWN") && strcmp(worst, "UNHEALTHY")))
			worst = h;
	}
	return worst ? worst : "UNKNOWN";
}

/* "fake.example/gpu=0" is shown as "0". */
static void set_gpus(json_t *c, const json_t *names)
{
	json_t *ids = json_array(), *name;
	size_t i;
	json_array_foreach (names, i, name) {
		const char *text = json_string_value(name), *eq = strrchr(text, '=');
		json_array_append_new(ids, json_string(eq ? eq + 1 : text));
	}
	if (json_array_size(ids))
		json_object_set(c, "gpuIds", ids);
	json_decref(ids);
}

static json_t *binding(const json_t *port)
{
	long long inside = json_get_int(port, "container_port", 0), outside = json_get_int(port, "host_port", 0),
		  more = json_get_int(port, "count", 1) - 1;
	const char *protocol = json_get_text(port, "protocol");
	json_t *one = json_pack("{s:s,s:s}", "bindIP", "127.0.0.1", "protocol", protocol ? protocol : "tcp");
	if (!more) {
		json_set_int(one, "containerPort", inside);
		json_set_int(one, "hostPort", outside);
		return one;
	}
	json_object_set_new(one, "containerPortRange", json_sprintf("%lld-%lld", inside, inside + more));
	json_object_set_new(one, "hostPortRange", json_sprintf("%lld-%lld", outside, outside + more));
	return one;
}

/* A container ended, its health changed, a port was published: while the task goes on. */
static int on_changed(struct life *l, const json_t *event)
{
	size_t i, k;
	json_t *c, *port;
	if (str_eqz(json_get_str(l->doc, "lastStatus"), "STOPPED"))
		return 0;
	json_array_foreach (json_get(l->doc, "containers"), i, c) {
		const json_t *r = ecs_by_name(json_get(event, "containers"), json_get_text(c, "name"));
		const char *phase = json_get_text(r, "phase");
		json_set_text(c, "healthStatus", json_get_text(r, "health"));
		if (phase && !strcmp(phase, "running"))
			set_running(c, turn_now_ms(l->t));
		if (phase && !strcmp(phase, "ended"))
			finish_container(c, r);
		set_gpus(c, json_get(r, "gpus"));
		if (!json_get(r, "ports"))
			continue;
		json_t *bindings = json_array();
		json_array_foreach (json_get(r, "ports"), k, port)
			json_array_append_new(bindings, binding(port));
		json_object_set_new(c, "networkBindings", bindings);
	}
	json_set_text(l->doc, "healthStatus", health_of(json_get(event, "containers")));
	return save(l);
}

static int on_task(struct life *l, json_t *event)
{
	const char *type = json_get_text(event, "type");
	if (!type)
		return 0;
	if (!strcmp(type, "started"))
		return on_started(l, event);
	if (!strcmp(type, "changed"))
		return on_changed(l, event);
	if (!strcmp(type, "stopped"))
		return on_ended(l, event);
	return 0; /* queued: it stays PENDING */
}

static int forget(struct life *l)
{
	turn_end(l->t);
	return db_exec(turn_db(l->t), l->err, "DELETE FROM ecs_task WHERE id=?", "s", json_get_text(l->state, "id")) < 0
		       ? -1
		       : 0;
}

int ecs_task_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	struct life l = { .t = t, .a = turn_arena(t), .state = state, .err = err };
	const char *type = json_get_text(event, "type");
	int rc = ecs_task_get(turn_db(t), l.a, NULL, json_get_text(state, "id"), &l.doc, err);
	if (rc < 0)
		return -1;
	if (rc == 0) {
		turn_end(t);
		return 0;
	}
	if (!strcmp(type, "start"))
		return on_start(&l);
	if (!strcmp(type, "accepted"))
		return on_accepted(&l, event);
	if (!strcmp(type, "start-failed") && json_get(state, "ended"))
		return on_accepted(&l, event);
	if (!strcmp(type, "start-failed"))
		return finish(&l, json_get_bool(event, "stopped", false) ? "stop" : "start-failed",
			      json_get_text(event, "reason"), NULL);
	if (!strcmp(type, "start-retry"))
		turn_timer(t, "start", turn_now_ms(t) + RETRY_MS, json_pack("{s:s}", "type", "again"));
	if (!strcmp(type, "again"))
		ask_start(&l);
	if (!strcmp(type, "stop"))
		return on_stop(&l);
	if (!strcmp(type, "watch"))
		on_watch(&l, json_get_text(event, "actor"));
	if (!strcmp(type, "task"))
		return on_task(&l, json_get(event, "event"));
	if (!strcmp(type, "engine.poison"))
		log_error("ecs", "%s: an event was given up: %s", turn_self(t),
			  json_get_text(event, "error") ? json_get_text(event, "error") : "?");
	return !strcmp(type, "forget") ? forget(&l) : 0;
}
