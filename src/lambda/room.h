/* room.h - what the files of the lambda room share. Not for other rooms.
 *
 * DESIGN: functions, versions and aliases are rows; their code is a blob. Everything that runs is in memory only: a
 * *pool* for each version of a function, with warm *workers* (one task each, which asks the runtime interface for work)
 * and a queue of *invocations*. One lock guards all of it; what takes time (unpacking, starting and stopping tasks) is
 * done by a few threads of the room's own, and callers are told of an invocation's end with no lock held. Invocations
 * of type Event are durable actors around that. */
#ifndef QUERN_LAMBDA_ROOM_H
#define QUERN_LAMBDA_ROOM_H

#include <pthread.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/work.h"
#include "lambda/lambda.h"

enum {
	LAMBDA_SYNC_MAX = 6291456, /* bytes of a payload */
	LAMBDA_EVENT_MAX = 1048576,
	LAMBDA_RESPONSE_MAX = 6291556,
	LAMBDA_ZIP_MAX = 52428800,
	LAMBDA_REQUEST_MAX = 70167211, /* bytes, with such a zip in base64 */
	LAMBDA_CODE_MAX = 262144000,   /* unpacked, and a zip from S3 */
	LAMBDA_QUEUE_MAX = 1000,       /* invocations that wait, all functions */
	LAMBDA_TAIL = 4096,
	LAMBDA_ID = 37,
};

struct lambda {
	struct lambda_options o;
	struct store *store;
	struct wire_service api, runtime;
	struct work *work;
	const char *code_dir;
	unsigned char link_key[32]; /* of GetFunction's Code.Location; new at each start */
	pthread_mutex_t code_lock;  /* one unpacking at a time */
	/* pools (pool.c) */
	pthread_mutex_t lock;
	pthread_cond_t cond; /* the timer thread's */
	pthread_t timer;
	bool timer_runs;
	_Atomic bool stopping;
	struct map pools;         /* "name:version" -> struct pool */
	struct map workers;       /* token -> struct worker */
	struct map tasks;         /* task id -> struct worker */
	struct invocation *ended; /* to be told when the lock is given back */
	int worker_count, worker_max, queued;
};

/* ---- name.c ---- */
struct lambda_name {
	const char *name, *qualifier; /* arena; qualifier NULL when none was given */
};
/* Takes "name", "account:function:name" or an ARN, each with or without ":qualifier", and the request's Qualifier. One
 * of another Region or account is an error. */
int lambda_name_read(struct lambda *l, struct arena *a, json_t *in, const char *member, struct lambda_name *out,
		     struct error *err);
const char *lambda_arn(struct lambda *l, struct arena *a, const char *name, const char *qualifier);
int lambda_not_found(struct lambda *l, struct arena *a, const struct lambda_name *n, struct error *err);
#define lambda_invalid(err, ...) error_http(err, 400, "InvalidParameterValueException", __VA_ARGS__)
#define lambda_conflict(err, ...) error_http(err, 409, "ResourceConflictException", __VA_ARGS__)

/* ---- store.c ---- */
struct lambda_version {
	const char *name, *version, *blob; /* arena */
	json_t *config;                    /* owned by the arena: the API's FunctionConfiguration */
	int64_t reserved;                  /* ReservedConcurrentExecutions, -1 none */
};
/* The version that a name and qualifier (version, alias, $LATEST or NULL) mean. ResourceNotFoundException when there is
 * none. */
int lambda_version_find(struct lambda *l, struct db *db, struct arena *a, const struct lambda_name *n,
			struct lambda_version *out, struct error *err);
int lambda_version_put(struct turn *t, const struct lambda_version *v, struct error *err);
/* Drops the row, and its blob when no other version has it. */
int lambda_version_drop(struct turn *t, const char *name, const char *version, const char *blob, struct error *err);
int lambda_exists(struct db *db, const char *name, struct error *err); /* 1, 0, < 0 */
/* A text column of the function's row (policy, tags), parsed; an empty object when unset. Owned; NULL with err. */
json_t *lambda_column(struct db *db, const char *name, const char *sql, struct error *err);
int lambda_blob_named(void *ctx, struct db *db, const char *id);
/* The configuration as an answer shows it: FunctionArn with `qualifier` (may be NULL). Owned. */
json_t *lambda_config_out(struct lambda *l, struct arena *a, const struct lambda_version *v, const char *qualifier);
/* Sets LastModified and a new RevisionId. */
void lambda_config_touch(json_t *config, int64_t now_ms, const char *revision);
/* Copies $LATEST to the next version number when it changed since the last one. *out is the version either way. */
int lambda_publish(struct lambda *l, struct turn *t, const char *name, const char *description,
		   struct lambda_version *out, struct error *err);

/* ---- code.c ---- */
struct lambda_code {
	char blob[BLOB_ID_LEN + 1]; /* "" when nothing was stored */
	char sha256[45];            /* base64 */
	int64_t size_bytes;
};
/* Blocking: fetches the zip that Code (or UpdateFunctionCode's input) names, checks it and stores it. `operation` is
 * named in an error. */
int lambda_code_store(struct lambda *l, json_t *code, const char *operation, struct lambda_code *out,
		      struct error *err);
void lambda_code_drop(struct lambda *l, struct lambda_code *code);
/* Blocking: the directory with the unpacked code of a blob, in the arena; unpacked when it is not there yet. */
const char *lambda_code_dir(struct lambda *l, struct arena *a, const char *blob, struct error *err);
/* Moves what an earlier process unpacked out of the way and removes it in the background. */
int lambda_code_init(struct lambda *l, struct error *err);

/* ---- check.c: a function's configuration ---- */
/* 0, or InvalidParameterValueException for what can not be run here. */
int lambda_check(json_t *in, struct error *err);
/* CPUs of a function by its memory: 1,769 MB make one (AWS Lambda developer guide, "Configure memory"), but not less
 * than half of one: a function's start is not excepted here, as it is at AWS. */
double lambda_cpus(int64_t memory_mb);
/* "python", "nodejs" or "provided"; NULL when the runtime can not be run. */
const char *lambda_runtime_kind(struct str runtime);
/* Whether the bytes are one JSON value; why is a static text when not. */
bool lambda_json_valid(struct str text, const char **why);

/* ---- pool.c ---- */
struct pool;
struct worker;
enum lambda_fault { LAMBDA_OK, LAMBDA_THROTTLED, LAMBDA_BROKEN };
struct invocation {
	struct invocation *next;
	char id[LAMBDA_ID];
	struct str payload; /* malloc'ed */
	char *client_context, *arn;
	bool tail; /* wants the log's end */
	/* Called once, with no lock held, on any thread. Takes the invocation: invocation_free. */
	void (*done)(struct invocation *i);
	void *ctx;
	struct lambda *l;
	/* the outcome */
	enum lambda_fault fault; /* no function ran; `body` says why */
	bool function_error;
	struct str body; /* malloc'ed: the result or the error object */
	char *version, *log_path;
	/* the pool's own */
	struct worker *worker;
	int64_t sent_us, deadline_us;
};
struct invocation *invocation_new(struct lambda *l, struct str payload, const char *client_context);
void invocation_free(struct invocation *i);
/* Runs a version; `i` is taken. */
void pool_invoke(struct lambda *l, const struct lambda_version *v, struct invocation *i);
/* The function (or one version) changed or went: its workers end when they are done. */
void pool_retire(struct lambda *l, const char *name);
int pool_init(struct lambda *l, struct error *err);
void pool_stop(struct lambda *l);
void pool_release(struct lambda *l);
/* What a worker does through the runtime interface. `token` names it; false: unknown. */
bool pool_poll(struct lambda *l, struct str token, struct wire_request *r); /* answers r now or later */
bool pool_result(struct lambda *l, struct str token, struct str id, bool failed, bool too_large, struct str body);
bool pool_init_failed(struct lambda *l, struct str token, struct str body);
bool pool_knows(struct lambda *l, struct str token);
/* A worker lives that runs the code of this blob. */
bool pool_uses(struct lambda *l, const char *blob);
void pool_lock(struct lambda *l);
/* Gives the lock back and tells the ended invocations' callers. */
void pool_unlock(struct lambda *l);
/* A task ended (any thread). `event` borrowed. */
void pool_task_stopped(struct lambda *l, const json_t *event);
/* The worker could not be started. */
void pool_start_failed(struct lambda *l, struct worker *w, const char *why);

enum worker_state { WORKER_STARTING, WORKER_IDLE, WORKER_BUSY, WORKER_GONE };
struct pool {
	char *key, *name, *version, *revision, *blob;
	json_t *config;
	int64_t timeout_ms, memory_mb;
	bool own_report;        /* a custom runtime: START, END and REPORT are written here */
	struct worker *workers; /* that live and have the pool's revision */
	struct invocation *first, **last;
	int starting, busy, idle, waiting;
};
struct worker {
	struct worker *next;
	struct lambda *l;
	struct pool *pool;
	char token[33], task[48], stream[64];
	json_t *config;
	char *blob, *name, *log_path;
	enum worker_state state;
	bool retired, task_started, cold, own_report;
	int refs;                  /* the pool, and work that is under way */
	struct wire_request *poll; /* waits for work */
	struct invocation *current;
	int64_t since_us, born_us; /* in this state; monotonic */
};
void lambda_worker_unref(struct worker *w); /* under the lock */

/* ---- worker.c ---- */
/* On a work thread; arg is a referenced worker. */
void lambda_worker_start(void *arg);
void lambda_worker_stop(void *arg);
/* Ends tasks that an earlier process left. */
void lambda_worker_sweep(void *arg);

/* ---- log.c ---- */
/* Appends lines to a stream's file. */
void lambda_log(const char *path, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Blocking: the end of the log of an invocation, once its REPORT is there (or some time went by). */
struct str lambda_log_tail(struct arena *a, const char *path, const char *id);

/* ---- operations ---- */
extern const struct wire_access lambda_access[];
/* For iam_set_resource_policies; ctx = the lambda. */
int lambda_find_policy(void *ctx, struct db *db, struct arena *a, struct str resource, struct str *text,
		       struct error *err);
extern const struct wire_op lambda_change_ops[], lambda_read_ops[], lambda_version_ops[], lambda_policy_ops[],
	lambda_invoke_ops[];
struct lambda *lambda_of(struct call *c);
extern const struct raw_handler lambda_raw;
bool lambda_claims(struct wire_request *r, void *ctx);
/* GetFunction's address of the code, good for ten minutes. In the arena. */
const char *lambda_code_link(struct lambda *l, struct arena *a, const char *blob);
extern const struct actor_type lambda_event_actor;
void lambda_event_init(struct lambda *l);

#endif
