/* api_version.c - published versions and aliases. An alias points to one version; weights are not built. */
#include <stdlib.h>

#include "lambda/room.h"

static int publish_version(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	struct lambda_version v;
	struct lambda *l = lambda_of(c);
	if (lambda_name_read(lambda_of(c), c->arena, in, "FunctionName", &n, err) < 0)
		return -1;
	n.qualifier = NULL;
	if (lambda_version_find(l, turn_db(t), c->arena, &n, &v, err) < 0)
		return -1;
	struct str sha = json_get_str(in, "CodeSha256"), revision = json_get_str(in, "RevisionId");
	if (sha.len && !str_eq(sha, json_get_str(v.config, "CodeSha256")))
		return lambda_invalid(err,
				      "CodeSHA256 (%.*s) is different from current CodeSHA256 in $LATEST (%s). Please "
				      "try again with the CodeSHA256 in $LATEST.",
				      STR_ARG(sha), json_get_text(v.config, "CodeSha256"));
	if (revision.len && !str_eq(revision, json_get_str(v.config, "RevisionId")))
		return error_http(err, 412, "PreconditionFailedException",
				  "The Revision Id provided does not match the latest Revision Id. Call the "
				  "GetFunction/GetAlias API to retrieve the latest Revision Id");
	if (lambda_publish(l, t, n.name, json_get_text(in, "Description"), &v, err) < 0)
		return -1;
	*out = lambda_config_out(l, c->arena, &v, v.version);
	return 0;
}

/* ---- aliases ---- */

struct alias {
	const char *name, *alias, *version, *description, *revision;
};

static json_t *alias_out(struct call *c, const struct alias *x)
{
	json_t *out = json_object();
	json_set_text(out, "AliasArn", lambda_arn(lambda_of(c), c->arena, x->name, x->alias));
	json_set_text(out, "Name", x->alias);
	json_set_text(out, "FunctionVersion", x->version);
	json_set_text(out, "Description", x->description ? x->description : "");
	json_set_text(out, "RevisionId", x->revision);
	return out;
}

static void read_alias(struct call *c, struct rows *rows, struct alias *x)
{
	*x = (struct alias){ arena_strdup(c->arena, rows_str(rows, 0)), arena_strdup(c->arena, rows_str(rows, 1)),
			     arena_strdup(c->arena, rows_str(rows, 2)),
			     arena_strdup(c->arena, rows_null(rows, 3) ? STR("") : rows_str(rows, 3)),
			     arena_strdup(c->arena, rows_str(rows, 4)) };
}

static int find_alias(struct call *c, struct db *db, json_t *in, const char *missing, struct alias *x,
		      struct error *err)
{
	struct lambda_name n;
	CLEANUP_ROWS struct rows rows = { 0 };
	if (lambda_name_read(lambda_of(c), c->arena, in, "FunctionName", &n, err) < 0)
		return -1;
	int rc = db_row(db, &rows, err,
			"SELECT name, alias, version, description, revision FROM lambda_alias WHERE name=? AND alias=?",
			"ss", n.name, json_get_text(in, "Name"));
	if (rc > 0)
		read_alias(c, &rows, x);
	if (rc == 0)
		return error_http(err, 404, "ResourceNotFoundException", "%s: %s", missing,
				  lambda_arn(lambda_of(c), c->arena, n.name, json_get_text(in, "Name")));
	return rc < 0 ? -1 : 0;
}

/* The version that an alias is to point to must be there. */
static int check_target(struct call *c, struct turn *t, json_t *in, const char *name, const char *version,
			struct error *err)
{
	struct lambda_version v;
	struct lambda_name n = { name, version };
	if (json_object_size(json_get_path(in, "RoutingConfig.AdditionalVersionWeights")))
		return lambda_invalid(err, "Quern does not support weights of an alias (RoutingConfig) yet");
	return lambda_version_find(lambda_of(c), turn_db(t), c->arena, &n, &v, err);
}

static int create_alias(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	if (lambda_name_read(lambda_of(c), c->arena, in, "FunctionName", &n, err) < 0)
		return -1;
	struct alias x = { n.name, json_get_text(in, "Name"), json_get_text(in, "FunctionVersion"),
			   json_get_text(in, "Description"), turn_uuid(t) };
	if (check_target(c, t, in, n.name, x.version, err) < 0)
		return -1;
	if (db_exec(turn_db(t), err,
		    "INSERT INTO lambda_alias(name, alias, version, description, revision) VALUES(?,?,?,?,?)", "sssss",
		    x.name, x.alias, x.version, x.description, x.revision) < 0) {
		if (!error_is(err, "conflict"))
			return -1;
		error_release(err);
		*err = ERROR_INIT;
		return lambda_conflict(err, "Alias already exists: %s",
				       lambda_arn(lambda_of(c), c->arena, x.name, x.alias));
	}
	*out = alias_out(c, &x);
	return 0;
}

static int get_alias(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct alias x;
	if (find_alias(c, db, in, "Cannot find alias arn", &x, err) < 0)
		return -1;
	*out = alias_out(c, &x);
	return 0;
}

static int update_alias(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct alias x;
	if (find_alias(c, turn_db(t), in, "Alias not found", &x, err) < 0)
		return -1;
	if (json_get(in, "FunctionVersion"))
		x.version = json_get_text(in, "FunctionVersion");
	if (json_get(in, "Description"))
		x.description = json_get_text(in, "Description");
	x.revision = turn_uuid(t);
	if (check_target(c, t, in, x.name, x.version, err) < 0 ||
	    db_exec(turn_db(t), err,
		    "UPDATE lambda_alias SET version=?, description=?, revision=? WHERE name=? AND alias=?", "sssss",
		    x.version, x.description, x.revision, x.name, x.alias) < 0)
		return -1;
	*out = alias_out(c, &x);
	return 0;
}

static int delete_alias(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	if (lambda_name_read(lambda_of(c), c->arena, in, "FunctionName", &n, err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "DELETE FROM lambda_alias WHERE name=? AND alias=?", "ss", n.name,
		       json_get_text(in, "Name")) < 0
		       ? -1
		       : 0;
}

static int list_aliases(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	struct lambda_version v;
	CLEANUP_ROWS struct rows rows = { 0 };
	int64_t max = json_get_int(in, "MaxItems", 50);
	const char *version = json_get_text(in, "FunctionVersion");
	struct str after = json_get_str(in, "Marker");
	if (lambda_name_read(lambda_of(c), c->arena, in, "FunctionName", &n, err) < 0 ||
	    lambda_version_find(lambda_of(c), db, c->arena, &n, &v, err) < 0)
		return -1;
	json_t *found = json_array();
	*out = json_pack("{s:o}", "Aliases", found);
	int rc = db_query(db, &rows, err,
			  "SELECT name, alias, version, description, revision FROM lambda_alias WHERE name=? AND "
			  "alias>? AND (version=? OR ?='') ORDER BY alias LIMIT ?",
			  "sSssi", n.name, after.ptr ? after : STR(""), version ? version : "", version ? version : "",
			  max + 1);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		struct alias x;
		if ((int64_t)json_array_size(found) == max) {
			json_set_text(*out, "NextMarker",
				      json_get_text(json_array_get(found, (size_t)max - 1), "Name"));
			break;
		}
		read_alias(c, &rows, &x);
		json_array_append_new(found, alias_out(c, &x));
	}
	return rc < 0 ? -1 : 0;
}

const struct wire_op lambda_version_ops[] = {
	{ .name = "PublishVersion", .command = publish_version },
	{ .name = "CreateAlias", .command = create_alias },
	{ .name = "GetAlias", .query = get_alias },
	{ .name = "UpdateAlias", .command = update_alias },
	{ .name = "DeleteAlias", .command = delete_alias },
	{ .name = "ListAliases", .query = list_aliases },
	{ 0 },
};
