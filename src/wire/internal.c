/* internal.c - operations called from inside, without HTTP: wire_call_internal.
 *
 * DESIGN: the input is brought to the model's spelling (spelling.c), checked against the model as a client's request
 * is, and given to the same handler. The answer comes back as the SDK for Java spells it. */
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "wire/codec.h"
#include "wire/http.h"

struct internal_call {
	struct call call; /* first: wire_answer finds the rest from it */
	pthread_mutex_t lock;
	pthread_cond_t ended;
	const struct wire_op *handler;
	json_t *in, *out;
	struct error err;
	int rc;
	bool done;
	/* of a call that nobody waits for */
	const struct model_service *model;
	const struct model_shape *out_shape;
	enum wire_spelling spelling;
	wire_internal_done told;
	int (*commit)(void *arg, struct turn *t, json_t *out, struct error *err);
	void *arg;
};

/* ---- the call ---- */

/* The answer as the caller sees it. What the call holds is released. */
static int finish(struct internal_call *c, int rc, json_t **out)
{
	*out = NULL;
	if (rc == 0)
		*out = spelling_to_sdk(c->model, c->out_shape, c->spelling, c->out);
	json_decref(c->in);
	json_decref(c->out);
	error_release(&c->err);
	return rc < 0 ? -1 : 0;
}

static void tell(struct internal_call *c, int rc, struct error *err)
{
	json_t *out;
	rc = finish(c, rc, &out);
	c->told(c->arg, rc, out, err);
}

void internal_answer(struct call *call, int rc, json_t *out, struct error *err)
{
	struct internal_call *c = (struct internal_call *)call;
	if (c->told) {
		c->out = out;
		tell(c, rc, err);
		return;
	}
	pthread_mutex_lock(&c->lock);
	c->rc = rc;
	c->out = out;
	if (rc < 0 && err && err->message)
		error_http(&c->err, err->status, err->code, "%s", error_text(err));
	c->done = true;
	pthread_cond_signal(&c->ended);
	pthread_mutex_unlock(&c->lock);
}

int wire_commit(struct call *call, struct turn *t, json_t *out, struct error *err)
{
	const struct internal_call *c = (struct internal_call *)call;
	if (call->request || !c->commit)
		return 0;
	CLEANUP_JSON json_t *told = spelling_to_sdk(c->model, c->out_shape, c->spelling, out);
	return c->commit(c->arg, t, told, err);
}

static int command_run_internal(struct turn *t, void *arg, struct error *err)
{
	struct internal_call *c = arg;
	json_decref(c->out);
	c->out = NULL;
	return c->handler->command(&c->call, t, c->in, &c->out, err);
}

static int query(struct internal_call *c, struct db *db, struct error *err)
{
	int rc = c->handler->query(&c->call, db, c->in, &c->out, err);
	if (rc >= 0 && c->call.out_text.ptr && !(c->out = json_parse(c->call.out_text, err)))
		rc = -1;
	return rc;
}

static int perform(struct internal_call *c, struct error *err)
{
	struct store *store = engine_store(c->call.engine);
	if (c->handler->command)
		return engine_call(c->call.engine, command_run_internal, c, err);
	if (c->handler->query) {
		struct db *db = store_read_begin(store, err);
		if (!db)
			return -1;
		int rc = query(c, db, err);
		store_read_end(store, db);
		return rc;
	}
	c->handler->async(&c->call, c->in);
	pthread_mutex_lock(&c->lock);
	while (!c->done)
		pthread_cond_wait(&c->ended, &c->lock);
	pthread_mutex_unlock(&c->lock);
	return c->rc < 0 ? error_move(err, &c->err) : 0;
}

static const struct service *service_find(struct wire_server *w, const char *model)
{
	for (size_t i = 0; i < w->nservices; i++)
		if (w->services[i].model && strcmp(model_name(w->services[i].model), model) == 0)
			return &w->services[i];
	return NULL;
}

/* Everything up to the handler: 0 and *c is ready, or an error. */
static int prepare(struct wire_server *w, const struct wire_internal *rq, struct arena *a, struct internal_call *c,
		   struct error *err)
{
	const struct service *sv = service_find(w, rq->model);
	if (!sv)
		return error_http(err, 501, "NotImplementedException", "Quern has no service `%s` yet.", rq->model);
	const struct model_op *op = model_op_find(sv->model, str_from(rq->operation));
	const struct wire_op *handler = op ? map_get(&sv->ops, str_from(rq->operation)) : NULL;
	if (!op)
		return error_http(err, 400, "UnknownOperationException", "The service `%s` has no operation `%s`.",
				  rq->model, rq->operation);
	if (!handler)
		return error_http(err, 501, "NotImplementedException", "Quern does not implement %s:%s yet.", rq->model,
				  rq->operation);
	char id[37];
	id_uuid(id, NULL, NULL);
	*c = (struct internal_call){ .handler = handler,
				     .lock = PTHREAD_MUTEX_INITIALIZER,
				     .ended = PTHREAD_COND_INITIALIZER,
				     .model = sv->model,
				     .out_shape = model_op_output(sv->model, op),
				     .spelling = rq->spelling };
	c->call = (struct call){ .arena = a,
				 .who = rq->who,
				 .region = rq->region ? rq->region : w->region,
				 .account = rq->who->account,
				 .operation = handler->name,
				 .request_id = arena_strdup(a, str_from(id)),
				 .engine = w->o.engine,
				 .service_ctx = sv->s->ctx };
	const struct model_shape *in_shape = model_op_input(sv->model, op);
	c->in = in_shape ? spelling_from_sdk(sv->model, in_shape, rq->in) : json_object();
	if (model_validate(a, sv->model, op, c->in, err) == 0 &&
	    access_check(w, sv->s, &c->call, c->in, NULL, err) == 0)
		return 0;
	json_decref(c->in);
	return -1;
}

int wire_call_internal(struct wire_server *w, const struct wire_internal *rq, struct arena *a, json_t **out,
		       struct error *err)
{
	struct internal_call c;
	*out = NULL;
	if (prepare(w, rq, a, &c, err) < 0)
		return -1;
	return finish(&c, perform(&c, err), out);
}

void wire_call_internal_async(struct wire_server *w, const struct wire_internal *rq, struct arena *a,
			      wire_internal_done done, void *arg)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct service *raw = inside_find(w, rq->model);
	if (raw) {
		inside_call(w, raw, rq, a, done, arg);
		return;
	}
	struct internal_call *c = ARENA_NEW(a, struct internal_call);
	if (prepare(w, rq, a, c, &err) < 0) {
		done(arg, -1, NULL, &err);
		return;
	}
	c->told = done;
	c->commit = rq->commit;
	c->arg = arg;
	if (c->handler->command || c->handler->query)
		tell(c, perform(c, &err), &err);
	else
		c->handler->async(&c->call, c->in);
}

enum wire_way wire_call_way(struct wire_server *w, const char *model, const char *operation)
{
	if (inside_find(w, model))
		return model_op_find(model_find(model), str_from(operation)) ? WIRE_WAITS : WIRE_ABSENT;
	const struct service *sv = service_find(w, model);
	const struct wire_op *handler = sv ? map_get(&sv->ops, str_from(operation)) : NULL;
	if (!handler)
		return WIRE_ABSENT;
	return handler->command || handler->inside ? WIRE_WRITES : handler->query ? WIRE_READS : WIRE_WAITS;
}

static int command_in_turn(struct turn *t, void *arg, struct error *err)
{
	struct internal_call *c = arg;
	wire_command run = c->handler->command ? c->handler->command : c->handler->inside;
	return run(&c->call, t, c->in, &c->out, err);
}

int wire_call_in_turn(struct wire_server *w, const struct wire_internal *rq, struct turn *t, struct arena *a,
		      json_t **out, struct error *err)
{
	struct internal_call c;
	*out = NULL;
	if (prepare(w, rq, a, &c, err) < 0)
		return -1;
	int rc = -1;
	if (c.handler->command || c.handler->inside)
		rc = turn_try(t, command_in_turn, &c, err);
	else if (c.handler->query)
		rc = query(&c, turn_db(t), err);
	else
		error_set(err, "%s:%s can't be called within a turn", rq->model, rq->operation);
	return finish(&c, rc, out);
}
