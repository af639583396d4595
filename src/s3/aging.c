/* aging.c - lifecycle rules are applied: objects, versions, delete markers and uploads go, and classes change.
 *
 * DESIGN: an actor, "s3/lifecycle", wakes after each midnight (UTC), at the start, and when a configuration was put,
 * and asks for one effect: a sweep over all buckets that have rules, on a thread of its own. A sweep reads pages of
 * rows, each from a snapshot of its own, and gives what is due to the core in small batches, so that it never holds up
 * others; the batch looks at each row again, and stops when the rules are not the same any more. A sweep that was cut
 * off begins again: what it did is done. */
#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "s3/lifecycle.h"
#include "s3/upload.h"

enum { PAGE = 500, BATCH = 100 };

static struct s3 *the_room; /* actors have no context; there is one object store in a process */

/* What is due. */
struct due {
	bool upload;
	int64_t id;              /* of the row */
	struct str upload_id;    /* in the page's arena */
	int64_t since_ms, newer; /* of a noncurrent version; since_ms -1: the current one */
	bool lone;               /* a delete marker that may be its key's only version */
};

struct aging {
	struct s3 *s;
	int64_t now_ms;
	struct arena bucket_arena; /* the bucket and its rules */
	struct arena page_arena;
	struct s3_bucket bucket;
	struct s3_lifecycle rules;
	struct due due[BATCH];
	size_t ndue;
	bool stale;  /* the bucket or its rules are not what they were */
	int dropped; /* noncurrent versions */
};

/* ---- one row ---- */

enum fate { STAYS, MOVES, GOES };

static enum fate fate_of(const struct aging *x, const struct s3_object *o, const struct due *d, struct str *storage)
{
	const int64_t day_ms = x->s->day_ms;
	const struct s3_rule *rule;
	int64_t at_ms;
	if (d->lone)
		return s3_lifecycle_marker(&x->rules, o, x->now_ms, day_ms) ? GOES : STAYS;
	if (d->since_ms < 0 ? s3_lifecycle_expiry(&x->rules, o, day_ms, &at_ms, &rule) && at_ms <= x->now_ms
			    : s3_lifecycle_noncurrent(&x->rules, o, d->since_ms, d->newer, x->now_ms, day_ms))
		return GOES;
	*storage = s3_lifecycle_storage(&x->rules, o, d->since_ms, d->newer, x->now_ms, day_ms);
	return storage->ptr ? MOVES : STAYS;
}

/* ---- a batch, on the core thread ---- */

/* Are there other versions of its key, newer or older? */
static int has_others(struct turn *t, const struct aging *x, const struct s3_object *o, bool newer, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	return db_row(turn_db(t), &rows, err,
		      newer ? "SELECT 1 FROM s3_object WHERE bucket=? AND key=? AND listed=1 UNION ALL SELECT 1 FROM "
			      "s3_object WHERE bucket=? AND key=? AND listed=0 AND id>? LIMIT 1"
			    : "SELECT 1 FROM s3_object WHERE bucket=? AND key=? AND listed=1 UNION ALL SELECT 1 FROM "
			      "s3_object WHERE bucket=? AND key=? AND listed=0 AND id<? LIMIT 1",
		      "ibibi", x->bucket.id, o->key, x->bucket.id, o->key, o->id);
}

static int apply_version(struct turn *t, struct aging *x, const struct due *d, struct error *err)
{
	struct s3_object o;
	struct str storage, made;
	int rc = s3_object_by_id(turn_db(t), turn_arena(t), d->id, &o, err);
	if (rc <= 0 || o.listed != (d->since_ms < 0 && !d->lone))
		return rc < 0 ? -1 : 0;
	if (!o.listed && (rc = has_others(t, x, &o, true, err)) != !d->lone)
		return rc < 0 ? -1 : 0; /* it has become the current one, or is no more */
	if (d->lone && (rc = has_others(t, x, &o, false, err)) != 0)
		return rc < 0 ? -1 : 0;
	const enum fate fate = fate_of(x, &o, d, &storage);
	if (fate == MOVES)
		return db_exec(turn_db(t), err, "UPDATE s3_object SET storage=? WHERE id=?", "Si", storage, o.id) < 0
			       ? -1
			       : 0;
	if (fate == STAYS)
		return 0;
	if (o.listed)
		return s3_object_remove(t, &x->bucket, o.key, &o, &made, err);
	x->dropped++;
	return s3_object_drop(t, x->bucket.id, &o, err);
}

static int apply_upload(struct turn *t, struct aging *x, const struct due *d, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const int rc = db_row(turn_db(t), &rows, err, "SELECT blob FROM s3_upload WHERE id=?", "S", d->upload_id);
	if (rc <= 0)
		return rc;
	const struct str draft = arena_str(turn_arena(t), rows_str(&rows, 0));
	rows_done(&rows);
	return s3_upload_drop(t, d->upload_id, draft, err);
}

static int apply_batch(struct turn *t, void *arg, struct error *err)
{
	struct aging *x = arg;
	struct s3_bucket now;
	const int rc = s3_bucket_find(turn_db(t), turn_arena(t), x->bucket.name, &now, err);
	if (rc < 0)
		return -1;
	x->stale = rc == 0 || now.id != x->bucket.id || !str_eq(now.lifecycle, x->bucket.lifecycle);
	if (x->stale)
		return 0;
	x->bucket.versioning = now.versioning;
	for (size_t i = 0; i < x->ndue; i++)
		if ((x->due[i].upload ? apply_upload(t, x, &x->due[i], err) : apply_version(t, x, &x->due[i], err)) < 0)
			return -1;
	return 0;
}

static int flush(struct aging *x, struct error *err)
{
	const int rc = x->ndue && !x->stale ? engine_call(x->s->engine, apply_batch, x, err) : 0;
	x->ndue = 0;
	return rc;
}

static int add_due(struct aging *x, struct due d, struct error *err)
{
	x->due[x->ndue++] = d;
	return x->ndue == BATCH ? flush(x, err) : 0;
}

/* ---- pages ---- */

/* Reads up to PAGE rows, which `take` looks at, from a snapshot of their own; then what is due of them is done. The
 * number of rows, or < 0. */
static int read_page(struct aging *x,
		     int (*open)(struct aging *x, void *at, struct db *db, struct rows *rows, struct error *err),
		     int (*take)(struct aging *x, void *at, struct rows *rows, struct due *out), void *at,
		     struct error *err)
{
	CLEANUP_FREE struct due *found = mem_calloc(PAGE, sizeof(*found));
	size_t nfound = 0;
	int n = 0;
	arena_release(&x->page_arena);
	struct db *db = store_read_begin(x->s->store, err);
	if (!db)
		return -1;
	{
		CLEANUP_ROWS struct rows rows = { 0 };
		int rc = open(x, at, db, &rows, err);
		while (rc >= 0 && (rc = rows_next(&rows, err)) > 0 && n < PAGE) {
			n++;
			nfound += take(x, at, &rows, &found[nfound]) ? 1 : 0;
		}
		if (rc < 0)
			n = -1;
	}
	store_read_end(x->s->store, db);
	for (size_t i = 0; n >= 0 && i < nfound; i++)
		if (add_due(x, found[i], err) < 0)
			return -1;
	return n < 0 || flush(x, err) < 0 ? -1 : n;
}

/* ---- current versions ---- */

#define SEEN "id, key, marker, size, modified_ms, storage, tags"

static struct s3_object read_seen(struct rows *rows)
{
	return (struct s3_object){ .id = rows_int(rows, 0),
				   .key = rows_str(rows, 1),
				   .marker = rows_int(rows, 2),
				   .size_bytes = rows_int(rows, 3),
				   .modified_ms = rows_int(rows, 4),
				   .storage = rows_str(rows, 5),
				   .tags = rows_str(rows, 6) };
}

/* Where a walk over keys is. */
struct walk {
	struct buf key;
	bool begun;
	int64_t id;              /* of the last version of `key` that was seen */
	int64_t since_ms, newer; /* when it became noncurrent, and how many newer noncurrent ones there are */
};

static int open_current(struct aging *x, void *at, struct db *db, struct rows *rows, struct error *err)
{
	const struct walk *w = at;
	return db_query(db, rows, err,
			w->begun ? "SELECT " SEEN " FROM s3_object WHERE bucket=? AND listed=1 AND key>? ORDER BY key "
				   "LIMIT ?"
				 : "SELECT " SEEN
				   " FROM s3_object WHERE bucket=? AND listed=1 AND key>=? ORDER BY key LIMIT ?",
			"ibi", x->bucket.id, buf_str(&w->key), (int64_t)PAGE);
}

static void remember_key(struct walk *w, struct str key)
{
	buf_clear(&w->key);
	buf_add_str(&w->key, key);
	w->begun = true;
}

static int take_current(struct aging *x, void *at, struct rows *rows, struct due *out)
{
	const struct s3_object o = read_seen(rows);
	struct str storage;
	*out = (struct due){ .id = o.id, .since_ms = -1 };
	remember_key(at, o.key);
	return fate_of(x, &o, out, &storage) != STAYS;
}

/* ---- noncurrent versions and delete markers ---- */

#define HIDDEN_SEEN                                                                                                    \
	"SELECT " SEEN ", (SELECT c.modified_ms FROM s3_object c WHERE c.bucket=o.bucket AND c.key=o.key AND "         \
	"c.listed=1) FROM s3_object o WHERE bucket=? AND listed=0 AND "

/* First the older versions of the key that a page ended in. */
static int open_older(struct aging *x, void *at, struct db *db, struct rows *rows, struct error *err)
{
	const struct walk *w = at;
	return db_query(db, rows, err, HIDDEN_SEEN "key=? AND id<? ORDER BY id DESC LIMIT ?", "ibii", x->bucket.id,
			buf_str(&w->key), w->id, (int64_t)PAGE);
}

static int open_next(struct aging *x, void *at, struct db *db, struct rows *rows, struct error *err)
{
	const struct walk *w = at;
	return db_query(db, rows, err,
			w->begun ? HIDDEN_SEEN "key>? ORDER BY key, id DESC LIMIT ?"
				 : HIDDEN_SEEN "key>=? ORDER BY key, id DESC LIMIT ?",
			"ibi", x->bucket.id, buf_str(&w->key), (int64_t)PAGE);
}

static int take_hidden(struct aging *x, void *at, struct rows *rows, struct due *out)
{
	const struct s3_object o = read_seen(rows);
	struct walk *w = at;
	struct str storage;
	const bool same = w->begun && str_eq(o.key, buf_str(&w->key)), alone = rows_null(rows, 7);
	*out = (struct due){ .id = o.id };
	w->id = o.id;
	if (!same) {
		remember_key(w, o.key);
		w->newer = 0;
		w->since_ms = alone ? o.modified_ms : rows_int(rows, 7);
	}
	out->since_ms = w->since_ms;
	out->newer = w->newer;
	out->lone = !same && alone; /* a delete marker is the current version */
	w->since_ms = o.modified_ms;
	w->newer += !out->lone && !o.marker;
	return (!out->lone || o.marker) && fate_of(x, &o, out, &storage) != STAYS;
}

/* ---- uploads ---- */

static int open_uploads(struct aging *x, void *at, struct db *db, struct rows *rows, struct error *err)
{
	return db_query(db, rows, err,
			"SELECT id, key, created_ms FROM s3_upload WHERE bucket=? AND id>? ORDER BY id LIMIT ?", "iSi",
			x->bucket.id, buf_str(&((struct walk *)at)->key), (int64_t)PAGE);
}

static int take_upload(struct aging *x, void *at, struct rows *rows, struct due *out)
{
	const struct s3_rule *rule;
	int64_t at_ms;
	remember_key(at, rows_str(rows, 0));
	*out = (struct due){ .upload = true, .upload_id = arena_str(&x->page_arena, rows_str(rows, 0)) };
	return s3_lifecycle_abort(&x->rules, rows_str(rows, 1), rows_int(rows, 2), x->s->day_ms, &at_ms, &rule) &&
	       at_ms <= x->now_ms;
}

/* ---- a sweep ---- */

static bool go_on(const struct aging *x)
{
	return !x->stale && !engine_stopping(x->s->engine);
}

static int sweep_current(struct aging *x, struct error *err)
{
	struct walk w = { 0 };
	int n = PAGE;
	while (n == PAGE && go_on(x))
		n = read_page(x, open_current, take_current, &w, err);
	buf_release(&w.key);
	return n < 0 ? -1 : 0;
}

static int sweep_hidden(struct aging *x, struct error *err)
{
	struct walk w = { 0 };
	int n = 1;
	while (n > 0 && go_on(x)) {
		n = w.begun ? read_page(x, open_older, take_hidden, &w, err) : 0;
		if (n == 0 && go_on(x))
			n = read_page(x, open_next, take_hidden, &w, err);
	}
	buf_release(&w.key);
	return n < 0 ? -1 : 0;
}

static int sweep_uploads(struct aging *x, struct error *err)
{
	struct walk w = { 0 };
	int n = PAGE;
	while (n == PAGE && go_on(x))
		n = read_page(x, open_uploads, take_upload, &w, err);
	buf_release(&w.key);
	return n < 0 ? -1 : 0;
}

static int sweep_bucket(struct aging *x, struct error *err)
{
	x->stale = false;
	x->dropped = 0;
	if (!s3_lifecycle_stored(&x->bucket_arena, x->bucket.lifecycle, &x->rules))
		return error_set(err, "the lifecycle rules of `%.*s` can't be read", STR_ARG(x->bucket.name));
	if (sweep_current(x, err) < 0 || sweep_hidden(x, err) < 0)
		return -1;
	if (x->dropped && sweep_hidden(x, err) < 0) /* markers that are left alone by it */
		return -1;
	return sweep_uploads(x, err);
}

/* The next bucket that has rules, by name: 1, 0, < 0. */
static int next_bucket(struct aging *x, struct str after, struct error *err)
{
	struct db *db = store_read_begin(x->s->store, err);
	if (!db)
		return -1;
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err,
			"SELECT name FROM s3_bucket WHERE lifecycle IS NOT NULL AND name>? ORDER BY name LIMIT 1", "S",
			after);
	const struct str name = rc > 0 ? arena_str(&x->bucket_arena, rows_str(&rows, 0)) : STR("");
	rows_done(&rows);
	if (rc > 0)
		rc = s3_bucket_find(db, &x->bucket_arena, name, &x->bucket, err);
	store_read_end(x->s->store, db);
	return rc;
}

int s3_sweep(struct s3 *s, struct error *err)
{
	struct aging *x = mem_calloc(1, sizeof(*x));
	CLEANUP_BUF struct buf after = BUF_INIT;
	int rc = 0;
	x->s = s;
	x->now_ms = engine_now_ms(s->engine);
	while (!engine_stopping(s->engine) && (rc = next_bucket(x, buf_str(&after), err)) > 0) {
		buf_clear(&after);
		buf_add_str(&after, x->bucket.name);
		if ((rc = sweep_bucket(x, err)) < 0)
			break;
		arena_release(&x->bucket_arena);
	}
	arena_release(&x->bucket_arena);
	arena_release(&x->page_arena);
	free(x);
	return rc < 0 ? -1 : 0;
}

/* ---- when ---- */

static void perform_sweep(void *ctx, struct engine *engine, const struct effect *fx)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const int rc = s3_sweep(ctx, &err);
	if (engine_stopping(engine))
		return;
	if (rc < 0)
		log_warn("s3", "apply lifecycle rules: %s", error_text(&err));
	engine_effect_done(engine, fx->seq, json_pack("{s:s}", "type", "swept"));
}

static void begin_sweep(struct turn *t, json_t *state)
{
	json_object_set_new(state, "sweeps", json_true());
	turn_effect(t, "s3.sweep", turn_id(t, 16), json_object());
}

/* "sweeps": one is under way; "again": something changed meanwhile. */
static int aging_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	(void)err;
	if (!str_eqz(json_get_str(event, "type"), "swept")) {
		if (json_is_true(json_get(state, "sweeps")))
			json_object_set_new(state, "again", json_true());
		else
			begin_sweep(t, state);
		return 0;
	}
	const bool again = json_is_true(json_get(state, "again"));
	const int64_t day_ms = the_room->day_ms;
	json_object_clear(state);
	if (again)
		begin_sweep(t, state);
	turn_timer(t, "midnight", (turn_now_ms(t) / day_ms + 1) * day_ms, json_pack("{s:s}", "type", "sweep"));
	return 0;
}

static const struct actor_type aging_actor = { .name = "s3.lifecycle", .turn = aging_turn };

void s3_aging_init(struct s3 *s)
{
	const struct effect_type sweep = {
		.name = "s3.sweep", .perform = perform_sweep, .ctx = s, .blocking = true, .threads = 1
	};
	the_room = s;
	s->day_ms = S3_DAY_MS;
	engine_add_actor(s->engine, &aging_actor);
	engine_add_effect(s->engine, &sweep);
}

void s3_aging_wake(struct turn *t)
{
	turn_send(t, "s3/lifecycle", json_pack("{s:s}", "type", "sweep"));
}

static int begin(struct turn *t, void *arg, struct error *err)
{
	(void)arg;
	if (!turn_exists(t, "s3/lifecycle"))
		return turn_spawn(t, "s3.lifecycle", "s3/lifecycle", json_object(), err);
	s3_aging_wake(t);
	return 0;
}

int s3_begin(struct s3 *s, struct error *err)
{
	return engine_call(s->engine, begin, NULL, err);
}

void s3_set_day(struct s3 *s, double scale)
{
	const double day_ms = (double)S3_DAY_MS * (scale > 0 ? scale : 1);
	s->day_ms = day_ms < 1000 ? 1000 : (int64_t)day_ms;
}
