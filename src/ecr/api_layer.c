/* api_layer.c - layers through the JSON API: check, upload in parts, download address.
 *
 * DESIGN: the same uploads as the distribution protocol's (upload.c). Parts are decoded and written on the http thread,
 * then the row is updated on the core thread. A finished layer is sealed on a worker thread: it waits for the disk, and
 * perhaps reads the whole file again. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/id.h"
#include "ecr/api.h"

struct layer_call {
	struct call *call;
	struct ecr *e;
	struct ecr_repo repo;
	struct ecr_upload upload;
	struct upload_hash *hash;
	const char *digest;
	bool locked, forget, gone; /* gone: the upload is not there any more */
	json_t *out;
	int (*write)(struct layer_call *l, struct turn *t, struct error *err);
};

static int write_run(struct turn *t, void *arg, struct error *err)
{
	struct layer_call *l = arg;
	return l->write(l, t, err) < 0 ? -1 : wire_commit(l->call, t, l->out, err);
}

static void finish(struct layer_call *l, int rc, struct error *err)
{
	if (l->locked)
		ecr_upload_unlock(l->e, l->upload.id, l->gone || (l->forget && rc == 0));
	if (rc < 0) {
		json_decref(l->out);
		l->out = NULL;
	}
	wire_answer(l->call, rc, l->out, err);
}

static void write_done(void *arg, int rc, struct error *err)
{
	finish(arg, rc, err);
}

static void submit(struct layer_call *l, int (*write)(struct layer_call *, struct turn *, struct error *))
{
	l->write = write;
	engine_submit(l->e->o.engine, write_run, write_done, l);
}

static struct layer_call *layer_call_new(struct call *c)
{
	struct layer_call *l = ARENA_NEW(c->arena, struct layer_call);
	l->call = c;
	l->e = api_ecr(c);
	return l;
}

static int unknown_upload(struct layer_call *l, const char *id, struct error *err)
{
	l->gone = true;
	return error_aws(err, "UploadNotFoundException",
			 "The upload with id '%s' could not be found, or it is not valid for this repository", id);
}

/* The repository, and the upload when the request names one. */
static int find(struct layer_call *l, json_t *in, struct error *err)
{
	struct db *db = store_read_begin(l->e->store, err);
	struct str id = json_get_str(in, "uploadId");
	if (!db)
		return -1;
	int rc = api_repo(l->call, db, in, &l->repo, err);
	if (rc == 0 && id.ptr) {
		rc = ecr_upload_find(db, l->call->arena, str_from(l->repo.name), id, &l->upload, err);
		rc = rc == 0 ? unknown_upload(l, id.ptr, err) : rc < 0 ? rc : 0;
	}
	store_read_end(l->e->store, db);
	return rc;
}

static int write_start(struct layer_call *l, struct turn *t, struct error *err)
{
	return ecr_upload_insert(t, &l->upload, err);
}

static void initiate_layer_upload(struct call *c, json_t *in)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct layer_call *l = layer_call_new(c);
	char id[37], blob[BLOB_ID_LEN + 1];
	if (find(l, in, &err) < 0 || blob_draft_new(l->e->o.blobs, blob, &err) < 0) {
		finish(l, -1, &err);
		return;
	}
	id_uuid(id, NULL, NULL);
	l->upload = (struct ecr_upload){ arena_strdup(c->arena, str_from(id)), l->repo.name,
					 arena_strdup(c->arena, str_from(blob)), 0 };
	l->out = json_pack("{s:s, s:i}", "uploadId", id, "partSize", 10 << 20);
	submit(l, write_start);
}

static int write_size(struct layer_call *l, struct turn *t, struct error *err)
{
	int rc = ecr_upload_resize(t, l->upload.id, l->upload.size_bytes, err);
	return rc == 0 ? unknown_upload(l, l->upload.id, err) : rc < 0 ? rc : 0;
}

static int add_part(struct layer_call *l, json_t *in, struct error *err)
{
	struct str coded = json_get_str(in, "layerPartBlob");
	int64_t first = json_get_int(in, "partFirstByte", 0), last = json_get_int(in, "partLastByte", -1);
	CLEANUP_FREE char *bytes = mem_alloc(coded.len + 4);
	ptrdiff_t n = base64_decode(bytes, coded);
	if (n < 0 || last - first + 1 != n || first != l->upload.size_bytes)
		return error_aws(err, "InvalidLayerPartException",
				 "The layer part size is not valid, or the first byte specified is not consecutive to "
				 "the last byte of a previous layer part upload");
	CLEANUP_FD int fd = blob_draft_open(l->e->o.blobs, l->upload.blob, err);
	int rc = fd < 0 ? -1 : ecr_upload_write(&l->upload, l->hash, fd, bytes, (size_t)n, err);
	if (rc == 0)
		rc = ecr_upload_flush(&l->upload, l->hash, fd, err);
	buf_release(&l->upload.piece);
	return rc;
}

/* Takes the upload for this request and reads its size again. */
static int take(struct layer_call *l, json_t *in, struct error *err)
{
	if (find(l, in, err) < 0)
		return -1;
	if (!ecr_upload_lock(l->e, l->upload.id, "sha256", &l->hash))
		return error_aws(err, "InvalidLayerPartException", "Another request writes this upload");
	l->locked = true;
	if (find(l, in, err) < 0)
		return -1;
	ecr_upload_resume(&l->upload, l->hash);
	return 0;
}

static void upload_layer_part(struct call *c, json_t *in)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct layer_call *l = layer_call_new(c);
	if (take(l, in, &err) < 0 || add_part(l, in, &err) < 0) {
		finish(l, -1, &err);
		return;
	}
	l->out = api_names(c, &l->repo);
	json_set_text(l->out, "uploadId", l->upload.id);
	json_set_int(l->out, "lastByteReceived", l->upload.size_bytes - 1);
	submit(l, write_size);
}

static int write_layer(struct layer_call *l, struct turn *t, struct error *err)
{
	const char *blob;
	int64_t size;
	struct str name = str_from(l->repo.name), digest = str_from(l->digest);
	int rc = ecr_blob_find(turn_db(t), turn_arena(t), name, digest, &blob, &size, err);
	if (rc != 0)
		return rc < 0 ? rc
			      : error_aws(err, "LayerAlreadyExistsException",
					  "Layer with digest '%s' already exists in the repository with name '%s'",
					  l->digest, l->repo.name);
	/* The repository may have gone meanwhile; its uploads went with it. */
	rc = ecr_upload_delete(t, l->upload.id, err);
	if (rc <= 0)
		return rc < 0 ? rc : unknown_upload(l, l->upload.id, err);
	return ecr_blob_add(t, name, digest, l->upload.blob, l->upload.size_bytes, err);
}

static void seal_layer(struct wire_request *r, void *arg)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct layer_call *l = arg;
	if (ecr_upload_seal(l->e, &l->upload, l->hash, str_from(l->digest), &err) == 0) {
		l->forget = true;
		submit(l, write_layer);
		return;
	}
	if (error_is(&err, "DigestInvalid")) {
		error_release(&err);
		error_aws(&err, "InvalidLayerException",
			  "The layer digest calculation performed by Amazon ECR upon receipt of the image layer does "
			  "not match the digest specified");
	}
	finish(l, -1, &err);
}

static void complete_layer_upload(struct call *c, json_t *in)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct layer_call *l = layer_call_new(c);
	struct str digest = json_str(json_array_get(json_get(in, "layerDigests"), 0));
	int rc = take(l, in, &err);
	if (rc == 0 && !ecr_digest_valid(digest))
		rc = error_aws(&err, "InvalidLayerException", "The layer digest is malformed");
	if (rc == 0 && l->upload.size_bytes == 0)
		rc = error_aws(&err, "EmptyUploadException",
			       "The specified layer upload does not contain any layer parts");
	if (rc < 0) {
		finish(l, -1, &err);
		return;
	}
	l->digest = arena_strdup(c->arena, digest);
	l->out = api_names(c, &l->repo);
	json_set_text(l->out, "uploadId", l->upload.id);
	json_set_text(l->out, "layerDigest", l->digest);
	if (c->request)
		wire_offload(c->request, seal_layer, l);
	else
		seal_layer(NULL, l); /* a call from inside has a thread that may wait */
}

static int batch_check_layer_availability(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	json_t *layers = json_array(), *failures = json_array(), *item;
	size_t i;
	*out = json_pack("{s:o, s:o}", "layers", layers, "failures", failures);
	if (api_repo(c, db, in, &repo, err) < 0)
		return -1;
	json_array_foreach (json_get(in, "layerDigests"), i, item) {
		const char *blob;
		int64_t size = 0;
		if (!ecr_digest_valid(json_str(item))) {
			json_array_append_new(failures, json_pack("{s:O, s:s, s:s}", "layerDigest", item, "failureCode",
								  "InvalidLayerDigest", "failureReason",
								  "Invalid request parameters: layer digest should "
								  "satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"));
			continue;
		}
		int rc = ecr_blob_find(db, c->arena, str_from(repo.name), json_str(item), &blob, &size, err);
		if (rc < 0)
			return rc;
		json_t *one = json_pack("{s:O, s:s}", "layerDigest", item, "layerAvailability",
					rc ? "AVAILABLE" : "UNAVAILABLE");
		if (rc)
			json_set_int(one, "layerSize", size);
		json_array_append_new(layers, one);
	}
	return 0;
}

/* The address wants the registry's log-in, as the distribution protocol does. */
static int get_download_url_for_layer(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct ecr_repo repo;
	const char *blob;
	int64_t size;
	struct str digest = json_get_str(in, "layerDigest");
	if (api_repo(c, db, in, &repo, err) < 0)
		return -1;
	int rc = ecr_blob_find(db, c->arena, str_from(repo.name), digest, &blob, &size, err);
	if (rc == 0)
		return error_aws(err, "LayersNotFoundException",
				 "The layer with digest '%s' does not exist within the repository with name '%s'",
				 digest.ptr, repo.name);
	*out = json_pack("{s:s, s:o}", "layerDigest", digest.ptr, "downloadUrl",
			 json_string(ecr_link_new(api_ecr(c), c->arena, repo.name, digest.ptr)));
	return rc < 0 ? rc : 0;
}

const struct wire_op ecr_layer_ops[] = {
	{ .name = "InitiateLayerUpload", .async = initiate_layer_upload },
	{ .name = "UploadLayerPart", .async = upload_layer_part },
	{ .name = "CompleteLayerUpload", .async = complete_layer_upload },
	{ .name = "BatchCheckLayerAvailability", .query = batch_check_layer_availability },
	{ .name = "GetDownloadUrlForLayer", .query = get_download_url_for_layer },
	{ 0 },
};
