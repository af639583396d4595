/* jobs.h - processing and training jobs, inside the sagemaker room. Pipelines and API operations use jobs through this
 * header.
 *
 * DESIGN: a job is one actor ("sagemaker.processing-job", "sagemaker.training-job"; id "processing-job/<name>",
 * "training-job/<name>") and one row whose document is the Describe answer. Whatever starts a job (an API call, a
 * pipeline step, a state machine) goes through job_create with a request already validated against the model. When a
 * job ends it sends its parent
 * {"type":"job-ended","kind":K,"name":N,"arn":A,"status":"Completed"|"Failed"|"Stopped","reason":text|null}; K is
 * job_kind_name. */
#ifndef QUERN_SAGEMAKER_JOBS_H
#define QUERN_SAGEMAKER_JOBS_H

#include "sagemaker/sagemaker.h"

enum job_kind { JOB_PROCESSING, JOB_TRAINING };

extern const struct store_migration job_migrations[];
extern const struct wire_op
	job_ops[]; /* Create/Describe/List/Stop/Delete of both kinds, tags; ctx is the struct sagemaker */

/* Registers the job actors and effects. */
int sagemaker_jobs_init(struct sagemaker *s, struct error *err);
/* "processing-job" / "training-job" */
const char *job_kind_name(enum job_kind kind);
/* Creates row and actor. `request` (borrowed) is the Create* request with its name; members that are null count as
 * absent. `parent` is an actor id told of the end, or NULL. *arn is in the turn's arena. Errors carry AWS codes:
 * ResourceInUse, ValidationException ... */
int job_create(struct sagemaker *s, struct turn *t, enum job_kind kind, const json_t *request, const char *parent,
	       const char **arn, struct error *err);
/* The Describe answer now, owned; NULL with err ("Requested resource not found.") when there is none. */
json_t *job_describe(struct sagemaker *s, struct db *db, enum job_kind kind, const char *name, struct error *err);
/* Asks for a stop; no error when already ended (the API call's own check is in job_ops). */
int job_stop(struct sagemaker *s, struct turn *t, enum job_kind kind, const char *name, struct error *err);
/* What happened that Describe has no member for (array of texts: a quota scaled down to this machine, an option without
 * effect here); owned. */
json_t *job_notes(struct sagemaker *s, struct db *db, enum job_kind kind, const char *name, struct error *err);

/* ---- tags of any sagemaker resource, by ARN ---- */

/* Adds or overwrites. `tags` is a list of {Key, Value}; NULL is none. More than 50 in all: ValidationException. */
int job_tags_put(struct turn *t, const char *arn, const json_t *tags, struct error *err);
/* [{Key, Value}], by key; owned. */
json_t *job_tags_get(struct db *db, const char *arn, struct error *err);
/* All of a resource that goes. */
int job_tags_drop(struct turn *t, const char *arn, struct error *err);

#endif
