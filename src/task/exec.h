/* exec.h - inside the executor.
 *
 * DESIGN: one thread, one event loop. exec_task.c knows tasks (booking, supervisors, results on disk), executor.c knows
 * clients. The disk is the truth: <data>/tasks/<id>/exec/task.json (accepted) and state.json (from the supervisor);
 * memory is rebuilt from it at start. <data>/tasks/.exec/ is the executor's own: lock, skeletons, seccomp filter,
 * forgotten/<id> (tombstones, kept seven days, so that a start that is repeated late does not run a task again). */
#ifndef QUERN_TASK_EXEC_H
#define QUERN_TASK_EXEC_H

#include <jansson.h>
#include <time.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "task/machine.h"
#include "task/spec.h"
#include "task/task.h"

enum exec_phase { EXEC_QUEUED, EXEC_LIVE, EXEC_STOPPED };
struct exec_task {
	char *id, *owner;
	enum exec_phase phase;
	double cpus;
	int64_t memory_bytes;
	int64_t gpus_wanted;
	json_t *gpus;      /* {container: [names]}, once it is launched */
	int64_t seq;       /* order of arrival */
	int64_t forked_at; /* monotonic ms */
	json_t *task;      /* task.json while it waits; NULL afterwards */
	json_t *state;     /* the supervisor's last word, or NULL */
	json_t *event;     /* "stopped" */
	bool started_told;
	int64_t changes_told;
	int exec_fd, fd; /* its directory; the supervisor's socket or -1 */
	int synced;      /* the supervisor waits at the other end until task.json is on disk; or -1 */
	struct buf in;
};

struct executor {
	struct executor_options options;
	struct arena arena;
	struct machine machine;
	char boot[40];
	int data_fd, tasks_fd, own_fd, lock_fd;
	int epoll;
	int runtime_fd;                /* sealed copy of the runtime, or -1 */
	struct timespec runtime_mtime; /* of the file it was made from */
	struct map tasks;              /* id -> struct exec_task */
	double cpus_used;
	int64_t memory_used, next_seq;
	void (*tell)(struct executor *x, struct exec_task *t,
		     const json_t *event); /* to subscribed clients; t->owner */
};
#define EXEC_TAG_LISTENER 1
#define EXEC_TAG_SIGNALS 2
#define EXEC_TAG_CLIENT 16 /* + index; below 4096 */
/* a larger tag is a struct exec_task * */

int exec_tasks_open(struct executor *x, struct error *err);
/* Reads what is on disk: queued, live (connects), stopped, lost. */
int exec_tasks_adopt(struct executor *x, struct error *err);
/* Accepts a spec; *phase becomes "queued", "live", "stopped" or "forgotten". Durable after exec_sync. */
int exec_start(struct executor *x, const char *owner, const json_t *spec, const char **phase, struct error *err);
/* fsync of what exec_start wrote for `id`; its supervisor goes on. */
int exec_sync(struct executor *x, const char *id, struct error *err);
void exec_stop(struct executor *x, const char *id);
void exec_forget(struct executor *x, const char *id);
/* The events that say where the task is now: queued, started, stopped. */
void exec_tell_now(struct executor *x, struct exec_task *t,
		   void (*tell)(void *ctx, struct exec_task *t, const json_t *event), void *ctx);
/* Data or the end from a supervisor. */
void exec_supervisor_ready(struct executor *x, struct exec_task *t);
/* Starts what fits, in order of arrival. */
void exec_schedule(struct executor *x);
/* Removes what was forgotten and old tombstones; in a child process. */
void exec_prune(struct executor *x);
json_t *exec_list(struct executor *x);
/* What the containers of a live task use now: {container: {stats.h, "restarts"}}; owned. */
json_t *exec_stats(struct executor *x, const char *id);
json_t *exec_machine(struct executor *x);
void exec_tasks_close(struct executor *x);

/* exec_gpu.c */
int64_t exec_gpus_wanted(const json_t *spec);
/* How many the machine has, or are free now. */
size_t exec_gpus_count(const struct executor *x, bool free_only);
/* Their names; owned. */
json_t *exec_gpus_list(const struct executor *x);
/* Gives a task that is launched now as many as it wants: t->gpus and task.json's "gpus". They are free again when it
 * has stopped. */
void exec_gpus_assign(const struct executor *x, struct exec_task *t);

/* exec_kept.c */
/* Is what is left of task `id` kept? */
bool exec_is_kept(struct executor *x, const char *id);
/* Lets go of what is too old, too much, or in the way of a disk that is nearly full. In a child process. */
void exec_limit_kept(struct executor *x);

/* exec_disk.c: the same on disk. */
int exec_open_task(struct executor *x, const char *id, bool make, struct error *err); /* fd of exec/ */
bool exec_is_forgotten(struct executor *x, const char *id);
int exec_write_task(struct executor *x, int exec_fd, const json_t *task, bool sync, struct error *err);
json_t *exec_read_json(int exec_fd, const char *name);
int exec_bury(struct executor *x, const char *id, struct error *err);
/* Kills what is left of a task without supervisor and writes its "stopped" event (reason "lost"). Owned. */
json_t *exec_write_lost(struct executor *x, const char *id, int exec_fd, const json_t *state);
/* A "stopped" event for containers that never ran; written as state.json. Owned. */
json_t *exec_write_unstarted(struct executor *x, const char *id, int exec_fd, const json_t *task, const char *reason);
void exec_remove_leftovers(struct executor *x, const char *id);

/* exec_session.c */
/* Starts the command of an "exec" request in a child, which answers over `client`; the caller closes its own copy. < 0:
 * there is no child, the caller answers. */
int exec_session(struct executor *x, int client, const json_t *message, struct error *err);

/* exec_layers.c */
/* Links the archives of a task that must wait into its exec directory; a failure is logged. */
void exec_link_layers(struct executor *x, int exec_fd, const struct task_spec *spec);
/* Drops unpacked layers that nothing uses; `request` and the answer (owned; NULL with err) as in executor.c. */
json_t *exec_collect_layers(struct executor *x, const json_t *request, struct error *err);

#endif
