/* history.c - the events of an execution: writing them, storing them, showing them. See exec.h.
 *
 * DESIGN: a turn's events are one blob of JSON lines and one row (execution, first id). A line is the event as the API
 * shows it but for the Details' inputDetails and the like, which are added when it is read. Numbers are AWS's: ids
 * count from 1, events 1 and 2 have previousEventId 0. */
#include "states/exec.h"

#include <stdlib.h>

const char *history_type_name(enum asl_type type)
{
	static const char *const names[] = { "Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map" };
	return names[type];
}

static void add_json(struct exec *x, struct buf *b, const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	buf_addz(b, text ? text : "null");
	free(text);
}

void history_quote(struct buf *b, struct str s)
{
	static const char hex[] = "0123456789abcdef";
	buf_reserve(b, s.len + 2);
	buf_add_char(b, '"');
	size_t from = 0;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_add(b, s.ptr + from, i - from);
		from = i + 1;
		if (c == '"' || c == '\\') {
			buf_add_char(b, '\\');
			buf_add_char(b, (char)c);
		} else {
			char u[7] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15], 0 };
			buf_add(b, u, 6);
		}
	}
	buf_add(b, s.ptr + from, s.len - from);
	buf_add_char(b, '"');
}

static int64_t open_line(struct exec *x, const char *type, int64_t prev)
{
	int64_t id = x->next_event++;
	if (x->record)
		buf_printf(&x->lines, "{\"timestamp\":%lld,\"type\":\"%s\",\"id\":%lld,\"previousEventId\":%lld",
			   (long long)x->now_ms, type, (long long)id, (long long)(id == 2 ? 0 : prev));
	return id;
}

static void close_line(struct exec *x)
{
	buf_add(&x->lines, "}\n", 2);
}

int64_t history_add(struct exec *x, const char *type, int64_t prev, const char *key, json_t *details)
{
	int64_t id = open_line(x, type, prev);
	if (x->record) {
		if (key) {
			buf_printf(&x->lines, ",\"%s\":", key);
			add_json(x, &x->lines, details);
		}
		close_line(x);
	}
	json_decref(details);
	return id;
}

int64_t history_state_entered(struct exec *x, struct frame *f)
{
	const char *type = arena_printf(x->a, "%sStateEntered", history_type_name(f->state->type));
	int64_t id = open_line(x, type, f->prev);
	if (!x->record)
		return id;
	buf_addz(&x->lines, ",\"stateEnteredEventDetails\":{\"name\":");
	history_quote(&x->lines, str_from(f->state->name));
	buf_addz(&x->lines, ",\"input\":");
	history_quote(&x->lines, exec_text(x, f->input));
	buf_add_char(&x->lines, '}');
	close_line(x);
	return id;
}

int64_t history_state_exited(struct exec *x, struct frame *f, json_t *output, json_t *assigned)
{
	const char *type = arena_printf(x->a, "%sStateExited", history_type_name(f->state->type));
	int64_t id = open_line(x, type, f->prev);
	const char *key, *sep = "";
	json_t *value;
	if (!x->record)
		return id;
	buf_addz(&x->lines, ",\"stateExitedEventDetails\":{\"name\":");
	history_quote(&x->lines, str_from(f->state->name));
	buf_addz(&x->lines, ",\"output\":");
	history_quote(&x->lines, exec_text(x, output));
	if (json_object_size(assigned)) {
		buf_addz(&x->lines, ",\"assignedVariables\":{");
		json_object_foreach (assigned, key, value) {
			buf_addz(&x->lines, sep);
			history_quote(&x->lines, str_from(key));
			buf_add_char(&x->lines, ':');
			history_quote(&x->lines, exec_text(x, value));
			sep = ",";
		}
		buf_add_char(&x->lines, '}');
	}
	buf_add_char(&x->lines, '}');
	close_line(x);
	return id;
}

json_t *history_error(const char *error, const char *cause)
{
	json_t *d = json_object();
	json_set_text(d, "error", error);
	json_set_text(d, "cause", cause);
	return d;
}

int history_store(struct exec *x, struct error *err)
{
	if (!x->record || !x->lines.len || x->express)
		return 0;
	return db_write(turn_db(x->t), err,
			"INSERT INTO states_history(execution, first, count, lines) VALUES(?, ?, ?, ?)", "siib", x->arn,
			x->first_event, x->next_event - x->first_event, buf_str(&x->lines));
}

/* ---- reading ---- */

static void show_data(json_t *details, const char *key, const char *details_key, bool include)
{
	if (!json_object_get(details, key))
		return;
	if (!include) {
		json_object_del(details, key);
		return;
	}
	json_object_set_new(details, details_key, json_pack("{s:b}", "truncated", 0));
}

json_t *history_event(const json_t *line, bool include)
{
	json_t *e = json_deep_copy(line), *value;
	const char *key;
	json_set_real(e, "timestamp", (double)json_get_int(line, "timestamp", 0) / 1000.0);
	json_object_foreach (e, key, value) {
		if (!json_is_object(value))
			continue;
		show_data(value, "input", "inputDetails", include);
		show_data(value, "output", "outputDetails", include);
		show_data(value, "assignedVariables", "assignedVariablesDetails", include);
	}
	return e;
}
