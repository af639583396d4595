/* logs.c - prints and follows the output of an execution's steps, or of an ECS task's containers.
 *
 * DESIGN: everything goes through the API: the execution's steps name their jobs, a task's definition names its groups,
 * and the streams are in CloudWatch Logs. Following polls each live stream with its own forward token, so nothing is
 * read twice. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/find.h"
#include "cli/log_page.h"

struct stream {
	const char *group, *name, *step;
	const char *token; /* forward token, NULL at first */
	struct stream *next;
};

struct follow {
	struct config *config;
	struct client *client;
	const char *arn, *step; /* step: only this one (of a task: this container), or NULL */
	json_t *task;           /* a task as it was first seen; NULL for an execution */
	struct stream *streams;
	bool color;
};

enum { POLL_US = 500000 };

static struct stream *find_stream(struct follow *f, const char *name)
{
	for (struct stream *s = f->streams; s; s = s->next)
		if (strcmp(s->name, name) == 0)
			return s;
	return NULL;
}

/* Adds the streams that begin so and are not known yet, in the order of their names. */
static int add_streams(struct follow *f, const char *step, const char *group, const char *prefix, struct error *err)
{
	struct arena *a = &f->config->arena;
	json_t *in = json_pack("{s:s, s:s}", "logGroupName", group, "logStreamNamePrefix", prefix);
	CLEANUP_JSON json_t *answer = client_call(f->client, "logs", "Logs_20140328.DescribeLogStreams", in, err);
	json_t *stream;
	size_t i;
	if (!answer)
		return error_is(err, "ResourceNotFoundException") ? 0 : -1;
	json_array_foreach (json_get(answer, "logStreams"), i, stream) {
		const char *name = json_get_text(stream, "logStreamName");
		if (!name || find_stream(f, name))
			continue;
		struct stream *s = ARENA_NEW(a, struct stream), **end = &f->streams;
		*s = (struct stream){ .group = arena_strdup(a, str_from(group)),
				      .name = arena_strdup(a, str_from(name)),
				      .step = arena_strdup(a, str_from(step)) };
		while (*end)
			end = &(*end)->next;
		*end = s;
	}
	return 0;
}

static int find_streams(struct follow *f, bool *step_found, struct error *err)
{
	json_t *in = json_pack("{s:s, s:s, s:i}", "PipelineExecutionArn", f->arn, "SortOrder", "Ascending",
			       "MaxResults", 100);
	CLEANUP_JSON json_t *answer =
		client_call(f->client, "sagemaker", "SageMaker.ListPipelineExecutionSteps", in, err);
	json_t *step;
	size_t i;
	if (!answer)
		return -1;
	json_array_foreach (json_get(answer, "PipelineExecutionSteps"), i, step) {
		const char *name = json_get_text(step, "StepName"), *group, *job;
		if (f->step && strcmp(f->step, name) != 0)
			continue;
		*step_found = true;
		if (find_step_job(step, &group, &job) &&
		    add_streams(f, name, group, arena_printf(&f->config->arena, "%s/", job), err) < 0)
			return -1;
	}
	return 0;
}

/* ---- ECS tasks ---- */

#define ECS(name) "AmazonEC2ContainerServiceV20141113." name

/* The task, owned; NULL when the cluster has none such (and with err, when it can't be asked). */
static json_t *describe_task(struct follow *f, const char *cluster, const char *task, struct error *err)
{
	CLEANUP_JSON json_t *answer = client_call(f->client, "ecs", ECS("DescribeTasks"),
						  json_pack("{s:s, s:[s]}", "cluster", cluster, "tasks", task), err);
	return json_incref(json_array_get(json_get(answer, "tasks"), 0));
}

/* By id or ARN, in any cluster. */
static json_t *find_ecs_task(struct follow *f, const char *wanted, struct error *err)
{
	const char *slash = strrchr(wanted, '/'), *id = slash ? slash + 1 : wanted;
	CLEANUP_JSON json_t *clusters = client_call(f->client, "ecs", ECS("ListClusters"), NULL, err);
	json_t *cluster, *found = NULL;
	size_t i;
	json_array_foreach (json_get(clusters, "clusterArns"), i, cluster)
		if (!found)
			found = describe_task(f, json_string_value(cluster), id, err);
	return found;
}

static int find_task_streams(struct follow *f, bool *found, struct error *err)
{
	struct arena *a = &f->config->arena;
	const char *arn = json_get_text(f->task, "taskArn"), *id = strrchr(arn, '/') + 1;
	json_t *in = json_pack("{s:O}", "taskDefinition", json_get(f->task, "taskDefinitionArn")), *one;
	CLEANUP_JSON json_t *answer = client_call(f->client, "ecs", ECS("DescribeTaskDefinition"), in, err);
	size_t i;
	if (!answer)
		return -1;
	json_array_foreach (json_get_path(answer, "taskDefinition.containerDefinitions"), i, one) {
		const char *name = json_get_text(one, "name");
		const json_t *options = json_get_path(one, "logConfiguration.options");
		const char *group = json_get_text(options, "awslogs-group"),
			   *prefix = json_get_text(options, "awslogs-stream-prefix");
		if (f->step && strcmp(f->step, name) != 0)
			continue;
		*found = true;
		if (group && prefix &&
		    add_streams(f, name, group, arena_printf(a, "%s/%s/%s", prefix, name, id), err) < 0)
			return -1;
	}
	return 0;
}

/* ---- printing ---- */

struct printer {
	struct str before; /* each line */
	struct buf lines;
};

static void add_line(void *ctx, struct str message)
{
	struct printer *p = ctx;
	buf_add_str(&p->lines, p->before);
	buf_add_str(&p->lines, message);
	buf_add_char(&p->lines, '\n');
}

/* Prints a page. The number of its lines, or < 0. */
static int64_t print_page(struct follow *f, struct stream *s, struct printer *p, struct buf *page, struct error *err)
{
	struct str token;
	json_t *in =
		json_pack("{s:s, s:s, s:b}", "logGroupName", s->group, "logStreamName", s->name, "startFromHead", 1);
	json_set_text(in, "nextToken", s->token);
	if (client_call_text(f->client, "logs", "Logs_20140328.GetLogEvents", in, page, err) < 0)
		return -1;
	buf_clear(&p->lines);
	int64_t n = log_page_read(buf_str(page), add_line, p, &token, err);
	if (n < 0)
		return -1;
	if (token.ptr && !(s->token && str_eqz(token, s->token)))
		s->token = arena_strdup(&f->config->arena, token);
	fwrite(p->lines.ptr, 1, p->lines.len, stdout);
	return n;
}

/* Prints what is new in one stream. */
static int drain(struct follow *f, struct stream *s, struct error *err)
{
	CLEANUP_BUF struct buf page = BUF_INIT;
	struct printer p = { str_from(arena_printf(&f->config->arena, f->color ? "\033[36m%s\033[0m | " : "%s | ",
						   s->step)),
			     BUF_INIT };
	int64_t n;
	do
		n = print_page(f, s, &p, &page, err);
	while (n > 0);
	buf_release(&p.lines);
	fflush(stdout);
	return n < 0 ? -1 : 0;
}

static int ended(struct follow *f, struct error *err)
{
	if (f->task) {
		CLEANUP_JSON json_t *now =
			describe_task(f, json_get_text(f->task, "clusterArn"), json_get_text(f->task, "taskArn"), err);
		return now ? str_eqz(json_get_str(now, "lastStatus"), "STOPPED") : -1;
	}
	CLEANUP_JSON json_t *answer = client_call(f->client, "sagemaker", "SageMaker.DescribePipelineExecution",
						  json_pack("{s:s}", "PipelineExecutionArn", f->arn), err);
	const char *status = answer ? json_get_text(answer, "PipelineExecutionStatus") : NULL;
	if (!status)
		return -1;
	return strcmp(status, "Executing") != 0 && strcmp(status, "Stopping") != 0;
}

static int follow(struct follow *f, bool keep_on, struct error *err)
{
	for (;;) {
		bool step_found = false;
		int done = ended(f, err); /* asked before reading, so that the last lines are not missed */
		if (done < 0 || (f->task ? find_task_streams : find_streams)(f, &step_found, err) < 0)
			return -1;
		if (!step_found && f->step && (done || !keep_on))
			return f->task ? error_set(err, "the task has no container `%s`", f->step)
				       : error_set(err, "the execution has no step `%s` that started", f->step);
		for (struct stream *s = f->streams; s; s = s->next)
			if (drain(f, s, err) < 0)
				return -1;
		if (done || !keep_on)
			return 0;
		usleep(POLL_US);
	}
}

static int find(struct follow *f, const char *wanted, struct error *err)
{
	CLEANUP_ERROR struct error none = ERROR_INIT;
	if (strncmp(wanted, "arn:aws:sagemaker:", 18) != 0 && (f->task = find_ecs_task(f, wanted, &none)))
		return 0;
	f->arn = find_pipeline_execution(f->client, f->config, wanted, err);
	return f->arn ? 0 : -1;
}

int cli_logs(struct config *c, int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct follow f = { .config = c, .color = c->color };
	const char *execution = NULL;
	bool keep_on = false;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-f") == 0 || strcmp(argv[i], "--follow") == 0)
			keep_on = true;
		else if (argv[i][0] == '-' || f.step)
			return usage("logs");
		else if (!execution)
			execution = argv[i];
		else
			f.step = argv[i];
	}
	if (!execution)
		return usage("logs");
	int rc = 0;
	if (client_new(c, &f.client, &err) < 0)
		rc = fail("quern up", "%s", error_text(&err));
	else if (find(&f, execution, &err) < 0 || follow(&f, keep_on, &err) < 0)
		rc = fail("quern ps -a", "%s", error_text(&err));
	json_decref(f.task);
	client_free(f.client);
	return rc;
}
