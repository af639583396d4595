/* serve.c - see serve.h.
 *
 * DESIGN: one struct holds every room in the order of construction; shutdown goes the other way: no new requests,
 * running ones finish, the engine empties its queue, then the rooms go. Nothing here knows what a service does. */
#include "cli/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "blob/blob.h"
#include "ecr/ecr.h"
#include "ecs/ecs.h"
#include "engine/engine.h"
#include "iam/iam.h"
#include "lambda/lambda.h"
#include "logs/logs.h"
#include "s3/s3.h"
#include "secrets/secrets.h"
#include "sagemaker/jobs.h"
#include "sagemaker/sagemaker.h"
#include "ssm/ssm.h"
#include "states/states.h"
#include "store/store.h"
#include "task/task.h"
#include "wire/wire.h"

struct daemon {
	struct config *config;
	struct store *store;
	struct blob_store *blobs;
	struct engine *engine;
	struct iam *iam;
	struct logs *logs;
	struct s3 *s3;
	struct ssm *ssm;
	struct secrets *secrets;
	struct ecr *ecr;
	struct task_client *tasks;
	struct ecs *ecs;
	struct states *states;
	struct lambda *lambda;
	struct sagemaker *sagemaker;
	struct wire_server *wire;
};

enum { GRACE_MS = 5000 };

/* All rooms' schema steps in one NULL-ended array. */
static struct store_migration *all_migrations(struct arena *a)
{
	static const struct store_migration *const rooms[] = {
		engine_migrations,    blob_migrations,    iam_migrations,    logs_migrations, s3_migrations,
		ssm_migrations,       secrets_migrations, ecr_migrations,    ecs_migrations,  lambda_migrations,
		sagemaker_migrations, job_migrations,     states_migrations,
	};
	size_t n = 0;
	for (size_t i = 0; i < sizeof(rooms) / sizeof(*rooms); i++)
		for (const struct store_migration *m = rooms[i]; m->room; m++)
			n++;
	struct store_migration *all = ARENA_ARRAY(a, struct store_migration, n + 1);
	n = 0;
	for (size_t i = 0; i < sizeof(rooms) / sizeof(*rooms); i++)
		for (const struct store_migration *m = rooms[i]; m->room; m++)
			all[n++] = *m;
	return all;
}

static int open_storage(struct daemon *d, struct error *err)
{
	struct config *c = d->config;
	if (c->store && !store_is_address(c->store))
		return error_set(err,
				 "the store (--store, QUERN_STORE) is not an address postgresql://user@host/database");
	if (store_open(c->store ? c->store : config_path(c, "quern.db"), all_migrations(&c->arena), &d->store, err) < 0)
		return -1;
	if (blob_store_open(config_path(c, "blobs"), &d->blobs, err) < 0)
		return -1;
	const struct engine_options options = { .store = d->store };
	return engine_new(&options, &d->engine, err);
}

/* task_image: what is in our registry. */
static int find_image(void *ctx, const char *image, json_t **rootfs, struct error *err)
{
	struct daemon *d = ctx;
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct db *db = store_read_begin(d->store, err);
	if (!db)
		return -1;
	*rootfs = ecr_resolve(d->ecr, db, image, &why);
	store_read_end(d->store, db);
	if (*rootfs || error_is(&why, "RepositoryNotFoundException") || error_is(&why, "ImageNotFoundException"))
		return 0; /* no such image here: it may be a built-in one */
	if (why.code[0])
		return error_aws(err, "CannotPullContainerError",
				 "CannotPullContainerError: failed to pull image %s: %s", image, error_text(&why));
	return error_move(err, &why);
}

/* states_options.watch */
static int watch(void *ctx, struct turn *t, const char *arn, const char *actor, struct error *err)
{
	(void)ctx;
	if (strstr(arn, ":ecs:"))
		return ecs_watch_task(t, arn, actor);
	return strstr(arn, ":sagemaker:") ? sagemaker_watch_job(t, arn, actor, err) : 0;
}

/* Identity, and what keeps things. */
static int open_keepers(struct daemon *d, struct error *err)
{
	struct config *c = d->config;
	const struct iam_options iam = { d->engine, c->account, c->region, config_path(c, "credentials"),
					 c->ignore_policies };
	if (iam_new(&iam, &d->iam, err) < 0)
		return -1;
	if (logs_new(d->engine, config_path(c, "logs"), &d->logs, err) < 0)
		return -1;
	if (s3_new(d->engine, d->blobs, &d->s3, err) < 0 || s3_use_iam(d->s3, d->iam, err) < 0)
		return -1;
	s3_set_day(d->s3, c->wait_scale);
	if (ssm_new(d->engine, c->account, c->region, &d->ssm, err) < 0 ||
	    secrets_new(d->engine, c->account, c->region, &d->secrets, err) < 0)
		return -1;
	return 0;
}

/* What runs containers. */
static int open_runners(struct daemon *d, struct error *err)
{
	struct config *c = d->config;
	if (task_client_new(config_path(c, "run/executor.sock"), d->engine, &d->tasks, err) < 0)
		return -1;
	const struct ecr_options ecr = { d->engine, d->blobs, c->account, c->region, c->port, d->tasks, d->iam };
	if (ecr_new(&ecr, &d->ecr, err) < 0)
		return -1;
	task_client_set_images(d->tasks, find_image, d);
	const struct ecs_options ecs = { d->engine,  d->tasks,  d->s3,       d->logs, d->iam,
					 c->account, c->region, c->data_dir, c->port };
	if (ecs_new(&ecs, &d->ecs, err) < 0)
		return -1;
	const struct lambda_options functions = {
		.engine = d->engine,
		.blobs = d->blobs,
		.s3 = d->s3,
		.logs = d->logs,
		.iam = d->iam,
		.tasks = d->tasks,
		.account = c->account,
		.region = c->region,
		.data_dir = c->data_dir,
		.api_port = c->port,
		.wait_scale = c->wait_scale,
	};
	return lambda_new(&functions, &d->lambda, err);
}

/* What orchestrates them. */
static int open_orchestrators(struct daemon *d, struct error *err)
{
	struct config *c = d->config;
	const struct states_options machines = {
		.engine = d->engine,
		.s3 = d->s3,
		.logs = d->logs,
		.iam = d->iam,
		.account = c->account,
		.region = c->region,
		.jsonata_program = arena_printf(&c->arena, "%s/quern-jsonata", c->libexec),
		.wait_scale = c->wait_scale,
		.retention_ms = (int64_t)(c->execution_days * 24 * 3600 * 1000),
		.watch = watch,
	};
	if (states_new(&machines, &d->states, err) < 0)
		return -1;
	const struct sagemaker_options sm = {
		.engine = d->engine,
		.s3 = d->s3,
		.logs = d->logs,
		.iam = d->iam,
		.tasks = d->tasks,
		.account = c->account,
		.region = c->region,
		.data_dir = c->data_dir,
		.api_port = c->port,
	};
	return sagemaker_new(&sm, &d->sagemaker, err);
}

static int open_wire(struct daemon *d, struct error *err)
{
	struct config *c = d->config;
	const struct wire_options options = {
		.bind = c->bind,
		.port = c->port,
		.region = c->region,
		.account = c->account,
		.engine = d->engine,
		.find_key = iam_find_key,
		.find_key_ctx = d->iam,
		.authorize = iam_authorize,
		.authorize_ctx = d->iam,
	};
	if (wire_server_new(&options, &d->wire, err) < 0)
		return -1;
	wire_add_service(d->wire,
			 ecs_endpoints_service(d->ecs)); /* before the registry, which claims the rest of /v2/ */
	wire_add_service(d->wire, ecs_channels_service(d->ecs));
	wire_add_service(
		d->wire,
		ecr_registry_service(d->ecr)); /* before s3, which takes every unsigned request that nobody claims */
	wire_add_service(d->wire, lambda_runtime_service(d->lambda));
	wire_add_service(d->wire, s3_service(d->s3));
	wire_add_service(d->wire, ecr_service(d->ecr));
	wire_add_service(d->wire, ecs_service(d->ecs));
	wire_add_service(d->wire, lambda_service(d->lambda));
	wire_add_service(d->wire, states_service(d->states));
	wire_add_service(d->wire, ssm_service(d->ssm));
	wire_add_service(d->wire, secrets_service(d->secrets));
	wire_add_service(d->wire, sagemaker_service(d->sagemaker));
	wire_add_service(d->wire, logs_service(d->logs));
	wire_add_service(d->wire, iam_service(d->iam));
	wire_add_service(d->wire, sts_service(d->iam));
	states_set_wire(d->states, d->wire);
	return 0;
}

static int write_file(const char *path, const char *text, struct error *err)
{
	CLEANUP_FREE char *temporary = NULL;
	if (asprintf(&temporary, "%s.new", path) < 0)
		BUG("out of memory");
	FILE *f = fopen(temporary, "we");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0 || rename(temporary, path) < 0)
		return error_errno(err, errno, "write `%s`", path);
	return 0;
}

static int announce(struct daemon *d, struct error *err)
{
	struct config *c = d->config;
	const char *host = strcmp(c->bind, "0.0.0.0") == 0 ? "127.0.0.1" : c->bind;
	if (write_file(config_path(c, "run/serve.pid"), arena_printf(&c->arena, "%d\n", (int)getpid()), err) < 0)
		return -1;
	if (write_file(config_path(c, "run/iam"), c->ignore_policies ? "ignore\n" : "enforce\n", err) < 0)
		return -1;
	return write_file(config_path(c, "run/endpoint"),
			  arena_printf(&c->arena, "http://%s:%u\n", host, wire_port(d->wire)), err);
}

static int start(struct daemon *d, struct error *err)
{
	if (open_storage(d, err) < 0)
		return -1;
	if (open_keepers(d, err) < 0 || open_runners(d, err) < 0 || open_orchestrators(d, err) < 0)
		return -1;
	if (open_wire(d, err) < 0)
		return -1;
	if (engine_start(d->engine, err) < 0)
		return -1;
	ecs_begin(d->ecs);
	if (s3_begin(d->s3, err) < 0 || states_begin(d->states, err) < 0)
		return -1;
	if (wire_start(d->wire, err) < 0)
		return -1;
	return announce(d, err);
}

static void stop(struct daemon *d)
{
	states_stop(d->states);
	lambda_stop(d->lambda); /* its workers wait for answers */
	if (d->wire)
		wire_stop(d->wire, GRACE_MS);
	if (d->logs)
		logs_stop(d->logs); /* what it has accepted may need a turn */
	if (d->engine)
		engine_stop(d->engine);
	wire_server_free(d->wire);
	states_free(d->states);
	sagemaker_free(d->sagemaker);
	lambda_free(d->lambda);
	ecs_free(d->ecs);
	if (d->tasks)
		task_client_free(d->tasks); /* the engine's workers waited in it until engine_stop */
	ecr_free(d->ecr);
	secrets_free(d->secrets);
	ssm_free(d->ssm);
	s3_free(d->s3);
	logs_free(d->logs);
	iam_free(d->iam);
	engine_free(d->engine);
	blob_store_close(d->blobs);
	store_close(d->store);
}

static void tell(int ready_fd, const char *text)
{
	if (ready_fd < 0)
		return;
	ssize_t rc = write(ready_fd, text, strlen(text));
	(void)rc;
	close(ready_fd);
}

/* A connection, a streamed body and a log file are a descriptor each; the usual soft limit of 1024 is kept low only for
 * select(). */
static void raise_file_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warn("serve", "raise the limit of open files: %s", strerror(errno));
}

int serve_main(struct config *c, int ready_fd)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct daemon d = { .config = c };
	sigset_t wanted;
	int sig = 0;
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	sigprocmask(SIG_BLOCK, &wanted, NULL); /* before any thread exists, so that all inherit it */
	signal(SIGPIPE, SIG_IGN);
	raise_file_limit();
	umask(022); /* staged files must be readable by any user inside a container; the data directory itself is closed
		       (0700) */
	if (start(&d, &err) < 0) {
		log_error("serve", "%s", error_text(&err));
		tell(ready_fd, error_text(&err));
		stop(&d);
		return 1;
	}
	log_info("serve", "listening on %s", config_endpoint(c));
	tell(ready_fd, "\n");
	sigwait(&wanted, &sig);
	log_info("serve", "stopping on signal %d", sig);
	stop(&d);
	unlink(config_path(c, "run/serve.pid"));
	return 0;
}
