/* rig.h - what the tests of the store share: a schema, places for stores, and a thread that reads.
 *
 * DESIGN: rig_places_postgres makes every later place a database of a PostgreSQL server that is started for the test
 * (scripts/postgres); otherwise a place is a file of SQLite. */
#ifndef QUERN_TESTS_STORE_RIG_H
#define QUERN_TESTS_STORE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"

extern const struct store_migration schema[];

/* A directory of the test's own; false when it can't be made. */
bool rig_start(void);
/* Starts the server. False: PostgreSQL is not installed. */
bool rig_places_postgres(void);
/* Removes everything; what a test's main returns, given the number of failed tests. */
int rig_end(int failed);

/* "<directory>/<name>", good for the next few calls. */
char *in_dir(const char *name);
/* Where a new store goes: "" or a database. The same name is the same place; NULL = a place of its own. */
char *place(const char *name);

struct store *open_ok(const char *path, const struct store_migration *migrations);
void must(int rc, struct error *err);
/* The one number of a query. */
int64_t count(struct db *db, const char *sql);
/* A commit of its own. */
void add_fruit(struct store *s, const char *name);

struct reader_job {
	struct store *s;
	atomic_bool stop;
	atomic_int reads, bad;
	unsigned hold_us;
};
/* The writer keeps the weights of fruits 1 and 2 equal; a reader must never see them differ. A thread; struct
 * reader_job. */
void *read_pairs(void *arg);

#endif
