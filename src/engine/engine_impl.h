/* engine_impl.h - what the files of the engine share; nobody else includes it.
 *
 *   core.c    life cycle, queue from other threads, core thread
 *   txn.c     one transaction: what is let in, what is written, what follows the commit, taking it back
 *   actor.c   actors in memory, the running of a turn
 *   turn.c    what a turn may call
 *   text.c    JSON as text, and who owns it
 *   timer.c   heap of timers
 *   effect.c  performing effects
 *   worker.c  threads for effects that block */
#ifndef QUERN_ENGINE_IMPL_H
#define QUERN_ENGINE_IMPL_H

#include "base/buf.h"
#include "base/json.h"
#include "base/map.h"
#include "engine/engine.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MAX_ATTEMPTS = 3, TURN_OK = 0, TURN_FAILED = -1, TURN_ABORT = -2, TXN_BUSY = -3 };

/* A state in memory. `text` is what the row holds or will hold; a large state changed in this transaction is `stale`:
 * its text is made once at the end instead of after each turn. */
struct actor {
	int64_t num; /* rowid; also the moment of birth on the engine's count, see message.stamp */
	const struct actor_type *type;
	char *id;
	json_t *state;
	char *text;
	size_t text_len;
	bool in_db, dirty, stale;
	bool touched;      /* on the transaction's list: dirty, or timers below */
	bool gone;         /* ended in this transaction, freed at its end */
	struct map timers; /* key -> struct timer_op, wanted by this transaction */
	struct actor *lru_prev, *lru_next, *touched_next;
};

struct timer_op {
	int64_t at_ms; /* 0 cancel */
	char text[];   /* event */
};

/* Where a message is from decides what becomes of it when the transaction is taken back. */
enum origin { FROM_TURN, FROM_INBOX, FROM_QUEUE, FROM_TIMER };

struct message {
	struct message *next;
	int64_t stamp; /* when it was sent, on the engine's count; meant for an actor born before */
	int64_t inbox; /* its row, 0 = none */
	int64_t timer; /* FROM_TIMER: row, and the time it was due */
	int64_t timer_ms;
	enum origin origin;
	bool poison; /* `event` tells of a message that was given up */
	int attempts;
	json_t *event; /* owned; NULL for a timer until it is delivered */
	char actor[];
};
struct messages {
	struct message *head, **tail;
	size_t count;
};

/* What other threads hand in. */
enum item_kind { ITEM_COMMAND, ITEM_POST, ITEM_EFFECT_DONE };
struct item {
	struct item *next;
	enum item_kind kind;
	command_run run;
	command_done done;
	void *arg;
	json_t *event; /* owned */
	int64_t seq;   /* of the effect */
	int rc;
	struct error err;
	char actor[];
};
struct items {
	struct item *head, **tail;
};

struct effect_kind;
struct job { /* an effect to perform */
	struct job *next;
	int64_t seq;
	struct effect_kind *kind;
	char *actor, *id;
	char *text; /* payload; parsed where it is performed, so that it shares nothing with a state */
};
struct jobs {
	struct job *head, **tail;
};

struct lane { /* the effects of one kind that one actor waits for */
	struct lane *next;
	char *actor;
	struct jobs jobs;
};
struct effect_kind {
	struct effect_type type; /* name owned */
	struct effect_kind *next;
	/* blocking kinds, under jobs_lock */
	struct map lanes; /* actor -> struct lane */
	struct lane *first, **last;
	int running; /* threads that perform it now */
};

struct call { /* turn_after_commit */
	struct call *next;
	void (*fn)(void *);
	void *arg;
};

struct timer_due {
	int64_t at_ms, num;
};
/* Binary heap of due times; entries that were replaced or cancelled stay until they come up or are too many. */
struct timer_heap {
	struct timer_due *entries;
	size_t count, cap;
	int64_t live; /* rows of the table */
};

struct txn {
	int turns, let_in, effects_done;
	int64_t deadline_us;
	bool end_now; /* after a failed turn: keep what went well */
	struct items items;
	struct messages handled;   /* those that would come back */
	struct message *first_new; /* of the fifo: this and all behind it have no row yet */
	struct jobs jobs;
	struct call *calls, **calls_tail;
	struct actor *touched, **touched_tail;
	struct timer_due *due; /* to go into the heap */
	size_t ndue, due_cap;
};

struct engine {
	struct engine_options opt;
	struct store *store;
	struct db *db;
	struct map types, effect_types, known_types; /* effect_types: struct effect_kind */
	/* core thread only */
	struct map actors; /* id -> struct actor */
	struct actor lru;  /* ring; lru_next is the hottest */
	size_t cached_bytes;
	struct messages fifo;
	struct items incoming; /* taken from the queue, not yet let in */
	struct timer_heap timers;
	struct txn txn;
	int careful; /* that many transactions of one message each, after one was taken back */
	int64_t next_num, num_limit;
	bool limit_dirty;
	bool crashed, started;
	struct buf scratch;
	uint64_t random_pool[128];
	unsigned random_left;
	pthread_t core;
	struct jobs restart_jobs; /* effects found unfinished at the start */
	/* shared */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct items queue;
	bool sleeping, stop_core, closed;
	_Atomic(char *) fault;
	atomic_bool stopping;
	/* worker.c */
	pthread_mutex_t jobs_lock;
	pthread_cond_t jobs_wake, workers_ended;
	struct effect_kind *kinds, *next_kind; /* ring's list, and whose turn it is */
	bool stop_workers;
	int nworkers, idle_workers, woken_workers; /* woken: idle before, and signalled */
	struct {
		_Atomic int64_t commits, turns, commands, failures, effects_open, timers, actors_cached,
			messages_waiting;
	} stats;
};

struct out { /* what a turn wants, kept until it has succeeded */
	struct out *next;
	enum { OUT_SEND, OUT_TIMER, OUT_EFFECT, OUT_CALL, OUT_DONE } kind;
	bool of_command;  /* of a turn_try: no actor is told of an effect's end */
	const char *name; /* receiver, timer key, effect id */
	int64_t seq;      /* OUT_DONE: of the effect */
	struct effect_kind *effect;
	json_t *value; /* owned: event sent */
	char *text;    /* owned: event of a timer, payload of an effect */
	int64_t at_ms;
	void (*fn)(void *);
	void *arg;
};

struct turn {
	struct engine *e;
	struct actor *actor; /* NULL in a command */
	struct arena arena;
	int64_t now_ms;
	bool savepoint, ended, trying;
	struct error fault; /* of a call that can't return one */
	struct out *outs, **outs_tail;
	struct actor *spawned, **spawned_tail; /* by touched_next */
};

/* core.c */
int64_t engine_next_num(struct engine *e);
uint64_t engine_random(struct engine *e);
/* Ends writing for good. */
void engine_set_fault(struct engine *e, const char *text);
static inline void engine_items_init(struct items *q)
{
	q->head = NULL;
	q->tail = &q->head;
}
static inline void engine_items_add(struct items *q, struct item *it)
{
	it->next = NULL;
	*q->tail = it;
	q->tail = &it->next;
}
struct item *engine_items_pop(struct items *q);
void engine_item_finish(struct item *it, int rc, struct error *err); /* calls done, frees */
void engine_items_fail(struct items *q, const char *text);

/* txn.c */
void engine_txn_init(struct engine *e);
/* One transaction of what is due. Returns turns run (0 = nothing to do); TXN_BUSY when somebody else's lock kept it
 * from starting; -1 when it failed (then e->crashed, or the engine is to be given up by txn_drop). */
int engine_txn_run(struct engine *e, struct error *err);
bool engine_txn_has_work(struct engine *e);
/* Rolls back and forgets everything in memory but the items of waiting clients. */
void engine_txn_drop(struct engine *e);
int engine_txn_load_inbox(struct engine *e, struct error *err);
void engine_txn_add_message(struct engine *e, struct message *m);
struct message *engine_message_new(const char *actor, json_t *event, int64_t stamp, enum origin origin);
void engine_message_free(struct message *m);
void engine_messages_init(struct messages *q);
void engine_messages_add(struct messages *q, struct message *m);
void engine_messages_push_front(struct messages *q, struct message *m);
struct message *engine_messages_pop(struct messages *q);

/* actor.c */
/* 1 found, 0 none, < 0 an error. */
int engine_actor_get(struct engine *e, const char *id, struct actor **out, struct error *err);
struct actor *engine_actor_new(struct engine *e, int64_t num, const struct actor_type *type, const char *id,
			       json_t *state);
/* Out of the cache and freed (at the end of the transaction when it is touched). */
void engine_actor_forget(struct engine *e, struct actor *a);
void engine_actor_touch(struct engine *e, struct actor *a);
int engine_actor_make_text(struct engine *e, struct actor *a, struct error *err);
/* Texts of the large states; may fail, then nothing was written. */
int engine_actors_make_texts(struct engine *e, struct error *err);
/* Shrinks the cache to its bound, or to nothing. Between transactions. */
void engine_actors_evict(struct engine *e, bool all);
/* Removes the row of a message that is used up. */
int engine_message_consume(struct engine *e, struct message *m, struct error *err);
/* The engine's answer to one message: TURN_OK (message used up), TURN_FAILED (no trace left), TURN_ABORT (the
 * transaction must be taken back). */
int engine_actor_handle(struct engine *e, struct message *m, struct error *err);
int engine_command_handle(struct engine *e, struct item *it);
/* Writes the touched actors and their timers. */
int engine_actors_write(struct engine *e, struct error *err);
/* Clears the marks of this transaction. */
void engine_actors_settle(struct engine *e);
/* Empties the cache, changed states too. */
void engine_actors_drop(struct engine *e);

/* turn.c */
void turn_open(struct turn *t, struct engine *e, struct actor *a);
void turn_apply(struct turn *t);
void turn_discard(struct turn *t);
void turn_close(struct turn *t);

/* text.c */
/* Makes `value` share no array or object with anybody: itself when it does not, else a deep copy (value is released).
 */
json_t *engine_json_unshare(json_t *value);
int engine_json_write(struct buf *out, const json_t *value, struct error *err);
char *engine_json_line(const json_t *value, struct error *err); /* compact text, malloc'ed; NULL with err */
json_t *engine_json_unline(const char *text, size_t len, struct error *err);

/* timer.c */
int engine_timers_load(struct engine *e, struct error *err);
void engine_timers_release(struct engine *e);
void engine_timers_push(struct engine *e, int64_t at_ms, int64_t num);
/* The earliest if it is due, removed. */
bool engine_timers_pop_due(struct engine *e, int64_t now_ms, struct timer_due *out);
int engine_timer_write(struct engine *e, struct actor *a, const char *key, const struct timer_op *op,
		       struct error *err);
/* Drops stale entries when most are. */
int engine_timers_tidy(struct engine *e, struct error *err);

/* effect.c */
void engine_jobs_init(struct jobs *q);
void engine_jobs_add(struct jobs *q, struct job *j);
void engine_jobs_release(struct jobs *q);
struct job *engine_job_new(int64_t seq, struct effect_kind *kind, const char *actor, const char *id, char *text);
int engine_effects_load(struct engine *e, struct error *err);
int engine_effects_write(struct engine *e, struct error *err);
/* Performs or hands to the workers; empties the list. < 0 only when the test says "die here". */
int engine_effects_perform(struct engine *e, struct jobs *jobs, struct error *err);
/* Performs one; frees it. */
void engine_effect_perform(struct engine *e, struct job *j);
struct job *engine_jobs_pop(struct jobs *q);

/* worker.c */
void engine_workers_init(struct engine *e);
/* Takes the job. */
void engine_workers_add(struct engine *e, struct job *j);
/* Waits for what is being performed; what waits is on disk and is performed at the next start. */
void engine_workers_stop(struct engine *e);
void engine_workers_release(struct engine *e);

#endif
