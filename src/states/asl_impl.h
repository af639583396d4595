/* asl_impl.h - what the files of the language share: path references, expressions, checking of definitions. */
#ifndef QUERN_STATES_ASL_IMPL_H
#define QUERN_STATES_ASL_IMPL_H

#include "states/asl.h"
#include "states/path.h"

/* A path as a definition writes it: "$.a", "$$.Execution.Id", "$name.a". */
struct asl_path_ref {
	enum { ASL_ROOT_INPUT, ASL_ROOT_CONTEXT, ASL_ROOT_VARIABLE } root;
	struct str name;   /* of the variable */
	struct path *path; /* NULL when malformed; *why says so */
	const char *why;
};
/* Never NULL; in the arena. */
struct asl_path_ref *asl_path_ref(struct arena *a, struct str text);

struct path_cache *asl_paths_new(void);
void asl_paths_free(struct path_cache *c);

/* The expression inside "{% … %}" without the space around it, or STR_NULL when the value is no such text. */
struct str asl_expression_of(const json_t *value);

/* As asl_timestamp, to the nanosecond. */
bool asl_timestamp_exact(struct str text, int64_t *seconds, int *nanoseconds);

#endif
