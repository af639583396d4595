/* instance.h - what an ml.* instance type is: its real shape. A job gets a quota of that size. */
#ifndef QUERN_SAGEMAKER_INSTANCE_H
#define QUERN_SAGEMAKER_INSTANCE_H

#include "base/str.h"

struct instance_shape {
	const char *name; /* "ml.m5.xlarge" */
	int vcpus;
	int64_t memory_mib;
	int gpus;
};
extern const struct instance_shape instance_table[]; /* sorted by name (memcmp order) */
extern const size_t instance_count;

/* NULL when the type is not known. */
const struct instance_shape *instance_find(struct str name);

#endif
