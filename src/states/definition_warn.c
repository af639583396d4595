/* definition_warn.c - what is allowed in a definition and hardly meant: ValidateStateMachineDefinition's warnings.
 *
 * DESIGN: the three codes of the API reference (ValidateStateMachineDefinitionDiagnostic): NO_DOLLAR, a path or an
 * intrinsic call in a payload template under a name without ".$"; NO_PATH, a path as the value of a field that takes
 * none; PASS_RESULT_IS_STATIC, a path in a Pass state's Result. The texts are Quern's: AWS says not to rely on its own.
 * Only JSONPath states are looked at; a definition with errors is looked at as far as it has its objects. */
#include <ctype.h>

#include "base/json.h"
#include "states/definition_impl.h"

/* "$", "$.a", "$[0]", "$$", "$$.a". "$x" may be a price as well as a variable: no path here. */
static bool looks_like_path(struct str s)
{
	if (!str_starts(s, STR("$")))
		return false;
	s = str_skip(s, str_starts(s, STR("$$")) ? 2 : 1);
	return s.len == 0 || s.ptr[0] == '.' || s.ptr[0] == '[';
}

static bool looks_like_call(struct str s)
{
	if (!str_starts(s, STR("States.")) || !str_ends(s, STR(")")))
		return false;
	size_t i = 7;
	while (i < s.len && isalnum((unsigned char)s.ptr[i]))
		i++;
	return i > 7 && i < s.len && s.ptr[i] == '(';
}

static bool evaluated(const char *name)
{
	return str_ends(str_from(name), STR(".$"));
}

/* ---- values ---- */

static void warn_template(struct check *c, const json_t *v, const char *at)
{
	const char *key;
	json_t *item;
	size_t i;
	json_array_foreach (v, i, item)
		warn_template(c, item, arena_printf(c->arena, "%s[%zu]", at, i));
	json_object_foreach ((json_t *)v, key, item) {
		struct str text = json_str(item);
		if (!evaluated(key) && (looks_like_path(text) || looks_like_call(text)))
			check_warn(c, "NO_DOLLAR", check_at(c, at, key),
				   "The value of '%s' looks like a %s, but the name does not end with '.$': "
				   "it is used as it stands",
				   key, looks_like_path(text) ? "JSONPath" : "call of an intrinsic function");
		warn_template(c, item, check_at(c, at, key));
	}
}

static void warn_static(struct check *c, const json_t *v, const char *at, bool named)
{
	const char *key;
	json_t *item;
	size_t i;
	struct str text = json_str(v);
	if (named || looks_like_path(text) || looks_like_call(text)) {
		check_warn(
			c, "PASS_RESULT_IS_STATIC", at,
			"The Result of a Pass state is static: paths and intrinsic functions in it are not evaluated");
		return;
	}
	json_array_foreach (v, i, item)
		warn_static(c, item, arena_printf(c->arena, "%s[%zu]", at, i), false);
	json_object_foreach ((json_t *)v, key, item)
		warn_static(c, item, check_at(c, at, key), evaluated(key));
}

/* The members of one object that are texts and take no path. */
static void warn_fields(struct check *c, const json_t *object, const char *at)
{
	static const char *const any[] = { "Comment", "Variable", NULL }; /* any text, or always a path */
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)object, key, v) {
		const char *const *k = any;
		while (*k && strcmp(*k, key) != 0)
			k++;
		if (!*k && looks_like_path(json_str(v)) && !evaluated(key) && !str_ends(str_from(key), STR("Path")))
			check_warn(c, "NO_PATH", check_at(c, at, key),
				   "The value of '%s' looks like a path, but the field's name does not end with 'Path'",
				   key);
	}
}

static void warn_rule(struct check *c, const json_t *rule, const char *at)
{
	static const char *const both[] = { "And", "Or" };
	json_t *inner;
	size_t i;
	warn_fields(c, rule, at);
	warn_template(c, json_object_get(rule, "Assign"), check_at(c, at, "Assign"));
	for (size_t b = 0; b < 2; b++)
		json_array_foreach (json_object_get(rule, both[b]), i, inner)
			warn_rule(c, inner, check_at_index(c, at, both[b], i));
	if (json_object_get(rule, "Not"))
		warn_rule(c, json_object_get(rule, "Not"), check_at(c, at, "Not"));
}

/* ---- states ---- */

/* An object of a Map state with settings and, in one member, a template. */
static void warn_part(struct check *c, const json_t *state, const char *at, const char *part, const char *template)
{
	const json_t *o = json_object_get(state, part);
	const char *inside = check_at(c, at, part);
	warn_fields(c, o, inside);
	warn_fields(c, json_object_get(o, "ReaderConfig"), check_at(c, inside, "ReaderConfig"));
	warn_template(c, json_object_get(o, template), check_at(c, inside, template));
}

static void warn_state(struct check *c, const json_t *state, const char *at)
{
	static const char *const templates[] = { "Parameters", "ResultSelector", "ItemSelector", "Assign",
						 "Credentials" };
	json_t *item;
	size_t i;
	warn_fields(c, state, at);
	for (i = 0; i < sizeof(templates) / sizeof(*templates); i++)
		warn_template(c, json_object_get(state, templates[i]), check_at(c, at, templates[i]));
	if (str_eqz(json_get_str(state, "Type"), "Pass") && json_object_get(state, "Result"))
		warn_static(c, json_object_get(state, "Result"), check_at(c, at, "Result"), false);
	json_array_foreach (json_object_get(state, "Choices"), i, item)
		warn_rule(c, item, check_at_index(c, at, "Choices", i));
	json_array_foreach (json_object_get(state, "Catch"), i, item) {
		const char *inside = check_at_index(c, at, "Catch", i);
		warn_fields(c, item, inside);
		warn_template(c, json_object_get(item, "Assign"), check_at(c, inside, "Assign"));
	}
	warn_part(c, state, at, "ItemReader", "Parameters");
	warn_part(c, state, at, "ItemBatcher", "BatchInput");
	warn_part(c, state, at, "ResultWriter", "Parameters");
}

static void warn_scope(struct check *c, const json_t *scope, const char *at, int depth)
{
	const json_t *states = json_object_get(scope, "States");
	const char *name, *field, *base = check_at(c, at, "States");
	json_t *state, *branch;
	size_t i;
	if (depth > MAX_SCOPES_DEEP)
		return;
	json_object_foreach ((json_t *)states, name, state) {
		const char *inside = check_at(c, base, name);
		if (!definition_is_jsonata(state, c->jsonata_machine))
			warn_state(c, state, inside);
		json_array_foreach (json_object_get(state, "Branches"), i, branch)
			warn_scope(c, branch, check_at_index(c, inside, "Branches", i), depth + 1);
		const json_t *processor = definition_processor(state, &field);
		if (processor)
			warn_scope(c, processor, check_at(c, inside, field), depth + 1);
	}
}

void check_warnings(struct check *c, const json_t *doc)
{
	warn_scope(c, doc, "/", 0);
}
