/* validate_pattern.c - the models' patterns, on PCRE2.
 *
 * DESIGN: the patterns are written for Java's regex. They are translated where PCRE2 differs: \uXXXX and surrogate
 * pairs, \p{Alnum} and \p{Print} (ASCII in Java), a '-' after a class escape, repeats beyond 65535, a quantified '$'.
 * They match the whole text, with limits on time and memory; running into a limit counts as no match. Compiled at first
 * use and kept for the life of the process; safe from any thread. A pattern that PCRE2 refuses even so constrains
 * nothing (a test lists them: today none). */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/map.h"
#include "wire/codec.h"

static pthread_rwlock_t pattern_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct map patterns; /* pool address -> pcre2_code, or &no_pattern */
static char no_pattern;

/* ---- Java to PCRE2 ---- */

struct translation {
	const char *at;
	struct buf out;
	bool in_class;
};

/* \uXXXX or a surrogate pair of them at p: its length in the text, 0 when there is none. */
static size_t unicode_escape(const char *p, unsigned *code)
{
	unsigned low;
	int used = 0;
	if (sscanf(p, "\\u%4x%n", code, &used) != 1 || used != 6)
		return 0;
	if (*code < 0xD800 || *code > 0xDBFF)
		return 6;
	used = 0;
	if (sscanf(p + 6, "\\u%4x%n", &low, &used) != 1 || used != 6 || low < 0xDC00 || low > 0xDFFF)
		return 6;
	*code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
	return 12;
}

/* A set that needs brackets outside a class. */
static void add_set(struct translation *t, const char *set, size_t skip)
{
	buf_printf(&t->out, t->in_class ? "%s" : "[%s]", set);
	t->at += skip;
}

static void translate_escape(struct translation *t)
{
	unsigned code;
	size_t n = unicode_escape(t->at, &code);
	if (n) {
		buf_printf(&t->out, "\\x{%X}", code);
		t->at += n;
	} else if (strncmp(t->at, "\\p{Alnum}", 9) == 0) {
		add_set(t, "a-zA-Z0-9", 9);
	} else if (strncmp(t->at, "\\p{Print}", 9) == 0) {
		add_set(t, "\\x20-\\x7E", 9);
	} else {
		bool set = strchr("wWdDsS", t->at[1]) && t->at[1];
		buf_add(&t->out, t->at, t->at[1] ? 2 : 1);
		t->at += t->at[1] ? 2 : 1;
		if (t->in_class && set && t->at[0] == '-' && t->at[1] != ']') {
			buf_addz(&t->out, "\\-");
			t->at++;
		}
	}
}

/* {n,m} with m beyond what PCRE2 counts: the length limits of the model hold that end. */
static void translate_repeat(struct translation *t)
{
	unsigned long low, high;
	int used = 0;
	if (sscanf(t->at, "{%lu,%lu}%n", &low, &high, &used) == 2 && used > 0 && high > 65535) {
		buf_printf(&t->out, "{%lu,}", low > 65535 ? 65535 : low);
		t->at += used;
		return;
	}
	buf_add_char(&t->out, *t->at++);
}

static char *translate(const char *pattern)
{
	struct translation t = { .at = pattern };
	while (*t.at) {
		if (*t.at == '\\') {
			translate_escape(&t);
		} else if (*t.at == '{' && !t.in_class) {
			translate_repeat(&t);
		} else if (*t.at == '$' && t.at[1] == '{' && !t.in_class) {
			buf_addz(&t.out, "(?:$)");
			t.at++;
		} else {
			if (*t.at == '[' && !t.in_class) {
				t.in_class = true;
				buf_add_char(&t.out, *t.at++);
				if (*t.at == '^')
					buf_add_char(&t.out, *t.at++);
				if (*t.at == ']')
					buf_add_char(&t.out, *t.at++);
				continue;
			}
			if (*t.at == ']')
				t.in_class = false;
			buf_add_char(&t.out, *t.at++);
		}
	}
	return t.out.ptr ? buf_detach(&t.out) : mem_strdup("");
}

/* ---- cache and match ---- */

static void *compile_pattern(const char *pattern)
{
	CLEANUP_FREE char *text = translate(pattern);
	int code;
	PCRE2_SIZE at;
	uint32_t options = PCRE2_UTF | PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOLLAR_ENDONLY;
	pcre2_code *re = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, options, &code, &at, NULL);
	if (!re)
		log_debug("wire", "pattern `%s` is not understood at %zu", pattern, (size_t)at);
	return re ? (void *)re : (void *)&no_pattern;
}

static pcre2_code *find_pattern(const char *pattern)
{
	struct str key = str_of(&pattern, sizeof(pattern));
	pthread_rwlock_rdlock(&pattern_lock);
	void *re = map_get(&patterns, key);
	pthread_rwlock_unlock(&pattern_lock);
	if (!re) {
		pthread_rwlock_wrlock(&pattern_lock);
		re = map_get(&patterns, key);
		if (!re) {
			re = compile_pattern(pattern);
			map_set(&patterns, key, re);
		}
		pthread_rwlock_unlock(&pattern_lock);
	}
	return re == &no_pattern ? NULL : re;
}

bool model_pattern_known(const char *pattern)
{
	return find_pattern(pattern) != NULL;
}

static pcre2_match_context *limits;
static pthread_once_t limits_once = PTHREAD_ONCE_INIT;

static void make_limits(void)
{
	limits = pcre2_match_context_create(NULL);
	if (!limits)
		BUG("out of memory");
	pcre2_set_match_limit(limits, 2000000);
	pcre2_set_heap_limit(limits, 64 * 1024); /* KiB */
}

bool model_pattern_matches(const char *pattern, struct str text)
{
	pcre2_code *re = find_pattern(pattern);
	if (!re)
		return true;
	pthread_once(&limits_once, make_limits);
	pcre2_match_data *m = pcre2_match_data_create(1, NULL);
	if (!m)
		BUG("out of memory");
	int rc = pcre2_match(re, (PCRE2_SPTR)(text.ptr ? text.ptr : ""), text.len, 0, PCRE2_NO_UTF_CHECK, m, limits);
	pcre2_match_data_free(m);
	return rc >= 0;
}
