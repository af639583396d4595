/* ecr.h - container images: the ECR API (service ecr) and the OCI distribution protocol (/v2/), on one blob store. */
#ifndef QUERN_ECR_ECR_H
#define QUERN_ECR_ECR_H

#include "blob/blob.h"
#include "iam/iam.h"
#include "task/task.h"
#include "wire/wire.h"

struct ecr;
extern const struct store_migration ecr_migrations[];

struct ecr_options {
	struct engine *engine;
	struct blob_store *blobs;
	const char *account, *region;
	uint16_t port;             /* of the daemon: for repositoryUri and proxyEndpoint */
	struct task_client *tasks; /* keeps the unpacked layers; NULL: nobody does */
	struct iam *iam;           /* asks the policies of repositories */
};
/* Before engine_start. *out owned by the caller. */
int ecr_new(const struct ecr_options *options, struct ecr **out, struct error *err);
void ecr_free(struct ecr *e);
const struct wire_service *ecr_service(struct ecr *e);          /* JSON API, scope "ecr" */
const struct wire_service *ecr_registry_service(struct ecr *e); /* /v2/, authenticates itself */

/* The image that a URI names ("[registry/]repo[:tag|@digest]", any account, region and host), for linux on this
 * processor. Returns owned
 *   {"digest", "config": {the image's config object}, "layers": [{"digest", "diff_id", "path": host path of the blob,
 * "size"}]} or NULL: err code "RepositoryNotFoundException", "ImageNotFoundException"
 * "LayersNotFoundException" or "InvalidImage" (nothing that can run). A look-up: nothing is copied. */
json_t *ecr_resolve(struct ecr *e, struct db *db, const char *uri, struct error *err);
/* Splits an image URI into repository and reference (tag, or digest with its algorithm; "latest" when absent), in the
 * arena. False when malformed. */
bool ecr_parse_uri(struct arena *a, const char *uri, const char **repository, const char **reference);

#endif
