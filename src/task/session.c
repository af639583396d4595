/* session.c - the daemon's side of exec_session.c: a connection of its own to the executor, which ends with the answer.
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "task/client.h"
#include "task/frame.h"
#include "task/path.h"
#include "task/terminal.h"

enum { WAIT_MS = 10000, ANSWER_MAX = 65536 };

/* True when something can be read; false: not in time, or `stop` says that nobody wants it any more. */
static bool wait_for(int fd, int stop, int64_t until_ms)
{
	struct pollfd fds[] = { { fd, POLLIN, 0 }, { stop, POLLIN, 0 } };
	for (;;) {
		int64_t left = until_ms - clock_monotonic_us() / 1000;
		int ready = left <= 0 ? 0 : poll(fds, 2, (int)left);
		if (ready < 0 && errno == EINTR)
			continue;
		return ready > 0 && !fds[1].revents;
	}
}

/* What went wrong, as the executor says it. */
static int read_error(int fd, int stop, int64_t until_ms, struct error *err)
{
	CLEANUP_BUF struct buf in = BUF_INIT;
	CLEANUP_JSON json_t *message = NULL;
	buf_add_char(&in, 0); /* the byte that could have carried a descriptor: the length's first */
	int rc = 0;
	while ((rc = frame_take(&in, ANSWER_MAX, &message, NULL)) == 0)
		if (!wait_for(fd, stop, until_ms) || frame_fill(fd, &in) <= 0)
			break;
	const json_t *why = json_get(message, "error");
	if (rc <= 0 || !why)
		return error_set(err, "the executor gave no terminal");
	return error_aws(err, json_get_text(why, "code"), "%s", json_get_text(why, "message"));
}

int task_open_terminal(struct task_client *c, const struct task_command *what, int stop, int *terminal,
		       struct error *err)
{
	int64_t until_ms = clock_monotonic_us() / 1000 + WAIT_MS;
	CLEANUP_BUF struct buf out = BUF_INIT;
	CLEANUP_JSON json_t *env = json_array(), *message = json_object();
	for (size_t i = 0; what->env && what->env[i]; i++)
		json_array_append_new(env, json_string(what->env[i]));
	json_set_text(message, "op", "exec");
	json_set_text(message, "task", what->task);
	json_set_text(message, "container", what->container);
	json_object_set(message, "command", (json_t *)what->command);
	json_object_set(message, "env", env);
	json_set_bool(message, "root", what->root);
	json_set_int(message, "rows", what->rows);
	json_set_int(message, "cols", what->cols);
	CLEANUP_FD int fd = frame_connect(task_client_path(c), err);
	if (fd < 0 || frame_add(&out, message, err) < 0)
		return -1;
	int rc = fd_write_all(fd, out.ptr, out.len);
	if (rc < 0)
		return error_errno(err, -rc, "ask the executor for a terminal");
	if (!wait_for(fd, stop, until_ms))
		return error_set(err, "the executor does not answer");
	*terminal = terminal_receive(fd);
	return *terminal < 0 ? read_error(fd, stop, until_ms, err) : 0;
}
