/* hyperparameters.c - see hyperparameters.h.
 *
 * DESIGN: three steps over the same table: collect (aliases, types), check_ranges, and the rules between
 * hyperparameters. The ranges keep their printed form beside the numbers because the error texts quote it. */
#include "hyperparameters.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "constraints.h"
#include "text.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

enum type {
	TYPE_INTEGER,
	TYPE_REAL,
	TYPE_CHOICE,
	TYPE_UPDATER,
	TYPE_METRICS,
	TYPE_TUNING_METRIC,
	TYPE_TUPLE,
	TYPE_NESTED,
};

enum bound { BOUND_NONE, BOUND_CLOSED, BOUND_OPEN };

struct interval {
	enum bound low_kind, high_kind;
	double low, high;
	const char *text;
};

struct hyperparameter_definition {
	const char *name;
	enum type type;
	struct interval range;
	const char *const *choices; /* ends with NULL */
	bool job_only;
};

/* Larger is better, then smaller is better: the order in which the AWS image lists them in its errors. */
static const char *const MAXIMIZED[] = {
	"accuracy",
	"auc",
	"aucpr",
	"balanced_accuracy",
	"f1",
	"f1_binary",
	"f1_macro",
	"map",
	"ndcg",
	"precision",
	"r2",
	"recall",
	"precision_macro",
	"precision_micro",
	"recall_macro",
	"recall_micro",
};
static const char *const MINIMIZED[] = {
	"aft-nloglik",
	"cox-nloglik",
	"error",
	"gamma-deviance",
	"gamma-nloglik",
	"interval-regression-accuracy",
	"logloss",
	"mae",
	"mape",
	"merror",
	"mlogloss",
	"mphe",
	"mse",
	"poisson-nloglik",
	"rmse",
	"rmsle",
	"tweedie-nloglik",
};

#define AT_LEAST(n)                                                                                                    \
	{                                                                                                              \
		BOUND_CLOSED, BOUND_NONE, (n), 0, "[" #n ", +inf)"                                                     \
	}
#define ABOVE(n)                                                                                                       \
	{                                                                                                              \
		BOUND_OPEN, BOUND_NONE, (n), 0, "(" #n ", +inf)"                                                       \
	}
#define CLOSED(a, b)                                                                                                   \
	{                                                                                                              \
		BOUND_CLOSED, BOUND_CLOSED, (a), (b), "[" #a ", " #b "]"                                               \
	}
#define OPEN_CLOSED(a, b)                                                                                              \
	{                                                                                                              \
		BOUND_OPEN, BOUND_CLOSED, (a), (b), "(" #a ", " #b "]"                                                 \
	}
#define OPEN(a, b)                                                                                                     \
	{                                                                                                              \
		BOUND_OPEN, BOUND_OPEN, (a), (b), "(" #a ", " #b ")"                                                   \
	}

#define INTEGER(n, r)                                                                                                  \
	{                                                                                                              \
		.name = n, .type = TYPE_INTEGER, .range = r                                                            \
	}
#define INTEGER_OF_JOB(n, r)                                                                                           \
	{                                                                                                              \
		.name = n, .type = TYPE_INTEGER, .range = r, .job_only = true                                          \
	}
#define REAL(n, r)                                                                                                     \
	{                                                                                                              \
		.name = n, .type = TYPE_REAL, .range = r                                                               \
	}
#define CHOICE(n, ...)                                                                                                 \
	{                                                                                                              \
		.name = n, .type = TYPE_CHOICE, .choices = (const char *const[])                                       \
		{                                                                                                      \
			__VA_ARGS__, NULL                                                                              \
		}                                                                                                      \
	}
#define CHOICE_OF_JOB(n, ...)                                                                                          \
	{                                                                                                              \
		.name = n, .type = TYPE_CHOICE, .choices = (const char *const[]){ __VA_ARGS__, NULL },                 \
		.job_only = true                                                                                       \
	}

/* clang-format off */
static const struct hyperparameter_definition TABLE[] = {
	INTEGER_OF_JOB("num_round", AT_LEAST(1)),
	INTEGER_OF_JOB("csv_weights", CLOSED(0, 1)),
	INTEGER_OF_JOB("early_stopping_rounds", AT_LEAST(1)),
	CHOICE("booster", "gbtree", "gblinear", "dart"),
	INTEGER("verbosity", CLOSED(0, 3)),
	INTEGER("nthread", AT_LEAST(1)),
	REAL("eta", CLOSED(0, 1)),
	REAL("gamma", AT_LEAST(0)),
	INTEGER("max_depth", AT_LEAST(0)),
	REAL("min_child_weight", AT_LEAST(0)),
	REAL("max_delta_step", AT_LEAST(0)),
	REAL("subsample", OPEN_CLOSED(0, 1)),
	REAL("colsample_bytree", OPEN_CLOSED(0, 1)),
	REAL("colsample_bylevel", OPEN_CLOSED(0, 1)),
	REAL("colsample_bynode", OPEN_CLOSED(0, 1)),
	REAL("lambda", AT_LEAST(0)),
	REAL("alpha", AT_LEAST(0)),
	CHOICE("tree_method", "auto", "exact", "approx", "hist", "gpu_hist"),
	REAL("sketch_eps", OPEN(0, 1)),
	REAL("scale_pos_weight", ABOVE(0)),
	{ .name = "updater", .type = TYPE_UPDATER, .choices = (const char *const[]){
		"grow_colmaker", "distcol", "grow_histmaker", "grow_skmaker", "sync", "refresh", "prune", "grow_colmaker",
		"distcol", "grow_histmaker", "grow_colmaker", "shotgun", "coord_descent", "refresh", "prune", NULL } },
	CHOICE("dsplit", "row", "col"),
	INTEGER("refresh_leaf", CLOSED(0, 1)),
	CHOICE("process_type", "default", "update"),
	CHOICE("grow_policy", "depthwise", "lossguide"),
	INTEGER("max_leaves", AT_LEAST(0)),
	INTEGER("max_bin", AT_LEAST(0)),
	CHOICE("predictor", "auto", "cpu_predictor", "gpu_predictor"),
	{ .name = "monotone_constraints", .type = TYPE_TUPLE },
	{ .name = "interaction_constraints", .type = TYPE_NESTED },
	CHOICE("sample_type", "uniform", "weighted"),
	CHOICE("normalize_type", "tree", "forest"),
	REAL("rate_drop", CLOSED(0, 1)),
	INTEGER("one_drop", CLOSED(0, 1)),
	REAL("skip_drop", CLOSED(0, 1)),
	REAL("lambda_bias", CLOSED(0, 1)),
	REAL("tweedie_variance_power", OPEN(1, 2)),
	CHOICE("objective", "aft_loss_distribution", "binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson",
		"multi:softmax", "multi:softprob", "rank:pairwise", "rank:ndcg", "rank:map", "reg:linear", "reg:squarederror",
		"reg:logistic", "reg:gamma", "reg:pseudohubererror", "reg:squaredlogerror", "reg:absoluteerror", "reg:tweedie",
		"survival:aft", "survival:cox"),
	INTEGER("num_class", AT_LEAST(2)),
	REAL("base_score", AT_LEAST(0)),
	INTEGER_OF_JOB("_kfold", AT_LEAST(2)),
	INTEGER_OF_JOB("_num_cv_round", AT_LEAST(1)),
	{ .name = "_tuning_objective_metric", .type = TYPE_TUNING_METRIC, .job_only = true },
	{ .name = "eval_metric", .type = TYPE_METRICS, .job_only = true },
	INTEGER("seed", OPEN(-2147483648, 2147483647)),
	INTEGER("num_parallel_tree", AT_LEAST(1)),
	CHOICE_OF_JOB("save_model_on_termination", "true", "false"),
	CHOICE("aft_loss_distribution", "normal", "logistic", "extreme"),
	REAL("aft_loss_distribution_scale", AT_LEAST(0)),
	CHOICE("deterministic_histogram", "true", "false"),
	CHOICE("sampling_method", "uniform", "gradient_based"),
	INTEGER("prob_buffer_row", ABOVE(1.0)),
	CHOICE_OF_JOB("use_dask_gpu_training", "true", "false"),
};
/* clang-format on */

static const struct {
	const char *alias, *name;
} ALIASES[] = {
	{ "learning_rate", "eta" },
	{ "min_split_loss", "gamma" },
	{ "reg_lambda", "lambda" },
	{ "reg_alpha", "alpha" },
};

static bool in_array(const char *s, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(s, list[i]) == 0)
			return true;
	return false;
}

static size_t list_length(const char *const *list)
{
	size_t n = 0;
	while (list[n])
		n++;
	return n;
}

static bool in_list(const char *s, const char *const *list)
{
	return in_array(s, list, list_length(list));
}

bool metric_is_maximized(const char *metric)
{
	CLEANUP_FREE char *base = mem_need(strndup(metric, strcspn(metric, "@")));
	return in_array(base, MAXIMIZED, COUNT(MAXIMIZED));
}

const char *hyperparameter_name(const struct hyperparameter *v)
{
	return v->def->name;
}

bool hyperparameter_is_for_library(const struct hyperparameter *v)
{
	return !v->def->job_only;
}

const struct hyperparameter *hyperparameters_find(const struct hyperparameters *h, const char *name)
{
	for (size_t i = 0; i < h->count; i++)
		if (strcmp(h->values[i].def->name, name) == 0)
			return &h->values[i];
	return NULL;
}

long long hyperparameters_integer(const struct hyperparameters *h, const char *name, long long otherwise)
{
	const struct hyperparameter *v = hyperparameters_find(h, name);
	return v ? v->integer : otherwise;
}

const char *hyperparameters_text(const struct hyperparameters *h, const char *name, const char *otherwise)
{
	const struct hyperparameter *v = hyperparameters_find(h, name);
	return v ? v->text : otherwise;
}

static void value_release(struct hyperparameter *v)
{
	for (size_t i = 0; i < v->item_count; i++)
		free(v->items[i]);
	free(v->items);
	free(v->text);
	*v = (struct hyperparameter){ .def = v->def };
}

void hyperparameters_release(struct hyperparameters *h)
{
	for (size_t i = 0; i < h->count; i++)
		value_release(&h->values[i]);
	free(h->values);
	*h = HYPERPARAMETERS_INIT;
}

/* ---- reading one value ---- */

/* int() of Python: blanks around, a sign, digits, single underscores between digits. */
static int read_integer(const char *s, long long *out)
{
	CLEANUP_TEXT struct text digits = TEXT_INIT;
	while (isspace((unsigned char)*s))
		s++;
	if (*s == '-' || *s == '+')
		text_add_bytes(&digits, s++, 1);
	if (!isdigit((unsigned char)*s))
		return -1;
	for (; isdigit((unsigned char)*s) || (*s == '_' && isdigit((unsigned char)s[1])); s++)
		if (*s != '_')
			text_add_bytes(&digits, s, 1);
	while (isspace((unsigned char)*s))
		s++;
	errno = 0;
	*out = strtoll(text_cstr(&digits), NULL, 10);
	return *s == 0 && errno == 0 ? 0 : -1;
}

/* float() of Python: no hexadecimal, no nan(...). */
static int read_real(const char *s, double *out)
{
	while (isspace((unsigned char)*s))
		s++;
	if (!*s || strpbrk(s, "xX(pP"))
		return -1;
	char *end;
	*out = strtod(s, &end);
	if (end == s)
		return -1;
	while (isspace((unsigned char)*end))
		end++;
	return *end == 0 ? 0 : -1;
}

static void split_items(const char *s, struct hyperparameter *v)
{
	size_t most = 1;
	for (const char *p = s; *p; p++)
		most += *p == ',';
	v->items = mem_need(calloc(most, sizeof *v->items));
	for (;;) {
		size_t n = strcspn(s, ",");
		v->items[v->item_count++] = mem_need(strndup(s, n));
		if (!s[n])
			return;
		s += n + 1;
	}
}

/* The value as a string: a JSON string inside the string is opened, other JSON values are written out. */
static char *value_as_text(const json_t *value)
{
	if (!json_is_string(value)) {
		struct text t = TEXT_INIT;
		text_add_pyjson(&t, value);
		return text_take(&t);
	}
	const char *s = json_string_value(value);
	size_t n = strlen(s);
	if (n < 2 || s[0] != '"' || s[n - 1] != '"')
		return mem_dup(s);
	json_t *inner = json_loads(s, JSON_DECODE_ANY, NULL);
	char *out = mem_dup(json_is_string(inner) ? json_string_value(inner) : s);
	json_decref(inner);
	return out;
}

static int parse_failure(const struct hyperparameter *v, struct failure *fail)
{
	return failure_user(fail, "Hyperparameter %s: could not parse value (caused by ValueError)", v->def->name);
}

static int read_constraint(struct hyperparameter *v, const char *s, struct failure *fail)
{
	struct text canonical = TEXT_INIT;
	bool in_range;
	bool nested = v->def->type == TYPE_NESTED;
	int r = nested ? constraints_read_nested(s, &canonical, &in_range)
		       : constraints_read_tuple(s, &canonical, &in_range);
	v->text = text_take(&canonical);
	if (r < 0)
		return parse_failure(v, fail);
	v->integer = in_range; /* looked at by check_range */
	return 0;
}

/* Fills the value from its string; `v->def` is set. */
static int read_value(struct hyperparameter *v, const char *s, struct failure *fail)
{
	struct text canonical = TEXT_INIT;
	switch (v->def->type) {
	case TYPE_INTEGER:
		if (read_integer(s, &v->integer) < 0)
			return parse_failure(v, fail);
		v->real = (double)v->integer;
		text_printf(&canonical, "%lld", v->integer);
		v->text = text_take(&canonical);
		return 0;
	case TYPE_REAL:
		if (read_real(s, &v->real) < 0)
			return parse_failure(v, fail);
		text_add_pyfloat(&canonical, v->real);
		v->text = text_take(&canonical);
		return 0;
	case TYPE_UPDATER:
	case TYPE_METRICS:
		split_items(s, v);
		v->text = mem_dup(s);
		return 0;
	case TYPE_TUPLE:
	case TYPE_NESTED:
		return read_constraint(v, s, fail);
	case TYPE_CHOICE:
	case TYPE_TUNING_METRIC:
		break;
	}
	v->text = mem_dup(s);
	return 0;
}

/* ---- ranges ---- */

static bool interval_holds(const struct interval *r, double x)
{
	return !((r->low_kind == BOUND_OPEN && x <= r->low) || (r->low_kind == BOUND_CLOSED && x < r->low) ||
		 (r->high_kind == BOUND_OPEN && x >= r->high) || (r->high_kind == BOUND_CLOSED && x > r->high));
}

static void add_metric_names(struct text *t, const char *prefix)
{
	const char *sep = "[";
	for (size_t i = 0; i < COUNT(MAXIMIZED) + COUNT(MINIMIZED); i++) {
		const char *name = i < COUNT(MAXIMIZED) ? MAXIMIZED[i] : MINIMIZED[i - COUNT(MAXIMIZED)];
		text_printf(t, "%s'%s%s'", sep, prefix, name);
		sep = ", ";
	}
	text_add(t, "]");
}

static bool is_metric(const char *s)
{
	return in_array(s, MAXIMIZED, COUNT(MAXIMIZED)) || in_array(s, MINIMIZED, COUNT(MINIMIZED));
}

static char *trimmed(const char *s, size_t n)
{
	while (n && isspace((unsigned char)*s)) {
		s++;
		n--;
	}
	while (n && isspace((unsigned char)s[n - 1]))
		n--;
	return mem_need(strndup(s, n));
}

/* `error@t`, `ndcg@n`, `map@n`. Returns 0 or -1. */
static int check_metric_threshold(const char *metric, struct failure *fail)
{
	size_t n = strcspn(metric, "@");
	CLEANUP_FREE char *name = trimmed(metric, n);
	CLEANUP_FREE char *threshold = trimmed(metric + n + 1, strcspn(metric + n + 1, "@"));
	if (strcmp(name, "error") != 0 && strcmp(name, "ndcg") != 0 && strcmp(name, "map") != 0)
		return failure_user(fail,
				    "Metric '%s' is not supported. Parameter 'eval_metric' with customized threshold "
				    "should be one of these options: 'error', 'ndcg', 'map'.",
				    metric);
	double t;
	if (read_real(threshold, &t) < 0)
		return failure_user(fail, "Threshold value 't' in '%s@t' expects float input.", name);
	return 0;
}

static int items_failure(const struct hyperparameter *v, const char *range, struct failure *fail)
{
	CLEANUP_TEXT struct text list = TEXT_INIT;
	text_add_pylist(&list, (const char *const *)v->items, v->item_count);
	return failure_user(fail, "Hyperparameter %s: value %s not in range %s", v->def->name, text_cstr(&list), range);
}

static int check_metrics(const struct hyperparameter *v, struct failure *fail)
{
	bool unknown = false;
	for (size_t i = 0; i < v->item_count; i++) {
		const char *metric = v->items[i];
		if (strstr(metric, "<function"))
			return failure_user(fail, "User defined evaluation metric %s is not supported yet.", metric);
		if (strchr(metric, '@')) {
			if (check_metric_threshold(metric, fail) < 0)
				return -1;
		} else if (!is_metric(metric)) {
			unknown = true;
		}
	}
	if (!unknown)
		return 0;
	CLEANUP_TEXT struct text names = TEXT_INIT;
	add_metric_names(&names, "");
	return items_failure(v, text_cstr(&names), fail);
}

static int check_range(const struct hyperparameter *v, struct failure *fail)
{
	const struct hyperparameter_definition *d = v->def;
	CLEANUP_TEXT struct text range = TEXT_INIT;
	switch (d->type) {
	case TYPE_INTEGER:
	case TYPE_REAL:
		if (interval_holds(&d->range, v->real))
			return 0;
		return failure_user(fail, "Hyperparameter %s: %s is not in %s", d->name, v->text, d->range.text);
	case TYPE_CHOICE:
		if (in_list(v->text, d->choices))
			return 0;
		text_add_pylist(&range, d->choices, list_length(d->choices));
		break;
	case TYPE_UPDATER:
		text_add_pylist(&range, d->choices, list_length(d->choices));
		for (size_t i = 0; i < v->item_count; i++)
			if (!in_list(v->items[i], d->choices))
				return items_failure(v, text_cstr(&range), fail);
		return 0;
	case TYPE_METRICS:
		return check_metrics(v, fail);
	case TYPE_TUNING_METRIC:
		if (strncmp(v->text, "validation:", 11) == 0 && is_metric(v->text + 11))
			return 0;
		add_metric_names(&range, "validation:");
		break;
	case TYPE_TUPLE:
	case TYPE_NESTED:
		if (v->integer)
			return 0;
		return failure_user(fail, "Hyperparameter %s: value %s not in range %s", d->name, v->text,
				    d->type == TYPE_TUPLE ? "[-1, 0, 1]" : "[1, +inf)");
	}
	return failure_user(fail, "Hyperparameter %s: %s is not in %s", d->name, v->text, text_cstr(&range));
}

/* ---- rules between hyperparameters ---- */

static int check_linear_updater(const struct hyperparameter *v, struct failure *fail)
{
	static const char *const LINEAR[] = { "shotgun", "coord_descent" };
	if (v->item_count == 1 && in_array(v->items[0], LINEAR, COUNT(LINEAR)))
		return 0;
	return failure_user(fail, "Linear updater should be one of these options: 'shotgun', 'coord_descent'.");
}

static int check_updater(const struct hyperparameters *h, struct failure *fail)
{
	static const char *const TREE[] = { "grow_colmaker", "distcol", "grow_histmaker", "grow_skmaker",
					    "sync",          "refresh", "prune",          "grow_quantile_histmaker" };
	static const char *const GROW[] = { "grow_colmaker", "distcol", "grow_histmaker", "grow_quantile_histmaker" };
	static const char *const UPDATE[] = { "refresh", "prune" };
	const struct hyperparameter *v = hyperparameters_find(h, "updater");
	if (!v)
		return 0;
	if (strcmp(hyperparameters_text(h, "booster", ""), "gblinear") == 0)
		return check_linear_updater(v, fail);
	bool update = strcmp(hyperparameters_text(h, "process_type", ""), "update") == 0;
	int grow = 0;
	for (size_t i = 0; i < v->item_count; i++) {
		if (update && !in_array(v->items[i], UPDATE, COUNT(UPDATE)))
			return failure_user(fail, "process_type 'update' can only be used with updater 'refresh' and "
						  "'prune'");
		if (!update && !in_array(v->items[i], TREE, COUNT(TREE)))
			return failure_user(fail,
					    "Tree updater should be selected from these options: 'grow_colmaker', "
					    "'distcol', 'grow_histmaker', 'grow_skmaker', 'grow_quantile_histmaker', "
					    "'sync', 'refresh', 'prune', 'shortgun', 'coord_descent'.");
		grow += in_array(v->items[i], GROW, COUNT(GROW));
	}
	if (!update && grow > 1)
		return failure_user(fail, "Only one tree grow plugin can be selected. Choose one from thefollowing: "
					  "'grow_colmaker', 'distcol', 'grow_histmaker', 'grow_skmaker'");
	return 0;
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool has_item(const struct hyperparameter *v, const char *item)
{
	return v && in_array(item, (const char *const *)v->items, v->item_count);
}

static int check_objective(const struct hyperparameters *h, struct failure *fail)
{
	const char *objective = hyperparameters_text(h, "objective", "reg:squarederror");
	if (starts_with(objective, "multi:") && !hyperparameters_find(h, "num_class"))
		return failure_user(fail, "Require input for parameter 'num_class' for multi-classification");
	if (!hyperparameters_find(h, "objective") && hyperparameters_find(h, "num_class"))
		return failure_user(fail, "Do not need to setup parameter 'num_class' for learning task other than "
					  "multi-classification.");
	const struct hyperparameter *metrics = hyperparameters_find(h, "eval_metric");
	if (has_item(metrics, "auc") && !starts_with(objective, "binary:") && !starts_with(objective, "rank:"))
		return failure_user(fail, "Metric 'auc' can only be applied for classification and ranking problems.");
	if (has_item(metrics, "aft-nloglik") && strcmp(objective, "survival:aft") != 0)
		return failure_user(fail, "Metric 'aft-nloglik' can only be applied for 'survival:aft' objective.");
	return 0;
}

static int check_constraints(const struct hyperparameters *h, struct failure *fail)
{
	const char *method = hyperparameters_text(h, "tree_method", "");
	bool monotone_ok = strcmp(method, "exact") == 0 || strcmp(method, "hist") == 0;
	if (hyperparameters_find(h, "monotone_constraints") && !monotone_ok)
		return failure_user(fail, "monotone_constraints can be used only when the tree_method parameter is set "
					  "to either 'exact' or 'hist'.");
	if (hyperparameters_find(h, "interaction_constraints") && !monotone_ok && strcmp(method, "approx") != 0)
		return failure_user(fail, "interaction_constraints can be used only when the tree_method parameter is "
					  "set to either 'exact', 'hist' or 'approx'.");
	return 0;
}

/* ---- all together ---- */

static const char *canonical_name(const char *name)
{
	for (size_t i = 0; i < COUNT(ALIASES); i++)
		if (strcmp(name, ALIASES[i].alias) == 0)
			return ALIASES[i].name;
	return name;
}

static const struct hyperparameter_definition *find_definition(const char *name)
{
	for (size_t i = 0; i < COUNT(TABLE); i++)
		if (strcmp(TABLE[i].name, name) == 0)
			return &TABLE[i];
	return NULL;
}

/* The place for a value: a name and its alias share one, and the later one wins. */
static struct hyperparameter *value_slot(struct hyperparameters *h, const struct hyperparameter_definition *def)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->values[i].def == def) {
			value_release(&h->values[i]);
			return &h->values[i];
		}
	h->values = mem_need(realloc(h->values, (h->count + 1) * sizeof *h->values));
	h->values[h->count] = (struct hyperparameter){ .def = def };
	return &h->values[h->count++];
}

static int collect(const json_t *user, struct hyperparameters *out, struct failure *fail)
{
	const char *name;
	json_t *value;
	json_object_foreach ((json_t *)user, name, value) {
		const struct hyperparameter_definition *def = find_definition(canonical_name(name));
		if (!def)
			return failure_user(fail, "Extraneous hyperparameter found: %s", name);
		CLEANUP_FREE char *s = value_as_text(value);
		if (read_value(value_slot(out, def), s, fail) < 0)
			return -1;
	}
	return 0;
}

int hyperparameters_parse(const json_t *user, struct hyperparameters *out, struct failure *fail)
{
	if (!json_object_get(user, "num_round"))
		return failure_user(fail, "Missing required hyperparameter: num_round");
	if (collect(user, out, fail) < 0)
		return -1;
	for (size_t i = 0; i < out->count; i++)
		if (check_range(&out->values[i], fail) < 0)
			return -1;
	if (check_updater(out, fail) < 0 || check_objective(out, fail) < 0)
		return -1;
	return check_constraints(out, fail);
}
