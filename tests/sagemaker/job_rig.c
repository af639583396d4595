/* job_rig.c - see job_rig.h. */
#include "job_rig.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "sagemaker/room.h"

static struct rig {
	char dir[64];
	struct store *store;
	struct engine *engine;
	struct logs *logs;
	struct sagemaker sm;
	struct arena arena;
	int64_t now_ms;
	uint64_t random;
	json_t *objects; /* "s3://b/k" -> text; "s3://b" -> "" for a bucket */
	json_t *binary;  /* URIs of objects put as bytes */
	json_t *spec, *out, *ended;
	struct error err;
	char owner[256], stopped[256];
	bool was_stopped;
	int starts, vanish, break_prepare, break_start;
	char break_code[64], break_message[256];
	int rc;
} rig;

/* ---- S3, played ---- */

static const char *uri_of(struct str bucket, struct str key)
{
	return arena_printf(&rig.arena, "s3://%.*s/%.*s", STR_ARG(bucket), STR_ARG(key));
}

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

bool s3_bucket_exists(struct db *db, struct str bucket)
{
	return json_object_get(rig.objects, arena_printf(&rig.arena, "s3://%.*s", STR_ARG(bucket))) != NULL;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int s3_each(struct db *db, struct str bucket, struct str prefix, int (*fn)(void *ctx, const struct s3_entry *e),
	    void *ctx, struct error *err)
{
	if (!s3_bucket_exists(db, bucket))
		return error_aws(err, "NoSuchBucket", "The specified bucket does not exist");
	const char *head = uri_of(bucket, prefix), *key;
	json_t *value;
	size_t n = 0, skip = strlen(uri_of(bucket, STR("")));
	const char **keys = mem_calloc(json_object_size(rig.objects) + 1, sizeof(*keys));
	json_object_foreach (rig.objects, key, value)
		if (strncmp(key, head, strlen(head)) == 0)
			keys[n++] = key;
	qsort(keys, n, sizeof(*keys), by_text);
	for (size_t i = 0; i < n; i++) {
		struct s3_entry e = { .key = str_from(keys[i] + skip),
				      .size_bytes =
					      (int64_t)json_string_length(json_object_get(rig.objects, keys[i])) };
		if (fn(ctx, &e))
			break;
	}
	free(keys);
	return 0;
}

int s3_read(struct s3 *s, struct db *db, struct str bucket, struct str key, int64_t max, struct arena *a,
	    struct str *out, struct error *err)
{
	json_t *value = json_object_get(rig.objects, uri_of(bucket, key));
	if (!value)
		return error_aws(err, "NoSuchKey", "The specified key does not exist.");
	*out = json_str(value);
	return 0;
}

static int write_file(const char *path, struct str text)
{
	FILE *f = fopen(path, "wx");
	if (!f)
		return -1;
	fwrite(text.ptr, 1, text.len, f);
	return fclose(f);
}

static struct str bytes_of(const char *uri, const json_t *value)
{
	struct str text = json_str(value);
	if (!json_object_get(rig.binary, uri))
		return text;
	char *p = arena_alloc(&rig.arena, text.len + 1);
	size_t n = 0;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		p[n++] = (char)(c < 0x80 ? c : (c & 0x1f) << 6 | ((unsigned char)text.ptr[++i] & 0x3f));
	}
	return str_of(p, n);
}

int s3_link(struct s3 *s, struct db *db, struct str bucket, struct str key, const char *path, struct error *err)
{
	json_t *value = json_object_get(rig.objects, uri_of(bucket, key));
	if (rig.vanish > 0 || !value) {
		rig.vanish -= rig.vanish > 0;
		return error_aws(err, "NoSuchKey", "The specified key does not exist.");
	}
	return write_file(path, bytes_of(uri_of(bucket, key), value)) < 0 ? error_errno(err, errno, "link `%s`", path)
									  : 0;
}

static const char *read_file(const char *path)
{
	struct stat st;
	FILE *f = fopen(path, "r");
	if (!f || fstat(fileno(f), &st) < 0)
		return NULL;
	char *text = arena_alloc(&rig.arena, (size_t)st.st_size + 1);
	size_t n = fread(text, 1, (size_t)st.st_size, f);
	text[n] = 0;
	fclose(f);
	return text;
}

json_t *s3_prepare(struct s3 *s, const char *path, struct error *err)
{
	if (rig.break_prepare > 0) {
		rig.break_prepare--;
		error_aws(err, "InsufficientStorage", "the disk is full");
		return NULL;
	}
	const char *text = read_file(path);
	if (!text) {
		error_errno(err, errno, "open `%s`", path);
		return NULL;
	}
	unlink(path);
	json_t *body = json_object();
	json_set_text(body, "text", text);
	return body;
}

int s3_commit(struct turn *t, struct str bucket, struct str key, const json_t *prepared, const char *content_type,
	      struct error *err)
{
	if (!s3_bucket_exists(turn_db(t), bucket))
		return error_aws(err, "NoSuchBucket", "The specified bucket does not exist");
	json_object_set(rig.objects, uri_of(bucket, key), json_get(prepared, "text"));
	return 0;
}

void rig_bucket(const char *bucket)
{
	json_object_set_new(rig.objects, arena_printf(&rig.arena, "s3://%s", bucket), json_string(""));
}

void rig_forget_bucket(const char *bucket)
{
	json_object_del(rig.objects, arena_printf(&rig.arena, "s3://%s", bucket));
}

const char *rig_text(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	const char *text = arena_vprintf(&rig.arena, fmt, ap);
	va_end(ap);
	return text;
}

void rig_put(const char *uri, const char *text)
{
	json_object_set_new(rig.objects, uri, json_string(text));
}

/* JSON holds no such bytes: each is kept as the character of its number. */
void rig_put_bytes(const char *uri, const void *p, size_t n)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	const unsigned char *c = p;
	for (size_t i = 0; i < n; i++) {
		if (c[i] < 0x80) {
			buf_add_char(&b, (char)c[i]);
		} else {
			buf_add_char(&b, (char)(0xc0 | c[i] >> 6));
			buf_add_char(&b, (char)(0x80 | (c[i] & 0x3f)));
		}
	}
	json_object_set_new(rig.objects, uri, json_stringn(buf_str(&b).ptr, b.len));
	json_object_set_new(rig.binary, uri, json_true());
}

const char *rig_object(const char *uri)
{
	return json_get_text(rig.objects, uri);
}

void rig_vanish(int n)
{
	rig.vanish = n;
}

void rig_break_prepare(int n)
{
	rig.break_prepare = n;
}

/* ---- credentials and ARNs, played ---- */

int iam_new_session(struct iam *i, struct turn *t, const char *role, const char *name, int64_t duration_ms,
		    struct iam_session *out, struct error *err)
{
	*out = (struct iam_session){ .access_key = "ASIARIG",
				     .secret_key = "rig-secret",
				     .role_arn = role,
				     .expires_ms = turn_now_ms(t) + duration_ms };
	out->token = arena_printf(turn_arena(t), "token of %s for %lld s", role, (long long)(duration_ms / 1000));
	return 0;
}

/* Every role may do everything here: tests/api/test_iam_policies.py has those that may not. */
int iam_role_principal(struct iam *i, struct db *db, struct arena *a, const char *role, const char *session_name,
		       struct principal *who, struct error *err)
{
	*who = (struct principal){ .access_key = "", .arn = role, .user_id = "", .unrestricted = true };
	return 0;
}

int iam_may_s3(struct iam *i, struct arena *a, const struct principal *who, const char *action, struct str bucket,
	       struct str key, struct error *err)
{
	return 0;
}

const char *sagemaker_arn(struct sagemaker *s, struct arena *a, const char *kind, const char *name)
{
	return arena_printf(a, "arn:aws:sagemaker:%s:%s:%s/%s", s->o.region, s->o.account, kind, name);
}

/* ---- the executor, played ---- */

int task_start(struct task_client *c, const char *owner, json_t *spec, struct error *err)
{
	rig.starts++;
	if (rig.break_start > 0 && strcmp(rig.break_code, "taken") != 0) {
		rig.break_start--;
		return *rig.break_code ? error_aws(err, rig.break_code, "%s", rig.break_message)
				       : error_set(err, "%s", rig.break_message);
	}
	json_decref(rig.spec);
	rig.spec = json_deep_copy(spec);
	snprintf(rig.owner, sizeof(rig.owner), "%s", owner);
	return rig.break_start-- > 0 ? error_set(err, "%s", rig.break_message) : 0;
}

int task_stop(struct task_client *c, const char *task, const char *reason, struct error *err)
{
	snprintf(rig.stopped, sizeof(rig.stopped), "%s", task);
	rig.was_stopped = true;
	return 0;
}

double task_cpus(struct task_client *c)
{
	return 2.0;
}

json_t *rig_spec(void)
{
	return rig.spec;
}

int rig_starts(void)
{
	return rig.starts;
}

const char *rig_stopped_task(void)
{
	return rig.was_stopped ? rig.stopped : NULL;
}

void rig_break_start(int n, const char *code, const char *message)
{
	rig.break_start = n;
	snprintf(rig.break_code, sizeof(rig.break_code), "%s", code);
	snprintf(rig.break_message, sizeof(rig.break_message), "%s", message);
}

static json_t *parse_quoted(const char *fmt, va_list ap)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	char *text = arena_vprintf(&rig.arena, fmt, ap);
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	json_t *value = json_parse(str_from(text), &err);
	if (!value)
		fail_msg("%s: %s", error_text(&err), text);
	return value;
}

void rig_task(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	json_t *inner = parse_quoted(fmt, ap), *event = json_object();
	va_end(ap);
	json_set_text(inner, "task", json_get_text(rig.spec, "id"));
	json_set_text(event, "type", "task");
	json_object_set_new(event, "event", inner);
	engine_post(rig.engine, rig.owner, event, NULL, NULL);
	rig_run();
}

void rig_task_stopped(const char *reason, int exit_code, const char *more)
{
	rig_task("{'type':'stopped','at':%lld,'started_at':%lld,'reason':'%s','containers':[{'name':'algo-1','exit_"
		 "code':%d,'signal':null,"
		 "'oom':false,'finished_at':%lld}]%s%s}",
		 (long long)rig.now_ms, (long long)rig.now_ms - 1500, reason, exit_code, (long long)rig.now_ms,
		 *more ? "," : "", more);
}

static void make_dirs(const char *path)
{
	char *copy = arena_strdup(&rig.arena, str_from(path));
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		mkdir(copy, 0755);
		*p = '/';
	}
}

const char *rig_output(const char *output, const char *key, const char *text)
{
	const char *path =
		arena_printf(&rig.arena, "%s/tasks/%s/out/%s/%s", rig.dir, json_get_text(rig.spec, "id"), output, key);
	make_dirs(path);
	assert_int_equal(write_file(path, str_from(text)), 0);
	return path;
}

static json_t *container(size_t i)
{
	return json_array_get(json_get(rig.spec, "containers"), i);
}

json_t *rig_mount(size_t i, const char *target)
{
	size_t k;
	json_t *m;
	json_array_foreach (json_get(container(i), "mounts"), k, m)
		if (str_eqz(json_get_str(m, "target"), target))
			return m;
	return NULL;
}

const char *rig_staged(size_t i, const char *target, const char *rel)
{
	const char *source = json_get_text(rig_mount(i, target), "source");
	return source ? read_file(arena_printf(&rig.arena, "%s/%s", source, rel)) : NULL;
}

const char *rig_file(size_t i, const char *path)
{
	size_t k;
	json_t *f;
	json_array_foreach (json_get(container(i), "files"), k, f)
		if (str_eqz(json_get_str(f, "path"), path))
			return json_get_text(f, "text");
	return NULL;
}

const char *rig_env(size_t i, const char *key)
{
	return json_get_text(json_get(container(i), "env"), key);
}

/* ---- life ---- */

static int64_t now_ms(void *ctx)
{
	return rig.now_ms;
}

static uint64_t next_random(void *ctx)
{
	rig.random ^= rig.random << 13;
	rig.random ^= rig.random >> 7;
	return rig.random ^= rig.random << 17;
}

static int parent_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	if (str_eqz(json_get_str(event, "type"), "job-ended")) {
		json_decref(rig.ended);
		rig.ended = json_incref(event);
	}
	return 0;
}

static void must(int rc, struct error *err)
{
	if (rc < 0)
		fail_msg("%s", error_text(err));
}

static void life_begin(void)
{
	static const struct actor_type parent = { "rig-parent", parent_turn };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const struct engine_options options = {
		.store = rig.store, .now_ms = now_ms, .random = next_random, .manual = true
	};
	must(engine_new(&options, &rig.engine, &err), &err);
	must(logs_new(rig.engine, arena_printf(&rig.arena, "%s/logs", rig.dir), &rig.logs, &err), &err);
	rig.sm = (struct sagemaker){ .o = { .engine = rig.engine,
					    .logs = rig.logs,
					    .account = "123456789012",
					    .region = "us-east-1",
					    .data_dir = rig.dir,
					    .api_port = 4566,
					    .tasks = (struct task_client *)&rig } };
	engine_add_actor(rig.engine, &parent);
	must(sagemaker_jobs_init(&rig.sm, &err), &err);
	must(engine_start(rig.engine, &err), &err);
}

static void life_end(void)
{
	logs_free(rig.logs);
	engine_free(rig.engine);
}

static void join(struct store_migration *all, const struct store_migration *more)
{
	size_t n = 0;
	while (all[n].room)
		n++;
	for (; more->room; more++)
		all[n++] = *more;
}

static int spawn_parent(struct turn *t, void *arg, struct error *err)
{
	return turn_spawn(t, "rig-parent", "rig-parent", json_object(), err);
}

static void submit(command_run run, void *arg);

int rig_setup(void **state)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct store_migration all[32] = { { 0 } };
	rig = (struct rig){ .now_ms = 1700000000000,
			    .random = 88172645463325252ull,
			    .objects = json_object(),
			    .binary = json_object() };
	snprintf(rig.dir, sizeof(rig.dir), "/tmp/quern-job-rig-XXXXXX");
	assert_non_null(mkdtemp(rig.dir));
	join(all, engine_migrations);
	join(all, logs_migrations);
	join(all, job_migrations);
	must(store_open(arena_printf(&rig.arena, "%s/state.db", rig.dir), all, &rig.store, &err), &err);
	life_begin();
	submit(spawn_parent, NULL);
	rig_bucket("b");
	rig_put("s3://b/train/a.csv", "1,2");
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

int rig_teardown(void **state)
{
	life_end();
	store_close(rig.store);
	json_decref(rig.objects);
	json_decref(rig.binary);
	json_decref(rig.spec);
	json_decref(rig.out);
	json_decref(rig.ended);
	error_release(&rig.err);
	nftw(rig.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	arena_release(&rig.arena);
	return 0;
}

void rig_crash(void)
{
	life_end();
	life_begin();
	rig_run();
}

void rig_run(void)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int rc;
	while ((rc = engine_step(rig.engine, &err)) > 0)
		;
	must(rc, &err);
}

void rig_wait_ms(int64_t ms)
{
	int64_t end = rig.now_ms + ms;
	for (int64_t next; (next = engine_next_timer_ms(rig.engine)) <= end;) {
		rig.now_ms = next > rig.now_ms ? next : rig.now_ms;
		rig_run();
	}
	rig.now_ms = end;
	rig_run();
}

int64_t rig_now_ms(void)
{
	return rig.now_ms;
}

const char *rig_dir(void)
{
	return rig.dir;
}

json_t *rig_ended(void)
{
	return rig.ended;
}

/* ---- calls ---- */

struct one_call {
	struct call call;
	const struct wire_op *op;
	json_t *in;
};

static int run_command(struct turn *t, void *arg, struct error *err)
{
	struct one_call *c = arg;
	return c->op->command(&c->call, t, c->in, &rig.out, err);
}

static void command_ended(void *arg, int rc, struct error *err)
{
	rig.rc = rc;
	if (rc < 0) {
		error_release(&rig.err);
		rig.err = ERROR_INIT;
		snprintf(rig.err.code, sizeof(rig.err.code), "%s", err->code);
		rig.err.message = mem_strdup(error_text(err));
	}
}

static void submit(command_run run, void *arg)
{
	engine_submit(rig.engine, run, command_ended, arg);
	rig_run();
}

static int do_call(const char *operation, json_t *in)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct one_call c = { .call = { .arena = &rig.arena,
					.region = "us-east-1",
					.account = "123456789012",
					.operation = operation,
					.engine = rig.engine,
					.service_ctx = &rig.sm },
			      .op = job_ops,
			      .in = in };
	while (c.op->name && strcmp(c.op->name, operation) != 0)
		c.op++;
	assert_non_null(c.op->name);
	json_decref(rig.out);
	rig.out = NULL;
	if (c.op->command) {
		submit(run_command, &c);
	} else {
		struct db *db = store_read_begin(rig.store, &err);
		int rc = c.op->query(&c.call, db, in, &rig.out, &err);
		command_ended(NULL, rc, &err);
		store_read_end(rig.store, db);
	}
	json_decref(in);
	return rig.rc;
}

json_t *rig_call(const char *operation, const char *request, ...)
{
	va_list ap;
	va_start(ap, request);
	json_t *in = parse_quoted(request, ap);
	va_end(ap);
	if (do_call(operation, in) < 0)
		fail_msg("%s: %s: %s", operation, rig.err.code, error_text(&rig.err));
	return rig.out;
}

const char *rig_refused(const char *operation, const char *request, ...)
{
	va_list ap;
	va_start(ap, request);
	json_t *in = parse_quoted(request, ap);
	va_end(ap);
	if (do_call(operation, in) >= 0)
		fail_msg("%s was not refused", operation);
	return arena_printf(&rig.arena, "%s: %s", rig.err.code, error_text(&rig.err));
}

json_t *rig_training(const char *name)
{
	return rig_call("DescribeTrainingJob", "{'TrainingJobName':'%s'}", name);
}

json_t *rig_processing(const char *name)
{
	return rig_call("DescribeProcessingJob", "{'ProcessingJobName':'%s'}", name);
}

struct creation {
	enum job_kind kind;
	json_t *request;
};

static int run_create(struct turn *t, void *arg, struct error *err)
{
	struct creation *c = arg;
	const char *arn;
	return job_create(&rig.sm, t, c->kind, c->request, "rig-parent", &arn, err);
}

static void create(enum job_kind kind, const char *name_key, const char *name, const char *defaults, const char *more)
{
	char *text = arena_printf(&rig.arena, "{%s}", more), *base = arena_printf(&rig.arena, "%s", defaults);
	for (char *p = text; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	for (char *p = base; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *given = json_parse(str_from(text), &err), *request = json_parse(str_from(base), &err);
	if (!given || !request)
		fail_msg("%s: %s", error_text(&err), text);
	json_object_update(request, given);
	json_set_text(request, name_key, name);
	struct creation c = { kind, request };
	submit(run_create, &c);
	if (rig.rc < 0)
		fail_msg("create %s: %s: %s", name, rig.err.code, error_text(&rig.err));
}

void rig_start_training(const char *name, const char *more)
{
	create(JOB_TRAINING, "TrainingJobName", name,
	       "{'AlgorithmSpecification':{'TrainingImage':'img:1','TrainingInputMode':'File'},'RoleArn':'arn:aws:iam::"
	       "123456789012:role/R',"
	       "'OutputDataConfig':{'S3OutputPath':'s3://b/models/"
	       "'},'ResourceConfig':{'InstanceType':'ml.m5.large','InstanceCount':1,'VolumeSizeInGB':1},"
	       "'InputDataConfig':[{'ChannelName':'train','DataSource':{'S3DataSource':{'S3DataType':'S3Prefix','S3Uri'"
	       ":'s3://b/train'}}}]}",
	       more);
}

void rig_start_processing(const char *name, const char *more)
{
	create(JOB_PROCESSING, "ProcessingJobName", name,
	       "{'AppSpecification':{'ImageUri':'img:1'},'RoleArn':'arn:aws:iam::123456789012:role/R',"
	       "'ProcessingResources':{'ClusterConfig':{'InstanceType':'ml.m5.xlarge','InstanceCount':1,'"
	       "VolumeSizeInGB':1}}}",
	       more);
}
