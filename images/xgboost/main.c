/* main.c - the program quern-xgboost: the XGBoost algorithm of SageMaker as a training container's process.
 *
 * DESIGN: takes no arguments (`train` is let pass); everything comes from /opt/ml. Exit status 0: the model is there;
 * 1: /opt/ml/output/failure says why not. OpenMP has to be told before its library is loaded not to spin while it waits
 * (spinning threads of a busy machine make training many times slower), so the program sets that and starts over. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "job.h"

static void start_over_with_passive_waiting(char **argv)
{
	if (getenv("OMP_WAIT_POLICY"))
		return;
	setenv("OMP_WAIT_POLICY", "passive", 1);
	execv("/proc/self/exe", argv);
	/* Without /proc training is only slower. */
}

int main(int argc, char **argv)
{
	if (argc > 2 || (argc == 2 && strcmp(argv[1], "train") != 0)) {
		fprintf(stderr, "usage: %s [train]\nTrains on the job in /opt/ml, or in $SAGEMAKER_BASE_DIR.\n",
			argv[0]);
		return 2;
	}
	start_over_with_passive_waiting(argv);
	struct job_paths paths;
	struct failure fail = FAILURE_INIT;
	bool stopped;
	job_paths_init(&paths);
	failure_watch_crashes(paths.output);
	int r = job_run(&paths, &stopped, &fail);
	if (r < 0)
		failure_report(&fail, paths.output);
	else if (!stopped)
		failure_report_success(paths.output);
	failure_release(&fail);
	job_paths_release(&paths);
	return r < 0 ? 1 : 0;
}
