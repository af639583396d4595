/* egress.h - the way out of a task's own networks: user-mode translation of addresses by slirp4netns.
 *
 * DESIGN: one slirp4netns a network namespace. It has a device there, answers what goes to it with sockets of the
 * machine's, so that nothing of the machine's own network is changed, and needs no privileges outside (rootless too).
 * It is a process of its own, without privileges, in a sandbox of its own and under a filter of system calls, because
 * what a container sends is parsed there. The machine's loopback is closed to it. It ends with us, whatever ends us. */
#ifndef QUERN_TASK_EGRESS_H
#define QUERN_TASK_EGRESS_H

#include <stddef.h>

#include "base/error.h"

#define EGRESS_NETWORK "10.200.255.0/24" /* between a namespace and slirp4netns; nobody else sees it */
#define EGRESS_RESOLVER "10.200.255.3"   /* there: whom the machine asks for names */

struct egress;
/* Opens the way out of n namespaces (borrowed descriptors) and waits until it is there; a thread in the machine's
 * network calls it. `program`: slirp4netns. *out is to be stopped, also after an error. */
int egress_start(const char *program, const int *netns, size_t n, struct egress **out, struct error *err);
/* Ends and frees it. NULL is fine. */
void egress_stop(struct egress *e);

#endif
