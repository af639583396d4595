/* proxy.h - carries TCP connections from listening sockets in containers' networks to the API on the host's loopback.
 *
 * DESIGN: the listening sockets were made inside the containers' namespaces and handed over; connections out are made
 * in ours. One thread, edge-triggered epoll, data moves by splice(2) through a pipe a direction and never into our
 * memory. Half-closed connections stay half-closed. Containers have no other way out of a private network. */
#ifndef QUERN_TASK_PROXY_H
#define QUERN_TASK_PROXY_H

#include <stddef.h>
#include <stdint.h>
#include "base/error.h"

struct proxy;
struct proxy_way {
	int fd;        /* a listening socket, non-blocking */
	uint16_t port; /* where its connections go to, at 127.0.0.1 */
};
/* Takes the sockets of the ways. Connections go to our loopback, or with netns >= 0 (borrowed for the call) to that of
 * the network namespace. */
int proxy_start(const struct proxy_way *ways, size_t n, int netns, struct proxy **out, struct error *err);
/* Closes all connections and the listeners; waits for the thread. NULL is fine. */
void proxy_stop(struct proxy *p);

#endif
