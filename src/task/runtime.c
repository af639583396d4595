/* runtime.c - calling the OCI runtime.
 *
 * DESIGN: one `run --detach` a container: the runtime makes it, starts it and goes; we are its subreaper, so the
 * container's first process becomes our child and its end is told by wait(2). `delete` is not called: the runtime's
 * state lies on our private tmpfs, and the cgroups are read and removed by us.
 *
 * To load and link a runtime takes as long as to make mounts and networks, so it happens meanwhile: its config.json is
 * a link to its descriptor 3, a pipe of ours, where it waits until we write the text. Just before, the plain file takes
 * the link's place, for a runtime that comes late or reads twice. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "task/forward.h"
#include "task/frame.h"
#include "task/path.h"
#include "task/sup.h"
#include "task/terminal.h"

#define OWN_MEMORY_MIN (32 << 20) /* the runtime itself must fit beside the container's first pages */
#define EXIT_CGROUP 125
#define CONFIG_ROOM (256 << 10) /* what the pipe holds: writing a configuration never waits */

/* All strings are made before the fork: there may be a second thread. */
struct launch {
	int in, out, err, go; /* in, out -1: /dev/null; err -1: as out */
	char **argv;
};

static _Noreturn void child(struct sup_container *c, const struct launch *l)
{
	char *const env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL };
	sigset_t none;
	char byte;
	sigemptyset(&none);
	int null = open("/dev/null", O_RDWR), out = l->out < 0 ? null : l->out, in = l->in < 0 ? null : l->in;
	int err = l->err < 0 ? out : l->err;
	if (null < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(126);
	/* Only our own pipe and the runtime (4, see supervisor.c) stay open: an end of another container's pipe that we
	 * held would keep that one waiting for ever. */
	if (dup3(l->go, 3, c->reads_go ? 0 : O_CLOEXEC) < 0)
		_exit(126);
	close_range(5, ~0u, 0);
	if (c->own_cgroups && cgroup_enter(c->group) < 0)
		_exit(EXIT_CGROUP);
	if ((!c->reads_go && read(3, &byte, 1) != 1) || chdir(c->dir) < 0)
		_exit(126);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (c->sup->runtime_fd >= 0)
		fexecve(c->sup->runtime_fd, l->argv, env);
	execve(l->argv[0], l->argv, env);
	_exit(127);
}

/* The log file's descriptor in *out. */
static int open_log_file(struct sup_container *c, int *out, struct error *err)
{
	struct sup *s = c->sup;
	const char *slash = strrchr(c->spec->log, '/');
	const char *name = slash ? slash + 1 : c->spec->log;
	const char *parent = slash ? arena_strdup(&s->arena, str_of(c->spec->log, (size_t)(slash - c->spec->log))) : "";
	uid_t uid = s->rootless ? (uid_t)-1 : s->daemon_uid;
	CLEANUP_FD int dir = path_mkdirs_beneath(s->data_fd, parent, 0755, uid, s->daemon_gid, err);
	if (dir < 0)
		return error_wrap(err, "log file");
	CLEANUP_FD int file =
		openat(dir, name, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
	struct stat st;
	if (file < 0 || fstat(file, &st) < 0)
		return error_errno(err, errno, "open log file `%s`", c->spec->log);
	/* A hard link to somebody else's file must not be written through. */
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || (st.st_uid != geteuid() && st.st_uid != s->daemon_uid))
		return error_set(err, "log file `%s` is not a plain file of ours", c->spec->log);
	if (uid != (uid_t)-1 && st.st_uid != uid && fchown(file, uid, s->daemon_gid) < 0)
		return error_errno(err, errno, "give log file `%s` to the daemon", c->spec->log);
	*out = fd_take(&file);
	return 0;
}

/* A container with a terminal writes to that, whether somebody wants it or not. */
static int open_console(struct sup_container *c, struct error *err)
{
	CLEANUP_FD int dir = open(c->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_errno(err, errno, "open `%s`", c->dir);
	c->console = frame_listen_at(dir, "tty", 0600, err);
	c->log.out = c->log.out < 0 ? open("/dev/null", O_WRONLY | O_CLOEXEC) : c->log.out;
	return c->console < 0 ? -1 : 0;
}

/* A pipe into p; *end is the container's. */
static int open_pump(struct sup_container *c, struct logpump *p, int *end, struct error *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, errno, "make a pipe");
	logpump_open(p, ends[0], p->out);
	if (c->spec->forward)
		forward_take(c, p);
	*end = ends[1];
	return 0;
}

/* Where its output goes: a pipe to the log file (*out is the container's end, or -1 when no log is asked for), or its
 * terminal, which comes later (runtime_started). stderr has a pipe of its own (*errors) where it is told apart. */
static int open_log(struct sup_container *c, int *out, int *errors, struct error *err)
{
	*out = *errors = -1;
	logpump_close(&c->log);
	logpump_close(&c->errors);
	if (c->spec->log && open_log_file(c, &c->log.out, err) < 0)
		return -1;
	if (c->spec->terminal)
		return open_console(c, err);
	if (!c->spec->log && !c->spec->forward)
		return 0;
	if (c->spec->forward && open_pump(c, &c->errors, errors, err) < 0)
		return -1;
	return open_pump(c, &c->log, out, err);
}

static void close_input(struct sup_container *c)
{
	if (c->console >= 0)
		close(c->console);
	if (c->input >= 0)
		close(c->input);
	c->console = c->input = -1;
}

/* A stdin that nobody writes to and that does not end. *in is the container's end, or -1. */
static int open_input(struct sup_container *c, int *in, struct error *err)
{
	int ends[2];
	*in = -1;
	if (!c->spec->input || c->spec->terminal)
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, errno, "make a pipe");
	*in = ends[0];
	c->input = ends[1];
	return 0;
}

static int make_cgroups(struct sup_container *c, struct error *err)
{
	struct sup *s = c->sup;
	bool v1 = s->cgroup == CGROUP_LEGACY || s->cgroup == CGROUP_HYBRID;
	if (!s->crun || !v1 || (c->spec->memory_bytes && c->spec->memory_bytes < OWN_MEMORY_MIN))
		return 0;
	const struct cgroup_limits limits = { .cpus = c->spec->cpu_quota,
					      .memory_bytes = c->spec->memory_bytes,
					      .pids = c->spec->pids,
					      .swap_bytes = c->spec->swap_bytes,
					      .reservation_bytes = c->spec->memory_reservation_bytes,
					      .cpu_shares = c->spec->cpu_shares,
					      .swappiness = c->spec->swappiness };
	if (cgroup_make(c->group, &limits, err) < 0)
		return -1;
	for (size_t i = 0; c->device_rules && c->device_rules[i]; i++)
		if (cgroup_allow_device(c->group, c->device_rules[i], err) < 0)
			return -1;
	c->own_cgroups = true;
	return 0;
}

size_t runtime_argv(struct sup_container *c, char **argv)
{
	size_t n = 0;
	argv[n++] = (char *)c->sup->runtime_path;
	argv[n++] = "--root";
	argv[n++] = arena_printf(&c->sup->arena, "%s/rt", c->sup->priv);
	if (c->sup->crun && (c->own_cgroups || c->sup->cgroup == CGROUP_NONE))
		argv[n++] = "--cgroup-manager=disabled";
	return n;
}

static char **make_argv(struct sup_container *c)
{
	struct arena *a = &c->sup->arena;
	char **argv = ARENA_ARRAY(a, char *, RUNTIME_ARGV + 13);
	size_t n = runtime_argv(c, argv);
	argv[n++] = "--log";
	argv[n++] = arena_printf(a, "%s/log", c->dir);
	argv[n++] = "--log-format=json";
	argv[n++] = "run";
	argv[n++] = "--detach";
	argv[n++] = "--bundle";
	argv[n++] = (char *)c->dir;
	argv[n++] = "--pid-file";
	argv[n++] = arena_printf(a, "%s/pid", c->dir);
	if (c->spec->terminal) {
		argv[n++] = "--console-socket";
		argv[n++] = "tty";
	}
	argv[n++] = arena_printf(a, "c%zu", c->index);
	return argv;
}

/* The pipe `go`, and whether the runtime may be started before its configuration is written (it will fit). */
static int open_go(struct sup_container *c, int *go, struct error *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, errno, "make a pipe");
	*go = ends[0];
	c->go = ends[1];
	fcntl(c->go, F_SETFL, O_NONBLOCK);
	/* A container that is started again has the plain file of its first run. */
	const char *config = arena_printf(&c->sup->arena, "%s/config.json", c->dir);
	c->reads_go = c->sup->task_bytes <= CONFIG_ROOM / 4 && fcntl(c->go, F_SETPIPE_SZ, CONFIG_ROOM) >= 0 &&
		      symlink("/proc/self/fd/3", config) == 0;
	return 0;
}

int runtime_launch(struct sup_container *c, struct error *err)
{
	CLEANUP_FD int in = -1, out = -1, errors = -1, go = -1;
	if (mkdir(c->dir, 0700) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make `%s`", c->dir);
	if (open_log(c, &out, &errors, err) < 0 || open_input(c, &in, err) < 0 || make_cgroups(c, err) < 0 ||
	    open_go(c, &go, err) < 0)
		return -1;
	const struct launch l = { in, out, errors, go, make_argv(c) };
	pid_t pid = fork();
	if (pid < 0)
		return error_errno(err, errno, "fork");
	if (pid == 0)
		child(c, &l);
	c->runtime_pid = pid;
	return 0;
}

int runtime_go(struct sup_container *c, struct error *err)
{
	CLEANUP_FD int dir = open(c->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_errno(err, errno, "open `%s`", c->dir);
	c->phase = PHASE_STARTING;
	/* Not before: a runtime that finds the plain file waits for nothing more. */
	if (path_write_atomic(dir, "config.json", c->config, 0600, false, err) < 0)
		return -1;
	const struct str text = c->reads_go ? c->config : STR("g");
	int rc = fd_write_all(c->go, text.ptr, text.len);
	close(c->go);
	c->go = -1;
	/* EPIPE: it could not enter the cgroups; its end says so. */
	return rc < 0 && rc != -EPIPE ? error_errno(err, -rc, "start the runtime") : 0;
}

void runtime_cancel(struct sup_container *c)
{
	if (c->go >= 0)
		close(c->go);
	c->go = -1;
	if (c->runtime_pid > 0)
		waitpid(c->runtime_pid, NULL, 0);
	c->runtime_pid = 0;
	logpump_close(&c->log);
	logpump_close(&c->errors);
	close_input(c);
}

/* The text of the last error in the runtime's log (JSON lines). */
static void read_error(struct sup_container *c, int dir, int status, struct error *err)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	CLEANUP_FREE char *why = NULL;
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CGROUP) {
		error_set(err, "enter control group %s", c->group);
		return;
	}
	path_read(dir, "log", 1 << 20, &text, NULL);
	struct str rest = buf_str(&text), line;
	while (rest.len && str_split(&rest, '\n', &line)) {
		CLEANUP_JSON json_t *one = json_parse(line, NULL);
		const char *level = json_get_text(one, "level"), *msg = json_get_text(one, "msg");
		if (msg && (!level || !strcmp(level, "error") || !strcmp(level, "fatal"))) {
			free(why);
			why = mem_strdup(msg);
		}
	}
	if (why)
		error_set(err, "%s", why);
	else
		error_set(err, "`%s run` ended with status %d", c->sup->runtime_path,
			  WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* The runtime has sent it before it ended. */
static void take_terminal(struct sup_container *c)
{
	fcntl(c->console, F_SETFL, O_NONBLOCK);
	int master = terminal_take(c->console);
	close(c->console);
	c->console = -1;
	if (master >= 0) {
		logpump_open(&c->log, master, c->log.out);
		if (c->spec->forward)
			forward_take(c, &c->log);
	} else {
		sup_note(c->sup, "%s: the runtime brought no terminal, its output is lost", c->spec->name);
	}
}

int runtime_started(struct sup_container *c, int status, struct error *err)
{
	CLEANUP_FD int dir = open(c->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_BUF struct buf text = BUF_INIT;
	int64_t pid = 0;
	if (status != 0) {
		read_error(c, dir, status, err);
		return -1;
	}
	if (path_read(dir, "pid", 32, &text, err) < 0)
		return -1;
	if (!str_to_i64(str_trim(buf_str(&text)), &pid) || pid <= 1)
		return error_set(err, "the runtime wrote no pid");
	c->pid = (pid_t)pid;
	if (c->console >= 0)
		take_terminal(c);
	if (c->own_cgroups && c->spec->pids && c->spec->pids < CGROUP_START_PIDS)
		cgroup_limit_pids(c->group, c->spec->pids);
	return 0;
}

void runtime_clear(struct sup_container *c)
{
	close_input(c);
	CLEANUP_FD int state =
		open(arena_printf(&c->sup->arena, "%s/rt", c->sup->priv), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state >= 0)
		path_remove_tree(state, arena_printf(&c->sup->arena, "c%zu", c->index), NULL);
	if (!c->own_cgroups)
		cgroup_remove(c->sup->cgroup, c->group);
}
