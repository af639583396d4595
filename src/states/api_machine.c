/* api_machine.c - operations on state machines. */
#include "states/room.h"

#include <stdlib.h>

static char *dup_json(struct arena *a, const json_t *value)
{
	return value ? (char *)json_text(a, value).ptr : NULL;
}

/* What a machine has that was never told otherwise. */
static const char no_logging[] = "{\"level\":\"OFF\",\"includeExecutionData\":false}";
static const char no_tracing[] = "{\"enabled\":false}";
static const char no_encryption[] = "{\"type\":\"AWS_OWNED_KEY\"}";

/* What a request gives of a machine; NULL where it says nothing. */
struct wanted {
	const char *hash, *role, *logging, *tracing, *encryption;
	struct str definition;
};

/* ---- logging ---- */

static int logging_check(struct states *s, struct arena *a, const json_t *logging, struct error *err)
{
	const char *level = json_get_text(logging, "level");
	const json_t *destinations = json_get(logging, "destinations");
	if (!level || strcmp(level, "OFF") == 0)
		return 0;
	const char *group =
		json_get_text(json_get_path(json_array_get(destinations, 0), "cloudWatchLogsLogGroup"), "logGroupArn");
	if (json_array_size(destinations) != 1 || !group)
		return error_aws(err, "InvalidLoggingConfiguration",
				 "Invalid Logging Configuration: Must specify exactly one Log Destination.");
	struct str rest = str_from(group), part[8];
	int n = 0;
	while (n < 8 && str_split(&rest, ':', &part[n]))
		n++;
	bool good = n == 8 && str_eqz(part[0], "arn") && str_eqz(part[2], "logs") && str_eqz(part[5], "log-group") &&
		    str_eqz(part[7], "*") && str_eqz(part[3], s->o.region) && str_eqz(part[4], s->o.account);
	(void)a;
	return good ? 0
		    : error_aws(err, "InvalidLoggingConfiguration",
				"Invalid Logging Configuration: Log Destination ARN is not valid: Resource '%s' is not "
				"a log group of this account and Region.",
				group);
}

static const char *logging_text(struct arena *a, const json_t *in)
{
	json_t *logging = json_get(in, "loggingConfiguration");
	if (!logging)
		return NULL;
	json_t *full = json_copy(logging);
	if (!json_get(full, "level"))
		json_set_text(full, "level", "OFF");
	if (!json_get(full, "includeExecutionData"))
		json_set_bool(full, "includeExecutionData", false);
	const char *out = dup_json(a, full);
	json_decref(full);
	return out;
}

/* arn:aws:iam::<twelve digits>:role/<path and name> */
static bool is_role(struct str arn)
{
	struct str part[6];
	int n = 0;
	while (n < 5 && str_split(&arn, ':', &part[n]))
		n++;
	return n == 5 && str_eqz(part[0], "arn") && str_starts(part[1], STR("aws")) && str_eqz(part[2], "iam") &&
	       !part[3].len && part[4].len == 12 && str_starts(arn, STR("role/")) && arn.len > 5;
}

/* ---- definitions ---- */

static void verdict_make(struct states *s, struct arena *a, struct str definition, bool express,
			 struct machine_verdict *v)
{
	struct asl_machine *m = NULL;
	v->made = true;
	v->express = express;
	if (machine_check(s, a, definition, express, &m, &v->err) == 0)
		asl_machine_free(m);
}

static int verdict_say(const struct machine_verdict *v, struct error *err)
{
	return v->err.message ? error_http(err, v->err.status, v->err.code, "%s", v->err.message) : 0;
}

static bool is_express(const json_t *in)
{
	return str_eqz(json_get_str(in, "type"), "EXPRESS");
}

/* A check of it may take long. */
static bool has_expressions(struct str definition)
{
	return definition.ptr && memmem(definition.ptr, definition.len, "{%", 2);
}

/* Reads and checks what a Create or Update gives. */
static int wanted_read(struct states *s, struct arena *a, const json_t *in, bool express,
		       const struct machine_verdict *v, struct wanted *w, struct error *err)
{
	*w = (struct wanted){ .definition = json_get_str(in, "definition"),
			      .role = json_get_text(in, "roleArn"),
			      .logging = logging_text(a, in),
			      .tracing = dup_json(a, json_get(in, "tracingConfiguration")),
			      .encryption = dup_json(a, json_get(in, "encryptionConfiguration")) };
	if (logging_check(s, a, json_get(in, "loggingConfiguration"), err) < 0)
		return -1;
	if (w->role && !is_role(str_from(w->role)))
		return error_aws(err, "InvalidArn", "Invalid Role Arn: '%s'", w->role);
	if (!w->definition.ptr)
		return 0;
	struct machine_verdict here = { 0 };
	if (!v->made || v->express != express)
		verdict_make(s, a, w->definition, express, &here);
	int rc = verdict_say(here.made ? &here : v, err);
	error_release(&here.err);
	if (rc < 0)
		return -1;
	w->hash = machine_hash(a, w->definition);
	return 0;
}

/* ---- versions ---- */

static bool same_text(const char *a, const char *b)
{
	return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

static int version_add(struct turn *t, struct machine_row *m, const char *description, const char **arn,
		       struct error *err)
{
	struct db *db = turn_db(t);
	int64_t n = m->version + 1;
	*arn = arena_printf(turn_arena(t), "%s:%lld", m->arn, (long long)n);
	if (db_exec(db, err,
		    "INSERT INTO states_version(arn, machine, version, hash, role, revision, description, logging, "
		    "tracing, encryption, created_ms) "
		    "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		    "ssisssssssi", *arn, m->arn, n, m->hash, m->role, m->revision, description, m->logging, m->tracing,
		    m->encryption, turn_now_ms(t)) < 0)
		return -1;
	return db_exec(db, err, "UPDATE states_machine SET version=? WHERE arn=?", "is", n, m->arn) < 0 ? -1 : 0;
}

/* The version of the current revision, made when there is none. An update makes another one for another description
 * (AWS, 2025); PublishStateMachineVersion does not look at it (its documentation). */
static int version_publish(struct turn *t, struct machine_row *m, const char *description, bool update,
			   const char **arn, int64_t *created_ms, struct error *err)
{
	struct version_row v;
	const char *current = m->revision ? m->revision : "INITIAL";
	const char *last = arena_printf(turn_arena(t), "%s:%lld", m->arn, (long long)m->version);
	int rc = m->version ? version_find(turn_db(t), turn_arena(t), last, &v, err) : 0;
	if (rc < 0)
		return -1;
	if (created_ms)
		*created_ms = turn_now_ms(t);
	if (!rc || strcmp(v.revision ? v.revision : "INITIAL", current) != 0 ||
	    (update && description && !same_text(v.description, description)))
		return version_add(t, m, description, arn, err);
	*arn = v.arn;
	if (created_ms)
		*created_ms = v.created_ms;
	return 0;
}

COMMAND(api_version_publish)
{
	struct machine_row m;
	const char *arn = json_get_text(in, "stateMachineArn"), *revision = json_get_text(in, "revisionId"), *version;
	int64_t created_ms;
	if (arn_check(str_from(arn), "stateMachine", err) < 0 ||
	    machine_get(turn_db(t), turn_arena(t), arn, &m, err) < 0)
		return -1;
	const char *current = m.revision ? m.revision : "INITIAL";
	if (revision && strcmp(revision, current) != 0)
		return error_aws(err, "ConflictException",
				 "Failed to publish the State Machine version for revision %s. The current State "
				 "Machine revision is %s.",
				 revision, current);
	if (version_publish(t, &m, json_get_text(in, "description"), false, &version, &created_ms, err) < 0)
		return -1;
	*out = json_pack("{s:s}", "stateMachineVersionArn", version);
	json_set_real(*out, "creationDate", (double)created_ms / 1000.0);
	return 0;
}

/* ---- create ---- */

/* What an update gives is another configuration than the one that is there; one never set is the plain one. */
static bool differs(const char *want, const char *have, const char *plain)
{
	CLEANUP_JSON json_t *a = json_column(want);
	CLEANUP_JSON json_t *b = json_column(have ? have : plain);
	return want && !json_equal(a, b);
}

static int create_again(struct call *c, struct turn *t, const json_t *in, const struct machine_row *m,
			const struct wanted *w, json_t **out, struct error *err)
{
	const char *type = json_get_text(in, "type");
	bool publish = json_get_bool(in, "publish", false);
	if (strcmp(m->status, "DELETING") == 0)
		return error_aws(err, "StateMachineDeleting", "State Machine Deleting: '%s'", m->arn);
	if (!same_text(m->hash, w->hash) || strcmp(m->type, type ? type : "STANDARD") != 0 ||
	    differs(w->logging ? w->logging : no_logging, m->logging, no_logging) ||
	    differs(w->tracing ? w->tracing : no_tracing, m->tracing, no_tracing) ||
	    differs(w->encryption ? w->encryption : no_encryption, m->encryption, no_encryption) ||
	    publish != (m->version > 0))
		return error_aws(err, "StateMachineAlreadyExists", "State Machine Already Exists: '%s'", m->arn);
	*out = json_pack("{s:s}", "stateMachineArn", m->arn);
	json_set_real(*out, "creationDate", (double)m->created_ms / 1000.0);
	if (publish)
		json_set_text(*out, "stateMachineVersionArn", arena_printf(turn_arena(t), "%s:1", m->arn));
	return 0;
}

int machine_create(struct call *c, struct turn *t, json_t *in, const struct machine_verdict *v, json_t **out,
		   struct error *err)
{
	struct states *s = c->service_ctx;
	struct arena *a = turn_arena(t);
	struct machine_row m;
	struct wanted w;
	struct str name = json_get_str(in, "name");
	const char *type = json_get_text(in, "type"), *version = NULL;
	bool publish = json_get_bool(in, "publish", false);
	type = type ? type : "STANDARD";
	if (name_check(name, err) < 0)
		return -1;
	if (json_get(in, "versionDescription") && !publish)
		return error_aws(err, "ValidationException",
				 "Version description can only be set when publish is true");
	if (wanted_read(s, a, in, is_express(in), v, &w, err) < 0)
		return -1;
	const char *arn = states_arn(s, a, "stateMachine", arena_strdup(a, name));
	int rc = machine_find(turn_db(t), a, arn, &m, err);
	if (rc != 0)
		return rc < 0 ? -1 : create_again(c, t, in, &m, &w, out, err);
	int64_t now = turn_now_ms(t);
	if (definition_put(turn_db(t), w.hash, w.definition, err) < 0)
		return -1;
	if (db_exec(turn_db(t), err,
		    "INSERT INTO states_machine(arn, name, type, role, hash, revision, status, logging, tracing, "
		    "encryption, created_ms, updated_ms, "
		    "version) VALUES(?, ?, ?, ?, ?, NULL, 'ACTIVE', ?, ?, ?, ?, ?, 0)",
		    "sSssssssii", arn, name, type, w.role, w.hash, w.logging, w.tracing, w.encryption, now, now) < 0)
		return -1;
	if (machine_find(turn_db(t), a, arn, &m, err) < 0 || tags_put(turn_db(t), arn, json_get(in, "tags"), err) < 0)
		return -1;
	if (publish && version_add(t, &m, json_get_text(in, "versionDescription"), &version, err) < 0)
		return -1;
	*out = json_pack("{s:s}", "stateMachineArn", arn);
	json_set_real(*out, "creationDate", (double)now / 1000.0);
	json_set_text(*out, "stateMachineVersionArn", version);
	return 0;
}

/* ---- update, delete ---- */

static int machine_update(struct call *c, struct turn *t, json_t *in, const struct machine_verdict *v, json_t **out,
			  struct error *err)
{
	struct states *s = c->service_ctx;
	struct arena *a = turn_arena(t);
	struct machine_row m;
	struct wanted w;
	const char *arn = json_get_text(in, "stateMachineArn"), *version = NULL;
	if (arn_check(str_from(arn), "stateMachine", err) < 0 || machine_get(turn_db(t), a, arn, &m, err) < 0)
		return -1;
	if (!json_get(in, "definition") && !json_get(in, "roleArn") && !json_get(in, "loggingConfiguration") &&
	    !json_get(in, "tracingConfiguration") && !json_get(in, "encryptionConfiguration"))
		return error_aws(err, "MissingRequiredParameter",
				 "Either the definition, the role ARN, the LoggingConfiguration, or the "
				 "TracingConfiguration must be specified");
	if (strcmp(m.status, "DELETING") == 0)
		return error_aws(err, "StateMachineDeleting", "State Machine Deleting: '%s'", arn);
	if (wanted_read(s, a, in, m.express, v, &w, err) < 0)
		return -1;
	if (w.hash && definition_put(turn_db(t), w.hash, w.definition, err) < 0)
		return -1;
	bool changed = (w.hash && strcmp(w.hash, m.hash) != 0) || (w.role && strcmp(w.role, m.role) != 0);
	changed = changed || differs(w.logging, m.logging, no_logging) || differs(w.tracing, m.tracing, no_tracing) ||
		  differs(w.encryption, m.encryption, no_encryption);
	m.hash = w.hash ? w.hash : m.hash;
	m.role = w.role ? w.role : m.role;
	m.logging = w.logging ? w.logging : m.logging;
	m.tracing = w.tracing ? w.tracing : m.tracing;
	m.encryption = w.encryption ? w.encryption : m.encryption;
	m.revision = changed ? turn_uuid(t) : m.revision;
	int64_t now = turn_now_ms(t);
	if (db_exec(turn_db(t), err,
		    "UPDATE states_machine SET hash=?, role=?, logging=?, tracing=?, encryption=?, revision=?, "
		    "updated_ms=? WHERE arn=?",
		    "ssssssis", m.hash, m.role, m.logging, m.tracing, m.encryption, m.revision, now, arn) < 0)
		return -1;
	if (json_get_bool(in, "publish", false) &&
	    version_publish(t, &m, json_get_text(in, "versionDescription"), true, &version, NULL, err) < 0)
		return -1;
	*out = json_object();
	json_set_text(*out, "revisionId", m.revision);
	json_set_real(*out, "updateDate", (double)now / 1000.0);
	json_set_text(*out, "stateMachineVersionArn", version);
	return 0;
}

/* ---- the check before the turn ---- */

struct checked {
	struct call *c;
	json_t *in, *out;
	struct machine_verdict verdict;
	int (*write)(struct call *c, struct turn *t, json_t *in, const struct machine_verdict *v, json_t **out,
		     struct error *err);
};

static int checked_run(struct turn *t, void *arg, struct error *err)
{
	struct checked *k = arg;
	json_decref(k->out);
	k->out = NULL;
	return k->write(k->c, t, k->in, &k->verdict, &k->out, err) < 0 ? -1 : wire_commit(k->c, t, k->out, err);
}

static void checked_done(void *arg, int rc, struct error *err)
{
	struct checked *k = arg;
	json_t *out = k->out;
	error_release(&k->verdict.err);
	json_decref(k->in); /* before the answer: then who called releases it, too */
	if (rc < 0) {
		json_decref(out);
		out = NULL;
	}
	wire_answer(k->c, rc, out, err); /* k goes with it */
}

static void checked_write(struct call *c, json_t *in, bool known, bool express,
			  int (*write)(struct call *c, struct turn *t, json_t *in, const struct machine_verdict *v,
				       json_t **out, struct error *err))
{
	struct checked *k = ARENA_NEW(c->arena, struct checked);
	struct str definition = json_get_str(in, "definition");
	*k = (struct checked){ .c = c, .in = json_incref(in), .write = write };
	if (known && definition.ptr)
		verdict_make(c->service_ctx, c->arena, definition, express, &k->verdict);
	engine_submit(c->engine, checked_run, checked_done, k);
}

static void create_call(struct call *c, json_t *in)
{
	checked_write(c, in, true, is_express(in), machine_create);
}

/* The type is that of the machine; one that is not there is a matter of the turn. */
static void update_call(struct call *c, json_t *in)
{
	struct machine_row m = { 0 };
	struct store *store = engine_store(c->engine);
	struct db *db = store_read_begin(store, NULL);
	bool known = db && machine_find(db, c->arena, json_get_text(in, "stateMachineArn"), &m, NULL) > 0;
	if (db)
		store_read_end(store, db);
	checked_write(c, in, known, m.express, machine_update);
}

/* On this thread, or on one for checks when the definition has expressions, which may take long. */
static void call_checked(struct call *c, json_t *in, wire_async fn)
{
	struct states *s = c->service_ctx;
	if (has_expressions(json_get_str(in, "definition")))
		work_add(s->checks, deferred_run, call_defer(c, in, fn));
	else
		fn(c, in);
}

ASYNC(api_machine_create)
{
	call_checked(c, in, create_call);
}

ASYNC(api_machine_update)
{
	call_checked(c, in, update_call);
}

COMMAND(api_machine_delete)
{
	struct machine_row m;
	struct arena *a = turn_arena(t);
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *arn = json_get_text(in, "stateMachineArn");
	if (arn_check(str_from(arn), "stateMachine", err) < 0)
		return -1;
	int rc = machine_find(turn_db(t), a, arn, &m, err);
	*out = json_object();
	if (rc <= 0)
		return rc;
	rc = db_row(turn_db(t), &rows, err, "SELECT 1 FROM states_execution WHERE machine=? AND status='RUNNING'", "s",
		    arn);
	rows_done(&rows);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return machine_erase(turn_db(t), arn, err);
	return db_exec(turn_db(t), err, "UPDATE states_machine SET status='DELETING' WHERE arn=?", "s", arn) < 0 ? -1
														 : 0;
}

/* ---- read ---- */

static void show_logging(json_t *o, const char *logging)
{
	json_object_set_new(o, "loggingConfiguration", json_column(logging ? logging : no_logging));
}

static int show_definition(struct states *s, struct db *db, struct arena *a, json_t *o, const char *hash,
			   struct error *err)
{
	struct str text = definition_get(db, a, hash, err);
	if (!text.ptr)
		return -1;
	json_object_set_new(o, "definition", json_stringn(text.ptr, text.len));
	struct asl_machine *m = machine_take(s, db, hash, err);
	if (!m)
		return -1;
	json_t *refs = asl_variable_references(m);
	if (refs)
		json_object_set_new(o, "variableReferences", refs);
	machine_give(s, hash, m);
	return 0;
}

static void show_extras(json_t *o, const char *logging, const char *tracing, const char *encryption,
			const char *revision)
{
	show_logging(o, logging);
	json_object_set_new(o, "tracingConfiguration", json_column(tracing ? tracing : no_tracing));
	json_object_set_new(o, "encryptionConfiguration", json_column(encryption ? encryption : no_encryption));
	json_set_text(o, "revisionId", revision);
}

static bool metadata_only(const json_t *in)
{
	const char *included = json_get_text(in, "includedData");
	return included && strcmp(included, "METADATA_ONLY") == 0;
}

QUERY(api_machine_describe)
{
	struct states *s = c->service_ctx;
	struct machine_row m;
	struct version_row v;
	const char *arn = json_get_text(in, "stateMachineArn"), *hash;
	if (arn_check(str_from(arn), "stateMachine", err) < 0)
		return -1;
	int rc = version_find(db, c->arena, arn, &v, err);
	if (rc < 0 || machine_get(db, c->arena, rc ? v.machine : arn, &m, err) < 0)
		return -1;
	json_t *o = *out = json_object();
	json_set_text(o, "stateMachineArn", arn);
	json_set_text(o, "name", m.name);
	json_set_text(o, "status", m.status);
	json_set_text(o, "type", m.type);
	json_set_text(o, "roleArn", rc ? v.role : m.role);
	json_set_real(o, "creationDate", (double)(rc ? v.created_ms : m.created_ms) / 1000.0);
	hash = rc ? v.hash : m.hash;
	if (rc)
		json_set_text(o, "description", v.description);
	show_extras(o, rc ? v.logging : m.logging, rc ? v.tracing : m.tracing, rc ? v.encryption : m.encryption,
		    rc ? v.revision : m.revision);
	return metadata_only(in) ? 0 : show_definition(s, db, c->arena, o, hash, err);
}

QUERY(api_machine_for_execution)
{
	struct states *s = c->service_ctx;
	struct execution_row x;
	struct machine_row m;
	const char *arn = json_get_text(in, "executionArn");
	if (arn_check(str_from(arn), "execution", err) < 0 || execution_get(db, c->arena, arn, &x, err) < 0)
		return -1;
	int rc = machine_find(db, c->arena, x.machine, &m, err);
	if (rc < 0)
		return -1;
	json_t *o = *out = json_object();
	struct states_arn parts;
	arn_split(str_from(x.machine), &parts);
	json_set_text(o, "stateMachineArn", x.machine);
	json_set_text(o, "name", rc ? m.name : arena_strdup(c->arena, parts.rest));
	json_set_text(o, "roleArn", x.role);
	json_set_text(o, "mapRunArn", x.map_run);
	json_set_text(o, "label", x.label);
	json_set_real(o, "updateDate", (double)(rc ? m.updated_ms : x.start_ms) / 1000.0);
	show_extras(o, x.logging, rc ? m.tracing : NULL, rc ? m.encryption : NULL, x.revision);
	return metadata_only(in) ? 0 : show_definition(s, db, c->arena, o, x.hash, err);
}

QUERY(api_machine_list)
{
	struct page p;
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc;
	if (page_open(c->arena, in, 100, &p, err) < 0)
		return -1;
	json_t *list = json_array();
	*out = json_pack("{s:o}", "stateMachines", list);
	if (db_query(db, &rows, err,
		     "SELECT arn, name, type, created_ms FROM states_machine WHERE arn>? ORDER BY arn LIMIT ?", "si",
		     p.key, p.limit + 1) < 0)
		return -1;
	const char *last = "";
	while ((rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(list) == p.limit) {
			page_more(*out, 0, last);
			break;
		}
		json_t *o = json_object();
		last = arena_strdup(c->arena, rows_str(&rows, 0));
		json_set_text(o, "stateMachineArn", last);
		json_set_text(o, "name", rows_str(&rows, 1).ptr);
		json_set_text(o, "type", rows_str(&rows, 2).ptr);
		json_set_real(o, "creationDate", (double)rows_int(&rows, 3) / 1000.0);
		json_array_append_new(list, o);
	}
	return rc < 0 ? -1 : 0;
}

enum { MOST_DIAGNOSTICS = 100 };

static void validate_call(struct call *c, json_t *in)
{
	struct states *s = c->service_ctx;
	const char *severity = json_get_text(in, "severity");
	struct asl_diagnostics d = { .arena = c->arena,
				     .jsonata = s->jsonata,
				     .warnings = severity && strcmp(severity, "WARNING") == 0 };
	struct asl_machine *m = NULL;
	int64_t most = json_get_int(in, "maxResults", 0);
	int rc = asl_parse(json_get_str(in, "definition"), is_express(in), &d, &m);
	asl_machine_free(m);
	json_t *list = json_array();
	most = most > 0 ? most : MOST_DIAGNOSTICS; /* 0 is the default */
	for (size_t i = 0; i < d.count && (int64_t)i < most; i++) {
		const struct asl_diagnostic *x = &d.items[i];
		json_t *o = json_object();
		json_set_text(o, "severity", x->severity);
		json_set_text(o, "code", x->code);
		json_set_text(o, "message", x->message);
		json_set_text(o, "location", x->location);
		json_array_append_new(list, o);
	}
	json_t *out = json_pack("{s:s,s:o,s:b}", "result", rc < 0 ? "FAIL" : "OK", "diagnostics", list, "truncated",
				(int64_t)d.count > most);
	wire_answer(c, 0, out, NULL);
}

ASYNC(api_machine_validate)
{
	call_checked(c, in, validate_call);
}
