/* integ.h - what a Task state can call. Inside the states room.
 *
 * DESIGN: a resource ARN is taken apart into service, action and pattern. Most integrations run in the blocking effect
 * "states.task", which calls the operation of a service of this server (wire_call_internal) and reports what it
 * answered; `.sync` ones are then asked for again and again ("states.poll") until the job has ended. Nested executions
 * and activities are started within the turn. */
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
	const char *once; /* names this one attempt; the same when it is performed again after a crash. May be NULL */
};
bool resource_parse(struct arena *a, const char *arn, struct resource *out);

/* What an integration's call gave. */
struct answer {
	json_t *output;            /* owned; NULL: failed */
	const char *error, *cause; /* in the arena */
	bool done;                 /* poll: the job has ended */
};
/* A request under way. Filled by who makes it, and released by `done`, which is called once, on any thread. */
struct integ_request {
	struct states *s;
	struct arena arena;
	struct resource r;
	json_t *params;       /* as written in the definition; borrowed until `done` */
	struct principal who; /* filled by the call */
	void (*done)(struct integ_request *q, struct answer *w); /* takes w->output; texts are in the arena */
};
/* Performs a request (effect thread). It may go on after this has returned. */
void integ_call(struct integ_request *q);
void integ_lambda_call(struct integ_request *q);
/* Calls an operation as the machine's owner; params live until `done`, which is given q. */
void integ_wire_call(struct integ_request *q, const char *model, const char *operation, json_t *params,
		     wire_internal_done done);
void integ_json_release(void *value); /* json_decref, for arena_defer */
const char *integ_request_id(struct arena *a);
/* Optimized integrations' errors: SDK version 1's text. */
void integ_optimized_error(struct arena *a, const char *name, const char *service, const struct error *err,
			   struct answer *out);
/* Asks how a `.sync` job is, from what its submission answered. */
void integ_poll(struct states *s, struct arena *a, const struct resource *r, json_t *params, json_t *submitted,
		struct answer *out);
/* Stops a `.sync` job, best effort. */
void integ_stop(struct states *s, struct arena *a, const struct resource *r, json_t *params, json_t *submitted);
/* "sfn", "executeStatement" -> model name and operation, or false. */
bool integ_sdk_find(struct arena *a, const char *service, const char *action, const char **model,
		    const char **operation);
/* Calls an operation; output in AWS-SDK-for-Java form. */
void integ_sdk_call(struct states *s, struct arena *a, const char *model, const char *operation, json_t *params,
		    struct answer *out);

/* Starts a nested execution within the turn (integ_states.c). */
void integ_states_start(struct exec *x, struct frame *f, const struct resource *r);
void integ_states_ended(struct exec *x, struct frame *f, const json_t *event);
/* {"SdkHttpMetadata","SdkResponseMetadata"} as the optimized integrations add them. */
void integ_add_metadata(struct arena *a, json_t *output, const char *request_id, int status);
/* The same from an object of headers. */
void integ_add_headers(json_t *output, json_t *headers, const char *request_id, int status);

/* The items an ItemReader names (effect thread): owned list, or NULL with *why. payload: see exec_distributed.c. */
json_t *integ_items(struct states *s, struct arena *a, json_t *payload, const char **why);
/* Writes what a map run gave: owned {"MapRunArn","ResultWriterDetails"}, or NULL with *why. */
json_t *integ_results(struct states *s, struct arena *a, json_t *payload, const char **why);
int integ_effects_init(struct states *s);
extern struct wire_server *integ_wire;

#endif
