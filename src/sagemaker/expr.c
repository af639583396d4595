/* expr.c - walking and evaluating expressions.
 *
 * DESIGN: expr_walk is the one place that knows the forms; it is used at CreatePipeline to check them and to find data
 * dependencies. expr_eval trusts a definition that passed it but still answers an error, never crashes, when a value
 * turns out wrong at run time. Recursion is as deep as the JSON, which json_parse bounds. */
#include "sagemaker/expr.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define BAD "Unable to parse pipeline definition. "

/* Joins of joins of long texts may not fill the memory. */
enum { JOIN_MAX_BYTES = 1 << 20, EVAL_MAX_BYTES = 64 << 20 };

static const char *expr_key(const json_t *value)
{
	if (!json_is_object(value) || json_object_size(value) != 1)
		return NULL;
	const char *key = json_object_iter_key(json_object_iter((json_t *)value));
	return strcmp(key, "Get") == 0 || strncmp(key, "Std:", 4) == 0 ? key : NULL;
}

bool expr_is(const json_t *value)
{
	return expr_key(value) != NULL;
}

static int get_walk(struct arena *a, const json_t *get, ref_visit fn, void *ctx, bool file, struct error *err)
{
	struct str text = json_str(get);
	if (!text.ptr)
		return error_aws(err, "ValidationException", BAD "The value of 'Get' must be a string.");
	struct ref ref;
	if (expr_ref_parse(a, text, &ref, err) < 0)
		return -1;
	return fn ? fn(ctx, &ref, file, err) : 0;
}

static int join_walk(struct arena *a, const json_t *join, ref_visit fn, void *ctx, struct error *err)
{
	const json_t *on = json_get(join, "On");
	const json_t *values = json_get(join, "Values");
	if (!json_is_array(values))
		return error_aws(err, "ValidationException", BAD "'Std:Join' needs a list 'Values'.");
	if (on && !json_is_string(on))
		return error_aws(err, "ValidationException", BAD "The 'On' of 'Std:Join' must be a string.");
	return expr_walk(a, values, fn, ctx, err);
}

static int json_get_walk(struct arena *a, const json_t *call, ref_visit fn, void *ctx, struct error *err)
{
	const json_t *file = json_get(call, "PropertyFile");
	const json_t *uri = json_get(call, "S3Uri");
	struct str path = json_get_str(call, "Path");
	struct path parsed;
	if (!file == !uri)
		return error_aws(err, "ValidationException",
				 BAD "'Std:JsonGet' needs either 'PropertyFile' or 'S3Uri'.");
	if (!path.ptr || !expr_path_parse(a, path, &parsed))
		return error_aws(err, "ValidationException", BAD "Invalid 'Path' '%.*s' of 'Std:JsonGet'.",
				 STR_ARG(str_head(path, 256)));
	if (uri)
		return expr_walk(a, uri, fn, ctx, err);
	const char *key = expr_key(file);
	if (!key || strcmp(key, "Get") != 0)
		return error_aws(err, "ValidationException",
				 BAD "The 'PropertyFile' of 'Std:JsonGet' must be a 'Get'.");
	return get_walk(a, json_object_get(file, "Get"), fn, ctx, true, err);
}

int expr_walk(struct arena *a, const json_t *value, ref_visit fn, void *ctx, struct error *err)
{
	if (json_is_array(value)) {
		size_t i;
		json_t *item;
		json_array_foreach (value, i, item)
			if (expr_walk(a, item, fn, ctx, err) < 0)
				return -1;
		return 0;
	}
	if (!json_is_object(value))
		return 0;
	const char *key = expr_key(value);
	if (!key) {
		const char *name;
		json_t *member;
		json_object_foreach ((json_t *)value, name, member)
			if (expr_walk(a, member, fn, ctx, err) < 0)
				return -1;
		return 0;
	}
	const json_t *body = json_object_get(value, key);
	if (strcmp(key, "Get") == 0)
		return get_walk(a, body, fn, ctx, false, err);
	if (strcmp(key, "Std:Join") == 0)
		return join_walk(a, body, fn, ctx, err);
	if (strcmp(key, "Std:JsonGet") == 0)
		return json_get_walk(a, body, fn, ctx, err);
	return error_aws(err, "ValidationException", BAD "Unknown function '%.64s'.", key);
}

/* ---- text ---- */

const char *expr_real_text(struct arena *a, double value)
{
	char text[40];
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	bool plain = strpbrk(text, ".eEni") == NULL;
	return arena_printf(a, "%s%s", text, plain ? ".0" : "");
}

struct str expr_text(struct arena *a, const json_t *value)
{
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		return arena_str(a, json_str(value));
	case JSON_INTEGER:
		return str_from(arena_printf(a, "%lld", (long long)json_integer_value(value)));
	case JSON_REAL:
		return str_from(expr_real_text(a, json_real_value(value)));
	case JSON_TRUE:
		return STR("true");
	case JSON_FALSE:
		return STR("false");
	case JSON_NULL:
		return STR("null");
	default:
		return json_text(a, value);
	}
}

/* ---- evaluation ---- */

static json_t *get_eval(const struct expr_env *env, const json_t *get, struct error *err)
{
	struct ref ref;
	if (expr_ref_parse(env->arena, json_str(get), &ref, err) < 0)
		return NULL;
	return env->get(env->ctx, &ref, err);
}

static json_t *join_eval(const struct expr_env *env, const json_t *join, struct error *err)
{
	struct str on = json_get_str(join, "On");
	json_t *values = json_object_get(join, "Values");
	struct str *texts = ARENA_ARRAY(env->arena, struct str, json_array_size(values) + 1);
	size_t i, total = 0;
	json_t *item;
	json_array_foreach (values, i, item) {
		CLEANUP_JSON json_t *v = expr_eval(env, item, err);
		if (!v)
			return NULL;
		texts[i] = expr_text(env->arena, v);
		total += texts[i].len + (i ? on.len : 0);
	}
	if (total > JOIN_MAX_BYTES || env->arena->used_bytes > EVAL_MAX_BYTES) {
		error_aws(err, "ValidationException", "The result of Std:Join is too long.");
		return NULL;
	}
	char *out = arena_alloc_raw(env->arena, total + 1), *p = out;
	for (size_t k = 0; k < i; k++) {
		if (k && on.len)
			p = (char *)memcpy(p, on.ptr, on.len) + on.len;
		if (texts[k].len)
			p = (char *)memcpy(p, texts[k].ptr, texts[k].len) + texts[k].len;
	}
	json_t *text = json_stringn(out, total);
	if (!text)
		error_aws(err, "ValidationException", "The result of Std:Join is not UTF-8 text.");
	return text;
}

static json_t *json_get_eval(const struct expr_env *env, const json_t *call, struct error *err)
{
	const json_t *file = json_get(call, "PropertyFile");
	struct str path = json_get_str(call, "Path");
	struct str uri;
	if (file) {
		struct ref ref;
		if (expr_ref_parse(env->arena, json_get_str(file, "Get"), &ref, err) < 0)
			return NULL;
		uri = env->property_file(env->ctx, &ref, err);
		if (!uri.ptr)
			return NULL;
	} else {
		CLEANUP_JSON json_t *v = expr_eval(env, json_object_get(call, "S3Uri"), err);
		if (!v)
			return NULL;
		uri = expr_text(env->arena, v);
	}
	return env->json_get(env->ctx, uri, path, err);
}

static json_t *list_eval(const struct expr_env *env, const json_t *value, struct error *err)
{
	CLEANUP_JSON json_t *out = json_array();
	size_t i;
	json_t *item;
	json_array_foreach (value, i, item) {
		json_t *v = expr_eval(env, item, err);
		if (!v)
			return NULL;
		json_array_append_new(out, v);
	}
	return json_incref(out);
}

static json_t *object_eval(const struct expr_env *env, const json_t *value, struct error *err)
{
	CLEANUP_JSON json_t *out = json_object();
	const char *name;
	json_t *member;
	json_object_foreach ((json_t *)value, name, member) {
		if (json_is_null(member))
			continue;
		json_t *v = expr_eval(env, member, err);
		if (!v)
			return NULL;
		json_object_set_new(out, name, v);
	}
	return json_incref(out);
}

json_t *expr_eval(const struct expr_env *env, const json_t *value, struct error *err)
{
	if (!value) {
		error_aws(err, "ValidationException", "An expression lacks a value.");
		return NULL;
	}
	if (json_is_array(value))
		return list_eval(env, value, err);
	if (!json_is_object(value))
		return json_incref((json_t *)value);
	const char *key = expr_key(value);
	if (!key)
		return object_eval(env, value, err);
	const json_t *body = json_object_get(value, key);
	if (strcmp(key, "Get") == 0)
		return get_eval(env, body, err);
	if (strcmp(key, "Std:Join") == 0)
		return join_eval(env, body, err);
	if (strcmp(key, "Std:JsonGet") == 0)
		return json_get_eval(env, body, err);
	error_aws(err, "ValidationException", "Unknown function '%.64s'.", key);
	return NULL;
}
