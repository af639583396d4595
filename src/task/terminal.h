/* terminal.h - our terminal joined to that of a command in a container.
 *
 * DESIGN: the runtime sends us the master side of the container's terminal (--console-socket); bytes go both ways, the
 * size follows ours. crun joins terminals by itself too, but a resize does not get through, and the size at the start
 * not always; runc does both well and takes no socket here. */
#ifndef QUERN_TASK_TERMINAL_H
#define QUERN_TASK_TERMINAL_H

#include "base/error.h"

/* Runs argv (an OCI runtime with "--console-socket", `name`) and waits for its end. `name`: a new file in the current
 * directory, shorter than 100 bytes. stdin must be a terminal; when it goes (a closed window) the container's terminal
 * goes too, and after two seconds `last` is run, a command that ends the container (NULL: argv's process is killed).
 * The exit status (128 + signal when a signal ended it), or < 0. */
int terminal_run(char *const *argv, const char *name, char *const *last, struct error *err);

#endif
