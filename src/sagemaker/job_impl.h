/* job_impl.h - what the job_*.c files share.
 *
 * A job's life: job_create (row, actor) -> "start" turn: builds the task spec and the stage plan, asks for effect
 * "sagemaker.job-start" -> worker: stages, gives the task to the executor -> task events (queued, started, stopped) ->
 * effect "sagemaker.job-finish" on a worker: prepares the outputs as object bodies, reads metrics from the logs -> the
 * turn of its answer makes the objects current and ends the job, in one transaction. Stop: the row is Stopping at once;
 * effect "sagemaker.job-stop" asks the executor. */
#ifndef QUERN_SAGEMAKER_JOB_IMPL_H
#define QUERN_SAGEMAKER_JOB_IMPL_H

#include "base/json.h"
#include "sagemaker/instance.h"
#include "sagemaker/room.h"
#include "sagemaker/stage.h"

#include <stdlib.h>

struct job_plan;

#define JOB_MAX_RUNTIME_S 86400 /* when the request has none */
#define JOB_RUNTIME_LIMIT_S (365LL * 86400)
#define JOB_HOSTS_MAX 64
#define JOB_REASON_MAX 1024
#define JOB_STOP_TIMEOUT_MS 120000
#define JOB_INTERNAL_ERROR "InternalServerError: We encountered an internal error. Please try again."

/* How the two kinds differ where they are otherwise the same. */
struct job_type {
	enum job_kind kind;
	const char *kind_name;                                             /* "training-job" */
	const char *words;                                                 /* "training job" */
	const char *actor;                                                 /* "sagemaker.training-job" */
	const char *name_key, *arn_key, *status_key, *start_key, *end_key; /* members of Describe */
	const char *log_group;
	const char *task_prefix; /* "tj-" */
	/* Request -> what Describe echoes; checks what the model doesn't say. */
	int (*check)(struct sagemaker *s, struct turn *t, const json_t *request, struct error *err);
	const char *const *echoed; /* request members in Describe, NULL-ended */
	/* Fills in what Describe shows of members that the request left out. May be NULL. */
	void (*complete)(json_t *doc);
	/* Fills the spec and the stage plan. */
	int (*plan)(struct job_plan *p, struct error *err);
};
extern const struct job_type job_processing, job_training;
const struct job_type *job_type_of(enum job_kind kind);

/* A row. */
struct job {
	const struct job_type *type;
	const char *name, *arn, *parent; /* in the arena; parent may be NULL */
	json_t *doc;                     /* the Describe answer; owned */
	json_t *notes;                   /* list of texts; owned */
};
void job_release(struct job *j);
#define CLEANUP_JOB __attribute__((cleanup(job_release)))
#define JOB_INIT ((struct job){ 0 })

/* ---- store_job.c ---- */
int job_insert(struct turn *t, struct job *j, struct error *err);
/* 1 found, 0 not, < 0 a fault. */
int job_load(struct db *db, struct arena *a, const struct job_type *type, const char *name, struct job *out,
	     struct error *err);
/* Writes doc and notes, with LastModifiedTime of this turn. */
int job_save(struct turn *t, struct job *j, struct error *err);
int job_delete(struct turn *t, struct job *j, struct error *err);
const char *job_status(const struct job *j);
bool job_ended(const struct job *j); /* Completed, Failed or Stopped */
void job_set_time(json_t *doc, const char *key, int64_t ms);
/* Adds a note unless it is there. */
void job_note(struct job *j, const char *text);
/* The AWS error for a name that is not there. Returns -1. */
int job_missing(const struct job_type *type, const char *name, struct error *err);

/* ---- job_create.c ---- */
/* A deep copy without null members. Owned. */
json_t *job_without_nulls(const json_t *value);
/* The bucket of an output URI must be there. */
int job_check_output(struct turn *t, const char *what, struct str uri, struct error *err);
int job_check_instance(const struct job_type *type, const char *instance, int64_t count, struct error *err);
int job_check_runtime(const json_t *stopping, struct error *err);
int job_refuse(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- job_plan.c ---- */
struct job_host {
	const char *name;     /* "algo-1" */
	const char *instance; /* "ml.m5.xlarge" */
	const char *group;    /* instance group, or NULL */
	const struct instance_shape *shape;
	json_t *container; /* borrowed from the spec */
};
struct job_plan {
	struct sagemaker *s;
	struct turn *t;
	struct arena *a;
	struct job *job;
	const json_t *doc;
	const char *task;
	struct job_host hosts[JOB_HOSTS_MAX];
	size_t nhosts;
	json_t *spec, *sources; /* owned by the plan until taken */
	bool isolated;
};
/* The whole "sagemaker.job-start" payload; owned. NULL with err. */
json_t *job_plan_make(struct sagemaker *s, struct turn *t, struct job *j, const char *task, struct error *err);
/* For the kinds' plan functions. */
int job_plan_hosts(struct job_plan *p, const json_t *config, struct error *err);
/* Starts each host's container: image, entrypoint, command, quotas, environment, log. */
int job_plan_containers(struct job_plan *p, const char *image, const json_t *entrypoint, const json_t *command,
			struct error *err);
/* The hosts' names (of one group, or of all when it is NULL) in order, as toolkits expect: "algo-10" before "algo-2".
 * Owned. */
json_t *job_plan_host_names(const struct job_plan *p, const char *group);
void job_plan_env(struct job_plan *p, const char *key, const char *value);
void job_plan_file(struct job_host *h, const char *path, const json_t *content);
void job_plan_scratch(struct job_plan *p, const char *name, const char *target);
void job_plan_output(struct job_plan *p, const char *name, const char *form, const char *when);
/* Stages one S3 input for the hosts of `groups` (NULL = all) at `target`. `input`: {S3Uri, S3DataType,
 * S3DataDistributionType}. */
void job_plan_stage(struct job_plan *p, const json_t *input, const json_t *groups, const char *target, bool gzip,
		    bool writable);

/* What is at the S3 prefix `uri` already is put into scratch `name` before the start. */
void job_plan_seed(struct job_plan *p, const char *name, const char *uri);

/* ---- job_outcome.c: how a job ended ---- */
struct job_outcome {
	const char *status; /* "Completed", "Failed", "Stopped" */
	const char *reason; /* FailureReason, or NULL; in the arena */
	bool timeout;       /* stopped by MaxRuntimeInSeconds */
	bool internal;      /* our fault: may be tried again */
};
/* `event`: the task's "stopped" event. `stopping`: a stop was asked for. */
struct job_outcome job_outcome_of(struct arena *a, const json_t *event, bool stopping, const char *command);
/* The text cut to what FailureReason holds, at a character. */
const char *job_reason(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The first container text `key` ("message") that is not empty, or NULL. Borrowed. */
const char *job_text_of(const json_t *event, const char *key);

/* ---- job_outputs.c: which file becomes which object ---- */
/* Uploads of an ended task: list of {"path", "bucket", "key"}; owned. */
json_t *job_uploads(struct arena *a, const struct job *j, const json_t *event, const struct job_outcome *o);
/* DescribeTrainingJob's S3ModelArtifacts, in the arena. */
const char *job_model_uri(struct arena *a, const json_t *doc, const char *name);
/* The distinct LocalPaths of a processing job's outputs; the i-th is scratch and task output "o<i>". */
struct job_dirs {
	const char *paths[256];
	size_t count;
};
void job_output_dirs(struct arena *a, const json_t *doc, struct job_dirs *out);

/* ---- job_actor.c ---- */
int job_turn_processing(struct turn *t, json_t *state, json_t *event, struct error *err);
int job_turn_training(struct turn *t, json_t *state, json_t *event, struct error *err);
void job_actor_bind(struct sagemaker *s); /* actors get no context: the one instance */
/* Moves a training job on: closes the last transition, opens (or renames) the next. Nothing for processing jobs. */
void job_transition(struct job *j, const char *status, const char *message, int64_t now_ms);

/* ---- job_effects.c ---- */
void job_add_effects(struct sagemaker *s);

/* ---- operations ---- */
int job_op_list_processing(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int job_op_list_training(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int job_op_add_tags(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int job_op_delete_tags(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int job_op_list_tags(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);

#endif
