/* xml.c - XML output, see wire.h.
 *
 * DESIGN: writes elements into a buffer; text is escaped so that any byte string gives well-formed XML 1.0: the control
 * characters XML cannot carry become U+FFFD, and CR is written as a reference because parsers would turn it into LF. It
 * builds no tree and knows no schema. */
#include "base/buf.h"
#include "wire/wire.h"

#include <inttypes.h>

void xml_open(struct buf *b, const char *name)
{
	buf_add_char(b, '<');
	buf_addz(b, name);
	buf_add_char(b, '>');
}

void xml_close(struct buf *b, const char *name)
{
	/* `name` may carry attributes (`Error xmlns="..."`): the closing tag has none. */
	buf_add(b, "</", 2);
	buf_add(b, name, strcspn(name, " "));
	buf_add_char(b, '>');
}

static const char *escape(unsigned char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\r':
		return "&#13;";
	}
	return c < 0x20 && c != '\t' && c != '\n' ? "\xEF\xBF\xBD" : NULL;
}

void xml_escape(struct buf *b, struct str value)
{
	size_t from = 0;
	for (size_t i = 0; i < value.len; i++) {
		const char *e = escape((unsigned char)value.ptr[i]);
		if (!e)
			continue;
		buf_add(b, value.ptr + from, i - from);
		buf_addz(b, e);
		from = i + 1;
	}
	if (from < value.len)
		buf_add(b, value.ptr + from, value.len - from);
}

void xml_text(struct buf *b, const char *name, struct str value)
{
	xml_open(b, name);
	xml_escape(b, value);
	xml_close(b, name);
}

void xml_int(struct buf *b, const char *name, int64_t value)
{
	xml_open(b, name);
	buf_printf(b, "%" PRId64, value);
	xml_close(b, name);
}
