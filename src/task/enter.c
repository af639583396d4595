/* enter.c - see enter.h. */
#include "task/enter.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/json.h"
#include "task/frame.h"
#include "task/path.h"
#include "task/terminal.h"

static json_t *read_file(struct arena *a, const char *data_dir, const char *task, const char *name)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	const char *path = arena_printf(a, "%s/tasks/%s/exec/%s", data_dir, task, name);
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
	CLEANUP_JSON json_t *file = read_file(a, data_dir, task, "task.json"),
			    *state = read_file(a, data_dir, task, "state.json");
	const json_t *options = json_get(file, "options");
	const char *phase = json_get_text(state, "phase"), *cgroup = json_get_text(options, "cgroup");
	const char *shown = strncmp(task, "ecs-", 4) == 0 ? task + 4 : task;
	*out = (struct enter){ .task = copy(a, task) };
	if (!file && access(arena_printf(a, "%s/tasks/%s", data_dir, task), F_OK) < 0 && errno == ENOENT)
		return error_aws(err, "NotRunning", "task %s is stopped", shown);
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

/* Adds "NAME=value" unless there is that name. */
static void add_env(json_t *env, const char *entry)
{
	size_t i, name = strcspn(entry, "=") + 1;
	json_t *one;
	json_array_foreach (env, i, one)
		if (!strncmp(json_string_value(one), entry, name))
			return;
	json_array_append_new(env, json_string(entry));
}

/* The command as the OCI runtime takes it: the container's own process with other arguments (it has its environment,
 * limits and filters). */
static int change_process(json_t *process, const struct enter *t, char *const *command, bool tty, struct error *err)
{
	json_t *args = json_array(), *caps = json_get(process, "capabilities");
	if (!process)
		return json_decref(args), error_set(err, "container %s has no configuration", t->container);
	for (size_t i = 0; command[i]; i++)
		json_array_append_new(args, json_string(command[i]));
	json_object_set_new(process, "args", args);
	json_set_bool(process, "terminal", tty);
	json_object_set_new(process, "user",
			    json_pack("{s:I, s:I}", "uid", (json_int_t)t->uid, "gid", (json_int_t)t->gid));
	for (size_t i = 0; t->uid == 0 && caps && i < 2; i++)
		json_object_set(caps, i ? "permitted" : "effective", json_get(caps, "bounding"));
	for (size_t i = 0; t->env && t->env[i]; i++)
		add_env(json_get(process, "env"), t->env[i]);
	return 0;
}

/* A file in memory with that, which the runtime inherits; we are in the supervisor's private directory. */
static int write_process(const struct enter *t, char *const *command, bool tty, struct error *err)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	char path[64];
	snprintf(path, sizeof(path), "c%zu/config.json", t->index);
	if (path_read(AT_FDCWD, path, 2 * FRAME_MAX_BYTES, &text, err) < 0)
		return -1;
	CLEANUP_JSON json_t *config = json_parse(buf_str(&text), err);
	if (!config || change_process(json_get(config, "process"), t, command, tty, err) < 0)
		return -1;
	CLEANUP_FREE char *process = json_text_dup(json_get(config, "process"));
	CLEANUP_FD int fd = memfd_create("process", 0);
	if (fd < 0 || fd_write_all(fd, process, strlen(process)) < 0)
		return error_errno(err, errno, "write the command down");
	return fd_take(&fd);
}

/* socket NULL: no terminal, or the runtime joins it to ours by itself. */
static char **make_argv(struct arena *a, const struct enter *t, int process, const char *socket, const char *pid_file)
{
	char **argv = ARENA_ARRAY(a, char *, 16);
	size_t k = 0;
	argv[k++] = (char *)t->runtime;
	argv[k++] = "--root";
	argv[k++] = arena_printf(a, "%s/rt", t->priv);
	/* We enter the container's control groups ourselves where the supervisor made them. */
	if (t->crun && t->cgroup != CGROUP_UNIFIED)
		argv[k++] = "--cgroup-manager=disabled";
	argv[k++] = "exec";
	argv[k++] = "--process";
	argv[k++] = arena_printf(a, "/proc/self/fd/%d", process);
	if (socket) {
		argv[k++] = "--console-socket";
		argv[k++] = (char *)socket;
		argv[k++] = "--pid-file";
		argv[k++] = (char *)pid_file;
	}
	argv[k++] = arena_printf(a, "c%zu", t->index);
	return argv;
}

int enter_run(struct arena *a, const struct enter *t, char *const *command, struct error *err)
{
	bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	bool v1 = t->cgroup == CGROUP_LEGACY || t->cgroup == CGROUP_HYBRID;
	const char *socket = tty && t->crun ? arena_printf(a, "tty-%d", (int)getpid()) : NULL;
	const char *pid_file = arena_printf(a, "pid-%d", (int)getpid());
	if (t->crun && v1 && cgroup_enter(arena_printf(a, "/quern/%s/%s", t->task, t->container)) < 0)
		return error_errno(err, errno, "enter the control groups of %s", t->container);
	if ((t->rootless && join_namespace("user", t->supervisor, CLONE_NEWUSER) < 0) ||
	    join_namespace("mnt", t->supervisor, CLONE_NEWNS) < 0)
		return error_aws(err, "Denied", "enter the namespace of task %s: %s", t->task, strerror(errno));
	if (chdir(t->priv) < 0)
		return error_errno(err, errno, "change to %s", t->priv);
	int process = write_process(t, command, tty, err);
	if (process < 0)
		return -1;
	char **argv = make_argv(a, t, process, socket, pid_file);
	if (socket)
		return terminal_run(argv, socket, pid_file, err);
	execv(argv[0], argv);
	return error_errno(err, errno, "run %s", argv[0]);
}
