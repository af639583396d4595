/* path_impl.h - what path.c and path_filter.c share. */
#ifndef QUERN_STATES_PATH_IMPL_H
#define QUERN_STATES_PATH_IMPL_H

#include "states/path.h"

enum path_kind {
	PATH_NAME,
	PATH_NAMES,
	PATH_INDEX,
	PATH_INDICES,
	PATH_SLICE,
	PATH_ALL,
	PATH_DEEP,
	PATH_FILTER,
	PATH_FUNCTION
};
/* A path's size and nesting, and the nodes one evaluation may visit: a few deep scans in a row grow faster than any
 * document. */
enum { PATH_MAX_STEPS = 500, PATH_MAX_DEPTH = 50, PATH_MAX_VISITS = 4000000, PATH_REGEX_VISITS = 200 };

struct path_filter;
struct path_step {
	struct path_step *next;
	enum path_kind kind;
	struct str name;   /* NAME, FUNCTION */
	struct str *names; /* NAMES */
	int64_t *indices;  /* INDICES */
	size_t count;
	int64_t from, to, step; /* INDEX: from; SLICE */
	bool has_from, has_to;
	struct path_filter *filter;
};
struct path {
	struct path_step *steps, **end;
	bool indefinite, relative, embedded;
};
struct walk {
	struct arena *arena;
	json_t *root, *matches;
	int64_t *visits; /* left for the whole evaluation; below zero it is over */
};

/* Parses a path at the start of text; embedded (in a filter): it ends where no step follows. `depth` counts filters in
 * filters. */
struct path *path_parse_prefix(struct arena *a, struct str text, bool embedded, int depth, size_t *used,
			       const char **why);
/* As path_eval within an evaluation that is under way. */
enum path_status path_eval_within(const struct walk *outer, const struct path *p, json_t *root, json_t **out);
/* "(…)" after the question mark; used = bytes taken. */
struct path_filter *filter_parse(struct arena *a, struct str text, int depth, size_t *used);
bool filter_matches(struct walk *w, const struct path_filter *f, json_t *value);
/* length(), min() … of a value; owned, or NULL when it does not apply. */
json_t *path_function(struct str name, json_t *value);

#endif
