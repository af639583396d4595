/* job.c - see job.h. */
#include "job.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channels.h"
#include "crossval.h"
#include "data.h"
#include "termination.h"
#include "text.h"
#include "train.h"

struct job {
	const struct job_paths *paths;
	struct hyperparameters hyperparameters;
	struct channels channels;
	char *checkpoint_dir;
	struct matrix train, validation, all;
};

static char *join(const char *dir, const char *name)
{
	struct text t = TEXT_INIT;
	text_printf(&t, "%s/%s", dir, name);
	return text_take(&t);
}

void job_paths_init(struct job_paths *p)
{
	const char *base = getenv("SAGEMAKER_BASE_DIR");
	if (!base || !*base)
		base = "/opt/ml";
	p->config = join(base, "input/config");
	p->data = join(base, "input/data");
	p->model = join(base, "model");
	p->output = join(base, "output");
	p->output_data = join(base, "output/data");
}

void job_paths_release(struct job_paths *p)
{
	free(p->config);
	free(p->data);
	free(p->model);
	free(p->output);
	free(p->output_data);
}

/* ---- configuration ---- */

/* An object from a file of the config directory. A missing optional file is an empty object. */
static json_t *read_config(const struct job_paths *p, const char *name, bool optional, struct failure *fail)
{
	CLEANUP_FREE char *path = join(p->config, name);
	if (optional && access(path, F_OK) < 0)
		return json_object();
	json_error_t e;
	json_t *v = json_load_file(path, 0, &e);
	if (!v)
		failure_platform(fail, "read `%s`: %s", path, e.text);
	else if (!json_is_object(v)) {
		failure_platform(fail, "read `%s`: it is no JSON object", path);
		json_decref(v);
		v = NULL;
	}
	return v;
}

static int check_hosts(const json_t *resources, struct failure *fail)
{
	const json_t *hosts = json_object_get(resources, "hosts");
	size_t n = json_array_size(hosts);
	if (hosts && n == 0)
		return failure_platform(fail, "Number of hosts should be an int greater than or equal to 1");
	if (n > 1)
		return failure_algorithm(fail,
					 "Distributed training with %zu hosts is not supported by this image; set the "
					 "instance count to 1",
					 n);
	return 0;
}

static int check_dask(const struct hyperparameters *h, struct failure *fail)
{
	if (strcmp(hyperparameters_text(h, "use_dask_gpu_training", "false"), "true") != 0)
		return 0;
	return failure_user(fail,
			    "Some configurations unsuitable for Dask GPU training were found: Dask training is only "
			    "available for `gpu_hist` tree method on GPU instances, and this image has no GPU "
			    "support");
}

static void decref(json_t **v)
{
	json_decref(*v);
}
#define CLEANUP_JSON __attribute__((cleanup(decref)))

static int read_job(struct job *j, struct failure *fail)
{
	CLEANUP_JSON json_t *hyperparameters = read_config(j->paths, "hyperparameters.json", false, fail);
	if (!hyperparameters || hyperparameters_parse(hyperparameters, &j->hyperparameters, fail) < 0)
		return -1;
	CLEANUP_JSON json_t *data = read_config(j->paths, "inputdataconfig.json", false, fail);
	if (!data || channels_check(data, &j->channels, fail) < 0)
		return -1;
	CLEANUP_JSON json_t *resources = read_config(j->paths, "resourceconfig.json", true, fail);
	if (!resources || check_hosts(resources, fail) < 0)
		return -1;
	CLEANUP_JSON json_t *checkpoints = read_config(j->paths, "checkpointconfig.json", true, fail);
	if (!checkpoints)
		return -1;
	const char *dir = json_string_value(json_object_get(checkpoints, "LocalPath"));
	j->checkpoint_dir = dir && *dir ? mem_dup(dir) : NULL;
	return check_dask(&j->hyperparameters, fail);
}

/* ---- data ---- */

struct channel_data {
	char *dir;
	struct data_files files;
};

static void channel_release(struct channel_data *c)
{
	data_files_release(&c->files);
	free(c->dir);
}

static int find_channel(const struct job *j, const char *name, struct channel_data *out, struct failure *fail)
{
	out->dir = join(j->paths->data, name);
	if (data_files_find(&out->files, out->dir, fail) < 0)
		return -1;
	if (out->files.count == 0)
		return failure_user(fail, "No data in %s channel path %s", strcmp(name, "train") ? name : "training",
				    out->dir);
	return 0;
}

static int load_channel(const struct job *j, const struct channel_data *c, char *delimiter, struct matrix *out,
			struct failure *fail)
{
	bool weights = hyperparameters_integer(&j->hyperparameters, "csv_weights", 0) == 1;
	log_info("File path %s of input files", c->dir);
	if (data_check(&c->files, j->channels.content_type, delimiter, fail) < 0)
		return -1;
	return data_load(&c->files, j->channels.content_type, *delimiter, weights, out, fail);
}

/* Both channels in one matrix, for folds. */
static int load_all(struct job *j, const struct channel_data *train, const struct channel_data *validation,
		    char delimiter, struct failure *fail)
{
	struct data_files both = DATA_FILES_INIT;
	const struct data_files *parts[] = { &train->files, &validation->files };
	log_info("Read both train and validation data into one DMatrix");
	for (int i = 0; i < 2; i++) {
		for (size_t k = 0; k < parts[i]->count; k++) {
			both.paths = mem_need(realloc(both.paths, (both.count + 1) * sizeof *both.paths));
			both.paths[both.count++] = mem_dup(parts[i]->paths[k]);
		}
	}
	bool weights = hyperparameters_integer(&j->hyperparameters, "csv_weights", 0) == 1;
	int r = data_load(&both, j->channels.content_type, delimiter, weights, &j->all, fail);
	data_files_release(&both);
	return r;
}

static int load_data(struct job *j, struct failure *fail)
{
	__attribute__((cleanup(channel_release))) struct channel_data train = { 0 }, validation = { 0 };
	char delimiter = 0, validation_delimiter = 0;
	if (find_channel(j, "train", &train, fail) < 0)
		return -1;
	if (j->channels.has_validation && find_channel(j, "validation", &validation, fail) < 0)
		return -1;
	data_files_warn_same(&train.files, &validation.files);
	if (load_channel(j, &train, &delimiter, &j->train, fail) < 0)
		return -1;
	if (j->channels.has_validation && load_channel(j, &validation, &validation_delimiter, &j->validation, fail) < 0)
		return -1;
	log_info("Single node training.");
	log_info("Train matrix has %zu rows and %zu columns", j->train.rows, j->train.columns);
	if (j->channels.has_validation)
		log_info("Validation matrix has %zu rows", j->validation.rows);
	if (j->channels.has_validation && hyperparameters_find(&j->hyperparameters, "_kfold"))
		return load_all(j, &train, &validation, delimiter, fail);
	return 0;
}

/* ---- training ---- */

/* A stopped job leaves nothing but models in the model directory. */
static void clean_model_dir(const char *path)
{
	DIR *dir = opendir(path);
	if (!dir)
		return;
	for (struct dirent *e; (e = readdir(dir));)
		if (strncmp(e->d_name, MODEL_NAME, strlen(MODEL_NAME)) != 0)
			unlinkat(dirfd(dir), e->d_name, 0);
	closedir(dir);
}

static int train_one(const struct training *t, bool *stopped, struct failure *fail)
{
	__attribute__((cleanup(trained_release))) struct trained done = TRAINED_INIT;
	if (train_model(t, &done, fail) < 0)
		return -1;
	*stopped = done.terminated;
	return booster_save(done.booster, t->model_dir, t->model_name, t->format, fail);
}

static int train_job(const struct job *j, bool *stopped, struct failure *fail)
{
	struct metric_plan plan;
	struct training t = {
		.hyperparameters = &j->hyperparameters,
		.plan = &plan,
		.train = &j->train,
		.watch = &j->train,
		.validation = j->channels.has_validation ? &j->validation : NULL,
		.checkpoint_dir = j->checkpoint_dir,
		.model_dir = j->paths->model,
		.model_name = MODEL_NAME,
	};
	if (model_format_from_env(&t.format, fail) < 0)
		return -1;
	metric_plan_make(&j->hyperparameters, &plan);
	int r;
	if (hyperparameters_find(&j->hyperparameters, "_kfold"))
		r = crossval_run(&t, j->all.handle ? &j->all : &j->train, j->paths->output_data, stopped, fail);
	else
		r = train_one(&t, stopped, fail);
	metric_plan_release(&plan);
	if (r == 0 && *stopped)
		clean_model_dir(j->paths->model);
	return r;
}

int job_run(const struct job_paths *p, bool *stopped, struct failure *fail)
{
	struct job j = { .paths = p };
	*stopped = false;
	termination_end_at_once();
	booster_log_to_stdout();
	log_info("Running XGBoost Sagemaker in algorithm mode");
	log_info("Determined 0 GPU(s) available on the instance.");
	int r = read_job(&j, fail);
	if (r == 0)
		r = load_data(&j, fail);
	if (r == 0)
		r = train_job(&j, stopped, fail);
	matrix_release(&j.all);
	matrix_release(&j.validation);
	matrix_release(&j.train);
	hyperparameters_release(&j.hyperparameters);
	free(j.checkpoint_dir);
	return r;
}
