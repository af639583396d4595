/* logs.h - CloudWatch Logs: what other rooms may ask. */
#ifndef QUERN_LOGS_LOGS_H
#define QUERN_LOGS_LOGS_H

#include "wire/wire.h"

struct logs;
extern const struct store_migration logs_migrations[];

/* Log files live under `dir`. */
int logs_new(struct engine *e, const char *dir, struct logs **out, struct error *err);
void logs_free(struct logs *l);
const struct wire_service *logs_service(struct logs *l);

/* In a turn: the group and stream exist from now (made when absent). Returns the host path of the stream's file in the turn's arena: a task spec's
 * "log". The file is created by the writer; it may not exist yet. Format of the file: task.h. */
const char *logs_stream(struct logs *l, struct turn *t, const char *group, const char *stream);
/* The path of an existing stream's file, or NULL. */
const char *logs_find(struct logs *l, struct db *db, struct arena *a, const char *group, const char *stream);

#endif
