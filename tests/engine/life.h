/* life.h - a store and an engine that can be killed and opened again, and a toy actor; for the tests of the engine. See
 * life.c. */
#ifndef QUERN_TESTS_ENGINE_LIFE_H
#define QUERN_TESTS_ENGINE_LIFE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/engine.h"

struct life {
	struct store *store;
	struct engine *engine;
	int64_t now_ms;
	uint64_t random;
	int performed[64]; /* by the number in the payload */
	int64_t seq[64];
	bool report;  /* performers answer at once */
	int crash_at; /* enum engine_crash, or -1 */
	int after_commit;
	int max_turns;
};

struct spawn {
	const char *type, *id;
	json_t *state;
};

extern const struct actor_type toy; /* does what its events tell it: "do" is a list of operations */

/* Fails the test with the error's text. */
void must(int rc, struct error *err);
void life_start(struct life *l);
void open_store(struct store **out, const char *path);
/* A scratch store and a started engine. */
void life_open(struct life *l);
/* As after a crash: what the store has goes on. */
void life_restart(struct life *l);
void life_close(struct life *l);
/* Steps until nothing is due; returns turns. */
int settle(struct life *l);
/* JSON with ' for ". */
json_t *js(const char *fmt, ...);
int run_spawn(struct turn *t, void *arg, struct error *err);
int spawn(struct life *l, const char *id, struct error *err);
void spawn_ok(struct life *l, const char *id);
void post(struct life *l, const char *id, json_t *event);
/* The types of the events that the toy has seen, "a b c"; "-" when it does not exist. */
const char *log_of(struct life *l, const char *id);
int64_t count(struct store *s, const char *sql);
int64_t commits(struct life *l);

#endif
