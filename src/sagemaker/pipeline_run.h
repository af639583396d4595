/* pipeline_run.h - one execution inside a turn: what the actor and the step types share.
 *
 * DESIGN: `struct run` lives for one turn. Steps are rows (pipeline_step), numbered as in the definition. The graph is
 * walked by counters: `waiting` of a row is how many of its dependencies have not succeeded yet; a step that succeeds
 * lowers its dependents' by one, and a step that can never run (a dependency failed, its branch was not taken) becomes
 * SKIPPED with all that follow it. So a turn costs what it moves, not what the pipeline has. The actor's JSON holds
 * counters only:
 * {"execution", "seq": steps started, "active": steps running, "parallel", "stopping", "failed", "poison"}. */
#ifndef QUERN_SAGEMAKER_PIPELINE_RUN_H
#define QUERN_SAGEMAKER_PIPELINE_RUN_H

#include "sagemaker/pipeline.h"
#include "sagemaker/pipeline_type.h"

enum step_state { /* stored: do not renumber */
		  STEP_WAITING = 0,
		  STEP_READY = 1,
		  STEP_READING = 2, /* files of JsonGet are being read */
		  STEP_RUNNING = 3,
		  STEP_BACKOFF = 4, /* waits for its next attempt */
		  STEP_STOPPING = 5,
		  STEP_SUCCEEDED = 6,
		  STEP_FAILED = 7,
		  STEP_STOPPED = 8,
		  STEP_SKIPPED = 9,
};

struct step_row {
	int index;
	const struct definition_step *def;
	enum step_state state;
	int64_t seq;      /* order of starting, from 1; 0: not started */
	int64_t attempts; /* beyond the first */
	int64_t start_ms, end_ms;
	const char *job;      /* name of its current job */
	const char *metadata; /* JSON */
	const char *retries;  /* JSON: attempts per policy, see pipeline_retry.c */
};

struct run {
	struct sagemaker *s;
	struct turn *t;
	struct db *db;
	struct arena *a;
	json_t *state; /* the actor's */
	struct execution_row x;
	const struct definition *def;
	json_t *parameters; /* owned; {name: typed value} */
	json_t *properties; /* owned; of steps asked for in this turn, by name */
	/* of the attempt in hand */
	const struct step_row *step;
	const char *job_name; /* Execution.TrainingJobName */
	json_t *files;        /* borrowed; {"<uri>\n<path>": {"value":v} or {"error":text}} */
	json_t *missing;      /* owned while collecting; [{"uri","path"}] */
};

/* ---- pipeline_eval.c ---- */
/* `value` with its expressions replaced; owned, NULL with err (a ValidationException is the user's fault). */
json_t *run_eval(struct run *r, const json_t *value, struct error *err);
int run_conditions(struct run *r, const json_t *conditions, bool *out, struct error *err);
/* Files that the step's JsonGets need and r->files lacks: r->missing is made, NULL when there are none. < 0 when a URI
 * can't be told. */
int run_collect_files(struct run *r, const struct definition_step *step, struct error *err);
/* The properties of a step by name, borrowed for the turn. NULL with err. */
json_t *run_properties(struct run *r, struct str step, struct error *err);
void run_release(struct run *r);
/* The effect "sagemaker.read-json": reads the files of JsonGets on a worker. */
void pipeline_read_perform(void *ctx, struct engine *e, const struct effect *fx);

/* ---- pipeline_step.c: rows and their moves ---- */
/* 1 found, 0 none, < 0 a fault. */
int step_row_load(struct run *r, int index, struct step_row *out, struct error *err);
/* The step whose current job has this name. */
int step_row_by_job(struct run *r, const char *job, struct step_row *out, struct error *err);
/* One step in that state, the first by index. */
int step_row_first(struct run *r, enum step_state state, struct step_row *out, struct error *err);
/* Makes the rows of a fresh execution, or plans anew those that have not succeeded (retry). */
int steps_plan(struct run *r, bool fresh, struct error *err);
/* Begins a ready step: its first attempt. */
int step_begin(struct run *r, struct step_row *s, struct error *err);
/* (Re)starts the attempt in hand; `files` are read ones or NULL. */
int step_attempt(struct run *r, struct step_row *s, json_t *files, struct error *err);
int step_stop(struct run *r, struct step_row *s, struct error *err);

/* ---- called by step types ---- */
/* The step runs on with a job of that name; metadata is its JSON (borrowed). */
int run_step_running(struct run *r, struct step_row *s, const char *job, const json_t *metadata, struct error *err);
/* outcome: of a Condition step, else true. metadata may be NULL (kept as it is). */
int run_step_succeeded(struct run *r, struct step_row *s, bool outcome, const json_t *metadata, struct error *err);
/* reason may be NULL. */
int run_step_failed(struct run *r, struct step_row *s, const char *reason, const json_t *metadata, struct error *err);
int run_step_stopped(struct run *r, struct step_row *s, struct error *err);
/* An attempt failed in a way a RetryPolicy may cover (type NULL: none does): waits for the next or fails the step. */
int run_attempt_failed(struct run *r, struct step_row *s, const char *type, const char *reason, struct error *err);
/* `why` from evaluating: the user's fault fails the step as a ClientError, a fault of ours (no code) is handed up. */
int run_step_bad(struct run *r, struct step_row *s, struct error *why, struct error *err);
/* Takes the result of an earlier equal run, if CacheConfig allows and there is one: 1 taken, 0 not. `arguments` are
 * resolved. */
int run_step_cached(struct run *r, struct step_row *s, const json_t *arguments, struct error *err);

/* ---- pipeline_retry.c ---- */
/* When may a failure of `type` be tried again? The delay in ms, or < 0: never. *retries is the new JSON text (arena).
 */
int64_t pipeline_retry_delay(struct arena *a, const struct definition_step *def, const char *type, const char *retries,
			     int64_t since_ms, int64_t now_ms, const char **retries_out);
/* The exception type of a job's FailureReason or an API error: NULL when none. */
const char *pipeline_retry_type_of_reason(const char *reason);
const char *pipeline_retry_type_of_error(const struct error *e);

extern const struct actor_type pipeline_execution_actor;
void pipeline_actor_bind(struct sagemaker *s);

#endif
