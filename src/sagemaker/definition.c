/* definition.c - reading a pipeline definition: envelope, parameters, steps.
 *
 * DESIGN: two passes. This file makes the flat list of steps and checks each by itself; definition_graph.c then
 * resolves names between them, so a step may refer to one that comes later in the text. */
#include "sagemaker/definition.h"

#include <ctype.h>
#include "sagemaker/pipeline_type.h"

#define BAD "Unable to parse pipeline definition. "

/* While reading: the list grows. */
struct reader {
	struct definition *d;
	int cap;
};

static bool name_ok(struct str name, size_t max)
{
	if (name.len == 0 || name.len > max)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];
		if (!isalnum(c) && c != '-' && c != '_')
			return false;
	}
	return true;
}

/* ---- parameters ---- */

static bool param_type_of(const char *name, enum param_type *out)
{
	static const char *const names[] = { "String", "Integer", "Float", "Boolean" };
	for (size_t i = 0; name && i < 4; i++) {
		if (strcmp(names[i], name) == 0) {
			*out = (enum param_type)i;
			return true;
		}
	}
	return false;
}

static bool param_value_ok(enum param_type type, const json_t *v)
{
	switch (type) {
	case PARAM_STRING:
		return json_is_string(v);
	case PARAM_INTEGER:
		return json_is_integer(v);
	case PARAM_FLOAT:
		return json_is_number(v);
	default:
		return json_is_boolean(v);
	}
}

static bool enum_has(const json_t *enums, const json_t *value)
{
	size_t i;
	json_t *item;
	json_array_foreach (enums, i, item)
		if (json_equal(item, value))
			return true;
	return false;
}

static int enums_read(struct definition_param *p, struct error *err)
{
	size_t i;
	json_t *item;
	if (!p->enums)
		return 0;
	if (!json_is_array(p->enums) || p->type != PARAM_STRING || json_array_size(p->enums) == 0)
		return error_aws(err, "ValidationException",
				 BAD "EnumValues of parameter '%s' must be a list of strings of a String parameter.",
				 p->name);
	json_array_foreach (p->enums, i, item)
		if (!json_is_string(item))
			return error_aws(err, "ValidationException",
					 BAD "EnumValues of parameter '%s' must be strings.", p->name);
	if (p->fallback && !enum_has(p->enums, p->fallback))
		return error_aws(err, "ValidationException",
				 BAD "DefaultValue of parameter '%s' is not one of its EnumValues.", p->name);
	return 0;
}

static int param_read(struct definition *d, json_t *json, struct error *err)
{
	struct definition_param *p = &d->params[d->nparams];
	struct str name = json_get_str(json, "Name");
	if (!name_ok(name, 256))
		return error_aws(
			err, "ValidationException",
			BAD "Parameter name '%.*s' is not valid: it must have 1 to 256 characters of [A-Za-z0-9-_].",
			STR_ARG(str_head(name, 300)));
	p->name = arena_strdup(&d->arena, name);
	for (int i = 0; i < d->nparams; i++)
		if (strcmp(d->params[i].name, p->name) == 0)
			return error_aws(err, "ValidationException", BAD "Duplicate parameter name '%s'.", p->name);
	const char *type = json_get_text(json, "Type");
	if (!param_type_of(type, &p->type))
		return error_aws(err, "ValidationException", BAD "Parameter '%s' has unknown type '%.64s'.", p->name,
				 type ? type : "");
	p->fallback = json_get(json, "DefaultValue");
	p->enums = json_get(json, "EnumValues");
	if (p->fallback && !param_value_ok(p->type, p->fallback))
		return error_aws(err, "ValidationException", BAD "DefaultValue of parameter '%s' is not of type %s.",
				 p->name, type);
	d->nparams++;
	return enums_read(p, err);
}

static int params_read(struct definition *d, struct error *err)
{
	json_t *list = json_get(d->root, "Parameters");
	size_t i;
	json_t *item;
	if (!list)
		return 0;
	if (!json_is_array(list))
		return error_aws(err, "ValidationException", BAD "'Parameters' must be a list.");
	if (json_array_size(list) > 200)
		return error_aws(err, "ValidationException", BAD "A pipeline has at most 200 parameters.");
	d->params = ARENA_ARRAY(&d->arena, struct definition_param, json_array_size(list) + 1);
	json_array_foreach (list, i, item)
		if (param_read(d, item, err) < 0)
			return -1;
	return 0;
}

/* ---- steps ---- */

static int retry_read(const char *step, const json_t *policy, struct error *err)
{
	const json_t *types = json_get(policy, "ExceptionType");
	bool max = json_get(policy, "MaxAttempts"), expire = json_get(policy, "ExpireAfterMin");
	int64_t interval = json_get_int(policy, "IntervalSeconds", 1),
		attempts = json_get_int(policy, "MaxAttempts", 1);
	int64_t minutes = json_get_int(policy, "ExpireAfterMin", 1);
	if (!json_is_string(types) && !(json_is_array(types) && json_array_size(types) > 0))
		return error_aws(err, "ValidationException", BAD "A RetryPolicy of step '%s' needs ExceptionType.",
				 step);
	if (max && expire)
		return error_aws(err, "ValidationException",
				 BAD
				 "A RetryPolicy of step '%s' may have either MaxAttempts or ExpireAfterMin, not both.",
				 step);
	if (interval < 0 || interval > 43200)
		return error_aws(err, "ValidationException",
				 BAD "IntervalSeconds of step '%s' must be between 0 and 43200.", step);
	if (attempts < 1 || attempts > 20)
		return error_aws(err, "ValidationException", BAD "MaxAttempts of step '%s' must be between 1 and 20.",
				 step);
	if (minutes < 0 || minutes > 14400)
		return error_aws(err, "ValidationException",
				 BAD "ExpireAfterMin of step '%s' must be between 0 and 14400.", step);
	if (json_get_real(policy, "BackoffRate", 2.0) < 0)
		return error_aws(err, "ValidationException", BAD "BackoffRate of step '%s' must not be negative.",
				 step);
	return 0;
}

static int policies_read(const struct definition_step *s, struct error *err)
{
	const json_t *list = json_get(s->json, "RetryPolicies"), *cache = json_get(s->json, "CacheConfig");
	size_t i;
	json_t *item;
	int64_t ms;
	if (list && (!json_is_array(list) || !s->type->retries))
		return error_aws(err, "ValidationException",
				 BAD "Step '%s' of type %s cannot have these RetryPolicies.", s->name, s->type->name);
	json_array_foreach (list, i, item)
		if (retry_read(s->name, item, err) < 0)
			return -1;
	if (!cache)
		return 0;
	if (!json_is_object(cache) || !s->type->cache_keys)
		return error_aws(err, "ValidationException", BAD "Step '%s' of type %s cannot have this CacheConfig.",
				 s->name, s->type->name);
	struct str expire = json_get_str(cache, "ExpireAfter");
	if (expire.ptr && !definition_duration(expire, &ms))
		return error_aws(err, "ValidationException",
				 BAD "ExpireAfter '%.*s' of step '%s' is not an ISO-8601 duration.",
				 STR_ARG(str_head(expire, 64)), s->name);
	return 0;
}

static int steps_read(struct reader *r, const json_t *list, int parent, bool else_branch, struct error *err);

static int branches_read(struct reader *r, int index, struct error *err)
{
	static const char *const members[] = { "IfSteps", "ElseSteps" };
	json_t *arguments = r->d->steps[index].arguments;
	const char *name = r->d->steps[index].name;
	if (!json_is_array(json_get(arguments, "Conditions")))
		return error_aws(err, "ValidationException",
				 BAD "Step '%s' needs a list 'Conditions' in its Arguments.", name);
	for (int i = 0; i < 2; i++) {
		const json_t *list = json_get(arguments, members[i]);
		if (list && !json_is_array(list))
			return error_aws(err, "ValidationException", BAD "'%s' of step '%s' must be a list.",
					 members[i], name);
		if (list && steps_read(r, list, index, i == 1, err) < 0)
			return -1;
	}
	return 0;
}

static struct definition_step *step_add(struct reader *r)
{
	struct definition *d = r->d;
	if (d->nsteps == r->cap) {
		int cap = r->cap ? r->cap * 2 : 64;
		struct definition_step *grown = ARENA_ARRAY(&d->arena, struct definition_step, (size_t)cap);
		if (d->nsteps)
			memcpy(grown, d->steps, (size_t)d->nsteps * sizeof *grown);
		d->steps = grown;
		r->cap = cap;
	}
	struct definition_step *s = &d->steps[d->nsteps];
	s->index = d->nsteps++;
	return s;
}

static int step_type_read(struct definition_step *s, struct error *err)
{
	struct str type = json_get_str(s->json, "Type");
	s->type = type.ptr ? step_type_find(type) : NULL;
	if (!s->type)
		return error_aws(err, "ValidationException", BAD "Step '%s' has unknown type '%.*s'.", s->name,
				 STR_ARG(str_head(type, 64)));
	if (!s->type->begin)
		return error_aws(err, "ValidationException", BAD "Step '%s' has type '%s', which is not supported yet.",
				 s->name, s->type->name);
	return 0;
}

static int step_read(struct reader *r, json_t *json, int parent, bool else_branch, struct error *err)
{
	struct str name = json_get_str(json, "Name");
	if (!json_is_object(json))
		return error_aws(err, "ValidationException", BAD "A step must be an object.");
	if (!name_ok(name, 64))
		return error_aws(err, "ValidationException",
				 BAD "Step name '%.*s' is not valid: it must have 1 to 64 characters of [A-Za-z0-9-_].",
				 STR_ARG(str_head(name, 256)));
	struct definition_step *s = step_add(r);
	int index = s->index;
	s->name = arena_strdup(&r->d->arena, name);
	s->json = json;
	s->parent = parent;
	s->else_branch = else_branch;
	s->arguments = json_get(json, "Arguments");
	if (step_type_read(s, err) < 0)
		return -1;
	if (s->arguments && !json_is_object(s->arguments))
		return error_aws(err, "ValidationException", BAD "'Arguments' of step '%s' must be an object.",
				 s->name);
	if (!s->arguments && !s->type->leaf)
		return error_aws(err, "ValidationException", BAD "Step '%s' needs 'Arguments'.", s->name);
	if (policies_read(s, err) < 0)
		return -1;
	if (s->type->check && s->type->check(&r->d->arena, s, err) < 0)
		return -1;
	return s->type->branches ? branches_read(r, index, err) : 0;
}

static int steps_read(struct reader *r, const json_t *list, int parent, bool else_branch, struct error *err)
{
	size_t i;
	json_t *item;
	json_array_foreach (list, i, item)
		if (step_read(r, item, parent, else_branch, err) < 0)
			return -1;
	return 0;
}

static int names_read(struct definition *d, struct error *err)
{
	for (int i = 0; i < d->nsteps; i++)
		if (map_set(&d->by_name, str_from(d->steps[i].name), &d->steps[i]))
			return error_aws(err, "ValidationException",
					 BAD "Duplicate step name '%s'. Step names must be unique in a pipeline.",
					 d->steps[i].name);
	return 0;
}

static int root_read(struct definition *d, struct error *err)
{
	const char *version = json_get_text(d->root, "Version");
	if (!json_is_object(d->root))
		return error_aws(err, "ValidationException", BAD "Expecting start of Json Object.");
	if (!version || strcmp(version, "2020-12-01") != 0)
		return error_aws(err, "ValidationException",
				 BAD "Version '%.64s' is not supported; it must be '2020-12-01'.",
				 version ? version : "");
	if (params_read(d, err) < 0)
		return -1;
	d->experiment = json_get(d->root, "PipelineExperimentConfig");
	if (d->experiment && !json_is_object(d->experiment))
		return error_aws(err, "ValidationException", BAD "'PipelineExperimentConfig' must be an object.");
	const json_t *steps = json_get(d->root, "Steps");
	if (!json_is_array(steps))
		return error_aws(err, "ValidationException", BAD "'Steps' must be a list.");
	struct reader r = { .d = d };
	if (steps_read(&r, steps, -1, false, err) < 0 || names_read(d, err) < 0)
		return -1;
	return definition_link(d, err);
}

int definition_parse(struct str text, struct definition **out, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	if (text.len > DEFINITION_MAX_BYTES)
		return error_aws(err, "ValidationException", BAD "It has %zu bytes; at most %d are allowed.", text.len,
				 DEFINITION_MAX_BYTES);
	struct definition *d = mem_calloc(1, sizeof *d);
	d->root = json_parse(text, &why);
	int rc = d->root ? root_read(d, err)
			 : error_aws(err, "ValidationException", BAD "It is not JSON: %s.", error_text(&why));
	if (rc < 0) {
		definition_free(d);
		return -1;
	}
	*out = d;
	return 0;
}

void definition_free(struct definition *d)
{
	if (!d)
		return;
	map_release(&d->by_name);
	json_decref(d->root);
	arena_release(&d->arena);
	mem_cleanup_free(&d);
}

struct definition_step *definition_step_find(const struct definition *d, struct str name)
{
	return map_get(&d->by_name, name);
}
