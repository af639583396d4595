/* sim.h - the simulated world around a manual engine. See sim.c. */
#ifndef QUERN_TESTS_SIM_H
#define QUERN_TESTS_SIM_H

#include "base/map.h"
#include "base/json.h"
#include "engine/engine.h"

/* How often things go wrong, in thousandths. */
struct trouble {
	int crash_commit, crash_effect; /* at each chance */
	int reopen;                     /* a crash closes the store file as well */
	int fail_turn;                  /* a turn does its work and then fails */
	int repeat, lose;               /* a report of an effect */
	int oversleep;
	int64_t delay_ms; /* reports take up to this long */
	int max_turns;    /* of a transaction, 0 = engine's default */
};

/* The far side of an effect: it outlives the daemon. */
struct task {
	char *id, *payload;
	int64_t seq;
	int executed;
	bool notify; /* else a job's task */
};
struct happening { /* something of the world, to come at a time */
	int64_t at_ms;
	struct task *task;
	bool report; /* else: execute */
};
enum request_kind { REQUEST_FLOW, REQUEST_DEPOSIT, REQUEST_SLEEPER };
enum request_state { REQUEST_TODO, REQUEST_SENT, REQUEST_ACKED };
struct request {
	enum request_kind kind;
	enum request_state state;
	int number;    /* flow-3, deposit-7 */
	unsigned life; /* the engine it was sent to */
};

struct sim {
	uint64_t seed, random; /* random drives the trouble; what actors decide hangs on seed alone */
	struct trouble trouble;
	int64_t now_ms;
	char path[128];
	struct store *store;
	struct engine *engine;
	unsigned life; /* counts engines */
	struct map tasks;
	struct happening *happenings;
	size_t nhappenings, happenings_cap;
	struct request requests[64];
	int nrequests, naccounts;
	int failed_in_a_row;
	int crashes, turns, performs, lost;
	char failure[400]; /* the first broken promise; empty = none */
};
extern struct sim *sim; /* actors have no context pointer */

/* sim_actors.c */
extern const struct actor_type sim_flow, sim_job, sim_account, sim_sleeper;
uint64_t sim_hash(const char *what, int64_t n); /* fixed by the seed */
/* sim_world.c */
uint64_t sim_random(void);
bool sim_chance(int thousandths);
void sim_broken(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void world_perform(void *ctx, struct engine *e, const struct effect *fx);
void world_happen(size_t i);
void world_release(void);
void clients_init(void);
/* Sends one of the requests that wait; false when there is none. */
bool clients_act(void);
bool clients_content(void);
/* The engine died: what was not answered is sent again. */
void clients_forget(void);
/* What was acknowledged is there; money is conserved. Between two engines. */
void world_check(void);

#endif
