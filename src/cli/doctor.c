/* doctor.c - says what this machine lacks: doctor; what is implemented: api; shell completion. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "task/task.h"

int cli_doctor(struct config *c, int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--json") == 0)
		c->json = true;
	else if (argc > 1)
		return usage("doctor");
	CLEANUP_JSON json_t *checks = task_doctor(c->data_dir, c->cdi_dirs);
	json_t *check;
	size_t i;
	int bad = 0;
	json_array_foreach (checks, i, check) {
		bool ok = json_get_bool(check, "ok", false);
		const char *fix = json_get_text(check, "fix");
		bad += !ok;
		if (c->json)
			continue;
		printf("%s%-4s%s %-18s %s\n", c->color ? (ok ? "\033[32m" : "\033[31m") : "", ok ? "ok" : "no",
		       c->color ? "\033[0m" : "", json_get_text(check, "check"), json_get_text(check, "detail"));
		if (!ok && fix)
			printf("     mend it: %s\n", fix);
	}
	if (c->json) {
		json_dumpf(checks, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	return bad > 0;
}
