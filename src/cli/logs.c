/* logs.c - prints and follows the output of an execution's steps.
 *
 * DESIGN: everything goes through the API: the execution's steps name their jobs, and a job's streams are in CloudWatch
 * Logs. Following polls each live stream with its own forward token, so nothing is read twice. */
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
	const char *arn, *step; /* step: only this one, or NULL */
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

/* Adds the streams of one job that are not known yet, in the order of their names. */
static int add_streams(struct follow *f, const char *step, const char *group, const char *job, struct error *err)
{
	struct arena *a = &f->config->arena;
	json_t *in = json_pack("{s:s, s:o}", "logGroupName", group, "logStreamNamePrefix", json_sprintf("%s/", job));
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
		*s = (struct stream){ .group = group,
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
		if (find_step_job(step, &group, &job) && add_streams(f, name, group, job, err) < 0)
			return -1;
	}
	return 0;
}

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
		if (done < 0 || find_streams(f, &step_found, err) < 0)
			return -1;
		if (!step_found && f->step && (done || !keep_on))
			return error_set(err, "the execution has no step `%s` that started", f->step);
		for (struct stream *s = f->streams; s; s = s->next)
			if (drain(f, s, err) < 0)
				return -1;
		if (done || !keep_on)
			return 0;
		usleep(POLL_US);
	}
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
	else if (!(f.arn = find_pipeline_execution(f.client, c, execution, &err)) || follow(&f, keep_on, &err) < 0)
		rc = fail("quern ps -a", "%s", error_text(&err));
	client_free(f.client);
	return rc;
}
