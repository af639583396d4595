/* share.c - see share.h. */
#include "task/share.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "task/path.h"

/* ---- processes ---- */

/* `parent`: the supervisor's end is closed when it has gone. It reads one byte when it has opened our name space, and
 * is told when nobody can look into us any more. */
static _Noreturn void hold(int parent)
{
	char byte;
	process_set_title("quern-pause", "quern pause");
	signal(SIGCHLD, SIG_IGN); /* the kernel reaps for us */
	parent = dup2(parent, 0);
	close_range(1, ~0u, 0);
	if (read(parent, &byte, 1) != 1 || prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
	    send(parent, &byte, 1, MSG_NOSIGNAL) != 1)
		_exit(1);
	close(parent);
	for (;;)
		pause();
}

static int make_pid_ns(struct sup *s, struct error *err)
{
	int ends[2];
	char path[64], byte = 'h';
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(err, errno, "make a pair of sockets");
	/* Not unshare(2): every later child of ours would be in there. */
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0) {
		close(ends[0]);
		hold(ends[1]);
	}
	CLEANUP_FD int holder = ends[0];
	int e = errno;
	close(ends[1]);
	if (pid < 0)
		return error_errno(err, e, "make a PID name space");
	s->holder = pid;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	s->pid_ns = open(path, O_RDONLY | O_CLOEXEC);
	if (s->pid_ns < 0)
		return error_errno(err, errno, "open `%s`", path);
	if (send(holder, &byte, 1, MSG_NOSIGNAL) != 1 || recv(holder, &byte, 1, 0) != 1)
		return error_set(err, "the holder of the PID name space has ended");
	return 0;
}

bool share_child_ended(struct sup *s, pid_t pid)
{
	if (!s->holder || pid != s->holder)
		return false;
	s->holder = 0;
	return true;
}

void share_end_container(struct sup_container *c)
{
	if (c->sup->spec.shared_pid)
		cgroup_kill(c->sup->cgroup, c->group);
}

void share_end(struct sup *s)
{
	if (!s->holder)
		return;
	kill(s->holder, SIGKILL);
	/* It ends after all others, and some of those may be ours to reap. */
	for (pid_t pid = 0; s->holder && (pid >= 0 || errno == EINTR);) {
		pid = waitpid(-1, NULL, 0);
		share_child_ended(s, pid);
	}
}

/* ---- IPC ---- */

/* They are those of the name space that we are in. */
static int set_sysctls(const struct sup_container *c, struct error *err)
{
	for (size_t i = 0; i < c->spec->nsysctls; i++) {
		const struct spec_sysctl *one = &c->spec->sysctls[i];
		char path[256] = "/proc/sys/";
		size_t at = strlen(path);
		if (!spec_is_ipc_sysctl(one->name))
			continue;
		for (const char *p = one->name; *p && at < sizeof(path) - 1; p++)
			path[at++] = *p == '.' ? '/' : *p;
		int rc = path_put(path, one->value);
		if (rc < 0)
			return error_errno(err, -rc, "write `%s` to %s", one->value, one->name);
	}
	return 0;
}

struct maker {
	struct sup *sup;
	struct error err;
	int rc;
};

static int make_in_thread(struct sup *s, struct error *err)
{
	if (unshare(CLONE_NEWIPC) < 0)
		return error_errno(err, errno, "make an IPC name space");
	s->ipc_ns = open("/proc/thread-self/ns/ipc", O_RDONLY | O_CLOEXEC);
	if (s->ipc_ns < 0)
		return error_errno(err, errno, "open the IPC name space");
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		if (set_sysctls(&s->containers[i], err) < 0)
			return -1;
	return 0;
}

static void *ipc_main(void *arg)
{
	struct maker *m = arg;
	m->rc = make_in_thread(m->sup, &m->err);
	return NULL;
}

/* What each of them may have by itself, the largest of them is for all. */
static int make_shm(struct sup *s, struct error *err)
{
	int64_t size = 0;
	char options[64];
	const char *target = arena_printf(&s->arena, "%s/shm", s->priv);
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		size = s->spec.containers[i].shm_bytes > size ? s->spec.containers[i].shm_bytes : size;
	snprintf(options, sizeof(options), "mode=1777,size=%lld", (long long)(size ? size : SPEC_SHM_BYTES));
	if (mkdir(target, 0755) < 0 || mount("shm", target, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0)
		return error_errno(err, errno, "mount `%s`", target);
	s->shm = target;
	return 0;
}

static int make_ipc_ns(struct sup *s, struct error *err)
{
	struct maker m = { .sup = s, .err = ERROR_INIT };
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, ipc_main, &m);
	if (rc)
		return error_errno(err, rc, "start a thread");
	pthread_join(thread, NULL);
	if (m.rc < 0) {
		error_move(err, &m.err);
		return -1;
	}
	return make_shm(s, err);
}

int share_begin(struct sup *s, struct error *err)
{
	if (s->spec.shared_pid && make_pid_ns(s, err) < 0)
		return -1;
	return s->spec.ipc == IPC_TASK ? make_ipc_ns(s, err) : 0;
}
