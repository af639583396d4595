/* mock.c - what the models say of calls from inside: their operations and members, and whether a mocked answer
 * (TestState) could be an answer. See wire.h. */
#include "base/json.h"
#include "wire/codec.h"
#include "wire/http.h"

/* ---- what the models know ---- */

bool wire_has_operation(const char *model, const char *operation)
{
	const struct model_service *s = model_find(model);
	return !s || model_op_find(s, str_from(operation));
}

bool wire_has_input(const char *model, const char *operation, const char *member)
{
	const struct model_service *s = model_find(model);
	const struct model_op *op = s ? model_op_find(s, str_from(operation)) : NULL;
	const struct model_shape *sh = op ? model_op_input(s, op) : NULL;
	return sh ? spelling_member(s, sh, member) != NULL : op == NULL;
}

/* ---- mocked answers ---- */

static int mock_bad(struct error *err, const char *name, const char *what)
{
	return error_aws(err, "ValidationException", "Mock result schema validation error: Field '%s' %s", name, what);
}

static int check_limits(const struct model_service *s, const struct model_shape *sh, const char *name,
			const json_t *value, struct error *err)
{
	if (!sh->limit)
		return 0;
	const struct model_limit *l = &s->limits[sh->limit - 1];
	bool text = sh->type == MT_STRING || sh->type == MT_BLOB;
	int64_t size = text ? (int64_t)json_string_length(value) : (int64_t)json_number_value(value);
	if (sh->type == MT_FLOAT || sh->type == MT_DOUBLE || sh->type == MT_LIST || sh->type == MT_MAP)
		return 0;
	if (!(sh->flags & MS_NO_MIN) && size < l->min)
		return mock_bad(err, name,
				text ? "is smaller than the minimum length" : "is less than the minimum value");
	if (!(sh->flags & MS_NO_MAX) && size > l->max)
		return mock_bad(err, name, text ? "exceeds the maximum length" : "exceeds the maximum value");
	return 0;
}

static bool enum_has(const struct model_service *s, const struct model_shape *sh, const char *text)
{
	for (int i = 0; i < sh->count; i++)
		if (strcmp(model_text(s, s->enums[sh->first + (uint32_t)i]), text) == 0)
			return true;
	return sh->count == 0;
}

static int check_value(const struct model_service *s, const struct model_shape *sh, const char *name, json_t *value,
		       bool required, int depth, struct error *err);

static int check_members(const struct model_service *s, const struct model_shape *sh, const char *name, json_t *value,
			 bool required, int depth, struct error *err)
{
	const struct model_member *m = model_shape_members(s, sh);
	if (!json_is_object(value))
		return mock_bad(err, name, "must be an object");
	for (int i = 0; i < sh->count; i++) {
		char spelled[256];
		spelling_sdk_name(model_text(s, m[i].name), spelled);
		const struct model_shape *of = model_member_shape(s, &m[i]);
		json_t *item = json_object_get(value, spelled);
		if (!item && required && (m[i].flags & MM_REQUIRED))
			return error_aws(err, "ValidationException",
					 "Mock result schema validation error: Required field '%s' is missing",
					 spelled);
		bool free_form = (of->flags & MS_STREAMING) || of->type == MT_BLOB;
		if (!item || (free_form && strcmp(spelled, "Payload") == 0))
			continue;
		if (check_value(s, of, spelled, item, required, depth + 1, err) < 0)
			return -1;
	}
	return 0;
}

static int check_value(const struct model_service *s, const struct model_shape *sh, const char *name, json_t *value,
		       bool required, int depth, struct error *err)
{
	const struct model_member *m = model_shape_members(s, sh);
	const char *key;
	json_t *item;
	size_t i;
	if (depth > CODEC_MAX_DEPTH || (sh->flags & MS_DOCUMENT) || json_is_null(value))
		return 0;
	switch ((enum model_type)sh->type) {
	case MT_STRUCTURE:
		return check_members(s, sh, name, value, required, depth, err);
	case MT_LIST:
		if (!json_is_array(value))
			return mock_bad(err, name, "must be an array");
		json_array_foreach (value, i, item)
			if (check_value(s, model_member_shape(s, m), name, item, required, depth + 1, err) < 0)
				return -1;
		return 0;
	case MT_MAP:
		if (!json_is_object(value))
			return mock_bad(err, name, "must be an object");
		json_object_foreach (value, key, item)
			if (check_value(s, model_member_shape(s, m + 1), key, item, required, depth + 1, err) < 0)
				return -1;
		return 0;
	case MT_BOOLEAN:
		return json_is_boolean(value) ? 0 : mock_bad(err, name, "must be a boolean");
	case MT_INTEGER:
	case MT_LONG:
	case MT_FLOAT:
	case MT_DOUBLE:
		return json_is_number(value) ? check_limits(s, sh, name, value, err)
					     : mock_bad(err, name, "must be a number");
	case MT_STRING:
	case MT_TIMESTAMP:
	case MT_BLOB:
		if (!json_is_string(value))
			return mock_bad(err, name, "must be a string");
		if (sh->type == MT_STRING && !enum_has(s, sh, json_string_value(value)))
			return mock_bad(err, name, "is not an expected value");
		return sh->type == MT_TIMESTAMP ? 0 : check_limits(s, sh, name, value, err);
	}
	return 0;
}

int wire_check_output(const char *model, const char *operation, json_t *value, bool required, struct error *err)
{
	const struct model_service *s = model_find(model);
	const struct model_op *op = s ? model_op_find(s, str_from(operation)) : NULL;
	const struct model_shape *sh = op ? model_op_output(s, op) : NULL;
	return sh ? check_value(s, sh, operation, value, required, 0, err) : 0;
}

const char *wire_error_shape(const char *model, const char *code, int *status)
{
	const struct model_service *s = model_find(model);
	return s ? model_error_shape(s, code, status) : NULL;
}
