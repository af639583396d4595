/* pipeline_rig.h - pipelines on a manual engine with jobs and S3 that the test plays.
 *
 * DESIGN: the rig has its own jobs.h (rows in the same store: a job runs until the test ends it), s3_read (a table of
 * objects) and wire_answer; all else is the real thing. Time moves only when the test moves it. rig_crash throws away
 * everything in memory and opens the same store again; rig_die_at makes that happen at the n-th moment the engine
 * names, so that a story can be told once for each commit. Answers are checked against the service model. */
#ifndef QUERN_TESTS_PIPELINE_RIG_H
#define QUERN_TESTS_PIPELINE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/json.h"
#include "sagemaker/sagemaker.h"

/* One rig a test. */
void rig_open(void);
void rig_close(void);
int rig_setup(void **state);
int rig_teardown(void **state);
/* As if the process died. */
void rig_crash(void);
/* The n-th (from 1) moment at which the engine may die is deadly; 0: none. The rig then opens itself again and goes on.
 */
void rig_die_at(int n);
/* True when the deadly moment was reached. */
bool rig_died(void);

/* Runs what is due. */
void rig_run(void);
/* Moves the clock, running what falls due on the way. */
void rig_wait_ms(int64_t ms);
int64_t rig_now_ms(void);

/* Calls an operation with a request in JSON (single quotes stand for double ones; printf directives). The answer is
 * owned by the rig until the next call. An error fails the test. */
json_t *rig_call(const char *operation, const char *request, ...) __attribute__((format(printf, 2, 3)));
/* The same for a call that must fail: returns "Code: message", owned by the rig. */
const char *rig_refused(const char *operation, const char *request, ...) __attribute__((format(printf, 2, 3)));

/* A definition with single quotes around these steps; creates the pipeline "P". */
void rig_pipeline(const char *parameters, const char *steps);
/* Starts it; the ARN, owned by the rig until its end. `rest` are further members: "'PipelineParameters':[...]" or "".
 */
const char *rig_start(const char *rest);
const char *rig_status(const char *arn);
/* "name:Status" of the listed steps, in order of starting, joined by spaces; owned by the rig. */
const char *rig_steps(const char *arn);
/* A listed step; NULL when it is not listed. Borrowed until the next call. */
json_t *rig_step(const char *arn, const char *name);

/* ---- jobs ---- */
/* The name of the job that runs for a step (its newest); NULL when none. */
const char *rig_job(const char *step);
/* Its request. Owned by the rig. */
json_t *rig_job_request(const char *step);
/* Ends it and runs. status: Completed, Failed, Stopped; reason may be NULL. */
void rig_job_end(const char *step, const char *status, const char *reason);
/* How many jobs were ever created, and how many run (or stop). */
int rig_jobs_created(void);
int rig_jobs_running(void);
/* The next `times` creations fail so. code "" is a fault of ours. */
void rig_refuse_jobs(int times, const char *code, const char *message);
/* From now on Describe of a job fails as a fault of ours. */
void rig_break_describe(bool broken);
/* Runs one SQL statement behind everybody's back. */
void rig_sql(const char *sql);
/* Ends all running jobs as Completed until none runs. */
void rig_finish(void);

/* ---- S3 ---- */
void rig_put(const char *uri, const char *text);
/* The next `times` reads fail as a fault of ours. */
void rig_break_s3(int times);

#define assert_contains(text, part)                                                                                    \
	do {                                                                                                           \
		const char *text_ = (text);                                                                            \
		if (!strstr(text_, part))                                                                              \
			fail_msg("%s:%d: `%s` is not in `%s`", __FILE__, __LINE__, part, text_);                       \
	} while (0)

#endif
