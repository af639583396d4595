/* api_server.c - the room and its neighbours behind real HTTP, for the replay of recorded cases and for tests by hand.
 * usage: states_api_server <directory> <port> [quern-jsonata] [wait-scale] */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "iam/iam.h"
#include "logs/logs.h"
#include "s3/s3.h"
#include "states/states.h"

static void must(int rc, struct error *err)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s\n", error_text(err));
	exit(1);
}

int main(int argc, char **argv)
{
	struct error err = ERROR_INIT;
	struct arena a = ARENA_INIT;
	static const struct store_migration *const rooms[] = { engine_migrations, blob_migrations, iam_migrations,
							       logs_migrations,   s3_migrations,   states_migrations };
	struct store_migration all[64] = { 0 };
	size_t n = 0;
	sigset_t wanted;
	int sig;
	struct store *store;
	struct blob_store *blobs;
	struct engine *engine;
	struct iam *iam;
	struct logs *logs;
	struct s3 *s3;
	struct states *states;
	struct wire_server *wire;
	if (argc < 3)
		return 2;
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	signal(SIGPIPE, SIG_IGN);
	mkdir(argv[1], 0700);
	for (size_t i = 0; i < sizeof(rooms) / sizeof(*rooms); i++)
		for (const struct store_migration *m = rooms[i]; m->room; m++)
			all[n++] = *m;
	must(store_open(arena_printf(&a, "%s/q.db", argv[1]), all, &store, &err), &err);
	must(blob_store_open(arena_printf(&a, "%s/blobs", argv[1]), &blobs, &err), &err);
	const struct engine_options eo = { .store = store };
	must(engine_new(&eo, &engine, &err), &err);
	const struct iam_options io = { engine, "000000000000", "us-east-1",
					arena_printf(&a, "%s/credentials", argv[1]) };
	must(iam_new(&io, &iam, &err), &err);
	must(logs_new(engine, arena_printf(&a, "%s/logs", argv[1]), &logs, &err), &err);
	must(s3_new(engine, blobs, &s3, &err), &err);
	const struct states_options so = { .engine = engine,
					   .s3 = s3,
					   .logs = logs,
					   .account = "000000000000",
					   .region = "us-east-1",
					   .jsonata_program = argc > 3 ? argv[3] : NULL,
					   .wait_scale = argc > 4 ? atof(argv[4]) : 1 };
	must(states_new(&so, &states, &err), &err);
	must(engine_start(engine, &err), &err);
	const struct wire_options wo = { .port = (uint16_t)atoi(argv[2]),
					 .region = "us-east-1",
					 .account = "000000000000",
					 .engine = engine,
					 .find_key = iam_find_key,
					 .find_key_ctx = iam };
	must(wire_server_new(&wo, &wire, &err), &err);
	wire_add_service(wire, s3_service(s3));
	wire_add_service(wire, logs_service(logs));
	wire_add_service(wire, iam_service(iam));
	wire_add_service(wire, sts_service(iam));
	wire_add_service(wire, states_service(states));
	states_set_wire(states, wire);
	must(wire_start(wire, &err), &err);
	printf("port %u\n", wire_port(wire));
	fflush(stdout);
	sigwait(&wanted, &sig);
	wire_stop(wire, 1000);
	engine_stop(engine);
	wire_server_free(wire);
	states_free(states);
	s3_free(s3);
	logs_free(logs);
	iam_free(iam);
	engine_free(engine);
	blob_store_close(blobs);
	store_close(store);
	arena_release(&a);
	return 0;
}
