/* relay.h - carries UDP datagrams from published ports to the network of a container, and its answers back.
 *
 * DESIGN: as proxy.h, for what has no connections: who sends to a published port gets a socket of their own in the
 * container's namespace, so that answers find the way back; it is closed after a minute without traffic. One thread. A
 * datagram that does not fit is lost, as on any network. */
#ifndef QUERN_TASK_RELAY_H
#define QUERN_TASK_RELAY_H

#include "task/proxy.h"

struct relay;
/* Takes the sockets of the ways (bound, non-blocking). netns is borrowed for the call. */
int relay_start(const struct proxy_way *ways, size_t n, int netns, struct relay **out, struct error *err);
/* Closes all sockets; waits for the thread. NULL is fine. */
void relay_stop(struct relay *r);

#endif
