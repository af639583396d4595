/* definition_graph.c - where states lead: missing targets, scopes without an end, states nobody leads to; see
 * definition_impl.h.
 *
 * DESIGN: run only on a definition whose members are right. A state is reachable when it starts its scope or another
 * one names it: the service looks no further. A scope without a terminal state is not searched for unreachable ones. */
#include "base/json.h"
#include "states/definition_impl.h"

struct graph {
	struct check *c;
	const json_t *states;
	struct map targeted; /* state names; values are not used */
};

static void lead(struct graph *g, const json_t *target, const char *from, const char *at)
{
	const char *name = json_string_value(target);
	if (!name)
		return;
	if (!json_object_get(g->states, name))
		check_report(g->c, "MISSING_TRANSITION_TARGET", at, "Missing 'Next' target: %s", name);
	else if (strcmp(name, from) != 0)
		map_set(&g->targeted, json_str(target), g);
}

static void lead_state(struct graph *g, const char *name, const json_t *state, const char *at)
{
	static const char *const lists[] = { "Choices", "Catch" };
	json_t *rule;
	size_t i;
	lead(g, json_object_get(state, "Next"), name, check_at(g->c, at, "Next"));
	for (int k = 0; k < 2; k++)
		json_array_foreach (json_object_get(state, lists[k]), i, rule)
			lead(g, json_object_get(rule, "Next"), name,
			     check_at(g->c, check_at_index(g->c, at, lists[k], i), "Next"));
	lead(g, json_object_get(state, "Default"), name, check_at(g->c, at, "Default"));
}

static bool is_terminal(const json_t *state)
{
	enum asl_type type;
	return json_is_true(json_object_get(state, "End")) ||
	       (check_type_of(state, &type) && (type == ASL_SUCCEED || type == ASL_FAIL));
}

static void check_inner(struct check *c, const json_t *state, const char *at)
{
	json_t *branch;
	size_t i;
	const char *field;
	json_array_foreach (json_object_get(state, "Branches"), i, branch)
		check_graph(c, branch, check_at_index(c, at, "Branches", i));
	const json_t *processor = definition_processor(state, &field);
	if (processor)
		check_graph(c, processor, check_at(c, at, field));
}

void check_graph(struct check *c, const json_t *scope, const char *at)
{
	struct graph g = { .c = c, .states = json_object_get(scope, "States"), .targeted = MAP_INIT };
	const char *name, *states_at = check_at(c, at, "States");
	json_t *state;
	bool terminal = false;
	lead(&g, json_object_get(scope, "StartAt"), "", check_at(c, at, "StartAt"));
	json_object_foreach ((json_t *)g.states, name, state) {
		lead_state(&g, name, state, check_at(c, states_at, name));
		terminal = terminal || is_terminal(state);
	}
	if (!terminal)
		check_report(c, "MISSING_END_STATE", NULL, "Workflow has no terminal state");
	json_object_foreach ((json_t *)g.states, name, state)
		if (terminal && !map_get(&g.targeted, str_from(name)))
			check_report(c, "MISSING_TRANSITION_TARGET", check_at(c, states_at, name),
				     "State \"%s\" is not reachable.", name);
	json_object_foreach ((json_t *)g.states, name, state)
		check_inner(c, state, check_at(c, states_at, name));
	map_release(&g.targeted);
}
