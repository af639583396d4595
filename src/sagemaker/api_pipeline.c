/* api_pipeline.c - operations that write pipelines: create, update, delete, versions; and the table of all pipeline
 * operations.
 *
 * DESIGN: CreatePipeline and UpdatePipeline are asynchronous handlers: the http thread reads the definition (inline or
 * from S3) and checks it, then a command writes the rows. So the core thread neither reads a file nor parses a megabyte
 * for a write. The text is stored as it came. Every UpdatePipeline makes a version, whether or not the definition
 * changed. */
#include "sagemaker/pipeline_run.h"

/* One Create or Update under way. In the call's arena. */
struct write {
	struct call *c;
	struct sagemaker *s;
	json_t *in;      /* owned */
	struct str text; /* ptr NULL: no new definition */
	const char *digest;
	struct definition *def; /* owned: the text as parsed here, for the core thread to keep */
	json_t *out;            /* owned */
};

/* ---- the definition's text ---- */

static int text_from_s3(struct write *w, const json_t *location, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct store *store = engine_store(w->c->engine);
	struct str bucket = json_get_str(location, "Bucket"), key = json_get_str(location, "ObjectKey");
	if (json_get(location, "VersionId"))
		return error_aws(err, "ValidationException",
				 "PipelineDefinitionS3Location.VersionId is not supported yet.");
	struct db *db = store_read_begin(store, err);
	if (!db)
		return -1;
	int rc = s3_read(w->s->o.s3, db, bucket, key, DEFINITION_MAX_BYTES, w->c->arena, &w->text, &why);
	store_read_end(store, db);
	if (rc == 0)
		return 0;
	if (!why.code[0])
		return error_move(err, &why);
	return error_aws(err, "ValidationException",
			 "Unable to read the pipeline definition from s3://%.*s/%.*s: %s: %s", STR_ARG(bucket),
			 STR_ARG(key), why.code, error_text(&why));
}

static int text_get(struct write *w, bool required, struct error *err)
{
	const json_t *location = json_get(w->in, "PipelineDefinitionS3Location");
	w->text = json_get_str(w->in, "PipelineDefinition");
	if (location && w->text.ptr)
		return error_aws(err, "ValidationException",
				 "Give either PipelineDefinition or PipelineDefinitionS3Location, not both.");
	if (location && text_from_s3(w, location, err) < 0)
		return -1;
	if (!w->text.ptr && required)
		return error_aws(err, "ValidationException",
				 "Either PipelineDefinition or PipelineDefinitionS3Location must be given.");
	if (!w->text.ptr)
		return 0;
	if (definition_parse(w->text, &w->def, err) < 0)
		return -1;
	w->digest = pipeline_definition_digest(w->c->arena, w->text);
	return 0;
}

/* ---- rows ---- */

static int alias_set(struct db *db, const char *key, int64_t version, const json_t *list, struct error *err)
{
	size_t i;
	json_t *alias;
	json_array_foreach (list, i, alias)
		if (db_exec(db, err,
			    "INSERT INTO pipeline_alias(key, alias, version) VALUES(?, ?, ?) ON "
			    "CONFLICT(key, alias) DO UPDATE SET version=excluded.version",
			    "ssi", key, json_string_value(alias), version) < 0)
			return -1;
	CLEANUP_JSON json_t *all = pipeline_version_aliases(db, key, version, err);
	if (json_array_size(all) > 10)
		return error_aws(err, "ValidationException", "A pipeline version has at most 10 aliases.");
	return 0;
}

static int version_add(struct write *w, struct turn *t, const char *key, int64_t version, const char *digest,
		       struct error *err)
{
	if (db_exec(turn_db(t), err,
		    "INSERT INTO pipeline_version(key, version, digest, created_ms) VALUES(?, ?, ?, ?)", "sisi", key,
		    version, digest, turn_now_ms(t)) < 0)
		return -1;
	return alias_set(turn_db(t), key, version, json_get(w->in, "PipelineVersionAliases"), err);
}

static int definition_put(struct write *w, struct turn *t, struct error *err)
{
	if (!w->digest)
		return 0;
	if (pipeline_definition_save(turn_db(t), w->digest, w->text, err) < 0)
		return -1;
	pipeline_definition_keep(w->s, w->digest, w->def);
	w->def = NULL;
	return 0;
}

static int create_rows(struct write *w, struct turn *t, struct error *err)
{
	struct db *db = turn_db(t);
	struct arena *a = turn_arena(t);
	struct pipeline_row have;
	const char *name = json_get_text(w->in, "PipelineName"), *who = pipeline_caller(w->c);
	int rc = pipeline_find(w->s, db, a, name, &have, err);
	if (rc == 1)
		return error_aws(err, "ValidationException",
				 "Pipeline names must be unique within an AWS account and region. Pipeline with name "
				 "(%s) already exists.",
				 name);
	if (rc < 0 || definition_put(w, t, err) < 0)
		return -1;
	int64_t now = turn_now_ms(t);
	rc = db_exec(db, err,
		     "INSERT INTO pipeline(key, name, display_name, description, role, parallel, version, created_ms, "
		     "modified_ms, run_ms,"
		     " created_by, modified_by) VALUES(lower(?), ?, ?, ?, ?, ?, 1, ?, ?, 0, ?, ?)",
		     "sssssiiiss", name, name, json_get_text(w->in, "PipelineDisplayName"),
		     json_get_text(w->in, "PipelineDescription"), json_get_text(w->in, "RoleArn"),
		     pipeline_get_parallel(w->in, 0), now, now, who, who);
	if (rc < 0 || pipeline_find(w->s, db, a, name, &have, err) < 0)
		return -1;
	if (version_add(w, t, have.key, 1, w->digest, err) < 0)
		return -1;
	if (job_tags_put(t, have.arn, json_get(w->in, "Tags"), err) < 0)
		return -1;
	w->out = json_pack("{s:s}", "PipelineArn", have.arn);
	return 0;
}

/* A transaction that was taken back is run again. */
static void out_reset(struct write *w)
{
	json_decref(w->out);
	w->out = NULL;
}

static int create_run(struct turn *t, void *arg, struct error *err)
{
	struct write *w = arg;
	out_reset(w);
	int rc = pipeline_token_find(t, "CreatePipeline", w->in, &w->out, err);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	if (create_rows(w, t, err) < 0 || pipeline_token_save(t, "CreatePipeline", w->in, w->out, err) < 0)
		return -1;
	return wire_commit(w->c, t, w->out, err);
}

static const char *or_else(const char *text, const char *fallback)
{
	return text ? text : fallback;
}

static int update_run(struct turn *t, void *arg, struct error *err)
{
	struct write *w = arg;
	struct db *db = turn_db(t);
	struct pipeline_row p;
	struct version_row latest;
	out_reset(w);
	if (pipeline_get(w->s, db, turn_arena(t), json_get_text(w->in, "PipelineName"), &p, err) < 0)
		return -1;
	if (pipeline_version_of(db, turn_arena(t), &p, NULL, &latest, err) < 0)
		return -1;
	if (definition_put(w, t, err) < 0)
		return -1;
	int64_t version = p.version + 1;
	if (version_add(w, t, p.key, version, or_else(w->digest, latest.digest), err) < 0)
		return -1;
	int rc = db_exec(db, err,
			 "UPDATE pipeline SET display_name=?, description=?, role=?, parallel=?, version=?, "
			 "modified_ms=?, modified_by=? WHERE key=?",
			 "sssiiiss", or_else(json_get_text(w->in, "PipelineDisplayName"), p.display_name),
			 or_else(json_get_text(w->in, "PipelineDescription"), p.description),
			 or_else(json_get_text(w->in, "RoleArn"), p.role), pipeline_get_parallel(w->in, p.parallel),
			 version, turn_now_ms(t), pipeline_caller(w->c), p.key);
	if (rc < 0)
		return -1;
	w->out = json_pack("{s:s,s:I}", "PipelineArn", p.arn, "PipelineVersionId", (json_int_t)version);
	return wire_commit(w->c, t, w->out, err);
}

static void write_done(void *arg, int rc, struct error *err)
{
	struct write *w = arg;
	json_t *out = w->out;
	definition_free(w->def);
	json_decref(w->in);
	if (rc < 0) {
		json_decref(out);
		out = NULL;
	}
	wire_answer(w->c, rc, out, err); /* w is gone after this */
}

static void write_begin(struct call *c, json_t *in, bool create)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct write *w = ARENA_NEW(c->arena, struct write);
	w->c = c;
	w->s = c->service_ctx;
	w->in = json_incref(in);
	if (text_get(w, create, &err) < 0)
		write_done(w, -1, &err);
	else
		engine_submit(c->engine, create ? create_run : update_run, write_done, w);
}

void pipeline_create(struct call *c, json_t *in)
{
	write_begin(c, in, true);
}

void pipeline_update(struct call *c, json_t *in)
{
	write_begin(c, in, false);
}

/* ---- delete ---- */

static int delete_rows(struct turn *t, const struct pipeline_row *p, struct error *err)
{
	static const char *const statements[] = {
		"DELETE FROM pipeline_step WHERE execution IN (SELECT id FROM pipeline_execution WHERE key=?)",
		"DELETE FROM pipeline_execution WHERE key=?",
		"DELETE FROM pipeline_alias WHERE key=?",
		"DELETE FROM pipeline_version WHERE key=?",
		"DELETE FROM pipeline WHERE key=?",
	};
	for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
		if (db_exec(turn_db(t), err, statements[i], "s", p->key) < 0)
			return -1;
	int rc = db_exec(turn_db(t), err,
			 "DELETE FROM pipeline_definition WHERE NOT EXISTS"
			 " (SELECT 1 FROM pipeline_version v WHERE v.digest=pipeline_definition.digest)",
			 "");
	return rc < 0 ? -1 : 0;
}

int pipeline_delete(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct sagemaker *s = c->service_ctx;
	struct pipeline_row p;
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = pipeline_token_find(t, c->operation, in, out, err);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	if (pipeline_get(s, turn_db(t), turn_arena(t), json_get_text(in, "PipelineName"), &p, err) < 0)
		return -1;
	rc = db_row(turn_db(t), &rows, err,
		    "SELECT id FROM pipeline_execution WHERE key=? AND status IN ('Executing', 'Stopping')", "s",
		    p.key);
	if (rc == 1)
		return error_aws(err, "ConflictException",
				 "Pipeline '%s' cannot be deleted while it has running executions.", p.arn);
	rows_done(&rows);
	if (rc < 0 || delete_rows(t, &p, err) < 0 || job_tags_drop(t, p.arn, err) < 0)
		return -1;
	*out = json_pack("{s:s}", "PipelineArn", p.arn);
	return pipeline_token_save(t, c->operation, in, *out, err);
}

int pipeline_update_version(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct sagemaker *s = c->service_ctx;
	struct db *db = turn_db(t);
	struct pipeline_row p;
	struct version_row v;
	if (pipeline_get(s, db, turn_arena(t), json_get_text(in, "PipelineArn"), &p, err) < 0)
		return -1;
	if (pipeline_version_of(db, turn_arena(t), &p, in, &v, err) < 0)
		return -1;
	if (db_exec(db, err, "UPDATE pipeline_version SET display_name=?, description=? WHERE key=? AND version=?",
		    "sssi", or_else(json_get_text(in, "PipelineVersionDisplayName"), v.display_name),
		    or_else(json_get_text(in, "PipelineVersionDescription"), v.description), p.key, v.version) < 0)
		return -1;
	const json_t *ops = json_get(in, "PipelineVersionAliasOperations");
	size_t i;
	json_t *alias;
	json_array_foreach (json_get(ops, "Remove"), i, alias)
		if (db_exec(db, err, "DELETE FROM pipeline_alias WHERE key=? AND alias=? AND version=?", "ssi", p.key,
			    json_string_value(alias), v.version) < 0)
			return -1;
	if (alias_set(db, p.key, v.version, json_get(ops, "Add"), err) < 0)
		return -1;
	*out = json_pack("{s:s,s:I}", "PipelineArn", p.arn, "PipelineVersionId", (json_int_t)v.version);
	return 0;
}

/* ---- the room's operations ---- */

const struct wire_op pipeline_ops[] = {
	{ .name = "CreatePipeline", .async = pipeline_create },
	{ .name = "UpdatePipeline", .async = pipeline_update },
	{ .name = "DeletePipeline", .command = pipeline_delete },
	{ .name = "DescribePipeline", .query = pipeline_describe },
	{ .name = "ListPipelines", .query = pipeline_list },
	{ .name = "ListPipelineVersions", .query = pipeline_list_versions },
	{ .name = "UpdatePipelineVersion", .command = pipeline_update_version },
	{ .name = "StartPipelineExecution", .command = pipeline_start },
	{ .name = "StopPipelineExecution", .command = pipeline_stop },
	{ .name = "RetryPipelineExecution", .command = pipeline_retry },
	{ .name = "UpdatePipelineExecution", .command = pipeline_update_execution },
	{ .name = "DescribePipelineExecution", .query = pipeline_describe_execution },
	{ .name = "DescribePipelineDefinitionForExecution", .query = pipeline_describe_definition },
	{ .name = "ListPipelineExecutions", .query = pipeline_list_executions },
	{ .name = "ListPipelineExecutionSteps", .query = pipeline_list_steps },
	{ .name = "ListPipelineParametersForExecution", .query = pipeline_list_parameters },
	{ .name = NULL },
};

int pipelines_init(struct sagemaker *s, struct error *err)
{
	(void)err;
	const struct effect_type read_json = {
		.name = "sagemaker.read-json", .perform = pipeline_read_perform, .ctx = s, .blocking = true
	};
	pipelines_open(s);
	pipeline_actor_bind(s);
	engine_add_actor(s->o.engine, &pipeline_execution_actor);
	engine_add_effect(s->o.engine, &read_json);
	return 0;
}
