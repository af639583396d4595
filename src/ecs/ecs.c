/* ecs.c - the room's construction; see ecs.h. */
#include "ecs/ecs.h"

#include <stdlib.h>
#include <unistd.h>

#include "ecs/session.h"

static const struct wire_op *const parts[] = { ecs_cluster_ops, ecs_definition_ops, ecs_task_ops, ecs_exec_ops,
					       ecs_tag_ops };

static struct wire_op *all_ops(void)
{
	size_t n = 0;
	struct wire_op *all = NULL;
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		for (const struct wire_op *op = parts[i]; op->name; op++) {
			all = mem_realloc(all, (n + 2) * sizeof(*all));
			all[n++] = *op;
		}
	all[n] = (struct wire_op){ 0 };
	return all;
}

json_t *ecs_by_name(const json_t *list, const char *name)
{
	size_t i;
	json_t *one;
	json_array_foreach (list, i, one)
		if (name && str_eqz(json_get_str(one, "name"), name))
			return one;
	return NULL;
}

bool ecs_has_text(const json_t *list, const char *text)
{
	size_t i;
	json_t *one;
	json_array_foreach (list, i, one)
		if (str_eqz(json_str(one), text))
			return true;
	return false;
}

int ecs_new(const struct ecs_options *options, struct ecs **out, struct error *err)
{
	static const struct actor_type task = { "ecs.task", ecs_task_turn };
	struct ecs *e = mem_calloc(1, sizeof(*e));
	e->o = *options;
	pthread_mutex_init(&e->lock, NULL);
	e->service = (struct wire_service){ .model = "ecs",
					    .scope = "ecs",
					    .ops = all_ops(),
					    .access = ecs_access,
					    .passed_to = "ecs-tasks.amazonaws.com",
					    .ctx = e };
	e->endpoints = (struct wire_service){ .scope = "ecs-endpoints",
					      .raw = &ecs_endpoints_handler,
					      .claims = ecs_endpoints_claims,
					      .own_auth = true,
					      .ctx = e };
	e->channels = (struct wire_service){ .scope = "ecs-channels",
					     .raw = &ecs_sessions_handler,
					     .claims = ecs_sessions_claims,
					     .own_auth = true,
					     .ctx = e };
	e->sessions = sessions_new();
	ecs_task_bind(e);
	engine_add_actor(options->engine, &task);
	ecs_add_effects(e);
	*out = e;
	return 0;
}

static void *ask_machine(void *arg)
{
	struct ecs *e = arg;
	double cpus;
	int64_t memory, gpus;
	for (;;) {
		ecs_machine_learn(e);
		ecs_machine(e, &cpus, &memory, &gpus);
		if (cpus > 0 || engine_stopping(e->o.engine))
			return NULL;
		usleep(200000);
	}
}

void ecs_begin(struct ecs *e)
{
	e->asking = e->o.tasks && pthread_create(&e->asker, NULL, ask_machine, e) == 0;
}

void ecs_free(struct ecs *e)
{
	if (!e)
		return;
	if (e->asking)
		pthread_join(e->asker, NULL);
	sessions_free(e->sessions);
	pthread_mutex_destroy(&e->lock);
	free((void *)e->service.ops);
	free(e);
}

const struct wire_service *ecs_service(struct ecs *e)
{
	return &e->service;
}

const struct wire_service *ecs_endpoints_service(struct ecs *e)
{
	return &e->endpoints;
}

const struct wire_service *ecs_channels_service(struct ecs *e)
{
	return &e->channels;
}
