/* integ.c - the effects of Task and distributed Map states: call, log; the table of all. See integ.h. */
#include "states/integ.h"

#include <stdatomic.h>
#include <stdlib.h>

static json_t *event_new(const struct effect *fx, const char *type)
{
	json_t *e = json_pack("{s:s}", "type", type);
	json_set_int(e, "frame", json_get_int(fx->payload, "frame", 0));
	json_set_int(e, "attempt", json_get_int(fx->payload, "attempt", 0));
	return e;
}

/* The answer (taken) as an event. */
static json_t *answer_event(json_t *event, struct answer *w)
{
	if (w->refused)
		json_set_bool(event, "refused", true);
	if (w->output)
		json_object_set_new(event, "output", w->output);
	else
		json_set_text(event, "error", w->error);
	json_set_text(event, "cause", w->cause);
	return event;
}

/* ---- the call of a Task ---- */

struct task {
	struct integ_request q; /* first: found from it */
	struct engine *engine;
	int64_t seq;
	json_t *event;    /* to be filled with the answer */
	_Atomic int refs; /* who makes the call, and its answer */
	_Atomic bool answered;
	bool committed; /* the effect's end was written with what the call wrote */
};

static void task_unref(struct task *k)
{
	if (atomic_fetch_sub(&k->refs, 1) > 1)
		return;
	json_decref(k->q.params);
	arena_release(&k->q.arena);
	free(k);
}

static int task_commit(struct integ_request *q, struct turn *t, json_t *output, struct error *err)
{
	struct task *k = (struct task *)q;
	json_t *event = json_copy(k->event);
	json_object_set(event, "output", output);
	if (turn_effect_done(t, k->seq, event, err) < 0)
		return -1;
	k->committed = true;
	return 0;
}

static void task_answered(struct integ_request *q, struct answer *w)
{
	struct task *k = (struct task *)q;
	atomic_store(&k->answered, true);
	answer_event(k->event, w);
	/* Refused because the daemon stops: the effect stays and is performed again at the next start. */
	if ((k->committed && w->output) || (atomic_load(&q->s->stopping) && !w->output))
		json_decref(k->event);
	else
		engine_effect_done(k->engine, k->seq, k->event);
	task_unref(k);
}

/* In the request's arena; NULL when absent. */
static const char *text_of(struct integ_request *q, const struct effect *fx, const char *key)
{
	struct str s = json_get_str(fx->payload, key);
	return s.ptr ? arena_strdup(&q->arena, s) : NULL;
}

static void perform_task(void *ctx, struct engine *e, const struct effect *fx)
{
	struct task *k = mem_calloc(1, sizeof(*k));
	*k = (struct task){ .q = { .s = ctx, .arena = ARENA_INIT, .commit = task_commit, .done = task_answered },
			    .engine = e,
			    .seq = fx->seq,
			    .refs = 2 };
	k->event = event_new(fx, "task");
	resource_parse(&k->q.arena, arena_strdup(&k->q.arena, json_get_str(fx->payload, "resource")), &k->q.r);
	k->q.params = json_incref(json_object_get(fx->payload, "params"));
	k->q.role = text_of(&k->q, fx, "role");
	k->q.through = text_of(&k->q, fx, "through");
	k->q.session = text_of(&k->q, fx, "session");
	integ_call(&k->q);
	/* A function that was taken runs: LambdaFunctionStarted. */
	if (k->q.r.kind == TASK_LAMBDA_ARN && !atomic_load(&k->answered))
		engine_post(e, fx->actor, event_new(fx, "started"), NULL, NULL);
	task_unref(k);
}

/* ---- within the turn ---- */

struct at_once {
	struct integ_request q; /* first: found from it */
	json_t *event;
};

static void answered_at_once(struct integ_request *q, struct answer *w)
{
	struct at_once *k = (struct at_once *)q;
	answer_event(k->event, w);
}

void integ_in_turn(struct exec *x, struct frame *f, const struct resource *r)
{
	struct at_once k = { .q = { .s = x->s,
				    .t = x->t,
				    .arena = ARENA_INIT,
				    .r = *r,
				    .params = f->work,
				    .done = answered_at_once },
			     .event = json_pack("{s:s}", "type", "task") };
	integ_set_role(&k.q, x, f);
	integ_call(&k.q);
	arena_release(&k.q.arena);
	integ_event(x, f, k.event);
}

/* ---- logs ---- */

static void perform_log(void *ctx, struct engine *e, const struct effect *fx)
{
	struct integ_request q = { .s = ctx, .arena = ARENA_INIT };
	struct answer w = { 0 };
	CLEANUP_JSON json_t *stream = json_object();
	json_object_set(stream, "LogGroupName", json_object_get(fx->payload, "group"));
	json_object_set(stream, "LogStreamName", json_object_get(fx->payload, "stream"));
	integ_sdk_call(&q, "cloudwatchlogs", "createLogStream", stream, &w); /* there already: also good */
	json_decref(w.output);
	w = (struct answer){ 0 };
	json_object_set(stream, "LogEvents", json_object_get(fx->payload, "events"));
	integ_sdk_call(&q, "cloudwatchlogs", "putLogEvents", stream,
		       &w); /* the group may be gone: logging never fails an execution */
	json_decref(w.output);
	engine_effect_done(e, fx->seq, NULL);
	arena_release(&q.arena);
}

int integ_effects_init(struct states *s)
{
	const struct effect_type types[] = {
		{ .name = "states.task", .perform = perform_task, .ctx = s, .blocking = true },
		{ .name = "states.children", .perform = exec_feed_perform, .ctx = s, .blocking = true },
		{ .name = "states.write", .perform = exec_results_perform, .ctx = s, .blocking = true },
		{ .name = "states.log", .perform = perform_log, .ctx = s, .blocking = true },
	};
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		engine_add_effect(s->o.engine, &types[i]);
	return 0;
}
