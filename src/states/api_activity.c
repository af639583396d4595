/* api_activity.c - activities and task tokens. GetActivityTask is with the other waiting clients in
 * api_history.c. */
#include "states/room.h"

/* ---- activities ---- */

COMMAND(api_activity_create)
{
	struct states *s = c->service_ctx;
	struct str name = json_get_str(in, "name");
	CLEANUP_ROWS struct rows rows = { 0 };
	if (name_check(name, err) < 0)
		return -1;
	const char *arn = states_arn(s, turn_arena(t), "activity", arena_strdup(turn_arena(t), name));
	json_t *encryption = json_get(in, "encryptionConfiguration");
	const char *text = encryption ? json_text(turn_arena(t), encryption).ptr : NULL;
	int64_t created = turn_now_ms(t);
	int rc = db_row(turn_db(t), &rows, err, "SELECT created_ms, encryption FROM states_activity WHERE arn=?", "s",
			arn);
	if (rc < 0)
		return -1;
	if (rc) {
		struct str have = rows_str(&rows, 1);
		if (encryption ? !str_eqz(have, text) : have.len != 0)
			return error_aws(err, "ActivityAlreadyExists", "Activity Already Exists: '%s'", arn);
		created = rows_int(&rows, 0);
	}
	rows_done(&rows);
	if (!rc && (db_exec(turn_db(t), err,
			    "INSERT INTO states_activity(arn, name, created_ms, encryption) VALUES(?, ?, ?, ?)", "sSis",
			    arn, name, created, text) < 0 ||
		    tags_put(turn_db(t), arn, json_get(in, "tags"), err) < 0))
		return -1;
	*out = json_pack("{s:s}", "activityArn", arn);
	json_set_real(*out, "creationDate", (double)created / 1000.0);
	return 0;
}

COMMAND(api_activity_delete)
{
	const char *arn = json_get_text(in, "activityArn");
	*out = json_object();
	if (arn_check(str_from(arn), "activity", err) < 0)
		return -1;
	if (db_exec(turn_db(t), err, "DELETE FROM states_activity WHERE arn=?", "s", arn) < 0)
		return -1;
	return tags_drop(turn_db(t), arn, err);
}

QUERY(api_activity_describe)
{
	const char *arn = json_get_text(in, "activityArn");
	CLEANUP_ROWS struct rows rows = { 0 };
	if (arn_check(str_from(arn), "activity", err) < 0)
		return -1;
	int rc = db_row(db, &rows, err, "SELECT name, created_ms, encryption FROM states_activity WHERE arn=?", "s",
			arn);
	if (rc <= 0)
		return rc < 0 ? -1 : error_aws(err, "ActivityDoesNotExist", "Activity Does Not Exist: '%s'", arn);
	json_t *o = *out = json_object();
	json_set_text(o, "activityArn", arn);
	json_set_text(o, "name", rows_str(&rows, 0).ptr);
	json_set_real(o, "creationDate", (double)rows_int(&rows, 1) / 1000.0);
	json_t *e = json_column(rows_str(&rows, 2).ptr);
	json_object_set_new(o, "encryptionConfiguration", e ? e : json_pack("{s:s}", "type", "AWS_OWNED_KEY"));
	return 0;
}

QUERY(api_activity_list)
{
	struct page p;
	CLEANUP_ROWS struct rows rows = { 0 };
	if (page_open(c->arena, in, 100, &p, err) < 0)
		return -1;
	json_t *list = json_array();
	*out = json_pack("{s:o}", "activities", list);
	int rc = db_query(db, &rows, err,
			  "SELECT arn, name, created_ms FROM states_activity WHERE arn>? ORDER BY arn LIMIT ?", "si",
			  p.key, p.limit + 1);
	const char *last = "";
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(list) == p.limit) {
			page_more(*out, 0, last);
			break;
		}
		last = arena_strdup(c->arena, rows_str(&rows, 0));
		json_t *o = json_pack("{s:s,s:s}", "activityArn", last, "name", rows_str(&rows, 1).ptr);
		json_set_real(o, "creationDate", (double)rows_int(&rows, 2) / 1000.0);
		json_array_append_new(list, o);
	}
	return rc < 0 ? -1 : 0;
}

/* ---- tokens ---- */

/* Tells the execution that a token is of. The token is used up unless it is a heartbeat. */
static int token_use(struct turn *t, const json_t *in, json_t *event, bool ends, struct error *err)
{
	struct db *db = turn_db(t);
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *token = json_get_text(in, "taskToken");
	int rc = db_row(db, &rows, err, "SELECT execution, frame, attempt FROM states_token WHERE token=?", "s", token);
	if (rc <= 0) {
		json_decref(event);
		return rc < 0 ? -1 : error_aws(err, "InvalidToken", "Invalid Token: 'Invalid token'");
	}
	json_set_int(event, "frame", rows_int(&rows, 1));
	json_set_int(event, "attempt", rows_int(&rows, 2));
	turn_send(t, arena_strdup(turn_arena(t), rows_str(&rows, 0)), event);
	rows_done(&rows);
	if (!ends)
		return 0;
	return db_exec(db, err, "DELETE FROM states_token WHERE token=?", "s", token) < 0 ? -1 : 0;
}

COMMAND(api_token_success)
{
	struct asl_json_error why = { 0 };
	struct str text = json_get_str(in, "output");
	CLEANUP_ROWS struct rows rows = { 0 };
	*out = json_object();
	int rc = db_row(turn_db(t), &rows, err, "SELECT 1 FROM states_token WHERE token=?", "s",
			json_get_text(in, "taskToken"));
	rows_done(&rows);
	if (rc <= 0)
		return rc < 0 ? -1 : error_aws(err, "InvalidToken", "Invalid Token: 'Invalid token'");
	json_t *value = asl_read_json(turn_arena(t), text, false, &why);
	if (!value)
		return error_aws(err, "InvalidOutput", "Invalid Output: '%s'", why.message);
	return token_use(t, in, json_pack("{s:s,s:o}", "type", "token", "output", value), true, err);
}

COMMAND(api_token_failure)
{
	json_t *e = json_pack("{s:s}", "type", "token");
	*out = json_object();
	json_set_text(e, "error", json_get_text(in, "error"));
	json_set_text(e, "cause", json_get_text(in, "cause"));
	return token_use(t, in, e, true, err);
}

COMMAND(api_token_heartbeat)
{
	*out = json_object();
	return token_use(t, in, json_pack("{s:s}", "type", "heartbeat"), false, err);
}
