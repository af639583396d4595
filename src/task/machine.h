/* machine.h - what this machine offers to tasks. */
#ifndef QUERN_TASK_MACHINE_H
#define QUERN_TASK_MACHINE_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"
#include "task/cgroup.h"

struct machine {
	double cpus;          /* those we may run on */
	int64_t memory_bytes; /* of the machine, or the limit of the group we live in when that is less */
	const char *runtime;  /* path of crun or runc; NULL when there is none */
	bool crun;
	const char *slirp; /* path of slirp4netns, the way out of tasks' own networks; NULL when there is none */
	enum cgroup_mode cgroup;
	bool rootless;
	const char *notes[8]; /* for people; NULL-ended */
};

/* Looks. `wanted`: "crun", "runc", a path, or NULL = crun, else runc. Strings are in the arena. */
void machine_detect(struct arena *a, const char *wanted, struct machine *out);
/* A sealed copy of a program in memory, to be executed from. OCI runtimes otherwise make such a copy of themselves at
 * every start (so that a container cannot write to the host's file through /proc/<pid>/exe) and execute themselves
 * again; from a sealed one they do not. Returns the fd (CLOEXEC), or < 0. */
int machine_seal_program(const char *path, struct error *err);
/* Is fd such a copy? */
bool machine_is_sealed(int fd);
/* Does the program's file hold this text? (Whether an OCI runtime knows an annotation.) */
bool machine_program_knows(const char *path, const char *text);
/* The program's path, looked for in the usual directories, or NULL. */
const char *machine_find_program(struct arena *a, const char *name);

/* In a user namespace just made: its user 0 and group 0 are uid and gid outside, and there are no others. */
int machine_map_user(uid_t uid, gid_t gid, struct error *err);

#endif
