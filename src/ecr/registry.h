/* registry.h - one request of the distribution protocol, between the registry*.c files. */
#ifndef QUERN_ECR_REGISTRY_H
#define QUERN_ECR_REGISTRY_H

#include "ecr/room.h"

/* DESIGN: begin() authenticates, reads the path, and opens what the body goes to; end() finishes. Reads answer on the
 * http thread from a snapshot; writes go through rcall_write to the core thread; what blocks on the disk goes through
 * rcall_block before that. */
struct rcall {
	struct ecr *e;
	struct wire_request *r;
	struct arena *a;
	struct principal who;
	struct str method, repo, rest; /* rest: digest, reference or upload id */
	const struct rop *op;
	struct ecr_repo repository;
	struct buf body; /* manifests */
	struct ecr_upload upload;
	struct upload_hash *hash;
	int fd;                    /* the draft being written, or -1 */
	bool partial, touch;       /* HEAD of a blob: of a range; its link is to be touched */
	bool locked, finish, made; /* finish: this request completes the upload; made: it created the draft, which no
				    * row names yet */
	struct str digest, tag;
	struct ecr_image image;
	const char *tags; /* made beside the digest, for OCI-Tag */
	bool existed;
	struct error problem; /* found while the body came */
	int (*write)(struct rcall *c, struct turn *t, struct error *err);
	void (*answer)(struct rcall *c);
	void (*blocking)(struct rcall *c);
};

enum rop_target {
	ROP_ROOT,
	ROP_BLOB,
	ROP_UPLOADS,
	ROP_UPLOAD,
	ROP_MANIFEST,
	ROP_TAGS,
	ROP_REFERRERS,
	ROP_CATALOG,
	ROP_PRUNE
};
struct rop {
	const char *method;
	enum rop_target target;
	bool body;
	const char *action; /* what policies are asked for; NULL: only for who is unrestricted */
	int (*begin)(struct rcall *c, struct error *err); /* may be NULL */
	void (*run)(struct rcall *c);
};
extern const struct rop rops_blob[], rops_manifest[]; /* end with a NULL method */

void rcall_fail(struct rcall *c, struct error *err);
void rcall_send(struct rcall *c, int status, struct str body);
void rcall_write(struct rcall *c, int (*write)(struct rcall *, struct turn *, struct error *),
		 void (*answer)(struct rcall *));
void rcall_block(struct rcall *c, void (*fn)(struct rcall *));
/* Snapshot, or NULL after the fault was answered. */
struct db *rcall_read(struct rcall *c);
/* Releases what an upload holds; a draft that no row names goes. */
void rcall_release(struct rcall *c);
/* registry_blob.c: a request that broke off: what came of its bytes counts, so that the client can go on there. */
void registry_keep_received(struct rcall *c);
/* collect.c: drops what nobody needs, and says how much. */
void registry_collect(struct rcall *c);
/* Errors in the protocol's words: code "BLOB_UNKNOWN" etc. with their status. Returns -1. */
int registry_error(struct error *err, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
