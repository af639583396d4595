/* pipeline_rig.c - see pipeline_rig.h. */
#include "pipeline_rig.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/map.h"
#include "sagemaker/room.h"
#include "wire/model.h"

static struct rig {
	struct store *store;
	struct engine *engine;
	struct sagemaker *sm;
	struct arena arena;
	int64_t now_ms;
	uint64_t random;
	int moments, deadly;
	bool dead, died;
	struct map objects; /* uri -> text */
	int break_s3;
	bool break_describe;
	int refuse_jobs;
	char refuse_code[64], refuse_message[256];
	json_t *out;      /* of the last call */
	struct error err; /* of the last call */
	int answered, rc;
} rig;

/* ---- the jobs room, played ---- */

const struct store_migration job_migrations[] = {
	{ "fake.jobs", 1,
	  "CREATE TABLE fake_job(num INTEGER PRIMARY KEY, kind INTEGER, name TEXT UNIQUE, request TEXT, parent TEXT, "
	  "status TEXT);"
	  "CREATE INDEX fake_job_status ON fake_job(status, num);"
	  "CREATE TABLE fake_tag(arn TEXT, tags TEXT)" },
	{ NULL, 0, NULL },
};
const struct wire_op job_ops[] = { { .name = NULL } };

int sagemaker_jobs_init(struct sagemaker *s, struct error *err)
{
	(void)s, (void)err;
	return 0;
}

const char *job_kind_name(enum job_kind kind)
{
	return kind == JOB_TRAINING ? "training-job" : "processing-job";
}

static const char *job_member(enum job_kind kind, const char *what)
{
	return arena_printf(&rig.arena, "%s%s", kind == JOB_TRAINING ? "TrainingJob" : "ProcessingJob", what);
}

int job_create(struct sagemaker *s, struct turn *t, enum job_kind kind, const json_t *request, const char *parent,
	       const char **arn, struct error *err)
{
	const char *name = json_get_text(request, job_member(kind, "Name"));
	if (rig.refuse_jobs > 0) {
		rig.refuse_jobs--;
		return rig.refuse_code[0] ? error_aws(err, rig.refuse_code, "%s", rig.refuse_message)
					  : error_set(err, "%s", rig.refuse_message);
	}
	*arn = sagemaker_arn(s, turn_arena(t), job_kind_name(kind), name);
	CLEANUP_FREE char *text = json_text_dup(request);
	return db_exec(turn_db(t), err,
		       "INSERT INTO fake_job(kind, name, request, parent, status) VALUES(?, ?, ?, ?, 'InProgress')",
		       "isss", (int64_t)kind, name, text, parent) < 0
		       ? -1
		       : 0;
}

json_t *job_describe(struct sagemaker *s, struct db *db, enum job_kind kind, const char *name, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (rig.break_describe) {
		error_set(err, "the disk is on fire");
		return NULL;
	}
	int rc = db_row(db, &rows, err, "SELECT request, status FROM fake_job WHERE name=?", "s", name);
	if (rc == 0)
		error_aws(err, "ValidationException", "Requested resource not found.");
	if (rc <= 0)
		return NULL;
	json_t *doc = json_parse(rows_str(&rows, 0), err);
	json_set_text(doc, job_member(kind, "Arn"), sagemaker_arn(s, &rig.arena, job_kind_name(kind), name));
	json_object_set_new(doc, job_member(kind, "Status"),
			    json_stringn(rows_str(&rows, 1).ptr, rows_str(&rows, 1).len));
	if (kind == JOB_TRAINING)
		json_object_set_new(
			doc, "ModelArtifacts",
			json_pack("{s:o}", "S3ModelArtifacts", json_sprintf("s3://out/%s/model.tar.gz", name)));
	return doc;
}

int job_stop(struct sagemaker *s, struct turn *t, enum job_kind kind, const char *name, struct error *err)
{
	(void)s, (void)kind;
	return db_exec(turn_db(t), err, "UPDATE fake_job SET status='Stopping' WHERE name=? AND status='InProgress'",
		       "s", name) < 0
		       ? -1
		       : 0;
}

int job_tags_put(struct turn *t, const char *arn, const json_t *tags, struct error *err)
{
	CLEANUP_FREE char *text = tags ? json_text_dup(tags) : NULL;
	return db_exec(turn_db(t), err, "INSERT INTO fake_tag(arn, tags) VALUES(?, ?)", "ss", arn, text) < 0 ? -1 : 0;
}

int job_tags_drop(struct turn *t, const char *arn, struct error *err)
{
	return db_exec(turn_db(t), err, "DELETE FROM fake_tag WHERE arn=?", "s", arn) < 0 ? -1 : 0;
}

/* ---- S3 and the wire, played ---- */

bool s3_parse_uri(struct str uri, struct str *bucket, struct str *key)
{
	if (!str_starts(uri, STR("s3://")))
		return false;
	struct str rest = str_skip(uri, 5);
	ptrdiff_t slash = str_find_char(rest, '/');
	*bucket = slash < 0 ? rest : str_head(rest, (size_t)slash);
	*key = slash < 0 ? STR("") : str_skip(rest, (size_t)slash + 1);
	return bucket->len > 0;
}

int s3_read(struct s3 *s, struct db *db, struct str bucket, struct str key, int64_t max, struct arena *a,
	    struct str *out, struct error *err)
{
	(void)s, (void)db;
	if (rig.break_s3 > 0) {
		rig.break_s3--;
		return error_set(err, "the disk is on fire");
	}
	const char *uri = arena_printf(a, "s3://%.*s/%.*s", STR_ARG(bucket), STR_ARG(key));
	const char *text = map_get(&rig.objects, str_from(uri));
	if (!text)
		return error_aws(err, "NoSuchKey", "The specified key does not exist.");
	if ((int64_t)strlen(text) > max)
		return error_aws(err, "EntityTooLarge", "The object is too large.");
	*out = str_from(text);
	return 0;
}

void rig_put(const char *uri, const char *text)
{
	CLEANUP_FREE void *old = map_set(&rig.objects, str_from(uri), mem_strdup(text));
	(void)old;
}

void rig_break_s3(int times)
{
	rig.break_s3 = times;
}

static void answer(int rc, json_t *out, struct error *err)
{
	rig.answered++;
	rig.rc = rc;
	json_decref(rig.out);
	rig.out = rc == 0 && !out ? json_object() : out;
	if (rc < 0 && err) {
		error_release(&rig.err);
		snprintf(rig.err.code, sizeof rig.err.code, "%s", err->code);
		rig.err.message = mem_strdup(error_text(err));
	}
}

void wire_answer(struct call *c, int rc, json_t *out, struct error *err)
{
	(void)c;
	answer(rc, out, err);
}

/* Nobody calls from inside here. */
int wire_commit(struct call *c, struct turn *t, json_t *out, struct error *err)
{
	return 0;
}

/* ---- life ---- */

static int64_t now_ms(void *ctx)
{
	(void)ctx;
	return rig.now_ms;
}

static uint64_t next_random(void *ctx)
{
	(void)ctx;
	rig.random ^= rig.random << 13;
	rig.random ^= rig.random >> 7;
	return rig.random ^= rig.random << 17;
}

static bool crash(void *ctx, enum engine_crash at)
{
	(void)ctx, (void)at;
	rig.dead = rig.deadly > 0 && ++rig.moments == rig.deadly;
	rig.died |= rig.dead;
	return rig.dead;
}

static void life_begin(void)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const struct engine_options options = {
		.store = rig.store, .now_ms = now_ms, .random = next_random, .manual = true, .crash = crash
	};
	struct sagemaker_options sm = { .account = "123456789012", .region = "us-east-1", .data_dir = "/nonexistent" };
	if (engine_new(&options, &rig.engine, &err) < 0)
		fail_msg("engine: %s", error_text(&err));
	sm.engine = rig.engine;
	if (sagemaker_new(&sm, &rig.sm, &err) < 0 || engine_start(rig.engine, &err) < 0)
		fail_msg("start: %s", error_text(&err));
}

static void life_end(void)
{
	engine_free(rig.engine);
	sagemaker_free(rig.sm);
	rig.engine = NULL;
	rig.sm = NULL;
}

void rig_open(void)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct store_migration all[16] = { 0 };
	const struct store_migration *const rooms[] = { engine_migrations, sagemaker_migrations, job_migrations };
	size_t n = 0;
	for (size_t i = 0; i < 3; i++)
		for (const struct store_migration *m = rooms[i]; m->room; m++)
			all[n++] = *m;
	rig = (struct rig){ .now_ms = 1700000000000, .random = 88172645463325252u };
	if (store_open("", all, &rig.store, &err) < 0)
		fail_msg("store: %s", error_text(&err));
	life_begin();
}

void rig_close(void)
{
	life_end();
	store_close(rig.store);
	json_decref(rig.out);
	error_release(&rig.err);
	for (size_t i = 0; i < rig.objects.count; i++)
		mem_cleanup_free(&rig.objects.entries[i].value);
	map_release(&rig.objects);
	arena_release(&rig.arena);
	rig = (struct rig){ 0 };
}

int rig_setup(void **state)
{
	(void)state;
	rig_open();
	return 0;
}

int rig_teardown(void **state)
{
	(void)state;
	rig_close();
	return 0;
}

void rig_crash(void)
{
	life_end();
	rig.dead = false;
	life_begin();
}

void rig_die_at(int n)
{
	rig.deadly = n;
	rig.moments = 0;
	rig.died = false;
}

bool rig_died(void)
{
	return rig.died;
}

void rig_run(void)
{
	for (int i = 0; i < 100000; i++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		int rc = engine_step(rig.engine, &err);
		if (rig.dead)
			rig_crash();
		else if (rc < 0)
			fail_msg("engine: %s", error_text(&err));
		else if (rc == 0)
			return;
	}
	fail_msg("the engine does not come to rest");
}

void rig_wait_ms(int64_t ms)
{
	int64_t end = rig.now_ms + ms;
	rig_run();
	for (;;) {
		int64_t next = engine_next_timer_ms(rig.engine);
		if (next > end)
			break;
		rig.now_ms = next > rig.now_ms ? next : rig.now_ms;
		rig_run();
	}
	rig.now_ms = end;
}

int64_t rig_now_ms(void)
{
	return rig.now_ms;
}

/* ---- calls ---- */

struct command {
	struct call *c;
	const struct wire_op *op;
	json_t *in, *out;
};

static int command_do(struct turn *t, void *arg, struct error *err)
{
	struct command *cmd = arg;
	return cmd->op->command(cmd->c, t, cmd->in, &cmd->out, err);
}

static void command_end(void *arg, int rc, struct error *err)
{
	struct command *cmd = arg;
	answer(rc, cmd->out, err);
}

static json_t *request_parse(const char *format, va_list ap)
{
	char *text = arena_vprintf(&rig.arena, format, ap);
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	json_error_t why;
	json_t *in = json_loads(text, 0, &why);
	if (!in)
		fail_msg("request: %s: %s", why.text, text);
	return in;
}

static void call_query(struct call *c, const struct wire_op *op, json_t *in)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	json_t *out = NULL;
	struct db *db = store_read_begin(rig.store, &err);
	assert_non_null(db);
	int rc = op->query(c, db, in, &out, &err);
	store_read_end(rig.store, db);
	answer(rc, out, &err);
}

static const struct wire_op *operation_find(const char *name)
{
	const struct wire_op *op = sagemaker_service(rig.sm)->ops;
	while (op->name && strcmp(op->name, name) != 0)
		op++;
	if (!op->name)
		fail_msg("no operation %s", name);
	return op;
}

static void call_do(const char *name, json_t *in)
{
	static const struct principal who = { "AK", "123456789012", "arn:aws:iam::123456789012:user/me", "AIDA",
					      false };
	struct call c = { .arena = &rig.arena,
			  .who = &who,
			  .region = "us-east-1",
			  .account = "123456789012",
			  .operation = name,
			  .request_id = "r",
			  .engine = rig.engine,
			  .service_ctx = rig.sm };
	bool before = rig.died;
	for (int tries = 0; tries < 2; tries++) {
		const struct wire_op *op = operation_find(name);
		struct command cmd = { &c, op, in, NULL };
		c.engine = rig.engine;
		c.service_ctx = rig.sm;
		rig.answered = 0;
		error_release(&rig.err);
		if (op->query)
			call_query(&c, op, in);
		else if (op->async)
			op->async(&c, in);
		else
			engine_submit(rig.engine, command_do, command_end, &cmd);
		rig_run();
		if (before || !rig.died || (rig.answered == 1 && rig.rc == 0))
			break; /* else the client saw the connection die, and asks again with the same token */
	}
	if (rig.answered != 1)
		fail_msg("%s was answered %d times", name, rig.answered);
}

static void call_checked(const char *name, json_t *in)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const struct model_service *m = model_find("sagemaker");
	if (model_validate_shape(&rig.arena, m, arena_printf(&rig.arena, "%sRequest", name), in, NULL, &err) < 0)
		fail_msg("%s: the test's request: %s", name, error_text(&err));
	call_do(name, in);
	if (rig.rc == 0 &&
	    model_validate_shape(&rig.arena, m, arena_printf(&rig.arena, "%sResponse", name), rig.out, NULL, &err) < 0)
		fail_msg("%s: the answer: %s", name, error_text(&err));
}

json_t *rig_call(const char *operation, const char *request, ...)
{
	va_list ap;
	va_start(ap, request);
	CLEANUP_JSON json_t *in = request_parse(request, ap);
	va_end(ap);
	call_checked(operation, in);
	if (rig.rc < 0)
		fail_msg("%s: %s: %s", operation, rig.err.code, error_text(&rig.err));
	return rig.out;
}

const char *rig_refused(const char *operation, const char *request, ...)
{
	va_list ap;
	va_start(ap, request);
	CLEANUP_JSON json_t *in = request_parse(request, ap);
	va_end(ap);
	call_checked(operation, in);
	if (rig.rc == 0)
		fail_msg("%s was accepted", operation);
	return arena_printf(&rig.arena, "%s: %s", rig.err.code, error_text(&rig.err));
}

/* ---- pipelines ---- */

#define TOKEN "0123456789012345678901234567"

static const char *token(void)
{
	static int n;
	return arena_printf(&rig.arena, TOKEN "-%07d", ++n);
}

void rig_pipeline(const char *parameters, const char *steps)
{
	char *text = arena_printf(
		&rig.arena,
		"{'Version':'2020-12-01','Parameters':[%s],'PipelineExperimentConfig':{'ExperimentName':"
		"{'Get':'Execution.PipelineName'},'TrialName':{'Get':'Execution.PipelineExecutionId'}},'Steps':[%s]}",
		parameters, steps);
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	CLEANUP_JSON json_t *in =
		json_pack("{s:s,s:s,s:s,s:s}", "PipelineName", "P", "PipelineDefinition", text, "RoleArn",
			  "arn:aws:iam::123456789012:role/R", "ClientRequestToken", token());
	call_checked("CreatePipeline", in);
	if (rig.rc < 0)
		fail_msg("CreatePipeline: %s: %s", rig.err.code, error_text(&rig.err));
}

const char *rig_start(const char *rest)
{
	json_t *out = rig_call("StartPipelineExecution", "{'PipelineName':'P','ClientRequestToken':'%s'%s%s}", token(),
			       *rest ? "," : "", rest);
	return arena_strdup(&rig.arena, json_get_str(out, "PipelineExecutionArn"));
}

const char *rig_status(const char *arn)
{
	json_t *out = rig_call("DescribePipelineExecution", "{'PipelineExecutionArn':'%s'}", arn);
	return arena_strdup(&rig.arena, json_get_str(out, "PipelineExecutionStatus"));
}

const char *rig_steps(const char *arn)
{
	struct buf b = BUF_INIT;
	json_t *list = json_object_get(
		rig_call("ListPipelineExecutionSteps", "{'PipelineExecutionArn':'%s','SortOrder':'Ascending'}", arn),
		"PipelineExecutionSteps");
	size_t i;
	json_t *step;
	json_array_foreach (list, i, step)
		buf_printf(&b, "%s%s:%s", i ? " " : "", json_get_text(step, "StepName"),
			   json_get_text(step, "StepStatus"));
	const char *text = arena_strdup(&rig.arena, buf_str(&b));
	buf_release(&b);
	return text;
}

json_t *rig_step(const char *arn, const char *name)
{
	json_t *list = json_object_get(rig_call("ListPipelineExecutionSteps", "{'PipelineExecutionArn':'%s'}", arn),
				       "PipelineExecutionSteps");
	size_t i;
	json_t *step;
	json_array_foreach (list, i, step)
		if (strcmp(json_get_text(step, "StepName"), name) == 0)
			return step;
	return NULL;
}

/* ---- jobs ---- */

static const char *job_column(const char *step, const char *column)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *sql = arena_printf(
		&rig.arena,
		"SELECT %s FROM fake_job WHERE request LIKE '%%\"sagemaker:pipeline-step-name\",\"Value\":\"%s\"%%'"
		" AND status IN ('InProgress', 'Stopping') ORDER BY num DESC",
		column, step);
	struct db *db = store_read_begin(rig.store, &err);
	int rc = db_row(db, &rows, &err, sql, "");
	const char *text = rc == 1 ? arena_strdup(&rig.arena, rows_str(&rows, 0)) : NULL;
	rows_done(&rows);
	store_read_end(rig.store, db);
	return text;
}

const char *rig_job(const char *step)
{
	return job_column(step, "name");
}

json_t *rig_job_request(const char *step)
{
	const char *text = job_column(step, "request");
	json_t *request = text ? json_loads(text, 0, NULL) : NULL;
	if (!request)
		fail_msg("no job runs for %s", step);
	arena_defer(&rig.arena, (void (*)(void *))json_decref, request);
	return request;
}

struct ending {
	const char *name, *status, *reason;
};

static int ending_do(struct turn *t, void *arg, struct error *err)
{
	struct ending *e = arg;
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_row(turn_db(t), &rows, err,
		   "SELECT parent, kind FROM fake_job WHERE name=? AND status IN ('InProgress', 'Stopping')", "s",
		   e->name) != 1)
		return 0; /* the crash came after the commit */
	const char *parent = arena_strdup(turn_arena(t), rows_str(&rows, 0));
	enum job_kind kind = (enum job_kind)rows_int(&rows, 1);
	rows_done(&rows);
	if (db_exec(turn_db(t), err, "UPDATE fake_job SET status=? WHERE name=?", "ss", e->status, e->name) < 0)
		return -1;
	json_t *event = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s?}", "type", "job-ended", "kind", job_kind_name(kind),
				  "name", e->name, "arn", "arn", "status", e->status, "reason", e->reason);
	turn_send(t, parent, event);
	return 0;
}

static void ending_done(void *arg, int rc, struct error *err)
{
	(void)arg, (void)rc, (void)err;
}

void rig_job_end(const char *step, const char *status, const char *reason)
{
	for (int i = 0;; i++) {
		struct ending e = { rig_job(step), status, reason };
		bool before = rig.died;
		if (!e.name) {
			if (i == 0)
				fail_msg("no job runs for %s", step);
			return;
		}
		engine_submit(rig.engine, ending_do, ending_done, &e);
		rig_run();
		if (before || !rig.died)
			return; /* a command is lost with the process that took it: then once more */
	}
}

static int job_count(const char *where)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	struct db *db = store_read_begin(rig.store, &err);
	int rc = db_row(db, &rows, &err, arena_printf(&rig.arena, "SELECT count(*) FROM fake_job WHERE %s", where), "");
	int n = rc == 1 ? (int)rows_int(&rows, 0) : -1;
	rows_done(&rows);
	store_read_end(rig.store, db);
	return n;
}

int rig_jobs_created(void)
{
	return job_count("1=1");
}

int rig_jobs_running(void)
{
	return job_count("status IN ('InProgress', 'Stopping')");
}

void rig_refuse_jobs(int times, const char *code, const char *message)
{
	rig.refuse_jobs = times;
	snprintf(rig.refuse_code, sizeof rig.refuse_code, "%s", code);
	snprintf(rig.refuse_message, sizeof rig.refuse_message, "%s", message);
}

void rig_break_describe(bool broken)
{
	rig.break_describe = broken;
}

void rig_sql(const char *sql)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = store_writer(rig.store);
	if (db_begin(db, &err) < 0 || db_exec(db, &err, sql, "") < 0 || db_commit(db, &err) < 0)
		fail_msg("%s: %s", sql, error_text(&err));
}

static bool end_one(void)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	struct db *db = store_read_begin(rig.store, &err);
	int rc =
		db_row(db, &rows, &err, "SELECT name FROM fake_job WHERE status='InProgress' ORDER BY num LIMIT 1", "");
	struct ending e = { rc == 1 ? arena_strdup(&rig.arena, rows_str(&rows, 0)) : NULL, "Completed", NULL };
	rows_done(&rows);
	store_read_end(rig.store, db);
	if (!e.name)
		return false;
	engine_submit(rig.engine, ending_do, ending_done, &e);
	rig_run();
	return true;
}

void rig_finish(void)
{
	rig_run();
	while (end_one())
		;
}
