/* filter.h - the filters of DescribeParameters and GetParametersByPath. Inside the ssm room. */
#ifndef QUERN_SSM_FILTER_H
#define QUERN_SSM_FILTER_H

#include "base/error.h"
#include "base/json.h"

/* What a filter may ask of a parameter. Borrowed. */
struct ssm_facts {
	struct str name, type, key_id, tier, data_type;
	const json_t *tags; /* [{"Key","Value"}], NULL for none */
};

/* Are the request's filters (ParameterFilters, or the older Filters) ones that the operation takes? */
int ssm_filters_check(const json_t *in, bool by_path, struct error *err);
/* Does the parameter pass every filter? */
bool ssm_filters_pass(const json_t *in, const struct ssm_facts *facts);
/* Does the name lie below the path (which begins with '/')? One level down, or any number when recursive. A name
 * without a leading '/' is at the top. */
bool ssm_path_holds(struct str path, bool recursive, struct str name);

#endif
