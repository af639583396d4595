/* api_lifecycle.c - lifecycle policies: put, get, delete, preview. The keeper applies them (collect.c). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ecr/api.h"

enum { PAGE = 100 };

static int set_policy(struct turn *t, const struct ecr_repo *repo, const char *text, struct error *err)
{
	return db_exec(turn_db(t), err, "UPDATE ecr_repo SET lifecycle=?, evaluated_ms=0 WHERE name=?", "ss", text,
		       repo->name) < 0
		       ? -1
		       : 0;
}

static int put_lifecycle_policy(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	struct str text = json_get_str(in, "lifecyclePolicyText");
	if (api_repo(c, turn_db(t), in, &repo, err) < 0 || ecr_lifecycle_check(text, err) < 0 ||
	    set_policy(t, &repo, text.ptr, err) < 0)
		return -1;
	*out = api_names(c, &repo);
	json_set_text(*out, "lifecyclePolicyText", text.ptr);
	return 0;
}

static int no_lifecycle(struct call *c, const struct ecr_repo *repo, struct error *err)
{
	return error_aws(
		err, "LifecyclePolicyNotFoundException",
		"Lifecycle policy does not exist for the repository with name '%s' in the registry with id '%s'",
		repo->name, c->account);
}

/* The time is that of the epoch before the first evaluation. */
static json_t *policy_json(struct call *c, const struct ecr_repo *repo)
{
	json_t *out = api_names(c, repo);
	json_set_text(out, "lifecyclePolicyText", repo->lifecycle);
	json_set_real(out, "lastEvaluatedAt", (double)repo->evaluated_ms / 1000);
	return out;
}

static int get_lifecycle_policy(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	if (api_repo(c, db, in, &repo, err) < 0)
		return -1;
	if (!repo.lifecycle)
		return no_lifecycle(c, &repo, err);
	*out = policy_json(c, &repo);
	return 0;
}

static int delete_lifecycle_policy(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	if (api_repo(c, turn_db(t), in, &repo, err) < 0)
		return -1;
	if (!repo.lifecycle)
		return no_lifecycle(c, &repo, err);
	*out = policy_json(c, &repo);
	return set_policy(t, &repo, NULL, err);
}

/* The preview is computed at once and kept for GetLifecyclePolicyPreview. */
static int start_lifecycle_preview(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	struct str text = json_get_str(in, "lifecyclePolicyText");
	if (api_repo(c, turn_db(t), in, &repo, err) < 0)
		return -1;
	if (!text.ptr && !repo.lifecycle)
		return no_lifecycle(c, &repo, err);
	text = text.ptr ? text : str_from(repo.lifecycle);
	if (ecr_lifecycle_check(text, err) < 0)
		return -1;
	CLEANUP_JSON json_t *result = ecr_lifecycle_apply(turn_db(t), str_from(repo.name), text, turn_now_ms(t), err);
	if (!result || db_exec(turn_db(t), err,
			       "INSERT INTO ecr_preview(repo, policy, result, at_ms) VALUES(?,?,?,?) ON CONFLICT(repo) "
			       "DO UPDATE SET policy=excluded.policy, result=excluded.result, at_ms=excluded.at_ms",
			       "sSsi", repo.name, text, json_text(c->arena, result).ptr, turn_now_ms(t)) < 0)
		return -1;
	*out = api_names(c, &repo);
	json_object_set_new(*out, "lifecyclePolicyText", json_stringn(text.ptr, text.len));
	json_set_text(*out, "status", "IN_PROGRESS");
	return 0;
}

static bool has_tag(const json_t *tags, struct str tag)
{
	json_t *one;
	size_t i;
	json_array_foreach ((json_t *)tags, i, one)
		if (str_eq(json_str(one), tag))
			return true;
	return false;
}

/* Does the request ask about this image? */
static bool is_asked(const json_t *in, const json_t *result)
{
	const json_t *ids = json_get(in, "imageIds"), *id, *tags = json_get(result, "imageTags");
	struct str status = json_get_str(json_get(in, "filter"), "tagStatus");
	size_t i;
	if (status.ptr && !str_eqz(status, "ANY") && str_eqz(status, "TAGGED") != (json_array_size(tags) > 0))
		return false;
	json_array_foreach ((json_t *)ids, i, id) {
		struct str digest = json_get_str(id, "imageDigest"), tag = json_get_str(id, "imageTag");
		if ((!digest.ptr || str_eq(digest, json_get_str(result, "imageDigest"))) &&
		    (!tag.ptr || has_tag(tags, tag)))
			return true;
	}
	return json_array_size(ids) == 0;
}

static int fill_page(const json_t *in, json_t *all, json_t *out, struct error *err)
{
	json_t *page = json_array(), *one;
	size_t i;
	int64_t limit = json_get_int(in, "maxResults", PAGE), skip = 0, at = 0;
	json_object_set_new(out, "previewResults", page);
	if (json_get(in, "nextToken") && !str_to_i64(json_get_str(in, "nextToken"), &skip))
		return error_aws(err, "InvalidParameterException",
				 "Invalid parameter at 'nextToken' failed to satisfy constraint: 'invalid token'");
	json_array_foreach (all, i, one) {
		if (!is_asked(in, one) || at++ < skip)
			continue;
		if ((int64_t)json_array_size(page) == limit) {
			json_object_set_new(out, "nextToken", json_sprintf("%" PRId64, skip + limit));
			break;
		}
		json_array_append(page, one);
	}
	return 0;
}

static int get_lifecycle_preview(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	CLEANUP_ROWS struct rows rows = { 0 };
	if (api_repo(c, db, in, &repo, err) < 0)
		return -1;
	int rc = db_row(db, &rows, err, "SELECT policy, result FROM ecr_preview WHERE repo=?", "s", repo.name);
	if (rc == 0)
		return error_aws(err, "LifecyclePolicyPreviewNotFoundException",
				 "There is no lifecycle policy preview for the repository with name '%s'", repo.name);
	if (rc < 0)
		return rc;
	CLEANUP_JSON json_t *result = json_parse(rows_str(&rows, 1), err);
	*out = api_names(c, &repo);
	json_set_text(*out, "lifecyclePolicyText", rows_str(&rows, 0).ptr);
	json_set_text(*out, "status", "COMPLETE");
	json_object_set_new(*out, "summary",
			    json_pack("{s:I}", "expiringImageTotalCount", (json_int_t)json_array_size(result)));
	return fill_page(in, result, *out, err);
}

const struct wire_op ecr_lifecycle_ops[] = {
	{ .name = "PutLifecyclePolicy", .command = put_lifecycle_policy },
	{ .name = "GetLifecyclePolicy", .query = get_lifecycle_policy },
	{ .name = "DeleteLifecyclePolicy", .command = delete_lifecycle_policy },
	{ .name = "StartLifecyclePolicyPreview", .command = start_lifecycle_preview },
	{ .name = "GetLifecyclePolicyPreview", .query = get_lifecycle_preview },
	{ 0 },
};
