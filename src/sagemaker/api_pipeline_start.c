/* api_pipeline_start.c - StartPipelineExecution.
 *
 * DESIGN: a command: everything that may be wrong with the request is found here and nothing is written then. The
 * execution's row keeps the digest of its definition, so later versions do not touch it, and the typed parameters with
 * defaults filled in. The actor makes the rows of the steps in its first turn. */
#include "sagemaker/pipeline_run.h"
#include "sagemaker/pipeline_select.h"

/* The PipelineExperimentConfig with its expressions resolved, as JSON text; *out NULL when there is none. */
static int experiment_resolve(struct run *r, const char **out, struct error *err)
{
	*out = NULL;
	if (!r->def->experiment)
		return 0;
	CLEANUP_JSON json_t *config = run_eval(r, r->def->experiment, err);
	if (!config)
		return -1;
	*out = json_text(r->a, config).ptr;
	return 0;
}

static int execution_insert(struct run *r, const char *who, struct error *err)
{
	const struct execution_row *x = &r->x;
	int rc = db_exec(r->db, err,
			 "INSERT INTO pipeline_execution(id, key, pipeline, version, digest, role, display_name, "
			 "description, status, created_ms,"
			 " modified_ms, parallel, selective, experiment, parameters, created_by, modified_by)"
			 " VALUES(?, ?, ?, ?, ?, ?, ?, ?, 'Executing', ?, ?, ?, ?, ?, ?, ?, ?)",
			 "sssissssiiisssss", x->id, x->key, x->pipeline, x->version, x->digest, x->role,
			 x->display_name, x->description, x->created_ms, x->created_ms, x->parallel, x->selective,
			 x->experiment, x->parameters, who, who);
	if (rc < 0)
		return -1;
	if (db_exec(r->db, err, "UPDATE pipeline SET run_ms=? WHERE key=?", "is", x->created_ms, x->key) < 0)
		return -1;
	rc = db_exec(r->db, err, "UPDATE pipeline_version SET last_execution=? WHERE key=? AND version=?", "ssi",
		     x->arn, x->key, x->version);
	return rc < 0 ? -1 : 0;
}

static int refuse_unsupported(const json_t *in, struct error *err)
{
	if (json_get(in, "MlflowExperimentName"))
		return error_aws(err, "ValidationException", "MlflowExperimentName is not supported yet.");
	return 0;
}

static void execution_fill(struct run *r, const struct pipeline_row *p, const struct version_row *v, const json_t *in)
{
	struct execution_row *x = &r->x;
	const char *display = json_get_text(in, "PipelineExecutionDisplayName"), *role = json_get_text(in, "RoleArn");
	const json_t *selective = json_get(in, "SelectiveExecutionConfig");
	*x = (struct execution_row){
		.id = turn_id(r->t, 12),
		.key = p->key,
		.pipeline = p->name,
		.pipeline_arn = p->arn,
		.digest = v->digest,
		.version = v->version,
		.role = role ? role : p->role,
		.description = json_get_text(in, "PipelineExecutionDescription"),
		.created_ms = turn_now_ms(r->t),
		.parallel = pipeline_get_parallel(in, p->parallel),
		.selective = selective ? json_text(r->a, selective).ptr : NULL,
	};
	x->arn = pipeline_execution_arn(r->s, r->a, x->pipeline, x->id);
	x->display_name = display ? display : arena_printf(r->a, "execution-%lld", (long long)x->created_ms);
}

static int start(struct run *r, struct call *c, const json_t *in, struct error *err)
{
	struct pipeline_row p;
	struct version_row v;
	if (refuse_unsupported(in, err) < 0 ||
	    pipeline_get(r->s, r->db, r->a, json_get_text(in, "PipelineName"), &p, err) < 0)
		return -1;
	if (pipeline_version_of(r->db, r->a, &p, in, &v, err) < 0)
		return -1;
	r->def = pipeline_definition_cached(r->s, r->db, v.digest, err);
	if (!r->def)
		return -1;
	r->parameters = definition_bind(r->def, json_get(in, "PipelineParameters"), err);
	if (!r->parameters)
		return -1;
	const json_t *selective = json_get(in, "SelectiveExecutionConfig");
	if (selective && pipeline_selection_check(r->s, r->db, r->a, &p, r->def, selective, err) < 0)
		return -1;
	execution_fill(r, &p, &v, in);
	r->x.parameters = json_text(r->a, r->parameters).ptr;
	if (experiment_resolve(r, &r->x.experiment, err) < 0 || execution_insert(r, pipeline_caller(c), err) < 0)
		return -1;
	json_t *state = json_pack("{s:s,s:I}", "execution", r->x.id, "parallel", (json_int_t)r->x.parallel);
	return turn_spawn(r->t, pipeline_execution_actor.name, pipeline_actor_id(r->a, r->x.id), state, err);
}

int pipeline_start(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	int rc = pipeline_token_find(t, c->operation, in, out, err);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	struct run r = { .s = c->service_ctx, .t = t, .db = turn_db(t), .a = turn_arena(t) };
	rc = start(&r, c, in, err);
	run_release(&r);
	if (rc < 0)
		return -1;
	*out = json_pack("{s:s}", "PipelineExecutionArn", r.x.arn);
	return pipeline_token_save(t, c->operation, in, *out, err);
}
