/* actor.c - actors in memory, and the running of one turn.
 *
 * DESIGN: hot states stay parsed in an LRU cache bounded by bytes and number; the others are only rows. A state is
 * changed in place by its turn. To leave no trace of a failed turn it is parsed again from its text, which is made
 * after every turn while the state is small. A large state gets its text once, at the end of the transaction (else a
 * Map over ten thousand items would write its state ten thousand times); when a turn on it fails after an earlier one
 * in the same transaction has succeeded, the whole transaction is taken back and its messages are run again one by one.
 */
#include "engine/engine_impl.h"

#include <stdlib.h>

#include "base/log.h"

/* What a parsed state takes is estimated from its text. */
enum { EAGER_TEXT_BYTES = 8192, CACHE_BYTES = 48 << 20, ACTOR_BYTES = 600, TEXT_FACTOR = 4, SCRATCH_BYTES = 1 << 20 };

/* ---- cache ---- */

static void lru_remove(struct actor *a)
{
	a->lru_prev->lru_next = a->lru_next;
	a->lru_next->lru_prev = a->lru_prev;
}

static void lru_add(struct engine *e, struct actor *a)
{
	a->lru_prev = &e->lru;
	a->lru_next = e->lru.lru_next;
	a->lru_next->lru_prev = a;
	e->lru.lru_next = a;
}

static void clear_timer_ops(struct actor *a)
{
	for (size_t i = 0; i < a->timers.count; i++)
		free(a->timers.entries[i].value);
	map_release(&a->timers);
}

static void actor_free(struct actor *a)
{
	clear_timer_ops(a);
	json_decref(a->state);
	free(a->text);
	free(a->id);
	free(a);
}

struct actor *engine_actor_new(struct engine *e, int64_t num, const struct actor_type *type, const char *id,
			       json_t *state)
{
	struct actor *a = mem_calloc(1, sizeof(*a));
	a->num = num;
	a->type = type;
	a->id = mem_strdup(id);
	a->state = state;
	map_set(&e->actors, str_from(id), a);
	lru_add(e, a);
	e->cached_bytes += ACTOR_BYTES;
	return a;
}

static void set_text(struct engine *e, struct actor *a, char *text, size_t len)
{
	e->cached_bytes += TEXT_FACTOR * (len - a->text_len);
	free(a->text);
	a->text = text;
	a->text_len = len;
}

void engine_actor_forget(struct engine *e, struct actor *a)
{
	map_remove(&e->actors, str_from(a->id));
	lru_remove(a);
	e->cached_bytes -= ACTOR_BYTES + TEXT_FACTOR * a->text_len;
	if (a->touched)
		a->gone = true;
	else
		actor_free(a);
}

void engine_actor_touch(struct engine *e, struct actor *a)
{
	if (a->touched)
		return;
	a->touched = true;
	a->touched_next = NULL;
	*e->txn.touched_tail = a;
	e->txn.touched_tail = &a->touched_next;
}

void engine_actors_evict(struct engine *e, bool all)
{
	while (e->actors.count && (all || e->cached_bytes > CACHE_BYTES))
		engine_actor_forget(e, e->lru.lru_prev);
	atomic_store_explicit(&e->stats.actors_cached, (int64_t)e->actors.count, memory_order_relaxed);
}

int engine_actor_get(struct engine *e, const char *id, struct actor **out, struct error *err)
{
	struct actor *a = map_get(&e->actors, str_from(id));
	if (a) {
		lru_remove(a);
		lru_add(e, a);
		*out = a;
		return 1;
	}
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(e->db, &rows, err, "SELECT num, type, state FROM engine_actor WHERE id=?", "s", id);
	if (rc <= 0)
		return rc;
	const struct actor_type *type = map_get(&e->types, rows_str(&rows, 1));
	if (!type)
		return error_set(err, "actor `%s` has type `%s`, which is not registered", id, rows_str(&rows, 1).ptr);
	struct str text = rows_str(&rows, 2);
	json_t *state = engine_json_unline(text.ptr, text.len, err);
	if (!state)
		return error_wrap(err, "state of actor `%s`", id);
	a = engine_actor_new(e, rows_int(&rows, 0), type, id, state);
	set_text(e, a, mem_strndup(text.ptr, text.len), text.len);
	a->in_db = true;
	*out = a;
	return 1;
}

/* ---- states and their texts ---- */

static int make_text(struct engine *e, struct actor *a, bool *changed, struct error *err)
{
	struct buf *out = &e->scratch;
	buf_clear(out);
	if (engine_json_write(out, a->state, err) < 0)
		return error_wrap(err, "state of actor `%s`", a->id);
	a->stale = false;
	*changed = out->len != a->text_len || memcmp(out->ptr, a->text, out->len) != 0;
	if (*changed && out->len == a->text_len)
		memcpy(a->text, out->ptr, out->len);
	else if (*changed)
		set_text(e, a, mem_strndup(out->ptr, out->len), out->len);
	if (out->cap > SCRATCH_BYTES)
		buf_release(out);
	return 0;
}

int engine_actor_make_text(struct engine *e, struct actor *a, struct error *err)
{
	bool changed;
	return make_text(e, a, &changed, err);
}

/* After a good turn. */
static int note_change(struct engine *e, struct actor *a, struct error *err)
{
	bool changed = true;
	if (a->text_len > EAGER_TEXT_BYTES && !e->careful)
		a->stale = true;
	else if (make_text(e, a, &changed, err) < 0)
		return -1;
	if (changed) {
		a->dirty = true;
		engine_actor_touch(e, a);
	}
	return 0;
}

/* As it was before the turn that failed. */
static int restore(struct actor *a, struct error *err)
{
	json_t *state = engine_json_unline(a->text, a->text_len, err);
	if (!state)
		return -1;
	json_decref(a->state);
	a->state = state;
	return 0;
}

/* ---- one message ---- */

/* Reads the event of a timer that came up. 1 it holds, 0 it was cancelled or replaced. */
static int read_timer(struct engine *e, struct actor *a, struct message *m, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(e->db, &rows, err, "SELECT actor, key, at_ms, event FROM engine_timer WHERE num=?", "i",
			m->timer);
	if (rc <= 0)
		return rc;
	if (rows_int(&rows, 0) != a->num || rows_int(&rows, 2) != m->timer_ms ||
	    map_get(&a->timers, rows_str(&rows, 1)))
		return 0;
	if (m->poison)
		return 1;
	struct str text = rows_str(&rows, 3);
	json_decref(m->event);
	m->event = engine_json_unline(text.ptr, text.len, err);
	return m->event ? 1 : -1;
}

int engine_message_consume(struct engine *e, struct message *m, struct error *err)
{
	int n = 0;
	if (m->inbox)
		n = db_write(e->db, err, "DELETE FROM engine_inbox WHERE num=?", "i", m->inbox);
	if (n >= 0 && m->timer) {
		n = db_exec(e->db, err, "DELETE FROM engine_timer WHERE num=?", "i", m->timer);
		e->timers.live -= n > 0 ? n : 0;
	}
	return n < 0 ? -1 : 0;
}

static int run_turn(struct engine *e, struct actor *a, struct message *m, struct error *err)
{
	bool was_stale = a->stale;
	struct turn t;
	turn_open(&t, e, a);
	int rc = a->type->turn(&t, a->state, m->event, err);
	if (rc >= 0 && t.fault.message)
		rc = error_move(err, &t.fault);
	if (rc >= 0 && !t.ended)
		rc = note_change(e, a, err);
	if (rc < 0) {
		turn_discard(&t);
		rc = was_stale ? TURN_ABORT : TURN_FAILED;
	} else {
		turn_apply(&t);
		rc = TURN_OK;
	}
	turn_close(&t);
	return rc;
}

int engine_actor_handle(struct engine *e, struct message *m, struct error *err)
{
	struct actor *a;
	int rc = engine_actor_get(e, m->actor, &a, err);
	if (rc > 0 && m->origin == FROM_TIMER)
		rc = read_timer(e, a, m, err);
	else if (rc > 0 && m->stamp <= a->num)
		rc = 0; /* for one that had the id before */
	if (rc < 0)
		return TURN_FAILED;
	if (rc == 0) {
		m->timer = 0; /* its row, if any, is not what came up */
		return TURN_OK;
	}
	rc = run_turn(e, a, m, err);
	if (rc == TURN_FAILED && restore(a, err) < 0)
		return TURN_ABORT;
	return rc;
}

int engine_command_handle(struct engine *e, struct item *it)
{
	struct turn t;
	turn_open(&t, e, NULL);
	int rc = it->run(&t, it->arg, &it->err);
	if (rc >= 0 && t.fault.message)
		rc = error_move(&it->err, &t.fault);
	if (rc < 0)
		turn_discard(&t);
	else
		turn_apply(&t);
	turn_close(&t);
	it->rc = rc < 0 ? rc : 0;
	return it->rc;
}

/* ---- end of the transaction ---- */

static int write_actor(struct engine *e, struct actor *a, struct error *err)
{
	struct str text = str_of(a->text, a->text_len);
	if (a->dirty && a->in_db) {
		if (db_write(e->db, err, "UPDATE engine_actor SET state=? WHERE num=?", "Si", text, a->num) < 0)
			return -1;
	} else if (a->dirty) {
		if (db_write(e->db, err, "INSERT INTO engine_actor(num, id, type, state) VALUES(?, ?, ?, ?)", "issS",
			     a->num, a->id, a->type->name, text) < 0)
			return -1;
		if (!map_get(&e->known_types, str_from(a->type->name))) {
			if (db_exec(e->db, err, "INSERT INTO engine_type(name) VALUES(?)", "s", a->type->name) < 0)
				return -1;
			map_set(&e->known_types, str_from(a->type->name), e);
		}
	}
	for (size_t i = 0; i < a->timers.count; i++)
		if (engine_timer_write(e, a, a->timers.entries[i].key.ptr, a->timers.entries[i].value, err) < 0)
			return -1;
	return 0;
}

int engine_actors_make_texts(struct engine *e, struct error *err)
{
	for (struct actor *a = e->txn.touched; a; a = a->touched_next)
		if (!a->gone && a->stale && engine_actor_make_text(e, a, err) < 0)
			return -1;
	return 0;
}

int engine_actors_write(struct engine *e, struct error *err)
{
	for (struct actor *a = e->txn.touched; a; a = a->touched_next)
		if (!a->gone && write_actor(e, a, err) < 0)
			return -1;
	return 0;
}

void engine_actors_settle(struct engine *e)
{
	struct actor *next;
	for (struct actor *a = e->txn.touched; a; a = next) {
		next = a->touched_next;
		if (a->gone) {
			actor_free(a);
			continue;
		}
		a->in_db = true;
		a->dirty = a->stale = a->touched = false;
		clear_timer_ops(a);
	}
	e->txn.touched = NULL;
	e->txn.touched_tail = &e->txn.touched;
}

void engine_actors_drop(struct engine *e)
{
	engine_actors_settle(e);
	while (e->lru.lru_prev != &e->lru)
		engine_actor_forget(e, e->lru.lru_prev);
}
