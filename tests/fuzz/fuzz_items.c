/* fuzz_items.c - the items of CSV, JSON Lines and JSON objects that anybody may have written. Whatever the bytes: no
 * more than they hold is read, and passing over items finds as many as reading them does. The first byte chooses the
 * format, for JSON the text before the first line feed is the pointer. */
#include <stdlib.h>

#include "states/items.h"

struct source {
	struct bytes b;
	struct csv csv;
	struct json_doc doc;
	struct buf line;
	struct arena a;
	int format; /* 0 CSV, 1 CSV with headers given, 2 JSON Lines, 3 JSON */
};

static int open_source(struct source *s, const uint8_t *data, size_t size, struct error *err)
{
	struct str text = str_of(data + 1, size - 1), pointer = STR_NULL;
	*s = (struct source){ .format = data[0] & 3 };
	if (s->format == 3 && !str_split(&text, '\n', &pointer))
		return -1;
	if (!text.ptr)
		return -1;
	s->b = (struct bytes){
		.body = { .fd = -1, .bytes = mem_strndup(text.ptr, text.len), .size_bytes = (int64_t)text.len },
		.buf = mem_alloc(256 << 10)
	};
	if (s->format == 3)
		return json_doc_open(&s->doc, &s->b, &s->a, arena_strdup(&s->a, pointer), err);
	if (s->format == 2)
		return 0;
	CLEANUP_JSON json_t *config =
		s->format ? json_pack("{s:s,s:[s,s]}", "CSVHeaderLocation", "GIVEN", "CSVHeaders", "a", "b")
			  : json_pack("{s:s}", "CSVDelimiter", "PIPE");
	return csv_open(&s->csv, &s->b, config, err);
}

static int next(struct source *s, json_t **item, struct error *err)
{
	return s->format < 2    ? csv_next(&s->csv, &s->b, item, err)
	       : s->format == 2 ? jsonl_next(&s->b, &s->line, &s->a, item, err)
				: json_doc_next(&s->doc, &s->b, &s->a, item, err);
}

static void close_source(struct source *s)
{
	bytes_close(&s->b);
	csv_close(&s->csv);
	buf_release(&s->doc.text);
	buf_release(&s->line);
	arena_release(&s->a);
}

/* How many items, -1 after a fault. */
static long count(const uint8_t *data, size_t size, bool skip)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct source *s = mem_calloc(1, sizeof(*s));
	long n = 0;
	int rc = open_source(s, data, size, &err);
	for (rc = rc < 0 ? -1 : 1; rc > 0;) {
		json_t *item = NULL;
		rc = next(s, skip ? NULL : &item, &err);
		if (rc > 0 && !skip && !item)
			abort();
		n += rc > 0;
		json_decref(item);
	}
	close_source(s);
	free(s);
	return rc < 0 ? -1 : n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	long read = count(data, size, false), passed = count(data, size, true);
	if (read >= 0 && passed != read)
		abort();
	return 0;
}
