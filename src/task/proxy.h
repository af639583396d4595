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
/* Takes the listening sockets (non-blocking). Connections go to 127.0.0.1:port: ours, or with netns >= 0 (borrowed for
 * the call) that of the network namespace. */
int proxy_start(const int *listeners, size_t n, uint16_t port, int netns, struct proxy **out, struct error *err);
/* Closes all connections and the listeners; waits for the thread. NULL is fine. */
void proxy_stop(struct proxy *p);

#endif
