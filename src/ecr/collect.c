/* collect.c - what is no longer needed goes: images that a lifecycle policy expires, uploads that nobody finishes,
 * blobs that no image refers to, unpacked layers that no task uses.
 *
 * DESIGN: a blob's file goes with its last link (store.c), a minute later (blob.h). Links go when the image that
 * referred to them is dropped; those that never came to an image (a push that was given up), or that a push or a
 * running pull wanted at that moment, go here, a day later. All of that is decided in transactions of the one writer,
 * so nothing can come to need a blob in between. Lifecycle policies look at every image of a repository, so they are
 * evaluated on a snapshot, aside; an image then goes only if nobody tagged, pulled or referred to it meanwhile. Tasks
 * hold their own: open files, hard links and locks (task/layers.h,
 * task/exec_layers.c); the daemon only tells the executor which images there are. The keeper is an actor with a timer;
 * policies are applied and the executor is asked through effects. `quern images prune` asks for the same now (POST
 * /v2/_quern/prune). */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "ecr/api.h"
#include "ecr/registry.h"

#define HOUR_MS ((int64_t)3600 * 1000)
#define SOON_MS 100 /* between two rounds others have their turn */
#define UPLOAD_LIFE_MS (7 * 24 * HOUR_MS)
#define LINK_LIFE_MS (24 * HOUR_MS)
#define LAYER_LIFE_MS (30 * 24 * HOUR_MS)

static struct ecr *the_room; /* actors have no context; there is one registry in a process */

enum { ROUND = 1000, EXPIRE_ROUND = 50 }; /* rows of one transaction */

/* ---- lifecycle policies ---- */

/* An image that a policy expires takes along what refers to it as its subject: signatures and the like. */
static int expire_image(struct turn *t, struct str repo, struct str digest, int depth, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_JSON json_t *referrers = json_array();
	json_t *one;
	size_t i;
	int rc = db_query(turn_db(t), &rows, err, "SELECT digest FROM ecr_image WHERE repo=? AND subject=?", "SS", repo,
			  digest);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(referrers, json_string(rows_str(&rows, 0).ptr));
	rows_done(&rows);
	if (rc < 0 || ecr_image_drop(t, repo, digest, err) < 0)
		return -1;
	json_array_foreach (referrers, i, one)
		if (depth < 8 && expire_image(t, repo, json_str(one), depth + 1, err) < 0)
			return -1;
	return 0;
}

/* A policy that is being applied. It is evaluated on a snapshot, the images go in transactions of their own. */
struct expiry {
	struct str repo, policy; /* in an arena */
	json_t *images;          /* as ecr_lifecycle_apply gives them */
	size_t at;               /* the next one */
	int64_t evaluated_ms;
};

/* Is the image still what the policy looked at? 1, 0, < 0. */
static int is_unchanged(struct turn *t, const struct expiry *x, const json_t *seen, struct error *err)
{
	struct ecr_image image;
	struct str digest = json_get_str(seen, "imageDigest"), by;
	int rc = ecr_image_find(turn_db(t), turn_arena(t), x->repo, digest, &image, err);
	if (rc <= 0 || image.pulled_ms > x->evaluated_ms)
		return rc < 0 ? rc : 0;
	rc = ecr_image_referred(turn_db(t), turn_arena(t), x->repo, digest, &by, err);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	CLEANUP_JSON json_t *tags = ecr_image_tags(turn_db(t), x->repo, digest, err);
	return tags ? json_equal(tags, json_get(seen, "imageTags")) : -1;
}

/* In a turn: some images go, or all are gone, and the policy counts as evaluated. */
static int expire_some(struct turn *t, void *arg, struct error *err)
{
	struct expiry *x = arg;
	struct ecr_repo repo;
	size_t end = x->at + EXPIRE_ROUND;
	int rc = ecr_repo_find(the_room, turn_db(t), turn_arena(t), x->repo, &repo, err);
	if (rc < 0)
		return rc;
	if (rc == 0 || !repo.lifecycle || !str_eqz(x->policy, repo.lifecycle)) { /* there is another one now */
		x->at = SIZE_MAX;
		return 0;
	}
	for (; x->at < end && x->at < json_array_size(x->images); x->at++) {
		const json_t *image = json_array_get(x->images, x->at);
		rc = is_unchanged(t, x, image, err);
		if (rc < 0 || (rc && expire_image(t, x->repo, json_get_str(image, "imageDigest"), 0, err) < 0))
			return -1;
	}
	if (x->at < json_array_size(x->images))
		return 0;
	x->at = SIZE_MAX;
	rc = db_exec(turn_db(t), err, "UPDATE ecr_repo SET evaluated_ms=? WHERE name=?", "iS", x->evaluated_ms,
		     x->repo);
	return rc < 0 ? rc : 0;
}

/* A repository whose policy was not applied since `before`: 1, 0 there is none, < 0. */
static int next_expiry(struct db *db, struct arena *a, int64_t before, struct expiry *x, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err,
			"SELECT name, lifecycle FROM ecr_repo WHERE lifecycle IS NOT NULL AND evaluated_ms < ? ORDER "
			"BY evaluated_ms LIMIT 1",
			"i", before);
	if (rc <= 0)
		return rc;
	x->repo = arena_str(a, rows_str(&rows, 0));
	x->policy = arena_str(a, rows_str(&rows, 1));
	rows_done(&rows);
	x->images = ecr_lifecycle_apply(db, x->repo, x->policy, x->evaluated_ms, err);
	return x->images ? 1 : -1;
}

/* Blocking: applies the policy of one repository. 1, 0 none is left, < 0. */
static int expire_one(struct ecr *e, int64_t before, struct error *err)
{
	struct arena a = ARENA_INIT;
	struct expiry x = { .evaluated_ms = engine_now_ms(e->o.engine) };
	struct db *db = store_read_begin(e->store, err);
	int rc = db ? next_expiry(db, &a, before, &x, err) : -1;
	if (db)
		store_read_end(e->store, db);
	while (rc == 1 && x.at != SIZE_MAX)
		if (engine_call(e->o.engine, expire_some, &x, err) < 0)
			rc = -1;
	json_decref(x.images);
	arena_release(&a);
	return rc;
}

/* Every policy that was not applied in the last half hour. */
static void perform_expire(void *ctx, struct engine *engine, const struct effect *fx)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int64_t before = engine_now_ms(engine) - HOUR_MS / 2;
	int rc;
	do {
		rc = expire_one(ctx, before, &err);
	} while (rc == 1 && !engine_stopping(engine));
	if (engine_stopping(engine))
		return;
	if (rc < 0)
		log_warn("ecr", "apply lifecycle policies: %s", error_text(&err));
	engine_effect_done(engine, fx->seq, NULL);
}

/* ---- uploads and links ---- */

/* The uploads that `rows` lists (id, blob, size), as an owned array; NULL: err. */
static json_t *list_uploads(struct rows *rows, struct error *err)
{
	json_t *list = json_array();
	int rc;
	while ((rc = rows_next(rows, err)) > 0)
		json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "id", rows_str(rows, 0).ptr, "blob",
						      rows_str(rows, 1).ptr, "size", (json_int_t)rows_int(rows, 2)));
	rows_done(rows);
	if (rc >= 0)
		return list;
	json_decref(list);
	return NULL;
}

static int drop_upload(struct turn *t, const json_t *upload, struct error *err)
{
	if (blob_remove_later(turn_db(t), json_get_text(upload, "blob"), turn_now_ms(t), err) < 0)
		return -1;
	return ecr_upload_delete(t, json_get_text(upload, "id"), err);
}

int ecr_collect_uploads(struct ecr *e, struct turn *t, struct str repo, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_query(turn_db(t), &rows, err, "SELECT id, blob, size FROM ecr_upload WHERE repo=?", "S", repo) < 0)
		return -1;
	CLEANUP_JSON json_t *list = list_uploads(&rows, err);
	json_t *one;
	size_t i;
	if (!list)
		return -1;
	json_array_foreach (list, i, one) {
		if (drop_upload(t, one, err) < 0)
			return -1;
		ecr_upload_forget(e, json_get_text(one, "id"));
	}
	return 0;
}

/* What a request writes at this moment stays. */
static int drop_idle_uploads(struct ecr *e, struct turn *t, int64_t before, bool dry, struct ecr_collected *out,
			     struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_query(turn_db(t), &rows, err, "SELECT id, blob, size FROM ecr_upload WHERE touched_ms < ? LIMIT ?", "ii",
		     before, (int64_t)ROUND) < 0)
		return -1;
	CLEANUP_JSON json_t *list = list_uploads(&rows, err);
	json_t *one;
	size_t i;
	int gone = 0;
	json_array_foreach (list, i, one) {
		const char *id = json_get_text(one, "id");
		if (ecr_upload_busy(e, id))
			continue;
		if (drop_upload(t, one, err) < 0)
			return -1;
		if (!dry)
			ecr_upload_forget(e, id);
		gone++;
		out->upload_bytes += json_get_int(one, "size", 0);
	}
	out->uploads += gone;
	out->more = gone == ROUND;
	return list ? 0 : -1;
}

static int drop_links(struct turn *t, int64_t before, struct ecr_collected *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	CLEANUP_JSON json_t *list = json_array();
	json_t *one;
	size_t i;
	int rc =
		db_query(turn_db(t), &rows, err,
			 "SELECT l.repo, l.digest, b.size FROM ecr_link l JOIN ecr_blob b ON b.digest = l.digest WHERE "
			 "l.touched_ms > 0 AND l.touched_ms < ? AND NOT EXISTS (SELECT 1 FROM ecr_ref r WHERE r.repo = "
			 "l.repo AND r.digest "
			 "= l.digest) LIMIT ?",
			 "ii", before, (int64_t)ROUND);
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0)
		json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "repo", rows_str(&rows, 0).ptr, "digest",
						      rows_str(&rows, 1).ptr, "size", (json_int_t)rows_int(&rows, 2)));
	rows_done(&rows);
	json_array_foreach (list, i, one) {
		struct str digest = json_get_str(one, "digest");
		if (rc < 0 || ecr_blob_unlink(t, json_get_str(one, "repo"), digest, err) < 0)
			return -1;
		out->links++;
		rc = db_row(turn_db(t), &rows, err, "SELECT 1 FROM ecr_blob WHERE digest=?", "S", digest);
		rows_done(&rows);
		out->blob_bytes += rc == 0 ? json_get_int(one, "size", 0) : 0;
	}
	out->more = out->more || json_array_size(list) == ROUND;
	return rc < 0 ? rc : 0;
}

int ecr_collect(struct ecr *e, struct turn *t, int64_t upload_idle_ms, int64_t link_idle_ms, bool dry,
		struct ecr_collected *out, struct error *err)
{
	int64_t now_ms = turn_now_ms(t);
	*out = (struct ecr_collected){ 0 };
	if (dry && db_savepoint(turn_db(t), err) < 0)
		return -1;
	int rc;
	do {
		rc = drop_idle_uploads(e, t, now_ms - upload_idle_ms, dry, out, err);
		if (rc == 0)
			rc = drop_links(t, now_ms - link_idle_ms, out, err);
	} while (rc == 0 && dry && out->more);
	if (dry)
		db_savepoint_rollback(turn_db(t));
	return rc;
}

/* ---- unpacked layers ---- */

/* The layers of every image: [[digest, ...], ...], owned. */
static json_t *all_layers(struct db *db, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	json_t *all = json_array(), *layer;
	size_t i;
	int rc = db_query(db, &rows, err, "SELECT body FROM ecr_image", "");
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		CLEANUP_JSON json_t *doc = ecr_manifest_json(rows_str(&rows, 0));
		json_t *digests = json_array();
		json_array_foreach (json_get(doc, "layers"), i, layer)
			json_array_append(digests, json_get(layer, "digest"));
		json_array_append_new(all, digests);
	}
	if (rc >= 0)
		return all;
	json_decref(all);
	return NULL;
}

json_t *ecr_collect_layers(struct ecr *e, bool all, bool now, bool dry, struct error *err)
{
	if (!e->o.tasks) {
		error_set(err, "there is no executor");
		return NULL;
	}
	struct db *db = all ? NULL : store_read_begin(e->store, err);
	json_t *keep = all ? json_array() : db ? all_layers(db, err) : NULL;
	if (db)
		store_read_end(e->store, db);
	if (!keep)
		return NULL;
	CLEANUP_JSON json_t *request =
		json_pack("{s:o, s:I, s:I, s:i, s:b}", "keep", keep, "idle_ms", (json_int_t)(now ? 0 : HOUR_MS),
			  "max_age_ms", (json_int_t)(all ? 0 : LAYER_LIFE_MS), "max_bytes", -1, "dry", dry);
	return task_collect_layers(e->o.tasks, request, err);
}

static void perform_layers(void *ctx, struct engine *engine, const struct effect *fx)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *done = ecr_collect_layers(ctx, false, false, false, &err);
	if (!done)
		log_warn("ecr", "collect unpacked layers: %s", error_text(&err));
	else if (json_get_int(done, "removed", 0))
		log_info("ecr", "%lld unpacked layers went (%lld MiB)", (long long)json_get_int(done, "removed", 0),
			 (long long)json_get_int(done, "removed_bytes", 0) >> 20);
	engine_effect_done(engine, fx->seq, NULL);
}

/* ---- the keeper ---- */

static int keeper_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	struct ecr_collected c;
	if (ecr_collect(the_room, t, UPLOAD_LIFE_MS, LINK_LIFE_MS, false, &c, err) < 0)
		return -1;
	turn_timer(t, "tick", turn_now_ms(t) + (c.more ? SOON_MS : HOUR_MS), json_pack("{s:s}", "type", "tick"));
	if (c.more)
		return 0;
	turn_effect(t, "ecr.expire", turn_uuid(t), json_object());
	if (the_room->o.tasks)
		turn_effect(t, "ecr.layers", turn_uuid(t), json_object());
	return 0;
}

static const struct actor_type keeper = { "ecr.keeper", keeper_turn };

static int start_keeper(struct turn *t, void *arg, struct error *err)
{
	return turn_exists(t, "ecr/keeper") ? 0 : turn_spawn(t, "ecr.keeper", "ecr/keeper", json_object(), err);
}

static void keeper_started(void *arg, int rc, struct error *err)
{
	if (rc < 0)
		log_error("ecr", "start the keeper: %s", error_text(err));
}

void ecr_collect_start(struct ecr *e)
{
	const struct effect_type layers = { "ecr.layers", perform_layers, e, true },
				 expire = { "ecr.expire", perform_expire, e, true, 1 };
	the_room = e;
	engine_add_actor(e->o.engine, &keeper);
	engine_add_effect(e->o.engine, &layers);
	engine_add_effect(e->o.engine, &expire);
	engine_submit(e->o.engine, start_keeper, keeper_started, NULL);
}

/* ---- on demand ---- */

struct prune {
	struct ecr *e;
	bool dry;
	struct ecr_collected sum;
};

/* What had no traffic for an hour counts as given up. */
static int run_prune(struct turn *t, void *arg, struct error *err)
{
	struct prune *p = arg;
	struct ecr_collected one;
	if (ecr_collect(p->e, t, HOUR_MS, HOUR_MS, p->dry, &one, err) < 0)
		return -1;
	p->sum.uploads += one.uploads;
	p->sum.upload_bytes += one.upload_bytes;
	p->sum.links += one.links;
	p->sum.blob_bytes += one.blob_bytes;
	p->sum.more = one.more;
	return 0;
}

static void prune_now(struct rcall *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT, why = ERROR_INIT;
	bool dry, all;
	wire_query_arg(c->r, "dry", &dry);
	wire_query_arg(c->r, "all", &all);
	struct prune p = { .e = c->e, .dry = dry };
	do {
		if (engine_call(c->e->o.engine, run_prune, &p, &err) < 0) {
			rcall_fail(c, &err);
			return;
		}
	} while (p.sum.more);
	json_t *layers = ecr_collect_layers(c->e, all, true, dry, &why);
	CLEANUP_JSON json_t *doc =
		json_pack("{s:b, s:{s:I, s:I}, s:{s:I, s:I}, s:o}", "dry", dry, "uploads", "removed",
			  (json_int_t)p.sum.uploads, "removed_bytes", (json_int_t)p.sum.upload_bytes, "blobs",
			  "removed", (json_int_t)p.sum.links, "removed_bytes", (json_int_t)p.sum.blob_bytes, "layers",
			  layers ? layers : json_pack("{s:s}", "error", error_text(&why)));
	wire_set_header(c->r, "Content-Type", "application/json");
	rcall_send(c, 200, json_text(c->a, doc));
}

void registry_collect(struct rcall *c)
{
	rcall_block(c, prune_now);
}
