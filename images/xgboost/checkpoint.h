/* checkpoint.h - the files `xgboost-checkpoint.N` from which an interrupted job goes on.
 *
 * DESIGN: one file after each round, written beside its place under a name that the platform's sync leaves alone, then
 * renamed. The last five of this run are kept; those found at the start are never deleted, nor is one that the platform
 * is uploading just then (marked by files that end in .sagemaker-uploading and .sagemaker-uploaded). */
#ifndef QUERN_IMAGE_CHECKPOINT_H
#define QUERN_IMAGE_CHECKPOINT_H

#include "booster.h"

struct checkpoints {
	const char *dir; /* borrowed; NULL: no checkpoints */
	int first_round; /* the round to begin with */
	char *latest;    /* owned; the file to go on from, NULL to start afresh */
};

/* Looks for the newest checkpoint of a job in `dir` (NULL or missing: none) that libxgboost can read. */
int checkpoints_open(struct checkpoints *c, const char *dir, struct failure *fail);
void checkpoints_release(struct checkpoints *c);
/* Writes the checkpoint of `round` and deletes the one five rounds before it. */
int checkpoints_save(const struct checkpoints *c, BoosterHandle b, int round, struct failure *fail);

#endif
