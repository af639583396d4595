/* store.c - functions, versions and aliases in the store.
 *
 * DESIGN: a version's row holds the API's FunctionConfiguration as JSON; what changes apart from it (tags, policy,
 * reserved concurrency) is in the function's row. $LATEST is a version like the others. */
#include <stdlib.h>

#include "lambda/room.h"

const struct store_migration lambda_migrations[] = {
	{ "lambda", 1,
	  "CREATE TABLE lambda_function (name TEXT PRIMARY KEY, created_ms INTEGER NOT NULL, next_version INTEGER NOT "
	  "NULL DEFAULT 1,"
	  " tags TEXT, policy TEXT, reserved INTEGER NOT NULL DEFAULT -1);"
	  "CREATE TABLE lambda_version (name TEXT NOT NULL, version TEXT NOT NULL, number INTEGER NOT NULL, config "
	  "TEXT NOT NULL, blob TEXT NOT NULL,"
	  " PRIMARY KEY (name, version));"
	  "CREATE INDEX lambda_version_blob ON lambda_version (blob);"
	  "CREATE TABLE lambda_alias (name TEXT NOT NULL, alias TEXT NOT NULL, version TEXT NOT NULL, description "
	  "TEXT, revision TEXT NOT NULL,"
	  " PRIMARY KEY (name, alias));" },
	{ 0 },
};

static void decref(void *value)
{
	json_decref(value);
}

static int read_version(struct rows *rows, struct arena *a, struct lambda_version *out, struct error *err)
{
	json_t *config = json_parse(rows_str(rows, 2), err);
	if (!config)
		return error_wrap(err, "a function's row");
	arena_defer(a, decref, config);
	*out = (struct lambda_version){ .name = arena_strdup(a, rows_str(rows, 0)),
					.version = arena_strdup(a, rows_str(rows, 1)),
					.config = config,
					.blob = arena_strdup(a, rows_str(rows, 3)),
					.reserved = rows_int(rows, 4) };
	return 1;
}

#define VERSION_SQL                                                                                                    \
	"SELECT v.name, v.version, v.config, v.blob, f.reserved FROM lambda_version v JOIN lambda_function f ON "      \
	"f.name=v.name WHERE v.name=? AND v.version="

int lambda_version_find(struct lambda *l, struct db *db, struct arena *a, const struct lambda_name *n,
			struct lambda_version *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *q = n->qualifier ? n->qualifier : "$LATEST";
	bool direct = *q == '$' || (*q >= '0' && *q <= '9');
	int rc = direct ? db_row(db, &rows, err, VERSION_SQL "?", "ss", n->name, q) : 0;
	if (rc == 0) {
		rows_done(&rows);
		rc = db_row(db, &rows, err, VERSION_SQL "(SELECT version FROM lambda_alias WHERE name=? AND alias=?)",
			    "sss", n->name, n->name, q);
	}
	if (rc > 0)
		rc = read_version(&rows, a, out, err);
	if (rc == 0)
		lambda_not_found(l, a, n, err);
	return rc > 0 ? 0 : -1;
}

static int64_t number_of(const char *version)
{
	int64_t n = 0;
	str_to_i64(str_from(version), &n);
	return n;
}

int lambda_version_put(struct turn *t, const struct lambda_version *v, struct error *err)
{
	return db_exec(turn_db(t), err,
		       "INSERT INTO lambda_version(name, version, number, config, blob) VALUES(?,?,?,?,?)"
		       " ON CONFLICT(name, version) DO UPDATE SET config=excluded.config, blob=excluded.blob",
		       "ssiSs", v->name, v->version, number_of(v->version), json_text(turn_arena(t), v->config),
		       v->blob) < 0
		       ? -1
		       : 0;
}

int lambda_blob_named(void *ctx, struct db *db, const char *id)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	return db_row(db, &rows, NULL, "SELECT 1 FROM lambda_version WHERE blob=? LIMIT 1", "s", id);
}

int lambda_version_drop(struct turn *t, const char *name, const char *version, const char *blob, struct error *err)
{
	if (db_exec(turn_db(t), err, "DELETE FROM lambda_version WHERE name=? AND version=?", "ss", name, version) < 0)
		return -1;
	int named = lambda_blob_named(NULL, turn_db(t), blob);
	return named == 0  ? blob_remove_later(turn_db(t), blob, turn_now_ms(t), err)
	       : named < 0 ? error_set(err, "look a blob up")
			   : 0;
}

int lambda_exists(struct db *db, const char *name, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	return db_row(db, &rows, err, "SELECT 1 FROM lambda_function WHERE name=?", "s", name);
}

json_t *lambda_column(struct db *db, const char *name, const char *sql, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, sql, "s", name);
	if (rc < 0)
		return NULL;
	return rc == 0 || rows_null(&rows, 0) ? json_object() : json_parse(rows_str(&rows, 0), err);
}

json_t *lambda_config_out(struct lambda *l, struct arena *a, const struct lambda_version *v, const char *qualifier)
{
	json_t *out = json_copy(v->config);
	json_set_text(out, "FunctionArn", lambda_arn(l, a, v->name, qualifier));
	json_set_text(out, "Version", v->version);
	json_set_text(out, "State", "Active");
	json_set_text(out, "LastUpdateStatus", "Successful");
	return out;
}

void lambda_config_touch(json_t *config, int64_t now_ms, const char *revision)
{
	char text[40];
	clock_iso_ms(now_ms, text);
	text[strlen(text) - 1] = 0;
	strcat(text, "+0000");
	json_set_text(config, "LastModified", text);
	json_set_text(config, "RevisionId", revision);
}

static bool same_text(const struct lambda_version *one, const struct lambda_version *two, const char *member)
{
	return str_eq(json_get_str(one->config, member), json_get_str(two->config, member));
}

/* Whether the last published version is what $LATEST is now. Its description may be one that was given when it was
 * published: that of $LATEST counts only when something was written there since. */
static bool same_as(const struct lambda_version *latest, const struct lambda_version *last)
{
	static const char *const apart[] = { "LastModified", "RevisionId", "Version", "Description" };
	CLEANUP_JSON json_t *one = json_copy(latest->config), *two = json_copy(last->config);
	for (size_t i = 0; i < sizeof(apart) / sizeof(*apart); i++) {
		json_object_del(one, apart[i]);
		json_object_del(two, apart[i]);
	}
	return json_equal(one, two) &&
	       (same_text(latest, last, "LastModified") || same_text(latest, last, "Description"));
}

int lambda_publish(struct lambda *l, struct turn *t, const char *name, const char *description,
		   struct lambda_version *out, struct error *err)
{
	struct arena *a = turn_arena(t);
	struct lambda_version latest;
	struct lambda_name n = { name, NULL };
	int64_t next = 0;
	if (lambda_version_find(l, turn_db(t), a, &n, &latest, err) < 0)
		return -1;
	{
		CLEANUP_ROWS struct rows rows = { 0 };
		if (db_row(turn_db(t), &rows, err, "SELECT next_version FROM lambda_function WHERE name=?", "s", name) <
		    0)
			return -1;
		next = rows_int(&rows, 0);
	}
	for (int64_t k = next - 1; k > 0; k--) {
		CLEANUP_ERROR struct error why = ERROR_INIT;
		struct lambda_name last = { name, arena_printf(a, "%lld", (long long)k) };
		if (lambda_version_find(l, turn_db(t), a, &last, out, &why) < 0)
			continue;
		if (same_as(&latest, out))
			return 0;
		break;
	}
	*out = latest;
	out->version = arena_printf(a, "%lld", (long long)next);
	out->config = json_copy(latest.config);
	arena_defer(a, decref, out->config);
	json_set_text(out->config, "RevisionId", turn_uuid(t));
	json_set_text(out->config, "Version", out->version);
	json_set_text(out->config, "Description", description);
	if (lambda_version_put(t, out, err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "UPDATE lambda_function SET next_version=? WHERE name=?", "is", next + 1,
		       name) < 0
		       ? -1
		       : 0;
}
