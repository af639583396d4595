/* exec_redrive.c - what an unsuccessful execution is redriven from, and the redrive of a map run. See exec.h.
 *
 * DESIGN: when an execution does not succeed, its frames are kept as they were (redrive_state of its row): a state that
 * had not ended begins again, with the input it had and without a new StateEntered; branches and iterations that had
 * ended stay so. A distributed Map keeps its map run: children that did not succeed are marked (redrive_token
 * 'pending') and are redriven one after the other, as its concurrency allows, before those that had not started. They
 * keep their ARNs; an express child, which has no states to go on from, starts from its beginning. (AWS: "Redriving
 * state machine executions", "Redriving Map Runs".) */
#include "states/exec.h"

#include <stdlib.h>

enum { RUN_REDRIVES = 1000, REDRIVEN_AT_ONCE = 500 };

/* ---- what is kept ---- */

/* A distributed Map whose children had begun: its run goes on. */
static bool keeps_run(const json_t *o, bool failing)
{
	const json_t *task = json_object_get(o, "ta");
	int64_t phase = json_get_int(o, "ph", 0);
	bool among = phase == PHASE_CHILDREN || phase == PHASE_WRITE || (failing && phase == PHASE_BEGIN);
	return among && json_get_text(task, "map_run") && json_get_int(o, "nx", 0) > 0;
}

static void frame_snapshot(struct exec *x, json_t *o, bool failing)
{
	static const char *const always[] = { "pe", "re", "rt", "me", "rc", "fe", "fc", "ca" };
	static const char *const state[] = { "wo", "ta" };
	bool run = keeps_run(o, failing);
	int64_t phase = json_get_int(o, "ph", 0);
	if (phase == PHASE_CHILDREN && !failing && !json_get_text(json_object_get(o, "ta"), "map_run"))
		return; /* its children go on */
	for (size_t k = 0; k < sizeof(always) / sizeof(*always); k++)
		json_object_del(o, always[k]);
	for (size_t k = 0; !run && k < sizeof(state) / sizeof(*state); k++)
		json_object_del(o, state[k]);
	json_set_bool(o, "q", true);
	if (run) {
		json_t *task = json_copy(json_object_get(o, "ta"));
		json_set_bool(task, "redrive", true);
		json_object_set_new(o, "ta", task);
	}
	const struct frame *f = exec_frame(x, json_get_int(o, "id", 0));
	json_set_int(o, "ph", run ? PHASE_CHILDREN : f->state->type == ASL_FAIL ? PHASE_ENTER : PHASE_BEGIN);
	if (phase == PHASE_ENTER)
		json_set_int(o, "ph", PHASE_ENTER);
}

/* A state that begins again has no branches and iterations yet. */
static void drop_below(json_t *frames, int64_t id)
{
	for (size_t i = json_array_size(frames); i-- > 0;) {
		const json_t *o = i < json_array_size(frames) ? json_array_get(frames, i) : NULL;
		if (!o || json_get_int(o, "up", 0) != id)
			continue;
		int64_t child = json_get_int(o, "id", 0);
		json_array_remove(frames, i);
		drop_below(frames, child);
	}
}

void exec_snapshot(struct exec *x, struct frame *failing)
{
	json_t *o;
	size_t i;
	if ((!x->t || x->express) && !json_get_text(x->facts, "map_run"))
		return;
	json_decref(x->redrive);
	if (x->express) {
		x->redrive = json_pack("{s:O,s:[]}", "facts", x->facts, "frames");
		return;
	}
	x->redrive = exec_save(x);
	json_t *frames = json_object_get(x->redrive, "frames");
	if (failing)
		drop_below(frames, failing->id);
	json_array_foreach (frames, i, o)
		frame_snapshot(x, o, failing && json_get_int(o, "id", 0) == failing->id);
}

void exec_redriven(struct exec *x)
{
	int64_t id = history_add(x, "ExecutionRedriven", x->next_event - 1, "executionRedrivenEventDetails",
				 json_pack("{s:I}", "redriveCount", (json_int_t)x->redrive_count));
	for (size_t i = 0; i < x->nframes; i++)
		if (x->frames[i]->queued)
			x->frames[i]->prev = id;
}

int execution_respawn(struct turn *t, const char *arn, json_t *state, const char *token, int64_t parent_attempt,
		      struct error *err)
{
	json_t *facts = json_object_get(state, "facts");
	int64_t count = json_get_int(facts, "redrive_count", 0) + 1, now_ms = turn_now_ms(t);
	json_set_int(facts, "redrive_count", count);
	json_set_int(facts, "redrive_ms", now_ms);
	if (json_get_text(facts, "map_run"))
		json_set_int(facts, "parent_attempt", parent_attempt);
	if (db_exec(turn_db(t), err,
		    "UPDATE states_execution SET status='RUNNING', stop_ms=0, error=NULL, cause=NULL, "
		    "redrive_state=NULL, redrive_count=?, redrive_ms=?, redrive_token=? WHERE arn=?",
		    "iiss", count, now_ms, token, arn) < 0) {
		json_decref(state);
		return -1;
	}
	return turn_spawn(t, "states.execution", arn, state, err);
}

/* ---- a map run ---- */

/* MapRunRedriven; what did not succeed waits to be redriven. */
static int run_open(struct exec *x, struct frame *f, const char *arn, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct db *db = turn_db(x->t);
	int rc = db_row(db, &rows, err, "SELECT redrive_count FROM states_map_run WHERE arn=?", "s", arn);
	if (rc <= 0)
		return rc < 0 ? -1 : error_set(err, "The map run %s is not there any more.", arn);
	int64_t count = rows_int(&rows, 0) + 1;
	rows_done(&rows);
	if (count > RUN_REDRIVES)
		return error_set(err, "The map run %s was redriven %d times, more is not possible.", arn, RUN_REDRIVES);
	if (db_exec(db, err,
		    "UPDATE states_map_run SET status='RUNNING', stop_ms=0, redrive_count=?, redrive_ms=? WHERE arn=?",
		    "iis", count, x->now_ms, arn) < 0 ||
	    db_exec(db, err,
		    "UPDATE states_execution SET redrive_token='pending' WHERE map_run=? AND status<>'SUCCEEDED' AND "
		    "stop_ms>?",
		    "si", arn, x->now_ms - STATES_REDRIVE_MS) < 0)
		return -1;
	f->prev = history_add(x, "MapRunRedriven", f->prev, "mapRunRedrivenEventDetails",
			      json_pack("{s:s,s:I}", "mapRunArn", arn, "redriveCount", (json_int_t)count));
	f->attempt++;
	f->running = 0;
	json_set_int(f->task, "attempt", f->attempt);
	json_set_int(f->task, "failed", 0);
	json_set_int(f->task, "redriven", 0);   /* number of the last row that was looked at */
	json_set_bool(f->task, "asked", false); /* what was on its way has another attempt's number */
	json_object_del(f->task, "redrive");
	return 0;
}

/* One child: 1 redriven, 0 it can't be, -1 with err; -2 its end is not written yet. */
static int child_redrive(struct exec *x, struct frame *f, struct rows *rows, struct error *err)
{
	const char *arn = arena_strdup(x->a, rows_str(rows, 0));
	if (turn_exists(x->t, arn))
		return -2;
	json_set_int(f->task, "redriven", rows_int(rows, 1));
	if (rows_null(rows, 2)) {
		int rc = db_exec(turn_db(x->t), err, "UPDATE states_execution SET redrive_token=NULL WHERE arn=?", "s",
				 arn);
		return rc < 0 ? -1 : 0;
	}
	json_t *state = json_parse(rows_str(rows, 2), err);
	if (!state || execution_respawn(x->t, arn, state, NULL, json_get_int(f->task, "attempt", 0), err) < 0)
		return -1;
	return 1;
}

int exec_distributed_redrive(struct exec *x, struct frame *f, int64_t most, struct error *err)
{
	const char *arn = json_get_text(f->task, "map_run");
	if (json_get_bool(f->task, "redrive", false) && run_open(x, f, arn, err) < 0)
		return -1;
	for (int n = 0; f->running < most && json_object_get(f->task, "redriven"); n++) {
		CLEANUP_ROWS struct rows rows = { 0 };
		if (n == REDRIVEN_AT_ONCE) {
			exec_ready(x, f);
			return 1;
		}
		int rc = db_row(turn_db(x->t), &rows, err,
				"SELECT arn, num, redrive_state FROM states_execution WHERE map_run=? AND "
				"status<>'SUCCEEDED' AND num>? AND redrive_token='pending' ORDER BY num LIMIT 1",
				"si", arn, json_get_int(f->task, "redriven", 0));
		if (rc < 0)
			return -1;
		if (rc == 0) {
			json_object_del(f->task, "redriven");
			return 0;
		}
		rc = child_redrive(x, f, &rows, err);
		if (rc == -1)
			return -1;
		if (rc == -2) { /* looks again soon */
			exec_timer(x, f, "w", x->now_ms + 10);
			return 1;
		}
		f->running += rc;
	}
	return json_object_get(f->task, "redriven") != NULL;
}
