/* policy_match.c - wildcards, ARNs and variables of policies. See policy.h.
 *
 * DESIGN: in a pattern the byte 1 makes the byte behind it stand for itself, so that what a variable gave ("${*}", a
 * user's name) can't act as a wildcard. Source: IAM user guide, "IAM JSON policy elements: Resource" and "Variables and
 * tags". */
#include "iam/policy.h"

#include "base/buf.h"

enum { LITERAL = 1, ARN_PARTS = 6 };

static unsigned char fold(unsigned char c, bool nocase)
{
	return nocase && c >= 'A' && c <= 'Z' ? (unsigned char)(c | 32) : c;
}

bool policy_glob(struct str pattern, struct str text, bool nocase)
{
	size_t p = 0, t = 0, star = SIZE_MAX, from = 0;
	for (;;) {
		if (p < pattern.len && pattern.ptr[p] == '*') {
			star = ++p;
			from = t;
			continue;
		}
		bool literal = p + 1 < pattern.len && pattern.ptr[p] == LITERAL;
		unsigned char want = p < pattern.len ? (unsigned char)pattern.ptr[p + literal] : 0;
		if (t == text.len && p == pattern.len)
			return true;
		if (t < text.len && p < pattern.len &&
		    ((!literal && want == '?') || fold(want, nocase) == fold((unsigned char)text.ptr[t], nocase))) {
			p += 1 + literal;
			t++;
			continue;
		}
		if (star == SIZE_MAX || from >= text.len)
			return false;
		p = star;
		t = ++from;
	}
}

/* The part before the next colon; the last of n parts is all that is left. */
static bool next_part(struct str *rest, int n, struct str *part)
{
	if (n < ARN_PARTS - 1)
		return str_split(rest, ':', part);
	*part = rest->ptr ? *rest : STR("");
	bool more = rest->ptr != NULL;
	*rest = STR_NULL;
	return more;
}

bool policy_arn_like(struct str pattern, struct str arn)
{
	if (str_eqz(pattern, "*"))
		return true;
	struct str want, have;
	for (int n = 0; n < ARN_PARTS; n++) {
		struct str before = arn;
		if (!next_part(&pattern, n, &want))
			return !arn.ptr;
		bool last = !pattern.ptr && n < ARN_PARTS - 1 && str_ends(want, STR("*"));
		if (last)
			return before.ptr && policy_glob(want, before, false);
		if (!next_part(&arn, n, &have) || !policy_glob(want, have, false))
			return false;
	}
	return true;
}

static void add_literal(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		buf_add_char(b, LITERAL);
		buf_add_char(b, s.ptr[i]);
	}
}

/* "aws:username" or "aws:PrincipalTag/team, 'none'". False: no value. */
static bool add_variable(struct buf *b, struct str inside, const struct policy_question *q)
{
	static const char *const special[] = { "*", "?", "$" };
	for (size_t i = 0; i < 3; i++)
		if (str_eqz(inside, special[i])) {
			add_literal(b, inside);
			return true;
		}
	struct policy_values found = { 0 };
	ptrdiff_t comma = str_find_char(inside, ',');
	struct str key = comma < 0 ? inside : str_head(inside, (size_t)comma);
	if (q->find && q->find(q->ctx, q->arena, str_trim(key), &found) && found.count == 1) {
		add_literal(b, found.values[0]);
		return true;
	}
	struct str fallback = comma < 0 ? STR_NULL : str_trim(str_skip(inside, (size_t)comma + 1));
	if (fallback.len < 2 || fallback.ptr[0] != '\'' || fallback.ptr[fallback.len - 1] != '\'')
		return false;
	add_literal(b, str_head(str_skip(fallback, 1), fallback.len - 2));
	return true;
}

static struct str keep(struct arena *a, struct buf *b)
{
	struct str out = arena_str(a, buf_str(b));
	buf_release(b);
	return out;
}

struct str policy_plain(struct arena *a, struct str pattern)
{
	if (str_find_char(pattern, LITERAL) < 0)
		return pattern;
	struct buf b = BUF_INIT;
	for (size_t i = 0; i < pattern.len; i++) {
		if (pattern.ptr[i] == LITERAL)
			buf_add_char(&b, LITERAL);
		buf_add_char(&b, pattern.ptr[i]);
	}
	return keep(a, &b);
}

bool policy_expand(struct str pattern, const struct policy_question *q, struct str *out)
{
	struct buf b = BUF_INIT;
	bool good = true;
	size_t i = 0;
	while (good && i < pattern.len) {
		struct str rest = str_skip(pattern, i);
		ptrdiff_t end = str_starts(rest, STR("${")) ? str_find_char(rest, '}') : -1;
		if (end > 0) {
			good = add_variable(&b, str_head(str_skip(rest, 2), (size_t)end - 2), q);
			i += (size_t)end + 1;
			continue;
		}
		if (pattern.ptr[i] == LITERAL)
			buf_add_char(&b, LITERAL);
		buf_add_char(&b, pattern.ptr[i++]);
	}
	*out = keep(q->arena, &b);
	return good;
}
