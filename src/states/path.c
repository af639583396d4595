/* path.c - see path.h.
 *
 * DESIGN: a path is a list of steps; evaluation walks them recursively and appends matches to a list. Depth and work are bounded by the
 * document's size, because no step can grow it. Source of the dialect: Jayway JsonPath's documentation and recorded AWS behaviour. */
#include "states/path.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/json.h"
#include "states/path_impl.h"

struct parser {
	struct arena *arena;
	struct str text;
	size_t at;
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
	if (kind != PATH_NAME && kind != PATH_INDEX && kind != PATH_FUNCTION)
		path->indefinite = true;
	return s;
}

/* A quoted name with backslash escapes. */
static bool parse_quoted(struct parser *p, struct str *out)
{
	char quote = (char)peek(p);
	CLEANUP_BUF struct buf b = BUF_INIT;
	p->at++;
	while (peek(p) >= 0 && peek(p) != quote) {
		if (peek(p) == '\\' && p->at + 1 < p->text.len)
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

static bool is_name_char(int c)
{
	return c >= 0 && (isalnum(c) || c == '_' || c == '-' || c == '$' || c == '@' || c == '#' || c == '%' || c == '&' || c == '+' || c == '/' || c == '\\' || c >= 0x80 ||
			  c == '^' || c == '~' || c == '`' || c == ';' || c == '{' || c == '}' || c == '"' || c == '|' || c == '<' || c == '>');
}

static bool parse_function(struct parser *p, struct path *path, struct str name)
{
	static const char *const known[] = { "length", "size", "min", "max", "avg", "sum", "stddev", "keys", "first", "last", NULL };
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
	while (is_name_char(peek(p)))
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
	struct path_filter *f = filter_parse(p->arena, str_skip(p->text, p->at), &used);
	if (!f)
		return fail(p, "malformed filter");
	p->at += used;
	add_step(p, path, PATH_FILTER)->filter = f;
	return true;
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
	} else {
		good = parse_numbers(p, path);
	}
	skip_space(p);
	return good && (take(p, ']') || fail(p, "] is expected"));
}

static bool parse_steps(struct parser *p, struct path *path)
{
	while (p->at < p->text.len) {
		if (peek(p) == '[') {
			if (!parse_bracket(p, path))
				return false;
		} else if (take(p, '.')) {
			bool deep = take(p, '.');
			if (deep)
				add_step(p, path, PATH_DEEP);
			if (take(p, '*'))
				add_step(p, path, PATH_ALL);
			else if (deep && peek(p) == '[' ? !parse_bracket(p, path) : !parse_dot_name(p, path))
				return false;
		} else if (path->embedded) {
			return true; /* the filter goes on */
		} else {
			return fail(p, "unexpected character");
		}
	}
	return true;
}

struct path *path_parse_prefix(struct arena *a, struct str text, bool embedded, size_t *used, const char **why)
{
	struct parser p = { .arena = a, .text = text };
	struct path *path = ARENA_NEW(a, struct path);
	path->end = &path->steps;
	path->embedded = embedded;
	path->relative = peek(&p) == '@';
	bool good = (take(&p, '$') || take(&p, '@') || fail(&p, "a path begins with $")) && parse_steps(&p, path);
	if (used)
		*used = p.at;
	if (why)
		*why = p.why;
	return good ? path : NULL;
}

struct path *path_parse(struct arena *a, struct str text, const char **why)
{
	return path_parse_prefix(a, text, false, NULL, why);
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

static void each_child(json_t *value, struct walk *w, const struct path_step *next, void (*fn)(struct walk *, const struct path_step *, json_t *))
{
	json_t *child;
	size_t i;
	const char *key;
	if (json_is_array(value))
		json_array_foreach(value, i, child)
			fn(w, next, child);
	else
		json_object_foreach(value, key, child)
			fn(w, next, child);
}

/* The value itself and everything below it, parents first. */
static void walk_deep(struct walk *w, const struct path_step *next, json_t *value)
{
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
	for (int64_t i = from < 0 ? 0 : from; i < to; i += s->step)
		walk(w, s->next, json_array_get(value, (size_t)i));
}

static void walk_filter(struct walk *w, const struct path_step *s, json_t *value)
{
	json_t *child;
	size_t i;
	if (json_is_array(value)) {
		json_array_foreach(value, i, child)
			if (filter_matches(w, s->filter, child))
				walk(w, s->next, child);
	} else if (json_is_object(value) && filter_matches(w, s->filter, value)) {
		walk(w, s->next, value);
	}
}

static void walk(struct walk *w, const struct path_step *s, json_t *value)
{
	json_t *child;
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

/* Why a definite path gave nothing, in the words of the library: the way up to the member that is missing. */
static const char *explain(struct arena *a, const struct path *p, json_t *value)
{
	CLEANUP_BUF struct buf way = BUF_INIT;
	buf_addz(&way, "$");
	for (const struct path_step *s = p->steps; s; s = s->next) {
		json_t *child = s->kind == PATH_NAME ? member(value, s->name) : s->kind == PATH_INDEX ? element(value, s->from) : NULL;
		if (s->kind == PATH_NAME)
			buf_printf(&way, "['%.*s']", STR_ARG(s->name));
		else if (s->kind == PATH_INDEX)
			buf_printf(&way, "[%lld]", (long long)s->from);
		if (!child) {
			if (s->kind == PATH_INDEX && json_is_array(value))
				return arena_printf(a, "Index out of bounds when evaluating path %s", way.ptr);
			if (s->next)
				return arena_printf(a, "Missing property in path %s", way.ptr);
			return arena_printf(a, "No results for path: %s", way.ptr);
		}
		value = child;
	}
	return arena_printf(a, "No results for path: %s", way.ptr);
}

enum path_status path_eval(struct arena *a, const struct path *p, json_t *root, json_t **out, const char **why)
{
	CLEANUP_JSON json_t *matches = json_array();
	struct walk w = { a, root, matches };
	walk(&w, p->steps, root);
	if (p->indefinite) {
		const struct path_step *last = p->steps;
		while (last && last->next)
			last = last->next;
		if (last && last->kind == PATH_FUNCTION && last != p->steps) {
			*out = path_function_of_list(a, p, root, last);
			if (*out)
				return PATH_FOUND;
		}
		*out = json_incref(matches);
		return PATH_FOUND;
	}
	json_t *first = json_array_get(matches, 0);
	if (!first) {
		if (why)
			*why = explain(a, p, root);
		return PATH_NONE;
	}
	*out = json_incref(first);
	return PATH_FOUND;
}

/* An aggregate at the end of an indefinite path works on the list of matches. */
json_t *path_function_of_list(struct arena *a, const struct path *p, json_t *root, const struct path_step *last)
{
	struct path head = { .indefinite = true };
	struct path_step **end = &head.steps;
	for (const struct path_step *s = p->steps; s != last; s = s->next) {
		struct path_step *copy = ARENA_NEW(a, struct path_step);
		*copy = *s;
		copy->next = NULL;
		*end = copy;
		end = &copy->next;
	}
	CLEANUP_JSON json_t *matches = json_array();
	struct walk w = { a, root, matches };
	walk(&w, head.steps, root);
	return path_function(last->name, matches);
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

json_t *path_put(const struct path *p, const json_t *root, json_t *value)
{
	return put_step(p->steps, root, value);
}
