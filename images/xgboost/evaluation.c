/* evaluation.c - see evaluation.h. */
#include "evaluation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

/* ---- the plan ---- */

struct names {
	char **items;
	size_t count;
};

static void names_add(struct names *n, const char *name)
{
	for (size_t i = 0; i < n->count; i++)
		if (strcmp(n->items[i], name) == 0)
			return;
	n->items = mem_need(realloc(n->items, (n->count + 1) * sizeof *n->items));
	n->items[n->count++] = mem_dup(name);
}

static void names_release(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->items[i]);
	free(n->items);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void metric_plan_make(const struct hyperparameters *h, struct metric_plan *out)
{
	const struct hyperparameter *metrics = hyperparameters_find(h, "eval_metric");
	const char *tuning = hyperparameters_text(h, "_tuning_objective_metric", NULL);
	struct names all = { 0 }, native = { 0 }, ours = { 0 };
	*out = METRIC_PLAN_INIT;
	for (size_t i = 0; metrics && i < metrics->item_count; i++)
		names_add(&all, metrics->items[i]);
	if (all.count)
		out->stopping = mem_dup(metrics->items[metrics->item_count - 1]);
	if (tuning) {
		const char *metric = strchr(tuning, ':') + 1;
		log_info("Setting up HPO optimized metric to be : %s", metric);
		names_add(&all, metric);
		qsort(all.items, all.count, sizeof *all.items, compare_names);
		free(out->stopping);
		out->stopping = mem_dup(metric);
	}
	for (size_t i = 0; i < all.count; i++)
		names_add(metric_is_ours(all.items[i]) ? &ours : &native, all.items[i]);
	names_release(&all);
	out->native = native.items;
	out->native_count = native.count;
	out->ours = ours.items;
	out->ours_count = ours.count;
}

void metric_plan_release(struct metric_plan *p)
{
	names_release(&(struct names){ p->native, p->native_count });
	names_release(&(struct names){ p->ours, p->ours_count });
	free(p->stopping);
	*p = METRIC_PLAN_INIT;
}

/* ---- scores ---- */

void scores_release(struct scores *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->items[i].name);
	free(s->items);
	*s = SCORES_INIT;
}

static void scores_add(struct scores *s, const char *name, size_t length, double value)
{
	s->items = mem_need(realloc(s->items, (s->count + 1) * sizeof *s->items));
	s->items[s->count++] = (struct score){ mem_need(strndup(name, length)), value };
}

/* Reads "[3]\ttrain-rmse:1.25\tvalidation-rmse:2.5"; a metric may have a colon of its own, a value has none. */
static void scores_read_line(struct scores *s, const char *line)
{
	const char *at = line + strcspn(line, "\t ");
	while (*at) {
		at += strspn(at, "\t ");
		size_t n = strcspn(at, "\t ");
		const char *colon = memrchr(at, ':', n);
		if (colon)
			scores_add(s, at, (size_t)(colon - at), strtod(colon + 1, NULL));
		at += n;
	}
}

/* The AWS image hands these on as text with six decimals; the second rounding is part of the printed value. */
static double as_printed(double v)
{
	char text[400];
	snprintf(text, sizeof text, "%f", v);
	return strtod(text, NULL);
}

static int add_our_scores(BoosterHandle b, const struct metric_plan *plan, const struct matrix *m, const char *data,
			  struct scores *out, struct failure *fail)
{
	for (size_t i = 0; i < plan->ours_count; i++) {
		struct predictions p;
		double value;
		const char *metric = plan->ours[i];
		if (booster_predict(b, m, metric_takes_margin(metric), &p, fail) < 0 ||
		    metric_compute(metric, &p, m->labels, &value, fail) < 0)
			return -1;
		CLEANUP_TEXT struct text name = TEXT_INIT;
		text_printf(&name, "%s-%s", data, metric);
		scores_add(out, text_cstr(&name), name.len, as_printed(value));
	}
	return 0;
}

/* Moves the scores of the training data before those of the validation data, each in its order. */
static void group_by_data(struct scores *s)
{
	struct score *sorted = mem_need(malloc((s->count + 1) * sizeof *sorted));
	size_t n = 0;
	for (int validation = 0; validation < 2; validation++)
		for (size_t i = 0; i < s->count; i++)
			if ((strncmp(s->items[i].name, "validation-", 11) == 0) == validation)
				sorted[n++] = s->items[i];
	free(s->items);
	s->items = sorted;
}

int evaluate_round(BoosterHandle b, int round, const struct metric_plan *plan, const struct matrix *train,
		   const struct matrix *validation, struct scores *out, struct failure *fail)
{
	DMatrixHandle handles[] = { train->handle, validation ? validation->handle : NULL };
	const char *names[] = { "train", "validation" };
	const char *line;
	if (XGBoosterEvalOneIter(b, round, handles, names, validation ? 2 : 1, &line) != 0)
		return failure_xgboost(fail, "XGB train call failed with exception");
	scores_read_line(out, line);
	if (add_our_scores(b, plan, train, "train", out, fail) < 0)
		return -1;
	if (validation && add_our_scores(b, plan, validation, "validation", out, fail) < 0)
		return -1;
	group_by_data(out);
	return 0;
}

void scores_print(int round, const struct scores *s)
{
	printf("[%d]", round);
	for (size_t i = 0; i < s->count; i++) {
		if (isnan(s->items[i].value))
			printf("\t%s:nan", s->items[i].name);
		else
			printf("\t%s:%.5f", s->items[i].name, s->items[i].value);
	}
	putchar('\n');
	fflush(stdout);
}

static bool find_score(const struct scores *s, const char *metric, size_t n, double *out)
{
	for (size_t i = 0; i < s->count; i++) {
		const char *name = s->items[i].name;
		if (strncmp(name, "validation-", 11) == 0 && strlen(name + 11) == n &&
		    strncmp(name + 11, metric, n) == 0) {
			*out = s->items[i].value;
			return true;
		}
	}
	return false;
}

/* The library drops a threshold that equals its default (`error@0.5` is reported as `error`). */
bool scores_find_validation(const struct scores *s, const char *metric, double *out)
{
	return find_score(s, metric, strlen(metric), out) || find_score(s, metric, strcspn(metric, "@"), out);
}
