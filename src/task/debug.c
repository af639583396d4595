/* debug.c - a shell in what a container of a failed task left.
 *
 * DESIGN: the supervisor's own steps once more on what exec_kept.c kept: the same image, the layer that the container
 * wrote on top of it, the same volumes, environment, user and directory. Only the command is another, there is no
 * network, no log, no limit and no GPU, and everything that is written goes to memory that ends with the shell. What
 * the container left is as hostile as the container was: a control group of the shell's own keeps the machine's devices
 * from it. Inputs that the daemon had staged are gone: their directories are empty. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "task/path.h"
#include "task/sup.h"
#include "task/task.h"
#include "task/terminal.h"

/* By name; without one the first that failed, else the first. */
static struct sup_container *choose(struct sup *s, const char *name, struct error *err)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	CLEANUP_JSON json_t *state = path_read(s->exec_fd, "state.json", 64 << 20, &text, NULL) == 0
					     ? json_parse(buf_str(&text), NULL)
					     : NULL;
	const json_t *results = json_get_path(state, "event.containers");
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		const json_t *r = json_array_get(results, i);
		if (name ? !strcmp(s->spec.containers[i].name, name)
			 : json_get_int(r, "exit_code", 0) > 0 || json_get_text(r, "error"))
			return &s->containers[i];
	}
	if (!name)
		return &s->containers[0];
	error_set(err, "the task has no container `%s`", name);
	return NULL;
}

static void change_spec(struct sup *s, struct sup_container *c, const char **command)
{
	static const char *none[] = { NULL };
	struct spec_container *spec = &s->spec.containers[c->index];
	s->kept = true;
	s->terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	s->spec.network = NETWORK_NONE;
	spec->entrypoint = command;
	spec->command = none;
	spec->init = spec->readonly_root = spec->terminal = false;
	spec->nsysctls = 0;
	spec->cpu_quota = 0;
	spec->cpu_shares = spec->pids = 0;
	spec->memory_bytes = spec->memory_reservation_bytes = spec->swap_bytes = 0;
	spec->swappiness = -1;
	c->group = arena_printf(&s->arena, "/quern/debug-%d/%s", (int)getpid(), spec->name);
}

static int make_place(struct sup *s, const struct sup_container *c, struct error *err)
{
	if (s->cgroup == CGROUP_HYBRID && cgroup_hide_second_tree(err) < 0)
		return -1;
	const char *upper = arena_printf(&s->arena, "%s/u", s->priv),
		   *empty = arena_printf(&s->arena, "%s/empty", s->priv);
	if (mkdir(c->dir, 0700) < 0 || mkdir(empty, 0755) < 0 || mkdir(upper, 0700) < 0 ||
	    mount("quern", upper, "tmpfs", 0, "mode=0700") < 0)
		return error_errno(err, errno, "make room for what is written");
	s->upper_in_memory = true;
	return 0;
}

/* We stay until it ends: our descriptors hold the layers against collection. */
static int run_and_wait(char *const *argv, struct error *err)
{
	int status = 0;
	pid_t parent = getpid(), pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() == parent)
			execv(argv[0], argv);
		_exit(127);
	}
	signal(SIGINT, SIG_IGN); /* the command's, which has it too */
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			pid = -1;
	if (pid < 0)
		return error_errno(err, errno, "run `%s`", argv[0]);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run(struct sup *s, struct sup_container *c, struct error *err)
{
	struct arena *a = &s->arena;
	char **argv = ARENA_ARRAY(a, char *, RUNTIME_ARGV + 9);
	size_t n = runtime_argv(c, argv);
	bool joined = s->crun && s->terminal;
	argv[n++] = "run";
	argv[n++] = "--bundle";
	argv[n++] = (char *)c->dir;
	if (joined) {
		argv[n++] = "--console-socket";
		argv[n++] = "tty";
		argv[n++] = "--pid-file";
		argv[n++] = "pid";
	}
	argv[n++] = arena_printf(a, "quern-debug-%d", (int)getpid());
	if (chdir(c->dir) < 0)
		return error_errno(err, errno, "change to `%s`", c->dir);
	int rc = joined ? terminal_run(argv, "tty", "pid", err) : run_and_wait(argv, err);
	cgroup_remove(s->cgroup, c->group);
	cgroup_remove(s->cgroup, arena_printf(a, "/quern/debug-%d", (int)getpid()));
	return rc;
}

int task_debug(const char *data_dir, const char *task_id, const char *container, const char **command,
	       struct error *err)
{
	struct sup s;
	sup_init(&s);
	const char *dir = arena_printf(&s.arena, "%s/tasks/%s", data_dir, task_id);
	if (sup_read(&s, dir, err) < 0)
		return -1;
	CLEANUP_FD int kept = openat(s.exec_fd, "kept", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (kept < 0 || flock(kept, LOCK_SH) < 0) /* exec_kept.c leaves it alone as long as we have this */
		return error_set(err, "nothing is kept of task `%s`", task_id);
	struct sup_container *c = choose(&s, container, err);
	if (!c)
		return -1;
	change_spec(&s, c, command);
	if (sup_open(&s, err) < 0 || make_place(&s, c, err) < 0 || sup_prepare_container(c, err) < 0 ||
	    oci_make_config(c, err) < 0)
		return -1;
	CLEANUP_FD int bundle = open(c->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (bundle < 0 || path_write_atomic(bundle, "config.json", c->config, 0600, false, err) < 0)
		return error_wrap(err, "write the configuration");
	return run(&s, c, err);
}
