/* netlink.h - the few rtnetlink requests a private network needs. Each acts in the network namespace the socket was
 * made in. */
#ifndef QUERN_TASK_NETLINK_H
#define QUERN_TASK_NETLINK_H

#include <stdint.h>
#include "base/error.h"

/* A socket in the calling thread's namespace, or < 0. Caller closes. */
int netlink_open(struct error *err);
int netlink_up(int nl, const char *name, struct error *err);
int netlink_add_bridge(int nl, const char *name, struct error *err);
/* A pair: `name` here, enslaved to bridge `master` (may be NULL); `peer` in the namespace peer_ns. */
int netlink_add_veth(int nl, const char *name, const char *master, const char *peer, int peer_ns, struct error *err);
/* address: host byte order */
int netlink_add_address(int nl, const char *name, uint32_t address, int prefix, struct error *err);

#endif
