/* relay.c - see relay.h. */
#include "task/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"

enum { PEERS_MAX = 512, IDLE_MS = 60000, SWEEP_MS = 10000, DATAGRAM_MAX = 65536, TURN = 64 };

/* One that has sent to a published port. */
struct peer {
	struct peer *next;
	const struct proxy_way *way;
	struct sockaddr_in from;
	int fd; /* in the container's namespace, connected to its port */
	int64_t used_ms;
};
struct relay {
	pthread_t thread;
	int epoll, stop, netns;
	struct peer *peers;
	size_t npeers, nways;
	char data[DATAGRAM_MAX];
	struct proxy_way ways[];
};

static void drop_peers(struct relay *r, int64_t unused_since_ms)
{
	for (struct peer **at = &r->peers; *at;) {
		struct peer *p = *at;
		if (p->used_ms > unused_since_ms) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		close(p->fd);
		free(p);
		r->npeers--;
	}
}

static struct peer *new_peer(struct relay *r, const struct proxy_way *way, const struct sockaddr_in *from)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(way->port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = r->npeers < PEERS_MAX ? socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
	if (fd < 0)
		return NULL;
	struct peer *p = mem_calloc(1, sizeof(*p));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = p };
	*p = (struct peer){ .next = r->peers, .way = way, .from = *from, .fd = fd };
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		close(fd);
		free(p);
		return NULL;
	}
	r->npeers++;
	return r->peers = p;
}

static struct peer *find_peer(struct relay *r, const struct proxy_way *way, const struct sockaddr_in *from)
{
	for (struct peer *p = r->peers; p; p = p->next)
		if (p->way == way && p->from.sin_port == from->sin_port &&
		    p->from.sin_addr.s_addr == from->sin_addr.s_addr)
			return p;
	return new_peer(r, way, from);
}

static void take_requests(struct relay *r, const struct proxy_way *way, int64_t now_ms)
{
	for (int i = 0; i < TURN; i++) {
		struct sockaddr_in from = { 0 };
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(way->fd, r->data, sizeof(r->data), 0, (struct sockaddr *)&from, &len);
		if (n < 0)
			return;
		struct peer *p = find_peer(r, way, &from);
		if (!p)
			continue;
		p->used_ms = now_ms;
		(void)!send(p->fd, r->data, (size_t)n, MSG_NOSIGNAL);
	}
}

/* An error (nobody listens there) is read away like a datagram. */
static void take_answers(struct relay *r, struct peer *p, int64_t now_ms)
{
	for (int i = 0; i < TURN; i++) {
		ssize_t n = recv(p->fd, r->data, sizeof(r->data), 0);
		if (n < 0)
			return;
		p->used_ms = now_ms;
		(void)!sendto(p->way->fd, r->data, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&p->from,
			      sizeof(p->from));
	}
}

static void *run(void *arg)
{
	struct relay *r = arg;
	struct epoll_event events[64];
	/* As in proxy.c: the sockets that we make from now on are the container's. */
	if (setns(r->netns, CLONE_NEWNET) < 0)
		return NULL;
	for (;;) {
		int n = epoll_wait(r->epoll, events, 64, r->peers ? SWEEP_MS : -1);
		int64_t now_ms = clock_monotonic_us() / 1000;
		for (int i = 0; i < n; i++) {
			const struct proxy_way *way = events[i].data.ptr;
			if (!way)
				return NULL;
			if (way >= r->ways && way < r->ways + r->nways)
				take_requests(r, way, now_ms);
			else
				take_answers(r, events[i].data.ptr, now_ms);
		}
		drop_peers(r, now_ms - IDLE_MS);
	}
}

static void release(struct relay *r)
{
	drop_peers(r, INT64_MAX);
	for (size_t i = 0; i < r->nways; i++)
		close(r->ways[i].fd);
	if (r->epoll >= 0)
		close(r->epoll);
	if (r->stop >= 0)
		close(r->stop);
	if (r->netns >= 0)
		close(r->netns);
	free(r);
}

int relay_start(const struct proxy_way *ways, size_t n, int netns, struct relay **out, struct error *err)
{
	struct relay *r = mem_calloc(1, sizeof(*r) + n * sizeof(*ways));
	r->nways = n;
	memcpy(r->ways, ways, n * sizeof(*ways));
	r->netns = fcntl(netns, F_DUPFD_CLOEXEC, 3);
	r->epoll = epoll_create1(EPOLL_CLOEXEC);
	r->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
	bool ok =
		r->netns >= 0 && r->epoll >= 0 && r->stop >= 0 && epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->stop, &ev) == 0;
	for (size_t i = 0; i < n && ok; i++) {
		ev.data.ptr = &r->ways[i];
		ok = epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->ways[i].fd, &ev) == 0;
	}
	int rc = ok ? pthread_create(&r->thread, NULL, run, r) : errno;
	if (rc) {
		release(r);
		return error_errno(err, rc, "start the relay of UDP ports");
	}
	*out = r;
	return 0;
}

void relay_stop(struct relay *r)
{
	if (!r)
		return;
	uint64_t one = 1;
	while (write(r->stop, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(r->thread, NULL);
	release(r);
}
