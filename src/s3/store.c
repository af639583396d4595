/* store.c - the tables of buckets and objects.
 *
 * DESIGN: every version of an object and every delete marker is a row of s3_object; a larger id is a newer version.
 * `listed` is 1 for the one row that a plain GET or a listing shows. Two partial indexes split the rows: the listed
 * ones (unique by bucket and key, so two current versions cannot be) and the hidden ones. So a PUT touches one index,
 * and a listing never walks over old versions. Keys are blobs: their order is byte order. The large columns come last,
 * so that a listing doesn't read them. Bodies up to 8 KiB are in the row; larger ones are files that any number of rows
 * may name (a copy copies no bytes). */
#include "s3/room.h"

#include <stdlib.h>

const struct store_migration s3_migrations[] = {
	{ "s3", 1,
	  "CREATE TABLE s3_bucket (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, region TEXT "
	  "NOT NULL,"
	  " created_ms INTEGER NOT NULL, versioning INTEGER NOT NULL DEFAULT 0, tags TEXT, cors TEXT);"
	  "CREATE TABLE s3_object (id INTEGER PRIMARY KEY, bucket INTEGER NOT NULL, listed INTEGER NOT NULL, key BLOB "
	  "NOT NULL,"
	  " version TEXT NOT NULL, marker INTEGER NOT NULL, size INTEGER NOT NULL, modified_ms INTEGER NOT NULL, etag "
	  "TEXT,"
	  " checksum TEXT, storage TEXT, blob TEXT, tags TEXT, headers TEXT, parts TEXT, body BLOB);"
	  "CREATE UNIQUE INDEX s3_object_listed ON s3_object (bucket, key) WHERE listed=1;"
	  "CREATE INDEX s3_object_hidden ON s3_object (bucket, key, id DESC) WHERE listed=0;"
	  "CREATE INDEX s3_object_blob ON s3_object (blob) WHERE blob IS NOT NULL;"
	  "CREATE TABLE s3_upload (id TEXT PRIMARY KEY, bucket INTEGER NOT NULL, key BLOB NOT NULL, created_ms INTEGER "
	  "NOT NULL,"
	  " checksum TEXT, storage TEXT, headers TEXT, tags TEXT, blob TEXT NOT NULL, stride INTEGER NOT NULL DEFAULT "
	  "0,"
	  " changes INTEGER NOT NULL DEFAULT 0);"
	  "CREATE INDEX s3_upload_key ON s3_upload (bucket, key, id);"
	  "CREATE INDEX s3_upload_blob ON s3_upload (blob);"
	  "CREATE TABLE s3_part (upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, modified_ms "
	  "INTEGER NOT NULL,"
	  " etag TEXT NOT NULL, checksum TEXT, blob TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (upload, "
	  "number));"
	  "CREATE INDEX s3_part_blob ON s3_part (blob);" },
	{ "s3", 2, "ALTER TABLE s3_upload ADD COLUMN conflict INTEGER NOT NULL DEFAULT 0;" },
	{ "s3", 3,
	  "ALTER TABLE s3_bucket ADD COLUMN public_access TEXT; ALTER TABLE s3_bucket ADD COLUMN ownership TEXT;"
	  "ALTER TABLE s3_bucket ADD COLUMN encryption TEXT;" },
	{ "s3", 4, "ALTER TABLE s3_bucket ADD COLUMN policy TEXT; ALTER TABLE s3_bucket ADD COLUMN lifecycle TEXT;" },
	{ 0 },
};

static struct str keep(struct arena *a, struct str s)
{
	return s.ptr ? arena_str(a, s) : (struct str){ "", 0 };
}

static struct str or_null(struct str s)
{
	return s.len ? s : STR_NULL;
}

#define BUCKET_COLUMNS                                                                                                 \
	"b.id, b.name, b.owner, b.region, b.created_ms, b.versioning, b.tags, b.cors, b.encryption, b.lifecycle"

static void read_bucket(struct rows *rows, int col, struct arena *a, struct s3_bucket *out)
{
	*out = (struct s3_bucket){
		.id = rows_int(rows, col),
		.name = keep(a, rows_str(rows, col + 1)),
		.owner = keep(a, rows_str(rows, col + 2)),
		.region = keep(a, rows_str(rows, col + 3)),
		.created_ms = rows_int(rows, col + 4),
		.versioning = (enum s3_versioning)rows_int(rows, col + 5),
		.tags = keep(a, rows_str(rows, col + 6)),
		.cors = keep(a, rows_str(rows, col + 7)),
		.encryption = keep(a, rows_str(rows, col + 8)),
		.lifecycle = keep(a, rows_str(rows, col + 9)),
	};
}

int s3_bucket_find(struct db *db, struct arena *a, struct str name, struct s3_bucket *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const int rc = db_row(db, &rows, err, "SELECT " BUCKET_COLUMNS " FROM s3_bucket b WHERE b.name=?", "S", name);
	if (rc > 0)
		read_bucket(&rows, 0, a, out);
	return rc;
}

#define COLUMNS                                                                                                        \
	"id, key, version, listed, marker, size, modified_ms, etag, checksum, storage, blob, tags, headers, parts"
#define COLUMNS_BODY COLUMNS ", body"
#define LISTED " FROM s3_object WHERE bucket=? AND key=? AND listed=1"
#define HIDDEN " FROM s3_object WHERE bucket=? AND key=? AND listed=0"

static void read_row(struct rows *rows, struct arena *a, bool with_body, struct s3_object *o)
{
	*o = (struct s3_object){
		.id = rows_int(rows, 0),
		.key = keep(a, rows_str(rows, 1)),
		.version = keep(a, rows_str(rows, 2)),
		.listed = rows_int(rows, 3),
		.marker = rows_int(rows, 4),
		.size_bytes = rows_int(rows, 5),
		.modified_ms = rows_int(rows, 6),
		.etag = keep(a, rows_str(rows, 7)),
		.checksum = keep(a, rows_str(rows, 8)),
		.storage = keep(a, rows_str(rows, 9)),
		.blob = keep(a, rows_str(rows, 10)),
		.tags = keep(a, rows_str(rows, 11)),
		.headers = keep(a, rows_str(rows, 12)),
		.parts = keep(a, rows_str(rows, 13)),
	};
	if (with_body)
		o->body = keep(a, rows_str(rows, 14));
}

int s3_object_find(struct db *db, struct arena *a, int64_t bucket, struct str key, struct str version, bool with_body,
		   struct s3_object *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc;
	if (version.ptr)
		rc = db_row(db, &rows, err,
			    "SELECT " COLUMNS_BODY LISTED " AND version=? UNION ALL SELECT " COLUMNS_BODY HIDDEN
			    " AND version=?",
			    "ibSibS", bucket, key, version, bucket, key, version);
	else
		rc = db_row(db, &rows, err, with_body ? "SELECT " COLUMNS_BODY LISTED : "SELECT " COLUMNS LISTED, "ib",
			    bucket, key);
	if (rc > 0)
		read_row(&rows, a, with_body, out);
	return rc;
}

int s3_object_by_id(struct db *db, struct arena *a, int64_t id, struct s3_object *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const int rc = db_row(db, &rows, err, "SELECT " COLUMNS " FROM s3_object WHERE id=?", "i", id);
	if (rc > 0)
		read_row(&rows, a, false, out);
	return rc;
}

int s3_object_find_in(struct db *db, struct arena *a, struct str bucket_name, struct str key, struct s3_bucket *bucket,
		      struct s3_object *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const int rc =
		db_row(db, &rows, err,
		       "SELECT o.id, o.key, o.version, o.listed, o.marker, o.size, o.modified_ms, o.etag, o.checksum, "
		       "o.storage,"
		       " o.blob, o.tags, o.headers, o.parts, o.body, " BUCKET_COLUMNS
		       " FROM s3_bucket b JOIN s3_object o ON o.bucket=b.id AND o.key=? AND o.listed=1 WHERE b.name=?",
		       "bS", key, bucket_name);
	if (rc > 0) {
		read_row(&rows, a, true, out);
		read_bucket(&rows, 15, a, bucket);
	}
	return rc;
}

int s3_object_newest(struct db *db, struct arena *a, int64_t bucket, struct str key, struct s3_object *out,
		     struct error *err)
{
	int rc = s3_object_find(db, a, bucket, key, STR_NULL, false, out, err);
	if (rc != 0)
		return rc;
	CLEANUP_ROWS struct rows rows = { 0 };
	rc = db_row(db, &rows, err, "SELECT " COLUMNS HIDDEN " ORDER BY id DESC LIMIT 1", "ib", bucket, key);
	if (rc > 0)
		read_row(&rows, a, false, out);
	return rc;
}

/* ---- changes ---- */

int s3_blob_named(void *ctx, struct db *db, const char *id)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	return db_row(db, &rows, NULL,
		      "SELECT 1 FROM s3_object WHERE blob=? UNION ALL SELECT 1 FROM s3_part WHERE blob=? UNION ALL"
		      " SELECT 1 FROM s3_upload WHERE blob=? LIMIT 1",
		      "sss", id, id, id);
}

int s3_blob_release(struct turn *t, struct str blob, struct error *err)
{
	if (!blob.len)
		return 0;
	const int named = s3_blob_named(NULL, turn_db(t), blob.ptr);
	if (named != 0)
		return named < 0 ? error_set(err, "look for the rows of blob `%s`", blob.ptr) : 0;
	return blob_remove_later(turn_db(t), blob.ptr, turn_now_ms(t), err);
}

static int delete_row(struct turn *t, int64_t id, struct error *err)
{
	return db_exec(turn_db(t), err, "DELETE FROM s3_object WHERE id=?", "i", id) < 0 ? -1 : 0;
}

/* The null version goes, because another one takes its place. Its blob is the caller's to release, after the new row is
 * there. */
static int replace_null(struct turn *t, const struct s3_bucket *b, struct str key, struct str *blob, struct error *err)
{
	int64_t id = 0;
	{
		CLEANUP_ROWS struct rows rows = { 0 };
		const int rc =
			b->versioning == S3_UNVERSIONED
				? db_row(turn_db(t), &rows, err, "SELECT id, blob" LISTED, "ib", b->id, key)
				: db_row(turn_db(t), &rows, err,
					 "SELECT id, blob" LISTED " AND version='null' UNION ALL SELECT id, blob" HIDDEN
					 " AND version='null'",
					 "ibib", b->id, key, b->id, key);
		if (rc <= 0)
			return rc;
		id = rows_int(&rows, 0);
		*blob = keep(turn_arena(t), rows_str(&rows, 1));
	}
	return delete_row(t, id, err);
}

int s3_object_put(struct turn *t, const struct s3_bucket *b, struct s3_object *o, struct error *err)
{
	struct db *db = turn_db(t);
	struct str replaced = STR("");
	if (b->versioning == S3_VERSIONED) {
		o->version = str_from(turn_id(t, 32));
	} else {
		o->version = STR("null");
		if (replace_null(t, b, o->key, &replaced, err) < 0)
			return -1;
	}
	if (b->versioning != S3_UNVERSIONED &&
	    db_exec(db, err, "UPDATE s3_object SET listed=0 WHERE bucket=? AND key=? AND listed=1", "ib", b->id,
		    o->key) < 0)
		return -1;
	o->modified_ms = turn_now_ms(t);
	o->listed = !o->marker;
	CLEANUP_ROWS struct rows rows = { 0 };
	const int rc = db_row(db, &rows, err,
			      "INSERT INTO s3_object (bucket, listed, key, version, marker, size, modified_ms, etag, "
			      "checksum, storage, blob, tags,"
			      " headers, parts, body) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) RETURNING id",
			      "iibSiiiSSSSSSSb", b->id, (int64_t)o->listed, o->key, o->version, (int64_t)o->marker,
			      o->size_bytes, o->modified_ms, or_null(o->etag), or_null(o->checksum),
			      or_null(o->storage), or_null(o->blob), or_null(o->tags), or_null(o->headers),
			      or_null(o->parts), o->blob.len || o->marker ? STR_NULL : o->body);
	if (rc < 0)
		return -1;
	o->id = rows_int(&rows, 0);
	return s3_blob_release(t, replaced, err);
}

int s3_object_drop(struct turn *t, int64_t bucket, const struct s3_object *o, struct error *err)
{
	struct arena *a = turn_arena(t);
	if (delete_row(t, o->id, err) < 0 || s3_blob_release(t, o->blob, err) < 0)
		return -1;
	struct s3_object newest;
	const int rc = s3_object_newest(turn_db(t), a, bucket, o->key, &newest, err);
	if (rc <= 0 || newest.listed || newest.marker)
		return rc < 0 ? rc : 0;
	return db_exec(turn_db(t), err, "UPDATE s3_object SET listed=1 WHERE id=?", "i", newest.id) < 0 ? -1 : 0;
}

/* Uploads of the key can't be completed under a condition any more. */
static int tell_uploads(struct turn *t, int64_t bucket, struct str key, struct error *err)
{
	return db_exec(turn_db(t), err, "UPDATE s3_upload SET conflict=1 WHERE bucket=? AND key=?", "ib", bucket, key) <
			       0
		       ? -1
		       : 0;
}

int s3_object_remove(struct turn *t, const struct s3_bucket *b, struct str key, const struct s3_object *newest,
		     struct str *made, struct error *err)
{
	*made = STR("");
	if (newest && tell_uploads(t, b->id, key, err) < 0)
		return -1;
	if (b->versioning == S3_UNVERSIONED)
		return newest ? s3_object_drop(t, b->id, newest, err) : 0;
	struct s3_object marker = { .key = key, .marker = true };
	if (s3_object_put(t, b, &marker, err) < 0)
		return -1;
	*made = marker.version;
	return 0;
}
