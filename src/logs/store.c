/* store.c - groups and streams: the tables, and where a stream's file is.
 *
 * DESIGN: rows hold what clients named; events are in files (<dir>/<2 hex>/<id>.log) that rows point to by an opaque
 * id. */
#include "logs/room.h"

#include "base/id.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const struct store_migration logs_migrations[] = {
	{ "logs", 1,
	  "CREATE TABLE logs_group (name TEXT PRIMARY KEY, created_ms INTEGER NOT NULL, retention_days INTEGER NOT "
	  "NULL DEFAULT 0,"
	  " class TEXT NOT NULL DEFAULT 'STANDARD', kms_key TEXT, tags TEXT NOT NULL DEFAULT '{}');"
	  "CREATE TABLE logs_stream (group_name TEXT NOT NULL, name TEXT NOT NULL, created_ms INTEGER NOT NULL, file "
	  "TEXT NOT NULL,"
	  " head INTEGER NOT NULL DEFAULT 0, unordered INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (group_name, name));" },
	{ 0 },
};

char *logs_path(struct logs *l, struct arena *a, struct str file)
{
	return arena_printf(a, "%s/%02x/%.*s.log", l->dir, (unsigned)(str_digest(file) & 0xff), STR_ARG(file));
}

struct str logs_prefix_end(struct arena *a, struct str prefix)
{
	enum { NAME_MAX_CHARS = 512, LAST_BYTES = 4 };
	size_t len = prefix.len + (NAME_MAX_CHARS + 1) * LAST_BYTES;
	char *p = arena_alloc_raw(a, len + 1);
	memcpy(p, prefix.ptr, prefix.len);
	for (size_t i = prefix.len; i < len; i += LAST_BYTES)
		memcpy(p + i, "\xf4\x8f\xbf\xbf", LAST_BYTES); /* U+10FFFF */
	p[len] = 0;
	return str_of(p, len);
}

int64_t logs_cutoff(const struct log_group *g, int64_t now_ms)
{
	return g->retention_days ? now_ms - g->retention_days * LOGS_DAY_MS : 0;
}

int logs_get_group(struct db *db, struct arena *a, struct str name, struct log_group *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err,
			"SELECT created_ms, retention_days, class, kms_key, tags FROM logs_group WHERE name=?", "S",
			name);
	if (rc <= 0)
		return rc;
	*out = (struct log_group){ .name = arena_str(a, name),
				   .created_ms = rows_int(&rows, 0),
				   .retention_days = rows_int(&rows, 1),
				   .class = arena_strdup(a, rows_str(&rows, 2)),
				   .kms_key = rows_null(&rows, 3) ? NULL : arena_strdup(a, rows_str(&rows, 3)),
				   .tags = arena_strdup(a, rows_str(&rows, 4)) };
	return 1;
}

int logs_need_group(struct db *db, struct arena *a, struct str name, struct log_group *out, struct error *err)
{
	int rc = logs_get_group(db, a, name, out, err);
	if (rc == 0)
		return error_aws(err, "ResourceNotFoundException", "The specified log group does not exist.");
	return rc;
}

static void read_stream(struct logs *l, struct arena *a, struct rows *rows, struct str group, struct log_stream *out)
{
	*out = (struct log_stream){ .group = group,
				    .name = arena_str(a, rows_str(rows, 0)),
				    .created_ms = rows_int(rows, 1),
				    .path = logs_path(l, a, rows_str(rows, 2)),
				    .head = rows_int(rows, 3),
				    .unordered = rows_int(rows, 4) != 0 };
}

int logs_get_stream(struct logs *l, struct db *db, struct arena *a, struct str group, struct str name,
		    struct log_stream *out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err,
			"SELECT name, created_ms, file, head, unordered FROM logs_stream WHERE group_name=? AND name=?",
			"SS", group, name);
	if (rc > 0)
		read_stream(l, a, &rows, arena_str(a, group), out);
	return rc;
}

int logs_need_stream(struct logs *l, struct db *db, struct arena *a, struct str group, struct str name,
		     struct log_stream *out, struct error *err)
{
	struct log_group g;
	if (logs_need_group(db, a, group, &g, err) < 0)
		return -1;
	int rc = logs_get_stream(l, db, a, group, name, out, err);
	if (rc == 0)
		return error_aws(err, "ResourceNotFoundException", "The specified log stream does not exist.");
	return rc;
}

int logs_each_stream(struct logs *l, struct db *db, struct arena *a, const struct stream_range *r,
		     int (*fn)(void *ctx, const struct log_stream *s), void *ctx, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str prefix = r->prefix.ptr ? r->prefix : STR(""), top = logs_prefix_end(a, prefix);
	int rc;
	if (r->descending)
		rc = db_query(db, &rows, err,
			      "SELECT name, created_ms, file, head, unordered FROM logs_stream"
			      " WHERE group_name=? AND name>=? AND name<? ORDER BY name DESC LIMIT ?",
			      "SSSi", r->group, prefix, r->after.ptr ? r->after : top, r->limit);
	else if (r->after.ptr)
		rc = db_query(db, &rows, err,
			      "SELECT name, created_ms, file, head, unordered FROM logs_stream"
			      " WHERE group_name=? AND name>? AND name<? ORDER BY name LIMIT ?",
			      "SSSi", r->group, r->after, top, r->limit);
	else
		rc = db_query(db, &rows, err,
			      "SELECT name, created_ms, file, head, unordered FROM logs_stream"
			      " WHERE group_name=? AND name>=? AND name<? ORDER BY name LIMIT ?",
			      "SSSi", r->group, prefix, top, r->limit);
	if (rc < 0)
		return -1;
	struct str group = arena_str(a, r->group);
	while ((rc = rows_next(&rows, err)) > 0) {
		struct log_stream s;
		read_stream(l, a, &rows, group, &s);
		if (fn(ctx, &s))
			return 0;
	}
	return rc;
}

int logs_open(const struct log_stream *s, struct log_file *f, struct error *err)
{
	return log_file_open(f, s->path, s->head, err);
}

/* ---- for other rooms ---- */

static int ensure_stream(struct turn *t, struct str group, struct str stream, struct error *err)
{
	struct db *db = turn_db(t);
	if (db_exec(db, err, "INSERT INTO logs_group (name, created_ms) VALUES (?, ?) ON CONFLICT DO NOTHING", "Si",
		    group, turn_now_ms(t)) < 0)
		return -1;
	return db_exec(db, err,
		       "INSERT INTO logs_stream (group_name, name, created_ms, file) VALUES (?, ?, ?, ?) ON CONFLICT "
		       "DO NOTHING",
		       "SSis", group, stream, turn_now_ms(t), turn_id(t, LOGS_FILE_ID_LEN));
}

const char *logs_stream(struct logs *l, struct turn *t, const char *group, const char *stream)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct log_stream s;
	if (ensure_stream(t, str_from(group), str_from(stream), &err) >= 0 &&
	    logs_get_stream(l, turn_db(t), turn_arena(t), str_from(group), str_from(stream), &s, &err) > 0)
		return s.path;
	log_error("logs", "log stream `%s` of `%s`: %s", stream, group, error_text(&err));
	return NULL;
}

const char *logs_find(struct logs *l, struct db *db, struct arena *a, const char *group, const char *stream)
{
	struct log_stream s;
	return logs_get_stream(l, db, a, str_from(group), str_from(stream), &s, NULL) > 0 ? s.path : NULL;
}

int logs_has_group(struct db *db, const char *group, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	return db_row(db, &rows, err, "SELECT 1 FROM logs_group WHERE name=?", "s", group);
}

int logs_touch(const char *path, struct error *err)
{
	CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (fd < 0)
		return error_errno(err, errno, "create log file `%s`", path);
	return 0;
}

int logs_each(const char *path, int (*fn)(void *ctx, int64_t at_ms, struct str text), void *ctx, struct error *err)
{
	CLEANUP_LOG_FILE struct log_file f = LOG_FILE_INIT;
	struct arena scratch = ARENA_INIT;
	struct str line;
	struct log_record r;
	int64_t off = 0;
	int rc;
	if (log_file_open(&f, path, 0, err) < 0)
		return -1;
	while ((rc = log_file_line(&f, off, &line, &off, err)) > 0) {
		if (!log_record_parse(line, &r))
			continue;
		int stop = fn(ctx, r.at_ms, log_record_text(&scratch, &r));
		arena_release(&scratch);
		if (stop)
			return 0;
	}
	return rc;
}

/* ---- life ---- */

static int make_dir(const char *path, struct error *err)
{
	if (mkdir(path, 0750) < 0 && errno != EEXIST)
		return error_errno(err, errno, "create directory `%s`", path);
	return 0;
}

static int make_dirs(const char *dir, struct error *err)
{
	char path[4096];
	if (make_dir(dir, err) < 0)
		return -1;
	for (unsigned i = 0; i < 256; i++) {
		if (snprintf(path, sizeof(path), "%s/%02x", dir, i) >= (int)sizeof(path))
			return error_set(err, "create directory `%s`: the name is too long", dir);
		if (make_dir(path, err) < 0)
			return -1;
	}
	return 0;
}

int logs_new(struct engine *e, const char *dir, struct logs **out, struct error *err)
{
	if (make_dirs(dir, err) < 0)
		return -1;
	struct logs *l = mem_calloc(1, sizeof(*l));
	l->engine = e;
	l->dir = mem_strdup(dir);
	l->tail = &l->first;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->wake, &attr);
	pthread_condattr_destroy(&attr);
	l->service = (struct wire_service){
		.model = "logs", .scope = "logs", .ops = logs_ops, .access = logs_access, .ctx = l
	};
	engine_add_effect(e,
			  &(struct effect_type){
				  .name = "logs.unlink", .perform = logs_perform_unlink, .ctx = l, .blocking = true });
	if (logs_thread_start(l, err) < 0) {
		logs_free(l);
		return -1;
	}
	*out = l;
	return 0;
}

void logs_stop(struct logs *l)
{
	logs_thread_stop(l);
}

void logs_free(struct logs *l)
{
	if (!l)
		return;
	logs_thread_stop(l);
	pthread_cond_destroy(&l->wake);
	pthread_mutex_destroy(&l->lock);
	free(l->dir);
	free(l);
}

const struct wire_service *logs_service(struct logs *l)
{
	return &l->service;
}
