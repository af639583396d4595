/* terminal.c - see terminal.h. */
#include "task/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "task/path.h"

enum { HANGUP_WAIT_MS = 2000 };

struct terminal {
	int listener, signals, master; /* master -1: not there yet, or closed */
	pid_t pid;
	int status;                     /* of wait(2); -1 while it runs */
	bool input_ended, gone, killed; /* gone: our terminal; killed: the last means were used */
	char pending[4096];             /* typed, not taken yet */
	size_t npending;
};

static int listen_here(const char *name, struct error *err)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_errno(err, errno, "make a socket");
	unlink(name);
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1) < 0) {
		int e = errno;
		close(fd);
		return error_errno(err, e, "listen at `%s`", name);
	}
	return fd;
}

static void copy_size(const struct terminal *t)
{
	struct winsize size;
	if (t->master >= 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
		ioctl(t->master, TIOCSWINSZ, &size);
}

int terminal_receive(int fd)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec io = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	int master;
	if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC) <= 0)
		return -1;
	const struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -1;
	memcpy(&master, CMSG_DATA(c), sizeof(int));
	fcntl(master, F_SETFL, O_NONBLOCK);
	return master;
}

int terminal_take(int listener)
{
	CLEANUP_FD int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return fd < 0 ? -1 : terminal_receive(fd);
}

static void take_master(struct terminal *t)
{
	t->master = terminal_take(t->listener);
	copy_size(t);
}

static void on_signals(struct terminal *t)
{
	struct signalfd_siginfo info;
	while (read(t->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGWINCH)
			copy_size(t);
		else if (info.ssi_signo == SIGCHLD)
			(void)(waitpid(t->pid, &t->status, WNOHANG) == t->pid || (t->status = -1));
		else if (info.ssi_signo == SIGHUP)
			t->gone = true;
		else
			kill(t->pid, (int)info.ssi_signo);
	}
}

static void close_master(struct terminal *t)
{
	if (t->master >= 0)
		close(t->master);
	t->master = -1;
}

/* What the container wrote. false: there is nothing (more). */
static bool show_output(struct terminal *t)
{
	char text[16384];
	ssize_t n = t->master < 0 ? -1 : read(t->master, text, sizeof(text));
	if (n > 0)
		return fd_write_all(STDOUT_FILENO, text, (size_t)n) == 0;
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) /* nobody has the other side open */
		close_master(t);
	return false;
}

static void take_input(struct terminal *t)
{
	ssize_t n = read(STDIN_FILENO, t->pending, sizeof(t->pending));
	t->input_ended = n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
	t->npending = n > 0 ? (size_t)n : 0;
}

static void give_input(struct terminal *t)
{
	ssize_t n = write(t->master, t->pending, t->npending);
	if (n <= 0)
		return;
	t->npending -= (size_t)n;
	memmove(t->pending, t->pending + n, t->npending);
}

static _Noreturn void child(char *const *argv)
{
	sigset_t none;
	sigemptyset(&none);
	setpgid(0,
		0); /* a hang-up of our terminal is not the runtime's: it stays and waits for the container's process */
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(argv[0], argv);
	fprintf(stderr, "run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* What still runs without its terminal: the first process of a container heeds no SIGHUP. The runtime waits for it, so
 * that its number is nobody else's. */
static void end_it(struct terminal *t, const char *pid_file)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	int64_t pid = 0;
	t->killed = true;
	if (path_read(AT_FDCWD, pid_file, 32, &text, NULL) == 0)
		str_to_i64(str_trim(buf_str(&text)), &pid);
	kill(pid > 1 ? (pid_t)pid : t->pid, SIGKILL);
}

static void join(struct terminal *t, const char *pid_file)
{
	while (t->status < 0) {
		if (t->gone)
			close_master(t);
		bool typed = t->master >= 0 && !t->npending && !t->input_ended;
		struct pollfd fds[] = { { t->signals, POLLIN, 0 },
					{ t->master < 0 ? t->listener : -1, POLLIN, 0 },
					{ t->master, (short)(POLLIN | (t->npending ? POLLOUT : 0)), 0 },
					{ typed ? STDIN_FILENO : -1, POLLIN, 0 } };
		int ready = poll(fds, 4, t->gone && !t->killed ? HANGUP_WAIT_MS : -1);
		if (ready == 0)
			end_it(t, pid_file);
		if (ready <= 0)
			continue;
		if (fds[3].revents)
			take_input(t);
		if (fds[2].revents & POLLOUT)
			give_input(t);
		if (fds[2].revents & (POLLIN | POLLHUP | POLLERR))
			show_output(t);
		if (fds[1].revents)
			take_master(t);
		if (fds[0].revents)
			on_signals(t);
	}
	while (show_output(t))
		;
}

int terminal_run(char *const *argv, const char *name, const char *pid_file, struct error *err)
{
	struct terminal t = { .master = -1, .status = -1 };
	struct termios before, raw;
	sigset_t set;
	CLEANUP_FD int listener = listen_here(name, err);
	if (listener < 0)
		return -1;
	sigemptyset(&set);
	const int caught[] = { SIGWINCH, SIGCHLD, SIGTERM, SIGHUP, SIGINT, SIGQUIT };
	for (size_t i = 0; i < sizeof(caught) / sizeof(*caught); i++)
		sigaddset(&set, caught[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	CLEANUP_FD int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0 || tcgetattr(STDIN_FILENO, &before) < 0)
		return error_errno(err, errno, "use the terminal");
	t.listener = listener;
	t.signals = signals;
	t.pid = fork();
	if (t.pid < 0)
		return error_errno(err, errno, "fork");
	if (t.pid == 0)
		child(argv);
	raw = before;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	join(&t, pid_file);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
	close_master(&t);
	unlink(name);
	unlink(pid_file);
	return WIFSIGNALED(t.status) ? 128 + WTERMSIG(t.status) : WEXITSTATUS(t.status);
}
