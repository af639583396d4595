/* sagemaker.h - pipelines and jobs (service sagemaker). */
#ifndef QUERN_SAGEMAKER_SAGEMAKER_H
#define QUERN_SAGEMAKER_SAGEMAKER_H

#include "iam/iam.h"
#include "logs/logs.h"
#include "s3/s3.h"
#include "task/task.h"
#include "wire/wire.h"

struct sagemaker;
/* The tables of pipelines; those of jobs are job_migrations (jobs.h). A store needs both. */
extern const struct store_migration sagemaker_migrations[];

struct sagemaker_options {
	struct engine *engine;
	struct s3 *s3;
	struct logs *logs;
	struct iam *iam;
	struct task_client *tasks; /* may be NULL in tests */
	const char *account, *region;
	const char *data_dir; /* stage directories are made below tasks/ */
	uint16_t api_port;    /* for AWS_ENDPOINT_URL inside containers */
};
/* Registers actor and effect types with the engine (before engine_start). */
int sagemaker_new(const struct sagemaker_options *options, struct sagemaker **out, struct error *err);
void sagemaker_free(struct sagemaker *s);
/* In a turn: the actor gets {"type":"job-ended","arn"...} (jobs.h) when the running job of this ARN has ended. 1 it
 * will, 0 there is no running job that would tell it. */
int sagemaker_watch_job(struct turn *t, const char *arn, const char *actor, struct error *err);
/* Scope "sagemaker", JSON 1.1. Borrowed for s's life. */
const struct wire_service *sagemaker_service(struct sagemaker *s);

#endif
