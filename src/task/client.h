/* client.h - between client.c and effects.c. */
#ifndef QUERN_TASK_CLIENT_H
#define QUERN_TASK_CLIENT_H

#include "task/task.h"

/* Memory (malloc'ed, taken) that goes with the client. */
void task_client_own(struct task_client *c, void *memory);

#endif
