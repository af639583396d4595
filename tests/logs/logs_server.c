/* logs_server.c - the logs service alone on a real store, engine and HTTP server, for test_logs_api.py.
 *
 * Usage: logs_server DIR. Prints its port. Lines on stdin: "stream GROUP NAME" (what a job does: prints the file's
 * path), "sweep" (expiry, prints "ok"), "rss" (prints KiB of memory in use now); end of input stops it. Key AKIDTEST /
 * secret. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "logs/room.h"

static struct logs *logs;
static struct engine *engine;

static bool find_key(void *ctx, struct arena *a, struct db *db, struct str access_key, struct str token, int64_t now_ms,
		     struct principal *who, struct str *secret, struct error *err)
{
	*who = (struct principal){ .access_key = "AKIDTEST",
				   .account = "123456789012",
				   .arn = "arn:aws:iam::123456789012:root",
				   .user_id = "123456789012" };
	*secret = STR("secret");
	return str_eqz(access_key, "AKIDTEST");
}

static void check(int rc, struct error *err)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "logs_server: %s\n", error_text(err));
	exit(1);
}

struct stream_call {
	char group[512], name[512];
	char path[4096];
};

static int make_stream(struct turn *t, void *arg, struct error *err)
{
	struct stream_call *c = arg;
	const char *path = logs_stream(logs, t, c->group, c->name);
	if (!path)
		return error_set(err, "no stream");
	snprintf(c->path, sizeof(c->path), "%s", path);
	return 0;
}

static long rss_kib(void)
{
	char line[256];
	long kib = -1;
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

static void serve_stdin(void)
{
	struct error err = ERROR_INIT;
	char line[1200];
	while (fgets(line, sizeof(line), stdin)) {
		struct stream_call c;
		if (sscanf(line, "stream %500s %500s", c.group, c.name) == 2) {
			check(engine_call(engine, make_stream, &c, &err), &err);
			printf("%s\n", c.path);
		} else if (strncmp(line, "sweep", 5) == 0) {
			check(logs_sweep(logs, engine_now_ms(engine), &err), &err);
			printf("ok\n");
		} else if (strncmp(line, "rss", 3) == 0) {
			printf("%ld\n", rss_kib());
		}
		fflush(stdout);
	}
}

static void join(struct store_migration *all, const struct store_migration *more)
{
	size_t n = 0;
	while (all[n].room)
		n++;
	for (; more->room; more++)
		all[n++] = *more;
}

int main(int argc, char **argv)
{
	struct error err = ERROR_INIT;
	struct store *store;
	struct wire_server *wire;
	struct store_migration all[32] = { { 0 } };
	char path[4000];
	join(all, engine_migrations);
	join(all, logs_migrations);
	snprintf(path, sizeof(path), "%s/state.db", argc > 1 ? argv[1] : ".");
	check(store_open(path, all, &store, &err), &err);
	check(engine_new(&(struct engine_options){ .store = store }, &engine, &err), &err);
	snprintf(path, sizeof(path), "%s/logs", argc > 1 ? argv[1] : ".");
	check(logs_new(engine, path, &logs, &err), &err);
	check(engine_start(engine, &err), &err);
	check(wire_server_new(&(struct wire_options){ .bind = "127.0.0.1",
						      .port = 0,
						      .threads = 2,
						      .region = "us-east-1",
						      .account = "123456789012",
						      .engine = engine,
						      .find_key = find_key },
			      &wire, &err),
	      &err);
	wire_add_service(wire, logs_service(logs));
	check(wire_start(wire, &err), &err);
	printf("%u\n", (unsigned)wire_port(wire));
	fflush(stdout);
	serve_stdin();
	wire_stop(wire, 500);
	engine_stop(engine); /* before what its effects use goes */
	wire_server_free(wire);
	logs_free(logs);
	engine_free(engine);
	store_close(store);
	return 0;
}
