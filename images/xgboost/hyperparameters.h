/* hyperparameters.h - the hyperparameters of the XGBoost algorithm: names, types, ranges, and checks.
 *
 * DESIGN: one table says what exists; the checks walk it and answer with the error texts of the AWS image, in its
 * order: aliases, required ones, types, ranges, then rules between two of them. Values arrive as strings, bare or
 * JSON-encoded (`x` or `"x"`), as both kinds of SDK estimator send them. Nothing here knows libxgboost. */
#ifndef QUERN_IMAGE_HYPERPARAMETERS_H
#define QUERN_IMAGE_HYPERPARAMETERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "failure.h"

struct hyperparameter_definition;

struct hyperparameter {
	const struct hyperparameter_definition *def;
	char *text; /* owned; the value as Python's str() writes it, which is what libxgboost is given */
	long long integer;
	double real;
	char **items; /* owned; the parts of a comma-separated value */
	size_t item_count;
};

struct hyperparameters {
	struct hyperparameter *values; /* owned; in the order of the request */
	size_t count;
};
#define HYPERPARAMETERS_INIT ((struct hyperparameters){ 0 })

/* Reads and checks `user` (a JSON object of name to value). `out` must be empty; release it in either case. */
int hyperparameters_parse(const json_t *user, struct hyperparameters *out, struct failure *fail);
void hyperparameters_release(struct hyperparameters *h);

/* NULL when it was not given. Borrowed. */
const struct hyperparameter *hyperparameters_find(const struct hyperparameters *h, const char *name);
long long hyperparameters_integer(const struct hyperparameters *h, const char *name, long long otherwise);
const char *hyperparameters_text(const struct hyperparameters *h, const char *name, const char *otherwise);

/* Its canonical name. */
const char *hyperparameter_name(const struct hyperparameter *v);
/* Whether libxgboost is to be told, as it is. False for those that only steer the job, and for eval_metric, which
 * is passed item by item. */
bool hyperparameter_is_for_library(const struct hyperparameter *v);

/* Whether a larger value of this eval metric is better. `error@0.7` counts as `error`. */
bool metric_is_maximized(const char *metric);

#endif
