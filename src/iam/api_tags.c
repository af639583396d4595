/* api_tags.c - tags of roles, users, managed policies and instance profiles.
 *
 * DESIGN: tags are a JSON object in the row of what has them. Two keys that differ only in case are the same one, as in
 * IAM. Source: IAM user guide, "Tags for AWS Identity and Access Management resources". */
#include "iam/room.h"

enum { TAGS_MAX = 50 };

/* Which table a request is about, and the key of its row. */
struct tagged {
	const char *member, *select, *update;
	const char *before, *after; /* the name, when there is none */
};
static const struct tagged all_tagged[] = {
	{ "RoleName", "SELECT tags FROM iam_role WHERE name=?", "UPDATE iam_role SET tags=? WHERE name=?",
	  "The role with name ", " cannot be found." },
	{ "UserName", "SELECT tags FROM iam_user WHERE name=?", "UPDATE iam_user SET tags=? WHERE name=?",
	  "The user with name ", " cannot be found." },
	{ "PolicyArn", "SELECT tags FROM iam_policy WHERE arn=?", "UPDATE iam_policy SET tags=? WHERE arn=?", "Policy ",
	  " was not found." },
	{ "InstanceProfileName", "SELECT tags FROM iam_profile WHERE name=?",
	  "UPDATE iam_profile SET tags=? WHERE name=?", "Instance Profile ", " cannot be found." },
};

static json_t *tag_object(struct str tags)
{
	json_t *v = tags.len ? json_parse(tags, NULL) : NULL;
	return v ? v : json_object();
}

/* The key as it is kept. */
static const char *same_key(json_t *all, const char *key)
{
	const char *known;
	json_t *value;
	json_object_foreach (all, known, value)
		if (str_eq_nocase(str_from(known), str_from(key)))
			return known;
	return NULL;
}

static json_t *tags_given(const json_t *tags, struct error *err)
{
	json_t *given = json_object();
	json_t *tag;
	size_t n;
	json_array_foreach ((json_t *)tags, n, tag) {
		if (same_key(given, json_get_text(tag, "Key"))) {
			json_decref(given);
			error_aws(err, "InvalidInput",
				  "Duplicate tag keys found. Please note that Tag keys are case insensitive.");
			return NULL;
		}
		json_object_set(given, json_get_text(tag, "Key"), json_get(tag, "Value"));
	}
	return given;
}

int iam_add_tags(struct arena *a, struct str old, const json_t *tags, const char **out, struct error *err)
{
	const char *key, *known;
	json_t *value;
	if (!tags)
		return 0;
	CLEANUP_JSON json_t *all = tag_object(old);
	CLEANUP_JSON json_t *given = tags_given(tags, err);
	if (!given)
		return -1;
	json_object_foreach (given, key, value) {
		known = same_key(all, key);
		if (known && strcmp(known, key) != 0)
			json_object_del(all, known);
		json_object_set(all, key, value);
	}
	if (json_object_size(all) > TAGS_MAX)
		return error_aws(err, "LimitExceeded", "The number of tags has reached the maximum limit.");
	*out = json_text(a, all).ptr;
	return 0;
}

json_t *iam_tag_list(struct str tags)
{
	CLEANUP_JSON json_t *all = tag_object(tags);
	json_t *list = json_array(), *value;
	const char *key;
	json_object_foreach (all, key, value)
		json_array_append_new(list, json_pack("{s:s, s:O}", "Key", key, "Value", value));
	return list;
}

/* ---- operations ---- */

static const struct tagged *tagged_of(const json_t *in)
{
	const struct tagged *of = all_tagged;
	while (!json_get(in, of->member))
		of++;
	return of;
}

/* The tags as they are kept, in `a`; STR_NULL when there are none. */
static int read_tags(struct db *db, struct arena *a, const struct tagged *of, const json_t *in, struct str *tags,
		     struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *key = json_get_text(in, of->member);
	const int rc = db_row(db, &rows, err, of->select, "s", key);
	if (rc == 0)
		return error_aws(err, "NoSuchEntity", "%s%s%s", of->before, key, of->after);
	*tags = rc > 0 && !rows_null(&rows, 0) ? arena_str(a, rows_str(&rows, 0)) : STR_NULL;
	return rc < 0 ? -1 : 0;
}

static int write_tags(struct call *c, struct turn *t, const struct tagged *of, const json_t *in, const char *tags,
		      struct error *err)
{
	if (db_exec(turn_db(t), err, of->update, "ss", tags, json_get_text(in, of->member)) < 0)
		return -1;
	return iam_policies_changed(iam_of(c), t, err); /* aws:PrincipalTag */
}

int iam_op_tag(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const struct tagged *of = tagged_of(in);
	struct str old;
	const char *tags = NULL;
	if (read_tags(turn_db(t), turn_arena(t), of, in, &old, err) < 0 ||
	    iam_add_tags(turn_arena(t), old, json_get(in, "Tags"), &tags, err) < 0)
		return -1;
	return write_tags(c, t, of, in, tags, err);
}

int iam_op_untag(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const struct tagged *of = tagged_of(in);
	struct str old;
	if (read_tags(turn_db(t), turn_arena(t), of, in, &old, err) < 0)
		return -1;
	CLEANUP_JSON json_t *all = tag_object(old);
	json_t *key;
	const char *known;
	size_t n;
	json_array_foreach (json_get(in, "TagKeys"), n, key)
		if ((known = same_key(all, json_string_value(key))))
			json_object_del(all, known);
	return write_tags(c, t, of, in, json_text(turn_arena(t), all).ptr, err);
}

int iam_op_list_tags(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct iam_page page = iam_page_of(in);
	struct str tags;
	if (read_tags(db, c->arena, tagged_of(in), in, &tags, err) < 0)
		return -1;
	CLEANUP_JSON json_t *all = iam_tag_list(tags);
	json_t *list = json_array(), *tag;
	bool behind = page.after.len == 0;
	size_t n;
	json_array_foreach (all, n, tag) {
		if (behind && (int64_t)json_array_size(list) <= page.limit)
			json_array_append(list, tag);
		behind = behind || str_eq(json_get_str(tag, "Key"), page.after);
	}
	*out = iam_page_out(&page, "Tags", list, "Key");
	return 0;
}
