/* gpu.c - the GPUs that the executor gave a container, as edits of its configuration; see cdi.h and exec_gpu.c. */
#include "base/json.h"
#include "task/cdi.h"
#include "task/sup.h"

int sup_read_gpus(struct sup_container *c, struct error *err)
{
	struct sup *s = c->sup;
	const json_t *names = json_get(json_get(s->task, "gpus"), c->spec->name);
	struct cdi cdi;
	if (!c->spec->gpus)
		return 0;
	cdi_load(&s->arena, json_get_text(json_get(s->task, "options"), "cdi_dirs"), &cdi);
	if ((int64_t)json_array_size(names) != c->spec->gpus)
		return error_set(err, "CDI device injection failed: %lld GPUs are wanted, %zu are there",
				 (long long)c->spec->gpus, json_array_size(names));
	c->edits = cdi_edits(&cdi, names, err);
	if (!c->edits || cdi_device_rules(&s->arena, c->edits, &c->device_rules, err) < 0)
		return error_wrap(err, "CDI device injection failed");
	return 0;
}
