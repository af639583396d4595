/* definition_schema.c - reports and the small checks of types, ranges and members; see definition_impl.h. The texts are
 * the service's. */
#include "states/definition_impl.h"

#include <math.h>

#include "base/buf.h"
#include "base/json.h"

static void add(struct check *c, const char *severity, const char *code, const char *at, const char *fmt, va_list ap)
{
	struct asl_diagnostics *d = c->out;
	if (d->count >= MAX_DIAGNOSTICS) {
		c->stopped = true;
		return;
	}
	if (d->count == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 8;
		struct asl_diagnostic *items = ARENA_ARRAY(d->arena, struct asl_diagnostic, cap);
		if (d->count)
			memcpy(items, d->items, d->count * sizeof(*items));
		d->items = items;
		d->cap = cap;
	}
	d->items[d->count++] = (struct asl_diagnostic){ severity, code, arena_vprintf(d->arena, fmt, ap), at };
}

void check_report(struct check *c, const char *code, const char *at, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	add(c, "ERROR", code, at, fmt, ap);
	va_end(ap);
}

void check_warn(struct check *c, const char *code, const char *at, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	add(c, "WARNING", code, at, fmt, ap);
	va_end(ap);
}

const char *check_at(struct check *c, const char *at, const char *field)
{
	return arena_printf(c->arena, "%s/%s", strcmp(at, "/") == 0 ? "" : at, field);
}

const char *check_at_index(struct check *c, const char *at, const char *field, size_t i)
{
	return arena_printf(c->arena, "%s/%s[%zu]", strcmp(at, "/") == 0 ? "" : at, field, i);
}

static bool expect(struct check *c, bool good, const char *at, const char *type)
{
	if (!good)
		check_report(c, SCHEMA, at, "Expected value of type %s", type);
	return good;
}

bool check_object(struct check *c, const json_t *v, const char *at)
{
	return v && expect(c, json_is_object(v), at, "[OBJECT]");
}

bool check_array(struct check *c, const json_t *v, const char *at, bool may_be_empty)
{
	if (!v || !expect(c, json_is_array(v), at, "[ARRAY]"))
		return false;
	if (json_array_size(v) > 0 || may_be_empty)
		return true;
	check_report(c, SCHEMA, at, "Value cannot be empty");
	return false;
}

bool check_string(struct check *c, const json_t *v, const char *at)
{
	return v && expect(c, json_is_string(v), at, "[STRING]");
}

bool check_boolean(struct check *c, const json_t *v, const char *at)
{
	return v && expect(c, json_is_boolean(v), at, "[BOOLEAN]");
}

/* "[A, B]" of a list that ends with NULL; only the members the object has, when there is an object. */
static const char *list_of(struct check *c, const char *const fields[], const json_t *object)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	buf_addz(&b, "[");
	for (int i = 0; fields[i]; i++)
		if (!object || json_object_get(object, fields[i]))
			buf_printf(&b, "%s%s", b.len > 1 ? ", " : "", fields[i]);
	buf_addz(&b, "]");
	return arena_strdup(c->arena, buf_str(&b));
}

void check_enum(struct check *c, const json_t *v, const char *at, const char *const values[])
{
	if (!check_string(c, v, at))
		return;
	for (int i = 0; values[i]; i++)
		if (str_eqz(json_str(v), values[i]))
			return;
	check_report(c, SCHEMA, at, "Value should be one of the following: %s", list_of(c, values, NULL));
}

void check_number(struct state_check *s, const json_t *v, const char *at, bool integer, double least, double most)
{
	char text[40];
	double d = json_number_value(v);
	if (!v)
		return;
	if (s->jsonata && json_is_string(v)) {
		check_jsonata(s, v, at);
		if (!asl_expression_of(v).ptr)
			expect(s->c, false, at, integer ? "Integer" : "Float");
		return;
	}
	if (!expect(s->c, json_is_integer(v) || (json_is_real(v) && (!integer || d == floor(d))), at,
		    integer ? "Integer" : "Float"))
		return;
	if (d >= least && d <= most)
		return;
	const char *word = d < least ? "Minimum" : "Maximum";
	double bound = d < least ? least : most;
	if (integer) {
		check_report(s->c, SCHEMA, at, "%s value is %.0f", word, bound);
		return;
	}
	asl_number_text(bound, text);
	check_report(s->c, SCHEMA, at, "%s value is %s", word, text);
}

void check_required(struct check *c, const json_t *object, const char *at, const char *const fields[])
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	for (int i = 0; fields[i]; i++)
		if (!json_object_get(object, fields[i]))
			buf_printf(&b, "%s%s", b.len > 0 ? ", " : "", fields[i]);
	if (b.len > 0)
		check_report(c, SCHEMA, at, "These fields are required: [%s]", b.ptr);
}

void check_one_of(struct check *c, const json_t *object, const char *at, const char *const fields[], bool needed)
{
	int found = 0;
	for (int i = 0; fields[i]; i++)
		found += json_object_get(object, fields[i]) != NULL;
	if (found > 1)
		check_report(c, SCHEMA, at, "There should only be one of the following fields: %s",
			     list_of(c, fields, object));
	if (found == 0 && needed)
		check_report(c, SCHEMA, at, "This object should have only one of the following fields: %s",
			     list_of(c, fields, NULL));
}

void check_known(struct check *c, const json_t *object, const char *at, const char *const fields[])
{
	const char *key;
	json_t *member;
	json_object_foreach ((json_t *)object, key, member) {
		int i = 0;
		while (fields[i] && strcmp(fields[i], key) != 0)
			i++;
		if (!fields[i])
			check_report(c, SCHEMA, at, "Field '%s' is not supported", key);
	}
}

bool check_language(struct state_check *s, const char *field, enum language wanted, const char *at)
{
	if (wanted == ANY_LANGUAGE || (wanted == ONLY_JSONATA) == s->jsonata)
		return true;
	check_report(s->c, SCHEMA, at,
		     "The QueryLanguage is set to '%s', but field '%s' is only supported for the '%s' QueryLanguage",
		     s->jsonata ? "JSONata" : "JSONPath", field, s->jsonata ? "JSONPath" : "JSONata");
	return false;
}
