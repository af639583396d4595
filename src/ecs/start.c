/* start.c - what tasks do outside the store: look-ups of secrets and environment files, directories, the executor. On
 * worker threads.
 *
 * DESIGN: each performer may run again after a crash; starting is idempotent by the task's id. Values of secrets go
 * into the spec that the executor gets and nowhere else: not into the engine's tables, not into a log. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "ecs/room.h"
#include "secrets/secrets.h"
#include "ssm/ssm.h"

#define ENV_FILE_MAX (1 << 20)

struct start {
	struct ecs *e;
	struct engine *engine;
	struct arena a;
	struct db *db;
	json_t *spec;
	const json_t *plan;
	struct error *err;
};

static json_t *event_of(const char *type)
{
	return json_pack("{s:s}", "type", type);
}

/* ---- look-ups ---- */

/* "NAME=value" lines; '#' starts a comment line. As Docker reads env files. */
static void read_env_file(struct arena *a, struct str text, json_t *env)
{
	struct str line;
	while (text.len && str_split(&text, '\n', &line)) {
		if (line.len && line.ptr[line.len - 1] == '\r')
			line.len--;
		ptrdiff_t eq = str_find_char(line, '=');
		if (!line.len || line.ptr[0] == '#' || eq <= 0)
			continue;
		json_t *value = json_stringn(line.ptr + eq + 1, line.len - (size_t)eq - 1);
		if (value)
			json_object_set_new(env, arena_strdup(a, str_head(line, (size_t)eq)), value);
	}
}

/* The text of the object with this ARN; `what` begins the error's text. */
static int read_object(struct start *s, struct str arn, const char *what, struct str *text)
{
	ptrdiff_t at = str_find(arn, STR(":::"));
	struct str rest = at < 0 ? arn : str_skip(arn, (size_t)at + 3), bucket;
	if (at < 0 || !str_split(&rest, '/', &bucket) || !rest.ptr)
		return error_set(s->err, "ResourceInitializationError: %s: `%.*s` is not the ARN of an object", what,
				 STR_ARG(arn));
	if (s3_read(s->e->o.s3, s->db, bucket, rest, ENV_FILE_MAX, &s->a, text, s->err) < 0)
		return error_wrap(s->err,
				  "ResourceInitializationError: %s: file download command: non empty error stream: "
				  "%.*s",
				  what, STR_ARG(arn));
	return 0;
}

static int env_files(struct start *s, const json_t *files, json_t *env)
{
	size_t i;
	json_t *f;
	json_array_foreach (files, i, f) {
		struct str text;
		if (read_object(s, json_get_str(f, "value"), "failed to download env files", &text) < 0)
			return -1;
		read_env_file(&s->a, text, env);
	}
	return 0;
}

static int secrets(struct start *s, const json_t *list, json_t *env)
{
	size_t i;
	json_t *one;
	json_array_foreach (list, i, one) {
		const char *from = json_get_text(one, "valueFrom");
		bool manager = strstr(from, ":secretsmanager:") != NULL;
		const char *value =
			manager ? secrets_value(s->db, &s->a, from, s->err) : ssm_value(s->db, &s->a, from, s->err);
		if (!value) {
			const char *code = arena_strdup(&s->a, str_from(s->err->code));
			return error_wrap(s->err,
					  "ResourceInitializationError: unable to pull secrets or registry auth: "
					  "execution resource retrieval failed: unable to retrieve secret%s from %s: "
					  "service call has been retried 1 time(s): %s",
					  manager ? "" : "s", manager ? "asm" : "ssm", code);
		}
		json_set_text(env, json_get_text(one, "name"), value);
	}
	return 0;
}

/* The log router's own configuration, which the file that we make includes. */
static int router_config(struct start *s, const json_t *config, json_t *container)
{
	struct str text;
	if (!config)
		return 0;
	if (read_object(s, json_get_str(config, "value"), "failed to download firelens s3 config file", &text) < 0)
		return -1;
	json_t *value = json_stringn(text.ptr, text.len);
	if (!value)
		return error_set(s->err, "ResourceInitializationError: the firelens s3 config file is not UTF-8");
	return json_array_append_new(json_get(container, "files"),
				     json_pack("{s:O,s:o}", "path", json_get(config, "path"), "text", value));
}

static int look_up(struct start *s)
{
	size_t i;
	json_t *look;
	s->db = store_read_begin(engine_store(s->engine), s->err);
	if (!s->db)
		return -1;
	int rc = 0;
	json_array_foreach (json_get(s->plan, "lookups"), i, look) {
		json_t *container = ecs_by_name(json_get(s->spec, "containers"), json_get_text(look, "container"));
		json_t *env = json_get(container, "env");
		rc = env_files(s, json_get(look, "files"), env);
		json_object_update(env, json_get(look, "environment"));
		rc = rc < 0 ? rc : secrets(s, json_get(look, "secrets"), env);
		json_object_update(env, json_get(look, "override"));
		rc = rc < 0 ? rc : router_config(s, json_get(look, "config"), container);
		if (rc < 0)
			break;
	}
	store_read_end(engine_store(s->engine), s->db);
	return rc;
}

/* ---- directories, logs ---- */

static int make_dirs(struct start *s)
{
	size_t i;
	json_t *d;
	json_array_foreach (json_get(s->plan, "dirs"), i, d) {
		char *path = arena_strdup(&s->a, json_str(d));
		for (char *p = path + strlen(s->e->o.data_dir) + 1;; p++) {
			if (*p && *p != '/')
				continue;
			char end = *p;
			*p = 0;
			if (mkdir(path, 0755) < 0 && errno != EEXIST)
				return error_errno(s->err, errno, "ResourceInitializationError: make volume `%s`",
						   path);
			*p = end;
			if (!end)
				break;
		}
	}
	return 0;
}

static int touch_logs(struct start *s)
{
	size_t i;
	json_t *c;
	json_array_foreach (json_get(s->spec, "containers"), i, c)
		if (json_get_text(c, "log") && logs_touch(json_get_text(c, "log"), s->err) < 0)
			return error_wrap(s->err, "ResourceInitializationError: failed to validate logger args");
	return 0;
}

/* ---- effects ---- */

static bool still_wanted(struct start *s, const char *id)
{
	json_t *doc = NULL;
	struct db *db = store_read_begin(engine_store(s->engine), NULL);
	if (!db)
		return true;
	int rc = ecs_task_get(db, &s->a, NULL, id, &doc, NULL);
	store_read_end(engine_store(s->engine), db);
	return rc < 0 || (rc > 0 && str_eqz(json_get_str(doc, "desiredStatus"), "RUNNING"));
}

static json_t *failed(const char *reason, bool stopped)
{
	json_t *event = event_of("start-failed");
	json_set_text(event, "reason", reason);
	json_set_bool(event, "stopped", stopped);
	return event;
}

static json_t *accepted(const json_t *spec)
{
	json_t *event = event_of("accepted"), *digests = json_object(), *c;
	size_t i;
	json_array_foreach (json_get(spec, "containers"), i, c)
		json_set_text(digests, json_get_text(c, "name"), json_get_text(json_get(c, "rootfs"), "digest"));
	json_object_set_new(event, "digests", digests);
	return event;
}

/* The event for the task's actor; NULL: the engine ends, and this is performed again at the next start. */
static json_t *start(struct start *s, const json_t *payload)
{
	if (!still_wanted(s, json_get_text(payload, "id")))
		return failed(NULL, true);
	if (!s->e->o.tasks)
		return failed("AGENT: this daemon runs without an executor", false);
	if (look_up(s) < 0 || make_dirs(s) < 0 || touch_logs(s) < 0)
		return failed(error_text(s->err), false);
	if (task_start(s->e->o.tasks, json_get_text(payload, "owner"), s->spec, s->err) >= 0) {
		ecs_machine_learn(s->e);
		return accepted(s->spec);
	}
	if (error_is(s->err, "ValidationException"))
		return failed(arena_printf(&s->a, "CannotCreateContainerError: %s", error_text(s->err)), false);
	if (error_is(s->err, "CannotPullContainerError"))
		return failed(error_text(s->err), false);
	if (engine_stopping(s->engine))
		return NULL;
	log_warn("ecs", "start of task %s: %s; trying again", json_get_text(payload, "id"), error_text(s->err));
	return event_of("start-retry");
}

static void perform_start(void *ctx, struct engine *e, const struct effect *fx)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct start s = { .e = ctx, .engine = e, .a = ARENA_INIT, .plan = json_get(fx->payload, "plan"), .err = &err };
	s.spec = json_deep_copy(json_get(s.plan, "spec"));
	json_t *event = start(&s, fx->payload);
	json_decref(s.spec);
	arena_release(&s.a);
	if (event)
		engine_effect_done(e, fx->seq, event);
}

static void perform_stop(void *ctx, struct engine *e, const struct effect *fx)
{
	struct ecs *room = ctx;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	char id[64];
	snprintf(id, sizeof(id), "ecs-%s", json_get_text(fx->payload, "id"));
	while (task_stop(room->o.tasks, id, "stop", &err) < 0) {
		if (engine_stopping(e))
			return;
		log_warn("ecs", "stop of %s: %s; trying again", id, error_text(&err));
		error_release(&err);
		err = ERROR_INIT;
		usleep(500000);
	}
	engine_effect_done(e, fx->seq, NULL);
}

void ecs_add_effects(struct ecs *e)
{
	engine_add_effect(
		e->o.engine,
		&(struct effect_type){ .name = "ecs.start", .perform = perform_start, .ctx = e, .blocking = true });
	engine_add_effect(
		e->o.engine,
		&(struct effect_type){ .name = "ecs.stop", .perform = perform_stop, .ctx = e, .blocking = true });
}
