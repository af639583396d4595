/* expr.h - the expressions of a pipeline definition: references, Std:Join, Std:JsonGet, and conditions.
 *
 * DESIGN: an expression is a JSON object with one member: {"Get":"Parameters.N"}, {"Std:Join":{..}},
 * {"Std:JsonGet":{..}}. It may stand wherever a value may. Evaluation is pure: what a reference means is asked of
 * `struct expr_env`, so nothing here knows a store, a clock or a file. Types are kept (an Integer parameter stays an
 * integer); only Std:Join makes text. Sources: sagemaker SDK 2.x workflow/{entities,functions,conditions,properties}.py
 * and its integration tests. */
#ifndef QUERN_SAGEMAKER_EXPR_H
#define QUERN_SAGEMAKER_EXPR_H

#include "base/json.h"

/* ---- paths: a.b[0]['c'] ---- */
struct path_part {
	struct str key; /* ptr NULL: an index */
	int64_t index;
};
struct path {
	struct path_part *parts; /* in the arena */
	size_t count;
};
/* Parses `text` (a leading "$" or "." is accepted). False when malformed. */
bool expr_path_parse(struct arena *a, struct str text, struct path *out);
/* The value at the path from part `from` on, borrowed, or NULL. With `by_name` a key on a list selects the element
 * whose name member (OutputName, InputName, MetricName, ChannelName ...) has that value. */
json_t *expr_path_get(json_t *root, const struct path *path, size_t from, bool by_name);

/* ---- references ---- */
enum ref_kind { REF_PARAMETER, REF_EXECUTION, REF_EXPERIMENT, REF_STEP };
struct ref {
	enum ref_kind kind;
	struct str name;  /* the parameter, the variable, or the step */
	struct path path; /* of a step: what follows its name */
	struct str text;  /* the whole reference */
};
/* Parses the text of a Get. < 0 with a ValidationException. Pieces borrow `text`. */
int expr_ref_parse(struct arena *a, struct str text, struct ref *out, struct error *err);

/* Calls fn for each reference in `value`, also inside Join and JsonGet. `file` is true for the one in JsonGet's
 * PropertyFile. Checks the form of every expression. fn returns < 0 with err to stop. Depth is bounded by the JSON
 * parser's. */
typedef int (*ref_visit)(void *ctx, const struct ref *ref, bool file, struct error *err);
int expr_walk(struct arena *a, const json_t *value, ref_visit fn, void *ctx, struct error *err);
/* True when the value is one of the three expression forms. */
bool expr_is(const json_t *value);

/* ---- evaluation ---- */
struct expr_env {
	struct arena *arena;
	/* The value of a reference; owned, or NULL with err. */
	json_t *(*get)(void *ctx, const struct ref *ref, struct error *err);
	/* The S3 URI of a step's property file (arena), or STR_NULL with err. */
	struct str (*property_file)(void *ctx, const struct ref *ref, struct error *err);
	/* The value at `path` in the JSON object at `uri`; owned, or NULL with err. */
	json_t *(*json_get)(void *ctx, struct str uri, struct str path, struct error *err);
	void *ctx;
};
/* `value` with every expression in it replaced; owned. NULL with err. Members that are null are left out. */
json_t *expr_eval(const struct expr_env *env, const json_t *value, struct error *err);
/* As text: Join's rules (true, 3.0, JSON for objects). In the arena. */
struct str expr_text(struct arena *a, const json_t *value);
/* The shortest text that reads back as the same double, always with a point or an exponent: "3.0". */
const char *expr_real_text(struct arena *a, double value);

/* ---- conditions ---- */
/* Checks form and types known without running. < 0 with a ValidationException. Walks references with fn. */
int expr_condition_check(struct arena *a, const json_t *condition, ref_visit fn, void *ctx, struct error *err);
/* All of the list must hold (an empty list holds). < 0 with err: a value is missing or types do not compare. */
int expr_conditions_eval(const struct expr_env *env, const json_t *conditions, bool *out, struct error *err);

#endif
