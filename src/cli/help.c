/* help.c - what the quern program says when it is asked for help or used wrongly.
 *
 * DESIGN: a refusal says what happened and why, and ends with the command to try next. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/commands.h"

int fail(const char *next, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fflush(stdout);
	fputs("quern: ", stderr);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (next)
		fprintf(stderr, "  try: %s\n", next);
	return 1;
}

int fail_error(const char *next, const struct error *err)
{
	return fail(error_is(err, CLIENT_DOWN) ? "quern up" : next, "%s", error_text(err));
}

int usage(const char *command, const char *wrong)
{
	const struct command *c = command_find(command);
	if (wrong)
		fprintf(stderr, "quern: `%s` does not take `%s` there\n", command, wrong);
	fprintf(stderr, "usage: quern %s\n", c ? c->usage : command);
	fprintf(stderr, "  try: quern %s --help\n", command);
	return 2;
}

void help_all(FILE *out)
{
	fputs("usage: quern [--data DIRECTORY] COMMAND [ARGUMENT...]\n\n"
	      "SageMaker Pipelines, Step Functions and ECS workflows on this machine.\n\n",
	      out);
	for (const struct command *c = commands; c->name; c++)
		if (!c->hidden)
			fprintf(out, "  %-11s %s\n", c->name, c->summary);
	fputs("\n  --data DIRECTORY  where everything is kept (QUERN_HOME; default /var/lib/quern for root, else "
	      "~/.local/share/quern)\n"
	      "  --version, --help; quern COMMAND --help\n",
	      out);
}

void help_one(const struct command *c)
{
	printf("usage: quern %s\n\n%s\n", c->usage, c->summary);
	if (c->more)
		printf("\n%s\n", c->more);
}

/* How many letters must be changed, added, taken out or swapped with their neighbour to make b of a; at most `most`
 * letters each. */
static int distance(const char *a, const char *b)
{
	enum { MOST = 24 };
	int d[MOST + 1][MOST + 1], m = (int)strlen(a), n = (int)strlen(b);
	if (m > MOST || n > MOST)
		return MOST;
	for (int i = 0; i <= m; i++)
		for (int j = 0; j <= n; j++) {
			if (i == 0 || j == 0) {
				d[i][j] = i + j;
				continue;
			}
			int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	return d[m][n];
}

int help_unknown(const char *name)
{
	const char *nearest = NULL;
	int least = (int)strlen(name) > 3 ? 3 : 2; /* further off is no help */
	for (const struct command *c = commands; c->name; c++) {
		int n = c->hidden ? least : distance(name, c->name);
		if (n < least) {
			least = n;
			nearest = c->name;
		}
	}
	if (nearest)
		fail("quern --help", "there is no command `%s`; did you mean `quern %s`?", name, nearest);
	else
		fail("quern --help", "there is no command `%s`", name);
	return 2;
}
