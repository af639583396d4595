/* filter.c - CloudWatch Logs filter patterns: terms.
 *
 * DESIGN: see filter.h. The JSON form is in filter_json.c. */
#include "logs/filter_json.h"

#include <ctype.h>

enum term_kind { TERM_ALL, TERM_NONE, TERM_ANY };

struct term {
	enum term_kind kind;
	struct str text;
	struct term *next;
};

struct log_filter {
	struct term *terms;
	bool has_all, has_any;
	struct json_filter *json;
};

/* A quoted term; *s is behind the opening quote. `\"` and `\\` are escapes. */
static int take_quoted(struct arena *a, struct str *s, struct str *out, struct error *err)
{
	char *p = arena_alloc_raw(a, s->len + 1);
	size_t n = 0, i = 0;
	for (; i < s->len && s->ptr[i] != '"'; i++) {
		if (s->ptr[i] == '\\' && i + 1 < s->len && (s->ptr[i + 1] == '"' || s->ptr[i + 1] == '\\'))
			i++;
		p[n++] = s->ptr[i];
	}
	if (i == s->len)
		return error_aws(err, "InvalidParameterException",
				 "Invalid filter pattern: a quoted term is not closed");
	*out = str_of(p, n);
	*s = str_skip(*s, i + 1);
	return 0;
}

static int take_word(struct str *s, struct str *out, struct error *err)
{
	size_t n = 0;
	while (n < s->len && !isspace((unsigned char)s->ptr[n]))
		n++;
	struct str word = str_head(*s, n);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)word.ptr[i];
		if (!isalnum(c) && c != '_' && c < 0x80)
			return error_aws(err, "InvalidParameterException", "Invalid character(s) in term '%.*s'",
					 STR_ARG(word));
	}
	*out = word;
	*s = str_skip(*s, n);
	return 0;
}

static int take_term(struct arena *a, struct log_filter *f, struct str *s, struct error *err)
{
	struct term *t = ARENA_NEW(a, struct term);
	if (s->ptr[0] == '-' || s->ptr[0] == '?') {
		t->kind = s->ptr[0] == '-' ? TERM_NONE : TERM_ANY;
		*s = str_skip(*s, 1);
	}
	if (s->len && s->ptr[0] == '%')
		return error_aws(err, "InvalidParameterException",
				 "Regular expressions in filter patterns are not supported by Quern");
	int rc;
	if (s->len && s->ptr[0] == '"') {
		*s = str_skip(*s, 1);
		rc = take_quoted(a, s, &t->text, err);
	} else {
		rc = take_word(s, &t->text, err);
	}
	if (rc < 0)
		return -1;
	if (t->text.len == 0)
		return error_aws(err, "InvalidParameterException", "Invalid filter pattern: a term is empty");
	f->has_all |= t->kind == TERM_ALL;
	f->has_any |= t->kind == TERM_ANY;
	t->next = f->terms;
	f->terms = t;
	return 0;
}

struct log_filter *log_filter_new(struct arena *a, struct str pattern, struct error *err)
{
	struct log_filter *f = ARENA_NEW(a, struct log_filter);
	pattern = str_trim(pattern);
	if (pattern.len && pattern.ptr[0] == '{') {
		f->json = json_filter_new(a, pattern, err);
		return f->json ? f : NULL;
	}
	if (pattern.len && pattern.ptr[0] == '[') {
		error_aws(err, "InvalidParameterException",
			  "Space-delimited filter patterns ([a, b]) are not supported by Quern");
		return NULL;
	}
	while (pattern.len) {
		if (take_term(a, f, &pattern, err) < 0)
			return NULL;
		pattern = str_trim(pattern);
	}
	return f;
}

bool log_filter_matches(const struct log_filter *f, struct str text)
{
	if (f->json)
		return json_filter_matches(f->json, text);
	bool any = !f->has_any || f->has_all;
	for (const struct term *t = f->terms; t; t = t->next) {
		if (t->kind == TERM_ANY && any)
			continue;
		bool found = str_find(text, t->text) >= 0;
		if (t->kind == TERM_ANY)
			any = found;
		else if (found != (t->kind == TERM_ALL))
			return false;
	}
	return any;
}
