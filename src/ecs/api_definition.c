/* api_definition.c - operations on task definitions and their families. */
#include <stdio.h>
#include <stdlib.h>

#include "ecs/room.h"

static int next_revision(struct db *db, const char *family, int64_t *revision, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_exec(db, err,
		    "INSERT INTO ecs_family(name, last) VALUES(?,1) ON CONFLICT(name) DO UPDATE SET "
		    "last=ecs_family.last+1",
		    "s", family) < 0 ||
	    db_row(db, &rows, err, "SELECT last FROM ecs_family WHERE name=?", "s", family) < 0)
		return -1;
	*revision = rows_int(&rows, 0);
	return 0;
}

/* {"taskDefinition", "tags"}: tags are kept in the document but shown beside it. */
static json_t *answer(const json_t *doc, bool tags)
{
	json_t *shown = json_copy((json_t *)doc), *out = json_pack("{s:o}", "taskDefinition", shown);
	json_object_del(shown, "tags");
	if (tags)
		json_object_set_new(out, "tags",
				    json_get(doc, "tags") ? json_incref(json_get(doc, "tags")) : json_array());
	return out;
}

static void add_router_attributes(const json_t *doc, json_t *list)
{
	const json_t *firelens = NULL, *type;
	size_t i;
	json_t *c;
	json_array_foreach (json_get(doc, "containerDefinitions"), i, c)
		firelens = json_get(c, "firelensConfiguration") ? json_get(c, "firelensConfiguration") : firelens;
	if (!firelens)
		return;
	type = json_get_path(firelens, "options.config-file-type");
	json_array_append_new(list,
			      json_pack("{s:s}", "name", "com.amazonaws.ecs.capability.logging-driver.awsfirelens"));
	json_array_append_new(list,
			      json_pack("{s:s+}", "name", "ecs.capability.firelens.", json_get_text(firelens, "type")));
	if (type)
		json_array_append_new(list, json_pack("{s:s+}", "name", "ecs.capability.firelens.options.config.",
						      json_string_value(type)));
}

static json_t *attributes(const json_t *doc)
{
	json_t *list = json_array();
	size_t i;
	json_t *c;
	bool logs = false, secrets = false, health = false;
	json_array_foreach (json_get(doc, "containerDefinitions"), i, c) {
		logs |= str_eqz(json_get_str(json_get(c, "logConfiguration"), "logDriver"), "awslogs");
		secrets |= json_array_size(json_get(c, "secrets")) > 0;
		health |= json_get(c, "healthCheck") != NULL;
	}
	add_router_attributes(doc, list);
	if (logs)
		json_array_append_new(
			list, json_pack("{s:s}", "name", "com.amazonaws.ecs.capability.logging-driver.awslogs"));
	if (json_get(doc, "taskRoleArn"))
		json_array_append_new(list, json_pack("{s:s}", "name", "com.amazonaws.ecs.capability.task-iam-role"));
	if (str_eqz(json_get_str(doc, "networkMode"), "awsvpc"))
		json_array_append_new(list, json_pack("{s:s}", "name", "ecs.capability.task-eni"));
	if (secrets)
		json_array_append_new(list,
				      json_pack("{s:s}", "name", "ecs.capability.secrets.ssm.environment-variables"));
	if (health)
		json_array_append_new(list, json_pack("{s:s}", "name", "ecs.capability.container-health-check"));
	return list;
}

static int register_definition(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecs *e = c->service_ctx;
	int64_t revision;
	json_t *doc = ecs_keep(c->arena, ecs_definition_check(e, c->arena, in, err));
	if (!doc || next_revision(turn_db(t), json_get_text(doc, "family"), &revision, err) < 0)
		return -1;
	json_set_text(doc, "taskDefinitionArn",
		      ecs_arn(e, c->arena, "task-definition",
			      arena_printf(c->arena, "%s:%lld", json_get_text(doc, "family"), (long long)revision)));
	json_set_int(doc, "revision", revision);
	json_set_text(doc, "status", "ACTIVE");
	json_object_set_new(doc, "requiresAttributes", attributes(doc));
	json_set_real(doc, "registeredAt", ecs_seconds(turn_now_ms(t)));
	json_set_text(doc, "registeredBy", c->who->arn);
	json_copy_key(doc, in, "tags");
	if (ecs_definition_put(turn_db(t), doc, err) < 0)
		return -1;
	*out = answer(doc, json_get(in, "tags") != NULL);
	return 0;
}

static int describe_definition(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	json_t *doc = NULL;
	int rc = ecs_definition_get(db, c->arena, json_get_text(in, "taskDefinition"), &doc, err);
	if (rc <= 0)
		return rc < 0 ? -1 : ecs_client_error(err, "Unable to describe task definition.");
	*out = answer(doc, json_array_size(json_get(in, "include")) > 0);
	return 0;
}

static int deregister_definition(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const char *ref = json_get_text(in, "taskDefinition");
	json_t *doc = NULL;
	const char *at = strstr(ref, ":task-definition/");
	if (!strchr(at ? at + 17 : ref, ':'))
		return ecs_client_error(err, "Revision is missing.");
	int rc = ecs_definition_get(turn_db(t), c->arena, ref, &doc, err);
	if (rc <= 0)
		return rc < 0 ? -1 : ecs_client_error(err, "The specified task definition does not exist.");
	if (str_eqz(json_get_str(doc, "status"), "ACTIVE")) {
		json_set_text(doc, "status", "INACTIVE");
		json_set_real(doc, "deregisteredAt", ecs_seconds(turn_now_ms(t)));
		if (ecs_definition_put(turn_db(t), doc, err) < 0)
			return -1;
	}
	*out = answer(doc, false);
	return 0;
}

static int in_use(struct db *db, const char *arn, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *name = strrchr(arn, '/') + 1, *colon = strrchr(name, ':');
	int rc;
	if (db_query(db, &rows, err, "SELECT doc FROM ecs_task WHERE family=? AND status<>'STOPPED'", "S",
		     str_of(name, (size_t)(colon - name))) < 0)
		return -1;
	while ((rc = rows_next(&rows, err)) > 0) {
		CLEANUP_JSON json_t *doc = json_parse(rows_str(&rows, 0), NULL);
		if (str_eqz(json_get_str(doc, "taskDefinitionArn"), arn))
			return 1;
	}
	return rc;
}

/* Inactive revisions go at once, unless a task still runs on them. */
static int delete_definitions(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecs *e = c->service_ctx;
	CLEANUP_JSON json_t *deleted = json_array(), *failures = json_array();
	json_t *ref;
	size_t i;
	json_array_foreach (json_get(in, "taskDefinitions"), i, ref) {
		const char *text = json_string_value(ref);
		json_t *doc = NULL;
		int rc = ecs_definition_get(turn_db(t), c->arena, text, &doc, err);
		if (rc < 0)
			return -1;
		const char *arn = rc                          ? json_get_text(doc, "taskDefinitionArn")
				  : !strncmp(text, "arn:", 4) ? text
							      : ecs_arn(e, c->arena, "task-definition", text);
		if (!rc || str_eqz(json_get_str(doc, "status"), "ACTIVE")) {
			json_array_append_new(failures,
					      json_pack("{s:s,s:s,s:s}", "arn", arn, "reason",
							rc ? "ACTIVE" : "MISSING", "detail",
							rc ? "The specified task definition is still in ACTIVE status. "
							     "Please deregister the target and try again."
							   : "The specified task definition does not exist. Specify a "
							     "valid account, family, revision and try again."));
			continue;
		}
		json_set_text(doc, "status", "DELETE_IN_PROGRESS");
		json_set_real(doc, "deleteRequestedAt", ecs_seconds(turn_now_ms(t)));
		int used = in_use(turn_db(t), arn, err);
		if (used < 0 ||
		    (used ? ecs_definition_put(turn_db(t), doc, err)
			  : db_exec(turn_db(t), err, "DELETE FROM ecs_definition WHERE family=? AND revision=?", "si",
				    json_get_text(doc, "family"), json_get_int(doc, "revision", 0))) < 0)
			return -1;
		json_object_del(doc, "tags");
		json_array_append(deleted, doc);
	}
	*out = json_pack("{s:O,s:O}", "taskDefinitions", deleted, "failures", failures);
	return 0;
}

/* The token is "family:revision" of the last one shown. */
static int list_definitions(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *after, *prefix = json_get_text(in, "familyPrefix"), *status = json_get_text(in, "status"),
			   *sort = json_get_text(in, "sort");
	int64_t max, revision = 0;
	if (ecs_page(in, 100, &max, &after, err) < 0)
		return -1;
	bool down = sort && !strcmp(sort, "DESC");
	const char *colon = after ? strrchr(after, ':') : NULL,
		   *family = colon ? arena_strdup(c->arena, str_of(after, (size_t)(colon - after))) : NULL;
	if (after && (!colon || !str_to_i64(str_from(colon + 1), &revision)))
		return ecs_bad_parameter(err, "Invalid token.");
	const char *sql = arena_printf(
		c->arena,
		"SELECT family, revision FROM ecs_definition WHERE status=? AND (? IS NULL OR family=?)"
		" AND (? IS NULL OR family%s? OR (family=? AND revision%s?)) ORDER BY family %s, revision %s LIMIT ?",
		down ? "<" : ">", down ? "<" : ">", down ? "DESC" : "ASC", down ? "DESC" : "ASC");
	if (db_query(db, &rows, err, sql, "ssssssii", status ? status : "ACTIVE", prefix, prefix, family, family,
		     family, revision, max + 1) < 0)
		return -1;
	CLEANUP_JSON json_t *answer_ = json_object(), *arns = json_array();
	const char *last = NULL;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(arns) == max) {
			json_set_text(answer_, "nextToken", last);
			break;
		}
		last = arena_printf(c->arena, "%.*s:%lld", STR_ARG(rows_str(&rows, 0)), (long long)rows_int(&rows, 1));
		json_array_append_new(arns, json_string(ecs_arn(c->service_ctx, c->arena, "task-definition", last)));
	}
	json_object_set(answer_, "taskDefinitionArns", arns);
	*out = json_incref(answer_);
	return rc < 0 ? -1 : 0;
}

static int list_families(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *after, *prefix = json_get_text(in, "familyPrefix"), *status = json_get_text(in, "status");
	int64_t max;
	if (ecs_page(in, 100, &max, &after, err) < 0)
		return -1;
	const char *has = "EXISTS (SELECT 1 FROM ecs_definition d WHERE d.family=f.name AND d.status='ACTIVE')";
	const char *where = !status || !strcmp(status, "ALL") ? "1=1"
			    : !strcmp(status, "ACTIVE")       ? has
							      : arena_printf(c->arena, "NOT %s", has);
	const char *sql =
		arena_printf(c->arena,
			     "SELECT f.name FROM ecs_family f WHERE %s AND substr(f.name, 1, length(?))=? AND "
			     "f.name>? ORDER BY f.name LIMIT ?",
			     where);
	prefix = prefix ? prefix : "";
	if (db_query(db, &rows, err, sql, "sssi", prefix, prefix, after ? after : "", max + 1) < 0)
		return -1;
	CLEANUP_JSON json_t *answer_ = json_object(), *names = json_array();
	const char *last = NULL;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(names) == max) {
			json_set_text(answer_, "nextToken", last);
			break;
		}
		last = arena_strdup(c->arena, rows_str(&rows, 0));
		json_array_append_new(names, json_string(last));
	}
	json_object_set(answer_, "families", names);
	*out = json_incref(answer_);
	return rc < 0 ? -1 : 0;
}

const struct wire_op ecs_definition_ops[] = {
	{ "RegisterTaskDefinition", .command = register_definition },
	{ "DescribeTaskDefinition", .query = describe_definition },
	{ "DeregisterTaskDefinition", .command = deregister_definition },
	{ "DeleteTaskDefinitions", .command = delete_definitions },
	{ "ListTaskDefinitions", .query = list_definitions },
	{ "ListTaskDefinitionFamilies", .query = list_families },
	{ 0 },
};
