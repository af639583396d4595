/* path_impl.h - what path.c and path_filter.c share. */
#ifndef QUERN_STATES_PATH_IMPL_H
#define QUERN_STATES_PATH_IMPL_H

#include "states/path.h"

enum path_kind { PATH_NAME, PATH_NAMES, PATH_INDEX, PATH_INDICES, PATH_SLICE, PATH_ALL, PATH_DEEP, PATH_FILTER, PATH_FUNCTION };

struct path_filter;
struct path_step {
	struct path_step *next;
	enum path_kind kind;
	struct str name;         /* NAME, FUNCTION */
	struct str *names;       /* NAMES */
	int64_t *indices;        /* INDICES */
	size_t count;
	int64_t from, to, step;  /* INDEX: from; SLICE */
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
};

/* Parses a path at the start of text; embedded: it ends where no step follows. */
struct path *path_parse_prefix(struct arena *a, struct str text, bool embedded, size_t *used, const char **why);
/* "(…)" after the question mark; used = bytes taken. */
struct path_filter *filter_parse(struct arena *a, struct str text, size_t *used);
bool filter_matches(struct walk *w, const struct path_filter *f, json_t *value);
/* length(), min() … of a value; owned, or NULL when it does not apply. */
json_t *path_function(struct str name, json_t *value);
json_t *path_function_of_list(struct arena *a, const struct path *p, json_t *root, const struct path_step *last);

#endif
