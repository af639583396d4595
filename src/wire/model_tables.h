/* model_tables.h - the layout of the generated service tables. Inside the wire room's model and codec files only.
 *
 * DESIGN: tools/models.py turns botocore's service models into constant arrays of integers and one pool of NUL-ended
 * strings a service (src/wire/models_*.c). Rows refer to strings by their offset in the pool and to other rows by
 * index, so the tables need no relocation, are shared between processes and cost memory only for the pages that are
 * used. Shapes and operations are sorted by name (binary search); members keep the order of the model. */
#ifndef QUERN_WIRE_MODEL_TABLES_H
#define QUERN_WIRE_MODEL_TABLES_H

#include "wire/model.h"

enum model_type {
	MT_STRUCTURE,
	MT_LIST,
	MT_MAP,
	MT_STRING,
	MT_INTEGER,
	MT_LONG,
	MT_FLOAT,
	MT_DOUBLE,
	MT_BOOLEAN,
	MT_TIMESTAMP,
	MT_BLOB,
};

enum { /* model_shape.flags */
       MS_SENSITIVE = 1,
       MS_STREAMING = 2,
       MS_DOCUMENT = 4,
       MS_UNION = 8,
       MS_EVENTSTREAM = 16,
       MS_PAYLOAD = 32, /* a member of the structure is the whole body */
       MS_NO_MAX = 64,  /* the limit row has only a minimum */
       MS_NO_MIN = 128, /* the limit row has only a maximum */
};

enum model_location {
	ML_BODY,
	ML_HEADER,
	ML_HEADERS, /* a map, `wire` is the prefix of the names */
	ML_URI,
	ML_QUERY,
	ML_STATUS,
	ML_PAYLOAD,
};

enum { /* model_member.flags */
       MM_REQUIRED = 1,
       MM_FLATTENED = 2,
       MM_JSONVALUE = 4,
       MM_IDEMPOTENCY = 8,
       MM_ATTRIBUTE = 16, /* an XML attribute */
       MM_TIME_ISO = 32,
       MM_TIME_UNIX = 64,
       MM_TIME_HTTP = 96,
       MM_TIME_MASK = 96,
};

/* count, first: a structure's members; a list's element (1 row) and a map's key and value (2 rows) are member rows too;
 * a string's enum values are rows of `enums`. */
struct model_shape {
	uint32_t name, first, pattern;
	uint16_t count, limit; /* limit: row of limits + 1, 0 none */
	uint8_t type, flags;
	uint16_t error; /* row of errors + 1, 0 not an error */
};
struct model_member {
	uint32_t name, wire; /* wire: locationName, 0 = as name */
	uint16_t shape;
	uint8_t location, flags;
};
/* Of a string: characters; list, map: elements; blob: bytes; integer: its value; float and double: millionths. */
struct model_limit {
	int64_t min, max;
};
struct model_fault {
	uint32_t code;   /* the query code ("NoSuchEntity"), 0 = the shape's name */
	uint16_t status; /* 0 unsaid */
	uint16_t server; /* 1: the server's fault */
};
struct model_op {
	uint32_t name, method, uri, host_prefix, result_wrapper, input_name;
	uint16_t service, input, output, status; /* input, output: shape + 1, 0 none; service: index for model_at */
	uint16_t first_error, error_count;       /* rows of op_errors: shapes */
};
struct model_service {
	const char *pool;
	const struct model_shape *shapes;
	const struct model_member *members;
	const uint32_t *enums;
	const struct model_limit *limits;
	const struct model_fault *faults;
	const struct model_op *ops;
	const uint16_t *op_errors;
	uint32_t shape_count, op_count;
	uint32_t name, protocol, target_prefix, json_version, endpoint_prefix, signing_name, xml_namespace, api_version;
	uint32_t service_id, query_compatible; /* 1: clients want x-amzn-query-error */
};

extern const struct model_service *const model_services[]; /* ends with NULL; models_index.c */

/* Any string of the pool. */
static inline const char *model_text(const struct model_service *s, uint32_t offset)
{
	return s->pool + offset;
}
static inline const char *model_member_wire(const struct model_service *s, const struct model_member *m)
{
	return model_text(s, m->wire ? m->wire : m->name);
}
static inline const struct model_shape *model_member_shape(const struct model_service *s, const struct model_member *m)
{
	return &s->shapes[m->shape];
}
static inline const struct model_member *model_shape_members(const struct model_service *s,
							     const struct model_shape *sh)
{
	return &s->members[sh->first];
}
/* NULL when the operation has none. */
static inline const struct model_shape *model_op_input(const struct model_service *s, const struct model_op *op)
{
	return op->input ? &s->shapes[op->input - 1] : NULL;
}
static inline const struct model_shape *model_op_output(const struct model_service *s, const struct model_op *op)
{
	return op->output ? &s->shapes[op->output - 1] : NULL;
}

#endif
