/* pipeline_cache.c - step caching: taking the result of an earlier equal run.
 *
 * DESIGN: opt-in by CacheConfig. The key is a SHA-256 of pipeline, step name, type and the members of the resolved
 * Arguments that SageMaker documents as key attributes, in canonical JSON; outputs, role and instances are not in it. A
 * hit is the newest run of the step that really ran (not itself a hit), succeeded, and ended within ExpireAfter; its
 * job must still be known. Two equal runs at the same time both run. */
#include "sagemaker/pipeline_run.h"

static const char *cache_key(struct run *r, const struct definition_step *def, const json_t *arguments)
{
	CLEANUP_JSON json_t *key = json_array();
	json_array_append_new(key, json_string(r->x.key));
	json_array_append_new(key, json_string(def->name));
	json_array_append_new(key, json_string(def->type->name));
	for (const char *const *m = def->type->cache_keys; *m; m++) {
		json_t *v = json_get_path(arguments, *m);
		json_array_append(key, v ? v : json_null());
	}
	CLEANUP_FREE char *text = json_dumps(key, JSON_COMPACT | JSON_SORT_KEYS);
	return pipeline_sha256(r->a, str_from(text));
}

struct hit {
	const char *execution, *pipeline, *metadata, *job;
};

static int hit_find(struct run *r, const char *key, int64_t since_ms, struct hit *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(r->db, &rows, err,
			"SELECT s.execution, x.pipeline, s.metadata, s.job FROM pipeline_step s JOIN "
			"pipeline_execution x ON x.id=s.execution"
			" WHERE s.cache_key=? AND s.end_ms>=? AND s.state=? AND s.cache_source IS NULL ORDER BY "
			"s.end_ms DESC LIMIT 1",
			"sii", key, since_ms, (int64_t)STEP_SUCCEEDED);
	if (rc == 1)
		*out = (struct hit){ pipeline_row_text(&rows, 0, r->a), pipeline_row_text(&rows, 1, r->a),
				     pipeline_row_text(&rows, 2, r->a), pipeline_row_text(&rows, 3, r->a) };
	return rc;
}

/* Its job can still be described. */
static bool hit_alive(struct run *r, const struct step_row *s, const struct hit *hit)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct step_row row = *s;
	row.job = hit->job;
	CLEANUP_JSON json_t *properties = hit->job ? s->def->type->properties(r, &row, &ignored) : NULL;
	return properties != NULL;
}

int run_step_cached(struct run *r, struct step_row *s, const json_t *arguments, struct error *err)
{
	const json_t *config = json_get(s->def->json, "CacheConfig");
	int64_t since_ms = 0, age_ms;
	struct hit hit;
	if (!s->def->type->cache_keys || !json_get_bool(config, "Enabled", false))
		return 0;
	const char *key = cache_key(r, s->def, arguments);
	struct str expire = json_get_str(config, "ExpireAfter");
	if (expire.ptr && definition_duration(expire, &age_ms))
		since_ms = turn_now_ms(r->t) - age_ms;
	int rc = hit_find(r, key, since_ms, &hit, err);
	if (rc < 0)
		return -1;
	bool taken = rc == 1 && hit_alive(r, s, &hit);
	const char *source = taken ? pipeline_execution_arn(r->s, r->a, hit.pipeline, hit.execution) : NULL;
	if (db_exec(r->db, err,
		    "UPDATE pipeline_step SET cache_key=?, cache_source=?, job=? WHERE execution=? AND step=?", "ssssi",
		    key, source, taken ? hit.job : NULL, r->x.id, (int64_t)s->index) < 0)
		return -1;
	if (!taken)
		return 0;
	CLEANUP_JSON json_t *metadata = hit.metadata ? json_parse(str_from(hit.metadata), err) : json_object();
	if (!metadata)
		return -1;
	return run_step_succeeded(r, s, true, metadata, err) < 0 ? -1 : 1;
}
