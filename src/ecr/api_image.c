/* api_image.c - images of a repository: list, describe, get, put, delete, referrers; scanning, which is unsupported. */
#include <stdio.h>
#include <stdlib.h>

#include "ecr/api.h"

enum { PAGE = 100, REFERRERS_PAGE = 50 };

static json_t *text(struct str s)
{
	return json_stringn(s.ptr ? s.ptr : "", s.len);
}

/* The image that an imageIdentifier names. 1, 0, < 0; *why says what is missing. */
static int find_identified(struct call *c, struct db *db, const struct ecr_repo *repo, const json_t *id,
			   struct ecr_image *image, const char **code, const char **why, struct error *err)
{
	struct str digest = json_get_str(id, "imageDigest"), tag = json_get_str(id, "imageTag");
	int rc;
	*code = "ImageNotFound";
	*why = "Requested image not found";
	if (!digest.ptr && !tag.ptr) {
		*code = "MissingDigestAndTag";
		*why = "Invalid request parameters: both tag and digest cannot be null";
		return 0;
	}
	if (digest.ptr && !ecr_digest_valid(digest)) {
		*code = "InvalidImageDigest";
		*why = "Invalid request parameters: image digest should satisfy the regex "
		       "'[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'";
		return 0;
	}
	rc = ecr_image_find(db, c->arena, str_from(repo->name), tag.ptr ? tag : digest, image, err);
	if (rc == 1 && tag.ptr && digest.ptr && !str_eq(image->digest, digest)) {
		*code = "ImageTagDoesNotMatchDigest";
		*why = "Requested image tag does not match the digest";
		return 0;
	}
	return rc;
}

static int image_missing(struct call *c, const struct ecr_repo *repo, const json_t *id, struct error *err)
{
	const char *digest = json_get_text(id, "imageDigest"), *tag = json_get_text(id, "imageTag");
	return error_aws(err, "ImageNotFoundException",
			 "The image with imageId {imageDigest:'%s', imageTag:'%s'} does not exist within the "
			 "repository with name '%s' in the registry with id '%s'",
			 digest ? digest : "null", tag ? tag : "null", repo->name, c->account);
}

static void add_failure(json_t *failures, const json_t *id, const char *code, const char *why)
{
	json_array_append_new(failures,
			      json_pack("{s:O, s:s, s:s}", "imageId", id, "failureCode", code, "failureReason", why));
}

/* ---- list and describe ---- */

/* All images are ACTIVE: there is no archive. */
static bool status_wanted(const json_t *filter, const char *key)
{
	struct str status = json_get_str(filter, key);
	return !status.ptr || str_eqz(status, "ANY") || str_eqz(status, "ACTIVE");
}

static bool wanted(const json_t *in, bool tagged)
{
	const char *filter = json_get_text(json_get(in, "filter"), "tagStatus");
	if (!status_wanted(json_get(in, "filter"), "imageStatus"))
		return false;
	return !filter || strcmp(filter, "ANY") == 0 || (strcmp(filter, "TAGGED") == 0) == tagged;
}

static int list_images(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *ids = json_array();
	int64_t limit = json_get_int(in, "maxResults", PAGE), skip = 0, at = 0;
	if (json_get(in, "nextToken") && !str_to_i64(json_get_str(in, "nextToken"), &skip))
		return error_aws(err, "InvalidParameterException",
				 "Invalid parameter at 'nextToken' failed to satisfy constraint: 'invalid token'");
	*out = json_pack("{s:o}", "imageIds", ids);
	if (api_repo(c, db, in, &repo, err) < 0)
		return -1;
	int rc = db_query(db, &rows, err,
			  "SELECT i.digest, t.tag FROM ecr_image i LEFT JOIN ecr_tag t ON t.repo = i.repo AND t.digest "
			  "= i.digest WHERE i.repo=? ORDER BY i.id, t.tag",
			  "s", repo.name);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		if (!wanted(in, !rows_null(&rows, 1)) || at++ < skip)
			continue;
		if ((int64_t)json_array_size(ids) == limit) {
			json_object_set_new(*out, "nextToken", json_sprintf("%lld", (long long)skip + limit));
			return 0;
		}
		json_t *id = json_pack("{s:s}", "imageDigest", rows_str(&rows, 0).ptr);
		if (!rows_null(&rows, 1))
			json_set_text(id, "imageTag", rows_str(&rows, 1).ptr);
		json_array_append_new(ids, id);
	}
	return rc;
}

static json_t *detail(struct call *c, struct db *db, const struct ecr_repo *repo, const struct ecr_image *image,
		      struct error *err)
{
	json_t *tags = ecr_image_tags(db, str_from(repo->name), image->digest, err), *out = api_names(c, repo);
	json_object_set_new(out, "imageDigest", text(image->digest));
	if (json_array_size(tags))
		json_object_set(out, "imageTags", tags);
	json_decref(tags);
	json_set_int(out, "imageSizeInBytes", image->size_bytes);
	json_set_real(out, "imagePushedAt", (double)image->pushed_ms / 1000);
	if (image->pulled_ms)
		json_set_real(out, "lastRecordedPullTime", (double)image->pulled_ms / 1000);
	json_object_set_new(out, "imageManifestMediaType", text(image->media_type));
	if (image->artifact_type.len)
		json_object_set_new(out, "artifactMediaType", text(image->artifact_type));
	if (image->subject.len)
		json_object_set_new(out, "subjectManifestDigest", text(image->subject));
	json_set_text(out, "imageStatus", "ACTIVE");
	return out;
}

static int describe_named(struct call *c, struct db *db, json_t *in, const struct ecr_repo *repo, json_t *details,
			  struct error *err)
{
	json_t *id;
	size_t i;
	json_array_foreach (json_get(in, "imageIds"), i, id) {
		struct ecr_image image;
		const char *code, *why;
		int rc = find_identified(c, db, repo, id, &image, &code, &why, err);
		if (rc < 0)
			return rc;
		if (rc == 0)
			return image_missing(c, repo, id, err);
		json_array_append_new(details, detail(c, db, repo, &image, err));
	}
	return 0;
}

static int describe_images(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	json_t *details = json_array();
	int64_t limit = json_get_int(in, "maxResults", PAGE), after = 0;
	*out = json_pack("{s:o}", "imageDetails", details);
	if (json_get(in, "nextToken") && !str_to_i64(json_get_str(in, "nextToken"), &after))
		return error_aws(err, "InvalidParameterException",
				 "Invalid parameter at 'nextToken' failed to satisfy constraint: 'invalid token'");
	if (api_repo(c, db, in, &repo, err) < 0)
		return -1;
	if (json_get(in, "imageIds"))
		return describe_named(c, db, in, &repo, details, err);
	CLEANUP_ROWS struct rows rows = { 0 };
	int64_t last = after;
	int rc = db_query(db, &rows, err, "SELECT id, digest FROM ecr_image WHERE repo=? AND id > ? ORDER BY id", "si",
			  repo.name, after);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		struct ecr_image image;
		int64_t id = rows_int(&rows, 0);
		if (ecr_image_find(db, c->arena, str_from(repo.name), arena_str(c->arena, rows_str(&rows, 1)), &image,
				   err) < 0)
			return -1;
		json_t *one = detail(c, db, &repo, &image, err);
		if (!wanted(in, json_get(one, "imageTags") != NULL)) {
			json_decref(one);
			continue;
		}
		if ((int64_t)json_array_size(details) == limit) {
			json_decref(one);
			json_object_set_new(*out, "nextToken", json_sprintf("%lld", (long long)last));
			return 0;
		}
		last = id;
		json_array_append_new(details, one);
	}
	return rc;
}

/* ---- get, put, delete ---- */

static json_t *image_json(struct call *c, const struct ecr_repo *repo, const struct ecr_image *image, const char *tag)
{
	json_t *out = api_names(c, repo);
	json_object_set_new(out, "imageId", json_pack("{s:o}", "imageDigest", text(image->digest)));
	json_set_text(json_object_get(out, "imageId"), "imageTag", tag);
	json_object_set_new(out, "imageManifest", text(image->body));
	json_object_set_new(out, "imageManifestMediaType", text(image->media_type));
	return out;
}

static bool type_accepted(const json_t *in, struct str media_type)
{
	json_t *types = json_get(in, "acceptedMediaTypes"), *type;
	size_t i;
	json_array_foreach (types, i, type)
		if (str_eq(json_str(type), media_type))
			return true;
	return json_array_size(types) == 0;
}

static int batch_get_image(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	json_t *images = json_array(), *failures = json_array(), *id;
	size_t i;
	*out = json_pack("{s:o, s:o}", "images", images, "failures", failures);
	if (api_repo(c, db, in, &repo, err) < 0)
		return -1;
	json_array_foreach (json_get(in, "imageIds"), i, id) {
		struct ecr_image image;
		const char *code, *why;
		int rc = find_identified(c, db, &repo, id, &image, &code, &why, err);
		if (rc < 0)
			return rc;
		if (rc == 0)
			add_failure(failures, id, code, why);
		else if (type_accepted(in, image.media_type))
			json_array_append_new(images, image_json(c, &repo, &image, json_get_text(id, "imageTag")));
		else
			add_failure(failures, id, "ImageNotFound", "The image has none of the accepted media types");
	}
	return 0;
}

static bool says_media_type(struct str manifest)
{
	CLEANUP_JSON json_t *doc = ecr_manifest_json(manifest);
	return json_get_str(doc, "mediaType").len > 0;
}

static int put_image(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	struct ecr_image image;
	bool existed;
	struct str body = json_get_str(in, "imageManifest"), tag = json_get_str(in, "imageTag"),
		   digest = json_get_str(in, "imageDigest");
	if (api_repo(c, turn_db(t), in, &repo, err) < 0)
		return -1;
	if (ecr_manifest_read(turn_db(t), c->arena, str_from(repo.name), json_get_str(in, "imageManifestMediaType"),
			      body, &image, err) < 0)
		return -1;
	if (!json_get(in, "imageManifestMediaType") && !says_media_type(body))
		return error_aws(err, "InvalidParameterException",
				 "image manifest mediatype not provided in manifest or parameter");
	image.digest = str_from(ecr_digest(c->arena, body, digest.ptr ? digest : STR("")));
	if (digest.ptr && !str_eq(digest, image.digest))
		return error_aws(err, "ImageDigestDoesNotMatchException",
				 "The provided digest '%.*s' does not match the manifest's digest '%.*s'",
				 STR_ARG(digest), STR_ARG(image.digest));
	if (tag.ptr && !ecr_tag_valid(tag))
		return error_aws(err, "InvalidParameterException",
				 "Invalid parameter at 'imageTag' failed to satisfy constraint: 'invalid tag'");
	if (ecr_image_put(t, &repo, &image, tag.ptr ? tag : STR(""), &existed, err) < 0)
		return -1;
	if (existed)
		return error_aws(err, "ImageAlreadyExistsException",
				 "Image with digest '%.*s' and tag '%s' already exists in the repository with name "
				 "'%s' in registry with id '%s'",
				 STR_ARG(image.digest), tag.ptr ? tag.ptr : "null", repo.name, c->account);
	*out = json_pack("{s:o}", "image", image_json(c, &repo, &image, tag.ptr));
	return 0;
}

static int delete_one(struct turn *t, const struct ecr_repo *repo, const json_t *id, const struct ecr_image *image,
		      json_t *done, json_t *failures, struct error *err)
{
	struct str tag = json_get_str(id, "imageTag"), name = str_from(repo->name), index;
	CLEANUP_JSON json_t *tags = ecr_image_tags(turn_db(t), name, image->digest, err);
	json_t *other;
	size_t i;
	int referred = tags ? ecr_image_referred(turn_db(t), turn_arena(t), name, image->digest, &index, err) : -1;
	if (referred < 0)
		return -1;
	/* The last tag takes the image along, unless an index needs it. */
	bool whole = !tag.ptr || (json_array_size(tags) == 1 && !referred);
	if (whole && referred) {
		const char *why = arena_printf(turn_arena(t), "Requested image referenced by manifest list: [%.*s]",
					       STR_ARG(index));
		add_failure(failures, id, "ImageReferencedByManifestList", why);
		return 0;
	}
	if (!tag.ptr && json_array_size(tags) == 0)
		json_array_append_new(done, json_pack("{s:o}", "imageDigest", text(image->digest)));
	json_array_foreach (tags, i, other)
		if (!tag.ptr || str_eq(json_str(other), tag))
			json_array_append_new(
				done, json_pack("{s:o, s:O}", "imageDigest", text(image->digest), "imageTag", other));
	return whole ? ecr_image_drop(t, name, image->digest, err) : ecr_tag_drop(t, name, tag, err);
}

static int batch_delete_image(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	json_t *done = json_array(), *failures = json_array(), *id;
	size_t i;
	*out = json_pack("{s:o, s:o}", "imageIds", done, "failures", failures);
	if (api_repo(c, turn_db(t), in, &repo, err) < 0)
		return -1;
	json_array_foreach (json_get(in, "imageIds"), i, id) {
		struct ecr_image image;
		const char *code, *why;
		int rc = find_identified(c, turn_db(t), &repo, id, &image, &code, &why, err);
		if (rc < 0 || (rc == 1 && delete_one(t, &repo, id, &image, done, failures, err) < 0))
			return -1;
		if (rc == 0)
			add_failure(failures, id, code, why);
	}
	return 0;
}

/* ---- referrers and scanning ---- */

static bool artifact_wanted(const json_t *filter, struct str type)
{
	const json_t *types = json_get(filter, "artifactTypes"), *one;
	size_t i;
	if (!status_wanted(filter, "artifactStatus"))
		return false;
	json_array_foreach ((json_t *)types, i, one)
		if (str_eq(json_str(one), type))
			return true;
	return json_array_size(types) == 0;
}

static json_t *referrer(struct rows *rows)
{
	json_t *one =
		json_pack("{s:s, s:s, s:I, s:s}", "digest", rows_str(rows, 0).ptr, "mediaType", rows_str(rows, 1).ptr,
			  "size", (json_int_t)rows_int(rows, 2), "artifactStatus", "ACTIVE");
	if (rows_str(rows, 3).len)
		json_set_text(one, "artifactType", rows_str(rows, 3).ptr);
	if (rows_str(rows, 4).len)
		json_object_set_new(one, "annotations", json_parse(rows_str(rows, 4), NULL));
	return one;
}

static int list_image_referrers(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *list = json_array();
	int64_t limit = json_get_int(in, "maxResults", REFERRERS_PAGE), after = 0, last = 0;
	*out = json_pack("{s:o}", "referrers", list);
	if (json_get(in, "nextToken") && !str_to_i64(json_get_str(in, "nextToken"), &after))
		return error_aws(err, "InvalidParameterException",
				 "Invalid parameter at 'nextToken' failed to satisfy constraint: 'invalid token'");
	if (api_repo(c, db, in, &repo, err) < 0)
		return -1;
	int rc =
		db_query(db, &rows, err,
			 "SELECT digest, media_type, length(body), artifact_type, annotations, id FROM ecr_image WHERE "
			 "repo=? AND subject=? AND id > ? ORDER BY id",
			 "sSi", repo.name, json_get_str(json_get(in, "subjectId"), "imageDigest"), after);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		if (!artifact_wanted(json_get(in, "filter"), rows_str(&rows, 3)))
			continue;
		if ((int64_t)json_array_size(list) == limit) {
			json_object_set_new(*out, "nextToken", json_sprintf("%lld", (long long)last));
			return 0;
		}
		last = rows_int(&rows, 5);
		json_array_append_new(list, referrer(&rows));
	}
	return rc;
}

/* The image of a request for a scan: there is one, or the error is AWS's. */
static int scanned(struct call *c, struct db *db, json_t *in, struct ecr_repo *repo, struct error *err)
{
	struct ecr_image image;
	const char *code, *why;
	const json_t *id = json_get(in, "imageId");
	if (api_repo(c, db, in, repo, err) < 0)
		return -1;
	int rc = find_identified(c, db, repo, id, &image, &code, &why, err);
	return rc == 0 ? image_missing(c, repo, id, err) : rc;
}

static int start_image_scan(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	if (scanned(c, turn_db(t), in, &repo, err) < 0)
		return -1;
	return error_aws(err, "UnsupportedImageTypeException", "Quern does not scan images");
}

static int describe_image_scan_findings(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	if (scanned(c, db, in, &repo, err) < 0)
		return -1;
	return error_aws(err, "ScanNotFoundException",
			 "Image scan does not exist for the image in the repository with name '%s' in the registry "
			 "with id '%s': Quern does not scan images",
			 repo.name, c->account);
}

const struct wire_op ecr_image_ops[] = {
	{ .name = "ListImages", .query = list_images },
	{ .name = "DescribeImages", .query = describe_images },
	{ .name = "BatchGetImage", .query = batch_get_image },
	{ .name = "PutImage", .command = put_image },
	{ .name = "BatchDeleteImage", .command = batch_delete_image },
	{ .name = "ListImageReferrers", .query = list_image_referrers },
	{ .name = "StartImageScan", .command = start_image_scan },
	{ .name = "DescribeImageScanFindings", .query = describe_image_scan_findings },
	{ 0 },
};
