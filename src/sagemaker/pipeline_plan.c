/* pipeline_plan.c - which steps of an execution are to run: at its start, in a selective execution, and when it is
 * retried.
 *
 * DESIGN: computed in memory from the definition and what has already succeeded, then written as rows: `waiting` counts
 * and SKIPPED marks. Selective execution takes the results of the steps above the selected ones from the rows of the
 * source execution, by name, since the source may have run another version; they count as succeeded here and are listed
 * with their source. */
#include "sagemaker/pipeline_select.h"

struct plan {
	struct run *r;
	int n;
	bool *done;    /* has succeeded */
	bool *outcome; /* of a Condition step that has */
	bool *skip;
};

static bool outcome_of(const char *metadata)
{
	return metadata && strstr(metadata, "\"True\"") != NULL;
}

/* Marks everything that follows a skipped step. */
static void skip_spread(struct plan *p)
{
	const struct definition *d = p->r->def;
	CLEANUP_FREE int *stack = mem_calloc((size_t)p->n + 1, sizeof *stack);
	CLEANUP_FREE bool *seen = mem_calloc((size_t)p->n + 1, sizeof *seen);
	int count = 0;
	for (int i = 0; i < p->n; i++) {
		if (p->skip[i]) {
			seen[i] = true;
			stack[count++] = i;
		}
	}
	while (count > 0) {
		const struct definition_step *s = &d->steps[stack[--count]];
		for (int k = 0; k < s->ndependents; k++) {
			int i = s->dependents[k];
			if (seen[i] || p->done[i])
				continue;
			seen[i] = p->skip[i] = true;
			stack[count++] = i;
		}
	}
}

static void branches_skip(struct plan *p)
{
	const struct definition *d = p->r->def;
	for (int i = 0; i < p->n; i++) {
		int parent = d->steps[i].parent;
		if (parent >= 0 && p->done[parent] && !p->done[i] && d->steps[i].else_branch == p->outcome[parent])
			p->skip[i] = true;
	}
}

static int waiting_of(const struct plan *p, int index)
{
	const struct definition_step *s = &p->r->def->steps[index];
	int n = 0;
	for (int k = 0; k < s->ndeps; k++)
		n += !p->done[s->deps[k]];
	return n;
}

static enum step_state state_of(const struct plan *p, int index, int waiting)
{
	if (p->skip[index])
		return STEP_SKIPPED;
	return waiting ? STEP_WAITING : STEP_READY;
}

static int rows_insert(struct plan *p, struct error *err)
{
	struct run *r = p->r;
	for (int i = 0; i < p->n; i++) {
		if (p->done[i])
			continue; /* copied from the source */
		int waiting = waiting_of(p, i);
		int rc = db_exec(r->db, err,
				 "INSERT INTO pipeline_step(execution, step, name, state, waiting, seq, attempts, "
				 "start_ms, end_ms)"
				 " VALUES(?, ?, ?, ?, ?, 0, 0, 0, 0)",
				 "sisii", r->x.id, (int64_t)i, r->def->steps[i].name, (int64_t)state_of(p, i, waiting),
				 (int64_t)waiting);
		if (rc < 0)
			return -1;
	}
	return 0;
}

static int rows_reset(struct plan *p, struct error *err)
{
	struct run *r = p->r;
	for (int i = 0; i < p->n; i++) {
		if (p->done[i])
			continue;
		int waiting = waiting_of(p, i);
		int rc = db_exec(r->db, err,
				 "UPDATE pipeline_step SET state=?, waiting=?, seq=0, attempts=0, start_ms=0, "
				 "end_ms=0, reason=NULL,"
				 " metadata=NULL, job=NULL, retries=NULL, cache_key=NULL, cache_source=NULL WHERE "
				 "execution=? AND step=?",
				 "iisi", (int64_t)state_of(p, i, waiting), (int64_t)waiting, r->x.id, (int64_t)i);
		if (rc < 0)
			return -1;
	}
	return 0;
}

/* What has succeeded in this execution before. */
static int done_load(struct plan *p, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc;
	if (db_query(p->r->db, &rows, err, "SELECT step, metadata FROM pipeline_step WHERE execution=? AND state=?",
		     "si", p->r->x.id, (int64_t)STEP_SUCCEEDED) < 0)
		return -1;
	while ((rc = rows_next(&rows, err)) > 0) {
		int64_t i = rows_int(&rows, 0);
		if (i < p->n) {
			p->done[i] = true;
			p->outcome[i] = outcome_of(pipeline_row_text(&rows, 1, p->r->a));
		}
	}
	return rc;
}

/* ---- selective execution ---- */

struct source {
	const char *metadata, *job;
	int64_t start_ms, end_ms;
};

static int source_load(struct run *r, const char *id, struct map *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc;
	if (db_query(r->db, &rows, err,
		     "SELECT name, metadata, job, start_ms, end_ms FROM pipeline_step WHERE execution=? AND state=?",
		     "si", id, (int64_t)STEP_SUCCEEDED) < 0)
		return -1;
	while ((rc = rows_next(&rows, err)) > 0) {
		struct source *s = ARENA_NEW(r->a, struct source);
		*s = (struct source){ pipeline_row_text(&rows, 1, r->a), pipeline_row_text(&rows, 2, r->a),
				      rows_int(&rows, 3), rows_int(&rows, 4) };
		map_set(out, rows_str(&rows, 0), s);
	}
	return rc;
}

static int source_copy(struct plan *p, int i, const struct source *src, const char *arn, struct error *err)
{
	struct run *r = p->r;
	int64_t seq = json_get_int(r->state, "seq", 0) + 1;
	const struct definition_step *step = &r->def->steps[i];
	json_set_int(r->state, "seq", seq);
	p->done[i] = true;
	p->outcome[i] = outcome_of(src->metadata);
	int rc = db_exec(
		r->db, err,
		"INSERT INTO pipeline_step(execution, step, name, state, waiting, seq, attempts, start_ms, end_ms, "
		"display_name,"
		" description, metadata, job, selective_source) VALUES(?, ?, ?, ?, 0, ?, 0, ?, ?, ?, ?, ?, ?, ?)",
		"sisiiiisssss", r->x.id, (int64_t)i, step->name, (int64_t)STEP_SUCCEEDED, seq, src->start_ms,
		src->end_ms, json_get_text(step->json, "DisplayName"), json_get_text(step->json, "Description"),
		src->metadata, src->job, arn);
	return rc < 0 ? -1 : 0;
}

static int selection_apply(struct plan *p, struct error *err)
{
	struct run *r = p->r;
	CLEANUP_JSON json_t *config = json_parse(str_from(r->x.selective), err);
	CLEANUP_FREE enum selection *marks = mem_calloc((size_t)p->n + 1, sizeof *marks);
	if (!config || pipeline_selection_mark(r->def, config, marks, err) < 0)
		return -1;
	const char *arn = json_get_text(config, "SourcePipelineExecutionArn");
	const char *id = arn ? strstr(arn, "/execution/") : NULL;
	struct map sources = MAP_INIT;
	int rc = id ? source_load(r, id + strlen("/execution/"), &sources, err) : 0;
	for (int i = 0; rc == 0 && i < p->n; i++) {
		const struct source *src =
			marks[i] == SELECTION_ABOVE ? map_get(&sources, str_from(r->def->steps[i].name)) : NULL;
		if (src)
			rc = source_copy(p, i, src, arn, err);
		else
			p->skip[i] = marks[i] != SELECTION_CHOSEN;
	}
	map_release(&sources);
	return rc;
}

int steps_plan(struct run *r, bool fresh, struct error *err)
{
	size_t n = (size_t)r->def->nsteps;
	CLEANUP_FREE bool *done = mem_calloc(n + 1, 1), *outcome = mem_calloc(n + 1, 1), *skip = mem_calloc(n + 1, 1);
	struct plan p = { r, r->def->nsteps, done, outcome, skip };
	if (!fresh && done_load(&p, err) < 0)
		return -1;
	if (fresh && r->x.selective && selection_apply(&p, err) < 0)
		return -1;
	if (!fresh && r->x.selective) {
		/* what was not selected stays out */
		CLEANUP_JSON json_t *config = json_parse(str_from(r->x.selective), err);
		CLEANUP_FREE enum selection *marks = mem_calloc(n + 1, sizeof *marks);
		if (!config || pipeline_selection_mark(r->def, config, marks, err) < 0)
			return -1;
		for (int i = 0; i < p.n; i++)
			skip[i] = !done[i] && marks[i] != SELECTION_CHOSEN;
	}
	branches_skip(&p);
	skip_spread(&p);
	return fresh ? rows_insert(&p, err) : rows_reset(&p, err);
}
