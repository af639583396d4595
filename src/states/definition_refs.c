/* definition_refs.c - which variables each state reads; see asl.h, asl_variable_references.
 *
 * DESIGN: a look at the texts, without evaluating: paths and intrinsic calls where the language has them, and JSONata
 * expressions word by word. In an expression a name that the expression itself binds, or that is a built-in function,
 * is no variable. */
#include <ctype.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/map.h"
#include "states/definition_impl.h"

struct refs {
	struct map names; /* values are not used */
};

static void add(struct refs *r, struct str name)
{
	if (name.len > 0 && !str_eqz(name, "states"))
		map_set(&r->names, name, r);
}

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static struct str name_at(struct str s, size_t at)
{
	size_t end = at;
	while (end < s.len && is_name_char(s.ptr[end]))
		end++;
	return str_of(s.ptr + at, end - at);
}

/* ---- JSONPath ---- */

/* "$name" anywhere outside quotes; "$", "$$" and "$." are no variables. */
static void scan_path(struct refs *r, struct str text)
{
	char quote = 0;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (quote) {
			if (c == '\\')
				i++;
			else if (c == quote)
				quote = 0;
		} else if (c == '\'' || c == '"') {
			quote = c;
		} else if (c == '$') {
			bool context = i + 1 < text.len && text.ptr[i + 1] == '$';
			struct str name = context ? STR_NULL : name_at(text, i + 1);
			add(r, name);
			i += context ? 1 : name.len;
		}
	}
}

static void scan_template(struct refs *r, const json_t *v)
{
	const char *key;
	json_t *member;
	size_t i;
	json_array_foreach (v, i, member)
		scan_template(r, member);
	json_object_foreach ((json_t *)v, key, member) {
		if (str_ends(str_from(key), STR(".$")) && json_is_string(member))
			scan_path(r, json_str(member));
		else
			scan_template(r, member);
	}
}

/* ---- JSONata ---- */

/* JSONata's functions and those that AWS adds. */
static bool is_builtin(struct str name)
{
	static const char names[] =
		" abs append assert average base64decode base64encode boolean ceil contains count decodeUrl "
		"decodeUrlComponent distinct each encodeUrl encodeUrlComponent error eval exists filter floor "
		"formatBase formatInteger formatNumber fromMillis hash join keys length lookup lowercase map match "
		"max merge millis min not now number pad parse parseInteger partition power random range reduce "
		"replace reverse round shuffle sift single sort split spread sqrt string substring substringAfter "
		"substringBefore sum toMillis trim type uppercase uuid zip ";
	struct str rest = str_from(names), piece;
	while (str_split(&rest, ' ', &piece))
		if (piece.len && str_eq(piece, name))
			return true;
	return false;
}

static size_t skip_space(struct str s, size_t i)
{
	while (i < s.len && isspace((unsigned char)s.ptr[i]))
		i++;
	return i;
}

/* Behind a quoted text, a comment or a regular expression that begins at i; i when there is none. `operand`: a value
 * may stand here. */
static size_t skip_opaque(struct str s, size_t i, bool operand)
{
	char c = s.ptr[i];
	if (c == '/' && i + 1 < s.len && s.ptr[i + 1] == '*') {
		ptrdiff_t end = str_find(str_skip(s, i + 2), STR("*/"));
		return end < 0 ? s.len : i + 2 + (size_t)end + 2;
	}
	if (c != '"' && c != '\'' && c != '`' && !(c == '/' && operand))
		return i;
	for (size_t k = i + 1; k < s.len; k++) {
		if (s.ptr[k] == '\\' && c != '`')
			k++;
		else if (s.ptr[k] == c)
			return k + 1;
	}
	return s.len;
}

/* Calls fn for each "$name" of an expression, with the places behind it. */
static void each_name(struct str s, void (*fn)(void *ctx, struct str s, struct str name, size_t after, bool parameter),
		      void *ctx)
{
	bool operand = true, parameters = false;
	for (size_t i = 0; i < s.len;) {
		size_t behind = skip_opaque(s, i, operand);
		if (behind > i) {
			operand = s.ptr[i] == '/' && s.ptr[i + 1] == '*' ? operand : false;
			i = behind;
		} else if (s.ptr[i] == '$') {
			struct str name = name_at(s, i + 1);
			i += 1 + name.len;
			operand = false;
			if (name.len > 0)
				fn(ctx, s, name, i, parameters);
		} else if (is_name_char(s.ptr[i])) {
			struct str word = name_at(s, i);
			i += word.len;
			bool function = str_eqz(word, "function") || str_eqz(word, "\xce\xbb");
			parameters = function && skip_space(s, i) < s.len && s.ptr[skip_space(s, i)] == '(';
			operand = str_eqz(word, "and") || str_eqz(word, "or") || str_eqz(word, "in");
		} else {
			parameters = parameters && s.ptr[i] != ')';
			operand = isspace((unsigned char)s.ptr[i]) ? operand : !strchr(")]}", s.ptr[i]);
			i++;
		}
	}
}

static void note_bound(void *ctx, struct str s, struct str name, size_t after, bool parameter)
{
	size_t i = skip_space(s, after);
	if (parameter || str_starts(str_skip(s, i), STR(":=")))
		map_set(ctx, name, ctx);
}

struct reading {
	struct refs *refs;
	struct map bound;
};

static void note_read(void *ctx, struct str s, struct str name, size_t after, bool parameter)
{
	struct reading *r = ctx;
	if (!parameter && !map_get(&r->bound, name) && !is_builtin(name))
		add(r->refs, name);
}

static void scan_jsonata(struct refs *r, const json_t *v)
{
	const char *key;
	json_t *member;
	size_t i;
	struct str expression = asl_expression_of(v);
	json_array_foreach (v, i, member)
		scan_jsonata(r, member);
	json_object_foreach ((json_t *)v, key, member)
		scan_jsonata(r, member);
	if (!expression.ptr)
		return;
	struct reading reading = { .refs = r, .bound = MAP_INIT };
	each_name(expression, note_bound, &reading.bound);
	each_name(expression, note_read, &reading);
	map_release(&reading.bound);
}

/* ---- states ---- */

static bool is_in(const char *const list[], const char *name)
{
	for (int i = 0; list[i]; i++)
		if (strcmp(list[i], name) == 0)
			return true;
	return false;
}

/* Fields of a JSONPath state, or of an object in it that is no template. */
static void scan_fields(struct refs *r, const json_t *v)
{
	static const char *const templates[] = { "Parameters",  "ResultSelector", "Assign", "ItemSelector",
						 "Credentials", "BatchInput",     NULL };
	static const char *const apart[] = { "Branches", "ItemProcessor", "Iterator", "Result",
					     "Comment",  "ResultPath",    NULL };
	const char *key;
	json_t *member;
	size_t i;
	json_array_foreach (v, i, member)
		scan_fields(r, member);
	json_object_foreach ((json_t *)v, key, member) {
		if (is_in(apart, key))
			continue;
		if (is_in(templates, key))
			scan_template(r, member);
		else if (json_is_string(member) &&
			 (str_ends(str_from(key), STR("Path")) || strcmp(key, "Variable") == 0))
			scan_path(r, json_str(member));
		else
			scan_fields(r, member);
	}
}

static void scan_state(struct refs *r, const struct asl_state *s)
{
	static const char *const apart[] = { "Branches", "ItemProcessor", "Iterator", "Comment", NULL };
	const char *key;
	json_t *member;
	if (!s->jsonata) {
		scan_fields(r, s->doc);
		return;
	}
	json_object_foreach (s->doc, key, member)
		if (!is_in(apart, key))
			scan_jsonata(r, member);
}

static int by_name(const void *a, const void *b)
{
	return str_cmp(((const struct map_entry *)a)->key, ((const struct map_entry *)b)->key);
}

static void add_scope(json_t *out, const struct asl_states *scope)
{
	for (size_t i = 0; i < scope->count; i++) {
		const struct asl_state *s = &scope->states[i];
		struct refs r = { .names = MAP_INIT };
		scan_state(&r, s);
		if (r.names.count > 0) {
			json_t *list = json_array();
			qsort(r.names.entries, r.names.count, sizeof(*r.names.entries), by_name);
			for (size_t k = 0; k < r.names.count; k++)
				json_array_append_new(
					list, json_stringn(r.names.entries[k].key.ptr, r.names.entries[k].key.len));
			json_object_set_new(out, s->name, list);
		}
		map_release(&r.names);
		for (size_t k = 0; k < s->nbranches; k++)
			add_scope(out, s->branches[k]);
	}
}

json_t *asl_variable_references(const struct asl_machine *m)
{
	json_t *out = json_object();
	add_scope(out, m->top);
	if (json_object_size(out) > 0)
		return out;
	json_decref(out);
	return NULL;
}
