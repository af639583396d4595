/* egress.c - see egress.h. */
#include "task/egress.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"

#define READY_MS 10000

struct slirp {
	int pidfd; /* or -1 */
	int said;  /* read once; open so that it may go on speaking */
};

struct egress {
	int end; /* closed, by us or by our end, it ends them */
	size_t n;
	struct slirp all[];
};

/* The child's descriptors: 2 what it says, 3 it is ready, 4 it shall end, 5 the namespace. The sources are above. */
static int spawn(const char *program, const int from[4], pid_t *pid)
{
	char *const argv[] = { "slirp4netns",
			       "--configure",
			       "--mtu=65520",
			       "--cidr",
			       EGRESS_NETWORK,
			       "--disable-host-loopback",
			       "--enable-sandbox",
			       "--enable-seccomp",
			       "--netns-type=path",
			       "--ready-fd=3",
			       "--exit-fd=4",
			       "/proc/self/fd/5",
			       "tap0",
			       NULL };
	char *const env[] = { NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	for (int i = 0; i < 4; i++)
		posix_spawn_file_actions_adddup2(&actions, from[i], 2 + i);
	posix_spawn_file_actions_addclosefrom_np(&actions, 6);
	int rc = posix_spawn(pid, program, &actions, &attributes, argv, env);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

/* Both ends above what the child has. Nobody waits in it: a full one loses what is written. */
static int make_pipe(int ends[2], struct error *err)
{
	int low[2];
	if (pipe2(low, O_CLOEXEC | O_NONBLOCK) < 0)
		return error_errno(err, errno, "make a pipe");
	for (int i = 0; i < 2; i++) {
		ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 6);
		close(low[i]);
	}
	return ends[0] < 0 || ends[1] < 0 ? error_errno(err, EMFILE, "make a pipe") : 0;
}

/* It writes a byte when the device is there; else it has said why not. */
static int wait_ready(int ready, int said, struct error *err)
{
	struct pollfd fd = { ready, POLLIN, 0 };
	char byte, text[512];
	int rc;
	do
		rc = poll(&fd, 1, READY_MS);
	while (rc < 0 && errno == EINTR);
	if (rc == 0)
		return error_set(err, "slirp4netns is not ready after %d s", READY_MS / 1000);
	if (read(ready, &byte, 1) == 1)
		return 0;
	ssize_t n = read(said, text, sizeof(text));
	struct str why = n > 0 ? str_trim(str_of(text, (size_t)n)) : STR("it has ended");
	return error_set(err, "slirp4netns: %.*s", STR_ARG(why));
}

static int open_one(struct egress *e, const char *program, int end, int netns, struct error *err)
{
	CLEANUP_FD int ns = fcntl(netns, F_DUPFD_CLOEXEC, 6);
	int ready[2] = { -1, -1 }, said[2] = { -1, -1 };
	pid_t pid;
	if (ns < 0)
		return error_errno(err, errno, "hold a network namespace");
	int rc = make_pipe(ready, err) < 0 || make_pipe(said, err) < 0 ? -1 : 0;
	CLEANUP_FD int is_ready = ready[0], to_say = said[1];
	struct slirp *one = &e->all[e->n];
	*one = (struct slirp){ .said = said[0], .pidfd = -1 };
	e->n++;
	int failed = rc < 0 ? 0 : spawn(program, (const int[]){ to_say, ready[1], end, ns }, &pid);
	if (ready[1] >= 0)
		close(ready[1]); /* now it is the child's alone */
	if (failed)
		return error_errno(err, failed, "start %s", program);
	if (rc < 0)
		return rc;
	one->pidfd = pidfd_open(pid, 0);
	return wait_ready(is_ready, one->said, err);
}

int egress_start(const char *program, const int *netns, size_t n, struct egress **out, struct error *err)
{
	int end[2] = { -1, -1 };
	struct egress *e = *out = mem_calloc(1, sizeof(*e) + n * sizeof(*e->all));
	int rc = make_pipe(end, err);
	CLEANUP_FD int theirs = end[0];
	e->end = end[1];
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = open_one(e, program, theirs, netns[i], err);
	return rc;
}

void egress_stop(struct egress *e)
{
	if (!e)
		return;
	fd_cleanup_close(&e->end);
	for (size_t i = 0; i < e->n; i++) {
		struct slirp *one = &e->all[i];
		if (one->pidfd >= 0) {
			pidfd_send_signal(one->pidfd, SIGKILL, NULL, 0); /* it has nothing to put in order */
			waitid(P_PIDFD, (id_t)one->pidfd, NULL, WEXITED);
		}
		fd_cleanup_close(&one->pidfd);
		fd_cleanup_close(&one->said);
	}
	free(e);
}
