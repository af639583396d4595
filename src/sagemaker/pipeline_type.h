/* pipeline_type.h - the step types of a pipeline: one table, one file per family of types.
 *
 * DESIGN: `step_types` knows every type by name. A type with a `begin` runs; one without is refused at CreatePipeline
 * by name. To add a type: write pipeline_step_<type>.c with a `struct step_type` and put it in the table in
 * pipeline_types.c. The execution actor (pipeline_actor.c) knows no type; it calls these functions. */
#ifndef QUERN_SAGEMAKER_PIPELINE_TYPE_H
#define QUERN_SAGEMAKER_PIPELINE_TYPE_H

#include "sagemaker/definition.h"

struct run;      /* pipeline_run.h */
struct step_row; /* pipeline_run.h */

struct step_type {
	const char *name;
	/* Begins an attempt of a step whose references are at hand (in r). It ends the step at once
	 * (run_step_succeeded, run_step_failed) or leaves it running and ends it from `event`. < 0 only for a fault of
	 * ours. */
	int (*begin)(struct run *r, struct step_row *s, struct error *err);
	/* Extra checks at CreatePipeline; may be NULL. */
	int (*check)(struct arena *a, const struct definition_step *step, struct error *err);
	/* Asks a running step to stop; may be NULL when it never runs on. */
	int (*stop)(struct run *r, struct step_row *s, struct error *err);
	/* What "Steps.<name>." refers to; owned, NULL with err. */
	json_t *(*properties)(struct run *r, const struct step_row *s, struct error *err);
	/* Members of the resolved Arguments (dots for nesting) that make the cache key, NULL-ended; NULL: no
	 * CacheConfig. */
	const char *const *cache_keys;
	bool retries;  /* RetryPolicies may be given */
	bool branches; /* Arguments hold Conditions, IfSteps and ElseSteps */
	bool leaf;     /* no step may depend on it */
};

/* The type of that name, or NULL when SageMaker has none. */
const struct step_type *step_type_find(struct str name);

extern const struct step_type step_processing, step_training; /* pipeline_step_job.c */
extern const struct step_type step_condition, step_fail;      /* pipeline_step_flow.c */

#endif
