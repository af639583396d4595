/* filter_json.c - `{ $.a = 1 && ... }`.
 *
 * DESIGN: a recursive-descent parser (|| below && below a comparison), depth-limited, and a walk over the event's JSON.
 * A comparison of a number that the event holds as text compares nothing: types must agree, as on AWS. `*` in a string
 * matches any run of characters. */
#include "logs/filter_json.h"

#include "base/json.h"

#include <ctype.h>
#include <math.h>

#define DEPTH_MAX 32

enum node_kind {
	NODE_OR,
	NODE_AND,
	NODE_EQ,
	NODE_NE,
	NODE_LT,
	NODE_LE,
	NODE_GT,
	NODE_GE,
	NODE_NULL,
	NODE_TRUE,
	NODE_FALSE,
	NODE_EXISTS,
	NODE_ABSENT
};

struct hop {
	struct str key; /* ptr NULL: an index */
	int64_t index;
	struct hop *next;
};

struct json_filter {
	enum node_kind kind;
	struct json_filter *left, *right;
	struct hop *path;
	bool is_number;
	double number;
	struct str text;
};

struct parser {
	struct arena *arena;
	struct str rest;
	int depth;
	struct error *err;
};

static void *bad(struct parser *p, const char *what)
{
	error_aws(p->err, "InvalidParameterException", "Invalid filter pattern: %s", what);
	return NULL;
}

static bool accept(struct parser *p, const char *token)
{
	p->rest = str_trim(p->rest);
	struct str t = str_from(token);
	if (!str_starts(p->rest, t))
		return false;
	p->rest = str_skip(p->rest, t.len);
	return true;
}

/* A keyword: followed by no letter. */
static bool accept_word(struct parser *p, const char *word)
{
	p->rest = str_trim(p->rest);
	size_t n = strlen(word);
	if (p->rest.len < n || !str_eq_nocase(str_head(p->rest, n), str_of(word, n)))
		return false;
	if (p->rest.len > n && isalnum((unsigned char)p->rest.ptr[n]))
		return false;
	p->rest = str_skip(p->rest, n);
	return true;
}

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || (unsigned char)c >= 0x80;
}

/* "['key']" or "[3]"; behind the bracket. */
static struct hop *parse_bracket(struct parser *p)
{
	struct hop *h = ARENA_NEW(p->arena, struct hop);
	ptrdiff_t end;
	if (p->rest.len && (p->rest.ptr[0] == '\'' || p->rest.ptr[0] == '"')) {
		char quote = p->rest.ptr[0];
		p->rest = str_skip(p->rest, 1);
		end = str_find_char(p->rest, quote);
		if (end < 0)
			return bad(p, "a quoted key is not closed");
		h->key = arena_str(p->arena, str_head(p->rest, (size_t)end));
		p->rest = str_skip(p->rest, (size_t)end + 1);
		return accept(p, "]") ? h : bad(p, "`]` is missing");
	}
	end = str_find_char(p->rest, ']');
	if (end < 0 || !str_to_i64(str_head(p->rest, (size_t)end), &h->index) || h->index < 0)
		return bad(p, "an array index must be a number");
	p->rest = str_skip(p->rest, (size_t)end + 1);
	return h;
}

/* The path behind "$". *out is NULL for "$" itself. False on an error. */
static bool parse_path(struct parser *p, struct hop **out)
{
	struct hop **tail = out;
	*out = NULL;
	for (;;) {
		struct hop *h;
		if (p->rest.len && p->rest.ptr[0] == '.') {
			size_t n = 1;
			while (n < p->rest.len && is_name(p->rest.ptr[n]))
				n++;
			if (n == 1)
				return bad(p, "a selector has an empty name") != NULL;
			h = ARENA_NEW(p->arena, struct hop);
			h->key = arena_str(p->arena, str_of(p->rest.ptr + 1, n - 1));
			p->rest = str_skip(p->rest, n);
		} else if (p->rest.len && p->rest.ptr[0] == '[') {
			p->rest = str_skip(p->rest, 1);
			h = parse_bracket(p);
			if (!h)
				return false;
		} else {
			return true;
		}
		*tail = h;
		tail = &h->next;
	}
}

static bool parse_value(struct parser *p, struct json_filter *node)
{
	p->rest = str_trim(p->rest);
	if (accept(p, "\"")) {
		ptrdiff_t end = str_find_char(p->rest, '"');
		if (end < 0)
			return bad(p, "a string is not closed") != NULL;
		node->text = str_head(p->rest, (size_t)end);
		p->rest = str_skip(p->rest, (size_t)end + 1);
		return true;
	}
	size_t n = 0;
	while (n < p->rest.len && (is_name(p->rest.ptr[n]) || strchr(".*+:/", p->rest.ptr[n])))
		n++;
	if (n == 0)
		return bad(p, "a value is missing") != NULL;
	node->text = str_head(p->rest, n);
	node->is_number = str_to_double(node->text, &node->number);
	p->rest = str_skip(p->rest, n);
	return true;
}

static struct json_filter *parse_comparison(struct parser *p)
{
	static const struct {
		const char *token;
		enum node_kind kind;
	} ops[] = {
		{ "!=", NODE_NE }, { "<=", NODE_LE }, { ">=", NODE_GE },
		{ "=", NODE_EQ },  { "<", NODE_LT },  { ">", NODE_GT },
	};
	struct json_filter *node = ARENA_NEW(p->arena, struct json_filter);
	if (!accept(p, "$"))
		return bad(p, "a selector must start with `$`");
	if (!parse_path(p, &node->path))
		return NULL;
	if (accept_word(p, "NOT"))
		node->kind = NODE_ABSENT;
	else
		node->kind = NODE_EXISTS;
	if (accept_word(p, "EXISTS"))
		return node;
	if (node->kind == NODE_ABSENT)
		return bad(p, "`NOT` must be followed by `EXISTS`");
	if (accept_word(p, "IS")) {
		node->kind = accept_word(p, "NULL") ? NODE_NULL : accept_word(p, "TRUE") ? NODE_TRUE : NODE_FALSE;
		if (node->kind == NODE_FALSE && !accept_word(p, "FALSE"))
			return bad(p, "`IS` must be followed by NULL, TRUE or FALSE");
		return node;
	}
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (!accept(p, ops[i].token))
			continue;
		node->kind = ops[i].kind;
		if (!parse_value(p, node))
			return NULL;
		if (node->kind != NODE_EQ && node->kind != NODE_NE && !node->is_number)
			return bad(p, "`<` and `>` compare numbers only");
		return node;
	}
	return bad(p, "an operator is missing");
}

static struct json_filter *parse_any(struct parser *p);

static struct json_filter *parse_single(struct parser *p)
{
	if (++p->depth > DEPTH_MAX)
		return bad(p, "it is nested too deeply");
	struct json_filter *node;
	if (accept(p, "(")) {
		node = parse_any(p);
		if (node && !accept(p, ")"))
			return bad(p, "`)` is missing");
	} else {
		node = parse_comparison(p);
	}
	p->depth--;
	return node;
}

static struct json_filter *join(struct parser *p, enum node_kind kind, struct json_filter *left,
				struct json_filter *right)
{
	struct json_filter *node = ARENA_NEW(p->arena, struct json_filter);
	node->kind = kind;
	node->left = left;
	node->right = right;
	return node;
}

static struct json_filter *parse_all(struct parser *p)
{
	struct json_filter *node = parse_single(p);
	while (node && accept(p, "&&")) {
		struct json_filter *right = parse_single(p);
		node = right ? join(p, NODE_AND, node, right) : NULL;
	}
	return node;
}

static struct json_filter *parse_any(struct parser *p)
{
	struct json_filter *node = parse_all(p);
	while (node && accept(p, "||")) {
		struct json_filter *right = parse_all(p);
		node = right ? join(p, NODE_OR, node, right) : NULL;
	}
	return node;
}

struct json_filter *json_filter_new(struct arena *a, struct str pattern, struct error *err)
{
	struct parser p = { .arena = a, .rest = pattern, .err = err };
	if (!accept(&p, "{"))
		return bad(&p, "`{` is missing");
	struct json_filter *node = parse_any(&p);
	if (!node)
		return NULL;
	if (!accept(&p, "}"))
		return bad(&p, "`}` is missing");
	if (str_trim(p.rest).len)
		return bad(&p, "there is text behind `}`");
	return node;
}

static const json_t *find(const json_t *value, const struct hop *h)
{
	for (; h && value; h = h->next)
		value = h->key.ptr ? json_object_get(value, h->key.ptr) : json_array_get(value, (size_t)h->index);
	return value;
}

static bool equals(const struct json_filter *f, const json_t *v)
{
	if (f->is_number && json_is_number(v))
		return fabs(json_number_value(v) - f->number) == 0;
	return json_is_string(v) && str_glob(f->text, json_str(v), 0);
}

static bool compare(const struct json_filter *f, const json_t *v)
{
	if (!json_is_number(v))
		return false;
	double n = json_number_value(v);
	switch (f->kind) {
	case NODE_LT:
		return n < f->number;
	case NODE_LE:
		return n <= f->number;
	case NODE_GT:
		return n > f->number;
	default:
		return n >= f->number;
	}
}

static bool holds(const struct json_filter *f, const json_t *event)
{
	const json_t *v = NULL;
	if (f->kind != NODE_OR && f->kind != NODE_AND)
		v = find(event, f->path);
	switch (f->kind) {
	case NODE_OR:
		return holds(f->left, event) || holds(f->right, event);
	case NODE_AND:
		return holds(f->left, event) && holds(f->right, event);
	case NODE_EXISTS:
		return v != NULL;
	case NODE_ABSENT:
		return v == NULL;
	case NODE_NULL:
		return json_is_null(v);
	case NODE_TRUE:
		return json_is_true(v);
	case NODE_FALSE:
		return json_is_false(v);
	case NODE_EQ:
		return v && equals(f, v);
	case NODE_NE:
		return v && !equals(f, v);
	default:
		return v && compare(f, v);
	}
}

bool json_filter_matches(const struct json_filter *f, struct str text)
{
	text = str_trim(text);
	if (text.len < 2 || text.ptr[0] != '{')
		return false;
	CLEANUP_JSON json_t *event = json_parse(text, NULL);
	return event && holds(f, event);
}
