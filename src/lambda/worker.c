/* worker.c - a worker's task: what it is made of, its start and its stop. On the room's threads.
 *
 * DESIGN: the container has the unpacked code at /var/task, the runtime (ours for Python and Node.js, the function's
 * own `bootstrap` for provided) as its command, the credentials of the function's role, and nothing else; its root is
 * read-only but for /tmp. It shares the machine's network, as a job on one host does. It finds the runtime interface by
 * an unguessable path. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "lambda/room.h"

#define SESSION_MS (43200 * 1000LL)
#define OWNER "lambda/workers"

struct start {
	struct worker *w;
	struct arena a;
	json_t *env;
	const char *stream;
};

/* ---- in the store: credentials and the log stream ---- */

static int prepare(struct turn *t, void *arg, struct error *err)
{
	struct start *s = arg;
	struct lambda *l = s->w->l;
	struct iam_session session;
	const char *role = json_get_text(s->w->config, "Role");
	const char *group = arena_printf(turn_arena(t), "/aws/lambda/%s", s->w->name);
	const char *own = json_get_text(json_get(s->w->config, "LoggingConfig"), "LogGroup");
	if (iam_new_session(l->o.iam, t, role, s->w->name, SESSION_MS, &session, err) < 0)
		return error_wrap(err, "credentials of role `%s`", role);
	const char *path = logs_stream(l->o.logs, t, own ? own : group, s->stream);
	if (!path)
		return error_set(err, "make log stream `%s`", s->stream);
	pool_lock(l);
	free(s->w->log_path);
	s->w->log_path = mem_strdup(path);
	pool_unlock(l);
	json_set_text(s->env, "AWS_ACCESS_KEY_ID", session.access_key);
	json_set_text(s->env, "AWS_SECRET_ACCESS_KEY", session.secret_key);
	json_set_text(s->env, "AWS_SESSION_TOKEN", session.token);
	return 0;
}

/* "2026/11/23/[$LATEST]<32 hex>" */
static const char *stream_name(struct start *s)
{
	unsigned char random[16];
	char hex[33];
	time_t now = (time_t)(clock_now_ms() / 1000);
	struct tm tm;
	gmtime_r(&now, &tm);
	random_bytes(random, sizeof(random));
	hex_encode(hex, random, sizeof(random));
	return arena_printf(&s->a, "%04d/%02d/%02d/[%s]%s", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
			    json_get_text(s->w->config, "Version"), hex);
}

static void add_env(struct start *s)
{
	struct lambda *l = s->w->l;
	const json_t *config = s->w->config;
	const char *key, *runtime = json_get_text(config, "Runtime"),
			 *own = json_get_text(json_get(config, "LoggingConfig"), "LogGroup");
	json_t *value;
	json_object_foreach (json_get_path(config, "Environment.Variables"), key, value)
		json_object_set(s->env, key, value);
	json_set_text(s->env, "AWS_LAMBDA_RUNTIME_API",
		      arena_printf(&s->a, "127.0.0.1:%u/_quern/lambda/%s", (unsigned)l->o.api_port, s->w->token));
	json_set_text(s->env, "AWS_LAMBDA_FUNCTION_NAME", s->w->name);
	json_set_text(s->env, "AWS_LAMBDA_FUNCTION_VERSION", json_get_text(config, "Version"));
	json_set_text(s->env, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
		      arena_printf(&s->a, "%lld", (long long)json_get_int(config, "MemorySize", 128)));
	json_set_text(s->env, "AWS_LAMBDA_LOG_GROUP_NAME",
		      own ? own : arena_printf(&s->a, "/aws/lambda/%s", s->w->name));
	json_set_text(s->env, "AWS_LAMBDA_LOG_STREAM_NAME", s->stream);
	json_set_text(s->env, "AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
	json_set_text(s->env, "AWS_EXECUTION_ENV", arena_printf(&s->a, "AWS_Lambda_%s", runtime ? runtime : ""));
	json_set_text(s->env, "LAMBDA_TASK_ROOT", "/var/task");
	json_set_text(s->env, "LAMBDA_RUNTIME_DIR", "/opt/quern/lambda");
	json_set_text(s->env, "_HANDLER", json_get_text(config, "Handler"));
	json_set_text(s->env, "AWS_REGION", l->o.region);
	json_set_text(s->env, "AWS_DEFAULT_REGION", l->o.region);
	if (!json_object_get(s->env, "AWS_ENDPOINT_URL"))
		json_set_text(s->env, "AWS_ENDPOINT_URL",
			      arena_printf(&s->a, "http://127.0.0.1:%u", (unsigned)l->o.api_port));
	if (!json_object_get(s->env, "AWS_DISABLE_HOST_PREFIX_INJECTION")) /* nobody resolves sync-127.0.0.1 */
		json_set_text(s->env, "AWS_DISABLE_HOST_PREFIX_INJECTION", "true");
	if (!json_object_get(s->env, "TZ"))
		json_set_text(s->env, "TZ", ":UTC");
}

/* ---- the task ---- */

static json_t *command_of(const char *kind)
{
	if (!strcmp(kind, "python"))
		return json_pack("[s,s]", "/usr/bin/python3", "/opt/quern/lambda/bootstrap.py");
	if (!strcmp(kind, "nodejs"))
		return json_pack("[s,s]", access("/usr/bin/node", X_OK) == 0 ? "/usr/bin/node" : "/usr/local/bin/node",
				 "/opt/quern/lambda/bootstrap.mjs");
	return json_pack("[s]", "/var/task/bootstrap");
}

static json_t *spec_of(struct start *s, const char *code, const char *kind)
{
	int64_t memory = json_get_int(s->w->config, "MemorySize", 128) << 20;
	json_t *c = json_pack("{s:s, s:s, s:o, s:[], s:O, s:s, s:b, s:b, s:b, s:i, s:s, s:i}", "name", "function",
			      "image", arena_printf(&s->a, "quern-lambda-%s", kind), "entrypoint", command_of(kind),
			      "command", "env", s->env, "workdir", "/var/task", "readonly_root", 1, "init", 0,
			      "essential", 1, "pids", 1024, "stop_signal", "SIGKILL", "stop_timeout_ms", 100);
	json_object_set_new(c, "mounts",
			    json_pack("[{s:s,s:s,s:s,s:b},{s:s,s:s,s:s}]", "type", "bind", "source", code, "target",
				      "/var/task", "readonly", 1, "type", "scratch", "name", "tmp", "target", "/tmp"));
	json_object_set_new(c, "capabilities", json_pack("{s:[],s:[s]}", "add", "drop", "ALL"));
	json_set_int(c, "memory", memory);
	json_set_real(c, "cpu_quota", lambda_cpus(memory >> 20));
	json_set_text(c, "log", s->w->log_path);
	return json_pack("{s:s, s:[o], s:s, s:[]}", "id", s->w->task, "containers", c, "network", "host", "outputs");
}

static int start(struct start *s, struct error *err)
{
	struct lambda *l = s->w->l;
	const char *kind = lambda_runtime_kind(json_get_str(s->w->config, "Runtime"));
	if (!kind)
		return error_set(err, "the runtime can not be run");
	const char *code = lambda_code_dir(l, &s->a, s->w->blob, err);
	if (!code)
		return -1;
	s->stream = stream_name(s);
	if (engine_call(l->o.engine, prepare, s, err) < 0 || logs_touch(s->w->log_path, err) < 0)
		return -1;
	add_env(s);
	CLEANUP_JSON json_t *spec = spec_of(s, code, kind);
	if (!spec)
		return error_set(err, "make the task of a function");
	return task_start(l->o.tasks, OWNER, spec, err);
}

void lambda_worker_start(void *arg)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct worker *w = arg;
	struct lambda *l = w->l;
	struct start s = { .w = w, .env = json_object() };
	int rc = 0;
	pool_lock(l);
	bool wanted = w->state != WORKER_GONE;
	pool_unlock(l);
	if (wanted)
		rc = start(&s, &err);
	if (rc < 0)
		pool_start_failed(l, w, error_text(&err));
	pool_lock(l);
	wanted = w->state != WORKER_GONE || !wanted;
	pool_unlock(l);
	if (!wanted)
		task_stop(l->o.tasks, w->task, "stop", NULL);
	pool_lock(l);
	lambda_worker_unref(w);
	pool_unlock(l);
	json_decref(s.env);
	arena_release(&s.a);
}

void lambda_worker_stop(void *arg)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct worker *w = arg;
	struct lambda *l = w->l;
	if (task_stop(l->o.tasks, w->task, "stop", &err) < 0 && !engine_stopping(l->o.engine))
		log_warn("lambda", "stop %s: %s", w->task, error_text(&err));
	pool_lock(l);
	lambda_worker_unref(w);
	pool_unlock(l);
}

void lambda_worker_sweep(void *arg)
{
	struct lambda *l = arg;
	json_t *tasks = NULL, *task;
	size_t i;
	for (int n = 0; n < 30 && !tasks && !l->stopping; n++)
		tasks = task_list(l->o.tasks, NULL);
	json_array_foreach (tasks, i, task) {
		struct str id = json_get_str(task, "task");
		pool_lock(l);
		bool ours = map_get(&l->tasks, id) != NULL;
		pool_unlock(l);
		if (str_starts(id, STR("lw-")) && !ours)
			task_stop(l->o.tasks, id.ptr, "stop", NULL);
	}
	json_decref(tasks);
}
