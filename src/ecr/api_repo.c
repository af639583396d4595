/* api_repo.c - repositories: create, describe, delete, tags, mutability, policies, log-in tokens. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "ecr/api.h"

struct ecr *api_ecr(struct call *c)
{
	return c->service_ctx;
}

static int repo_missing(struct str name, struct str registry, struct error *err)
{
	return error_aws(err, "RepositoryNotFoundException",
			 "The repository with name '%.*s' does not exist in the registry with id '%.*s'", STR_ARG(name),
			 STR_ARG(registry));
}

/* Another account's registry is not here. */
static bool foreign(struct call *c, const json_t *in)
{
	struct str registry = json_get_str(in, "registryId");
	return registry.ptr && !str_eqz(registry, c->account);
}

int api_repo(struct call *c, struct db *db, json_t *in, struct ecr_repo *out, struct error *err)
{
	struct str name = json_get_str(in, "repositoryName");
	if (foreign(c, in))
		return repo_missing(name, json_get_str(in, "registryId"), err);
	return ecr_repo_need(api_ecr(c), db, c->arena, name, out, err);
}

/* Exclusion filters belong to the two settings that say so, and to no other. */
static int check_filters(const char *mutability, const json_t *filters, struct error *err)
{
	bool wanted = mutability && str_ends(str_from(mutability), STR("_WITH_EXCLUSION"));
	json_t *filter;
	size_t i;
	if (wanted != (json_array_size(filters) > 0))
		return error_aws(err, "InvalidParameterException",
				 "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy "
				 "constraint: '%s'",
				 wanted ? "filters are required when imageTagMutability ends with _WITH_EXCLUSION"
					: "filters need an imageTagMutability that ends with _WITH_EXCLUSION");
	json_array_foreach (filters, i, filter) {
		struct str text = json_get_str(filter, "filter");
		int stars = 0;
		for (size_t k = 0; k < text.len; k++)
			stars += text.ptr[k] == '*';
		if (stars > 2)
			return error_aws(err, "InvalidParameterException",
					 "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy "
					 "constraint: 'a filter has at most two wildcards'");
	}
	return 0;
}

json_t *api_names(struct call *c, const struct ecr_repo *repo)
{
	return json_pack("{s:s, s:s}", "registryId", c->account, "repositoryName", repo->name);
}

static json_t *parsed(const char *text)
{
	return text ? json_parse(str_from(text), NULL) : NULL;
}

static json_t *repo_json(struct call *c, const struct ecr_repo *r)
{
	json_t *scanning = parsed(r->scanning), *encryption = parsed(r->encryption), *filters = parsed(r->filters);
	json_t *out =
		json_pack("{s:s, s:s, s:s, s:s, s:f, s:s, s:o, s:o}", "repositoryArn", r->arn, "registryId", c->account,
			  "repositoryName", r->name, "repositoryUri", r->uri, "createdAt", (double)r->created_ms / 1000,
			  "imageTagMutability", r->mutability, "imageScanningConfiguration",
			  scanning ? scanning : json_pack("{s:b}", "scanOnPush", 0), "encryptionConfiguration",
			  encryption ? encryption : json_pack("{s:s}", "encryptionType", "AES256"));
	if (filters)
		json_object_set_new(out, "imageTagMutabilityExclusionFilters", filters);
	return out;
}

static int create_repository(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecr *e = api_ecr(c);
	struct ecr_repo repo;
	struct str name = json_get_str(in, "repositoryName");
	const char *mutability = json_get_text(in, "imageTagMutability");
	if (foreign(c, in))
		return error_aws(err, "AccessDeniedException",
				 "A repository of the registry with id '%s' cannot be created from account %s",
				 json_get_text(in, "registryId"), c->account);
	int rc = ecr_repo_find(e, turn_db(t), c->arena, name, &repo, err);
	if (rc != 0)
		return rc < 0 ? rc
			      : error_aws(err, "RepositoryAlreadyExistsException",
					  "The repository with name '%s' already exists in the registry with id '%s'",
					  repo.name, c->account);
	if (!ecr_repository_valid(name))
		return error_aws(
			err, "InvalidParameterException",
			"Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular "
			"expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*''");
	json_t *tags = json_get(in, "tags"), *scanning = json_get(in, "imageScanningConfiguration"),
	       *encryption = json_get(in, "encryptionConfiguration"),
	       *filters = json_get(in, "imageTagMutabilityExclusionFilters");
	struct arena *a = c->arena;
	if (check_filters(mutability, filters, err) < 0)
		return -1;
	if (db_exec(turn_db(t), err,
		    "INSERT INTO ecr_repo(name, created_ms, mutability, filters, scanning, encryption, tags) "
		    "VALUES(?,?,?,?,?,?,?)",
		    "Sisssss", name, turn_now_ms(t), mutability ? mutability : "MUTABLE",
		    filters ? json_text(a, filters).ptr : NULL, scanning ? json_text(a, scanning).ptr : NULL,
		    encryption ? json_text(a, encryption).ptr : NULL, tags ? json_text(a, tags).ptr : NULL) < 0)
		return -1;
	if (ecr_repo_need(e, turn_db(t), a, name, &repo, err) < 0)
		return -1;
	*out = json_pack("{s:o}", "repository", repo_json(c, &repo));
	return 0;
}

static int describe_repositories(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	json_t *names = json_get(in, "repositoryNames"), *name, *list = json_array();
	size_t i;
	int rc = 0;
	*out = json_pack("{s:o}", "repositories", list);
	json_array_foreach (names, i, name) {
		if (foreign(c, in))
			return repo_missing(json_str(name), json_get_str(in, "registryId"), err);
		if (ecr_repo_need(api_ecr(c), db, c->arena, json_str(name), &repo, err) < 0)
			return -1;
		json_array_append_new(list, repo_json(c, &repo));
	}
	if (names || foreign(c, in))
		return 0;
	struct str token = json_get_str(in, "nextToken");
	int64_t limit = json_get_int(in, "maxResults", 100);
	CLEANUP_ROWS struct rows rows = { 0 };
	rc = db_query(db, &rows, err, "SELECT name FROM ecr_repo WHERE name > ? ORDER BY name LIMIT ?", "Si",
		      token.ptr ? token : STR(""), limit + 1);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(list) == limit) {
			json_object_set(*out, "nextToken",
					json_object_get(json_array_get(list, (size_t)limit - 1), "repositoryName"));
			return 0;
		}
		if (ecr_repo_need(api_ecr(c), db, c->arena, rows_str(&rows, 0), &repo, err) < 0)
			return -1;
		json_array_append_new(list, repo_json(c, &repo));
	}
	return rc;
}

/* Every image first, so that blobs lose their links. */
static int drop_images(struct turn *t, struct str repo, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_JSON json_t *digests = json_array();
	json_t *digest;
	size_t i;
	int rc = db_query(turn_db(t), &rows, err, "SELECT digest FROM ecr_image WHERE repo=?", "S", repo);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(digests, json_string(rows_str(&rows, 0).ptr));
	rows_done(&rows);
	json_array_foreach (digests, i, digest)
		if (rc >= 0)
			rc = ecr_image_drop(t, repo, json_str(digest), err);
	return rc;
}

/* Links that no image names (pushed layers without a manifest). */
static int drop_links(struct turn *t, struct str repo, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_JSON json_t *digests = json_array();
	json_t *digest;
	size_t i;
	int rc = db_query(turn_db(t), &rows, err, "SELECT digest FROM ecr_link WHERE repo=?", "S", repo);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(digests, json_string(rows_str(&rows, 0).ptr));
	rows_done(&rows);
	json_array_foreach (digests, i, digest)
		if (rc >= 0)
			rc = ecr_blob_unlink(t, repo, json_str(digest), err);
	return rc;
}

static int delete_repository(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str name = json_get_str(in, "repositoryName");
	if (api_repo(c, turn_db(t), in, &repo, err) < 0)
		return -1;
	int rc = db_row(turn_db(t), &rows, err, "SELECT 1 FROM ecr_image WHERE repo=?", "S", name);
	rows_done(&rows);
	if (rc < 0)
		return rc;
	if (rc == 1 && !json_get_bool(in, "force", false))
		return error_aws(err, "RepositoryNotEmptyException",
				 "The repository with name '%s' in registry with id '%s' cannot be deleted because it "
				 "still contains images",
				 repo.name, c->account);
	if (drop_images(t, name, err) < 0 || drop_links(t, name, err) < 0 ||
	    ecr_collect_uploads(api_ecr(c), t, name, err) < 0 ||
	    db_exec(turn_db(t), err, "DELETE FROM ecr_preview WHERE repo=?", "S", name) < 0 ||
	    db_exec(turn_db(t), err, "DELETE FROM ecr_repo WHERE name=?", "S", name) < 0)
		return -1;
	*out = json_pack("{s:o}", "repository", repo_json(c, &repo));
	return 0;
}

static int get_authorization_token(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecr *e = api_ecr(c);
	int64_t expires_ms;
	const char *token = ecr_token_new(t, c->who, &expires_ms, err);
	if (!token)
		return -1;
	*out = json_pack("{s:[{s:s, s:f, s:o}]}", "authorizationData", "authorizationToken", token, "expiresAt",
			 (double)expires_ms / 1000, "proxyEndpoint",
			 json_sprintf("http://%s.dkr.ecr.%s.localhost:%u", c->account, e->o.region, e->o.port));
	return 0;
}

/* ---- one column of a repository ---- */

static int set_column(struct turn *t, const struct ecr_repo *repo, const char *sql, const char *value,
		      struct error *err)
{
	return db_exec(turn_db(t), err, sql, "ss", value, repo->name) < 0 ? -1 : 0;
}

static int put_image_tag_mutability(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	json_t *filters = json_get(in, "imageTagMutabilityExclusionFilters");
	const char *value = json_get_text(in, "imageTagMutability");
	if (api_repo(c, turn_db(t), in, &repo, err) < 0 || check_filters(value, filters, err) < 0 ||
	    set_column(t, &repo, "UPDATE ecr_repo SET mutability=? WHERE name=?", value, err) < 0 ||
	    set_column(t, &repo, "UPDATE ecr_repo SET filters=? WHERE name=?",
		       filters ? json_text(c->arena, filters).ptr : NULL, err) < 0)
		return -1;
	*out = api_names(c, &repo);
	json_set_text(*out, "imageTagMutability", value);
	if (filters)
		json_object_set(*out, "imageTagMutabilityExclusionFilters", filters);
	return 0;
}

static int put_image_scanning(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	json_t *value = json_get(in, "imageScanningConfiguration");
	if (api_repo(c, turn_db(t), in, &repo, err) < 0 ||
	    set_column(t, &repo, "UPDATE ecr_repo SET scanning=? WHERE name=?", json_text(c->arena, value).ptr, err) <
		    0)
		return -1;
	*out = api_names(c, &repo);
	json_object_set(*out, "imageScanningConfiguration", value);
	return 0;
}

int ecr_find_policy(void *ctx, struct db *db, struct arena *a, struct str resource, struct str *text, struct error *err)
{
	struct ecr *e = ctx;
	struct ecr_repo repo;
	const struct str prefix = str_from(arena_printf(a, "arn:aws:ecr:%s:%s:repository/", e->o.region, e->o.account));
	if (!str_starts(resource, prefix))
		return 0;
	int rc = ecr_repo_find(e, db, a, str_skip(resource, prefix.len), &repo, err);
	if (rc > 0 && repo.policy)
		*text = str_from(repo.policy);
	return rc < 0 ? -1 : 0;
}

static int set_repository_policy(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	const char *text = json_get_text(in, "policyText");
	CLEANUP_ERROR struct error why = ERROR_INIT;
	if (iam_check_resource_policy(str_from(text), &why) < 0)
		return error_aws(err, "InvalidParameterException",
				 "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository "
				 "policy provided'");
	if (api_repo(c, turn_db(t), in, &repo, err) < 0 ||
	    set_column(t, &repo, "UPDATE ecr_repo SET policy=? WHERE name=?", text, err) < 0)
		return -1;
	*out = api_names(c, &repo);
	json_set_text(*out, "policyText", text);
	return 0;
}

static int no_policy(struct call *c, const struct ecr_repo *repo, struct error *err)
{
	return error_aws(
		err, "RepositoryPolicyNotFoundException",
		"Repository policy does not exist for the repository with name '%s' in the registry with id '%s'",
		repo->name, c->account);
}

static int get_repository_policy(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	if (api_repo(c, db, in, &repo, err) < 0)
		return -1;
	if (!repo.policy)
		return no_policy(c, &repo, err);
	*out = api_names(c, &repo);
	json_set_text(*out, "policyText", repo.policy);
	return 0;
}

static int delete_repository_policy(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	if (api_repo(c, turn_db(t), in, &repo, err) < 0)
		return -1;
	if (!repo.policy)
		return no_policy(c, &repo, err);
	*out = api_names(c, &repo);
	json_set_text(*out, "policyText", repo.policy);
	return set_column(t, &repo, "UPDATE ecr_repo SET policy=? WHERE name=?", NULL, err);
}

/* ---- resource tags ---- */

static int repo_of_arn(struct call *c, struct db *db, json_t *in, struct ecr_repo *repo, struct error *err)
{
	struct str arn = json_get_str(in, "resourceArn");
	ptrdiff_t at = str_find(arn, STR(":repository/"));
	if (at < 0)
		return error_aws(err, "InvalidParameterException",
				 "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'");
	return ecr_repo_need(api_ecr(c), db, c->arena, str_skip(arn, (size_t)at + 12), repo, err);
}

static json_t *read_tags(struct db *db, const struct ecr_repo *repo, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_row(db, &rows, err, "SELECT tags FROM ecr_repo WHERE name=?", "s", repo->name) < 0)
		return NULL;
	json_t *tags = rows_null(&rows, 0) ? NULL : json_parse(rows_str(&rows, 0), NULL);
	return tags ? tags : json_array();
}

/* Copies tags whose key is not in `drop` (array of keys, or of tags). */
static json_t *tags_without(const json_t *tags, const json_t *drop)
{
	json_t *kept = json_array(), *tag, *item;
	size_t i, j;
	json_array_foreach (tags, i, tag) {
		bool out = false;
		json_array_foreach (drop, j, item)
			out = out || str_eq(json_get_str(tag, "Key"),
					    json_is_string(item) ? json_str(item) : json_get_str(item, "Key"));
		if (!out)
			json_array_append(kept, tag);
	}
	return kept;
}

static int change_tags(struct call *c, struct turn *t, json_t *in, const char *member, bool add, struct error *err)
{
	struct ecr_repo repo;
	if (repo_of_arn(c, turn_db(t), in, &repo, err) < 0)
		return -1;
	CLEANUP_JSON json_t *tags = read_tags(turn_db(t), &repo, err);
	CLEANUP_JSON json_t *kept = tags ? tags_without(tags, json_get(in, member)) : NULL;
	if (!kept)
		return -1;
	if (add)
		json_array_extend(kept, json_get(in, member));
	return set_column(t, &repo, "UPDATE ecr_repo SET tags=? WHERE name=?", json_text(c->arena, kept).ptr, err);
}

static int tag_resource(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	return change_tags(c, t, in, "tags", true, err);
}

static int untag_resource(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	return change_tags(c, t, in, "tagKeys", false, err);
}

static int list_tags_for_resource(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	if (repo_of_arn(c, db, in, &repo, err) < 0)
		return -1;
	json_t *tags = read_tags(db, &repo, err);
	*out = tags ? json_pack("{s:o}", "tags", tags) : NULL;
	return tags ? 0 : -1;
}

static int describe_registry(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	*out = json_pack("{s:s, s:{s:[]}}", "registryId", c->account, "replicationConfiguration", "rules");
	return 0;
}

const struct wire_op ecr_repo_ops[] = {
	{ .name = "CreateRepository", .command = create_repository },
	{ .name = "DescribeRepositories", .query = describe_repositories },
	{ .name = "DeleteRepository", .command = delete_repository },
	{ .name = "GetAuthorizationToken", .command = get_authorization_token },
	{ .name = "PutImageTagMutability", .command = put_image_tag_mutability },
	{ .name = "PutImageScanningConfiguration", .command = put_image_scanning },
	{ .name = "SetRepositoryPolicy", .command = set_repository_policy },
	{ .name = "GetRepositoryPolicy", .query = get_repository_policy },
	{ .name = "DeleteRepositoryPolicy", .command = delete_repository_policy },
	{ .name = "TagResource", .command = tag_resource },
	{ .name = "UntagResource", .command = untag_resource },
	{ .name = "ListTagsForResource", .query = list_tags_for_resource },
	{ .name = "DescribeRegistry", .query = describe_registry },
	{ 0 },
};
