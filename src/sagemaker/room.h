/* room.h - what the files of the sagemaker room share. Not for other rooms. */
#ifndef QUERN_SAGEMAKER_ROOM_H
#define QUERN_SAGEMAKER_ROOM_H

#include "sagemaker/jobs.h"

struct pipelines; /* store_pipeline.c: parsed definitions, core thread only */

struct sagemaker {
	struct sagemaker_options o;
	struct wire_op *ops; /* pipeline_ops + job_ops, NULL-ended; owned */
	struct wire_service service;
	struct pipelines *pipelines; /* owned */
};

extern const struct wire_op pipeline_ops[];
extern const struct wire_access sagemaker_access[];
int pipelines_init(struct sagemaker *s, struct error *err);
void pipelines_release(struct sagemaker *s);
/* "arn:aws:sagemaker:<region>:<account>:<kind>/<name>" in the arena. */
const char *sagemaker_arn(struct sagemaker *s, struct arena *a, const char *kind, const char *name);

#endif
