/* bench_server.c - the server under measurement: `bare` is libmicrohttpd alone with our settings, `quern` the whole
 * wire layer with keys and experiments in a store. Prints its port; a line on stdin prints user+system CPU microseconds
 * so far. */
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/json.h"
#include "wire/wire.h"

static void serve_stdin(void)
{
	char line[16];
	while (fgets(line, sizeof(line), stdin)) {
		struct rusage u;
		getrusage(RUSAGE_SELF, &u);
		printf("%lld\n", (long long)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec +
					 u.ru_stime.tv_usec);
		fflush(stdout);
	}
}

/* ---- bare ---- */

static enum MHD_Result bare_answer(void *cls, struct MHD_Connection *c, const char *url, const char *method,
				   const char *version, const char *data, size_t *size, void **ctx)
{
	static char seen, text[] = "{\"UserId\":\"123456789012\",\"Account\":\"123456789012\",\"Arn\":\"arn:aws:iam::"
				   "123456789012:root\"}";
	if (!*ctx) {
		*ctx = &seen;
		return MHD_YES;
	}
	if (*size) {
		*size = 0;
		return MHD_YES;
	}
	struct MHD_Response *r = MHD_create_response_from_buffer(sizeof(text) - 1, text, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result rc = MHD_queue_response(c, 200, r);
	MHD_destroy_response(r);
	return rc;
}

static int bare(void)
{
	struct MHD_Daemon *d =
		MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, bare_answer, NULL, MHD_OPTION_END);
	const union MHD_DaemonInfo *info = d ? MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT) : NULL;
	if (!info)
		return 1;
	printf("%u\n", info->port);
	fflush(stdout);
	serve_stdin();
	MHD_stop_daemon(d);
	return 0;
}

/* ---- quern ---- */

static bool find_key(void *ctx, struct arena *a, struct db *db, struct str access_key, struct str token, int64_t now_ms,
		     struct principal *who, struct str *secret, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (str_eqz(access_key, "AKIDROOT")) { /* known in memory, as the root key is */
		*secret = STR("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
		*who = (struct principal){ .access_key = "AKIDROOT",
					   .account = "123456789012",
					   .arn = "arn:aws:iam::123456789012:root",
					   .user_id = "123456789012" };
		return true;
	}
	if (!db)
		return false;
	if (db_row(db, &rows, err, "SELECT secret FROM bench_key WHERE id=?", "S", access_key) <= 0)
		return false;
	*secret = arena_str(a, rows_str(&rows, 0));
	*who = (struct principal){ .access_key = arena_strdup(a, access_key),
				   .account = "123456789012",
				   .arn = "arn:aws:iam::123456789012:root",
				   .user_id = "123456789012" };
	return true;
}

static int whoami(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	*out = json_pack("{s:s, s:s, s:s}", "Account", c->account, "Arn", c->who->arn, "UserId", c->who->user_id);
	return 0;
}

static int describe(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *name = json_get_text(in, "ExperimentName");
	int rc = db_row(db, &rows, err, "SELECT doc FROM bench_experiment WHERE name=?", "s", name);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return error_aws(err, "ResourceNotFound", "Experiment %s does not exist.", name);
	*out = json_parse(rows_str(&rows, 0), err);
	return *out ? 0 : -1;
}

static int touch(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	return db_exec(turn_db(t), err, "UPDATE bench_experiment SET n=n+1 WHERE name=?", "s",
		       json_get_text(in, "ExperimentName"));
}

static void raw_begin(struct wire_request *r, void *ctx)
{
	wire_send(r, 200, STR("hello"));
}

static const struct raw_handler raw = { .begin = raw_begin };
static const struct wire_op sts_ops[] = { { .name = "GetCallerIdentity", .query = whoami }, { 0 } };
static const struct wire_op sagemaker_ops[] = { { .name = "DescribeExperiment", .query = describe },
						{ .name = "UpdateExperiment", .command = touch },
						{ 0 } };
static const struct wire_service services[] = { { .scope = "s3", .raw = &raw },
						{ .model = "sts", .scope = "sts", .ops = sts_ops },
						{ .model = "sagemaker", .scope = "sagemaker", .ops = sagemaker_ops } };

static int fill(struct turn *t, void *arg, struct error *err)
{
	struct db *db = turn_db(t);
	if (db_exec(db, err, "CREATE TABLE bench_key(id TEXT PRIMARY KEY, secret TEXT)", "") < 0 ||
	    db_exec(db, err, "CREATE TABLE bench_experiment(name TEXT PRIMARY KEY, doc TEXT, n INTEGER DEFAULT 0)",
		    "") < 0 ||
	    db_exec(db, err, "INSERT INTO bench_key VALUES('AKIDTEST','wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY')",
		    "") < 0)
		return -1;
	return db_exec(db, err, "INSERT INTO bench_experiment(name,doc) VALUES('bench',?)", "s",
		       "{\"ExperimentName\":\"bench\",\"ExperimentArn\":\"arn:aws:sagemaker:us-east-1:123456789012:"
		       "experiment/bench\","
		       "\"DisplayName\":\"a bench\",\"Description\":\"what is measured\",\"CreationTime\":1700000000.5,"
		       "\"LastModifiedTime\":1700000001.5,\"CreatedBy\":{\"UserProfileName\":\"u\"}}");
}

static int quern(int threads, const char *dir)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct store *store = NULL;
	struct engine *engine = NULL;
	struct wire_server *w = NULL;
	char path[512];
	snprintf(path, sizeof(path), "%s/bench.db", dir);
	int rc = store_open(path, engine_migrations, &store, &err);
	if (rc == 0)
		rc = engine_new(&(struct engine_options){ .store = store }, &engine, &err);
	if (rc == 0)
		rc = engine_start(engine, &err);
	if (rc == 0)
		rc = engine_call(engine, fill, NULL, &err);
	if (rc == 0)
		rc = wire_server_new(
			&(struct wire_options){ .engine = engine, .find_key = find_key, .threads = threads }, &w, &err);
	for (size_t i = 0; rc == 0 && i < sizeof(services) / sizeof(services[0]); i++)
		wire_add_service(w, &services[i]);
	if (rc == 0)
		rc = wire_start(w, &err);
	if (rc < 0) {
		fprintf(stderr, "bench_server: %s\n", error_text(&err));
		return 1;
	}
	printf("%u\n", wire_port(w));
	fflush(stdout);
	serve_stdin();
	wire_stop(w, 0);
	engine_stop(engine);
	wire_server_free(w);
	engine_free(engine);
	store_close(store);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "bare") == 0)
		return bare();
	if (argc > 3 && strcmp(argv[1], "quern") == 0)
		return quern(atoi(argv[2]), argv[3]);
	fprintf(stderr, "usage: bench_server bare | quern <threads> <data directory>\n");
	return 2;
}
