/* terminal.h - our terminal joined to that of a command in a container.
 *
 * DESIGN: the runtime sends us the master side of the container's terminal (--console-socket); bytes go both ways, the
 * size follows ours. crun joins terminals by itself too, but a resize does not get through, and the size at the start
 * not always; runc does both well and takes no socket here. */
#ifndef QUERN_TASK_TERMINAL_H
#define QUERN_TASK_TERMINAL_H

#include "base/error.h"

/* Runs argv (an OCI runtime with "--console-socket", `name`, "--pid-file", `pid_file`) and waits for its end. Both are
 * new files in the current directory, with names shorter than 100 bytes. stdin must be a terminal; when it goes (a
 * closed window) the container's terminal goes too, and after two seconds the process that pid_file names is killed.
 * The exit status (128 + signal when a signal ended it), or < 0. */
int terminal_run(char *const *argv, const char *name, const char *pid_file, struct error *err);
/* The next descriptor that somebody connects to the unix socket `listener` for and hands over (SCM_RIGHTS), as the
 * runtimes do with the master of a terminal; or -1. */
int terminal_take(int listener);
/* The same of a connected socket; takes one byte of what came with it. */
int terminal_receive(int fd);

#endif
