/* codec_query.c - the AWS query protocol: form parameters in, XML out.
 *
 * DESIGN: the parameters ("Tags.member.1.Key=x") become a tree of JSON objects, one level a dot, with the text of a
 * parameter under the key ""; the tree is then mapped along the input shape: lists under `member` (or the element's own
 * name, or nothing when flattened) by number, maps under `entry` by number with `key` and `value`. Numbers only give
 * the order. Unknown parameters are ignored, as AWS does. Output by codec_xml.c inside <OpResponse><OpResult>. */
#include <stdlib.h>

#include "base/json.h"
#include "wire/codec.h"
#include "wire/uri.h"
#include "wire/wire.h"

enum { MAX_PARAMETERS = 20000 };

/* ---- the tree ---- */

static int bad_parameter(struct codec *c, struct str name)
{
	return error_aws(c->err, "MalformedInput", "The parameter `%.*s` is malformed", STR_ARG(str_head(name, 100)));
}

static int tree_add(struct codec *c, json_t *tree, struct str name, struct str value)
{
	struct str rest = name, part;
	int depth = 0;
	while (str_split(&rest, '.', &part)) {
		if (++depth > 2 * CODEC_MAX_DEPTH || part.len == 0)
			return bad_parameter(c, name);
		json_t *next = json_object_getn(tree, part.ptr, part.len);
		if (!next) {
			next = json_object();
			if (json_object_setn_new(tree, part.ptr, part.len, next) < 0)
				return bad_parameter(c, name);
		}
		tree = next;
	}
	json_t *text = json_stringn(value.ptr ? value.ptr : "", value.len);
	if (!text)
		return error_aws(c->err, "MalformedInput", "The value of `%.*s` is not valid UTF-8",
				 STR_ARG(str_head(name, 100)));
	json_object_set_new(tree, "", text);
	return 0;
}

static int tree_add_form(struct codec *c, json_t *tree, struct str form, int *count)
{
	struct str rest = form, piece;
	while (str_split(&rest, '&', &piece)) {
		if (piece.len == 0)
			continue;
		if (++*count > MAX_PARAMETERS)
			return error_aws(c->err, "MalformedInput", "The request has more than %d parameters",
					 MAX_PARAMETERS);
		ptrdiff_t eq = str_find_char(piece, '=');
		struct str name = eq < 0 ? piece : str_head(piece, (size_t)eq);
		struct str value = eq < 0 ? STR("") : str_skip(piece, (size_t)eq + 1);
		if (tree_add(c, tree, uri_decoded(c->arena, name, true), uri_decoded(c->arena, value, true)) < 0)
			return -1;
	}
	return 0;
}

static int tree_new(struct codec *c, const struct codec_request *rq, json_t **out)
{
	CLEANUP_JSON json_t *tree = json_object();
	int count = 0;
	for (size_t i = 0; i < rq->nquery; i++)
		if (tree_add(c, tree, rq->query[i].name, rq->query[i].value) < 0)
			return -1;
	if (tree_add_form(c, tree, rq->body, &count) < 0)
		return -1;
	*out = json_incref(tree);
	return 0;
}

static struct str leaf(const json_t *node)
{
	return json_get_str(node, "");
}

/* ---- the tree along the shapes ---- */

static json_t *value_from(struct codec *c, const struct model_member *m, const json_t *node, int depth);

struct numbered {
	int64_t number;
	json_t *node;
};

static int by_number(const void *a, const void *b)
{
	const struct numbered *x = a, *y = b;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* The children that are numbers, in order; the count. */
static size_t numbered_children(struct codec *c, const json_t *node, struct numbered **out)
{
	struct numbered *list = ARENA_ARRAY(c->arena, struct numbered, json_object_size(node) + 1);
	const char *key;
	json_t *child;
	size_t n = 0;
	json_object_foreach ((json_t *)node, key, child) {
		int64_t number;
		if (json_is_object(child) && str_to_i64(str_from(key), &number) && number >= 0)
			list[n++] = (struct numbered){ number, child };
	}
	qsort(list, n, sizeof(*list), by_number);
	*out = list;
	return n;
}

static json_t *list_from(struct codec *c, const struct model_shape *sh, bool flat, const json_t *node, int depth)
{
	const struct model_member *m = model_shape_members(c->s, sh);
	const json_t *at = flat ? node : json_object_get(node, model_member_wire(c->s, m));
	struct numbered *children;
	size_t n = at ? numbered_children(c, at, &children) : 0;
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++) {
		json_t *v = value_from(c, m, children[i].node, depth + 1);
		if (!v) {
			json_decref(list);
			return NULL;
		}
		json_array_append_new(list, v);
	}
	return list;
}

static json_t *map_from(struct codec *c, const struct model_shape *sh, bool flat, const json_t *node, int depth)
{
	const struct model_member *m = model_shape_members(c->s, sh);
	const json_t *at = flat ? node : json_object_get(node, "entry");
	struct numbered *children;
	size_t n = at ? numbered_children(c, at, &children) : 0;
	json_t *map = json_object();
	for (size_t i = 0; i < n; i++) {
		struct str key = leaf(json_object_get(children[i].node, model_member_wire(c->s, m)));
		const json_t *value = json_object_get(children[i].node, model_member_wire(c->s, m + 1));
		json_t *v = NULL;
		if (key.ptr && value)
			v = value_from(c, m + 1, value, depth + 1);
		else
			error_aws(c->err, "MalformedInput", "Entry %zu of a map has no key or no value", i + 1);
		if (!v || json_object_setn_new(map, key.ptr, key.len, v) < 0) {
			json_decref(map);
			return NULL;
		}
	}
	return map;
}

static json_t *structure_from(struct codec *c, const struct model_shape *sh, const json_t *node, int depth)
{
	const struct model_member *m = model_shape_members(c->s, sh);
	json_t *obj = json_object();
	for (size_t i = 0; i < sh->count; i++) {
		const struct model_shape *type = model_member_shape(c->s, &m[i]);
		const char *name = model_member_wire(c->s, &m[i]);
		/* A flattened list is called by its element's name, when that has one. */
		if (type->type == MT_LIST && (m[i].flags & MM_FLATTENED) && model_shape_members(c->s, type)->wire)
			name = model_text(c->s, model_shape_members(c->s, type)->wire);
		const json_t *child = json_object_get(node, name);
		if (!json_is_object(child))
			continue;
		json_t *v = value_from(c, &m[i], child, depth + 1);
		if (!v) {
			json_decref(obj);
			return NULL;
		}
		json_object_set_new(obj, model_text(c->s, m[i].name), v);
	}
	return obj;
}

static json_t *value_from(struct codec *c, const struct model_member *m, const json_t *node, int depth)
{
	const struct model_shape *sh = model_member_shape(c->s, m);
	bool flat = m->flags & MM_FLATTENED;
	if (depth > CODEC_MAX_DEPTH) {
		codec_depth_error(c->err);
		return NULL;
	}
	switch (sh->type) {
	case MT_STRUCTURE:
		return structure_from(c, sh, node, depth);
	case MT_LIST:
		return list_from(c, sh, flat, node, depth);
	case MT_MAP:
		return map_from(c, sh, flat, node, depth);
	}
	if (!leaf(node).ptr) {
		error_aws(c->err, "MalformedInput", "The parameter `%s` is a single value", model_member_wire(c->s, m));
		return NULL;
	}
	return codec_from_text(c, sh, model_member_wire(c->s, m), leaf(node));
}

int codec_query_decode(struct codec *c, const struct codec_request *rq, const struct model_op **op, json_t **in)
{
	CLEANUP_JSON json_t *tree = NULL;
	if (tree_new(c, rq, &tree) < 0)
		return -1;
	struct str action = leaf(json_object_get(tree, "Action")), version = leaf(json_object_get(tree, "Version"));
	if (!action.ptr)
		return error_aws(c->err, "MissingAction", "The request must contain the parameter Action");
	*op = model_op_find(c->s, action);
	if (!*op)
		return error_aws(c->err, "InvalidAction", "Could not find operation %.*s for version %.*s",
				 STR_ARG(str_head(action, 100)),
				 STR_ARG(version.ptr ? str_head(version, 40) : STR("NO_VERSION_SPECIFIED")));
	const struct model_shape *sh = model_op_input(c->s, *op);
	*in = sh ? structure_from(c, sh, tree, 0) : json_object();
	return *in ? 0 : -1;
}

/* ---- out ---- */

int codec_query_encode(struct codec *c, const struct model_op *op, const json_t *out, const char *request_id,
		       struct codec_response *rs)
{
	const struct model_shape *sh = model_op_output(c->s, op);
	const char *name = model_op_name(op), *wrapper = model_text(c->s, op->result_wrapper);
	CLEANUP_BUF struct buf b = BUF_INIT;
	buf_printf(&b, "<%sResponse xmlns=\"%s\">\n", name, model_text(c->s, c->s->xml_namespace));
	if (sh && *wrapper) {
		xml_open(&b, wrapper);
		if (out && codec_xml_members(c, sh, out, &b, 0) < 0)
			return -1;
		xml_close(&b, wrapper);
	} else if (sh && out && codec_xml_members(c, sh, out, &b, 0) < 0) {
		return -1;
	}
	buf_addz(&b, "<ResponseMetadata>");
	xml_text(&b, "RequestId", str_from(request_id));
	buf_printf(&b, "</ResponseMetadata></%sResponse>\n", name);
	rs->content_type = "text/xml";
	codec_set_body(c->arena, rs, &b);
	return 0;
}

void codec_query_error(struct arena *a, const struct model_service *s, const char *code, const char *message,
		       bool server, const char *request_id, struct codec_response *rs)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	buf_printf(&b, "<ErrorResponse xmlns=\"%s\">\n<Error>", model_text(s, s->xml_namespace));
	xml_text(&b, "Type", server ? STR("Receiver") : STR("Sender"));
	xml_text(&b, "Code", str_from(code));
	xml_text(&b, "Message", str_from(message));
	buf_addz(&b, "</Error>");
	xml_text(&b, "RequestId", str_from(request_id));
	buf_addz(&b, "</ErrorResponse>\n");
	rs->content_type = "text/xml";
	codec_set_body(a, rs, &b);
}
