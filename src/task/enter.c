/* enter.c - see enter.h. */
#include "task/enter.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "task/frame.h"
#include "task/path.h"
#include "task/terminal.h"

static json_t *read_file(const char *data_dir, const char *task, const char *name)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/tasks/%s/exec/%s", data_dir, task, name);
	return path_read(AT_FDCWD, path, 2 * FRAME_MAX_BYTES, &text, NULL) < 0 ? NULL
									       : json_parse(buf_str(&text), NULL);
}

static const char *copy(struct arena *a, const char *text)
{
	return text ? arena_strdup(a, str_from(text)) : NULL;
}

static int find_container(struct arena *a, const json_t *containers, const char *wanted, struct enter *out,
			  struct error *err)
{
	const json_t *one;
	size_t i;
	json_array_foreach (containers, i, one) {
		const char *name = json_get_text(one, "name");
		if (!name || (wanted && strcmp(name, wanted)))
			continue;
		if (!str_eqz(json_get_str(one, "phase"), "running"))
			return error_set(err, "container %s is not running", name);
		out->container = copy(a, name);
		out->index = i;
		out->uid = json_get_int(one, "uid", 0);
		out->gid = json_get_int(one, "gid", 0);
		return 0;
	}
	return error_set(err, "task %s has no container %s", out->task, wanted ? wanted : "");
}

int enter_find(struct arena *a, const char *data_dir, const char *task, const char *container, struct enter *out,
	       struct error *err)
{
	CLEANUP_JSON json_t *file = read_file(data_dir, task, "task.json"),
			    *state = read_file(data_dir, task, "state.json");
	const json_t *options = json_get(file, "options");
	const char *phase = json_get_text(state, "phase"), *cgroup = json_get_text(options, "cgroup");
	const char *shown = strncmp(task, "ecs-", 4) == 0 ? task + 4 : task;
	*out = (struct enter){ .task = copy(a, task) };
	if (!file || !state)
		return error_aws(err, "Unreadable", "the state of task %s cannot be read", task);
	if (!phase || !strcmp(phase, "stopped"))
		return error_aws(err, "NotRunning", "task %s is %s", shown, phase ? phase : "unknown");
	out->supervisor = json_get_int(state, "pid", 0);
	out->runtime = copy(a, json_get_text(options, "runtime"));
	out->crun = json_get_bool(options, "crun", false);
	out->rootless = json_get_bool(options, "rootless", false);
	out->cgroup = cgroup_mode_of(cgroup ? cgroup : "none");
	out->priv = out->rootless ? arena_printf(a, "%s/tasks/%s/exec/m", data_dir, task) : "/run/quern";
	if (!out->runtime)
		return error_set(err, "task %s does not say which OCI runtime it has", task);
	return find_container(a, json_get(state, "containers"), container, out, err);
}

static int join_namespace(const char *kind, int64_t pid, int flag)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%lld/ns/%s", (long long)pid, kind);
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 || setns(fd, flag) < 0 ? -1 : 0;
}

/* socket NULL: no terminal, or the runtime joins it to ours by itself. */
static char **make_argv(struct arena *a, const struct enter *t, char *const *command, bool tty, const char *socket,
			const char *pid_file)
{
	size_t n = 0, env = 0, k = 0;
	while (command[n])
		n++;
	while (t->env && t->env[env])
		env++;
	char **argv = ARENA_ARRAY(a, char *, n + 2 * env + 20);
	argv[k++] = (char *)t->runtime;
	argv[k++] = "--root";
	argv[k++] = arena_printf(a, "%s/rt", t->priv);
	/* We enter the container's control groups ourselves where the supervisor made them. */
	if (t->crun && t->cgroup != CGROUP_UNIFIED)
		argv[k++] = "--cgroup-manager=disabled";
	argv[k++] = "exec";
	argv[k++] = "--user";
	argv[k++] = arena_printf(a, "%lld:%lld", (long long)t->uid, (long long)t->gid);
	for (size_t i = 0; i < env; i++) {
		argv[k++] = "--env";
		argv[k++] = (char *)t->env[i];
	}
	if (tty)
		argv[k++] = "--tty";
	if (socket) {
		argv[k++] = "--console-socket";
		argv[k++] = (char *)socket;
		argv[k++] = "--pid-file";
		argv[k++] = (char *)pid_file;
	}
	argv[k++] = arena_printf(a, "c%zu", t->index);
	for (size_t i = 0; i < n; i++)
		argv[k++] = command[i];
	return argv;
}

int enter_run(struct arena *a, const struct enter *t, char *const *command, struct error *err)
{
	bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	bool v1 = t->cgroup == CGROUP_LEGACY || t->cgroup == CGROUP_HYBRID;
	const char *socket = tty && t->crun ? arena_printf(a, "tty-%d", (int)getpid()) : NULL;
	const char *pid_file = arena_printf(a, "pid-%d", (int)getpid());
	char **argv = make_argv(a, t, command, tty, socket, pid_file);
	if (t->crun && v1 && cgroup_enter(arena_printf(a, "/quern/%s/%s", t->task, t->container)) < 0)
		return error_errno(err, errno, "enter the control groups of %s", t->container);
	if ((t->rootless && join_namespace("user", t->supervisor, CLONE_NEWUSER) < 0) ||
	    join_namespace("mnt", t->supervisor, CLONE_NEWNS) < 0)
		return error_aws(err, "Denied", "enter the namespace of task %s: %s", t->task, strerror(errno));
	if (chdir(t->priv) < 0)
		return error_errno(err, errno, "change to %s", t->priv);
	if (socket)
		return terminal_run(argv, socket, pid_file, err);
	execv(argv[0], argv);
	return error_errno(err, errno, "run %s", argv[0]);
}
