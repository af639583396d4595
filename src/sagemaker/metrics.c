/* metrics.c - see metrics.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "sagemaker/metrics.h"

#include <ctype.h>
#include <math.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/map.h"

#define LINE_MAX_BYTES (32 * 1024)
#define STEPS_MAX 200000
#define DEPTH_MAX 2000
#define HEAP_MAX_KIB 4096
#define STRIKES_MAX 200

struct rule {
	char *name;
	pcre2_code *code;
	pcre2_match_data *match;
	int strikes; /* how often it hit a limit */
};

struct value {
	char *name;
	double value;
	int64_t at_ms;
};

struct metrics {
	struct rule *rules;
	size_t nrules;
	bool xgboost;
	pcre2_match_context *context;
	struct map by_name;    /* name -> struct value */
	struct value **values; /* in order of definition or appearance */
	size_t nvalues;
	struct buf escaped;
	void (*watch)(void *ctx, const char *name, double value, int64_t at_ms);
	void *watch_ctx;
};

static int add_rule(struct metrics *m, const json_t *definition, struct error *err)
{
	struct str name = json_get_str(definition, "Name"), regex = json_get_str(definition, "Regex");
	struct rule *r = &m->rules[m->nrules];
	PCRE2_UCHAR why[160];
	int code;
	PCRE2_SIZE at;
	r->code = pcre2_compile((PCRE2_SPTR)(regex.ptr ? regex.ptr : ""), regex.len,
				PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
	if (!r->code) {
		pcre2_get_error_message(code, why, sizeof(why));
		return error_aws(err, "ValidationException",
				 "The regular expression of metric definition `%.*s` is not valid at position %zu: %s.",
				 STR_ARG(name), at, (char *)why);
	}
	pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
	r->match = pcre2_match_data_create_from_pattern(r->code, NULL);
	r->name = mem_strndup(name.ptr ? name.ptr : "", name.len);
	m->nrules++;
	return 0;
}

struct metrics *metrics_new(const json_t *definitions, bool xgboost, struct error *err)
{
	struct metrics *m = mem_calloc(1, sizeof(*m));
	m->xgboost = xgboost;
	m->context = pcre2_match_context_create(NULL);
	pcre2_set_match_limit(m->context, STEPS_MAX);
	pcre2_set_depth_limit(m->context, DEPTH_MAX);
	pcre2_set_heap_limit(m->context, HEAP_MAX_KIB);
	m->rules = mem_calloc(json_array_size(definitions) + 1, sizeof(*m->rules));
	for (size_t i = 0; i < json_array_size(definitions); i++) {
		if (add_rule(m, json_array_get(definitions, i), err) < 0) {
			metrics_free(m);
			return NULL;
		}
	}
	return m;
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->nrules; i++) {
		pcre2_match_data_free(m->rules[i].match);
		pcre2_code_free(m->rules[i].code);
		free(m->rules[i].name);
	}
	for (size_t i = 0; i < m->nvalues; i++) {
		free(m->values[i]->name);
		free(m->values[i]);
	}
	pcre2_match_context_free(m->context);
	map_release(&m->by_name);
	buf_release(&m->escaped);
	free(m->values);
	free(m->rules);
	free(m);
}

/* A number at the start of the text ("0.95," counts), finite. */
static bool parse_number(struct str text, double *out)
{
	char z[64], *end;
	text = str_trim(text);
	if (text.len == 0)
		return false;
	struct str cut = str_head(text, sizeof(z) - 1);
	memcpy(z, cut.ptr, cut.len);
	z[cut.len] = 0;
	if (!isdigit((unsigned char)z[0]) && !strchr("+-.", z[0]))
		return false; /* no "nan", "inf" or words */
	*out = strtod(z, &end);
	return end != z && isfinite(*out);
}

static void record(struct metrics *m, struct str name, double number, int64_t at_ms)
{
	struct value *v = map_get(&m->by_name, name);
	if (!v) {
		v = mem_calloc(1, sizeof(*v));
		v->name = mem_strndup(name.ptr, name.len);
		map_set(&m->by_name, name, v);
		m->values = mem_realloc(m->values, (m->nvalues + 1) * sizeof(*m->values));
		m->values[m->nvalues++] = v;
	}
	/* Lines of several hosts come file by file: the latest counts. */
	if (at_ms >= v->at_ms) {
		v->value = number;
		v->at_ms = at_ms;
	}
	if (m->watch)
		m->watch(m->watch_ctx, v->name, number, at_ms);
}

static bool try_rule(struct metrics *m, struct rule *r, struct str text, int64_t at_ms)
{
	int rc = pcre2_match(r->code, (PCRE2_SPTR)text.ptr, text.len, 0, 0, r->match, m->context);
	if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
		rc = pcre2_match(r->code, (PCRE2_SPTR)text.ptr, text.len, 0, PCRE2_NO_JIT, r->match, m->context);
	if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT ||
	    rc == PCRE2_ERROR_JIT_STACKLIMIT) {
		if (++r->strikes == STRIKES_MAX)
			log_warn("sagemaker", "metric `%s`: its regular expression takes too long and is given up",
				 r->name);
		return false;
	}
	if (rc <= 0)
		return false;
	PCRE2_SIZE *at = pcre2_get_ovector_pointer(r->match);
	size_t group = rc > 1 && at[2] != PCRE2_UNSET ? 1 : 0;
	double number;
	if (at[2 * group + 1] < at[2 * group])
		return true; /* \K may put the end before the start */
	if (parse_number(str_of(text.ptr + at[2 * group], at[2 * group + 1] - at[2 * group]), &number))
		record(m, str_from(r->name), number, at_ms);
	return true;
}

/* The text with each TAB as the log agent writes it. */
static struct str escape_tabs(struct metrics *m, struct str text)
{
	buf_clear(&m->escaped);
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '\t')
			buf_add(&m->escaped, "#011", 4);
		else
			buf_add_char(&m->escaped, text.ptr[i]);
	}
	return buf_str(&m->escaped);
}

/* Takes the part before the next TAB (or `#011`); false when nothing is left. */
static bool take_field(struct str *rest, struct str *field)
{
	if (!rest->len)
		return false;
	size_t n = 0, sep = 0;
	for (; n < rest->len && !sep; n++) {
		if (rest->ptr[n] == '\t')
			sep = 1;
		else if (str_starts(str_skip(*rest, n), STR("#011")))
			sep = 4;
	}
	if (sep)
		n--;
	*field = str_head(*rest, n);
	*rest = str_skip(*rest, n + sep);
	return true;
}

/* "...[12]<TAB>train-rmse:0.1<TAB>validation-rmse:0.2" */
static void xgboost_line(struct metrics *m, struct str text, int64_t at_ms)
{
	struct str head, field;
	if (!take_field(&text, &head) || head.len < 3 || head.ptr[head.len - 1] != ']')
		return;
	size_t i = head.len - 1;
	while (i > 0 && isdigit((unsigned char)head.ptr[i - 1]))
		i--;
	if (i == 0 || i == head.len - 1 || head.ptr[i - 1] != '[')
		return;
	while (take_field(&text, &field)) {
		ptrdiff_t dash = str_find_char(field, '-'), colon = str_find_char(field, ':');
		double number;
		struct str set = str_head(field, dash < 0 ? 0 : (size_t)dash);
		if (colon <= dash + 1 || (!str_eqz(set, "train") && !str_eqz(set, "validation")) || dash > 10)
			continue;
		struct str metric = str_of(field.ptr + dash + 1, (size_t)(colon - dash - 1));
		char name[128];
		if (metric.len > 100 || !parse_number(str_skip(field, (size_t)colon + 1), &number))
			continue;
		int n = snprintf(name, sizeof(name), "%.*s:%.*s", STR_ARG(set), STR_ARG(metric));
		record(m, str_of(name, (size_t)n), number, at_ms);
	}
}

void metrics_line(struct metrics *m, int64_t at_ms, struct str text)
{
	text = str_head(text, LINE_MAX_BYTES);
	if (m->xgboost)
		xgboost_line(m, text, at_ms);
	bool tabs = m->nrules && str_find_char(text, '\t') >= 0;
	struct str escaped = tabs ? escape_tabs(m, text) : text;
	for (size_t i = 0; i < m->nrules; i++) {
		struct rule *r = &m->rules[i];
		if (r->strikes >= STRIKES_MAX || try_rule(m, r, text, at_ms) || !tabs)
			continue;
		try_rule(m, r, escaped, at_ms);
	}
}

static json_t *value_json(const struct value *v)
{
	json_t *o = json_object();
	json_set_text(o, "MetricName", v->name);
	json_set_real(o, "Value", v->value);
	json_set_real(o, "Timestamp", (double)v->at_ms / 1000.0);
	return o;
}

/* Defined names first, in the order of their definitions. */
json_t *metrics_final(const struct metrics *m)
{
	json_t *list = json_array();
	struct map done = MAP_INIT;
	for (size_t i = 0; i < m->nrules + m->nvalues; i++) {
		const char *name = i < m->nrules ? m->rules[i].name : m->values[i - m->nrules]->name;
		struct value *v = map_get(&m->by_name, str_from(name));
		if (v && !map_set(&done, str_from(name), v))
			json_array_append_new(list, value_json(v));
	}
	map_release(&done);
	return list;
}

void metrics_watch(struct metrics *m, void (*fn)(void *ctx, const char *name, double value, int64_t at_ms), void *ctx)
{
	m->watch = fn;
	m->watch_ctx = ctx;
}
