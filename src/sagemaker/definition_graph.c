/* definition_graph.c - what depends on what.
 *
 * DESIGN: the service infers data dependencies; the SDK writes DependsOn only for explicit ones. So every reference in
 * a step, also inside Std:Join and Std:JsonGet, makes an edge, as do DependsOn and the enclosing Condition step. The
 * graph is checked with Kahn's algorithm; when it has a cycle the message shows one. */
#include "sagemaker/definition.h"

#include "base/buf.h"
#include "sagemaker/pipeline_type.h"

#define BAD "Unable to parse pipeline definition. "

struct linker {
	struct definition *d;
	struct definition_step *step; /* the one being read; NULL: the experiment config */
	int *stamp;                   /* stamp[i] == step+1: the edge exists */
	int *edges;                   /* of this step */
	int nedges;
};

static int edge_add(struct linker *l, const struct definition_step *to, struct error *err)
{
	if (to->type->leaf)
		return error_aws(err, "ValidationException", BAD "%s can not depends on %s.", l->step->name, to->name);
	if (l->stamp[to->index] == l->step->index + 1)
		return 0;
	l->stamp[to->index] = l->step->index + 1;
	l->edges[l->nedges++] = to->index;
	return 0;
}

static bool property_file_exists(const struct definition_step *step, const struct path *path)
{
	size_t i;
	json_t *file;
	if (path->count != 2 || !path->parts[0].key.ptr || !str_eq(path->parts[0].key, STR("PropertyFiles")) ||
	    !path->parts[1].key.ptr)
		return false;
	json_array_foreach (json_get(step->json, "PropertyFiles"), i, file)
		if (str_eq(json_get_str(file, "PropertyFileName"), path->parts[1].key))
			return true;
	return false;
}

static int step_visit(struct linker *l, const struct ref *ref, bool file, struct error *err)
{
	const struct definition_step *to = definition_step_find(l->d, ref->name);
	const char *from = l->step ? l->step->name : "PipelineExperimentConfig";
	if (!to || !l->step)
		return error_aws(err, "ValidationException", BAD "'%s' refers to step '%.*s', which does not exist.",
				 from, STR_ARG(str_head(ref->name, 128)));
	if (to == l->step)
		return error_aws(err, "ValidationException", BAD "Step '%s' refers to itself.", from);
	if (file && !property_file_exists(to, &ref->path))
		return error_aws(err, "ValidationException",
				 BAD "Step '%s' refers to '%.*s', which is no PropertyFile of that step.", from,
				 STR_ARG(str_head(ref->text, 256)));
	if (to->type->branches &&
	    !(ref->path.count == 1 && ref->path.parts[0].key.ptr && str_eq(ref->path.parts[0].key, STR("Outcome"))))
		return error_aws(err, "ValidationException",
				 BAD "Invalid property reference '%.*s': a Condition step has only 'Outcome'.",
				 STR_ARG(str_head(ref->text, 256)));
	return edge_add(l, to, err);
}

static bool variable_known(struct str name)
{
	static const char *const names[] = { "StartDateTime",   "CurrentDateTime",     "PipelineName",
					     "PipelineArn",     "PipelineExecutionId", "PipelineExecutionArn",
					     "TrainingJobName", "ProcessingJobName",   NULL };
	for (const char *const *n = names; *n; n++)
		if (str_eqz(name, *n))
			return true;
	return false;
}

static int visit(void *ctx, const struct ref *ref, bool file, struct error *err)
{
	struct linker *l = ctx;
	const char *from = l->step ? l->step->name : "PipelineExperimentConfig";
	if (ref->kind == REF_STEP)
		return step_visit(l, ref, file, err);
	if (file)
		return error_aws(err, "ValidationException", BAD "'%.*s' is no PropertyFile.",
				 STR_ARG(str_head(ref->text, 256)));
	if (ref->kind == REF_EXECUTION && !variable_known(ref->name))
		return error_aws(err, "ValidationException",
				 BAD "'%s' refers to '%.*s', which is no execution variable.", from,
				 STR_ARG(str_head(ref->text, 256)));
	if (ref->kind == REF_EXPERIMENT && !str_eq(ref->name, STR("ExperimentName")) &&
	    !str_eq(ref->name, STR("TrialName")))
		return error_aws(err, "ValidationException", BAD "Invalid reference '%.*s'.",
				 STR_ARG(str_head(ref->text, 256)));
	if (ref->kind != REF_PARAMETER)
		return 0;
	for (int i = 0; i < l->d->nparams; i++)
		if (str_eqz(ref->name, l->d->params[i].name))
			return 0;
	return error_aws(err, "ValidationException", BAD "'%s' refers to parameter '%.*s', which does not exist.", from,
			 STR_ARG(str_head(ref->name, 256)));
}

static int depends_on_link(struct linker *l, struct error *err)
{
	const json_t *list = json_get(l->step->json, "DependsOn");
	size_t i;
	json_t *item;
	if (list && !json_is_array(list))
		return error_aws(err, "ValidationException",
				 BAD "'DependsOn' of step '%s' must be a list of step names.", l->step->name);
	json_array_foreach (list, i, item) {
		struct str name = json_str(item);
		const struct definition_step *to = name.ptr ? definition_step_find(l->d, name) : NULL;
		if (!to)
			return error_aws(err, "ValidationException",
					 BAD "Step '%s' depends on step '%.*s', which does not exist.", l->step->name,
					 STR_ARG(str_head(name, 128)));
		if (to == l->step)
			return error_aws(err, "ValidationException", BAD "Step '%s' depends on itself.", l->step->name);
		if (edge_add(l, to, err) < 0)
			return -1;
	}
	return 0;
}

static int members_link(struct linker *l, struct error *err)
{
	struct arena *a = &l->d->arena;
	const char *key;
	json_t *member;
	json_object_foreach (l->step->json, key, member) {
		if (strcmp(key, "Arguments") == 0 && l->step->type->branches)
			continue;
		if (expr_walk(a, member, visit, l, err) < 0)
			return -1;
	}
	if (!l->step->type->branches)
		return 0;
	size_t i;
	json_t *condition;
	json_array_foreach (json_get(l->step->arguments, "Conditions"), i, condition)
		if (expr_condition_check(a, condition, visit, l, err) < 0)
			return -1;
	return 0;
}

static int step_link(struct linker *l, struct error *err)
{
	struct definition_step *s = l->step;
	l->nedges = 0;
	if (s->parent >= 0 && edge_add(l, &l->d->steps[s->parent], err) < 0)
		return -1;
	if (depends_on_link(l, err) < 0 || members_link(l, err) < 0)
		return -1;
	s->ndeps = l->nedges;
	s->deps = ARENA_ARRAY(&l->d->arena, int, (size_t)l->nedges + 1);
	if (l->nedges)
		memcpy(s->deps, l->edges, (size_t)l->nedges * sizeof *s->deps);
	return 0;
}

static void dependents_link(struct definition *d)
{
	for (int i = 0; i < d->nsteps; i++)
		for (int k = 0; k < d->steps[i].ndeps; k++)
			d->steps[d->steps[i].deps[k]].ndependents++;
	for (int i = 0; i < d->nsteps; i++) {
		d->steps[i].dependents = ARENA_ARRAY(&d->arena, int, (size_t)d->steps[i].ndependents + 1);
		d->steps[i].ndependents = 0;
	}
	for (int i = 0; i < d->nsteps; i++) {
		for (int k = 0; k < d->steps[i].ndeps; k++) {
			struct definition_step *to = &d->steps[d->steps[i].deps[k]];
			to->dependents[to->ndependents++] = i;
		}
	}
}

/* Some step that is still waiting: follow waiting dependencies until one comes again. */
static int cycle_report(const struct definition *d, const int *waiting, int at, struct error *err)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	int *seen = mem_calloc((size_t)d->nsteps, sizeof *seen), order = 0, start;
	while (!seen[at]) {
		seen[at] = ++order;
		for (int k = 0; k < d->steps[at].ndeps; k++) {
			if (waiting[d->steps[at].deps[k]] > 0) {
				at = d->steps[at].deps[k];
				break;
			}
		}
	}
	start = at;
	do {
		buf_printf(&text, "%s -> ", d->steps[at].name);
		for (int k = 0; k < d->steps[at].ndeps; k++) {
			if (waiting[d->steps[at].deps[k]] > 0) {
				at = d->steps[at].deps[k];
				break;
			}
		}
	} while (at != start && text.len < 600);
	mem_cleanup_free(&seen);
	return error_aws(err, "ValidationException", BAD "The dependencies of its steps form a cycle: %s%s.", text.ptr,
			 at == start ? d->steps[start].name : "...");
}

static int cycle_check(const struct definition *d, struct error *err)
{
	if (d->nsteps == 0)
		return 0;
	CLEANUP_FREE int *waiting = mem_calloc((size_t)d->nsteps, sizeof *waiting);
	CLEANUP_FREE int *queue = mem_calloc((size_t)d->nsteps, sizeof *queue);
	int head = 0, tail = 0;
	for (int i = 0; i < d->nsteps; i++) {
		waiting[i] = d->steps[i].ndeps;
		if (waiting[i] == 0)
			queue[tail++] = i;
	}
	while (head < tail) {
		const struct definition_step *s = &d->steps[queue[head++]];
		for (int k = 0; k < s->ndependents; k++)
			if (--waiting[s->dependents[k]] == 0)
				queue[tail++] = s->dependents[k];
	}
	if (tail == d->nsteps)
		return 0;
	int at = 0;
	while (waiting[at] == 0)
		at++;
	return cycle_report(d, waiting, at, err);
}

int definition_link(struct definition *d, struct error *err)
{
	if (d->nsteps == 0)
		return d->experiment ? expr_walk(&d->arena, d->experiment, visit, &(struct linker){ .d = d }, err) : 0;
	CLEANUP_FREE int *stamp = mem_calloc((size_t)d->nsteps, sizeof *stamp);
	CLEANUP_FREE int *edges = mem_calloc((size_t)d->nsteps, sizeof *edges);
	struct linker l = { .d = d, .stamp = stamp, .edges = edges };
	if (d->experiment && expr_walk(&d->arena, d->experiment, visit, &l, err) < 0)
		return -1;
	for (int i = 0; i < d->nsteps; i++) {
		l.step = &d->steps[i];
		if (step_link(&l, err) < 0)
			return -1;
	}
	dependents_link(d);
	return cycle_check(d, err);
}
