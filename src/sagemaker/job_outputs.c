/* job_outputs.c - which file of an ended task becomes which object.
 *
 * DESIGN: pure. Training: model and output data of jobs that completed or were stopped (of a failed one the output data
 * only: a half-trained model never becomes an artifact), checkpoints always. Processing: outputs of jobs that
 * completed; those with S3UploadMode Continuous always. An output directory inside another one's belongs to both. */
#include "sagemaker/job_impl.h"

struct uploads {
	struct arena *a;
	json_t *list;
};

/* "s3://bucket/prefix/" + rest -> bucket, "prefix/rest". */
static void add_upload(struct uploads *u, struct str uri, const char *rest, const json_t *file)
{
	struct str bucket, key;
	const char *path = json_get_text(file, "path");
	if (!path || !s3_parse_uri(uri, &bucket, &key))
		return;
	while (key.len && key.ptr[key.len - 1] == '/')
		key.len--;
	json_t *o = json_object();
	json_set_text(o, "path", path);
	json_set_text(o, "bucket", arena_strdup(u->a, bucket));
	json_set_text(o, "key", key.len ? arena_printf(u->a, "%.*s/%s", STR_ARG(key), rest) : rest);
	json_array_append_new(u->list, o);
}

/* Files of the task's output `name` go below uri/prefix. */
static void add_files(struct uploads *u, const json_t *event, const char *name, struct str uri, const char *prefix)
{
	size_t i, k;
	json_t *output, *file;
	json_array_foreach (json_get(event, "outputs"), i, output) {
		if (!str_eqz(json_get_str(output, "name"), name))
			continue;
		json_array_foreach (json_get(output, "files"), k, file)
			add_upload(u, uri, arena_printf(u->a, "%s%s", prefix, json_get_text(file, "key")), file);
	}
}

const char *job_model_uri(struct arena *a, const json_t *doc, const char *name)
{
	const json_t *config = json_get(doc, "OutputDataConfig");
	struct str uri = json_get_str(config, "S3OutputPath");
	while (uri.len && uri.ptr[uri.len - 1] == '/')
		uri.len--;
	bool plain = str_eqz(json_get_str(config, "CompressionType"), "NONE");
	return arena_printf(a, "%.*s/%s/output/%s", STR_ARG(uri), name, plain ? "model/" : "model.tar.gz");
}

static void training_uploads(struct uploads *u, const struct job *j, const json_t *event, const struct job_outcome *o)
{
	const json_t *config = json_get(j->doc, "OutputDataConfig");
	struct str uri = json_get_str(config, "S3OutputPath");
	bool plain = str_eqz(json_get_str(config, "CompressionType"), "NONE");
	if (!str_eqz(str_from(o->status), "Failed"))
		add_files(u, event, "model", uri, arena_printf(u->a, "%s/output/%s", j->name, plain ? "model/" : ""));
	add_files(u, event, "output", uri, arena_printf(u->a, "%s/output/%s", j->name, plain ? "data/" : ""));
	add_files(u, event, "checkpoints", json_get_str(json_get(j->doc, "CheckpointConfig"), "S3Uri"), "");
}

static const char *local_path_of(struct arena *a, const json_t *output)
{
	struct str path = json_get_str(json_get(output, "S3Output"), "LocalPath");
	if (json_get_bool(output, "AppManaged", false) || !path.ptr)
		return NULL;
	while (path.len > 1 && path.ptr[path.len - 1] == '/')
		path.len--;
	return arena_strdup(a, path);
}

void job_output_dirs(struct arena *a, const json_t *doc, struct job_dirs *out)
{
	size_t i, k;
	json_t *output;
	out->count = 0;
	json_array_foreach (json_get_path(doc, "ProcessingOutputConfig.Outputs"), i, output) {
		const char *path = local_path_of(a, output);
		for (k = 0; path && k < out->count && strcmp(out->paths[k], path) != 0; k++)
			;
		if (path && k == out->count && k < sizeof(out->paths) / sizeof(out->paths[0]))
			out->paths[out->count++] = path;
	}
}

/* `dir` relative to `base`: "" when equal, "x/y/" when below, NULL when outside. */
static const char *below(struct arena *a, const char *base, const char *dir)
{
	size_t n = strlen(base);
	if (strncmp(base, dir, n) != 0)
		return NULL;
	if (!dir[n])
		return "";
	return dir[n] == '/' ? arena_printf(a, "%s/", dir + n + 1) : NULL;
}

static void processing_uploads(struct uploads *u, const struct job *j, const json_t *event, const struct job_outcome *o)
{
	struct job_dirs dirs;
	size_t i, k;
	json_t *output;
	bool good = str_eqz(str_from(o->status), "Completed");
	job_output_dirs(u->a, j->doc, &dirs);
	json_array_foreach (json_get_path(j->doc, "ProcessingOutputConfig.Outputs"), i, output) {
		const json_t *s3 = json_get(output, "S3Output");
		const char *path = local_path_of(u->a, output);
		if (!path || (!good && !str_eqz(json_get_str(s3, "S3UploadMode"), "Continuous")))
			continue;
		for (k = 0; k < dirs.count; k++) {
			const char *prefix = below(u->a, path, dirs.paths[k]);
			if (prefix)
				add_files(u, event, arena_printf(u->a, "o%zu", k), json_get_str(s3, "S3Uri"), prefix);
		}
	}
}

json_t *job_uploads(struct arena *a, const struct job *j, const json_t *event, const struct job_outcome *o)
{
	struct uploads u = { .a = a, .list = json_array() };
	if (j->type->kind == JOB_TRAINING)
		training_uploads(&u, j, event, o);
	else
		processing_uploads(&u, j, event, o);
	return u.list;
}
