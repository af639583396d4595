/* pipeline_select.c - selective execution: marks and checks.
 *
 * DESIGN: the chosen steps must be closed: a step that lies on a path between two chosen ones must be chosen too. Steps
 * above them are taken from the source execution, which must be of the same pipeline and ended, and must have them
 * succeeded. A chosen Condition step is evaluated anew, and of its branch the chosen steps run; a chosen step of a
 * branch whose Condition step is not chosen needs a source that took it. */
#include "sagemaker/pipeline_select.h"

#include "base/buf.h"

static void spread(const struct definition *d, const enum selection *marks, bool up, bool *out)
{
	CLEANUP_FREE int *stack = mem_calloc((size_t)d->nsteps + 1, sizeof *stack);
	int count = 0;
	for (int i = 0; i < d->nsteps; i++)
		if (marks[i] == SELECTION_CHOSEN)
			stack[count++] = i;
	CLEANUP_FREE bool *seen = mem_calloc((size_t)d->nsteps + 1, 1);
	for (int i = 0; i < count; i++)
		seen[stack[i]] = true;
	while (count > 0) {
		const struct definition_step *s = &d->steps[stack[--count]];
		const int *next = up ? s->deps : s->dependents;
		int n = up ? s->ndeps : s->ndependents;
		for (int k = 0; k < n; k++) {
			out[next[k]] = true;
			if (seen[next[k]])
				continue;
			seen[next[k]] = true;
			stack[count++] = next[k];
		}
	}
}

int pipeline_selection_mark(const struct definition *d, const json_t *config, enum selection *marks, struct error *err)
{
	size_t i;
	json_t *item;
	json_array_foreach (json_get(config, "SelectedSteps"), i, item) {
		struct str name = json_get_str(item, "StepName");
		const struct definition_step *step = definition_step_find(d, name);
		if (!step)
			return error_aws(err, "ValidationException",
					 "Invalid SelectedSteps: step '%.*s' does not exist in the pipeline.",
					 STR_ARG(str_head(name, 128)));
		marks[step->index] = SELECTION_CHOSEN;
	}
	CLEANUP_FREE bool *above = mem_calloc((size_t)d->nsteps + 1, 1), *below = mem_calloc((size_t)d->nsteps + 1, 1);
	spread(d, marks, true, above);
	spread(d, marks, false, below);
	for (int k = 0; k < d->nsteps; k++) {
		if (marks[k] == SELECTION_CHOSEN || !above[k])
			continue;
		if (below[k])
			return error_aws(err, "ValidationException",
					 "Invalid SelectedSteps: step '%s' lies between selected steps and must be "
					 "selected too.",
					 d->steps[k].name);
		marks[k] = SELECTION_ABOVE;
	}
	return 0;
}

static void names_add(struct buf *b, const char *name)
{
	if (b->len < 1500)
		buf_printf(b, "%s%s", b->len ? ", " : "", name);
}

/* Without a source nothing may be above. */
static int source_missing(const struct definition *d, const enum selection *marks, struct error *err)
{
	CLEANUP_BUF struct buf chosen = BUF_INIT, above = BUF_INIT;
	for (int i = 0; i < d->nsteps; i++) {
		if (marks[i] == SELECTION_CHOSEN)
			names_add(&chosen, d->steps[i].name);
		if (marks[i] == SELECTION_ABOVE)
			names_add(&above, d->steps[i].name);
	}
	if (above.len == 0)
		return 0;
	return error_aws(err, "ValidationException",
			 "Invalid SourcePipelineExecutionArn: null. The selected steps [%s] have dependencies on [%s]",
			 chosen.ptr, above.ptr);
}

/* The step's row in the source: 1 succeeded (metadata in the arena), 0 not. */
static int source_step(struct db *db, struct arena *a, const char *id, const char *name, const char **metadata,
		       struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT metadata FROM pipeline_step WHERE execution=? AND state=? AND name=?",
			"sis", id, (int64_t)STEP_SUCCEEDED, name);
	*metadata = rc == 1 ? pipeline_row_text(&rows, 0, a) : NULL;
	return rc;
}

static int chosen_check(struct db *db, struct arena *a, const struct execution_row *x, const struct definition *d,
			const enum selection *marks, const struct definition_step *step, struct error *err)
{
	for (int k = 0; k < step->ndeps; k++) {
		const struct definition_step *dep = &d->steps[step->deps[k]];
		const char *metadata;
		if (marks[dep->index] == SELECTION_CHOSEN)
			continue;
		int rc = source_step(db, a, x->id, dep->name, &metadata, err);
		if (rc < 0)
			return -1;
		if (rc == 0)
			return error_aws(err, "ValidationException",
					 "Invalid SourcePipelineExecutionArn: %s. The selected step '%s' depends on "
					 "'%s', which did not succeed there.",
					 x->arn, step->name, dep->name);
		bool taken = metadata && strstr(metadata, "\"True\"");
		if (step->parent == dep->index && step->else_branch == taken)
			return error_aws(err, "ValidationException",
					 "Invalid SelectedSteps: step '%s' is in the branch of '%s' that execution %s "
					 "did not take.",
					 step->name, dep->name, x->arn);
	}
	return 0;
}

int pipeline_selection_check(struct sagemaker *s, struct db *db, struct arena *a, const struct pipeline_row *p,
			     const struct definition *d, const json_t *config, struct error *err)
{
	CLEANUP_FREE enum selection *marks = mem_calloc((size_t)d->nsteps + 1, sizeof *marks);
	const char *arn = json_get_text(config, "SourcePipelineExecutionArn");
	struct execution_row x;
	if (pipeline_selection_mark(d, config, marks, err) < 0)
		return -1;
	if (!arn)
		return source_missing(d, marks, err);
	if (pipeline_execution_get(s, db, a, arn, &x, err) < 0)
		return -1;
	if (strcmp(x.key, p->key) != 0)
		return error_aws(err, "ValidationException",
				 "Invalid SourcePipelineExecutionArn: %s. It is an execution of another pipeline.",
				 arn);
	if (!pipeline_execution_ended(x.status))
		return error_aws(err, "ValidationException",
				 "Invalid SourcePipelineExecutionArn: %s. Its status is %s.", arn, x.status);
	for (int i = 0; i < d->nsteps; i++)
		if (marks[i] == SELECTION_CHOSEN && chosen_check(db, a, &x, d, marks, &d->steps[i], err) < 0)
			return -1;
	return 0;
}
