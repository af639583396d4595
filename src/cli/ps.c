/* ps.c - lists pipeline executions. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/table.h"

/* Appends every page of a List call's array `member` to `all`. */
static int list_pages(struct client *cl, const char *target, const char *key, const char *value, const char *member,
		      json_t *all, struct error *err)
{
	CLEANUP_JSON json_t *token = NULL;
	do {
		json_t *in = json_object();
		json_set_text(in, key, value);
		if (token)
			json_object_set(in, "NextToken", token);
		CLEANUP_JSON json_t *page = client_call(cl, "sagemaker", target, in, err);
		if (!page)
			return -1;
		json_array_extend(all, json_get(page, member));
		json_decref(token);
		token = json_incref(json_get(page, "NextToken"));
	} while (token);
	return 0;
}

static bool is_running(const char *status)
{
	return status && (strcmp(status, "Executing") == 0 || strcmp(status, "Stopping") == 0);
}

/* Names of the steps at work, with commas. */
static const char *current_steps(struct client *cl, struct arena *a, const char *arn, struct error *err)
{
	CLEANUP_JSON json_t *steps = json_array();
	const char *names = NULL;
	json_t *step;
	size_t i;
	if (list_pages(cl, "SageMaker.ListPipelineExecutionSteps", "PipelineExecutionArn", arn,
		       "PipelineExecutionSteps", steps, err) < 0)
		return NULL;
	json_array_foreach (steps, i, step) {
		const char *status = json_get_text(step, "StepStatus");
		if (is_running(status) || (status && strcmp(status, "Starting") == 0))
			names = arena_printf(a, "%s%s%s", names ? names : "", names ? "," : "",
					     json_get_text(step, "StepName"));
	}
	return names ? names : "";
}

static int collect(struct client *cl, json_t *executions, bool all, int *hidden, struct error *err)
{
	CLEANUP_JSON json_t *pipelines = json_array();
	json_t *pipeline, *execution;
	size_t i, j;
	if (list_pages(cl, "SageMaker.ListPipelines", NULL, NULL, "PipelineSummaries", pipelines, err) < 0)
		return -1;
	json_array_foreach (pipelines, i, pipeline) {
		CLEANUP_JSON json_t *list = json_array();
		const char *name = json_get_text(pipeline, "PipelineName");
		if (list_pages(cl, "SageMaker.ListPipelineExecutions", "PipelineName", name,
			       "PipelineExecutionSummaries", list, err) < 0)
			return -1;
		json_array_foreach (list, j, execution) {
			if (!all && !is_running(json_get_text(execution, "PipelineExecutionStatus"))) {
				(*hidden)++;
				continue;
			}
			json_set_text(execution, "PipelineName", name);
			json_array_append(executions, execution);
		}
	}
	return 0;
}

static int print_table(struct config *c, struct client *cl, json_t *executions, struct error *err)
{
	static const char *const headings[] = { "EXECUTION", "PIPELINE", "STATUS", "STARTED", "RUNNING STEPS", NULL };
	struct table t;
	json_t *execution;
	size_t i;
	table_init(&t, &c->arena, c->color, headings);
	json_array_foreach (executions, i, execution) {
		const char *arn = json_get_text(execution, "PipelineExecutionArn"),
			   *status = json_get_text(execution, "PipelineExecutionStatus");
		const char *slash = arn ? strrchr(arn, '/') : NULL, *steps = "";
		if (is_running(status) && !(steps = current_steps(cl, &c->arena, arn, err)))
			return -1;
		const char *row[] = { slash ? slash + 1 : arn, json_get_text(execution, "PipelineName"),
				      table_status(&t, status),
				      table_ago(&c->arena, json_get_real(execution, "StartTime", 0)), steps };
		table_row(&t, row);
	}
	table_print(&t, stdout);
	return 0;
}

int cli_ps(struct config *c, int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct client *cl = NULL;
	bool all = false;
	int hidden = 0, rc = 0;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-a") == 0 || strcmp(argv[i], "--all") == 0)
			all = true;
		else if (strcmp(argv[i], "--json") == 0)
			c->json = true;
		else
			return usage("ps");
	}
	CLEANUP_JSON json_t *executions = json_array();
	if (client_new(c, &cl, &err) < 0 || collect(cl, executions, all, &hidden, &err) < 0) {
		rc = fail("quern up", "%s", error_text(&err));
	} else if (c->json) {
		json_dumpf(executions, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (print_table(c, cl, executions, &err) < 0) {
		rc = fail(NULL, "%s", error_text(&err));
	}
	if (rc == 0 && hidden > 0 && !c->json)
		fprintf(stderr, "%d ended: quern ps -a\n", hidden);
	client_free(cl);
	return rc;
}
