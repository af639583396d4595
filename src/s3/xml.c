/* xml.c - XML documents that clients send, as a small tree.
 *
 * DESIGN: expat parses; names lose their namespace prefix; text is collected per element. Document type declarations
 * are refused (no entities of the client's own), depth and node count are bounded, memory is the request's arena. */
#include "s3/room.h"

#include <expat.h>

enum { DEPTH_MAX = 12, NODES_MAX = 200000 };

struct reader {
	struct arena *a;
	XML_Parser parser;
	struct xml_node *root, *stack[DEPTH_MAX];
	int depth, nodes;
	bool refused;
	struct buf text;
};

static void refuse(struct reader *r)
{
	r->refused = true;
	XML_StopParser(r->parser, XML_FALSE);
}

static void on_start(void *ctx, const char *name, const char **attributes)
{
	struct reader *r = ctx;
	if (r->depth == DEPTH_MAX || ++r->nodes > NODES_MAX) {
		refuse(r);
		return;
	}
	const char *colon = strrchr(name, ':');
	struct xml_node *n = ARENA_NEW(r->a, struct xml_node);
	n->name = arena_str(r->a, str_from(colon ? colon + 1 : name));
	n->text = STR("");
	if (r->depth == 0) {
		r->root = n;
	} else {
		struct xml_node *parent = r->stack[r->depth - 1];
		*(parent->last ? &parent->last->next : &parent->first) = n;
		parent->last = n;
	}
	r->stack[r->depth++] = n;
	buf_clear(&r->text);
}

static void on_end(void *ctx, const char *name)
{
	struct reader *r = ctx;
	struct xml_node *n = r->stack[--r->depth];
	if (!n->first)
		n->text = arena_str(r->a, buf_str(&r->text));
	buf_clear(&r->text);
}

static void on_text(void *ctx, const char *text, int n)
{
	struct reader *r = ctx;
	buf_add(&r->text, text, (size_t)n);
}

static void on_doctype(void *ctx, const char *name, const char *sysid, const char *pubid, int internal)
{
	refuse(ctx);
}

int s3_xml_parse(struct arena *a, struct str text, struct xml_node **root, struct error *err)
{
	struct reader r = { .a = a, .parser = XML_ParserCreate(NULL) };
	if (!r.parser)
		BUG("out of memory");
	XML_SetUserData(r.parser, &r);
	XML_SetElementHandler(r.parser, on_start, on_end);
	XML_SetCharacterDataHandler(r.parser, on_text);
	XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
	const bool good = XML_Parse(r.parser, text.ptr, (int)text.len, 1) == XML_STATUS_OK && !r.refused;
	XML_ParserFree(r.parser);
	buf_release(&r.text);
	if (!good || !r.root)
		return s3_error(err, "MalformedXML");
	*root = r.root;
	return 0;
}

const struct xml_node *s3_xml_child(const struct xml_node *n, const char *name)
{
	for (const struct xml_node *c = n ? n->first : NULL; c; c = c->next)
		if (str_eqz(c->name, name))
			return c;
	return NULL;
}

struct str s3_xml_child_text(const struct xml_node *n, const char *name)
{
	const struct xml_node *c = s3_xml_child(n, name);
	return c ? c->text : STR_NULL;
}
