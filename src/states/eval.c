/* eval.c - paths, payload templates and JSONata fields of a state; see asl.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "states/asl.h"
#include "states/intrinsic.h"
#include "states/jsonata.h"
#include "states/path.h"

void asl_fault_release(struct asl_fault *f)
{
	free(f->cause);
	free(f->location);
	*f = ASL_FAULT_INIT;
}

int asl_fault_set(struct asl_fault *f, const char *error, const char *fmt, ...)
{
	va_list ap;
	char *cause;
	va_start(ap, fmt);
	if (vasprintf(&cause, fmt, ap) < 0)
		BUG("out of memory");
	va_end(ap);
	asl_fault_release(f);
	snprintf(f->error, sizeof(f->error), "%s", error);
	f->cause = cause;
	return ASL_FAULT;
}

/* Splits "$name.rest" into the variable's name and "$.rest" in the arena. False when text is no variable reference. */
static bool split_variable(struct arena *a, struct str text, struct str *name, struct str *path)
{
	size_t i = 1;
	if (text.len < 2 || text.ptr[0] != '$' || text.ptr[1] == '.' || text.ptr[1] == '[' || text.ptr[1] == '$')
		return false;
	while (i < text.len && text.ptr[i] != '.' && text.ptr[i] != '[')
		i++;
	*name = str_of(text.ptr + 1, i - 1);
	*path = str_from(arena_printf(a, "$%.*s", STR_ARG(str_skip(text, i))));
	return true;
}

static int not_found(struct asl_env *env, struct str text, const char *field, const json_t *root, struct asl_fault *f)
{
	struct str shown = json_text(env->arena, root);
	return asl_fault_set(f, "States.ParameterPathFailure", "The JSONPath '%.*s' specified for the field '%s' could not be found in the input '%.*s'", STR_ARG(text),
			     field, STR_ARG(shown));
}

/* What the path means: its root and the path from there. NULL root: an undefined variable. */
static json_t *root_of(struct asl_env *env, struct str text, struct str *path)
{
	struct str name;
	if (str_starts(text, STR("$$"))) {
		*path = str_skip(text, 1);
		return env->context;
	}
	if (split_variable(env->arena, text, &name, path))
		return json_object_getn(env->variables, name.ptr, name.len);
	*path = text;
	return env->input;
}

int asl_path(struct asl_env *env, struct str text, const char *field, json_t **out, struct asl_fault *f)
{
	const char *why = NULL;
	struct str path_text;
	if (intrinsic_is_call(text))
		return intrinsic_eval(env, text, field, out, f);
	json_t *root = root_of(env, text, &path_text);
	if (!root)
		return not_found(env, text, field, env->input, f);
	struct path *path = path_parse(env->arena, path_text, &why);
	if (!path)
		return asl_fault_set(f, "States.Runtime", "Invalid path '%.*s' : %s", STR_ARG(text), why);
	if (path_eval(env->arena, path, root, out, &why) == PATH_NONE)
		return not_found(env, text, field, root, f);
	return ASL_OK;
}

bool asl_is_definite(struct str text)
{
	struct arena a = ARENA_INIT;
	struct str name, path_text = str_starts(text, STR("$$")) ? str_skip(text, 1) : text;
	if (split_variable(&a, text, &name, &path_text))
		path_text = arena_str(&a, path_text);
	struct path *path = path_parse(&a, path_text, NULL);
	bool definite = path && path_is_definite(path);
	arena_release(&a);
	return definite;
}

int asl_in_out_path(struct asl_env *env, const json_t *doc, const char *field, json_t *value, json_t **out, struct asl_fault *f)
{
	const char *why = NULL;
	struct str path_text;
	json_t *member = json_object_get(doc, field);
	if (!member) {
		*out = json_incref(value);
		return ASL_OK;
	}
	if (json_is_null(member)) {
		*out = json_object();
		return ASL_OK;
	}
	struct asl_env here = *env;
	here.input = value;
	struct str text = json_str(member);
	if (intrinsic_is_call(text))
		return intrinsic_eval(&here, text, field, out, f);
	json_t *root = root_of(&here, text, &path_text);
	struct path *path = path_parse(env->arena, path_text, &why);
	if (root && path && path_eval(env->arena, path, root, out, &why) == PATH_FOUND)
		return ASL_OK;
	return asl_fault_set(f, "States.Runtime", "Invalid path '%.*s' : %s", STR_ARG(text), why ? why : "the variable is not defined");
}

int asl_payload(struct asl_env *env, const json_t *template, const char *field, json_t **out, struct asl_fault *f)
{
	const char *key;
	json_t *member, *value;
	size_t i;
	int rc = ASL_OK;
	if (json_is_array(template)) {
		*out = json_array();
		json_array_foreach(template, i, member) {
			if ((rc = asl_payload(env, member, field, &value, f)) != ASL_OK)
				break;
			json_array_append_new(*out, value);
		}
	} else if (json_is_object(template)) {
		*out = json_object();
		json_object_foreach((json_t *)template, key, member) {
			struct str name = str_from(key);
			bool evaluated = str_ends(name, STR(".$"));
			if (evaluated && json_is_string(member))
				rc = asl_path(env, json_str(member), key, &value, f);
			else
				rc = asl_payload(env, member, key, &value, f);
			if (rc != ASL_OK)
				break;
			if (evaluated)
				name = str_head(name, name.len - 2);
			json_object_setn_new(*out, name.ptr, name.len, value);
		}
	} else {
		*out = json_incref((json_t *)template);
	}
	if (rc != ASL_OK) {
		json_decref(*out);
		*out = NULL;
	}
	return rc;
}

int asl_put(const json_t *base, struct str reference, json_t *value, json_t **out, struct asl_fault *f)
{
	struct arena a = ARENA_INIT;
	const char *why = NULL;
	struct path *path = path_parse(&a, reference, &why);
	*out = path && path_is_reference(path) ? path_put(path, base, value) : NULL;
	arena_release(&a);
	if (*out)
		return ASL_OK;
	CLEANUP_FREE char *shown = json_text_dup(base);
	return asl_fault_set(f, "States.ResultPathMatchFailure", "Unable to apply Path transformation to null or empty input. ResultPath '%.*s' cannot be applied to '%s'",
			     STR_ARG(reference), shown);
}

/* ---- JSONata ---- */

/* The expression inside "{% … %}", or STR_NULL. */
static struct str expression_of(const json_t *value)
{
	struct str s = json_str(value);
	if (s.len < 4 || !str_starts(s, STR("{%")) || !str_ends(s, STR("%}")))
		return STR_NULL;
	return str_trim(str_of(s.ptr + 2, s.len - 4));
}

/* {"states": {...}, variables...}; owned. */
static json_t *bindings_of(struct asl_env *env)
{
	json_t *states = json_object(), *bindings = env->variables ? json_copy(env->variables) : json_object();
	if (env->input)
		json_object_set(states, "input", env->input);
	if (env->result)
		json_object_set(states, "result", env->result);
	if (env->error_output)
		json_object_set(states, "errorOutput", env->error_output);
	if (env->context)
		json_object_set(states, "context", env->context);
	json_object_set_new(bindings, "states", states);
	return bindings;
}

static int query_fault(struct asl_fault *f, struct str expression, const char *field, const char *what)
{
	asl_fault_set(f, "States.QueryEvaluationError", "The JSONata expression '%.*s' specified for the field '%s' %s", STR_ARG(expression), field, what);
	f->location = mem_strdup(field);
	return ASL_FAULT;
}

static int evaluation_error(struct asl_env *env, struct asl_fault *f, struct str expression, const char *field, const json_t *error)
{
	const char *code = json_get_text(error, "code"), *message = json_get_text(error, "message");
	if (code && str_eqz(str_from(code), "Unsupported"))
		return query_fault(f, expression, field, "returned an unsupported result type.");
	return query_fault(f, expression, field,
			   arena_printf(env->arena, "threw an error during evaluation. %s: %s", code ? code : "D0000", message ? message : "unknown"));
}

static int eval_expression(struct asl_env *env, struct str expression, const char *field, json_t **out, struct asl_fault *f)
{
	CLEANUP_JSON json_t *bindings = bindings_of(env);
	CLEANUP_JSON json_t *answer = NULL;
	enum jsonata_status status;
	if (!env->jsonata)
		return query_fault(f, expression, field, "could not be evaluated: this Quern has no JSONata worker (see quern doctor).");
	char *key = arena_printf(env->arena, "%s\n%.*s", field, STR_ARG(expression));
	json_t *kept = json_object_get(env->memo, key);
	uint64_t seed = env->random ? env->random(env->random_ctx) : 0;
	if (kept) {
		status = (enum jsonata_status)json_get_int(kept, "status", JSONATA_ERROR);
		answer = json_incref(json_object_get(kept, "value"));
	} else {
		status = jsonata_eval(env->jsonata, expression, bindings, seed, false, &answer);
	}
	switch (status) {
	case JSONATA_VALUE:
		*out = json_incref(answer);
		return ASL_OK;
	case JSONATA_UNDEFINED:
		return query_fault(f, expression, field, "returned nothing (undefined).");
	case JSONATA_ERROR:
		return evaluation_error(env, f, expression, field, answer);
	case JSONATA_PENDING:
		break;
	}
	env->pending = json_pack("{s:s, s:o, s:O, s:I}", "key", key, "expression", json_stringn(expression.ptr, expression.len), "bindings", bindings, "seed",
				 (json_int_t)(seed & 0xffffffff));
	return ASL_PENDING;
}

int asl_jsonata(struct asl_env *env, const json_t *value, const char *field, json_t **out, struct asl_fault *f)
{
	const char *key;
	json_t *member, *made;
	size_t i;
	int rc = ASL_OK;
	struct str expression = expression_of(value);
	if (expression.ptr)
		return eval_expression(env, expression, field, out, f);
	if (json_is_array(value)) {
		*out = json_array();
		json_array_foreach(value, i, member) {
			if ((rc = asl_jsonata(env, member, arena_printf(env->arena, "%s[%zu]", field, i), &made, f)) != ASL_OK)
				break;
			json_array_append_new(*out, made);
		}
	} else if (json_is_object(value)) {
		*out = json_object();
		json_object_foreach((json_t *)value, key, member) {
			if ((rc = asl_jsonata(env, member, arena_printf(env->arena, "%s/%s", field, key), &made, f)) != ASL_OK)
				break;
			json_object_set_new(*out, key, made);
		}
	} else {
		*out = json_incref((json_t *)value);
	}
	if (rc != ASL_OK) {
		json_decref(*out);
		*out = NULL;
	}
	return rc;
}

/* ---- small things ---- */

bool asl_error_matches(const json_t *error_equals, const char *error)
{
	bool terminal = strcmp(error, "States.DataLimitExceeded") == 0 || strcmp(error, "States.Runtime") == 0;
	json_t *name;
	size_t i;
	json_array_foreach(error_equals, i, name) {
		const char *z = json_string_value(name);
		if (!z)
			continue;
		if (strcmp(z, error) == 0)
			return true;
		if (strcmp(z, "States.ALL") == 0 && !terminal)
			return true;
		if (strcmp(z, "States.TaskFailed") == 0 && !terminal && strcmp(error, "States.Timeout") != 0)
			return true;
	}
	return false;
}

static int count_bytes(const char *p, size_t n, void *total)
{
	(void)p;
	*(size_t *)total += n;
	return 0;
}

size_t asl_size_bytes(const json_t *value)
{
	size_t total = 0;
	json_dump_callback(value, count_bytes, &total, JSON_COMPACT | JSON_ENCODE_ANY);
	return total;
}
