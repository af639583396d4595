/* definition_impl.h - what the files that check a definition share. Inside the states room.
 *
 * DESIGN: a check walks the JSON tree and reports; it changes nothing and makes nothing. Locations are written as the
 * service writes them:
 * "/States/A/Branches[0]/States/B/Next". Only a definition without an ERROR is made into a machine. */
#ifndef QUERN_STATES_DEFINITION_IMPL_H
#define QUERN_STATES_DEFINITION_IMPL_H

#include "base/map.h"
#include "states/asl_impl.h"

enum { MAX_DIAGNOSTICS = 1000, MAX_SCOPES_DEEP = 50, MAX_NAME = 80, MAX_DEFINITION = 1048576, MAX_SECONDS = 99999999 };

enum language { ANY_LANGUAGE, ONLY_JSONPATH, ONLY_JSONATA };

struct check {
	struct asl_diagnostics *out;
	struct arena *arena;      /* = out->arena */
	bool jsonata_machine;     /* the language of the whole machine */
	bool express;             /* of the workflow that runs these states: a distributed Map may change it */
	bool in_distributed;      /* within a distributed Map's item processor */
	bool single;              /* one state alone: it may go anywhere */
	bool stopped;             /* too many diagnostics */
	int depth;                /* scopes around this one */
	struct map names, labels; /* state names and Map labels of the whole machine; values: their locations */
	struct variable_scope *variables;
};
/* Names assigned in a scope, for the rule that an inner scope must not assign an outer one's. */
struct variable_scope {
	struct map names;
	struct variable_scope *outer; /* NULL at the top and within a distributed Map */
};
/* The state in hand. */
struct state_check {
	struct check *c;
	const char *name, *at; /* "/States/X" */
	const json_t *doc;
	enum asl_type type;
	bool jsonata;
	bool catching; /* within a catcher: $states.errorOutput is there */
};

/* definition_schema.c */
void check_report(struct check *c, const char *code, const char *at, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void check_warn(struct check *c, const char *code, const char *at, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
#define SCHEMA "SCHEMA_VALIDATION_FAILED"
const char *check_at(struct check *c, const char *at, const char *field);                 /* at/field */
const char *check_at_index(struct check *c, const char *at, const char *field, size_t i); /* at/field[i] */
/* Type checks report and answer false. A NULL value is fine and answers false. */
bool check_object(struct check *c, const json_t *v, const char *at);
bool check_array(struct check *c, const json_t *v, const char *at, bool may_be_empty);
bool check_string(struct check *c, const json_t *v, const char *at);
bool check_boolean(struct check *c, const json_t *v, const char *at);
void check_enum(struct check *c, const json_t *v, const char *at, const char *const values[]);
/* A number in a range, or in a JSONata state an expression. */
void check_number(struct state_check *s, const json_t *v, const char *at, bool integer, double least, double most);
void check_required(struct check *c, const json_t *object, const char *at, const char *const fields[]);
/* "There should only be one of the following fields: [...]"; with `needed` also "This object should have only one ...".
 */
void check_one_of(struct check *c, const json_t *object, const char *at, const char *const fields[], bool needed);
/* Unknown members of an object. */
void check_known(struct check *c, const json_t *object, const char *at, const char *const fields[]);
/* False, with a report, when the field belongs to the other query language. */
bool check_language(struct state_check *s, const char *field, enum language wanted, const char *at);

/* definition_value.c */
void check_path(struct state_check *s, const json_t *v, const char *at); /* path, null, intrinsic call */
enum { REFERENCE_RESULT, REFERENCE_STATE, REFERENCE_ANY };
void check_reference(struct state_check *s, const json_t *v, const char *at,
		     int allowed);                                           /* ResultPath; no context; anything */
void check_variable(struct state_check *s, const json_t *v, const char *at); /* in a choice rule */
void check_template(struct state_check *s, const json_t *v, const char *at);
void check_jsonata(struct state_check *s, const json_t *v, const char *at); /* any JSON with expressions */
/* A template or JSONata value, by the state's language. */
void check_payload(struct state_check *s, const json_t *v, const char *at);
void check_assign(struct state_check *s, const json_t *v, const char *at);

/* definition_choice.c, definition_map.c, definition_state.c */
void check_choices(struct state_check *s);
void check_map(struct state_check *s);
void check_parallel(struct state_check *s);
void check_label(struct state_check *s);
bool check_type_of(const json_t *state, enum asl_type *type);
/* "StartAt" and "States" of a machine, branch or item processor. */
void check_scope(struct check *c, const json_t *scope, const char *at);
/* The processor of a Map under its name: "ItemProcessor" or "Iterator". */
const json_t *definition_processor(const json_t *map, const char **field);
bool definition_is_jsonata(const json_t *state, bool jsonata_machine);

/* definition_warn.c: warnings for the whole definition, good or not. */
void check_warnings(struct check *c, const json_t *doc);

/* definition_graph.c: targets, terminal and unreachable states of a scope and all scopes in it. */
void check_graph(struct check *c, const json_t *scope, const char *at);

#endif
