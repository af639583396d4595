/* asl.h - the Amazon States Language as pure functions: parsing and checking definitions, paths, payload templates, intrinsics, choice
 * rules, JSONata. Inside the states room. It knows no engine, no store, no history.
 *
 * DESIGN: a definition is parsed once into an immutable `struct asl_machine` (shared by all its executions). Values are jansson trees: functions return
 * new references and share sub-trees, and nobody changes a tree that somebody else may hold. A failing evaluation
 * is not a `struct error` but a `struct asl_fault`: an error name ("States.ParameterPathFailure") and a cause, which the interpreter turns into
 * Retry, Catch or failure. JSONata runs in a worker process (jsonata.h): an expression that is not done within the short in-turn limit
 * gives ASL_PENDING, and the interpreter asks again later with the answer in `memo`.
 * Sources: the language specification (states-language.net), the AWS developer guide, recorded behaviour. */
#ifndef QUERN_STATES_ASL_H
#define QUERN_STATES_ASL_H

#include <jansson.h>

#include "base/arena.h"
#include "base/error.h"

enum { ASL_OK = 0, ASL_FAULT = -1, ASL_PENDING = 1 };

struct asl_fault {
	char error[128];
	char *cause;    /* malloc'ed; may be NULL. Without "An error occurred while executing the state ..." unless `whole` */
	bool whole;     /* the cause is the complete text */
	char *location; /* for EvaluationFailed: the field ("Arguments/FunctionName"); malloc'ed, may be NULL */
};
#define ASL_FAULT_INIT ((struct asl_fault){ 0 })
void asl_fault_release(struct asl_fault *f);
/* Always returns ASL_FAULT. */
int asl_fault_set(struct asl_fault *f, const char *error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- definitions ---- */
enum asl_type { ASL_TASK, ASL_PASS, ASL_CHOICE, ASL_WAIT, ASL_SUCCEED, ASL_FAIL, ASL_PARALLEL, ASL_MAP };

struct asl_states;
struct asl_state {
	const char *name;
	enum asl_type type;
	bool jsonata;           /* effective query language */
	json_t *doc;            /* the state as written, borrowed from the machine */
	const char *next;       /* NULL with end */
	bool end;
	struct asl_states **branches; /* Parallel: one per branch; Map: one, the item processor */
	size_t nbranches;
	bool distributed;       /* Map */
};
struct asl_states { /* a machine's, branch's or item processor's states */
	const char *start_at;
	struct asl_state *states;
	size_t count;
	struct asl_states *parent; /* enclosing scope, NULL at the top */
	struct asl_state *owner;   /* the Parallel or Map it belongs to */
};
struct asl_machine {
	json_t *doc; /* owned */
	struct asl_states *top;
	const char *comment;
	int64_t timeout_seconds; /* 0 = none */
	struct arena arena;
};
struct asl_diagnostic {
	const char *severity; /* "ERROR", "WARNING" */
	const char *code;     /* SCHEMA_VALIDATION_FAILED, INVALID_JSON_DESCRIPTION, MISSING_END_STATE ... */
	const char *message;
	const char *location; /* "/States/X/Next" */
};
struct asl_diagnostics {
	struct arena *arena;
	struct asl_diagnostic *items;
	size_t count, cap;
};
/* Parses and checks. 0: *out is owned (asl_machine_free). < 0: `diagnostics` has at least one ERROR; *out is NULL. `express`: the machine's type (some
 * things are refused there). A single state (TestState) is parsed by asl_parse_state, which wraps it into a machine with that one state. */
int asl_parse(struct str definition, bool express, struct asl_diagnostics *diagnostics, struct asl_machine **out);
int asl_parse_state(struct str definition, const char *name, struct asl_diagnostics *diagnostics, struct asl_machine **out);
void asl_machine_free(struct asl_machine *m);
struct asl_state *asl_find(const struct asl_states *scope, const char *name);
/* The text of CreateStateMachine's InvalidDefinition for these diagnostics ("Invalid State Machine Definition: '...'"), in the arena. */
const char *asl_invalid_definition(struct arena *a, const struct asl_diagnostics *d);
/* DescribeStateMachine's variableReferences (owned object), or NULL when there are none. */
json_t *asl_variable_references(const struct asl_machine *m);

/* ---- evaluation ---- */
struct asl_env {
	struct arena *arena;
	json_t *input;        /* what $ and $states.input mean */
	json_t *context;      /* $$ and $states.context */
	json_t *variables;    /* object of all visible variables, or NULL */
	json_t *result;       /* $states.result, or NULL */
	json_t *error_output; /* $states.errorOutput in Catch, or NULL */
	uint64_t (*random)(void *ctx); /* for States.UUID, MathRandom, $uuid, $random */
	void *random_ctx;
	struct jsonata *jsonata;       /* evaluator, NULL: JSONata faults */
	json_t *memo;                  /* answers of earlier pending evaluations by key, or NULL */
	json_t *pending;               /* out, with ASL_PENDING: {"key","expression","bindings"} owned by the caller */
};

/* A JSONPath ("$.a[0]"), context path ("$$.Execution.Id"), variable ("$v.x") or intrinsic call on env (env->input for $). *out owned. `field` names the field in
 * fault texts ("value.$"). Jayway semantics: a definite path gives the value, an indefinite one a list. */
int asl_path(struct asl_env *env, struct str path, const char *field, json_t **out, struct asl_fault *f);
bool asl_is_definite(struct str path);
/* InputPath / OutputPath: NULL member = "$", JSON null = {}; the texts are "Invalid path '$.x' : No results for path: ..." */
int asl_in_out_path(struct asl_env *env, const json_t *state_doc, const char *field, json_t *value, json_t **out, struct asl_fault *f);
/* A payload template (Parameters, ResultSelector, ItemSelector, Assign in JSONPath states): keys ending in ".$" are evaluated. */
int asl_payload(struct asl_env *env, const json_t *template, const char *field, json_t **out, struct asl_fault *f);
/* ResultPath: value put into base at a reference path; "$" replaces. Absent members are made. *out owned. */
int asl_put(const json_t *base, struct str reference_path, json_t *value, json_t **out, struct asl_fault *f);
/* Any JSON in a JSONata state: every string "{% ... %}" in it is evaluated, at any depth. */
int asl_jsonata(struct asl_env *env, const json_t *value, const char *field, json_t **out, struct asl_fault *f);
/* One choice rule (JSONPath comparison tree, or JSONata Condition). */
int asl_choice(struct asl_env *env, const json_t *rule, bool jsonata, bool *matched, struct asl_fault *f);
/* ISO-8601 as the language wants it (RFC 3339, upper-case T and Z). */
bool asl_timestamp(struct str text, int64_t *ms);
/* Does a Retry/Catch rule's ErrorEquals match this error name? (States.ALL, States.TaskFailed rules included.) */
bool asl_error_matches(const json_t *error_equals, const char *error);
/* UTF-8 size in bytes of the compact text, for the 262,144 limit. */
size_t asl_size_bytes(const json_t *value);

#endif
