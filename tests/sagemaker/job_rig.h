/* job_rig.h - jobs on a manual engine, with S3, credentials and the executor played by the test.
 *
 * DESIGN: store, engine, logs and the jobs themselves are real. S3 is a table of objects (staged as files, prepared by
 * reading), the executor keeps the specs it is given and says what the test tells it to say. Time moves only when the
 * test moves it. rig_crash throws away what is in memory and opens the same store again. */
#ifndef QUERN_TESTS_JOB_RIG_H
#define QUERN_TESTS_JOB_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/json.h"
#include "sagemaker/jobs.h"

int rig_setup(void **state);
int rig_teardown(void **state);
void rig_crash(void);
void rig_run(void);
void rig_wait_ms(int64_t ms);
int64_t rig_now_ms(void);
const char *rig_dir(void); /* the data directory */

/* ---- calls; JSON with single quotes ---- */
/* Owned by the rig until the next call. */
json_t *rig_call(const char *operation, const char *request, ...) __attribute__((format(printf, 2, 3)));
/* A call that must fail: "Code: message". */
const char *rig_refused(const char *operation, const char *request, ...) __attribute__((format(printf, 2, 3)));
/* The Describe answer. Owned by the rig until the next call. */
json_t *rig_training(const char *name);
json_t *rig_processing(const char *name);
/* Creates with default members where the request has none; parent may be NULL. */
void rig_start_training(const char *name, const char *more);
void rig_start_processing(const char *name, const char *more);
/* The last "job-ended" event that the parent actor "rig-parent" got, or NULL. */
json_t *rig_ended(void);

/* printf into the rig's memory. */
const char *rig_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- S3 ---- */
void rig_bucket(const char *bucket);
void rig_forget_bucket(const char *bucket);
void rig_put(const char *uri, const char *text);
void rig_put_bytes(const char *uri, const void *p, size_t n); /* bytes above 127 are kept too */
const char *rig_object(const char *uri);                      /* NULL when there is none */
/* The next n links fail with NoSuchKey. */
void rig_vanish(int n);
/* The next n prepared bodies fail. */
void rig_break_prepare(int n);

/* ---- the executor ---- */
/* The spec given last, and how many starts there were. */
json_t *rig_spec(void);
int rig_starts(void);
const char *rig_stopped_task(void); /* the id last asked to stop, or NULL */
/* The next n starts fail: code "" = out of reach; "taken" = the executor has the task but its answer is lost. */
void rig_break_start(int n, const char *code, const char *message);
/* Says an event of the last task (single quotes; "task" is added) to its owner. */
void rig_task(const char *event, ...) __attribute__((format(printf, 1, 2)));
/* A "stopped" event: reason, exit code of algo-1, further members ("" = none). */
void rig_task_stopped(const char *reason, int exit_code, const char *more);
/* Makes an output file of the task as the executor would; returns its path. */
const char *rig_output(const char *output, const char *key, const char *text);
/* Text of the file `rel` (below a mount's source) for container i's mount at `target`; NULL when there is none. */
const char *rig_staged(size_t container, const char *target, const char *rel);
/* Text of a "files" entry. */
const char *rig_file(size_t container, const char *path);
const char *rig_env(size_t container, const char *key);
/* The mount at `target`, or NULL. */
json_t *rig_mount(size_t container, const char *target);

#endif
