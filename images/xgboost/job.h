/* job.h - one training job: configuration in, model out.
 *
 * DESIGN: reads /opt/ml/input/config, checks everything that can be checked before touching data, loads the channels,
 * trains, and leaves the model. Directories come from SAGEMAKER_BASE_DIR when it is set, for tests and for running
 * without a container. */
#ifndef QUERN_IMAGE_JOB_H
#define QUERN_IMAGE_JOB_H

#include <jansson.h>
#include <stdbool.h>

#include "failure.h"

struct job_paths {
	char *config, *data, *model, *output, *output_data; /* owned */
};

void job_paths_init(struct job_paths *p);
void job_paths_release(struct job_paths *p);

/* Runs the job. *stopped is set when SIGTERM ended it early, with the model so far in place. */
int job_run(const struct job_paths *p, bool *stopped, struct failure *fail);

#endif
