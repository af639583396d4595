/* text.c - log text as JSON.
 *
 * DESIGN: a container writes any bytes; the answer must be UTF-8. Good text is passed on as it is, without a copy of
 * ours. */
#include "logs/text.h"

#include "base/buf.h"

#include <stdlib.h>

json_t *log_text_json(struct str text, size_t *size_bytes)
{
	*size_bytes = text.len;
	if (!text.ptr)
		return json_string("");
	json_t *plain = json_stringn(text.ptr, text.len);
	if (plain)
		return plain;
	CLEANUP_BUF struct buf b = BUF_INIT;
	const unsigned char *p = (const unsigned char *)text.ptr;
	for (size_t i = 0; i < text.len;) {
		size_t n = str_utf8(str_skip(text, i));
		if (n)
			buf_add(&b, p + i, n);
		else
			buf_addz(&b, "\xef\xbf\xbd");
		i += n ? n : 1;
	}
	*size_bytes = b.len;
	return json_stringn(buf_str(&b).ptr, b.len);
}

static void add_escape(struct buf *b, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	const char *at = c ? strchr("\"\\\nn\rr\tt", c) : NULL;
	if (c == '"' || c == '\\') {
		buf_add(b, (char[]){ '\\', (char)c }, 2);
	} else if (c < 0x20 && at) {
		buf_add(b, (char[]){ '\\', at[1] }, 2);
	} else if (c < 0x80) {
		buf_add(b, (char[]){ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6);
	} else {
		buf_addz(b, "\xef\xbf\xbd");
	}
}

void log_text_add(struct buf *b, struct str text, size_t *size_bytes)
{
	const unsigned char *p = (const unsigned char *)text.ptr;
	size_t from = 0;
	*size_bytes = text.len;
	buf_reserve(b, text.len + 2);
	buf_add_char(b, '"');
	for (size_t i = 0; i < text.len;) {
		if (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '"' && p[i] != '\\') {
			i++;
			continue;
		}
		size_t n = p[i] >= 0x80 ? str_utf8(str_skip(text, i)) : 0;
		if (n) {
			i += n;
			continue;
		}
		buf_add(b, p + from, i - from);
		add_escape(b, p[i]);
		*size_bytes += p[i] >= 0x80 ? 2 : 0;
		from = ++i;
	}
	buf_add(b, p + from, text.len - from);
	buf_add_char(b, '"');
}
