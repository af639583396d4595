/* bench_engine.c - durable transitions per second and latency of a step, beside raw SQLite writing the same bytes.
 *
 *   bench-engine [--dir D | --store ADDRESS] [--seconds S] [--timers N]
 *                [--only chain|ring|bigring|many|outside|worker|timers]
 *
 * DESIGN: each case runs the real engine with its threads on a file in D (choose the disk that matters; default the
 * current directory), and right after it, in the same run, the least a program on SQLite would have to do for the same
 * durability: the same texts into the same kind of table, the same number of rows in a commit. With --store both are in
 * a PostgreSQL database, empty at the start and at the end (raw_postgres.c). The ratio says what the engine costs;
 * absolute numbers depend on the disk. CPU is of the whole process, clients included. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/engine.h"
#ifdef QUERN_BENCH_POSTGRES
#include "raw_postgres.h"
#endif

enum { STATE_BYTES = 440, MANY = 10000, CHAIN = 200, WAITS_MAX = 200000 };

static char dir[256] = ".";
static const char *address; /* of a database, or NULL */
static double seconds = 2;

static const struct store_migration bench_migrations[] = {
	{ "bench", 1,
	  "CREATE TABLE bench_history(num INTEGER PRIMARY KEY, actor TEXT, event TEXT);"
	  "CREATE TABLE bench_raw(num INTEGER PRIMARY KEY, state TEXT)" },
	{ 0 },
};

struct world {
	struct store *store;
	struct engine *engine;
	atomic_llong transitions;
	atomic_bool stop;
	/* the case `wait` */
	int64_t asked_us;
	int64_t *latency;
	atomic_int nlatency;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool pending;
	int64_t pending_seq;
};
static struct world w;

static void die(const char *what, struct error *err)
{
	fprintf(stderr, "bench: %s: %s\n", what, error_text(err));
	exit(1);
}

/* ---- actors ---- */

static json_t *body(void)
{
	static char text[STATE_BYTES + 1];
	if (!*text)
		memset(text, 'x', STATE_BYTES - 40);
	return json_string(text);
}

/* Counts and passes on to the next of the ring. */
static int ring_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	(void)err;
	int64_t hops = json_get_int(event, "hops", 0);
	json_set_int(state, "n", json_get_int(state, "n", 0) + 1);
	atomic_fetch_add_explicit(&w.transitions, 1, memory_order_relaxed);
	if (hops > 0)
		turn_send(t, json_get_text(state, "next"), json_pack("{ss, sI}", "type", "hop", "hops", hops - 1));
	return 0;
}
static const struct actor_type ring = { "ring", ring_turn };

/* One turn of CHAIN transitions, each with its row of history: what a chain of Pass and Choice states is. */
static int chain_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	if (strcmp(json_get_text(event, "type"), "go"))
		return 0;
	struct str text = json_text(turn_arena(t), state);
	for (int i = 0; i < CHAIN; i++) {
		json_set_int(state, "n", json_get_int(state, "n", 0) + 1);
		if (db_write(turn_db(t), err, "INSERT INTO bench_history(actor, event) VALUES(?, ?)", "sS",
			     turn_self(t), text) < 0)
			return -1;
	}
	atomic_fetch_add_explicit(&w.transitions, CHAIN, memory_order_relaxed);
	return 0;
}
static const struct actor_type chain = { "chain", chain_turn };

/* Waits for one event from outside, over and over. */
static int wait_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	(void)err;
	if (!strcmp(json_get_text(event, "type"), "start"))
		return 0;
	int64_t n = json_get_int(state, "n", 0) + 1;
	json_set_int(state, "n", n);
	atomic_fetch_add_explicit(&w.transitions, 1, memory_order_relaxed);
	turn_effect(t, json_get_text(state, "effect"), arena_printf(turn_arena(t), "%d", (int)n),
		    json_pack("{sI}", "n", n));
	return 0;
}
static const struct actor_type waiter = { "waiter", wait_turn };

static int sleep_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	(void)state, (void)event, (void)err;
	turn_timer(t, "wake", turn_now_ms(t) + 3600 * 1000 + (int64_t)(turn_random(t) % 1000000),
		   json_pack("{ss}", "type", "wake"));
	return 0;
}
static const struct actor_type sleeper = { "sleeper", sleep_turn };

/* The step's event comes from another thread, as from a task's supervisor. */
static void hand_to_outside(void *ctx, struct engine *e, const struct effect *fx)
{
	(void)ctx, (void)e;
	int64_t now = clock_monotonic_us();
	int i = w.nlatency;
	if (w.asked_us && i < WAITS_MAX) {
		w.latency[i] = now - w.asked_us;
		w.nlatency++;
	}
	pthread_mutex_lock(&w.lock);
	w.asked_us = now;
	w.pending_seq = fx->seq;
	w.pending = true;
	pthread_cond_signal(&w.cond);
	pthread_mutex_unlock(&w.lock);
}

static void *outside_main(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&w.lock);
	while (!w.stop) {
		if (!w.pending) {
			pthread_cond_wait(&w.cond, &w.lock);
			continue;
		}
		w.pending = false;
		int64_t seq = w.pending_seq;
		pthread_mutex_unlock(&w.lock);
		engine_effect_done(w.engine, seq, json_pack("{ss}", "type", "done"));
		pthread_mutex_lock(&w.lock);
	}
	pthread_mutex_unlock(&w.lock);
	return NULL;
}

/* The step's work is a call on one of the engine's own workers. */
static void work_here(void *ctx, struct engine *e, const struct effect *fx)
{
	(void)ctx;
	int64_t now = clock_monotonic_us();
	int i = w.nlatency;
	if (w.asked_us && i < WAITS_MAX) {
		w.latency[i] = now - w.asked_us;
		w.nlatency++;
	}
	w.asked_us = now;
	engine_effect_done(e, fx->seq, json_pack("{ss}", "type", "done"));
}

/* ---- life ---- */

static void path_of(char *out, size_t n, const char *suffix)
{
	snprintf(out, n, "%s/bench-engine.db%s", dir, suffix);
}

static void start(void)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	char path[300];
	path_of(path, sizeof(path), "");
	struct store_migration all[] = { engine_migrations[0], bench_migrations[0], { 0 } };
	if (store_open(address ? address : path, all, &w.store, &err) < 0)
		die("open store", &err);
	if (engine_new(&(struct engine_options){ .store = w.store }, &w.engine, &err) < 0)
		die("engine", &err);
	const struct actor_type *types[] = { &ring, &chain, &waiter, &sleeper };
	for (int i = 0; i < 4; i++)
		engine_add_actor(w.engine, types[i]);
	engine_add_effect(w.engine, &(struct effect_type){ "outside", hand_to_outside, NULL, false });
	engine_add_effect(w.engine, &(struct effect_type){ "worker", work_here, NULL, true });
	if (engine_start(w.engine, &err) < 0)
		die("start engine", &err);
}

static void drop_tables(void)
{
	static const char *const tables[] = { "engine_meta",  "engine_type",   "engine_actor",
					      "engine_timer", "engine_effect", "engine_inbox",
					      "bench_raw",    "bench_history", "store_migration" };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
		char sql[64];
		snprintf(sql, sizeof(sql), "DROP TABLE %s", tables[i]);
		if (db_exec(store_writer(w.store), &err, sql, "") < 0)
			die("drop tables", &err);
	}
}

static void stop(bool remove)
{
	engine_free(w.engine);
	if (remove && address)
		drop_tables();
	store_close(w.store);
	static const char *const suffixes[] = { "", "-wal", "-shm", ".lock" };
	for (int i = 0; remove && i < 4; i++) {
		char path[300];
		path_of(path, sizeof(path), suffixes[i]);
		unlink(path);
	}
}

struct birth {
	const char *type, *effect;
	int from, to, of;
};

static int run_birth(struct turn *t, void *arg, struct error *err)
{
	struct birth *b = arg;
	for (int i = b->from; i < b->to; i++) {
		char id[32], next[32];
		snprintf(id, sizeof(id), "%s-%d", b->type, i);
		snprintf(next, sizeof(next), "%s-%d", b->type, (i + 1) % b->of);
		json_t *state =
			json_pack("{ss, si, ss, so}", "next", next, "n", 0, "effect", b->effect, "body", body());
		if (turn_spawn(t, b->type, id, state, err) < 0)
			return -1;
	}
	return 0;
}

static void bear(const char *type, const char *effect, int n)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	for (int i = 0; i < n; i += 500) {
		struct birth b = { type, effect, i, i + 500 < n ? i + 500 : n, n };
		if (engine_call(w.engine, run_birth, &b, &err) < 0)
			die("spawn", &err);
	}
	struct engine_stats st;
	do {
		usleep(1000);
		engine_get_stats(w.engine, &st);
	} while (st.messages_waiting);
}

struct measure {
	int64_t wall_us, cpu_us, commits, did;
};

static int64_t cpu_us(void)
{
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000LL + r.ru_utime.tv_usec + r.ru_stime.tv_usec;
}

static void begin(struct measure *m)
{
	struct engine_stats st;
	engine_get_stats(w.engine, &st);
	*m = (struct measure){ clock_monotonic_us(), cpu_us(), st.commits, w.transitions };
}

static void end(struct measure *m)
{
	struct engine_stats st;
	engine_get_stats(w.engine, &st);
	m->did = w.transitions - m->did;
	m->commits = st.commits - m->commits;
	m->wall_us = clock_monotonic_us() - m->wall_us;
	m->cpu_us = cpu_us() - m->cpu_us;
}

/* ---- raw ---- */

/* One commit by the shortest program on the same database. */
static int raw_commit(struct raw_postgres *peer, bool append, int64_t rows, const char *text, uint64_t *x,
		      struct error *err)
{
#ifdef QUERN_BENCH_POSTGRES
	if (peer) {
		raw_postgres_commit(peer, append, rows, text, x, MANY);
		return 0;
	}
#endif
	struct db *db = store_writer(w.store);
	int rc = db_begin(db, err);
	for (int64_t i = 0; rc >= 0 && i < rows; i++) {
		*x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
		rc = append ? db_exec(db, err, "INSERT INTO bench_history(actor, event) VALUES(?, ?)", "ss", "chain-1",
				      text)
			    : db_exec(db, err, "UPDATE bench_raw SET state=? WHERE num=?", "si", text,
				      (int64_t)(*x % MANY));
	}
	return rc < 0 ? -1 : db_commit(db, err);
}

/* What stands for `did` transitions in `commits`: as many commits with `rows` rows each, which are updated in random
 * order or appended, by the shortest program. */
static struct measure raw(bool append, int64_t rows, int64_t per_commit)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *state =
		json_pack("{ss, si, ss, so}", "next", "ring-1234", "n", 123456, "effect", "-", "body", body());
	CLEANUP_FREE char *text = json_text_dup(state);
	struct db *db = store_writer(w.store);
	int rc = db_begin(db, &err);
	for (int64_t i = 0; rc >= 0 && !append && i < MANY; i++)
		rc = db_exec(db, &err, "INSERT INTO bench_raw(num, state) VALUES(?, ?)", "is", i, text);
	if (rc < 0 || db_commit(db, &err) < 0)
		die("raw", &err);
	struct raw_postgres *peer = NULL;
#ifdef QUERN_BENCH_POSTGRES
	peer = address ? raw_postgres_open(address) : NULL;
#endif
	struct measure m = { clock_monotonic_us(), cpu_us(), 0, 0 };
	int64_t t0 = m.wall_us;
	uint64_t x = 88172645463325252u;
	while (clock_monotonic_us() - t0 < (int64_t)(seconds * 5e5)) {
		text[26] = (char)('0' + m.commits % 10); /* SQLite does not write what does not change */
		if (raw_commit(peer, append, rows, text, &x, &err) < 0)
			die("raw", &err);
		m.commits++;
		m.did += per_commit;
	}
	m.wall_us = clock_monotonic_us() - m.wall_us;
	m.cpu_us = cpu_us() - m.cpu_us;
#ifdef QUERN_BENCH_POSTGRES
	if (peer)
		raw_postgres_close(peer);
#endif
	return m;
}

static const char *raw_name(void)
{
	return address ? "raw libpq" : "raw SQLite";
}

/* A line of the table at the end of `make bench` (bench/budgets.py). */
static void note(const char *what, const char *sign, double goal, double measured, const char *unit, const char *beside)
{
	const char *path = getenv("QUERN_BENCH_TABLE");
	FILE *f = path ? fopen(path, "ae") : NULL;
	if (!f)
		return;
	fprintf(f, "%s\t%s\t%g\t%g\t%s\t%s\n", what, sign, goal, measured, unit, beside);
	fclose(f);
}

static void print(const char *name, struct measure m, struct measure r)
{
	double rate = (double)m.did * 1e6 / (double)m.wall_us, raw_rate = (double)r.did * 1e6 / (double)r.wall_us;
	printf("%-34s %9.0f/s  %6.1f in a commit  %5.2f us cpu   %s %9.0f/s %5.2f us cpu   ratio %.2f\n", name, rate,
	       (double)m.did / (double)(m.commits ? m.commits : 1), (double)m.cpu_us / (double)m.did, raw_name(),
	       raw_rate, (double)r.cpu_us / (double)r.did, rate / raw_rate);
}

/* ---- cases ---- */

static void let_run(void)
{
	usleep((useconds_t)(seconds * 1e6));
}

/* A message goes round a ring of actors: hundreds of turns in a commit, two actors or many. */
static void case_ring(const char *name, int actors)
{
	struct measure m;
	start();
	bear("ring", "-", actors);
	engine_post(w.engine, "ring-0", json_pack("{ss, sI}", "type", "hop", "hops", (json_int_t)1 << 40), NULL, NULL);
	begin(&m);
	let_run();
	end(&m);
	engine_stop(w.engine);
	/* each actor is written once in a commit */
	int64_t per_commit = m.did / (m.commits ? m.commits : 1);
	print(name, m, raw(false, per_commit < actors ? per_commit : actors, per_commit));
	stop(true);
}

static atomic_llong posts_out;
static void post_done(void *arg, int rc, struct error *err)
{
	(void)arg, (void)rc, (void)err;
	posts_out--;
}

/* Events from outside for 10,000 actors in random order: a turn and a write for each. */
static void case_many(void)
{
	struct measure m;
	start();
	bear("ring", "-", MANY);
	begin(&m);
	uint64_t x = 88172645463325252u;
	while (clock_monotonic_us() - m.wall_us < (int64_t)(seconds * 1e6)) {
		if (posts_out > 2000) {
			usleep(100);
			continue;
		}
		for (int i = 0; i < 100; i++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			char id[32];
			snprintf(id, sizeof(id), "ring-%d", (int)(x % MANY));
			posts_out++;
			engine_post(w.engine, id, json_pack("{ss, si}", "type", "hop", "hops", 0), post_done, NULL);
		}
	}
	end(&m);
	engine_stop(w.engine);
	print("events for 10,000 actors", m,
	      raw(false, m.did / (m.commits ? m.commits : 1), m.did / (m.commits ? m.commits : 1)));
	stop(true);
}

static void case_chain(void)
{
	struct measure m;
	start();
	bear("chain", "-", 16);
	begin(&m);
	for (int i = 0; clock_monotonic_us() - m.wall_us < (int64_t)(seconds * 1e6); i++) {
		char id[32];
		snprintf(id, sizeof(id), "chain-%d", i % 16);
		while (posts_out > 8)
			usleep(50);
		posts_out++;
		engine_post(w.engine, id, json_pack("{ss}", "type", "go"), post_done, NULL);
	}
	end(&m);
	engine_stop(w.engine);
	struct measure r = raw(true, m.did / (m.commits ? m.commits : 1), m.did / (m.commits ? m.commits : 1));
	print("chains of 200, with history rows", m, r);
	double rate = (double)m.did * 1e6 / (double)m.wall_us, raw_rate = (double)r.did * 1e6 / (double)r.wall_us;
	char beside[80];
	snprintf(beside, sizeof(beside), "%s %.0f/s, ratio %.2f", raw_name(), raw_rate, rate / raw_rate);
	note("durable state transitions in chains", ">=", 50000, rate, "/s", beside);
	stop(true);
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

/* One actor, one step at a time: asked for (commit), answered (commit). */
static void case_wait(const char *name, const char *effect, bool outside)
{
	struct measure m;
	pthread_t thread;
	start();
	w.latency = mem_calloc(WAITS_MAX, sizeof(*w.latency));
	w.nlatency = 0;
	w.asked_us = 0;
	w.stop = w.pending = false;
	if (outside)
		pthread_create(&thread, NULL, outside_main, NULL);
	bear("waiter", effect, 1);
	begin(&m);
	engine_post(w.engine, "waiter-0", json_pack("{ss}", "type", "go"), NULL, NULL);
	let_run();
	end(&m);
	if (outside) {
		pthread_mutex_lock(&w.lock);
		w.stop = true;
		pthread_cond_signal(&w.cond);
		pthread_mutex_unlock(&w.lock);
		pthread_join(thread, NULL);
	}
	engine_stop(w.engine);
	int n = w.nlatency;
	struct measure r = raw(true, 1, 1);
	qsort(w.latency, (size_t)n, sizeof(*w.latency), by_value);
	printf("%-34s p50 %5.0f us  p99 %5.0f us  mean %5.0f us  %5.1f us cpu   %s commit %4.0f us (%.1f us "
	       "cpu)   %.2f commits' "
	       "time\n",
	       name, (double)w.latency[n / 2], (double)w.latency[n * 99 / 100], (double)m.wall_us / (double)m.did,
	       (double)m.cpu_us / (double)m.did, raw_name(), (double)r.wall_us / (double)r.did,
	       (double)r.cpu_us / (double)r.did, (double)w.latency[n / 2] * (double)r.did / (double)r.wall_us);
	if (outside) {
		char beside[80];
		snprintf(beside, sizeof(beside), "one raw commit %.2f ms", (double)r.wall_us / (double)r.did / 1000);
		note("one waiting step", "<=", 0.5, (double)w.latency[n / 2] / 1000, "ms", beside);
	}
	free(w.latency);
	stop(true);
}

static int64_t rss_kib(void)
{
	long pages = 0, rss = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (f && fscanf(f, "%ld %ld", &pages, &rss) != 2)
		rss = 0;
	if (f)
		fclose(f);
	return rss * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Executions that sleep for an hour. */
static void case_timers(int n)
{
	start();
	int64_t before = rss_kib(), t0 = clock_monotonic_us();
	bear("sleeper", "-", n);
	int64_t t1 = clock_monotonic_us(), after = rss_kib();
	usleep(5500000); /* the engine gives memory back when nothing happens for 5 s */
	int64_t idle = rss_kib();
	stop(false);
	int64_t t2 = clock_monotonic_us();
	start();
	int64_t t3 = clock_monotonic_us();
	printf("%-34s %9.0f/s started, %lld KiB more memory, %lld KiB when idle, opened again in %.0f ms\n",
	       "sleeping actors with a timer", n * 1e6 / (double)(t1 - t0), (long long)(after - before),
	       (long long)(idle - before), (double)(t3 - t2) / 1000);
	stop(true);
}

static bool wanted(const char *only, const char *name)
{
	return !only || !strcmp(only, name);
}

int main(int argc, char **argv)
{
	int timers = 50000;
	const char *only = NULL;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--dir"))
			snprintf(dir, sizeof(dir), "%s", argv[i + 1]);
		else if (!strcmp(argv[i], "--store"))
			address = argv[i + 1];
		else if (!strcmp(argv[i], "--seconds"))
			seconds = atof(argv[i + 1]);
		else if (!strcmp(argv[i], "--only"))
			only = argv[i + 1];
		else if (!strcmp(argv[i], "--timers"))
			timers = atoi(argv[i + 1]);
	}
	log_set_level(LOG_ERROR);
	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.cond, NULL);
	if (wanted(only, "chain"))
		case_chain();
	if (wanted(only, "ring"))
		case_ring("messages round 2 actors", 2);
	if (wanted(only, "bigring"))
		case_ring("messages round 10,000 actors", MANY);
	if (wanted(only, "many"))
		case_many();
	if (wanted(only, "outside"))
		case_wait("a step that waits for outside", "outside", true);
	if (wanted(only, "worker"))
		case_wait("a step on a worker thread", "worker", false);
	if (wanted(only, "timers"))
		case_timers(timers);
	return 0;
}
