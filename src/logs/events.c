/* events.c - GetLogEvents.
 *
 * DESIGN: a token is "f/<offset>" (go on forwards from here) or "b/<offset>" (backwards from here) in the stream's
 * file, the offset of a record's start; at an end the same token comes back, which is how clients know. A page holds at
 * most `limit` events and 1 MiB. Only a window of the file is in memory. */
#include "logs/room.h"
#include "logs/text.h"

#define PAGE_EVENTS 10000
#define PAGE_BYTES 1048576
#define EVENT_OVERHEAD_BYTES 26

struct page {
	struct log_file *file;
	const struct log_stream *stream;
	struct arena *arena;
	int64_t from_ms, until_ms; /* [from, until) */
	int64_t limit;
	size_t bytes;
	json_t *events;
};

static bool full(const struct page *p)
{
	return (int64_t)json_array_size(p->events) >= p->limit;
}

static json_t *event_json(struct arena *a, const struct log_record *r, size_t *size)
{
	json_t *e = json_object();
	json_set_int(e, "timestamp", r->at_ms);
	json_object_set_new(e, "message", log_text_json(log_record_text(a, r), size));
	json_set_int(e, "ingestionTime", r->ingested_ms);
	*size += EVENT_OVERHEAD_BYTES;
	return e;
}

/* Adds the event unless the page would be too large. False: it is full. */
static bool page_add(struct page *p, const struct log_record *r)
{
	struct arena scratch = ARENA_INIT;
	size_t size;
	json_t *e = event_json(&scratch, r, &size);
	arena_release(&scratch);
	if (json_array_size(p->events) && p->bytes + size > PAGE_BYTES) {
		json_decref(e);
		return false;
	}
	p->bytes += size;
	json_array_append_new(p->events, e);
	return true;
}

/* Reads on from `off`. *next: where the following page starts. */
static int read_forward(struct page *p, int64_t off, int64_t *next, struct error *err)
{
	struct str line;
	struct log_record r;
	int64_t behind;
	int rc;
	while (!full(p) && (rc = log_file_line(p->file, off, &line, &behind, err)) != 0) {
		if (rc < 0)
			return -1;
		if (log_record_parse(line, &r)) {
			if (!p->stream->unordered && r.at_ms >= p->until_ms && r.at_ms - p->until_ms > LOG_SLOP_MS)
				break;
			if (r.at_ms >= p->from_ms && r.at_ms < p->until_ms && !page_add(p, &r))
				break;
		}
		off = behind;
	}
	*next = off;
	return 0;
}

static void reverse(json_t *list)
{
	for (size_t i = 0, j = json_array_size(list); i + 1 < j; i++) {
		j--;
		json_t *a = json_incref(json_array_get(list, i)), *b = json_incref(json_array_get(list, j));
		json_array_set_new(list, i, b);
		json_array_set_new(list, j, a);
	}
}

/* Reads back from `off`. *prev: the start of the earliest record taken (or looked at), where the page before this one
 * ends. */
static int read_backward(struct page *p, int64_t off, int64_t *prev, struct error *err)
{
	struct str line;
	struct log_record r;
	int64_t start, behind;
	int rc;
	while (!full(p) && (rc = log_file_prev(p->file, off, &start, err)) != 0) {
		if (rc < 0 || (rc = log_file_line(p->file, start, &line, &behind, err)) < 0)
			return -1;
		if (rc > 0 && log_record_parse(line, &r)) {
			if (!p->stream->unordered && r.at_ms < p->from_ms && p->from_ms - r.at_ms > LOG_SLOP_MS)
				break;
			if (r.at_ms >= p->from_ms && r.at_ms < p->until_ms && !page_add(p, &r))
				break;
		}
		off = start;
	}
	*prev = off;
	reverse(p->events);
	return 0;
}

struct token {
	bool given, backward;
	int64_t offset;
};

static int parse_token(struct page *p, struct str text, struct token *out, struct error *err)
{
	*out = (struct token){ 0 };
	if (!text.ptr)
		return 0;
	int64_t offset = 0;
	bool good = text.len > 2 && text.ptr[1] == '/' && (text.ptr[0] == 'f' || text.ptr[0] == 'b') &&
		    str_to_i64(str_skip(text, 2), &offset);
	if (good) {
		/* Records before the head have expired since the token was given. */
		int rc = offset < p->file->head ? 1 : log_file_is_start(p->file, offset, err);
		if (rc < 0)
			return -1;
		good = rc > 0 && offset >= 0;
	}
	if (!good)
		return error_aws(err, "InvalidParameterException", "The specified nextToken is invalid.");
	*out = (struct token){ .given = true,
			       .backward = text.ptr[0] == 'b',
			       .offset = offset < p->file->head ? p->file->head : offset };
	return 0;
}

/* Where a call without a token begins. */
static int first_offset(struct page *p, bool from_head, int64_t *off, struct error *err)
{
	*off = from_head ? p->file->head : p->file->end;
	if (p->stream->unordered)
		return 0;
	if (from_head && p->from_ms > 0)
		return log_file_seek(p->file, p->from_ms, off, err);
	if (!from_head && p->until_ms < INT64_MAX - 2 * LOG_SLOP_MS)
		return log_file_seek(p->file, p->until_ms + 2 * LOG_SLOP_MS, off, err);
	return 0;
}

static json_t *token_json(char direction, int64_t off)
{
	return json_sprintf("%c/%020lld", direction, (long long)off);
}

static int read_page(struct page *p, json_t *in, json_t **out, struct error *err)
{
	struct token token;
	int64_t off, low, high;
	if (parse_token(p, json_get_str(in, "nextToken"), &token, err) < 0)
		return -1;
	bool backward = token.given ? token.backward : !json_get_bool(in, "startFromHead", false);
	off = token.offset;
	if (!token.given && first_offset(p, !backward, &off, err) < 0)
		return -1;
	low = high = off;
	if ((backward ? read_backward(p, off, &low, err) : read_forward(p, off, &high, err)) < 0)
		return -1;
	*out = json_object();
	json_object_set(*out, "events", p->events);
	json_object_set_new(*out, "nextForwardToken", token_json('f', high));
	json_object_set_new(*out, "nextBackwardToken", token_json('b', low));
	return 0;
}

int logs_op_get_events(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct logs *l = c->service_ctx;
	struct log_group g;
	struct log_stream s;
	struct str group;
	CLEANUP_LOG_FILE struct log_file f = LOG_FILE_INIT;
	if (logs_request_group(in, &group, err) < 0 || logs_need_group(db, c->arena, group, &g, err) < 0 ||
	    logs_need_stream(l, db, c->arena, group, json_get_str(in, "logStreamName"), &s, err) < 0 ||
	    logs_open(&s, &f, err) < 0)
		return -1;
	CLEANUP_JSON json_t *events = json_array();
	struct page p = { .file = &f, .stream = &s, .arena = c->arena, .events = events };
	p.from_ms = json_get_int(in, "startTime", 0);
	p.until_ms = json_get_int(in, "endTime", INT64_MAX);
	p.limit = json_get_int(in, "limit", PAGE_EVENTS);
	if (p.from_ms > p.until_ms)
		return error_aws(err, "InvalidParameterException", "endTime must not be before startTime.");
	int64_t cutoff = logs_cutoff(&g, engine_now_ms(l->engine));
	if (p.from_ms < cutoff)
		p.from_ms = cutoff;
	return read_page(&p, in, out, err);
}
