/* table.h - aligned columns on stdout, for people; --json is for programs. */
#ifndef QUERN_CLI_TABLE_H
#define QUERN_CLI_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/arena.h"

struct table {
	struct arena *arena;
	int columns;
	size_t rows, cap;
	const char **cells;
	bool color;
};
/* Starts a table with a NULL-ended list of headings. */
void table_init(struct table *t, struct arena *a, bool color, const char *const *headings);
/* One row: as many texts as there are columns (NULL prints "-"); borrowed until printed. */
void table_row(struct table *t, const char *const *cells);
void table_print(const struct table *t, FILE *out);
/* "3s", "2m10s", "1h02m": the time from a to b in epoch seconds, in the arena. */
const char *table_duration(struct arena *a, double from, double to);
/* "5 minutes ago" */
const char *table_ago(struct arena *a, double when);
/* The status word, coloured when the table is. */
const char *table_status(const struct table *t, const char *status);

#endif
