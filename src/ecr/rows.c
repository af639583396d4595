/* rows.c - the tables of the ecr room.
 *
 * DESIGN: a blob is kept once for all repositories (ecr_blob by digest) and linked to each repository that has it; the
 * file goes when the last link goes. An image is a manifest in a repository; tags point at digests. */
#include <stdio.h>

#include "base/clock.h"
#include "ecr/room.h"

const struct store_migration ecr_migrations[] = {
	{ "ecr", 1,
	  "CREATE TABLE ecr_repo(name TEXT PRIMARY KEY, created_ms INTEGER NOT NULL, mutability TEXT NOT NULL, filters "
	  "TEXT, policy TEXT, lifecycle TEXT,"
	  " scanning TEXT, encryption TEXT, tags TEXT) WITHOUT ROWID;"
	  "CREATE TABLE ecr_blob(digest TEXT PRIMARY KEY, blob TEXT NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID;"
	  "CREATE INDEX ecr_blob_file ON ecr_blob(blob);"
	  "CREATE TABLE ecr_link(repo TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY(repo, digest)) WITHOUT ROWID;"
	  "CREATE INDEX ecr_link_digest ON ecr_link(digest);"
	  "CREATE TABLE ecr_image(id INTEGER PRIMARY KEY, repo TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT "
	  "NOT NULL, body BLOB NOT NULL,"
	  " pushed_ms INTEGER NOT NULL, size INTEGER NOT NULL, artifact_type TEXT, subject TEXT, annotations TEXT, "
	  "config_type TEXT, pulled_ms INTEGER, UNIQUE(repo, digest));"
	  "CREATE INDEX ecr_image_subject ON ecr_image(repo, subject) WHERE subject IS NOT NULL;"
	  "CREATE TABLE ecr_tag(repo TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY(repo, tag)) "
	  "WITHOUT ROWID;"
	  "CREATE INDEX ecr_tag_digest ON ecr_tag(repo, digest);"
	  "CREATE TABLE ecr_upload(id TEXT PRIMARY KEY, repo TEXT NOT NULL, blob TEXT NOT NULL, size INTEGER NOT NULL, "
	  "created_ms INTEGER NOT NULL) WITHOUT ROWID;"
	  "CREATE INDEX ecr_upload_blob ON ecr_upload(blob);"
	  "CREATE TABLE ecr_token(hash TEXT PRIMARY KEY, arn TEXT NOT NULL, expires_ms INTEGER NOT NULL) WITHOUT ROWID;"
	  "CREATE TABLE ecr_preview(repo TEXT PRIMARY KEY, policy TEXT NOT NULL, result TEXT NOT NULL, at_ms INTEGER "
	  "NOT NULL) WITHOUT ROWID;" },
	{ 0 },
};

static const char *text_or_null(struct arena *a, struct rows *rows, int col)
{
	return rows_null(rows, col) ? NULL : arena_strdup(a, rows_str(rows, col));
}

int ecr_repo_find(struct ecr *e, struct db *db, struct arena *a, struct str name, struct ecr_repo *out,
		  struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err,
			"SELECT created_ms, mutability, filters, policy, lifecycle, scanning, encryption FROM ecr_repo "
			"WHERE name=?",
			"S", name);
	if (rc <= 0)
		return rc;
	*out = (struct ecr_repo){
		.name = arena_strdup(a, name),
		.arn = arena_printf(a, "arn:aws:ecr:%s:%s:repository/%.*s", e->o.region, e->o.account, STR_ARG(name)),
		.uri = arena_printf(a, "%s.dkr.ecr.%s.localhost:%u/%.*s", e->o.account, e->o.region, e->o.port,
				    STR_ARG(name)),
		.created_ms = rows_int(&rows, 0),
		.mutability = arena_strdup(a, rows_str(&rows, 1)),
		.filters = text_or_null(a, &rows, 2),
		.policy = text_or_null(a, &rows, 3),
		.lifecycle = text_or_null(a, &rows, 4),
		.scanning = text_or_null(a, &rows, 5),
		.encryption = text_or_null(a, &rows, 6),
	};
	return 1;
}

int ecr_repo_need(struct ecr *e, struct db *db, struct arena *a, struct str name, struct ecr_repo *out,
		  struct error *err)
{
	int rc = ecr_repo_find(e, db, a, name, out, err);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	return error_aws(err, "RepositoryNotFoundException",
			 "The repository with name '%.*s' does not exist in the registry with id '%s'", STR_ARG(name),
			 e->o.account);
}

int ecr_blob_find(struct db *db, struct arena *a, struct str repo, struct str digest, const char **blob, int64_t *size,
		  struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err,
			"SELECT b.blob, b.size FROM ecr_link l JOIN ecr_blob b ON b.digest = l.digest WHERE l.repo=? "
			"AND l.digest=?",
			"SS", repo, digest);
	if (rc <= 0)
		return rc;
	*blob = arena_strdup(a, rows_str(&rows, 0));
	*size = rows_int(&rows, 1);
	return 1;
}

int ecr_blob_add(struct turn *t, struct str repo, struct str digest, const char *blob, int64_t size, struct error *err)
{
	struct db *db = turn_db(t);
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT 1 FROM ecr_blob WHERE digest=?", "S", digest);
	if (rc < 0)
		return rc;
	if (rc == 0 && !blob)
		return error_aws(err, "LayersNotFoundException", "The blob %.*s is not known", STR_ARG(digest));
	if (rc == 0 &&
	    db_exec(db, err, "INSERT INTO ecr_blob(digest, blob, size) VALUES(?, ?, ?)", "Ssi", digest, blob, size) < 0)
		return -1;
	if (rc == 1 && blob && blob_remove_later(db, blob, turn_now_ms(t), err) < 0)
		return -1;
	return db_exec(db, err, "INSERT INTO ecr_link(repo, digest) VALUES(?, ?) ON CONFLICT DO NOTHING", "SS", repo,
		       digest) < 0
		       ? -1
		       : 0;
}

int ecr_blob_unlink(struct turn *t, struct str repo, struct str digest, struct error *err)
{
	struct db *db = turn_db(t);
	struct arena *a = turn_arena(t);
	const char *blob = NULL;
	int64_t size;
	int rc = ecr_blob_find(db, a, repo, digest, &blob, &size, err);
	if (rc <= 0)
		return rc;
	if (db_exec(db, err, "DELETE FROM ecr_link WHERE repo=? AND digest=?", "SS", repo, digest) < 0)
		return -1;
	CLEANUP_ROWS struct rows rows = { 0 };
	rc = db_row(db, &rows, err, "SELECT 1 FROM ecr_link WHERE digest=?", "S", digest);
	if (rc != 0)
		return rc < 0 ? rc : 1;
	if (db_exec(db, err, "DELETE FROM ecr_blob WHERE digest=?", "S", digest) < 0 ||
	    blob_remove_later(db, blob, turn_now_ms(t), err) < 0)
		return -1;
	return 1;
}

int ecr_blob_named(void *ctx, struct db *db, const char *id)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	return db_row(db, &rows, NULL,
		      "SELECT 1 FROM ecr_blob WHERE blob=? UNION ALL SELECT 1 FROM ecr_upload WHERE blob=?", "ss", id,
		      id);
}

int ecr_image_find(struct db *db, struct arena *a, struct str repo, struct str reference, struct ecr_image *out,
		   struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc;
	if (ecr_is_digest(reference))
		rc = db_row(db, &rows, err,
			    "SELECT digest, media_type, body, pushed_ms, size, artifact_type, subject, annotations, "
			    "config_type FROM ecr_image WHERE repo=? AND digest=?",
			    "SS", repo, reference);
	else
		rc = db_row(db, &rows, err,
			    "SELECT i.digest, i.media_type, i.body, i.pushed_ms, i.size, i.artifact_type, i.subject, "
			    "i.annotations, i.config_type FROM ecr_tag t JOIN ecr_image i"
			    " ON i.repo = t.repo AND i.digest = t.digest WHERE t.repo=? AND t.tag=?",
			    "SS", repo, reference);
	if (rc <= 0)
		return rc;
	*out = (struct ecr_image){
		.digest = arena_str(a, rows_str(&rows, 0)),
		.media_type = arena_str(a, rows_str(&rows, 1)),
		.body = arena_str(a, rows_str(&rows, 2)),
		.pushed_ms = rows_int(&rows, 3),
		.size_bytes = rows_int(&rows, 4),
		.artifact_type = arena_str(a, rows_str(&rows, 5)),
		.subject = arena_str(a, rows_str(&rows, 6)),
		.annotations = arena_str(a, rows_str(&rows, 7)),
		.config_type = arena_str(a, rows_str(&rows, 8)),
	};
	return 1;
}

static struct str null_if_empty(struct str s)
{
	return s.len ? s : STR_NULL;
}

/* May the tag be moved? By the repository's mutability and its exclusion filters. */
static bool tag_is_fixed(const struct ecr_repo *repo, struct str tag)
{
	bool immutable = str_starts(str_from(repo->mutability), STR("IMMUTABLE"));
	CLEANUP_JSON json_t *filters = repo->filters ? json_parse(str_from(repo->filters), NULL) : NULL;
	json_t *filter;
	size_t i;
	json_array_foreach (filters, i, filter) {
		struct str pattern = json_get_str(filter, "filter");
		bool open = str_ends(pattern, STR("*"));
		if (open ? str_starts(tag, str_head(pattern, pattern.len - 1)) : str_eq(tag, pattern))
			return !immutable;
	}
	return immutable;
}

static int put_tag(struct turn *t, const struct ecr_repo *repo, const struct ecr_image *image, struct str tag,
		   struct error *err)
{
	struct db *db = turn_db(t);
	struct ecr_image old;
	int rc = ecr_image_find(db, turn_arena(t), str_from(repo->name), tag, &old, err);
	if (rc < 0)
		return rc;
	if (rc == 1 && !str_eq(old.digest, image->digest) && tag_is_fixed(repo, tag))
		return error_aws(err, "ImageTagAlreadyExistsException",
				 "The image tag '%.*s' already exists in the '%s' repository and cannot be overwritten "
				 "because the repository is immutable.",
				 STR_ARG(tag), repo->name);
	return db_exec(db, err,
		       "INSERT INTO ecr_tag(repo, tag, digest) VALUES(?, ?, ?) ON CONFLICT(repo, tag) DO UPDATE SET "
		       "digest=excluded.digest",
		       "sSS", repo->name, tag, image->digest) < 0
		       ? -1
		       : 0;
}

int ecr_image_put(struct turn *t, const struct ecr_repo *repo, const struct ecr_image *image, struct str tag,
		  bool *existed, struct error *err)
{
	struct db *db = turn_db(t);
	struct ecr_image old;
	int rc = ecr_image_find(db, turn_arena(t), str_from(repo->name), image->digest, &old, err);
	if (rc < 0)
		return rc;
	*existed = rc == 1;
	if (rc == 1 && tag.len) {
		CLEANUP_ROWS struct rows rows = { 0 };
		rc = db_row(db, &rows, err, "SELECT 1 FROM ecr_tag WHERE repo=? AND tag=? AND digest=?", "sSS",
			    repo->name, tag, image->digest);
		if (rc < 0)
			return rc;
		*existed = rc == 1;
		rc = 1;
	}
	if (rc == 0 && db_exec(db, err,
			       "INSERT INTO ecr_image(repo, digest, media_type, body, pushed_ms, size, artifact_type, "
			       "subject, annotations, config_type) VALUES(?,?,?,?,?,?,?,?,?,?)",
			       "sSSbiiSSSS", repo->name, image->digest, image->media_type, image->body, turn_now_ms(t),
			       image->size_bytes, null_if_empty(image->artifact_type), null_if_empty(image->subject),
			       null_if_empty(image->annotations), null_if_empty(image->config_type)) < 0)
		return -1;
	return tag.len ? put_tag(t, repo, image, tag, err) : 0;
}

int ecr_tag_drop(struct turn *t, struct str repo, struct str tag, struct error *err)
{
	return db_exec(turn_db(t), err, "DELETE FROM ecr_tag WHERE repo=? AND tag=?", "SS", repo, tag);
}

/* Blobs of an image stay linked to the repository until no image of it names them. */
static int drop_unused_blobs(struct turn *t, struct str repo, struct str body, struct error *err)
{
	struct arena *a = turn_arena(t);
	CLEANUP_JSON json_t *doc = ecr_manifest_json(body);
	CLEANUP_JSON json_t *refs = json_array();
	json_t *layer;
	size_t i;
	if (json_get(doc, "config"))
		json_array_append(refs, json_get(doc, "config"));
	if (json_get(doc, "layers"))
		json_array_extend(refs, json_get(doc, "layers"));
	json_array_foreach (refs, i, layer) {
		struct str digest = json_get_str(layer, "digest");
		CLEANUP_ROWS struct rows rows = { 0 };
		if (!digest.ptr)
			continue;
		int rc = db_row(turn_db(t), &rows, err,
				"SELECT 1 FROM ecr_image WHERE repo=? AND instr(body, CAST(? AS BLOB)) > 0", "SS", repo,
				digest);
		rows_done(&rows);
		if (rc < 0 || (rc == 0 && ecr_blob_unlink(t, repo, arena_str(a, digest), err) < 0))
			return -1;
	}
	return 0;
}

int ecr_image_drop(struct turn *t, struct str repo, struct str digest, struct error *err)
{
	struct db *db = turn_db(t);
	struct ecr_image image;
	int rc = ecr_image_find(db, turn_arena(t), repo, digest, &image, err);
	if (rc <= 0)
		return rc;
	if (db_exec(db, err, "DELETE FROM ecr_tag WHERE repo=? AND digest=?", "SS", repo, digest) < 0 ||
	    db_exec(db, err, "DELETE FROM ecr_image WHERE repo=? AND digest=?", "SS", repo, digest) < 0 ||
	    drop_unused_blobs(t, repo, image.body, err) < 0)
		return -1;
	return 1;
}

json_t *ecr_image_tags(struct db *db, struct str repo, struct str digest, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *tags = json_array();
	int rc = db_query(db, &rows, err, "SELECT tag FROM ecr_tag WHERE repo=? AND digest=? ORDER BY tag", "SS", repo,
			  digest);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		struct str tag = rows_str(&rows, 0);
		json_array_append_new(tags, json_stringn(tag.ptr, tag.len));
	}
	if (rc < 0) {
		json_decref(tags);
		return NULL;
	}
	return tags;
}
