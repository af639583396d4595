/* text.c - see text.h. */
#include "text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *mem_need(void *p)
{
	if (!p) {
		fputs("out of memory\n", stderr);
		abort();
	}
	return p;
}

char *mem_dup(const char *s)
{
	return mem_need(strdup(s));
}

void mem_free_cleanup(void *pptr)
{
	free(*(void **)pptr);
}

void text_release(struct text *t)
{
	free(t->ptr);
	*t = TEXT_INIT;
}

const char *text_cstr(const struct text *t)
{
	return t->ptr ? t->ptr : "";
}

char *text_take(struct text *t)
{
	char *p = t->ptr ? t->ptr : mem_dup("");
	*t = TEXT_INIT;
	return p;
}

static void reserve(struct text *t, size_t more)
{
	size_t need = t->len + more + 1;
	if (need <= t->cap)
		return;
	size_t cap = t->cap ? t->cap : 64;
	while (cap < need)
		cap *= 2;
	t->ptr = mem_need(realloc(t->ptr, cap));
	t->cap = cap;
}

void text_add_bytes(struct text *t, const char *s, size_t n)
{
	reserve(t, n);
	memcpy(t->ptr + t->len, s, n);
	t->len += n;
	t->ptr[t->len] = 0;
}

void text_add(struct text *t, const char *s)
{
	text_add_bytes(t, s, strlen(s));
}

void text_printf(struct text *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *s = NULL;
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		mem_need(NULL);
	text_add_bytes(t, s, (size_t)n);
	free(s);
}

/* Python prints 1e16 and above, and below 1e-4, with an exponent of at least two digits; C's %g does too. */
void text_add_pyfloat(struct text *t, double v)
{
	if (isnan(v)) {
		text_add(t, "nan");
		return;
	}
	if (isinf(v)) {
		text_add(t, v < 0 ? "-inf" : "inf");
		return;
	}
	char sci[40];
	int digits = 1;
	for (; digits <= 17; digits++) {
		snprintf(sci, sizeof sci, "%.*e", digits - 1, v);
		if (strtod(sci, NULL) == v)
			break;
	}
	int exponent = atoi(strchr(sci, 'e') + 1);
	if (exponent >= -4 && exponent < 16) {
		int decimals = digits - 1 - exponent;
		text_printf(t, "%.*f", decimals > 0 ? decimals : 1, v);
		return;
	}
	text_add(t, sci);
}

void text_add_pystr(struct text *t, const char *s)
{
	char quote = strchr(s, '\'') && !strchr(s, '"') ? '"' : '\'';
	text_add_bytes(t, &quote, 1);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == (unsigned char)quote || c == '\\')
			text_printf(t, "\\%c", c);
		else if (c == '\n')
			text_add(t, "\\n");
		else if (c == '\t')
			text_add(t, "\\t");
		else if (c == '\r')
			text_add(t, "\\r");
		else if (c < 32 || c == 127)
			text_printf(t, "\\x%02x", c);
		else
			text_add_bytes(t, s, 1);
	}
	text_add_bytes(t, &quote, 1);
}

static void add_pyobject(struct text *t, const json_t *v)
{
	const char *key;
	json_t *item;
	const char *sep = "";
	text_add(t, "{");
	json_object_foreach ((json_t *)v, key, item) {
		text_add(t, sep);
		text_add_pystr(t, key);
		text_add(t, ": ");
		text_add_pyjson(t, item);
		sep = ", ";
	}
	text_add(t, "}");
}

static void add_pyarray(struct text *t, const json_t *v)
{
	size_t i;
	json_t *item;
	text_add(t, "[");
	json_array_foreach (v, i, item) {
		text_add(t, i ? ", " : "");
		text_add_pyjson(t, item);
	}
	text_add(t, "]");
}

void text_add_pyjson(struct text *t, const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		add_pyobject(t, v);
		break;
	case JSON_ARRAY:
		add_pyarray(t, v);
		break;
	case JSON_STRING:
		text_add_pystr(t, json_string_value(v));
		break;
	case JSON_INTEGER:
		text_printf(t, "%lld", (long long)json_integer_value(v));
		break;
	case JSON_REAL:
		text_add_pyfloat(t, json_real_value(v));
		break;
	case JSON_TRUE:
		text_add(t, "True");
		break;
	case JSON_FALSE:
		text_add(t, "False");
		break;
	case JSON_NULL:
		text_add(t, "None");
		break;
	}
}

void text_add_pylist(struct text *t, const char *const *items, size_t n)
{
	text_add(t, "[");
	for (size_t i = 0; i < n; i++) {
		text_add(t, i ? ", " : "");
		text_add_pystr(t, items[i]);
	}
	text_add(t, "]");
}
