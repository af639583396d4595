/* log.c - the log stream of a worker: lines of ours, and the end of an invocation's log.
 *
 * DESIGN: the task's supervisor appends what the function prints; we append to the same file, one write a record, so
 * records never mix. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lambda/room.h"

enum { WINDOW = 64 * 1024, PATIENCE_US = 300000 };

void lambda_log(const char *path, const char *fmt, ...)
{
	CLEANUP_FREE char *text = NULL;
	CLEANUP_BUF struct buf b = BUF_INIT;
	struct str rest, line;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		BUG("out of memory");
	va_end(ap);
	rest = str_from(text);
	while (str_split(&rest, '\n', &line))
		if (line.len)
			buf_printf(&b, "%lld %.*s\n", (long long)clock_now_ms(), STR_ARG(line));
	CLEANUP_FD int fd = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
	if (fd >= 0 && write(fd, b.ptr, b.len) < 0)
		log_warn("lambda", "write log `%s`: %s", path, strerror(errno));
}

/* The last bytes of the file; *cut: it has more. */
static struct str read_end(struct arena *a, const char *path, bool *cut)
{
	struct stat st;
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	*cut = false;
	if (fd < 0 || fstat(fd, &st) < 0)
		return STR("");
	off_t from = st.st_size > WINDOW ? st.st_size - WINDOW : 0;
	*cut = from > 0;
	char *text = arena_alloc_raw(a, WINDOW);
	ssize_t n = pread(fd, text, WINDOW, from);
	return n > 0 ? str_of(text, (size_t)n) : STR("");
}

/* Text of the records from START to REPORT; *whole: REPORT was there. Of a `cut` text START may lie before it: a worker
 * has one invocation at a time, so all before REPORT is this one's. */
static void collect(struct str text, bool cut, const char *id, struct buf *out, bool *whole)
{
	char start[64], report[64];
	struct str line;
	bool in = cut, started = false;
	if (cut)
		str_split(&text, '\n', &line); /* a part of a record */
	snprintf(start, sizeof(start), "START RequestId: %s", id);
	snprintf(report, sizeof(report), "REPORT RequestId: %s", id);
	buf_clear(out);
	*whole = false;
	while (!*whole && str_split(&text, '\n', &line)) {
		line = str_skip(line, (size_t)(str_find_char(line, ' ') + 1));
		if (str_starts(line, str_from(start))) {
			in = started = true;
			buf_clear(out);
		}
		*whole = str_starts(line, str_from(report));
		if (in || *whole) {
			buf_add_str(out, line);
			buf_add_char(out, '\n');
		}
	}
	if (!started && !*whole)
		buf_clear(out); /* of an earlier one */
}

struct str lambda_log_tail(struct arena *a, const char *path, const char *id)
{
	CLEANUP_BUF struct buf out = BUF_INIT;
	int64_t until = clock_monotonic_us() + PATIENCE_US;
	bool whole = false;
	while (path && !whole) {
		struct arena scratch = ARENA_INIT;
		bool cut;
		struct str end = read_end(&scratch, path, &cut);
		collect(end, cut, id, &out, &whole);
		arena_release(&scratch);
		if (clock_monotonic_us() > until)
			break;
		if (!whole)
			usleep(3000);
	}
	struct str all = buf_str(&out);
	return arena_str(a, all.len > LAMBDA_TAIL ? str_skip(all, all.len - LAMBDA_TAIL) : all);
}
