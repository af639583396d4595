/* metrics.c - see metrics.h.
 *
 * DESIGN: every class metric comes from three counts a class: rows that are it, rows predicted as it, rows that are
 * both. They are filled in one pass over the rows. */
#include "metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define MAX_CLASS_LABEL 1000000

struct class_counts {
	size_t *truly, *predicted, *both; /* owned; by label - low */
	long low;
	size_t span;
	size_t rows, hits, present;
};

enum score { SCORE_PRECISION, SCORE_RECALL, SCORE_F1 };
enum average { AVERAGE_BINARY, AVERAGE_MACRO, AVERAGE_MICRO };

static const struct metric {
	const char *name;
	bool margin;
	enum { BY_ACCURACY, BY_BALANCED, BY_SCORE, BY_MSE, BY_R2 } kind;
	enum score score;
	enum average average;
} METRICS[] = {
	{ "accuracy", true, BY_ACCURACY, 0, 0 },
	{ "balanced_accuracy", true, BY_BALANCED, 0, 0 },
	{ "f1", true, BY_SCORE, SCORE_F1, AVERAGE_MACRO },
	{ "f1_binary", true, BY_SCORE, SCORE_F1, AVERAGE_BINARY },
	{ "f1_macro", true, BY_SCORE, SCORE_F1, AVERAGE_MACRO },
	{ "mse", false, BY_MSE, 0, 0 },
	{ "precision", true, BY_SCORE, SCORE_PRECISION, AVERAGE_BINARY },
	{ "precision_macro", true, BY_SCORE, SCORE_PRECISION, AVERAGE_MACRO },
	{ "precision_micro", true, BY_SCORE, SCORE_PRECISION, AVERAGE_MICRO },
	{ "r2", false, BY_R2, 0, 0 },
	{ "recall", true, BY_SCORE, SCORE_RECALL, AVERAGE_BINARY },
	{ "recall_macro", true, BY_SCORE, SCORE_RECALL, AVERAGE_MACRO },
	{ "recall_micro", true, BY_SCORE, SCORE_RECALL, AVERAGE_MICRO },
};

static const struct metric *find_metric(const char *name)
{
	for (size_t i = 0; i < sizeof METRICS / sizeof *METRICS; i++)
		if (strcmp(METRICS[i].name, name) == 0)
			return &METRICS[i];
	return NULL;
}

bool metric_is_ours(const char *metric)
{
	return find_metric(metric) != NULL;
}

bool metric_takes_margin(const char *metric)
{
	const struct metric *m = find_metric(metric);
	return m && m->margin;
}

/* ---- classes ---- */

static long predicted_class(const struct predictions *p, size_t row)
{
	const float *v = p->values + row * p->columns;
	if (p->columns == 1)
		return v[0] > 0.0f;
	size_t best = 0;
	for (size_t c = 1; c < p->columns; c++)
		if (v[c] > v[best])
			best = c;
	return (long)best;
}

static void counts_release(struct class_counts *c)
{
	free(c->truly);
	free(c->predicted);
	free(c->both);
}

/* The labels have to be whole numbers; *low and *high are their bounds, those of the predictions included. */
static int label_bounds(const struct predictions *p, const float *labels, long *low, long *high, struct failure *fail)
{
	*low = 0;
	*high = (long)(p->columns > 1 ? p->columns - 1 : 1);
	for (size_t i = 0; i < p->rows; i++) {
		float y = labels[i];
		if (!(fabsf(y) <= MAX_CLASS_LABEL) || y != floorf(y))
			return failure_algorithm(fail,
						 "XGB train call failed with exception:\n Classification metrics can't "
						 "handle a mix of continuous and %s targets",
						 p->columns > 2 ? "multiclass" : "binary");
		if ((long)y < *low)
			*low = (long)y;
		if ((long)y > *high)
			*high = (long)y;
	}
	return 0;
}

static int count_classes(const struct predictions *p, const float *labels, struct class_counts *c, struct failure *fail)
{
	long high;
	if (label_bounds(p, labels, &c->low, &high, fail) < 0)
		return -1;
	c->span = (size_t)(high - c->low + 1);
	c->truly = mem_need(calloc(c->span, sizeof *c->truly));
	c->predicted = mem_need(calloc(c->span, sizeof *c->predicted));
	c->both = mem_need(calloc(c->span, sizeof *c->both));
	c->rows = p->rows;
	for (size_t i = 0; i < p->rows; i++) {
		size_t truth = (size_t)((long)labels[i] - c->low);
		size_t guess = (size_t)(predicted_class(p, i) - c->low);
		c->truly[truth]++;
		c->predicted[guess]++;
		if (truth == guess) {
			c->both[truth]++;
			c->hits++;
		}
	}
	for (size_t k = 0; k < c->span; k++)
		c->present += c->truly[k] || c->predicted[k];
	return 0;
}

static double ratio(size_t part, size_t whole)
{
	return whole ? (double)part / (double)whole : 0.0;
}

static double class_score(const struct class_counts *c, size_t k, enum score score)
{
	switch (score) {
	case SCORE_PRECISION:
		return ratio(c->both[k], c->predicted[k]);
	case SCORE_RECALL:
		return ratio(c->both[k], c->truly[k]);
	default:
		return ratio(2 * c->both[k], c->truly[k] + c->predicted[k]);
	}
}

static int binary_score(const struct class_counts *c, enum score score, double *out, struct failure *fail)
{
	if (c->present > 2)
		return failure_user(fail, "Target is multiclass but average='binary'. Please choose another average "
					  "setting, one of [None, 'micro', 'macro', 'weighted'].");
	size_t one = (size_t)(1 - c->low);
	if (c->present == 2 && !c->truly[one] && !c->predicted[one])
		return failure_algorithm(fail, "XGB train call failed with exception:\n pos_label=1 is not a valid "
					       "label: no row is labelled or predicted as 1");
	*out = class_score(c, one, score);
	return 0;
}

static double macro_score(const struct class_counts *c, enum score score)
{
	double sum = 0;
	for (size_t k = 0; k < c->span; k++)
		if (c->truly[k] || c->predicted[k])
			sum += class_score(c, k, score);
	return sum / (double)c->present;
}

/* The mean recall over the classes that occur in the labels. */
static double balanced_accuracy(const struct class_counts *c)
{
	double sum = 0;
	size_t classes = 0;
	for (size_t k = 0; k < c->span; k++) {
		if (!c->truly[k])
			continue;
		sum += ratio(c->both[k], c->truly[k]);
		classes++;
	}
	return sum / (double)classes;
}

static int class_metric(const struct metric *m, const struct predictions *p, const float *labels, double *out,
			struct failure *fail)
{
	__attribute__((cleanup(counts_release))) struct class_counts c = { 0 };
	if (count_classes(p, labels, &c, fail) < 0)
		return -1;
	if (m->kind == BY_ACCURACY || (m->kind == BY_SCORE && m->average == AVERAGE_MICRO)) {
		*out = ratio(c.hits, c.rows);
		return 0;
	}
	if (m->kind == BY_BALANCED) {
		*out = balanced_accuracy(&c);
		return 0;
	}
	if (m->average == AVERAGE_BINARY)
		return binary_score(&c, m->score, out, fail);
	*out = macro_score(&c, m->score);
	return 0;
}

/* ---- regression ---- */

static int regression_metric(const struct metric *m, const struct predictions *p, const float *labels, double *out,
			     struct failure *fail)
{
	if (p->columns != 1)
		return failure_algorithm(fail,
					 "XGB train call failed with exception:\n y_true and y_pred have different "
					 "number of output (1!=%zu)",
					 p->columns);
	double sum = 0, residual = 0, total = 0;
	for (size_t i = 0; i < p->rows; i++)
		sum += labels[i];
	double mean = sum / (double)p->rows;
	for (size_t i = 0; i < p->rows; i++) {
		double e = (double)labels[i] - (double)p->values[i];
		double d = (double)labels[i] - mean;
		residual += e * e;
		total += d * d;
	}
	if (m->kind == BY_MSE)
		*out = residual / (double)p->rows;
	else if (p->rows < 2)
		*out = NAN;
	else if (total == 0)
		*out = residual == 0 ? 1.0 : 0.0;
	else
		*out = 1.0 - residual / total;
	return 0;
}

int metric_compute(const char *metric, const struct predictions *p, const float *labels, double *out,
		   struct failure *fail)
{
	const struct metric *m = find_metric(metric);
	*out = 0;
	if (!m)
		return failure_algorithm(fail, "no metric `%s`", metric);
	if (p->rows == 0)
		return 0;
	return m->margin ? class_metric(m, p, labels, out, fail) : regression_metric(m, p, labels, out, fail);
}
