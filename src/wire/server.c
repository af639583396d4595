/* server.c - the server's life: options, socket, threads, stop. See wire.h.
 *
 * DESIGN: our own listening socket (any address, port 0, backlog) is handed to libmicrohttpd, which runs one epoll
 * thread a CPU. Stopping: new connections and requests are refused, running requests get the grace, what is left is cut
 * off, then the threads end. A request that somebody still works on keeps the server's memory until it is let go. */
#include "wire/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

/* ---- memory ---- */

int wire_server_new(const struct wire_options *options, struct wire_server **out, struct error *err)
{
	struct wire_server *w = mem_calloc(1, sizeof(*w));
	w->o = *options;
	w->bind = mem_strdup(options->bind ? options->bind : "127.0.0.1");
	w->region = mem_strdup(options->region ? options->region : "us-east-1");
	w->account = mem_strdup(options->account ? options->account : "000000000000");
	if (w->o.max_json_bytes <= 0)
		w->o.max_json_bytes = 16 * 1024 * 1024;
	if (w->o.max_connections <= 0)
		w->o.max_connections = 4096;
	if (w->o.idle_timeout_s <= 0)
		w->o.idle_timeout_s = 75;
	if (w->o.threads <= 0)
		w->o.threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
	if (w->o.threads < 1)
		w->o.threads = 1;
	w->listen_fd = -1;
	w->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->stop_fd < 0)
		BUG("make an event: %s", strerror(errno));
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->quiet, NULL);
	w->work = work_new(HTTP_WORKERS);
	linger_init(&w->linger, w);
	*out = w;
	return 0;
}

void server_destroy(struct wire_server *w)
{
	for (size_t i = 0; i < w->nservices; i++)
		map_release(&w->services[i].ops);
	free(w->services);
	close(w->stop_fd);
	work_free(w->work);
	pthread_cond_destroy(&w->linger.wake);
	pthread_mutex_destroy(&w->linger.lock);
	pthread_cond_destroy(&w->quiet);
	pthread_mutex_destroy(&w->lock);
	free(w->bind);
	free(w->region);
	free(w->account);
	free(w);
}

void wire_server_free(struct wire_server *w)
{
	if (!w)
		return;
	wire_stop(w, 0);
	work_end(w->work);
	linger_stop(&w->linger);
	if (w->listen_fd >= 0)
		close(w->listen_fd);
	w->listen_fd = -1;
	pthread_mutex_lock(&w->lock);
	int left = w->nlive;
	w->freed = true;
	pthread_mutex_unlock(&w->lock);
	if (left)
		log_warn("wire", "%d requests were never answered by their handlers", left);
	else
		server_destroy(w);
}

void wire_add_service(struct wire_server *w, const struct wire_service *service)
{
	if (w->started)
		BUG("service %s added to a running server", service->scope);
	w->services = mem_realloc(w->services, (w->nservices + 1) * sizeof(*w->services));
	struct service *sv = &w->services[w->nservices++];
	*sv = (struct service){ .s = service };
	route_service(sv);
}

/* ---- socket ---- */

static bool is_loopback(const struct sockaddr *sa)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
	return sa->sa_family == AF_INET ? ntohl(v4->sin_addr.s_addr) >> 24 == 127
					: IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/* Connections inherit it. Nothing is lost between programs of one machine, and where the system's default is bbr, its
 * pacing makes the reader of a large body wait: 100 MiB took 1.6 times as long. Every kernel has reno. */
static void set_congestion(int fd, const struct sockaddr *sa)
{
	static const char reno[] = "reno";
	if (is_loopback(sa) && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, reno, sizeof(reno) - 1) < 0)
		log_debug("wire", "TCP congestion control stays the system's: %s", strerror(errno));
}

static int open_socket(struct wire_server *w, const struct addrinfo *ai, struct error *err)
{
	CLEANUP_FD int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(err, errno, "open a socket for `%s`", w->bind);
	int on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	set_congestion(fd, ai->ai_addr);
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0)
		return error_errno(err, errno, "bind to %s port %u", w->bind, w->o.port);
	if (listen(fd, 1024) < 0)
		return error_errno(err, errno, "listen on %s port %u", w->bind, w->o.port);
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} name = { 0 };
	socklen_t len = sizeof(name);
	if (getsockname(fd, &name.any, &len) < 0)
		return error_errno(err, errno, "name of the socket on %s", w->bind);
	w->port = ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
	w->listen_fd = fd_take(&fd);
	return 0;
}

static int open_listener(struct wire_server *w, struct error *err)
{
	char port[16];
	snprintf(port, sizeof(port), "%u", w->o.port);
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				  .ai_socktype = SOCK_STREAM },
			*ai = NULL;
	int rc = getaddrinfo(w->bind, port, &hints, &ai);
	if (rc != 0)
		return error_set(err, "`%s` is not an address to listen on: %s", w->bind, gai_strerror(rc));
	rc = open_socket(w, ai, err);
	freeaddrinfo(ai);
	return rc;
}

/* ---- start and stop ---- */

__attribute__((format(printf, 2, 0))) static void mhd_log(void *cls, const char *fmt, va_list ap)
{
	char text[512];
	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = 0;
	log_debug("wire", "libmicrohttpd: %s", text);
}

_Noreturn static void mhd_panic(void *cls, const char *file, unsigned line, const char *reason)
{
	BUG("libmicrohttpd %s:%u: %s", file, line, reason ? reason : "");
}

/* Arguments are decoded by us, from the copy made at the request line. */
static size_t leave_escaped(void *cls, struct MHD_Connection *conn, char *s)
{
	return strlen(s);
}

int wire_start(struct wire_server *w, struct error *err)
{
	if (open_listener(w, err) < 0)
		return -1;
	MHD_set_panic_func(mhd_panic, NULL);
	struct MHD_OptionItem pool[] = { { MHD_OPTION_THREAD_POOL_SIZE, w->o.threads, NULL },
					 { MHD_OPTION_END, 0, NULL } };
	if (w->o.threads < 2)
		pool[0] = pool[1];
	w->daemon = MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE | MHD_USE_ITC |
			MHD_USE_ERROR_LOG | MHD_USE_SUPPRESS_DATE_NO_CLOCK,
		0, NULL, NULL, serve_request, w, MHD_OPTION_EXTERNAL_LOGGER, mhd_log, NULL, MHD_OPTION_LISTEN_SOCKET,
		w->listen_fd, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)HTTP_POOL_BYTES, MHD_OPTION_CONNECTION_LIMIT, (unsigned)w->o.max_connections,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)w->o.idle_timeout_s, MHD_OPTION_URI_LOG_CALLBACK, serve_uri, w,
		MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL, MHD_OPTION_NOTIFY_COMPLETED, serve_completed, w,
		MHD_OPTION_NOTIFY_CONNECTION, serve_connection, w, MHD_OPTION_ARRAY, pool, MHD_OPTION_END);
	if (!w->daemon)
		return error_set(err, "start the HTTP server on %s port %u", w->bind, w->port);
	w->started = true;
	return 0;
}

uint16_t wire_port(struct wire_server *w)
{
	return w->port;
}

static void wait_quiet(struct wire_server *w, int grace_ms)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += grace_ms / 1000;
	until.tv_nsec += (long)(grace_ms % 1000) * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&w->lock);
	while (w->nactive > 0 && pthread_cond_timedwait(&w->quiet, &w->lock, &until) == 0)
		;
	pthread_mutex_unlock(&w->lock);
}

static void detach_all(struct wire_server *w)
{
	pthread_mutex_lock(&w->lock);
	w->detaching = true;
	for (struct wire_request *r = w->live; r; r = r->next)
		request_detach(r);
	pthread_mutex_unlock(&w->lock);
}

void wire_stop(struct wire_server *w, int grace_ms)
{
	if (!w->daemon)
		return;
	w->stopping = true;
	eventfd_write(w->stop_fd, 1);
	MHD_quiesce_daemon(w->daemon);
	shutdown(w->listen_fd, SHUT_RD); /* the kernel refuses connections from now on */
	wait_quiet(w, grace_ms);
	detach_all(w);
	websocket_join_all(w);
	MHD_stop_daemon(w->daemon);
	w->daemon = NULL;
	work_end(w->work);
	linger_stop(&w->linger);
	close(w->listen_fd);
	w->listen_fd = -1;
}
