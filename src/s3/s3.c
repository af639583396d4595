/* s3.c - the room: its parts, and the thread in the background.
 *
 * DESIGN: the keeper thread does what nobody waits for: it unlinks blobs that are due (a bounded number a round,
 * because mass deletion slows every fsync of the file system) and those that a failed request left, and collects litter
 * once, ten minutes after the start, when all unfinished work of before has been taken up again. */
#include "s3/room.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum { ROUND_MS = 5000, HURRY_MS = 500, SWEEP_MAX = 500, LITTER_AFTER_MS = 600000 };

/* ---- the keeper ---- */

static void add_trash(struct s3 *s, const struct s3_trash *what)
{
	struct s3_trash *trash = mem_alloc(sizeof(*trash));
	*trash = *what;
	pthread_mutex_lock(&s->keeper_lock);
	trash->next = s->trash;
	s->trash = trash;
	pthread_cond_signal(&s->keeper_wake);
	pthread_mutex_unlock(&s->keeper_lock);
}

void s3_keeper_remove(struct s3 *s, const char *blob)
{
	struct s3_trash trash = { 0 };
	memcpy(trash.id, blob, sizeof(trash.id));
	add_trash(s, &trash);
}

void s3_keeper_abort(struct s3 *s, struct blob_writer *w)
{
	if (w->store)
		add_trash(s, &(struct s3_trash){ .writer = *w });
	*w = (struct blob_writer){ 0 };
}

static void unlink_trash(struct s3 *s, struct s3_trash *trash)
{
	while (trash) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		struct s3_trash *next = trash->next;
		blob_abort(&trash->writer);
		if (trash->id[0] && blob_remove_now(s->blobs, trash->id, &err) < 0)
			log_warn("s3", "%s", error_text(&err));
		free(trash);
		trash = next;
	}
}

struct gone {
	int n;
	char ids[SWEEP_MAX][BLOB_ID_LEN + 1];
};

static void note_gone(void *ctx, const char *id)
{
	struct gone *g = ctx;
	memcpy(g->ids[g->n++], id, BLOB_ID_LEN + 1);
}

static int forget_gone(struct turn *t, void *arg, struct error *err)
{
	const struct gone *g = arg;
	for (int i = 0; i < g->n; i++)
		if (blob_forget(turn_db(t), g->ids[i], err) < 0)
			return -1;
	return 0;
}

/* True when there may be more to do already. */
static bool sweep(struct s3 *s)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct gone *g = mem_calloc(1, sizeof(*g));
	struct db *db = store_read_begin(s->store, &err);
	int n = db ? blob_sweep(s->blobs, db, engine_now_ms(s->engine), SWEEP_MAX, note_gone, g, &err) : -1;
	if (db)
		store_read_end(s->store, db);
	if (n >= 0 && g->n > 0 && engine_call(s->engine, forget_gone, g, &err) < 0)
		n = -1;
	if (n < 0)
		log_warn("s3", "remove old blobs: %s", error_text(&err));
	free(g);
	return n == SWEEP_MAX;
}

static void collect_litter(struct s3 *s)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (blob_collect_litter(s->blobs, s->store, &err) < 0)
		log_warn("s3", "collect litter: %s", error_text(&err));
}

/* Waits until then, or until there is trash or the end. Takes the trash. Called with the lock held. */
static struct s3_trash *wait_until(struct s3 *s, int64_t at_us, bool *stop)
{
	const struct timespec until = { .tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000 };
	while (!s->stop && !s->trash)
		if (pthread_cond_timedwait(&s->keeper_wake, &s->keeper_lock, &until) != 0)
			break;
	*stop = s->stop;
	struct s3_trash *trash = s->trash;
	s->trash = NULL;
	return trash;
}

static void *keeper_main(void *arg)
{
	struct s3 *s = arg;
	const int64_t started_us = clock_monotonic_us();
	int64_t sweep_us = started_us + (int64_t)ROUND_MS * 1000;
	bool collected = false, stop = false;
	pthread_mutex_lock(&s->keeper_lock);
	while (!s->stop) {
		struct s3_trash *trash = wait_until(s, sweep_us, &stop);
		pthread_mutex_unlock(&s->keeper_lock);
		unlink_trash(s, trash);
		const int64_t now_us = clock_monotonic_us();
		if (!stop && now_us >= sweep_us)
			sweep_us = now_us + (sweep(s) ? HURRY_MS : ROUND_MS) * 1000LL;
		if (!stop && !collected && now_us - started_us >= (int64_t)LITTER_AFTER_MS * 1000) {
			collected = true;
			collect_litter(s);
		}
		pthread_mutex_lock(&s->keeper_lock);
	}
	pthread_mutex_unlock(&s->keeper_lock);
	return NULL;
}

/* ---- the room ---- */

int s3_new(struct engine *e, struct blob_store *blobs, struct s3 **out, struct error *err)
{
	struct s3 *s = mem_calloc(1, sizeof(*s));
	s->engine = e;
	s->store = engine_store(e);
	s->blobs = blobs;
	s->hasher = hasher_new((int)sysconf(_SC_NPROCESSORS_ONLN));
	s->service = (struct wire_service){ .scope = "s3",
					    .raw = &s3_raw,
					    .claims = s3_claims,
					    .ctx = s,
					    .operation_at = s3_operation_at,
					    .access = s3_access };
	pthread_mutex_init(&s->uploads_lock, NULL);
	pthread_mutex_init(&s->keeper_lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->keeper_wake, &attr);
	pthread_condattr_destroy(&attr);
	s3_aging_init(s);
	blob_add_owner(blobs, s3_blob_named, s);
	const int rc = pthread_create(&s->keeper, NULL, keeper_main, s);
	s->keeper_runs = rc == 0;
	if (rc != 0) {
		s3_free(s);
		return error_errno(err, rc, "start the keeper thread");
	}
	*out = s;
	return 0;
}

void s3_free(struct s3 *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->keeper_lock);
	s->stop = true;
	pthread_cond_signal(&s->keeper_wake);
	pthread_mutex_unlock(&s->keeper_lock);
	if (s->keeper_runs)
		pthread_join(s->keeper, NULL);
	unlink_trash(s, s->trash);
	hasher_free(s->hasher);
	map_release(&s->uploads);
	pthread_mutex_destroy(&s->uploads_lock);
	pthread_mutex_destroy(&s->keeper_lock);
	pthread_cond_destroy(&s->keeper_wake);
	free(s);
}

const struct wire_service *s3_service(struct s3 *s)
{
	return &s->service;
}
