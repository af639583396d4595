/* linger.c - connections that need looking after, see http.h.
 *
 * DESIGN: one thread, made when first needed, that sleeps unless there is something to do. (1) Lingering close: when a
 * request is refused before its body was read, closing at once would make the kernel send a reset, and the peer could
 * lose the answer. libmicrohttpd closes its descriptor; a duplicate is read empty here until the peer closes, at most
 * LINGER_US. (2) libmicrohttpd does not notice that the client of a suspended connection went away, nor (0.9.75 with
 * epoll) an end that came together with the last data: waiting streams and stalled uploads are looked at twice a
 * second. */
#include "wire/http.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { LINGER_US = 3 * 1000 * 1000, TICK_MS = 50, WATCH_MS = 500 };

void linger_init(struct lingerer *l, struct wire_server *w)
{
	*l = (struct lingerer){ .server = w };
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->wake, NULL);
}

/* True when the socket is finished. */
static bool drained(int fd)
{
	char waste[16384];
	for (int i = 0; i < 64; i++) {
		ssize_t n = recv(fd, waste, sizeof(waste), MSG_DONTWAIT);
		if (n == 0)
			return true;
		if (n < 0)
			return errno != EAGAIN && errno != EINTR;
	}
	return false;
}

static void sweep_sockets(struct lingerer *l)
{
	int64_t now = clock_monotonic_us();
	for (int i = 0; i < l->count;) {
		if (now < l->sockets[i].until_us && !drained(l->sockets[i].fd)) {
			i++;
			continue;
		}
		close(l->sockets[i].fd);
		l->sockets[i] = l->sockets[--l->count];
	}
}

/* Is the peer gone? Its request's lock is held, and the request still has its connection. */
static bool peer_left(struct wire_request *r, int *fd)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct pollfd pfd = { .fd = info ? info->connect_fd : -1, .events = POLLRDHUP };
	*fd = pfd.fd;
	return poll(&pfd, 1, 0) > 0 && (pfd.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* Lock held. A stream waits for its handler: end it when nobody listens any more. */
static void look_at_stream(struct wire_request *r)
{
	int fd;
	if (!peer_left(r, &fd))
		return;
	r->hung_up = true;
	r->suspended = false;
	MHD_resume_connection(r->conn);
}

/* Lock held. Nothing came since the last look, all that came was taken, and the peer will send no more: libmicrohttpd
 * missed the end. A shutdown makes the kernel tell it again. */
static void look_at_upload(struct wire_request *r)
{
	int fd, unread = 0;
	int64_t received = r->received;
	bool stalled = received == r->received_then;
	r->received_then = received;
	if (stalled && peer_left(r, &fd) && ioctl(fd, FIONREAD, &unread) == 0 && unread == 0)
		shutdown(fd, SHUT_RDWR);
}

/* Returns whether anybody is waiting for a client. */
static bool sweep_requests(struct wire_server *w)
{
	bool any = false;
	pthread_mutex_lock(&w->lock);
	for (struct wire_request *r = w->live; r; r = r->next) {
		pthread_mutex_lock(&r->lock);
		if (!r->gone && r->streaming && r->suspended) {
			any = true;
			look_at_stream(r);
		} else if (!r->gone && r->receiving && !r->suspended) {
			any = true;
			look_at_upload(r);
		} else if (r->receiving || r->streaming) {
			any = true;
		}
		pthread_mutex_unlock(&r->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return any;
}

static void pause_ms(struct lingerer *l, int ms)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)ms * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&l->wake, &l->lock, &until);
}

static void *linger_main(void *arg)
{
	struct lingerer *l = arg;
	int64_t looked_us = 0;
	pthread_mutex_lock(&l->lock);
	while (!l->stopping) {
		if (!l->count && !l->watching) {
			pthread_cond_wait(&l->wake, &l->lock);
			continue;
		}
		pause_ms(l, l->count ? TICK_MS : WATCH_MS);
		sweep_sockets(l);
		if (!l->watching || clock_monotonic_us() - looked_us < WATCH_MS * 1000)
			continue;
		looked_us = clock_monotonic_us();
		l->watching = false;
		pthread_mutex_unlock(&l->lock);
		bool any = sweep_requests(l->server);
		pthread_mutex_lock(&l->lock);
		if (any)
			l->watching = true;
	}
	for (int i = 0; i < l->count; i++)
		close(l->sockets[i].fd);
	l->count = 0;
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* Lock held. */
static void ensure_thread(struct lingerer *l)
{
	if (!l->running && !l->stopping)
		l->running = pthread_create(&l->thread, NULL, linger_main, l) == 0;
}

void linger_add(struct lingerer *l, int fd)
{
	shutdown(fd, SHUT_WR);
	pthread_mutex_lock(&l->lock);
	ensure_thread(l);
	int copy = -1;
	if (l->running && !l->stopping && l->count < (int)(sizeof(l->sockets) / sizeof(l->sockets[0])))
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy >= 0) {
		l->sockets[l->count++] = (struct linger_socket){ copy, clock_monotonic_us() + LINGER_US };
		pthread_cond_signal(&l->wake);
	}
	pthread_mutex_unlock(&l->lock);
}

void linger_watch(struct lingerer *l)
{
	if (l->watching)
		return;
	pthread_mutex_lock(&l->lock);
	ensure_thread(l);
	if (!l->watching) {
		l->watching = true;
		pthread_cond_signal(&l->wake);
	}
	pthread_mutex_unlock(&l->lock);
}

void linger_stop(struct lingerer *l)
{
	pthread_mutex_lock(&l->lock);
	l->stopping = true;
	pthread_cond_signal(&l->wake);
	bool join = l->running;
	l->running = false;
	pthread_mutex_unlock(&l->lock);
	if (join)
		pthread_join(l->thread, NULL);
}
