/* spec.h - the task spec (task.h) as C structs, checked.
 *
 * DESIGN: the executor trusts the daemon as far as a spec goes and no further: names, sizes and paths are checked here
 * before anything is forked, and every host path must lie below the data directory. The check is on text; the paths are
 * opened again, without symlinks, when they are used (path.h). */
#ifndef QUERN_TASK_SPEC_H
#define QUERN_TASK_SPEC_H

#include <jansson.h>
#include "base/arena.h"
#include "base/error.h"

#define SPEC_ID_MAX 128
#define SPEC_SHM_BYTES ((int64_t)64 << 20) /* /dev/shm, when nothing is said */

enum spec_mount_kind { SPEC_STAGE, SPEC_SCRATCH, SPEC_BIND, SPEC_TMPFS };
struct spec_mount {
	enum spec_mount_kind kind;
	const char *source; /* stage, bind: relative to the data directory */
	const char *name;   /* scratch */
	const char *seed;   /* scratch: what it holds at the start, relative to the data directory; NULL = nothing */
	const char *target;
	bool writable;
	int64_t size_bytes; /* tmpfs */
};
struct spec_file {
	const char *path;
	struct str text;
	unsigned mode;
};
struct spec_ulimit {
	const char *name;   /* "nofile" */
	int64_t soft, hard; /* -1: unlimited */
};
/* One layer of a stored image. */
struct spec_layer {
	const char *digest, *diff_id, *path; /* path: of the blob, relative to the data directory */
};
enum spec_condition { AFTER_START, AFTER_COMPLETE, AFTER_SUCCESS, AFTER_HEALTHY };
struct spec_after {
	const char *container;
	enum spec_condition condition;
};
struct spec_health {
	const char **command; /* "CMD" or "CMD-SHELL", then the rest; NULL-ended */
	int64_t interval_ms, timeout_ms, start_period_ms, retries;
};
struct spec_port {
	uint16_t container_port, host_port; /* the first of `count`; host_port 0: any */
	uint16_t count;
	bool udp;
};
/* A container that ends is started again, when it ran at least this long and did not end with one of the codes. */
struct spec_restart {
	int64_t period_ms;
	int *ignored;
	size_t nignored;
};
/* A name in /etc/hosts: of an address, or another one of a container of the task. */
struct spec_host {
	const char *name, *ip, *container; /* one of the last two */
};
struct spec_sysctl {
	const char *name, *value;
};
/* Its output goes to container `container` (forward.h), which has the scratch directory `scratch` mounted. */
struct spec_forward {
	const char *container, *scratch;
	const char *tag, *id, *name; /* of the records: their tag, container_id and container_name */
	int64_t records;             /* that may wait */
};
enum spec_essential { ESSENTIAL_NO, ESSENTIAL_YES, ESSENTIAL_ON_FAILURE };
struct spec_container {
	const char *name, *image;
	const char **entrypoint, **command; /* NULL-ended; NULL = the image's own */
	json_t *env;                        /* object of texts, borrowed, may be NULL */
	const char *user, *workdir;         /* NULL = the image's own */
	bool readonly_root, init;
	bool terminal, input; /* a tty; an open stdin (without a tty) */
	enum spec_essential essential;
	struct spec_mount *mounts;
	struct spec_file *files;
	struct spec_ulimit *ulimits;
	size_t nmounts, nfiles, nulimits;
	double cpu_quota;                             /* CPUs; 0 = no limit */
	int64_t memory_bytes, pids, shm_bytes;        /* 0 = no limit / default */
	int64_t cpu_shares, memory_reservation_bytes; /* 0 = none: weight among the task's containers, soft limit */
	int64_t swap_bytes;                           /* beside memory_bytes */
	int64_t swappiness;                           /* 0-100, -1 = the machine's; v1 only */
	int64_t gpus;                                 /* how many for this container alone */
	const char **cap_add, **cap_drop;             /* NULL-ended, never NULL; "CAP_X" or "ALL" */
	int64_t stop_timeout_ms;
	int stop_signal; /* 0 = the image's own, or SIGTERM */
	struct spec_after *after;
	size_t nafter, nports;
	struct spec_health *health; /* NULL = none */
	struct spec_port *ports;
	int64_t start_timeout_ms;     /* 0 = none */
	struct spec_restart *restart; /* NULL = never */
	const char *hostname;         /* NULL = its name */
	struct spec_host *hosts;
	struct spec_sysctl *sysctls;
	size_t nhosts, nsysctls;
	const char **dns_servers, **dns_search; /* NULL-ended; NULL = none */
	struct spec_layer *layers;              /* lowest first; rootfs of a stored image, none = a built-in one */
	size_t nlayers;
	const json_t *rootfs_config;  /* the image's configuration document, borrowed */
	const char *log;              /* relative to the data directory, or NULL */
	struct spec_forward *forward; /* NULL = none; instead of `log` */
};
/* Who has the same System V and POSIX IPC: nobody; nobody, and there is no /dev/shm either; all of the task. */
enum spec_ipc { IPC_PRIVATE, IPC_NONE, IPC_TASK };
enum spec_network { NETWORK_HOST, NETWORK_NONE, NETWORK_PRIVATE };
struct spec_output {
	const char *name, *from, *path; /* path: below the scratch, "" = all */
	bool tar, always;
	const char *container; /* whose success counts; NULL = the task's */
};
struct task_spec {
	const char *id;
	struct spec_container *containers;
	size_t ncontainers;
	enum spec_network network;
	bool shared_pid; /* the containers see each other's processes */
	enum spec_ipc ipc;
	bool report;      /* "changed" events are wanted */
	bool keep_failed; /* when it fails, what its containers left is kept for a while (exec_kept.c) */
	bool one_network,
		endpoints;      /* private: one namespace for all containers; port 80 of 169.254.170.2 is the API too */
	bool egress;            /* private: it reaches what the machine reaches (egress.h) */
	int64_t max_runtime_ms; /* 0 = none */
	double cpus;            /* to book; 0 = none */
	int64_t memory_bytes;
	bool limited; /* the containers share a group with these limits; 0 = none */
	double limit_cpus;
	int64_t limit_memory_bytes, limit_cpu_shares;
	struct spec_output *outputs;
	size_t noutputs;
};

/* Checks and reads `json`, which must live as long as the result (texts are borrowed from it; the rest is in the
 * arena). `data_dir` is what host paths must lie below. Errors name the member: "containers[0].mounts[1].source must be
 * below ...". */
int spec_parse(struct arena *a, const json_t *json, const char *data_dir, struct task_spec *out, struct error *err);
/* Is the kernel parameter one of the IPC name space? */
bool spec_is_ipc_sysctl(const char *name);
/* [a-z0-9-]{1,128} */
bool spec_id_ok(const char *id);
/* "SIGTERM", "TERM" or "15"; 0 when unknown. */
int spec_signal(const char *name);

#endif
