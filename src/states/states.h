/* states.h - Step Functions (service states): state machines that really run. */
#ifndef QUERN_STATES_STATES_H
#define QUERN_STATES_STATES_H

#include "iam/iam.h"
#include "logs/logs.h"
#include "s3/s3.h"
#include "wire/wire.h"

struct states;
extern const struct store_migration states_migrations[];

struct states_options {
	struct engine *engine;
	struct s3 *s3;     /* may be NULL in tests: readers and writers of distributed Maps then fail saying so */
	struct logs *logs; /* may be NULL in tests: logging configurations have no effect then */
	struct iam *iam;   /* may be NULL in tests: Task states may do everything then */
	const char *account, *region;
	const char *jsonata_program; /* path of quern-jsonata; NULL: JSONata states fail with a clear error */
	/* In a turn: the actor shall get {"type":"ecs.stopped","taskArn"} or {"type":"job-ended","arn"} when the ECS
	 * task or SageMaker job of this ARN has ended. 1 it will, 0 nobody would tell it. NULL: 0 for all. */
	int (*watch)(void *ctx, struct turn *t, const char *arn, const char *actor, struct error *err);
	void *watch_ctx;
	int64_t retention_ms; /* how long ended executions are kept; 0 = 90 days */
	double wait_scale;    /* Wait states, retry pauses and timeouts are multiplied by it; 0 = 1 */
};
/* Registers actor and effect types with the engine (before engine_start). */
int states_new(const struct states_options *options, struct states **out, struct error *err);
/* The server whose services Task states may call. Before engine_start, which goes on with what was under way. */
void states_set_wire(struct states *s, struct wire_server *w);
/* After engine_start: begins to forget old executions. */
int states_begin(struct states *s, struct error *err);
/* Before the stop of the other rooms and of the engine: waiting clients are answered; tasks whose calls are refused
 * from now on are performed again at the next start. NULL is accepted. */
void states_stop(struct states *s);
void states_free(struct states *s);
/* Scope "states", JSON 1.0. Borrowed for s's life. */
const struct wire_service *states_service(struct states *s);

#endif
