/* bucket_policy.h - what S3 itself checks of a bucket's policy. Inside the s3 room.
 *
 * DESIGN: pure. Whether iam can evaluate a document is iam's matter (iam_check_resource_policy); here are the checks
 * that know what a bucket is, and S3's texts for what is wrong. */
#ifndef QUERN_S3_BUCKET_POLICY_H
#define QUERN_S3_BUCKET_POLICY_H

#include <jansson.h>
#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

enum { S3_BUCKET_POLICY_MAX = 20480 }; /* bytes, without white space */

/* Parses the policy of `bucket` and checks it: the document, to be given back, or NULL with err MalformedPolicy. The
 * principal that is no good is put into *detail (in the arena) as S3 shows it. Sources: "PutBucketPolicy", Amazon S3
 * API reference; actions and their resources: Service Authorization Reference, "Amazon S3". */
json_t *s3_bucket_policy_parse(struct arena *a, struct str text, struct str bucket, struct str *detail,
			       struct error *err);
/* Does it let in everybody? For a document that passed. Source: "The meaning of public", Amazon S3 user guide. */
bool s3_bucket_policy_public(const json_t *policy);
/* The principals that it names as users and roles: calls fn for each ARN; stops at < 0. */
int s3_bucket_policy_each_arn(const json_t *policy, int (*fn)(void *ctx, struct str arn), void *ctx);

#endif
