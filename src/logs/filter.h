/* filter.h - CloudWatch Logs filter patterns. Inside the logs room.
 *
 * DESIGN: a pattern is compiled once and then asked for each event. Known forms: empty (everything); terms `error "not
 * found"` (all of them, case matters, anywhere in the text); `-term` (none of them); `?term` (any of them; not looked
 * at beside plain terms, as on AWS); and JSON
 * `{ $.a.b[0] = "x*" && ($.n >= 3 || $.c IS NULL) }` with = != < <= > >=, EXISTS, NOT EXISTS, IS NULL, IS TRUE, IS
 * FALSE. Space-delimited `[a, b]` and regular expressions `%...%` are refused with a clear error. Source: CloudWatch
 * Logs user guide, "Filter pattern syntax". */
#ifndef QUERN_LOGS_FILTER_H
#define QUERN_LOGS_FILTER_H

#include "base/arena.h"
#include "base/error.h"

struct log_filter;

/* In the arena; NULL with err (InvalidParameterException) when the pattern is malformed or of a form not built. */
struct log_filter *log_filter_new(struct arena *a, struct str pattern, struct error *err);
bool log_filter_matches(const struct log_filter *f, struct str text);

#endif
