/* api_tags.c - tags of log groups, by name (TagLogGroup, the old way) or by ARN (TagResource). Kept as one JSON object
 * in the group's row. */
#include "logs/room.h"

#define TAGS_MAX 50

static int named_group(json_t *in, struct str *name, struct error *err)
{
	struct str arn = json_get_str(in, "resourceArn");
	*name = json_get_str(in, "logGroupName");
	if (!arn.ptr)
		return 0;
	ptrdiff_t at = str_find(arn, STR(":log-group:"));
	if (at < 0)
		return error_aws(err, "ResourceNotFoundException", "The specified resource does not exist.");
	*name = str_skip(arn, (size_t)at + 11);
	if (str_ends(*name, STR(":*")))
		name->len -= 2;
	return 0;
}

static int load_tags(struct call *c, struct db *db, json_t *in, struct str *name, json_t **tags, struct error *err)
{
	struct log_group g;
	if (named_group(in, name, err) < 0 || logs_need_group(db, c->arena, *name, &g, err) < 0)
		return -1;
	*tags = json_parse(str_from(g.tags), err);
	return *tags ? 0 : -1;
}

static int save_tags(struct call *c, struct turn *t, struct str name, json_t *tags, struct error *err)
{
	return db_exec(turn_db(t), err, "UPDATE logs_group SET tags=? WHERE name=?", "SS", json_text(c->arena, tags),
		       name) < 0
		       ? -1
		       : 0;
}

int logs_op_tag(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str name;
	CLEANUP_JSON json_t *tags = NULL;
	if (load_tags(c, turn_db(t), in, &name, &tags, err) < 0)
		return -1;
	json_object_update(tags, json_get(in, "tags"));
	if (json_object_size(tags) > TAGS_MAX)
		return error_aws(err, "TooManyTagsException", "The resource cannot have more than %d tags.", TAGS_MAX);
	return save_tags(c, t, name, tags, err);
}

int logs_op_untag(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str name;
	CLEANUP_JSON json_t *tags = NULL;
	json_t *keys = json_get(in, "tagKeys"), *key;
	size_t i;
	if (load_tags(c, turn_db(t), in, &name, &tags, err) < 0)
		return -1;
	if (!keys)
		keys = json_get(in, "tags"); /* UntagLogGroup calls the list of keys "tags" */
	json_array_foreach (keys, i, key)
		json_object_del(tags, json_string_value(key));
	return save_tags(c, t, name, tags, err);
}

int logs_op_list_tags(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str name;
	json_t *tags;
	if (load_tags(c, db, in, &name, &tags, err) < 0)
		return -1;
	*out = json_object();
	json_object_set_new(*out, "tags", tags);
	return 0;
}
