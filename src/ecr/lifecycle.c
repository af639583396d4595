/* lifecycle.c - lifecycle policies: which images expire. Source: ECR user guide, "Lifecycle policies" and their
 * examples.
 *
 * DESIGN: rules run in order of priority. A rule looks at all images its selection matches, newest first, those that
 * earlier rules have marked too, and marks what is beyond its count or age; but an image that an earlier rule's
 * selection matched is that rule's business: a later one neither expires it nor saves it. What an index refers to stays
 * as long as the index; what refers to an image of the repository as its subject goes with that image (collect.c).
 * There is one storage class: rules that move images to the archive are refused. */
#include <stdio.h>
#include <stdlib.h>

#include "ecr/room.h"

enum { RULES_MAX = 50 };

static int invalid(struct error *err, const char *why)
{
	return error_aws(err, "InvalidParameterException",
			 "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy "
			 "validation failure: %s'",
			 why);
}

static int check_tags(const json_t *s, bool tagged, struct error *err)
{
	const json_t *patterns = json_get(s, "tagPatternList"), *one;
	size_t i;
	bool lists = json_array_size(json_get(s, "tagPrefixList")) + json_array_size(patterns) > 0;
	if (tagged && !lists)
		return invalid(err, "tagPrefixList or tagPatternList is required for tagStatus tagged");
	if (!tagged && lists)
		return invalid(err, "tagPrefixList and tagPatternList need tagStatus tagged");
	json_array_foreach ((json_t *)patterns, i, one) {
		int stars = 0;
		for (const char *p = json_string_value(one); p && *p; p++)
			stars += *p == '*';
		if (stars > 4)
			return invalid(err, "a pattern has at most four wildcards");
	}
	return 0;
}

static int check_selection(const json_t *s, struct error *err)
{
	struct str status = json_get_str(s, "tagStatus"), type = json_get_str(s, "countType"),
		   class = json_get_str(s, "storageClass");
	bool since = str_eqz(type, "sinceImagePushed") || str_eqz(type, "sinceImagePulled");
	if (!str_eqz(status, "tagged") && !str_eqz(status, "untagged") && !str_eqz(status, "any"))
		return invalid(err, "tagStatus must be tagged, untagged or any");
	if (check_tags(s, str_eqz(status, "tagged"), err) < 0)
		return -1;
	if ((class.ptr && !str_eqz(class, "standard")) || str_eqz(type, "sinceImageTransitioned"))
		return invalid(err, "the archive storage class is not supported by Quern");
	if (!since && !str_eqz(type, "imageCountMoreThan"))
		return invalid(err, "countType must be imageCountMoreThan, sinceImagePushed or sinceImagePulled");
	if (since != str_eqz(json_get_str(s, "countUnit"), "days"))
		return invalid(err, since ? "countUnit must be days" : "countUnit is for rules by age");
	return json_get_int(s, "countNumber", 0) > 0 ? 0 : invalid(err, "countNumber must be positive");
}

static int check_rule(const json_t *rule, struct error *err)
{
	struct str action = json_get_str(json_get(rule, "action"), "type");
	if (json_get_int(rule, "rulePriority", 0) < 1)
		return invalid(err, "rulePriority must be a positive integer");
	if (str_eqz(action, "transition"))
		return invalid(err, "the archive storage class is not supported by Quern");
	if (!str_eqz(action, "expire"))
		return invalid(err, "action type must be expire");
	return check_selection(json_get(rule, "selection"), err);
}

/* Two rules of one policy. */
static int check_pair(const json_t *one, const json_t *other, struct error *err)
{
	const json_t *a = json_get(one, "selection"), *b = json_get(other, "selection");
	struct str status = json_get_str(a, "tagStatus");
	if (json_get_int(one, "rulePriority", 0) == json_get_int(other, "rulePriority", 0))
		return invalid(err, "rulePriority must be unique");
	if (!str_eq(status, json_get_str(b, "tagStatus")))
		return 0;
	if (!str_eqz(status, "tagged"))
		return invalid(err, str_eqz(status, "untagged") ? "only one rule may select untagged images"
								: "only one rule may select any image");
	const json_t *prefixes = json_get(a, "tagPrefixList"), *patterns = json_get(a, "tagPatternList");
	if ((json_array_size(prefixes) && json_equal(prefixes, json_get(b, "tagPrefixList"))) ||
	    (json_array_size(patterns) && json_equal(patterns, json_get(b, "tagPatternList"))))
		return invalid(err, "rules must select different tags");
	return 0;
}

int ecr_lifecycle_check(struct str text, struct error *err)
{
	CLEANUP_JSON json_t *doc = json_parse(text, NULL);
	json_t *rules = json_get(doc, "rules"), *rule;
	size_t i;
	int64_t any = 0, highest = 0;
	if (!json_is_array(rules) || json_array_size(rules) == 0)
		return invalid(err, "rules is required");
	if (json_array_size(rules) > RULES_MAX)
		return invalid(err, "a policy has at most 50 rules");
	json_array_foreach (rules, i, rule) {
		int64_t priority = json_get_int(rule, "rulePriority", 0);
		if (check_rule(rule, err) < 0)
			return -1;
		for (size_t j = 0; j < i; j++)
			if (check_pair(rule, json_array_get(rules, j), err) < 0)
				return -1;
		if (str_eqz(json_get_str(json_get(rule, "selection"), "tagStatus"), "any"))
			any = priority;
		highest = priority > highest ? priority : highest;
	}
	return any && any != highest ? invalid(err, "the rule for any must have the highest rulePriority") : 0;
}

/* ---- which images ---- */

struct candidate {
	struct str digest, tags; /* tags: sorted, a space between two */
	int64_t pushed_ms, pulled_ms;
	bool kept, claimed; /* kept: an index refers to it; claimed: an earlier rule has selected it */
};

/* The images of a repository, newest first, but for those that go with their subject. */
struct candidates {
	struct candidate *list;
	size_t count, room;
};

static bool tag_matches(struct str wanted, struct str tags, bool prefix)
{
	struct str tag;
	while (str_split(&tags, ' ', &tag))
		if (prefix ? str_starts(tag, wanted) : str_glob(wanted, tag, 0))
			return true;
	return false;
}

/* Every prefix and pattern must match some tag of the image. */
static bool tags_match(const json_t *selection, struct str tags)
{
	static const char *const lists[] = { "tagPrefixList", "tagPatternList" };
	json_t *wanted;
	size_t i;
	for (int k = 0; k < 2; k++)
		json_array_foreach (json_get(selection, lists[k]), i, wanted)
			if (!tag_matches(json_str(wanted), tags, k == 0))
				return false;
	return true;
}

static bool selected(const json_t *selection, struct str tags)
{
	struct str status = json_get_str(selection, "tagStatus");
	if (str_eqz(status, "any"))
		return true;
	if (str_eqz(status, "untagged"))
		return tags.len == 0;
	return tags.len > 0 && tags_match(selection, tags);
}

/* The list is the caller's to free, the strings are in the arena. */
static int read_candidates(struct db *db, struct arena *a, struct str repo, struct candidates *c, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_query(db, &rows, err,
			  "SELECT i.digest, i.pushed_ms, i.pulled_ms, EXISTS (SELECT 1 FROM ecr_ref r JOIN ecr_image x "
			  "ON x.repo = r.repo AND x.digest = r.image WHERE r.repo = i.repo AND r.digest = i.digest), "
			  "(SELECT group_concat(tag, ' ') FROM (SELECT tag FROM ecr_tag t WHERE t.repo = i.repo AND "
			  "t.digest = i.digest ORDER BY tag) own) "
			  "FROM ecr_image i WHERE i.repo=? AND NOT EXISTS (SELECT 1 FROM ecr_image s WHERE s.repo = "
			  "i.repo AND s.digest = i.subject) ORDER BY i.pushed_ms DESC, i.id DESC",
			  "S", repo);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		int64_t pushed_ms = rows_int(&rows, 1), pulled_ms = rows_null(&rows, 2) ? 0 : rows_int(&rows, 2);
		if (c->count == c->room) {
			c->room = c->room ? 2 * c->room : 256;
			c->list = mem_realloc(c->list, c->room * sizeof(*c->list));
		}
		c->list[c->count++] = (struct candidate){
			.digest = arena_str(a, rows_str(&rows, 0)),
			.tags = rows_null(&rows, 4) ? STR("") : arena_str(a, rows_str(&rows, 4)),
			.pushed_ms = pushed_ms,
			.pulled_ms = pulled_ms > pushed_ms ? pulled_ms : pushed_ms,
			.kept = rows_int(&rows, 3) != 0,
		};
	}
	return rc;
}

static json_t *expiring(const struct candidate *image, const json_t *rule)
{
	struct str tags = image->tags, tag;
	json_t *names = json_array();
	while (str_split(&tags, ' ', &tag))
		if (tag.len)
			json_array_append_new(names, json_stringn(tag.ptr, tag.len));
	return json_pack("{s:o, s:o, s:f, s:O, s:{s:s}}", "imageDigest",
			 json_stringn(image->digest.ptr, image->digest.len), "imageTags", names, "imagePushedAt",
			 (double)image->pushed_ms / 1000, "appliedRulePriority", json_get(rule, "rulePriority"),
			 "action", "type", "EXPIRE");
}

static void apply_rule(const json_t *rule, struct candidates *c, json_t *expired, int64_t now_ms)
{
	const json_t *selection = json_get(rule, "selection");
	int64_t count = json_get_int(selection, "countNumber", 0), seen = 0;
	struct str type = json_get_str(selection, "countType");
	bool pushed = str_eqz(type, "sinceImagePushed"), pulled = str_eqz(type, "sinceImagePulled");
	double before = (double)now_ms - (double)count * 86400000.0;
	for (size_t i = 0; i < c->count; i++) {
		struct candidate *image = &c->list[i];
		if (!selected(selection, image->tags))
			continue;
		bool old = pushed   ? (double)image->pushed_ms < before
			   : pulled ? (double)image->pulled_ms < before
				    : ++seen > count;
		if (old && !image->claimed && !image->kept)
			json_array_append_new(expired, expiring(image, rule));
		image->claimed = true;
	}
}

/* The rule of the lowest priority above `done`, or NULL. There are few rules. */
static const json_t *next_rule(json_t *rules, int64_t done)
{
	json_t *next = NULL, *rule;
	size_t i;
	json_array_foreach (rules, i, rule) {
		int64_t priority = json_get_int(rule, "rulePriority", 0);
		if (priority > done && (!next || priority < json_get_int(next, "rulePriority", 0)))
			next = rule;
	}
	return next;
}

json_t *ecr_lifecycle_apply(struct db *db, struct str repo, struct str policy, int64_t now_ms, struct error *err)
{
	CLEANUP_JSON json_t *doc = json_parse(policy, err);
	struct arena a = ARENA_INIT;
	struct candidates c = { 0 };
	const json_t *rule = NULL;
	json_t *expired = doc && read_candidates(db, &a, repo, &c, err) >= 0 ? json_array() : NULL;
	while (expired && (rule = next_rule(json_get(doc, "rules"), json_get_int(rule, "rulePriority", 0))))
		apply_rule(rule, &c, expired, now_ms);
	free(c.list);
	arena_release(&a);
	return expired;
}
