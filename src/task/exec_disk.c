/* exec_disk.c - the executor's view of tasks on disk; see exec.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "task/exec.h"
#include "task/frame.h"
#include "task/path.h"
#include "task/sup.h"

#define TOMBSTONE_DAYS 7

int exec_open_task(struct executor *x, const char *id, bool make, struct error *err)
{
	uid_t uid = x->machine.rootless ? (uid_t)-1 : (uid_t)x->options.daemon_uid;
	CLEANUP_FD int dir = make ? path_mkdirs_beneath(x->tasks_fd, id, 0755, uid, (gid_t)x->options.daemon_gid, err)
				  : path_open_beneath(x->tasks_fd, id, O_PATH | O_DIRECTORY, 0, err);
	if (dir < 0)
		return -1;
	if (make && mkdirat(dir, "exec", 0700) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make `tasks/%s/exec`", id);
	int fd = path_open_beneath(dir, "exec", O_RDONLY | O_DIRECTORY, 0, err);
	struct stat st;
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 077)) {
		close(fd);
		return error_set(err, "`tasks/%s/exec` is not the executor's alone", id);
	}
	return fd;
}

bool exec_is_forgotten(struct executor *x, const char *id)
{
	CLEANUP_FD int dir = openat(x->own_fd, "forgotten", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return faccessat(dir, id, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int exec_write_task(struct executor *x, int exec_fd, const json_t *task, bool sync, struct error *err)
{
	CLEANUP_FREE char *text = json_text_dup(task);
	return path_write_atomic(exec_fd, "task.json", str_from(text), 0600, sync, err);
}

json_t *exec_read_json(int exec_fd, const char *name)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int rc = path_read(exec_fd, name, (size_t)2 * FRAME_MAX_BYTES, &text, &err);
	json_t *value = rc == 0 ? json_parse(buf_str(&text), &err) : NULL;
	if (!value && rc != -ENOENT)
		log_warn("executor", "%s: %s", name, error_text(&err));
	return value;
}

int exec_bury(struct executor *x, const char *id, struct error *err)
{
	CLEANUP_FD int dir = openat(x->own_fd, "forgotten", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP_FD int fd = dir < 0 ? -1 : openat(dir, id, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fsync(dir) < 0)
		return error_errno(err, errno, "make tombstone `%s`", id);
	return 0;
}

static int write_state(int exec_fd, const char *id, json_t *event)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *state = json_object();
	json_set_text(state, "id", id);
	json_set_text(state, "phase", "stopped");
	json_object_set(state, "event", event);
	CLEANUP_FREE char *text = json_text_dup(state);
	int rc = path_write_atomic(exec_fd, "state.json", str_from(text), 0600, true, &err);
	if (rc < 0)
		log_error("executor", "%s: %s", id, error_text(&err));
	return rc;
}

static json_t *stopped_event(const char *id, const char *reason, const char *error, json_t *containers, json_t *notes)
{
	json_t *event = json_object();
	json_set_text(event, "task", id);
	json_set_text(event, "type", "stopped");
	json_set_int(event, "at", clock_now_ms());
	json_object_set_new(event, "started_at", json_null());
	json_set_text(event, "reason", reason);
	json_object_set_new(event, "error", error ? json_string(error) : json_null());
	json_object_set_new(event, "containers", containers);
	json_object_set_new(event, "notes", notes ? json_incref(notes) : json_array());
	json_object_set_new(event, "texts", json_object());
	json_object_set_new(event, "outputs", json_array());
	return event;
}

static json_t *blank_container(const char *name)
{
	return json_pack("{s:s?,s:n,s:n,s:b,s:n,s:n,s:n,s:i,s:i}", "name", name, "exit_code", "signal", "oom", 0,
			 "started_at", "finished_at", "error", "cpu_ms", 0, "memory_peak", 0);
}

json_t *exec_write_unstarted(struct executor *x, const char *id, int exec_fd, const json_t *task, const char *reason)
{
	json_t *list = json_array(), *one;
	size_t i;
	json_array_foreach (json_get_path(task, "spec.containers"), i, one)
		json_array_append_new(list, blank_container(json_get_text(one, "name")));
	json_t *event = stopped_event(id, reason, NULL, list, json_get(task, "notes"));
	write_state(exec_fd, id, event);
	return event;
}

/* The recorded first processes, when they still are the same ones (start time); with their pid namespace all of theirs
 * goes. */
static void kill_recorded(const json_t *containers)
{
	size_t i;
	json_t *one;
	json_array_foreach ((json_t *)containers, i, one) {
		int64_t pid = json_get_int(one, "pid", 0), start = json_get_int(one, "pid_start", -1);
		if (pid > 1 && start > 0 && process_start((pid_t)pid) == start)
			kill((pid_t)pid, SIGKILL);
	}
}

json_t *exec_write_lost(struct executor *x, const char *id, int exec_fd, const json_t *state)
{
	CLEANUP_JSON json_t *task = exec_read_json(exec_fd, "task.json");
	const json_t *recorded = json_get(state, "containers");
	json_t *list = json_array(), *one;
	size_t i;
	kill_recorded(recorded);
	json_array_foreach (json_get_path(task, "spec.containers"), i, one) {
		const char *name = json_get_text(one, "name");
		json_t *was = json_array_get(recorded, i), *now = blank_container(name);
		char group[SPEC_ID_MAX * 2 + 32];
		snprintf(group, sizeof(group), "/quern/%s/%s", id, name ? name : "");
		cgroup_kill(x->machine.cgroup, group);
		cgroup_remove(x->machine.cgroup, group);
		static const char *const keys[] = {
			"exit_code", "signal", "oom", "started_at", "finished_at", "error"
		};
		for (size_t k = 0; k < sizeof(keys) / sizeof(*keys); k++)
			json_copy_key(now, was, keys[k]);
		if (json_get(now, "started_at") && !json_get(now, "finished_at"))
			json_set_int(now, "finished_at", clock_now_ms());
		json_array_append_new(list, now);
	}
	char group[SPEC_ID_MAX + 32];
	snprintf(group, sizeof(group), "/quern/%s", id);
	cgroup_remove(x->machine.cgroup, group);
	json_t *notes = json_get(state, "notes") ? json_get(state, "notes") : json_get(task, "notes");
	json_t *event = stopped_event(
		id, "lost",
		"TaskLost: the task's supervisor ended before the task did (the machine restarted, or it was killed)",
		list, notes);
	json_copy_key(event, state, "started_at");
	write_state(exec_fd, id, event);
	path_remove_tree(exec_fd, "u", NULL);
	path_remove_tree(exec_fd, "s", NULL);
	return event;
}

/* All of a forgotten task but out/, which the daemon takes files from; out/ too when it is empty. Of one that is kept,
 * exec/ stays. */
void exec_remove_leftovers(struct executor *x, const char *id)
{
	CLEANUP_FD int dir = path_open_beneath(x->tasks_fd, id, O_RDONLY | O_DIRECTORY, 0, NULL);
	DIR *d = dir < 0 ? NULL : path_list(dir, ".");
	bool kept = exec_is_kept(x, id);
	if (!d)
		return;
	for (struct dirent *entry; (entry = readdir(d));)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && strcmp(entry->d_name, "out") &&
		    !(kept && !strcmp(entry->d_name, "exec")))
			path_remove_tree(dir, entry->d_name, NULL);
	closedir(d);
	/* Directories of out/ that the daemon has emptied. */
	CLEANUP_FD int out = openat(dir, "out", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	d = out < 0 ? NULL : path_list(out, ".");
	for (struct dirent *entry; d && (entry = readdir(d));)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(out, entry->d_name, AT_REMOVEDIR);
	if (d)
		closedir(d);
	unlinkat(dir, "out", AT_REMOVEDIR);
	unlinkat(x->tasks_fd, id, AT_REMOVEDIR);
}

static void prune(struct executor *x)
{
	CLEANUP_FD int dir = openat(x->own_fd, "forgotten", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = dir < 0 ? NULL : path_list(dir, ".");
	time_t now = time(NULL);
	exec_limit_kept(x);
	for (struct dirent *entry; d && (entry = readdir(d));) {
		struct stat st;
		if (!spec_id_ok(entry->d_name) || fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		exec_remove_leftovers(x, entry->d_name);
		if (now - st.st_mtime > TOMBSTONE_DAYS * 86400) {
			path_remove_tree(x->tasks_fd, entry->d_name, NULL);
			unlinkat(dir, entry->d_name, 0);
		}
	}
	if (d)
		closedir(d);
}

void exec_prune(struct executor *x)
{
	if (fork() == 0) {
		close(x->lock_fd); /* else the lock would outlive the executor */
		prune(x);
		_exit(0);
	}
}
