/* codec.h - what the codec_*.c files share. Inside the wire room.
 *
 * DESIGN: each protocol file turns a request into the normal form of `in` and the normal form of `out` into a
 * response, walking the shapes of the model. The normal form does not depend on the protocol: structures and maps are
 * JSON objects, timestamps are epoch seconds (integer, or real with a fraction), blobs are base64 text, absent and null
 * are absent. Members that the model does not know are dropped in both directions. Depth is limited by CODEC_MAX_DEPTH.
 */
#ifndef QUERN_WIRE_CODEC_H
#define QUERN_WIRE_CODEC_H

#include "base/buf.h"
#include "wire/model_tables.h"

enum { CODEC_MAX_DEPTH = 100 };

struct codec {
	struct arena *arena;
	const struct model_service *s;
	struct error *err;
};

int codec_depth_error(struct error *err);
struct str codec_header(const struct codec_request *rq, const char *name); /* STR_NULL when absent */
void codec_add_header(struct arena *a, struct codec_response *rs, const char *name, struct str value);
/* The bytes of b become the body, owned by the arena; b is empty after. */
void codec_set_body(struct arena *a, struct codec_response *rs, struct buf *b);
/* Member of a structure by its name or by its name on the wire; NULL when unknown. */
const struct model_shape *model_shape_find(const struct model_service *s, struct str name);
const struct model_member *codec_member(const struct model_service *s, const struct model_shape *sh, struct str name);
const struct model_member *codec_member_wire(const struct model_service *s, const struct model_shape *sh,
					     struct str wire);

/* ---- patterns (validate_pattern.c); `pattern` is a string of a pool, its address is the key of the cache ---- */
bool model_pattern_known(const char *pattern);                    /* PCRE2 understands it */
bool model_pattern_matches(const char *pattern, struct str text); /* the whole text */

/* ---- scalars as text: query arguments, headers, URI parts, XML ---- */
/* Owned JSON of a scalar shape, NULL with err (SerializationException; MalformedInput for query and rest-xml). `name`
 * for the message. */
json_t *codec_from_text(struct codec *c, const struct model_shape *sh, const char *name, struct str text);
/* Appends the scalar. `time_default`: the protocol's MM_TIME_... for timestamps. < 0 with err when it is no value of
 * the shape. */
int codec_to_text(struct codec *c, const struct model_shape *sh, unsigned member_flags, unsigned time_default,
		  const json_t *value, struct buf *out);
/* Epoch milliseconds of a normal-form timestamp; false when it is none. */
bool codec_time_ms(const json_t *value, int64_t *ms);
json_t *codec_time_new(int64_t ms); /* owned */
/* The shortest text that reads back as d. */
void codec_add_double(struct buf *b, double d);

/* ---- json ---- */
/* Brings parsed JSON to the normal form in place; *slot may be replaced. */
int codec_json_in(struct codec *c, const struct model_shape *sh, json_t **slot, int depth);
int codec_json_out(struct codec *c, const struct model_shape *sh, unsigned member_flags, const json_t *value,
		   struct buf *b, int depth);
int codec_json_decode(struct codec *c, const struct codec_request *rq, const struct model_op **op, json_t **in);
int codec_json_encode(struct codec *c, const struct model_op *op, const json_t *out, struct codec_response *rs);
/* The object of an input without body members: parses text (empty = {}); owned. */
int codec_json_body(struct codec *c, struct str text, json_t **out);
void codec_json_error(struct arena *a, const struct model_service *s, const struct model_shape *sh, const char *code,
		      const char *message, struct codec_response *rs);

/* ---- query ---- */
int codec_query_decode(struct codec *c, const struct codec_request *rq, const struct model_op **op, json_t **in);
int codec_query_encode(struct codec *c, const struct model_op *op, const json_t *out, const char *request_id,
		       struct codec_response *rs);
void codec_query_error(struct arena *a, const struct model_service *s, const char *code, const char *message,
		       bool server, const char *request_id, struct codec_response *rs);

/* ---- rest ---- */
int codec_rest_decode(struct codec *c, const struct codec_request *rq, const struct model_op **op, json_t **in);
int codec_rest_encode(struct codec *c, const struct model_op *op, const json_t *out, struct codec_response *rs);
/* The operation's template: path ("/{Bucket}/{Key+}") and what its query always has ("list-type=2"). */
void codec_rest_uri(const struct model_service *s, const struct model_op *op, struct str *path, struct str *query);
bool codec_rest_is_label(struct str segment, bool *greedy);
/* Members that are outside of the body, or the whole of it, into `in`. */
int codec_rest_member_in(struct codec *c, const struct codec_request *rq, const struct model_shape *sh,
			 const struct model_member *m, json_t *in);
int codec_rest_body_in(struct codec *c, const struct model_shape *sh, struct str body, json_t *in);
/* The client's side (codec_rest_client.c), rest-xml: the request for an operation with these members, all in the arena.
 * A body of bytes is the member's text itself, in both directions. Codes "SdkClientException", "InvalidArgument". */
int codec_rest_request(struct codec *c, const struct model_op *op, const json_t *in, struct codec_request *rq);
/* The members of a good answer, owned. */
int codec_rest_answer(struct codec *c, const struct model_op *op, const struct codec_response *rs, json_t **out);

/* ---- xml ---- */
/* Decodes a document into the structure `sh`; owned object in *out. Code MalformedXML. */
int codec_xml_in(struct codec *c, const struct model_shape *sh, struct str text, json_t **out);
/* Writes the members (not the element) of a structure that have location `body`. */
int codec_xml_members(struct codec *c, const struct model_shape *sh, const json_t *value, struct buf *b, int depth);
/* Writes one member's element, or elements when flattened. */
int codec_xml_value(struct codec *c, const struct model_member *m, const char *name, const json_t *value, struct buf *b,
		    int depth);
/* Code and text of an error document; STR_NULL what it does not have. */
int codec_xml_error_in(struct codec *c, struct str text, struct str *code, struct str *message);
void codec_xml_error(struct arena *a, const char *code, const char *message, const char *request_id,
		     struct codec_response *rs);

#endif
