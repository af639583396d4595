/* ops.c - which operation a request asks for.
 *
 * DESIGN: the first row that fits wins: rows with a sub-resource come before the plain ones. What Quern doesn't have is
 * listed too (LACKS), so that `PUT ?website` is refused by name and never taken for CreateBucket. The code of an UNSET
 * row is the true answer to a question about a configuration that nobody can have set. */
#include "s3/room.h"

/* A plain operation, one with a document for a body, one that is not built, a configuration that nobody can have set.
 */
#define DOES(name, method, level, arg, run)                                                                            \
	{                                                                                                              \
		name, method, level, arg, NULL, S3_BODY_NONE, NULL, run, NULL                                          \
	}
#define DOES_XML(name, method, level, arg, run)                                                                        \
	{                                                                                                              \
		name, method, level, arg, NULL, S3_BODY_XML, NULL, run, NULL                                           \
	}
#define LACKS(name, method, level, arg) FIXED(name, method, level, arg, "NotImplemented")
#define UNSET(name, level, arg, code) FIXED(name, "GET", level, arg, code)
#define FIXED(name, method, level, arg, code)                                                                          \
	{                                                                                                              \
		name, method, level, arg, NULL, S3_BODY_NONE, NULL, NULL, code                                         \
	}

static const struct s3_op ops[] = {
	DOES("ListBuckets", "GET", S3_SERVICE, NULL, s3_list_buckets),
	DOES("GetBucketLocation", "GET", S3_BUCKET, "location", s3_get_bucket_location),
	DOES("GetBucketVersioning", "GET", S3_BUCKET, "versioning", s3_get_bucket_versioning),
	DOES("ListObjectVersions", "GET", S3_BUCKET, "versions", s3_list_versions),
	DOES("ListMultipartUploads", "GET", S3_BUCKET, "uploads", s3_list_uploads),
	DOES("GetBucketTagging", "GET", S3_BUCKET, "tagging", s3_get_bucket_tagging),
	DOES("GetBucketCors", "GET", S3_BUCKET, "cors", s3_get_bucket_cors),
	DOES("GetBucketAcl", "GET", S3_BUCKET, "acl", s3_get_bucket_acl),
	DOES("GetBucketOwnershipControls", "GET", S3_BUCKET, "ownershipControls", s3_get_bucket_ownership),
	DOES("GetBucketRequestPayment", "GET", S3_BUCKET, "requestPayment", s3_get_bucket_payer),
	DOES("GetBucketLogging", "GET", S3_BUCKET, "logging", s3_get_bucket_nothing),
	DOES("GetBucketNotificationConfiguration", "GET", S3_BUCKET, "notification", s3_get_bucket_nothing),
	DOES("GetBucketAccelerateConfiguration", "GET", S3_BUCKET, "accelerate", s3_get_bucket_nothing),
	DOES("GetBucketPolicy", "GET", S3_BUCKET, "policy", s3_get_bucket_policy),
	DOES("GetBucketPolicyStatus", "GET", S3_BUCKET, "policyStatus", s3_get_bucket_policy_status),
	DOES("GetBucketLifecycleConfiguration", "GET", S3_BUCKET, "lifecycle", s3_get_bucket_lifecycle),
	UNSET("GetBucketReplication", S3_BUCKET, "replication", "ReplicationConfigurationNotFoundError"),
	DOES("GetBucketEncryption", "GET", S3_BUCKET, "encryption", s3_get_bucket_encryption),
	UNSET("GetBucketWebsite", S3_BUCKET, "website", "NoSuchWebsiteConfiguration"),
	UNSET("GetObjectLockConfiguration", S3_BUCKET, "object-lock", "ObjectLockConfigurationNotFoundError"),
	DOES("GetPublicAccessBlock", "GET", S3_BUCKET, "publicAccessBlock", s3_get_public_access),
	LACKS("GetBucketAnalyticsConfiguration", "GET", S3_BUCKET, "analytics"),
	LACKS("GetBucketIntelligentTieringConfiguration", "GET", S3_BUCKET, "intelligent-tiering"),
	LACKS("GetBucketInventoryConfiguration", "GET", S3_BUCKET, "inventory"),
	LACKS("GetBucketMetricsConfiguration", "GET", S3_BUCKET, "metrics"),
	LACKS("GetBucketMetadataConfiguration", "GET", S3_BUCKET, "metadataConfiguration"),
	LACKS("GetBucketMetadataTableConfiguration", "GET", S3_BUCKET, "metadataTable"),
	LACKS("GetBucketAbac", "GET", S3_BUCKET, "abac"),
	LACKS("CreateSession", "GET", S3_BUCKET, "session"),
	DOES("ListObjectsV2", "GET", S3_BUCKET, "list-type", s3_list_objects_v2),
	DOES("ListObjects", "GET", S3_BUCKET, NULL, s3_list_objects),
	DOES("HeadBucket", "HEAD", S3_BUCKET, NULL, s3_head_bucket),
	DOES_XML("PutBucketVersioning", "PUT", S3_BUCKET, "versioning", s3_put_bucket_versioning),
	DOES_XML("PutBucketTagging", "PUT", S3_BUCKET, "tagging", s3_put_bucket_tagging),
	DOES_XML("PutBucketCors", "PUT", S3_BUCKET, "cors", s3_put_bucket_cors),
	DOES_XML("PutBucketAcl", "PUT", S3_BUCKET, "acl", s3_put_acl),
	LACKS("PutBucketAbac", "PUT", S3_BUCKET, "abac"),
	LACKS("PutBucketAccelerateConfiguration", "PUT", S3_BUCKET, "accelerate"),
	LACKS("PutBucketAnalyticsConfiguration", "PUT", S3_BUCKET, "analytics"),
	DOES_XML("PutBucketEncryption", "PUT", S3_BUCKET, "encryption", s3_put_bucket_encryption),
	LACKS("PutBucketIntelligentTieringConfiguration", "PUT", S3_BUCKET, "intelligent-tiering"),
	LACKS("PutBucketInventoryConfiguration", "PUT", S3_BUCKET, "inventory"),
	DOES_XML("PutBucketLifecycleConfiguration", "PUT", S3_BUCKET, "lifecycle", s3_put_bucket_lifecycle),
	LACKS("PutBucketLogging", "PUT", S3_BUCKET, "logging"),
	LACKS("PutBucketMetricsConfiguration", "PUT", S3_BUCKET, "metrics"),
	LACKS("PutBucketNotificationConfiguration", "PUT", S3_BUCKET, "notification"),
	DOES_XML("PutBucketOwnershipControls", "PUT", S3_BUCKET, "ownershipControls", s3_put_bucket_ownership),
	DOES_XML("PutBucketPolicy", "PUT", S3_BUCKET, "policy", s3_put_bucket_policy),
	LACKS("PutBucketReplication", "PUT", S3_BUCKET, "replication"),
	LACKS("PutBucketRequestPayment", "PUT", S3_BUCKET, "requestPayment"),
	LACKS("PutBucketWebsite", "PUT", S3_BUCKET, "website"),
	LACKS("PutObjectLockConfiguration", "PUT", S3_BUCKET, "object-lock"),
	DOES_XML("PutPublicAccessBlock", "PUT", S3_BUCKET, "publicAccessBlock", s3_put_public_access),
	LACKS("UpdateBucketMetadataAnnotationTableConfiguration", "PUT", S3_BUCKET, "metadataAnnotationTable"),
	LACKS("UpdateBucketMetadataInventoryTableConfiguration", "PUT", S3_BUCKET, "metadataInventoryTable"),
	LACKS("UpdateBucketMetadataJournalTableConfiguration", "PUT", S3_BUCKET, "metadataJournalTable"),
	DOES_XML("CreateBucket", "PUT", S3_BUCKET, NULL, s3_create_bucket_call),
	DOES_XML("DeleteObjects", "POST", S3_BUCKET, "delete", s3_delete_objects),
	LACKS("CreateBucketMetadataConfiguration", "POST", S3_BUCKET, "metadataConfiguration"),
	LACKS("CreateBucketMetadataTableConfiguration", "POST", S3_BUCKET, "metadataTable"),
	{ "PostObject", "POST", S3_BUCKET, NULL, NULL, S3_BODY_FORM, s3_post_begin, s3_post_object, NULL },
	DOES("DeleteBucketTagging", "DELETE", S3_BUCKET, "tagging", s3_delete_bucket_tagging),
	DOES("DeleteBucketCors", "DELETE", S3_BUCKET, "cors", s3_delete_bucket_cors),
	LACKS("DeleteBucketAnalyticsConfiguration", "DELETE", S3_BUCKET, "analytics"),
	DOES("DeleteBucketEncryption", "DELETE", S3_BUCKET, "encryption", s3_delete_bucket_encryption),
	LACKS("DeleteBucketIntelligentTieringConfiguration", "DELETE", S3_BUCKET, "intelligent-tiering"),
	LACKS("DeleteBucketInventoryConfiguration", "DELETE", S3_BUCKET, "inventory"),
	DOES("DeleteBucketLifecycle", "DELETE", S3_BUCKET, "lifecycle", s3_delete_bucket_lifecycle),
	LACKS("DeleteBucketMetadataConfiguration", "DELETE", S3_BUCKET, "metadataConfiguration"),
	LACKS("DeleteBucketMetadataTableConfiguration", "DELETE", S3_BUCKET, "metadataTable"),
	LACKS("DeleteBucketMetricsConfiguration", "DELETE", S3_BUCKET, "metrics"),
	DOES("DeleteBucketOwnershipControls", "DELETE", S3_BUCKET, "ownershipControls", s3_delete_bucket_ownership),
	DOES("DeleteBucketPolicy", "DELETE", S3_BUCKET, "policy", s3_delete_bucket_policy),
	DOES("DeleteBucketReplication", "DELETE", S3_BUCKET, "replication", s3_delete_bucket_nothing),
	DOES("DeleteBucketWebsite", "DELETE", S3_BUCKET, "website", s3_delete_bucket_nothing),
	DOES("DeletePublicAccessBlock", "DELETE", S3_BUCKET, "publicAccessBlock", s3_delete_public_access),
	DOES("DeleteBucket", "DELETE", S3_BUCKET, NULL, s3_delete_bucket),
	DOES("OptionsBucket", "OPTIONS", S3_BUCKET, NULL, s3_options),
	DOES("ListParts", "GET", S3_OBJECT, "uploadId", s3_list_parts),
	DOES("GetObjectTagging", "GET", S3_OBJECT, "tagging", s3_get_object_tagging),
	DOES("GetObjectAttributes", "GET", S3_OBJECT, "attributes", s3_get_object_attributes),
	DOES("GetObjectAcl", "GET", S3_OBJECT, "acl", s3_get_object_acl),
	UNSET("GetObjectLegalHold", S3_OBJECT, "legal-hold", "NoSuchObjectLockConfiguration"),
	UNSET("GetObjectRetention", S3_OBJECT, "retention", "NoSuchObjectLockConfiguration"),
	LACKS("GetObjectTorrent", "GET", S3_OBJECT, "torrent"),
	LACKS("GetObjectAnnotation", "GET", S3_OBJECT, "annotation"),
	DOES("GetObject", "GET", S3_OBJECT, NULL, s3_get_object),
	DOES("HeadObject", "HEAD", S3_OBJECT, NULL, s3_get_object),
	DOES_XML("PutObjectTagging", "PUT", S3_OBJECT, "tagging", s3_put_object_tagging),
	DOES_XML("PutObjectAcl", "PUT", S3_OBJECT, "acl", s3_put_acl),
	LACKS("PutObjectLegalHold", "PUT", S3_OBJECT, "legal-hold"),
	LACKS("PutObjectRetention", "PUT", S3_OBJECT, "retention"),
	LACKS("PutObjectAnnotation", "PUT", S3_OBJECT, "annotation"),
	LACKS("RenameObject", "PUT", S3_OBJECT, "renameObject"),
	LACKS("UpdateObjectEncryption", "PUT", S3_OBJECT, "encryption"),
	{ "UploadPartCopy", "PUT", S3_OBJECT, "uploadId", "x-amz-copy-source", S3_BODY_NONE, NULL, s3_upload_part_copy,
	  NULL },
	{ "UploadPart", "PUT", S3_OBJECT, "uploadId", NULL, S3_BODY_DATA, s3_part_begin, s3_upload_part, NULL },
	{ "CopyObject", "PUT", S3_OBJECT, NULL, "x-amz-copy-source", S3_BODY_NONE, NULL, s3_copy_object, NULL },
	{ "PutObject", "PUT", S3_OBJECT, NULL, NULL, S3_BODY_DATA, s3_put_begin, s3_put_object, NULL },
	DOES("CreateMultipartUpload", "POST", S3_OBJECT, "uploads", s3_create_upload),
	{ "CompleteMultipartUpload", "POST", S3_OBJECT, "uploadId", NULL, S3_BODY_XML, s3_complete_begin,
	  s3_complete_upload, NULL },
	LACKS("RestoreObject", "POST", S3_OBJECT, "restore"),
	LACKS("SelectObjectContent", "POST", S3_OBJECT, "select"),
	DOES("AbortMultipartUpload", "DELETE", S3_OBJECT, "uploadId", s3_abort_upload),
	DOES("DeleteObjectTagging", "DELETE", S3_OBJECT, "tagging", s3_delete_object_tagging),
	LACKS("DeleteObjectAnnotation", "DELETE", S3_OBJECT, "annotation"),
	DOES("DeleteObject", "DELETE", S3_OBJECT, NULL, s3_delete_object),
	DOES("OptionsObject", "OPTIONS", S3_OBJECT, NULL, s3_options),
};

const struct s3_op *s3_op_find(struct s3_call *c, enum s3_level level)
{
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		const struct s3_op *op = &ops[i];
		bool present = op->arg == NULL;
		if (op->level != level || (op->arg && !c->nargs) || !str_eqz(c->method, op->method))
			continue;
		if (op->arg)
			s3_call_arg(c, op->arg, &present);
		if (present && (!op->header || s3_call_header(c, op->header).ptr))
			return op;
	}
	return NULL;
}

const char *s3_operation_at(size_t i)
{
	for (size_t k = 0; k < sizeof(ops) / sizeof(*ops); k++)
		if (ops[k].run && i-- == 0)
			return ops[k].name;
	return NULL;
}
