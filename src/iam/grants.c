/* grants.c - what is granted to a user or a role: its policies, parsed, and a cache of them.
 *
 * DESIGN: grants never change; they are counted, so that a question keeps its grants whatever happens to the cache.
 * Each transaction that changes users, roles or policies makes the number in iam_generation one larger, and tells the
 * cache at once; grants know the number of the snapshot that they were read from. The cache answers with grants of the
 * newest number only, so no reader with an older snapshot can bring old grants back, and a change counts from its
 * acknowledgement on.
 *
 * A key of grants is "user/<name>", "role/<name>", or "session/<access key>" for a session with policies of its own. */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "iam/room.h"

enum { GRANTS_MAX = 1024 };

void iam_grants_put(struct iam_grants *g)
{
	if (!g || atomic_fetch_sub(&g->refs, 1) > 1)
		return;
	for (size_t n = 0; n < g->count; n++) {
		policy_free(g->identity[n].policy);
		free(g->identity[n].id);
	}
	for (size_t n = 0; n < g->nsessions; n++)
		policy_free(g->sessions[n]);
	free(g->identity);
	free(g->sessions);
	policy_free(g->boundary);
	json_decref(g->tags);
	free(g->id);
	free(g->arn);
	free(g);
}

/* ---- reading ---- */

/* A text that was stored before texts were checked may be unreadable: it grants nothing, and is told. */
static void add_identity(struct iam_grants *g, struct str id, enum iam_source source, struct str text)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct policy *p = policy_parse(text, POLICY_IDENTITY, &why);
	if (!p) {
		log_warn("iam", "the policy `%.*s` of %s can't be evaluated: %s", STR_ARG(id), g->arn,
			 error_text(&why));
		return;
	}
	g->identity = mem_realloc(g->identity, (g->count + 1) * sizeof(*g->identity));
	g->identity[g->count++] = (struct iam_granted){ p, mem_strndup(id.ptr, id.len), source };
}

/* The owner himself, and the groups of a user: takes an owner and user_of(owner). */
#define OWNERS "(owner=? OR owner IN (SELECT 'group/' || group_name FROM iam_member WHERE user_name=?))"

static const char *user_of(const char *owner)
{
	return strncmp(owner, "user/", 5) == 0 ? owner + 5 : NULL;
}

static int read_inline(struct iam_grants *g, struct db *db, const char *owner, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_query(db, &rows, err, "SELECT name, document FROM iam_inline WHERE " OWNERS " ORDER BY owner, name",
			  "ss", owner, user_of(owner));
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		add_identity(g, rows_str(&rows, 0), IAM_SOURCE_INLINE, rows_str(&rows, 1));
	return rc;
}

int iam_policy_text(struct db *db, struct arena *a, struct str arn, struct str *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const struct iam_managed *own = iam_managed_find(arn);
	if (own) {
		*out = str_from(own->document);
		return 1;
	}
	int rc = db_row(db, &rows, err,
			"SELECT v.document FROM iam_policy p JOIN iam_policy_version v ON v.arn=p.arn AND "
			"v.number=p.version WHERE p.arn=?",
			"S", arn);
	if (rc > 0)
		*out = arena_str(a, rows_str(&rows, 0));
	return rc;
}

static int read_attached(struct iam_grants *g, struct db *db, struct arena *a, const char *owner, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_query(db, &rows, err, "SELECT DISTINCT arn FROM iam_attached WHERE " OWNERS " ORDER BY arn", "ss",
			  owner, user_of(owner));
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		struct str arn = rows_str(&rows, 0), text;
		int found = iam_policy_text(db, a, arn, &text, err);
		if (found < 0)
			return -1;
		if (found > 0)
			add_identity(g, iam_last_part(arn), IAM_SOURCE_MANAGED, text);
	}
	return rc;
}

static int read_boundary(struct iam_grants *g, struct db *db, struct arena *a, struct str arn, struct error *err)
{
	struct str text;
	if (!arn.len)
		return 0;
	g->bounded = true;
	int rc = iam_policy_text(db, a, arn, &text, err);
	if (rc > 0)
		g->boundary = policy_parse(text, POLICY_IDENTITY, NULL);
	return rc < 0 ? -1 : 0;
}

/* owner: "user/<name>", "role/<name>" or "group/<name>" (for simulations). 1, or 0 when there is none. */
static int read_owner(struct iam *i, struct iam_grants *g, struct db *db, struct arena *a, const char *owner,
		      struct error *err)
{
	static const struct {
		const char *kind, *sql;
	} kinds[] = {
		{ "user", "SELECT id, path, name, tags, boundary FROM iam_user WHERE name=?" },
		{ "role", "SELECT id, path, name, tags, boundary FROM iam_role WHERE name=?" },
		{ "group", "SELECT id, path, name, NULL, NULL FROM iam_group WHERE name=?" },
	};
	CLEANUP_ROWS struct rows rows = { 0 };
	size_t k = *owner == 'u' ? 0 : *owner == 'r' ? 1 : 2;
	int rc = db_row(db, &rows, err, kinds[k].sql, "s", owner + strlen(kinds[k].kind) + 1);
	if (rc <= 0)
		return rc;
	g->id = mem_strdup(rows_str(&rows, 0).ptr);
	g->arn = mem_strdup(iam_arn(i, a, kinds[k].kind, rows_str(&rows, 1), rows_str(&rows, 2)));
	g->tags = rows_null(&rows, 3) ? NULL : json_parse(rows_str(&rows, 3), NULL);
	if (read_boundary(g, db, a, rows_str(&rows, 4), err) < 0 || read_inline(g, db, owner, err) < 0 ||
	    read_attached(g, db, a, owner, err) < 0)
		return -1;
	return 1;
}

/* A session's own policies; *owner is the role or user behind it. 1, or 0 when the session is over. */
static int read_session(struct iam_grants *g, struct db *db, struct arena *a, const char *access_key,
			const char **owner, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT owner, policies FROM iam_session WHERE access_key=?", "s", access_key);
	if (rc <= 0)
		return rc;
	*owner = arena_strdup(a, rows_str(&rows, 0));
	CLEANUP_JSON json_t *texts = json_parse(rows_str(&rows, 1), err);
	g->sessions = mem_calloc(json_array_size(texts) + 1, sizeof(*g->sessions));
	for (size_t n = 0; n < json_array_size(texts); n++)
		if ((g->sessions[g->nsessions] =
			     policy_parse(json_str(json_array_get(texts, n)), POLICY_IDENTITY, NULL)))
			g->nsessions++;
	g->limited = true;
	return texts ? 1 : -1;
}

int iam_grants_read(struct iam *i, struct db *db, const char *key, struct iam_grants **out, struct error *err)
{
	struct arena a = ARENA_INIT;
	struct iam_grants *g = mem_calloc(1, sizeof(*g));
	const char *owner = key;
	int rc = 1;
	g->refs = 1;
	if (strncmp(key, "session/", 8) == 0)
		rc = read_session(g, db, &a, key + 8, &owner, err);
	if (rc > 0)
		rc = read_owner(i, g, db, &a, owner, err);
	arena_release(&a);
	if (rc > 0)
		*out = g;
	else
		iam_grants_put(g);
	return rc;
}

/* ---- the cache ---- */

void iam_grants_release(struct iam *i)
{
	for (size_t n = 0; n < i->grants.count; n++)
		iam_grants_put(i->grants.entries[n].value);
	map_release(&i->grants);
	i->grants = MAP_INIT;
}

int iam_policies_changed(struct iam *i, struct turn *t, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_exec(turn_db(t), err, "UPDATE iam_generation SET number=number+1", "") < 0 ||
	    db_row(turn_db(t), &rows, err, "SELECT number FROM iam_generation", "") < 0)
		return -1;
	pthread_rwlock_wrlock(&i->lock);
	i->generation = rows_int(&rows, 0);
	pthread_rwlock_unlock(&i->lock);
	return 0;
}

static struct iam_grants *cached(struct iam *i, const char *key)
{
	pthread_rwlock_rdlock(&i->lock);
	struct iam_grants *g = map_get(&i->grants, str_from(key));
	if (g && g->generation != i->generation)
		g = NULL;
	if (g)
		atomic_fetch_add(&g->refs, 1);
	pthread_rwlock_unlock(&i->lock);
	return g;
}

static void remember(struct iam *i, const char *key, struct iam_grants *g)
{
	pthread_rwlock_wrlock(&i->lock);
	if (g->generation > i->generation) /* the first since the start */
		i->generation = g->generation;
	if (i->grants.count >= GRANTS_MAX)
		iam_grants_release(i);
	atomic_fetch_add(&g->refs, 1);
	iam_grants_put(map_set(&i->grants, str_from(key), g));
	pthread_rwlock_unlock(&i->lock);
}

static int read_numbered(struct iam *i, struct db *db, const char *key, struct iam_grants **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_row(db, &rows, err, "SELECT number FROM iam_generation", "") < 0)
		return -1;
	int rc = iam_grants_read(i, db, key, out, err);
	if (rc > 0)
		(*out)->generation = rows_int(&rows, 0);
	return rc;
}

int iam_grants_get(struct iam *i, const char *key, struct iam_grants **out, struct error *err)
{
	struct store *store = engine_store(i->engine);
	if ((*out = cached(i, key)))
		return 1;
	struct db *db = store_read_begin(store, err);
	if (!db)
		return -1;
	int rc = read_numbered(i, db, key, out, err);
	store_read_end(store, db);
	if (rc > 0)
		remember(i, key, *out);
	return rc;
}
