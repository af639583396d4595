/* crossval.h - the cross-validation mode: `_kfold` and `_num_cv_round`.
 *
 * DESIGN: as in the AWS image, all rows (train and validation together) are split into k folds, one model is trained a
 * fold, and this is done again in each further round with other folds. Classification folds keep the share of each
 * class. The held-out predictions go to predictions.csv in the output data directory, the models to xgboost-model-0,
 * xgboost-model-1, ... The folds are drawn from the `seed` hyperparameter, so a job repeats itself. */
#ifndef QUERN_IMAGE_CROSSVAL_H
#define QUERN_IMAGE_CROSSVAL_H

#include "train.h"

/* `base` is the training as it would run without folds; `all` holds the rows to split. *terminated is set when SIGTERM
 * came; the models so far are in place then. */
int crossval_run(const struct training *base, const struct matrix *all, const char *output_data_dir, bool *terminated,
		 struct failure *fail);

/* Draws folds: fold_of[row] in 0..k-1. With `stratified` each class is spread evenly. `state` is the random state,
 * which moves on. */
int crossval_draw(const float *labels, size_t rows, int k, bool stratified, unsigned long long *state, int *fold_of,
		  struct failure *fail);

#endif
