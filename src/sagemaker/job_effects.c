/* job_effects.c - what jobs do outside the store: staging, the executor, reading logs, preparing outputs. On worker
 * threads.
 *
 * DESIGN: each performer may run again after a crash. Starting is idempotent by the task's id, staging by its marker;
 * an output file is linked before it is prepared, so that a second run finds it still in its place (the first run's
 * body is litter that the blob store collects). */
#include "sagemaker/job_impl.h"
#include "sagemaker/metrics.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static json_t *event_of(const char *type)
{
	json_t *e = json_object();
	json_set_text(e, "type", type);
	return e;
}

/* ---- start ---- */

/* Whether the job is still wanted. */
static bool still_wanted(struct sagemaker *s, const json_t *payload)
{
	bool wanted = true;
	struct db *db = store_read_begin(engine_store(s->o.engine), NULL);
	if (!db)
		return true;
	struct rows rows = { 0 };
	if (db_row(db, &rows, NULL, "SELECT status FROM sagemaker_job WHERE kind=? AND name=?", "ss",
		   json_get_text(payload, "kind"), json_get_text(payload, "name")) > 0)
		wanted = str_eqz(rows_str(&rows, 0), "InProgress");
	rows_done(&rows);
	store_read_end(engine_store(s->o.engine), db);
	return wanted;
}

static void set_threads(json_t *container, double cpus)
{
	static const char *const names[] = { "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
					     "NUMEXPR_MAX_THREADS" };
	json_t *env = json_get(container, "env");
	double quota = json_get_real(container, "cpu_quota", 1);
	char text[24];
	snprintf(text, sizeof(text), "%d", (int)(quota < cpus ? quota : cpus));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!json_get(env, names[i]))
			json_set_text(env, names[i], text);
}

/* Thread pools of the size of the quota that the container really gets. */
static void size_threads(struct sagemaker *s, json_t *spec)
{
	double cpus = task_cpus(s->o.tasks);
	size_t i;
	json_t *c;
	json_array_foreach (json_get(spec, "containers"), i, c)
		set_threads(c, cpus == 0 ? 1 << 20 : cpus < 1 ? 1 : cpus);
}

static int touch_logs(const json_t *spec, struct error *err)
{
	size_t i;
	json_t *c;
	json_array_foreach (json_get(spec, "containers"), i, c)
		if (json_get_text(c, "log") && logs_touch(json_get_text(c, "log"), err) < 0)
			return -1;
	return 0;
}

static json_t *start_failed(const char *reason, const char *note)
{
	json_t *e = event_of("start-failed");
	json_set_text(e, "reason", reason);
	json_set_text(e, "note", note);
	return e;
}

/* Staging failed: the user's fault has AWS's words. */
static json_t *stage_failed(const json_t *payload, const struct error *why)
{
	struct arena a = ARENA_INIT;
	bool training = str_eqz(json_get_str(payload, "kind"), "training-job");
	json_t *e;
	if (error_is(why, STAGE_CLIENT_ERROR))
		e = start_failed(job_reason(&a, "ClientError: %s %s",
					    training ? "Data download failed:" : "Failed to download data.",
					    error_text(why)),
				 NULL);
	else
		e = start_failed(NULL, error_text(why));
	arena_release(&a);
	return e;
}

static json_t *start(struct sagemaker *s, struct engine *e, const json_t *payload)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *spec = json_deep_copy(json_get(payload, "spec"));
	const json_t *stage = json_get(payload, "stage");
	const char *task = json_get_text(spec, "id"), *owner = json_get_text(payload, "owner");
	if (!s->o.tasks)
		return start_failed(NULL, "this daemon runs without an executor");
	if (json_array_size(json_get(stage, "sources")))
		engine_post(e, owner, event_of("staging"), NULL, NULL);
	if (stage_task(e, s->o.s3, s->o.iam, s->o.data_dir, task, stage, &err) < 0) {
		log_warn("sagemaker", "stage %s: %s", task, error_text(&err));
		return stage_failed(payload, &err);
	}
	if (!still_wanted(s, payload)) {
		stage_remove(s->o.data_dir, task);
		json_t *stopped = start_failed(NULL, NULL);
		json_set_bool(stopped, "stopped", true);
		return stopped;
	}
	size_threads(s, spec);
	if (touch_logs(spec, &err) < 0)
		return start_failed(NULL, error_text(&err));
	if (task_start(s->o.tasks, owner, spec, &err) >= 0)
		return event_of("accepted");
	if (error_is(&err, "ValidationException")) {
		struct arena a = ARENA_INIT;
		json_t *failed = start_failed(job_reason(&a, "ClientError: %s", error_text(&err)), NULL);
		arena_release(&a);
		stage_remove(s->o.data_dir, task);
		return failed;
	}
	json_t *again = event_of("start-retry");
	json_set_text(again, "error", error_text(&err));
	return again;
}

static void perform_start(void *ctx, struct engine *e, const struct effect *fx)
{
	engine_effect_done(e, fx->seq, start(ctx, e, fx->payload));
}

/* ---- stop ---- */

static void perform_stop(void *ctx, struct engine *e, const struct effect *fx)
{
	struct sagemaker *s = ctx;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *task = json_get_text(fx->payload, "task");
	/* Without an executor nothing runs that could be stopped; when it is away only for now it gets the wish again.
	 */
	for (int i = 0; s->o.tasks && task_stop(s->o.tasks, task, "stop", &err) < 0; i++) {
		if (i == 20) {
			log_error("sagemaker", "stop %s: %s", task, error_text(&err));
			break;
		}
		error_release(&err);
		err = ERROR_INIT;
		usleep(500000);
	}
	if (json_get_bool(fx->payload, "remove", false))
		stage_remove(s->o.data_dir, task);
	engine_effect_done(e, fx->seq, NULL);
}

/* ---- finish ---- */

/* An archive without members is no artifact (AWS uploads none). Its text is only zero bytes. */
static bool is_empty_archive(const char *path)
{
	char piece[16 * 1024];
	struct stat st;
	if (!str_ends(str_from(path), STR(".tar.gz")) || stat(path, &st) < 0 || st.st_size > 512)
		return false;
	gzFile in = gzopen(path, "rbe");
	if (!in)
		return false;
	int n = gzread(in, piece, sizeof(piece));
	bool empty = n >= 0 && n < (int)sizeof(piece);
	for (int i = 0; i < n; i++)
		empty &= piece[i] == 0;
	gzclose(in);
	return empty;
}

/* The file as a prepared body; NULL with err. */
static json_t *prepare_body(struct sagemaker *s, const char *path, const char *link_path, struct error *err)
{
	if (is_empty_archive(path))
		return json_null();
	unlink(link_path);
	if (link(path, link_path) < 0) {
		if (errno != EPERM && errno != EXDEV) {
			error_errno(err, errno, "output `%s`", path);
			return NULL;
		}
		return s3_prepare(s->o.s3, path, err); /* no second name: the store takes the file as it is */
	}
	json_t *body = s3_prepare(s->o.s3, link_path, err);
	unlink(link_path);
	return body;
}

/* May the job's role write all of this slice? */
static int may_upload(struct sagemaker *s, const json_t *payload, struct arena *a, struct error *err)
{
	struct principal who;
	const char *role = json_get_text(payload, "role");
	size_t i;
	json_t *u;
	struct db *db = s->o.iam && role ? store_read_begin(engine_store(s->o.engine), err) : NULL;
	if (!db)
		return s->o.iam && role ? -1 : 0;
	int rc = iam_role_principal(s->o.iam, db, a, role, "SageMaker", &who, err);
	store_read_end(engine_store(s->o.engine), db);
	json_array_foreach (json_get(payload, "uploads"), i, u)
		if (rc == 0)
			rc = iam_may_s3(s->o.iam, a, &who, "s3:PutObject", json_get_str(u, "bucket"),
					json_get_str(u, "key"), err);
	return rc;
}

static int prepare_uploads(struct sagemaker *s, const json_t *payload, json_t *bodies, struct error *err)
{
	struct arena a = ARENA_INIT;
	const char *dir = stage_dir(&a, s->o.data_dir, json_get_text(payload, "task"));
	size_t i;
	json_t *u;
	int rc = may_upload(s, payload, &a, err);
	json_array_foreach (json_get(payload, "uploads"), i, u) {
		if (rc < 0)
			break;
		json_t *body = prepare_body(s, json_get_text(u, "path"), arena_printf(&a, "%s.up", dir), err);
		if (!body) {
			rc = -1;
			break;
		}
		json_array_append_new(bodies, body);
	}
	arena_release(&a);
	return rc;
}

static int take_line(void *ctx, int64_t at_ms, struct str text)
{
	metrics_line(ctx, at_ms, text);
	return 0;
}

/* The built-in algorithm, not a script in its image. */
static bool is_xgboost(const json_t *doc)
{
	struct str image = json_get_str(json_get(doc, "AlgorithmSpecification"), "TrainingImage");
	return str_find(image, STR("xgboost")) >= 0 && !json_get(json_get(doc, "HyperParameters"), "sagemaker_program");
}

static json_t *read_metrics(struct sagemaker *s, const json_t *payload)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = store_read_begin(engine_store(s->o.engine), &err);
	if (!db)
		return NULL;
	CLEANUP_JSON json_t *doc = job_describe(s, db, JOB_TRAINING, json_get_text(payload, "name"), &err);
	store_read_end(engine_store(s->o.engine), db);
	struct metrics *m =
		doc ? metrics_new(json_get_path(doc, "AlgorithmSpecification.MetricDefinitions"), is_xgboost(doc), &err)
		    : NULL;
	if (!m)
		return NULL;
	size_t i;
	json_t *path;
	json_array_foreach (json_get(payload, "logs"), i, path)
		if (logs_each(json_string_value(path), take_line, m, &err) < 0)
			log_warn("sagemaker", "metrics of %s: %s", json_get_text(payload, "name"), error_text(&err));
	json_t *final = metrics_final(m);
	metrics_free(m);
	return final;
}

static void perform_finish(void *ctx, struct engine *e, const struct effect *fx)
{
	struct sagemaker *s = ctx;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const json_t *payload = fx->payload;
	json_t *event = event_of("finished"), *bodies = json_array();
	bool last = json_get_bool(payload, "last", true);
	json_object_set_new(event, "bodies", bodies);
	json_copy_key(event, payload, "at");
	if (prepare_uploads(s, payload, bodies, &err) < 0) {
		log_error("sagemaker", "outputs of %s: %s", json_get_text(payload, "name"), error_text(&err));
		json_set_text(event, "error", error_text(&err));
		last = true;
	}
	json_set_bool(event, "last", last);
	if (last && str_eqz(json_get_str(payload, "kind"), "training-job")) {
		json_t *metrics = read_metrics(s, payload);
		if (metrics)
			json_object_set_new(event, "metrics", metrics);
	}
	engine_effect_done(e, fx->seq, event);
}

/* ---- clean ---- */

/* The task's outputs and stage go only now: while "finished" is not on disk the files may be needed once more. */
static void perform_clean(void *ctx, struct engine *e, const struct effect *fx)
{
	struct sagemaker *s = ctx;
	stage_remove(s->o.data_dir, json_get_text(fx->payload, "task"));
	engine_effect_done(e, fx->seq, NULL);
}

void job_add_effects(struct sagemaker *s)
{
	static const struct {
		const char *name;
		void (*perform)(void *ctx, struct engine *e, const struct effect *fx);
	} kinds[] = { { "sagemaker.job-start", perform_start },
		      { "sagemaker.job-stop", perform_stop },
		      { "sagemaker.job-finish", perform_finish },
		      { "sagemaker.job-clean", perform_clean } };
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		engine_add_effect(s->o.engine, &(struct effect_type){ .name = kinds[i].name,
								      .perform = kinds[i].perform,
								      .ctx = s,
								      .blocking = true });
}

int sagemaker_jobs_init(struct sagemaker *s, struct error *err)
{
	static const struct actor_type processing = { "sagemaker.processing-job", job_turn_processing };
	static const struct actor_type training = { "sagemaker.training-job", job_turn_training };
	job_actor_bind(s);
	engine_add_actor(s->o.engine, &processing);
	engine_add_actor(s->o.engine, &training);
	job_add_effects(s);
	return 0;
}
