/* sup_open.c - the first part of a supervisor's life: what it is to run, and a place of its own for it. Also the first
 * part of debug.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "task/frame.h"
#include "task/path.h"
#include "task/sup.h"

void sup_init(struct sup *s)
{
	*s = (struct sup){ .runtime_fd = -1,
			   .data_fd = -1,
			   .task_fd = -1,
			   .exec_fd = -1,
			   .cache_fd = -1,
			   .epoll = -1,
			   .signals = -1,
			   .listener = -1,
			   .synced = -1,
			   .pid_ns = -1,
			   .ipc_ns = -1 };
	for (int i = 0; i < SUP_PEERS; i++)
		s->peers[i].fd = -1;
}

static int read_task(struct sup *s, const char *task_dir, struct error *err)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	struct stat st;
	s->task_fd = open(task_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	s->exec_fd = s->task_fd < 0 ? -1 : openat(s->task_fd, "exec", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->exec_fd < 0 || fstat(s->exec_fd, &st) < 0)
		return error_errno(err, errno, "open `%s/exec`", task_dir);
	if (st.st_uid != geteuid() || (st.st_mode & 077))
		return error_set(err, "`%s/exec` is not ours alone", task_dir);
	if (path_read(s->exec_fd, "task.json", 2 * FRAME_MAX_BYTES, &text, err) < 0)
		return -1;
	s->task_bytes = text.len;
	s->task = json_parse(buf_str(&text), err);
	return s->task ? 0 : error_wrap(err, "task.json");
}

static int read_options(struct sup *s, struct error *err)
{
	const json_t *o = json_get(s->task, "options");
	s->data_dir = json_get_text(o, "data_dir");
	s->images_dir = json_get_text(o, "images_dir");
	s->runtime_path = json_get_text(o, "runtime");
	s->slirp = json_get_text(o, "slirp");
	s->crun = json_get_bool(o, "crun", false);
	s->rootless = json_get_bool(o, "rootless", false);
	s->cgroup = cgroup_mode_of(json_get_text(o, "cgroup"));
	s->daemon_uid = (uid_t)json_get_int(o, "daemon_uid", geteuid());
	s->daemon_gid = (gid_t)json_get_int(o, "daemon_gid", getegid());
	s->api_port = (uint16_t)json_get_int(o, "api_port", 0);
	s->notes = json_array();
	json_array_extend(s->notes, json_get(s->task, "notes"));
	if (!s->data_dir || !s->images_dir)
		return error_set(err, "task.json has no options");
	return spec_parse(&s->arena, json_get(s->task, "spec"), s->data_dir, &s->spec, err);
}

/* Opens all again inside the new mount namespace (a mount is made only from there). Everything after this is reached by
 * descriptor or through the private tmpfs: x = exec, e = the executor's directory. */
static int open_dirs(struct sup *s, struct error *err)
{
	close(s->exec_fd);
	close(s->task_fd);
	s->exec_fd = s->task_fd = -1;
	const char *task = arena_printf(&s->arena, "tasks/%s", s->spec.id);
	char source[64];
	s->data_fd = open(s->data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->data_fd < 0)
		return error_errno(err, errno, "open `%s`", s->data_dir);
	if ((s->task_fd = path_open_beneath(s->data_fd, task, O_RDONLY | O_DIRECTORY, 0, err)) < 0 ||
	    (s->exec_fd = path_open_beneath(s->task_fd, "exec", O_RDONLY | O_DIRECTORY, 0, err)) < 0 ||
	    (s->cache_fd = path_open_beneath(s->data_fd, "tasks/.exec", O_RDONLY | O_DIRECTORY, 0, err)) < 0)
		return -1;
	const struct {
		const char *name;
		int fd;
	} binds[] = { { "x", s->exec_fd }, { "e", s->cache_fd } };
	for (size_t i = 0; i < 2; i++) {
		struct stat st;
		const char *target = arena_printf(&s->arena, "%s/%s", s->priv, binds[i].name);
		snprintf(source, sizeof(source), "/proc/self/fd/%d", binds[i].fd);
		if (fstat(binds[i].fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 077))
			return error_set(err, "a directory of the executor is not ours alone");
		if (mkdir(target, 0700) < 0 || mount(source, target, NULL, MS_BIND, NULL) < 0)
			return error_errno(err, errno, "bind to `%s`", target);
	}
	if (mkdirat(s->exec_fd, "s", 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make the scratch directories");
	return 0;
}

static void read_seccomp(struct sup *s)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	if (s->crun && path_read(s->cache_fd, "seccomp.bpf", 1 << 20, &text, NULL) == 0 && text.len)
		s->seccomp_bpf = arena_strdup(&s->arena, buf_str(&text));
}

static void init_containers(struct sup *s)
{
	s->containers = ARENA_ARRAY(&s->arena, struct sup_container, s->spec.ncontainers);
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		struct sup_container *c = &s->containers[i];
		*c = (struct sup_container){ .sup = s,
					     .spec = &s->spec.containers[i],
					     .index = i,
					     .root = -1,
					     .netns = -1,
					     .pidfd = -1,
					     .go = -1,
					     .log = LOGPUMP_INIT,
					     .errors = LOGPUMP_INIT,
					     .forward = { .fd = -1 },
					     .console = -1,
					     .input = -1,
					     .exit_code = -1,
					     .signal = -1 };
		c->usage = (struct cgroup_usage){ .cpu_ms = -1, .memory_peak_bytes = -1 };
		c->dir = arena_printf(&s->arena, "%s/c%zu", s->priv, i);
		c->group = arena_printf(&s->arena, "/quern/%s/%s", s->spec.id, c->spec->name);
	}
}

int sup_read(struct sup *s, const char *task_dir, struct error *err)
{
	if (read_task(s, task_dir, err) < 0 || read_options(s, err) < 0)
		return -1;
	s->priv = s->rootless ? arena_printf(&s->arena, "%s/exec/m", task_dir) : "/run/quern";
	init_containers(s);
	return 0;
}

int sup_open(struct sup *s, struct error *err)
{
	if (sup_private_mounts(s, err) < 0 || open_dirs(s, err) < 0)
		return -1;
	if (!s->runtime_path)
		return error_set(err, "CannotStartContainerError: no OCI runtime (crun or runc) on this machine");
	read_seccomp(s);
	return 0;
}
