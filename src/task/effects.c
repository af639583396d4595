/* effects.c - the effects "task.start" and "task.stop"; see task_add_effects in task.h. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "task/client.h"

#define PATIENCE_MS 300000

/* Lives as long as the client, which outlives the engine's workers. */
struct effects {
	struct task_client *client;
	task_prepare prepare;
	void *ctx;
};

static json_t *start_failed(struct engine *e, const char *task, const char *why)
{
	json_t *event = json_object(), *wrapped = json_object();
	json_set_text(event, "task", task);
	json_set_text(event, "type", "stopped");
	json_set_int(event, "at", engine_now_ms(e));
	json_object_set_new(event, "started_at", json_null());
	json_set_text(event, "reason", "start-failed");
	json_set_text(event, "error", why);
	json_object_set_new(event, "containers", json_array());
	json_object_set_new(event, "notes", json_array());
	json_object_set_new(event, "texts", json_object());
	json_object_set_new(event, "outputs", json_array());
	json_set_text(wrapped, "type", "task");
	json_object_set_new(wrapped, "event", event);
	return wrapped;
}

/* Waits out a short absence of the executor. */
static int start(struct effects *f, struct engine *e, const char *owner, json_t *spec, struct error *err)
{
	int64_t until = clock_monotonic_us() / 1000 + PATIENCE_MS;
	for (;;) {
		int rc = task_start(f->client, owner, spec, err);
		if (rc == 0 || !error_is(err, "Unavailable") || engine_stopping(e) ||
		    clock_monotonic_us() / 1000 >= until)
			return rc;
		error_release(err);
		*err = ERROR_INIT;
	}
}

static void perform_start(void *ctx, struct engine *e, const struct effect *fx)
{
	struct effects *f = ctx;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *owner = json_get_text(fx->payload, "owner");
	CLEANUP_JSON json_t *spec = json_deep_copy(json_get(fx->payload, "spec"));
	owner = owner ? owner : fx->actor;
	int rc = f->prepare ? f->prepare(f->ctx, e, spec, &err) : 0;
	if (rc == 0)
		rc = start(f, e, owner, spec, &err);
	if (rc < 0 && error_is(&err, "Unavailable") && engine_stopping(e))
		return; /* performed again at the next start */
	json_t *event = rc < 0 ? start_failed(e, json_get_text(spec, "id"), error_text(&err)) : NULL;
	if (event && strcmp(owner, fx->actor)) {
		engine_post(e, owner, event, NULL, NULL);
		event = NULL;
	}
	engine_effect_done(e, fx->seq, event);
}

static void perform_stop(void *ctx, struct engine *e, const struct effect *fx)
{
	struct effects *f = ctx;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *task = json_get_text(fx->payload, "task"), *reason = json_get_text(fx->payload, "reason");
	if (task && task_stop(f->client, task, reason ? reason : "stop", &err) < 0) {
		if (engine_stopping(e))
			return;
		log_warn("task", "stop %s: %s", task, error_text(&err));
	}
	engine_effect_done(e, fx->seq, NULL);
}

void task_add_effects(struct engine *e, struct task_client *c, task_prepare prepare, void *ctx)
{
	struct effects *f = mem_calloc(1, sizeof(*f));
	*f = (struct effects){ c, prepare, ctx };
	task_client_own(c, f);
	const struct effect_type types[] = { { "task.start", perform_start, f, true },
					     { "task.stop", perform_stop, f, true } };
	for (size_t i = 0; i < 2; i++)
		engine_add_effect(e, &types[i]);
}
