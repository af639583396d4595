/* file.h - reading a log file. Inside the logs room.
 *
 * DESIGN: a window of 64 KiB moves over the file with pread, so a file of any size is read in flat memory. Positions
 * are byte offsets of line starts. The file is seen as it was when opened: [head, end), where `end` is behind the last
 * whole line (a torn last line is not there yet). Lines are in order of time up to SLOP_MS (clocks step), so a time is
 * found by halving. */
#ifndef QUERN_LOGS_FILE_H
#define QUERN_LOGS_FILE_H

#include "base/error.h"
#include "logs/record.h"

#define LOG_WINDOW_BYTES (64 * 1024)
#define LOG_LINE_MAX_BYTES (2 * 1024 * 1024 + 64 * 1024) /* a 1 MiB message, every byte escaped, and the head */
#define LOG_SLOP_MS 2000

struct log_file {
	int fd; /* -1: there is no file (yet): empty */
	int64_t head, end;
	char *win;
	size_t win_cap, win_len;
	int64_t win_off;
};
#define CLEANUP_LOG_FILE __attribute__((cleanup(log_file_close)))
#define LOG_FILE_INIT ((struct log_file){ .fd = -1 })

/* `head`: offset of the first live record (earlier ones expired). A file that does not exist is an empty one. */
int log_file_open(struct log_file *f, const char *path, int64_t head, struct error *err);
void log_file_close(struct log_file *f);
/* The line that starts at `off`, without newline, borrowed until the next call; *next is the start of the one behind.
 * 1 a line, 0 the end. A line beyond LOG_LINE_MAX_BYTES is cut. */
int log_file_line(struct log_file *f, int64_t off, struct str *line, int64_t *next, struct error *err);
/* The start of the line before the one at `off` (a line start). 1 found, 0 when off is the head. */
int log_file_prev(struct log_file *f, int64_t off, int64_t *start, struct error *err);
/* *off is the first line start such that no record before it is as late as t_ms (at most SLOP_MS too early). */
int log_file_seek(struct log_file *f, int64_t t_ms, int64_t *off, struct error *err);
/* Whether `off` is a line start of the file (a client's token is to be trusted no further). */
int log_file_is_start(struct log_file *f, int64_t off, struct error *err);
/* Times of the first and the last record. 1 when there is one, 0 when the file is empty. */
int log_file_range(struct log_file *f, int64_t *first_ms, int64_t *last_ms, struct error *err);

#endif
