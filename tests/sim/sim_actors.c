/* sim_actors.c - the actors of the simulation.
 *
 *   flow     a pipeline: stages of jobs, waits for all of a stage, moves money, tells the outside, ends
 *   job      one effect with application failures, retries after a backoff, and a timeout
 *   account  a balance; money moves by messages
 *   sleeper  chains of timers, with decoys that are replaced or cancelled before they fire
 *
 * What they compute depends on the seed and not on order or time, so a run full of trouble must end with the same
 * numbers as one without. What they must never see (a message twice, a cancelled timer) they report by sim_broken. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

uint64_t sim_hash(const char *what, int64_t n)
{
	uint64_t x = sim->seed * 0x9e3779b97f4a7c15u ^ (uint64_t)n * 0xbf58476d1ce4e5b9u;
	for (; *what; what++)
		x = (x ^ (uint8_t)*what) * 0x100000001b3u;
	x ^= x >> 29;
	x *= 0x94d049bb133111ebu;
	return x ^ x >> 32;
}

/* A turn may fail after all its work was done: nothing of it may remain. Three failures in a row would be poison. */
static int finish_turn(int rc, struct error *err)
{
	if (rc == 0 && sim->failed_in_a_row < 2 && sim_chance(sim->trouble.fail_turn)) {
		sim->failed_in_a_row++;
		return error_set(err, "the simulation fails this turn");
	}
	sim->failed_in_a_row = 0;
	return rc;
}

static bool is_type(json_t *event, const char *type)
{
	return !strcmp(json_get_text(event, "type"), type);
}

static json_t *get_member(json_t *state, const char *key)
{
	json_t *v = json_object_get(state, key);
	if (!v)
		json_object_set_new(state, key, v = json_object());
	return v;
}

/* ---- flow ---- */

static int begin_stage(struct turn *t, json_t *state, struct error *err)
{
	int64_t stage = json_get_int(state, "stage", 0);
	int width = 1 + (int)(sim_hash(turn_self(t), stage) % 3);
	json_set_int(state, "waiting", width);
	for (int i = 0; i < width; i++) {
		const char *id = arena_printf(turn_arena(t), "%s/%d/%d", turn_self(t), (int)stage, i);
		if (turn_spawn(t, "job", id, json_pack("{ss}", "flow", turn_self(t)), err) < 0)
			return -1;
	}
	return 0;
}

static void move_money(struct turn *t, int64_t stage)
{
	uint64_t h = sim_hash(turn_self(t), 1000 + stage);
	const char *from = arena_printf(turn_arena(t), "account-%d", (int)(h % (unsigned)sim->naccounts));
	char to[32];
	snprintf(to, sizeof(to), "account-%d", (int)(h / 100 % (unsigned)sim->naccounts));
	turn_send(t, from, json_pack("{ss, ss, si}", "type", "move", "to", to, "amount", (int)(h / 10000 % 100)));
}

static int flow_body(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	if (is_type(event, "start"))
		return begin_stage(t, state, err);
	if (is_type(event, "pass")) {
		move_money(t, json_get_int(state, "stage", 0));
		json_set_int(state, "stage", json_get_int(state, "stage", 0) + 1);
		if (json_get_int(state, "stage", 0) < json_get_int(state, "stages", 0))
			return begin_stage(t, state, err);
		turn_effect(t, "notify", turn_self(t), json_pack("{sI}", "sum", json_get_int(state, "sum", 0)));
		return db_exec(turn_db(t), err, "INSERT INTO sim_result(id, value) VALUES(?, ?)", "si", turn_self(t),
			       json_get_int(state, "sum", 0)) < 0
			       ? -1
			       : 0;
	}
	if (is_type(event, "job-finished")) {
		const char *job = json_get_text(event, "job");
		json_t *seen = get_member(state, "seen");
		if (json_object_get(seen, job))
			sim_broken("%s heard twice of %s", turn_self(t), job);
		json_object_set(seen, job, json_object_get(event, "note")); /* kept, not copied */
		json_set_int(state, "sum", json_get_int(state, "sum", 0) + json_get_int(event, "value", 0));
		json_set_int(state, "waiting", json_get_int(state, "waiting", 0) - 1);
		if (json_get_int(state, "waiting", 0) == 0)
			turn_send(t, turn_self(t), json_pack("{ss}", "type", "pass"));
		return 0;
	}
	if (is_type(event, "notified")) {
		turn_end(t);
		return 0;
	}
	sim_broken("%s got %s", turn_self(t), json_get_text(event, "type"));
	return 0;
}

static int flow_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	return finish_turn(flow_body(t, state, event, err), err);
}
const struct actor_type sim_flow = { "flow", flow_turn };

/* ---- job ---- */

static void begin_attempt(struct turn *t, json_t *state)
{
	int64_t attempt = json_get_int(state, "attempt", 0) + 1;
	json_set_int(state, "attempt", attempt);
	const char *id = arena_printf(turn_arena(t), "%s#%d", turn_self(t), (int)attempt);
	turn_effect(t, "task", id, json_pack("{sI, sO}", "attempt", attempt, "flow", json_object_get(state, "flow")));
	turn_timer(t, "timeout", turn_now_ms(t) + 2000, json_pack("{ss, sI}", "type", "timeout", "attempt", attempt));
}

static int job_body(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	(void)err;
	bool current = json_get_int(event, "attempt", -1) == json_get_int(state, "attempt", 0);
	if (is_type(event, "start") || is_type(event, "retry")) {
		begin_attempt(t, state);
	} else if (is_type(event, "timeout")) {
		if (!current)
			sim_broken("%s got a timer that was replaced", turn_self(t));
		begin_attempt(t, state);
	} else if (is_type(event, "task-done") && current && !json_get_bool(state, "resting", false)) {
		turn_timer(t, "timeout", 0, NULL);
		if (!json_get_bool(event, "ok", false)) {
			turn_timer(t, "backoff", turn_now_ms(t) + 10, json_pack("{ss}", "type", "retry"));
			return 0;
		}
		turn_send(t, json_get_text(state, "flow"),
			  json_pack("{ss, ss, sI, s{ss}}", "type", "job-finished", "job", turn_self(t), "value",
				    (json_int_t)(sim_hash(turn_self(t), 0) % 1000000), "note", "by", turn_self(t)));
		turn_end(t);
	}
	return 0;
}

static int job_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	return finish_turn(job_body(t, state, event, err), err);
}
const struct actor_type sim_job = { "job", job_turn };

/* ---- account ---- */

static int account_body(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	int64_t amount = json_get_int(event, "amount", 0), balance = json_get_int(state, "balance", 0);
	if (is_type(event, "move")) {
		json_set_int(state, "balance", balance - amount);
		turn_send(t, json_get_text(event, "to"), json_pack("{ss, sI}", "type", "credit", "amount", amount));
	} else if (is_type(event, "credit")) {
		json_set_int(state, "balance", balance + amount);
	} else if (is_type(event, "deposit")) {
		CLEANUP_ERROR struct error why = ERROR_INIT;
		if (db_exec(turn_db(t), &why, "INSERT INTO sim_deposit(id, amount) VALUES(?, ?)", "si",
			    json_get_text(event, "id"), amount) >= 0)
			json_set_int(state, "balance", balance + amount);
		else if (!error_is(&why, "conflict")) /* the client may ask twice */
			return error_move(err, &why);
	}
	return 0;
}

static int account_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	return finish_turn(account_body(t, state, event, err), err);
}
const struct actor_type sim_account = { "account", account_turn };

/* ---- sleeper ---- */

enum { SLEEPER_CHAINS = 3, SLEEPER_TICKS = 5 };

static void expect_timer(struct turn *t, json_t *state, const char *key, int64_t at_ms, int64_t token)
{
	json_object_set_new(get_member(state, "expect"), key, json_pack("[I, I]", token, at_ms));
	turn_timer(t, key, at_ms, json_pack("{ss, ss, sI}", "type", "tick", "key", key, "token", token));
}

static void cancel_timer(struct turn *t, json_t *state, const char *key)
{
	json_object_del(get_member(state, "expect"), key);
	turn_timer(t, key, 0, NULL);
}

static void next_tick(struct turn *t, json_t *state, int chain, int64_t tick)
{
	char key[32], decoy[32];
	snprintf(key, sizeof(key), "chain-%d", chain);
	snprintf(decoy, sizeof(decoy), "decoy-%d", chain);
	uint64_t h = sim_hash(turn_self(t), chain * 100 + tick);
	if (h % 3 == 0)
		cancel_timer(t, state, decoy);
	else /* replaces, and may come before, with or after the tick that takes it away */
		expect_timer(t, state, decoy, turn_now_ms(t) + (int64_t)(h % 50), -1 - tick);
	expect_timer(t, state, key, turn_now_ms(t) + (int64_t)(h / 64 % 50), tick);
}

static int sleeper_body(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	if (is_type(event, "start")) {
		for (int i = 0; i < SLEEPER_CHAINS; i++)
			next_tick(t, state, i, 0);
		return 0;
	}
	const char *key = json_get_text(event, "key");
	int64_t token = json_get_int(event, "token", 0);
	json_t *expected = json_object_get(json_object_get(state, "expect"), key);
	if (!expected || json_integer_value(json_array_get(expected, 0)) != token)
		sim_broken("%s: timer %s fired after it was cancelled or replaced", turn_self(t), key);
	else if (turn_now_ms(t) < json_integer_value(json_array_get(expected, 1)))
		sim_broken("%s: timer %s fired early", turn_self(t), key);
	json_object_del(json_object_get(state, "expect"), key);
	if (token < 0)
		return 0;
	json_set_int(state, "ticks", json_get_int(state, "ticks", 0) + 1);
	if (token + 1 < SLEEPER_TICKS) {
		next_tick(t, state, atoi(key + 6), token + 1);
		return 0;
	}
	char decoy[32];
	snprintf(decoy, sizeof(decoy), "decoy-%s", key + 6);
	cancel_timer(t, state, decoy);
	json_set_int(state, "finished", json_get_int(state, "finished", 0) + 1);
	if (json_get_int(state, "finished", 0) < SLEEPER_CHAINS)
		return 0;
	turn_end(t);
	return db_exec(turn_db(t), err, "INSERT INTO sim_result(id, value) VALUES(?, ?)", "si", turn_self(t),
		       json_get_int(state, "ticks", 0)) < 0
		       ? -1
		       : 0;
}

static int sleeper_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	return finish_turn(sleeper_body(t, state, event, err), err);
}
const struct actor_type sim_sleeper = { "sleeper", sleeper_turn };
