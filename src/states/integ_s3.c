/* integ_s3.c - ItemReader and ResultWriter of distributed Map states: S3 objects and listings. See integ.h.
 *
 * DESIGN: read on an effect thread. CSV is RFC 4180 with AWS's delimiters; a row of only delimiters is an item of empty
 * texts. Parquet and inventory manifests are refused with a clear cause. */
#include "states/integ.h"

#include <stdlib.h>

enum { OBJECT_MAX = 64 << 20 };

/* ---- CSV ---- */

static char delimiter_of(const json_t *config)
{
	const char *d = json_get_text(config, "CSVDelimiter");
	if (!d || strcmp(d, "COMMA") == 0)
		return ',';
	return strcmp(d, "PIPE") == 0        ? '|'
	       : strcmp(d, "SEMICOLON") == 0 ? ';'
	       : strcmp(d, "SPACE") == 0     ? ' '
	       : strcmp(d, "TAB") == 0       ? '\t'
					     : ',';
}

/* One field of a row; moves *s behind it and its delimiter. *last: the row ends here. */
static json_t *csv_field(struct str *s, char delimiter, bool *last)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	size_t i = 0;
	bool quoted = s->len && s->ptr[0] == '"';
	for (i = quoted; i < s->len; i++) {
		char c = s->ptr[i];
		if (quoted && c == '"') {
			if (i + 1 < s->len && s->ptr[i + 1] == '"') {
				i++;
			} else {
				quoted = false;
				continue;
			}
		} else if (!quoted && (c == delimiter || c == '\n')) {
			break;
		}
		buf_add_char(&b, c);
	}
	*last = i >= s->len || s->ptr[i] == '\n';
	*s = str_skip(*s, i + 1);
	if (*last && b.len && b.ptr[b.len - 1] == '\r')
		b.len--;
	return json_stringn(buf_str(&b).ptr, b.len);
}

static json_t *csv_row(struct str *s, char delimiter)
{
	json_t *row = json_array();
	bool last = false;
	while (!last)
		json_array_append_new(row, csv_field(s, delimiter, &last));
	return row;
}

static bool duplicates(const json_t *headers)
{
	for (size_t i = 0; i < json_array_size(headers); i++)
		for (size_t k = 0; k < i; k++)
			if (json_equal(json_array_get(headers, i), json_array_get(headers, k)))
				return true;
	return false;
}

static json_t *read_csv(struct str text, const json_t *config, int64_t most, const char **why)
{
	char delimiter = delimiter_of(config);
	const char *location = json_get_text(config, "CSVHeaderLocation");
	bool given = location && strcmp(location, "GIVEN") == 0;
	CLEANUP_JSON json_t *headers = given ? json_incref(json_object_get(config, "CSVHeaders")) : NULL;
	if (!headers)
		headers = text.len ? csv_row(&text, delimiter) : json_array();
	if (duplicates(headers)) {
		*why = "CSV headers cannot contain duplicates.";
		return NULL;
	}
	json_t *items = json_array();
	while (text.len && (int64_t)json_array_size(items) < most) {
		CLEANUP_JSON json_t *row = csv_row(&text, delimiter);
		if (json_array_size(row) == 1 && json_string_length(json_array_get(row, 0)) == 0)
			continue;
		json_t *item = json_object();
		for (size_t i = 0; i < json_array_size(headers); i++) {
			json_t *v = json_array_get(row, i);
			json_object_set_new(item, json_string_value(json_array_get(headers, i)),
					    v ? json_incref(v) : json_string(""));
		}
		json_array_append_new(items, item);
	}
	return items;
}

/* ---- JSON ---- */

static json_t *read_lines(struct arena *a, struct str text, int64_t most, const char **why)
{
	json_t *items = json_array();
	struct str line;
	while ((int64_t)json_array_size(items) < most && str_split(&text, '\n', &line)) {
		line = str_trim(line);
		if (!line.len)
			continue;
		json_t *item = asl_read_json(a, line, false, NULL);
		if (!item) {
			*why = "Invalid JSON Lines file: a line is not valid JSON.";
			json_decref(items);
			return NULL;
		}
		json_array_append_new(items, item);
	}
	return items;
}

static json_t *pick(json_t *whole, const char *pointer)
{
	struct str rest = str_from(pointer ? pointer : ""), part;
	json_t *at = whole;
	str_split(&rest, '/', &part);
	while (at && rest.ptr && str_split(&rest, '/', &part)) {
		int64_t i;
		if (json_is_array(at) && str_to_i64(part, &i))
			at = json_array_get(at, (size_t)i);
		else
			at = json_object_getn(at, part.ptr, part.len);
	}
	return at;
}

static json_t *read_json(struct arena *a, struct str text, const json_t *config, int64_t most, const char **why)
{
	CLEANUP_JSON json_t *whole = asl_read_json(a, text, false, NULL);
	json_t *list = whole ? pick(whole, json_get_text(config, "ItemsPointer")) : NULL, *value;
	const char *key;
	size_t i;
	if (!json_is_array(list) && !json_is_object(list)) {
		*why = "Attempting to map over non-iterable node.";
		return NULL;
	}
	json_t *items = json_array();
	if (json_is_object(list)) {
		json_object_foreach (list, key, value)
			if ((int64_t)json_array_size(items) < most)
				json_array_append_new(items, json_pack("{s:s,s:O}", "Key", key, "Value", value));
		return items;
	}
	json_array_foreach (list, i, value)
		if ((int64_t)i < most)
			json_array_append(items, value);
	return items;
}

/* ---- reader ---- */

struct listing {
	json_t *items;
	int64_t most;
};

static int list_one(void *ctx, const struct s3_entry *e)
{
	struct listing *l = ctx;
	json_t *o = json_object();
	json_object_set_new(o, "Etag", json_stringn(e->etag.ptr, e->etag.len));
	json_object_set_new(o, "Key", json_stringn(e->key.ptr, e->key.len));
	json_set_int(o, "LastModified", e->modified_ms / 1000);
	json_set_int(o, "Size", e->size_bytes);
	json_set_text(o, "StorageClass", "STANDARD");
	json_array_append_new(l->items, o);
	return (int64_t)json_array_size(l->items) >= l->most;
}

static json_t *read_items(struct states *s, struct db *db, struct arena *a, json_t *payload, const char **why,
			  struct error *err)
{
	json_t *params = json_object_get(payload, "params");
	const json_t *config = json_object_get(payload, "config");
	const char *resource = json_get_text(payload, "resource"), *type = json_get_text(config, "InputType");
	int64_t most = json_get_int(payload, "most", INT64_MAX);
	struct str bucket = json_get_str(params, "Bucket"), text;
	if (resource && strstr(resource, ":s3:listObjectsV2")) {
		struct listing l = { json_array(), most };
		struct str prefix = json_get_str(params, "Prefix");
		if (s3_each(db, bucket, prefix.ptr ? prefix : STR(""), list_one, &l, err) == 0)
			return l.items;
		json_decref(l.items);
		return NULL;
	}
	if (!resource || !strstr(resource, ":s3:getObject")) {
		*why = "Quern reads items with s3:getObject and s3:listObjectsV2 only.";
		return NULL;
	}
	if (s3_read(s->o.s3, db, bucket, json_get_str(params, "Key"), OBJECT_MAX, a, &text, err) < 0)
		return NULL;
	if (type && strcmp(type, "CSV") == 0)
		return read_csv(text, config, most, why);
	if (type && strcmp(type, "JSONL") == 0)
		return read_lines(a, text, most, why);
	if (!type || strcmp(type, "JSON") == 0)
		return read_json(a, text, config, most, why);
	*why = arena_printf(a, "Quern does not read items of type %s yet.", type);
	return NULL;
}

json_t *integ_items(struct states *s, struct arena *a, json_t *payload, const char **why)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	*why = NULL;
	if (!s->o.s3) {
		*why = "This Quern has no S3.";
		return NULL;
	}
	struct db *db = store_read_begin(engine_store(s->o.engine), &err);
	json_t *items = db ? read_items(s, db, a, payload, why, &err) : NULL;
	if (db)
		store_read_end(engine_store(s->o.engine), db);
	if (!items && !*why)
		*why = arena_strdup(a, str_from(error_text(&err)));
	return items;
}

/* ---- writer ---- */

struct put {
	struct str bucket;
	const char *key;
	struct str body;
};
struct puts {
	struct put list[8];
	int count;
};

static int puts_run(struct turn *t, void *arg, struct error *err)
{
	struct puts *p = arg;
	for (int i = 0; i < p->count; i++)
		if (s3_put_small(t, p->list[i].bucket, str_from(p->list[i].key), p->list[i].body, "application/json",
				 err) < 0)
			return -1;
	return 0;
}

/* One child as the files show it. */
static json_t *child_record(struct arena *a, const json_t *one)
{
	json_t *o = json_object();
	const char *status = json_get_text(one, "status");
	json_object_set_new(o, "ExecutionArn", json_incref(json_object_get(one, "arn")));
	json_t *input = json_object_get(one, "input"), *output = json_object_get(one, "output");
	struct str text;
	if (input) {
		text = asl_text(a, input);
		json_object_set_new(o, "Input", json_stringn(text.ptr, text.len));
		json_object_set_new(o, "InputDetails", json_pack("{s:b}", "Included", 1));
	}
	const char *arn = json_get_text(one, "arn"), *name = arn ? strrchr(arn, ':') : NULL;
	json_set_text(o, "Name", name ? name + 1 : NULL);
	if (output) {
		text = asl_text(a, output);
		json_object_set_new(o, "Output", json_stringn(text.ptr, text.len));
		json_object_set_new(o, "OutputDetails", json_pack("{s:b}", "Included", 1));
	}
	json_set_text(o, "Error", json_get_text(one, "error"));
	json_set_text(o, "Cause", json_get_text(one, "cause"));
	json_set_text(o, "Status", status);
	return o;
}

static void add_file(struct arena *a, struct puts *p, struct str bucket, const char *folder, const char *name,
		     json_t *records, bool lines, json_t *manifest)
{
	size_t i;
	json_t *one;
	if (!json_array_size(records))
		return;
	CLEANUP_BUF struct buf b = BUF_INIT;
	if (lines)
		json_array_foreach (records, i, one) {
			buf_add_str(&b, asl_text(a, one));
			buf_add_char(&b, '\n');
		}
	else
		buf_add_str(&b, asl_text(a, records));
	const char *key = arena_printf(a, "%s/%s_0.%s", folder, name, lines ? "jsonl" : "json");
	p->list[p->count++] = (struct put){ bucket, key, arena_str(a, buf_str(&b)) };
	json_t *files = json_array();
	json_array_append_new(files, json_pack("{s:s,s:I}", "Key", key, "Size", (json_int_t)b.len));
	json_object_set_new(manifest, name, files);
}

json_t *integ_results(struct states *s, struct arena *a, json_t *payload, const char **why)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const json_t *params = json_object_get(payload, "params"), *config = json_object_get(payload, "config");
	const char *run = json_get_text(payload, "map_run"), *form = json_get_text(config, "OutputType"),
		   *how = json_get_text(config, "Transformation");
	const char *id = strrchr(run, ':') + 1, *prefix = json_get_text(params, "Prefix");
	const char *folder = prefix && *prefix ? arena_printf(a, "%s/%s", prefix, id) : id;
	struct str bucket = json_get_str(params, "Bucket");
	CLEANUP_JSON json_t *good = json_array(), *bad = json_array(), *files = json_object(), *manifest = NULL;
	bool lines = form && strcmp(form, "JSONL") == 0, compact = how && strcmp(how, "NONE") != 0,
	     flatten = how && strcmp(how, "FLATTEN") == 0;
	struct puts p = { .count = 0 };
	size_t i;
	json_t *one;
	json_array_foreach (json_object_get(payload, "results"), i, one) {
		json_t *output = json_object_get(one, "output");
		if (flatten && json_is_array(output))
			json_array_extend(good, output);
		else if (output && compact)
			json_array_append(good, output);
		else
			json_array_append_new(output ? good : bad, child_record(a, one));
	}
	if (!s->o.s3) {
		*why = "This Quern has no S3.";
		return NULL;
	}
	add_file(a, &p, bucket, folder, "SUCCEEDED", good, lines, files);
	add_file(a, &p, bucket, folder, "FAILED", bad, lines, files);
	static const char *const names[] = { "FAILED", "PENDING", "SUCCEEDED" };
	for (size_t k = 0; k < 3; k++)
		if (!json_object_get(files, names[k]))
			json_object_set_new(files, names[k], json_array());
	manifest = json_pack("{s:s#,s:s,s:O}", "DestinationBucket", bucket.ptr, (int)bucket.len, "MapRunArn", run,
			     "ResultFiles", files);
	const char *key = arena_printf(a, "%s/manifest.json", folder);
	p.list[p.count++] = (struct put){ bucket, key, asl_text(a, manifest) };
	if (engine_call(s->o.engine, puts_run, &p, &err) < 0) {
		*why = arena_strdup(a, str_from(error_text(&err)));
		return NULL;
	}
	return json_pack("{s:s,s:{s:s#,s:s}}", "MapRunArn", run, "ResultWriterDetails", "Bucket", bucket.ptr,
			 (int)bucket.len, "Key", key);
}
