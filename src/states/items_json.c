/* items_json.c - the elements of an array (or the members of an object) in a JSON document of any size. See items.h.
 *
 * DESIGN: a scanner that knows strings and brackets finds where an element ends; its text is then read by the strict
 * reader. What lies outside of the chosen array is only scanned: its brackets and strings must be right. */
#include "states/items.h"

#include <stdlib.h>

#define NOT_JSON "Invalid JSON file: "

static int skip_space(struct bytes *b)
{
	int c;
	while ((c = bytes_peek(b)) == ' ' || c == '\t' || c == '\n' || c == '\r')
		b->pos++;
	return c;
}

static int broken(struct bytes *b, struct error *err, const char *what)
{
	return bytes_check(b, err) < 0 ? -1 : error_set(err, NOT_JSON "%s", what);
}

static int keep(struct buf *out, int c, struct error *err)
{
	if (!out)
		return 0;
	if (out->len >= ITEM_MAX)
		return error_set(err, "An item is longer than 8 MiB.");
	buf_add_char(out, (char)c);
	return 0;
}

/* A string with its quotes, into out (which may be NULL). */
static int scan_string(struct bytes *b, struct buf *out, struct error *err)
{
	if (bytes_peek(b) != '"')
		return broken(b, err, "a name in quotes was expected.");
	bool escaped = false, first = true;
	for (int c; (c = bytes_take(b)) >= 0x20; first = false) {
		if (keep(out, c, err) < 0)
			return -1;
		if (c == '"' && !escaped && !first)
			return 0;
		escaped = c == '\\' && !escaped;
	}
	return broken(b, err, "a string has no end, or a control character in it.");
}

static bool ends_scalar(int c)
{
	return c < 0 || strchr(" \t\r\n,:]}[{\"", c);
}

/* One value of any kind, into out (which may be NULL). */
static int scan_value(struct bytes *b, struct buf *out, struct error *err)
{
	char open[JSON_DEPTH];
	size_t depth = 0;
	do {
		int c = skip_space(b);
		if (c < 0)
			return broken(b, err, "it ends too early.");
		if (c == '"') {
			if (scan_string(b, out, err) < 0)
				return -1;
		} else if (c == '[' || c == '{') {
			if (depth == JSON_DEPTH)
				return broken(b, err, "it is nested too deeply.");
			open[depth++] = c == '[' ? ']' : '}';
			b->pos++;
			if (keep(out, c, err) < 0)
				return -1;
		} else if (c == ']' || c == '}') {
			if (!depth || open[depth - 1] != c)
				return broken(b, err, "a bracket does not match.");
			depth--;
			b->pos++;
			if (keep(out, c, err) < 0)
				return -1;
		} else if (c == ',' || c == ':') {
			if (!depth)
				return broken(b, err, "a value was expected.");
			b->pos++;
			if (keep(out, c, err) < 0)
				return -1;
		} else if (c == 0) {
			return broken(b, err, "a control character was not expected.");
		} else {
			for (; !ends_scalar(c); c = bytes_peek(b)) {
				b->pos++;
				if (keep(out, c, err) < 0)
					return -1;
			}
			if (depth && keep(out, ' ', err) < 0) /* what stood apart must not become one word */
				return -1;
		}
	} while (depth);
	return 0;
}

/* A member's name with its colon; owned, NULL with err. */
static json_t *scan_name(struct json_doc *d, struct bytes *b, struct arena *a, struct error *err)
{
	buf_clear(&d->text);
	skip_space(b);
	if (scan_string(b, &d->text, err) < 0)
		return NULL;
	json_t *name = asl_read_json(a, buf_str(&d->text), false, NULL);
	if (!name || skip_space(b) != ':') {
		json_decref(name);
		broken(b, err, name ? "a colon was expected." : "a name is not a string.");
		return NULL;
	}
	b->pos++;
	return name;
}

/* Behind a value: 1 another follows, 0 the container has ended (its bracket is taken), < 0. `first`: there was none
 * yet. */
static int scan_more(struct bytes *b, char in, bool first, struct error *err)
{
	int c = skip_space(b), close = in == '[' ? ']' : '}';
	if (c == close) {
		b->pos++;
		return 0;
	}
	if (first)
		return 1;
	if (c != ',')
		return broken(b, err, c < 0 ? "it ends too early." : "a comma or a bracket was expected.");
	b->pos++;
	return 1;
}

static int not_iterable(struct bytes *b, struct error *err)
{
	return bytes_check(b, err) < 0 ? -1 : error_set(err, "Attempting to map over non-iterable node.");
}

/* Within the container that was just opened: goes to the member or element `part`. 1 found, 0 not, < 0. */
static int enter(struct json_doc *d, struct bytes *b, struct arena *a, char in, struct str part, struct error *err)
{
	int64_t wanted = -1;
	int rc;
	if (in == '[' && !str_to_i64(part, &wanted))
		return 0;
	for (int64_t i = 0; (rc = scan_more(b, in, i == 0, err)) > 0; i++) {
		bool here = i == wanted;
		if (in == '{') {
			CLEANUP_JSON json_t *name = scan_name(d, b, a, err);
			if (!name)
				return -1;
			here = str_eq(json_str(name), part);
		}
		if (here)
			return 1;
		if (scan_value(b, NULL, err) < 0)
			return -1;
	}
	return rc;
}

/* "a~1b" is the name "a/b" (RFC 6901). */
static struct str unescape(struct arena *a, struct str part)
{
	char *p = arena_strdup(a, part), *to = p;
	for (size_t i = 0; i < part.len; i++) {
		bool escape = p[i] == '~' && (p[i + 1] == '0' || p[i + 1] == '1');
		*to++ = escape ? (p[i + 1] == '0' ? '~' : '/') : p[i];
		i += escape;
	}
	return str_of(p, (size_t)(to - p));
}

int json_doc_open(struct json_doc *d, struct bytes *b, struct arena *a, const char *pointer, struct error *err)
{
	struct str rest = str_from(pointer ? pointer : ""), part;
	*d = (struct json_doc){ 0 };
	str_split(&rest, '/', &part);
	for (;;) {
		int c = skip_space(b);
		if (c != '[' && c != '{')
			return not_iterable(b, err);
		b->pos++;
		d->in = (char)c;
		if (!rest.ptr || !str_split(&rest, '/', &part))
			return 0;
		int rc = d->nouter < JSON_DEPTH ? enter(d, b, a, d->in, unescape(a, part), err) : 0;
		if (rc <= 0)
			return rc < 0 ? -1 : not_iterable(b, err);
		d->outer[d->nouter++] = d->in;
	}
}

/* The rest of the document behind the container. */
static int finish(struct json_doc *d, struct bytes *b, struct arena *a, struct error *err)
{
	d->done = true;
	while (d->nouter) {
		char in = d->outer[--d->nouter];
		int rc;
		while ((rc = scan_more(b, in, false, err)) > 0) {
			CLEANUP_JSON json_t *name = in == '{' ? scan_name(d, b, a, err) : NULL;
			if ((in == '{' && !name) || scan_value(b, NULL, err) < 0)
				return -1;
		}
		if (rc < 0)
			return -1;
	}
	return skip_space(b) < 0 ? bytes_check(b, err) : broken(b, err, "something follows its end.");
}

int json_doc_next(struct json_doc *d, struct bytes *b, struct arena *a, json_t **item, struct error *err)
{
	if (d->done)
		return 0;
	int rc = scan_more(b, d->in, !d->any, err);
	if (rc <= 0)
		return rc < 0 ? -1 : finish(d, b, a, err);
	d->any = true;
	CLEANUP_JSON json_t *name = d->in == '{' ? scan_name(d, b, a, err) : NULL;
	if (d->in == '{' && !name)
		return -1;
	buf_clear(&d->text);
	if (scan_value(b, item ? &d->text : NULL, err) < 0)
		return -1;
	if (!item)
		return 1;
	struct asl_json_error why = { 0 };
	json_t *value = asl_read_json(a, buf_str(&d->text), false, &why);
	if (!value)
		return error_set(err, NOT_JSON "%s", why.message);
	*item = name ? json_pack("{s:O,s:o}", "Key", name, "Value", value) : value;
	return 1;
}
