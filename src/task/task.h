/* task.h - running containers.
 *
 * DESIGN: every face of Quern (processing job, training job, ECS task, later endpoints) describes work as one JSON task
 * spec. The daemon (unprivileged) gives it to the executor (`quern executor`, root or rootless) over a unix socket; the
 * executor forks one supervisor per task (shown as `quern task <id>`), which owns mounts, the OCI runtime, log files,
 * stop timers and the result, and outlives both. Everything of a task is under `<data>/tasks/<task id>/`. A start with
 * an id that exists is answered with that task's state: starting is idempotent. The result stays until task_forget.
 *
 * ---- the task spec (all paths absolute on the host; sizes in bytes, times in ms) ----
 * { "id": "tj-...",                       [a-z0-9-]{1,128}, unique for ever
 *   "containers": [ {
 *      "name": "algo-1",                  unique in the task; also its host name
 *      "image": "…/sagemaker-xgboost:1.7-1",   resolved by repository and tag, see image.h
 *      "rootfs": {"digest", "config": {image configuration}, "layers": [{"digest", "diff_id", "path": blob on the
 * host}]}   a stored image; task_start adds it "entrypoint": ["…"]|null, "command": ["…"]|null,   null = the image's
 * own "env":
 * {"K":"V"}, "user": "uid[:gid]"|null, "workdir": "/"|null, "readonly_root": false, "init": false,
 * "terminal": false (a tty, whose output is the log), "stdin": false (open and silent, not /dev/null), "essential":
 * true|false|"on-failure",   its end stops the others: always, never, or when it did not exit 0 "mounts": [
 * {"type":"stage", "source":"<host dir of hard links>", "target":"/opt/ml/input/data/train", "writable":true},
 *                  {"type":"scratch", "name":"model", "target":"/opt/ml/model"},      shared by name inside the task,
 * empty at start (or a copy of the host dir "seed")
 *                  {"type":"bind", "source":"…", "target":"…", "readonly":true},
 *                  {"type":"tmpfs", "target":"…", "size":n} ],
 *      "files": [ {"path":"/opt/ml/input/config/hyperparameters.json", "text":"…", "mode":420} ],   written before the
 * start "cpu_quota": 2.0|null (CPUs), "cpu_shares": n (weight), "memory": bytes|null, "memory_reservation": bytes
 * (soft), "swap": bytes beside it, "swappiness": 0-100, "pids": n|null, "shm": bytes|null, "gpus": n (for it alone; see
 * cdi.h), "restart": {"period_ms": n, "ignored": [exit codes]}  started again when it ran that long, "hostname": text,
 * "hosts": [{"name","ip"}] or {"name","container"}: another name of it, "dns": {"servers":[],"search":[]}, "sysctls":
 * {name: value}, "after":
 * [{"container":"db","condition":"START"|"COMPLETE"|"SUCCESS"|"HEALTHY"}], "start_timeout_ms": n (others wait that long
 * for it at most), "health": {"command":["CMD-SHELL","..."],"interval_ms","timeout_ms","retries","start_period_ms"},
 *      "ports": [{"container_port":80,"host_port":0,"count":1,"protocol":"tcp"|"udp"}],   private: reachable at
 * 127.0.0.1:<host_port> (0: any that is free) "capabilities": {"add":[],"drop":[]}, "ulimits":
 * [{"name":"nofile","soft":n,"hard":n}], "stop_timeout_ms": 30000, "stop_signal": "SIGTERM", "log": "<host path of the
 * log file to append to>"|null, "forward": {"container", "scratch", "tag", "id", "name", "records"} instead (forward.h)
 * } ], "network": "host"|"none"|"private",   private: own namespace per container, names resolve, API proxied at
 * 169.254.170.2 "keep_failed": false,                 what its containers left when it fails is kept for `quern debug`
 * "shared_pid": false,                  one PID namespace for all containers, "ipc": "private"|"none"|"task"   (see
 * share.h; none: no /dev/shm) "one_network": false,                 private: one namespace for all containers, who then
 * meet on 127.0.0.1 "endpoints": false,                   private: 169.254.170.2 is outside of the containers'
 * namespaces (no port of theirs is taken), port 80 is the API too, "egress": false, private: what the machine reaches
 * is reached, except its loopback "max_runtime_ms": n|null,             then stopped with reason "timeout" "resources":
 * {"cpus": 4.0, "memory": n},   what the scheduler books on this machine; queued when full (GPUs too) "limits":
 * {"cpus","memory","cpu_shares"},   what all containers may use together "outputs": [ {"name":"model", "from":"<scratch
 * name>", "path":"" , "form":"tar.gz"|"files", "when":"success"|"always", "container":null} ] }
 *
 * Log files: one record a line, "<epoch ms> <text>\n" ('\r' and NUL kept, an over-long line is cut at 256 KiB into
 * several records).
 *
 * ---- events given to the listener (JSON) ----
 * {"task":id, "type":"started", "at":ms}                         all containers run (or have run)
 * {"task":id, "type":"changed",
 * "containers":[{"name","phase":"new"|"starting"|"running"|"ended","health":"UNKNOWN"|"HEALTHY"|"UNHEALTHY",
 *   "exit_code","ports":[{"container_port","host_port"}], ...}]}  only with "report": a container ended, its health
 * changed while the task goes on
 * {"task":id, "type":"queued", "reason":"…"}                     waits for cpu/memory
 * {"task":id, "type":"stopped", "at":ms, "started_at":ms|null,
 * "reason":"exited"|"stop"|"timeout"|"start-failed"|"lost", "error":"CannotPullContainerError: …"|null,
 *   "containers":[{"name","exit_code":n|null,"signal":n|null,"oom":bool,"started_at","finished_at","error":text|null,
 * "cpu_ms":n, "memory_peak":n}], "notes":["scaled down to 2 CPUs …"], "texts": {"<container>":{"failure":"first 1024
 * bytes of /opt/ml/output/failure", "message":"…/opt/ml/output/message"}},
 *   "outputs":[{"name":"model","files":[{"key":"model.tar.gz","path":"<host path, same file system as the blobs, owned
 * by the daemon>","size":n}]}] } "stopped" is repeated at each reconnect until task_forget, "started" and "queued" may
 * be: actors take a repetition. When a task is forgotten all of its directory goes but out/, which is the daemon's to
 * empty; the id stays known for seven days, so that a late repetition of the start runs nothing. "success" of outputs:
 * the essential containers exited 0 by themselves (or were ended because another one had). The network "host" is for
 * single containers that install packages: they see the machine's loopback, so CAP_NET_RAW is withheld there. "none"
 * and "private" have no way out (but for the API in "private"). */
#ifndef QUERN_TASK_TASK_H
#define QUERN_TASK_TASK_H

#include <jansson.h>
#include "base/error.h"
#include "engine/engine.h"

struct task_client;

/* Connects to (and keeps reconnecting to) the executor at `socket_path`; starts one thread. Events go to the actor
 * named in "owner" of task_start as {"type":"task", "event":{…}} through engine_post; a "stopped" event is forgotten
 * only after that is on disk. */
int task_client_new(const char *socket_path, struct engine *e, struct task_client **out, struct error *err);
/* After engine_stop: the engine's workers may still be in the calls below before that. */
void task_client_free(struct task_client *c);
/* Where stored images come from (the registry), asked by task_start for each container; set before the engine starts.
 * find: *rootfs is given owned (spec member "rootfs") or left NULL when there is no such image; < 0 for a fault, or
 * with code "CannotPullContainerError" for an image that cannot run. From worker threads. */
typedef int (*task_image)(void *ctx, const char *image, json_t **rootfs, struct error *err);
void task_client_set_images(struct task_client *c, task_image find, void *ctx);
/* Starts (idempotent by spec.id). Takes nothing; blocks until the executor has the task on disk. From a worker thread.
 */
int task_start(struct task_client *c, const char *owner_actor, json_t *spec, struct error *err);
/* Asks for a stop: SIGTERM, then SIGKILL after each container's stop_timeout. Unknown id: no error. */
int task_stop(struct task_client *c, const char *task_id, const char *reason, struct error *err);
/* Drops unpacked layers of stored images that no task uses. `request` {"keep","idle_ms","max_age_ms","max_bytes","dry"}
 * and answer (owned) {"removed","removed_bytes","kept","kept_bytes","in_use"}: see executor.c. */
json_t *task_collect_layers(struct task_client *c, const json_t *request, struct error *err);
/* {"task","state","containers":[{name,pid,...}]} of live tasks; owned. */
json_t *task_list(struct task_client *c, struct error *err);
/* What the containers of a live task use now: {container: statistics as Docker shows them, "restarts"}; owned. */
json_t *task_stats(struct task_client *c, const char *task_id, struct error *err);
/* A command in a container of a live task, on a terminal of its own. */
struct task_command {
	const char *task, *container; /* container NULL: the first */
	const json_t *command;        /* array of texts */
	const char *const *env;       /* "NAME=value" where the container has none of that name, NULL-ended; or NULL */
	bool root;                    /* as root of the container, not as its user */
	int rows, cols;
};
/* Starts it. *terminal: the master of its terminal, owned, non-blocking; reading fails with EIO when it has ended, and
 * closing it ends it. Blocks up to 10 s, or until `stop` can be read (-1: never). err: code "NotRunning", or none. */
int task_open_terminal(struct task_client *c, const struct task_command *what, int stop, int *terminal,
		       struct error *err);
/* The machine's CPUs, as the executor said when the daemon connected to it; 0 = it never did. */
double task_cpus(struct task_client *c);
/* The machine as the executor sees it: {"cpus","memory","gpus":[names],"runtime","cgroup_mode","rootless","notes":[…]};
 * owned. */
json_t *task_machine(struct task_client *c, struct error *err);

/* The effects "task.start" {owner, spec} and "task.stop" {task, reason}, for turn_effect: registered here. A start that
 * fails is turned into a "stopped" event with reason "start-failed". `prepare` (may be NULL) is called on the worker
 * with the spec before it is sent: it resolves what needs the store (stages channels, see stage in sagemaker_stage.c).
 */
typedef int (*task_prepare)(void *ctx, struct engine *e, json_t *spec, struct error *err);
void task_add_effects(struct engine *e, struct task_client *c, task_prepare prepare, void *ctx);

/* ---- roles of the executable ---- */
struct executor_options {
	const char *socket_path;
	const char *data_dir;       /* tasks/ lives below */
	const char *images_dir;     /* built-in images' content (libexecdir/quern/images) */
	int daemon_uid, daemon_gid; /* who may connect, and who owns outputs; -1: same as the executor */
	const char *runtime;        /* "crun", "runc" or NULL = best */
	const char *cdi_dirs;       /* where GPUs are described, separated by ':'; NULL = /etc/cdi:/var/run/cdi */
	uint16_t api_port;          /* for network "private" */
};
/* Runs until SIGTERM; tasks go on. Returns the exit status. */
int executor_main(const struct executor_options *options);
/* `quern task <dir>`: the supervisor of one task. */
int supervisor_main(const char *task_dir);
/* Runs `command` (NULL-ended) in what a container of a failed task left (spec member
 * "keep_failed"; see debug.c), on our terminal when there is one; `container` NULL: the one that failed. Its
 * exit status, or < 0. Needs the executor's rights. */
int task_debug(const char *data_dir, const char *task_id, const char *container, const char **command,
	       struct error *err);
/* Checks for `quern doctor`: array of {"check","ok","detail","fix"}; owned. data_dir need not be there yet. */
json_t *task_doctor(const char *data_dir, const char *cdi_dirs);

#endif
