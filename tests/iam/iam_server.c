/* iam_server.c - a server with iam and sts only, for test_iam.py: prints its port, ends when stdin ends. Argument: a
 * folder for its data. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "iam/iam.h"

static int run(const char *dir, struct error *err)
{
	char store_path[512], keys_path[512];
	struct store_migration all[16];
	struct store *store;
	struct engine *engine;
	struct iam *iam;
	struct wire_server *server;
	size_t n = 0;
	snprintf(store_path, sizeof(store_path), "%s/store", dir);
	snprintf(keys_path, sizeof(keys_path), "%s/credentials", dir);
	for (const struct store_migration *m = engine_migrations; m->room; m++)
		all[n++] = *m;
	for (const struct store_migration *m = iam_migrations; m->room; m++)
		all[n++] = *m;
	all[n] = (struct store_migration){ 0 };
	if (store_open(store_path, all, &store, err) < 0)
		return -1;
	struct engine_options eo = { .store = store };
	if (engine_new(&eo, &engine, err) < 0)
		return -1;
	struct iam_options io = {
		.engine = engine, .account = "123456789012", .region = "us-east-1", .keys_path = keys_path
	};
	if (iam_new(&io, &iam, err) < 0 || engine_start(engine, err) < 0)
		return -1;
	struct wire_options wo = { .bind = "127.0.0.1",
				   .port = 0,
				   .threads = 2,
				   .region = "us-east-1",
				   .account = "123456789012",
				   .engine = engine,
				   .find_key = iam_find_key,
				   .find_key_ctx = iam,
				   .authorize = iam_authorize,
				   .authorize_ctx = iam };
	if (wire_server_new(&wo, &server, err) < 0)
		return -1;
	wire_add_service(server, iam_service(iam));
	wire_add_service(server, sts_service(iam));
	if (wire_start(server, err) < 0)
		return -1;
	printf("%d\n", wire_port(server));
	fflush(stdout);
	char c;
	while (read(0, &c, 1) > 0)
		;
	wire_stop(server, 1000);
	engine_stop(engine);
	wire_server_free(server);
	iam_free(iam);
	engine_free(engine);
	store_close(store);
	return 0;
}

int main(int argc, char **argv)
{
	struct error err = ERROR_INIT;
	if (argc != 2)
		return 2;
	if (run(argv[1], &err) < 0) {
		fprintf(stderr, "%s\n", error_text(&err));
		return 1;
	}
	return 0;
}
