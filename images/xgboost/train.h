/* train.h - the boosting loop of one model.
 *
 * DESIGN: round after round: update, evaluate, log, checkpoint, keep an intermediate model, look for early stopping and
 * for SIGTERM, in the order of the AWS image's callbacks. Early stopping needs validation data and a named metric, and
 * leaves the model of the best round. */
#ifndef QUERN_IMAGE_TRAIN_H
#define QUERN_IMAGE_TRAIN_H

#include "evaluation.h"

#define MODEL_NAME "xgboost-model"

struct training {
	const struct hyperparameters *hyperparameters;
	const struct metric_plan *plan;
	const struct matrix *train;      /* rows to learn from */
	const struct matrix *watch;      /* rows reported as train-* */
	const struct matrix *validation; /* rows reported as validation-*; NULL: none */
	const char *checkpoint_dir;      /* NULL: none */
	const char *model_dir;
	const char *model_name;
	enum model_format format;
};

struct trained {
	BoosterHandle booster; /* owned */
	struct scores last;
	bool terminated; /* SIGTERM came; the model is that of the rounds so far */
};
#define TRAINED_INIT ((struct trained){ 0 })

int train_model(const struct training *t, struct trained *out, struct failure *fail);
void trained_release(struct trained *t);

#endif
