/* find.c - see find.h. */
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
		const char *owner = json_get_text(task, "owner"), *slash = owner ? strrchr(owner, '/') : NULL;
		if (!slash || strcmp(slash + 1, name) || json_get_int(task, "seq", 0) <= newest)
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
	const char *slash = strrchr(arg, '/'), *id = slash ? slash + 1 : arg;
	const char *const names[] = { id, arena_printf(&c->arena, "ecs-%s", id) };
	if (!*id || *id == '.')
		return NULL;
	for (size_t i = 0; i < 2; i++)
		if (access(config_path(c, arena_printf(&c->arena, "tasks/%s/exec/task.json", names[i])), F_OK) == 0)
			return names[i];
	return find_by_owner(c, id);
}

void find_print_tasks(struct config *c, bool kept)
{
	DIR *d = opendir(config_path(c, "tasks"));
	for (struct dirent *entry; d && (entry = readdir(d));) {
		const char *mark = config_path(c, arena_printf(&c->arena, "tasks/%s/exec/kept", entry->d_name));
		if (entry->d_name[0] == '.' || (kept && access(mark, F_OK) < 0))
			continue;
		CLEANUP_JSON json_t *task = find_task_file(c, entry->d_name, "task.json"),
				    *state = find_task_file(c, entry->d_name, "state.json");
		const char *owner = json_get_text(task, "owner"), *slash = owner ? strrchr(owner, '/') : NULL;
		if (slash && (kept || (state && !str_eqz(json_get_str(state, "phase"), "stopped"))))
			puts(slash + 1);
	}
	if (d)
		closedir(d);
}

/* ---- pipelines ---- */

const char *find_pipeline_execution(struct client *cl, struct config *c, const char *wanted, struct error *err)
{
	if (strncmp(wanted, "arn:", 4) == 0)
		return wanted;
	CLEANUP_JSON json_t *pipelines =
		client_call(cl, "sagemaker", "SageMaker.ListPipelines", json_pack("{s:i}", "MaxResults", 100), err);
	json_t *pipeline, *execution;
	size_t i, j;
	if (!pipelines)
		return NULL;
	json_array_foreach (json_get(pipelines, "PipelineSummaries"), i, pipeline) {
		json_t *in =
			json_pack("{s:O, s:i}", "PipelineName", json_get(pipeline, "PipelineName"), "MaxResults", 100);
		CLEANUP_JSON json_t *list = client_call(cl, "sagemaker", "SageMaker.ListPipelineExecutions", in, err);
		if (!list)
			return NULL;
		json_array_foreach (json_get(list, "PipelineExecutionSummaries"), j, execution) {
			struct str arn = json_get_str(execution, "PipelineExecutionArn");
			char tail[128];
			snprintf(tail, sizeof(tail), "/%s", wanted);
			if (str_ends(arn, str_from(tail)))
				return arena_strdup(&c->arena, arn);
		}
	}
	error_set(err, "there is no execution `%s`", wanted);
	return NULL;
}

bool find_step_job(json_t *step, const char **group, const char **job)
{
	static const char *const kinds[][2] = {
		{ "TrainingJob", "/aws/sagemaker/TrainingJobs" },
		{ "ProcessingJob", "/aws/sagemaker/ProcessingJobs" },
		{ "TransformJob", "/aws/sagemaker/TransformJobs" },
	};
	json_t *metadata = json_get(step, "Metadata");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		const char *arn = json_get_text(json_get(metadata, kinds[i][0]), "Arn"),
			   *slash = arn ? strrchr(arn, '/') : NULL;
		if (slash) {
			*group = kinds[i][1];
			*job = slash + 1;
			return true;
		}
	}
	return false;
}

static const char *pipeline_step(struct client *cl, struct config *c, const char *arn, const char *step,
				 struct error *err)
{
	json_t *in = json_pack("{s:s, s:s, s:i}", "PipelineExecutionArn", arn, "SortOrder", "Ascending", "MaxResults",
			       100),
	       *one;
	const char *group, *job, *found = NULL;
	size_t i;
	CLEANUP_JSON json_t *answer = client_call(cl, "sagemaker", "SageMaker.ListPipelineExecutionSteps", in, err);
	if (!answer)
		return NULL;
	json_array_foreach (json_get(answer, "PipelineExecutionSteps"), i, one)
		if (str_eqz(json_get_str(one, "StepName"), step) && find_step_job(one, &group, &job))
			found = arena_strdup(&c->arena, str_from(job));
	if (!found)
		error_set(err, "the execution has no step `%s` that ran a job", step);
	return found;
}

/* ---- state machines ---- */

/* The execution's ARN from its name. */
static const char *find_machine_execution(struct client *cl, struct config *c, const char *wanted, struct error *err)
{
	CLEANUP_JSON json_t *machines = client_call(cl, "states", "AWSStepFunctions.ListStateMachines",
						    json_pack("{s:i}", "maxResults", 1000), err);
	json_t *machine, *execution;
	size_t i, k;
	json_array_foreach (json_get(machines, "stateMachines"), i, machine) {
		if (!str_eqz(json_get_str(machine, "type"), "STANDARD"))
			continue;
		json_t *in = json_pack("{s:O, s:i}", "stateMachineArn", json_get(machine, "stateMachineArn"),
				       "maxResults", 1000);
		CLEANUP_JSON json_t *list = client_call(cl, "states", "AWSStepFunctions.ListExecutions", in, err);
		if (!list)
			return NULL;
		json_array_foreach (json_get(list, "executions"), k, execution)
			if (str_eqz(json_get_str(execution, "name"), wanted))
				return arena_strdup(&c->arena, json_get_str(execution, "executionArn"));
	}
	if (machines)
		error_set(err, "there is no execution `%s`", wanted);
	return NULL;
}

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

struct history {
	struct arena *arena;
	const char **state; /* of each event by its id */
	size_t room;
	const char *step, *found;
	bool entered;
};

/* An event belongs to the state that was entered, or to that of the event before it. */
static void note_event(struct history *h, json_t *event)
{
	size_t id = (size_t)json_get_int(event, "id", 0), before = (size_t)json_get_int(event, "previousEventId", 0);
	const char *entered = json_get_text(json_get(event, "stateEnteredEventDetails"), "name");
	if (id >= h->room) {
		size_t room = id * 2 + 64;
		const char **more = ARENA_ARRAY(h->arena, const char *, room);
		for (size_t i = 0; i < h->room; i++)
			more[i] = h->state[i];
		h->state = more;
		h->room = room;
	}
	h->state[id] = entered ? arena_strdup(h->arena, str_from(entered)) : before < h->room ? h->state[before] : NULL;
	if (!h->state[id] || strcmp(h->state[id], h->step))
		return;
	h->entered = true;
	static const char *const places[] = { "taskSubmittedEventDetails.output", "taskSucceededEventDetails.output",
					      "taskFailedEventDetails.cause" };
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		CLEANUP_JSON json_t *told = json_parse(json_str(json_get_path(event, places[i])), NULL);
		const char *task = task_in(told);
		if (task)
			h->found = arena_strdup(h->arena, str_from(task));
	}
}

static const char *machine_step(struct client *cl, struct config *c, const char *arn, const char *step,
				struct error *err)
{
	struct history h = { .arena = &c->arena, .step = step };
	CLEANUP_JSON json_t *token = NULL;
	do {
		json_t *in = json_pack("{s:s, s:i}", "executionArn", arn, "maxResults", 1000), *event;
		size_t i;
		if (token)
			json_object_set(in, "nextToken", token);
		CLEANUP_JSON json_t *page = client_call(cl, "states", "AWSStepFunctions.GetExecutionHistory", in, err);
		if (!page)
			return NULL;
		json_array_foreach (json_get(page, "events"), i, event)
			note_event(&h, event);
		json_decref(token);
		token = json_incref(json_get(page, "nextToken"));
	} while (token);
	if (!h.found)
		error_set(err,
			  h.entered ? "state `%s` has run no task or job" : "the execution has not entered state `%s`",
			  step);
	return h.found;
}

const char *find_step_task(struct client *cl, struct config *c, const char *execution, const char *step,
			   struct error *err)
{
	if (strstr(execution, ":execution:"))
		return machine_step(cl, c, execution, step, err);
	CLEANUP_ERROR struct error none = ERROR_INIT;
	const char *pipeline = find_pipeline_execution(cl, c, execution, &none);
	if (pipeline)
		return pipeline_step(cl, c, pipeline, step, err);
	const char *machine = find_machine_execution(cl, c, execution, err);
	return machine ? machine_step(cl, c, machine, step, err) : NULL;
}
