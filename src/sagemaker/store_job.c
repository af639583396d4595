/* store_job.c - the table of jobs.
 *
 * DESIGN: one row a job. `doc` is the Describe answer as JSON; the columns beside it are what lists filter and sort by,
 * kept equal to the document by job_save. */
#include "sagemaker/job_impl.h"
#include "sagemaker/registry.h"

const struct store_migration job_migrations[] = {
	{ "sagemaker.jobs", 1,
	  "CREATE TABLE sagemaker_job (kind TEXT NOT NULL, name TEXT NOT NULL, arn TEXT NOT NULL, status TEXT NOT NULL,"
	  " created_ms INTEGER NOT NULL, modified_ms INTEGER NOT NULL, parent TEXT, doc TEXT NOT NULL, notes TEXT NOT "
	  "NULL,"
	  " PRIMARY KEY (kind, name));"
	  "CREATE INDEX sagemaker_job_created ON sagemaker_job (kind, created_ms, name);"
	  "CREATE TABLE sagemaker_tag (arn TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (arn, "
	  "key));" },
	{ "sagemaker.registry", 1, REGISTRY_TABLES },
	{ 0 },
};

void job_release(struct job *j)
{
	json_cleanup(&j->doc);
	json_cleanup(&j->notes);
}

void job_set_time(json_t *doc, const char *key, int64_t ms)
{
	json_set_real(doc, key, (double)ms / 1000.0);
}

const char *job_status(const struct job *j)
{
	return json_get_text(j->doc, j->type->status_key);
}

bool job_ended(const struct job *j)
{
	struct str status = json_get_str(j->doc, j->type->status_key);
	return str_eqz(status, "Completed") || str_eqz(status, "Failed") || str_eqz(status, "Stopped");
}

void job_note(struct job *j, const char *text)
{
	size_t i;
	json_t *note;
	json_array_foreach (j->notes, i, note)
		if (str_eqz(json_str(note), text))
			return;
	json_array_append_new(j->notes, json_string(text));
}

int job_missing(const struct job_type *type, const char *name, struct error *err)
{
	if (type->kind == JOB_TRAINING)
		return error_aws(err, "ValidationException", "Requested resource not found.");
	return error_aws(err, "ValidationException", "Could not find requested job with name: %s", name);
}

int job_insert(struct turn *t, struct job *j, struct error *err)
{
	struct arena *a = turn_arena(t);
	int64_t now = turn_now_ms(t);
	job_set_time(j->doc, "CreationTime", now);
	job_set_time(j->doc, "LastModifiedTime", now);
	if (db_exec(turn_db(t), err,
		    "INSERT INTO sagemaker_job (kind, name, arn, status, created_ms, modified_ms, parent, doc, notes)"
		    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		    "ssssiisSS", j->type->kind_name, j->name, j->arn, job_status(j), now, now, j->parent,
		    json_text(a, j->doc), json_text(a, j->notes)) >= 0)
		return 0;
	if (!error_is(err, "conflict"))
		return -1;
	error_release(err);
	bool training = j->type->kind == JOB_TRAINING;
	return error_aws(err, "ResourceInUse",
			 "%s unique within an AWS account and region, and a %s with this name already exists (%s)",
			 training ? "Training job names must be" : "Job name must be",
			 training ? "training job" : "job", j->arn);
}

int job_load(struct db *db, struct arena *a, const struct job_type *type, const char *name, struct job *out,
	     struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err,
			"SELECT name, arn, parent, doc, notes FROM sagemaker_job WHERE kind=? AND name=?", "ss",
			type->kind_name, name);
	if (rc <= 0)
		return rc;
	*out = (struct job){ .type = type,
			     .name = arena_strdup(a, rows_str(&rows, 0)),
			     .arn = arena_strdup(a, rows_str(&rows, 1)) };
	if (!rows_null(&rows, 2))
		out->parent = arena_strdup(a, rows_str(&rows, 2));
	out->doc = json_parse(rows_str(&rows, 3), err);
	if (!out->doc)
		return error_wrap(err, "row of %s `%s`", type->words, name);
	out->notes = json_parse(rows_str(&rows, 4), err);
	return out->notes ? 1 : error_wrap(err, "row of %s `%s`", type->words, name);
}

int job_save(struct turn *t, struct job *j, struct error *err)
{
	struct arena *a = turn_arena(t);
	int64_t now = turn_now_ms(t);
	job_set_time(j->doc, "LastModifiedTime", now);
	return db_exec(turn_db(t), err,
		       "UPDATE sagemaker_job SET status=?, modified_ms=?, doc=?, notes=? WHERE kind=? AND name=?",
		       "siSSss", job_status(j), now, json_text(a, j->doc), json_text(a, j->notes), j->type->kind_name,
		       j->name) < 0
		       ? -1
		       : 0;
}

int job_delete(struct turn *t, struct job *j, struct error *err)
{
	if (job_tags_drop(t, j->arn, err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "DELETE FROM sagemaker_job WHERE kind=? AND name=?", "ss", j->type->kind_name,
		       j->name) < 0
		       ? -1
		       : 0;
}

int sagemaker_watch_job(struct turn *t, const char *arn, const char *actor, struct error *err)
{
	struct str rest = str_from(arn), part = STR_NULL, kind = STR_NULL;
	while (str_split(&rest, ':', &part)) /* the last: kind/name */
		kind = part;
	str_split(&kind, '/', &part);
	int n = db_exec(turn_db(t), err,
			"UPDATE sagemaker_job SET parent=? WHERE kind=? AND name=? AND arn=? AND status NOT "
			"IN('Completed','Failed','Stopped')",
			"sSSs", actor, part, kind, arn);
	return n < 0 ? -1 : n > 0;
}

json_t *job_describe(struct sagemaker *s, struct db *db, enum job_kind kind, const char *name, struct error *err)
{
	struct arena a = ARENA_INIT;
	CLEANUP_JOB struct job j = JOB_INIT;
	const struct job_type *type = job_type_of(kind);
	json_t *doc = NULL;
	int rc = job_load(db, &a, type, name, &j, err);
	if (rc == 0)
		job_missing(type, name, err);
	else if (rc > 0)
		doc = json_incref(j.doc);
	arena_release(&a);
	return doc;
}

json_t *job_notes(struct sagemaker *s, struct db *db, enum job_kind kind, const char *name, struct error *err)
{
	struct arena a = ARENA_INIT;
	CLEANUP_JOB struct job j = JOB_INIT;
	const struct job_type *type = job_type_of(kind);
	json_t *notes = NULL;
	int rc = job_load(db, &a, type, name, &j, err);
	if (rc == 0)
		job_missing(type, name, err);
	else if (rc > 0)
		notes = json_incref(j.notes);
	arena_release(&a);
	return notes;
}
