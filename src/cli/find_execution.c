/* find_execution.c - the part of find.h that asks the API: executions, and the tasks of their steps.
 *
 * DESIGN: an execution's ARN holds its pipeline's or state machine's name, so an execution is found by asking for it
 * under each of those, not by listing the executions. */
#include <string.h>

#include "base/json.h"
#include "cli/find.h"

/* ---- executions ---- */

/* 1, 0 (there is none), or < 0 with err. */
static int exists(struct client *cl, const char *service, const char *target, const char *member, const char *arn,
		  struct error *err)
{
	static const char *const missing[] = { "ResourceNotFound", "ExecutionDoesNotExist", "InvalidArn",
					       "ValidationException" };
	CLEANUP_ERROR struct error refused = ERROR_INIT;
	CLEANUP_JSON json_t *found = client_call(cl, service, target, json_pack("{s:s}", member, arn), &refused);
	if (found)
		return 1;
	for (size_t i = 0; i < sizeof(missing) / sizeof(*missing); i++)
		if (error_is(&refused, missing[i]))
			return 0;
	return error_move(err, &refused);
}

const char *find_pipeline_execution(struct client *cl, struct config *c, const char *wanted, struct error *err)
{
	if (strncmp(wanted, "arn:", 4) == 0)
		return wanted;
	CLEANUP_JSON json_t *pipelines =
		client_list(cl, CLIENT_SAGEMAKER("ListPipelines", "PipelineSummaries"), NULL, err);
	json_t *pipeline;
	size_t i;
	json_array_foreach (pipelines, i, pipeline) {
		const char *arn =
			arena_printf(&c->arena, "%s/execution/%s", json_get_text(pipeline, "PipelineArn"), wanted);
		int rc = exists(cl, "sagemaker", "SageMaker.DescribePipelineExecution", "PipelineExecutionArn", arn,
				err);
		if (rc)
			return rc > 0 ? arn : NULL;
	}
	if (pipelines)
		error_set(err, "there is no execution `%s`", wanted);
	return NULL;
}

const char *find_machine_execution(struct client *cl, struct config *c, const char *wanted, struct error *err)
{
	static const char kind[] = ":stateMachine:";
	if (strncmp(wanted, "arn:", 4) == 0)
		return wanted;
	CLEANUP_JSON json_t *machines = client_list(cl, CLIENT_STATES("ListStateMachines", "stateMachines"), NULL, err);
	json_t *machine;
	size_t i;
	json_array_foreach (machines, i, machine) {
		const char *of = json_get_text(machine, "stateMachineArn"), *at = of ? strstr(of, kind) : NULL;
		if (!at || !str_eqz(json_get_str(machine, "type"), "STANDARD"))
			continue;
		const char *arn =
			arena_printf(&c->arena, "%.*s:execution:%s:%s", (int)(at - of), of, at + strlen(kind), wanted);
		int rc = exists(cl, "states", "AWSStepFunctions.DescribeExecution", "executionArn", arn, err);
		if (rc)
			return rc > 0 ? arn : NULL;
	}
	if (machines)
		error_set(err, "there is no execution `%s`", wanted);
	return NULL;
}

/* ---- steps of pipelines ---- */

bool find_job_logs(const char *arn, const char **group, const char **job)
{
	static const char *const kinds[][2] = {
		{ ":training-job/", "/aws/sagemaker/TrainingJobs" },
		{ ":processing-job/", "/aws/sagemaker/ProcessingJobs" },
		{ ":transform-job/", "/aws/sagemaker/TransformJobs" },
	};
	for (size_t i = 0; arn && i < sizeof(kinds) / sizeof(*kinds); i++) {
		const char *at = strstr(arn, kinds[i][0]);
		if (at) {
			*group = kinds[i][1];
			*job = at + strlen(kinds[i][0]);
			return true;
		}
	}
	return false;
}

const char *find_step_job(json_t *step)
{
	static const char *const kinds[] = { "TrainingJob", "ProcessingJob", "TransformJob" };
	const char *arn = NULL;
	for (size_t i = 0; !arn && i < sizeof(kinds) / sizeof(*kinds); i++)
		arn = json_get_text(json_get(json_get(step, "Metadata"), kinds[i]), "Arn");
	return arn;
}

json_t *find_pipeline_steps(struct client *cl, const char *arn, struct error *err)
{
	return client_list(cl, CLIENT_SAGEMAKER("ListPipelineExecutionSteps", "PipelineExecutionSteps"),
			   json_pack("{s:s, s:s}", "PipelineExecutionArn", arn, "SortOrder", "Ascending"), err);
}

static const char *pipeline_step(struct client *cl, struct config *c, const char *arn, const char *step,
				 struct error *err)
{
	const char *found = NULL;
	json_t *one;
	size_t i;
	CLEANUP_JSON json_t *steps = find_pipeline_steps(cl, arn, err);
	if (!steps)
		return NULL;
	json_array_foreach (steps, i, one)
		if (str_eqz(json_get_str(one, "StepName"), step) && find_step_job(one))
			found = arena_strdup(&c->arena, str_from(find_step_job(one)));
	if (!found)
		error_set(err, "the execution has no step `%s` that ran a job", step);
	return found;
}

/* ---- states of state machines ---- */

/* The last text of a member that names a task or job, anywhere in `value`. */
static const char *task_in(const json_t *value)
{
	static const char *const names[] = { "TaskArn", "TrainingJobArn", "ProcessingJobArn" };
	const char *key, *found = NULL, *deeper;
	json_t *one;
	size_t i;
	json_object_foreach ((json_t *)value, key, one) {
		for (size_t k = 0; k < sizeof(names) / sizeof(*names); k++)
			if (!strcmp(key, names[k]) && json_is_string(one))
				found = json_string_value(one);
		if ((deeper = task_in(one)))
			found = deeper;
	}
	json_array_foreach (value, i, one)
		if ((deeper = task_in(one)))
			found = deeper;
	return found;
}

/* The names of the states that the events belong to, by the events' ids. */
struct history {
	struct config *config;
	const char **state;
	size_t room;
	struct find_state *last;
};

static const char **state_of(struct history *h, size_t id)
{
	if (id >= h->room) {
		size_t room = id * 2 + 64;
		const char **more = ARENA_ARRAY(&h->config->arena, const char *, room);
		memset(more, 0, room * sizeof(*more));
		if (h->room)
			memcpy(more, h->state, h->room * sizeof(*more));
		h->state = more;
		h->room = room;
	}
	return h->state + id;
}

static void note(struct history *h, const char *state, const char *task, const char *function)
{
	struct arena *a = &h->config->arena;
	struct find_state *next = ARENA_NEW(a, struct find_state);
	*next = (struct find_state){ .state = state,
				     .task = task ? arena_strdup(a, str_from(task)) : NULL,
				     .function = function ? arena_strdup(a, str_from(function)) : NULL };
	h->last->next = next;
	h->last = next;
}

/* Notes what an event says of its state, which is the one it enters, or that of the event before it. */
static void read_event(struct history *h, json_t *event)
{
	static const char *const places[] = { "taskSubmittedEventDetails.output", "taskSucceededEventDetails.output",
					      "taskFailedEventDetails.cause" };
	const char *entered = json_get_text(json_get(event, "stateEnteredEventDetails"), "name");
	const char *before = *state_of(h, (size_t)json_get_int(event, "previousEventId", 0));
	const char **state = state_of(h, (size_t)json_get_int(event, "id", 0));
	*state = entered ? arena_strdup(&h->config->arena, str_from(entered)) : before;
	if (!*state)
		return;
	if (entered)
		note(h, *state, NULL, NULL);
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		CLEANUP_JSON json_t *told = json_parse(json_str(json_get_path(event, places[i])), NULL);
		const char *task = task_in(told);
		if (task)
			note(h, *state, task, NULL);
	}
	CLEANUP_JSON json_t *given =
		json_parse(json_str(json_get_path(event, "taskScheduledEventDetails.parameters")), NULL);
	const char *function = json_get_text(given, "FunctionName");
	if (!function)
		function = json_get_text(json_get(event, "lambdaFunctionScheduledEventDetails"), "resource");
	if (function)
		note(h, *state, NULL, function);
}

int find_machine_states(struct client *cl, struct config *c, const char *arn, struct find_state **out,
			struct error *err)
{
	struct find_state first = { 0 };
	struct history h = { .config = c, .last = &first };
	CLEANUP_JSON json_t *events =
		client_list(cl, CLIENT_STATES("GetExecutionHistory", "events"),
			    json_pack("{s:s, s:i}", "executionArn", arn, "maxResults", 1000), err);
	json_t *event;
	size_t i;
	json_array_foreach (events, i, event)
		read_event(&h, event);
	*out = first.next;
	return events ? 0 : -1;
}

static const char *machine_step(struct client *cl, struct config *c, const char *arn, const char *step,
				struct error *err)
{
	struct find_state *s;
	const char *found = NULL;
	bool entered = false;
	if (find_machine_states(cl, c, arn, &s, err) < 0)
		return NULL;
	for (; s; s = s->next) {
		if (strcmp(s->state, step))
			continue;
		entered = true;
		if (s->task)
			found = s->task;
	}
	if (!found)
		error_set(err,
			  entered ? "state `%s` has run no task or job" : "the execution has not entered state `%s`",
			  step);
	return found;
}

const char *find_step_task(struct client *cl, struct config *c, const char *execution, const char *step,
			   struct error *err)
{
	CLEANUP_ERROR struct error none = ERROR_INIT;
	const char *arn = strstr(execution, ":execution:") ? NULL : find_pipeline_execution(cl, c, execution, &none);
	if (arn)
		return pipeline_step(cl, c, arn, step, err);
	arn = find_machine_execution(cl, c, execution, err);
	return arn ? machine_step(cl, c, arn, step, err) : NULL;
}
