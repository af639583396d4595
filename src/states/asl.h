/* asl.h - the Amazon States Language as pure functions: parsing and checking definitions, paths, payload templates,
 * intrinsics, choice rules, JSONata. Inside the states room. It knows no engine, no store, no history.
 *
 * DESIGN: a definition is parsed once into an immutable `struct asl_machine` (shared by all its executions). Values are
 * jansson trees: functions return new references and share sub-trees, and nobody changes a tree that somebody else may
 * hold. A failing evaluation is not a `struct error` but a `struct asl_fault`: an error name
 * ("States.ParameterPathFailure") and a cause, which the interpreter turns into Retry, Catch or failure. JSONata runs
 * in a worker process (jsonata.h): an expression that is not done within the short in-turn limit gives ASL_PENDING, and
 * the interpreter asks again later with the answer in `memo`. Sources: the language specification
 * (states-language.net), the AWS developer guide, recorded behaviour. */
#ifndef QUERN_STATES_ASL_H
#define QUERN_STATES_ASL_H

#include <jansson.h>

#include "base/arena.h"
#include "base/error.h"

enum { ASL_OK = 0, ASL_FAULT = -1, ASL_PENDING = 1 };

/* ---- JSON text ---- */
/* What is wrong with a JSON text, in Jackson's words; in the arena. The full text is "message\n at location". */
struct asl_json_error {
	const char *message;      /* "Unrecognized token 'not': was expecting (…)" */
	const char *location;     /* "[Source: (String)\"…\"; line: 1, column: 4]" */
	const char *duplicate;    /* a doubled key's name, or NULL */
	const char *duplicate_in; /* "/States/X": the object that has it */
};
/* Reads a JSON text of any type (RFC 8259, nested at most 1000 deep). Owned, or NULL with *error (which may be NULL).
 * An integer beyond 64 bits becomes a double. */
json_t *asl_read_json(struct arena *a, struct str text, bool reject_duplicates, struct asl_json_error *error);
/* Compact text as the service writes it: key order kept, shortest digits in Java's form ("0.1", "1.0E10"). Use these,
 * not json_text, for inputs, outputs, variables and whatever else clients compare. */
struct str asl_text(struct arena *a, const json_t *value);
char *asl_text_dup(const json_t *value); /* malloc'ed */
void asl_number_text(double value, char out[40]);

struct asl_fault {
	char error[128];
	char *cause;    /* malloc'ed; may be NULL. Without "An error occurred while executing ..." unless `whole` */
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
	bool jsonata;                 /* effective query language */
	json_t *doc;                  /* the state as written, borrowed from the machine */
	const char *next;             /* NULL with end */
	struct asl_state *next_state; /* what `next` names; NULL with end, or in a single state (asl_parse_state) */
	bool end;
	struct asl_states **branches; /* Parallel: one per branch; Map: one, the item processor */
	size_t nbranches;
	bool distributed; /* Map */
};
struct asl_states { /* a machine's, branch's or item processor's states */
	const char *start_at;
	struct asl_state *states;
	size_t count;
	struct asl_states *parent; /* enclosing scope, NULL at the top */
	struct asl_state *owner;   /* the Parallel or Map it belongs to */
	uint32_t *slots;           /* for asl_find: index+1 by hash of the name */
	size_t nslots;
};
struct asl_machine {
	json_t *doc; /* owned */
	struct asl_states *top;
	const char *comment;
	int64_t timeout_seconds; /* 0 = none */
	struct arena arena;
	struct path_cache
		*paths; /* parsed paths by text, filled with env->machine: one thread at a time for a machine */
};
struct asl_diagnostic {
	const char *severity; /* "ERROR", "WARNING" */
	const char *code;     /* SCHEMA_VALIDATION_FAILED, INVALID_JSON_DESCRIPTION, MISSING_END_STATE ... */
	const char *message;
	const char *location; /* "/States/X/Next", NULL when none */
};
struct asl_diagnostics {
	struct arena *arena;
	struct asl_diagnostic *items;
	size_t count, cap;
	bool warnings;           /* in: look for WARNINGs too; they are last in the list */
	struct jsonata *jsonata; /* in: checks the syntax of JSONata expressions; NULL: they are not checked */
	struct str definition;   /* out: the text that was parsed, borrowed */
};
/* Parses and checks. 0: *out is owned (asl_machine_free). < 0: `diagnostics` has at least one ERROR; *out is NULL.
 * `express`: the machine's type (some things are refused there). A single state (TestState) is parsed by
 * asl_parse_state, which wraps it into a machine with that one state. */
int asl_parse(struct str definition, bool express, struct asl_diagnostics *diagnostics, struct asl_machine **out);
int asl_parse_state(struct str definition, const char *name, struct asl_diagnostics *diagnostics,
		    struct asl_machine **out);
void asl_machine_free(struct asl_machine *m);
struct asl_state *asl_find(const struct asl_states *scope, const char *name);
/* The text of CreateStateMachine's InvalidDefinition for these diagnostics ("Invalid State Machine Definition: '...'"),
 * in the arena. */
const char *asl_invalid_definition(struct arena *a, const struct asl_diagnostics *d);
/* What the language cannot know: the calls that services have. Set once, before any definition is read; without it
 * every call is good. */
struct asl_calls {
	bool (*exists)(struct arena *a, const char *resource);
	/* The first member of Parameters or Arguments, as written in a definition, that the call does not take; or
	 * NULL. */
	const char *(*stranger)(struct arena *a, const char *resource, const json_t *params);
};
extern const struct asl_calls *asl_calls;
/* DescribeStateMachine's variableReferences (owned object), or NULL when there are none. */
json_t *asl_variable_references(const struct asl_machine *m);

/* ---- evaluation ---- */
struct asl_env {
	struct arena *arena;
	json_t *input;                 /* what $ and $states.input mean */
	json_t *context;               /* $$ and $states.context */
	json_t *variables;             /* object of all visible variables, or NULL */
	json_t *result;                /* $states.result, or NULL */
	json_t *error_output;          /* $states.errorOutput in Catch, or NULL */
	uint64_t (*random)(void *ctx); /* for States.UUID, MathRandom, $uuid, $random */
	void *random_ctx;
	struct jsonata *jsonata; /* evaluator, NULL: JSONata faults */
	json_t *memo;            /* answers of earlier pending evaluations by key, or NULL */
	json_t *pending;         /* out, with ASL_PENDING: {"key","expression","bindings","slow"} owned by the caller */
	const struct asl_machine *machine; /* keeps parsed paths between evaluations; NULL: none kept */
	const char *field; /* asl_choice: what the rule is called in fault texts ("Choices[0]"); NULL: "Choices" */
};

/* A JSONPath ("$.a[0]"), context path ("$$.Execution.Id"), variable ("$v.x") or intrinsic call on env (env->input for
 * $). *out owned. `field` names the field in fault texts ("value.$"). Jayway semantics: a definite path gives the
 * value, an indefinite one a list. */
int asl_path(struct asl_env *env, struct str path, const char *field, json_t **out, struct asl_fault *f);
bool asl_is_definite(struct str path);
/* ErrorPath, CausePath, TimeoutSecondsPath…: `field` of the state is a path, `*out` its value. The texts are "Invalid
 * path …" (`invalid_path`) or "The JSONPath … specified for the field …". */
int asl_path_field(struct asl_env *env, const json_t *doc, const char *field, bool invalid_path, json_t **out,
		   struct asl_fault *f);
/* InputPath / OutputPath: NULL member = "$", JSON null = {}; the texts are "Invalid path '$.x' : No results for path:
 * ..." */
int asl_in_out_path(struct asl_env *env, const json_t *state_doc, const char *field, json_t *value, json_t **out,
		    struct asl_fault *f);
/* A payload template (Parameters, ResultSelector, ItemSelector, Assign in JSONPath states): keys ending in ".$" are
 * evaluated. */
int asl_payload(struct asl_env *env, const json_t *template, const char *field, json_t **out, struct asl_fault *f);
/* ResultPath: value put into base at a reference path; "$" replaces. Absent members are made. *out owned. */
int asl_put(const json_t *base, struct str reference_path, json_t *value, json_t **out, struct asl_fault *f);
/* Any JSON in a JSONata state: every string "{% ... %}" in it is evaluated, at any depth. */
int asl_jsonata(struct asl_env *env, const json_t *value, const char *field, json_t **out, struct asl_fault *f);
/* The same, and the value must have this type ("array", "number", "string", "boolean", "object"), where an expression
 * made it; else the fault is "… returned an unexpected result type. Expected 'array', but was 'number' for value: 1". A
 * literal is not judged. */
int asl_jsonata_typed(struct asl_env *env, const json_t *value, const char *field, const char *type, json_t **out,
		      struct asl_fault *f);
/* A number field of a state in its three spellings: literal, JSONata, or `field` + "Path" ("MaxConcurrencyPath": "$.n",
 * whose value may also be the text of a number). *present false when the state has none of them. `integer`: "which is
 * not a valid integer". `doc` may be a sub-object (ReaderConfig, ItemBatcher). */
int asl_number(struct asl_env *env, const json_t *doc, const char *field, bool jsonata, bool integer, bool *present,
	       double *out, struct asl_fault *f);
/* When a Wait state is over, from now_ms (both ms since the epoch). */
int asl_wait_until(struct asl_env *env, const json_t *doc, bool jsonata, int64_t now_ms, int64_t *until_ms,
		   struct asl_fault *f);
/* One choice rule (JSONPath comparison tree, or JSONata Condition). */
int asl_choice(struct asl_env *env, const json_t *rule, bool jsonata, bool *matched, struct asl_fault *f);
/* ISO-8601 as the language wants it (RFC 3339, upper-case T and Z). */
bool asl_timestamp(struct str text, int64_t *ms);
/* Does a Retry/Catch rule's ErrorEquals match this error name? (States.ALL, States.TaskFailed rules included.) */
bool asl_error_matches(const json_t *error_equals, const char *error);
/* UTF-8 size in bytes of the compact text. */
size_t asl_size_bytes(const json_t *value);
/* Whether the compact text has at most `limit` bytes. It looks no further: a value whose parts are shared may be small
 * in memory and endless as text. */
bool asl_fits(const json_t *value, size_t limit);
/* Nodes visited by this thread's evaluations; an expression of JSONata counts as ASL_WORK_JSONATA. For bounds on a
 * turn.
 */
extern _Thread_local int64_t asl_work;
enum { ASL_WORK_JSONATA = 20000 };

#endif
