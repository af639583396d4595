/* api_change.c - operations that make, change and delete functions. */
#include <stdlib.h>

#include "lambda/room.h"

enum { MAX_NAME = 64 };

/* A request with code: on a thread of the room. */
struct change {
	struct call *c;
	struct lambda *l;
	json_t *in, *out;
	struct lambda_code code;
	const char *name;
	int (*write)(struct change *g, struct turn *t, struct error *err);
};

static void set_code(json_t *config, const struct lambda_code *code)
{
	json_set_text(config, "CodeSha256", code->sha256);
	json_set_int(config, "CodeSize", code->size_bytes);
}

static const char *const settings[] = { "Role",       "Handler", "Description",   "Timeout",
					"MemorySize", "Runtime", "TracingConfig", "EphemeralStorage" };

/* What is given goes over what was; JSON has levels, Text has none. */
static void set_logging(json_t *config, const json_t *in)
{
	static const char *const levels[] = { "ApplicationLogLevel", "SystemLogLevel" };
	json_t *now = json_get(config, "LoggingConfig");
	json_object_update(now, json_get(in, "LoggingConfig"));
	bool json = str_eqz(json_get_str(now, "LogFormat"), "JSON");
	for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++)
		if (!json)
			json_object_del(now, levels[i]);
		else if (!json_get(now, levels[i]))
			json_set_text(now, levels[i], "INFO");
}

static void set_settings(json_t *config, json_t *in)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
		json_copy_key(config, in, settings[i]);
	set_logging(config, in);
	json_t *variables = json_get_path(in, "Environment.Variables");
	if (json_object_size(variables)) {
		json_object_set_new(config, "Environment", json_pack("{s:O}", "Variables", variables));
	} else if (json_get(in, "Environment")) {
		json_object_del(config, "Environment");
	}
}

static json_t *new_config(struct lambda *l, struct arena *a, const char *name, json_t *in)
{
	json_t *config = json_object();
	json_set_text(config, "FunctionName", name);
	json_set_text(config, "Description", "");
	json_set_int(config, "Timeout", 3);
	json_set_int(config, "MemorySize", 128);
	json_set_text(config, "PackageType", "Zip");
	json_set_text(config, "Version", "$LATEST");
#if defined(__aarch64__)
	json_object_set_new(config, "Architectures", json_pack("[s]", "arm64"));
#else
	json_object_set_new(config, "Architectures", json_pack("[s]", "x86_64"));
#endif
	json_object_set_new(config, "TracingConfig", json_pack("{s:s}", "Mode", "PassThrough"));
	json_object_set_new(config, "EphemeralStorage", json_pack("{s:i}", "Size", 512));
	json_object_set_new(config, "SnapStart",
			    json_pack("{s:s, s:s}", "ApplyOn", "None", "OptimizationStatus", "Off"));
	json_object_set_new(
		config, "LoggingConfig",
		json_pack("{s:s, s:s}", "LogFormat", "Text", "LogGroup", arena_printf(a, "/aws/lambda/%s", name)));
	set_settings(config, in);
	return config;
}

/* A role that does not exist here is taken as it is named, as everywhere in Quern. */
static int check_role(struct lambda *l, struct db *db, struct arena *a, const json_t *in, struct error *err)
{
	struct str role = json_get_str(in, "Role");
	int rc = role.ptr ? iam_trusts(l->o.iam, db, a, role, "lambda.amazonaws.com", err) : 1;
	if (rc == 0)
		return lambda_invalid(err, "The role defined for the function cannot be assumed by Lambda.");
	return rc < 0 ? rc : 0;
}

static int conflict_exists(const char *name, struct error *err)
{
	return lambda_conflict(err, "Function already exist: %s", name);
}

/* ---- with code ---- */

/* CreateFunction answers with the function's ARN, also when it publishes (recorded from AWS); others with the
 * version's. */
static int publish_too(struct change *g, struct turn *t, struct lambda_version *v, bool create, struct error *err)
{
	if (json_get_bool(g->in, "Publish", false) && lambda_publish(g->l, t, g->name, NULL, v, err) < 0)
		return -1;
	bool latest = *v->version == '$';
	g->out = lambda_config_out(g->l, turn_arena(t), v, latest || create ? NULL : v->version);
	return 0;
}

static int write_create(struct change *g, struct turn *t, struct error *err)
{
	struct lambda_version v = { .name = g->name, .version = "$LATEST", .blob = g->code.blob };
	CLEANUP_JSON json_t *config = new_config(g->l, turn_arena(t), g->name, g->in);
	int found = lambda_exists(turn_db(t), g->name, err);
	if (found)
		return found < 0 ? -1 : conflict_exists(g->name, err);
	if (check_role(g->l, turn_db(t), turn_arena(t), g->in, err) < 0)
		return -1;
	v.config = config;
	set_code(config, &g->code);
	lambda_config_touch(config, turn_now_ms(t), turn_uuid(t));
	json_t *tags = json_get(g->in, "Tags");
	if (db_exec(turn_db(t), err, "INSERT INTO lambda_function(name, created_ms, tags) VALUES(?,?,?)", "sis",
		    g->name, turn_now_ms(t), tags ? json_text(turn_arena(t), tags).ptr : NULL) < 0 ||
	    lambda_version_put(t, &v, err) < 0)
		return -1;
	return publish_too(g, t, &v, true, err);
}

static int check_revision(json_t *in, const struct lambda_version *v, struct error *err)
{
	struct str wanted = json_get_str(in, "RevisionId");
	if (wanted.len && !str_eq(wanted, json_get_str(v->config, "RevisionId")))
		return error_http(err, 412, "PreconditionFailedException",
				  "The Revision Id provided does not match the latest Revision Id. Call the "
				  "GetFunction/GetAlias API to retrieve the latest Revision Id");
	return 0;
}

static int write_update(struct change *g, struct turn *t, struct error *err)
{
	struct lambda_version v;
	struct lambda_name n = { g->name, NULL };
	if (lambda_version_find(g->l, turn_db(t), turn_arena(t), &n, &v, err) < 0 || check_revision(g->in, &v, err) < 0)
		return -1;
	const char *old = v.blob;
	set_code(v.config, &g->code);
	lambda_config_touch(v.config, turn_now_ms(t), turn_uuid(t));
	v.blob = g->code.blob;
	if (json_get_bool(g->in, "DryRun", false)) {
		g->out = lambda_config_out(g->l, turn_arena(t), &v, NULL);
		return 0;
	}
	if (lambda_version_put(t, &v, err) < 0)
		return -1;
	if (lambda_blob_named(NULL, turn_db(t), old) == 0 &&
	    blob_remove_later(turn_db(t), old, turn_now_ms(t), err) < 0)
		return -1;
	return publish_too(g, t, &v, false, err);
}

static int write_run(struct turn *t, void *arg, struct error *err)
{
	struct change *g = arg;
	json_decref(g->out); /* of a try that was rolled back */
	g->out = NULL;
	return g->write(g, t, err) < 0 ? -1 : wire_commit(g->c, t, g->out, err);
}

/* Fails early, before anything is stored. */
static int check_early(struct change *g, struct error *err)
{
	bool create = g->write == write_create;
	if (create && (!json_get(g->in, "Runtime") || !json_get(g->in, "Handler")) &&
	    !json_get_path(g->in, "Code.ImageUri"))
		return lambda_invalid(
			err,
			"Runtime and Handler are mandatory parameters for functions created with deployment packages.");
	if (lambda_check(g->in, err) < 0)
		return -1;
	struct db *db = store_read_begin(g->l->store, err);
	if (!db)
		return -1;
	int found = lambda_exists(db, g->name, err);
	store_read_end(g->l->store, db);
	if (found < 0)
		return -1;
	if (create && found)
		return conflict_exists(g->name, err);
	return create || found ? 0 : lambda_not_found(g->l, g->c->arena, &(struct lambda_name){ g->name, NULL }, err);
}

static void change_run(void *arg)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct change *g = arg;
	json_t *code = g->write == write_create ? json_get(g->in, "Code") : g->in;
	int rc = check_early(g, &err);
	if (rc >= 0)
		rc = lambda_code_store(g->l, code, g->c->operation, &g->code, &err);
	if (rc >= 0)
		rc = engine_call(g->l->o.engine, write_run, g, &err);
	if (rc < 0) {
		json_decref(g->out);
		g->out = NULL;
		if (err.code[0]) /* surely not written; else the blob is collected when no row names it */
			lambda_code_drop(g->l, &g->code);
	} else if (json_get_bool(g->in, "DryRun", false)) {
		lambda_code_drop(g->l, &g->code);
	} else {
		pool_retire(g->l, g->name);
	}
	wire_answer(g->c, rc, g->out, &err);
}

static void change(struct call *c, json_t *in, int (*write)(struct change *, struct turn *, struct error *))
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct change *g = ARENA_NEW(c->arena, struct change);
	struct lambda_name n;
	*g = (struct change){ .c = c, .l = lambda_of(c), .in = in, .write = write };
	if (lambda_name_read(lambda_of(c), c->arena, in, "FunctionName", &n, &err) < 0) {
		wire_answer(c, -1, NULL, &err);
		return;
	}
	g->name = n.name;
	if (strlen(g->name) > MAX_NAME) {
		lambda_invalid(
			&err,
			"1 validation error detected: Value '%.200s' at 'functionName' failed to satisfy constraint: "
			"Member must have length less than or equal to %d",
			g->name, MAX_NAME);
		wire_answer(c, -1, NULL, &err);
		return;
	}
	work_add(g->l->work, change_run, g);
}

static void create_function(struct call *c, json_t *in)
{
	change(c, in, write_create);
}

static void update_function_code(struct call *c, json_t *in)
{
	change(c, in, write_update);
}

/* ---- without ---- */

static int update_function_configuration(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	struct lambda_version v;
	if (lambda_name_read(lambda_of(c), c->arena, in, "FunctionName", &n, err) < 0 || lambda_check(in, err) < 0)
		return -1;
	n.qualifier = NULL;
	if (lambda_version_find(lambda_of(c), turn_db(t), c->arena, &n, &v, err) < 0 ||
	    check_revision(in, &v, err) < 0 || check_role(lambda_of(c), turn_db(t), c->arena, in, err) < 0)
		return -1;
	set_settings(v.config, in);
	lambda_config_touch(v.config, turn_now_ms(t), turn_uuid(t));
	if (lambda_version_put(t, &v, err) < 0)
		return -1;
	*out = lambda_config_out(lambda_of(c), c->arena, &v, NULL);
	return 0;
}

struct retire {
	struct lambda *l;
	char name[];
};

static void retire(void *arg)
{
	struct retire *r = arg;
	pool_retire(r->l, r->name);
	free(r);
}

static int drop_versions(struct turn *t, const char *name, const char *version, struct error *err)
{
	CLEANUP_JSON json_t *list = json_array();
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *row;
	size_t i;
	int rc = db_query(turn_db(t), &rows, err,
			  "SELECT version, blob FROM lambda_version WHERE name=? AND (version=? OR ?='')", "sss", name,
			  version, version);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(list, json_pack("[s,s]", rows_str(&rows, 0).ptr, rows_str(&rows, 1).ptr));
	rows_done(&rows);
	json_array_foreach (list, i, row)
		if (rc >= 0)
			rc = lambda_version_drop(t, name, json_string_value(json_array_get(row, 0)),
						 json_string_value(json_array_get(row, 1)), err);
	return rc;
}

/* A version stays while an alias points to it. */
static int check_aliases(struct turn *t, const char *name, const char *version, struct error *err)
{
	CLEANUP_BUF struct buf found = BUF_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_query(turn_db(t), &rows, err,
			  "SELECT alias FROM lambda_alias WHERE name=? AND version=? ORDER BY alias", "ss", name,
			  version);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		buf_printf(&found, "%s%s", found.len ? ", " : "", rows_str(&rows, 0).ptr);
	if (rc >= 0 && found.len)
		return lambda_conflict(err, "Unable to delete version because the following aliases reference it: [%s]",
				       found.ptr);
	return rc < 0 ? -1 : 0;
}

static int delete_function(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct lambda_name n;
	struct lambda_version v;
	struct lambda *l = lambda_of(c);
	if (lambda_name_read(lambda_of(c), c->arena, in, "FunctionName", &n, err) < 0 ||
	    lambda_version_find(l, turn_db(t), c->arena, &n, &v, err) < 0)
		return -1;
	if (n.qualifier && *v.version == '$')
		return lambda_invalid(err, "$LATEST version cannot be deleted without deleting the function.");
	if (n.qualifier && strcmp(v.version, n.qualifier))
		return lambda_invalid(err, "Deletion of aliases is not currently supported.");
	if ((n.qualifier && check_aliases(t, n.name, v.version, err) < 0) ||
	    drop_versions(t, n.name, n.qualifier ? n.qualifier : "", err) < 0)
		return -1;
	if (!n.qualifier && (db_exec(turn_db(t), err, "DELETE FROM lambda_alias WHERE name=?", "s", n.name) < 0 ||
			     db_exec(turn_db(t), err, "DELETE FROM lambda_function WHERE name=?", "s", n.name) < 0))
		return -1;
	struct retire *r = mem_alloc(sizeof(*r) + strlen(n.name) + 1);
	r->l = l;
	strcpy(r->name, n.name);
	turn_after_commit(t, retire, r);
	*out = json_pack("{s:i}", "StatusCode", 204);
	return 0;
}

const struct wire_op lambda_change_ops[] = {
	{ .name = "CreateFunction", .async = create_function },
	{ .name = "UpdateFunctionCode", .async = update_function_code },
	{ .name = "UpdateFunctionConfiguration", .command = update_function_configuration },
	{ .name = "DeleteFunction", .command = delete_function },
	{ 0 },
};
