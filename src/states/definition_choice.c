/* definition_choice.c - checks of choice rules; see definition_impl.h. */
#include "base/json.h"
#include "states/definition_impl.h"

static const char *const operators[] = {
	"StringEquals",
	"StringEqualsPath",
	"StringLessThan",
	"StringLessThanPath",
	"StringGreaterThan",
	"StringGreaterThanPath",
	"StringLessThanEquals",
	"StringLessThanEqualsPath",
	"StringGreaterThanEquals",
	"StringGreaterThanEqualsPath",
	"StringMatches",
	"NumericEquals",
	"NumericEqualsPath",
	"NumericLessThan",
	"NumericLessThanPath",
	"NumericGreaterThan",
	"NumericGreaterThanPath",
	"NumericLessThanEquals",
	"NumericLessThanEqualsPath",
	"NumericGreaterThanEquals",
	"NumericGreaterThanEqualsPath",
	"BooleanEquals",
	"BooleanEqualsPath",
	"TimestampEquals",
	"TimestampEqualsPath",
	"TimestampLessThan",
	"TimestampLessThanPath",
	"TimestampGreaterThan",
	"TimestampGreaterThanPath",
	"TimestampLessThanEquals",
	"TimestampLessThanEqualsPath",
	"TimestampGreaterThanEquals",
	"TimestampGreaterThanEqualsPath",
	"IsNull",
	"IsPresent",
	"IsNumeric",
	"IsString",
	"IsBoolean",
	"IsTimestamp",
	NULL,
};
static const char *const kinds[] = { "And", "Or", "Not", "Variable", "Condition", NULL };

static bool is_in(const char *const list[], const char *name)
{
	for (int i = 0; list[i]; i++)
		if (strcmp(list[i], name) == 0)
			return true;
	return false;
}

static void check_operand(struct state_check *s, const char *operator, const json_t * v, const char *at)
{
	struct str name = str_from(operator);
	int64_t ms;
	if (str_ends(name, STR("Path"))) {
		check_variable(s, v, at);
	} else if (str_starts(name, STR("String"))) {
		check_string(s->c, v, at);
	} else if (str_starts(name, STR("Numeric"))) {
		if (!json_is_number(v))
			check_report(s->c, SCHEMA, at, "Expected value of type Number");
	} else if (str_starts(name, STR("Timestamp"))) {
		if (check_string(s->c, v, at) && !asl_timestamp(json_str(v), &ms))
			check_report(s->c, SCHEMA, at, "String does not match RFC3339 timestamp");
	} else {
		check_boolean(s->c, v, at);
	}
}

static void check_rule(struct state_check *s, const json_t *rule, const char *at, bool top);

static void check_nested(struct state_check *s, const json_t *rule, const char *at)
{
	json_t *item;
	size_t i;
	for (int k = 0; k < 2; k++) {
		const json_t *list = json_object_get(rule, kinds[k]);
		if (check_array(s->c, list, check_at(s->c, at, kinds[k]), false))
			json_array_foreach (list, i, item)
				check_rule(s, item, check_at_index(s->c, at, kinds[k], i), false);
	}
	if (json_object_get(rule, "Not"))
		check_rule(s, json_object_get(rule, "Not"), check_at(s->c, at, "Not"), false);
}

/* The members of a rule by the language and by where it stands. */
static void check_members(struct state_check *s, const json_t *rule, const char *at, bool top)
{
	const char *key;
	json_t *member;
	bool variable = json_object_get(rule, "Variable") != NULL;
	json_object_foreach ((json_t *)rule, key, member) {
		if (strcmp(key, "Condition") == 0 && top) {
			check_language(s, key, ONLY_JSONATA, at);
		} else if (is_in(kinds, key) || is_in(operators, key)) {
			if (check_language(s, key, ONLY_JSONPATH, at) && is_in(operators, key) && variable)
				check_operand(s, key, member, check_at(s->c, at, key));
			else if (is_in(operators, key) && !variable && !s->jsonata)
				check_report(s->c, SCHEMA, at, "Field '%s' is not supported", key);
		} else if (strcmp(key, "Output") == 0 && top) {
			if (check_language(s, key, ONLY_JSONATA, at))
				check_jsonata(s, member, check_at(s->c, at, key));
		} else if (strcmp(key, "Assign") == 0 && top) {
			check_assign(s, member, check_at(s->c, at, key));
		} else if (strcmp(key, "Next") == 0 && top) {
			check_string(s->c, member, check_at(s->c, at, key));
		} else if (strcmp(key, "Comment") != 0) {
			check_report(s->c, SCHEMA, at, "Field '%s' is not supported", key);
		}
	}
}

static void check_rule(struct state_check *s, const json_t *rule, const char *at, bool top)
{
	static const char *const next[] = { "Next", NULL };
	int found = 0;
	if (s->c->stopped || !check_object(s->c, rule, at))
		return;
	check_members(s, rule, at, top);
	for (int i = 0; kinds[i]; i++)
		found += json_object_get(rule, kinds[i]) != NULL;
	if (found != 1)
		check_report(
			s->c, SCHEMA, at,
			"The object must have only one of the following fields, [And, Or, Not, Variable, Condition]");
	if (json_object_get(rule, "Variable") && !s->jsonata) {
		check_variable(s, json_object_get(rule, "Variable"), check_at(s->c, at, "Variable"));
		check_one_of(s->c, rule, at, operators, true);
	}
	if (json_object_get(rule, "Condition") && s->jsonata) {
		const json_t *condition = json_object_get(rule, "Condition");
		if (!json_is_boolean(condition) && check_string(s->c, condition, check_at(s->c, at, "Condition")))
			check_jsonata(s, condition, check_at(s->c, at, "Condition"));
	}
	if (!s->jsonata)
		check_nested(s, rule, at);
	if (top)
		check_required(s->c, rule, at, next);
}

void check_choices(struct state_check *s)
{
	static const char *const required[] = { "Choices", NULL };
	const json_t *choices = json_object_get(s->doc, "Choices");
	json_t *rule;
	size_t i;
	check_required(s->c, s->doc, s->at, required);
	if (check_array(s->c, choices, check_at(s->c, s->at, "Choices"), false))
		json_array_foreach (choices, i, rule)
			check_rule(s, rule, check_at_index(s->c, s->at, "Choices", i), true);
	check_string(s->c, json_object_get(s->doc, "Default"), check_at(s->c, s->at, "Default"));
}
