/* path_filter.c - filters and functions of JSONPath; see path.h.
 *
 * DESIGN: a filter is a small tree: or, and, not, comparison. A path without a comparison tests for existence. A
 * regular expression is compiled with the path and runs in PCRE2 with limits, so that a pattern cannot hang the daemon.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <ctype.h>
#include <math.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "states/asl.h"
#include "states/path_impl.h"

enum filter_kind { FILTER_OR, FILTER_AND, FILTER_NOT, FILTER_COMPARE, FILTER_EXISTS };
enum filter_op {
	OP_EQ,
	OP_NE,
	OP_LE,
	OP_LT,
	OP_GE,
	OP_GT,
	OP_REGEX,
	OP_IN,
	OP_NIN,
	OP_SUBSETOF,
	OP_ANYOF,
	OP_NONEOF,
	OP_CONTAINS,
	OP_SIZE,
	OP_EMPTY
};

struct operand {
	struct path *path; /* or */
	json_t *literal;   /* freed with the arena, as is */
	pcre2_code *regex;
};
struct path_filter {
	enum filter_kind kind;
	enum filter_op op;
	struct path_filter *left, *right;
	struct operand a, b;
};

enum { REGEX_MATCH_LIMIT = 10000, REGEX_HEAP_KIB = 1024 };

struct fparser {
	struct arena *arena;
	struct str text;
	size_t at;
	int depth;
};

static void skip_space(struct fparser *p)
{
	while (p->at < p->text.len && isspace((unsigned char)p->text.ptr[p->at]))
		p->at++;
}

static bool take_word(struct fparser *p, const char *word)
{
	skip_space(p);
	struct str w = str_from(word);
	if (!str_starts(str_skip(p->text, p->at), w))
		return false;
	if (isalpha((unsigned char)word[0]) && p->at + w.len < p->text.len &&
	    isalnum((unsigned char)p->text.ptr[p->at + w.len]))
		return false;
	p->at += w.len;
	return true;
}

static void free_regex(void *code)
{
	pcre2_code_free(code);
}

static void free_literal(void *value)
{
	json_decref(value);
}

static bool take_constant(struct fparser *p, struct operand *o)
{
	o->literal = take_word(p, "true")    ? json_true()
		     : take_word(p, "false") ? json_false()
		     : take_word(p, "null")  ? json_null()
					     : NULL;
	return o->literal != NULL;
}

/* 'text', "text", a number, true, false, null, or [ … ]. */
static bool parse_literal(struct fparser *p, struct operand *o)
{
	struct str rest = str_skip(p->text, p->at);
	char quote = rest.len ? rest.ptr[0] : 0;
	if (quote == '\'' || quote == '"') {
		char *text = arena_alloc(p->arena, rest.len + 1);
		size_t n = 0, i = 1;
		for (; i < rest.len && rest.ptr[i] != quote; i++) {
			if (rest.ptr[i] == '\\' && i + 1 < rest.len)
				i++;
			text[n++] = rest.ptr[i];
		}
		if (i >= rest.len || !(o->literal = json_stringn(text, n)))
			return false;
		p->at += i + 1;
	} else if (isalpha((unsigned char)quote) && !take_constant(p, o)) {
		/* A bare word is its own text. */
		size_t n = 0;
		while (n < rest.len &&
		       (isalnum((unsigned char)rest.ptr[n]) || rest.ptr[n] == '_' || rest.ptr[n] == '-'))
			n++;
		o->literal = json_stringn(rest.ptr, n);
		p->at += n;
	} else if (!o->literal) {
		json_error_t e;
		o->literal = json_loadb(rest.ptr, rest.len, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &e);
		if (!o->literal)
			return false;
		p->at += (size_t)e.position;
	}
	arena_defer(p->arena, free_literal, o->literal);
	return true;
}

static bool parse_regex(struct fparser *p, struct operand *o)
{
	int code;
	PCRE2_SIZE offset;
	uint32_t options = PCRE2_UTF | PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_BACKSLASH_C;
	size_t start = ++p->at;
	while (p->at < p->text.len && p->text.ptr[p->at] != '/')
		p->at += p->text.ptr[p->at] == '\\' ? 2 : 1;
	if (p->at >= p->text.len)
		return false;
	struct str pattern = str_of(p->text.ptr + start, p->at - start);
	for (p->at++; p->at < p->text.len && isalpha((unsigned char)p->text.ptr[p->at]); p->at++)
		options |= p->text.ptr[p->at] == 'i'   ? PCRE2_CASELESS
			   : p->text.ptr[p->at] == 's' ? PCRE2_DOTALL
			   : p->text.ptr[p->at] == 'm' ? PCRE2_MULTILINE
						       : 0;
	o->regex = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len, options, &code, &offset, NULL);
	if (o->regex)
		arena_defer(p->arena, free_regex, o->regex);
	return o->regex != NULL;
}

static bool parse_operand(struct fparser *p, struct operand *o)
{
	size_t used;
	skip_space(p);
	struct str rest = str_skip(p->text, p->at);
	if (rest.len == 0)
		return false;
	if (rest.ptr[0] == '@' || rest.ptr[0] == '$') {
		o->path = path_parse_prefix(p->arena, rest, true, p->depth, &used, NULL);
		p->at += used;
		return o->path != NULL;
	}
	return rest.ptr[0] == '/' ? parse_regex(p, o) : parse_literal(p, o);
}

static struct path_filter *parse_or(struct fparser *p);

static struct path_filter *node(struct fparser *p, enum filter_kind kind, struct path_filter *left,
				struct path_filter *right)
{
	struct path_filter *f = ARENA_NEW(p->arena, struct path_filter);
	f->kind = kind;
	f->left = left;
	f->right = right;
	return f;
}

static struct path_filter *parse_comparison(struct fparser *p)
{
	static const struct {
		const char *word;
		enum filter_op op;
	} ops[] = {
		{ "==", OP_EQ },
		{ "!=", OP_NE },
		{ "<=", OP_LE },
		{ ">=", OP_GE },
		{ "=~", OP_REGEX },
		{ "<", OP_LT },
		{ ">", OP_GT },
		{ "in", OP_IN },
		{ "nin", OP_NIN },
		{ "subsetof", OP_SUBSETOF },
		{ "anyof", OP_ANYOF },
		{ "noneof", OP_NONEOF },
		{ "contains", OP_CONTAINS },
		{ "size", OP_SIZE },
		{ "empty", OP_EMPTY },
	};
	struct path_filter *f = node(p, FILTER_EXISTS, NULL, NULL);
	if (!parse_operand(p, &f->a))
		return NULL;
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		if (take_word(p, ops[i].word)) {
			f->kind = FILTER_COMPARE;
			f->op = ops[i].op;
			return parse_operand(p, &f->b) ? f : NULL;
		}
	return f;
}

static struct path_filter *parse_unary(struct fparser *p)
{
	struct path_filter *inner;
	if (++p->depth > PATH_MAX_DEPTH)
		return NULL;
	if (take_word(p, "!")) {
		inner = parse_unary(p);
		inner = inner ? node(p, FILTER_NOT, inner, NULL) : NULL;
	} else if (take_word(p, "(")) {
		inner = parse_or(p);
		if (inner && !take_word(p, ")"))
			inner = NULL;
	} else {
		inner = parse_comparison(p);
	}
	p->depth--;
	return inner;
}

static struct path_filter *parse_and(struct fparser *p)
{
	struct path_filter *left = parse_unary(p);
	while (left && take_word(p, "&&")) {
		struct path_filter *right = parse_unary(p);
		left = right ? node(p, FILTER_AND, left, right) : NULL;
	}
	return left;
}

static struct path_filter *parse_or(struct fparser *p)
{
	struct path_filter *left = parse_and(p);
	while (left && take_word(p, "||")) {
		struct path_filter *right = parse_and(p);
		left = right ? node(p, FILTER_OR, left, right) : NULL;
	}
	return left;
}

struct path_filter *filter_parse(struct arena *a, struct str text, int depth, size_t *used)
{
	struct fparser p = { .arena = a, .text = text, .depth = depth };
	struct path_filter *f = take_word(&p, "(") ? parse_or(&p) : NULL;
	if (!f || !take_word(&p, ")"))
		return NULL;
	*used = p.at;
	return f;
}

/* ---- matching ---- */

/* The operand's value, owned, or NULL when its path gives nothing. */
static json_t *value_of(struct walk *w, const struct operand *o, json_t *current)
{
	json_t *out = NULL;
	if (o->literal)
		return json_incref(o->literal);
	if (o->path)
		path_eval_within(w, o->path, o->path->relative ? current : w->root, &out);
	return out;
}

/* -1, 0, 1; 2 when the two have no order. */
static int order(const json_t *a, const json_t *b)
{
	if (json_is_number(a) && json_is_number(b)) {
		double x = json_number_value(a), y = json_number_value(b);
		return (x > y) - (x < y);
	}
	if (json_is_string(a) && json_is_string(b)) {
		int rc = str_cmp(json_str(a), json_str(b));
		return (rc > 0) - (rc < 0);
	}
	return 2;
}

/* The library compares a number and a text by what the left one is. */
static bool equal(const json_t *a, const json_t *b)
{
	double d;
	char text[40];
	if (json_is_number(a) && json_is_number(b))
		return order(a, b) == 0;
	if (json_is_number(a) && json_is_string(b))
		return str_to_double(json_str(b), &d) && d == json_number_value(a);
	if (json_is_string(a) && json_is_integer(b)) {
		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(b));
		return str_eqz(json_str(a), text);
	}
	if (json_is_string(a) && json_is_real(b)) {
		asl_number_text(json_real_value(b), text);
		return str_eqz(json_str(a), text);
	}
	return json_equal(a, b);
}

static bool array_has(const json_t *array, const json_t *value)
{
	json_t *item;
	size_t i;
	json_array_foreach (array, i, item)
		if (equal(item, value))
			return true;
	return false;
}

static size_t count_in(const json_t *items, const json_t *array)
{
	json_t *item;
	size_t i, n = 0;
	json_array_foreach (items, i, item)
		n += array_has(array, item);
	return n;
}

/* A pattern that hits its limits ends the whole evaluation. */
static bool regex_matches(struct walk *w, const struct operand *o, const json_t *value)
{
	struct str text = json_str(value);
	*w->visits -= PATH_REGEX_VISITS;
	if (!json_is_string(value) || !o->regex || *w->visits < 0)
		return false;
	pcre2_match_context *limits = pcre2_match_context_create(NULL);
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	pcre2_set_match_limit(limits, REGEX_MATCH_LIMIT);
	pcre2_set_heap_limit(limits, REGEX_HEAP_KIB);
	int rc = pcre2_match(o->regex, (PCRE2_SPTR)text.ptr, text.len, 0, 0, data, limits);
	if (rc < PCRE2_ERROR_PARTIAL)
		*w->visits = -1;
	pcre2_match_data_free(data);
	pcre2_match_context_free(limits);
	return rc >= 0;
}

static size_t size_of(const json_t *v)
{
	return json_is_array(v) ? json_array_size(v) : json_is_object(v) ? json_object_size(v) : json_string_length(v);
}

static bool compare(struct walk *w, const struct path_filter *f, const json_t *a, const json_t *b)
{
	int rc;
	switch (f->op) {
	case OP_EQ:
		return a && b ? equal(a, b) : a == b;
	case OP_NE:
		return !(a && b ? equal(a, b) : a == b);
	case OP_REGEX:
		return a && regex_matches(w, &f->b, a);
	default:
		break;
	}
	if (!a || !b)
		return f->op == OP_NIN;
	rc = order(a, b);
	if (f->op >= OP_IN && f->op <= OP_CONTAINS)
		*w->visits -= (int64_t)(json_array_size(b) + 1) * (int64_t)(json_array_size(a) + 1);
	if (*w->visits < 0)
		return false;
	switch (f->op) {
	case OP_LT:
		return rc == -1;
	case OP_LE:
		return rc == -1 || rc == 0;
	case OP_GT:
		return rc == 1;
	case OP_GE:
		return rc == 1 || rc == 0;
	case OP_IN:
		return array_has(b, a);
	case OP_NIN:
		return !array_has(b, a);
	case OP_SUBSETOF:
		return json_is_array(a) && count_in(a, b) == json_array_size(a);
	case OP_ANYOF:
		return count_in(a, b) > 0;
	case OP_NONEOF:
		return count_in(a, b) == 0;
	case OP_CONTAINS:
		return json_is_string(a) && json_is_string(b) ? str_find(json_str(a), json_str(b)) >= 0
							      : array_has(a, b);
	case OP_SIZE:
		return json_is_integer(b) && (json_int_t)size_of(a) == json_integer_value(b);
	case OP_EMPTY:
		return json_is_boolean(b) && (size_of(a) == 0) == json_is_true(b);
	default:
		return false;
	}
}

bool filter_matches(struct walk *w, const struct path_filter *f, json_t *value)
{
	switch (f->kind) {
	case FILTER_OR:
		return filter_matches(w, f->left, value) || filter_matches(w, f->right, value);
	case FILTER_AND:
		return filter_matches(w, f->left, value) && filter_matches(w, f->right, value);
	case FILTER_NOT:
		return !filter_matches(w, f->left, value);
	default:
		break;
	}
	CLEANUP_JSON json_t *a = value_of(w, &f->a, value);
	if (f->kind == FILTER_EXISTS)
		return f->a.path && f->a.path->indefinite ? json_array_size(a) > 0 : a != NULL;
	CLEANUP_JSON json_t *b = value_of(w, &f->b, value);
	return compare(w, f, a, b);
}

/* ---- functions ---- */

static json_t *number(double d)
{
	return json_real(d); /* the library answers doubles */
}

json_t *path_function(struct str name, json_t *value)
{
	double sum = 0, squares = 0, least = INFINITY, most = -INFINITY;
	size_t i, n = 0;
	json_t *item;
	const char *key;
	if (str_eqz(name, "length") || str_eqz(name, "size"))
		return json_is_array(value) || json_is_object(value) || json_is_string(value)
			       ? json_integer((json_int_t)size_of(value))
			       : NULL;
	if (str_eqz(name, "keys")) {
		json_t *keys = json_is_object(value) ? json_array() : NULL;
		json_object_foreach (value, key, item)
			json_array_append_new(keys, json_string(key));
		return keys;
	}
	if (str_eqz(name, "first"))
		return json_incref(json_array_get(value, 0));
	if (str_eqz(name, "last"))
		return json_array_size(value) ? json_incref(json_array_get(value, json_array_size(value) - 1)) : NULL;
	json_array_foreach (value, i, item) {
		if (!json_is_number(item))
			continue;
		double d = json_number_value(item);
		n++;
		sum += d;
		squares += d * d;
		least = fmin(least, d);
		most = fmax(most, d);
	}
	if (n == 0)
		return NULL;
	if (str_eqz(name, "sum"))
		return number(sum);
	if (str_eqz(name, "min"))
		return number(least);
	if (str_eqz(name, "max"))
		return number(most);
	double mean = sum / (double)n;
	return number(str_eqz(name, "avg") ? mean : sqrt(fmax(0, squares / (double)n - mean * mean)));
}
