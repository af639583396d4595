/* history_events.c - events as log records of CloudWatch Logs. See exec.h.
 *
 * DESIGN: the records of a turn go as one effect "states.log"; the stream is the execution's own. */
#include "states/exec.h"

#include <stdlib.h>

enum log_wanted { LOG_NOTHING, LOG_FATAL_ONLY, LOG_ERRORS, LOG_ALL };

static enum log_wanted level_of(const json_t *logging)
{
	const char *level = json_get_text(logging, "level");
	if (!level || strcmp(level, "OFF") == 0)
		return LOG_NOTHING;
	return strcmp(level, "ALL") == 0 ? LOG_ALL : strcmp(level, "ERROR") == 0 ? LOG_ERRORS : LOG_FATAL_ONLY;
}

static bool ends_with(const char *text, const char *end)
{
	return str_ends(str_from(text), str_from(end));
}

static bool wanted(enum log_wanted level, const char *type)
{
	if (level == LOG_ALL)
		return true;
	if (strcmp(type, "ExecutionFailed") == 0 || strcmp(type, "ExecutionAborted") == 0 ||
	    strcmp(type, "ExecutionTimedOut") == 0)
		return true;
	if (level != LOG_ERRORS)
		return false;
	return ends_with(type, "Failed") || ends_with(type, "TimedOut") || ends_with(type, "Aborted") ||
	       strcmp(type, "FailStateEntered") == 0;
}

static json_t *record_of(struct exec *x, const json_t *line, bool data)
{
	CLEANUP_JSON json_t *event = history_event(line, data);
	json_t *details = NULL, *value;
	const char *key;
	json_object_foreach (event, key, value)
		if (json_is_object(value))
			details = value;
	json_t *o = json_object();
	json_set_text(o, "id", arena_printf(x->a, "%lld", (long long)json_get_int(line, "id", 0)));
	json_set_text(o, "type", json_get_text(line, "type"));
	json_object_set_new(o, "details", details ? json_incref(details) : json_object());
	if (!data)
		json_object_del(json_object_get(o, "details"), "parameters");
	json_set_text(o, "previous_event_id",
		      arena_printf(x->a, "%lld", (long long)json_get_int(line, "previousEventId", 0)));
	json_set_text(o, "event_timestamp", arena_printf(x->a, "%lld", (long long)json_get_int(line, "timestamp", 0)));
	json_set_text(o, "execution_arn", x->arn);
	json_set_text(o, "redrive_count", arena_printf(x->a, "%lld", (long long)x->redrive_count));
	return o;
}

/* "arn:aws:logs:r:a:log-group:/name:*" -> "/name". */
static const char *group_of(struct exec *x)
{
	const json_t *first = json_array_get(json_object_get(x->logging, "destinations"), 0);
	struct str rest = json_get_str(json_object_get(first, "cloudWatchLogsLogGroup"), "logGroupArn"),
		   part = STR_NULL;
	for (int i = 0; i < 7 && rest.ptr; i++)
		str_split(&rest, ':', &part);
	return part.ptr ? arena_strdup(x->a, part) : NULL;
}

void history_log(struct exec *x)
{
	enum log_wanted level = level_of(x->logging);
	const char *group = level ? group_of(x) : NULL;
	bool data = json_get_bool(x->logging, "includeExecutionData", false);
	if (!group || !x->t || !x->lines.len)
		return;
	json_t *events = json_array();
	struct str rest = buf_str(&x->lines), one;
	while (str_split(&rest, '\n', &one)) {
		CLEANUP_JSON json_t *line = one.len ? json_parse(one, NULL) : NULL;
		if (!line || !wanted(level, json_get_text(line, "type")))
			continue;
		CLEANUP_JSON json_t *record = record_of(x, line, data);
		json_array_append_new(events, json_pack("{s:I,s:s}", "Timestamp",
							(json_int_t)json_get_int(line, "timestamp", 0), "Message",
							json_text(x->a, record).ptr));
	}
	if (!json_array_size(events)) {
		json_decref(events);
		return;
	}
	char day[32];
	clock_iso(x->start_ms, day);
	const char *stream = arena_printf(x->a, "states/%s/%.4s-%.2s-%.2s-%.2s-%.2s/%s", x->machine_name, day, day + 5,
					  day + 8, day + 11, day + 14, machine_hash(x->a, str_from(x->arn)) + 56);
	turn_effect(x->t, "states.log", arena_printf(x->a, "%s/%lld", x->arn, (long long)x->first_event),
		    json_pack("{s:s,s:s,s:o}", "group", group, "stream", stream, "events", events));
}
