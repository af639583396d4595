/* log.c - see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static enum log_level minimum = LOG_INFO;

void log_set_level(enum log_level level)
{
	minimum = level;
}

void log_write(enum log_level level, const char *room, const char *fmt, ...)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };
	if (level < minimum)
		return;
	char line[4096], when[32];
	int n = snprintf(line, sizeof(line), "%s %s %s: ", clock_iso_ms(clock_now_ms(), when), names[level], room);
	va_list ap;
	va_start(ap, fmt);
	int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	size_t len = (size_t)n + (m < 0 ? 0 : (size_t)m);
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	for (size_t i = (size_t)n; i < len; i++) /* one event, one line */
		if (line[i] == '\n')
			line[i] = ' ';
	line[len++] = '\n';
	ssize_t rc = write(STDERR_FILENO, line, len);
	(void)rc;
}
