/* debug.c - quern debug: a shell in the file system that a failed task or step left; the list of those that are kept.
 *
 * DESIGN: the executor keeps them (src/task/exec_kept.c) and the task room shows them (src/task/debug.c); here only
 * names are resolved. */
#include <dirent.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/find.h"
#include "cli/table.h"
#include "task/task.h"

static bool kept_at(struct config *c, const char *task, double *when)
{
	struct stat st;
	if (stat(config_path(c, arena_printf(&c->arena, "tasks/%s/exec/kept", task)), &st) < 0)
		return false;
	*when = (double)st.st_mtime;
	return true;
}

/* "main: exit 1" */
static const char *ends_of(struct arena *a, const json_t *state)
{
	const char *out = "";
	size_t i;
	json_t *one;
	json_array_foreach (json_get_path(state, "event.containers"), i, one) {
		const char *name = json_get_text(one, "name");
		const char *end = json_get_text(one, "error") ? "did not start"
				  : json_get_bool(one, "oom", false)
					  ? "out of memory"
					  : arena_printf(a, "exit %lld", (long long)json_get_int(one, "exit_code", -1));
		out = arena_printf(a, "%s%s%s: %s", out, *out ? ", " : "", name ? name : "?", end);
	}
	return out;
}

static json_t *list_kept(struct config *c)
{
	json_t *list = json_array();
	double when;
	DIR *d = opendir(config_path(c, "tasks"));
	for (struct dirent *entry; d && (entry = readdir(d));) {
		if (entry->d_name[0] == '.' || !kept_at(c, entry->d_name, &when))
			continue;
		CLEANUP_JSON json_t *task = find_task_file(c, entry->d_name, "task.json"),
				    *state = find_task_file(c, entry->d_name, "state.json");
		const char *owner = find_last_piece(json_get_text(task, "owner"));
		json_t *one = json_object();
		json_set_text(one, "task", owner ? owner : entry->d_name);
		json_set_text(one, "directory", entry->d_name);
		json_set_real(one, "ended", when);
		json_set_text(one, "containers", ends_of(&c->arena, state));
		json_array_append_new(list, one);
	}
	if (d)
		closedir(d);
	return list;
}

static int print_kept(struct config *c)
{
	static const char *const headings[] = { "TASK", "ENDED", "CONTAINERS", NULL };
	struct table t;
	CLEANUP_JSON json_t *list = list_kept(c);
	json_t *one;
	size_t i;
	if (access(config_path(c, "tasks/.exec"), X_OK) < 0)
		return fail("sudo quern debug", "the directories of tasks cannot be read");
	if (c->json) {
		json_dumpf(list, stdout, JSON_INDENT(2));
		putchar('\n');
		return 0;
	}
	table_init(&t, &c->arena, c->color, headings);
	json_array_foreach (list, i, one) {
		const char *row[] = { json_get_text(one, "task"), table_ago(&c->arena, json_get_real(one, "ended", 0)),
				      json_get_text(one, "containers") };
		table_row(&t, row);
	}
	table_print(&t, stdout);
	return 0;
}

static int open_shell(struct config *c, const char *name, const char *container, const char **command)
{
	static const char *shell[] = { "/bin/sh", NULL };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	double when;
	const char *task = find_task(c, name);
	if (!task || !kept_at(c, task, &when))
		return access(config_path(c, "tasks/.exec"), X_OK) < 0
			       ? fail("sudo quern debug …", "the directories of tasks cannot be read")
			       : fail("quern debug", "nothing is kept of `%s`%s", name,
				      task ? ": it runs, or it did not fail"
					   : "; for an execution: quern debug EXECUTION STEP");
	int rc = task_debug(c->data_dir, task, container, *command ? command : shell, &err);
	return rc < 0 ? fail_error(NULL, &err) : rc;
}

int cli_debug(struct config *c, int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *container = NULL, *names[2] = { NULL, NULL };
	int n = 0, i = 1;
	for (; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "-c") && i + 1 < argc)
			container = argv[++i];
		else if (!strcmp(argv[i], "--json"))
			c->json = true;
		else if (!strcmp(argv[i], "--names")) /* for completion */
			return find_print_tasks(c, true), 0;
		else if (argv[i][0] == '-' || n == 2)
			return usage("debug", argv[i]);
		else
			names[n++] = argv[i];
	}
	const char **command = (const char **)argv + (i < argc ? i + 1 : argc);
	if (!n)
		return print_kept(c);
	if (n == 2) {
		struct client *cl = NULL;
		if (client_new(c, &cl, &err) < 0)
			return fail_error(NULL, &err);
		names[0] = find_step_task(cl, c, names[0], names[1], &err);
		client_free(cl);
		if (!names[0])
			return fail_error("quern ps -a", &err);
	}
	return open_shell(c, names[0], container, command);
}
