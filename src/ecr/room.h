/* room.h - what the files of the ecr room share. Not for other rooms. */
#ifndef QUERN_ECR_ROOM_H
#define QUERN_ECR_ROOM_H

#include <openssl/evp.h>
#include <pthread.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/map.h"
#include "ecr/ecr.h"

enum {
	ECR_MANIFEST_MAX = 4 << 20,
	ECR_TOKEN_MS = 12 * 3600 * 1000,
	ECR_PAGE_MAX = 1000,
	ECR_PULL_MS = 10 * 60 * 1000, /* a pull that read a manifest finds the blobs for half of this at least */
};

struct ecr {
	struct ecr_options o;
	struct store *store;
	struct wire_service api, registry;
	pthread_mutex_t lock;
	unsigned char link_key[32]; /* of layers' addresses; new at each start */
	struct map uploads;         /* upload id -> struct upload_hash: running digests of this process's uploads */
};

/* ---- addresses of layers (link.c) ---- */

/* An address in the arena under which anybody may read the layer for an hour. */
char *ecr_link_new(struct ecr *e, struct arena *a, const char *repo, const char *digest);
/* Does the request come by such an address? */
bool ecr_link_valid(const struct ecr *e, struct wire_request *r);

/* ---- rows (store.c) ---- */

struct ecr_repo {
	const char *name, *arn, *uri, *mutability, *policy, *lifecycle, *scanning, *encryption,
		*filters;                 /* in an arena; NULL when unset */
	int64_t created_ms, evaluated_ms; /* evaluated: the lifecycle policy, by the keeper; 0: not yet */
};
/* 1 found, 0 none, < 0 a fault. */
int ecr_repo_find(struct ecr *e, struct db *db, struct arena *a, struct str name, struct ecr_repo *out,
		  struct error *err);
/* For iam_set_resource_policies; ctx = the ecr. */
int ecr_find_policy(void *ctx, struct db *db, struct arena *a, struct str resource, struct str *text,
		    struct error *err);
/* As ecr_repo_find, with RepositoryNotFoundException when there is none: 0 or < 0. */
int ecr_repo_need(struct ecr *e, struct db *db, struct arena *a, struct str name, struct ecr_repo *out,
		  struct error *err);

/* The blob `digest` in a repository: its file and size. 1, 0, < 0. */
int ecr_blob_find(struct db *db, struct arena *a, struct str repo, struct str digest, const char **blob, int64_t *size,
		  struct error *err);
/* The repository has the blob from now on; `blob` is a file just written, dropped later when the digest is known
 * already (NULL: it must be). */
int ecr_blob_add(struct turn *t, struct str repo, struct str digest, const char *blob, int64_t size, struct error *err);
/* Somebody wants it. 1, 0 when the repository does not have it, < 0. */
int ecr_blob_touch(struct turn *t, struct str repo, struct str digest, int64_t touched_ms, struct error *err);
int ecr_blob_unlink(struct turn *t, struct str repo, struct str digest, struct error *err);
int ecr_blob_named(void *ctx, struct db *db, const char *id);

struct ecr_image {
	struct str digest, media_type, body, artifact_type, subject, annotations, config_type;
	int64_t pushed_ms, size_bytes, pulled_ms; /* pulled_ms 0: never */
};
/* By digest or tag. 1, 0, < 0. Strings in the arena. */
int ecr_image_find(struct db *db, struct arena *a, struct str repo, struct str reference, struct ecr_image *out,
		   struct error *err);
/* Stores a manifest (checked already) and its tag (may be empty). *existed: the digest was there before with this tag.
 */
int ecr_image_put(struct turn *t, const struct ecr_repo *repo, const struct ecr_image *image, struct str tag,
		  bool *existed, struct error *err);
/* Removes a tag (the image stays), or an image with all its tags. 1 removed, 0 was not there. */
int ecr_tag_drop(struct turn *t, struct str repo, struct str tag, struct error *err);
int ecr_image_drop(struct turn *t, struct str repo, struct str digest, struct error *err);
/* 1 when a manifest of the repository refers to the digest, and which (one of them). */
int ecr_image_referred(struct db *db, struct arena *a, struct str repo, struct str digest, struct str *by,
		       struct error *err);
/* 1, 0 the image is not there, < 0. */
int ecr_image_pulled(struct turn *t, struct str repo, struct str digest, struct error *err);
/* Is the last noted pull some minutes old? */
bool ecr_pull_is_news(const struct ecr *e, const struct ecr_image *image);
/* Notes a pull when it is news; does not wait. */
void ecr_note_pull(struct ecr *e, struct str repo, const struct ecr_image *image);
/* Owned array of the image's tags, sorted. */
json_t *ecr_image_tags(struct db *db, struct str repo, struct str digest, struct error *err);

/* ---- manifests (manifest.c) ---- */

bool ecr_digest_valid(struct str digest);
bool ecr_is_digest(struct str reference); /* has a ':' */
bool ecr_tag_valid(struct str tag);
bool ecr_repository_valid(struct str name);
/* "sha256:<hex>" of the bytes by the algorithm of `like` ("sha256" when empty), in the arena. NULL: unknown algorithm.
 */
const char *ecr_digest(struct arena *a, struct str bytes, struct str like);
/* Checks a manifest and fills image (all but the pushed time). What it refers to must be in the repository, except
 * subjects and foreign layers. err codes: "ImageDigestDoesNotMatch", "LayersNotFoundException",
 * "ReferencedImagesNotFoundException", "InvalidParameterException". */
int ecr_manifest_read(struct db *db, struct arena *a, struct str repo, struct str media_type, struct str body,
		      struct ecr_image *out, struct error *err);
json_t *ecr_manifest_json(struct str body);

/* ---- uploads (upload.c) ---- */

struct upload_hash {
	EVP_MD_CTX *ctx;
	char algorithm[8];
	int64_t hashed; /* the first so many bytes; -1: of no use */
	bool busy;
};
struct ecr_upload {
	const char *id, *repo, *blob; /* arena */
	int64_t size_bytes;
	/* of the request that writes */
	struct buf piece; /* the last bytes, not in the file yet; its owner releases it */
	int64_t begun_bytes;
};
/* In a turn: a new upload whose draft file was made before. */
int ecr_upload_insert(struct turn *t, const struct ecr_upload *u, struct error *err);
int ecr_upload_find(struct db *db, struct arena *a, struct str repo, struct str id, struct ecr_upload *out,
		    struct error *err);
/* 1; 0 when the upload is not there any more; < 0. */
int ecr_upload_resize(struct turn *t, const char *id, int64_t size, struct error *err);
int ecr_upload_delete(struct turn *t, const char *id, struct error *err);
/* One writer at a time: false when another request writes this upload now. */
bool ecr_upload_lock(struct ecr *e, const char *id, const char *algorithm, struct upload_hash **out);
void ecr_upload_unlock(struct ecr *e, const char *id, bool forget);
/* The upload's row is gone: so is its digest. */
void ecr_upload_forget(struct ecr *e, const char *id);
bool ecr_upload_busy(struct ecr *e, const char *id);
/* A request goes on at u->size_bytes, as the row has it: a digest that ran ahead of that is given up. */
void ecr_upload_resume(const struct ecr_upload *u, struct upload_hash *h);
/* Appends to the draft (fd) at u->size_bytes and to the running digest; the end of it only with the flush. */
int ecr_upload_write(struct ecr_upload *u, struct upload_hash *h, int fd, const void *p, size_t n, struct error *err);
int ecr_upload_flush(struct ecr_upload *u, struct upload_hash *h, int fd, struct error *err);
/* Blocking: is the whole draft of this digest? Seals it. err code "DigestInvalid". */
int ecr_upload_seal(struct ecr *e, struct ecr_upload *u, struct upload_hash *h, struct str digest, struct error *err);

/* ---- what is no longer needed (collect.c) ---- */

struct ecr_collected {
	int64_t uploads, upload_bytes, links, blob_bytes;
	bool more; /* another round is worth while */
};
/* In a turn: drops uploads without traffic, and links that no image refers to, both idle for that long: some of each,
 * see out->more. `dry`: only counts, and all of them. */
int ecr_collect(struct ecr *e, struct turn *t, int64_t upload_idle_ms, int64_t link_idle_ms, bool dry,
		struct ecr_collected *out, struct error *err);
/* Drops a repository's unfinished uploads. */
int ecr_collect_uploads(struct ecr *e, struct turn *t, struct str repo, struct error *err);
/* Blocking: has the executor drop unpacked layers; its answer, owned. `all`: whatever is not in use. NULL: err. */
json_t *ecr_collect_layers(struct ecr *e, bool all, bool now, bool dry, struct error *err);
/* Before the engine starts: the keeper, which does all of this every hour, and applies lifecycle policies. */
void ecr_collect_start(struct ecr *e);

/* ---- API (api_*.c) and registry (registry*.c) ---- */
extern const struct wire_op ecr_ops[];
extern const struct wire_access ecr_access[];
extern const struct raw_handler ecr_raw;
bool ecr_claims(struct wire_request *r, void *ctx);
/* In a turn: a log-in token for `arn`, as the client gets it ("AWS:…" in Base64), in the turn's arena. */
const char *ecr_token_new(struct turn *t, const struct principal *who, int64_t *expires_ms, struct error *err);
/* The password of a Basic header is a token that lives. */
bool ecr_token_valid(struct ecr *e, struct db *db, struct arena *a, struct str authorization, struct principal *who);

/* Lifecycle (lifecycle.c). The check's err: InvalidParameterException. Apply: the images that a checked policy expires
 * now, newest first within a rule; owned array of the API's LifecyclePolicyPreviewResult. NULL: err. */
int ecr_lifecycle_check(struct str text, struct error *err);
json_t *ecr_lifecycle_apply(struct db *db, struct str repo, struct str policy, int64_t now_ms, struct error *err);

#endif
