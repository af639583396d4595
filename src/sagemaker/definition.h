/* definition.h - a pipeline definition (Version 2020-12-01), parsed and checked.
 *
 * DESIGN: the text is accepted as a union of what the SDKs and the published schema emit; a null member counts as
 * absent and an unknown member is ignored. Steps are flattened: a Condition step's nested steps get indices of their
 * own, with `parent` and `else_branch`. The graph (DependsOn, every reference, and the enclosing Condition step) is
 * computed once here, so that an execution never walks expressions to find what is ready. A definition is immutable and
 * holds no pointer into a store: the executions of one text share it (pipeline_def_get). Errors are
 * ValidationExceptions in SageMaker's words where those are known. */
#ifndef QUERN_SAGEMAKER_DEFINITION_H
#define QUERN_SAGEMAKER_DEFINITION_H

#include "base/map.h"
#include "sagemaker/expr.h"

struct step_type; /* pipeline_type.h */

#define DEFINITION_MAX_BYTES 1048576

enum param_type { PARAM_STRING, PARAM_INTEGER, PARAM_FLOAT, PARAM_BOOLEAN };
struct definition_param {
	const char *name;
	enum param_type type;
	json_t *fallback; /* borrowed from the root; NULL: a value must be given */
	json_t *enums;    /* borrowed; NULL: any value */
};

struct definition_step {
	const char *name;
	const struct step_type *type;
	json_t *json;      /* the whole step, borrowed from the root */
	json_t *arguments; /* its Arguments; NULL when absent */
	int index;
	int parent;       /* the enclosing Condition step, or -1 */
	bool else_branch; /* of parent */
	int *deps, ndeps; /* steps that must have succeeded first, parent included; no duplicates */
	int *dependents, ndependents;
};

struct definition {
	struct arena arena;
	json_t *root;
	json_t *experiment; /* PipelineExperimentConfig, or NULL */
	struct definition_param *params;
	int nparams;
	struct definition_step *steps;
	int nsteps;
	struct map by_name; /* step name -> struct definition_step */
};

/* Parses and checks. *out is owned: definition_free. < 0 with a ValidationException. */
int definition_parse(struct str text, struct definition **out, struct error *err);
void definition_free(struct definition *d);
struct definition_step *definition_step_find(const struct definition *d, struct str name); /* NULL when there is none */

/* Second half of the parse, in definition_graph.c: references, dependencies, cycles. */
int definition_link(struct definition *d, struct error *err);

/* The typed values of an execution's parameters: the list `given` of {Name,Value} (strings, may be NULL) over the
 * defaults. Owned object {name: value}; NULL with a ValidationException. */
json_t *definition_bind(const struct definition *d, const json_t *given, struct error *err);

/* A CacheConfig's ExpireAfter: ISO-8601 ("P30DT5H") or the SDK documents' spellings ("30d", "T12H"), any case. A month
 * counts 30 days, a year 365. False when malformed. */
bool definition_duration(struct str text, int64_t *ms);

#endif
