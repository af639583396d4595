/* choice.c - choice rules; see asl.h.
 *
 * DESIGN: a rule is evaluated where it stands in the definition; values of another type than the operator's never
 * match. Source: states-language.net, "Choice State". */
#include "base/json.h"
#include "states/asl_impl.h"

enum verb { VERB_EQ, VERB_LT, VERB_GT, VERB_LE, VERB_GE };
enum kind { KIND_STRING, KIND_NUMERIC, KIND_TIMESTAMP, KIND_BOOLEAN };

/* "StringLessThanEqualsPath" -> kind, verb, path. */
static bool parse_operator(struct str name, enum kind *kind, enum verb *verb, bool *path)
{
	static const char *const kinds[] = { "String", "Numeric", "Timestamp", "Boolean" };
	static const char *const verbs[] = { "Equals", "LessThan", "GreaterThan", "LessThanEquals",
					     "GreaterThanEquals" };
	*path = str_ends(name, STR("Path"));
	if (*path)
		name = str_head(name, name.len - 4);
	for (int k = 0; k < 4; k++) {
		struct str prefix = str_from(kinds[k]);
		if (!str_starts(name, prefix))
			continue;
		for (int v = 0; v < (k == KIND_BOOLEAN ? 1 : 5); v++)
			if (str_eqz(str_skip(name, prefix.len), verbs[v])) {
				*kind = (enum kind)k;
				*verb = (enum verb)v;
				return true;
			}
	}
	return false;
}

static bool holds(enum verb verb, int order)
{
	switch (verb) {
	case VERB_EQ:
		return order == 0;
	case VERB_LT:
		return order < 0;
	case VERB_GT:
		return order > 0;
	case VERB_LE:
		return order <= 0;
	case VERB_GE:
		return order >= 0;
	}
	return false;
}

static int order_numbers(const json_t *a, const json_t *b)
{
	if (json_is_integer(a) && json_is_integer(b)) {
		json_int_t x = json_integer_value(a), y = json_integer_value(b);
		return (x > y) - (x < y);
	}
	double x = json_number_value(a), y = json_number_value(b);
	return (x > y) - (x < y);
}

static bool compare_timestamps(enum verb verb, const json_t *a, const json_t *b)
{
	int64_t x, y;
	int xn, yn;
	if (!asl_timestamp_exact(json_str(a), &x, &xn) || !asl_timestamp_exact(json_str(b), &y, &yn))
		return false;
	return holds(verb, x != y ? (x > y) - (x < y) : (xn > yn) - (xn < yn));
}

static bool compare(enum kind kind, enum verb verb, const json_t *a, const json_t *b)
{
	switch (kind) {
	case KIND_STRING:
		return json_is_string(a) && json_is_string(b) && holds(verb, str_cmp(json_str(a), json_str(b)));
	case KIND_NUMERIC:
		return json_is_number(a) && json_is_number(b) && holds(verb, order_numbers(a, b));
	case KIND_TIMESTAMP:
		return json_is_string(a) && json_is_string(b) && compare_timestamps(verb, a, b);
	case KIND_BOOLEAN:
		return json_is_boolean(a) && json_is_boolean(b) && json_is_true(a) == json_is_true(b);
	}
	return false;
}

static bool is_type(struct str name, const json_t *v, bool *known)
{
	int64_t ms;
	*known = true;
	if (str_eqz(name, "IsNull"))
		return json_is_null(v);
	if (str_eqz(name, "IsNumeric"))
		return json_is_number(v);
	if (str_eqz(name, "IsString"))
		return json_is_string(v);
	if (str_eqz(name, "IsBoolean"))
		return json_is_boolean(v);
	if (str_eqz(name, "IsTimestamp"))
		return json_is_string(v) && asl_timestamp(json_str(v), &ms);
	*known = false;
	return false;
}

/* The value a rule compares; a path to nothing ends the execution. */
static int value_at(struct asl_env *env, struct str path, json_t **out, struct asl_fault *f)
{
	int rc = asl_path(env, path, "Variable", out, f);
	if (rc != ASL_FAULT)
		return rc;
	return asl_fault_set(f, "States.Runtime",
			     "Invalid path '%.*s': The choice state's condition path references an invalid value.",
			     STR_ARG(path));
}

/* The comparison of one rule: the member that is an operator. */
static int test_operator(struct asl_env *env, const json_t *rule, const char *key, json_t *expected, bool *matched,
			 struct asl_fault *f)
{
	CLEANUP_JSON json_t *value = NULL;
	CLEANUP_JSON json_t *other = NULL;
	struct str name = str_from(key);
	enum kind kind;
	enum verb verb;
	bool path, known;
	int rc = value_at(env, json_get_str(rule, "Variable"), &value, f);
	if (str_eqz(name, "IsPresent")) {
		if (rc == ASL_FAULT)
			asl_fault_release(f);
		*matched = (rc == ASL_OK) == json_is_true(expected);
		return ASL_OK;
	}
	if (rc != ASL_OK)
		return rc;
	bool type = is_type(name, value, &known);
	if (known) {
		*matched = type == json_is_true(expected);
		return ASL_OK;
	}
	if (str_eqz(name, "StringMatches")) {
		*matched = json_is_string(value) && str_glob(json_str(expected), json_str(value), '\\');
		return ASL_OK;
	}
	if (!parse_operator(name, &kind, &verb, &path))
		return asl_fault_set(f, "States.Runtime", "there is no choice operator %s", key);
	if (path && (rc = value_at(env, json_str(expected), &other, f)) != ASL_OK)
		return rc;
	*matched = compare(kind, verb, value, path ? other : expected);
	return ASL_OK;
}

static bool is_other_member(const char *key)
{
	static const char *const names[] = { "Variable", "Next",      "Comment",       "Assign",
					     "Output",   "Condition", "QueryLanguage", NULL };
	for (int i = 0; names[i]; i++)
		if (strcmp(key, names[i]) == 0)
			return true;
	return false;
}

static int test_list(struct asl_env *env, const json_t *rules, bool all, bool *matched, struct asl_fault *f)
{
	json_t *rule;
	size_t i;
	*matched = all;
	json_array_foreach (rules, i, rule) {
		int rc = asl_choice(env, rule, false, matched, f);
		if (rc != ASL_OK || *matched != all)
			return rc;
	}
	return ASL_OK;
}

static int test_condition(struct asl_env *env, const json_t *rule, bool *matched, struct asl_fault *f)
{
	CLEANUP_JSON json_t *value = NULL;
	json_t *condition = json_object_get(rule, "Condition");
	const char *field = arena_printf(env->arena, "%s/Condition", env->field ? env->field : "Choices");
	int rc = asl_jsonata_typed(env, condition, field, "boolean", &value, f);
	if (rc == ASL_OK)
		*matched = json_is_true(value);
	return rc;
}

int asl_choice(struct asl_env *env, const json_t *rule, bool jsonata, bool *matched, struct asl_fault *f)
{
	const char *key;
	json_t *member;
	int rc;
	if (jsonata)
		return test_condition(env, rule, matched, f);
	if ((member = json_object_get(rule, "And")))
		return test_list(env, member, true, matched, f);
	if ((member = json_object_get(rule, "Or")))
		return test_list(env, member, false, matched, f);
	if ((member = json_object_get(rule, "Not"))) {
		rc = asl_choice(env, member, false, matched, f);
		*matched = !*matched;
		return rc;
	}
	json_object_foreach ((json_t *)rule, key, member)
		if (!is_other_member(key))
			return test_operator(env, rule, key, member, matched, f);
	return asl_fault_set(f, "States.Runtime", "a choice rule has no operator");
}
