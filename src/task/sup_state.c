/* sup_state.c - what the supervisor records and tells: state.json, the "stopped" event, its peers (the executor). */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "task/frame.h"
#include "task/order.h"
#include "task/path.h"
#include "task/sup.h"

#define ARGUMENTS_FIELD 48 /* of /proc/<pid>/stat: where they begin; then where they end */

int64_t sup_now_ms(void)
{
	return clock_monotonic_us() / 1000;
}

int64_t process_stat(pid_t pid, int field)
{
	char path[64] = "/proc/self/stat", text[1024];
	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (path_get(path, text, sizeof(text)) < 0)
		return -1;
	const char *p = strrchr(text, ')'); /* the name may hold spaces and parentheses */
	for (int at = 2; p && at < field; at++)
		p = strchr(p + 1, ' ');
	return p ? strtoll(p + 1, NULL, 10) : -1;
}

int64_t process_start(pid_t pid)
{
	return process_stat(pid, 22);
}

/* Written over the arguments the process was started with. */
void process_set_title(const char *name, const char *text)
{
	int64_t start = process_stat(0, ARGUMENTS_FIELD), end = process_stat(0, ARGUMENTS_FIELD + 1);
	prctl(PR_SET_NAME, name);
	if (start <= 0 || end <= start + 1)
		return;
	char *place = (char *)(uintptr_t)start;
	memset(place, 0, (size_t)(end - start));
	snprintf(place, (size_t)(end - start), "%s", text);
}

void sup_note(struct sup *s, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	const char *text = arena_vprintf(&s->arena, fmt, ap);
	va_end(ap);
	json_array_append_new(s->notes, json_string(text));
}

static void set_time(json_t *obj, const char *key, int64_t ms)
{
	json_object_set_new(obj, key, ms ? json_integer(ms) : json_null());
}

static json_t *container_result(const struct sup_container *c)
{
	json_t *one = json_object();
	json_set_text(one, "name", c->spec->name);
	json_object_set_new(one, "exit_code", c->exit_code < 0 ? json_null() : json_integer(c->exit_code));
	json_object_set_new(one, "signal", c->signal < 0 ? json_null() : json_integer(c->signal));
	json_set_bool(one, "oom", c->oom);
	set_time(one, "started_at", c->started_at);
	set_time(one, "finished_at", c->finished_at);
	json_object_set_new(one, "error", c->error ? json_string(c->error) : json_null());
	json_set_int(one, "cpu_ms", c->usage.cpu_ms < 0 ? 0 : c->usage.cpu_ms);
	json_set_int(one, "memory_peak", c->usage.memory_peak_bytes < 0 ? 0 : c->usage.memory_peak_bytes);
	return one;
}

json_t *sup_stopped_event(struct sup *s)
{
	json_t *event = json_object(), *list = json_array();
	int64_t at = 0;
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		json_array_append_new(list, container_result(&s->containers[i]));
		at = s->containers[i].finished_at > at ? s->containers[i].finished_at : at;
	}
	json_set_text(event, "task", s->spec.id);
	json_set_text(event, "type", "stopped");
	set_time(event, "at", at);
	set_time(event, "pulled_at", s->pulled_at);
	set_time(event, "started_at", s->started_at);
	json_set_text(event, "reason", s->reason ? s->reason : "exited");
	json_object_set_new(event, "error", s->error ? json_string(s->error) : json_null());
	json_object_set_new(event, "containers", list);
	json_object_set(event, "notes", s->notes);
	json_object_set_new(event, "texts", json_object());
	json_object_set_new(event, "outputs", json_array());
	return event;
}

static const char *phase_name(const struct sup *s)
{
	return s->event ? "stopped" : s->reason ? "stopping" : s->started_at ? "running" : "starting";
}

/* What "changed" events show beyond the result. */
static void add_report(const struct sup_container *c, json_t *one)
{
	if (c->spec->health)
		json_set_text(one, "health", health_name(c));
	json_set_int(one, "uid", c->uid);
	json_set_int(one, "gid", c->gid);
	if (c->spec->restart)
		json_set_int(one, "restarts", c->restarts);
	if (json_get(json_get(c->sup->task, "gpus"), c->spec->name))
		json_object_set(one, "gpus", json_get(json_get(c->sup->task, "gpus"), c->spec->name));
	json_set_bool(one, "essential", c->spec->essential != ESSENTIAL_NO);
	if (!c->host_ports)
		return;
	json_t *ports = json_array();
	for (size_t i = 0; i < c->spec->nports; i++)
		json_array_append_new(ports,
				      json_pack("{s:i,s:i,s:i,s:s}", "container_port", c->spec->ports[i].container_port,
						"host_port", c->host_ports[i], "count", c->spec->ports[i].count,
						"protocol", c->spec->ports[i].udp ? "udp" : "tcp"));
	json_object_set_new(one, "ports", ports);
}

void sup_changed(struct sup *s)
{
	if (!s->spec.report)
		return;
	s->changes++;
	sup_save(s, false, NULL);
	sup_tell(s);
}

static json_t *state_json(struct sup *s)
{
	static const char *const names[] = { "new", "starting", "running", "ended" };
	json_t *state = json_object(), *list = json_array();
	json_set_text(state, "id", s->spec.id);
	json_set_text(state, "phase", phase_name(s));
	json_set_int(state, "pid", getpid());
	set_time(state, "pulled_at", s->pulled_at);
	set_time(state, "started_at", s->started_at);
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		const struct sup_container *c = &s->containers[i];
		json_t *one = container_result(c);
		json_set_text(one, "phase", names[c->phase]);
		json_set_int(one, "pid", c->pid);
		json_set_int(one, "pid_start", c->pid_start);
		add_report(c, one);
		json_array_append_new(list, one);
	}
	json_object_set_new(state, "containers", list);
	if (s->spec.report)
		json_set_int(state, "changes", s->changes);
	json_object_set(state, "notes", s->notes);
	if (s->event)
		json_object_set(state, "event", s->event);
	return state;
}

int sup_save(struct sup *s, bool sync, struct error *err)
{
	CLEANUP_JSON json_t *state = state_json(s);
	CLEANUP_FREE char *text = json_text_dup(state);
	return path_write_atomic(s->exec_fd, "state.json", str_from(text), 0600, sync, err);
}

static void peer_close(struct sup_peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	buf_release(&p->in);
	buf_release(&p->out);
}

/* Peers are local and read at once; one that does not is dropped rather than waited for (it reads state.json then). */
static void peer_send(struct sup_peer *p, const json_t *message)
{
	if (p->fd >= 0 && (frame_add(&p->out, message, NULL) < 0 || frame_flush(p->fd, &p->out) != 0))
		peer_close(p);
}

void sup_tell(struct sup *s)
{
	CLEANUP_JSON json_t *message = json_object();
	json_object_set_new(message, "state", state_json(s));
	for (int i = 0; i < SUP_PEERS; i++)
		peer_send(&s->peers[i], message);
}

void sup_accept(struct sup *s)
{
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	struct sup_peer *p = NULL;
	for (int i = 0; i < SUP_PEERS && !p; i++)
		if (s->peers[i].fd < 0)
			p = &s->peers[i];
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = SUP_TAG_PEER + (uint64_t)(p ? p - s->peers : 0) };
	if (!p || epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		close(fd);
		return;
	}
	p->fd = fd;
	CLEANUP_JSON json_t *message = json_object();
	json_object_set_new(message, "state", state_json(s));
	peer_send(p, message);
}

void sup_peer_ready(struct sup *s, struct sup_peer *p)
{
	if (p->fd < 0)
		return;
	int n = frame_fill(p->fd, &p->in);
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		peer_close(p);
		return;
	}
	CLEANUP_ERROR struct error err = ERROR_INIT;
	for (;;) {
		CLEANUP_JSON json_t *message = NULL;
		int rc = frame_take(&p->in, 1 << 20, &message, &err);
		if (rc < 0) {
			log_warn("task", "%s: %s", s->spec.id, error_text(&err));
			peer_close(p);
		}
		if (rc <= 0)
			return;
		const char *op = json_get_text(message, "op");
		if (op && !strcmp(op, "stop"))
			sup_stop(s, "stop");
	}
}

void sup_peers_close(struct sup *s)
{
	for (int i = 0; i < SUP_PEERS; i++)
		peer_close(&s->peers[i]);
	if (s->listener >= 0)
		close(s->listener);
	s->listener = -1;
}
