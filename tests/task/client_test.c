/* client_test.c - the daemon's side: a real engine and store, a real executor, real containers.
 *
 * DESIGN: the actor "test.job" starts its task by effect and notes what it is told. The executor and the engine are
 * killed and started again around it. Needs QUERN_TASK (the program of tests/task) and a runtime; without them it says
 * so. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "task/machine.h"
#include "task/path.h"
#include "task/task.h"

static const char images[] =
	"{\"version\":1,\"layout\":{},\"images\":[{\"name\":\"t\",\"repositories\":[\"t\"],\"tags\":\"*\"}]}";

static char data[64], path[128];
static struct store *store;
static struct engine *engine;
static struct task_client *client;
static pid_t executor;

/* ---- what the actor was told ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int queued, started, stopped;
static json_t *last; /* the last "stopped" */

static int job_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	const char *type = json_get_text(event, "type");
	if (!strcmp(type, "start")) {
		json_t *payload = json_object();
		json_set_text(payload, "owner", turn_self(t));
		json_object_set_new(payload, "spec", json_deep_copy(json_get(state, "spec")));
		turn_effect(t, "task.start", turn_self(t), payload);
		return 0;
	}
	if (strcmp(type, "task"))
		return 0;
	const char *what = json_get_text(json_get(event, "event"), "type");
	pthread_mutex_lock(&lock);
	queued += !strcmp(what, "queued");
	started += !strcmp(what, "started");
	if (!strcmp(what, "stopped")) {
		stopped++;
		json_decref(last);
		last = json_deep_copy(json_get(event, "event"));
	}
	pthread_mutex_unlock(&lock);
	return 0;
}

static const struct actor_type job_type = { "test.job", job_turn };

static int count(const int *what)
{
	pthread_mutex_lock(&lock);
	int n = *what;
	pthread_mutex_unlock(&lock);
	return n;
}

static void wait_count(const int *what, int n)
{
	for (int i = 0; i < 3000; i++) {
		if (count(what) >= n)
			return;
		usleep(10000);
	}
	fail_msg("waited 30 s for an event");
}

/* ---- the processes ---- */

static void start_executor(void)
{
	char socket_path[128], image_dir[128];
	snprintf(socket_path, sizeof(socket_path), "%s/exec.sock", data);
	snprintf(image_dir, sizeof(image_dir), "%s/images", data);
	executor = fork();
	if (executor == 0) {
		int null = open("/dev/null", O_WRONLY);
		dup2(null, 2);
		execl(getenv("QUERN_TASK"), "quern-task", "executor", "--socket", socket_path, "--data", data,
		      "--images", image_dir, NULL);
		_exit(127);
	}
}

static void kill_executor(int sig)
{
	if (executor > 0) {
		kill(executor, sig);
		waitpid(executor, NULL, 0);
	}
	executor = 0;
}

static int no_prepare_calls;

static int prepare(void *ctx, struct engine *e, json_t *spec, struct error *err)
{
	no_prepare_calls++;
	json_set_text(json_array_get(json_get(spec, "containers"), 0), "workdir",
		      "/tmp"); /* as staging would change it */
	return 0;
}

static void start_daemon(void)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct engine_options o = { 0 };
	snprintf(path, sizeof(path), "%s/quern.db", data);
	assert_int_equal(store_open(path, engine_migrations, &store, &err), 0);
	o.store = store;
	assert_int_equal(engine_new(&o, &engine, &err), 0);
	engine_add_actor(engine, &job_type);
	snprintf(path, sizeof(path), "%s/exec.sock", data);
	assert_int_equal(task_client_new(path, engine, &client, &err), 0);
	task_add_effects(engine, client, prepare, NULL);
	assert_int_equal(engine_start(engine, &err), 0);
}

static void stop_daemon(void)
{
	engine_stop(engine);
	task_client_free(client);
	engine_free(engine);
	store_close(store);
}

static int setup(void **state)
{
	CLEANUP_FD int dir = -1;
	strcpy(data, "/tmp/quern-client-XXXXXX");
	if (!mkdtemp(data))
		return -1;
	chmod(data, 0755);
	dir = open(data, O_RDONLY | O_DIRECTORY);
	if (mkdirat(dir, "images", 0755) < 0)
		return -1;
	CLEANUP_FD int image_dir = openat(dir, "images", O_RDONLY | O_DIRECTORY);
	queued = started = stopped = no_prepare_calls = 0;
	return path_write_atomic(image_dir, "images.json", str_from(images), 0644, false, NULL);
}

static int teardown(void **state)
{
	CLEANUP_FD int tmp = open("/tmp", O_RDONLY | O_DIRECTORY);
	kill_executor(SIGTERM);
	json_decref(last);
	last = NULL;
	for (int i = 0; i < 100 && path_remove_tree(tmp, data + 5, NULL) < 0; i++)
		usleep(50000);
	return 0;
}

struct spawn {
	const char *actor;
	json_t *state;
};

static int spawn_job(struct turn *t, void *arg, struct error *err)
{
	struct spawn *s = arg;
	return turn_spawn(t, "test.job", s->actor, s->state, err);
}

/* A job whose task has the same name. */
static void run(const char *id, const char *command, double cpus)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	char log[192];
	snprintf(log, sizeof(log), "%s/logs/%s", data, id);
	json_t *spec = json_pack("{s:s,s:s,s:{s:f},s:[{s:s,s:s,s:s,s:[s,s,s]}]}", "id", id, "network", "none",
				 "resources", "cpus", cpus, "containers", "name", "main", "image", "t:1", "log", log,
				 "command", "/bin/sh", "-c", command);
	struct spawn s = { id, json_pack("{s:o}", "spec", spec) };
	assert_int_equal(engine_call(engine, spawn_job, &s, &err), 0);
}

/* Waits until the task has written something. */
static void wait_log(const char *id)
{
	struct stat st;
	snprintf(path, sizeof(path), "%s/logs/%s", data, id);
	for (int i = 0; i < 3000; i++) {
		if (stat(path, &st) == 0 && st.st_size > 0)
			return;
		usleep(10000);
	}
	fail_msg("no output of %s within 30 s", id);
}

static int64_t exit_code(void)
{
	pthread_mutex_lock(&lock);
	int64_t code = json_get_int(json_array_get(json_get(last, "containers"), 0), "exit_code", -1);
	pthread_mutex_unlock(&lock);
	return code;
}

static void assert_forgotten(const char *id)
{
	snprintf(path, sizeof(path), "%s/tasks/%s/exec", data, id);
	for (int i = 0; i < 500 && access(path, F_OK) == 0; i++)
		usleep(10000);
	assert_int_not_equal(access(path, F_OK), 0);
	snprintf(path, sizeof(path), "%s/tasks/.exec/forgotten/%s", data, id);
	assert_int_equal(access(path, F_OK), 0);
}

/* ---- tests ---- */

static void runs_and_forgets(void **state)
{
	start_executor();
	start_daemon();
	run("job-1", "test $PWD = /tmp && exit 42", 0.5);
	wait_count(&stopped, 1);
	assert_int_equal(exit_code(), 42);
	assert_int_equal(count(&started), 1);
	assert_int_equal(no_prepare_calls, 1);
	assert_forgotten("job-1");
	stop_daemon();
}

static void waits_for_a_late_executor(void **state)
{
	start_daemon();
	run("job-1", "exit 3", 0.5);
	usleep(700000);
	assert_int_equal(count(&stopped), 0);
	start_executor();
	wait_count(&stopped, 1);
	assert_int_equal(exit_code(), 3);
	stop_daemon();
}

static void executor_killed_in_between(void **state)
{
	start_executor();
	start_daemon();
	run("job-1", "sleep 1.5; exit 4", 0.5);
	wait_count(&started, 1);
	kill_executor(SIGKILL);
	usleep(300000);
	start_executor();
	wait_count(&stopped, 1);
	assert_int_equal(exit_code(), 4);
	assert_int_equal(count(&stopped), 1);
	assert_forgotten("job-1");
	stop_daemon();
}

static void daemon_gone_in_between(void **state)
{
	start_executor();
	start_daemon();
	run("job-1", "sleep 0.7; exit 5", 0.5);
	wait_count(&started, 1);
	stop_daemon();
	usleep(1200000); /* the task ends while nobody listens */
	assert_int_equal(count(&stopped), 0);
	start_daemon();
	wait_count(&stopped, 1);
	assert_int_equal(exit_code(), 5);
	assert_forgotten("job-1");
	stop_daemon();
}

/* Stopped while the start effect waits for an executor: nothing was sent; the next daemon performs it. */
static void daemon_stops_while_a_start_waits(void **state)
{
	start_daemon();
	run("job-1", "exit 6", 0.5);
	usleep(300000);
	stop_daemon(); /* comes back: there is no executor to wait for */
	start_executor();
	start_daemon();
	wait_count(&stopped, 1);
	assert_int_equal(exit_code(), 6);
	stop_daemon();
}

static void refused_spec_is_a_failed_start(void **state)
{
	start_executor();
	start_daemon();
	run("NOT AN ID", "true", 0.5);
	wait_count(&stopped, 1);
	assert_string_equal(json_get_text(last, "reason"), "start-failed");
	assert_non_null(strstr(json_get_text(last, "error"), "id must match"));
	stop_daemon();
}

static void list_machine_stop_queue(void **state)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	start_executor();
	start_daemon();
	CLEANUP_JSON json_t *machine = NULL;
	for (int i = 0; i < 15 && !machine; i++) /* two seconds each: the executor makes its skeleton first */
		machine = task_machine(client, NULL);
	assert_true(json_get_real(machine, "cpus", 0) >= 1);
	assert_true(task_cpus(client) == json_get_real(machine, "cpus", 0));
	run("job-1", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done", 1e4);
	wait_count(&started, 1);
	run("job-2", "exit 8", 0.5);
	wait_count(&queued, 1);
	CLEANUP_JSON json_t *list = task_list(client, &err);
	assert_int_equal(json_array_size(list), 2);
	wait_log("job-1");
	assert_int_equal(task_stop(client, "unknown", "x", &err), 0);
	assert_int_equal(task_stop(client, "job-1", "x", &err), 0);
	wait_count(&stopped, 2);
	assert_int_equal(exit_code(), 8); /* it started when the other had gone */
	stop_daemon();
}

static void no_executor_is_an_error_not_a_hang(void **state)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	start_daemon();
	assert_null(task_machine(client, &err));
	assert_true(error_is(&err, "Unavailable"));
	stop_daemon();
}

int main(void)
{
	struct arena a = ARENA_INIT;
	struct machine m;
	machine_detect(&a, NULL, &m);
	bool can = getenv("QUERN_TASK") && m.runtime;
	arena_release(&a);
	if (!can) {
		printf("skipped: needs QUERN_TASK and crun or runc\n");
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(runs_and_forgets, setup, teardown),
		cmocka_unit_test_setup_teardown(waits_for_a_late_executor, setup, teardown),
		cmocka_unit_test_setup_teardown(executor_killed_in_between, setup, teardown),
		cmocka_unit_test_setup_teardown(daemon_gone_in_between, setup, teardown),
		cmocka_unit_test_setup_teardown(daemon_stops_while_a_start_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(refused_spec_is_a_failed_start, setup, teardown),
		cmocka_unit_test_setup_teardown(list_machine_stop_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(no_executor_is_an_error_not_a_hang, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
