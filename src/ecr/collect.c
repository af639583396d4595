/* collect.c - what is no longer needed goes: images that a lifecycle policy expires, uploads that nobody finishes,
 * blobs that no image refers to, unpacked layers that no task uses.
 *
 * DESIGN: a blob's file goes with its last link (rows.c), a minute later (blob.h). Links go when the image that
 * referred to them is dropped; those that never came to an image (a push that was given up), or that a push or a
 * running pull wanted at that moment, go here, a day later. All of it is decided in transactions of the one writer, so
 * nothing can come to need a blob in between. Tasks hold their own: open files, hard links and locks (task/layers.h,
 * task/exec_layers.c); the daemon only tells the executor which images there are. The keeper is an actor with a timer;
 * the executor is asked through an effect. `quern images prune` asks for the same now (POST /v2/_quern/prune). */
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
enum { ROUND = 1000, EXPIRE_ROUND = 200 }; /* rows of one transaction */

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

/* At most EXPIRE_ROUND images of the repository; when that was all, the policy counts as evaluated. */
static int expire_repository(struct turn *t, struct str repo, struct str policy, struct error *err)
{
	CLEANUP_JSON json_t *expired =
		ecr_lifecycle_apply(turn_db(t), turn_arena(t), repo, policy, turn_now_ms(t), err);
	json_t *image;
	size_t i;
	if (!expired)
		return -1;
	json_array_foreach (expired, i, image)
		if (i < EXPIRE_ROUND && expire_image(t, repo, json_get_str(image, "imageDigest"), 0, err) < 0)
			return -1;
	if (json_array_size(expired) > EXPIRE_ROUND)
		return 0;
	return db_exec(turn_db(t), err, "UPDATE ecr_repo SET evaluated_ms=? WHERE name=?", "iS", turn_now_ms(t), repo) <
			       0
		       ? -1
		       : 0;
}

/* One repository whose policy was not applied lately. 1: there may be another; 0: there was none. */
static int expire_images(struct turn *t, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(turn_db(t), &rows, err,
			"SELECT name, lifecycle FROM ecr_repo WHERE lifecycle IS NOT NULL AND evaluated_ms < ? ORDER "
			"BY evaluated_ms LIMIT 1",
			"i", turn_now_ms(t) - HOUR_MS / 2);
	if (rc <= 0)
		return rc;
	struct str repo = arena_str(turn_arena(t), rows_str(&rows, 0)),
		   policy = arena_str(turn_arena(t), rows_str(&rows, 1));
	rows_done(&rows);
	return expire_repository(t, repo, policy, err) < 0 ? -1 : 1;
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

static struct ecr *the_room; /* actors have no context; there is one registry in a process */

static int keeper_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	struct ecr_collected c;
	int more = expire_images(t, err);
	if (more < 0 || ecr_collect(the_room, t, UPLOAD_LIFE_MS, LINK_LIFE_MS, false, &c, err) < 0)
		return -1;
	more |= c.more;
	turn_timer(t, "tick", turn_now_ms(t) + (more ? SOON_MS : HOUR_MS), json_pack("{s:s}", "type", "tick"));
	if (the_room->o.tasks && !more)
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
	const struct effect_type layers = { "ecr.layers", perform_layers, e, true };
	the_room = e;
	engine_add_actor(e->o.engine, &keeper);
	engine_add_effect(e->o.engine, &layers);
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
