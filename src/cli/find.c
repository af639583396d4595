/* find.c - the part of find.h that reads the directories of tasks. */
#include "cli/find.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

/* ---- tasks ---- */

json_t *find_task_file(struct config *c, const char *task, const char *name)
{
	return json_load_file(config_path(c, arena_printf(&c->arena, "tasks/%s/exec/%s", task, name)), 0, NULL);
}

const char *find_last_piece(const char *arn)
{
	const char *at = arn ? strrchr(arn, '/') : NULL;
	at = arn && !at ? strrchr(arn, ':') : at;
	return at ? at + 1 : arn;
}

/* A job's task is named by the actor that owns it: "training-job/<name>". */
static const char *find_by_owner(struct config *c, const char *name)
{
	const char *found = NULL;
	int64_t newest = -1;
	DIR *d = opendir(config_path(c, "tasks"));
	for (struct dirent *entry; d && (entry = readdir(d));) {
		if (entry->d_name[0] == '.')
			continue;
		CLEANUP_JSON json_t *task = find_task_file(c, entry->d_name, "task.json");
		const char *owner = find_last_piece(json_get_text(task, "owner"));
		if (!owner || strcmp(owner, name) || json_get_int(task, "seq", 0) <= newest)
			continue;
		newest = json_get_int(task, "seq", 0);
		found = arena_strdup(&c->arena, str_from(entry->d_name));
	}
	if (d)
		closedir(d);
	return found;
}

const char *find_task(struct config *c, const char *arg)
{
	const char *id = find_last_piece(arg);
	const char *const names[] = { id, arena_printf(&c->arena, "ecs-%s", id) };
	if (!*id || *id == '.')
		return NULL;
	for (size_t i = 0; i < 2; i++)
		if (access(config_path(c, arena_printf(&c->arena, "tasks/%s/exec/task.json", names[i])), F_OK) == 0)
			return names[i];
	return find_by_owner(c, id);
}

static bool is_running(struct config *c, const char *task)
{
	CLEANUP_JSON json_t *state = find_task_file(c, task, "state.json");
	return state && !str_eqz(json_get_str(state, "phase"), "stopped");
}

size_t find_count_running(struct config *c)
{
	size_t n = 0;
	DIR *d = opendir(config_path(c, "tasks"));
	for (struct dirent *entry; d && (entry = readdir(d));)
		n += entry->d_name[0] != '.' && is_running(c, entry->d_name);
	if (d)
		closedir(d);
	return n;
}

void find_print_tasks(struct config *c, bool kept)
{
	DIR *d = opendir(config_path(c, "tasks"));
	for (struct dirent *entry; d && (entry = readdir(d));) {
		const char *mark = config_path(c, arena_printf(&c->arena, "tasks/%s/exec/kept", entry->d_name));
		if (entry->d_name[0] == '.' || (kept && access(mark, F_OK) < 0))
			continue;
		CLEANUP_JSON json_t *task = find_task_file(c, entry->d_name, "task.json");
		const char *owner = find_last_piece(json_get_text(task, "owner"));
		if (owner && (kept || is_running(c, entry->d_name)))
			puts(owner);
	}
	if (d)
		closedir(d);
}
