/* share.h - name spaces that the containers of a task have together: processes (PID) and System V and POSIX IPC.
 *
 * DESIGN: an IPC name space lives as long as a descriptor of it: a thread makes it and ends. A PID name space lives as
 * long as its first process, and what is left behind in it is that one's to reap, so there is a holder: a child of the
 * supervisor that does nothing else, ignores all signals and ends with the supervisor, whatever ends that. With the
 * holder the kernel ends all that still runs in the name space.
 *
 * The containers see the holder as process 1. It is closed to them: reading its memory, its root or its program
 * (proc(5)) needs CAP_SYS_PTRACE, which spec.c refuses here, because the runtime that starts a container, or a command
 * in one, is in the name space for a moment too, still with the rights of root. */
#ifndef QUERN_TASK_SHARE_H
#define QUERN_TASK_SHARE_H

#include "task/sup.h"

/* Makes what the spec asks for (s->pid_ns, s->ipc_ns, and the memory that is /dev/shm of all). Before any thread is
 * started. */
int share_begin(struct sup *s, struct error *err);
/* The holder's pid has been waited for: it ended before its time, and all containers with it. */
bool share_child_ended(struct sup *s, pid_t pid);
/* A container's first process has ended: so does what it started, which only a PID name space of its own does by
 * itself. Waits for it, 5 s at most. */
void share_end_container(struct sup_container *c);
/* Ends whatever still runs in the PID name space, and waits for that. */
void share_end(struct sup *s);

#endif
