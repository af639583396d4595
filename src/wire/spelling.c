/* spelling.c - values as a service's model spells them, and as the AWS SDK for Java does. See wire.h, enum
 * wire_spelling.
 *
 * DESIGN: Step Functions calls services with that SDK, and its users see the SDK's classes written as JSON:
 * "StateMachineArn" for the model's "stateMachineArn". Version 2 (aws-sdk integrations) writes times as ISO text.
 * Version 1 (the older, optimized integrations) writes milliseconds; in the classes of ECS a list is never null, so
 * what the service left out is []. Source: recorded outputs of states:startExecution on AWS; outputs of
 * ecs:runTask.sync shown in public repositories (umccr/elsa-data; 2019 to 2025). */
#include <ctype.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "wire/codec.h"
#include "wire/http.h"

const struct model_member *spelling_member(const struct model_service *s, const struct model_shape *sh, const char *key)
{
	const struct model_member *exact = codec_member(s, sh, str_from(key)), *m = model_shape_members(s, sh);
	if (exact)
		return exact;
	for (int i = 0; i < sh->count; i++)
		if (str_eq_nocase(str_from(model_text(s, m[i].name)), str_from(key)))
			return &m[i];
	return NULL;
}

/* Which way a value goes. */
struct way {
	const struct model_service *s;
	bool to_sdk;
	enum wire_spelling spelling; /* to_sdk */
};

const char *spelling_sdk_name(const char *name, char sdk[256])
{
	snprintf(sdk, 256, "%s", name);
	sdk[0] = (char)toupper((unsigned char)sdk[0]);
	return sdk;
}

static json_t *time_to_sdk(int64_t ms, enum wire_spelling spelling)
{
	char text[32];
	if (spelling != WIRE_SDK2)
		return json_integer(ms);
	return json_string(ms % 1000 ? clock_iso_ms(ms, text) : clock_iso(ms, text));
}

static json_t *scalar(const struct way *w, const struct model_shape *sh, json_t *value)
{
	int64_t ms;
	if (w->to_sdk)
		return sh->type == MT_TIMESTAMP && codec_time_ms(value, &ms) ? time_to_sdk(ms, w->spelling)
									     : json_incref(value);
	if (sh->type == MT_TIMESTAMP && json_is_string(value) && clock_parse_iso(json_str(value), &ms))
		return codec_time_new(ms);
	if (sh->type == MT_STRING &&
	    (json_is_object(value) || json_is_array(value))) { /* a JSON text may be given as JSON */
		CLEANUP_FREE char *dumped = json_text_dup(value);
		return json_string(dumped);
	}
	return json_incref(value);
}

static json_t *respell(const struct way *w, const struct model_shape *sh, json_t *value, int depth);

/* The lists that the value has not. */
static void add_lists(const struct way *w, const struct model_shape *sh, json_t *out)
{
	const struct model_member *m = model_shape_members(w->s, sh);
	char name[256];
	for (int i = 0; i < sh->count; i++) {
		const char *key = spelling_sdk_name(model_text(w->s, m[i].name), name);
		if (model_member_shape(w->s, &m[i])->type == MT_LIST && !json_object_get(out, key))
			json_object_set_new(out, key, json_array());
	}
}

static json_t *structure(const struct way *w, const struct model_shape *sh, json_t *value, int depth)
{
	json_t *out = json_object(), *item;
	const char *key;
	char name[256];
	json_object_foreach (value, key, item) {
		const struct model_member *m =
			w->to_sdk ? codec_member(w->s, sh, str_from(key)) : spelling_member(w->s, sh, key);
		if (m && !json_is_null(item))
			json_object_set_new(out, w->to_sdk ? spelling_sdk_name(key, name) : model_text(w->s, m->name),
					    respell(w, model_member_shape(w->s, m), item, depth + 1));
	}
	if (w->to_sdk && w->spelling == WIRE_SDK1_LISTS)
		add_lists(w, sh, out);
	return out;
}

static json_t *respell(const struct way *w, const struct model_shape *sh, json_t *value, int depth)
{
	const char *key;
	json_t *item, *out;
	size_t i;
	if (depth > CODEC_MAX_DEPTH || (sh->flags & MS_DOCUMENT))
		return json_incref(value);
	const struct model_member *m = model_shape_members(w->s, sh);
	if (sh->type == MT_STRUCTURE && json_is_object(value))
		return structure(w, sh, value, depth);
	if (sh->type == MT_LIST && json_is_array(value)) {
		out = json_array();
		json_array_foreach (value, i, item)
			json_array_append_new(out, respell(w, model_member_shape(w->s, m), item, depth + 1));
		return out;
	}
	if (sh->type == MT_MAP && json_is_object(value)) {
		out = json_object();
		json_object_foreach (value, key, item)
			json_object_set_new(out, key, respell(w, model_member_shape(w->s, m + 1), item, depth + 1));
		return out;
	}
	return scalar(w, sh, value);
}

/* The SDKs give a request a token of its own where the caller gives none. */
static void add_token(const struct model_service *s, const struct model_shape *sh, json_t *in)
{
	const struct model_member *m = model_shape_members(s, sh);
	char id[37];
	for (int i = 0; i < sh->count; i++) {
		if (!(m[i].flags & MM_IDEMPOTENCY) || json_get(in, model_text(s, m[i].name)))
			continue;
		id_uuid(id, NULL, NULL);
		json_set_text(in, model_text(s, m[i].name), id);
	}
}

json_t *spelling_from_sdk(const struct model_service *s, const struct model_shape *sh, json_t *in)
{
	const struct way w = { .s = s };
	json_t *out = json_is_object(in) ? respell(&w, sh, in, 0) : json_object();
	add_token(s, sh, out);
	return out;
}

json_t *spelling_to_sdk(const struct model_service *s, const struct model_shape *sh, enum wire_spelling spelling,
			json_t *out)
{
	const struct way w = { .s = s, .to_sdk = true, .spelling = spelling };
	return sh && out ? respell(&w, sh, out, 0) : json_object();
}
