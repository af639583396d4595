/* ssm.c - see ssm.h.
 *
 * DESIGN: one row a parameter version; the newest is current. Values lie in the store's file (mode 0600), SecureString
 * ones too: encryption at rest is the disk's. Source: SSM API reference; limits from the service model. */
#include "ssm/ssm.h"

#include "ssm/filter.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

struct ssm {
	const char *account, *region;
	struct wire_service service;
};

enum { PAGE = 10, VALUE_MAX = 4096, ADVANCED_MAX = 8192 };

const struct store_migration ssm_migrations[] = {
	{ "ssm", 1,
	  "CREATE TABLE ssm_parameter(name TEXT NOT NULL, version INTEGER NOT NULL, type TEXT NOT NULL, value TEXT NOT "
	  "NULL, description TEXT, key_id TEXT, pattern TEXT, tier TEXT,"
	  " data_type TEXT, modified_ms INTEGER NOT NULL, user TEXT, PRIMARY KEY(name, version)) WITHOUT ROWID;" },
	{ "ssm", 2, "ALTER TABLE ssm_parameter ADD COLUMN tags TEXT" },
	/* values of 8 KiB do not belong into the tree of the keys: to find one, SQLite would read its neighbours whole
	 */
	{ "ssm", 3,
	  "CREATE TABLE ssm_new(name TEXT NOT NULL, version INTEGER NOT NULL, type TEXT NOT NULL, value TEXT NOT NULL, "
	  "description TEXT, key_id TEXT, pattern TEXT, tier TEXT, data_type TEXT, modified_ms INTEGER NOT NULL, user "
	  "TEXT, "
	  "tags TEXT, PRIMARY KEY(name, version));"
	  "INSERT INTO ssm_new SELECT name, version, type, value, description, key_id, pattern, tier, data_type, "
	  "modified_ms, "
	  "user, tags FROM ssm_parameter;"
	  "DROP TABLE ssm_parameter;"
	  "ALTER TABLE ssm_new RENAME TO ssm_parameter;" },
	{ 0 },
};

#define CURRENT "version = (SELECT max(p2.version) FROM ssm_parameter p2 WHERE p2.name = p.name)"

static int not_found(struct error *err, struct str name)
{
	return error_aws(err, "ParameterNotFound", "Parameter %.*s not found.", STR_ARG(name));
}

/* "arn:aws:ssm:region:account:parameter/name" -> "/name" or "name"; "name:3" -> version 3. */
static struct str split_name(struct str name, int64_t *version)
{
	*version = 0;
	if (str_starts(name, STR("arn:"))) {
		ptrdiff_t at = str_find(name, STR(":parameter/"));
		name = at < 0 ? name : str_skip(name, (size_t)at + 11);
		/* A hierarchical name keeps its leading slash in the ARN only once. */
		if (at >= 0 && str_find_char(name, '/') >= 0)
			name = str_of(name.ptr - 1, name.len + 1);
	}
	ptrdiff_t colon = str_find_char(name, ':');
	if (colon > 0 && str_to_i64(str_skip(name, (size_t)colon + 1), version))
		name = str_head(name, (size_t)colon);
	return name;
}

static const char *columns = "SELECT p.name, p.version, p.type, p.value, p.modified_ms, p.data_type, p.description, "
			     "p.tier, p.user, p.key_id, p.tags FROM ssm_parameter p WHERE ";

static int find(struct db *db, struct arena *a, struct str wanted, struct rows *rows, struct error *err)
{
	int64_t version;
	struct str name = split_name(wanted, &version);
	if (version)
		return db_row(db, rows, err, arena_printf(a, "%s p.name=? AND p.version=?", columns), "Si", name,
			      version);
	return db_row(db, rows, err, arena_printf(a, "%s p.name=? AND " CURRENT, columns), "S", name);
}

static json_t *parameter(struct ssm *s, struct rows *rows)
{
	struct str name = rows_str(rows, 0);
	return json_pack("{s:s, s:s, s:s, s:I, s:f, s:o, s:s}", "Name", name.ptr, "Type", rows_str(rows, 2).ptr,
			 "Value", rows_str(rows, 3).ptr, "Version", (json_int_t)rows_int(rows, 1), "LastModifiedDate",
			 (double)rows_int(rows, 4) / 1000, "ARN",
			 json_sprintf("arn:aws:ssm:%s:%s:parameter%s%s", s->region, s->account,
				      name.ptr[0] == '/' ? "" : "/", name.ptr),
			 "DataType", rows_null(rows, 5) ? "text" : rows_str(rows, 5).ptr);
}

const char *ssm_value(struct db *db, struct arena *a, const char *name_or_arn, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = find(db, a, str_from(name_or_arn), &rows, err);
	if (rc == 0)
		not_found(err, str_from(name_or_arn));
	return rc == 1 ? arena_strdup(a, rows_str(&rows, 3)) : NULL;
}

static int put_parameter(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str name = json_get_str(in, "Name"), value = json_get_str(in, "Value");
	const char *type = json_get_text(in, "Type"), *tier = json_get_text(in, "Tier");
	json_t *tags = json_get(in, "Tags");
	int rc = find(turn_db(t), c->arena, name, &rows, err);
	if (rc < 0)
		return rc;
	int64_t version = rc ? rows_int(&rows, 1) + 1 : 1;
	if (rc && !json_get_bool(in, "Overwrite", false))
		return error_aws(err, "ParameterAlreadyExists",
				 "The parameter already exists. To overwrite this value, set the overwrite option in "
				 "the request to true.");
	if (rc && json_array_size(tags))
		return error_aws(
			err, "ValidationException",
			"Invalid request: tags and overwrite can't be used together. To create a parameter with "
			"tags, please remove overwrite flag. To update tags for an existing parameter, please use "
			"AddTagsToResource or RemoveTagsFromResource.");
	const char *kept = tags ? json_text(c->arena, tags).ptr : NULL;
	if (rc && !rows_null(&rows, 10))
		kept = arena_strdup(c->arena, rows_str(&rows, 10));
	if (rc && !type)
		type = arena_strdup(c->arena, rows_str(&rows, 2));
	rows_done(&rows);
	if (!type)
		return error_aws(err, "ValidationException",
				 "A parameter type is required when you create a parameter.");
	bool advanced = tier && strcmp(tier, "Advanced") == 0;
	if (value.len > (advanced ? ADVANCED_MAX : VALUE_MAX))
		return error_aws(
			err, "ValidationException",
			"Standard tier parameters support a maximum parameter value of %d characters. To create a "
			"larger parameter value, upgrade the parameter to use the advanced-parameter tier.",
			VALUE_MAX);
	if (db_exec(turn_db(t), err,
		    "INSERT INTO ssm_parameter(name, version, type, value, description, key_id, pattern, tier, "
		    "data_type, modified_ms, user, tags) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
		    "SisSsssssiss", name, version, type, value, json_get_text(in, "Description"),
		    json_get_text(in, "KeyId"), json_get_text(in, "AllowedPattern"), tier,
		    json_get_text(in, "DataType"), turn_now_ms(t), c->who->arn, kept) < 0)
		return -1;
	*out = json_pack("{s:I, s:s}", "Version", (json_int_t)version, "Tier", advanced ? "Advanced" : "Standard");
	return 0;
}

static int get_parameter(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str name = json_get_str(in, "Name");
	int rc = find(db, c->arena, name, &rows, err);
	if (rc <= 0)
		return rc < 0 ? rc : not_found(err, name);
	*out = json_pack("{s:o}", "Parameter", parameter(c->service_ctx, &rows));
	return 0;
}

static int get_parameters(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	json_t *found = json_array(), *invalid = json_array(), *name;
	size_t i;
	*out = json_pack("{s:o, s:o}", "Parameters", found, "InvalidParameters", invalid);
	json_array_foreach (json_get(in, "Names"), i, name) {
		CLEANUP_ROWS struct rows rows = { 0 };
		int rc = find(db, c->arena, json_str(name), &rows, err);
		if (rc < 0)
			return rc;
		if (rc)
			json_array_append_new(found, parameter(c->service_ctx, &rows));
		else
			json_array_append(invalid, name);
	}
	return 0;
}

/* The key of a SecureString; STR_NULL for other types. */
static struct str key_of(struct rows *rows)
{
	if (!str_eqz(rows_str(rows, 2), "SecureString"))
		return STR_NULL;
	return rows_null(rows, 9) ? STR("alias/aws/ssm") : rows_str(rows, 9);
}

static bool wanted(json_t *in, struct rows *rows)
{
	CLEANUP_JSON json_t *tags = rows_null(rows, 10) ? NULL : json_parse(rows_str(rows, 10), NULL);
	const struct ssm_facts facts = {
		.name = rows_str(rows, 0),
		.type = rows_str(rows, 2),
		.key_id = key_of(rows),
		.tier = rows_null(rows, 7) ? STR("Standard") : rows_str(rows, 7),
		.data_type = rows_null(rows, 5) ? STR("text") : rows_str(rows, 5),
		.tags = tags,
	};
	return ssm_filters_pass(in, &facts);
}

/* Rows after the token (a name) into `list`; the token of the next page into out. Path: STR_NULL for all. */
static int page(struct call *c, struct db *db, json_t *in, json_t *out, json_t *list, struct str path, bool recursive,
		json_t *(*make)(struct ssm *, struct rows *), struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str token = json_get_str(in, "NextToken"), last = STR_NULL;
	int64_t limit = json_get_int(in, "MaxResults", PAGE);
	int rc = db_query(db, &rows, err,
			  arena_printf(c->arena, "%s p.name > ? AND " CURRENT " ORDER BY p.name", columns), "S",
			  token.ptr ? token : STR(""));
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		struct str name = rows_str(&rows, 0);
		if ((path.ptr && (name.ptr[0] != '/' || !ssm_path_holds(path, recursive, name))) || !wanted(in, &rows))
			continue;
		if ((int64_t)json_array_size(list) == limit) {
			json_object_set_new(out, "NextToken", json_stringn(last.ptr, last.len));
			return 0;
		}
		last = arena_str(c->arena, name);
		json_array_append_new(list, make(c->service_ctx, &rows));
	}
	return rc;
}

static int get_parameters_by_path(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	json_t *list = json_array();
	struct str path = json_get_str(in, "Path");
	*out = json_pack("{s:o}", "Parameters", list);
	if (path.len == 0 || path.ptr[0] != '/')
		return error_aws(err, "ValidationException",
				 "The parameter doesn't meet the parameter name requirements. The parameter name must "
				 "begin with a forward slash \"/\".");
	if (ssm_filters_check(in, true, err) < 0)
		return -1;
	return page(c, db, in, *out, list, path, json_get_bool(in, "Recursive", false), parameter, err);
}

static json_t *metadata(struct ssm *s, struct rows *rows)
{
	json_t *one = parameter(s, rows);
	json_object_del(one, "Value");
	json_set_text(one, "Description", rows_str(rows, 6).ptr);
	json_set_text(one, "Tier", rows_null(rows, 7) ? "Standard" : rows_str(rows, 7).ptr);
	json_set_text(one, "LastModifiedUser", rows_str(rows, 8).ptr);
	json_set_text(one, "KeyId", key_of(rows).ptr);
	return one;
}

static int describe_parameters(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	json_t *list = json_array();
	if (ssm_filters_check(in, false, err) < 0)
		return -1;
	*out = json_pack("{s:o}", "Parameters", list);
	return page(c, db, in, *out, list, STR_NULL, true, metadata, err);
}

static int delete_parameter(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str name = json_get_str(in, "Name");
	int rc = db_exec(turn_db(t), err, "DELETE FROM ssm_parameter WHERE name=?", "S", name);
	return rc < 0 ? rc : rc == 0 ? not_found(err, name) : 0;
}

static int delete_parameters(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	json_t *gone = json_array(), *invalid = json_array(), *name;
	size_t i;
	*out = json_pack("{s:o, s:o}", "DeletedParameters", gone, "InvalidParameters", invalid);
	json_array_foreach (json_get(in, "Names"), i, name) {
		int rc = db_exec(turn_db(t), err, "DELETE FROM ssm_parameter WHERE name=?", "S", json_str(name));
		if (rc < 0)
			return rc;
		json_array_append(rc ? gone : invalid, name);
	}
	return 0;
}

static const struct wire_op ops[] = {
	{ .name = "PutParameter", .command = put_parameter },
	{ .name = "GetParameter", .query = get_parameter },
	{ .name = "GetParameters", .query = get_parameters },
	{ .name = "GetParametersByPath", .query = get_parameters_by_path },
	{ .name = "DescribeParameters", .query = describe_parameters },
	{ .name = "DeleteParameter", .command = delete_parameter },
	{ .name = "DeleteParameters", .command = delete_parameters },
	{ 0 },
};

/* Service Authorization Reference, "AWS Systems Manager". */
static const struct wire_access access[] = {
	{ .operation = "PutParameter", .resource = "parameter/{Name}" },
	{ .operation = "GetParameter", .resource = "parameter/{Name}" },
	{ .operation = "GetParameters", .resource = "parameter/{Names}" },
	{ .operation = "GetParametersByPath",
	  .resource = "parameter/{Path}",
	  .keys = "ssm:Recursive={Recursive=false}" },
	{ .operation = "DescribeParameters" },
	{ .operation = "DeleteParameter", .resource = "parameter/{Name}" },
	{ .operation = "DeleteParameters", .resource = "parameter/{Names}" },
	{ .operation = NULL },
};

int ssm_new(struct engine *e, const char *account, const char *region, struct ssm **out, struct error *err)
{
	struct ssm *s = mem_calloc(1, sizeof(*s));
	*s = (struct ssm){ account,
			   region,
			   { .model = "ssm", .scope = "ssm", .ops = ops, .access = access, .ctx = s } };
	*out = s;
	return 0;
}

void ssm_free(struct ssm *s)
{
	free(s);
}

const struct wire_service *ssm_service(struct ssm *s)
{
	return &s->service;
}
