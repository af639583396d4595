/* endpoints.c - what containers of tasks ask at 169.254.170.2: credentials of the task's role, and metadata version 4.
 *
 * DESIGN: unsigned HTTP that the supervisor's proxy carries here; who knows the random id is the task. Credentials are
 * made when first asked for and again a quarter of an hour before they expire. Sources: amazon-ecs-agent (handlers of
 * credentials and task metadata). */
#include <stdio.h>

#include "base/clock.h"
#include "base/id.h"
#include "ecs/room.h"

#define SESSION_MS ((int64_t)6 * 3600 * 1000)
#define RENEW_MS ((int64_t)15 * 60 * 1000)

/* ---- rows ---- */

const char *ecs_credentials_new(struct turn *t, const char *task_id, const char *role, struct error *err)
{
	const char *id = turn_uuid(t);
	if (db_exec(turn_db(t), err, "INSERT INTO ecs_credential(id, task, role, expires_ms) VALUES(?,?,?,0)", "sss",
		    id, task_id, role) < 0)
		return NULL;
	return id;
}

int ecs_credentials_drop(struct db *db, const char *task_id, struct error *err)
{
	return db_exec(db, err, "DELETE FROM ecs_credential WHERE task=?", "s", task_id) < 0 ? -1 : 0;
}

/* ---- credentials ---- */

struct ask {
	struct ecs *e;
	struct wire_request *r;
	char id[64];
	json_t *answer;
};

static void send_json(struct wire_request *r, int status, json_t *body)
{
	wire_set_header(r, "Content-Type", "application/json");
	struct str text = json_text(wire_arena(r), body);
	json_decref(body);
	wire_send(r, status, text);
}

static void refuse(struct wire_request *r, int status, const char *code, const char *message)
{
	send_json(r, status, json_pack("{s:s,s:s,s:i}", "code", code, "message", message, "HTTPErrorCode", status));
}

static int issue(struct turn *t, void *arg, struct error *err)
{
	struct ask *x = arg;
	struct arena *a = turn_arena(t);
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(turn_db(t), &rows, err, "SELECT task, role, session, expires_ms FROM ecs_credential WHERE id=?",
			"s", x->id);
	if (rc <= 0)
		return rc; /* none: answer stays NULL */
	if (!rows_null(&rows, 2) && rows_int(&rows, 3) > turn_now_ms(t) + RENEW_MS) {
		x->answer = json_parse(rows_str(&rows, 2), err);
		return x->answer ? 0 : -1;
	}
	const char *task = arena_strdup(a, rows_str(&rows, 0)), *role = arena_strdup(a, rows_str(&rows, 1));
	struct iam_session session;
	char expires[32];
	rows_done(&rows);
	if (iam_new_session(x->e->o.iam, t, role, task, SESSION_MS, &session, err) < 0)
		return -1;
	json_t *answer = json_pack("{s:s,s:s,s:s,s:s,s:s}", "RoleArn", role, "AccessKeyId", session.access_key,
				   "SecretAccessKey", session.secret_key, "Token", session.token, "Expiration",
				   clock_iso(session.expires_ms, expires));
	x->answer = answer;
	CLEANUP_FREE char *text = json_text_dup(answer);
	return db_exec(turn_db(t), err, "UPDATE ecs_credential SET session=?, expires_ms=? WHERE id=?", "sis", text,
		       session.expires_ms, x->id) < 0
		       ? -1
		       : 0;
}

static void issued(void *arg, int rc, struct error *err)
{
	struct ask *x = arg;
	if (rc < 0) {
		json_decref(x->answer);
		refuse(x->r, 503, "CredentialsUninitialized", "Credentials uninitialized for ID");
	} else if (!x->answer) {
		refuse(x->r, 400, "InvalidIdInRequest", "CredentialsV2Request: Credentials not found");
	} else {
		send_json(x->r, 200, x->answer);
	}
}

static void credentials(struct ecs *e, struct wire_request *r, struct str id)
{
	if (!id.len || id.len >= 64) {
		refuse(r, 400, "NoIdInRequest", "CredentialsV2Request: No Credential ID in the request");
		return;
	}
	struct ask *x = ARENA_NEW(wire_arena(r), struct ask);
	x->e = e;
	x->r = r;
	memcpy(x->id, id.ptr, id.len);
	engine_submit(e->o.engine, issue, issued, x);
}

/* ---- metadata ---- */

static json_t *iso(const json_t *doc, const char *key)
{
	char text[32];
	double at = json_get_real(doc, key, 0);
	return at > 0 ? json_string(clock_iso_ms((int64_t)(at * 1000 + 0.5), text)) : NULL;
}

static void set_iso(json_t *out, const char *name, const json_t *doc, const char *key)
{
	json_t *value = iso(doc, key);
	if (value)
		json_object_set_new(out, name, value);
}

static json_t *limits(const json_t *doc, bool task)
{
	double cpu = json_get_text(doc, "cpu") ? (double)ecs_cpu_units(json_get_text(doc, "cpu")) : 0;
	int64_t memory = json_get_text(doc, "memory") ? ecs_memory_mib(json_get_text(doc, "memory")) : 0;
	json_t *out = json_object();
	if (cpu > 0)
		json_set_real(out, "CPU", task ? cpu / 1024 : cpu);
	if (memory > 0)
		json_set_int(out, "Memory", memory);
	return out;
}

static json_t *container_metadata(const json_t *task, const json_t *c, const json_t *definition)
{
	json_t *out = json_object(), *labels = json_object();
	const char *cluster = json_get_text(task, "clusterArn"), *arn = json_get_text(task, "taskArn"),
		   *revision = json_get_text(task, "taskDefinitionArn");
	const json_t *d = ecs_definition_container(definition, json_get_text(c, "name"));
	json_set_text(out, "DockerId", json_get_text(c, "runtimeId"));
	json_set_text(out, "Name", json_get_text(c, "name"));
	json_set_text(out, "DockerName", json_get_text(c, "name"));
	json_set_text(out, "Image", json_get_text(c, "image"));
	json_set_text(out, "ImageID", json_get_text(c, "imageDigest") ? json_get_text(c, "imageDigest") : "");
	json_object_update(labels, json_get(d, "dockerLabels"));
	json_set_text(labels, "com.amazonaws.ecs.cluster", cluster);
	json_set_text(labels, "com.amazonaws.ecs.container-name", json_get_text(c, "name"));
	json_set_text(labels, "com.amazonaws.ecs.task-arn", arn);
	json_set_text(labels, "com.amazonaws.ecs.task-definition-family", json_get_text(definition, "family"));
	json_set_text(labels, "com.amazonaws.ecs.task-definition-version", revision ? strrchr(revision, ':') + 1 : "");
	json_object_set_new(out, "Labels", labels);
	json_set_text(out, "DesiredStatus", json_get_text(task, "desiredStatus"));
	json_set_text(out, "KnownStatus", json_get_text(c, "lastStatus"));
	if (json_get(c, "exitCode"))
		json_object_set(out, "ExitCode", json_get(c, "exitCode"));
	json_object_set_new(out, "Limits", limits(c, false));
	set_iso(out, "CreatedAt", task, "createdAt");
	set_iso(out, "StartedAt", task, "startedAt");
	json_set_text(out, "Type", "NORMAL");
	json_set_text(out, "LogDriver", json_get_text(json_get(d, "logConfiguration"), "logDriver"));
	if (json_get_path(d, "logConfiguration.options"))
		json_object_set(out, "LogOptions", json_get_path(d, "logConfiguration.options"));
	json_set_text(out, "ContainerARN", json_get_text(c, "containerArn"));
	if (json_get(d, "healthCheck"))
		json_object_set_new(out, "Health", json_pack("{s:s}", "status", json_get_text(c, "healthStatus")));
	json_object_set_new(out, "Networks",
			    json_pack("[{s:s,s:[]}]", "NetworkMode",
				      json_get_text(definition, "networkMode")
					      ? json_get_text(definition, "networkMode")
					      : "bridge",
				      "IPv4Addresses"));
	return out;
}

static json_t *task_metadata(const json_t *task, const json_t *definition, bool tags)
{
	json_t *out = json_object(), *containers = json_array(), *c;
	const char *revision = json_get_text(task, "taskDefinitionArn");
	size_t i;
	json_set_text(out, "Cluster", json_get_text(task, "clusterArn"));
	json_set_text(out, "TaskARN", json_get_text(task, "taskArn"));
	json_set_text(out, "Family", json_get_text(definition, "family"));
	json_set_text(out, "Revision", revision ? strrchr(revision, ':') + 1 : "");
	json_set_text(out, "DesiredStatus", json_get_text(task, "desiredStatus"));
	json_set_text(out, "KnownStatus", json_get_text(task, "lastStatus"));
	json_object_set_new(out, "Limits", limits(task, true));
	set_iso(out, "PullStartedAt", task, "pullStartedAt");
	set_iso(out, "PullStoppedAt", task, "pullStoppedAt");
	set_iso(out, "ExecutionStoppedAt", task, "executionStoppedAt");
	json_set_text(out, "AvailabilityZone", json_get_text(task, "availabilityZone"));
	json_set_text(out, "LaunchType", json_get_text(task, "launchType"));
	json_array_foreach (json_get(task, "containers"), i, c)
		json_array_append_new(containers, container_metadata(task, c, definition));
	json_object_set_new(out, "Containers", containers);
	if (tags) {
		json_t *map = json_object(), *tag;
		json_array_foreach (json_get(task, "tags"), i, tag)
			json_set_text(map, json_get_text(tag, "key"),
				      json_get_text(tag, "value") ? json_get_text(tag, "value") : "");
		json_object_set_new(out, "TaskTags", map);
	}
	return out;
}

/* {container: statistics}; owned, NULL when nothing is known. */
static json_t *live(struct ecs *e, const json_t *task)
{
	char id[64];
	if (!e->o.tasks)
		return NULL;
	snprintf(id, sizeof(id), "ecs-%s", strrchr(json_get_text(task, "taskArn"), '/') + 1);
	return task_stats(e->o.tasks, id, NULL);
}

static json_t *stats_of(const json_t *all, const json_t *container)
{
	json_t *one = json_get(all, json_get_text(container, "name"));
	if (!one)
		return json_null();
	json_object_del(one, "restarts");
	json_set_text(one, "name", json_get_text(container, "name"));
	json_set_text(one, "id", json_get_text(container, "runtimeId"));
	return json_incref(one);
}

static json_t *stats_of_task(const json_t *all, const json_t *task)
{
	json_t *out = json_object(), *c;
	size_t i;
	json_array_foreach (json_get(task, "containers"), i, c)
		json_object_set_new(out, json_get_text(c, "runtimeId"), stats_of(all, c));
	return out;
}

/* How often containers with a restart policy were started again is what the supervisor counts. */
static void add_restarts(json_t *metadata, const json_t *all, const json_t *definition)
{
	const char *name = json_get_text(metadata, "Name");
	const json_t *d = ecs_definition_container(definition, name);
	if (json_get_bool(json_get(d, "restartPolicy"), "enabled", false))
		json_set_int(metadata, "RestartCount", json_get_int(json_get(all, name), "restarts", 0));
}

static bool any_restarts(const json_t *definition)
{
	size_t i;
	json_t *c;
	json_array_foreach (json_get(definition, "containerDefinitions"), i, c)
		if (json_get_bool(json_get(c, "restartPolicy"), "enabled", false))
			return true;
	return false;
}

/* `id`: "<task id>-<n>", as runtimeId. Owned, NULL with a status. */
static json_t *metadata_of(struct ecs *e, struct wire_request *r, struct db *db, struct str id, struct str what,
			   int *status)
{
	struct arena *a = wire_arena(r);
	json_t *task = NULL, *definition = NULL, *c, *found = NULL, *out = NULL;
	ptrdiff_t dash = str_find_char(id, '-');
	size_t i;
	*status = 404;
	if (dash < 0 || ecs_task_get(db, a, NULL, arena_strdup(a, str_head(id, (size_t)dash)), &task, NULL) <= 0)
		return NULL;
	if (ecs_definition_get(db, a, json_get_text(task, "taskDefinitionArn"), &definition, NULL) < 0)
		return NULL;
	json_array_foreach (json_get(task, "containers"), i, c)
		if (str_eq(json_get_str(c, "runtimeId"), id))
			found = c;
	if (!found)
		return NULL;
	bool whole = str_eqz(what, "task") || str_eqz(what, "taskWithTags"), stats = str_ends(what, STR("stats"));
	CLEANUP_JSON json_t *all = stats || any_restarts(definition) ? live(e, task) : NULL;
	if (!what.len)
		add_restarts(out = container_metadata(task, found, definition), all, definition);
	else if (whole)
		out = task_metadata(task, definition, what.len > 4);
	else if (str_eqz(what, "stats"))
		out = stats_of(all, found);
	else if (str_eqz(what, "task/stats"))
		out = stats_of_task(all, task);
	json_array_foreach (json_get(out, "Containers"), i, c)
		add_restarts(c, all, definition);
	*status = out ? 200 : 404;
	return out;
}

static void metadata(struct ecs *e, struct wire_request *r, struct str path)
{
	struct str id;
	int status = 500;
	str_split(&path, '/', &id);
	struct db *db = store_read_begin(engine_store(e->o.engine), NULL);
	json_t *answer = db ? metadata_of(e, r, db, id, path.ptr ? path : STR(""), &status) : NULL;
	if (db)
		store_read_end(engine_store(e->o.engine), db);
	send_json(r, status,
		  answer ? answer : json_string("V4 metadata: unable to get this from the id in the request"));
}

/* ---- HTTP ---- */

bool ecs_endpoints_claims(struct wire_request *r, void *ctx)
{
	struct str path = wire_path(r);
	return str_starts(path, STR("/v2/credentials")) || str_starts(path, STR("/v4/"));
}

static void on_end(struct wire_request *r, void *ctx)
{
	struct str path = wire_path(r);
	if (!str_eqz(wire_method(r), "GET"))
		refuse(r, 405, "MethodNotAllowed", "only GET");
	else if (str_starts(path, STR("/v4/")))
		metadata(ctx, r, str_skip(path, 4));
	else
		credentials(ctx, r, str_skip(path, strlen("/v2/credentials/")));
}

static void on_begin(struct wire_request *r, void *ctx)
{
}

static int on_body(struct wire_request *r, void *ctx, const void *p, size_t n)
{
	refuse(r, 400, "InvalidRequest", "a body is not expected");
	return -1;
}

static void on_abort(struct wire_request *r, void *ctx)
{
}

static void on_fail(struct wire_request *r, void *ctx, struct error *err)
{
	refuse(r, err->status ? err->status : 500, "ServerException", error_text(err));
}

const struct raw_handler ecs_endpoints_handler = { on_begin, on_body, on_end, on_abort, on_fail };
