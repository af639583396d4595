/* client.c - the daemon's side of the executor: see task.h.
 *
 * DESIGN: one thread owns the socket. Callers put requests in a list and wait; a request stays there until it is
 * answered and is sent again after each reconnect (all requests are idempotent). Events go to engine_post; "stopped" is
 * forgotten at the executor only after the engine says that it is on disk, so a crash at any instant repeats it rather
 * than losing it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "task/client.h"
#include "task/frame.h"
#include "task/task.h"

#define BACKOFF_MIN_MS 20
#define BACKOFF_MAX_MS 1000
#define RESYNC_MS 1000

struct request {
	struct request *next;
	int64_t n;
	json_t *message, *reply;
	bool sent;      /* on the present connection */
	bool ever_sent; /* the executor may have acted on it */
	bool detached;  /* nobody waits: a forget */
	char *task;     /* of a forget */
};

struct task_client {
	struct engine *engine;
	char *path;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int wake; /* eventfd */
	bool closing, connected;
	struct request *first, **last;
	struct map posted; /* ids whose "stopped" is with the engine or being forgotten; value: the client */
	int waiters, posts;
	double cpus; /* of the last hello */
	task_image find_image;
	void *find_image_ctx;
	int64_t next_n, resync_at; /* monotonic ms; 0 = no */
	void *owned;               /* see client.h */
	/* the thread's own */
	int fd;
	struct buf in, out;
};

static int64_t mono_ms(void)
{
	return clock_monotonic_us() / 1000;
}

static void wake(struct task_client *c)
{
	uint64_t one = 1;
	if (write(c->wake, &one, sizeof(one)) < 0)
		log_debug("task", "wake: %s", strerror(errno)); /* full: it is awake */
}

/* ---- requests; all under the lock ---- */

static struct request *request_add(struct task_client *c, json_t *message)
{
	struct request *r = mem_calloc(1, sizeof(*r));
	r->n = ++c->next_n;
	r->message = message;
	json_set_int(message, "n", r->n);
	*c->last = r;
	c->last = &r->next;
	wake(c);
	return r;
}

static void request_remove(struct task_client *c, struct request *r)
{
	for (struct request **p = &c->first; *p; p = &(*p)->next)
		if (*p == r) {
			*p = r->next;
			if (c->last == &r->next)
				c->last = p;
			break;
		}
	json_decref(r->message);
	json_decref(r->reply);
	free(r->task);
	free(r);
}

/* ---- events ---- */

struct post {
	struct task_client *client;
	char task[];
};

/* On the core thread, after the commit. */
static void stopped_on_disk(void *arg, int rc, struct error *err)
{
	struct post *p = arg;
	struct task_client *c = p->client;
	pthread_mutex_lock(&c->lock);
	if (rc == 0) {
		json_t *message = json_object();
		json_set_text(message, "op", "forget");
		json_set_text(message, "task", p->task);
		struct request *r = request_add(c, message);
		r->detached = true;
		r->task = mem_strdup(p->task);
	} else { /* it is told again after the next hello */
		log_warn("task", "%s: its end could not be written: %s", p->task, error_text(err));
		map_remove(&c->posted, str_from(p->task));
		c->resync_at = mono_ms() + RESYNC_MS;
		wake(c);
	}
	c->posts--;
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->lock);
	free(p);
}

static void on_event(struct task_client *c, const char *owner, json_t *event)
{
	const char *task = json_get_text(event, "task"), *type = json_get_text(event, "type");
	if (!owner || !task || !type)
		return;
	json_t *wrapped = json_object();
	json_set_text(wrapped, "type", "task");
	json_object_set(wrapped, "event", event);
	if (strcmp(type, "stopped")) {
		engine_post(c->engine, owner, wrapped, NULL, NULL);
		return;
	}
	pthread_mutex_lock(&c->lock);
	bool known = map_get(&c->posted, str_from(task)) != NULL || c->closing;
	if (!known) {
		map_set(&c->posted, str_from(task), c);
		c->posts++;
	}
	pthread_mutex_unlock(&c->lock);
	if (known) {
		json_decref(wrapped);
		return;
	}
	struct post *p = mem_alloc(sizeof(*p) + strlen(task) + 1);
	p->client = c;
	strcpy(p->task, task);
	engine_post(c->engine, owner, wrapped, stopped_on_disk, p);
}

/* Takes the message: who waits for it gets the only reference, so that no two threads release it. */
static void on_reply(struct task_client *c, json_t **message)
{
	int64_t n = json_get_int(*message, "re", 0);
	pthread_mutex_lock(&c->lock);
	c->cpus = json_get_real(json_get(*message, "machine"), "cpus", c->cpus);
	for (struct request *r = c->first; r; r = r->next) {
		if (r->n != n)
			continue;
		if (r->detached) {
			map_remove(&c->posted, str_from(r->task));
			request_remove(c, r);
		} else {
			r->reply = *message;
			*message = NULL;
			pthread_cond_broadcast(&c->cond);
		}
		break;
	}
	pthread_mutex_unlock(&c->lock);
}

/* ---- the thread ---- */

static void disconnect(struct task_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	buf_release(&c->in);
	buf_release(&c->out);
	pthread_mutex_lock(&c->lock);
	c->connected = false;
	for (struct request *r = c->first; r; r = r->next)
		r->sent = false;
	pthread_mutex_unlock(&c->lock);
}

static void add_hello(struct task_client *c)
{
	CLEANUP_JSON json_t *hello = json_pack("{s:i,s:s,s:b}", "n", 0, "op", "hello", "subscribe", 1);
	frame_add(&c->out, hello, NULL);
}

static bool connect_now(struct task_client *c)
{
	c->fd = frame_connect(c->path, NULL);
	if (c->fd < 0)
		return false;
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	add_hello(c);
	pthread_mutex_lock(&c->lock);
	c->connected = true;
	pthread_mutex_unlock(&c->lock);
	return true;
}

/* Returns how long to wait for something to happen: -1 = no matter how long. */
static int queue_requests(struct task_client *c)
{
	pthread_mutex_lock(&c->lock);
	for (struct request *r = c->first; r; r = r->next) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		if (r->sent || r->reply)
			continue;
		r->sent = true;
		if (frame_add(&c->out, r->message, &err) < 0) { /* too large: an answer of our own */
			r->reply = json_pack("{s:{s:s,s:s}}", "error", "code", "ValidationException", "message",
					     error_text(&err));
			pthread_cond_broadcast(&c->cond);
		} else {
			r->ever_sent = true;
		}
	}
	if (c->resync_at && mono_ms() >= c->resync_at) {
		c->resync_at = 0;
		add_hello(c);
	}
	int wait = c->resync_at ? RESYNC_MS : -1;
	pthread_mutex_unlock(&c->lock);
	return wait;
}

/* Takes what came. False: the connection is over. */
static bool receive(struct task_client *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int n = frame_fill(c->fd, &c->in);
	if (n == -EAGAIN)
		return true;
	for (int rc = 1; n > 0 && rc > 0;) {
		CLEANUP_JSON json_t *message = NULL;
		rc = frame_take(&c->in, FRAME_MAX_BYTES, &message, &err);
		if (rc > 0 && json_get(message, "event"))
			on_event(c, json_get_text(message, "owner"), json_get(message, "event"));
		else if (rc > 0)
			on_reply(c, &message);
		if (rc < 0) {
			log_warn("task", "executor: %s", error_text(&err));
			return false;
		}
	}
	return n > 0;
}

/* One round while connected. False: the connection is over. */
static bool serve_once(struct task_client *c)
{
	int wait = queue_requests(c);
	int rc = frame_flush(c->fd, &c->out);
	if (rc < 0)
		return false;
	struct pollfd fds[2] = { { c->fd, (short)(POLLIN | (rc ? POLLOUT : 0)), 0 }, { c->wake, POLLIN, 0 } };
	poll(fds, 2, wait);
	uint64_t count;
	if (fds[1].revents && read(c->wake, &count, sizeof(count)) < 0)
		log_debug("task", "wake: %s", strerror(errno));
	return !(fds[0].revents & (POLLIN | POLLHUP | POLLERR)) || receive(c);
}

static bool closing(struct task_client *c)
{
	pthread_mutex_lock(&c->lock);
	bool yes = c->closing;
	pthread_mutex_unlock(&c->lock);
	return yes;
}

static void *run(void *arg)
{
	struct task_client *c = arg;
	int backoff = BACKOFF_MIN_MS;
	bool told = false;
	while (!closing(c)) {
		if (c->fd < 0 && !connect_now(c)) {
			if (!told && backoff >= BACKOFF_MAX_MS) {
				log_warn("task", "the executor does not answer at %s; trying on", c->path);
				told = true;
			}
			struct pollfd fd = { c->wake, POLLIN, 0 };
			uint64_t count;
			if (poll(&fd, 1, backoff) > 0 && closing(c))
				break;
			while (read(c->wake, &count, sizeof(count)) > 0)
				;
			backoff = backoff * 2 < BACKOFF_MAX_MS ? backoff * 2 : BACKOFF_MAX_MS;
			continue;
		}
		if (told)
			log_info("task", "connected to the executor");
		backoff = BACKOFF_MIN_MS;
		told = false;
		if (!serve_once(c))
			disconnect(c);
	}
	disconnect(c);
	return NULL;
}

/* ---- what others call ---- */

int task_client_new(const char *socket_path, struct engine *e, struct task_client **out, struct error *err)
{
	struct task_client *c = mem_calloc(1, sizeof(*c));
	c->engine = e;
	c->path = mem_strdup(socket_path);
	c->last = &c->first;
	c->fd = -1;
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->cond, &attr);
	pthread_condattr_destroy(&attr);
	int rc = c->wake < 0 ? errno : pthread_create(&c->thread, NULL, run, c);
	if (rc) {
		if (c->wake >= 0)
			close(c->wake);
		free(c->path);
		free(c);
		return error_errno(err, rc, "start the thread of the executor's client");
	}
	*out = c;
	return 0;
}

void task_client_free(struct task_client *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->closing = true;
	wake(c);
	pthread_cond_broadcast(&c->cond);
	while (c->waiters || c->posts)
		pthread_cond_wait(&c->cond, &c->lock);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	while (c->first)
		request_remove(c, c->first);
	map_release(&c->posted);
	close(c->wake);
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->lock);
	free(c->owned);
	free(c->path);
	free(c);
}

void task_client_own(struct task_client *c, void *memory)
{
	free(c->owned);
	c->owned = memory;
}

const char *task_client_path(const struct task_client *c)
{
	return c->path;
}

/* Sends `message` (taken) and waits. A request that never left gives up after wait_ms; one that left is waited for
 * until the executor answers, since it may have been acted on. The reply is owned; NULL with err (code "Unavailable":
 * not sent or the daemon ends). */
static json_t *call(struct task_client *c, json_t *message, int64_t wait_ms, struct error *err)
{
	int64_t until = mono_ms() + wait_ms;
	json_t *reply = NULL;
	pthread_mutex_lock(&c->lock);
	c->waiters++;
	struct request *r = request_add(c, message);
	while (!r->reply && !c->closing && !engine_stopping(c->engine)) {
		if (!r->ever_sent && mono_ms() >= until)
			break;
		struct timespec at;
		clock_gettime(CLOCK_MONOTONIC, &at);
		at.tv_nsec += 200000000; /* looks at engine_stopping now and then */
		at.tv_sec += at.tv_nsec / 1000000000;
		at.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&c->cond, &c->lock, &at);
	}
	if (r->reply)
		reply = json_incref(r->reply);
	else
		error_http(err, 503, "Unavailable", "the executor does not answer at `%s`", c->path);
	request_remove(c, r);
	c->waiters--;
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->lock);
	const json_t *bad = json_get(reply, "error");
	if (bad) {
		const char *code = json_get_text(bad, "code"), *text = json_get_text(bad, "message");
		if (code && *code)
			error_aws(err, code, "%s", text ? text : "");
		else
			error_set(err, "%s", text ? text : "the executor failed");
		json_decref(reply);
		return NULL;
	}
	return reply;
}

void task_client_set_images(struct task_client *c, task_image find, void *ctx)
{
	c->find_image = find;
	c->find_image_ctx = ctx;
}

/* Stored images: their layers go with the spec. One that is not stored may be built in; the executor knows. */
static int find_images(struct task_client *c, json_t *spec, struct error *err)
{
	size_t i;
	json_t *one;
	if (!c->find_image)
		return 0;
	json_array_foreach (json_get(spec, "containers"), i, one) {
		const char *image = json_get_text(one, "image");
		json_t *rootfs = NULL;
		if (!image || json_get(one, "rootfs"))
			continue;
		if (c->find_image(c->find_image_ctx, image, &rootfs, err) < 0)
			return error_is(err, "CannotPullContainerError") ? -1 : error_wrap(err, "image `%s`", image);
		if (rootfs)
			json_object_set_new(one, "rootfs", rootfs);
	}
	return 0;
}

int task_start(struct task_client *c, const char *owner_actor, json_t *spec, struct error *err)
{
	if (find_images(c, spec, err) < 0)
		return -1;
	json_t *message = json_object();
	json_set_text(message, "op", "start");
	json_set_text(message, "owner", owner_actor);
	json_object_set(message, "spec", spec);
	CLEANUP_JSON json_t *reply = call(c, message, 10000, err);
	return reply ? 0 : -1;
}

int task_stop(struct task_client *c, const char *task_id, const char *reason, struct error *err)
{
	json_t *message = json_object();
	json_set_text(message, "op", "stop");
	json_set_text(message, "task", task_id);
	json_set_text(message, "reason", reason);
	CLEANUP_JSON json_t *reply = call(c, message, 10000, err);
	return reply ? 0 : -1;
}

static json_t *ask(struct task_client *c, const char *op, const char *task, const char *key, struct error *err)
{
	json_t *message = json_object();
	json_set_text(message, "op", op);
	json_set_text(message, "task", task);
	CLEANUP_JSON json_t *reply = call(c, message, 2000, err);
	if (reply && !json_get(reply, key))
		error_set(err, "the executor's answer has no `%s`", key);
	return json_incref(json_get(reply, key));
}

json_t *task_collect_layers(struct task_client *c, const json_t *request, struct error *err)
{
	json_t *message = json_copy((json_t *)request);
	json_set_text(message, "op", "layers");
	CLEANUP_JSON json_t *reply = call(c, message, 10000, err);
	return json_incref(json_get(reply, "layers"));
}

json_t *task_list(struct task_client *c, struct error *err)
{
	return ask(c, "list", NULL, "tasks", err);
}

double task_cpus(struct task_client *c)
{
	pthread_mutex_lock(&c->lock);
	double cpus = c->cpus;
	pthread_mutex_unlock(&c->lock);
	return cpus;
}

json_t *task_machine(struct task_client *c, struct error *err)
{
	return ask(c, "machine", NULL, "machine", err);
}

json_t *task_stats(struct task_client *c, const char *task_id, struct error *err)
{
	return ask(c, "stats", task_id, "stats", err);
}
