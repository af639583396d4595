/* retention.c - ended executions are forgotten after their time (AWS keeps them for 90 days).
 *
 * DESIGN: one actor, "states.retention", goes through the executions in the order of their starts, a small batch a
 * turn, and removes those that ended too long ago, with histories and map runs. It stops at the first that began within
 * the time, and begins again later. What runs, and the children of a map run that runs, stays. */
#include "states/exec.h"

enum { BATCH = 200, PAUSE_MIN_MS = 1000, PAUSE_MAX_MS = 3600000 };

static int forget(struct db *db, const char *arn, struct error *err)
{
	static const char *const statements[] = { "DELETE FROM states_history WHERE execution=?",
						  "DELETE FROM states_map_run WHERE execution=?",
						  "DELETE FROM states_execution WHERE arn=?" };
	for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++)
		if (db_exec(db, err, statements[i], "s", arn) < 0)
			return -1;
	return 0;
}

/* Looks at a batch of rows after number *after. 1: there may be more; 0: no; < 0 with err. */
static int sweep(struct turn *t, int64_t before_ms, int64_t *after, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *old[BATCH];
	int rc, n = 0, seen = 0;
	bool more = true;
	if (db_query(turn_db(t), &rows, err,
		     "SELECT num, arn, start_ms, stop_ms, status='RUNNING' OR EXISTS(SELECT 1 FROM states_map_run m "
		     "WHERE "
		     "m.arn=map_run AND m.status='RUNNING') FROM states_execution WHERE num>? ORDER BY num LIMIT ?",
		     "ii", *after, (int64_t)BATCH) < 0)
		return -1;
	while ((rc = rows_next(&rows, err)) > 0 && (more = rows_int(&rows, 2) < before_ms)) {
		seen++;
		*after = rows_int(&rows, 0);
		if (!rows_int(&rows, 4) && rows_int(&rows, 3) < before_ms)
			old[n++] = arena_strdup(turn_arena(t), rows_str(&rows, 1));
	}
	rows_done(&rows);
	for (int i = 0; rc >= 0 && i < n; i++)
		rc = forget(turn_db(t), old[i], err);
	return rc < 0 ? -1 : more && seen == BATCH;
}

static int retention_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	int64_t keep_ms = exec_actor_room()->o.retention_ms, after = json_get_int(state, "after", 0),
		pause_ms = keep_ms / 10;
	(void)event;
	int more = sweep(t, turn_now_ms(t) - keep_ms, &after, err);
	if (more < 0)
		return -1;
	json_set_int(state, "after", more ? after : 0);
	pause_ms = pause_ms < PAUSE_MIN_MS ? PAUSE_MIN_MS : pause_ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause_ms;
	turn_timer(t, "sweep", turn_now_ms(t) + (more ? 10 : pause_ms), json_pack("{s:s}", "type", "sweep"));
	return 0;
}

const struct actor_type states_retention_actor = { .name = "states.retention", .turn = retention_turn };

static int begin(struct turn *t, void *arg, struct error *err)
{
	(void)arg;
	if (!turn_exists(t, "states/retention"))
		return turn_spawn(t, "states.retention", "states/retention", json_object(), err);
	turn_send(t, "states/retention", json_pack("{s:s}", "type", "sweep"));
	return 0;
}

int states_begin(struct states *s, struct error *err)
{
	return engine_call(s->o.engine, begin, NULL, err);
}
