/* store.c - the tables of the ecr room.
 *
 * DESIGN: a blob is kept once for all repositories (ecr_blob by digest) and linked to each repository that has it; the
 * file goes when the last link goes. An image is a manifest in a repository; tags point at digests; ecr_ref says what
 * each manifest refers to (blobs, and an index its images). touched_ms of a link is the last time that a client pushed,
 * mounted or looked for the blob (or pulled an image with it that went), wanted how many did; an image that comes to
 * refer to it settles one of them, and at none touched_ms is 0: then the link goes with its last image. pulled_ms of a
 * link is the last pull of the images with it that went: no image settles that. A link that no image refers to always
 * has a touched_ms, and stays while that is young, see collect.c. */
#include <stdio.h>

#include "base/clock.h"
#include "ecr/room.h"

#define MAKE_REFS                                                                                                      \
	"ALTER TABLE ecr_link ADD COLUMN touched_ms INTEGER NOT NULL DEFAULT 0;"                                       \
	"ALTER TABLE ecr_upload RENAME COLUMN created_ms TO touched_ms;"                                               \
	"CREATE TABLE ecr_ref(repo TEXT NOT NULL, digest TEXT NOT NULL, image TEXT NOT NULL, PRIMARY KEY(repo, "       \
	"digest, image)) WITHOUT ROWID;"                                                                               \
	"CREATE INDEX ecr_ref_image ON ecr_ref(repo, image);"

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
	{ "ecr", 2,
	  MAKE_REFS
	  "INSERT OR IGNORE INTO ecr_ref SELECT i.repo, json_extract(d.value, '$.digest'), i.digest FROM ecr_image i, "
	  "json_tree(CAST(i.body AS TEXT)) d WHERE d.type = 'object' AND (d.fullkey = '$.config' OR d.path IN "
	  "('$.layers', '$.manifests')) AND json_extract(d.value, '$.digest') IS NOT NULL;",
	  .sql_postgres = MAKE_REFS }, /* nothing older than this step has kept images in PostgreSQL */
	{ "ecr", 3, "ALTER TABLE ecr_repo ADD COLUMN evaluated_ms INTEGER NOT NULL DEFAULT 0;" },
	{ "ecr", 4,
	  "CREATE INDEX ecr_link_touched ON ecr_link(touched_ms) WHERE touched_ms > 0;"
	  "UPDATE ecr_link SET touched_ms=1 WHERE touched_ms=0 AND NOT EXISTS (SELECT 1 FROM ecr_ref r WHERE r.repo = "
	  "ecr_link.repo AND r.digest = ecr_link.digest);" },
	{ "ecr", 5, "ALTER TABLE ecr_link ADD COLUMN wanted INTEGER NOT NULL DEFAULT 0;" },
	/* whose a token is; the tokens before told only a name */
	{ "ecr", 6,
	  "DELETE FROM ecr_token;"
	  "ALTER TABLE ecr_token ADD COLUMN user_id TEXT NOT NULL DEFAULT '';"
	  "ALTER TABLE ecr_token ADD COLUMN grants TEXT;" },
	{ "ecr", 7, "ALTER TABLE ecr_link ADD COLUMN pulled_ms INTEGER NOT NULL DEFAULT 0;" },
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
			"SELECT created_ms, mutability, filters, policy, lifecycle, scanning, encryption, evaluated_ms "
			"FROM ecr_repo WHERE name=?",
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
		.evaluated_ms = rows_int(&rows, 7),
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
	return db_exec(db, err,
		       "INSERT INTO ecr_link(repo, digest, touched_ms, wanted) VALUES(?, ?, ?, 1) ON CONFLICT(repo, "
		       "digest) DO "
		       "UPDATE SET touched_ms=excluded.touched_ms, wanted=ecr_link.wanted+1",
		       "SSi", repo, digest, turn_now_ms(t)) < 0
		       ? -1
		       : 0;
}

int ecr_blob_touch(struct turn *t, struct str repo, struct str digest, int64_t touched_ms, struct error *err)
{
	return db_exec(turn_db(t), err, "UPDATE ecr_link SET touched_ms=?, wanted=wanted+1 WHERE repo=? AND digest=?",
		       "iSS", touched_ms, repo, digest);
}

/* One of those that wanted the blob has an image with it now. */
static int settle_blob(struct turn *t, const char *repo, const char *digest, struct error *err)
{
	return db_exec(turn_db(t), err,
		       "UPDATE ecr_link SET touched_ms=CASE WHEN wanted > 1 THEN touched_ms ELSE 0 END, "
		       "wanted=CASE WHEN wanted > 1 THEN wanted - 1 ELSE 0 END WHERE repo=? AND digest=?",
		       "ss", repo, digest);
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
			    "config_type, pulled_ms FROM ecr_image WHERE repo=? AND digest=?",
			    "SS", repo, reference);
	else
		rc = db_row(db, &rows, err,
			    "SELECT i.digest, i.media_type, i.body, i.pushed_ms, i.size, i.artifact_type, i.subject, "
			    "i.annotations, i.config_type, i.pulled_ms FROM ecr_tag t JOIN ecr_image i"
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
		.pulled_ms = rows_null(&rows, 9) ? 0 : rows_int(&rows, 9),
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
	json_array_foreach (filters, i, filter)
		if (str_glob(json_get_str(filter, "filter"), tag, 0))
			return !immutable;
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

/* ecr_ref for a new manifest. */
static int put_refs(struct turn *t, const struct ecr_repo *repo, const struct ecr_image *image, struct error *err)
{
	CLEANUP_JSON json_t *doc = ecr_manifest_json(image->body);
	CLEANUP_JSON json_t *refs = json_array();
	CLEANUP_JSON json_t *digests = json_object(); /* each once */
	json_t *ref;
	size_t i;
	const char *digest;
	if (json_get(doc, "config"))
		json_array_append(refs, json_get(doc, "config"));
	if (json_get(doc, "layers"))
		json_array_extend(refs, json_get(doc, "layers"));
	if (json_get(doc, "manifests"))
		json_array_extend(refs, json_get(doc, "manifests"));
	json_array_foreach (refs, i, ref)
		if (json_get_text(ref, "digest"))
			json_object_set_new(digests, json_get_text(ref, "digest"), json_true());
	json_object_foreach (digests, digest, ref)
		if (db_exec(turn_db(t), err,
			    "INSERT INTO ecr_ref(repo, digest, image) VALUES(?, ?, ?) ON CONFLICT DO NOTHING", "ssS",
			    repo->name, digest, image->digest) < 0 ||
		    settle_blob(t, repo->name, digest, err) < 0)
			return -1;
	return 0;
}

static int insert_image(struct turn *t, const struct ecr_repo *repo, const struct ecr_image *image, struct error *err)
{
	if (db_exec(turn_db(t), err,
		    "INSERT INTO ecr_image(repo, digest, media_type, body, pushed_ms, size, artifact_type, subject, "
		    "annotations, config_type) VALUES(?,?,?,?,?,?,?,?,?,?)",
		    "sSSbiiSSSS", repo->name, image->digest, image->media_type, image->body, turn_now_ms(t),
		    image->size_bytes, null_if_empty(image->artifact_type), null_if_empty(image->subject),
		    null_if_empty(image->annotations), null_if_empty(image->config_type)) < 0)
		return -1;
	return put_refs(t, repo, image, err);
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
	if (rc == 0 && insert_image(t, repo, image, err) < 0)
		return -1;
	return tag.len ? put_tag(t, repo, image, tag, err) : 0;
}

int ecr_tag_drop(struct turn *t, struct str repo, struct str tag, struct error *err)
{
	return db_exec(turn_db(t), err, "DELETE FROM ecr_tag WHERE repo=? AND tag=?", "SS", repo, tag);
}

int ecr_image_referred(struct db *db, struct arena *a, struct str repo, struct str digest, struct str *by,
		       struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT image FROM ecr_ref WHERE repo=? AND digest=? LIMIT 1", "SS", repo,
			digest);
	if (rc == 1)
		*by = arena_str(a, rows_str(&rows, 0));
	return rc;
}

/* Of an image that goes, last pulled then (0: never): the blob goes too, unless another image of the repository refers
 * to it, or somebody may still want it: a push that looked for it, or a pull that has read a manifest. */
static int release_blob(struct turn *t, struct str repo, struct str digest, int64_t pulled_ms, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct db *db = turn_db(t);
	struct str by;
	if (db_exec(db, err, "UPDATE ecr_link SET pulled_ms=? WHERE repo=? AND digest=? AND pulled_ms < ?", "iSSi",
		    pulled_ms, repo, digest, pulled_ms) < 0)
		return -1;
	int rc = ecr_image_referred(db, turn_arena(t), repo, digest, &by, err);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = db_row(db, &rows, err, "SELECT touched_ms, pulled_ms FROM ecr_link WHERE repo=? AND digest=?", "SS", repo,
		    digest);
	if (rc <= 0)
		return rc;
	int64_t touched_ms = rows_int(&rows, 0);
	pulled_ms = rows_int(&rows, 1);
	rows_done(&rows);
	if (turn_now_ms(t) - pulled_ms < ECR_PULL_MS && pulled_ms > touched_ms)
		return ecr_blob_touch(t, repo, digest, pulled_ms, err);
	return touched_ms ? 0 : ecr_blob_unlink(t, repo, digest, err);
}

int ecr_image_drop(struct turn *t, struct str repo, struct str digest, struct error *err)
{
	struct db *db = turn_db(t);
	struct ecr_image image;
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_JSON json_t *refs = json_array();
	json_t *ref;
	size_t i;
	int rc = ecr_image_find(db, turn_arena(t), repo, digest, &image, err);
	if (rc <= 0)
		return rc;
	rc = db_query(db, &rows, err, "SELECT digest FROM ecr_ref WHERE repo=? AND image=?", "SS", repo, digest);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(refs, json_string(rows_str(&rows, 0).ptr));
	rows_done(&rows);
	if (rc < 0 || db_exec(db, err, "DELETE FROM ecr_tag WHERE repo=? AND digest=?", "SS", repo, digest) < 0 ||
	    db_exec(db, err, "DELETE FROM ecr_image WHERE repo=? AND digest=?", "SS", repo, digest) < 0 ||
	    db_exec(db, err, "DELETE FROM ecr_ref WHERE repo=? AND image=?", "SS", repo, digest) < 0)
		return -1;
	json_array_foreach (refs, i, ref)
		if (release_blob(t, repo, json_str(ref), image.pulled_ms, err) < 0)
			return -1;
	return 1;
}

int ecr_image_pulled(struct turn *t, struct str repo, struct str digest, struct error *err)
{
	return db_exec(turn_db(t), err, "UPDATE ecr_image SET pulled_ms=? WHERE repo=? AND digest=?", "iSS",
		       turn_now_ms(t), repo, digest);
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
