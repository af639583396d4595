/* exec_session.c - a command in a container for somebody who has no terminal here: the request "exec" (executor.c).
 *
 * DESIGN: a child of the executor makes a terminal, hands its master over the client's connection and goes the way of
 * `quern exec` (enter.h) on the other side. Nothing of the session passes the executor. When the last copy of the
 * master is closed the kernel hangs the terminal up, and terminal.c ends the command. The master gives its reader end
 * of file when the child has ended. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "base/json.h"
#include "task/enter.h"
#include "task/exec.h"
#include "task/frame.h"
#include "task/sup.h"

struct session {
	struct arena arena;
	struct enter target;
	char **command;
	int master, slave;
};

/* The array of texts as a NULL-ended list, or NULL when it is something else. */
static char **text_list(struct arena *a, const json_t *array, size_t min)
{
	size_t n = json_array_size(array), i;
	char **list = ARENA_ARRAY(a, char *, n + 1);
	json_t *one;
	json_array_foreach (array, i, one) {
		if (!json_is_string(one))
			return NULL;
		list[i] = arena_strdup(a, json_str(one));
	}
	list[n] = NULL;
	return n < min ? NULL : list;
}

/* Bytes go through it as they are: the terminal that counts is the container's. */
static int open_terminal(struct session *s, const json_t *message, struct error *err)
{
	struct termios raw;
	struct winsize size = { .ws_row = (unsigned short)json_get_int(message, "rows", 24),
				.ws_col = (unsigned short)json_get_int(message, "cols", 80) };
	s->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s->master < 0 || grantpt(s->master) < 0 || unlockpt(s->master) < 0)
		return error_errno(err, errno, "make a terminal");
	s->slave = ioctl(s->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s->slave < 0 || tcgetattr(s->slave, &raw) < 0)
		return error_errno(err, errno, "open a terminal");
	cfmakeraw(&raw);
	if (tcsetattr(s->slave, TCSANOW, &raw) < 0 || ioctl(s->slave, TIOCSWINSZ, &size) < 0)
		return error_errno(err, errno, "set a terminal up");
	return 0;
}

static int prepare(struct session *s, struct executor *x, const json_t *message, struct error *err)
{
	const char *task = json_get_text(message, "task");
	s->command = text_list(&s->arena, json_get(message, "command"), 1);
	char **env = text_list(&s->arena, json_get(message, "env"), 0);
	if (!s->command || !env)
		return error_aws(err, "ValidationException", "`command` and `env` must be lists of texts");
	if (enter_find(&s->arena, x->options.data_dir, task, json_get_text(message, "container"), &s->target, err) < 0)
		return -1;
	s->target.env = (const char *const *)env;
	if (json_get_bool(message, "root", false))
		s->target.uid = s->target.gid = 0;
	return open_terminal(s, message, err);
}

/* In one piece: who has the descriptor may close at once. */
static int hand_over(int client, const struct buf *answer, int master)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec io = { answer->ptr, answer->len };
	struct msghdr message = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &master, sizeof(int));
	if (master < 0)
		message.msg_control = NULL, message.msg_controllen = 0;
	return sendmsg(client, &message, MSG_NOSIGNAL) == (ssize_t)answer->len ? 0 : -1;
}

static int answer(int client, int64_t n, int master, const struct error *err)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	CLEANUP_JSON json_t *message = json_object();
	json_set_int(message, "re", n);
	json_set_bool(message, "ok", !err);
	if (err)
		json_object_set_new(message, "error",
				    json_pack("{s:s,s:s}", "code", err->code, "message", error_text(err)));
	return frame_add(&text, message, NULL) < 0 ? -1 : hand_over(client, &text, master);
}

/* From here 0, 1 and 2 are the terminal's, and nothing else of ours is open. */
static void take_terminal(struct session *s)
{
	ioctl(s->slave, TIOCSCTTY, 0);
	for (int fd = 0; fd < 3; fd++)
		dup2(s->slave, fd);
	close_range(3, ~0u, 0);
}

static int run(struct executor *x, int client, const json_t *message)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct session s = { .master = -1, .slave = -1 };
	char title[256];
	int64_t n = json_get_int(message, "n", 0);
	fcntl(client, F_SETFL, 0); /* ours alone now: it may block */
	if (prepare(&s, x, message, &err) < 0) {
		answer(client, n, -1, &err);
		return 1;
	}
	snprintf(title, sizeof(title), "quern exec %s", s.target.task);
	process_set_title("quern-exec", title);
	if (answer(client, n, s.master, NULL) < 0)
		return 1;
	take_terminal(&s);
	int rc = enter_run(&s.arena, &s.target, s.command, &err);
	if (rc < 0)
		dprintf(1, "%s\r\n", error_text(&err));
	return rc < 0 ? 1 : rc;
}

int exec_session(struct executor *x, int client, const json_t *message, struct error *err)
{
	pid_t pid = fork();
	if (pid < 0)
		return error_errno(err, errno, "fork a session");
	if (pid)
		return 0;
	sigset_t none;
	sigemptyset(&none);
	setsid();
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	_exit(run(x, client, message));
}
