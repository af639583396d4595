/* constraints.h - reads the two constraint hyperparameters.
 *
 * DESIGN: monotone_constraints is a tuple of integers, interaction_constraints a list of lists of integers, both
 * written as Python literals. They are parsed here by hand, never evaluated: the text comes from a request. The
 * result is the same literal in Python's own spelling, which is also what libxgboost reads. */
#ifndef QUERN_IMAGE_CONSTRAINTS_H
#define QUERN_IMAGE_CONSTRAINTS_H

#include <stdbool.h>

#include "text.h"

/* Reads `(1, -1, 0)`, `[1, -1, 0]` or `1, -1, 0`. Appends the tuple to `out`. *in_range tells whether every value is
 * -1, 0 or 1. Returns 0, or -1 when it is no such literal. */
int constraints_read_tuple(const char *s, struct text *out, bool *in_range);
/* Reads `[[1, 2], [3]]`; round brackets do as well. Appends the nested list to `out`. *in_range tells whether every
 * value is 1 or more. Returns 0, or -1 when it is no such literal. */
int constraints_read_nested(const char *s, struct text *out, bool *in_range);

#endif
