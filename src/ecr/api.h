/* api.h - what the api_*.c files of the ecr room share. */
#ifndef QUERN_ECR_API_H
#define QUERN_ECR_API_H

#include "ecr/room.h"

extern const struct wire_op ecr_repo_ops[], ecr_lifecycle_ops[], ecr_image_ops[], ecr_layer_ops[];

struct ecr *api_ecr(struct call *c);
/* The repository that `repositoryName` names, or RepositoryNotFoundException. */
int api_repo(struct call *c, struct db *db, json_t *in, struct ecr_repo *out, struct error *err);
/* {"registryId", "repositoryName"}; owned. */
json_t *api_names(struct call *c, const struct ecr_repo *repo);

#endif
