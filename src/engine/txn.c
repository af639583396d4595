/* txn.c - one transaction of the core thread.
 *
 * DESIGN: everything that came in meanwhile goes into one transaction: commands run, events and due timers become
 * messages, messages become turns, and messages sent by turns follow in the same transaction until a bound on turns or
 * time. Then each touched actor is written once, what is left of the messages goes to the inbox table, and one commit
 * makes it all durable. Only after it are clients told and effects performed.
 *
 * One queue holds all messages, so each receiver sees them in the order they were sent. */
#include "engine/engine_impl.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

/* Time is the bound that counts; the other keeps a transaction's memory small on a fast machine. */
enum { MAX_TURNS = 1024, MAX_TXN_US = 2000 };

/* ---- messages ---- */

struct message *engine_message_new(const char *actor, json_t *event, int64_t stamp, enum origin origin)
{
	size_t n = strlen(actor) + 1;
	struct message *m = mem_calloc(1, sizeof(*m) + n);
	memcpy(m->actor, actor, n);
	m->event = event;
	m->stamp = stamp;
	m->origin = origin;
	return m;
}

void engine_message_free(struct message *m)
{
	json_decref(m->event);
	free(m);
}

void engine_messages_init(struct messages *q)
{
	q->head = NULL;
	q->tail = &q->head;
	q->count = 0;
}

void engine_messages_add(struct messages *q, struct message *m)
{
	m->next = NULL;
	*q->tail = m;
	q->tail = &m->next;
	q->count++;
}

void engine_messages_push_front(struct messages *q, struct message *m)
{
	m->next = q->head;
	q->head = m;
	if (!m->next)
		q->tail = &m->next;
	q->count++;
}

struct message *engine_messages_pop(struct messages *q)
{
	struct message *m = q->head;
	if (!m)
		return NULL;
	if (!(q->head = m->next))
		q->tail = &q->head;
	q->count--;
	return m;
}

static void messages_release(struct messages *q)
{
	struct message *m;
	while ((m = engine_messages_pop(q)))
		engine_message_free(m);
}

/* A message born in this transaction. */
void engine_txn_add_message(struct engine *e, struct message *m)
{
	engine_messages_add(&e->fifo, m);
	if (!e->txn.first_new)
		e->txn.first_new = m;
}

int engine_txn_load_inbox(struct engine *e, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_query(e->db, &rows, err, "SELECT num, actor, stamp, event FROM engine_inbox ORDER BY num", "") < 0)
		return -1;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		struct str text = rows_str(&rows, 3);
		json_t *event = engine_json_unline(text.ptr, text.len, err);
		if (!event)
			return error_wrap(err, "message %lld in the inbox", (long long)rows_int(&rows, 0));
		struct message *m = engine_message_new(rows_str(&rows, 1).ptr, event, rows_int(&rows, 2), FROM_INBOX);
		m->inbox = rows_int(&rows, 0);
		engine_messages_add(&e->fifo, m);
	}
	return rc;
}

/* ---- letting in ---- */

static int let_in_effect_done(struct engine *e, struct item *it, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(e->db, &rows, err, "DELETE FROM engine_effect WHERE seq=? RETURNING actor", "i", it->seq);
	if (rc <= 0)
		return rc; /* none: it was reported before */
	e->txn.effects_done++;
	struct str actor = rows_str(&rows, 0);
	if (it->event && actor.len)
		engine_txn_add_message(e, engine_message_new(actor.ptr, json_incref(it->event), it->seq, FROM_QUEUE));
	return 0;
}

static int let_in_item(struct engine *e, struct item *it, struct error *err)
{
	switch (it->kind) {
	case ITEM_COMMAND:
		e->stats.commands++;
		e->txn.turns++;
		engine_command_handle(e, it);
		return 0;
	case ITEM_POST:
		engine_txn_add_message(
			e, engine_message_new(it->actor, json_incref(it->event), engine_next_num(e), FROM_QUEUE));
		return 0;
	case ITEM_EFFECT_DONE:
		return let_in_effect_done(e, it, err);
	}
	return 0;
}

static int max_turns(struct engine *e)
{
	return e->opt.max_turns ? e->opt.max_turns : MAX_TURNS;
}

static bool may_go_on(struct engine *e)
{
	struct txn *x = &e->txn;
	return !x->end_now && x->turns < max_turns(e) && (e->opt.manual || clock_monotonic_us() < x->deadline_us) &&
	       !engine_fault(e);
}

static int let_in_items(struct engine *e, struct error *err)
{
	/* a long backlog of messages must not starve clients, nor they the backlog */
	int room = e->careful ? 1 : e->fifo.head ? (max_turns(e) + 3) / 4 : max_turns(e);
	while (e->incoming.head && room-- > 0 && may_go_on(e)) {
		struct item *it = engine_items_pop(&e->incoming);
		e->txn.let_in++;
		engine_items_add(&e->txn.items, it);
		if (let_in_item(e, it, err) < 0)
			return -1;
	}
	return 0;
}

static int let_in_timers(struct engine *e, struct error *err)
{
	int64_t now = engine_now_ms(e);
	int room = e->careful ? 1 : max_turns(e);
	struct timer_due due;
	while (room > 0 && engine_timers_pop_due(e, now, &due)) {
		CLEANUP_ROWS struct rows rows = { 0 };
		int rc = db_row(e->db, &rows, err,
				"SELECT a.id FROM engine_timer t JOIN engine_actor a ON a.num=t.actor WHERE t.num=? "
				"AND t.at_ms=?",
				"ii", due.num, due.at_ms);
		if (rc < 0)
			return -1;
		if (rc == 0)
			continue; /* cancelled or replaced */
		struct message *m = engine_message_new(rows_str(&rows, 0).ptr, NULL, 0, FROM_TIMER);
		m->timer = due.num;
		m->timer_ms = due.at_ms;
		engine_txn_add_message(e, m);
		room--;
	}
	return 0;
}

/* ---- running ---- */

static void make_poison(struct message *m, const char *why)
{
	const char *type = json_string_value(json_object_get(m->event, "type"));
	json_t *event = json_pack("{ss, ss, ss*}", "type", "engine.poison", "event", type ? type : "", "message", why);
	json_decref(m->event);
	m->event = event;
	m->poison = true;
	m->attempts = 0;
}

/* A message whose turn failed is tried again in the next transaction, on what this one leaves; in the end its actor is
 * told. */
static int turn_failed(struct engine *e, struct message *m, const char *why)
{
	const char *type = json_string_value(json_object_get(m->event, "type"));
	e->stats.failures++;
	e->txn.end_now = true;
	m->attempts++;
	log_warn("engine", "turn of `%s` on `%s` failed (attempt %d of %d): %s", m->actor, type ? type : "?",
		 m->attempts, MAX_ATTEMPTS, why);
	if (m->attempts < MAX_ATTEMPTS)
		return TURN_FAILED;
	if (m->poison) {
		log_error("engine", "`%s` can't be told that an event was given up", m->actor);
		return TURN_OK;
	}
	make_poison(m, why);
	return TURN_FAILED;
}

static int run_message(struct engine *e, struct error *err)
{
	struct message *m = engine_messages_pop(&e->fifo);
	if (e->txn.first_new == m)
		e->txn.first_new = m->next;
	CLEANUP_ERROR struct error why = ERROR_INIT;
	e->txn.turns++;
	int rc = engine_actor_handle(e, m, &why);
	if (rc == TURN_FAILED)
		rc = turn_failed(e, m, error_text(&why));
	if (rc == TURN_OK) {
		if (engine_message_consume(e, m, err) < 0)
			engine_set_fault(e, error_text(err));
		if (m->origin == FROM_TURN)
			engine_message_free(m);
		else
			engine_messages_add(&e->txn.handled, m);
		return 0;
	}
	engine_messages_push_front(&e->fifo, m);
	if (rc == TURN_ABORT)
		log_warn("engine", "turn of `%s` failed (%s); the transaction is taken back and run piecemeal",
			 m->actor, error_text(&why));
	return rc == TURN_ABORT ? TURN_ABORT : 0;
}

static int run_messages(struct engine *e, struct error *err)
{
	do {
		if (!e->fifo.head || !may_go_on(e))
			return 0;
		if (run_message(e, err) == TURN_ABORT)
			return TURN_ABORT;
	} while (!e->careful);
	return 0;
}

/* ---- writing ---- */

static int write_message(struct engine *e, struct message *m, struct error *err)
{
	if (m->inbox || m->origin == FROM_TIMER)
		return 0; /* it has a row */
	CLEANUP_FREE char *text = engine_json_line(m->event, err);
	if (!text)
		return error_wrap(err, "message to `%s`", m->actor);
	int64_t num = engine_next_num(e);
	if (db_write(e->db, err, "INSERT INTO engine_inbox(num, actor, stamp, event) VALUES(?, ?, ?, ?)", "isis", num,
		     m->actor, m->stamp, text) < 0)
		return -1;
	m->inbox = num;
	m->origin = FROM_INBOX;
	return 0;
}

static int write_all(struct engine *e, struct error *err)
{
	if (engine_actors_write(e, err) < 0 || engine_effects_write(e, err) < 0)
		return -1;
	/* the first may be one that is tried again; rows are numbered in the order of the queue */
	if (e->fifo.head && write_message(e, e->fifo.head, err) < 0)
		return -1;
	for (struct message *m = e->txn.first_new; m; m = m->next)
		if (write_message(e, m, err) < 0)
			return -1;
	if (!e->limit_dirty)
		return 0;
	e->limit_dirty = false;
	return db_write(e->db, err, "UPDATE engine_meta SET value=? WHERE name='next_num'", "i", e->num_limit);
}

/* ---- ends ---- */

void engine_txn_init(struct engine *e)
{
	struct txn *x = &e->txn;
	struct timer_due *due = x->due;
	size_t due_cap = x->due_cap;
	*x = (struct txn){ .due = due, .due_cap = due_cap };
	engine_items_init(&x->items);
	engine_messages_init(&x->handled);
	engine_jobs_init(&x->jobs);
	x->calls_tail = &x->calls;
	x->touched_tail = &x->touched;
}

static void free_calls(struct txn *x, bool run)
{
	while (x->calls) {
		struct call *c = x->calls;
		x->calls = c->next;
		if (run)
			c->fn(c->arg);
		free(c);
	}
}

static int txn_finish(struct engine *e, struct error *err)
{
	struct txn *x = &e->txn;
	engine_actors_settle(e);
	messages_release(&x->handled);
	for (size_t i = 0; i < x->ndue; i++)
		engine_timers_push(e, x->due[i].at_ms, x->due[i].num);
	x->ndue = 0;
	if (engine_timers_tidy(e, err) < 0)
		engine_set_fault(e, error_text(err));
	engine_actors_evict(e, false);
	if (e->careful)
		e->careful--;
	e->stats.commits++;
	e->stats.turns += x->turns;
	e->stats.effects_open -= x->effects_done;
	for (struct job *j = x->jobs.head; j; j = j->next)
		e->stats.effects_open++;
	atomic_store_explicit(&e->stats.messages_waiting, (int64_t)e->fifo.count, memory_order_relaxed);
	struct item *it;
	while ((it = engine_items_pop(&x->items)))
		engine_item_finish(it, it->rc, &it->err);
	free_calls(x, true);
	return engine_effects_perform(e, &x->jobs, err);
}

/* What has to run again after the transaction was taken back; what turns of it had sent is forgotten. */
static void requeue_messages(struct engine *e)
{
	struct messages all[2] = { e->txn.handled, e->fifo };
	engine_messages_init(&e->txn.handled);
	engine_messages_init(&e->fifo);
	for (int i = 0; i < 2; i++) {
		struct message *m, *next;
		for (m = all[i].head; m; m = next) {
			next = m->next;
			if (m->origin == FROM_INBOX)
				engine_messages_add(&e->fifo, m);
			else
				engine_message_free(
					m); /* timers come up again from the table, events from their items */
		}
	}
}

static int txn_take_back(struct engine *e, struct error *err)
{
	struct txn *x = &e->txn;
	db_rollback(e->db);
	engine_actors_drop(e);
	free_calls(x, false);
	engine_jobs_release(&x->jobs);
	x->ndue = 0;
	e->limit_dirty = true; /* it may have been part of what was undone */
	struct items again, commands;
	struct item *it;
	engine_items_init(&again);
	engine_items_init(&commands);
	while ((it = engine_items_pop(&x->items)))
		engine_items_add(it->kind == ITEM_COMMAND ? &commands : &again, it);
	while ((it = engine_items_pop(&e->incoming)))
		engine_items_add(&again, it);
	e->incoming = again;
	if (!again.head)
		engine_items_init(&e->incoming);
	requeue_messages(e);
	e->careful = 2 * x->turns + 2; /* enough to come past the one that failed */
	if (engine_timers_load(e, err) < 0)
		return -1;
	int turns = x->turns;
	engine_items_fail(&commands,
			  "the transaction was taken back because a turn of something else failed in it; try again");
	return turns;
}

void engine_txn_drop(struct engine *e)
{
	struct txn *x = &e->txn;
	db_rollback(e->db);
	engine_actors_drop(e);
	free_calls(x, false);
	engine_jobs_release(&x->jobs);
	messages_release(&x->handled);
	messages_release(&e->fifo);
	engine_timers_release(e);
	x->ndue = 0;
	x->first_new = NULL;
}

static int txn_die(struct engine *e, enum engine_crash at, struct error *err)
{
	if (!e->opt.crash || !e->opt.crash(e->opt.ctx, at))
		return 0;
	e->crashed = true;
	return error_aws(err, "crash", "the test crashed the engine %s a commit",
			 at == ENGINE_BEFORE_COMMIT ? "before" : "after");
}

static int txn_body(struct engine *e, struct error *err)
{
	bool alone = e->careful; /* then one thing at a time, in the old order */
	struct txn *x = &e->txn;
	x->deadline_us = clock_monotonic_us() + MAX_TXN_US / 2;
	if (!(alone && e->fifo.head) && let_in_items(e, err) < 0)
		return -1;
	if (!(alone && (e->fifo.head || e->txn.let_in)) && let_in_timers(e, err) < 0)
		return -1;
	x->deadline_us = clock_monotonic_us() + MAX_TXN_US; /* long commands do not take the time of the messages */
	return run_messages(e, err);
}

bool engine_txn_has_work(struct engine *e)
{
	return e->fifo.head || e->incoming.head || (e->timers.count && e->timers.entries[0].at_ms <= engine_now_ms(e));
}

int engine_txn_run(struct engine *e, struct error *err)
{
	if (!engine_txn_has_work(e))
		return 0;
	if (db_begin(e->db, err) < 0)
		return store_fault(e->store) ? -1 : TXN_BUSY;
	engine_txn_init(e);
	int rc = txn_body(e, err);
	CLEANUP_ERROR struct error why = ERROR_INIT;
	if (rc == 0 && engine_actors_make_texts(e, &why) < 0) {
		log_warn("engine", "%s; the transaction is taken back and run piecemeal", error_text(&why));
		rc = TURN_ABORT;
	}
	if (rc == TURN_ABORT && !engine_fault(e))
		return txn_take_back(e, err);
	if (rc < 0)
		return -1;
	if (engine_fault(e))
		return error_set(err, "%s", engine_fault(e));
	if (write_all(e, err) < 0 || txn_die(e, ENGINE_BEFORE_COMMIT, err) < 0 || db_commit(e->db, err) < 0 ||
	    txn_die(e, ENGINE_AFTER_COMMIT, err) < 0)
		return -1;
	int did = e->txn.turns ? e->txn.turns : e->txn.let_in;
	return txn_finish(e, err) < 0 ? -1 : did;
}
