/* core.c - life of an engine: schema, start and stop, the queue from other threads, the core thread.
 *
 * DESIGN: other threads put items on one list under a mutex; the core thread takes the whole list at a time, so the
 * lock is held for a few instructions. While a commit waits for the disk the next batch gathers: that is the group
 * commit, no timer needed.
 *
 * Rows, messages, timers and effects are numbered from one count that never goes back, over restarts too (it is raised
 * in the table by a million before it gets there). So a number tells what was first, and an effect reported late is
 * never taken for another. */
#include "engine/engine_impl.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"

enum { NUM_BLOCK = 1 << 20, WAIT_MAX_MS = 60000, RETRY_MS = 100, TRIM_MS = 5000 };

const struct store_migration engine_migrations[] = {
	{ "engine", 1,
	  "CREATE TABLE engine_meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL);"
	  "INSERT INTO engine_meta(name, value) VALUES('next_num', 1);"
	  "CREATE TABLE engine_type(name TEXT PRIMARY KEY);"
	  "CREATE TABLE engine_actor(num INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, state TEXT "
	  "NOT NULL);"
	  "CREATE TABLE engine_timer(num INTEGER PRIMARY KEY, actor INTEGER NOT NULL, key TEXT NOT NULL, at_ms INTEGER "
	  "NOT NULL,"
	  " event TEXT NOT NULL, UNIQUE(actor, key));"
	  "CREATE TABLE engine_effect(seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, actor TEXT NOT NULL, id TEXT NOT "
	  "NULL,"
	  " payload TEXT NOT NULL);"
	  "CREATE TABLE engine_inbox(num INTEGER PRIMARY KEY, actor TEXT NOT NULL, stamp INTEGER NOT NULL, event TEXT "
	  "NOT NULL);" },
	{ 0 },
};

/* ---- numbers, time, randomness, faults ---- */

int64_t engine_next_num(struct engine *e)
{
	if (e->next_num >= e->num_limit) {
		e->num_limit = e->next_num + NUM_BLOCK;
		e->limit_dirty = true;
	}
	return e->next_num++;
}

uint64_t engine_random(struct engine *e)
{
	if (e->opt.random)
		return e->opt.random(e->opt.ctx);
	if (!e->random_left) {
		random_bytes(e->random_pool, sizeof(e->random_pool));
		e->random_left = sizeof(e->random_pool) / sizeof(*e->random_pool);
	}
	return e->random_pool[--e->random_left];
}

int64_t engine_now_ms(struct engine *e)
{
	return e->opt.now_ms ? e->opt.now_ms(e->opt.ctx) : clock_now_ms();
}

const char *engine_fault(struct engine *e)
{
	return atomic_load_explicit(&e->fault, memory_order_acquire);
}

void engine_set_fault(struct engine *e, const char *text)
{
	char *mine = mem_strdup(text), *none = NULL;
	if (!atomic_compare_exchange_strong(&e->fault, &none, mine)) {
		free(mine);
		return;
	}
	log_error("engine", "takes no more writes: %s", text);
}

bool engine_stopping(struct engine *e)
{
	return e->stopping;
}

struct store *engine_store(struct engine *e)
{
	return e->store;
}

void engine_get_stats(struct engine *e, struct engine_stats *out)
{
	*out = (struct engine_stats){
		.commits = e->stats.commits,
		.turns = e->stats.turns,
		.commands = e->stats.commands,
		.failures = e->stats.failures,
		.effects_open = e->stats.effects_open,
		.timers = e->stats.timers,
		.actors_cached = e->stats.actors_cached,
		.messages_waiting = e->stats.messages_waiting,
	};
}

/* ---- queue ---- */

struct item *engine_items_pop(struct items *q)
{
	struct item *it = q->head;
	if (it && !(q->head = it->next))
		q->tail = &q->head;
	return it;
}

static void item_free(struct item *it)
{
	json_decref(it->event);
	error_release(&it->err);
	free(it);
}

/* After a crash in a test: nobody is told. */
static void items_free(struct items *q)
{
	struct item *it;
	while ((it = engine_items_pop(q)))
		item_free(it);
}

void engine_item_finish(struct item *it, int rc, struct error *err)
{
	if (it->done)
		it->done(it->arg, rc, err);
	item_free(it);
}

static struct item *item_new(enum item_kind kind, const char *actor)
{
	size_t n = strlen(actor) + 1;
	struct item *it = mem_calloc(1, sizeof(*it) + n);
	memcpy(it->actor, actor, n);
	it->kind = kind;
	return it;
}

static void enqueue(struct engine *e, struct item *it)
{
	pthread_mutex_lock(&e->lock);
	bool closed = e->closed;
	if (!closed) {
		engine_items_add(&e->queue, it);
		if (e->sleeping)
			pthread_cond_signal(&e->wake);
	}
	pthread_mutex_unlock(&e->lock);
	if (!closed)
		return;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	error_set(&err, "the engine is stopped");
	engine_item_finish(it, -1, &err);
}

static void take_queue(struct engine *e)
{
	if (!e->queue.head)
		return;
	*e->incoming.tail = e->queue.head;
	e->incoming.tail = e->queue.tail;
	engine_items_init(&e->queue);
}

void engine_submit(struct engine *e, command_run run, command_done done, void *arg)
{
	struct item *it = item_new(ITEM_COMMAND, "");
	it->run = run;
	it->done = done;
	it->arg = arg;
	enqueue(e, it);
}

void engine_post(struct engine *e, const char *actor, json_t *event, command_done done, void *arg)
{
	struct item *it = item_new(ITEM_POST, actor);
	it->event = engine_json_unshare(event);
	it->done = done;
	it->arg = arg;
	enqueue(e, it);
}

void engine_effect_done(struct engine *e, int64_t seq, json_t *event)
{
	struct item *it = item_new(ITEM_EFFECT_DONE, "");
	it->event = engine_json_unshare(event);
	it->seq = seq;
	enqueue(e, it);
}

struct waiter {
	command_run run;
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	int rc;
	struct error *err;
};

static int waiter_run(struct turn *t, void *arg, struct error *err)
{
	struct waiter *w = arg;
	return w->run(t, w->arg, err);
}

static void waiter_done(void *arg, int rc, struct error *err)
{
	struct waiter *w = arg;
	pthread_mutex_lock(&w->lock);
	w->rc = rc;
	if (rc < 0 && w->err)
		error_move(w->err, err);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

int engine_call(struct engine *e, command_run run, void *arg, struct error *err)
{
	if (e->started && !e->opt.manual && pthread_equal(pthread_self(), e->core))
		BUG("engine_call on the core thread would wait for itself");
	struct waiter w = { .run = run, .arg = arg, .err = err };
	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.cond, NULL);
	engine_submit(e, waiter_run, waiter_done, &w);
	CLEANUP_ERROR struct error why = ERROR_INIT;
	while (e->opt.manual && !w.done) {
		if (engine_step(e, &why) < 0 && !w.done) {
			w.rc = error_move(err, &why);
			break;
		}
	}
	pthread_mutex_lock(&w.lock);
	while (!w.done && !e->opt.manual)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	pthread_cond_destroy(&w.cond);
	pthread_mutex_destroy(&w.lock);
	return w.rc;
}

/* ---- core thread ---- */

/* Tells everybody on the list; each gets an error of its own, since `done` may take it. */
void engine_items_fail(struct items *q, const char *text)
{
	struct item *it;
	while ((it = engine_items_pop(q))) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		error_set(&err, "%s", text);
		engine_item_finish(it, -1, &err);
	}
}

/* One transaction; after a fault of the store everybody gets the error, now and later. */
static int cycle(struct engine *e, struct error *err)
{
	if (engine_fault(e)) {
		engine_items_fail(&e->incoming, engine_fault(e));
		return error_set(err, "%s", engine_fault(e));
	}
	int rc = engine_txn_run(e, err);
	if (rc >= 0 || rc == TXN_BUSY || e->crashed)
		return rc;
	engine_set_fault(e, error_text(err));
	engine_txn_drop(e);
	engine_items_fail(&e->txn.items, engine_fault(e));
	engine_items_fail(&e->incoming, engine_fault(e));
	return -1;
}

/* How long nothing is due; -1 = until somebody calls. */
static int64_t wait_ms(struct engine *e)
{
	int64_t limit = e->opt.now_ms ? 10 : WAIT_MAX_MS; /* a clock of the test's own may jump */
	if (e->actors.count && limit > TRIM_MS)
		limit = TRIM_MS;
	if (!e->timers.count)
		return e->opt.now_ms || e->actors.count ? limit : -1;
	int64_t left = e->timers.entries[0].at_ms - engine_now_ms(e);
	return left < 0 ? 0 : left < limit ? left : limit;
}

/* True when the time ran out. */
static bool sleep_core(struct engine *e, int64_t ms)
{
	int rc;
	e->sleeping = true;
	if (ms < 0) {
		rc = pthread_cond_wait(&e->wake, &e->lock);
	} else {
		struct timespec ts;
		clock_gettime(CLOCK_MONOTONIC, &ts);
		int64_t ns = ts.tv_nsec + ms % 1000 * 1000000;
		ts.tv_sec += ms / 1000 + ns / 1000000000;
		ts.tv_nsec = ns % 1000000000;
		rc = pthread_cond_timedwait(&e->wake, &e->lock, &ts);
	}
	e->sleeping = false;
	return rc == ETIMEDOUT;
}

/* Nothing has happened for a while: the parsed states and SQLite's pages go, they are read again when they are wanted.
 */
static void trim(struct engine *e)
{
	engine_actors_evict(e, true);
	store_trim(e->store);
	malloc_trim(0);
}

/* Sleeps until there is work, and takes the queue. False: stop, and nothing has come in. */
static bool wait_for_work(struct engine *e)
{
	pthread_mutex_lock(&e->lock);
	while (!e->queue.head && !e->stop_core && !engine_txn_has_work(e)) {
		int64_t ms = wait_ms(e);
		if (sleep_core(e, ms) && ms == TRIM_MS && !e->queue.head) {
			pthread_mutex_unlock(&e->lock);
			trim(e);
			pthread_mutex_lock(&e->lock);
		}
	}
	take_queue(e);
	bool stop = e->stop_core;
	pthread_mutex_unlock(&e->lock);
	return !stop || e->incoming.head;
}

static void *core_main(void *arg)
{
	struct engine *e = arg;
	pthread_mutex_lock(&e->lock); /* e->core is set */
	pthread_mutex_unlock(&e->lock);
	engine_effects_perform(e, &e->restart_jobs, NULL);
	while (wait_for_work(e)) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		if (cycle(e, &err) == TXN_BUSY) {
			log_warn("engine", "can't begin a transaction, trying again: %s", error_text(&err));
			nanosleep(&(struct timespec){ .tv_nsec = RETRY_MS * 1000000L }, NULL);
		}
	}
	return NULL;
}

int engine_step(struct engine *e, struct error *err)
{
	if (!e->opt.manual || !e->started)
		BUG("engine_step is for started manual engines");
	if (e->crashed)
		return error_aws(err, "crash", "the engine has crashed");
	if (e->restart_jobs.head) {
		int n = 0;
		for (struct job *j = e->restart_jobs.head; j; j = j->next)
			n++;
		return engine_effects_perform(e, &e->restart_jobs, err) < 0 ? -1 : n;
	}
	take_queue(e);
	int did = cycle(e, err);
	return did < 0 ? -1 : did;
}

int64_t engine_next_timer_ms(struct engine *e)
{
	return e->timers.count ? e->timers.entries[0].at_ms : INT64_MAX;
}

/* ---- life ---- */

int engine_new(const struct engine_options *options, struct engine **out, struct error *err)
{
	if (!options->store)
		return error_set(err, "an engine needs a store");
	struct engine *e = mem_calloc(1, sizeof(*e));
	e->opt = *options;
	e->store = options->store;
	e->db = store_writer(e->store);
	e->lru.lru_next = e->lru.lru_prev = &e->lru;
	engine_messages_init(&e->fifo);
	engine_items_init(&e->incoming);
	engine_items_init(&e->queue);
	engine_jobs_init(&e->restart_jobs);
	engine_txn_init(e);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&e->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&e->lock, NULL);
	engine_workers_init(e);
	*out = e;
	return 0;
}

void engine_add_actor(struct engine *e, const struct actor_type *type)
{
	if (map_set(&e->types, str_from(type->name), (void *)type))
		BUG("actor type `%s` registered twice", type->name);
}

void engine_add_effect(struct engine *e, const struct effect_type *type)
{
	struct effect_kind *kind = mem_calloc(1, sizeof(*kind));
	kind->type = *type;
	kind->type.name = mem_strdup(type->name);
	kind->last = &kind->first;
	kind->next = e->kinds;
	e->kinds = kind;
	if (map_set(&e->effect_types, str_from(type->name), kind))
		BUG("effect `%s` registered twice", type->name);
}

/* An actor whose type is gone could never be woken; that is said at the start, not by silence later. */
static int check_types(struct engine *e, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 }, one = { 0 };
	if (db_query(e->db, &rows, err, "SELECT name FROM engine_type", "") < 0)
		return -1;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		struct str name = rows_str(&rows, 0);
		map_set(&e->known_types, name, e);
		if (map_get(&e->types, name))
			continue;
		int found = db_row(e->db, &one, err, "SELECT id FROM engine_actor WHERE type=?", "S", name);
		if (found < 0)
			return -1;
		if (found > 0)
			return error_set(err, "the store has actor `%s` of type `%s`, which this version does not know",
					 rows_str(&one, 0).ptr, name.ptr);
	}
	return rc;
}

static int load_count(struct engine *e, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(e->db, &rows, err, "SELECT value FROM engine_meta WHERE name='next_num'", "");
	if (rc <= 0)
		return rc < 0 ? -1 : error_set(err, "the store lacks the engine's tables");
	e->next_num = e->num_limit = rows_int(&rows, 0);
	return 0;
}

int engine_start(struct engine *e, struct error *err)
{
	if (e->started)
		BUG("engine started twice");
	if (load_count(e, err) < 0 || check_types(e, err) < 0 || engine_txn_load_inbox(e, err) < 0 ||
	    engine_timers_load(e, err) < 0 || engine_effects_load(e, err) < 0)
		return error_wrap(err, "start engine");
	e->stats.timers = e->timers.live;
	e->stats.messages_waiting = (int64_t)e->fifo.count;
	e->started = true;
	if (e->opt.manual)
		return 0;
	pthread_mutex_lock(&e->lock);
	int rc = pthread_create(&e->core, NULL, core_main, e);
	pthread_mutex_unlock(&e->lock);
	if (rc != 0)
		BUG("start core thread: %s", strerror(rc));
	return 0;
}

void engine_stop(struct engine *e)
{
	if (!e->started || e->closed)
		return;
	e->stopping = true;
	if (e->opt.manual) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		while (!e->crashed && (e->queue.head || e->incoming.head) && engine_step(e, &err) >= 0)
			;
	} else {
		engine_workers_stop(e);
		pthread_mutex_lock(&e->lock);
		e->stop_core = true;
		pthread_cond_signal(&e->wake);
		pthread_mutex_unlock(&e->lock);
		pthread_join(e->core, NULL);
	}
	pthread_mutex_lock(&e->lock);
	e->closed = true;
	take_queue(e);
	pthread_mutex_unlock(&e->lock);
	if (!e->crashed)
		engine_items_fail(&e->incoming, engine_fault(e) ? engine_fault(e) : "the engine is stopped");
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	engine_stop(e);
	e->closed = true;
	take_queue(e);
	engine_txn_drop(e);
	items_free(&e->txn.items);
	items_free(&e->incoming);
	engine_jobs_release(&e->restart_jobs);
	engine_workers_release(e);
	map_release(&e->effect_types);
	map_release(&e->types);
	map_release(&e->known_types);
	map_release(&e->actors);
	buf_release(&e->scratch);
	free(e->txn.due);
	free(atomic_load(&e->fault));
	pthread_cond_destroy(&e->wake);
	pthread_mutex_destroy(&e->lock);
	free(e);
}
