/* sim.c - seeded simulation of the engine: crashes, late, repeated and lost reports, failing turns.
 *
 *   quern-sim [--seed N] [--runs N] [--verbose]
 *
 * DESIGN: one seed is one story: a few flows, sleepers and deposits on a manual engine with a clock of the simulation.
 * The story is told twice, without trouble and with trouble, and must end the same. After each crash only what the
 * store holds goes on; what was acknowledged must be in it. A failing seed is printed and told again exactly by --seed.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

struct sim *sim;

static const struct store_migration sim_migrations[] = {
	{ "sim", 1,
	  "CREATE TABLE sim_request(id TEXT PRIMARY KEY); CREATE TABLE sim_deposit(id TEXT PRIMARY KEY, amount "
	  "INTEGER);"
	  "CREATE TABLE sim_result(id TEXT PRIMARY KEY, value INTEGER)" },
	{ 0 },
};

static int64_t sim_now(void *ctx)
{
	return ((struct sim *)ctx)->now_ms;
}

static uint64_t engine_draw(void *ctx)
{
	(void)ctx;
	return sim_random();
}

static bool crash_here(void *ctx, enum engine_crash at)
{
	(void)ctx;
	return sim_chance(at == ENGINE_BEFORE_EFFECT ? sim->trouble.crash_effect : sim->trouble.crash_commit);
}

static void die(const char *what, struct error *err)
{
	fprintf(stderr, "sim: %s: %s\n", what, error_text(err));
	exit(2);
}

static int create_accounts(struct turn *t, void *arg, struct error *err)
{
	(void)arg;
	for (int i = 0; i < sim->naccounts; i++) {
		char id[32];
		snprintf(id, sizeof(id), "account-%d", i);
		if (!turn_exists(t, id) && turn_spawn(t, "account", id, json_pack("{si}", "balance", 0), err) < 0)
			return -1;
	}
	return 0;
}

static void open_store(void)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct store_migration all[] = { engine_migrations[0], sim_migrations[0], { 0 } };
	if (store_open(sim->path, all, &sim->store, &err) < 0)
		die("open store", &err);
}

static void start_engine(void)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct engine_options opt = { .store = sim->store,
				      .now_ms = sim_now,
				      .random = engine_draw,
				      .ctx = sim,
				      .manual = true,
				      .max_turns = sim->trouble.max_turns,
				      .crash = crash_here };
	sim->life++;
	if (engine_new(&opt, &sim->engine, &err) < 0)
		die("engine", &err);
	const struct actor_type *types[] = { &sim_flow, &sim_job, &sim_account, &sim_sleeper };
	for (int i = 0; i < 4; i++)
		engine_add_actor(sim->engine, types[i]);
	engine_add_effect(sim->engine, &(struct effect_type){ "task", world_perform, NULL, true });
	engine_add_effect(sim->engine, &(struct effect_type){ "notify", world_perform, sim, false });
	if (engine_start(sim->engine, &err) < 0)
		die("start engine", &err);
}

static void crash(void)
{
	sim->crashes++;
	engine_free(sim->engine);
	clients_forget();
	if (sim_chance(sim->trouble.reopen)) {
		store_close(sim->store);
		open_store();
	}
	world_check();
	start_engine();
}

/* One look at the engine. Returns turns; a crash is followed by the next life and counts as one. */
static int step(void)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int n = engine_step(sim->engine, &err);
	if (n >= 0) {
		sim->turns += n;
		return n;
	}
	if (!error_is(&err, "crash"))
		sim_broken("engine_step: %s", error_text(&err));
	crash();
	return 1;
}

/* Some happening whose time has come, in any order. */
static bool happen(void)
{
	size_t n = sim->nhappenings, start = n ? sim_random() % n : 0;
	for (size_t i = 0; i < n; i++) {
		size_t k = (start + i) % n;
		if (sim->happenings[k].at_ms <= sim->now_ms) {
			world_happen(k);
			return true;
		}
	}
	return false;
}

static bool advance_clock(void)
{
	int64_t next = engine_next_timer_ms(sim->engine);
	for (size_t i = 0; i < sim->nhappenings; i++)
		if (sim->happenings[i].at_ms < next)
			next = sim->happenings[i].at_ms;
	if (next == INT64_MAX)
		return false;
	if (next > sim->now_ms)
		sim->now_ms = next;
	if (sim_chance(sim->trouble.oversleep))
		sim->now_ms += (int64_t)(sim_random() % 80); /* several timers are due at once */
	return true;
}

static void tell_story(void)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct trouble later = sim->trouble;
	sim->trouble = (struct trouble){ .max_turns = later.max_turns };
	open_store();
	start_engine();
	if (engine_call(sim->engine, create_accounts, NULL, &err) < 0)
		die("accounts", &err);
	sim->trouble = later;
	for (int i = 0; i < 200000 && !sim->failure[0]; i++) {
		int dice = (int)(sim_random() % 4);
		if (dice == 0 && clients_act())
			continue;
		if (dice == 1 && happen())
			continue;
		if (step() > 0 || happen() || clients_act() || advance_clock())
			continue;
		struct engine_stats st;
		engine_get_stats(sim->engine, &st);
		if (!st.effects_open && clients_content())
			return;
		if (!sim->lost) {
			sim_broken("stuck with %d effects open", (int)st.effects_open);
			return;
		}
		crash(); /* a report was lost: the effect comes again in the next life */
	}
	if (!sim->failure[0])
		sim_broken("did not come to an end");
}

static void add_rows(struct db *db, struct buf *out, const char *sql)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (db_query(db, &rows, &err, sql, "") < 0)
		die(sql, &err);
	while (rows_next(&rows, &err) > 0)
		buf_printf(out, "%s=%lld ", rows_str(&rows, 0).ptr, (long long)rows_int(&rows, 1));
}

/* Everything that must come out the same. */
static char *outcome(void)
{
	struct buf out = BUF_INIT;
	struct db *db = store_read_begin(sim->store, NULL);
	add_rows(db, &out, "SELECT id, value FROM sim_result ORDER BY id");
	add_rows(db, &out,
		 "SELECT id, json_extract(state, '$.balance') FROM engine_actor WHERE type='account' ORDER BY id");
	add_rows(db, &out, "SELECT id, amount FROM sim_deposit ORDER BY id");
	add_rows(db, &out, "SELECT 'actors left', COUNT(*) FROM engine_actor WHERE type<>'account'");
	add_rows(db, &out, "SELECT 'messages left', COUNT(*) FROM engine_inbox");
	add_rows(db, &out, "SELECT 'timers left', COUNT(*) FROM engine_timer");
	add_rows(db, &out, "SELECT 'effects left', COUNT(*) FROM engine_effect");
	store_read_end(sim->store, db);
	return buf_detach(&out);
}

static const char *scratch_path(void)
{
	static char dir[64];
	if (!*dir) {
		snprintf(dir, sizeof(dir), "%s/quern-sim-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		if (!mkdtemp(dir)) {
			perror("mkdtemp");
			exit(2);
		}
	}
	return dir;
}

static void remove_store(void)
{
	static const char *const suffixes[] = { "", "-wal", "-shm", ".lock" };
	for (int i = 0; i < 4; i++) {
		char file[160];
		snprintf(file, sizeof(file), "%s/db%s", scratch_path(), suffixes[i]);
		unlink(file);
	}
}

static struct trouble draw_trouble(uint64_t seed)
{
	struct sim dice = { .random = seed }, *old = sim;
	sim = &dice;
	struct trouble t = {
		.crash_commit = (int)(sim_random() % 100),
		.crash_effect = (int)(sim_random() % 50),
		.reopen = (int)(sim_random() % 300),
		.fail_turn = sim_random() % 2 ? (int)(sim_random() % 100) : 0,
		.repeat = (int)(sim_random() % 300),
		.lose = (int)(sim_random() % 200),
		.oversleep = (int)(sim_random() % 500),
		.delay_ms = 1 + (int64_t)(sim_random() % 300),
		.max_turns = sim_random() % 2 ? 1 + (int)(sim_random() % 16) : 0,
	};
	sim = old;
	return t;
}

/* Tells the story of `seed`; returns its outcome (malloc'ed), or NULL with the failure printed. */
static char *run(uint64_t seed, struct trouble trouble, struct sim *s)
{
	*s = (struct sim){ .seed = seed, .random = seed ^ 0x5eed, .trouble = trouble, .now_ms = 1000000 };
	sim = s;
	snprintf(s->path, sizeof(s->path), "%s/db", scratch_path());
	clients_init();
	tell_story();
	engine_free(s->engine);
	char *text = outcome();
	if (s->failure[0]) {
		printf("seed %llu: %s\n  %s\n", (unsigned long long)seed, s->failure, text);
		free(text);
		text = NULL;
	}
	store_close(s->store);
	remove_store();
	world_release();
	return text;
}

static bool run_seed(uint64_t seed, bool verbose, struct sim *sum)
{
	struct sim s;
	CLEANUP_FREE char *want = run(seed, (struct trouble){ 0 }, &s);
	CLEANUP_FREE char *got = run(seed, draw_trouble(seed), &s);
	if (verbose)
		printf("seed %llu: %d crashes, %d turns, %d performed: %s\n", (unsigned long long)seed, s.crashes,
		       s.turns, s.performs, got ? got : "failed");
	sum->crashes += s.crashes;
	sum->turns += s.turns;
	if (!want || !got)
		return false;
	if (!strcmp(want, got))
		return true;
	printf("seed %llu: another outcome than without trouble\n  want %s\n  got  %s\n", (unsigned long long)seed,
	       want, got);
	return false;
}

int main(int argc, char **argv)
{
	uint64_t seed = 1;
	int64_t runs = 100;
	bool verbose = false;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--seed") && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 10);
		else if (!strcmp(argv[i], "--runs") && i + 1 < argc)
			runs = atoll(argv[++i]);
		else if (!strcmp(argv[i], "--verbose"))
			verbose = true;
		else
			return fprintf(stderr, "usage: quern-sim [--seed N] [--runs N] [--verbose]\n"), 2;
	}
	log_set_level(LOG_ERROR);
	struct sim sum = { 0 };
	int failed = 0;
	int64_t began = clock_monotonic_us();
	for (int64_t i = 0; i < runs; i++)
		failed += !run_seed(seed + (uint64_t)i, verbose, &sum);
	rmdir(scratch_path());
	printf("%lld runs from seed %llu: %d failed, %d crashes, %d turns, %.1f s\n", (long long)runs,
	       (unsigned long long)seed, failed, sum.crashes, sum.turns, (double)(clock_monotonic_us() - began) / 1e6);
	return failed ? 1 : 0;
}
