/* supervisor.c - the life of one task, in a process of its own (forked by the executor, or `quern task <dir>`).
 *
 * DESIGN: prepare all containers, start them side by side, then wait in one event loop for ends, log data, stop
 * requests and timers; at the end collect outputs, write the result to disk, tell the executor, clean up, leave. It
 * needs neither executor nor daemon once it runs: its listening socket (made by the executor before the fork) stays
 * reachable as long as it lives, so a refused connection means that it is dead. It exits only when every process of its
 * containers has ended. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "task/forward.h"
#include "task/frame.h"
#include "task/machine.h"
#include "task/order.h"
#include "task/path.h"
#include "task/share.h"
#include "task/stop.h"
#include "task/sup.h"
#include "task/task.h"

#define LISTENER_FD 3
#define RUNTIME_FD 4
#define SYNCED_FD 5
#define DRAIN_MS 2000
#define START_MS 120000 /* the runtime is stuck after that */

/* ---- start ---- */

static int watch(struct sup *s, int fd, uint64_t tag, struct error *err)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = tag };
	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? error_errno(err, errno, "watch a descriptor") : 0;
}

static int init_loop(struct sup *s, struct error *err)
{
	sigset_t set;
	struct stat st;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->epoll < 0 || s->signals < 0)
		return error_errno(err, errno, "make an event loop");
	s->runtime_fd = machine_is_sealed(RUNTIME_FD) ? RUNTIME_FD : -1;
	if (s->runtime_fd >= 0)
		fcntl(RUNTIME_FD, F_SETFD, FD_CLOEXEC);
	s->synced = fstat(SYNCED_FD, &st) == 0 && S_ISFIFO(st.st_mode) ? SYNCED_FD : -1;
	if (s->synced >= 0)
		fcntl(SYNCED_FD, F_SETFD, FD_CLOEXEC);
	s->listener = fstat(LISTENER_FD, &st) == 0 && S_ISSOCK(st.st_mode) ? LISTENER_FD : -1;
	if (s->listener >= 0) {
		fcntl(s->listener, F_SETFD, FD_CLOEXEC);
		fcntl(s->listener, F_SETFL, O_NONBLOCK);
		if (watch(s, s->listener, SUP_TAG_LISTENER, err) < 0)
			return -1;
	}
	return watch(s, s->signals, SUP_TAG_SIGNALS, err);
}

/* ---- the state of containers ---- */

static bool all_ended(const struct sup *s)
{
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		if (s->containers[i].phase != PHASE_ENDED)
			return false;
	return true;
}

void sup_stop(struct sup *s, const char *reason)
{
	if (s->reason || s->event)
		return;
	s->reason = reason;
	stop_ask_all(s);
	sup_save(s, false, NULL);
	sup_tell(s);
}

static void container_failed(struct sup_container *c, const char *text)
{
	struct sup *s = c->sup;
	free(c->error);
	c->error = mem_strdup(text);
	c->phase = PHASE_ENDED;
	c->finished_at = clock_now_ms();
	cgroup_kill(s->cgroup, c->group); /* what a runtime that broke off may have left */
	runtime_cancel(c);
	if (!s->error)
		s->error = mem_strdup(text);
	if (!s->reason || s->started_at == 0)
		s->reason = "start-failed";
	for (size_t i = 0; i < s->spec.ncontainers; i++) /* the others have done nothing worth a grace period */
		if (s->containers[i].phase == PHASE_RUNNING)
			stop_signal(&s->containers[i], SIGKILL);
}

static void start_one(struct sup_container *c);

static bool may_restart(const struct sup_container *c)
{
	const struct spec_restart *r = c->spec->restart;
	if (!r || c->sup->reason || c->finished_at - c->run_at < r->period_ms)
		return false;
	for (size_t i = 0; i < r->nignored; i++)
		if (r->ignored[i] == c->exit_code)
			return false;
	return true;
}

/* Once more in the same root. */
static void restart(struct sup_container *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	runtime_clear(c);
	c->exit_code = c->signal = -1;
	c->finished_at = c->drain_until = 0;
	c->asked = c->oom = false;
	c->restarts++;
	if (runtime_launch(c, &err) < 0) {
		error_wrap(&err, "CannotStartContainerError");
		container_failed(c, error_text(&err));
	} else {
		start_one(c);
	}
}

/* The process and its output have ended: count, decide about the rest. */
static void container_done(struct sup_container *c)
{
	struct sup *s = c->sup;
	struct cgroup_usage usage;
	cgroup_read(s->cgroup, c->group, &usage);
	c->oom = usage.oom_kills > c->oom_kills;
	c->oom_kills = c->own_cgroups ? usage.oom_kills : 0;
	c->usage.cpu_ms = usage.cpu_ms >= 0 ? usage.cpu_ms : c->usage.cpu_ms;
	c->usage.memory_peak_bytes =
		usage.memory_peak_bytes >= 0 ? usage.memory_peak_bytes : c->usage.memory_peak_bytes;
	if (c->log.lost_bytes)
		sup_note(s, "%s: %lld bytes of output could not be written to the log", c->spec->name,
			 (long long)c->log.lost_bytes);
	logpump_close(&c->log);
	logpump_close(&c->errors);
	health_end(c);
	if (may_restart(c)) {
		restart(c);
		sup_changed(s);
		return;
	}
	c->phase = PHASE_ENDED;
	forward_end(c);
	bool ends_task = c->spec->essential == ESSENTIAL_YES ||
			 (c->spec->essential == ESSENTIAL_ON_FAILURE && c->exit_code != 0);
	if (ends_task && !all_ended(s))
		sup_stop(s, "exited");
	if (!all_ended(s))
		sup_changed(s);
}

static void container_exited(struct sup_container *c, int status, int64_t cpu_ms, int64_t peak)
{
	c->finished_at = clock_now_ms();
	c->signal = WIFSIGNALED(status) ? WTERMSIG(status) : -1;
	c->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	c->usage.cpu_ms = cpu_ms;
	c->usage.memory_peak_bytes = peak;
	c->kill_at = 0;
	if (c->pidfd >= 0)
		close(c->pidfd);
	c->pidfd = -1;
	c->pid = 0;
	share_end_container(c);
	if (c->log.in < 0 && c->errors.in < 0)
		container_done(c);
	else /* what is in the pipe still belongs to it; a descriptor passed to a stranger must not hold us up */
		c->drain_until = sup_now_ms() + DRAIN_MS;
}

static void task_running(struct sup *s)
{
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		if (!s->containers[i].started_at)
			return;
	s->started_at = clock_now_ms();
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		s->changes += s->containers[i].host_ports || s->containers[i].edits; /* which ones is news */
	if (s->spec.max_runtime_ms)
		s->timeout_at = sup_now_ms() + s->spec.max_runtime_ms;
}

static void container_started(struct sup_container *c, int status)
{
	struct sup *s = c->sup;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	c->runtime_pid = 0;
	if (runtime_started(c, status, &err) < 0) {
		error_wrap(&err, "CannotStartContainerError");
		container_failed(c, error_text(&err));
		return;
	}
	if (c->spec->terminal && c->log.in >= 0 && watch(s, c->log.in, SUP_TAG_LOG + c->index, &err) < 0)
		sup_note(s, "%s: %s", c->spec->name, error_text(&err));
	c->run_at = clock_now_ms();
	c->started_at = c->started_at ? c->started_at : c->run_at;
	c->phase = PHASE_RUNNING;
	c->kill_at = 0;
	c->pidfd = pidfd_open(c->pid, 0);
	c->pid_start = process_start(c->pid);
	health_begin(c);
	if (!s->started_at)
		task_running(s);
	if (c->restarts)
		sup_changed(s);
	sup_save(s, false, NULL);
	sup_tell(s);
	for (size_t i = 0; i < s->nearly; i++)
		if (s->early[i].pid == c->pid) {
			container_exited(c, s->early[i].status, s->early[i].cpu_ms, s->early[i].peak);
			s->early[i] = s->early[--s->nearly];
			return;
		}
	if (s->error)
		stop_signal(c, SIGKILL);
}

/* ---- the loop ---- */

static void child_ended(struct sup *s, pid_t pid, int status, const struct rusage *use)
{
	if (health_child_ended(s, pid, status) || share_child_ended(s, pid))
		return;
	int64_t cpu_ms = (use->ru_utime.tv_sec + use->ru_stime.tv_sec) * 1000 +
			 (use->ru_utime.tv_usec + use->ru_stime.tv_usec) / 1000;
	int64_t peak = use->ru_maxrss * 1024;
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		struct sup_container *c = &s->containers[i];
		if (c->runtime_pid == pid) {
			container_started(c, status);
			return;
		}
		if (c->pid == pid) {
			container_exited(c, status, cpu_ms, peak);
			return;
		}
	}
	/* A container that ended before its runtime did; or a helper of the runtime, which nobody asks for. */
	if (s->nearly == sizeof(s->early) / sizeof(*s->early))
		memmove(s->early, s->early + 1, sizeof(s->early) - sizeof(*s->early)), s->nearly--;
	s->early[s->nearly].pid = pid;
	s->early[s->nearly].status = status;
	s->early[s->nearly].cpu_ms = cpu_ms;
	s->early[s->nearly++].peak = peak;
}

static void on_signals(struct sup *s)
{
	struct signalfd_siginfo info;
	while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (info.ssi_signo != SIGCHLD && !s->reason) { /* the machine goes down */
			s->error = s->error ? s->error
					    : mem_strdup("TaskLost: the task's supervisor was told to end (the machine "
							 "goes down)");
			sup_stop(s, "lost");
		}
	for (;;) {
		int status;
		struct rusage use;
		pid_t pid = wait4(-1, &status, WNOHANG, &use);
		if (pid <= 0)
			return;
		child_ended(s, pid, status, &use);
	}
}

static void on_log(struct sup_container *c, struct logpump *p)
{
	if (p->in < 0 || logpump_run(p) >= 0)
		return;
	/* the end of the stream: the descriptor is closed and so out of the epoll set */
	if (c->log.in < 0 && c->errors.in < 0 && c->phase == PHASE_RUNNING && c->exit_code >= 0)
		container_done(c);
}

static void on_timers(struct sup *s)
{
	int64_t now = sup_now_ms();
	if (s->timeout_at && now >= s->timeout_at) {
		s->timeout_at = 0;
		sup_stop(s, "timeout");
	}
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		struct sup_container *c = &s->containers[i];
		if (c->phase == PHASE_STARTING && now >= c->kill_at)
			kill(c->runtime_pid, SIGKILL);
		if (c->phase == PHASE_RUNNING && c->drain_until && now >= c->drain_until)
			container_done(c);
	}
}

static int wait_ms(const struct sup *s)
{
	int64_t next = s->timeout_at ? s->timeout_at : INT64_MAX, now = sup_now_ms();
	int64_t order = order_next_ms(s), stop = stop_next_ms(s);
	int64_t forward = forward_next_ms(s);
	next = order < next ? order : next;
	next = forward < next ? forward : next;
	next = stop < next ? stop : next;
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		const struct sup_container *c = &s->containers[i];
		if (c->phase == PHASE_STARTING && c->kill_at < next)
			next = c->kill_at;
		if (c->phase == PHASE_RUNNING && c->drain_until && c->drain_until < next)
			next = c->drain_until;
	}
	if (next == INT64_MAX)
		return -1;
	return next <= now ? 0 : next - now > 3600000 ? 3600000 : (int)(next - now);
}

static void dispatch(struct sup *s, uint64_t tag)
{
	if (tag == SUP_TAG_SIGNALS)
		on_signals(s);
	else if (tag == SUP_TAG_LISTENER)
		sup_accept(s);
	else if (tag >= SUP_TAG_FORWARD)
		forward_ready(&s->containers[tag - SUP_TAG_FORWARD]);
	else if (tag >= SUP_TAG_ERRORS)
		on_log(&s->containers[tag - SUP_TAG_ERRORS], &s->containers[tag - SUP_TAG_ERRORS].errors);
	else if (tag >= SUP_TAG_LOG)
		on_log(&s->containers[tag - SUP_TAG_LOG], &s->containers[tag - SUP_TAG_LOG].log);
	else
		sup_peer_ready(s, &s->peers[tag - SUP_TAG_PEER]);
}

static void start_one(struct sup_container *c)
{
	struct sup *s = c->sup;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if ((c->log.in >= 0 && watch(s, c->log.in, SUP_TAG_LOG + c->index, &err) < 0) ||
	    (c->errors.in >= 0 && watch(s, c->errors.in, SUP_TAG_ERRORS + c->index, &err) < 0) ||
	    runtime_go(c, &err) < 0) {
		error_wrap(&err, "CannotStartContainerError");
		container_failed(c, error_text(&err));
	} else {
		c->kill_at = sup_now_ms() + START_MS;
	}
}

/* Containers that waited for others: starts them, gives them up, or asks them to end. */
static void advance(struct sup *s)
{
	if (s->reason && strcmp(s->reason, "start-failed"))
		stop_ask_all(s);
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		struct sup_container *c = &s->containers[i];
		if (c->phase != PHASE_NEW)
			continue;
		bool over = s->error || s->reason;
		const char *why = over ? NULL : order_hopeless(c);
		if (over) {
			runtime_cancel(c);
			c->phase = PHASE_ENDED;
		} else if (why) {
			container_failed(c, why);
		} else if (order_may_start(c)) {
			start_one(c);
		}
	}
}

/* Waits for something to happen, ms at most, and takes it. How much it was. */
static int take_events(struct sup *s, int ms)
{
	struct epoll_event events[32];
	int n = epoll_wait(s->epoll, events, 32, ms);
	if (n < 0 && errno != EINTR)
		BUG("epoll_wait: %s", strerror(errno));
	for (int i = 0; i < n; i++)
		dispatch(s, events[i].data.u64);
	return n;
}

bool sup_is_over(struct sup *s, int wait_ms)
{
	while (!s->reason && take_events(s, wait_ms) > 0)
		wait_ms = 0;
	return s->reason != NULL;
}

static void run_loop(struct sup *s)
{
	while (!all_ended(s)) {
		take_events(s, wait_ms(s));
		on_timers(s);
		forward_run(s);
		stop_run(s);
		health_run(s);
		advance(s);
	}
}

/* ---- the whole ---- */

static int make_task_group(struct sup *s, struct error *err)
{
	const struct cgroup_limits limits = { .cpus = s->spec.limit_cpus,
					      .memory_bytes = s->spec.limit_memory_bytes,
					      .cpu_shares = s->spec.limit_cpu_shares,
					      .swappiness = -1 };
	if (!s->spec.limited)
		return 0;
	return cgroup_make_task(s->cgroup, arena_printf(&s->arena, "/quern/%s", s->spec.id), &limits, err);
}

/* Nothing may run before task.json is on disk. The executor brings it there, beside our work, and says so; when it is
 * gone instead, we do it. A stop that comes meanwhile is taken. */
static int wait_synced(struct sup *s, struct error *err)
{
	struct pollfd fds[] = { { s->synced, POLLIN, 0 }, { s->epoll, POLLIN, 0 } };
	char byte;
	ssize_t n = 0;
	while (s->synced >= 0 && !fds[0].revents && !sup_is_over(s, 0))
		poll(fds, 2, -1);
	if (sup_is_over(s, 0))
		return 0;
	do
		n = s->synced < 0 ? 0 : read(s->synced, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (s->synced >= 0)
		close(s->synced);
	s->synced = -1;
	if (n == 1)
		return 0;
	CLEANUP_FD int task = openat(s->exec_fd, "task.json", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (task < 0 || fsync(task) < 0 || fsync(s->exec_fd) < 0 || fsync(s->task_fd) < 0)
		return error_errno(err, errno, "fsync task.json");
	return 0;
}

/* Makes all ready for the start, the runtime's loading, the networks and the roots side by side, or breaks off when the
 * task is over before it began. */
static int prepare_all(struct sup *s, struct error *err)
{
	if (make_task_group(s, err) < 0 || share_begin(s, err) < 0)
		return error_wrap(err, "CannotStartContainerError");
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		if (sup_read_gpus(&s->containers[i], err) < 0 || runtime_launch(&s->containers[i], err) < 0)
			return error_wrap(err, "CannotStartContainerError");
	if (net_begin(s, err) < 0)
		return error_wrap(err, "CannotStartContainerError");
	for (size_t i = 0; i < s->spec.ncontainers && !sup_is_over(s, 0); i++)
		if (sup_prepare_container(&s->containers[i], err) < 0 && !s->reason) {
			s->containers[i].error = mem_strdup(error_text(err));
			return -1;
		}
	if (s->reason) { /* a stop that came meanwhile is why it failed, if it did */
		error_release(err);
		return 0;
	}
	if (net_end(s, err) < 0)
		return error_wrap(err, "CannotStartContainerError");
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		if (oci_make_config(&s->containers[i], err) < 0) {
			error_wrap(err, "CannotStartContainerError");
			s->containers[i].error = mem_strdup(error_text(err));
			return -1;
		}
	return wait_synced(s, err);
}

/* Nothing was started, or something of ours failed: every container has ended without having been. */
static void give_up(struct sup *s, const struct error *why)
{
	s->reason = "start-failed";
	free(s->error);
	s->error = mem_strdup(error_text(why));
	for (size_t i = 0; s->containers && i < s->spec.ncontainers; i++) {
		runtime_cancel(&s->containers[i]);
		s->containers[i].phase = PHASE_ENDED;
	}
}

/* Is there something to look at, and is it wanted? Then it is marked before the executor hears of the end. */
static bool keep_failed(struct sup *s)
{
	bool failed = s->reason && !strcmp(s->reason, "timeout");
	if (!s->spec.keep_failed || s->upper_in_memory)
		return false;
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		const struct sup_container *c = &s->containers[i];
		failed |= c->root >= 0 && (c->error || (c->exit_code > 0 && !c->asked));
	}
	CLEANUP_FD int mark =
		failed ? openat(s->exec_fd, "kept", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
	return mark >= 0;
}

static void finish(struct sup *s)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	for (size_t i = 0; s->containers && i < s->spec.ncontainers; i++)
		if (s->containers[i].spec->forward)
			forward_close(&s->containers[i]);
	share_end(s);
	json_t *event = sup_stopped_event(s);
	if (!json_get_int(event, "at", 0))
		json_set_int(event, "at", clock_now_ms());
	if (sup_collect(s, event, &err) < 0) {
		error_wrap(&err, "ResourceInitializationError: collect outputs");
		log_error("task", "%s: %s", s->spec.id, error_text(&err));
		json_set_text(event, "error", error_text(&err));
	}
	if (keep_failed(s))
		json_set_bool(event, "kept", true);
	json_object_set(event, "notes", s->notes);
	s->event = event;
	error_release(&err);
	err = ERROR_INIT;
	/* Told first: the daemon writes the end down itself before it acts, and the machine's end at this instant may
	 * as well have come before the task's. */
	if (sup_save(s, false, &err) < 0)
		log_error("task", "%s: %s", s->spec.id, error_text(&err));
	sup_tell(s);
	CLEANUP_FD int state = openat(s->exec_fd, "state.json", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (state < 0 || fsync(state) < 0 || fsync(s->exec_fd) < 0)
		log_error("task", "%s: fsync state.json: %s", s->spec.id, strerror(errno));
}

/* The next task may be waiting for the processor by now. */
static void clean_up(struct sup *s)
{
	setpriority(PRIO_PROCESS, 0, 10);
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		cgroup_remove(s->cgroup, s->containers[i].group);
	cgroup_remove(s->cgroup, arena_printf(&s->arena, "/quern/%s", s->spec.id));
	net_teardown(s);
	umount2(s->priv, MNT_DETACH);
	if (!json_get_bool(s->event, "kept", false)) {
		path_remove_tree(s->exec_fd, "u", NULL);
		path_remove_tree(s->exec_fd, "s", NULL);
	}
	sup_peers_close(s);
}

static void log_to_file(const char *task_dir)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/exec/log", task_dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0) {
		dup2(fd, 1);
		dup2(fd, 2);
		close(fd);
	}
}

static int start_up(struct sup *s, const char *task_dir, struct error *err)
{
	if (sup_read(s, task_dir, err) < 0 || init_loop(s, err) < 0)
		return -1;
	return sup_open(s, err);
}

int supervisor_main(const char *task_dir)
{
	struct sup s;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	sup_init(&s);
	umask(022);
	log_to_file(task_dir);
	if (start_up(&s, task_dir, &err) < 0) {
		log_error("task", "%s: %s", task_dir, error_text(&err));
		if (s.exec_fd < 0 ||
		    !s.containers) /* no place for a result: the executor finds us gone and says "lost" */
			return 1;
		give_up(&s, &err);
	} else if (prepare_all(&s, &err) < 0) {
		give_up(&s, &err);
	} else {
		sup_save(&s, false, NULL); /* from here the executor knows that something may have run */
		advance(&s);
		run_loop(&s);
	}
	finish(&s);
	clean_up(&s);
	for (size_t i = 0; i < s.spec.ncontainers; i++) {
		free(s.containers[i].error);
		json_decref(s.containers[i].edits);
	}
	free(s.error);
	json_decref(s.task);
	json_decref(s.notes);
	json_decref(s.event);
	arena_release(&s.arena);
	return 0;
}
