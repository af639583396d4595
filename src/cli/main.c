/* main.c - the quern program: finds the command and runs it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"

const struct command commands[] = {
	{ "up", "up [--port N] [--bind ADDRESS] [--wait-scale FACTOR] [--execution-days DAYS] [--foreground]",
	  "start Quern in the background", cli_up },
	{ "down", "down", "stop it (running tasks go on, and are found again by the next up)", cli_down },
	{ "env", "env [--json] [--fish]", "print the environment for AWS tools: eval \"$(quern env)\"", cli_env },
	{ "run", "run [--python PYTHON] SCRIPT [ARGUMENT...]", "run a Python script that uses the stock sagemaker SDK",
	  cli_run },
	{ "ps", "ps [-a] [--json]", "list running pipelines, state machines and ECS tasks (-a: ended ones too)",
	  cli_ps },
	{ "logs", "logs [-f] EXECUTION [STEP] | logs [-f] TASK [CONTAINER]",
	  "print the output of an execution's steps or states, or of an ECS task's containers (-f: follow)", cli_logs },
	{ "exec", "exec TASK [-c CONTAINER] [-- COMMAND...]",
	  "run a command (a shell) inside a container of a running task", cli_exec, false,
	  "TASK is an ECS task (id or ARN) or a SageMaker job (name or ARN). With a terminal on both ends the command "
	  "has\n"
	  "one too, of the same size; its exit status is quern's. Without COMMAND: /bin/sh. The command has the\n"
	  "container's user, environment and limits. For a task that has ended with a failure: quern debug." },
	{ "debug",
	  "debug | debug TASK [-c CONTAINER] [-- COMMAND...] | debug EXECUTION STEP [-c CONTAINER] [-- COMMAND...]",
	  "open a shell in what a failed task or step left; without arguments: list them", cli_debug, false,
	  "TASK is an ECS task (id or ARN) or a SageMaker job (name or ARN); EXECUTION STEP a step of a pipeline, or "
	  "a\n"
	  "state of a Step Functions execution (name or ARN). The shell sees the container's image with everything "
	  "that\n"
	  "the container wrote, its volumes, environment, user and directory. It does not see: running processes, the\n"
	  "network, memory file systems, and a job's input channels (their directories are empty). What you write is "
	  "gone\n"
	  "when the shell ends. The eight newest failures of the last 24 hours are kept, as long as the disk has "
	  "room.\n"
	  "Without -c: the container that failed." },
	{ "images",
	  "images list [--json] | images prune [--all] [--dry-run] [--json] | images build NAME[:TAG] [--packages "
	  "A,B...]... [--without PACKAGE]... [--add "
	  "FILE:/PATH]... [--exclude PATTERN]... [--env K=V]... [--entrypoint JSON] [--command JSON] [--workdir DIR]",
	  "build container images from this machine's packages and files, list the registry's, drop what nobody needs",
	  cli_images },
	{ "doctor", "doctor [--json]", "say what this machine lacks, and how to mend it", cli_doctor },
	{ "api", "api [--json] [SERVICE]", "list the AWS operations that are implemented", cli_api },
	{ "completion", "completion bash|zsh|fish", "print a shell completion script", cli_completion },
	{ "serve", "serve", "run the daemon in the foreground, without an executor", cli_serve, true },
	{ "executor", "executor", "run the executor in the foreground", cli_executor, true },
	{ "task", "task DIRECTORY", "supervise one task", cli_task, true },
	{ 0 },
};

int fail(const char *next, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("quern: ", stderr);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (next)
		fprintf(stderr, "  try: %s\n", next);
	return 1;
}

static const struct command *find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

int usage(const char *command)
{
	const struct command *c = find(command);
	fprintf(stderr, "usage: quern %s\n", c ? c->usage : command);
	return 2;
}

static void help(FILE *out)
{
	fputs("usage: quern [--data DIRECTORY] COMMAND [ARGUMENT...]\n\n"
	      "SageMaker Pipelines and Step Functions workflows on this machine.\n\n",
	      out);
	for (const struct command *c = commands; c->name; c++)
		if (!c->hidden)
			fprintf(out, "  %-11s %s\n", c->name, c->summary);
	fputs("\n  --data DIRECTORY  where everything is kept (QUERN_HOME; default /var/lib/quern for root, else "
	      "~/.local/share/quern)\n"
	      "  --version, --help\n",
	      out);
}

int main(int argc, char **argv)
{
	const char *data_dir = NULL;
	int at = 1;
	for (; at < argc && argv[at][0] == '-'; at++) {
		if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
			help(stdout);
			return 0;
		}
		if (strcmp(argv[at], "--version") == 0) {
			puts("quern " QUERN_VERSION);
			return 0;
		}
		if (strcmp(argv[at], "--data") != 0 || at + 1 >= argc) {
			fprintf(stderr, "quern: unknown option `%s`\n", argv[at]);
			return 2;
		}
		data_dir = argv[++at];
	}
	if (at >= argc) {
		help(stderr);
		return 2;
	}
	const struct command *c = find(argv[at]);
	if (strcmp(argv[at], "help") == 0) {
		help(stdout);
		return 0;
	}
	if (!c)
		return fail("quern --help", "there is no command `%s`", argv[at]) + 1;
	if (at + 1 < argc && (strcmp(argv[at + 1], "--help") == 0 || strcmp(argv[at + 1], "-h") == 0)) {
		printf("usage: quern %s\n\n%s\n", c->usage, c->summary);
		if (c->more)
			printf("\n%s\n", c->more);
		return 0;
	}
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct config config = { 0 };
	if (config_load(&config, data_dir, &err) < 0)
		return fail(NULL, "%s", error_text(&err));
	int rc = c->run(&config, argc - at, argv + at);
	arena_release(&config.arena);
	return rc;
}
