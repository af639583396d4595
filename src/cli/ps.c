/* ps.c - lists what runs: pipeline executions, executions of state machines, ECS tasks. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/find.h"
#include "cli/table.h"

struct list {
	struct config *config;
	struct client *client;
	struct table table;
	json_t *objects; /* as the API gave them, with "Kind" */
	bool all;
	int hidden; /* that ended */
};

static void add(struct list *l, json_t *object, const char *kind, const char *const row[6])
{
	const char *cells[6] = { 0 };
	for (int i = 0; i < 6; i++)
		cells[i] = row[i] ? arena_strdup(&l->config->arena, str_from(row[i])) : NULL;
	table_row(&l->table, cells);
	json_set_text(object, "Kind", kind);
	json_array_append(l->objects, object);
}

/* ---- pipelines ---- */

static bool is_running(const char *status)
{
	return status && (strcmp(status, "Executing") == 0 || strcmp(status, "Stopping") == 0);
}

/* Names of the steps at work, with commas. */
static const char *current_steps(struct list *l, const char *arn, struct error *err)
{
	const char *names = NULL;
	json_t *step;
	size_t i;
	CLEANUP_JSON json_t *steps =
		client_list(l->client, CLIENT_SAGEMAKER("ListPipelineExecutionSteps", "PipelineExecutionSteps"),
			    json_pack("{s:s}", "PipelineExecutionArn", arn), err);
	if (!steps)
		return NULL;
	json_array_foreach (steps, i, step) {
		const char *status = json_get_text(step, "StepStatus");
		if (is_running(status) || (status && strcmp(status, "Starting") == 0))
			names = arena_printf(&l->config->arena, "%s%s%s", names ? names : "", names ? "," : "",
					     json_get_text(step, "StepName"));
	}
	return names ? names : "";
}

static int add_pipeline(struct list *l, const char *name, struct error *err)
{
	json_t *execution;
	size_t i;
	CLEANUP_JSON json_t *executions =
		client_list(l->client, CLIENT_SAGEMAKER("ListPipelineExecutions", "PipelineExecutionSummaries"),
			    json_pack("{s:s}", "PipelineName", name), err);
	if (!executions)
		return -1;
	json_array_foreach (executions, i, execution) {
		const char *arn = json_get_text(execution, "PipelineExecutionArn"), *steps = "",
			   *status = json_get_text(execution, "PipelineExecutionStatus");
		if (!l->all && !is_running(status)) {
			l->hidden++;
			continue;
		}
		if (is_running(status) && !(steps = current_steps(l, arn, err)))
			return -1;
		json_set_text(execution, "PipelineName", name);
		add(l, execution, "pipeline",
		    (const char *[]){ find_last_piece(arn), "pipeline", name, table_status(&l->table, status),
				      table_ago(&l->config->arena, json_get_real(execution, "StartTime", 0)), steps });
	}
	return 0;
}

static int add_pipelines(struct list *l, struct error *err)
{
	json_t *pipeline;
	size_t i;
	CLEANUP_JSON json_t *pipelines =
		client_list(l->client, CLIENT_SAGEMAKER("ListPipelines", "PipelineSummaries"), NULL, err);
	json_array_foreach (pipelines, i, pipeline)
		if (add_pipeline(l, json_get_text(pipeline, "PipelineName"), err) < 0)
			return -1;
	return pipelines ? 0 : -1;
}

/* ---- state machines ---- */

static int add_machine(struct list *l, const json_t *machine, struct error *err)
{
	json_t *in = json_pack("{s:O}", "stateMachineArn", json_get(machine, "stateMachineArn")), *execution;
	size_t i;
	if (!l->all)
		json_set_text(in, "statusFilter", "RUNNING");
	CLEANUP_JSON json_t *executions =
		client_list(l->client, CLIENT_STATES("ListExecutions", "executions"), in, err);
	json_array_foreach (executions, i, execution)
		add(l, execution, "state machine",
		    (const char *[]){ json_get_text(execution, "name"), "state machine", json_get_text(machine, "name"),
				      table_status(&l->table, json_get_text(execution, "status")),
				      table_ago(&l->config->arena, json_get_real(execution, "startDate", 0)), "" });
	return executions ? 0 : -1;
}

static int add_machines(struct list *l, struct error *err)
{
	json_t *machine;
	size_t i;
	CLEANUP_JSON json_t *machines =
		client_list(l->client, CLIENT_STATES("ListStateMachines", "stateMachines"), NULL, err);
	json_array_foreach (machines, i, machine)
		if (str_eqz(json_get_str(machine, "type"), "STANDARD") && add_machine(l, machine, err) < 0)
			return -1;
	return machines ? 0 : -1;
}

/* ---- ECS ---- */

enum { DESCRIBE_MAX = 100 };

static void add_task(struct list *l, json_t *task)
{
	struct arena *a = &l->config->arena;
	const char *names = NULL;
	json_t *one;
	size_t i;
	json_array_foreach (json_get(task, "containers"), i, one)
		names = arena_printf(a, "%s%s%s", names ? names : "", names ? "," : "", json_get_text(one, "name"));
	add(l, task, "task",
	    (const char *[]){ find_last_piece(json_get_text(task, "taskArn")), "task",
			      find_last_piece(json_get_text(task, "taskDefinitionArn")),
			      table_status(&l->table, json_get_text(task, "lastStatus")),
			      table_ago(a, json_get_real(task, "createdAt", 0)), names });
}

static int add_cluster(struct list *l, const char *cluster, const char *desired, struct error *err)
{
	CLEANUP_JSON json_t *arns =
		client_list(l->client, CLIENT_ECS("ListTasks", "taskArns"),
			    json_pack("{s:s, s:s}", "cluster", cluster, "desiredStatus", desired), err);
	if (!arns)
		return -1;
	for (size_t from = 0; from < json_array_size(arns); from += DESCRIBE_MAX) {
		json_t *some = json_array(), *task;
		size_t i;
		for (i = from; i < from + DESCRIBE_MAX; i++)
			json_array_append(some, json_array_get(arns, i));
		CLEANUP_JSON json_t *tasks =
			client_list(l->client, CLIENT_ECS("DescribeTasks", "tasks"),
				    json_pack("{s:s, s:o}", "cluster", cluster, "tasks", some), err);
		if (!tasks)
			return -1;
		json_array_foreach (tasks, i, task)
			add_task(l, task);
	}
	return 0;
}

static int add_tasks(struct list *l, struct error *err)
{
	json_t *cluster;
	size_t i;
	CLEANUP_JSON json_t *clusters = client_list(l->client, CLIENT_ECS("ListClusters", "clusterArns"), NULL, err);
	json_array_foreach (clusters, i, cluster)
		if (add_cluster(l, json_string_value(cluster), "RUNNING", err) < 0 ||
		    (l->all && add_cluster(l, json_string_value(cluster), "STOPPED", err) < 0))
			return -1;
	return clusters ? 0 : -1;
}

/* ---- the command ---- */

int cli_ps(struct config *c, int argc, char **argv)
{
	static const char *const headings[] = { "ID", "KIND", "OF", "STATUS", "STARTED", "AT WORK", NULL };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *objects = json_array();
	struct list l = { .config = c, .objects = objects };
	int rc = 0;
	bool names = false; /* for completion: the first column alone */
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-a") == 0 || strcmp(argv[i], "--all") == 0)
			l.all = true;
		else if (strcmp(argv[i], "--json") == 0)
			c->json = true;
		else if (strcmp(argv[i], "--names") == 0)
			names = l.all = true;
		else
			return usage("ps", argv[i]);
	}
	table_init(&l.table, &c->arena, c->color, headings);
	if (client_new(c, &l.client, &err) < 0 || add_pipelines(&l, &err) < 0 || add_machines(&l, &err) < 0 ||
	    add_tasks(&l, &err) < 0) {
		rc = fail_error(NULL, &err);
	} else if (names) {
		for (size_t i = 1; i < l.table.rows; i++) /* after the headings */
			puts(l.table.cells[i * (size_t)l.table.columns]);
	} else if (c->json) {
		json_dumpf(objects, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		table_print(&l.table, stdout);
	}
	if (rc == 0 && l.hidden > 0 && !c->json)
		fprintf(stderr, "%d ended: quern ps -a\n", l.hidden);
	client_free(l.client);
	return rc;
}
