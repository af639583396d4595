/* engine.h - durable actors.
 *
 * DESIGN: one core thread owns all mutable control-plane state. An actor is (id, type, JSON state). A turn is
 * (state, event) -> (state', rows, messages, timers, effects): it reads no clock, file or socket; time and randomness
 * come from the turn. The engine writes the new state, rows, timers and effects of many turns in one transaction (group
 * commit), and only then performs the effects. After a crash it performs again each effect not yet marked done; an
 * effect has an id that makes it idempotent at the far side. Messages to other actors are delivered inside the same
 * transaction while the bound on turns allows, else they are stored and delivered in the next one. A turn that fails
 * leaves no trace (savepoint) but a log line, and its event is dropped after `max_attempts` tries with the actor told
 * (event type "engine.poison").
 *
 * A *command* is a client's write: a function run on the core thread inside the transaction. Its `done` is called after
 * the commit, so an acknowledged write is on disk.
 *
 * What it does not do: it knows no service, opens no socket, and never runs actor code on two threads. */
#ifndef QUERN_ENGINE_ENGINE_H
#define QUERN_ENGINE_ENGINE_H

#include <jansson.h>
#include "base/arena.h"
#include "base/error.h"
#include "store/store.h"

struct engine;
struct turn;

/* An actor type. */
struct actor_type {
	const char *name; /* "sagemaker.training-job" */
	/* One turn. `state` is borrowed and changed in place; `event` is borrowed, an object with "type", not to be
	 * changed (its sub-trees may be kept in the state by json_incref, since nobody else holds them). Returns < 0
	 * with err on a fault of ours (never for bad user input: that is state). */
	int (*turn)(struct turn *t, json_t *state, json_t *event, struct error *err);
};

/* A durable side effect, as its performer sees it. Borrowed during the call. */
struct effect {
	int64_t seq;       /* engine's number, for engine_effect_done */
	const char *actor; /* who asked; may be "" for a command's effect */
	const char *id;    /* idempotency key */
	json_t *payload;
};
/* Performs one kind of effect. Called on a worker thread (`blocking`) or on the core thread after the commit. It may be
 * called again after a crash. It ends with engine_effect_done (at once or later, from any thread). */
struct effect_type {
	const char *name; /* "task.start" */
	void (*perform)(void *ctx, struct engine *e, const struct effect *fx);
	void *ctx;
	/* true: on a worker thread, may read files and block for a while. What waits for somebody else holds no thread:
	 * perform returns, and engine_effect_done comes later. false: on the core thread, must be quick */
	bool blocking;
	/* At most this many at once of a blocking kind; 0 = 4. More wait, in turns by actor, so that no kind and no
	 * actor holds up another. */
	int threads;
};

enum engine_crash { ENGINE_BEFORE_COMMIT, ENGINE_AFTER_COMMIT, ENGINE_BEFORE_EFFECT };

struct engine_options {
	struct store *store;
	int64_t (*now_ms)(void *ctx);  /* NULL = wall clock; the simulation gives its own */
	uint64_t (*random)(void *ctx); /* NULL = kernel */
	void *ctx;
	bool manual;   /* no threads: the simulation calls engine_step */
	int max_turns; /* turns in one transaction; 0 = 1024, and at most 2 ms */
	/* Tests only, manual engines: true = the process dies here (engine_step fails, the engine can only be freed).
	 */
	bool (*crash)(void *ctx, enum engine_crash at);
};

extern const struct store_migration engine_migrations[];

/* *out owned by the caller. Types must be registered before engine_start. */
int engine_new(const struct engine_options *options, struct engine **out, struct error *err);
void engine_add_actor(struct engine *e, const struct actor_type *type);   /* borrowed for the engine's life */
void engine_add_effect(struct engine *e, const struct effect_type *type); /* copied */
/* Loads timers, starts the core thread and performs unfinished effects again. */
int engine_start(struct engine *e, struct error *err);
/* Finishes the queue, stops the threads, and returns when all is on disk. */
void engine_stop(struct engine *e);
void engine_free(struct engine *e);
struct store *engine_store(struct engine *e);
/* True once engine_stop was called: a performer that waits for long gives up without engine_effect_done (it is called
 * again at the next start). */
bool engine_stopping(struct engine *e);
/* Why the engine takes no more writes (a commit failed), or NULL. Borrowed. From any thread. */
const char *engine_fault(struct engine *e);
struct engine_stats {
	int64_t commits, turns, commands, failures; /* since the start */
	int64_t effects_open, timers, actors_cached, messages_waiting;
};
/* From any thread; each number is true by itself. */
void engine_get_stats(struct engine *e, struct engine_stats *out);
int64_t engine_now_ms(struct engine *e);

/* A client's write. `run` is called once, on the core thread, in a transaction; < 0 rolls its changes back. Then `done`
 * is called on the core thread after the commit (rc 0), or after the roll-back (rc < 0, err borrowed); it must be
 * short. From any thread. rc < 0 may also mean that the transaction as a whole failed (no AWS code then). After
 * engine_stop `done` is called at once, on the caller's thread, with an error. */
typedef int (*command_run)(struct turn *t, void *arg, struct error *err);
typedef void (*command_done)(void *arg, int rc, struct error *err);
void engine_submit(struct engine *e, command_run run, command_done done, void *arg);
/* The same, waiting for the end. Not from the core thread. Returns rc, fills err. */
int engine_call(struct engine *e, command_run run, void *arg, struct error *err);
/* A durable event for an actor, from any thread (takes `event`). When done is not NULL it is called after the commit.
 * An event for an actor that does not exist is dropped (rc 0). */
void engine_post(struct engine *e, const char *actor, json_t *event, command_done done, void *arg);
/* Marks an effect done and delivers `event` (taken, may be NULL) to its actor in the same transaction. A second call
 * for the same seq is ignored. */
void engine_effect_done(struct engine *e, int64_t seq, json_t *event);

/* ---- inside a turn or command ---- */
struct db *turn_db(struct turn *t);       /* the writer, inside the transaction */
struct arena *turn_arena(struct turn *t); /* freed after the turn */
const char *turn_self(struct turn *t);    /* the actor's id; "" in a command */
int64_t turn_now_ms(struct turn *t);      /* one value for the whole turn */
uint64_t turn_random(struct turn *t);
/* n characters [a-z0-9] from the turn's randomness, in its arena. */
const char *turn_id(struct turn *t, size_t n);
const char *turn_uuid(struct turn *t);
/* A new actor; takes state. < 0 with code "conflict" when the id exists. Its first event is {"type":"start"}. */
int turn_spawn(struct turn *t, const char *type, const char *id, json_t *state, struct error *err);
bool turn_exists(struct turn *t, const char *id);
/* Sends; takes event (an object with "type"). Delivered once, in order per receiver, in a transaction of its own or a
 * later one; never lost, unless the receiver does not exist then, or came into being after the sending. */
void turn_send(struct turn *t, const char *actor, json_t *event);
/* Sets the actor's own timer `key` (replaces) to fire at at_ms with `event` (taken); at_ms 0 cancels: once cancelled or
 * replaced it does not fire. */
void turn_timer(struct turn *t, const char *key, int64_t at_ms, json_t *event);
/* Asks for an effect after the commit; takes payload. `id` is its idempotency key. An actor's effects of one kind start
 * in the order they were asked for, but blocking ones run side by side: an actor that needs one after the other waits
 * for the first one's event. What it reports (engine_effect_done) goes to this actor, not to a later one of the same
 * id. */
void turn_effect(struct turn *t, const char *kind, const char *id, json_t *payload);
/* Runs a command within this turn: when it fails (< 0) what it did is undone, and the turn goes on. The command sees no
 * actor (turn_self is "", no timers), and nobody is told of the end of its effects. */
int turn_try(struct turn *t, command_run run, void *arg, struct error *err);
/* In a command: marks an effect done and delivers `event` (taken, may be NULL) to its actor, in the command's own
 * transaction, so that what the command writes and what the actor hears of it are one. Code "conflict" when the effect
 * was reported before: then the command is to fail too. */
int turn_effect_done(struct turn *t, int64_t seq, json_t *event, struct error *err);
/* Calls fn(arg) on the core thread after this transaction is on disk; not durable (lost in a crash): wake-ups of
 * waiting clients only. */
void turn_after_commit(struct turn *t, void (*fn)(void *), void *arg);
/* This actor is finished: its row, timers and undelivered messages go. Its id may be used again by a later turn. */
void turn_end(struct turn *t);

/* ---- simulation ---- */
/* Manual engines: runs everything that is due now (commands, messages, timers) in one transaction, then calls
 * performers. Returns the number of turns run. */
int engine_step(struct engine *e, struct error *err);
/* When the next timer is due, or INT64_MAX. */
int64_t engine_next_timer_ms(struct engine *e);

#endif
