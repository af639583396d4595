/* path.c - see path.h.
 *
 * DESIGN: a path is a list of steps; evaluation walks them recursively and appends matches to a list. Steps, nesting
 * and visited nodes are limited, so a hostile path cannot hold the core thread. Source of the dialect: Jayway
 * JsonPath's documentation and recorded AWS behaviour. */
#include "states/path.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/json.h"
#include "states/asl.h"
#include "states/path_impl.h"

struct parser {
	struct arena *arena;
	struct str text;
	size_t at, steps;
	int depth;
	bool embedded;
	const char *why;
};

static bool fail(struct parser *p, const char *why)
{
	if (!p->why)
		p->why = arena_printf(p->arena, "%s at position %zu", why, p->at);
	return false;
}

static int peek(const struct parser *p)
{
	return p->at < p->text.len ? (unsigned char)p->text.ptr[p->at] : -1;
}

static bool take(struct parser *p, char c)
{
	if (peek(p) != (unsigned char)c)
		return false;
	p->at++;
	return true;
}

static void skip_space(struct parser *p)
{
	while (peek(p) == ' ')
		p->at++;
}

static struct path_step *add_step(struct parser *p, struct path *path, enum path_kind kind)
{
	struct path_step *s = ARENA_NEW(p->arena, struct path_step);
	s->kind = kind;
	*path->end = s;
	path->end = &s->next;
	p->steps++;
	return s;
}

/* A quoted name. A backslash stands for itself, but before the quote it makes that a character of the name. */
static bool parse_quoted(struct parser *p, struct str *out)
{
	char quote = (char)peek(p);
	CLEANUP_BUF struct buf b = BUF_INIT;
	p->at++;
	while (peek(p) >= 0 && peek(p) != quote) {
		if (peek(p) == '\\' && p->at + 1 < p->text.len && p->text.ptr[p->at + 1] == quote)
			p->at++;
		buf_add_char(&b, (char)peek(p));
		p->at++;
	}
	if (!take(p, quote))
		return fail(p, "unclosed quote");
	*out = arena_str(p->arena, buf_str(&b));
	return true;
}

static bool parse_int(struct parser *p, int64_t *out)
{
	size_t start = p->at;
	take(p, '-');
	while (isdigit(peek(p)))
		p->at++;
	return str_to_i64(str_of(p->text.ptr + start, p->at - start), out) || fail(p, "a number is expected");
}

/* Nearly everything may stand in a name after a dot; in a filter the operators end it. */
static bool is_name_char(const struct parser *p, int c)
{
	if (c <= ' ' || c == 0x7f || strchr(".[]()*", c))
		return false;
	return !p->embedded || !strchr("<>=!~&|,?:", c);
}

static bool parse_function(struct parser *p, struct path *path, struct str name)
{
	static const char *const known[] = { "length", "size", "min",   "max",  "avg", "sum",
					     "stddev", "keys", "first", "last", NULL };
	p->at++;
	skip_space(p);
	if (!take(p, ')'))
		return fail(p, "functions take no arguments");
	for (int i = 0; known[i]; i++)
		if (str_eqz(name, known[i])) {
			add_step(p, path, PATH_FUNCTION)->name = name;
			return true;
		}
	return fail(p, "unknown function");
}

static bool parse_dot_name(struct parser *p, struct path *path)
{
	size_t start = p->at;
	while (is_name_char(p, peek(p)))
		p->at++;
	struct str name = str_of(p->text.ptr + start, p->at - start);
	if (name.len == 0)
		return fail(p, "a name is expected");
	if (peek(p) == '(')
		return parse_function(p, path, arena_str(p->arena, name));
	add_step(p, path, PATH_NAME)->name = arena_str(p->arena, name);
	return true;
}

static bool parse_names(struct parser *p, struct path *path)
{
	struct str names[64];
	size_t n = 0;
	do {
		skip_space(p);
		if (n == 64 || (peek(p) != '\'' && peek(p) != '"'))
			return fail(p, "a quoted name is expected");
		if (!parse_quoted(p, &names[n++]))
			return false;
		skip_space(p);
	} while (take(p, ','));
	struct path_step *s = add_step(p, path, n == 1 ? PATH_NAME : PATH_NAMES);
	s->name = names[0];
	s->names = ARENA_ARRAY(p->arena, struct str, n);
	memcpy(s->names, names, n * sizeof(*names));
	s->count = n;
	return true;
}

static bool parse_slice_rest(struct parser *p, struct path *path, bool has_first, int64_t first)
{
	struct path_step *s = add_step(p, path, PATH_SLICE);
	s->has_from = has_first;
	s->from = first;
	skip_space(p);
	if (peek(p) == '-' || isdigit(peek(p))) {
		s->has_to = true;
		if (!parse_int(p, &s->to))
			return false;
	}
	s->step = 1;
	if (take(p, ':') && (peek(p) == '-' || isdigit(peek(p))) && !parse_int(p, &s->step))
		return false;
	return s->step > 0 || fail(p, "a slice's step must be positive");
}

static bool parse_numbers(struct parser *p, struct path *path)
{
	int64_t values[256];
	size_t n = 0;
	if (take(p, ':'))
		return parse_slice_rest(p, path, false, 0);
	do {
		skip_space(p);
		if (n == 256 || !parse_int(p, &values[n++]))
			return fail(p, "an index is expected");
		skip_space(p);
	} while (take(p, ','));
	if (n == 1 && take(p, ':'))
		return parse_slice_rest(p, path, true, values[0]);
	struct path_step *s = add_step(p, path, n == 1 ? PATH_INDEX : PATH_INDICES);
	s->from = values[0];
	s->indices = ARENA_ARRAY(p->arena, int64_t, n);
	memcpy(s->indices, values, n * sizeof(*values));
	s->count = n;
	return true;
}

static bool parse_filter(struct parser *p, struct path *path)
{
	size_t used;
	struct path_filter *f = filter_parse(p->arena, str_skip(p->text, p->at), p->depth + 1, &used);
	if (!f)
		return fail(p, "malformed filter");
	p->at += used;
	add_step(p, path, PATH_FILTER)->filter = f;
	return true;
}

/* "(@.length-1)": a place counted from the end, the one script there is. */
static bool parse_script(struct parser *p, struct path *path)
{
	static const char *const words[] = { "(", "@", ".length", "-", NULL };
	int64_t back;
	for (int i = 0; words[i]; i++) {
		skip_space(p);
		if (!str_starts(str_skip(p->text, p->at), str_from(words[i])))
			return fail(p, "the only script is (@.length-N)");
		p->at += strlen(words[i]);
	}
	skip_space(p);
	if (!parse_int(p, &back) || back < 1)
		return fail(p, "the only script is (@.length-N)");
	skip_space(p);
	add_step(p, path, PATH_INDEX)->from = -back;
	return take(p, ')') || fail(p, ") is expected");
}

static bool parse_bracket(struct parser *p, struct path *path)
{
	bool good;
	p->at++;
	skip_space(p);
	int c = peek(p);
	if (c == '*') {
		p->at++;
		add_step(p, path, PATH_ALL);
		good = true;
	} else if (c == '?') {
		p->at++;
		good = parse_filter(p, path);
	} else if (c == '\'' || c == '"') {
		good = parse_names(p, path);
	} else if (c == '(') {
		good = parse_script(p, path);
	} else {
		good = parse_numbers(p, path);
	}
	skip_space(p);
	return good && (take(p, ']') || fail(p, "] is expected"));
}

static bool parse_steps(struct parser *p, struct path *path)
{
	while (p->at < p->text.len) {
		if (p->steps > PATH_MAX_STEPS)
			return fail(p, "the path is too long");
		if (peek(p) == '[') {
			if (!parse_bracket(p, path))
				return false;
		} else if (take(p, '.')) {
			if (take(p, '.'))
				add_step(p, path, PATH_DEEP);
			if (take(p, '*'))
				add_step(p, path, PATH_ALL);
			else if (peek(p) == '[' ? !parse_bracket(p, path) : !parse_dot_name(p, path))
				return false;
		} else if (path->embedded) {
			return true; /* the filter goes on */
		} else {
			return fail(p, "unexpected character");
		}
	}
	return true;
}

/* ['a','b'] at the end makes one object; in the middle the path goes on from each. */
static void settle_names(struct path *path)
{
	path->indefinite = false;
	for (const struct path_step *s = path->steps; s; s = s->next)
		if (s->kind != PATH_NAME && s->kind != PATH_INDEX && s->kind != PATH_FUNCTION &&
		    (s->kind != PATH_NAMES || s->next))
			path->indefinite = true;
}

struct path *path_parse_prefix(struct arena *a, struct str text, bool embedded, int depth, size_t *used,
			       const char **why)
{
	struct parser p = { .arena = a, .text = text, .embedded = embedded, .depth = depth };
	struct path *path = ARENA_NEW(a, struct path);
	path->end = &path->steps;
	path->embedded = embedded;
	path->relative = peek(&p) == '@';
	bool good = depth <= PATH_MAX_DEPTH || fail(&p, "filters are nested too deep");
	good = good && (take(&p, '$') || (embedded && take(&p, '@')) || fail(&p, "a path begins with $")) &&
	       parse_steps(&p, path);
	settle_names(path);
	if (used)
		*used = p.at;
	if (why)
		*why = p.why;
	return good ? path : NULL;
}

struct path *path_parse(struct arena *a, struct str text, const char **why)
{
	while (text.len > 0 && text.ptr[text.len - 1] == ' ')
		text.len--;
	return path_parse_prefix(a, text, false, 0, NULL, why);
}

bool path_is_definite(const struct path *p)
{
	return !p->indefinite;
}

bool path_is_reference(const struct path *p)
{
	for (const struct path_step *s = p->steps; s; s = s->next)
		if (s->kind != PATH_NAME && (s->kind != PATH_INDEX || s->from < 0))
			return false;
	return true;
}

bool path_is_plain(const struct path *p)
{
	for (const struct path_step *s = p->steps; s; s = s->next)
		if (s->kind != PATH_NAME && s->kind != PATH_INDEX)
			return false;
	return true;
}

/* ---- evaluation ---- */

static void walk(struct walk *w, const struct path_step *s, json_t *value);

static json_t *member(json_t *object, struct str name)
{
	return json_is_object(object) ? json_object_getn(object, name.ptr, name.len) : NULL;
}

static json_t *element(json_t *array, int64_t index)
{
	if (!json_is_array(array))
		return NULL;
	if (index < 0)
		index += (int64_t)json_array_size(array);
	return index < 0 ? NULL : json_array_get(array, (size_t)index);
}

static void each_child(json_t *value, struct walk *w, const struct path_step *next,
		       void (*fn)(struct walk *, const struct path_step *, json_t *))
{
	json_t *child;
	size_t i;
	const char *key;
	if (json_is_array(value))
		json_array_foreach (value, i, child)
			fn(w, next, child);
	else
		json_object_foreach (value, key, child)
			fn(w, next, child);
}

/* The value itself and everything below it, parents first. */
static void walk_deep(struct walk *w, const struct path_step *next, json_t *value)
{
	if (--*w->visits < 0)
		return;
	/* A name or index step is applied where it fits; other steps apply to containers. */
	if (next->kind == PATH_NAME ? json_is_object(value) : json_is_object(value) || json_is_array(value))
		walk(w, next, value);
	each_child(value, w, next, walk_deep);
}

static void walk_slice(struct walk *w, const struct path_step *s, json_t *value)
{
	int64_t n = (int64_t)json_array_size(value), from = s->has_from ? s->from : 0, to = s->has_to ? s->to : n;
	if (!json_is_array(value))
		return;
	from = from < 0 ? from + n : from;
	to = to < 0 ? to + n : to > n ? n : to;
	for (int64_t i = from < 0 ? 0 : from; i < to; i += s->step < n ? s->step : n)
		walk(w, s->next, json_array_get(value, (size_t)i));
}

/* ['a','b'] at the end: one object of the members that are there. */
static void walk_names(struct walk *w, const struct path_step *s, json_t *value)
{
	json_t *child;
	if (!json_is_object(value))
		return;
	CLEANUP_JSON json_t *made = json_object();
	for (size_t i = 0; i < s->count; i++)
		if ((child = member(value, s->names[i])))
			json_object_setn(made, s->names[i].ptr, s->names[i].len, child);
	walk(w, NULL, made);
}

static void walk_filter(struct walk *w, const struct path_step *s, json_t *value)
{
	json_t *child;
	size_t i;
	if (json_is_array(value)) {
		json_array_foreach (value, i, child)
			if (filter_matches(w, s->filter, child))
				walk(w, s->next, child);
	} else if (json_is_object(value) && filter_matches(w, s->filter, value)) {
		walk(w, s->next, value);
	}
}

static void walk(struct walk *w, const struct path_step *s, json_t *value)
{
	json_t *child;
	if (--*w->visits < 0)
		return;
	if (!s) {
		json_array_append(w->matches, value);
		return;
	}
	switch (s->kind) {
	case PATH_NAME:
		if ((child = member(value, s->name)))
			walk(w, s->next, child);
		return;
	case PATH_INDEX:
		if ((child = element(value, s->from)))
			walk(w, s->next, child);
		return;
	case PATH_NAMES:
		if (!s->next) {
			walk_names(w, s, value);
			return;
		}
		for (size_t i = 0; i < s->count; i++)
			if ((child = member(value, s->names[i])))
				walk(w, s->next, child);
		return;
	case PATH_INDICES:
		for (size_t i = 0; i < s->count; i++)
			if ((child = element(value, s->indices[i])))
				walk(w, s->next, child);
		return;
	case PATH_SLICE:
		walk_slice(w, s, value);
		return;
	case PATH_ALL:
		each_child(value, w, s->next, walk);
		return;
	case PATH_DEEP:
		if (s->next)
			walk_deep(w, s->next, value);
		return;
	case PATH_FILTER:
		walk_filter(w, s, value);
		return;
	case PATH_FUNCTION: {
		json_t *made = path_function(s->name, value);
		if (made) {
			walk(w, s->next, made);
			json_decref(made);
		}
		return;
	}
	}
}

static void add_way(struct buf *way, const struct path_step *s)
{
	if (s->kind == PATH_NAME)
		buf_printf(way, "['%.*s']", STR_ARG(s->name));
	else if (s->kind == PATH_INDEX)
		buf_printf(way, "[%lld]", (long long)s->from);
	else if (s->kind == PATH_NAMES)
		for (size_t i = 0; i < s->count; i++)
			buf_printf(way, "%s'%.*s'%s", i ? "," : "[", STR_ARG(s->names[i]), i + 1 < s->count ? "" : "]");
	else if (s->kind == PATH_FUNCTION)
		buf_printf(way, ".%.*s()", STR_ARG(s->name));
}

/* What the library calls the class of a value. */
static const char *class_of(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_STRING:
		return "com.fasterxml.jackson.databind.node.TextNode";
	case JSON_INTEGER:
		return "com.fasterxml.jackson.databind.node.IntNode";
	case JSON_REAL:
		return "com.fasterxml.jackson.databind.node.DoubleNode";
	case JSON_ARRAY:
		return "com.fasterxml.jackson.databind.node.ArrayNode";
	case JSON_NULL:
		return "com.fasterxml.jackson.databind.node.NullNode";
	default:
		return "com.fasterxml.jackson.databind.node.BooleanNode";
	}
}

/* Why a definite path gave nothing, in the words of the library. */
static const char *explain(struct arena *a, const struct path *p, json_t *value)
{
	CLEANUP_BUF struct buf way = BUF_INIT;
	CLEANUP_BUF struct buf whole = BUF_INIT;
	buf_addz(&way, "$");
	buf_addz(&whole, "$");
	for (const struct path_step *s = p->steps; s; s = s->next)
		add_way(&whole, s);
	for (const struct path_step *s = p->steps; s && (s->kind == PATH_NAME || s->kind == PATH_INDEX); s = s->next) {
		if (s->kind == PATH_NAME && value && !json_is_object(value))
			return arena_printf(a,
					    "Expected to find an object with property ['%.*s'] in path %s but found "
					    "'%s'. This is not a json object according to the JsonProvider: "
					    "'com.jayway.jsonpath.spi.json.JacksonJsonNodeJsonProvider'.",
					    STR_ARG(s->name), way.ptr, class_of(value));
		if (s->kind == PATH_INDEX && !json_is_array(value))
			return arena_printf(a, "Filter: [%lld] can only be applied to arrays. Current context is: %.*s",
					    (long long)s->from, STR_ARG(asl_text(a, value)));
		json_t *child = s->kind == PATH_NAME ? member(value, s->name) : element(value, s->from);
		add_way(&way, s);
		if (!child && s->kind == PATH_NAME && s->next)
			return arena_printf(a, "Missing property in path %s", way.ptr);
		if (!child)
			break;
		value = child;
	}
	return arena_printf(a, "No results for path: %s", whole.ptr);
}

/* An aggregate at the end of an indefinite path works on the list of matches. NULL when the path has none. */
static const struct path_step *aggregate_of(const struct path *p)
{
	const struct path_step *last = p->steps;
	while (last && last->next)
		last = last->next;
	return p->indefinite && last && last->kind == PATH_FUNCTION && last != p->steps ? last : NULL;
}

/* The steps before `last`. */
static struct path_step *steps_before(struct arena *a, const struct path *p, const struct path_step *last)
{
	struct path_step *steps = NULL, **end = &steps;
	for (const struct path_step *s = p->steps; s != last; s = s->next) {
		*end = ARENA_NEW(a, struct path_step);
		**end = *s;
		(*end)->next = NULL;
		end = &(*end)->next;
	}
	return steps;
}

static enum path_status eval(struct walk *w, const struct path *p, json_t **out)
{
	const struct path_step *last = aggregate_of(p);
	walk(w, last ? steps_before(w->arena, p, last) : p->steps, w->root);
	if (*w->visits < 0)
		return PATH_NONE;
	if (last)
		*out = path_function(last->name, w->matches);
	else
		*out = json_incref(p->indefinite ? w->matches : json_array_get(w->matches, 0));
	return *out ? PATH_FOUND : PATH_NONE;
}

enum path_status path_eval(struct arena *a, const struct path *p, json_t *root, json_t **out, const char **why)
{
	CLEANUP_JSON json_t *matches = NULL;
	int64_t visits = PATH_MAX_VISITS;
	json_t *at = root;
	const struct path_step *s = p->steps;
	/* Names and indices alone, as nearly all paths are, need no list. */
	for (; s && at && (s->kind == PATH_NAME || s->kind == PATH_INDEX); s = s->next)
		at = s->kind == PATH_NAME ? member(at, s->name) : element(at, s->from);
	if (!s && at) {
		*out = json_incref(at);
		return PATH_FOUND;
	}
	matches = json_array();
	struct walk w = { a, root, matches, &visits };
	enum path_status status = eval(&w, p, out);
	asl_work += PATH_MAX_VISITS - visits;
	if (status == PATH_FOUND)
		return PATH_FOUND;
	if (why)
		*why = visits < 0 ? "The path visits too many nodes" : explain(a, p, root);
	return PATH_NONE;
}

enum path_status path_eval_within(const struct walk *outer, const struct path *p, json_t *root, json_t **out)
{
	CLEANUP_JSON json_t *matches = json_array();
	struct walk w = { outer->arena, root, matches, outer->visits };
	return eval(&w, p, out);
}

static json_t *put_step(const struct path_step *s, const json_t *base, json_t *value)
{
	if (!s)
		return json_incref(value);
	CLEANUP_JSON json_t *child = NULL;
	if (s->kind == PATH_INDEX) {
		if (!json_is_array(base) || (size_t)s->from >= json_array_size(base))
			return NULL;
		child = put_step(s->next, json_array_get(base, (size_t)s->from), value);
		json_t *copy = child ? json_copy((json_t *)base) : NULL;
		if (copy)
			json_array_set(copy, (size_t)s->from, child);
		return copy;
	}
	if (base && !json_is_object(base))
		return NULL;
	child = put_step(s->next, json_object_getn(base, s->name.ptr, s->name.len), value);
	json_t *copy = !child ? NULL : base ? json_copy((json_t *)base) : json_object();
	if (copy)
		json_object_setn(copy, s->name.ptr, s->name.len, child);
	return copy;
}

json_t *path_with(const struct path *p, const json_t *root, json_t *value)
{
	return put_step(p->steps, root, value);
}
