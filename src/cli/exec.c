/* exec.c - quern exec: a command inside a container of a running task (task/enter.h). */
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/find.h"
#include "task/enter.h"

/* What helps against an error of enter.h, or NULL. */
static const char *advice(struct config *c, const char *task, const struct error *err)
{
	if (error_is(err, "NotRunning"))
		return arena_printf(&c->arena, "quern debug %s", strncmp(task, "ecs-", 4) == 0 ? task + 4 : task);
	return error_is(err, "Unreadable") || error_is(err, "Denied") ? "sudo quern exec …" : NULL;
}

int cli_exec(struct config *c, int argc, char **argv)
{
	static char *const shell[] = { "/bin/sh", NULL };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct enter target;
	const char *container = NULL;
	int option;
	if (argc == 2 && !strcmp(argv[1], "--names")) /* for completion */
		return find_print_tasks(c, false), 0;
	optind = 1;
	opterr = 0; /* usage() says it */
	while ((option = getopt(argc, argv, "+c:")) != -1) {
		if (option != 'c')
			return usage("exec", argv[optind < argc && argv[optind][0] == '-' ? optind : optind - 1]);
		container = optarg;
	}
	if (optind >= argc)
		return usage("exec", NULL);
	const char *arg = argv[optind++];
	if (optind + 1 < argc && !strcmp(argv[optind], "-c")) {
		container = argv[optind + 1];
		optind += 2;
	}
	if (optind < argc && !strcmp(argv[optind], "--"))
		optind++;
	const char *task = find_task(c, arg);
	if (!task && access(config_path(c, "tasks/.exec"), X_OK) < 0 && errno == EACCES)
		return fail("sudo quern exec …", "the directories of tasks cannot be read");
	if (!task)
		return fail("quern ps", "no task or job `%s` runs here", arg);
	int rc = enter_find(&c->arena, c->data_dir, task, container, &target, &err);
	if (rc == 0)
		rc = enter_run(&c->arena, &target, optind < argc ? argv + optind : (char **)shell, &err);
	return rc < 0 ? fail(advice(c, task, &err), "%s", error_text(&err)) : rc;
}
