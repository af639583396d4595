/* metrics.h - values that a training job prints, found in its log lines.
 *
 * DESIGN: the request's MetricDefinitions are PCRE2 patterns with limits on steps, depth and heap, so that no pattern
 * hangs the daemon; one that keeps hitting the limit is given up. The log agent of AWS writes a TAB as `#011`, and
 * AWS's own patterns for built-in algorithms look for that, so a line with a TAB is tried as it is and then with each
 * TAB spelled `#011`. The first capture group is the value; the last value of a name wins. The built-in XGBoost needs
 * no definitions: its lines are known. */
#ifndef QUERN_SAGEMAKER_METRICS_H
#define QUERN_SAGEMAKER_METRICS_H

#include "base/json.h"

struct metrics;

/* `definitions`: list of {Name, Regex}, may be NULL. `xgboost`: also take XGBoost's evaluation lines ("train:rmse",
 * "validation:rmse" ...). Owned; NULL with a ValidationException when a pattern is no regular expression. */
struct metrics *metrics_new(const json_t *definitions, bool xgboost, struct error *err);
void metrics_free(struct metrics *m);
void metrics_line(struct metrics *m, int64_t at_ms, struct str text);
/* DescribeTrainingJob's FinalMetricDataList: [{MetricName, Value, Timestamp}], owned. */
json_t *metrics_final(const struct metrics *m);
/* Called for each value found, in order of the lines; for tuning jobs. */
void metrics_watch(struct metrics *m, void (*fn)(void *ctx, const char *name, double value, int64_t at_ms), void *ctx);

#endif
