/* constraints.c - see constraints.h. */
#include "constraints.h"

#include <ctype.h>
#include <stdlib.h>

struct reader {
	const char *at;
};

static void skip_space(struct reader *r)
{
	while (isspace((unsigned char)*r->at))
		r->at++;
}

/* Takes `c` if it is next; 0 stands for the end, which stays. */
static bool take(struct reader *r, char c)
{
	skip_space(r);
	if (*r->at != c)
		return false;
	if (c)
		r->at++;
	return true;
}

static int take_integer(struct reader *r, long *out)
{
	skip_space(r);
	const char *p = r->at;
	if (*p == '-' || *p == '+')
		p++;
	size_t digits = 0;
	while (isdigit((unsigned char)p[digits]))
		digits++;
	if (digits == 0 || digits > 9)
		return -1;
	*out = strtol(r->at, NULL, 10);
	r->at = p + digits;
	return 0;
}

/* Integers separated by commas up to `close` (0: the end of the text), with a comma allowed after the last one. */
static int take_integers(struct reader *r, char close, struct text *out, long min, long max, bool *in_range, size_t *n)
{
	*n = 0;
	for (;;) {
		if (take(r, close))
			return 0;
		long v;
		if (take_integer(r, &v) < 0)
			return -1;
		text_printf(out, "%s%ld", *n ? ", " : "", v);
		*in_range = *in_range && v >= min && v <= max;
		(*n)++;
		if (take(r, close))
			return 0;
		if (!take(r, ','))
			return -1;
	}
}

static char take_opening(struct reader *r)
{
	if (take(r, '('))
		return ')';
	return take(r, '[') ? ']' : 0;
}

static bool at_end(struct reader *r)
{
	skip_space(r);
	return *r->at == 0;
}

int constraints_read_tuple(const char *s, struct text *out, bool *in_range)
{
	struct reader r = { s };
	size_t n;
	*in_range = true;
	char close = take_opening(&r);
	text_add(out, "(");
	if (take_integers(&r, close, out, -1, 1, in_range, &n) < 0)
		return -1;
	text_add(out, n == 1 ? ",)" : ")");
	return close ? (at_end(&r) ? 0 : -1) : (n ? 0 : -1);
}

int constraints_read_nested(const char *s, struct text *out, bool *in_range)
{
	struct reader r = { s };
	*in_range = true;
	char outer = take_opening(&r);
	if (!outer)
		return -1;
	text_add(out, "[");
	for (size_t lists = 0; !take(&r, outer); lists++) {
		size_t n;
		char inner = take_opening(&r);
		if (!inner)
			return -1;
		text_add(out, lists ? ", [" : "[");
		if (take_integers(&r, inner, out, 1, 999999999, in_range, &n) < 0)
			return -1;
		text_add(out, "]");
		if (!take(&r, ',')) {
			if (!take(&r, outer))
				return -1;
			break;
		}
	}
	text_add(out, "]");
	return at_end(&r) ? 0 : -1;
}
