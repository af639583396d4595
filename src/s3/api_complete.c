/* api_complete.c - CompleteMultipartUpload.
 *
 * DESIGN: check the list against the rows, make the listed parts one file, then one transaction makes the object and
 * drops the upload, provided that no part changed meanwhile. Usually the parts lie in place in the draft and the file
 * is only cut to size; parts that are elsewhere are copied into the gaps of the draft; when the draft holds data that
 * must not be touched (parts that are not listed, or not where they belong), everything is copied to a new file. A
 * failed Complete leaves the upload as it was. */
#include "s3/upload.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

#include "base/id.h"

struct completion {
	struct s3_upload upload;
	struct s3_part_row *parts; /* the listed ones, in order */
	size_t n;
	size_t rows; /* of the upload, listed or not */
	size_t unlisted_in_draft;
	int64_t size_bytes;
	struct s3_live_upload *live;
	bool alone;             /* no part is being written to the draft */
	char *repeated_version; /* the upload was completed before: answer as then */
};

/* ---- the list ---- */

struct listed {
	int64_t number;
	struct str etag, sums[CHECKSUM_COUNT];
};

/* One <Part>; `before`: the one before it in the list, or NULL. */
static int read_part(struct s3_call *c, const struct xml_node *p, struct listed *l, const struct listed *before,
		     struct error *err)
{
	struct str number = s3_xml_child_text(p, "PartNumber");
	l->etag = s3_xml_child_text(p, "ETag");
	if (!str_to_i64(str_trim(number), &l->number) || !l->etag.ptr)
		return s3_error(err, "MalformedXML");
	for (int a = CHECKSUM_CRC32; a < CHECKSUM_COUNT; a++)
		l->sums[a] = s3_xml_child_text(p, checksum_element((enum checksum_algo)a));
	if (l->number < 1 || l->number > S3_PARTS_MAX)
		return s3_error_argument(c, err, "PartNumber", number, "PartNumber must be >= 1 and <= 10000");
	if (before && l->number <= before->number) {
		s3_call_detail(c, "UploadId", s3_call_arg(c, "uploadId", NULL));
		return s3_error(err, "InvalidPartOrder");
	}
	return 0;
}

/* The parts that the request names, at least one; NULL with err. */
static struct listed *read_list(struct s3_call *c, size_t *n, struct error *err)
{
	struct xml_node *root;
	if (s3_body_store(c, err) < 0)
		return NULL;
	if (!str_trim(buf_str(&c->body.memory)).len) {
		s3_error_text(err, "InvalidRequest", "You must specify at least one part");
		return NULL;
	}
	if (s3_xml_parse(c->a, buf_str(&c->body.memory), &root, err) < 0)
		return NULL;
	*n = 0;
	for (const struct xml_node *p = root->first; p; p = p->next)
		*n += str_eqz(p->name, "Part");
	if (!str_eqz(root->name, "CompleteMultipartUpload") || *n == 0 || *n > S3_PARTS_MAX) {
		s3_error(err, "MalformedXML");
		return NULL;
	}
	struct listed *list = ARENA_ARRAY(c->a, struct listed, *n), *l = list;
	for (const struct xml_node *p = root->first; p; p = p->next) {
		if (!str_eqz(p->name, "Part"))
			continue;
		if (read_part(c, p, l, l == list ? NULL : l - 1, err) < 0)
			return NULL;
		l++;
	}
	return list;
}

static int invalid_part(struct s3_call *c, const struct listed *l, struct error *err)
{
	s3_call_detail(c, "UploadId", s3_call_arg(c, "uploadId", NULL));
	s3_call_detail(c, "PartNumber", str_from(arena_printf(c->a, "%" PRId64, l->number)));
	struct str etag = str_trim(l->etag);
	if (etag.len >= 2 && etag.ptr[0] == '"' && etag.ptr[etag.len - 1] == '"')
		etag = str_of(etag.ptr + 1, etag.len - 2);
	s3_call_detail(c, "ETag", etag);
	return s3_error(err, "InvalidPart");
}

/* What the request says of checksums is what the upload was created with. */
static int check_mode(struct s3_call *c, const struct completion *k, const struct listed *list, struct error *err)
{
	const struct str type = s3_call_header(c, "x-amz-checksum-type");
	enum checksum_algo algo;
	bool is_composite;
	s3_upload_checksum(k->upload.checksum, &algo, &is_composite);
	const char *mode = algo == CHECKSUM_NONE ? "null" : is_composite ? "COMPOSITE" : "FULL_OBJECT";
	if (type.ptr && !str_eqz(type, mode))
		return s3_error_text(err, "InvalidRequest",
				     "The upload was created using the %s checksum mode. The complete request must use "
				     "the same checksum mode.",
				     mode);
	for (size_t i = 0; is_composite && i < k->n; i++)
		if (!list[i].sums[algo].len)
			return s3_error_text(err, "InvalidRequest",
					     "The upload was created using a %s checksum. The complete request must "
					     "include the checksum for each part. It was missing for part %" PRId64
					     " in the request.",
					     checksum_word(algo), list[i].number);
	return 0;
}

static int check_part(struct s3_call *c, const struct listed *l, const struct s3_part_row *row, bool last,
		      struct error *err)
{
	const struct s3_checksum sum = s3_checksum_parse(row->checksum);
	if (!s3_meta_etag_is(l->etag, row->etag))
		return invalid_part(c, l, err);
	for (int a = CHECKSUM_CRC32; a < CHECKSUM_COUNT; a++)
		if (l->sums[a].len && (sum.algo != (enum checksum_algo)a || !str_eq(l->sums[a], sum.value)))
			return invalid_part(c, l, err);
	if (last || row->size_bytes >= S3_PART_MIN)
		return 0;
	s3_call_detail(c, "ProposedSize", str_from(arena_printf(c->a, "%" PRId64, row->size_bytes)));
	s3_call_detail(c, "MinSizeAllowed", str_from(arena_printf(c->a, "%d", S3_PART_MIN)));
	s3_call_detail(c, "PartNumber", str_from(arena_printf(c->a, "%" PRId64, l->number)));
	s3_call_detail(c, "ETag", row->etag);
	return s3_error(err, "EntityTooSmall");
}

/* Picks the listed rows out of all rows (both are sorted by number). */
static int pick_parts(struct s3_call *c, struct completion *k, const struct listed *list, struct s3_part_row *rows,
		      struct error *err)
{
	size_t at = 0;
	k->parts = ARENA_ARRAY(c->a, struct s3_part_row, k->n);
	for (size_t i = 0; i < k->n; i++) {
		for (; at < k->rows && rows[at].number < list[i].number; at++)
			k->unlisted_in_draft += str_eq(rows[at].blob, k->upload.blob);
		if (at == k->rows || rows[at].number != list[i].number)
			return invalid_part(c, &list[i], err);
		if (check_part(c, &list[i], &rows[at], i + 1 == k->n, err) < 0)
			return -1;
		k->parts[i] = rows[at++];
		k->size_bytes += k->parts[i].size_bytes;
	}
	for (; at < k->rows; at++)
		k->unlisted_in_draft += str_eq(rows[at].blob, k->upload.blob);
	return k->size_bytes > S3_OBJECT_MAX ? s3_error(err, "EntityTooLarge") : 0;
}

/* ---- entity tag and checksum of the whole ---- */

static void make_etag(struct s3_call *c, const struct completion *k)
{
	EVP_MD_CTX *md5 = EVP_MD_CTX_new();
	uint8_t sum[16];
	char hex[33];
	if (!md5 || !EVP_DigestInit_ex(md5, EVP_md5(), NULL))
		BUG("start MD5");
	for (size_t i = 0; i < k->n; i++) {
		if (!hex_decode(sum, 16, k->parts[i].etag))
			BUG("a part's entity tag is no MD5");
		EVP_DigestUpdate(md5, sum, 16);
	}
	EVP_DigestFinal_ex(md5, sum, NULL);
	EVP_MD_CTX_free(md5);
	hex_encode(hex, sum, 16);
	c->object.etag = str_from(arena_printf(c->a, "%s-%zu", hex, k->n));
}

/* The parts' common algorithm, or NONE. */
static enum checksum_algo common_algo(const struct completion *k)
{
	const enum checksum_algo first = s3_checksum_parse(k->parts[0].checksum).algo;
	for (size_t i = 1; i < k->n; i++)
		if (s3_checksum_parse(k->parts[i].checksum).algo != first)
			return CHECKSUM_NONE;
	return first;
}

static const char *composite(struct s3_call *c, const struct completion *k, enum checksum_algo algo)
{
	struct checksum sum;
	char text[CHECKSUM_TEXT_MAX];
	uint8_t raw[64];
	checksum_init(&sum, algo);
	for (size_t i = 0; i < k->n; i++) {
		if (base64_decode(raw, s3_checksum_parse(k->parts[i].checksum).value) < 0)
			BUG("a part's checksum is no base64");
		checksum_update(&sum, raw, checksum_bytes(algo));
	}
	checksum_final(&sum, text);
	return arena_printf(c->a, "%s-%zu", text, k->n);
}

static const char *combined(struct s3_call *c, const struct completion *k, enum checksum_algo algo)
{
	char text[CHECKSUM_TEXT_MAX], more[CHECKSUM_TEXT_MAX];
	snprintf(text, sizeof(text), "%.*s", STR_ARG(s3_checksum_parse(k->parts[0].checksum).value));
	for (size_t i = 1; i < k->n; i++) {
		if (!checksum_combine(algo, str_from(text), s3_checksum_parse(k->parts[i].checksum).value,
				      (uint64_t)k->parts[i].size_bytes, more))
			BUG("parts' checksums do not combine");
		memcpy(text, more, sizeof(text));
	}
	return arena_printf(c->a, "%s", text);
}

static int make_checksum(struct s3_call *c, const struct completion *k, struct error *err)
{
	enum checksum_algo algo;
	bool is_composite;
	s3_upload_checksum(k->upload.checksum, &algo, &is_composite);
	c->object.checksum = STR("");
	if (algo == CHECKSUM_NONE)
		algo = common_algo(k); /* not announced: full-object when the parts allow it */
	if (algo == CHECKSUM_NONE || (!is_composite && !checksum_is_crc(algo)))
		return 0;
	const char *value = is_composite ? composite(c, k, algo) : combined(c, k, algo);
	const struct str given = s3_call_header(c, checksum_header(algo));
	c->object.checksum = str_from(
		arena_printf(c->a, "%s %s %s", checksum_name(algo), value, is_composite ? "COMPOSITE" : "FULL_OBJECT"));
	struct str whole = str_from(value);
	if (is_composite && str_find_char(given, '-') < 0) /* the number of parts may be left out */
		whole = str_head(whole, (size_t)str_find_char(whole, '-'));
	if (given.len && !str_eq(given, whole))
		return s3_error_text(err, "BadDigest", "The %s you specified did not match the calculated checksum.",
				     checksum_name(algo));
	return 0;
}

static void make_parts_text(struct s3_call *c, const struct completion *k)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	buf_add_str(&b, k->upload.id);
	for (size_t i = 0; i < k->n; i++)
		buf_printf(&b, " %" PRId64 ":%.*s", k->parts[i].size_bytes,
			   STR_ARG(s3_checksum_parse(k->parts[i].checksum).value));
	c->object.parts = arena_str(c->a, buf_str(&b));
}

/* ---- one file ---- */

static bool in_draft(const struct completion *k, const struct s3_part_row *p)
{
	return str_eq(p->blob, k->upload.blob);
}

/* Every listed part that is in the draft is where it belongs, and the draft holds nothing else that counts. */
static bool draft_fits(const struct completion *k)
{
	int64_t at = 0;
	if (!k->alone || k->unlisted_in_draft > 0)
		return false;
	for (size_t i = 0; i < k->n; at += k->parts[i++].size_bytes)
		if (in_draft(k, &k->parts[i]) && k->parts[i].position != at)
			return false;
	return true;
}

static int copy_part(struct s3_call *c, const struct s3_part_row *p, int out, int64_t at, struct error *err)
{
	CLEANUP_FD int in = blob_open(c->s->blobs, p->blob.ptr, err);
	return in < 0 ? -1 : blob_copy_range(in, p->position, out, at, p->size_bytes, err);
}

static int fill_draft(struct s3_call *c, struct completion *k, struct error *err)
{
	CLEANUP_FD int fd = blob_draft_open(c->s->blobs, k->upload.blob.ptr, err);
	if (fd < 0)
		return -1;
	int64_t at = 0;
	for (size_t i = 0; i < k->n; at += k->parts[i++].size_bytes)
		if (!in_draft(k, &k->parts[i]) && copy_part(c, &k->parts[i], fd, at, err) < 0)
			return -1;
	c->object.blob = k->upload.blob;
	return blob_draft_seal(c->s->blobs, k->upload.blob.ptr, k->size_bytes, err);
}

static int concatenate(struct s3_call *c, struct completion *k, struct error *err)
{
	struct blob_writer w;
	if (blob_room_bytes(c->s->blobs) < k->size_bytes)
		return s3_error(err, "InsufficientStorage");
	if (blob_create(c->s->blobs, &w, err) < 0)
		return -1;
	int64_t at = 0;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < k->n; at += k->parts[i++].size_bytes)
		rc = copy_part(c, &k->parts[i], w.fd, at, err);
	char id[BLOB_ID_LEN + 1];
	memcpy(id, w.id, sizeof(id));
	if (rc == 0)
		rc = blob_publish(&w, err);
	blob_abort(&w);
	if (rc < 0)
		return -1;
	s3_body_adopt(c, id);
	c->object.blob = arena_str(c->a, str_from(id));
	return 0;
}

/* From here on new parts don't go to the draft. */
static void seal(struct s3_call *c, struct completion *k)
{
	pthread_mutex_lock(&c->s->uploads_lock);
	k->live = s3_live_get(c->s, k->upload.id);
	k->alone = k->live->refs == 1;
	k->live->sealed = true;
	pthread_mutex_unlock(&c->s->uploads_lock);
}

static void unseal(struct s3_call *c)
{
	struct completion *k = c->work;
	if (!k->live)
		return;
	pthread_mutex_lock(&c->s->uploads_lock);
	k->live->sealed = false;
	pthread_mutex_unlock(&c->s->uploads_lock);
	s3_live_put(c->s, k->live);
	k->live = NULL;
}

/* ---- the operation ---- */

/* The upload is gone, but the key's current object came of it: the client repeats a request whose answer was lost. */
static int completed_before(struct s3_call *c, struct db *db, struct completion *k, struct error *err)
{
	const struct str id = s3_call_arg(c, "uploadId", NULL);
	struct s3_object o;
	const int rc = s3_object_find(db, c->a, c->bucket.id, c->key, STR_NULL, false, &o, err);
	if (rc < 0)
		return -1;
	if (rc == 0 || id.len != 32 || o.parts.len <= id.len || o.parts.ptr[id.len] != ' ' || !str_starts(o.parts, id))
		return s3_error(err, "NoSuchUpload");
	c->object = o;
	k->repeated_version = arena_strdup(c->a, o.version);
	return 0;
}

static int read_state(struct s3_call *c, struct completion *k, const struct listed *list, struct error *err)
{
	struct s3_part_row *rows = NULL;
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct db *db = store_read_begin(c->s->store, err);
	if (!db)
		return -1;
	int rc = s3_call_bucket_now(c, db, err);
	if (rc == 0 && s3_upload_find(c, db, &k->upload, &why) < 0)
		rc = error_is(&why, "NoSuchUpload") ? completed_before(c, db, k, err) : error_move(err, &why);
	if (rc == 0 && !k->repeated_version) {
		seal(c, k);
		/* the rows as of after the seal: what is in the draft now stays as it is */
		store_read_end(c->s->store, db);
		db = store_read_begin(c->s->store, err);
		rc = db ? s3_upload_find(c, db, &k->upload, err) : -1;
		if (rc == 0)
			rc = s3_upload_parts(c, db, k->upload.id, &rows, &k->rows, err);
		if (rc == 0)
			rc = check_mode(c, k, list, err);
		if (rc == 0)
			rc = pick_parts(c, k, list, rows, err);
		if (rc == 0)
			rc = s3_meta_write_conditions(c, db, err);
	}
	if (db)
		store_read_end(c->s->store, db);
	return rc;
}

static int check_size(struct s3_call *c, const struct completion *k, struct error *err)
{
	const struct str text = s3_call_header(c, "x-amz-mp-object-size");
	int64_t size;
	if (!text.ptr)
		return 0;
	if (str_to_i64(text, &size) && size == k->size_bytes)
		return 0;
	return s3_error_text(
		err, "InvalidRequest",
		"The provided 'x-amz-mp-object-size' header value %.*s does not match what was computed: %" PRId64,
		STR_ARG(text), k->size_bytes);
}

static int prepare(struct s3_call *c, struct completion *k, struct error *err)
{
	const struct listed *list = read_list(c, &k->n, err);
	if (!list || read_state(c, k, list, err) < 0)
		return -1;
	if (k->repeated_version)
		return 0;
	c->object = (struct s3_object){ .key = c->key,
					.size_bytes = k->size_bytes,
					.storage = k->upload.storage,
					.headers = k->upload.headers,
					.tags = k->upload.tags };
	make_etag(c, k);
	make_parts_text(c, k);
	if (make_checksum(c, k, err) < 0 || check_size(c, k, err) < 0)
		return -1;
	return draft_fits(k) ? fill_draft(c, k, err) : concatenate(c, k, err);
}

static int write_complete(struct s3_call *c, struct turn *t, struct error *err)
{
	struct completion *k = c->work;
	struct s3_upload now;
	if (s3_call_bucket_now(c, turn_db(t), err) < 0 || s3_upload_find(c, turn_db(t), &now, err) < 0 ||
	    s3_meta_write_conditions(c, turn_db(t), err) < 0)
		return -1;
	/* Checked beside the conditions themselves ("Conditional writes", Amazon S3 user guide): the client begins
	 * anew. */
	if (now.conflict && (s3_call_header(c, "if-match").ptr || s3_call_header(c, "if-none-match").ptr))
		return s3_error(err, "ConditionalRequestConflict");
	if (now.changes != k->upload.changes)
		return error_http(err, 409, "OperationAborted",
				  "A part was uploaded while the upload was being completed. Please try again.");
	if (s3_object_put(t, &c->bucket, &c->object, err) < 0)
		return -1;
	c->object.version = arena_str(c->a, c->object.version);
	return s3_upload_drop(t, k->upload.id, k->upload.blob, err);
}

static void answer_complete(struct s3_call *c)
{
	struct buf b = BUF_INIT;
	s3_xml_start(&b, "CompleteMultipartUploadResult");
	xml_text(&b, "Location",
		 str_from(arena_printf(c->a, "http://%.*s%.*s", STR_ARG(wire_header(c->r, "host")),
				       STR_ARG(wire_raw_path(c->r)))));
	xml_text(&b, "Bucket", c->bucket_name);
	xml_text(&b, "Key", c->key);
	s3_xml_etag(&b, c->object.etag);
	s3_checksum_xml(&b, c->object.checksum, true);
	xml_close(&b, "CompleteMultipartUploadResult");
	s3_put_headers(c);
	s3_call_send_xml(c, 200, &b);
}

static void complete_now(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct completion *k = c->work;
	if (prepare(c, k, &err) < 0)
		s3_call_fail(c, &err);
	else if (k->repeated_version)
		answer_complete(c);
	else
		s3_call_write(c, write_complete, answer_complete);
}

int s3_complete_begin(struct s3_call *c, struct error *err)
{
	c->work = ARENA_NEW(c->a, struct completion);
	c->cleanup = unseal;
	c->body.foreign_sums = true; /* x-amz-checksum-* speaks of the object */
	return s3_body_open(c, S3_BODY_XML, wire_body_length(c->r), err);
}

void s3_complete_upload(struct s3_call *c)
{
	s3_call_block(c, complete_now);
}
