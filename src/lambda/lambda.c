/* lambda.c - the room's start and end. */
#include <stdio.h>
#include <stdlib.h>

#include "lambda/room.h"

enum { WORK_THREADS = 4 };

static struct wire_op all_ops[64];

static void gather_ops(void)
{
	const struct wire_op *const lists[] = { lambda_change_ops, lambda_read_ops, lambda_version_ops,
						lambda_policy_ops, lambda_invoke_ops };
	size_t n = 0;
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		for (const struct wire_op *op = lists[i]; op->name; op++)
			all_ops[n++] = *op;
}

struct lambda *lambda_of(struct call *c)
{
	return c->service_ctx;
}

/* ---- the owner of all workers' tasks: hands their end to the pools ---- */

static struct lambda *room; /* actors get no context: the one instance */

static void tell_pools(void *arg)
{
	json_t *event = arg;
	if (room)
		pool_task_stopped(room, event);
	json_decref(event);
}

static int workers_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	json_t *about = json_get(event, "event");
	if (str_eqz(json_get_str(event, "type"), "task") && str_eqz(json_get_str(about, "type"), "stopped"))
		turn_after_commit(t, tell_pools, json_deep_copy(about));
	return 0;
}

static const struct actor_type workers_actor = { "lambda.workers", workers_turn };

static int start_owner(struct turn *t, void *arg, struct error *err)
{
	return turn_exists(t, "lambda/workers") ? 0
						: turn_spawn(t, "lambda.workers", "lambda/workers", json_object(), err);
}

static void owner_started(void *arg, int rc, struct error *err)
{
	struct lambda *l = arg;
	if (rc < 0)
		log_error("lambda", "start: %s", error_text(err));
	if (l->o.tasks)
		work_add(l->work, lambda_worker_sweep, l);
}

/* ---- start and end ---- */

int lambda_new(const struct lambda_options *options, struct lambda **out, struct error *err)
{
	struct lambda *l = mem_calloc(1, sizeof(*l));
	char *dir = NULL;
	l->o = *options;
	l->store = engine_store(options->engine);
	l->work = work_new(WORK_THREADS);
	if (asprintf(&dir, "%s/lambda/code", options->data_dir) < 0)
		BUG("out of memory");
	l->code_dir = dir;
	pthread_mutex_init(&l->code_lock, NULL);
	random_bytes(l->link_key, sizeof(l->link_key));
	gather_ops();
	l->api = (struct wire_service){ .model = "lambda",
					.scope = "lambda",
					.ops = all_ops,
					.access = lambda_access,
					.passed_to = "lambda.amazonaws.com",
					.ctx = l,
					.max_body_bytes = LAMBDA_REQUEST_MAX };
	l->runtime = (struct wire_service){
		.scope = "lambda-runtime", .raw = &lambda_raw, .claims = lambda_claims, .own_auth = true, .ctx = l
	};
	if (pool_init(l, err) < 0 || lambda_code_init(l, err) < 0) {
		lambda_free(l);
		return -1;
	}
	room = l;
	blob_add_owner(options->blobs, lambda_blob_named, NULL);
	iam_set_resource_policies(options->iam, "lambda", lambda_find_policy, l);
	engine_add_actor(options->engine, &workers_actor);
	lambda_event_init(l);
	engine_submit(options->engine, start_owner, owner_started, l);
	*out = l;
	return 0;
}

void lambda_stop(struct lambda *l)
{
	if (!l)
		return;
	pool_stop(l);
	work_end(l->work);
}

void lambda_free(struct lambda *l)
{
	if (!l)
		return;
	lambda_stop(l);
	room = NULL;
	work_free(l->work);
	pool_release(l);
	pthread_mutex_destroy(&l->code_lock);
	free((char *)l->code_dir);
	free(l);
}

const struct wire_service *lambda_service(struct lambda *l)
{
	return &l->api;
}

const struct wire_service *lambda_runtime_service(struct lambda *l)
{
	return &l->runtime;
}
