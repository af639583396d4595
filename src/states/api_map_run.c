/* api_map_run.c - runs of distributed Map states. */
#include "states/room.h"

struct counts {
	int64_t pending, running, succeeded, failed, timed_out, aborted, total, failures_not_redrivable,
		pending_redrive;
};

/* `redrivable`: there is something to go on from. What waits for its redrive is counted as that alone. */
static void add(struct counts *n, struct str status, bool pending, bool redrivable, int64_t count)
{
	int64_t *slot = pending                        ? &n->pending_redrive
			: str_eqz(status, "RUNNING")   ? &n->running
			: str_eqz(status, "SUCCEEDED") ? &n->succeeded
			: str_eqz(status, "FAILED")    ? &n->failed
			: str_eqz(status, "TIMED_OUT") ? &n->timed_out
						       : &n->aborted;
	*slot += count;
	n->total += count;
	if (!pending && !redrivable && !str_eqz(status, "RUNNING") && !str_eqz(status, "SUCCEEDED"))
		n->failures_not_redrivable += count;
}

static json_t *show_counts(const struct counts *n, int64_t written)
{
	json_t *o = json_object();
	json_set_int(o, "pending", n->pending);
	json_set_int(o, "running", n->running);
	json_set_int(o, "succeeded", n->succeeded);
	json_set_int(o, "failed", n->failed);
	json_set_int(o, "timedOut", n->timed_out);
	json_set_int(o, "aborted", n->aborted);
	json_set_int(o, "total", n->total);
	json_set_int(o, "resultsWritten", written);
	json_set_int(o, "failuresNotRedrivable", n->failures_not_redrivable);
	json_set_int(o, "pendingRedrive", n->pending_redrive);
	return o;
}

static int map_run_missing(const char *arn, struct error *err)
{
	return error_aws(err, "ResourceNotFound", "Resource not found: '%s'", arn);
}

QUERY(api_map_run_describe)
{
	CLEANUP_ROWS struct rows r = { 0 }, k = { 0 };
	const char *arn = json_get_text(in, "mapRunArn");
	if (arn_check(str_from(arn), "mapRun", err) < 0)
		return -1;
	int rc = db_row(db, &r, err,
			"SELECT execution, status, start_ms, stop_ms, concurrency, tolerated_count, "
			"tolerated_percentage, items, batched, redrive_count, "
			"redrive_ms, written, good, good_items FROM states_map_run WHERE arn=?",
			"s", arn);
	if (rc <= 0)
		return rc < 0 ? -1 : map_run_missing(arn, err);
	json_t *o = *out = json_object();
	json_set_text(o, "mapRunArn", arn);
	json_set_text(o, "executionArn", rows_str(&r, 0).ptr);
	json_set_text(o, "status", rows_str(&r, 1).ptr);
	json_set_real(o, "startDate", (double)rows_int(&r, 2) / 1000.0);
	if (rows_int(&r, 3))
		json_set_real(o, "stopDate", (double)rows_int(&r, 3) / 1000.0);
	json_set_int(o, "maxConcurrency", rows_int(&r, 4));
	json_set_int(o, "toleratedFailureCount", rows_int(&r, 5));
	json_set_real(o, "toleratedFailurePercentage", rows_real(&r, 6));
	json_set_int(o, "redriveCount", rows_int(&r, 9));
	if (rows_int(&r, 10))
		json_set_real(o, "redriveDate", (double)rows_int(&r, 10) / 1000.0);
	int64_t items = rows_int(&r, 7), written = rows_int(&r, 11), size = 0;
	struct counts children = { 0 }, of_items = { 0 };
	add(&children, STR("SUCCEEDED"), false, false, rows_int(&r, 12));
	add(&of_items, STR("SUCCEEDED"), false, false, rows_int(&r, 13));
	size = rows_int(&r, 13);
	if (db_query(db, &k, err,
		     "SELECT status, COUNT(*), SUM(CASE item_count WHEN 0 THEN 1 ELSE item_count END), redrive_token "
		     "IS NOT NULL, redrive_state IS NOT NULL AND stop_ms>? FROM states_execution WHERE map_run=? AND "
		     "status<>'SUCCEEDED' GROUP BY status, 4, 5",
		     "is", clock_now_ms() - STATES_REDRIVE_MS, arn) < 0)
		return -1;
	while ((rc = rows_next(&k, err)) > 0) {
		bool pending = rows_int(&k, 3) != 0, redrivable = rows_int(&k, 4) != 0;
		add(&children, rows_str(&k, 0), pending, redrivable, rows_int(&k, 1));
		add(&of_items, rows_str(&k, 0), pending, redrivable, rows_int(&k, 2));
		size += rows_int(&k, 2);
	}
	if (items > size) {
		of_items.pending = items - size;
		of_items.total = items;
	}
	json_object_set_new(o, "itemCounts", show_counts(&of_items, written));
	json_object_set_new(o, "executionCounts", show_counts(&children, written));
	return rc < 0 ? -1 : 0;
}

QUERY(api_map_run_list)
{
	struct page p;
	struct execution_row x;
	CLEANUP_ROWS struct rows r = { 0 };
	const char *arn = json_get_text(in, "executionArn"), *last = "";
	if (arn_check(str_from(arn), "execution", err) < 0 || execution_get(db, c->arena, arn, &x, err) < 0 ||
	    page_open(c->arena, in, 100, &p, err) < 0)
		return -1;
	json_t *list = json_array();
	*out = json_pack("{s:o}", "mapRuns", list);
	int rc = db_query(
		db, &r, err,
		"SELECT arn, start_ms, stop_ms FROM states_map_run WHERE execution=? AND arn>? ORDER BY arn LIMIT ?",
		"ssi", arn, p.key, p.limit + 1);
	while (rc >= 0 && (rc = rows_next(&r, err)) > 0) {
		if ((int64_t)json_array_size(list) == p.limit) {
			page_more(*out, 0, last);
			break;
		}
		last = arena_strdup(c->arena, rows_str(&r, 0));
		json_t *o = json_pack("{s:s,s:s,s:s}", "mapRunArn", last, "executionArn", arn, "stateMachineArn",
				      x.machine);
		json_set_real(o, "startDate", (double)rows_int(&r, 1) / 1000.0);
		if (rows_int(&r, 2))
			json_set_real(o, "stopDate", (double)rows_int(&r, 2) / 1000.0);
		json_array_append_new(list, o);
	}
	return rc < 0 ? -1 : 0;
}

COMMAND(api_map_run_update)
{
	CLEANUP_ROWS struct rows r = { 0 };
	const char *arn = json_get_text(in, "mapRunArn");
	struct db *db = turn_db(t);
	if (arn_check(str_from(arn), "mapRun", err) < 0)
		return -1;
	int rc = db_row(db, &r, err,
			"SELECT execution, frame, concurrency, tolerated_count, tolerated_percentage, status FROM "
			"states_map_run WHERE arn=?",
			"s", arn);
	if (rc <= 0)
		return rc < 0 ? -1 : map_run_missing(arn, err);
	if (!str_eqz(rows_str(&r, 5), "RUNNING"))
		return error_aws(err, "ValidationException", "The map run is not running: '%s'", arn);
	int64_t concurrency = json_get_int(in, "maxConcurrency", rows_int(&r, 2)),
		count = json_get_int(in, "toleratedFailureCount", rows_int(&r, 3));
	double percentage = json_get_real(in, "toleratedFailurePercentage", rows_real(&r, 4));
	json_t *e = json_pack("{s:s,s:I,s:I,s:I,s:f}", "type", "map-update", "frame", (json_int_t)rows_int(&r, 1),
			      "concurrency", (json_int_t)concurrency, "tolerated_count", (json_int_t)count,
			      "tolerated_percentage", percentage);
	json_set_bool(e, "any_attempt", true);
	turn_send(t, arena_strdup(turn_arena(t), rows_str(&r, 0)), e);
	rows_done(&r);
	*out = json_object();
	rc = db_exec(db, err,
		     "UPDATE states_map_run SET concurrency=?, tolerated_count=?, tolerated_percentage=? WHERE arn=?",
		     "iids", concurrency, count, percentage, arn);
	return rc < 0 ? -1 : 0;
}
