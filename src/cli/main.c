/* main.c - the quern program: finds the command and runs it. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"

const struct command commands[] = {
	{ "up",
	  "up [--port N] [--bind ADDRESS] [--wait-scale FACTOR] [--execution-days DAYS]\n"
	  "                [--iam enforce|ignore] [--store ADDRESS] [--foreground]",
	  "start Quern in the background", cli_up },
	{ "down", "down", "stop it (running tasks go on, and are found again by the next up)", cli_down },
	{ "env", "env [--json] [--fish]", "print the environment for AWS tools: eval \"$(quern env)\"", cli_env, false,
	  "fish: quern env --fish | source. Somebody else on this machine may use root's Quern with\n"
	  "eval \"$(sudo quern env)\"; quern run, ps, logs, images and api then work with it too." },
	{ "run", "run [--python PYTHON] SCRIPT [ARGUMENT...]", "run a Python script that uses the stock sagemaker SDK",
	  cli_run },
	{ "ps", "ps [-a] [--json]", "list running pipelines, state machines and ECS tasks (-a: ended ones too)",
	  cli_ps },
	{ "logs", "logs [-f] EXECUTION [STEP]\n       quern logs [-f] TASK [CONTAINER]",
	  "print the output of an execution's steps or states, or of an ECS task's containers (-f: follow)", cli_logs },
	{ "exec", "exec TASK [-c CONTAINER] [-- COMMAND...]",
	  "run a command (a shell) inside a container of a running task", cli_exec, false,
	  "TASK is an ECS task (id or ARN) or a SageMaker job (name or ARN). With a terminal on both ends the command "
	  "has\n"
	  "one too, of the same size; its exit status is quern's. Without COMMAND: /bin/sh. The command has the\n"
	  "container's user, environment and limits. For a task that has ended with a failure: quern debug." },
	{ "debug",
	  "debug [--json]\n       quern debug TASK [-c CONTAINER] [-- COMMAND...]\n"
	  "       quern debug EXECUTION STEP [-c CONTAINER] [-- COMMAND...]",
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
	  "images list [--json]\n"
	  "       quern images build NAME[:TAG] [--packages A,B...]... [--without PACKAGE]... [--add FILE:/PATH]...\n"
	  "                    [--exclude PATTERN]... [--env K=V]... [--entrypoint JSON] [--command JSON]\n"
	  "                    [--workdir DIR] [--json]\n"
	  "       quern images prune [--all] [--dry-run] [--json]",
	  "list the registry's container images, build one from this machine's packages and files, drop what nobody "
	  "needs",
	  cli_images, false,
	  "build   each --packages is a layer: these installed Debian packages and what they depend on; all --add are\n"
	  "        the last one. An image has a shell when `dash` is named. Its name is printed, ready for a task\n"
	  "        definition. Example:\n"
	  "          quern images build my/image:1 --packages dash,coreutils,python3-pandas --add step.py:/step.py \\\n"
	  "            --entrypoint '[\"python3\", \"/step.py\"]'\n"
	  "prune   drops what no image and no task needs; --all: also unpacked layers that an image may want again" },
	{ "doctor", "doctor [--json]", "say what this machine lacks, and how to mend it", cli_doctor },
	{ "api", "api [--json] [SERVICE]", "list the AWS operations that are implemented", cli_api },
	{ "completion", "completion bash|zsh|fish", "print a shell completion script", cli_completion, false,
	  "bash   add to ~/.bashrc:                eval \"$(quern completion bash)\"\n"
	  "zsh    add to ~/.zshrc, after compinit: eval \"$(quern completion zsh)\"\n"
	  "fish   once: quern completion fish > ~/.config/fish/completions/quern.fish" },
	{ "serve", "serve", "run the daemon in the foreground, without an executor", cli_serve, true },
	{ "executor", "executor", "run the executor in the foreground", cli_executor, true },
	{ "task", "task DIRECTORY", "supervise one task", cli_task, true },
	{ 0 },
};

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static bool is_help(const char *arg)
{
	return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

/* The options before the command: *at is left on the command. The exit status when there is nothing more to do, else
 * -1. */
static int global_options(int argc, char **argv, int *at, const char **data_dir)
{
	for (; *at < argc && argv[*at][0] == '-'; (*at)++) {
		const char *arg = argv[*at];
		if (is_help(arg))
			return help_all(stdout), 0;
		if (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0)
			return puts("quern " QUERN_VERSION), 0;
		if (strncmp(arg, "--data=", 7) == 0)
			*data_dir = arg + 7;
		else if (strcmp(arg, "--data") != 0)
			return fail("quern --help", "there is no option `%s` before the command", arg) + 1;
		else if (*at + 1 >= argc)
			return fail("quern --data DIRECTORY COMMAND", "--data wants a directory") + 1;
		else
			*data_dir = argv[++*at];
		if (*data_dir && !**data_dir)
			return fail("quern --data DIRECTORY COMMAND", "--data wants a directory") + 1;
	}
	return -1;
}

int main(int argc, char **argv)
{
	const char *data_dir = NULL;
	int at = 1, rc = global_options(argc, argv, &at, &data_dir);
	if (rc >= 0)
		return rc;
	if (at >= argc)
		return help_all(stderr), 2;
	const char *name = argv[at], *topic = NULL;
	if (strcmp(name, "help") == 0) {
		if (at + 1 >= argc || is_help(argv[at + 1]))
			return help_all(stdout), 0;
		name = topic = argv[at + 1];
	} else if (at + 1 < argc && is_help(argv[at + 1])) {
		topic = name;
	}
	const struct command *c = command_find(name);
	if (!c)
		return help_unknown(name);
	if (topic)
		return help_one(c), 0;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct config config = { 0 };
	if (config_load(&config, data_dir, &err) < 0)
		return fail(NULL, "%s", error_text(&err));
	rc = c->run(&config, argc - at, argv + at);
	arena_release(&config.arena);
	return rc;
}
