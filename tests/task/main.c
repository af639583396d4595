/* main.c - the executor and supervisor as a program of their own, for tests: the same words as `quern executor` and
 * `quern task`. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "task/task.h"

static int run_executor(int argc, char **argv)
{
	static const struct option names[] = { { "socket", required_argument, NULL, 's' },
					       { "data", required_argument, NULL, 'd' },
					       { "images", required_argument, NULL, 'i' },
					       { "daemon-uid", required_argument, NULL, 'u' },
					       { "daemon-gid", required_argument, NULL, 'g' },
					       { "runtime", required_argument, NULL, 'r' },
					       { "api-port", required_argument, NULL, 'p' },
					       { "cdi-dirs", required_argument, NULL, 'c' },
					       { 0 } };
	struct executor_options o = { .daemon_uid = -1, .daemon_gid = -1 };
	for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
		if (c == 's')
			o.socket_path = optarg;
		else if (c == 'd')
			o.data_dir = optarg;
		else if (c == 'i')
			o.images_dir = optarg;
		else if (c == 'u')
			o.daemon_uid = atoi(optarg);
		else if (c == 'g')
			o.daemon_gid = atoi(optarg);
		else if (c == 'r')
			o.runtime = optarg;
		else if (c == 'c')
			o.cdi_dirs = optarg;
		else if (c == 'p')
			o.api_port = (uint16_t)atoi(optarg);
		else
			return 2;
	}
	return o.socket_path && o.data_dir && o.images_dir ? executor_main(&o) : 2;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "task"))
		return supervisor_main(argv[2]);
	if (argc > 1 && !strcmp(argv[1], "executor"))
		return run_executor(argc - 1, argv + 1);
	fprintf(stderr, "usage: %s executor --socket S --data D --images I | task DIR\n", argv[0]);
	return 2;
}
