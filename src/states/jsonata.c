/* jsonata.c - see jsonata.h.
 *
 * DESIGN: a worker is one child on a socket pair. A caller takes an idle worker, sends, and waits up to its limit. When
 * it gives up early the worker is "abandoned": whoever looks for a worker next reads and drops its late answer, or
 * kills it when it had its moment. The pool's first half serves TRY and QUICK, the second FULL. Limits but TRY's are of
 * the worker's processor time: on a loaded machine an expression is no slower. */
#include "states/jsonata.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"

enum {
	MAX_WORKERS = 16,
	START_MS = 5000,
	MOMENT_MS = 300,
	WAIT_MS = 60000,
	MAX_FRAME = 64 << 20,
	STARVED = 20 /* so many times its limit may a worker take that gets no processor */
};
enum worker_state { WORKER_NONE, WORKER_IDLE, WORKER_BUSY, WORKER_ABANDONED };

struct worker {
	enum worker_state state;
	pid_t pid;
	int fd;
	bool warm;          /* has answered: its start is not counted as the expression's time */
	int64_t kill_at_us; /* abandoned: when its time is over */
};

struct jsonata {
	char *program, *directory;
	int workers, soft_ms, hard_ms; /* workers: of each half */
	int64_t memory_bytes;
	pthread_mutex_t lock;
	pthread_cond_t freed;
	struct worker pool[MAX_WORKERS];
};

int jsonata_new(const struct jsonata_options *o, struct jsonata **out, struct error *err)
{
	if (access(o->program, X_OK) < 0)
		return error_errno(err, errno, "find the JSONata worker `%s`", o->program);
	struct jsonata *j = mem_calloc(1, sizeof(*j));
	const char *slash = strrchr(o->program, '/');
	j->program = mem_strdup(o->program);
	if (asprintf(&j->directory, "%.*s/jsonata", slash ? (int)(slash - o->program) : 1, slash ? o->program : ".") <
	    0)
		BUG("out of memory");
	j->workers = o->workers > 0 && o->workers <= MAX_WORKERS / 2 ? o->workers : 2;
	j->soft_ms = o->soft_ms > 0 ? o->soft_ms : 5;
	j->hard_ms = o->hard_ms > 0 ? o->hard_ms : 2000;
	j->memory_bytes = o->memory_bytes > 0 ? o->memory_bytes : 512 << 20;
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->freed, NULL);
	*out = j;
	return 0;
}

static void worker_stop(struct worker *w)
{
	if (w->state == WORKER_NONE)
		return;
	kill(w->pid, SIGKILL);
	waitpid(w->pid, NULL, 0);
	close(w->fd);
	*w = (struct worker){ .state = WORKER_NONE };
}

void jsonata_free(struct jsonata *j)
{
	if (!j)
		return;
	for (int i = 0; i < 2 * j->workers; i++)
		worker_stop(&j->pool[i]);
	pthread_mutex_destroy(&j->lock);
	pthread_cond_destroy(&j->freed);
	free(j->program);
	free(j->directory);
	free(j);
}

static int worker_start(struct jsonata *j, struct worker *w)
{
	extern char **environ;
	int pair[2];
	char memory[32];
	snprintf(memory, sizeof(memory), "%lld", (long long)j->memory_bytes);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	char *argv[] = { j->program, j->directory, memory, NULL }, *environment[] = { "JSC_useConcurrentGC=0", NULL };
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pair[1], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, pair[1], STDOUT_FILENO);
	int rc = posix_spawn(&w->pid, j->program, &actions, NULL, argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	close(pair[1]);
	if (rc != 0) {
		close(pair[0]);
		return -1;
	}
	/* A worker that stopped reading must not hold the daemon. */
	struct timeval patience = { j->hard_ms / 1000, (j->hard_ms % 1000) * 1000 };
	setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	w->fd = pair[0];
	w->state = WORKER_IDLE;
	return 0;
}

/* Waits for n bytes until end_us. 0 done, 1 time is over, -1 the worker is gone. */
static int receive(int fd, void *p, size_t n, int64_t end_us)
{
	char *at = p;
	while (n > 0) {
		int64_t left = end_us - clock_monotonic_us();
		struct pollfd poller = { fd, POLLIN, 0 };
		if (left <= 0)
			return 1;
		int ready = poll(&poller, 1, (int)(left / 1000) + 1);
		if (ready == 0 || (ready < 0 && errno == EINTR))
			continue;
		ssize_t got = ready > 0 ? recv(fd, at, n, MSG_DONTWAIT) : -1;
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got <= 0)
			return -1;
		at += got;
		n -= (size_t)got;
	}
	return 0;
}

/* One answer frame into `text`. The first byte decides about the soft limit; a frame that began is read to its end. */
static int receive_frame(int fd, struct buf *text, int64_t soft_us, int64_t hard_us)
{
	unsigned char head[4];
	struct pollfd poller = { fd, POLLIN, 0 };
	int64_t left = soft_us - clock_monotonic_us();
	if (poll(&poller, 1, left > 0 ? (int)(left / 1000) + 1 : 0) == 0)
		return 1;
	int rc = receive(fd, head, 4, hard_us);
	if (rc != 0)
		return rc < 0 ? -1 : -2;
	size_t n = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
	if (n > MAX_FRAME)
		return -2;
	buf_clear(text);
	buf_reserve(text, n);
	rc = receive(fd, text->ptr, n, hard_us);
	text->len = n;
	text->ptr[n] = 0;
	return rc == 0 ? 0 : -2;
}

static int send_frame(int fd, struct str text)
{
	unsigned char head[4] = { (unsigned char)(text.len >> 24), (unsigned char)(text.len >> 16),
				  (unsigned char)(text.len >> 8), (unsigned char)text.len };
	if (send(fd, head, 4, MSG_NOSIGNAL | MSG_MORE) != 4)
		return -1;
	while (text.len > 0) {
		ssize_t n = send(fd, text.ptr, text.len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		text = str_skip(text, (size_t)n);
	}
	return 0;
}

/* Late answers are dropped; overdue workers are killed. Under the lock. */
static void collect_abandoned(struct jsonata *j)
{
	CLEANUP_BUF struct buf drop = BUF_INIT;
	for (int i = 0; i < 2 * j->workers; i++) {
		struct worker *w = &j->pool[i];
		if (w->state != WORKER_ABANDONED)
			continue;
		int rc = receive_frame(w->fd, &drop, 0, clock_monotonic_us() + 1000000);
		if (rc == 0) {
			w->state = WORKER_IDLE;
			w->warm = true;
		} else if (rc < 0 || clock_monotonic_us() > w->kill_at_us) {
			worker_stop(w);
		}
	}
}

/* A worker of that half marked busy, or NULL when none came free by end_us or none can be started. */
static struct worker *take_worker(struct jsonata *j, bool slow, int64_t end_us)
{
	struct worker *half = j->pool + (slow ? j->workers : 0);
	pthread_mutex_lock(&j->lock);
	for (;;) {
		struct worker *free_slot = NULL;
		collect_abandoned(j);
		for (int i = 0; i < j->workers; i++) {
			if (half[i].state == WORKER_IDLE) {
				half[i].state = WORKER_BUSY;
				pthread_mutex_unlock(&j->lock);
				return &half[i];
			}
			if (half[i].state == WORKER_NONE)
				free_slot = &half[i];
		}
		if (free_slot) {
			bool started = worker_start(j, free_slot) == 0;
			if (started)
				free_slot->state = WORKER_BUSY;
			pthread_mutex_unlock(&j->lock);
			return started ? free_slot : NULL;
		}
		if (clock_monotonic_us() >= end_us)
			break;
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		pthread_cond_timedwait(&j->freed, &j->lock, &until);
	}
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

static void give_back(struct jsonata *j, struct worker *w, enum worker_state state, int64_t kill_at_us)
{
	pthread_mutex_lock(&j->lock);
	w->state = state;
	w->kill_at_us = kill_at_us;
	if (state == WORKER_NONE) {
		w->state = WORKER_BUSY;
		worker_stop(w);
	}
	pthread_cond_broadcast(&j->freed);
	pthread_mutex_unlock(&j->lock);
}

static enum jsonata_status fault(json_t **out, const char *code, const char *message)
{
	*out = json_pack("{s:s, s:s}", "code", code, "message", message);
	return JSONATA_ERROR;
}

static enum jsonata_status read_answer(struct str text, json_t **out)
{
	CLEANUP_JSON json_t *answer = json_parse(text, NULL);
	json_t *value = json_object_get(answer, "value");
	if (value) {
		*out = json_incref(value);
		return JSONATA_VALUE;
	}
	if (json_object_get(answer, "undefined"))
		return JSONATA_UNDEFINED;
	if (json_object_get(answer, "unsupported"))
		return fault(out, JSONATA_UNSUPPORTED, "The expression returned a function");
	*out = json_incref(json_object_get(answer, "error"));
	return *out ? JSONATA_ERROR : fault(out, "D0000", "The JSONata worker gave no answer");
}

static int64_t cpu_us(pid_t pid)
{
	clockid_t clock;
	struct timespec ts;
	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &ts) < 0)
		return 0; /* then STARVED ends it */
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* The answer of a worker that may take limit_us of processor time. As receive_frame. */
static int receive_answer(const struct jsonata *j, const struct worker *w, struct buf *text, int64_t limit_us)
{
	int64_t now = clock_monotonic_us(), last = now + limit_us * STARVED, spent = cpu_us(w->pid), left = limit_us;
	for (;;) {
		int rc = receive_frame(w->fd, text, now + left, now + left + (int64_t)j->hard_ms * 1000);
		now = clock_monotonic_us();
		left = limit_us - (cpu_us(w->pid) - spent);
		if (rc != 1 || left <= 0 || now >= last)
			return rc;
	}
}

static enum jsonata_status exchange(struct jsonata *j, json_t *request, enum jsonata_mode mode, json_t **out)
{
	CLEANUP_BUF struct buf answer = BUF_INIT;
	CLEANUP_FREE char *text = json_text_dup(request);
	int64_t now = clock_monotonic_us();
	struct worker *w =
		take_worker(j, mode == JSONATA_FULL, mode == JSONATA_TRY ? now : now + (int64_t)WAIT_MS * 1000);
	if (!w)
		return mode == JSONATA_TRY ? JSONATA_BUSY : fault(out, "D0000", "No JSONata worker could be started");
	bool warm = w->warm;
	now = clock_monotonic_us();
	int64_t start_us = warm ? 0 : (int64_t)START_MS * 1000, hard_us = start_us + (int64_t)j->hard_ms * 1000,
		moment_us = start_us + (int64_t)MOMENT_MS * 1000;
	if (send_frame(w->fd, str_from(text)) < 0) {
		give_back(j, w, WORKER_NONE, 0);
		return fault(out, "D0000", "The JSONata worker ended");
	}
	int rc = mode == JSONATA_TRY ? receive_frame(w->fd, &answer, now + (int64_t)j->soft_ms * 1000, now + hard_us)
				     : receive_answer(j, w, &answer, mode == JSONATA_FULL ? hard_us : moment_us);
	if (rc == 0) {
		w->warm = true;
		give_back(j, w, WORKER_IDLE, 0);
		return read_answer(buf_str(&answer), out);
	}
	if (rc == 1 && mode != JSONATA_FULL) {
		give_back(j, w, WORKER_ABANDONED, now + moment_us);
		return warm || mode == JSONATA_QUICK ? JSONATA_PENDING : JSONATA_BUSY;
	}
	give_back(j, w, WORKER_NONE, 0);
	return fault(out, JSONATA_LIMIT,
		     rc == -1 ? "Expression evaluation memory limit exceeded: Check for excessive memory usage"
			      : "Expression evaluation timeout: Check for infinite loop");
}

enum jsonata_status jsonata_eval(struct jsonata *j, struct str expression, const json_t *bindings, uint64_t seed,
				 enum jsonata_mode mode, json_t **out)
{
	*out = NULL;
	CLEANUP_JSON json_t *request = json_object();
	json_object_set_new(request, "expression", json_stringn(expression.ptr, expression.len));
	json_object_set(request, "bindings", (json_t *)bindings);
	json_set_int(request, "seed", (int64_t)(seed & 0xffffffff));
	json_set_int(request, "limit",
		     (int64_t)j->hard_ms * 3 /
			     4); /* where the language can stop itself, the worker need not be killed */
	return exchange(j, request, mode, out);
}

json_t *jsonata_inspect(struct jsonata *j, struct str expression)
{
	CLEANUP_JSON json_t *request = json_pack("{s:b}", "check", 1);
	json_t *out = NULL;
	json_object_set_new(request, "expression", json_stringn(expression.ptr, expression.len));
	enum jsonata_status status = exchange(j, request, JSONATA_QUICK, &out);
	if (status == JSONATA_PENDING)
		status = exchange(j, request, JSONATA_FULL, &out);
	if (status == JSONATA_VALUE)
		return out;
	return json_pack("{s:o}", "error", out ? out : json_object());
}

json_t *jsonata_check(struct jsonata *j, struct str expression)
{
	CLEANUP_JSON json_t *found = jsonata_inspect(j, expression);
	return json_incref(json_object_get(found, "error"));
}
