/* ecr.c - the room's start, and image look-up for tasks. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/id.h"
#include "base/log.h"
#include "ecr/api.h"

enum { MANIFEST_DEPTH = 4, CONFIG_MAX = 8 << 20, LAYERS_MAX = 127 };

static struct wire_op all_ops[64];

static void gather_ops(void)
{
	const struct wire_op *const lists[] = { ecr_repo_ops, ecr_lifecycle_ops, ecr_image_ops, ecr_layer_ops };
	size_t n = 0;
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		for (const struct wire_op *op = lists[i]; op->name; op++)
			all_ops[n++] = *op;
}

/* ---- pulls ---- */

struct pull {
	struct ecr *e;
	char *repo, *digest;
};

static int write_pull(struct turn *t, void *arg, struct error *err)
{
	const struct pull *p = arg;
	return ecr_image_pulled(t, str_from(p->repo), str_from(p->digest), err);
}

static void pull_written(void *arg, int rc, struct error *err)
{
	struct pull *p = arg;
	if (rc < 0)
		log_warn("ecr", "note a pull of %s: %s", p->repo, error_text(err));
	free(p->repo);
	free(p->digest);
	free(p);
}

bool ecr_pull_is_news(const struct ecr *e, const struct ecr_image *image)
{
	return engine_now_ms(e->o.engine) - image->pulled_ms >= ECR_PULL_MS / 2;
}

void ecr_note_pull(struct ecr *e, struct str repo, const struct ecr_image *image)
{
	if (!ecr_pull_is_news(e, image))
		return;
	struct pull *p = mem_calloc(1, sizeof(*p));
	*p = (struct pull){ e, mem_strndup(repo.ptr, repo.len), mem_strndup(image->digest.ptr, image->digest.len) };
	engine_submit(e->o.engine, write_pull, pull_written, p);
}

/* ---- start ---- */

int ecr_new(const struct ecr_options *options, struct ecr **out, struct error *err)
{
	struct ecr *e = mem_calloc(1, sizeof(*e));
	e->o = *options;
	e->store = engine_store(options->engine);
	pthread_mutex_init(&e->lock, NULL);
	random_bytes(e->link_key, sizeof(e->link_key));
	gather_ops();
	e->api =
		(struct wire_service){ .model = "ecr", .scope = "ecr", .ops = all_ops, .access = ecr_access, .ctx = e };
	e->registry = (struct wire_service){
		.scope = "ecr-registry", .raw = &ecr_raw, .claims = ecr_claims, .own_auth = true, .ctx = e
	};
	blob_add_owner(options->blobs, ecr_blob_named, NULL);
	iam_set_resource_policies(options->iam, "ecr", ecr_find_policy, e);
	ecr_collect_start(e);
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
static const char processor[] = "arm64", lowest_variant[] = "v8";
#else
static const char processor[] = "amd64", lowest_variant[] = "v1";
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

/* Does a child of an index fit this machine? 2 it says so, 1 it names no platform, 0 it does not. Every processor runs
 * the lowest variant of its architecture; containerd does not try higher ones either. */
static int fits(const json_t *child)
{
	const json_t *platform = json_get(child, "platform");
	struct str variant = json_get_str(platform, "variant");
	if (!platform)
		return 1;
	return str_eqz(json_get_str(platform, "os"), "linux") &&
			       str_eqz(json_get_str(platform, "architecture"), processor) &&
			       (!variant.len || str_eqz(variant, lowest_variant))
		       ? 2
		       : 0;
}

/* The digest of the child that fits best, the first of equals; STR_NULL: none does. */
static struct str choose_platform(const json_t *doc)
{
	json_t *child;
	size_t i;
	int best = 0, fit;
	struct str digest = STR_NULL;
	json_array_foreach (json_get(doc, "manifests"), i, child)
		if ((fit = fits(child)) > best) {
			best = fit;
			digest = json_get_str(child, "digest");
		}
	return digest;
}

static json_t *bad_image(struct error *err, const char *why)
{
	error_aws(err, "InvalidImage", "the image cannot be run: %s", why);
	return NULL;
}

static json_t *layer_list(struct ecr *e, struct db *db, struct arena *a, struct str repo, const json_t *doc,
			  const json_t *config, struct error *err)
{
	CLEANUP_JSON json_t *layers = json_array();
	json_t *layer, *diff_ids = json_get_path(config, "rootfs.diff_ids");
	size_t i, nlayers = json_array_size(json_get(doc, "layers"));
	if (json_array_size(diff_ids) != nlayers) /* containerd's words */
		return bad_image(err, arena_printf(a, "number of layers and diffIDs don't match: %zu != %zu", nlayers,
						   json_array_size(diff_ids)));
	json_array_foreach (json_get(doc, "layers"), i, layer) {
		const char *blob = NULL;
		char path[4096];
		int64_t size;
		struct str digest = json_get_str(layer, "digest"), diff_id = json_str(json_array_get(diff_ids, i));
		if (!ecr_digest_valid(diff_id))
			return bad_image(err, "its configuration has a malformed diff id");
		int rc = ecr_blob_find(db, a, repo, digest, &blob, &size, err);
		if (rc == 0)
			error_aws(err, "LayersNotFoundException", "The layer %.*s is not in the repository '%.*s'",
				  STR_ARG(digest), STR_ARG(repo));
		if (rc <= 0)
			return NULL;
		json_array_append_new(layers,
				      json_pack("{s:s, s:s, s:s, s:I}", "digest", digest.ptr, "diff_id", diff_id.ptr,
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
	if (size > CONFIG_MAX)
		return bad_image(err, "its configuration is larger than 8 MiB");
	size_t nlayers = json_array_size(json_get(doc, "layers"));
	if (nlayers == 0 || nlayers > LAYERS_MAX)
		return bad_image(err, nlayers ? "it has more than 127 layers" : "it has no layers");
	if (blob_read(e, blob, size, a, &text, err) < 0)
		return NULL;
	CLEANUP_JSON json_t *config = json_parse(text, NULL);
	if (!json_is_object(config))
		return bad_image(err, "its configuration is no JSON object");
	json_t *layers = layer_list(e, db, a, repo, doc, config, err);
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
	for (int depth = 0; depth < MANIFEST_DEPTH; depth++) {
		int rc = ecr_image_find(db, a, str_from(repo), wanted, &image, err);
		if (rc < 0)
			return NULL;
		CLEANUP_JSON json_t *doc = rc ? ecr_manifest_json(image.body) : NULL;
		if (doc && !json_get(doc, "manifests")) {
			ecr_note_pull(e, str_from(repo), &image);
			return resolve_manifest(e, db, a, str_from(repo), &image, doc, err);
		}
		if (!doc)
			break;
		wanted = arena_str(a, choose_platform(doc));
		if (!wanted.len) /* the words of ECS */
			return bad_image(err, arena_printf(a,
							   "image Manifest does not contain descriptor matching "
							   "platform 'linux/%s'",
							   processor));
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
