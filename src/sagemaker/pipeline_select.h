/* pipeline_select.h - selective execution: which steps a SelectiveExecutionConfig means. */
#ifndef QUERN_SAGEMAKER_PIPELINE_SELECT_H
#define QUERN_SAGEMAKER_PIPELINE_SELECT_H

#include "sagemaker/pipeline_run.h"

enum selection {
	SELECTION_OUT = 0,
	SELECTION_CHOSEN,
	SELECTION_ABOVE, /* not chosen, but something chosen depends on it: taken from the source */
};

/* Marks each of the definition's steps. < 0 with a ValidationException: an unknown step, or a gap between two chosen
 * ones. */
int pipeline_selection_mark(const struct definition *d, const json_t *config, enum selection *marks, struct error *err);
/* Checks the source execution for the chosen steps (at StartPipelineExecution). */
int pipeline_selection_check(struct sagemaker *s, struct db *db, struct arena *a, const struct pipeline_row *p,
			     const struct definition *d, const json_t *config, struct error *err);

#endif
