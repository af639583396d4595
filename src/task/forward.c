/* forward.c - see forward.h. */
#include "task/forward.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/id.h"

#define RETRY_MS 200
#define LOOK_MS 20 /* while it reads the last of it */

struct forward_record {
	struct forward_record *next;
	size_t len;
	char bytes[];
};

static struct sup_container *router_of(const struct sup_container *c)
{
	for (size_t i = 0; i < c->sup->spec.ncontainers; i++)
		if (!strcmp(c->sup->containers[i].spec->name, c->spec->forward->container))
			return &c->sup->containers[i];
	return NULL; /* spec_parse lets no such name through */
}

/* ---- the queue ---- */

static void drop_first(struct forward *f)
{
	struct forward_record *r = f->first;
	f->first = r->next;
	f->bytes -= r->len;
	f->records--;
	f->sent = 0;
	free(r);
}

static void drop_all(struct forward *f)
{
	while (f->first) {
		drop_first(f);
		f->dropped++;
	}
}

static void enqueue(struct forward *f, const msgpack_sbuffer *message, int64_t limit)
{
	if ((int64_t)f->records >= limit || f->bytes + message->size > FORWARD_BYTES) {
		f->dropped++;
		return;
	}
	struct forward_record *r = mem_alloc(sizeof(*r) + message->size);
	r->next = NULL;
	r->len = message->size;
	memcpy(r->bytes, message->data, message->size);
	if (f->first)
		f->last->next = r;
	else
		f->first = r;
	f->last = r;
	f->bytes += r->len;
	f->records++;
}

/* ---- a record ---- */

static void pack_text(msgpack_packer *pk, struct str text)
{
	msgpack_pack_str(pk, text.len);
	msgpack_pack_str_body(pk, text.ptr, text.len);
}

static void pack_member(msgpack_packer *pk, const char *key, struct str value)
{
	pack_text(pk, str_from(key));
	pack_text(pk, value);
}

/* EventTime: extension type 0, seconds and nanoseconds as 32 bits, big-endian. */
static void pack_time(msgpack_packer *pk, int64_t ms)
{
	const uint32_t time[2] = { htobe32((uint32_t)(ms / 1000)), htobe32((uint32_t)(ms % 1000) * 1000000) };
	msgpack_pack_ext(pk, sizeof(time), 0);
	msgpack_pack_ext_body(pk, time, sizeof(time));
}

static void add_record(void *ctx, const struct logpump *p, struct str text, bool last)
{
	struct sup_container *c = ctx;
	const struct spec_forward *to = c->spec->forward;
	char *id = c->forward.partial_id[p == &c->errors], ordinal[24];
	msgpack_sbuffer message;
	msgpack_packer pk;
	msgpack_sbuffer_init(&message);
	msgpack_packer_init(&pk, &message, msgpack_sbuffer_write);
	msgpack_pack_array(&pk, 3);
	pack_text(&pk, str_from(to->tag));
	pack_time(&pk, p->last_ms);
	msgpack_pack_map(&pk, p->piece ? 8 : 4);
	pack_member(&pk, "container_id", str_from(to->id));
	pack_member(&pk, "container_name", str_from(to->name));
	pack_member(&pk, "source", p == &c->errors ? STR("stderr") : STR("stdout"));
	pack_member(&pk, "log", text);
	if (p->piece) {
		unsigned char random[32];
		if (p->piece == 1) {
			random_bytes(random, sizeof(random));
			hex_encode(id, random, sizeof(random));
		}
		snprintf(ordinal, sizeof(ordinal), "%u", p->piece);
		pack_member(&pk, "partial_message", STR("true"));
		pack_member(&pk, "partial_id", str_from(id));
		pack_member(&pk, "partial_ordinal", str_from(ordinal));
		pack_member(&pk, "partial_last", last ? STR("true") : STR("false"));
	}
	enqueue(&c->forward, &message, to->records);
	msgpack_sbuffer_destroy(&message);
}

void forward_take(struct sup_container *c, struct logpump *p)
{
	p->sink = add_record;
	p->sink_ctx = c;
	p->record_max = FORWARD_PIECE;
}

/* ---- the connection ---- */

static void disconnect(struct forward *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	f->sent = 0;
	f->retry_at = sup_now_ms() + RETRY_MS;
}

/* The directory belongs to containers: only a socket that lies in it itself is spoken to. */
static int dial(struct sup_container *c)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	CLEANUP_FD int dir = sup_open_scratch(c->sup, c->spec->forward->scratch);
	CLEANUP_FD int file = dir < 0 ? -1 : openat(dir, "fluent.sock", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (file < 0 || fd < 0 || fstat(file, &st) < 0 || !S_ISSOCK(st.st_mode))
		return -1;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", file);
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				  .data.u64 = SUP_TAG_FORWARD + c->index };
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    epoll_ctl(c->sup->epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -1;
	return fd_take(&fd);
}

static void send_some(struct forward *f)
{
	while (f->first) {
		ssize_t n = send(f->fd, f->first->bytes + f->sent, f->first->len - f->sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return; /* EPOLLOUT comes */
		if (n < 0) {
			disconnect(f);
			return;
		}
		f->sent += (size_t)n;
		if (f->sent == f->first->len)
			drop_first(f);
	}
}

/* Has the router read all that was sent? */
static bool is_read(const struct forward *f)
{
	int left = 0;
	return ioctl(f->fd, SIOCOUTQ, &left) < 0 || left == 0;
}

static void run_one(struct sup_container *c, int64_t now)
{
	struct forward *f = &c->forward;
	enum sup_phase router = router_of(c)->phase;
	if (router == PHASE_ENDED || (f->give_up_at && now >= f->give_up_at))
		drop_all(f);
	if (f->first && router == PHASE_RUNNING && f->fd < 0 && now >= f->retry_at && (f->fd = dial(c)) < 0)
		disconnect(f);
	if (f->fd >= 0)
		send_some(f);
	if (f->fd >= 0 && !f->first && f->give_up_at &&
	    (now >= f->give_up_at || is_read(f))) /* the router sees the end before it is asked to end */
		disconnect(f);
}

void forward_run(struct sup *s)
{
	int64_t now = sup_now_ms();
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		if (s->containers[i].spec->forward)
			run_one(&s->containers[i], now);
}

/* The router has nothing to say; what it says is thrown away. */
void forward_ready(struct sup_container *c)
{
	char waste[512];
	ssize_t n = 1;
	while (c->forward.fd >= 0 && n > 0)
		n = recv(c->forward.fd, waste, sizeof(waste), MSG_DONTWAIT);
	if (c->forward.fd >= 0 && (n == 0 || (errno != EAGAIN && errno != EINTR)))
		disconnect(&c->forward);
}

/* ---- ends ---- */

void forward_end(struct sup_container *c)
{
	if (c->spec->forward)
		c->forward.give_up_at = sup_now_ms() + FORWARD_GRACE_MS;
}

/* Something waits, or the end of it has not been read. */
static bool is_busy(const struct forward *f)
{
	return f->first || (f->give_up_at && f->fd >= 0);
}

bool forward_holds(const struct sup_container *c)
{
	const struct sup *s = c->sup;
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		if (s->containers[i].spec->forward && is_busy(&s->containers[i].forward) &&
		    router_of(&s->containers[i]) == c)
			return true;
	return false;
}

int64_t forward_next_ms(const struct sup *s)
{
	int64_t next = INT64_MAX, soon = sup_now_ms() + LOOK_MS;
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		const struct sup_container *c = &s->containers[i];
		const struct forward *f = &c->forward;
		if (!c->spec->forward || !is_busy(f))
			continue;
		if (!f->first && soon < next)
			next = soon;
		if (f->give_up_at && f->give_up_at < next)
			next = f->give_up_at;
		if (f->first && f->fd < 0 && router_of(c)->phase == PHASE_RUNNING && f->retry_at < next)
			next = f->retry_at;
	}
	return next;
}

void forward_close(struct sup_container *c)
{
	struct forward *f = &c->forward;
	drop_all(f);
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	if (f->dropped)
		sup_note(c->sup, "%s: %lld records of output did not reach the log router", c->spec->name,
			 (long long)f->dropped);
}
