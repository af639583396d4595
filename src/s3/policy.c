/* policy.c - see policy.h. Source: "POST policy", Amazon S3 API reference.
 *
 * DESIGN: a policy says what a form may contain: every condition must hold, and every field must be mentioned by a
 * condition, except those that carry the policy itself and the checksum of the body. Field names have no case. */
#include "s3/policy.h"

#include "base/clock.h"
#include "base/json.h"

enum { CONDITIONS_MAX = 1000 };

struct check {
	struct arena *a;
	const struct policy_field *fields;
	size_t n;
	bool *mentioned;
	int64_t *min, *max;
};

static int invalid(struct error *err, const char *why)
{
	return error_http(err, 400, "InvalidPolicyDocument", "Invalid Policy: %s", why);
}

static int failed(struct check *k, const json_t *condition, struct error *err)
{
	return error_http(err, 403, "AccessDenied", "Invalid according to Policy: Policy Condition failed: %.*s",
			  STR_ARG(json_text(k->a, condition)));
}

/* The field, marked as mentioned; an absent one has no value. */
static struct str value_of(struct check *k, struct str name)
{
	struct str value = STR_NULL;
	for (size_t i = 0; i < k->n; i++)
		if (str_eq_nocase(k->fields[i].name, name)) {
			k->mentioned[i] = true;
			value = k->fields[i].value;
		}
	return value;
}

static int check_equal(struct check *k, const json_t *condition, struct str name, const json_t *want, struct error *err)
{
	const struct str have = value_of(k, name);
	if (!json_is_string(want))
		return invalid(err, "Invalid Simple-Condition: value must be a string.");
	return str_eq(have, json_str(want)) ? 0 : failed(k, condition, err);
}

/* A number, or a text of digits. */
static bool whole_number(const json_t *v, int64_t *out)
{
	if (json_is_integer(v))
		*out = json_integer_value(v);
	else if (!json_is_string(v) || !str_to_i64(json_str(v), out))
		return false;
	return *out >= 0;
}

static int check_list(struct check *k, const json_t *c, struct error *err)
{
	const struct str verb = json_str(json_array_get(c, 0));
	if (json_array_size(c) != 3 || !verb.ptr)
		return invalid(err, "Invalid condition: it must have three parts.");
	if (str_eq_nocase(verb, STR("content-length-range"))) {
		int64_t low, high;
		if (!whole_number(json_array_get(c, 1), &low) || !whole_number(json_array_get(c, 2), &high))
			return invalid(err, "Invalid content-length-range.");
		*k->min = low > *k->min ? low : *k->min;
		*k->max = high < *k->max ? high : *k->max;
		return 0;
	}
	struct str name = json_str(json_array_get(c, 1));
	if (name.len < 2 || name.ptr[0] != '$')
		return invalid(err, "Invalid condition: the field must start with $.");
	name = str_skip(name, 1);
	const json_t *want = json_array_get(c, 2);
	if (str_eq_nocase(verb, STR("eq")))
		return check_equal(k, c, name, want, err);
	if (!str_eq_nocase(verb, STR("starts-with")))
		return invalid(err, "Invalid condition: unknown operator.");
	if (!json_is_string(want))
		return invalid(err, "Invalid condition: value must be a string.");
	const struct str have = value_of(k, name);
	return have.ptr && str_starts(have, json_str(want)) ? 0 : failed(k, c, err);
}

static int check_condition(struct check *k, const json_t *c, struct error *err)
{
	if (json_is_array(c))
		return check_list(k, c, err);
	if (!json_is_object(c) || json_object_size(c) != 1)
		return invalid(err,
			       "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.");
	const char *name;
	json_t *want;
	json_object_foreach ((json_t *)c, name, want)
		return check_equal(k, c, str_from(name), want, err);
	return 0;
}

static bool needs_no_mention(struct str name)
{
	static const char *const names[] = { "policy", "x-amz-signature", "signature", "awsaccesskeyid",
					     "file",   "bucket" };
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (str_eq_nocase(name, str_from(names[i])))
			return true;
	return str_eq_nocase(str_head(name, 9), STR("x-ignore-")) ||
	       str_eq_nocase(str_head(name, 15), STR("x-amz-checksum-"));
}

static int check_document(struct check *k, const json_t *doc, int64_t now_ms, struct error *err)
{
	const json_t *conditions = json_get(doc, "conditions");
	const struct str expiration = json_get_str(doc, "expiration");
	int64_t expires_ms;
	if (!json_is_object(doc))
		return invalid(err, "Invalid JSON.");
	if (!expiration.ptr)
		return invalid(err, "Policy missing expiration.");
	if (!clock_parse_iso(expiration, &expires_ms))
		return invalid(err, "Invalid 'expiration' value.");
	if (!json_is_array(conditions))
		return invalid(err, "Policy missing conditions.");
	if (json_array_size(conditions) > CONDITIONS_MAX)
		return invalid(err, "Too many conditions.");
	if (expires_ms <= now_ms)
		return error_http(err, 403, "AccessDenied", "Invalid according to Policy: Policy expired.");
	for (size_t i = 0; i < json_array_size(conditions); i++)
		if (check_condition(k, json_array_get(conditions, i), err) < 0)
			return -1;
	for (size_t i = 0; i < k->n; i++)
		if (!k->mentioned[i] && !needs_no_mention(k->fields[i].name))
			return error_http(err, 403, "AccessDenied",
					  "Invalid according to Policy: Extra input fields: %.*s",
					  STR_ARG(k->fields[i].name));
	return 0;
}

int policy_check(struct arena *a, struct str document, const struct policy_field *fields, size_t n, int64_t now_ms,
		 int64_t *min, int64_t *max, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	CLEANUP_JSON json_t *doc = json_parse(document, &why);
	*min = 0;
	*max = INT64_MAX;
	if (!doc)
		return invalid(err, "Invalid JSON.");
	struct check k = { a, fields, n, ARENA_ARRAY(a, bool, n + 1), min, max };
	return check_document(&k, doc, now_ms, err);
}
