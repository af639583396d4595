/* log_streams.c - see log_streams.h.
 *
 * DESIGN: everything goes through the API: a pipeline execution's steps name their jobs, an execution's history names
 * the jobs, tasks and functions of its states, and a task's definition names its groups. */
#include "cli/log_streams.h"

#include <string.h>

#include "base/json.h"
#include "cli/find.h"

static bool is_wanted(const struct log_source *s, const char *step)
{
	return !s->step || strcmp(s->step, step) == 0;
}

/* ---- streams ---- */

static struct log_stream *find_stream(struct log_source *s, const char *group, const char *name)
{
	struct log_stream *one = s->streams;
	while (one && (strcmp(one->name, name) || strcmp(one->group, group)))
		one = one->next;
	return one;
}

/* Adds the streams that begin so (NULL: all) and are not known yet, in the order of their names. */
static int add_streams(struct log_source *s, const char *step, const char *group, const char *prefix, struct error *err)
{
	struct arena *a = &s->config->arena;
	CLEANUP_ERROR struct error refused = ERROR_INIT;
	json_t *in = json_pack("{s:s}", "logGroupName", group), *stream;
	size_t i;
	json_set_text(in, "logStreamNamePrefix", prefix);
	CLEANUP_JSON json_t *streams =
		client_list(s->client, CLIENT_LOGS("DescribeLogStreams", "logStreams"), in, &refused);
	if (!streams && !error_is(&refused, "ResourceNotFoundException"))
		return error_move(err, &refused);
	json_array_foreach (streams, i, stream) {
		const char *name = json_get_text(stream, "logStreamName");
		if (!name || find_stream(s, group, name))
			continue;
		struct log_stream *one = ARENA_NEW(a, struct log_stream), **end = &s->streams;
		*one = (struct log_stream){ .group = arena_strdup(a, str_from(group)),
					    .name = arena_strdup(a, str_from(name)),
					    .step = arena_strdup(a, str_from(step)),
					    .start_ms = prefix ? 0 : s->start_ms };
		while (*end)
			end = &(*end)->next;
		*end = one;
	}
	return 0;
}

/* Those of a job, or nothing when the ARN is not a job's. */
static int add_job(struct log_source *s, const char *step, const char *arn, struct error *err)
{
	const char *group, *job;
	return find_job_logs(arn, &group, &job)
		       ? add_streams(s, step, group, arena_printf(&s->config->arena, "%s/", job), err)
		       : 0;
}

/* ---- ECS tasks ---- */

/* The task, owned; NULL when the cluster has none such (and with err, when it can't be asked). */
static json_t *describe_task(struct client *cl, const char *cluster, const char *task, struct error *err)
{
	CLEANUP_JSON json_t *tasks = client_list(cl, CLIENT_ECS("DescribeTasks", "tasks"),
						 json_pack("{s:s, s:[s]}", "cluster", cluster, "tasks", task), err);
	return json_incref(json_array_get(tasks, 0));
}

/* The ARN holds the cluster's name: "...:task/CLUSTER/ID". */
json_t *log_source_task(struct log_source *s, const char *arn, struct error *err)
{
	const char *cluster = strchr(arn, '/'), *end = cluster ? strchr(cluster + 1, '/') : NULL;
	json_t *task =
		end ? describe_task(s->client,
				    arena_printf(&s->config->arena, "%.*s", (int)(end - cluster - 1), cluster + 1), arn,
				    err)
		    : NULL;
	if (!task && !err->message)
		error_set(err, "the task `%s` is gone", arn);
	return task;
}

/* The ARN of a task by its id or ARN, in any cluster; NULL when there is none, or with err. */
static const char *find_ecs_task(struct log_source *s, const char *wanted, struct error *err)
{
	const char *id = find_last_piece(wanted), *arn = NULL;
	CLEANUP_JSON json_t *clusters = client_list(s->client, CLIENT_ECS("ListClusters", "clusterArns"), NULL, err);
	json_t *cluster;
	size_t i;
	json_array_foreach (clusters, i, cluster) {
		CLEANUP_JSON json_t *task = arn ? NULL : describe_task(s->client, json_string_value(cluster), id, err);
		if (task)
			arn = arena_strdup(&s->config->arena, json_get_str(task, "taskArn"));
	}
	return arn;
}

/* The streams of a task's containers, headed `step`, or each with its container's name. */
static int add_task(struct log_source *s, const char *arn, const char *step, bool *found, struct error *err)
{
	const char *id = find_last_piece(arn);
	CLEANUP_JSON json_t *task = log_source_task(s, arn, err);
	if (!task)
		return -1;
	json_t *in = json_pack("{s:O}", "taskDefinition", json_get(task, "taskDefinitionArn")), *one;
	CLEANUP_JSON json_t *answer =
		client_call(s->client, "ecs", "AmazonEC2ContainerServiceV20141113.DescribeTaskDefinition", in, err);
	size_t i;
	if (!answer)
		return -1;
	json_array_foreach (json_get_path(answer, "taskDefinition.containerDefinitions"), i, one) {
		const char *name = json_get_text(one, "name");
		const json_t *options = json_get_path(one, "logConfiguration.options");
		const char *group = json_get_text(options, "awslogs-group"),
			   *prefix = json_get_text(options, "awslogs-stream-prefix");
		if (!step && !is_wanted(s, name))
			continue;
		*found = true;
		if (group && prefix &&
		    add_streams(s, step ? step : name, group,
				arena_printf(&s->config->arena, "%s/%s/%s", prefix, name, id), err) < 0)
			return -1;
	}
	return 0;
}

static int task_streams(struct log_source *s, bool *found, struct error *err)
{
	return add_task(s, s->arn, NULL, found, err);
}

/* ---- executions ---- */

static int pipeline_streams(struct log_source *s, bool *found, struct error *err)
{
	CLEANUP_JSON json_t *steps = find_pipeline_steps(s->client, s->arn, err);
	json_t *step;
	size_t i;
	json_array_foreach (steps, i, step) {
		const char *name = json_get_text(step, "StepName");
		if (!is_wanted(s, name))
			continue;
		*found = true;
		if (add_job(s, name, find_step_job(step), err) < 0)
			return -1;
	}
	return steps ? 0 : -1;
}

static int add_function(struct log_source *s, const char *state, const char *function, struct error *err)
{
	static const char mark[] = ":function:";
	const char *at = strstr(function, mark), *name = at ? at + strlen(mark) : function;
	return add_streams(s, state, arena_printf(&s->config->arena, "/aws/lambda/%.*s", (int)strcspn(name, ":"), name),
			   NULL, err);
}

static int machine_streams(struct log_source *s, bool *found, struct error *err)
{
	struct find_state *one;
	if (find_machine_states(s->client, s->config, s->arn, &one, err) < 0)
		return -1;
	for (; one; one = one->next) {
		bool any;
		if (!is_wanted(s, one->state))
			continue;
		*found = true;
		int rc = one->function                 ? add_function(s, one->state, one->function, err)
			 : !one->task                  ? 0
			 : strstr(one->task, ":task/") ? add_task(s, one->task, one->state, &any, err)
						       : add_job(s, one->state, one->task, err);
		if (rc < 0)
			return -1;
	}
	return 0;
}

/* ---- sources ---- */

static int describe_machine(struct log_source *s, json_t **out, struct error *err)
{
	*out = client_call(s->client, "states", "AWSStepFunctions.DescribeExecution",
			   json_pack("{s:s}", "executionArn", s->arn), err);
	return *out ? 0 : -1;
}

int log_source_find(struct log_source *s, const char *wanted, struct error *err)
{
	CLEANUP_ERROR struct error none = ERROR_INIT;
	bool arn = str_starts(str_from(wanted), STR("arn:"));
	if (!arn || strstr(wanted, ":task/")) {
		s->kind = LOG_OF_TASK;
		if ((s->arn = find_ecs_task(s, wanted, &none)))
			return 0;
	}
	if (!arn || strstr(wanted, ":pipeline/")) {
		s->kind = LOG_OF_PIPELINE;
		error_release(&none);
		if ((s->arn = find_pipeline_execution(s->client, s->config, wanted, &none)))
			return 0;
	}
	CLEANUP_JSON json_t *execution = NULL;
	s->kind = LOG_OF_MACHINE;
	s->arn = find_machine_execution(s->client, s->config, wanted, err);
	if (!s->arn || describe_machine(s, &execution, err) < 0)
		return -1;
	s->start_ms = (int64_t)(json_get_real(execution, "startDate", 0) * 1000);
	return 0;
}

int log_source_ended(struct log_source *s, struct error *err)
{
	CLEANUP_JSON json_t *now = NULL;
	if (s->kind == LOG_OF_TASK) {
		now = log_source_task(s, s->arn, err);
		return now ? str_eqz(json_get_str(now, "lastStatus"), "STOPPED") : -1;
	}
	if (s->kind == LOG_OF_MACHINE)
		return describe_machine(s, &now, err) < 0 ? -1 : !str_eqz(json_get_str(now, "status"), "RUNNING");
	now = client_call(s->client, "sagemaker", "SageMaker.DescribePipelineExecution",
			  json_pack("{s:s}", "PipelineExecutionArn", s->arn), err);
	struct str status = json_get_str(now, "PipelineExecutionStatus");
	return now ? !str_eqz(status, "Executing") && !str_eqz(status, "Stopping") : -1;
}

int log_source_streams(struct log_source *s, bool *step_found, struct error *err)
{
	static int (*const streams[])(struct log_source *, bool *, struct error *) = {
		[LOG_OF_PIPELINE] = pipeline_streams,
		[LOG_OF_MACHINE] = machine_streams,
		[LOG_OF_TASK] = task_streams,
	};
	return streams[s->kind](s, step_found, err);
}
