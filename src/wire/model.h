/* model.h - the AWS service models, as tables generated from botocore by tools/models.py (committed as
 * src/wire/models_*.c). Inside the wire room, and for `quern api`. */
#ifndef QUERN_WIRE_MODEL_H
#define QUERN_WIRE_MODEL_H

#include <jansson.h>
#include "base/arena.h"
#include "base/error.h"

enum model_protocol { MODEL_JSON, MODEL_REST_JSON, MODEL_QUERY, MODEL_REST_XML };
struct model_service; /* opaque: tables */
struct model_op;

const struct model_service *model_find(const char *name); /* "sagemaker", "stepfunctions" ...; NULL when unknown */
size_t model_count(void);
const struct model_service *model_at(size_t i);
const char *model_name(const struct model_service *s);
enum model_protocol model_protocol_of(const struct model_service *s);
const char *model_target_prefix(const struct model_service *s); /* "SageMaker"; "" when none */
size_t model_op_count(const struct model_service *s);
const struct model_op *model_op_at(const struct model_service *s, size_t i);
const char *model_op_name(const struct model_op *op);
const struct model_op *model_op_find(const struct model_service *s, struct str name);

/* Name of shape `i` of an operation: its input and output ("CreatePipelineRequest"), "" when it has none. */
const char *model_op_input_name(const struct model_op *op);
const char *model_op_output_name(const struct model_op *op);
const char *
model_signing_name(const struct model_service *s); /* credential-scope service: "states" for stepfunctions */
/* The name of the error shape of the service's model that `code` ("NoSuchEntity") stands for, or NULL. *status (may be
 * NULL) is the shape's HTTP status, untouched when it has none. */
const char *model_error_shape(const struct model_service *s, const char *code, int *status);

/* ---- one call over a protocol ---- */
struct codec_pair {
	struct str name, value;
};
struct codec_request {
	struct str method, path; /* path percent-encoded, without query */
	const struct codec_pair *query;
	size_t nquery; /* decoded */
	const struct codec_pair *headers;
	size_t nheaders;
	struct str body;
};
struct codec_response {
	int status;
	const char *content_type;
	struct codec_pair *headers;
	size_t nheaders; /* in the arena; without Content-Type */
	struct str body; /* in the arena */
};
/* Some services speak two protocols: the service as this request speaks it (cloudwatch: "cloudwatch-query" for a form
 * body). Use the answer for decode, encode and error of that call. Mostly `s` itself. */
const struct model_service *model_variant(const struct model_service *s, const struct codec_request *rq);
/* Finds the operation and decodes the input (owned json in *in). Unknown operation: code "UnknownOperationException"
 * (json), "InvalidAction" (query) ... Malformed body: "SerializationException". Depth-limited. */
int codec_decode(struct arena *a, const struct model_service *s, const struct codec_request *rq,
		 const struct model_op **op, json_t **in, struct error *err);
/* Validates against the model with the texts of the AWS front ends ("1 validation error detected: Value '...' at
 * 'pipelineName' failed to satisfy constraint: ..."). */
int model_validate(struct arena *a, const struct model_service *s, const struct model_op *op, json_t *in,
		   struct error *err);
/* Validates a value against a named shape of the service (a pipeline step's Arguments against
 * "CreateTrainingJobRequest"). `skip` lists members not required (NULL-ended, may be NULL). */
int model_validate_shape(struct arena *a, const struct model_service *s, const char *shape, json_t *value,
			 const char *const *skip, struct error *err);
/* `out` borrowed, may be NULL. */
int codec_encode(struct arena *a, const struct model_service *s, const struct model_op *op, const json_t *out,
		 const char *request_id, struct codec_response *rs, struct error *err);
/* The answer of a JSON service whose body is written already (struct call, out_text). */
void codec_ready(struct arena *a, const struct model_service *s, struct str text, struct codec_response *rs);
void codec_error(struct arena *a, const struct model_service *s, const struct error *e, const char *request_id,
		 struct codec_response *rs);

#endif
