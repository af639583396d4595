/* api_put.c - PutLogEvents, and the room's thread.
 *
 * DESIGN: an accepted batch is queued to one thread, which appends it in one write, fdatasyncs and then answers: a 2xx
 * means it is on disk, and neither an http thread nor the core waits for the disk. A batch is checked whole before any
 * of it is written. Sources: API reference of PutLogEvents (1,048,576 bytes counted as text + 26 an event, in order of
 * time, span of 24 h, not over 2 h ahead nor 14 days or the retention back; the sequence token is ignored). */
#include "logs/room.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH_MAX_BYTES 1048576
#define EVENT_OVERHEAD_BYTES 26
#define AHEAD_MAX_MS (2 * 3600 * 1000LL)
#define BEHIND_MAX_MS (14 * LOGS_DAY_MS)
#define SWEEP_EVERY_US (60 * 1000000LL)

struct put_job {
	struct call *call;
	json_t *in;
	struct put_job *next;
};

/* What becomes of a batch: events [first, last) are written. */
struct verdict {
	size_t first, last;
	int64_t too_old_end, expired_end, too_new_start; /* -1 = none */
};

static int check_batch(json_t *events, int64_t now_ms, int64_t cutoff_ms, struct verdict *v, struct error *err)
{
	size_t n = json_array_size(events);
	int64_t bytes = 0, first = 0, last = INT64_MIN;
	*v = (struct verdict){ .last = n, .too_old_end = -1, .expired_end = -1, .too_new_start = -1 };
	for (size_t i = 0; i < n; i++) {
		json_t *e = json_array_get(events, i);
		int64_t at = json_get_int(e, "timestamp", 0);
		bytes += (int64_t)json_get_str(e, "message").len + EVENT_OVERHEAD_BYTES;
		if (at < last)
			return error_aws(err, "InvalidParameterException",
					 "Log events in a single PutLogEvents request must be in chronological order.");
		if (i == 0)
			first = at;
		last = at;
		if (at < now_ms - BEHIND_MAX_MS)
			v->too_old_end = (int64_t)i + 1;
		else if (at < cutoff_ms)
			v->expired_end = (int64_t)i + 1;
		else if (at > now_ms + AHEAD_MAX_MS && v->too_new_start < 0)
			v->too_new_start = (int64_t)i;
	}
	if (bytes > BATCH_MAX_BYTES)
		return error_aws(err, "InvalidParameterException", "Upload too large: %lld bytes exceeds limit of %d",
				 (long long)bytes, BATCH_MAX_BYTES);
	if (last - first > LOGS_DAY_MS)
		return error_aws(
			err, "InvalidParameterException",
			"The batch of log events in a single PutLogEvents request cannot span more than 24 hours.");
	if (v->too_old_end > 0)
		v->first = (size_t)v->too_old_end;
	if (v->expired_end > (int64_t)v->first)
		v->first = (size_t)v->expired_end;
	if (v->too_new_start >= 0)
		v->last = (size_t)v->too_new_start;
	return 0;
}

struct disorder {
	struct str group, stream;
};

static int mark_unordered(struct turn *t, void *arg, struct error *err)
{
	struct disorder *d = arg;
	return db_exec(turn_db(t), err, "UPDATE logs_stream SET unordered=1 WHERE group_name=? AND name=?", "SS",
		       d->group, d->stream) < 0
		       ? -1
		       : 0;
}

static int write_all(int fd, struct str data, struct error *err)
{
	while (data.len) {
		ssize_t n = write(fd, data.ptr, data.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOSPC)
			return error_aws(err, "ServiceUnavailableException", "The disk that holds the logs is full.");
		if (n < 0)
			return error_errno(err, errno, "append to a log file");
		data = str_skip(data, (size_t)n);
	}
	return 0;
}

/* Makes a new file's name durable. */
static int sync_dir_of(const char *path, struct error *err)
{
	CLEANUP_FREE char *dir = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
	CLEANUP_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return error_errno(err, errno, "sync directory `%s`", dir);
	return 0;
}

static int append(const char *path, struct buf *data, struct error *err)
{
	CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, errno, "open log file `%s`", path);
	char last = '\n';
	if (st.st_size && pread(fd, &last, 1, st.st_size - 1) < 0)
		return error_errno(err, errno, "read log file `%s`", path);
	/* A torn record of before a crash is closed, so that it can't swallow this one. */
	if (last != '\n' && write_all(fd, STR("\n"), err) < 0)
		return -1;
	if (write_all(fd, buf_str(data), err) < 0)
		return -1;
	if (fdatasync(fd) < 0)
		return error_errno(err, errno, "sync log file `%s`", path);
	return st.st_size ? 0 : sync_dir_of(path, err);
}

static json_t *answer(const struct verdict *v, const char *token)
{
	json_t *out = json_object();
	json_set_text(out, "nextSequenceToken", token);
	if (v->too_old_end < 0 && v->expired_end < 0 && v->too_new_start < 0)
		return out;
	json_t *rejected = json_object();
	if (v->too_old_end >= 0)
		json_set_int(rejected, "tooOldLogEventEndIndex", v->too_old_end);
	if (v->expired_end >= 0)
		json_set_int(rejected, "expiredLogEventEndIndex", v->expired_end);
	if (v->too_new_start >= 0)
		json_set_int(rejected, "tooNewLogEventStartIndex", v->too_new_start);
	json_object_set_new(out, "rejectedLogEventsInfo", rejected);
	return out;
}

static int put_find(struct logs *l, struct arena *a, json_t *in, struct log_stream *s, int64_t *cutoff,
		    struct error *err)
{
	struct db *db = store_read_begin(engine_store(l->engine), err);
	if (!db)
		return -1;
	struct log_group g;
	struct str group = json_get_str(in, "logGroupName");
	int rc = logs_need_group(db, a, group, &g, err);
	if (rc >= 0)
		rc = logs_need_stream(l, db, a, group, json_get_str(in, "logStreamName"), s, err);
	if (rc >= 0)
		*cutoff = logs_cutoff(&g, engine_now_ms(l->engine));
	store_read_end(engine_store(l->engine), db);
	return rc;
}

static int put(struct logs *l, struct arena *a, json_t *in, json_t **out, struct error *err)
{
	struct log_stream s;
	struct verdict v;
	int64_t cutoff, now = engine_now_ms(l->engine);
	json_t *events = json_get(in, "logEvents");
	if (put_find(l, a, in, &s, &cutoff, err) < 0 || check_batch(events, now, cutoff, &v, err) < 0)
		return -1;
	const char *token = arena_printf(a, "%056lld", (long long)now);
	if (v.first >= v.last) {
		*out = answer(&v, token);
		return 0;
	}
	CLEANUP_LOG_FILE struct log_file f = LOG_FILE_INIT;
	int64_t first_ms, last_ms;
	if (!s.unordered) {
		if (logs_open(&s, &f, err) < 0)
			return -1;
		int rc = log_file_range(&f, &first_ms, &last_ms, err);
		if (rc < 0)
			return -1;
		struct disorder d = { s.group, s.name };
		if (rc > 0 && json_get_int(json_array_get(events, v.first), "timestamp", 0) < last_ms &&
		    engine_call(l->engine, mark_unordered, &d, err) < 0)
			return -1;
	}
	CLEANUP_BUF struct buf data = BUF_INIT;
	for (size_t i = v.first; i < v.last; i++) {
		json_t *e = json_array_get(events, i);
		log_record_add(&data, json_get_int(e, "timestamp", 0), now, json_get_str(e, "message"));
	}
	if (append(s.path, &data, err) < 0)
		return -1;
	*out = answer(&v, token);
	return 0;
}

void logs_op_put_events(struct call *c, json_t *in)
{
	struct logs *l = c->service_ctx;
	struct put_job *job = mem_calloc(1, sizeof(*job));
	job->call = c;
	job->in = json_incref(in);
	pthread_mutex_lock(&l->lock);
	*l->tail = job;
	l->tail = &job->next;
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
}

static void run_job(struct logs *l, struct put_job *job)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct arena a = ARENA_INIT;
	json_t *out = NULL;
	int rc = put(l, &a, job->in, &out, &err);
	json_decref(job->in); /* before the answer: then who called releases it, too */
	wire_answer(job->call, rc, out, &err);
	arena_release(&a);
	free(job);
}

static void run_sweep(struct logs *l)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (logs_sweep(l, engine_now_ms(l->engine), &err) < 0)
		log_error("logs", "expiry: %s", error_text(&err));
}

static void *thread_main(void *arg)
{
	struct logs *l = arg;
	pthread_mutex_lock(&l->lock);
	for (;;) {
		struct put_job *job = l->first;
		bool sweep = !job && !l->stop && clock_monotonic_us() >= l->next_sweep_us;
		if (job) {
			l->first = job->next;
			if (!l->first)
				l->tail = &l->first;
		} else if (l->stop) {
			break;
		} else if (!sweep) {
			struct timespec ts = { .tv_sec = l->next_sweep_us / 1000000,
					       .tv_nsec = l->next_sweep_us % 1000000 * 1000 };
			pthread_cond_timedwait(&l->wake, &l->lock, &ts);
			continue;
		}
		pthread_mutex_unlock(&l->lock);
		if (job)
			run_job(l, job);
		else
			run_sweep(l);
		pthread_mutex_lock(&l->lock);
		if (sweep)
			l->next_sweep_us = clock_monotonic_us() + SWEEP_EVERY_US;
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

int logs_thread_start(struct logs *l, struct error *err)
{
	l->next_sweep_us = clock_monotonic_us() + SWEEP_EVERY_US;
	int rc = pthread_create(&l->thread, NULL, thread_main, l);
	if (rc)
		return error_errno(err, rc, "start the logs thread");
	l->has_thread = true;
	return 0;
}

void logs_thread_stop(struct logs *l)
{
	if (!l->has_thread)
		return;
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->thread, NULL);
	l->has_thread = false;
}
