/* commands.h - the commands of the quern program. Each takes its own arguments (argv[0] is the command's name) and
 * returns the exit status: 0 done, 1 failed, 2 wrong usage. stdout is data, stderr is talk. */
#ifndef QUERN_CLI_COMMANDS_H
#define QUERN_CLI_COMMANDS_H

#include <stdio.h>

#include "cli/config.h"

struct command {
	const char *name, *usage, *summary;
	int (*run)(struct config *c, int argc, char **argv);
	bool hidden;      /* not in the help: roles that other commands start */
	const char *more; /* of its own help; may be NULL */
};
extern const struct command commands[]; /* ends with a NULL name */
/* NULL when there is none of that name. */
const struct command *command_find(const char *name);

int cli_up(struct config *c, int argc, char **argv);
int cli_down(struct config *c, int argc, char **argv);
int cli_serve(struct config *c, int argc, char **argv);
int cli_executor(struct config *c, int argc, char **argv);
int cli_task(struct config *c, int argc, char **argv);
int cli_env(struct config *c, int argc, char **argv);
int cli_run(struct config *c, int argc, char **argv);
int cli_ps(struct config *c, int argc, char **argv);
int cli_logs(struct config *c, int argc, char **argv);
int cli_doctor(struct config *c, int argc, char **argv);
int cli_api(struct config *c, int argc, char **argv);
int cli_exec(struct config *c, int argc, char **argv);
int cli_debug(struct config *c, int argc, char **argv);
int cli_images(struct config *c, int argc, char **argv);
int cli_completion(struct config *c, int argc, char **argv);

/* "quern: what happened: why" and, when given, "  try: <next command>" on stderr. Returns 1. */
int fail(const char *next, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for an error; when it says that the daemon is down, the next command is `quern up`. Returns 1. */
int fail_error(const char *next, const struct error *err);
/* On stdout in single quotes, as sh, bash, zsh and fish alike read it. */
void print_quoted(const char *text);
/* Wrong usage of a command: says which argument is wrong (NULL: one is missing) and prints its usage line. Returns 2.
 */
int usage(const char *command, const char *wrong);
/* The list of commands; the help of one; the answer to a command that does not exist, which returns 2. */
void help_all(FILE *out);
void help_one(const struct command *c);
int help_unknown(const char *name);

#endif
