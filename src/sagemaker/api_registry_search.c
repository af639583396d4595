/* api_registry_search.c - Search over training jobs, model packages and model package groups.
 *
 * DESIGN: the rows' documents are walked in order of creation and each is asked; the filters are those of the API
 * (Filters, NestedFilters over lists, SubExpressions, And/Or). A property name is a path of members
 * ("AlgorithmSpecification.TrainingImage", "Tags.key"). Other resources are refused by name. */
#include "base/clock.h"
#include "sagemaker/job_impl.h"
#include "sagemaker/registry.h"

#define PAGE 10
#define DEPTH_MAX 8

struct resource {
	const char *name, *sql; /* doc, created_ms, key of all rows */
	const char *arn_key;
};

static const struct resource resources[] = {
	{ "TrainingJob",
	  "SELECT doc, created_ms, name FROM sagemaker_job WHERE kind='training-job' ORDER BY created_ms, name",
	  "TrainingJobArn" },
	{ "ModelPackage", "SELECT doc, created_ms, name FROM sagemaker_package ORDER BY created_ms, name",
	  "ModelPackageArn" },
	{ "ModelPackageGroup", "SELECT doc, created_ms, name FROM sagemaker_package_group ORDER BY created_ms, name",
	  "ModelPackageGroupArn" },
};

/* <0, 0, >0; *comparable false when the value is of another kind than the text. */
static int compare(const json_t *value, struct str text, bool *comparable)
{
	double number;
	int64_t ms;
	*comparable = true;
	if (json_is_number(value)) {
		double have = json_number_value(value);
		if (!str_to_double(text, &number)) {
			*comparable = clock_parse_iso(text, &ms);
			number = (double)ms / 1000.0;
		}
		return have < number ? -1 : have > number;
	}
	if (json_is_boolean(value))
		return str_eq_nocase(text, json_is_true(value) ? STR("true") : STR("false")) ? 0 : 1;
	*comparable = json_is_string(value);
	return *comparable ? str_cmp(json_str(value), text) : 0;
}

static bool in_list(const json_t *value, struct str list)
{
	struct str one;
	bool comparable;
	while (str_split(&list, ',', &one))
		if (compare(value, str_trim(one), &comparable) == 0 && comparable)
			return true;
	return false;
}

static bool filter_holds(const json_t *doc, const json_t *filter, struct str prefix)
{
	struct str name = json_get_str(filter, "Name"), op = json_get_str(filter, "Operator"),
		   text = json_get_str(filter, "Value");
	if (prefix.len && str_starts(name, prefix) && name.len > prefix.len && name.ptr[prefix.len] == '.')
		name = str_skip(name, prefix.len + 1);
	const json_t *value = json_get_path(doc, name.ptr);
	if (str_eqz(op, "Exists"))
		return value != NULL;
	if (str_eqz(op, "NotExists"))
		return value == NULL;
	bool comparable = false;
	int order = value ? compare(value, text, &comparable) : 0;
	if (str_eqz(op, "NotEquals"))
		return !comparable || order != 0;
	if (!comparable)
		return false;
	if (str_eqz(op, "Contains"))
		return json_is_string(value) && str_find(json_str(value), text) >= 0;
	if (str_eqz(op, "In"))
		return in_list(value, text);
	if (str_eqz(op, "GreaterThan"))
		return order > 0;
	if (str_eqz(op, "GreaterThanOrEqualTo"))
		return order >= 0;
	if (str_eqz(op, "LessThan"))
		return order < 0;
	if (str_eqz(op, "LessThanOrEqualTo"))
		return order <= 0;
	return order == 0; /* Equals is the default */
}

/* Some element of the list holds all of the filters. */
static bool nested_holds(const json_t *doc, const json_t *nested)
{
	struct str path = json_get_str(nested, "NestedPropertyName");
	const json_t *list = json_get_path(doc, path.ptr);
	json_t *one, *filter;
	size_t i, k;
	json_array_foreach ((json_t *)list, i, one) {
		bool all = true;
		json_array_foreach (json_get(nested, "Filters"), k, filter)
			all = all && filter_holds(one, filter, path);
		if (all)
			return true;
	}
	return false;
}

static bool holds(const json_t *doc, const json_t *expression, int depth)
{
	bool any = str_eqz(json_get_str(expression, "Operator"), "Or"), seen = false;
	json_t *one;
	size_t i;
	if (!expression)
		return true;
	if (depth > DEPTH_MAX)
		return false;
	static const char *const lists[] = { "Filters", "NestedFilters", "SubExpressions" };
	for (int k = 0; k < 3; k++) {
		json_array_foreach (json_get(expression, lists[k]), i, one) {
			bool good = k == 0   ? filter_holds(doc, one, STR(""))
				    : k == 1 ? nested_holds(doc, one)
					     : holds(doc, one, depth + 1);
			if (good == any)
				return any;
			seen = true;
		}
	}
	return !any || !seen;
}

static int add_tags(struct db *db, const struct resource *r, json_t *doc, struct error *err)
{
	json_t *tags = job_tags_get(db, json_get_text(doc, r->arn_key), err);
	if (!tags)
		return -1;
	json_object_set_new(doc, "Tags", tags);
	return 0;
}

struct found {
	json_t *doc;
	double sort;
	struct str sort_text;
};

static int by_number(const void *x, const void *y)
{
	const struct found *a = x, *b = y;
	if (a->sort_text.ptr || b->sort_text.ptr)
		return str_cmp(a->sort_text, b->sort_text);
	return a->sort < b->sort ? -1 : a->sort > b->sort;
}

/* All that match, oldest first, in the arena (documents owned by `keep`). */
static int collect(struct call *c, struct db *db, const struct resource *r, json_t *in, json_t *keep,
		   struct found **out, size_t *n, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str sort = json_get_str(in, "SortBy");
	size_t cap = 0;
	int rc;
	if (db_query(db, &rows, err, r->sql, "") < 0)
		return -1;
	*n = 0;
	while ((rc = rows_next(&rows, err)) > 0) {
		json_t *doc = json_parse(rows_str(&rows, 0), err);
		if (!doc)
			return -1;
		json_array_append_new(keep, doc);
		if (add_tags(db, r, doc, err) < 0)
			return -1;
		if (!holds(doc, json_get(in, "SearchExpression"), 0)) {
			json_array_remove(keep, json_array_size(keep) - 1);
			continue;
		}
		if (*n == cap) {
			struct found *more = ARENA_ARRAY(c->arena, struct found, cap ? cap * 2 : 64);
			if (cap)
				memcpy(more, *out, cap * sizeof(*more));
			*out = more;
			cap = cap ? cap * 2 : 64;
		}
		const json_t *value = sort.ptr ? json_get_path(doc, sort.ptr) : json_get(doc, "CreationTime");
		(*out)[(*n)++] = (struct found){ .doc = doc,
						 .sort = json_is_number(value) ? json_number_value(value) : 0,
						 .sort_text = json_str(value) };
	}
	return rc;
}

int registry_op_search(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str name = json_get_str(in, "Resource"), token = json_get_str(in, "NextToken");
	const struct resource *r = NULL;
	int64_t from = 0, limit = json_get_int(in, "MaxResults", PAGE);
	bool ascending = str_eqz(json_get_str(in, "SortOrder"), "Ascending");
	for (size_t i = 0; i < sizeof(resources) / sizeof(resources[0]); i++)
		if (str_eqz(name, resources[i].name))
			r = &resources[i];
	if (!r)
		return job_refuse(err, "Search of resource %.*s is not supported by Quern.", STR_ARG(name));
	if (token.ptr && (!str_to_i64(token, &from) || from < 0))
		return job_refuse(err, "The NextToken is not valid.");
	CLEANUP_JSON json_t *keep = json_array();
	struct found *items = NULL;
	size_t n = 0;
	if (collect(c, db, r, in, keep, &items, &n, err) < 0)
		return -1;
	if (n)
		qsort(items, n, sizeof(*items), by_number);
	json_t *list = json_array();
	*out = json_object();
	json_object_set_new(*out, "Results", list);
	for (size_t i = (size_t)from; i < n && (int64_t)json_array_size(list) < limit; i++) {
		json_t *one = json_object();
		json_object_set(one, r->name, items[ascending ? i : n - 1 - i].doc);
		json_array_append_new(list, one);
	}
	if ((size_t)from + json_array_size(list) < n)
		json_object_set_new(*out, "NextToken",
				    json_sprintf("%lld", (long long)from + (long long)json_array_size(list)));
	return 0;
}
