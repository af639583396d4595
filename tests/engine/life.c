/* life.c - what the engine's tests share.
 *
 * DESIGN: a toy actor does what its events tell it to ("do": list of operations), so each test writes its story as
 * JSON. Most tests run on a manual engine with a clock of their own. */
#include "life.h"

#include <stdio.h>

/* ---- the toy actor ---- */

static int do_op(struct turn *t, json_t *state, json_t *op, struct error *err);

struct tried {
	json_t *state, *ops;
};

static int run_tried(struct turn *t, void *arg, struct error *err)
{
	struct tried *tr = arg;
	size_t i;
	json_t *op;
	assert_string_equal(turn_self(t), "");
	json_array_foreach (tr->ops, i, op)
		if (do_op(t, tr->state, op, err) < 0)
			return -1;
	return 0;
}

/* The result of the attempt goes into the state, under `name`. */
static void do_try(struct turn *t, json_t *state, const char *name, json_t *ops)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct tried tr = { state, ops };
	int rc = turn_try(t, run_tried, &tr, &why);
	json_set_text(state, name, rc < 0 ? error_text(&why) : "well");
}

static int do_op(struct turn *t, json_t *state, json_t *op, struct error *err)
{
	const char *what = json_get_text(op, "op"), *name = json_get_text(op, "name");
	if (!strcmp(what, "send"))
		turn_send(t, name, json_incref(json_object_get(op, "event")));
	else if (!strcmp(what, "spawn"))
		return turn_spawn(t, "toy", name, json_deep_copy(json_object_get(op, "state")), err);
	else if (!strcmp(what, "timer"))
		turn_timer(t, name, json_get_int(op, "at", 0), json_incref(json_object_get(op, "event")));
	else if (!strcmp(what, "effect"))
		turn_effect(t, "toy.effect", name, json_incref(json_object_get(op, "payload")));
	else if (!strcmp(what, "row"))
		return db_exec(turn_db(t), err, "INSERT INTO toy(name) VALUES(?)", "s", name) < 0 ? -1 : 0;
	else if (!strcmp(what, "try"))
		do_try(t, state, name, json_object_get(op, "do"));
	else if (!strcmp(what, "end"))
		turn_end(t);
	else if (!strcmp(what, "fail"))
		return error_set(err, "told to fail");
	else if (!strcmp(what, "fail-until"))
		return turn_now_ms(t) < json_get_int(op, "at", 0) ? error_set(err, "too early") : 0;
	else if (!strcmp(what, "unknown-effect"))
		turn_effect(t, "nobody.knows", "x", NULL);
	else if (!strcmp(what, "set"))
		json_object_set(state, name, json_object_get(op, "value"));
	else
		return error_set(err, "unknown op %s", what);
	return 0;
}

/* Notes each event's type in state.log, then does what it says. */
static int toy_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	json_t *log = json_object_get(state, "log");
	if (!log) {
		log = json_array();
		json_object_set_new(state, "log", log);
	}
	const char *note = json_get_text(event, "note");
	json_array_append_new(log, json_string(note ? note : json_get_text(event, "type")));
	size_t i;
	json_t *op, *hop = json_object_get(event, "hops");
	json_array_foreach (json_object_get(event, "do"), i, op)
		if (do_op(t, state, op, err) < 0)
			return -1;
	if (json_integer_value(hop) > 0)
		turn_send(t, json_get_text(event, "next"),
			  json_pack("{ss, sI, ss}", "type", "hop", "hops", json_integer_value(hop) - 1, "next",
				    turn_self(t)));
	return 0;
}

const struct actor_type toy = { "toy", toy_turn };

static void toy_perform(void *ctx, struct engine *e, const struct effect *fx)
{
	struct life *l = ctx;
	int n = (int)json_get_int(fx->payload, "n", 0);
	l->performed[n]++;
	l->seq[n] = fx->seq;
	if (l->report)
		engine_effect_done(e, fx->seq, json_pack("{ss}", "type", "done"));
}

/* ---- life ---- */

static const struct store_migration toy_migrations[] = { { "toy", 1, "CREATE TABLE toy(name TEXT PRIMARY KEY)" },
							 { 0 } };

static int64_t life_now(void *ctx)
{
	return ((struct life *)ctx)->now_ms;
}
static uint64_t life_random(void *ctx)
{
	return ((struct life *)ctx)->random += 0x9e3779b97f4a7c15u;
}
static bool life_crash(void *ctx, enum engine_crash at)
{
	return (int)at == ((struct life *)ctx)->crash_at;
}

void must(int rc, struct error *err)
{
	if (rc < 0)
		fail_msg("%s", error_text(err));
}

void life_start(struct life *l)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct engine_options opt = { .store = l->store,
				      .now_ms = life_now,
				      .random = life_random,
				      .ctx = l,
				      .manual = true,
				      .max_turns = l->max_turns,
				      .crash = life_crash };
	must(engine_new(&opt, &l->engine, &err), &err);
	engine_add_actor(l->engine, &toy);
	engine_add_effect(l->engine, &(struct effect_type){ "toy.effect", toy_perform, l, false });
	must(engine_start(l->engine, &err), &err);
}

void open_store(struct store **out, const char *path)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct store_migration all[4] = { engine_migrations[0], toy_migrations[0] };
	must(store_open(path, all, out, &err), &err);
}

void life_open(struct life *l)
{
	*l = (struct life){ .now_ms = 1000, .report = true, .crash_at = -1 };
	open_store(&l->store, "");
	life_start(l);
}

void life_restart(struct life *l)
{
	engine_free(l->engine);
	life_start(l);
}

void life_close(struct life *l)
{
	engine_free(l->engine);
	store_close(l->store);
}

int settle(struct life *l)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int n, total = 0;
	while ((n = engine_step(l->engine, &err)) > 0)
		total += n;
	must(n, &err);
	return total;
}

json_t *js(const char *fmt, ...)
{
	char text[4096], *p;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	json_error_t why;
	json_t *v = json_loads(text, 0, &why);
	if (!v)
		fail_msg("%s: %s", text, why.text);
	return v;
}

int run_spawn(struct turn *t, void *arg, struct error *err)
{
	struct spawn *s = arg;
	assert_string_equal(turn_self(t), "");
	return turn_spawn(t, s->type, s->id, json_incref(s->state), err);
}

int spawn(struct life *l, const char *id, struct error *err)
{
	CLEANUP_JSON json_t *state = json_object();
	struct spawn s = { "toy", id, state };
	return engine_call(l->engine, run_spawn, &s, err);
}

void spawn_ok(struct life *l, const char *id)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	must(spawn(l, id, &err), &err);
	settle(l);
}

void post(struct life *l, const char *id, json_t *event)
{
	engine_post(l->engine, id, event, NULL, NULL);
}

/* The actor's log as "a b c", from the store; "-" when it does not exist. */
const char *log_of(struct life *l, const char *id)
{
	static char out[4096];
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = store_read_begin(l->store, &err);
	int rc = db_row(db, &rows, &err, "SELECT state FROM engine_actor WHERE id=?", "s", id);
	strcpy(out, rc ? "" : "-");
	if (rc > 0) {
		CLEANUP_JSON json_t *state = json_loads(rows_str(&rows, 0).ptr, 0, NULL);
		size_t i;
		json_t *v;
		json_array_foreach (json_object_get(state, "log"), i, v) {
			if (strlen(out) + 40 > sizeof(out))
				break;
			snprintf(out + strlen(out), 40, "%s%s", *out ? " " : "", json_string_value(v));
		}
	}
	rows_done(&rows);
	store_read_end(l->store, db);
	return out;
}

int64_t count(struct store *s, const char *sql)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = store_read_begin(s, &err);
	must(db_row(db, &rows, &err, sql, ""), &err);
	int64_t n = rows_int(&rows, 0);
	rows_done(&rows);
	store_read_end(s, db);
	return n;
}

int64_t commits(struct life *l)
{
	struct engine_stats st;
	engine_get_stats(l->engine, &st);
	return st.commits;
}
