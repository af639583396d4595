/* exec_task.c - tasks of the executor: accept, book, launch, adopt, end; see exec.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "task/exec.h"
#include "task/frame.h"
#include "task/image.h"
#include "task/layers.h"
#include "task/path.h"
#include "task/filter.h"
#include "task/spec.h"
#include "task/stats.h"
#include "task/sup.h"

static void task_free(struct exec_task *t)
{
	if (t->fd >= 0)
		close(t->fd);
	if (t->exec_fd >= 0)
		close(t->exec_fd);
	if (t->synced >= 0)
		close(t->synced);
	free(t->id);
	free(t->owner);
	json_decref(t->gpus);
	json_decref(t->task);
	json_decref(t->state);
	json_decref(t->event);
	buf_release(&t->in);
	free(t);
}

static struct exec_task *task_add(struct executor *x, const char *id, int exec_fd, json_t *task)
{
	struct exec_task *t = mem_calloc(1, sizeof(*t));
	t->id = mem_strdup(id);
	t->owner = mem_strdup(json_get_text(task, "owner") ? json_get_text(task, "owner") : "");
	t->exec_fd = exec_fd;
	t->fd = t->synced = -1;
	t->task = json_incref(task);
	t->cpus = json_get_real(json_get(task, "booked"), "cpus", 0);
	t->memory_bytes = json_get_int(json_get(task, "booked"), "memory", 0);
	t->gpus_wanted = exec_gpus_wanted(json_get(task, "spec"));
	t->seq = json_get_int(task, "seq", 0);
	x->next_seq = t->seq >= x->next_seq ? t->seq + 1 : x->next_seq;
	map_set(&x->tasks, str_from(t->id), t);
	return t;
}

/* ---- events ---- */

static const char *queue_reason(struct executor *x, const struct exec_task *t)
{
	static char text[160];
	if (t->gpus_wanted && (int64_t)exec_gpus_count(x, true) < t->gpus_wanted)
		snprintf(text, sizeof(text), "waits for %lld GPUs; %zu are free", (long long)t->gpus_wanted,
			 exec_gpus_count(x, true));
	else
		snprintf(text, sizeof(text), "waits for %.4g CPUs and %lld MiB; %.4g CPUs and %lld MiB are free",
			 t->cpus, (long long)(t->memory_bytes >> 20), x->machine.cpus - x->cpus_used,
			 (long long)((x->machine.memory_bytes - x->memory_used) >> 20));
	return text;
}

void exec_tell_now(struct executor *x, struct exec_task *t,
		   void (*tell)(void *ctx, struct exec_task *t, const json_t *event), void *ctx)
{
	int64_t started = json_get_int(t->state, "started_at", 0);
	if (t->phase == EXEC_QUEUED) {
		CLEANUP_JSON json_t *event =
			json_pack("{s:s,s:s,s:s}", "task", t->id, "type", "queued", "reason", queue_reason(x, t));
		tell(ctx, t, event);
	} else if (t->phase == EXEC_LIVE && started) {
		CLEANUP_JSON json_t *event =
			json_pack("{s:s,s:s,s:I,s:I}", "task", t->id, "type", "started", "pulled_at",
				  (json_int_t)json_get_int(t->state, "pulled_at", started), "at", (json_int_t)started);
		tell(ctx, t, event);
		if (json_get_int(t->state, "changes", 0) &&
		    t->changes_told) { /* said before; who comes now has not heard it */
			CLEANUP_JSON json_t *changed = json_pack("{s:s,s:s,s:O}", "task", t->id, "type", "changed",
								 "containers", json_get(t->state, "containers"));
			tell(ctx, t, changed);
		}
	} else if (t->phase == EXEC_STOPPED) {
		tell(ctx, t, t->event);
	}
}

static void tell_all(void *ctx, struct exec_task *t, const json_t *event)
{
	struct executor *x = ctx;
	x->tell(x, t, event);
}

/* ---- launching ---- */

/* The supervisor is this program; it is not executed anew, since linking a large program costs more than all its
 * mounts. */
static _Noreturn void child(int listener, int runtime, int synced, const char *dir)
{
	int null = open("/dev/null", O_RDWR);
	sigset_t none;
	sigemptyset(&none);
	setsid();
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(null, 0);
	/* 3 the socket, 4 the runtime, 5 what says that task.json is on disk; out of each other's way first */
	int from[3] = { fcntl(listener, F_DUPFD, 6), runtime < 0 ? -1 : fcntl(runtime, F_DUPFD, 6),
			fcntl(synced, F_DUPFD, 6) };
	for (int i = 0; i < 3; i++)
		if (from[i] < 0 || dup2(from[i], 3 + i) < 0)
			close(3 + i);
	close_range(6, ~0u, 0);
	char title[PATH_MAX];
	snprintf(title, sizeof(title), "quern task %s", strrchr(dir, '/') + 1);
	process_set_title("quern-task", title);
	int rc = supervisor_main(dir);
#ifdef __SANITIZE_ADDRESS__
	exit(rc); /* the leak check */
#endif
	_exit(rc);
}

static int connect_supervisor(struct executor *x, struct exec_task *t)
{
	int fd = frame_connect_at(t->exec_fd, "ctl");
	if (fd < 0)
		return fd;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = (uintptr_t)t };
	if (epoll_ctl(x->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int e = errno;
		close(fd);
		return -e;
	}
	t->fd = fd;
	return 0;
}

/* Again when the file has changed: an update of the runtime needs no restart. */
static void seal_runtime(struct executor *x)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct stat st;
	if (!x->machine.runtime || stat(x->machine.runtime, &st) < 0 ||
	    (st.st_mtim.tv_sec == x->runtime_mtime.tv_sec && st.st_mtim.tv_nsec == x->runtime_mtime.tv_nsec))
		return;
	if (x->runtime_fd >= 0)
		close(x->runtime_fd);
	x->runtime_mtime = st.st_mtim;
	x->runtime_fd = machine_seal_program(x->machine.runtime, &err);
	if (x->runtime_fd < 0)
		log_warn("executor", "%s; containers start more slowly", error_text(&err));
}

/* The socket is bound before the fork: from its first moment the supervisor can be reached, and only while it lives. */
static int fork_supervisor(struct executor *x, struct exec_task *t, struct error *err)
{
	CLEANUP_FD int listener = frame_listen_at(t->exec_fd, "ctl", 0600, err);
	if (listener < 0)
		return -1;
	char dir[PATH_MAX];
	int ends[2];
	snprintf(dir, sizeof(dir), "%s/tasks/%s", x->options.data_dir, t->id);
	seal_runtime(x);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, errno, "make a pipe");
	CLEANUP_FD int synced = ends[0];
	t->synced = ends[1];
	pid_t pid = fork();
	if (pid < 0)
		return error_errno(err, errno, "fork a supervisor");
	if (pid == 0)
		child(listener, x->runtime_fd, synced, dir);
	int rc = connect_supervisor(x, t);
	return rc < 0 ? error_errno(err, -rc, "connect to the supervisor") : 0;
}

/* task.json is on disk, or (!ok) the supervisor sees to it. */
static void tell_synced(struct exec_task *t, bool ok)
{
	if (t->synced >= 0 && ok && write(t->synced, "s", 1) < 0)
		log_debug("executor", "%s: its supervisor has ended already", t->id);
	if (t->synced >= 0)
		close(t->synced);
	t->synced = -1;
}

static void book(struct executor *x, const struct exec_task *t, int sign)
{
	x->cpus_used += sign * t->cpus;
	x->memory_used += sign * t->memory_bytes;
	if (x->cpus_used < 1e-6)
		x->cpus_used = 0;
}

static bool gpus_fit(const struct executor *x, const struct exec_task *t)
{
	return !t->gpus_wanted || (int64_t)exec_gpus_count(x, true) >= t->gpus_wanted;
}

static bool fits(const struct executor *x, const struct exec_task *t)
{
	return x->cpus_used + t->cpus <= x->machine.cpus + 1e-6 &&
	       x->memory_used + t->memory_bytes <= x->machine.memory_bytes && gpus_fit(x, t);
}

static void stopped(struct executor *x, struct exec_task *t, json_t *event)
{
	if (t->phase == EXEC_LIVE)
		book(x, t, -1);
	t->phase = EXEC_STOPPED;
	t->event = event;
	json_decref(t->task);
	t->task = NULL;
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	exec_tell_now(x, t, tell_all, x);
}

static void lost(struct executor *x, struct exec_task *t)
{
	log_warn("executor", "%s: its supervisor has ended without a result", t->id);
	stopped(x, t, exec_write_lost(x, t->id, t->exec_fd, t->state));
}

/* From here the task counts as started: a restart of the machine makes it lost, not run again. */
static void launch(struct executor *x, struct exec_task *t, bool write)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	t->phase = EXEC_LIVE;
	book(x, t, 1);
	json_set_text(t->task, "launched", x->boot);
	if (write)
		exec_gpus_assign(x, t);
	int rc = write ? exec_write_task(x, t->exec_fd, t->task, true, &err) : 0;
	if (rc == 0)
		rc = fork_supervisor(x, t, &err);
	if (write)
		tell_synced(t, true);
	json_decref(t->task);
	t->task = NULL;
	if (rc < 0) {
		log_error("executor", "%s: %s", t->id, error_text(&err));
		lost(x, t);
	}
}

/* The first in order of arrival of those that want GPUs, or of those that want none. */
static struct exec_task *first_queued(struct executor *x, bool gpus)
{
	struct exec_task *first = NULL;
	for (size_t i = 0; i < x->tasks.count; i++) {
		struct exec_task *t = x->tasks.entries[i].value;
		if (t->phase == EXEC_QUEUED && (t->gpus_wanted > 0) == gpus && (!first || t->seq < first->seq))
			first = t;
	}
	return first;
}

/* Nobody overtakes, but for this: who waits for GPUs holds up only others that want some. */
static struct exec_task *next_queued(struct executor *x)
{
	struct exec_task *with = first_queued(x, true), *without = first_queued(x, false);
	if (!with || !gpus_fit(x, with))
		return without;
	return without && without->seq < with->seq ? without : with;
}

void exec_schedule(struct executor *x)
{
	for (struct exec_task *t; (t = next_queued(x)) && fits(x, t);)
		launch(x, t, true);
}

/* ---- start ---- */

static void clamp_number(json_t *obj, const char *key, double most, json_t *notes, const char *what, const char *unit,
			 double per)
{
	json_t *value = json_get(obj, key);
	if (!json_is_number(value) || json_number_value(value) <= most)
		return;
	json_array_append_new(notes, json_sprintf("%s scaled down to %.4g %s, what this machine has (asked for %.4g)",
						  what, most / per, unit, json_number_value(value) / per));
	if (json_is_integer(value))
		json_set_int(obj, key, (int64_t)most);
	else
		json_set_real(obj, key, most);
}

/* What is larger than the machine is cut to it; `spec` is a copy of ours. */
static void scale_down(struct executor *x, json_t *spec, json_t *notes)
{
	json_t *resources = json_get(spec, "resources"), *limits = json_get(spec, "limits"), *c;
	size_t i;
	clamp_number(resources, "cpus", x->machine.cpus, notes, "task", "CPUs", 1);
	clamp_number(resources, "memory", (double)x->machine.memory_bytes, notes, "task", "GiB", 1 << 30);
	clamp_number(limits, "cpus", x->machine.cpus, notes, "limit of the task", "CPUs", 1);
	clamp_number(limits, "memory", (double)x->machine.memory_bytes, notes, "limit of the task", "GiB", 1 << 30);
	json_array_foreach (json_get(spec, "containers"), i, c) {
		CLEANUP_FREE char *name = NULL;
		if (asprintf(&name, "container %s", json_get_text(c, "name")) < 0)
			BUG("out of memory");
		clamp_number(c, "cpu_quota", x->machine.cpus, notes, name, "CPUs", 1);
		clamp_number(c, "memory", (double)x->machine.memory_bytes, notes, name, "GiB", 1 << 30);
	}
}

static json_t *make_options(struct executor *x)
{
	json_t *o = json_object();
	json_set_text(o, "data_dir", x->options.data_dir);
	json_set_text(o, "images_dir", x->options.images_dir);
	json_set_text(o, "runtime", x->machine.runtime);
	json_set_text(o, "slirp", x->machine.slirp);
	json_set_bool(o, "crun", x->machine.crun);
	json_set_bool(o, "rootless", x->machine.rootless);
	json_set_text(o, "cdi_dirs", x->options.cdi_dirs);
	json_set_text(o, "cgroup", cgroup_mode_name(x->machine.cgroup));
	json_set_int(o, "daemon_uid", x->options.daemon_uid);
	json_set_int(o, "daemon_gid", x->options.daemon_gid);
	json_set_int(o, "api_port", x->options.api_port);
	return o;
}

static json_t *make_task(struct executor *x, const char *owner, const json_t *spec)
{
	json_t *task = json_object(), *notes = json_array(), *own = json_deep_copy(spec), *booked = json_object();
	scale_down(x, own, notes);
	json_set_int(task, "seq", x->next_seq++);
	json_set_text(task, "owner", owner);
	json_object_set_new(task, "launched", json_null());
	json_set_real(booked, "cpus", json_get_real(json_get(own, "resources"), "cpus", 0));
	json_set_int(booked, "memory", json_get_int(json_get(own, "resources"), "memory", 0));
	json_object_set_new(task, "booked", booked);
	json_object_set_new(task, "notes", notes);
	json_object_set_new(task, "options", make_options(x));
	json_object_set_new(task, "spec", own);
	return task;
}

static const char *phase_name(const struct exec_task *t)
{
	return t->phase == EXEC_QUEUED ? "queued" : t->phase == EXEC_LIVE ? "live" : "stopped";
}

static int accept_task(struct executor *x, const char *owner, const json_t *spec, const struct task_spec *parsed,
		       const char **phase, struct error *err)
{
	const char *id = parsed->id;
	struct exec_task *t = map_get(&x->tasks, str_from(id));
	if (t || exec_is_forgotten(x, id)) {
		*phase = t ? phase_name(t) : "forgotten";
		return 0;
	}
	int64_t gpus = exec_gpus_wanted(spec);
	if (gpus && gpus > (int64_t)exec_gpus_count(x, false))
		return error_aws(err, "ValidationException", "the task asks for %lld GPUs, this machine has %zu",
				 (long long)gpus, exec_gpus_count(x, false));
	int fd = exec_open_task(x, id, true, err);
	if (fd < 0)
		return -1;
	CLEANUP_JSON json_t *task = make_task(x, owner, spec);
	if (parsed->containers[0].nlayers)
		layers_warm();
	bool now = !next_queued(x) && !(gpus && first_queued(x, true));
	t = task_add(x, id, fd, task);
	now = now && fits(x, t);
	if (now) {
		json_set_text(task, "launched", x->boot);
		exec_gpus_assign(x, t);
	} else {
		exec_link_layers(x, fd, parsed);
	}
	if (exec_write_task(x, fd, task, false, err) < 0) {
		map_remove(&x->tasks, str_from(id));
		task_free(t);
		return -1;
	}
	if (now)
		launch(x, t, false);
	else
		exec_tell_now(x, t, tell_all, x);
	*phase = phase_name(t);
	return 0;
}

int exec_start(struct executor *x, const char *owner, const json_t *spec, const char **phase, struct error *err)
{
	struct arena a = ARENA_INIT;
	struct task_spec parsed;
	int rc = spec_parse(&a, spec, x->options.data_dir, &parsed, err);
	if (rc >= 0)
		rc = accept_task(x, owner, spec, &parsed, phase, err);
	arena_release(&a);
	return rc;
}

static int sync_files(struct executor *x, const struct exec_task *t, struct error *err)
{
	CLEANUP_FD int file = openat(t->exec_fd, "task.json", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP_FD int dir = path_open_beneath(x->tasks_fd, t->id, O_RDONLY | O_DIRECTORY, 0, err);
	if (dir < 0)
		return -1;
	if (file < 0 || fsync(file) < 0 || fsync(t->exec_fd) < 0 || fsync(dir) < 0 || fsync(x->tasks_fd) < 0)
		return error_errno(err, errno, "fsync task `%s`", t->id);
	return 0;
}

int exec_sync(struct executor *x, const char *id, struct error *err)
{
	struct exec_task *t = map_get(&x->tasks, str_from(id));
	if (!t)
		return 0;
	int rc = sync_files(x, t, err);
	tell_synced(t, rc == 0);
	return rc;
}

void exec_stop(struct executor *x, const char *id)
{
	struct exec_task *t = map_get(&x->tasks, str_from(id));
	if (t && t->phase == EXEC_QUEUED) {
		stopped(x, t, exec_write_unstarted(x, id, t->exec_fd, t->task, "stop"));
		exec_schedule(x); /* it may have stood before smaller ones */
	} else if (t && t->phase == EXEC_LIVE && t->fd >= 0) {
		CLEANUP_BUF struct buf out = BUF_INIT;
		CLEANUP_JSON json_t *message = json_pack("{s:s}", "op", "stop");
		frame_add(&out, message, NULL);
		if (frame_flush(t->fd, &out) != 0)
			log_warn("executor", "%s: its supervisor does not read", id);
	}
}

void exec_forget(struct executor *x, const char *id)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct exec_task *t = map_get(&x->tasks, str_from(id));
	if (!t || t->phase != EXEC_STOPPED)
		return;
	if (exec_bury(x, id, &err) < 0) {
		log_error("executor", "%s", error_text(&err)); /* it will be told again */
		return;
	}
	map_remove(&x->tasks, str_from(id));
	if (fork() == 0) { /* a stage may hold very many links */
		close(x->lock_fd);
		setpriority(PRIO_PROCESS, 0, 10); /* the next task may be waiting for the processor */
		exec_remove_leftovers(x, id);
		if (exec_is_kept(x, id))
			exec_limit_kept(x);
		_exit(0);
	}
	task_free(t);
}

/* ---- supervisors ---- */

/* The last change that was not told yet, as long as the task goes on. */
static void tell_changes(struct executor *x, struct exec_task *t)
{
	int64_t changes = json_get_int(t->state, "changes", 0);
	if (changes <= t->changes_told || t->phase != EXEC_LIVE)
		return;
	t->changes_told = changes;
	CLEANUP_JSON json_t *event = json_pack("{s:s,s:s,s:O}", "task", t->id, "type", "changed", "containers",
					       json_get(t->state, "containers"));
	x->tell(x, t, event);
}

static void take_state(struct executor *x, struct exec_task *t, json_t *state)
{
	json_decref(t->state);
	t->state = json_incref(state);
	json_t *event = json_get(state, "event");
	if (event) {
		if (!t->started_told && json_get_int(state, "started_at", 0)) {
			t->started_told = true;
			exec_tell_now(x, t, tell_all, x);
		}
		stopped(x, t, json_incref(event));
		exec_schedule(x);
	} else if (!t->started_told && json_get_int(state, "started_at", 0)) {
		t->started_told = true;
		exec_tell_now(x, t, tell_all, x);
	}
	tell_changes(x, t);
}

static void supervisor_gone(struct executor *x, struct exec_task *t)
{
	CLEANUP_JSON json_t *state = exec_read_json(t->exec_fd, "state.json");
	if (state)
		take_state(x, t, state);
	if (t->phase == EXEC_LIVE)
		lost(x, t);
	exec_schedule(x);
}

void exec_supervisor_ready(struct executor *x, struct exec_task *t)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (t->fd < 0)
		return;
	int n = frame_fill(t->fd, &t->in);
	if (n == -EAGAIN)
		return;
	for (int rc = 1; n > 0 && rc > 0 && t->fd >= 0;) {
		CLEANUP_JSON json_t *message = NULL;
		rc = frame_take(&t->in, FRAME_MAX_BYTES, &message, &err);
		if (rc < 0) {
			log_warn("executor", "%s: %s", t->id, error_text(&err));
			n = -EPROTO;
		} else if (rc > 0 && json_get(message, "state")) {
			take_state(x, t, json_get(message, "state"));
		}
	}
	if (n <= 0 && t->fd >= 0)
		supervisor_gone(x, t);
}

/* ---- start of the executor ---- */

static void adopt(struct executor *x, const char *id)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int fd = exec_open_task(x, id, false, &err);
	CLEANUP_JSON json_t *task = fd < 0 ? NULL : exec_read_json(fd, "task.json");
	if (!task) { /* a stage of the daemon's without a start yet, or what is left of a forgotten task */
		if (fd >= 0)
			close(fd);
		return;
	}
	struct exec_task *t = task_add(x, id, fd, task);
	const char *launched = json_get_text(task, "launched");
	t->state = exec_read_json(fd, "state.json");
	json_t *event = json_get(t->state, "event");
	if (event) {
		t->phase = EXEC_STOPPED;
		t->event = json_incref(event);
	} else if (connect_supervisor(x, t) == 0) {
		t->phase = EXEC_LIVE;
		t->gpus = json_incref(json_get(task, "gpus"));
		t->started_told = json_get_int(t->state, "started_at", 0) != 0;
		book(x, t, 1);
		log_info("executor", "%s: its supervisor lives", id);
	} else if (!launched || (!t->state && !strcmp(launched, x->boot))) {
		t->phase = EXEC_QUEUED; /* nothing of it has run */
		return;
	} else {
		t->phase = EXEC_STOPPED;
		t->event = exec_write_lost(x, id, fd, t->state);
		log_warn("executor", "%s: lost", id);
	}
	json_decref(t->task);
	t->task = NULL;
}

int exec_tasks_adopt(struct executor *x, struct error *err)
{
	DIR *d = path_list(x->tasks_fd, ".");
	if (!d)
		return error_errno(err, errno, "list the tasks");
	for (struct dirent *entry; (entry = readdir(d));)
		if (spec_id_ok(entry->d_name) && !exec_is_forgotten(x, entry->d_name))
			adopt(x, entry->d_name);
	closedir(d);
	return 0;
}

static int make_own_files(struct executor *x, struct error *err)
{
	char skeleton[64];
	CLEANUP_BUF struct buf bpf = BUF_INIT;
	if (mkdirat(x->own_fd, "forgotten", 0700) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make `forgotten`");
	if (skeleton_make(x->own_fd, skeleton, err) < 0)
		return -1;
	/* A runtime that would pass over the ready filter must get the profile instead, or nothing would be filtered.
	 */
	unlinkat(x->own_fd, "seccomp.bpf", 0);
	if (!x->machine.crun || !machine_program_knows(x->machine.runtime, "run.oci.seccomp_bpf_data"))
		return 0;
	if (seccomp_bpf_base64(&bpf, err) < 0)
		return -1;
	return path_write_atomic(x->own_fd, "seccomp.bpf", buf_str(&bpf), 0600, false, err);
}

int exec_tasks_open(struct executor *x, struct error *err)
{
	struct stat st;
	uid_t uid = x->machine.rootless ? (uid_t)-1 : (uid_t)x->options.daemon_uid;
	x->data_fd = open(x->options.data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (x->data_fd < 0)
		return error_errno(err, errno, "open data directory `%s`", x->options.data_dir);
	CLEANUP_FD int made = path_mkdirs_beneath(x->data_fd, "tasks", 0755, uid, (gid_t)x->options.daemon_gid, err);
	if (made < 0 || (x->tasks_fd = path_open_beneath(x->data_fd, "tasks", O_RDONLY | O_DIRECTORY, 0, err)) < 0)
		return -1;
	if (mkdirat(x->tasks_fd, ".exec", 0700) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make `tasks/.exec`");
	if ((x->own_fd = path_open_beneath(x->tasks_fd, ".exec", O_RDONLY | O_DIRECTORY, 0, err)) < 0)
		return -1;
	if (fstat(x->own_fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 077))
		return error_set(err, "`%s/tasks/.exec` is not the executor's alone", x->options.data_dir);
	x->lock_fd = openat(x->own_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (x->lock_fd < 0 || flock(x->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return error_errno(err, errno, "lock `%s/tasks/.exec/lock` (does another executor run?)",
				   x->options.data_dir);
	return make_own_files(x, err);
}

/* ---- what others ask ---- */

json_t *exec_list(struct executor *x)
{
	json_t *list = json_array();
	for (size_t i = 0; i < x->tasks.count; i++) {
		struct exec_task *t = x->tasks.entries[i].value;
		if (t->phase == EXEC_STOPPED)
			continue;
		json_t *one = json_object();
		const char *phase = json_get_text(t->state, "phase");
		json_set_text(one, "task", t->id);
		json_set_text(one, "state", t->phase == EXEC_QUEUED ? "queued" : phase ? phase : "starting");
		json_object_set_new(one, "containers",
				    json_get(t->state, "containers") ? json_incref(json_get(t->state, "containers"))
								     : json_array());
		json_array_append_new(list, one);
	}
	return list;
}

json_t *exec_stats(struct executor *x, const char *id)
{
	json_t *out = json_object(), *c;
	struct exec_task *t = map_get(&x->tasks, str_from(id));
	size_t i;
	if (!t || t->phase != EXEC_LIVE)
		return out;
	json_array_foreach (json_get(t->state, "containers"), i, c) {
		const char *name = json_get_text(c, "name");
		char group[SPEC_ID_MAX * 2 + 32];
		snprintf(group, sizeof(group), "/quern/%s/%s", id, name);
		int pid = (int)json_get_int(c, "pid", 0);
		if (pid > 0 && process_start(pid) != json_get_int(c, "pid_start", -1))
			pid = 0; /* it has ended, and the number is another's */
		json_t *one = stats_read(x->machine.cgroup, group, pid);
		json_copy_key(one, c, "restarts");
		json_object_set_new(out, name, one);
	}
	return out;
}

json_t *exec_machine(struct executor *x)
{
	json_t *m = json_object(), *notes = json_array();
	json_set_real(m, "cpus", x->machine.cpus);
	json_set_int(m, "memory", x->machine.memory_bytes);
	json_set_real(m, "cpus_free", x->machine.cpus - x->cpus_used);
	json_set_int(m, "memory_free", x->machine.memory_bytes - x->memory_used);
	json_object_set_new(m, "gpus", exec_gpus_list(x));
	json_set_int(m, "gpus_free", (int64_t)exec_gpus_count(x, true));
	json_object_set_new(m, "runtime", x->machine.runtime ? json_string(x->machine.runtime) : json_null());
	json_set_text(m, "cgroup_mode", cgroup_mode_name(x->machine.cgroup));
	json_set_bool(m, "rootless", x->machine.rootless);
	for (size_t i = 0; x->machine.notes[i]; i++)
		json_array_append_new(notes, json_string(x->machine.notes[i]));
	json_object_set_new(m, "notes", notes);
	return m;
}

void exec_tasks_close(struct executor *x)
{
	for (size_t i = 0; i < x->tasks.count; i++)
		task_free(x->tasks.entries[i].value);
	map_release(&x->tasks);
	const int fds[] = { x->data_fd, x->tasks_fd, x->own_fd, x->lock_fd, x->runtime_fd };
	for (size_t i = 0; i < 5; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}
