/* executor.c - `quern executor`: the small privileged process that starts tasks.
 *
 * DESIGN: see exec.h. Here: the socket, who may connect (SO_PEERCRED: the daemon's user, ours, root), the requests.
 * Messages (frame.h):
 *
 * - {"n":1,"op":"hello","subscribe":true} -> {"re":1,"machine":{...}}, then the events of all tasks as they stand, then
 *   new ones
 * - {"n":2,"op":"start","owner":"...","spec":{...}} -> {"re":2,"state":"queued"|"live"|"stopped"|"forgotten"}; on disk
 *   before the answer
 * - {"n":3,"op":"stop","task":"..."} {"n":4,"op":"forget","task":"..."} {"n":5,"op":"list"} {"n":6,"op":"machine"}
 * - {"n":7,"op":"stats","task":"..."}
 * - {"n":8,"op":"layers","keep":[[digests of an image's layers],...],"idle_ms":n,"max_age_ms":n,"max_bytes":n,"dry":b}
 *   -> {"re":8,"layers":{"removed","removed_bytes","kept","kept_bytes","in_use"}}: drops unpacked layers that no task
 *   uses: those of no image in keep when unused for idle_ms, any when unused for max_age_ms, and the least recently
 * used beyond max_bytes (-1: a quarter of the file system). dry: only says what it would do. in_use: how many stay only
 *   because a task uses them
 * - {"n":9,"op":"exec","task":"...","container":text|null,"command":["..."],"env":["K=V"],"root":b,"rows":n,"cols":n}
 *   -> {"re":9,"ok":true} with the master of a terminal (SCM_RIGHTS); the last request of its connection
 *
 * A failure is {"re":n,"error":{"code","message"}}; an event is {"owner":"...","event":{...}}. It ends on SIGTERM and
 * leaves supervisors alone. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "task/exec.h"
#include "task/frame.h"
#include "task/path.h"
#include "task/spec.h"

#define CLIENTS 64
#define REQUEST_MAX (16u << 20)
#define OUT_MAX ((size_t)2 * FRAME_MAX_BYTES)
#define PRUNE_MS 3600000

struct client {
	int fd;
	bool subscribed, writing;
	struct buf in, out;
};

struct server {
	struct executor x; /* first: tell() gets it */
	struct client clients[CLIENTS];
	int listener, signals;
	bool ending;
	struct {
		struct client *client;
		int64_t n;
		const char *phase;
		char id[129];
	} acks[256]; /* starts to be answered when their files are on disk */
	size_t nacks;
	struct {
		struct client *client;
		int64_t n;
		char id[129];
	} forgets[64]; /* done when nobody waits for a start */
	size_t nforgets;
};

static void client_close(struct server *v, struct client *c)
{
	for (size_t i = 0; i < v->nacks; i++)
		if (v->acks[i].client == c)
			v->acks[i].client = NULL;
	for (size_t i = 0; i < v->nforgets; i++)
		if (v->forgets[i].client == c)
			v->forgets[i].client = NULL;
	if (c->fd >= 0)
		close(c->fd);
	buf_release(&c->in);
	buf_release(&c->out);
	*c = (struct client){ .fd = -1 };
}

static void client_flush(struct server *v, struct client *c)
{
	int rc = frame_flush(c->fd, &c->out);
	if (rc < 0 || c->out.len > OUT_MAX) {
		client_close(v, c);
		return;
	}
	if (c->writing != (rc == 1)) {
		struct epoll_event ev = { .events = EPOLLIN | (rc ? EPOLLOUT : 0),
					  .data.u64 = EXEC_TAG_CLIENT + (uint64_t)(c - v->clients) };
		epoll_ctl(v->x.epoll, EPOLL_CTL_MOD, c->fd, &ev);
		c->writing = rc == 1;
	}
}

static void client_send(struct server *v, struct client *c, const json_t *message)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (frame_add(&c->out, message, &err) < 0)
		log_error("executor", "%s", error_text(&err));
	else
		client_flush(v, c);
}

static void tell_client(void *ctx, struct exec_task *t, const json_t *event)
{
	struct server *v = ((void **)ctx)[0];
	struct client *c = ((void **)ctx)[1];
	CLEANUP_JSON json_t *message = json_object();
	json_set_text(message, "owner", t->owner);
	json_object_set(message, "event", (json_t *)event);
	if (c->fd >= 0)
		client_send(v, c, message);
}

static void tell_clients(struct executor *x, struct exec_task *t, const json_t *event)
{
	struct server *v = (struct server *)x;
	for (size_t i = 0; i < CLIENTS; i++)
		if (v->clients[i].fd >= 0 && v->clients[i].subscribed)
			tell_client((void *[]){ v, &v->clients[i] }, t, event);
}

/* ---- requests ---- */

static void reply(struct server *v, struct client *c, int64_t n, const char *key, json_t *value,
		  const struct error *err)
{
	CLEANUP_JSON json_t *message = json_object();
	json_set_int(message, "re", n);
	if (err)
		json_object_set_new(message, "error",
				    json_pack("{s:s,s:s}", "code", err->code, "message", error_text(err)));
	if (value)
		json_object_set_new(message, key, value);
	client_send(v, c, message);
}

static void send_acks(struct server *v)
{
	for (size_t i = 0; i < v->nacks; i++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		int rc = exec_sync(&v->x, v->acks[i].id, &err);
		if (v->acks[i].client)
			reply(v, v->acks[i].client, v->acks[i].n, "state",
			      rc < 0 ? NULL : json_string(v->acks[i].phase), rc < 0 ? &err : NULL);
	}
	v->nacks = 0;
}

static void do_forgets(struct server *v)
{
	for (size_t i = 0; i < v->nforgets; i++) {
		exec_forget(&v->x, v->forgets[i].id);
		if (v->forgets[i].client)
			reply(v, v->forgets[i].client, v->forgets[i].n, "ok", json_true(), NULL);
	}
	v->nforgets = 0;
}

static void on_forget(struct server *v, struct client *c, int64_t n, const char *task)
{
	if (v->nforgets == sizeof(v->forgets) / sizeof(*v->forgets))
		do_forgets(v);
	v->forgets[v->nforgets].client = c->fd < 0 ? NULL : c;
	v->forgets[v->nforgets].n = n;
	snprintf(v->forgets[v->nforgets++].id, 129, "%s", task);
}

static void on_start(struct server *v, struct client *c, int64_t n, const json_t *message)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *phase, *owner = json_get_text(message, "owner");
	const json_t *spec = json_get(message, "spec");
	if (exec_start(&v->x, owner ? owner : "", spec, &phase, &err) < 0) {
		reply(v, c, n, NULL, NULL, &err);
		return;
	}
	if (v->nacks == sizeof(v->acks) / sizeof(*v->acks))
		send_acks(v);
	v->acks[v->nacks].client = c->fd < 0 ? NULL : c; /* its supervisor waits for the sync in any case */
	v->acks[v->nacks].n = n;
	v->acks[v->nacks].phase = phase;
	snprintf(v->acks[v->nacks++].id, 129, "%s", json_get_text(spec, "id"));
}

static void on_hello(struct server *v, struct client *c, int64_t n, const json_t *message)
{
	c->subscribed = json_get_bool(message, "subscribe", false);
	reply(v, c, n, "machine", exec_machine(&v->x), NULL);
	for (size_t i = 0; c->subscribed && i < v->x.tasks.count; i++)
		exec_tell_now(&v->x, v->x.tasks.entries[i].value, tell_client, (void *[]){ v, c });
}

static void on_layers(struct server *v, struct client *c, int64_t n, const json_t *message)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	json_t *done = exec_collect_layers(&v->x, message, &err);
	reply(v, c, n, "layers", done, done ? NULL : &err);
}

/* A child answers. */
static void on_exec(struct server *v, struct client *c, int64_t n, const json_t *message)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (exec_session(&v->x, c->fd, message, &err) < 0)
		reply(v, c, n, NULL, NULL, &err);
	else
		client_close(v, c);
}

static void on_message(struct server *v, struct client *c, const json_t *message)
{
	const char *op = json_get_text(message, "op"), *task = json_get_text(message, "task");
	int64_t n = json_get_int(message, "n", 0);
	if (op && !strcmp(op, "start")) {
		on_start(v, c, n, message);
	} else if (op && !strcmp(op, "hello")) {
		on_hello(v, c, n, message);
	} else if (op && !strcmp(op, "list")) {
		reply(v, c, n, "tasks", exec_list(&v->x), NULL);
	} else if (op && !strcmp(op, "machine")) {
		reply(v, c, n, "machine", exec_machine(&v->x), NULL);
	} else if (op && task && spec_id_ok(task) && !strcmp(op, "stats")) {
		reply(v, c, n, "stats", exec_stats(&v->x, task), NULL);
	} else if (op && !strcmp(op, "layers")) {
		on_layers(v, c, n, message);
	} else if (op && task && spec_id_ok(task) && !strcmp(op, "stop")) {
		exec_stop(&v->x, task);
		reply(v, c, n, "ok", json_true(), NULL);
	} else if (op && task && spec_id_ok(task) && !strcmp(op, "forget")) {
		on_forget(v, c, n, task);
	} else if (op && task && spec_id_ok(task) && !strcmp(op, "exec")) {
		on_exec(v, c, n, message);
	} else {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		error_aws(&err, "ValidationException", "unknown request `%.40s`", op ? op : "");
		reply(v, c, n, NULL, NULL, &err);
	}
}

static void client_ready(struct server *v, struct client *c, uint32_t events)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (c->fd >= 0 && (events & EPOLLOUT))
		client_flush(v, c);
	if (c->fd < 0 || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	int n = frame_fill(c->fd, &c->in);
	if (n == -EAGAIN)
		return;
	for (int rc = 1; n > 0 && rc > 0 && c->fd >= 0;) {
		CLEANUP_JSON json_t *message = NULL;
		rc = frame_take(&c->in, REQUEST_MAX, &message, &err);
		if (rc < 0) {
			log_warn("executor", "a client sent nonsense: %s", error_text(&err));
			n = -EPROTO;
		} else if (rc > 0) {
			on_message(v, c, message);
		}
	}
	if (n <= 0)
		client_close(v, c);
}

static bool may_connect(const struct server *v, int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	return cred.uid == 0 || cred.uid == geteuid() || cred.uid == (uid_t)v->x.options.daemon_uid;
}

static void on_connect(struct server *v)
{
	int fd = accept4(v->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	for (size_t i = 0; i < CLIENTS && may_connect(v, fd); i++) {
		struct client *c = &v->clients[i];
		struct epoll_event ev = { .events = EPOLLIN, .data.u64 = EXEC_TAG_CLIENT + i };
		if (c->fd >= 0)
			continue;
		if (epoll_ctl(v->x.epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
			break;
		*c = (struct client){ .fd = fd };
		return;
	}
	close(fd);
}

/* ---- the whole ---- */

static int listen_at(struct server *v, struct error *err)
{
	const char *path = v->x.options.socket_path, *slash = strrchr(path, '/');
	const char *dir = slash == path ? "/"
			  : slash       ? arena_strdup(&v->x.arena, str_of(path, (size_t)(slash - path)))
					: ".";
	mkdir(dir, 0755);
	CLEANUP_FD int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "open `%s`", dir);
	const char *name = slash ? slash + 1 : path;
	v->listener = frame_listen_at(fd, name, 0600, err);
	if (v->listener < 0)
		return -1;
	if (!v->x.machine.rootless &&
	    fchownat(fd, name, (uid_t)v->x.options.daemon_uid, (gid_t)v->x.options.daemon_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, errno, "give `%s` to the daemon", path);
	fcntl(v->listener, F_SETFL, O_NONBLOCK);
	return 0;
}

/* In a mount namespace of our own, once for all tasks; what the host mounts later still gets here. */
static int hide_second_tree(struct executor *x, struct error *err)
{
	if (x->machine.cgroup != CGROUP_HYBRID)
		return 0;
	if (unshare(CLONE_NEWNS) < 0 || mount("", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return error_errno(err, errno, "make a mount namespace");
	return cgroup_hide_second_tree(err);
}

static int set_up(struct server *v, struct error *err)
{
	struct executor *x = &v->x;
	char boot[64];
	sigset_t set;
	if (!path_is_clean(x->options.data_dir))
		return error_set(
			err, "the data directory must be an absolute path without `.`, `..` or a trailing slash: `%s`",
			x->options.data_dir);
	ssize_t n = path_get("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
	snprintf(x->boot, sizeof(x->boot), "%.*s", n > 1 ? (int)n - 1 : 0, boot);
	machine_detect(&x->arena, x->options.runtime, &x->machine);
	CLEANUP_ERROR struct error why = ERROR_INIT;
	if (cgroup_prepare(x->machine.cgroup, &why) < 0) {
		log_warn("executor", "cgroups are not used: %s", error_text(&why));
		x->machine.cgroup = CGROUP_NONE;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN); /* supervisors are nobody's zombies */
	umask(022);
	x->epoll = epoll_create1(EPOLL_CLOEXEC);
	v->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (x->epoll < 0 || v->signals < 0)
		return error_errno(err, errno, "make an event loop");
	if (hide_second_tree(x, err) < 0 || exec_tasks_open(x, err) < 0 || exec_tasks_adopt(x, err) < 0 ||
	    listen_at(v, err) < 0)
		return -1;
	struct epoll_event a = { .events = EPOLLIN, .data.u64 = EXEC_TAG_LISTENER },
			   b = { .events = EPOLLIN, .data.u64 = EXEC_TAG_SIGNALS };
	if (epoll_ctl(x->epoll, EPOLL_CTL_ADD, v->listener, &a) < 0 ||
	    epoll_ctl(x->epoll, EPOLL_CTL_ADD, v->signals, &b) < 0)
		return error_errno(err, errno, "watch a descriptor");
	return 0;
}

/* A task may be freed by an earlier event of the same batch (forget): look it up before use. */
static bool is_task(struct server *v, const void *p)
{
	for (size_t i = 0; i < v->x.tasks.count; i++)
		if (v->x.tasks.entries[i].value == p)
			return true;
	return false;
}

static void dispatch(struct server *v, const struct epoll_event *ev)
{
	uint64_t tag = ev->data.u64;
	if (tag == EXEC_TAG_LISTENER)
		on_connect(v);
	else if (tag == EXEC_TAG_SIGNALS)
		v->ending = true;
	else if (tag < EXEC_TAG_CLIENT + CLIENTS)
		client_ready(v, &v->clients[tag - EXEC_TAG_CLIENT], ev->events);
	else if (is_task(v, (void *)(uintptr_t)tag))
		exec_supervisor_ready(&v->x, (struct exec_task *)(uintptr_t)tag);
}

static void run_loop(struct server *v)
{
	struct epoll_event events[64];
	int64_t prune_at = 0;
	exec_schedule(&v->x);
	while (!v->ending) {
		int64_t now = clock_monotonic_us() / 1000;
		if (now >= prune_at) {
			exec_prune(&v->x);
			prune_at = now + PRUNE_MS;
		}
		int n = epoll_wait(v->x.epoll, events, 64, (int)(prune_at - now));
		if (n < 0 && errno != EINTR)
			BUG("epoll_wait: %s", strerror(errno));
		for (int i = 0; i < n; i++)
			dispatch(v, &events[i]);
		send_acks(v);
		do_forgets(v);
	}
}

int executor_main(const struct executor_options *options)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct server *v = mem_calloc(1, sizeof(*v));
	v->x.options = *options;
	if (options->daemon_uid < 0)
		v->x.options.daemon_uid = (int)geteuid();
	if (options->daemon_gid < 0)
		v->x.options.daemon_gid = (int)getegid();
	v->x.runtime_fd = v->x.data_fd = v->x.tasks_fd = v->x.own_fd = v->x.lock_fd = v->listener = -1;
	v->x.tell = tell_clients;
	for (size_t i = 0; i < CLIENTS; i++)
		v->clients[i].fd = -1;
	int rc = set_up(v, &err);
	if (rc < 0) {
		log_error("executor", "%s", error_text(&err));
	} else {
		for (size_t i = 0; v->x.machine.notes[i]; i++)
			log_warn("executor", "%s", v->x.machine.notes[i]);
		log_info("executor", "listens on %s: %.4g CPUs, %lld MiB, %s, cgroups %s", options->socket_path,
			 v->x.machine.cpus, (long long)(v->x.machine.memory_bytes >> 20),
			 v->x.machine.runtime ? v->x.machine.runtime : "no runtime",
			 cgroup_mode_name(v->x.machine.cgroup));
		run_loop(v);
		unlink(options->socket_path);
	}
	for (size_t i = 0; i < CLIENTS; i++)
		client_close(v, &v->clients[i]);
	exec_tasks_close(&v->x);
	const int fds[] = { v->listener, v->signals, v->x.epoll };
	for (size_t i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	arena_release(&v->x.arena);
	free(v);
	return rc < 0 ? 1 : 0;
}
