/* store.c - the tables of the ecs room.
 *
 * DESIGN: documents as the API shows them, beside the few columns that lists filter by. A family's last revision is
 * kept for ever: revisions are never used again. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/id.h"
#include "ecs/room.h"

const struct store_migration ecs_migrations[] = {
	{ "ecs", 1,
	  "CREATE TABLE ecs_cluster(name TEXT PRIMARY KEY, status TEXT NOT NULL, doc TEXT NOT NULL) WITHOUT ROWID;"
	  "INSERT INTO ecs_cluster(name, status, doc) VALUES('default', 'ACTIVE', '{}');"
	  "CREATE TABLE ecs_family(name TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;"
	  "CREATE TABLE ecs_definition(family TEXT NOT NULL, revision INTEGER NOT NULL, status TEXT NOT NULL, doc TEXT "
	  "NOT NULL,"
	  " PRIMARY KEY(family, revision)) WITHOUT ROWID;"
	  "CREATE TABLE ecs_task(id TEXT PRIMARY KEY, cluster TEXT NOT NULL, family TEXT NOT NULL, status TEXT NOT "
	  "NULL, desired TEXT NOT NULL,"
	  " started_by TEXT, grp TEXT, launch_type TEXT, created REAL NOT NULL, doc TEXT NOT NULL) WITHOUT ROWID;"
	  "CREATE INDEX ecs_task_cluster ON ecs_task(cluster, desired, id);"
	  "CREATE TABLE ecs_run(cluster TEXT NOT NULL, token TEXT NOT NULL, request TEXT NOT NULL, tasks TEXT NOT "
	  "NULL, at_ms INTEGER NOT NULL,"
	  " PRIMARY KEY(cluster, token)) WITHOUT ROWID;"
	  "CREATE INDEX ecs_run_at ON ecs_run(at_ms);"
	  "CREATE TABLE ecs_credential(id TEXT PRIMARY KEY, task TEXT NOT NULL, role TEXT NOT NULL, session TEXT, "
	  "expires_ms INTEGER NOT NULL) WITHOUT ROWID;"
	  "CREATE INDEX ecs_credential_task ON ecs_credential(task);" },
	/* long documents do not belong into the tree of the keys: to find one, SQLite would read its neighbours whole
	 */
	{ "ecs", 2,
	  "CREATE TABLE ecs_new(family TEXT NOT NULL, revision INTEGER NOT NULL, status TEXT NOT NULL, doc TEXT NOT "
	  "NULL, "
	  "PRIMARY KEY(family, revision));"
	  "INSERT INTO ecs_new SELECT family, revision, status, doc FROM ecs_definition;"
	  "DROP TABLE ecs_definition;"
	  "ALTER TABLE ecs_new RENAME TO ecs_definition;"
	  "CREATE TABLE ecs_new(id TEXT PRIMARY KEY, cluster TEXT NOT NULL, family TEXT NOT NULL, status TEXT NOT "
	  "NULL, "
	  "desired TEXT NOT NULL, started_by TEXT, grp TEXT, launch_type TEXT, created REAL NOT NULL, doc TEXT NOT "
	  "NULL);"
	  "INSERT INTO ecs_new SELECT id, cluster, family, status, desired, started_by, grp, launch_type, created, doc "
	  "FROM "
	  "ecs_task;"
	  "DROP TABLE ecs_task;"
	  "ALTER TABLE ecs_new RENAME TO ecs_task;"
	  "CREATE INDEX ecs_task_cluster ON ecs_task(cluster, desired, id);" },
	{ 0 },
};

/* ---- names ---- */

static void drop(void *value)
{
	json_decref(value);
}

json_t *ecs_keep(struct arena *a, json_t *value)
{
	if (value)
		arena_defer(a, drop, value);
	return value;
}

const char *ecs_arn(struct ecs *e, struct arena *a, const char *kind, const char *rest)
{
	return arena_printf(a, "arn:aws:ecs:%s:%s:%s/%s", e->o.region, e->o.account, kind, rest);
}

const char *ecs_cluster_name(struct arena *a, const char *name_or_arn)
{
	if (!name_or_arn || !*name_or_arn)
		return "default";
	const char *slash = strrchr(name_or_arn, '/');
	return arena_strdup(a, str_from(!strncmp(name_or_arn, "arn:", 4) && slash ? slash + 1 : name_or_arn));
}

const char *ecs_task_id(struct arena *a, const char *task)
{
	const char *slash = strrchr(task, '/');
	return arena_strdup(a, str_from(slash ? slash + 1 : task));
}

double ecs_seconds(int64_t ms)
{
	return (double)ms / 1000;
}

/* Always the same for a cluster: the machine has no identity of its own on the wire. */
const char *ecs_instance_id(struct arena *a, const char *cluster)
{
	char hex[33];
	uint64_t words[2] = { str_digest(str_from(cluster)), 0 };
	words[1] = str_digest(str_of(words, sizeof(words[0])));
	hex_encode(hex, words, 16);
	return arena_strdup(a, str_from(hex));
}

static int say(struct error *err, const char *code, const char *fmt, va_list ap)
{
	CLEANUP_FREE char *text = NULL;
	if (vasprintf(&text, fmt, ap) < 0)
		BUG("out of memory");
	return error_aws(err, code, "%s", text);
}

int ecs_client_error(struct error *err, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int rc = say(err, "ClientException", fmt, ap);
	va_end(ap);
	return rc;
}

int ecs_bad_parameter(struct error *err, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int rc = say(err, "InvalidParameterException", fmt, ap);
	va_end(ap);
	return rc;
}

/* ---- clusters ---- */

static int parse_doc(struct arena *a, struct str text, json_t **doc, struct error *err)
{
	*doc = ecs_keep(a, json_parse(text, err));
	return *doc ? 1 : error_wrap(err, "a document of ecs");
}

int ecs_cluster_get(struct db *db, struct arena *a, const char *name, json_t **doc, const char **status,
		    struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT status, doc FROM ecs_cluster WHERE name=?", "s", name);
	if (rc <= 0)
		return rc;
	if (status)
		*status = arena_strdup(a, rows_str(&rows, 0));
	return parse_doc(a, rows_str(&rows, 1), doc, err);
}

int ecs_cluster_put(struct db *db, const char *name, const char *status, const json_t *doc, struct error *err)
{
	CLEANUP_FREE char *text = json_text_dup(doc);
	return db_exec(db, err,
		       "INSERT INTO ecs_cluster(name, status, doc) VALUES(?,?,?) ON CONFLICT(name) DO UPDATE SET "
		       "status=excluded.status, doc=excluded.doc",
		       "sss", name, status, text) < 0
		       ? -1
		       : 0;
}

int ecs_cluster_need(struct db *db, struct arena *a, const char *name_or_arn, const char **name, struct error *err)
{
	const char *status = NULL;
	json_t *doc;
	*name = ecs_cluster_name(a, name_or_arn);
	int rc = ecs_cluster_get(db, a, *name, &doc, &status, err);
	if (rc < 0)
		return -1;
	if (!rc || strcmp(status, "ACTIVE"))
		return error_aws(err, "ClusterNotFoundException", "Cluster not found.");
	return 0;
}

/* ---- task definitions ---- */

int ecs_definition_get(struct db *db, struct arena *a, const char *ref, json_t **doc, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *at = strstr(ref, ":task-definition/");
	const char *family = at ? at + strlen(":task-definition/") : ref, *colon = strrchr(family, ':');
	int64_t revision = 0;
	int rc;
	if (colon) {
		if (!str_to_i64(str_from(colon + 1), &revision) || revision < 1)
			return 0;
		rc = db_row(db, &rows, err, "SELECT doc FROM ecs_definition WHERE family=? AND revision=?", "Si",
			    str_of(family, (size_t)(colon - family)), revision);
	} else {
		rc = db_row(db, &rows, err,
			    "SELECT doc FROM ecs_definition WHERE family=? AND status='ACTIVE' ORDER BY revision DESC "
			    "LIMIT 1",
			    "s", family);
	}
	return rc <= 0 ? rc : parse_doc(a, rows_str(&rows, 0), doc, err);
}

int ecs_definition_put(struct db *db, const json_t *doc, struct error *err)
{
	CLEANUP_FREE char *text = json_text_dup(doc);
	return db_exec(db, err,
		       "INSERT INTO ecs_definition(family, revision, status, doc) VALUES(?,?,?,?)"
		       " ON CONFLICT(family, revision) DO UPDATE SET status=excluded.status, doc=excluded.doc",
		       "siss", json_get_text(doc, "family"), json_get_int(doc, "revision", 0),
		       json_get_text(doc, "status"), text) < 0
		       ? -1
		       : 0;
}

/* ---- tasks ---- */

int ecs_task_get(struct db *db, struct arena *a, const char *cluster, const char *id, json_t **doc, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc =
		cluster ? db_row(db, &rows, err, "SELECT doc FROM ecs_task WHERE id=? AND cluster=?", "ss", id, cluster)
			: db_row(db, &rows, err, "SELECT doc FROM ecs_task WHERE id=?", "s", id);
	return rc <= 0 ? rc : parse_doc(a, rows_str(&rows, 0), doc, err);
}

int ecs_task_put(struct db *db, const json_t *doc, struct error *err)
{
	CLEANUP_FREE char *text = json_text_dup(doc);
	const char *arn = json_get_text(doc, "taskArn"), *cluster = strrchr(json_get_text(doc, "clusterArn"), '/') + 1;
	const char *definition = strrchr(json_get_text(doc, "taskDefinitionArn"), '/') + 1,
		   *colon = strrchr(definition, ':');
	return db_exec(db, err,
		       "INSERT INTO ecs_task(id, cluster, family, status, desired, started_by, grp, launch_type, "
		       "created, doc) VALUES(?,?,?,?,?,?,?,?,?,?)"
		       " ON CONFLICT(id) DO UPDATE SET status=excluded.status, desired=excluded.desired, "
		       "doc=excluded.doc",
		       "ssSsssssds", strrchr(arn, '/') + 1, cluster, str_of(definition, (size_t)(colon - definition)),
		       json_get_text(doc, "lastStatus"), json_get_text(doc, "desiredStatus"),
		       json_get_text(doc, "startedBy"), json_get_text(doc, "group"), json_get_text(doc, "launchType"),
		       json_get_real(doc, "createdAt", 0), text) < 0
		       ? -1
		       : 0;
}

/* ---- pages ---- */

int ecs_page(json_t *in, int64_t max_default, int64_t *max, const char **after, struct error *err)
{
	*max = json_get_int(in, "maxResults", max_default);
	*after = json_get_text(in, "nextToken");
	if (*max < 1 || *max > 100)
		return ecs_bad_parameter(err, "maxResults must be between 1 and 100");
	return 0;
}
