/* sweep.c - expiry and removal.
 *
 * DESIGN: readers drop expired events by time at once, so expiry is exact whenever this runs. The sweep gives the space
 * back: it moves the stream's head on to the first live record (a row, committed first) and then punches a hole over
 * what lies before it. Byte offsets, and so clients' tokens, stay valid. On a file system without holes the space stays
 * taken until the stream is deleted. */
#include "logs/room.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define PUNCH_MIN_BYTES 65536 /* below that a hole frees nothing worth a commit */

struct move {
	struct str group, name;
	int64_t head;
	const char *path;
	struct move *next;
};

struct sweep {
	struct arena *arena;
	int64_t cutoff;
	struct move *moves;
	struct error *err;
	int rc;
};

/* First record that is not expired. A stream out of order keeps all while one of its later records is live. */
static int live_from(const struct log_stream *s, struct log_file *f, int64_t cutoff, int64_t *head, struct error *err)
{
	struct str line;
	struct log_record r;
	int64_t off = f->head, next;
	int rc;
	if (!s->unordered && log_file_seek(f, cutoff, &off, err) < 0)
		return -1;
	*head = off;
	while ((rc = log_file_line(f, off, &line, &next, err)) > 0) {
		if (log_record_parse(line, &r) && r.at_ms >= cutoff)
			break;
		*head = off = next;
	}
	return rc < 0 ? -1 : 0;
}

static int look(void *ctx, const struct log_stream *s)
{
	struct sweep *sw = ctx;
	CLEANUP_LOG_FILE struct log_file f = LOG_FILE_INIT;
	int64_t head;
	if (logs_open(s, &f, sw->err) < 0 || live_from(s, &f, sw->cutoff, &head, sw->err) < 0) {
		sw->rc = -1;
		return 1;
	}
	if (head - s->head < PUNCH_MIN_BYTES && !(head == f.end && head > s->head))
		return 0;
	struct move *m = ARENA_NEW(sw->arena, struct move);
	*m = (struct move){ .group = s->group, .name = s->name, .head = head, .path = s->path, .next = sw->moves };
	sw->moves = m;
	return 0;
}

static int commit_moves(struct turn *t, void *arg, struct error *err)
{
	for (struct move *m = arg; m; m = m->next)
		if (db_exec(turn_db(t), err, "UPDATE logs_stream SET head=? WHERE group_name=? AND name=? AND head<?",
			    "iSSi", m->head, m->group, m->name, m->head) < 0)
			return -1;
	return 0;
}

static void punch(const struct move *m)
{
	CLEANUP_FD int fd = open(m->path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, m->head) < 0 && errno != EOPNOTSUPP)
		log_warn("logs", "free the expired part of `%s`: %s", m->path, strerror(errno));
}

static int sweep_group(struct logs *l, struct db *db, struct arena *a, const struct log_group *g, int64_t now_ms,
		       struct move **moves, struct error *err)
{
	struct sweep sw = { .arena = a, .cutoff = logs_cutoff(g, now_ms), .moves = *moves, .err = err };
	struct stream_range all = { .group = g->name, .limit = INT64_MAX };
	if (logs_each_stream(l, db, a, &all, look, &sw, err) < 0 || sw.rc < 0)
		return -1;
	*moves = sw.moves;
	return 0;
}

static int find_moves(struct logs *l, struct db *db, struct arena *a, int64_t now_ms, struct move **moves,
		      struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc;
	if (db_query(db, &rows, err, "SELECT name, retention_days FROM logs_group WHERE retention_days>0", "") < 0)
		return -1;
	while ((rc = rows_next(&rows, err)) > 0) {
		struct log_group g = { .name = arena_str(a, rows_str(&rows, 0)), .retention_days = rows_int(&rows, 1) };
		if (sweep_group(l, db, a, &g, now_ms, moves, err) < 0)
			return -1;
	}
	return rc;
}

int logs_sweep(struct logs *l, int64_t now_ms, struct error *err)
{
	struct arena a = ARENA_INIT;
	struct move *moves = NULL;
	struct db *db = store_read_begin(engine_store(l->engine), err);
	if (!db)
		return -1;
	int rc = find_moves(l, db, &a, now_ms, &moves, err);
	store_read_end(engine_store(l->engine), db);
	if (rc >= 0 && moves)
		rc = engine_call(l->engine, commit_moves, moves, err);
	for (struct move *m = rc < 0 ? NULL : moves; m; m = m->next)
		punch(m);
	arena_release(&a);
	return rc;
}

void logs_perform_unlink(void *ctx, struct engine *e, const struct effect *fx)
{
	struct logs *l = ctx;
	struct arena a = ARENA_INIT;
	size_t i;
	json_t *file;
	json_array_foreach (json_get(fx->payload, "files"), i, file) {
		const char *path = logs_path(l, &a, json_str(file));
		if (unlink(path) < 0 && errno != ENOENT)
			log_warn("logs", "remove `%s`: %s", path, strerror(errno));
	}
	arena_release(&a);
	engine_effect_done(e, fx->seq, NULL);
}
