/* items.c - where the items of a distributed Map come from: the state's input, an object of S3, a listing, or a
 * manifest that names many objects. See items.h. */
#include "states/integ.h"
#include "states/items.h"

#include <stdlib.h>

enum { PAGE = 1000, MANIFEST_MAX = 16 << 20 };
enum form { FORM_NONE, FORM_CSV, FORM_JSONL, FORM_JSON };

struct items {
	struct states *s;
	const json_t *source, *config;
	int64_t left; /* MaxItems */
	json_t *list; /* items or keys in hand; owned or NULL */
	size_t at;
	/* a listing */
	bool listing, listed;
	char *after;
	/* objects one after the other: of a manifest, or of a listing that is loaded */
	bool flatten;
	json_t *files; /* [{"bucket","key"}]; owned or NULL */
	size_t file;
	/* the object in hand */
	enum form form;
	bool open;
	struct bytes bytes;
	struct csv csv;
	struct buf line;
	struct json_doc *doc;
	json_t *part_config; /* how the objects are read; owned */
	struct arena a;
};

static const char *const no_s3 = "This Quern has no S3.";

/* ---- one object ---- */

static void close_part(struct items *r)
{
	if (r->open) {
		bytes_close(&r->bytes);
		csv_close(&r->csv);
	}
	r->open = false;
	if (r->doc)
		buf_release(&r->doc->text);
	free(r->doc);
	r->doc = NULL;
	arena_release(&r->a);
}

/* Is this for the machine's role to read? For s3:ListBucket `key` is the prefix. */
static int may(struct items *r, const char *action, struct str bucket, struct str key, struct error *err)
{
	struct integ_request q = { .s = r->s, .arena = ARENA_INIT, .session = "states" };
	q.role = json_get_text(r->source, "role");
	int rc = q.role ? integ_caller(&q, err) : 0;
	if (rc == 0 && q.role && r->s->o.iam)
		rc = iam_may_s3(r->s->o.iam, &q.arena, &q.who, action, bucket, key, err);
	arena_release(&q.arena);
	return rc;
}

static int open_part(struct items *r, struct str bucket, struct str key, struct str version, struct error *err)
{
	r->csv = (struct csv){ 0 };
	r->open = true;
	struct str text = json_get_str(r->source, "text");
	if (text.ptr)
		bytes_of_text(&r->bytes, text);
	else if (may(r, "s3:GetObject", bucket, key, err) < 0 ||
		 bytes_open(r->s, bucket, key, version, r->files != NULL, &r->bytes, err) < 0)
		return -1;
	if (r->form == FORM_CSV)
		return csv_open(&r->csv, &r->bytes, r->part_config, err);
	if (r->form != FORM_JSON)
		return 0;
	r->doc = mem_calloc(1, sizeof(*r->doc));
	return json_doc_open(r->doc, &r->bytes, &r->a, json_get_text(r->config, "ItemsPointer"), err);
}

static int next_of_part(struct items *r, json_t **item, struct error *err)
{
	int rc = r->form == FORM_CSV     ? csv_next(&r->csv, &r->bytes, item, err)
		 : r->form == FORM_JSONL ? jsonl_next(&r->bytes, &r->line, &r->a, item, err)
					 : json_doc_next(r->doc, &r->bytes, &r->a, item, err);
	if (r->a.used_bytes > 1 << 20)
		arena_release(&r->a);
	return rc;
}

/* ---- listings ---- */

static int list_one(void *ctx, const struct s3_entry *e)
{
	struct items *r = ctx;
	json_t *o = json_object();
	json_object_set_new(o, "Etag", json_sprintf("\"%.*s\"", STR_ARG(e->etag)));
	json_object_set_new(o, "Key", json_stringn(e->key.ptr, e->key.len));
	json_set_int(o, "LastModified", e->modified_ms / 1000);
	json_set_int(o, "Size", e->size_bytes);
	json_object_set_new(o, "StorageClass", json_stringn(e->storage.ptr, e->storage.len));
	json_array_append_new(r->list, o);
	return json_array_size(r->list) >= PAGE;
}

static int list_page(struct items *r, struct error *err)
{
	const json_t *params = json_object_get(r->source, "params");
	struct str prefix = json_get_str(params, "Prefix"), start = json_get_str(params, "StartAfter"),
		   after = r->after    ? str_from(r->after)
			   : start.ptr ? start
				       : STR("");
	if (!r->s->o.s3)
		return error_set(err, "%s", no_s3);
	if (may(r, "s3:ListBucket", json_get_str(params, "Bucket"), prefix, err) < 0)
		return -1;
	json_decref(r->list);
	r->list = json_array();
	r->at = 0;
	struct db *db = store_read_begin(engine_store(r->s->o.engine), err);
	if (!db)
		return -1;
	int rc = s3_each_after(db, json_get_str(params, "Bucket"), prefix.ptr ? prefix : STR(""), after, list_one, r,
			       err);
	store_read_end(engine_store(r->s->o.engine), db);
	size_t n = json_array_size(r->list);
	r->listed = n < PAGE;
	if (n) {
		free(r->after);
		r->after = mem_strdup(json_get_text(json_array_get(r->list, n - 1), "Key"));
	}
	return rc < 0 ? -1 : 0;
}

/* The next of the list in hand (borrowed), NULL at the end or with err. */
static json_t *next_listed(struct items *r, struct error *err)
{
	while (r->at >= json_array_size(r->list)) {
		if (!r->listing || r->listed || list_page(r, err) < 0)
			return NULL;
	}
	return json_array_get(r->list, r->at++);
}

/* ---- manifests ---- */

static void add_file(struct items *r, struct str bucket, struct str key)
{
	json_array_append_new(r->files,
			      json_pack("{s:s%,s:s%}", "bucket", bucket.ptr, bucket.len, "key", key.ptr, key.len));
}

/* {"destinationBucket": ARN, "fileFormat": "CSV", "fileSchema": "Bucket, Key, …", "files": [{"key"}…]} */
static int read_inventory(struct items *r, struct str text, struct error *err)
{
	CLEANUP_JSON json_t *manifest = json_parse(text, NULL);
	const char *format = json_get_text(manifest, "fileFormat");
	struct str bucket = json_get_str(manifest, "destinationBucket"), schema = json_get_str(manifest, "fileSchema"),
		   one;
	json_t *files = json_object_get(manifest, "files"), *file, *headers = json_array();
	size_t i;
	r->part_config = json_pack("{s:s,s:o}", "CSVHeaderLocation", "GIVEN", "CSVHeaders", headers);
	r->form = FORM_CSV;
	if (!json_is_array(files) || !bucket.ptr || !schema.ptr)
		return error_set(err, "The manifest is not one of an S3 inventory.");
	if (!format || strcmp(format, "CSV") != 0)
		return error_set(err, "Quern reads S3 inventories in CSV, not in %s.", format ? format : "no format");
	if (str_starts(bucket, STR("arn:aws:s3:::")))
		bucket = str_skip(bucket, 13);
	while (str_split(&schema, ',', &one)) {
		one = str_trim(one);
		json_array_append_new(headers, json_stringn(one.ptr, one.len));
	}
	json_array_foreach (files, i, file)
		if (json_get_text(file, "key"))
			add_file(r, bucket, json_get_str(file, "key"));
	return 0;
}

/* Lines "s3://bucket/key". */
static int read_unload(struct items *r, struct str text, struct error *err)
{
	struct str one, bucket, key;
	while (str_split(&text, '\n', &one)) {
		one = str_trim(one);
		if (one.len >= 2 && one.ptr[0] == '"')
			one = str_of(one.ptr + 1, one.len - 2);
		if (!one.len)
			continue;
		if (!s3_parse_uri(one, &bucket, &key) || !key.len)
			return error_set(err, "The manifest has a line that is no S3 URI.");
		add_file(r, bucket, key);
	}
	return 0;
}

static int open_manifest(struct items *r, struct str bucket, struct str key, struct str version, bool unload,
			 struct error *err)
{
	struct arena a = ARENA_INIT;
	struct s3_reader body = { .fd = -1 };
	if (!r->s->o.s3)
		return error_set(err, "%s", no_s3);
	if (may(r, "s3:GetObject", bucket, key, err) < 0)
		return -1;
	struct db *db = store_read_begin(engine_store(r->s->o.engine), err);
	if (!db)
		return -1;
	int rc = s3_reader_open(r->s->o.s3, db, bucket, key, version, &body, err);
	store_read_end(engine_store(r->s->o.engine), db);
	if (rc == 0 && body.size_bytes > MANIFEST_MAX)
		rc = error_set(err, "The manifest is larger than 16 MiB.");
	char *p = rc < 0 ? NULL : arena_alloc_raw(&a, (size_t)body.size_bytes + 1);
	for (int64_t n = 0; rc == 0 && n < body.size_bytes;) {
		ptrdiff_t k = s3_reader_read(&body, n, p + n, (size_t)(body.size_bytes - n), err);
		if (k == 0)
			error_set(err, "The manifest ends too early.");
		rc = k > 0 ? 0 : -1;
		n += k;
	}
	r->files = json_array();
	struct str text = rc < 0 ? STR_NULL : str_of(p, (size_t)body.size_bytes);
	if (rc == 0)
		rc = unload ? read_unload(r, text, err) : read_inventory(r, text, err);
	s3_reader_close(&body);
	arena_release(&a);
	return rc;
}

/* Opens the next object of several: 1, 0 there is none, < 0. */
static int next_file(struct items *r, struct error *err)
{
	if (r->flatten) {
		CLEANUP_ERROR struct error why = ERROR_INIT;
		json_t *one = next_listed(r, &why);
		if (!one)
			return why.message ? error_move(err, &why) : 0;
		return open_part(r, json_get_str(json_object_get(r->source, "params"), "Bucket"),
				 json_get_str(one, "Key"), STR_NULL, err) < 0
			       ? -1
			       : 1;
	}
	const json_t *one = json_array_get(r->files, r->file);
	if (!one)
		return 0;
	r->file++;
	return open_part(r, json_get_str(one, "bucket"), json_get_str(one, "key"), STR_NULL, err) < 0 ? -1 : 1;
}

/* ---- the reader ---- */

static enum form form_of(const char *type)
{
	return !type || strcmp(type, "JSON") == 0 ? FORM_JSON
	       : strcmp(type, "CSV") == 0         ? FORM_CSV
	       : strcmp(type, "JSONL") == 0       ? FORM_JSONL
						  : FORM_NONE;
}

static int open_source(struct items *r, struct error *err)
{
	const json_t *params = json_object_get(r->source, "params");
	const char *resource = json_get_text(r->source, "resource"), *type = json_get_text(r->config, "InputType"),
		   *manifest = json_get_text(r->config, "ManifestType"),
		   *change = json_get_text(r->config, "Transformation");
	struct str bucket = json_get_str(params, "Bucket"), key = json_get_str(params, "Key");
	r->list = json_incref(json_object_get(r->source, "items"));
	if (r->list)
		return 0;
	r->form = form_of(type);
	r->part_config = json_incref((json_t *)r->config);
	if (json_object_get(r->source, "text"))
		return r->form ? open_part(r, STR_NULL, STR_NULL, STR_NULL, err)
			       : error_set(err, "Quern does not read items of type %s yet.", type);
	if (resource && strstr(resource, ":s3:listObjectsV2")) {
		r->listing = true;
		r->flatten = change && strcmp(change, "LOAD_AND_FLATTEN") == 0;
		if (r->flatten && !r->form)
			return error_set(err, "Quern does not read items of type %s yet.", type);
		return list_page(r, err);
	}
	if (!resource || !strstr(resource, ":s3:getObject"))
		return error_set(err, "Quern reads items with s3:getObject and s3:listObjectsV2 only.");
	bool unload = manifest && strcmp(manifest, "ATHENA_DATA") == 0;
	if ((type && strcmp(type, "MANIFEST") == 0) || unload) {
		json_decref(r->part_config);
		r->part_config = unload ? json_incref((json_t *)r->config) : NULL;
		if (unload && !r->form)
			return error_set(err, "Quern does not read items of type %s yet.", type);
		return open_manifest(r, bucket, key, json_get_str(params, "VersionId"), unload, err);
	}
	if (!r->form)
		return error_set(err, "Quern does not read items of type %s yet.", type);
	return open_part(r, bucket, key, json_get_str(params, "VersionId"), err);
}

int items_open(struct states *s, const json_t *source, struct items **out, struct error *err)
{
	struct items *r = mem_calloc(1, sizeof(*r));
	r->s = s;
	r->source = source;
	r->config = json_object_get(source, "config");
	r->left = json_get_int(source, "most", INT64_MAX);
	if (open_source(r, err) < 0) {
		items_close(r);
		return -1;
	}
	*out = r;
	return 0;
}

static int next(struct items *r, json_t **item, struct error *err)
{
	if (!r->form || (r->listing && !r->flatten)) {
		CLEANUP_ERROR struct error why = ERROR_INIT;
		json_t *one = next_listed(r, &why);
		if (!one)
			return why.message ? error_move(err, &why) : 0;
		if (item)
			*item = json_incref(one);
		return 1;
	}
	for (;;) {
		int rc = r->open ? next_of_part(r, item, err) : 0;
		if (rc != 0)
			return rc;
		close_part(r);
		rc = next_file(r, err);
		if (rc <= 0)
			return rc;
	}
}

int items_next(struct items *r, json_t **item, struct error *err)
{
	if (r->left <= 0)
		return 0;
	int rc = next(r, item, err);
	r->left -= rc > 0;
	return rc;
}

int items_skip(struct items *r, struct error *err)
{
	return items_next(r, NULL, err);
}

void items_close(struct items *r)
{
	if (!r)
		return;
	close_part(r);
	buf_release(&r->line);
	json_decref(r->list);
	json_decref(r->files);
	json_decref(r->part_config);
	free(r->after);
	arena_release(&r->a);
	free(r);
}
