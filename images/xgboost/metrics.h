/* metrics.h - the evaluation metrics that libxgboost does not have.
 *
 * DESIGN: the AWS image computes accuracy, f1, precision, recall, r2, mse and their kin itself, with scikit-learn; so
 * does this file, with the same definitions, error texts included. Class metrics take the raw margin (above zero is
 * class 1; with several columns the largest wins), regression metrics the transformed prediction. Row weights are not
 * counted, as there. rmse and mae are left to libxgboost, which has them. */
#ifndef QUERN_IMAGE_METRICS_H
#define QUERN_IMAGE_METRICS_H

#include <stdbool.h>
#include <stddef.h>

#include "failure.h"

/* Predictions of one matrix: `columns` values a row. */
struct predictions {
	const float *values; /* borrowed */
	size_t rows, columns;
};

/* Whether `metric` is computed here. */
bool metric_is_ours(const char *metric);
/* Whether it takes margins rather than transformed predictions. */
bool metric_takes_margin(const char *metric);
/* Computes `metric` against the labels. */
int metric_compute(const char *metric, const struct predictions *p, const float *labels, double *out,
		   struct failure *fail);

#endif
