/* codec_xml.c - XML bodies: output for query and rest-xml, input for rest-xml.
 *
 * DESIGN: input is read by expat into a small tree in the request's arena (no DOCTYPE, so no entities; depth and node
 * count limited), then mapped along the shape; unknown elements and name-space prefixes are ignored. Output is written
 * in one pass along the shape: members in the model's order, lists as <Name><member>..</member></Name> or repeated when
 * flattened, maps as <entry><key/><value/></entry>. Attributes are written for the one place AWS has them (S3's grantee
 * type). */
#include <expat.h>

#include "base/json.h"
#include "wire/codec.h"
#include "wire/wire.h"

enum { MAX_NODES = 200000 };

/* ---- out ---- */

static int scalar_element(struct codec *c, const struct model_shape *sh, unsigned member_flags, const char *name,
			  const json_t *value, struct buf *b)
{
	if (sh->type == MT_STRING && json_is_string(value)) {
		xml_text(b, name, json_str(value));
		return 0;
	}
	CLEANUP_BUF struct buf t = BUF_INIT;
	if (codec_to_text(c, sh, member_flags, MM_TIME_ISO, value, &t) < 0)
		return error_wrap(c->err, "%s", name);
	xml_text(b, name, buf_str(&t));
	return 0;
}

static int list_elements(struct codec *c, const struct model_shape *sh, bool flat, const char *name, const json_t *list,
			 struct buf *b, int depth)
{
	const struct model_member *m = model_shape_members(c->s, sh);
	const char *element = flat ? (m->wire ? model_text(c->s, m->wire) : name) : model_member_wire(c->s, m);
	size_t i;
	json_t *value;
	if (!flat)
		xml_open(b, name);
	json_array_foreach (list, i, value) {
		if (json_is_null(value))
			continue;
		if (codec_xml_value(c, m, element, value, b, depth + 1) < 0)
			return error_wrap(c->err, "element %zu", i);
	}
	if (!flat)
		xml_close(b, name);
	return 0;
}

static int map_elements(struct codec *c, const struct model_shape *sh, bool flat, const char *name, const json_t *map,
			struct buf *b, int depth)
{
	const struct model_member *m = model_shape_members(c->s, sh);
	const char *entry = flat ? name : "entry", *key;
	json_t *value;
	if (!flat)
		xml_open(b, name);
	json_object_foreach ((json_t *)map, key, value) {
		if (json_is_null(value))
			continue;
		xml_open(b, entry);
		xml_text(b, model_member_wire(c->s, m), str_from(key));
		if (codec_xml_value(c, m + 1, model_member_wire(c->s, m + 1), value, b, depth + 1) < 0)
			return error_wrap(c->err, "key %s", key);
		xml_close(b, entry);
	}
	if (!flat)
		xml_close(b, name);
	return 0;
}

/* <Grantee xmlns:xsi="..." xsi:type="CanonicalUser"> */
static void open_structure(struct codec *c, const struct model_shape *sh, const char *name, const json_t *obj,
			   struct buf *b)
{
	const struct model_member *m = model_shape_members(c->s, sh);
	buf_add_char(b, '<');
	buf_addz(b, name);
	for (size_t i = 0; i < sh->count; i++) {
		struct str value = json_get_str(obj, model_text(c->s, m[i].name));
		const char *wire = model_member_wire(c->s, &m[i]);
		if (!(m[i].flags & MM_ATTRIBUTE) || !value.ptr)
			continue;
		if (strncmp(wire, "xsi:", 4) == 0)
			buf_addz(b, " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"");
		buf_printf(b, " %s=\"", wire);
		xml_escape(b, value);
		buf_add_char(b, '"');
	}
	buf_add_char(b, '>');
}

int codec_xml_value(struct codec *c, const struct model_member *m, const char *name, const json_t *value, struct buf *b,
		    int depth)
{
	const struct model_shape *sh = model_member_shape(c->s, m);
	bool flat = m->flags & MM_FLATTENED;
	if (depth > CODEC_MAX_DEPTH)
		return error_set(c->err, "nested too deep");
	if (sh->type > MT_MAP)
		return scalar_element(c, sh, m->flags, name, value, b);
	if (sh->type == MT_LIST ? !json_is_array(value) : !json_is_object(value))
		return error_set(c->err, "%s: the value is no %s", name, model_text(c->s, sh->name));
	if (sh->type == MT_LIST)
		return list_elements(c, sh, flat, name, value, b, depth);
	if (sh->type == MT_MAP)
		return map_elements(c, sh, flat, name, value, b, depth);
	open_structure(c, sh, name, value, b);
	if (codec_xml_members(c, sh, value, b, depth + 1) < 0)
		return error_wrap(c->err, "%s", name);
	xml_close(b, name);
	return 0;
}

int codec_xml_members(struct codec *c, const struct model_shape *sh, const json_t *obj, struct buf *b, int depth)
{
	const struct model_member *m = model_shape_members(c->s, sh);
	for (size_t i = 0; i < sh->count; i++) {
		const json_t *value = json_get(obj, model_text(c->s, m[i].name));
		if (!value || m[i].location != ML_BODY || (m[i].flags & MM_ATTRIBUTE))
			continue;
		if (codec_xml_value(c, &m[i], model_member_wire(c->s, &m[i]), value, b, depth) < 0)
			return -1;
	}
	return 0;
}

void codec_xml_error(struct arena *a, const char *code, const char *message, const char *request_id,
		     struct codec_response *rs)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	buf_addz(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
	xml_text(&b, "Code", str_from(code));
	xml_text(&b, "Message", str_from(message));
	xml_text(&b, "RequestId", str_from(request_id));
	buf_addz(&b, "</Error>");
	rs->content_type = "application/xml";
	codec_set_body(a, rs, &b);
}

/* ---- in: the tree ---- */

struct node {
	struct str name; /* without prefix */
	struct buf text;
	struct node *parent, *first, *last, *next;
	const char **attributes; /* name, value, ..., NULL */
};

struct reader {
	struct arena *arena;
	XML_Parser parser;
	struct node *root, *at;
	int depth, nodes;
	const char *fault;
};

static void stop(struct reader *r, const char *why)
{
	if (!r->fault)
		r->fault = why;
	XML_StopParser(r->parser, XML_FALSE);
}

static void on_doctype(void *ctx, const XML_Char *name, const XML_Char *sysid, const XML_Char *pubid, int internal)
{
	stop(ctx, "a document type is not allowed");
}

static void release_text(void *text)
{
	buf_release(text);
}

static void on_start(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
	struct reader *r = ctx;
	if (++r->depth > CODEC_MAX_DEPTH || ++r->nodes > MAX_NODES) {
		stop(r, "the document is too deep or too large");
		return;
	}
	struct node *n = ARENA_NEW(r->arena, struct node);
	const char *colon = strchr(name, ':');
	n->name = arena_str(r->arena, str_from(colon ? colon + 1 : name));
	n->parent = r->at;
	arena_defer(r->arena, release_text, &n->text);
	size_t count = 0;
	while (attributes[count])
		count++;
	n->attributes = ARENA_ARRAY(r->arena, const char *, count + 1);
	for (size_t i = 0; i < count; i++)
		n->attributes[i] = arena_strdup(r->arena, str_from(attributes[i]));
	if (!r->at)
		r->root = n;
	else if (r->at->last)
		r->at->last->next = n;
	else
		r->at->first = n;
	if (r->at)
		r->at->last = n;
	r->at = n;
}

static void on_end(void *ctx, const XML_Char *name)
{
	struct reader *r = ctx;
	r->depth--;
	if (r->at)
		r->at = r->at->parent;
}

static void on_text(void *ctx, const XML_Char *text, int len)
{
	struct reader *r = ctx;
	if (r->at)
		buf_add(&r->at->text, text, (size_t)len);
}

static int parse(struct codec *c, struct str text, struct node **root)
{
	struct reader r = { .arena = c->arena, .parser = XML_ParserCreate("UTF-8") };
	if (!r.parser)
		BUG("out of memory");
	if (text.len > INT32_MAX / 2) {
		XML_ParserFree(r.parser);
		return error_aws(c->err, "MalformedXML", "The XML document is too large");
	}
	XML_SetUserData(r.parser, &r);
	XML_SetElementHandler(r.parser, on_start, on_end);
	XML_SetCharacterDataHandler(r.parser, on_text);
	XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
	enum XML_Status status = XML_Parse(r.parser, text.ptr ? text.ptr : "", (int)text.len, 1);
	int rc = 0;
	if (status != XML_STATUS_OK || r.fault)
		rc = error_aws(c->err, "MalformedXML", "The XML is not well formed: line %lu: %s",
			       (unsigned long)XML_GetCurrentLineNumber(r.parser),
			       r.fault ? r.fault : XML_ErrorString(XML_GetErrorCode(r.parser)));
	XML_ParserFree(r.parser);
	*root = r.root;
	return rc;
}

/* ---- in: the tree along the shapes ---- */

static json_t *structure_from(struct codec *c, const struct model_shape *sh, const struct node *n);

static json_t *value_from(struct codec *c, const struct model_member *m, const struct node *n);

/* One or more elements of a list: the children of n, or (flattened) n and its namesakes. */
static json_t *list_from(struct codec *c, const struct model_shape *sh, bool flat, const struct node *n)
{
	const struct model_member *m = model_shape_members(c->s, sh);
	json_t *list = json_array();
	struct str name = n->name;
	for (const struct node *e = flat ? n : n->first; e; e = e->next) {
		if (flat && !str_eq(e->name, name))
			continue;
		json_t *v = value_from(c, m, e);
		if (!v) {
			json_decref(list);
			return NULL;
		}
		json_array_append_new(list, v);
	}
	return list;
}

static int entry_into(struct codec *c, const struct model_member *m, const struct node *entry, json_t *map)
{
	const struct node *key = NULL, *value = NULL;
	for (const struct node *e = entry->first; e; e = e->next) {
		if (str_eqz(e->name, model_member_wire(c->s, m)))
			key = e;
		else if (str_eqz(e->name, model_member_wire(c->s, m + 1)))
			value = e;
	}
	if (!key || !value)
		return error_aws(c->err, "MalformedXML", "A map entry has no key or no value");
	json_t *v = value_from(c, m + 1, value);
	if (!v)
		return -1;
	struct str k = buf_str(&key->text);
	if (json_object_setn_new(map, k.ptr, k.len, v) < 0)
		return error_aws(c->err, "MalformedXML", "A map key is not valid");
	return 0;
}

static json_t *map_from(struct codec *c, const struct model_shape *sh, bool flat, const struct node *n)
{
	const struct model_member *m = model_shape_members(c->s, sh);
	json_t *map = json_object();
	struct str name = n->name;
	for (const struct node *e = flat ? n : n->first; e; e = e->next) {
		if (flat && !str_eq(e->name, name))
			continue;
		if (entry_into(c, m, e, map) < 0) {
			json_decref(map);
			return NULL;
		}
	}
	return map;
}

static json_t *value_from(struct codec *c, const struct model_member *m, const struct node *n)
{
	const struct model_shape *sh = model_member_shape(c->s, m);
	bool flat = m->flags & MM_FLATTENED;
	switch (sh->type) {
	case MT_STRUCTURE:
		return structure_from(c, sh, n);
	case MT_LIST:
		return list_from(c, sh, flat, n);
	case MT_MAP:
		return map_from(c, sh, flat, n);
	}
	struct str text = buf_str(&n->text);
	return codec_from_text(c, sh, model_member_wire(c->s, m), sh->type == MT_STRING ? text : str_trim(text));
}

/* The name under which a member's element appears. */
static const char *element_name(struct codec *c, const struct model_member *m)
{
	const struct model_shape *sh = model_member_shape(c->s, m);
	if (sh->type == MT_LIST && (m->flags & MM_FLATTENED) && model_shape_members(c->s, sh)->wire)
		return model_text(c->s, model_shape_members(c->s, sh)->wire);
	return model_member_wire(c->s, m);
}

static int attribute_into(struct codec *c, const struct model_member *m, const struct node *n, json_t *obj)
{
	for (size_t i = 0; n->attributes[i]; i += 2)
		if (strcmp(n->attributes[i], model_member_wire(c->s, m)) == 0)
			json_set_text(obj, model_text(c->s, m->name), n->attributes[i + 1]);
	return 0;
}

static int member_into(struct codec *c, const struct model_member *m, const struct node *n, json_t *obj)
{
	if (m->flags & MM_ATTRIBUTE)
		return attribute_into(c, m, n, obj);
	const char *name = element_name(c, m);
	for (const struct node *e = n->first; e; e = e->next) {
		if (!str_eqz(e->name, name))
			continue;
		json_t *v = value_from(c, m, e);
		if (!v)
			return -1;
		json_object_set_new(obj, model_text(c->s, m->name), v);
		return 0;
	}
	return 0;
}

static json_t *structure_from(struct codec *c, const struct model_shape *sh, const struct node *n)
{
	const struct model_member *m = model_shape_members(c->s, sh);
	json_t *obj = json_object();
	for (size_t i = 0; i < sh->count; i++) {
		if (m[i].location != ML_BODY || member_into(c, &m[i], n, obj) >= 0)
			continue;
		json_decref(obj);
		return NULL;
	}
	return obj;
}

/* S3's GetBucketLocation: the document is the only member itself. */
static const struct model_member *unwrapped(struct codec *c, const struct model_shape *sh, const struct node *root)
{
	const struct model_member *m = model_shape_members(c->s, sh);
	bool only = sh->count == 1 && m->location == ML_BODY && model_member_shape(c->s, m)->type > MT_MAP;
	return only && !root->first && str_eqz(root->name, model_member_wire(c->s, m)) ? m : NULL;
}

static json_t *document_from(struct codec *c, const struct model_shape *sh, const struct node *root)
{
	const struct model_member *m = unwrapped(c, sh, root);
	if (!m)
		return structure_from(c, sh, root);
	json_t *obj = json_object(), *v = root->text.len ? value_from(c, m, root) : NULL;
	if (v)
		json_object_set_new(obj, model_text(c->s, m->name), v);
	return obj;
}

int codec_xml_error_in(struct codec *c, struct str text, struct str *code, struct str *message)
{
	struct node *root = NULL;
	*code = *message = STR_NULL;
	if (parse(c, text, &root) < 0)
		return -1;
	for (const struct node *n = root->first; n; n = n->next) {
		if (str_eqz(n->name, "Code"))
			*code = arena_str(c->arena, buf_str(&n->text));
		else if (str_eqz(n->name, "Message"))
			*message = arena_str(c->arena, buf_str(&n->text));
	}
	return 0;
}

int codec_xml_in(struct codec *c, const struct model_shape *sh, struct str text, json_t **out)
{
	struct node *root = NULL;
	if (str_trim(text).len == 0) {
		*out = json_object();
		return 0;
	}
	if (parse(c, text, &root) < 0)
		return -1;
	*out = document_from(c, sh, root);
	return *out ? 0 : -1;
}
