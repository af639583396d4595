/* form.h - multipart/form-data, taken apart while it streams.
 *
 * DESIGN: knows nothing of S3. Small fields are collected and handed over whole; the content of the field `file` is
 * handed over in pieces. Bounded: MAX_FIELDS fields, FIELD_BYTES in all. Pieces cut anywhere give the same calls. */
#ifndef QUERN_S3_FORM_H
#define QUERN_S3_FORM_H

#include "base/buf.h"
#include "base/error.h"

enum { FORM_MAX_FIELDS = 200, FORM_FIELD_BYTES = 256 << 10, FORM_HEADER_BYTES = 16 << 10 };

struct form_events {
	/* < 0 with err stops the parser. Strings are borrowed for the call. */
	int (*field)(void *ctx, struct str name, struct str value, struct error *err);
	int (*file_start)(void *ctx, struct str filename, struct str content_type, struct error *err);
	int (*file_data)(void *ctx, const void *p, size_t n, struct error *err);
	void *ctx;
};

enum form_state { FORM_DELIMITER, FORM_AFTER_DELIMITER, FORM_HEADERS, FORM_FIELD, FORM_FILE, FORM_END };

struct form_parser {
	struct form_events events;
	enum form_state state;
	struct buf pending;   /* bytes not decided yet */
	struct buf delimiter; /* "\r\n--boundary" */
	struct buf name, filename, type;
	int fields;
	size_t bytes; /* of fields */
	bool had_file;
};

/* Reads the boundary out of the Content-Type. err MalformedPOSTRequest. */
int form_init(struct form_parser *p, struct str content_type, const struct form_events *events, struct error *err);
int form_feed(struct form_parser *p, const void *data, size_t n, struct error *err);
/* After the last byte: < 0 when the closing boundary did not come. */
int form_end(struct form_parser *p, struct error *err);
void form_release(struct form_parser *p);

#endif
