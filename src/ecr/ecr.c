/* ecr.c - the room's start, image look-up for tasks, and the keeper that applies lifecycle policies and drops stale
 * uploads. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "ecr/api.h"

enum { KEEPER_MS = 60 * 60 * 1000, MANIFEST_DEPTH = 4, CONFIG_MAX = 8 << 20, UPLOAD_LIFE_MS = 7 * 24 * 3600 * 1000 };

static struct wire_op all_ops[64];

static void gather_ops(void)
{
	const struct wire_op *const lists[] = { ecr_repo_ops, ecr_image_ops, ecr_layer_ops };
	size_t n = 0;
	for (size_t i = 0; i < 3; i++)
		for (const struct wire_op *op = lists[i]; op->name; op++)
			all_ops[n++] = *op;
}

/* ---- the keeper: an actor with a timer ---- */

static int expire_repository(struct turn *t, struct str repo, struct str policy, struct error *err)
{
	CLEANUP_JSON json_t *expired =
		ecr_lifecycle_apply(turn_db(t), turn_arena(t), repo, policy, turn_now_ms(t), err);
	json_t *image;
	size_t i;
	if (!expired)
		return -1;
	json_array_foreach (expired, i, image)
		if (ecr_image_drop(t, repo, json_get_str(image, "imageDigest"), err) < 0)
			return -1;
	return 0;
}

static int expire_images(struct turn *t, struct error *err)
{
	CLEANUP_JSON json_t *list = json_object();
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *repo;
	json_t *policy;
	int rc = db_query(turn_db(t), &rows, err, "SELECT name, lifecycle FROM ecr_repo WHERE lifecycle IS NOT NULL",
			  "");
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_object_set_new(list, rows_str(&rows, 0).ptr, json_string(rows_str(&rows, 1).ptr));
	rows_done(&rows);
	json_object_foreach (list, repo, policy)
		if (rc >= 0)
			rc = expire_repository(t, str_from(repo), json_str(policy), err);
	return rc;
}

static int drop_stale_uploads(struct turn *t, struct error *err)
{
	CLEANUP_JSON json_t *blobs = json_array();
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *blob;
	size_t i;
	int64_t before = turn_now_ms(t) - UPLOAD_LIFE_MS;
	int rc = db_query(turn_db(t), &rows, err, "SELECT blob FROM ecr_upload WHERE created_ms < ?", "i", before);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(blobs, json_string(rows_str(&rows, 0).ptr));
	rows_done(&rows);
	json_array_foreach (blobs, i, blob)
		if (rc >= 0)
			rc = blob_remove_later(turn_db(t), json_string_value(blob), turn_now_ms(t), err);
	return rc < 0                                                                                     ? rc
	       : db_exec(turn_db(t), err, "DELETE FROM ecr_upload WHERE created_ms < ?", "i", before) < 0 ? -1
													  : 0;
}

static int keeper_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	turn_timer(t, "tick", turn_now_ms(t) + KEEPER_MS, json_pack("{s:s}", "type", "tick"));
	if (expire_images(t, err) < 0 || drop_stale_uploads(t, err) < 0)
		return -1;
	return 0;
}

static const struct actor_type keeper = { "ecr.keeper", keeper_turn };

static int start_keeper(struct turn *t, void *arg, struct error *err)
{
	return turn_exists(t, "ecr/keeper") ? 0 : turn_spawn(t, "ecr.keeper", "ecr/keeper", json_object(), err);
}

static void keeper_started(void *arg, int rc, struct error *err)
{
	if (rc < 0)
		log_error("ecr", "start the keeper: %s", error_text(err));
}

/* ---- start ---- */

int ecr_new(const struct ecr_options *options, struct ecr **out, struct error *err)
{
	struct ecr *e = mem_calloc(1, sizeof(*e));
	e->o = *options;
	e->store = engine_store(options->engine);
	pthread_mutex_init(&e->lock, NULL);
	gather_ops();
	e->api = (struct wire_service){ .model = "ecr", .scope = "ecr", .ops = all_ops, .ctx = e };
	e->registry = (struct wire_service){
		.scope = "ecr-registry", .raw = &ecr_raw, .claims = ecr_claims, .own_auth = true, .ctx = e
	};
	blob_add_owner(options->blobs, ecr_blob_named, NULL);
	engine_add_actor(options->engine, &keeper);
	engine_submit(options->engine, start_keeper, keeper_started, NULL);
	*out = e;
	return 0;
}

void ecr_free(struct ecr *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->uploads.count; i++) {
		struct upload_hash *h = e->uploads.entries[i].value;
		EVP_MD_CTX_free(h->ctx);
		free(h);
	}
	map_release(&e->uploads);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

const struct wire_service *ecr_service(struct ecr *e)
{
	return &e->api;
}

const struct wire_service *ecr_registry_service(struct ecr *e)
{
	return &e->registry;
}

/* ---- look-up for tasks ---- */

#if defined(__aarch64__)
static const char processor[] = "arm64";
#else
static const char processor[] = "amd64";
#endif

static int blob_read(struct ecr *e, const char *blob, int64_t size, struct arena *a, struct str *out, struct error *err)
{
	CLEANUP_FD int fd = blob_open(e->o.blobs, blob, err);
	if (fd < 0)
		return -1;
	char *text = arena_alloc_raw(a, (size_t)size + 1);
	ssize_t n = pread(fd, text, (size_t)size, 0);
	if (n != size)
		return error_set(err, "read the image configuration");
	text[n] = 0;
	*out = str_of(text, (size_t)n);
	return 0;
}

/* The child of an index for this processor. */
static struct str choose_platform(const json_t *doc)
{
	json_t *child;
	size_t i;
	json_array_foreach (json_get(doc, "manifests"), i, child) {
		const json_t *platform = json_get(child, "platform");
		if (!platform || (str_eqz(json_get_str(platform, "os"), "linux") &&
				  str_eqz(json_get_str(platform, "architecture"), processor)))
			return json_get_str(child, "digest");
	}
	return STR_NULL;
}

static json_t *layer_list(struct ecr *e, struct db *db, struct arena *a, struct str repo, const json_t *doc,
			  const json_t *config, struct error *err)
{
	CLEANUP_JSON json_t *layers = json_array();
	json_t *layer, *diff_ids = json_get_path(config, "rootfs.diff_ids");
	size_t i;
	json_array_foreach (json_get(doc, "layers"), i, layer) {
		const char *blob = NULL, *diff_id = json_string_value(json_array_get(diff_ids, i));
		char path[4096];
		int64_t size;
		struct str digest = json_get_str(layer, "digest");
		int rc = ecr_blob_find(db, a, repo, digest, &blob, &size, err);
		if (rc == 0)
			error_aws(err, "LayersNotFoundException", "The layer %.*s is not in the repository '%.*s'",
				  STR_ARG(digest), STR_ARG(repo));
		if (rc <= 0)
			return NULL;
		json_array_append_new(
			layers, json_pack("{s:s, s:s, s:s, s:s, s:I}", "digest", digest.ptr, "diff_id",
					  diff_id ? diff_id : digest.ptr, "media_type",
					  json_get_text(layer, "mediaType") ? json_get_text(layer, "mediaType") : "",
					  "path", blob_path(e->o.blobs, blob, path), "size", (json_int_t)size));
	}
	return json_incref(layers);
}

static json_t *resolve_manifest(struct ecr *e, struct db *db, struct arena *a, struct str repo,
				const struct ecr_image *image, const json_t *doc, struct error *err)
{
	const char *blob = NULL;
	int64_t size = 0;
	struct str text, digest = json_get_str(json_get(doc, "config"), "digest");
	int rc = ecr_blob_find(db, a, repo, digest, &blob, &size, err);
	if (rc == 0)
		error_aws(err, "LayersNotFoundException", "The configuration %.*s is not in the repository '%.*s'",
			  STR_ARG(digest), STR_ARG(repo));
	if (rc <= 0)
		return NULL;
	if (size > CONFIG_MAX) {
		error_aws(err, "LayersNotFoundException", "The image's configuration is larger than %d bytes",
			  CONFIG_MAX);
		return NULL;
	}
	if (blob_read(e, blob, size, a, &text, err) < 0)
		return NULL;
	CLEANUP_JSON json_t *config = json_parse(text, err);
	json_t *layers = config ? layer_list(e, db, a, repo, doc, config, err) : NULL;
	return layers ? json_pack("{s:s, s:O, s:o}", "digest", image->digest.ptr, "config", config, "layers", layers)
		      : NULL;
}

static json_t *resolve(struct ecr *e, struct db *db, struct arena *a, const char *uri, struct error *err)
{
	const char *repo, *reference;
	struct ecr_repo row;
	struct ecr_image image;
	if (!ecr_parse_uri(a, uri, &repo, &reference)) {
		error_aws(err, "ImageNotFoundException", "`%s` is no image reference", uri);
		return NULL;
	}
	if (ecr_repo_need(e, db, a, str_from(repo), &row, err) < 0)
		return NULL;
	struct str wanted = str_from(reference);
	for (int depth = 0; depth < MANIFEST_DEPTH && wanted.ptr; depth++) {
		int rc = ecr_image_find(db, a, str_from(repo), wanted, &image, err);
		if (rc < 0)
			return NULL;
		CLEANUP_JSON json_t *doc = rc ? ecr_manifest_json(image.body) : NULL;
		if (doc && !json_get(doc, "manifests"))
			return resolve_manifest(e, db, a, str_from(repo), &image, doc, err);
		wanted = doc ? arena_str(a, choose_platform(doc)) : STR_NULL;
		if (!wanted.len)
			break;
	}
	error_aws(err, "ImageNotFoundException", "%s:%s: not found", repo, reference);
	return NULL;
}

json_t *ecr_resolve(struct ecr *e, struct db *db, const char *uri, struct error *err)
{
	struct arena a = ARENA_INIT;
	json_t *out = resolve(e, db, &a, uri, err);
	arena_release(&a);
	return out;
}
