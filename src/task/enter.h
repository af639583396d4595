/* enter.h - a command inside a container of a running task.
 *
 * DESIGN: the supervisor's state file says which process it is; we enter its mount namespace, where the OCI runtime
 * keeps the containers' state, and let the runtime start the command with the container's limits and filters. It needs
 * the executor's rights (root, unless rootless) and a process of one thread. `quern exec` and the executor's sessions
 * (exec_session.c) go this way. */
#ifndef QUERN_TASK_ENTER_H
#define QUERN_TASK_ENTER_H

#include "base/arena.h"
#include "base/error.h"
#include "task/cgroup.h"

/* Filled by enter_find; texts are in its arena. */
struct enter {
	const char *task, *container;
	const char *priv; /* where the supervisor's private directory is, as it sees it */
	size_t index;
	int64_t uid, gid; /* of the command: the container's; the caller may say otherwise */
	int64_t supervisor;
	const char *runtime;
	const char *const
		*env; /* "NAME=value" where the container has none of that name, NULL-ended; or NULL. The caller's */
	bool crun, rootless;
	enum cgroup_mode cgroup;
};

/* Finds a running container of task `task` below data_dir; `container` NULL: the first. 0, or < 0: code "Unreadable"
 * (no right to read its state), "NotRunning" (the task), or none. */
int enter_find(struct arena *a, const char *data_dir, const char *task, const char *container, struct enter *out,
	       struct error *err);
/* Runs `command` (NULL-ended) there on our standard descriptors, with a terminal of its own when ours are one. Its exit
 * status, or < 0: code "Denied" when the namespaces may not be entered. The process cannot go back: it ends after. */
int enter_run(struct arena *a, const struct enter *t, char *const *command, struct error *err);

#endif
