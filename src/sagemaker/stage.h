/* stage.h - putting a job's input data where its containers see it.
 *
 * DESIGN: `<data dir>/stage/<task id>/<source dir>/...` holds hard links of the objects' bytes (no copy); the executor
 * mounts it read-only or under an overlay, so the store can't be changed from inside. Staging runs on a worker thread
 * and is idempotent: when it is complete a marker with the machine's boot id is written beside the directory; a marker
 * of this boot means that containers may be using the directory, and it is left alone. A plan is data (it comes out of
 * a durable effect): { "role", "region", "sources": [ { "dir", "uri", "type": "S3Prefix"|"ManifestFile", "shard",
 * "shards", "gzip", "optional" } ] } An error with code "ClientError" is the user's (no such objects, two objects with
 * one file name); its text is a FailureReason without the "ClientError: " in front. */
#ifndef QUERN_SAGEMAKER_STAGE_H
#define QUERN_SAGEMAKER_STAGE_H

#include "sagemaker/sagemaker.h"

#define STAGE_CLIENT_ERROR "ClientError"

/* Where the task's data is staged, in the arena. */
const char *stage_dir(struct arena *a, const char *data_dir, const char *task);
/* Makes and fills the directory with what the plan's role may read. From a worker thread. iam NULL: everything. */
int stage_task(struct engine *e, struct s3 *s3, struct iam *iam, const char *data_dir, const char *task,
	       const json_t *plan, struct error *err);
/* Removes it, and what is left of the task's outputs. Absent is fine. From a worker thread, when the task has ended. */
void stage_remove(const char *data_dir, const char *task);

/* Whether any object is there for `uri` (type S3Prefix: at least one; ManifestFile: the manifest itself). 1, 0, or < 0
 * a fault. */
int stage_has_objects(struct db *db, struct str uri, bool manifest, struct error *err);
/* May the role list what is below `uri`? 0, or -1 with err AccessDenied. */
int stage_may_list(struct iam *iam, struct db *db, struct arena *a, const char *role, struct str uri,
		   struct error *err);
/* AWS's text for an input without objects, in the arena. */
const char *stage_missing_text(struct arena *a, struct str uri, const char *region, const char *role);

/* The file name of an object of a prefix, relative to the input's directory: an object that is the prefix itself gives
 * its last part; below "prefix/" what follows; else (the prefix ends inside a name) what follows the prefix's last "/".
 * "" = a directory marker of the directory itself. < 0 with a ClientError when the key can't be a file name ("..",
 * empty parts are dropped). */
int stage_file_name(struct arena *a, struct str prefix, struct str key, struct str *out, struct error *err);

/* One line of a manifest: `prefix` and the relative names behind it. Calls fn for each. ClientError when malformed. */
int stage_each_in_manifest(struct str text, int (*fn)(void *ctx, struct str prefix, struct str name), void *ctx,
			   struct error *err);

#endif
