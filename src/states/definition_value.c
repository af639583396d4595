/* definition_value.c - checks of paths, payload templates, JSONata texts and assigned names; see definition_impl.h. */
#include <ctype.h>

#include "base/json.h"
#include "states/definition_impl.h"
#include "states/intrinsic.h"
#include "states/jsonata.h"

/* ---- JSONPath ---- */

static bool is_call(struct check *c, struct str text)
{
	return intrinsic_is_call(text) && !intrinsic_check(c->arena, text);
}

/* "$", "$$", "$name", "$.a[*]". A variable's name must be there. */
static const struct asl_path_ref *good_path(struct check *c, struct str text)
{
	const struct asl_path_ref *ref = asl_path_ref(c->arena, text);
	return text.len > 0 && text.ptr[0] == '$' && ref->path ? ref : NULL;
}

void check_path(struct state_check *s, const json_t *v, const char *at)
{
	if (!v || json_is_null(v) || !check_string(s->c, v, at))
		return;
	if (!good_path(s->c, json_str(v)) && !is_call(s->c, json_str(v)))
		check_report(s->c, SCHEMA, at, "Value must be a valid JSONPath.");
}

/* Names and single places; a place counted from the end only where nothing is written. */
static bool is_reference(const struct path *p, bool written)
{
	if (path_is_reference(p))
		return true;
	return !written && path_is_definite(p) && path_is_plain(p);
}

void check_reference(struct state_check *s, const json_t *v, const char *at, int allowed)
{
	if (!v || (json_is_null(v) && allowed == REFERENCE_RESULT) || !check_string(s->c, v, at))
		return;
	struct str text = json_str(v);
	const struct asl_path_ref *ref = good_path(s->c, text);
	if (text.len == 0 || text.ptr[0] != '$' || !ref) {
		check_report(s->c, SCHEMA, at, "Value must be a valid JSONPath.");
		return;
	}
	bool root = ref->root == ASL_ROOT_INPUT || (ref->root == ASL_ROOT_VARIABLE && allowed != REFERENCE_RESULT) ||
		    (ref->root == ASL_ROOT_CONTEXT && allowed == REFERENCE_ANY);
	if (!root || !is_reference(ref->path, allowed == REFERENCE_RESULT))
		check_report(s->c, SCHEMA, at, "Value is not a Reference Path");
}

void check_variable(struct state_check *s, const json_t *v, const char *at)
{
	if (!check_string(s->c, v, at))
		return;
	struct str text = json_str(v);
	const struct asl_path_ref *ref = good_path(s->c, text);
	if (text.len == 0 || text.ptr[0] != '$')
		check_report(s->c, SCHEMA, at, "Value is not a Reference Path: Reference path didn't start with '$'");
	else if (!ref || !is_reference(ref->path, false))
		check_report(s->c, SCHEMA, at, "Value is not a Reference Path");
}

/* `at` is the template's own place: the service names the field and no place within. */
void check_template(struct state_check *s, const json_t *v, const char *at)
{
	const char *key;
	json_t *member;
	size_t i;
	json_array_foreach (v, i, member)
		check_template(s, member, at);
	if (!json_is_object(v))
		return;
	json_object_foreach ((json_t *)v, key, member) {
		struct str name = str_from(key);
		if (!str_ends(name, STR(".$"))) {
			check_template(s, member, at);
			continue;
		}
		if (!json_is_string(member) || (!good_path(s->c, json_str(member)) && !is_call(s->c, json_str(member))))
			check_report(s->c, SCHEMA, at,
				     "The value for the field '%s' must be a valid JSONPath or a valid intrinsic "
				     "function call",
				     key);
		name = str_head(name, name.len - 2);
		if (json_object_getn(v, name.ptr, name.len))
			check_report(s->c, SCHEMA, at, "The field '%.*s' is there twice: with and without '.$'",
				     STR_ARG(name));
	}
}

/* ---- JSONata ---- */

static void report_reference(struct state_check *s, const char *at, const json_t *found)
{
	json_t *name;
	size_t i;
	json_array_foreach (json_object_get(found, "top"), i, name)
		check_report(s->c, "UNSUPPORTED_JSONATA_EXPRESSION", at,
			     "Reference to '%s' at the top level is not supported.", json_string_value(name));
	if (json_get_bool(found, "root", false))
		check_report(s->c, "UNSUPPORTED_JSONATA_EXPRESSION", at, "Reference to '$$' is not supported.");
	if (json_get_bool(found, "errorOutput", false) && !s->catching)
		check_report(s->c, "UNSUPPORTED_JSONATA_EXPRESSION", at, "Field '$states.errorOutput' does not exist.");
}

static void check_expression(struct state_check *s, struct str expression, const char *at)
{
	if (!s->c->out->jsonata)
		return;
	CLEANUP_JSON json_t *found = jsonata_inspect(s->c->out->jsonata, expression);
	const json_t *error = json_get(found, "error");
	if (!error)
		report_reference(s, at, found);
	else
		check_report(s->c, "INVALID_JSONATA_EXPRESSION", at, "%s",
			     json_get_text(error, "message") ? json_get_text(error, "message")
							     : "The expression cannot be parsed");
}

/* What the published definitions have refused (the service's own rule is not written down): no white space at all
 * between the marks and the expression ("{%10%}"), and an expression that begins on the next line and ends in several
 * blanks. */
static bool is_apart(struct str s)
{
	struct str inner = str_of(s.ptr + 2, s.len >= 4 ? s.len - 4 : 0);
	if (inner.len == 0 ||
	    (!isspace((unsigned char)inner.ptr[0]) && !isspace((unsigned char)inner.ptr[inner.len - 1])))
		return false;
	return !((str_starts(inner, STR(" \n")) || str_starts(inner, STR(" \r"))) && str_ends(inner, STR("  ")));
}

static void check_text(struct state_check *s, const json_t *v, const char *at)
{
	struct str text = json_str(v);
	bool opens = str_starts(text, STR("{%")), closes = str_ends(text, STR("%}"));
	if (!opens && !closes)
		return;
	struct str expression = asl_expression_of(v);
	if (!expression.ptr || !is_apart(text))
		check_report(s->c, SCHEMA, at, "JSONata string must start with {%% and end with %%}");
	else
		check_expression(s, expression, at);
}

void check_jsonata(struct state_check *s, const json_t *v, const char *at)
{
	const char *key;
	json_t *member;
	size_t i;
	if (json_is_string(v))
		check_text(s, v, at);
	json_array_foreach (v, i, member)
		check_jsonata(s, member, arena_printf(s->c->arena, "%s[%zu]", at, i));
	json_object_foreach ((json_t *)v, key, member)
		check_jsonata(s, member, check_at(s->c, at, key));
}

void check_payload(struct state_check *s, const json_t *v, const char *at)
{
	if (s->jsonata)
		check_jsonata(s, v, at);
	else
		check_template(s, v, at);
}

/* ---- variables ---- */

static bool is_variable_name(struct str name)
{
	size_t chars = 0;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];
		chars += (c & 0xc0) != 0x80;
		if (c < 0x80 && c != '_' && !(i == 0 ? isalpha(c) : isalnum(c) || c == '-'))
			return false;
	}
	return chars > 0 && chars <= MAX_NAME;
}

static void check_assigned_name(struct state_check *s, struct str name, const char *at)
{
	if (str_eqz(name, "states")) {
		check_report(s->c, "RESERVED_VARIABLE_NAME", at, "Cannot assign to reserved variable '$states'.");
		return;
	}
	if (!is_variable_name(name)) {
		check_report(s->c, "INVALID_VARIABLE_NAME", at,
			     "Invalid variable name '%.*s': the variable name contains invalid characters.",
			     STR_ARG(name));
		return;
	}
	for (struct variable_scope *v = s->c->variables ? s->c->variables->outer : NULL; v; v = v->outer)
		if (map_get(&v->names, name)) {
			check_report(s->c, "DUPLICATE_VARIABLE_NAME", at,
				     "The variable name '%.*s' was already defined in a parent scope.", STR_ARG(name));
			return;
		}
}

void check_assign(struct state_check *s, const json_t *v, const char *at)
{
	const char *key;
	json_t *member;
	if (!check_object(s->c, v, at))
		return;
	json_object_foreach ((json_t *)v, key, member) {
		struct str name = str_from(key);
		if (!s->jsonata && str_ends(name, STR(".$")))
			name = str_head(name, name.len - 2);
		check_assigned_name(s, name, at);
	}
	check_payload(s, v, at);
}
