/* proxy.c - see proxy.h. No SPLICE_F_MORE: it holds small answers back (reference "containers", section 3). */
#include "task/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"

#define PAIRS_MAX 512
#define PIPE_BYTES 65536
#define ROUNDS 64 /* of at most PIPE_BYTES before others get their turn */

struct way {
	int pipe[2];
	size_t fill; /* bytes in the pipe */
	bool ended;  /* nothing more comes in */
	bool closed; /* and the end was passed on */
};
struct pair {
	struct pair *next;
	int fd[2];         /* 0 the container, 1 the API */
	struct way way[2]; /* way[i] goes from fd[i] to fd[1 - i] */
	bool dead;
};
struct proxy {
	pthread_t thread;
	int epoll, stop, netns;
	bool closed; /* the namespace cannot be entered: connections are refused */
	struct pair *pairs;
	size_t npairs, nways;
	struct proxy_way ways[];
};

/* ---- one pair ---- */

static void pair_release(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		if (p->fd[i] >= 0)
			close(p->fd[i]);
		for (int k = 0; k < 2; k++)
			if (p->way[i].pipe[k] >= 0)
				close(p->way[i].pipe[k]);
	}
	free(p);
}

/* Moves what goes in one direction. 1: there may be more, 0: it has to wait, -1: broken. */
static int pump(struct pair *p, int from)
{
	struct way *w = &p->way[from];
	int to = p->fd[1 - from];
	for (int round = 0; round < ROUNDS; round++) {
		bool dry = w->ended;
		if (!w->ended && w->fill < PIPE_BYTES) {
			ssize_t n = splice(p->fd[from], NULL, w->pipe[1], NULL, PIPE_BYTES - w->fill,
					   SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
			if (n > 0)
				w->fill += (size_t)n;
			else if (n == 0)
				w->ended = dry = true;
			else if (errno != EAGAIN && errno != EINTR)
				return -1;
			else
				dry = errno == EAGAIN;
		}
		if (w->fill) {
			ssize_t n = splice(w->pipe[0], NULL, to, NULL, w->fill, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
			if (n > 0)
				w->fill -= (size_t)n;
			else if (n < 0 && errno == EAGAIN)
				return 0; /* the receiver is full */
			else if (n < 0 && errno != EINTR)
				return -1;
			continue;
		}
		if (w->ended && !w->closed) {
			shutdown(to, SHUT_WR);
			w->closed = true;
		}
		if (dry)
			return 0;
	}
	return 1;
}

static void pair_run(struct proxy *x, struct pair *p)
{
	bool more = false;
	for (int i = 0; i < 2; i++) {
		int rc = pump(p, i);
		if (rc < 0) {
			p->dead = true;
			return;
		}
		more |= rc > 0;
	}
	p->dead = p->way[0].closed && p->way[1].closed;
	if (more && !p->dead) { /* set again: the edge is told once more */
		struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = p };
		epoll_ctl(x->epoll, EPOLL_CTL_MOD, p->fd[0], &ev);
	}
}

static int connect_api(uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

static void on_accept(struct proxy *x, const struct proxy_way *way)
{
	int one = 1;
	for (int fd; (fd = accept4(way->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
		if (x->npairs >= PAIRS_MAX) {
			close(fd);
			continue;
		}
		struct pair *p = mem_calloc(1, sizeof(*p));
		*p = (struct pair){ .fd = { fd, x->closed ? -1 : connect_api(way->port) },
				    .way = { { .pipe = { -1, -1 } }, { .pipe = { -1, -1 } } } };
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		bool ok = p->fd[1] >= 0;
		for (int i = 0; i < 2 && ok; i++) {
			struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = p };
			ok = pipe2(p->way[i].pipe, O_CLOEXEC | O_NONBLOCK) == 0 &&
			     epoll_ctl(x->epoll, EPOLL_CTL_ADD, p->fd[i], &ev) == 0;
		}
		if (!ok) {
			pair_release(p);
			continue;
		}
		p->next = x->pairs;
		x->pairs = p;
		x->npairs++;
	}
}

/* ---- the thread ---- */

static const struct proxy_way *as_way(const struct proxy *x, const void *p)
{
	const struct proxy_way *at = p;
	return at >= x->ways && at < x->ways + x->nways ? at : NULL;
}

static void sweep(struct proxy *x)
{
	for (struct pair **at = &x->pairs; *at;) {
		struct pair *p = *at;
		if (!p->dead) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		pair_release(p);
		x->npairs--;
	}
}

static void *run(void *arg)
{
	struct proxy *x = arg;
	struct epoll_event events[64];
	/* Sockets belong to the namespace of the thread that makes them; what we listen on stays where it is. */
	x->closed = x->netns >= 0 && setns(x->netns, CLONE_NEWNET) < 0;
	for (;;) {
		bool dead = false;
		int n = epoll_wait(x->epoll, events, 64, -1);
		for (int i = 0; i < n; i++) {
			if (!events[i].data.ptr)
				return NULL;
			const struct proxy_way *way = as_way(x, events[i].data.ptr);
			struct pair *p = events[i].data.ptr;
			if (way)
				on_accept(x, way);
			else if (!p->dead)
				pair_run(x, p), dead |= p->dead;
		}
		if (dead)
			sweep(x);
	}
}

int proxy_start(const struct proxy_way *ways, size_t n, int netns, struct proxy **out, struct error *err)
{
	struct proxy *x = mem_calloc(1, sizeof(*x) + n * sizeof(*ways));
	x->netns = netns < 0 ? -1 : fcntl(netns, F_DUPFD_CLOEXEC, 3);
	x->nways = n;
	memcpy(x->ways, ways, n * sizeof(*ways));
	x->epoll = epoll_create1(EPOLL_CLOEXEC);
	x->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
	bool ok = x->epoll >= 0 && x->stop >= 0 && epoll_ctl(x->epoll, EPOLL_CTL_ADD, x->stop, &ev) == 0;
	for (size_t i = 0; i < n && ok; i++) {
		ev.data.ptr = &x->ways[i];
		ok = epoll_ctl(x->epoll, EPOLL_CTL_ADD, x->ways[i].fd, &ev) == 0;
	}
	int rc = ok ? pthread_create(&x->thread, NULL, run, x) : errno;
	if (rc) {
		if (x->epoll >= 0)
			close(x->epoll);
		if (x->stop >= 0)
			close(x->stop);
		for (size_t i = 0; i < n; i++)
			close(ways[i].fd);
		if (x->netns >= 0)
			close(x->netns);
		free(x);
		return error_errno(err, rc, "start the API proxy");
	}
	*out = x;
	return 0;
}

void proxy_stop(struct proxy *x)
{
	if (!x)
		return;
	uint64_t one = 1;
	while (write(x->stop, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(x->thread, NULL);
	for (struct pair *p = x->pairs; p; p = p->next)
		p->dead = true;
	sweep(x);
	for (size_t i = 0; i < x->nways; i++)
		close(x->ways[i].fd);
	close(x->epoll);
	close(x->stop);
	if (x->netns >= 0)
		close(x->netns);
	free(x);
}
