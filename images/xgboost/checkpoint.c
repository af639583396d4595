/* checkpoint.c - see checkpoint.h. */
#include "checkpoint.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

#define PREFIX "xgboost-checkpoint."
#define KEPT 5

/* The round of a checkpoint's file name, -1 for other names. */
static int name_round(const char *name)
{
	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
		return -1;
	const char *digits = name + strlen(PREFIX);
	size_t n = strspn(digits, "0123456789");
	if (n == 0 || n > 9 || digits[n])
		return -1;
	return atoi(digits);
}

static int is_checkpoint(const struct dirent *e)
{
	return name_round(e->d_name) >= 0;
}

static int by_round(const struct dirent **a, const struct dirent **b)
{
	int x = name_round((*a)->d_name), y = name_round((*b)->d_name);
	return (x > y) - (x < y);
}

static bool is_readable_model(const char *path)
{
	BoosterHandle b;
	if (XGBoosterCreate(NULL, 0, &b) != 0)
		return false;
	bool ok = XGBoosterLoadModel(b, path) == 0;
	XGBoosterFree(b);
	return ok;
}

int checkpoints_open(struct checkpoints *c, const char *dir, struct failure *fail)
{
	*c = (struct checkpoints){ .dir = dir };
	if (!dir)
		return 0;
	if (directory_make(dir, fail) < 0)
		return -1;
	struct dirent **names;
	int n = scandir(dir, &names, is_checkpoint, by_round);
	for (int i = n - 1; i >= 0; i--) {
		CLEANUP_TEXT struct text path = TEXT_INIT;
		text_printf(&path, "%s/%s", dir, names[i]->d_name);
		if (!c->latest && is_readable_model(text_cstr(&path))) {
			c->first_round = name_round(names[i]->d_name) + 1;
			c->latest = text_take(&path);
		} else if (!c->latest) {
			log_warning("%s is no model that can be read; trying an older checkpoint", text_cstr(&path));
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	if (c->latest) {
		log_info("Checkpoint loaded from %s", c->latest);
		log_info("Resuming from iteration %d", c->first_round);
	}
	return 0;
}

void checkpoints_release(struct checkpoints *c)
{
	free(c->latest);
	c->latest = NULL;
}

static bool exists_with_ending(const char *path, const char *ending)
{
	CLEANUP_TEXT struct text t = TEXT_INIT;
	text_printf(&t, "%s%s", path, ending);
	return access(text_cstr(&t), F_OK) == 0;
}

static void delete_old(const struct checkpoints *c, int round)
{
	/* Ten rounds back, to get at files that were being uploaded when their turn came. */
	for (int old = round - KEPT; old > round - KEPT - 10 && old >= c->first_round; old--) {
		CLEANUP_TEXT struct text path = TEXT_INIT;
		text_printf(&path, "%s/" PREFIX "%d", c->dir, old);
		bool uploading = exists_with_ending(text_cstr(&path), ".sagemaker-uploading") &&
				 !exists_with_ending(text_cstr(&path), ".sagemaker-uploaded");
		if (!uploading)
			unlink(text_cstr(&path));
	}
}

int checkpoints_save(const struct checkpoints *c, BoosterHandle b, int round, struct failure *fail)
{
	if (!c->dir)
		return 0;
	CLEANUP_TEXT struct text name = TEXT_INIT;
	text_printf(&name, PREFIX "%d", round);
	if (booster_save(b, c->dir, text_cstr(&name), MODEL_BINARY, fail) < 0)
		return -1;
	delete_old(c, round);
	return 0;
}
