/* api_group.c - operations on groups and streams.
 *
 * DESIGN: decode, check, one statement or two, encode. Events are in api_events.c, api_search.c and api_put.c. What the
 * model says (patterns, limits) is checked before a handler runs. Error texts follow CloudWatch Logs. */
#include "logs/room.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char GROUP_GONE[] = "The specified log group does not exist.";

static struct logs *ctx(struct call *c)
{
	return c->service_ctx;
}

static struct str text_or(struct str s, struct str fallback)
{
	return s.ptr ? s : fallback;
}

const char *logs_group_arn(struct call *c, struct str group)
{
	return arena_printf(c->arena, "arn:aws:logs:%s:%s:log-group:%.*s", c->region, c->account, STR_ARG(group));
}

/* The name in "arn:aws:logs:r:a:log-group:NAME" or "...:NAME:*". */
static bool name_of_arn(struct str arn, struct str *name)
{
	ptrdiff_t at = str_find(arn, STR(":log-group:"));
	if (!str_starts(arn, STR("arn:")) || at < 0)
		return false;
	*name = str_skip(arn, (size_t)at + 11);
	ptrdiff_t colon = str_find_char(*name, ':');
	if (colon >= 0)
		*name = str_head(*name, (size_t)colon);
	return name->len > 0;
}

int logs_request_group(json_t *in, struct str *name, struct error *err)
{
	struct str plain = json_get_str(in, "logGroupName"), id = json_get_str(in, "logGroupIdentifier");
	if (plain.ptr && id.ptr)
		return error_aws(err, "ValidationException",
				 "LogGroup name and LogGroup ARN are mutually exclusive parameters.");
	if (!plain.ptr && !id.ptr)
		return error_aws(err, "InvalidParameterException",
				 "Either LogGroupName or LogGroupIdentifier must be given.");
	*name = plain.ptr ? plain : id;
	if (!plain.ptr && str_starts(id, STR("arn:")) && !name_of_arn(id, name))
		return error_aws(err, "InvalidParameterException", "LogGroupIdentifier is not the ARN of a log group.");
	return 0;
}

/* ---- groups ---- */

static int create_group(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct str class = text_or(json_get_str(in, "logGroupClass"), STR("STANDARD"));
	json_t *tags = json_get(in, "tags");
	struct str tag_text = tags ? json_text(c->arena, tags) : STR("{}");
	if (json_get_bool(in, "deletionProtectionEnabled", false))
		return error_aws(err, "InvalidParameterException",
				 "Deletion protection of log groups is not supported by Quern.");
	if (db_exec(turn_db(t), err,
		    "INSERT INTO logs_group (name, created_ms, class, kms_key, tags) VALUES (?, ?, ?, ?, ?)", "SiSSS",
		    json_get_str(in, "logGroupName"), turn_now_ms(t), class, json_get_str(in, "kmsKeyId"),
		    tag_text) >= 0)
		return 0;
	if (!error_is(err, "conflict"))
		return -1;
	error_release(err);
	return error_aws(err, "ResourceAlreadyExistsException", "The specified log group already exists");
}

/* The files of the rows that `sql` selects become an effect that removes them. */
static int forget_files(struct turn *t, struct rows *rows, struct error *err)
{
	json_t *files = json_array();
	int rc;
	while ((rc = rows_next(rows, err)) > 0) {
		struct str file = rows_str(rows, 0);
		json_array_append_new(files, json_stringn(file.ptr, file.len));
	}
	if (rc < 0 || json_array_size(files) == 0) {
		json_decref(files);
		return rc;
	}
	json_t *payload = json_object();
	json_object_set_new(payload, "files", files);
	turn_effect(t, "logs.unlink", turn_id(t, 20), payload);
	return 0;
}

static int delete_group(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct db *db = turn_db(t);
	struct str name = json_get_str(in, "logGroupName");
	if (db_query(db, &rows, err, "SELECT file FROM logs_stream WHERE group_name=?", "S", name) < 0 ||
	    forget_files(t, &rows, err) < 0)
		return -1;
	rows_done(&rows);
	if (db_exec(db, err, "DELETE FROM logs_stream WHERE group_name=?", "S", name) < 0)
		return -1;
	int n = db_exec(db, err, "DELETE FROM logs_group WHERE name=?", "S", name);
	return n == 0 ? error_aws(err, "ResourceNotFoundException", "%s", GROUP_GONE) : n < 0 ? -1 : 0;
}

struct total {
	int64_t bytes;
	struct error *err;
	int rc;
};

/* A group may have very many streams: their files are not opened. */
static int add_size(void *arg, const struct log_stream *s)
{
	struct total *total = arg;
	struct stat st;
	if (stat(s->path, &st) == 0)
		total->bytes += st.st_size > s->head ? st.st_size - s->head : 0;
	else if (errno != ENOENT)
		total->rc = error_errno(total->err, errno, "stat log file `%s`", s->path);
	return total->rc < 0;
}

static int group_json(struct call *c, struct db *db, const struct log_group *g, json_t *list, struct error *err)
{
	struct total total = { .err = err };
	struct stream_range all = { .group = g->name, .limit = INT64_MAX };
	if (logs_each_stream(ctx(c), db, c->arena, &all, add_size, &total, err) < 0 || total.rc < 0)
		return -1;
	const char *arn = logs_group_arn(c, g->name);
	json_t *o = json_object();
	json_set_text(o, "logGroupName", g->name.ptr);
	json_set_int(o, "creationTime", g->created_ms);
	if (g->retention_days)
		json_set_int(o, "retentionInDays", g->retention_days);
	json_set_int(o, "metricFilterCount", 0);
	json_set_text(o, "arn", arena_printf(c->arena, "%s:*", arn));
	json_set_int(o, "storedBytes", total.bytes);
	json_set_text(o, "kmsKeyId", g->kms_key);
	json_set_text(o, "logGroupClass", g->class);
	json_set_text(o, "logGroupArn", arn);
	json_array_append_new(list, o);
	return 0;
}

static bool group_wanted(json_t *in, struct str name, struct str class)
{
	struct str pattern = json_get_str(in, "logGroupNamePattern"), want = json_get_str(in, "logGroupClass");
	json_t *ids = json_get(in, "logGroupIdentifiers"), *id;
	size_t i;
	if (pattern.ptr && str_find(name, pattern) < 0)
		return false;
	if (want.ptr && !str_eq(want, class))
		return false;
	if (!ids)
		return true;
	json_array_foreach (ids, i, id) {
		struct str wanted = json_str(id);
		if (str_starts(wanted, STR("arn:")))
			name_of_arn(wanted, &wanted);
		if (str_eq(wanted, name))
			return true;
	}
	return false;
}

int logs_op_describe_groups(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str prefix = json_get_str(in, "logGroupNamePrefix"), token = json_get_str(in, "nextToken");
	int64_t limit = json_get_int(in, "limit", 50);
	if (prefix.ptr && json_get(in, "logGroupNamePattern"))
		return error_aws(err, "InvalidParameterException",
				 "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.");
	prefix = text_or(prefix, STR(""));
	struct str end = logs_prefix_end(c->arena, prefix);
	if (db_query(db, &rows, err,
		     "SELECT name, class FROM logs_group WHERE name>=? AND name<? AND name>? ORDER BY name", "SSS",
		     prefix, end.ptr ? end : STR("\xff"), text_or(token, STR(""))) < 0)
		return -1;
	json_t *list = json_array();
	*out = json_object();
	json_object_set_new(*out, "logGroups", list);
	const char *last = NULL;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0) {
		struct str name = arena_str(c->arena, rows_str(&rows, 0));
		struct log_group g;
		if (!group_wanted(in, name, rows_str(&rows, 1)))
			continue;
		if ((int64_t)json_array_size(list) == limit) {
			json_set_text(*out, "nextToken", last);
			break;
		}
		if (logs_get_group(db, c->arena, name, &g, err) < 0 || group_json(c, db, &g, list, err) < 0)
			return -1;
		last = name.ptr;
	}
	return rc < 0 ? -1 : 0;
}

static int set_retention(struct turn *t, struct str group, int64_t days, struct error *err)
{
	int n = db_exec(turn_db(t), err, "UPDATE logs_group SET retention_days=? WHERE name=?", "iS", days, group);
	return n == 0 ? error_aws(err, "ResourceNotFoundException", "%s", GROUP_GONE) : n < 0 ? -1 : 0;
}

static int put_retention(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	static const int allowed[] = { 1,   3,   5,   7,   14,   30,   60,   90,   120,  150,  180,
				       365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653 };
	int64_t days = json_get_int(in, "retentionInDays", 0);
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (allowed[i] == days)
			return set_retention(t, json_get_str(in, "logGroupName"), days, err);
	return error_aws(err, "InvalidParameterException",
			 "1 validation error detected: Value '%lld' at 'retentionInDays' failed to satisfy constraint: "
			 "Member must satisfy enum value set: "
			 "[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, "
			 "2922, 3288, 3653]",
			 (long long)days);
}

static int delete_retention(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	return set_retention(t, json_get_str(in, "logGroupName"), 0, err);
}

/* ---- streams ---- */

static int create_stream(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct log_group g;
	struct str group = json_get_str(in, "logGroupName");
	if (logs_need_group(turn_db(t), c->arena, group, &g, err) < 0)
		return -1;
	if (db_exec(turn_db(t), err, "INSERT INTO logs_stream (group_name, name, created_ms, file) VALUES (?, ?, ?, ?)",
		    "SSis", group, json_get_str(in, "logStreamName"), turn_now_ms(t),
		    turn_id(t, LOGS_FILE_ID_LEN)) >= 0)
		return 0;
	if (!error_is(err, "conflict"))
		return -1;
	error_release(err);
	return error_aws(err, "ResourceAlreadyExistsException", "The specified log stream already exists");
}

static int delete_stream(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct log_stream s;
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str group = json_get_str(in, "logGroupName"), name = json_get_str(in, "logStreamName");
	if (logs_need_stream(ctx(c), turn_db(t), c->arena, group, name, &s, err) < 0)
		return -1;
	if (db_query(turn_db(t), &rows, err, "SELECT file FROM logs_stream WHERE group_name=? AND name=?", "SS", group,
		     name) < 0 ||
	    forget_files(t, &rows, err) < 0)
		return -1;
	rows_done(&rows);
	return db_exec(turn_db(t), err, "DELETE FROM logs_stream WHERE group_name=? AND name=?", "SS", group, name) < 0
		       ? -1
		       : 0;
}

struct described {
	struct log_stream stream;
	int64_t first_ms, last_ms, bytes;
	bool has_events;
};

struct listing {
	struct arena *arena;
	struct described *items;
	size_t count, cap;
	struct error *err;
	int rc;
};

static int describe(void *arg, const struct log_stream *s)
{
	struct listing *l = arg;
	CLEANUP_LOG_FILE struct log_file f = LOG_FILE_INIT;
	struct described d = { .stream = *s };
	l->rc = logs_open(s, &f, l->err);
	if (l->rc >= 0)
		l->rc = log_file_range(&f, &d.first_ms, &d.last_ms, l->err);
	if (l->rc < 0)
		return 1;
	d.has_events = l->rc > 0;
	d.bytes = f.end - f.head;
	if (l->count == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		struct described *more = ARENA_ARRAY(l->arena, struct described, l->cap);
		if (l->count)
			memcpy(more, l->items, l->count * sizeof(*more));
		l->items = more;
	}
	l->items[l->count++] = d;
	return 0;
}

static json_t *stream_json(struct call *c, const struct described *d)
{
	json_t *o = json_object();
	json_object_set_new(o, "logStreamName", json_stringn(d->stream.name.ptr, d->stream.name.len));
	json_set_int(o, "creationTime", d->stream.created_ms);
	if (d->has_events) {
		json_set_int(o, "firstEventTimestamp", d->first_ms);
		json_set_int(o, "lastEventTimestamp", d->last_ms);
		json_set_int(o, "lastIngestionTime", d->last_ms);
		json_set_text(o, "uploadSequenceToken",
			      arena_printf(c->arena, "%056lld", (long long)d->stream.created_ms));
	}
	json_set_text(o, "arn",
		      arena_printf(c->arena, "%s:log-stream:%.*s", logs_group_arn(c, d->stream.group),
				   STR_ARG(d->stream.name)));
	json_set_int(o, "storedBytes", d->bytes);
	return o;
}

/* Time of the last event (creation for an empty stream), then name. */
static int by_last_event(const void *x, const void *y)
{
	const struct described *a = x, *b = y;
	int64_t ta = a->has_events ? a->last_ms : a->stream.created_ms,
		tb = b->has_events ? b->last_ms : b->stream.created_ms;
	if (ta != tb)
		return ta < tb ? -1 : 1;
	return str_cmp(a->stream.name, b->stream.name);
}

/* Fills *out with at most `limit` items from `from`, in the direction asked for. */
static void stream_page(struct call *c, const struct listing *l, size_t from, size_t limit, bool backwards,
			bool by_name, json_t *out)
{
	json_t *list = json_array();
	size_t n = 0;
	json_object_set_new(out, "logStreams", list);
	for (; n < limit && from + n < l->count; n++)
		json_array_append_new(list, stream_json(c, &l->items[backwards ? l->count - 1 - from - n : from + n]));
	if (n == 0 || from + n >= l->count)
		return;
	if (by_name)
		json_set_text(out, "nextToken",
			      arena_printf(c->arena, "n/%.*s", STR_ARG(l->items[from + n - 1].stream.name)));
	else
		json_object_set_new(out, "nextToken", json_sprintf("t/%zu", from + n));
}

int logs_op_describe_streams(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct log_group g;
	struct str group, prefix = json_get_str(in, "logStreamNamePrefix"), token = json_get_str(in, "nextToken");
	bool by_time = str_eqz(json_get_str(in, "orderBy"), "LastEventTime"),
	     descending = json_get_bool(in, "descending", false);
	int64_t limit = json_get_int(in, "limit", 50), from = 0;
	if (logs_request_group(in, &group, err) < 0 || logs_need_group(db, c->arena, group, &g, err) < 0)
		return -1;
	if (by_time && prefix.ptr)
		return error_aws(err, "InvalidParameterException",
				 "Cannot order by LastEventTime with a logStreamNamePrefix.");
	if (token.ptr && (token.len < 2 || token.ptr[0] != (by_time ? 't' : 'n') ||
			  (by_time && !str_to_i64(str_skip(token, 2), &from))))
		return error_aws(err, "InvalidParameterException", "The specified nextToken is invalid.");
	struct stream_range range = { .group = group,
				      .prefix = text_or(prefix, STR("")),
				      .descending = !by_time && descending,
				      .limit = by_time ? INT64_MAX : limit + 1 };
	if (token.ptr && !by_time)
		range.after = str_skip(token, 2);
	struct listing list = { .arena = c->arena, .err = err };
	if (logs_each_stream(ctx(c), db, c->arena, &range, describe, &list, err) < 0 || list.rc < 0)
		return -1;
	if (by_time && list.count)
		qsort(list.items, list.count, sizeof(*list.items), by_last_event);
	*out = json_object();
	stream_page(c, &list, (size_t)from, (size_t)limit, by_time && descending, !by_time, *out);
	return 0;
}

const struct wire_op logs_ops[] = {
	{ .name = "CreateLogGroup", .command = create_group },
	{ .name = "DeleteLogGroup", .command = delete_group },
	{ .name = "DescribeLogGroups", .query = logs_op_describe_groups },
	{ .name = "PutRetentionPolicy", .command = put_retention },
	{ .name = "DeleteRetentionPolicy", .command = delete_retention },
	{ .name = "CreateLogStream", .command = create_stream },
	{ .name = "DeleteLogStream", .command = delete_stream },
	{ .name = "DescribeLogStreams", .query = logs_op_describe_streams },
	{ .name = "GetLogEvents", .query = logs_op_get_events },
	{ .name = "FilterLogEvents", .query = logs_op_filter_events },
	{ .name = "PutLogEvents", .async = logs_op_put_events },
	{ .name = "TagResource", .command = logs_op_tag },
	{ .name = "UntagResource", .command = logs_op_untag },
	{ .name = "ListTagsForResource", .query = logs_op_list_tags },
	{ .name = "TagLogGroup", .command = logs_op_tag },
	{ .name = "UntagLogGroup", .command = logs_op_untag },
	{ .name = "ListTagsLogGroup", .query = logs_op_list_tags },
	{ 0 },
};
