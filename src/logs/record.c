/* record.c - reading and writing one log record.
 *
 * DESIGN: see record.h. No files here: plain bytes in and out. */
#include "logs/record.h"

/* Decimal digits at the start of *s, at most 15 of them; moves *s behind. */
static bool take_ms(struct str *s, int64_t *out)
{
	int64_t value = 0;
	size_t n = 0;
	while (n < s->len && n < 16 && s->ptr[n] >= '0' && s->ptr[n] <= '9')
		value = value * 10 + (s->ptr[n++] - '0');
	if (n == 0 || n > 15)
		return false;
	*out = value;
	*s = str_skip(*s, n);
	return true;
}

bool log_record_parse(struct str line, struct log_record *out)
{
	struct log_record r = { 0 };
	if (!take_ms(&line, &r.at_ms) || line.len == 0)
		return false;
	r.ingested_ms = r.at_ms;
	if (line.ptr[0] == '\\') {
		line = str_skip(line, 1);
		if (!take_ms(&line, &r.ingested_ms) || line.len == 0)
			return false;
		r.escaped = true;
	}
	if (line.ptr[0] != ' ')
		return false;
	r.text = str_skip(line, 1);
	*out = r;
	return true;
}

struct str log_record_text(struct arena *a, const struct log_record *r)
{
	if (!r->escaped || str_find_char(r->text, '\\') < 0)
		return r->text;
	char *p = arena_alloc_raw(a, r->text.len + 1);
	size_t n = 0;
	for (size_t i = 0; i < r->text.len; i++) {
		char c = r->text.ptr[i];
		if (c == '\\' && i + 1 < r->text.len) {
			i++;
			c = r->text.ptr[i] == 'n' ? '\n' : r->text.ptr[i];
		}
		p[n++] = c;
	}
	p[n] = 0;
	return str_of(p, n);
}

void log_record_add(struct buf *b, int64_t at_ms, int64_t ingested_ms, struct str text)
{
	buf_printf(b, "%lld\\%lld ", (long long)at_ms, (long long)ingested_ms);
	buf_reserve(b, text.len + 1);
	size_t from = 0;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] != '\n' && text.ptr[i] != '\\')
			continue;
		buf_add(b, text.ptr + from, i - from);
		buf_add(b, text.ptr[i] == '\n' ? "\\n" : "\\\\", 2);
		from = i + 1;
	}
	buf_add(b, text.ptr + from, text.len - from);
	buf_add_char(b, '\n');
}
