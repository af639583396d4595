/* api.c - which AWS operations are implemented, as the running daemon says. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/table.h"

int cli_api(struct config *c, int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *only = NULL;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			c->json = true;
		else if (argv[i][0] == '-' || only)
			return usage("api", argv[i]);
		else
			only = argv[i];
	}
	/* {"<service>": {"implemented": [names], "known": count}} */
	CLEANUP_JSON json_t *coverage = client_get(c, "/_quern/api", &err);
	json_t *entry, *name;
	const char *service;
	size_t i;
	if (!coverage)
		return fail_error(NULL, &err);
	if (only && !json_get(coverage, only))
		return fail("quern api", "there is no service `%s`", only);
	if (c->json) {
		json_dumpf(only ? json_get(coverage, only) : coverage, stdout, JSON_INDENT(2));
		putchar('\n');
		return 0;
	}
	json_object_foreach (coverage, service, entry) {
		if (only && strcmp(service, only) != 0)
			continue;
		if (!only)
			printf("%-24s %zu of %lld\n", service, json_array_size(json_get(entry, "implemented")),
			       (long long)json_get_int(entry, "known", 0));
		json_array_foreach (json_get(entry, "implemented"), i, name) {
			if (only)
				puts(json_string_value(name));
		}
	}
	return 0;
}
