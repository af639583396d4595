/* store_pipeline.c - the tables of pipelines, and the memory of parsed definitions.
 *
 * DESIGN: see pipeline.h. Names are unique whatever their case (older ARNs are in lower case), so the key is the
 * lower-case name. The parsed definitions are a bounded table by digest on the core thread: an execution's turn costs
 * no parse, and the text never rides in an actor's state. */
#include "sagemaker/pipeline.h"

#include <ctype.h>
#include <openssl/evp.h>

const struct store_migration sagemaker_migrations[] = {
	{ "sagemaker.pipelines", 1,
	  "CREATE TABLE pipeline(key TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, display_name TEXT, description "
	  "TEXT,"
	  " role TEXT NOT NULL, parallel INTEGER NOT NULL, version INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
	  " modified_ms INTEGER NOT NULL, run_ms INTEGER NOT NULL, created_by TEXT, modified_by TEXT);"
	  "CREATE INDEX pipeline_created ON pipeline(created_ms, key);"
	  "CREATE TABLE pipeline_definition(digest TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL);"
	  "CREATE TABLE pipeline_version(key TEXT NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL, created_ms "
	  "INTEGER NOT NULL,"
	  " display_name TEXT, description TEXT, last_execution TEXT, PRIMARY KEY(key, version));"
	  "CREATE INDEX pipeline_version_digest ON pipeline_version(digest);"
	  "CREATE TABLE pipeline_alias(key TEXT NOT NULL, alias TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY "
	  "KEY(key, alias));"
	  "CREATE TABLE pipeline_execution(id TEXT NOT NULL PRIMARY KEY, key TEXT NOT NULL, pipeline TEXT NOT NULL, "
	  "version INTEGER NOT NULL,"
	  " digest TEXT NOT NULL, role TEXT NOT NULL, display_name TEXT, description TEXT, status TEXT NOT NULL, "
	  "reason TEXT,"
	  " created_ms INTEGER NOT NULL, modified_ms INTEGER NOT NULL, parallel INTEGER NOT NULL, selective TEXT, "
	  "experiment TEXT,"
	  " parameters TEXT NOT NULL, created_by TEXT, modified_by TEXT);"
	  "CREATE INDEX pipeline_execution_created ON pipeline_execution(key, created_ms, id);"
	  "CREATE TABLE pipeline_step(execution TEXT NOT NULL, step INTEGER NOT NULL, name TEXT NOT NULL, state "
	  "INTEGER NOT NULL,"
	  " waiting INTEGER NOT NULL, seq INTEGER NOT NULL, attempts INTEGER NOT NULL, start_ms INTEGER NOT NULL, "
	  "end_ms INTEGER NOT NULL,"
	  " display_name TEXT, description TEXT, reason TEXT, metadata TEXT, job TEXT, retries TEXT, cache_key TEXT, "
	  "cache_source TEXT,"
	  " selective_source TEXT, PRIMARY KEY(execution, step));"
	  "CREATE INDEX pipeline_step_state ON pipeline_step(execution, state, step);"
	  "CREATE INDEX pipeline_step_seq ON pipeline_step(execution, seq) WHERE seq > 0;"
	  "CREATE INDEX pipeline_step_job ON pipeline_step(execution, job) WHERE job IS NOT NULL;"
	  "CREATE INDEX pipeline_step_cache ON pipeline_step(cache_key, end_ms) WHERE cache_key IS NOT NULL;"
	  "CREATE TABLE pipeline_token(operation TEXT NOT NULL, token TEXT NOT NULL, digest TEXT NOT NULL, answer TEXT "
	  "NOT NULL,"
	  " created_ms INTEGER NOT NULL, PRIMARY KEY(operation, token));"
	  "CREATE INDEX pipeline_token_created ON pipeline_token(created_ms);" },
	{ NULL, 0, NULL },
};

const char *pipeline_row_text(struct rows *rows, int col, struct arena *a)
{
	struct str s = rows_str(rows, col);
	return s.ptr ? arena_strdup(a, s) : NULL;
}

/* ---- pipelines ---- */

static const char *key_of(struct arena *a, struct str name)
{
	char *key = arena_strdup(a, name);
	for (char *p = key; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return key;
}

#define PIPELINE_COLUMNS                                                                                               \
	"key, name, display_name, description, role, parallel, version, created_ms, modified_ms, run_ms, created_by, " \
	"modified_by"

int pipeline_find(struct sagemaker *s, struct db *db, struct arena *a, const char *name_or_arn,
		  struct pipeline_row *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *mark = strstr(name_or_arn, ":pipeline/");
	struct str name = str_from(mark ? mark + strlen(":pipeline/") : name_or_arn);
	int rc = db_row(db, &rows, err, "SELECT " PIPELINE_COLUMNS " FROM pipeline WHERE key=?", "s", key_of(a, name));
	if (rc <= 0)
		return rc;
	*out = (struct pipeline_row){
		.key = pipeline_row_text(&rows, 0, a),
		.name = pipeline_row_text(&rows, 1, a),
		.display_name = pipeline_row_text(&rows, 2, a),
		.description = pipeline_row_text(&rows, 3, a),
		.role = pipeline_row_text(&rows, 4, a),
		.parallel = rows_int(&rows, 5),
		.version = rows_int(&rows, 6),
		.created_ms = rows_int(&rows, 7),
		.modified_ms = rows_int(&rows, 8),
		.run_ms = rows_int(&rows, 9),
		.created_by = pipeline_row_text(&rows, 10, a),
		.modified_by = pipeline_row_text(&rows, 11, a),
	};
	out->arn = sagemaker_arn(s, a, "pipeline", out->name);
	return !mark || str_eq_nocase(str_from(name_or_arn), str_from(out->arn)) ? 1 : 0;
}

int pipeline_get(struct sagemaker *s, struct db *db, struct arena *a, const char *name_or_arn, struct pipeline_row *out,
		 struct error *err)
{
	int rc = pipeline_find(s, db, a, name_or_arn, out, err);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	const char *arn =
		strncmp(name_or_arn, "arn:", 4) == 0 ? name_or_arn : sagemaker_arn(s, a, "pipeline", name_or_arn);
	return error_aws(err, "ResourceNotFound", "Pipeline '%s' does not exist.", arn);
}

int pipeline_version_find(struct db *db, struct arena *a, const char *key, int64_t version, struct version_row *out,
			  struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(
		db, &rows, err,
		"SELECT version, created_ms, digest, display_name, description, last_execution FROM pipeline_version"
		" WHERE key=? AND version=?",
		"si", key, version);
	if (rc <= 0)
		return rc;
	*out = (struct version_row){
		.version = rows_int(&rows, 0),
		.created_ms = rows_int(&rows, 1),
		.digest = pipeline_row_text(&rows, 2, a),
		.display_name = pipeline_row_text(&rows, 3, a),
		.description = pipeline_row_text(&rows, 4, a),
		.last_execution = pipeline_row_text(&rows, 5, a),
	};
	return 1;
}

int pipeline_version_of(struct db *db, struct arena *a, const struct pipeline_row *p, const json_t *in,
			struct version_row *out, struct error *err)
{
	int64_t version = json_get_int(in, "PipelineVersionId", p->version);
	const char *alias = json_get_text(in, "PipelineVersionAlias");
	if (alias && json_get(in, "PipelineVersionId"))
		return error_aws(err, "ValidationException",
				 "Give either PipelineVersionId or PipelineVersionAlias, not both.");
	if (alias) {
		CLEANUP_ROWS struct rows rows = { 0 };
		int rc = db_row(db, &rows, err, "SELECT version FROM pipeline_alias WHERE key=? AND alias=?", "ss",
				p->key, alias);
		if (rc < 0)
			return -1;
		if (rc == 0)
			return error_aws(err, "ResourceNotFound", "Pipeline '%s' has no version alias '%s'.", p->arn,
					 alias);
		version = rows_int(&rows, 0);
	}
	int rc = pipeline_version_find(db, a, p->key, version, out, err);
	if (rc == 0)
		return error_aws(err, "ResourceNotFound", "Pipeline version '%lld' of pipeline '%s' does not exist.",
				 (long long)version, p->arn);
	return rc < 0 ? -1 : 0;
}

json_t *pipeline_version_aliases(struct db *db, const char *key, int64_t version, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_query(db, &rows, err, "SELECT alias FROM pipeline_alias WHERE key=? AND version=? ORDER BY alias", "si",
		     key, version) < 0)
		return NULL;
	json_t *list = NULL;
	while (rows_next(&rows, err) > 0) {
		struct str alias = rows_str(&rows, 0);
		if (!list)
			list = json_array();
		json_array_append_new(list, json_stringn(alias.ptr, alias.len));
	}
	return list;
}

/* ---- executions ---- */

const char *pipeline_actor_id(struct arena *a, const char *id)
{
	return arena_printf(a, "pipeline-execution/%s", id);
}

const char *pipeline_execution_arn(struct sagemaker *s, struct arena *a, const char *pipeline, const char *id)
{
	return arena_printf(a, "%s/execution/%s", sagemaker_arn(s, a, "pipeline", pipeline), id);
}

bool pipeline_execution_ended(const char *status)
{
	return strcmp(status, "Executing") != 0 && strcmp(status, "Stopping") != 0;
}

int pipeline_execution_find(struct sagemaker *s, struct db *db, struct arena *a, const char *id,
			    struct execution_row *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err,
			"SELECT id, key, pipeline, version, digest, role, display_name, description, status, reason, "
			"created_ms, modified_ms,"
			" parallel, selective, experiment, parameters, created_by, modified_by FROM pipeline_execution "
			"WHERE id=?",
			"s", id);
	if (rc <= 0)
		return rc;
	*out = (struct execution_row){
		.id = pipeline_row_text(&rows, 0, a),
		.key = pipeline_row_text(&rows, 1, a),
		.pipeline = pipeline_row_text(&rows, 2, a),
		.version = rows_int(&rows, 3),
		.digest = pipeline_row_text(&rows, 4, a),
		.role = pipeline_row_text(&rows, 5, a),
		.display_name = pipeline_row_text(&rows, 6, a),
		.description = pipeline_row_text(&rows, 7, a),
		.status = pipeline_row_text(&rows, 8, a),
		.reason = pipeline_row_text(&rows, 9, a),
		.created_ms = rows_int(&rows, 10),
		.modified_ms = rows_int(&rows, 11),
		.parallel = rows_int(&rows, 12),
		.selective = pipeline_row_text(&rows, 13, a),
		.experiment = pipeline_row_text(&rows, 14, a),
		.parameters = pipeline_row_text(&rows, 15, a),
		.created_by = pipeline_row_text(&rows, 16, a),
		.modified_by = pipeline_row_text(&rows, 17, a),
	};
	out->pipeline_arn = sagemaker_arn(s, a, "pipeline", out->pipeline);
	out->arn = pipeline_execution_arn(s, a, out->pipeline, out->id);
	return 1;
}

int pipeline_execution_get(struct sagemaker *s, struct db *db, struct arena *a, const char *arn,
			   struct execution_row *out, struct error *err)
{
	const char *mark = arn ? strstr(arn, "/execution/") : NULL;
	int rc = mark ? pipeline_execution_find(s, db, a, mark + strlen("/execution/"), out, err) : 0;
	if (rc < 0)
		return -1;
	if (rc == 1 && str_eq_nocase(str_from(arn), str_from(out->arn)))
		return 0;
	return error_aws(err, "ResourceNotFound", "Pipeline execution '%s' does not exist.", arn ? arn : "");
}

/* ---- definitions ---- */

const char *pipeline_sha256(struct arena *a, struct str text)
{
	unsigned char digest[32];
	unsigned int n = sizeof digest;
	if (!EVP_Digest(text.ptr, text.len, digest, &n, EVP_sha256(), NULL))
		BUG("SHA-256 is not available");
	char *hex = arena_alloc_raw(a, 65);
	static const char digits[] = "0123456789abcdef";
	for (int i = 0; i < 32; i++) {
		hex[2 * i] = digits[digest[i] >> 4];
		hex[2 * i + 1] = digits[digest[i] & 15];
	}
	hex[64] = 0;
	return hex;
}

const char *pipeline_definition_digest(struct arena *a, struct str text)
{
	return pipeline_sha256(a, text);
}

int pipeline_definition_save(struct db *db, const char *digest, struct str text, struct error *err)
{
	int rc = db_exec(db, err,
			 "INSERT INTO pipeline_definition(digest, text) VALUES(?, ?) ON CONFLICT(digest) DO NOTHING",
			 "sS", digest, text);
	return rc < 0 ? -1 : 0;
}

struct str pipeline_definition_text(struct db *db, struct arena *a, const char *digest, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT text FROM pipeline_definition WHERE digest=?", "s", digest);
	if (rc == 0)
		error_set(err, "read pipeline definition %s: it is not stored", digest);
	return rc == 1 ? arena_str(a, rows_str(&rows, 0)) : STR_NULL;
}

enum { CACHED_DEFINITIONS = 64 };

struct pipelines {
	struct cached {
		char *digest;
		struct definition *def;
		uint64_t used;
	} cached[CACHED_DEFINITIONS];
	uint64_t clock;
};

void pipelines_open(struct sagemaker *s)
{
	s->pipelines = mem_calloc(1, sizeof(struct pipelines));
}

static void cached_clear(struct cached *c)
{
	mem_cleanup_free(&c->digest);
	definition_free(c->def);
	*c = (struct cached){ 0 };
}

void pipelines_release(struct sagemaker *s)
{
	if (!s->pipelines)
		return;
	for (int i = 0; i < CACHED_DEFINITIONS; i++)
		cached_clear(&s->pipelines->cached[i]);
	mem_cleanup_free(&s->pipelines);
}

/* The entry of that digest, else the one longest unused. */
static struct cached *cached_find(struct pipelines *p, const char *digest)
{
	struct cached *oldest = &p->cached[0];
	for (int i = 0; i < CACHED_DEFINITIONS; i++) {
		struct cached *c = &p->cached[i];
		if (c->digest && strcmp(c->digest, digest) == 0)
			return c;
		if (c->used < oldest->used)
			oldest = c;
	}
	return oldest;
}

void pipeline_definition_keep(struct sagemaker *s, const char *digest, struct definition *def)
{
	struct cached *c = def ? cached_find(s->pipelines, digest) : NULL;
	if (!c)
		return;
	char *key = mem_strdup(digest);
	cached_clear(c);
	*c = (struct cached){ key, def, ++s->pipelines->clock };
}

struct definition *pipeline_definition_cached(struct sagemaker *s, struct db *db, const char *digest, struct error *err)
{
	struct cached *c = cached_find(s->pipelines, digest);
	if (c->digest && strcmp(c->digest, digest) == 0) {
		c->used = ++s->pipelines->clock;
		return c->def;
	}
	struct arena a = ARENA_INIT;
	struct definition *def = NULL;
	struct str text = pipeline_definition_text(db, &a, digest, err);
	int rc = text.ptr ? definition_parse(text, &def, err) : -1;
	arena_release(&a);
	if (rc < 0)
		return NULL;
	pipeline_definition_keep(s, digest, def);
	return def;
}
