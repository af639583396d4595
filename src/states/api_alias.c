/* api_alias.c - versions' lists and deletion, aliases, tags. */
#include "states/room.h"

#include <stdlib.h>

/* ---- versions ---- */

COMMAND(api_version_delete)
{
	struct version_row v;
	CLEANUP_ROWS struct rows rows = { 0 };
	struct db *db = turn_db(t);
	const char *arn = json_get_text(in, "stateMachineVersionArn");
	if (arn_check(str_from(arn), "stateMachine", err) < 0)
		return -1;
	*out = json_object();
	int rc = version_find(db, turn_arena(t), arn, &v, err);
	if (rc <= 0)
		return rc;
	rc = db_query(db, &rows, err, "SELECT name, routing FROM states_alias WHERE machine=? ORDER BY arn", "s",
		      v.machine);
	CLEANUP_BUF struct buf names = BUF_INIT;
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		struct str quoted = str_from(arena_printf(turn_arena(t), "\"%s\"", arn));
		if (str_find(rows_str(&rows, 1), quoted) >= 0)
			buf_printf(&names, "%s%.*s", names.len ? ", " : "", STR_ARG(rows_str(&rows, 0)));
	}
	rows_done(&rows);
	if (rc < 0)
		return -1;
	if (names.len)
		return error_aws(err, "ConflictException",
				 "Version to be deleted must not be referenced by an alias. Current list of aliases "
				 "referencing this version: [%s]",
				 names.ptr);
	return db_exec(db, err, "DELETE FROM states_version WHERE arn=?", "s", arn) < 0 ? -1 : 0;
}

QUERY(api_version_list)
{
	struct page p;
	struct machine_row m;
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *arn = json_get_text(in, "stateMachineArn");
	if (arn_check(str_from(arn), "stateMachine", err) < 0 || machine_get(db, c->arena, arn, &m, err) < 0 ||
	    page_open(c->arena, in, 100, &p, err) < 0)
		return -1;
	json_t *list = json_array();
	*out = json_pack("{s:o}", "stateMachineVersions", list);
	int rc = db_query(db, &rows, err,
			  "SELECT arn, version, created_ms FROM states_version WHERE machine=? AND version<? ORDER BY "
			  "version DESC LIMIT ?",
			  "sii", arn, p.after ? p.after : INT64_MAX, p.limit + 1);
	int64_t last = 0;
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(list) == p.limit) {
			page_more(*out, last, "");
			break;
		}
		last = rows_int(&rows, 1);
		json_t *o = json_pack("{s:s}", "stateMachineVersionArn", rows_str(&rows, 0).ptr);
		json_set_real(o, "creationDate", (double)rows_int(&rows, 2) / 1000.0);
		json_array_append_new(list, o);
	}
	return rc < 0 ? -1 : 0;
}

/* ---- aliases ---- */

static int routes_check(struct db *db, struct arena *a, const json_t *routes, const char **machine, struct error *err)
{
	size_t i, n = json_array_size(routes);
	int64_t sum = 0;
	json_t *route;
	struct version_row v;
	*machine = NULL;
	if (n < 1 || n > 2)
		return error_aws(err, "ValidationException",
				 "The routing configuration must have one or two versions.");
	json_array_foreach (routes, i, route) {
		const char *arn = json_get_text(route, "stateMachineVersionArn");
		if (!arn || arn_check(str_from(arn), "stateMachine", err) < 0)
			return arn ? -1 : error_aws(err, "ValidationException", "stateMachineVersionArn is required.");
		int rc = version_find(db, a, arn, &v, err);
		if (rc <= 0)
			return rc < 0 ? -1 : error_aws(err, "ResourceNotFound", "Resource not found: '%s'", arn);
		if (*machine && strcmp(*machine, v.machine) != 0)
			return error_aws(err, "ValidationException",
					 "The versions of a routing configuration must be of one state machine.");
		*machine = v.machine;
		sum += json_get_int(route, "weight", 0);
	}
	if (sum != 100)
		return error_aws(err, "ValidationException",
				 "The weights of a routing configuration must add up to 100.");
	return 0;
}

COMMAND(api_alias_create)
{
	struct arena *a = turn_arena(t);
	struct alias_row have;
	const json_t *routes = json_get(in, "routingConfiguration");
	const char *machine, *name = json_get_text(in, "name"), *description = json_get_text(in, "description");
	if (routes_check(turn_db(t), a, routes, &machine, err) < 0)
		return -1;
	const char *arn = arena_printf(a, "%s:%s", machine, name), *text = json_text(a, routes).ptr;
	int rc = alias_find(turn_db(t), a, arn, &have, err);
	int64_t now = turn_now_ms(t);
	if (rc < 0)
		return -1;
	if (rc) {
		CLEANUP_JSON json_t *old = json_column(have.routing);
		bool same = json_equal(old, (json_t *)routes) &&
			    strcmp(have.description ? have.description : "", description ? description : "") == 0;
		if (!same)
			return error_aws(err, "ConflictException",
					 "Failed to create alias because an alias with the same name and a different "
					 "routing configuration already exists.");
		now = have.created_ms;
	} else if (db_exec(turn_db(t), err,
			   "INSERT INTO states_alias(arn, machine, name, description, routing, created_ms, updated_ms) "
			   "VALUES(?, ?, ?, ?, ?, ?, ?)",
			   "sssssii", arn, machine, name, description, text, now, now) < 0) {
		return -1;
	}
	*out = json_pack("{s:s}", "stateMachineAliasArn", arn);
	json_set_real(*out, "creationDate", (double)now / 1000.0);
	return 0;
}

static int alias_get(struct db *db, struct arena *a, const char *arn, struct alias_row *out, struct error *err)
{
	if (arn_check(str_from(arn), "stateMachine", err) < 0)
		return -1;
	int rc = alias_find(db, a, arn, out, err);
	return rc == 0  ? error_aws(err, "ResourceNotFound", "Request references a resource that does not exist.")
	       : rc < 0 ? -1
			: 0;
}

COMMAND(api_alias_update)
{
	struct arena *a = turn_arena(t);
	struct alias_row have;
	const char *machine, *description = json_get_text(in, "description"),
			     *arn = json_get_text(in, "stateMachineAliasArn");
	const json_t *routes = json_get(in, "routingConfiguration");
	if (!routes && !json_get(in, "description"))
		return error_aws(err, "ValidationException",
				 "Either description or routingConfiguration must be specified.");
	if (alias_get(turn_db(t), a, arn, &have, err) < 0)
		return -1;
	if (routes && routes_check(turn_db(t), a, routes, &machine, err) < 0)
		return -1;
	if (routes && strcmp(machine, have.machine) != 0)
		return error_aws(err, "ValidationException", "The routing configuration must name versions of '%s'.",
				 have.machine);
	int64_t now = turn_now_ms(t);
	if (db_exec(turn_db(t), err, "UPDATE states_alias SET description=?, routing=?, updated_ms=? WHERE arn=?",
		    "ssis", description ? description : have.description,
		    routes ? json_text(a, routes).ptr : have.routing, now, arn) < 0)
		return -1;
	*out = json_object();
	json_set_real(*out, "updateDate", (double)now / 1000.0);
	return 0;
}

COMMAND(api_alias_delete)
{
	const char *arn = json_get_text(in, "stateMachineAliasArn");
	struct alias_row have;
	if (alias_get(turn_db(t), turn_arena(t), arn, &have, err) < 0)
		return -1;
	*out = json_object();
	return db_exec(turn_db(t), err, "DELETE FROM states_alias WHERE arn=?", "s", arn) < 0 ? -1 : 0;
}

QUERY(api_alias_describe)
{
	struct alias_row r;
	if (alias_get(db, c->arena, json_get_text(in, "stateMachineAliasArn"), &r, err) < 0)
		return -1;
	json_t *o = *out = json_object();
	json_set_text(o, "stateMachineAliasArn", r.arn);
	json_set_text(o, "name", r.name);
	json_set_text(o, "description", r.description);
	json_object_set_new(o, "routingConfiguration", json_column(r.routing));
	json_set_real(o, "creationDate", (double)r.created_ms / 1000.0);
	json_set_real(o, "updateDate", (double)r.updated_ms / 1000.0);
	return 0;
}

QUERY(api_alias_list)
{
	struct page p;
	struct version_row v;
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *arn = json_get_text(in, "stateMachineArn");
	struct machine_row m;
	if (arn_check(str_from(arn), "stateMachine", err) < 0 || page_open(c->arena, in, 100, &p, err) < 0)
		return -1;
	int rc = version_find(db, c->arena, arn, &v, err);
	if (rc < 0 || machine_get(db, c->arena, rc ? v.machine : arn, &m, err) < 0)
		return -1;
	bool of_version = rc == 1;
	json_t *list = json_array();
	*out = json_pack("{s:o}", "stateMachineAliases", list);
	rc = db_query(db, &rows, err,
		      "SELECT arn, routing, created_ms FROM states_alias WHERE machine=? AND arn>? ORDER BY arn", "ss",
		      m.arn, p.key);
	const char *last = "", *quoted = arena_printf(c->arena, "\"%s\"", arn);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		if (of_version && str_find(rows_str(&rows, 1), str_from(quoted)) < 0)
			continue;
		if ((int64_t)json_array_size(list) == p.limit) {
			page_more(*out, 0, last);
			break;
		}
		last = arena_strdup(c->arena, rows_str(&rows, 0));
		json_t *o = json_pack("{s:s}", "stateMachineAliasArn", last);
		json_set_real(o, "creationDate", (double)rows_int(&rows, 2) / 1000.0);
		json_array_append_new(list, o);
	}
	return rc < 0 ? -1 : 0;
}

/* ---- tags ---- */

static int taggable(struct db *db, const char *arn, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct states_arn parts;
	if (!arn_split(str_from(arn), &parts))
		return error_aws(err, "InvalidArn", "Invalid Arn: 'Invalid ARN prefix: %s'", arn);
	int rc = db_row(db, &rows, err,
			"SELECT 1 FROM states_machine WHERE arn=? UNION ALL SELECT 1 FROM states_activity WHERE arn=?",
			"ss", arn, arn);
	return rc == 0 ? error_aws(err, "ResourceNotFound", "Resource not found: '%s'", arn) : rc < 0 ? -1 : 0;
}

COMMAND(api_tag)
{
	const char *arn = json_get_text(in, "resourceArn");
	*out = json_object();
	if (taggable(turn_db(t), arn, err) < 0)
		return -1;
	return tags_put(turn_db(t), arn, json_get(in, "tags"), err);
}

COMMAND(api_untag)
{
	const char *arn = json_get_text(in, "resourceArn");
	size_t i;
	json_t *key;
	*out = json_object();
	if (taggable(turn_db(t), arn, err) < 0)
		return -1;
	json_array_foreach (json_get(in, "tagKeys"), i, key)
		if (db_exec(turn_db(t), err, "DELETE FROM states_tag WHERE arn=? AND key=?", "ss", arn,
			    json_string_value(key)) < 0)
			return -1;
	return 0;
}

QUERY(api_tags_list)
{
	const char *arn = json_get_text(in, "resourceArn");
	CLEANUP_ROWS struct rows rows = { 0 };
	if (taggable(db, arn, err) < 0)
		return -1;
	json_t *list = json_array();
	*out = json_pack("{s:o}", "tags", list);
	int rc = db_query(db, &rows, err, "SELECT key, value FROM states_tag WHERE arn=? ORDER BY key", "s", arn);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(
			list, json_pack("{s:s,s:s}", "key", rows_str(&rows, 0).ptr, "value", rows_str(&rows, 1).ptr));
	return rc < 0 ? -1 : 0;
}
