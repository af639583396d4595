/* definition_bind.c - values from outside: start parameters and durations.
 *
 * DESIGN: the API carries every parameter value as a string, so it is coerced here to the declared type. "True" and
 * "true" are both read, because the SDK sends str(True). Error texts follow the SDK's local mode, which copies the
 * service's. */
#include "sagemaker/definition.h"

#include <math.h>

static struct definition_param *param_find(const struct definition *d, struct str name)
{
	for (int i = 0; i < d->nparams; i++)
		if (str_eqz(name, d->params[i].name))
			return &d->params[i];
	return NULL;
}

static json_t *value_coerce(const struct definition_param *p, struct str text)
{
	int64_t i;
	double f;
	switch (p->type) {
	case PARAM_STRING:
		return json_stringn(text.ptr, text.len);
	case PARAM_INTEGER:
		return str_to_i64(text, &i) ? json_integer(i) : NULL;
	case PARAM_FLOAT:
		return str_to_double(text, &f) && isfinite(f) ? json_real(f) : NULL;
	default:
		if (str_eq_nocase(text, STR("true")))
			return json_true();
		return str_eq_nocase(text, STR("false")) ? json_false() : NULL;
	}
}

static int enum_check(const struct definition_param *p, const json_t *value, struct error *err)
{
	size_t i;
	json_t *item;
	if (!p->enums)
		return 0;
	json_array_foreach (p->enums, i, item)
		if (json_equal(item, value))
			return 0;
	CLEANUP_FREE char *list = json_text_dup(p->enums);
	return error_aws(err, "ValidationException", "Parameter '%s' value '%.200s' is not one of %.600s.", p->name,
			 json_string_value(value), list);
}

static int given_bind(const struct definition *d, const json_t *item, json_t *out, struct error *err)
{
	static const char *const types[] = { "String", "Integer", "Float", "Boolean" };
	struct str name = json_get_str(item, "Name"), text = json_get_str(item, "Value");
	const struct definition_param *p = param_find(d, name);
	if (!p)
		return error_aws(err, "ValidationException", "Unknown parameter '%.*s'", STR_ARG(str_head(name, 256)));
	if (json_object_get(out, p->name))
		return error_aws(err, "ValidationException", "Parameter '%s' is given more than once.", p->name);
	if (text.len == 0)
		return error_aws(err, "ValidationException",
				 "Parameter '%s' value \"\" is too short (length: 0, required minimum: 1)", p->name);
	json_t *value = value_coerce(p, text);
	if (!value)
		return error_aws(err, "ValidationException",
				 "Unexpected type for parameter '%s'. Expected %s but found '%.*s'.", p->name,
				 types[p->type], STR_ARG(str_head(text, 256)));
	json_object_set_new(out, p->name, value);
	return enum_check(p, value, err);
}

json_t *definition_bind(const struct definition *d, const json_t *given, struct error *err)
{
	CLEANUP_JSON json_t *out = json_object();
	size_t i;
	json_t *item;
	json_array_foreach (given, i, item)
		if (given_bind(d, item, out, err) < 0)
			return NULL;
	for (int k = 0; k < d->nparams; k++) {
		const struct definition_param *p = &d->params[k];
		if (json_object_get(out, p->name))
			continue;
		if (!p->fallback) {
			error_aws(err, "ValidationException", "Parameter '%s' is undefined.", p->name);
			return NULL;
		}
		if (p->type == PARAM_FLOAT)
			json_set_real(out, p->name, json_number_value(p->fallback));
		else
			json_object_set(out, p->name, p->fallback);
	}
	return json_incref(out);
}

/* One "12H": takes it. */
static bool duration_piece(struct str *s, int64_t *n, char *unit)
{
	size_t i = 0;
	while (i < s->len && s->ptr[i] >= '0' && s->ptr[i] <= '9')
		i++;
	if (i == 0 || i > 9 || i == s->len || !str_to_i64(str_head(*s, i), n))
		return false;
	*unit = s->ptr[i] & ~0x20; /* upper case */
	*s = str_skip(*s, i + 1);
	return true;
}

bool definition_duration(struct str s, int64_t *ms)
{
	static const char date_units[] = "YMWD", time_units[] = "HMS";
	static const int64_t date_days[] = { 365, 30, 7, 1 }, time_seconds[] = { 3600, 60, 1 };
	static const int64_t most_ms = (int64_t)400 * 365 * 86400 * 1000;
	const char *units = date_units;
	int64_t total = 0;
	int pieces = 0;
	if (s.len && (s.ptr[0] == 'P' || s.ptr[0] == 'p'))
		s = str_skip(s, 1);
	while (s.len) {
		int64_t n;
		char unit;
		if ((s.ptr[0] == 'T' || s.ptr[0] == 't') && units != time_units) {
			units = time_units;
			s = str_skip(s, 1);
			if (!s.len)
				return false;
			continue;
		}
		if (!duration_piece(&s, &n, &unit))
			return false;
		const char *at = unit ? strchr(units, unit) : NULL;
		if (!at)
			return false;
		int64_t seconds = units == date_units ? date_days[at - units] * 86400 : time_seconds[at - units];
		if (n > (most_ms - total) / (seconds * 1000))
			return false;
		total += n * seconds * 1000;
		pieces++;
	}
	if (!pieces)
		return false;
	*ms = total;
	return true;
}
