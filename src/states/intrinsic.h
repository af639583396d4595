/* intrinsic.h - the 18 intrinsic functions (States.Format ...). Inside the states room. */
#ifndef QUERN_STATES_INTRINSIC_H
#define QUERN_STATES_INTRINSIC_H

#include "states/asl.h"

/* True when text looks like a call ("States.Name("). */
bool intrinsic_is_call(struct str text);
/* Evaluates a call, nested up to 10 deep; arguments may be paths, variables, literals and calls. *out owned. */
int intrinsic_eval(struct asl_env *env, struct str text, const char *field, json_t **out, struct asl_fault *f);
/* Checks only the syntax; NULL when good, else why, in the arena. */
const char *intrinsic_check(struct arena *a, struct str text);

#endif
