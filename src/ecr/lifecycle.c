/* lifecycle.c - lifecycle policies: which images expire. Source: ECR user guide, "Lifecycle policy evaluation rules".
 *
 * DESIGN: rules run in order of priority. A rule looks at the images its selection matches, newest first; those beyond
 * its count expire. An image that a rule matched is not looked at by later rules, whether it expires or is kept
 * ("protected"). */
#include <stdio.h>
#include <stdlib.h>

#include "ecr/room.h"

static int invalid(struct error *err, const char *why)
{
	return error_aws(err, "InvalidParameterException",
			 "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy "
			 "validation failure: %s'",
			 why);
}

static int check_selection(const json_t *s, struct error *err)
{
	struct str status = json_get_str(s, "tagStatus"), type = json_get_str(s, "countType");
	bool tagged = str_eqz(status, "tagged"), since = str_eqz(type, "sinceImagePushed");
	bool lists = json_array_size(json_get(s, "tagPrefixList")) + json_array_size(json_get(s, "tagPatternList")) > 0;
	if (!tagged && !str_eqz(status, "untagged") && !str_eqz(status, "any"))
		return invalid(err, "tagStatus must be tagged, untagged or any");
	if (tagged && !lists)
		return invalid(err, "tagPrefixList or tagPatternList is required for tagStatus tagged");
	if (!tagged && lists)
		return invalid(err, "tagPrefixList and tagPatternList need tagStatus tagged");
	if (!since && !str_eqz(type, "imageCountMoreThan"))
		return invalid(err, "countType must be imageCountMoreThan or sinceImagePushed");
	if (since != str_eqz(json_get_str(s, "countUnit"), "days"))
		return invalid(err, since ? "countUnit must be days" : "countUnit needs countType sinceImagePushed");
	return json_get_int(s, "countNumber", 0) > 0 ? 0 : invalid(err, "countNumber must be positive");
}

int ecr_lifecycle_check(struct str text, struct error *err)
{
	CLEANUP_JSON json_t *doc = json_parse(text, NULL);
	json_t *rules = json_get(doc, "rules"), *rule;
	size_t i;
	int64_t any = 0, highest = 0;
	if (!json_is_array(rules) || json_array_size(rules) == 0)
		return invalid(err, "rules is required");
	json_array_foreach (rules, i, rule) {
		int64_t priority = json_get_int(rule, "rulePriority", 0);
		if (priority < 1)
			return invalid(err, "rulePriority must be a positive integer");
		for (size_t j = 0; j < i; j++)
			if (json_get_int(json_array_get(rules, j), "rulePriority", 0) == priority)
				return invalid(err, "rulePriority must be unique");
		if (!str_eqz(json_get_str(json_get(rule, "action"), "type"), "expire"))
			return invalid(err, "action type must be expire");
		if (check_selection(json_get(rule, "selection"), err) < 0)
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

/* The images of the repository, newest first: [{"imageDigest","imageTags","imagePushedAt"}]. */
static json_t *all_images(struct db *db, struct str repo, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *images = json_array();
	int rc = db_query(db, &rows, err,
			  "SELECT digest, pushed_ms FROM ecr_image WHERE repo=? ORDER BY pushed_ms DESC, id DESC", "S",
			  repo);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		json_t *tags = ecr_image_tags(db, repo, rows_str(&rows, 0), err);
		json_array_append_new(images,
				      json_pack("{s:s, s:o, s:f}", "imageDigest", rows_str(&rows, 0).ptr, "imageTags",
						tags, "imagePushedAt", (double)rows_int(&rows, 1) / 1000));
	}
	if (rc >= 0)
		return images;
	json_decref(images);
	return NULL;
}

static void apply_rule(const json_t *rule, json_t *images, json_t *expired, int64_t now_ms)
{
	const json_t *selection = json_get(rule, "selection");
	int64_t count = json_get_int(selection, "countNumber", 0), seen = 0;
	bool since = str_eqz(json_get_str(selection, "countType"), "sinceImagePushed");
	json_t *image;
	size_t i;
	json_array_foreach (images, i, image) {
		if (json_get(image, "rule") || !selected(selection, json_get(image, "imageTags")))
			continue;
		bool old = since ? json_get_real(image, "imagePushedAt", 0) * 1000 <
					   (double)now_ms - (double)count * 86400000.0
				 : ++seen > count;
		json_object_set(image, "rule", json_object_get(rule, "rulePriority"));
		if (!old)
			continue;
		json_t *one = json_deep_copy(image);
		json_object_del(one, "rule");
		json_object_set(one, "appliedRulePriority", json_object_get(rule, "rulePriority"));
		json_object_set_new(one, "action", json_pack("{s:s}", "type", "EXPIRE"));
		json_array_append_new(expired, one);
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
