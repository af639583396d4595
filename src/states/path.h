/* path.h - JSONPath as AWS evaluates it (Jayway's dialect). Inside the states room.
 *
 * Grammar: $ then steps: .name ['name'] ['a','b'] [0] [-1] [0,2] [1:3] [*] .* ..name ..* [?(filter)] .length() .min()
 * .max() .avg() .sum() .stddev() .keys() .first() .last(). A dot may stand before a bracket, blanks at the end. A
 * filter compares paths (@.x, $.y) and literals with == != <
 * <= > >= =~ in nin contains size empty, joined by && || !. A definite path gives one value; an indefinite one (.., *,
 * lists, slices, filters) gives a list of all matches. */
#ifndef QUERN_STATES_PATH_H
#define QUERN_STATES_PATH_H

#include <jansson.h>

#include "base/arena.h"
#include "base/str.h"

struct path;

/* Parses text that begins with `$` or `@`. NULL when malformed; *why (may be NULL) then says so, in the arena. */
struct path *path_parse(struct arena *a, struct str text, const char **why);
bool path_is_definite(const struct path *p);
/* True for a Reference Path: only names and single, non-negative indices. */
bool path_is_reference(const struct path *p);
/* True when it has only names and indices, of either sign. */
bool path_is_plain(const struct path *p);
enum path_status { PATH_FOUND, PATH_NONE };
/* Evaluates on root. PATH_FOUND: *out owned. PATH_NONE (only definite paths): *why is the library's text ("No results
 * for path: $['x']", "Missing property in path $['x']"), in the arena. */
enum path_status path_eval(struct arena *a, const struct path *p, json_t *root, json_t **out, const char **why);
/* Puts value at a reference path, making absent objects on the way; shares what it does not change. NULL when the way
 * is blocked by something that is no object (or array, for an index). Owned. */
json_t *path_with(const struct path *p, const json_t *root, json_t *value);

#endif
