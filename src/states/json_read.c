/* json_read.c - a strict JSON reader that says what is wrong in the words of Jackson (the reader of Step Functions);
 * see asl.h.
 *
 * DESIGN: one pass by recursive descent, depth-limited, into a jansson tree. Two things jansson's own reader does not
 * give: the texts and places that clients of Step Functions see, and a refusal of doubled keys that names the key. An
 * integer beyond 64 bits becomes a double. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/json.h"
#include "states/asl.h"

enum { MAX_DEPTH = 1000, MAX_SNIPPET = 500, MAX_TOKEN = 256 };
#define VALUE_WORDS "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"

struct reader {
	struct arena *arena;
	struct str text;
	size_t at, depth;
	bool reject_duplicates;
	struct asl_json_error *error;
	const struct path_name *path; /* innermost first */
};
/* The way from the root to the value in hand, for the place of a doubled key. */
struct path_name {
	const char *name;
	const struct path_name *up;
};

static int peek(const struct reader *r)
{
	return r->at < r->text.len ? (unsigned char)r->text.ptr[r->at] : -1;
}

/* "[Source: (String)"…"; line: 1, column: 4]" of byte `at`. Columns count characters. */
static const char *place(const struct reader *r, size_t at)
{
	size_t line = 1, column = 1, chars = 0, cut = r->text.len;
	for (size_t i = 0; i < r->text.len; i++) {
		bool starts = (r->text.ptr[i] & 0xc0) != 0x80;
		if (starts && ++chars == MAX_SNIPPET + 1)
			cut = i;
		if (i >= at)
			continue;
		if (r->text.ptr[i] == '\n') {
			line++;
			column = 1;
		} else if (starts) {
			column++;
		}
	}
	const char *more =
		chars > MAX_SNIPPET ? arena_printf(r->arena, "[truncated %zu chars]", chars - MAX_SNIPPET) : "";
	return arena_printf(r->arena, "[Source: (String)\"%.*s\"%s; line: %zu, column: %zu]", (int)cut, r->text.ptr,
			    more, line, column);
}

static json_t *fail(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static json_t *fail(struct reader *r, const char *fmt, ...)
{
	va_list ap;
	if (!r->error || r->error->message)
		return NULL;
	va_start(ap, fmt);
	r->error->message = arena_vprintf(r->arena, fmt, ap);
	va_end(ap);
	r->error->location = place(r, r->at);
	return NULL;
}

static void skip_space(struct reader *r)
{
	int c;
	while ((c = peek(r)) == ' ' || c == '\t' || c == '\n' || c == '\r')
		r->at++;
}

/* Takes one whole character and gives its code point and bytes; the text was checked to be UTF-8. */
static unsigned take_char(struct reader *r, struct str *bytes)
{
	unsigned c = (unsigned char)r->text.ptr[r->at];
	size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	unsigned code = n == 1 ? c : c & (0x7f >> n);
	for (size_t i = 1; i < n && r->at + i < r->text.len; i++)
		code = code << 6 | ((unsigned char)r->text.ptr[r->at + i] & 0x3f);
	*bytes = str_head(str_skip(r->text, r->at), n);
	r->at += bytes->len;
	return code;
}

static json_t *unexpected(struct reader *r, const char *wanted)
{
	struct str bytes;
	unsigned code = take_char(r, &bytes);
	if (code < 32)
		return fail(r, "Unexpected character ((CTRL-CHAR, code %u)): %s", code, wanted);
	return fail(r, "Unexpected character ('%.*s' (code %u)): %s", STR_ARG(bytes), code, wanted);
}

static bool is_word(int c)
{
	return c >= 0 && (isalnum(c) || c == '_' || c == '$' || c >= 0x80);
}

static json_t *bad_token(struct reader *r, size_t start)
{
	while (is_word(peek(r)))
		r->at++;
	struct str token = str_of(r->text.ptr + start, r->at - start);
	const char *dots = token.len > MAX_TOKEN ? "..." : "";
	token = str_head(token, MAX_TOKEN);
	return fail(r, "Unrecognized token '%.*s%s': was expecting " VALUE_WORDS, STR_ARG(token), dots);
}

static json_t *read_word(struct reader *r, const char *word, json_t *value)
{
	size_t start = r->at;
	for (const char *p = word; *p; p++, r->at++)
		if (peek(r) != *p)
			return bad_token(r, start);
	return is_word(peek(r)) ? bad_token(r, start) : value;
}

static bool read_hex4(struct reader *r, unsigned *out)
{
	*out = 0;
	for (int i = 0; i < 4; i++, r->at++) {
		int c = peek(r);
		if (c < 0)
			return fail(r, "Unexpected end-of-input in character escape sequence") != NULL;
		int digit = hex_digit((char)c);
		if (digit < 0)
			return unexpected(r, "expected a hex-digit for character escape sequence") != NULL;
		*out = *out << 4 | (unsigned)digit;
	}
	return true;
}

/* \uXXXX; a pair of surrogates is one character, a lonely one becomes U+FFFD. */
static bool read_unicode_escape(struct reader *r, struct buf *b)
{
	unsigned c, low;
	if (!read_hex4(r, &c))
		return false;
	if (c >= 0xd800 && c < 0xdc00 && str_starts(str_skip(r->text, r->at), STR("\\u"))) {
		size_t before = r->at;
		r->at += 2;
		if (!read_hex4(r, &low))
			return false;
		if (low >= 0xdc00 && low < 0xe000)
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		else
			r->at = before;
	}
	buf_add_utf8(b, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
	return true;
}

static bool read_escape(struct reader *r, struct buf *b)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	struct str bytes;
	r->at++;
	if (peek(r) < 0)
		return fail(r, "Unexpected end-of-input in character escape sequence") != NULL;
	unsigned c = take_char(r, &bytes);
	if (c == 'u')
		return read_unicode_escape(r, b);
	const char *found = c && c < 0x80 ? strchr(from, (int)c) : NULL;
	if (!found)
		return fail(r, "Unrecognized character escape '%.*s' (code %u)", STR_ARG(bytes), c) != NULL;
	buf_add_char(b, to[found - from]);
	return true;
}

/* The text after the opening quote up to the closing one; `end` is what a missing quote is called. */
static bool read_text(struct reader *r, struct buf *b, const char *end)
{
	r->at++;
	for (;;) {
		size_t start = r->at;
		while (r->at < r->text.len && r->text.ptr[r->at] != '"' && r->text.ptr[r->at] != '\\' &&
		       (unsigned char)r->text.ptr[r->at] >= 32)
			r->at++;
		buf_add(b, r->text.ptr + start, r->at - start);
		int c = peek(r);
		if (c < 0)
			return fail(r, "Unexpected end-of-input%s", end) != NULL;
		if (c == '"') {
			r->at++;
			return true;
		}
		if (c < 32) {
			r->at++;
			return fail(r,
				    "Illegal unquoted character ((CTRL-CHAR, code %d)): has to be escaped using "
				    "backslash to be included in string value",
				    c) != NULL;
		}
		if (!read_escape(r, b))
			return false;
	}
}

static json_t *read_number(struct reader *r)
{
	size_t start = r->at;
	bool real = false;
	char zeroed[400];
	if (peek(r) == '-')
		r->at++;
	if (!isdigit(peek(r)))
		return peek(r) < 0
			       ? fail(r, "Unexpected end-of-input in a Number value")
			       : unexpected(r, "expected digit (0-9) to follow minus sign, for valid numeric value");
	if (peek(r) == '0' && r->at + 1 < r->text.len && isdigit((unsigned char)r->text.ptr[r->at + 1])) {
		r->at++;
		return fail(r, "Invalid numeric value: Leading zeroes not allowed");
	}
	while (isdigit(peek(r)))
		r->at++;
	if (peek(r) == '.') {
		real = true;
		r->at++;
		if (!isdigit(peek(r)))
			return peek(r) < 0 ? fail(r, "Unexpected end-of-input in a Number value")
					   : unexpected(r, "Decimal point not followed by a digit");
		while (isdigit(peek(r)))
			r->at++;
	}
	if (peek(r) == 'e' || peek(r) == 'E') {
		real = true;
		r->at++;
		if (peek(r) == '+' || peek(r) == '-')
			r->at++;
		if (!isdigit(peek(r)))
			return peek(r) < 0 ? fail(r, "Unexpected end-of-input in a Number value")
					   : unexpected(r, "Exponent indicator not followed by a digit");
		while (isdigit(peek(r)))
			r->at++;
	}
	int64_t whole;
	struct str text = str_of(r->text.ptr + start, r->at - start);
	if (!real && str_to_i64(text, &whole))
		return json_integer(whole);
	if (text.len >= sizeof(zeroed))
		return fail(r, "Number length (%zu) exceeds the maximum length (%zu)", text.len, sizeof(zeroed) - 1);
	memcpy(zeroed, text.ptr, text.len);
	zeroed[text.len] = 0;
	double value = strtod(zeroed, NULL);
	return isfinite(value) ? json_real(value) : fail(r, "Numeric value (%s) out of range of double", zeroed);
}

static json_t *read_value(struct reader *r);

static json_t *unclosed(struct reader *r, const char *what, size_t start)
{
	return fail(r, "Unexpected end-of-input: expected close marker for %s (start marker at %s)", what,
		    place(r, start));
}

static json_t *read_array(struct reader *r)
{
	size_t start = r->at++;
	json_t *array = json_array(), *value;
	skip_space(r);
	if (peek(r) == ']') {
		r->at++;
		return array;
	}
	for (;;) {
		skip_space(r);
		value = peek(r) < 0 ? unclosed(r, "Array", start) : read_value(r);
		if (!value)
			break;
		json_array_append_new(array, value);
		skip_space(r);
		int c = peek(r);
		if (c == ',' || c == ']') {
			r->at++;
			if (c == ']')
				return array;
			continue;
		}
		if (c < 0)
			unclosed(r, "Array", start);
		else
			unexpected(r, "was expecting comma to separate Array entries");
		break;
	}
	json_decref(array);
	return NULL;
}

static bool duplicate(struct reader *r, const char *name)
{
	const char *way = "";
	for (const struct path_name *p = r->path; p; p = p->up)
		way = arena_printf(r->arena, "/%s%s", p->name, way);
	fail(r, "Duplicate field '%s'", name);
	if (r->error) {
		r->error->duplicate = arena_strdup(r->arena, str_from(name));
		r->error->duplicate_in = way;
	}
	return false;
}

/* "name": value, into the object. */
static bool read_member(struct reader *r, json_t *object, size_t start)
{
	CLEANUP_BUF struct buf name = BUF_INIT;
	skip_space(r);
	int c = peek(r);
	if (c < 0)
		return unclosed(r, "Object", start) != NULL;
	if (c != '"')
		return unexpected(r, "was expecting double-quote to start field name") != NULL;
	if (!read_text(r, &name, " in field name"))
		return false;
	if (memchr(buf_str(&name).ptr, 0, name.len))
		return fail(r, "A field name must not contain the character with code 0") != NULL;
	buf_reserve(&name, 1);
	name.ptr[name.len] = 0;
	if (r->reject_duplicates && json_object_get(object, name.ptr))
		return duplicate(r, name.ptr);
	skip_space(r);
	if (peek(r) < 0)
		return fail(r, "Unexpected end-of-input within/between Object entries") != NULL;
	if (peek(r) != ':')
		return unexpected(r, "was expecting a colon to separate field name and value") != NULL;
	r->at++;
	skip_space(r);
	if (peek(r) < 0)
		return fail(r, "Unexpected end-of-input within/between Object entries") != NULL;
	const struct path_name here = { name.ptr, r->path };
	r->path = &here;
	json_t *value = read_value(r);
	r->path = here.up;
	if (!value)
		return false;
	if (json_object_set_new(object, name.ptr, value) < 0)
		return fail(r, "A field name is not UTF-8") != NULL;
	return true;
}

static json_t *read_object(struct reader *r)
{
	size_t start = r->at++;
	json_t *object = json_object();
	skip_space(r);
	if (peek(r) == '}') {
		r->at++;
		return object;
	}
	while (read_member(r, object, start)) {
		skip_space(r);
		int c = peek(r);
		if (c == ',' || c == '}') {
			r->at++;
			if (c == '}')
				return object;
			continue;
		}
		if (c < 0)
			unclosed(r, "Object", start);
		else
			unexpected(r, "was expecting comma to separate Object entries");
		break;
	}
	json_decref(object);
	return NULL;
}

static json_t *read_string(struct reader *r)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	if (!read_text(r, &b, ": was expecting closing quote for a string value"))
		return NULL;
	return json_stringn(buf_str(&b).ptr, b.len);
}

static json_t *read_value(struct reader *r)
{
	json_t *value;
	int c = peek(r);
	if (c == '"')
		return read_string(r);
	if (c == '{' || c == '[') {
		if (++r->depth > MAX_DEPTH)
			return fail(r,
				    "Document nesting depth (%d) exceeds the maximum allowed (%d, from "
				    "`StreamReadConstraints.getMaxNestingDepth()`)",
				    MAX_DEPTH + 1, MAX_DEPTH);
		value = c == '{' ? read_object(r) : read_array(r);
		r->depth--;
		return value;
	}
	if (c == '-' || isdigit(c))
		return read_number(r);
	if (c == 't')
		return read_word(r, "true", json_true());
	if (c == 'f')
		return read_word(r, "false", json_false());
	if (c == 'n')
		return read_word(r, "null", json_null());
	if (is_word(c))
		return bad_token(r, r->at);
	return unexpected(r, "expected a valid value " VALUE_WORDS);
}

json_t *asl_read_json(struct arena *a, struct str text, bool reject_duplicates, struct asl_json_error *error)
{
	struct reader r = { .arena = a, .text = text, .reject_duplicates = reject_duplicates, .error = error };
	if (error)
		*error = (struct asl_json_error){ 0 };
	if (!str_is_utf8(text)) {
		r.text = STR("");
		return fail(&r, "Invalid UTF-8");
	}
	skip_space(&r);
	if (peek(&r) < 0)
		return fail(&r, "No content to map due to end-of-input");
	json_t *value = read_value(&r);
	skip_space(&r);
	if (value && r.at < text.len) {
		json_decref(value);
		value = NULL;
		if (is_word(peek(&r)))
			bad_token(&r, r.at);
		else
			unexpected(&r, "expected the end of the input");
	}
	return value;
}
