/* api_version.c - the versions of managed policies.
 *
 * DESIGN: a policy has up to five texts, of which one counts; their numbers are never given again. AWS's own policies
 * have one, v1. Source: IAM user guide, "Versioning IAM policies". */
#include "iam/room.h"

enum { VERSIONS_MAX = 5 };

/* A policy of the account, as far as its versions need it. */
struct versioned {
	int64_t current, newest;
};

/* Absence is the error NoSuchEntity. */
static int need_policy(struct db *db, struct str arn, struct versioned *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT version, newest FROM iam_policy WHERE arn=?", "S", arn);
	if (rc <= 0)
		return rc < 0 ? -1 : iam_no_policy(arn, err);
	*out = (struct versioned){ rows_int(&rows, 0), rows_int(&rows, 1) };
	return 0;
}

/* "v3" is 3; 0 for what is no version. */
static int64_t number_of(struct str id)
{
	int64_t n = 0;
	return str_starts(id, STR("v")) && str_to_i64(str_skip(id, 1), &n) && n > 0 ? n : 0;
}

static int no_version(const json_t *in, struct error *err)
{
	return error_aws(err, "NoSuchEntity", "Policy %s version %s does not exist or is not attachable.",
			 json_get_text(in, "PolicyArn"), json_get_text(in, "VersionId"));
}

static json_t *version_json(int64_t number, int64_t current, int64_t created_ms)
{
	return json_pack("{s:o, s:b, s:f}", "VersionId", json_sprintf("v%lld", (long long)number), "IsDefaultVersion",
			 (int)(number == current), "CreateDate", iam_seconds(created_ms));
}

static int use_version(struct turn *t, struct str arn, int64_t number, struct error *err)
{
	return db_exec(turn_db(t), err, "UPDATE iam_policy SET version=?, updated_ms=? WHERE arn=?", "iiS", number,
		       turn_now_ms(t), arn) < 0
		       ? -1
		       : 0;
}

int iam_add_version(struct turn *t, struct str arn, int64_t number, struct str document, bool use, struct error *err)
{
	if (db_exec(turn_db(t), err,
		    "INSERT INTO iam_policy_version(arn, number, document, created_ms) VALUES(?,?,?,?)", "SiSi", arn,
		    number, document, turn_now_ms(t)) < 0 ||
	    db_exec(turn_db(t), err, "UPDATE iam_policy SET newest=?, updated_ms=? WHERE arn=?", "iiS", number,
		    turn_now_ms(t), arn) < 0)
		return -1;
	return use ? use_version(t, arn, number, err) : 0;
}

int iam_op_create_version(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str arn = json_get_str(in, "PolicyArn"), document = json_get_str(in, "PolicyDocument");
	struct versioned p = { 0 };
	CLEANUP_ROWS struct rows rows = { 0 };
	if (iam_policy_changeable(arn, err) < 0 || need_policy(turn_db(t), arn, &p, err) < 0 ||
	    iam_check_managed(document, err) < 0 ||
	    db_row(turn_db(t), &rows, err, "SELECT count(*) FROM iam_policy_version WHERE arn=?", "S", arn) < 0)
		return -1;
	if (rows_int(&rows, 0) >= VERSIONS_MAX)
		return error_aws(err, "LimitExceeded",
				 "A managed policy can have up to 5 versions. Before you create a new version, you "
				 "must delete an existing version.");
	bool now = json_get_bool(in, "SetAsDefault", false);
	if (iam_add_version(t, arn, p.newest + 1, document, now, err) < 0)
		return -1;
	*out = json_pack("{s:o}", "PolicyVersion",
			 version_json(p.newest + 1, now ? p.newest + 1 : p.current, turn_now_ms(t)));
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_delete_version(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str arn = json_get_str(in, "PolicyArn");
	int64_t number = number_of(json_get_str(in, "VersionId"));
	struct versioned p = { 0 };
	if (iam_policy_changeable(arn, err) < 0 || need_policy(turn_db(t), arn, &p, err) < 0)
		return -1;
	if (number == p.current)
		return error_aws(err, "DeleteConflict", "Cannot delete the default version of a policy.");
	int rc = db_exec(turn_db(t), err, "DELETE FROM iam_policy_version WHERE arn=? AND number=?", "Si", arn, number);
	return rc < 0 ? -1 : rc == 0 ? no_version(in, err) : 0;
}

int iam_op_set_version(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str arn = json_get_str(in, "PolicyArn");
	int64_t number = number_of(json_get_str(in, "VersionId"));
	struct versioned p = { 0 };
	CLEANUP_ROWS struct rows rows = { 0 };
	if (iam_policy_changeable(arn, err) < 0 || need_policy(turn_db(t), arn, &p, err) < 0)
		return -1;
	int rc = db_row(turn_db(t), &rows, err, "SELECT 1 FROM iam_policy_version WHERE arn=? AND number=?", "Si", arn,
			number);
	if (rc <= 0)
		return rc < 0 ? -1 : no_version(in, err);
	return use_version(t, arn, number, err) < 0 ? -1 : iam_policies_changed(iam_of(c), t, err);
}

int iam_op_get_version(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct str arn = json_get_str(in, "PolicyArn"), document;
	int64_t number = number_of(json_get_str(in, "VersionId")), created_ms = 0;
	struct versioned p = { 1, 1 };
	CLEANUP_ROWS struct rows rows = { 0 };
	const struct iam_managed *own = iam_managed_find(arn);
	if (own) {
		document = str_from(own->document);
		if (number != 1)
			return no_version(in, err);
	} else {
		int rc =
			need_policy(db, arn, &p, err) < 0
				? -1
				: db_row(db, &rows, err,
					 "SELECT document, created_ms FROM iam_policy_version WHERE arn=? AND number=?",
					 "Si", arn, number);
		if (rc <= 0)
			return rc < 0 ? -1 : no_version(in, err);
		document = rows_str(&rows, 0);
		created_ms = rows_int(&rows, 1);
	}
	json_t *version = version_json(number, p.current, created_ms);
	json_set_text(version, "Document", iam_encode_document(c->arena, document));
	*out = json_pack("{s:o}", "PolicyVersion", version);
	return 0;
}

json_t *iam_versions_of(struct db *db, struct arena *a, struct str arn, bool whole, struct error *err)
{
	const struct iam_managed *own = iam_managed_find(arn);
	struct versioned p = { 1, 1 };
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *list = json_array();
	if (own) {
		json_t *only = version_json(1, 1, 0);
		if (whole)
			json_set_text(only, "Document", iam_encode_document(a, str_from(own->document)));
		json_array_append_new(list, only);
		return list;
	}
	int rc = need_policy(db, arn, &p, err);
	if (rc == 0)
		rc = db_query(
			db, &rows, err,
			"SELECT number, created_ms, document FROM iam_policy_version WHERE arn=? ORDER BY number DESC",
			"S", arn);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		json_t *version = version_json(rows_int(&rows, 0), p.current, rows_int(&rows, 1));
		if (whole)
			json_set_text(version, "Document", iam_encode_document(a, rows_str(&rows, 2)));
		json_array_append_new(list, version);
	}
	return iam_list_end(list, rc);
}

int iam_op_list_versions(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct iam_page page = iam_page_of(in);
	CLEANUP_JSON json_t *all = iam_versions_of(db, c->arena, json_get_str(in, "PolicyArn"), false, err);
	json_t *list = json_array(), *version;
	size_t n;
	int64_t before = page.after.len ? number_of(page.after) : INT64_MAX;
	json_array_foreach (all, n, version)
		if (number_of(json_get_str(version, "VersionId")) < before &&
		    (int64_t)json_array_size(list) <= page.limit)
			json_array_append(list, version);
	*out = iam_page_out(&page, "Versions", list, "VersionId");
	return all ? 0 : -1;
}
