/* items.h - what an ItemReader names, one item at a time. Inside the states room.
 *
 * DESIGN: nothing is ever whole in memory: an object is read in pieces (s3_reader), a gzip file is inflated as it is
 * read, a listing comes in pages. One item may be as large as ITEM_MAX. A reader is used by one thread at a time.
 * Formats: RFC 4180 with AWS's delimiters, RFC 8259, JSON Lines, S3 inventory ("Amazon S3 Inventory list" of the S3
 * user guide), manifests of Athena's UNLOAD. */
#ifndef QUERN_STATES_ITEMS_H
#define QUERN_STATES_ITEMS_H

#include <zlib.h>

#include "states/room.h"

enum { ITEM_MAX = 8 << 20, HEADER_MAX = 10240 };

struct items;
/* source: {"resource","params","config","most","role"} (role: who reads), {"text","config","most"} (what an object
 * would hold) or {"items": [...]}; borrowed for the reader's life. *out owned. err: what the Map state's fault says.
 * Not from the core thread. */
int items_open(struct states *s, const json_t *source, struct items **out, struct error *err);
/* 1 an item (owned), 0 no more, < 0. */
int items_next(struct items *r, json_t **item, struct error *err);
/* The same without an item. */
int items_skip(struct items *r, struct error *err);
void items_close(struct items *r); /* NULL is accepted */

/* ---- bytes of an object (items_bytes.c) ---- */
struct bytes {
	struct s3_reader body;
	int64_t at; /* in the body */
	char *buf;
	size_t pos, len;
	z_stream *z; /* NULL: not compressed */
	unsigned char *zbuf;
	bool end, z_done;
	struct error fault;
};
/* `gzip`: inflates when the body is a gzip file. A UTF-8 byte order mark is left out. */
int bytes_open(struct states *s, struct str bucket, struct str key, struct str version, bool gzip, struct bytes *out,
	       struct error *err);
/* The same of a text, which is copied. */
void bytes_of_text(struct bytes *b, struct str text);
void bytes_close(struct bytes *b);
/* More bytes into the empty buffer; false at the end, or after a fault (b->fault). */
bool bytes_fill(struct bytes *b);
/* The next byte, -1 at the end or after a fault. */
static inline int bytes_peek(struct bytes *b)
{
	return b->pos < b->len || bytes_fill(b) ? (unsigned char)b->buf[b->pos] : -1;
}
static inline int bytes_take(struct bytes *b)
{
	int c = bytes_peek(b);
	b->pos += c >= 0;
	return c;
}
/* < 0 with the fault of reading, if there was one; else 0. */
int bytes_check(struct bytes *b, struct error *err);

/* ---- rows and lines (items_text.c) ---- */
struct csv {
	char delimiter;
	json_t *headers; /* owned */
	size_t *order;   /* of the members of an item, malloc'ed */
	json_t **row;    /* a row's texts, by header; malloc'ed */
	struct buf field;
};
/* Takes the headers from the configuration or the first row. */
int csv_open(struct csv *c, struct bytes *b, const json_t *config, struct error *err);
/* As items_next; item NULL: the row is passed over. */
int csv_next(struct csv *c, struct bytes *b, json_t **item, struct error *err);
void csv_close(struct csv *c);
/* One line without its end, in *line. 1, 0 at the end, < 0. */
int line_next(struct bytes *b, struct buf *line, struct error *err);
/* As items_next. */
int jsonl_next(struct bytes *b, struct buf *line, struct arena *a, json_t **item, struct error *err);

/* ---- a JSON document (items_json.c) ---- */
enum { JSON_DEPTH = 1000 };
struct json_doc {
	char outer[JSON_DEPTH]; /* the containers around the one that is read */
	size_t nouter;
	char in; /* '[' or '{' */
	bool any, done;
	struct buf text;
};
/* Goes to the array or object at `pointer` ("/a/b", NULL: the document). */
int json_doc_open(struct json_doc *d, struct bytes *b, struct arena *a, const char *pointer, struct error *err);
/* As items_next; a member of an object is {"Key","Value"}. What follows the last one is checked too. */
int json_doc_next(struct json_doc *d, struct bytes *b, struct arena *a, json_t **item, struct error *err);

#endif
