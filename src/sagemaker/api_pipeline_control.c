/* api_pipeline_control.c - operations on a running or ended execution: stop, retry, update.
 *
 * DESIGN: commands change the execution's row and tell its actor by a message in the same transaction. An ended
 * execution has no actor; a retry makes a new one of the same id, which plans again what has not succeeded. */
#include "sagemaker/pipeline_run.h"

static int answer_arn(struct turn *t, const char *operation, const json_t *in, const char *arn, json_t **out,
		      struct error *err)
{
	*out = json_pack("{s:s}", "PipelineExecutionArn", arn);
	return pipeline_token_save(t, operation, in, *out, err);
}

int pipeline_stop(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct execution_row x;
	int rc = pipeline_token_find(t, c->operation, in, out, err);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	if (pipeline_execution_get(c->service_ctx, turn_db(t), turn_arena(t), json_get_text(in, "PipelineExecutionArn"),
				   &x, err) < 0)
		return -1;
	if (pipeline_execution_ended(x.status))
		return error_aws(err, "ValidationException",
				 "Pipeline execution with ARN %s status is %s. Only pipelines with \"Executing\" "
				 "status can be stopped.",
				 x.arn, x.status);
	rc = db_exec(turn_db(t), err,
		     "UPDATE pipeline_execution SET status='Stopping', modified_ms=?, modified_by=? WHERE id=?", "iss",
		     turn_now_ms(t), pipeline_caller(c), x.id);
	if (rc < 0)
		return -1;
	turn_send(t, pipeline_actor_id(turn_arena(t), x.id), json_pack("{s:s}", "type", "stop"));
	return answer_arn(t, c->operation, in, x.arn, out, err);
}

/* The highest start number so far: a retried execution counts on. */
static int64_t last_seq(struct db *db, const char *id, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT max(seq) FROM pipeline_step WHERE execution=? AND seq>0", "s", id);
	return rc < 0 ? -1 : rc == 0 ? 0 : rows_int(&rows, 0);
}

/* A step that only says "fail" would say so again: 1 there is one, 0, < 0. */
static int failed_by_fail_step(struct db *db, const char *id, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	return db_row(db, &rows, err,
		      "SELECT 1 FROM pipeline_step WHERE execution=? AND state=? AND metadata LIKE '{\"Fail\":%'", "si",
		      id, (int64_t)STEP_FAILED);
}

int pipeline_retry(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct execution_row x;
	struct db *db = turn_db(t);
	int rc = pipeline_token_find(t, c->operation, in, out, err);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	if (pipeline_execution_get(c->service_ctx, db, turn_arena(t), json_get_text(in, "PipelineExecutionArn"), &x,
				   err) < 0)
		return -1;
	if (strcmp(x.status, "Failed") != 0 && strcmp(x.status, "Stopped") != 0)
		return error_aws(err, "ValidationException",
				 "Pipeline execution with ARN %s status is %s. Only failed or stopped pipeline "
				 "executions can be retried.",
				 x.arn, x.status);
	rc = failed_by_fail_step(db, x.id, err);
	if (rc == 1)
		return error_aws(err, "ValidationException",
				 "Pipeline execution with ARN %s was failed by a Fail step and cannot be retried.",
				 x.arn);
	int64_t seq = rc < 0 ? -1 : last_seq(db, x.id, err), parallel = pipeline_get_parallel(in, x.parallel);
	if (seq < 0)
		return -1;
	rc = db_exec(db, err,
		     "UPDATE pipeline_execution SET status='Executing', reason=NULL, parallel=?, modified_ms=?, "
		     "modified_by=? WHERE id=?",
		     "iiss", parallel, turn_now_ms(t), pipeline_caller(c), x.id);
	json_t *state = json_pack("{s:s,s:I,s:I,s:b}", "execution", x.id, "parallel", (json_int_t)parallel, "seq",
				  (json_int_t)seq, "retry", 1);
	if (rc < 0 ||
	    turn_spawn(t, pipeline_execution_actor.name, pipeline_actor_id(turn_arena(t), x.id), state, err) < 0)
		return -1;
	return answer_arn(t, c->operation, in, x.arn, out, err);
}

int pipeline_update_execution(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct execution_row x;
	const char *display = json_get_text(in, "PipelineExecutionDisplayName"),
		   *text = json_get_text(in, "PipelineExecutionDescription");
	if (pipeline_execution_get(c->service_ctx, turn_db(t), turn_arena(t), json_get_text(in, "PipelineExecutionArn"),
				   &x, err) < 0)
		return -1;
	int64_t parallel = pipeline_get_parallel(in, x.parallel);
	int rc = db_exec(turn_db(t), err,
			 "UPDATE pipeline_execution SET display_name=?, description=?, parallel=?, modified_ms=?, "
			 "modified_by=? WHERE id=?",
			 "ssiiss", display ? display : x.display_name, text ? text : x.description, parallel,
			 turn_now_ms(t), pipeline_caller(c), x.id);
	if (rc < 0)
		return -1;
	if (parallel != x.parallel && !pipeline_execution_ended(x.status))
		turn_send(t, pipeline_actor_id(turn_arena(t), x.id),
			  json_pack("{s:s,s:I}", "type", "parallel", "parallel", (json_int_t)parallel));
	*out = json_pack("{s:s}", "PipelineExecutionArn", x.arn);
	return 0;
}
