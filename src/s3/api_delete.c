/* api_delete.c - DeleteObject and DeleteObjects.
 *
 * DESIGN: with versioning, a delete without versionId adds a marker and removes nothing (suspended: it replaces the
 * null version). A delete of a version removes that row, whatever it is. Deleting what is not there succeeds, as S3 has
 * it, unless If-Match wants it there ("How to perform conditional deletes", Amazon S3 user guide). Uploads of the key
 * that have begun are told: they can't be completed under a condition any more. */
#include "s3/room.h"

#include "base/clock.h"

struct deletion {
	struct str key, version; /* version STR_NULL: none given */
	struct str if_match, if_size, if_modified;
	/* what came of it */
	bool marker;     /* a marker was made or removed */
	struct str made; /* version id of the marker that was made, or of the row that went */
	bool failed;
	struct error err;
};

static int check_conditions(struct s3_call *c, const struct deletion *d, const struct s3_object *now, struct error *err)
{
	int64_t n;
	const char *broken = NULL;
	const bool any = str_eqz(str_trim(d->if_match), "*");
	if (d->if_match.ptr && (now->marker || (!any && !s3_meta_etag_is(d->if_match, now->etag))))
		broken = "If-Match";
	else if (d->if_size.ptr && (!str_to_i64(d->if_size, &n) || n != now->size_bytes))
		broken = "x-amz-if-match-size";
	else if (d->if_modified.ptr &&
		 ((!clock_parse_http(d->if_modified, &n) && !clock_parse_iso(d->if_modified, &n)) ||
		  n / 1000 != now->modified_ms / 1000))
		broken = "x-amz-if-match-last-modified-time";
	if (!broken)
		return 0;
	s3_call_detail(c, "Condition", str_from(broken));
	return s3_error(err, "PreconditionFailed");
}

static int delete_version(struct s3_call *c, struct turn *t, struct deletion *d, struct error *err)
{
	struct s3_object o;
	const int rc = s3_object_find(turn_db(t), turn_arena(t), c->bucket.id, d->key, d->version, false, &o, err);
	d->made = d->version;
	if (rc <= 0)
		return rc;
	if (check_conditions(c, d, &o, err) < 0)
		return -1;
	d->marker = o.marker;
	return s3_object_drop(t, c->bucket.id, &o, err);
}

static int delete_current(struct s3_call *c, struct turn *t, struct deletion *d, struct error *err)
{
	struct s3_object o;
	const int rc = s3_object_newest(turn_db(t), turn_arena(t), c->bucket.id, d->key, &o, err);
	if (rc < 0 || (rc > 0 && check_conditions(c, d, &o, err) < 0))
		return -1;
	if (rc == 0 && d->if_match.ptr)
		return s3_error(err, "NoSuchKey");
	struct str made;
	if (s3_object_remove(t, &c->bucket, d->key, rc > 0 ? &o : NULL, &made, err) < 0)
		return -1;
	d->marker = made.len > 0;
	d->made = arena_str(c->a, made);
	return 0;
}

static int delete_one(struct s3_call *c, struct turn *t, struct deletion *d, struct error *err)
{
	return d->version.ptr ? delete_version(c, t, d, err) : delete_current(c, t, d, err);
}

/* ---- DeleteObject ---- */

static int write_delete(struct s3_call *c, struct turn *t, struct error *err)
{
	return s3_call_bucket_now(c, turn_db(t), err) < 0 ? -1 : delete_one(c, t, c->work, err);
}

static void answer_delete(struct s3_call *c)
{
	const struct deletion *d = c->work;
	if (d->marker)
		wire_set_header(c->r, "x-amz-delete-marker", "true");
	if (d->made.len)
		s3_call_sethdr(c, "x-amz-version-id", d->made);
	s3_call_send(c, 204, STR(""));
}

void s3_delete_object(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct deletion *d = ARENA_NEW(c->a, struct deletion);
	d->key = c->key;
	d->if_match = s3_call_header(c, "if-match");
	d->if_size = s3_call_header(c, "x-amz-if-match-size");
	d->if_modified = s3_call_header(c, "x-amz-if-match-last-modified-time");
	if (s3_call_version(c, &d->version, &err) < 0) {
		s3_call_fail(c, &err);
		return;
	}
	c->work = d;
	s3_call_write(c, write_delete, answer_delete);
}

/* ---- DeleteObjects ---- */

enum { DELETE_MAX = 1000 };

struct deletions {
	bool quiet;
	int n;
	struct deletion list[];
};

static void forget_errors(void *arg)
{
	struct deletions *all = arg;
	for (int i = 0; i < all->n; i++)
		error_release(&all->list[i].err);
}

static int read_deletions(struct s3_call *c, struct error *err)
{
	struct xml_node *root;
	if (s3_body_store(c, err) < 0 || s3_xml_parse(c->a, buf_str(&c->body.memory), &root, err) < 0)
		return -1;
	int n = 0;
	for (const struct xml_node *o = root->first; o; o = o->next)
		n += str_eqz(o->name, "Object");
	if (!str_eqz(root->name, "Delete") || n == 0 || n > DELETE_MAX)
		return s3_error(err, "MalformedXML");
	struct deletions *all = arena_alloc(c->a, sizeof(*all) + (size_t)n * sizeof(all->list[0]));
	all->quiet = str_eq_nocase(str_trim(s3_xml_child_text(root, "Quiet")), STR("true"));
	for (const struct xml_node *o = root->first; o; o = o->next) {
		if (!str_eqz(o->name, "Object"))
			continue;
		struct deletion *d = &all->list[all->n++];
		d->key = s3_xml_child_text(o, "Key");
		d->version = s3_xml_child_text(o, "VersionId");
		if (d->version.ptr && !d->version.len)
			d->version = STR_NULL;
		d->if_match = s3_xml_child_text(o, "ETag");
		d->if_size = s3_xml_child_text(o, "Size");
		d->if_modified = s3_xml_child_text(o, "LastModifiedTime");
		if (!d->key.len)
			return s3_error(err, "MalformedXML");
		d->failed = s3_access_key(c, "s3:DeleteObject", c->bucket_name, d->key, d->version.ptr != NULL,
					  &d->err) < 0;
	}
	arena_defer(c->a, forget_errors, all);
	c->work = all;
	return 0;
}

static int write_deletes(struct s3_call *c, struct turn *t, struct error *err)
{
	struct deletions *all = c->work;
	if (s3_call_bucket_now(c, turn_db(t), err) < 0)
		return -1;
	for (int i = 0; i < all->n; i++) {
		struct deletion *d = &all->list[i];
		if (d->failed || delete_one(c, t, d, &d->err) == 0)
			continue;
		if (!error_is(&d->err, "PreconditionFailed") && !error_is(&d->err, "NoSuchKey"))
			return error_move(err, &d->err); /* a fault: nothing is deleted */
		d->failed = true;
	}
	return 0;
}

static void answer_deletes(struct s3_call *c)
{
	const struct deletions *all = c->work;
	struct buf b = BUF_INIT;
	s3_xml_start(&b, "DeleteResult");
	for (int i = 0; i < all->n; i++) {
		const struct deletion *d = &all->list[i];
		if (all->quiet && !d->failed)
			continue;
		xml_open(&b, d->failed ? "Error" : "Deleted");
		xml_text(&b, "Key", d->key);
		if (d->version.ptr)
			xml_text(&b, "VersionId", d->version);
		if (d->failed) {
			xml_text(&b, "Code", str_from(d->err.code));
			xml_text(&b, "Message", str_from(error_text(&d->err)));
		}
		if (d->marker && !d->failed) {
			xml_text(&b, "DeleteMarker", STR("true"));
			xml_text(&b, "DeleteMarkerVersionId", d->made);
		}
		xml_close(&b, d->failed ? "Error" : "Deleted");
	}
	xml_close(&b, "DeleteResult");
	s3_call_send_xml(c, 200, &b);
}

void s3_delete_objects(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (read_deletions(c, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_write(c, write_deletes, answer_deletes);
}
