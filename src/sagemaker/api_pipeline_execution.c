/* api_pipeline_execution.c - operations that read executions, their steps and parameters.
 *
 * DESIGN: they run on the http threads from a snapshot. A step is listed once it has started; there is no status for
 * one that waits, as on SageMaker. The order of steps is the order of starting, newest first unless asked otherwise,
 * because starting times can be equal. */
#include "sagemaker/pipeline_run.h"

int pipeline_describe_execution(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct execution_row x;
	if (pipeline_execution_get(c->service_ctx, db, c->arena, json_get_text(in, "PipelineExecutionArn"), &x, err) <
	    0)
		return -1;
	json_t *o = *out = json_object();
	json_set_text(o, "PipelineArn", x.pipeline_arn);
	json_set_text(o, "PipelineExecutionArn", x.arn);
	json_set_text(o, "PipelineExecutionDisplayName", x.display_name);
	json_set_text(o, "PipelineExecutionStatus", x.status);
	json_set_text(o, "PipelineExecutionDescription", x.description);
	pipeline_set_parsed(o, "PipelineExperimentConfig", x.experiment);
	json_set_text(o, "FailureReason", x.reason);
	pipeline_set_time(o, "CreationTime", x.created_ms);
	pipeline_set_time(o, "LastModifiedTime", x.modified_ms);
	pipeline_set_parsed(o, "CreatedBy", x.created_by);
	pipeline_set_parsed(o, "LastModifiedBy", x.modified_by);
	pipeline_set_parallel(o, x.parallel);
	pipeline_set_parsed(o, "SelectiveExecutionConfig", x.selective);
	json_set_int(o, "PipelineVersionId", x.version);
	json_set_text(o, "RoleArn", x.role);
	json_t *aliases = pipeline_version_aliases(db, x.key, x.version, err);
	if (aliases)
		json_object_set_new(o, "PipelineVersionAliases", aliases);
	return 0;
}

static const char *const executions_sql[2][2] = {
	/* by time: descending, ascending */
	{ "SELECT id, created_ms, status, description, display_name, reason, version FROM pipeline_execution WHERE "
	  "key=? AND (?=0 OR version=?)"
	  " AND created_ms>? AND created_ms<? AND (?=0 OR (created_ms, id)<(?, ?)) ORDER BY created_ms DESC, id DESC "
	  "LIMIT ?",
	  "SELECT id, created_ms, status, description, display_name, reason, version FROM pipeline_execution WHERE "
	  "key=? AND (?=0 OR version=?)"
	  " AND created_ms>? AND created_ms<? AND (?=0 OR (created_ms, id)>(?, ?)) ORDER BY created_ms, id LIMIT ?" },
	/* by ARN; the ARNs of one pipeline differ in the id */
	{ "SELECT id, created_ms, status, description, display_name, reason, version FROM pipeline_execution WHERE "
	  "key=? AND (?=0 OR version=?)"
	  " AND created_ms>? AND created_ms<? AND (?=0 OR (0, id)<(?, ?)) ORDER BY id DESC LIMIT ?",
	  "SELECT id, created_ms, status, description, display_name, reason, version FROM pipeline_execution WHERE "
	  "key=? AND (?=0 OR version=?)"
	  " AND created_ms>? AND created_ms<? AND (?=0 OR (0, id)>(?, ?)) ORDER BY id LIMIT ?" },
};

static json_t *execution_summary(struct call *c, const struct pipeline_row *p, struct rows *rows)
{
	json_t *o = json_object();
	json_set_text(o, "PipelineExecutionArn",
		      pipeline_execution_arn(c->service_ctx, c->arena, p->name, pipeline_row_text(rows, 0, c->arena)));
	pipeline_set_time(o, "StartTime", rows_int(rows, 1));
	json_set_text(o, "PipelineExecutionStatus", pipeline_row_text(rows, 2, c->arena));
	json_set_text(o, "PipelineExecutionDescription", pipeline_row_text(rows, 3, c->arena));
	json_set_text(o, "PipelineExecutionDisplayName", pipeline_row_text(rows, 4, c->arena));
	json_set_text(o, "PipelineExecutionFailureReason", pipeline_row_text(rows, 5, c->arena));
	return o;
}

int pipeline_list_executions(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct pipeline_row p;
	struct version_row v = { 0 };
	struct page page;
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *sort = json_get_text(in, "SortBy");
	bool by_arn = sort && strcmp(sort, "PipelineExecutionArn") == 0;
	if (pipeline_get(c->service_ctx, db, c->arena, json_get_text(in, "PipelineName"), &p, err) < 0 ||
	    pipeline_page_read(c->arena, in, by_arn ? 'a' : 'e', &page, err) < 0)
		return -1;
	if (json_get(in, "PipelineVersionAlias") && pipeline_version_of(db, c->arena, &p, in, &v, err) < 0)
		return -1;
	if (db_query(db, &rows, err, executions_sql[by_arn][page.ascending], "siiiiiisi", p.key, v.version, v.version,
		     pipeline_get_time(in, "CreatedAfter", INT64_MIN),
		     pipeline_get_time(in, "CreatedBefore", INT64_MAX), (int64_t)page.started,
		     by_arn ? (int64_t)0 : page.number, page.text, page.limit + 1) < 0)
		return -1;
	json_t *list = json_array();
	*out = json_pack("{s:o}", "PipelineExecutionSummaries", list);
	const char *last_id = "";
	int64_t last_ms = 0;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(list) == page.limit) {
			pipeline_page_next(&page, c->arena, *out, last_ms, last_id);
			break;
		}
		last_id = pipeline_row_text(&rows, 0, c->arena);
		last_ms = rows_int(&rows, 1);
		json_t *o = execution_summary(c, &p, &rows);
		json_t *aliases = pipeline_version_aliases(db, p.key, rows_int(&rows, 6), err);
		if (aliases)
			json_object_set_new(o, "PipelineVersionAliases", aliases);
		json_array_append_new(list, o);
	}
	return rc < 0 ? -1 : 0;
}

static const char *step_status(enum step_state state)
{
	switch (state) {
	case STEP_READING:
	case STEP_BACKOFF:
		return "Starting";
	case STEP_RUNNING:
		return "Executing";
	case STEP_STOPPING:
		return "Stopping";
	case STEP_SUCCEEDED:
		return "Succeeded";
	case STEP_FAILED:
		return "Failed";
	case STEP_STOPPED:
		return "Stopped";
	default:
		return NULL;
	}
}

static json_t *step_summary(struct arena *a, struct rows *rows)
{
	json_t *o = json_object();
	const char *cache = pipeline_row_text(rows, 10, a), *selective = pipeline_row_text(rows, 11, a);
	json_set_text(o, "StepName", pipeline_row_text(rows, 1, a));
	json_set_text(o, "StepDisplayName", pipeline_row_text(rows, 2, a));
	json_set_text(o, "StepDescription", pipeline_row_text(rows, 3, a));
	pipeline_set_time(o, "StartTime", rows_int(rows, 4));
	pipeline_set_time(o, "EndTime", rows_int(rows, 5));
	json_set_text(o, "StepStatus", step_status((enum step_state)rows_int(rows, 6)));
	if (cache)
		json_object_set_new(o, "CacheHitResult", json_pack("{s:s}", "SourcePipelineExecutionArn", cache));
	json_set_text(o, "FailureReason", pipeline_row_text(rows, 7, a));
	pipeline_set_parsed(o, "Metadata", pipeline_row_text(rows, 8, a));
	if (!json_object_get(o, "Metadata"))
		json_object_set_new(o, "Metadata", json_object());
	json_set_int(o, "AttemptCount", rows_int(rows, 9));
	if (selective)
		json_object_set_new(o, "SelectiveExecutionResult",
				    json_pack("{s:s}", "SourcePipelineExecutionArn", selective));
	return o;
}

#define STEP_LIST                                                                                                      \
	"SELECT seq, name, display_name, description, start_ms, end_ms, state, reason, metadata, attempts, "           \
	"cache_source, selective_source"                                                                               \
	" FROM pipeline_step WHERE execution=? AND seq>0 AND "

int pipeline_list_steps(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct execution_row x;
	struct page page;
	CLEANUP_ROWS struct rows rows = { 0 };
	if (pipeline_execution_get(c->service_ctx, db, c->arena, json_get_text(in, "PipelineExecutionArn"), &x, err) <
		    0 ||
	    pipeline_page_read(c->arena, in, 's', &page, err) < 0)
		return -1;
	int64_t from = page.started ? page.number : page.ascending ? 0 : INT64_MAX;
	if (db_query(db, &rows, err,
		     page.ascending ? STEP_LIST "seq>? ORDER BY seq LIMIT ?"
				    : STEP_LIST "seq<? ORDER BY seq DESC LIMIT ?",
		     "sii", x.id, from, page.limit + 1) < 0)
		return -1;
	json_t *list = json_array();
	*out = json_pack("{s:o}", "PipelineExecutionSteps", list);
	int64_t last = 0;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(list) == page.limit) {
			pipeline_page_next(&page, c->arena, *out, last, "");
			break;
		}
		last = rows_int(&rows, 0);
		json_array_append_new(list, step_summary(c->arena, &rows));
	}
	return rc < 0 ? -1 : 0;
}

int pipeline_list_parameters(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct execution_row x;
	struct page page;
	if (pipeline_execution_get(c->service_ctx, db, c->arena, json_get_text(in, "PipelineExecutionArn"), &x, err) <
		    0 ||
	    pipeline_page_read(c->arena, in, 'r', &page, err) < 0)
		return -1;
	CLEANUP_JSON json_t *parameters = json_parse(str_from(x.parameters), err);
	if (!parameters)
		return -1;
	json_t *list = json_array();
	*out = json_pack("{s:o}", "PipelineParameters", list);
	const char *name;
	json_t *value;
	int64_t i = 0;
	json_object_foreach (parameters, name, value) {
		if (i++ < page.number)
			continue;
		if ((int64_t)json_array_size(list) == page.limit) {
			pipeline_page_next(&page, c->arena, *out, i - 1, "");
			break;
		}
		struct str text = expr_text(c->arena, value);
		json_array_append_new(list, json_pack("{s:s,s:s%}", "Name", name, "Value", text.ptr, text.len));
	}
	return 0;
}
