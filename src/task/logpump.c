/* logpump.c - see logpump.h. */
#include "task/logpump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "task/path.h"

#define READ_SIZE (64u << 10)
#define TURN_BYTES (1u << 20)

void logpump_open(struct logpump *p, int in, int out)
{
	*p = (struct logpump){ .in = in, .out = out, .record_max = LOGPUMP_RECORD_MAX };
	fcntl(in, F_SETFL, fcntl(in, F_GETFL) | O_NONBLOCK);
	fcntl(in, F_SETPIPE_SZ, 256 << 10); /* a refusal only costs speed */
}

static void flush_records(struct logpump *p)
{
	if (p->records.len && (p->out < 0 || fd_write_all(p->out, p->records.ptr, p->records.len) < 0))
		p->lost_bytes += (int64_t)p->records.len;
	buf_clear(&p->records);
}

/* `last`: it ends its line. */
static void put_record(struct logpump *p, struct str head, struct str text, bool last)
{
	if (!last || p->piece)
		p->piece++;
	if (p->sink)
		p->sink(p->sink_ctx, p, text, last);
	if (last)
		p->piece = 0;
	if (p->sink)
		return;
	buf_add_str(&p->records, head);
	buf_add_str(&p->records, text);
	buf_add_char(&p->records, '\n');
	if (p->records.len >= READ_SIZE)
		flush_records(p);
}

/* Takes whole lines off p->line; with `all` the rest too. */
static void take_lines(struct logpump *p, bool all)
{
	char number[24];
	int64_t now = clock_now_ms();
	p->last_ms = now > p->last_ms ? now : p->last_ms;
	struct str head = { number, (size_t)snprintf(number, sizeof(number), "%lld ", (long long)p->last_ms) };
	struct str rest = buf_str(&p->line);
	while (rest.len) {
		const char *end = memchr(rest.ptr, '\n', rest.len < p->record_max ? rest.len : p->record_max);
		if (end) {
			struct str line = { rest.ptr, (size_t)(end - rest.ptr) };
			put_record(p, head, line, true);
			rest = str_skip(rest, line.len + 1);
		} else if (rest.len >= p->record_max || all) {
			put_record(p, head, str_head(rest, p->record_max), all && rest.len <= p->record_max);
			rest = str_skip(rest, p->record_max);
		} else {
			break;
		}
	}
	memmove(p->line.ptr, rest.ptr, rest.len);
	p->line.len = rest.len;
	flush_records(p);
}

int logpump_run(struct logpump *p)
{
	for (size_t moved = 0; moved < TURN_BYTES;) {
		buf_reserve(&p->line, READ_SIZE);
		ssize_t n = read(p->in, p->line.ptr + p->line.len, READ_SIZE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0) {
			if (p->line.len)
				take_lines(p, true);
			close(p->in);
			p->in = -1;
			return -1;
		}
		p->line.len += (size_t)n;
		moved += (size_t)n;
		take_lines(p, false);
	}
	return 1;
}

void logpump_close(struct logpump *p)
{
	if (p->line.len)
		take_lines(p, true);
	if (p->in >= 0)
		close(p->in);
	if (p->out >= 0)
		close(p->out);
	p->in = p->out = -1;
	buf_release(&p->line);
	buf_release(&p->records);
}
