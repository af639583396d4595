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

/* Every prefix and pattern must match some tag of the image. */
static bool tags_match(const json_t *selection, const json_t *tags)
{
	static const char *const lists[] = { "tagPrefixList", "tagPatternList" };
	json_t *wanted, *tag;
	size_t i, j;
	for (int k = 0; k < 2; k++)
		json_array_foreach (json_get(selection, lists[k]), i, wanted) {
			bool found = false;
			json_array_foreach (tags, j, tag)
				found = found || (k == 0 ? str_starts(json_str(tag), json_str(wanted))
							 : str_glob(json_str(wanted), json_str(tag), 0));
			if (!found)
				return false;
		}
	return true;
}

static bool selected(const json_t *selection, const json_t *tags)
{
	struct str status = json_get_str(selection, "tagStatus");
	if (str_eqz(status, "any"))
		return true;
	if (str_eqz(status, "untagged"))
		return json_array_size(tags) == 0;
	return json_array_size(tags) > 0 && tags_match(selection, tags);
}

/* The images of the repository, newest first, but for those that go with their subject: [{"imageDigest","imageTags",
 * "imagePushedAt"}], and for us "pulled" (seconds) and "kept" (an index refers to it). */
static json_t *all_images(struct db *db, struct str repo, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *images = json_array();
	int rc = db_query(db, &rows, err,
			  "SELECT i.digest, i.pushed_ms, i.pulled_ms, EXISTS (SELECT 1 FROM ecr_ref r JOIN ecr_image x "
			  "ON x.repo = r.repo AND x.digest = r.image WHERE r.repo = i.repo AND r.digest = i.digest) "
			  "FROM ecr_image i WHERE i.repo=? AND NOT EXISTS (SELECT 1 FROM ecr_image s WHERE s.repo = "
			  "i.repo AND s.digest = i.subject) ORDER BY i.pushed_ms DESC, i.id DESC",
			  "S", repo);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		json_t *tags = ecr_image_tags(db, repo, rows_str(&rows, 0), err);
		if (!tags) {
			rc = -1;
			break;
		}
		int64_t pushed_ms = rows_int(&rows, 1), pulled_ms = rows_null(&rows, 2) ? 0 : rows_int(&rows, 2);
		json_array_append_new(images,
				      json_pack("{s:s, s:o, s:f, s:f, s:b}", "imageDigest", rows_str(&rows, 0).ptr,
						"imageTags", tags, "imagePushedAt", (double)pushed_ms / 1000, "pulled",
						(double)(pulled_ms > pushed_ms ? pulled_ms : pushed_ms) / 1000, "kept",
						rows_int(&rows, 3) != 0));
	}
	if (rc >= 0)
		return images;
	json_decref(images);
	return NULL;
}

static json_t *expiring(const json_t *image, const json_t *rule)
{
	json_t *one = json_object();
	static const char *const keys[] = { "imageDigest", "imageTags", "imagePushedAt" };
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		json_object_set(one, keys[i], json_get(image, keys[i]));
	json_object_set(one, "appliedRulePriority", json_get(rule, "rulePriority"));
	json_object_set_new(one, "action", json_pack("{s:s}", "type", "EXPIRE"));
	return one;
}

static void apply_rule(const json_t *rule, json_t *images, json_t *expired, int64_t now_ms)
{
	const json_t *selection = json_get(rule, "selection");
	int64_t count = json_get_int(selection, "countNumber", 0), seen = 0;
	struct str type = json_get_str(selection, "countType");
	const char *since = str_eqz(type, "sinceImagePushed")   ? "imagePushedAt"
			    : str_eqz(type, "sinceImagePulled") ? "pulled"
								: NULL;
	json_t *image;
	size_t i;
	json_array_foreach (images, i, image) {
		if (!selected(selection, json_get(image, "imageTags")))
			continue;
		bool old = since ? json_get_real(image, since, 0) * 1000 < (double)now_ms - (double)count * 86400000.0
				 : ++seen > count;
		if (json_get(image, "rule"))
			continue;
		json_object_set(image, "rule", json_object_get(rule, "rulePriority"));
		if (old && !json_get_bool(image, "kept", false))
			json_array_append_new(expired, expiring(image, rule));
	}
}

json_t *ecr_lifecycle_apply(struct db *db, struct arena *a, struct str repo, struct str policy, int64_t now_ms,
			    struct error *err)
{
	CLEANUP_JSON json_t *doc = json_parse(policy, err);
	CLEANUP_JSON json_t *images = doc ? all_images(db, repo, err) : NULL;
	json_t *rules = json_get(doc, "rules"), *expired = images ? json_array() : NULL;
	int64_t done = 0;
	/* In the order of rulePriority; there are few rules. */
	for (size_t n = 0; expired && n < json_array_size(rules); n++) {
		json_t *next = NULL, *rule;
		size_t i;
		json_array_foreach (rules, i, rule) {
			int64_t priority = json_get_int(rule, "rulePriority", 0);
			if (priority > done && (!next || priority < json_get_int(next, "rulePriority", 0)))
				next = rule;
		}
		if (!next)
			break;
		done = json_get_int(next, "rulePriority", 0);
		apply_rule(next, images, expired, now_ms);
	}
	return expired;
}
