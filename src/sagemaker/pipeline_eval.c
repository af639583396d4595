/* pipeline_eval.c - what the references of a running step mean, and the reading of JSON files for Std:JsonGet.
 *
 * DESIGN: a turn reads no file. Before a step starts, the files its JsonGets name are collected (their URIs are
 * expressions themselves), one effect reads them on a worker from a snapshot, applies each path there, and only the
 * selected values come back as an event. Values are kept by "<uri>\n<path>". Properties of a step are its job's
 * Describe answer, asked for once a turn. */
#include "sagemaker/pipeline_run.h"

#include "base/clock.h"

enum { JSON_FILE_MAX = 16 << 20, JSON_VALUE_MAX = 256 << 10 };

static json_t *variable(struct run *r, struct str name, struct error *err)
{
	char time[40];
	if (str_eq(name, STR("PipelineName")))
		return json_string(r->x.pipeline);
	if (str_eq(name, STR("PipelineArn")))
		return json_string(r->x.pipeline_arn);
	if (str_eq(name, STR("PipelineExecutionId")))
		return json_string(r->x.id);
	if (str_eq(name, STR("PipelineExecutionArn")))
		return json_string(r->x.arn);
	if (str_eq(name, STR("StartDateTime")))
		return json_string(clock_iso_ms(r->x.created_ms, time));
	if (str_eq(name, STR("CurrentDateTime")))
		return json_string(clock_iso_ms(turn_now_ms(r->t), time));
	if (r->job_name)
		return json_string(r->job_name);
	error_aws(err, "ValidationException", "Execution.%.*s has no value in this step.", STR_ARG(name));
	return NULL;
}

static json_t *env_get(void *ctx, const struct ref *ref, struct error *err)
{
	struct run *r = ctx;
	json_t *v = NULL;
	if (ref->kind == REF_EXECUTION)
		return variable(r, ref->name, err);
	if (ref->kind == REF_PARAMETER)
		v = json_incref(json_object_getn(r->parameters, ref->name.ptr, ref->name.len));
	if (ref->kind == REF_EXPERIMENT) {
		CLEANUP_JSON json_t *config = r->x.experiment ? json_parse(str_from(r->x.experiment), NULL) : NULL;
		v = json_incref(json_object_getn(config, ref->name.ptr, ref->name.len));
	}
	if (ref->kind == REF_STEP) {
		json_t *properties = run_properties(r, ref->name, err);
		if (!properties)
			return NULL;
		v = json_incref(expr_path_get(properties, &ref->path, 0, true));
	}
	if (!v)
		error_aws(err, "ValidationException", "The reference '%.*s' has no value.",
			  STR_ARG(str_head(ref->text, 300)));
	return v;
}

static const json_t *property_file_find(const struct definition_step *step, struct str name)
{
	size_t i;
	json_t *file;
	json_array_foreach (json_get(step->json, "PropertyFiles"), i, file)
		if (str_eq(json_get_str(file, "PropertyFileName"), name))
			return file;
	return NULL;
}

/* Steps.<step>.PropertyFiles.<name>: <the output's S3Uri>/<FilePath>. */
static struct str env_property_file(void *ctx, const struct ref *ref, struct error *err)
{
	struct run *r = ctx;
	const struct definition_step *step = definition_step_find(r->def, ref->name);
	const json_t *file = step && ref->path.count == 2 ? property_file_find(step, ref->path.parts[1].key) : NULL;
	json_t *properties = file ? run_properties(r, ref->name, err) : NULL;
	if (!file)
		error_aws(err, "ValidationException", "'%.*s' is no PropertyFile.", STR_ARG(str_head(ref->text, 300)));
	if (!properties)
		return STR_NULL;
	struct path_part parts[] = { { STR("ProcessingOutputConfig"), 0 },
				     { STR("Outputs"), 0 },
				     { json_get_str(file, "OutputName"), 0 },
				     { STR("S3Output"), 0 },
				     { STR("S3Uri"), 0 } };
	struct str base = json_str(expr_path_get(properties, &(struct path){ parts, 5 }, 0, true));
	struct str name = json_get_str(file, "FilePath");
	if (!base.ptr) {
		error_aws(err, "ValidationException", "Step '%s' has no S3 output '%.*s' for '%.*s'.", step->name,
			  STR_ARG(parts[2].key), STR_ARG(str_head(ref->text, 300)));
		return STR_NULL;
	}
	while (base.len && base.ptr[base.len - 1] == '/')
		base.len--;
	while (name.len && name.ptr[0] == '/')
		name = str_skip(name, 1);
	return str_from(arena_printf(r->a, "%.*s/%.*s", STR_ARG(base), STR_ARG(name)));
}

static json_t *env_json_get(void *ctx, struct str uri, struct str path, struct error *err)
{
	struct run *r = ctx;
	const char *key = arena_printf(r->a, "%.*s\n%.*s", STR_ARG(uri), STR_ARG(path));
	const json_t *got = json_object_get(r->files, key);
	json_t *value = json_object_get(got, "value");
	if (value)
		return json_incref(value);
	if (got) {
		error_aws(err, "ValidationException", "%s", json_get_text(got, "error"));
		return NULL;
	}
	if (!r->missing) {
		error_set(err, "the file of JsonGet '%s' was not read", key);
		return NULL;
	}
	json_array_append_new(r->missing,
			      json_pack("{s:s%,s:s%}", "uri", uri.ptr, uri.len, "path", path.ptr, path.len));
	return json_string("");
}

static struct expr_env run_env(struct run *r)
{
	return (struct expr_env){
		.arena = r->a, .get = env_get, .property_file = env_property_file, .json_get = env_json_get, .ctx = r
	};
}

json_t *run_eval(struct run *r, const json_t *value, struct error *err)
{
	struct expr_env env = run_env(r);
	return expr_eval(&env, value, err);
}

int run_conditions(struct run *r, const json_t *conditions, bool *out, struct error *err)
{
	struct expr_env env = run_env(r);
	return expr_conditions_eval(&env, conditions, out, err);
}

/* Evaluates only the JsonGets in `value`: the ones that lack a file add it to r->missing. */
static int collect(struct run *r, const struct expr_env *env, const json_t *value, struct error *err)
{
	if (json_is_array(value)) {
		size_t i;
		json_t *item;
		json_array_foreach (value, i, item)
			if (collect(r, env, item, err) < 0)
				return -1;
		return 0;
	}
	const char *key;
	json_t *member;
	json_object_foreach ((json_t *)value, key, member) {
		if (strcmp(key, "Std:JsonGet") == 0 && expr_is(value)) {
			CLEANUP_ERROR struct error why = ERROR_INIT;
			size_t before = json_array_size(r->missing);
			CLEANUP_JSON json_t *v = expr_eval(env, value, &why);
			/* a URI made from a file not read yet is collected in the next round */
			if (!v && json_array_size(r->missing) == before)
				return error_move(err, &why);
		} else if (collect(r, env, member, err) < 0) {
			return -1;
		}
	}
	return 0;
}

int run_collect_files(struct run *r, const struct definition_step *step, struct error *err)
{
	struct expr_env env = run_env(r);
	const json_t *from = step->type->branches ? json_get(step->arguments, "Conditions") : step->arguments;
	json_decref(r->missing);
	r->missing = json_array();
	int rc = collect(r, &env, from, err);
	if (rc < 0 || json_array_size(r->missing) == 0) {
		json_decref(r->missing);
		r->missing = NULL;
	}
	return rc;
}

json_t *run_properties(struct run *r, struct str name, struct error *err)
{
	json_t *have = json_object_getn(r->properties, name.ptr, name.len);
	if (have)
		return have;
	const struct definition_step *step = definition_step_find(r->def, name);
	struct step_row row;
	int rc = step ? step_row_load(r, step->index, &row, err) : 0;
	if (rc < 0)
		return NULL;
	if (rc == 0 || row.state != STEP_SUCCEEDED || !step->type->properties) {
		error_aws(err, "ValidationException", "Step '%.*s' has no properties yet.",
			  STR_ARG(str_head(name, 64)));
		return NULL;
	}
	json_t *properties = step->type->properties(r, &row, err);
	if (!properties)
		return NULL;
	if (!r->properties)
		r->properties = json_object();
	json_object_setn_new(r->properties, name.ptr, name.len, properties);
	return properties;
}

void run_release(struct run *r)
{
	json_decref(r->parameters);
	json_decref(r->properties);
	json_decref(r->missing);
}

/* ---- the effect ---- */

static json_t *read_error(const char *uri, const struct error *why)
{
	char text[900];
	snprintf(text, sizeof text, "Received an error while reading file %.300s from S3: %.60s: %.300s", uri,
		 why->code, error_text(why));
	return json_pack("{s:s}", "error", text);
}

/* A file as read: the next JsonGet is often of the same one. */
struct json_file {
	const char *uri; /* in the arena; NULL: none yet */
	json_t *root;    /* owned; NULL: not JSON */
	json_t *error;   /* owned; why it can't be read */
};

static void file_clear(struct json_file *f)
{
	json_decref(f->root);
	json_decref(f->error);
	*f = (struct json_file){ 0 };
}

/* < 0 on a fault of ours. */
static int file_read(struct sagemaker *s, struct db *db, struct arena *a, const char *uri, struct json_file *f,
		     struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct str bucket, key, text;
	if (f->uri && strcmp(f->uri, uri) == 0)
		return 0;
	file_clear(f);
	if (!s3_parse_uri(str_from(uri), &bucket, &key)) {
		f->error = json_pack("{s:o}", "error", json_sprintf("'%.300s' is not an S3 URI.", uri));
	} else if (s3_read(s->o.s3, db, bucket, key, JSON_FILE_MAX, a, &text, &why) == 0) {
		f->root = json_parse(text, NULL);
		if (!f->root)
			f->error =
				json_pack("{s:o}", "error",
					  json_sprintf("Contents of file %.300s are not in valid JSON format.", uri));
	} else if (why.code[0]) {
		f->error = read_error(uri, &why);
	} else {
		return error_move(err, &why);
	}
	f->uri = uri;
	return 0;
}

/* {"value":v} or {"error":text}. */
static json_t *file_select(struct arena *a, const struct json_file *f, const char *path)
{
	struct path p;
	if (f->error)
		return json_incref(f->error);
	json_t *value = expr_path_parse(a, str_from(path), &p) ? expr_path_get(f->root, &p, 0, false) : NULL;
	if (!value || json_is_null(value))
		return json_pack("{s:o}", "error",
				 json_sprintf("Invalid json path '%.300s' of file %.300s.", path, f->uri));
	if (json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) > JSON_VALUE_MAX)
		return json_pack("{s:o}", "error",
				 json_sprintf("The value at '%.300s' of file %.300s is too large.", path, f->uri));
	return json_pack("{s:O}", "value", value);
}

void pipeline_read_perform(void *ctx, struct engine *e, const struct effect *fx)
{
	struct sagemaker *s = ctx;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct arena a = ARENA_INIT;
	json_t *known = json_object_get(fx->payload, "files");
	json_t *files = known ? json_deep_copy(known) : json_object();
	struct db *db = store_read_begin(engine_store(e), &err);
	struct json_file file = { 0 };
	size_t i;
	json_t *item;
	json_array_foreach (json_object_get(fx->payload, "read"), i, item) {
		const char *uri = json_get_text(item, "uri"), *path = json_get_text(item, "path");
		if (!db || file_read(s, db, &a, uri, &file, &err) < 0)
			break;
		json_object_set_new(files, arena_printf(&a, "%s\n%s", uri, path), file_select(&a, &file, path));
	}
	file_clear(&file);
	if (db)
		store_read_end(engine_store(e), db);
	json_t *event = json_pack("{s:s,s:I,s:I,s:I}", "type", "files", "step",
				  (json_int_t)json_get_int(fx->payload, "step", 0), "seq",
				  (json_int_t)json_get_int(fx->payload, "seq", 0), "attempt",
				  (json_int_t)json_get_int(fx->payload, "attempt", 0));
	if (err.message)
		json_set_text(event, "fault", error_text(&err));
	json_object_set_new(event, "files", files);
	arena_release(&a);
	engine_effect_done(e, fx->seq, event);
}
