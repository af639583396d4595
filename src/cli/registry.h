/* registry.h - pushing images to the running Quern: the OCI distribution protocol, with a token from the ECR API. */
#ifndef QUERN_CLI_REGISTRY_H
#define QUERN_CLI_REGISTRY_H

#include "cli/client.h"

struct push; /* to one repository */
/* Makes the repository when it is missing. *out owned. */
int push_new(struct config *c, struct client *cl, const char *repository, struct push **out, struct error *err);
void push_free(struct push *p);
/* 1: the repository has the blob now, without an upload (it was there, or in another repository); 0: it is to be
 * uploaded. */
int push_have(struct push *p, const char *digest, struct error *err);
int push_text(struct push *p, const char *digest, struct str content, struct error *err);
int push_file(struct push *p, const char *digest, int fd, int64_t size, struct error *err);
int push_manifest(struct push *p, const char *tag, struct str manifest, struct error *err);

/* Has the registry drop what nobody needs (see ecr/collect.c). `all`: also unpacked layers of images that are there, as
 * long as no task uses them; `dry`: only says what would go. *out owned: {"uploads","blobs","layers":
 * {"removed","removed_bytes"}}. */
int registry_prune(struct config *c, struct client *cl, bool all, bool dry, json_t **out, struct error *err);

#endif
