/* talk.c - the conversation of a session, see talk.h.
 *
 * DESIGN: one loop over the socket, the terminal's master and the server's stop event. Whoever is slow holds up only
 * what comes for them: the terminal is read as long as the channel has room and the socket takes bytes, the socket as
 * long as what is queued for it is small. The end has three steps: the command has ended, the client has all of its
 * output, the client has been told. */
#include "ecs/talk.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "ecs/channel.h"

enum {
	TOKEN_WAIT_MS = 30 * 1000,
	IDLE_MS = 20 * 60 * 1000,   /* as on AWS */
	SILENCE_MS = 5 * 60 * 1000, /* the client acknowledges nothing */
	GOODBYE_MS = 2000,
	QUEUE_MAX = 256 * 1024,
};

struct talk {
	struct task_client *tasks;
	struct websocket *ws;
	bool (*open)(void *ctx, struct str token, struct session_offer *offer);
	void *ctx;
	struct session_offer *offer;
	struct channel channel;
	int terminal;         /* -1: not yet, or closed */
	bool opened, started; /* the token was good; the command was started */
	bool over, leaving;   /* leaving: goodbye was said */
	int rows, cols;       /* of the terminal */
	int64_t now_ms, base_ms;
	int64_t active_ms, leave_ms; /* when bytes went last; when goodbye was said */
};

/* Epoch ms that never go back. */
static int64_t now(const struct talk *t)
{
	return t->base_ms + clock_monotonic_us() / 1000;
}

static void send_frame(void *ctx, struct str message)
{
	websocket_send(((struct talk *)ctx)->ws, message);
}

static void close_terminal(struct talk *t)
{
	if (t->terminal >= 0)
		close(t->terminal);
	t->terminal = -1;
}

/* `why`: shown to the user. */
static void leave(struct talk *t, const char *why, unsigned code)
{
	if (t->leaving)
		return;
	close_terminal(t);
	if (t->opened)
		channel_close(&t->channel, why, t->now_ms);
	websocket_close(t->ws, code);
	t->leaving = true;
	t->leave_ms = t->now_ms;
}

/* ---- from the client ---- */

static void on_token(struct talk *t, struct str message)
{
	CLEANUP_JSON json_t *hello = json_parse(message, NULL);
	if (!t->open(t->ctx, json_get_str(hello, "TokenValue"), t->offer)) {
		leave(t, "", 1008);
		return;
	}
	t->opened = true;
	log_info("ecs", "session %s of %s in %s, container %s", t->offer->id, t->offer->who, t->offer->task,
		 t->offer->container);
	channel_start(&t->channel, t->offer->id, send_frame, t, t->now_ms);
}

static void on_message(void *ctx, struct str message, bool text)
{
	struct talk *t = ctx;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (t->leaving)
		return;
	if (!t->opened && text)
		on_token(t, message);
	else if (t->opened && !text && channel_receive(&t->channel, message, t->now_ms, &err) < 0)
		leave(t, error_text(&err), 1000);
}

static void hear(struct talk *t)
{
	if (websocket_receive(t->ws, on_message, t) < 0)
		t->over = true;
	if (t->channel.terminate)
		leave(t, "", 1000);
}

/* ---- the command ---- */

static void start(struct talk *t)
{
	static const char *const env[] = { "TERM=xterm-256color", "LANG=C.UTF-8", NULL };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	t->rows = t->channel.rows ? t->channel.rows : 24;
	t->cols = t->channel.cols ? t->channel.cols : 80;
	const struct task_command what = { .task = t->offer->task,
					   .container = t->offer->container,
					   .command = t->offer->command,
					   .env = env,
					   .root = true,
					   .rows = t->rows,
					   .cols = t->cols };
	t->started = true;
	if (task_open_terminal(t->tasks, &what, websocket_stop_fd(t->ws), &t->terminal, &err) < 0)
		leave(t, error_text(&err), 1000);
}

static void resize(struct talk *t)
{
	const struct winsize size = { .ws_row = (unsigned short)t->channel.rows,
				      .ws_col = (unsigned short)t->channel.cols };
	if (t->terminal < 0 || !t->channel.rows || (t->rows == t->channel.rows && t->cols == t->channel.cols))
		return;
	ioctl(t->terminal, TIOCSWINSZ, &size);
	t->rows = t->channel.rows;
	t->cols = t->channel.cols;
}

static bool wants_output(const struct talk *t)
{
	return channel_room(&t->channel) && websocket_queued(t->ws) < QUEUE_MAX;
}

static void read_terminal(struct talk *t)
{
	char bytes[CHANNEL_CHUNK];
	while (t->terminal >= 0 && wants_output(t)) {
		ssize_t n = read(t->terminal, bytes, channel_room(&t->channel));
		if (n > 0) {
			t->active_ms = t->now_ms;
			channel_output(&t->channel, str_of(bytes, (size_t)n), t->now_ms);
		} else if (n < 0 && errno == EINTR) {
			continue;
		} else {
			if (n == 0 || errno != EAGAIN) /* EIO: nobody has the other side open */
				close_terminal(t);
			return;
		}
	}
}

static void write_terminal(struct talk *t)
{
	struct buf *input = &t->channel.input;
	ssize_t n = input->len ? write(t->terminal, input->ptr, input->len) : 0;
	if (n <= 0)
		return;
	t->active_ms = t->now_ms;
	input->len -= (size_t)n;
	memmove(input->ptr, input->ptr + n, input->len);
}

/* ---- the loop ---- */

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Until when nothing has to be done by itself. */
static int64_t due_ms(const struct talk *t)
{
	if (t->leaving)
		return t->leave_ms + GOODBYE_MS;
	if (!t->opened)
		return t->active_ms + TOKEN_WAIT_MS;
	int64_t oldest = channel_oldest_ms(&t->channel), due = t->active_ms + IDLE_MS;
	due = least(due, oldest == INT64_MAX ? oldest : oldest + SILENCE_MS);
	return least(due, channel_due_ms(&t->channel));
}

static void on_time(struct talk *t)
{
	int64_t oldest = channel_oldest_ms(&t->channel);
	if (t->leaving || !t->opened) {
		bool late = t->now_ms >= due_ms(t);
		t->over |= late;
		return;
	}
	if (oldest != INT64_MAX && t->now_ms >= oldest + SILENCE_MS)
		t->over = true;
	else if (t->now_ms >= t->active_ms + IDLE_MS)
		leave(t, "The session was idle for 20 minutes.", 1000);
	else if (websocket_queued(t->ws) == 0) /* what waits there already need not wait twice */
		channel_resend(&t->channel, t->now_ms);
}

/* What follows from what has come. */
static void go_on(struct talk *t)
{
	if (t->channel.ready && !t->started && !t->leaving)
		start(t);
	resize(t);
	if (t->started && t->terminal < 0 && channel_settled(&t->channel))
		leave(t, "", 1000);
}

static void step(struct talk *t)
{
	size_t queued = websocket_queued(t->ws);
	bool listening = queued < QUEUE_MAX;
	short io = t->terminal < 0 ? 0 : (short)((wants_output(t) ? POLLIN : 0) | (t->channel.input.len ? POLLOUT : 0));
	struct pollfd fds[] = {
		{ websocket_fd(t->ws), (short)((listening ? POLLIN : 0) | (queued ? POLLOUT : 0)), 0 },
		{ t->leaving ? -1 : websocket_stop_fd(t->ws), POLLIN, 0 },
		{ io ? t->terminal : -1, io, 0 },
	};
	int64_t wait = websocket_has_early(t->ws) ? 0 : due_ms(t) - now(t);
	poll(fds, 3, wait <= 0 ? 0 : wait > 60000 ? 60000 : (int)wait + 1);
	t->now_ms = now(t);
	if (fds[1].revents)
		leave(t, "Quern is being stopped.", 1001);
	if (listening && (websocket_has_early(t->ws) || (fds[0].revents & (POLLIN | POLLHUP | POLLERR))))
		hear(t);
	else if (fds[0].revents & (POLLHUP | POLLERR))
		t->over = true;
	if (fds[2].revents & POLLOUT)
		write_terminal(t);
	if (fds[2].revents & (POLLIN | POLLHUP | POLLERR))
		read_terminal(t);
	go_on(t);
	on_time(t);
	if (websocket_flush(t->ws) < 0)
		t->over = true;
}

void session_talk(struct task_client *tasks, struct websocket *ws,
		  bool (*open)(void *ctx, struct str token, struct session_offer *offer), void *ctx,
		  struct session_offer *offer)
{
	struct talk t = { .tasks = tasks, .ws = ws, .open = open, .ctx = ctx, .offer = offer, .terminal = -1 };
	t.base_ms = clock_now_ms() - clock_monotonic_us() / 1000;
	t.now_ms = t.active_ms = now(&t);
	while (!t.over)
		step(&t);
	close_terminal(&t);
	if (t.opened)
		log_info("ecs", "session %s has ended", offer->id);
	channel_release(&t.channel);
}
