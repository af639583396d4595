/* exec.c - quern exec: a command inside a container of a running task.
 *
 * DESIGN: the supervisor's state file says which process it is; we enter its mount namespace, where the OCI runtime
 * keeps the containers' state, and let the runtime start the command with the container's user, limits and filters. It
 * needs the executor's rights (root, unless rootless). */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/find.h"
#include "task/cgroup.h"
#include "task/terminal.h"

struct target {
	const char *task, *container; /* container NULL: the first */
	size_t index;
	int64_t uid, gid;
	int64_t supervisor;
	const char *runtime;
	bool crun, rootless;
	enum cgroup_mode cgroup;
};

static int read_target(struct config *c, const char *wanted, struct target *out)
{
	CLEANUP_JSON json_t *task = find_task_file(c, out->task, "task.json"),
			    *state = find_task_file(c, out->task, "state.json");
	const json_t *options = json_get(task, "options"), *containers = json_get(state, "containers"), *one;
	const char *runtime = json_get_text(options, "runtime"), *phase = json_get_text(state, "phase"),
		   *cgroup = json_get_text(options, "cgroup");
	size_t i;
	if (!task || !state)
		return fail("sudo quern exec …", "the state of task %s cannot be read", out->task);
	const char *task_name = strncmp(out->task, "ecs-", 4) == 0 ? out->task + 4 : out->task;
	if (!phase || !strcmp(phase, "stopped"))
		return fail(arena_printf(&c->arena, "quern debug %s", task_name), "task %s is %s", task_name,
			    phase ? phase : "unknown");
	out->supervisor = json_get_int(state, "pid", 0);
	out->runtime = runtime ? arena_strdup(&c->arena, str_from(runtime)) : NULL;
	out->crun = json_get_bool(options, "crun", false);
	out->rootless = json_get_bool(options, "rootless", false);
	out->cgroup = cgroup_mode_of(cgroup ? cgroup : "none");
	json_array_foreach (containers, i, one) {
		const char *name = json_get_text(one, "name");
		if (!name || (wanted && strcmp(name, wanted)))
			continue;
		if (!str_eqz(json_get_str(one, "phase"), "running"))
			return fail(NULL, "container %s is not running", name);
		out->container = arena_strdup(&c->arena, str_from(name));
		out->index = i;
		out->uid = json_get_int(one, "uid", 0);
		out->gid = json_get_int(one, "gid", 0);
		return 0;
	}
	return fail(NULL, "task %s has no container %s", out->task, wanted ? wanted : "");
}

static int enter(const char *kind, int64_t pid, int flag)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%lld/ns/%s", (long long)pid, kind);
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 || setns(fd, flag) < 0 ? -1 : 0;
}

static int run(struct config *c, const struct target *t, char **command)
{
	const char *group = arena_printf(&c->arena, "/quern/%s/%s", t->task, t->container);
	const char *priv =
		t->rootless ? config_path(c, arena_printf(&c->arena, "tasks/%s/exec/m", t->task)) : "/run/quern";
	const char *socket = arena_printf(&c->arena, "tty-%d", (int)getpid());
	CLEANUP_ERROR struct error err = ERROR_INIT;
	bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	size_t n = 0, k = 0;
	if (!t->runtime)
		return fail(NULL, "task %s does not say which OCI runtime it has", t->task);
	while (command[n])
		n++;
	char **argv = ARENA_ARRAY(&c->arena, char *, n + 20);
	argv[k++] = (char *)t->runtime;
	argv[k++] = "--root";
	argv[k++] = arena_printf(&c->arena, "%s/rt", priv);
	/* We enter the container's control groups ourselves where the supervisor made them. */
	bool v1 = t->cgroup == CGROUP_LEGACY || t->cgroup == CGROUP_HYBRID;
	if (t->crun && (v1 || t->cgroup == CGROUP_NONE))
		argv[k++] = "--cgroup-manager=disabled";
	if (t->crun && v1 && cgroup_enter(group) < 0)
		return fail(NULL, "enter the control groups of %s: %s", t->container, strerror(errno));
	argv[k++] = "exec";
	argv[k++] = "--user";
	argv[k++] = arena_printf(&c->arena, "%lld:%lld", (long long)t->uid, (long long)t->gid);
	if (tty)
		argv[k++] = "--tty";
	if (tty && t->crun) {
		argv[k++] = "--console-socket";
		argv[k++] = (char *)socket;
	}
	argv[k++] = arena_printf(&c->arena, "c%zu", t->index);
	for (size_t i = 0; i < n; i++)
		argv[k++] = command[i];
	if ((t->rootless && enter("user", t->supervisor, CLONE_NEWUSER) < 0) ||
	    enter("mnt", t->supervisor, CLONE_NEWNS) < 0)
		return fail("sudo quern exec …", "enter the namespace of task %s: %s", t->task, strerror(errno));
	if (chdir(priv) < 0)
		return fail(NULL, "change to %s: %s", priv, strerror(errno));
	if (tty && t->crun) {
		int rc = terminal_run(argv, socket, NULL, &err);
		return rc < 0 ? fail(NULL, "%s", error_text(&err)) : rc;
	}
	execv(argv[0], argv);
	return fail(NULL, "run %s: %s", argv[0], strerror(errno));
}

int cli_exec(struct config *c, int argc, char **argv)
{
	static char *const shell[] = { "/bin/sh", NULL };
	struct target t = { 0 };
	const char *container = NULL;
	int option;
	if (argc == 2 && !strcmp(argv[1], "--names")) /* for completion */
		return find_print_tasks(c, false), 0;
	optind = 1;
	opterr = 0; /* usage() says it */
	while ((option = getopt(argc, argv, "+c:")) != -1) {
		if (option != 'c')
			return usage("exec", argv[optind < argc && argv[optind][0] == '-' ? optind : optind - 1]);
		container = optarg;
	}
	if (optind >= argc)
		return usage("exec", NULL);
	const char *arg = argv[optind++];
	if (optind + 1 < argc && !strcmp(argv[optind], "-c")) {
		container = argv[optind + 1];
		optind += 2;
	}
	if (optind < argc && !strcmp(argv[optind], "--"))
		optind++;
	t.task = find_task(c, arg);
	if (!t.task && access(config_path(c, "tasks/.exec"), X_OK) < 0 && errno == EACCES)
		return fail("sudo quern exec …", "the directories of tasks cannot be read");
	if (!t.task)
		return fail("quern ps", "no task or job `%s` runs here", arg);
	int rc = read_target(c, container, &t);
	return rc ? rc : run(c, &t, optind < argc ? argv + optind : (char **)shell);
}
