/* log_page.c - see log_page.h.
 *
 * DESIGN: a page has ten thousand events of which only the messages are wanted, and a large log has thousands of pages.
 * So no tree is made: the text (RFC 8259) is walked once and messages are handed out as they lie there, copied only
 * when they hold escapes. What is not wanted is stepped over, not judged. */
#include "cli/log_page.h"

#include "base/buf.h"
#include "base/id.h"

struct scan {
	const char *p, *end;
	struct buf text; /* the last string with escapes */
};

static void blanks(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

/* The next sign, when it is this one. */
static bool take(struct scan *s, char c)
{
	blanks(s);
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

/* ---- strings ---- */

static bool take_hex(struct scan *s, unsigned *out)
{
	*out = 0;
	if (s->end - s->p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(*s->p++);
		if (digit < 0)
			return false;
		*out = *out << 4 | (unsigned)digit;
	}
	return true;
}

/* Behind "\u". A half of a pair alone is U+FFFD. */
static bool add_unicode(struct scan *s)
{
	unsigned u, low;
	if (!take_hex(s, &u))
		return false;
	if (u >= 0xd800 && u < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
		const char *back = s->p;
		s->p += 2;
		if (!take_hex(s, &low))
			return false;
		if (low >= 0xdc00 && low < 0xe000)
			u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
		else
			s->p = back;
	}
	buf_add_utf8(&s->text, u >= 0xd800 && u < 0xe000 ? 0xfffd : u);
	return true;
}

static bool add_escape(struct scan *s)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (s->p == s->end)
		return false;
	char c = *s->p++;
	if (c == 'u')
		return add_unicode(s);
	const char *at = c ? strchr(from, c) : NULL;
	if (at)
		buf_add_char(&s->text, to[at - from]);
	return at != NULL;
}

/* A string, its quote first. Borrows the input, or s->text until the next string with escapes. */
static bool take_string(struct scan *s, struct str *out)
{
	if (!take(s, '"'))
		return false;
	const char *quote = memchr(s->p, '"', (size_t)(s->end - s->p));
	if (!quote)
		return false;
	const char *slash = memchr(s->p, '\\', (size_t)(quote - s->p));
	if (!slash) {
		*out = str_of(s->p, (size_t)(quote - s->p));
		s->p = quote + 1;
		return true;
	}
	buf_clear(&s->text);
	for (;;) {
		const char *from = s->p;
		while (s->p < s->end && *s->p != '"' && *s->p != '\\')
			s->p++;
		buf_add(&s->text, from, (size_t)(s->p - from));
		if (s->p == s->end)
			return false;
		if (*s->p++ == '"')
			break;
		if (!add_escape(s))
			return false;
	}
	*out = buf_str(&s->text);
	return true;
}

/* ---- values ---- */

/* Steps over a value of any kind. */
static bool skip_value(struct scan *s)
{
	struct str text;
	size_t depth = 0;
	do {
		blanks(s);
		if (s->p == s->end)
			return false;
		char c = *s->p;
		if (c == '"') {
			if (!take_string(s, &text))
				return false;
			continue;
		}
		if (!depth && (c == ',' || c == ':' || c == '}' || c == ']'))
			return false;
		depth += c == '{' || c == '[';
		depth -= c == '}' || c == ']';
		s->p++;
		/* the rest of a number or a word */
		while (c != '{' && c != '[' && c != '}' && c != ']' && c != ',' && c != ':' && s->p < s->end &&
		       !strchr(" \t\r\n,:{}[]\"", *s->p))
			s->p++;
	} while (depth);
	return true;
}

/* Calls `member` with the value next, for each member of an object. */
static bool each_member(struct scan *s, bool (*member)(struct scan *s, struct str name, void *ctx), void *ctx)
{
	if (!take(s, '{'))
		return false;
	if (take(s, '}'))
		return true;
	do {
		struct str name;
		if (!take_string(s, &name) || !take(s, ':') || !member(s, name, ctx))
			return false;
	} while (take(s, ','));
	return take(s, '}');
}

struct page {
	void (*fn)(void *ctx, struct str message);
	void *ctx;
	int64_t count;
	struct str token;
};

static bool event_member(struct scan *s, struct str name, void *ctx)
{
	struct page *page = ctx;
	struct str text;
	if (!str_eqz(name, "message"))
		return skip_value(s);
	if (!take_string(s, &text))
		return false;
	page->fn(page->ctx, text);
	return true;
}

static bool page_member(struct scan *s, struct str name, void *ctx)
{
	struct page *page = ctx;
	if (str_eqz(name, "nextForwardToken")) {
		if (!take_string(s, &page->token))
			return false;
		if (page->token.ptr == s->text.ptr)
			page->token = STR_NULL;
		return true;
	}
	if (!str_eqz(name, "events"))
		return skip_value(s);
	if (!take(s, '['))
		return false;
	if (take(s, ']'))
		return true;
	do {
		if (!each_member(s, event_member, page))
			return false;
		page->count++;
	} while (take(s, ','));
	return take(s, ']');
}

int64_t log_page_read(struct str text, void (*fn)(void *ctx, struct str message), void *ctx, struct str *token,
		      struct error *err)
{
	struct scan s = { .p = text.ptr, .end = text.ptr + text.len };
	struct page page = { .fn = fn, .ctx = ctx, .token = STR_NULL };
	bool good = each_member(&s, page_member, &page);
	blanks(&s);
	good = good && s.p == s.end;
	buf_release(&s.text);
	*token = page.token;
	return good ? page.count : error_set(err, "the daemon's answer is no page of log events");
}
