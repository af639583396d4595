/* uri.c - see uri.h. DESIGN: works on bytes; knows nothing of hosts and schemes. */
#include "wire/uri.h"

#include "base/id.h"

bool uri_unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
	       c == '.' || c == '~';
}

char *uri_encode(char *out, struct str s, bool keep_slash)
{
	static const char hex[] = "0123456789ABCDEF";
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		if (uri_unreserved(c) || (c == '/' && keep_slash)) {
			*out++ = (char)c;
			continue;
		}
		*out++ = '%';
		*out++ = hex[c >> 4];
		*out++ = hex[c & 15];
	}
	return out;
}

struct str uri_encoded(struct arena *a, struct str s, bool keep_slash)
{
	char *p = arena_alloc(a, 3 * s.len + 1), *end = uri_encode(p, s, keep_slash);
	*end = 0;
	return str_of(p, (size_t)(end - p));
}

size_t uri_decode(char *out, struct str s, bool form)
{
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		if (c == '+' && form) {
			c = ' ';
		} else if (c == '%' && i + 2 < s.len) {
			int high = hex_digit(s.ptr[i + 1]), low = hex_digit(s.ptr[i + 2]);
			if (high >= 0 && low >= 0) {
				c = (char)(high << 4 | low);
				i += 2;
			}
		}
		out[n++] = c;
	}
	return n;
}

struct str uri_decoded(struct arena *a, struct str s, bool form)
{
	if (str_find_char(s, '%') < 0 && (!form || str_find_char(s, '+') < 0))
		return s;
	char *p = arena_alloc_raw(a, s.len + 1);
	size_t n = uri_decode(p, s, form);
	p[n] = 0;
	return str_of(p, n);
}

struct str uri_normalize(char *out, struct str path)
{
	size_t n = 0;
	struct str rest = path, piece;
	while (str_split(&rest, '/', &piece)) {
		if (piece.len == 0 || str_eqz(piece, "."))
			continue;
		if (str_eqz(piece, "..")) {
			while (n > 0 && out[--n] != '/')
				;
			continue;
		}
		out[n++] = '/';
		memcpy(out + n, piece.ptr, piece.len);
		n += piece.len;
	}
	if (n == 0 || (path.len && path.ptr[path.len - 1] == '/'))
		out[n++] = '/';
	return str_of(out, n);
}
