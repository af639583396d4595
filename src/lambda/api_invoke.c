/* api_invoke.c - Invoke: at once (RequestResponse), as a durable event, or only checked (DryRun).
 *
 * DESIGN: the handler needs nothing of the HTTP request, so that other rooms can call the operation too. An event is an
 * actor: it invokes by an effect, tries twice more when the function fails (after one and two minutes), and for six
 * hours when the function could not be run; then it is dropped with a line in the daemon's log. A crash in between runs
 * the function again. */
#include <stdio.h>
#include <stdlib.h>

#include "lambda/room.h"

enum { RETRY_MS = 60000, RETRIES = 2, BACKOFF_MAX_MS = 300000 };
#define EVENT_LIFE_MS (6 * 3600 * 1000LL)

struct invoke {
	struct call *c;
	struct lambda *l;
	struct invocation *i;
	const char *type;
	struct str payload;
	const char *context;
	json_t *state; /* of the event's actor */
};

/* ---- the answer ---- */

static json_t *base64_json(struct str raw)
{
	CLEANUP_FREE char *text = mem_alloc(4 * ((raw.len + 2) / 3) + 1);
	return json_stringn(text, base64_encode(text, raw.ptr, raw.len));
}

static int result(struct invoke *v, json_t **out, struct error *err)
{
	struct invocation *i = v->i;
	if (i->fault == LAMBDA_THROTTLED)
		return error_http(err, 429, "TooManyRequestsException", "%.*s", STR_ARG(i->body));
	if (i->fault == LAMBDA_BROKEN)
		return error_http(err, 500, "ServiceException", "%.*s", STR_ARG(i->body));
	*out = json_pack("{s:i, s:s}", "StatusCode", 200, "ExecutedVersion", i->version);
	if (i->function_error)
		json_set_text(*out, "FunctionError", "Unhandled");
	if (i->tail)
		json_object_set_new(*out, "LogResult", base64_json(lambda_log_tail(v->c->arena, i->log_path, i->id)));
	json_object_set_new(*out, "Payload", base64_json(i->body));
	return 0;
}

static void answer(void *arg)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct invoke *v = arg;
	struct invocation *i = v->i;
	json_t *out = NULL;
	int rc = result(v, &out, &err);
	wire_answer(v->c, rc, out, &err);
	invocation_free(i);
}

static void done(struct invocation *i)
{
	struct invoke *v = i->ctx;
	if (i->tail && i->fault == LAMBDA_OK)
		work_add(v->l->work, answer, v); /* reads the log */
	else
		answer(v);
}

/* ---- events ---- */

static int spawn_event(struct turn *t, void *arg, struct error *err)
{
	struct invoke *v = arg;
	const char *id = turn_uuid(t);
	json_set_text(v->state, "id", id);
	json_set_int(v->state, "first_ms", turn_now_ms(t));
	return turn_spawn(t, "lambda.event", arena_printf(turn_arena(t), "lambda/event/%s", id), json_incref(v->state),
			  err);
}

static void event_spawned(void *arg, int rc, struct error *err)
{
	struct invoke *v = arg;
	json_decref(v->state);
	wire_answer(v->c, rc, rc < 0 ? NULL : json_pack("{s:i}", "StatusCode", 202), err);
}

static void add_event(struct invoke *v, const struct lambda_name *n)
{
	v->state = json_object();
	json_set_text(v->state, "function", n->name);
	json_set_text(v->state, "qualifier", n->qualifier);
	json_object_set_new(v->state, "payload", json_stringn(v->payload.ptr, v->payload.len));
	json_set_text(v->state, "context", v->context);
	json_set_real(v->state, "scale", v->l->o.wait_scale > 0 ? v->l->o.wait_scale : 1);
	engine_submit(v->l->o.engine, spawn_event, event_spawned, v);
}

static void event_done(struct invocation *i)
{
	int64_t *seq = i->ctx;
	if (!(i->l->stopping && i->fault == LAMBDA_BROKEN)) { /* else: performed again at the next start */
		json_t *e = json_pack("{s:s, s:b, s:b}", "type", "invoked", "fault", i->fault != LAMBDA_OK, "failed",
				      i->function_error);
		json_object_set_new(e, "text", json_stringn(i->body.ptr, i->body.len < 500 ? i->body.len : 0));
		engine_effect_done(i->l->o.engine, *seq, e);
	}
	free(seq);
	invocation_free(i);
}

static void perform(void *ctx, struct engine *e, const struct effect *fx)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct lambda *l = ctx;
	struct arena a = ARENA_INIT;
	struct lambda_version version;
	struct lambda_name n = { json_get_text(fx->payload, "function"), json_get_text(fx->payload, "qualifier") };
	struct db *db = store_read_begin(l->store, &err);
	int rc = db ? lambda_version_find(l, db, &a, &n, &version, &err) : -1;
	if (db)
		store_read_end(l->store, db);
	if (rc < 0) { /* the function is gone, or it can't be read now: tried again */
		engine_effect_done(e, fx->seq,
				   json_pack("{s:s, s:b, s:s}", "type", "invoked",
					     error_is(&err, "ResourceNotFoundException") ? "gone" : "fault", 1, "text",
					     error_text(&err)));
	} else {
		struct invocation *i =
			invocation_new(l, json_get_str(fx->payload, "payload"), json_get_text(fx->payload, "context"));
		snprintf(i->id, sizeof(i->id), "%s", json_get_text(fx->payload, "id"));
		i->arn = mem_strdup(lambda_arn(l, &a, n.name, n.qualifier));
		i->done = event_done;
		i->ctx = mem_alloc(sizeof(int64_t));
		*(int64_t *)i->ctx = fx->seq;
		pool_invoke(l, &version, i);
	}
	arena_release(&a);
}

static void ask(struct turn *t, json_t *state)
{
	int64_t n = json_get_int(state, "asked", 0);
	json_set_int(state, "asked", n + 1);
	turn_effect(t, "lambda.invoke", arena_printf(turn_arena(t), "%s/%lld", turn_self(t), (long long)n),
		    json_copy(state));
}

static void on_invoked(struct turn *t, json_t *state, const json_t *event)
{
	int64_t failures = json_get_int(state, "failures", 0), faults = json_get_int(state, "faults", 0), wait_ms;
	const char *text = json_get_text(event, "text"), *name = json_get_text(state, "function"),
		   *id = json_get_text(state, "id");
	bool failed = json_get_bool(event, "failed", false), fault = json_get_bool(event, "fault", false),
	     gone = json_get_bool(event, "gone", false);
	if (!failed && !fault && !gone) {
		turn_end(t);
		return;
	}
	bool old = turn_now_ms(t) > json_get_int(state, "first_ms", 0) + EVENT_LIFE_MS;
	if (gone || old || (failed && failures >= RETRIES)) {
		log_warn("lambda", "event %s of %s is dropped: %s", id, name, text ? text : "");
		turn_end(t);
		return;
	}
	if (failed) {
		wait_ms = RETRY_MS * (failures + 1);
		json_set_int(state, "failures", failures + 1);
	} else {
		wait_ms = faults < 9 ? 1000LL << faults : BACKOFF_MAX_MS;
		json_set_int(state, "faults", faults + 1);
	}
	wait_ms = wait_ms < BACKOFF_MAX_MS ? wait_ms : BACKOFF_MAX_MS;
	turn_timer(t, "retry", turn_now_ms(t) + (int64_t)((double)wait_ms * json_get_real(state, "scale", 1)),
		   json_pack("{s:s}", "type", "retry"));
}

static int event_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	struct str type = json_get_str(event, "type");
	if (str_eqz(type, "start") || str_eqz(type, "retry"))
		ask(t, state);
	else if (str_eqz(type, "invoked"))
		on_invoked(t, state, event);
	return 0;
}

const struct actor_type lambda_event_actor = { "lambda.event", event_turn };

void lambda_event_init(struct lambda *l)
{
	engine_add_actor(l->o.engine, &lambda_event_actor);
	engine_add_effect(l->o.engine, &(struct effect_type){ .name = "lambda.invoke", .perform = perform, .ctx = l });
}

/* ---- the operation ---- */

static struct str decode(struct arena *a, struct str text)
{
	char *raw = arena_alloc_raw(a, 3 * (text.len / 4) + 4);
	ptrdiff_t n = base64_decode(raw, text);
	raw[n < 0 ? 0 : n] = 0;
	return n < 0 ? STR_NULL : str_of(raw, (size_t)n);
}

static int read_payload(struct invoke *v, json_t *in, struct error *err)
{
	const char *why;
	bool event = str_eqz(str_from(v->type), "Event");
	v->payload = json_get_str(in, "Payload").len ? decode(v->c->arena, json_get_str(in, "Payload")) : STR("{}");
	if (!v->payload.ptr)
		return error_http(err, 400, "InvalidRequestContentException",
				  "Could not parse request body into json: it is not base64");
	if (v->payload.len == 0)
		v->payload = STR("{}");
	if (event && v->payload.len > LAMBDA_EVENT_MAX)
		return error_http(err, 413, "RequestTooLargeException",
				  "%zu byte payload is too large for the Event invocation type (limit %d bytes)",
				  v->payload.len, LAMBDA_EVENT_MAX);
	if (v->payload.len > LAMBDA_SYNC_MAX)
		return error_http(err, 413, "RequestTooLargeException",
				  "Request must be smaller than %d bytes for the InvokeFunction operation",
				  LAMBDA_SYNC_MAX);
	if (!lambda_json_valid(v->payload, &why))
		return error_http(err, 400, "InvalidRequestContentException",
				  "Could not parse request body into json: Could not parse payload into json: %s", why);
	return 0;
}

static int read_context(struct invoke *v, json_t *in, struct error *err)
{
	struct str text = json_get_str(in, "ClientContext"), raw;
	const char *why;
	if (!text.len)
		return 0;
	raw = decode(v->c->arena, text);
	if (!raw.ptr || !lambda_json_valid(raw, &why) || str_find_char(raw, '\n') >= 0 || str_find_char(raw, '\r') >= 0)
		return error_http(err, 400, "InvalidRequestContentException",
				  "Could not parse ClientContext into json");
	v->context = raw.ptr;
	return 0;
}

/* 1: goes on elsewhere; 0: *out is the answer. */
static int invoke(struct invoke *v, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	struct lambda_version version;
	struct arena *a = v->c->arena;
	if (json_get(in, "DurableExecutionName") || json_get(in, "TenantId"))
		return lambda_invalid(err, "Quern does not support durable executions and tenants of functions");
	if (lambda_name_read(v->l, a, in, "FunctionName", &n, err) < 0)
		return -1;
	struct db *db = store_read_begin(v->l->store, err);
	if (!db)
		return -1;
	/* An unknown function is said to lack its $LATEST here, as AWS does. */
	const struct lambda_name asked = { n.name, n.qualifier ? n.qualifier : "$LATEST" };
	int rc = lambda_version_find(v->l, db, a, &asked, &version, err);
	store_read_end(v->l->store, db);
	if (rc < 0 || read_payload(v, in, err) < 0 || read_context(v, in, err) < 0)
		return -1;
	if (str_eqz(str_from(v->type), "DryRun")) {
		*out = json_pack("{s:i}", "StatusCode", 204);
		return 0;
	}
	if (str_eqz(str_from(v->type), "Event")) {
		add_event(v, &n);
		return 1;
	}
	v->i = invocation_new(v->l, v->payload, v->context);
	v->i->tail = str_eqz(json_get_str(in, "LogType"), "Tail");
	v->i->arn = mem_strdup(lambda_arn(v->l, a, n.name, n.qualifier));
	v->i->done = done;
	v->i->ctx = v;
	pool_invoke(v->l, &version, v->i);
	return 1;
}

static void op_invoke(struct call *c, json_t *in)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct invoke *v = ARENA_NEW(c->arena, struct invoke);
	json_t *out = NULL;
	*v = (struct invoke){ .c = c, .l = lambda_of(c), .type = json_get_text(in, "InvocationType") };
	v->type = v->type ? v->type : "RequestResponse";
	int rc = invoke(v, in, &out, &err);
	if (rc <= 0)
		wire_answer(c, rc, out, &err);
}

const struct wire_op lambda_invoke_ops[] = {
	{ .name = "Invoke", .async = op_invoke },
	{ 0 },
};
