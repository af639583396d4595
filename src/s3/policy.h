/* policy.h - the policy document of a POST form. Inside the s3 room. */
#ifndef QUERN_S3_POLICY_H
#define QUERN_S3_POLICY_H

#include <jansson.h>
#include "base/arena.h"
#include "base/error.h"

struct policy_field {
	struct str name, value;
};

/* Checks the decoded document against the form's fields (the bucket among them as "bucket"). min and max are the
 * content-length-range. err: InvalidPolicyDocument (400), AccessDenied (403). */
int policy_check(struct arena *a, struct str document, const struct policy_field *fields, size_t n, int64_t now_ms,
		 int64_t *min, int64_t *max, struct error *err);

#endif
