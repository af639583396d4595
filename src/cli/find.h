/* find.h - what people mean by the name of a task or an execution. Texts are in the config's arena. */
#ifndef QUERN_CLI_FIND_H
#define QUERN_CLI_FIND_H

#include "cli/client.h"

/* The directory's name below tasks/ for an ECS task (id or ARN), a SageMaker job (name or ARN) or a directory's name;
 * of several runs of one job the newest. NULL when there is none. Reads what only the executor's user may read. */
const char *find_task(struct config *c, const char *arg);
/* How many tasks run, as far as their directories may be read. */
size_t find_count_running(struct config *c);
/* Prints what find_task takes for every task, one a line: those that run, or those that are kept (quern debug). */
void find_print_tasks(struct config *c, bool kept);
/* {"spec","options",...} of a task: its task.json or state.json; owned, or NULL. */
json_t *find_task_file(struct config *c, const char *task, const char *name);
/* The ARN of a pipeline execution, or of a state machine's, from its id (its name) or ARN. NULL with err. */
const char *find_pipeline_execution(struct client *cl, struct config *c, const char *wanted, struct error *err);
const char *find_machine_execution(struct client *cl, struct config *c, const char *wanted, struct error *err);
/* The steps of a pipeline execution as ListPipelineExecutionSteps tells them, in the order they began; owned. */
json_t *find_pipeline_steps(struct client *cl, const char *arn, struct error *err);
/* What stands behind an ARN's last slash, or its last colon when it has none; borrowed from it. NULL for NULL. */
const char *find_last_piece(const char *arn);
/* The ARN of a step's job, or NULL for a step that runs no container. Borrowed from step. */
const char *find_step_job(json_t *step);
/* The log group of a job and its name (streams begin with it) from its ARN, which is borrowed. False for anything else.
 */
bool find_job_logs(const char *arn, const char **group, const char **job);

/* What a state of a state machine's execution did: one when it is entered, one for each job or ECS task that it began
 * (`task`: the ARN) and for each function that it called (`function`: its name or ARN). */
struct find_state {
	const char *state, *task, *function;
	struct find_state *next;
};
/* From an execution's history, in its order; *out is NULL when there is nothing yet. */
int find_machine_states(struct client *cl, struct config *c, const char *arn, struct find_state **out,
			struct error *err);

/* The job or ECS task that a step of a pipeline execution, or a state of a Step Functions execution, ran last: a name
 * for find_task. NULL with err. */
const char *find_step_task(struct client *cl, struct config *c, const char *execution, const char *step,
			   struct error *err);

#endif
