/* secrets.c - see secrets.h.
 *
 * DESIGN: a secret is a row, its versions are rows, and a stage (AWSCURRENT, AWSPREVIOUS, or one of the user's) is a
 * row that names one of them: moving AWSCURRENT moves AWSPREVIOUS to where it was. A deleted secret is kept until its
 * recovery window ends, unless force says otherwise. Values lie in the store's file (mode 0600): encryption at rest is
 * the disk's. Rotation is not built. */
#include "secrets/secrets.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "secrets/filter.h"

struct secrets {
	const char *account, *region;
	struct wire_service service;
};

enum { PAGE = 100, DAY_MS = 86400000, DEFAULT_WINDOW_DAYS = 30, TAGS_MAX = 50 };

const struct store_migration secrets_migrations[] = {
	{ "secrets", 1,
	  "CREATE TABLE secret(name TEXT PRIMARY KEY, arn TEXT NOT NULL UNIQUE, description TEXT, kms TEXT, tags TEXT, "
	  "created_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL,"
	  " deleted_ms INTEGER, purge_ms INTEGER);"
	  "CREATE TABLE secret_version(arn TEXT NOT NULL, version TEXT NOT NULL, text TEXT, binary TEXT, stage TEXT, "
	  "created_ms INTEGER NOT NULL, PRIMARY KEY(arn, version));"
	  "CREATE INDEX secret_stage ON secret_version(arn, stage);" },
	{ "secrets", 2,
	  "DROP INDEX secret_stage;"
	  "CREATE TABLE secret_stage(arn TEXT NOT NULL, stage TEXT NOT NULL, version TEXT NOT NULL, "
	  "PRIMARY KEY(arn, stage)) WITHOUT ROWID;"
	  "INSERT INTO secret_stage SELECT arn, stage, version FROM secret_version WHERE stage IS NOT NULL;"
	  "ALTER TABLE secret_version DROP COLUMN stage;" },
	{ 0 },
};

struct secret {
	const char *name, *arn, *description, *kms, *tags;
	int64_t created_ms, changed_ms, deleted_ms;
};

/* By name, ARN, or ARN without its random end (a name has no colon: what is behind the last one is the name). */
static int find(struct db *db, struct arena *a, struct str id, struct secret *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str name = id;
	for (ptrdiff_t colon; (colon = str_find_char(name, ':')) >= 0;)
		name = str_skip(name, (size_t)colon + 1);
	int rc = db_row(db, &rows, err,
			"SELECT name, arn, description, kms, tags, created_ms, changed_ms, deleted_ms FROM secret "
			"WHERE arn=? OR (name=? AND (name=? OR substr(arn, 1, length(arn) - 7)=?)) "
			"ORDER BY arn=? DESC LIMIT 1",
			"SSSSS", id, name, id, id, id);
	if (rc <= 0)
		return rc;
	*out = (struct secret){ arena_strdup(a, rows_str(&rows, 0)),
				arena_strdup(a, rows_str(&rows, 1)),
				rows_null(&rows, 2) ? NULL : arena_strdup(a, rows_str(&rows, 2)),
				rows_null(&rows, 3) ? NULL : arena_strdup(a, rows_str(&rows, 3)),
				rows_null(&rows, 4) ? NULL : arena_strdup(a, rows_str(&rows, 4)),
				rows_int(&rows, 5),
				rows_int(&rows, 6),
				rows_int(&rows, 7) };
	return 1;
}

static bool name_valid(const char *name)
{
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-/_+=.@!", *p))
			return false;
	return true;
}

static int check_name(const char *name, struct error *err)
{
	return name_valid(name)
		       ? 0
		       : error_aws(err, "ValidationException",
				   "Invalid name. Must be a valid name containing alphanumeric characters, or any of "
				   "the following: -/_+=.@!");
}

static int need(struct call *c, struct db *db, json_t *in, bool alive, struct secret *out, struct error *err)
{
	const char *id = json_get_text(in, "SecretId");
	if (strncmp(id, "arn:", 4) != 0 && check_name(id, err) < 0)
		return -1;
	int rc = find(db, c->arena, str_from(id), out, err);
	if (rc == 0)
		return error_aws(err, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.");
	if (rc == 1 && alive && out->deleted_ms)
		return error_aws(err, "InvalidRequestException",
				 "You can't perform this operation on the secret because it was marked for deletion.");
	return rc < 0 ? rc : 0;
}

static json_t *identity(const struct secret *s, const char *version)
{
	json_t *out = json_pack("{s:s, s:s}", "ARN", s->arn, "Name", s->name);
	json_set_text(out, "VersionId", version);
	return out;
}

/* ---- stages ---- */

/* The version that has the stage, in the arena; *version is NULL when none has. */
static int staged(struct db *db, struct arena *a, const char *arn, struct str stage, const char **version,
		  struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT version FROM secret_stage WHERE arn=? AND stage=?", "sS", arn, stage);
	*version = rc > 0 ? arena_strdup(a, rows_str(&rows, 0)) : NULL;
	return rc < 0 ? rc : 0;
}

static int stages_of(struct db *db, const char *arn, struct str version, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	*out = json_array();
	int rc = db_query(db, &rows, err, "SELECT stage FROM secret_stage WHERE arn=? AND version=? ORDER BY stage",
			  "sS", arn, version);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(*out, json_string(rows_str(&rows, 0).ptr));
	return rc;
}

static int set_stage(struct turn *t, const char *arn, struct str stage, const char *version, struct error *err)
{
	return db_exec(turn_db(t), err,
		       "INSERT INTO secret_stage(arn, stage, version) VALUES(?,?,?) ON CONFLICT(arn, stage) DO UPDATE "
		       "SET version=excluded.version",
		       "sSs", arn, stage, version) < 0
		       ? -1
		       : 0;
}

/* Takes it from the version that has it. */
static int move_stage(struct turn *t, const char *arn, struct str stage, const char *version, struct error *err)
{
	const char *before = NULL;
	if (str_eqz(stage, "AWSCURRENT") && staged(turn_db(t), turn_arena(t), arn, stage, &before, err) < 0)
		return -1;
	if (before && strcmp(before, version) && set_stage(t, arn, STR("AWSPREVIOUS"), before, err) < 0)
		return -1;
	return set_stage(t, arn, stage, version, err);
}

/* ---- versions ---- */

/* 1: the version is there already with this value (a repetition); 0: it is not there. */
static int is_repeated(struct db *db, const struct secret *s, const char *version, const char *text, const char *binary,
		       struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err,
			"SELECT text IS NOT DISTINCT FROM ?3 AND binary IS NOT DISTINCT FROM ?4 FROM secret_version "
			"WHERE arn=?1 AND version=?2",
			"ssss", s->arn, version, text, binary);
	if (rc > 0 && !rows_int(&rows, 0))
		return error_aws(err, "ResourceExistsException",
				 "The operation failed because a version with this ClientRequestToken exists with "
				 "other contents.");
	return rc;
}

/* A new version with the stages that the request names, AWSCURRENT without; a secret's first one is always that. */
static int add_version(struct turn *t, const struct secret *s, json_t *in, const char **version, struct error *err)
{
	struct db *db = turn_db(t);
	const char *token = json_get_text(in, "ClientRequestToken"), *text = json_get_text(in, "SecretString"),
		   *binary = json_get_text(in, "SecretBinary"), *current;
	const json_t *stages = json_get(in, "VersionStages");
	*version = token ? token : turn_uuid(t);
	if (text && binary)
		return error_aws(
			err, "InvalidParameterException",
			"You can't specify both a binary secret value and a string secret value in the same secret.");
	int rc = is_repeated(db, s, *version, text, binary, err);
	if (rc)
		return rc < 0 ? rc : 0;
	if (db_exec(db, err, "INSERT INTO secret_version(arn, version, text, binary, created_ms) VALUES(?,?,?,?,?)",
		    "ssssi", s->arn, *version, text, binary, turn_now_ms(t)) < 0 ||
	    db_exec(db, err, "UPDATE secret SET changed_ms=? WHERE arn=?", "is", turn_now_ms(t), s->arn) < 0 ||
	    staged(db, turn_arena(t), s->arn, STR("AWSCURRENT"), &current, err) < 0)
		return -1;
	if ((!json_array_size(stages) || !current) && move_stage(t, s->arn, STR("AWSCURRENT"), *version, err) < 0)
		return -1;
	for (size_t i = 0; i < json_array_size(stages); i++)
		if (move_stage(t, s->arn, json_str(json_array_get(stages, i)), *version, err) < 0)
			return -1;
	return 0;
}

/* Secrets whose window is over go when one of them is in the way, and with the next deletion or restoration. */
static int purge_due(struct turn *t, struct error *err)
{
	if (db_exec(turn_db(t), err,
		    "DELETE FROM secret_stage WHERE arn IN (SELECT arn FROM secret WHERE purge_ms < ?)", "i",
		    turn_now_ms(t)) < 0 ||
	    db_exec(turn_db(t), err,
		    "DELETE FROM secret_version WHERE arn IN (SELECT arn FROM secret WHERE purge_ms < ?)", "i",
		    turn_now_ms(t)) < 0)
		return -1;
	return db_exec(turn_db(t), err, "DELETE FROM secret WHERE purge_ms < ?", "i", turn_now_ms(t)) < 0 ? -1 : 0;
}

static int create_secret(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct secrets *room = c->service_ctx;
	struct secret s;
	const char *name = json_get_text(in, "Name"), *version = NULL;
	json_t *tags = json_get(in, "Tags");
	if (check_name(name, err) < 0)
		return -1;
	int rc = find(turn_db(t), c->arena, str_from(name), &s, err);
	if (rc > 0 && s.deleted_ms)
		rc = purge_due(t, err) < 0 ? -1 : find(turn_db(t), c->arena, str_from(name), &s, err);
	if (rc < 0)
		return rc;
	if (rc && s.deleted_ms)
		return error_aws(err, "InvalidRequestException",
				 "You can't create this secret because a secret with this name is already scheduled "
				 "for deletion.");
	if (rc)
		return error_aws(err, "ResourceExistsException",
				 "The operation failed because the secret %s already exists.", name);
	s = (struct secret){ .name = name,
			     .arn = arena_printf(c->arena, "arn:aws:secretsmanager:%s:%s:secret:%s-%s", room->region,
						 room->account, name, turn_id(t, 6)) };
	if (db_exec(turn_db(t), err,
		    "INSERT INTO secret(name, arn, description, kms, tags, created_ms, changed_ms) "
		    "VALUES(?,?,?,?,?,?,?)",
		    "sssssii", s.name, s.arn, json_get_text(in, "Description"), json_get_text(in, "KmsKeyId"),
		    tags ? json_text(c->arena, tags).ptr : NULL, turn_now_ms(t), turn_now_ms(t)) < 0)
		return -1;
	if ((json_get(in, "SecretString") || json_get(in, "SecretBinary")) && add_version(t, &s, in, &version, err) < 0)
		return -1;
	*out = identity(&s, version);
	return 0;
}

static int put_secret_value(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct secret s;
	const char *version;
	json_t *stages;
	if (need(c, turn_db(t), in, true, &s, err) < 0 || add_version(t, &s, in, &version, err) < 0)
		return -1;
	*out = identity(&s, version);
	int rc = stages_of(turn_db(t), s.arn, str_from(version), &stages, err);
	json_object_set_new(*out, "VersionStages", stages);
	return rc;
}

static int update_secret(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct secret s;
	const char *version = NULL, *description = json_get_text(in, "Description"),
		   *kms = json_get_text(in, "KmsKeyId");
	if (need(c, turn_db(t), in, true, &s, err) < 0)
		return -1;
	if ((description || kms) &&
	    db_exec(turn_db(t), err, "UPDATE secret SET description=?, kms=?, changed_ms=? WHERE arn=?", "ssis",
		    description ? description : s.description, kms ? kms : s.kms, turn_now_ms(t), s.arn) < 0)
		return -1;
	if ((json_get(in, "SecretString") || json_get(in, "SecretBinary")) && add_version(t, &s, in, &version, err) < 0)
		return -1;
	*out = identity(&s, version);
	return 0;
}

static int find_version(struct db *db, const struct secret *s, struct str version, struct str stage, struct rows *rows,
			struct error *err)
{
	if (version.len)
		return db_row(db, rows, err,
			      "SELECT version, text, binary, created_ms FROM secret_version WHERE arn=? AND version=?",
			      "sS", s->arn, version);
	return db_row(db, rows, err,
		      "SELECT version, text, binary, created_ms FROM secret_version WHERE arn=?1 AND version=(SELECT "
		      "version FROM secret_stage WHERE arn=?1 AND stage=?2)",
		      "sS", s->arn, stage.len ? stage : STR("AWSCURRENT"));
}

static int no_version(struct error *err, const char *kind, const char *value)
{
	return error_aws(err, "ResourceNotFoundException",
			 "Secrets Manager can't find the specified secret value for %s: %s", kind, value);
}

static int get_secret_value(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct secret s;
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_JSON json_t *stages = NULL;
	struct str version = json_get_str(in, "VersionId"), stage = json_get_str(in, "VersionStage");
	if (need(c, db, in, true, &s, err) < 0)
		return -1;
	int rc = find_version(db, &s, version, stage, &rows, err);
	if (rc == 0)
		return version.len ? no_version(err, "VersionId", version.ptr)
				   : no_version(err, "staging label", stage.len ? stage.ptr : "AWSCURRENT");
	if (rc < 0 || stages_of(db, s.arn, rows_str(&rows, 0), &stages, err) < 0)
		return -1;
	bool has = !stage.len;
	for (size_t i = 0; i < json_array_size(stages); i++)
		has |= str_eq(json_str(json_array_get(stages, i)), stage);
	if (!has)
		return error_aws(err, "InvalidRequestException",
				 "You provided a VersionStage that is not associated to the provided VersionId.");
	*out = identity(&s, rows_str(&rows, 0).ptr);
	json_set_text(*out, "SecretString", rows_str(&rows, 1).ptr);
	json_set_text(*out, "SecretBinary", rows_str(&rows, 2).ptr);
	json_object_set(*out, "VersionStages", stages);
	json_set_real(*out, "CreatedDate", (double)rows_int(&rows, 3) / 1000);
	return 0;
}

/* What UpdateSecretVersionStage may not do. `holder`: the version that has the stage, or NULL. */
static int check_move(struct str stage, const char *holder, const char *from, const char *to, struct error *err)
{
	const char *invalid = "InvalidParameterException";
	if (!from && !to)
		return error_aws(err, invalid,
				 "You must specify RemoveFromVersionId, MoveToVersionId, or both of them.");
	if (from && !holder)
		return error_aws(err, invalid,
				 "The parameter RemoveFromVersionId can't be %s. Staging label %.*s is not attached to "
				 "any version.",
				 from, STR_ARG(stage));
	if (holder && (from ? strcmp(from, holder) : strcmp(to, holder)))
		return error_aws(err, invalid,
				 "The parameter RemoveFromVersionId can't be %s. Staging label %.*s is currently "
				 "attached to version %s, so you must explicitly reference that version in "
				 "RemoveFromVersionId.",
				 from ? from : "empty", STR_ARG(stage), holder);
	if (!to && str_eqz(stage, "AWSCURRENT"))
		return error_aws(err, invalid,
				 "You can only move staging label AWSCURRENT to a different secret version. It can't "
				 "be completely removed.");
	return 0;
}

static int update_stage(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct secret s;
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str stage = json_get_str(in, "VersionStage");
	const char *from = json_get_text(in, "RemoveFromVersionId"), *to = json_get_text(in, "MoveToVersionId"),
		   *holder;
	if (need(c, turn_db(t), in, true, &s, err) < 0 ||
	    staged(turn_db(t), c->arena, s.arn, stage, &holder, err) < 0 ||
	    check_move(stage, holder, from, to, err) < 0)
		return -1;
	int rc = to ? find_version(turn_db(t), &s, str_from(to), STR_NULL, &rows, err) : 1;
	if (rc <= 0)
		return rc < 0 ? rc : no_version(err, "VersionId", to);
	rc = to ? move_stage(t, s.arn, stage, to, err)
		: db_exec(turn_db(t), err, "DELETE FROM secret_stage WHERE arn=? AND stage=?", "sS", s.arn, stage);
	if (rc < 0 ||
	    db_exec(turn_db(t), err, "UPDATE secret SET changed_ms=? WHERE arn=?", "is", turn_now_ms(t), s.arn) < 0)
		return -1;
	*out = identity(&s, NULL);
	return 0;
}

/* By id; the token of a page is the last id of the one before. */
static int list_versions(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct secret s;
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *list = json_array(), *stages;
	struct str token = json_get_str(in, "NextToken");
	int64_t limit = json_get_int(in, "MaxResults", PAGE);
	bool all = json_get_bool(in, "IncludeDeprecated", false);
	if (need(c, db, in, false, &s, err) < 0) {
		json_decref(list);
		return -1;
	}
	*out = identity(&s, NULL);
	json_object_set_new(*out, "Versions", list);
	int rc = db_query(
		db, &rows, err,
		"SELECT version, created_ms FROM secret_version v WHERE arn=?1 AND version > ?2 AND (?3=1 OR "
		"EXISTS(SELECT 1 FROM secret_stage p WHERE p.arn=?1 AND p.version=v.version)) ORDER BY version",
		"sSi", s.arn, token.ptr ? token : STR(""), (int64_t)all);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(list) == limit) {
			json_object_set(*out, "NextToken",
					json_object_get(json_array_get(list, (size_t)limit - 1), "VersionId"));
			return 0;
		}
		rc = stages_of(db, s.arn, rows_str(&rows, 0), &stages, err);
		json_array_append_new(list,
				      json_pack("{s:s, s:o, s:f}", "VersionId", rows_str(&rows, 0).ptr, "VersionStages",
						stages, "CreatedDate", (double)rows_int(&rows, 1) / 1000));
	}
	return rc;
}

static json_t *description(const struct secret *s)
{
	json_t *out = identity(s, NULL), *tags = s->tags ? json_parse(str_from(s->tags), NULL) : NULL;
	if (s->description && *s->description)
		json_set_text(out, "Description", s->description);
	json_set_text(out, "KmsKeyId", s->kms);
	json_set_real(out, "CreatedDate", (double)s->created_ms / 1000);
	json_set_real(out, "LastChangedDate", (double)s->changed_ms / 1000);
	if (s->deleted_ms)
		json_set_real(out, "DeletedDate", (double)s->deleted_ms / 1000);
	if (tags)
		json_object_set_new(out, "Tags", tags);
	return out;
}

static int describe_secret(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct secret s;
	CLEANUP_ROWS struct rows rows = { 0 };
	if (need(c, db, in, false, &s, err) < 0)
		return -1;
	CLEANUP_JSON json_t *stages = json_object();
	*out = description(&s);
	int rc = db_query(db, &rows, err, "SELECT version, stage FROM secret_stage WHERE arn=? ORDER BY stage", "s",
			  s.arn);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		json_t *list = json_object_get(stages, rows_str(&rows, 0).ptr);
		if (!list)
			json_object_set_new(stages, rows_str(&rows, 0).ptr, list = json_array());
		json_array_append_new(list, json_string(rows_str(&rows, 1).ptr));
	}
	if (json_object_size(stages))
		json_object_set(*out, "VersionIdsToStages", stages);
	return rc;
}

static int list_secrets(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *list = json_array();
	struct str token = json_get_str(in, "NextToken");
	int64_t limit = json_get_int(in, "MaxResults", PAGE);
	json_t *filters = json_get(in, "Filters"), *filter;
	size_t i;
	json_array_foreach (filters, i, filter)
		if (!json_get(filter, "Key") || !json_array_size(json_get(filter, "Values")))
			return error_aws(err, "InvalidParameterException",
					 "Invalid filter: it must have a key and at least one value.");
	*out = json_pack("{s:o}", "SecretList", list);
	int rc = db_query(db, &rows, err,
			  "SELECT name FROM secret WHERE name > ? AND (deleted_ms IS NULL OR ?=1) ORDER BY name", "Si",
			  token.ptr ? token : STR(""), (int64_t)json_get_bool(in, "IncludePlannedDeletion", false));
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		struct secret s = { 0 };
		if (find(db, c->arena, arena_str(c->arena, rows_str(&rows, 0)), &s, err) < 0)
			return -1;
		CLEANUP_JSON json_t *one = description(&s);
		if (!secrets_filters_pass(filters, s.name, s.description, json_get(one, "Tags")))
			continue;
		if ((int64_t)json_array_size(list) == limit) {
			json_object_set(*out, "NextToken",
					json_object_get(json_array_get(list, (size_t)limit - 1), "Name"));
			return 0;
		}
		json_array_append(list, one);
	}
	return rc;
}

static int purge(struct turn *t, const char *arn, struct error *err)
{
	if (db_exec(turn_db(t), err, "DELETE FROM secret_stage WHERE arn=?", "s", arn) < 0 ||
	    db_exec(turn_db(t), err, "DELETE FROM secret_version WHERE arn=?", "s", arn) < 0)
		return -1;
	return db_exec(turn_db(t), err, "DELETE FROM secret WHERE arn=?", "s", arn) < 0 ? -1 : 0;
}

static int delete_secret(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct secret s;
	int64_t days = json_get_int(in, "RecoveryWindowInDays", DEFAULT_WINDOW_DAYS), at = turn_now_ms(t);
	bool force = json_get_bool(in, "ForceDeleteWithoutRecovery", false);
	if (force && json_get(in, "RecoveryWindowInDays"))
		return error_aws(err, "InvalidParameterException",
				 "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.");
	if (days < 7 || days > 30)
		return error_aws(err, "InvalidParameterException",
				 "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).");
	if (purge_due(t, err) < 0)
		return -1;
	if (need(c, turn_db(t), in, !force, &s, err) < 0) {
		if (!force || !error_is(err, "ResourceNotFoundException"))
			return -1;
		error_release(err); /* forced, it is no error that there is none (API reference) */
		*out = json_pack("{s:s, s:f}", "Name", json_get_text(in, "SecretId"), "DeletionDate",
				 (double)at / 1000);
		return 0;
	}
	if (force ? purge(t, s.arn, err) < 0
		  : db_exec(turn_db(t), err, "UPDATE secret SET deleted_ms=?, purge_ms=? WHERE arn=?", "iis", at,
			    at + days * DAY_MS, s.arn) < 0)
		return -1;
	*out = identity(&s, NULL);
	json_set_real(*out, "DeletionDate", (double)(force ? at : at + days * DAY_MS) / 1000);
	return 0;
}

static int restore_secret(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct secret s;
	if (purge_due(t, err) < 0 || need(c, turn_db(t), in, false, &s, err) < 0 ||
	    db_exec(turn_db(t), err, "UPDATE secret SET deleted_ms=NULL, purge_ms=NULL WHERE arn=?", "s", s.arn) < 0)
		return -1;
	*out = identity(&s, NULL);
	return 0;
}

/* "arn:aws:secretsmanager:region:account:secret:name-xxxxxx:key:stage:version": seven pieces name the secret. */
static struct str secret_in(const char *value_from, struct str extra[3])
{
	struct str rest = str_from(value_from), piece;
	size_t n = 0, end = rest.len;
	for (struct str all = rest; str_split(&rest, ':', &piece); n++)
		if (n == 6)
			end = (size_t)(piece.ptr + piece.len - all.ptr);
		else if (n > 6 && n < 10)
			extra[n - 7] = piece;
	return str_of(value_from, end);
}

const char *secrets_arn(struct db *db, struct arena *a, const char *value_from)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct str extra[3] = { STR_NULL, STR_NULL, STR_NULL }, id = secret_in(value_from, extra);
	struct secret s;
	return find(db, a, id, &s, &ignored) == 1 ? s.arn : arena_strdup(a, id);
}

const char *secrets_value(struct db *db, struct arena *a, const char *value_from, struct error *err)
{
	struct str extra[3] = { STR_NULL, STR_NULL, STR_NULL }, id = secret_in(value_from, extra);
	struct secret s;
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = find(db, a, id, &s, err);
	if (rc == 1)
		rc = find_version(db, &s, extra[2], extra[1], &rows, err);
	if (rc == 0)
		error_aws(err, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.");
	if (rc <= 0)
		return NULL;
	const char *text = arena_strdup(a, rows_str(&rows, 1));
	if (!extra[0].len)
		return text;
	CLEANUP_JSON json_t *doc = json_parse(str_from(text), NULL);
	json_t *value = json_object_getn(doc, extra[0].ptr, extra[0].len);
	if (!value) {
		error_aws(err, "ValidationException",
			  "retrieved secret from Secrets Manager did not contain json key %.*s", STR_ARG(extra[0]));
		return NULL;
	}
	return json_is_string(value) ? arena_strdup(a, json_str(value)) : json_text(a, value).ptr;
}

/* TagResource has Tags, UntagResource has TagKeys. */
static int change_tags(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct secret s;
	if (need(c, turn_db(t), in, true, &s, err) < 0)
		return -1;
	CLEANUP_JSON json_t *tags = s.tags ? json_parse(str_from(s.tags), err) : json_array();
	if (!tags)
		return -1;
	json_tags_put(tags, "Key", json_get(in, "Tags"));
	json_tags_remove(tags, "Key", json_get(in, "TagKeys"));
	if (json_array_size(tags) > TAGS_MAX)
		return error_aws(err, "InvalidParameterException", "A secret can have at most %d tags.", TAGS_MAX);
	return db_exec(turn_db(t), err, "UPDATE secret SET tags=?, changed_ms=? WHERE arn=?", "Sis",
		       json_text(c->arena, tags), turn_now_ms(t), s.arn) < 0
		       ? -1
		       : 0;
}

/* No secret has a policy: PutResourcePolicy is not built. */
static int get_policy(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct secret s;
	if (need(c, db, in, true, &s, err) < 0)
		return -1;
	*out = identity(&s, NULL);
	return 0;
}

static const struct wire_op ops[] = {
	{ .name = "CreateSecret", .command = create_secret },
	{ .name = "PutSecretValue", .command = put_secret_value },
	{ .name = "UpdateSecret", .command = update_secret },
	{ .name = "GetSecretValue", .query = get_secret_value },
	{ .name = "UpdateSecretVersionStage", .command = update_stage },
	{ .name = "ListSecretVersionIds", .query = list_versions },
	{ .name = "DescribeSecret", .query = describe_secret },
	{ .name = "ListSecrets", .query = list_secrets },
	{ .name = "DeleteSecret", .command = delete_secret },
	{ .name = "RestoreSecret", .command = restore_secret },
	{ .name = "TagResource", .command = change_tags },
	{ .name = "UntagResource", .command = change_tags },
	{ .name = "GetResourcePolicy", .query = get_policy },
	{ .name = "DeleteResourcePolicy", .query = get_policy },
	{ 0 },
};

/* The secret's ARN, which ends in characters that nobody chose; of one that is not there, what its name would begin. */
static void find_secret(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct secret s;
	if (find(db, c->arena, json_get_str(in, "SecretId"), &s, &ignored) > 0)
		json_array_append_new(resources, json_string(s.arn));
}

#define SECRET .resource = "secret:{SecretId}", .find = find_secret, .keys = "secretsmanager:SecretId={SecretId}"

/* Service Authorization Reference, "AWS Secrets Manager". */
static const struct wire_access access[] = {
	{ .operation = "CreateSecret", .resource = "secret:{Name}-??????", .keys = "secretsmanager:Name={Name}" },
	{ .operation = "PutSecretValue", SECRET },
	{ .operation = "UpdateSecret", SECRET },
	{ .operation = "GetSecretValue", SECRET },
	{ .operation = "DescribeSecret", SECRET },
	{ .operation = "ListSecrets" },
	{ .operation = "DeleteSecret", SECRET },
	{ .operation = "RestoreSecret", SECRET },
	{ .operation = "ListSecretVersionIds", SECRET },
	{ .operation = "TagResource", SECRET },
	{ .operation = "UntagResource", SECRET },
	{ .operation = "GetResourcePolicy", SECRET },
	{ .operation = "DeleteResourcePolicy", SECRET },
	{ .operation = "UpdateSecretVersionStage", SECRET },
	{ .operation = NULL },
};

int secrets_new(struct engine *e, const char *account, const char *region, struct secrets **out, struct error *err)
{
	struct secrets *s = mem_calloc(1, sizeof(*s));
	*s = (struct secrets){
		account,
		region,
		{ .model = "secretsmanager", .scope = "secretsmanager", .ops = ops, .access = access, .ctx = s }
	};
	*out = s;
	return 0;
}

void secrets_free(struct secrets *s)
{
	free(s);
}

const struct wire_service *secrets_service(struct secrets *s)
{
	return &s->service;
}
