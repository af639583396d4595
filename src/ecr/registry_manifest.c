/* registry_manifest.c - manifests, tags, referrers, and the catalog of repositories. */
#include <stdio.h>
#include <stdlib.h>

#include "ecr/registry.h"

/* ---- reading ---- */

static int no_image(struct rcall *c, struct error *err)
{
	return registry_error(err, "MANIFEST_UNKNOWN", "the image '%.*s' is not in this repository", STR_ARG(c->rest));
}

static void answer_manifest(struct rcall *c)
{
	bool head = str_eqz(c->method, "HEAD");
	wire_set_header(c->r, "Docker-Content-Digest", arena_strdup(c->a, c->image.digest));
	wire_set_header(c->r, "Content-Type", arena_strdup(c->a, c->image.media_type));
	if (head)
		wire_set_header(c->r, "Content-Length", arena_printf(c->a, "%zu", c->image.body.len));
	rcall_send(c, 200, head ? STR("") : c->image.body);
}

/* Who gets the manifest finds the blobs, so the pull is noted first; the image may have gone meanwhile. */
static int write_pulled(struct rcall *c, struct turn *t, struct error *err)
{
	int rc = ecr_image_pulled(t, c->repo, c->image.digest, err);
	return rc == 0 ? no_image(c, err) : rc < 0 ? rc : 0;
}

static void get_manifest(struct rcall *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = rcall_read(c);
	if (!db)
		return;
	int rc = ecr_image_find(db, c->a, c->repo, c->rest, &c->image, &err);
	store_read_end(c->e->store, db);
	if (rc == 0)
		rc = no_image(c, &err);
	if (rc < 0)
		rcall_fail(c, &err);
	else if (str_eqz(c->method, "GET") && ecr_pull_is_news(c->e, &c->image))
		rcall_write(c, write_pulled, answer_manifest);
	else
		answer_manifest(c);
}

/* A page of sorted names: the n after `last`. */
struct page {
	int64_t limit;
	struct str last;
	json_t *names;
	bool more;
};

static int read_page_query(struct rcall *c, struct page *p, struct error *err)
{
	bool present;
	struct str n = wire_query_arg(c->r, "n", &present), last = wire_query_arg(c->r, "last", NULL);
	p->limit = ECR_PAGE_MAX;
	p->last = last.ptr ? last : STR("");
	if (present && (!str_to_i64(n, &p->limit) || p->limit < 0))
		return registry_error(err, "UNSUPPORTED", "n must be a number");
	if (p->limit > ECR_PAGE_MAX)
		p->limit = ECR_PAGE_MAX;
	return 0;
}

static int fill_page(struct page *p, struct rows *rows, struct error *err)
{
	int rc;
	while ((rc = rows_next(rows, err)) > 0) {
		struct str name = rows_str(rows, 0);
		if ((int64_t)json_array_size(p->names) == p->limit) {
			p->more = true;
			return 0;
		}
		json_array_append_new(p->names, json_stringn(name.ptr, name.len));
	}
	return rc;
}

/* Answers with `doc` (taken); `path` leads to the next page. */
static void send_page(struct rcall *c, const struct page *p, const char *path, json_t *doc)
{
	size_t n = json_array_size(p->names);
	if (p->more && n)
		wire_set_header(c->r, "Link",
				arena_printf(c->a, "<%s?n=%lld&last=%s>; rel=\"next\"", path, (long long)p->limit,
					     json_string_value(json_array_get(p->names, n - 1))));
	wire_set_header(c->r, "Content-Type", "application/json");
	struct str text = json_text(c->a, doc);
	json_decref(doc);
	rcall_send(c, 200, text);
}

/* Tags of the repository, or (none given) the repositories. */
static void send_names(struct rcall *c, const struct str *repo)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_JSON json_t *names = json_array();
	struct page p = { .names = names };
	struct db *db;
	if (read_page_query(c, &p, &err) < 0) {
		rcall_fail(c, &err);
		return;
	}
	if (!(db = rcall_read(c)))
		return;
	int rc = repo ? db_query(db, &rows, &err,
				 "SELECT tag FROM ecr_tag WHERE repo=? AND tag > ? ORDER BY tag LIMIT ?", "SSi", *repo,
				 p.last, p.limit + 1)
		      : db_query(db, &rows, &err, "SELECT name FROM ecr_repo WHERE name > ? ORDER BY name LIMIT ?",
				 "Si", p.last, p.limit + 1);
	if (rc >= 0)
		rc = fill_page(&p, &rows, &err);
	rows_done(&rows);
	store_read_end(c->e->store, db);
	if (rc < 0)
		rcall_fail(c, &err);
	else if (repo)
		send_page(c, &p, arena_printf(c->a, "/v2/%.*s/tags/list", STR_ARG(*repo)),
			  json_pack("{s:o, s:O}", "name", json_stringn(repo->ptr, repo->len), "tags", names));
	else
		send_page(c, &p, "/v2/_catalog", json_pack("{s:O}", "repositories", names));
}

static void get_tags(struct rcall *c)
{
	send_names(c, &c->repo);
}

static void get_catalog(struct rcall *c)
{
	send_names(c, NULL);
}

static json_t *descriptor(struct rows *rows)
{
	json_t *d = json_pack("{s:s, s:s, s:I}", "mediaType", rows_str(rows, 1).ptr, "digest", rows_str(rows, 0).ptr,
			      "size", (json_int_t)rows_int(rows, 2));
	if (rows_str(rows, 3).len)
		json_set_text(d, "artifactType", rows_str(rows, 3).ptr);
	if (rows_str(rows, 4).len)
		json_object_set_new(d, "annotations", json_parse(rows_str(rows, 4), NULL));
	return d;
}

static void get_referrers(struct rcall *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	bool filtered;
	struct str wanted = wire_query_arg(c->r, "artifactType", &filtered);
	if (!ecr_digest_valid(c->rest)) {
		registry_error(&err, "DIGEST_INVALID", "malformed digest");
		rcall_fail(c, &err);
		return;
	}
	CLEANUP_JSON json_t *index = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType",
					       "application/vnd.oci.image.index.v1+json", "manifests");
	struct db *db = rcall_read(c);
	if (!db)
		return;
	int rc = db_query(db, &rows, &err,
			  "SELECT digest, media_type, length(body), artifact_type, annotations FROM ecr_image WHERE "
			  "repo=? AND subject=? ORDER BY id",
			  "SS", c->repo, c->rest);
	while (rc >= 0 && (rc = rows_next(&rows, &err)) > 0)
		if (!filtered || str_eq(rows_str(&rows, 3), wanted))
			json_array_append_new(json_object_get(index, "manifests"), descriptor(&rows));
	rows_done(&rows);
	store_read_end(c->e->store, db);
	if (rc < 0) {
		rcall_fail(c, &err);
		return;
	}
	if (filtered)
		wire_set_header(c->r, "OCI-Filters-Applied", "artifactType");
	wire_set_header(c->r, "Content-Type", "application/vnd.oci.image.index.v1+json");
	rcall_send(c, 200, json_text(c->a, index));
}

/* ---- writing ---- */

static int begin_put(struct rcall *c, struct error *err)
{
	if (ecr_is_digest(c->rest) ? !ecr_digest_valid(c->rest) : !ecr_tag_valid(c->rest))
		return registry_error(err, ecr_is_digest(c->rest) ? "DIGEST_INVALID" : "MANIFEST_INVALID",
				      "malformed reference '%.*s'", STR_ARG(c->rest));
	if (wire_body_length(c->r) > ECR_MANIFEST_MAX)
		return registry_error(err, "SIZE_INVALID", "a manifest has at most %d bytes", ECR_MANIFEST_MAX);
	return 0;
}

struct tag_list {
	struct rcall *c;
	struct str tags[64];
	size_t count;
};

static void collect_tag(void *ctx, struct str name, struct str value)
{
	struct tag_list *list = ctx;
	if (str_eqz(name, "tag") && list->count < 64)
		list->tags[list->count++] = value;
}

static int write_manifest(struct rcall *c, struct turn *t, struct error *err)
{
	struct tag_list more = { .c = c };
	struct str type = wire_header(c->r, "Content-Type"), body = buf_str(&c->body);
	ptrdiff_t semicolon = str_find_char(type, ';');
	if (semicolon >= 0)
		type = str_trim(str_head(type, (size_t)semicolon));
	if (ecr_repo_need(c->e, turn_db(t), c->a, c->repo, &c->repository, err) < 0)
		return -1;
	if (ecr_manifest_read(turn_db(t), c->a, c->repo, type.len ? type : STR_NULL, body, &c->image, err) < 0)
		return -1;
	bool by_digest = ecr_is_digest(c->rest);
	c->image.digest = str_from(ecr_digest(c->a, body, by_digest ? c->rest : STR("")));
	if (by_digest && !str_eq(c->image.digest, c->rest))
		return registry_error(err, "DIGEST_INVALID", "the manifest has the digest %.*s",
				      STR_ARG(c->image.digest));
	if (ecr_image_put(t, &c->repository, &c->image, by_digest ? STR("") : c->rest, &c->existed, err) < 0)
		return -1;
	if (by_digest)
		wire_each_query(c->r, collect_tag, &more);
	for (size_t i = 0; i < more.count; i++) {
		if (!ecr_tag_valid(more.tags[i]))
			return registry_error(err, "MANIFEST_INVALID", "malformed tag");
		if (ecr_image_put(t, &c->repository, &c->image, more.tags[i], &c->existed, err) < 0)
			return -1;
		c->tags = arena_printf(c->a, "%s%s%.*s", c->tags ? c->tags : "", c->tags ? ", " : "",
				       STR_ARG(more.tags[i]));
	}
	return 0;
}

static void answer_put(struct rcall *c)
{
	wire_set_header(c->r, "Location",
			arena_printf(c->a, "/v2/%.*s/manifests/%.*s", STR_ARG(c->repo), STR_ARG(c->image.digest)));
	wire_set_header(c->r, "Docker-Content-Digest", arena_strdup(c->a, c->image.digest));
	if (c->tags)
		wire_set_header(c->r, "OCI-Tag", c->tags);
	if (c->image.subject.len)
		wire_set_header(c->r, "OCI-Subject", arena_strdup(c->a, c->image.subject));
	rcall_send(c, 201, STR(""));
}

static void put_manifest(struct rcall *c)
{
	rcall_write(c, write_manifest, answer_put);
}

static int write_delete(struct rcall *c, struct turn *t, struct error *err)
{
	int rc = ecr_is_digest(c->rest) ? ecr_image_drop(t, c->repo, c->rest, err)
					: ecr_tag_drop(t, c->repo, c->rest, err);
	return rc == 0 ? no_image(c, err) : rc < 0 ? rc : 0;
}

static void answer_deleted(struct rcall *c)
{
	rcall_send(c, 202, STR(""));
}

static void delete_manifest(struct rcall *c)
{
	rcall_write(c, write_delete, answer_deleted);
}

const struct rop rops_manifest[] = {
	{ "GET", ROP_MANIFEST, false, "ecr:BatchGetImage", NULL, get_manifest },
	{ "HEAD", ROP_MANIFEST, false, "ecr:BatchGetImage", NULL, get_manifest },
	{ "PUT", ROP_MANIFEST, true, "ecr:PutImage", begin_put, put_manifest },
	{ "DELETE", ROP_MANIFEST, false, "ecr:BatchDeleteImage", NULL, delete_manifest },
	{ "GET", ROP_TAGS, false, "ecr:ListImages", NULL, get_tags },
	{ "GET", ROP_CATALOG, false, "ecr:DescribeRepositories", NULL, get_catalog },
	{ "GET", ROP_REFERRERS, false, "ecr:ListImageReferrers", NULL, get_referrers },
	{ "POST", ROP_PRUNE, false, NULL, NULL, registry_collect },
	{ 0 },
};
