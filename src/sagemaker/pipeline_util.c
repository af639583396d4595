/* pipeline_util.c - small helpers of the pipeline files: times, users, and request tokens.
 *
 * DESIGN: a ClientRequestToken makes a write happen once: the answer is kept for a day under (operation, token) in the
 * same transaction as the write, with a digest of the request. The same token with another request is an error, as the
 * SDKs expect of an idempotency token. */
#include "sagemaker/pipeline.h"

#include <math.h>

enum { TOKEN_DAY_MS = 86400000 };

void pipeline_set_time(json_t *obj, const char *key, int64_t ms)
{
	if (ms)
		json_set_real(obj, key, (double)ms / 1000.0);
}

int64_t pipeline_get_time(const json_t *obj, const char *key, int64_t fallback)
{
	const json_t *v = json_get(obj, key);
	return json_is_number(v) ? (int64_t)llround(json_number_value(v) * 1000.0) : fallback;
}

void pipeline_set_parallel(json_t *obj, int64_t n)
{
	if (n > 0)
		json_object_set_new(obj, "ParallelismConfiguration",
				    json_pack("{s:I}", "MaxParallelExecutionSteps", (json_int_t)n));
}

int64_t pipeline_get_parallel(const json_t *in, int64_t fallback)
{
	return json_get_int(json_get(in, "ParallelismConfiguration"), "MaxParallelExecutionSteps", fallback);
}

struct str pipeline_text_cut(struct str text, size_t max)
{
	size_t n = max;
	if (text.len <= max)
		return text;
	while (n > 0 && ((unsigned char)text.ptr[n] & 0xC0) == 0x80)
		n--;
	return str_head(text, n);
}

const char *pipeline_caller(struct call *c)
{
	if (!c->who || !c->who->arn)
		return "{}";
	CLEANUP_JSON json_t *who = json_object();
	json_t *identity = json_object();
	json_set_text(identity, "Arn", c->who->arn);
	json_set_text(identity, "PrincipalId", c->who->user_id);
	json_object_set_new(who, "IamIdentity", identity);
	return json_text(c->arena, who).ptr;
}

void pipeline_set_parsed(json_t *obj, const char *key, const char *text)
{
	json_t *v = text ? json_parse(str_from(text), NULL) : NULL;
	if (v)
		json_object_set_new(obj, key, v);
}

/* ---- request tokens ---- */

static const char *request_digest(struct arena *a, const json_t *in)
{
	CLEANUP_JSON json_t *copy = json_copy((json_t *)in);
	json_object_del(copy, "ClientRequestToken");
	CLEANUP_FREE char *text = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
	return pipeline_sha256(a, str_from(text));
}

int pipeline_token_find(struct turn *t, const char *operation, const json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *token = json_get_text(in, "ClientRequestToken");
	if (!token)
		return 0;
	int rc = db_row(turn_db(t), &rows, err,
			"SELECT digest, answer FROM pipeline_token WHERE operation=? AND token=? AND created_ms>?",
			"ssi", operation, token, turn_now_ms(t) - TOKEN_DAY_MS);
	if (rc <= 0)
		return rc;
	if (!str_eqz(rows_str(&rows, 0), request_digest(turn_arena(t), in)))
		return error_aws(err, "ValidationException",
				 "The ClientRequestToken was already used for a %s request with different parameters.",
				 operation);
	*out = json_parse(rows_str(&rows, 1), err);
	return *out ? 1 : -1;
}

int pipeline_token_save(struct turn *t, const char *operation, const json_t *in, const json_t *answer,
			struct error *err)
{
	const char *token = json_get_text(in, "ClientRequestToken");
	struct arena *a = turn_arena(t);
	int64_t now = turn_now_ms(t);
	if (!token)
		return 0;
	if (db_exec(turn_db(t), err, "DELETE FROM pipeline_token WHERE created_ms<=?", "i", now - TOKEN_DAY_MS) < 0)
		return -1;
	int rc = db_exec(
		turn_db(t), err,
		"INSERT INTO pipeline_token(operation, token, digest, answer, created_ms) VALUES(?, ?, ?, ?, ?)",
		"sssSi", operation, token, request_digest(a, in), json_text(a, answer), now);
	return rc < 0 ? -1 : 0;
}
