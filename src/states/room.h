/* room.h - what the files of the states room share.
 *
 *   states.c            life cycle, the table of operations, memory of parsed machines
 *   store.c             tables and rows
 *   api_*.c             operations
 *   exec*.c             the interpreter, and the actor "states.execution" around it
 *   history*.c          events: writing, paging, log records
 *   integ*.c            what a Task state can call
 *   (asl.h and the files behind it: the language itself) */
#ifndef QUERN_STATES_ROOM_H
#define QUERN_STATES_ROOM_H

#include <pthread.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/map.h"
#include "base/work.h"
#include "states/asl.h"
#include "states/jsonata.h"
#include "states/states.h"

/* ---- quotas: AWS's numbers; states_quota.x may be raised at start ---- */
struct states_quota {
	int64_t payload_bytes; /* input, output, result */
	int64_t history_events;
	int64_t definition_bytes;
	int64_t tags;
	int64_t versions, aliases;
	int64_t map_inline;   /* parallel iterations of an inline Map */
	int64_t map_children; /* parallel children of a distributed Map */
	int64_t express_ms;   /* an express execution's life */
	int64_t result_bytes; /* of one file of a ResultWriter; Quern's own number */
};
extern struct states_quota states_quota;

struct waiter;
struct feed;
struct states {
	struct states_options o;
	struct jsonata *jsonata;
	pthread_mutex_t lock;   /* guards `machines` and `feeds` */
	struct map machines;    /* hash -> struct machine_pool: parsed definitions not in use */
	struct feed *feeds;     /* of map runs, between two of their effects (exec_feed.c) */
	struct waiter *waiters; /* core thread: clients waiting for an activity's task or an express execution's end */
	_Atomic bool stopping;  /* states_stop was called */
	struct work *tests;     /* TestState */
	struct work *checks;    /* definitions with expressions */
};

/* An operation's call that goes on on another thread (work.h): fn(c, in), and fn ends with wire_answer or sees to it.
 */
struct deferred {
	struct call *c;
	json_t *in;
	wire_async fn;
};
/* In the call's arena; holds `in`, which deferred_run gives back. */
struct deferred *call_defer(struct call *c, json_t *in, wire_async fn);
void deferred_run(void *deferred);

enum { STATES_WORDS = 1024 };
#define STATES_REDRIVE_MS (14 * 24 * 3600 * 1000LL) /* after its end an execution can be redriven for this long */

/* ---- parsed definitions (states.c) ---- */
/* The machine of a stored definition, for one thread until it is given back; NULL with err. */
struct asl_machine *machine_take(struct states *s, struct db *db, const char *hash, struct error *err);
void machine_give(struct states *s, const char *hash, struct asl_machine *m);
/* Parses a definition from a client: InvalidDefinition with AWS's text. *out owned. */
int machine_check(struct states *s, struct arena *a, struct str definition, bool express, struct asl_machine **out,
		  struct error *err);
/* machine_check's answer, made before the turn that needs it: an expression may take its time. */
struct machine_verdict {
	bool made, express;
	struct error err; /* no message: the definition is good */
};
/* CreateStateMachine's write. A verdict that isn't made, or is of the other type of machine, is made here. */
int machine_create(struct call *c, struct turn *t, json_t *in, const struct machine_verdict *v, json_t **out,
		   struct error *err);
/* 64 hex digits of the text. In the arena. */
const char *machine_hash(struct arena *a, struct str definition);

/* ---- rows (store.c). Texts live in the given arena. ---- */
struct machine_row {
	const char *arn, *name, *type, *role, *hash, *revision, *status;
	const char *logging, *tracing, *encryption; /* JSON text or NULL */
	int64_t created_ms, updated_ms, version;    /* version: the last number given */
	bool express;
};
struct version_row {
	const char *arn, *machine, *hash, *role, *revision, *description, *logging, *tracing, *encryption;
	int64_t version, created_ms;
};
struct alias_row {
	const char *arn, *machine, *name, *description, *routing; /* JSON text of routingConfiguration */
	int64_t created_ms, updated_ms;
};
struct execution_row {
	const char *arn, *machine, *name, *version, *alias, *hash, *role, *status, *map_run, *trace, *revision;
	const char *logging;
	struct str input, output;
	const char *error, *cause; /* NULL when absent */
	int64_t start_ms, stop_ms, redrive_count, redrive_ms, item_count;
	bool redrivable;   /* a state to go on from is kept */
	const char *label; /* of a distributed Map's child */
	const char *type;
};
/* 1 found, 0 not, < 0. */
int machine_find(struct db *db, struct arena *a, const char *arn, struct machine_row *out, struct error *err);
int version_find(struct db *db, struct arena *a, const char *arn, struct version_row *out, struct error *err);
int alias_find(struct db *db, struct arena *a, const char *arn, struct alias_row *out, struct error *err);
int execution_find(struct db *db, struct arena *a, const char *arn, struct execution_row *out, struct error *err);
/* The same, and an absent one is an error answer ("ExecutionDoesNotExist"). */
int machine_get(struct db *db, struct arena *a, const char *arn, struct machine_row *out, struct error *err);
int execution_get(struct db *db, struct arena *a, const char *arn, struct execution_row *out, struct error *err);
/* So many more children of a map run, with so many items, have succeeded. */
int map_run_count(struct db *db, const char *arn, int64_t good, int64_t good_items, struct error *err);
/* Removes a machine with its versions, aliases and tags. */
int machine_erase(struct db *db, const char *arn, struct error *err);
int definition_put(struct db *db, const char *hash, struct str text, struct error *err);
struct str definition_get(struct db *db, struct arena *a, const char *hash, struct error *err); /* ptr NULL: fault */

/* ---- names and ARNs (store.c) ---- */
/* 0, or InvalidName. */
int name_check(struct str name, struct error *err);
/* "arn:aws:states:<region>:<account>:<kind>:<rest>", in the arena. */
const char *states_arn(struct states *s, struct arena *a, const char *kind, const char *rest);
/* Takes an ARN apart: false unless "arn:aws*:states:region:account:kind:rest…". */
struct states_arn {
	struct str region, account, kind, rest;
};
bool arn_split(struct str arn, struct states_arn *out);
/* An ARN of a machine, version or alias: 0, or InvalidArn. kind "stateMachine". */
int arn_check(struct str arn, const char *kind, struct error *err);

/* Pages: nextToken is "<offset key>" in base64 of our own. */
struct page {
	int64_t limit;   /* rows to give */
	int64_t after;   /* keyset: the last row's number, 0 = from the start */
	const char *key; /* keyset by text, or "" */
};
int page_open(struct arena *a, const json_t *in, int64_t fallback, struct page *p, struct error *err);
void page_more(json_t *out, int64_t after, const char *key);

/* What a text column holds, as JSON; owned; NULL when it is NULL. */
json_t *json_column(const char *text);

/* ---- tags ---- */
int tags_put(struct db *db, const char *arn, const json_t *tags, struct error *err);
int tags_drop(struct db *db, const char *arn, struct error *err);

/* ---- starting and ending executions (api_execution.c, exec_actor.c) ---- */
struct start_request {
	const char *machine; /* ARN of machine, version or alias */
	const char *name;    /* NULL: a UUID */
	struct str input;    /* ptr NULL: "{}" */
	const char *trace;
	/* who is told of the end: an actor, a frame of it and its attempt */
	const char *parent;
	int64_t parent_frame, parent_attempt;
	bool sync; /* an express execution that a client waits for */
};
struct start_result {
	const char *arn;
	int64_t start_ms;
};
int execution_start(struct states *s, struct turn *t, const struct start_request *rq, struct start_result *out,
		    struct error *err);
struct start_target;
json_t *execution_facts(const struct start_target *g, const char *arn, const char *name, struct str input,
			int64_t now_ms); /* owned */
int execution_insert(struct turn *t, const json_t *facts, struct error *err);
/* Sets redriveCount, redriveDate, redriveStatus and redriveStatusReason of a description. */
void execution_show_redrive(struct arena *a, json_t *o, const struct execution_row *x, int64_t now_ms);
/* The same for one that has ended already: its row and its history. done: {"facts", "st", "ms", "out", "er", "ca", "h",
 * "ev", "rs"} as exec_feed.c makes it. */
int execution_insert_ended(struct turn *t, const json_t *done, struct error *err);
/* Marks it ABORTED and tells the actor. */
int execution_stop(struct states *s, struct turn *t, const char *arn, const char *error, const char *cause,
		   int64_t *stop_ms, struct error *err);
/* Starts an unsuccessful execution again from its redrive_state (taken); its row becomes RUNNING. parent_attempt: of a
 * map run's child. token may be NULL. */
int execution_respawn(struct turn *t, const char *arn, json_t *state, const char *token, int64_t parent_attempt,
		      struct error *err);
/* Finds machine, version or alias for a start. */
struct start_target {
	struct machine_row machine;
	const char *hash, *role, *logging, *revision, *version, *alias; /* version, alias: ARNs or NULL */
};
int start_target_find(struct states *s, struct db *db, struct arena *a, const char *arn, uint64_t random,
		      struct start_target *out, struct error *err);
int input_check(struct arena *a, struct str input, json_t **out, struct error *err);

/* ---- operations ---- */
extern const struct wire_op states_ops[];
extern const struct wire_access states_access[];
#define QUERY(name) int name(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
#define COMMAND(name) int name(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
#define ASYNC(name) void name(struct call *c, json_t *in)
ASYNC(api_machine_create);
ASYNC(api_machine_update);
COMMAND(api_machine_delete);
QUERY(api_machine_describe);
QUERY(api_machine_list);
ASYNC(api_machine_validate);
QUERY(api_machine_for_execution);
COMMAND(api_version_publish);
COMMAND(api_version_delete);
QUERY(api_version_list);
COMMAND(api_alias_create);
COMMAND(api_alias_update);
COMMAND(api_alias_delete);
QUERY(api_alias_describe);
QUERY(api_alias_list);
COMMAND(api_tag);
COMMAND(api_untag);
QUERY(api_tags_list);
COMMAND(api_execution_start);
COMMAND(api_execution_stop);
COMMAND(api_execution_redrive);
QUERY(api_execution_describe);
QUERY(api_execution_list);
QUERY(api_execution_history);
ASYNC(api_execution_sync);
QUERY(api_map_run_describe);
QUERY(api_map_run_list);
COMMAND(api_map_run_update);
COMMAND(api_activity_create);
COMMAND(api_activity_delete);
QUERY(api_activity_describe);
QUERY(api_activity_list);
ASYNC(api_activity_task);
COMMAND(api_token_success);
COMMAND(api_token_failure);
COMMAND(api_token_heartbeat);
ASYNC(api_test_state);

/* Ends the wait of clients for an express execution (sync) or an activity's tasks. Core thread. */
void waiters_execution_ended(struct states *s, struct turn *t, const char *arn, json_t *out);
void waiters_activity_ready(struct states *s, struct turn *t, const char *activity);
void waiters_end(struct states *s, struct turn *t); /* all of them: the daemon stops */

#endif
