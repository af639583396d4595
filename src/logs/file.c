/* file.c - reading a log file through a window.
 *
 * DESIGN: see file.h. Nothing is mapped: a file cut short by someone else must not raise SIGBUS in the daemon. */
#include "logs/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCAN_LINEAR_BYTES 4096

/* Fills the window from `off`. Fewer bytes than asked only at the end of the file. */
static int window_load(struct log_file *f, int64_t off, struct error *err)
{
	f->win_off = off;
	f->win_len = 0;
	int64_t want = f->end - off;
	if (want > (int64_t)f->win_cap)
		want = (int64_t)f->win_cap;
	while ((int64_t)f->win_len < want) {
		ssize_t n = pread(f->fd, f->win + f->win_len, (size_t)want - f->win_len, off + (int64_t)f->win_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, errno, "read a log file");
		if (n == 0)
			break;
		f->win_len += (size_t)n;
	}
	return 0;
}

static void window_grow(struct log_file *f)
{
	f->win_cap *= 2;
	if (f->win_cap > LOG_LINE_MAX_BYTES)
		f->win_cap = LOG_LINE_MAX_BYTES;
	f->win = mem_realloc(f->win, f->win_cap);
}

/* Looks backwards for the newline before `pos`; *start is the offset behind it, or the head. */
static int start_before(struct log_file *f, int64_t pos, int64_t *start, struct error *err)
{
	while (pos > f->head) {
		if (pos <= f->win_off || pos > f->win_off + (int64_t)f->win_len) {
			int64_t from = pos - (int64_t)f->win_cap;
			if (window_load(f, from < f->head ? f->head : from, err) < 0)
				return -1;
			if (f->win_off + (int64_t)f->win_len < pos)
				return error_set(err, "read a log file: it became shorter");
		}
		const char *nl = memrchr(f->win, '\n', (size_t)(pos - f->win_off));
		if (nl) {
			int64_t found = f->win_off + (nl - f->win) + 1;
			*start = found < f->head ? f->head : found;
			return 0;
		}
		pos = f->win_off;
	}
	*start = f->head;
	return 0;
}

int log_file_open(struct log_file *f, const char *path, int64_t head, struct error *err)
{
	*f = LOG_FILE_INIT;
	f->head = f->end = head;
	f->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0 && errno == ENOENT)
		return 0;
	if (f->fd < 0)
		return error_errno(err, errno, "open log file `%s`", path);
	struct stat st;
	if (fstat(f->fd, &st) < 0)
		return error_errno(err, errno, "stat log file `%s`", path);
	if (st.st_size <= head)
		return 0;
	f->win_cap = LOG_WINDOW_BYTES;
	f->win = mem_alloc(f->win_cap);
	f->end = st.st_size;
	return start_before(f, st.st_size, &f->end, err);
}

void log_file_close(struct log_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	free(f->win);
	*f = LOG_FILE_INIT;
}

/* The end of a line longer than the largest window: the offset behind its newline. */
static int skip_long(struct log_file *f, int64_t from, int64_t *next, struct error *err)
{
	char piece[16 * 1024];
	while (from < f->end) {
		ssize_t n = pread(f->fd, piece, sizeof(piece), from);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, errno, "read a log file");
		if (n == 0)
			break;
		const char *nl = memchr(piece, '\n', (size_t)n);
		if (nl) {
			*next = from + (nl - piece) + 1;
			return 0;
		}
		from += n;
	}
	*next = f->end;
	return 0;
}

int log_file_line(struct log_file *f, int64_t off, struct str *line, int64_t *next, struct error *err)
{
	while (off >= f->head && off < f->end) {
		if (off < f->win_off || off >= f->win_off + (int64_t)f->win_len) {
			if (window_load(f, off, err) < 0)
				return -1;
			if (f->win_len == 0)
				return 0;
		}
		const char *p = f->win + (off - f->win_off);
		size_t have = f->win_len - (size_t)(off - f->win_off);
		const char *nl = memchr(p, '\n', have);
		if (nl) {
			*line = str_of(p, (size_t)(nl - p));
			*next = off + (nl - p) + 1;
			return 1;
		}
		if (f->win_off + (int64_t)f->win_len >= f->end)
			return 0;
		if (off == f->win_off && f->win_cap >= LOG_LINE_MAX_BYTES) {
			*line = str_of(p, have);
			return skip_long(f, off + (int64_t)have, next, err) < 0 ? -1 : 1;
		}
		if (off == f->win_off)
			window_grow(f);
		if (window_load(f, off, err) < 0)
			return -1;
		if (f->win_len <= have && f->win_off + (int64_t)f->win_len < f->end && f->win_len < f->win_cap)
			return 0; /* the file became shorter */
	}
	return 0;
}

int log_file_prev(struct log_file *f, int64_t off, int64_t *start, struct error *err)
{
	if (off <= f->head || f->fd < 0)
		return 0;
	return start_before(f, off - 1, start, err) < 0 ? -1 : 1;
}

int log_file_is_start(struct log_file *f, int64_t off, struct error *err)
{
	if (off < 0 || off > f->end)
		return 0;
	if (off <= f->head || off == f->end)
		return 1;
	int64_t start;
	if (start_before(f, off, &start, err) < 0)
		return -1;
	return start == off;
}

/* The first record at or behind `off`: its time and where it starts. 0 when there is none before `limit`. */
static int record_at(struct log_file *f, int64_t off, int64_t limit, int64_t *at_ms, int64_t *start, struct error *err)
{
	struct str line;
	struct log_record r;
	int64_t next;
	while (off < limit) {
		int rc = log_file_line(f, off, &line, &next, err);
		if (rc <= 0)
			return rc;
		if (log_record_parse(line, &r)) {
			*at_ms = r.at_ms;
			*start = off;
			return 1;
		}
		off = next;
	}
	return 0;
}

int log_file_seek(struct log_file *f, int64_t t_ms, int64_t *off, struct error *err)
{
	int64_t lo = f->head, hi = f->end;
	t_ms = t_ms > LOG_SLOP_MS ? t_ms - LOG_SLOP_MS : 0;
	while (hi - lo > SCAN_LINEAR_BYTES) {
		int64_t mid = lo + (hi - lo) / 2, start, at;
		if (start_before(f, mid, &start, err) < 0)
			return -1;
		int rc = record_at(f, start, hi, &at, &start, err);
		if (rc < 0)
			return -1;
		if (rc == 0 || at >= t_ms) {
			if (start_before(f, mid, &hi, err) < 0)
				return -1;
			continue;
		}
		if (start <= lo)
			break; /* one long line fills the rest */
		lo = start;
	}
	for (;;) {
		int64_t at, start;
		int rc = record_at(f, lo, f->end, &at, &start, err);
		if (rc < 0)
			return -1;
		if (rc == 0 || at >= t_ms) {
			*off = rc == 0 ? f->end : start;
			return 0;
		}
		struct str line;
		if (log_file_line(f, start, &line, &lo, err) <= 0)
			return error_set(err, "read a log file: it became shorter");
	}
}

int log_file_range(struct log_file *f, int64_t *first_ms, int64_t *last_ms, struct error *err)
{
	int64_t start;
	int rc = record_at(f, f->head, f->end, first_ms, &start, err);
	if (rc <= 0)
		return rc;
	int64_t off = f->end;
	while ((rc = log_file_prev(f, off, &start, err)) > 0) {
		struct str line;
		struct log_record r;
		int64_t next;
		int got = log_file_line(f, start, &line, &next, err);
		if (got < 0)
			return -1;
		if (got > 0 && log_record_parse(line, &r)) {
			*last_ms = r.at_ms;
			return 1;
		}
		off = start;
	}
	return rc;
}
