/* internal.c - operations called from inside, without HTTP: wire_call_internal.
 *
 * DESIGN: the input may spell members as the AWS SDK for Java does ("StateMachineArn" for the model's
 * "stateMachineArn") and give timestamps as ISO text; it is brought to the normal form, checked against the model as a
 * client's request is, and given to the same handler. The answer comes back in that spelling: capitalised members, ISO
 * timestamps. */
#include <ctype.h>

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
	wire_internal_done told;
	int (*commit)(void *arg, struct turn *t, json_t *out, struct error *err);
	void *arg;
};

/* ---- spelling ---- */

static const struct model_member *member_find(const struct model_service *s, const struct model_shape *sh,
					      const char *key)
{
	const struct model_member *exact = codec_member(s, sh, str_from(key)), *m = model_shape_members(s, sh);
	if (exact)
		return exact;
	for (int i = 0; i < sh->count; i++)
		if (str_eq_nocase(str_from(model_text(s, m[i].name)), str_from(key)))
			return &m[i];
	return NULL;
}

enum way { FROM_SDK, TO_SDK };

/* The name that a member has on the other side. */
static const char *name_of(const struct model_service *s, const struct model_member *m, const char *key, enum way way,
			   char sdk[256])
{
	if (way == FROM_SDK)
		return model_text(s, m->name);
	snprintf(sdk, 256, "%s", key);
	sdk[0] = (char)toupper((unsigned char)sdk[0]);
	return sdk;
}

static json_t *scalar(const struct model_shape *sh, json_t *value, enum way way)
{
	int64_t ms;
	char text[32];
	if (sh->type == MT_TIMESTAMP && way == TO_SDK && codec_time_ms(value, &ms))
		return json_string(ms % 1000 ? clock_iso_ms(ms, text) : clock_iso(ms, text));
	if (sh->type == MT_TIMESTAMP && way == FROM_SDK && json_is_string(value) &&
	    clock_parse_iso(json_str(value), &ms))
		return codec_time_new(ms);
	if (sh->type == MT_STRING && way == FROM_SDK &&
	    (json_is_object(value) || json_is_array(value))) { /* a JSON text may be given as JSON */
		CLEANUP_FREE char *dumped = json_text_dup(value);
		return json_string(dumped);
	}
	return json_incref(value);
}

static json_t *respell(const struct model_service *s, const struct model_shape *sh, json_t *value, enum way way,
		       int depth)
{
	const char *key;
	json_t *item, *out;
	size_t i;
	char name[256];
	if (depth > CODEC_MAX_DEPTH || (sh->flags & MS_DOCUMENT))
		return json_incref(value);
	const struct model_member *m = model_shape_members(s, sh);
	if (sh->type == MT_STRUCTURE && json_is_object(value)) {
		out = json_object();
		json_object_foreach (value, key, item) {
			m = way == FROM_SDK ? member_find(s, sh, key) : codec_member(s, sh, str_from(key));
			if (m && !json_is_null(item))
				json_object_set_new(out, name_of(s, m, key, way, name),
						    respell(s, model_member_shape(s, m), item, way, depth + 1));
		}
		return out;
	}
	if (sh->type == MT_LIST && json_is_array(value)) {
		out = json_array();
		json_array_foreach (value, i, item)
			json_array_append_new(out, respell(s, model_member_shape(s, m), item, way, depth + 1));
		return out;
	}
	if (sh->type == MT_MAP && json_is_object(value)) {
		out = json_object();
		json_object_foreach (value, key, item)
			json_object_set_new(out, key, respell(s, model_member_shape(s, m + 1), item, way, depth + 1));
		return out;
	}
	return scalar(sh, value, way);
}

/* The SDKs give a request a token of its own where the caller gives none. */
static void add_token(const struct model_service *s, const struct model_shape *sh, json_t *in)
{
	const struct model_member *m = model_shape_members(s, sh);
	char id[37];
	for (int i = 0; i < sh->count; i++) {
		if (!(m[i].flags & MM_IDEMPOTENCY) || json_get(in, model_text(s, m[i].name)))
			continue;
		id_uuid(id, NULL, NULL);
		json_set_text(in, model_text(s, m[i].name), id);
	}
}

json_t *internal_from_sdk(const struct model_service *s, const struct model_shape *sh, json_t *in)
{
	json_t *out = json_is_object(in) ? respell(s, sh, in, FROM_SDK, 0) : json_object();
	add_token(s, sh, out);
	return out;
}

json_t *internal_to_sdk(const struct model_service *s, const struct model_shape *sh, json_t *out)
{
	return out ? respell(s, sh, out, TO_SDK, 0) : json_object();
}

/* ---- the call ---- */

/* The answer as the caller sees it. What the call holds is released. */
static int finish(struct internal_call *c, int rc, json_t **out)
{
	*out = NULL;
	if (rc == 0)
		*out = c->out_shape ? internal_to_sdk(c->model, c->out_shape, c->out) : json_object();
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
	CLEANUP_JSON json_t *told = c->out_shape ? internal_to_sdk(c->model, c->out_shape, out) : json_object();
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
				     .out_shape = model_op_output(sv->model, op) };
	c->call = (struct call){ .arena = a,
				 .who = rq->who,
				 .region = rq->region ? rq->region : w->region,
				 .account = rq->who->account,
				 .operation = handler->name,
				 .request_id = arena_strdup(a, str_from(id)),
				 .engine = w->o.engine,
				 .service_ctx = sv->s->ctx };
	const struct model_shape *in_shape = model_op_input(sv->model, op);
	c->in = in_shape ? internal_from_sdk(sv->model, in_shape, rq->in) : json_object();
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

/* ---- what the models know ---- */

bool wire_has_operation(const char *model, const char *operation)
{
	const struct model_service *s = model_find(model);
	return !s || model_op_find(s, str_from(operation));
}

bool wire_has_input(const char *model, const char *operation, const char *member)
{
	const struct model_service *s = model_find(model);
	const struct model_op *op = s ? model_op_find(s, str_from(operation)) : NULL;
	const struct model_shape *sh = op ? model_op_input(s, op) : NULL;
	return sh ? member_find(s, sh, member) != NULL : op == NULL;
}

/* ---- mocked answers ---- */

static int mock_bad(struct error *err, const char *name, const char *what)
{
	return error_aws(err, "ValidationException", "Mock result schema validation error: Field '%s' %s", name, what);
}

static int check_limits(const struct model_service *s, const struct model_shape *sh, const char *name,
			const json_t *value, struct error *err)
{
	if (!sh->limit)
		return 0;
	const struct model_limit *l = &s->limits[sh->limit - 1];
	bool text = sh->type == MT_STRING || sh->type == MT_BLOB;
	int64_t size = text ? (int64_t)json_string_length(value) : (int64_t)json_number_value(value);
	if (sh->type == MT_FLOAT || sh->type == MT_DOUBLE || sh->type == MT_LIST || sh->type == MT_MAP)
		return 0;
	if (!(sh->flags & MS_NO_MIN) && size < l->min)
		return mock_bad(err, name,
				text ? "is smaller than the minimum length" : "is less than the minimum value");
	if (!(sh->flags & MS_NO_MAX) && size > l->max)
		return mock_bad(err, name, text ? "exceeds the maximum length" : "exceeds the maximum value");
	return 0;
}

static bool enum_has(const struct model_service *s, const struct model_shape *sh, const char *text)
{
	for (int i = 0; i < sh->count; i++)
		if (strcmp(model_text(s, s->enums[sh->first + (uint32_t)i]), text) == 0)
			return true;
	return sh->count == 0;
}

static int check_value(const struct model_service *s, const struct model_shape *sh, const char *name, json_t *value,
		       bool required, int depth, struct error *err)
{
	const struct model_member *m = model_shape_members(s, sh);
	const char *key;
	json_t *item;
	size_t i;
	if (depth > CODEC_MAX_DEPTH || (sh->flags & MS_DOCUMENT) || json_is_null(value))
		return 0;
	switch ((enum model_type)sh->type) {
	case MT_STRUCTURE:
		if (!json_is_object(value))
			return mock_bad(err, name, "must be an object");
		for (int k = 0; k < sh->count; k++) {
			char spelled[256];
			snprintf(spelled, sizeof(spelled), "%s", model_text(s, m[k].name));
			spelled[0] = (char)toupper((unsigned char)spelled[0]);
			item = json_object_get(value, spelled);
			if (!item && required && (m[k].flags & MM_REQUIRED))
				return error_aws(err, "ValidationException",
						 "Mock result schema validation error: Required field '%s' is missing",
						 spelled);
			bool free_form = (model_member_shape(s, &m[k])->flags & MS_STREAMING) ||
					 model_member_shape(s, &m[k])->type == MT_BLOB;
			if (item && free_form && strcmp(spelled, "Payload") == 0)
				continue;
			if (item &&
			    check_value(s, model_member_shape(s, &m[k]), spelled, item, required, depth + 1, err) < 0)
				return -1;
		}
		return 0;
	case MT_LIST:
		if (!json_is_array(value))
			return mock_bad(err, name, "must be an array");
		json_array_foreach (value, i, item)
			if (check_value(s, model_member_shape(s, m), name, item, required, depth + 1, err) < 0)
				return -1;
		return 0;
	case MT_MAP:
		if (!json_is_object(value))
			return mock_bad(err, name, "must be an object");
		json_object_foreach (value, key, item)
			if (check_value(s, model_member_shape(s, m + 1), key, item, required, depth + 1, err) < 0)
				return -1;
		return 0;
	case MT_BOOLEAN:
		return json_is_boolean(value) ? 0 : mock_bad(err, name, "must be a boolean");
	case MT_INTEGER:
	case MT_LONG:
	case MT_FLOAT:
	case MT_DOUBLE:
		return json_is_number(value) ? check_limits(s, sh, name, value, err)
					     : mock_bad(err, name, "must be a number");
	case MT_STRING:
	case MT_TIMESTAMP:
	case MT_BLOB:
		if (!json_is_string(value))
			return mock_bad(err, name, "must be a string");
		if (sh->type == MT_STRING && !enum_has(s, sh, json_string_value(value)))
			return mock_bad(err, name, "is not an expected value");
		return sh->type == MT_TIMESTAMP ? 0 : check_limits(s, sh, name, value, err);
	}
	return 0;
}

int wire_check_output(const char *model, const char *operation, json_t *value, bool required, struct error *err)
{
	const struct model_service *s = model_find(model);
	const struct model_op *op = s ? model_op_find(s, str_from(operation)) : NULL;
	const struct model_shape *sh = op ? model_op_output(s, op) : NULL;
	return sh ? check_value(s, sh, operation, value, required, 0, err) : 0;
}

const char *wire_error_shape(const char *model, const char *code, int *status)
{
	const struct model_service *s = model_find(model);
	return s ? model_error_shape(s, code, status) : NULL;
}
