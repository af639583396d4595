/* crossval.c - see crossval.h. */
#include "crossval.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define TRAIN_CALL "XGB train call failed with exception"

struct crossval {
	const struct training *base;
	const struct matrix *all;
	int folds, rounds;
	bool classification;
	int *fold_of;           /* of each row, in the present round */
	double *value, *chance; /* rows x rounds: prediction, and probability of the predicted class */
	struct scores *last;    /* folds x rounds */
	unsigned long long random;
};

/* ---- folds ---- */

/* splitmix64: small, and good enough to shuffle rows. */
static unsigned long long random_next(unsigned long long *state)
{
	unsigned long long z = (*state += 0x9e3779b97f4a7c15ull);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

struct labelled_row {
	float label;
	size_t row;
};

static int by_label(const void *a, const void *b)
{
	const struct labelled_row *x = a, *y = b;
	return (x->label > y->label) - (x->label < y->label);
}

static void shuffle(struct labelled_row *rows, size_t n, unsigned long long *state)
{
	for (size_t i = n; i > 1; i--) {
		size_t k = (size_t)(random_next(state) % i);
		struct labelled_row t = rows[i - 1];
		rows[i - 1] = rows[k];
		rows[k] = t;
	}
}

/* Some class must have a member for every fold. `rows` is sorted by label. */
static int check_classes(const struct labelled_row *rows, size_t n, int k, struct failure *fail)
{
	size_t largest = 0, run = 0;
	for (size_t i = 0; i < n; i++) {
		if (rows[i].label != floorf(rows[i].label))
			return failure_algorithm(fail, TRAIN_CALL ":\n Supported target types are: ('binary', "
								  "'multiclass'). Got 'continuous' instead.");
		run = i && rows[i].label == rows[i - 1].label ? run + 1 : 1;
		if (run > largest)
			largest = run;
	}
	if (largest < (size_t)k)
		return failure_algorithm(fail,
					 TRAIN_CALL ":\n n_splits=%d cannot be greater than the number of members in "
						    "each class.",
					 k);
	return 0;
}

int crossval_draw(const float *labels, size_t rows, int k, bool stratified, unsigned long long *state, int *fold_of,
		  struct failure *fail)
{
	if (rows < (size_t)k)
		return failure_algorithm(fail,
					 TRAIN_CALL ":\n Cannot have number of splits n_splits=%d greater than the "
						    "number of samples: n_samples=%zu.",
					 k, rows);
	CLEANUP_FREE struct labelled_row *order = mem_need(calloc(rows, sizeof *order));
	for (size_t i = 0; i < rows; i++)
		order[i] = (struct labelled_row){ labels[i], i };
	if (stratified) {
		qsort(order, rows, sizeof *order, by_label);
		if (check_classes(order, rows, k, fail) < 0)
			return -1;
		for (size_t from = 0, to; from < rows; from = to) {
			for (to = from; to < rows && order[to].label == order[from].label; to++)
				;
			shuffle(order + from, to - from, state);
		}
	} else {
		shuffle(order, rows, state);
	}
	/* Dealt out in turn: folds differ by one row at most, and so do the members of a class. */
	for (size_t i = 0; i < rows; i++)
		fold_of[order[i].row] = (int)(i % (size_t)k);
	return 0;
}

/* The rows of one fold (inside) or of all others. Takes care of `out`, which must be empty. */
static int slice_fold(const struct crossval *cv, int fold, bool inside, struct matrix *out, int **rows_out,
		      struct failure *fail)
{
	int *rows = mem_need(malloc((cv->all->rows + 1) * sizeof *rows));
	size_t n = 0;
	for (size_t i = 0; i < cv->all->rows; i++)
		if ((cv->fold_of[i] == fold) == inside)
			rows[n++] = (int)i;
	DMatrixHandle handle;
	*rows_out = rows;
	if (XGDMatrixSliceDMatrixEx(cv->all->handle, rows, n, &handle, 0) != 0)
		return failure_xgboost(fail, TRAIN_CALL);
	return matrix_adopt(out, handle, fail);
}

/* ---- predictions ---- */

static void record_row(struct crossval *cv, size_t row, int round, const struct predictions *p, size_t at)
{
	const float *v = p->values + at * p->columns;
	size_t place = row * (size_t)cv->rounds + (size_t)round;
	if (p->columns > 1) {
		size_t best = 0;
		for (size_t c = 1; c < p->columns; c++)
			if (v[c] > v[best])
				best = c;
		cv->value[place] = (double)best;
		cv->chance[place] = v[best];
		return;
	}
	bool classes_given =
		strcmp(hyperparameters_text(cv->base->hyperparameters, "objective", ""), "multi:softmax") == 0;
	cv->value[place] = cv->classification && !classes_given ? v[0] > 0.5f : v[0];
	cv->chance[place] = v[0];
}

static int record_fold(struct crossval *cv, int fold, int round, BoosterHandle b, struct failure *fail)
{
	__attribute__((cleanup(matrix_release))) struct matrix held_out = MATRIX_INIT;
	CLEANUP_FREE int *rows = NULL;
	struct predictions p;
	if (slice_fold(cv, fold, true, &held_out, &rows, fail) < 0 ||
	    booster_predict(b, &held_out, false, &p, fail) < 0)
		return -1;
	for (size_t i = 0; i < p.rows; i++)
		record_row(cv, (size_t)rows[i], round, &p, i);
	return 0;
}

/* The value that occurs most; of several the smallest. */
static double mode_of(const double *v, int n)
{
	double best = v[0];
	int best_count = 0;
	for (int i = 0; i < n; i++) {
		int count = 0;
		for (int k = 0; k < n; k++)
			count += v[k] == v[i];
		if (count > best_count || (count == best_count && v[i] < best)) {
			best = v[i];
			best_count = count;
		}
	}
	return best;
}

static double mean_of(const double *v, int n)
{
	double sum = 0;
	for (int i = 0; i < n; i++)
		sum += v[i];
	return sum / n;
}

static int save_predictions(const struct crossval *cv, const char *dir, struct failure *fail)
{
	CLEANUP_TEXT struct text path = TEXT_INIT;
	text_printf(&path, "%s/predictions.csv", dir);
	log_info("Storing predictions on validation set(s) in %s", text_cstr(&path));
	if (directory_make(dir, fail) < 0)
		return -1;
	FILE *out = fopen(text_cstr(&path), "w");
	if (!out)
		return failure_platform(fail, "open `%s` for writing: %s", text_cstr(&path), strerror(errno));
	for (size_t i = 0; i < cv->all->rows; i++) {
		const double *value = cv->value + i * (size_t)cv->rounds, *chance = cv->chance + i * (size_t)cv->rounds;
		if (cv->classification)
			fprintf(out, "%f,%f,%f\n", cv->all->labels[i], mean_of(chance, cv->rounds),
				mode_of(value, cv->rounds));
		else
			fprintf(out, "%f,%f\n", cv->all->labels[i], mean_of(value, cv->rounds));
	}
	if (fclose(out) != 0)
		return failure_platform(fail, "write `%s`: %s", text_cstr(&path), strerror(errno));
	return 0;
}

/* ---- the models ---- */

/* The mean of the last scores of `n` models; for each metric first the training data, then the validation data. */
static void print_mean_scores(const struct crossval *cv, const struct scores *last, int n)
{
	printf("[%lld]", hyperparameters_integer(cv->base->hyperparameters, "num_round", 0));
	size_t sets = cv->base->validation ? 2 : 1, metrics = last->count / sets;
	for (size_t m = 0; m < metrics; m++) {
		for (size_t set = 0; set < sets; set++) {
			size_t at = set * metrics + m;
			double sum = 0;
			for (int i = 0; i < n; i++)
				sum += at < last[i].count ? last[i].items[at].value : 0;
			printf("\t%s:%.5f", last->items[at].name, sum / n);
		}
	}
	putchar('\n');
	fflush(stdout);
}

static int train_fold(struct crossval *cv, int index, bool *terminated, struct failure *fail)
{
	__attribute__((cleanup(matrix_release))) struct matrix rest = MATRIX_INIT;
	__attribute__((cleanup(trained_release))) struct trained done = TRAINED_INIT;
	CLEANUP_TEXT struct text name = TEXT_INIT, checkpoints = TEXT_INIT;
	CLEANUP_FREE int *rows = NULL;
	struct training t = *cv->base;
	int fold = index % cv->folds;
	if (slice_fold(cv, fold, false, &rest, &rows, fail) < 0)
		return -1;
	text_printf(&name, MODEL_NAME "-%d", index);
	text_printf(&checkpoints, "%s/model-%d", t.checkpoint_dir ? t.checkpoint_dir : "", index);
	t.train = &rest;
	t.model_name = text_cstr(&name);
	t.checkpoint_dir = t.checkpoint_dir ? text_cstr(&checkpoints) : NULL;
	log_info("Train cross validation fold %d", fold + 1);
	if (train_model(&t, &done, fail) < 0 || record_fold(cv, fold, index / cv->folds, done.booster, fail) < 0 ||
	    booster_save(done.booster, t.model_dir, t.model_name, t.format, fail) < 0)
		return -1;
	*terminated = done.terminated;
	cv->last[index] = done.last;
	done.last = SCORES_INIT;
	return 0;
}

static int run_all(struct crossval *cv, const char *output_data_dir, bool *terminated, struct failure *fail)
{
	for (int round = 0; round < cv->rounds; round++) {
		if (crossval_draw(cv->all->labels, cv->all->rows, cv->folds, cv->classification, &cv->random,
				  cv->fold_of, fail) < 0)
			return -1;
		for (int fold = 0; fold < cv->folds && !*terminated; fold++)
			if (train_fold(cv, round * cv->folds + fold, terminated, fail) < 0)
				return -1;
		if (*terminated)
			return 0;
		log_info("The metrics of round %d cross validation", round + 1);
		print_mean_scores(cv, cv->last + round * cv->folds, cv->folds);
	}
	if (save_predictions(cv, output_data_dir, fail) < 0)
		return -1;
	if (cv->rounds > 1) {
		log_info("The overall metrics of %d-round cross validation", cv->rounds);
		print_mean_scores(cv, cv->last, cv->folds * cv->rounds);
	}
	return 0;
}

int crossval_run(const struct training *base, const struct matrix *all, const char *output_data_dir, bool *terminated,
		 struct failure *fail)
{
	const struct hyperparameters *h = base->hyperparameters;
	struct crossval cv = { .base = base, .all = all };
	long long folds = hyperparameters_integer(h, "_kfold", 2);
	long long rounds = hyperparameters_integer(h, "_num_cv_round", 1);
	if (folds * rounds > 100000 || folds > 100000 || rounds > 100000)
		return failure_user(fail, "_kfold times _num_cv_round makes more than 100000 models");
	cv.folds = (int)folds;
	cv.rounds = (int)rounds;
	cv.random = (unsigned long long)hyperparameters_integer(h, "seed", 0);
	cv.classification = hyperparameters_find(h, "num_class") ||
			    strncmp(hyperparameters_text(h, "objective", ""), "binary:", 7) == 0;
	log_info("Run %d-round of %d-fold cross validation with %zu rows", cv.rounds, cv.folds, all->rows);
	size_t cells = all->rows * (size_t)cv.rounds;
	int models = cv.folds * cv.rounds;
	cv.fold_of = mem_need(calloc(all->rows + 1, sizeof *cv.fold_of));
	cv.value = mem_need(calloc(cells + 1, sizeof *cv.value));
	cv.chance = mem_need(calloc(cells + 1, sizeof *cv.chance));
	cv.last = mem_need(calloc((size_t)models, sizeof *cv.last));
	int r = run_all(&cv, output_data_dir, terminated, fail);
	for (int i = 0; i < models; i++)
		scores_release(&cv.last[i]);
	free(cv.last);
	free(cv.chance);
	free(cv.value);
	free(cv.fold_of);
	return r;
}
