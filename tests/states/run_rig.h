/* run_rig.h - executions of state machines on a manual engine, with tasks that the test answers.
 *
 * DESIGN: the actor, the store, the operations and the effects of distributed Maps are the real ones, with an S3 of its
 * own when blobs_dir says where; what a Task state calls is answered by rig->answer. Time moves only in rig_run, from
 * timer to timer. rig_crash throws away everything in memory and opens the same store again. */
#ifndef QUERN_TESTS_RUN_RIG_H
#define QUERN_TESTS_RUN_RIG_H

#include "states/room.h"

struct rig;
/* The answer to a task: {"output"} or {"error","cause"}, owned by the caller; NULL: none, ever. *delay_ms is 0 and may
 * be raised. */
typedef json_t *(*rig_answer)(struct rig *g, const struct effect *fx, int64_t *delay_ms);

struct rig {
	rig_answer answer;
	void *ctx;             /* the test's own */
	const char *blobs_dir; /* S3 keeps its bodies there; NULL: there is no S3 */
	uint64_t random;
	int64_t now_ms;
	struct store *store;
	struct engine *engine;
	struct states *states;
	struct blob_store *blobs;
	struct s3 *s3;
	struct arena arena; /* what calls return lives here, until rig_close */
	struct rig_report *reports;
	size_t nreports;
	int machines;
};

/* Zero *g but for answer, ctx, blobs_dir and random. */
void rig_open(struct rig *g);
void rig_close(struct rig *g);
void rig_crash(struct rig *g);
uint64_t rig_random(struct rig *g);

/* A bucket, and in it an object. */
void rig_bucket(struct rig *g, const char *name);
void rig_object(struct rig *g, const char *bucket, const char *key, const char *text);
/* An operation (a command or a query) with this request (taken). The answer is owned by the caller; NULL with *code set
 * to the error's code, in the arena. A fault of ours aborts. */
json_t *rig_command(struct rig *g, wire_command run, json_t *in, const char **code);
json_t *rig_query(struct rig *g, wire_query run, json_t *in, const char **code);
/* Creates a machine and starts it. The execution's ARN in the arena; NULL when the definition or input is refused. */
const char *rig_start(struct rig *g, const char *type, struct str definition, struct str input);
/* One step: due work, else a report, else the clock to the next timer. False when nothing will ever happen. */
bool rig_step(struct rig *g);
/* Up to so many steps. */
void rig_run(struct rig *g, int steps);
/* Owned. */
json_t *rig_describe(struct rig *g, const char *arn);
json_t *rig_history(struct rig *g, const char *arn); /* the list of all events */
/* What holds for every execution: numbers in order, causes before effects, one end and that at the end, states left
 * were entered, status and output of the description fit. NULL, or what does not hold, in the arena. */
const char *rig_wrong(struct rig *g, const char *arn);

#endif
