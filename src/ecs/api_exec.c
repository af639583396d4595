/* api_exec.c - ExecuteCommand: the offer of a session (session.h). */
#include "ecs/session.h"

/* The container that is meant, when a command can be run in it. */
static json_t *find_container(const json_t *task, const char *name, struct error *err)
{
	const json_t *containers = json_get(task, "containers");
	json_t *found = name                               ? ecs_by_name(containers, name)
			: json_array_size(containers) == 1 ? json_array_get(containers, 0)
							   : NULL;
	if (!found)
		ecs_bad_parameter(err,
				  name ? "The container %s was not found in the task."
				       : "A container name must be given for a task of several containers%s.",
				  name ? name : "");
	else if (!json_get_bool(task, "enableExecuteCommand", false) ||
		 !str_eqz(json_get_str(found, "lastStatus"), "RUNNING"))
		ecs_bad_parameter(err, "The execute command failed because execute command was not enabled when "
				       "the task was run or the execute command agent isn’t running. Wait and "
				       "try again or run a new task with execute command enabled and try again.");
	else
		return found;
	return NULL;
}

/* As the caller reaches this server. */
static const char *stream_url(struct call *c, const char *session)
{
	struct ecs *e = c->service_ctx;
	struct str host = c->request ? wire_header(c->request, "host") : STR_NULL;
	if (!host.len)
		host = str_from(arena_printf(c->arena, "127.0.0.1:%u", e->o.port));
	return arena_printf(c->arena, "ws://%.*s/v1/data-channel/%s?role=publish_subscribe", STR_ARG(host), session);
}

static int offer(struct call *c, const json_t *task, const json_t *container, const char *command, json_t **out,
		 struct error *err)
{
	struct ecs *e = c->service_ctx;
	const char *name = json_get_text(container, "name");
	CLEANUP_JSON json_t *words = session_words(command);
	if (!words)
		return ecs_bad_parameter(err, "The command has a quotation mark that is not closed.");
	if (!json_array_size(words))
		json_array_append_new(words, json_string("sh"));
	const char *id = ecs_task_id(c->arena, json_get_text(task, "taskArn"));
	struct session_offer o = { .task = arena_printf(c->arena, "ecs-%s", id),
				   .container = arena_strdup(c->arena, str_from(name)),
				   .who = arena_strdup(c->arena, str_from(c->who->arn ? c->who->arn : "?")),
				   .command = words };
	if (sessions_offer(e->sessions, &o, err) < 0)
		return -1;
	json_t *answer = json_object();
	json_copy_key(answer, task, "clusterArn");
	json_copy_key(answer, task, "taskArn");
	json_copy_key(answer, container, "containerArn");
	json_set_text(answer, "containerName", name);
	json_set_bool(answer, "interactive", true);
	json_object_set_new(answer, "session",
			    json_pack("{s:s, s:s, s:s}", "sessionId", o.id, "streamUrl", stream_url(c, o.id),
				      "tokenValue", o.token));
	*out = answer;
	return 0;
}

static int execute_command(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	const char *cluster, *id = ecs_task_id(c->arena, json_get_text(in, "task"));
	json_t *task = NULL;
	if (!json_get_bool(in, "interactive", false))
		return ecs_bad_parameter(err, "Interactive is the only mode supported currently.");
	if (ecs_cluster_need(db, c->arena, json_get_text(in, "cluster"), &cluster, err) < 0)
		return -1;
	int rc = ecs_task_get(db, c->arena, cluster, id, &task, err);
	if (rc <= 0)
		return rc < 0 ? -1 : ecs_bad_parameter(err, "The referenced task was not found.");
	const json_t *container = find_container(task, json_get_text(in, "container"), err);
	return container ? offer(c, task, container, json_get_text(in, "command"), out, err) : -1;
}

const struct wire_op ecs_exec_ops[] = { { "ExecuteCommand", .query = execute_command }, { 0 } };
