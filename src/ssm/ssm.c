/* ssm.c - see ssm.h.
 *
 * DESIGN: one row a parameter version; the newest is current, and a label is a row that names one. Values lie in the
 * store's file (mode 0600), SecureString ones too: encryption at rest is the disk's. Source: SSM API reference; limits
 * from the service model. */
#include "ssm/ssm.h"

#include "ssm/filter.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

struct ssm {
	const char *account, *region;
	struct wire_service service;
};

enum { PAGE = 10, HISTORY_PAGE = 50, VALUE_MAX = 4096, ADVANCED_MAX = 8192, LABELS_MAX = 10, TAGS_MAX = 50 };

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
	{ "ssm", 4,
	  "CREATE TABLE ssm_label(name TEXT NOT NULL, label TEXT NOT NULL, version INTEGER NOT NULL, "
	  "PRIMARY KEY(name, label)) WITHOUT ROWID;" },
	{ 0 },
};

#define CURRENT "version = (SELECT max(p2.version) FROM ssm_parameter p2 WHERE p2.name = p.name)"

static int not_found(struct error *err, struct str name)
{
	return error_aws(err, "ParameterNotFound", "Parameter %.*s not found.", STR_ARG(name));
}

/* "arn:aws:ssm:region:account:parameter/name" -> "/name" or "name"; "name:3" and "name:label": *selector is what stands
 * behind the colon, else STR_NULL. */
static struct str split_name(struct str name, struct str *selector)
{
	*selector = STR_NULL;
	if (str_starts(name, STR("arn:"))) {
		ptrdiff_t at = str_find(name, STR(":parameter/"));
		name = at < 0 ? name : str_skip(name, (size_t)at + 11);
		/* A hierarchical name keeps its leading slash in the ARN only once. */
		if (at >= 0 && str_find_char(name, '/') >= 0)
			name = str_of(name.ptr - 1, name.len + 1);
	}
	ptrdiff_t colon = str_find_char(name, ':');
	if (colon <= 0)
		return name;
	*selector = str_skip(name, (size_t)colon + 1);
	return str_head(name, (size_t)colon);
}

static int version_not_found(struct error *err, struct str version, struct str name)
{
	return error_aws(err, "ParameterVersionNotFound",
			 "Systems Manager could not find version %.*s of %.*s. Verify the version and try again.",
			 STR_ARG(version), STR_ARG(name));
}

static const char *columns = "SELECT p.name, p.version, p.type, p.value, p.modified_ms, p.data_type, p.description, "
			     "p.tier, p.user, p.key_id, p.tags, p.pattern FROM ssm_parameter p WHERE ";

/* 1 found, 0 not, < 0 a fault. */
static int find(struct db *db, struct arena *a, struct str wanted, struct rows *rows, struct error *err)
{
	int64_t version;
	struct str selector, name = split_name(wanted, &selector);
	if (str_to_i64(selector, &version))
		return db_row(db, rows, err, arena_printf(a, "%s p.name=? AND p.version=?", columns), "Si", name,
			      version);
	if (selector.ptr)
		return db_row(db, rows, err,
			      arena_printf(a,
					   "%s p.name=?1 AND p.version=(SELECT version FROM ssm_label WHERE name=?1 "
					   "AND label=?2)",
					   columns),
			      "SS", name, selector);
	return db_row(db, rows, err, arena_printf(a, "%s p.name=? AND " CURRENT, columns), "S", name);
}

/* As find; absence is an error that says what is missing: the parameter, or its version. */
static int need(struct db *db, struct arena *a, struct str wanted, struct rows *rows, struct error *err)
{
	int64_t version;
	struct str selector, name = split_name(wanted, &selector);
	int rc = find(db, a, wanted, rows, err);
	if (rc == 0 && selector.ptr) {
		CLEANUP_ROWS struct rows current = { 0 };
		int there = find(db, a, name, &current, err);
		if (there < 0)
			return there;
		if (there && str_to_i64(selector, &version))
			return version_not_found(err, selector, name);
		if (there)
			return error_aws(err, "ParameterVersionNotFound",
					 "Systems Manager could not find label %.*s for parameter %.*s. Verify the "
					 "label and try again.",
					 STR_ARG(selector), STR_ARG(name));
	}
	return rc == 0 ? not_found(err, wanted) : rc < 0 ? rc : 0;
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

/* With what chose the version. */
static json_t *selected(struct call *c, struct str wanted, struct rows *rows)
{
	struct str selector;
	json_t *one = parameter(c->service_ctx, rows);
	split_name(wanted, &selector);
	if (selector.ptr)
		json_set_text(one, "Selector", arena_printf(c->arena, ":%.*s", STR_ARG(selector)));
	return one;
}

const char *ssm_value(struct db *db, struct arena *a, const char *name_or_arn, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	return need(db, a, str_from(name_or_arn), &rows, err) < 0 ? NULL : arena_strdup(a, rows_str(&rows, 3));
}

/* A member of the request; where it has none, what the version before has in that column, if there is one. */
static const char *given_or_kept(struct arena *a, const json_t *in, const char *member, bool before, struct rows *rows,
				 int column)
{
	const char *given = json_get_text(in, member);
	return given || !before || rows_null(rows, column) ? given : arena_strdup(a, rows_str(rows, column));
}

static int put_parameter(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str name = json_get_str(in, "Name"), value = json_get_str(in, "Value");
	json_t *tags = json_get(in, "Tags");
	if (str_find_char(name, '/') > 0)
		return error_aws(err, "ValidationException", "Parameter name must be a fully qualified name.");
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
	const char *type = given_or_kept(c->arena, in, "Type", rc > 0, &rows, 2);
	const char *data_type = given_or_kept(c->arena, in, "DataType", rc > 0, &rows, 5);
	const char *description = given_or_kept(c->arena, in, "Description", rc > 0, &rows, 6);
	const char *tier = given_or_kept(c->arena, in, "Tier", rc > 0, &rows, 7);
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
		    "SisSsssssiss", name, version, type, value, description, json_get_text(in, "KeyId"),
		    json_get_text(in, "AllowedPattern"), tier, data_type, turn_now_ms(t), c->who->arn, kept) < 0)
		return -1;
	*out = json_pack("{s:I, s:s}", "Version", (json_int_t)version, "Tier", advanced ? "Advanced" : "Standard");
	return 0;
}

static int get_parameter(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str name = json_get_str(in, "Name");
	if (need(db, c->arena, name, &rows, err) < 0)
		return -1;
	*out = json_pack("{s:o}", "Parameter", selected(c, name, &rows));
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
			json_array_append_new(found, selected(c, json_str(name), &rows));
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

/* Which version of each parameter: the current one, or with a filter by label the newest that has one of the labels. */
static const char *version_of_each(struct call *c, const json_t *in, struct str *labels)
{
	size_t i;
	json_t *filter;
	*labels = STR("[]");
	json_array_foreach (json_get(in, "ParameterFilters"), i, filter) {
		if (!str_eqz(json_get_str(filter, "Key"), "Label"))
			continue;
		*labels = json_text(c->arena, json_get(filter, "Values"));
		return "version = (SELECT max(l.version) FROM ssm_label l WHERE l.name = p.name AND l.label IN "
		       "(SELECT value FROM json_each(?2)))";
	}
	return CURRENT " AND ?2 IS NOT NULL";
}

/* Rows after the token (a name) into `list`; the token of the next page into out. Path: STR_NULL for all. */
static int page(struct call *c, struct db *db, json_t *in, json_t *out, json_t *list, struct str path, bool recursive,
		json_t *(*make)(struct ssm *, struct rows *), struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str token = json_get_str(in, "NextToken"), last = STR_NULL;
	int64_t limit = json_get_int(in, "MaxResults", PAGE);
	struct str labels;
	const char *version = version_of_each(c, in, &labels);
	int rc = db_query(db, &rows, err,
			  arena_printf(c->arena, "%s p.name > ?1 AND %s ORDER BY p.name", columns, version), "SS",
			  token.ptr ? token : STR(""), labels);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		struct str name = rows_str(&rows, 0);
		if ((path.ptr && !ssm_path_holds(path, recursive, name)) || !wanted(in, &rows))
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
	if (rows_str(rows, 11).len)
		json_set_text(one, "AllowedPattern", rows_str(rows, 11).ptr);
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

static int labels_of(struct db *db, struct str name, int64_t version, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	*out = json_array();
	int rc = db_query(db, &rows, err, "SELECT label FROM ssm_label WHERE name=? AND version=? ORDER BY label", "Si",
			  name, version);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(*out, json_string(rows_str(&rows, 0).ptr));
	return rc;
}

static int get_parameter_history(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 }, current = { 0 };
	json_t *list = json_array(), *labels;
	struct str name = json_get_str(in, "Name");
	int64_t limit = json_get_int(in, "MaxResults", HISTORY_PAGE), after = 0;
	str_to_i64(json_get_str(in, "NextToken"), &after);
	*out = json_pack("{s:o}", "Parameters", list);
	if (need(db, c->arena, name, &current, err) < 0)
		return -1;
	int rc = db_query(db, &rows, err,
			  arena_printf(c->arena, "%s p.name=? AND p.version > ? ORDER BY p.version", columns), "Si",
			  name, after);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(list) == limit) {
			json_set_text(*out, "NextToken", arena_printf(c->arena, "%lld", (long long)after));
			return 0;
		}
		after = rows_int(&rows, 1);
		json_t *one = metadata(c->service_ctx, &rows);
		json_array_append_new(list, one);
		json_set_text(one, "Value", rows_str(&rows, 3).ptr);
		rc = labels_of(db, name, after, &labels, err);
		json_object_set_new(one, "Labels", labels);
	}
	return rc;
}

/* ---- labels ---- */

static bool label_ok(struct str label)
{
	static const char *const closed[] = { "aws", "ssm" };
	for (size_t i = 0; i < 2; i++)
		if (str_eq_nocase(str_head(label, label.len < 3 ? label.len : 3), str_from(closed[i])))
			return false;
	for (size_t i = 0; i < label.len; i++)
		if (!isalnum((unsigned char)label.ptr[i]) && !strchr("._-", label.ptr[i]))
			return false;
	return label.len && !isdigit((unsigned char)label.ptr[0]);
}

/* The parameter, and the version of it that the request names, or the current one. */
static int labelled_version(struct call *c, struct db *db, const json_t *in, struct str *name, int64_t *version,
			    struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str wanted = json_get_str(in, "Name");
	*version = json_get_int(in, "ParameterVersion", 0);
	if (*version)
		wanted = str_from(arena_printf(c->arena, "%.*s:%lld", STR_ARG(wanted), (long long)*version));
	if (need(db, c->arena, wanted, &rows, err) < 0)
		return -1;
	*name = arena_str(c->arena, rows_str(&rows, 0));
	*version = rows_int(&rows, 1);
	return 0;
}

static int label_version(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	json_t *invalid = json_array(), *label;
	struct str name;
	int64_t version;
	size_t i;
	*out = json_pack("{s:o}", "InvalidLabels", invalid);
	if (labelled_version(c, turn_db(t), in, &name, &version, err) < 0)
		return -1;
	json_array_foreach (json_get(in, "Labels"), i, label)
		if (!label_ok(json_str(label)))
			json_array_append(invalid, label);
		else if (db_exec(turn_db(t), err,
				 "INSERT INTO ssm_label(name, label, version) VALUES(?,?,?) ON CONFLICT(name, label) "
				 "DO UPDATE SET version=excluded.version",
				 "SSi", name, json_str(label), version) < 0)
			return -1;
	CLEANUP_JSON json_t *all = NULL;
	if (labels_of(turn_db(t), name, version, &all, err) < 0)
		return -1;
	if (json_array_size(all) > LABELS_MAX)
		return error_aws(err, "ParameterVersionLabelLimitExceeded",
				 "A parameter version can have maximum 10 labels. Move one or more labels to another "
				 "version and try again.");
	json_set_int(*out, "ParameterVersion", version);
	return 0;
}

static int unlabel_version(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	json_t *gone = json_array(), *invalid = json_array(), *label;
	struct str name;
	int64_t version;
	size_t i;
	*out = json_pack("{s:o, s:o}", "RemovedLabels", gone, "InvalidLabels", invalid);
	if (labelled_version(c, turn_db(t), in, &name, &version, err) < 0)
		return -1;
	json_array_foreach (json_get(in, "Labels"), i, label) {
		int rc = db_exec(turn_db(t), err, "DELETE FROM ssm_label WHERE name=? AND label=? AND version=?", "SSi",
				 name, json_str(label), version);
		if (rc < 0)
			return rc;
		json_array_append(rc ? gone : invalid, label);
	}
	return 0;
}

/* ---- deletion ---- */

/* With all versions and labels. How many versions there were. */
static int drop(struct turn *t, struct str name, struct error *err)
{
	if (db_exec(turn_db(t), err, "DELETE FROM ssm_label WHERE name=?", "S", name) < 0)
		return -1;
	return db_exec(turn_db(t), err, "DELETE FROM ssm_parameter WHERE name=?", "S", name);
}

static int delete_parameter(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str name = json_get_str(in, "Name");
	int rc = drop(t, name, err);
	return rc < 0 ? rc : rc == 0 ? not_found(err, name) : 0;
}

static int delete_parameters(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	json_t *gone = json_array(), *invalid = json_array(), *name;
	size_t i;
	*out = json_pack("{s:o, s:o}", "DeletedParameters", gone, "InvalidParameters", invalid);
	json_array_foreach (json_get(in, "Names"), i, name) {
		int rc = drop(t, json_str(name), err);
		if (rc < 0)
			return rc;
		json_array_append(rc ? gone : invalid, name);
	}
	return 0;
}

/* ---- tags ---- */

/* The parameter's name, the version that is current and its tags; only parameters have tags here. */
static int tagged(struct call *c, struct db *db, const json_t *in, struct str *name, int64_t *version, json_t **tags,
		  struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str selector;
	int rc = 0;
	*name = split_name(json_get_str(in, "ResourceId"), &selector);
	if (str_eqz(json_get_str(in, "ResourceType"), "Parameter") && !selector.ptr)
		rc = find(db, c->arena, *name, &rows, err);
	if (rc <= 0)
		return rc < 0 ? rc
			      : error_aws(err, "InvalidResourceId",
					  "The resource ID is not valid. Verify that you entered the correct ID and "
					  "try again.");
	*version = rows_int(&rows, 1);
	*tags = rows_null(&rows, 10) ? json_array() : json_parse(rows_str(&rows, 10), err);
	return *tags ? 0 : -1;
}

/* AddTagsToResource has Tags, RemoveTagsFromResource has TagKeys. */
static int change_tags(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_JSON json_t *tags = NULL;
	struct str name;
	int64_t version;
	if (tagged(c, turn_db(t), in, &name, &version, &tags, err) < 0)
		return -1;
	json_tags_put(tags, "Key", json_get(in, "Tags"));
	json_tags_remove(tags, "Key", json_get(in, "TagKeys"));
	if (json_array_size(tags) > TAGS_MAX)
		return error_aws(err, "TooManyTagsError", "A parameter can have at most %d tags.", TAGS_MAX);
	return db_exec(turn_db(t), err, "UPDATE ssm_parameter SET tags=? WHERE name=? AND version=?", "SSi",
		       json_text(c->arena, tags), name, version) < 0
		       ? -1
		       : 0;
}

static int list_tags(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	json_t *tags;
	struct str name;
	int64_t version;
	if (tagged(c, db, in, &name, &version, &tags, err) < 0)
		return -1;
	*out = json_pack("{s:o}", "TagList", tags);
	return 0;
}

static const struct wire_op ops[] = {
	{ .name = "PutParameter", .command = put_parameter },
	{ .name = "GetParameter", .query = get_parameter },
	{ .name = "GetParameters", .query = get_parameters },
	{ .name = "GetParametersByPath", .query = get_parameters_by_path },
	{ .name = "DescribeParameters", .query = describe_parameters },
	{ .name = "GetParameterHistory", .query = get_parameter_history },
	{ .name = "LabelParameterVersion", .command = label_version },
	{ .name = "UnlabelParameterVersion", .command = unlabel_version },
	{ .name = "DeleteParameter", .command = delete_parameter },
	{ .name = "DeleteParameters", .command = delete_parameters },
	{ .name = "AddTagsToResource", .command = change_tags },
	{ .name = "RemoveTagsFromResource", .command = change_tags },
	{ .name = "ListTagsForResource", .query = list_tags },
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
	{ .operation = "GetParameterHistory", .resource = "parameter/{Name}" },
	{ .operation = "LabelParameterVersion", .resource = "parameter/{Name}" },
	{ .operation = "UnlabelParameterVersion", .resource = "parameter/{Name}" },
	{ .operation = "AddTagsToResource", .resource = "parameter/{ResourceId}" },
	{ .operation = "RemoveTagsFromResource", .resource = "parameter/{ResourceId}" },
	{ .operation = "ListTagsForResource", .resource = "parameter/{ResourceId}" },
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
