/* crash.c - the real thing: an engine with its threads on a file, killed at random moments by SIGKILL.
 *
 *   quern-crash [--kills N] [--seed N]
 *
 * DESIGN: the parent starts a child that opens the store, goes on with what it finds and takes new orders from client
 * threads. Each order that was acknowledged is reported over a pipe. The parent kills the child and starts the next
 * one. The last child only finishes what is there. Then every acknowledged order must be in the store and finished,
 * each counted once, and each mark it made outside (a file, made once per effect id) must be there exactly once, made
 * for one and the same effect. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "engine/engine.h"

enum { CLIENTS = 3, MARKS = 3, BROKEN = 42 };

static char dir[64];
static int ack_fd;

static const struct store_migration crash_migrations[] = {
	{ "crash", 1, "CREATE TABLE crash_order(id TEXT PRIMARY KEY); CREATE TABLE crash_tally(id TEXT PRIMARY KEY)" },
	{ 0 },
};

static void broken(const char *what, const char *id)
{
	fprintf(stderr, "crash: %s: %s\n", what, id);
	_exit(BROKEN);
}

/* ---- actors ---- */

static int order_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	(void)err;
	const char *type = json_get_text(event, "type");
	int64_t marks = json_get_int(state, "marks", 0);
	if (!strcmp(type, "marked")) {
		if (json_get_int(event, "mark", -1) != marks)
			broken("a mark was reported out of turn", turn_self(t));
		json_set_int(state, "marks", ++marks);
	}
	if (!strcmp(type, "rested")) {
		turn_end(t);
	} else if (marks < MARKS) {
		turn_effect(t, "mark", arena_printf(turn_arena(t), "%s.%d", turn_self(t), (int)marks),
			    json_pack("{sI}", "mark", marks));
	} else {
		turn_send(t, "book", json_pack("{ss, ss}", "type", "tally", "order", turn_self(t)));
		turn_timer(t, "rest", turn_now_ms(t) + 5, json_pack("{ss}", "type", "rested"));
	}
	return 0;
}
static const struct actor_type order_type = { "order", order_turn };

static int book_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	const char *id = json_get_text(event, "order");
	if (!id)
		return 0;
	if (db_exec(turn_db(t), err, "INSERT INTO crash_tally(id) VALUES(?)", "s", id) < 0)
		broken("counted twice", id);
	json_set_int(state, "count", json_get_int(state, "count", 0) + 1);
	return 0;
}
static const struct actor_type book_type = { "book", book_turn };

/* Makes a file once; the number of the effect is its content. */
static void perform_mark(void *ctx, struct engine *e, const struct effect *fx)
{
	(void)ctx;
	char path[200], text[32] = "", mine[32];
	snprintf(path, sizeof(path), "%s/marks/%s", dir, fx->id);
	snprintf(mine, sizeof(mine), "%lld", (long long)fx->seq);
	CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		broken("mark", path);
	if (*text && strcmp(text, mine))
		broken("an effect was asked for twice", fx->id);
	if (!*text && pwrite(fd, mine, strlen(mine), 0) < 0)
		broken("write mark", path);
	engine_effect_done(e, fx->seq,
			   json_pack("{ss, sI}", "type", "marked", "mark", json_get_int(fx->payload, "mark", 0)));
}

/* ---- child ---- */

static int run_order(struct turn *t, void *arg, struct error *err)
{
	const char *id = arg;
	if (!strcmp(id, "book"))
		return turn_exists(t, id) ? 0 : turn_spawn(t, "book", id, json_object(), err);
	if (db_exec(turn_db(t), err, "INSERT INTO crash_order(id) VALUES(?)", "s", id) < 0)
		return -1;
	return turn_spawn(t, "order", id, json_object(), err);
}

struct client {
	struct engine *e;
	int life, number;
};

static void *client_main(void *arg)
{
	struct client *c = arg;
	for (int i = 0;; i++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		char id[40];
		snprintf(id, sizeof(id), "order-%d-%d-%d\n", c->life, c->number, i);
		size_t n = strlen(id);
		id[n - 1] = 0;
		if (engine_call(c->e, run_order, id, &err) < 0)
			broken(error_text(&err), id);
		id[n - 1] = '\n';
		if (write(ack_fd, id, n) != (ssize_t)n)
			_exit(1);
	}
	return NULL;
}

static void open_all(struct store **store)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct store_migration all[] = { engine_migrations[0], crash_migrations[0], { 0 } };
	char path[100];
	snprintf(path, sizeof(path), "%s/db", dir);
	if (store_open(path, all, store, &err) < 0)
		broken("open", error_text(&err));
}

static void wait_until_idle(struct engine *e)
{
	for (int quiet = 0; quiet < 5;) {
		struct engine_stats st;
		engine_get_stats(e, &st);
		quiet = st.effects_open || st.timers || st.messages_waiting ? 0 : quiet + 1;
		usleep(10000);
	}
}

static _Noreturn void child(int life, bool last)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct store *store;
	struct engine *e;
	open_all(&store);
	if (engine_new(&(struct engine_options){ .store = store }, &e, &err) < 0)
		broken("engine", error_text(&err));
	engine_add_actor(e, &order_type);
	engine_add_actor(e, &book_type);
	engine_add_effect(e, &(struct effect_type){ "mark", perform_mark, NULL, true });
	if (engine_start(e, &err) < 0 || engine_call(e, run_order, "book", &err) < 0)
		broken("start", error_text(&err));
	if (last) {
		wait_until_idle(e);
		engine_free(e);
		store_close(store);
		_exit(0);
	}
	static struct client clients[CLIENTS];
	for (int i = 0; i < CLIENTS; i++) {
		pthread_t thread;
		clients[i] = (struct client){ e, life, i };
		pthread_create(&thread, NULL, client_main, &clients[i]);
	}
	for (;;)
		pause();
}

/* ---- parent ---- */

static struct map acked;

static void read_acks(int fd)
{
	static char line[64];
	static size_t have;
	char bytes[4096];
	ssize_t n;
	while ((n = read(fd, bytes, sizeof(bytes))) > 0 || (n < 0 && errno == EINTR))
		for (ssize_t i = 0; i < n; i++) {
			if (bytes[i] == '\n') {
				map_set(&acked, str_of(line, have), &acked);
				have = 0;
			} else if (have < sizeof(line)) {
				line[have++] = bytes[i];
			}
		}
}

/* Runs one child; kill_after_us 0 = lets it finish. */
static void live(int life, int64_t kill_after_us)
{
	int fds[2], status;
	if (pipe(fds) < 0)
		broken("pipe", strerror(errno));
	pid_t pid = fork();
	if (pid < 0)
		broken("fork", strerror(errno));
	if (pid == 0) {
		close(fds[0]);
		ack_fd = fds[1];
		child(life, !kill_after_us);
	}
	close(fds[1]);
	int64_t end = clock_monotonic_us() + kill_after_us;
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	while (kill_after_us && clock_monotonic_us() < end) {
		read_acks(fds[0]);
		usleep(500);
	}
	if (kill_after_us)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	fcntl(fds[0], F_SETFL, 0);
	read_acks(fds[0]);
	close(fds[0]);
	if (WIFEXITED(status) && (WEXITSTATUS(status) || kill_after_us))
		broken("a child ended by itself", WEXITSTATUS(status) == BROKEN ? "broken promise" : "fault");
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		broken("a child crashed", strsignal(WTERMSIG(status)));
}

static int64_t ask(struct db *db, const char *sql)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (db_row(db, &rows, &err, sql, "") <= 0)
		broken(sql, error_text(&err));
	return rows_int(&rows, 0);
}

static void must_equal(const char *what, int64_t a, int64_t b)
{
	if (a == b)
		return;
	char text[80];
	snprintf(text, sizeof(text), "%lld instead of %lld", (long long)a, (long long)b);
	broken(what, text);
}

static int64_t check(void)
{
	struct store *store;
	open_all(&store);
	struct db *db = store_read_begin(store, NULL);
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_row(db, &rows, NULL, "PRAGMA integrity_check", "") <= 0 || !str_eqz(rows_str(&rows, 0), "ok"))
		broken("integrity", "the file is damaged");
	rows_done(&rows);
	for (size_t i = 0; i < acked.count; i++) {
		int rc = db_row(db, &rows, NULL,
				"SELECT 1 FROM crash_order o JOIN crash_tally t ON t.id=o.id WHERE o.id=?", "S",
				acked.entries[i].key);
		if (rc <= 0)
			broken("acknowledged and lost", acked.entries[i].key.ptr);
		rows_done(&rows);
	}
	int64_t orders = ask(db, "SELECT COUNT(*) FROM crash_order");
	must_equal("tallied", ask(db, "SELECT COUNT(*) FROM crash_tally"), orders);
	must_equal("the book's count",
		   ask(db, "SELECT json_extract(state, '$.count') FROM engine_actor WHERE id='book'"), orders);
	must_equal("actors left", ask(db, "SELECT COUNT(*) FROM engine_actor"), 1);
	must_equal("rows left",
		   ask(db, "SELECT (SELECT COUNT(*) FROM engine_effect)+(SELECT COUNT(*) FROM engine_inbox)+(SELECT "
			   "COUNT(*) FROM engine_timer)"),
		   0);
	char cmd[160];
	snprintf(cmd, sizeof(cmd), "test $(find %s/marks -type f -size +0 | wc -l) = %lld", dir,
		 (long long)orders * MARKS);
	if (system(cmd) != 0)
		broken("marks", "not one file for each");
	store_read_end(store, db);
	store_close(store);
	return orders;
}

int main(int argc, char **argv)
{
	int kills = 20;
	unsigned seed = (unsigned)clock_monotonic_us();
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--kills"))
			kills = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--seed"))
			seed = (unsigned)atoi(argv[i + 1]);
	}
	log_set_level(LOG_ERROR);
	const char *tmp = getenv("TMPDIR");
	snprintf(dir, sizeof(dir), "%.40s/quern-crash-XXXXXX", tmp ? tmp : "/tmp");
	char path[100];
	if (!mkdtemp(dir))
		broken("mkdtemp", strerror(errno));
	snprintf(path, sizeof(path), "%s/marks", dir);
	mkdir(path, 0700);
	srand(seed);
	for (int i = 0; i < kills; i++)
		live(i, 2000 + rand() % 150000);
	live(kills, 0);
	int64_t orders = check();
	printf("%d kills, seed %u: %zu orders acknowledged, %lld taken, all finished once\n", kills, seed, acked.count,
	       (long long)orders);
	snprintf(path, sizeof(path), "rm -rf %s", dir);
	map_release(&acked);
	return system(path) != 0 || !orders;
}
