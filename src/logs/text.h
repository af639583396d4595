/* text.h - log text as JSON. Inside the logs room. */
#ifndef QUERN_LOGS_TEXT_H
#define QUERN_LOGS_TEXT_H

#include "base/buf.h"
#include "base/json.h"

/* A JSON string of any bytes: what is no UTF-8 becomes U+FFFD. Owned. *size_bytes is its length in UTF-8. */
json_t *log_text_json(struct str text, size_t *size_bytes);

/* Appends the same string, quoted, to a JSON text. */
void log_text_add(struct buf *b, struct str text, size_t *size_bytes);

#endif
