/* pipeline.h - what the pipeline files share: rows, look-ups, paging, idempotency.
 *
 * DESIGN: tables. `pipeline` and `pipeline_version` are what the API shows; a definition's text is stored once by its
 * SHA-256 in `pipeline_definition`, and its parsed form is kept in memory by that digest (core thread only).
 * `pipeline_execution` and `pipeline_step` are the execution's whole state beside a few counters in the actor's JSON:
 * one row a step, made when the execution starts, so that a turn touches only the rows of the steps it moves, however
 * many the pipeline has. */
#ifndef QUERN_SAGEMAKER_PIPELINE_H
#define QUERN_SAGEMAKER_PIPELINE_H

#include "sagemaker/definition.h"
#include "sagemaker/room.h"

/* ---- rows (store_pipeline.c); texts are in the arena, NULL when absent ---- */
struct pipeline_row {
	const char *key; /* the name in lower case */
	const char *name, *arn, *display_name, *description, *role, *created_by, *modified_by;
	int64_t parallel; /* 0: unlimited */
	int64_t version;  /* the latest */
	int64_t created_ms, modified_ms, run_ms;
};
struct version_row {
	int64_t version, created_ms;
	const char *digest, *display_name, *description, *last_execution;
};
struct execution_row {
	const char *id, *arn, *key, *pipeline, *pipeline_arn, *digest, *role;
	const char *display_name, *description, *status, *reason;
	const char *selective, *experiment, *parameters; /* JSON; parameters: {name: typed value} */
	const char *created_by, *modified_by;
	int64_t version, parallel, created_ms, modified_ms;
};

/* By name or ARN. 1 found, 0 not, < 0 a fault. */
int pipeline_find(struct sagemaker *s, struct db *db, struct arena *a, const char *name_or_arn,
		  struct pipeline_row *out, struct error *err);
/* The same; none is a ResourceNotFound error. */
int pipeline_get(struct sagemaker *s, struct db *db, struct arena *a, const char *name_or_arn, struct pipeline_row *out,
		 struct error *err);
/* 1, 0, < 0. */
int pipeline_version_find(struct db *db, struct arena *a, const char *key, int64_t version, struct version_row *out,
			  struct error *err);
/* The version a request means by PipelineVersionId or PipelineVersionAlias, else the latest. None is ResourceNotFound.
 */
int pipeline_version_of(struct db *db, struct arena *a, const struct pipeline_row *p, const json_t *in,
			struct version_row *out, struct error *err);
/* The aliases of a version, owned list, NULL when it has none. */
json_t *pipeline_version_aliases(struct db *db, const char *key, int64_t version, struct error *err);
int pipeline_execution_find(struct sagemaker *s, struct db *db, struct arena *a, const char *id,
			    struct execution_row *out, struct error *err);
/* By ARN; none is ResourceNotFound. */
int pipeline_execution_get(struct sagemaker *s, struct db *db, struct arena *a, const char *arn,
			   struct execution_row *out, struct error *err);
/* The id of the actor that runs an execution. */
const char *pipeline_actor_id(struct arena *a, const char *id);
const char *pipeline_execution_arn(struct sagemaker *s, struct arena *a, const char *pipeline, const char *id);
bool pipeline_execution_ended(const char *status);

/* Puts the text in (when new) and returns its digest in the arena; NULL with err. */
const char *pipeline_definition_digest(struct arena *a, struct str text);
int pipeline_definition_save(struct db *db, const char *digest, struct str text, struct error *err);
/* Text of a definition; STR_NULL with err. */
struct str pipeline_definition_text(struct db *db, struct arena *a, const char *digest, struct error *err);
/* The parsed definition, borrowed until the next call; core thread only. NULL with err. */
struct definition *pipeline_definition_cached(struct sagemaker *s, struct db *db, const char *digest,
					      struct error *err);

/* Keeps a parsed definition for pipeline_definition_cached; takes def, NULL is nothing. Core thread only. */
void pipeline_definition_keep(struct sagemaker *s, const char *digest, struct definition *def);
/* The memory of parsed definitions; released by pipelines_release. */
void pipelines_open(struct sagemaker *s);

/* ---- small helpers ---- */
/* A struct str column as text in the arena, NULL for SQL NULL. */
const char *pipeline_row_text(struct rows *rows, int col, struct arena *a);
/* Sets obj[key] to the time as epoch seconds with milliseconds; nothing when ms is 0. */
void pipeline_set_time(json_t *obj, const char *key, int64_t ms);
/* Milliseconds of a timestamp member, or `fallback`. */
int64_t pipeline_get_time(const json_t *obj, const char *key, int64_t fallback);
/* SHA-256 in hex, in the arena. */
const char *pipeline_sha256(struct arena *a, struct str text);
/* {"MaxParallelExecutionSteps":n} as ParallelismConfiguration, when n > 0. */
void pipeline_set_parallel(json_t *obj, int64_t n);
int64_t pipeline_get_parallel(const json_t *in, int64_t fallback);
/* At most `max` bytes of UTF-8 text, not cut inside a character. */
struct str pipeline_text_cut(struct str text, size_t max);
/* The caller as a UserContext's JSON text. */
const char *pipeline_caller(struct call *c);
/* Sets obj[key] from JSON text (NULL: nothing). */
void pipeline_set_parsed(json_t *obj, const char *key, const char *text);

/* ---- idempotency (pipeline_token.c) ---- */
/* Has this token been used for `operation`? 1: *out is the stored answer (owned). 0: no. < 0: used with another request
 * (or a fault). */
int pipeline_token_find(struct turn *t, const char *operation, const json_t *in, json_t **out, struct error *err);
/* Remembers the answer (borrowed) for a day. A request without a token is not remembered. */
int pipeline_token_save(struct turn *t, const char *operation, const json_t *in, const json_t *answer,
			struct error *err);

/* ---- paging (pipeline_page.c) ---- */
struct page {
	int64_t limit; /* rows wanted */
	bool ascending;
	bool started; /* a token was given: continue after (number, text) */
	int64_t number;
	const char *text;
	char kind; /* which list the token is of */
};
/* Reads MaxResults, SortOrder (default descending) and NextToken. `kind` ties a token to its list and sort. < 0: a bad
 * token. */
int pipeline_page_read(struct arena *a, const json_t *in, char kind, struct page *out, struct error *err);
/* Sets NextToken to continue after (number, text). */
void pipeline_page_next(const struct page *p, struct arena *a, json_t *out, int64_t number, const char *text);

/* ---- operations ---- */
void pipeline_create(struct call *c, json_t *in);
void pipeline_update(struct call *c, json_t *in);
int pipeline_delete(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int pipeline_update_version(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int pipeline_describe(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int pipeline_list(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int pipeline_list_versions(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int pipeline_describe_definition(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int pipeline_start(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int pipeline_stop(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int pipeline_retry(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int pipeline_update_execution(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int pipeline_describe_execution(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int pipeline_list_executions(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int pipeline_list_steps(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int pipeline_list_parameters(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);

#endif
