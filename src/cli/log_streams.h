/* log_streams.h - where the lines of an execution or of an ECS task are: streams of CloudWatch Logs. */
#ifndef QUERN_CLI_LOG_STREAMS_H
#define QUERN_CLI_LOG_STREAMS_H

#include "cli/client.h"

struct log_stream {
	const char *group, *name;
	const char *step;  /* what its lines are headed with: a step, a state, a container */
	int64_t start_ms;  /* older events belong to somebody else; 0: none do */
	const char *token; /* for the reader: the forward token, NULL at first */
	struct log_stream *next;
};

enum log_kind { LOG_OF_PIPELINE, LOG_OF_MACHINE, LOG_OF_TASK };

struct log_source {
	struct config *config;
	struct client *client;
	const char *step; /* only this step, state or container; or NULL */
	enum log_kind kind;
	const char *arn;
	int64_t start_ms; /* of a state machine's execution */
	struct log_stream *streams;
};

/* Sets kind and arn to what `wanted` names: the id or ARN of an ECS task, of a pipeline execution, or the name or ARN
 * of a state machine's execution, looked for in this order. < 0 with err. */
int log_source_find(struct log_source *s, const char *wanted, struct error *err);
/* Whether it is over: 1, 0, or < 0 with err. */
int log_source_ended(struct log_source *s, struct error *err);
/* What DescribeTasks says of a task, by its ARN; owned, or NULL with err. */
json_t *log_source_task(struct log_source *s, const char *arn, struct error *err);
/* Says on stderr why it failed, when it is over and did, and what to try. < 0 with err. */
int log_source_tell_reason(struct log_source *s, struct error *err);
/* Adds the streams that are new to s->streams; *step_found says whether s->step was seen. All texts are in the config's
 * arena. < 0 with err. */
int log_source_streams(struct log_source *s, bool *step_found, struct error *err);

#endif
