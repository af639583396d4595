/* sup.h - inside the supervisor of one task.
 *
 * DESIGN: one process, one thread with an event loop (a second one only for the API proxy of private networks). It
 * lives in its own mount namespace: a tmpfs at a place only root can change holds the runtime's bundle and every mount
 * point, and all of it goes with the process. On disk it owns <task dir>/exec/ (mode 0700): task.json (from the
 * executor), state.json (what is so now), s/ (scratch directories), u/ (upper layers), out/ (before it is given to the
 * daemon). */
#ifndef QUERN_TASK_SUP_H
#define QUERN_TASK_SUP_H

#include <jansson.h>
#include <sys/types.h>
#include "base/arena.h"
#include "task/cgroup.h"
#include "task/image.h"
#include "task/logpump.h"
#include "task/spec.h"

struct sup;
struct forward_record;
/* forward.h: what waits for the log router. */
struct forward {
	int fd; /* connection to it, or -1 */
	struct forward_record *first, *last;
	size_t records, bytes; /* how much that is */
	size_t sent;           /* bytes of the first one */
	int64_t dropped;
	int64_t retry_at, give_up_at; /* monotonic ms; 0 = at once, never */
	char partial_id[2][65];       /* of the line that comes in pieces: stdout, stderr */
};
enum sup_phase { PHASE_NEW, PHASE_STARTING, PHASE_RUNNING, PHASE_ENDED };

enum sup_health { HEALTH_UNKNOWN, HEALTH_GOOD, HEALTH_BAD };

struct sup_container {
	struct sup *sup;
	const struct spec_container *spec;
	size_t index;
	struct image image;
	const char *group;         /* cgroup "/quern/<task>/<container>" */
	const char *dir;           /* bundle: priv/c<i> */
	int root;                  /* fd of the merged root */
	json_t *edits;             /* of its GPUs (cdi.h), owned; NULL = none */
	const char **device_rules; /* that they need; NULL-ended */
	int *mount_fds;            /* one a mount: where files in it are, or -1 */
	uid_t uid;
	gid_t gid;
	const char *home;
	int netns; /* fd, or -1 */
	struct logpump log;
	struct logpump errors; /* its stderr, when that is told apart (forward.h) */
	struct forward forward;
	int console; /* where the runtime brings the master of its terminal; -1: it has none, or it is there */
	int input;   /* the other end of its open stdin, or -1 */
	enum sup_phase phase;
	bool own_cgroups;  /* made and entered by us (v1 with crun), not by the runtime */
	int go;            /* what lets the runtime start is written here; see runtime.c */
	bool reads_go;     /* the runtime runs already and reads its configuration from `go`; else one byte starts it */
	struct str config; /* config.json, in the arena */
	pid_t runtime_pid, pid;
	int pidfd;
	int64_t pid_start;               /* from /proc/<pid>/stat */
	int64_t started_at, finished_at; /* epoch ms; 0 = never */
	int64_t kill_at, drain_until;    /* monotonic ms; 0 = not set */
	int64_t look_at, look_ms;        /* stop.c: when the stop signal is tried again (0 = no more), and the pause */
	bool held_back;                  /* stop.c: it was sent to a program that holds signals back */
	int exit_code, signal;           /* -1 = none */
	bool oom, asked;                 /* asked: it got a stop signal from us */
	int64_t run_at;                  /* epoch ms: when it was started last, with a restart policy */
	int64_t restarts, oom_kills;     /* kills by memory of the runs before this one */
	struct cgroup_usage usage;
	char *error; /* owned */
	/* order.c */
	enum sup_health health;
	int health_failures;
	pid_t health_pid;                              /* the check that runs; 0 = none */
	int64_t health_at, health_until, health_grace; /* monotonic ms; 0 = not set */
	char **health_argv;
	uint16_t *host_ports; /* of spec->ports; NULL = not published */
};

struct sup_peer {
	int fd;
	struct buf in, out;
};
#define SUP_PEERS 8

struct sup {
	struct arena arena;
	json_t *task; /* task.json: spec, options */
	size_t task_bytes;
	struct task_spec spec;
	const char *data_dir, *images_dir, *runtime_path;
	const char *slirp; /* slirp4netns, or NULL */
	bool crun, rootless;
	enum cgroup_mode cgroup;
	uid_t daemon_uid;
	gid_t daemon_gid;
	uint16_t api_port;
	const char *seccomp_bpf; /* base64, for crun; or NULL */
	int runtime_fd;          /* sealed copy of the runtime, or -1: by its path */
	int data_fd, task_fd, exec_fd, cache_fd;
	const char *priv; /* where the private tmpfs is */
	struct sup_container *containers;
	int epoll, signals, listener;
	int synced; /* the executor says here that task.json is on disk; or -1 */
	struct sup_peer peers[SUP_PEERS];
	/* pids that ended before their container was known */
	struct {
		pid_t pid;
		int status;
		int64_t cpu_ms, peak;
	} early[64];
	size_t nearly;
	int64_t pulled_at;  /* epoch ms: all images were there; 0 = not yet */
	int64_t started_at; /* all run; 0 = not yet */
	int64_t timeout_at; /* monotonic */
	const char *reason; /* why it ends; NULL = it does not */
	char *error;        /* owned: text of the event's "error" */
	json_t *notes;
	size_t output_files;
	json_t *event;        /* the "stopped" event, when it is over */
	bool upper_in_memory; /* see mount_overlay */
	bool kept;            /* debug.c: the roots are shown as the containers left them, nothing is written to them */
	bool terminal;        /* of kept: the command gets one */
	struct net *net;
	pid_t holder; /* share.c: of the shared PID name space; 0 = there is none */
	int pid_ns, ipc_ns;
	const char *shm; /* the memory at /dev/shm of all, or NULL */
	int64_t changes; /* counts what "changed" events tell; 0 = nothing yet */
};

/* sup_open.c */
void sup_init(struct sup *s);
/* Reads task.json and state of `task_dir`; s->containers is there afterwards. */
int sup_read(struct sup *s, const char *task_dir, struct error *err);
/* Its own mount namespace, with the task's directories open in it. */
int sup_open(struct sup *s, struct error *err);

/* gpu.c: what the devices that the executor has assigned ask for; before runtime_launch. */
int sup_read_gpus(struct sup_container *c, struct error *err);

/* rootfs.c */
int sup_private_mounts(struct sup *s, struct error *err);
/* Root, mounts and files of one container; its configuration is made afterwards (oci.c). Error texts are complete
 * ("CannotPullContainerError: ..."). */
int sup_prepare_container(struct sup_container *c, struct error *err);
/* The host name that it sees. */
const char *sup_hostname(const struct sup_container *c);
/* seed.c: copies the directory `seed` (relative to the data directory) into a new scratch directory. */
int sup_seed_scratch(struct sup_container *c, const char *seed, int scratch, struct error *err);
/* At most `max` bytes of a regular file as the container sees it; NULL when there is none. Always valid UTF-8. In the
 * arena. */
const char *sup_read_text(struct sup_container *c, const char *path, size_t max);
/* The scratch directory `name`, or < 0. Caller closes. */
int sup_open_scratch(struct sup *s, const char *name);

/* oci.c: makes the text of config.json. */
int oci_make_config(struct sup_container *c, struct error *err);

/* runtime.c */
/* Opens the log and forks the process that will become the runtime; it moves into its cgroups while the mounts are
 * made, and waits. */
int runtime_launch(struct sup_container *c, struct error *err);
/* What each call of the runtime begins with: the program and the options that say where it keeps its state. Returns how
 * many there are (RUNTIME_ARGV at most). In the arena. */
#define RUNTIME_ARGV 4
size_t runtime_argv(struct sup_container *c, char **argv);
/* Lets it start. */
int runtime_go(struct sup_container *c, struct error *err);
/* Instead of runtime_go: it ends without having started anything. */
void runtime_cancel(struct sup_container *c);
/* After the runtime has ended with `status`: reads the pid and takes the terminal, if it has one (c->log.in), or fills
 * err. */
int runtime_started(struct sup_container *c, int status, struct error *err);
/* After its process has ended: removes what the runtime remembers of it, so that it can be launched again. */
void runtime_clear(struct sup_container *c);

/* sup_state.c */
int sup_save(struct sup *s, bool sync, struct error *err);
void sup_note(struct sup *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sup_tell(struct sup *s);
/* A container ended, its health is another: for those who want to know. */
void sup_changed(struct sup *s);
void sup_accept(struct sup *s);
/* Reads from a peer; calls stop when it asks. */
void sup_peer_ready(struct sup *s, struct sup_peer *p);
void sup_peers_close(struct sup *s);
/* The "stopped" event. */
json_t *sup_stopped_event(struct sup *s);
/* Field number `field` (from 3; proc(5)) of /proc/<pid>/stat, or -1. pid 0: the calling process, also in a
 * PID name space of its own. */
int64_t process_stat(pid_t pid, int field);
/* What `ps` shows as the calling process: name (15 bytes), and text in place of its arguments. */
void process_set_title(const char *name, const char *text);
int64_t process_start(pid_t pid); /* when it began, in clock ticks since the boot, or -1 */
int64_t sup_now_ms(void);         /* monotonic */

/* supervisor.c */
void sup_stop(struct sup *s, const char *reason);
/* While the containers are made ready: takes what has come (a stop, the end of a runtime) or comes within wait_ms. Is
 * there nothing to start any more? */
bool sup_is_over(struct sup *s, int wait_ms);
#define SUP_TAG_SIGNALS 1
#define SUP_TAG_LISTENER 2
#define SUP_TAG_PEER 16     /* + index */
#define SUP_TAG_LOG 256     /* + index */
#define SUP_TAG_ERRORS 512  /* + index */
#define SUP_TAG_FORWARD 768 /* + index */

/* outputs.c: packs what the spec asks for into exec/out and hands it to the daemon; sets event "outputs" and "texts".
 */
int sup_collect(struct sup *s, json_t *event, struct error *err);

/* net.c: namespaces of the containers, their links and the API proxy. */
int net_begin(struct sup *s,
	      struct error *err);              /* in a thread of its own, which touches netns of the containers only */
int net_end(struct sup *s, struct error *err); /* waits until they are there */
void net_teardown(struct sup *s);
/* The lines of /etc/hosts for container c, in the arena. */
const char *net_hosts(struct sup_container *c);

#endif
