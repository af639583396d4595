/* evaluation.h - which metrics a job reports, and their values after each round.
 *
 * DESIGN: metrics come from eval_metric and from the tuning job's objective metric. Those of libxgboost are read from
 * its evaluation line, the others are computed by metrics.c; the line is then printed again with five decimals, all of
 * the training data first, as the log lines of the AWS image are. Metric regexes of tuning jobs match this line. */
#ifndef QUERN_IMAGE_EVALUATION_H
#define QUERN_IMAGE_EVALUATION_H

#include "booster.h"

struct metric_plan {
	char **native; /* owned; computed by libxgboost, its own default when empty */
	size_t native_count;
	char **ours; /* owned */
	size_t ours_count;
	char *stopping; /* owned; the metric that early stopping watches, NULL when none was named */
};
#define METRIC_PLAN_INIT ((struct metric_plan){ 0 })

void metric_plan_make(const struct hyperparameters *h, struct metric_plan *out);
void metric_plan_release(struct metric_plan *p);

struct score {
	char *name; /* owned; "train-rmse" */
	double value;
};
struct scores {
	struct score *items; /* owned; in the order of the log line */
	size_t count;
};
#define SCORES_INIT ((struct scores){ 0 })

void scores_release(struct scores *s);
/* Evaluates the booster after `round` on both matrices (validation may be NULL). `out` must be empty. */
int evaluate_round(BoosterHandle b, int round, const struct metric_plan *plan, const struct matrix *train,
		   const struct matrix *validation, struct scores *out, struct failure *fail);
/* Prints "[round]\ttrain-rmse:1.00000\t...". */
void scores_print(int round, const struct scores *s);
/* Finds the value of a metric on the validation data; false when there is none. */
bool scores_find_validation(const struct scores *s, const char *metric, double *out);

#endif
