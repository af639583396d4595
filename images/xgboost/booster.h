/* booster.h - a libxgboost booster: made from hyperparameters, asked for predictions, written to files.
 *
 * DESIGN: the only file that knows how hyperparameters become library parameters and how models are stored. A model
 * file is written beside its place and renamed, so a reader never sees half of one. Formats: the library's binary one
 * (what AWS images since 1.3 write), JSON, UBJSON, and a Python pickle of xgboost.Booster (what the older images
 * write, and what scripts of that time load). */
#ifndef QUERN_IMAGE_BOOSTER_H
#define QUERN_IMAGE_BOOSTER_H

#include <stdbool.h>
#include <xgboost/c_api.h>

#include "data.h"
#include "hyperparameters.h"
#include "metrics.h"

enum model_format { MODEL_BINARY, MODEL_JSON, MODEL_UBJ, MODEL_PICKLE };

/* Reads QUERN_XGBOOST_MODEL_FORMAT: binary (also when unset), json, ubj or pickle. */
int model_format_from_env(enum model_format *out, struct failure *fail);

/* Sends the library's messages to the log. */
void booster_log_to_stdout(void);

/* A booster for training on `train`, evaluated on `validation` (NULL: none). `native_metrics` are the eval metrics that
 * libxgboost computes. When `resume_from` is a model file the booster continues from it. */
struct booster_setup {
	const struct hyperparameters *hyperparameters;
	const struct matrix *train, *validation;
	char *const *native_metrics;
	size_t native_metric_count;
	const char *resume_from;
};
/* On success *out is owned by the caller (XGBoosterFree). */
int booster_create(const struct booster_setup *s, BoosterHandle *out, struct failure *fail);
/* The predictions for all rows of `m`, as margin or transformed; they are borrowed from the booster until its next
 * prediction. */
int booster_predict(BoosterHandle b, const struct matrix *m, bool margin, struct predictions *out,
		    struct failure *fail);
/* Writes `<dir>/<name>`, over an older one. The directory is made when it is missing. */
int booster_save(BoosterHandle b, const char *dir, const char *name, enum model_format format, struct failure *fail);

/* mkdir -p. */
int directory_make(const char *path, struct failure *fail);

#endif
