/* sim_world.c - what is outside of the engine: performers' far side, clients, and the checks on what both were
 * promised.
 *
 * DESIGN: the world outlives every engine. A task is executed at most once per idempotency key, as a real executor
 * would do it; its report is delayed, repeated, or lost until the effect is performed again. An effect performed again
 * must be the same one: same number, same payload. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t sim_random(void)
{
	uint64_t x = sim->random += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

bool sim_chance(int thousandths)
{
	return thousandths && (int)(sim_random() % 1000) < thousandths;
}

void sim_broken(const char *fmt, ...)
{
	if (sim->failure[0])
		return;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(sim->failure, sizeof(sim->failure), fmt, ap);
	va_end(ap);
}

/* ---- effects ---- */

static void happen_later(struct task *task, bool report)
{
	if (sim->nhappenings == sim->happenings_cap) {
		sim->happenings_cap = sim->happenings_cap ? sim->happenings_cap * 2 : 64;
		sim->happenings = mem_realloc(sim->happenings, sim->happenings_cap * sizeof(*sim->happenings));
	}
	int64_t delay = sim->trouble.delay_ms ? (int64_t)(sim_random() % (uint64_t)sim->trouble.delay_ms) : 1;
	if (sim->trouble.delay_ms && sim_chance(50))
		delay *= 20; /* now and then beyond the job's timeout */
	sim->happenings[sim->nhappenings++] = (struct happening){ sim->now_ms + delay, task, report };
}

static void check_same(struct task *task, const struct effect *fx, const char *payload)
{
	if (task->seq != fx->seq)
		sim_broken("effect %s was asked for twice (numbers %lld and %lld)", fx->id, (long long)task->seq,
			   (long long)fx->seq);
	if (strcmp(task->payload, payload))
		sim_broken("effect %s came back with another payload", fx->id);
}

void world_perform(void *ctx, struct engine *e, const struct effect *fx)
{
	(void)e;
	CLEANUP_FREE char *payload = json_text_dup(fx->payload);
	struct task *task = map_get(&sim->tasks, str_from(fx->id));
	sim->performs++;
	if (!task) {
		task = mem_calloc(1, sizeof(*task));
		task->id = mem_strdup(fx->id);
		task->payload = mem_strdup(payload);
		task->seq = fx->seq;
		task->notify = ctx != NULL;
		map_set(&sim->tasks, str_from(fx->id), task);
	}
	check_same(task, fx, payload);
	happen_later(task, task->executed);
}

static void report(struct task *task)
{
	const char *hash = strchr(task->id, '#');
	if (task->notify) {
		engine_effect_done(sim->engine, task->seq, json_pack("{ss}", "type", "notified"));
		return;
	}
	int attempt = hash ? atoi(hash + 1) : 0;
	engine_effect_done(sim->engine, task->seq,
			   json_pack("{ss, si, sb}", "type", "task-done", "attempt", attempt, "ok",
				     (int)(sim_hash(task->id, 7) % 4 != 0)));
}

void world_happen(size_t i)
{
	struct happening h = sim->happenings[i];
	sim->happenings[i] = sim->happenings[--sim->nhappenings];
	if (!h.report && !h.task->executed)
		h.task->executed++;
	if (!h.report || !sim_chance(sim->trouble.lose)) {
		report(h.task);
		if (sim_chance(sim->trouble.repeat))
			happen_later(h.task, true);
		return;
	}
	sim->lost++;
}

void world_release(void)
{
	for (size_t i = 0; i < sim->tasks.count; i++) {
		struct task *task = sim->tasks.entries[i].value;
		free(task->id);
		free(task->payload);
		free(task);
	}
	map_release(&sim->tasks);
	free(sim->happenings);
}

/* ---- clients ---- */

void clients_init(void)
{
	int flows = 1 + (int)(sim_hash("flows", 0) % 4), sleepers = (int)(sim_hash("sleepers", 0) % 3),
	    deposits = (int)(sim_hash("deposits", 0) % 12);
	sim->naccounts = 2 + (int)(sim_hash("accounts", 0) % 3);
	for (int i = 0; i < flows + sleepers + deposits; i++)
		sim->requests[sim->nrequests++] = (struct request){ i < flows              ? REQUEST_FLOW
								    : i < flows + sleepers ? REQUEST_SLEEPER
											   : REQUEST_DEPOSIT,
								    REQUEST_TODO, i, 0 };
}

static int run_request(struct turn *t, void *arg, struct error *err)
{
	struct request *r = arg;
	char id[32];
	snprintf(id, sizeof(id), "%s-%d", r->kind == REQUEST_FLOW ? "flow" : "sleeper", r->number);
	if (db_exec(turn_db(t), err, "INSERT INTO sim_request(id) VALUES(?)", "s", id) < 0)
		return -1;
	if (r->kind == REQUEST_SLEEPER)
		return turn_spawn(t, "sleeper", id, json_object(), err);
	int stages = 1 + (int)(sim_hash(id, -1) % 4);
	json_t *state = json_pack("{si, si}", "stages", stages, "stage", 0);
	if (sim_hash(id, -2) % 4 == 0) { /* large enough for the engine's other way of undoing a turn */
		char *ballast = arena_alloc(turn_arena(t), 10001);
		memset(ballast, 'b', 10000);
		json_set_text(state, "ballast", ballast);
	}
	return turn_spawn(t, "flow", id, state, err);
}

static void on_done(void *arg, int rc, struct error *err)
{
	struct request *r = arg;
	bool there = rc == 0 || error_is(err, "conflict"); /* conflict: an earlier try had got through */
	r->state = there ? REQUEST_ACKED : REQUEST_TODO;
}

static void send_request(struct request *r)
{
	r->state = REQUEST_SENT;
	r->life = sim->life;
	if (r->kind != REQUEST_DEPOSIT) {
		engine_submit(sim->engine, run_request, on_done, r);
		return;
	}
	char id[32], account[32];
	snprintf(id, sizeof(id), "deposit-%d", r->number);
	snprintf(account, sizeof(account), "account-%d", (int)(sim_hash(id, 0) % (unsigned)sim->naccounts));
	engine_post(sim->engine, account,
		    json_pack("{ss, ss, si}", "type", "deposit", "id", id, "amount", (int)(sim_hash(id, 1) % 500)),
		    on_done, r);
}

bool clients_act(void)
{
	int start = (int)(sim_random() % (uint64_t)sim->nrequests);
	for (int i = 0; i < sim->nrequests; i++) {
		struct request *r = &sim->requests[(start + i) % sim->nrequests];
		if (r->state == REQUEST_TODO) {
			send_request(r);
			return true;
		}
	}
	return false;
}

bool clients_content(void)
{
	for (int i = 0; i < sim->nrequests; i++)
		if (sim->requests[i].state != REQUEST_ACKED)
			return false;
	return true;
}

void clients_forget(void)
{
	for (int i = 0; i < sim->nrequests; i++)
		if (sim->requests[i].state == REQUEST_SENT)
			sim->requests[i].state = REQUEST_TODO;
}

/* ---- checks ---- */

static int64_t ask(struct db *db, const char *sql, const char *arg)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int rc = arg ? db_row(db, &rows, &err, sql, "ss", arg, arg) : db_row(db, &rows, &err, sql, "");
	if (rc < 0)
		sim_broken("%s: %s", sql, error_text(&err));
	return rc > 0 ? rows_int(&rows, 0) : 0;
}

void world_check(void)
{
	struct db *db = store_read_begin(sim->store, NULL);
	for (int i = 0; i < sim->nrequests; i++) {
		struct request *r = &sim->requests[i];
		char id[32];
		if (r->state != REQUEST_ACKED)
			continue;
		static const char *const kinds[] = { "flow", "deposit", "sleeper" };
		snprintf(id, sizeof(id), "%s-%d", kinds[r->kind], r->number);
		const char *sql = r->kind == REQUEST_DEPOSIT
					  ? "SELECT EXISTS(SELECT 1 FROM sim_deposit WHERE id=?) OR"
					    " EXISTS(SELECT 1 FROM engine_inbox WHERE json_extract(event, '$.id')=?)"
					  : "SELECT EXISTS(SELECT 1 FROM sim_request WHERE id=?) AND (EXISTS(SELECT 1 "
					    "FROM engine_actor WHERE id=?)"
					    " OR EXISTS(SELECT 1 FROM sim_result WHERE id=?1))";
		if (!ask(db, sql, id))
			sim_broken("%s was acknowledged and is gone", id);
	}
	int64_t money = ask(db,
			    "SELECT COALESCE(SUM(json_extract(state, '$.balance')), 0) + (SELECT "
			    "COALESCE(SUM(json_extract(event, '$.amount')), 0)"
			    " FROM engine_inbox WHERE json_extract(event, '$.type')='credit') FROM engine_actor WHERE "
			    "type='account'",
			    NULL);
	int64_t deposits = ask(db, "SELECT COALESCE(SUM(amount), 0) FROM sim_deposit", NULL);
	if (money != deposits)
		sim_broken("money is not conserved: %lld instead of %lld", (long long)money, (long long)deposits);
	store_read_end(sim->store, db);
}
