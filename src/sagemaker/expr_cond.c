/* expr_cond.c - the conditions of a Condition step.
 *
 * DESIGN: one table of condition types gives each its operands. Numbers compare as numbers whatever their JSON type,
 * strings byte by byte
 * ("1" is not greater than "3"), booleans only for equality. Comparing values of different kinds is an error that fails
 * the step, as SageMaker has no conversion; In and NotIn just find such a value different. Both spellings of In are
 * read: {QueryValue,Values} of the SDK and {Value,In} of the published schema. */
#include "sagemaker/expr.h"

#define BAD "Unable to parse pipeline definition. "

enum cond_form { COND_COMPARE, COND_IN, COND_NOT, COND_LIST };
enum cond_op { OP_EQ, OP_NE, OP_GT, OP_GE, OP_LT, OP_LE, OP_IN, OP_NOT_IN, OP_NOT, OP_OR };

static const struct cond_type {
	const char *name;
	enum cond_form form;
	enum cond_op op;
} cond_types[] = {
	{ "Equals", COND_COMPARE, OP_EQ },
	{ "NotEquals", COND_COMPARE, OP_NE },
	{ "GreaterThan", COND_COMPARE, OP_GT },
	{ "GreaterThanOrEqualTo", COND_COMPARE, OP_GE },
	{ "LessThan", COND_COMPARE, OP_LT },
	{ "LessThanOrEqualTo", COND_COMPARE, OP_LE },
	{ "In", COND_IN, OP_IN },
	{ "NotIn", COND_IN, OP_NOT_IN },
	{ "Not", COND_NOT, OP_NOT },
	{ "Or", COND_LIST, OP_OR },
};

static const struct cond_type *cond_find(const json_t *condition)
{
	const char *name = json_get_text(condition, "Type");
	for (size_t i = 0; name && i < sizeof cond_types / sizeof *cond_types; i++)
		if (strcmp(cond_types[i].name, name) == 0)
			return &cond_types[i];
	return NULL;
}

static const json_t *in_query(const json_t *c)
{
	const json_t *v = json_get(c, "QueryValue");
	return v ? v : json_get(c, "Value");
}

static const json_t *in_values(const json_t *c)
{
	const json_t *v = json_get(c, "Values");
	return v ? v : json_get(c, "In");
}

static int cond_missing(const struct cond_type *type, const char *member, struct error *err)
{
	return error_aws(err, "ValidationException", BAD "Condition of type '%s' needs '%s'.", type->name, member);
}

int expr_condition_check(struct arena *a, const json_t *c, ref_visit fn, void *ctx, struct error *err)
{
	const struct cond_type *type = cond_find(c);
	if (!json_is_object(c))
		return error_aws(err, "ValidationException", BAD "A condition must be an object.");
	if (!type) {
		const char *name = json_get_text(c, "Type");
		return error_aws(err, "ValidationException", BAD "Unknown condition type '%.64s'.", name ? name : "");
	}
	if (type->form == COND_NOT) {
		const json_t *inner = json_get(c, "Condition");
		return inner ? expr_condition_check(a, inner, fn, ctx, err) : cond_missing(type, "Condition", err);
	}
	if (type->form == COND_LIST) {
		const json_t *list = json_get(c, "Conditions");
		size_t i;
		json_t *item;
		if (!json_is_array(list) || json_array_size(list) == 0)
			return cond_missing(type, "Conditions", err);
		json_array_foreach (list, i, item)
			if (expr_condition_check(a, item, fn, ctx, err) < 0)
				return -1;
		return 0;
	}
	const json_t *left = type->form == COND_IN ? in_query(c) : json_get(c, "LeftValue");
	const json_t *right = type->form == COND_IN ? in_values(c) : json_get(c, "RightValue");
	if (!left)
		return cond_missing(type, type->form == COND_IN ? "QueryValue" : "LeftValue", err);
	if (!right || (type->form == COND_IN && !json_is_array(right)))
		return cond_missing(type, type->form == COND_IN ? "Values" : "RightValue", err);
	if (expr_walk(a, left, fn, ctx, err) < 0)
		return -1;
	return expr_walk(a, right, fn, ctx, err);
}

/* -1, 0, 1 in *out; false when the two do not compare. */
static bool compare(const json_t *l, const json_t *r, bool order, int *out)
{
	if (json_is_integer(l) && json_is_integer(r)) {
		json_int_t x = json_integer_value(l), y = json_integer_value(r);
		*out = (x > y) - (x < y);
		return true;
	}
	if (json_is_number(l) && json_is_number(r)) {
		double x = json_number_value(l), y = json_number_value(r);
		*out = (x > y) - (x < y);
		return true;
	}
	if (json_is_string(l) && json_is_string(r)) {
		*out = str_cmp(json_str(l), json_str(r));
		return true;
	}
	if (json_is_boolean(l) && json_is_boolean(r) && !order) {
		*out = json_is_true(l) != json_is_true(r);
		return true;
	}
	return false;
}

static int compare_eval(const struct expr_env *env, const struct cond_type *type, const json_t *c, bool *out,
			struct error *err)
{
	CLEANUP_JSON json_t *l = expr_eval(env, json_object_get(c, "LeftValue"), err);
	if (!l)
		return -1;
	CLEANUP_JSON json_t *r = expr_eval(env, json_object_get(c, "RightValue"), err);
	if (!r)
		return -1;
	int order;
	if (!compare(l, r, type->op >= OP_GT, &order)) {
		struct str lt = expr_text(env->arena, l), rt = expr_text(env->arena, r);
		return error_aws(err, "ValidationException",
				 "Condition of type '%s' cannot compare '%.*s' with '%.*s': the types differ.",
				 type->name, STR_ARG(str_head(lt, 200)), STR_ARG(str_head(rt, 200)));
	}
	*out = type->op == OP_EQ   ? order == 0
	       : type->op == OP_NE ? order != 0
	       : type->op == OP_GT ? order > 0
	       : type->op == OP_GE ? order >= 0
	       : type->op == OP_LT ? order < 0
				   : order <= 0;
	return 0;
}

static int in_eval(const struct expr_env *env, const struct cond_type *type, const json_t *c, bool *out,
		   struct error *err)
{
	CLEANUP_JSON json_t *query = expr_eval(env, in_query(c), err);
	if (!query)
		return -1;
	bool found = false;
	size_t i;
	json_t *item;
	json_array_foreach (in_values(c), i, item) {
		CLEANUP_JSON json_t *v = expr_eval(env, item, err);
		int order;
		if (!v)
			return -1;
		if (compare(query, v, false, &order) && order == 0)
			found = true;
	}
	*out = found == (type->op == OP_IN);
	return 0;
}

static int condition_eval(const struct expr_env *env, const json_t *c, bool *out, struct error *err)
{
	const struct cond_type *type = cond_find(c);
	if (!type)
		return error_aws(err, "ValidationException", "Unknown condition type.");
	if (type->form == COND_COMPARE)
		return compare_eval(env, type, c, out, err);
	if (type->form == COND_IN)
		return in_eval(env, type, c, out, err);
	if (type->form == COND_NOT) {
		if (condition_eval(env, json_object_get(c, "Condition"), out, err) < 0)
			return -1;
		*out = !*out;
		return 0;
	}
	size_t i;
	json_t *item;
	*out = false;
	json_array_foreach (json_object_get(c, "Conditions"), i, item) {
		bool one;
		if (condition_eval(env, item, &one, err) < 0)
			return -1;
		*out |= one;
	}
	return 0;
}

int expr_conditions_eval(const struct expr_env *env, const json_t *conditions, bool *out, struct error *err)
{
	size_t i;
	json_t *item;
	*out = true;
	json_array_foreach (conditions, i, item) {
		bool one;
		if (condition_eval(env, item, &one, err) < 0)
			return -1;
		*out &= one;
	}
	return 0;
}
