/* api_search.c - FilterLogEvents.
 *
 * DESIGN: the streams of a group are merged by time: the order of all events is (time, stream name, offset), and a
 * token names the next event in it, so a search goes on exactly where it stopped, whatever was written meanwhile. A
 * stream's file is opened when the merge reaches its first event in the time range and closed behind its last. A call
 * looks at no more than SCAN_BYTES of text; then it answers what it found with a token, as AWS does. */
#include "logs/filter.h"
#include "logs/room.h"
#include "logs/text.h"

#include <stdlib.h>

#define PAGE_EVENTS 10000
#define PAGE_BYTES 1048576
#define EVENT_OVERHEAD_BYTES 26
#define SCAN_BYTES (256 * 1024 * 1024LL)

struct slot {
	int64_t at_ms, off;
};

struct cursor {
	struct log_stream stream;
	struct log_file file;
	bool opened, ended;
	int64_t at_ms, off, next; /* the record that comes next; before opening: no later than the file's first time */
	struct log_record record; /* borrows the file's window */
	struct slot *index;       /* a stream out of order: its records in range by time; owned */
	size_t nindex, index_cap, index_at;
};

struct search {
	struct logs *l;
	struct db *db;
	struct arena *arena;
	struct log_filter *filter;
	int64_t from_ms, until_ms, limit; /* [from, until] */
	struct cursor *cursors;
	size_t count, cap;
	int64_t scanned;
	size_t bytes;
	/* the token: the first event to look at */
	bool resume;
	int64_t token_ms, token_off;
	struct str token_stream;
	struct error *err;
	int rc;
};

static void cursor_end(struct cursor *c)
{
	c->ended = true;
	log_file_close(&c->file);
	free(c->index);
	c->index = NULL;
}

static int by_time(const void *x, const void *y)
{
	const struct slot *a = x, *b = y;
	if (a->at_ms != b->at_ms)
		return a->at_ms < b->at_ms ? -1 : 1;
	return a->off < b->off ? -1 : a->off > b->off;
}

/* Notes where the records in range are, by time. */
static int build_index(struct search *s, struct cursor *c)
{
	struct str line;
	struct log_record r;
	int64_t off = c->file.head, next;
	int rc;
	while ((rc = log_file_line(&c->file, off, &line, &next, s->err)) > 0) {
		if (log_record_parse(line, &r) && r.at_ms >= s->from_ms && r.at_ms <= s->until_ms) {
			if (c->nindex == c->index_cap) {
				c->index_cap = c->index_cap ? c->index_cap * 2 : 256;
				c->index = mem_realloc(c->index, c->index_cap * sizeof(*c->index));
			}
			c->index[c->nindex++] = (struct slot){ r.at_ms, off };
		}
		off = next;
	}
	if (c->nindex)
		qsort(c->index, c->nindex, sizeof(*c->index), by_time);
	return rc;
}

static int cursor_read_index(struct search *s, struct cursor *c)
{
	struct str line;
	if (!c->index || c->index_at == c->nindex) {
		cursor_end(c);
		return 0;
	}
	struct slot at = c->index[c->index_at++];
	int rc = log_file_line(&c->file, at.off, &line, &c->next, s->err);
	if (rc <= 0 || !log_record_parse(line, &c->record))
		return rc < 0 ? -1 : error_set(s->err, "read a log file: it changed meanwhile");
	s->scanned += c->next - at.off;
	c->at_ms = at.at_ms;
	c->off = at.off;
	return 0;
}

/* Moves to the next record in range; closes the file behind the last. */
static int cursor_read(struct search *s, struct cursor *c, int64_t off)
{
	struct str line;
	int rc;
	if (c->stream.unordered)
		return cursor_read_index(s, c);
	while ((rc = log_file_line(&c->file, off, &line, &c->next, s->err)) > 0) {
		s->scanned += c->next - off;
		if (log_record_parse(line, &c->record)) {
			if (c->record.at_ms > s->until_ms && c->record.at_ms - s->until_ms > LOG_SLOP_MS)
				break;
			if (c->record.at_ms >= s->from_ms && c->record.at_ms <= s->until_ms) {
				c->at_ms = c->record.at_ms;
				c->off = off;
				return 0;
			}
		}
		off = c->next;
	}
	if (rc < 0)
		return -1;
	cursor_end(c);
	return 0;
}

/* Whether the record at (at_ms, off) of this stream was given in an earlier page. */
static bool was_seen(const struct search *s, const struct cursor *c)
{
	if (!s->resume)
		return false;
	if (c->at_ms != s->token_ms)
		return c->at_ms < s->token_ms;
	int order = str_cmp(c->stream.name, s->token_stream);
	return order ? order < 0 : c->off < s->token_off;
}

static int cursor_open(struct search *s, struct cursor *c)
{
	int64_t off = 0;
	c->opened = true;
	if (logs_open(&c->stream, &c->file, s->err) < 0)
		return -1;
	off = c->file.head;
	int64_t from = s->resume && s->token_ms > s->from_ms ? s->token_ms : s->from_ms;
	if ((c->stream.unordered ? build_index(s, c) : log_file_seek(&c->file, from, &off, s->err)) < 0)
		return -1;
	do {
		if (cursor_read(s, c, off) < 0)
			return -1;
		off = c->next;
	} while (!c->ended && was_seen(s, c));
	return 0;
}

/* Notes a stream that may have events in the time range. */
static int add_cursor(void *ctx, const struct log_stream *stream)
{
	struct search *s = ctx;
	CLEANUP_LOG_FILE struct log_file f = LOG_FILE_INIT;
	int64_t first, last;
	int rc = logs_open(stream, &f, s->err);
	if (rc >= 0)
		rc = log_file_range(&f, &first, &last, s->err);
	if (rc <= 0) {
		s->rc = rc;
		return rc < 0;
	}
	int64_t from = s->resume && s->token_ms > s->from_ms ? s->token_ms : s->from_ms;
	if (!stream->unordered && (first > s->until_ms + LOG_SLOP_MS || last + LOG_SLOP_MS < from))
		return 0;
	if (s->count == s->cap) {
		struct cursor *more = ARENA_ARRAY(s->arena, struct cursor, s->cap ? s->cap * 2 : 16);
		if (s->count)
			memcpy(more, s->cursors, s->count * sizeof(*more));
		s->cursors = more;
		s->cap = s->cap ? s->cap * 2 : 16;
	}
	/* A stream out of order is opened at once: its first event in the file need not be its earliest. */
	s->cursors[s->count++] = (struct cursor){ .stream = *stream,
						  .file = LOG_FILE_INIT,
						  .at_ms = stream->unordered ? 0 : first - LOG_SLOP_MS };
	return 0;
}

static int find_streams(struct search *s, struct str group, json_t *in)
{
	json_t *names = json_get(in, "logStreamNames"), *name;
	size_t i;
	if (!names) {
		struct stream_range range = { .group = group,
					      .prefix = json_get_str(in, "logStreamNamePrefix"),
					      .limit = INT64_MAX };
		if (logs_each_stream(s->l, s->db, s->arena, &range, add_cursor, s, s->err) < 0)
			return -1;
		return s->rc;
	}
	json_array_foreach (names, i, name) {
		struct log_stream stream;
		if (logs_need_stream(s->l, s->db, s->arena, group, json_str(name), &stream, s->err) < 0)
			return -1;
		if (add_cursor(s, &stream))
			return -1;
	}
	return s->rc;
}

/* The cursor whose record comes next; files are opened as the merge reaches them. */
static int pick(struct search *s, struct cursor **out)
{
	for (;;) {
		struct cursor *best = NULL;
		for (size_t i = 0; i < s->count; i++) {
			struct cursor *c = &s->cursors[i];
			if (c->ended)
				continue;
			if (!best || c->at_ms < best->at_ms ||
			    (c->at_ms == best->at_ms && str_cmp(c->stream.name, best->stream.name) < 0))
				best = c;
		}
		*out = best;
		if (!best || best->opened)
			return 0;
		if (cursor_open(s, best) < 0)
			return -1;
	}
}

static json_t *found_json(struct arena *a, const struct cursor *c, size_t *size)
{
	json_t *e = json_object();
	json_object_set_new(e, "logStreamName", json_stringn(c->stream.name.ptr, c->stream.name.len));
	json_set_int(e, "timestamp", c->record.at_ms);
	json_object_set_new(e, "message", log_text_json(log_record_text(a, &c->record), size));
	json_set_int(e, "ingestionTime", c->record.ingested_ms);
	json_object_set_new(e, "eventId",
			    json_sprintf("%013lld%020llu%019lld", (long long)c->at_ms,
					 (unsigned long long)str_digest(c->stream.name), (long long)c->off));
	*size += EVENT_OVERHEAD_BYTES;
	return e;
}

/* False: the page is full and the record stays for the next one. */
static bool take(struct search *s, struct cursor *c, json_t *events)
{
	struct arena scratch = ARENA_INIT;
	bool fits = true;
	if (log_filter_matches(s->filter, log_record_text(&scratch, &c->record))) {
		size_t size;
		json_t *e = found_json(&scratch, c, &size);
		fits = json_array_size(events) == 0 || s->bytes + size <= PAGE_BYTES;
		if (fits) {
			s->bytes += size;
			json_array_append_new(events, e);
		} else {
			json_decref(e);
		}
	}
	arena_release(&scratch);
	return fits;
}

static int run(struct search *s, json_t *events, json_t **token)
{
	struct cursor *c;
	for (bool began = false; pick(s, &c) == 0; began = true) {
		if (!c)
			return 0;
		if ((int64_t)json_array_size(events) >= s->limit || (began && s->scanned > SCAN_BYTES) ||
		    !take(s, c, events)) {
			*token = json_sprintf("%lld/%lld/%.*s", (long long)c->at_ms, (long long)c->off,
					      STR_ARG(c->stream.name));
			return 0;
		}
		if (cursor_read(s, c, c->next) < 0)
			return -1;
	}
	return -1;
}

static int parse_token(struct search *s, struct str text)
{
	struct str ms, off;
	if (!text.ptr)
		return 0;
	s->resume = true;
	s->token_stream = text;
	if (str_split(&s->token_stream, '/', &ms) && str_to_i64(ms, &s->token_ms) &&
	    str_split(&s->token_stream, '/', &off) && str_to_i64(off, &s->token_off) && s->token_stream.ptr)
		return 0;
	return error_aws(s->err, "InvalidParameterException", "The specified nextToken is invalid.");
}

static int prepare(struct search *s, struct str group, json_t *in)
{
	struct log_group g;
	if (logs_need_group(s->db, s->arena, group, &g, s->err) < 0)
		return -1;
	if (json_get(in, "logStreamNames") && json_get(in, "logStreamNamePrefix"))
		return error_aws(s->err, "InvalidParameterException",
				 "logStreamNames and logStreamNamePrefix cannot be given together.");
	s->from_ms = json_get_int(in, "startTime", 0);
	s->until_ms = json_get_int(in, "endTime", INT64_MAX - 2 * LOG_SLOP_MS);
	s->limit = json_get_int(in, "limit", PAGE_EVENTS);
	if (s->from_ms > s->until_ms)
		return error_aws(s->err, "InvalidParameterException", "endTime must not be before startTime.");
	int64_t cutoff = logs_cutoff(&g, engine_now_ms(s->l->engine));
	if (s->from_ms < cutoff)
		s->from_ms = cutoff;
	s->filter = log_filter_new(s->arena, json_get_str(in, "filterPattern"), s->err);
	return s->filter ? parse_token(s, json_get_str(in, "nextToken")) : -1;
}

int logs_op_filter_events(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct search s = { .l = c->service_ctx, .db = db, .arena = c->arena, .err = err };
	struct str group;
	json_t *token = NULL;
	CLEANUP_JSON json_t *events = json_array();
	if (logs_request_group(in, &group, err) < 0 || prepare(&s, group, in) < 0 || find_streams(&s, group, in) < 0)
		return -1;
	int rc = run(&s, events, &token);
	for (size_t i = 0; i < s.count; i++)
		cursor_end(&s.cursors[i]);
	if (rc < 0)
		return -1;
	*out = json_object();
	json_object_set(*out, "events", events);
	json_object_set_new(*out, "searchedLogStreams", json_array());
	if (token)
		json_object_set_new(*out, "nextToken", token);
	return 0;
}
