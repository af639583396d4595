/* api_pipeline_query.c - operations that read pipelines and versions.
 *
 * DESIGN: they run on the http threads from a snapshot and touch no parsed definition. Lists are paged by key
 * (pipeline_page.c). */
#include "sagemaker/pipeline.h"

#include "base/buf.h"

int pipeline_describe(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct sagemaker *s = c->service_ctx;
	struct pipeline_row p;
	struct version_row v;
	if (pipeline_get(s, db, c->arena, json_get_text(in, "PipelineName"), &p, err) < 0 ||
	    pipeline_version_of(db, c->arena, &p, in, &v, err) < 0)
		return -1;
	struct str text = pipeline_definition_text(db, c->arena, v.digest, err);
	if (!text.ptr)
		return -1;
	json_t *o = *out = json_object();
	json_set_text(o, "PipelineArn", p.arn);
	json_set_text(o, "PipelineName", p.name);
	json_set_text(o, "PipelineDisplayName", p.display_name ? p.display_name : p.name);
	json_object_set_new(o, "PipelineDefinition", json_stringn(text.ptr, text.len));
	json_set_text(o, "PipelineDescription", p.description);
	json_set_text(o, "RoleArn", p.role);
	json_set_text(o, "PipelineStatus", "Active");
	pipeline_set_time(o, "CreationTime", p.created_ms);
	pipeline_set_time(o, "LastModifiedTime", p.modified_ms);
	pipeline_set_time(o, "LastRunTime", p.run_ms);
	pipeline_set_parsed(o, "CreatedBy", p.created_by);
	pipeline_set_parsed(o, "LastModifiedBy", p.modified_by);
	pipeline_set_parallel(o, p.parallel);
	json_set_text(o, "PipelineVersionDisplayName", v.display_name);
	json_set_text(o, "PipelineVersionDescription", v.description);
	json_t *aliases = pipeline_version_aliases(db, p.key, v.version, err);
	if (aliases)
		json_object_set_new(o, "PipelineVersionAliases", aliases);
	return 0;
}

static json_t *summary(struct sagemaker *s, struct arena *a, struct rows *rows)
{
	json_t *o = json_object();
	const char *name = pipeline_row_text(rows, 1, a), *display = pipeline_row_text(rows, 2, a);
	json_set_text(o, "PipelineArn", sagemaker_arn(s, a, "pipeline", name));
	json_set_text(o, "PipelineName", name);
	json_set_text(o, "PipelineDisplayName", display ? display : name);
	json_set_text(o, "PipelineDescription", pipeline_row_text(rows, 3, a));
	json_set_text(o, "RoleArn", pipeline_row_text(rows, 4, a));
	pipeline_set_time(o, "CreationTime", rows_int(rows, 5));
	pipeline_set_time(o, "LastModifiedTime", rows_int(rows, 6));
	pipeline_set_time(o, "LastExecutionTime", rows_int(rows, 7));
	return o;
}

int pipeline_list(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct page page;
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_BUF struct buf sql = BUF_INIT;
	const char *sort = json_get_text(in, "SortBy"), *prefix = json_get_text(in, "PipelineNamePrefix");
	const char *managed = json_get_text(in, "ManagedBy");
	bool by_name = sort && strcmp(sort, "Name") == 0;
	if (pipeline_page_read(c->arena, in, by_name ? 'n' : 'p', &page, err) < 0)
		return -1;
	/* one statement text for each sort and direction; all filters are always bound */
	const char *than = page.ascending ? ">" : "<", *direction = page.ascending ? "ASC" : "DESC";
	buf_addz(&sql,
		 "SELECT key, name, display_name, description, role, created_ms, modified_ms, run_ms FROM pipeline"
		 " WHERE substr(key, 1, length(?))=lower(?) AND created_ms>? AND created_ms<?");
	if (by_name)
		buf_printf(&sql, " AND (?=0 OR (?<0 OR key%s?)) ORDER BY key %s LIMIT ?", than, direction);
	else
		buf_printf(&sql, " AND (?=0 OR (created_ms, key)%s(?, ?)) ORDER BY created_ms %s, key %s LIMIT ?", than,
			   direction, direction);
	if (db_query(db, &rows, err, sql.ptr, "ssiiiisi", prefix ? prefix : "", prefix ? prefix : "",
		     pipeline_get_time(in, "CreatedAfter", INT64_MIN),
		     pipeline_get_time(in, "CreatedBefore", INT64_MAX), (int64_t)page.started,
		     by_name ? (int64_t)0 : page.number, page.text, page.limit + 1) < 0)
		return -1;
	json_t *list = json_array();
	*out = json_pack("{s:o}", "PipelineSummaries", list);
	const char *last_key = "";
	int64_t last_ms = 0;
	int rc = 0;
	bool none = managed && strcmp(managed, "AWS") == 0; /* all pipelines here are their owner's */
	while (!none && (rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(list) == page.limit) {
			pipeline_page_next(&page, c->arena, *out, last_ms, last_key);
			break;
		}
		last_key = pipeline_row_text(&rows, 0, c->arena);
		last_ms = rows_int(&rows, 5);
		json_array_append_new(list, summary(c->service_ctx, c->arena, &rows));
	}
	return rc < 0 ? -1 : 0;
}

int pipeline_list_versions(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct pipeline_row p;
	struct page page;
	CLEANUP_ROWS struct rows rows = { 0 };
	if (pipeline_get(c->service_ctx, db, c->arena, json_get_text(in, "PipelineName"), &p, err) < 0 ||
	    pipeline_page_read(c->arena, in, 'v', &page, err) < 0)
		return -1;
	int64_t from = page.started ? page.number : page.ascending ? 0 : INT64_MAX;
	const char *sql =
		page.ascending
			? "SELECT version, created_ms, display_name, description, last_execution FROM pipeline_version"
			  " WHERE key=? AND version>? AND created_ms>? AND created_ms<? ORDER BY version LIMIT ?"
			: "SELECT version, created_ms, display_name, description, last_execution FROM pipeline_version"
			  " WHERE key=? AND version<? AND created_ms>? AND created_ms<? ORDER BY version DESC LIMIT ?";
	if (db_query(db, &rows, err, sql, "siiii", p.key, from, pipeline_get_time(in, "CreatedAfter", INT64_MIN),
		     pipeline_get_time(in, "CreatedBefore", INT64_MAX), page.limit + 1) < 0)
		return -1;
	json_t *list = json_array();
	*out = json_pack("{s:o}", "PipelineVersionSummaries", list);
	int64_t last = 0;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(list) == page.limit) {
			pipeline_page_next(&page, c->arena, *out, last, "");
			break;
		}
		json_t *o = json_object();
		last = rows_int(&rows, 0);
		json_array_append_new(list, o);
		json_set_text(o, "PipelineArn", p.arn);
		json_set_int(o, "PipelineVersionId", last);
		pipeline_set_time(o, "CreationTime", rows_int(&rows, 1));
		json_set_text(o, "PipelineVersionDisplayName", pipeline_row_text(&rows, 2, c->arena));
		json_set_text(o, "PipelineVersionDescription", pipeline_row_text(&rows, 3, c->arena));
		json_set_text(o, "LastExecutionPipelineExecutionArn", pipeline_row_text(&rows, 4, c->arena));
		json_t *aliases = pipeline_version_aliases(db, p.key, last, err);
		if (aliases)
			json_object_set_new(o, "PipelineVersionAliases", aliases);
	}
	return rc < 0 ? -1 : 0;
}

int pipeline_describe_definition(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct execution_row x;
	struct version_row v;
	if (pipeline_execution_get(c->service_ctx, db, c->arena, json_get_text(in, "PipelineExecutionArn"), &x, err) <
	    0)
		return -1;
	int rc = pipeline_version_find(db, c->arena, x.key, x.version, &v, err);
	struct str text = rc < 0 ? STR_NULL : pipeline_definition_text(db, c->arena, x.digest, err);
	if (!text.ptr)
		return -1;
	*out = json_pack("{s:s%}", "PipelineDefinition", text.ptr, text.len);
	pipeline_set_time(*out, "CreationTime", rc == 1 ? v.created_ms : x.created_ms);
	return 0;
}
