/* exec.h - the interpreter of state machines. Inside the states room.
 *
 * DESIGN: `struct exec` is one execution in memory: facts and frames. A frame is one running line of states: the
 * machine itself, a branch of a Parallel state, an iteration of a Map. exec_run moves frames until all of them wait or
 * the machine has ended; it reads no clock. Each phase of a frame evaluates first and acts afterwards, so that it can
 * be run again when an expression was PENDING. The durable actor (exec_actor.c) loads an exec from its JSON state,
 * gives it an event, runs it and saves it. An express execution that never waits lives only in memory (exec_run_whole).
 */
#ifndef QUERN_STATES_EXEC_H
#define QUERN_STATES_EXEC_H

#include "states/room.h"

enum phase {
	PHASE_ENTER,    /* writes StateEntered, then BEGIN */
	PHASE_BEGIN,    /* evaluates the input and starts the work */
	PHASE_WAIT,     /* Wait: until the timer */
	PHASE_TASK,     /* Task: until its answer */
	PHASE_RETRY,    /* until the pause is over, then BEGIN */
	PHASE_CHILDREN, /* Parallel, Map: until the children are done */
	PHASE_READ,     /* Map: its items are being read */
	PHASE_WRITE,    /* Map: its results are being written */
	PHASE_RESULT,   /* has `result`: output and next state */
	PHASE_CAUGHT,   /* has `fault` and `catcher` */
};

struct frame {
	int64_t id;
	struct frame *parent; /* NULL: the machine itself */
	int64_t index;        /* of the branch or iteration */
	const struct asl_states *scope;
	const struct asl_state *state;
	enum phase phase;
	bool queued, gone;
	bool pending;         /* waits for a JSONata answer */
	json_t *input, *vars; /* raw input of the state; all visible variables or NULL. Owned, as all below */
	int64_t entered, entered_ms, before, prev; /* event of StateEntered, its time, its previous, the last event */
	json_t *work; /* after InputPath and Parameters (Map: the items; Task: its parameters) */
	json_t *result;
	json_t *retries; /* array of counts, one a retrier */
	int64_t retry_count, attempt;
	int catcher; /* index of the Catch rule */
	struct {
		char *error, *cause; /* cause NULL: none */
	} fault;
	json_t *task; /* Task: {"resource","role","token","heartbeat","submitted","jobs","child","early"}; Map: settings
		       */
	json_t *item; /* iteration: the context's Map object */
	json_t *memo;
	int64_t next, running, done; /* Parallel, Map */
	size_t slot;                 /* in exec.frames */
	size_t children;             /* frames that have this one as parent */
	struct frame *same_bucket;   /* in exec.buckets */
};

/* TestState: one state runs in memory with its work mocked; what happened to the data is noted. */
struct exec_test {
	json_t *context;           /* borrowed; NULL: the usual one */
	json_t *mock;              /* result of the work; borrowed; NULL: none */
	const char *mock_text;     /* as it was given */
	const char *error, *cause; /* the work's failure */
	bool fails, mocked;
	int64_t retried, failures; /* stateConfiguration */
	bool counts_failures;
	struct str reader_data; /* ptr NULL: none */
	/* out */
	json_t *inspection, *details; /* owned */
	const char *status, *next, *out_error, *out_cause;
	bool caught;
};

enum exec_status { EXEC_RUNNING, EXEC_SUCCEEDED, EXEC_FAILED, EXEC_TIMED_OUT, EXEC_ABORTED };

struct exec {
	struct states *s;
	struct turn *t;  /* NULL in memory */
	struct arena *a; /* of the turn */
	int64_t now_ms;
	uint64_t (*random)(void *ctx);
	void *random_ctx;
	const struct asl_machine *m;
	struct exec_test *test; /* NULL but for TestState */
	/* facts; owned by `facts` or the arena */
	json_t *facts; /* see exec_actor.c */
	const char *arn, *name, *role, *machine_arn, *machine_name;
	struct str input_text;
	json_t *input; /* owned */
	int64_t start_ms, redrive_count, redrive_ms;
	bool express, record; /* record: events are wanted */
	json_t *logging;      /* borrowed; NULL: none */
	/* frames */
	struct frame **frames;
	size_t nframes, cap;
	struct frame **buckets; /* cap of them, by id */
	struct frame **queue;
	size_t head, tail, queue_cap;
	int64_t next_frame, next_event, first_event; /* first_event: of this turn */
	struct buf lines;                            /* this turn's events, one JSON object a line */
	struct {
		json_t *value;
		struct str text;
	} texts[4]; /* texts made lately */
	int ntexts;
	json_t *context_base; /* owned: Execution and StateMachine of the context object */
	int budget;
	int64_t work;  /* of this thread, at the last look */
	bool too_long; /* in memory: it is to be run as an actor */
	/* end */
	enum exec_status status;
	json_t *output; /* owned */
	struct str output_text;
	char *error, *cause; /* owned */
	json_t *redrive;     /* owned: the frames as they were at the failure */
};

/* ---- exec.c ---- */
void exec_init(struct exec *x, struct states *s, struct arena *a);
void exec_release(struct exec *x);
struct frame *exec_frame_new(struct exec *x, struct frame *parent, int64_t index, const struct asl_states *scope,
			     json_t *input);
struct frame *exec_frame(struct exec *x, int64_t id);
void exec_frame_drop(struct exec *x, struct frame *f); /* with its descendants; cancels what they wait for */
void exec_ready(struct exec *x, struct frame *f);
/* Starts the machine: ExecutionStarted and the first frame. */
void exec_begin(struct exec *x);
/* Runs until everything waits, the end, or the budget is used up: returns true when there is more to run now. */
bool exec_run(struct exec *x);
/* Takes the evaluations since the last call off the budget; true: it is used up. */
bool exec_tired(struct exec *x);
/* The work of the state gave this (taken): go on with its output. */
void exec_result(struct exec *x, struct frame *f, json_t *result);
/* The state failed: retry, catch, or fail upwards. cause may be NULL. */
void exec_fault(struct exec *x, struct frame *f, const char *error, const char *cause);
/* As exec_fault for a fault of the language (adds "An error occurred while executing the state…"; EvaluationFailed).
 * Releases `fault`. */
void exec_asl_fault(struct exec *x, struct frame *f, struct asl_fault *fault);
/* States.Runtime that nobody may catch. */
void exec_runtime(struct exec *x, struct frame *f, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A pending evaluation of an exec in memory: waits for its answer, which is in f->memo then. */
void exec_answer(struct exec *x, struct frame *f, struct asl_env *env);
/* A pending evaluation: asks for its answer. env->pending is taken. */
void exec_pending(struct exec *x, struct frame *f, struct asl_env *env);
/* The whole machine ends. */
void exec_end(struct exec *x, enum exec_status status, json_t *output, const char *error, const char *cause,
	      int64_t prev);
/* A frame came to the end of its scope with this output (taken). */
void exec_frame_done(struct exec *x, struct frame *f, json_t *output);
json_t *exec_save(struct exec *x); /* owned */
/* The same with f and what is around it only; its items and results are left out. */
json_t *exec_save_line(struct exec *x, const struct frame *f);
int exec_load(struct exec *x, const json_t *state, struct error *err);

/* ---- exec_context.c ---- */
/* An environment for expressions of f's state. input is borrowed. */
struct asl_env exec_env(struct exec *x, struct frame *f, json_t *input);
void exec_env_done(struct asl_env *env); /* releases the context */
struct str exec_text(struct exec *x,
		     json_t *value); /* compact text, or the raw text when it is the execution's input */
/* False after a DataLimitExceeded fault. */
bool exec_size_check(struct exec *x, struct frame *f, const char *what, json_t *value);
/* The same for what a state, branch or iteration is given. */
int exec_input_check(struct frame *f, const json_t *value, struct asl_fault *fault);
json_t *exec_error_output(struct exec *x, const char *error, const char *cause); /* owned {"Error","Cause"} */

/* ---- exec_state.c ---- */
void exec_step(struct exec *x, struct frame *f);
/* Output for states with results: ResultSelector, ResultPath, OutputPath, Assign; then the next state. */
void exec_output(struct exec *x, struct frame *f);
/* f->state's effective input (InputPath, Parameters / Arguments). */
int exec_input(struct exec *x, struct frame *f, struct asl_env *env, json_t **filtered, json_t **out,
	       struct asl_fault *fault);
bool exec_handle(struct exec *x, struct frame *f, struct asl_env *env, int rc,
		 struct asl_fault *fault); /* true: went well */

/* ---- exec_task.c ---- */
void exec_task_begin(struct exec *x, struct frame *f);
void exec_task_event(struct exec *x, struct frame *f, const json_t *event);
void exec_task_cancel(struct exec *x, struct frame *f);
void exec_job_ended(struct exec *x, const char *arn);
void exec_task_timer(struct exec *x, struct frame *f, const json_t *event);

/* ---- exec_map.c ---- */
void exec_parallel_begin(struct exec *x, struct frame *f);
void exec_map_begin(struct exec *x, struct frame *f);
void exec_map_items(struct exec *x, struct frame *f, json_t *items); /* items are there: taken */
void exec_child_done(struct exec *x, struct frame *parent, struct frame *child, json_t *output);
void exec_child_failed(struct exec *x, struct frame *parent, struct frame *child, const char *error, const char *cause);
void exec_map_fill(struct exec *x, struct frame *f);
/* MaxConcurrency; AWS stalls on a negative one, here it is a States.Runtime. */
int exec_map_concurrency(struct asl_env *env, const struct asl_state *st, bool *present, double *out,
			 struct asl_fault *fault);
/* The context's Map object of an item, and what the iteration gets as input. */
int exec_map_item(struct exec *x, struct frame *f, int64_t i, json_t *value, json_t **context, json_t **input,
		  struct asl_env *env, struct asl_fault *fault);

/* What exec_map_begin works on: ItemsPath, Items or the input. As asl functions return; *items owned. */
int exec_map_eval(struct exec *x, struct frame *f, struct asl_env *env, json_t **items, struct asl_fault *fault);

/* ---- exec_distributed.c ---- */
struct map_settings {
	double concurrency, count, percentage; /* MaxConcurrency, ToleratedFailureCount, ToleratedFailurePercentage */
	bool has_concurrency, has_count, has_percentage;
};
/* env->input: what the paths start from. As asl functions return. */
int exec_map_settings(struct frame *f, struct asl_env *env, struct map_settings *out, struct asl_fault *fault);
/* How many items f's ItemReader may read (INT64_MAX: all). */
int exec_reader_most(struct frame *f, struct asl_env *env, int64_t *most, struct asl_fault *fault);
void exec_distributed_begin(struct exec *x, struct frame *f);
void exec_distributed_event(struct exec *x, struct frame *f, const json_t *event);
void exec_distributed_cancel(struct exec *x, struct frame *f);
bool exec_distributed_runs(const struct frame *f); /* it has a map run that has not ended */
void exec_distributed_fill(struct exec *x, struct frame *f);
void exec_distributed_items(struct exec *x, struct frame *f, json_t *items);
/* Facts of child number `index` of a map run with this input; owned. x is the parent. `run`: {"map_run", "label",
 * "seed", "attempt"}; the name is made of seed and index, so a child made again is the same one. `scope`: where its
 * states are. */
json_t *exec_child_facts(struct exec *x, const json_t *run, int64_t frame, int64_t index, int64_t items, json_t *scope,
			 struct str input);
/* Have the failures gone beyond what is tolerated? `run` has has_count, count, has_percentage, percentage, items. */
bool exec_over_threshold(const json_t *run, int64_t failed);

/* ---- exec_feed.c: makes the children, and runs those that never wait, on a worker thread ---- */
void exec_feed_perform(void *ctx, struct engine *e, const struct effect *fx); /* effect "states.children" */
void exec_feed_forget(struct states *s, const char *map_run);                 /* the run is over */
void exec_feeds_release(struct states *s);
/* The inputs of items that have no child, one after the other: fn returns < 0 to stop. For a run that failed. *unread:
 * why not all of them could be read, in the arena; else NULL. */
int exec_feed_rest(struct states *s, const char *map_run, int64_t position, int64_t index,
		   int (*fn)(void *ctx, struct str input, struct error *err), void *ctx, struct arena *a,
		   const char **unread, struct error *err);

/* ---- exec_results.c ---- */
/* What the children of a run that has ended gave, as the state's result: owned; NULL with err, code "limit" when it is
 * larger than a payload may be. */
json_t *exec_results_read(struct exec *x, const char *map_run, const json_t *config, struct error *err);
void exec_results_perform(void *ctx, struct engine *e, const struct effect *fx); /* effect "states.write" */
/* In a turn: the written files become objects. Gives the state's result, owned; NULL with err. */
json_t *exec_results_commit(struct exec *x, const char *map_run, const json_t *event, struct error *err);

/* ---- exec_redrive.c ---- */
/* Keeps in x->redrive what a redrive goes on from, with the failing frame (may be NULL) to begin again. */
void exec_snapshot(struct exec *x, struct frame *failing);
/* ExecutionRedriven; the frames that begin again follow it. */
void exec_redriven(struct exec *x);
/* Redrives children of f's map run while fewer than `most` run. 1: there are more, 0: no more, < 0 with err. */
int exec_distributed_redrive(struct exec *x, struct frame *f, int64_t most, struct error *err);

/* ---- api_test_state.c: called where a test's data or way differs ---- */
void test_note(struct exec *x, const char *key, json_t *value);        /* value borrowed; no test: nothing */
void test_note_number(struct exec *x, const char *key, json_t *value); /* takes value */
/* True: the test ends here (output taken); the frame's variables with `assigned` (may be NULL) are shown. */
bool test_leave(struct exec *x, struct frame *f, json_t *output, const json_t *assigned, const char *next);
bool test_fault(struct exec *x, struct frame *f, const char *error, const char *cause); /* true: it was dealt with */
bool test_work(struct exec *x, struct frame *f);       /* true: the work was mocked or done */
json_t *test_context(struct exec *x, struct frame *f); /* owned, or NULL: the usual one */

/* ---- api_test_map.c ---- */
void test_map(struct exec *x, struct frame *f); /* exec_map_begin in a test */

/* ---- exec_retry.c ---- */
/* True when a retrier takes it: the pause is set. */
bool exec_retry(struct exec *x, struct frame *f, const char *error);
/* True when a catcher takes it. */
bool exec_catch(struct exec *x, struct frame *f, const char *error, const char *cause);
void exec_caught(struct exec *x, struct frame *f);
/* Retrier/catcher index for an error, -1 none. */
int exec_match(const json_t *rules, const char *error);
/* Seconds before retry number n (from 0). */
double exec_backoff(const json_t *retrier, int64_t n);

/* ---- timers, effects ---- */
void exec_timer(struct exec *x, struct frame *f, const char *kind, int64_t at_ms); /* at 0 cancels */
int64_t exec_later(struct exec *x, double seconds);                                /* now + seconds * wait_scale */

/* ---- exec_actor.c ---- */
extern const struct actor_type states_execution_actor;
extern const struct actor_type states_pollers_actor;
extern const struct actor_type states_retention_actor;
struct states *exec_actor_room(void);
void exec_actor_bind(struct states *s);
/* A child of a distributed Map runs a part of the machine: its facts say which. Changes view->top. */
int exec_scope(struct exec *x, struct asl_machine *view, struct error *err);
extern const char *const exec_status_names[];
uint64_t exec_random_kernel(void *ctx);
/* Runs a machine that never waits. facts as the actor's; false: it takes too long for the caller's thread. */
bool exec_run_whole(struct exec *x);
bool exec_never_waits(const struct asl_states *scope);
void exec_inputs_release(void);
void exec_facts(struct exec *x, json_t *facts); /* takes facts */
/* StartSyncExecution answer of an ended exec; owned. */
json_t *exec_sync_answer(struct exec *x);
int exec_effects_init(struct states *s);

/* ---- history.c ---- */
/* Writes an event; returns its id. fields: builds the details, may be NULL. */
int64_t history_add(struct exec *x, const char *type, int64_t prev, const char *details_key, json_t *details);
int64_t history_state_entered(struct exec *x, struct frame *f);
int64_t history_state_exited(struct exec *x, struct frame *f, json_t *output, json_t *assigned);
/* {"error","cause"}; owned */
json_t *history_error(const char *error, const char *cause);
int history_store(struct exec *x, struct error *err);
const char *history_type_name(enum asl_type type);
/* One stored line as the API shows it; owned. */
json_t *history_event(const json_t *line, bool include_data);
void history_log(struct exec *x);
/* A JSON string literal of the bytes. */
void history_quote(struct buf *b, struct str s);

#endif
