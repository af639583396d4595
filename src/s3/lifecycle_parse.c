/* lifecycle_parse.c - reading, checking and writing lifecycle configurations. See lifecycle.h. The texts of errors are
 * S3's.
 *
 * DESIGN: a rule is read element by element; an element that S3 doesn't know, or that stands twice, is malformed. What
 * only rules as a whole show (ids, the order of actions) is checked behind that. */
#include <stdlib.h>

#include "base/clock.h"
#include "s3/lifecycle.h"
#include "wire/uri.h"

const char *const s3_lifecycle_sizes[3] = { "all_storage_classes_128K", "varies_by_storage_class", NULL };

enum { ID_MAX = 255, NEWER_MAX = 100, FREQUENT_DAYS = 30 };

struct reading {
	struct arena *a;
	struct s3_rule *r;
	struct error *err;
};

static int malformed(struct reading *k)
{
	return s3_error(k->err, "MalformedXML");
}

static size_t count_children(const struct xml_node *n, const char *name)
{
	size_t count = 0;
	for (const struct xml_node *c = n->first; c; c = c->next)
		count += str_eqz(c->name, name);
	return count;
}

/* Only these elements, each at most once but for those with a star ("*Tag"). */
static bool only(const struct xml_node *n, const char *const *names)
{
	for (const struct xml_node *c = n->first; c; c = c->next) {
		bool known = false;
		for (const char *const *p = names; *p && !known; p++)
			known = **p == '*' ? str_eqz(c->name, *p + 1)
					   : str_eqz(c->name, *p) && count_children(n, *p) == 1;
		if (!known)
			return false;
	}
	return true;
}

/* A whole number; absent: `absent`. */
static int read_number(struct reading *k, const struct xml_node *n, const char *name, int64_t max, int64_t absent,
		       int64_t *out)
{
	const struct str text = s3_xml_child_text(n, name);
	*out = absent;
	if (!text.ptr)
		return 0;
	return str_to_i64(str_trim(text), out) && *out >= -max && *out <= max ? 0 : malformed(k);
}

static int read_date(struct reading *k, struct str text, int64_t *ms)
{
	const struct str t = str_trim(text);
	const char *whole = t.len == 10 ? arena_printf(k->a, "%.*sT00:00:00Z", STR_ARG(t)) : NULL;
	if (!clock_parse_iso(whole ? str_from(whole) : t, ms))
		return malformed(k);
	return *ms % S3_DAY_MS == 0 ? 0 : s3_error_text(k->err, "InvalidArgument", "'Date' must be at midnight GMT");
}

/* Days or Date, not both; neither leaves *out unset. */
static int read_when(struct reading *k, const struct xml_node *n, struct s3_when *out)
{
	const struct str date = s3_xml_child_text(n, "Date");
	if (read_number(k, n, "Days", INT32_MAX, INT64_MIN, &out->days) < 0)
		return -1;
	const bool days = out->days != INT64_MIN;
	if (days && date.ptr)
		return malformed(k);
	out->set = days || date.ptr;
	if (!days)
		out->days = -1;
	return date.ptr ? read_date(k, date, &out->date_ms) : 0;
}

/* A number of days that an action must have. */
static int read_days(struct reading *k, const struct xml_node *n, const char *name, const char *action,
		     struct s3_when *out)
{
	if (read_number(k, n, name, INT32_MAX, INT64_MIN, &out->days) < 0)
		return -1;
	if (out->days == INT64_MIN)
		return malformed(k);
	if (out->days <= 0)
		return s3_error_text(k->err, "InvalidArgument", "'%s' for %s action must be a positive integer", name,
				     action);
	out->set = true;
	return 0;
}

/* ---- filters ---- */

static int read_tag(struct reading *k, const struct xml_node *n)
{
	static const char *const known[] = { "Key", "Value", NULL };
	const struct str key = s3_xml_child_text(n, "Key"), value = s3_xml_child_text(n, "Value");
	if (!only(n, known) || !key.ptr || !value.ptr)
		return malformed(k);
	if (!key.len || key.len > 4 * 128)
		return s3_error_text(k->err, "InvalidTag", "The TagKey you have provided is invalid");
	if (value.len > 4 * 256)
		return s3_error_text(k->err, "InvalidTag", "The TagValue you have provided is invalid");
	const char *stored =
		arena_printf(k->a, "%s=%s", uri_encoded(k->a, key, false).ptr, uri_encoded(k->a, value, false).ptr);
	for (size_t i = 0; i < k->r->ntags; i++)
		if (str_eq(k->r->tags[i].key, key))
			return s3_error_text(k->err, "InvalidRequest", "Duplicate Tag Keys are not allowed.");
	k->r->tags[k->r->ntags++] = (struct s3_rule_tag){ key, value, str_from(stored) };
	return 0;
}

static int read_prefix(struct reading *k, struct str text)
{
	if (text.len > S3_KEY_MAX)
		return s3_error_text(k->err, "InvalidRequest", "The maximum size of a prefix is %d.", S3_KEY_MAX);
	k->r->prefix = text;
	return 0;
}

/* What a Filter and its And have in common. */
static int read_predicates(struct reading *k, const struct xml_node *n)
{
	struct s3_rule *r = k->r;
	const struct str prefix = s3_xml_child_text(n, "Prefix");
	r->tags = ARENA_ARRAY(k->a, struct s3_rule_tag, count_children(n, "Tag") + 1);
	if ((prefix.ptr && read_prefix(k, prefix) < 0) ||
	    read_number(k, n, "ObjectSizeGreaterThan", INT64_MAX, -1, &r->above) < 0 ||
	    read_number(k, n, "ObjectSizeLessThan", INT64_MAX, -1, &r->below) < 0)
		return -1;
	if (r->above < -1 || r->below < -1 || r->below == 0 || r->above > S3_OBJECT_MAX || r->below > S3_OBJECT_MAX)
		return s3_error_text(
			k->err, "InvalidRequest",
			"'ObjectSizeGreaterThan' and 'ObjectSizeLessThan' must be sizes that objects have");
	if (r->below >= 0 && r->above >= r->below - 1 && r->above >= 0)
		return s3_error_text(k->err, "InvalidRequest",
				     "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.");
	for (const struct xml_node *c = n->first; c; c = c->next)
		if (str_eqz(c->name, "Tag") && read_tag(k, c) < 0)
			return -1;
	return 0;
}

static size_t predicates(const struct s3_rule *r)
{
	return (r->prefix.ptr != NULL) + r->ntags + (r->above >= 0) + (r->below >= 0);
}

static int read_filter(struct reading *k, const struct xml_node *n)
{
	static const char
		*const known[] = { "Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan", "And", NULL },
		       *const inside[] = { "Prefix", "*Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan", NULL };
	const struct xml_node *and = s3_xml_child(n, "And");
	if (!only(n, known) || (and&&(n->first->next || !only(and, inside))))
		return malformed(k);
	k->r->many = and != NULL;
	if (read_predicates(k, and? and : n) < 0)
		return -1;
	return (and? predicates(k->r) >= 2 : predicates(k->r) <= 1) ? 0 : malformed(k);
}

/* ---- actions ---- */

static int read_flag(struct reading *k, struct str text, bool *out)
{
	*out = str_eq_nocase(text, STR("true"));
	return *out || str_eq_nocase(text, STR("false")) ? 0 : malformed(k);
}

static int read_expiration(struct reading *k, const struct xml_node *n)
{
	static const char *const known[] = { "Days", "Date", "ExpiredObjectDeleteMarker", NULL };
	const struct str marker = s3_xml_child_text(n, "ExpiredObjectDeleteMarker");
	struct s3_rule *r = k->r;
	if (!only(n, known) || read_when(k, n, &r->expiration) < 0)
		return k->err->message ? -1 : malformed(k);
	if (r->expiration.set == (marker.ptr != NULL)) /* one of them, and only one */
		return malformed(k);
	if (s3_xml_child(n, "Days") && r->expiration.days <= 0)
		return s3_error_text(k->err, "InvalidArgument",
				     "'Days' for Expiration action must be a positive integer");
	r->marker_said = marker.ptr != NULL;
	return marker.ptr ? read_flag(k, marker, &r->lone_markers) : 0;
}

static bool is_class(struct str s)
{
	static const char *const classes[] = { "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING",
					       "GLACIER_IR",  "GLACIER",    "DEEP_ARCHIVE" };
	for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++)
		if (str_eqz(s, classes[i]))
			return true;
	return false;
}

static bool is_infrequent(struct str class)
{
	return str_eqz(class, "STANDARD_IA") || str_eqz(class, "ONEZONE_IA");
}

static int read_transition(struct reading *k, const struct xml_node *n, struct s3_transition *t)
{
	static const char *const known[] = { "Days", "Date", "StorageClass", NULL };
	t->storage = s3_xml_child_text(n, "StorageClass");
	if (!only(n, known) || !is_class(t->storage))
		return malformed(k);
	if (read_when(k, n, &t->when) < 0)
		return -1;
	if (!t->when.set)
		return malformed(k);
	if (!s3_xml_child(n, "Days"))
		return 0;
	if (t->when.days < 0)
		return s3_error_text(k->err, "InvalidArgument", "'Days' in Transition action must be nonnegative");
	if (is_infrequent(t->storage) && t->when.days < FREQUENT_DAYS)
		return s3_error_text(
			k->err, "InvalidArgument",
			"'Days' in Transition action must be greater than or equal to %d for storageClass '%.*s'",
			FREQUENT_DAYS, STR_ARG(t->storage));
	return 0;
}

static int read_newer(struct reading *k, const struct xml_node *n, const char *action, int64_t *out)
{
	if (read_number(k, n, "NewerNoncurrentVersions", INT32_MAX, INT64_MIN, out) < 0)
		return -1;
	if (*out == INT64_MIN) {
		*out = 0;
		return 0;
	}
	if (*out <= 0 || *out > NEWER_MAX)
		return s3_error_text(k->err, "InvalidArgument",
				     "'NewerNoncurrentVersions' for %s action must be an integer between 1 and %d",
				     action, NEWER_MAX);
	return 0;
}

static int read_noncurrent_transition(struct reading *k, const struct xml_node *n, struct s3_transition *t)
{
	static const char *const known[] = { "NoncurrentDays", "NewerNoncurrentVersions", "StorageClass", NULL };
	t->storage = s3_xml_child_text(n, "StorageClass");
	if (!only(n, known) || !is_class(t->storage) ||
	    read_number(k, n, "NoncurrentDays", INT32_MAX, INT64_MIN, &t->when.days) < 0)
		return k->err->message ? -1 : malformed(k);
	if (t->when.days == INT64_MIN)
		return malformed(k);
	if (t->when.days < 0)
		return s3_error_text(k->err, "InvalidArgument",
				     "'NoncurrentDays' in NoncurrentVersionTransition action must be nonnegative");
	if (is_infrequent(t->storage) && t->when.days < FREQUENT_DAYS)
		return s3_error_text(k->err, "InvalidArgument",
				     "'NoncurrentDays' in NoncurrentVersionTransition action must be greater than or "
				     "equal to %d for storageClass '%.*s'",
				     FREQUENT_DAYS, STR_ARG(t->storage));
	t->when.set = true;
	return read_newer(k, n, "NoncurrentVersionTransition", &t->newer);
}

static int read_noncurrent(struct reading *k, const struct xml_node *n)
{
	static const char *const known[] = { "NoncurrentDays", "NewerNoncurrentVersions", NULL };
	if (!only(n, known))
		return malformed(k);
	if (read_days(k, n, "NoncurrentDays", "NoncurrentVersionExpiration", &k->r->noncurrent) < 0)
		return -1;
	return read_newer(k, n, "NoncurrentVersionExpiration", &k->r->newer);
}

static int read_abort(struct reading *k, const struct xml_node *n)
{
	static const char *const known[] = { "DaysAfterInitiation", NULL };
	if (!only(n, known))
		return malformed(k);
	return read_days(k, n, "DaysAfterInitiation", "AbortIncompleteMultipartUpload", &k->r->abort);
}

/* ---- a rule as a whole ---- */

/* As S3 tells a rule's filter: "(prefix=logs/ and tag: key=a, value=b)". */
static const char *filter_text(struct reading *k)
{
	const struct s3_rule *r = k->r;
	const char *text = arena_printf(k->a, "(prefix=%.*s", STR_ARG(r->prefix));
	for (size_t i = 0; i < r->ntags; i++)
		text = arena_printf(k->a, "%s and tag: key=%.*s, value=%.*s", text, STR_ARG(r->tags[i].key),
				    STR_ARG(r->tags[i].value));
	if (r->above >= 0)
		text = arena_printf(k->a, "%s and objectsizegreaterthan=%lld", text, (long long)r->above);
	if (r->below >= 0)
		text = arena_printf(k->a, "%s and objectsizelessthan=%lld", text, (long long)r->below);
	return arena_printf(k->a, "%s)", text);
}

static int check_transitions(struct reading *k, const struct s3_transition *list, size_t n, const char *action)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			if (str_eq(list[i].storage, list[j].storage))
				return s3_error_text(k->err, "InvalidRequest",
						     "'StorageClass' must be different for '%s' actions in same 'Rule' "
						     "with filter '%s'",
						     action, filter_text(k));
	return 0;
}

/* What goes goes after it has moved. */
static int check_order(struct reading *k)
{
	const struct s3_rule *r = k->r;
	const bool by_date = r->ntransitions && r->transitions[0].when.days < 0;
	bool mixed = r->ntransitions && r->expiration.set && by_date != (r->expiration.days < 0);
	for (size_t i = 1; i < r->ntransitions; i++)
		mixed = mixed || by_date != (r->transitions[i].when.days < 0);
	if (mixed)
		return s3_error_text(k->err, "InvalidRequest",
				     "Found mixed 'Date' and 'Days' based Expiration and Transition actions in "
				     "lifecycle rule for filter '%s'",
				     filter_text(k));
	const char *unit = by_date ? "Date" : "Days";
	for (size_t i = 0; r->expiration.set && i < r->ntransitions; i++)
		if (s3_when_ms(&r->transitions[i].when, 0, 1) >= s3_when_ms(&r->expiration, 0, 1))
			return s3_error_text(k->err, "InvalidArgument",
					     "'%s' in the Expiration action for filter '%s' must be greater than '%s' "
					     "in the Transition action",
					     unit, filter_text(k), unit);
	for (size_t i = 0; r->noncurrent.set && i < r->nnoncurrent; i++)
		if (r->noncurrent_transitions[i].when.days >= r->noncurrent.days)
			return s3_error_text(
				k->err, "InvalidArgument",
				"'NoncurrentDays' in the NoncurrentVersionExpiration action for filter '%s' "
				"must be greater than 'NoncurrentDays' in the NoncurrentVersionTransition "
				"action",
				filter_text(k));
	return 0;
}

static int check_rule(struct reading *k)
{
	const struct s3_rule *r = k->r;
	if (!r->expiration.set && !r->marker_said && !r->noncurrent.set && !r->ntransitions && !r->nnoncurrent &&
	    !r->abort.set)
		return s3_error_text(k->err, "InvalidRequest", "At least one action needs to be specified in a rule");
	if (r->marker_said && r->ntags)
		return s3_error_text(k->err, "InvalidRequest",
				     "ExpiredObjectDeleteMarker cannot be specified with Tags.");
	if (r->marker_said && (r->above >= 0 || r->below >= 0))
		return s3_error_text(k->err, "InvalidRequest",
				     "ExpiredObjectDeleteMarker cannot be specified with Object Size.");
	if (r->abort.set && r->ntags)
		return s3_error_text(k->err, "InvalidRequest",
				     "AbortIncompleteMultipartUpload cannot be specified with Tags.");
	if (r->abort.set && (r->above >= 0 || r->below >= 0))
		return s3_error_text(k->err, "InvalidRequest",
				     "AbortIncompleteMultipartUpload cannot be specified with Object Size.");
	if (check_transitions(k, r->transitions, r->ntransitions, "Transition") < 0 ||
	    check_transitions(k, r->noncurrent_transitions, r->nnoncurrent, "NoncurrentVersionTransition") < 0)
		return -1;
	return check_order(k);
}

static int read_actions(struct reading *k, const struct xml_node *n)
{
	struct s3_rule *r = k->r;
	r->transitions = ARENA_ARRAY(k->a, struct s3_transition, count_children(n, "Transition") + 1);
	r->noncurrent_transitions =
		ARENA_ARRAY(k->a, struct s3_transition, count_children(n, "NoncurrentVersionTransition") + 1);
	for (const struct xml_node *c = n->first; c; c = c->next) {
		int rc = 0;
		if (str_eqz(c->name, "Expiration"))
			rc = read_expiration(k, c);
		else if (str_eqz(c->name, "Transition"))
			rc = read_transition(k, c, &r->transitions[r->ntransitions++]);
		else if (str_eqz(c->name, "NoncurrentVersionTransition"))
			rc = read_noncurrent_transition(k, c, &r->noncurrent_transitions[r->nnoncurrent++]);
		else if (str_eqz(c->name, "NoncurrentVersionExpiration"))
			rc = read_noncurrent(k, c);
		else if (str_eqz(c->name, "AbortIncompleteMultipartUpload"))
			rc = read_abort(k, c);
		if (rc < 0)
			return -1;
	}
	return 0;
}

static int read_rule(struct reading *k, const struct xml_node *n)
{
	static const char *const known[] = { "ID",
					     "Prefix",
					     "Filter",
					     "Status",
					     "Expiration",
					     "*Transition",
					     "*NoncurrentVersionTransition",
					     "NoncurrentVersionExpiration",
					     "AbortIncompleteMultipartUpload",
					     NULL };
	struct s3_rule *r = k->r;
	const struct str status = s3_xml_child_text(n, "Status"), prefix = s3_xml_child_text(n, "Prefix");
	const struct xml_node *filter = s3_xml_child(n, "Filter");
	*r = (struct s3_rule){ .id = s3_xml_child_text(n, "ID"), .above = -1, .below = -1 };
	r->enabled = str_eqz(status, "Enabled");
	r->bare_prefix = prefix.ptr != NULL;
	if (!str_eqz(n->name, "Rule") || !only(n, known) || (!r->enabled && !str_eqz(status, "Disabled")) ||
	    r->bare_prefix == (filter != NULL))
		return malformed(k);
	if (r->id.len > ID_MAX)
		return s3_error_text(k->err, "InvalidArgument", "ID length should not exceed allowed limit of %d",
				     ID_MAX);
	if ((prefix.ptr && read_prefix(k, prefix) < 0) || (filter && read_filter(k, filter) < 0))
		return -1;
	return read_actions(k, n) < 0 ? -1 : check_rule(k);
}

static int by_id(const void *x, const void *y)
{
	return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static int check_ids(struct arena *a, const struct s3_lifecycle *l, struct error *err)
{
	struct str *ids = ARENA_ARRAY(a, struct str, l->count + 1);
	for (size_t i = 0; i < l->count; i++)
		ids[i] = l->rules[i].id.ptr ? l->rules[i].id : STR("");
	qsort(ids, l->count, sizeof(*ids), by_id);
	for (size_t i = 1; i < l->count; i++)
		if (ids[i].len && str_eq(ids[i], ids[i - 1]))
			return s3_error_text(err, "InvalidArgument",
					     "Rule ID must be unique. Found same ID for more than one rule");
	return 0;
}

int s3_lifecycle_parse(struct arena *a, struct str xml, struct s3_lifecycle *out, struct error *err)
{
	struct xml_node *root;
	size_t n = 0;
	*out = (struct s3_lifecycle){ 0 };
	if (s3_xml_parse(a, xml, &root, err) < 0)
		return -1;
	for (const struct xml_node *c = root->first; c; c = c->next)
		n++;
	if (!str_eqz(root->name, "LifecycleConfiguration") || n == 0)
		return s3_error(err, "MalformedXML");
	if (n > S3_RULES_MAX)
		return s3_error_text(err, "InvalidRequest",
				     "The number of lifecycle rules must not exceed the allowed limit of %d rules",
				     S3_RULES_MAX);
	out->rules = ARENA_ARRAY(a, struct s3_rule, n);
	for (const struct xml_node *c = root->first; c; c = c->next) {
		struct reading k = { a, &out->rules[out->count++], err };
		if (read_rule(&k, c) < 0)
			return -1;
	}
	return check_ids(a, out, err);
}

/* ---- writing ---- */

static void write_when(struct buf *b, const struct s3_when *w)
{
	if (w->days >= 0)
		xml_int(b, "Days", w->days);
	else
		s3_xml_time(b, "Date", w->date_ms);
}

static void write_predicates(struct buf *b, const struct s3_rule *r)
{
	if (r->prefix.ptr)
		xml_text(b, "Prefix", r->prefix);
	for (size_t i = 0; i < r->ntags; i++) {
		xml_open(b, "Tag");
		xml_text(b, "Key", r->tags[i].key);
		xml_text(b, "Value", r->tags[i].value);
		xml_close(b, "Tag");
	}
	if (r->above >= 0)
		xml_int(b, "ObjectSizeGreaterThan", r->above);
	if (r->below >= 0)
		xml_int(b, "ObjectSizeLessThan", r->below);
}

static void write_filter(struct buf *b, const struct s3_rule *r)
{
	if (r->bare_prefix) {
		xml_text(b, "Prefix", r->prefix);
		return;
	}
	xml_open(b, "Filter");
	if (r->many)
		xml_open(b, "And");
	write_predicates(b, r);
	if (r->many)
		xml_close(b, "And");
	xml_close(b, "Filter");
}

static void write_newer(struct buf *b, int64_t newer)
{
	if (newer)
		xml_int(b, "NewerNoncurrentVersions", newer);
}

static void write_expirations(struct buf *b, const struct s3_rule *r)
{
	if (r->expiration.set || r->marker_said) {
		xml_open(b, "Expiration");
		if (r->expiration.set)
			write_when(b, &r->expiration);
		else
			xml_text(b, "ExpiredObjectDeleteMarker", r->lone_markers ? STR("true") : STR("false"));
		xml_close(b, "Expiration");
	}
	if (r->noncurrent.set) {
		xml_open(b, "NoncurrentVersionExpiration");
		xml_int(b, "NoncurrentDays", r->noncurrent.days);
		write_newer(b, r->newer);
		xml_close(b, "NoncurrentVersionExpiration");
	}
	if (r->abort.set) {
		xml_open(b, "AbortIncompleteMultipartUpload");
		xml_int(b, "DaysAfterInitiation", r->abort.days);
		xml_close(b, "AbortIncompleteMultipartUpload");
	}
}

static void write_rule(struct buf *b, const struct s3_rule *r)
{
	xml_open(b, "Rule");
	xml_text(b, "ID", r->id);
	write_filter(b, r);
	xml_text(b, "Status", r->enabled ? STR("Enabled") : STR("Disabled"));
	for (size_t i = 0; i < r->ntransitions; i++) {
		xml_open(b, "Transition");
		write_when(b, &r->transitions[i].when);
		xml_text(b, "StorageClass", r->transitions[i].storage);
		xml_close(b, "Transition");
	}
	for (size_t i = 0; i < r->nnoncurrent; i++) {
		xml_open(b, "NoncurrentVersionTransition");
		xml_int(b, "NoncurrentDays", r->noncurrent_transitions[i].when.days);
		write_newer(b, r->noncurrent_transitions[i].newer);
		xml_text(b, "StorageClass", r->noncurrent_transitions[i].storage);
		xml_close(b, "NoncurrentVersionTransition");
	}
	write_expirations(b, r);
	xml_close(b, "Rule");
}

void s3_lifecycle_xml(const struct s3_lifecycle *l, struct buf *b)
{
	s3_xml_start(b, "LifecycleConfiguration");
	for (size_t i = 0; i < l->count; i++)
		write_rule(b, &l->rules[i]);
	xml_close(b, "LifecycleConfiguration");
}

bool s3_lifecycle_stored(struct arena *a, struct str column, struct s3_lifecycle *out)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct str sizes;
	if (!column.len || !str_split(&column, '\n', &sizes) || s3_lifecycle_parse(a, column, out, &ignored) < 0)
		return false;
	out->small_ones_move = str_eqz(sizes, s3_lifecycle_sizes[1]);
	return true;
}
