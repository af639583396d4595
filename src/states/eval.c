/* eval.c - paths, payload templates and JSONata fields of a state; see asl.h.
 *
 * DESIGN: a path of a definition is parsed once and kept in the machine's cache under its text; with no machine it is
 * parsed each time, in the arena of the evaluation. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/map.h"
#include "states/asl_impl.h"
#include "states/intrinsic.h"
#include "states/jsonata.h"

enum { MAX_CACHED_PATHS = 20000 };

_Thread_local int64_t asl_work;

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

/* ---- paths ---- */

struct path_cache {
	struct map map; /* text -> struct asl_path_ref, in the arena */
	struct arena arena;
};

struct path_cache *asl_paths_new(void)
{
	return mem_calloc(1, sizeof(struct path_cache));
}

void asl_paths_free(struct path_cache *c)
{
	if (!c)
		return;
	map_release(&c->map);
	arena_release(&c->arena);
	free(c);
}

static bool name_ends(char c)
{
	return c == '.' || c == '[';
}

struct asl_path_ref *asl_path_ref(struct arena *a, struct str text)
{
	struct asl_path_ref *ref = ARENA_NEW(a, struct asl_path_ref);
	size_t i = 1;
	if (str_starts(text, STR("$$"))) {
		ref->root = ASL_ROOT_CONTEXT;
		ref->path = path_parse(a, str_skip(text, 1), &ref->why);
		return ref;
	}
	if (text.len > 1 && text.ptr[0] == '$' && !name_ends(text.ptr[1])) {
		while (i < text.len && !name_ends(text.ptr[i]))
			i++;
		ref->root = ASL_ROOT_VARIABLE;
		ref->name = arena_str(a, str_of(text.ptr + 1, i - 1));
		ref->path = path_parse(a, str_from(arena_printf(a, "$%.*s", STR_ARG(str_skip(text, i)))), &ref->why);
		return ref;
	}
	ref->path = path_parse(a, arena_str(a, text), &ref->why);
	return ref;
}

/* From the machine's cache where there is one. */
static const struct asl_path_ref *find_ref(struct asl_env *env, struct str text)
{
	struct path_cache *c = env->machine ? env->machine->paths : NULL;
	struct asl_path_ref *ref = c ? map_get(&c->map, text) : NULL;
	if (ref)
		return ref;
	if (!c || c->map.count >= MAX_CACHED_PATHS)
		return asl_path_ref(env->arena, text);
	ref = asl_path_ref(&c->arena, text);
	map_set(&c->map, text, ref);
	return ref;
}

/* NULL: a variable that is not defined. Borrowed. */
static json_t *root_of(struct asl_env *env, const struct asl_path_ref *ref, json_t *input)
{
	switch (ref->root) {
	case ASL_ROOT_CONTEXT:
		return env->context;
	case ASL_ROOT_VARIABLE:
		return json_object_getn(env->variables, ref->name.ptr, ref->name.len);
	default:
		return input;
	}
}

static int not_found(struct asl_env *env, struct str text, const char *field, struct asl_fault *f)
{
	return asl_fault_set(f, "States.Runtime",
			     "The JSONPath '%.*s' specified for the field '%s' could not be found in the input '%.*s'",
			     STR_ARG(text), field, STR_ARG(asl_text(env->arena, env->input)));
}

int asl_path(struct asl_env *env, struct str text, const char *field, json_t **out, struct asl_fault *f)
{
	if (intrinsic_is_call(text))
		return intrinsic_eval(env, text, field, out, f);
	const struct asl_path_ref *ref = find_ref(env, text);
	if (!ref->path)
		return asl_fault_set(f, "States.Runtime", "Invalid path '%.*s' : %s", STR_ARG(text), ref->why);
	json_t *root = root_of(env, ref, env->input);
	if (!root || path_eval(env->arena, ref->path, root, out, NULL) == PATH_NONE)
		return not_found(env, text, field, f);
	return ASL_OK;
}

bool asl_is_definite(struct str text)
{
	struct arena a = ARENA_INIT;
	struct asl_path_ref *ref = asl_path_ref(&a, text);
	bool definite = ref->path && path_is_definite(ref->path);
	arena_release(&a);
	return definite;
}

/* As asl_path on `value`, with the other text: "Invalid path '$.x' : No results for path: $['x']". */
static int path_of_value(struct asl_env *env, struct str text, json_t *value, json_t **out, struct asl_fault *f)
{
	const struct asl_path_ref *ref = find_ref(env, text);
	const char *why = ref->why;
	json_t *root = ref->path ? root_of(env, ref, value) : NULL;
	if (root && path_eval(env->arena, ref->path, root, out, &why) == PATH_FOUND)
		return ASL_OK;
	return asl_fault_set(f, "States.Runtime", "Invalid path '%.*s' : %s", STR_ARG(text),
			     why ? why : "The variable is not defined");
}

int asl_path_field(struct asl_env *env, const json_t *doc, const char *field, bool invalid_path, json_t **out,
		   struct asl_fault *f)
{
	struct str text = json_get_str(doc, field);
	if (invalid_path && !intrinsic_is_call(text))
		return path_of_value(env, text, env->input, out, f);
	return asl_path(env, text, field, out, f);
}

int asl_in_out_path(struct asl_env *env, const json_t *doc, const char *field, json_t *value, json_t **out,
		    struct asl_fault *f)
{
	json_t *member = json_object_get(doc, field);
	if (!member) {
		*out = json_incref(value);
		return ASL_OK;
	}
	if (json_is_null(member)) {
		*out = json_object();
		return ASL_OK;
	}
	struct str text = json_str(member);
	if (!intrinsic_is_call(text))
		return path_of_value(env, text, value, out, f);
	struct asl_env here = *env;
	here.input = value;
	return intrinsic_eval(&here, text, field, out, f);
}

int asl_payload(struct asl_env *env, const json_t *template, const char *field, json_t **out, struct asl_fault *f)
{
	const char *key;
	json_t *member, *value = NULL;
	size_t i;
	int rc = ASL_OK;
	if (json_is_array(template)) {
		*out = json_array();
		json_array_foreach (template, i, member) {
			if ((rc = asl_payload(env, member, field, &value, f)) != ASL_OK)
				break;
			json_array_append_new(*out, value);
		}
	} else if (json_is_object(template)) {
		*out = json_object();
		json_object_foreach ((json_t *)template, key, member) {
			struct str name = str_from(key);
			bool evaluated = str_ends(name, STR(".$")) && json_is_string(member);
			rc = evaluated ? asl_path(env, json_str(member), key, &value, f)
				       : asl_payload(env, member, key, &value, f);
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
	struct path *path = path_parse(&a, reference, NULL);
	*out = path && path_is_reference(path) ? path_with(path, base, value) : NULL;
	arena_release(&a);
	if (*out)
		return ASL_OK;
	CLEANUP_FREE char *shown = asl_text_dup(base);
	return asl_fault_set(f, "States.ResultPathMatchFailure", "Unable to apply ReferencePath %.*s to input %s",
			     STR_ARG(reference), shown);
}

/* ---- JSONata ---- */

struct str asl_expression_of(const json_t *value)
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
	asl_fault_set(f, "States.QueryEvaluationError", "The JSONata expression '%.*s' specified for the field '%s' %s",
		      STR_ARG(expression), field, what);
	f->location = mem_strdup(field);
	return ASL_FAULT;
}

/* A coded error of the language ends the sentence; a limit of the service goes on after a colon. */
static int evaluation_error(struct asl_env *env, struct asl_fault *f, struct str expression, const char *field,
			    const json_t *error)
{
	const char *code = json_get_text(error, "code"), *message = json_get_text(error, "message");
	struct str c = str_from(code ? code : "D0000");
	if (!message)
		message = "unknown";
	if (str_eqz(c, JSONATA_UNSUPPORTED))
		return query_fault(f, expression, field, "returned an unsupported result type.");
	if (str_eqz(c, "D0000"))
		return query_fault(f, expression, field,
				   arena_printf(env->arena, "threw an internal error during evaluation. %s", message));
	if (str_eqz(c, JSONATA_LIMIT))
		return query_fault(f, expression, field,
				   arena_printf(env->arena, "threw an error during evaluation: %s", message));
	return query_fault(f, expression, field,
			   arena_printf(env->arena, "threw an error during evaluation. %.*s: %s", STR_ARG(c), message));
}

static int eval_expression(struct asl_env *env, struct str expression, const char *field, json_t **out,
			   struct asl_fault *f)
{
	CLEANUP_JSON json_t *answer = NULL;
	enum jsonata_status status;
	if (!env->jsonata)
		return query_fault(f, expression, field,
				   "could not be evaluated: this Quern has no JSONata worker (see quern doctor).");
	char *key = arena_printf(env->arena, "%s\n%.*s", field, STR_ARG(expression));
	json_t *kept = json_object_get(env->memo, key);
	uint64_t seed = env->random ? env->random(env->random_ctx) : 0;
	status = (enum jsonata_status)json_get_int(kept, "status", JSONATA_ERROR);
	CLEANUP_JSON json_t *bindings = kept && status != JSONATA_PENDING ? NULL : bindings_of(env);
	if (kept) {
		answer = json_incref(json_object_get(kept, "value"));
	} else {
		asl_work += ASL_WORK_JSONATA;
		status = jsonata_eval(env->jsonata, expression, bindings, seed, JSONATA_TRY, &answer);
	}
	switch (status) {
	case JSONATA_VALUE:
		*out = answer ? json_incref(answer) : json_null();
		return ASL_OK;
	case JSONATA_UNDEFINED:
		return query_fault(f, expression, field, "returned nothing (undefined).");
	case JSONATA_ERROR:
		return evaluation_error(env, f, expression, field, answer);
	case JSONATA_PENDING:
	case JSONATA_BUSY:
		break;
	}
	env->pending = json_pack("{s:s, s:o, s:O, s:I, s:b}", "key", key, "expression",
				 json_stringn(expression.ptr, expression.len), "bindings", bindings, "seed",
				 (json_int_t)(seed & 0xffffffff), "slow", status == JSONATA_PENDING);
	return ASL_PENDING;
}

int asl_jsonata(struct asl_env *env, const json_t *value, const char *field, json_t **out, struct asl_fault *f)
{
	const char *key;
	json_t *member, *made = NULL;
	size_t i;
	int rc = ASL_OK;
	struct str expression = asl_expression_of(value);
	if (expression.ptr)
		return eval_expression(env, expression, field, out, f);
	if (json_is_array(value)) {
		*out = json_array();
		json_array_foreach (value, i, member) {
			rc = asl_jsonata(env, member, arena_printf(env->arena, "%s[%zu]", field, i), &made, f);
			if (rc != ASL_OK)
				break;
			json_array_append_new(*out, made);
		}
	} else if (json_is_object(value)) {
		*out = json_object();
		json_object_foreach ((json_t *)value, key, member) {
			rc = asl_jsonata(env, member, arena_printf(env->arena, "%s/%s", field, key), &made, f);
			if (rc != ASL_OK)
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

static const char *type_name(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "object";
	case JSON_ARRAY:
		return "array";
	case JSON_STRING:
		return "string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "number";
	case JSON_NULL:
		return "null";
	default:
		return "boolean";
	}
}

int asl_jsonata_typed(struct asl_env *env, const json_t *value, const char *field, const char *type, json_t **out,
		      struct asl_fault *f)
{
	struct str expression = asl_expression_of(value);
	int rc = asl_jsonata(env, value, field, out, f);
	if (rc != ASL_OK || !expression.ptr || strcmp(type_name(*out), type) == 0)
		return rc;
	char *what = arena_printf(env->arena,
				  "returned an unexpected result type. Expected '%s', but was '%s' for value: %.*s",
				  type, type_name(*out), STR_ARG(asl_text(env->arena, *out)));
	json_decref(*out);
	*out = NULL;
	return query_fault(f, expression, field, what);
}

/* States.Runtime always ends the execution, even where it is named; States.DataLimitExceeded must be named. */
bool asl_error_matches(const json_t *error_equals, const char *error)
{
	bool limit = strcmp(error, "States.DataLimitExceeded") == 0,
	     heartbeat = strcmp(error, "States.HeartbeatTimeout") == 0;
	bool timeout = strcmp(error, "States.Timeout") == 0;
	json_t *name;
	size_t i;
	if (strcmp(error, "States.Runtime") == 0)
		return false;
	json_array_foreach (error_equals, i, name) {
		const char *z = json_string_value(name);
		if (!z)
			continue;
		if (strcmp(z, error) == 0)
			return true;
		if (strcmp(z, "States.ALL") == 0 && !limit)
			return true;
		if (strcmp(z, "States.TaskFailed") == 0 && !limit && !timeout)
			return true;
		if (strcmp(z, "States.Timeout") == 0 && heartbeat)
			return true;
	}
	return false;
}
