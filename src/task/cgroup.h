/* cgroup.h - the control groups of containers: where they are, what they counted, their end.
 *
 * DESIGN: the OCI runtime makes a container's groups and sets the limits, except with v1 and crun: the first move of a
 * process between v1 groups waits for the kernel for 5 to 15 ms, so there we make the groups and move the process that
 * becomes crun while the mounts are made. We read the counters when a container has ended and remove the groups
 * ourselves (the runtime would lose the OOM counter). Four modes: "unified" (v2), "legacy" (v1), "hybrid" (v1 with
 * limits, beside a v2 tree without them) and "none" (rootless without delegation: no limits). Groups are always
 * /quern/<task>/<container>. */
#ifndef QUERN_TASK_CGROUP_H
#define QUERN_TASK_CGROUP_H

#include <stddef.h>
#include <stdint.h>
#include "base/error.h"

enum cgroup_mode { CGROUP_NONE, CGROUP_LEGACY, CGROUP_HYBRID, CGROUP_UNIFIED };

enum cgroup_mode cgroup_detect(void);
const char *cgroup_mode_name(enum cgroup_mode mode);
enum cgroup_mode cgroup_mode_of(const char *name);
/* Is the controller ("cpu", "memory", "pids", "cpuacct", "devices") there to set limits with? */
bool cgroup_has(enum cgroup_mode mode, const char *controller);
/* In a mount namespace of the caller's own: unmounts the v2 tree of a hybrid machine. crun refuses a machine with v1
 * and v2 control groups side by side when it sees the v2 tree, which has no limits to offer there, and runc makes
 * useless groups in it. */
int cgroup_hide_second_tree(struct error *err);
/* Makes /quern ready for containers (v2: switches the controllers on). Once, by the executor. */
int cgroup_prepare(enum cgroup_mode mode, struct error *err);

struct cgroup_limits {
	double cpus; /* 0 = none, as in the others */
	int64_t memory_bytes, pids;
	int64_t swap_bytes;        /* beside memory_bytes, when that is set */
	int64_t reservation_bytes; /* soft: reclaimed down to it when the machine is short */
	int64_t cpu_shares;        /* 2..262144, 1024 = one share */
	int64_t swappiness;        /* -1: as it is */
};
/* What to write where for such limits: the files in order, "cpu/cpu.cfs_quota_us" with v1 (the controller first),
 * "cpu.max" with v2. What the machine cannot limit is left out by the writer. Returns how many there are. */
struct cgroup_setting {
	const char *file;
	char value[32];
};
#define CGROUP_SETTINGS 8
size_t cgroup_settings(enum cgroup_mode mode, const struct cgroup_limits *limits,
		       struct cgroup_setting out[CGROUP_SETTINGS]);
/* Makes the group of a task ("/quern/<task>") with the limits of all its containers together; before theirs. */
int cgroup_make_task(enum cgroup_mode mode, const char *group, const struct cgroup_limits *limits, struct error *err);
/* What the runtime has of its own in a container's groups while it starts it. */
enum { CGROUP_START_PIDS = 4 };
/* v1: makes the groups of a container with their limits and the rules for devices. A limit on processes below
 * CGROUP_START_PIDS is that, until cgroup_limit_pids. */
int cgroup_make(const char *group, const struct cgroup_limits *limits, struct error *err);
/* v1: the container may use a device: "c 195:0 rwm". */
int cgroup_allow_device(const char *group, const char *rule, struct error *err);
/* v1: moves the calling process into the groups. Fit for a child between fork and exec. 0 or -errno. */
int cgroup_enter(const char *group);
/* v1: from here the container may not have more processes than that. */
void cgroup_limit_pids(const char *group, int64_t pids);

struct cgroup_usage {
	int64_t cpu_ms, memory_peak_bytes; /* -1: not known */
	int64_t oom_kills;
};
/* What the group "/quern/task/container" has counted so far. */
void cgroup_read(enum cgroup_mode mode, const char *group, struct cgroup_usage *out);
struct cgroup_now {
	int64_t cpu_ns, cpu_user_ns, cpu_system_ns, periods, throttled, throttled_ns;
	int64_t memory, memory_peak, memory_limit, cache, rss, pids; /* memory_limit 0: none */
};
/* What it uses at this moment; what the machine does not count is 0. */
void cgroup_read_now(enum cgroup_mode mode, const char *group, struct cgroup_now *out);
/* SIGKILL to all in the group, until none is left or 5 s are over. */
void cgroup_kill(enum cgroup_mode mode, const char *group);
/* Removes the group; waits shortly when the kernel still holds it. */
void cgroup_remove(enum cgroup_mode mode, const char *group);
/* The directory of a v1 controller's group into path (>= 4096). */
void cgroup_v1_path(const char *controller, const char *group, char *path);

#endif
