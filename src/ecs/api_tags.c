/* api_tags.c - tags of clusters, task definitions and tasks: members of their documents. */
#include "ecs/room.h"

/* The document that an ARN names, with how to put it back. */
struct target {
	enum { CLUSTER, DEFINITION, TASK } kind;
	const char *name, *status;
	json_t *doc;
};

static int find(struct db *db, struct arena *a, const char *arn, struct target *out, struct error *err)
{
	const char *slash = strchr(arn, '/');
	int rc = 0;
	*out = (struct target){ 0 };
	if (!slash || strncmp(arn, "arn:", 4))
		return ecs_bad_parameter(err, "Invalid ARN: %s", arn);
	if (strstr(arn, ":task-definition/")) {
		out->kind = DEFINITION;
		rc = strchr(slash, ':') ? ecs_definition_get(db, a, arn, &out->doc, err) : 0;
	} else if (strstr(arn, ":cluster/")) {
		out->kind = CLUSTER;
		out->name = slash + 1;
		rc = ecs_cluster_get(db, a, slash + 1, &out->doc, &out->status, err);
	} else if (strstr(arn, ":task/")) {
		out->kind = TASK;
		rc = ecs_task_get(db, a, NULL, ecs_task_id(a, arn), &out->doc, err);
	}
	if (rc < 0)
		return -1;
	return rc ? 0
		  : error_aws(err, "ResourceNotFoundException", "The specified resource with ARN %s was not found.",
			      arn);
}

static int put(struct db *db, const struct target *t, struct error *err)
{
	if (t->kind == CLUSTER)
		return ecs_cluster_put(db, t->name, t->status, t->doc, err);
	return t->kind == DEFINITION ? ecs_definition_put(db, t->doc, err) : ecs_task_put(db, t->doc, err);
}

/* The document's list, made when there is none. */
static json_t *list_of(const struct target *t)
{
	json_t *tags = json_get(t->doc, "tags");
	if (!tags)
		json_object_set_new(t->doc, "tags", tags = json_array());
	return tags;
}

static int tag(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct target target;
	if (find(turn_db(t), c->arena, json_get_text(in, "resourceArn"), &target, err) < 0)
		return -1;
	json_tags_put(list_of(&target), "key", json_get(in, "tags"));
	if (json_array_size(json_get(target.doc, "tags")) > 50)
		return ecs_bad_parameter(err, "A resource can have at most 50 tags.");
	return put(turn_db(t), &target, err) < 0 ? -1 : 0;
}

static int untag(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct target target;
	if (find(turn_db(t), c->arena, json_get_text(in, "resourceArn"), &target, err) < 0)
		return -1;
	json_tags_remove(list_of(&target), "key", json_get(in, "tagKeys"));
	return put(turn_db(t), &target, err) < 0 ? -1 : 0;
}

static int list(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct target target;
	if (find(db, c->arena, json_get_text(in, "resourceArn"), &target, err) < 0)
		return -1;
	json_t *tags = json_get(target.doc, "tags");
	*out = json_pack("{s:o}", "tags", tags ? json_incref(tags) : json_array());
	return 0;
}

const struct wire_op ecs_tag_ops[] = {
	{ "TagResource", .command = tag },
	{ "UntagResource", .command = untag },
	{ "ListTagsForResource", .query = list },
	{ 0 },
};
