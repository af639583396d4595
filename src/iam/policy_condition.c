/* policy_condition.c - one line of a policy's Condition. See policy.h.
 *
 * DESIGN: a comparison knows one value of the request and one of the policy; everything else (several values, sets,
 * negation, absent keys, IfExists) is the same for all operators. Source: IAM user guide, "IAM JSON policy elements:
 * Condition operators" and "Set operators for multivalued context keys". */
#include "iam/policy.h"

#include <arpa/inet.h>
#include <math.h>

#include "base/clock.h"
#include "base/id.h"

static const struct {
	const char *name;
	enum policy_operator op;
	bool negated;
} operators[] = {
	{ "StringEquals", OPERATOR_STRING, false },
	{ "StringNotEquals", OPERATOR_STRING, true },
	{ "StringEqualsIgnoreCase", OPERATOR_STRING_NOCASE, false },
	{ "StringNotEqualsIgnoreCase", OPERATOR_STRING_NOCASE, true },
	{ "StringLike", OPERATOR_STRING_LIKE, false },
	{ "StringNotLike", OPERATOR_STRING_LIKE, true },
	{ "NumericEquals", OPERATOR_NUMBER_EQUALS, false },
	{ "NumericNotEquals", OPERATOR_NUMBER_EQUALS, true },
	{ "NumericLessThan", OPERATOR_NUMBER_LESS, false },
	{ "NumericLessThanEquals", OPERATOR_NUMBER_LESS_EQUALS, false },
	{ "NumericGreaterThan", OPERATOR_NUMBER_GREATER, false },
	{ "NumericGreaterThanEquals", OPERATOR_NUMBER_GREATER_EQUALS, false },
	{ "DateEquals", OPERATOR_DATE_EQUALS, false },
	{ "DateNotEquals", OPERATOR_DATE_EQUALS, true },
	{ "DateLessThan", OPERATOR_DATE_LESS, false },
	{ "DateLessThanEquals", OPERATOR_DATE_LESS_EQUALS, false },
	{ "DateGreaterThan", OPERATOR_DATE_GREATER, false },
	{ "DateGreaterThanEquals", OPERATOR_DATE_GREATER_EQUALS, false },
	{ "Bool", OPERATOR_BOOL, false },
	{ "BinaryEquals", OPERATOR_BINARY, false },
	{ "IpAddress", OPERATOR_IP, false },
	{ "NotIpAddress", OPERATOR_IP, true },
	{ "ArnEquals", OPERATOR_ARN, false },
	{ "ArnLike", OPERATOR_ARN, false },
	{ "ArnNotEquals", OPERATOR_ARN, true },
	{ "ArnNotLike", OPERATOR_ARN, true },
	{ "Null", OPERATOR_NULL, false },
};

bool policy_operator_find(struct str name, struct policy_condition *out)
{
	out->set = SET_NONE;
	if (str_starts(name, STR("ForAllValues:")))
		out->set = SET_ALL;
	else if (str_starts(name, STR("ForAnyValue:")))
		out->set = SET_ANY;
	if (out->set != SET_NONE)
		name = str_skip(name, (size_t)str_find_char(name, ':') + 1);
	out->if_exists = str_ends(name, STR("IfExists"));
	if (out->if_exists)
		name = str_head(name, name.len - 8);
	for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++)
		if (str_eq_nocase(name, str_from(operators[i].name))) {
			out->op = operators[i].op;
			out->negated = operators[i].negated;
			return out->op != OPERATOR_NULL || (!out->if_exists && out->set == SET_NONE);
		}
	return false;
}

/* ---- one value against one value ---- */

static bool compare_numbers(enum policy_operator op, double have, double want)
{
	switch (op) {
	case OPERATOR_NUMBER_LESS:
	case OPERATOR_DATE_LESS:
		return have < want;
	case OPERATOR_NUMBER_LESS_EQUALS:
	case OPERATOR_DATE_LESS_EQUALS:
		return have <= want;
	case OPERATOR_NUMBER_GREATER:
	case OPERATOR_DATE_GREATER:
		return have > want;
	case OPERATOR_NUMBER_GREATER_EQUALS:
	case OPERATOR_DATE_GREATER_EQUALS:
		return have >= want;
	default:
		return !(have < want) && !(have > want);
	}
}

static bool number(enum policy_operator op, struct str have, struct str want)
{
	double a, b;
	return str_to_double(have, &a) && str_to_double(want, &b) && compare_numbers(op, a, b);
}

/* ISO 8601, a day alone, or seconds since the epoch. */
static bool read_date(struct str s, double *seconds)
{
	char day[32];
	int64_t ms;
	if (str_to_double(s, seconds))
		return true;
	if (s.len == 10) {
		memcpy(day, s.ptr, 10);
		memcpy(day + 10, "T00:00:00Z", 11);
		s = str_from(day);
	}
	if (!clock_parse_iso(s, &ms))
		return false;
	*seconds = (double)ms / 1000;
	return true;
}

static bool date(enum policy_operator op, struct str have, struct str want)
{
	double a, b;
	return read_date(have, &a) && read_date(want, &b) && compare_numbers(op, a, b);
}

/* Bytes of an address: 4, 16, or 0 when it is none. */
static int read_address(struct str s, unsigned char out[16])
{
	char text[64];
	if (s.len >= sizeof(text))
		return 0;
	memcpy(text, s.ptr, s.len);
	text[s.len] = 0;
	if (inet_pton(AF_INET, text, out) == 1)
		return 4;
	return inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

/* "10.0.0.0/8", "2001:db8::/32", or one address. */
static bool in_range(struct str address, struct str range)
{
	unsigned char have[16], want[16];
	int64_t bits = -1;
	ptrdiff_t slash = str_find_char(range, '/');
	if (slash >= 0 && !str_to_i64(str_skip(range, (size_t)slash + 1), &bits))
		return false;
	int size = read_address(slash < 0 ? range : str_head(range, (size_t)slash), want);
	if (!size || read_address(address, have) != size)
		return false;
	if (slash < 0)
		bits = 8 * (int64_t)size;
	if (bits < 0 || bits > 8 * (int64_t)size)
		return false;
	for (int64_t bit = 0; bit < bits; bit++)
		if ((have[bit / 8] ^ want[bit / 8]) & (0x80 >> (bit % 8)))
			return false;
	return true;
}

static bool binary(struct arena *a, struct str have, struct str want)
{
	char *one = arena_alloc(a, have.len + 4), *two = arena_alloc(a, want.len + 4);
	ptrdiff_t n = base64_decode(one, have), m = base64_decode(two, want);
	return n >= 0 && n == m && memcmp(one, two, (size_t)n) == 0;
}

/* Without wildcards: only a variable makes the policy's text another one. */
static bool same_text(struct str have, struct str want, bool nocase)
{
	size_t h = 0;
	for (size_t w = 0; w < want.len; w++, h++) {
		if (want.ptr[w] == 1 && w + 1 < want.len)
			w++;
		if (h >= have.len)
			return false;
		struct str one = { have.ptr + h, 1 }, two = { want.ptr + w, 1 };
		if (nocase ? !str_eq_nocase(one, two) : *one.ptr != *two.ptr)
			return false;
	}
	return h == have.len;
}

static bool same(const struct policy_condition *c, struct str have, struct str want, struct arena *a)
{
	switch (c->op) {
	case OPERATOR_STRING:
	case OPERATOR_STRING_NOCASE:
		return same_text(have, want, c->op == OPERATOR_STRING_NOCASE);
	case OPERATOR_STRING_LIKE:
		return policy_glob(want, have, false);
	case OPERATOR_ARN:
		return policy_arn_like(want, have);
	case OPERATOR_BOOL:
		return same_text(have, want, true);
	case OPERATOR_BINARY:
		return binary(a, have, want);
	case OPERATOR_IP:
		return in_range(have, want);
	case OPERATOR_DATE_EQUALS:
	case OPERATOR_DATE_LESS:
	case OPERATOR_DATE_LESS_EQUALS:
	case OPERATOR_DATE_GREATER:
	case OPERATOR_DATE_GREATER_EQUALS:
		return date(c->op, have, want);
	case OPERATOR_NULL:
		return false;
	default:
		return number(c->op, have, want);
	}
}

/* ---- all values ---- */

static bool any_of(const struct policy_condition *c, struct str have, const struct policy_question *q, bool variables)
{
	for (size_t i = 0; i < c->count; i++) {
		struct str want = c->values[i];
		bool text = c->op <= OPERATOR_STRING_LIKE || c->op == OPERATOR_ARN;
		if (text && variables && !policy_expand(want, q, &want))
			continue;
		if (text && !variables)
			want = policy_plain(q->arena, want);
		if (same(c, have, want, q->arena))
			return true;
	}
	return false;
}

static bool is_null(const struct policy_condition *c, bool absent)
{
	for (size_t i = 0; i < c->count; i++)
		if (str_eq_nocase(c->values[i], absent ? STR("true") : STR("false")))
			return true;
	return false;
}

bool policy_condition_holds(const struct policy_condition *c, const struct policy_question *q, bool variables)
{
	struct policy_values have = { 0 };
	bool found = q->find && q->find(q->ctx, q->arena, c->key, &have) && have.count > 0;
	if (c->op == OPERATOR_NULL)
		return is_null(c, !found);
	if (!found)
		return c->if_exists || c->set == SET_ALL || (c->negated && c->set == SET_NONE);
	bool all = true, any = false;
	for (size_t i = 0; i < have.count; i++) {
		bool match = any_of(c, have.values[i], q, variables) != c->negated;
		all = all && match;
		any = any || match;
	}
	/* Without a set operator a key has one value; should it have several, a negated operator wants none to match.
	 */
	return c->set == SET_ANY || (c->set == SET_NONE && !c->negated) ? any : all;
}
