/* up.c - starting and stopping: up, down, serve, executor, task.
 *
 * DESIGN: `up` makes the data directory, then forks the executor (keeps its privileges) and the daemon (drops to the
 * daemon's user when root started it), each in a session of its own with its output in run/<role>.log, and waits for
 * the daemon's word that the port answers. Both are found again through pid files. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/find.h"
#include "cli/serve.h"
#include "task/task.h"

enum { READY_WAIT_MS = 20000, STOP_WAIT_MS = 15000 };

static int make_dir(const char *path, mode_t mode, int uid, int gid, struct error *err)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make directory `%s`", path);
	if (uid >= 0 && chown(path, (uid_t)uid, (gid_t)gid) < 0)
		return error_errno(err, errno, "give directory `%s` to user %d", path, uid);
	return 0;
}

/* The data directory and its parents; the parents keep their owner. */
static int make_data_dir(struct config *c, struct error *err)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s", c->data_dir);
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return error_errno(err, errno, "make directory `%s`", path);
		*p = '/';
	}
	if (c->uid < 0 && mkdir(c->data_dir, 0700) < 0 && access(c->data_dir, W_OK | X_OK) < 0 && errno == EACCES)
		return config_refuse_dir(c, err);
	if (make_dir(c->data_dir, 0700, c->uid, c->gid, err) < 0)
		return -1;
	return make_dir(config_path(c, "run"), 0755, c->uid, c->gid, err);
}

/* A program in root's own directories is out of reach of the daemon's user: what the daemon starts (quern-jsonata) it
 * finds through a directory that was opened before. */
static void keep_libexec(struct config *c, int dir)
{
	if (access(c->libexec, X_OK) < 0 && dir >= 0)
		c->libexec = arena_printf(&c->arena, "/proc/self/fd/%d", dir);
	else if (dir >= 0)
		close(dir);
}

static int drop_privileges(struct config *c, struct error *err)
{
	if (c->uid < 0)
		return 0;
	int libexec = open(c->libexec, O_PATH | O_DIRECTORY); /* its children need it too */
	if (setgroups(0, NULL) < 0 || setresgid((gid_t)c->gid, (gid_t)c->gid, (gid_t)c->gid) < 0 ||
	    setresuid((uid_t)c->uid, (uid_t)c->uid, (uid_t)c->uid) < 0)
		return error_errno(err, errno, "become user %d", c->uid);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	keep_libexec(c, libexec);
	if (access(c->data_dir, W_OK | X_OK) < 0)
		return error_errno(
			err, errno,
			"use `%s` as user %d (a parent directory is closed to others; choose another with --data)",
			c->data_dir, c->uid);
	return 0;
}

static int run_executor(struct config *c)
{
	const struct executor_options options = {
		.socket_path = config_path(c, "run/executor.sock"),
		.data_dir = c->data_dir,
		.images_dir = arena_printf(&c->arena, "%s/images", c->libexec),
		.daemon_uid = c->uid,
		.daemon_gid = c->gid,
		.runtime = c->runtime,
		.cdi_dirs = c->cdi_dirs,
		.api_port = c->port,
	};
	return executor_main(&options);
}

static int write_pid(const char *path, pid_t pid, struct error *err)
{
	FILE *f = fopen(path, "we");
	if (!f || fprintf(f, "%d\n", (int)pid) < 0 || fclose(f) != 0)
		return error_errno(err, errno, "write `%s`", path);
	return 0;
}

/* In the child: own session, no terminal, output to the log. */
static void detach(const char *log_path)
{
	setsid();
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC),
	    log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	if (log >= 0) {
		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
	}
	if (chdir("/") < 0)
		_exit(1);
}

static int start_executor(struct config *c, struct error *err)
{
	if (config_pid(c, "run/executor.pid"))
		return 0;
	const char *log = config_path(c, "run/executor.log"), *pid_file = config_path(c, "run/executor.pid");
	pid_t pid = fork();
	if (pid < 0)
		return error_errno(err, errno, "start the executor");
	if (pid == 0) {
		detach(log);
		_exit(run_executor(c));
	}
	return write_pid(pid_file, pid, err);
}

/* Waits for the daemon's word. */
static int wait_ready(int fd, struct error *err)
{
	char text[1024];
	size_t n = 0;
	int64_t end = clock_monotonic_us() + (int64_t)READY_WAIT_MS * 1000;
	for (;;) {
		struct pollfd p = { fd, POLLIN, 0 };
		int64_t left = (end - clock_monotonic_us()) / 1000;
		if (left <= 0)
			return error_set(err, "the daemon did not answer within %d s", READY_WAIT_MS / 1000);
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		ssize_t got = read(fd, text + n, sizeof(text) - 1 - n);
		if (got > 0)
			n += (size_t)got;
		if (got <= 0 || n == sizeof(text) - 1 || text[0] == '\n')
			break;
	}
	text[n] = 0;
	if (n == 1 && text[0] == '\n')
		return 0;
	return error_set(err, "%s", n ? text : "the daemon ended at once");
}

static int start_daemon(struct config *c, struct error *err)
{
	int pipefd[2];
	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return error_errno(err, errno, "make a pipe");
	const char *log = config_path(c, "run/serve.log");
	pid_t pid = fork();
	if (pid < 0)
		return error_errno(err, errno, "start the daemon");
	if (pid == 0) {
		CLEANUP_ERROR struct error child = ERROR_INIT;
		close(pipefd[0]);
		detach(log);
		if (drop_privileges(c, &child) < 0) {
			dprintf(pipefd[1], "%s", error_text(&child));
			_exit(1);
		}
		_exit(serve_main(c, pipefd[1]));
	}
	close(pipefd[1]);
	int rc = wait_ready(pipefd[0], err);
	close(pipefd[0]);
	int64_t end = clock_monotonic_us() + (int64_t)STOP_WAIT_MS * 1000;
	while (rc < 0 && waitpid(pid, NULL, WNOHANG) == 0 && clock_monotonic_us() < end)
		usleep(5000); /* it has told why, and closes its files: the next try must find them free */
	return rc;
}

/* Options of `up`; those of a running Quern cannot be changed. */
struct up_options {
	bool foreground, port, bind, other;
};

static int parse_up(struct config *c, int argc, char **argv, struct up_options *given)
{
	for (int i = 1; i < argc; i++) {
		int64_t port;
		if (strcmp(argv[i], "--foreground") == 0) {
			given->foreground = true;
		} else if (strcmp(argv[i], "--port") == 0 && i + 1 < argc) {
			if (!str_to_i64(str_from(argv[++i]), &port) || port < 1 || port > 65535)
				return fail(NULL, "--port %s: a port is a number from 1 to 65535", argv[i]) + 1;
			c->port = (uint16_t)port;
			given->port = true;
		} else if (strcmp(argv[i], "--wait-scale") == 0 && i + 1 < argc) {
			if (!str_to_double(str_from(argv[++i]), &c->wait_scale) || c->wait_scale <= 0)
				return fail(NULL, "--wait-scale %s: a positive number is expected", argv[i]) + 1;
			given->other = true;
		} else if (strcmp(argv[i], "--execution-days") == 0 && i + 1 < argc) {
			if (!str_to_double(str_from(argv[++i]), &c->execution_days) || c->execution_days <= 0 ||
			    c->execution_days > 36500)
				return fail(NULL, "--execution-days %s: days up to 36500 are expected", argv[i]) + 1;
			given->other = true;
		} else if (strcmp(argv[i], "--store") == 0 && i + 1 < argc) {
			c->store = arena_strdup(&c->arena, str_from(argv[++i]));
			memset(argv[i], '*',
			       strlen(argv[i])); /* ps shows the daemon's; there may be a password in it */
			given->other = true;
		} else if (strcmp(argv[i], "--iam") == 0 && i + 1 < argc) {
			c->ignore_policies = strcmp(argv[++i], "ignore") == 0;
			if (!c->ignore_policies && strcmp(argv[i], "enforce") != 0)
				return fail(NULL, "--iam %s: enforce or ignore is expected", argv[i]) + 1;
			given->other = true;
		} else if (strcmp(argv[i], "--bind") == 0 && i + 1 < argc) {
			c->bind = argv[++i];
			given->bind = true;
		} else {
			return usage("up", argv[i]);
		}
	}
	return 0;
}

/* Ended, though its parent (the machine's first process) may not have taken notice yet. */
static bool is_gone(int pid)
{
	char path[64], text[256] = { 0 };
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return true;
	size_t n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	const char *name_end = n ? strrchr(text, ')') : NULL;
	return !name_end || name_end[2] == 'Z' || name_end[2] == 'X';
}

/* SIGTERM, wait, and SIGKILL when it does not end. True when it is gone. */
static bool stop_process(int pid)
{
	int64_t end = clock_monotonic_us() + (int64_t)STOP_WAIT_MS * 1000;
	kill(pid, SIGTERM);
	while (clock_monotonic_us() < end) {
		if (is_gone(pid))
			return true;
		usleep(5000);
	}
	kill(pid, SIGKILL);
	return false;
}

/* The command that helps when the daemon did not start. */
static const char *next_of_failure(struct config *c, const struct error *err)
{
	const char *text = error_text(err);
	if (strstr(text, strerror(EADDRINUSE)))
		return arena_printf(&c->arena, "quern up --port %u (ss -ltnp says which program has port %u)",
				    c->port < 65535 ? c->port + 1u : 4566, c->port);
	if (strstr(text, strerror(ENOSPC)) || strstr(text, "disk is full"))
		return arena_printf(&c->arena, "df -h %s", c->data_dir);
	if (strstr(text, "--data"))
		return "quern --data DIRECTORY up";
	return arena_printf(&c->arena, "less %s", config_path(c, "run/serve.log"));
}

/* Already up: what was asked for must be what runs. */
static int stay_up(struct config *c, const struct up_options *given)
{
	const char *endpoint = config_endpoint(c), *colon = strrchr(endpoint, ':');
	int64_t port = 0;
	if (colon)
		str_to_i64(str_from(colon + 1), &port);
	if ((given->port && port != c->port) ||
	    (given->bind && strcmp(c->bind, "0.0.0.0") != 0 && !strstr(endpoint, c->bind)) || given->other ||
	    given->foreground)
		return fail("quern down, then quern up with these options",
			    "Quern is up already at %s, and its options cannot be changed while it runs", endpoint);
	fprintf(stderr, "Quern is up already at %s.\n", endpoint);
	return 0;
}

/* Starts what is down (executor, daemon) and waits until the port answers. */
static int start_all(struct config *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (make_data_dir(c, &err) < 0)
		return fail("quern --data DIRECTORY up", "%s", error_text(&err));
	int before = config_pid(c, "run/executor.pid"), executor;
	if (start_executor(c, &err) < 0)
		return fail("quern doctor", "%s", error_text(&err));
	if (config_pid(c, "run/serve.pid") || start_daemon(c, &err) == 0)
		return 0;
	if (!before && (executor = config_pid(c, "run/executor.pid"))) { /* nothing of a failed start stays */
		stop_process(executor);
		unlink(config_path(c, "run/executor.pid"));
	}
	return fail(next_of_failure(c, &err), "%s", error_text(&err));
}

int cli_up(struct config *c, int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct up_options given = { 0 };
	int rc = parse_up(c, argc, argv, &given);
	if (rc != 0)
		return rc;
	bool up = config_pid(c, "run/serve.pid") && config_pid(c, "run/executor.pid");
	if (given.foreground && !up) {
		if (make_data_dir(c, &err) < 0 || start_executor(c, &err) < 0 || drop_privileges(c, &err) < 0)
			return fail("quern doctor", "%s", error_text(&err));
		return serve_main(c, -1);
	}
	rc = up ? stay_up(c, &given) : start_all(c);
	if (rc != 0)
		return rc;
	printf("endpoint     %s\ncredentials  %s\nenvironment  eval \"$(quern env)\"\n", config_endpoint(c),
	       config_path(c, "credentials"));
	return 0;
}

int cli_down(struct config *c, int argc, char **argv)
{
	if (argc > 1)
		return usage("down", argv[1]);
	int serve = config_pid(c, "run/serve.pid"), executor = config_pid(c, "run/executor.pid");
	if (access(c->data_dir, X_OK) < 0 && errno == EACCES) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		config_refuse_dir(c, &err);
		return fail(NULL, "%s", error_text(&err));
	}
	if (!serve && !executor) {
		fputs("Quern is not running.\n", stderr);
		return 0;
	}
	if (serve && !stop_process(serve))
		fail(NULL, "the daemon (pid %d) did not stop in time and was killed; nothing acknowledged is lost",
		     serve);
	if (executor)
		stop_process(executor);
	unlink(config_path(c, "run/serve.pid"));
	unlink(config_path(c, "run/executor.pid"));
	unlink(config_path(c, "run/endpoint"));
	size_t tasks = find_count_running(c);
	if (tasks)
		fprintf(stderr, "Quern is stopped; %zu running task%s on, to be found again by the next quern up.\n",
			tasks, tasks == 1 ? " goes" : "s go");
	else
		fputs("Quern is stopped.\n", stderr);
	return 0;
}

int cli_serve(struct config *c, int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct up_options given = { 0 };
	int rc = parse_up(c, argc, argv, &given);
	if (rc != 0)
		return rc;
	if (make_data_dir(c, &err) < 0 || drop_privileges(c, &err) < 0)
		return fail(NULL, "%s", error_text(&err));
	return serve_main(c, -1);
}

int cli_executor(struct config *c, int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct up_options given = { 0 };
	int rc = parse_up(c, argc, argv, &given);
	if (rc != 0)
		return rc;
	if (make_data_dir(c, &err) < 0 || write_pid(config_path(c, "run/executor.pid"), getpid(), &err) < 0)
		return fail(NULL, "%s", error_text(&err));
	return run_executor(c);
}

int cli_task(struct config *c, int argc, char **argv)
{
	return argc == 2 ? supervisor_main(argv[1]) : usage("task", NULL);
}
