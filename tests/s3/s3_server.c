/* s3_server.c - a server with nothing but S3, for tests and benchmarks: s3_server <data dir> [port [bind]]
 * Two accounts with fixed keys. Prints "port N" when it answers; ends on SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "s3/s3.h"

static const struct {
	const char *key, *secret, *account;
} keys[] = {
	{ "QUERNTESTKEY00000001", "quern/test/secret/0000000000000000000001", "000000000001" },
	{ "QUERNTESTKEY00000002", "quern/test/secret/0000000000000000000002", "000000000002" },
};

static bool find_key(void *ctx, struct arena *a, struct db *db, struct str access_key, struct str token, int64_t now_ms,
		     struct principal *who, struct str *secret, struct error *err)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		if (!str_eqz(access_key, keys[i].key))
			continue;
		*who = (struct principal){ .access_key = keys[i].key,
					   .account = keys[i].account,
					   .arn = arena_printf(a, "arn:aws:iam::%s:root", keys[i].account),
					   .user_id = keys[i].account };
		*secret = str_from(keys[i].secret);
		return true;
	}
	return false;
}

static struct store_migration all[32];

static void add_migrations(const struct store_migration *m)
{
	size_t n = 0;
	while (all[n].room)
		n++;
	for (; m->room; m++)
		all[n++] = *m;
}

static int fail(const char *what, struct error *err)
{
	fprintf(stderr, "%s: %s\n", what, error_text(err));
	error_release(err);
	return 1;
}

int main(int argc, char **argv)
{
	struct error err = ERROR_INIT;
	struct store *store;
	struct blob_store *blobs;
	struct engine *engine;
	struct s3 *s3;
	struct wire_server *wire;
	char path[4096];
	if (argc < 2) {
		fprintf(stderr, "usage: s3_server <data dir> [port [bind]]\n");
		return 2;
	}
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	mkdir(argv[1], 0755);
	add_migrations(engine_migrations);
	add_migrations(blob_migrations);
	add_migrations(s3_migrations);
	snprintf(path, sizeof(path), "%s/quern.db", argv[1]);
	const char *address = getenv("QUERN_STORE");
	if (store_open(address ? address : path, all, &store, &err) < 0)
		return fail("store", &err);
	snprintf(path, sizeof(path), "%s/blobs", argv[1]);
	if (blob_store_open(path, &blobs, &err) < 0)
		return fail("blobs", &err);
	if (engine_new(&(struct engine_options){ .store = store }, &engine, &err) < 0 ||
	    s3_new(engine, blobs, &s3, &err) < 0 || engine_start(engine, &err) < 0)
		return fail("engine", &err);
	const struct wire_options options = { .bind = argc > 3 ? argv[3] : "127.0.0.1",
					      .port = argc > 2 ? (uint16_t)atoi(argv[2]) : 0,
					      .region = "us-east-1",
					      .account = keys[0].account,
					      .engine = engine,
					      .find_key = find_key };
	if (wire_server_new(&options, &wire, &err) < 0)
		return fail("wire", &err);
	wire_add_service(wire, s3_service(s3));
	if (wire_start(wire, &err) < 0)
		return fail("wire", &err);
	printf("port %u\n", wire_port(wire));
	fflush(stdout);
	int sig;
	sigwait(&set, &sig);
	wire_stop(wire, 2000);
	engine_stop(engine);
	wire_server_free(wire);
	s3_free(s3);
	engine_free(engine);
	blob_store_close(blobs);
	store_close(store);
	return 0;
}
