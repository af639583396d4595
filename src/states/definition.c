/* definition.c - a definition's text becomes a machine; see asl.h.
 *
 * DESIGN: read, check, check the graph, then build: each step runs only when the one before reported nothing. The
 * machine's tree is the text's own, and everything else points into it. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/json.h"
#include "states/definition_impl.h"

const struct asl_calls *asl_calls;

/* ---- building ---- */

static struct asl_states *build_scope(struct arena *a, const json_t *scope, bool jsonata_machine,
				      struct asl_states *parent, struct asl_state *owner);

static void build_state(struct arena *a, struct asl_state *s, json_t *doc, bool jsonata_machine,
			struct asl_states *scope)
{
	const char *field;
	s->doc = doc;
	check_type_of(doc, &s->type);
	s->jsonata = definition_is_jsonata(doc, jsonata_machine);
	s->next = json_get_text(doc, "Next");
	s->end = json_is_true(json_object_get(doc, "End")) || s->type == ASL_SUCCEED || s->type == ASL_FAIL;
	const json_t *branches = json_object_get(doc, "Branches"), *processor = definition_processor(doc, &field);
	if (s->type == ASL_PARALLEL) {
		s->nbranches = json_array_size(branches);
		s->branches = ARENA_ARRAY(a, struct asl_states *, s->nbranches);
		for (size_t i = 0; i < s->nbranches; i++)
			s->branches[i] = build_scope(a, json_array_get(branches, i), jsonata_machine, scope, s);
	} else if (s->type == ASL_MAP && processor) {
		s->nbranches = 1;
		s->branches = ARENA_NEW(a, struct asl_states *);
		s->branches[0] = build_scope(a, processor, jsonata_machine, scope, s);
		s->distributed =
			str_eqz(json_get_str(json_object_get(processor, "ProcessorConfig"), "Mode"), "DISTRIBUTED");
	}
}

static void build_index(struct arena *a, struct asl_states *scope)
{
	scope->nslots = 4;
	while (scope->nslots < scope->count * 2)
		scope->nslots *= 2;
	scope->slots = ARENA_ARRAY(a, uint32_t, scope->nslots);
	for (size_t i = 0; i < scope->count; i++) {
		size_t at = hash_bytes(scope->states[i].name, strlen(scope->states[i].name)) & (scope->nslots - 1);
		while (scope->slots[at])
			at = (at + 1) & (scope->nslots - 1);
		scope->slots[at] = (uint32_t)i + 1;
	}
	for (size_t i = 0; i < scope->count; i++)
		scope->states[i].next_state = asl_find(scope, scope->states[i].next);
}

static struct asl_states *build_scope(struct arena *a, const json_t *scope, bool jsonata_machine,
				      struct asl_states *parent, struct asl_state *owner)
{
	struct asl_states *out = ARENA_NEW(a, struct asl_states);
	json_t *states = json_object_get(scope, "States"), *doc;
	const char *name;
	size_t i = 0;
	out->start_at = json_get_text(scope, "StartAt");
	out->count = json_object_size(states);
	out->states = ARENA_ARRAY(a, struct asl_state, out->count);
	out->parent = parent;
	out->owner = owner;
	json_object_foreach (states, name, doc) {
		out->states[i].name = name;
		build_state(a, &out->states[i++], doc, jsonata_machine, out);
	}
	build_index(a, out);
	return out;
}

static struct asl_machine *build(json_t *doc)
{
	struct asl_machine *m = mem_calloc(1, sizeof(*m));
	m->doc = doc;
	m->comment = json_get_text(doc, "Comment");
	m->timeout_seconds = json_get_int(doc, "TimeoutSeconds", 0);
	m->top = build_scope(&m->arena, doc, str_eqz(json_get_str(doc, "QueryLanguage"), "JSONata"), NULL, NULL);
	m->paths = asl_paths_new();
	return m;
}

void asl_machine_free(struct asl_machine *m)
{
	if (!m)
		return;
	asl_paths_free(m->paths);
	arena_release(&m->arena);
	json_decref(m->doc);
	free(m);
}

struct asl_state *asl_find(const struct asl_states *scope, const char *name)
{
	if (!scope || !name)
		return NULL;
	for (size_t at = hash_bytes(name, strlen(name));; at++) {
		uint32_t slot = scope->slots[at & (scope->nslots - 1)];
		if (slot == 0)
			return NULL;
		if (strcmp(scope->states[slot - 1].name, name) == 0)
			return &scope->states[slot - 1];
	}
}

/* ---- checking ---- */

/* A doubled state name has a code of its own; "/States" or "…/States" is the object it is doubled in. */
static void report_json(struct check *c, const struct asl_json_error *e)
{
	if (e->duplicate && str_ends(str_from(e->duplicate_in), STR("/States")))
		check_report(c, "DUPLICATE_STATE_NAME", check_at(c, e->duplicate_in, e->duplicate),
			     "Duplicate State name: %s", e->duplicate);
	else
		check_report(c, "INVALID_JSON_DESCRIPTION", e->location, "%s\n at %s", e->message, e->location);
}

static void check_machine(struct check *c, const json_t *doc)
{
	static const char *const known[] = { "Comment", "QueryLanguage", "StartAt", "TimeoutSeconds",
					     "Version", "States",        NULL };
	static const char *const languages[] = { "JSONPath", "JSONata", NULL }, *const versions[] = { "1.0", NULL };
	struct state_check numbers = { .c = c };
	check_known(c, doc, "/", known);
	check_enum(c, json_object_get(doc, "QueryLanguage"), "/QueryLanguage", languages);
	check_enum(c, json_object_get(doc, "Version"), "/Version", versions);
	check_number(&numbers, json_object_get(doc, "TimeoutSeconds"), "/TimeoutSeconds", true, 0, MAX_SECONDS);
	c->jsonata_machine = str_eqz(json_get_str(doc, "QueryLanguage"), "JSONata");
	check_scope(c, doc, "/");
	if (c->out->count == 0 && !c->single)
		check_graph(c, doc, "/");
}

static json_t *read_definition(struct check *c, struct str definition)
{
	struct asl_json_error error;
	if (definition.len > MAX_DEFINITION) {
		check_report(c, SCHEMA, NULL, "The definition exceeds %d bytes", MAX_DEFINITION);
		return NULL;
	}
	json_t *doc = asl_read_json(c->arena, definition, true, &error);
	if (!doc) {
		report_json(c, &error);
	} else if (!json_is_object(doc)) {
		check_report(c, SCHEMA, NULL, "Definition must be a valid JSON object");
		json_decref(doc);
		doc = NULL;
	}
	return doc;
}

static int finish(struct check *c, json_t *doc, struct asl_machine **out)
{
	bool good = doc && c->out->count == 0;
	if (doc && c->out->warnings)
		check_warnings(c, doc);
	map_release(&c->names);
	map_release(&c->labels);
	if (good)
		*out = build(doc);
	else
		json_decref(doc);
	return good ? 0 : -1;
}

int asl_parse(struct str definition, bool express, struct asl_diagnostics *d, struct asl_machine **out)
{
	struct check c = { .out = d, .arena = d->arena, .express = express };
	*out = NULL;
	d->definition = definition;
	json_t *doc = read_definition(&c, definition);
	if (doc)
		check_machine(&c, doc);
	return finish(&c, doc, out);
}

int asl_parse_state(struct str definition, const char *name, struct asl_diagnostics *d, struct asl_machine **out)
{
	struct check c = { .out = d, .arena = d->arena, .single = true };
	*out = NULL;
	d->definition = definition;
	json_t *state = read_definition(&c, definition);
	if (!state)
		return finish(&c, NULL, out);
	json_t *doc = json_pack("{s:s, s:{s:o}}", "StartAt", name, "States", name, state);
	check_machine(&c, doc);
	/* The scopes within the state are whole. */
	struct asl_state one = { 0 };
	if (d->count == 0 && check_type_of(state, &one.type)) {
		const char *field, *at = check_at(&c, "/States", name);
		json_t *branch;
		size_t i;
		json_array_foreach (json_object_get(state, "Branches"), i, branch)
			check_graph(&c, branch, check_at_index(&c, at, "Branches", i));
		const json_t *processor = definition_processor(state, &field);
		if (processor)
			check_graph(&c, processor, check_at(&c, at, field));
	}
	return finish(&c, doc, out);
}

/* ---- texts ---- */

/* Python's repr() of a text: double quotes when it has single ones and no double ones, backslashes doubled. */
static const char *repr(struct arena *a, const char *text)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	char quote = strchr(text, '\'') && !strchr(text, '"') ? '"' : '\'';
	buf_add_char(&b, quote);
	for (const char *p = text; *p; p++) {
		if (*p == '\\' || *p == quote)
			buf_add_char(&b, '\\');
		buf_add_char(&b, *p);
	}
	buf_add_char(&b, quote);
	return arena_strdup(a, buf_str(&b));
}

const char *asl_invalid_definition(struct arena *a, const struct asl_diagnostics *d)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	for (size_t i = 0; i < d->count; i++) {
		const struct asl_diagnostic *one = &d->items[i];
		if (strcmp(one->severity, "ERROR") != 0)
			continue;
		/* A bad label has a wording of its own. */
		if (strcmp(one->code, "INVALID_LABEL_NAME") == 0)
			return arena_printf(a, "Error=ValueError Args=[%s] in definition '%.*s'.",
					    repr(a, one->message), STR_ARG(d->definition));
		buf_printf(&b, "%s%s: %s at %s", b.len > 0 ? ", " : "", one->code, one->message,
			   one->location ? one->location : "null");
	}
	return arena_printf(a, "Invalid State Machine Definition: '%.*s'", STR_ARG(buf_str(&b)));
}
