/* client.h - between client.c, effects.c and session.c. */
#ifndef QUERN_TASK_CLIENT_H
#define QUERN_TASK_CLIENT_H

#include "task/task.h"

/* Memory (malloc'ed, taken) that goes with the client. */
void task_client_own(struct task_client *c, void *memory);
/* Where the executor listens. */
const char *task_client_path(const struct task_client *c);

#endif
