/* cdi_yaml.c - see cdi_yaml.h. */
#include "task/cdi_yaml.h"

#include <errno.h>
#include <stdlib.h>
#include <yaml.h>

#include "base/json.h"

enum { DEPTH_MAX = 64 };

struct reader {
	yaml_parser_t parser;
	yaml_event_t event; /* the one being looked at */
	bool has_event;
};

static int refuse(const yaml_mark_t *at, const char *why, struct error *err)
{
	return error_set(err, "line %zu column %zu: %s", at->line + 1, at->column + 1, why);
}

/* Goes on to the next event. */
static int step(struct reader *r, struct error *err)
{
	if (r->has_event)
		yaml_event_delete(&r->event);
	r->has_event = yaml_parser_parse(&r->parser, &r->event) == 1;
	if (!r->has_event)
		return refuse(&r->parser.problem_mark, r->parser.problem ? r->parser.problem : "not YAML", err);
	return 0;
}

/* The next event is of this type; goes on to the one after it. */
static int step_over(struct reader *r, yaml_event_type_t type, struct error *err)
{
	if (step(r, err) < 0)
		return -1;
	if (r->event.type != type)
		return refuse(&r->event.start_mark, "not where a document begins or ends", err);
	return step(r, err);
}

static bool is_word(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(text, *words))
			return true;
	return false;
}

/* An integer as C writes it, or with 0o for octal; no other sign than one in front. */
static bool is_integer(const char *text, json_int_t *value)
{
	const char *digits = text + (*text == '-' || *text == '+');
	bool octal = digits[0] == '0' && digits[1] == 'o';
	char *end;
	if (digits[octal ? 2 : 0] < '0' || digits[octal ? 2 : 0] > '9')
		return false;
	errno = 0;
	long long n = strtoll(octal ? digits + 2 : text, &end, octal ? 8 : 0);
	*value = octal && *text == '-' ? -n : n;
	return !*end && !errno;
}

static json_t *plain(const char *text)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
	static const char *const yes[] = { "true", "True", "TRUE", NULL }, *const no[] = { "false", "False", "FALSE",
											   NULL };
	json_int_t n;
	if (is_word(text, nulls))
		return json_null();
	if (is_word(text, yes))
		return json_true();
	if (is_word(text, no))
		return json_false();
	return is_integer(text, &n) ? json_integer(n) : NULL;
}

static json_t *scalar(struct reader *r, struct error *err)
{
	const char *text = (const char *)r->event.data.scalar.value;
	size_t n = r->event.data.scalar.length;
	json_t *value = NULL;
	if (r->event.data.scalar.anchor || r->event.data.scalar.tag)
		refuse(&r->event.start_mark, "anchors and tags are not read", err);
	else if (r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strlen(text) == n && (value = plain(text)))
		return value;
	else if (!(value = json_stringn(text, n)))
		refuse(&r->event.start_mark, "a text that is not UTF-8", err);
	return value;
}

static json_t *value_of(struct reader *r, int depth, struct error *err);

static int add_members(struct reader *r, json_t *object, int depth, struct error *err)
{
	for (;;) {
		if (step(r, err) < 0)
			return -1;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return 0;
		if (r->event.type != YAML_SCALAR_EVENT || r->event.data.scalar.anchor)
			return refuse(&r->event.start_mark, "a key that is not a text", err);
		const char *text = (const char *)r->event.data.scalar.value;
		if (strlen(text) != r->event.data.scalar.length || json_object_get(object, text))
			return refuse(&r->event.start_mark, "a key that is there already, or has a zero byte", err);
		CLEANUP_BUF struct buf key = BUF_INIT; /* the event goes with the next one */
		buf_addz(&key, text);
		json_t *value = step(r, err) < 0 ? NULL : value_of(r, depth, err);
		if (!value)
			return -1;
		if (json_object_set_new(object, buf_str(&key).ptr, value) < 0)
			return refuse(&r->event.start_mark, "a key that is not UTF-8", err);
	}
}

static int add_items(struct reader *r, json_t *array, int depth, struct error *err)
{
	for (;;) {
		if (step(r, err) < 0)
			return -1;
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			return 0;
		json_t *value = value_of(r, depth, err);
		if (!value)
			return -1;
		json_array_append_new(array, value);
	}
}

/* The value that begins with the present event; its last event is the present one afterwards. */
static json_t *value_of(struct reader *r, int depth, struct error *err)
{
	const yaml_event_t *e = &r->event;
	bool map = e->type == YAML_MAPPING_START_EVENT;
	if (e->type == YAML_SCALAR_EVENT)
		return scalar(r, err);
	if (!map && e->type != YAML_SEQUENCE_START_EVENT)
		return refuse(&e->start_mark, "an alias, or no value", err), NULL;
	if (map ? e->data.mapping_start.anchor || e->data.mapping_start.tag
		: e->data.sequence_start.anchor || e->data.sequence_start.tag)
		return refuse(&e->start_mark, "anchors and tags are not read", err), NULL;
	if (depth >= DEPTH_MAX)
		return refuse(&e->start_mark, "nested too deep", err), NULL;
	json_t *value = map ? json_object() : json_array();
	if ((map ? add_members(r, value, depth + 1, err) : add_items(r, value, depth + 1, err)) < 0) {
		json_decref(value);
		return NULL;
	}
	return value;
}

static json_t *document(struct reader *r, struct error *err)
{
	if (step_over(r, YAML_STREAM_START_EVENT, err) < 0)
		return NULL;
	if (r->event.type != YAML_DOCUMENT_START_EVENT)
		return refuse(&r->event.start_mark, "no document", err), NULL;
	CLEANUP_JSON json_t *value = step(r, err) < 0 ? NULL : value_of(r, 0, err);
	if (!value || step_over(r, YAML_DOCUMENT_END_EVENT, err) < 0)
		return NULL;
	if (r->event.type != YAML_STREAM_END_EVENT)
		return refuse(&r->event.start_mark, "more than one document", err), NULL;
	return json_incref(value);
}

json_t *cdi_yaml_parse(struct str text, struct error *err)
{
	struct reader r = { .has_event = false };
	if (!yaml_parser_initialize(&r.parser))
		return error_errno(err, ENOMEM, "read YAML"), NULL;
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.ptr, text.len);
	json_t *value = document(&r, err);
	if (r.has_event)
		yaml_event_delete(&r.event);
	yaml_parser_delete(&r.parser);
	return value;
}
