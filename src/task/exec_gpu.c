/* exec_gpu.c - the GPUs of the machine and which task has which; see exec.h and cdi.h.
 *
 * DESIGN: the files that describe them are read when somebody asks, so a driver that is installed later needs no
 * restart. Who has which is what the live tasks' task.json says ("gpus": {container: [names]}), nothing else. */
#include <stdlib.h>

#include "base/json.h"
#include "task/cdi.h"
#include "task/exec.h"

int64_t exec_gpus_wanted(const json_t *spec)
{
	int64_t n = 0;
	size_t i;
	json_t *c;
	json_array_foreach (json_get(spec, "containers"), i, c)
		n += json_get_int(c, "gpus", 0);
	return n;
}

static bool has(const struct exec_task *t, const char *name)
{
	const char *container;
	json_t *names, *one;
	size_t i;
	json_object_foreach (t->gpus, container, names)
		json_array_foreach (names, i, one)
			if (str_eqz(json_str(one), name))
				return true;
	return false;
}

static bool is_free(const struct executor *x, const char *name)
{
	for (size_t i = 0; i < x->tasks.count; i++) {
		const struct exec_task *t = x->tasks.entries[i].value;
		if (t->phase == EXEC_LIVE && has(t, name))
			return false;
	}
	return true;
}

/* The names of all, or of those that nobody has; NULL-ended, in the arena. */
static const char **names(const struct executor *x, struct arena *a, bool free_only, size_t *n)
{
	struct cdi cdi;
	cdi_load(a, x->options.cdi_dirs, &cdi);
	const char **list = cdi_gpus(a, &cdi);
	*n = 0;
	for (size_t i = 0; list[i]; i++)
		if (!free_only || is_free(x, list[i]))
			list[(*n)++] = list[i];
	list[*n] = NULL;
	return list;
}

size_t exec_gpus_count(const struct executor *x, bool free_only)
{
	struct arena a = ARENA_INIT;
	size_t n;
	names(x, &a, free_only, &n);
	arena_release(&a);
	return n;
}

json_t *exec_gpus_list(const struct executor *x)
{
	struct arena a = ARENA_INIT;
	size_t n;
	const char **list = names(x, &a, false, &n);
	json_t *out = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, json_string(list[i]));
	arena_release(&a);
	return out;
}

void exec_gpus_assign(const struct executor *x, struct exec_task *t)
{
	struct arena a = ARENA_INIT;
	size_t n, next = 0, i;
	json_t *c;
	if (!t->gpus_wanted)
		return;
	const char **list = names(x, &a, true, &n);
	t->gpus = json_object();
	json_array_foreach (json_get_path(t->task, "spec.containers"), i, c) {
		json_t *mine = json_array();
		for (int64_t k = json_get_int(c, "gpus", 0); k > 0 && next < n; k--)
			json_array_append_new(mine, json_string(list[next++]));
		if (json_array_size(mine))
			json_object_set(t->gpus, json_get_text(c, "name"), mine);
		json_decref(mine);
	}
	json_object_set(t->task, "gpus", t->gpus);
	arena_release(&a);
}
