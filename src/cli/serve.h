/* serve.h - the daemon: puts the rooms together. */
#ifndef QUERN_CLI_SERVE_H
#define QUERN_CLI_SERVE_H

#include "cli/config.h"

/* Runs until SIGTERM or SIGINT; returns the exit status. `ready_fd` (or -1) gets one byte when the port answers, or a
 * line of error text. */
int serve_main(struct config *c, int ready_fd);

#endif
