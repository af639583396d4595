/* api_events.c - GetLogEvents.
 *
 * DESIGN: a token is "f/<offset>" (go on forwards from here) or "b/<offset>" (backwards from here) in the stream's
 * file, the offset of a record's start; at an end the same token comes back, which is how clients know. A page holds at
 * most `limit` events and 1 MiB. Only a window of the file is in memory. The answer is written as text at once: a tree
 * of ten thousand objects would cost far more than reading them. */
#include "logs/room.h"
#include "logs/text.h"

#include <stdlib.h>

#define PAGE_EVENTS 10000
#define PAGE_BYTES 1048576
#define EVENT_OVERHEAD_BYTES 26
#define HEAD "{\"events\":["

struct page {
	struct log_file *file;
	const struct log_stream *stream;
	int64_t from_ms, until_ms; /* [from, until) */
	int64_t limit, count;
	size_t bytes;
	struct buf text; /* the answer as far as it is made */
	struct buf ends; /* where each ends: size_t */
};

static bool full(const struct page *p)
{
	return p->count >= p->limit;
}

static void add_number(struct buf *b, int64_t n)
{
	char digits[24], *p = digits + sizeof(digits);
	uint64_t rest = (uint64_t)n; /* times are not negative */
	do
		*--p = (char)('0' + rest % 10);
	while (rest /= 10);
	buf_add(b, p, (size_t)(digits + sizeof(digits) - p));
}

/* Adds the event unless the page would be too large. False: it is full. */
static bool page_add(struct page *p, const struct log_record *r)
{
	struct arena scratch = ARENA_INIT;
	size_t size, start = p->text.len;
	buf_addz(&p->text, p->count ? ",{\"timestamp\":" : "{\"timestamp\":");
	add_number(&p->text, r->at_ms);
	buf_addz(&p->text, ",\"message\":");
	log_text_add(&p->text, log_record_text(&scratch, r), &size);
	buf_addz(&p->text, ",\"ingestionTime\":");
	add_number(&p->text, r->ingested_ms);
	buf_add_char(&p->text, '}');
	arena_release(&scratch);
	size += EVENT_OVERHEAD_BYTES;
	if (p->count && p->bytes + size > PAGE_BYTES) {
		p->text.len = start;
		return false;
	}
	p->bytes += size;
	p->count++;
	buf_add(&p->ends, &p->text.len, sizeof(p->text.len));
	return true;
}

/* The same, the last event first. */
static void reverse(struct page *p)
{
	const size_t *ends = (const size_t *)p->ends.ptr;
	struct buf b = BUF_INIT;
	buf_reserve(&b, p->text.len + 128);
	buf_addz(&b, HEAD);
	for (int64_t i = p->count - 1; i >= 0; i--) {
		size_t start = i ? ends[i - 1] + 1 : sizeof(HEAD) - 1;
		buf_add(&b, p->text.ptr + start, ends[i] - start);
		if (i)
			buf_add_char(&b, ',');
	}
	buf_release(&p->text);
	p->text = b;
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

static int read_page(struct page *p, json_t *in, struct error *err)
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
	if (backward)
		reverse(p);
	buf_printf(&p->text, "],\"nextForwardToken\":\"f/%020lld\",\"nextBackwardToken\":\"b/%020lld\"}",
		   (long long)high, (long long)low);
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
	struct page p = { .file = &f, .stream = &s };
	p.from_ms = json_get_int(in, "startTime", 0);
	p.until_ms = json_get_int(in, "endTime", INT64_MAX);
	p.limit = json_get_int(in, "limit", PAGE_EVENTS);
	if (p.from_ms > p.until_ms)
		return error_aws(err, "InvalidParameterException", "endTime must not be before startTime.");
	int64_t cutoff = logs_cutoff(&g, engine_now_ms(l->engine));
	if (p.from_ms < cutoff)
		p.from_ms = cutoff;
	buf_addz(&p.text, HEAD);
	int rc = read_page(&p, in, err);
	buf_release(&p.ends);
	if (rc == 0) {
		c->out_text = buf_str(&p.text);
		arena_defer(c->arena, free, buf_detach(&p.text));
	}
	buf_release(&p.text);
	return rc;
}
