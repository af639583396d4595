/* log.h - the daemon's own log: one line to stderr, "2026-01-01T00:00:00.000Z level room: text".
 * Thread-safe (one write(2) a line). Never put secrets in it. */
#ifndef QUERN_BASE_LOG_H
#define QUERN_BASE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
void log_set_level(enum log_level level);
void log_write(enum log_level level, const char *room, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define log_debug(room, ...) log_write(LOG_DEBUG, room, __VA_ARGS__)
#define log_info(room, ...) log_write(LOG_INFO, room, __VA_ARGS__)
#define log_warn(room, ...) log_write(LOG_WARN, room, __VA_ARGS__)
#define log_error(room, ...) log_write(LOG_ERROR, room, __VA_ARGS__)

#endif
