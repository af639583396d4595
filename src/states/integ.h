/* integ.h - what a Task state can call. Inside the states room.
 *
 * DESIGN: a request that writes (a command of a service, a nested execution, an ECS task, a SageMaker job) is done
 * within the execution's own turn: it happens exactly once, and what it started is known when the turn ends. A `.sync`
 * job tells the execution of its end by an event; nobody asks again and again. A request that only reads is the effect
 * "states.task" on a thread; one whose answer may come late (lambda:invoke) is the same effect without a thread: it may
 * be done again after a crash. What writes files first (S3, code, layers) or checks for long (machines, pipelines) is
 * such an effect too, and makes its rows in the command that ends the effect: once. */
#ifndef QUERN_STATES_INTEG_H
#define QUERN_STATES_INTEG_H

#include "states/exec.h"

enum task_kind { TASK_LAMBDA_ARN, TASK_ACTIVITY, TASK_SERVICE, TASK_UNKNOWN };
enum task_pattern { TASK_REQUEST, TASK_SYNC, TASK_SYNC2, TASK_TOKEN };

/* A resource ARN taken apart; texts in the arena. */
struct resource {
	enum task_kind kind;
	enum task_pattern pattern;
	const char *service; /* "lambda", "aws-sdk:s3" */
	const char *action;  /* "invoke" */
	const char *name;    /* action with pattern: "startExecution.sync:2" */
	const char *arn;
};
bool resource_parse(struct arena *a, const char *arn, struct resource *out);

/* What an integration's call gave. */
struct answer {
	json_t *output;            /* owned; NULL: failed */
	const char *error, *cause; /* in the arena */
	bool refused;              /* the service did not take the call */
};
/* A request under way. Filled by who makes it, and released by `done`, which is called once, on any thread. */
struct integ_request {
	struct states *s;
	struct turn *t; /* within this turn; NULL: on a thread, which may block */
	struct arena arena;
	struct resource r;
	json_t *params;   /* as written in the definition; borrowed until `done` */
	const char *role; /* whose policies decide; NULL: the service itself, which may do everything */
	const char
		*through; /* the machine's role, when `role` is another one that it takes on (Credentials); or NULL */
	const char *session;  /* name of the role's session; with `role` */
	struct principal who; /* filled by the call */
	/* A write that has a command of its own takes its answer (borrowed) into it; `done` follows all the same.
	 * May be NULL. */
	int (*commit)(struct integ_request *q, struct turn *t, json_t *output, struct error *err);
	void (*done)(struct integ_request *q, struct answer *w); /* takes w->output; texts are in the arena */
};
/* How a request is done; WIRE_ABSENT: it is not there, which integ_call says. */
enum wire_way integ_way(struct arena *a, const struct resource *r);
/* Performs a request; within a turn only what reads or writes. On a thread it may go on after this has returned. */
void integ_call(struct integ_request *q);
/* Calls an operation as the machine's owner, and waits for it. */
int integ_service_call(struct integ_request *q, const char *model, const char *operation, json_t *params, json_t **out,
		       struct error *err);
void integ_lambda_call(struct integ_request *q);
/* aws-sdk:lambda:invoke: the payload as the service takes it (owned), and as text in the answer (changed in place). */
json_t *integ_lambda_params(struct arena *a, const json_t *params);
void integ_lambda_output(struct arena *a, json_t *output);
/* Calls an operation as the machine's owner; params live until `done`, which is given q. */
void integ_wire_call(struct integ_request *q, const char *model, const char *operation, json_t *params,
		     wire_internal_done done);
/* Who calls, into q->who. err: AccessDenied when the machine's role may not take on the other one. */
int integ_caller(struct integ_request *q, struct error *err);
/* The role, and the session's name, of a Task state's call. */
void integ_set_role(struct integ_request *q, const struct exec *x, const struct frame *f);
void integ_json_release(void *value); /* json_decref, for arena_defer */
const char *integ_request_id(struct arena *a);
/* The state machine's role may not take on the one of the task's Credentials (text recorded on AWS): integ_caller's
 * code, and with true the answer. */
#define INTEG_REFUSED_ROLE "States.TaskFailed"
bool integ_role_error(struct arena *a, const struct error *err, struct answer *out);
/* "InvalidToken" -> "InvalidTokenException"; a code that ends so stays. */
const char *integ_exception(struct arena *a, const char *code);
/* Optimized integrations' errors: SDK version 1's text. */
void integ_optimized_error(struct arena *a, const char *name, const char *service, const struct error *err,
			   struct answer *out);
/* "sfn", "executeStatement" -> model name and operation, or false. */
bool integ_sdk_find(struct arena *a, const char *service, const char *action, const char **model,
		    const char **operation);
/* What is known of aws-sdk calls, for definitions. */
extern const struct asl_calls integ_calls;
/* The first of a task's parameters that its aws-sdk call does not take, in the arena; NULL: none, or no such call. */
const char *integ_sdk_stranger(struct arena *a, const struct resource *r, const json_t *params);
/* Calls an operation and waits; output in AWS-SDK-for-Java form. */
void integ_sdk_call(struct integ_request *q, const char *service, const char *action, json_t *params,
		    struct answer *out);
/* Does a request within the turn, and goes on with its answer. */
void integ_in_turn(struct exec *x, struct frame *f, const struct resource *r);
/* An event of the current attempt (taken) for a Task state, at once. */
void integ_event(struct exec *x, struct frame *f, json_t *event);

/* ---- `.sync` jobs of ECS and SageMaker (integ_jobs.c), all within the turn ---- */
/* Whether the end of what this starts can be waited for. */
bool integ_job_known(const struct resource *r);
void integ_job_start(struct exec *x, struct frame *f, const struct resource *r);
/* The frame that waits for a job or task, or NULL. */
struct frame *integ_job_frame(struct exec *x, const char *arn);
/* One of the frame's jobs has ended. */
void integ_job_ended(struct exec *x, struct frame *f, const struct resource *r);
/* Stops the frame's jobs, best effort. */
void integ_job_stop(struct exec *x, struct frame *f, const struct resource *r);

/* Starts a nested execution within the turn (integ_states.c). */
void integ_states_start(struct exec *x, struct frame *f, const struct resource *r);
void integ_states_ended(struct exec *x, struct frame *f, const json_t *event);
/* {"SdkHttpMetadata","SdkResponseMetadata"} as the optimized integrations add them. */
void integ_add_metadata(struct arena *a, json_t *output, const char *request_id, int status);
/* The same from an object of headers. */
void integ_add_headers(json_t *output, json_t *headers, const char *request_id, int status);

int integ_effects_init(struct states *s);
extern struct wire_server *integ_wire;

#endif
