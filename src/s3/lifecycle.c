/* lifecycle.c - what a lifecycle configuration says of an object at a time. See lifecycle.h.
 *
 * DESIGN: rules don't know of each other: what the first due one says happens; of several classes the coldest wins, and
 * nothing comes back from a colder one. An object's tags are compared in their stored form. */
#include "s3/lifecycle.h"

enum { SMALL = 128 << 10 }; /* stays where it is, unless a filter names sizes */

int64_t s3_when_ms(const struct s3_when *w, int64_t from_ms, int64_t day_ms)
{
	return w->days < 0 ? w->date_ms : (from_ms / day_ms + w->days + 1) * day_ms;
}

static bool has_tag(struct str tags, struct str want)
{
	struct str piece;
	while (tags.len && str_split(&tags, '&', &piece))
		if (str_eq(piece, want))
			return true;
	return false;
}

static bool matches(const struct s3_rule *r, const struct s3_object *o)
{
	if (!r->enabled || !str_starts(o->key, r->prefix))
		return false;
	if (o->marker) /* it has neither tags nor a size */
		return !r->ntags && r->above < 0 && r->below < 0;
	if ((r->above >= 0 && o->size_bytes <= r->above) || (r->below >= 0 && o->size_bytes >= r->below))
		return false;
	for (size_t i = 0; i < r->ntags; i++)
		if (!has_tag(o->tags, r->tags[i].stored))
			return false;
	return true;
}

bool s3_lifecycle_expiry(const struct s3_lifecycle *l, const struct s3_object *o, int64_t day_ms, int64_t *at_ms,
			 const struct s3_rule **rule)
{
	*rule = NULL;
	for (size_t i = 0; i < l->count; i++) {
		const struct s3_rule *r = &l->rules[i];
		if (!r->expiration.set || !matches(r, o))
			continue;
		const int64_t at = s3_when_ms(&r->expiration, o->modified_ms, day_ms);
		if (*rule && at >= *at_ms)
			continue;
		*rule = r;
		*at_ms = at;
	}
	return *rule != NULL;
}

bool s3_lifecycle_abort(const struct s3_lifecycle *l, struct str key, int64_t created_ms, int64_t day_ms,
			int64_t *at_ms, const struct s3_rule **rule)
{
	*rule = NULL;
	for (size_t i = 0; i < l->count; i++) {
		const struct s3_rule *r = &l->rules[i];
		if (!r->enabled || !r->abort.set || !str_starts(key, r->prefix))
			continue;
		const int64_t at = s3_when_ms(&r->abort, created_ms, day_ms);
		if (*rule && at >= *at_ms)
			continue;
		*rule = r;
		*at_ms = at;
	}
	return *rule != NULL;
}

bool s3_lifecycle_noncurrent(const struct s3_lifecycle *l, const struct s3_object *o, int64_t since_ms, int64_t newer,
			     int64_t now_ms, int64_t day_ms)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct s3_rule *r = &l->rules[i];
		if (r->noncurrent.set && newer >= r->newer && matches(r, o) &&
		    s3_when_ms(&r->noncurrent, since_ms, day_ms) <= now_ms)
			return true;
	}
	return false;
}

bool s3_lifecycle_marker(const struct s3_lifecycle *l, const struct s3_object *o, int64_t now_ms, int64_t day_ms)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct s3_rule *r = &l->rules[i];
		if (!matches(r, o))
			continue;
		if (r->lone_markers ||
		    (r->expiration.set && s3_when_ms(&r->expiration, o->modified_ms, day_ms) <= now_ms))
			return true;
	}
	return false;
}

/* ---- storage classes ---- */

/* The colder, the larger. */
static int coldness(struct str class)
{
	static const char *const classes[] = { "STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR",
					       "GLACIER",     "DEEP_ARCHIVE" };
	for (int i = 0; i < (int)(sizeof(classes) / sizeof(*classes)); i++)
		if (str_eqz(class, classes[i]))
			return i + 1;
	return 0;
}

static bool may_move(const struct s3_lifecycle *l, const struct s3_rule *r, const struct s3_object *o, struct str class)
{
	if (coldness(class) <= coldness(o->storage))
		return false;
	const bool archive = str_eqz(class, "GLACIER") || str_eqz(class, "DEEP_ARCHIVE");
	return o->size_bytes >= SMALL || r->above >= 0 || r->below >= 0 || (archive && l->small_ones_move);
}

struct str s3_lifecycle_storage(const struct s3_lifecycle *l, const struct s3_object *o, int64_t since_ms,
				int64_t newer, int64_t now_ms, int64_t day_ms)
{
	const bool current = since_ms < 0;
	struct str best = STR_NULL;
	if (o->marker)
		return best;
	for (size_t i = 0; i < l->count; i++) {
		const struct s3_rule *r = &l->rules[i];
		const struct s3_transition *list = current ? r->transitions : r->noncurrent_transitions;
		const size_t n = current ? r->ntransitions : r->nnoncurrent;
		for (size_t j = 0; n && j < n && matches(r, o); j++)
			if ((current || newer >= list[j].newer) && may_move(l, r, o, list[j].storage) &&
			    s3_when_ms(&list[j].when, current ? o->modified_ms : since_ms, day_ms) <= now_ms &&
			    coldness(list[j].storage) > coldness(best))
				best = list[j].storage;
	}
	return best;
}
