/* api_tags.c - tags of managed policies and of users. Those of roles are in api_role.c. */
#include "iam/room.h"

enum { TAGS_MAX = 50 };

/* Which table a request is about, and the key of its row. */
struct tagged {
	const char *select, *update, *kind;
	struct str key;
};

static struct tagged tagged_of(const json_t *in)
{
	if (json_get(in, "PolicyArn"))
		return (struct tagged){ "SELECT tags FROM iam_policy WHERE arn=?",
					"UPDATE iam_policy SET tags=? WHERE arn=?", "Policy",
					json_get_str(in, "PolicyArn") };
	return (struct tagged){ "SELECT tags FROM iam_user WHERE name=?", "UPDATE iam_user SET tags=? WHERE name=?",
				"The user with name", json_get_str(in, "UserName") };
}

/* The tags as they are kept, in `a`; STR_NULL when there are none. */
static int read_tags(struct db *db, struct arena *a, const struct tagged *of, struct str *tags, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const int rc = db_row(db, &rows, err, of->select, "S", of->key);
	if (rc == 0)
		return error_aws(err, "NoSuchEntity",
				 str_eqz(str_from(of->kind), "Policy") ? "%s %.*s was not found."
								       : "%s %.*s cannot be found.",
				 of->kind, STR_ARG(of->key));
	*tags = rc > 0 && !rows_null(&rows, 0) ? arena_str(a, rows_str(&rows, 0)) : STR_NULL;
	return rc < 0 ? -1 : 0;
}

int iam_op_tag(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const struct tagged of = tagged_of(in);
	struct arena *a = turn_arena(t);
	struct str old;
	if (read_tags(turn_db(t), a, &of, &old, err) < 0)
		return -1;
	const char *tags = iam_merge_tags(a, old, json_get(in, "Tags"));
	CLEANUP_JSON json_t *all = json_parse(str_from(tags), NULL);
	if (json_object_size(all) > TAGS_MAX)
		return error_aws(err, "LimitExceeded", "The number of tags has reached the maximum limit.");
	if (db_exec(turn_db(t), err, of.update, "sS", tags, of.key) < 0)
		return -1;
	return iam_policies_changed(iam_of(c), t, err); /* aws:PrincipalTag */
}

int iam_op_untag(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const struct tagged of = tagged_of(in);
	struct arena *a = turn_arena(t);
	struct str old;
	if (read_tags(turn_db(t), a, &of, &old, err) < 0)
		return -1;
	if (db_exec(turn_db(t), err, of.update, "sS", iam_drop_tags(a, old, json_get(in, "TagKeys")), of.key) < 0)
		return -1;
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_list_tags(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	const struct tagged of = tagged_of(in);
	struct str tags;
	if (read_tags(db, c->arena, &of, &tags, err) < 0)
		return -1;
	*out = json_pack("{s:o, s:b}", "Tags", tags.ptr ? iam_tag_list(tags) : json_array(), "IsTruncated", 0);
	return 0;
}
