/* logs.h - CloudWatch Logs: what other rooms may ask. */
#ifndef QUERN_LOGS_LOGS_H
#define QUERN_LOGS_LOGS_H

#include "wire/wire.h"

struct logs;
extern const struct store_migration logs_migrations[];

/* Log files live under `dir`. Starts one thread (appends of PutLogEvents, expiry). Before engine_start. */
int logs_new(struct engine *e, const char *dir, struct logs **out, struct error *err);
/* Finishes what was accepted and stops the thread. After the wire server is stopped, while the engine still runs. */
void logs_stop(struct logs *l);
/* After engine_stop: turns may be in logs_stream before that. Does logs_stop when nobody did. NULL is accepted. */
void logs_free(struct logs *l);
const struct wire_service *logs_service(struct logs *l);

/* In a turn: the group and stream exist from now (made when absent). Returns the host path of the stream's file in the
 * turn's arena: a task spec's "log". The file is created by the writer; it may not exist yet. Format of the file:
 * task.h. NULL on a fault (logged). */
const char *logs_stream(struct logs *l, struct turn *t, const char *group, const char *stream);
/* 1 the group exists, 0 not, < 0 a fault. */
int logs_has_group(struct db *db, const char *group, struct error *err);
/* The path of an existing stream's file, or NULL. */
const char *logs_find(struct logs *l, struct db *db, struct arena *a, const char *group, const char *stream);
/* Creates the file of a stream when there is none, owned by the daemon, so that it can be appended to and removed
 * whoever writes to it next. From a worker thread. */
int logs_touch(const char *path, struct error *err);
/* Calls fn for each event of a stream's file in file order, until fn returns nonzero. No file: no events. `text` is
 * borrowed. From a worker thread. */
int logs_each(const char *path, int (*fn)(void *ctx, int64_t at_ms, struct str text), void *ctx, struct error *err);

#endif
