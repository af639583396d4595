/* common.c - what several operations do alike: names that are taken, what is in the way of a deletion, quotas and
 * sizes. Source: IAM user guide, "IAM and AWS STS quotas". */
#include "iam/room.h"

enum { MANAGED_MAX = 6144, TRUST_MAX = 2048 };

int iam_taken(struct error *why, struct error *err, const char *before, struct str name, const char *after)
{
	if (!error_is(why, "conflict"))
		return error_move(err, why);
	return error_aws(err, "EntityAlreadyExists", "%s%.*s%s", before, STR_ARG(name), after);
}

int iam_check_ties(struct db *db, struct str name, const struct iam_tie *ties, struct error *err)
{
	for (; ties->sql; ties++) {
		CLEANUP_ROWS struct rows rows = { 0 };
		int tied = db_row(db, &rows, err, ties->sql, "S", name);
		if (tied)
			return tied < 0 ? -1 : error_aws(err, "DeleteConflict", "Cannot delete entity, %s", ties->text);
	}
	return 0;
}

int iam_check_quota(struct db *db, const char *sql, const char *text, const char *quota, int64_t max, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_row(db, &rows, err, sql, "s", text) < 0)
		return -1;
	return rows_int(&rows, 0) < max
		       ? 0
		       : error_aws(err, "LimitExceeded", "Cannot exceed quota for %s: %lld", quota, (long long)max);
}

int64_t iam_document_size(struct str document)
{
	int64_t n = 0;
	for (size_t i = 0; i < document.len; i++)
		n += !strchr(" \t\r\n", document.ptr[i]);
	return n;
}

int iam_check_managed(struct str document, struct error *err)
{
	if (iam_check_document(document, POLICY_IDENTITY, err) < 0)
		return -1;
	return iam_document_size(document) <= MANAGED_MAX
		       ? 0
		       : error_aws(err, "LimitExceeded", "Cannot exceed quota for PolicySize: %d", MANAGED_MAX);
}

int iam_check_trust(struct str document, struct error *err)
{
	if (iam_check_document(document, POLICY_TRUST, err) < 0)
		return -1;
	return iam_document_size(document) <= TRUST_MAX
		       ? 0
		       : error_aws(err, "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: %d", TRUST_MAX);
}

int iam_rename_owner(struct turn *t, const char *kind, struct str from, struct str to, struct error *err)
{
	static const char *const updates[] = { "UPDATE iam_inline SET owner=? WHERE owner=?",
					       "UPDATE iam_attached SET owner=? WHERE owner=?",
					       "UPDATE iam_session SET owner=? WHERE owner=?" };
	const char *old = arena_printf(turn_arena(t), "%s/%.*s", kind, STR_ARG(from));
	const char *new = arena_printf(turn_arena(t), "%s/%.*s", kind, STR_ARG(to));
	for (size_t n = 0; n < sizeof(updates) / sizeof(*updates); n++)
		if (db_exec(turn_db(t), err, updates[n], "ss", new, old) < 0)
			return -1;
	return 0;
}
