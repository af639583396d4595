/* doctor.c - says what this machine lacks: doctor; what is implemented: api; shell completion. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "task/task.h"

/* State machines in JSONata want a worker, and the official package beside it. */
static void check_jsonata(const struct config *c, json_t *checks)
{
	char worker[4096], package[4096];
	snprintf(worker, sizeof(worker), "%s/quern-jsonata", c->libexec);
	snprintf(package, sizeof(package), "%s/jsonata/jsonata.js", c->libexec);
	bool built = access(worker, X_OK) == 0, there = access(package, R_OK) == 0;
	json_t *one = json_object();
	json_set_text(one, "check", "jsonata");
	json_set_bool(one, "ok", built && there);
	json_set_text(one, "detail",
		      !built   ? "quern-jsonata was not built: state machines that use JSONata fail"
		      : !there ? "the package jsonata is not there: state machines that use JSONata fail"
			       : "state machines may use JSONata");
	const char *fix = !built   ? "sudo apt install libjavascriptcoregtk-4.1-dev, then make again"
			  : !there ? "sudo apt install npm, then make again"
				   : NULL;
	json_object_set_new(one, "fix", fix ? json_string(fix) : json_null());
	json_array_append_new(checks, one);
}

static void tell_policies(struct config *c, json_t *checks)
{
	bool ignored = config_policies_ignored(c);
	json_array_append_new(checks, json_pack("{s:s, s:b, s:s, s:n}", "check", "policies", "ok", 1, "detail",
						ignored ? "IAM policies are ignored: every key may do everything "
							  "(quern up --iam ignore)"
							: "IAM policies are evaluated",
						"fix"));
}

int cli_doctor(struct config *c, int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--json") == 0)
		c->json = true;
	else if (argc > 1)
		return usage("doctor", argv[1]);
	CLEANUP_JSON json_t *checks = task_doctor(c->data_dir, c->cdi_dirs);
	check_jsonata(c, checks);
	tell_policies(c, checks);
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
