/* items_text.c - CSV rows and JSON Lines. See items.h.
 *
 * DESIGN: RFC 4180 with AWS's delimiters. A row of only delimiters is an item of empty texts, an empty line is none; a
 * short row is filled with empty texts and what is beyond the headers is left out (as recorded on AWS). The members of
 * an item come in the order of a Java HashMap, as the service's do (recorded cases; the example of the developer
 * guide). */
#include "states/items.h"

#include <stdlib.h>

static char delimiter_of(const json_t *config)
{
	const char *d = json_get_text(config, "CSVDelimiter");
	if (!d || strcmp(d, "COMMA") == 0)
		return ',';
	return strcmp(d, "PIPE") == 0        ? '|'
	       : strcmp(d, "SEMICOLON") == 0 ? ';'
	       : strcmp(d, "SPACE") == 0     ? ' '
	       : strcmp(d, "TAB") == 0       ? '\t'
					     : ',';
}

/* One field into c->field. 1: another follows, 0: the row has ended, < 0. *used counts the row's bytes. */
static int csv_field(struct csv *c, struct bytes *b, size_t *used, size_t most, struct error *err)
{
	buf_clear(&c->field);
	bool quoted = bytes_peek(b) == '"';
	b->pos += quoted;
	for (;; (*used)++) {
		int ch = bytes_take(b);
		if (ch < 0 && bytes_check(b, err) < 0)
			return -1;
		if (ch < 0 && quoted)
			return error_set(err, "Invalid CSV file: a quoted field has no end.");
		if (*used >= most)
			return error_set(err, most == HEADER_MAX ? "CSV headers cannot be longer than 10 KiB."
								 : "Invalid CSV file: a row is longer than 8 MiB.");
		if (quoted && ch == '"') {
			if (bytes_peek(b) != '"') {
				quoted = false;
				continue;
			}
			b->pos++;
		} else if (!quoted && (ch == c->delimiter || ch == '\n' || ch < 0)) {
			if (ch != c->delimiter && c->field.len && c->field.ptr[c->field.len - 1] == '\r')
				c->field.len--;
			return ch == c->delimiter;
		}
		buf_add_char(&c->field, (char)ch);
	}
}

static json_t *csv_text(struct csv *c, struct error *err)
{
	json_t *text = json_stringn(buf_str(&c->field).ptr, c->field.len);
	if (!text)
		error_set(err, "Invalid CSV file: it is not UTF-8.");
	return text;
}

static bool duplicates(const json_t *headers)
{
	CLEANUP_JSON json_t *seen = json_object();
	for (size_t i = 0; i < json_array_size(headers); i++)
		json_object_set_new(seen, json_string_value(json_array_get(headers, i)), json_true());
	return json_object_size(seen) < json_array_size(headers);
}

/* String.hashCode of UTF-8 text, spread as HashMap does. */
static uint32_t java_hash(struct str s)
{
	uint32_t h = 0;
	for (size_t i = 0; i < s.len;) {
		unsigned char c = (unsigned char)s.ptr[i];
		size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
		uint32_t code = n == 1 ? c : c & (0x7fU >> n);
		for (size_t k = 1; k < n && i + k < s.len; k++)
			code = code << 6 | ((unsigned char)s.ptr[i + k] & 0x3f);
		if (code >= 0x10000) {
			h = 31 * h + (0xd7c0 + (code >> 10));
			code = 0xdc00 + (code & 0x3ff);
		}
		h = 31 * h + code;
		i += n;
	}
	return h ^ h >> 16;
}

static void order_headers(struct csv *c)
{
	size_t n = json_array_size(c->headers), table = 16, at = 0;
	while (n * 4 > table * 3)
		table *= 2;
	c->order = mem_calloc(n + 1, sizeof(*c->order));
	c->row = mem_calloc(n + 1, sizeof(json_t *));
	CLEANUP_FREE uint32_t *hashes = mem_calloc(n + 1, sizeof(*hashes));
	for (size_t i = 0; i < n; i++)
		hashes[i] = java_hash(json_str(json_array_get(c->headers, i))) & (uint32_t)(table - 1);
	for (uint32_t bucket = 0; bucket < table && at < n; bucket++)
		for (size_t i = 0; i < n; i++)
			if (hashes[i] == bucket)
				c->order[at++] = i;
}

int csv_open(struct csv *c, struct bytes *b, const json_t *config, struct error *err)
{
	const char *location = json_get_text(config, "CSVHeaderLocation");
	bool given = location && strcmp(location, "GIVEN") == 0;
	*c = (struct csv){ .delimiter = delimiter_of(config) };
	size_t used = 0;
	int more = 1;
	if (given)
		c->headers = json_incref(json_object_get(config, "CSVHeaders"));
	else
		c->headers = json_array();
	if (!given && bytes_peek(b) >= 0)
		while (more > 0) {
			more = csv_field(c, b, &used, HEADER_MAX, err);
			json_t *name = more < 0 ? NULL : csv_text(c, err);
			if (!name)
				return -1;
			json_array_append_new(c->headers, name);
		}
	if (bytes_check(b, err) < 0)
		return -1;
	if (duplicates(c->headers))
		return error_set(err, "CSV headers cannot contain duplicates.");
	order_headers(c);
	return 0;
}

/* One row into c->row. How many fields it has (c->field is the last one), or < 0. */
static ptrdiff_t csv_row(struct csv *c, struct bytes *b, bool wanted, struct error *err)
{
	size_t n = json_array_size(c->headers), used = 0;
	ptrdiff_t column = 0;
	for (int more = 1; more > 0; column++) {
		more = csv_field(c, b, &used, ITEM_MAX, err);
		json_t *text = more < 0 ? NULL : wanted && (size_t)column < n ? csv_text(c, err) : json_null();
		if (!text)
			return -1;
		if ((size_t)column < n) {
			json_decref(c->row[column]);
			c->row[column] = text;
		}
	}
	return column;
}

int csv_next(struct csv *c, struct bytes *b, json_t **item, struct error *err)
{
	size_t n = json_array_size(c->headers);
	while (bytes_peek(b) >= 0) {
		ptrdiff_t count = csv_row(c, b, item != NULL, err);
		if (count < 0)
			return -1;
		if (count == 1 && !c->field.len)
			continue;
		if (!item)
			return 1;
		*item = json_object();
		for (size_t i = 0; i < n; i++) {
			size_t at = c->order[i];
			json_object_set_new_nocheck(*item, json_string_value(json_array_get(c->headers, at)),
						    (ptrdiff_t)at < count ? json_incref(c->row[at]) : json_string(""));
		}
		return 1;
	}
	return bytes_check(b, err);
}

void csv_close(struct csv *c)
{
	for (size_t i = 0; c->row && i < json_array_size(c->headers); i++)
		json_decref(c->row[i]);
	free(c->row);
	free(c->order);
	json_decref(c->headers);
	buf_release(&c->field);
	*c = (struct csv){ 0 };
}

/* ---- lines ---- */

int line_next(struct bytes *b, struct buf *line, struct error *err)
{
	buf_clear(line);
	if (bytes_peek(b) < 0)
		return bytes_check(b, err);
	while (b->pos < b->len || bytes_fill(b)) {
		const char *from = b->buf + b->pos, *end = memchr(from, '\n', b->len - b->pos);
		size_t n = end ? (size_t)(end - from) : b->len - b->pos;
		if (line->len + n > ITEM_MAX)
			return error_set(err, "A line is longer than 8 MiB.");
		buf_add(line, from, n);
		b->pos += n + (end != NULL);
		if (end)
			break;
	}
	return bytes_check(b, err) < 0 ? -1 : 1;
}

int jsonl_next(struct bytes *b, struct buf *line, struct arena *a, json_t **item, struct error *err)
{
	int rc;
	while ((rc = line_next(b, line, err)) > 0) {
		struct str text = str_trim(buf_str(line));
		if (!text.len)
			continue;
		if (!item)
			return 1;
		*item = asl_read_json(a, text, false, NULL);
		return *item ? 1 : error_set(err, "Invalid JSON Lines file: a line is not valid JSON.");
	}
	return rc;
}
