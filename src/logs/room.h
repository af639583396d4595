/* room.h - what the files of the logs room share. Not for other rooms. */
#ifndef QUERN_LOGS_ROOM_H
#define QUERN_LOGS_ROOM_H

#include <pthread.h>

#include "base/buf.h"
#include "base/json.h"
#include "logs/file.h"
#include "logs/logs.h"

#define LOGS_DAY_MS 86400000LL
#define LOGS_FILE_ID_LEN 20

struct put_job;

struct logs {
	struct engine *engine;
	char *dir;
	struct wire_service service;
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	struct put_job *first, **tail; /* accepted PutLogEvents, in order */
	int64_t next_sweep_us;
};

/* ---- tables (store.c) ---- */
struct log_group {
	struct str name; /* in the arena, as all texts here */
	int64_t created_ms;
	int64_t retention_days;             /* 0 = for ever */
	const char *class, *kms_key, *tags; /* tags: a JSON object */
};
struct log_stream {
	struct str group, name;
	int64_t created_ms, head;
	bool unordered; /* a batch with earlier times than the file's last came in: the times can't be searched by
			   halving */
	const char *path;
};

/* 1 found, 0 not, < 0 a fault. */
int logs_get_group(struct db *db, struct arena *a, struct str name, struct log_group *out, struct error *err);
int logs_get_stream(struct logs *l, struct db *db, struct arena *a, struct str group, struct str name,
		    struct log_stream *out, struct error *err);
/* As above, but absence is the error ResourceNotFoundException. */
int logs_need_group(struct db *db, struct arena *a, struct str name, struct log_group *out, struct error *err);
int logs_need_stream(struct logs *l, struct db *db, struct arena *a, struct str group, struct str name,
		     struct log_stream *out, struct error *err);
/* Streams of a group whose names start with `prefix`, by name, at most `limit`. fn returns nonzero to stop. */
struct stream_range {
	struct str group, prefix;
	struct str after; /* a name to go on behind; ptr NULL = from the start */
	bool descending;
	int64_t limit;
};
int logs_each_stream(struct logs *l, struct db *db, struct arena *a, const struct stream_range *range,
		     int (*fn)(void *ctx, const struct log_stream *s), void *ctx, struct error *err);
char *logs_path(struct logs *l, struct arena *a, struct str file);
/* Behind all names (of groups or streams) with this prefix, before what does not begin with it and comes later. */
struct str logs_prefix_end(struct arena *a, struct str prefix);
/* Events before this time have expired; 0 when the group keeps all. */
int64_t logs_cutoff(const struct log_group *g, int64_t now_ms);
/* Opens the stream's file as readers see it (an expired head is skipped by `head`; the rest by the cutoff). */
int logs_open(const struct log_stream *s, struct log_file *f, struct error *err);

/* ---- operations ---- */
extern const struct wire_op logs_ops[];
extern const struct wire_access logs_access[];
/* The group that a request names by logGroupName or logGroupIdentifier (a name or an ARN). */
int logs_request_group(json_t *in, struct str *name, struct error *err);
const char *logs_group_arn(struct call *c, struct str group);
int logs_op_get_events(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int logs_op_filter_events(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int logs_op_describe_groups(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int logs_op_describe_streams(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
int logs_op_tag(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int logs_op_untag(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
int logs_op_list_tags(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
void logs_op_put_events(struct call *c, json_t *in);

/* ---- the thread (api_put.c, sweep.c) ---- */
int logs_thread_start(struct logs *l, struct error *err);
void logs_thread_stop(struct logs *l);
/* Expires what is due: moves heads on, then gives the disk space back. */
int logs_sweep(struct logs *l, int64_t now_ms, struct error *err);
/* The effect that removes files of deleted streams. */
void logs_perform_unlink(void *ctx, struct engine *e, const struct effect *fx);

#endif
