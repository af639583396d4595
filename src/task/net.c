/* net.c - networks of tasks.
 *
 * DESIGN: "host": the machine's own. "none": the runtime makes an empty namespace. "private": a namespace a container,
 * made here; when there are several, a bridge in one more namespace of its own joins them (nothing of it is seen on the
 * host), and /etc/hosts names them. The API is at 169.254.170.2:<api_port>, which listens on each container's
 * loopback and is carried to the host by the proxy; another way out there is only with "egress". With "endpoints" it
 * listens in the bridge's namespace instead, on port 80 too, so that no port of the containers is taken. The namespaces
 * are made by a thread that enters them and ends there, so that we never have to come back (which rootless may not). */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "task/egress.h"
#include "task/netlink.h"
#include "task/proxy.h"
#include "task/relay.h"
#include "task/sup.h"

#define API_ADDRESS 0xa9feaa02u  /* 169.254.170.2 */
#define TASK_NETWORK 0x0ac80000u /* 10.200.0.0/24: seen only inside the task */
#define RANGE_TRIES 50
#define LINK_NETWORK 0xa9feaa00u /* 169.254.170.0/24: the way to the API with "endpoints" */

struct setup {
	struct sup *sup;
	int *listeners; /* one a container, and two of the hub; -1 = none */
	struct error err;
	int rc;
	struct error egress_err; /* why there is no way out */
};

struct net {
	struct proxy *proxy;
	struct proxy **tcp; /* of the published ports, one a container that has some; NULL = none */
	struct relay **udp;
	int hub; /* namespace of the bridge, or -1 */
	struct egress *egress;
	struct setup setup;
	pthread_t thread; /* that makes it */
	bool making;
};

/* A fresh namespace that this thread is in now. */
static int new_namespace(struct error *err)
{
	if (unshare(CLONE_NEWNET) < 0)
		return error_errno(err, errno, "make a network namespace");
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? error_errno(err, errno, "open the network namespace") : fd;
}

static int enter(int ns, struct error *err)
{
	return setns(ns, CLONE_NEWNET) < 0 ? error_errno(err, errno, "enter a network namespace") : 0;
}

static int listen_api(uint16_t port, struct error *err)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(API_ADDRESS) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_errno(err, errno, "make a socket");
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 256) < 0) {
		int e = errno;
		close(fd);
		return error_errno(err, e, "listen on 169.254.170.2:%u", port);
	}
	return fd;
}

/* How many namespaces containers have. */
static size_t count_nets(const struct sup *s)
{
	return s->spec.one_network ? 1 : s->spec.ncontainers;
}

/* "endpoints": the API at the device of the hub that containers are reached by. We are in the hub's namespace. */
static int listen_in_hub(struct setup *x, int nl, const char *device)
{
	if (!x->sup->spec.endpoints)
		return 0;
	int *own = x->listeners + x->sup->spec.ncontainers;
	if (netlink_up(nl, "lo", &x->err) < 0 || netlink_add_address(nl, device, API_ADDRESS, 24, &x->err) < 0)
		return -1;
	if (x->sup->api_port &&
	    ((own[0] = listen_api(x->sup->api_port, &x->err)) < 0 || (own[1] = listen_api(80, &x->err)) < 0))
		return -1;
	return 0;
}

/* A bridge joins several; one alone is at the other end of its pair. */
static int make_hub(struct setup *x)
{
	struct net *net = x->sup->net;
	net->hub = new_namespace(&x->err);
	if (net->hub < 0 || count_nets(x->sup) == 1)
		return net->hub < 0 ? -1 : 0;
	CLEANUP_FD int nl = netlink_open(&x->err);
	if (nl < 0 || netlink_add_bridge(nl, "br0", &x->err) < 0 || netlink_up(nl, "br0", &x->err) < 0)
		return -1;
	return listen_in_hub(x, nl, "br0");
}

static int make_container_net(struct setup *x, size_t i)
{
	struct sup *s = x->sup;
	struct sup_container *c = &s->containers[i];
	if (i && s->spec.one_network) {
		c->netns = fcntl(s->containers[0].netns, F_DUPFD_CLOEXEC, 3);
		return c->netns < 0 ? error_errno(&x->err, errno, "share the network namespace") : 0;
	}
	c->netns = new_namespace(&x->err);
	CLEANUP_FD int nl = c->netns < 0 ? -1 : netlink_open(&x->err);
	if (nl < 0 || netlink_up(nl, "lo", &x->err) < 0)
		return -1;
	if (s->spec.endpoints)
		return 0;
	if (netlink_add_address(nl, "lo", API_ADDRESS, 32, &x->err) < 0)
		return -1;
	if (s->api_port && (x->listeners[i] = listen_api(s->api_port, &x->err)) < 0)
		return -1;
	return 0;
}

static int join_hub(struct setup *x, size_t i)
{
	struct sup_container *c = &x->sup->containers[i];
	char name[24];
	snprintf(name, sizeof(name), "v%zu", i);
	if (enter(x->sup->net->hub, &x->err) < 0)
		return -1;
	CLEANUP_FD int hub = netlink_open(&x->err);
	bool alone = count_nets(x->sup) == 1;
	if (hub < 0 || netlink_add_veth(hub, name, alone ? NULL : "br0", "eth0", c->netns, &x->err) < 0 ||
	    netlink_up(hub, name, &x->err) < 0 || (alone && listen_in_hub(x, hub, name) < 0))
		return -1;
	if (enter(c->netns, &x->err) < 0)
		return -1;
	CLEANUP_FD int own = netlink_open(&x->err);
	if (own < 0 || netlink_add_address(own, "eth0", TASK_NETWORK + 2 + (uint32_t)i, 24, &x->err) < 0)
		return -1;
	if (x->sup->spec.endpoints &&
	    netlink_add_address(own, "eth0", LINK_NETWORK + 10 + (uint32_t)i, 24, &x->err) < 0)
		return -1;
	return netlink_up(own, "eth0", &x->err);
}

static void *make_all(void *arg)
{
	struct setup *x = arg;
	size_t n = x->sup->spec.ncontainers;
	size_t nets = count_nets(x->sup);
	bool hub = nets > 1 || x->sup->spec.endpoints;
	x->rc = hub ? make_hub(x) : 0;
	for (size_t i = 0; i < n && x->rc == 0; i++)
		x->rc = make_container_net(x, i);
	for (size_t i = 0; i < nets && hub && x->rc == 0; i++)
		x->rc = join_hub(x, i);
	return NULL;
}

static int open_egress(struct setup *x)
{
	struct sup *s = x->sup;
	size_t n = count_nets(s);
	if (!s->slirp)
		return error_set(&x->egress_err, "slirp4netns is not installed");
	int *netns = mem_calloc(n, sizeof(*netns));
	for (size_t i = 0; i < n; i++)
		netns[i] = s->containers[i].netns;
	int rc = egress_start(s->slirp, netns, n, &s->net->egress, &x->egress_err);
	free(netns);
	return rc;
}

/* Stays in the machine's network, where the way out begins. */
static void *make_with_egress(void *arg)
{
	struct setup *x = arg;
	pthread_t inside;
	x->rc = pthread_create(&inside, NULL, make_all, x);
	if (x->rc) {
		x->rc = error_errno(&x->err, x->rc, "start a thread");
		return NULL;
	}
	pthread_join(inside, NULL);
	if (x->rc == 0 && x->sup->spec.egress)
		open_egress(x);
	return NULL;
}

/* A socket at a port of our loopback; *port 0 becomes the one that was free. */
static int bind_published(bool udp, uint16_t *port, struct error *err)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(*port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int one = 1, fd = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_errno(err, errno, "make a socket");
	if (!udp)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || (!udp && listen(fd, 256) < 0) ||
	    getsockname(fd, (struct sockaddr *)&at, &len) < 0) {
		int e = errno;
		close(fd);
		if (e == EADDRINUSE)
			return error_set(err, "Bind for 127.0.0.1:%u failed: port is already allocated", *port);
		return error_errno(err, e, "listen on 127.0.0.1:%u", *port);
	}
	*port = ntohs(at.sin_port);
	return fd;
}

/* All ports of a range, one after the other from *first on. ways is filled, or nothing stays open. */
static int bind_range(const struct spec_port *p, uint16_t *first, struct proxy_way *ways, struct error *err)
{
	for (unsigned i = 0; i < p->count; i++) {
		uint16_t port = (uint16_t)(*first + i);
		bool room = !i || *first + i <= 65535;
		int fd = room ? bind_published(p->udp, &port, err) : error_set(err, "no port behind 65535");
		if (fd < 0) {
			while (i)
				close(ways[--i].fd);
			return -1;
		}
		*first = i ? *first : port;
		ways[i] = (struct proxy_way){ fd, (uint16_t)(p->container_port + i) };
	}
	return 0;
}

/* A range whose place is free to choose is tried elsewhere when a port in it is taken. */
static int bind_port(const struct spec_port *p, uint16_t *first, struct proxy_way *ways, struct error *err)
{
	for (int tries = 1;; tries++) {
		CLEANUP_ERROR struct error why = ERROR_INIT;
		*first = p->host_port;
		if (bind_range(p, first, ways, &why) == 0)
			return 0;
		if (p->host_port || tries == RANGE_TRIES) {
			error_move(err, &why);
			return error_wrap(err, "publish port %u", p->container_port);
		}
	}
}

/* The ports of one protocol. */
static int publish(struct sup_container *c, bool udp, struct error *err)
{
	struct net *net = c->sup->net;
	size_t total = 0, n = 0;
	for (size_t k = 0; k < c->spec->nports; k++)
		total += c->spec->ports[k].udp == udp ? c->spec->ports[k].count : 0;
	struct proxy_way *ways = ARENA_ARRAY(&c->sup->arena, struct proxy_way, total + 1);
	for (size_t k = 0; k < c->spec->nports; k++) {
		const struct spec_port *p = &c->spec->ports[k];
		if (p->udp != udp)
			continue;
		if (bind_port(p, &c->host_ports[k], ways + n, err) < 0) {
			while (n)
				close(ways[--n].fd);
			return error_wrap(err, "container `%s`", c->spec->name);
		}
		n += p->count;
	}
	if (!n)
		return 0;
	return udp ? relay_start(ways, n, c->netns, &net->udp[c->index], err)
		   : proxy_start(ways, n, c->netns, &net->tcp[c->index], err);
}

static int publish_ports(struct sup *s, struct error *err)
{
	s->net->tcp = ARENA_ARRAY(&s->arena, struct proxy *, s->spec.ncontainers);
	s->net->udp = ARENA_ARRAY(&s->arena, struct relay *, s->spec.ncontainers);
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		struct sup_container *c = &s->containers[i];
		if (!c->spec->nports)
			continue;
		c->host_ports = ARENA_ARRAY(&s->arena, uint16_t, c->spec->nports);
		if (publish(c, false, err) < 0 || publish(c, true, err) < 0)
			return -1;
	}
	return 0;
}

int net_begin(struct sup *s, struct error *err)
{
	size_t n = s->spec.ncontainers;
	if (s->spec.network != NETWORK_PRIVATE)
		return 0;
	struct net *net = s->net = ARENA_NEW(&s->arena, struct net);
	*net = (struct net){ .hub = -1, .setup = { .sup = s, .listeners = ARENA_ARRAY(&s->arena, int, n + 2) } };
	for (size_t i = 0; i < n + 2; i++)
		net->setup.listeners[i] = -1;
	int rc = pthread_create(&net->thread, NULL, make_with_egress, &net->setup);
	net->making = rc == 0;
	return rc ? error_errno(err, rc, "start a thread") : 0;
}

int net_end(struct sup *s, struct error *err)
{
	struct net *net = s->net;
	if (!net)
		return 0;
	struct setup *x = &net->setup;
	size_t n = s->spec.ncontainers, open = 0;
	pthread_join(net->thread, NULL);
	net->making = false;
	for (size_t i = 0; i < n + 2; i++)
		if (x->listeners[i] >= 0)
			x->listeners[open++] = x->listeners[i];
	if (x->rc < 0) {
		for (size_t i = 0; i < open; i++)
			close(x->listeners[i]);
		error_move(err, &x->err);
		return error_wrap(err, "private network");
	}
	if (x->egress_err.message)
		sup_note(s, "no way out of the task's network but to Quern: %s", error_text(&x->egress_err));
	struct proxy_way *ways = ARENA_ARRAY(&s->arena, struct proxy_way, open + 1);
	for (size_t i = 0; i < open; i++)
		ways[i] = (struct proxy_way){ x->listeners[i], s->api_port };
	if (open && proxy_start(ways, open, -1, &net->proxy, err) < 0)
		return -1;
	return publish_ports(s, err);
}

void net_teardown(struct sup *s)
{
	if (!s->net)
		return;
	if (s->net->making) { /* the start was broken off */
		pthread_join(s->net->thread, NULL);
		error_release(&s->net->setup.err);
	}
	error_release(&s->net->setup.egress_err);
	egress_stop(s->net->egress);
	proxy_stop(s->net->proxy);
	for (size_t i = 0; s->net->udp && i < s->spec.ncontainers; i++) {
		proxy_stop(s->net->tcp[i]);
		relay_stop(s->net->udp[i]);
	}
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		if (s->containers[i].netns >= 0)
			close(s->containers[i].netns);
	if (s->net->hub >= 0)
		close(s->net->hub);
}

const char *net_hosts(struct sup_container *c)
{
	struct sup *s = c->sup;
	CLEANUP_BUF struct buf text = BUF_INIT;
	bool joined = s->spec.network == NETWORK_PRIVATE && s->spec.ncontainers > 1 && !s->spec.one_network;
	buf_addz(&text, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		struct in_addr at = { htonl(joined ? TASK_NETWORK + 2 + (uint32_t)i : INADDR_LOOPBACK) };
		char ip[INET_ADDRSTRLEN];
		const char *name = s->spec.containers[i].name, *other = s->spec.containers[i].hostname;
		buf_printf(&text, "%s\t%s%s%s", inet_ntop(AF_INET, &at, ip, sizeof(ip)), name, other ? " " : "",
			   other ? other : "");
		for (size_t k = 0; k < c->spec->nhosts; k++)
			if (c->spec->hosts[k].container && !strcmp(c->spec->hosts[k].container, name))
				buf_printf(&text, " %s", c->spec->hosts[k].name);
		buf_addz(&text, "\n");
	}
	for (size_t i = 0; i < c->spec->nhosts; i++)
		if (c->spec->hosts[i].ip)
			buf_printf(&text, "%s\t%s\n", c->spec->hosts[i].ip, c->spec->hosts[i].name);
	return arena_strdup(&s->arena, buf_str(&text));
}
