/* http_server.c - a server for the tests: toy services on the real wire layer, store and engine.
 *
 * DESIGN: raw service "s3" (keeps only a digest of what is put), self-authenticating raw service for /v2/, raw service
 * of a scope without body hashes, and toy operations of sts, sagemaker and sagemaker-runtime: one query, one command,
 * one async, one that fails inside. Keys: AKIDTEST / secret; ASIATEST / secret with token "good-token"; ASIAOLD with an
 * expired one. Usage: http_server [seconds of idle timeout] [data directory]. Prints its port; a line on stdin: "stop"
 * (graceful, 300 ms), "stats". */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "wire/sigv4.h"
#include "wire/wire.h"

static struct engine *engine;
static _Atomic int begun, ended, aborted, stream_done;

static bool find_key(void *ctx, struct arena *a, struct db *db, struct str access_key, struct str token, int64_t now_ms,
		     struct principal *who, struct str *secret, struct error *err)
{
	if (!db && str_eqz(access_key, "ASIATEST"))
		return false; /* only the store knows it */
	bool root = str_eqz(access_key, "AKIDTEST"), temporary = str_eqz(access_key, "ASIATEST"),
	     old = str_eqz(access_key, "ASIAOLD");
	if (str_eqz(access_key, "AKIDBROKEN"))
		return error_set(err, "the key table is broken") == 0;
	if (!root && !temporary && !old)
		return false;
	if (old && error_aws(err, "ExpiredToken", "The provided token has expired."))
		return false;
	if (temporary && !str_eqz(token, "good-token")) {
		error_aws(err, "InvalidToken", "The provided token is malformed or otherwise invalid.");
		return false;
	}
	*who = (struct principal){ .access_key = arena_strdup(a, access_key),
				   .account = "123456789012",
				   .arn = "arn:aws:iam::123456789012:root",
				   .user_id = "123456789012" };
	*secret = STR("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
	return true;
}

/* ---- raw "s3" ---- */

struct upload {
	struct evp_md_ctx_st *sha;
	int64_t bytes;
	bool slow; /* a worker job for each piece */
	int status;
	char etag[65];
	_Atomic bool in_job;
};

static void s3_fail(struct wire_request *r, void *ctx, struct error *err)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	xml_open(&b, "Error");
	xml_text(&b, "Code", str_from(err->code));
	xml_text(&b, "Message", str_from(error_text(err)));
	xml_text(&b, "RequestId", str_from(wire_request_id(r)));
	xml_close(&b, "Error");
	wire_set_header(r, "Content-Type", "application/xml");
	wire_send(r, err->status ? err->status : 400, buf_str(&b));
}

struct ticks {
	struct wire_request *r;
	pthread_mutex_t lock;
	pthread_t thread;
	int ready, sent, total, every_ms;
	bool over;
};

static ptrdiff_t ticks_read(void *ctx, char *p, size_t n)
{
	struct ticks *t = ctx;
	pthread_mutex_lock(&t->lock);
	ptrdiff_t rc = 0;
	if (t->sent < t->ready)
		rc = snprintf(p, n, "tick %d\n", t->sent++);
	else if (t->sent == t->total)
		rc = -1;
	pthread_mutex_unlock(&t->lock);
	return rc;
}

static void *ticks_main(void *arg)
{
	struct ticks *t = arg;
	bool over = false;
	while (!over) {
		usleep((unsigned)t->every_ms * 1000);
		pthread_mutex_lock(&t->lock);
		over = t->over || t->ready == t->total;
		if (!over) {
			t->ready++;
			wire_wake(t->r);
		}
		pthread_mutex_unlock(&t->lock);
	}
	return NULL;
}

static void ticks_done(void *ctx)
{
	struct ticks *t = ctx;
	pthread_mutex_lock(&t->lock);
	t->over = true;
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	pthread_mutex_destroy(&t->lock);
	free(t);
	stream_done++;
}

static void send_ticks(struct wire_request *r, int every_ms)
{
	struct ticks *t = mem_calloc(1, sizeof(*t));
	*t = (struct ticks){ .r = r, .total = 5, .every_ms = every_ms };
	pthread_mutex_init(&t->lock, NULL);
	pthread_create(&t->thread, NULL, ticks_main, t);
	wire_send_stream(r, 200, ticks_read, ticks_done, t);
}

static ptrdiff_t zeros_read(void *ctx, char *p, size_t n)
{
	int64_t *left = ctx;
	size_t take = *left < (int64_t)n ? (size_t)*left : n;
	memset(p, 'z', take);
	*left -= (int64_t)take;
	return take ? (ptrdiff_t)take : -1;
}

static void zeros_done(void *ctx)
{
	free(ctx);
	stream_done++;
}

static void describe_arg(void *ctx, struct str name, struct str value)
{
	buf_printf(ctx, "%.*s=%.*s\n", STR_ARG(name), STR_ARG(value));
}

static void echo(struct wire_request *r)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	const struct principal *who = wire_who(r);
	buf_printf(&b, "%.*s %.*s who=%s account=%s region=%s anonymous=%d length=%" PRId64 "\n",
		   STR_ARG(wire_method(r)), STR_ARG(wire_path(r)), who->access_key, who->account, wire_region(r),
		   who->anonymous, wire_body_length(r));
	wire_each_query(r, describe_arg, &b);
	wire_set_header(r, "x-echo", arena_strdup(wire_arena(r), wire_header(r, "x-amz-meta-echo")));
	wire_send(r, 200, buf_str(&b));
}

static void s3_get(struct wire_request *r)
{
	struct str path = wire_path(r);
	bool head = str_eqz(wire_method(r), "HEAD");
	if (str_eqz(path, "/file")) {
		int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
		wire_send_fd(r, 206, fd, 1000, 100000);
	} else if (str_eqz(path, "/head") && head) {
		wire_set_header(r, "Content-Length", "5368709120");
		wire_set_header(r, "ETag", "\"e\"");
		wire_send(r, 200, STR(""));
	} else if (str_eqz(path, "/ticks")) {
		send_ticks(r, 20);
	} else if (str_eqz(path, "/slow-ticks")) {
		send_ticks(r, 1500);
	} else if (str_eqz(path, "/zeros")) {
		int64_t *left = mem_alloc(sizeof(*left));
		*left = 64 * 1024 * 1024;
		wire_send_stream(r, 200, zeros_read, zeros_done, left);
	} else if (str_eqz(path, "/not-modified")) {
		wire_set_header(r, "ETag", "\"e\"");
		wire_send(r, 304, STR(""));
	} else {
		echo(r);
	}
}

static void upload_free(struct upload *u)
{
	sigv4_sha256_free(u->sha);
	free(u);
}

/* The fields of a POST form, as headers. */
static void check_form(struct wire_request *r, void *ctx)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (wire_check_policy(r, wire_header(r, "policy"), wire_header(r, "credential"), wire_header(r, "form-date"),
			      wire_header(r, "signature"), wire_header(r, "token"), &err) < 0)
		s3_fail(r, ctx, &err);
	else
		echo(r);
}

static void s3_begin(struct wire_request *r, void *ctx)
{
	struct str path = wire_path(r);
	if (str_eqz(path, "/form")) {
		check_form(r, ctx);
		return;
	}
	if (str_starts(path, STR("/refuse"))) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		error_http(&err, 409, "Refused", "not this one");
		s3_fail(r, ctx, &err);
		return;
	}
	if (!str_eqz(wire_method(r), "PUT") && !str_eqz(wire_method(r), "POST")) {
		s3_get(r);
		return;
	}
	struct upload *u = mem_calloc(1, sizeof(*u));
	u->sha = sigv4_sha256_new();
	u->slow = str_starts(path, STR("/slow"));
	wire_set_state(r, u);
	begun++;
}

static void piece_job(struct wire_request *r, void *arg)
{
	struct upload *u = wire_state(r);
	if (u->in_job)
		BUG("jobs of one request overlap");
	u->in_job = true;
	usleep(200);
	u->in_job = false;
}

static int s3_body(struct wire_request *r, void *ctx, const void *p, size_t n)
{
	struct upload *u = wire_state(r);
	if (u->in_job)
		BUG("a piece came while a job ran");
	sigv4_sha256_add(u->sha, p, n);
	u->bytes += (int64_t)n;
	if (str_starts(wire_path(r), STR("/full")) && u->bytes > 100000) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		error_http(&err, 507, "InsufficientStorage", "the disk is full");
		s3_fail(r, ctx, &err);
		return -1;
	}
	if (u->slow)
		wire_offload(r, piece_job, NULL);
	return 0;
}

static void end_job(struct wire_request *r, void *arg)
{
	struct upload *u = wire_state(r);
	unsigned char sum[32];
	sigv4_sha256_end(u->sha, sum);
	hex_encode(u->etag, sum, 32);
	struct str crc = wire_trailer(r, "x-amz-checksum-crc32");
	wire_set_header(r, "x-sha256", u->etag);
	wire_set_header(r, "x-bytes", arena_printf(wire_arena(r), "%" PRId64, u->bytes));
	wire_set_header(r, "x-crc32", crc.ptr ? crc.ptr : "-");
	ended++;
	upload_free(u);
	wire_set_state(r, NULL);
	wire_send(r, 200, STR(""));
}

static void s3_end(struct wire_request *r, void *ctx)
{
	if (str_starts(wire_path(r), STR("/direct")))
		end_job(r, NULL);
	else
		wire_offload(r, end_job, NULL);
}

static void s3_abort(struct wire_request *r, void *ctx)
{
	struct upload *u = wire_state(r);
	if (!u)
		return; /* ended before, the client did not take the answer */
	upload_free(u);
	wire_set_state(r, NULL);
	aborted++;
}

static bool s3_claims(struct wire_request *r, void *ctx)
{
	return !wire_header(r, "x-amz-target").ptr &&
	       !str_starts(wire_header(r, "content-type"), STR("application/x-www-form-urlencoded"));
}

static const struct raw_handler s3_raw = { s3_begin, s3_body, s3_end, s3_abort, s3_fail };

/* ---- raw, authenticates itself ---- */

static void registry_begin(struct wire_request *r, void *ctx)
{
	wire_set_header(r, "Www-Authenticate", "Bearer realm=\"x\"");
	wire_send(r, 401, wire_header(r, "authorization").ptr ? wire_header(r, "authorization") : STR("none"));
}

static bool registry_claims(struct wire_request *r, void *ctx)
{
	return str_starts(wire_path(r), STR("/v2/"));
}

static const struct raw_handler registry_raw = { .begin = registry_begin };

/* ---- operations ---- */

static int get_caller_identity(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	if (!db)
		return error_set(err, "no snapshot");
	*out = json_pack("{s:s, s:s, s:s}", "Account", c->account, "Arn", c->who->arn, "UserId", c->who->user_id);
	return 0;
}

static int list_experiments(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *list = json_array();
	*out = json_pack("{s:o}", "ExperimentSummaries", list);
	if (db_query(db, &rows, err, "SELECT name FROM toy ORDER BY name", "") < 0)
		return -1;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0)
		json_array_append_new(list, json_pack("{s:s}", "ExperimentName", rows_str(&rows, 0).ptr));
	return rc;
}

static int create_experiment(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	const char *name = json_get_text(in, "ExperimentName");
	int rc = db_exec(turn_db(t), err, "INSERT INTO toy(name) VALUES(?)", "s", name);
	if (rc < 0 && error_is(err, "conflict")) {
		error_release(err);
		return error_aws(err, "ResourceInUse", "Experiment %s exists.", name);
	}
	if (rc < 0)
		return -1;
	*out = json_pack("{s:s}", "ExperimentArn", "arn:aws:sagemaker:us-east-1:123456789012:experiment/x");
	return 0;
}

static int delete_experiment(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	return error_set(err, "something secret broke inside");
}

struct later {
	struct call *c;
	char *name;
};

static void *later_main(void *arg)
{
	struct later *l = arg;
	usleep(50000);
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (strcmp(l->name, "missing") == 0)
		wire_answer(l->c, error_aws(&err, "ResourceNotFound", "Experiment %s does not exist.", l->name), NULL,
			    &err);
	else
		wire_answer(l->c, 0, json_pack("{s:s}", "ExperimentName", l->name), NULL);
	free(l->name);
	free(l);
	return NULL;
}

static void describe_experiment(struct call *c, json_t *in)
{
	struct later *l = mem_alloc(sizeof(*l));
	*l = (struct later){ c, mem_strdup(json_get_text(in, "ExperimentName")) };
	pthread_t t;
	pthread_create(&t, NULL, later_main, l);
	pthread_detach(t);
}

static int invoke_endpoint(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	*out = json_object();
	json_copy_key(*out, in, "Body");
	json_copy_key(*out, in, "ContentType");
	return 0;
}

static const struct wire_op sts_ops[] = { { .name = "GetCallerIdentity", .query = get_caller_identity }, { 0 } };
static const struct wire_op sagemaker_ops[] = { { .name = "ListExperiments", .query = list_experiments },
						{ .name = "CreateExperiment", .command = create_experiment },
						{ .name = "DescribeExperiment", .async = describe_experiment },
						{ .name = "DeleteExperiment", .query = delete_experiment },
						{ 0 } };
static const struct wire_op runtime_ops[] = { { .name = "InvokeEndpoint", .query = invoke_endpoint }, { 0 } };
static const struct wire_op metrics_ops[] = { { 0 } };

static const struct wire_service services[] = {
	{ .scope = "s3", .raw = &s3_raw, .claims = s3_claims },
	{ .scope = "ecr-raw", .raw = &registry_raw, .claims = registry_claims, .own_auth = true },
	{ .scope = "spooled", .raw = &s3_raw },
	{ .model = "sts", .scope = "sts", .ops = sts_ops },
	{ .model = "sagemaker", .scope = "sagemaker", .ops = sagemaker_ops },
	{ .model = "sagemaker-runtime", .scope = "sagemaker", .ops = runtime_ops },
	{ .model = "sagemaker-metrics", .scope = "sagemaker", .ops = metrics_ops },
};

/* ---- main ---- */

static int make_table(struct turn *t, void *arg, struct error *err)
{
	return db_exec(turn_db(t), err, "CREATE TABLE IF NOT EXISTS toy(name TEXT PRIMARY KEY)", "");
}

static void print_stats(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	long rss = 0, peak = 0;
	char text[256];
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(text, sizeof(text), f)) {
		if (strncmp(text, "VmRSS:", 6) == 0)
			rss = atol(text + 6);
		if (strncmp(text, "VmHWM:", 6) == 0)
			peak = atol(text + 6);
	}
	if (f)
		fclose(f);
	int fds = 0;
	for (int i = 0; i < 1024; i++)
		fds += fcntl(i, F_GETFD) >= 0;
	printf("{\"begun\":%d,\"ended\":%d,\"aborted\":%d,\"stream_done\":%d,\"rss_kib\":%ld,\"peak_kib\":%ld,\"fds\":%"
	       "d,\"cpu_us\":%lld}\n",
	       begun, ended, aborted, stream_done, rss, peak, fds,
	       (long long)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec + u.ru_stime.tv_usec);
	fflush(stdout);
}

static void die(struct error *err)
{
	fprintf(stderr, "http_server: %s\n", error_text(err));
	exit(1);
}

int main(int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct store *store;
	char path[512] = "";
	if (argc > 2)
		snprintf(path, sizeof(path), "%s/quern.db", argv[2]);
	if (store_open(path, engine_migrations, &store, &err) < 0)
		die(&err);
	struct engine_options eo = { .store = store };
	if (engine_new(&eo, &engine, &err) < 0 || engine_start(engine, &err) < 0 ||
	    engine_call(engine, make_table, NULL, &err) < 0)
		die(&err);
	struct wire_options wo = {
		.engine = engine, .find_key = find_key, .threads = 2, .region = "us-east-1", .account = "123456789012"
	};
	if (argc > 1)
		wo.idle_timeout_s = atoi(argv[1]);
	struct wire_server *w;
	if (wire_server_new(&wo, &w, &err) < 0)
		die(&err);
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
		wire_add_service(w, &services[i]);
	if (wire_start(w, &err) < 0)
		die(&err);
	printf("%u\n", wire_port(w));
	fflush(stdout);
	char line[64];
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "stop\n") != 0)
		print_stats();
	wire_stop(w, 300);
	engine_stop(engine);
	print_stats();
	wire_server_free(w);
	engine_free(engine);
	store_close(store);
	return 0;
}
