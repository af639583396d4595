/* turn.c - what a turn or command may call.
 *
 * DESIGN: wishes are kept in a list until the turn has succeeded and are applied then, in order; a turn that fails has
 * nothing to undo but its rows (savepoint, taken only when it asks for the database) and the actors it spawned.
 *
 * No two owners share a JSON object or array: a state is changed in place, and a message or another state must not
 * change with it. What is handed in is therefore copied at once when somebody else still holds a part of it, and taken
 * as it is when not; events of timers and payloads of effects become text at once. */
#include "engine/engine_impl.h"

#include <stdlib.h>

#include "base/id.h"

/* ---- life of a turn ---- */

void turn_open(struct turn *t, struct engine *e, struct actor *a)
{
	*t = (struct turn){ .e = e, .actor = a, .now_ms = engine_now_ms(e) };
	t->outs_tail = &t->outs;
	t->spawned_tail = &t->spawned;
}

/* The wishes from *from on. */
static void discard_outs(struct turn *t, struct out **from)
{
	for (struct out *o = *from; o; o = o->next) {
		json_decref(o->value);
		free(o->text);
	}
	*from = NULL;
	t->outs_tail = from;
}

static void discard_spawned(struct turn *t, struct actor **from)
{
	while (*from) {
		struct actor *a = *from;
		*from = a->touched_next;
		engine_actor_forget(t->e, a);
	}
	t->spawned_tail = from;
}

void turn_discard(struct turn *t)
{
	if (t->savepoint)
		db_savepoint_rollback(t->e->db);
	t->savepoint = false;
	discard_outs(t, &t->outs);
	discard_spawned(t, &t->spawned);
}

void turn_close(struct turn *t)
{
	discard_outs(t, &t->outs);
	error_release(&t->fault);
	arena_release(&t->arena);
}

static void apply_timer(struct turn *t, struct out *o)
{
	struct actor *a = t->actor;
	size_t n = o->text ? strlen(o->text) : 0;
	struct timer_op *op = mem_alloc(sizeof(*op) + n + 1);
	op->at_ms = o->at_ms;
	memcpy(op->text, o->text ? o->text : "", n + 1);
	free(map_set(&a->timers, str_from(o->name), op));
	engine_actor_touch(t->e, a);
}

static void apply_out(struct turn *t, struct out *o)
{
	struct engine *e = t->e;
	struct call *c;
	switch (o->kind) {
	case OUT_SEND:
		engine_txn_add_message(e, engine_message_new(o->name, o->value, engine_next_num(e), FROM_TURN));
		o->value = NULL;
		break;
	case OUT_TIMER:
		if (!t->ended)
			apply_timer(t, o);
		break;
	case OUT_EFFECT:
		engine_jobs_add(&e->txn.jobs, engine_job_new(engine_next_num(e), o->effect,
							     o->of_command ? "" : turn_self(t), o->name, o->text));
		o->text = NULL;
		break;
	case OUT_DONE:
		e->txn.effects_done++;
		if (o->value && *o->name)
			engine_txn_add_message(e, engine_message_new(o->name, o->value, o->seq, FROM_TURN));
		else
			json_decref(o->value);
		o->value = NULL;
		break;
	case OUT_CALL:
		c = mem_calloc(1, sizeof(*c));
		c->fn = o->fn;
		c->arg = o->arg;
		*e->txn.calls_tail = c;
		e->txn.calls_tail = &c->next;
		break;
	}
}

static void end_actor(struct turn *t)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct engine *e = t->e;
	struct actor *a = t->actor;
	if (a->in_db) {
		int n = db_exec(e->db, &err, "DELETE FROM engine_timer WHERE actor=?", "i", a->num);
		if (n < 0 || db_write(e->db, &err, "DELETE FROM engine_actor WHERE num=?", "i", a->num) < 0)
			engine_set_fault(e, error_text(&err)); /* too late to take only this turn back */
		e->timers.live -= n > 0 ? n : 0;
	}
	engine_actor_forget(e, a);
}

void turn_apply(struct turn *t)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (t->savepoint && db_savepoint_release(t->e->db, &err) < 0)
		engine_set_fault(t->e, error_text(&err));
	t->savepoint = false;
	struct actor *next;
	for (struct actor *a = t->spawned; a; a = next) {
		next = a->touched_next;
		a->dirty = true;
		engine_actor_touch(t->e, a);
	}
	t->spawned = NULL;
	for (struct out *o = t->outs; o; o = o->next)
		apply_out(t, o);
	if (t->ended)
		end_actor(t);
}

/* ---- calls ---- */

static struct out *add_out(struct turn *t, int kind, const char *name, json_t *value)
{
	struct out *o = ARENA_NEW(&t->arena, struct out);
	o->kind = kind;
	o->name = name ? arena_strdup(&t->arena, str_from(name)) : NULL;
	o->value = value;
	o->of_command = t->trying;
	*t->outs_tail = o;
	t->outs_tail = &o->next;
	return o;
}

static void fail_turn(struct turn *t, const char *what, const char *name)
{
	if (!t->fault.message)
		error_set(&t->fault, "%s `%s`", what, name);
}

static char *take_text(struct turn *t, json_t *value)
{
	char *text = engine_json_line(value, t->fault.message ? NULL : &t->fault);
	json_decref(value);
	return text;
}

struct db *turn_db(struct turn *t)
{
	if (!t->savepoint && db_savepoint(t->e->db, t->fault.message ? NULL : &t->fault) == 0)
		t->savepoint = true;
	return t->e->db;
}

struct arena *turn_arena(struct turn *t)
{
	return &t->arena;
}

const char *turn_self(struct turn *t)
{
	return t->actor ? t->actor->id : "";
}

int64_t turn_now_ms(struct turn *t)
{
	return t->now_ms;
}

uint64_t turn_random(struct turn *t)
{
	return engine_random(t->e);
}

static uint64_t next_random(void *ctx)
{
	return engine_random(ctx);
}

const char *turn_id(struct turn *t, size_t n)
{
	char *out = arena_alloc_raw(&t->arena, n + 1);
	id_alnum(out, n, next_random, t->e);
	return out;
}

const char *turn_uuid(struct turn *t)
{
	char *out = arena_alloc_raw(&t->arena, 37);
	id_uuid(out, next_random, t->e);
	return out;
}

int turn_spawn(struct turn *t, const char *type, const char *id, json_t *state, struct error *err)
{
	struct engine *e = t->e;
	struct actor *a;
	const struct actor_type *at = map_get(&e->types, str_from(type));
	int rc = at ? engine_actor_get(e, id, &a, err)
		    : error_set(err, "spawn `%s`: actor type `%s` is not registered", id, type);
	if (rc != 0) {
		json_decref(state);
		return rc < 0 ? -1 : error_aws(err, "conflict", "spawn `%s`: the id is taken", id);
	}
	a = engine_actor_new(e, engine_next_num(e), at, id, engine_json_unshare(state));
	if (engine_actor_make_text(e, a, err) < 0) {
		engine_actor_forget(e, a);
		return error_wrap(err, "spawn `%s`", id);
	}
	*t->spawned_tail = a;
	t->spawned_tail = &a->touched_next;
	add_out(t, OUT_SEND, id, json_pack("{ss}", "type", "start"));
	return 0;
}

bool turn_exists(struct turn *t, const char *id)
{
	struct actor *a;
	int rc = engine_actor_get(t->e, id, &a, t->fault.message ? NULL : &t->fault);
	return rc > 0 && !(t->ended && a == t->actor);
}

void turn_send(struct turn *t, const char *actor, json_t *event)
{
	add_out(t, OUT_SEND, actor, engine_json_unshare(event));
}

void turn_timer(struct turn *t, const char *key, int64_t at_ms, json_t *event)
{
	if (!t->actor)
		fail_turn(t, "a command has no timers, it set", key);
	struct out *o = add_out(t, OUT_TIMER, key, NULL);
	o->at_ms = at_ms;
	if (at_ms)
		o->text = take_text(t, event);
	else
		json_decref(event);
}

void turn_effect(struct turn *t, const char *kind, const char *id, json_t *payload)
{
	struct effect_kind *type = map_get(&t->e->effect_types, str_from(kind));
	if (!type)
		fail_turn(t, "no performer is registered for effect", kind);
	struct out *o = add_out(t, OUT_EFFECT, id, NULL);
	o->effect = type;
	o->text = take_text(t, payload ? payload : json_null());
}

int turn_effect_done(struct turn *t, int64_t seq, json_t *event, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(turn_db(t), &rows, err, "DELETE FROM engine_effect WHERE seq=? RETURNING actor", "i", seq);
	if (rc <= 0) {
		json_decref(event);
		return rc < 0 ? -1 : error_aws(err, "conflict", "effect %lld was reported before", (long long)seq);
	}
	struct out *o = add_out(t, OUT_DONE, rows_str(&rows, 0).ptr, engine_json_unshare(event));
	o->seq = seq;
	return 0;
}

void turn_after_commit(struct turn *t, void (*fn)(void *), void *arg)
{
	struct out *o = add_out(t, OUT_CALL, NULL, NULL);
	o->fn = fn;
	o->arg = arg;
}

void turn_end(struct turn *t)
{
	if (t->actor)
		t->ended = true;
	else
		fail_turn(t, "only an actor can end,", "not a command");
}

int turn_try(struct turn *t, command_run run, void *arg, struct error *err)
{
	struct out **outs = t->outs_tail;
	struct actor **spawned = t->spawned_tail, *self = t->actor;
	bool trying = t->trying;
	turn_db(t);
	if (t->fault.message)
		return error_set(err, "%s", error_text(&t->fault));
	if (db_savepoint(t->e->db, err) < 0)
		return -1;
	t->actor = NULL;
	t->trying = true;
	int rc = run(t, arg, err);
	t->actor = self;
	t->trying = trying;
	if (t->fault.message)
		rc = rc < 0 ? rc : error_move(err, &t->fault);
	error_release(&t->fault);
	t->fault = ERROR_INIT;
	if (rc >= 0 && db_savepoint_release(t->e->db, err) >= 0)
		return rc;
	db_savepoint_rollback(t->e->db);
	discard_outs(t, outs);
	discard_spawned(t, spawned);
	return -1;
}
