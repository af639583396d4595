/* codec_tool.c - runs the codecs for the tests in codec_botocore_test.py.
 *
 * DESIGN: one JSON object a line on stdin, one on stdout.
 *   {"do":"decode","service":s,"method":m,"path":p,"query":[[n,v]..],"headers":[[n,v]..],"body":base64}
 *     -> {"op":name,"in":{..},"invalid":text?} or {"error":code,"message":text}
 *   {"do":"encode","service":s,"op":name,"out":{..}} -> {"status":n,"headers":[[n,v]..],"body":base64} or
 * {"fault":text}
 *   {"do":"error","service":s,"code":c,"message":t,"status":n?} -> as encode
 *   {"do":"shape","service":s,"shape":name,"value":{..},"skip":[..]?} -> {} or {"error":code,"message":text}
 *   {"do":"tables","service":s} -> {"ops":[..],"shapes":{name:[member..]}}
 *   {"do":"patterns"} -> {"all":n,"unknown":[..]} */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/json.h"
#include "wire/codec.h"

static struct codec_pair *pairs(struct arena *a, const json_t *list, size_t *n)
{
	*n = json_array_size(list);
	struct codec_pair *p = ARENA_ARRAY(a, struct codec_pair, *n + 1);
	for (size_t i = 0; i < *n; i++) {
		const json_t *pair = json_array_get(list, i);
		p[i].name = json_str(json_array_get(pair, 0));
		p[i].value = json_str(json_array_get(pair, 1));
	}
	return p;
}

static struct str bytes_of(struct arena *a, struct str base64)
{
	char *raw = arena_alloc(a, base64.len + 4);
	ptrdiff_t n = base64_decode(raw, base64);
	return str_of(raw, n < 0 ? 0 : (size_t)n);
}

static json_t *error_json(const struct error *e)
{
	return json_pack("{s:s, s:s, s:i}", "error", e->code, "message", error_text(e), "status", e->status);
}

static json_t *do_decode(struct arena *a, const struct model_service *s, const json_t *line)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct codec_request rq = { .method = json_get_str(line, "method"), .path = json_get_str(line, "path") };
	rq.query = pairs(a, json_get(line, "query"), &rq.nquery);
	rq.headers = pairs(a, json_get(line, "headers"), &rq.nheaders);
	rq.body = bytes_of(a, json_get_str(line, "body"));
	s = model_variant(s, &rq);
	const struct model_op *op = NULL;
	json_t *in = NULL;
	if (codec_decode(a, s, &rq, &op, &in, &err) < 0)
		return error_json(&err);
	json_t *answer = json_pack("{s:s, s:O}", "op", model_op_name(op), "in", in);
	if (model_validate(a, s, op, in, &err) < 0)
		json_set_text(answer, "invalid", error_text(&err));
	json_decref(in);
	return answer;
}

static json_t *response_json(const struct codec_response *rs)
{
	json_t *headers = json_array();
	if (rs->content_type)
		json_array_append_new(headers, json_pack("[s, s]", "content-type", rs->content_type));
	for (size_t i = 0; i < rs->nheaders; i++)
		json_array_append_new(headers, json_pack("[s%, s%]", rs->headers[i].name.ptr, rs->headers[i].name.len,
							 rs->headers[i].value.ptr, rs->headers[i].value.len));
	char *text = mem_alloc(rs->body.len * 4 / 3 + 8);
	base64_encode(text, rs->body.ptr, rs->body.len);
	json_t *answer = json_pack("{s:i, s:o, s:s}", "status", rs->status, "headers", headers, "body", text);
	free(text);
	return answer;
}

static json_t *do_encode(struct arena *a, const struct model_service *s, const json_t *line)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct codec_response rs;
	const struct model_op *op = model_op_find(s, json_get_str(line, "op"));
	if (!op)
		return json_pack("{s:s}", "fault", "no such operation");
	if (codec_encode(a, s, op, json_get(line, "out"), "req-1", &rs, &err) < 0)
		return json_pack("{s:s}", "fault", error_text(&err));
	return response_json(&rs);
}

static json_t *do_error(struct arena *a, const struct model_service *s, const json_t *line)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct codec_response rs;
	error_http(&err, (int)json_get_int(line, "status", 0), json_get_text(line, "code"), "%s",
		   json_get_text(line, "message"));
	codec_error(a, s, &err, "req-1", &rs);
	return response_json(&rs);
}

static json_t *do_shape(struct arena *a, const struct model_service *s, const json_t *line)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *skip[16] = { NULL };
	for (size_t i = 0; i < json_array_size(json_get(line, "skip")) && i < 15; i++)
		skip[i] = json_string_value(json_array_get(json_get(line, "skip"), i));
	if (model_validate_shape(a, s, json_get_text(line, "shape"), json_get(line, "value"), skip, &err) < 0)
		return error_json(&err);
	return json_object();
}

static json_t *do_tables(const struct model_service *s)
{
	json_t *ops = json_array(), *shapes = json_object();
	for (size_t i = 0; i < model_op_count(s); i++)
		json_array_append_new(ops, json_string(model_op_name(model_op_at(s, i))));
	for (size_t i = 0; i < s->shape_count; i++) {
		const struct model_shape *sh = &s->shapes[i];
		json_t *members = json_array();
		for (size_t k = 0; sh->type == MT_STRUCTURE && k < sh->count; k++)
			json_array_append_new(members, json_string(model_text(s, model_shape_members(s, sh)[k].name)));
		json_object_set_new(shapes, model_text(s, sh->name), members);
	}
	return json_pack("{s:o, s:o}", "ops", ops, "shapes", shapes);
}

static json_t *do_patterns(void)
{
	json_t *unknown = json_array();
	int all = 0;
	for (size_t k = 0; k < model_count(); k++) {
		const struct model_service *s = model_at(k);
		for (size_t i = 0; i < s->shape_count; i++) {
			const char *pattern = model_text(s, s->shapes[i].pattern);
			if (!*pattern)
				continue;
			all++;
			if (!model_pattern_known(pattern))
				json_array_append_new(unknown, json_string(pattern));
		}
	}
	return json_pack("{s:i, s:o}", "all", all, "unknown", unknown);
}

static json_t *answer_line(struct arena *a, const json_t *line)
{
	const char *what = json_get_text(line, "do");
	if (what && strcmp(what, "patterns") == 0)
		return do_patterns();
	const struct model_service *s = model_find(json_get_text(line, "service"));
	if (!s)
		return json_pack("{s:s}", "fault", "no such service");
	if (strcmp(what, "tables") == 0)
		return do_tables(s);
	if (strcmp(what, "decode") == 0)
		return do_decode(a, s, line);
	if (strcmp(what, "encode") == 0)
		return do_encode(a, s, line);
	if (strcmp(what, "error") == 0)
		return do_error(a, s, line);
	return do_shape(a, s, line);
}

int main(void)
{
	char *text = NULL;
	size_t cap = 0;
	ssize_t n;
	while ((n = getline(&text, &cap, stdin)) > 0) {
		struct arena a = ARENA_INIT;
		json_t *line = json_parse(str_of(text, (size_t)n), NULL);
		json_t *answer = answer_line(&a, line);
		char *z = json_text_dup(answer);
		puts(z);
		fflush(stdout);
		free(z);
		json_decref(answer);
		json_decref(line);
		arena_release(&a);
	}
	free(text);
	return 0;
}
