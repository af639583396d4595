/* filter.h - the filters of ListSecrets. Inside the secrets room. */
#ifndef QUERN_SECRETS_FILTER_H
#define QUERN_SECRETS_FILTER_H

#include "base/json.h"

/* Does the secret pass every filter ([{"Key","Values"}], NULL for none)? description may be NULL; tags: [{"Key",
 * "Value"}] or NULL. */
bool secrets_filters_pass(const json_t *filters, const char *name, const char *description, const json_t *tags);

#endif
