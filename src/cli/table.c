/* table.c - see table.h. */
#include "cli/table.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"

void table_init(struct table *t, struct arena *a, bool color, const char *const *headings)
{
	*t = (struct table){ .arena = a, .color = color };
	while (headings[t->columns])
		t->columns++;
	table_row(t, headings);
}

void table_row(struct table *t, const char *const *cells)
{
	if (t->rows == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 16;
		const char **grown = ARENA_ARRAY(t->arena, const char *, cap *(size_t)t->columns);
		if (t->rows)
			memcpy(grown, t->cells, t->rows * (size_t)t->columns * sizeof(*grown));
		t->cells = grown;
		t->cap = cap;
	}
	for (int i = 0; i < t->columns; i++)
		t->cells[t->rows * (size_t)t->columns + (size_t)i] = cells[i] ? cells[i] : "-";
	t->rows++;
}

/* Columns on a screen: code points, escape sequences not counted. */
static int width(const char *z)
{
	int n = 0;
	for (; *z; z++) {
		if (*z == '\033')
			while (*z && *z != 'm')
				z++;
		else if (((unsigned char)*z & 0xc0) != 0x80)
			n++;
	}
	return n;
}

void table_print(const struct table *t, FILE *out)
{
	int *widths = ARENA_ARRAY(t->arena, int, t->columns);
	for (size_t i = 0; i < t->rows * (size_t)t->columns; i++) {
		int w = width(t->cells[i]);
		if (w > widths[i % (size_t)t->columns])
			widths[i % (size_t)t->columns] = w;
	}
	for (size_t r = 0; r < t->rows; r++)
		for (int c = 0; c < t->columns; c++) {
			const char *cell = t->cells[r * (size_t)t->columns + (size_t)c];
			bool last = c == t->columns - 1;
			fprintf(out, "%s%*s%s", cell, last ? 0 : widths[c] - width(cell) + 2, "", last ? "\n" : "");
		}
}

const char *table_duration(struct arena *a, double from, double to)
{
	double s = to > from ? to - from : 0;
	if (s < 60)
		return arena_printf(a, "%.1fs", s);
	if (s < 3600)
		return arena_printf(a, "%dm%02ds", (int)s / 60, (int)s % 60);
	return arena_printf(a, "%dh%02dm", (int)s / 3600, (int)s / 60 % 60);
}

const char *table_ago(struct arena *a, double when)
{
	static const struct {
		int seconds;
		const char *name;
	} units[] = { { 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" } };
	double s = (double)clock_now_ms() / 1000 - when;
	size_t i = 0;
	while (i < 3 && s < units[i].seconds)
		i++;
	int n = s > 0 ? (int)(s / units[i].seconds) : 0;
	return arena_printf(a, "%d %s%s ago", n, units[i].name, n == 1 ? "" : "s");
}

const char *table_status(const struct table *t, const char *status)
{
	if (!t->color || !status)
		return status;
	int code = strcasecmp(status, "Succeeded") == 0 || strcmp(status, "Completed") == 0 ? 32
		   : strcasecmp(status, "Failed") == 0 || strcmp(status, "TIMED_OUT") == 0  ? 31
											    : 33;
	return arena_printf(t->arena, "\033[%dm%s\033[0m", code, status);
}
