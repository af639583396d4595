/* store.c - the tables of the room, names and ARNs. See room.h.
 *
 * DESIGN: texts of definitions are kept once, by their hash. An execution's events are rows of JSON lines, one a turn.
 */
#include "states/room.h"

#include <stdlib.h>

struct states_quota states_quota = { .payload_bytes = 262144,
				     .history_events = 25000,
				     .definition_bytes = 1048576,
				     .tags = 50,
				     .versions = 1000,
				     .aliases = 100,
				     .map_inline = 40,
				     .map_children = 10000,
				     .express_ms = 300000,
				     .result_bytes = 128 << 20 };

const struct store_migration states_migrations[] = {
	{ "states", 1,
	  "CREATE TABLE states_definition(hash TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL);"
	  "CREATE TABLE states_machine(arn TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, role "
	  "TEXT NOT NULL, hash TEXT NOT NULL,"
	  " revision TEXT, status TEXT NOT NULL, logging TEXT, tracing TEXT, encryption TEXT, created_ms INTEGER NOT "
	  "NULL, updated_ms INTEGER NOT "
	  "NULL, version INTEGER NOT NULL);"
	  "CREATE TABLE states_version(arn TEXT NOT NULL PRIMARY KEY, machine TEXT NOT NULL, version INTEGER NOT NULL, "
	  "hash TEXT NOT NULL, role TEXT NOT "
	  "NULL, revision TEXT, description TEXT, logging TEXT, tracing TEXT, encryption TEXT, created_ms INTEGER NOT "
	  "NULL);"
	  "CREATE INDEX states_version_machine ON states_version(machine, version);"
	  "CREATE TABLE states_alias(arn TEXT NOT NULL PRIMARY KEY, machine TEXT NOT NULL, name TEXT NOT NULL, "
	  "description TEXT, routing TEXT NOT NULL,"
	  " created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL);"
	  "CREATE INDEX states_alias_machine ON states_alias(machine, arn);"
	  "CREATE TABLE states_tag(arn TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(arn, key));"
	  "CREATE TABLE states_execution(num INTEGER PRIMARY KEY, arn TEXT NOT NULL UNIQUE, machine TEXT NOT NULL, "
	  "name TEXT NOT NULL, version TEXT, alias "
	  "TEXT, hash TEXT NOT NULL, role TEXT NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL, input TEXT NOT "
	  "NULL, output TEXT, error TEXT, cause "
	  "TEXT, start_ms INTEGER NOT NULL, stop_ms INTEGER NOT NULL, redrive_count INTEGER NOT NULL, redrive_ms "
	  "INTEGER NOT NULL, redrive_token TEXT,"
	  " redrive_state TEXT, map_run TEXT, item_count INTEGER NOT NULL, trace TEXT, revision TEXT, logging TEXT, "
	  "label TEXT);"
	  "CREATE INDEX states_execution_machine ON states_execution(machine, num);"
	  "CREATE INDEX states_execution_running ON states_execution(machine) WHERE status='RUNNING';"
	  "CREATE INDEX states_execution_map ON states_execution(map_run, num) WHERE map_run IS NOT NULL;"
	  "CREATE TABLE states_history(execution TEXT NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL, lines "
	  "BLOB NOT NULL, PRIMARY "
	  "KEY(execution, first)) WITHOUT ROWID;"
	  "CREATE TABLE states_activity(arn TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, created_ms INTEGER NOT "
	  "NULL, encryption TEXT);"
	  "CREATE TABLE states_activity_task(id INTEGER PRIMARY KEY, activity TEXT NOT NULL, token TEXT NOT NULL, "
	  "input TEXT NOT NULL);"
	  "CREATE INDEX states_activity_task_of ON states_activity_task(activity, id);"
	  "CREATE TABLE states_token(token TEXT NOT NULL PRIMARY KEY, execution TEXT NOT NULL, frame INTEGER NOT NULL, "
	  "attempt INTEGER NOT NULL);"
	  "CREATE TABLE states_map_run(arn TEXT NOT NULL PRIMARY KEY, execution TEXT NOT NULL, frame INTEGER NOT NULL, "
	  "status TEXT NOT NULL, start_ms "
	  "INTEGER NOT NULL, stop_ms INTEGER NOT NULL, concurrency INTEGER NOT NULL, tolerated_count INTEGER NOT NULL, "
	  "tolerated_percentage REAL NOT "
	  "NULL, items INTEGER NOT NULL, batched INTEGER NOT NULL, redrive_count INTEGER NOT NULL, redrive_ms INTEGER "
	  "NOT NULL, written INTEGER NOT NULL);"
	  "CREATE INDEX states_map_run_execution ON states_map_run(execution, arn);" },
	{ "states", 2, "ALTER TABLE states_map_run ADD COLUMN feed TEXT;" },
	/* what succeeded is counted as it ends: a run may have a million children, and is asked for often */
	{ "states", 3,
	  "ALTER TABLE states_map_run ADD COLUMN good INTEGER NOT NULL DEFAULT 0;"
	  "ALTER TABLE states_map_run ADD COLUMN good_items INTEGER NOT NULL DEFAULT 0;"
	  "UPDATE states_map_run SET good=(SELECT COUNT(*) FROM states_execution x WHERE x.map_run=states_map_run.arn "
	  "AND "
	  "x.status='SUCCEEDED'), good_items=(SELECT COALESCE(SUM(CASE item_count WHEN 0 THEN 1 ELSE item_count END), "
	  "0) "
	  "FROM states_execution x WHERE x.map_run=states_map_run.arn AND x.status='SUCCEEDED');"
	  "CREATE INDEX states_execution_map_open ON states_execution(map_run, num) WHERE map_run IS NOT NULL AND "
	  "status<>'SUCCEEDED';" },
	/* a table WITHOUT ROWID keeps its rows in the tree of its keys, and to compare a key with that of a long row
	 * reads the whole row: one history of megabytes made every insert slow */
	{ "states", 4,
	  "CREATE TABLE states_pieces(execution TEXT NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL, lines "
	  "BLOB "
	  "NOT NULL, PRIMARY KEY(execution, first));"
	  "INSERT INTO states_pieces SELECT execution, first, count, lines FROM states_history;"
	  "DROP TABLE states_history;"
	  "ALTER TABLE states_pieces RENAME TO states_history;" },
	{ 0 },
};

/* ---- rows ---- */

static const char *text(struct arena *a, struct rows *rows, int col)
{
	struct str s = rows_str(rows, col);
	return s.ptr ? arena_strdup(a, s) : NULL;
}

int machine_find(struct db *db, struct arena *a, const char *arn, struct machine_row *m, struct error *err)
{
	CLEANUP_ROWS struct rows r = { 0 };
	int rc = db_row(db, &r, err,
			"SELECT arn, name, type, role, hash, revision, status, logging, tracing, encryption, "
			"created_ms, updated_ms, version FROM "
			"states_machine WHERE arn=?",
			"s", arn);
	if (rc <= 0)
		return rc;
	const char **out[] = { &m->arn,      &m->name,   &m->type,    &m->role,    &m->hash,
			       &m->revision, &m->status, &m->logging, &m->tracing, &m->encryption };
	for (int i = 0; i < 10; i++)
		*out[i] = text(a, &r, i);
	m->created_ms = rows_int(&r, 10);
	m->updated_ms = rows_int(&r, 11);
	m->version = rows_int(&r, 12);
	m->express = strcmp(m->type, "EXPRESS") == 0;
	return 1;
}

int version_find(struct db *db, struct arena *a, const char *arn, struct version_row *v, struct error *err)
{
	CLEANUP_ROWS struct rows r = { 0 };
	int rc = db_row(db, &r, err,
			"SELECT arn, machine, hash, role, revision, description, logging, tracing, encryption, "
			"version, created_ms FROM states_version "
			"WHERE arn=?",
			"s", arn);
	if (rc <= 0)
		return rc;
	const char **out[] = { &v->arn,         &v->machine, &v->hash,    &v->role,      &v->revision,
			       &v->description, &v->logging, &v->tracing, &v->encryption };
	for (int i = 0; i < 9; i++)
		*out[i] = text(a, &r, i);
	v->version = rows_int(&r, 9);
	v->created_ms = rows_int(&r, 10);
	return 1;
}

int alias_find(struct db *db, struct arena *a, const char *arn, struct alias_row *v, struct error *err)
{
	CLEANUP_ROWS struct rows r = { 0 };
	int rc = db_row(
		db, &r, err,
		"SELECT arn, machine, name, description, routing, created_ms, updated_ms FROM states_alias WHERE arn=?",
		"s", arn);
	if (rc <= 0)
		return rc;
	const char **out[] = { &v->arn, &v->machine, &v->name, &v->description, &v->routing };
	for (int i = 0; i < 5; i++)
		*out[i] = text(a, &r, i);
	v->created_ms = rows_int(&r, 5);
	v->updated_ms = rows_int(&r, 6);
	return 1;
}

int execution_find(struct db *db, struct arena *a, const char *arn, struct execution_row *x, struct error *err)
{
	CLEANUP_ROWS struct rows r = { 0 };
	int rc = db_row(db, &r, err,
			"SELECT arn, machine, name, version, alias, hash, role, status, map_run, trace, revision, "
			"logging, error, cause, label, type, "
			"input, output, start_ms, stop_ms, redrive_count, redrive_ms, item_count, redrive_state IS NOT "
			"NULL FROM states_execution "
			"WHERE arn=?",
			"s", arn);
	if (rc <= 0)
		return rc;
	const char **out[] = { &x->arn,   &x->machine, &x->name,    &x->version, &x->alias,    &x->hash,
			       &x->role,  &x->status,  &x->map_run, &x->trace,   &x->revision, &x->logging,
			       &x->error, &x->cause,   &x->label,   &x->type };
	for (int i = 0; i < 16; i++)
		*out[i] = text(a, &r, i);
	x->input = arena_str(a, rows_str(&r, 16));
	x->output = rows_null(&r, 17) ? STR_NULL : arena_str(a, rows_str(&r, 17));
	x->start_ms = rows_int(&r, 18);
	x->stop_ms = rows_int(&r, 19);
	x->redrive_count = rows_int(&r, 20);
	x->redrive_ms = rows_int(&r, 21);
	x->item_count = rows_int(&r, 22);
	x->redrivable = rows_int(&r, 23) != 0;
	return 1;
}

int machine_get(struct db *db, struct arena *a, const char *arn, struct machine_row *out, struct error *err)
{
	int rc = machine_find(db, a, arn, out, err);
	return rc == 0  ? error_aws(err, "StateMachineDoesNotExist", "State Machine Does Not Exist: '%s'", arn)
	       : rc < 0 ? -1
			: 0;
}

int execution_get(struct db *db, struct arena *a, const char *arn, struct execution_row *out, struct error *err)
{
	int rc = execution_find(db, a, arn, out, err);
	return rc == 0  ? error_aws(err, "ExecutionDoesNotExist", "Execution Does Not Exist: '%s'", arn)
	       : rc < 0 ? -1
			: 0;
}

int map_run_count(struct db *db, const char *arn, int64_t good, int64_t good_items, struct error *err)
{
	int rc = db_exec(db, err, "UPDATE states_map_run SET good=good+?, good_items=good_items+? WHERE arn=?", "iis",
			 good, good_items, arn);
	return rc < 0 ? -1 : 0;
}

int machine_erase(struct db *db, const char *arn, struct error *err)
{
	static const char *const statements[] = { "DELETE FROM states_version WHERE machine=?",
						  "DELETE FROM states_alias WHERE machine=?",
						  "DELETE FROM states_tag WHERE arn=?",
						  "DELETE FROM states_machine WHERE arn=?" };
	for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++)
		if (db_exec(db, err, statements[i], "s", arn) < 0)
			return -1;
	return 0;
}

int definition_put(struct db *db, const char *hash, struct str definition, struct error *err)
{
	int rc = db_exec(db, err, "INSERT INTO states_definition(hash, text) VALUES(?, ?) ON CONFLICT(hash) DO NOTHING",
			 "sS", hash, definition);
	return rc < 0 ? -1 : 0;
}

struct str definition_get(struct db *db, struct arena *a, const char *hash, struct error *err)
{
	CLEANUP_ROWS struct rows r = { 0 };
	int rc = db_row(db, &r, err, "SELECT text FROM states_definition WHERE hash=?", "s", hash);
	if (rc == 0)
		error_set(err, "read state machine definition %s: it is not stored", hash);
	return rc == 1 ? arena_str(a, rows_str(&r, 0)) : STR_NULL;
}

/* ---- names and ARNs ---- */

int name_check(struct str name, struct error *err)
{
	bool bad = name.len == 0 || name.len > 80;
	for (size_t i = 0; i < name.len && !bad; i++) {
		unsigned char c = (unsigned char)name.ptr[i];
		bad = c <= 0x20 || c == 0x7f || strchr("?*<>{}[]\"#%\\^|~`$&,;:/", c);
		if (c == 0xc2 && i + 1 < name.len && (unsigned char)name.ptr[i + 1] < 0xa0)
			bad = true; /* U+0080 to U+009F */
	}
	if (!bad)
		return 0;
	CLEANUP_BUF struct buf shown = BUF_INIT;
	for (size_t i = 0; i < name.len; i++)
		name.ptr[i] ? buf_add_char(&shown, name.ptr[i]) : buf_add(&shown, "\xC0\x80", 2);
	return error_aws(err, "InvalidName", "Invalid Name: '%.*s'", STR_ARG(buf_str(&shown)));
}

const char *states_arn(struct states *s, struct arena *a, const char *kind, const char *rest)
{
	return arena_printf(a, "arn:aws:states:%s:%s:%s:%s", s->o.region, s->o.account, kind, rest);
}

bool arn_split(struct str arn, struct states_arn *out)
{
	struct str rest = arn, part[6];
	for (int i = 0; i < 6; i++)
		if (!str_split(&rest, ':', &part[i]))
			return false;
	if (!rest.ptr || !str_eqz(part[0], "arn") || !str_starts(part[1], STR("aws")) || !str_eqz(part[2], "states"))
		return false;
	*out = (struct states_arn){ part[3], part[4], part[5], rest };
	return rest.len > 0 && part[3].len && part[4].len;
}

int arn_check(struct str arn, const char *kind, struct error *err)
{
	struct states_arn parts;
	if (!arn_split(arn, &parts))
		return error_aws(err, "InvalidArn", "Invalid Arn: 'Invalid ARN prefix: %.*s'", STR_ARG(arn));
	if (!str_eqz(parts.kind, kind))
		return error_aws(err, "InvalidArn", "Invalid Arn: 'Resource type not valid in this context: %.*s'",
				 STR_ARG(parts.kind));
	return 0;
}

json_t *json_column(const char *column)
{
	return column ? json_parse(str_from(column), NULL) : NULL;
}

/* ---- pages ---- */

int page_open(struct arena *a, const json_t *in, int64_t fallback, struct page *p, struct error *err)
{
	struct str token = json_get_str(in, "nextToken");
	p->limit = json_get_int(in, "maxResults", fallback);
	if (p->limit <= 0)
		p->limit = fallback;
	p->after = 0;
	p->key = "";
	if (!token.len)
		return 0;
	char *plain = arena_alloc(a, token.len + 4);
	ptrdiff_t n = base64_decode(plain, token);
	struct str s = str_of(plain, n > 0 ? (size_t)n : 0), number;
	if (n <= 0 || !str_starts(s, STR("p1 ")))
		return error_aws(err, "InvalidToken", "Invalid Token: 'Invalid token'");
	s = str_skip(s, 3);
	if (!str_split(&s, ' ', &number) || !str_to_i64(number, &p->after) || !s.ptr)
		return error_aws(err, "InvalidToken", "Invalid Token: 'Invalid token'");
	p->key = arena_strdup(a, s);
	return 0;
}

void page_more(json_t *out, int64_t after, const char *key)
{
	char plain[2300], token[4096];
	int n = snprintf(plain, sizeof(plain), "p1 %lld %s", (long long)after, key);
	base64_encode(token, plain, (size_t)n < sizeof(plain) ? (size_t)n : sizeof(plain) - 1);
	json_set_text(out, "nextToken", token);
}

/* ---- tags ---- */

int tags_put(struct db *db, const char *arn, const json_t *tags, struct error *err)
{
	size_t i;
	json_t *tag;
	CLEANUP_ROWS struct rows rows = { 0 };
	json_array_foreach (tags, i, tag)
		if (db_exec(db, err,
			    "INSERT INTO states_tag(arn, key, value) VALUES(?, ?, ?) ON CONFLICT(arn, key) DO UPDATE "
			    "SET value=excluded.value",
			    "sss", arn, json_get_text(tag, "key") ? json_get_text(tag, "key") : "",
			    json_get_text(tag, "value") ? json_get_text(tag, "value") : "") < 0)
			return -1;
	int rc = db_row(db, &rows, err, "SELECT COUNT(*) FROM states_tag WHERE arn=?", "s", arn);
	if (rc < 0)
		return -1;
	if (rows_int(&rows, 0) > states_quota.tags)
		return error_aws(err, "TooManyTags", "Too many tags: '%s' would have more than %lld.", arn,
				 (long long)states_quota.tags);
	return 0;
}

int tags_drop(struct db *db, const char *arn, struct error *err)
{
	return db_exec(db, err, "DELETE FROM states_tag WHERE arn=?", "s", arn) < 0 ? -1 : 0;
}
