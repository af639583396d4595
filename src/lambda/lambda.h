/* lambda.h - functions that run on demand (service lambda). */
#ifndef QUERN_LAMBDA_LAMBDA_H
#define QUERN_LAMBDA_LAMBDA_H

#include "iam/iam.h"
#include "logs/logs.h"
#include "s3/s3.h"
#include "task/task.h"
#include "wire/wire.h"

struct lambda;
extern const struct store_migration lambda_migrations[];

struct lambda_options {
	struct engine *engine;
	struct blob_store *blobs;
	struct s3 *s3;
	struct logs *logs;
	struct iam *iam;
	struct task_client *tasks; /* may be NULL: functions are kept but do not run */
	const char *account, *region;
	const char *data_dir; /* unpacked code is kept below lambda/ */
	double wait_scale;    /* pauses before an event's retries are multiplied by it; 0 = 1 */
	uint16_t api_port;    /* where workers find the runtime interface and AWS_ENDPOINT_URL */
};
/* Before engine_start. *out owned by the caller. */
int lambda_new(const struct lambda_options *options, struct lambda **out, struct error *err);
/* Before wire_stop: workers and waiting clients are answered, nothing new runs. Invocations of type Event go on after
 * the next start. */
void lambda_stop(struct lambda *l);
/* After wire_stop and engine_stop. NULL is accepted. */
void lambda_free(struct lambda *l);
/* Scope "lambda", REST JSON. Borrowed for l's life. "Invoke" is an async handler that touches nothing of its call but
 * arena, operation and wire_answer. */
const struct wire_service *lambda_service(struct lambda *l);
/* What workers talk to: raw, below /_quern/lambda/. Before S3's service, which takes every unsigned request. */
const struct wire_service *lambda_runtime_service(struct lambda *l);

#endif
