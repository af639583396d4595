/* find.h - what people mean by the name of a task or an execution. Texts are in the config's arena. */
#ifndef QUERN_CLI_FIND_H
#define QUERN_CLI_FIND_H

#include "cli/client.h"

/* The directory's name below tasks/ for an ECS task (id or ARN), a SageMaker job (name or ARN) or a directory's name;
 * of several runs of one job the newest. NULL when there is none. Reads what only the executor's user may read. */
const char *find_task(struct config *c, const char *arg);
/* Prints what find_task takes for every task, one a line: those that run, or those that are kept (quern debug). */
void find_print_tasks(struct config *c, bool kept);
/* {"spec","options",...} of a task: its task.json or state.json; owned, or NULL. */
json_t *find_task_file(struct config *c, const char *task, const char *name);
/* The ARN of a pipeline execution from its id or ARN. NULL with err. */
const char *find_pipeline_execution(struct client *cl, struct config *c, const char *wanted, struct error *err);
/* The log group of a step's job and the job's name, or false for a step that runs no container. Borrowed from step. */
bool find_step_job(json_t *step, const char **group, const char **job);
/* The job or ECS task that a step of a pipeline execution, or a state of a Step Functions execution, ran last: a name
 * for find_task. NULL with err. */
const char *find_step_task(struct client *cl, struct config *c, const char *execution, const char *step,
			   struct error *err);

#endif
