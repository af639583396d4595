/* stats.h - what a running container uses now, in the form of Docker's "stats" (which ECS's metadata shows). */
#ifndef QUERN_TASK_STATS_H
#define QUERN_TASK_STATS_H

#include <jansson.h>
#include "task/cgroup.h"

/* group: "/quern/<task>/<container>"; pid: its first process, for the network (0: left out). One reading: the members
 * of "precpu_stats" are 0. Owned. */
json_t *stats_read(enum cgroup_mode mode, const char *group, int pid);

#endif
