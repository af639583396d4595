/* filter_json.h - the JSON form of a filter pattern. See filter.h. */
#ifndef QUERN_LOGS_FILTER_JSON_H
#define QUERN_LOGS_FILTER_JSON_H

#include "logs/filter.h"

struct json_filter;

/* In the arena; NULL with err. */
struct json_filter *json_filter_new(struct arena *a, struct str pattern, struct error *err);
/* An event that is no JSON object never matches. */
bool json_filter_matches(const struct json_filter *f, struct str text);

#endif
