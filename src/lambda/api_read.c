/* api_read.c - operations that show functions. */
#include <stdlib.h>

#include "lambda/room.h"

static int find(struct call *c, struct db *db, json_t *in, struct lambda_name *n, struct lambda_version *v,
		struct error *err)
{
	if (lambda_name_read(lambda_of(c), c->arena, in, "FunctionName", n, err) < 0)
		return -1;
	return lambda_version_find(lambda_of(c), db, c->arena, n, v, err);
}

static int get_function(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	struct lambda_version v;
	struct lambda *l = lambda_of(c);
	if (find(c, db, in, &n, &v, err) < 0)
		return -1;
	json_t *tags = lambda_column(db, n.name, "SELECT tags FROM lambda_function WHERE name=?", err);
	if (!tags)
		return -1;
	*out = json_pack("{s:o, s:{s:s, s:s}}", "Configuration", lambda_config_out(l, c->arena, &v, n.qualifier),
			 "Code", "RepositoryType", "S3", "Location", lambda_code_link(l, c->arena, v.blob));
	if (json_object_size(tags))
		json_object_set(*out, "Tags", tags);
	if (v.reserved >= 0)
		json_object_set_new(*out, "Concurrency",
				    json_pack("{s:I}", "ReservedConcurrentExecutions", (json_int_t)v.reserved));
	json_decref(tags);
	return 0;
}

static int get_function_configuration(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	struct lambda_version v;
	if (find(c, db, in, &n, &v, err) < 0)
		return -1;
	*out = lambda_config_out(lambda_of(c), c->arena, &v, n.qualifier);
	return 0;
}

/* One page of versions; the marker is "name:version" of the last one shown. */
static int list(struct call *c, struct db *db, json_t *in, const char *function, bool all, const char *key,
		json_t **out, struct error *err)
{
	struct lambda *l = lambda_of(c);
	CLEANUP_ROWS struct rows rows = { 0 };
	int64_t max = json_get_int(in, "MaxItems", 50);
	struct str after = STR(""), number = json_get_str(in, "Marker");
	int64_t from = -1;
	json_t *found = json_array();
	max = max > 50 ? 50 : max;
	if (number.len) {
		str_split(&number, ':', &after);
		str_to_i64(number.ptr ? number : STR(""), &from);
	}
	*out = json_pack("{s:o}", key, found);
	int rc = db_query(db, &rows, err,
			  "SELECT name, version, number, config, blob FROM lambda_version WHERE (name>? OR (name=? AND "
			  "number>?)) AND (name=? OR ?='')"
			  " AND (number=0 OR ?=1) ORDER BY name, number LIMIT ?",
			  "SSissii", after, after, from, function, function, (int64_t)all, max + 1);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(found) == max) {
			json_t *last = json_array_get(found, (size_t)max - 1);
			const char *version = json_get_text(last, "Version");
			json_set_text(*out, "NextMarker",
				      arena_printf(c->arena, "%s:%s", json_get_text(last, "FunctionName"),
						   *version == '$' ? "0" : version));
			break;
		}
		CLEANUP_JSON json_t *config = json_parse(rows_str(&rows, 3), err);
		if (!config)
			return -1;
		struct lambda_version v = { .name = arena_strdup(c->arena, rows_str(&rows, 0)),
					    .version = arena_strdup(c->arena, rows_str(&rows, 1)),
					    .config = config };
		json_t *shown = lambda_config_out(l, c->arena, &v, all ? v.version : NULL);
		json_object_del(shown, "State");
		json_object_del(shown, "LastUpdateStatus");
		json_array_append_new(found, shown);
	}
	return rc < 0 ? -1 : 0;
}

static int list_functions(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	return list(c, db, in, "", str_eqz(json_get_str(in, "FunctionVersion"), "ALL"), "Functions", out, err);
}

static int list_versions(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	struct lambda_version v;
	if (find(c, db, in, &n, &v, err) < 0)
		return -1;
	return list(c, db, in, n.name, true, "Versions", out, err);
}

const struct wire_op lambda_read_ops[] = {
	{ .name = "GetFunction", .query = get_function },
	{ .name = "GetFunctionConfiguration", .query = get_function_configuration },
	{ .name = "ListFunctions", .query = list_functions },
	{ .name = "ListVersionsByFunction", .query = list_versions },
	{ 0 },
};
