/* train.c - see train.h. */
#include "train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "checkpoint.h"
#include "termination.h"
#include "text.h"

#define TRAIN_CALL "XGB train call failed with exception"
/* A model is kept for SIGTERM at most this often: writing it takes time that grows with the rounds. */
#define INTERMEDIATE_SECONDS 2

struct early_stopping {
	long long patience_rounds; /* 0: off */
	const char *metric;
	bool maximize, started;
	double best;
	long long rounds_without;
};

void trained_release(struct trained *t)
{
	if (t->booster)
		XGBoosterFree(t->booster);
	scores_release(&t->last);
	*t = TRAINED_INIT;
}

static struct early_stopping early_stopping_make(const struct training *t)
{
	struct early_stopping e = { 0 };
	long long rounds = hyperparameters_integer(t->hyperparameters, "early_stopping_rounds", 0);
	if (!rounds)
		return e;
	if (!t->validation || !t->plan->stopping) {
		log_warning("early_stopping_rounds has no effect without %s",
			    t->validation ? "eval_metric" : "a validation channel");
		return e;
	}
	e.patience_rounds = rounds;
	e.metric = t->plan->stopping;
	e.maximize = metric_is_maximized(e.metric);
	return e;
}

static int note_best(BoosterHandle b, double value, int round, struct failure *fail)
{
	CLEANUP_TEXT struct text score = TEXT_INIT, iteration = TEXT_INIT;
	text_add_pyfloat(&score, value);
	text_printf(&iteration, "%d", round);
	if (XGBoosterSetAttr(b, "best_score", text_cstr(&score)) != 0 ||
	    XGBoosterSetAttr(b, "best_iteration", text_cstr(&iteration)) != 0)
		return failure_xgboost(fail, TRAIN_CALL);
	return 0;
}

/* Returns 1 when training is to stop, 0 when it goes on. */
static int early_stopping_look(struct early_stopping *e, BoosterHandle b, int round, const struct scores *s,
			       struct failure *fail)
{
	double value;
	if (!e->patience_rounds)
		return 0;
	if (!scores_find_validation(s, e->metric, &value))
		return failure_algorithm(fail, TRAIN_CALL ":\n early stopping finds no metric '%s' for validation",
					 e->metric);
	bool better = e->maximize ? value > e->best : value < e->best;
	if (!e->started || better) {
		e->started = true;
		e->best = value;
		e->rounds_without = 0;
		return note_best(b, value, round, fail);
	}
	return ++e->rounds_without >= e->patience_rounds;
}

/* ---- after the last round ---- */

static int best_iteration(BoosterHandle b, int *out)
{
	const char *value;
	int found;
	if (XGBoosterGetAttr(b, "best_iteration", &value, &found) != 0)
		return -1;
	*out = found ? atoi(value) : -1;
	return 0;
}

/* Cuts the model after its best round. A linear booster has no rounds to cut. */
static int keep_best(struct trained *t, int best, struct failure *fail)
{
	BoosterHandle cut;
	int rounds;
	if (XGBoosterBoostedRounds(t->booster, &rounds) != 0)
		return failure_xgboost(fail, TRAIN_CALL);
	if (best + 1 >= rounds)
		return 0;
	if (XGBoosterSlice(t->booster, 0, best + 1, 1, &cut) != 0) {
		log_warning("The model of the best round can't be cut out of this booster; the last one is kept.");
		return 0;
	}
	XGBoosterFree(t->booster);
	t->booster = cut;
	return 0;
}

/* The attributes that the Python package leaves on a model, for scripts that read them. */
static int note_tree_limit(const struct training *t, BoosterHandle b, int best, struct failure *fail)
{
	bool linear = strcmp(hyperparameters_text(t->hyperparameters, "booster", ""), "gblinear") == 0;
	long long trees = linear ? 0 : hyperparameters_integer(t->hyperparameters, "num_parallel_tree", 1);
	char iteration[24], limit[24];
	snprintf(iteration, sizeof iteration, "%d", best);
	snprintf(limit, sizeof limit, "%lld", (best + 1) * trees);
	if (XGBoosterSetAttr(b, "best_iteration", iteration) != 0 ||
	    XGBoosterSetAttr(b, "best_ntree_limit", limit) != 0)
		return failure_xgboost(fail, TRAIN_CALL);
	return 0;
}

static int finish_model(const struct training *t, const struct early_stopping *e, struct trained *out,
			struct failure *fail)
{
	int best = -1, rounds;
	if (XGBoosterBoostedRounds(out->booster, &rounds) != 0)
		return failure_xgboost(fail, TRAIN_CALL);
	if (e->started && best_iteration(out->booster, &best) < 0)
		return failure_xgboost(fail, TRAIN_CALL);
	if (best >= 0 && keep_best(out, best, fail) < 0)
		return -1;
	return note_tree_limit(t, out->booster, best >= 0 ? best : rounds - 1, fail);
}

/* ---- the rounds ---- */

static int keep_intermediate(const struct training *t, BoosterHandle b, time_t *last, struct failure *fail)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (*last && now.tv_sec - *last < INTERMEDIATE_SECONDS)
		return 0;
	*last = now.tv_sec;
	return booster_save(b, t->model_dir, t->model_name, t->format, fail);
}

static int run_round(const struct training *t, BoosterHandle b, int round, struct scores *last, struct failure *fail)
{
	if (XGBoosterUpdateOneIter(b, round, t->train->handle) != 0)
		return failure_xgboost(fail, TRAIN_CALL);
	scores_release(last);
	if (evaluate_round(b, round, t->plan, t->watch, t->validation, last, fail) < 0)
		return -1;
	scores_print(round, last);
	return 0;
}

static int run_rounds(const struct training *t, const struct checkpoints *c, struct early_stopping *e,
		      struct trained *out, struct failure *fail)
{
	long long rounds = hyperparameters_integer(t->hyperparameters, "num_round", 0);
	bool keep = strcmp(hyperparameters_text(t->hyperparameters, "save_model_on_termination", ""), "true") == 0;
	time_t kept = 0;
	if (keep)
		termination_wait_for_round();
	for (int round = c->first_round; round < rounds && !out->terminated; round++) {
		if (run_round(t, out->booster, round, &out->last, fail) < 0 ||
		    checkpoints_save(c, out->booster, round, fail) < 0)
			return -1;
		if (keep && keep_intermediate(t, out->booster, &kept, fail) < 0)
			return -1;
		int stop = early_stopping_look(e, out->booster, round, &out->last, fail);
		if (stop != 0)
			return stop < 0 ? -1 : 0;
		out->terminated = termination_requested();
	}
	return 0;
}

int train_model(const struct training *t, struct trained *out, struct failure *fail)
{
	struct checkpoints c;
	struct early_stopping e = early_stopping_make(t);
	*out = TRAINED_INIT;
	if (checkpoints_open(&c, t->checkpoint_dir, fail) < 0)
		return -1;
	struct booster_setup setup = {
		.hyperparameters = t->hyperparameters,
		.train = t->train,
		.validation = t->validation,
		.native_metrics = t->plan->native,
		.native_metric_count = t->plan->native_count,
		.resume_from = c.latest,
	};
	int r = booster_create(&setup, &out->booster, fail);
	if (r == 0)
		r = run_rounds(t, &c, &e, out, fail);
	if (r == 0)
		r = finish_model(t, &e, out, fail);
	checkpoints_release(&c);
	if (r < 0)
		trained_release(out);
	return r;
}
