/* exec_results.c - what the children of a map run gave: as the state's result, or as files of a ResultWriter. See
 * exec.h.
 *
 * DESIGN: rows are read in pages, each in a snapshot of its own, in the order of the items. Files are written piece by
 * piece as future bodies (s3_writer) on the effect's thread; the parent's turn makes objects of them, with the
 * manifest, in one transaction. Records are written as text: of a million children nobody makes trees. */
#include "states/integ.h"

#include <stdlib.h>

enum { PAGE = 500, FLUSH_BYTES = 256 << 10 };
enum change { CHANGE_NONE, CHANGE_COMPACT, CHANGE_FLATTEN };

/* One child's row; borrowed during the call. */
struct child {
	int64_t num, start_ms, stop_ms, redrive_count;
	bool express, redrivable;
	struct str arn, name, machine, status, input, output, error, cause; /* ptr NULL: none */
};

static enum change change_of(const json_t *config, enum change fallback)
{
	const char *how = json_get_text(config, "Transformation");
	return !how                          ? fallback
	       : strcmp(how, "NONE") == 0    ? CHANGE_NONE
	       : strcmp(how, "FLATTEN") == 0 ? CHANGE_FLATTEN
					     : CHANGE_COMPACT;
}

static void read_child(struct rows *r, struct child *c)
{
	*c = (struct child){ .num = rows_int(r, 0),
			     .arn = rows_str(r, 1),
			     .name = rows_str(r, 2),
			     .machine = rows_str(r, 3),
			     .status = rows_str(r, 4),
			     .input = rows_str(r, 5),
			     .output = rows_str(r, 6),
			     .error = rows_str(r, 7),
			     .cause = rows_str(r, 8),
			     .start_ms = rows_int(r, 9),
			     .stop_ms = rows_int(r, 10),
			     .redrive_count = rows_int(r, 11),
			     .redrivable = rows_int(r, 12) != 0,
			     .express = str_eqz(rows_str(r, 13), "EXPRESS") };
}

/* Up to PAGE children after `num` (moved on). How many, or < 0; fn returns < 0 to stop. */
static int each_child(struct db *db, const char *map_run, int64_t *num,
		      int (*fn)(void *ctx, const struct child *c, struct error *err), void *ctx, struct error *err)
{
	CLEANUP_ROWS struct rows r = { 0 };
	int n = 0, rc = db_query(db, &r, err,
				 "SELECT num, arn, name, machine, status, input, output, error, cause, start_ms, "
				 "stop_ms, redrive_count, redrive_state IS NOT NULL, type FROM states_execution WHERE "
				 "map_run=? AND num>? ORDER BY num LIMIT ?",
				 "sii", map_run, *num, (int64_t)PAGE);
	while (rc >= 0 && (rc = rows_next(&r, err)) > 0) {
		struct child c;
		read_child(&r, &c);
		*num = c.num;
		n++;
		if (fn(ctx, &c, err) < 0)
			return -1;
	}
	return rc < 0 ? -1 : n;
}

/* ---- texts ---- */

static void add_text(struct buf *b, const char *key, struct str value)
{
	if (!value.ptr)
		return;
	buf_printf(b, "%s\"%s\":", b->len && b->ptr[b->len - 1] != '{' ? "," : "", key);
	history_quote(b, value);
}

static void add_time(struct buf *b, const char *key, int64_t ms)
{
	char when[32];
	if (ms)
		add_text(b, key, str_from(clock_iso_ms(ms, when)));
}

/* The child as the files show it. */
static void record(struct buf *b, const struct child *c)
{
	bool good = str_eqz(c->status, "SUCCEEDED");
	buf_add_char(b, '{');
	add_text(b, "Cause", c->cause);
	add_text(b, "Error", c->error);
	add_text(b, "ExecutionArn", c->arn);
	add_text(b, "Input", c->input);
	buf_addz(b, ",\"InputDetails\":{\"Included\":true}");
	add_text(b, "Name", c->name);
	add_text(b, "Output", c->output);
	if (c->output.ptr)
		buf_addz(b, ",\"OutputDetails\":{\"Included\":true}");
	if (!c->express) {
		buf_printf(b, ",\"RedriveCount\":%lld", (long long)c->redrive_count);
		add_text(b, "RedriveStatus",
			 good || !c->redrivable ? STR("NOT_REDRIVABLE") : STR("REDRIVABLE_BY_MAP_RUN"));
		if (good || !c->redrivable)
			buf_printf(b, ",\"RedriveStatusReason\":\"Execution is %.*s and cannot be redriven\"",
				   STR_ARG(c->status));
	}
	add_time(b, "StartDate", c->start_ms);
	add_text(b, "StateMachineArn", c->machine);
	add_text(b, "Status", c->status);
	add_time(b, "StopDate", c->stop_ms);
	buf_add_char(b, '}');
}

/* What `change` makes of a child that succeeded: the text of no, one or more values, with commas. */
static struct str changed(const struct child *c, enum change change)
{
	if (change == CHANGE_FLATTEN && c->output.len > 1 && c->output.ptr[0] == '[')
		return str_of(c->output.ptr + 1, c->output.len - 2);
	return c->output;
}

/* ---- as the state's result ---- */

struct result {
	struct buf text;
	enum change change;
	bool any;
};

static int result_add(void *ctx, const struct child *c, struct error *err)
{
	struct result *r = ctx;
	size_t before = r->text.len;
	if (r->any)
		buf_add_char(&r->text, ',');
	size_t from = r->text.len;
	if (r->change == CHANGE_NONE) {
		record(&r->text, c);
	} else if (c->output.ptr) {
		buf_add_str(&r->text, changed(c, r->change));
	} else {
		buf_addz(&r->text, "{");
		add_text(&r->text, "Error", c->error);
		add_text(&r->text, "Cause", c->cause);
		buf_addz(&r->text, "}");
	}
	if (r->text.len == from)
		r->text.len = before; /* an empty array was flattened */
	else
		r->any = true;
	if ((int64_t)r->text.len > states_quota.payload_bytes)
		return error_aws(err, "limit", "The results are too large.");
	return 0;
}

json_t *exec_results_read(struct exec *x, const char *map_run, const json_t *config, struct error *err)
{
	struct result r = { .change = change_of(config, CHANGE_COMPACT) };
	CLEANUP_BUF struct buf text = BUF_INIT;
	int64_t num = 0;
	int n;
	buf_add_char(&r.text, '[');
	do
		n = each_child(turn_db(x->t), map_run, &num, result_add, &r, err);
	while (n == PAGE);
	buf_add_char(&r.text, ']');
	text = r.text;
	if (n < 0)
		return NULL;
	json_t *list = asl_read_json(x->a, buf_str(&text), false, NULL);
	if (!list)
		error_set(err, "read the results of %s: they are not JSON", map_run);
	return list;
}

/* ---- as files ---- */

struct file {
	const char *name; /* "SUCCEEDED" */
	struct s3_writer *w;
	struct buf text;
	int number;
	json_t *list; /* of the manifest: [{"Key","Size"}] */
};

struct files {
	struct states *s;
	struct arena a;
	const char *folder, *machine;
	bool lines;
	enum change change;
	struct file good, bad, pending;
	json_t *objects;    /* [{"key","body"}] */
	const char *unread; /* why PENDING files are not complete, or NULL */
	int64_t written;
};

static int flush(struct file *f, struct error *err)
{
	int rc = f->text.len ? s3_writer_add(f->w, buf_str(&f->text), err) : 0;
	buf_clear(&f->text);
	return rc;
}

static int close_file(struct files *o, struct file *f, struct error *err)
{
	if (!f->w)
		return 0;
	buf_addz(&f->text, o->lines ? "\n" : "]");
	if (flush(f, err) < 0)
		return -1;
	int64_t size = s3_writer_size(f->w);
	json_t *body = s3_writer_finish(f->w, err);
	s3_writer_free(f->w);
	f->w = NULL;
	if (!body)
		return -1;
	const char *key =
		arena_printf(&o->a, "%s/%s_%d.%s", o->folder, f->name, f->number++, o->lines ? "jsonl" : "json");
	json_array_append_new(f->list, json_pack("{s:s,s:I}", "Key", key, "Size", (json_int_t)size));
	json_array_append_new(o->objects, json_pack("{s:s,s:o}", "key", key, "body", body));
	return 0;
}

/* Makes room for another value in the file. */
static int begin_value(struct files *o, struct file *f, struct error *err)
{
	if (f->w && s3_writer_size(f->w) + (int64_t)f->text.len >= states_quota.result_bytes &&
	    close_file(o, f, err) < 0)
		return -1;
	if (f->w) {
		buf_add_char(&f->text, o->lines ? '\n' : ',');
		return f->text.len < FLUSH_BYTES ? 0 : flush(f, err);
	}
	if (!o->lines)
		buf_add_char(&f->text, '[');
	return s3_writer_new(o->s->o.s3, &f->w, err);
}

/* FLATTEN with lines: each element is a line of its own. */
static int add_elements(struct files *o, struct str text, struct error *err)
{
	struct arena a = ARENA_INIT;
	CLEANUP_JSON json_t *list = asl_read_json(&a, text, false, NULL);
	json_t *one;
	size_t i;
	int rc = 0;
	json_array_foreach (list, i, one) {
		rc = begin_value(o, &o->good, err);
		if (rc < 0)
			break;
		buf_add_str(&o->good.text, asl_text(&a, one));
	}
	arena_release(&a);
	return rc;
}

static int add_child(void *ctx, const struct child *c, struct error *err)
{
	struct files *o = ctx;
	struct file *f = c->output.ptr ? &o->good : &o->bad;
	bool plain = f == &o->bad || o->change == CHANGE_NONE;
	struct str text = plain ? STR_NULL : changed(c, o->change);
	o->written++;
	if (!plain && o->lines && text.ptr != c->output.ptr)
		return add_elements(o, c->output, err);
	if (!plain && !text.len)
		return 0;
	if (begin_value(o, f, err) < 0)
		return -1;
	if (plain)
		record(&f->text, c);
	else
		buf_add_str(&f->text, text);
	return 0;
}

static int add_pending(void *ctx, struct str input, struct error *err)
{
	struct files *o = ctx;
	if (begin_value(o, &o->pending, err) < 0)
		return -1;
	buf_add_char(&o->pending.text, '{');
	add_text(&o->pending.text, "Input", input);
	buf_addz(&o->pending.text, ",\"InputDetails\":{\"Included\":true}");
	add_text(&o->pending.text, "StateMachineArn", str_from(o->machine));
	add_text(&o->pending.text, "Status", STR("PENDING"));
	buf_add_char(&o->pending.text, '}');
	return 0;
}

static int write_children(struct files *o, const char *map_run, struct error *err)
{
	struct store *store = engine_store(o->s->o.engine);
	int64_t num = 0;
	int n;
	do {
		struct db *db = store_read_begin(store, err);
		n = db ? each_child(db, map_run, &num, add_child, o, err) : -1;
		if (db)
			store_read_end(store, db);
	} while (n == PAGE);
	return n < 0 ? -1 : 0;
}

static int write_pending(struct files *o, const json_t *payload, const char *map_run, struct error *err)
{
	const json_t *queued = json_object_get(payload, "queued");
	json_t *one;
	size_t i;
	json_array_foreach (queued, i, one)
		if (add_pending(o, json_get_str(one, "in"), err) < 0)
			return -1;
	if (!json_get_bool(payload, "rest", false))
		return 0;
	return exec_feed_rest(o->s, map_run, json_get_int(payload, "position", 0), json_get_int(payload, "index", 0),
			      add_pending, o, &o->a, &o->unread, err);
}

static int write_files(struct files *o, const json_t *payload, struct error *err)
{
	const json_t *params = json_object_get(payload, "params"), *config = json_object_get(payload, "config");
	const char *map_run = json_get_text(payload, "map_run"), *prefix = json_get_text(params, "Prefix"),
		   *form = json_get_text(config, "OutputType"), *id = strrchr(map_run, ':') + 1;
	struct str bucket = json_get_str(params, "Bucket");
	if (!o->s->o.s3)
		return error_set(err, "This Quern has no S3.");
	struct db *db = store_read_begin(engine_store(o->s->o.engine), err);
	bool there = db && s3_bucket_exists(db, bucket);
	if (!db)
		return -1;
	store_read_end(engine_store(o->s->o.engine), db);
	if (!there)
		return error_set(err, "The bucket `%.*s` does not exist.", STR_ARG(bucket));
	o->folder = prefix && *prefix ? arena_printf(&o->a, "%s/%s", prefix, id) : id;
	o->lines = form && strcmp(form, "JSONL") == 0;
	o->change = change_of(config, CHANGE_NONE);
	o->machine = json_get_text(payload, "machine");
	if (write_children(o, map_run, err) < 0 || write_pending(o, payload, map_run, err) < 0)
		return -1;
	return close_file(o, &o->good, err) < 0 || close_file(o, &o->bad, err) < 0 ||
			       close_file(o, &o->pending, err) < 0
		       ? -1
		       : 0;
}

static void file_done(struct file *f, json_t *manifest)
{
	s3_writer_free(f->w);
	buf_release(&f->text);
	json_object_set_new(manifest, f->name, f->list);
}

void exec_results_perform(void *ctx, struct engine *e, const struct effect *fx)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct files o = { .s = ctx,
			   .good = { .name = "SUCCEEDED", .list = json_array() },
			   .bad = { .name = "FAILED", .list = json_array() },
			   .pending = { .name = "PENDING", .list = json_array() },
			   .objects = json_array() };
	int rc = write_files(&o, fx->payload, &err);
	json_t *lists = json_object();
	file_done(&o.bad, lists);
	file_done(&o.pending, lists);
	file_done(&o.good, lists);
	json_t *event =
		json_pack("{s:s,s:O,s:O,s:o}", "type", "written", "frame", json_object_get(fx->payload, "frame"),
			  "attempt", json_object_get(fx->payload, "attempt"), "files", lists);
	json_object_set_new(event, "objects", o.objects);
	json_object_set(event, "bucket", json_object_get(json_object_get(fx->payload, "params"), "Bucket"));
	json_set_text(event, "folder", o.folder);
	json_set_int(event, "count", o.written);
	json_set_text(event, "unread", o.unread);
	if (rc < 0)
		json_set_text(event, "cause", error_text(&err));
	arena_release(&o.a);
	engine_effect_done(e, fx->seq, event);
}

/* The role's rights are asked for the folder's manifest, which every run writes. */
static int may_write(struct exec *x, struct str bucket, const char *folder, struct error *err)
{
	struct integ_request q = { .s = x->s, .t = x->t, .arena = ARENA_INIT, .role = x->role, .session = "states" };
	int rc = x->role ? integ_caller(&q, err) : 0;
	if (rc == 0 && x->role && x->s->o.iam)
		rc = iam_may_s3(x->s->o.iam, &q.arena, &q.who, "s3:PutObject", bucket,
				str_from(arena_printf(&q.arena, "%s/manifest.json", folder)), err);
	arena_release(&q.arena);
	return rc;
}

json_t *exec_results_commit(struct exec *x, const char *map_run, const json_t *event, struct error *err)
{
	struct str bucket = json_get_str(event, "bucket");
	const char *folder = json_get_text(event, "folder"), *cause = json_get_text(event, "cause");
	json_t *one;
	size_t i;
	if (cause) {
		error_set(err, "%s", cause);
		return NULL;
	}
	if (may_write(x, bucket, folder, err) < 0)
		return NULL;
	json_array_foreach (json_object_get(event, "objects"), i, one)
		if (s3_commit(x->t, bucket, json_get_str(one, "key"), json_object_get(one, "body"), "application/json",
			      err) < 0)
			return NULL;
	CLEANUP_JSON json_t *manifest = json_pack("{s:s%,s:s,s:O}", "DestinationBucket", bucket.ptr, bucket.len,
						  "MapRunArn", map_run, "ResultFiles", json_object_get(event, "files"));
	const char *key = arena_printf(x->a, "%s/manifest.json", folder);
	if (s3_put_small(x->t, bucket, str_from(key), asl_text(x->a, manifest), "application/json", err) < 0)
		return NULL;
	if (db_exec(turn_db(x->t), err, "UPDATE states_map_run SET written=? WHERE arn=?", "is",
		    json_get_int(event, "count", 0), map_run) < 0)
		return NULL;
	return json_pack("{s:s,s:{s:s%,s:s}}", "MapRunArn", map_run, "ResultWriterDetails", "Bucket", bucket.ptr,
			 bucket.len, "Key", key);
}
