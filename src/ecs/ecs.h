/* ecs.h - clusters, task definitions and tasks (service ecs), and what containers of tasks ask at 169.254.170.2. */
#ifndef QUERN_ECS_ECS_H
#define QUERN_ECS_ECS_H

#include "iam/iam.h"
#include "logs/logs.h"
#include "s3/s3.h"
#include "task/task.h"
#include "wire/wire.h"

struct ecs;
extern const struct store_migration ecs_migrations[];

struct ecs_options {
	struct engine *engine;
	struct task_client *tasks;
	struct s3 *s3;
	struct logs *logs;
	struct iam *iam;
	const char *account, *region, *data_dir;
	uint16_t port; /* of the daemon: the API inside tasks */
};
/* Before engine_start. *out owned by the caller. */
int ecs_new(const struct ecs_options *options, struct ecs **out, struct error *err);
/* After engine_start: gets to know the machine, in the background. */
void ecs_begin(struct ecs *e);
/* After engine_stop. */
void ecs_free(struct ecs *e);
const struct wire_service *ecs_service(struct ecs *e); /* scope "ecs" */
/* Raw, unsigned: /v2/credentials/<id> and /v4/<id>...; add it before the registry, which claims /v2/. */
const struct wire_service *ecs_endpoints_service(struct ecs *e);
/* Raw, unsigned: /v1/data-channel/<session>, the WebSockets of ExecuteCommand; add it before s3. */
const struct wire_service *ecs_channels_service(struct ecs *e);

/* In a turn: RunTask with an API request `in` (borrowed, valid by the model). *out: the API's answer, owned:
 * {"tasks","failures"}. `notify` (may be NULL): the actor that gets {"type":"ecs.stopped", "taskArn", "task": {as
 * DescribeTasks shows it}} when a task has stopped. err: the API's codes. */
int ecs_run_task(struct ecs *e, struct turn *t, const json_t *in, const char *notify, json_t **out, struct error *err);
/* In a turn: the actor gets such an event too (instead of one that was named before), at once when the task has stopped
 * already. False: there is no such task. */
bool ecs_watch_task(struct turn *t, const char *arn, const char *actor);
/* In a turn: StopTask; the task's answer owned, or NULL. cluster NULL = default. */
json_t *ecs_stop_task(struct ecs *e, struct turn *t, const char *cluster, const char *task, const char *reason,
		      struct error *err);
/* A task by ARN or id, owned; NULL without err when there is none. */
json_t *ecs_describe_task(struct ecs *e, struct db *db, const char *cluster, const char *task, struct error *err);

#endif
